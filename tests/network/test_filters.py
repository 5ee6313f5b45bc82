"""Synapses as temporal filters: what they pass, trains, thresholds, accuracies, energy, and what is refused."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cosim.bench.stimulus_kinds import Spikes
from cosim.bench.testbench import Testbench
from cosim.cli.app import main
from cosim.devices.base import Values
from cosim.errors import CosimError, InputError
from cosim.network import Current, Graph, Leaky, Population, Projection, Simulation, Source
from cosim.network.facilitation import Facilitating
from cosim.network.run import SeedResult, Streams, run_network
from cosim.network.systems.filters import LAYERS, WITH, WITHOUT, FilterLayers, FiltersSystem, rectified, windows
from cosim.network.systems.filters_energy import BENCH, NeuronEnergy, fitted
from cosim.network.systems.filters_settings import FilterSettings, corner, response
from cosim.network.systems.filters_trains import SHAPES, Trains
from cosim.parameters import ParameterSet

SMALL = FilterSettings(scales=(0.3, 3.0), shares=(0.4, 0.15))
PATTERNS = Trains("patterns", train=12, test=12)
P = ParameterSet.load("ecram:fast").resolved()


def by_hand(intervals: list[float], scale: float) -> list[float]:
    """Conductance before each spike, over that at rest: the equations of the device's docstring, written out."""
    r0 = 1.0 / (float(P.g_off) + float(P.w0) * (float(P.g_on) - float(P.g_off)))
    room, u, found = r0 - float(P.r_min), 0.0, []
    for interval in intervals:
        found.append(r0 / (r0 - room * u))
        u = (u + (1.0 - u) * float(P.dr) / room) * math.exp(-interval / (scale * float(P.tau_fast)))
    return found


def test_a_synapse_passes_what_its_equations_say() -> None:
    """The steady state of u = (u + k (1 − u)) a, in closed form; slower synapses open at lower rates."""
    rates = np.geomspace(1e4, 2e7, 9)
    r0 = 1.0 / (float(P.g_off) + float(P.w0) * (float(P.g_on) - float(P.g_off)))
    room = r0 - float(P.r_min)
    k, found = float(P.dr) / room, response(SMALL, rates)
    for column, scale in enumerate(SMALL.scales):
        a = np.exp(-1.0 / (rates * scale * float(P.tau_fast)))
        u = k * a / (1.0 - a * (1.0 - k))
        np.testing.assert_allclose(found[:, column], r0 / (r0 - room * u), rtol=1e-6)  # where it counts as steady
    assert SMALL.taus() == pytest.approx([6e-6, 60e-6])
    first, second = corner(SMALL, np.geomspace(1e4, 2e7, 61))
    assert second < 0.5 * first


def test_spikes_of_a_network_facilitate_as_the_device_does() -> None:
    """Weights at irregular spikes, kept up to date by rest on access: against the equations written out."""
    at, scales = np.array([3, 5, 30, 31, 90]), np.array([[0.3, 3.0]])
    source, out = Population("input", 1, Source(), Current()), Population("out", 2, Leaky(1e9))
    cells = SMALL.cells(scales, stp=True)
    rest = float(np.ravel(cells.read(cells_state(scales))["conductance"])[0]) / cells.full_scale("conductance")
    synapses = Projection("input", "out", cells, SMALL.rest((1, 2)), rule=Facilitating(), gain=1.0 / rest)
    drives = np.zeros((2, 100, 1))
    drives[:, at] = 1.0
    network = Simulation(Graph((source, out), (synapses,), 2e-5), backend="numpy")
    pause = SMALL.pause(2e-8)
    y = network.run({"input": drives}, steps=100, key=0, fresh=True, gap=pause, record=["out.y"]).records["out.y"]
    intervals = [*(np.diff(at) * 20e-9), 1.0]
    for column, scale in enumerate((0.3, 3.0)):
        kicks = np.diff(y[0, :, column], prepend=0.0)[at]
        assert kicks == pytest.approx(by_hand(intervals, scale), rel=1e-6)
    np.testing.assert_allclose(y[0], y[1], rtol=1e-4)  # the second train finds them at rest: e^-12 is left


def cells_state(scales: np.ndarray):
    return Values(SMALL.rest(scales.shape))


