"""Fits without a recipe: which device, or which law, describes a recording that was recognised.

Every device whose forward model takes a recording of that kind is a candidate, and so is every law of `laws`. Each is
tried in turn on a part of the rows, for a limited time; they are compared by AICc and BIC on the same rows, and by the
error of rows that no candidate has seen. Of those whose held-out error is the smallest within its own uncertainty the
lowest AICc is kept (our choice), a device before a law where the two are as good. What a recording does not determine
is held where the trial left it, and said; the kept candidate is then fitted to all rows and judged as any other fit.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cosim.data.recognise import Part
from cosim.data.recording import Curve
from cosim.data.spec import CONDITIONS, ColumnSpec, DataSpec
from cosim.devices.base import DeviceModel, Values
from cosim.devices.registry import devices
from cosim.errors import CosimError, DataError, FitError, InputError
from cosim.fitting import plausible
from cosim.fitting.criteria import Criteria, criteria
from cosim.fitting.extract import extract
from cosim.fitting.forward import Forward, forward_for
from cosim.fitting.forwards.lawful import LawForward
from cosim.fitting.law_result import law_result
from cosim.fitting.laws import CONSTANT, LAWS, Law
from cosim.fitting.problem import Minimum, Problem
from cosim.fitting.recipe import FitRecipe, FitSpec, HeldOut, StartSpec
from cosim.fitting.result import FitResult, rms_over_range
from cosim.fitting.search import search
from cosim.fitting.start import bounds_of, other_starts, start_of
from cosim.fitting.uncertainty import natural_size

# Rows that a trial of a device looks at, and seconds that it may take.
TRIAL_ROWS, TRIAL_SECONDS = 240, 4.0
# A trial of a state that is followed row by row ends at this change of chi-square, or after so many evaluations.
TRIAL_TOLERANCE, TRIAL_EVALUATIONS = 1e-4, 40
# Rows that the final fit of such a law looks at; of more, each k-th, which is said.
FINAL_ROWS = 2000
# A candidate may have so many standard errors more of held-out error than the best and still be kept for its AICc; of
# an RMS of n rows that is 1/√(2n).
CLOSE = 2.0
# Of candidates whose AICc differ by no more than this the one with the fewest parameters is kept (Burnham & Anderson,
# *Model Selection and Multimodel Inference*, sec. 2.6); a constant, and a device before a law, by the second.
TIE, AS_GOOD = 2.0, 10.0
# A parameter whose standard error is so many times its size is held: nothing is lost by it. Of several that trade
# exactly the first to be held is one that is neither of a range nor of a drive: a length, a temperature.
HOPELESS, ALIKE = 1e3, 0.1
# So often what turns out to be open at the end of a fit is held, and the fit repeated.
ROUNDS = 3
# Below so many rows nothing is held out.
FEW = 12

Tell = Callable[[str], None]
Choices = tuple[dict[str, str], ...]
_RAMPS: Choices = tuple(
    {"course": course, "start": start}
    for course in ("saturating", "accelerating")
    for start in ("first read", "shared")
)


# The columns of `Taken.table`: errors over the range, AICc and BIC above the smallest.
TRIED = ("candidate", "parameters", "RMS, fitted", "RMS, held out", "ΔAICc", "ΔBIC", "")


@dataclass(frozen=True)
class Tried:
    """A candidate: a ``device``'s name with its choice of the law, or a law's.

    ``error`` and ``held_out`` are RMS errors over the range; ``note`` says why there is none.
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
class Taken:
    """What was made of a recording: what it was taken for, what was tried, the fit, and why that or why none."""

    part: Part
    result: FitResult | None = None
    tried: tuple[Tried, ...] = ()
    kept: str = ""
    why: str = ""
    seconds: float = 0.0

    def table(self) -> list[list[str]]:
        """The candidates as rows of `TRIED`, best AICc first, then those that could not be fitted."""
        found = [(one, one.found) for one in self.tried if one.found is not None]
        least = min((known.aicc for _, known in found), default=0.0)
        lowest = min((known.bic for _, known in found), default=0.0)
        rows = [
            [
                one.title,
                str(one.parameters),
                f"{one.error:.3%}",
                "–" if one.held_out is None else f"{one.held_out:.3%}",
                f"{known.aicc - least:.1f}" if math.isfinite(known.aicc) else "–",
                f"{known.bic - lowest:.1f}",
                "← kept" if one.title == self.kept else "",
            ]
            for one, known in sorted(found, key=lambda pair: pair[1].aicc)
        ]
        return rows + [[one.title, "", "", "", "", "", one.note] for one in self.tried if one.found is None]

    def to_json(self) -> dict[str, Any]:
        """As plain values for `json.dumps`."""
        return {
            "name": self.part.name,
            "file": str(self.part.path),
            "taken_for": self.part.shape,
            "because": self.part.why,
            "segments": len(self.part.segments),
            "notes": list(self.part.notes),
            "candidates": [one.to_json() for one in self.tried],
            "kept": self.kept or None,
            "why": self.why,
            "result": None if self.result is None else self.result.to_json(),
            "seconds": self.seconds,
        }


