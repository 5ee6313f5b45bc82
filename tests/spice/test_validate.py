"""Validation: the three verdicts, corners, samples, baseline, JUnit."""

import json
import signal
import threading
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from xml.etree import ElementTree as Xml

import pytest

from cosim.bench.testbench import STANDARD, TIGHT, Testbench
from cosim.bench.validate import Verdict, compare, find_benches, junit, read_baseline, validate_all, validate_bench
from cosim.cli.app import main
from cosim.engines.pyspice import PySpiceSimulator
from cosim.engines.registry import open_simulator
from cosim.engines.simulator import Deck, Limits, Outcome, Result
from cosim.errors import InputError

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


def test_a_limit_says_where_it_is_from(tmp_path: Path, simulator: PySpiceSimulator) -> None:
    """In every spec of it, and neither half of that alone."""
    path = tmp_path / "rc.toml"
    bench(tmp_path)
    text = path.read_text()
    path.write_text(text.replace('"1.1 V" }', '"1.1 V", origin = "source", reason = "1 - exp(-3)" }'))
    report = validate_bench(Testbench.load(path), simulator)
    assert {spec.basis for spec in report.specs} == {"source: 1 - exp(-3)"}
    assert report.specs[0].to_dict()["origin"] == "source"
    for half, missing in (('origin = "oracle"', "reason"), ('reason = "seen"', "origin")):
        path.write_text(text.replace('"1.1 V" }', f'"1.1 V", {half} }}'))
        with pytest.raises(InputError, match=f"without {missing}") as raised:
            Testbench.load(path)
        assert "end" in str(raised.value)


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


def test_a_yield_is_decided_only_by_its_interval(tmp_path: Path, simulator: PySpiceSimulator) -> None:
    """Some of 30 samples fail, 16 % are to be expected: 0.5 is shown, 0.9999 is missed, 0.8 cannot be told."""
    found = []
    for least in ("0.5", "0.8", "0.9999"):
        tail = '[monte_carlo]\nsamples = 30\nseed = 3\nparameters = { r = { relative = "30 %" } }\n'
        tail += f"yield_min = {least}\n"
        found.append(validate_bench(bench(tmp_path, tail), simulator, trust=False).specs[-1])
    assert [spec.verdict for spec in found] == [Verdict.PASS, Verdict.CANNOT_TELL, Verdict.FAIL]
    assert "which holds 0.8: about" in found[1].why
    assert "samples would decide" in found[1].why
    assert "would decide" not in found[0].why + found[2].why


def test_a_bench_without_limits_is_counted_apart(
    tmp_path: Path, simulator: PySpiceSimulator, capsys: pytest.CaptureFixture[str]
) -> None:
    bench(tmp_path)
    none = tmp_path / "none.toml"
    none.write_text((tmp_path / "rc.toml").read_text().partition("[limits]")[0])
    done = validate_all([none, tmp_path / "rc.toml"], simulator, trust=False)
    assert done.summary == "1 no limits, 1 pass"
    assert done.passed
    assert [entry["verdict"] for entry in done.to_dict()["benches"]] == ["no limits", "pass"]
    suite = Xml.fromstring(junit(done)).find("testsuite")
    assert suite is not None
    assert (suite.get("tests"), suite.get("skipped"), suite.get("failures")) == ("1", "1", "0")
    assert main(["validate", str(none)]) == 0
    assert capsys.readouterr().out.rstrip().endswith("1 no limits")


def test_a_measure_that_moves_is_not_judged(tmp_path: Path, simulator: PySpiceSimulator) -> None:
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


def test_a_tolerance_of_the_bench_becomes_its_tenth(tmp_path: Path) -> None:
    """But none is looser than what benches have without a word; what the bench leaves out becomes tight."""
    own = bench(tmp_path, "[options]\nreltol = 2e-4\nchgtol = 1e-20\ntrtol = 7\nvntol = 1e-3\n").tightened()
    options = own.file.options
    assert options["reltol"] == pytest.approx(2e-5)
    assert options["chgtol"] == pytest.approx(1e-21)
    assert (options["trtol"], options["vntol"]) == (STANDARD["trtol"], STANDARD["vntol"])
    assert options["abstol"] == TIGHT["abstol"]


def test_a_bench_that_does_not_converge_is_not_judged_and_the_next_runs(
    tmp_path: Path, simulator: PySpiceSimulator
) -> None:
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
    assert "not valid TOML" in done.reports[1].error


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
    with pytest.raises(InputError, match="does not contain a bench"):
        find_benches([tmp_path])
    with pytest.raises(InputError, match="did you mean 1t1r"):
        find_benches(["1t1r_writ"])
    assert find_benches([]) != []


class Waiting:
    """A simulator whose runs wait for each other: ``together`` of them have to be at work at once."""

    name = "waiting"

    def __init__(self, inner: PySpiceSimulator, together: int) -> None:
        self._inner, self._barrier = inner, threading.Barrier(together)

    def run(self, deck: Deck, *, limits: Limits) -> Result:
        self._barrier.wait(timeout=20.0)  # broken, and the test with it, where runs follow one another
        return self._inner.run(deck, limits=limits)

    def version(self) -> str:
        return "waiting-1"

    def close(self) -> None:
        self._barrier.abort()


