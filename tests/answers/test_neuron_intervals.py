"""Prediction intervals of event neurons: a train is the unit, and what was tested of a state that jumps has a gap."""

from __future__ import annotations

import math
from dataclasses import replace
from types import MappingProxyType

import numpy as np
import pytest

from claims.exports_subjects import SUBJECTS
from cosim.devices.base import Values
from cosim.devices.maps import Field
from cosim.errors import DomainError
from cosim.surrogate.base import Certificate, Domain, DomainWarning
from cosim.surrogate.certify import updates_per_second
from cosim.surrogate.conformal import LEVELS, Band, half_width
from cosim.surrogate.model import Surrogate
from cosim.surrogate.neuron import NeuronLaw, SpikeTrain, run_neurons
from cosim.surrogate.neuron_runs import INPUTS, errors_after, held_out_trains, piece_errors
from cosim.surrogate.neuron_trains import REST, run_spikes
from cosim.surrogate.recheck import broken_intervals
from cosim.surrogate.summary import ErrorSummary, Rollout
from cosim.surrogate.trains import covered_parts

INTERVALS = (6e-8, 1e-6)


@pytest.fixture(scope="module")
def lif() -> Surrogate:
    (subject,) = (one for one in SUBJECTS if one.name == "lif neuron")
    return subject.plain()


def of_law(law: NeuronLaw, inputs: np.ndarray) -> SpikeTrain:
    """A circuit that follows the law, as its waveforms at the inputs."""
    none = np.zeros(0)
    empty = SpikeTrain(inputs, inputs[[0, -1]], np.zeros(2), np.zeros(2), none, none, none, kick=5e-9)
    (path,) = run_neurons(law, [empty])
    last = law({name: path[name][-1:] for name in ("v", "u", "n", "phase")} | {"interval": empty.intervals[-1:]})
    at = {name: np.append(path[name], path[name][-1] + last[name]) for name in ("v", "u", "n", "phase")}
    fires = np.flatnonzero(path["spikes"] > 0.0)
    spikes = inputs[fires] + path["latency"][fires]
    ready = np.where(at["phase"][fires + 1] < law.numbers["memory"], inputs[fires + 1] - at["phase"][fires + 1],
                     spikes + law.numbers["dead"])  # fmt: skip
    for k, (one, two) in enumerate(zip(fires, [*fires[1:], inputs.size], strict=True)):  # inputs that put it off
        inside = [j for j in range(one + 2, two + 1) if j < inputs.size and at["phase"][j - 1] < 0.0]
        if inside and at["phase"][inside[-1]] < law.numbers["memory"]:
            ready[k] = inputs[inside[-1]] - at["phase"][inside[-1]]
    drawn = np.concatenate([[0.0], np.cumsum(path["energy"])])
    return SpikeTrain(inputs, inputs, at["v"], drawn, spikes, ready, ready, at["u"], at["n"], kick=5e-9)


def runs_of(law: NeuronLaw, *, seed: int, count: int, length: int = 10) -> list[SpikeTrain]:
    rng = np.random.default_rng(seed)
    return [
        of_law(law, run_spikes(rng, intervals=INTERVALS, count=INPUTS[length], rests=length == 10))
        for _ in range(count)
    ]


def test_a_law_follows_a_circuit_of_its_own_without_error(lif: Surrogate) -> None:
    law = lif.learned
    assert isinstance(law, NeuronLaw)
    trains = runs_of(law, seed=1, count=6)
    assert any(np.any(train.phase(train.inputs) < 0.0) for train in trains)  # inputs come within spikes too
    longer = runs_of(law, seed=2, count=2, length=100)
    found = dict([*piece_errors(lif, trains, [1, 10]), *piece_errors(lif, longer, [100, 1000])])
    assert list(found) == [1, 10, 100]
    scales = {"v": 1.0, "u": 1.0, "n": 1.0, "phase": 1e-7, "spikes": 1.0, "latency": 1e-7, "energy": 1e-13}
    for length, errors in found.items():
        of = longer if length == 100 else trains
        assert [one.size for one in errors["v"]] == [train.intervals.size - length + 1 for train in of]
        for name, values in errors.items():
            assert np.max(np.abs(np.concatenate(values))) < 1e-6 * scales[name], (length, name)
    spikes = sum(int(train.spikes.size) for train in trains)
    assert sum(one.size for one in found[1]["latency"]) == spikes > 10
    assert sum(one.size for one in found[1]["phase"]) < sum(one.size for one in found[1]["v"])  # not within spikes


