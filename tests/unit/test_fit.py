"""The extraction: what it finds, what it says about what it cannot find, and what it refuses."""

from __future__ import annotations

import json

import numpy as np
import pytest

from claims.coverage import NumpyLab, coverage, noisy
from cosim.data.recording import Curve
from cosim.devices.base import Values
from cosim.devices.pulse import full_scale
from cosim.devices.reads import threshold
from cosim.devices.registry import device
from cosim.errors import DataError, InputError, UnitError, UnknownName
from cosim.fitting.extract import extract
from cosim.fitting.forwards.pulse_train import PulseTrainForward
from cosim.fitting.problem import Problem
from cosim.fitting.recipe import FitRecipe
from cosim.fitting.recipe_tables import HeldOut
from cosim.parameters import ParameterSet

CELL = device("cell_1t1r")
TRUTH = ParameterSet.load("tio2").for_device("cell_1t1r").resolved(g_on=4e-3)
NINE = ("theta_p", "theta_n", "alpha_p", "alpha_n", "gamma_p", "gamma_n", "g_max", "ratio", "w0")
LAB = NumpyLab("cell_1t1r", TRUTH, pulses=300)


def forward_of(curve: Curve) -> PulseTrainForward:
    return PulseTrainForward(CELL, curve, np.ones(len(curve), dtype=bool))


def recipe(vary=NINE, **parts) -> FitRecipe:
    body = {"name": "test", "device": "cell_1t1r", "data": {"kind": "pulse train"}, "fit": {"vary": vary}}
    body["start"] = {"values": {"g_on": 4e-3}}
    return FitRecipe.model_validate({**body, **parts})


def train(amplitude, noise: float = 0.0, seed: int = 0, p=TRUTH) -> Curve:
    clean = NumpyLab("cell_1t1r", p).clean(np.asarray(amplitude, dtype=float))
    return noisy(clean, sigma=noise * full_scale(p))(np.random.default_rng(seed)) if noise else clean


# --- what it finds ----------------------------------------------------------------------------------------------


def test_the_result_is_a_parameter_set_with_its_provenance(tmp_path):
    curve = LAB(np.random.default_rng(0))
    found = extract(recipe(held_out={"rule": "last", "fraction": 0.2}), curve)
    made = found.parameter_set()
    assert made.device == "cell_1t1r"
    assert made.provenance["data_sha256"] == curve.fingerprint
    assert made.provenance["recipe_sha256"] == found.recipe.fingerprint()
    assert made.covariance.shape == (9, 9)
    assert made.values["theta_p"].stderr == pytest.approx(found.uncertainty.stderr("theta_p"), rel=1e-6)
    again = ParameterSet.load(made.save(tmp_path / "cell.toml"))
    assert again.fingerprint() == made.fingerprint()
    assert again.values["theta_p"].stderr == made.values["theta_p"].stderr
    assert any("held-out" in note for note in again.notes)
    # what downstream sees is what was fitted
    assert again.resolved().theta_p == found.values.theta_p


def test_the_same_fit_twice_gives_the_same_numbers():
    curve = LAB(np.random.default_rng(1))
    first, second = extract(recipe(), curve), extract(recipe(), curve)
    assert first.parameter_set().fingerprint() == second.parameter_set().fingerprint()


def test_the_held_out_part_does_not_touch_the_fit():
    curve = LAB(np.random.default_rng(2))
    rule = {"rule": "last", "fraction": 0.25}
    spoilt = curve.with_measured(np.where(np.arange(len(curve)) >= 225, 1e-3 - curve.measured, curve.measured))
    one, other = extract(recipe(held_out=rule), curve), extract(recipe(held_out=rule), spoilt)
    assert one.held_out.sum() == 75
    for name in NINE:
        assert other.values[name] == one.values[name]
    assert other.held_out_error > one.held_out_error


def test_a_stated_noise_is_tested_and_an_unstated_one_estimated():
    curve = LAB(np.random.default_rng(3))
    sigma = 0.02 * full_scale(TRUTH)
    estimated = extract(recipe(), curve)
    # chi-square of 291 degrees of freedom scatters by 1/sqrt(2·291) = 4 % in sigma
    assert np.median(estimated.sigma) == pytest.approx(sigma, rel=0.15)
    stated = extract(recipe(noise={"sigma": sigma}), curve)
    assert stated.verdict.residuals.white
    too_small = extract(recipe(noise={"sigma": sigma / 2}), curve)
    assert "times the stated noise" in " ".join(too_small.verdict.sentences())
    assert not too_small.verdict.trustworthy
    too_large = extract(recipe(noise={"sigma": sigma * 2}), curve)
    assert "smaller than stated" in " ".join(too_large.verdict.sentences())


