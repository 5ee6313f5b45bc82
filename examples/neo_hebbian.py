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
from cosim.report.page import Curve, Page, Panel, command, swept, trace, wave
from cosim.resources import find

WIDTHS = (0.66e-6, 1e-6, 2e-6, 4e-6)
VOLTAGES = (0.1, 0.2, 0.3, 0.5)
SCALINGS = (("", "corrected, 0.3 V"), ("_published", "Eq. 22, 0.215 V"), ("_compared", "corrected, 0.215 V"))
PRINTED = {"set": (0.143, -2.216, 0.8232, 0.4043), "reset": (0.3124, 0.8064, 1.138, -0.8806)}  # a, b, c, d


def power(page: Page) -> None:
    """P_H against f·ψ by both scalings, where the supply and the triode end, linearity against temperature."""
    page.section("Heater power is f ψ")
    done = page.run("1t1h1m_power")
    panels = []
    for name, title in (("power", "corrected, 0.3 V"), ("power_published", "Eq. 22, 0.215 V")):
        found = done[name]
        product = found.coordinates["f"] * found.coordinates["psi"]
        line = float(product @ found.values / (product @ product))
        ends = np.array([0.0, product.max()])
        panels.append(Panel(title, "f ψ", "heater power (µW)", [
            (product, found.values * 1e6, "", "."), (ends, 1e6 * line * ends, "proportional", "k-"),
        ]))  # fmt: skip
    gate = done.waveforms_of("unshared")[0]
    f, spare = gate[next(iter(gate.coords))].values, gate["v(spare)"].values
    shown = spare > -1.0  # beyond, Eq. 22 asks for a gate voltage without bound
    panels.append(Panel("Left by Eq. 22, whole f at the gate", "f", "voltage left (V)", [
        (f[shown], spare[shown], "of the supply, 3.3 V", "-"),
        (f[shown], gate["v(triode)"].values[shown], "of the triode region", "--"),
        (f[[0, -1]], np.zeros(2), "", "k:"),
    ]))  # fmt: skip
    if not page.quick:
        panels.append(Panel("Linearity against temperature", "largest rise (K)", "R²", [
            (*trade_off(page, done.bench, width=width, correction=correction), f"{width * 1e6:g} µm{kind}", line)
            for correction, kind, line in ((0.0, ", Eq. 22", "s--"), (0.7, "", "o-")) for width in WIDTHS
        ], log="x"))  # fmt: skip
    page.draw(
        "f from 0.05 to 0.95 with one transistor of 0.66 µm; 63 % of f reach the gate. The correction (our choice) adds"
        " half of the channel's own drop to the gate. With the whole f the supply of 3.3 V ends where its curve passes"
        " zero, and the triode begins where its own does. Widths, where shown: each from 0.1 to 0.5 V at the heater; at"
        " 4 µm the correction is more than the whole overdrive, and does harm.",
        *panels,
    )
    words = {"linearity": "R² of the power against f ψ", "median_error": "median relative error of that",
             "largest_error": "largest relative error of that, at f = 0.05",
             "full_scale": "temperature at the largest f ψ, of the range of Eq. 27"}  # fmt: skip
    page.judge(
        done,
        largest_f="f at which the supply ends, whole f at the gate",
        smallest_f="f at which the triode begins",
        gate="gate voltage that is asked for",
        **{name + end: f"{text}, {title}" for end, title in SCALINGS for name, text in words.items()},
    )
    page.compare(*(Row(f"largest rise, {title}", done[f"full_scale_rise{end}"]) for end, title in SCALINGS))


def trade_off(page: Page, bench: Testbench, *, width: float, correction: float) -> tuple[Array, Array]:
    """Largest rise (K) and R² of the bench with another transistor, over `VOLTAGES`."""
    given = {"width": width, "correction": correction}
    runs = [page.run(bench.with_(parameters={**given, "v_max": v})) for v in VOLTAGES]
    rise, straight = ([run[name].scalar for run in runs] for name in ("full_scale_rise", "linearity"))
    return np.array(rise), np.array(straight)


