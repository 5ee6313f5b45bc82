"""What a laboratory does not expect: what was held, turned, grouped or left out on the way, and is said."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from types import MappingProxyType

import numpy as np
import pytest

from cosim.cli.app import main
from cosim.cli.fit_results import print_taken
from cosim.data.readers import read_curve
from cosim.data.readers.table import read_lines
from cosim.data.recognise import recognise
from cosim.data.recording import Curve
from cosim.data.spec import DataSpec
from cosim.devices.registry import device
from cosim.errors import DataError
from cosim.fitting import auto
from cosim.fitting.extract import extract
from cosim.fitting.forward import forward_for
from cosim.fitting.problem import Problem
from cosim.fitting.recipe import FitRecipe
from cosim.fitting.released import exact_scales
from cosim.parameters import ParameterSet
from cosim.report.fit_page import page

# A loop along which the state goes from 0.4 to 0.7 and back, far from both ends.
TRUTH = {
    "k_off": 4e-7,
    "k_on": -5e-7,
    "v_off": 0.3,
    "v_on": -0.3,
    "alpha_on": 1.0,
    "x0": 0.4,
    "r_on": 100.0,
    "r_off": 2e3,
}


def rng(stream):
    return np.random.default_rng([91, stream])


def inner_loop(n=61, noise=2e-3):
    model, t = device("vteam"), np.linspace(0.0, 4e-3, n)
    v = np.sin(2.0 * np.pi * t / t[-1])
    columns, si = {"time": t, "voltage": v, "current": 0.0 * v}, {"time": "s", "voltage": "V", "current": "A"}
    i = forward_for(model, Curve("loop", columns, si), np.ones(n, dtype=bool)).predict(model.values(TRUTH))
    return Curve("loop", {**columns, "current": i + noise * np.ptp(i) * rng(0).standard_normal(n)}, si)


def loop_recipe(vary, **values):
    body = {"name": "x", "device": "vteam", "data": {"kind": "loop"}, "fit": {"vary": vary}}
    return FitRecipe.model_validate({**body, "start": {"values": values, "from_data": False}})


# --- what is held ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loose", [(), ("x0",)])
def test_an_end_of_the_range_that_no_row_reaches_is_not_determined(loose):
    held = {name: TRUTH[name] for name in ("v_off", "v_on", "alpha_on")}
    start = {"r_on": 300.0, "k_off": 4e-7, "k_on": -5e-7}
    recipe = loop_recipe(list(start), **held, **start, r_off=2e3, x0=0.3)
    found = extract(recipe, inner_loop(), loose=loose).verdict["r_on"]
    low, high = found.interval
    if loose:
        assert found.status == "not identifiable"
        assert low < TRUTH["r_on"] < high
        assert "if x0 = 0.3 may move with it; drive the state to both ends of its range" in found.reason
    else:  # as the recipe's author has it: x0 is known
        assert found.status in ("identifiable", "conditional")
        assert not low < TRUTH["r_on"] < high


def test_a_scale_that_trades_exactly_is_found():
    curve, model = inner_loop(), device("vteam")
    forward = forward_for(model, curve, np.ones(len(curve), dtype=bool))
    names = tuple(name for name in forward.active if name != "exponential")
    bounds = {name: forward.bounds()[name] for name in names}
    problem = Problem(forward, curve.measured, np.ones(len(curve)), np.ones(len(curve), dtype=bool), names, bounds)
    start = model.values(TRUTH)
    places = [start, start.with_(x0=0.6, r_on=150.0, k_off=2e-7), start.with_(v_off=0.4, alpha_on=2.0)]
    assert exact_scales(problem, places, ("length",)) == ("length",)
    assert exact_scales(problem.without("k_on"), places, ("length",)) == ()
    assert math.isfinite(problem.chi_square(start))


# --- what was turned ---------------------------------------------------------------------------------------------


def rows(*columns):
    return "\n".join(",".join(f"{value:.7g}" for value in row) for row in zip(*columns, strict=True)) + "\n"


def taken(tmp_path, text, only, monkeypatch, **options):
    """The first recording of a file, fitted by no candidates but ``only``."""
    every = auto.candidates
    monkeypatch.setattr(auto, "candidates", lambda curve: [one for one in every(curve) if one.title in only])
    path = tmp_path / "a.csv"
    path.write_text(text)
    return auto.fit_part(recognise(path, **options)[0])


def channel(v):
    return 4e-3 * v * (1.0 - v / 4.0) / (1.0 + v / 3.0)


def test_a_current_of_the_other_sign_is_turned_and_said(tmp_path, monkeypatch, capsys):
    v = np.linspace(0.0, 1.0, 41)
    text = "V (V),I (A)\n" + rows(v, -channel(v) + 2e-6 * rng(1).standard_normal(v.size))
    found = taken(tmp_path, text, ("access_transistor",), monkeypatch)
    assert found.kept == "access_transistor (current turned)"
    (said,) = [note for note in found.part.notes if "was turned" in note]
    assert said.startswith("the sign of current was turned (sign = -1)")
    assert any("the sign of current was turned" in note for note in found.result.parameter_set().notes)
    assert "sign of current was turned" in page([found.result], [found]).write(tmp_path / "a.html").read_text()
    print_taken(found)
    assert sum("was turned" in line for line in capsys.readouterr().out.splitlines()) == 1


def test_a_loop_of_the_other_polarity_is_turned(tmp_path, monkeypatch):
    model = device("threshold_memristor")
    p = model.defaults().with_(w0=0.2)
    t = np.linspace(0.0, 40.0 * float(model.pulse_width(p)), 121)
    v = float(model.drive_level(p)) * np.sin(2.0 * np.pi * t / t[-1])
    blank = Curve("loop", {"time": t, "voltage": v, "current": 0.0 * v}, {"time": "s", "voltage": "V", "current": "A"})
    i = forward_for(model, blank, np.ones(121, dtype=bool)).predict(p)
    i = i + 2e-3 * np.ptp(i) * rng(2).standard_normal(121)
    monkeypatch.setattr(auto, "_final", lambda part, curve, held, trial: trial)
    text = "t (ns),V (V),I (A)\n" + rows(1e9 * t, -v, -i)
    found = taken(tmp_path, text, ("threshold_memristor", "cubic"), monkeypatch)
    assert found.kept == "threshold_memristor (voltage and current turned)"
    assert "threshold_memristor" in {one.title for one in found.tried}


# --- noise that grows with the reading ---------------------------------------------------------------------------


def growing_file(relative=0.02, bend=0.0):
    v = np.linspace(0.02, 1.0, 120)
    i = channel(v) * (1.0 + bend * np.sin(9.0 * v))
    return "V (V),I (A)\n" + rows(v, i * (1.0 + relative * rng(3).standard_normal(v.size)))


@pytest.mark.parametrize(("relative", "bend", "told"), [(0.02, 0.0, True), (0.0005, 0.1, False)])
def test_noise_of_a_part_of_the_reading_is_fitted(relative, bend, told, tmp_path, monkeypatch):
    result = taken(tmp_path, growing_file(relative, bend), ("access_transistor",), monkeypatch).result
    said = [note for note in result.recipe.notes if "noise grows with the reading" in note]
    assert bool(said) == told
    assert result.verdict.residuals.white == told
    if told:
        assert result.recipe.noise.relative == pytest.approx(relative, rel=0.2)  # of 120 rows: 1/√240


def test_a_recipe_is_told_of_noise_that_grows(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(growing_file())
    body = {"name": "x", "device": "access_transistor", "fit": {"vary": ["g_on", "v_sat"]}}
    data = {"kind": "i-v", "columns": {"voltage": {"name": "V"}, "current": {"name": "I"}}}
    recipe = FitRecipe.model_validate({**body, "data": data})
    (said,) = [line for line in extract(recipe, recipe.curve(path)).verdict.remarks if "grow with the reading" in line]
    assert "write noise = { relative = 0.0" in said


# --- families ----------------------------------------------------------------------------------------------------

OUT = np.linspace(0.0, 2.0, 21)
GATES = (1.0, 2.0, 3.0)


def family_file(noise=0.0, back=False, time=False):
    """Output curves at three gate voltages, rising or there and back."""
    v = np.concatenate([OUT, OUT[-2::-1]]) if back else OUT
    i = [1e-3 * g * v * (1.0 - v / 6.0) + 1e-6 * rng(4).standard_normal(v.size) for g in GATES]
    gate = np.repeat(GATES, v.size) + noise * rng(5).standard_normal(3 * v.size)
    columns = [np.tile(v, 3), gate, np.concatenate(i)]
    if time:
        return "t (s),VD (V),VG (V),ID (A)\n" + rows(1e-3 * np.arange(3 * v.size), *columns)
    return "VD (V),VG (V),ID (A)\n" + rows(*columns)


FAMILIES = {
    "rising": ({}, "VG == 2.0 V"),
    "there and back": ({"back": True}, "VG == 2.0 V"),
    "with the time": ({"time": True}, "VG == 2.0 V"),
    "a measured gate": ({"noise": 1e-3}, "VG > 1.5"),
}


@pytest.mark.parametrize("case", FAMILIES)
def test_a_family_of_curves_is_no_loop(case, tmp_path):
    options, where = FAMILIES[case]
    path = tmp_path / "a.csv"
    path.write_text(family_file(**options))
    parts = recognise(path)
    assert [part.shape for part in parts] == ["I-V sweep of a family"] * 3
    assert parts[0].name.startswith("a.csv [VG = ")
    assert parts[1].where.startswith(where)
    (said,) = [note for note in parts[1].notes if "of a family" in note]
    assert "ID over VD at 3 levels of VG" in said
    assert f'where = "{parts[1].where}"' in said


def test_sweeps_that_begin_again_are_no_loop(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("V (V),I (A)\n" + rows(np.tile(OUT, 3), np.tile(channel(OUT), 3)))
    assert [part.shape for part in recognise(path)] == ["I-V sweep"]


def test_each_curve_of_a_family_has_a_recipe_that_fits_it_again(tmp_path, monkeypatch, capsys):
    every = auto.candidates
    monkeypatch.setattr(auto, "candidates", lambda curve: [c for c in every(curve) if c.title == "access_transistor"])
    (tmp_path / "a.csv").write_text(family_file())
    assert main(["fit", "--auto", str(tmp_path / "a.csv"), "-o", str(tmp_path / "sets")]) == 0
    made = sorted((tmp_path / "sets").glob("*_recipe.toml"))
    assert len(made) == 3
    capsys.readouterr()
    recipe = FitRecipe.load(made[1], allow=[tmp_path])
    assert len(recipe.curve()) == OUT.size
    assert extract(recipe).values["g_on"] == pytest.approx(2e-3, rel=0.02)


# --- limits that a file states -----------------------------------------------------------------------------------


def limited_file():
    """An EasyEXPERT file whose current stops about its compliance, with an instrument's scatter."""
    v = np.linspace(0.0, 1.0, 61)
    scatter = 2e-6 * rng(6).standard_normal(v.size)
    i = np.where(channel(v) < 2e-3, channel(v) + scatter, 2e-3 + 1e-9 * rng(7).standard_normal(v.size))
    i[12] += 1e-4
    head = "SetupTitle, I/V Sweep\nTestParameter, Measurement.Primary.Compliance, 0.002\n"
    body = "".join(f"DataValue, {a!r}, {b!r}\n" for a, b in zip(v.tolist(), i.tolist(), strict=True))
    return f"{head}Dimension1, 61, 61\nDataName, V1, I1\nDataUnit, V, A\n{body}", int(np.sum(i > 1.998e-3))


