"""Is a repaired model the model that was meant? Before and after under one drive, and what could not be verified.

The drive is own: a sine of two periods, then a positive and a negative pulse of a quarter period. Its amplitude is
the caller's; its period, where none is given, is the shortest one over which the model's conductance changes by a
quarter, found by the reading.

Compared are the repaired model in ngspice with the original *as its language reads it* (`va_reading`,
`lt_reading`), and, where the original runs in ngspice at all, with that: which shows what the repair is good for.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cosim.errors import CosimError
from cosim.lint.expressions import Unreadable
from cosim.spice.simulator import Deck, Limits, Simulator
from cosim.spice.stimuli import fmt

Array = NDArray[np.float64]
PERIODS = tuple(float(f"{factor}e{k}") for k in range(-9, 3) for factor in (1, 2, 5))
# A gentle swing: a state that is driven hard into its bounds keeps a memory of the last digits of its way there.
_SWING = float(np.log(1.25))
_READ_STEPS = (4000, 16000, 64000)
_READ_TRUSTED = 0.005
_READ_SECONDS = 60.0  # a finer reading that would take longer is left out: its error is stated
_LIMITS = Limits(wall=60.0)


@dataclass(frozen=True)
class Drive:
    """Volts over time: ``amplitude`` V, ``period`` s."""

    amplitude: float
    period: float

    @property
    def duration(self) -> float:
        """Seconds."""
        return 3.5 * self.period

    def knots(self) -> tuple[Array, Array]:
        """The drive as corners (t, v); the sine in 64 of them a period."""
        phase = np.linspace(0.0, 2.0, 129)
        t = [*(phase * self.period)]
        v = [*(self.amplitude * np.sin(2.0 * np.pi * phase))]
        edge = self.period / 50
        for start, level in ((2.25, self.amplitude), (2.75, -self.amplitude)):
            begin, end = start * self.period, (start + 0.25) * self.period
            t += [begin, begin + edge, end, end + edge]
            v += [0.0, level, level, 0.0]
        t.append(self.duration)
        v.append(0.0)
        return np.array(t), np.array(v)

    def at(self, t: Array) -> Array:
        """Volts at ``t``."""
        return np.interp(t, *self.knots())

    def source(self) -> str:
        """As a PWL source."""
        t, v = self.knots()
        return "PWL(" + " ".join(f"{fmt(float(a))} {fmt(float(b))}" for a, b in zip(t, v, strict=True)) + ")"


@dataclass(frozen=True)
class Comparison:
    """Two runs: ``current`` and ``states`` are the largest differences over the drive's knots.

    The current's is relative to its largest value, a state's to the range that it goes through (at least 1e-3 of its
    largest value).
    """

    what: str
    current: float
    states: Mapping[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        states = "".join(f", {name} {value:.2%}" for name, value in self.states.items())
        return f"{self.what}: current {self.current:.2%}{states}"

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {"what": self.what, "current": self.current, "states": dict(self.states)}


@dataclass(frozen=True)
class Equivalence:
    """What was compared, under which drive, and in sentences what could not be."""

    drive: Drive | None
    comparisons: tuple[Comparison, ...] = ()
    unverified: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        drive = None if self.drive is None else {"amplitude": self.drive.amplitude, "period": self.drive.period}
        return {
            "drive": drive,
            "comparisons": [c.to_dict() for c in self.comparisons],
            "unverified": list(self.unverified),
        }


@dataclass(frozen=True)
class Run:
    """Currents and states of one run at the drive's knots."""

    current: Array
    states: Mapping[str, Array] = field(default_factory=dict)


# (t, v) -> the original as its language reads it
Reader = Callable[[Array, Array], Run]


def choose_period(read: Reader, amplitude: float) -> float:
    """The shortest period over which the conductance changes by a quarter; where none does, half of all it ever does.

    Where no period can be read at all, raises `Unreadable` with the last reason.
    """
    moved, reason = [], None
    for period in PERIODS:
        drive = Drive(amplitude, period)
        t = np.linspace(0.0, drive.duration, 400)
        v = drive.at(t)
        busy = np.abs(v) > 0.5 * amplitude
        try:
            g = np.abs(read(t, v).current[busy] / v[busy])
        except Unreadable as error:  # one step may be too long for an explicit integration
            reason = error
            moved.append(0.0)
            continue
        usable = bool(np.all(np.isfinite(g)) and np.min(g) > 0.0)
        moved.append(float(np.log(np.max(g)) - np.log(np.min(g))) if usable else 0.0)
        if moved[-1] >= _SWING:
            return period
    if reason is not None and max(moved) == 0.0:
        raise reason
    enough = 0.5 * max(moved)
    return PERIODS[int(np.argmax(np.array(moved) >= enough))] if enough > 1e-3 else 1e-6


