"""Filters: a reduced ordinary differential equation of one state, exact while its input is constant (a DPI's current).

The state i (A) moves under the level k of the input by the translinear law of a differential pair integrator::

    τ (1 + h / i) di/dt = i∞(k) − i

whose limit for a small threshold current h is first order (Eq. 6 of M. A. Nicholson's thesis, Groningen 2024). h may be
negative, where a trimmed circuit makes up for more than it. One event is a level and for how long it is held. Inside it
the time from i₀ to i has a closed form,

    t/τ = B ln(|i∞ − i₀| / |i∞ − i|) + A ln(i / i₀),     A = h/i∞,  B = 1 + A,

which Newton's method turns round. τ, h and i∞ of every level are fitted with lmfit to the circuit's waveform; what they
leave of each event's change is learned where that lowers the held-out error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from cosim.devices.base import Array
from cosim.errors import FitError, InputError
from cosim.surrogate.learned import WORTH, Law, fit

NEWTON, SOLVED = 50, 1e-9  # steps at most; it is solved when the logarithm moves by less (our choice)
SMALLEST = 1e-6  # of the largest i∞: states below count as this
TURN = 1.05  # of a negative h: below −h the law would run backwards, so that states there count as this


@dataclass(frozen=True)
class FilterTrain:
    """A state under an input of several levels.

    Args:
        begin: (n + 1,) s, when each event begins, and the last one ends. level: (n,) of the input, from 0 on.
        state: (n + 1,) A, of the circuit at ``begin``.
    """

    begin: Array
    level: NDArray[np.int64]
    state: Array


@dataclass(frozen=True)
class FilterLaw:
    """The law of a filter (module docstring), as `cosim.surrogate.learned.Law` is one.

    Args:
        tau: s. threshold: h, A. ends: (levels,) A, i∞ of each level.
        rest: learned remainder of an event's change (A), of all three fields; None: none.
    """

    tau: float
    threshold: float
    ends: Array
    rest: Law | None = None

    kind: ClassVar[str] = "filter"
    fields: ClassVar[tuple[str, ...]] = ("i", "level", "interval")
    targets: ClassVar[tuple[str, ...]] = ("i",)

    def __call__(self, values: Mapping[str, Array]) -> dict[str, Array]:
        """The change of i; the values broadcast. Raises `InputError` for a level that is not one of the law's, and
        `FitError` as `after` does."""
        i, level, interval = np.broadcast_arrays(*(np.asarray(values[name], dtype=float) for name in self.fields))
        wrong = ~np.isin(level, np.arange(self.ends.size))
        if np.any(wrong):
            raise InputError(
                f"the level {level[wrong].flat[0]:g} of the input is not one of the filter's",
                remedy=f"give a whole number from 0 to {self.ends.size - 1}",
            )
        change = self.after(i, self.ends[level.astype(np.int64)], interval) - i
        if self.rest is not None:
            change = change + self.rest({"i": i, "level": level, "interval": interval})["rest"]
        return {"i": change}

    def after(self, i: Array, end: Array, interval: Array) -> Array:
        """i after ``interval`` (s) on the way to ``end``. Raises `FitError` where Newton's method does not converge."""
        found, step = self._solved(i, end, interval)
        if not step < SOLVED:
            raise FitError(
                f"the time course of the filter was not solved in {NEWTON} steps: the last moved it by {step:.2g}",
                remedy="give a state above zero, or fit the filter again: its threshold does not suit its levels",
            )
        return found

    def _solved(self, i: Array, end: Array, interval: Array) -> tuple[Array, float]:
        """i after ``interval`` (s), and by how much the last step of Newton's method moved its logarithm."""
        i = np.maximum(i, max(SMALLEST * float(self.ends.max()), -TURN * self.threshold))
        a = self.threshold / end
        gap = end - i
        # in y = the logarithm of what is left of the gap, over its beginning: G(y) = −B y + A ln(i(y)/i₀) − t/τ
        y = -interval / (self.tau * (1.0 + self.threshold / np.maximum(i, end)))
        moved = np.inf
        for _ in range(NEWTON):
            left = gap * np.exp(y)
            now = np.maximum(end - left, 1e-30)
            value = -(1.0 + a) * y + a * np.log(now / i) - interval / self.tau
            slope = -(1.0 + a) - a * left / now
            step = value / slope
            y = np.minimum(y - step, 0.0)
            moved = float(np.max(np.abs(step), initial=0.0))
            if moved < SOLVED:
                break
        return np.asarray(end - gap * np.exp(y)), moved

    def document(self) -> dict[str, Any]:
        """Its names, as JSON values."""
        return {"kind": self.kind, "rest": None if self.rest is None else self.rest.document()}

    def arrays(self, prefix: str) -> dict[str, NDArray[Any]]:
        """Its numbers, for a file."""
        own: dict[str, NDArray[Any]] = {
            f"{prefix}_tau": np.array(self.tau),
            f"{prefix}_threshold": np.array(self.threshold),
            f"{prefix}_ends": self.ends,
        }
        return own | ({} if self.rest is None else self.rest.arrays(f"{prefix}_rest"))

    @classmethod
    def rebuilt(cls, document: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], prefix: str) -> Self:
        """The inverse of `document` and `arrays`; raises KeyError or ValueError for what cannot be one."""
        tau, threshold = float(arrays[f"{prefix}_tau"]), float(arrays[f"{prefix}_threshold"])
        ends = np.asarray(arrays[f"{prefix}_ends"], dtype=float)
        if not (tau > 0.0 and ends.ndim == 1 and ends.size and np.all(ends > 0.0)):
            raise ValueError("numbers of a filter")
        if not np.all(np.isfinite([tau, threshold, *ends])):
            raise ValueError("numbers of a filter that are not finite")
        given = document["rest"]
        return cls(tau, threshold, ends, None if given is None else Law.rebuilt(given, arrays, f"{prefix}_rest"))