def test_a_stated_compliance_is_the_limit(tmp_path, monkeypatch):
    text, count = limited_file()
    found = taken(tmp_path, text, ("access_transistor",), monkeypatch)
    assert found.result.recipe.data.compliance == "0.002 A"
    assert int(found.result.clipped.sum()) == count > 10
    remarks = found.result.verdict.remarks
    assert any(f"{count} values are at the stated compliance" in said for said in remarks)
    (said,) = [said for said in remarks if "no outlier is left out" in said]
    assert "lies further from the law" in said


def test_a_current_far_beyond_its_own_limit_is_in_another_unit(tmp_path, monkeypatch):
    text = limited_file()[0].replace("Primary.Compliance, 0.002", "Primary.Compliance, 0.000002")
    found = taken(tmp_path, text, ("access_transistor",), monkeypatch)
    assert found.result is None
    assert "1000 times the limit of 2 µA that the file states: check the unit" in found.why


# --- recipes of what was cut out ---------------------------------------------------------------------------------

PULSES = np.arange(40.0)
TRAINS = "Pulse number,G (uS)\n" + rows(
    PULSES + 1.0,
    np.concatenate([20.0 + 10.0 * (1.0 - np.exp(-np.arange(20.0) / 7.0)), 20.0 + 8.6 * np.exp(-np.arange(20.0) / 5.0)])
    + 0.02 * rng(9).standard_normal(40),
)
WAIT = np.geomspace(1.0, 1e3, 40)
DECAY = "Time (s),G (uS)\n-1,1\n-0.5,1\n" + rows(
    WAIT, 1.0 + 2.0 * np.exp(-WAIT / 80.0) + 2e-3 * rng(10).standard_normal(40)
)
CUT = {
    "equal pulses": (TRAINS, ("threshold_memristor (saturating, first read)",)),
    "a law": (DECAY, ("one exponential",)),
}


