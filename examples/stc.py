"""The CMOS synapse with tagging and capture (M. A. Nicholson, thesis, Groningen, 2024): circuit, source, reduced model.

The curves of its figures are not published as numbers; what is compared is its text, its equations and its tables. An
oracle is a closed form, scipy on its equations, or the source's script (listing A), run here.
"""

import sys

import numpy as np

from cosim.bench.measures.stc import first_order
from cosim.bench.measures.waveforms import vector
from cosim.devices import stc_steps
from cosim.fitting import stc as fitting
from cosim.parameters import ParameterSet
from cosim.report.comparison import Row
from cosim.report.page import Page, Panel, command, swept, wave
from cosim.units import show

SPIKES = {"post": 2e-3, "pre": 4e-3}  # s: the pair of Fig. 17
MIRRORS = (("pot", "potentiation", "-"), ("dep", "depression", "--"))


def calcium(page: Page) -> None:
    """The DPI against Eq. 6, and the comparators."""
    page.section("Calcium (DPI) and winner-take-all")
    run, wta, alone = page.run("stc_dpi"), page.run("stc_wta"), page.run("stc_transistors")
    curves = []
    for name, label, line in (("one", "I_TH = 1 pA", "-"), ("three", "3 pA", "-"), ("ten", "10 pA (source)", "-")):
        data = run.waveforms_of(name)[0]
        curves.append(wave(data, "i(vout)", ("ms", "pA"), label, line))
    t, gain = np.asarray(data["time"].values), run.bench.values("ten", point={})["gain"]
    eq6 = first_order(t, gain * vector(data, "i(vtail)"), tau=4.88e-3)
    page.draw(
        "Left: post spike at 2 ms, pre spike at 4 ms; inputs scaled so that I_TH times each stays the same. Eq. 6 is"
        " the limit I_TH << i_ca: at the source's 10 pA the circuit rests at a third of 12.5 pA.",
        Panel("DPI", "time (ms)", "calcium current (pA)", [*curves, (t * 1e3, eq6 * 1e12, "Eq. 6", "k--")]),
        Panel("Comparators", "calcium current (pA)", "output (pA)", [
            wave(wta.waveforms_of(f"transfer{end}")[0], f"i(vout{end[1:]})", ("pA", "pA"), label, line)
            for end, (_, label, line) in zip(("", "_d"), MIRRORS, strict=True)
        ]),
        Panel("Delay of a step from 12.5 pA, and back", "overdrive (pA)", "delay (ms)", [
            *swept(wta["turn_on"], "overdrive", ("pA", "ms"), "on"),
            *swept(wta["turn_off"], "overdrive", ("pA", "ms"), "off"),
        ], log="xy"),
        Panel("Transistors alone, 0.9 V at the drain", "gate to source (V)", "current (pA)", [
            wave(alone.waveforms_of("currents")[0], f"i(v{name})", ("V", "pA"), label, line)
            for name, label, line in (("n", "NMOS", "-"), ("p", "PMOS", "-"),
                                      ("nh", "NMOS, high threshold", "--"),
                                      ("ph", "PMOS, high threshold", "--"))
        ], log="y"),
    )  # fmt: skip
    page.judge(
        run, wta, alone,
        **{name + end: f"DPI − Eq. 6 over {what}, I_TH = {end[1:-2] or 1} pA"
           for name, what in (("deviation", "the peak"), ("pointwise", "its value"))
           for end in ("", "_2pa", "_3pa", "_10pa")},
        deviation_10pa_trimmed="DPI − Eq. 6 over the peak, sized for I_TH = 10 pA",
        calcium_post="calcium before the presynaptic spike",
        trip="trip point of potentiation",
        trip_d="trip point of depression",
        tail="whole current of potentiation",
        tail_d="whole current of depression",
        width="10 to 90 % width of the comparator",
        longest="delay at 1 pA of overdrive",
        shortest="delay at 50 pA of overdrive",
        longest_off="longest delay of the step back",
        **{f"{measure}_{name}": f"{what} of the {kind}"
           for name, kind in (("n", "NMOS"), ("p", "PMOS"), ("nh", "NMOS, high threshold"),
                              ("ph", "PMOS, high threshold"))
           for measure, what in (("per_decade", "currents 79.2 mV apart"), ("capacitance", "gate capacitance"))},
        over_nh="NMOS over NMOS of high threshold, 0.2 V", over_ph="PMOS over PMOS of high threshold, 0.2 V",
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
            Panel(name, "time (ms)", f"{what} ({unit})", [
                wave(run.waveforms.sel(time=slice(0.0, 0.015)), fitting.VECTORS[name], ("ms", unit), "transistors"),
                (times[:750], scale * model[name][:750], "reduced model", "--"),
                *([(times[:750], scale * script[name][:750], "source's script", "k:")] if name in script else []),
            ])
            for name, what, unit, scale in (("calcium", "current", "pA", 1e12), ("depression", "current", "pA", 1e12),
                                            ("potentiation", "current", "pA", 1e12), ("early", "weight", "V", 1.0))
        ),
    )  # fmt: skip
    offset = page.run("stc_depression_offset")
    page.draw(
        "The source's “dramatic depression” has neither number nor cause there: an offset in the depression mirror"
        " would have to be eight sigma to turn the pair around.",
        Panel("Early phase", "time (ms)", "weight (V)", [
            wave(offset.waveforms_of(name)[0], "v(vh)", ("ms", "V"), f"offset {label}")
            for name, label in (("nominal", "0"), ("three_sigma", "23 mV, 3 σ"), ("turned", "75 mV"))
        ]),
        Panel("Depression", "time (ms)", "current (pA)", [
            wave(offset.waveforms_of(name)[0].sel(time=slice(0, 0.02)), "i(v.xe.vdep)", ("ms", "pA"), f"offset {label}")
            for name, label in (("nominal", "0"), ("three_sigma", "23 mV, 3 σ"))
        ]),
    )  # fmt: skip
    page.judge(run, offset, after_peak="weight after the peak", weight="weight after the pair",
               stronger="charge of depression at 3 σ over that without offset",
               weight_three_sigma="weight at 3 σ", weight_turned="weight at 75 mV")  # fmt: skip
    change = [float(by["early"][-1] - published.h0) for by in (script, model)]
    page.compare(Row("change of the weight by the source's script, the reduced model", change, unit="V",
                     note="the script has no rise time, no delay, no tail and ideal mirrors"))  # fmt: skip


