"""The physics checks of any two-terminal memristive model in a simulator: a subcircuit, a Verilog-A module, a device.

`Subject` says how the model is put into a deck; it may come from a user's file. Three runs judge it: an operating point
at zero and at both ends of the drive, two periods of a sine, and the same with tight tolerances and half the step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from cosim.bench import physics
from cosim.bench.measures.waveforms import vector
from cosim.bench.physics import Check, Physics
from cosim.bench.stimuli import fmt
from cosim.bench.testbench import STANDARD, TIGHT
from cosim.devices.base import Array, DeviceModel, Values
from cosim.emit.ngspice import subcircuit
from cosim.emit.veriloga import module
from cosim.engines.openvaf import compile_model
from cosim.engines.simulator import Deck, Limits, Result, Simulator
from cosim.errors import InputError
from cosim.statistics.verdict import Verdict

if TYPE_CHECKING:
    import xarray

# Displacement currents of the model's own capacitors shift the current at v = 0; memristors stay within a percent.
PINCH_IN_CIRCUIT = 1e-2


@dataclass(frozen=True)
class Subject:
    """A model between node ``te`` and ground.

    Args:
        name: for messages.
        body: netlist text with the model and one instance of it, e.g. ``X1 te 0 my_memristor``.
        amplitude: of the sine, V.
        period: of the sine, s.
        states: vector -> bounds, e.g. ``{"v(x1.w)": (0.0, 1.0)}``; empty where they are not known.
        osdi: compiled Verilog-A models.
        roots: folders that the body may include from.
        device: the model's numpy functions, where there are any, and ``p``: the energy is then checked against them.
        p: its parameters.
    """

    name: str
    body: str
    amplitude: float
    period: float
    states: Mapping[str, tuple[float, float]] = field(default_factory=lambda: MappingProxyType({}))
    osdi: tuple[Path, ...] = ()
    roots: tuple[Path, ...] = ()
    device: DeviceModel | None = None
    p: Values | None = None

    def __post_init__(self) -> None:
        if not (self.amplitude > 0.0 and self.period > 0.0):
            raise InputError(
                f"{self.name} is to be driven with {self.amplitude} V and {self.period} s",
                remedy="give an amplitude and a period above zero",
            )

    @classmethod
    def of_device(cls, device: DeviceModel, p: Values, *, form: str = "behavioural") -> Subject:
        """A device of the registry with one electrical port, as B-sources or as Verilog-A ("verilog-a")."""
        if len(device.ports) != 1 or device.ports[0].nature != "electrical":
            raise InputError(f"device {device.name} has more than one port", remedy="check it with `check_device`")
        level = max(map(abs, device.drive_ranges(p)[device.ports[0].name]))
        period = 4.0 * device.pulse_width(p)
        values = {entry.name: float(p[entry.name]) for entry in device.params}
        if form == "behavioural":
            body, osdi = f"{subcircuit(device, 'dut', values)}X1 te 0 dut", ()
            states = {f"v(x1.{state.name})": state.bounds for state in device.states}
        else:
            given = " ".join(f"{name}={fmt(value)}" for name, value in values.items())
            body = f"N1 te 0 dut\n.model dut {device.name} {given}"
            states = {f"v(n1#{state.name})": state.bounds for state in device.states}
            return cls(device.name, body, level, period, states, (compile_model(module(device)),), (), device, p)
        return cls(device.name, body, level, period, states, osdi, (), device, p)

    def deck(self, analysis: str, options: Mapping[str, float | str], *, drive: str) -> Deck:
        """The model under ``drive`` (a source's text) with one analysis card."""
        text = "\n".join([f"{self.name}: physics", self.body, f"Vdrive te 0 {drive}", analysis, ".end"])
        save = ("v(te)", "i(vdrive)", *self.states)
        return Deck(text + "\n", osdi=self.osdi, save=save, options=options, roots=self.roots)

    def sine(self, options: Mapping[str, float | str], *, points: int) -> Deck:
        """The transient of two periods with at least ``points`` per period."""
        step = self.period / points
        card = f".tran {fmt(step)} {fmt(physics.PERIODS * self.period)} 0 {fmt(step)}"
        return self.deck(card, options, drive=f"SIN(0 {fmt(self.amplitude)} {fmt(1.0 / self.period)})")


def examine(subject: Subject, simulator: Simulator, *, limits: Limits | None = None) -> Physics:
    """All checks of ``subject``. One whose run did not converge cannot tell; nothing raises for what the model does."""
    chosen = limits or Limits()
    checks = [_solvable(subject, simulator, chosen)]
    run = simulator.run(subject.sine(STANDARD, points=physics.POINTS), limits=chosen)
    fine = simulator.run(subject.sine({**STANDARD, **TIGHT}, points=2 * physics.POINTS), limits=chosen)
    return Physics(subject.name, (*checks, *_of_sine(subject, run, fine)))


def _solvable(subject: Subject, simulator: Simulator, limits: Limits) -> Check:
    for level in (0.0, subject.amplitude, -subject.amplitude):
        done = simulator.run(subject.deck(".op", STANDARD, drive=fmt(level)), limits=limits)
        if not done.ok:
            return Check(
                "solvable at DC",
                Verdict.FAIL,
                f"no operating point at {level:g} V: {done.reason or done.outcome}",
            )
        current = float(vector(done["op"], "i(vdrive)").item())
        if not np.isfinite(current):
            return Check("solvable at DC", Verdict.FAIL, f"its current at {level:g} V is not a number")
    return Check("solvable at DC", Verdict.PASS, f"operating points at 0 and ±{subject.amplitude:g} V")


def _of_sine(subject: Subject, run: Result, fine: Result) -> list[Check]:
    names = ("pinched loop", "state in bounds", "passive", "energy balance", "time step")
    if not fine.ok:
        return [physics.cannot_tell(name, f"{fine.outcome.value}: {fine.reason}") for name in names]
    data = fine["tran"]
    t, v, i = _port(data)
    states = {name: vector(data, name) for name in subject.states}
    moved = physics.cannot_tell("time step", f"{run.outcome.value}: {run.reason}")
    if run.ok:
        t_run, _, i_run = _port(run["tran"])
        moved = physics.worst_of(
            [
                physics.time_step_convergence((t_run, i_run), (t, i)),
                *(
                    physics.time_step_convergence(
                        (t_run, vector(run["tran"], name)),
                        (t, states[name]),
                        span=high - low,
                    )
                    for name, (low, high) in subject.states.items()
                ),
            ]
        )
    return [
        physics.pinched_loop(v, i, limit=PINCH_IN_CIRCUIT),
        physics.states_in_bounds(states, subject.states),
        physics.passive(v * i),
        _energy(subject, t, v, i, states),
        moved,
    ]


def _port(data: xarray.Dataset) -> tuple[Array, Array, Array]:
    """Times (s), voltage (V) over the model and current (A) into it."""
    return np.asarray(data["time"].values, dtype=float), vector(data, "v(te)"), -vector(data, "i(vdrive)")


def _energy(subject: Subject, t: Array, v: Array, i: Array, states: Mapping[str, Array]) -> Check:
    if subject.device is None or subject.p is None:
        return physics.energy_kept(t, v * i)
    x = Values(dict(zip((s.name for s in subject.device.states), states.values(), strict=True)))
    port = subject.device.ports[0].name
    power = np.broadcast_to(v * subject.device.through({port: v}, x, subject.p)[port], t.shape)
    return physics.energy_balance(t, [v * i], [power])
