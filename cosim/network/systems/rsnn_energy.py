"""What a thermal synapse draws in a time step of `cosim.network.systems.rsnn` (arXiv 2411.18272, Sec. 5.2 and Table 1).

The circuit's bench ``1t1h1m_energy`` meters a read, an e-update and a write pulse of one cell at every line; the
surrogate of ``1t1h1m_phases``, certified against SPICE over the states that it tells, says how many joules at the
heater a kelvin at the filament takes. A network's step is then

    2 (spikes read + gate rises e-update) + heat E_per_kelvin drawn/heater + 2 write/steps

per pair of devices: both are read by a spike of their row, both gates are up in each e-update, one device is heated,
and both get the write pulse at the end of a piece. ``heat`` is the mean rise (K) that a step adds to a pair.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cosim.bench.stimulus_kinds import Steps
from cosim.bench.testbench import Testbench
from cosim.devices.base import Array, Values
from cosim.engines.simulator import Simulator
from cosim.errors import InputError
from cosim.network.systems.rsnn import HEATED, RsnnRun
from cosim.network.systems.rsnn_thermal import devices
from cosim.surrogate.base import Certificate
from cosim.surrogate.certify import Tell, certify
from cosim.surrogate.learn import learn

CIRCUIT, FRAME = "1t1h1m_energy", "1t1h1m_phases"
SAMPLES, HELD_OUT = 128, 104  # frames, of about a second each in SPICE
# Of the held-out ones so many follow one another in two trains; twenty further ones begin in the tenths of the states
# that lack most, which is enough for every tenth of w, and for a part of the rises (`cosim.surrogate.trains`).
IN_A_ROW = 4
STATES = 5  # over the certified range of w, at which joules per kelvin are taken


@dataclass(frozen=True)
class Use:
    """What the synapses of a network did: means over all pairs of the hidden layer and all steps.

    Args:
        spikes: share of the steps in which a pair was read: by a spike of its row, or, into the layer, in each step.
        heat: rise (K) that a step added. w: mean state. steps: of a piece. pairs: how many there are.
        span: states (w) that 98 % of the devices are within: of the rest half is below, half above.
    """

    spikes: float
    heat: float
    w: float
    steps: float
    pairs: int
    span: tuple[float, float]

    def beyond(self, certified: tuple[float, float]) -> float:
        """How far ``span``, or the mean state, is outside of a ``certified`` range of w; 0 inside."""
        reached = (*self.span, self.w)
        return max(certified[0] - min(reached), max(reached) - certified[1], 0.0)


@dataclass(frozen=True)
class SynapseEnergy:
    """Of one cell in joules, at the states ``w`` (n,).

    Args:
        read, gate, write: (n,) of a spike integration of 10 ns, of the gate in an e-update and a write, of a write.
        worst: largest sum of a read, an e-update at full drive and a write, over ``w``: what Table 1 adds up.
        worst_pair: the same of a differential pair.
        per_kelvin: at the heater, over the rise of the filament that it adds, both between the smallest and the largest
            drive, so that heat from before counts for nothing: the largest over the certified ``w``.
        line: energy drawn at the heater's line over that of the heater.
        off: largest error of the heater's energy on held-out frames by the certificate, as a share of full scale.
        period: time from one step to the next (s), of ``1t1h1m_phases``.
        certificate: of the surrogate that ``per_kelvin`` comes from.
    """

    w: Array
    read: Array
    gate: Array
    write: Array
    worst: float
    worst_pair: float
    per_kelvin: float
    line: float
    off: float
    period: float
    certificate: Certificate

    def of_step(self, of: Use) -> dict[str, float]:
        """J per pair and step, by part.

        Args:
                of: what they did.
        """
        read, gate, write = (float(np.interp(of.w, self.w, x)) for x in (self.read, self.gate, self.write))
        found = {
            "reads": 2.0 * of.spikes * read,
            "gates": 2.0 * gate,
            "heaters": of.heat * self.per_kelvin * self.line,
            "writes": 2.0 * write / of.steps,
        }
        return found | {"all": sum(found.values())}


def measured_energy(simulator: Simulator, *, kept: Path | None = None, tell: Tell | None = None) -> SynapseEnergy:
    """Run the bench, and learn and certify the surrogate; a minute or two, less with the samples in ``kept``."""
    run = Testbench.load(CIRCUIT).run(simulator)
    columns = {name: np.ravel(run[name].values).astype(float) for name in (
        "integration", "e_update", "heater", "gate", "write", "cell_step", "pair_step")}  # fmt: skip
    sweep = Testbench.load(CIRCUIT).file.plan["analysis"].sweep["w0"]
    bench = Testbench.load(FRAME)
    made = learn(bench, simulator, samples=SAMPLES, budget=np.inf, kept=kept, tell=tell)
    surrogate, _ = certify(made.surrogate, made.reference, pulses=HELD_OUT, train=IN_A_ROW, notes=made.notes, tell=tell)
    certificate = surrogate.certificate
    assert certificate is not None
    allowed = {name: surrogate.allowed(name) for name in (*surrogate.map.states, *surrogate.map.inputs)}
    cold = Values(
        {name: np.full(STATES, allowed[name][0]) for name in surrogate.map.states}
        | {"w": np.linspace(*allowed["w"], STATES)}
    )
    least, most = (
        surrogate.step(cold, Values({name: np.full(STATES, allowed[name][k]) for name in surrogate.map.inputs}))[1]
        for k in range(2)
    )
    error = certificate.errors["energy"]
    stimulus = bench.file.stimuli["pre"]
    assert isinstance(stimulus, Steps)
    return SynapseEnergy(
        w=np.array([float(x.value) for x in sweep]), read=columns["integration"], gate=columns["gate"],
        write=columns["write"],
        worst=float(columns["cell_step"].max()), worst_pair=float(columns["pair_step"].max()),
        per_kelvin=float(
            np.max((most["energy"] - least["energy"]) / (most["eligibility"] - least["eligibility"]))
        ),
        line=float(np.mean(columns["e_update"] / columns["heater"])), off=float(error.max_percent) / 100.0,
        period=float(stimulus.period), certificate=certificate,
    )  # fmt: skip


def use(run: RsnnRun, pieces: int) -> Use:
    """Of a thermal network over the first ``pieces`` pieces of the training, without what it would have learned.

    The heat is what the heaters' temperatures come to where nothing cools. Raises `InputError` for ideal synapses.
    """
    thermal, s = run.system.thermal, run.system.settings
    if thermal is None:
        raise InputError("ideal synapses draw nothing", remedy="take thermal ones")
    full = float(devices(thermal).parameters.resolved().full_scale_rise)
    steps = spikes = heat = 0.0
    pairs = {name: array.shares()[0].size for name, array in run.arrays.items()}
    shown = run.system.speech.train[:pieces]
    for one in shown:
        length = len(one.phones) * s.steps
        answers = run.answers(one, rate=1e-9 / length, changes={name: {"keep": 1.0} for name in HEATED})
        steps += length
        spikes += pairs["into"] * length + s.hidden * float(answers.counts["hidden"].sum())
        for name in HEATED:
            traces = run.simulation.traces[name]
            heat += full * float(traces["own_plus"].sum() + traces["own_minus"].sum())
    everything = float(sum(pairs.values()))
    w = np.concatenate([np.ravel(x) for array in run.arrays.values() for x in array.states()])
    low, high = np.quantile(w, (0.01, 0.99)).tolist()
    return Use(
        spikes / (steps * everything), heat / (steps * everything), float(w.mean()), steps / len(shown),
        int(everything), (low, high),
    )  # fmt: skip
