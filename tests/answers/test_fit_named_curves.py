"""Steps of pulses that nobody stated, named curves read another way, and what a fit keeps from one step to the next."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cosim.data import datasets
from cosim.data.readers import read_curve
from cosim.data.recording import Curve, Recording
from cosim.data.spec import DataSpec
from cosim.devices.base import Values
from cosim.devices.pulse import PulseShape
from cosim.devices.registry import device
from cosim.errors import InputError
from cosim.fitting.extract import extract
from cosim.fitting.forward import forward_for
from cosim.fitting.forwards.pulse_train import PulseTrainForward
from cosim.fitting.recipe import FitRecipe

CELL = device("threshold_memristor")
LOW, HIGH, STRENGTH, GAMMA = 0.3e-3, 1.0e-3, 0.012, 0.7


def steps(sign: float, *, noise: float = 0.0) -> Recording:
    """Steps from 40 conductances, of pulses of one strength."""
    g = np.linspace(0.32e-3, 0.98e-3, 40)
    w = (g - LOW) / (HIGH - LOW)
    drive = {"up": STRENGTH * (sign > 0), "down": STRENGTH * (sign < 0)}
    after = CELL.advance_by(w, Values({"gamma_p": GAMMA, "gamma_n": GAMMA}), **drive)
    step = (after - w) * (HIGH - LOW) + noise * np.random.default_rng(3).standard_normal(g.size)
    return Recording("step table", {"conductance": g, "step": step}, {"conductance": "S", "step": "S"})


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_table_without_pulses_gives_the_strength_and_the_exponent(sign: float) -> None:
    side, far, true = ("p", "high", HIGH) if sign > 0 else ("n", "low", LOW)
    vary = [far, f"strength_{side}", f"gamma_{side}"]
    recipe = FitRecipe.model_validate(
        {"name": "steps", "device": "threshold_memristor", "data": {"kind": "step table"}, "fit": {"vary": vary}}
    )
    found = extract(recipe, steps(sign, noise=2e-8))
    assert found.verdict.trustworthy, found.verdict.sentences()
    assert found.values[far] == pytest.approx(true, rel=0.02)
    assert found.values[f"gamma_{side}"] == pytest.approx(GAMMA, rel=0.1)


def test_steps_in_another_unit_are_refused() -> None:
    table = steps(1.0)
    relative = Recording(
        "step table", {**table.columns, "step": table["step"] / table["conductance"]}, {**table.units, "step": "1"}
    )
    with pytest.raises(InputError, match="give them in S"):
        forward_for(CELL, relative, np.ones(40, dtype=bool))


TABLE = "G, CDF, dG\n1e-3, 2e-3\n0, 0.5, 1\n1e-6, 4e-6\n2e-6, 4e-6\n3e-6, 1e-6\n"


def test_the_mean_over_a_distribution_is_taken_at_each_conductance(tmp_path: Path) -> None:
    (tmp_path / "steps.txt").write_text(TABLE)
    found = read_curve(tmp_path / "steps.txt", DataSpec(kind="step table", reader="mean steps"))
    assert found["conductance"].tolist() == [1e-3, 2e-3]
    # trapezoids: (1 + 2·2 + 3)/4 and (4 + 2·4 + 1)/4 of 1e-6
    assert found["step"] == pytest.approx([2e-6, 3.25e-6])
    assert found.reading is not None
    assert "mean over the 3 quantiles" in str(found.reading)


def test_a_recipe_reads_a_named_curve_its_own_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "oect.csv").write_text(
        "Gate Voltage (V),Drain Current (A)\n" + "".join(f"{k},{k}e-6\n" for k in range(9))
    )
    monkeypatch.setattr(datasets, "_path_of", lambda file, *, unverified: tmp_path / "oect.csv")
    assert len(datasets.load("oect_transfer")) == 9
    part = datasets.load("oect_transfer", spec=DataSpec(kind="i-v", dataset="oect_transfer", rows=(3, 6)))
    assert part["voltage"].tolist() == [1.0, 2.0, 3.0, 4.0]


def test_what_a_train_keeps_is_of_the_place_it_is_asked_for() -> None:
    rng = np.random.default_rng(0)
    curve = Curve.pulse_train(rng.uniform(-2.4, 2.4, 60), np.ones(60) * 1e-6, v_read=0.1, shape=PulseShape())
    p = CELL.defaults()
    kept = PulseTrainForward(CELL, curve, np.ones(60, dtype=bool))
    here, there = kept.predict(p), kept.predict(p.with_(alpha_p=1.1 * p.alpha_p))
    assert np.max(np.abs(here - there)) > 1e-7
    new = PulseTrainForward(CELL, curve, np.ones(60, dtype=bool))
    np.testing.assert_allclose(kept.predict(p), new.predict(p), rtol=1e-11)
    np.testing.assert_allclose(kept.linearise(p, ["alpha_p"])[1], new.linearise(p, ["alpha_p"])[1], rtol=1e-7)
