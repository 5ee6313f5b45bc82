"""Is a repaired model the intended one? Before and after under one drive, and what could not be verified.

The repaired model in ngspice is compared with the original *as its language reads it* (`va_reading`,
`lt_reading`), and with the original in ngspice, where it runs at all: that shows what the repair is good for.
The drive is chosen in `drive`. What differs by more than `TOLERANCE`, after a second run with finer steps, is not
verified; by more than `WRONG`, it is another model. What the drive did not move is a finding as well: the comparison
shows nothing about it. How far the reading moves with its step is told beside it: where an engine agrees with it within
`TOLERANCE`, both are right, as they have nothing in common.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from cosim.bench.stimuli import fmt
from cosim.devices.base import Array
from cosim.engines.simulator import Deck, Limits, Simulator
from cosim.errors import CosimError
from cosim.language.expressions import Unreadable
from cosim.language.findings import Finding, Rule, Severity, at
from cosim.lint.drive import DEFAULT, PROBED, STILL, Chosen, Drive, ModelRun, Reader, by_reading, choose

TOLERANCE = 1e-3  # of full scale, our choice: what counts as the same model
WRONG = 0.01  # of full scale, our choice: beyond what steps and tolerances explain
_READ_STEPS = (5600, 22400, 89600)  # each knot of a drive is one of their times
_READ_TRUSTED = 1e-3
_READ_SECONDS = 60.0  # a finer reading that would take longer is omitted, and the error stated
_ABSTOL = 1e-13  # A
_NOISE = 10.0 * _ABSTOL
_CONSTANT = 1e-6  # of its largest value: a current that changes less is constant
_LIMITS = Limits(wall=60.0)
_GLANCE = Limits(wall=5.0)  # of a run that chooses the drive
_STRICT = {"reltol": 1e-4, "abstol": _ABSTOL, "vntol": 1e-9, "trtol": 1.0}
_FINER = {**_STRICT, "reltol": 1e-6, "vntol": 1e-11}
_FINER_STEPS = (4, 16)  # the latter where the former took half of the difference or more
_USUAL = {"reltol": 1e-4, "abstol": 1e-12, "vntol": 1e-6, "trtol": 7.0}  # for a law that jumps
_JUMPS = {**_STRICT, "tran_redofactor": 0.0}  # VACASK refuses every step in which something jumps, unless told not to
_MEANT = "repaired in ngspice against the original as its language reads it"
_SECOND = "repaired in VACASK against the original as its language reads it"
_BOTH = "repaired against the original, both in ngspice"
_ITSELF = "the reading against itself at a quarter of its step"

DISAGREES = Rule(
    "disagreement", Severity.ERROR, "{}",
    "do not use the result: compare both by hand, and report a misreading with the file",
)  # fmt: skip
STANDS = Rule(
    "not-moved", Severity.UNVERIFIED, "{}", "give --amplitude and --period that move it"
)  # fmt: skip
UNCERTAIN = Rule("not-verified", Severity.UNVERIFIED, "{}", "check the repaired model by hand")
FAILS = Rule("fix-fails", Severity.ERROR, "{}", "repair what is named by hand, then lint again")


@dataclass(frozen=True)
class Comparison:
    """Two runs: ``current`` and ``states`` are the largest differences over the drive's knots.

    The current's is relative to its largest value, and None where there was nothing to compare; a state's to the range
    that it goes through (at least 1e-3 of its largest value). ``limit`` is what neither may exceed; None: no limit.
    """

    what: str
    current: float | None
    states: Mapping[str, float] = field(default_factory=dict)
    limit: float | None = None

    @property
    def largest(self) -> float:
        """The largest difference."""
        return max((value for value in (self.current, *self.states.values()) if value is not None), default=0.0)

    @property
    def moved(self) -> bool:
        """Whether the original is another model in ngspice, which no limit forbids: the changes are to explain it."""
        return self.what == _BOTH and self.limit is None and self.largest > WRONG

    @property
    def ok(self) -> bool:
        """Whether everything is within the limit."""
        return self.limit is None or self.largest <= self.limit

    def __str__(self) -> str:
        parts = [f"current {'not compared' if self.current is None else f'{self.current:.2%}'}"]
        parts += [f"{name} {value:.2%}" for name, value in self.states.items()]
        return f"{self.what}: {', '.join(parts)}{'' if self.ok else f', above the limit of {self.limit:.1%}'}"

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        values = {"what": self.what, "current": self.current, "states": dict(self.states)}
        return {**values, "limit": self.limit, "ok": self.ok}


@dataclass(frozen=True)
class Equivalence:
    """What was compared, under which drive, and in sentences what could not be; ``findings`` are the results.

    ``rest`` is what else the file holds, and what was only run.
    """

    drive: Drive | None
    comparisons: tuple[Comparison, ...] = ()
    unverified: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    rest: tuple[str, ...] = ()

    @property
    def engines(self) -> tuple[str, ...]:
        """The simulators in which the repaired model was compared with what limits it."""
        names = {_MEANT: "ngspice", _SECOND: "VACASK", _BOTH: "ngspice"}
        return tuple(dict.fromkeys(names[c.what] for c in self.comparisons if c.limit is not None))

    @property
    def runs(self) -> bool:
        """Whether nothing showed that the repaired model fails."""
        return all(finding.rule != FAILS.code for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        drive = (
            None
            if self.drive is None
            else {k: getattr(self.drive, k) for k in ("amplitude", "period", "sign", "floor")}
        )
        return {
            "drive": drive,
            "comparisons": [c.to_dict() for c in self.comparisons],
            "engines": list(self.engines),
            "rest": list(self.rest),
            "unverified": list(self.unverified),
            "findings": [f.to_dict() for f in self.findings],
        }


def fails(reason: str) -> Equivalence:
    """That of a repaired model that an engine refuses: ``reason`` is the engine's."""
    return Equivalence(None, (), (reason,), (at(FAILS, 1, 1, reason),))


