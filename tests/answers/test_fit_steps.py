"""Tables of steps: whatever device has an event map, its parameters from rows of a start, inputs and a change."""

import numpy as np
import pytest

from cosim.data.readers import read_curve
from cosim.data.recording import Recording
from cosim.data.spec import DataSpec
from cosim.devices.base import Values
from cosim.devices.registry import device, devices
from cosim.errors import DataError, InputError
from cosim.fitting.extract import extract
from cosim.fitting.forward import forward_for
from cosim.fitting.forwards.step_table import StepForward
from cosim.fitting.recipe import FitRecipe
from cosim.parameters import ParameterSet

# Device -> columns of starts, inputs and conditions, with their units; what is measured; what varies.
TABLES = {
    "threshold_memristor": ({"conductance": "S", "amplitude": "V"}, ("step", "S"), ("alpha_p", "gamma_n", "g_max")),
    "cell_1t1r": ({"w": "1", "amplitude": "V"}, ("read", "S"), ("theta_p", "g_max")),
    "ecram": ({"m_fast": "1", "m_slow": "1", "conductance": "S", "interval": "s"}, ("step", "1"), ("tau_fast",)),
    "stc_synapse": ({"h": "V", "pre": "V", "post": "V"}, ("read", "V"), ("h0",)),
    "stc_equations": (
        {"c": "1", "h": "V", "protein": "1", "z": "1", "pre": "V", "post": "V"},
        ("read", "V"),
        ("tau_c",),
    ),
    "quantum_dot_memristor": ({"q": "1", "amplitude": "V"}, ("step", "S"), ("g_high", "alpha_d")),
    "vteam": ({"x": "1", "amplitude": "V"}, ("read", "S"), ("k_on", "r_off")),
    "yakopcic": ({"conductance": "S", "amplitude": "V"}, ("step", "1"), ("a_p", "a_n")),
    "filament_reram": ({"x": "1", "amplitude": "V"}, ("read", "S"), ("e_a",)),
    "thermal_reram": ({"conductance": "S", "t_amb": "K", "cell": "V"}, ("step", "1"), ("a_set", "b_reset")),
}


def table(name: str, n: int = 12) -> tuple[Recording, Values, tuple[str, ...]]:
    """Rows that the device's own map makes of random starts and inputs, without noise."""
    rng, model = np.random.default_rng(3), device(name)
    p, (given, measured, vary) = model.defaults(), TABLES[name]
    maps, units = model.maps(p), {**given, measured[0]: measured[1]}
    event = next(one for one in maps.values() if set(one.inputs) & set(given))
    ranges = {**{k: field.range for k, field in event.states.items()}, "t_amb": (304, 320)}
    columns = {k: rng.uniform(*ranges[k], n) for k in given if k in ranges}
    for k in sorted(event.inputs.keys() & given):  # near the ends of its range, where a device does most
        columns[k] = rng.choice(event.inputs[k].range, n) * rng.uniform(0.8, 1.0, n)
    if "conductance" in given:
        left = next(state for state in event.states if state not in columns)
        x = Values({**model.initial(p), **columns, left: rng.uniform(0.1, 0.9, n)})
        columns["conductance"] = np.asarray(model.readout(x, p.with_(t_amb=columns.get("t_amb", 0.0)))["conductance"])
    conditions = {k: event.fixed[k] for k in ("width", "rise", "fall") if k in event.fixed}
    blank = Recording("step table", {**columns, measured[0]: np.zeros(n)}, units, conditions)
    return blank.with_measured(forward_for(model, blank, np.ones(n, dtype=bool)).predict(p)), p, vary


def recipe(name: str, vary: tuple[str, ...], **values: float) -> FitRecipe:
    return FitRecipe(name="t", device=name, data={"kind": "step table"}, fit={"vary": vary}, start={"values": values})


def test_no_device_with_a_map_is_left_out() -> None:
    assert TABLES.keys() == {name for name, model in devices().items() if model.maps(model.defaults())}


@pytest.mark.parametrize("name", TABLES)
def test_any_device_with_a_map_is_found_again(name: str) -> None:
    made, p, vary = table(name)
    fit = extract(recipe(name, vary, **{k: 1.2 * float(p[k]) for k in vary}), made)
    for row in fit.rows():
        assert row.value == pytest.approx(p[row.name], rel=5e-3), row.name  # steps of the integration
    assert any(f"map '{next(iter(device(name).maps(p)))}'" in said for said in fit.verdict.remarks)


