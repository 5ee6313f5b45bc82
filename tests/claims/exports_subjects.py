"""What the claim of the exports exports: shipped cells, a learned law of each kind, a neuron and a filter.

``certified`` is what is measured, of SPICE where there is no physics; ``plain`` is small, for tests and for the probe.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType

import numpy as np

from claims.law_code import law_digest
from cosim import resources
from cosim.bench.testbench import Testbench
from cosim.devices.base import Values
from cosim.devices.maps import Field
from cosim.engines.simulator import Simulator
from cosim.parameters import ParameterSet
from cosim.surrogate.certify import certify
from cosim.surrogate.circuit import CIRCUIT, CircuitSet
from cosim.surrogate.filter import FilterLaw
from cosim.surrogate.filter_bench import FilterBench, train_filter
from cosim.surrogate.learn import learn
from cosim.surrogate.learned import Law, fit
from cosim.surrogate.model import Surrogate
from cosim.surrogate.neuron import LAWS, NUMBERS, NeuronLaw, Table
from cosim.surrogate.neuron_bench import NeuronBench, train_neuron
from cosim.surrogate.planar import Flow
from cosim.surrogate.references import Equations
from cosim.surrogate.train import train

SPREAD = {"threshold_memristor": {"theta_p": 0.05}}
PULSES, SEED = 100, 11
# A domain in which the ECRAM's second volatile part may be zero, as NEST's synapse wants it.
MORE = {"fast ecram spike": 600}
NEURON, FILTER = "ecram_lif_energy", "stc_dpi_filter"
TRAINS, SPIKES = 3, 60  # of a neuron and a filter, and the input spikes of each
SAMPLES, HELD = 128, 60
CLIPPER = """title = "Clipped RC"
circuit = '''
V1 in 0 {v}
R1 in out 1k
C1 out 0 1n
D1 out 0 diode
.model diode D(is=1e-9)
.ic v(out)={start}
Bread read 0 I=-(3 + V(out)) * 1u
Vread read 0 0
'''
[parameters]
v = "1 V"
start = "0 V"
[analysis]
kind = "tran"
stop = "0.2 us"
max_step = "5 ns"
[measures.last]
kind = "final"
of = "v(out)"
unit = "V"
[measures.current]
kind = "final"
of = "i(vread)"
unit = "A"
[maps.charge]
inputs.v = { parameter = "v", range = ["-2 V", "2 V"] }
states.level = { parameter = "start", measure = "last", range = ["-1 V", "0.5 V"] }
outputs.conductance = "current"
"""


@dataclass(frozen=True)
class Subject:
    """A surrogate by its name; ``text`` is what it depends on.

    ``made_by``: files of cosim that make its law of SPICE, as patterns; what the others give, the probe tells.
    """

    name: str
    certified: Callable[[Simulator], Surrogate]
    plain: Callable[[], Surrogate]
    text: Callable[[], str]
    made_by: tuple[str, ...] = ()

    def law(self) -> str:
        """Moves when the code that makes its law does; "" where the probe sees that."""
        return law_digest(self.made_by) if self.made_by else ""


def _cell(name: str, device: str, event: str) -> Subject:
    def plain() -> Surrogate:
        return Surrogate(ParameterSet.load(name).for_device(device), event)

    def certified(_: Simulator) -> Surrogate:
        pulses = MORE.get(f"{name} {device} {event}", PULSES)
        return train(plain(), Equations(), pulses=pulses, seed=SEED, spread=SPREAD.get(device, {}))[0]

    title = f"{name.removeprefix('ecram:')} {device} {event}"
    return Subject(title, certified, plain, lambda: ParameterSet.load(name).fingerprint())


def _remainder() -> Subject:
    def plain() -> Surrogate:
        """A remainder that nobody needs, and that is certified away."""
        cell, rng = Surrogate(ParameterSet.load("tio2"), "pulse"), np.random.default_rng(SEED)
        w, v = rng.uniform(0.0, 1.0, 200), rng.uniform(-2.0, 2.0, 200)
        rest = {"w": 1e-3 * np.sin(3.0 * w) * v, "energy": 1e-16 * v**2}
        return cell.with_(learned=_law({"w": w, "amplitude": v}, rest, "network"))

    def certified(_: Simulator) -> Surrogate:
        return certify(plain(), Equations(), pulses=PULSES, seed=SEED)[0]

    return Subject("tio2 with a learned remainder", certified, plain, lambda: ParameterSet.load("tio2").fingerprint())


def _law(fields: dict[str, np.ndarray], targets: dict[str, np.ndarray], kind: str) -> Law:
    scales = {name: float(np.max(np.abs(values))) for name, values in targets.items()}
    return fit(fields, targets, scales=scales, rng=np.random.default_rng(SEED), kinds=[kind]).law


def _learned(kind: str) -> Subject:
    def certified(simulator: Simulator) -> Surrogate:
        with TemporaryDirectory(prefix="cosim-export-") as folder:
            path = Path(folder) / "clipped.toml"
            path.write_text(CLIPPER, encoding="utf-8")
            found = learn(Testbench.load(str(path)), simulator, samples=SAMPLES, seed=SEED, kinds=[kind])
            return certify(found.surrogate, found.reference, pulses=HELD, seed=SEED, notes=found.notes)[0]

    def plain() -> Surrogate:
        rng = np.random.default_rng(SEED)
        x = {"level": rng.uniform(-1.0, 0.5, 200), "v": rng.uniform(-2.0, 2.0, 200)}
        law = _law(x, {"level": 0.1 * np.tanh(x["v"]) * (0.5 - x["level"])}, kind)
        reading = _law({"level": x["level"]}, {"conductance": 1e-6 * (3.0 + x["level"])}, "polynomial")
        chosen = CircuitSet(
            CIRCUIT, "clipped", {}, inputs=MappingProxyType({"v": Field("V", (-2.0, 2.0))}),
            states=MappingProxyType({"level": Field("V", (-1.0, 0.5))}),
            outputs=MappingProxyType({"conductance": Field("S")}), event="charge",
        )  # fmt: skip
        return Surrogate(chosen, learned=law, reading=reading)

    return Subject(f"clipped charge by {kind}", certified, plain, lambda: hashlib.sha256(CLIPPER.encode()).hexdigest())


def _flow() -> Flow:
    """Above half of its range a membrane makes the stage fall, the faster the farther; below it comes back to 1 V."""
    part, stages, times = np.geomspace(1e-3, 0.6, 12), np.linspace(0.0, 1.0, 9), np.geomspace(1e-9, 4e-6, 20)
    distances, grid = np.concatenate([-part[::-1], part]), np.linspace(0.0, 1.0, 201)
    below = np.broadcast_to(distances[:, None] < 0.0, (distances.size, stages.size))
    arrival = np.where(below, np.inf, 5e-9 * (0.2 + stages) / np.abs(distances)[:, None])
    back = stages[:, None] + (1.0 - stages[:, None]) * -np.expm1(-times / 2e-7)
    falls = stages[:, None] * np.exp(-times / np.where(below, 1.0, arrival)[..., None])
    stage = np.where(below[..., None], back, falls)
    shift = np.broadcast_to(0.01 * distances[:, None, None] * -np.expm1(-times / 1e-6), stage.shape)
    return Flow(stages, 0.5 + 0.05 * stages, distances, times, arrival, stage, shift, grid, 1.2e-5 * grid)


def _neuron() -> Surrogate:
    """Leaks evenly, is kicked by less and less, and is reset 5 ns to 50 ns after a spike."""
    rng, dead = np.random.default_rng(SEED), 5e-8
    v, u, phase = rng.uniform(0.0, 1.0, 200), rng.uniform(0.0, 1.0, 200), rng.uniform(0.0, 4.0 * dead, 200)
    numbers = dict.fromkeys(NUMBERS, 0.0) | {
        "step": 0.1, "tau": 2e-5, "kick": 2.5e-9, "dead": dead, "reset": 3e-8, "memory": 4.0 * dead,
        "closed": -1e-8, "open": 1e-8, "most ahead": 0.02, "most behind": 0.02, "coupled": 1.0, "rest_power": 1e-7,
        "spike_energy": 5e-14, "most idle": 1e-14, "most spent": 1e-14, "thermal": 0.02585,
        "rest": float(_flow().staged(np.zeros(1), np.ones(1), np.array([4e-6]))[0]),
    }  # fmt: skip
    law = NeuronLaw(
        _flow(),
        MappingProxyType(
            dict.fromkeys(LAWS)
            | {
                "kick": _law({"v": v, "u": u}, {"it": 0.2 * (1.0 + u) * (1.0 - 0.5 * v)}, "polynomial"),
                "drains": _law({"phase": 2e-8 * v - 1e-8}, {"it": 1.0 - 2.0 * v}, "polynomial"),
                "longer": _law({"v": v, "kick": u}, {"it": 1e-9 * (u - v)}, "polynomial"),
                "jump": _law({"v": v, "n": u}, {"it": 0.01 * (v - u)}, "polynomial"),
                "ahead": _law({"v": v, "n": u}, {"it": 0.01 * (v - u)}, "polynomial"),
                "dead": _law({"v": v, "phase": phase}, {"it": 1e-9 * v + 0.01 * phase}, "polynomial"),
                "idle": _law({"v": v, "u": u}, {"it": 1e-14 * (1.0 + u) * (1.0 - v)}, "polynomial"),
            }
        ),
        MappingProxyType(
            {
                "held": Table(np.linspace(-3e-8, 0.0, 9), np.linspace(1.0, 0.0, 9)),
                "falls": Table(np.array([0.0, 2e-8]), np.array([0.4, 0.0])),
                "rises": Table(np.array([-3e-8, 0.0, 1e-7]), np.array([0.0, 0.6, 1.0])),
                "bump": Table(np.array([0.0, 2e-8]), np.array([0.0, 0.05])),
                "drawn": Table(np.array([-dead, dead]), np.array([0.0, 1.0])),
            }
        ),
        MappingProxyType(numbers),
    )
    chosen = CircuitSet(
        CIRCUIT, "lif", {}, inputs=MappingProxyType({"interval": Field("s", (6e-8, 3e-6))}),
        states=MappingProxyType({"v": Field("V", (0.0, 1.0)), "u": Field("1", (0.0, 1.0)), "n": Field("V", law.stages),
                                 "phase": Field("s", (-dead, 4.0 * dead))}),
        outputs=MappingProxyType({"spikes": Field("1"), "latency": Field("s"), "energy": Field("J")}), event="lif",
    )  # fmt: skip
    return Surrogate(chosen, learned=law)


def _filter() -> Surrogate:
    law = FilterLaw(5e-3, 2e-13, np.array([1.2e-11, 1e-10, 4e-10, 5e-10]))
    chosen = CircuitSet(
        CIRCUIT, "dpi", {}, states=MappingProxyType({"i": Field("A", (0.0, 5.1e-10))}),
        inputs=MappingProxyType({"level": Field("1", (0.0, 3.0)), "interval": Field("s", (1e-5, 3e-3))}),
        event="calcium",
    )  # fmt: skip
    return Surrogate(chosen, learned=law)


def _bench_text(name: str) -> str:
    return hashlib.sha256(resources.find("netlists", f"{name}.toml").read_bytes()).hexdigest()


def _trained_neuron(simulator: Simulator) -> Surrogate:
    return train_neuron(
        NeuronBench.load(NEURON), simulator, trains=TRAINS, count=SPIKES, held_out=TRAINS, seed=SEED
    ).surrogate


def _trained_filter(simulator: Simulator) -> Surrogate:
    return train_filter(
        FilterBench.load(FILTER), simulator, trains=TRAINS, count=SPIKES, held_out=TRAINS, seed=SEED
    ).surrogate


SUBJECTS: tuple[Subject, ...] = (
    _cell("tio2", "threshold_memristor", "pulse"),
    _cell("hfo2", "cell_1t1r", "pulse"),
    _cell("slow", "ecram", "spike"),
    _cell("ecram:fast", "ecram", "spike"),
    _cell("vteam_2015", "vteam", "pulse"),
    _remainder(),
    *(_learned(kind) for kind in ("polynomial", "spline", "trees", "network")),
    Subject(
        "lif neuron", _trained_neuron, _neuron, partial(_bench_text, NEURON),
        ("surrogate/neuron*.py", "surrogate/planar.py"),
    ),
    Subject("dpi filter", _trained_filter, _filter, partial(_bench_text, FILTER), ("surrogate/filter*.py",)),
)  # fmt: skip


def steps(surrogate: Surrogate) -> dict[str, float]:
    """Sums of what it gives at a few events, as a fingerprint."""
    rng = np.random.default_rng(SEED)
    fields = {**surrogate.map.states, **surrogate.map.inputs}
    drawn = {name: rng.uniform(*entry.range, 20) for name, entry in fields.items()}
    if isinstance(surrogate.learned, FilterLaw):
        drawn["level"] = np.floor(drawn["level"])
    x, u = (Values({name: drawn[name] for name in part}) for part in (surrogate.map.states, surrogate.map.inputs))
    after, outputs = surrogate.with_(policy="warn").step(x, u)
    return {name: float(np.sum(values)) for name, values in {**after, **outputs}.items()}