@pytest.mark.parametrize("case", CUT)
def test_a_recipe_of_rows_that_were_cut_fits_them_again(case, tmp_path, monkeypatch, capsys):
    text, only = CUT[case]
    every = auto.candidates
    monkeypatch.setattr(auto, "candidates", lambda curve: [one for one in every(curve) if one.title in only])
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.csv").write_text(text)
    main(["fit", "--auto", str(tmp_path / "in" / "a.csv"), "-o", str(tmp_path / "a.toml")])
    assert "a_rows.csv" in capsys.readouterr().out
    first = json.loads((tmp_path / "a.json").read_text())["parameters"]
    assert main(["fit", str(tmp_path / "a_recipe.toml"), "-o", str(tmp_path / "b.toml")]) == 0
    again = json.loads((tmp_path / "b.json").read_text())["parameters"]
    for name, entry in first.items():
        assert again[name]["value"] == pytest.approx(entry["value"], rel=1e-3, abs=1e-3 * abs(entry["stderr"] or 0.0))


def test_a_recipe_says_which_record_it_is_of(tmp_path):
    test = "SetupTitle, Sweep\nDimension1, 41, 41\nDataName, V1, I1\nDataUnit, V, A\n"
    v = np.linspace(0.0, 1.0, 41)
    body = "".join(f"DataValue, {a!r}, {b!r}\n" for a, b in zip(v.tolist(), channel(v).tolist(), strict=True))
    path = tmp_path / "a.csv"
    path.write_text(2 * (test + body))
    assert [part.data["record"] for part in recognise(path)] == [1, 2]


