"""Noise, labels and intervals of joint fits: an observation's stated noise is its own, and so is a group's name."""

from __future__ import annotations

import numpy as np
import pytest

from cosim.data.recording import Recording
from cosim.devices.base import Values
from cosim.devices.pulse import PulseShape
from cosim.devices.registry import device
from cosim.errors import InputError
from cosim.fitting.forwards.pulse_train import PulseTrainForward
from cosim.fitting.joint import extract_joint
from cosim.fitting.joint_result import JointResult
from cosim.fitting.recipe import JointRecipe
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


def fitted(stated: dict[str, str | None], data: dict[str, Recording]) -> JointResult:
    listed = [
        {
            "name": name,
            "kind": "pulse train",
            **({} if stated.get(name) is None else {"noise": {"sigma": stated[name]}}),
        }
        for name in data
    ]
    body = {"name": "two", "device": "threshold_memristor", "observations": listed, "parameters": OWN}
    return extract_joint(JointRecipe.model_validate({**body, "start": {"sets": ["tio2"]}}), data)


def errors(found: JointResult, name: str) -> list[float]:
    rows = {row.name: row for row in found.rows()}
    return [rows[f"{parameter}[{name}]"].stderr or 0.0 for parameter in OWN]


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
