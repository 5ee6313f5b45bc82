"""What a surrogate is held against: the circuit in a simulator, or its equations integrated numerically.

`Integration` solves the device's own differential equations through the pulse's waveform: independent of the closed
form and of the midpoint rule, but not of the device model. `SpiceBench` runs a test bench, transistors and all.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

import numpy as np
import scipy
from scipy.integrate import solve_ivp

from cosim import resources
from cosim.devices.base import TwoTerminal, Values
from cosim.devices.pulse import PulseCell, PulseShape
from cosim.devices.registry import device as find_device
from cosim.devices.registry import devices
from cosim.errors import InputError, SimulationError, UnknownName
from cosim.parameters import ParameterSet
from cosim.surrogate.base import Array, Reference, Response

if TYPE_CHECKING:
    from cosim.bench.testbench import Testbench
    from cosim.engines.simulator import Simulator


class PulseBench(Protocol):
    """Makes a `Reference` for a parameter set and a pulse shape."""

    @property
    def engine(self) -> str:
        """What answers, with its version."""
        ...

    @property
    def netlist(self) -> str:
        """SHA-256 of the circuit; "" where there is none."""
        ...

    @property
    def tolerances(self) -> Mapping[str, float]:
        """Of the engine."""
        ...

    @property
    def device(self) -> ParameterSet | None:
        """The device in the circuit, whatever set it is held against; None: the surrogate's own set."""
        ...

    def subject(self, parameters: ParameterSet) -> str:
        """In words: which circuit, and which device in it where a surrogate of ``parameters`` is held against it."""
        ...

    def reference(self, parameters: ParameterSet, *, shape: PulseShape) -> Reference:
        """The circuit with these parameters under pulses of this shape."""
        ...


@dataclass(frozen=True)
class Integration:
    """The device's equations by scipy's DOP853, one initial-value problem per edge and top of a pulse."""

    rtol: float = 1e-9
    atol: float = 1e-12
    netlist: str = ""
    device: ParameterSet | None = None

    @property
    def engine(self) -> str:
        """scipy and its version."""
        return f"scipy-{scipy.__version__} DOP853"

    @property
    def tolerances(self) -> Mapping[str, float]:
        """Of the integrator."""
        return MappingProxyType({"rtol": self.rtol, "atol": self.atol})

    def subject(self, parameters: ParameterSet) -> str:
        """The device's equations."""
        chosen = self.device or parameters
        return f"the equations of {chosen.device} with {named(chosen, self.device)}"

    def reference(self, parameters: ParameterSet, *, shape: PulseShape) -> Reference:
        """Pulses on one device; raises `InputError` for one that is not two-terminal or has other states than ``w``."""
        chosen = self.device or parameters
        model, p = find_device(chosen.device), chosen.resolved()
        if not isinstance(model, TwoTerminal) or [state.name for state in model.states] != ["w"]:
            raise InputError(f"{chosen.device} is not a two-terminal device with the one state w")
        device: TwoTerminal = model

        def slope(t: float, y: Array, begin: float, end: float, length: float) -> list[float]:
            v = begin + (end - begin) * t / length
            x = Values({"w": float(y[0])})
            # Energy in units of 1 pJ, so that one atol serves both.
            return [float(device.drift(v, x, p)["w"]), 1e12 * float(v * device.current(v, x, p))]

        def respond(amplitudes: Array, w0: float) -> Response:
            w, states, energies = w0, [], []
            for top in np.asarray(amplitudes, dtype=float):
                energy = 0.0
                for begin, end, length in ((0.0, top, shape.rise), (top, top, shape.width), (top, 0.0, shape.fall)):
                    if length == 0.0:
                        continue
                    solution = solve_ivp(
                        slope,
                        (0.0, length),
                        [w, 0.0],
                        method="DOP853",
                        rtol=self.rtol,
                        atol=self.atol,
                        args=(float(begin), float(end), length),
                    )
                    if not solution.success:
                        raise SimulationError(f"scipy stopped: {solution.message}", outcome="not converged")
                    w = float(solution.y[0, -1])
                    energy += float(solution.y[1, -1]) * 1e-12
                states.append(w)
                energies.append(energy)
            return Response.of(np.array(states), np.array(energies), p)

        return respond