# --- distributions -----------------------------------------------------------------------------------------------


def test_fits_of_many_devices_become_a_campaign(tmp_path, capsys):
    """Results of twelve devices; a plan; a campaign whose draws lie around their mean with their spread."""
    truth = 20.0 + 5.0 * rng(11).standard_normal((12, 2)) @ np.array([[1.0, 0.9], [0.0, 0.436]])
    for k, (theta, g_max) in enumerate(truth):
        told = {
            "name": f"d{k}", "device": "threshold_memristor", "verdict": "", "provenance": {}, "remarks": [],
            "parameters": {
                name: {"value": value, "unit": unit, "stderr": 0.01 * value, "status": "identifiable",
                       "interval_95": [None, None]}
                for name, value, unit in (("theta_p", 0.055 * theta, "V"), ("g_max", 1e-5 * g_max, "S"))
            },
        }  # fmt: skip
        (tmp_path / f"d{k}.json").write_text(json.dumps(told))
    plan = tmp_path / "plan.toml"
    words = ["fit", "distributions", str(tmp_path), "-o", str(plan), "--bench", "1t1r_write", "--samples", "3"]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "theta_p: normal" in said or "theta_p: lognormal" in said
    assert "correlation theta_p and g_max: +0." in said
    assert main(["campaign", "run", str(plan), "-o", str(tmp_path / "c"), "-j", "0", "--no-cache"]) in (0, 1)
    from cosim.campaign.plan import check_spreads, load_bench, read_plan

    read = read_plan(plan)
    spread, centre = check_spreads(read, load_bench(read, plan.parent))["devices.memristor.theta_p"]
    assert centre == pytest.approx(float(np.mean(0.055 * truth[:, 0])), rel=0.02)  # a mean of twelve, or of a lognormal
    assert float(spread.value(centre, 1.0) - centre) == pytest.approx(0.055 * np.std(truth[:, 0], ddof=1), rel=0.3)
    assert main([*words[:-4], "--bench", "reram_iv"]) == 2
    assert "bench reram_iv has no devices with the parameters theta_p, g_max" in capsys.readouterr().err


