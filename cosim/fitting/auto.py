"""Fits without a recipe: which device, or which law, describes a recording that was recognised.

Every device whose forward model takes a recording of that kind is a candidate, and so is every law of `laws`. Each is
tried in turn on a part of the rows, without those that an instrument held at its limit, for a limited number of
evaluations; they are compared by AICc and BIC on the same rows, and by the error of rows that no candidate has seen. Of
those whose held-out error is the smallest within its own uncertainty the lowest AICc is kept (our choice), a device
before a law where the two are as good. What a recording does not determine is held where the trial left it, and said;
the kept candidate is then fitted to all rows and judged as any other fit.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from cosim.data.parts import Part
from cosim.data.recording import Curve
from cosim.data.spec import CONDITIONS, ColumnSpec, DataSpec
from cosim.errors import CosimError, DataError, InputError
from cosim.fitting import plateau, plausible
from cosim.fitting.extract import extract
from cosim.fitting.laws import DEVICES_TAKE
from cosim.fitting.recipe import FitRecipe
from cosim.fitting.recipe_tables import FitSpec, HeldOut, StartSpec
from cosim.fitting.result import FitResult
from cosim.fitting.trials import (
    TRIAL_ROWS,
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
# So often what turns out to be open at the end of a fit is held, and the fit repeated.
ROUNDS = 3

Tell = Callable[[str], None]
# The columns of `Taken.table`: errors over the range, AICc and BIC above the smallest.
TRIED = ("candidate", "parameters", "RMS, fitted", "RMS, held out", "ΔAICc", "ΔBIC", "")


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
    held = held_out_of(curve)
    limit = plateau.found(curve)
    clipped = np.zeros(len(curve), dtype=bool) if limit is None else limit.rows
    chosen = thinned(curve, TRIAL_ROWS)
    small, small_held = curve.select(chosen), held.rows(curve)[chosen]
    if goes_on(curve) and len(small) < len(curve):
        small_held = HeldOut(rule="last", fraction=0.2).rows(small)
    trials: list[Trial] = []
    tried: list[Tried] = []
    for candidate in candidates(curve):
        if tell is not None:
            tell(candidate.title)
        try:
            found = try_out(candidate, small, small_held, clipped[chosen])
        except (CosimError, ValueError, ArithmeticError) as error:
            why = getattr(error, "message", str(error))
            if not isinstance(error, InputError) or isinstance(error, DataError):  # the others do not apply at all
                tried.append(Tried(candidate.title, candidate.device, note=why))
            continue
        trials.append(found)
        tried.append(found.tried)
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
            break
        except (CosimError, ValueError) as error:
            why = f"{why}; {trial.tried.title} fails on all rows ({getattr(error, 'message', error)})"
    return Taken(part, result, tuple(tried), kept, why, time.perf_counter() - began)


def _data(part: Part, curve: Curve) -> DataSpec:
    """How a recipe reads the recording: its columns by their titles, where that gives the same rows."""
    conditions = {name: f"{value!r} {CONDITIONS[name]}" for name, value in curve.conditions.items()}
    columns = {name: ColumnSpec(name=title) for name, title in part.columns.items()}
    return DataSpec(kind=curve.kind, columns=columns, conditions=dict(conditions))


def _final(part: Part, curve: Curve, held: HeldOut, trial: Trial) -> FitResult:
    """The kept candidate on all rows, with what the recording determines varying."""
    kept = determined(trial)
    notes = [f"recognised without a recipe: {part.shape}; {part.why}"]
    start = {n: float(trial.minimum.p[n]) for n in trial.problem.names}
    if curve.kind == "equal pulses":
        start |= {n: float(v) for n, v in trial.minimum.p.items()}
    recipe = trial.candidate.recipe(curve, _identifier(part.name), kept).model_copy(
        update={"held_out": held, "data": _data(part, curve)}
    )
    thin = curve
    if curve.kind == "loop" and len(curve) > FINAL_ROWS:
        notes.append(f"of {len(curve)} rows each {-(-len(curve) // FINAL_ROWS)}th was fitted, for time")
        thin = curve.select(thinned(curve, FINAL_ROWS))
        thin = thin.with_(fingerprint=curve.fingerprint, source=curve.source)
    recipe = _with_held(recipe, kept, start, notes)
    result = extract(recipe, thin, near=trial.minimum.p)
    for _ in range(ROUNDS):
        if not result.uncertainty.flat or len(kept) < 2:
            break
        # At the end of the fit more may be open than where the trial stopped.
        problem = replace(trial.problem, names=kept)
        closer = determined(replace(trial, problem=problem, minimum=replace(trial.minimum, p=result.values)))
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


def _identifier(name: str) -> str:
    """A name for a parameter set: the file's without its ending, in letters, digits and underscores."""
    stem, dot, rest = name.partition(".")
    tail = "".join(c if c.isalnum() else "_" for c in rest.partition("#")[2] or rest.partition("[")[2]) if dot else ""
    found = "".join(c if c.isalnum() else "_" for c in f"{stem}_{tail}" if c.isascii()).strip("_")
    return found or "recording"
