"""A claim can contradict the result: what would have passed unseen breaks a limit."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

import numpy as np
import pytest

from claims.mutations import MUTATIONS, RUN_AWAY, failures, laws
from claims.surrogates_cells import Loop, covered, independent, independent_runs, verdict
from cosim.devices.registry import device
from cosim.parameters import ParameterSet
from cosim.surrogate.certify import certify
from cosim.surrogate.model import Surrogate


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
        (0.95, 2000, "holds"),
        (1.0, 2000, "holds"),
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
    first, _ = certify(plain, loop, pulses=500, rollouts=30, seed=0)
    _, fresh = certify(plain, loop, pulses=500, rollouts=30, seed=1)
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
