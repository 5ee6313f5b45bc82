"""A test bench: a circuit with its devices' parameter sets, stimuli, one analysis, measures and limits.

``Testbench.load(name).run()`` writes the deck, runs it through a `Simulator`, measures, and judges every limit. The
same bench runs with the devices as B-sources or as Verilog-A, with other parameter sets and other values, without
being edited: ``bench.with_(parameters={"w0": 0.2}, devices={"memristor": fitted}, form="verilog-a")``.
"""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

import numpy as np

from cosim import resources
from cosim.bench import adjust
from cosim.bench import file as schema
from cosim.bench.analyses import SAVED
from cosim.bench.evaluate import cards, evaluated
from cosim.bench.foreign import foreign_model
from cosim.bench.from_deck import SUFFIXES, from_deck
from cosim.bench.maps import check_maps
from cosim.bench.measures.waveforms import needed
from cosim.bench.paths import inside
from cosim.bench.result import BenchResult, Run, behavioural_names, compiled_name
from cosim.bench.rows import asked_rows, deck_rows, filled
from cosim.bench.stimuli import PulseTrain, fmt
from cosim.bench.units import check_units
from cosim.bench.variation import Adjustable
from cosim.devices.registry import device as find_device
from cosim.emit.ngspice import osdi_subcircuit, subcircuit
from cosim.emit.veriloga import module
from cosim.engines.openvaf import compile_model
from cosim.engines.prepare import prepare
from cosim.engines.simulator import Deck, Limits, Simulator
from cosim.errors import InputError, UnknownName, at
from cosim.language.chance import LARGEST_SEED
from cosim.language.netlist import Line
from cosim.language.numbers import spice_number
from cosim.parameters import ParameterSet, in_file
from cosim.schema import Quantity, located, read, validate

# Tolerances that follow a memristor's state: at ngspice's default trtol = 7 a 200 ns pulse is integrated with an error
# of 1e-3 of the state, at 1 with 1e-4 and as many points (measured against scipy). abstol stays at 1 pA when tightened:
# below it the charges of a BSIM4 transistor are too rough for reltol = 1e-6, and the step shrinks to nothing.
STANDARD: Mapping[str, float] = MappingProxyType(
    {"reltol": 1e-4, "abstol": 1e-12, "vntol": 1e-7, "chgtol": 1e-16, "trtol": 1.0}
)
TIGHT: Mapping[str, float] = MappingProxyType(
    {"reltol": 1e-6, "abstol": 1e-12, "vntol": 1e-9, "chgtol": 1e-18, "trtol": 1.0}
)


