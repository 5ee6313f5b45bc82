"""A limit is kept, broken, or it cannot be told: rounding is forgiven, and nothing else."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cosim.bench.measured import LIMIT_SLACK, Measured
from cosim.statistics.verdict import Verdict

PASS, FAIL, CANNOT_TELL = Verdict.PASS, Verdict.FAIL, Verdict.CANNOT_TELL


@pytest.mark.parametrize(
    ("values", "unit", "low", "high", "verdict"),
    [
        ([0.5], "1", None, None, None),
        ([0.5], "1", 0.0, 1.0, PASS),
        ([-4e-12, 1.0 + 4e-12], "1", 0.0, 1.0, PASS),
        ([-4e-9], "1", 0.0, None, FAIL),
        ([-4e-10, 1.0], "V", 0.0, None, PASS),
        ([-4e-12], "A", 0.0, None, FAIL),  # of a current of 4 pA that is all there is
        ([1e12, 50.0], "1", 100.0, None, FAIL),
        ([1e12, 50.0], "V", 100.0, None, FAIL),
        ([1e-15, 2e12], "S", 1e-12, None, FAIL),
        ([np.inf], "V", 100.0, None, CANNOT_TELL),
        ([np.inf], "V", None, 100.0, CANNOT_TELL),
        ([np.nan, 1.0], "V", 0.0, 2.0, CANNOT_TELL),
        ([np.nan, 3.0], "V", 0.0, 2.0, FAIL),
        ([], "V", 0.0, 2.0, CANNOT_TELL),
        ([], "V", None, None, None),
    ],
)
def test_the_verdict_on_values(
    values: list[float], unit: str, low: float | None, high: float | None, verdict: Verdict | None
) -> None:
    found = Measured(np.array(values, dtype=float), unit, low, high)
    assert found.verdict is verdict
    assert found.passed is {PASS: True, FAIL: False}.get(verdict)


finite = st.floats(-1e15, 1e15).filter(lambda x: x == 0.0 or abs(x) > 1e-15)


@given(
    values=st.lists(finite, min_size=1, max_size=5), low=finite.filter(bool), more=st.lists(finite, max_size=5),
)  # fmt: skip
def test_no_value_forgives_another(values: list[float], low: float, more: list[float]) -> None:
    """A value that breaks a limit other than 0 breaks it in any company, and by more than rounding."""
    alone = Measured(np.array(values), "V", low).verdict
    together = Measured(np.array(values + more), "V", low).verdict
    if alone is FAIL:
        assert together is FAIL
        assert min(values) < low
    else:
        assert min(values) >= low - 2.0 * LIMIT_SLACK * max(abs(low), *map(abs, values))
