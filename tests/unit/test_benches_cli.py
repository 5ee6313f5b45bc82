"""``cosim benches``: what ships is listed, shown and copied whole."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cosim import resources
from cosim.bench.testbench import Testbench
from cosim.cli.app import main
from cosim.engines.prepare import prepare


def test_the_list_holds_every_bench(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["benches", "--json"]) == 0
    told = {entry["bench"]: entry for entry in json.loads(capsys.readouterr().out)}
    assert set(told) == {path.stem for path in resources.listing("netlists", ".toml")}
    assert told["1t1r_write"]["analyses"] == "tran"
    assert told["1t1r_write"]["limits"] == "8"
    assert told["1t1r_write"]["surrogate"] == ""
    trained = [told[name]["surrogate"] for name in ("stc_spike_pair", "ecram_feedback_stp", "stc_dpi_filter")]
    assert trained == ["map pair", "neuron lif", "filter calcium"]
    assert main(["benches"]) == 0
    assert "1t1r_random_pulses" in capsys.readouterr().out


def test_one_is_shown_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["benches", "show", "1t1r_write"]) == 0
    assert capsys.readouterr().out == resources.find("netlists", "1t1r_write.toml").read_text(encoding="utf-8")
    assert main(["benches", "show", "1t1r_wrote"]) == 2
    assert "did you mean 1t1r_write" in capsys.readouterr().err


@pytest.mark.parametrize("path", resources.listing("netlists", ".toml"), ids=lambda p: p.stem)
def test_a_copy_is_complete(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The copied bench writes the same deck, and takes its netlists from beside itself."""
    assert main(["benches", "copy", path.stem, str(tmp_path / "mine")]) == 0
    original, copied = Testbench.load(path), Testbench.load(tmp_path / "mine" / path.name)
    analysis = next(iter(original.file.plan))
    point = original.points(analysis)[0]
    here, there = (prepare(bench.deck(analysis, point=point)) for bench in (copied, original))
    assert here.text == there.text
    assert all(file.is_relative_to(tmp_path.resolve()) for file in here.circuit.files)


def test_nothing_is_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "1t1r.cir").write_text("* mine\n")
    assert main(["benches", "copy", "1t1r_write", str(tmp_path)]) == 2
    assert "1t1r.cir already exists" in capsys.readouterr().err
    assert (tmp_path / "1t1r.cir").read_text() == "* mine\n"
    assert not (tmp_path / "1t1r_write.toml").exists()
