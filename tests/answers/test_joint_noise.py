"""Noise, labels and intervals of joint fits: an observation's stated noise is its own, and so is a group's name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType, SimpleNamespace
from typing import cast

import numpy as np
import pytest

from cosim.data.recording import Recording
from cosim.devices.base import Values
from cosim.devices.pulse import PulseShape
from cosim.devices.registry import device
from cosim.errors import InputError
from cosim.fitting.extract import extract
from cosim.fitting.forwards.pulse_train import PulseTrainForward
from cosim.fitting.joint import extract_joint
from cosim.fitting.joint_recipe import JointRecipe
from cosim.fitting.joint_result import JointResult
from cosim.fitting.observation import JointForward, Unknown
from cosim.fitting.population import spreads
from cosim.fitting.recipe import FitRecipe
from cosim.parameters import ParameterSet

CELL, TRUTH = device("threshold_memristor"), ParameterSet.load("tio2").resolved()
SHAPE = PulseShape(200e-9, rise=5e-9, fall=5e-9)
SIGMA = 0.01 * TRUTH.g_max


def train(p: Values, seed: int) -> Recording:
    rng, n = np.random.default_rng(seed), 80
    blank = Recording.pulse_train(rng.uniform(-2.4, 2.4, n), np.ones(n) * 1e-6, v_read=0.1, shape=SHAPE)
    read = PulseTrainForward(CELL, blank, np.ones(n, dtype=bool)).predict(p)
    return blank.with_measured(read + SIGMA * rng.standard_normal(n))


A, B = train(TRUTH, 1), train(TRUTH.with_(theta_p=TRUTH.theta_p + 0.04), 2)
OWN = {"alpha_p": {"scope": "own"}, "theta_p": {"scope": "own"}}


def fitted(
    stated: Mapping[str, str | None],
    data: dict[str, Recording],
    *,
    noise: Mapping[str, Mapping[str, object]] = MappingProxyType({}),
    compliance: str | None = None,
) -> JointResult:
    listed = [
        {
            "name": name,
            "kind": "pulse train",
            "compliance": compliance if name == "A" else None,
            "noise": {**noise.get(name, {}), "sigma": stated.get(name)},
        }
        for name in data
    ]
    body = {"name": "two", "device": "threshold_memristor", "observations": listed, "parameters": OWN}
    return extract_joint(JointRecipe.model_validate({**body, "start": {"sets": ["tio2"]}}), data)


def errors(found: JointResult, name: str) -> list[float]:
    rows = {row.name: row for row in found.rows()}
    return [rows[f"{parameter}[{name}]"].stderr or 0.0 for parameter in OWN]


ALONE_BODY = {
    "name": "one",
    "device": "threshold_memristor",
    "data": {"kind": "pulse train"},
    "start": {"sets": ["tio2"]},
}
ALONE = fitted({}, {"B": B})


@pytest.mark.parametrize("factor", [None, 1.0, 1 / 7, 7.0], ids=str)
def test_what_shares_nothing_keeps_its_errors_whatever_the_others_noise(factor: float | None) -> None:
    stated = None if factor is None else f"{factor * SIGMA:.17g} S"
    found = fitted({"A": stated}, {"A": A, "B": B})
    assert errors(found, "B") == pytest.approx(errors(ALONE, "B"), rel=0.01)
    if factor is not None:
        right = errors(fitted({"A": f"{SIGMA:.17g} S"}, {"A": A}), "A")
        assert errors(found, "A") == pytest.approx([factor * one for one in right], rel=0.02)


def test_a_stated_noise_is_held_against_the_residuals_of_its_observation() -> None:
    found = fitted({"A": f"{SIGMA / 7:.17g} S"}, {"A": A, "B": B})
    said = " ".join(found.verdict.sentences())
    told = found.to_json()["observations"]
    assert "A: the residuals are" in said
    assert "times its stated noise" in said
    assert told["A"]["reduced_chi_square"] == pytest.approx(49.0, rel=0.5)
    assert told["B"]["reduced_chi_square"] is None
    assert not found.verdict.trustworthy
    assert fitted({"A": f"{SIGMA:.17g} S"}, {"A": A, "B": B}).verdict.trustworthy


def alike(data: Recording, r: float, seed: int) -> Recording:
    """The same train under noise of the same size whose neighbours are correlated by ``r``."""
    z = np.random.default_rng(seed).standard_normal(len(data))
    for k in range(1, z.size):
        z[k] = r * z[k - 1] + np.sqrt(1.0 - r**2) * z[k]
    clean = PulseTrainForward(CELL, data, np.ones(len(data), dtype=bool)).predict(TRUTH)
    return data.with_measured(clean + SIGMA * z)


def test_correlated_noise_is_that_of_its_observation() -> None:
    drifting = alike(A, 0.7, 3)
    found = fitted({}, {"A": drifting, "B": B}, noise={"A": {"correlation": "fit"}})
    said = " ".join(found.verdict.sentences())
    told = float(said.split("A: the noise of neighbouring reads is correlated (")[1].split(")")[0])
    assert told == pytest.approx(0.7, abs=0.25)  # 80 rows: 0.09, less what the parameters take
    assert "B: the noise of neighbouring" not in said
    assert found.verdict.residuals.white
    assert errors(found, "B") == pytest.approx(errors(ALONE, "B"), rel=0.02)
    alone = extract(
        FitRecipe.model_validate({**ALONE_BODY, "fit": {"vary": list(OWN)}, "noise": {"correlation": "fit"}}), drifting
    )
    # the same model of the noise; of an observation it is estimated in turns with the fit, of one curve within it
    for name, error in zip(OWN, errors(found, "A"), strict=True):
        assert error == pytest.approx(alone.uncertainty.stderr(name), rel=0.1)


def test_outliers_are_those_of_their_observation() -> None:
    values = A.measured.copy()
    values[[20, 50]] += 12.0 * SIGMA
    spoiled = A.with_measured(values)
    found, clean = fitted({}, {"A": spoiled, "B": B}), fitted({}, {"A": A, "B": B})
    assert [np.flatnonzero(one.left_out).tolist() for one in found.observations] == [[20, 50], []]
    said = " ".join(found.verdict.sentences())
    assert "A: 2 of 80 values are outliers (rows 21, 51;" in said
    assert "2 outliers left out" in found.points
    assert found.to_json()["observations"]["A"]["outliers"] == 2
    assert errors(found, "A") == pytest.approx(errors(clean, "A"), rel=0.1)
    assert errors(found, "B") == pytest.approx(errors(clean, "B"), rel=0.01)
    kept = fitted({}, {"A": spoiled, "B": B}, noise={"A": {"outliers": "keep"}})
    assert not any(one.left_out.any() for one in kept.observations)
    assert errors(kept, "A")[0] > 1.3 * errors(clean, "A")[0]


@pytest.mark.parametrize(
    ("noise", "compliance", "says"),
    [
        ({"step": "fit", "correlation": 0.5}, None, "noise.step and noise.correlation are two models"),
        ({"correlation": 0.5}, "100 uS", "A has clipped values, and correlated noise is not for these"),
    ],
)
def test_noise_that_does_not_apply_is_refused(noise: dict[str, object], compliance: str | None, says: str) -> None:
    data = A if compliance is None else A.with_measured(np.minimum(A.measured, 100e-6))
    with pytest.raises(InputError, match=says):
        fitted({}, {"A": data, "B": B}, noise={"A": noise}, compliance=compliance)


def test_correlated_noise_with_priors_is_refused() -> None:
    fit = {"vary": ["theta_p"], "priors": {"theta_p": {"value": "1.4 V", "sigma": "0.1 V"}}}
    recipe = FitRecipe.model_validate({**ALONE_BODY, "fit": fit, "noise": {"correlation": 0.5}})
    with pytest.raises(InputError, match="not for a fit with priors"):
        extract(recipe, A)


def test_outliers_are_left_out_beside_a_prior() -> None:
    spoilt = A.measured.copy()
    spoilt[40] += 40 * SIGMA
    listed = [{"name": name, "kind": "pulse train"} for name in ("A", "B")]
    shared = {"theta_p": {"scope": "own"}, "alpha_p": {"prior": {"value": "0.7 1/V", "sigma": "0.1 1/V"}}}
    body = {"name": "two", "device": "threshold_memristor", "observations": listed, "parameters": shared}
    recipe = JointRecipe.model_validate({**body, "start": {"sets": ["tio2"]}})
    said = " ".join(extract_joint(recipe, {"A": A.with_measured(spoilt), "B": B}).verdict.sentences())
    assert "1 of 80 values is an outlier (row 41; " in said


def labelled(*labels: tuple[str, str], by: str = "cycle") -> JointResult:
    listed = [
        {"name": f"N{k}", "kind": "pulse train", "labels": {"device": device, "cycle": cycle}}
        for k, (device, cycle) in enumerate(labels)
    ]
    body = {"name": "two", "device": "threshold_memristor", "observations": listed, "start": {"sets": ["tio2"]}}
    recipe = JointRecipe.model_validate({**body, "parameters": {"theta_p": {"scope": "own", "by": by}}})
    return extract_joint(recipe, {f"N{k}": data for k, data in zip(range(len(labels)), (A, B), strict=True)})


@pytest.mark.parametrize(
    ("first", "second", "says"),
    [
        (("A", "1_2"), ("A_1", "2"), r"the groups 'A'/'1_2' and 'A_1'/'2' would both be saved as 'two_A_1_2'"),
        (("A", "1/2"), ("A/1", "2"), r"the groups 'A'/'1/2' and 'A/1'/'2' would both be saved as 'two_A_1_2'"),
    ],
)
def test_two_groups_under_one_name_are_refused(first: tuple[str, str], second: tuple[str, str], says: str) -> None:
    with pytest.raises(InputError, match=says):
        labelled(first, second)


def test_groups_of_different_names_are_all_saved() -> None:
    found = labelled(("A", "1"), ("A", "2"))
    assert list(found.parameter_sets()) == ["two", "two_A_1", "two_A_2"]
    values = [found.parameter_sets()[f"two_A_{cycle}"].values["theta_p"].value for cycle in "12"]
    assert values[1] - values[0] == pytest.approx(0.04, abs=0.02)


def test_two_observations_under_one_name_are_refused() -> None:
    listed = [{"name": name, "kind": "pulse train"} for name in ("A", "A/1")]
    body = {"name": "two", "device": "threshold_memristor", "observations": listed, "start": {"sets": ["tio2"]}}
    recipe = JointRecipe.model_validate({**body, "parameters": {"theta_p": {}}})
    both = A.with_(groups={"cycle": ["1"] * 40 + ["2"] * 40})
    with pytest.raises(InputError, match="two observations are called 'A/1'"):
        extract_joint(recipe, {"A": both, "A/1": B})


def covered(groups: int, *, noise: float, spread: Mapping[str, float], draws: int) -> dict[str, float]:
    """How often the interval of each population's spread holds the truth: lines a + b·x, seen nine times a group."""
    rng, x = np.random.default_rng(1), np.linspace(-0.5, 1.5, 9)
    population = {of: [f"{of}[{i}]" for i in range(groups)] for of in spread}
    names = tuple(name for of, members in population.items() for name in (*members, f"{of}.mean"))
    unknowns = {name: Unknown(name, name[0], "population", "") for name in names}
    forward = cast(JointForward, SimpleNamespace(unknowns=unknowns, population=population))
    jacobian = np.zeros((len(names), groups * x.size))
    for of, members in population.items():
        for i, name in enumerate(members):
            jacobian[names.index(name), i * x.size : (i + 1) * x.size] = (x if of == "b" else np.ones(x.size)) / noise
    size, hits, start = dict.fromkeys(spread, 1.0), dict.fromkeys(spread, 0), Values(dict.fromkeys(names, 1.0))
    for _ in range(draws):
        off = np.array([0.0 if ".mean" in name else spread[name[0]] * rng.standard_normal() for name in names])
        residual = -off @ jacobian - rng.standard_normal(jacobian.shape[1])
        found = spreads(forward, start, names=names, residual=residual, jacobian=jacobian, size=size)
        for of, one in found.items():
            hits[of] += one.interval[0] <= spread[of] <= one.interval[1]
    return {of: hit / draws for of, hit in hits.items()}


