"""The CMOS synapse with tagging and capture: circuit, source and reduced model side by side.

Source: M. A. Nicholson (thesis, Groningen, 2024). Its figures' curves are not published as numbers; where a figure is
named, the text's statements and the tables are what is compared.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from cosim.bench.measures import waveforms as measure
from cosim.bench.measures.stc import first_order
from cosim.bench.testbench import Testbench
from cosim.devices import stc_steps
from cosim.devices.base import Array, Values
from cosim.devices.integrate import integrate
from cosim.devices.stc import StcSynapse
from cosim.fitting import stc as fitting
from cosim.parameters import ParameterSet
from cosim.report import style
from cosim.report.gallery import Comparison, Entry

if TYPE_CHECKING:
    import xarray
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from cosim.engines.simulator import Simulator

TITLE = "CMOS synapse with synaptic tagging and capture"
TAU = 4.88e-3
SPIKE_PAIR = (2e-3, 4e-3)  # post, pre (s)
WITHIN = 0.03  # of Eq. 6


def _verdict(agrees: bool) -> str:
    return "agrees" if agrees else "differs"


def _columns(count: int, *, height: float = 3.4) -> tuple[Figure, list[Axes]]:
    with style.styled():
        figure = style.new_figure(3.6 * count, height)
        axes = figure.subplots(1, count)
    return figure, list(np.atleast_1d(axes))


def _series(data: xarray.Dataset, name: str) -> tuple[Array, Array]:
    return np.asarray(data["time"].values, dtype=float), measure.vector(data, name)


def dpi(simulator: Simulator) -> Entry:
    """The DPI's calcium current against Eq. 6."""
    run = Testbench.load("stc_dpi").run(simulator)
    figure, axes = _columns(2)
    for name, label in (("one", "I_TH = 1 pA"), ("three", "I_TH = 3 pA"), ("ten", "I_TH = 10 pA (source)")):
        data = run.waveforms_of(name)[0]
        t, out = _series(data, "i(vout)")
        gain = run.bench.values(name, point={})["gain"]
        expected = first_order(t, gain * measure.vector(data, "i(vtail)"), tau=TAU)
        axes[0].plot(t * 1e3, out * 1e12, label=label)
        axes[1].plot(t * 1e3, 100.0 * (out - expected) / expected.max(), label=label)
    axes[0].plot(t * 1e3, expected * 1e12, "k--", label="Eq. 6")
    axes[0].set(xlabel="time (ms)", ylabel="i_ca (pA)", title="Post spike at 2 ms, pre spike at 4 ms")
    axes[1].set(xlabel="time (ms)", ylabel="circuit − Eq. 6 (% of peak)", title="Deviation")
    axes[0].legend()
    axes[1].axhspan(-100 * WITHIN, 100 * WITHIN, color="0.9", zorder=0)
    of_peak = [run[name].scalar for name in ("deviation", "deviation_2pa", "deviation_3pa")]
    near, far = run["pointwise"].scalar, run["pointwise_10pa"].scalar
    return Entry(
        "DPI against Eq. 6",
        "The transistor-level integrator, inputs scaled so that I_TH times each input stays the same; band: 3 %.",
        figure,
        (
            Comparison(
                "largest deviation of the peak, I_TH = 1 / 2 / 3 pA",
                "Eq. 6",
                " / ".join(f"{100 * value:.1f} %" for value in of_peak),
                _verdict(max(of_peak) <= WITHIN),
            ),
            Comparison(
                "largest deviation of the value, I_TH = 1 pA", "Eq. 6", f"{100 * near:.1f} %", _verdict(near <= WITHIN)
            ),
            Comparison(
                "the same at I_TH = 10 pA",
                "Eq. 6, used as it is",
                f"{100 * far:.0f} %",
                _verdict(far <= WITHIN),
                "Eq. 6 is the limit I_TH << i_ca; at 10 pA the circuit rests at a third of 12.5 pA",
            ),
        ),
    )