def test_counts_say_nothing_of_a_pattern() -> None:
    x, y = replace(PATTERNS, train=80).drawn(80, np.random.default_rng(0))
    counts = x.sum(axis=1)
    assert counts.min() >= PATTERNS.counts[0]
    assert counts.max() <= PATTERNS.counts[1]
    means = np.array([counts[y == k].mean() for k in range(len(SHAPES))])
    # of counts drawn alike: 7 standard deviations apart at most 3.5 errors of a mean of 80
    assert np.ptp(means) < 3.5 * counts.std() / math.sqrt(80) * 2.0
    first = np.array([np.argmax(row) for row in x])
    assert first[y == 0].mean() < 100  # within the first interval


def test_shapes_are_what_their_names_say() -> None:
    rng = np.random.default_rng(1)
    up, down = SHAPES["speeding up"](20, rng), SHAPES["slowing down"](20, rng)
    assert np.all(np.diff(up) < 0.0)
    assert up[::-1] == pytest.approx(down)
    four = SHAPES["bursts of four"](40, rng)
    assert sorted(set(four.round(6))) == [0.15, 3.55]
    assert np.diff(np.flatnonzero(four > 1.0)).tolist() == [4] * 9
    assert four.mean() == pytest.approx(1.0)
    rates, y = Trains("rates", train=40).drawn(40, np.random.default_rng(2))
    found = np.array([rates[y == k].sum(axis=1).mean() for k in range(6)]) / 40e-6
    assert found == pytest.approx(Trains("rates").rates, rel=0.2)  # 40 trains of 10 spikes and more


ENERGY = NeuronEnergy(1e-7, 3e-13, 2e-13, 0.05, (1e-12, 2e-12), (1e-7, 1.4e-6))


@pytest.fixture(scope="module")
def layers() -> FilterLayers:
    """All three layers with their answers."""
    found = FilterLayers(FiltersSystem(SMALL, (PATTERNS,), ENERGY), Streams(0))
    for batch in range(len(LAYERS)):
        found.learn(batch)
    return found


def test_thresholds_are_set_on_training_trains(layers: FilterLayers) -> None:
    spikes = layers._sets(PATTERNS)["train"][0].sum()
    for way in LAYERS:
        shares = layers.found[f"patterns/{way}/train"].sum(axis=0) / spikes
        if way == WITH:
            assert shares == pytest.approx(SMALL.share_of, abs=0.08)  # spikes are whole, and steps of a threshold wide
        assert np.all(np.diff(shares.reshape(2, 2), axis=1) < 0.0)
    without = layers.found[f"patterns/{WITHOUT}/test"]
    np.testing.assert_array_equal(without[:, :2], without[:, 2:])  # nothing tells the groups apart


def test_facilitation_tells_patterns_that_counts_do_not(layers: FilterLayers) -> None:
    values, arrays = layers.evaluate()
    found = values["accuracies"]["patterns"]
    assert found[WITH] > found["raw counts"] + 0.2
    assert found[WITH] > found[WITHOUT]
    assert found["raw counts"] < 0.35  # a sixth, but for 72 trains
    inputs = layers._sets(PATTERNS)["test"][0].sum(axis=1).mean()
    expected = 4 * (1e-7 * 40e-6 + 3e-13 * inputs) + 2e-13 * values["spikes"]["patterns"][WITH]
    assert values["energy"]["patterns"][WITH] == pytest.approx(expected)
    assert arrays["patterns_confusion"].sum() == 72
    again = FilterLayers(layers.system, Streams(0))
    again.restore(layers.state())
    assert again.evaluate()[0] == values


TINY = FiltersSystem(
    FilterSettings(scales=(1.0,), shares=(0.2,)),
    (Trains("rates", duration=5e-6, rates=(1e6, 6e6), train=3, test=3),),
    backend="numpy",
)


def test_a_run_is_written_goes_on_and_is_drawn(tmp_path: Path) -> None:
    result = run_network(TINY, folder=tmp_path)
    written = json.loads((tmp_path / "result.json").read_text())
    assert written["accuracies"]["rates"]["with STP"]["mean"] == result.mean
    assert run_network(TINY, folder=tmp_path, resume=True).scores == result.scores
    drawn = result.figures()
    assert set(drawn) == {"responses", "accuracies", "confusion"}
    assert all(ax.get_ylabel() for figure in drawn.values() for ax in figure.axes)
    assert any("not measured (--no-energy)" in line for line in result.lines())
    with pytest.raises(CosimError, match=r"train was 3 and is 4"):
        run_network(replace(TINY, tasks=(replace(TINY.tasks[0], train=4),)), folder=tmp_path, resume=True)


