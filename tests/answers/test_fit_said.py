"""What a fit says beside its numbers: what trades, ends that changed places, ramps apart, a law's next measurement."""

from __future__ import annotations

import numpy as np
import pytest

from cosim.data.recognise import recognise
from cosim.data.recording import Curve
from cosim.devices.base import Values
from cosim.devices.registry import device, devices
from cosim.errors import FitError
from cosim.fitting import auto
from cosim.fitting.combinations import product
from cosim.fitting.extract import extract
from cosim.fitting.forward import forward_for
from cosim.fitting.identify import trading_pairs
from cosim.fitting.next_measurement import next_measurement
from cosim.fitting.published import turned_round
from cosim.fitting.recipe import FitRecipe
from cosim.fitting.trials import Candidate
from cosim.fitting.uncertainty import Uncertainty


def rng(stream):
    return np.random.default_rng([41, stream])


def table(path, head, *columns):
    path.write_text(head + "\n".join(",".join(f"{v:.8g}" for v in row) for row in zip(*columns, strict=True)) + "\n")
    return path


def taken(path):
    return auto.fit_part(recognise(path)[0])


def sentences(result):
    return " | ".join(result.verdict.sentences())


# --- a law that is a constant ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("spread", "known"), [(0.05, "identifiable"), (40.0, "not identifiable")])
def test_a_constant_has_an_interval_where_it_differs_from_zero(tmp_path, spread, known):
    read = 1e-4 * (1.0 + spread * rng(1).standard_normal(200))
    result = taken(table(tmp_path / "cycles.csv", "Cycle,HRS (S)\n", np.arange(1.0, 201.0), read)).result
    (row,) = result.rows()
    assert (result.recipe.law, row.name, row.verdict.status) == ("constant", "level", known)
    if known == "identifiable":
        seen = read[~result.held_out]
        assert row.value == pytest.approx(seen.mean(), rel=1e-6)
        assert row.stderr == pytest.approx(seen.std(ddof=1) / np.sqrt(seen.size), rel=1e-3)
        assert row.verdict.interval[0] < 1e-4 < row.verdict.interval[1]


# --- what trades ----------------------------------------------------------------------------------------------


def test_a_power_of_a_negative_parameter_is_one_of_its_magnitude():
    assert product([("v_on", 1.0), ("k_on", -0.25)], ["k_on"]) == "v_on·|k_on|^-0.25"
    covariance = 1e-2 * np.array([[1.0, 0.999], [0.999, 1.0]])
    found = Uncertainty(("a", "b"), covariance, (), {}, ("a", "b"), covariance)
    (pair,) = trading_pairs(found, Values({"a": 1.0, "b": -1.0}), {"a": "", "b": ""})
    assert pair.title == "a·|b|^1.00"


def test_a_pair_inside_a_known_product_is_spoken_of_once(tmp_path):
    v = np.linspace(-1.0, 1.0, 201)
    model = device("yakopcic")
    truth = {"a1": 0.04, "a2": 0.064, "b": 0.5}
    recipe = FitRecipe.model_validate(
        {"name": "sinh", "device": "yakopcic", "data": {"kind": "i-v"}, "fit": {"vary": [*truth]}}
    )
    i = forward_for(model, Curve.i_v(v, 0.0 * v), np.ones(v.size, bool)).predict(model.values(truth))
    result = extract(recipe, Curve.i_v(v, i + 3e-5 * rng(2).standard_normal(v.size)))
    products = [{name for name, _ in one.powers} for one in result.verdict.products]
    assert products == [{"a1", "b"}, {"a2", "b"}]
    said = [text for text in result.verdict.sentences() if "each other" in text or "told apart" in text]
    assert [text.split(" trade")[0] for text in said] == ["a1 and a2"]
    assert {(pair.first, pair.second) for pair in result.verdict.pairs} == {("a1", "a2"), ("a1", "b"), ("a2", "b")}


# --- ends of a range ------------------------------------------------------------------------------------------


def test_ends_that_changed_places_are_told():
    model = device("vteam")
    values = model.values({"r_on": 2e4, "r_off": 2e3})
    (said,) = turned_round(model, values, ["r_on", "v_on"])
    assert "r_on = 20 kOhm is above r_off = 2 kOhm" in said
    assert turned_round(model, values, ["v_on"]) == []
    assert turned_round(model, model.defaults(), ["r_on", "r_off"]) == []


def test_every_ordered_pair_is_in_order_by_default():
    found = [(model, pair) for model in devices().values() for pair in model.ordered]
    assert len(found) >= 4
    for model, (low, high) in found:
        assert model.param(low).unit == model.param(high).unit
        assert model.param(low).default < model.param(high).default, model.name


# --- ramps that share a start ---------------------------------------------------------------------------------


