"""The schema of a test bench's TOML file: circuit, devices, stimuli, analyses, measures, limits.

A bench is data; `cosim.bench.testbench` turns it into decks, runs them and judges the measures. Kinds of stimuli and
measures are listed in `cosim.bench.stimulus_kinds` and `cosim.bench.measures.registry`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, Union, cast

import pydantic
from pydantic import Field

from cosim import units
from cosim.bench import stimulus_kinds as stimuli
from cosim.bench.analyses import Analysis, Tran, card
from cosim.bench.filters import FilterFile, check_filter_entry
from cosim.bench.maps import MapFile, check_map
from cosim.bench.measures import registry as measures
from cosim.bench.measures.cards import MeasCard
from cosim.bench.measures.kinds import Kind, PointMeasure
from cosim.bench.measures.loops import LoopArea, Pinch
from cosim.bench.neurons import NeuronFile, check_neuron_entry
from cosim.bench.stimulus_kinds import StimulusKind
from cosim.bench.variation import Corner, MonteCarlo, Trust
from cosim.errors import InputError, NetlistError, UnitError, UnknownName, at
from cosim.language.instances import assigned
from cosim.language.netlist import logical_lines
from cosim.schema import Quantity, Table, Word

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
# An element whose value is one parameter, and the unit that it has.
_VALUED = re.compile(r"\s*([rclvi])\S*\s+\S+\s+\S+\s+(?:dc\s+)?\{\s*(\w+)\s*\}\s*$", re.IGNORECASE)
_UNIT_OF = {"r": "Ohm", "c": "F", "l": "H", "v": "V", "i": "A"}

if TYPE_CHECKING:  # a checker cannot read a union out of a tuple
    Stimulus = StimulusKind
    Measure = Kind
else:
    Stimulus = Annotated[Union[stimuli.KINDS], Field(discriminator="kind")]  # noqa: UP007
    Measure = Annotated[Union[measures.KINDS], Field(discriminator="kind")]  # noqa: UP007


class DeviceUse(Table):
    """Which device a subcircuit of the bench stands for: one of cosim's, or a Verilog-A file.

    One of cosim's has ``parameters`` (a parameter set) and runs in a ``form``. A file (``verilog_a``, a path from the
    bench's folder) has a ``module`` (default: its only one), ``terminals`` (its ports in the order of the subcircuit;
    default: the module's own) and ``values`` of the module's parameters.

    Args:
        parameters: a parameter set: ``DEVICE:SET``, ``SET``, or ``FILE.toml`` from the bench's folder.
        also: further sets, whose values win where the device has such a parameter.
        model: the device, where it is not the set's: ``cell_1t1r`` takes a memristor's and a transistor's set.
        form: as B-sources, or compiled from Verilog-A.
        verilog_a: a Verilog-A file in place of ``parameters``.
        module: of that file; default: its only one.
        terminals: its ports in the order of the subcircuit; default: the module's.
        values: of the module's parameters; a string for one of type string.
    """

    parameters: str | None = None
    also: tuple[str, ...] = ()
    model: str | None = None
    form: Literal["behavioural", "verilog-a"] = "behavioural"
    verilog_a: str | None = None
    module: str | None = None
    terminals: tuple[str, ...] = ()
    values: dict[str, Quantity | Word] = Field(default_factory=dict)

    @pydantic.model_validator(mode="before")
    @classmethod
    def _compiled(cls, given: Any) -> Any:
        if not isinstance(given, dict) or given.get("verilog_a") is None:
            return given
        if given.get("form", "verilog-a") == "behavioural":
            raise InputError(
                "a device with verilog_a has no behavioural form", remedy="leave the form out: it runs compiled"
            )
        return {**given, "form": "verilog-a"}

    @pydantic.model_validator(mode="after")
    def _one_source(self) -> DeviceUse:
        if (self.parameters is None) == (self.verilog_a is None):
            raise InputError("a device has either parameters or verilog_a", remedy='e.g. verilog_a = "mine.va"')
        own = [name for name in ("module", "terminals", "values") if getattr(self, name)]
        if self.parameters is not None and own:
            raise InputError(f"{own[0]} belongs to a device with verilog_a", remedy="remove it")
        if self.verilog_a is not None and (self.also or self.model):
            raise InputError("also and model belong to a device with parameters", remedy="give values")
        return self


Origin = Literal["source", "oracle", "our choice"]


class Limit(Table):
    """Bounds of a measure, in its unit; each value of a measure with many has to keep them.

    Args:
        min, max: bounds in a unit of the measure's dimension, inclusive; a plain number is SI, and refused where the
            measure's unit is another: `5` for a measure in mA may mean either.
        origin: where the bounds are from: "source" (a publication or a data sheet), "oracle" (a computation that does
            not share the circuit or the model), or "our choice".
        reason: the section, equation or figure of the source; the computation; or why they were chosen so. One of
            ``origin`` and ``reason`` needs the other.
        nominal: whether it holds for the bench as it stands only, as a computation from its numbers does: it is not
            judged at corners, in samples, in campaigns, and where `cosim run` changes a parameter.
    """

    min: str | float | None = None
    max: str | float | None = None
    origin: Origin | None = None
    reason: str = ""
    nominal: bool = False

    @pydantic.model_validator(mode="after")
    def _accounted(self) -> Self:
        if self.origin and not self.reason:
            raise InputError("origin without reason", remedy="add the section, the computation or the why as reason")
        if self.reason and not self.origin:
            raise InputError("reason without origin", remedy='add origin = "source", "oracle" or "our choice"')
        return self

    @property
    def basis(self) -> str:
        """Where the bounds are from, in words."""
        return f"{self.origin}: {self.reason}" if self.origin else "not stated"

    def span(self, unit: str) -> tuple[float | None, float | None]:
        """Both bounds in SI, of a measure in ``unit``; raises `UnitError`."""
        for key, bound in (("min", self.min), ("max", self.max)):
            bare = isinstance(bound, int | float) or (bound is not None and units.is_number(bound))
            if bound is not None and bare and float(bound) != 0.0 and units.scale_of(unit) != 1.0:
                raise UnitError(
                    f"{key} = {bound} has no unit, and the measure is in {unit}",
                    remedy=f'write "{bound} {unit}" or "{bound} {units.si_unit(unit)}", whichever is meant',
                )
        low, high = (None if bound is None else units.parse(bound, unit) for bound in (self.min, self.max))
        if low is not None and high is not None and low > high:
            raise UnitError(f"min {self.min} is above max {self.max}", remedy="swap them")
        return low, high


class BenchFile(Table):
    """The whole file. ``analysis`` is short for an ``analyses`` table with one entry of that name.

    In ``circuit``, ``{stimulus.NAME}`` becomes a stimulus, ``{section.NAME}`` a library section (a corner may change
    it), ``{library.NAME}`` a path, below the bench's folder or one that whoever runs the bench allows, and
    ``{device.NAME.KEY}`` a number of a device's set (SI): a parameter, or one of its plasticity factors.

    Args:
        title: what the bench is, for tables and figures.
        source: the publication that the circuit and the limits of origin "source" are from.
        netlist: a file of subcircuits and models, from the bench's folder or a shipped one, included before the
            circuit.
        circuit: SPICE elements; ``{NAME}`` is a parameter.
        description: more about it, for readers.
        parameters: the circuit's, each with a unit; ``-p``, sweeps, corners and samples change them.
        devices: what stands for each subcircuit that the circuit uses and does not define.
        from_devices: further parameters of the circuit, each the ``DEVICE.PARAMETER`` of one of ``devices`` (or one of
            its set's plasticity factors), which an analysis may change, or sweep.
        stimuli: waveforms, put into the circuit as ``{stimulus.NAME}``.
        analysis: the only analysis.
        analyses: several, by name; each measure then names the one it sees.
        options: of the simulator, over cosim's defaults (``reltol`` 1e-4, ``abstol`` 1e-12, ``vntol`` 1e-7, ``chgtol``
            1e-16, ``trtol`` 1); ``temp`` in °C.
        save: vectors to keep beside those that measures ask for, in ngspice's names: ``v(out)``, ``i(v1)``,
            ``v(xcell.xm.w)``.
        measures: what is computed from the waveforms, by name.
        limits: bounds of measures, by the measure's name.
        sections: of libraries, put in as ``{section.NAME}``.
        libraries: paths, put in as ``{library.NAME}``.
        corners: what `cosim validate` runs beside the bench as it stands, by name.
        monte_carlo: samples that `cosim validate` runs.
        trust: how to decide whether a measure can be trusted.
        maps: events of the circuit with inputs, states and outputs, by name.
        neurons: where the circuit takes spikes in and gives spikes out, by name.
        filters: where spikes go into the circuit, and the current that they leave, by name.
    """

    title: str
    source: str = ""
    netlist: str | None = None
    circuit: str = ""
    description: str = ""
    parameters: dict[str, Quantity] = Field(default_factory=dict)
    devices: dict[str, DeviceUse] = Field(default_factory=dict)
    from_devices: dict[str, str] = Field(default_factory=dict)
    stimuli: dict[str, Stimulus] = Field(default_factory=dict)
    analysis: Analysis | None = None
    analyses: dict[str, Analysis] = Field(default_factory=dict)
    options: dict[str, float | str] = Field(default_factory=dict)
    save: tuple[str, ...] = ()
    measures: dict[str, Measure] = Field(default_factory=dict)
    limits: dict[str, Limit] = Field(default_factory=dict)
    sections: dict[str, str] = Field(default_factory=dict)
    libraries: dict[str, str] = Field(default_factory=dict)
    corners: dict[str, Corner] = Field(default_factory=dict)
    monte_carlo: MonteCarlo | None = None
    trust: Trust = Trust()
    maps: dict[str, MapFile] = Field(default_factory=dict)
    neurons: dict[str, NeuronFile] = Field(default_factory=dict)
    filters: dict[str, FilterFile] = Field(default_factory=dict)

    _written: dict[str, tuple[StimulusKind, str, float | None]] = pydantic.PrivateAttr(default_factory=dict)

    def _stimulus(self, name: str) -> tuple[StimulusKind, str, float | None]:
        stimulus, found = self.stimuli[name], self._written.get(name)
        # copies share it: those with other numbers have the same stimuli, others have not
        if found is None or found[0] is not stimulus:
            found = self._written[name] = stimulus, stimulus.source(), stimulus.duration()
        return found

    def written(self, stimulus: str) -> str:
        """SPICE's text of a stimulus."""
        return self._stimulus(stimulus)[1]

    def duration(self, stimulus: str) -> float | None:
        """Where a stimulus ends (s); None where it does not."""
        return self._stimulus(stimulus)[2]

    def card(self, analysis: str) -> str:
        """SPICE's card of an analysis."""
        entry = self.plan[analysis]
        if isinstance(entry, Tran) and entry.stop is None:
            entry = entry.model_copy(update={"stop": self.duration(cast(str, entry.stimulus))})
        return card(entry)

    @property
    def plan(self) -> dict[str, Analysis]:
        """Every analysis by name."""
        return self.analyses if self.analysis is None else {"analysis": self.analysis, **self.analyses}

    def analysis_of(self, measure: str) -> str:
        """The name of the analysis that a measure sees."""
        return self.measures[measure].analysis or next(iter(self.plan))

    @pydantic.field_validator(
        "parameters",
        "devices",
        "from_devices",
        "stimuli",
        "analyses",
        "measures",
        "corners",
        "sections",
        "libraries",
        "maps",
        "neurons",
        "filters",
    )
    @classmethod
    def _names(cls, table: dict[str, Any]) -> dict[str, Any]:
        for name in table:
            if not NAME.match(name):
                with at(name):
                    raise InputError(f"{name!r} is not a name", remedy="use letters, digits and _")
        return table

    @pydantic.model_validator(mode="after")
    def _references(self) -> BenchFile:
        if not self.plan:
            raise InputError("the bench has no analysis", remedy="write [analysis] or [analyses.NAME]")
        for name, entry in self.plan.items():
            with at(*(("analysis",) if entry is self.analysis else ("analyses", name))):
                self._check_analysis(name, entry)
        for name, place in self.from_devices.items():
            with at("from_devices", name):
                self._check_taken(name, place)
        with at("circuit"):
            self._check_values()
            self._check_assigned()
        for name, measure in self.measures.items():
            with at("measures", name):
                self._check_measure(name, measure)
        for name, corner in self.corners.items():
            with at("corners", name):
                self._check_corner(name, corner)
        for name, spread in self.monte_carlo.parameters.items() if self.monte_carlo is not None else ():
            with at("monte_carlo", "parameters", name):
                self._check_parameter("parameter in monte_carlo", name, *([spread.absolute] if spread.absolute else []))
        for name, limit in self.limits.items():
            with at("limits", name):
                self._check_limit(name, limit)
        for name, given in self.maps.items():
            with at("maps", name):
                check_map(self, name, given)
        for name, neuron in self.neurons.items():
            with at("neurons", name):
                check_neuron_entry(self, name, neuron)
        for name, used in self.filters.items():
            with at("filters", name):
                check_filter_entry(self, name, used)
        return self

    def _check_taken(self, name: str, place: str) -> None:
        device, dot, key = place.partition(".")
        if name in self.parameters:
            raise InputError(f"{name!r} is a parameter as well", remedy="remove it there, or give it another name here")
        if not dot or not key:
            raise InputError(f"{place!r} does not name a device's parameter", remedy="write DEVICE.PARAMETER")
        if device not in self.devices:
            raise UnknownName("device", device, self.devices)
        if self.devices[device].parameters is None:
            raise InputError(f"device {device!r} is a Verilog-A file, without a set", remedy=f"make {name} a parameter")

    def _check_assigned(self) -> None:
        """Raises `InputError` for a parameter that the circuit gives too, and which would have no effect."""
        try:
            lines = logical_lines(f"* circuit\n{self.circuit}", has_title=True)
        except NetlistError:
            return  # the run's refusal names the row in the bench's file
        for name, line in assigned(lines):
            if name in map(str.lower, self.parameters):
                raise InputError(
                    f"{line.text[:60]!r} sets {name!r} again, so that the bench's parameter has no effect",
                    remedy="remove it in one of the two places",
                )

    def _check_values(self) -> None:
        """Raises `UnitError` for a resistance in farad: SPICE's numbers have no units; nothing else would notice."""
        for row in self.circuit.splitlines():
            match = _VALUED.match(row)
            quantity = self.parameters.get(match[2]) if match else None
            if match is None or quantity is None or quantity.unit == "1":
                continue
            wanted = _UNIT_OF[match[1].lower()]
            if units.dimension(quantity.unit)[1] != units.dimension(wanted)[1]:
                raise UnitError(
                    f"{row.strip()[:60]!r}: {match[2]} is in {quantity.unit}, and that element's value is in {wanted}",
                    remedy="write it in that unit, or without a unit",
                )

    def _check_analysis(self, name: str, entry: Analysis) -> None:
        once: dict[str, tuple[Quantity, ...]] = {key: (value,) for key, value in entry.parameters.items()}
        tables = {"parameters": once, "sweep": entry.sweep}
        for table, given in tables.items():
            for parameter, values in given.items():
                with at(table, parameter):
                    self._check_parameter(f"parameter in analysis {name!r}", parameter, *values)
        if isinstance(entry, Tran) and entry.stop is None and self._end(entry) is None:
            raise InputError(f"transient {name!r} has no end", remedy='give it stop = "..." or stimulus = "NAME"')

    def _check_limit(self, name: str, limit: Limit) -> None:
        if name not in self.measures:
            raise InputError(f"limit {name!r} has no measure", remedy=f"measures: {', '.join(self.measures) or 'none'}")
        try:
            limit.span(self.measures[name].unit)
        except UnitError as error:
            remedy = (
                f"{error.remedy}, or correct the unit of the measure" if "is not in" in error.message else error.remedy
            )
            raise UnitError(f"limit {name!r}: {error.message}", remedy=remedy) from None

    def _check_corner(self, name: str, corner: Corner) -> None:
        for kind in ("parameters", "devices", "sections"):
            for key in getattr(corner, kind):
                if key not in getattr(self, kind):
                    with at(kind, key):
                        raise UnknownName(f"{kind[:-1]} in corner {name!r}", key, getattr(self, kind))
        for key, quantity in corner.parameters.items():
            with at("parameters", key):
                self._check_parameter(f"parameter in corner {name!r}", key, quantity)

    def _check_parameter(self, what: str, name: str, *values: Quantity) -> None:
        """Raises `UnknownName` for a parameter that the bench lacks, `UnitError` for a value of another dimension."""
        if name in self.from_devices and "in analysis" in what:
            return  # its unit is the device's: checked where that is known
        if name not in self.parameters:
            raise UnknownName(what, name, self.parameters)
        unit = self.parameters[name].unit
        for value in values:
            if value.unit != "1" and units.dimension(value.unit)[1] != units.dimension(unit)[1]:
                raise UnitError(
                    f"{what} {name!r}: a value in {value.unit}, the bench's is in {unit}", remedy=f"write it in {unit}"
                )

    def _end(self, entry: Tran) -> float | None:
        found = self.stimuli.get(entry.stimulus or "")
        return None if found is None else found.duration()

    def _check_measure(self, name: str, measure: Kind) -> None:
        with at("unit"):
            try:
                units.dimension(measure.unit)
            except UnitError as error:
                raise UnitError(f"measure {name!r}: {error.message}", remedy=error.remedy) from None
        if measure.analysis is not None and measure.analysis not in self.plan:
            with at("analysis"):
                raise UnknownName(f"analysis of measure {name!r}", measure.analysis, self.plan)
        if measure.analysis is None and len(self.plan) > 1 and isinstance(measure, PointMeasure):
            raise InputError(
                f"measure {name!r} does not say which analysis it sees", remedy=f"one of {', '.join(self.plan)}"
            )
        kind = self.plan[self.analysis_of(name)].kind
        if isinstance(measure, Pinch | LoopArea) and kind not in ("tran", "dc"):
            raise InputError(f"measure {name!r}: an {kind} analysis has no loop", remedy="take a tran or dc one")
        if isinstance(measure, MeasCard) and kind not in ("tran", "dc", "ac"):
            raise InputError(
                f"measure {name!r}: ngspice has no .meas of an {kind} analysis", remedy="take another kind"
            )
        used = getattr(measure, "stimulus", None)
        if used is not None and (used not in self.stimuli or self.stimuli[used].train() is None):
            raise InputError(
                f"measure {name!r} needs a pulse stimulus, which {used!r} is not",
                remedy=f"stimuli: {', '.join(self.stimuli) or 'none'}",
            )
