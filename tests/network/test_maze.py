"""Mazes with heated synapses: the event of a synapse, γ as a hardware step, grids, maps, and what is refused."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cosim.cli.app import main
from cosim.devices.base import Values
from cosim.errors import DomainError, InputError
from cosim.network.grid import Grid, Rewards
from cosim.network.run import Streams, run_network
from cosim.network.simulation import Simulation
from cosim.network.systems import maze
from cosim.network.systems.maze import (
    EPISODES,
    MazeRuns,
    MazeSystem,
    Point,
    chosen_apart,
    optimum,
    success_ratio,
    told,
)
from cosim.network.systems.maze_settings import (
    ACTIONS,
    MazeSettings,
    graph,
    least_loss,
    step_time,
    synapse,
    volts,
)
from cosim.report.maze_figures import plot_gammas

SETTINGS = MazeSettings(episodes=60)
CELLS = synapse(SETTINGS)
P = CELLS.parameters.resolved()
SMALL = MazeSystem(SETTINGS, sizes=(3,), gammas=(0.8,), variabilities=(0.3,), alphas=(), runs=2, backend="numpy")


def event(w: float, rise: float, *, heater: float = 0.0, pulses: float = 0.0, scatter: float = 0.0) -> Values:
    state = Values({"w": np.array(w), "rise_fast": np.array(0.0), "rise_slow": np.array(rise)})
    inputs = {"heater": heater, "pulses": pulses, "scatter": scatter}
    return CELLS.step(state, Values({name: np.array(value) for name, value in inputs.items()}))[0]


# -- the synapse ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("sign", "kind"), [(1, "set"), (-1, "reset")])
def test_a_published_pulse_is_equation_27(sign: int, kind: str) -> None:
    """Written out by hand: conductance in any unit, T the share of the full scale."""
    a, b, c, d = (float(P[f"{letter}_{kind}"]) for letter in "abcd")
    for w in (0.2, 0.5, 0.8):
        for theta in (0.05, 0.4, 1.0):
            step = a * math.exp(b * w) * theta ** (c * math.exp(d * w))
            g = 1.0 / 20.0 + w * (1.0 - 1.0 / 20.0)
            after = (g * (1.0 + sign * step) - 1.0 / 20.0) / (1.0 - 1.0 / 20.0)
            rise = theta * float(P.full_scale_rise)
            assert float(event(w, rise, pulses=float(sign)).w) == pytest.approx(min(max(after, 0.0), 1.0), abs=1e-12)
            twice = event(w, rise, pulses=float(sign), scatter=1.0).w - w  # ΔG = N(ΔG, C_v ΔG)
            assert float(twice) == pytest.approx(np.clip(2.0 * (after - w), -w, 1.0 - w), abs=1e-12)
    assert float(event(0.5, 0.0, pulses=float(sign)).w) == 0.5  # nothing at ambient


def test_an_e_update_is_equation_23() -> None:
    """T + (1 − e^(−t/τ)) (P R_th − T), and the voltage is what one unit takes."""
    voltage = volts(SETTINGS, CELLS)
    power, share = voltage**2 / float(P.r_heater), -math.expm1(-SETTINGS.e_width / float(P.tau_slow))
    for rise in (0.0, 3.0):
        expected = rise + share * (power * float(P.r_slow) - rise)
        assert float(event(0.5, rise, heater=voltage).rise_slow) == pytest.approx(expected, rel=1e-12)
    assert float(event(0.5, 0.0, heater=voltage).rise_slow) == pytest.approx(0.1 * float(P.full_scale_rise), rel=1e-12)
    assert float(event(0.5, 0.0, heater=voltage).w) == 0.5


def test_gamma_is_a_length_of_the_hardware_step() -> None:
    rest = CELLS.rest_map
    assert rest is not None
    for gamma in (0.2, 0.8, 0.95):
        x = Values({"w": np.array(0.5), "rise_fast": np.array(0.0), "rise_slow": np.array(2.0)})
        after, _ = rest(x, Values({"duration": np.array(step_time(gamma, P))}), CELLS.values)
        assert float(after.rise_slow) == pytest.approx(2.0 * gamma, rel=1e-12)
    assert step_time(0.9, P) == pytest.approx(-float(P.tau_slow) * math.log(0.9))


def test_a_warm_synapse_is_read_warm() -> None:
    """Fig. 9's α: the weight that the action neurons see is that at the cell's temperature."""
    made = [
        graph(SETTINGS, Grid(("..", ".c")), gamma=0.8, variability=0.0, alpha=alpha, rng=np.random.default_rng(0),
              cells=CELLS)[0]
        for alpha in (0.0, 0.01)
    ]  # fmt: skip
    cold, warm = (Simulation(one, backend="numpy").cells["plus"] for one in made)
    for bar in (cold, warm):
        bar.load({"rise_slow": np.full(bar.shape, 10.0)})
    np.testing.assert_allclose(warm.weight, 1.1 * cold.weight, rtol=1e-12)


# -- grids -------------------------------------------------------------------------------------------------------------


def test_the_world_of_a_grid() -> None:
    grid = Grid((".x.", ".c.", "..."))
    world = grid.world(Rewards(best=1.0, worst=2.0, step=0.1), places="p", actions="a", enough=5)
    up, down, left, right = range(4)
    assert world.leads[0].tolist() == [0, 3, 0, 1]  # walls leave it where it is
    assert world.ends[0].tolist() == [0, 0, 0, -1]
    assert world.rewards[0].tolist() == pytest.approx([-0.1, -0.1, -0.1, -6.1])
    assert (world.ends[3, right], world.rewards[3, right]) == (1, 3.0)
    assert world.starts.tolist() == [0, 2, 3, 5, 6, 7, 8]
    assert grid.distances()[[0, 2, 8]].tolist() == [2.0, 2.0, 2.0]
    assert (up, down, left) == (0, 1, 2)


def test_drawn_grids_have_a_way_from_everywhere() -> None:
    for seed in range(20):
        grid = Grid.drawn(5, 8, np.random.default_rng(seed))
        assert np.all(np.isfinite(grid.distances()[grid.at(".")]))
        assert grid.at("x").size == 8


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (".x.\nx.c\n...", r"maze\.txt: no way leads from row 1, column 1 of the grid to the cheese; take away a trap"),
        ("...\n...\n...", "the grid holds no cheese"),
        (".c\n...", "row 2 of the grid has 3 cells, and the grid 2 rows"),
        (".c\n.#\n", "'#' in row 2, column 2 of the grid is unknown"),
        ("", "a grid of 0 rows cannot be run"),
        ("c", "a grid of 1 row cannot be run"),
        (".c\n.", "row 2 of the grid has 1 cell, and the grid 2 rows"),
        ("cx\nxc", "no free cell"),
    ],
)
def test_grids_that_cannot_be(text: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "maze.txt"
    file.write_text(text)
    with pytest.raises(InputError, match=says):
        Grid.read(file)
    assert main(["network", "run", "maze", "--grid", str(file), "-o", str(tmp_path / "out")]) == 2
    assert "maze.txt" in capsys.readouterr().err
    with pytest.raises(InputError, match=r"none\.txt: the grid cannot be read: No such file or directory$"):
        Grid.read(tmp_path / "none.txt")
    file.write_bytes(b"\xff")
    with pytest.raises(InputError, match="the grid is not UTF-8 text"):
        Grid.read(file)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--grid", "maze.txt", "--traps", "2"], "--traps is of drawn grids, and --grid gives one of your own; give"),
        (["--grid", "maze.txt", "--sizes", "3"], "--sizes is of drawn grids, and --grid gives one of your own; give"),
        (["--policy", "warn"], "--policy is of a --surrogate, which is not given; give both"),
        (["--uncertified"], "--uncertified is of a --surrogate, which is not given; give both"),
    ],
)
def test_options_that_would_do_nothing_are_refused(
    words: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["network", "run", "maze", *words, "-o", str(tmp_path / "out")]) == 2
    assert says in capsys.readouterr().err


def test_the_record_of_a_grid_of_one_s_own_has_its_rows_and_no_traps_to_draw() -> None:
    held = replace(SMALL, grid=Grid((".c", ".."))).to_dict([])
    assert (held["grid"], held["settings"]["traps"]) == ([".c", ".."], None)
    assert "grid" not in (drawn := SMALL.to_dict([]))
    assert drawn["settings"]["traps"] == SETTINGS.traps


# -- runs --------------------------------------------------------------------------------------------------------------


def test_eligibility_decays_and_the_reward_writes() -> None:
    """One step to the cheese in a grid of two by two: what was heated last is strengthened in the plus half."""
    settings = SETTINGS.with_(noise=0.0, begin_spread=0.0, levels=100001, longest=50.0)
    grid = Grid((".c", ".."))
    made, pause = graph(
        settings, grid, gamma=0.5, variability=0.0, alpha=0.0, rng=np.random.default_rng(1), cells=CELLS
    )
    simulation = Simulation(made, backend="numpy")
    first = {name: bar.state["w"].copy() for name, bar in simulation.cells.items()}
    found = simulation.run(
        {ACTIONS: np.full((1, 4), 0.1)}, steps=50, key=5, fresh=True, gap=pause, episodes=1
    ).episodes  # fmt: skip
    assert found.ends[0] == 1
    moved = {name: bar.state["w"] - first[name] for name, bar in simulation.cells.items()}
    assert np.count_nonzero(moved["plus"]) >= 1
    worth = 1.0 / (1.0 + math.exp(-found.rewards[0] / 2.0)) - 0.5
    assert worth > 0.0
    assert np.all(moved["plus"] >= 0.0)
    assert np.all(moved["minus"] <= 0.0)
    # the step before the last one has γ more of its heat, and so on; all of it is gone after the pause
    bar = simulation.cells["plus"]
    bar.relax((slice(None), slice(None)), now=simulation.clock, dt=made.dt * 1e-3)
    assert float(bar.state["rise_slow"].max()) < 1e-10


@pytest.mark.needs("numba")
def test_both_loops_live_the_same_mazes() -> None:
    """With spread devices, on levels, hot and cold; episode by episode."""
    system = replace(SMALL, settings=SETTINGS.with_(episodes=12), backend="numba")
    point = Point(EPISODES, 3, 0.8, 0.3, 0.01)
    runs = [
        MazeRuns(replace(system, backend=name), Streams(0)).one(point, run)
        for name in ("numba", "numpy")
        for run in range(1)
    ]
    assert runs[0][0] == runs[1][0]
    np.testing.assert_allclose(runs[0][1], runs[1][1], rtol=1e-12)


def test_mazes_are_learned_and_told(tmp_path: Path) -> None:
    result = run_network(SMALL, folder=tmp_path)
    assert result.mean == 1.0
    seed = result.seeds[0]
    assert seed.arrays.episodes_3.shape == (1, 1, 2)
    assert np.all(seed.arrays.episodes_3 < SETTINGS.episodes)
    written = json.loads((tmp_path / "result.json").read_text())
    assert written["settings"]["rewards"] == {"best": 1.0, "worst": 1.0, "step": 0.05}
    assert written["step_s"] == [step_time(0.8, P)]
    again = run_network(SMALL, folder=tmp_path, resume=True)
    assert again.seeds[0].values == seed.values
    other = replace(SMALL, gammas=(0.9,))
    with pytest.raises(InputError, match=r"belongs to another run: gamma was \(0\.8,\) and is \(0\.9,\)"):
        run_network(other, folder=tmp_path, resume=True)
    assert any("3 x 3: fewest episodes" in line for line in result.lines())
    assert replace(SMALL, runs=1).lines([])[0].endswith("128 levels, 1 run a point")
    assert told({"optima": [], "variability_costs": [], "missed": 1}, 60) == [
        "1 run missed the benchmark within 60 episodes and counts with as many: means with such runs are lower bounds"
    ]


def test_a_network_that_leaves_the_domain_says_so() -> None:
    """A heater at more volts than its map is meant for."""
    far = replace(SMALL, settings=SETTINGS.with_(unit=2.0))
    with pytest.raises(DomainError, match=r"heater = 2\.\d+ V? ?is outside"):
        run_network(far)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"gammas": (1.5,)}, r"gamma is 1\.5"),
        ({"gammas": (0.5, 0.5)}, "a map needs different gammas"),
        ({"alphas": (0.0, 0.0)}, "a map needs different alphas"),
        ({"alphas": (1.0,)}, r"alpha is 1 1/K; give a coefficient of -0\.01\.\.0\.01"),
        ({"runs": 0}, "0 runs show nothing"),
        ({"sizes": (1,)}, "a grid of 1 x 1 cells cannot hold"),
        ({"settings": SETTINGS.with_(parameters="ecram:slow")}, "has no heater"),
        (
            {"settings": SETTINGS.with_(traps=99.0)},
            "99 traps per grid length are 297 in 3 x 3 cells, .* give 1.33 or fewer",
        ),
        ({"surrogate": CELLS.with_(name="pulse")}, "the surrogate is of the map pulse"),
    ],
)
def test_systems_that_cannot_be(changes: dict[str, object], says: str) -> None:
    with pytest.raises(InputError, match=says):
        replace(SMALL, **changes)  # type: ignore[arg-type]


def test_the_optimum_and_its_interval() -> None:
    """Of runs that share what is hard about them: the interval is narrow where they agree in their order."""
    rng = np.random.default_rng(0)
    hard = rng.integers(20, 200, 20)
    gammas = (1.0, 0.0, 0.5, 0.8)  # in any order
    runs = np.stack([hard + 9, hard + 50, hard + rng.integers(0, 9, 20), hard])
    found = optimum(runs, gammas, np.random.default_rng(1))
    assert found["gamma"] == 0.8
    assert found["interval"] == [0.8, 0.8]
    assert [(end["gamma"], end["more"]) for end in found["ends"] if end["gamma"] != 0.5] == [
        (0.0, 50.0), (0.8, 0.0), (1.0, 9.0)
    ]  # fmt: skip
    loose = optimum(rng.integers(20, 200, (4, 20)), gammas, np.random.default_rng(1))
    assert loose["interval"][0] < loose["interval"][1]
    assert loose["unsuccessful"] == 0.0


def test_all_gammas_that_tie_are_named_in_whatever_order_they_are_typed() -> None:
    runs = np.array([[8] * 5, [9] * 5, [8] * 5])
    for order in ([0, 1, 2], [2, 1, 0], [1, 2, 0]):
        gammas = [(0.4, 0.6, 0.7)[k] for k in order]
        found = optimum(runs[order], gammas, np.random.default_rng(1))
        assert (found["gamma"], found["tied"], found["interval"]) == (0.4, [0.7], [0.4, 0.7])
        (line,) = told({"optima": [{**found, "size": 3, "variability": 0.0}], "variability_costs": [], "missed": 0}, 60)
        assert "at gamma 0.4 and 0.7 alike (95 % of resamples 0.4 to 0.7)" in line
    few = optimum(runs[:, :4], (0.4, 0.6, 0.7), np.random.default_rng(1))
    assert few["interval"] is None
    (line,) = told({"optima": [{**few, "size": 3, "variability": 0.0}], "variability_costs": [], "missed": 0}, 60)
    assert "at gamma 0.4 and 0.7 alike (no interval of fewer than 5 runs)" in line
    assert replace(SMALL, gammas=(0.7, 0.4)).gammas == (0.4, 0.7)


def test_resamples_without_a_success_say_nothing() -> None:
    """Two of ten runs succeed, at one γ: a resample misses both in 0.8 ** 10 of the cases, and the others agree."""
    runs = np.full((3, 10), 60)
    runs[1, :2] = 20
    found = optimum(runs, (0.2, 0.6, 1.0), np.random.default_rng(1), most=60)
    assert found["interval"] == [0.6, 0.6]
    assert found["unsuccessful"] == pytest.approx(0.8**10, abs=0.02)
    entry = {**found, "size": 3, "variability": 0.0}
    (line,) = told({"optima": [entry], "variability_costs": [], "missed": 0}, 60)
    assert f"(95 % of resamples 0.6 to 0.6, but for the {found['unsuccessful']:.1%} of them without a success)" in line
    assert optimum(runs[:1], (0.2,), np.random.default_rng(1), most=60)["interval"] is None


def test_fewer_episodes_than_the_benchmark_takes_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["network", "run", "maze", "--episodes", "0", "-o", str(tmp_path / "out")]) == 2
    shown = capsys.readouterr().err
    assert "5 successes in a row do not fit into 0 episodes" in shown
    assert shown.count("\n") == 1


def test_nothing_is_measured_on_the_runs_that_chose_it() -> None:
    """Of γ that do not differ the best of the runs at hand seems better; chosen on other runs it does not."""
    rng = np.random.default_rng(3)
    gammas, sets = (0.2, 0.5, 0.8, 1.0), rng.integers(20, 60, (200, 4, 20))
    found = np.array([
        [optimum(runs, gammas, rng)["ends"][-1]["more"], (runs[-1] - runs[runs.mean(axis=1).argmin()]).mean()]
        for runs in sets
    ])  # fmt: skip
    apart, together = found.mean(axis=0)
    assert abs(apart) < 3.0 * found[:, 0].std() / np.sqrt(200) < 1.0
    assert together > 2.0
    assert chosen_apart(np.array([[1, 9, 1, 9], [5, 5, 5, 5]]), np.array([[0, 1, 2, 3], [4, 5, 6, 7]])).tolist() == [
        4.0, 1.0, 6.0, 3.0
    ]  # fmt: skip
    assert chosen_apart(np.array([[3], [2]]), np.array([[0], [1]])).tolist() == [1.0]


def test_variabilities_are_compared_with_the_least() -> None:
    system = replace(SMALL, variabilities=(1.0, 0.0, 0.5), gammas=(0.8, 1.0))
    assert system.variabilities == (0.0, 0.5, 1.0)
    result = run_network(system)
    cube = result.seeds[0].arrays.episodes_3
    for k, cost in enumerate(result.seeds[0].values["variability_costs"], start=1):
        assert (cost["at"], cost["against"]) == (system.variabilities[k], 0.0)
        assert cost["more"] == chosen_apart(cube[0], cube[k] - cube[0]).mean()
    assert any("episodes at variability 100% against 0%" in line for line in result.lines())


def test_no_loss_is_a_limit_and_not_a_step() -> None:
    """An e-update of 10 ns and three time constants of the fast pole have to fit into a step."""
    most = least_loss(SETTINGS, P)
    assert step_time(most, P) == pytest.approx(10e-9 + 3.0 * float(P.tau_fast))
    system = replace(SMALL, gammas=(0.8, 0.95, 0.99, 1.0))
    assert system.limits == (0.99, 1.0)
    assert system.to_dict([])["step_s"] == [step_time(0.8, P), step_time(0.95, P), None, None]
    assert any("gamma 0.99, 1: a limit without loss, not a step" in line for line in system.lines([]))


def test_an_error_that_is_not_known_is_said() -> None:
    """A lone run, and runs that are all alike, have none to show."""
    ends = [{"gamma": 0.5, "more": 1.5, "error": 0.0}, {"gamma": 0.99, "more": 2.0, "error": 0.4}]
    best = {"size": 3, "variability": 0.0, "gamma": 0.9, "episodes": 4.0, "interval": [0.9, 0.9],
            "unsuccessful": 0.0, "ends": ends}  # fmt: skip
    (line,) = told({"optima": [best], "variability_costs": [], "missed": 0}, 60)
    assert line.endswith("+1.5 (no error is known) at 0.5, +2.0 ± 0.4 at 0.99")


def test_no_gamma_is_the_best_where_no_run_succeeds() -> None:
    """Five successes in a row take all of five episodes of a step: all count alike. The figure has numbers still."""
    system = replace(
        SMALL, settings=SETTINGS.with_(episodes=5, longest=0.1), gammas=(0.6, 0.9), variabilities=(0.0, 0.5)
    )
    result = run_network(system)
    values = result.seeds[0].values
    assert [(entry["gamma"], entry["interval"]) for entry in values["optima"]] == [(None, None)] * 2
    assert told(values, 5) == [
        "3 x 3: no run reached the benchmark before its last episode, so no gamma is the best",
        "3 x 3: what variability 50% costs against 0% is not known: at 0% and 50% no run reached the benchmark in time",
        "8 runs missed the benchmark within 5 episodes and count with as many: means with such runs are lower bounds",
    ]
    ax = plot_gammas(system, result.seeds[0]).axes[0]
    low, high = ax.get_ylim()
    assert any(low <= at <= high for at in ax.get_yticks())


def test_only_costs_of_a_variability_at_which_no_run_succeeds_are_left_out() -> None:
    best = {"size": 3, "episodes": 9.0, "interval": [0.9, 0.9], "unsuccessful": 0.0, "ends": []}
    optima = [{**best, "variability": v, "gamma": gamma} for v, gamma in ((0.0, 0.9), (0.1, 0.9), (1.0, None))]
    costs = [{"size": 3, "at": v, "against": 0.0, "more": 5.0, "error": 1.0} for v in (0.1, 1.0)]
    assert told({"optima": optima, "variability_costs": costs, "missed": 0}, 60)[1:] == [
        "3 x 3: +5.0 ± 1.0 episodes at variability 10% against 0%, at the best gamma of the latter",
        "3 x 3: what variability 100% costs against 0% is not known: at 100% no run reached the benchmark in time",
    ]


@pytest.mark.parametrize(("tested", "beyond"), [((-10.0, 3.0), 1), ((-5.0, 10.0), 1), ((-10.0, 10.0), 0)])
def test_the_tested_pulses_need_not_be_as_many_either_way(
    tested: tuple[float, float], beyond: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of -8 and of 4 pulses."""
    monkeypatch.setattr(MazeSystem, "tested", tested)
    monkeypatch.setattr(maze, "worth", lambda *_: np.array([-0.2, 0.1]))
    runs = MazeRuns(replace(SMALL, settings=SETTINGS.with_(pulses=40.0), runs=1), Streams(0))
    runs.learn(0)
    assert runs.pulses.tolist() == [[[-8.0, 4.0]]]
    assert runs.beyond.tolist() == [[beyond]]