def _read_finely(read: Reader, drive: Drive) -> tuple[ModelRun, float]:
    """The reading at the drive's knots, and how far it moved, at most, when its step was last divided by four.

    What an explicit integration still owes to its step is taken off, as for one of first order: a third of the last
    difference.
    """
    knots = drive.knots()[0]
    found: ModelRun | None = None
    moved = np.inf
    for steps in _READ_STEPS:
        t = np.linspace(0.0, drive.duration, steps + 1)
        began = time.perf_counter()
        raw = read(t, drive.at(t))
        new = ModelRun(np.interp(knots, t, raw.current), {n: np.interp(knots, t, x) for n, x in raw.states.items()})
        if not np.all(np.isfinite(new.current)):
            raise Unreadable("its current is not finite", 0)
        if found is not None:
            moved = _difference("", found, new).largest / 3.0
            last, found = found, new
            extrapolated = ModelRun(
                found.current + (found.current - last.current) / 3.0,
                {n: x + (x - last.states[n]) / 3.0 for n, x in found.states.items()},
            )
        found = new
        if moved < _READ_TRUSTED or (np.isfinite(moved) and 4.0 * (time.perf_counter() - began) > _READ_SECONDS):
            break
    return extrapolated, moved


def compare(
    *,
    read: Reader | None,
    unread: str,
    before: Callable[[Drive], Deck] | None,
    no_before: str,
    after: Callable[[Drive], Deck],
    states: Mapping[str, str],
    simulator: Simulator,
    amplitude: float | None,
    period: float | None,
    changed: bool,
    in_file: Callable[[str], str] = str,
    second: Simulator | None = None,
    after_second: Callable[[Drive], Deck] | None = None,
    read_to_look: bool = False,
    bounds: Mapping[str, tuple[float, float]] | None = None,
    stopped: Collection[str] = (),
    shortest: float = 0.0,
) -> Equivalence:
    """Compare (see the module).

    Args:
        read: the reading of the original; None where ``unread`` says why it is missing.
        before, after: decks of the original (None: ``no_before`` says why) and of the repaired model.
        states: what the reading calls a state -> its vector in ``after``.
        simulator: ngspice.
        amplitude, period: of the drive (V, s); None chooses.
        changed: whether the repaired text is another one, to ngspice too.
        second: VACASK, or None.
        after_second: deck of the repaired model for it, where that is another one.
        bounds: of what is read of a state, where its node goes on beyond them.
        stopped: the states that are meant to stop at these bounds.
        shortest: the period (s) below which the repaired model is not meant to follow.
        read_to_look: whether the drive is chosen by the reading, not by runs of the repaired model.
        in_file: puts the file's lines into an engine's sentence about ``before``, for those of the deck.
    """
    unverified: list[str] = []
    findings: list[Finding] = []
    bounds = bounds or {}
    drives = [Chosen(Drive(amplitude or DEFAULT[0], period or DEFAULT[1]))]

    def look(drive: Drive) -> ModelRun:
        found, why = _simulate(
            simulator, after(drive), np.linspace(0.0, drive.duration, PROBED), states, _GLANCE, bounds
        )
        if found is None:
            raise Unreadable(why, 0)
        return found

    if read is not None:
        try:
            seen = by_reading(read) if read_to_look else look
            drives = choose(seen, amplitude=amplitude, period=period, shortest=shortest)
        except Unreadable as reason:
            read, unread = None, reason.message
    chosen, new, why = _first_run(simulator, after, drives, states, bounds)
    drive = chosen.drive
    knots = drive.knots()[0]
    if new is None:
        gentle, also = _simulate(simulator, after(replace(drive, amplitude=0.1 * drive.amplitude)), knots, states)
        if gentle is None:
            return fails(f"the repaired model does not run in ngspice: {also}")
        says = f"the repaired model does not run in ngspice under {drive} ({why}), but does at a tenth of it"
        return Equivalence(drive, (), (says,), (at(UNCERTAIN, 1, 1, says),))
    if chosen is not drives[0]:
        unverified.append(f"the repaired model does not run in ngspice under {drives[0].drive}: {why}")
    comparisons = []
    reference: ModelRun | None = None
    if read is None:
        unverified.append(f"the original was not read: {unread}")
    else:
        try:
            reference, moved = _read_finely(read, drive)
            comparisons.append(Comparison(_ITSELF, moved))
        except Unreadable as reason:
            unverified.append(f"the original was not read: {reason.message}")
    if drive.sign:
        sign = "positive" if drive.sign > 0 else "negative"
        sign += f" (from {drive.floor * drive.amplitude:g} V on)" if drive.floor else ""
        unverified.append(f"only {sign} voltages were driven: nothing is verified about the others")
        unverified += _late(new, stopped)
    if reference is not None:
        still = dict(_still(reference, new, chosen))
        findings += [at(STANDS, 1, 1, says) for says in still.values()]
        unverified += [f"state {name!r} was not compared: ngspice has no vector {states[name]}" for name in new.missing]

        def closest(what: str, run: ModelRun, engine: Simulator, deck: Callable[[Drive], Deck]) -> Comparison:
            """The comparison with the reading; with finer steps where the first run is too far from it."""
            assert reference is not None
            found = _difference(what, run, reference, without=still.keys(), limit=TOLERANCE)
            for times in _FINER_STEPS:
                if found.ok:
                    break
                fine = deck(replace(drive, steps=times * drive.steps)).with_options(_FINER)
                again, _ = _simulate(engine, fine, knots, states if run.states else {}, bounds=bounds)
                if again is None:
                    break
                finer = _difference(what, again, reference, without=still.keys(), limit=TOLERANCE)
                falls = finer.largest < 0.5 * found.largest  # as the error of steps does
                found = min(found, finer, key=lambda one: one.largest)
                if not falls:
                    break
            return found

        comparisons.append(closest(_MEANT, new, simulator, after))
        if second is not None:
            deck = after_second or after
            other, why = _simulate(second, deck(drive), knots, {})
            if other is None:
                unverified.append(f"the repaired model does not run in VACASK: {why}")
            else:
                comparisons.append(closest(_SECOND, other, second, deck))
    old: ModelRun | None = None
    if before is None:
        unverified.append(f"the original does not run in ngspice: {no_before}")
    else:
        old, why = _simulate(simulator, before(drive), knots, {})
        if old is None:
            unverified.append(f"the original does not run in ngspice: {in_file(why)}")
        else:
            still = dict(_still(old, new, Chosen(drive)))
            if reference is None:
                findings += [at(STANDS, 1, 1, says) for says in still.values()]
            limit = None if changed and reference is not None else TOLERANCE
            comparisons.append(_difference(_BOTH, new, old, without=still.keys(), limit=limit))
    for comparison in comparisons:
        if not comparison.ok:
            wrong = comparison.what in (_MEANT, _SECOND) or (comparison.what == _BOTH and not changed)
            far = wrong and comparison.largest > WRONG
            findings.append(at(DISAGREES if far else UNCERTAIN, 1, 1, str(comparison)))
    unverified += [finding.message for finding in findings if finding.severity is Severity.UNVERIFIED]
    return Equivalence(drive, tuple(comparisons), tuple(unverified), tuple(findings))