def test_noise_terms_add_in_quadrature():
    curve = train([-2.0, 2.0, -2.0])
    got = recipe(noise={"sigma": "3 uS", "relative": 0.1, "of_range": 0.2}).noise.per_point(curve)
    want = np.sqrt(3e-6**2 + (0.1 * curve.measured) ** 2 + (0.2 * np.ptp(curve.measured)) ** 2)
    np.testing.assert_allclose(got, want, rtol=1e-12)


def test_a_memristor_without_a_transistor():
    p = ParameterSet.load("hfo2").resolved()
    lab = NumpyLab("threshold_memristor", p, pulses=200, amplitudes=(0.0, 1.6), noise=0.0)
    found = extract(recipe(NINE, device="threshold_memristor", start={}), lab(np.random.default_rng(0)))
    for name in NINE:
        assert found.values[name] == pytest.approx(p[name], rel=1e-6), name


def test_ignoring_the_transistor_is_seen_in_the_residuals():
    """Fitting the bare memristor to a cell's curve must not look like a success."""
    curve = train(np.random.default_rng(0).uniform(-2.6, 2.6, 300), p=TRUTH.with_(g_on=1e-3))
    found = extract(recipe(NINE, device="threshold_memristor", start={}), curve)
    assert not found.verdict.residuals.white
    assert "not noise" in " ".join(found.verdict.sentences())


def test_a_transistor_from_its_static_curve():
    access = device("access_transistor")
    p = access.values({"g_on": 2.2e-3, "v_sat": 1.4, "v_c": 2.5})
    v = np.linspace(-0.6, 0.8, 60)
    curve = Curve.i_v(v, access.current(v, p))
    spec = {"device": "access_transistor", "data": {"kind": "i-v"}, "start": {}}
    found = extract(recipe(("g_on", "v_sat", "v_c"), **spec), curve)
    for name in found.names:
        assert found.values[name] == pytest.approx(p[name], rel=1e-6)


def test_extracted_sets_feed_the_next_extraction():
    access = ParameterSet("access_transistor", "a", {}).with_values({"g_on": 4e-3})
    fed = recipe(start={}).with_(sets=(access,))
    assert fed.starting_set().resolved().g_on == 4e-3
    assert fed.fingerprint() != recipe(start={}).fingerprint()
    found = extract(fed, train(np.random.default_rng(4).uniform(-2.6, 2.6, 200)))
    assert found.values.theta_p == pytest.approx(TRUTH.theta_p, rel=1e-6)


def test_a_learning_rules_factors_go_through_a_fit():
    curve = train(np.random.default_rng(4).uniform(-2.6, 2.6, 60))
    carried = extract(recipe(("theta_p",), start={"sets": ["tio2"], "values": {"g_on": 4e-3}}), curve).parameter_set()
    assert {name: factor.value for name, factor in carried.plasticity.items()} == {
        "scale_p": 1.05, "scale_d": 1.11, "step_p": 0.55, "step_d": 0.9,
    }  # fmt: skip
    assert not extract(recipe(("theta_p",), start={"values": dict(TRUTH)}), curve).parameter_set().plasticity


# --- what it says about what it cannot find ---------------------------------------------------------------------


def test_one_amplitude_cannot_tell_threshold_from_slope():
    """All pulses of a polarity alike: only K(V) matters, so θ and α move together without changing anything."""
    rng = np.random.default_rng(0)
    p = ParameterSet.load("tio2").resolved()
    lab = NumpyLab("threshold_memristor", p)
    clean = lab.clean(rng.choice([-2.2, 2.3], 200))
    curve = noisy(clean, sigma=0.01 * full_scale(p))(rng)
    found = extract(recipe(NINE, device="threshold_memristor", start={"sets": ["tio2"]}), curve)
    for name in ("theta_p", "alpha_p", "theta_n", "alpha_n"):
        assert found.verdict[name].status in ("not identifiable", "at bound"), name
    assert not found.verdict.trustworthy
    assert found.parameter_set().values["theta_p"].stderr is None