def _read_finely(read: Reader, drive: Drive) -> tuple[Run, float]:
    """The reading at the drive's knots, and how far its current moved when its step was last divided by four."""
    knots = drive.knots()[0]
    found: Run | None = None
    moved = np.inf
    for steps in _READ_STEPS:
        t = np.linspace(0.0, drive.duration, steps + 1)
        began = time.perf_counter()
        raw = read(t, drive.at(t))
        new = Run(np.interp(knots, t, raw.current), {n: np.interp(knots, t, x) for n, x in raw.states.items()})
        if not np.all(np.isfinite(new.current)):
            raise Unreadable("its current is not finite", 0)
        if found is not None:
            moved = _difference("", found, new).current
        found = new
        if moved < _READ_TRUSTED or 4.0 * (time.perf_counter() - began) > _READ_SECONDS:
            break
    assert found is not None  # there is at least one number of steps
    return found, moved


def compare(
    *,
    read: Reader | None,
    unread: str,
    before: Callable[[Drive], Deck] | None,
    no_before: str,
    after: Callable[[Drive], Deck],
    states: Mapping[str, str],
    simulator: Simulator,
    amplitude: float,
    period: float | None,
) -> Equivalence:
    """Compare (see the module).

    Args:
        read: the reading of the original; None where ``unread`` says why there is none.
        before, after: decks of the original (None: ``no_before`` says why) and of the repaired model.
        states: what the reading calls a state -> its vector in ``after``.
        simulator: ngspice.
        amplitude, period: of the drive (V, s); None chooses the period.
    """
    unverified: list[str] = []
    if read is not None and period is None:
        try:
            period = choose_period(read, amplitude)
        except Unreadable as reason:
            read, unread = None, reason.message
    drive = Drive(amplitude, period if period is not None else 1e-6)
    knots = drive.knots()[0]
    new, why = _simulate(simulator, after(drive), knots, states)
    if new is None:
        return Equivalence(drive, (), (f"the repaired model does not run in ngspice: {why}",))
    comparisons = []
    reference: Run | None = None
    if read is None:
        unverified.append(f"the original was not read: {unread}")
    else:
        try:
            reference, moved = _read_finely(read, drive)
            comparisons.append(Comparison("the reading against itself at a quarter of its step", moved))
        except Unreadable as reason:
            unverified.append(f"the original was not read: {reason.message}")
    if reference is not None:
        comparisons.append(
            _difference("repaired in ngspice against the original as its language reads it", new, reference)
        )
    if before is None:
        unverified.append(f"the original does not run in ngspice: {no_before}")
    else:
        old, why = _simulate(simulator, before(drive), knots, {})
        if old is None:
            unverified.append(f"the original does not run in ngspice: {why}")
        else:
            comparisons.append(_difference("repaired against the original, both in ngspice", new, old))
    return Equivalence(drive, tuple(comparisons), tuple(unverified))


def _difference(what: str, first: Run, second: Run) -> Comparison:
    scale = max(float(np.max(np.abs(second.current))), float(np.max(np.abs(first.current))), 1e-30)
    states = {}
    for name in first.states.keys() & second.states.keys():
        x, y = first.states[name], second.states[name]
        span = max(float(np.ptp(y)), 1e-3 * float(np.max(np.abs(y))), 1e-30)
        states[name] = float(np.max(np.abs(x - y))) / span
    return Comparison(what, float(np.max(np.abs(first.current - second.current))) / scale, states)


def _simulate(simulator: Simulator, deck: Deck, knots: Array, states: Mapping[str, str]) -> tuple[Run | None, str]:
    try:
        result = simulator.run(deck, limits=_LIMITS)
    except CosimError as error:
        return None, str(error)
    if not result.ok:
        return None, result.reason
    data = result["tran"]
    t = np.asarray(data["time"].values, float)
    current = np.interp(knots, t, -np.asarray(data["i(vdrive)"].values, float))
    found = {name: np.interp(knots, t, np.asarray(data[vector].values, float))
             for name, vector in states.items() if vector in data}  # fmt: skip
    return Run(current, found), ""


def bench_deck(body: str, drive: Drive, *, osdi: tuple[Path, ...] = ()) -> Deck:
    """A deck that drives node ``a`` against ground; ``body`` has the model between ``a`` and 0."""
    text = "\n".join(
        [
            "lint",
            f"Vdrive a 0 {drive.source()}",
            body,
            f".tran {fmt(drive.period / 4000)} {fmt(drive.duration)} 0 {fmt(drive.period / 4000)}",
            ".end",
        ]
    )
    return Deck(text + "\n", osdi=osdi, options={"reltol": 1e-4, "abstol": 1e-13, "vntol": 1e-9, "trtol": 1.0})
