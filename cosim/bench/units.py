"""Whether the units that a bench writes fit what they stand beside.

The units of measures, of levels and places in them, and of the sweep of a source are checked.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from cosim import units
from cosim.bench import adjust, analyses
from cosim.bench.measures.dimensions import UNKNOWN, Dimension, Known, of_unit
from cosim.bench.measures.kinds import Kind
from cosim.bench.measures.waveforms import part
from cosim.devices.base import Inner, State
from cosim.devices.registry import device as find_device
from cosim.errors import UnitError, at
from cosim.schema import Stated, located

if TYPE_CHECKING:
    from cosim.bench.testbench import Testbench

_VECTOR = re.compile(r"([vi])\(([^()]*)\)")
# The input of a noise analysis is a voltage or a current.
_OF_ANALYSES = {"onoise_total": Dimension(("V",)), "inoise_total": Dimension(("V", "A"), sure=False)}
_ROWS = re.MULTILINE | re.IGNORECASE
# Keys of measures: places on the analysis's coordinate, and levels with the key of their vector.
_PLACES = ("start", "stop", "at", "after", "before")
_LEVELS = {"level": "of", "until": "of", "cause_level": "cause", "effect_level": "effect"}


def check_units(bench: Testbench) -> None:
    """Raises `UnitError`, with the bench's line, for the first unit of another dimension than its quantity's."""
    with located(bench.source):
        for name, entry in bench.file.plan.items():
            if isinstance(entry, analyses.Dc):
                with at(*(("analysis",) if entry is bench.file.analysis else ("analyses", name))):
                    for key in ("start", "stop", "step"):
                        _check(entry, key, _swept(entry), f"analysis {name!r}", entry.source)
        for source, name in re.findall(r"^\s*([iv]\S*)\s.*\{stimulus\.(\w+)\}", bench.file.circuit, _ROWS):
            for key in type(bench.file.stimuli[name]).model_fields if name in bench.file.stimuli else ():
                with at("stimuli", name):
                    _fits_source(bench.file.stimuli[name], key, source, f"stimulus {name!r}")
        for name, measure, known, found in measured(bench):
            with at("measures", name):
                for key in _PLACES:
                    _check(measure, key, known.axis, f"measure {name!r}", "the analysis's coordinate")
                for key, of in _LEVELS.items():
                    vector = getattr(measure, of, None)
                    if isinstance(vector, str) and measure.units_of(key):
                        _check(measure, key, known.vector(vector), f"measure {name!r}", vector)
                if measure.unit in ("1", ""):
                    continue
                with at("unit"):
                    if isinstance(found, UnitError):
                        raise UnitError(f"measure {name!r}: {found.message}", remedy=found.remedy)
                    if found.sure and not found.allows(measure.unit):
                        raise UnitError(
                            f"measure {name!r} is {found}, and its unit {measure.unit!r} is "
                            f"{units.described(measure.unit)}",
                            remedy=f'write e.g. unit = "{found.kinds[0]}"; where a node stands for something else, '
                            "leave it out: the number is then given without one",
                        )


def not_verified(bench: Testbench) -> Iterator[str]:
    """A sentence on each measure of which cosim cannot tell whether its unit is right."""
    for name, measure, _, found in measured(bench):
        if measure.unit not in ("1", "") and isinstance(found, Dimension) and not found.allows(measure.unit):
            yield (
                f"measure {name!r}: what it is made of may stand for anything; its unit {measure.unit!r} is "
                "taken as it is written, and not verified"
            )


def _fits_source(table: Stated, key: str, source: str, what: str) -> None:
    wanted, other, kind = ("A", "V", "a current") if source[0].lower() == "i" else ("V", "A", "a voltage")
    for unit in table.units_of(key):
        if Dimension((other,)).allows(unit):
            with at(key):
                raise UnitError(
                    f"{what}: {key} is {units.described(unit)}, and {source} is {kind} source",
                    remedy=f"write it in {wanted}, or without a unit",
                )


def _check(table: Stated, key: str, wanted: Dimension, what: str, of: str) -> None:
    for unit in table.units_of(key):
        if wanted.sure and not wanted.allows(unit):
            with at(key):
                raise UnitError(
                    f"{what}: {key} is {units.described(unit)}, and {of} is {wanted}",
                    remedy=f"write it in {wanted.kinds[0]}",
                )


def measured(bench: Testbench) -> Iterator[tuple[str, Kind, Known, Dimension | UnitError]]:
    """Each measure with what it knows of the bench, and its dimension or why it cannot have one."""
    found: dict[str, Dimension] = {}
    thermal = any(use.verilog_a is not None for use in bench.file.devices.values()) or any(
        port.nature == "thermal" for chosen in bench.sets.values() for port in find_device(chosen.device).ports
    )
    states: dict[str, list[str]] = {}
    for chosen in bench.sets.values():
        used = find_device(chosen.device)
        nodes: list[State | Inner] = [*used.all_states, *used.inner]
        for state in nodes:
            states.setdefault(state.name.lower(), []).append(units.si_unit(state.unit))

    lacks = _lacks(bench)

    def vector(name: str) -> Dimension:
        taken, name = part(name)
        if taken in ("db", "ph", "rad"):
            return Dimension(("1",), sure=False)  # dB, degrees
        match = _VECTOR.fullmatch(name.strip().lower())
        if match is None:
            return _OF_ANALYSES.get(name.strip().lower(), Dimension(("Ohm",)) if "_impedance" in name else UNKNOWN)
        path, _, node = match[2].rpartition(".")
        if not path and lacks(node):
            return Dimension(("V", "A"), sure=False)  # one that the circuit lacks is reported by the run
        if match[1] == "i":
            return Dimension(("A", "W") if thermal else ("A",))
        if path and node in states:
            return Dimension(tuple(dict.fromkeys(states[node])))
        return Dimension(("V", "K") if thermal else ("V",), sure=not path and "#" not in node)

    def entry(name: str) -> Dimension:
        if name in bench.file.from_devices:
            return of_unit(adjust.taken(bench, name)[1])
        if name in found or name not in bench.file.parameters:
            return found.get(name, UNKNOWN)
        return of_unit(bench.file.parameters[name].unit)

    for name, measure in bench.file.measures.items():
        known = Known(vector, _axis(bench.file.plan[bench.file.analysis_of(name)]), entry)
        own: Dimension | UnitError
        try:
            own = measure.dimension(known)
        except UnitError as error:
            own = error
        found[name] = own if isinstance(own, Dimension) else UNKNOWN
        yield name, measure, known, own


def _lacks(bench: Testbench) -> Callable[[str], bool]:
    """Whether the circuit certainly lacks this node or element at its top; included files may add others."""
    text = bench.file.circuit.lower()
    if bench.file.netlist is not None or re.search(r"^\s*\.(?:inc|lib)", text, re.MULTILINE):
        return lambda name: False
    words = frozenset(re.split(r"[\s(),={}\[\]'\"]+", text))
    return lambda name: not words.issuperset(re.split(r"\s*,\s*", name))


def _axis(entry: analyses.Analysis) -> Dimension:
    if isinstance(entry, analyses.Dc):
        return _swept(entry)
    return {"tran": Dimension(("s",)), "ac": Dimension(("Hz",)), "noise": Dimension(("Hz",))}.get(entry.kind, UNKNOWN)


def _swept(entry: analyses.Dc) -> Dimension:
    """The value of a source; that of a resistor or the temperature, which no unit is asked for, is left alone."""
    return {"v": Dimension(("V",)), "i": Dimension(("A",))}.get(entry.source[:1].lower(), UNKNOWN)
