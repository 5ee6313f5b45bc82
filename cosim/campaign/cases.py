"""A case: one point of a plan, its key, and the row that it becomes.

``evaluate`` is a pure function: the same case gives the same row on any machine with the same engine, whoever calls it
and in whatever order. A row is plain JSON; measures of a run that failed are absent from it.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from cosim.bench.limits import judge_limit, moves
from cosim.bench.physics import states_in_bounds
from cosim.bench.result import BenchResult
from cosim.bench.testbench import Testbench
from cosim.campaign.address import NOMINAL, apply
from cosim.campaign.identity import (
    Decks,
    Files,
    FilesChanged,
    circuits,
    engine_build,
    own_code,
    own_devices,
    told_apart,
)
from cosim.devices.base import Array
from cosim.devices.registry import device as find_device
from cosim.engines.prepare import prepare
from cosim.engines.simulator import Limits, Outcome, Simulator
from cosim.errors import InputError
from cosim.language.instances import calls
from cosim.statistics.verdict import Verdict

_LOG_LINES = 20
# Outcomes that are reproducible; the others come from a limit, a signal, or a refusal.
REPEATABLE = frozenset({Outcome.CONVERGED, Outcome.NOT_CONVERGED})
_REBUILT = ("stimuli.", "options.")
_VARIANTS = 64
_STATES = 64  # that are saved for the check of their bounds where the bench does not save them
Calls = Mapping[str, Mapping[str, str]]


@dataclass(frozen=True)
class Case:
    """One point: its number in the plan, corner, ``values`` (SI) by address, and whether its run is repeated.

    ``seed`` draws the random numbers of the netlist; None: its random functions are their means.
    """

    number: int
    corner: str = NOMINAL
    values: Mapping[str, float | str] = field(default_factory=lambda: MappingProxyType({}))
    repeat: bool = False
    seed: int | None = None

    def plain(self) -> list[Any]:
        """As JSON, for another process."""
        return [self.number, self.corner, dict(self.values), self.repeat, self.seed]

    @classmethod
    def of(cls, plain: list[Any]) -> Case:
        """The case that `plain` wrote."""
        number, corner, values, repeat, seed = plain
        return cls(int(number), str(corner), values, bool(repeat), None if seed is None else int(seed))


@dataclass(frozen=True)
class _Corner:
    """A bench at a corner, SHA-256 of all that its cases share and of its decks, its compiled models, its tree, and
    whether random functions of its netlist are held at their means, and whether it has random numbers of any kind.
    """

    bench: Testbench
    shared: bytes
    own: bytes
    osdi: frozenset[Path]
    calls: Calls
    held: bool
    random: bool


class PreparedBench:
    """A bench, ready for many cases: its corners are made once, and what all decks share is hashed once.

    Args:
        bench: as the plan has it.
        engine: version of the simulator, ``"ngspice-46"``.
        simulator: its name: ``"pyspice"`` and ``"ngspice"`` run the same engine in different ways.
    """

    def __init__(self, bench: Testbench, engine: str, *, simulator: str = "") -> None:
        self.bench = bench
        self.engine = engine
        self._simulator = simulator
        self._files = Files()
        self._corners: dict[str, _Corner] = {}
        self._variants: dict[tuple[str, tuple[tuple[str, float | str], ...]], Testbench] = {}

    def corner(self, name: str) -> Testbench:
        """The bench at a corner, or as it stands."""
        return self._corner(name).bench

    def calls(self, corner: str) -> Calls:
        """Per subcircuit of the circuit what its instances are; see `cosim.language.instances.calls`."""
        return self._corner(corner).calls

    def held(self, corner: str) -> bool:
        """Whether cases without a seed have the means of random functions at a corner."""
        return self._corner(corner).held

    def random(self, corner: str) -> bool:
        """Whether the netlist has random numbers at a corner, which follow the seed of a case."""
        return self._corner(corner).random

    def _corner(self, name: str) -> _Corner:
        found = self._corners.get(name)
        if found is None:
            bench = self.bench if name == NOMINAL else self.bench.at_corner(name)
            found = self._corners[name] = _at(bench, self._files)
        return found

    def digest(self) -> str:
        """SHA-256 of what a campaign depends on beside its plan: the bench with all corners, files, engine, cosim."""
        file = self.bench.file.model_dump_json(exclude={"description", "monte_carlo"})
        found = hashlib.sha256(f"{self.engine} {file}".encode() + engine_build(self._simulator))
        for name in (NOMINAL, *self.bench.file.corners):
            try:
                corner = self._corner(name)
            except InputError as error:
                if name == NOMINAL:
                    raise
                found.update(str(error).encode())  # a plan that has this corner is refused
            else:
                found.update(corner.shared + corner.own)
        return found.hexdigest()

    def at(self, case: Case) -> Testbench:
        """The bench of a case. Raises `InputError` for values out of bounds."""
        seed = self._seed(case)
        return self._at(case) if seed is None else replace(self._at(case), seed=seed)

    def _seed(self, case: Case) -> int | None:
        """The seed of a case if it has something to draw; otherwise None, so that cases with the same deck are one."""
        return case.seed if case.seed is not None and self.random(case.corner) else None

    def _at(self, case: Case) -> Testbench:
        rebuilt = tuple((name, value) for name, value in case.values.items() if name.startswith(_REBUILT))
        if not rebuilt:
            return apply(self.corner(case.corner), case.values)
        # stimuli and options make the bench anew; cases of a grid share them
        variant = self._variants.get((case.corner, rebuilt))
        if variant is None:
            variant = apply(self.corner(case.corner), dict(rebuilt))
            if len(self._variants) >= _VARIANTS:
                self._variants.clear()
            self._variants[case.corner, rebuilt] = variant
        others = {name: value for name, value in case.values.items() if not name.startswith(_REBUILT)}
        return apply(variant, others)

    def key(self, case: Case, decks: Decks | None = None) -> str:
        """SHA-256 of all that the row depends on: decks with their options, files, measures, engine, repetition.

        Two plans that lead to the same decks share it. ``decks`` are the case's, where they are written already.
        Raises `FilesChanged` where a Verilog-A file became another model.
        """
        corner = self._corner(case.corner)
        found = hashlib.sha256(f"{self.engine} {case.repeat}".encode() + engine_build(self._simulator) + corner.shared)
        decks = self.at(case).decks() if decks is None else decks
        numbers = {name: value for name, value in case.values.items() if not isinstance(value, str)}
        # a string is compiled in, and its model's name is in the deck: what the file is, the same without it shows
        known = decks if len(numbers) == len(case.values) else self.at(replace(case, values=numbers)).decks()
        if any(path not in corner.osdi for _, _, deck in known for path in deck.osdi):
            raise FilesChanged(f"a Verilog-A file of bench {self.bench.name}")
        for deck in told_apart(decks):
            found.update(deck)
        return found.hexdigest()

    def require_unchanged(self) -> None:
        """Raises `FilesChanged` where a file that the decks include is not what it was when it was hashed."""
        self._files.require_unchanged()


def _at(bench: Testbench, files: Files) -> _Corner:
    """A bench at its corner, with what its cases share."""
    decks = bench.decks()
    found = hashlib.sha256(own_code())
    included: dict[Path, None] = {}
    tree: Calls = {}
    states: tuple[str, ...] = ()
    held = random = False
    for deck in circuits(decks):
        prepared = prepare(deck)
        held = held or (bool(prepared.random) and not prepared.drawn)
        random = random or bool(prepared.random or prepared.noise)
        included |= dict.fromkeys([*prepared.circuit.files, *map(Path, (*prepared.osdi, *prepared.reads))])
        if not tree:
            tree = calls(prepared.circuit)
            # elements in an .if may be missing, and a missing vector ends the run
            states = () if any(prepared.circuit.cards(".if")) else _states(bench, tree)
    included |= dict.fromkeys(own_devices(entry.device for entry in bench.sets.values()))
    for path in sorted(included):
        found.update(files.digest(path))
    wanted = bench.file.model_dump(
        mode="json", include={"measures", "limits", "trust", "stimuli", "analysis", "analyses"}
    )
    found.update(json.dumps(wanted, sort_keys=True).encode())
    own = hashlib.sha256(b"".join(told_apart(decks))).digest()
    osdi = frozenset(path for _, _, deck in decks for path in deck.osdi)
    if states and all(bench.vectors(name) for name in bench.file.plan):  # otherwise an engine keeps all nodes anyway
        save = tuple(dict.fromkeys((*bench.file.save, *states)))
        bench = replace(bench, file=bench.file.model_copy(update={"save": save}))
    return _Corner(bench, found.digest(), own, osdi, tree, held, random)


def _bounds(bench: Testbench) -> dict[str, dict[str, tuple[float, float]]]:
    """Per subcircuit that is a device of the library the bounds of its states, lower case."""
    return {
        name.lower(): {state.name.lower(): state.bounds for state in find_device(chosen.device).states}
        for name, chosen in bench.sets.items()
    }


def _states(bench: Testbench, tree: Calls) -> tuple[str, ...]:
    """The vectors of all states of the bench's devices; none where they are too many to save."""
    bounds = _bounds(bench)
    leading = set(bounds)
    while more := {name for name, inside in tree.items() if name not in leading and leading & set(inside.values())}:
        leading |= more
    found: list[str] = []
    left = [("", "")]
    while left:
        path, part = left.pop()
        for instance, called in tree.get(part, {}).items():
            if called in bounds:
                found += [f"v({path}{instance}.{state})" for state in bounds[called]]
            elif called in leading:
                left.append((f"{path}{instance}.", called))
        if len(found) > _STATES:
            return ()
    return tuple(found)