def test_the_interval_of_a_spread_covers_it() -> None:
    # 93.2 % by the chi-square of two degrees of freedom; of 800 draws: 0.9 %, three times
    assert covered(3, noise=1e-3, spread={"a": 0.1}, draws=800)["a"] == pytest.approx(0.932, abs=0.027)
    # two populations, each conditional on the other's best value; of 200 draws: 1.6 %, three times
    for share in covered(6, noise=0.1, spread={"a": 0.1, "b": 0.2}, draws=200).values():
        assert share == pytest.approx(0.942, abs=0.048)


def test_intervals_of_several_populations_say_what_they_are_conditional_on() -> None:
    data = {f"N{k}": train(TRUTH.with_(theta_p=TRUTH.theta_p + 0.03 * k), k) for k in range(3)}
    body = {"name": "three", "device": "threshold_memristor", "start": {"sets": ["tio2"]},
            "observations": [{"name": name, "kind": "pulse train"} for name in data]}  # fmt: skip
    both: dict[str, object] = {name: {"scope": "population"} for name in ("alpha_p", "theta_p")}
    for vary, said in ((both, True), ({**both, "alpha_p": {}}, False)):
        found = extract_joint(JointRecipe.model_validate({**body, "parameters": vary}), data)
        assert any("conditional on the other populations" in s for s in found.verdict.sentences()) == said
