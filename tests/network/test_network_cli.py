"""``cosim network run``: a run, its files, and what bad input gets."""

import json
import re
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cosim.cli.app import main
from cosim.errors import InputError
from cosim.network.images import ImageTask, load_images
from cosim.network.systems.vdsp import VdspSystem
from cosim.network.systems.vdsp_settings import vdsp_preset
from cosim.parameters import ParameterSet
from cosim.surrogate.files import load, save
from cosim.surrogate.model import Surrogate

pytestmark = pytest.mark.needs("sklearn")
STC = ["network", "run", "stc"]
QUICK = ["network", "run", "vdsp", "--images", "300", "--epochs", "1", "--neurons", "20"]


def test_a_run_writes_results_and_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert main([*QUICK, "--seeds", "0,1", "--scale-p", "1.05:1.01", "-o", str(out)]) == 0
    shown = capsys.readouterr()
    assert "over 2 seeds, mean" in shown.out
    assert shown.err == ""  # no progress in a pipe
    result = json.loads((out / "result.json").read_text())
    assert result["accuracy"]["mean"] > 0.2  # chance is a tenth
    assert [seed["seed"] for seed in result["seeds"]] == [0, 1]
    assert result["settings"]["scale_p_end"] == 1.01
    assert {path.stem for path in out.glob("*.png")} == {
        "accuracy",
        "activity",
        "confusion",
        "receptive_fields",
        "states",
    }
    assert main([*QUICK, "--seeds", "0,1", "--scale-p", "1.05:1.01", "-o", str(out), "--resume", "--no-figures"]) == 0
    assert capsys.readouterr().err == ""
    assert json.loads((out / "result.json").read_text())["accuracy"] == result["accuracy"]


def test_a_resumed_run_says_what_it_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [*QUICK, "--no-figures", "-o", str(tmp_path / "out")]
    assert main([*words, "--resume"]) == 0
    assert (
        capsys.readouterr().err == f"cosim: {tmp_path / 'out'} has nothing of these seeds to resume; they start anew\n"
    )
    monkeypatch.setattr("cosim.network.run.code_of", lambda _: "feed")
    assert main([*words, "--resume"]) == 2
    assert "start in a new folder, or keep it with --anyway" in capsys.readouterr().err
    assert main([*words, "--anyway"]) == 0
    assert "this is feed" in capsys.readouterr().out


def test_images_of_one_s_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    digits, file = load_images("digits").first(300), tmp_path / "own.npz"
    parts = {"train_y": digits.train_y.astype(np.uint8), "test_y": digits.test_y}
    square = {"train_x": digits.train_x.reshape(-1, 8, 8), "test_x": digits.test_x.reshape(-1, 8, 8)}
    np.savez(file, **square, **parts)
    found = load_images(str(file))
    assert (found.name, found.side, found.train_y.dtype) == ("own", 8, np.int64)
    np.testing.assert_array_equal(found.train_x, digits.train_x)
    np.savez(file, **{name: np.rint(255 * x).astype(np.uint8).reshape(-1, 64) for name, x in square.items()}, **parts)
    np.testing.assert_allclose(load_images(str(file)).test_x, digits.test_x, atol=0.5 / 255)
    network = ["network", "run", "vdsp", "--data", str(file), "--neurons", "10", "--no-figures"]
    assert main([*network, "-o", str(tmp_path / "out")]) == 0
    shown = capsys.readouterr().out
    assert "of 300 images of own" in shown
    assert re.search(r"accuracy +[\d.]+ % by read-out \w+ \(.*\), over 1 seed", shown)
    assert "drive       1.05 thresholds at a potential of −1 (potentiation), 1.11 at 1 (depression)" in shown
    for changed, says in (
        ({**square, "train_y": parts["train_y"]}, "lacks test_y; it has train_x, test_x, train_y"),
        ({**square, **parts, "test_x": digits.test_x[:, :60]}, "test_x holds float32 of shape (397, 60)"),
        ({**square, **parts, "test_x": np.zeros((397, 8, 9))}, "8 columns to train on and 9 to test on"),
        ({**square, **parts, "train_x": 16.0 * square["train_x"]}, "scale them to 0..1"),
        ({**square, **parts, "test_y": parts["test_y"][1:]}, "give one label per image"),
        ({**square, **parts, "test_y": parts["test_y"] + 0.5}, "not whole numbers from 0"),
    ):
        np.savez(file, **changed)
        assert main([*network, "-o", str(tmp_path / "other")]) == 2
        assert says in capsys.readouterr().err