@dataclass(frozen=True)
class Done:
    """A case that was run: its row (JSON), and its waveforms as an ``.npz`` file's bytes where they are kept."""

    row: Mapping[str, Any]
    waveforms: bytes | None = None


def evaluate(
    subject: PreparedBench, case: Case, simulator: Simulator, *, limits: Limits | None = None, keep: bool = False
) -> Done:
    """Run a case, and its repetition where it asks for one.

    The row says how the runs ended; only `FilesChanged` is raised, where there must not be a row.
    """
    subject.require_unchanged()
    done = _evaluated(subject, case, simulator, limits=limits, keep=keep)
    subject.require_unchanged()
    return done


def _evaluated(subject: PreparedBench, case: Case, simulator: Simulator, *, limits: Limits | None, keep: bool) -> Done:
    row: dict[str, Any] = {
        "number": case.number, "corner": case.corner, "values": dict(case.values), "engine": subject.engine,
    }  # fmt: skip
    try:
        bench = subject.at(case)
        if bench.seed is not None:
            row["seed"] = bench.seed
        decks = bench.decks()
        row["key"] = subject.key(case, decks)
        run = bench.run(simulator, limits=limits, decks=decks)
    except FilesChanged:
        raise
    except InputError as error:
        return Done({**row, "outcome": Outcome.REFUSED.value, "verdict": Verdict.CANNOT_TELL.value, "why": str(error)})
    row["outcome"] = run.result.outcome.value
    row["seconds"] = round(sum(entry.result.wall for entry in run.runs), 6)
    if not run.result.ok:
        row |= {"verdict": Verdict.CANNOT_TELL.value, "why": run.result.reason}
        row["log"] = "\n".join(run.result.log.splitlines()[-_LOG_LINES:])
        return Done(row)
    again: BenchResult | str | None = None
    if case.repeat:
        try:
            again = bench.tightened().run(simulator, limits=limits)
        except InputError as error:
            again = str(error)
        else:
            row["repeated"] = again.result.outcome.value
            if again.result.outcome not in REPEATABLE:
                del row["key"]  # with more time, or on another day, it may end differently
    row["measures"] = {name: [float(x) for x in entry.values] for name, entry in run.measures.items()}
    row |= _judged(bench, run, again, subject.calls(case.corner))
    return Done(row, packed(run) if keep else None)