def test_errors_are_those_of_so_many_events_from_the_circuit_s_state(lif: Surrogate) -> None:
    law = lif.learned
    assert isinstance(law, NeuronLaw)
    (train,) = runs_of(law, seed=3, count=1)
    more = 1e-3
    other = lif.with_(
        learned=replace(law, numbers=MappingProxyType({**law.numbers, "step": law.numbers["step"] + more}))
    )
    found = dict(piece_errors(other, [train], [1, 10]))
    u, left = train.at(train.inputs)["u"], np.exp(-train.intervals / law.numbers["tau"])
    assert found[1]["u"][0] == pytest.approx(more * (1.0 - u[:-1]) * left, rel=1e-9)
    by_hand = []
    for begin in range(train.intervals.size - 9):
        x = u[begin]
        for k in range(begin, begin + 10):
            x = (x + (law.numbers["step"] + more) * (1.0 - x)) * left[k]
        by_hand.append(x - u[begin + 10])
    assert found[10]["u"][0] == pytest.approx(by_hand, rel=1e-9)
    # of few trains one piece each: all of them would cover more than is asked for
    few = errors_after(other, {10: [train]})
    assert list(few) == [1, 10]
    assert few[10]["u"][0].size == 1
    assert few[10]["u"][0][0] in found[10]["u"][0]
    assert errors_after(other, {10: [train]}, seed=1)[1]["u"][0] != few[1]["u"][0]
    many = errors_after(other, {10: [train] * 99, 100: [train]})
    assert list(many) == [1, 10]  # a hundred events it has not
    assert many[10]["u"][5] == pytest.approx(by_hand, rel=1e-9)


def test_a_train_counts_once_however_many_events_it_has() -> None:
    rng = np.random.default_rng(0)
    one_each = [rng.normal(size=1) for _ in range(57)]
    for level in LEVELS:
        assert half_width(one_each, level) == half_width(np.concatenate(one_each), level)
    assert half_width([np.array([1.0, -2.0, 3.0])] * 18, 0.95) == math.inf  # 18 trains allow no 95 %
    # of 19 the largest: 1 / 20 lies beyond all of them
    assert half_width([np.array([0.1, -2.0 - k]) for k in range(19)], 0.95) == 20.0
    assert half_width([*one_each, np.zeros(0)], 0.9) == half_width(one_each, 0.9)  # a train without a spike
    # 99 units of two: the weights 1 / 200 of the largest 8 scores add up to 4 %, of nine to more than is left
    assert half_width([np.array([k, -k - 100.0]) for k in range(99)], 0.95) == 190.0


def test_intervals_cover_events_of_fresh_trains_that_share_errors() -> None:
    """Of 20 trains whose events are all but alike; as though events were exchangeable, 95 % would be fewer."""
    rng, trains, events, draws = np.random.default_rng(1), 20, 30, 3000
    shared = np.exp(rng.normal(size=(draws, trains + 1, 1)))
    errors = shared * rng.normal(1.0, 0.1, size=(draws, trains + 1, events))
    held, fresh = errors[:, :-1], errors[:, -1]
    ours = np.array([half_width(list(one), 0.95) for one in held])
    naive = np.quantile(np.abs(held.reshape(draws, -1)), 0.95, axis=1)
    covered = np.mean(np.abs(fresh) <= ours[:, None]), np.mean(np.abs(fresh) <= naive[:, None])
    error = 2.0 * math.sqrt(0.05 * 0.95 / draws)
    assert 0.95 - error < covered[0] < 0.95 + 2.0 / (trains + 1) + error
    assert covered[1] < 0.94


def test_intervals_that_do_not_keep_their_word_are_found_out() -> None:
    rng = np.random.default_rng(2)

    def trains(scale: float) -> dict[str, tuple[np.ndarray, ...]]:
        return {"v": tuple(scale * rng.normal() + 0.1 * scale * rng.normal(size=20) for _ in range(100))}

    band = Band.of(trains(1.0), events=1)
    assert band.runs == 100
    assert broken_intervals([band], {1: trains(1.0)}) == ()
    (said,) = broken_intervals([band], {1: trains(3.0)})
    assert said.startswith("the 95 % interval of v after 1 event covers ")
    assert said.endswith(" of 100 fresh answers")


def test_runs_rest_once_and_have_means_of_their_own() -> None:
    rng = np.random.default_rng(3)
    drawn = [np.diff(run_spikes(rng, intervals=INTERVALS, count=200, rests=True)) for _ in range(40)]
    assert all(np.min(one) >= INTERVALS[0] for one in drawn)
    assert max(one.max() for one in drawn) <= REST * INTERVALS[1]
    rests = np.array([one.max() for one in drawn])
    assert np.quantile(rests, 0.75) > 10.0 * INTERVALS[1]  # evenly by the logarithm, from 1 to 40
    means = np.array([np.median(one) for one in drawn])
    assert means.max() > 2.0 * means.min()


