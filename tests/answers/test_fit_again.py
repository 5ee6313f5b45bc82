"""What a fit leaves for whoever goes on: the recipe that --auto writes, and the rows to measure next."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import cosim
from claims import coverage_rows, folder
from claims.next_measurement import CASES
from cosim import units
from cosim.cli.app import main
from cosim.cli.fit_together import together
from cosim.data.recognise import recognise
from cosim.devices.pulse import PulseShape
from cosim.errors import CosimError
from cosim.fitting.designs import designs
from cosim.fitting.extract import extract
from cosim.fitting.forward import forward_for
from cosim.fitting.next_measurement import NextMeasurement
from cosim.fitting.recipe import FitRecipe
from cosim.fitting.recipe_tables import StartSpec
from cosim.packages import process_unchanged

T = np.logspace(0.0, 4.0, 40)


def growing_noise():
    """A decay whose noise grows with the reading."""
    y = 1e-5 * (0.1 + np.exp(-T / 800.0))
    return y * (1.0 + 0.03 * np.random.default_rng(5).standard_normal(T.size))


def made(path, name):
    if name in folder.FILES:
        folder.FILES[name].write(path)
    else:
        path.write_text(
            "Time (s),G (S)\n" + "\n".join(f"{t:.7g},{y:.7g}" for t, y in zip(T, growing_noise(), strict=True))
        )
    return path


# loops and transients take minutes: a sweep, a power law, columns without units, ratios, reads cut into trains, ...
@pytest.mark.parametrize(
    "name", ["a_b1500.csv", "c_smu2400.txt", "e_lab.mat", "f_pairs.csv", "g_trains.tsv", "h_cycles.csv", "g.csv"]
)
def test_the_recipe_of_auto_gives_its_result_again(name, tmp_path, capsys):
    """The same values, intervals and verdict: the recipe holds what the fit was called with."""
    out, again = tmp_path / "out", tmp_path / "again.toml"
    with process_unchanged():  # scipy's reader of such files, and numba
        assert main(["fit", "--auto", str(made(tmp_path / name, name)), "-o", str(out)]) == 0
    recipes = sorted(out.glob("*_recipe.toml"))
    assert recipes
    for recipe in recipes:
        main(["fit", str(recipe), "-o", str(again), "--undetermined"])
        first = json.loads((out / recipe.name.replace("_recipe.toml", ".json")).read_text())
        second = json.loads(again.with_suffix(".json").read_text())
        assert first["parameters"] == second["parameters"]
        assert first["verdict"] == second["verdict"]


def test_what_is_held_undetermined_is_in_the_recipe(tmp_path, capsys):
    """A loop that moves the state over part of its range: its ends are open, by the recipe too."""
    body = {
        "name": "sweep", "device": "access_transistor", "data": {"kind": "i-v"},
        "fit": {"vary": ("g_on", "v_sat"), "undetermined": ("v_c",), "method": "nearest"},
        "start": {"values": {"v_c": 2.5}},
    }  # fmt: skip
    v = np.linspace(0.0, 0.8, 60)
    curve = cosim.Curve.i_v(v, 4e-3 * v / (1.0 + v / 2.0) + 1e-6 * np.random.default_rng(0).standard_normal(v.size))
    recipe = FitRecipe.model_validate(body)
    stated, called = (
        extract(recipe, curve),
        extract(
            recipe.model_copy(update={"fit": recipe.fit.model_copy(update={"undetermined": ()})}), curve, loose=("v_c",)
        ),
    )
    assert stated.loose == called.loose == ("v_c",)
    assert [row.verdict.interval for row in stated.rows()] == [row.verdict.interval for row in called.rows()]
    for wrong in ("v_c2", "g_on"):
        fit = recipe.fit.model_copy(update={"undetermined": (wrong,)})
        with pytest.raises(CosimError, match=wrong):
            extract(recipe.model_copy(update={"fit": fit}), curve)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("weak pulses", ("pulses of ", "; width 200 ns, rise 5 ns, fall 5 ns, read at 200 mV after each")),
        ("half a loop", (" rows in ", "voltage from ", " to ")),
        ("triode region", ("voltage from 0 V to 1 V",)),
    ],
)
def test_the_next_measurement_is_what_a_lab_programs(name, words, tmp_path):
    curve = next(case for case in CASES if case.name == name).curve(np.random.default_rng(1))
    for design in designs(curve, reach=1.0, rows=50):
        proposal = NextMeasurement(
            design, "alpha_p", 2.46, 0.048, "alpha_p", 1.0, {"voltage": (0.0, 1.0), "w": (0.1, 0.3)},
            {"voltage": "V", "w": "1"}, dict(curve.units), 1.0,
        )  # fmt: skip
        said = str(proposal)
        assert "from 246%, that of alpha_p, to about 4.8%; alpha_p shows at voltage from 0 V to 1 V and w from" in said
        assert all(word in said or "random size" in said for word in words)
        rows = list(csv.reader(proposal.write(tmp_path / "next.csv").read_text().splitlines()))
        assert len(rows) == 1 + len(design)
        for title, column in zip(rows[0], zip(*rows[1:], strict=True), strict=True):
            if title.startswith("time"):
                assert float(column[0]) == 0.0
            else:
                digits = [cell.split("e")[0].replace(".", "").lstrip("-0") for cell in column]
                assert max(map(len, digits)) <= 4


@pytest.mark.parametrize(("sets", "whose"), [((), "the defaults of threshold_memristor"), (("hfo2",), "hfo2")])
def test_pulses_of_unknown_amplitude_leave_the_thresholds_to_others_and_say_so(sets, whose):
    """A set of such a fit predicts no change for a pulse between thresholds that no data decided."""
    row = coverage_rows.row(coverage_rows.EQUAL)
    recipe = row.recipe.model_copy(update={"start": StartSpec(sets=sets)})
    fit = extract(recipe, row.lab(np.random.default_rng(0)))
    said = next(sentence for sentence in fit.verdict.sentences() if "takes its thresholds from" in sentence)
    assert f"takes its thresholds from {whose}: it predicts no change for an amplitude from " in said
    values = fit.parameter_set().resolved()
    cell = cosim.device("threshold_memristor")
    low, high = -float(values.theta_p), float(values.theta_n)
    assert f"from {units.show(low, 'V', digits=3)} to {units.show(high, 'V', digits=3)};" in said
    for v in (0.99 * low, 0.99 * high):
        assert float(cell.pulse(v, 0.5, values, shape=PulseShape())[0]) == 0.5
    assert float(cell.pulse(1.2 * high, 0.5, values, shape=PulseShape())[0]) != 0.5


def two_sweeps(*, time):
    """Two devices' sweeps of one transistor below each other, with their number and the time of each row."""
    v = np.linspace(0.05, 1.6, 30)
    lines = ["Device,t (s),V (V),I (A)" if time else "Device,V (V),I (A)"]
    cell = cosim.device("access_transistor")
    model = forward_for(cell, cosim.Curve.i_v(v, 0.0 * v), np.ones(v.size, dtype=bool))
    clean = model.predict(cell.values({"g_on": 4e-3, "v_sat": 1.6, "v_c": 2.5}))
    for number in (1, 2):
        i = clean + 1e-3 * np.ptp(clean) * np.random.default_rng(number).standard_normal(v.size)
        clock = (f"{0.1 * k:g}," if time else "" for k in range(v.size))
        lines += [f"{number},{t}{a:.7g},{b:.7g}" for t, a, b in zip(clock, v, i, strict=True)]
    return "\n".join(lines) + "\n"


