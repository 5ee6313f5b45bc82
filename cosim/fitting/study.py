"""What a fit knows, and what each design would add to it: the reckoning behind `cosim.fitting.next_measurement`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from cosim.data.kinds import KINDS
from cosim.data.recording import Recording
from cosim.devices.base import Array, Values
from cosim.fitting.continued import Continued, continued, fitted, spread_over
from cosim.fitting.designs import DRIVES, Design, designs
from cosim.fitting.forward import Forward, SequenceForward
from cosim.fitting.joint_result import JointResult
from cosim.fitting.next_measurement import NextMeasurement
from cosim.fitting.result import FitResult
from cosim.fitting.uncertainty import natural_size
from cosim.units import show

# Rows of a proposal, at least and at most (our choice).
ROWS = (100, 200)
# Parameter values that a design is averaged over, of so many that are drawn, those that fit the curve best.
DRAWS, DRAWN = 6, 60
# Parameters that raise chi-square by no more than that of three standard deviations describe the curve too.
LIKELY = 9.0
# Groups of rows that a proposal of loose rows consists of, at most; the part of the information that is located.
SITES, MOST = 8, 0.8
# Of several recordings of one kind, at most so many are continued; of a circuit's designs, so many are simulated.
RECORDINGS, SIMULATED = 3, 6


class Study:
    """What a fit knows today, at several parameters that fit its curves.

    Args:
        fit: the fit.
        seed: of the parameters.
        rows: of a design; None: as many as the curve has, within `ROWS`.
    """

    def __init__(self, fit: FitResult | JointResult, *, seed: int = 0, rows: int | None = None) -> None:
        self._fit, self._rows = fitted(fit), rows
        problem = self._fit.problem
        # Of a clipped row only a side is known.
        self._problem = replace(problem, rows=problem.seen, side=None)
        self._names, self._bounds = problem.names, problem.bounds
        self._best = self._usual()
        self._sizes = np.array([natural_size(problem, name, float(self._best[name])) for name in self._names])
        width = np.array([high - low for low, high in (self._bounds[name] for name in self._names)])
        # Bounds of a scale are decades apart, which no linear model spans: ten times a size counts as wide.
        self._bounds_know = 12.0 / np.minimum(width / self._sizes, 10.0) ** 2
        # Where a curve began is over: further rows need not tell it. Nor do they tell a mean over devices.
        over = self._fit.means.union(*(one.began for one in self._fit.recordings))
        self._wanted = [name for name in self._names if name not in over] or list(self._names)
        self._points = self._likely(np.random.default_rng(seed))
        self._today = [self._information(p) for p in self._points]
        before = self._errors_of(self._today, self._wanted)
        self._worst = max(self._wanted, key=lambda name: before[name])
        self._judged: dict[tuple[str, str, bytes], NextMeasurement] = {}

    def judged(self, *, reach: float) -> list[NextMeasurement]:
        """What could be measured next, applied values up to ``reach`` times as large, and what it would tell."""
        made = []
        for one in continued(self._fit.recordings, self._worst, most=RECORDINGS):
            rows = self._rows or min(max(len(one.curve), ROWS[0]), ROWS[1])
            found = designs(one.curve, reach=reach, rows=rows, over=one.over)
            if one.expensive:
                found = self._promising(one, found, rows=rows)
            made += [self._told(one, design, rows=rows) for design in found]
        return made

    def _promising(self, one: Continued, found: list[Design], *, rows: int) -> list[Design]:
        """A few designs: the best ones by the device alone, and others at even distances; all that are known."""
        known = [design for design in found if _key(one, design) in self._judged]
        left = [design for design in found if _key(one, design) not in self._judged]
        best: list[Design] = []
        if one.quick is not None:
            ranked = [(self._tell(one, design, rows=rows, quick=True), k) for k, design in enumerate(left)]
            ranked.sort(key=lambda entry: (entry[0].after, -entry[0].gain))
            best = [left[k] for _, k in ranked[: SIMULATED // 2]]
        others = [design for design in left if design not in best]
        return [*known, *best, *spread_over(others, SIMULATED - len(best))]

    def _usual(self) -> Values:
        """The fitted parameters; those that the curves do not hold where they are, flat or at a bound, by default."""
        fit, problem = self._fit, self._problem
        entries = {entry.name: entry for entry in problem.forward.params}

        def usual(names: Iterable[str]) -> Values:
            values = {name: float(np.clip(entries[name].default, *self._bounds[name])) for name in names}
            return fit.values.with_(**values)

        most = problem.chi_square(fit.values) + LIKELY
        for names in ([*fit.uncertainty.flat, *fit.uncertainty.at_bound], fit.uncertainty.flat):
            if problem.chi_square(place := usual(names)) <= most:
                return place
        return fit.values

    def _likely(self, rng: np.random.Generator) -> list[Values]:
        """The fitted parameters, and others that describe the curves hardly worse; of simulated ones no others."""
        best = self._best
        if self._problem.forward.expensive:
            return [best]
        middle = np.array([float(best[name]) for name in self._names])
        low, high = (np.array([self._bounds[name][side] for name in self._names]) for side in (0, 1))
        spread = np.linalg.cholesky(np.linalg.inv(self._information(best))).T
        found: list[tuple[float, Values]] = []
        for _ in range(DRAWN):
            step = self._sizes * (rng.standard_normal(len(self._names)) @ spread)
            values = np.clip(middle + step, low, high)
            p = best.with_(**dict(zip(self._names, values.tolist(), strict=True)))
            chi_square = self._problem.chi_square(p)
            if math.isfinite(chi_square):
                found.append((chi_square, p))
        found.sort(key=lambda entry: entry[0])
        most = self._problem.chi_square(best) + LIKELY
        return [best, *(p for height, p in found[: DRAWS - 1] if height <= most)]

    def _information(self, p: Values) -> Array:
        """(k, k) of the fitted rows, of what was known beforehand, and of the bounds."""
        slopes = self._problem.slopes(p, self._names)
        jacobian = np.nan_to_num(slopes * self._sizes[:, None])
        return np.asarray(jacobian @ jacobian.T + np.diag(self._bounds_know))

    def _new(self, one: Continued, forward: Forward, p: Values, count: int) -> Array:
        """Derivatives (k, count) of the last rows by the unknowns, in units of size and noise."""
        local, found = one.local(p), np.zeros((len(self._names), count))
        asked = [name for name, unknown in one.names.items() if name in forward.active and unknown in self._names]
        at = Values({entry.name: local[entry.name] for entry in forward.params})
        slopes = forward.linearise(at, asked)[1][:, -count:]
        place = [self._names.index(one.names[name]) for name in asked]
        found[place] = np.nan_to_num(slopes * self._sizes[place][:, None] / one.noise)
        return found

    def _errors_of(self, informations: Sequence[Array], names: Sequence[str]) -> dict[str, float]:
        errors = _errors(informations)
        return {name: float(errors[self._names.index(name)]) for name in names}

    def _told(self, one: Continued, design: Design, *, rows: int) -> NextMeasurement:
        """What a design would tell; reckoned once."""
        key = _key(one, design)
        if key not in self._judged:
            self._judged[key] = self._tell(one, design, rows=rows)
        return self._judged[key]

    def _tell(self, one: Continued, design: Design, *, rows: int, quick: bool = False) -> NextMeasurement:
        forward = self._forward(one, design, quick=quick)
        most = float(np.ptp(one.curve.measured)) / one.noise
        new = [
            _bounded(self._new(one, forward, p, len(design)), m, most=most)
            for p, m in zip(self._points, self._today, strict=True)
        ]
        if design.loose:
            chosen = _chosen(self._today, new, count=rows)
            design = _named(design, chosen, one.curve)
            new = [jacobian[:, chosen] for jacobian in new]
            forward = self._forward(one, design, quick=quick)
        then = [m + jacobian @ jacobian.T for m, jacobian in zip(self._today, new, strict=True)]
        # A design tells of its own recording's parameters; those of other devices wait for another one.
        names = [name for name in self._wanted if name in one.names.values()]
        before, after = self._errors_of(self._today, names), self._errors_of(then, names)
        gains = [np.linalg.slogdet(t)[1] - np.linalg.slogdet(m)[1] for m, t in zip(self._today, then, strict=True)]
        tells, units = self._tells(one, design, forward, then[0], new[0])
        worst = max(names, key=lambda name: after[name])
        return NextMeasurement(
            design, self._worst, before[self._worst], after[worst], worst, float(np.mean(gains)), tells, units,
            {name: one.curve.units[name] for name in design.columns}, _reach(design, one.curve), one.name,
            self._fit.independent,
        )  # fmt: skip

    def _forward(self, one: Continued, design: Design, *, quick: bool) -> Forward:
        curve = design.after(one.curve)
        rows = np.append(one.rows, np.zeros(len(design), dtype=bool))  # the new ones are placeholders
        made = one.quick if quick and one.quick is not None else one.model
        return made(curve, rows)

    def _tells(
        self, one: Continued, design: Design, forward: Forward, information: Array, new: Array
    ) -> tuple[dict[str, tuple[float, float]], dict[str, str]]:
        """Where the rows lie that lower the variance of the parameter known worst most."""
        weight = (np.linalg.inv(information)[self._names.index(self._worst)] @ new) ** 2
        if not weight.any():
            return {}, {}
        heavy = np.argsort(-weight)
        heavy = heavy[: 1 + int(np.searchsorted(np.cumsum(weight[heavy]) / weight.sum(), MOST))]
        curve = one.curve
        places = {name: c for name, c in design.columns.items() if KINDS[curve.kind].role(name) == "applied"}
        units = {name: curve.units[name] for name in places}
        if isinstance(forward, SequenceForward):
            state = forward.states(one.local(self._best))[:-1][-len(design) :]
            places, units = {**places, forward.state_name: state}, {**units, forward.state_name: "1"}
        found = {name: (float(column[heavy].min()), float(column[heavy].max())) for name, column in places.items()}
        return {n: ends for n, ends in found.items() if np.ptp(places[n]) > 0.0}, units


def _key(one: Continued, design: Design) -> tuple[str, str, bytes]:
    return one.name, design.title, b"".join(column.tobytes() for column in design.columns.values())


def _reach(design: Design, curve: Recording) -> float:
    driven = [name for name in design.columns if curve.units[name] in DRIVES and np.any(curve[name])]
    factors = [float(np.abs(design.columns[name]).max() / np.abs(curve[name]).max()) for name in driven]
    return max(factors, default=1.0)


def _bounded(new: Array, information: Array, *, most: float) -> Array:
    """Derivatives (k, m) of readings in units of their noise, no reading expected to tell more than ``most`` levels.

    Where today's errors would move a reading by more than the range of the curve, as where a state switches at once,
    the linear model promises what no reading can tell.
    """
    moved = np.sqrt(np.sum(new * np.linalg.solve(information, new), axis=0))
    return np.asarray(new / np.maximum(moved / most, 1.0))


def _errors(informations: Sequence[Array]) -> Array:
    """The relative standard errors (k,), averaged in their logarithm."""
    variances = [np.diag(np.linalg.inv(m)) for m in informations]
    return np.asarray(np.exp(0.5 * np.mean(np.log(np.maximum(variances, 1e-300)), axis=0)))


def _chosen(today: list[Array], new: list[Array], *, count: int) -> NDArray[np.int64]:
    """The ``count`` rows, with repetitions, that lower the sum of the variances most; each time the best one."""
    left, chosen = [np.linalg.inv(m) for m in today], np.empty(count, dtype=np.int64)
    for k in range(count):
        drop = np.zeros(new[0].shape[1])
        for c, j in zip(left, new, strict=True):
            cj = c @ j
            drop += np.sum(cj**2, axis=0) / (1.0 + np.sum(j * cj, axis=0)) / np.trace(c)
        best = int(np.argmax(drop))
        chosen[k] = best
        for i, j in enumerate(new):
            v = left[i] @ j[:, best]
            left[i] = left[i] - np.outer(v, v) / (1.0 + j[:, best] @ v)
    return chosen


def _named(design: Design, chosen: NDArray[np.int64], curve: Recording) -> Design:
    """The chosen rows, in words."""
    columns = {name: column[chosen] for name, column in design.columns.items()}
    sites, counts = np.unique(chosen, return_counts=True)
    most = np.argsort(-counts, kind="stable")[:SITES]

    def place(site: int) -> str:
        return ", ".join(f"{n} = {show(float(c[site]), curve.units[n], digits=3)}" for n, c in design.columns.items())

    parts = [f"{counts[i]} at {place(int(sites[i]))}" for i in most]
    tail = f" and {sites.size - most.size} more places" if sites.size > most.size else ""
    return Design(f"{chosen.size} rows: {'; '.join(parts)}{tail}", columns, loose=True)