class _Late(Exception):
    """A trial has used up its time."""


@dataclass(frozen=True)
class _Trial:
    """A candidate's minimum on the rows of the trial."""

    tried: Tried
    model: DeviceModel | Law
    law: Mapping[str, str]
    problem: Problem
    minimum: Minimum


def fit_part(part: Part, *, tell: Tell | None = None) -> Taken:
    """Choose what describes a recording, and fit it; a recording that cannot be fitted comes back with the reason.

    ``tell`` is called with what is being tried.
    """
    began = time.perf_counter()
    curve = part.curve
    if curve is None:
        return Taken(part, why=part.refused or "there is nothing to fit")
    try:
        plausible.check_alone(curve)
    except DataError as error:
        return Taken(part, why=str(error))
    held = held_out_of(curve)
    small, small_held = _thinned(curve, held.rows(curve), TRIAL_ROWS)
    trials: list[_Trial] = []
    tried: list[Tried] = []
    for title, model, law in _candidates(curve):
        if tell is not None:
            tell(title)
        try:
            found = _try(title, model, law, small, small_held)
        except (CosimError, _Late, ValueError, ArithmeticError) as error:
            name = model.name if isinstance(model, DeviceModel) else ""
            why = "no minimum within its time" if isinstance(error, _Late) else getattr(error, "message", str(error))
            if not isinstance(error, InputError) or isinstance(error, DataError):  # the others do not apply at all
                tried.append(Tried(title, name, note=why))
            continue
        trials.append(found)
        tried.append(found.tried)
    if not trials:
        why = "; ".join(f"{one.title}: {one.note}" for one in tried) or "no device and no law takes such a recording"
        return Taken(part, tried=tuple(tried), why=why, seconds=time.perf_counter() - began)
    order = _ranked(trials)
    why = _reason(order, len(small) < len(curve))
    result: FitResult | None = None
    kept = ""
    for trial in order[:3]:
        if tell is not None:
            tell(f"{trial.tried.title}, all rows")
        try:
            result, kept = _final(part, curve, held, trial), trial.tried.title
            break
        except (CosimError, ValueError) as error:
            why = f"{why}; {trial.tried.title} fails on all rows ({getattr(error, 'message', error)})"
    return Taken(part, result, tuple(tried), kept, why, time.perf_counter() - began)


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


def _candidates(curve: Curve) -> list[tuple[str, DeviceModel | Law, Mapping[str, str]]]:
    choices: Choices = _RAMPS if curve.kind == "equal pulses" else ({},)
    found: list[tuple[str, DeviceModel | Law, Mapping[str, str]]] = []
    if curve.kind not in LAWS or curve.kind in ("i-v", "loop"):
        found += [
            (name + (f" ({', '.join(law.values())})" if law else ""), model, law)
            for name, model in devices().items()
            for law in choices
        ]
    return found + [(law.name, law, {}) for law in LAWS.get(curve.kind, ())]


