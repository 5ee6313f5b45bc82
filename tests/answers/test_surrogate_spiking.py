"""Event neurons and filters: fitted to waveforms of known laws, read back, and held to them."""

from __future__ import annotations

import json
import time
import warnings
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from types import SimpleNamespace as Named
from typing import Literal

import numpy as np
import pytest

import cosim.network as net
from cosim import resources
from cosim.cli.app import main
from cosim.cli.surrogate_common import UNSEEN
from cosim.devices.base import Values
from cosim.devices.maps import Field
from cosim.engines.registry import open_simulator
from cosim.errors import DomainError, FitError, InputError, SimulationError
from cosim.network import EventNeuron
from cosim.surrogate.base import Certificate, DomainWarning
from cosim.surrogate.bases import Polynomial
from cosim.surrogate.circuit import CIRCUIT, CircuitSet
from cosim.surrogate.files import load, save
from cosim.surrogate.filter import FilterLaw, FilterTrain, fit_filter, pulse_train, run_filter
from cosim.surrogate.learned import Law
from cosim.surrogate.model import Surrogate
from cosim.surrogate.neuron import NeuronLaw, SpikeTrain, matched, run_neurons
from cosim.surrogate.neuron_again import separated
from cosim.surrogate.neuron_bench import NeuronBench, certificate_of, check_neuron, neuron_set
from cosim.surrogate.neuron_fit import fit_neuron
from cosim.surrogate.neuron_runs import HeldOut
from cosim.surrogate.neuron_trains import critical_spikes, random_spikes
from cosim.surrogate.spike_bench import said_where

LEAK, THRESHOLD, WIDTH, DEAD, DT, FORGOTTEN = 2e5, 0.6, 5e-8, 1.2e-7, 1e-9, 1e-7  # V/s, V, s


def simulated(seed: int, *, mean: float = 3e-7, facilitation: bool = True) -> SpikeTrain:
    """A neuron by small steps: constant leak, a kick that facilitates, a spike at n = 1, a dead time."""
    inputs = random_spikes(np.random.default_rng(seed), mean=mean, shortest=6e-8, count=100)
    t = np.arange(0.0, inputs[-1] + DT, DT)
    v, u, n, drawn, since = 0.0, 0.0, 0.0, 0.0, np.inf
    path = np.empty((4, t.size))
    spikes = []
    coming = iter((np.searchsorted(t, inputs[:-1]) + 1).tolist())
    following = next(coming)
    for k in range(t.size):
        if k == following:
            if since > DEAD:
                v += 0.25 + 0.15 * u
            u += 0.08 * (1.0 - u) if facilitation else 0.0
            drawn += 1e-14
            following = next(coming, -1)
        path[:, k] = v, u, drawn, 1.0 - n
        v, u, since = max(v - LEAK * DT, 0.0), u * np.exp(-DT / 2e-5), since + DT
        if since > DEAD or since <= WIDTH:
            n = n * np.exp(-DT / FORGOTTEN) + DT * max(v - THRESHOLD, 0.0) * 1e8
        if n >= 1.0 and since > DEAD:
            spikes.append(t[k] + DT)
            since, drawn = 0.0, drawn + 1e-13
        if WIDTH < since <= DEAD:
            v, n = 0.0, 0.0
        drawn += 2e-8 * DT
    at = np.array(spikes)
    kept = at[at + DEAD < t[-1]]
    if kept.size < at.size:
        inputs = inputs[inputs < at[kept.size]]
    return SpikeTrain(inputs, t, path[0], path[2], kept, kept + WIDTH, kept + DEAD, path[1] if facilitation else None,
                      path[3], kick=2.5e-9)  # fmt: skip


@pytest.fixture(scope="module")
def law() -> NeuronLaw:
    return fit_neuron([simulated(seed, mean=mean) for seed, mean in enumerate((2e-7, 4e-7))])


def test_a_neuron_spikes_where_its_circuit_does(law: NeuronLaw) -> None:
    # an input counts in the step of the clock that follows it: half of one, 5e-10 s of 2e-5 s, late
    assert law.numbers["step"] == pytest.approx(0.08, rel=1e-3)
    assert law.numbers["tau"] == pytest.approx(2e-5, rel=1e-3)
    assert law.numbers["rest_power"] == pytest.approx(2e-8, rel=0.1)
    assert law.numbers["spike_energy"] == pytest.approx(1e-13, rel=0.1)
    found = check_neuron(law, simulated(7))
    assert found.f1 >= 0.98
    assert np.median(np.abs(found.errors["v"])) < 0.005
    assert np.max(np.abs(found.errors["u"])) < 0.001
    assert found.energy[0] < 0.03