def cell(page: Page) -> None:
    """A data frame on one cell with and without self-heating, the differential pair, the energy of a step."""
    page.section("A data frame, the differential pair, energy per step")
    frame, pair, energy = (page.run(f"1t1h1m_{name}") for name in ("phases", "pair", "energy"))
    data = frame.waveforms
    ns, rise = data["time"].values * 1e9, data["v(xc.xm.rise_slow)"].values + data["v(xc.xm.rise_fast)"].values
    cells = (("xc", "its power is no heat", "-"), ("xh", "its power is heat", "--"))
    parts = ("integration", "e_update", "gate", "write", "cell_step", "pair_step")
    page.draw(
        "20 steps of 40 ns (spike integration 10 ns at 0.1 V, e-update 21 ns), then a write pulse of 10 ns. Eq. 27 was"
        " measured with the pulse's own heat in it: a cell whose power is heat besides counts it twice.",
        Panel("Eligibility", "time (ns)", "rise (K)", [(ns, rise, "", "-")]),
        Panel("Weight", "time (ns)", "w", [wave(data, f"v({x}.xm.w)", ("ns", "1"), *shown) for x, *shown in cells]),
        Panel("Differential pair", "rise(+) − rise(−) (K)", "Δ(w+ − w−)", [
            (pair[f"eligibility{end}"].values, pair[f"net_update{end}"].values, label, line)
            for end, label, line in (("", "w+ = w−", "o-"), ("_weighted", "w+ − w− = 0.2", "s--"))
        ]),
        Panel("Energy of a step", "w", "energy (pJ)", [
            curve for name in parts for curve in swept(energy[name], "w0", ("1", "pJ"), name.replace("_", " "))
        ], log="y"),
    )  # fmt: skip
    page.judge(
        frame, pair, energy,
        accumulated="eligibility at the end of the frame",
        update="change of w by the write pulse",
        theta="temperature in the write pulse, of the range of Eq. 27",
        disturb="change of w by 20 reads and e-updates",
        eligibility_line="R² of the eligibility against ψ",
        update_line="R² of the update against the eligibility",
        asymmetry="sum of the largest rise and fall",
        largest="largest update", warmest="largest rise of the heated cell over the other",
        fall_over_rise="fall over rise of a pair that holds +0.2",
    )  # fmt: skip
    page.compare(
        Row("update with self-heating over without", frame["self_heating_counts"],
            note="the default is without: Eq. 27 has the pulse's heat in it"),
        Row("temperature in the write pulse with self-heating", frame["theta_self_heated"],
            note="1 is the range of Eq. 27"),
    )  # fmt: skip