def _judged(bench: Testbench, run: BenchResult, again: BenchResult | str | None, tree: Calls) -> dict[str, Any]:
    """The verdicts on a converged run: each limit, the repetition (or why there is none), the physics."""
    limits: dict[str, str] = {}
    why = []
    repeated = again if isinstance(again, BenchResult) else None
    for name in bench.file.limits:
        spec = judge_limit(bench, NOMINAL, name, run, repeated)
        limits[name] = spec.verdict.value
        if spec.verdict is not Verdict.PASS:
            why.append(f"{name}: {spec.why}")
    why += [f"{name}: {says}" for name, says in run.missing.items() if name not in limits]
    physics = physics_of(bench, run, tree)
    states = [*limits.values(), *(p["verdict"] for p in physics.values() if p["verdict"] != Verdict.CANNOT_TELL.value)]
    worst = next((v.value for v in (Verdict.FAIL, Verdict.CANNOT_TELL) if v.value in states), Verdict.PASS.value)
    step = "not repeated"
    moved: dict[str, float] = {}
    if again is not None:
        step, moved, says = _time_step(run, again, bench.file.trust.moves)
        why += [f"time step: {says}"] if says else []
    why += [f"{name}: {entry['says']}" for name, entry in physics.items() if entry["verdict"] == Verdict.FAIL.value]
    return {
        "verdict": worst, "limits": limits, "time_step": step, "physics": physics,
        **({"moved": moved} if moved else {}), **({"why": "; ".join(why)} if why else {}),
    }  # fmt: skip