@dataclass(frozen=True)
class Testbench:
    """A bench ready to run (module docstring); ``with_`` gives changed copies.

    ``seed`` draws the random numbers of the netlist itself; None: its random functions are their means. ``left`` says
    what a deck has and the bench has not, ``lines`` and ``measured`` are those of the deck, for messages.

    >>> bench = cosim.Testbench.load("1t1r_write")
    >>> sorted(bench.sets)
    ['memristor']
    """

    __test__ = False  # not a pytest class

    file: schema.BenchFile
    folder: Path
    name: str
    sets: Mapping[str, ParameterSet] = field(default_factory=lambda: MappingProxyType({}))
    allowed: tuple[Path, ...] = ()
    corner: str = ""
    seed: int | None = None
    left: tuple[str, ...] = ()
    lines: tuple[int | None, ...] = ()
    measured: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))

    @classmethod
    def load(cls, reference: str | Path, *, allow: Sequence[str | Path] = ()) -> Testbench:
        """A bench by path, or a shipped one by name (``"1t1r_random_pulses"``); a deck as `from_deck` reads it.

        ``allow`` are folders, beside the bench's own, that its libraries may lie in: a bench cannot grant itself more.
        """
        path = Path(reference)
        folders = tuple(Path(folder).expanduser().resolve() for folder in allow)
        if path.suffix.lower() in SUFFIXES:
            deck = from_deck(path, roots=folders)
            file = validate(schema.BenchFile, deck.tables, kind="deck", file=path)
            told = {"left": tuple(deck.notes), "lines": deck.lines, "measured": MappingProxyType(deck.measured)}
            bench = cls(file, path.resolve().parent, path.name, allowed=folders, **told)  # type: ignore[arg-type]
        else:
            if path.suffix not in (".toml", ".raw"):  # a raw file is refused as what it is
                path = resources.find("netlists", f"{reference}.toml")
            file = read(path, schema.BenchFile, kind="bench")
            bench = cls(file, path.resolve().parent, path.stem, allowed=folders)
        sets = {}
        with located(bench.source):
            for name, use in file.devices.items():
                if use.parameters is None:
                    continue  # a user's file is compiled when a deck is written
                with at("devices", name, "parameters"):
                    first = bench.load_set(use.parameters, name)
                with at("devices", name, "also"):
                    others = [bench.load_set(reference, name) for reference in use.also]
                with at("devices", name):
                    sets[name] = first.for_device(use.model or first.device, others=others)
            loaded = replace(bench, sets=MappingProxyType(sets))
            adjust.check_varied(loaded)
        adjust.check_taken(loaded)
        check_units(loaded)
        with located(bench.source):
            check_maps(loaded)
        return loaded

    @property
    def source(self) -> Path:
        """The bench's file, or the deck."""
        return self.folder / (self.name if self._is_deck else f"{self.name}.toml")

    @property
    def _is_deck(self) -> bool:
        return self.name.lower().endswith(SUFFIXES)

    def adjustable(self, device: str, key: str) -> Adjustable:
        """A parameter of one of the bench's devices; see `cosim.bench.adjust.adjustable`."""
        return adjust.adjustable(self, device, key)

    def with_(
        self,
        *,
        parameters: Mapping[str, float] | None = None,
        devices: Mapping[str, ParameterSet] | None = None,
        values: Mapping[str, Mapping[str, float | str]] | None = None,
        form: str | None = None,
        options: Mapping[str, float | str] | None = None,
        stimuli: Mapping[str, Mapping[str, Any]] | None = None,
        max_step: float | None = None,
    ) -> Testbench:
        """A copy with some values changed; names have to exist.

        Args:
            parameters: circuit parameters, SI.
            devices: parameter sets by the name of the bench's device.
            values: of single parameters (SI), by device, over those of its set or of its Verilog-A file; a word for one
                of type string.
            form: "behavioural" or "verilog-a", for every device.
            options: simulator options over the bench's.
            stimuli: fields of stimuli, e.g. ``{"bl": {"seed": 2, "count": 100}}``.
            max_step: of a transient (s).
        """
        changed = self.file
        if parameters:
            # a campaign changes numbers thousands of times: only what changes is checked
            quantities = dict(changed.parameters)
            for name, value in parameters.items():
                self._known("parameter", name, quantities)
                number = float(value)
                if not math.isfinite(number):
                    raise InputError(f"parameter {name!r} of bench {self.name} is {number}", remedy="give a number")
                quantities[name] = quantities[name].model_copy(update={"value": number})
            changed = changed.model_copy(update={"parameters": quantities})
        if stimuli or form or options or max_step is not None:
            data = changed.model_dump()
            for name, fields in (stimuli or {}).items():
                self._known("stimulus", name, self.file.stimuli)
                data["stimuli"][name].update(fields)
            for use in data["devices"].values():
                use["form"] = form or use["form"]
            data["options"].update(options or {})
            if max_step is not None:
                for entry in [data["analysis"], *data["analyses"].values()]:
                    if entry and entry["kind"] == "tran":
                        entry["max_step"] = max_step
            changed = validate(schema.BenchFile, data, kind="bench")
        sets = dict(self.sets)
        for name, given in (devices or {}).items():
            self._known("device", name, self.sets)
            same = given.device == sets[name].device
            sets[name] = given if same else given.for_device(sets[name].device)
        own = dict(changed.devices)
        for name, numbers in (values or {}).items():
            chosen = adjust.checked(self, name, numbers)
            if name in sets:
                sets[name] = sets[name].with_values(cast("Mapping[str, float]", numbers))
                continue
            numbers_of: dict[str, Quantity | str] = {**own[name].values, **chosen}
            own[name] = own[name].model_copy(update={"values": numbers_of})
            changed = changed.model_copy(update={"devices": own})
        return replace(self, file=changed, sets=MappingProxyType(sets))

    def varied(self) -> Testbench:
        """The bench without the limits that hold for it as it stands only, to be run with other numbers."""
        kept = {name: limit for name, limit in self.file.limits.items() if not limit.nominal}
        return replace(self, file=self.file.model_copy(update={"limits": kept}))

    def tightened(self) -> Testbench:
        """The same bench at tightened tolerances and half the maximum step, by which a measure is trusted or not.

        A tolerance that the bench leaves out becomes that of `TIGHT`, one that it sets itself a tenth of it (trtol
        stays), but never looser than that of `STANDARD`.
        """
        options = dict(self.file.options)
        for key, tight in TIGHT.items():
            given = self.file.options.get(key)
            number = spice_number(given) if isinstance(given, str) else given
            if given is not None and number is None:
                raise InputError(f"option {key} = {given!r} is not a number", remedy="write e.g. 1e-6")
            # What a bench sets itself is set for a reason, loose or tight: its tenth shows what has not converged.
            tenth = None if number is None else number * (1.0 if key == "trtol" else 0.1)
            options[key] = tight if tenth is None else min(tenth, STANDARD[key])
        data = self.file.model_dump()
        data["options"] = options
        for entry in [data["analysis"], *data["analyses"].values()]:
            if entry and entry["kind"] == "tran":
                entry["max_step"] *= 0.5
        return replace(self, file=validate(schema.BenchFile, data, kind="bench"))

    def at_corner(self, name: str) -> Testbench:
        """The bench at one of its corners."""
        self._known("corner", name, self.file.corners)
        corner = self.file.corners[name]
        with located(self.source), at("corners", name):
            sets, values = {}, dict[str, dict[str, float | str]]()
            for key, given in corner.devices.items():
                if isinstance(given, str):
                    sets[key] = self.load_set(given, key)
                else:
                    values[key] = {name: q if isinstance(q, str) else q.value for name, q in given.items()}
            parameters = {key: q.value for key, q in corner.parameters.items()}
            changed = self.varied().with_(parameters=parameters, devices=sets, values=values)
        data = changed.file.model_dump()
        data["sections"].update(corner.sections)
        if corner.temperature is not None:
            data["options"]["temp"] = corner.temperature
        return replace(changed, file=validate(schema.BenchFile, data, kind="bench"), corner=name)

    def sampled(self, rng: np.random.Generator) -> Testbench:
        """The bench with its Monte Carlo parameters drawn once, each device's truncated at the parameter's bounds, and
        with a seed for the random numbers of the netlist itself.
        """
        spec = self.file.monte_carlo
        if spec is None:
            raise InputError(f"bench {self.name} has no Monte Carlo samples", remedy="write [monte_carlo]")
        parameters = {}
        for name, spread in spec.parameters.items():
            parameters[name] = spread.draw(self.file.parameters[name].value, rng)
        values: dict[str, dict[str, float | str]] = {}
        for name, spreads in spec.devices.items():
            values[name] = {}
            for key, spread in spreads.items():
                entry = self.adjustable(name, key)
                centre = cast(float, entry.value)
                values[name][key] = spread.within(centre, *entry.bounds).draw(centre, rng)
        seed = int(rng.integers(1, LARGEST_SEED, endpoint=True))
        return replace(self.varied().with_(parameters=parameters, values=values), seed=seed)

    def random_lines(self) -> tuple[Line, ...]:
        """The lines of the netlist that call random functions, or are sources of noise. Raises as `prepare` does."""
        found = (prepare(self.deck(name)) for name in self.file.plan)
        return tuple(dict.fromkeys(line for deck in found for line in (*deck.random, *deck.noise)))

    def _known(self, kind: str, name: str, known: Mapping[str, object]) -> None:
        if name not in known:
            raise UnknownName(f"{kind} of bench {self.name}", name, known)

    def train(self, stimulus: str) -> PulseTrain:
        """The pulse train of a stimulus."""
        self._known("stimulus", stimulus, self.file.stimuli)
        found = self.file.stimuli[stimulus].train()
        if found is None:
            raise InputError(f"stimulus {stimulus!r} is not a pulse train")
        return found

    def trains(self) -> dict[str, PulseTrain]:
        """Every pulse train by its stimulus."""
        found = {name: stimulus.train() for name, stimulus in self.file.stimuli.items()}
        return {name: train for name, train in found.items() if train is not None}

    def vectors(self, analysis: str | None = None) -> tuple[str, ...]:
        """The vectors that the measures of an analysis and ``save`` ask for, lower case, each once."""
        return tuple(dict.fromkeys(vector for vector, _ in self._asked(analysis or next(iter(self.file.plan)))))

    def _asked(self, analysis: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """Vectors with the keys of what asks for them."""
        wanted = [(vector.lower(), ("save",)) for vector in self.file.save]
        own = [name for name in self.file.measures if self.file.analysis_of(name) == analysis]
        named = ((name, vector) for name in own for vector in self.file.measures[name].vectors())
        return (*wanted, *((vector, ("measures", name)) for name, of in named for vector in needed(of)))

    def points(self, analysis: str) -> list[dict[str, float]]:
        """The values of the swept parameters, point by point."""
        sweep = self.file.plan[analysis].sweep
        grid = itertools.product(*([q.value for q in values] for values in sweep.values()))
        return [dict(zip(sweep, values, strict=True)) for values in grid]

    def deck(self, analysis: str | None = None, *, point: Mapping[str, float] = MappingProxyType({})) -> Deck:
        """The complete netlist of one analysis at one point, with its options and vectors to keep."""
        analysis = analysis or next(iter(self.file.plan))
        uses = {name: use for name, use in self.file.devices.items() if name in self.sets}
        compiled = tuple(
            compile_model(module(find_device(name)))
            for name in dict.fromkeys(self.sets[n].device for n in uses if uses[n].form == "verilog-a")
        )
        foreign = []
        for name, use in self.file.devices.items():
            if use.verilog_a is not None:
                with located(self.source), at("devices", name):
                    foreign.append(foreign_model(name, use, self.folder, roots=self.roots()))
        compiled += tuple(dict.fromkeys(path for path, _ in foreign))
        lines = [self.file.title]
        values = self.values(analysis, point=point)
        if values:
            lines.append(".param " + " ".join(f"{name}={fmt(value)}" for name, value in values.items()))
        for name, use in uses.items():
            write = osdi_subcircuit if use.form == "verilog-a" else subcircuit
            lines.append(write(find_device(self.sets[name].device), name, self.sets[name].resolved()))
        lines += [text for _, text in foreign]
        if self.file.netlist:
            lines.append(f'.include "{self.included(self.file.netlist)}"')
        with located(self.source):
            circuit, rows = self._circuit()
        before = sum(text.count("\n") + 1 for text in lines)
        measured = cards(self, analysis)
        lines += [circuit, self.file.card(analysis), *measured.values(), ".end"]
        save = self.vectors(analysis) if self.file.plan[analysis].kind in SAVED else ()
        if compiled:
            save += tuple(other for name in save if (other := compiled_name(name)))
        return Deck(
            "\n".join(lines) + "\n",
            osdi=compiled,
            save=save,
            options=MappingProxyType({**STANDARD, **self.file.options}),
            roots=self.roots(),
            source=self.source,
            rows=self._rows(rows, before=before, analysis=analysis, measures=tuple(measured)),
            devices=MappingProxyType({name: self.sets[name].device for name in uses}),
            asked=self._asked_rows(analysis),
            bench=True,
            seed=self.seed,
        )

    def _asked_rows(self, analysis: str) -> Mapping[str, int]:
        if not self._is_deck:
            return asked_rows(self.source, self._asked(analysis))
        places = ((vector, self.measured.get(keys[-1])) for vector, keys in self._asked(analysis))
        return {vector: line for vector, line in places if line is not None}

    def _rows(
        self, rows: list[int], *, before: int, analysis: str, measures: tuple[str, ...]
    ) -> tuple[int | None, ...]:
        """The line of the bench's file for each row of a deck; where a corner chose a section, that of the corner."""
        if self._is_deck:
            own = [self.lines[row] if self.lines else None for row in rows]
            return (*[None] * before, *own, None, *(self.measured.get(name) for name in measures))
        found = deck_rows(self.source, self.file.circuit, before=before, rows=rows, analysis=analysis)
        if found and measures:
            places = asked_rows(self.source, tuple((name, ("measures", name)) for name in measures))
            found = (*found, *(places.get(name) for name in measures))
        chosen = self.file.corners[self.corner].sections if self.corner in self.file.corners else {}
        if not chosen or not found:
            return found
        lines = enumerate(self.file.circuit.strip().split("\n"))
        chosen_by = {number: name for number, line in lines for name in chosen if f"{{section.{name}}}" in line}
        keys = tuple((str(number), ("corners", self.corner, "sections", name)) for number, name in chosen_by.items())
        instead = asked_rows(self.source, keys)
        end = before + len(rows)
        chosen_rows = (instead.get(str(row), line) for row, line in zip(rows, found[before:end], strict=True))
        return (*found[:before], *chosen_rows, *found[end:])

    def values(self, analysis: str, *, point: Mapping[str, float]) -> dict[str, float]:
        """The circuit's parameters (SI) in one run."""
        found = {name: entry.value for name, entry in self.file.parameters.items()}
        found |= {name: adjust.taken(self, name)[0] for name in self.file.from_devices}
        found |= {name: entry.value for name, entry in self.file.plan[analysis].parameters.items()}
        return found | dict(point)

    @property
    def parameter_units(self) -> dict[str, str]:
        """The unit of each of the circuit's parameters, those taken from devices included."""
        found = {name: entry.unit for name, entry in self.file.parameters.items()}
        return found | {name: adjust.taken(self, name)[1] for name in self.file.from_devices}

    def _circuit(self) -> tuple[str, list[int]]:
        """The circuit with its stimuli, and the line of the bench's own text that each of its rows came from."""

        def value(kind: str, name: str) -> str:
            with at("circuit"):
                return text_of(kind, name)

        def text_of(kind: str, name: str) -> str:
            if kind == "stimulus":
                self._known("stimulus", name, self.file.stimuli)
                return self.file.written(name)
            if kind == "section":
                self._known("section", name, self.file.sections)
                return self.file.sections[name]
            if kind == "device":
                return fmt(adjust.of_set(self, name)[0])
            self._known("library", name, self.file.libraries)
            return f'"{self.library(name)}"'

        return filled(self.file.circuit, value)

    def library(self, name: str) -> Path:
        """The path of a library that the bench declares, from the bench's folder."""
        with located(self.source), at("libraries", name):
            return self._inside(self.file.libraries[name], f"library {name!r}")

    def _inside(self, reference: str, what: str) -> Path:
        return inside(reference, what, folder=self.folder, roots=self.roots())

    def load_set(self, reference: str, device: str) -> ParameterSet:
        """A parameter set as a bench names it: a path counts from the bench's folder."""
        file, name = in_file(reference)
        if not file:
            return ParameterSet.load(reference)
        return ParameterSet.in_file(self._inside(file, f"parameter set of device {device!r}"), name)

    def included(self, name: str) -> Path:
        """The bench's netlist: beside it, or a shipped one."""
        with located(self.source), at("netlist"):
            path = self._inside(name, "the netlist")
        return path if os.path.exists(path) else resources.find("netlists", name)

    def roots(self) -> tuple[Path, ...]:
        """The folders that files of the bench may lie in."""
        return (self.folder, *self.allowed, *resources.shipped_roots())

    def decks(self) -> list[tuple[str, Mapping[str, float], Deck]]:
        """Every analysis at every point of its sweep: its name, the point, and the deck."""
        return [(name, point, self.deck(name, point=point)) for name in self.file.plan for point in self.points(name)]

    def run(
        self, simulator: Simulator | None = None, *, limits: Limits | None = None,
        decks: Sequence[tuple[str, Mapping[str, float], Deck]] | None = None,
    ) -> BenchResult:  # fmt: skip
        """Run every analysis at every point, measure, judge; without ``simulator`` in one opened for this run.

        Runs are handed to the simulator all at once: it works on as many as it has processes. ``decks`` are this
        bench's, for a caller that has written them already.
        """
        if simulator is None:
            from cosim.engines.registry import open_simulator

            with open_simulator() as own:
                return self.run(own, limits=limits, decks=decks)
        cases = self.decks() if decks is None else decks
        chosen = limits or Limits()
        if len(cases) == 1:
            results = [simulator.run(cases[0][2], limits=chosen)]
        else:
            with ThreadPoolExecutor(max_workers=min(len(cases), 32)) as threads:
                results = list(threads.map(lambda case: simulator.run(case[2], limits=chosen), cases))
        runs = tuple(
            Run(name, MappingProxyType(dict(point)), behavioural_names(result))
            for (name, point, _), result in zip(cases, results, strict=True)
        )
        if not all(run.result.ok for run in runs):
            return BenchResult(self, runs, MappingProxyType({}))
        done, missing = evaluated(self, runs)
        return BenchResult(self, runs, MappingProxyType(done), MappingProxyType(missing))
