"""Validation: the three verdicts, corners, samples, baseline, JUnit."""

import json
from pathlib import Path
from xml.etree import ElementTree as Xml

import pytest

from cosim.errors import InputError
from cosim.spice.engines import open_simulator
from cosim.spice.pyspice import PySpiceSimulator
from cosim.spice.testbench import Testbench
from cosim.validate import Verdict, compare, find_benches, junit, read_baseline, validate_all, validate_bench

pytestmark = pytest.mark.spice

RC = """title = "RC"
circuit = "V1 a 0 PULSE(0 {v} 10n 1n 1n 1 2)\\nR1 a b {r}\\nC1 b 0 1n"
[parameters]
v = "1 V"
r = "1 kOhm"
[analysis]
kind = "tran"
stop = "3 us"
max_step = "{step}"
[measures.end]
kind = "final"
of = "v(b)"
unit = "V"
[measures.level]
kind = "at"
of = "v(b)"
at = "{at}"
unit = "V"
[limits]
end = {{ min = "{low}", max = "1.1 V" }}
"""


@pytest.fixture(scope="module")
def simulator() -> PySpiceSimulator:
    with open_simulator(workers=2) as opened:
        yield opened


def bench(folder: Path, tail: str = "", **given: str) -> Testbench:
    path = folder / "rc.toml"
    values = {"v": "{v}", "r": "{r}", "step": "10 ns", "at": "1 us", "low": "0.9 V", **given}
    path.write_text(RC.format(**values) + tail)
    return Testbench.load(path)


def test_pass(tmp_path: Path, simulator: PySpiceSimulator) -> None:
    report = validate_bench(bench(tmp_path), simulator)
    (spec,) = report.specs
    assert (spec.verdict, spec.corner, spec.why) == (Verdict.PASS, "nominal", "")
    # 1 − exp(−3) after 3 µs of a 1 µs time constant, less the 10 ns of delay
    assert spec.largest == pytest.approx(0.9498, abs=1e-3)
    assert spec.moved is not None
    assert spec.moved < 1e-3


def test_fail_names_the_value(tmp_path: Path, simulator: PySpiceSimulator) -> None:
    report = validate_bench(bench(tmp_path, low="0.99 V"), simulator)
    assert report.verdict is Verdict.FAIL
    assert "949" in report.specs[0].why


def test_corners_change_the_verdict(tmp_path: Path, simulator: PySpiceSimulator) -> None:
    tail = '[corners.slow]\nparameters = { r = "5 kOhm" }\n[corners.hot]\ntemperature = 125\n'
    report = validate_bench(bench(tmp_path, tail), simulator)
    assert {spec.corner: spec.verdict for spec in report.specs} == {
        "nominal": Verdict.PASS, "slow": Verdict.FAIL, "hot": Verdict.PASS,
    }  # fmt: skip


def test_samples_give_a_yield(tmp_path: Path, simulator: PySpiceSimulator) -> None:
    tail = '[monte_carlo]\nsamples = 30\nseed = 3\nyield_min = 0.5\nparameters = { r = { relative = "30 %" } }\n'
    first, second = (validate_bench(bench(tmp_path, tail), simulator).specs[-1] for _ in range(2))
    assert first == second
    assert first.corner == "Monte Carlo"
    assert "yield" in first.why
    # v_end = 1 − exp(−3/(1 + 0.3 z)) > 0.9 for z < 1.01: 84 % of the samples; 30 samples stay above one half
    assert first.verdict is Verdict.PASS
    assert first.smallest is not None
    assert first.smallest < 0.9


def test_a_measure_that_moves_cannot_be_told(tmp_path: Path, simulator: PySpiceSimulator) -> None:
    """An oscillator that a coarse step damps: the measure depends on the step, and the verdict says so."""
    path = tmp_path / "lc.toml"
    path.write_text(
        'title = "LC"\ncircuit = """L1 a 0 1u\nC1 a 0 1n\nI1 0 a PULSE(1m 0 5n 1n 1n 1 2)"""\n'
        '[analysis]\nkind = "tran"\nstop = "20 us"\nmax_step = "40 ns"\n'
        '[options]\nreltol = 0.1\nmethod = "gear"\ntrtol = 40\n'
        '[measures.ring]\nkind = "swing"\nof = "v(a)"\nstart = "15 us"\nunit = "V"\n'
        '[limits]\nring = { min = "1 uV" }\n'
    )
    spec = validate_bench(Testbench.load(path), simulator).specs[0]
    assert spec.verdict is Verdict.CANNOT_TELL
    assert "tightened" in spec.why


def test_not_converged_cannot_be_told_and_the_next_bench_runs(tmp_path: Path, simulator: PySpiceSimulator) -> None:
    good = tmp_path / "rc.toml"
    bench(tmp_path)
    bad = tmp_path / "bad.toml"
    bad.write_text(
        'title = "loop"\ncircuit = "V1 a 0 1\\nV2 a 0 2"\n[analysis]\nkind = "op"\n'
        '[measures.i]\nkind = "final"\nof = "i(v1)"\nunit = "A"\n[limits]\ni = { max = "1 A" }\n'
    )
    broken = tmp_path / "broken.toml"
    broken.write_text("title = ")
    done = validate_all([bad, broken, good], simulator)
    assert [report.verdict for report in done.reports] == [Verdict.CANNOT_TELL, Verdict.CANNOT_TELL, Verdict.PASS]
    assert not done.passed
    assert done.reports[0].specs[0].smallest is None
    assert "no TOML" in done.reports[1].error


def test_junit_counts(tmp_path: Path, simulator: PySpiceSimulator) -> None:
    tail = '[corners.slow]\nparameters = { r = "5 kOhm" }\n'
    bench(tmp_path, tail)
    root = Xml.fromstring(junit(validate_all([tmp_path / "rc.toml"], simulator, trust=False)))
    (suite,) = root
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("2", "1", "0")


def test_baseline(tmp_path: Path, simulator: PySpiceSimulator) -> None:
    bench(tmp_path)
    path = tmp_path / "rc.toml"
    before = validate_all([path], simulator, trust=False)
    stored = tmp_path / "base.json"
    stored.write_text(json.dumps(before.to_dict()))
    assert compare(before, read_baseline(stored)).changes == ()
    bench(tmp_path, r="5k")
    after = compare(validate_all([path], simulator, trust=False), read_baseline(stored))
    assert "rc/nominal/end: pass became fail" in after.changes
    stored.write_text("[]")
    with pytest.raises(InputError, match="cosim validate"):
        read_baseline(stored)


def test_places(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no bench"):
        find_benches([tmp_path])
    with pytest.raises(InputError, match="did you mean 1t1r"):
        find_benches(["1t1r_writ"])
    assert find_benches([]) != []