def named(chosen: ParameterSet, device: ParameterSet | None) -> str:
    """In words: the ``device`` that answers, or the set that it is held against."""
    return f"the device {chosen.name}" if device is not None else f"the surrogate's own parameter set {chosen.name}"


@dataclass(frozen=True)
class SpiceBench:
    """A pulse bench in a circuit simulator: measures ``state`` and ``pulse_energy`` after given amplitudes.

    Args:
        kind: the device, one with a pulse bench (`PulseCell.bench`); a cell's transistor is the bench's own BSIM4.
        simulator: an open one; the caller closes it.
        form: of the memristor, "behavioural" or "verilog-a".
        bench: by name or path; default: the device's own.
        options: simulator options over the bench's.
        device: the device that answers, e.g. the one that was measured; None: the set of the surrogate that is held
            against it, whose extraction is then not tested.

    >>> with cosim.open_simulator() as simulator:
    ...     bench = cosim.SpiceBench("cell_1t1r", simulator, device=cosim.ParameterSet.load("tio2"))
    ...     bench.subject(cosim.ParameterSet.load("hfo2"))
    '1t1r_random_pulses with the device tio2'
    """

    kind: str
    simulator: Simulator
    form: str = "behavioural"
    bench: str = ""
    options: Mapping[str, float | str] = field(default_factory=lambda: MappingProxyType({}))
    device: ParameterSet | None = None

    def __post_init__(self) -> None:
        known = [name for name, entry in devices().items() if entry.pulse_cell() is not None]
        if self.kind not in known:
            raise UnknownName("device with a pulse bench", self.kind, known)

    @property
    def engine(self) -> str:
        """The simulator and its version."""
        return self.simulator.version()

    @property
    def _cell(self) -> PulseCell:
        cell = find_device(self.kind).pulse_cell()
        assert cell is not None  # as __post_init__ asks
        return cell

    def _bench(self) -> Testbench:
        from cosim.bench.testbench import Testbench

        return Testbench.load(self.bench or self._cell.bench).with_(form=self.form, options=self.options)

    @property
    def netlist(self) -> str:
        """Of the bench's own circuit and the files beside it, without its stimuli."""
        bench = self._bench()
        digest = hashlib.sha256(bench.file.circuit.encode())
        if bench.file.netlist:
            beside = bench.folder / bench.file.netlist
            found = beside if beside.is_file() else resources.find("netlists", bench.file.netlist)
            digest.update(found.read_bytes())
        return digest.hexdigest()

    @property
    def tolerances(self) -> Mapping[str, float]:
        """The numeric options of the bench's deck."""
        options = self._bench().deck().options
        return MappingProxyType({k: float(v) for k, v in options.items() if isinstance(v, int | float)})

    def subject(self, parameters: ParameterSet) -> str:
        """The bench, and the device in it."""
        return f"{self._bench().name} with {named(self.device or parameters, self.device)}"

    def reference(self, parameters: ParameterSet, *, shape: PulseShape) -> Reference:
        """The bench with the memristor of ``device``, or of ``parameters``; every call is one transient."""
        from cosim.bench.stimulus_kinds import Pulses

        memristor = (self.device or parameters).for_device(self._cell.memristor.name)
        bench = self._bench().with_(devices={"memristor": memristor})
        old, p = bench.file.stimuli["bl"], bench.sets["memristor"].resolved()

        def respond(amplitudes: Array, w0: float) -> Response:
            stimulus = Pulses.model_validate(
                {
                    **{k: v for k, v in old.model_dump().items() if k in Pulses.model_fields},
                    "kind": "pulses",
                    "amplitudes": tuple(float(v) for v in amplitudes),
                    "shape": {"width": shape.width, "rise": shape.rise, "fall": shape.fall},
                    # A read would disturb a memristor whose threshold lies below it, and costs time.
                    "read_voltage": 0.0,
                }
            )
            measures = {name: bench.file.measures[name] for name in ("state", "pulse_energy")}
            file = bench.file.model_copy(
                update={"stimuli": {**bench.file.stimuli, "bl": stimulus}, "measures": measures, "limits": {}}
            )
            ready = replace(bench, file=file).with_(parameters={"w0": w0})
            found = ready.run(self.simulator)
            return Response.of(found["state"].values, found["pulse_energy"].values, p)

        return respond
