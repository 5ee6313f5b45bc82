"""A case: one point of a plan, the key that it is known by, and the row that becomes of it.

``evaluate`` is a pure function: the same case gives the same row on any machine with the same engine, whoever calls it
and in whatever order. A row is plain JSON; measures of a run that failed are absent from it.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from cosim import __version__
from cosim.campaign.address import NOMINAL, apply
from cosim.devices.base import Array
from cosim.devices.registry import device as find_device
from cosim.errors import InputError
from cosim.measure.physics import Verdict, states_in_bounds
from cosim.spice.prepare import prepare
from cosim.spice.simulator import Deck, Limits, Outcome, Simulator
from cosim.spice.testbench import BenchResult, Testbench
from cosim.validate import judge_limit

_LOG_LINES = 20
_REBUILT = ("stimuli.", "options.")
_VARIANTS = 64
Decks = Sequence[tuple[str, Mapping[str, float], Deck]]


@dataclass(frozen=True)
class Case:
    """One point: its number in the plan, corner, ``values`` (SI) by address, and whether its run is repeated."""

    number: int
    corner: str = NOMINAL
    values: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    repeat: bool = False

    def plain(self) -> list[Any]:
        """As JSON, for another process."""
        return [self.number, self.corner, dict(self.values), self.repeat]

    @classmethod
    def of(cls, plain: list[Any]) -> Case:
        """The case that `plain` wrote."""
        number, corner, values, repeat = plain
        return cls(int(number), str(corner), values, bool(repeat))


class Subject:
    """A bench, ready for many cases: its corners are made once, and what all decks share is hashed once.

    Args:
        bench: as the plan has it.
        engine: version of the simulator, ``"ngspice-46"``.
    """

    def __init__(self, bench: Testbench, engine: str) -> None:
        self.bench = bench
        self.engine = engine
        self._corners: dict[str, tuple[Testbench, bytes]] = {}
        self._variants: dict[tuple[str, tuple[tuple[str, float], ...]], Testbench] = {}

    def corner(self, name: str) -> Testbench:
        """The bench at a corner, or as it stands."""
        return self._corner(name)[0]

    def _corner(self, name: str) -> tuple[Testbench, bytes]:
        if name not in self._corners:
            bench = self.bench if name == NOMINAL else self.bench.at_corner(name)
            self._corners[name] = bench, _shared(bench)
        return self._corners[name]

    def digest(self, *corners: str) -> str:
        """SHA-256 of what every case depends on beside its own values: circuit, files, measures, limits, engine."""
        found = hashlib.sha256(self.engine.encode())
        for name in corners or (NOMINAL,):
            bench, shared = self._corner(name)
            found.update(shared)
            for deck in _told_apart(bench.decks()):
                found.update(deck)
        return found.hexdigest()

    def at(self, case: Case) -> Testbench:
        """The bench of a case. Raises `InputError` for values out of bounds."""
        rebuilt = tuple((name, value) for name, value in case.values.items() if name.startswith(_REBUILT))
        if not rebuilt:
            return apply(self.corner(case.corner), case.values)
        # stimuli and options make the bench anew; cases of a grid share them
        if (case.corner, rebuilt) not in self._variants:
            if len(self._variants) >= _VARIANTS:
                self._variants.clear()
            self._variants[case.corner, rebuilt] = apply(self.corner(case.corner), dict(rebuilt))
        others = {name: value for name, value in case.values.items() if not name.startswith(_REBUILT)}
        return apply(self._variants[case.corner, rebuilt], others)

    def key(self, case: Case, decks: Decks | None = None) -> str:
        """SHA-256 of all that the row depends on: decks with their options, files, measures, engine, repetition.

        Two plans that come to the same decks share it. ``decks`` are the case's, where they are written already.
        """
        _, shared = self._corner(case.corner)
        found = hashlib.sha256(f"{self.engine} {case.repeat}".encode() + shared)
        for deck in _told_apart(self.at(case).decks() if decks is None else decks):
            found.update(deck)
        return found.hexdigest()


def _told_apart(decks: Decks) -> Iterator[bytes]:
    """What tells the decks of two cases apart, where all that they include is the same."""
    for _, _, deck in decks:
        options = json.dumps([deck.save, sorted(deck.options.items())], default=str)
        yield deck.text.encode() + b"\0" + options.encode() + b"\0"


def _shared(bench: Testbench) -> bytes:
    """SHA-256 of what decks include and of what is measured: the same for all cases of a corner."""
    found = hashlib.sha256(__version__.encode())
    files: dict[Path, None] = {}
    for name in bench.file.plan:
        prepared = prepare(bench.deck(name, point=bench.points(name)[0]))
        files |= dict.fromkeys([*prepared.circuit.files, *(Path(path) for path in prepared.osdi)])
    for path in sorted(files):
        found.update(hashlib.sha256(path.read_bytes()).digest())
    wanted = bench.file.model_dump(
        mode="json", include={"measures", "limits", "trust", "stimuli", "analysis", "analyses"}
    )
    found.update(json.dumps(wanted, sort_keys=True).encode())
    return found.digest()


@dataclass(frozen=True)
class Done:
    """A case that was run: its row (JSON), and its waveforms as an ``.npz`` file's bytes where they are kept."""

    row: Mapping[str, Any]
    waveforms: bytes | None = None


