"""Steps of one pulse over the conductance by laws that belong to no device, and devices that lack their shape."""

from __future__ import annotations

import numpy as np
import pytest

from cosim.data.recording import Recording
from cosim.errors import InputError
from cosim.fitting.extract import extract
from cosim.fitting.recipe import FitRecipe

G = np.linspace(0.3e-3, 1.0e-3, 60)
X = (G - 0.25e-3) / 0.8e-3
SHARE = (G - 0.3e-3) / 0.7e-3
CASES = {
    "insertion": (
        3e-6 * (2.0 * X) ** 0.8 * (2.0 - 2.0 * X) ** 0.4,
        {"middle": 3e-6, "low": 0.25e-3, "high": 1.05e-3, "exponent_low": 0.8, "exponent_high": 0.4},
    ),
    "exponential ends": (
        -5e-6 + 4e-6 * np.exp(-SHARE / 0.5) + 2e-6 * np.exp((SHARE - 1.0) / 0.15),
        {"rest": -5e-6, "step_low": 4e-6, "step_high": 2e-6, "reach_low": 0.35e-3, "reach_high": 0.105e-3},
    ),
}


def table(step: np.ndarray, **more: np.ndarray) -> Recording:
    columns = {"conductance": G, "step": step + 1e-8 * np.random.default_rng(4).standard_normal(G.size), **more}
    return Recording("step table", columns, {"conductance": "S", "step": "S"} | dict.fromkeys(more, "V"))


def recipe(vary: list[str], **subject: str) -> FitRecipe:
    return FitRecipe.model_validate(
        {"name": "steps", "data": {"kind": "step table"}, "fit": {"vary": vary}, "held_out": {"rule": "points"}}
        | subject
    )


@pytest.mark.parametrize("law", CASES)
def test_the_law_that_made_the_steps_is_recovered(law: str) -> None:
    step, truth = CASES[law]
    found = extract(recipe(list(truth), law=law), table(step))
    assert found.held_out_error is not None
    assert found.held_out_error < 0.01
    for name, value in truth.items():
        low, high = found.verdict[name].interval
        # 99.9 % where the interval is 95 %: one seed in about a hundred would miss one of five
        assert low - 0.4 * (high - low) < value < high + 0.4 * (high - low), name


def test_a_device_without_the_hump_says_so_and_names_the_laws_that_have_one() -> None:
    device = recipe(["high", "strength_p", "gamma_p"], device="threshold_memristor")
    told = extract(device, table(CASES["insertion"][0])).verdict.sentences()
    assert any("a polynomial with as many coefficients" in one and "'insertion'" in one for one in told), told
    soft = 0.012 * (1.1e-3 - G)
    assert not any("polynomial" in one for one in extract(device, table(soft)).verdict.sentences())


def test_a_law_of_the_conductance_is_not_for_steps_of_several_amplitudes() -> None:
    with pytest.raises(InputError, match="over conductance alone"):
        extract(recipe(["middle"], law="insertion"), table(CASES["insertion"][0], amplitude=1.0 + 0.0 * G))


def test_a_law_with_a_part_that_does_nothing_still_has_a_verdict() -> None:
    found = extract(recipe(["rest", "step_high", "reach_high"], law="exponential ends"), table(1e-6 + 1e-3 * G))
    flat = extract(recipe(list(CASES["exponential ends"][1]), law="exponential ends"), table(2e-6 + 0.0 * G))
    assert found.verdict.summary
    assert flat.verdict["reach_low"].status == "not identifiable"
