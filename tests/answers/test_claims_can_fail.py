"""A claim can contradict the result: what would have passed unseen breaks a limit."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

import numpy as np
import pytest

from claims.coverage_claim import summary
from claims.coverage_rows import Draw
from claims.fits import worse_than_polynomial
from claims.mutations import MUTATIONS, RUN_AWAY, failures, laws
from claims.next_measurement import NEXT, lacking
from claims.surrogate_targets import missed
from claims.surrogates_cells import LIMITS, SPEED_UPS, TARGETS, Loop, covered, independent, independent_runs, verdict
from claims.surrogates_kinds import BENCHES, ERRORS, NEURONS, SURROGATE_KINDS
from claims.wires import WIRES_CLAIM, apart
from cosim.bench.events import BenchMap
from cosim.devices.registry import device
from cosim.parameters import ParameterSet
from cosim.surrogate.certify import certify
from cosim.surrogate.model import Surrogate
from cosim.surrogate.neuron_bench import LIMITS as OF_NEURONS
from cosim.surrogate.neuron_bench import SPIKES


def test_a_mutation_that_stops_every_bench_is_not_left_out_in_silence() -> None:
    figures = failures({"a": {RUN_AWAY[0], "x.k", "y.k"}, "b": {"x.k"}}, {"a": set(), "b": {"y.k"}})
    assert figures == {"runs_failed": 4, "failed_wherever_run": [RUN_AWAY[0], "x.k"], "failed_unexpectedly": 1}
    assert [line for line in MUTATIONS.judge(figures) if "unexpectedly" in line and "not measured" not in line]


def test_the_laws_that_may_run_away_exist() -> None:
    made = {name for kind in ("stc_equations", "stc_synapse") for name, _ in laws(device(kind))}
    assert set(RUN_AWAY) <= made


@pytest.mark.parametrize(
    ("share", "runs", "said"),
    [
        (0.95, 30, "cannot tell"),
        (0.83, 30, "cannot tell"),
        (0.80, 30, "below"),
        (0.95, 2000, "cannot tell"),
        (0.95, 4000, "holds"),
        (0.99, 4000, "above"),
        (0.90, 2000, "below"),
    ],
)
def test_a_coverage_is_judged_by_the_runs_that_there_are(share: float, runs: float, said: str) -> None:
    assert verdict(share, runs) == said


def test_events_of_one_train_count_as_far_as_they_differ() -> None:
    rng = np.random.default_rng(0)
    train = np.repeat(np.arange(40), 100)
    assert independent_runs(np.repeat(rng.random(40) < 0.8, 100), train) == pytest.approx(40.0)
    assert independent_runs(rng.random(4000) < 0.8, train) > 1000.0


def test_a_quantity_in_another_unit_counts_once() -> None:
    w, energy = np.random.default_rng(0).standard_normal((2, 100))
    assert independent({"w": w, "conductance": 2e-4 * w, "energy": energy}) == ["w", "energy"]


def test_intervals_that_are_too_narrow_are_not_said_to_hold() -> None:
    plain, loop = Surrogate(ParameterSet.load("tio2")), Loop()
    first, _ = certify(plain, loop, pulses=500, rollouts=80, seed=0)
    _, fresh = certify(plain, loop, pulses=500, rollouts=80, seed=1)
    assert first.certificate is not None
    whole = covered(first.certificate.bands, fresh, label="loop")
    assert whole["intervals_loop"] == 8
    assert whole["intervals_below_loop"] == whole["intervals_undecided_soon_loop"] == 0
    assert {"w after 1000", "energy after 1000"} <= set(whole["cannot_tell_loop"])
    narrow = [
        replace(band, widths=MappingProxyType({n: tuple(0.7 * x for x in w) for n, w in band.widths.items()}))
        for band in first.certificate.bands
    ]
    told = covered(narrow, fresh, label="loop")
    assert told["intervals_below_loop"] >= 2


def test_a_neuron_is_asked_for_no_less_than_its_certificate_is() -> None:
    for name in NEURONS:
        assert SURROGATE_KINDS.limits[f"{name}_f1"] == (pytest.approx(1.0 - OF_NEURONS[SPIKES]), None)
        for error in ("latency", "energy"):
            assert SURROGATE_KINDS.limits[f"{name}_{error}_p95_percent"] == (None, 100.0 * OF_NEURONS[error])


@pytest.mark.parametrize("name", BENCHES)
def test_every_state_and_output_of_a_bench_has_a_target(name: str) -> None:
    event_map = BenchMap.load(BENCHES[name].bench)
    for entry in (*event_map.states, *event_map.outputs):
        assert f"{name}_{entry}" in ERRORS
    assert f"{name}_speed_up" in SURROGATE_KINDS.limits


def test_a_target_that_is_missed_is_named_and_breaks_the_claim() -> None:
    figures = {name: (low if low is not None else high or 7.0) for name, (low, high) in SURROGATE_KINDS.limits.items()}
    assert SURROGATE_KINDS.judge(figures) == []
    assert missed(figures, SURROGATE_KINDS.limits) == {}
    figures |= {"delay_lif_f1": 0.965, "feedback_lif_latency_p95_percent": 2.4}
    del figures["stc_dpi_state_max_percent"]  # the worst has no target, but is stated
    assert len(SURROGATE_KINDS.judge(figures)) == 3
    assert missed(figures, SURROGATE_KINDS.limits) == {
        "delay_lif_f1": "0.965, target at least 0.98",
        "feedback_lif_latency_p95_percent": "2.4, target at most 2",
        "stc_dpi_state_max_percent": "not measured",
    }


def test_the_cell_is_held_to_its_targets_and_says_which_it_misses_without_a_claim() -> None:
    assert {name for name, target in TARGETS.items() if LIMITS[name] != target} == {*SPEED_UPS}
    assert missed(dict.fromkeys(TARGETS, 3000.0), {"speed_up_float64": TARGETS["speed_up_float64"]}) == {
        "speed_up_float64": "3000, target at least 100000"
    }


def test_the_answer_after_a_change_is_judged_and_not_only_its_time() -> None:
    assert {"changed_apart", "large_residual_share"} <= WIRES_CLAIM.limits.keys()
    assert apart(np.array([1.0, np.nan]), np.ones(2)) == np.inf
    assert apart(np.array([1.0, 1.1]), np.ones(2)) == pytest.approx(0.1)


@pytest.mark.parametrize(("held", "of", "lack"), [(95, 100, 0), (85, 100, 4), (20, 20, 0), (15, 20, 1)])
def test_too_few_intervals_that_hold_are_counted(held: int, of: int, lack: int) -> None:
    assert lacking([k < held for k in range(of)]) == lack


def test_open_intervals_alone_do_not_make_the_claim() -> None:
    figures = {"halved": 1.0, "held": 1.0, "held_lacking": 0, "open_share": 0.9}
    assert NEXT.judge(figures) == ["open_share = 0.9, claimed open_share <= 0.5"]


def test_a_parameter_whose_intervals_are_too_few_is_named() -> None:
    draws = [
        Draw(k, {"a": k % 20 > 0, "b": True}, {"b": "interval" if k < 20 else "not identifiable"}) for k in range(1000)
    ]
    assert summary(draws)["too_few_intervals"] == ["b"]
    assert summary(draws)["verdict"] == "inside"


def test_a_single_interval_that_misses_convicts_nobody() -> None:
    draws = [
        Draw(k, {"a": k % 20 > 0, "b": k > 0}, {"b": "identifiable" if k == 0 else "not identifiable"})
        for k in range(1000)
    ]
    assert summary(draws)["verdict"] == "inside"


@pytest.mark.parametrize("wrong", [range(14), range(20, 140)])
def test_a_parameter_with_few_intervals_is_convicted_by_these_or_by_all_draws(wrong: range) -> None:
    draws = [
        Draw(k, {"a": k % 20 > 0, "b": k not in wrong}, {"b": "identifiable" if k < 20 else "not identifiable"})
        for k in range(1000)
    ]
    assert summary(draws)["verdict"] == "outside"


def test_a_curve_that_a_polynomial_predicts_better_is_named() -> None:
    rows = {"a": {"cosim": 0.01, "polynomial": 0.02}, "b": {"cosim": 0.03, "polynomial": 0.02}}
    assert worse_than_polynomial({**rows, "c": {"cosim": float("nan"), "polynomial": 1.0}}) == ["b", "c"]
