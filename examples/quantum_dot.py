"""The quantum-dot memristor (P. Maier et al., J. Appl. Phys. 120, 134503, 2016): four learning rules of one device.

The points of its figures are not published as numbers; what is compared is its text and the peaks of the curves of its
Table 2. Knots of the pulses are our choice, amplitudes those of Table 1; one parameter set serves all four rules.
"""

import sys
from typing import cast

import numpy as np

from cosim.bench.measures.stdp import StdpDistance, change_by_action
from cosim.bench.testbench import Testbench
from cosim.report.comparison import Row, oracle, source
from cosim.report.page import Curve, Page, Panel, command

PEAKS = {  # rule: its title, and largest and smallest ΔG of its curve in Table 2
    "hebbian": ("asymmetric Hebbian", 1.199, -0.813),
    "anti_hebbian": ("asymmetric anti-Hebbian", 1.851, -0.165),
    "symmetric": ("symmetric Hebbian", 0.544, -1.0),
    "anti_symmetric": ("symmetric anti-Hebbian", None, -0.478),
}
EFFICIENCIES = (0.7, 1.3, 1.0)  # of charging, as in Fig. 4; the factors are our choice. The last is the rule itself.
KNOTS = "our choice: the pulses' knots are not published"


def rules(page: Page) -> None:
    """The four rules beside Table 2, with more and less efficient charging."""
    page.section("Four learning rules of one device")
    panels, rows = [], []
    for rule, (title, *peaks) in PEAKS.items():
        bench = Testbench.load(f"quantum_dot_{rule}")
        distance, own = cast(StdpDistance, bench.file.measures["distance"]), bench.sets["memristor"]
        t = distance.delays.values() * 1e3
        curves: list[Curve] = []
        for factor in EFFICIENCIES[-1:] if page.quick else EFFICIENCIES:
            changed = own.with_values({"b_alpha_c": factor * own.values["b_alpha_c"].value})
            run = page.run(bench.with_(devices={"memristor": changed}))
            curves.append((t, run[rule].values, f"ngspice, α_c × {factor:g}", "o-" if factor == 1.0 else "--"))
        table = change_by_action(
            t,
            discharge=np.array(distance.discharge),
            charge=np.array(distance.charge),
            factor=distance.factor,
            between=(distance.between[0] * 1e3, distance.between[1] * 1e3),
        )
        panels.append(Panel(title, "Δt (ms)", "ΔG/G0", [*curves, (t, table, "Table 2", "k:")]))
        for end, peak in zip(("max", "min"), peaks, strict=True):
            if peak is None:
                continue  # its curve touches 0 outside its window only
            beside = source("Table 2", peak, relative=0.1, reason=KNOTS)
            rows.append(Row(f"{title}: {end} ΔG", run[f"{rule}_{end}"], beside))
        if rule == "hebbian":
            for name, edge, curve in (("opens", -4e-3, -4.4), ("closes", 2e-3, 2.7)):
                beside = source("text on Fig. 3(a)", edge, absolute=0.5e-3, reason="the source prints whole ms")
                note = f"Table 2's own curve {name} at {curve} ms; |ΔG| > 0.1 is our choice"
                rows.append(Row(f"{title}: the window {name}", run[name], beside, note=note))
        if rule == "anti_symmetric":
            beside = source("text on Fig. 3", 0.0, absolute=0.1, reason="the window's edge, our choice")
            note = "2.4 V on either side alone exceed |V_c| = 1.9 V"
            rows.append(Row(f"{title}: ΔG at the longest delay", run[rule].values[0], beside, note=note))
    page.draw("41 delays of each rule in one netlist; dotted: the actions of Table 2.", *panels)
    page.compare(*rows)


def loop(page: Page) -> None:
    """The pinched loop and its conductances."""
    page.section("Pinched loop")
    run = page.run("quantum_dot_loop", show=["loops"])
    printed = [("g_high", "text on Fig. 1(b)", 0.8e-6, 0.05e-6), ("g_low", "text on Fig. 1(b)", 1.4e-11, 0.05e-11),
               ("ratio", "abstract", 57e3, 0.5e3)]  # fmt: skip
    digits = "half of the last digit that is printed"
    page.compare(
        *(Row(n, run[n], source(place, v, absolute=a, reason=digits), note="the set has it from the source")
          for n, place, v, a in printed),
        Row("current at 0 V over the largest", run["pinch"],
            source("text on Fig. 1(b)", below=1e-3, above=-1e-3, statement="“a pinched hysteresis loop”")),
    )  # fmt: skip