def early(page: Page) -> None:
    """Biases, leakage and recovery of the early phase."""
    page.section("Early phase: biases, leakage, recovery")
    bias, static, slow = (page.run(f"stc_{name}") for name in ("early_bias", "early_static", "recovery"))
    on, data = bias.waveforms, static.waveforms_of("analysis")[0]
    page.draw(
        "A five-transistor OTA recovers like a tanh, not like the source's sign function; the depression mirror's leak"
        " adds to the fall and takes from the rise.",
        Panel("Calcium above both thresholds", "early-phase weight (V)", "current (pA)",
              [wave(on, f"i(v.xe.v{key})", ("V", "pA"), label, line) for key, label, line in MIRRORS]),
        Panel("Calcium at rest", "early-phase weight (V)", "current (fA)", [
            wave(data, f"i(v.xe.v{key})", ("V", "fA"), label, line)
            for key, label, line in (("rec", "recovery", "k-"), *MIRRORS)
        ]),
        Panel("200 s without spikes", "time (s)", "early-phase weight (V)", [
            wave(slow.waveforms_of(name)[0], "v(vh)", ("s", "V"), f"from {label}")
            for name, label in (("down", "above"), ("up", "below"))
        ]),
    )  # fmt: skip
    page.judge(bias, static, slow, rest="weight at which the recovery ends", down_minus_up="rise − fall of the weight",
               fall="fall of the weight", rise="rise of the weight",
               potentiation_range="potentiation at 0.45 V over that at 1.35 V",
               depression_range="depression at 1.35 V over that at 0.45 V", at_rail="potentiation at 1.8 V",
               recovery_up_relative="recovery upwards over the acceleration",
               recovery_down_relative="recovery downwards over the acceleration")  # fmt: skip