# --- beyond what was measured ------------------------------------------------------------------------------------


def test_a_surrogate_says_where_its_set_was_not_measured(tmp_path, capsys):
    kept = ParameterSet.load("tio2")
    applied = {"measured_amplitude": "-1.0 V .. 1.5 V", "measured_width": "2e-07 s .. 2e-07 s"}
    path = replace(kept, provenance=MappingProxyType(applied)).save(tmp_path / "mine.toml")
    words = ["surrogate", "train", "--against", "integration", "--pulses", "100", "-o", str(tmp_path / "a.npz")]
    main([*words, "--parameters", str(path), "--width", "200 ns", "--span", "-2 V", "1.5 V"])
    (said,) = [line for line in capsys.readouterr().err.splitlines() if "was measured at" in line]
    assert "amplitude -2 V to 1.5 V, measured -1 V to 1.5 V" in said
    assert "width" not in said
    main([*words, "--parameters", str(path), "--width", "200 ns", "--span", "-1 V", "1 V"])
    assert "was measured at" not in capsys.readouterr().err


def test_a_set_keeps_what_was_applied(tmp_path):
    curve = inner_loop(31)
    found = extract(loop_recipe(["r_on"], **{n: v for n, v in TRUTH.items() if n != "r_on"}, r_on=150.0), curve)
    assert found.parameter_set().provenance["measured_amplitude"].startswith("-0.99")
    assert "measured_width" not in found.provenance()


# --- units behind numbers ----------------------------------------------------------------------------------------

VOLTS, MICRO = (1, 2, 3, 4, 5, 6), (900, 1800, 2700, 3600, 4500, 5400)
CELLS = {
    "commas": ("V,I", "{} V,{} uA"),
    "commas and blanks": ("V, I", "{} V, {} uA"),
    "semicolons": ("V;I", "{} V;{} uA"),
    "tabs": ("V\tI", "{} V\t{} uA"),
}


def read(tmp_path, head, row, **unit):
    path = tmp_path / "a.csv"
    path.write_text("\n".join([head, *(row.format(v, i) for v, i in zip(VOLTS, MICRO, strict=True))]) + "\n")
    columns = {"voltage": {"name": "V", "unit": "V"}, "current": {"name": "I", **unit}}
    return read_curve(path, DataSpec.model_validate({"kind": "i-v", "columns": columns}))


