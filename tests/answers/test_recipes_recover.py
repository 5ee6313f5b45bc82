"""Each shipped recipe with a curve of its own finds the device that made the curve; no device with a map has none."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from scipy import stats

from cosim.devices.base import Values
from cosim.devices.registry import devices
from cosim.fitting.extract import extract
from cosim.fitting.joint import extract_joint
from cosim.fitting.joint_recipe import JointRecipe, load_recipe
from cosim.parameters import ParameterSet

TOOL = Path(__file__).resolve().parents[2] / "tools" / "virtual_lab.py"


def _tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("virtual_lab", TOOL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    import sys

    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


LABS = _tool().LABS
# Recipe -> the lab of its curve, or the published set of the device that a circuit's curve is of.
RECIPES: dict[str, str] = {
    "threshold_memristor": "threshold_pulses",
    "vteam_loop": "vteam_loop",
    "yakopcic_loop": "yakopcic_loop",
    "filament_loop": "filament_loop",
    "ecram_relaxation": "ecram_relaxation",
    "ecram_paired_pulse": "ecram_pairs",
    "ecram_frequency": "ecram_trains",
    "quantum_dot_stdp": "hebbian",
    "thermal_poles": "thermal_poles",
    "stc_equations": "stc_equations",
    "stc_waveforms": "stc_waveforms",
    "virtual_lab/cell": "threshold_memristor:tio2",
    "virtual_lab/quantum_dot": "quantum_dot_memristor:qd_2016",
    "virtual_lab/thermal_steps": "thermal_reram:published",
}
SLOW = {
    "stc_waveforms", "vteam_loop", "yakopcic_loop", "filament_loop", "virtual_lab/quantum_dot", "quantum_dot_stdp",
    "virtual_lab/thermal_steps",
}  # fmt: skip
TOLD = ("identifiable", "weakly identifiable")


def truth(source: str) -> Values:
    return LABS[source].p if source in LABS else ParameterSet.load(source).resolved()


def test_no_device_with_a_map_lacks_a_recipe() -> None:
    found = {load_recipe(name).device for name in RECIPES}
    assert found == {name for name, model in devices().items() if model.maps(model.defaults())}


def allowed(count: int) -> tuple[int, int]:
    """The fewest and the most of ``count`` 95 % intervals that may miss: beyond either lies 0.5 % of the binomial law.

    Intervals of one fit are correlated, which widens the law; that is not used.
    """
    return int(stats.binom.ppf(0.005, count, 0.05)), int(stats.binom.ppf(0.995, count, 0.05))


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] * (n in SLOW)) for n in RECIPES])
def test_the_device_is_found_again(name: str) -> None:
    recipe, true = load_recipe(name), truth(RECIPES[name])
    fit = extract_joint(recipe) if isinstance(recipe, JointRecipe) else extract(recipe)
    missed, rows = [], fit.rows()
    for row in rows:
        assert row.verdict.status in TOLD, (row.name, row.verdict.status)
        low, high = row.verdict.interval
        if not low <= true[row.name] <= high:
            missed.append(row.name)
        # Four standard errors; where the interval is not that of one, twice its half-width on the true value's side.
        side = high - row.value if true[row.name] > row.value else row.value - low
        error = max(row.stderr or 0.0, side / 2.0)
        assert abs(row.value - true[row.name]) <= 4.0 * error, (row.name, row.value, true[row.name], error)
    fewest, most = allowed(len(rows))
    assert fewest <= len(missed) <= most, (name, missed)
    assert fit.verdict.useful


@pytest.mark.parametrize("lab", ["threshold_pulses", "ecram_pairs", "ecram_trains", "ecram_relaxation", "hebbian"])
def test_the_shipped_curve_is_the_lab_s(lab: str) -> None:
    shipped = (TOOL.parent.parent / "fits" / "virtual_lab" / f"{lab}.csv").read_text(encoding="utf-8").splitlines()
    made = LABS[lab].text(lab).splitlines()
    assert made[:2] == shipped[:2]
    one, other = (np.array([line.split(",") for line in lines[2:]], dtype=float) for lines in (made, shipped))
    np.testing.assert_allclose(one, other, rtol=1e-5)  # six digits are written