def consolidation(page: Page) -> None:
    """Fig. 11: early, late and total weight after 0.2 s of strong stimulus; the late phase by itself."""
    page.section("Consolidation after 0.2 s of strong stimulus (Fig. 11)")
    run, late = page.run("stc_consolidation"), page.run("stc_late")
    data = [(one, f"recovery × {factor:g}") for one, factor in
            zip(run.waveforms_of("eight"), run["peak"].coordinates["acceleration"], strict=True)]  # fmt: skip
    ramp, slow = late.waveforms_of("ramp")[0], late.waveforms_of("slow")[0]
    page.draw(
        "20 pairs of spikes at 100 Hz (our choice). The early phase's recovery alone is accelerated; the late phase has"
        " listing A's 11.25 s in both. DPI and early phase on transistors, late phase behavioural.",
        Panel("Early phase", "time (s)", "weight (V)", [wave(one, "v(vh)", ("s", "V"), label) for one, label in data]),
        Panel("Total weight", "time (s)", "weight (V)", [wave(one, "v(w)", ("s", "V"), label) for one, label in data]),
        Panel("Late phase", "time (s)", "late weight (1)", [
            *(wave(one, "v(z)", ("s", "1"), label) for one, label in data),
            wave(run.waveforms_of("sixteen")[0], "v(z)", ("s", "1"), "× 32, 16 bits", "k:")]),
        Panel("Late phase alone: to either end", "time (ks)", "late weight (1)", [wave(slow, "v(z)", ("ks", "1"))]),
    )  # fmt: skip
    page.draw(
        "The early phase ramps up at 0.1 V/s from 1 s and down from 11 s; 1 is set.",
        *(Panel(title, "time (s)", "state", [wave(ramp, name, ("s", "1"))]) for name, title in
          (("v(xl.tagp)", "Tag of potentiation"), ("v(xl.tagd)", "Tag of depression"), ("v(xl.p)", "Protein"))),
    )  # fmt: skip
    page.judge(
        run, late,
        **{f"{name}_{end}": f"{words}, × {factor}" for name, words in (("peak", "peak of the total weight"),
           ("late_end", "late weight at the end")) for end, factor in (("slow", "7.2"), ("fast", "32"))},
        peak_change="peak at × 32 − peak at × 7.2",
        drop="total weight at the end − its peak",
        early_end="early phase at the end",
        decay_relative="recovery over its acceleration",
        bits="late weight of 8 over that of 16 bits, 5 s",
        tag_up="tag of potentiation comes", tag_up_ends="tag of potentiation goes", tag_down="tag of depression comes",
        protein="protein comes", protein_shared="protein comes with the others' 0.2 V",
        before_protein="late weight before the protein", grown="late weight one τ_z after the protein",
        top="late weight in the end, potentiated", bottom="late weight in the end, depressed",
    )  # fmt: skip


def rules(page: Page) -> None:
    """Fig. 14: the network's rule on transistors."""
    page.section("The network's rule (Fig. 14)")
    run = page.run("stc_rules")
    cases = (
        ("both", "both spike", "-"),
        ("only_pre", "pre only", "-"),
        ("only_post", "post only", "--"),
        ("none", "neither", "k:"),
    )
    page.draw(
        "Six spikes of either neuron, 25 ms apart, with listing A's constants.",
        Panel("Early phase", "time (ms)", "weight (V)",
              [wave(run.waveforms_of(name)[0], "v(vh)", ("ms", "V"), label, line) for name, label, line in cases]),
        Panel("Late phase", "time (ms)", "late weight (1)",
              [wave(run.waveforms_of(name)[0], "v(z)", ("ms", "1"), label, line) for name, label, line in cases]),
    )  # fmt: skip
    page.judge(run, **{name: f"weight at the end, {label}" for name, label, _ in cases},
               **{f"late_{name}": f"late weight at the end, {label}" for name, label, _ in cases},
               tag="tag 16.5 mV above V_H0", no_tag="tag 11 mV above it", protein="protein 11 mV above it")  # fmt: skip