@pytest.mark.parametrize("case", CELLS)
def test_cells_with_units_are_not_split_at_their_blanks(case, tmp_path):
    curve = read(tmp_path, *CELLS[case])
    assert curve["voltage"].tolist() == list(VOLTS)
    assert curve["current"] == pytest.approx(1e-6 * np.array(MICRO), rel=1e-12)


@pytest.mark.parametrize(
    ("unit", "said"), [("uA", "which has a prefix too"), ("mA", "which has a prefix too"), ("A", "")]
)
def test_a_prefix_in_a_cell_and_in_the_recipe_are_one_too_many(unit, said, tmp_path):
    if said:
        with pytest.raises(DataError, match=f"row 2, column 'I': '900 u' stands in a column in {unit}, {said}"):
            read(tmp_path, "V,I", "{},{} u", unit=unit)
    else:
        assert read(tmp_path, "V,I", "{},{} u", unit=unit)["current"][0] == pytest.approx(9e-4, rel=1e-12)


def test_what_two_pulses_left_makes_their_ratio(tmp_path):
    wait = np.geomspace(1.0, 300.0, 20)
    path = tmp_path / "a.csv"
    path.write_text("Interval (ms),A1 (uS),A2 (uS)\n" + rows(wait, 2.0 + 0.0 * wait + 1e-2 * wait, (3.0 + 1e-2 * wait)))
    (part,) = recognise(path)
    assert part.shape == "paired pulses"
    assert part.curve["ratio"] == pytest.approx((3.0 + 1e-2 * wait) / (2.0 + 1e-2 * wait), rel=1e-5)
    assert "the ratio is A2 over A1" in part.notes


def test_a_noisy_read_voltage_beside_a_stepped_gate_is_no_family(tmp_path):
    t = np.arange(60.0)
    gate = np.repeat([0.0, 1.0, 2.0], 20)
    path = tmp_path / "a.csv"
    read = 0.1 * (1.0 + 5e-3 * rng(12).standard_normal(60))
    path.write_text("t (s),VD (V),VG (V),ID (A)\n" + rows(t, read, gate, 1e-6 * (1.0 + gate) * read))
    assert not [part for part in recognise(path) if part.where]


@pytest.mark.parametrize("mark", ["#", "%"])
def test_a_header_behind_a_comment_mark_gives_columns_and_units(mark, tmp_path):
    t = np.linspace(0.0, 9.0, 30)
    path = tmp_path / "a.txt"
    path.write_text(
        f"{mark} made by a script\n{mark} time[s]\tI[nA]\n" + rows(t, 5.0 + 5.0 * np.exp(-t)).replace(",", "\t")
    )
    (part,) = recognise(path)
    assert part.shape == "retention"
    assert part.curve.measured[0] == pytest.approx(10e-9, rel=1e-6)


# --- a limit in a preamble --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("preamble", "limit"),
    [
        ("Source Function,Voltage\nSource Limit,1.0E-02\n", 0.01),
        ("Compliance:,10 mA\n", 0.01),
        ("Current Compliance (A),x\n", None),
        ("Source Function,Current\nSource Limit,2\n", None),  # volts
        ("Compliance,20 V\n", None),
        ("Compliance,1e-3\nI limit,1e-2\n", None),  # which one?
    ],
)
def test_a_preamble_states_the_limit_of_its_current(preamble, limit, tmp_path):
    file = tmp_path / "a.csv"
    volts = np.linspace(0.0, 1.0, 21)
    file.write_text("Some SMU\n" + preamble + "Voltage (V),Current (A)\n" + rows(volts, 0.3 * volts))
    assert dict(read_lines(file).limits) == ({} if limit is None else {"": limit})
    if limit is not None:
        assert "30 times the limit of 10 mA that the file states" in auto.fit_part(recognise(file)[0]).why
