"""The benchmark of the surrogate, as a test: right to rounding, and not slower than the law written out."""

import importlib.util
from pathlib import Path

import pytest

_SPEC = importlib.util.spec_from_file_location("bench", Path(__file__).with_name("bench_surrogate_update.py"))
bench = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(bench)


@pytest.mark.benchmark
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("law", ["published", "rate"])
def test_update(law: str, dtype: str) -> None:
    row = bench.measure(law, dtype, pairs=12)
    # A few roundings of numbers up to 1, whichever way the powers are computed.
    assert row["max_difference"] < (1e-14 if dtype == "float64" else 1e-6)
    # 1.5 to 2.4 on a quiet machine (the benchmark's own figure); here only that nothing has been lost.
    assert row["ratio"] > 1.1


@pytest.mark.benchmark
@pytest.mark.parametrize(("dtype", "least"), [("float64", 2.0), ("float32", 1.5)])
def test_compiled_update(dtype: str, least: float) -> None:
    pytest.importorskip("numba")
    row = bench.measure("rate", dtype, pairs=12, compiled=True)
    assert row["max_difference"] < (1e-14 if dtype == "float64" else 1e-6)
    # 25 and 4 where numpy's own powers are vector instructions as well
    assert row["ratio"] > least
