"""A fit recipe reads its own folder and those that are allowed, and no file beyond a size."""

from __future__ import annotations

from pathlib import Path

import pytest

from cosim.cli.app import main
from cosim.data.readers import cells
from cosim.errors import InputError
from cosim.fitting.joint_recipe import load_recipe
from cosim.fitting.recipe import FitRecipe
from cosim.parameters import ParameterSet

RECIPE = """
name = "r"
device = "access_transistor"
[start]
sets = ["../else/a.toml"]
[data]
kind = "i-v"
file = "../else/iv.csv"
columns.voltage = { name = "V", unit = "V" }
columns.current = { name = "I", unit = "A" }
[fit]
vary = ["g_on"]
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    (tmp_path / "own").mkdir()
    (tmp_path / "else").mkdir()
    rows = "".join(f"{k / 20},{1e-3 * k / 20}\n" for k in range(20))
    (tmp_path / "else" / "iv.csv").write_text("V,I\n" + rows)
    ParameterSet("access_transistor", "a", {}).with_values({"g_on": 2e-3}).save(tmp_path / "else" / "a.toml")
    path = tmp_path / "own" / "r.toml"
    path.write_text(RECIPE)
    return path


def test_files_elsewhere_are_read_where_their_folder_is_allowed(recipe: Path) -> None:
    refused = load_recipe(recipe)
    assert isinstance(refused, FitRecipe)
    for read in (refused.curve, refused.starting_set):
        with pytest.raises(InputError, match=r"lies outside the recipe's folder.*--allow .*else"):
            read()
    found = FitRecipe.load(recipe, allow=[recipe.parent.parent / "else"])
    assert len(found.curve()) == 20
    assert found.with_(sets=()).starting_set().resolved().g_on == 2e-3


def test_on_the_command_line(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = recipe.parent.parent / "else"
    assert main(["fit", str(recipe)]) == 2
    told = capsys.readouterr().err
    assert "r.toml" in told
    assert "--allow" in told
    assert "\n" not in told.strip()
    assert main(["fit", str(recipe), "--allow", str(other)]) == 0
    recipe.write_text(RECIPE.replace('sets = ["../else/a.toml"]', ""))
    assert main(["fit", str(recipe), "--data", str(other / "iv.csv")]) == 0  # the user's own word


def test_large_files_are_refused(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (recipe.parent / "iv.csv").write_bytes(b"")
    with (recipe.parent / "iv.csv").open("wb") as file:
        file.truncate(cells.MAX_BYTES + 1)  # sparse
    recipe.write_text(RECIPE.replace("../else/iv.csv", "iv.csv"))
    with pytest.raises(InputError, match="larger than 512 MiB"):
        FitRecipe.load(recipe).curve()
    (recipe.parent / "iv.csv").write_text("\n" * 25)
    monkeypatch.setattr(cells, "MAX_LINES", 12)
    with pytest.raises(InputError, match="more than 12 lines"):
        FitRecipe.load(recipe).curve()