@pytest.mark.parametrize("apart", [False, True])
def test_ramps_that_begin_elsewhere_are_told(tmp_path, apart):
    n, count = np.arange(30.0), 4
    begin = np.linspace(0.0, 0.15, count) if apart else np.zeros(count)
    read = np.concatenate([20e-6 + 60e-6 * (1.0 + (w - 1.0) * np.exp(-0.06 * n)) for w in begin])
    read = read + 3e-7 * rng(3).standard_normal(read.size)
    recipe = FitRecipe.model_validate({
        "name": "ramps", "device": "threshold_memristor", "ramps": {"start": "shared"},
        "data": {"kind": "equal pulses"}, "fit": {"vary": ["high", "strength_p", "start_p"]},
    })  # fmt: skip
    ramp = np.repeat(np.arange(float(count)), n.size)
    columns = {"ramp": ramp, "pulse": np.tile(n, count), "polarity": np.ones(read.size), "read": read}
    units = {"ramp": "1", "pulse": "1", "polarity": "1", "read": "S"}
    said = sentences(extract(recipe, Curve("equal pulses", columns, units)))
    assert ("do not begin at one place" in said) is apart


# --- what to measure next of a law ----------------------------------------------------------------------------


LAW = ["rest", "amplitude_1", "tau_1", "amplitude_2", "tau_2"]


def relaxation(t, stream):
    g = 1e-6 * (3.0 + 2.0 * np.exp(-t / 0.05) + 4.0 * np.exp(-t / 0.9))
    return g + 2e-8 * rng(stream).standard_normal(t.size)


def test_a_law_says_when_to_read_next_and_the_reads_tell(tmp_path):
    """A slow part that is still there at the last read: later reads tell it, at times of the recording."""
    recipe = FitRecipe.model_validate(
        {"name": "law", "law": "two exponentials", "data": {"kind": "relaxation"}, "fit": {"vary": LAW}}
    )
    t = np.linspace(0.01, 0.4, 30)
    units = {"time": "s", "read": "S"}
    before = extract(recipe, Curve("relaxation", {"time": t, "read": relaxation(t, 4)}, units))
    assert before.proposal is not None
    told = next_measurement(before)
    later = told.design.columns["time"]
    assert later.min() > t.max()
    assert later.max() > 1.4 * t.max()
    text = told.write(tmp_path / "next.csv").read_text().splitlines()
    assert float(text[1]) == pytest.approx(later[0], rel=1e-9)
    both = np.concatenate([t, later])
    reads = np.concatenate([relaxation(t, 4), relaxation(later, 5)])
    after = extract(recipe, Curve("relaxation", {"time": both, "read": reads}, units))
    name = told.parameter

    def width(result):
        low, high = result.verdict[name].interval
        return high - low

    assert width(after) < 0.5 * width(before)


def test_cycles_are_whole(tmp_path):
    cycles = np.unique(np.round(np.geomspace(1.0, 1e4, 40)))
    read = 1e-4 * cycles**-0.03 * (1.0 + 0.01 * rng(6).standard_normal(cycles.size))
    result = taken(table(tmp_path / "wear.csv", "Cycle,LRS (S)\n", cycles, read)).result
    proposed = next_measurement(result).design.columns["cycle"]
    assert np.array_equal(proposed, np.round(proposed))
    assert proposed.min() > 1e4


# --- what --auto does in a valley without end -------------------------------------------------------------------


def test_what_trades_in_a_valley_is_held_and_the_device_kept(tmp_path, monkeypatch):
    t = np.linspace(0.0, 4.0, 161)
    v = np.interp(t, [0.0, 1.0, 3.0, 4.0], [0.0, 1.2, -1.4, 0.0])
    model = device("vteam")
    truth = {"v_on": -0.6, "v_off": 0.5, "k_on": -3e-8, "k_off": 2.5e-8, "alpha_on": 2.0, "alpha_off": 2.0}
    truth |= {"r_on": 2e3, "r_off": 2e4, "x0": 0.8}
    i = forward_for(model, Curve.loop(t, v, 0.0 * t), np.ones(t.size, bool)).predict(model.values(truth))
    i = i + 5e-3 * np.ptp(i) * rng(7).standard_normal(t.size)
    varied, notes = [], []

    class Seen(Exception):
        pass

    def valley(recipe, *_, **__):
        varied.append(recipe.fit.vary)
        notes.append(" ".join(recipe.notes))
        raise FitError("no minimum after 401 evaluations") if len(varied) == 1 else Seen

    monkeypatch.setattr(auto, "extract", valley)
    monkeypatch.setattr(auto, "candidates", lambda _: [Candidate("vteam", device="vteam")])
    with pytest.raises(Seen):
        taken(table(tmp_path / "loop.csv", "t (s),V (V),I (A)\n", t, v, i))
    assert set(varied[1]) < set(varied[0])
    assert {"r_on", "r_off"} <= set(varied[1])
    assert "held where the search left them" in notes[1]
    assert {name for name in varied[0] if f"{name} = " in notes[1]} == set(varied[0]) - set(varied[1])