def test_all_runs_of_a_bench_are_handed_out_at_once(tmp_path: Path, simulator: PySpiceSimulator) -> None:
    """Nominal and repeated runs of two corners, and four samples: four at a time."""
    tail = '[corners.hot]\ntemperature = 125\n[monte_carlo]\nsamples = 4\nparameters = { r = { relative = "1 %" } }\n'
    subject = bench(tmp_path, tail)
    report = validate_bench(subject, Waiting(simulator, 4), workers=3)
    plain = validate_bench(subject, simulator, workers=1)
    assert report.specs == plain.specs
    assert [spec.corner for spec in report.specs] == ["nominal", "hot", "Monte Carlo"]


def test_benches_run_at_once_and_are_reported_in_order(tmp_path: Path, simulator: PySpiceSimulator) -> None:
    text = bench(tmp_path)
    names = ["d", "a", "c", "b"]
    paths = []
    for name in names:
        paths.append(tmp_path / f"{name}.toml")
        paths[-1].write_text((tmp_path / "rc.toml").read_text())
    heard: list[tuple[tuple[str, ...], int]] = []
    done = validate_all(
        paths, Waiting(simulator, 2), trust=False, workers=1, tell=lambda at_work, ended: heard.append((at_work, ended))
    )
    assert [report.bench for report in done.reports] == names
    assert done.passed
    assert text.name == "rc"
    assert heard[-1] == ((), 4)
    # every change is told: a bench is at work from its start to its end, and never more of them than two
    assert len(heard) == 8
    assert [ended for _, ended in heard] == sorted(ended for _, ended in heard)
    assert max(len(at_work) for at_work, _ in heard) == 2
    assert {name for at_work, _ in heard for name in at_work} == set(names)


class Endless:
    """A simulator whose runs end when it is closed; the first one brings an interrupt."""

    name = "endless"

    def __init__(self) -> None:
        self._closed, self._begun = threading.Event(), threading.Event()

    def run(self, deck: Deck, *, limits: Limits) -> Result:
        if not self._begun.is_set():
            self._begun.set()
            main_thread = threading.main_thread().ident  # where a signal interrupts what is waited for
            assert main_thread is not None
            signal.pthread_kill(main_thread, signal.SIGINT)
        closed = self._closed.wait(timeout=30.0)
        return Result(Outcome.CRASHED if closed else Outcome.TIMED_OUT, self.name)

    def version(self) -> str:
        return "endless-1"

    def close(self) -> None:
        self._closed.set()


@pytest.mark.parametrize("whole", [True, False])
def test_an_interrupt_ends_it_at_once(tmp_path: Path, *, whole: bool) -> None:
    subject = bench(tmp_path)
    began = time.monotonic()
    work = partial(validate_all, [tmp_path / "rc.toml"] * 9) if whole else partial(validate_bench, subject)
    with pytest.raises(KeyboardInterrupt):
        work(Endless())
    # the runs alone would wait for 30 s; an interrupt takes milliseconds, more on a busy machine
    assert time.monotonic() - began < 10.0


def test_a_failing_case_ends_the_others_but_not_the_simulator(tmp_path: Path, simulator: PySpiceSimulator) -> None:
    """A netlist that is gone is the bench's error; the caller's simulator goes on."""
    gone = bench(tmp_path)
    gone = replace(gone, file=gone.file.model_copy(update={"netlist": "gone.cir"}))
    with pytest.raises(InputError, match=r"gone\.cir"):
        validate_bench(gone, simulator)
    assert validate_bench(bench(tmp_path), simulator).verdict is Verdict.PASS


def test_a_measure_that_cannot_be_had_cannot_be_told(tmp_path: Path, simulator: PySpiceSimulator) -> None:
    """One without a limit; the measure that has one keeps its verdict."""
    report = validate_bench(bench(tmp_path, at="9 us"), simulator)
    assert [spec.verdict for spec in report.specs] == [Verdict.PASS]
    assert report.verdict is Verdict.CANNOT_TELL
    assert "the run goes from" in report.error


def test_table_shortens_and_shows_a_text_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(
        'title = "loop"\ncircuit = "V1 a 0 1\\nV2 a 0 2"\n[analysis]\nkind = "op"\n'
        '[measures.i]\nkind = "final"\nof = "i(v1)"\nunit = "A"\n'
        '[measures.j]\nkind = "final"\nof = "i(v2)"\nunit = "A"\n'
        '[limits]\ni = { max = "1 A" }\nj = { max = "1 A" }\n'
    )
    assert main(["validate", str(path)]) == 1
    table = capsys.readouterr().out
    assert main(["validate", str(path), "--json"]) == 1
    whole = json.loads(capsys.readouterr().out)["benches"][0]["specs"]
    assert len(whole) == 2
    why = whole[0]["why"]
    assert len(why) > 100  # or nothing is shortened
    assert table.count(why[:60]) == 2  # in the table, and as a whole below it
    assert table.count(f"bad nominal i: {why}") == 1
    assert "same" in table
