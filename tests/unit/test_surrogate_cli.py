"""``cosim surrogate``: train, check, and what bad input gets."""

import json
from pathlib import Path

import numpy as np
import pytest

from cosim.cli.app import main
from cosim.cli.surrogate_common import UNSEEN

TRAIN = ["surrogate", "train", "--against", "integration", "--pulses", "60"]


def test_train_and_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "memristor.npz"
    assert main([*TRAIN, "--spread", "theta_p=20%", "-o", str(file), "--figure", str(tmp_path / "f.png")]) == 0
    out = capsys.readouterr().out
    assert "against     scipy" in out
    assert "theta_p 0.5729..2.292" in out
    assert (tmp_path / "f.png").stat().st_size > 10_000
    check = ["surrogate", "check", str(file), "--against", "integration", "--pulses", "60"]
    assert main(check) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("  passes")
    assert main([*check, "--json", "--limit", "state=1e-12"]) == 1
    facts = json.loads(capsys.readouterr().out)
    assert facts["passed"] is False
    assert facts["check"]["domain"]["parameters"] == facts["certificate"]["domain"]["parameters"]
    assert facts["check"]["errors"]["w"]["max"] < 2e-6  # of drawn instances too; nominal cells alone stay below 1e-6
    assert facts["updates_per_second"] > 0.0
    assert facts["reference_updates_per_second"] is None  # so few pulses do not tell


def test_a_check_ends_by_how_much_of_what_is_certified_it_saw(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = str(tmp_path / "memristor.npz")
    assert main([*TRAIN, "-o", file]) == 0
    check = ["surrogate", "check", file, "--against", "integration", "--pulses"]
    assert main([*check, "20"]) == UNSEEN == 4  # as documented
    assert capsys.readouterr().out.splitlines()[-1].startswith("  not verified: certified is w 0.2..0.6, and of it")
    assert main([*check, "60"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("  passes")


def test_learned_from_collected_samples(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "cell.npz"
    assert main([*TRAIN, "--learn", "150", "--law", "published", "--span=-2", "2", "-o", str(file)]) == 0
    # The map jumps where the circuit saturates: that much can be learned.
    assert "correction of degree" in capsys.readouterr().out


def test_a_terminal_sees_how_far_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from rich.progress import Progress

    seen: list[tuple[str, float, float | None]] = []
    update = Progress.update

    def note(self: Progress, task, **changes) -> None:
        update(self, task, **changes)
        here = self.tasks[task]
        seen.append((here.description, here.completed, here.total))

    monkeypatch.setattr(Progress, "update", note)
    assert main([*TRAIN, "--learn", "150", "-o", str(tmp_path / "cell.npz")]) == 0
    collecting, certifying = "collecting samples in integration (pulses)", "certifying against integration (pulses)"
    assert seen[0] == (collecting, 0, 150)
    assert (certifying, 15, 60) in seen
    assert seen[-1] == (certifying, 60, 60)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-o", "x.txt"], "not a .npz file"),
        (["--law", "exact"], "unknown law"),
        (["--against", "paper"], "unknown reference"),
        (["--device", "resistor"], "resistor"),
        (["--parameters", "none.toml"], "none.toml"),
        (["--width", "3 V"], "3 V"),
        (["--spread", "theta_p"], "has no value"),
        (["--limit", "state"], "has no value; write e.g. --limit state=1%"),
        (["--limit", "sate=1%"], "did you mean state"),
        (["--limit", "state=0"], "the limit of state is 0"),
        (["--reference", "tio3"], "did you mean tio2"),
        (["--reference", "hfo2", "--spread", "theta_p=5%"], "with the device hfo2, which has none"),
        (["--spread", "theta_q=5%"], "theta_q"),
        (["--span", "1 V", "2 V"], "one sign"),
        (["--samples", "none.npz"], "there is no sample file none.npz"),
        (["--pulses", "0"], "needs at least one held-out pulse"),
    ],
)
def test_bad_input(words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = [] if "-o" in words else ["-o", str(tmp_path / "x.npz")]
    assert main([*TRAIN, *output, *words]) == 2
    shown = capsys.readouterr()
    assert shown.err.count("\n") == 1
    assert message in shown.err


def test_a_file_of_another_kind(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    assert main(["surrogate", "check", str(tmp_path / "other.npz")]) == 2
    assert "this is not a surrogate file" in capsys.readouterr().err
