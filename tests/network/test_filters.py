"""Synapses as temporal filters: what they pass, trains, thresholds, accuracies, energy, and what is refused."""

import json
import math
import re
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from cosim.bench.testbench import Testbench
from cosim.cli.app import main
from cosim.devices.base import Values
from cosim.errors import CosimError, InputError
from cosim.network import Current, Graph, Leaky, Population, Projection, Simulation, Source
from cosim.network.facilitation import Facilitating
from cosim.network.run import SeedResult, Streams, run_network
from cosim.network.systems.filters import LAYERS, WITH, WITHOUT, FilterLayers, FiltersSystem, rectified, windows
from cosim.network.systems.filters_energy import (
    AT_REST,
    BENCH,
    LEAK,
    Drawn,
    EnergyCertificate,
    NeuronEnergy,
    certified,
    circuit_of,
    conductances,
    events,
    measured_energy,
)
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


CERTIFICATE = EnergyCertificate(
    "ngspice-0", "", "", 12, 12, 0.01, 0.02, 0.05, 0.0, 0.002, 1.0,
    {"threshold": (1.2, 25.0), "relaxation (s)": (1e-6, 1e-4), "inputs per us": (0.1, 5.0),
     "shortest interval (s)": (40e-9, 40e-6)},
)  # fmt: skip
ENERGY = NeuronEnergy(1e-7, 1e-8, 3e-13, 1e-13, -5e-14, 2e-13, 1e-7, 4.0, CERTIFICATE)


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
    tested, thresholds = layers._sets(PATTERNS)["test"][0], layers.found[f"patterns/{WITH}/thresholds"]
    each = [
        ENERGY.of(conductances(SMALL, tested, 20e-9, np.array([scale])), thresholds[k : k + 1], 20e-9)[0]
        for k, scale in enumerate(SMALL.scale_of)
    ]
    assert values["energy"]["patterns"] == pytest.approx(np.mean(np.sum(each, axis=0)))
    assert layers.system.thresholds(0)["patterns"] == pytest.approx(thresholds)
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


def drawn(rng: np.random.Generator, energy: NeuronEnergy, size: int = 40) -> Drawn:
    """Random trains, and the joules that a law gives them."""
    x = rng.random((size, 300)) < rng.uniform(0.02, 0.3, (size, 1))
    x[:, 0] = True
    found = conductances(FilterSettings(), x, 20e-9, np.array([0.3]))
    thresholds = rng.uniform(1.5, 12.0, size)
    joules, fired = (part[:, 0] for part in energy.of(found, thresholds[:, None], 20e-9))
    return Drawn(x, found, thresholds, np.full(size, 6e-6), joules, fired, 20e-9)


def test_a_law_is_certified_on_other_trains_than_it_is_fitted_to() -> None:
    rng = np.random.default_rng(0)
    first, other = drawn(rng, ENERGY), drawn(rng, ENERGY)
    found = certified(first, other, against="x", netlist="", simulator=0.0)
    parts = replace(found, certificate=CERTIFICATE)
    assert list(asdict(parts).values())[:8] == pytest.approx(list(asdict(ENERGY).values())[:8], rel=0.02)
    assert found.certificate.worst < 1e-3
    assert found.certificate.spikes == 1.0
    assert found.certificate.line().startswith("certified against x on 40 held-out trains")
    # errors of opposite sign do not cancel
    signs = np.where(np.arange(40) % 2, 1.1, 0.9)
    wrong = certified(first, replace(other, energy=other.energy * signs), against="x", netlist="", simulator=0.0)
    assert wrong.certificate.median == pytest.approx(0.1, rel=0.2)
    assert abs(wrong.certificate.together) < 0.05
    assert wrong.certificate.line().startswith("misses its limit against x")


def test_a_neuron_of_the_law_is_followed_event_by_event() -> None:
    """One neuron, written out."""
    x = np.zeros((1, 200), dtype=bool)
    x[0, [3, 4, 9, 11, 12, 60, 61, 62, 63]] = True
    found = conductances(FilterSettings(), x, 20e-9, np.array([1.0]))
    columns, spikes = events(found, np.array([2.2]), 20e-9, 4.0)
    v = near = kicks = lost = 0.0
    fired, free = list[int](), 0
    for k in range(200):
        v = max(v - 0.25e6 * 20e-9, 0.0) if k >= free else 0.0
        if x[0, k]:
            kick = 1.25 * found[0, k, 0] / (1.0 + found[0, k, 0] / 4.0)
            kicks += kick
            v += kick / 2.2 if k >= free else 0.0
            lost += kick if k < free else 0.0
        near += min(v, 1.0) ** 2 * 20e-9
        if v >= 1.0:
            v, free = 0.0, k + 11
            fired.append(k)
    assert len(fired) >= 2
    assert spikes[0, 0] == len(fired)
    assert columns[0, 0] == pytest.approx([4e-6, 2.2 * 4e-6, 9.0, kicks, lost, len(fired), near])
    assert lost > 0.0


def test_a_synapse_s_conductance_is_what_its_inputs_find() -> None:
    """The first at rest, those far apart at rest again, and those that follow soon above it: `response` of the map."""
    x = np.zeros((3, 4000), dtype=bool)
    x[0, [0, 3999]] = True
    x[1, ::40] = True
    found = conductances(FilterSettings(), x, 20e-9, np.array([0.1]))[:, :, 0]
    assert np.array_equal(found > 0.0, x)
    assert found[0, [0, 3999]] == pytest.approx([1.0, 1.0], abs=1e-4)
    assert found[1, 3960] == pytest.approx(response(FilterSettings(scales=(0.1,)), np.array([1.25e6]))[0, 0], rel=1e-6)


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


def test_energy_outside_the_certificate_is_told(layers: FilterLayers) -> None:
    x = np.zeros((2, 2000), dtype=bool)
    x[:, :1600:40] = True  # 40 in 40 us, every 0.8 us
    x[1, 1] = True  # 20 ns apart
    outside = ENERGY.beyond(x, np.array([2.0, 2.0, 40.0, 2.0]), np.array([6e-6, 6e-6, 6e-6, 1e-3]), 20e-9)
    assert outside == (2 + 4) / 8
    values, arrays = layers.evaluate()
    told = layers.system.lines([SeedResult(0, Values(values), Values(arrays), 1.0)])
    assert any("of the neurons and trains are outside of what the certificate covers" in line for line in told)
    assert any("certified against ngspice-0 on 12 held-out trains" in line for line in told)


def test_a_threshold_is_the_circuit_s_membrane() -> None:
    bench = Testbench.load(BENCH)
    assert bench.file.parameters["i_leak"].value == LEAK
    text = circuit_of(bench, 2.0 * AT_REST, 0.3).deck().text
    assert re.search(r"^XN .* delay_lif c_m=\{c_m\} i_leak=\{i_leak\} ", text, re.MULTILINE)
    given = [re.search(rf"^\.param\b.*\b{name}=(\S+)", text, re.MULTILINE) for name in ("c_m", "i_leak")]
    assert [float(one.group(1)) for one in given if one] == pytest.approx([1e-12, 1.5e-7])
    with pytest.raises(InputError, match="whose synapses are ecram:fast, not ecram:slow"):
        measured_energy(None, FilterSettings("ecram:slow"), (PATTERNS,), {})  # type: ignore[arg-type]
    tasks = (PATTERNS, Trains("rates", duration=20e-6))
    with pytest.raises(InputError, match="one time step and one duration"):
        measured_energy(None, FilterSettings(), tasks, {})  # type: ignore[arg-type]
