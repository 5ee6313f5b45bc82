"""Figures of waveforms: units that read well, signs that are stated, every vector in its place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray
from hypothesis import given
from hypothesis import strategies as st

from cosim.bench.testbench import Testbench
from cosim.cli.app import main
from cosim.engines.registry import open_simulator
from cosim.report import panels, style
from cosim.report.bench_figures import CONDITIONING, bench_figure, bench_figures, plot_waveforms
from cosim.report.measure_figures import limit_lines
from cosim.statistics.verdict import Verdict

RC = """rc
V1 in 0 PULSE(0 1 1u 1n 1n 20u 40u) ac 1
R1 in out 1k
C1 out 0 1n
{cards}
.end
"""


def dataset(count: int, *, n: int = 30, kind: str = "tran") -> xarray.Dataset:
    x = np.linspace(0.0, 3e-6, n) if kind == "tran" else np.logspace(3, 7, n)
    name, unit = ("time", "s") if kind == "tran" else ("frequency", "Hz")
    values = np.sin(x / x[-1]) * (1.0 if kind == "tran" else 1j)
    found = {f"v(n{k})": ((name,), 1e-3 * (k + 1) * values, {"units": "V"}) for k in range(count)}
    found["i(v1)"] = ((name,), -2e-6 * values, {"units": "A"})
    return xarray.Dataset(found, coords={name: ((name,), x, {"units": unit})})


@given(st.floats(1e-17, 1e11), st.sampled_from(["V", "A", "J", "s"]))
def test_a_prefix_makes_numbers_between_1_and_1000(top: float, unit: str) -> None:
    values = np.array([0.1 * top, -top])
    scaled, shown = panels.prefixed(values, unit)
    assert 0.999 < np.max(np.abs(scaled)) < 1000.001
    prefix = dict(panels._PREFIXES)[shown.removesuffix(unit)]
    np.testing.assert_allclose(scaled * prefix, values, rtol=1e-12)


def test_a_plain_number_has_no_prefix() -> None:
    values = np.array([1e-7])
    assert panels.prefixed(values, "1")[1] == panels.prefixed(values, "")[1] == ""
    assert panels.prefixed(values, "1")[0] is values


@pytest.mark.parametrize(
    ("name", "said"),
    [("i(vbl)", "i(vbl), into the source"), ("i(v.xl.vammeter)", "i(v.xl.vammeter), into the source"),
     ("i(l1)", "i(l1)"), ("v(out)", "v(out)"), ("@m1[gm]", "@m1[gm]")],
)  # fmt: skip
def test_the_sign_of_a_source_s_current_is_stated(name: str, said: str) -> None:
    assert panels.described(name) == said
    assert panels.described(name, magnitude=True) == f"|{name}|"


def test_few_vectors_have_a_panel_each() -> None:
    figure = panels.waveform_figure(dataset(2), "a $title")
    assert [ax.get_title(loc="left") for ax in figure.axes] == [
        "v(n0) (µV)",
        "v(n1) (mV)",
        "i(v1), into the source (µA)",
    ]
    assert figure.axes[-1].get_xlabel() == "time (µs)"
    line = figure.axes[2].lines[0]
    assert line.get_xdata()[-1] == pytest.approx(3.0)
    assert min(line.get_ydata()) == pytest.approx(-2 * np.sin(1.0))
    figure.canvas.draw()


@pytest.mark.parametrize("level", [0.5, -2.0])
def test_rounding_about_a_constant_is_drawn_as_a_constant(level: float) -> None:
    data = dataset(1)
    data["v(n0)"] = data["v(n0)"].copy(data=level + 1e-13 * np.linspace(0.0, 1.0, 30))
    low, high = panels.waveform_figure(data, "flat").axes[-1].get_ylim()
    assert high - low > 0.05 * abs(level)


def test_many_vectors_share_a_panel_per_unit() -> None:
    figure = panels.waveform_figure(dataset(20), "many")
    volts, amperes = figure.axes
    assert volts.get_title(loc="left") == "12 of 20 vectors (mV)"
    assert len(volts.lines) == panels.LINES
    assert len({(line.get_color(), line.get_linestyle()) for line in volts.lines}) == panels.LINES
    assert amperes.get_title(loc="left").startswith("i(v1)")
    figure.canvas.draw()


def test_a_response_is_drawn_as_its_magnitude_over_a_logarithmic_axis() -> None:
    figure = panels.waveform_figure(dataset(1, kind="ac"), "ac")
    assert figure.axes[0].get_title(loc="left") == "|v(n0)| (µV)"
    assert figure.axes[0].get_xscale() == "log"
    assert figure.axes[-1].get_xlabel() == "frequency (Hz)"
    assert min(figure.axes[0].lines[0].get_ydata()) >= 0.0
    figure.canvas.draw()


def test_an_operating_point_is_bars_with_their_values() -> None:
    levels = [
        panels.Level("v(a)", "V", 1.5, 1.5),
        panels.Level("v(b)", "V", -0.2, 0.4),
        panels.Level("t", "K", 3.0, 3.0),
    ]
    figure = panels.operating_figure(levels, "op")
    volts, kelvin = figure.axes
    assert [text.get_text() for text in volts.texts] == ["1.5 V", "-200 mV .. 400 mV"]
    assert [tick.get_text() for tick in volts.get_yticklabels()] == ["v(a)", "v(b)"]
    assert (volts.get_xlabel(), kelvin.get_xlabel()) == ("V", "K")
    spans = [(bar.get_x(), bar.get_x() + bar.get_width()) for bar in volts.patches]
    assert spans == [(0.0, 1.5), (pytest.approx(-0.2), pytest.approx(0.4))]
    figure.canvas.draw()


@pytest.mark.spice
@pytest.mark.parametrize(
    ("cards", "files"),
    [
        (".tran 100n 60u", {"waveforms.png"}),
        (".ac dec 10 1k 1meg\n.op", {"ac.png", "op.png"}),
        (".op", {"waveforms.png"}),
    ],
)
def test_a_netlist_s_run_is_drawn(cards: str, files: set[str], tmp_path: Path) -> None:
    (tmp_path / "rc.cir").write_text(RC.format(cards=cards))
    assert main(["run", str(tmp_path / "rc.cir"), "-o", str(tmp_path / "out")]) == 0
    drawn = {path.name for path in (tmp_path / "out").glob("*.png")}
    assert drawn == files
    assert all((tmp_path / "out" / name).stat().st_size > 5000 for name in drawn)


@pytest.mark.spice
def test_conditioning_pulses_leave_room_for_the_others() -> None:
    bench = Testbench.load("1t1r_random_pulses").with_(stimuli={"bl": {"count": 40}})
    with open_simulator() as simulator:
        done = bench.run(simulator)
        power = Testbench.load("1t1h1m_power").run(simulator)
        sweep = Testbench.load("stc_wta").run(simulator)
    train, conditioning = done.bench.train("bl"), 2 * bench.file.stimuli["bl"].conditioning
    figure = bench_figure(done)
    bottom = next(ax for ax in figure.axes if "conditioning" in ax.get_xlabel())
    assert "pulses 23 to 30 of 40, the last 2 of 24 conditioning ones shaded" in bottom.get_xlabel()
    assert "into the source" in bottom.get_title(loc="left")
    shown = bottom.lines[0].get_xdata() * 1e-6
    assert shown[0] >= train.write_starts[conditioning - 2] - train.gap
    assert shown[-1] <= train.write_starts[conditioning + 6]
    shade = bottom.patches[0].get_extents().transformed(bottom.transData.inverted())
    assert shade.x1 * 1e-6 == pytest.approx(train.write_starts[conditioning] - train.gap, rel=1e-6)
    assert bottom.patches[0].get_facecolor()[0] == pytest.approx(float(CONDITIONING))
    below = bench_figure(power)
    assert "range over 72 points, analysis corrected" in below.get_suptitle()
    assert any("state rise_slow of xc.xm" in tick.get_text() for ax in below.axes for tick in ax.get_yticklabels())
    dc = bench_figure(sweep)
    assert "analysis transfer" in dc.get_suptitle()
    assert dc.axes[-1].get_xlabel() == "Ica (pA)"
    assert plot_waveforms(done).get_xlabel() == "time (µs)"
    assert plot_waveforms(power).texts


LOOP = """title = "a loop $5"
circuit = "V1 a 0 SIN(0 2 1k)\\nR1 a 0 {{r}}"
parameters = {{ r = "1 kOhm", k = 1 }}
[analysis]
kind = "tran"
stop = "1 ms"
max_step = "10 us"
sweep = {{ r = ["1 kOhm", "2 kOhm", "4 kOhm"], k = [1, 2] }}
[measures.top]
kind = "max"
of = "i(v1)"
unit = "A"
[measures.loop]
kind = "loop-area"
voltage = "v(a)"
current = "i(v1)"
unit = "W"
[limits]
top = {{ max = "{limit}" }}
"""


@pytest.mark.spice
@pytest.mark.parametrize(("limit", "kept"), [("3 mA", True), ("0.8 mA", False)])
def test_measures_over_a_sweep_are_drawn_with_their_limits_and_loops_as_loops(
    tmp_path: Path, limit: str, kept: bool
) -> None:
    (tmp_path / "b.toml").write_text(LOOP.format(limit=limit))
    with open_simulator() as simulator:
        done = Testbench.load(tmp_path / "b.toml").run(simulator)
    assert (done["top"].verdict is Verdict.PASS) is kept
    figures = bench_figures(done)
    assert list(figures) == ["waveforms", "measures", "loops"]
    top = next(ax for ax in figures["measures"].axes if ax.get_ylabel() == "top (mA)")
    assert top.get_title(loc="left") == "top: max"
    assert top.get_xlabel() == "r (kOhm)"
    curve = top.lines[0]
    np.testing.assert_allclose(curve.get_xdata(), [1.0, 2.0, 4.0])
    np.testing.assert_allclose(curve.get_ydata(), [2.0, 1.0, 0.5], rtol=1e-3)
    assert [text.get_text() for text in top.get_legend().get_texts()] == ["k = 1", "k = 2"]
    bound = top.lines[-1].get_ydata()[0]
    assert bound == pytest.approx(float(limit.split()[0]))
    assert top.get_ylim()[1] > bound
    loop = figures["loops"].axes[0]
    assert (loop.get_xlabel(), loop.get_ylabel()) == ("voltage (V)", "current (mA)")
    assert loop.get_title(loc="left") == "i(v1), into the source; over v(a)"
    assert len(loop.get_legend().get_texts()) == 6
    for figure in figures.values():
        style.save(figure, tmp_path / "f.png")
    for panel in (top, loop):  # nothing in a panel covers its legend
        assert panel.get_legend().get_window_extent().y0 > panel.get_window_extent().y1


@pytest.mark.spice
def test_single_values_are_drawn_between_their_limits(tmp_path: Path) -> None:
    text = LOOP.format(limit="3 mA").replace('sweep = { r = ["1 kOhm", "2 kOhm", "4 kOhm"], k = [1, 2] }\n', "")
    limits = 'top = { min = "0.5 mA", max = "2.5 mA" }\nloop = { max = "1 mW" }\n'
    (tmp_path / "b.toml").write_text(text.replace('top = { max = "3 mA" }\n', limits))
    with open_simulator() as simulator:
        done = Testbench.load(tmp_path / "b.toml").run(simulator)
    figure = bench_figures(done)["measures"]
    panel = figure.axes[0]
    assert panel.get_xlabel() == "share of the allowed range that is used (1: at the limit)"
    assert [label.get_text() for label in panel.get_yticklabels()] == ["top", "loop"]
    assert panel.lines[0].get_xdata()[0] == pytest.approx(0.5, abs=1e-3)
    assert "500 uA .. 2.5 mA" in panel.texts[0].get_text().replace("µ", "u")


@pytest.mark.parametrize(
    ("unit", "shown"),
    [("V", "mV"), ("V/s", "mV/s"), ("m^2", "m^2"), ("1/V", "1/V"), ("V^2/Hz", "V^2/Hz"), ("K/W", "mK/W"), ("%", "%")],
)
def test_a_prefix_belongs_to_a_first_unit_without_a_power(unit: str, shown: str) -> None:
    values, label = panels.prefixed(np.array([2e-3, 1e-3]), unit)
    assert label == shown
    assert values[0] == pytest.approx(2.0 if shown != unit else 2e-3)


def test_what_is_not_finite_moves_no_scale() -> None:
    given = np.array([np.inf, 2e-3, np.nan, -1e-3])
    scaled, unit = panels.prefixed(given, "A")
    assert (unit, panels.ratio(scaled, given)) == ("mA", pytest.approx(1e3))
    assert panels.ratio(np.array([]), np.array([])) == 1.0


def test_an_axis_that_ends_at_zero_has_its_prefix() -> None:
    sweep = np.linspace(-0.5, 0.0, 5)
    data = xarray.Dataset({"i(v1)": ("sweep", sweep)}, coords={"sweep": ("sweep", sweep, {"units": "V"})})
    found = panels.coordinate_of(data)
    assert found.label == "sweep (mV)"
    np.testing.assert_allclose(found.values, 1e3 * sweep)


@pytest.mark.parametrize(("low", "high"), [(None, 10e-3), (5.0, None), (None, -4.0), (2.0, 3.0)])
@pytest.mark.parametrize("scale", ["linear", "log"])
def test_a_limit_that_every_value_breaks_is_in_the_picture(low: float | None, high: float | None, scale: str) -> None:
    ax = style.axes(None)
    ax.plot([1, 2], [0.5, 1.0])
    ax.set_yscale(scale)
    limit_lines(ax, low, high)
    bottom, top = ax.get_ylim()
    for limit in (low, high):
        if limit is not None and (limit > 0.0 or scale == "linear"):
            assert bottom < limit < top


RUNS = """title = "a choice"
circuit = '''
V1 a 0 1
R1 a 0 1k
.if (k > 1)
R2 a q 1k
R3 q 0 1k
.endif
'''
save = ["v(a)", "v(q)"]
parameters = { k = 1 }
[analysis]
kind = "tran"
stop = "1 us"
max_step = "100 ns"
sweep = { k = [2, 1] }
[measures.wrong]
kind = "final"
of = "v(a)"
unit = "V"
[measures.low]
kind = "largest"
of = "wrong"
unit = "V"
[limits]
low = { max = "0 V" }
"""


@pytest.mark.spice
def test_runs_with_other_vectors_are_drawn_and_what_breaks_a_limit_of_zero_is_shown(tmp_path: Path) -> None:
    (tmp_path / "b.toml").write_text(RUNS)
    with open_simulator() as simulator:
        done = Testbench.load(tmp_path / "b.toml").run(simulator)
    assert done["low"].verdict is Verdict.FAIL
    figures = bench_figures(done)
    labels = [label.get_text() for ax in figures["measures"].axes for label in ax.get_yticklabels()]
    assert "low" in labels
    assert {"v(a) (V)", "v(q) (mV)"} <= {ax.get_title(loc="left") for ax in figures["waveforms"].axes}


@pytest.mark.spice
def test_many_vectors_of_a_bench_share_a_panel_per_unit(tmp_path: Path) -> None:
    rows = "\n".join(f"R{k} n{k} n{k + 1} 1k" for k in range(12))
    saved = ", ".join([*(f'"v(n{k})"' for k in range(12)), '"i(v1)"'])
    (tmp_path / "b.toml").write_text(
        f'title = "a ladder"\ncircuit = """\nV1 n0 0 SIN(0 1 1k)\n{rows}\nRl n12 0 1k\n"""\nsave = [{saved}]\n'
        '[analysis]\nkind = "tran"\nstop = "1 ms"\nmax_step = "20 us"\n'
    )
    with open_simulator() as simulator:
        figure = bench_figures(Testbench.load(tmp_path / "b.toml").run(simulator))["waveforms"]
    titles = [ax.get_title(loc="left") for ax in figure.axes]
    assert len(titles) == 2
    assert any(title.startswith("12 vectors") for title in titles)
    assert figure.get_size_inches()[1] < 8.0


def test_noise_is_drawn_over_the_frequency_and_not_over_its_source():
    data = xarray.Dataset({"onoise": ("frequency", [1.0, 2.0])}, coords={"frequency": [1.0, 100.0]})
    assert panels.coordinate_of(data, name="v1").label == "frequency (Hz)"
    swept = xarray.Dataset({"i": ("sweep", [1.0, 2.0])}, coords={"sweep": [1.0, 2.0]})
    assert panels.coordinate_of(swept, name="v1").label == "v1 (V)"