def equations(page: Page) -> None:
    """Figs. 2 to 4, 9 and 10: neuron, differential equations, and the circuit against them."""
    page.section("Neuron and differential equations (Figs. 2 to 4, 9, 10)")
    neuron, both, known = (page.run(f"stc_{name}") for name in ("neuron", "equations", "literature"))
    random, hours = both.waveforms_of("whole")[0], known.waveforms_of("hours")[0]
    page.draw(
        "Neuron of Eq. 1 with Table 3's constants; Eqs. 2 to 5 with the literature's constants: 20 pairs of spikes at"
        " 100 Hz and eight hours without any.",
        Panel("Membrane", "time (ms)", "voltage (mV)", [
            wave(neuron.waveforms_of(name)[0].sel(time=slice(0.0, end)), "v(v)", ("ms", "mV"), label)
            for name, end, label in (("above", 0.13, "1.5 nA"), ("below", 0.25, "0.9 nA, one input"),
                                     ("inhibited", 0.25, "−1 nA, one input"))
        ]),
        Panel("Calcium of one pair", "time (ms)", "calcium (1)",
              [wave(known.waveforms_of("single")[0], "v(xs.c)", ("ms", "1"))]),
        Panel("Early phase over hours", "time (ks)", "weight (mV)", [wave(hours, "v(xs.h)", ("ks", "mV"))]),
        Panel("Late phase over an hour", "time (ks)", "late weight (1)",
              [wave(hours.sel(time=slice(0.0, 3600.0)), "v(xs.z)", ("ks", "1"))]),
    )  # fmt: skip
    names = (("Eqs. 2 to 5, × 10", "v(equations_h)", "v(xq.z)", "--"), ("transistors", "v(circuit_h)", "v(z)", "-"))
    page.draw(
        "Random spikes in the first 100 s, each weight relative to its reference. The circuit recovers linearly and is"
        " back before 0.5 ks, the exponential of Eq. 3 keeps the tag beyond 1 ks: the source says so of both.",
        Panel("Early phase (Fig. 9)", "time (s)", "weight over reference",
              [wave(random, h, ("s", "1"), label, line) for label, h, _, line in names]),
        Panel("Late phase", "time (s)", "late weight (1)",
              [wave(random, z, ("s", "1"), label, line) for label, _, z, line in names]),
        Panel("First presynaptic spike (Fig. 10)", "time (ms)", "weight over reference",
              [wave(both.waveforms_of("first")[0], h, ("ms", "1"), label, line) for label, h, _, line in names]),
    )  # fmt: skip
    page.judge(
        neuron, both, known,
        potential="peak of one input's potential", potential_early="potential before the delay is over",
        potential_late="potential 20 ms after the delay", end_below="potential at the end, 0.9 nA",
        spikes_below="spikes at 0.9 nA", interval="interval of spikes, 1.5 nA", first="first spike, 1.5 nA",
        lowest="potential after a spike", inhibited="potential at the end, −1 nA",
        arrives="calcium of the presynaptic spike arrives", after_post="calcium 10 ms after the postsynaptic spike",
        after_pre="calcium 11.2 ms after the presynaptic one", calcium="largest calcium of 20 pairs",
        early="early weight after 20 pairs", early_1h="early weight after 1 h", early_7h="early weight after 7 h",
        late_1h="late weight after 1 h",
    )  # fmt: skip


def reduced(page: Page) -> None:
    """The reduced model by itself, and on spike trains that it was not fitted to."""
    page.section("Reduced model")
    model, trained = page.run("stc_model"), page.run("stc_spike_trains")
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
    panels += [
        Panel(f"Published constants: {title}", "time (s)", f"weight ({unit})", [
            wave(model.waveforms_of(name)[0], state, ("s", unit), label)
            for name, label in (("above", "from 1.5 V"), ("below", "from 0.4 V"))
        ])
        for title, unit, state in (("early phase", "V", "v(xs.h)"), ("late phase", "1", "v(xs.z)"))
    ]  # fmt: skip
    page.draw("Above: fitted with lmfit to one set of trains, shown on two others. Below: without spikes.", *panels)
    page.judge(
        model, trained,
        late="late weight after 100 s above the tag", late_below="late weight after 100 s below it",
        late_shared="late weight with the protein of others", weight="weight at the end",
        capacitance="charge over voltage", calcium_post="calcium before the presynaptic spike",
        calcium_peak="largest calcium",
    )  # fmt: skip
    page.compare(*(Row(f"error of {name}, of full scale", [e[name] for e in errors]) for name in errors[0]))


def build(page: Page) -> None:
    """All sections."""
    for section in (calcium, spike_pair, early, consolidation, rules, equations, reduced):
        section(page)


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    summary = "M. A. Nicholson, thesis, Groningen, 2024, in ngspice."
    return command("stc", "CMOS synapse with tagging and capture", summary, build, arguments)


if __name__ == "__main__":
    sys.exit(main())
