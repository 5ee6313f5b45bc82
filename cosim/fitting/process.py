r"""Pulse trains whose steps vary from pulse to pulse (cycle-to-cycle noise), beside the noise of the reads.

A train that is predicted from its first state alone carries every deviation of a step on to all later reads: its
residuals are a random walk, and least squares takes them for independent. Here each read is predicted from those before
it. With w the state, f the device's pulse map and G its read conductance,

    w_{k+1} = f_k(w_k) + η (f_k(w_k) − w_k) ξ_k,    y_k = G(w_k) + σ ζ_k,    ξ, ζ independent, standard normal,

an extended Kalman filter gives the innovations v_k = y_k − G(ŵ_k), their variances S_k and the gains (Anderson & Moore,
*Optimal Filtering*, ch. 8.2). The device's parameters minimise Σ v²/S at given gains, which is the prediction-error
method (Ljung, *System Identification*, ch. 7.2: standard errors from the Jacobian of v/√S, as in least squares); η and
σ minimise Σ (ln S + v²/S); the two take turns. A row that is not fitted corrects nothing.

Of a clipped read only its side of the limit is known: it has the likelihood of that, and corrects the state by the mean
of what lies beyond, as a truncated normal has it (Allik et al., IEEE Trans. Control Syst. Technol.
24, 365 (2016)). Left out,
clipped reads leave those that the noise kept below the limit, and the range comes out too small.

A state that ends at a bound stays there: its mean and variance before a read are those of the normal distribution with
what lies beyond 0 and 1 moved to these (`clipped`). Without it a strong pulse, which leads to a bound more often than
beyond, seems weaker than it is.

A gain is kept as κ in ŵ + κ (y − G(ŵ))/(G(1) − G(0)), so that it means the same when the range of the reads changes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_ndtr, ndtr

from cosim.data.recording import Curve
from cosim.devices.base import Array, DeviceModel, Values
from cosim.emit.numba_filter import variances
from cosim.fitting import first_state, trajectory
from cosim.fitting.forward import Index, Limits, Rows
from cosim.fitting.forwards.pulse_train import PulseTrainForward
from cosim.fitting.plateau import hazard, most_likely
from cosim.fitting.problem import Minimum, Problem
from cosim.fitting.uncertainty import covariance_of

Side = NDArray[np.int64]
# The last change of the parameters, in standard errors.
SETTLED = 0.01
ROUNDS = 12


@dataclass(frozen=True)
class TrainNoise:
    """The noise of a train, standard deviations: ``step`` η over a step; ``read`` in S, or over a given one."""

    step: float
    read: float

    def sentence(self, curve: Curve, *, assumed: bool) -> str:
        """What was found, and what it means for errors and intervals; ``assumed``: the recipe does not mention it."""
        share = self.read / float(np.ptp(curve.measured))
        advice = '; a wrong law can look like that: write noise.step = "fit" if the device is known to do so'
        return (
            f"the steps vary from pulse to pulse, by {self.step:.0%} of each (cycle to cycle), beside {share:.1%} of "
            "the range as noise of a read: each read is predicted from those before it, and intervals allow for both"
            + (advice if assumed else "")
        )


class FilteredTrain(PulseTrainForward):
    """Predicts each read from those before it.

    Args:
        device, curve, rows: as of any train.
        gain: (n,) κ of each read, 0 where it is not used.
        side: (n,) of clipped reads.
        sigma: (n,) deviations (S) of the innovations.
        width: (n,) standard deviation of the state before each read, were it not for its bounds.
    """

    def __init__(
        self,
        device: DeviceModel,
        curve: Curve,
        rows: Rows,
        *,
        gain: Array,
        side: Side | None = None,
        sigma: float | Array = 1.0,
        width: float | Array = 0.0,
    ) -> None:
        super().__init__(device, curve, rows)
        self.side = np.zeros(rows.size, dtype=np.int64) if side is None else np.where(rows, side, 0)
        self.gain = np.where(rows, gain, 0.0)
        # The state before pulse k is corrected by read k − 1.
        self._before = np.concatenate([[0.0], self.gain[:-1]])
        self._before_read = np.concatenate([[0.0], self._read[:-1]])
        self._limit = np.concatenate([[0], self.side[:-1]])
        self._sigma = np.concatenate([[1.0], np.broadcast_to(sigma, rows.shape)[:-1]])
        self._width = np.array(np.broadcast_to(width, rows.shape), dtype=float)
        # What the variances of its innovations are made of, once it is fitted.
        self._noise: tuple[TrainNoise, Array] | None = None

    @classmethod
    def of(cls, train: PulseTrainForward, rows: Rows, *, gain: Array, side: Side | None = None) -> FilteredTrain:
        """A train that was predicted from its first state alone."""
        return cls(train.device, train.curve, rows, gain=gain, side=side)

    def span(self, p: Values) -> Array:
        """G(1) − G(0) (S); scalar, or (m, 1) with parameters (m, 1)."""
        ends = self._observe(np.array([0.0, 1.0]), p)
        return np.asarray(ends[..., 1:] - ends[..., :1])

    @property
    def _corrections(self) -> tuple[Array, ...]:
        return self._before, self._before_read, self._limit, self._sigma, self._width

    def _corrected(self, w: Array, p: Values, *, at: slice = slice(None)) -> Array:
        error = self._before_read[at] - self._observe(w, p)
        side, sigma = self._limit[at], self._sigma[at]
        if side.any():
            beyond = side * sigma * hazard(np.where(side == 0, 0.0, -side * error / sigma))
            error = np.where(side == 0, error, beyond)
        return np.asarray(np.clip(w + self._before[at] * error / self.span(p), 0.0, 1.0))

    def _after(self, w: Array, p: Values) -> Array:
        return clipped(super()._after(self._corrected(w, p), p), self._width)[0]

    def _after_one(self, k: int, w: float, p: Values) -> float:
        after = super()._after_one(k, float(self._corrected(np.array([w]), p, at=slice(k, k + 1))[0]), p)
        return float(clipped(np.array(after), self._width[k])[0])

    def repeated(self, predicted: Array) -> Index | None:
        """None: each prediction uses the read before it."""
        return None

    def limits(self, name: str, p: Values, height: float) -> Limits | None:
        """Of the initial state: known from the first reads alone, whose noise is that of the steps from there.

        One step that happens to end at a bound makes it look known. Where the level `first_state.SURE` leaves open
        more than half of its range, it is not determined, whatever one step says, and the ends are of that level.
        """
        if self._noise is None or name != self._state.initial:
            return None
        noise, base = self._noise
        span, used = float(self.span(p)[0]), self.fitted
        sigma = np.broadcast_to(noise.read * base, used.shape)
        count = first_state.cells(float(np.min(sigma[used])) / abs(span))
        blur = abs(span) / count / math.sqrt(6.0)  # of a value that is divided between two points

        def read(k: int, w: Array) -> Array:
            if not used[k]:
                return np.zeros(w.size)
            z = (self._read[k] - self._observe(w, p)) / math.hypot(sigma[k], blur)
            return np.asarray(-0.5 * z**2 if self.side[k] == 0 else log_ndtr(-self.side[k] * z))

        starts = np.linspace(0.0, 1.0, first_state.STARTS)
        found = first_state.log_likelihood(
            starts, lambda k, w: self._after_each(k, w, p), read,
            pulses=used.size, variation=noise.step, count=count,
        )  # fmt: skip
        if not np.isfinite(found).any():
            return None
        low, high = first_state.limits(starts, found, height * first_state.SURE)
        if min(high, 1.0) - max(low, 0.0) > 0.5:
            return Limits(low, high, determined=False)
        return Limits(*first_state.limits(starts, found, height))

    def with_gain(self, gain: Array, sigma: Array, width: Array) -> FilteredTrain:
        """The same train with other gains, deviations (S) of the innovations, and widths of the states."""
        made = FilteredTrain(
            self.device, self.curve, self.fitted, gain=gain, side=self.side, sigma=sigma, width=width
        )  # fmt: skip
        made._states = self._states
        return made

    def linear(self, p: Values) -> Linear:
        """The train linearised along its corrected states at ``p``."""
        states = self._solve(p)[0]
        corrected = self._corrected(states[:-1], p)
        after, slope = trajectory.slopes(lambda w: super(FilteredTrain, self)._after(w, p), corrected)
        predicted, read = trajectory.slopes(lambda w: self._observe(w, p), states[1:])
        span = float(self.span(p)[0])
        beyond = np.where(self.side == 0, math.nan, self.side * (predicted - self._read) / span)
        return Linear(after, after - corrected, slope, read / span, beyond, span)


@dataclass(frozen=True)
class Linear:
    """Along a train, all (n,): the state ``after`` each pulse, its step, its slope ∂f/∂w, G'/``span`` of each read, and
    how far over its limit a clipped one is predicted, over ``span`` (NaN where it is not clipped).
    """

    after: Array
    step: Array
    slope: Array
    read: Array
    beyond: Array
    span: float

    def filtered(self, spread: TrainNoise, noise: Array, rows: Rows) -> tuple[Array, Array, Array]:
        """Standard deviation √S (S) of each innovation, gain κ of each read, which has ``noise`` (S), and width of the
        state before it; all (n,).

        The initial state is a parameter and has no variance.
        """
        variance, gain, width = variances(
            self.after, self.slope**2, (spread.step * self.step) ** 2, self.read,
            (spread.read * noise / self.span) ** 2, self.beyond, rows,
        )  # fmt: skip
        return self.span * np.sqrt(variance), gain, width


def clipped(mean: Array | float, width: Array | float) -> tuple[Array, Array]:
    """Mean and variance of a normal variable whose values below 0 are moved to 0, and those above 1 to 1."""
    s = np.maximum(width, 1e-9)
    low, high = (0.0 - mean) / s, (1.0 - mean) / s
    below, within, above = ndtr(low), ndtr(high) - ndtr(low), ndtr(-high)
    first, last = _density(low), _density(high)
    centre = mean * within + s * (first - last) + above
    square = (
        s**2 * (within + low * first - high * last)
        + below * mean**2
        + above * (1.0 - mean) ** 2
        - (centre - mean) ** 2  # all about ``mean``, for precision where the width is small
    )
    return np.asarray(centre), np.asarray(np.maximum(square, 0.0))


def _density(z: Array | float) -> Array:
    return np.asarray(np.exp(-0.5 * np.square(z)) / math.sqrt(2.0 * math.pi))


def fit_train(
    problem: Problem, starts: Sequence[Values], *, noise: Array | None, step: float | None
) -> tuple[Minimum, Problem, TrainNoise]:
    """The fit of a pulse train with read by read prediction (module docstring).

    Args:
        problem: the train as it is fitted from its first state alone; with the sides of its clipped rows.
        starts: values to start from.
        noise: (n,) standard deviation of a read in S where it is known.
        step: η where it is known.

    Returns:
        The minimum, the problem whose ``sigma`` are the innovations' deviations, and the noise.
    """
    train = problem.forward
    assert isinstance(train, PulseTrainForward)
    rows = problem.seen
    forward = FilteredTrain.of(train, rows, gain=np.ones(rows.size))
    flat = np.full(rows.size, float(np.std(problem.measured[rows])))
    found = Problem(forward, problem.measured, flat, rows, problem.names, problem.bounds)
    best = min((found.minimise(start) for start in starts), key=lambda minimum: minimum.chi_square)
    base = flat if noise is None else noise
    # The first guess: most of what a state that is taken from the last read leaves is the steps'.
    spread = TrainNoise(0.2 if step is None else step, 0.3 * found.scale(best.p) if noise is None else 1.0)
    forward = FilteredTrain.of(train, problem.rows, gain=forward.gain, side=problem.side)
    for _ in range(ROUNDS):
        spread = likely_noise(
            forward, best.p, problem.measured, base, start=spread, read=noise is None, step=step is None
        )
        sigma, gain, width = forward.linear(best.p).filtered(spread, base, problem.rows)
        forward = forward.with_gain(gain, sigma, width)
        found = replace(problem, forward=forward, sigma=sigma, noise=None)
        last, best = best, found.minimise(best.p)
        uncertainty = covariance_of(found, best.p, scale=1.0)
        moved = [abs(float(best.p[n] - last.p[n])) / (uncertainty.stderr(n) or math.inf) for n in problem.names]
        if max(moved) < SETTLED:
            break
    else:
        best = replace(best, converged=False, message=f"parameters and noise do not settle in {ROUNDS} rounds")
    forward._noise = spread, base
    return best, found, TrainNoise(spread.step, spread.read * float(np.median(base[rows])))


def likely_noise(
    forward: FilteredTrain, p: Values, measured: Array, noise: Array, *, start: TrainNoise, read: bool, step: bool
) -> TrainNoise:
    """The noise that makes the innovations at ``p`` most likely; ``read`` and ``step`` say which of the two varies."""
    if not read and not step:
        return start
    linear, rows, side = forward.linear(p), forward.fitted, forward.side
    clipped = rows & (side != 0)

    def spread(x: Array) -> TrainNoise:
        free = iter(np.exp(x).tolist())
        return TrainNoise(next(free) if step else start.step, next(free) if read else start.read)

    def cost(x: Array) -> float:
        sigma, gain, width = linear.filtered(spread(x), noise, rows)
        z = (forward.with_gain(gain, sigma, width).predict(p) - measured) / sigma
        z[clipped] = most_likely(z[clipped], side[clipped])[0]
        return float(z[rows] @ z[rows] + 2.0 * np.sum(np.log(sigma[rows & ~clipped])))

    x0 = np.log([value for value, free in ((start.step, step), (start.read, read)) if free])
    found = minimize(cost, x0, method="Nelder-Mead", options={"xatol": 5e-3, "fatol": 1e-2, "maxfev": 80})
    return spread(found.x)


def without_law(forward: FilteredTrain, measured: Array) -> Array:
    """Measured − predicted (n,), each read predicted from those before it without regard to the pulses."""
    level, found = float(measured[forward.fitted][0]), np.empty(measured.size)
    for k, (read, gain) in enumerate(zip(measured.tolist(), forward.gain.tolist(), strict=True)):
        found[k] = read - level
        level += gain * found[k]
    return found