def _first_run(
    simulator: Simulator,
    after: Callable[[Drive], Deck],
    drives: Sequence[Chosen],
    states: Mapping[str, str],
    bounds: Mapping[str, tuple[float, float]],
) -> tuple[Chosen, ModelRun | None, str]:
    """The first of ``drives`` under which the repaired model runs, and why it does not under the best."""
    reason = ""
    for chosen in drives:
        new, why = _simulate(simulator, after(chosen.drive), chosen.drive.knots()[0], states, bounds=bounds)
        reason = reason or why
        if new is not None:
            return chosen, new, reason
    return drives[0], None, reason


def _still(meant: ModelRun, new: ModelRun, chosen: Chosen) -> Iterator[tuple[str, str]]:
    """What the drive does not move, "" for the current, with a sentence each."""
    for name, x in meant.states.items():
        way, reach = float(np.ptp(x)), chosen.ranges.get(name, 0.0)
        if way <= STILL * reach or way == 0.0:
            yield (
                name,
                (
                    f"the state {name} did not move: nothing about it is verified (by {way:.3g} under {chosen.drive},"
                    f" where {STILL:.0%} of its range or start, {reach:.3g}, counts as moved)"
                ),
            )
    peak = max(float(np.max(np.abs(run.current))) for run in (meant, new))
    if peak < _NOISE:
        yield "", f"the current stays below {_NOISE:g} A under {chosen.drive}: nothing about it is verified"
    elif max(float(np.ptp(run.current)) for run in (meant, new)) < _CONSTANT * peak:
        yield "", f"the current does not change under {chosen.drive}: nothing about it is verified"


