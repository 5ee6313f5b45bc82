"""How a part of an event neuron's law is learned of samples: by held-out error, and so that outliers hardly move it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from cosim.devices.base import Array
from cosim.surrogate.bases import Polynomial, scaled
from cosim.surrogate.learned import WORTH, Fitted, Law, fit
from cosim.surrogate.samples import DEGREES, LEAST_SAMPLES

KINDS = ("polynomial", "spline")  # of laws, where nothing else is said
CAP, LEAST_FRESH = 10.0, 0.02  # medians of what a law may miss a sample by; where a reset still tells


def law_of(given: Mapping[str, Array], target: Array, kept: NDArray[np.bool_], scale: float, rng: np.random.Generator,
         *, worth: float = np.inf, kinds: Sequence[str] = ("polynomial",)) -> Law | None:  # fmt: skip
    """A law of those of ``given`` that vary, for what is ``kept``; None where ``worth`` of the target is left."""
    made = fitted(given, target, kept, scale, rng, worth=worth, kinds=kinds)
    return None if made is None else made.law


def fitted(given: Mapping[str, Array], target: Array, kept: NDArray[np.bool_], scale: float, rng: np.random.Generator,
            *, worth: float = np.inf, kinds: Sequence[str] = ("polynomial",)) -> Fitted | None:  # fmt: skip
    """`law_of`, with its held-out errors."""
    if np.count_nonzero(kept) < LEAST_SAMPLES:
        return None
    chosen = {name: column[kept] for name, column in given.items() if np.ptp(column[kept]) > 0.0}
    size = float(np.sqrt(np.mean(target[kept] ** 2)))
    if not chosen or not size > 1e-9 * scale:
        return None
    made = fit(chosen, {"it": target[kept]}, scales={"it": size if worth < np.inf else scale}, rng=rng, kinds=kinds)
    return made if made.held["it"] < worth else None


def best_of(choices: Sequence[Mapping[str, Array]], target: Array, kept: NDArray[np.bool_], scale: float,
          rng: np.random.Generator) -> Law | None:  # fmt: skip
    """The one of `law_of`'s of each of ``choices`` that has the least held-out error."""
    tried = [fitted(one, target, kept, scale, rng, kinds=KINDS) for one in choices]
    made = [one for one in tried if one is not None]
    return min(made, key=lambda one: one.held["it"]).law if made else None


def trimmed(given: Mapping[str, Array], target: Array, kept: NDArray[np.bool_], scale: float,
             rng: np.random.Generator, *, kinds: Sequence[str] = ("polynomial",)) -> Law | None:  # fmt: skip
    """`law_of`, made anew without what it misses by `CAP` times the median."""
    found = law_of(given, target, kept, scale, rng, kinds=kinds)
    if found is None:
        return None
    away = np.abs(found({name: column for name, column in given.items() if name in found.fields})["it"] - target)
    return law_of(given, target, kept & (away <= CAP * np.median(away[kept])), scale, rng, kinds=kinds)


def smooth(given: Mapping[str, Array], target: Array) -> Law:
    """A polynomial that outliers hardly move, of the degree that samples allow: up to 5 of one quantity, 3 of two."""
    x = np.stack(list(given.values()), axis=1)
    fields = x.shape[1]
    degree = max(d for d in range(7 - 2 * fields + 1) if d == 0 or 3 * math.comb(fields + d, d) <= len(x))
    ends = np.stack([x.min(axis=0), x.max(axis=0) + 1e-30], axis=1)
    plain = np.zeros(x.shape[1], dtype=bool)
    basis = Polynomial.basis(scaled(x, ends, plain), degree)
    model = Polynomial(degree, robust(basis, target, np.ones(len(x)))[:, None])
    return Law("polynomial", tuple(given), ends, plain, ("it",), np.zeros(1), np.ones(1), model)


def weighted(
    given: Mapping[str, Array], fresh: Array, target: Array, weight: Array, rng: np.random.Generator, *, most: float
) -> Law | None:
    """A polynomial of ``given`` that, times ``fresh``, is the target where that is a number.

    By weighted least squares, the weight being what a unit of the target does; above ``most`` times its median it
    counts as that. None where the polynomial helps too little.
    """
    kept = np.isfinite(target) & (fresh > LEAST_FRESH)
    if np.count_nonzero(kept) < 3 * LEAST_SAMPLES:
        return None
    share = fresh[kept]
    named = {name: column[kept] for name, column in given.items() if np.ptp(column[kept]) > 0.0}
    y, w = target[kept], np.minimum(weight[kept], most * np.median(weight[kept]))
    ends = np.array([[column.min(), column.max()] for column in named.values()])
    plain = np.zeros(len(named), dtype=bool)
    x = scaled(np.stack(list(named.values()), axis=1), ends, plain)
    order = rng.permutation(y.size)
    held, used = order[: y.size // 3], order[y.size // 3 :]
    best, degree = WORTH * float(np.mean(w[held] * np.abs(y[held]))), None
    for tried in DEGREES:
        if 4 * math.comb(x.shape[1] + tried, tried) > used.size:
            break
        basis = Polynomial.basis(x, tried) * share[:, None]
        found = robust(basis[used], y[used], w[used])
        error = float(np.mean(w[held] * np.abs(basis[held] @ found - y[held])))
        if error < best:
            best, degree = error, tried
    if degree is None:
        return None
    model = Polynomial(degree, robust(Polynomial.basis(x, degree) * share[:, None], y, w)[:, None])
    return Law("polynomial", tuple(named), ends, plain, ("it",), np.zeros(1), np.ones(1), model)


def robust(a: Array, y: Array, w: Array) -> Array:
    """Coefficients by weighted least squares, in which outliers count less the farther they are (Huber)."""
    more = np.ones_like(w)
    for _ in range(6):
        found = np.linalg.lstsq(a * (w * more)[:, None], y * w * more, rcond=1e-8)[0]
        away = w * np.abs(a @ found - y)
        more = np.sqrt(np.minimum(1.0, 2.0 * np.median(away) / np.maximum(away, 1e-30)))
    return np.asarray(found)


def nearest(x: Array, y: Array) -> tuple[float, float]:
    """Where y is 0, nearest to x = 0, and the slope there; not a number where it nowhere is."""
    with np.errstate(invalid="ignore"):
        k = np.flatnonzero(np.isfinite(y[1:]) & np.isfinite(y[:-1]) & (y[1:] * y[:-1] <= 0.0) & (y[1:] != y[:-1]))
    if not k.size:
        return np.nan, 0.0
    slope = (y[k + 1] - y[k]) / (x[k + 1] - x[k])
    at = x[k] - y[k] / slope
    best = int(np.argmin(np.abs(at)))
    return float(at[best]), float(abs(slope[best]))
