"""ECRAM dynamics (arXiv 2605.11243) and the VDSP update at transistor level (arXiv 2510.25787).

The ECRAM's source states 1.5 kΩ per spike, about 2 pJ per spike, and that facilitation, excitability and
frequency-selective processing exist on several topologies; it prints no curve that could be compared. Whatever else is
shown is our choice, and says which parameter set it uses.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from cosim.bench.measures.waveforms import crossings
from cosim.bench.result import BenchResult
from cosim.bench.testbench import Testbench
from cosim.devices.base import Array, Values
from cosim.devices.ecram import Ecram, rest_resistance, spike_step
from cosim.parameters import ParameterSet
from cosim.report import style
from cosim.report.gallery import Comparison, Entry

if TYPE_CHECKING:
    import xarray
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from cosim.engines.simulator import Simulator

TITLE = "ECRAM dynamics, and the VDSP update in transistors"
ECRAM = Ecram()
LEVEL = 0.6  # V, of a spike of the 1.2 V neurons


def _agrees(ok: bool) -> str:
    return "agrees" if ok else "differs"


def _figure(columns: int, *, width: float = 8.0, height: float = 3.2) -> tuple[Figure, list[Axes]]:
    figure = style.new_figure(width, height)
    return figure, list(np.atleast_1d(figure.subplots(1, columns)))


def _run(name: str, simulator: Simulator, tell: Callable[[str], None]) -> BenchResult:
    tell(name)
    return Testbench.load(name).run(simulator)


def _spikes(data: xarray.Dataset, name: str) -> Array:
    return crossings(data, name, level=LEVEL)


def device(simulator: Simulator, tell: Callable[[str], None]) -> Entry:
    """Spikes, writes and spikes again; relaxation of both parameter sets."""
    done = _run("ecram_coexistence", simulator, tell)
    data = done.waveforms
    figure, (left, right) = _figure(2)
    left.plot(data["time"].values * 1e6, data["v(p)"].values / 1e-6 / 1e3)
    left.set(xlabel="time (µs)", ylabel="R (kΩ)", title="5 spikes, 100 writes, 5 spikes (fast)")
    for name, symbol in (("slow", "ms"), ("fast", "µs")):
        p = ParameterSet.load(f"ecram:{name}").resolved()
        unit = 1e-3 if name == "slow" else 1e-6
        t = np.linspace(0.0, 400.0, 400) * unit
        after = ECRAM.after_spikes(ECRAM.initial(p), p, count=5)
        rest = rest_resistance(p.w0, p)
        r = ECRAM.resistance(ECRAM.after_rest(after, p, duration=t), p)
        right.plot(t / unit, (rest - r) / 1e3, label=f"{name} (time in {symbol})")
    right.set(xlabel="time after five spikes (ms or µs)", ylabel="fall of R (kΩ)", title="Relaxation")
    right.legend()
    fall = done["fall_per_spike"].values[0]
    return Entry(
        "One device, two memories",
        "Each spike lowers R once, whatever its length, and relaxes; write pulses move the level it relaxes to, which"
        " stays. Parameter set fast on the left (time-scaled, own).",
        figure,
        (
            Comparison(
                "fall of R per spike, from rest",
                "about 1.5 kΩ",
                f"{fall / 1e3:.3f} kΩ 50 ns after it",
                _agrees(abs(fall / 1500 - 1) < 0.05),
            ),
            Comparison("100 write pulses of 1000 levels", "not stated", f"Δw = {done['written'].scalar:.4f}", "own"),
        ),
    )


def paired_pulses(simulator: Simulator, tell: Callable[[str], None]) -> Entry:
    """The paired-pulse ratio at two long-term states, beside two resistors in series with the switch."""
    done = _run("ecram_paired_pulse", simulator, tell)
    ratio = done["ratio"]
    p = ParameterSet.load("ecram:fast").resolved()
    figure, (ax,) = _figure(1, width=5.4)
    for w in dict.fromkeys(ratio.coordinates["w0"]):
        own = ratio.coordinates["w0"] == w
        interval, values = ratio.coordinates["interval"][own], ratio.values[own]
        rest = rest_resistance(w, p)
        (line,) = ax.semilogx(interval * 1e6, values, "o", label=f"ngspice, R0 = {rest / 1e3:.0f} kΩ")
        t = np.geomspace(interval.min(), interval.max(), 100)
        ax.semilogx(t * 1e6, _ratio(t, w, p, (interval[0], values[0])), color=line.get_color(), linewidth=0.9)
    ax.set(xlabel="interval (µs)", ylabel="second charge / first charge", title="Paired-pulse facilitation")
    ax.legend()
    top, bottom = done["largest_ratio"].scalar, ratio.values[5]
    return Entry(
        "Facilitation against the interval",
        "Charge into a clamped membrane, parameter set fast (time-scaled, own). Lines: closed form with the switch's"
        " series resistance taken from the first point. A larger long-term conductance facilitates more.",
        figure,
        (
            Comparison("ratio at 0.1 µs, R0 = 10 kΩ", "not stated", f"{top:.3f}", "our choice"),
            Comparison("ratio at 100 µs", "not stated", f"{bottom:.4f}", "our choice"),
        ),
    )


def _ratio(t: Array, w: float, p: Values, known: tuple[float, float]) -> Array:
    """Closed form of the paired-pulse ratio; the series resistance is the one that meets ``known`` (s, ratio)."""
    rest = float(rest_resistance(w, p))
    step, room = float(spike_step(w, p)), rest - float(p.r_min)

    def second(after: Array) -> Array:
        left = step * np.exp(-after / float(p.tau_fast))
        return rest - room * (left + step * (1.0 - left))

    first = rest - room * step
    series = (first - known[1] * second(np.array(known[0]))) / (known[1] - 1.0)
    return np.asarray((first + series) / (second(t) + series))


def frequency(simulator: Simulator, tell: Callable[[str], None]) -> Entry:
    """Membrane with and without facilitation, and output spikes against the input interval."""
    done = _run("ecram_lif_frequency", simulator, tell)
    figure, (left, right) = _figure(2)
    with_stp, without = done["with_stp"], done["without_stp"]
    intervals = with_stp.coordinates["interval"]
    shown = int(np.flatnonzero(with_stp.values > 0)[-1])
    for analysis, label in (("facilitated", "with STP"), ("frozen", "without")):
        data = done.waveforms_of(analysis)[shown]
        t = data["time"].values * 1e6
        inside = t < 31 * intervals[shown] * 1e6
        left.plot(t[inside], data["v(mem)"].values[inside], linewidth=0.8, label=label)
    left.set(xlabel="time (µs)", ylabel="V_mem (V)", title=f"30 inputs every {intervals[shown] * 1e6:g} µs")
    left.legend()
    right.plot(intervals * 1e6, with_stp.values, "o-", label="with STP")
    right.plot(intervals * 1e6, without.values, "s--", label="without")
    right.set(xlabel="input interval (µs)", ylabel="output spikes of 30 inputs", title="Frequency response")
    right.legend()
    pairs = ", ".join(
        f"{a:.0f}/{b:.0f} at {t * 1e6:g} µs" for a, b, t in zip(with_stp.values, without.values, intervals, strict=True)
    )
    return Entry(
        "Frequency-selective spike processing",
        "Delay-feedback LIF neuron, parameter set fast (time-scaled, own). Facilitation lets a range of input rates"
        " through that the frozen synapse blocks: a high-pass. The largest u is "
        f"{done['facilitation'].values.max():.2f}: the ECRAM is below its clamp at every rate.",
        figure,
        (
            Comparison("spikes with/without STP", "not stated", pairs, "our choice"),
            Comparison(
                "frequency-selective", "stated", f"{done['largest_gain'].scalar:.0f} spikes more at best",
                _agrees(done["largest_gain"].scalar > 0),
            ),
        ),
    )  # fmt: skip


def energy(simulator: Simulator, tell: Callable[[str], None]) -> Entry:
    """Energy per spike against the output interval, and the tunable delay of both topologies."""
    done = _run("ecram_lif_energy", simulator, tell)
    delay = _run("ecram_lif_delay", simulator, tell)
    second = _run("ecram_feedback_delay", simulator, tell)
    figure, (left, middle, right) = _figure(3, width=10.0)
    interval = np.append(done["interval_of_rate"].values, done["interval"].scalar)
    core = np.append(done["energy_core_of_rate"].values, done["energy_core"].scalar)
    total = np.append(done["energy_of_rate"].values, done["energy"].scalar)
    order = np.argsort(interval)
    left.plot(interval[order] * 1e6, total[order] * 1e12, "o-", label="with bias")
    left.plot(interval[order] * 1e6, core[order] * 1e12, "s--", label="core")
    left.axhline(2.0, color="k", linestyle=":", linewidth=0.9, label="source: 2 pJ")
    left.set(xlabel="output interval (µs)", ylabel="energy per spike (pJ)", ylim=(0, None), title="Delay-feedback LIF")
    left.legend(fontsize="small")
    middle.loglog(delay["width"].coordinates["i_del"] * 1e9, delay["width"].values * 1e9, "o-")
    middle.minorticks_off()
    middle.set(xlabel="delay current (nA)", ylabel="spike width (ns)", title="Tunable delay", ylim=(8, 1200))
    right.semilogy(second["width"].coordinates["v_dly"], second["width"].values * 1e6, "o-", label="width")
    right.semilogy(second["width"].coordinates["v_dly"], second["interval"].values * 1e6, "s--", label="interval")
    right.set(xlabel="V_dly (V)", ylabel="µs", title="Positive-feedback LIF, 20 nA")
    right.legend()
    idle = -1.2 * (done["idle_bias"].scalar + done["idle_core"].scalar)
    return Entry(
        "Energy per spike and tunable delay",
        "Everything that the rails deliver, input spikes' charge included; the input driver is not. The bias branches'"
        " power is constant, so that their part grows with the interval.",
        figure,
        (
            Comparison(
                f"energy per spike at {1e-6 / done['interval'].scalar:.2f} MHz",
                "about 2 pJ, no rate stated",
                f"{done['energy'].scalar * 1e12:.2f} pJ: core {done['energy_core'].scalar * 1e12:.2f},"
                f" bias {done['energy_bias'].scalar * 1e12:.2f}",
                _agrees(done["energy"].scalar <= 2e-12),
                "at most the source's figure",
            ),
            Comparison(
                f"energy per spike at {1e-6 / interval.max():.2f} MHz", "about 2 pJ, no rate stated",
                f"{total[np.argmax(interval)] * 1e12:.2f} pJ: core {core[np.argmax(interval)] * 1e12:.2f}",
                _agrees(total[np.argmax(interval)] <= 2e-12), "the bias branches and the leak draw all the time",
            ),
            Comparison("idle power", "not stated", f"{idle * 1e9:.0f} nW", "our choice"),
            Comparison(
                "positive-feedback LIF, energy per spike at 20 nA", "about 2 pJ",
                f"{second['energy'].values.min() * 1e12:.2f} … {second['energy'].values.max() * 1e12:.2f} pJ",
                _agrees(second["energy"].values.max() <= 2e-12), "at most the source's figure",
            ),
        ),
    )  # fmt: skip


def excitability(simulator: Simulator, tell: Callable[[str], None]) -> Entry:
    """Output intervals while the neuron's own spikes facilitate it, on both topologies; STP on the second."""
    figure, axes = _figure(2)
    comparisons = []
    for ax, (name, vector, title) in zip(
        axes,
        (
            ("ecram_lif_excitability", "v(out)", "Delay-feedback LIF"),
            ("ecram_feedback_excitability", "v(spike)", "Positive-feedback LIF"),
        ),
        strict=True,
    ):
        done = _run(name, simulator, tell)
        for analysis, label, mark in (("plastic", "ECRAM driven by the output", "o-"), ("frozen", "frozen", "s--")):
            intervals = np.diff(_spikes(done.waveforms_of(analysis)[0], vector)) * 1e6
            ax.plot(np.arange(1, intervals.size + 1), intervals, mark, markersize=3, label=label)
        ax.set(xlabel="interval number", ylabel="output interval (µs)", title=title, ylim=(0, None))
        ax.legend()
        comparisons.append(
            Comparison(
                f"{title}: settled over first interval",
                "excitability is modulated",
                f"{done['ratio'].scalar:.2f} (frozen {done['ratio_frozen'].scalar:.2f})",
                _agrees(done["ratio"].scalar < 1.0),
            )
        )
    done = _run("ecram_feedback_stp", simulator, tell)
    comparisons.append(
        Comparison(
            "Positive-feedback LIF: spikes with/without STP of 30 inputs",
            "the mechanisms extend across topologies",
            ", ".join(
                f"{a:.0f}/{b:.0f}" for a, b in zip(done["with_stp"].values, done["without_stp"].values, strict=True)
            )
            + " at 0.2, 0.5 µs",
            _agrees(done["largest_gain"].scalar > 0),
        )
    )
    return Entry(
        "Intrinsic excitability",
        "A second ECRAM in series with the synapse is driven by the neuron's own spikes: each lowers its resistance, so"
        " that the next one comes sooner. Intervals are whole numbers of input intervals (0.15 µs) where the last input"
        " fires the neuron. Parameter set fast (time-scaled, own).",
        figure,
        tuple(comparisons),
    )