def test_a_column_of_any_name_groups_as_a_kind_that_a_recipe_knows():
    part = SimpleNamespace(path=Path("lab/loops.csv"), where="'Loop no.' == 1")
    assert 'groups = { sweep = "Loop no." }' in together([part])


def test_recordings_of_one_file_are_told_apart_and_fitted_together(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("both.csv").write_text(two_sweeps(time=True))
    parts = recognise(Path("both.csv"))
    assert [part.where for part in parts] == ["Device == 1", "Device == 2"]
    assert [len(part.curve) for part in parts] == [30, 30]
    assert main(["fit", "--auto", "both.csv", "-o", "out"]) == 0
    said = capsys.readouterr()
    assert (
        'cosim fit RECIPE both.csv --together with groups = { device = "Device" } under [data] in place of where'
        in (" ".join(said.err.split()))
    )
    recipe = """name = "pair"\ndevice = "access_transistor"
[data]
kind = "i-v"
columns = { voltage = { name = "V" }, current = { name = "I" } }
groups = { device = "Device" }
[start.values]
v_c = 2.5
[fit]
vary = ["g_on", "v_sat"]
"""
    Path("pair.toml").write_text(recipe)
    assert main(["fit", "pair.toml", "both.csv", "--together", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert list(told["observations"]) == ["both_1", "both_2"]
    assert main(["fit", "pair.toml", "both.csv", "--json"]) == 0  # each by itself
    told = json.loads(capsys.readouterr().out)["results"]
    assert len(told) == 2


def test_a_long_verdict_is_a_title_in_lines():
    fit = extract(FitRecipe.load("virtual_lab/access"))
    figure = fit.figure()
    title = figure.get_suptitle()
    assert len(fit.verdict.summary) > 12 * figure.get_figwidth()
    assert " ".join(title.split("\n")).endswith(fit.verdict.summary)
    assert max(map(len, title.split("\n"))) <= 12 * figure.get_figwidth()
    for row in fit.rows():
        assert re.search(r"is known to within \d(\.\d+)?(e-\d+)? % of its value", row.verdict.reason)
