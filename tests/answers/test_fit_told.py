"""What a fit's output, its files and those that use them say of what was not measured."""

from __future__ import annotations

import json

import numpy as np
import pytest

from cosim.cli.app import main
from cosim.devices.registry import device
from cosim.fitting.extract import extract
from cosim.fitting.published import unusual
from cosim.fitting.recipe import FitRecipe
from cosim.parameters import ParameterSet, Quantity

SET = """
device = "threshold_memristor"
[sets.mine]
notes = ["read twice", "caution: 0 of 2 parameters identifiable"]
[sets.mine.values]
gamma_p = { value = 3.7, source = "extracted from a.csv" }
gamma_n = { value = 1.4, source = "not fitted; a paper" }
"""


@pytest.fixture
def mine(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(SET)
    return path


# --- sets that are used -----------------------------------------------------------------------------------------


def test_a_set_tells_what_is_not_from_its_data(mine):
    lacking, caution = ParameterSet.load(mine).reservations()
    assert lacking.startswith("mine: not from its data: ")
    assert "g_max = 200 µS" in lacking
    assert "(default, that of tio2)" in lacking
    assert "gamma_n = 1.4 (not fitted; a paper)" in lacking
    assert "gamma_p" not in lacking
    assert caution == "mine: caution: 0 of 2 parameters identifiable"
    whole = {entry.name: Quantity(entry.default) for entry in device("threshold_memristor").params}
    assert ParameterSet("threshold_memristor", "all", whole).reservations() == []


def test_a_caution_outlives_the_merge(mine):
    merged = ParameterSet.load("tio2").for_device("cell_1t1r", others=[ParameterSet.load(mine)])
    assert "caution: 0 of 2 parameters identifiable" in merged.notes
    assert "read twice" not in merged.notes


@pytest.mark.parametrize(
    "words",
    [
        ["surrogate", "train", "--against", "integration", "--pulses", "1", "-o", "OUT/a.npz", "--parameters", "SET"],
        ["surrogate", "train", "--against", "integration", "--pulses", "1", "-o", "OUT/a.npz", "--reference", "SET"],
        ["run", "1t1r_write", "--device", "memristor=SET", "-p", "w0=0.4"],
    ],
    ids=["trained", "reference", "bench"],
)
def test_whoever_uses_a_set_reads_its_reservations(words, mine, tmp_path, capsys):
    main([word.replace("SET", str(mine)).replace("OUT", str(tmp_path)) for word in words])
    said = capsys.readouterr().err
    assert "not from its data: " in said
    assert "caution: 0 of 2 parameters identifiable" in said
    main([word.replace("SET", "tio2").replace("OUT", str(tmp_path)) for word in words])
    assert "not from its data" not in capsys.readouterr().err


# --- what a fit leaves ------------------------------------------------------------------------------------------


@pytest.fixture
def curve(tmp_path):
    """Of a transistor's channel, its current counted out of it."""
    v = np.linspace(0.0, 1.0, 41)
    i = -4e-3 * v * (1.0 - v / 4.0) / (1.0 + v / 3.0)
    i += 2e-6 * np.random.default_rng(5).standard_normal(v.size)
    path = tmp_path / "iv.csv"
    path.write_text("V (V),I (A)\n" + "".join(f"{a:.6g},{b:.8g}\n" for a, b in zip(v, i, strict=True)))
    return path


def recipe(path, *, vary, values=None, sets=None):
    """The file of a recipe beside ``path``."""
    file = path.with_name("recipe.toml")
    text = f"""
name = "mine"
device = "access_transistor"
[data]
kind = "i-v"
columns.voltage = {{ name = "V" }}
columns.current = {{ name = "I", sign = -1 }}
[start]
sets = {sets or []}
[start.values]
{values or ""}
[fit]
vary = {list(vary)}
"""
    file.write_text(text)
    return file


def test_a_turned_sign_is_told_by_the_set(curve):
    chosen = FitRecipe.load(recipe(curve, vary=["g_on", "v_sat"]))
    found = extract(chosen, chosen.curve(curve)).parameter_set()
    assert found.values["g_on"].value == pytest.approx(4e-3, rel=0.01)  # noise of 0.1 % of the range
    (said,) = [note for note in found.reservations() if "sign = -1" in note]
    assert said.startswith("mine: caution: the sign of current was turned")
    plain = chosen.model_copy(update={"data": chosen.data.model_copy(update={"columns": {}})})
    assert not [n for n in extract(plain, chosen.curve(curve)).parameter_set().notes if "sign = -1" in n]


@pytest.mark.parametrize(("bend", "cautious"), [(0.0, False), (0.3, True)], ids=["sound", "another law"])
def test_a_verdict_that_denies_its_values_is_a_caution(bend, cautious, curve):
    chosen = FitRecipe.load(recipe(curve, vary=["g_on", "v_sat"]))
    measured = chosen.curve(curve)
    v = measured.columns["voltage"]
    measured = measured.with_measured(measured.measured * (1.0 + bend * np.sin(12.0 * v)))
    found = extract(chosen, measured)
    assert found.verdict.trustworthy is not cautious
    assert any(found.verdict.summary in note for note in found.parameter_set().reservations()) is cautious


def test_what_was_held_is_listed_with_its_origin(curve, tmp_path, capsys):
    file = recipe(curve, vary=["g_on"], values='v_sat = "2 V"')
    out = tmp_path / "fit.toml"
    assert main(["fit", str(file), str(curve), "-o", str(out)]) == 0
    words = "held        v_sat = 2 V (start.values); v_c = 3 V (default of access_transistor)"
    assert words in capsys.readouterr().out
    main(["fit", "show", str(out)])
    assert words in capsys.readouterr().out
    sources = {name: quantity.source for name, quantity in ParameterSet.load(out).values.items()}
    assert sources["v_c"] == "not fitted; default of access_transistor"
    (tmp_path / "other.toml").write_text('device = "access_transistor"\n[sets.other.values]\nv_c = { value = 3.0 }\n')
    chosen = FitRecipe.load(recipe(curve, vary=["g_on"], sets=["other.toml"]))
    assert extract(chosen, chosen.curve(curve)).held["v_c"] == (3.0, "V", "other")


def test_rates_and_lengths_say_nothing_of_a_column_s_unit():
    assert unusual(device("vteam"), {"k_off": 6e-12, "length": 1e-12}) == []
    assert "v_off = 60 V is" in unusual(device("vteam"), {"v_off": 60.0})[0]
    assert "r_on = 2 GOhm" in unusual(device("vteam"), {"r_on": 2e9})[0]


@pytest.fixture
def retention(tmp_path):
    t = np.logspace(0.0, 4.0, 40)
    g = 1e-5 * (1.0 + np.exp(-t / 800.0)) + 3e-8 * np.random.default_rng(13).standard_normal(t.size)
    path = tmp_path / "lab" / "b.csv"
    path.parent.mkdir()
    path.write_text("Time (s),G (S)\n" + "".join(f"{a:.6g},{b:.8g}\n" for a, b in zip(t, g, strict=True)))
    return path


def test_one_file_goes_into_a_folder_with_a_recipe_that_finds_it(retention, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["fit", "--auto", str(retention), "-o", str(out)]) == 0
    assert sorted(path.name for path in out.iterdir()) == ["b.json", "b_data.csv", "b_recipe.toml"]
    capsys.readouterr()
    assert main(["fit", str(out / "b_recipe.toml"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["law"] == json.loads((out / "b.json").read_text())["law"]


def test_an_interruption_counts_what_was_fitted(retention, tmp_path, capsys, monkeypatch):
    from cosim.fitting import auto

    real = auto.fit_part

    def interrupted(part, **told):
        if part.name.startswith("c"):
            raise KeyboardInterrupt
        return real(part, **told)

    monkeypatch.setattr(auto, "fit_part", interrupted)
    folder = retention.parent
    (folder / "a.csv").write_text("Name,Note\nx,y\n")
    for later in "cd":
        (folder / f"{later}.csv").write_text(retention.read_text())
    out = tmp_path / "out"
    page = tmp_path / "page.html"
    main(["fit", "--auto", str(folder), "-o", str(out), "--report", str(page)])
    said = capsys.readouterr().err
    assert "1 of 3 fitted, and kept" in said
    assert "not fitted: c.csv, d.csv" in said
    assert "Interrupted, not fitted: c.csv, d.csv." in page.read_text()
    assert (out / "b.json").exists()
    retention.unlink()
    main(["fit", "--auto", str(folder), "-o", str(tmp_path / "none")])
    assert "nothing fitted yet" in capsys.readouterr().err
