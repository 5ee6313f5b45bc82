"""Figures of a campaign say in numbers what they show."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.container import ErrorbarContainer
from scipy import special

from cosim.campaign.results import Group, Observed
from cosim.report import style
from cosim.report.campaign_figures import (
    BREAKS,
    KEEPS,
    grid_figure,
    plot_high_sigma,
    plot_normal_probability,
    plot_search,
    plot_worst_case,
    plot_worst_point,
    plot_yield,
    yield_figure,
)  # fmt: skip
from cosim.statistics.importance import importance_sampling
from cosim.statistics.rare import nothing
from cosim.statistics.scaled import scaled_sigma
from cosim.statistics.worst import worst_case
from cosim.statistics.yields import estimate

VALUES = 200e-9 * np.exp(0.12 * np.random.default_rng(0).standard_normal(2000))
LOW, HIGH = 150e-9, 260e-9
PASSED = int(np.count_nonzero((VALUES >= LOW) & (VALUES <= HIGH)))


def words(ax) -> str:
    legend = ax.get_legend()
    return "\n".join([legend.get_title().get_text(), *(text.get_text() for text in legend.get_texts())])


def height(ax, colour: str) -> float:
    from matplotlib.colors import to_rgba

    return sum(bar.get_height() for bar in ax.patches if bar.get_facecolor() == to_rgba(colour))


def test_a_histogram_counts_every_sample_on_its_side_of_the_limits() -> None:
    found = estimate(PASSED, 2000)
    ax = plot_yield(VALUES, name="delay", unit="s", low=LOW, high=HIGH, found=found)
    assert ax.get_xlabel() == "delay (ns)"
    assert height(ax, KEEPS) == PASSED
    assert height(ax, BREAKS) == 2000 - PASSED
    edges = {round(bar.get_x() + bar.get_width(), 6) for bar in ax.patches}
    assert {150.0, 260.0} <= edges  # no bar is half in and half out
    assert f"({PASSED} of 2000)" in words(ax)
    assert f"{found.low:.3%} .. {found.high:.3%}" in words(ax)
    assert "at least 150 ns" in words(ax)
    assert "at most 260 ns" in words(ax)


def test_few_failures_are_seen_and_none_are_not_named() -> None:
    few = plot_yield(np.append(np.linspace(0, 1, 999), 2.0), name="m", unit="1", high=1.5)
    assert few.get_yscale() == "log"
    none = plot_yield(VALUES, name="delay", unit="s", high=1.0)
    assert height(none, KEEPS) == 2000
    assert "break" not in words(none)


def test_a_cumulative_distribution_ends_at_one() -> None:
    ax = plot_yield(VALUES, name="delay", unit="s", high=HIGH, kind="cdf")
    x, y = ax.lines[0].get_data()
    np.testing.assert_allclose(x, np.sort(VALUES) * 1e9)
    assert y[-1] == 1.0
    assert f"{int(np.sum(VALUES > HIGH))} break one" in words(ax)


def test_a_normal_sample_lies_on_its_line_and_a_limit_says_its_distance() -> None:
    normal = 1.0 + 0.1 * special.ndtri((np.arange(1000) + 0.5) / 1000)
    ax = plot_normal_probability(normal, name="v", unit="V", high=1.4)
    dots, line = ax.lines[0], ax.lines[1]
    np.testing.assert_allclose(np.interp(dots.get_xdata(), *line.get_data()), dots.get_ydata(), atol=1e-2)
    assert "limit 1.4 V, 4.0 σ of the line" in words(ax)


def test_estimates_stand_side_by_side_with_their_intervals() -> None:
    def fails(z):
        return z[:, 0] > 3.0

    both = {
        "importance": importance_sampling(2, seed=1, budget=2000).run(fails),
        "scaled sigma": scaled_sigma(2, seed=1, budget=2000).run(fails),
    }
    ax = plot_high_sigma({**both, "third": nothing("third", "why", level=0.95, evaluated=3)}, brute=(130, 100_000))
    assert [label.get_text() for label in ax.get_xticklabels()] == list(both)
    for container, one in zip(ax.containers, both.values(), strict=True):
        (bar,) = container.lines[2]
        ends = bar.get_segments()[0][:, 1]
        assert ends == pytest.approx([one.low, one.high])
    assert any("cannot tell: third" in text.get_text() for text in ax.texts)
    assert any(f"{both['importance'].sigma:.2f} σ" in text.get_text() for text in ax.texts)
    assert "130 of 100000 fail" in words(ax)


def test_a_worst_case_says_where_it_is() -> None:
    found = worst_case(3, sense="min", seed=0, budget=80).run(
        lambda z: np.where(z[:, 1] > 1.0, np.nan, 1e-6 * (9.0 + 2.0 * z[:, 0] - 0.5 * z[:, 1]))
    )
    ax = plot_worst_case(found, names=["width", "length", "v_$th$"], measure="g", unit="S", limit=1e-6)
    running = ax.lines[1].get_ydata()
    assert np.all(np.diff(running) <= 0.0)
    assert running[-1] == pytest.approx(found.value / 1e-6)
    assert "width: -" in words(ax)
    assert f"{found.failed} without a value" in words(ax)
    assert "limit 1 µS" in words(ax)
    bars = plot_worst_point(found, names=["width", "length", "v"])
    assert sorted(bar.get_width() for bar in bars.patches) == pytest.approx(sorted(found.z))


def test_every_figure_can_be_saved_whatever_its_data(tmp_path: Path) -> None:
    nowhere = worst_case(2, sense="max", seed=0, budget=20).run(lambda z: np.full(len(z), np.nan))
    never = importance_sampling(2, seed=0).run(lambda z: np.zeros(len(z), dtype=bool))
    drawn = [
        yield_figure(VALUES, name="delay $x", unit="s", low=LOW, found=estimate(PASSED, 2000), title="a $ b"),
        yield_figure(np.ones(4), name="flat", unit="1", low=0.5, high=1.0),
        yield_figure([np.nan, -2.0], name="one", unit="V/s", high=-3.0),
        plot_search(nowhere, "nothing"),
        plot_search(never, "never"),
        plot_high_sigma({}, brute=(0, 10)),
    ]
    for number, figure in enumerate(drawn):
        path = style.save(figure, tmp_path / f"{number}.png")
        assert path.read_bytes().startswith(b"\x89PNG")


def group(width: float, corner: str, values: list[float], *, runs: int) -> Group:
    measure = Observed("g", "S", np.array(values), low=1e-6, high=9e-6)
    return Group(
        {"parameters.width": width, "corner": corner}, runs, {"converged": runs}, {}, {"g": measure},
        {"parameters.width": "m"},
    )  # fmt: skip


def test_a_grid_is_drawn_with_a_curve_per_corner_and_its_limits() -> None:
    found = [group(w, c, [w * k], runs=1) for c, k in (("cold", 1.0), ("hot", 2.0)) for w in (1e-6, 2e-6, 3e-6)]
    figure = grid_figure(found)
    assert figure is not None
    (panel,) = figure.axes
    assert (panel.get_ylabel(), panel.get_xlabel()) == ("g (µS)", "width (µm)")
    assert [text.get_text() for text in panel.get_legend().get_texts()] == ["corner = cold", "corner = hot"]
    cold, hot, *limits = panel.lines
    np.testing.assert_allclose(cold.get_ydata(), [1.0, 2.0, 3.0])
    np.testing.assert_allclose(hot.get_ydata(), [2.0, 4.0, 6.0])
    assert sorted(float(line.get_ydata()[0]) for line in limits) == pytest.approx([1.0, 9.0])


def test_a_sample_on_a_grid_is_mean_and_deviation_and_each_value_of_a_measure_its_own_panel() -> None:
    # three devices with two values each, one after the other
    found = [group(w, "nominal", [w, -w, 2 * w, -2 * w, 3 * w, -3 * w], runs=3) for w in (1e-6, 2e-6)]
    figure = grid_figure(found)
    assert figure is not None
    assert [ax.get_ylabel() for ax in figure.axes] == ["g[0] (µS)", "g[1] (µS)"]
    first, second = figure.axes
    np.testing.assert_allclose(first.lines[0].get_ydata(), [2.0, 4.0])
    np.testing.assert_allclose(second.lines[0].get_ydata(), [-2.0, -4.0])
    (bars,) = [c for c in first.containers if isinstance(c, ErrorbarContainer)]
    lengths = [path.vertices[1, 1] - path.vertices[0, 1] for path in bars.lines[2][0].get_paths()]
    assert lengths == pytest.approx([2.0, 4.0])  # one deviation up and one down: 1 and 2 µS


def test_a_grid_of_corners_alone_has_their_names_and_one_point_no_figure() -> None:
    found = [group(1e-6, corner, [k], runs=1) for corner, k in (("cold", 1e-6), ("hot", 2e-6))]
    figure = grid_figure(found, title="a $ in it")
    assert figure is not None
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["cold", "hot"]
    assert grid_figure(found[:1]) is None
    assert grid_figure([]) is None
    assert grid_figure([group(1e-6, "cold", [], runs=0), group(2e-6, "cold", [], runs=0)]) is None
