"""Event neurons of benches: random trains of spikes through the circuit, the law that they give, and its certificate.

The certificate is made on trains that took no part in the fit, through which the law follows itself from rest. Runs of
further trains, drawn at random, calibrate its prediction intervals (`cosim.surrogate.neuron_runs`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from types import MappingProxyType
from typing import cast

import numpy as np
from scipy.constants import zero_Celsius as ZERO_CELSIUS

from cosim import __version__
from cosim.bench.maps import one_of
from cosim.bench.neurons import NeuronFile
from cosim.bench.stimulus_kinds import Spikes
from cosim.bench.testbench import Testbench
from cosim.devices.base import Array
from cosim.devices.maps import Field
from cosim.engines.simulator import Simulator
from cosim.errors import InputError, SimulationError
from cosim.surrogate.base import Certificate, Domain, read_limits
from cosim.surrogate.certify import Tell, growth, seconds_per_step
from cosim.surrogate.circuit import CIRCUIT, CircuitSet
from cosim.surrogate.conformal import Band
from cosim.surrogate.density import covered_share
from cosim.surrogate.files import array_digest
from cosim.surrogate.model import Surrogate
from cosim.surrogate.neuron import MATCH, ROOM, STATES, NeuronLaw, SpikeTrain, matched, run_neurons, spikes_of
from cosim.surrogate.neuron_events import Events
from cosim.surrogate.neuron_fit import fit_neuron
from cosim.surrogate.neuron_runs import Errors, HeldOut, Runs, circuit_at, errors_after, held_out_trains
from cosim.surrogate.neuron_trains import critical_spikes, random_spikes
from cosim.surrogate.spike_bench import (
    SpikeBench,
    answered,
    behind,
    intervals_tested,
    recorded,
    samples_in,
    seen,
    seen_said,
    time_said,
)
from cosim.surrogate.summary import ErrorSummary
from cosim.surrogate.trains import covered_parts

SPIKES = "spikes"
LIMITS: Mapping[str, float] = MappingProxyType({SPIKES: 0.02, "latency": 0.02, "energy": 0.03})
TRAINS = 30  # of a hundred inputs: five minutes of ngspice on one core
LEAST_TRAINS = 6  # random ones, before inputs are chosen by what was learned of them (our choice)
# Of an input spike, from edge to edge: a kick. It is the unit in which the fit counts short times (our choice).
KICK = 5.0 / 3.0
BLOCK = 10  # events whose energies are compared together: a spike may end in the next event


@dataclass(frozen=True)
class NeuronBench(SpikeBench[NeuronFile, Array, SpikeTrain]):
    """A neuron of a bench, ready to be driven."""

    @property
    def train(self) -> type[SpikeTrain]:
        """A train of input spikes, and what came of it."""
        return SpikeTrain

    @classmethod
    def load(cls, reference: str | Testbench, name: str = "") -> NeuronBench:
        """A neuron of a bench, which is given as for `Testbench.load`; without ``name`` its first one."""
        bench = reference if isinstance(reference, Testbench) else Testbench.load(reference)
        name = one_of(bench.name, name, bench.file.neurons, kind="neuron", table="neurons")
        given = bench.file.neurons[name]
        return cls(bench.with_(options=given.options), name, given)

    def tightened(self) -> NeuronBench:
        """The same neuron at the tolerances of `Testbench.tightened`."""
        return replace(self, bench=self.bench.tightened())

    @property
    def kick(self) -> float:
        """s in which an input is over, by the bench's input spike."""
        spike = cast(Spikes, self.bench.file.stimuli[self.given.stimulus])
        return KICK * (2.0 * spike.edge + spike.width)

    @property
    def temperature(self) -> float:
        """K, by the bench's option ``temp``."""
        given = self.deck().options.get("temp")
        return ROOM if given is None else ZERO_CELSIUS + float(given)

    def testbench(self, inputs: Array) -> Testbench:
        """The bench with input spikes at ``inputs`` (n,) s but for the last, which is where it stops."""
        return self.driven({self.given.stimulus: inputs[:-1]}, stop=float(inputs[-1]), save=tuple(self.given.vectors))

    def recorded(self, asked: Array, simulator: Simulator) -> SpikeTrain:
        """What the circuit makes of input spikes at ``asked`` (n + 1,) s, the last one being where it ends."""
        inputs = asked
        data = answered(self.testbench(inputs), simulator)
        t = np.asarray(data["time"].values, dtype=float)
        x = {str(name): np.asarray(data[name].values, dtype=float) for name in data.data_vars}
        given = self.given
        power = -sum(x[voltage] * x[current] for voltage, current in given.supplies) * np.ones_like(t)
        if given.drive is not None:
            power = power + np.maximum(-x[given.drive[0]] * x[given.drive[1]], 0.0)
        energy = np.concatenate([[0.0], np.cumsum(0.5 * (power[1:] + power[:-1]) * np.diff(t))])
        spikes, begins, ends = (
            _crossings(t, x[given.output], given.level),
            _crossings(t, x[given.reset], given.reset_level),
            _crossings(t, -x[given.reset], -given.reset_level),
        )
        kept, reset, ready = [], [], []
        for spike in spikes:
            begin = begins[begins > spike][:1]
            end = ends[ends > begin[0]][:1] if begin.size else begin
            if not end.size:  # the train ends within this spike
                inputs = inputs[inputs < spike]
                break
            kept.append(spike)
            reset.append(begin[0])
            ready.append(end[0])
        return SpikeTrain(
            inputs, t, x[given.membrane], energy, np.array(kept), np.array(reset), np.array(ready),
            x[given.facilitation] if given.facilitation else None, x[given.stage],
            kick=self.kick, temperature=self.temperature,
        )  # fmt: skip


