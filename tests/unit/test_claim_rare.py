"""The claim on rare failures breaks where an estimate misses the counted value, or says too little to miss it."""

from dataclasses import replace

import pytest

from claims.rare import RARE, _figures
from cosim.statistics.rare import RareFailure, nothing

LOW, HIGH = 1.0e-3, 1.6e-3
GOOD = RareFailure("importance", 1.3e-3, 1.1e-3, 1.6e-3, 0.95, 1500, 400, trusted=True)
WIDE = RareFailure("scaled-sigma", 1.0e-3, 1.0e-5, 2.0e-2, 0.95, 1500, 200, trusted=False, why="wide")


def broken(importance: list[RareFailure], scaled: list[RareFailure]) -> str:
    figures = {"counted_failed": 37} | _figures("importance", importance, LOW, HIGH)
    return "; ".join(RARE.judge(figures | _figures("scaled_sigma", scaled, LOW, HIGH)))


def test_it_holds_and_says_how_wide_scaled_sigma_is() -> None:
    assert broken([GOOD] * 3, [WIDE] * 3) == ""
    assert _figures("scaled_sigma", [WIDE] * 3, LOW, HIGH)["scaled_sigma_decades"] == pytest.approx(3.301, abs=1e-3)


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (replace(GOOD, probability=3e-3, low=2.5e-3, high=3.6e-3), "importance_overlaps"),
        (replace(GOOD, low=5e-4, high=3e-3), "importance_factor"),
        (replace(GOOD, trusted=False, why="few"), "importance_trusted"),
        (nothing("importance", "none", level=0.95, evaluated=9), "importance_told"),
    ],
)
def test_one_bad_seed_breaks_it(bad: RareFailure, says: str) -> None:
    assert says in broken([GOOD, bad, GOOD], [WIDE] * 3)


def test_scaled_sigma_has_to_hold_the_value() -> None:
    assert "scaled_sigma_overlaps" in broken([GOOD] * 3, [WIDE, replace(WIDE, low=2e-3), WIDE])