def evaluate(
    subject: Subject, case: Case, simulator: Simulator, *, limits: Limits | None = None, keep: bool = False
) -> Done:
    """Run a case, and its repetition where it asks for one. Raises nothing for what becomes of the runs."""
    row: dict[str, Any] = {
        "number": case.number, "corner": case.corner, "values": dict(case.values), "engine": subject.engine,
    }  # fmt: skip
    try:
        bench = subject.at(case)
        decks = bench.decks()
        row["key"] = subject.key(case, decks)
        run = bench.run(simulator, limits=limits, decks=decks)
    except InputError as error:
        return Done({**row, "outcome": Outcome.REFUSED.value, "verdict": Verdict.CANNOT_TELL.value, "why": str(error)})
    again: BenchResult | None = None
    row["outcome"] = run.result.outcome.value
    row["seconds"] = round(sum(entry.result.wall for entry in run.runs), 6)
    if not run.result.ok:
        row |= {"verdict": Verdict.CANNOT_TELL.value, "why": run.result.reason}
        row["log"] = "\n".join(run.result.log.splitlines()[-_LOG_LINES:])
        return Done(row)
    if case.repeat:
        again = bench.tightened().run(simulator, limits=limits)
    row["measures"] = {name: [float(x) for x in entry.values] for name, entry in run.measures.items()}
    row |= _judged(bench, run, again)
    return Done(row, packed(run) if keep else None)


def _judged(bench: Testbench, run: BenchResult, again: BenchResult | None) -> dict[str, Any]:
    """The verdicts on a converged run: each limit, the repetition, the physics."""
    limits: dict[str, str] = {}
    moved: dict[str, float] = {}
    why = []
    for name in bench.file.limits:
        spec = judge_limit(bench, NOMINAL, name, run, again)
        limits[name] = spec.verdict.value
        if spec.moved is not None:
            moved[name] = spec.moved
        if spec.verdict is not Verdict.PASS:
            why.append(f"{name}: {spec.why}")
    physics = physics_of(bench, run)
    states = [*limits.values(), *(p["verdict"] for p in physics.values() if p["verdict"] != Verdict.CANNOT_TELL.value)]
    worst = next((v.value for v in (Verdict.FAIL, Verdict.CANNOT_TELL) if v.value in states), Verdict.PASS.value)
    step = "not repeated"
    if again is not None:
        step = Verdict.CANNOT_TELL.value if not again.result.ok else Verdict.PASS.value
        if moved and max(moved.values()) > bench.file.trust.moves:
            step = Verdict.FAIL.value
    why += [f"{name}: {entry['says']}" for name, entry in physics.items() if entry["verdict"] == Verdict.FAIL.value]
    return {
        "verdict": worst, "limits": limits, "time_step": step, "physics": physics,
        **({"moved": moved} if moved else {}), **({"why": "; ".join(why)} if why else {}),
    }  # fmt: skip


def physics_of(bench: Testbench, run: BenchResult) -> dict[str, dict[str, Any]]:
    """What can be checked on any run: every vector is finite, and every saved state stays within its bounds."""
    finite = all(bool(np.all(np.isfinite(data[v].values))) for r in run.runs for data in r.result.waveforms.values()
                 for v in data.data_vars)  # fmt: skip
    found: dict[str, dict[str, Any]] = {
        "finite": {"verdict": (Verdict.PASS if finite else Verdict.FAIL).value, "says": "every vector is finite"}
    }
    bounds = {state.name: state.bounds for chosen in bench.sets.values() for state in find_device(chosen.device).states}
    states: dict[str, Array] = {}
    for entry in run.runs:
        for data in entry.result.waveforms.values():
            for name in data.data_vars:
                text = str(name)
                tail = text[2:-1].rpartition(".")[2] if text.startswith("v(") and "." in text else ""
                if tail in bounds:
                    values = np.atleast_1d(np.real(data[name].values))
                    states[tail] = np.concatenate([states[tail], values]) if tail in states else values
    if states:
        check = states_in_bounds(states, {name: bounds[name] for name in states})
        found["state in bounds"] = {"verdict": check.verdict.value, "says": check.says}
    else:
        says = "no state of a device is among the saved vectors"
        found["state in bounds"] = {"verdict": Verdict.CANNOT_TELL.value, "says": says}
    return found


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
