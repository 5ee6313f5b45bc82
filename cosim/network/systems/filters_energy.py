"""What a neuron with its synapse draws in a train, by a law that is certified against its circuit (`BENCH`).

    E = (power + leak θ) t + Σ over inputs (per_input + per_kick k) + Σ over inputs while held (per_held k)
        + per_spike · spikes + near · ∫ v² dt

Events are those of the circuit in the layer's units: an input that finds the conductance g (over that at rest, by the
device's map) lifts the membrane v by k/θ, k = g (1 + 1/g₁) / (1 + g/g₁), as a switch is in series with the ECRAM; the
leak is constant; v fires at 1 and is held for the delay. v² stands for what the first inverter draws while the membrane
is on its way to the threshold.

A threshold θ, in inputs at rest, is programmed in the circuit by the membrane's capacitance and, in proportion, by its
leak (our choice): the bench's own 0.5 pF is θ = `AT_REST`. Leak and delay are the circuit's and not the layer's, so
that its neurons do not give just the spikes that the layer's do.

The law is fitted to the circuit under trains that are drawn at random from the tasks, each into a neuron that is drawn
at random from the layer, and held against others that are drawn likewise.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from cosim.bench.testbench import Testbench
from cosim.devices.base import Array, Values
from cosim.engines.simulator import Simulator
from cosim.errors import InputError
from cosim.network.systems.filters_settings import TIMES, FilterSettings
from cosim.network.systems.filters_trains import Trains
from cosim.schema import Quantity
from cosim.statistics.yields import interval
from cosim.surrogate.certify import Tell
from cosim.surrogate.files import array_digest
from cosim.surrogate.neuron_bench import LIMITS, NeuronBench

BENCH, NEURON, DEVICE = "ecram_lif_energy", "lif", "ecram"
# Of the bench's own 0.5 pF: it fires at 0.6 V, an input at rest lifts it by 0.23 V, and 75 nA lower it by 0.15 V/us.
AT_REST, CAPACITANCE, LEAK = 2.6, 0.5e-12, 75e-9
LEAKED = 0.25e6  # of the threshold, 1/s
HELD = 0.2e-6  # s from a spike until the membrane is free again
PARTS = (64, 60, 100)  # trains, each part with random numbers of its own; the last one is held out
TIGHTENED = 2  # of those, the last ones, are run again at the neuron's own tolerances
SEED = 100  # of the certificate: far from 0, 1, ..., so that its layer and trains are not those of a user's run
SPREAD = 0.2  # by which the logarithm of a threshold is moved at random, either way, as other layers have others
# Of 95 % of the trains, our choice: the number is that of neuron surrogates, who judge blocks of ten inputs by it; in a
# whole train errors cancel.
LIMIT = LIMITS["energy"]
FIELDS = ("threshold", "relaxation (s)", "inputs per us", "shortest interval (s)")


@dataclass(frozen=True)
class EnergyCertificate:
    """What held-out trains in the circuit say of a law.

    Args:
        against: the engine.
        netlist: SHA-256 of the bench's circuit as it is written, without what `circuit_of` changes in it.
        data: SHA-256 of all that was compared.
        fitted, held_out: trains, each into one neuron.
        median, most, worst: relative error of the energy of one neuron in one train, the middle one, that of 95 % and
            the largest. together: of their sum.
        within: held-out trains that are off by `LIMIT` or less.
        simulator: larger relative change of the `TIGHTENED` held-out energies that were run once more, at tightened
            tolerances.
        spikes: of the law's neurons in the held-out trains, over the circuit's.
        domain: smallest and largest value of each of `FIELDS` in the held-out trains.
    """

    against: str
    netlist: str
    data: str
    fitted: int
    held_out: int
    median: float
    most: float
    worst: float
    together: float
    within: int
    simulator: float
    spikes: float
    domain: Mapping[str, tuple[float, float]]

    @property
    def counted(self) -> str:
        """How the law's spikes compare with the circuits', in words."""
        return f"by the law, {self.spikes:.2f} times the circuits' spikes in the held-out trains"

    def line(self) -> str:
        """In words."""
        low, high = interval(self.within, self.held_out)
        return (
            f"{'misses its limit' if self.most > LIMIT else 'certified'} against {self.against} on {self.held_out} "
            f"held-out trains: a neuron's energy in a train is off by {self.median:.1%} (median), {self.most:.1%} "
            f"(95 %; limit {LIMIT:.0%}, our choice), {self.worst:.1%} (worst); {self.within} of "
            f"{self.held_out} are within the limit, a share of {low:.2f} to {high:.2f} (95 % interval); {self.against} "
            f"itself at tightened tolerances moves by {self.simulator:.1%} (the larger of {TIGHTENED} trains, run once)"
        )


@dataclass(frozen=True)
class NeuronEnergy:
    """Of neurons and their synapses (module docstring): ``power``, ``leak`` and ``near`` in W, ``per_...`` in J."""

    power: float
    leak: float
    per_input: float
    per_kick: float
    per_held: float
    per_spike: float
    near: float
    saturation: float
    certificate: EnergyCertificate

    def of(self, found: Array, thresholds: Array, step: float) -> tuple[Array, Array]:
        """J and output spikes, (trains, neurons) each: of neurons with ``thresholds`` whose inputs ``found``
        conductances, as `conductances` has them for each: (trains, steps, neurons).
        """
        columns, spikes = events(found, thresholds, step, self.saturation)
        law = self.power, self.leak, self.per_input, self.per_kick, self.per_held, self.per_spike, self.near
        drawn: Array = columns @ np.array(law)
        return drawn, spikes

    def beyond(self, spikes: NDArray[np.bool_], thresholds: Array, taus: Array, step: float) -> float:
        """Share of the neurons and trains that are outside of the certificate's domain: of ``spikes`` (trains, steps)
        and of neurons with these ``thresholds`` and relaxation times ``taus`` (s), (neurons,) each.
        """
        outside = np.zeros((len(spikes), thresholds.size), dtype=bool)
        for name, values in _fields(spikes, thresholds, taus, step).items():
            low, high = self.certificate.domain[name]
            outside |= (values < low * (1.0 - 1e-9)) | (values > high * (1.0 + 1e-9))
        return float(np.mean(outside))


def _fields(spikes: NDArray[np.bool_], thresholds: Array, taus: Array, step: float) -> dict[str, Array]:
    """By `FIELDS`, which broadcast to (trains, neurons)."""
    shortest = [np.min(np.diff(np.flatnonzero(row)), initial=row.size) * step for row in spikes]
    rates = spikes.mean(axis=1) / (step * 1e6)
    return dict(zip(FIELDS, (thresholds[None], taus[None], rates[:, None], np.array(shortest)[:, None]), strict=True))


def conductances(settings: FilterSettings, spikes: NDArray[np.bool_], step: float, scales: Array) -> Array:
    """(trains, steps, scales): what inputs ``spikes`` (trains, steps) find of a synapse's conductance, over that at
    rest, by the device's map; 0 without an input. Relaxation times are ``scales``, in units of the set's.
    """
    shape = len(spikes), scales.size
    cells = settings.cells(np.broadcast_to(scales, shape), stp=True)
    state = Values(settings.rest(shape))
    rest = cells.read(state)["conductance"]
    found = np.zeros((*spikes.shape, scales.size))
    at = [np.append(np.flatnonzero(row), row.size) for row in spikes]
    for k in range(max(row.size for row in at) - 1):
        going = np.array([k < row.size - 1 for row in at])
        place = np.array([row[k] for row in at if k < row.size - 1])
        found[going, place] = (cells.read(state)["conductance"] / rest)[going]
        gaps = np.array([row[k + 1] - row[k] if k < row.size - 1 else 1 for row in at])
        interval = np.broadcast_to(gaps[:, None] * step, shape)
        after, _ = cells.map(state, Values({"interval": interval}), cells.values)
        state = Values(dict(after))
    return found


def events(found: Array, thresholds: Array, step: float, saturation: float) -> tuple[Array, Array]:
    """What the law is linear in, (trains, neurons, 7), and the neurons' spikes (trains, neurons); ``found`` as of
    `conductances` for each neuron, or for all.
    """
    shape = np.broadcast_shapes((len(found), 1), thresholds.shape)
    v, held, spikes, inputs, kicks, lost, near = (np.zeros(shape) for _ in range(7))
    for g in np.moveaxis(found, 1, 0):
        kick = g * (1.0 + 1.0 / saturation) / (1.0 + g / saturation)
        lost = lost + np.where(held > 0.0, kick, 0.0)
        v = np.where(held > 0.0, 0.0, np.maximum(v - LEAKED * step, 0.0) + kick / thresholds)
        near += np.minimum(v, 1.0) ** 2
        fires = v >= 1.0
        held = np.where(fires, round(HELD / step), held - 1.0)
        v = np.where(fires, 0.0, v)
        spikes, inputs, kicks = spikes + fires, inputs + (g > 0.0), kicks + kick
    time = np.full(shape, found.shape[1] * step)
    return np.stack([time, time * thresholds, inputs, kicks, lost, spikes, near * step], axis=-1), spikes


@dataclass(frozen=True)
class Drawn:
    """What circuits drew in trains, each with a neuron of its own: ``spikes`` (trains, steps), its ``found`` (trains,
    steps, 1) of `conductances`, ``thresholds`` and ``taus`` (trains,), ``energy`` (J) and output spikes ``fired``.
    """

    spikes: NDArray[np.bool_]
    found: Array
    thresholds: Array
    taus: Array
    energy: Array
    fired: Array
    step: float

    def columns(self, saturation: float) -> tuple[Array, Array]:
        """(trains, 7) what the law is linear in, and (trains,) its neurons' spikes."""
        columns, spikes = events(self.found, self.thresholds[:, None], self.step, saturation)
        return columns[:, 0], spikes[:, 0]