def test_narrow_amplitudes_trade_alpha_against_gamma():
    """The sentence names the product that is known, and what would tell the pair apart."""
    p = TRUTH.with_(w0=0.8)
    curve = train(np.random.default_rng(1).uniform(-2.6, -2.4, 30), noise=0.02, seed=1, p=p)
    found = extract(recipe(("alpha_p", "gamma_p"), start={"values": dict(p), "from_data": False}), curve)
    assert found.verdict.pairs
    pair = found.verdict.pairs[0]
    assert {pair.first, pair.second} == {"alpha_p", "gamma_p"}
    assert pair.known < min(pair.alone)
    said = " ".join(found.verdict.sentences())
    (product,) = found.verdict.products  # which says more of the pair, once
    assert {name for name, _ in product.powers} == {"alpha_p", "gamma_p"}
    assert f"{product}; fix one of them, or {pair.remedy}" in said
    assert "cannot be told apart" not in said
    assert "wider range of amplitudes" in said


def test_a_parameter_at_its_bound_is_named_with_the_remedy():
    curve = LAB(np.random.default_rng(5))
    found = extract(recipe(fit={"vary": NINE, "bounds": {"gamma_p": [0.5, 1.2]}}), curve)
    assert found.values.gamma_p == 1.2
    assert found.verdict["gamma_p"].status == "at bound"
    assert "gamma_p stopped at its upper bound 1.2: widen the bound, or fix gamma_p" in found.verdict.sentences()
    assert found.uncertainty.stderr("gamma_p") is None
    assert found.parameter_set().values["gamma_p"].stderr is None


def test_a_parameter_without_any_effect():
    """Depression is never driven: its parameters cannot be seen."""
    curve = train(np.random.default_rng(0).uniform(-2.6, 0.0, 120), noise=0.01)
    found = extract(recipe(("theta_p", "alpha_p", "gamma_n")), curve)
    assert found.verdict["gamma_n"].status == "not identifiable"
    said = "gamma_n has no effect on what was measured: any value within its bounds fits; fix it"
    assert said in found.verdict.sentences()
    assert found.verdict["gamma_n"].interval == found.bounds["gamma_n"]
    assert found.verdict["gamma_n"].source == "bounds"
    assert found.verdict["alpha_p"].status in ("identifiable", "weakly identifiable")


FRESH = np.concatenate([np.zeros(30), np.repeat([-2.6, 2.6], 12), np.random.default_rng(0).uniform(-2.6, 2.6, 300)])


@pytest.mark.parametrize("w0", [0.0, 0.02, 0.5])
def test_a_state_near_zero_is_determined_as_well_as_any_other(w0):
    """Thirty reads before the first pulse give w0 to 0.005, whatever it is: its value is no measure of that."""
    curve = train(FRESH, noise=0.02, seed=1, p=TRUTH.with_(w0=w0))
    found = extract(recipe(), curve)
    entry = found.verdict["w0"]
    assert found.values.w0 == pytest.approx(w0, abs=0.03)
    if w0 == 0.0:
        # The reads' mean lies below the range's end with this noise: the search stops there.
        assert entry.status == "at bound"
        assert "physical limit 0" in entry.reason
    else:
        assert entry.status == "identifiable", entry.reason
    assert found.verdict.trustworthy == (w0 != 0.0)


def test_a_bound_with_zero_slope_still_holds_a_parameter():
    """Where the curve depends on the square, the slope at zero is zero, and yet no other value will do."""
    from cosim.devices.base import Param
    from cosim.fitting.uncertainty import covariance_of

    class Square:
        params = tuple(Param(name, 1.0, "1", (0.0, 10.0), name) for name in ("a", "b", "idle"))

        def bounds(self):
            return {entry.name: entry.bounds for entry in self.params}

        def predict(self, p):
            return p.a * np.arange(1.0, 6.0) + p.b**2

        def linearise(self, p, names):
            rows = {"a": np.arange(1.0, 6.0), "b": np.full(5, 2 * p.b), "idle": np.zeros(5)}
            return self.predict(p), np.array([rows[name] for name in names])

    p = Values({"a": 2.0, "b": 0.0, "idle": 0.0})
    forward = Square()
    problem = Problem(
        forward, forward.predict(p), np.full(5, 1e-3), np.ones(5, dtype=bool), ("a", "b", "idle"), forward.bounds()
    )
    found = covariance_of(problem, p, scale=1.0)
    assert found.at_bound == {"b": 0.0}
    assert found.flat == ("idle",)
    assert found.names == ("a",)