def _time_step(run: BenchResult, again: BenchResult | str, most: float) -> tuple[str, dict[str, float], str]:
    """Whether the repetition moves no measure by more than ``most``, by how much it moves each, and a remark."""
    if isinstance(again, str):
        return Verdict.CANNOT_TELL.value, {}, again
    if not again.result.ok:
        return Verdict.CANNOT_TELL.value, {}, f"{again.result.outcome.value}: {again.result.reason}"
    moved: dict[str, float] = {}
    unlike = sorted(run.measures.keys() ^ again.measures.keys())
    for name in run.measures.keys() & again.measures.keys():
        by = moves(run.measures[name], again.measures[name])
        if by is None:
            unlike.append(name)
        else:
            moved[name] = by
    moved = {name: moved[name] for name in run.measures if name in moved}
    beyond = [f"{name} moves by {by:.1%}" for name, by in moved.items() if by > most]
    if beyond:
        return Verdict.FAIL.value, moved, ", ".join(beyond)
    if unlike:
        return Verdict.CANNOT_TELL.value, moved, f"{', '.join(unlike)} cannot be compared with the repeated run's"
    if not moved:
        return Verdict.CANNOT_TELL.value, moved, "the case has no measure to compare"
    return Verdict.PASS.value, moved, ""


def physics_of(bench: Testbench, run: BenchResult, tree: Calls) -> dict[str, dict[str, Any]]:
    """What can be checked on any run: every vector is finite, and every saved state stays within its bounds.

    A state is the inner node of an instance of a device of the bench, which ``tree`` (`PreparedBench.calls`) tells.
    """
    finite = all(bool(np.all(np.isfinite(data[v].values))) for r in run.runs for data in r.result.waveforms.values()
                 for v in data.data_vars)  # fmt: skip
    found: dict[str, dict[str, Any]] = {
        "finite": {"verdict": (Verdict.PASS if finite else Verdict.FAIL).value, "says": "every vector is finite"}
    }
    known = _bounds(bench)
    states: dict[str, Array] = {}
    bounds: dict[str, tuple[float, float]] = {}
    for entry in run.runs:
        for kind, data in entry.result.waveforms.items():
            for name in data.data_vars if kind != "ac" else ():  # amplitudes of small signals have no bounds
                place, _, state = str(name)[2:-1].rpartition(".") if str(name).startswith("v(") else ("", "", "")
                own = known.get(_called(tree, place), {})
                if state in own:
                    values = np.atleast_1d(np.real(data[name].values))
                    path = f"{place}.{state}"
                    states[path] = np.concatenate([states[path], values]) if path in states else values
                    bounds[path] = own[state]
    if states:
        check = states_in_bounds(states, bounds)
        found["state in bounds"] = {"verdict": check.verdict.value, "says": check.says}
    else:
        says = "no state of a device is among the saved vectors"
        found["state in bounds"] = {"verdict": Verdict.CANNOT_TELL.value, "says": says}
    return found


def _called(tree: Calls, path: str) -> str:
    """The subcircuit that the instance at ``path`` (``"xcell.xm"``) belongs to; empty where it does not exist."""
    part = ""
    for instance in path.split("."):
        part = tree.get(part, {}).get(instance, "")
        if not part:
            return ""
    return part


def packed(run: BenchResult) -> bytes:
    """Every waveform of a run as the bytes of an ``.npz`` file: ``<run>/<analysis>/<vector>``, without pickle."""
    arrays: dict[str, Array] = {}
    for index, entry in enumerate(run.runs):
        for kind, data in entry.result.waveforms.items():
            for name, variable in data.variables.items():
                arrays[f"{index}/{kind}/{name}"] = np.asarray(variable.values)
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()
