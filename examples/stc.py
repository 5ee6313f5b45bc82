"""The CMOS synapse with tagging and capture (M. A. Nicholson, thesis, Groningen, 2024): circuit, source, reduced model.

The curves of its figures are not published as numbers; what is compared is its text, its Eq. 6 and its Table 1. An
oracle is the source's script (listing A), run here, or a closed form.
"""

import sys

import numpy as np

from cosim.bench.measures.stc import first_order
from cosim.bench.measures.waveforms import vector
from cosim.devices import stc_steps
from cosim.fitting import stc as fitting
from cosim.parameters import ParameterSet
from cosim.report.comparison import Row, oracle, source
from cosim.report.page import Page, Panel, command, swept, wave
from cosim.units import show

SPIKES = {"post": 2e-3, "pre": 4e-3}  # s: the pair of Fig. 17
IDEAL = "our choice: the source's value is of an ideal source, here it is made of transistors"
PHASES = ("potentiation", "depression")


def calcium(page: Page) -> None:
    """The DPI against Eq. 6, and the comparators."""
    page.section("Calcium (DPI) and winner-take-all")
    run, wta = page.run("stc_dpi"), page.run("stc_wta")
    curves = []
    for name, label, line in (("one", "I_TH = 1 pA", "-"), ("three", "3 pA", "-"), ("ten", "10 pA (source)", "-")):
        data = run.waveforms_of(name)[0]
        curves.append(wave(data, "i(vout)", ("ms", "pA"), label, line))
    t, gain = np.asarray(data["time"].values), run.bench.values("ten", point={})["gain"]
    eq6 = first_order(t, gain * vector(data, "i(vtail)"), tau=4.88e-3)
    page.draw(
        "Left: post spike at 2 ms, pre spike at 4 ms; inputs scaled so that I_TH times each stays the same.",
        Panel("DPI", "time (ms)", "i_ca (pA)", [*curves, (t * 1e3, eq6 * 1e12, "Eq. 6", "k--")]),
        Panel("WTA", "i_ca (pA)", "output (pA)",
              [wave(wta.waveforms_of("transfer")[0], "i(vout)", ("pA", "pA"))]),
        Panel("Delay of a step from 12.5 pA", "overdrive (pA)", "crossing − 1 ms (ms)",
              [(x, y - 1.0, label, line) for x, y, label, line in swept(wta["turn_on"], "overdrive", ("pA", "ms"))],
              log="xy"),
    )  # fmt: skip
    law = source(
        "Eq. 6",
        0.0,
        absolute=0.03,
        reason="our choice, the benches' limit",
        statement="“defining the behaviour of the DPI”",
    )
    page.compare(
        Row("DPI − Eq. 6 over the peak, I_TH = 1, 2, 3 pA",
            [run[f"deviation{end}"].scalar for end in ("", "_2pa", "_3pa")], law),
        Row("DPI − Eq. 6 over its value, I_TH = 1 pA", run["pointwise"], law),
        Row("the same at the source's I_TH, 10 pA", run["pointwise_10pa"], law,
            note="Eq. 6 is the limit I_TH << i_ca; at 10 pA the circuit rests at a third of 12.5 pA"),
        Row("trip point of potentiation", wta["trip"],
            source("Table 1, I_THPOT", 62e-12, absolute=0.5e-12, reason="half of the last digit that is printed")),
        Row("10 to 90 % width of the comparator", wta["width"],
            source("listing A", 0.0, absolute=0.5e-12, reason="as the trip point", statement="a step"),
            note="the finite gain of the input transistors"),
        Row("delay at an overdrive of 1 … 50 pA", wta["turn_on"].values - 1e-3, unit="s"),
    )  # fmt: skip


