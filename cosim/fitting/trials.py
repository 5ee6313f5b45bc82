"""What describes a recording: devices and laws, each fitted to a part of its rows, and put into an order.

The rules, and why, are in `cosim.fitting.auto`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from cosim.data.kinds import KINDS
from cosim.data.recording import Curve
from cosim.devices.base import Values
from cosim.devices.registry import device, devices
from cosim.errors import FitError
from cosim.fitting.criteria import Criteria, criteria
from cosim.fitting.forward import Rows
from cosim.fitting.laws import CONSTANT, DEVICES_TAKE, LAWS
from cosim.fitting.problem import Minimum, Problem
from cosim.fitting.recipe import FitRecipe
from cosim.fitting.recipe_tables import HeldOut
from cosim.fitting.released import exact_scales
from cosim.fitting.search import scattered, search
from cosim.fitting.start import bounds_of, other_starts, start_of
from cosim.fitting.uncertainty import natural_size

# Rows that a trial of a device looks at, and how many it may predict: so many evaluations times rows, on any machine.
TRIAL_ROWS, TRIAL_PREDICTED = 240, 60_000
# Each start ends at this change of chi-square, or after so many evaluations; the first has them whatever the rows.
TRIAL_TOLERANCE, TRIAL_EVALUATIONS = 1e-4, 40
# A candidate may have so many standard errors more of held-out error than the best and still be kept for its AICc; of
# an RMS of n rows that is 1/√(2n).
CLOSE = 2.0
# Of candidates whose AICc differ by no more than this the one with the fewest parameters is kept (Burnham & Anderson,
# *Model Selection and Multimodel Inference*, sec. 2.6); a constant, and a device before a law, by the second,
# if each of the device's parameters is told.
TIE, AS_GOOD = 2.0, 10.0
# A parameter whose standard error is so many times its size is held: nothing is lost by it. Of several that trade
# exactly the first to be held is one that is neither of a range nor of a drive: a length, a temperature.
HOPELESS, ALIKE = 1e3, 0.1
# A parameter known no better than to its own size is left open by a recording.
OPEN = 1.0
# Below so many rows nothing is held out.
FEW = 12

Choices = tuple[dict[str, str], ...]
_RAMPS: Choices = tuple(
    {"course": course, "start": start}
    for course in ("saturating", "accelerating")
    for start in ("first read", "shared")
)


@dataclass(frozen=True)
class Tried:
    """A candidate: a ``device``'s name with its choice of the law, or a law's.

    ``error`` and ``held_out`` are RMS errors over the range; ``note`` says why there is none, or that the trial was cut
    short.
    """

    title: str
    device: str
    parameters: int = 0
    error: float = math.nan
    held_out: float | None = None
    found: Criteria | None = None
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        """As plain values for `json.dumps`."""
        known = self.found
        return {
            "title": self.title,
            "device": self.device or None,
            "parameters": self.parameters,
            "error": None if math.isnan(self.error) else self.error,
            "held_out_error": self.held_out,
            "aicc": None if known is None or not math.isfinite(known.aicc) else known.aicc,
            "bic": None if known is None else known.bic,
            "note": self.note,
        }


@dataclass(frozen=True)
class Candidate:
    """A ``device``, with its choice of the law of ``ramps``, or a ``law`` that belongs to none, and a ``title``.

    ``turned``: the columns whose sign is turned before it is fitted.
    """

    title: str
    device: str = ""
    law: str = ""
    ramps: Mapping[str, str] = field(default_factory=dict)
    turned: tuple[str, ...] = ()

    def turn(self, *columns: str) -> Candidate:
        """The same candidate, of a curve whose ``columns`` have the other sign."""
        return replace(self, title=f"{self.title} ({' and '.join(columns)} turned)", turned=columns)

    def of(self, curve: Curve) -> Curve:
        """The curve with the columns ``turned`` that it is fitted to."""
        if not self.turned:
            return curve
        columns = {name: -column if name in self.turned else column for name, column in curve.columns.items()}
        return curve.with_(columns=columns)

    def recipe(self, curve: Curve, name: str, vary: tuple[str, ...]) -> FitRecipe:
        """The recipe that fits it to a curve."""
        body = {"name": name, "device": self.device, "law": self.law, "ramps": self.ramps}
        return FitRecipe.model_validate({**body, "data": {"kind": curve.kind}, "fit": {"vary": vary}})


@dataclass(frozen=True)
class Trial:
    """A candidate's minimum on the rows of the trial, with the number of rows ``held`` out of it."""

    tried: Tried
    candidate: Candidate
    problem: Problem
    minimum: Minimum
    held: int


