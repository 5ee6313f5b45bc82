"""What ``cosim run -o`` leaves: the deck and the log of any run, most of all of one that failed."""

from pathlib import Path

import pytest

from cosim.cli.app import main

pytestmark = pytest.mark.spice


def test_a_run_that_does_not_converge_leaves_its_deck_and_its_log(tmp_path: Path) -> None:
    file = tmp_path / "b.toml"
    file.write_text(
        'title = "b"\ncircuit = """\nV1 a 0 1\nR1 a b 1k\nB1 b 0 I=sqrt(V(b)-2)\nC1 b 0 1f\n"""\n'
        '[analysis]\nkind = "tran"\nstop = "1 us"\nmax_step = "1 ns"\n'
    )
    out = tmp_path / "out"
    assert main(["run", str(file), "-o", str(out)]) == 1
    assert "B1 b 0" in (out / "deck.cir").read_text()
    assert (out / "log.txt").read_text().strip()
    assert not (out / "measures.json").exists()


def test_the_deck_runs_again_by_itself(tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert main(["run", "1t1r_write", "-o", str(out)]) == 0
    again = tmp_path / "again"
    assert main(["run", str(out / "deck.cir"), "-o", str(again)]) == 0
    assert (again / "deck.cir").read_text().splitlines()[1:] == (out / "deck.cir").read_text().splitlines()[1:]