def fit_filter(trains: Sequence[FilterTrain], *, tau: float, seed: int = 0) -> FilterLaw:
    """The law by least squares on what each event does, from a first guess of ``tau`` (s).

    Raises `FitError` where a level never occurs.
    """
    # lmfit brings 80 MB, which a network that only evaluates has no use for
    from cosim.fitting.minimise import minimise

    level = np.concatenate([train.level for train in trains])
    before, after = (np.concatenate([train.state[part] for train in trains]) for part in (slice(-1), slice(1, None)))
    interval = np.concatenate([np.diff(train.begin) for train in trains])
    count = int(level.max()) + 1
    if np.any(np.bincount(level, minlength=count) == 0):
        raise FitError("a level of the input does not occur in the trains", remedy="number levels from 0, without gaps")
    scale = float(after.max())
    begin = {"tau": 1.0, "threshold": 0.001}
    for k in range(count):
        kept = np.exp(-interval[level == k] / tau)
        guess = float(np.median((after[level == k] - before[level == k] * kept) / (1.0 - kept)))
        begin[f"end_{k}"] = max(guess / scale, 1e-3)
    bounds = {"tau": (0.1, 10.0), "threshold": (-0.1, 1.0)} | {f"end_{k}": (1e-4, 1e3) for k in range(count)}

    def law(p: Mapping[str, Any]) -> FilterLaw:
        ends = scale * np.array([float(p[f"end_{k}"]) for k in range(count)])
        return FilterLaw(tau * float(p["tau"]), scale * float(p["threshold"]), ends)

    def residual(p: Mapping[str, Any]) -> Array:
        one = law(p)
        # what a trial of the parameters does not solve costs as much as it is wrong: the result has to be solved
        return np.asarray((one._solved(before, one.ends[level], interval)[0] - after) / scale)

    found = law(minimise(residual, begin, bounds=bounds).params.valuesdict())
    fields = {"i": before, "level": level.astype(float), "interval": interval}
    rest = {"rest": after - before - found(fields)["i"]}
    try:
        learned = fit(fields, rest, scales={"rest": float(np.std(rest["rest"]))}, rng=np.random.default_rng(seed),
                      kinds=("polynomial", "spline"))  # fmt: skip
    except (FitError, InputError):  # too few events, or a field that never varies: the physics stays alone
        return found
    return replace(found, rest=learned.law) if learned.held["rest"] < WORTH else found


def run_filter(law: FilterLaw, train: FilterTrain) -> Array:
    """(n + 1,) A: the law through a train, following itself from the circuit's first state."""
    path = [float(train.state[0])]
    for level, interval in zip(train.level, np.diff(train.begin), strict=True):
        here = {"i": np.array(path[-1]), "level": np.array(float(level)), "interval": np.array(interval)}
        path.append(path[-1] + float(law(here)["i"]))
    return np.array(path)


def pulse_train(
    time: Array, state: Array, pulses: Sequence[tuple[Array, float]], *, points: Sequence[float] = ()
) -> FilterTrain:
    """A waveform as a train of events.

    Args:
        time, state: (m,) s, A.
        pulses: of each input, the times at which its pulses begin and how long each lasts (s); level is the sum of
            2^k of the inputs k that are on.
        points: further times (s) at which an event ends and the next begins.
    """
    edges = {float(time[0]), float(time[-1]), *points}
    for starts, width in pulses:
        edges |= {float(t) for t in np.concatenate([starts, starts + width]) if time[0] < t < time[-1]}
    begin = np.array(sorted(edges))
    middle = 0.5 * (begin[1:] + begin[:-1])
    level = np.zeros(middle.size, dtype=np.int64)
    for k, (starts, width) in enumerate(pulses):
        last = np.searchsorted(starts, middle, side="right") - 1
        on = (last >= 0) & (middle < starts[np.maximum(last, 0)] + width)
        level += on.astype(np.int64) << k
    return FilterTrain(begin, level, np.interp(begin, time, state))