def test_the_shipped_table_gives_the_published_surface() -> None:
    fit = extract(FitRecipe.load("virtual_lab/thermal_steps"))
    true = ParameterSet.load("thermal_reram:published").resolved()
    assert fit.names == tuple(f"{letter}_{kind}" for kind in ("set", "reset") for letter in "abcd")
    for row in fit.rows():
        assert row.verdict.status == "identifiable"
        assert row.value == pytest.approx(true[row.name], abs=3 * row.stderr), row.name
        assert row.stderr < (0.07 if row.name == "d_set" else 0.03), row.name
    assert fit.verdict.residuals.white


def test_a_step_is_the_map_s_and_a_start_is_found_by_its_conductance() -> None:
    """Against the closed form of the memristor, called by hand."""
    made, p, _ = table("threshold_memristor")
    w = (made["conductance"] / p.g_max - 1 / p.ratio) / (1 - 1 / p.ratio)
    event = device("threshold_memristor").maps(p, shape=made.shape)["pulse"]
    after = event(Values({"w": w}), Values({"amplitude": made["amplitude"]}), p)[1]["conductance"]
    np.testing.assert_allclose(made["step"], after - made["conductance"], atol=1e-12 * p.g_max)


def test_a_file_with_the_conductance_after_each_pulse(tmp_path) -> None:
    made, p, _ = table("threshold_memristor")
    path = tmp_path / "steps.csv"
    after = made["conductance"] + made["step"]
    rows = zip(made["amplitude"], 1e6 * made["conductance"], 0.1e6 * after, strict=True)
    lines = [f"{a},{g:.9g},{i:.9g}" for a, g, i in rows]
    path.write_text("V (V),G before (uS),I after (uA)\n" + "\n".join(lines))
    columns = {"amplitude": {"name": "V"}, "conductance": {"name": "G before"}, "read": {"name": "I after"}}
    conditions = {"v_read": "0.1 V", "width": "200 ns", "rise": "5 ns", "fall": "5 ns"}
    curve = read_curve(path, DataSpec(kind="step table", columns=columns, conditions=conditions))
    assert {k: v.attrs["role"] for k, v in curve.data.items()} == {
        "read": "measured", "amplitude": "applied", "conductance": "applied"
    }  # fmt: skip
    fit = extract(recipe("threshold_memristor", ("alpha_p",), alpha_p=1.2 * float(p.alpha_p)), curve)
    assert fit.values.alpha_p == pytest.approx(p.alpha_p, rel=1e-6)


def test_a_start_out_of_the_range_is_said() -> None:
    made, p, _ = table("threshold_memristor")
    high = made.with_(columns={**made.columns, "conductance": 1.5 * made["conductance"]}, fingerprint="")
    forward = forward_for(device("threshold_memristor"), high, np.ones(len(high), dtype=bool))
    count = int(np.sum(high["conductance"] > p.g_max))
    assert count
    assert f"conductance of {count} rows is out of the device's range" in forward.remarks((), p)[1]


def test_what_is_refused() -> None:
    made, _, _ = table("threshold_memristor", 60)
    rows, model = np.ones(len(made), dtype=bool), device("threshold_memristor")

    def given(change: dict[str, np.ndarray], drop: str = "", **changes: object) -> Recording:
        columns = {k: v for k, v in {**made.columns, **change}.items() if k != drop}
        return made.with_(columns=columns, units={**made.units, "cell": "V"}, fingerprint="", **changes)

    with pytest.raises(InputError, match=r"'cell' in V is nothing .*inputs amplitude \(V\)"):
        StepForward(model, given({"cell": made["amplitude"]}), rows)
    with pytest.raises(InputError, match=r"give the inputs of one of its maps: pulse: amplitude \(V\)"):
        StepForward(model, given({}, "amplitude"), rows)
    with pytest.raises(DataError, match="needs the condition 'width'"):
        StepForward(model, given({}, conditions={}), rows)
    with pytest.raises(InputError, match="has no event map"):
        StepForward(device("access_transistor"), made, rows)
    with pytest.raises(DataError, match="the steps run against those of threshold_memristor"):
        extract(recipe("threshold_memristor", ("alpha_p",)), made.with_measured(-made["step"]))
