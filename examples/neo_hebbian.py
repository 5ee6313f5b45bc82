"""Thermal neo-Hebbian synapse (arXiv 2411.18272): 1T-1H-1M cell, pair, array, and the heat in its stack.

The source prints Eq. 27 with its coefficients, Table 2, 5 pJ per step, and trends; the numbers of its figures are not
in its text. The heat equation takes FiPy (extra "heat") and a minute; without either the page says what it leaves out.
"""

import importlib.util
import json
import sys

import numpy as np

from cosim.bench.testbench import Testbench
from cosim.devices.base import Array
from cosim.devices.thermal_reram import ThermalReram
from cosim.fitting.extract import extract
from cosim.fitting.recipe import FitRecipe
from cosim.parameters import ParameterSet
from cosim.report.comparison import Row, source
from cosim.report.page import Page, Panel, command, swept, wave
from cosim.resources import find

LINE = "our choice: R² through the origin, the benches' limit"
WIDTHS = (0.66e-6, 1e-6, 2e-6, 4e-6)
VOLTAGES = (0.1, 0.2, 0.3, 0.5)
PRINTED = {"set": (0.143, -2.216, 0.8232, 0.4043), "reset": (0.3124, 0.8064, 1.138, -0.8806)}  # a, b, c, d


def power(page: Page) -> None:
    """P_H against f·ψ, and linearity against temperature for several transistors."""
    page.section("Heater power is f ψ")
    done = page.run("1t1h1m_power")
    panels = []
    for name, title in (("power", "corrected, 0.3 V"), ("power_published", "Eq. 22, 0.215 V")):
        found = done[name]
        product = found.coordinates["f"] * found.coordinates["psi"]
        line = float(product @ found.values / (product @ product))
        panels.append(Panel(title, "f ψ", "heater power (µW)", [
            (product, found.values * 1e6, "", "."), (np.array([0.0, 0.6]), np.array([0.0, 0.6e6 * line]), "", "k-"),
        ]))  # fmt: skip
    if not page.quick:
        panels.append(Panel("Linearity against temperature", "rise at f = 0.6, ψ = 1 (K)", "R²", [
            (*trade_off(page, done.bench, width=width, correction=correction), f"{width * 1e6:g} µm{kind}", line)
            for correction, kind, line in ((0.0, ", Eq. 22", "s--"), (0.7, "", "o-")) for width in WIDTHS
        ], log="x"))  # fmt: skip
    page.draw(
        "Left and middle: one transistor of 0.66 µm. The correction (our choice) adds half of the channel's own drop to"
        " the gate. Right: widths, each from 0.1 to 0.5 V at the heater.",
        *panels,
    )
    rows = []
    for end, title in (("_published", "Eq. 22 as published, 0.215 V"), ("_compared", "corrected, 0.215 V"),
                       ("", "corrected, 0.3 V")):  # fmt: skip
        straight = source("Eqs. 2 and 22", 1.0, absolute=0.01, reason=LINE, statement="P ∝ f ψ")
        rows.append(Row(f"P against f ψ: {title}", done[f"linearity{end}"], straight))
        rows.append(Row(f"rise at f = 0.6, ψ = 1: {title}", done[f"full_scale_rise{end}"]))
    page.compare(*rows, Row("mean, largest relative error, corrected, 0.3 V",
                            [done[f"{name}_error"].scalar for name in ("mean", "largest")],
                            note="the largest at f = ψ = 0.05, 1/240 of the largest f ψ"))  # fmt: skip


def trade_off(page: Page, bench: Testbench, *, width: float, correction: float) -> tuple[Array, Array]:
    """Rise (K) at full scale and R² of the bench with another transistor, over `VOLTAGES`."""
    given = {key: entry.value for key, entry in bench.file.parameters.items()}
    scaled = {"width": width, "k": given["k"] * width / given["width"], "correction": correction}
    runs = [page.run(bench.with_(parameters={**scaled, "v_max": v})) for v in VOLTAGES]
    rise, straight = ([run[name].scalar for run in runs] for name in ("full_scale_rise", "linearity"))
    return np.array(rise), np.array(straight)


