"""A laboratory's own parameter sets, by name: from a fit to a bench, a surrogate and a recipe."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import cosim
from cosim import resources
from cosim.cli.app import main
from cosim.errors import InputError, MissingFile, UnknownName


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "device_models"
    folder.mkdir()
    return folder


def put(folder: Path, name: str, *, inside: str = "", theta: float = 1.7) -> Path:
    found = cosim.ParameterSet.load("tio2").with_values({"theta_p": theta}, name=inside or name)
    return found.save(folder / f"{name}.toml")


def test_what_a_fit_wrote_is_known_by_name(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", "virtual_lab/access", "-o", "device_models/gate_a.toml"]) == 0
    assert main(["devices", "show", "gate_a"]) == 0
    assert main(["devices"]) == 0
    assert "gate_a" in capsys.readouterr().out
    found = cosim.ParameterSet.load("gate_a")
    assert found.device == "access_transistor"
    assert cosim.ParameterSet.load("access_transistor:gate_a") == found


def test_benches_surrogates_and_recipes_take_it(models: Path) -> None:
    put(models, "cell_a")
    assert cosim.Surrogate(cosim.ParameterSet.load("cell_a")).parameters.resolved().theta_p == 1.7
    bench = cosim.Testbench.load("memristor_random_pulses")
    assert bench.load_set("cell_a", "memristor").values["theta_p"].value == 1.7
    body = {"name": "again", "device": "threshold_memristor", "data": {"kind": "pulse train"}, "fit": {"vary": ["w0"]}}
    recipe = cosim.FitRecipe.model_validate({**body, "start": {"sets": ["cell_a"]}})
    assert recipe.starting_set().values["theta_p"].value == 1.7


def test_folders_of_the_environment_are_searched_too(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for k, name in enumerate(("one", "two")):
        (tmp_path / name).mkdir()
        put(tmp_path / name, f"cell_{name}", theta=1.6 + k)
    monkeypatch.setenv("COSIM_MODELS", os.pathsep.join(str(tmp_path / name) for name in ("one", "two")))
    assert [cosim.ParameterSet.load(f"cell_{n}").values["theta_p"].value for n in ("one", "two")] == [1.6, 2.6]
    put(models, "cell_two")
    with pytest.raises(InputError, match=r"'cell_two' is in two folders, .*device_models and .*two; rename one"):
        cosim.ParameterSet.load("cell_two")
    monkeypatch.setenv("COSIM_MODELS", str(tmp_path / "gone"))
    with pytest.raises(MissingFile, match="COSIM_MODELS names the folder"):
        cosim.ParameterSet.load("cell_one")


def test_a_name_of_cosims_own_is_refused_and_a_wrong_one_answered(models: Path) -> None:
    path = put(models, "tio2")
    with pytest.raises(
        InputError, match=r"'tio2' is cosim's, and a file of the library, .*tio2\.toml; rename the file"
    ):
        cosim.ParameterSet.load("tio2")
    path.rename(models / "cell_a.toml")
    with pytest.raises(UnknownName, match="cell_a"):
        cosim.ParameterSet.load("cell_b")
    with pytest.raises(InputError, match=r"'cell_a' of the library is of threshold_memristor, not of vteam"):
        cosim.ParameterSet.load("vteam:cell_a")


@pytest.mark.parametrize("name", ["../cell_a", "sub/cell_a", "/etc/cell_a"])
def test_a_name_does_not_lead_out_of_the_library(models: Path, name: str) -> None:
    put(models.parent, "cell_a")
    (models / "sub").mkdir()
    put(models / "sub", "cell_a")
    with pytest.raises(UnknownName):
        cosim.ParameterSet.load(name)


def test_the_shipped_folder_is_not_its_own_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a checkout, ``device_models/`` of the working directory is cosim's."""
    monkeypatch.chdir(resources.folder("device_models").parent)
    assert resources.library() == {}
    assert cosim.ParameterSet.load("tio2").device == "threshold_memristor"