def test_a_trained_surrogate_goes_in(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "cell.npz"
    trained = [
        "surrogate",
        "train",
        "--device",
        "cell_1t1r",
        "--against",
        "integration",
        "--pulses",
        "100",
        "-o",
        str(file),
    ]
    assert main(trained) == 0
    assert main([*QUICK, "--surrogate", str(file), "--no-figures", "-o", str(tmp_path / "out")]) == 0
    assert "cell_1t1r tio2" in capsys.readouterr().out
    certificate = json.loads((tmp_path / "out" / "result.json").read_text())["surrogate"]["certificate"]
    assert certificate["against"].startswith("scipy")


def test_a_surrogate_that_misses_its_limits_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "published.npz"
    train = ["surrogate", "train", "--law", "published", "--against", "integration", "--pulses", "100"]
    assert main([*train, "-o", str(file)]) == 1
    said = capsys.readouterr()
    assert re.search(r"missed      w: [\d.]+ % of full scale, limit 1 %", said.out)
    assert "misses its limits, and networks refuse it without --uncertified" in said.err
    network = [*QUICK, "--surrogate", str(file), "--no-figures", "-o", str(tmp_path / "out")]
    assert main(network) == 2
    assert "the surrogate of tio2 misses its limits: w: " in capsys.readouterr().err
    assert main([*network, "--uncertified"]) == 0
    assert "missed: w" in capsys.readouterr().out
    with pytest.raises(InputError, match=r"uncertified=True"):
        VdspSystem(vdsp_preset("digits")[0], load(file), ImageTask(load_images("digits")))


def test_a_file_without_a_certificate_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = save(Surrogate(ParameterSet.load("tio2")), tmp_path / "plain.npz")
    network = [*QUICK, "--surrogate", str(file), "--no-figures", "-o", str(tmp_path / "out")]
    assert main(network) == 2
    assert (
        "the surrogate of tio2 has no certificate; train a better one, or take --uncertified" in capsys.readouterr().err
    )
    assert main([*network, "--uncertified"]) == 0
    assert "not compared with any circuit" in capsys.readouterr().out


def test_a_spread_covers_the_deviation_of_the_same_figure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, train = tmp_path / "spread.npz", ["surrogate", "train", "--against", "integration", "--pulses", "100"]
    assert main([*train, "--spread", "theta_p=20%", "--spread", "theta_n=20%", "-o", str(file)]) == 0
    network = [*QUICK, "--surrogate", str(file), "--no-figures", "-o", str(tmp_path / "out")]
    assert main([*network, "--deviation", "20 %"]) == 0
    capsys.readouterr()
    assert main([*network, "--deviation", "21 %", "-o", str(tmp_path / "wider")]) == 1
    assert "theta_" in capsys.readouterr().err


def test_progress_is_there_before_the_first_images() -> None:
    from rich.console import Console

    from cosim.cli.network_view import live_view

    screen = Console(file=StringIO(), force_terminal=True, width=120, color_system=None)
    with live_view((4, 5), 600, screen=screen) as (progress, _):
        assert "seed 4" in screen.file.getvalue()
        assert "0/600" in screen.file.getvalue()
        progress(4, 200, 600)
        progress(5, 300, 600)
    shown = screen.file.getvalue().rpartition("seed 4")[2]
    assert "200/600" in shown
    assert "300/600" in shown.partition("seed 5")[2]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["network", "run", "telepathy"], "unknown network 'telepathy'"),
        ([*QUICK, "--data", "letters"], "unknown image set 'letters'"),
        ([*QUICK, "--parameters", "tio3"], "did you mean tio2"),
        ([*QUICK, "--surrogate", "none.npz"], "there is no surrogate file none.npz"),
        ([*QUICK, "--law", "exact"], "unknown law"),
        (
            [*QUICK, "--surrogate", "s.npz", "--parameters", "hfo2"],
            "--parameters hfo2 and --surrogate s.npz contradict",
        ),
        ([*QUICK, "--surrogate", "s.npz", "--law", "rate"], "--law rate and --surrogate s.npz contradict"),
        (["network", "run", "vdsp", "--images", "8"], "show none of class"),
        ([*QUICK, "--seeds", "a,b"], "has to be whole numbers"),
        ([*QUICK, "--seeds", "1,1"], "one or more different seeds"),
        ([*QUICK, "--seeds=-1"], "negative"),
        ([*QUICK, "--scale-p", "fast"], "'fast' is not a quantity"),
        ([*QUICK, "--scale-d", "-1"], "not above zero"),
        ([*QUICK, "--deviation", "20"], "write"),
        ([*QUICK, "--backend", "cobol"], "unknown backend"),
        (["network", "run", "vdsp", "--images", "9999"], "has 1400 to train on"),
        (["network", "run", "vdsp", "--neurons", "-3"], "needs at least one output neuron, not -3"),
        ([*STC, "--digits", "0"], "at least two different digits"),
        ([*STC, "--digits", "0,x"], "'0,x' has to be whole numbers"),
        ([*STC, "--digits", "0,12"], "digits has no image of 12"),
        ([*STC, "--images", "5000"], "5000 images to train on"),
        ([*STC, "--law", "circit"], "did you mean circuit"),
        ([*STC, "--law", "listing", "--mend", "rials"], "did you mean rails"),
        ([*STC, "--mend", "rails"], "nothing to mend"),
        ([*STC, "--teaching", "never"], "unknown way 'never' of teaching"),
        ([*STC, "--stimulus", "1 V"], "A"),
        ([*STC, "--seeds", "3:3"], "one or more different seeds"),
    ],
)
def test_bad_input(words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*words, "-o", str(tmp_path / "out")]) == 2
    shown = capsys.readouterr()
    assert shown.err.count("\n") == 1
    assert message.split("write")[0] in shown.err
    assert "Traceback" not in shown.err