def _crossings(t: Array, v: Array, level: float) -> Array:
    """(k,) s: where ``v`` rises through ``level``."""
    k = np.flatnonzero((v[:-1] < level) & (v[1:] >= level))
    found: Array = t[k] + (level - v[k]) / (v[k + 1] - v[k]) * (t[k + 1] - t[k])
    return found


@dataclass(frozen=True)
class NeuronErrors:
    """How a law that follows itself through a train differs from the circuit.

    Args:
        f1: of the output spikes; a match lies within 5 % of the mean output interval.
        latency: relative rms error of the matched spikes' latencies, and worst.
        membrane, facilitation: largest and rms error of the states at the inputs, shares of full scale.
        energy: relative error of the energy of all events together, and rms of blocks of ten over their mean.
        spikes: the circuit's and the law's, (s,) each.
        states: by name, (2, n) in SI: the circuit's and the law's at the inputs; a phase within a spike is NaN.
        errors: (n,) each, SI: of v, u, n, of the phase outside of spikes and, over ten events, energy; of the matched
            latencies.
    """

    f1: float
    latency: tuple[float, float]
    membrane: tuple[float, float]
    facilitation: tuple[float, float]
    energy: tuple[float, float]
    spikes: tuple[Array, Array]
    states: Mapping[str, Array]
    errors: Mapping[str, Array]


def check_neuron(law: NeuronLaw, train: SpikeTrain) -> NeuronErrors:
    """`NeuronErrors` of a train that took no part in the fit. Raises `InputError` for one without two spikes.

    Of a law none of whose spikes matches, the F1 is 0 and the errors of the latency are infinite.
    """
    if train.spikes.size < 2:
        raise InputError(
            "the train has fewer than two output spikes", remedy="drive the neuron faster: shorter intervals"
        )
    (found,) = run_neurons(law, [train])
    ours = spikes_of(train, found)
    tolerance = MATCH * float(np.diff(train.spikes).mean())
    pairs = matched(train.spikes, ours, tolerance)
    f1 = 2.0 * len(pairs) / (train.spikes.size + ours.size)
    cause = train.inputs[np.searchsorted(train.inputs, train.spikes, side="right") - 1]
    late = np.array([(ours[j] - train.spikes[i]) for i, j in pairs])
    span = np.array([train.spikes[i] - cause[i] for i, _ in pairs])
    lateness = (float(np.sqrt(np.mean(late**2))), float(np.max(np.abs(late)))) if pairs else (np.inf, np.inf)
    there = train.at(train.inputs)
    top = float(train.membrane.max())
    circuit = {name: values[:-1] for name, values in circuit_at(train, law.numbers["memory"]).items() if name in STATES}
    circuit["phase"] = np.where(circuit["phase"] >= 0.0, circuit["phase"], np.nan)
    states = {name: found[name] - circuit[name] for name in STATES}
    drawn = np.diff(there["energy"])
    blocks = drawn.size // 10 * 10
    ten = [part[:blocks].reshape(-1, 10).sum(axis=1) for part in (drawn, found["energy"])]
    scale = float(np.sqrt(np.mean(span**2))) if pairs else 1.0
    return NeuronErrors(
        f1,
        (lateness[0] / scale, lateness[1] / scale),
        (float(np.max(np.abs(states["v"]))) / top, float(np.sqrt(np.mean(states["v"] ** 2))) / top),
        (float(np.max(np.abs(states["u"]))), float(np.sqrt(np.mean(states["u"] ** 2)))),
        (
            abs(float(found["energy"].sum() / drawn.sum()) - 1.0),
            float(np.sqrt(np.mean((ten[1] - ten[0]) ** 2)) / np.mean(ten[0])),
        ),
        (train.spikes, ours),
        {name: np.stack([circuit[name], found[name]]) for name in STATES},
        {
            **{name: error[np.isfinite(error)] for name, error in states.items()},
            "latency": late,
            "energy": ten[1] - ten[0],
        },
    )


