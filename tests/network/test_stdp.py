"""Four learning rules of one device by pulse shape: pairs of pulses, their rules, tasks, what is refused."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cosim.bench.testbench import Testbench
from cosim.cli.app import main
from cosim.cli.network import SYSTEMS
from cosim.devices.base import Values
from cosim.devices.integrate import sweep
from cosim.devices.pairs import beyond
from cosim.engines.registry import open_simulator
from cosim.errors import CosimError
from cosim.network import Current, Graph, Ideal, Population, Projection, Simulation
from cosim.network.pairs import IdealWindow, PulsePairs, Unit
from cosim.network.run import Streams, run_network
from cosim.network.systems.stdp import StdpNetworks, StdpSystem, Work
from cosim.network.systems.stdp_settings import IDEAL, RULES, SYNAPSES, StdpSettings
from cosim.network.systems.stdp_windows import alone, ideal, width, window
from cosim.parameters import ParameterSet
from cosim.report.stdp_figures import plot_scores
from cosim.surrogate.model import Surrogate
from reference.oracles import quantum_dot as oracle

SMALL = StdpSettings(groups=5, width=4, items=3, repeats=2, unknown=20)
LETTERS = {name: letter for letter, name in oracle.NAMES.items()}


@pytest.mark.parametrize("rule", RULES)
def test_a_pair_of_pulses_is_what_the_source_s_equations_say(rule: str) -> None:
    """Eqs. 5 and 6 over the pulses of Table 1, cut at the thresholds and typed anew in the oracle."""
    found = window(StdpSettings(), rule, oracle.DELAYS)
    expected = [oracle.change(LETTERS[rule], delay) for delay in oracle.DELAYS]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)  # q0 is given to six digits
    # far apart the two pulses act one after the other
    pre, post = alone(StdpSettings(), rule)
    model, p = Surrogate(ParameterSet.load("qd_2016"), rule).map.device, ParameterSet.load("qd_2016").resolved()
    far = window(StdpSettings(), rule, np.array([5.5]))[0]
    assert (1 + pre) * (1 + post) == pytest.approx(1 + far, abs=0.03)  # of a small charge, nearly independent
    assert model.name == "quantum_dot_memristor"
    assert p.q0 > 0.0


@pytest.mark.parametrize("rule", RULES)
def test_the_closed_form_is_the_integral_of_the_device_s_rates(rule: str) -> None:
    """With the slow discharge as well, from any charge, at shares of the amplitudes."""
    chosen = ParameterSet.load("qd_2016").with_values({"alpha_s": 4.0})
    cells, rng = Surrogate(chosen, rule), np.random.default_rng(3)
    state = Values({"q": rng.uniform(0.02, 0.9, 12)})
    inputs = Values({"delay": rng.uniform(-6e-3, 6e-3, 12), "pre": rng.uniform(0.5, 1, 12), "post": np.ones(12)})
    after = cells.step(state, inputs)[0].q
    segments = cells.map.waveform(inputs, cells.values)
    found = sweep(cells.map.device, cells.values, segments=segments, x0=state, energy=False)[0]["q"]
    # 1e-5 a step and some tens of steps; within 1e-3 of its bound the rate fades (`limits.EDGE`)
    np.testing.assert_allclose(after, found, rtol=0, atol=2e-3)


@pytest.mark.spice
def test_the_shipped_bench_has_the_same_pulses() -> None:
    """41 delays in ngspice, whose netlist has the amplitudes in its own words."""
    bench = Testbench.load("quantum_dot_symmetric")
    with open_simulator() as simulator:
        run = bench.run(simulator)
    np.testing.assert_allclose(window(StdpSettings(), "symmetric", oracle.DELAYS), run["symmetric"].values, atol=0.02)


def test_the_part_of_a_piece_beyond_a_threshold() -> None:
    a, b = np.array([1.0, -1.0, 1.0, -1.0, 2.0, 0.0]), np.array([3.0, 1.0, -3.0, -2.0, 2.0, 0.0])
    assert beyond(2.0, a, b).tolist() == [4.0, 0.5, 0.25, 0.0, 4.0, 0.0]


def taught(rule: PulsePairs | IdealWindow, cells: Surrogate | Ideal, begin: float, at: dict[int, int]) -> np.ndarray:
    """States of synapses between three units that fire at the time steps ``at`` of one presentation, of 0.1 ms."""
    units = Population("units", 3, Unit(0.5), Current())
    synapses = Projection("units", "units", cells, np.full((3, 3), begin), rule=rule, delay=0.1, name="synapses")
    drives = np.zeros((1, 60, 3))
    for unit, step in at.items():
        drives[0, step, unit] = 10.0
    network = Simulation(Graph((units,), (synapses,), 0.1), backend="numpy")
    network.run({"units": drives}, steps=60, key=0, gap=15.0, parameters={"units": {"threshold": 5.0}})
    return network.cells["synapses"].w.copy()


def test_a_synapse_sees_both_pulses_or_the_one_there_is() -> None:
    cells = Surrogate(ParameterSet.load("qd_2016"), "hebbian")
    w = taught(PulsePairs(span=21.0, reach=5.5), cells, 0.2, {0: 10, 1: 20})  # 1 ms apart; unit 2 is silent

    def after(delay: float, pre: float, post: float) -> float:
        u = {"delay": np.array(delay), "pre": np.array(pre), "post": np.array(post)}
        return float(cells.step(Values({"q": np.array(0.2)}), Values(u))[0].q)

    # a presynaptic pulse comes with the projection's delay of a time step
    assert w[0, 1] == pytest.approx(after(0.9e-3, 1, 1), rel=1e-9)
    assert w[1, 0] == pytest.approx(after(-1.1e-3, 1, 1), rel=1e-9)
    assert w[0, 2] == w[1, 2] == pytest.approx(after(0.0, 1, 0), rel=1e-9)
    assert w[2, 0] == w[2, 1] == pytest.approx(after(0.0, 0, 1), rel=1e-9)
    assert w[0, 1] < 0.2 < w[1, 0]  # less charge conducts better


def test_an_ideal_weight_follows_its_window() -> None:
    w = taught(IdealWindow(21.0, 0.3, -0.2, 1.0, -0.01), Ideal(), 0.5, {0: 10, 1: 25})
    assert w[0, 1] == pytest.approx(0.5 + 0.3 * np.exp(-1.4) - 0.01)
    assert w[1, 0] == pytest.approx(0.5 - 0.2 * np.exp(-1.6) - 0.01)
    assert w[0, 2] == w[1, 2] == pytest.approx(0.49)
    assert w[2, 0] == w[2, 1] == 0.5
    chosen = IDEAL["hebbian"]
    assert ideal("hebbian", np.array([-1.0, 0.0, 1.0])) == pytest.approx(
        [chosen.before * np.exp(-1 / chosen.tau) + chosen.alone, chosen.alone,
         chosen.after * np.exp(-1 / chosen.tau) + chosen.alone]
    )  # fmt: skip


@pytest.mark.parametrize("steps", [2, 12])
def test_pulses_of_the_presentation_before_are_over(steps: int) -> None:
    """As the tasks have them: what spiked before a pause does not count again, however short a presentation is."""
    networks = StdpNetworks(StdpSystem(SMALL, {"completion": (1,)}), Streams(0))
    network = networks._made("symmetric", Work("completion", "device", 1))
    drives = np.zeros((2, steps, SMALL.size))
    drives[0, -2, [0, 4]], drives[1, 0, [8, 12]] = 1e6, 1e6
    states = []
    for shown in (drives[:1], drives[1:]):
        network.run({"units": shown}, steps=steps, key=0, gap=SMALL.pause, parameters={"units": {"threshold": 5e5}})
        states.append(network.cells[SYNAPSES].w.copy())
    moved = states[1] != states[0]
    rows = np.flatnonzero(moved.any(axis=1))
    assert rows.tolist() == [8, 12]  # a postsynaptic pulse alone charges nothing under this rule
    assert SMALL.longest < SMALL.pause + SMALL.step


def test_more_efficient_charging_widens_it_and_narrows_the_discharge() -> None:
    """Sec. IV of the source on its Fig. 4."""
    less, more = (StdpSettings(charging=factor) for factor in (0.5, 2.0))
    assert width(window(more, "hebbian"), -0.2) > width(window(less, "hebbian"), -0.2) + 1.0
    assert width(window(more, "symmetric"), 0.05) < width(window(less, "symmetric"), 0.05) - 0.5
    assert width(np.array([-1.0, 0.5, 0.5, -1.0]), 0.2, np.array([0.0, 1.0, 2.0, 3.0])) == 1.5


def test_patterns_and_times() -> None:
    s, rng = SMALL, np.random.default_rng(0)
    chosen = s.sequences(7, rng)
    assert chosen.shape == (7, 3, 5)
    assert all(len(set(chosen[k, :, g])) == 3 for k in range(7) for g in range(5))
    active = s.one_hot(chosen)
    assert active.reshape(7, 3, 5, 4).argmax(axis=3).tolist() == chosen.tolist()
    drives = s.with_(jitter=0.0).taught(active, rng)
    which, frame, unit = np.nonzero(drives)
    assert frame.tolist() == [int(10 * np.flatnonzero(active[k, :, n])[0]) for k, n in zip(which, unit, strict=True)]
    jittered = s.taught(active, rng)
    assert np.count_nonzero(jittered) == 7 * 3 * 5  # each unit once
    assert not jittered[:, -1].any()  # so that the spikes of the last item arrive


def test_each_task_is_done_by_its_rule() -> None:
    """What is learned is recalled, and by the pulses of the other rule is not: patterns few enough for any that can."""
    system = StdpSystem(
        SMALL.with_(groups=8, repeats=4),
        {"completion": (2,), "recall": (1,), "unlearning": (0, 4), "familiarity": (4,)},
    )  # fmt: skip
    result = run_network(system, seeds=(0, 1))
    table = system.table(result.seeds)
    for way in ("device", "ideal"):
        assert table["completion"][way]["2"]["mean"] > 0.9
        assert table["recall"][way]["1"]["mean"] == 1.0
        assert table["familiarity"][way]["4"]["mean"] > 0.85
        assert table["unlearning"][way]["0"]["kept"]["mean"] > 0.5
    assert table["recall"]["other pulses"]["1"]["mean"] < 0.3
    again = table["unlearning"]["device"]
    assert again["4"]["forgotten"]["mean"] < again["0"]["forgotten"]["mean"] - 0.3
    assert again["4"]["mean"] == pytest.approx(again["4"]["kept"]["mean"] - again["4"]["forgotten"]["mean"])
    assert result.mean == pytest.approx(np.mean([seed.values.right for seed in result.seeds]))
    drawn = result.figures()
    assert set(drawn) == {"windows", "scores"}
    assert drawn["scores"].get_suptitle() == "Mean of 2 seeds; bars: standard deviation of a seed"
    assert drawn["scores"].axes[0].collections
    (alone := plot_scores(system, result.seeds[:1])).draw_without_rendering()
    assert not any(ax.collections for ax in alone.axes)
    assert all(ax.get_xlabel() and ax.get_ylabel() for figure in drawn.values() for ax in figure.axes)


def test_forgetting_begins_with_the_very_devices_that_stored() -> None:
    networks = StdpNetworks(StdpSystem(SMALL.with_(spread=0.2), {"unlearning": (0,)}), Streams(0))
    stored, other = (networks._made(rule, Work("unlearning", "device", 0)) for rule in ("hebbian", "anti_hebbian"))
    for name in ("b_alpha_c", "alpha_d"):
        own = [network.cells[SYNAPSES].own[name] for network in (stored, other)]
        assert np.array_equal(*own)
        assert own[0].std() > 0.0


def test_a_run_that_stopped_goes_on(tmp_path: Path) -> None:
    system = StdpSystem(SMALL, {"recall": (1,)})
    result = run_network(system, folder=tmp_path)
    assert run_network(system, folder=tmp_path, resume=True).scores == result.scores
    written = json.loads((tmp_path / "result.json").read_text())
    assert written["scores"]["recall"]["device"]["1"]["deviation"] is None
    with pytest.raises(CosimError, match="charging was 1 and is 2"):
        run_network(replace(system, settings=SMALL.with_(charging=2.0)), folder=tmp_path, resume=True)


RUN = ["network", "run", "stdp", "--no-figures", "--seeds", "0"]


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--tasks", "recall", "--load", "1,2", "--groups", "5", "--width", "4", "--items", "3", "--spread", "10 %"]
    assert main([*RUN, *words, "-o", str(tmp_path / "out")]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "recall 1 sequence from its first item: device" in shown
    assert "recall 2 sequences from their first item: device" in shown
    assert "the device's score of recall at load 2 (the usual one, 4, was not run)" in shown
    assert main(["network", "--help"]) == 0
    listed = " ".join(capsys.readouterr().out.split())
    assert all(f"{name}: {about[:30]}" in listed for name, about in SYSTEMS.items())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--tasks", "recal"], "unknown task 'recal'; did you mean recall?"),
        (["--load", "3"], "--load 3 is of one task, and 4 are asked for"),
        (["--tasks", "recall", "--load", "0"], "the loads of recall are 0; give different whole numbers from 1"),
        (["--tasks", "recall", "--load", "a"], "--load 'a' has to be whole numbers"),
        (["--parameters", "tio2"], "is of the device threshold_memristor, which has no pulse pair hebbian"),
        (["--charging", "0"], "charging is 0; give a number above zero"),
        (["--spread", "40 %"], "a spread of 40% leaves efficiencies at or below zero"),
        (["--groups", "1"], "groups is 1; give 2 or more"),
        (["--items", "9"], "a sequence of 9 items repeats units of groups of 8, whose pulses would overlap"),
        (["--jitter", "1 V"], "V"),
    ],
)
def test_bad_input(words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*RUN, *words, "-o", str(tmp_path / "out")]) == 2
    shown = capsys.readouterr().err
    assert shown.count("\n") == 1
    assert message in shown