def comparator(simulator: Simulator) -> Entry:
    """The winner-take-all's trip point, and its delay against the overdrive."""
    run = Testbench.load("stc_wta").run(simulator)
    figure, axes = _columns(2)
    data = run.waveforms_of("transfer")[0]
    axes[0].plot(data["sweep"].values * 1e12, measure.vector(data, "i(vout)") * 1e12)
    axes[0].axvline(62, color="0.6", lw=0.8)
    axes[0].set(xlabel="i_ca (pA)", ylabel="output (pA)", title="Trip point")
    turn_on = run["turn_on"]
    overdrive, delay = turn_on.coordinates["overdrive"], turn_on.values - 1e-3
    axes[1].loglog(overdrive * 1e12, delay * 1e3, "o", label="transistors")
    fine = np.geomspace(1e-12, 50e-12, 30)
    fitted, _, worst = fitting.fit_comparator(fitting.published(), simulator)
    axes[1].loglog(fine * 1e12, 1e3 * fitting.delays(fitted, fine), label="reduced model")
    axes[1].set(xlabel="overdrive (pA)", ylabel="delay (ms)", title="Delay after a step from 12.5 pA")
    axes[1].legend()
    trip = run["trip"].scalar
    listed = ", ".join(f"{o * 1e12:.0f} pA {1e3 * d:.2f} ms" for o, d in zip(overdrive, delay, strict=True))
    return Entry(
        "Winner-take-all comparator",
        "The delays that the source saw in its circuit and left out of its script.",
        figure,
        (
            Comparison("trip point", "62 pA", f"{trip * 1e12:.2f} pA", _verdict(abs(trip / 62e-12 - 1.0) < 0.01)),
            Comparison(
                "10 to 90 % width",
                "a step",
                f"{run['width'].scalar * 1e12:.1f} pA",
                "differs",
                "the finite gain of the input transistors",
            ),
            Comparison("delay against overdrive", "0 (script)", listed, "our choice"),
            Comparison("the same, largest error of the reduced model", "not given", f"{100 * worst:.1f} %", "own"),
        ),
    )


