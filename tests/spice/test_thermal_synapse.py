"""The thermal synapse's circuits against hand-written laws, and one fixed pulse against Eq. 27."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cosim.bench.measures.thermal import Deviation, LineError
from cosim.bench.measures.waveforms import sample
from cosim.bench.stimulus_kinds import Steps
from cosim.bench.testbench import Testbench
from cosim.engines.simulator import Simulator
from cosim.errors import InputError
from cosim.heat.network import array_response
from cosim.parameters import ParameterSet
from cosim.resources import find
from reference.oracles.thermal import eligibilities

R_HEATER = 5439.3


@pytest.mark.spice
def test_power_follows_eq_21_in_the_limit_of_a_small_drop(simulator: Simulator) -> None:
    """Eqs. 21 and 22: P = V² f ψ / R where the channel is ohmic, that is for a small heater voltage."""
    bench, v = Testbench.load("1t1h1m_power"), 0.02
    weak = bench.with_(parameters={"v_max": v, "correction": 0.0}).run(simulator)
    found = weak["power"]
    f, psi = found.coordinates["f"], found.coordinates["psi"]
    # what the fitted channel law leaves of BSIM4, twice: P goes with the square of the share of R
    inside = f >= 0.09  # below, the overdrive is not large against even this drop
    share = bench.file.parameters["share"].value  # of f, which Eq. 22 leaves open
    np.testing.assert_allclose(found.values[inside], (v * v / R_HEATER * share * f * psi)[inside], rtol=0.12)
    strong = bench.with_(parameters={"v_max": 0.5, "correction": 0.0, "width": 4e-6}).run(simulator)
    assert weak["linearity"].scalar > 0.998
    assert strong["linearity"].scalar < 0.97  # where it fails: a strong transistor and a large voltage


@pytest.mark.spice
def test_eligibility_is_the_decaying_sum_of_powers(simulator: Simulator) -> None:
    """Rises at the end of the frame from rectangular heat pulses of the ideal power V² f ψ/R, pole by pole."""
    bench = Testbench.load("1t1h1m_phases")
    done = bench.run(simulator)
    p = bench.sets["reram"].resolved()
    f, psi = (np.array(bench.file.stimuli[name].values) for name in ("f", "psi"))
    power = 0.3**2 / R_HEATER * f * psi
    starts = 15e-9 + 40e-9 * np.arange(20)
    expected = 0.0
    for r, tau in ((p.r_fast, p.tau_fast), (p.r_slow, p.tau_slow)):
        left = np.exp(-(815e-9 - starts - 21e-9) / tau)
        expected += float(np.sum(r * power * -np.expm1(-21e-9 / tau) * left))
    # P_H is within a few per cent of V² f ψ/R at f >= 0.45, ψ >= 0.7, and the pulse's edges are 1 ns
    assert done["eligibility"].values[-1] == pytest.approx(expected, rel=0.06)


@pytest.mark.spice
def test_a_frame_without_heating_is_not_passed(simulator: Simulator) -> None:
    cold = Testbench.load("1t1h1m_phases").with_(parameters={"v_max": 1e-3}).run(simulator)
    assert not cold.measures["accumulated"].passed
    # reads alone, 0.1 V on a ReRAM, warm it by less than a tenth of a kelvin
    assert cold["accumulated"].scalar < 0.1


@pytest.mark.spice
def test_a_pair_takes_twice_a_cell_but_for_the_heater(simulator: Simulator) -> None:
    """Two cells get each read, gate and write pulse; one of them is heated."""
    done = Testbench.load("1t1h1m_energy").run(simulator)
    parts = {name: done[name].values for name in ("integration", "e_update", "gate", "write", "pair_step")}
    expected = 2.0 * (parts["integration"] + parts["gate"] + parts["write"]) + parts["e_update"]
    # line drivers of 10 Ohm carry twice the current, the heated cell's ReRAM ends a little higher, edges are sampled
    np.testing.assert_allclose(parts["pair_step"], expected, rtol=0.01)


@pytest.mark.spice
def test_spike_integration_adds_conductances(simulator: Simulator) -> None:
    bench = Testbench.load("1t1h1m_array_4x4")
    text = find("netlists", "1t1h1m_array_4x4.cir").read_text()
    run = simulator.run(bench.deck("integration"))
    p = bench.sets["reram"].resolved()
    column = {"p": np.zeros(4), "n": np.zeros(4)}
    cells = re.findall(r"^X([pn])(\d)(\d) .*w0=\{w0([+-])\(([-\d.]+)\)\*spread\}", text, flags=re.MULTILINE)
    assert len(cells) == 32
    for side, _, j, sign, pattern in cells:
        w = 0.3 + (1 if sign == "+" else -1) * float(pattern)
        g = p.g_max * ((1 - 1 / p.ratio) * w + 1 / p.ratio)
        column[side][int(j) - 1] += 0.1 / (1 / g + p.r_heater)
    for side, currents in column.items():
        for j, current in enumerate(currents, 1):
            got = float(sample(run["tran"], f"i(vpost{side}{j})", at=9e-9))
            # line drivers of 10 Ohm, and what four heaters in parallel lose through the closed transistors
            assert got == pytest.approx(current, rel=5e-3)


@pytest.mark.spice
def test_the_heater_is_hotter_by_its_own_drop(simulator: Simulator) -> None:
    bench = Testbench.load("thermal_crosstalk_3x3")
    done, p = bench.run(simulator), bench.sets["reram"].resolved()
    over = done["heater"].values - done["own"].values
    # the source's edge of 1 ps is long gone: an algebraic node
    assert over == pytest.approx(p.r_rod * 0.2**2 / p.r_heater, rel=1e-4)


@pytest.mark.spice
def test_a_gate_that_has_no_supply_left_stays_there(simulator: Simulator) -> None:
    """Eq. 22 asks for 18 V at f = 0.8 and for more and more beyond: never for less, and the gate gets what there is."""
    bench = Testbench.load("1t1h1m_power")
    asked = []
    for f in (0.5, 0.6, 0.8, 0.85, 0.95, 0.999, 1.0):
        data = simulator.run(
            replace(bench, file=bench.file.model_copy(update={"save": ("v(g)", "v(xs.want)")})).deck(
                "corrected", point={"f": f, "psi": 1.0, "share": 1.0}
            )
        )["op"]
        want, gate = (float(data[name].values.reshape(-1)[0]) for name in ("v(xs.want)", "v(g)"))
        assert gate == pytest.approx(min(want, 3.3), rel=1e-6)
        asked.append(want)
    assert np.all(np.diff(asked) >= 0.0)
    assert asked[2] > 3.3


@pytest.mark.spice
@pytest.mark.osdi
def test_both_forms_of_the_array_agree(simulator: Simulator) -> None:
    bench = Testbench.load("1t1h1m_array_4x4")
    changes = []
    for form in ("behavioural", "verilog-a"):
        data = simulator.run(bench.with_(form=form).deck("row"))["tran"]
        data = data.rename({k: re.sub(r"n\.(.+)\.n1#", r"\1.", str(k)) for k in data.data_vars})
        heated = ("p11", "p12", "n13", "n14")
        ends = [sample(data, f"v(xa.x{cell}.xm.w)", at=np.array([261e-9, 281e-9])) for cell in heated]
        changes.append([b - a for a, b in ends])
    # the loose tolerances of the bench: 2 % of the largest update
    np.testing.assert_allclose(changes[0], changes[1], atol=0.02 * np.max(np.abs(changes[0])))


@pytest.mark.spice
def test_crosstalk_in_spice_is_the_fitted_network(simulator: Simulator) -> None:
    """The devices against the matrix that was fitted to the heat equation, which does not share their code."""
    bench = Testbench.load("thermal_crosstalk_3x3")
    data = bench.run(simulator).waveforms
    p = bench.sets["reram"].resolved()
    values = {name: p[name] for name in ("r_fast", "tau_fast", "r_slow", "tau_slow")}
    values |= {name: bench.sets[name].resolved().g_link for name in ("along_row", "along_column")}
    times = np.array([5e-9, 60e-9, 300e-9, 1e-6, 9e-6])
    expected = 0.2**2 / p.r_heater * array_response(times, values)
    for k, cell in enumerate(("22", "23", "32", "33")):
        rise = sum(sample(data, f"v(xa.xm{cell}.{pole})", at=times) for pole in ("rise_slow", "rise_fast"))
        # standard tolerances, and the source's edge of 1 ps
        np.testing.assert_allclose(rise, expected[:, k], atol=1e-3 * expected[-1, 0])


def test_steps() -> None:
    steps = Steps(kind="steps", values=(1.0, 0.5), repeat=2, start=10e-9, period=40e-9, width=20e-9, edge=2e-9)
    t, v = steps.knots()
    assert np.all(np.diff(t) > 0)
    at = np.interp(np.array([5, 11, 20, 29, 31, 40, 60, 100, 140]) * 1e-9, t, v)
    np.testing.assert_allclose(at, [0, 0.5, 1, 1, 0.5, 0, 0.5, 1, 0.5], atol=1e-9)
    assert steps.duration() == pytest.approx(170e-9)
    assert steps.source().startswith("PWL(0.0 0.0 1e-08 0.0")
    with pytest.raises(ValueError, match="does not fit"):
        Steps(kind="steps", values=(1.0,), period=20e-9, width=20e-9)


BENCH = """title = "t"
circuit = '''
V1 a 0 PWL(0 0 1u 1 2u 1)
R1 a b 1k
R2 b 0 3k
'''
[analysis]
kind = "tran"
stop = "2 us"
max_step = "10 ns"
"""


def measured(tmp_path: object, simulator: Simulator, table: str) -> float:
    from pathlib import Path

    path = Path(str(tmp_path)) / "b.toml"
    path.write_text(BENCH + table)
    return Testbench.load(path).run(simulator)["x"].scalar


@pytest.mark.spice
@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ('kind = "resistor-power"\nbetween = ["v(a)", "v(b)"]\nresistance = 1000.0\nunit = "W"', 0.0625e-3),
        ('kind = "resistor-peak-power"\nbetween = ["v(b)"]\nresistance = 3000.0\nunit = "W"', 0.1875e-3),
        # ∫ of the ramp's square is a third, and then a microsecond at full power
        ('kind = "resistor-energy"\nbetween = ["v(a)", "v(b)"]\nresistance = 1000.0\nunit = "J"', 0.0625e-9 * 4 / 3),
        ('kind = "drawn-energy"\nvoltage = "v(a)"\ncurrent = "i(v1)"\nunit = "J"', 0.25e-9 * 4 / 3),
        ('kind = "largest-change"\nof = ["v(a) - v(b)", "v(b)"]\nstart = "0 s"\nstop = "2 us"\nunit = "V"', 0.75),
    ],
)
def test_measures(table: str, expected: float, tmp_path: object, simulator: Simulator) -> None:
    # 100 linear pieces under a square: 1e-4
    assert measured(tmp_path, simulator, f"[measures.x]\n{table}\n") == pytest.approx(expected, rel=2e-4)


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ('kind = "changes"\nof = ["v(a) v(b)"]\nstop = "1 us"', "not a sum of vectors"),
        ('kind = "change-r-squared"\nof = ["v(a)", "v(b)", "v(c)"]\nagainst = [1.0]\nstop = "1 us"', "one number per"),
    ],
)
def test_wrong_measures(table: str, says: str, tmp_path: object) -> None:
    from pathlib import Path

    path = Path(str(tmp_path)) / "b.toml"
    path.write_text(f"{BENCH}[measures.x]\n{table}\n")
    with pytest.raises(InputError, match=says):
        Testbench.load(path)


@pytest.mark.spice
def test_an_unknown_resistance_is_named(tmp_path: object, simulator: Simulator) -> None:
    table = '[measures.x]\nkind = "resistor-power"\nbetween = ["v(a)"]\nresistance = "r9"\nunit = "W"\n'
    with pytest.raises(InputError, match="r9"):
        measured(tmp_path, simulator, table)


@pytest.mark.spice
def test_one_fixed_pulse_gives_eq_27_and_the_lab_s_table(simulator: Simulator) -> None:
    run = Testbench.load("reram_delta_g").run(simulator)
    # a, b, c, d typed again from the source, b of SET with the sign of its text
    rows = {"set": (0.143, -2.216, 0.8232, 0.4043, 2e-4), "reset": (0.3124, 0.8064, 1.138, -0.8806, 0.055)}
    for kind, (a, b, c, d, allowed) in rows.items():
        step = run[f"{kind}_step"]
        w, theta = step.coordinates["w0"], (step.coordinates["t_amb"] - 300.0) / 20.0
        law = a * np.exp(b * w) * theta ** (c * np.exp(d * w))
        # SET: edges of the pulse and engine tolerances; RESET: steps near the top of the range are no drift's
        np.testing.assert_allclose(np.abs(step.values), law, atol=allowed)
        assert np.all(np.sign(step.values[theta > 0]) == (1 if kind == "set" else -1))
    # the shipped table: what is read, four times, with 0.1 % of noise
    p, rng, table = ParameterSet.load("thermal_reram:published").resolved(), np.random.default_rng(0), []
    for kind, volts in (("set", 0.85), ("reset", -1.05)):
        step = run[f"{kind}_step"]
        w, t_amb = step.coordinates["w0"], step.coordinates["t_amb"]
        for _ in range(4):
            read = 1.0 + rng.normal(0.0, 0.001, (2, w.size))
            before = p.g_max * ((1 - 1 / p.ratio) * w + 1 / p.ratio) * (1 + p.alpha * (t_amb - 300.0)) * read[0]
            relative = (1.0 + step.values) * read[1] / read[0] - 1.0
            table.append(np.stack([before * 1e6, t_amb, np.full(w.size, volts), relative])[:, t_amb > 300.0])
    shipped = np.loadtxt(find("fits", "virtual_lab/thermal_steps.csv"), delimiter=",", skiprows=2)
    # six digits are written; engine tolerances
    np.testing.assert_allclose(shipped, np.concatenate(table, axis=1).T, rtol=1e-5, atol=1e-5)


def test_errors_of_a_line_and_of_expected_values() -> None:
    y = {"y": np.array([1.0, 2.0, 3.3])}
    line = {"of": "y", "against": (1.0, 2.0, 3.0)}
    off = np.abs(y["y"] / (14.9 / 14.0 * np.array([1.0, 2.0, 3.0])) - 1.0)
    for kind, expected in (("line-error", off.mean()), ("median-line-error", np.median(off))):
        assert LineError.model_validate({"kind": kind, **line}).combine(y, {}) == pytest.approx(expected, rel=1e-12)
    found = Deviation(kind="deviation", of="y", expected=(1.0, 2.5, 3.0)).combine(y, {})
    np.testing.assert_allclose(found, [0.0, -0.2, 0.1], atol=1e-12)
    with pytest.raises(InputError, match="2 are expected"):
        Deviation(kind="deviation", of="y", expected=(1.0, 2.5)).combine(y, {})


def test_a_circuit_takes_a_value_from_its_devices_set(tmp_path: Path) -> None:
    """And one that is not there is named."""
    text = 'title = "t"\ncircuit = """\nR1 a 0 {device.cell.r_heater}\nV1 a 0 1\nXc a 0 a 0 0 0 cell\n"""\n'
    text += '[devices.cell]\nparameters = "thermal_reram:published"\n[analysis]\nkind = "op"\n'
    path = tmp_path / "b.toml"
    path.write_text(text)
    bench = Testbench.load(path)
    assert "R1 a 0 5439.3" in bench.deck().text
    assert "R1 a 0 1000" in bench.with_(values={"cell": {"r_heater": 1000.0}}).deck().text
    path.write_text(text.replace("{device.cell.r_heater}", "{device.cell.r_oven}"))
    with pytest.raises(InputError, match="r_oven"):
        Testbench.load(path).deck()
    path.write_text(text.replace("{device.cell.r_heater}", "{device.other.r_heater}"))
    with pytest.raises(InputError, match="device 'other' of bench b"):
        Testbench.load(path).deck()


@pytest.mark.spice
def test_the_array_is_its_network_by_hand(simulator: Simulator) -> None:
    """`rises` of the reference tests: expm of the conduction matrix, with the power of Eqs. 21 and 22."""
    bench = Testbench.load("1t1h1m_array_4x4")
    data = simulator.run(bench.deck("concurrent"))["tran"]
    found = []
    for text in bench.file.measures["eligibility"].of:
        signs = [1, *(-1 if word == "-" else 1 for word in text.split()[1::2])]
        parts = (float(sample(data, name, at=261e-9)) for name in text.split()[::2])
        found.append(sum(sign * part for sign, part in zip(signs, parts, strict=True)))
    expected = eligibilities("stack_250nm_modified")
    # P is within a few per cent of V² f ψ/R but at f = 0.05, whose rise is a tenth of the largest
    np.testing.assert_allclose(found, expected, atol=0.06 * expected.max())