def _thinned(curve: Curve, held: NDArray[np.bool_], rows: int) -> tuple[Curve, NDArray[np.bool_]]:
    """At most about ``rows`` rows of a curve: each k-th where rows do not depend on each other, else the first ones."""
    n = len(curve)
    if n <= rows or curve.kind == "equal pulses" or (curve.kind in LAWS and curve.kind != "loop"):
        return curve, held
    if curve.kind == "pulse train":
        kept = np.arange(n) < max(rows, n // 2)
        return curve.select(kept), HeldOut(rule="last", fraction=0.2).rows(curve.select(kept))
    kept = np.arange(n) % -(-n // rows) == 0
    return curve.select(kept), held[kept]


def _forward(model: DeviceModel | Law, curve: Curve, rows: NDArray[np.bool_], law: Mapping[str, str]) -> Forward:
    if isinstance(model, Law):
        return LawForward(model, curve, rows)
    return forward_for(model, curve, rows, law=law)


def _recipe(
    curve: Curve, name: str, device: str, vary: tuple[str, ...], law: Mapping[str, str] | None = None
) -> FitRecipe:
    return FitRecipe.model_validate(
        {"name": name, "device": device, "data": {"kind": curve.kind}, "fit": {"vary": vary}, "ramps": dict(law or {})}
    )


def _data(part: Part, curve: Curve) -> DataSpec:
    """How a recipe reads the recording: its columns by their titles, where that gives the same rows."""
    conditions = {name: f"{value!r} {CONDITIONS[name]}" for name, value in curve.conditions.items()}
    columns = {name: ColumnSpec(name=title) for name, title in part.columns.items()}
    return DataSpec(kind=curve.kind, columns=columns, conditions=dict(conditions))


def _try(title: str, model: DeviceModel | Law, law: Mapping[str, str], curve: Curve, held: NDArray[np.bool_]) -> _Trial:
    """A candidate on the rows of the trial. Raises `_Late`, `CosimError`, or what scipy raises at infinite numbers."""
    forward = _forward(model, curve, ~held, law)
    y = curve.measured
    names = forward.active
    bounds = (
        bounds_of(forward, names, {}) if isinstance(model, DeviceModel) else {n: forward.bounds()[n] for n in names}
    )
    if int((~held).sum()) <= len(names) + 1:
        names = names[: max(1, int((~held).sum()) - 2)]
        bounds = {name: bounds[name] for name in names}
    others: list[Values] = []
    if isinstance(model, DeviceModel):
        recipe = _recipe(curve, "trial", model.name, names, law)
        start = start_of(recipe, forward, bounds, {})[0]
        forward.check(start)
        others = other_starts(model, start, names)
    else:
        start = Values({entry.name: entry.default for entry in forward.params})
    problem = Problem(forward, y, np.full(y.size, float(np.std(y[~held]))), ~held, names, bounds)
    acting = [name for name, row in zip(names, problem.jacobian(start), strict=True) if np.any(row)]
    problem = replace(problem, names=tuple(acting) or names)
    law_only = isinstance(model, Law)
    minimum = search(problem, start) if law_only else _within(problem, [start, *others], TRIAL_SECONDS)
    predicted = forward.predict(minimum.p)
    if not np.all(np.isfinite(predicted)):
        raise FitError("the model gives no finite number")
    residual = y - predicted
    held_error = rms_over_range(residual[held], y) if held.any() else None
    # The range of all rows: that of a few held-out ones would be luck.
    if held_error is not None:
        held_error = float(np.sqrt(np.mean(residual[held] ** 2))) / float(np.ptp(y))
    error = float(np.sqrt(np.mean(residual[~held] ** 2))) / float(np.ptp(y))
    found = criteria(residual[~held], np.ones(int((~held).sum())), parameters=len(problem.names), noise_known=False)
    device = model.name if isinstance(model, DeviceModel) else ""
    return _Trial(Tried(title, device, len(problem.names), error, held_error, found), model, law, problem, minimum)


def _within(problem: Problem, starts: list[Values], seconds: float) -> Minimum:
    """The lowest minimum that the starts lead to within ``seconds``; the last ones count for what they have reached."""
    end = time.process_time() + seconds
    best: Minimum | None = None
    for start in starts:

        def step(count: int, chi_square: float) -> None:
            del count, chi_square
            if time.process_time() > end:
                raise _Late

        try:
            found = problem.minimise(start, tolerance=TRIAL_TOLERANCE, evaluations=TRIAL_EVALUATIONS, progress=step)
        except _Late:
            break
        except (FitError, ValueError):
            continue
        if best is None or found.chi_square < best.chi_square:
            best = found
    if best is None:
        raise _Late
    return best


def _ranked(trials: list[_Trial]) -> list[_Trial]:
    """The trials, the one to keep first (module docstring)."""
    held = [t.tried.held_out for t in trials if t.tried.held_out is not None and math.isfinite(t.tried.held_out)]
    rows = int((~trials[0].problem.rows).sum())
    limit = (1.0 + CLOSE / math.sqrt(2.0 * max(rows, 1))) * min(held) + 1e-12 if held else math.inf

    def aicc(trial: _Trial) -> float:
        return math.inf if trial.tried.found is None else trial.tried.found.aicc

    def key(trial: _Trial) -> tuple[bool, float]:
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
    if isinstance(first.model, Law):
        device = next((t for t in order if isinstance(t.model, DeviceModel)), None)
        if device is not None and aicc(device) <= aicc(first) + AS_GOOD:
            order.remove(device)
            order.insert(0, device)
    return order


def _reason(order: list[_Trial], part: bool) -> str:
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


def _final(part: Part, curve: Curve, held: HeldOut, trial: _Trial) -> FitResult:
    """The kept candidate on all rows, with what the recording determines varying."""
    kept = _determined(trial)
    name = _identifier(part.name)
    notes = [f"recognised without a recipe: {part.shape}; {part.why}"]
    start = {n: float(trial.minimum.p[n]) for n in trial.problem.names}
    if isinstance(trial.model, Law):
        recipe = _recipe(curve, name, trial.model.name, kept).model_copy(update={"held_out": held})
        recipe = _with_held(recipe, kept, start, notes)
        return law_result(recipe, curve, ~held.rows(curve), trial.model, trial.minimum.p)
    if curve.kind == "equal pulses":
        start |= {n: float(v) for n, v in trial.minimum.p.items()}
    recipe = _recipe(curve, name, trial.model.name, kept, trial.law).model_copy(
        update={"held_out": held, "data": _data(part, curve)}
    )
    if curve.kind == "loop" and len(curve) > FINAL_ROWS:
        notes.append(f"of {len(curve)} rows each {-(-len(curve) // FINAL_ROWS)}th was fitted, for time")
    recipe = _with_held(recipe, kept, start, notes)
    thin = curve if curve.kind != "loop" else _thinned(curve, np.zeros(len(curve), dtype=bool), FINAL_ROWS)[0]
    thin = thin.with_(fingerprint=curve.fingerprint, source=curve.source) if thin is not curve else curve
    result = extract(recipe, thin, near=trial.minimum.p)
    for _ in range(ROUNDS):
        if not result.uncertainty.flat or len(kept) < 2:
            break
        # At the end of the fit more may be open than where the trial stopped.
        problem = replace(trial.problem, names=kept)
        closer = _determined(replace(trial, problem=problem, minimum=replace(trial.minimum, p=result.values)))
        kept = closer if len(closer) < len(kept) else tuple(n for n in kept if n != result.uncertainty.flat[0])
        start |= {n: float(result.values[n]) for n in start}
        recipe = _with_held(recipe, kept, start, notes)
        result = extract(recipe, thin, near=result.values)
    return result


def _with_held(recipe: FitRecipe, kept: tuple[str, ...], start: Mapping[str, float], notes: list[str]) -> FitRecipe:
    """The recipe with ``kept`` varying from ``start``; what it held is said."""
    fixed = {n: value for n, value in start.items() if n not in kept}
    if fixed:
        values = ", ".join(f"{n} = {value:.4g}" for n, value in fixed.items())
        notes = [
            *notes,
            f"held where the search left them, because this recording does not determine them: {values}; the others "
            "are conditional on it",
        ]
    return recipe.model_copy(
        update={
            "fit": FitSpec(vary=kept),
            "start": StartSpec(values=dict(start), from_data=False),
            "notes": tuple(notes),
        }
    )


def _determined(trial: _Trial) -> tuple[str, ...]:
    """The parameters of a trial without those that its rows leave open; the least determined goes first."""
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
        if error.max() <= HOPELESS:
            break
        worst = int(np.argmax(np.where((error >= ALIKE * error.max()) & plain, np.inf, error)))
        names.pop(worst)
        columns, size, plain = np.delete(columns, worst, axis=1), np.delete(size, worst), np.delete(plain, worst)
    return tuple(names)


def _identifier(name: str) -> str:
    """A name for a parameter set: the file's without its ending, in letters, digits and underscores."""
    stem, dot, rest = name.partition(".")
    tail = "".join(c if c.isalnum() else "_" for c in rest.partition("#")[2] or rest.partition("[")[2]) if dot else ""
    found = "".join(c if c.isalnum() else "_" for c in f"{stem}_{tail}" if c.isascii()).strip("_")
    return found or "recording"