def test_the_profile_gives_one_sided_limits():
    """Two reads say that the ratio is large, and not how large."""
    curve = train(np.random.default_rng(8).uniform(-2.6, 1.9, 100), noise=0.03, seed=8)
    found = extract(recipe(("gamma_n", "ratio", "alpha_n")), curve, profile=True)
    low, high = found.verdict["ratio"].interval
    assert found.verdict["ratio"].source == "profile likelihood"
    assert low < found.values.ratio < high
    # a conductance's lower end is bounded by zero: the profile is steeper towards small ratios
    assert high - found.values.ratio > found.values.ratio - low


def test_verdict_of_an_exact_fit():
    found = extract(recipe(), train(np.random.default_rng(6).uniform(-2.6, 2.6, 200)))
    assert found.verdict.residuals.exact
    assert found.verdict.trustworthy
    assert found.verdict.sentences() == ["every parameter is determined by what was measured"]


def test_json_is_plain_and_complete():
    found = extract(recipe(fit={"vary": NINE, "bounds": {"gamma_p": [0.5, 1.2]}}), LAB(np.random.default_rng(5)))
    told = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert set(told["parameters"]) == set(NINE)
    assert told["parameters"]["gamma_p"]["stderr"] is None
    assert told["trustworthy"] is False
    assert len(told["correlation"]["matrix"]) == 8


# --- what it refuses --------------------------------------------------------------------------------------------


AMPLITUDES = np.random.default_rng(0).uniform(-2.6, 2.6, 60)
REFUSED = {
    "constant curve": (recipe(), train(np.zeros(50)), DataError, "constant .* determines nothing"),
    "too few points": (recipe(), train(AMPLITUDES[:9]), DataError, "9 points for 9 parameters"),
    "unknown parameter": (recipe(("theta_q",)), train(AMPLITUDES), UnknownName, "'theta_q'.*theta_p"),
    "a parameter without effect": (recipe(("t_event",)), train(AMPLITUDES), InputError, "t_event cannot be determined"),
    "unknown start value": (recipe(start={"values": {"phi": 1}}), train(AMPLITUDES), UnknownName, "'phi'"),
    "a start value in a wrong unit": (recipe(start={"values": {"theta_p": "1 s"}}), train(AMPLITUDES), UnitError, "V"),
    "bounds of an unknown parameter": (
        recipe(fit={"vary": NINE, "bounds": {"phi": [0, 1]}}), train(AMPLITUDES), UnknownName, "'phi'"),
    "bounds outside physics": (
        recipe(fit={"vary": NINE, "bounds": {"w0": [0, 2]}}), train(AMPLITUDES), InputError, "physical range 0..1"),
    "another kind of curve": (recipe(), Curve.i_v([0, 1, 2], [0, 1, 2]), InputError, "of kind 'i-v'"),
    "noise that is none": (recipe(noise={"sigma": "0 S"}), train(AMPLITUDES), InputError, "not positive"),
    "unknown device": (recipe(device="cell"), train(AMPLITUDES), UnknownName, "cell_1t1r"),
    "a step table": (
        recipe(data={"kind": "step table"}),
        Curve("step table", {k: np.arange(1.0, 4.0) for k in ("conductance", "cdf", "step")},
              {"conductance": "S", "cdf": "1", "step": "S"}), InputError, r"'cdf' in 1 is nothing .* amplitude \(V\)"),
    "no device for ramps": (
        recipe(data={"kind": "equal pulses"}), Curve.equal_pulses([[1, 2, 3]], polarity=[1]),
        InputError, "threshold_memristor"),
    "no device for pulses": (
        recipe(("g_on",), device="access_transistor", start={}), train(AMPLITUDES), InputError, "no map of a pulse"),
    "held-out ramps of a train": (recipe(held_out={"rule": "ramps"}), train(AMPLITUDES), InputError, "'blocks'"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refused_with_one_sentence(case):
    which, curve, kind, message = REFUSED[case]
    with pytest.raises(kind, match=message) as caught:
        extract(which, curve)
    assert "\n" not in str(caught.value)


RECIPE = """
name = "r"
device = "access_transistor"
[data]
kind = "i-v"
file = "iv.csv"
columns.voltage = { name = "V", unit = "V" }
columns.current = { name = "I", unit = "A" }
[fit]
vary = ["g_on"]
"""


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('name = "r"', 'title = "r"', "fit recipe lacks name|unknown key 'title' in fit recipe"),
        ('kind = "i-v"', 'kind = "iv"', r"bad\.toml:5: unknown data.kind 'iv'; did you mean i-v"),
        ('vary = ["g_on"]', "vary = []", r"bad\.toml:10: fit.vary is an empty list, and has to be a list"),
        ('vary = ["g_on"]', 'vary = ["g_on"]\nbound = 1', "unknown key 'bound' in fit recipe; did you mean bounds"),
        ('vary = ["g_on"]', 'vary = ["g_on"]\nq = 1',
         "unknown key 'q' in fit recipe; known: bounds, method, priors, undetermined, vary$"),
        ('name = "r"', 'name = "r"\nq = 1',
         "'q' in fit recipe; known: candidates, circuit, data, device, fit, held_out, law, name, noise, notes,"),
        ('file = "iv.csv"', 'file = "iv.csv"\ndataset = "gong2018"', "file or dataset, not both"),
        ('device = "access_transistor"', 'device = "acess"', "unknown device"),
        ('[fit]', '[data.conditions]\nv_red = "1 V"\n[fit]', "unknown condition 'v_red'"),
        ('[fit]', '[data.conditions]\nv_read = "1 s"\n[fit]', "'1 s' is not in V"),
        ('[fit]', '[data.conditions]\nwidth = 200\n[fit]', 'width = 200 has no unit; write e.g. width = "200 ns"'),
        ('[fit]', '[data.conditions]\nrise = 5e-9\n[fit]', 'rise = 5e-09 has no unit; write e.g. rise = "5 ns"'),
        ('[fit]', '[data.conditions]\nv_read = "0.1"\n[fit]', 'no unit; write e.g. v_read = "0.1 V"'),
        ('[fit]', '[noise]\nsigma = 2\n[fit]', 'sigma = 2 has no unit; write e.g. sigma = "2 uS"'),
        ('name = "r"', "name = r", "not valid TOML"),
    ],
)  # fmt: skip
def test_bad_recipes_name_file_and_key(tmp_path, old, new, message):
    path = tmp_path / "bad.toml"
    path.write_text(RECIPE.replace(old, new))
    with pytest.raises(InputError, match=message) as caught:
        FitRecipe.load(path)
    assert "bad.toml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_data_lie_beside_the_recipe(tmp_path):
    (tmp_path / "iv.csv").write_text("V,I\n0,0\n0.1,1e-4\n0.2,2e-4\n")
    (tmp_path / "r.toml").write_text(RECIPE)
    curve = FitRecipe.load(tmp_path / "r.toml").curve()
    assert curve.source == "iv.csv"  # not the folders of this machine
    assert len(curve) == 3
    np.testing.assert_array_equal(
        FitRecipe.load(tmp_path / "r.toml").curve(tmp_path / "iv.csv")["voltage"], curve["voltage"]
    )