def spike_pair(page: Page) -> None:
    """Fig. 17: one pair of spikes through circuit, reduced model and the source's script."""
    page.section("One pair of spikes (Fig. 17)")
    run, p = page.run("stc_spike_pair"), ParameterSet.load("stc_synapse:transistor").resolved()
    published, dt, steps = ParameterSet.load("stc_synapse:published").resolved(), 20e-6, 1500
    share = {
        name: stc_steps.spike_share(np.array([start + 0.5e-6]), width=792.3e-6, dt=dt, steps=steps)
        for name, start in SPIKES.items()
    }
    model = stc_steps.run(p, dt=dt, **share, x0=fitting.settled(p), keep=tuple(fitting.VECTORS))
    jumps = {name: np.eye(1, steps, round(start / dt))[0] for name, start in SPIKES.items()}
    script = stc_steps.script(published, dt=dt, **jumps, steps_of={"pre": 60e-12, "post": 15e-12})
    times = dt * np.arange(steps + 1) * 1e3
    page.draw(
        "Currents start late and tail off; the reduced model has both, the source's script has neither.",
        *(
            Panel(name, "time (ms)", unit, [
                wave(run.waveforms.sel(time=slice(0.0, 0.015)), fitting.VECTORS[name], ("ms", unit), "transistors"),
                (times[:750], scale * model[name][:750], "reduced model", "--"),
                *([(times[:750], scale * script[name][:750], "source's script", "k:")] if name in script else []),
            ])
            for name, unit, scale in (("calcium", "pA", 1e12), ("depression", "pA", 1e12),
                                      ("potentiation", "pA", 1e12), ("early", "V", 1.0))
        ),
    )  # fmt: skip
    tail = run["depression_tail"].values
    gradual = source(
        "text on Fig. 17", above=0.01, below=1.0, statement="“tail off gradually”, not below 1 % (our choice)"
    )
    late = source("text on Fig. 17", above=0.0, statement="“a delay”")
    change, by_script = run["weight"].scalar - 0.9, float(script["early"][-1] - 0.9)
    page.compare(
        Row("delay of potentiation, depression", [run[f"{n}_delay"].scalar for n in PHASES], late,
            "s"),
        Row("delay of their release", [run[f"{n}_release"].scalar for n in PHASES], unit="s"),
        Row("depression current 21 ms over 11 ms after the start", tail[1] / tail[0], gradual,
            note="about 1/t: a mirror's gate charge"),
        Row("change of the weight", change, oracle("the source's script", by_script, relative=0.03,
            reason="our choice, that of Eq. 6"), "V",
            note="the script has no rise time, no delay, no tail and ideal mirrors"),
        Row("the same in the reduced model", float(model["early"][-1] - 0.9), unit="V"),
    )  # fmt: skip


def early(page: Page) -> None:
    """200 s of recovery, and the currents that cause it."""
    page.section("Early phase: recovery and leakage")
    static, slow = page.run("stc_early_static"), page.run("stc_recovery")
    data = static.waveforms_of("analysis")[0]
    page.draw(
        "A five-transistor OTA recovers like a tanh, not like the source's sign function.",
        Panel("200 s without spikes", "time (s)", "early-phase weight (V)", [
            wave(slow.waveforms_of(name)[0], "v(vh)", ("s", "V"), f"from {name}") for name in ("down", "up")
        ]),
        Panel("Currents at the capacitor", "early-phase weight (V)", "fA", [
            wave(data, f"i(v.xe.v{name})", ("V", "fA"), label, line)
            for name, label, line in (("rec", "recovery", "-"), ("pot", "leak, potentiation", "--"),
                                      ("dep", "leak, depression", ":"))
        ]),
    )  # fmt: skip
    rows = [
        ("recovery current", "i_hrp, i_hrn", [2.5e-15, -2.5e-15], "A",
         [static[f"recovery_{way}"].values[0] for way in ("up", "down")], ""),
        ("leakage of potentiation, depression", "I_TAILP_low, I_TAILD_low", [1.2e-15, 0.8e-15], "A",
         [static[f"leak_{way}"].values[0] for way in PHASES], "the circuit leaks less"),
    ]  # fmt: skip
    rate = oracle("2.5 fA on 1.2215 pF (Table 1)", [-2.047e-3, 2.047e-3], relative=0.1, reason=IDEAL)
    page.compare(
        *(Row(name, found, source(f"Table 1, {place}", value, relative=0.1, reason=IDEAL), unit, note)
          for name, place, value, unit, found, note in rows),
        Row("fall, rise of the weight", [slow["fall"].scalar, slow["rise"].scalar], rate, "V/s",
            note="the depression mirror's leak adds to the fall and takes from the rise"),
    )  # fmt: skip


