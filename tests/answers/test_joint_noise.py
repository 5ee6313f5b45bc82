"""Noise, labels and intervals of joint fits: an observation's stated noise is its own, and so is a group's name."""

from __future__ import annotations

import numpy as np
import pytest

from cosim.data.recording import Recording
from cosim.devices.base import Values
from cosim.devices.pulse import PulseShape
from cosim.devices.registry import device
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
