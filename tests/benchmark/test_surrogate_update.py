"""The benchmark of the surrogate, as a test: right to rounding. Its speed is what `measure surrogates` is for."""

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
    # A few roundings of numbers up to 1, whichever way the powers are computed.
    assert bench.measure(law, dtype, pairs=3)["max_difference"] < (1e-14 if dtype == "float64" else 1e-6)


@pytest.mark.benchmark
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_compiled_update(dtype: str) -> None:
    pytest.importorskip("numba")
    row = bench.measure("rate", dtype, pairs=3, compiled=True)
    assert row["max_difference"] < (1e-14 if dtype == "float64" else 1e-6)
