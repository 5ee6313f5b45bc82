"""A claim can contradict the result: what would have passed unseen breaks a limit."""

from __future__ import annotations

from claims.mutations import MUTATIONS, RUN_AWAY, failures, laws
from cosim.devices.registry import device


def test_a_mutation_that_stops_every_bench_is_not_left_out_in_silence() -> None:
    figures = failures({"a": {RUN_AWAY[0], "x.k", "y.k"}, "b": {"x.k"}}, {"a": set(), "b": {"y.k"}})
    assert figures == {"runs_failed": 4, "failed_wherever_run": [RUN_AWAY[0], "x.k"], "failed_unexpectedly": 1}
    assert [line for line in MUTATIONS.judge(figures) if "unexpectedly" in line and "not measured" not in line]


def test_the_laws_that_may_run_away_exist() -> None:
    made = {name for kind in ("stc_equations", "stc_synapse") for name, _ in laws(device(kind))}
    assert set(RUN_AWAY) <= made