def array(page: Page) -> None:
    """The 4×4 array with both structures of Fig. 6 at the source's pitch, and the 3×3 crosstalk."""
    page.section("Arrays")
    bench = Testbench.load("1t1h1m_array_4x4")
    runs = {"Fig. 6(e)": page.run(bench)} | ({} if page.quick else {"Fig. 6(b)": page.run(bench.at_corner("baseline"))})
    crosstalk = page.run("thermal_crosstalk_3x3")
    data = crosstalk.waveforms.sel(time=slice(1e-10, None))
    near: list[Curve] = [
        (data["time"].values * 1e9, data[f"v(xa.xm{at}.rise_slow)"].values + data[f"v(xa.xm{at}.rise_fast)"].values,
         label, "-")
        for at, label in (("22", "A, heated"), ("23", "B in the row"), ("32", "B in the column"), ("33", "C, diagonal"))
    ]  # fmt: skip
    product = np.outer((0.6, 0.4, 0.2, 0.05), (1.0, 0.5, -0.5, -1.0)).ravel()
    page.draw(
        "4×4 pairs of Fig. 5 with crosstalk between all cells, cells of 250 nm and 200 nm between them; and the middle"
        " of 3×3 cells heated with 0.2 V at F = 60 nm and a pitch of 2 F.",
        Panel("Eligibility after 10 steps", "f ψ", "rise(+) − rise(−) (K)",
              [(product, run["eligibility"].values, label, "o") for label, run in runs.items()]),
        Panel("Concurrent update", "f ψ", "Δ(w+ − w−)",
              [(product, run["update"].values, label, "o") for label, run in runs.items()]),
        Panel("3×3: rise at the ReRAMs", "time (ns)", "rise (K)", near, log="x"),
    )  # fmt: skip
    page.judge(
        *runs.values(), crosstalk,
        eligibility_line="R² of the eligibility against f ψ",
        update_line="R² of the update against f ψ",
        largest_eligibility="eligibility of the warmest pair",
        largest_update="update of its heated cell",
        unheated_update="largest update of a cell without power",
        fast_decay="fast part of the rise over that 2 ns later",
        frame_disturb="change of w by 10 e-updates",
        own_early="rise of A after 2 ns",
        own="rise of A after 60 ns",
        own_at_rest="rise of A at rest",
        self_coupling="filament over heater after 60 ns",
        crosstalk_row="B in the row over A, 60 ns",
        crosstalk_column="B in the column over A, 60 ns",
        row_over_column="B in the row over B in the column, 60 ns",
        crosstalk_diagonal="C over A, 60 ns",
        crosstalk_row_at_rest="B in the row over A, at rest",
        crosstalk_diagonal_at_rest="C over A, at rest",
    )  # fmt: skip
    page.compare(
        *(Row(f"{which} error of the eligibility, {label}", run[f"{key}eligibility_error"])
          for label, run in runs.items() for which, key in (("median", ""), ("largest", "largest_"))),
        *(Row(f"update of an unheated twin over a heated cell's, {label}", run["twin_over_heated"],
              note="the heat of its neighbour; only the pair's difference is used") for label, run in runs.items()),
    )  # fmt: skip


def device(page: Page) -> None:
    """The ReRAM alone: I–V, steps against temperature, steps over devices."""
    page.section("The thermal ReRAM (Fig. 3 and Eq. 27)")
    loop, steps, spread = page.run("reram_iv", save=["v(d)"]), page.run("reram_delta_g"), page.run("reram_variability")
    rng = np.random.default_rng(0)
    devices = [page.run(spread.bench.sampled(rng))["step"].scalar for _ in range(10 if page.quick else 60)]
    share = (np.arange(len(devices)) + 1) / len(devices)
    page.draw(
        "I–V at 1 V/s, 310 K; steps by one pulse of 280 µs at three conductances; SET steps of devices whose a, b, c, d"
        " spread by 10 %.",
        Panel("I–V", "voltage (V)", "current (µA)", [trace(loop.waveforms, "v(d)", "i(vd)", ("V", "uA"), scale=-1.0)]),
        *(Panel(f"{kind.upper()} step", "ambient temperature (K)", "ΔG/G0", swept(steps[f"{kind}_step"], "t_amb"))
          for kind in ("set", "reset")),
        Panel("SET step over devices", "ΔG/G0", "share of devices", [(np.sort(devices), share, "", "o-")]),
    )  # fmt: skip
    page.judge(
        loop, steps, spread,
        set_at="w passes 1/2 on the way up, 1 V/s",
        reset_at="w passes 1/2 on the way down, 1 V/s",
        on_off="on over off at 0.1 V",
        closes="off after the loop over off before it",
        set_deviation="SET step − Eq. 27, relative",
        reset_deviation="RESET step − Eq. 27, relative",
        step="SET step, and where 95 % of devices have theirs", typical="SET step of the nominal device",
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
    for section in (power, device, cell, array):
        section(page)
    if page.quick:
        page.section("Left out: quick").text("Widths, the array of Fig. 6(b), the ΔG surface and the heat equation.")
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