def test_a_slower_neuron_has_the_same_law_in_its_own_time() -> None:
    times_slower = 1024.0  # a power of two: nothing is rounded differently

    def slower(train: SpikeTrain) -> SpikeTrain:
        times = {
            name: times_slower * getattr(train, name) for name in ("inputs", "time", "spikes", "reset", "ready", "kick")
        }
        return replace(train, **times)

    trains = [simulated(seed, mean=mean) for seed, mean in enumerate((2e-7, 4e-7))]
    fast, slow = fit_neuron(trains), fit_neuron(list(map(slower, trains)))
    for name in ("tau", "kick", "dead", "reset", "memory", "closed", "open"):
        assert slow.numbers[name] == pytest.approx(times_slower * fast.numbers[name], rel=1e-9)
    assert slow.numbers["rest_power"] == pytest.approx(fast.numbers["rest_power"] / times_slower, rel=1e-9)
    held = simulated(7)
    one, other = check_neuron(fast, held), check_neuron(slow, slower(held))
    assert other.f1 == one.f1 >= 0.98
    assert other.states["v"][1] == pytest.approx(one.states["v"][1], abs=1e-9)
    assert other.errors["latency"] == pytest.approx(times_slower * one.errors["latency"], rel=1e-6)


def test_a_circuit_is_as_warm_as_its_train_says() -> None:
    trains = [replace(simulated(seed, mean=mean), temperature=358.15) for seed, mean in enumerate((2e-7, 4e-7))]
    assert fit_neuron(trains).numbers["thermal"] == pytest.approx(0.030863, rel=1e-4)


def test_a_bench_says_how_long_an_input_takes_and_how_warm_it_is() -> None:
    neuron = NeuronBench.load("ecram_feedback_stp")
    assert neuron.kick == pytest.approx(5e-9)  # of a spike of 0.5 ns + 2 ns + 0.5 ns
    assert neuron.temperature == pytest.approx(300.15)
    warm = NeuronBench(neuron.bench.with_(options={"temp": 85.0}), neuron.name, neuron.given)
    assert warm.temperature == pytest.approx(358.15)


def line(field: str, ends: tuple[float, float], values: tuple[float, float]) -> Law:
    """From one of ``values`` to the other between the ``ends`` of a field."""
    half = 0.5 * (values[1] - values[0])
    return Law("polynomial", (field,), np.array([ends]), np.array([False]), ("it",), np.zeros(1), np.ones(1),
               Polynomial(1, np.array([[values[0] + half], [half]])))  # fmt: skip


def test_a_membrane_goes_on_when_a_reset_is_forgotten(law: NeuronLaw) -> None:
    memory = law.numbers["memory"]
    ends = law.after(np.array([0.0, 20.0 * memory]))
    falls = replace(law, laws=MappingProxyType({**law.laws, "left": line("phase", (ends[0], ends[1]), (0.02, 0.0))}))
    state = {"v": np.full(3, 0.55), "u": 0.5, "n": 1.0, "phase": memory}
    found = falls({**state, "interval": memory * np.array([2.0, 4.0, 8.0])})
    assert found["spikes"].tolist() == [1.0, 1.0, 1.0]
    end = memory * np.array([2.0, 4.0, 8.0]) - found["latency"] - law.numbers["dead"]
    assert 0.55 + found["v"] == pytest.approx(falls.left(np.full(3, 0.8), end), rel=0.05)


def test_a_spike_comes_with_its_input_or_as_late_as_its_law_says(law: NeuronLaw) -> None:
    kick = law.numbers["kick"]
    state = {"v": np.array([0.55, 1.1]), "u": 0.9, "n": np.array([1.0, 0.01]), "phase": law.numbers["memory"]}
    plain = law({**state, "interval": 1e-6})["latency"]
    assert plain[0] > 4.0 * kick > plain[1]
    laws = {**law.laws, "hasty": None, "late": None}
    base = replace(law, laws=MappingProxyType(laws))({**state, "interval": 1e-6})["latency"]
    # a time next to the kick, a share of the latency after it, and of this no more than it may be
    for name, given, expected in (
        ("hasty", -0.5 * kick, [0.0, 0.5 * kick]),
        ("late", -0.1, [0.1 * base[0], 0.0]),
        ("late", -0.9, [law.numbers["late"] * base[0], 0.0]),
    ):
        sooner = replace(law, laws=MappingProxyType({**laws, name: line("latency", (0.0, 1e-6), (given, given))}))
        assert base - sooner({**state, "interval": 1e-6})["latency"] == pytest.approx(np.array(expected), abs=1e-15)
    early = line("latency", (0.0, 1e-6), (-9.0 * kick, -9.0 * kick))
    found = replace(law, laws=MappingProxyType({**law.laws, "hasty": early}))({**state, "interval": 1e-6})
    assert found["latency"][1] == 0.0 < found["spikes"][1]


