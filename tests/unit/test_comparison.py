"""Rows of a comparison: verdicts are computed, and only a source or an oracle can agree."""

from __future__ import annotations

import numpy as np
import pytest

from cosim.bench.file import Limit
from cosim.bench.measured import Measured
from cosim.bench.result import BenchResult
from cosim.bench.testbench import Testbench
from cosim.errors import InputError
from cosim.report.comparison import Row, Yardstick, listed, oracle, rows_of, source

FEMTO = 1e-15
TENTH = {"relative": 0.1, "reason": "our choice"}


@pytest.mark.parametrize(
    ("measured", "against", "verdict"),
    [
        (1.25 * FEMTO, source("Table 1", 1.2 * FEMTO, **TENTH), "agrees"),
        (0.12 * FEMTO, source("Table 1", 1.2 * FEMTO, **TENTH), "differs"),  # smaller is not the same
        ([1.2, 0.8], oracle("closed form", [1.2, 0.8], **TENTH), "agrees"),
        ([1.2, 1.2], oracle("closed form", [1.2, 0.8], **TENTH), "differs"),
        ([1.0, 9.0], source("Eq. 6", 1.0, **TENTH), "differs"),  # all values count
        (0.04, source("Eq. 6", 0.0, absolute=0.05, reason="our choice"), "agrees"),
        (1.0, source("abstract", below=1.0, statement="falls"), "differs"),
        (0.9, source("abstract", above=0.5, below=1.0, statement="falls"), "agrees"),
        (0.9, source("abstract", statement="is modulated"), "cannot tell"),
        (np.nan, source("Table 1", 1.0, **TENTH), "cannot tell"),
        ([], source("Table 1", 1.0, **TENTH), "cannot tell"),
        (1.0, None, "our choice"),
    ],
)
def test_a_verdict_is_computed(measured: float, against: Yardstick | None, verdict: str) -> None:
    assert Row("x", measured, against).verdict == verdict


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"place": ""}, "needs its place"),
        ({"place": "Table 1", "value": 1.0}, "tolerance and its reason"),
        ({"place": "Table 1", "value": 1.0, "relative": 0.1}, "tolerance and its reason"),
        ({"place": "Table 1", "above": 0.0}, "the statement that sets it"),
    ],
)
def test_a_reference_says_where_it_is_from_and_why_so_near(given: dict[str, object], says: str) -> None:
    with pytest.raises(InputError, match=says):
        Yardstick("source", **given)


def test_a_row_in_words() -> None:
    measured = Measured(np.array([0.81e-6]), "uS")
    row = Row("G_h", measured, source("Fig. 1(b)", 0.8e-6, absolute=0.05e-6, reason="one digit"), note="read at 20 mV")
    cells = ("G_h", "source, Fig. 1(b): 800 nS", "810 nS", "agrees", "within 50 nS: one digit; read at 20 mV")
    assert row.cells() == cells
    assert Row("x", [1.0, np.nan], unit="V").cells() == ("x", "", "1 V, not measured", "our choice", "")
    assert listed(np.arange(5.0), "s") == "0 s … 4 s"
    bench = Row("error", Measured(np.array([0.006]), "%", low=-0.005, high=0.02), Limit(origin="oracle", reason="x"))
    assert bench.cells()[1:3] == ("oracle: -0.5 % … 2 %", "0.6 %")


@pytest.mark.parametrize(
    ("origin", "values", "verdict"),
    [
        ("source", [0.5, 1.0], "agrees"),
        ("oracle", [0.5, 1.1], "differs"),
        ("source", [np.nan], "cannot tell"),
        ("oracle", [], "cannot tell"),
        ("our choice", [0.5], "our choice: kept"),
        ("our choice", [2.0], "our choice: broken"),
        (None, [0.5], "our choice: kept"),
    ],
)
def test_the_limit_of_a_bench_is_a_row(origin: str | None, values: list[float], verdict: str) -> None:
    limit = Limit.model_validate({"min": 0.0, "max": 1.0, "origin": origin, "reason": "Eq. 6" if origin else ""})
    row = Row("x", Measured(np.array(values), "V", 0.0, 1.0), limit)
    assert row.verdict == verdict
    assert row.cells()[1] == f"{origin or 'our choice'}: 0 V … 1 V"
    assert row.cells()[4] == ("Eq. 6" if origin else "")


def test_a_run_has_a_row_for_each_limit_even_for_a_measure_that_is_missing() -> None:
    bench = Testbench.load("quantum_dot_loop")
    limits = bench.file.limits
    assert limits["pinch"].origin == "our choice"
    pinch = Measured(np.array([1e-4]), "1", None, 1e-3)
    rows = rows_of(BenchResult(bench, (), {"pinch": pinch}, {"ratio": "no crossing"}), {"pinch": "current at 0 V"})
    assert [row.against for row in rows] == list(limits.values())
    assert [row.verdict for row in rows] == ["our choice: kept"] + ["cannot tell"] * (len(limits) - 1)
    assert rows[0].quantity == "quantum_dot_loop: current at 0 V"
    assert next(row for row in rows if row.quantity.endswith(": ratio")).cells()[4].endswith("; no crossing")


def test_a_parameter_that_is_read_back_does_not_agree() -> None:
    limits = Testbench.load("quantum_dot_loop").file.limits
    assert all(limits[name].origin == "our choice" for name in ("g_high", "g_low", "ratio"))
