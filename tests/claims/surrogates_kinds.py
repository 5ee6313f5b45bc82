"""What surrogates of each kind reach: errors on held-out SPICE, the spikes' F1, and the speed beside ngspice."""

from __future__ import annotations

import time
from types import MappingProxyType

import numpy as np

from claims.base import Figures, Report
from cosim.bench.testbench import Testbench
from cosim.devices.base import Values
from cosim.engines.registry import open_simulator
from cosim.engines.simulator import Simulator
from cosim.surrogate.certify import certify
from cosim.surrogate.learn import learn
from cosim.surrogate.model import Surrogate
from cosim.surrogate.neuron_bench import NeuronBench, TrainedNeuron, train_neuron

INSTANCES = 20_000
SEED = 0
MEANS = (0.3e-6, 0.4e-6, 0.5e-6, 0.6e-6, 0.8e-6, 1.0e-6)  # s, of the input intervals
SHORTEST = 60e-9
NEURONS = MappingProxyType(
    {
        "delay_lif": NeuronBench(
            "ecram_lif_energy", "input", "v(mem)", "v(out)", "v(xn.d2)", ((1.2, "i(vdd)"), (1.2, "i(vdb)")), "i(vin)",
            "v(xs.xe.m_fast)", analysis="rates",
        ),
        "feedback_lif": NeuronBench(
            "ecram_feedback_stp", "input", "v(mem)", "v(spike)", "v(xn.rst)", ((1.2, "i(vdd)"),), "i(vin)",
            "v(xs.xe.m_fast)", analysis="facilitated",
        ),
    }
)  # fmt: skip
# Benches with a map: samples and held-out events.
BENCHES = MappingProxyType({"1t1r_random_pulses": (512, 300), "1t1h1m_phases": (512, 60), "stc_spike_pair": (256, 60)})


def step_seconds(surrogate: Surrogate, *, count: int = INSTANCES) -> float:
    """CPU seconds of an event of one of ``count`` instances, in the steady state: the median of several steps."""
    rng = np.random.default_rng(SEED)
    known = {**surrogate.map.states, **surrogate.map.inputs}
    drawn = {}
    for name, entry in known.items():
        low, high = surrogate.allowed(name) if surrogate.certificate is not None else entry.range
        drawn[name] = low + (high - low) * rng.random(count)
    x, u = (Values({name: drawn[name] for name in part}) for part in (surrogate.map.states, surrogate.map.inputs))
    times = []
    for _ in range(7):
        begin = time.process_time()
        surrogate.step(x, u)
        times.append(time.process_time() - begin)
    return float(np.median(times[1:])) / count


def neuron(name: str, simulator: Simulator) -> tuple[TrainedNeuron, Figures]:
    """A neuron of `NEURONS`, and what it reaches."""
    made = train_neuron(NEURONS[name], simulator, means=MEANS, shortest=SHORTEST, seed=SEED)
    certificate = made.surrogate.certificate
    assert certificate is not None
    found: Figures = {f"{name}_f1": round(1.0 - certificate.errors["spikes"].max, 4)}
    for error in ("v", "u", "latency", "energy"):
        sizes = np.abs(np.concatenate([one.errors[error] for one in made.held_out]))
        shares = 100.0 * sizes / certificate.errors[error].full_scale
        for part, value in (("median", np.median(shares)), ("p95", np.quantile(shares, 0.95)), ("max", shares.max())):
            found[f"{name}_{error}_{part}_percent"] = round(float(value), 3)
    found[f"{name}_spice_seconds"] = round(made.seconds, 1)
    found[f"{name}_speed_up"] = round(made.seconds_per_event / step_seconds(made.surrogate))
    return made, found


def bench(name: str, simulator: Simulator) -> Figures:
    """A bench of `BENCHES`, and what its surrogate reaches."""
    samples, pulses = BENCHES[name]
    made = learn(Testbench.load(name), simulator, samples=samples, seed=SEED)
    surrogate, _ = certify(made.surrogate, made.reference, pulses=pulses, seed=SEED, notes=made.notes)
    certificate = surrogate.certificate
    assert certificate is not None
    found: Figures = {f"{name}_law": made.notes[0].partition(",")[0].removeprefix("law: ")}
    for error, summary in certificate.errors.items():
        found[f"{name}_{error}_rms_percent"] = round(summary.rms_percent, 3)
        found[f"{name}_{error}_max_percent"] = round(summary.max_percent, 3)
    found[f"{name}_spice_seconds"] = round(made.seconds, 1)
    each = made.seconds / made.samples.sizes["event"]
    found[f"{name}_speed_up"] = round(each / step_seconds(surrogate))
    return found


def measure(report: Report) -> Figures:
    """Every kind, one after the other."""
    figures: Figures = {}
    with open_simulator(workers=2) as simulator:
        for name in NEURONS:
            report(f"neuron {name}")
            figures |= neuron(name, simulator)[1]
        for name in BENCHES:
            report(f"bench {name}")
            figures |= bench(name, simulator)
    return figures
