"""Figures of benches: what an axis shows, and what it must not make of an engine's rounding."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import xarray
from matplotlib.axes import Axes

from cosim.bench.testbench import Testbench
from cosim.report import panels, style
from cosim.report.bench_figures import bench_figure
from cosim.report.network_figures import plot_activity
from cosim.report.style import spans_decades
from cosim.report.surrogate_figures import plot_free_run, plot_growth


def vectors(**columns: np.ndarray) -> xarray.Dataset:
    n = next(iter(columns.values())).size
    return xarray.Dataset(
        {f"v({name})": ("time", values, {"units": "V"}) for name, values in columns.items()},
        coords={"time": ("time", np.linspace(0.0, 1e-6, n), {"units": "s"})},
    )


def test_rounding_is_drawn_as_a_level() -> None:
    n = np.arange(50)
    figure = panels.waveform_figure(
        vectors(kept=0.5 - 1e-11 * n, moved=0.5 + 1e-3 * n, zero=-5e-17 + 0.0 * n), "levels"
    )
    kept, moved, zero = figure.axes
    figure.canvas.draw()
    assert all(not ax.yaxis.get_offset_text().get_text() for ax in figure.axes)
    low, high = kept.get_ylim()
    assert high - low > 0.01 * high  # mV: 50 mV, and not 0.5 nV
    low, high = moved.get_ylim()
    assert high - low < 100.0
    assert zero.get_title(loc="left") == "v(zero) (V)"


def test_of_many_vectors_the_shown_ones_are_spread() -> None:
    figure = panels.waveform_figure(vectors(**{f"n{k:02d}": np.full(5, 1.0 + k) for k in range(41)}), "many")
    shown = [line.get_label() for line in figure.axes[0].lines]
    assert (shown[0], shown[-1], len(shown)) == ("v(n00)", "v(n40)", panels.LINES)


@pytest.mark.parametrize(
    ("values", "spread"),
    [
        ([1e-3, 1.0, 2.0, 3.0], False),  # one value apart is no decade of them
        ([8e-9, 408e-9, 808e-9, 848e-9], False),
        ([0.02, 0.05, 0.1, 0.2, 0.5, 2.0], True),
        ([1.0, 1000.0], True),
        ([1.0, 50.0], False),
        ([0.0, 1.0, 100.0], False),
    ],
)
def test_decades_are_what_values_are_spread_over(values: list[float], spread: bool) -> None:
    assert spans_decades(np.array(values)) is spread


BENCH = """
title = "two runs"
circuit = "V1 a 0 PULSE(0 {level} 1u 1n 1n 1u 4u)\\nR1 a b 1k\\nR2 b 0 1k"
[parameters]
level = "1 mV"
[analysis]
kind = "tran"
stop = "4 us"
max_step = "0.1 us"
sweep = { level = ["1 mV", "10 V"] }
[measures.levels]
kind = "at"
of = "v(b)"
at = ["1.5 us", "3.5 us"]
unit = "V"
"""


@pytest.mark.spice
def test_one_scale_holds_every_run_of_a_panel(tmp_path: Path) -> None:
    path = tmp_path / "bench.toml"
    path.write_text(BENCH)
    done = Testbench.load(path).run()
    panel = bench_figure(done).axes[0]
    assert panel.get_title(loc="left") == "v(b) (V)"
    assert max(float(np.max(line.get_ydata())) for line in panel.lines) == pytest.approx(5.0)
    assert max(panel.lines[0].get_ydata()) == pytest.approx(0.5e-3)


def one_batch() -> SimpleNamespace:
    """A run that learned a single batch."""
    seed = SimpleNamespace(seed=0, values=SimpleNamespace(spikes_per_image=[12.0]))
    return SimpleNamespace(seeds=[seed], system=SimpleNamespace(batches=[100]))


def test_free_runs_show_all_states() -> None:
    runs = [np.full((2, n), level) for level in (0.2, 0.7) for n in (5, 3)]  # of two states, two trains each
    held = SimpleNamespace(free=tuple(runs), states=["m_fast", "w"])
    ax = plot_free_run(held)  # type: ignore[arg-type]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        "reference", "surrogate, m_fast", "surrogate, w",
    ]  # fmt: skip
    assert [(line.get_ydata()[0], len(line.get_xdata())) for line in ax.lines[::2]] == [(0.2, 5), (0.7, 5)]
    ax = plot_growth(held)  # type: ignore[arg-type]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["m_fast", "w"]
    assert ax.get_title().startswith("2 free runs")


@pytest.mark.parametrize(
    "draw",
    [
        lambda: plot_activity(one_batch()),  # type: ignore[arg-type]
        lambda: plot_free_run(SimpleNamespace(free=(np.array([[0.4], [0.5]]),), states=["w"])),  # type: ignore[arg-type]
    ],
)
def test_a_line_of_one_point_is_seen(draw: Callable[[], Axes], tmp_path: Path) -> None:
    ax = draw()
    style.save(ax, tmp_path / "a.png")
    shown = [line for line in ax.lines if np.size(line.get_xdata()) == 1]
    assert shown
    assert all(line.get_marker() == "o" for line in shown)