def measured_energy(
    simulator: Simulator,
    settings: FilterSettings,
    tasks: Sequence[Trains],
    thresholds: Mapping[str, Array],
    *,
    kept: Path | None = None,
    tell: Tell | None = None,
) -> NeuronEnergy:
    """Fit the law to random trains through the circuit and certify it on others (`PARTS`); ten minutes of a core.

    Args:
        simulator: runs the circuit.
        settings: of the layer, whose neurons are drawn from. tasks: of its trains.
        thresholds: (neurons,) by the name of a task.
        kept: folder in which trains are kept as they come, and found again.
        tell: called with the trains that are done and all of them.

    Raises what `refuse_energy` does, and `SimulationError` where the circuit gives no answer.
    """
    refuse_energy(settings, tasks)
    bench = Testbench.load(BENCH)
    rows, spikes, found = list[tuple[float, float, float, int]](), list[NDArray[np.bool_]](), list[Array]()
    shown = list[tuple[NeuronBench, Array]]()
    for part in range(len(PARTS)):
        rng = np.random.default_rng([SEED, part])
        while len(rows) < sum(PARTS[: part + 1]):
            if tell is not None:
                tell(len(rows), sum(PARTS))
            trains = tasks[int(rng.integers(len(tasks)))]
            train = trains.drawn(1, rng)[0][0]  # of any class
            k = int(rng.integers(settings.size))
            threshold = float(thresholds[trains.task][k] * np.exp(rng.uniform(-SPREAD, SPREAD)))
            if not train.any():
                continue
            scale = float(settings.scale_of[k])
            circuit = replace(circuit_of(bench, threshold, scale), kept=kept)
            inputs = np.append((np.flatnonzero(train) + 0.5) * trains.step, trains.duration)
            made = circuit.record(inputs, simulator)
            tau = scale * float(settings.taus()[0]) / settings.scales[0]
            rows.append((threshold, tau, float(made.energy[-1]), made.spikes.size))
            spikes.append(train)
            found.append(conductances(settings, train[None], trains.step, np.array([scale]))[0])
            shown.append((circuit, inputs))
    if tell is not None:
        tell(len(rows), sum(PARTS))
    halves = []
    for of in (slice(-PARTS[-1]), slice(-PARTS[-1], None)):
        neurons, taus, energy, fired = np.array(rows[of]).T
        halves.append(Drawn(np.array(spikes[of]), np.array(found[of]), neurons, taus, energy, fired, tasks[0].step))
    changed = []
    for (circuit, inputs), (*_, joules, _) in zip(shown[-TIGHTENED:], rows[-TIGHTENED:], strict=True):
        tight = replace(circuit, bench=circuit.bench.with_(options=circuit.given.options))
        changed.append(abs(float(tight.record(inputs, simulator).energy[-1]) / joules - 1.0))
    netlist = NeuronBench.load(BENCH, NEURON).netlist()
    return certified(*halves, against=simulator.version(), netlist=netlist, simulator=max(changed))