def test_tagging_and_capture_writes_results_and_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    words = [*STC, "--images", "100", "--test-images", "60", "--seeds", "0:2", "--backend", "numpy", "-o", str(out)]
    assert main(words) == 0
    shown = capsys.readouterr()
    assert "late" in shown.out
    assert "over 2 seeds, mean" in shown.out
    result = json.loads((out / "result.json").read_text())
    assert result["phases"]["late"]["mean"] == result["accuracy"]["mean"] > 0.85  # chance is a half
    assert {path.stem for path in out.glob("*.png")} == {
        *(f"{name}_{phase}" for name in ("weights", "phases", "confusion") for phase in ("early", "late")),
        "accuracy", "rule", "trains",
    }  # fmt: skip
    assert main([*words, "--resume", "--no-figures"]) == 0
    assert json.loads((out / "result.json").read_text())["accuracy"] == result["accuracy"]


def test_the_listing_runs_from_the_shell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [*STC, "--law", "listing", "--images", "6", "--test-images", "10", "--mend", "drive,rails"]
    assert main([*words, "--backend", "numpy", "-o", str(tmp_path / "out")]) == 0
    assert "early" in capsys.readouterr().out
    assert (tmp_path / "out" / "weights_early.png").exists()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"train_x": np.zeros((0, 8, 8)), "train_y": np.zeros(0, int)}, "train_x holds float64 of shape (0, 8, 8)"),
        ({"test_x": np.zeros((0, 64)), "test_y": np.zeros(0, int)}, "test_x holds float64 of shape (0, 64)"),
        ({"test_x": np.zeros((6, 8, 7))}, "images have 8 columns to train on and 7 to test on"),
        ({"test_x": np.zeros((6, 7, 8))}, "64 pixels to train on and 56 to test on"),
        ({"train_y": np.arange(8)}, "has 9 images to train on and labels of shape (8,)"),
        ({"train_y": 2 * (np.arange(9) % 2)}, "from 0 to 2, and no image of train_x is of class 1; number"),
        ({"test_y": np.arange(6)}, "from 0 to 5, and no image of train_x is of class 3, 4, 5; number"),
        ({"test_y": np.arange(6) - 1}, "the labels to test on mine are not whole numbers from 0"),
    ],
)
def test_images_of_one_s_own_that_do_not_fit(
    changes: dict[str, Any], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images: dict[str, Any] = {"train_x": np.zeros((9, 8, 8)), "train_y": np.arange(9) % 3}
    images |= {"test_x": np.zeros((6, 8, 8)), "test_y": np.arange(6) % 3}
    np.savez(tmp_path / "mine.npz", **(images | changes))
    assert main([*QUICK, "--data", str(tmp_path / "mine.npz"), "-o", str(tmp_path / "out")]) == 2
    shown = capsys.readouterr().err
    assert says in shown
    assert shown.count("\n") == 1