def candidates(curve: Curve) -> list[Candidate]:
    """Every device that may take a recording of this kind, and every law."""
    choices: Choices = _RAMPS if curve.kind == "equal pulses" else ({},)
    found = []
    if KINDS[curve.kind].forward and curve.kind not in DEVICES_TAKE:
        found = [
            Candidate(name + (f" ({', '.join(ramps.values())})" if ramps else ""), device=name, ramps=ramps)
            for name in devices()
            for ramps in choices
        ]
    return found + [Candidate(law.name, law=law.name) for law in LAWS.get(curve.kind, ())]


def held_out_of(curve: Curve) -> HeldOut:
    """Which rows no candidate may see: a forecast where the order is time's, an interpolation elsewhere."""
    n = len(curve)
    if n < FEW:
        return HeldOut()
    if curve.kind == "pulse train":
        return HeldOut(rule="last", fraction=0.2)
    if curve.kind == "equal pulses":
        if np.unique(curve["ramp"]).size >= 4:
            return HeldOut(rule="ramps", every=4)
        return HeldOut(rule="blocks", every=4, length=max(3, int(curve["pulse"].max()) // 16))
    if curve.kind == "loop":
        return HeldOut(rule="blocks", every=5, length=max(2, n // 40))
    return HeldOut(rule="points", every=4)


def thinned(curve: Curve, rows: int) -> Rows:
    """At most about ``rows`` rows (n,): each k-th where rows do not depend on each other, else the first ones."""
    n = len(curve)
    if n <= rows or curve.kind == "equal pulses" or not KINDS[curve.kind].forward:
        return np.ones(n, dtype=bool)
    if goes_on(curve):
        return np.asarray(np.arange(n) < max(rows, n // 2))
    return np.asarray(np.arange(n) % -(-n // rows) == 0)


def goes_on(curve: Curve) -> bool:
    """Whether each row goes on from the one before, so that none between them can be missed."""
    return curve.kind in ("pulse train", "events")


def try_out(candidate: Candidate, curve: Curve, held: Rows, clipped: Rows) -> Trial:
    """A candidate on the rows of the trial, of which ``clipped`` ones neither count for nor against any.

    Raises `CosimError`, or what scipy raises at infinite numbers.
    """
    curve = candidate.of(curve)
    recipe = candidate.recipe(curve, "trial", ("all",))
    fitted, held = ~held & ~clipped, held & ~clipped
    forward = recipe.forward_of(curve, fitted, recipe.ramps)
    y = curve.measured
    names = forward.active
    count = int(fitted.sum())
    if count <= len(names) + 1:
        names = names[: max(1, count - 2)]
    bounds = bounds_of(forward, names, {})
    start, outside = start_of(recipe, forward, bounds, {})
    forward.check(start)
    problem = Problem(forward, y, np.full(y.size, float(np.std(y[fitted]))), fitted, names, bounds)
    acting = [name for name, row in zip(names, problem.slopes(start, names), strict=True) if np.any(row)]
    problem = replace(problem, names=tuple(acting) or names)
    if candidate.device:
        model = device(candidate.device)
        states = {state.initial for state in model.states}
        plain = [entry.name for entry in model.params if not entry.role and entry.name not in states]
        scales = exact_scales(problem, [start, *scattered(problem, start, points=8, best=2)], plain)
        problem, start = problem.without(*scales), start.with_(**{name: outside[name] for name in scales})
    if candidate.law:
        minimum, note = search(problem, start), ""
    else:
        others = other_starts(device(candidate.device), start, names)
        minimum, note = _within(problem, [start, *others], TRIAL_PREDICTED // len(curve))
    predicted = forward.predict(minimum.p)
    if not np.all(np.isfinite(predicted)):
        raise FitError("the model gives no finite number")
    residual, span = y - predicted, float(np.ptp(y[~clipped]))
    # The range of all rows: that of a few held-out ones would be luck.
    held_error = float(np.sqrt(np.mean(residual[held] ** 2))) / span if held.any() else None
    error = float(np.sqrt(np.mean(residual[fitted] ** 2))) / span
    found = criteria(residual[fitted], np.ones(count), parameters=len(problem.names), noise_known=False)
    tried = Tried(candidate.title, candidate.device, len(problem.names), error, held_error, found, note)
    return Trial(tried, candidate, problem, minimum, int(held.sum()))


def _within(problem: Problem, starts: list[Values], evaluations: int) -> tuple[Minimum, str]:
    """The lowest place that the starts lead to within so many evaluations, and what was cut short; "".

    Raises `FitError` or `ValueError` where no start leads anywhere.
    """
    best: Minimum | None = None
    failed: Exception = FitError("the model gives no finite number")
    spent, left = 0, max(evaluations, TRIAL_EVALUATIONS)
    for start in starts:
        if spent >= left:
            break
        try:
            found = problem.minimise(
                start, tolerance=TRIAL_TOLERANCE, evaluations=TRIAL_EVALUATIONS, total=left - spent
            )
        except (FitError, ValueError) as error:
            failed = error
            continue
        spent += found.evaluations
        if best is None or found.chi_square < best.chi_square:
            best = found
    if best is None:
        raise failed
    if best.converged and spent < left:
        return best, ""
    return best, f"cut short after {spent} evaluations: it counts for the best place that it reached"


def ranked(trials: list[Trial]) -> list[Trial]:
    """The trials, the one to keep first (module docstring)."""
    held = [t.tried.held_out for t in trials if t.tried.held_out is not None and math.isfinite(t.tried.held_out)]
    rows = trials[0].held
    limit = (1.0 + CLOSE / math.sqrt(2.0 * max(rows, 1))) * min(held) + 1e-12 if held else math.inf

    def aicc(trial: Trial) -> float:
        return math.inf if trial.tried.found is None else trial.tried.found.aicc

    def key(trial: Trial) -> tuple[bool, float]:
        worse = trial.tried.held_out is not None and not trial.tried.held_out <= limit
        return worse, aicc(trial)

    order = sorted(trials, key=key)
    ties = [
        t for t in order
        if key(t)[0] == key(order[0])[0] and aicc(t) <= aicc(order[0]) + (AS_GOOD if t.tried.title == CONSTANT else TIE)
    ]  # fmt: skip
    first = min(ties, key=lambda t: t.tried.parameters)
    order.remove(first)
    order.insert(0, first)
    if first.candidate.law:
        device = next((t for t in order if t.candidate.device), None)
        if device is not None and aicc(device) <= aicc(first) + AS_GOOD and _told(device):
            order.remove(device)
            order.insert(0, device)
    return order


def _told(trial: Trial) -> bool:
    """Whether a recording tells each parameter of a device; one that it leaves open says no more than a law does."""
    return len(determined(trial, hopeless=OPEN)) == len(trial.problem.names)


def reason(order: list[Trial], part: bool) -> str:
    """Why the first is kept; ``part``: on a part of the rows."""
    first = order[0].tried
    said = (
        f"{first.title} is kept of {len(order)} candidates"
        if len(order) > 1
        else f"{first.title} is the only candidate"
    )
    if len(order) > 1:
        second = order[1].tried
        assert first.found is not None
        assert second.found is not None
        apart = second.found.aicc - first.found.aicc
        said += f": AICc {abs(apart):.4g} {'below' if apart >= 0 else 'above'} that of {second.title}"
        if first.held_out is not None and second.held_out is not None:
            said += f", {first.held_out:.2%} of the range off on held-out rows, against {second.held_out:.2%}"
    return said + (" (trials on a part of the rows)" if part else "")


def determined(trial: Trial, *, hopeless: float = HOPELESS) -> tuple[str, ...]:
    """The parameters of a trial without those that its rows leave open; the least determined goes first.

    ``hopeless``: the standard error, as a multiple of the parameter's size, from which on one is left open.
    """
    problem, p = trial.problem, trial.minimum.p
    names = [name for name in problem.names if problem.bound_of(name, float(p[name])) is None] or list(problem.names)
    jacobian = problem.jacobian(p, names)
    acts = np.any(jacobian, axis=1)
    names, jacobian = [n for n, moves in zip(names, acts, strict=True) if moves] or names[:1], jacobian[acts]
    if not jacobian.size:
        return tuple(names)
    size = np.array([natural_size(problem, name, float(p[name])) for name in names])
    scale = problem.scale(p) if problem.points > len(problem.names) else 1.0
    roles = {entry.name: entry.role for entry in problem.forward.params}
    plain = np.array([not roles[name] for name in names])
    length = np.linalg.norm(jacobian, axis=1)
    columns, size = (jacobian / length[:, None]).T, size * length
    while len(names) > 1:
        _, s, vt = np.linalg.svd(columns, full_matrices=False)
        error = scale * np.sqrt(np.sum((vt / np.maximum(s, 1e-12 * s[0])[:, None]) ** 2, axis=0)) / size
        if error.max() <= hopeless:
            break
        worst = int(np.argmax(np.where((error >= ALIKE * error.max()) & plain, np.inf, error)))
        names.pop(worst)
        columns, size, plain = np.delete(columns, worst, axis=1), np.delete(size, worst), np.delete(plain, worst)
    return tuple(names)