def test_another_neuron_is_found_out(law: NeuronLaw) -> None:
    deaf = replace(law, numbers=MappingProxyType({**law.numbers, "dead": 4.0 * law.numbers["dead"]}))
    assert check_neuron(deaf, simulated(7)).f1 < 0.9


def test_an_input_that_puts_a_reset_off_does_so_in_the_state(law: NeuronLaw) -> None:
    later = Law("polynomial", ("phase",), np.array([[-1.0, 0.0]]), np.array([False]), ("it",), np.array([5e-9]),
                np.ones(1), Polynomial(0, np.zeros((1, 1))))  # fmt: skip
    slow = replace(law, laws=MappingProxyType({**law.laws, "longer": later}))
    given = {"v": np.array([0.9]), "u": 0.5, "n": 0.0, "phase": -1e-7, "interval": 6e-8}
    assert law(given)["phase"][0] == pytest.approx(6e-8)
    assert slow(given)["phase"][0] == pytest.approx(5.5e-8)


def test_a_closing_reset_leaves_what_its_transistor_does(law: NeuronLaw) -> None:
    from scipy.integrate import solve_ivp

    # a current of I exp(-t / T) (1 - exp(-v / U)) over C from now on takes I T / (C U) thermal voltages
    u, fall, slope = law.numbers["thermal"], 4e-9, 0.3 / 4e-9
    drains = Law("polynomial", ("phase",), np.array([[-1.0, 0.0]]), np.array([False]), ("it",),
                 np.array([np.log(slope * fall / u)]), np.ones(1), Polynomial(0, np.zeros((1, 1))))  # fmt: skip
    closing = replace(law, laws=MappingProxyType({**law.laws, "drains": drains}),
                      numbers=MappingProxyType({**law.numbers, "closed": -3e-8, "open": -1e-9}))  # fmt: skip
    v, kick = np.array([0.0, 0.1, 0.1, 0.2]), np.array([0.05, 0.1, 0.35, 0.5])
    found = closing.drained(v, kick, np.full(4, -1e-8))
    for one, end in zip(v + kick, found.tolist(), strict=True):
        held = solve_ivp(lambda t, v: -slope * np.exp(-t / fall) * -np.expm1(-v / u), (0.0, 40.0 * fall), [one],
                         rtol=1e-9, atol=1e-12)  # fmt: skip
        assert end == pytest.approx(held.y[0, -1], abs=1e-6)
    assert closing.drained(v, kick, np.zeros(4)).tolist() == (v + kick).tolist()  # its transistor is off
    assert closing.drained(v, kick, np.full(4, -4e-8)).tolist() == v.tolist()  # it is on: nothing of the kick is left


