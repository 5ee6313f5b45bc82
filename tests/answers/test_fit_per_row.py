"""What differs from row to row: the width of a pulse, and any parameter of the device."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cosim.devices.base import Values
from cosim.devices.pulse import PulseShape
from cosim.devices.registry import device
from cosim.errors import InputError
from cosim.fitting.extract import extract
from cosim.fitting.recipe import FitRecipe

TRUTH = {"theta_p": 1.2, "theta_n": 1.0, "alpha_p": 0.9, "alpha_n": 0.7, "g_max": 150e-6, "ratio": 12.0, "w0": 0.35}


def train(path: Path, *, widths: np.ndarray) -> None:
    """A train of pulses of different ``widths`` (n,) s, pulse by pulse from the device's own map, 0.1 % read noise."""
    model, rng = device("threshold_memristor"), np.random.default_rng(11)
    p = Values({entry.name: entry.default for entry in model.params} | TRUTH)
    v = np.round(rng.uniform(-2.4, 2.4, widths.size), 2)
    w, rows = TRUTH["w0"], []
    for k in range(widths.size):
        w = float(model.pulse(v[k], w, p, shape=PulseShape(widths[k], rise=0.0, fall=0.0))[0])
        g = float(model.through({"pn": 0.1}, Values({"w": w}), p)["pn"]) / 0.1
        rows.append(f"{v[k]},{1e9 * widths[k]:.6g},{1e6 * g + 0.15 * rng.standard_normal():.6g}\n")
    path.write_text("V (V),tw (ns),G (uS)\n" + "".join(rows))


def recipe(path: Path, **columns: object) -> FitRecipe:
    data = {
        "kind": "pulse train",
        "file": str(path),
        "columns": {"amplitude": {"name": "V"}, "read": {"name": "G"}, **columns},
        "conditions": {"v_read": 0.1} | ({} if "width" in columns else {"width": 200e-9}),
    }
    body = {"name": "r", "device": "threshold_memristor", "start": {"sets": ["tio2"]}, "data": data}
    return FitRecipe.model_validate({**body, "fit": {"vary": list(TRUTH)}})


def test_the_width_of_each_pulse(tmp_path: Path) -> None:
    widths = np.random.default_rng(12).choice([50e-9, 200e-9, 1e-6], 200)
    train(tmp_path / "x.csv", widths=widths)
    found = extract(recipe(tmp_path / "x.csv", width={"name": "tw"}))
    for name, true in TRUTH.items():
        assert found.values[name] == pytest.approx(true, rel=0.05), name  # 1.5 to 3 % at this noise
    ignored = extract(recipe(tmp_path / "x.csv"))
    assert ignored.training_error > 5 * found.training_error


def test_a_parameter_of_each_row_of_a_static_curve(tmp_path: Path) -> None:
    model, rng = device("access_transistor"), np.random.default_rng(13)
    v, v_sat = np.tile(np.linspace(0.05, 2.0, 40), 3), np.repeat([1.0, 1.5, 2.5], 40)
    p = Values({entry.name: entry.default for entry in model.params} | {"g_on": 3e-3, "v_c": 2.5})
    current = np.asarray(model.through({"channel": v}, model.initial(p), p.with_(v_sat=v_sat))["channel"])
    rows = zip(v, v_sat, current * (1 + 1e-3 * rng.standard_normal(v.size)), strict=True)
    path = tmp_path / "x.csv"
    path.write_text("V (V),Vs (V),I (A)\n" + "".join(f"{a:.6g},{b},{i:.6g}\n" for a, b, i in rows))
    columns = {"voltage": {"name": "V"}, "current": {"name": "I"}, "v_sat": {"name": "Vs"}}
    body = {"name": "r", "device": "access_transistor"}
    data = {"kind": "i-v", "file": str(path), "columns": columns}
    made = FitRecipe.model_validate({**body, "data": data, "fit": {"vary": ["g_on", "v_c"]}})
    found = extract(made)
    assert found.values["g_on"] == pytest.approx(3e-3, rel=2e-3)
    assert found.values["v_c"] == pytest.approx(2.5, rel=1e-2)
    with pytest.raises(InputError, match=r"v_sat has no effect on this curve|'v_sat'"):
        extract(made.model_copy(update={"fit": made.fit.model_copy(update={"vary": ("g_on", "v_sat")})}))
    odd = {**columns, "power": {"name": "Vs", "unit": "V"}}
    with pytest.raises(InputError, match="column 'power' in V is not a parameter of access_transistor"):
        extract(FitRecipe.model_validate({**body, "data": {**data, "columns": odd}, "fit": {"vary": ["g_on"]}}))
