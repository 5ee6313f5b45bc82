"""ECRAM dynamics in spiking neurons (arXiv 2605.11243): two memories in one device, two neurons, one page.

The source's abstract states 1.5 kΩ and 2 pJ per spike, and that facilitation, excitability and frequency selection
exist on several topologies; it prints no curve. Everything else is our choice, in the time-scaled parameter set "fast".
"""

import sys

import numpy as np

from cosim.bench.measures.waveforms import crossings
from cosim.report.comparison import Row, oracle, source
from cosim.report.page import Page, Panel, command, swept, wave

ABSTRACT = "abstract"
DIGIT = "the source prints one digit"


def device(page: Page) -> None:
    """Spikes, writes and spikes again on one device, and two spikes into a clamped membrane."""
    page.section("One device, two memories")
    both, pairs = page.run("ecram_coexistence"), page.run("ecram_paired_pulse")
    page.draw(
        "Left: 5 spikes, 100 write pulses, 5 spikes, read with 1 µA. Each spike lowers R and relaxes; writes move the"
        " level that it relaxes to. Right: charge of the second of two spikes over the first's.",
        Panel("Spikes, writes, spikes", "time (µs)", "R (kΩ)", [wave(both.waveforms, "v(p)", ("us", "mV"))]),
        Panel("Paired pulses", "interval (µs)", "ratio", swept(pairs["ratio"], "interval", ("us", "1")), log="x"),
    )
    half = source(ABSTRACT, 1500.0, absolute=50.0, reason="the source prints two digits")
    written = oracle("100 of the device's 1000 levels", 0.1, absolute=1e-4, reason="a tenth of a level")
    page.compare(
        Row("fall of R per spike, 50 ns after it", both["fall_per_spike"], half, note="the set has it from the source"),
        Row("change of w by 100 write pulses", both["written"], written),
        Row("largest and smallest paired-pulse ratio", [pairs[f"{k}_ratio"].scalar for k in ("largest", "smallest")]),
    )


def neurons(page: Page) -> None:
    """Frequency selection and excitability on both neurons."""
    page.section("Facilitation and excitability")
    rates, second = page.run("ecram_lif_frequency"), page.run("ecram_feedback_stp")
    runs = {
        "Delay-feedback LIF": (page.run("ecram_lif_excitability"), "v(out)"),
        "Positive-feedback LIF": (page.run("ecram_feedback_excitability"), "v(spike)"),
    }
    panels = [
        Panel(
            "Frequency response",
            "input interval (µs)",
            "output spikes of 30 inputs",
            [
                *swept(rates["with_stp"], "interval", ("us", "1"), "with STP"),
                *swept(rates["without_stp"], "interval", ("us", "1"), "without", "s--"),
            ],
        )
    ]
    rows = []
    for title, (run, vector) in runs.items():
        curves = []
        for analysis, line in (("plastic", "o-"), ("frozen", "s--")):
            intervals = np.diff(crossings(run.waveforms_of(analysis)[0], vector, level=0.6)) * 1e6
            curves.append((np.arange(1, intervals.size + 1), intervals, analysis, line))
        panels.append(Panel(title, "interval number", "output interval (µs)", curves))
        sooner = source(ABSTRACT, below=1.0, statement="“intrinsic excitability modulation”")
        ratio = run["ratio"].scalar / run["ratio_frozen"].scalar
        rows.append(Row(f"{title}: settled over first interval, plastic over frozen", ratio, sooner))
    page.draw("Excitability: a second ECRAM in series is driven by the neuron's own spikes.", *panels)
    selects = source(ABSTRACT, above=0.0, statement="“frequency-selective spike processing”")
    extends = source(ABSTRACT, above=0.0, statement="“extend across multiple neuron topologies”")
    page.compare(
        Row("spikes gained by STP at 0.2, 0.5, 1 µs", rates["gain"], note="a high-pass"),
        Row("spread of that gain over the rates", float(np.ptp(rates["gain"].values)), selects),
        Row("positive-feedback LIF: spikes gained at 0.2, 0.5 µs", second["gain"]),
        Row("the largest of them", second["largest_gain"], extends),
        *rows,
    )


def energy(page: Page) -> None:
    """Energy per spike and the tunable delay."""
    page.section("Energy per spike and tunable delay")
    done, delay, second = (page.run(f"ecram_{name}") for name in ("lif_energy", "lif_delay", "feedback_delay"))
    page.draw(
        "All that the rails deliver, bias and input charge included; the input driver is not.",
        Panel("Delay-feedback LIF", "delay current (nA)", "width (ns)",
              swept(delay["width"], "i_del", ("nA", "ns")), log="xy"),
        Panel("Positive-feedback LIF, 20 nA", "V_dly (V)", "µs", [
            *swept(second["width"], "v_dly", ("V", "us"), "width"),
            *swept(second["interval"], "v_dly", ("V", "us"), "interval", "s--"),
        ], log="y"),
    )  # fmt: skip
    stated = source(ABSTRACT, 2e-12, absolute=0.5e-12, reason=DIGIT, statement="no rate is stated")
    slow = int(np.argmax(done["interval_of_rate"].values))
    rates = [1e-6 / done["interval"].scalar, 1e-6 / done["interval_of_rate"].values[slow]]
    page.compare(
        Row(f"energy per spike at {rates[0]:.2f} MHz", done["energy"], stated, note="bias and leak draw all the time"),
        Row(f"energy per spike at {rates[1]:.2f} MHz", done["energy_of_rate"].values[slow], stated, unit="J"),
        Row("of these the core", [done["energy_core"].scalar, done["energy_core_of_rate"].values[slow]], unit="J"),
        Row("positive-feedback LIF, energy per spike", second["energy"], stated, note="over V_dly"),
        Row("idle power", -1.2 * (done["idle_bias"].scalar + done["idle_core"].scalar), unit="W"),
    )


def build(page: Page) -> None:
    """All sections."""
    for section in (device, neurons, energy):
        section(page)


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    return command("ecram", "ECRAM dynamics in spiking neurons", "arXiv 2605.11243, in ngspice.", build, arguments)


if __name__ == "__main__":
    sys.exit(main())
