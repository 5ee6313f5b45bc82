"""numpy ≡ B-source ≡ Verilog-A in ngspice ≡ Verilog-A in VACASK: a device's states under random pulses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cosim.bench.measures.waveforms import sample
from cosim.bench.stimuli import PulseTrain, fmt, random_amplitudes
from cosim.devices.base import Array, DeviceModel, Values
from cosim.devices.integrate import Trajectory, integrate
from cosim.devices.pulse import PulseShape
from cosim.emit.ngspice import subcircuit
from cosim.emit.veriloga import module
from cosim.engines.openvaf import compile_model
from cosim.engines.simulator import Deck, Simulator


@dataclass(frozen=True)
class Exercise:
    """A device under a random pulse train at each port that it names, and scipy's answer at the knots."""

    device: DeviceModel
    p: Values
    trains: Mapping[str, PulseTrain]
    reference: Trajectory

    @classmethod
    def random(cls, device: DeviceModel, p: Values, *, pulses: int = 40, seed: int = 0) -> Exercise:
        """``pulses`` of the device's own length, over the device's own ranges, at each of its driven ports at once."""
        rng = np.random.default_rng(seed)
        width = device.pulse_width(p)
        shape = PulseShape(width=width, rise=width / 40, fall=width / 40)
        trains = {}
        for port, (low, high) in device.drive_ranges(p).items():
            tops = random_amplitudes(pulses, rng, positive=(0.0, high), negative=(low, 0.0))
            trains[port] = PulseTrain(tops, shape, read_voltage=0.0, gap=width / 4)
        knots = {port: train.knots() for port, train in trains.items()}
        t = next(iter(knots.values()))[0]
        across = {port: volts for port, (_, volts) in knots.items()}
        # four digits beyond what the engines are held to
        return cls(device, p, trains, integrate(device, p, t=t, across=across, rtol=1e-7, atol=1e-9))

    @property
    def train(self) -> PulseTrain:
        """The train of the first driven port; all have its timing."""
        return next(iter(self.trains.values()))

    def deck(self, form: str, options: Mapping[str, float | str], max_step: float) -> Deck:
        """The device as ``form`` ("behavioural" or "verilog-a") under the trains."""
        device, p = self.device, self.p
        driven = {port.nodes[0]: port.name for port in device.ports if port.name in self.trains}
        # the others are at zero, as in the reference
        nodes = " ".join(f"drive_{driven[n]}" if n in driven else "0" for n in device.nodes)
        values = {entry.name: float(p[entry.name]) for entry in device.params}
        if form == "behavioural":
            body = f"{subcircuit(device, 'dut', values)}X1 {nodes} dut"
            osdi: tuple[Path, ...] = ()
        else:
            given = " ".join(f"{name}={fmt(value)}" for name, value in values.items())
            body = f"N1 {nodes} dut\n.model dut {device.name} {given}"
            osdi = (compile_model(module(device)),)
        text = "\n".join(
            [
                f"{device.name} under random pulses",
                body,
                *(f"V{port} drive_{port} 0 {train.pwl()}" for port, train in self.trains.items()),
                f".tran {fmt(max_step)} {fmt(self.train.duration)} 0 {fmt(max_step)}",
                ".end",
            ]
        )
        save = tuple(self.vector(form, state.name) for state in device.all_states)
        return Deck(text + "\n", osdi=osdi, save=save, options=options)

    @staticmethod
    def vector(form: str, state: str) -> str:
        """What the engines call a state."""
        return f"v(x1.{state})" if form == "behavioural" else f"v(n1#{state})"

    def errors(
        self, simulator: Simulator, *, form: str, options: Mapping[str, float | str], max_step: float | None = None
    ) -> dict[str, float]:
        """The largest |engine − scipy| of each state over the knots, as a fraction of the state's range.

        ``max_step`` is a tenth of a pulse where it is not given. Raises `SimulationError` where the engine does not
        converge.
        """
        step = self.train.shape.width / 10 if max_step is None else max_step
        data = simulator.run(self.deck(form, options, step))["tran"]
        found = {}
        # what an event does shows in the states; its auxiliary, an exponential of its own edge, is bookkeeping
        for state in self.device.states:
            got: Array = sample(data, self.vector(form, state.name), at=self.reference.t)
            span = state.bounds[1] - state.bounds[0]
            found[state.name] = float(np.max(np.abs(got - self.reference.states[state.name]))) / span
        return found