def test_features_of_the_baselines() -> None:
    x = np.zeros((2, 10), dtype=bool)
    x[0, [0, 1, 2, 9]] = True
    assert rectified(x, np.array([0.0, 3.0, 5.0])).tolist() == [[4.0, 1.0, 0.0], [0.0, 0.0, 0.0]]
    assert (windows(x, 2) ** 2).round(9).tolist() == [[3.0, 1.0], [0.0, 0.0]]


def test_energies_are_told_apart_by_least_squares() -> None:
    """From runs that were made of known parts."""
    spikes = np.array([9.0, 12.0, 7.0])
    core = (30 * 0.25e-12 + spikes * 0.2e-12) / spikes
    found = fitted(
        30, (1e-7, 1.4e-6), spikes, core, np.full(3, 1e-13), np.full(3, 5e-14), np.full(3, 7e-8), np.full(3, 1.5e-14)
    )
    assert found.per_spike == pytest.approx(0.2e-12)
    assert found.per_input == pytest.approx(0.265e-12)
    assert found.off < 1e-9
    assert found.quoted == pytest.approx((core.min() + 1.5e-13, core.max() + 1.5e-13))
    assert float(found.of(1e-6, 10, 3)) == pytest.approx(7e-14 + 2.65e-12 + 0.6e-12)


RUN = ["network", "run", "filters", "--no-figures", "--no-energy", "--seeds", "0", "--backend", "numpy"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--tasks", "tones"], "unknown task 'tones'"),
        (["--parameters", "tio2"], "is of the device threshold_memristor, which spikes do not facilitate"),
        (["--scales", "1,1"], "the scales of the layer are 1, 1; give different numbers above zero"),
        (["--shares", "1.5"], "a neuron cannot spike 1.5 times per input spike; give shares below 1"),
        (["--membrane", "0 s"], "cannot work; give a membrane above zero"),
        (["--train", "1"], "1 trains of a class to learn and 60 to test cannot be judged"),
        (["--step", "1 us"], "share time steps of 1e-06 s"),
        (["--rates", "2 MHz"], "cannot be told in 4e-05 s; give two or more"),
        (["--rates", "1 MHz,1 MHz"], "of the rates 1 MHz, 1 MHz some are the same, which no layer can tell apart"),
        (["--rates", "1 MHz,2 MHz,1.0000001 MHz"], "some are the same"),
        (["--delay", "1 V"], "V"),
    ],
)
def test_bad_input(words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*RUN, *words, "-o", str(tmp_path / "out")]) == 2
    shown = capsys.readouterr().err
    assert shown.count("\n") == 1
    assert message in shown


def test_tasks_differ() -> None:
    with pytest.raises(InputError, match="a layer needs different tasks, not patterns, patterns"):
        FiltersSystem(SMALL, (PATTERNS, PATTERNS))


def test_energy_outside_the_bench_is_told(layers: FilterLayers) -> None:
    x = np.zeros((2, 120), dtype=bool)
    x[0, [0, 4, 24, 104]] = True  # 0.08, 0.4 and 1.6 us
    x[1, [7, 12, 22]] = True  # 0.1 us, which is the band's end, and 0.2 us
    assert ENERGY.beyond(x, 20e-9) == pytest.approx((0.08 + 1.6) / (0.08 + 0.4 + 1.6 + 0.1 + 0.2))
    values, arrays = layers.evaluate()
    assert 0.0 < values["energy_beyond"]["patterns"] < 1.0
    told = layers.system.lines([SeedResult(0, Values(values), Values(arrays), 1.0)])
    assert any("in intervals outside its 0.1 to 1.4 us: extrapolated" in line for line in told)


def test_the_bench_of_the_energy_has_what_is_asked_of_it() -> None:
    bench = Testbench.load(BENCH)
    assert {"spikes", "energy_core", "energy_bias", "energy_gates", "bias_power", "drive_per_input"} <= {
        *bench.file.measures
    }
    stimulus = bench.file.stimuli["input"]
    assert isinstance(stimulus, Spikes)
    assert stimulus.count == 30