def levels(page: Page) -> None:
    """Eight levels by the delay, and conductance against pulse number and initial conductance."""
    page.section("Levels by delay, initial conductance")
    run, from_states, slow = (page.run(f"quantum_dot_{name}") for name in ("levels", "initial", "slow"))
    found, delays = run["levels"].values, np.linspace(-5.4, -4.0, run["levels"].values.size)
    g0, fall, rise = from_states["rise_from"].values, from_states["fall"].values - 1, from_states["rise"].values - 1
    n = np.arange(run["rising"].values.size)
    pulses = np.arange(1, slow["fast"].values.size + 1)
    page.draw(
        "Ten pairs at each delay; one pair from different states; trains of pulses above and below V_d.",
        Panel("Conductance against pairs", "pairs N", "G (µS)", [
            (n, run["rising"].values * 1e6, "Δt = +2.4 ms", "o-"), (n, run["falling"].values * 1e6, "−4.0 ms", "s-"),
        ]),
        Panel("Levels", "Δt (ms)", "G after 10 pairs (µS)", [(delays, found * 1e6, "", "o-")], log="y"),
        Panel("Initial conductance", "G0 (µS)", "ΔG/G0", [
            (g0 * 1e6, rise, "Δt = +0.9 ms", "o-"), (g0 * 1e6, fall, "−2.1 ms", "s-"),
        ], log="x"),
        Panel("Discharge", "pulses of 1 ms", "G (µS)", [
            (pulses, slow["fast"].values * 1e6, "4.5 V", "-"), (pulses, slow["slow"].values * 1e6, "3.7 V", "--"),
        ]),
    )  # fmt: skip
    apart = source("Fig. 2(c)", above=1.25, statement="“eight different levels”, a quarter apart (our choice)")
    places = source("text on Fig. 2(b)", [-4.4e-3, -2.0e-3], absolute=0.2e-3, reason="one step of Δt")
    falls = source("text on Fig. 2(b)", below=0.0, statement="“lower for larger time differences”")
    independent = source("Sec. V", 0.0, absolute=0.05, reason="our choice", statement="“independent on G0”")
    medium = source("Sec. V", below=float(g0.max()), above=float(g0.min()), statement="“a maximum at medium G0”")
    page.compare(
        Row(f"smallest ratio of neighbours among {found.size} levels", run["step"], apart),
        Row("delays of the first and the last level", delays[[0, -1]] * 1e-3, places, unit="s",
            note="knots: nearer to zero ten pairs fill the dots whatever the delay"),
        Row("largest step from a level to the next", float(np.diff(found).max()), falls, unit="S"),
        Row("spread of the relative fall, G0 < 0.1 µS", float(np.ptp(fall[g0 < 0.1e-6])), independent,
            note=f"up to {fall.max():+.2f} above, where the resistor limits the current"),
        Row("G0 of the largest relative rise", float(g0[np.argmax(rise)]), medium, unit="S",
            note="Eq. 6 removes a share of the charge, so that the relative rise is largest at the smallest G0"),
    )  # fmt: skip


def generic(page: Page) -> None:
    """Loops of the generic models that ship beside it."""
    page.section("Generic memristors")
    rows = []
    for name, form, ratio in (("vteam", "R_off/R_on", 20.0), ("filament", "exp(6)", float(np.exp(6.0)))):
        run = page.run(f"{name}_loop", show=["loops"])
        closed = oracle(
            f"{form} of its parameters", ratio, relative=0.02, reason="the ratio is read near 0 V, not at it"
        )
        rows.append(Row(f"{name}: on/off near 0 V", run["ratio"], closed))
    rows.append(Row("yakopcic: on/off near 0 V", page.run("yakopcic_loop", show=["loops"])["ratio"]))
    page.compare(*rows)


def build(page: Page) -> None:
    """All sections."""
    for section in (rules, loop, levels, generic):
        section(page)


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    summary = "P. Maier et al., J. Appl. Phys. 120, 134503 (2016), in ngspice."
    return command("quantum_dot", "Quantum-dot memristor", summary, build, arguments)


if __name__ == "__main__":
    sys.exit(main())