def consolidation(page: Page) -> None:
    """Fig. 11: early, late and total weight after 0.2 s of strong stimulus."""
    page.section("Consolidation after 0.2 s of strong stimulus (Fig. 11)")
    run = page.run("stc_consolidation")
    page.draw(
        "20 pairs of spikes at 100 Hz (our choice). DPI and early phase on transistors, late phase behavioural.",
        *(
            Panel(f"acceleration {factor:g}", "time (s)", "V; late: 1", [
                wave(data, f"v({name})", ("s", "V"), label)
                for name, label in (("vh", "early"), ("z", "late"), ("w", "total"))
            ])
            for data, factor in zip(run.waveforms_of("eight"), (7.2, 32.0), strict=True)
        ),
    )  # fmt: skip
    data = run.waveforms_of("eight")[-1]
    t, h, z = np.asarray(data["time"].values), vector(data, "v(vh)"), vector(data, "v(z)")
    after = np.interp(np.linspace(0.25, t[-1], 50), t, h)
    start, total = run["early_start"].values, run["total_end"].values
    # from early_start down to the tag (0.915 V) at 2.5 fA on 1.2215 pF, both accelerated, against tau_z = 360 s
    grown = -np.expm1(-(start[-1] - 0.915) * 1.2215e-12 / 2.5e-15 / 360.0)
    closed = oracle("1 − exp(−t/τ_z) over the decay to the tag", grown, absolute=0.05, reason="our choice")
    eight, sixteen = run["late_eight_bits"].values[-1], run["late_sixteen_bits"].scalar
    fig11 = "text on Fig. 11"
    page.compare(
        Row("time of the early phase's peak, ×32", float(t[np.argmax(h)]),
            source(fig11, below=0.25, above=0.0, statement="“potentiation during the 0.2 s-long … interval”"), "s"),
        Row("largest step of the early phase after it", float(np.diff(after).max()),
            source(fig11, below=1e-3, statement="“recovery of the EPW once the spiking input ends”, within 1 mV"), "V"),
        Row("late phase at the end", float(z[-1]),
            source(fig11, above=0.1, statement="“potentiation of the LPW”, by a tenth (our choice)")),
        Row("total weight at the end, ×7.2, ×32, over that before", total / start,
            source(fig11, above=0.9 / float(start.min()), below=1.0, statement="falls, but not to its 0.9 V")),
        Row("late phase at the end, ×7.2, ×32", run["late_end"], closed),
        Row("late phase of 8 bits − of 16 bits at 10 s, ×32", eight - sixteen,
            source("text on Fig. 16", above=0.0, statement="8 bits overestimate"),
            note="this counter holds its value until a whole step of 0.006 is due"),
    )  # fmt: skip


def reduced(page: Page) -> None:
    """The reduced model on spike trains that it was not fitted to."""
    page.section("Reduced model, on trains that it was not fitted to")
    p = ParameterSet.load("stc_synapse:transistor").resolved()
    panels, errors = [], []
    reference = fitting.record(page.simulator)
    for changes in fitting.HELD_OUT:
        page.tell("stc_spike_trains")
        trains = fitting.record(page.simulator, parameters=changes)
        errors.append(fitting.StcFit(p, {}, reference, 0).errors(trains))
        waves = fitting.simulate(p, trains)
        panels.append(Panel(
            f"pre every {show(changes['pre_period'], 's')}, post every {show(changes['post_period'], 's')}",
            "time (ms)", "early-phase weight (V)",
            [(trains.times * 1e3, trains.waves["early"], "transistors", "-"),
             (trains.times * 1e3, waves["early"], "reduced model", "--")],
        ))  # fmt: skip
    page.draw("Fitted with lmfit to one set of trains, shown on two others.", *panels)
    page.compare(*(Row(f"error of {name}, of full scale", [e[name] for e in errors]) for name in errors[0]))


def build(page: Page) -> None:
    """All sections."""
    for section in (calcium, spike_pair, early, consolidation, reduced):
        section(page)


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    summary = "M. A. Nicholson, thesis, Groningen, 2024, in ngspice."
    return command("stc", "CMOS synapse with tagging and capture", summary, build, arguments)


if __name__ == "__main__":
    sys.exit(main())