def _difference(
    what: str, first: ModelRun, second: ModelRun, *, without: Collection[str] = (), limit: float | None = None
) -> Comparison:
    scale = max(float(np.max(np.abs(second.current))), float(np.max(np.abs(first.current))), 1e-30)
    current = None if "" in without else float(np.max(np.abs(first.current - second.current))) / scale
    states = {}
    for name in sorted(first.states.keys() & second.states.keys() - set(without)):
        x, y = first.states[name], second.states[name]
        span = max(float(np.ptp(y)), 1e-3 * float(np.max(np.abs(y))), 1e-30)
        states[name] = float(np.max(np.abs(x - y))) / span
    return Comparison(what, current, states, limit)


def _simulate(
    simulator: Simulator,
    deck: Deck,
    knots: Array,
    states: Mapping[str, str],
    limits: Limits = _LIMITS,
    bounds: Mapping[str, tuple[float, float]] = MappingProxyType({}),
) -> tuple[ModelRun | None, str]:
    try:
        result = simulator.run(deck, limits=limits)
        if not result.ok:
            result = simulator.run(deck.with_options(_USUAL), limits=limits)
        if not result.ok and simulator.name == "vacask":
            result = simulator.run(deck.with_options(_JUMPS), limits=limits)
    except CosimError as error:
        return None, str(error)
    if not result.ok:
        return None, result.reason
    data = result["tran"]
    t = np.asarray(data["time"].values, float)
    current = np.interp(knots, t, -np.asarray(data["i(vdrive)"].values, float))
    names = {str(name).lower(): name for name in data}  # ngspice may write them in lower case
    found, beyond = {}, {}
    for name, vector in states.items():
        if vector.lower() in names:
            x = np.asarray(data[names[vector.lower()]].values, float)
            read = np.clip(x, *bounds.get(name, (-np.inf, np.inf)))
            found[name] = np.interp(knots, t, read)
            beyond[name] = float(np.max(np.abs(x - read)))
    return ModelRun(current, found, tuple(name for name in states if name not in found), beyond), ""


def _late(new: ModelRun, stopped: Collection[str]) -> Iterator[str]:
    """A sentence on each of the ``stopped`` states whose node overshot a bound by more than counts as the same."""
    for name in stopped:
        way = float(np.ptp(new.states[name])) if name in new.states else 0.0
        if new.beyond.get(name, 0.0) > TOLERANCE * way > 0.0:
            yield (
                f"the node of state {name!r} overshoots a bound by {new.beyond[name] / way:.2%} of the state's way:"
                " once driven back, it is late by as much, which a drive of one sign does not show"
            )


BODY_LINE = 3  # where the body of a `bench_deck` begins


def bench_deck(body: str, drive: Drive, *, osdi: tuple[Path, ...] = ()) -> Deck:
    """A deck that drives node ``a`` against ground; ``body`` has the model between ``a`` and 0."""
    text = "\n".join(
        [
            "lint",
            f"Vdrive a 0 {drive.source()}",
            body,
            f".tran {fmt(drive.period / drive.steps)} {fmt(drive.duration)} 0 {fmt(drive.period / drive.steps)}",
            ".end",
        ]
    )
    return Deck(text + "\n", osdi=osdi, options=_STRICT)