def vdsp(simulator: Simulator, tell: Callable[[str], None]) -> Entry:
    """V_prog against V_mem, the update against the law, and an update between two neurons."""
    amplifier = _run("vdsp_amplifier", simulator, tell)
    update = _run("vdsp_update", simulator, tell)
    pair = _run("vdsp_pair", simulator, tell)
    figure, (left, middle, right) = _figure(3, width=10.0)
    for analysis in ("potentiation", "depression"):
        data = amplifier.waveforms_of(analysis)[0]
        left.plot(data["sweep"].values, data["v(prog)"].values, "o", markersize=3, color=style.COLOURS[0])
    v = np.linspace(-1, 1, 201)
    gains = amplifier.bench.file.parameters
    left.plot(v, v * np.where(v > 0, gains["gain_n"].value, gains["gain_p"].value), "k-", linewidth=0.8)
    left.set(xlabel="V_mem (V)", ylabel="V_prog (V)", title="Programming amplifier")
    step, law = update["step"], update["step_law"]
    for w in dict.fromkeys(step.coordinates["w0"]):
        own = step.coordinates["w0"] == w
        (line,) = middle.plot(step.coordinates["v_mem"][own], step.values[own], "o", markersize=4, label=f"w = {w:g}")
        middle.plot(step.coordinates["v_mem"][own], law.values[own], "-", linewidth=0.8, color=line.get_color())
    middle.set(xlabel="V_mem (V)", ylabel="Δw", title="One update: transistors, law (lines)")
    middle.legend()
    for analysis in ("after", "before"):
        data = pair.waveforms_of(analysis)[0]
        t = data["time"].values * 1e6
        inside = t > 35.0
        w = data["v(xc.xm.w)"].values
        right.plot(t[inside], w[inside] - w[0], label=f"post {analysis} pre: Δw")
    data = pair.waveforms_of("after")[0]
    t = data["time"].values * 1e6
    right.plot(t[t > 35], 0.03 * data["v(mem)"].values[t > 35], "k:", linewidth=0.9, label="0.03 V_mem (V)")
    right.set(xlabel="time (µs)", ylabel="Δw", title="Between two LIF neurons")
    right.legend(fontsize="small")
    worst = float(np.max(np.abs(update["difference"].values)))
    return Entry(
        "VDSP update at transistor level",
        "The postsynaptic spike opens the word line for 200 ns, and the amplifier programs the cell with the"
        " presynaptic membrane voltage times threshold times scale factor (TiO2). Neurons run a thousand times faster"
        " than the network's (our choice).",
        figure,
        (
            Comparison(
                "largest |Δw − law| over V_mem and w",
                "the law",
                f"{worst:.4f} of full scale",
                _agrees(worst <= 0.005),
                "finite gain, and the access transistor's drop, which depends on w",
            ),
            Comparison("R² of Δw against the law", "1", f"{update['agreement'].scalar:.4f}", "agrees"),
            Comparison(
                "energy per update, both rails, 200 ns", "not stated",
                f"{update['energy'].values.min() * 1e9:.2f} … {update['energy'].values.max() * 1e9:.2f} nJ", "own",
                "the amplifier's quiescent current alone: 0.4 nJ",
            ),
        ),
    )  # fmt: skip


def entries(simulator: Simulator, tell: Callable[[str], None]) -> list[Entry]:
    """Every figure of the system."""
    made = []
    for make in (device, paired_pulses, frequency, energy, excitability, vdsp):
        with style.styled():
            made.append(make(simulator, tell))
    return made
