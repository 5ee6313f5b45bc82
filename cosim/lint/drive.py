"""The drive under which two models are compared, chosen from the model's own time scale.

A comparison shows something about a state only where the state moves. So a Verilog-A model, as repaired, is run in
ngspice, and a subcircuit is read, over periods from 1 ns to 100 s, at 1 V and, where that moves nothing, at other
amplitudes up to 10 V; the shortest period that moves every state by a tenth of its range is taken: further, a state
that is driven hard into its bounds keeps a memory of the last digits of its way there. These limits are our choice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from cosim.bench.stimuli import fmt
from cosim.devices.base import Array
from cosim.language.expressions import Unreadable

PERIODS = tuple(float(f"{factor}e{k}") for k in range(-9, 3) for factor in (1, 2, 5))
_DECADES = PERIODS[::3]  # enough for a model without named states
AMPLITUDES = (1.0, 2.0, 5.0, 10.0, 0.5, 0.2, 0.1)
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

    ``steps`` are those of a simulator in a period, at least.
    """

    amplitude: float
    period: float
    steps: int = 4000

    def __str__(self) -> str:
        return f"{self.amplitude:g} V, two periods of {self.period:g} s and two pulses"

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
class ModelRun:
    """Currents (n,) A and states (n,) of one run; ``missing`` are states that it lacks."""

    current: Array
    states: Mapping[str, Array] = field(default_factory=dict)
    missing: tuple[str, ...] = ()


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


def choose(look: Look, *, amplitude: float | None, period: float | None) -> Chosen:
    """The drive (see the module); what the caller gives, V or s, is kept.

    Raises `Unreadable` with the last reason where no period can be read.
    """
    best: tuple[float, Chosen] | None = None
    reason = Unreadable("no period could be read", 0)
    still, wild = 0.0, 0.0  # the largest amplitude that moves too little, the smallest that cannot be followed
    waiting = list(AMPLITUDES if amplitude is None else (amplitude,))
    halvings = _HALVINGS if amplitude is None else 0
    while waiting:
        volts = waiting.pop(0)
        probes = []
        try:
            for probe in _probes(look, volts):
                probes.append(probe)
                if _saturated(probes):
                    break
        except Unreadable as error:
            reason, wild = error, min(wild or volts, volts)
        if probes:
            found, moved = _best(probes, volts, period)
            if best is None or moved > best[0]:
                best = (moved, found)
            if moved >= SUBSTANTIAL or not found.ranges:
                break
            still = max(still, volts if moved < STILL else 0.0)
        if not waiting and halvings and 0.0 < still < wild:
            halvings -= 1
            waiting.append(float(f"{(still * wild) ** 0.5:.3g}"))
    if best is None:
        raise reason
    return best[1]


def _probes(look: Look, volts: float) -> Iterator[_Probe]:
    """Each period that can be run, shortest first, up to the first that is too long for its states."""
    found, named = False, True
    for period in PERIODS:
        if not named and period not in _DECADES:
            continue
        drive = Drive(volts, period, _COARSE)
        t = np.linspace(0.0, drive.duration, PROBED)
        try:
            run = look(drive)
            if not _resolved(run):
                raise Unreadable(f"its states move too fast for steps of {period / PROBED:.1g} s", 0)
        except Unreadable:  # an explicit integration may not be able to follow
            if not found:
                raise
            return
        found, named = True, bool(run.states)
        spans = {name: float(np.ptp(x)) for name, x in run.states.items()}
        yield _Probe(period, spans, {n: float(x[0]) for n, x in run.states.items()}, _memory(run.current, t, drive))


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


def _resolved(run: ModelRun) -> bool:
    for x in run.states.values():
        way = float(np.ptp(x))
        if not np.isfinite(way):
            return False
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


def _best(probes: list[_Probe], volts: float, period: float | None) -> tuple[Chosen, float]:
    """The drive at ``volts``, and how far its slowest state moves, of its range; the current's memory in a model
    without named states."""
    ranges = {name: _range(probes, name) for name in probes[0].spans}
    movable = [name for name, way in ranges.items() if any(p.spans[name] > STILL * way for p in probes)]

    def moved(probe: _Probe) -> float:
        return min((probe.spans[name] / ranges[name] for name in movable), default=probe.memory)

    most = max(moved(probe) for probe in probes)
    if most < (STILL if movable else _SHOWS):
        return Chosen(Drive(volts, period if period is not None else DEFAULT[1]), ranges), 0.0
    taken = next(probe for probe in probes if moved(probe) >= min(SUBSTANTIAL, 0.5 * most))
    found = Chosen(Drive(volts, period if period is not None else taken.period), ranges)
    if len(movable) < len(ranges):
        return found, 0.0
    # A state that starts at zero has no scale but its motion: it has to show in the current.
    scaled = taken.memory >= _SHOWS or all(start != 0.0 for start in taken.starts.values())
    return found, moved(taken) if scaled else 0.5 * STILL


def _range(probes: list[_Probe], name: str) -> float:
    """How far a state goes at most, or its start where that is more; for one without bounds, where it shows."""
    spans = [probe.spans[name] for probe in probes]
    top = max(spans)
    if len(spans) > 3 and spans[-1] > 1.5 * spans[-4]:  # a decade longer, and it goes further still
        top = next((s for s, p in zip(spans, probes, strict=True) if p.memory >= SUBSTANTIAL), top)
    return max(top, abs(probes[0].starts[name]))