def spike_pair(simulator: Simulator, p: Values) -> Entry:
    """Fig. 17: one pair of spikes through circuit, reduced model and the source's script."""
    run = Testbench.load("stc_spike_pair").run(simulator)
    data = run.waveforms
    dt, stop = 20e-6, 30e-3
    steps = round(stop / dt)
    share = {
        name: stc_steps.spike_share(np.array([start + 0.5e-6]), width=792.3e-6, dt=dt, steps=steps)
        for name, start in zip(("post", "pre"), SPIKE_PAIR, strict=True)
    }
    keep = ("calcium", "potentiation", "depression", "early")
    model = stc_steps.run(p, dt=dt, pre=share["pre"], post=share["post"], x0=fitting.settled(p), keep=keep)
    published = ParameterSet.load("stc_synapse:published").resolved()
    jumps = {name: np.zeros(steps) for name in share}
    for name, start in zip(("post", "pre"), SPIKE_PAIR, strict=True):
        jumps[name][round(start / dt)] = 1.0
    script = stc_steps.script(
        published, dt=dt, pre=jumps["pre"], post=jumps["post"], steps_of={"pre": 60e-12, "post": 15e-12}
    )
    times = dt * np.arange(steps + 1) * 1e3
    with style.styled():
        figure = style.new_figure(8.0, 5.2)
        grid = figure.subplots(2, 2)
    rows = (
        ("calcium", "i(vca)", 1e12, "i_ca (pA)"),
        ("depression", "i(v.xe.vdep)", 1e12, "depression current (pA)"),
        ("potentiation", "i(v.xe.vpot)", 1e12, "potentiation current (pA)"),
        ("early", "v(vh)", 1.0, "early-phase weight (V)"),
    )
    flows = {
        "potentiation": np.where(script["calcium"] > 62e-12, 90e-12, 1.2e-15),
        "depression": np.where(script["calcium"] > 55e-12, 10e-12, 0.8e-15),
    }
    for ax, (name, vector, scale, label) in zip(grid.ravel(), rows, strict=True):
        t, y = _series(data, vector)
        ax.plot(t * 1e3, y * scale, label="transistors")
        ax.plot(times, model[name] * scale, label="reduced model")
        ax.plot(times, {**script, **flows}[name] * scale, "k:", label="source's script")
        ax.set(xlabel="time (ms)", ylabel=label, xlim=(0, 15))
    grid[0, 0].legend()
    for ax, level in ((grid[0, 0], 62), (grid[0, 0], 55)):
        ax.axhline(level, color="0.7", lw=0.8)
    circuit = run["weight"].scalar - 0.9
    delays = (
        f"{1e3 * run[name].scalar:.2f} ms"
        for name in ("potentiation_delay", "depression_delay", "potentiation_release", "depression_release")
    )
    tail = run["depression_tail"].values
    change, by_script = float(model["early"][-1] - 0.9), float(script["early"][-1] - 0.9)
    return Entry(
        "One pair of spikes (Fig. 17)",
        "Currents start late and tail off; the reduced model has both, the source's script has neither.",
        figure,
        (
            Comparison(
                "delay of potentiation / depression, of their release", "seen, not given", " / ".join(delays), "own"
            ),
            Comparison(
                "depression current 11 and 21 ms after the start",
                "tails off gradually",
                f"{tail[0] * 1e15:.0f} and {tail[1] * 1e15:.0f} fA",
                _verdict(bool(tail[1] < tail[0]) and bool(tail[1] > 5e-15)),
                "about 1/t: a mirror's gate charge",
            ),
            Comparison(
                "change of the weight, circuit / reduced model",
                "not given",
                f"{circuit * 1e3:.0f} / {change * 1e3:.0f} mV",
                "our choice",
            ),
            Comparison(
                "the same, source's script / circuit",
                f"{by_script * 1e3:.0f} mV",
                f"{circuit * 1e3:.0f} mV",
                _verdict(abs(by_script / circuit - 1.0) < WITHIN),
                "the script has no rise time, no delay, no tail and ideal mirrors",
            ),
        ),
    )


def recovery(simulator: Simulator) -> Entry:
    """200 s of recovery, and the currents behind it."""
    static = Testbench.load("stc_early_static").run(simulator)
    slow = Testbench.load("stc_recovery").run(simulator)
    figure, axes = _columns(2)
    for name, label in (("down", "from above"), ("up", "from below")):
        t, h = _series(slow.waveforms_of(name)[0], "v(vh)")
        axes[0].plot(t, h, label=label)
    axes[0].axhline(0.9, color="0.6", lw=0.8)
    axes[0].set(xlabel="time (s)", ylabel="early-phase weight (V)", title="200 s without spikes")
    axes[0].legend()
    data = static.waveforms_of("analysis")[0]
    h = data["sweep"].values
    for vector, label in (
        ("i(v.xe.vrec)", "recovery"), ("i(v.xe.vpot)", "leak, potentiation"), ("i(v.xe.vdep)", "leak, depression"),
    ):  # fmt: skip
        axes[1].plot(h, measure.vector(data, vector) * 1e15, label=label)
    axes[1].set(xlabel="early-phase weight (V)", ylabel="current (fA)", title="Femtoamperes at the capacitor")
    axes[1].set_ylim(-3, 5)
    axes[1].legend(loc="upper right")
    wall = sum(entry.result.wall for entry in slow.runs)
    up, down = static["recovery_up"].values[0], static["recovery_down"].values[0]
    fall, rise = slow["fall"].scalar, slow["rise"].scalar
    leaks = static["leak_potentiation"].values[0], static["leak_depression"].values[0]
    return Entry(
        "Early phase: recovery and leakage",
        "A five-transistor OTA recovers like a tanh, not like the source's sign function.",
        figure,
        (
            Comparison(
                "recovery current",
                "± 2.5 fA",
                f"+{up * 1e15:.2f} / {down * 1e15:.2f} fA",
                _verdict(max(abs(up / 2.5e-15 - 1.0), abs(down / 2.5e-15 + 1.0)) < 0.1),
            ),
            Comparison(
                "leakage, potentiation / depression",
                "1.2 / 0.8 fA (low currents)",
                f"{leaks[0] * 1e15:.2f} / {leaks[1] * 1e15:.2f} fA at most",
                _verdict(bool(leaks[0] <= 1.2e-15 and leaks[1] <= 0.8e-15)),
            ),
            Comparison(
                "fall / rise",
                "2.05 mV/s",
                f"{-1e3 * fall:.2f} / {1e3 * rise:.2f} mV/s",
                _verdict(max(abs(fall / 2.05e-3 + 1.0), abs(rise / 2.05e-3 - 1.0)) < 0.1),
                "the depression mirror's leak adds to the fall and takes from the rise",
            ),
            Comparison("2 × 200 s of circuit time", "not given", f"{wall:.2f} s", "our choice"),
        ),
    )