def test_few_trains_calibrate_nothing_after_a_hundred_events(lif: Surrogate) -> None:
    def record(inputs: np.ndarray) -> SpikeTrain:
        """A circuit that never moves."""
        still, none = np.zeros(inputs.size), np.zeros(0)
        return SpikeTrain(inputs, inputs, still, still, none, none, none, kick=5e-9)

    few = held_out_trains(record, INTERVALS, trains=3, stretches=4, seed=0)
    assert (len(few.trains), [(length, len(runs)) for length, runs in few.runs.items()]) == (3, [(10, 4)])
    assert len(few.all) == 7
    many = held_out_trains(record, INTERVALS, trains=20, stretches=20, seed=0)
    assert [(length, len(runs)) for length, runs in many.runs.items()] == [(10, 20), (100, 20)]
    assert len(many.all) == 40
    bands = [Band.of(errors, events=length) for length, errors in errors_after(lif, many.runs).items()]
    assert [band.events for band in bands] == [1, 10, 100]
    assert all(len(band.widths["v"]) == 3 for band in bands)  # 20 trains allow 95 %, and no 99 %
    assert "20 of 22 events and 20 of 112 events at most, each of which counts once" in many.said(bands)[0]
    assert "none after 1000 events; --rollouts 20" in many.said(bands)[1]
    other = held_out_trains(record, INTERVALS, trains=3, stretches=4, seed=1)
    assert not np.array_equal(other.runs[10][0].inputs, few.runs[10][0].inputs)


def test_a_state_that_jumps_is_certified_at_both_of_its_ends() -> None:
    entry = Field("V", (0.0, 1.0))
    tested = np.array([40, 6, 5, 0, 4, 0, 0, 5, 1, 300])
    hull, gaps = covered_parts(entry, tested, name="n")
    assert hull == (0.0, 1.0)
    assert [tuple(np.round(gap, 12)) for gap in gaps] == [(0.3, 0.7), (0.8, 0.9)]
    assert covered_parts(entry, np.array([0, 9, 9, 9, 0, 0, 0, 0, 0, 0]), name="n") == ((0.1, 0.4), ())


def certified(lif: Surrogate) -> Surrogate:
    domain = Domain(
        {"interval": (6e-8, 3e-6)}, {name: entry.range for name, entry in lif.map.states.items()},
        units={"n": "V"}, gaps={"n": ((0.3, 0.7),)},
    )  # fmt: skip
    made = Certificate(
        errors={"v": ErrorSummary(1e-3, 1e-4, 1.0, "V")}, rollout=Rollout((1,), (1e-3,), (1e-4,), 1), domain=domain,
        pulses=10, against="test", reference="a circuit", extraction="included", limits={"v": 0.01}, netlist="",
        data="", parameters="", surrogate=lif.fingerprint(), tolerances={}, seed="0", made="now", version="0",
        seconds_per_event=4e-2, seconds_per_step=5e-6,
    )  # fmt: skip
    return lif.with_(certificate=made)


def test_a_gap_of_a_domain_is_outside_of_it(lif: Surrogate) -> None:
    made = certified(lif)
    x = {"v": np.zeros(2), "u": np.zeros(2), "phase": np.full(2, 1e-7)}
    made.step(Values({**x, "n": np.array([0.1, 0.9])}), Values({"interval": 1e-7}))
    middle = Values({**x, "n": np.array([0.1, 0.5])})
    with pytest.raises(DomainError, match=r"state n = 0.5 V is outside the certified .* V but for 0.3..0.7"):
        made.step(middle, Values({"interval": 1e-7}))
    with pytest.warns(DomainWarning, match="state n = 0.5 V"):
        made.with_(policy="warn").step(middle, Values({"interval": 1e-7}))
    assert any(said.endswith("but for 0.3..0.7") for said in made.uncovered())
    assert made.certificate is not None
    assert made.certificate.domain.clear("n", np.array([0.1, 0.5, 0.9])).tolist() == [0.1, 0.3, 0.9]
    assert updates_per_second(made, shape=(2, 10), seconds=0.01) > 0.0  # it draws states outside of the gap
    assert Certificate.from_dict(made.certificate.to_dict()) == made.certificate
    (said,) = (line for line in made.certificate.lines() if line.startswith("time"))
    assert "an event takes 5 µs of a core" in said
    assert said.endswith(" for one more in the reference: 8e+03 x")