@dataclass(frozen=True)
class TrainedNeuron:
    """A certified event neuron, with the errors on each held-out train, and the seconds that SPICE took for all events
    and for each: of training, or, of `certify_neuron`, of the held-out trains. ``runs`` are those of the intervals.
    """

    surrogate: Surrogate
    held_out: tuple[NeuronErrors, ...]
    trains: tuple[SpikeTrain, ...]
    seconds: float
    seconds_per_event: float
    runs: Runs = field(default_factory=lambda: MappingProxyType({}))

    @property
    def after(self) -> Mapping[int, Errors]:
        """Signed errors by the number of events that the law followed, of each train of ``runs`` an array."""
        return errors_after(self.surrogate.with_(certificate=None), self.runs)


def train_neuron(
    neuron: NeuronBench,
    simulator: Simulator,
    *,
    trains: int = TRAINS,
    count: int = 100,
    budget: float = np.inf,
    held_out: int = 3,
    stretches: int = 0,
    rollouts: int = 0,
    seed: int = 0,
    limits: Mapping[str, float] = MappingProxyType({}),
    tell: Tell | None = None,
) -> TrainedNeuron:
    """Record, fit and certify an event neuron.

    Args:
        neuron: where it is.
        simulator: runs the trains.
        trains: to learn from, of ``count`` input spikes each, their mean intervals spread over the neuron's; the first
            half of them are random, the others `critical_spikes` by what was learned of these.
        budget: seconds after which no further train to learn from is recorded, but for the first two. The held-out ones
            take time beside it; the certificate has the sum.
        held_out: trains of the certificate, as `held_out_trains` has them, and so the next two.
        stretches: short ones, which calibrate the prediction intervals after 1 and 10 events.
        rollouts: long ones, for the intervals after 1000 events.
        seed: of the trains.
        limits: shares of full scale over `LIMITS`, by "spikes" (1 − F1), state, "latency", "energy" or "free run".
        tell: called with the trains that are done and all of them.

    Raises:
        InputError: a train of the certificate has fewer than two output spikes.
    """
    neuron_limits(limits)
    shortest, longest = neuron.given.intervals
    means = np.geomspace(min(5.0 * shortest, longest), longest, trains)
    rng = np.random.default_rng([seed, 10])
    known: list[NeuronLaw] = []
    total = trains + held_out + stretches + rollouts

    def record(mean: float, made: list[SpikeTrain]) -> SpikeTrain:
        if not known and len(made) >= max(trains // 2, LEAST_TRAINS):
            known.append(fit_neuron(made, seed=seed))
        how = partial(critical_spikes, known[0]) if known else random_spikes
        return neuron.record(how(rng, mean=mean, shortest=shortest, count=count), simulator)

    # slow and fast trains in turn: a budget that is spent early leaves both
    order = np.argsort(np.arange(trains) * 7 % max(trains, 1), kind="stable") if trains else np.arange(0)
    given = recorded(means[order].tolist(), record, budget=budget, total=total, tell=tell, clock=neuron.clock)
    made, spent = given.trains, given.seconds
    law = fit_neuron(made, seed=seed)
    held = held_out_trains(
        partial(neuron.record, simulator=simulator), neuron.given.intervals, trains=held_out, count=count,
        stretches=stretches, rollouts=rollouts, seed=seed, tell=behind(tell, trains, total), clock=neuron.clock,
    )  # fmt: skip
    most = max(float(train.intervals.max()) for train in (*made, *held.all))
    chosen = neuron_set(neuron, law, shortest=shortest, longest=most)
    plain = Surrogate(chosen, learned=law)
    notes = (*given.notes, time_said(given, held.all, held.seconds))
    surrogate, errors = _certified(plain, neuron, simulator, held, seed=seed, limits=limits, notes=notes)
    each = spent / max(sum(train.intervals.size for train in made), 1)
    return TrainedNeuron(surrogate, errors, tuple(held.trains), spent, each, held.runs)


def certify_neuron(
    surrogate: Surrogate,
    neuron: NeuronBench,
    simulator: Simulator,
    *,
    trains: int = 3,
    count: int = 100,
    stretches: int = 0,
    rollouts: int = 0,
    seed: int = 1,
    limits: Mapping[str, float] = MappingProxyType({}),
    tell: Tell | None = None,
) -> TrainedNeuron:
    """Certify a neuron's surrogate anew, on ``trains`` of ``count`` input spikes each; the rest as for `train_neuron`.

    Raises `InputError` for a surrogate that is not of a neuron.
    """
    if not isinstance(surrogate.learned, NeuronLaw):
        raise InputError(f"the surrogate of {surrogate.parameters.name} is not of a neuron", remedy="see cosim.certify")
    held = held_out_trains(
        partial(neuron.record, simulator=simulator), neuron.given.intervals, trains=trains, count=count,
        stretches=stretches, rollouts=rollouts, seed=seed, tell=tell, clock=neuron.clock,
    )  # fmt: skip
    plain = surrogate.with_(certificate=None)
    made, errors = _certified(plain, neuron, simulator, held, seed=seed, limits=limits)
    events = sum(train.intervals.size for train in held.all)
    return TrainedNeuron(made, errors, tuple(held.trains), held.seconds, held.seconds / events, held.runs)


def _certified(
    plain: Surrogate,
    neuron: NeuronBench,
    simulator: Simulator,
    held: HeldOut,
    *,
    seed: int,
    limits: Mapping[str, float],
    notes: tuple[str, ...] = (),
) -> tuple[Surrogate, tuple[NeuronErrors, ...]]:
    """``plain`` with the certificate of its errors on ``held``, and those errors."""
    errors = tuple(check_neuron(cast(NeuronLaw, plain.learned), train) for train in held.trains)
    certificate = certificate_of(plain, neuron, simulator, held, errors, seed=seed, limits=limits, notes=notes)
    return plain.with_(certificate=certificate), errors


def neuron_limits(limits: Mapping[str, float]) -> Mapping[str, float]:
    """`LIMITS` with ``limits`` over them; raises `InputError` and `UnknownName` as `base.read_limits`."""
    outputs = {SPIKES: Field("1"), "latency": Field("s"), "energy": Field("J")}
    return read_limits({**LIMITS, **limits}, states=STATES, outputs=outputs)


def neuron_set(neuron: NeuronBench, law: NeuronLaw, *, shortest: float, longest: float) -> CircuitSet:
    """The fields of an event of a neuron."""
    whole = neuron.bench
    top, dead = float(law.flow.grid[-1]), law.numbers["dead"]
    return CircuitSet(
        CIRCUIT, whole.name, {}, source=f"the bench {whole.name}",
        inputs=MappingProxyType({"interval": Field("s", (shortest, longest))}),
        states=MappingProxyType(
            {"v": Field("V", (0.0, top)), "u": Field("1", (0.0, 1.0)), "n": Field("V", law.stages),
             "phase": Field("s", (-2.0 * dead, law.numbers["memory"]))}
        ),
        outputs=MappingProxyType({SPIKES: Field("1"), "latency": Field("s"), "energy": Field("J")}),
        event=neuron.name, bench=str(whole.source),
        netlist=neuron.netlist(),
    )  # fmt: skip


def certificate_of(
    plain: Surrogate,
    neuron: NeuronBench,
    simulator: Simulator,
    held: HeldOut,
    found: Sequence[NeuronErrors],
    *,
    seed: int,
    limits: Mapping[str, float],
    notes: tuple[str, ...] = (),
) -> Certificate:
    """The certificate of a neuron's surrogate by its errors on held-out trains, where events of these began."""
    chosen = cast(CircuitSet, plain.parameters)
    together = {name: np.concatenate([one.errors[name] for one in found]) for name in found[0].errors}
    drawn = np.concatenate([np.diff(train.at(train.inputs)["energy"]) for train in held.trains])
    spans = [
        train.spikes - train.inputs[np.searchsorted(train.inputs, train.spikes, side="right") - 1]
        for train in held.trains
    ]
    scales = {
        "v": chosen.states["v"].span, "u": 1.0, "n": chosen.states["n"].span, "phase": chosen.states["phase"].span,
        "energy": BLOCK * float(np.mean(drawn)), "latency": float(np.sqrt(np.mean(np.concatenate(spans) ** 2))),
    }  # fmt: skip
    units = {"v": "V", "u": "", "n": "V", "phase": "s", "energy": "J", "latency": "s"}
    errors = {
        name: ErrorSummary.of(together[name], full_scale=scales[name], unit=unit)
        for name, unit in units.items()
        if together[name].size  # what was not measured misses its limit
    }
    missed = 1.0 - float(np.mean([one.f1 for one in found]))
    errors[SPIKES] = ErrorSummary(missed, missed, 1.0, "")
    allowed = neuron_limits(limits)
    free = tuple(
        np.where(np.isnan(both[0]), 0.0, both / scales[name]) for one in found for name, both in one.states.items()
    )
    begun = [Events.of([train], chosen.states["phase"].range[1]) for train in held.all]
    tested = {name: seen([getattr(one, name) for one in begun], e.range) for name, e in chosen.states.items()}
    parts = {name: covered_parts(entry, tested[name], name=name) for name, entry in chosen.states.items()}
    box = {
        **{name: hull for name, (hull, _) in parts.items()},
        "interval": intervals_tested([train.intervals for train in held.all]),
    }
    columns = {name: np.concatenate([getattr(one, name) for one in begun]) for name in box}
    samples = samples_in(plain.map, columns, box, seed=seed)
    own, tightened = _own_error(neuron, simulator, held.trains[0], scales, units)
    bands = tuple(Band.of(one, events=events) for events, one in errors_after(plain, held.runs).items())
    return Certificate(
        errors=MappingProxyType(errors),
        rollout=replace(growth(free), trains=len(found)),
        domain=Domain(
            MappingProxyType({"interval": box["interval"]}),
            MappingProxyType({name: hull for name, (hull, _) in parts.items()}),
            gaps=MappingProxyType({name: gaps for name, (_, gaps) in parts.items() if gaps}),
            samples=tuple(map(tuple, samples.tolist())),
            covered=covered_share(samples),
            units=MappingProxyType({n: e.unit for n, e in {**chosen.inputs, **chosen.states}.items()}),
        ),
        bands=bands,
        pulses=sum(train.intervals.size for train in held.trains),
        seconds_per_event=held.seconds_per_event,
        seconds_per_step=seconds_per_step(plain),
        against=simulator.version(),
        reference=f"trains of random spikes through the circuit of {chosen.name}",
        extraction="",
        carried="none: the circuit itself answers, and the law was learned from it",
        simulator=own,
        tightened=tightened,
        limits=allowed,
        netlist=chosen.netlist,
        data=array_digest(*(train.spikes for train in held.all), *(train.membrane for train in held.all)),
        parameters=chosen.fingerprint(),
        surrogate=plain.fingerprint(),
        tolerances=MappingProxyType(neuron.tolerances()),
        seed=str(seed),
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        version=__version__,
        notes=(
            "law: a flow of membrane and stage between inputs, and learned laws of what inputs, spikes and resets do",
            f"spikes: 1 - F1 of the output spikes; a match lies within {100.0 * MATCH:g} % of the mean output interval",
            f"energy: of {BLOCK} events at a time; latency: of the matched spikes, over its rms",
            "phase: of events that end outside of a spike, within which nothing tells when its reset will end",
            *(seen_said(name, counts) for name, counts in tested.items()),
            *held.said(bands),
            *notes,
        ),
    )


def _own_error(
    neuron: NeuronBench, simulator: Simulator, train: SpikeTrain, scales: Mapping[str, float], units: Mapping[str, str]
) -> tuple[Mapping[str, ErrorSummary], str]:
    """What the simulator answers differently to a train at tightened tolerances; and how it was asked."""
    closer = neuron.tightened()
    try:
        again = closer.record(train.inputs, simulator)
    except SimulationError as error:
        return MappingProxyType({}), f"its own error is missing: {error.message}"
    count = min(train.inputs.size, again.inputs.size)
    one, other = (which.at(train.inputs[:count]) for which in (train, again))
    found = {name: other[name] - one[name] for name in ("v", "u", "n")}
    pairs = matched(train.spikes, again.spikes, MATCH * float(np.diff(train.spikes).mean()))
    found["latency"] = np.array([again.spikes[j] - train.spikes[i] for i, j in pairs])
    blocks = (count - 1) // BLOCK * BLOCK
    drawn = np.diff(other["energy"]) - np.diff(one["energy"])
    found["energy"] = drawn[:blocks].reshape(-1, BLOCK).sum(axis=1)
    kept = {name: ErrorSummary.of(e, full_scale=scales[name], unit=units[name]) for name, e in found.items() if e.size}
    missing = train.spikes.size + again.spikes.size - 2 * len(pairs)
    said = f"its own error by the first train again at reltol {closer.deck().options['reltol']:g} and half the step"
    return MappingProxyType(kept), said + (f"; {missing} spikes without a match" if missing else "")