def consolidation(simulator: Simulator, p: Values) -> Entry:
    """Fig. 11: early, late and total weight after 0.2 s of strong stimulus."""
    run = Testbench.load("stc_consolidation").run(simulator)
    figure, axes = _columns(2)
    z = run["late_end"].values
    found = []
    for ax, data, factor in zip(axes, run.waveforms_of("eight"), (7.2, 32.0), strict=True):
        for vector, label, scale in (("v(vh)", "early", 1 / 0.9), ("v(z)", "late", 1.0), ("v(w)", "total", 1 / 0.9)):
            t, y = _series(data, vector)
            ax.plot(t, y * scale, label=label)
        ax.set_prop_cycle(None)
        early, late, total, times = _consolidate(p, factor)
        for name, y in (("early", early / 0.9), ("late", late), ("total", total / 0.9)):
            ax.plot(times, y, "k:", lw=0.9, label="reduced model" if name == "total" else None)
        found.append(float(late[-1]))
        ax.set(xlabel="time (s)", ylabel="weight (early and total: of h_0)", title=f"acceleration {factor:g}")
    axes[1].set_xlim(-0.5, 30)
    axes[1].legend(loc="upper right", bbox_to_anchor=(1.0, 0.8), fontsize=7)
    total = run["total_end"].values
    ordered = all(_ordered(data) for data in run.waveforms_of("eight"))
    # 0.88 V at 2.5 fA times the acceleration on 1.2215 pF, against 360 s over the acceleration
    expected = 1.0 - np.exp(-(run["early_start"].values[1] - 0.915) * 1.2215e-12 / 2.5e-15 / 360.0)
    eight, sixteen = run["late_eight_bits"].values[1], run["late_sixteen_bits"].scalar
    return Entry(
        "Consolidation after 0.2 s of strong stimulus (Fig. 11)",
        "20 pairs of spikes at 100 Hz (own). DPI and early phase on transistors, late phase behavioural, 8 bits.",
        figure,
        (
            Comparison(
                "order of events",
                "potentiation within 0.2 s, decay of the early phase, late growth",
                "the same" if ordered else "another",
                _verdict(ordered),
            ),
            Comparison(
                "total weight at the end",
                "falls, stays above its start",
                " / ".join(f"{value / 0.9:.2f} h_0" for value in total),
                _verdict(bool(np.all(total > 0.9) and np.all(total < run["early_start"].values))),
            ),
            Comparison(
                "late weight at the end, 7.2 / 32",
                f"1 − exp(−t/τ_z) over the decay to the tag: {expected:.2f}",
                " / ".join(f"{value:.2f}" for value in z),
                _verdict(bool(np.all(np.abs(z - expected) < 0.05))),
            ),
            Comparison("the same in the reduced model", "not given", f"{found[0]:.2f} / {found[1]:.2f}", "our choice"),
            Comparison(
                "8 against 16 bits at 10 s",
                "8 bits overestimate",
                f"{eight:.4f} against {sixteen:.4f}",
                _verdict(eight > sixteen),
                "this counter holds its value until a whole step is due; 8 bits stay within one step of 0.006",
            ),
        ),
    )