def cell(page: Page) -> None:
    """A data frame on one cell, the differential pair, the energy of a step."""
    page.section("A data frame, the differential pair, energy per step")
    frame, pair, energy = (page.run(f"1t1h1m_{name}") for name in ("phases", "pair", "energy"))
    data = frame.waveforms
    rise = data["v(xc.xm.rise_slow)"].values + data["v(xc.xm.rise_fast)"].values
    parts = ("integration", "e_update", "gate", "write")
    page.draw(
        "20 steps of 40 ns (spike integration 10 ns at 0.1 V, e-update 21 ns), then one write pulse of 10 ns.",
        Panel("Eligibility", "time (ns)", "rise (K)", [(data["time"].values * 1e9, rise, "", "-")]),
        Panel("Weight", "time (ns)", "w", [wave(data, "v(xc.xm.w)", ("ns", "1"))]),
        Panel("Differential pair", "rise(+) − rise(−) (K)", "Δ(w+ − w−)",
              [(pair["eligibility"].values, pair["net_update"].values, "", "o-")]),
        Panel("Energy of a step", "w", "pJ", [
            curve for name in (*parts, "pair_step") for curve in swept(energy[name], "w0", ("1", "pJ"), name)
        ]),
    )  # fmt: skip
    keeps = source(
        "Fig. 4", 0.0, absolute=1e-4, reason="our choice", statement="“at the end of the dataframe”, not before"
    )
    hot = frame["spike_current"].values
    step = source("Table 1", 5e-12, absolute=0.5e-12, reason="the source prints one digit", statement="V_w² G t_PW")
    odd = source("text on Fig. 5", 1.0, absolute=0.01, reason=LINE, statement="“directly proportional”")
    page.compare(
        Row("eligibility at the end of the frame", frame["eligibility"].values[-1], unit="K"),
        Row("change of w by 20 reads and e-updates", frame["disturb"], keeps),
        Row("change of w by the write pulse", frame["update"]),
        Row("spike current hot over cold − 1", hot[2] / hot[0] - 1.0, note="α = 4e-4 1/K behind the heater's 5.4 kΩ"),
        Row("net update of the pair against eligibility, R²", pair["update_line"], odd),
        Row("fall over rise of a pair that holds +0.2", pair["fall_over_rise"], note="Eq. 27"),
        Row("energy per step of a cell, w = 1", energy["per_step_of_a_cell"], step,
            note="its estimate is of one ReRAM's write pulse at its conductance; a cell divides 1.8 V with its heater"),
        Row("energy per step of a pair, w = 1 in both", energy["per_step_of_a_pair"]),
        *(Row(f"of the cell's: {name}", energy[name].values[-1], unit="J") for name in parts),
    )  # fmt: skip


def array(page: Page) -> None:
    """The 4×4 array at the source's own pitch and at 2 F, and the 3×3 crosstalk."""
    page.section("Arrays")
    wide, crosstalk = page.run("1t1h1m_array_4x4"), page.run("thermal_crosstalk_3x3")
    names = {"reram": "thermal_reram:stack_60nm_array"}
    names |= {key: f"thermal_link:stack_60nm_{key}" for key in ("along_row", "along_column")}
    sets = {key: ParameterSet.load(name) for key, name in names.items()}
    runs = {"K = 450 nm": wide} | ({} if page.quick else {"K = 2 F": page.run(wide.bench.with_(devices=sets))})
    product = np.outer((0.6, 0.4, 0.2, 0.05), (1.0, 0.5, -0.5, -1.0)).ravel()
    page.draw(
        "4×4 pairs of Fig. 5 with crosstalk between all cells. At 2 F the common rise hides each cell's own.",
        Panel("Eligibility after 10 steps", "f ψ", "rise(+) − rise(−) (K)",
              [(product, run["eligibility"].values, label, "o") for label, run in runs.items()]),
        Panel("Concurrent update", "f ψ", "Δ(w+ − w−)",
              [(product, run["update"].values, label, "o") for label, run in runs.items()]),
    )  # fmt: skip
    straight = source("text on Fig. 5", 1.0, absolute=0.07, reason=LINE, statement="“directly proportional”")
    none = source(
        "text on Fig. 5", 0.0, absolute=0.1, reason="our choice", statement="“insignificant conductance change”"
    )
    page.compare(
        *(Row(f"update against f ψ, R², {label}", run["update_line"], straight) for label, run in runs.items()),
        Row("update of an unheated twin over the largest",
            wide["unheated_update"].scalar / wide["largest_update"].scalar, none,
            note="crosstalk warms the twin, which lies next to it"),
        Row("disturb of unselected rows: at ground, at half",
            [wide[f"{name}_disturb"].scalar for name in ("unselected", "half_select")]),
        Row("update of the selected row beside them",
            [wide[f"{name}_update"].scalar for name in ("selected", "half_selected")]),
        Row("3×3, 60 ns, K = 2 F: B row and C over A",
            [crosstalk[f"crosstalk_{name}"].scalar for name in ("row", "diagonal")]),
    )  # fmt: skip


