"""The drive under which two models are compared, chosen from the model's own time scale.

A comparison shows something about a state only where the state moves. So a Verilog-A model, as repaired, is run in
ngspice, and a subcircuit is read, over periods from 1 ns to 100 s, at 1 V and, where that moves nothing, at other
amplitudes up to 10 V; the shortest period that moves every state by a tenth of its range is taken: further, a state
that is driven hard into its bounds keeps a memory of the last digits of its way there. Where no such drive moves all
states, drives of one sign are tried (under the other a model may run away, or wind an integral up), and then those
under which a state jumps from one step to the next: whether that can be compared is for the reading to show. Where the
model does not run under any of them, drives of one sign that keep away from 0 V are tried. These limits are our choice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from cosim.bench.stimuli import fmt
from cosim.devices.base import Array
from cosim.language.expressions import Unreadable

PERIODS = tuple(float(f"{factor}e{k}") for k in range(-9, 3) for factor in (1, 2, 5))
_SHORTER = (1e-10, 1e-11, 1e-12)  # for a model that is too fast for the first of them
_DECADES = PERIODS[::3]  # enough for a model without named states
AMPLITUDES = (1.0, 2.0, 5.0, 10.0, 0.5, 0.2, 0.1)
_FEWER = 4  # of these, for drives of one sign and for jumps
DEFAULT = (1.0, 1e-6)  # V, s: of a model without memory
SUBSTANTIAL = 0.1  # of a state's range: moved far enough to compare
STILL = 0.01  # of a state's range: moved less, it did not move
_SHOWS = 1e-3  # of the current: a smaller difference between two ways to one voltage is not memory
_COARSE = 200
_HALVINGS = 5  # between an amplitude that moves nothing and one at which everything is over at once
_RESOLVED = 0.2  # of a state's way in one step: beyond it an explicit integration is meaningless


@dataclass(frozen=True)
class Drive:
    """Volts over time, two periods of a sine and two pulses: ``amplitude`` V, ``period`` s.

    ``steps`` are those of a simulator in a period, at least; ``sign``: 1 or -1 for voltages of that sign only;
    ``floor`` is the part of the amplitude that these do not fall below.
    """

    amplitude: float
    period: float
    steps: int = 4000
    sign: int = 0
    floor: float = 0.0

    def __str__(self) -> str:
        volts = f"{self.sign * self.amplitude:g} V, that sign alone" if self.sign else f"{self.amplitude:g} V"
        volts += f" and {self.floor * self.amplitude:g} V at least" if self.floor else ""
        return f"{volts}, two periods of {self.period:g} s and two pulses"

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
        volts = self.sign * np.maximum(np.abs(v), self.floor * self.amplitude) if self.sign else np.array(v)
        return np.array(t), volts

    def at(self, t: Array) -> Array:
        """Volts at ``t``."""
        return np.interp(t, *self.knots())

    def source(self) -> str:
        """As a PWL source."""
        t, v = self.knots()
        return "PWL(" + " ".join(f"{fmt(float(a))} {fmt(float(b))}" for a, b in zip(t, v, strict=True)) + ")"


@dataclass(frozen=True)
class ModelRun:
    """Currents (n,) A and states (n,) of one run; ``missing`` are states that it lacks.

    ``beyond``: how far the node of a state goes beyond the bounds of what is read of it.
    """

    current: Array
    states: Mapping[str, Array] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    beyond: Mapping[str, float] = field(default_factory=dict)


# (t, v) -> the original as its language reads it
Reader = Callable[[Array, Array], ModelRun]
# A drive -> a model under it, at `PROBED` times that lie evenly
Look = Callable[[Drive], ModelRun]
PROBED = 4000


@dataclass(frozen=True)
class Chosen:
    """A drive, and the range of each state, to which its motion is compared."""

    drive: Drive
    ranges: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class _Probe:
    """What one period does: how far each state goes, where it starts, and how much memory the current shows."""

    period: float
    spans: Mapping[str, float]
    starts: Mapping[str, float]
    memory: float


class _Jumps(Unreadable):
    """A state goes far in one step."""


@dataclass(frozen=True)
class _Family:
    """Drives that are tried together: of one ``sign`` or of both (0), with states that may jump, away from 0 V by
    ``floor`` of the amplitude.
    """

    sign: int = 0
    jumps: bool = False
    floor: float = 0.0


_FAMILIES = (*(_Family(sign) for sign in (0, 1, -1)), *(_Family(sign, jumps=True) for sign in (0, 1, -1)))
# For a model that has no value near 0 V: our choice.
_AWAY = tuple(_Family(sign, jumps=True, floor=0.1) for sign in (1, -1))


@dataclass
class _Search:
    """The best drive so far; ``moved`` are how many states it moves, and how far the slowest of these goes."""

    look: Look
    amplitude: float | None
    period: float | None
    shortest: float = 0.0
    found: list[Chosen] = field(default_factory=list)  # each better than those before it
    moved: tuple[int, float] = (-1, 0.0)
    reason: Unreadable = field(default_factory=lambda: Unreadable("no period could be read", 0))
    jumped: bool = False  # a state went too far in one step

    @property
    def done(self) -> bool:
        """Whether all states move, and far enough."""
        if not self.found:
            return False
        states = self.found[-1].ranges
        return not states or (self.moved[0] == len(states) and self.moved[1] >= SUBSTANTIAL)

    def of(self, family: _Family) -> None:
        """Try the drives of ``family``."""
        still, wild = 0.0, 0.0  # the largest amplitude that moves too little, the smallest that cannot be followed
        first = family == _FAMILIES[0]
        waiting = list(AMPLITUDES[: None if first else _FEWER] if self.amplitude is None else (self.amplitude,))
        halvings = _HALVINGS if first and self.amplitude is None else 0
        while waiting and not self.done:
            volts = waiting.pop(0)
            probes = []
            try:
                for probe in self._probes(family, volts):
                    probes.append(probe)
                    if _saturated(probes):
                        break
            except Unreadable as error:
                self.reason, wild = error, min(wild or volts, volts)
            if probes:
                found, moved = _best(
                    probes, Drive(volts, DEFAULT[1], sign=family.sign, floor=family.floor), self.period
                )
                if moved > self.moved:
                    self.moved = moved
                    self.found.append(found)
                still = max(still, volts if moved[0] < len(found.ranges) or moved[1] < STILL else 0.0)
            if not waiting and halvings and 0.0 < still < wild:
                halvings -= 1
                waiting.append(float(f"{(still * wild) ** 0.5:.3g}"))

    def _probes(self, family: _Family, volts: float) -> Iterator[_Probe]:
        """Each period that can be run, shortest first, up to the first that is too long for its states."""
        periods = [p for p in PERIODS if p >= self.shortest]
        found, named = False, True
        while periods:
            period = periods.pop(0)
            if not named and period not in _DECADES:
                continue
            drive = Drive(volts, period, _COARSE, family.sign, family.floor)
            t = np.linspace(0.0, drive.duration, PROBED)
            try:
                run = self.look(drive)
                if not _resolved(run, jumps=family.jumps):
                    raise _Jumps(f"its states move too fast for steps of {period / PROBED:.1g} s", 0)
            except Unreadable as error:  # an explicit integration may not be able to follow
                self.jumped = self.jumped or isinstance(error, _Jumps)
                if found:
                    return
                shorter = [p for p in _SHORTER if self.shortest <= p < period]
                if not shorter:
                    raise
                periods.insert(0, shorter[0])
                continue
            found, named = True, bool(run.states)
            spans = {name: float(np.ptp(x)) for name, x in run.states.items()}
            yield _Probe(period, spans, {n: float(x[0]) for n, x in run.states.items()}, _memory(run.current, t, drive))


def choose(look: Look, *, amplitude: float | None, period: float | None, shortest: float = 0.0) -> list[Chosen]:
    """Drives (see the module), the best first; what the caller gives, V or s, is kept.

    No period below ``shortest`` s is tried; where there is such a limit, states may jump.

    Raises `Unreadable` with the last reason where no period can be read.
    """
    search = _Search(look, amplitude, period, shortest)
    # A model that sets a state at once is meant to jump.
    for family in (*((_Family(jumps=True),) if shortest else ()), *_FAMILIES, *_AWAY):
        reached = bool(search.found) and not search.found[-1].drive.floor
        left_out = reached if family.floor else family.jumps and not (search.jumped or shortest)
        if not search.done and not left_out:
            search.of(family)
    if not search.found:
        raise search.reason
    return search.found[::-1]


def by_reading(read: Reader) -> Look:
    """A look that takes the original as its language reads it: coarsely where that resolves its states."""

    def look(drive: Drive) -> ModelRun:
        fine = np.linspace(0.0, drive.duration, PROBED)
        t = np.linspace(0.0, drive.duration, PROBED // 10)
        try:
            run = read(t, drive.at(t))
            if _resolved(run):
                states = {name: np.interp(fine, t, x) for name, x in run.states.items()}
                return ModelRun(np.interp(fine, t, run.current), states)
        except Unreadable:  # one step may be too long for an explicit integration
            pass
        return read(fine, drive.at(fine))

    return look


def _saturated(probes: list[_Probe]) -> bool:
    """Whether a period a decade longer moves no state further: the rest need not be read."""
    if len(probes) < 5 or not probes[-1].spans or probes[-1].memory < _SHOWS:
        return False
    ways = [(probes[-4].spans[name], way, abs(probes[-1].starts[name])) for name, way in probes[-1].spans.items()]
    return all(STILL * start < way <= 1.05 * before for before, way, start in ways)


def _resolved(run: ModelRun, *, jumps: bool = False) -> bool:
    for x in run.states.values():
        way = float(np.ptp(x))
        if not np.isfinite(way):
            return False
        if jumps:
            continue
        if way > 0.0 and float(np.max(np.abs(np.diff(x)))) > _RESOLVED * way and way > 1e-9 * float(np.max(np.abs(x))):
            return False
    return bool(np.all(np.isfinite(run.current)))


def _memory(current: Array, t: Array, drive: Drive) -> float:
    """The largest difference of the currents at one voltage, before and after a peak of the sine; of the largest."""
    away = np.linspace(0.02, 0.23, 40)
    before, behind = [], []
    for peak in (0.25, 0.75, 1.25, 1.75):
        before.append(np.interp((peak - away) * drive.period, t, current))
        behind.append(np.interp((peak + away) * drive.period, t, current))
    scale = float(np.max(np.abs(current)))
    return float(np.max(np.abs(np.array(before) - np.array(behind)))) / scale if scale > 0.0 else 0.0


def _best(probes: list[_Probe], drive: Drive, period: float | None) -> tuple[Chosen, tuple[int, float]]:
    """``drive`` with the best period; how many states it moves, and how far the slowest of them, of its range; the
    current's memory in a model without named states."""
    ranges = {name: _range(probes, name) for name in probes[0].spans}
    movable = [name for name, way in ranges.items() if any(p.spans[name] > STILL * way for p in probes)]

    def moved(probe: _Probe) -> float:
        return min((probe.spans[name] / ranges[name] for name in movable), default=probe.memory)

    most = max(moved(probe) for probe in probes)
    if most < (STILL if movable else _SHOWS):
        return Chosen(replace(drive, period=period if period is not None else DEFAULT[1]), ranges), (0, 0.0)
    taken = next(probe for probe in probes if moved(probe) >= min(SUBSTANTIAL, 0.5 * most))
    found = Chosen(replace(drive, period=period if period is not None else taken.period), ranges)
    # A state that starts at zero has no scale but its motion: it has to show in the current.
    scaled = taken.memory >= _SHOWS or all(start != 0.0 for start in taken.starts.values())
    return found, (len(movable), moved(taken) if scaled else 0.5 * STILL)


def _range(probes: list[_Probe], name: str) -> float:
    """How far a state goes at most, or its start where that is more; for one without bounds, where it shows."""
    spans = [probe.spans[name] for probe in probes]
    top = max(spans)
    if len(spans) > 3 and spans[-1] > 1.5 * spans[-4]:  # a decade longer, and it goes further still
        top = next((s for s, p in zip(spans, probes, strict=True) if p.memory >= SUBSTANTIAL), top)
    return max(top, abs(probes[0].starts[name]))
