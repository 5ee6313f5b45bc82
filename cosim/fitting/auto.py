"""Fits without a recipe: which device, or which law, describes a recording that was recognised.

Every device whose forward model takes a recording of that kind is a candidate, and so is every law of `laws`. Each is
tried in turn on a part of the rows, without those that an instrument held at its limit, for a limited number of
evaluations; they are compared by AICc and BIC on the same rows, and by the error of rows that no candidate has seen. Of
those whose held-out error is the smallest within its own uncertainty the lowest AICc is kept (our choice), a device
before a law where the two are as good and the recording tells each of the device's parameters. What a recording does
not determine is held where the trial left it, and said; the kept candidate is then fitted to all rows but those that
were held out, and judged as any other fit.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from cosim import units
from cosim.data.parts import Part
from cosim.data.recording import Curve
from cosim.data.spec import CONDITIONS, ColumnSpec, DataSpec
from cosim.errors import CosimError, DataError, FitError, InputError
from cosim.fitting import plateau, plausible
from cosim.fitting.checks import OppositeSign
from cosim.fitting.extract import extract
from cosim.fitting.laws import DEVICES_TAKE
from cosim.fitting.methods import NEAREST
from cosim.fitting.recipe import FitRecipe
from cosim.fitting.recipe_tables import FitSpec, HeldOut, StartSpec
from cosim.fitting.result import FitResult
from cosim.fitting.trials import (
    OPEN,
    TRIAL_ROWS,
    Candidate,
    Trial,
    Tried,
    candidates,
    determined,
    goes_on,
    held_out_of,
    ranked,
    reason,
    thinned,
    try_out,
)

# Rows that the final fit of a state that is followed looks at; of more, each k-th, which is said.
FINAL_ROWS = 2000
# Times the limit that its file states: a current beyond is in another unit (our choice).
BEYOND = 10.0
# A loop of which every candidate leaves more than this part of the range is tried the other way round (our choice).
POOR = 0.02
# So often what turns out to be open at the end of a fit is held, and the fit repeated.
ROUNDS = 3

Tell = Callable[[str], None]
# The columns of `Taken.table`: errors of the trial over the range of its rows, AICc and BIC above the smallest.
TRIED = ("candidate", "parameters", "trial: RMS, fitted", "trial: RMS, held out", "ΔAICc", "ΔBIC", "")


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
                "; ".join(said for said in ("← kept" if one.title == self.kept else "", one.note) if said),
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
    if why := _beyond(part, curve):
        return Taken(part, why=why)
    held = held_out_of(curve)
    limit = _limit(part, curve)
    if limit is not None and limit.stated:
        part = replace(part, data={**part.data, "compliance": f"{part.compliance!r} A"})
    clipped = np.zeros(len(curve), dtype=bool) if limit is None else limit.rows
    chosen = thinned(curve, TRIAL_ROWS)
    small, small_held = curve.select(chosen), held.rows(curve)[chosen]
    if goes_on(curve) and len(small) < len(curve):
        small_held = HeldOut(rule="last", fraction=0.2).rows(small)
    trials: list[Trial] = []
    tried: list[Tried] = []
    waiting = candidates(curve)
    while waiting:
        candidate = waiting.pop(0)
        if tell is not None:
            tell(candidate.title)
        try:
            found = try_out(candidate, small, small_held, clipped[chosen])
        except OppositeSign as error:
            if not candidate.turned:
                waiting.insert(0, candidate.turn(error.column))
                continue
            tried.append(Tried(candidate.title, candidate.device, note=error.message))
            continue
        except (CosimError, ValueError, ArithmeticError) as error:
            why = getattr(error, "message", str(error))
            if not isinstance(error, InputError) or isinstance(error, DataError):  # the others do not apply at all
                tried.append(Tried(candidate.title, candidate.device, note=why))
            continue
        trials.append(found)
        tried.append(found.tried)
        if not waiting and curve.kind == "loop":
            waiting = _mirrored(trials)
    if curve.kind in DEVICES_TAKE:
        part = replace(part, notes=(*part.notes, f"no device is tried: {DEVICES_TAKE[curve.kind]}"))
    if not trials:
        why = "; ".join(f"{one.title}: {one.note}" for one in tried) or "no device and no law takes such a recording"
        return Taken(part, tried=tuple(tried), why=why, seconds=time.perf_counter() - began)
    order = ranked(trials)
    why = reason(order, len(small) < len(curve))
    if limit is not None:
        part = replace(part, notes=(*part.notes, f"candidates are compared without these: {limit.sentence(curve)}"))
    result: FitResult | None = None
    kept = ""
    for trial in order[:3]:
        if tell is not None:
            tell(f"{trial.tried.title}, all rows")
        try:
            result, kept = _final(part, curve, held, trial), trial.tried.title
            if trial.candidate.turned:
                part = replace(part, notes=(*part.notes, _turned(trial, trials)))
            break
        except (CosimError, ValueError, ArithmeticError) as error:
            why = f"{why}; {trial.tried.title} fails on all rows ({getattr(error, 'message', error)})"
    return Taken(part, result, tuple(tried), kept, why, time.perf_counter() - began)


def _beyond(part: Part, curve: Curve) -> str:
    """A sentence where a current is far beyond the limit that its own file states; else empty."""
    if part.compliance is None or curve.measured_unit != "A":
        return ""
    largest = float(np.abs(curve.measured).max())
    if largest <= BEYOND * part.compliance:
        return ""
    return (
        f"the current reaches {units.show(largest, 'A')}, {largest / part.compliance:.0f} times the limit of "
        f"{units.show(part.compliance, 'A')} that the file states: check the unit of its column"
    )


def _limit(part: Part, curve: Curve) -> plateau.Plateau | None:
    """Rows at the compliance that the file states, or else at equal values at an end of the range."""
    return _stated(part, curve) or plateau.found(curve)


def _stated(part: Part, curve: Curve) -> plateau.Plateau | None:
    """Rows at the compliance that the file states; None where no row reaches it, or another limit held the current."""
    if part.compliance is not None and curve.measured_unit == "A":
        with suppress(InputError):
            return plateau.stated(curve, part.compliance)
    return None


def _mirrored(trials: Sequence[Trial]) -> list[Candidate]:
    """The devices to try on a loop with voltage and current turned: all, where nothing describes it as it is.

    A device whose polarity is the opposite of the one that was measured has no parameters that describe the loop.
    """
    plain = [trial for trial in trials if trial.candidate.device]
    if not plain or any(t.candidate.turned for t in plain) or min(t.tried.error for t in trials) < POOR:
        return []
    return [trial.candidate.turn("voltage", "current") for trial in plain]


def _turned(trial: Trial, trials: Sequence[Trial]) -> str:
    """The sentence on what was turned: because the steps run the other way, or because it is described better."""
    candidate = trial.candidate
    columns, said = " and ".join(candidate.turned), "was turned (sign = -1)"
    plain = [t.tried.error for t in trials if t.candidate.device == candidate.device and not t.candidate.turned]
    if not plain:
        return f"the sign of {columns} {said}: as measured, it runs against the polarity of {candidate.device}"
    return (
        f"the sign of {columns} {said}: {candidate.device} then leaves {trial.tried.error:.2%} of the range, against "
        f"{min(plain):.2%} as measured, where its search may have missed a better place; check which lead was the "
        "positive one"
    )


def _data(part: Part, curve: Curve, turned: Sequence[str]) -> DataSpec:
    """How a recipe reads the recording: its columns by their titles, where that gives the same rows.

    Rows without a number are left out, as they were here.
    """
    conditions = {name: f"{value!r} {CONDITIONS[name]}" for name, value in curve.conditions.items()}
    titles = {**{name: name for name in turned}, **part.columns}
    columns = {n: ColumnSpec(name=title, sign=-1 if n in turned else None) for n, title in titles.items()}
    return DataSpec.model_validate(
        {"kind": curve.kind, "columns": columns, "conditions": conditions, "mask": ["nan"], **part.data}
        | ({"where": part.where} if part.where else {})
    )


def _final(part: Part, curve: Curve, held: HeldOut, trial: Trial) -> FitResult:
    """The kept candidate on all rows, with what the recording determines varying.

    Where the fit ends in a valley that has no end, what trades along it is held, and the fit made once more.
    """
    kept = determined(trial)
    try:
        return _fitted(part, curve, held, trial, kept)
    except FitError:
        fewer = determined(trial, hopeless=OPEN)
        if len(fewer) == len(kept):
            raise
        return _fitted(part, curve, held, trial, fewer)


def _fitted(part: Part, curve: Curve, held: HeldOut, trial: Trial, kept: tuple[str, ...]) -> FitResult:
    turned = trial.candidate.turned
    curve = trial.candidate.of(curve)
    notes = [f"recognised without a recipe: {part.shape}; {part.why}"]
    start = {n: float(trial.minimum.p[n]) for n in trial.problem.names}
    if curve.kind == "equal pulses":
        start |= {n: float(v) for n, v in trial.minimum.p.items()}
    recipe = trial.candidate.recipe(curve, _identifier(part.name), kept).model_copy(
        update={"held_out": held, "data": _data(part, curve, turned)}
    )
    thin = curve
    if curve.kind == "loop" and len(curve) > FINAL_ROWS:
        notes.append(f"of {len(curve)} rows each {-(-len(curve) // FINAL_ROWS)}th was fitted, for time")
        thin = curve.select(thinned(curve, FINAL_ROWS))
        thin = thin.with_(fingerprint=curve.fingerprint, source=curve.source)
    if part.data.get("compliance") and _stated(part, thin) is None:  # of every k-th row none reaches it
        recipe = recipe.model_copy(update={"data": recipe.data.model_copy(update={"compliance": None})})
    recipe = _with_held(recipe, kept, start, notes, loose=_loose(trial, kept))
    result = extract(recipe, thin, ends=True)
    for _ in range(ROUNDS):
        if not result.uncertainty.flat or len(kept) < 2:
            break
        # At the end of the fit more may be open than where the trial stopped.
        problem = replace(trial.problem, names=kept)
        closer = determined(replace(trial, problem=problem, minimum=replace(trial.minimum, p=result.values)))
        kept = closer if len(closer) < len(kept) else tuple(n for n in kept if n != result.uncertainty.flat[0])
        start |= {n: float(result.values[n]) for n in start}
        recipe = _with_held(recipe, kept, start, notes, loose=_loose(trial, kept))
        result = extract(recipe, thin, ends=True)
    return _weighted(recipe, thin, result)


def _weighted(recipe: FitRecipe, curve: Curve, result: FitResult) -> FitResult:
    """The fit again where its noise grows with the reading, with that noise; else as it is."""
    grown = result.growing
    if grown is None:
        return result
    noise = grown.stated(recipe.noise)
    note = (
        f"the noise grows with the reading ({grown.evidence}): the rows are weighted by noise.relative = "
        f"{grown.relative:.3g} beside noise.sigma, which were estimated from the residuals"
    )
    values: dict[str, str | float] = {n: float(result.values[n]) for n in recipe.start.values}
    body = {"noise": noise, "notes": (*recipe.notes, note), "start": StartSpec(values=values, from_data=False)}
    return extract(recipe.model_copy(update=body), curve, ends=True)


def _loose(trial: Trial, kept: Sequence[str]) -> tuple[str, ...]:
    """What is held where the search left it and yet acts on the recording."""
    if not trial.candidate.device:
        return ()
    held = tuple(n for n in trial.problem.names if n not in kept)
    moves = np.any(trial.problem.jacobian(trial.minimum.p, held), axis=1) if held else []
    return tuple(n for n, acts in zip(held, moves, strict=True) if acts)


def _with_held(
    recipe: FitRecipe, kept: tuple[str, ...], start: Mapping[str, float], notes: list[str], *, loose: tuple[str, ...]
) -> FitRecipe:
    """The recipe with ``kept`` varying from ``start``, where the search has been; what it held is said."""
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
            "fit": FitSpec(vary=kept, method=NEAREST, undetermined=loose),
            "start": StartSpec(values=dict(start), from_data=False),
            "notes": tuple(notes),
        }
    )


def _identifier(name: str) -> str:
    """A name for a parameter set: the file's without its ending, in letters, digits and underscores."""
    stem, dot, rest = name.partition(".")
    tail = "".join(c if c.isalnum() else "_" for c in rest.partition("#")[2] or rest.partition("[")[2]) if dot else ""
    found = "".join(c if c.isalnum() else "_" for c in f"{stem}_{tail}" if c.isascii()).strip("_")
    return found or "recording"