def surfaces(page: Page) -> None:
    """ΔG/G0 against G0 and temperature, and a, b, c, d from noisy steps of the virtual lab."""
    page.section("ΔG against G0 and temperature (Fig. 14)")
    run, device = page.run("reram_delta_g"), ThermalReram()
    p, w = ParameterSet.load("thermal_reram:published").resolved(), np.linspace(0.0, 1.0, 101)
    panels = []
    for kind, polarity in (("set", 1), ("reset", -1)):
        step = run[f"{kind}_step"]
        curves = []
        for t in np.unique(step.coordinates["t_amb"]):
            own, theta = step.coordinates["t_amb"] == t, (t - p.t_ref) / p.full_scale_rise
            law = polarity * device.surface(w, theta, p, polarity=polarity)
            curves += [(step.coordinates["w0"][own], 100 * step.values[own], f"θ = {theta:g}", "o")]
            curves += [(w, 100 * law, "", "k-")]
        panels.append(Panel(kind.upper(), "initial conductance (fraction of the range)", "ΔG/G0 (%)", curves))
    page.draw(
        "One fixed pulse and a read before and after it. Lines: Eq. 27; the device has its drift from it, and near"
        " the top of the range at θ = 1 the RESET surface is not monotonic: no drift follows it there.",
        *panels,
    )
    fit, rows = extract(FitRecipe.load("virtual_lab/thermal_steps")), []
    for row in fit.rows():
        printed = PRINTED[row.name[2:]]["abcd".index(row.name[0])]
        sign = "printed +2.216, against the text's trend" if printed < -2 else ""
        beside = source("Eq. 27", printed, absolute=3.0 * (row.stderr or 0.0), reason="3 σ of the fit", statement=sign)
        rows.append(Row(f"{row.name[2:].upper()}: {row.name[0]}", row.value, beside))
    page.compare(*rows)


def heat(page: Page) -> None:
    """Temperature in the stack, its step response, and coupling against F and K (recorded)."""
    from cosim.heat.network import fit_array, fit_cell
    from cosim.heat.response import COUPLING_TIME, VOLTAGE, response, solution
    from cosim.heat.stack import Stack
    from cosim.report.heat_figures import plot_response, sweep_figure, temperature_figure

    page.section("Heat equation of the stack (Figs. 6 and 13)")
    stack = Stack.baseline(refine=0.7)
    grid, model, current = solution(stack, tell=page.tell)
    rise = 5e-6 / (VOLTAGE * current) * model.field(COUPLING_TIME)
    page.figure(temperature_figure(grid, rise, title="Rise after 60 ns at 5 µW"), "3×3, F = 60 nm, K = 2 F, Table 2.")
    found = response(stack, tell=page.tell)
    two, one = fit_cell(found), fit_cell(found, poles=1)
    page.figure(plot_response(found, fits={"two poles": two, "array network": fit_array(found)}), "Step response.")
    kept = json.loads(find("fits", "results/heat.json").read_text(encoding="utf-8"))
    figures = kept["figures"]
    page.figure(sweep_figure(figures["sweep"]), f"Recorded by `./run reproduce heat` on {kept['made']}.")
    pole = source("Eq. 23", below=0.02, statement="one thermal time constant (error of it below 2 %, our choice)")
    page.compare(
        Row("self-coupling, neighbour B after 60 ns", [found.at(COUPLING_TIME)[k] for k in ("A", "B row")]),
        Row("largest error of one pole", one.error, pole, note=f"two poles: {two.error:.1%}"),
        Row("thermal resistance of the heater", found.r_th, unit="K/W"),
        Row("modified geometry: gain of self-coupling", figures["modified_self_gain"],
            source("text on Fig. 6", above=1.0, statement="“increases the self-thermal coupling”")),
        Row("modified geometry: crosstalk to B over the baseline's", figures["modified_crosstalk"],
            source("text on Fig. 6", below=1.0, statement="“reduces thermal crosstalk”")),
    )  # fmt: skip


def build(page: Page) -> None:
    """All sections; the long ones unless it has to be quick."""
    for section in (power, cell, array):
        section(page)
    if page.quick:
        page.section("Left out: quick").text("Widths, the array at 2 F, the ΔG surface and the heat equation.")
        return
    surfaces(page)
    if all(importlib.util.find_spec(name) for name in ("fipy", "pyamg")):
        heat(page)
    else:
        page.section("Left out").text("The heat equation: FiPy and pyamg are not installed (extra 'heat').")


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    return command("neo_hebbian", "Thermal neo-Hebbian synapse", "arXiv 2411.18272, in ngspice.", build, arguments)


if __name__ == "__main__":
    sys.exit(main())