def refuse_energy(settings: FilterSettings, tasks: Sequence[Trains]) -> None:
    """Raise `InputError` for synapses that are not the bench's, for tasks of different time steps or durations, and for
    steps so long that a neuron would not be held for one.
    """
    bench = Testbench.load(BENCH)
    if settings.parameter_set.fingerprint() != bench.sets[DEVICE].fingerprint():
        raise InputError(
            f"the energy is that of {BENCH}, whose synapses are {DEVICE}:{bench.sets[DEVICE].name}, not "
            f"{settings.parameters}",
            remedy="leave it out (--no-energy)",
        )
    if len({(trains.step, trains.steps) for trains in tasks}) > 1:
        raise InputError("an energy is of tasks with one time step and one duration", remedy="run them one by one")
    for trains in tasks:
        if round(HELD / trains.step) < 1:
            raise InputError(
                f"a circuit holds its neuron for {HELD:g} s after a spike, which rounds to no time step of "
                f"{trains.step:g} s",
                remedy=f"take a step below {2.0 * HELD:g} s, or leave the energy out (--no-energy)",
            )


def circuit_of(bench: Testbench, threshold: float, scale: float) -> NeuronBench:
    """The bench's neuron, at the bench's own tolerances, with another threshold and relaxation time of its synapse."""
    p, share = bench.sets[DEVICE].resolved(), threshold / AT_REST
    changed = {"i_leak": Quantity(value=LEAK * share, unit="A"), "c_m": Quantity(value=CAPACITANCE * share, unit="F")}
    circuit, count = re.subn(r"(?<=\bdelay_lif )", "c_m={c_m} ", bench.file.circuit)
    if count != 1:
        raise InputError(f"{BENCH} has {count} neurons delay_lif, and an energy is of one", remedy="use --no-energy")
    file = bench.file.model_copy(update={"circuit": circuit, "parameters": {**bench.file.parameters, **changed}})
    own = {name: float(p[name]) * scale for name in TIMES}
    return NeuronBench(replace(bench, file=file).with_(values={DEVICE: own}), NEURON, bench.file.neurons[NEURON])