def _ordered(data: xarray.Dataset) -> bool:
    """Whether the early phase peaks within the stimulus and then falls while the late phase grows."""
    t, h = _series(data, "v(vh)")
    _, z = _series(data, "v(z)")
    after = np.interp(np.linspace(0.25, t[-1], 50), t, h)
    peaks = bool(t[np.argmax(h)] < 0.25)
    return peaks and bool(np.all(np.diff(after) < 1e-3)) and bool(np.all(np.diff(z) > -1e-3)) and bool(z[-1] > 0.1)


def _consolidate(p: Values, factor: float) -> tuple[Array, Array, Array, Array]:
    """Early, late and total weight of the reduced model (V, 1, V) and their times (s): scipy, from step to step."""
    p = p.with_(acceleration=factor)
    model, width = StcSynapse(), 792.3e-6
    starts = 1e-3 + 10e-3 * np.arange(20)
    knots = np.concatenate([[s, s + 1e-6, s + width, s + width + 1e-6] for s in starts])
    level = np.tile([0.0, 1.8, 1.8, 0.0], 20)
    rest = np.geomspace(0.21, 70.0, 60)
    t = np.concatenate([[0.0], knots, rest])
    drive = np.concatenate([[0.0], level, np.zeros(60)])
    found = integrate(
        model, p, t=t, across={"pre": drive, "post": drive}, x0=fitting.settled(p), rtol=1e-5, atol=1e-8
    ).states
    return found["h"], found["z"], found["h"] + p.h0 * found["z"], t


def reduced(simulator: Simulator, p: Values) -> Entry:
    """The reduced model on spike trains that it was not fitted to."""
    fitted = fitting.StcFit(p, {}, fitting.record(simulator), 0)
    figure, axes = _columns(2)
    errors = []
    for ax, changes in zip(axes, fitting.HELD_OUT, strict=True):
        trains = fitting.record(simulator, parameters=changes)
        waves = fitting.simulate(p, trains)
        errors.append(fitted.errors(trains))
        ax.plot(trains.times * 1e3, trains.waves["early"], label="transistors")
        ax.plot(trains.times * 1e3, waves["early"], "--", label="reduced model")
        ax.set(xlabel="time (ms)", ylabel="early-phase weight (V)")
        ax.set_title(f"pre every {changes['pre_period'] * 1e3:g} ms, post every {changes['post_period'] * 1e3:g} ms")
    axes[0].legend()
    worst = {name: max(entry[name] for entry in errors) for name in errors[0]}
    rows = tuple(
        Comparison(f"error of {name}, RMS over full scale", "not fitted in the source", f"{100 * value:.1f} %", "own")
        for name, value in worst.items()
        if name != "change"
    )
    return Entry(
        "Reduced model, held out",
        "Fitted with lmfit to one set of trains, shown on two others.",
        figure,
        (*rows, Comparison("error of the weight's total change", "", f"{100 * worst['change']:.1f} %", "our choice")),
    )


def entries(simulator: Simulator, tell: Callable[[str], None]) -> list[Entry]:
    """Every figure of this system; ``tell`` hears what is being made."""
    p = ParameterSet.load("stc_synapse:transistor").resolved()
    makers: Mapping[str, Callable[[], Entry]] = {
        "DPI": lambda: dpi(simulator),
        "winner-take-all": lambda: comparator(simulator),
        "spike pair": lambda: spike_pair(simulator, p),
        "recovery": lambda: recovery(simulator),
        "consolidation": lambda: consolidation(simulator, p),
        "reduced model": lambda: reduced(simulator, p),
    }
    found = []
    for name, make in makers.items():
        tell(f"stc: {name}")
        found.append(make())
    return found
