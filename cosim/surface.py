r"""ΔG/G0 against initial conductance and temperature, measured on the circuit as the source measures it on devices.

Source: arXiv 2411.18272, Sec. 3.1 and Fig. 3(f): a device is tuned to G0 within 5 % by write and verify (its reference
44, Alibart et al., Nanotechnology 23, 075201: pulses whose amplitude rises until the target is passed, then the other
polarity with a smaller start), a fixed pulse is applied (SET 0.85 V, RESET −1.05 V, 280 µs), the change is read, and
all of it is repeated, at each G0 and each ambient temperature. The heater is not used: ambient temperature stands for
it. Every pulse and every read is a transient in the simulator; all cells of the plan run side by side in one netlist.

Own: the amplitudes of the write-and-verify pulses, their length, and Gaussian read noise. At θ = 0 Eq. 27 lets nothing
switch, so the plan begins above it. `fit_surface` extracts a, b, c, d by Levenberg–Marquardt (lmfit).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cosim.bench.measures.waveforms import sample
from cosim.bench.stimuli import fmt
from cosim.bench.testbench import STANDARD
from cosim.devices.base import Array, Values
from cosim.devices.thermal_reram import ThermalReram
from cosim.emit.ngspice import subcircuit
from cosim.engines.simulator import Deck, Simulator
from cosim.errors import InputError, SimulationError
from cosim.fitting.minimise import estimates, minimise
from cosim.parameters import ParameterSet, Quantity

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_DEVICE = ThermalReram()


@dataclass(frozen=True)
class Protocol:
    """What is measured where.

    Args:
        polarity: +1 SET, −1 RESET.
        g0: targets as fractions of the conductance range, within (0, 1).
        theta: normalised rises of the ambient temperature, above 0.
        repeats: measurements per target and temperature.
        tolerance: of the tuning, relative to the target.
        read_noise: standard deviation of a read, relative to its value.
        write_width: length of the tuning pulses (s).
        first, step: amplitude of the first tuning pulse and its increment, as a share of the fixed pulse's amplitude.
        most: tuning pulses before it is given up.
    """

    polarity: int
    g0: tuple[float, ...] = (0.1, 0.3, 0.5, 0.7, 0.9)
    theta: tuple[float, ...] = (0.2, 0.4, 0.6, 0.8, 1.0)
    repeats: int = 3
    tolerance: float = 0.05
    read_noise: float = 0.002
    write_width: float = 100e-6
    first: float = 0.8
    step: float = 0.04
    most: int = 80

    def __post_init__(self) -> None:
        if self.polarity not in (1, -1) or self.repeats < 1:
            raise InputError("a protocol needs polarity 1 or -1 and at least one repeat")
        if not all(0.0 < g < 1.0 for g in self.g0) or not all(t > 0.0 for t in self.theta):
            raise InputError(
                "targets lie between 0 and 1, rises above 0", remedy="at no rise Eq. 27 lets nothing switch"
            )


@dataclass(frozen=True)
class Surface:
    """Measured steps, one row per measurement.

    Args:
        polarity: +1 SET, −1 RESET.
        g0: (n,) fraction of the range that was read before the pulse.
        theta: (n,) normalised rise.
        step: (n,) ΔG/G0, signed.
        pulses: (n,) tuning pulses that the target took.
    """

    polarity: int
    g0: Array
    theta: Array
    step: Array
    pulses: Array

    def plot(self, ax: Axes | None = None) -> Axes:
        """Steps against the initial conductance, a colour per temperature, Eq. 27 as lines."""
        from cosim.report.thermal_figures import plot_surface

        return plot_surface(self, ax)


class _Cells:
    """Cells side by side in one netlist, with their states between runs."""

    def __init__(self, parameters: ParameterSet, simulator: Simulator, theta: Array, w: Array) -> None:
        self.p = parameters.resolved()
        self.simulator = simulator
        self.ambient = self.p.t_ref + theta * self.p.full_scale_rise
        self.w = w
        self.values = {entry.name: float(self.p[entry.name]) for entry in _DEVICE.params}

    def run(self, volts: Array, width: float) -> Array:
        """A pulse of ``volts`` (n,) and ``width`` (s) per cell, states carried on, then a read at 0.1 V: (n,) S."""
        edge, gap = width / 50, width / 5
        lines = ["tuning", subcircuit(_DEVICE, "reram", self.values)]
        for k, (v, w, t) in enumerate(zip(volts, self.w, self.ambient, strict=True)):
            corners = np.cumsum([0.0, edge, width, edge, gap, edge, width, edge])
            tops = [0.0, v, v, 0.0, 0.0, 0.1, 0.1, 0.0]
            knots = " ".join(f"{fmt(a)} {fmt(b)}" for a, b in zip(corners, tops, strict=True))
            lines.append(f"X{k} b{k} 0 0 0 0 0 reram w0={fmt(w)} t_amb={fmt(t)}\nV{k} b{k} 0 PWL({knots})")
        end, read = float(corners[-1]), float(corners[5] + 0.5 * width)
        lines.append(f".tran {fmt(end / 50)} {fmt(end)} 0 {fmt(width / 20)}\n.end\n")
        n = range(len(volts))
        save = tuple(f"v(x{k}.w)" for k in n) + tuple(f"i(v{k})" for k in n)
        data = self.simulator.run(Deck("\n".join(lines), save=save, options=STANDARD))["tran"]
        self.w = np.array([float(sample(data, f"v(x{k}.w)", at=end)) for k in n])
        return np.array([-float(sample(data, f"i(v{k})", at=read)) / 0.1 for k in n])


def measure_surface(
    protocol: Protocol,
    parameters: ParameterSet,
    simulator: Simulator,
    *,
    rng: np.random.Generator,
    tell: Callable[[str], None] = lambda _: None,
) -> Surface:
    """Run the protocol on the device of ``parameters`` (a set of ``thermal_reram``).

    Raises `SimulationError` where a run does not converge or a target is not reached within the protocol's pulses.
    """
    g, theta = (column.ravel() for column in np.meshgrid(protocol.g0, protocol.theta, indexing="ij"))
    cells = _Cells(parameters, simulator, theta, np.full(g.size, 0.5))
    p = cells.p
    low, span = p.g_max / p.ratio, p.g_max * (1.0 - 1.0 / p.ratio)
    warm = np.maximum(1.0 + p.alpha * (cells.ambient - p.t_ref), 0.0)  # what a read at that temperature sees
    target = (low + span * g) * warm
    v_fixed = p.v_set if protocol.polarity > 0 else -p.v_reset
    rows = []
    for repeat in range(protocol.repeats):
        tell(f"repeat {repeat + 1} of {protocol.repeats}")
        before, pulses = _tune(cells, target, protocol, rng)
        after = cells.run(np.full(g.size, v_fixed), float(p.t_pulse))
        after = after * (1.0 + rng.normal(0.0, protocol.read_noise, after.size))
        rows.append([(before / warm - low) / span, theta, after / before - 1.0, pulses])
    g0, rises, step, pulses = np.concatenate(rows, axis=1)
    return Surface(protocol.polarity, g0, rises, step, pulses)


def _tune(cells: _Cells, target: Array, protocol: Protocol, rng: np.random.Generator) -> tuple[Array, Array]:
    """Write and verify: what was read (S) when each cell was within the tolerance, and the pulses that took."""
    n = target.size
    direction, pulses, volts = np.zeros(n), np.zeros(n), np.zeros(n)  # the first run only reads
    amplitude = np.full(n, protocol.first)
    last = {1.0: np.full(n, protocol.first), -1.0: np.full(n, protocol.first)}
    for _ in range(protocol.most + 1):
        read = cells.run(volts, protocol.write_width)
        read = read * (1.0 + rng.normal(0.0, protocol.read_noise, n))
        off = np.abs(read / target - 1.0) > protocol.tolerance
        if not off.any():
            return read, pulses
        wanted = np.where(read < target, 1.0, -1.0)
        turned = (wanted != direction) & (direction != 0.0)
        for sign, amplitudes in last.items():
            np.copyto(amplitudes, amplitude, where=direction == sign)
        # a target that was passed is approached from the other side, a little below what worked there
        again = np.maximum(np.where(wanted > 0, last[1.0], last[-1.0]) - 3 * protocol.step, 0.3)
        near = np.abs(read / target - 1.0) < 4 * protocol.tolerance
        amplitude = np.where(turned, again, amplitude + protocol.step * np.where(near, 0.5, 1.0) * (direction != 0.0))
        direction = np.where(off, wanted, direction)
        scale = np.where(wanted > 0, cells.p.v_set, cells.p.v_reset)
        volts = np.where(off, wanted * amplitude * scale, 0.0)
        pulses = pulses + off
    worst = int(np.argmax(np.abs(read / target - 1.0)))
    raise SimulationError(
        f"a target of {target[worst]:.3g} S was not reached in {protocol.most} pulses: {read[worst]:.3g} S",
        outcome="not tuned",
        remedy="give longer or stronger tuning pulses, or a wider tolerance",
    )


def fit_surface(surface: Surface) -> dict[str, Quantity]:
    """a, b, c, d of Eq. 27 from measured steps, with standard errors, under the device's parameter names.

    Levenberg–Marquardt on ΔG/G0 with equal weights: a read's relative error is an absolute one of the step.
    """
    kind = "set" if surface.polarity > 0 else "reset"
    start = dict(zip("abcd", (0.2, 0.0, 1.0, 0.0), strict=True))
    bounds = {name: (1e-6 if name in "ac" else -10.0, 10.0) for name in "abcd"}

    def residual(p: Values) -> Array:
        a, b, c, d = (p[name] for name in "abcd")
        law = a * np.exp(b * surface.g0) * surface.theta ** (c * np.exp(d * surface.g0))
        return np.asarray(law - surface.polarity * surface.step)

    found = estimates(minimise(residual, start, bounds=bounds))
    return {f"{name}_{kind}": Quantity(*estimate, "Eq. 27") for name, estimate in found.items()}