def certified(fitted: Drawn, held: Drawn, *, against: str, netlist: str, simulator: float) -> NeuronEnergy:
    """The law of ``fitted``, by least squares of the relative errors, with its certificate on ``held``."""

    def solved(logarithm: float) -> tuple[list[float], float]:
        columns = fitted.columns(float(np.exp(logarithm)))[0] / fitted.energy[:, None]
        law = np.linalg.lstsq(columns, np.ones_like(fitted.energy), rcond=None)[0]
        return law.tolist(), float(np.mean((columns @ law - 1.0) ** 2))

    best = float(minimize_scalar(lambda x: solved(x)[1], bounds=(0.0, 4.0), method="bounded").x)
    law, saturation = solved(best)[0], float(np.exp(best))
    power, leak, per_input, per_kick, per_held, per_spike, near = law
    columns, spikes = held.columns(saturation)
    drawn = columns @ np.array(law)
    each = np.abs(drawn / held.energy - 1.0)
    domain = {
        name: (float(values.min()), float(values.max()))
        for name, values in _fields(held.spikes, held.thresholds, held.taus, held.step).items()
    }
    certificate = EnergyCertificate(
        against, netlist, array_digest(fitted.energy, held.energy, drawn), len(fitted.spikes), len(held.spikes),
        float(np.median(each)), float(np.quantile(each, 0.95)), float(each.max()),
        float(drawn.sum() / held.energy.sum() - 1.0), int(np.sum(each <= LIMIT)),
        simulator, float(spikes.sum() / max(held.fired.sum(), 1.0)),
        domain,
    )  # fmt: skip
    return NeuronEnergy(power, leak, per_input, per_kick, per_held, per_spike, near, saturation, certificate)


def to_dict(energy: NeuronEnergy) -> dict[str, Any]:
    """As JSON."""
    found = asdict(energy)
    return {**found, "certificate": {**found["certificate"], "domain": dict(energy.certificate.domain)}}
