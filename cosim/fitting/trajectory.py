r"""Sequences of pulses solved for all pulses at once, with exact sensitivities.

A pulse train is the recursion w_{k+1} = f_k(w_k; p). Evaluated pulse by pulse it costs one call of the device's
functions per pulse; written as the system F_k(w) = f_k(w_k) − w_{k+1} = 0 for all k it is solved by Newton's method,
whose linear systems are bidiagonal (Lim et al., "Parallelizing non-linear sequential models over the sequence length",
ICLR 2024, eq. 6; the device's functions are called unchanged). A pulse moves the state towards a bound, so
|∂f/∂w| <= 1 and the iteration takes about five steps; the first j states are exact after j steps in any case.

Sensitivities follow from one more bidiagonal system, S_{k+1} = (∂f/∂w)_k S_k + (∂f/∂p)_k, at the price of one call with
2 (1 + number of parameters) columns.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.linalg.lapack import dtbtrs

from cosim.devices.base import Array

Step = Callable[[Array], Array]
# Step of central differences: the cube root of the rounding error balances it against truncation.
DIFFERENCE = 6e-6
CONVERGED = 1e-12
ITERATIONS = 60


def accumulate(slope: Array, source: Array) -> Array:
    """The recursion y_0 = source_0, y_{k+1} = slope_k y_k + source_{k+1}; (n,), (n + 1, m) -> (n + 1, m)."""
    if not source.size:  # LAPACK's wrapper writes beyond the memory of no columns
        return source
    band = np.empty((2, source.shape[0]), order="F")  # its diagonal, of ones, is not read
    band[1, :-1] = -slope
    return np.asarray(dtbtrs(band, source, uplo="L", diag="U")[0])


def sequential(step: Callable[[int, float], float], w0: float, n: int) -> Array:
    """The states before each of ``n`` pulses and after the last, pulse by pulse; (n + 1,)."""
    states = np.empty(n + 1)
    states[0] = w0
    for k in range(n):
        states[k + 1] = step(k, states[k])
    return states


def slopes(step: Step, states: Array) -> tuple[Array, Array]:
    """f(w) and ∂f/∂w by differences that stay inside [0, 1]; both (n,). ``step`` maps (3, n) states to (3, n)."""
    high = np.minimum(states + DIFFERENCE, 1.0)
    low = np.maximum(states - DIFFERENCE, 0.0)
    after = step(np.stack([states, high, low]))
    return after[0], (after[1] - after[2]) / (high - low)


def solve(step: Step, w0: float, *, guess: Array) -> tuple[Array, Array, bool]:
    """All states of a train of n pulses.

    Args:
        step: the pulse map of every pulse: (m, n) states before -> (m, n) states after, column k by pulse k.
        w0: the initial state, in [0, 1].
        guess: (n + 1,) states to start from.

    Returns:
        The states (n + 1,), the slopes (n,) ∂w_{k+1}/∂w_k, and whether the largest correction fell below 1e-12.
    """
    states = np.clip(guess, 0.0, 1.0)
    states[0] = w0
    slope = np.zeros(states.size - 1)
    for _ in range(ITERATIONS):
        after, slope = slopes(step, states[:-1])
        defect = np.concatenate([[0.0], after - states[1:]])
        correction = accumulate(slope, defect[:, None])[:, 0]
        states = np.clip(states + correction, 0.0, 1.0)
        if float(np.max(np.abs(correction))) < CONVERGED:
            return states, slope, True
    return states, slope, False
