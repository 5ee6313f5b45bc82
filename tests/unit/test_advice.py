"""What runs and may not be meant; what ran out of time or room: said, with what to do."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cosim import files, resources
from cosim.bench.advice import of_bench, of_netlist
from cosim.bench.testbench import Testbench
from cosim.cli import app
from cosim.cli.app import main
from cosim.engines import outcome
from cosim.engines.simulator import Limits, Outcome
from cosim.engines.worker.pool import Answer

BODY = "V1 in 0 1\nC1 out 0 1n\nR2 out 0 1k\n.op\n.end\n"


@pytest.mark.parametrize(
    ("first", "said"),
    [("R1 in out 1k", True), ("r1 OUT 0 10k", True), ("Rx in out 1k $ load", True), ("VDSP in a cell", False),
     ("RC low pass, 1 kHz", False), ("R1 in out", False), ("* R1 in out 1k", False), ("", False),
     ("Voltage out of a divider", False), ("X in out filter", True)],
)  # fmt: skip
def test_an_element_on_the_first_line(first: str, said: bool, tmp_path: Path) -> None:
    found = of_netlist(f"{first}\n{BODY}", source=tmp_path / "n.cir")
    assert bool(found) is said
    if said:
        assert repr(first) in found[0]
        assert "put a title line above it" in found[0]


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40))
def test_any_title_is_read_without_complaint(title: str) -> None:
    assert len(of_netlist(f"{title}\n{BODY}", source=Path("n.cir"))) <= 1


def test_a_shipped_netlist_in_place_of_a_missing_one(tmp_path: Path) -> None:
    shipped = resources.find("netlists", "1t1r.cir").resolve()
    text = '* own\n.include "1t1r.cir"\n.op\n.end\n'
    (sentence,) = of_netlist(text, source=tmp_path / "n.cir")
    assert sentence == f"'1t1r.cir' is not beside {tmp_path / 'n.cir'}: the shipped {shipped} is taken"
    (tmp_path / "1t1r.cir").write_text(shipped.read_text())
    assert of_netlist(text, source=tmp_path / "n.cir") == []
    assert of_netlist(f'* own\n.include "{shipped}"\n.op\n.end\n', source=tmp_path / "n.cir") == []


def test_a_bench_that_takes_a_shipped_netlist(tmp_path: Path) -> None:
    assert of_bench(Testbench.load("1t1r_write")) == []
    assert main(["benches", "copy", "ecram_feedback_delay", str(tmp_path)]) == 0
    bench = Testbench.load(tmp_path / "ecram_feedback_delay.toml")
    assert of_bench(bench) == []
    (tmp_path / "ecram_lif.cir").unlink()  # which the netlist includes
    assert "'ecram_lif.cir' is not beside" in of_bench(bench)[0]
    (tmp_path / "ecram_feedback_lif.cir").unlink()
    (sentence,) = of_bench(bench)
    assert sentence.startswith(f"netlist 'ecram_feedback_lif.cir' is not beside the bench in {tmp_path.resolve()}")


def test_what_cannot_be_read_is_left_to_the_engine(tmp_path: Path) -> None:
    assert of_netlist("* t\n.include gone.inc\n.op\n", source=tmp_path / "n.cir") == []


@pytest.mark.spice
def test_notes_go_to_standard_error_and_the_run_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "n.cir").write_text(f"R1 in out 1k\n{BODY}")
    assert main(["run", str(tmp_path / "n.cir"), "--json"]) == 0
    shown = capsys.readouterr()
    assert shown.out.startswith("{")
    assert shown.err.startswith("cosim: note: the first line of")


@pytest.mark.spice
def test_a_block_in_an_included_file_is_translated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "n.cir").write_text("* t\nV1 a 0 1\nR1 a 0 1k\n.include part.inc\n.end\n")
    (tmp_path / "part.inc").write_text("* part\n.control\nop\nprint v(a)\n.endc\nR9 a 0 {r}\n.param r=1k\n")
    assert main(["run", str(tmp_path / "n.cir")]) == 1
    assert "part.inc:2" in capsys.readouterr().err
    assert main(["run", str(tmp_path / "n.cir"), "--translate"]) == 0
    shown = capsys.readouterr()
    assert "becomes  .op" in shown.err
    assert "-2 mA" in shown.out  # both resistors are there
    (tmp_path / "part.inc").write_text("* part\n.control\nshell touch canary\n.endc\n")
    assert main(["run", str(tmp_path / "n.cir"), "--translate"]) == 2
    assert "part.inc:3" in capsys.readouterr().err


# -- limits and disks ----------------------------------------------------------------------------------------------


def test_a_time_limit_says_how_to_raise_it() -> None:
    found = outcome.abnormal(Answer("timeout", {}), Limits(wall=60.0))
    assert found is not None
    assert found[0] is Outcome.TIMED_OUT
    assert "no result within 60 s of wall-clock time; give it longer with --wall 120 (in s)" in found[1]


def test_a_full_scratch_disk_is_not_reported_as_a_file_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = Answer("done", {"log": [("stderr", "rawfile write error !!")]})
    found = outcome.abnormal(answer, Limits())
    assert found is not None
    assert "file size limit of 2 GiB" in found[1]
    usage = type(outcome.shutil.disk_usage("/"))
    monkeypatch.setattr(outcome.shutil, "disk_usage", lambda path: usage(10, 10, 0))
    found = outcome.abnormal(answer, Limits())
    assert found is not None
    assert "the disk of" in found[1]
    assert "TMPDIR" in found[1]


def test_a_write_that_fails_names_its_file(tmp_path: Path) -> None:
    """Really: a process that may write 100 bytes only."""
    code = (
        "import resource, sys; from cosim.files import write_atomic\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\n"
        "write_atomic(sys.argv[1], b'x' * 1000)"
    )
    target = tmp_path / "out.csv"
    done = subprocess.run(
        [sys.executable, "-c", code, str(target)], capture_output=True, text=True, timeout=60, check=False
    )
    assert f"File too large: '{target}'" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_reported_with_the_path(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Path, data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left") as caught:
        files.write_atomic(tmp_path / "fit.toml", "x")
    assert caught.value.filename == str(tmp_path / "fit.toml")
    assert app._report(caught.value) == 1
    said = capsys.readouterr().err
    assert (
        said == f"cosim: {tmp_path / 'fit.toml'}: No space left on device; free some space, or choose another folder\n"
    )
