"""Maps of a network's accuracy over its settings: values, resuming, and what is refused."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from cosim.cli.app import main
from cosim.cli.network_map import _axis
from cosim.errors import InputError, UnknownName
from cosim.network.images import load_images
from cosim.network.map import Axis, held_out, run_map, with_setting
from cosim.network.systems.vdsp_settings import VdspSettings

MAP = [
    "network", "map", "vdsp", "--images", "120", "--held", "60", "--neurons", "5", "--backend", "numpy"
]  # fmt: skip


def score(settings: Mapping[str, float], seed: int, folder: Path) -> Mapping[str, float]:
    """A hill at (2, 20), higher by a tenth with each seed."""
    return {"W": 0.5 - (settings["a"] - 2.0) ** 2 - (settings["b"] - 20.0) ** 2 / 100.0 + 0.1 * seed, "NB": 0.3}


def test_values_stand_where_their_settings_are(tmp_path: Path) -> None:
    axes = (Axis("a", (1.0, 2.0, 3.0)), Axis("b", (10.0, 20.0)))
    told = []
    found = run_map(score, axes, folder=tmp_path, seeds=(0, 1), progress=lambda done, of: told.append((done, of)))
    assert np.shape(found.accuracies["W"]) == (3, 2, 2)
    for i, a in enumerate(axes[0].values):
        for j, b in enumerate(axes[1].values):
            for k in (0, 1):
                assert found.accuracies["W"][i, j, k] == score({"a": a, "b": b}, k, tmp_path)["W"]
    best, accuracy = found.best("W")
    assert (best, accuracy) == ({"a": 2.0, "b": 20.0}, pytest.approx(0.55))
    assert told[-1] == (12, 12)
    written = json.loads((tmp_path / "map.json").read_text())
    assert written["axes"] == {"a": [1.0, 2.0, 3.0], "b": [10.0, 20.0]}
    assert written["accuracy_on_held_out_training_images"]["W"][1][1] == pytest.approx([0.5, 0.6])


def test_settings_by_name() -> None:
    base = VdspSettings()
    assert with_setting(base, "scale_p", 1.2).scale_p == 1.2
    assert with_setting(base, "neurons", 30.0).neurons == 30
    assert with_setting(base, "input.tau", 10.0).input.tau == 10.0
    assert with_setting(base, "encoder.noise", 0.5).encoder.noise == 0.5
    for name, value, says in (
        ("neurons", 2.5, "whole number"),
        ("input", 1.0, "name one of its parts"),
        ("dt.x", 1.0, "dt has no parts"),
        ("w_init", 1.0, "is not a number"),
    ):
        with pytest.raises(InputError, match=says):
            with_setting(base, name, value)
    for name in ("scales", "input.taus"):
        with pytest.raises(UnknownName, match="unknown setting"):
            with_setting(base, name, 1.0)


def test_points_are_compared_on_images_that_are_neither_learned_nor_the_test_set() -> None:
    digits = load_images("digits")
    found = held_out(digits, 100, 50)
    np.testing.assert_array_equal(found.test_x, digits.train_x[100:150])
    np.testing.assert_array_equal(found.train_y, digits.train_y[:100])
    with pytest.raises(InputError, match="1400 training images"):
        held_out(digits, 1350, 51)


def test_axes_as_they_are_typed() -> None:
    assert _axis("scale_p=1:1.2:3") == Axis("scale_p", (1.0, 1.1, 1.2))
    assert _axis("input.tau=10,20") == Axis("input.tau", (10.0, 20.0))
    for text in ("scale_p", "scale_p=", "a=1:2", "a=1:2:x", "a=1:2:1", "a=1:2:3:4", "a=1,1", "a=x"):
        with pytest.raises(InputError):
            _axis(text)


@pytest.mark.needs("sklearn")
def test_a_map_on_the_command_line_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [*MAP, "--vary", "scale_p=1.05,1.3", "-o", str(tmp_path)]
    assert main(words) == 0
    shown = capsys.readouterr()
    assert "map         2 points, 60 held-out training images" in shown.out
    assert shown.err == ""
    results = sorted(tmp_path.glob("scale_p=*/seed-0.npz"))
    assert [path.parent.name for path in results] == ["scale_p=1.05", "scale_p=1.3"]
    assert (tmp_path / "map.png").exists()
    before = {path: path.stat().st_mtime_ns for path in results}
    assert main([*MAP, "--vary", "scale_p=1.05,1.3,1.5", "-o", str(tmp_path)]) == 0
    assert {path: path.stat().st_mtime_ns for path in results} == before


@pytest.mark.needs("sklearn")
@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--vary", "scale=1,2"], "unknown setting 'scale'"),
        (["--vary", "a=1,2", "--vary", "a=3,4"], "one or two different settings"),
        (["--vary", "scale_p=1:2"], "is not FIRST:LAST:COUNT"),
        (["--vary", "scale_p=1,2", "--jobs", "-1"], "-1 processes cannot work"),
        (["--vary", "scale_p=1,2", "--held", "5000"], "more than digits has"),
        (["--vary", "scale_p=0,2"], "above zero"),
    ],
)
def test_refused(words: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*MAP, *words, "-o", str(tmp_path / "map")]) == 2
    assert says in capsys.readouterr().err
