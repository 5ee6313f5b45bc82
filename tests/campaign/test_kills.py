"""Campaigns that are killed at random moments lose nothing; `measure kills` does it ten times as often."""

import pytest

from cosim.claims.kills import KINDS, disturb


@pytest.mark.spice
@pytest.mark.slow
def test_twenty_kills() -> None:
    found = disturb(20, seed=4, tell=lambda _: None)
    print(found)
    assert found["kills"] == 20
    assert sum(found[f"kills_{kind}"] for kind in KINDS) == 20
    assert found["why"] == []
    wrong = ("lost", "doubled", "half_written", "changed", "missing", "different", "orphans", "unexplained")
    assert {name: found[name] for name in wrong} == dict.fromkeys(wrong, 0)
    assert found["rows"] == 150 * found["campaigns"]
