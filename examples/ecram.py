"""ECRAM dynamics in spiking neurons (arXiv 2605.11243): two memories in one device, two neurons, one page.

The source's abstract states 1.5 kΩ and 2 pJ per spike, and that facilitation, excitability and frequency selection
exist on several topologies; it prints no curve. Everything else is our choice, in the time-scaled parameter set "fast".
"""

import sys

import numpy as np

from cosim.bench.measures.waveforms import crossings
from cosim.bench.result import BenchResult
from cosim.report.page import Curve, Page, Panel, command, swept, wave

NEURONS = {"lif": ("Delay-feedback LIF", "v(out)"), "feedback": ("Positive-feedback LIF", "v(spike)")}


def over(run: BenchResult, parameter: str, units: tuple[str, str], **labels: str) -> list[Curve]:
    """Those measures of ``labels`` that the run has over a parameter."""
    found = {name: run.measures[name] for name in labels if name in run.measures}
    lines = ("o-", "s--", "^:", "d-.")
    return [
        curve
        for (name, measured), line in zip(found.items(), lines, strict=False)
        if parameter in measured.coordinates
        for curve in swept(measured, parameter, units, labels[name], line)
    ]


def device(page: Page) -> None:
    """Spikes, writes and spikes again on one device, and two spikes into a clamped membrane."""
    page.section("One device, two memories")
    both, pairs = page.run("ecram_coexistence"), page.run("ecram_paired_pulse")
    page.draw(
        "Left: 5 spikes, 100 write pulses, 5 spikes. Each spike lowers R and relaxes; writes move the level that it"
        " relaxes to. Right: charge of the second of two spikes over the first's, from two long-term states.",
        Panel("Spikes, writes, spikes", "time (µs)", "voltage at 1 µA of read current (mV)",
              [wave(both.waveforms, "v(p)", ("us", "mV"))]),
        Panel("Paired pulses", "interval (µs)", "ratio of charges",
              over(pairs, "interval", ("us", "1"), ratio="with STP", ratio_frozen="without"), log="x"),
    )  # fmt: skip
    page.judge(both, pairs, page.run("ecram_events"), page.run("ecram_relaxation"))


def neurons(page: Page) -> None:
    """Frequency selection and excitability on both neurons."""
    page.section("Facilitation and excitability")
    rates = {"lif": page.run("ecram_lif_frequency"), "feedback": page.run("ecram_feedback_stp")}
    driven = {name: page.run(f"ecram_{name}_excitability") for name in NEURONS}
    panels = [
        Panel(f"{title}: rate", "input interval (µs)", "output spikes of 30 inputs", over(
            rates[name], "interval", ("us", "1"), with_stp="with STP", without_stp="without", gain="gained"), log="x")
        for name, (title, _) in NEURONS.items()
    ]  # fmt: skip
    for name, (title, output) in NEURONS.items():
        curves: list[Curve] = []
        for analysis, label, line in (("plastic", "with the second ECRAM", "o-"), ("frozen", "frozen", "s--")):
            between = np.diff(crossings(driven[name].waveforms_of(analysis)[0], output, level=0.6)) * 1e6
            curves.append((np.arange(1, between.size + 1), between, label, line))
        panels.append(Panel(f"{title}: excitability", "interval number", "output interval (µs)", curves))
    page.draw("Above: 30 inputs at each rate. Below: the neuron's own spikes drive a second ECRAM in series.", *panels)
    page.judge(
        *rates.values(),
        *driven.values(),
        gain="output spikes gained by STP",
        largest_gain="the most that are gained",
        ratio="settled over first interval",
        ratio_frozen="the same without plasticity",
    )


def energy(page: Page) -> None:
    """Energy per spike over rates and delays, and the tunable delay."""
    page.section("Energy per spike and tunable delay")
    done = page.run("ecram_lif_energy")
    delay, second = page.run("ecram_lif_delay"), page.run("ecram_feedback_delay")
    spent = over(done, "interval", ("us", "pJ"), energy="all", energy_of_rate="all", energy_core="core",
                 energy_core_of_rate="core", energy_bias="bias", energy_gates="gates")  # fmt: skip
    page.draw(
        "Energy is all that the benches meter; bias and leak draw all the time.",
        Panel("Delay-feedback LIF: energy", "input interval (µs)", "energy per spike (pJ)", spent, log="xy"),
        Panel("Delay-feedback LIF: delay", "delay current (nA)", "width (ns)",
              over(delay, "i_del", ("nA", "ns"), width=""), log="xy"),
        Panel("Positive-feedback LIF: energy", "delay voltage (V)", "energy per spike (pJ)",
              over(second, "v_dly", ("V", "pJ"), energy="")),
        Panel("Positive-feedback LIF: delay, 20 nA", "delay voltage (V)", "time (µs)",
              over(second, "v_dly", ("V", "us"), width="width", interval="interval"), log="y"),
    )  # fmt: skip
    page.judge(done, delay, second, energy="energy per spike", longest="longest width", shortest="shortest width")


def build(page: Page) -> None:
    """All sections; the longest unless it has to be quick."""
    device(page)
    if page.quick:
        page.section("Left out: quick").text("Facilitation and excitability of both neurons.")
    else:
        neurons(page)
    energy(page)


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    return command("ecram", "ECRAM dynamics in spiking neurons", "arXiv 2605.11243, in ngspice.", build, arguments)


if __name__ == "__main__":
    sys.exit(main())
