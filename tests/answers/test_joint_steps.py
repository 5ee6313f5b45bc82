"""Steps that vary from pulse to pulse (cycle to cycle), in a fit of several trains."""

from __future__ import annotations

import numpy as np
import pytest

import cosim
from claims.coverage_rows import TRUTH, TrainLab
from cosim.errors import InputError
from cosim.fitting.extract import extract
from cosim.fitting.recipe import FitRecipe

FREE = ("theta_p", "theta_n", "alpha_p", "alpha_n", "g_max")
HELD = {name: value for name, value in TRUTH.items() if name not in FREE}
START = {"values": {**HELD, **{name: 1.1 * TRUTH[name] for name in FREE if name in TRUTH}}}
LAB = TrainLab(150, read=0.01, step=0.3)


def joint(names: str, noise: dict[str, object], **more: object) -> cosim.JointRecipe:
    observations = [{"name": name, "kind": "pulse train", "noise": noise, **more} for name in names]
    body = {"name": "trains", "device": "threshold_memristor", "observations": observations, "start": START}
    return cosim.JointRecipe.model_validate({**body, "parameters": {name: {} for name in FREE}})


def test_one_train_is_fitted_as_it_is_alone() -> None:
    """The same likelihood, reached by turns of another size: values agree to a tenth of their errors."""
    curve = LAB(np.random.default_rng(1))
    body = {"name": "train", "device": "threshold_memristor", "data": {"kind": "pulse train"}, "start": START}
    alone = extract(FitRecipe.model_validate({**body, "fit": {"vary": FREE}, "noise": {"step": "fit"}}), curve)
    found = cosim.extract_joint(joint("A", {"step": "fit"}), {"A": curve})
    rows = {row.name: row for row in found.rows()}
    for name in FREE:
        stderr = alone.uncertainty.stderr(name)
        assert rows[name].value == pytest.approx(float(alone.values[name]), abs=0.1 * stderr)
        assert rows[name].stderr == pytest.approx(stderr, rel=0.1)
    assert alone.spread is not None
    assert f"A: the steps vary from pulse to pulse, by {alone.spread.step:.0%}" in " ".join(found.verdict.sentences())


def test_two_trains_with_varying_steps_have_honest_errors() -> None:
    """Left out of the model, the walk of the states is taken for noise of the reads, and errors are far too small."""
    data = {name: LAB(np.random.default_rng(k)) for k, name in enumerate("AB", 5)}
    found = cosim.extract_joint(joint("AB", {"step": "fit"}), data)
    blind = cosim.extract_joint(joint("AB", {"step": 0.0}), data)
    assert found.verdict.trustworthy, found.verdict.sentences()
    assert not blind.verdict.trustworthy
    rows = {row.name: row for row in found.rows()}
    for name in FREE:
        assert abs(rows[name].value - TRUTH[name]) < 4.0 * rows[name].stderr, name
    said = " ".join(found.verdict.sentences())
    assert (
        "A: the steps vary from pulse to pulse, by 3" in said or "A: the steps vary from pulse to pulse, by 2" in said
    )
    errors, worse = found.errors(), blind.errors()
    for name in "AB":  # each read from those before it
        assert errors[name][0] < 0.85 * worse[name][0]


def test_stated_steps_beside_a_train_without_them() -> None:
    """Each observation has a noise of its own: one train's steps vary by what the recipe says, the other's do not."""
    data = {"A": LAB(np.random.default_rng(7)), "B": TrainLab(150, read=0.01)(np.random.default_rng(8))}
    recipe = joint("AB", {})
    body = recipe.model_dump(mode="json", exclude_defaults=True)
    body["observations"][0]["noise"] = {"step": 0.3}
    found = cosim.extract_joint(cosim.JointRecipe.model_validate(body), data)
    said = " ".join(found.verdict.sentences())
    assert "A: the steps vary from pulse to pulse, by 30%" in said
    assert "B: the steps vary" not in said
    rows = {row.name: row for row in found.rows()}
    for name in FREE:
        assert abs(rows[name].value - TRUTH[name]) < 4.0 * rows[name].stderr, name


def test_steps_of_what_is_no_train_are_refused() -> None:
    recipe = cosim.JointRecipe.model_validate(
        {
            "name": "two", "device": "access_transistor",
            "observations": [{"name": "A", "kind": "i-v", "noise": {"step": "fit"}}], "parameters": {"g_on": {}},
        }
    )  # fmt: skip
    with pytest.raises(InputError, match=r"noise\.step is for pulse trains, and the observation is of kind 'i-v'"):
        cosim.extract_joint(recipe, {"A": FitRecipe.load("virtual_lab/access").curve()})