def test_a_spike_is_the_later_the_closer_its_input_ends_to_the_threshold(law: NeuronLaw) -> None:
    flow = law.flow
    rest = flow.stages[-1]
    edge = np.interp(rest, flow.stages, flow.edge)
    nearest = flow.distances[flow.distances.size // 2]
    times = flow.arrives(edge + nearest * np.array([-0.1, 1e-3, 1e-2, 0.1, 1.0]), np.full(5, rest))
    assert times[0] == np.inf
    assert np.all(np.diff(times) < 0.0)
    assert np.diff(times)[1] == pytest.approx(np.diff(times)[2], rel=1e-3)  # as the logarithm of the distance


def with_second_spikes(law: NeuronLaw) -> NeuronLaw:
    """The same, with a separatrix at 0.5 V next to the end of a reset, in whose wake a reset takes half as long."""

    def plane(name: str, low: float, high: float, offset: float, slope: float) -> Law:
        ends = np.array([[low, high]])
        return Law("polynomial", (name,), ends, np.array([False]), ("it",), np.zeros(1), np.ones(1),
                   Polynomial(1, np.array([[offset], [slope]])))  # fmt: skip

    laws = {
        "again": plane("v", 0.0, 1.0, 0.0, 0.5),  # v - 0.5
        "again late": plane("latency", 0.0, 1.0, 1e-9, 0.0),
        "dead again": plane("v", 0.0, 1.0, -0.5 * law.numbers["dead"], 0.0),
    }
    numbers = {"again": -1e-8, "anew": 1e-8, "pace": 6e-9, "open": -2e-8}
    return replace(
        law, laws=MappingProxyType({**law.laws, **laws}), numbers=MappingProxyType({**law.numbers, **numbers})
    )


def test_an_input_next_to_the_end_of_a_reset_spikes_by_a_separatrix_of_its_own(law: NeuronLaw) -> None:
    made = with_second_spikes(law)
    given = {"u": np.full(5, 0.5), "n": np.full(5, 0.5), "interval": np.full(5, 4e-7)}
    phase = np.array([-5e-9, 5e-9, 5e-9, 5e-9, -5e-8])
    v = np.array([0.3, 0.3, 0.2, 0.0, 0.3])
    kicked = made.kicked_membrane(v, given["u"], given["n"], phase)
    found = made({**given, "v": v, "phase": phase})
    above = kicked > 0.5
    assert above[:3].any()
    assert (found["spikes"][:4] > 0.0).tolist() == above[:4].tolist()
    assert found["spikes"][4] == 0.0  # too early: its reset is under way
    late = -6e-9 * np.log(kicked[:4][above[:4]] - 0.5) + 1e-9
    assert found["latency"][:4][above[:4]] == pytest.approx(late)
    ends = phase[:4] + found["phase"][:4]
    assert ends[above[:4]] == pytest.approx(4e-7 - late - 0.5 * law.numbers["dead"])
    margin = made.margin({**given, "v": v, "phase": phase})[:4]
    assert margin == pytest.approx(kicked[:4] - 0.5, abs=1e-9)


def test_a_separatrix_is_found_by_when_spikes_came_and_by_what_did_not_spike() -> None:
    rng, kick = np.random.default_rng(5), 5e-9
    v, n = rng.uniform(0.3, 0.7, 300), rng.uniform(0.6, 1.0, 300)
    interval = rng.uniform(1e-7, 1e-6, 300)
    distance = v - (0.5 + 0.2 * (n - 0.8))
    with np.errstate(invalid="ignore"):
        latency = -2.5 * kick * np.log(distance / 0.4)
    latency[~(latency < interval)] = np.inf
    made, pace = separated({"v": v, "n": n}, latency, interval, kick=kick, rng=rng)
    assert pace == pytest.approx(2.5 * kick)
    assert made({"v": v, "n": n})["it"] == pytest.approx(distance / 0.4, abs=1e-6)


def test_inputs_are_chosen_next_to_the_threshold(law: NeuronLaw) -> None:
    def close(inputs: np.ndarray) -> float:
        none = np.zeros(2)
        (found,) = run_neurons(
            law, [SpikeTrain(inputs, inputs[[0, -1]], none, none, none[:0], none[:0], none[:0], kick=2.5e-9)]
        )
        margin = law.margin({name: found[name] for name in ("v", "u", "n", "phase")})
        return float(np.mean((found["phase"] >= 0.0) & (np.abs(margin) < 0.02)))

    rng = np.random.default_rng(3)
    given = {"mean": 3e-7, "shortest": 6e-8, "count": 100}
    chosen = critical_spikes(law, rng, **given)  # type: ignore[arg-type]
    assert close(chosen) > 2.0 * close(random_spikes(rng, **given))  # type: ignore[arg-type]
    assert np.min(np.diff(chosen)) >= 6e-8


class Silent:
    """A simulator that answers nothing."""

    def version(self) -> str:
        return "none"

    def run(self, *_: object, **__: object) -> None:
        raise SimulationError("there was no answer", outcome="crashed")


def test_a_neuron_is_certified_where_its_held_out_trains_went(law: NeuronLaw) -> None:
    held = [simulated(seed, mean=mean) for seed, mean in enumerate((2e-7, 4e-7, 2e-7, 4e-7, 3e-7))]
    neuron = NeuronBench.load("ecram_feedback_stp")
    chosen = neuron_set(neuron, law, shortest=6e-8, longest=4e-6)
    wide = replace(chosen, states=MappingProxyType({**chosen.states, "v": Field("V", (0.0, 3.0))}))
    plain = Surrogate(wide, learned=law)

    def certified(trains: list[SpikeTrain], *, stage: float = 0.0) -> Surrogate:
        out = HeldOut(trains, {10: trains}, 1.0, None)
        errors = [check_neuron(law, train) for train in trains]
        wrong = stage * wide.states["n"].span * np.array([[0.0], [1.0]])
        errors = [replace(one, states={**one.states, "n": one.states["n"] + wrong}) for one in errors]
        made = certificate_of(plain, neuron, Silent(), out, errors, seed=0, limits={"untested": 0.1})  # type: ignore[arg-type]
        return plain.with_(certificate=made, uncertified=True)

    made = certified(held)
    certificate = made.certificate
    assert certificate is not None
    assert made.allowed("v")[0] == 0.0
    top = max(float(train.at(train.inputs - 1e-10)["v"].max()) for train in held)
    assert made.allowed("v")[1] <= top + 0.3 < 1.5  # tenths of 3 V
    assert any(said.startswith("v is certified from 0 to") for said in made.uncovered())
    # a free run's error is that of all states
    worse = certified(held, stage=5.0).certificate
    assert worse is not None
    assert max(certificate.rollout.max) < 2.0 < max(worse.rollout.max)
    assert worse.rollout.trains == 5
    # fewer trains hold less, and what less than three saw is not certified
    assert certified(held[:3]).allowed("u")[1] <= made.allowed("u")[1]
    with pytest.raises(InputError, match="no tenth of the state v's range"):
        certified(held[:2])
    assert any(said.startswith("held-out events in each tenth of v: ") for said in certificate.notes)
    # the joint of states and interval is another matter than the range of each
    assert 0.0 < (certificate.domain.covered or 0.0) < 1.0
    assert any(said.startswith("untested: ") for said in certificate.broken)
    box = {**certificate.domain.states, **certificate.domain.inputs}
    shares = np.array([*certificate.domain.samples, [1.0, 0.0, 0.5, 0.0, 1.0]])  # seen ones, and a corner
    at = {name: low + share * (high - low) for share, (name, (low, high)) in zip(shares.T, box.items(), strict=True)}
    near = made.covered(Values({n: at[n] for n in made.map.states}), Values({"interval": at["interval"]}))
    assert near[:-1].mean() > 0.5
    assert not near[-1]
    # at rest it may begin, in a network too, and beyond what was seen it is refused or warned of
    model = EventNeuron(made)
    p = Named(**model.parameters(1e-6))
    x = {name: np.full(1, value) for name, value in model.states.items()}
    model.step(Named(**x), np.ones(1), p)
    x["v"] = np.array([2.0])
    with pytest.raises(DomainError, match="state v = 2 V is outside the certified 0"):
        model.step(Named(**x), np.ones(1), p)
    with pytest.warns(DomainWarning, match="state v = 2 V"):
        EventNeuron(made.with_(policy="warn")).step(Named(**x), np.ones(1), p)


@dataclass(frozen=True)
class Counted(NeuronBench):
    """A neuron whose circuit is a computation, and counts."""

    calls: list[int] = field(default_factory=list, compare=False)

    def recorded(self, asked: np.ndarray, simulator: object) -> SpikeTrain:
        self.calls.append(asked.size)
        if asked.size > 4:
            raise KeyboardInterrupt
        return SpikeTrain(asked, asked, asked, asked, asked[:1], asked[1:2], asked[2:3], None, asked, kick=5e-9)


def test_trains_that_were_recorded_are_found_again(tmp_path: Path) -> None:
    bench = NeuronBench.load("ecram_feedback_stp")
    made = Counted(bench.bench, bench.name, bench.given, kept=tmp_path / "kept")
    times, silent = np.array([0.0, 1.0, 2.0]), Silent()
    first = made.record(times, silent)  # type: ignore[arg-type]
    later = replace(made, saved=[])
    again = later.record(times, silent)  # type: ignore[arg-type]
    assert (made.calls, made.saved, len(later.saved)) == ([3], [], 1)
    assert again.facilitation is None
    assert all(np.array_equal(getattr(again, name), x) for name, x in vars(first).items() if x is not None)
    assert later.clock() - time.perf_counter() == pytest.approx(later.saved[0], abs=1e-2)
    # another train, or another neuron, is another matter; and Ctrl-C says where they are
    made.record(times + 1.0, silent)  # type: ignore[arg-type]
    replace(made, given=made.given.model_copy(update={"level": 0.1})).record(times, silent)  # type: ignore[arg-type]
    assert made.calls == [3, 3, 3]
    for kept, left in ((made.kept, "the same command goes on with them"), (None, "--keep FOLDER keeps them")):
        with pytest.raises(KeyboardInterrupt, match=left), said_where(kept):
            made.record(np.zeros(5), silent)  # type: ignore[arg-type]


def test_a_law_of_whose_spikes_no_one_matches_has_a_certificate_that_says_so(law: NeuronLaw) -> None:
    deaf, held = replace(law, flow=replace(law.flow, edge=law.flow.edge + 10.0)), [simulated(7 + k) for k in range(3)]
    found = check_neuron(deaf, held[0])
    assert found.f1 == 0.0
    assert found.latency == (np.inf, np.inf)
    neuron = NeuronBench.load("ecram_feedback_stp")
    chosen = neuron_set(neuron, law, shortest=6e-8, longest=4e-6)
    errors = [found, *(check_neuron(deaf, one) for one in held[1:])]
    made = certificate_of(
        Surrogate(chosen, learned=deaf), neuron, Silent(), HeldOut(held, {10: held}, 1.0, None), errors,  # type: ignore[arg-type]
        seed=0, limits={"phase": 0.5},
    )  # fmt: skip
    assert made.limits["phase"] == 0.5
    assert "spikes: 100 % of full scale, limit 2 %" in made.broken
    assert "latency: not measured, limit 2 %" in made.broken
    assert any(said.startswith("phase: ") for said in made.broken)
    assert Certificate.from_dict(made.to_dict()) == made


def surrogate_of(law: NeuronLaw) -> Surrogate:
    fields = {"v": Field("V", (0.0, 1.2)), "u": Field("1", (0.0, 1.0)), "n": Field("V", law.stages)}
    chosen = CircuitSet(
        CIRCUIT, "lif", {}, inputs={"interval": Field("s", (1e-9, 1.0))},
        states={**fields, "phase": Field("s", (-2.0 * DEAD, law.numbers["memory"]))},
        outputs={"spikes": Field("1"), "latency": Field("s"), "energy": Field("J")}, event="spike",
    )  # fmt: skip
    return Surrogate(chosen, learned=law)


def test_a_neuron_is_a_surrogate_and_comes_back_from_its_file(law: NeuronLaw, tmp_path: Path) -> None:
    made = surrogate_of(law)
    back = load(save(made, tmp_path / "lif.npz"))
    state = Values({"v": np.array([0.0, 0.55]), "u": 0.5, "n": 1.0, "phase": law.numbers["memory"]})
    for one in (made, back):
        after, outputs = one.step(state, Values({"interval": 3e-7}))
        assert outputs["spikes"].tolist() == [0.0, 1.0]
        assert 0.0 < outputs["latency"][1] < 3e-7
        assert after["phase"][1] == pytest.approx(3e-7 - outputs["latency"][1] - DEAD, rel=0.05)
        assert after["v"][1] == 0.0 < after["v"][0]
    with pytest.raises(InputError, match="has no parameter theta"):
        made.parameters.resolved(theta=1.0)


def test_without_spikes_there_is_no_neuron() -> None:
    quiet = simulated(1, mean=5e-6)
    with pytest.raises(FitError, match="times in all trains, and 10 are needed; drive it faster"):
        fit_neuron([quiet])


def test_matching_takes_each_spike_once() -> None:
    assert matched(np.array([1.0, 2.0]), np.array([1.04, 1.05, 2.2]), 0.1) == [(0, 0)]
    assert matched(np.array([1.0, 1.01]), np.array([1.0]), 0.1) == [(0, 0)]


TRUE = FilterLaw(5e-3, 2e-12, np.array([1.2e-11, 4e-10, 1e-10, 5e-10]))


def filtered(pre: float, post: float) -> FilterTrain:
    """The current of a translinear integrator by scipy, under two trains of pulses."""
    from scipy.integrate import solve_ivp

    pulses = [(4e-3 + pre * np.arange(8), 8e-4), (2e-3 + post * np.arange(8), 8e-4)]
    train = pulse_train(np.array([0.0, 0.1]), np.zeros(2), pulses, points=np.arange(1e-3, 0.1, 3e-3))
    path = [1.2e-11]
    for level, interval in zip(train.level, np.diff(train.begin), strict=True):

        def rate(t: float, i: np.ndarray, end: float = TRUE.ends[level]) -> np.ndarray:
            return (end - i) / (TRUE.tau * (1.0 + TRUE.threshold / i))

        path.append(solve_ivp(rate, (0.0, interval), [path[-1]], rtol=1e-9, atol=1e-18).y[0, -1])
    return FilterTrain(train.begin, train.level, np.array(path))


def test_a_filter_follows_its_equation_and_is_found_again() -> None:
    trains = [filtered(17e-3, 5.3e-3), filtered(6e-3, 6.3e-3)]
    for train in trains:
        assert np.max(np.abs(run_filter(TRUE, train) / train.state - 1.0)) < 1e-6
    found = fit_filter(trains, tau=4e-3)
    assert found.tau == pytest.approx(TRUE.tau, rel=1e-3)
    assert found.threshold == pytest.approx(TRUE.threshold, rel=0.02)
    assert found.ends == pytest.approx(TRUE.ends, rel=1e-3)
    held = filtered(9e-3, 7.1e-3)
    assert np.max(np.abs(run_filter(found, held) - held.state)) < 0.005 * held.state.max()
    back = FilterLaw.rebuilt(found.document(), found.arrays("law"), "law")
    assert np.array_equal(run_filter(back, held), run_filter(found, held))
    with pytest.raises(ValueError, match="numbers of a filter"):
        FilterLaw.rebuilt(found.document(), {**found.arrays("law"), "law_tau": np.array(-1.0)}, "law")


def test_levels_have_no_gaps() -> None:
    train = filtered(17e-3, 5.3e-3)
    odd = FilterTrain(train.begin, np.where(train.level == 1, 5, train.level), train.state)
    with pytest.raises(FitError, match="a level of the input does not occur"):
        fit_filter([odd], tau=4e-3)


@pytest.mark.spice
@pytest.mark.parametrize(
    ("old", "new", "words", "message"),
    [
        ("", "", ["--map", "lof"], "did you mean lif"),
        ('stimulus = "input"\nmembrane', 'stimulus = "imput"\nmembrane', [], "did you mean input"),
        ('stage = "v(xn.n1)"\n', "", [], "does not say which of its vectors remembers an input"),
        ('intervals = ["60 ns", "1 us"]', 'intervals = ["1 us", "60 ns"]', [], "leave no room for random trains"),
        ('analysis = "facilitated"\nstimulus', "stimulus", [], "does not say which analysis to take"),
        ('amplitude = "1.2 V"', 'amplitude = "1 mV"', ["--most-samples", "200"], "spikes 0 times in all trains"),
    ],
)
def test_bad_neurons(
    old: str, new: str, words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = resources.find("netlists", "ecram_feedback_stp.toml").read_text()
    assert old in text
    bench = tmp_path / "neuron.toml"
    bench.write_text(text.replace(old, new) if old else text)
    assert main(["surrogate", "train", str(bench), "-o", str(tmp_path / "x.npz"), *words]) in (1, 2)
    assert message in capsys.readouterr().err
    assert not (tmp_path / "x.npz").exists()


def spot_checked(neuron: Surrogate) -> net.NeuronCheck:
    """A neuron of a network, again in ngspice."""
    sources = net.Population("sources", 2, net.Regular(), net.Rate(rate=4e6))
    layer = net.Population("layer", 2, net.EventNeuron(neuron.with_(policy="warn", uncertified=True)))
    wires = net.Projection("sources", "layer", net.Ideal(), np.eye(2), mask=np.eye(2, dtype=bool))
    dt = 2e-6  # ms
    simulation = net.Simulation(net.Graph((sources, layer), (wires,), dt=dt))
    record = ["layer.input", "layer.fired"]
    with warnings.catch_warnings():
        # Trained on four trains only, its certificate has gaps between the stages of a spike and of rest.
        warnings.simplefilter("ignore", DomainWarning)
        answers = simulation.run({"sources": np.array([[0.6, 1.0]])}, steps=4000, key=1, record=record)
    bench, rng = NeuronBench.load("ecram_feedback_stp"), np.random.default_rng(0)
    with open_simulator() as simulator:
        return net.check_neurons(
            answers, "layer", lambda t: bench.record(t, simulator), count=1, dt=dt, rng=rng, against="ngspice"
        )


@pytest.mark.spice
@pytest.mark.slow
def test_a_neuron_of_a_bench(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "neuron.npz"
    figures = [tmp_path / "trained.png", tmp_path / "checked.png"]
    # 19 short trains, the fewest that allow an interval of 95 %
    words = ["--most-samples", "400", "--pulses", "840", "--limit", "latency=50%", "--limit", "energy=50%"]
    code = main(["surrogate", "train", "ecram_feedback_stp", "-o", str(file), *words, "--figure", str(figures[0])])
    shown = capsys.readouterr().out
    assert "trains of random spikes through the circuit of ecram_feedback_stp" in shown
    made = load(file)
    assert made.certificate is not None
    assert made.certificate.errors["spikes"].max <= 0.05  # four trains to learn from, held out from end to end
    assert made.certificate.errors["u"].max < 0.005
    assert code == (1 if made.certificate.broken else 0)
    assert "intervals   95 % after 10 events (19 runs): v ±" in shown
    assert "none after 1000 events; --rollouts 20" in shown
    assert 1e-7 < made.certificate.seconds_per_step < made.certificate.seconds_per_event
    state, inputs = {"v": 0.3, "u": 0.5, "n": 1.2, "phase": made.allowed("phase")[1]}, Values({"interval": 3e-7})
    after, outputs = made.step(Values({name: np.array([x]) for name, x in state.items()}), inputs)
    for events in (1, 10):
        for values in (after, outputs):
            low, high = made.interval(values, events=events)
            assert all(np.all(low[name] <= values[name]) and np.all(values[name] <= high[name]) for name in values)
    assert made.allowed("interval")[1] > 5e-6  # by rests
    again = main(["surrogate", "check", str(file), "--pulses", "100", "--json", "--figure", str(figures[1])])
    told = json.loads(capsys.readouterr().out)
    assert told["check"]["seed"] == "1"
    assert 290 <= told["check"]["pulses"] <= 300  # three trains at least, without spikes closer than the neuron tells
    assert told["check"]["data"] != told["certificate"]["data"] == made.certificate.data  # fresh trains
    assert told["check"]["limits"] == told["certificate"]["limits"]
    assert again == (0 if told["passed"] else 1 if told["check"]["broken"] or told["missed_intervals"] else UNSEEN)
    assert all(figure.read_bytes().startswith(b"\x89PNG") for figure in figures)
    assert spot_checked(made).f1 >= 0.95
    assert main(["surrogate", "check", str(file), "--against", "integration"]) == 2
    assert "has no equations" in capsys.readouterr().err


def test_a_compiled_neuron_is_the_law_to_rounding(law: NeuronLaw) -> None:
    pytest.importorskip("numba")
    rng, dead = np.random.default_rng(3), law.numbers["dead"]
    count = 1000  # not a whole number of blocks; compiling is what takes the seconds
    ranges = {"v": (0.0, 1.1 * float(law.flow.grid[-1])), "u": (0.0, 1.0), "n": law.stages,
              "phase": (-2.0 * dead, 1.2 * law.numbers["memory"]), "interval": (1e-9, 3e-6)}  # fmt: skip
    values = {name: rng.uniform(low, high, count) for name, (low, high) in ranges.items()}
    values["phase"][::3] = law.numbers["memory"]
    made, inputs = surrogate_of(law), Values({"interval": values["interval"]})
    state = Values({name: values[name].clip(*made.map.bounds(name)) for name in made.map.states})
    one, other = made.step(state, inputs), made.with_(compiled=True).step(state, inputs)
    assert 0.1 < one[1]["spikes"].mean() < 0.9
    for before, after in zip(one, other, strict=True):
        for name, column in before.items():
            assert after[name] == pytest.approx(column, rel=1e-12, abs=1e-12 * np.abs(column).max()), name


@pytest.mark.parametrize(("dtype", "rounding"), [("float64", 1e-12), ("float32", 1e-6)])
def test_a_compiled_filter_is_the_law_to_rounding(dtype: Literal["float32", "float64"], rounding: float) -> None:
    pytest.importorskip("numba")
    chosen = CircuitSet(
        CIRCUIT, "dpi", {}, inputs={"level": Field("1", (0.0, 3.0)), "interval": Field("s", (1e-6, 0.1))},
        states={"i": Field("A", (0.0, 6e-10))}, event="filter",
    )  # fmt: skip
    plain, rng = Surrogate(chosen, learned=TRUE), np.random.default_rng(4)
    made = plain.with_(compiled=True, dtype=dtype)
    state = Values({"i": rng.uniform(0.0, 6e-10, (3, 200))})  # not a whole number of blocks
    held = 10.0 ** rng.uniform(-6.0, -1.0, (3, 200))
    inputs = Values({"level": np.floor(rng.uniform(0.0, 4.0, 200)), "interval": held})
    (one, _), (other, _) = plain.step(state, inputs), made.step(state, inputs)
    assert other.i.dtype == dtype
    assert other.i == pytest.approx(one.i, rel=rounding, abs=rounding * float(one.i.max()))
    again = np.array(state.i, dtype=dtype)
    kept, _ = made.step(Values({"i": again}), inputs, out={"i": again})
    assert np.shares_memory(kept.i, again)
    assert np.array_equal(again, other.i)
    with pytest.raises(InputError, match=r"the level 1\.5 of the input is not one of the filter's"):
        made.step(Values({"i": again}), inputs.with_(level=1.5), out={"i": again})
    assert np.array_equal(again, other.i)  # nothing was written
