"""The measures of a bench's runs: each that can be computed, and why the others cannot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, cast

import numpy as np

from cosim.bench.analyses import waveforms
from cosim.bench.measured import Measured
from cosim.bench.measures.cards import MeasCard
from cosim.bench.measures.kinds import DerivedMeasure, Point, PointMeasure
from cosim.devices.base import Array
from cosim.errors import InputError, UnknownName

if TYPE_CHECKING:
    from cosim.bench.result import Run
    from cosim.bench.testbench import Testbench


def cards(bench: Testbench, analysis: str) -> dict[str, str]:
    """The ``.meas`` cards of an analysis, by the name of the measure."""
    kind, asked = bench.file.plan[analysis].kind, bench.file.measures.items()
    return {
        name: f".meas {kind} {name} {entry.card}"
        for name, entry in asked
        if isinstance(entry, MeasCard) and bench.file.analysis_of(name) == analysis
    }


def evaluated(bench: Testbench, runs: Sequence[Run]) -> tuple[dict[str, Measured], dict[str, str]]:
    """Every measure that can be computed, and why the others cannot."""
    found: dict[str, Array] = {}
    done: dict[str, Measured] = {}
    missing: dict[str, str] = {}
    trains = bench.trains()
    for name, entry in bench.file.measures.items():
        analysis = bench.file.analysis_of(name)
        own = [run for run in runs if run.analysis == analysis]
        swept = {key: np.array([run.point[key] for run in own]) for key in own[0].point}
        try:
            if isinstance(entry, DerivedMeasure):
                fixed = {key: np.array([value]) for key, value in bench.values(analysis, point=own[0].point).items()}
                values = np.atleast_1d(np.asarray(entry.combine(found, fixed | swept), dtype=float))
            else:
                plan, seen = bench.file.plan[analysis], entry.vectors()
                points = [
                    Point(
                        waveforms(plan, run.result, seen), _known(bench, analysis, run.point), trains,
                        run.result.measures.get(name.lower(), run.result.missing.get(name.lower(), "")),
                    )
                    for run in own
                ]  # fmt: skip
                rows = [np.atleast_1d(np.asarray(cast(PointMeasure, entry).evaluate(p), float)) for p in points]
                if len({row.size for row in rows}) > 1:
                    raise InputError("its number of values differs from point to point", remedy="measure a number")
                values = np.stack(rows)
        except InputError as error:
            needs = error.name if isinstance(error, UnknownName) and isinstance(entry, DerivedMeasure) else ""
            missing[name] = f"it needs {needs}: {missing[needs]}" if needs in missing else str(error)
            continue
        found[name] = values
        limit = bench.file.limits.get(name)
        per_point = values.size // len(own) if values.ndim == 2 else 0
        coordinates = {key: np.repeat(column, per_point) for key, column in swept.items()} if per_point else {}
        if not per_point and values.size == len(own):
            coordinates = swept
        low, high = limit.span(entry.unit) if limit else (None, None)
        done[name] = Measured(values.ravel(), entry.unit, low, high, MappingProxyType(coordinates))
    return done, missing


def _known(bench: Testbench, analysis: str, point: Mapping[str, float]) -> dict[str, float]:
    """The circuit's parameters, and every parameter of its devices as ``device.parameter`` (SI)."""
    devices = {f"{name}.{key}": value for name, used in bench.sets.items() for key, value in used.resolved().items()}
    for name, use in bench.file.devices.items():
        numbers = {key: given for key, given in use.values.items() if not isinstance(given, str)}
        devices |= {f"{name}.{key}": quantity.value for key, quantity in numbers.items()}
    return devices | bench.values(analysis, point=point)