def test_a_recipe_without_data_says_so(tmp_path):
    (tmp_path / "r.toml").write_text(RECIPE.replace('file = "iv.csv"', ""))
    with pytest.raises(InputError, match="names no data"):
        FitRecipe.load(tmp_path / "r.toml").curve()


def test_sets_are_found_beside_the_recipe(tmp_path):
    ParameterSet("access_transistor", "a", {}).with_values({"g_on": 1e-3}).save(tmp_path / "a.toml")
    (tmp_path / "r.toml").write_text(RECIPE.replace("[fit]", '[start]\nsets = ["a.toml"]\n[fit]'))
    assert FitRecipe.load(tmp_path / "r.toml").starting_set().resolved().g_on == 1e-3


@pytest.mark.parametrize(
    ("columns", "units", "message"),
    [
        ({"voltage": [0.0]}, {"voltage": "V"}, "needs a column 'current'"),
        ({"voltage": [0.0], "current": [1.0, 2.0]}, {"voltage": "V", "current": "A"}, "differ in length"),
        ({"voltage": [], "current": []}, {"voltage": "V", "current": "A"}, "no rows"),
        ({"voltage": [0.0], "current": [1.0]}, {"voltage": "V", "current": "S"}, "give A"),
        ({"voltage": [0.0, 1.0], "current": [1.0, np.nan]}, {"voltage": "V", "current": "A"}, "row 2 is not finite"),
        ({"voltage": [0.0], "current": [np.nan]}, {"voltage": "V", "current": "A"}, "holds no numbers"),
    ],
)
def test_a_curve_is_whole_or_refused(columns, units, message):
    with pytest.raises(DataError, match=message):
        Curve("i-v", {k: np.array(v, dtype=float) for k, v in columns.items()}, units)


