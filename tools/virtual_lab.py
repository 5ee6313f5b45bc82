"""``python tools/virtual_lab.py [NAME...]``: writes the curves of shipped recipes again, into ``fits/virtual_lab/``.

Each entry of `LABS` is a device with known parameters, what is done to it, and the noise of its reads. The curves are
those of the device itself: loops and transients by scipy's integrator (`cosim.devices.integrate.integrate`), which is
not the fits' own, everything else by the device's event maps. The other curves in that folder come from circuits, which
their first lines name.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from cosim import units
from cosim.data.recording import Recording
from cosim.devices.base import Values
from cosim.devices.integrate import integrate
from cosim.devices.registry import device
from cosim.files import write_atomic
from cosim.fitting.forward import forward_for
from cosim.parameters import ParameterSet

FOLDER = Path(__file__).resolve().parent.parent / "fits" / "virtual_lab"
Array = NDArray[np.float64]
SEED = 0


@dataclass(frozen=True)
class Lab:
    """A measurement of a device whose parameters are known.

    Args:
        what: in a few words, for the first line of the file.
        device: its name.
        columns: header with unit -> (name in the recording, values), made by a generator of random numbers.
        measured: header with unit of what is measured, and its name in the recording.
        noise: standard deviation of a reading, as a share of the largest magnitude.
        relative: the same as a share of the reading.
        kind: of the curve.
        start: the published set with the true parameters; "": the device's defaults.
        truth: true parameters over it.
        conditions: of the recording.
        pulses: of pairs.
    """

    what: str
    device: str
    kind: str
    columns: Callable[[np.random.Generator], Mapping[str, tuple[str, Array]]]
    measured: Mapping[str, str]
    noise: float = 0.01
    relative: float = 0.0
    start: str = ""
    truth: Mapping[str, float] = field(default_factory=dict)
    conditions: Mapping[str, float] = field(default_factory=dict)
    pulses: Mapping[str, tuple[tuple[float, float], ...]] = field(default_factory=dict)

    @property
    def p(self) -> Values:
        """The true parameters."""
        model = device(self.device)
        given = ParameterSet.load(self.start).resolved() if self.start else model.defaults()
        return model.values({**given, **self.truth})

    def clean(self, given: Mapping[str, tuple[str, Array]], header: str) -> Recording:
        """What is measured without noise, under one header of `measured`."""
        model, name = device(self.device), self.measured[header]
        columns = dict(given.values())
        n = next(iter(columns.values())).size
        unit_of = {inner: _unit(outer) for outer, (inner, _) in given.items()} | {name: _unit(header)}
        si = {inner: units.dimension(unit)[0] for inner, unit in unit_of.items()}
        known = {inner: _plain(unit) for inner, unit in unit_of.items()}
        made = {inner: values * si[inner] for inner, values in columns.items()} | {name: np.zeros(n)}
        blank = Recording(self.kind, made, known, self.conditions, pulses=self.pulses)
        if self.kind not in ("loop", "transient"):
            return blank.with_measured(forward_for(model, blank, np.ones(n, dtype=bool)).predict(self.p))
        closed = {port.name for port in model.ports}
        port = model.ports[0].name
        applied = {inner: v for inner, v in made.items() if inner in {*closed, "voltage"}}
        drives = {port if inner == "voltage" else inner: v for inner, v in applied.items()}
        # An open thermal port takes no heat: the device without a contact.
        p = self.p.with_(contact=0.0) if "contact" in self.p else self.p
        path = integrate(model, p, t=made["time"], across=drives, rtol=1e-7, atol=1e-9)
        if name == "current":
            return blank.with_measured(path.through[port])
        across = {other: drives.get(other, np.zeros(n)) for other in closed}
        return blank.with_measured(model.observe(across, Values(path.states), p)[name.removeprefix("read_")])

    def text(self, name: str, seed: int = SEED) -> str:
        """The file."""
        rng = np.random.default_rng(seed)
        given = self.columns(rng)
        shown = {header: values for header, (_, values) in given.items()}
        for header in self.measured:
            y = self.clean(given, header).measured / units.dimension(_unit(header))[0]
            scatter = np.hypot(self.noise * np.max(np.abs(y)), self.relative * np.abs(y))
            shown[header] = y + scatter * rng.standard_normal(y.size)
        noise = f"{self.noise:.2g} of the largest" if self.noise else f"{self.relative:.2g} of each"
        first = f"# Virtual lab: {self.what} (tools/virtual_lab.py {name}); noise {noise} reading added, seed {seed}"
        rows = zip(*(_written(header, values) for header, values in shown.items()), strict=True)
        return "\n".join([first, ",".join(shown), *(",".join(row) for row in rows)]) + "\n"


def _unit(header: str) -> str:
    return header.rpartition("(")[2].rstrip(")")


def _plain(unit: str) -> str:
    known = ("S", "V", "A", "K", "s", "1")
    return next(one for one in known if units.dimension(one)[1] == units.dimension(unit)[1])


def _written(header: str, values: Array) -> list[str]:
    return [f"{value:.9g}" if header.startswith("Time") else f"{value:.6g}" for value in values]


def sweeps(tops: tuple[float, ...], rate: float, n: int, *, unit: float = 1.0) -> Mapping[str, tuple[str, Array]]:
    """Straight sweeps between zero and ``tops`` (V), one after the other, at ``rate`` (V/s), in ``n`` rows."""
    ends = np.array([v for top in tops for v in (0.0, top)] + [0.0])
    knots = np.concatenate([[0.0], np.cumsum(np.abs(np.diff(ends)))]) / rate
    t = np.linspace(0.0, knots[-1], n)
    name = {1.0: "s", 1e-3: "ms", 1e-6: "us"}[unit]
    return {f"Time ({name})": ("time", t / unit), "Voltage (V)": ("voltage", np.interp(t, knots, ends))}


def _random_pulses(rng: np.random.Generator) -> Mapping[str, tuple[str, Array]]:
    first = np.repeat([-2.6, 2.6], 20)
    rest = rng.uniform(0.0, 2.6, 260) * rng.choice([-1.0, 1.0], 260)
    return {"Pulse amplitude (V)": ("amplitude", np.round(np.concatenate([first, rest]), 3))}


def _relaxation(rng: np.random.Generator) -> Mapping[str, tuple[str, Array]]:
    """Ten spikes, each read; then reads at growing distances."""
    del rng
    rest = np.concatenate([np.full(8, 2.0), np.geomspace(2.0, 200.0, 40)])
    return {
        "Spike and interval (ms)": ("interval", np.concatenate([np.full(10, 2.0), np.zeros(rest.size)])),
        "Rest (ms)": ("duration", np.round(np.concatenate([np.zeros(10), rest]), 3)),
    }


def _pairs(rng: np.random.Generator) -> Mapping[str, tuple[str, Array]]:
    """A pair of spikes for each interval, with a read before the first and one before and one after the second."""
    del rng
    between = np.round(np.geomspace(1.0, 500.0, 40), 3)
    rows = np.stack([np.zeros(40), between, np.ones(40)], axis=1)
    return {
        "Pair (1)": ("sequence", np.repeat(np.arange(40.0), 3)),
        "Spike and interval (ms)": ("interval", rows.ravel()),
    }


def _trains(rng: np.random.Generator) -> Mapping[str, tuple[str, Array]]:
    """Trains of thirty spikes of one frequency each, read during and after them."""
    del rng
    interval = np.repeat(np.round(1e3 / np.geomspace(2.0, 500.0, 24), 3), 3)
    row = np.arange(interval.size)
    return {
        "Train (1)": ("sequence", (row // 3).astype(float)),
        "Interval (ms)": ("interval", interval),
        "Spikes (1)": ("count", np.tile([3.0, 7.0, 20.0], 24)),
    }


def _window(rng: np.random.Generator) -> Mapping[str, tuple[str, Array]]:
    del rng
    return {"Delay (ms)": ("delay", np.round(np.linspace(-6.0, 6.0, 61), 3))}


def _heater(rng: np.random.Generator) -> Mapping[str, tuple[str, Array]]:
    """A heater switched on and off again, with rows as the poles need them."""
    del rng
    on = np.concatenate([[0.0, 0.1], np.geomspace(0.3, 3000.0, 60)])
    t = np.concatenate([[0.0], 1.0 + on, 3001.1 + np.geomspace(0.3, 3000.0, 60)])
    v = np.where((t >= 1.1) & (t <= 3001.0), 0.25, 0.0)
    return {"Time (ns)": ("time", np.round(t, 4)), "Heater (V)": ("heater", v)}


def _spikes(rng: np.random.Generator) -> Mapping[str, tuple[str, Array]]:
    """The trains of `netlists/stc_spike_trains.toml`: pre- and postsynaptic spikes of 0.79 ms, with their edges."""
    del rng
    knots = {}
    for name, first, period in (("pre", 4.0, 13.0), ("post", 2.0, 9.3)):
        begin = first + period * np.arange(4)
        corner = np.add.outer(begin, [0.0, 0.01, 0.80, 0.81]).ravel()
        knots[name] = (corner, np.tile([0.0, 1.8, 1.8, 0.0], 4))
    t = np.unique(np.concatenate([*(corner for corner, _ in knots.values()), np.arange(0.0, 80.01, 0.4)]))
    t = t[np.diff(t, prepend=-1.0) > 1e-6]
    waves = {n: np.interp(t, *k) for n, k in knots.items()}
    return {"Time (ms)": ("time", t), "Pre (V)": ("pre", waves["pre"]), "Post (V)": ("post", waves["post"])}


def _pulse(first: float, second: float) -> tuple[tuple[float, float], ...]:
    """Two phases of a pulse of 5 ms, as `netlists/quantum_dot_stdp.cir` has them."""
    return ((0.0, 0.0), (2.475e-3, first), (2.525e-3, second), (5e-3, 0.0))


LABS: Mapping[str, Lab] = MappingProxyType(
    {
        "threshold_pulses": Lab(
            "TiO2 threshold memristor, 300 random pulses of 200 ns", "threshold_memristor", "pulse train",
            _random_pulses, {"Conductance (uS)": "read"}, 0.01, start="threshold_memristor:tio2",
            conditions={"v_read": 0.1, "width": 200e-9, "rise": 5e-9, "fall": 5e-9},
        ),
        "vteam_loop": Lab(
            "VTEAM memristor, sweeps of several amplitudes", "vteam", "loop",
            lambda rng: sweeps((0.9, -0.7, 1.1, -0.8, 1.3, -0.9), 20.0, 500, unit=1e-3), {"Current (mA)": "current"},
            0.005,
            truth={"v_off": 0.3, "v_on": -0.25, "k_off": 2.5e-8, "k_on": -4e-8, "alpha_off": 1.0, "alpha_on": 2.0,
                   "r_on": 200.0, "r_off": 4000.0, "x0": 0.4},
        ),
        "yakopcic_loop": Lab(
            "Yakopcic memristor, sweeps of several amplitudes", "yakopcic", "loop",
            lambda rng: sweeps((0.3, -0.3, 0.45, -0.4, 0.6, -0.5), 60.0, 500, unit=1e-3), {"Current (mA)": "current"},
            0.002,
            truth={"b": 3.0, "a1": 2e-3, "a2": 1.5e-3},
        ),
        "filament_loop": Lab(
            "filament ReRAM (Stanford/PKU), sweeps of both polarities", "filament_reram", "loop",
            lambda rng: sweeps((-1.1, 1.2, -1.3, 1.3, -1.5, 1.4), 4e6, 500, unit=1e-6), {"Current (uA)": "current"},
            truth={"x0": 0.9},
        ),
        "ecram_relaxation": Lab(
            "ECRAM, bursts of spikes and relaxation", "ecram", "events", _relaxation,
            {"Conductance (uS)": "read"}, 0.001, start="ecram:slow",
        ),
        "ecram_pairs": Lab(
            "ECRAM, pairs of spikes", "ecram", "events", _pairs, {"Conductance (uS)": "read"}, 0.0005,
            start="ecram:slow",
        ),
        "ecram_trains": Lab(
            "ECRAM, trains of spikes of one frequency each", "ecram", "events", _trains, {"Conductance (uS)": "read"},
            0.002, start="ecram:slow",
        ),
        "hebbian": Lab(
            "quantum-dot memristor, asymmetric Hebbian pairs of 5 ms", "quantum_dot_memristor", "pulse pairs", _window,
            {"dG/G (1)": "step"}, 0.02, start="quantum_dot_memristor:qd_2016",
            pulses={"pre": _pulse(-3.0, 4.2), "post": _pulse(-2.0, 2.0)},
        ),
        "anti_hebbian": Lab(
            "quantum-dot memristor, asymmetric anti-Hebbian pairs of 5 ms", "quantum_dot_memristor", "pulse pairs",
            _window, {"dG/G (1)": "step"}, 0.02, start="quantum_dot_memristor:qd_2016",
            pulses={"pre": _pulse(4.2, -2.8), "post": _pulse(2.0, -2.0)},
        ),
        "thermal_poles": Lab(
            "thermal ReRAM, rise of the filament under its heater", "thermal_reram", "transient", _heater,
            {"Rise (K)": "read_rise"}, 0.005,
        ),
        "stc_waveforms": Lab(
            "reduced STC synapse under trains of spikes", "stc_synapse", "transient", _spikes,
            {"Calcium (pA)": "read_calcium", "Potentiation (pA)": "read_potentiation",
             "Depression (pA)": "read_depression", "Early phase (V)": "read_h"},
            0.002, start="stc_synapse:published",
            truth={"i_gain": 1e-12, "wta_kappa": 21.2, "wta_slope": 14.0, "wta_gain": 0.2, "tau_ca": 4.72e-3,
                   "i_rest": 13.3e-12, "ca_init": 0.2145, "i_pre": 402e-12, "i_post": 88e-12, "q_wta_p": 3.5e-15,
                   "q_wta_d": 3.7e-15, "i_tail_p": 87e-12, "i_tail_d": 10.2e-12, "q_mirror_p": 2.5e-16,
                   "q_mirror_d": 6.3e-16, "lambda_p": 0.1, "lambda_d": 0.15},
        ),
        "stc_equations": Lab(
            "STC synapse by its equations, trains of spikes", "stc_equations", "transient", _spikes,
            {"Weight (mV)": "read_weight"}, 0.002, truth={"acceleration": 10.0},
        ),
    }
)  # fmt: skip


def main(names: list[str]) -> None:
    """Write the files of ``names``, or of all labs."""
    for name in names or LABS:
        path = write_atomic(FOLDER / f"{name}.csv", LABS[name].text(name))
        print(f"wrote {path}")


if __name__ == "__main__":
    main(sys.argv[1:])