def test_writes_beyond_the_tested_pulses_are_told() -> None:
    """+1 of reward is 9.2 pulses at 40 per unit, and 18.5 at 80."""
    usual, strong = (
        run_network(replace(SMALL, settings=SETTINGS.with_(pulses=pulses, rewards=Rewards(step=0.0))))
        for pulses in (40.0, 80.0)
    )
    assert usual.seeds[0].values["pulses"][1] == pytest.approx(40.0 * (1.0 / (1.0 + math.exp(-1.0)) - 0.5))
    assert usual.seeds[0].values["writes_beyond"] == 0.0
    assert strong.seeds[0].values["pulses"][1] == pytest.approx(80.0 * (1.0 / (1.0 + math.exp(-1.0)) - 0.5))
    assert strong.seeds[0].values["writes_beyond"] > 0.5
    assert any("-10 to 10 pulses for which the devices' map is tested" in line for line in strong.lines())


def test_the_success_ratio_is_over_the_largest_share() -> None:
    episodes = np.array([[[10, 20, 40, 60]], [[10, 20, 29, 30]]])
    reached = np.array([[[1, 1, 1, 1]], [[1, 1, 1, 0]]])
    assert success_ratio(episodes, reached, 3).tolist() == [[2 / 3], [1.0]]


def test_the_figures_of_the_maps() -> None:
    system = replace(SMALL, alphas=(0.0, 0.01), gammas=(1.0, 0.8), runs=1)
    result = run_network(system)
    drawn = result.figures()
    assert set(drawn) == {"episodes", "gamma", "successes"}
    labels = [text.get_text() for text in drawn["episodes"].axes[0].get_yticklabels()]
    assert not drawn["gamma"].axes[0].collections  # one run has no error to draw
    assert "one run a point" in drawn["gamma"].axes[0].get_title()
    image, mean = drawn["episodes"].axes[0].images[0], result.seeds[0].arrays["episodes_3"].mean(axis=2)
    assert image.get_clim() == (mean.min(), mean.max())
    assert labels == [f"0.8  ({step_time(0.8, P) * 1e9:.0f} ns)", "1  (no loss, limit)"]