def test_curves_are_immutable_and_say_what_they_lack():
    curve = Curve.i_v([0, 1], [0, 1])
    with pytest.raises(ValueError, match="read-only"):
        curve["voltage"][0] = 1.0
    with pytest.raises(UnknownName, match="'read'"):
        curve["read"]
    with pytest.raises(DataError, match="needs the condition 'width'"):
        _ = curve.shape
    with pytest.raises(UnknownName, match="curve kind"):
        Curve("c-v", {}, {})


# --- its parts --------------------------------------------------------------------------------------------------


def test_held_out_rules():
    curve = Curve.equal_pulses([np.arange(10.0), np.arange(8.0), np.arange(9.0)], polarity=[1, 1, -1])
    assert HeldOut().rows(curve).sum() == 0
    assert np.flatnonzero(HeldOut(rule="last", fraction=0.2).rows(curve)).tolist() == list(range(22, 27))
    ramps = HeldOut(rule="ramps", every=3).rows(curve)
    assert set(curve["ramp"][ramps]) == {1.0}
    blocks = HeldOut(rule="blocks", every=2, length=4).rows(curve)
    assert set(curve["pulse"][blocks]) == {4.0, 5.0, 6.0, 7.0}
    assert HeldOut(rule="points", every=3).rows(curve).sum() == 9


def test_threshold_from_scattered_steps():
    rng = np.random.default_rng(0)
    v = rng.uniform(0.0, 2.5, 400)
    change = np.where(v > 1.4, 5e-6 * (v - 1.4), 0.0) + 4e-7 * rng.standard_normal(400)
    # 4 standard errors of a mean of 9 reads of 0.4 µS are 0.5 µS: 0.1 V above the threshold; windows are 0.05 V wide
    assert 1.35 < threshold(v, change) < 1.65


def test_equal_amplitudes_do_not_confuse_the_start():
    """Conditioning pulses of one amplitude, whose steps end at the bound, once hid the threshold."""
    v = np.concatenate([np.full(40, 2.5), np.linspace(0.0, 2.5, 200)])
    change = np.concatenate([np.zeros(40), np.where(np.linspace(0.0, 2.5, 200) > 1.4, 4e-6, 0.0)])
    assert 1.2 < threshold(v, change + 1e-8 * np.random.default_rng(0).standard_normal(240)) < 1.5


def test_newton_gives_up_into_the_sequence(monkeypatch):
    from cosim.fitting import trajectory

    curve = train(AMPLITUDES)
    want = forward_of(curve).predict(TRUTH)
    monkeypatch.setattr(trajectory, "ITERATIONS", 1)
    np.testing.assert_allclose(forward_of(curve).predict(TRUTH), want, rtol=1e-10)


def test_progress_is_reported():
    seen = []
    extract(
        recipe(("theta_p",), start={"values": dict(TRUTH)}),
        train(AMPLITUDES, 0.02),
        progress=lambda n, chi: seen.append((n, chi)),
    )
    assert len(seen) > 2
    assert all(chi > 0.0 for _, chi in seen)


def test_noise_is_a_share_of_g_max_as_errors_are():
    """One full scale: the numpy laboratory's noise, and what a certificate's percentages refer to."""
    from cosim.devices.registry import device

    p = TRUTH.with_(ratio=1.5)  # where G_max and G_max − G_min differ threefold
    lab = NumpyLab("cell_1t1r", p, pulses=3000, noise=0.02)
    curve = lab(np.random.default_rng(0))
    residual = curve.measured - lab.clean(curve["amplitude"]).measured
    # a standard deviation from 3000 reads scatters by 1.3 %
    assert np.std(residual) == pytest.approx(0.02 * p.g_max, rel=0.06)
    assert device("cell_1t1r").full_scales(p)["conductance"] == full_scale(p) == p.g_max


def test_coverage_counts_and_keeps_failures():
    lab = NumpyLab("cell_1t1r", TRUTH, pulses=200)
    asked = recipe(("theta_p", "g_max"), start={"values": dict(TRUTH)})
    found = coverage(asked, lab, ParameterSet.load("tio2").for_device("cell_1t1r"), seeds=8)
    assert found.intervals == {"theta_p": 8, "g_max": 8}
    assert found.pooled > 0.8  # 16 intervals of 95 %; the claim "line" counts those of nine parameters in 100 fits
    shifted = coverage(asked, lab, {**dict(TRUTH), "theta_p": 1.2}, seeds=4)
    assert shifted.by_parameter["theta_p"] == 0.0
    with pytest.raises(InputError, match="no true value of theta_p"):
        coverage(recipe(), lab, {}, seeds=1)
