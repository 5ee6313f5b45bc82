"""The core that networks share: parts, graphs that cannot be, random numbers, and both loops bit by bit."""

import math
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import SimpleNamespace as Named
from typing import ClassVar

import numpy as np
import pytest

from cosim.errors import EngineMissing, InputError, UnknownName
from cosim.network import (
    ALIF,
    LIF,
    Current,
    Graph,
    Ideal,
    Leaky,
    Poisson,
    Population,
    Projection,
    Rate,
    Regular,
    Rule,
    Simulation,
    Softmax,
    Source,
    WinnerTakesAll,
)
from cosim.network.noise import draws, key_of, quantiles
from cosim.network.plasticity import PairStdp, PostStdp, Vdsp
from cosim.network.spice_check import Watch
from cosim.network.systems.vdsp_settings import ENCODER
from cosim.parameters import ParameterSet
from cosim.surrogate.model import Surrogate

NEURON = LIF(tau=20.0, threshold=1.0, reset=0.0, refractory=2.0)
BOTH = ["numpy", pytest.param("numba", marks=pytest.mark.needs("numba"))]


# -- neurons -----------------------------------------------------------------------------------------------------------


def stepped(model: LIF, drive: float, steps: int, *, dt: float = 1.0) -> list[tuple[float, bool]]:
    p, x, found = Named(**model.parameters(dt)), {n: np.array([v]) for n, v in model.states.items()}, []
    for _ in range(steps):
        x, above = model.step(Named(**x), drive, p)
        if fires := bool(above[0] > 0.0):
            x |= {name: np.array([value]).ravel() for name, value in model.spiked(Named(**x), p).items()}
        found.append((float(x["v"][0]), fires))
    return found


def test_a_lif_neuron_follows_its_closed_form() -> None:
    neuron = LIF(29.0, 1.0, -1.0, 1.0)
    for k, (v, fires) in enumerate(stepped(neuron, 0.02 * neuron.gain(1.0), 40), start=1):
        # Exact for a constant current, so only rounding is left.
        assert v == pytest.approx(0.02 * 29.0 * (1 - math.exp(-k / 29.0)), abs=1e-14)
        assert not fires
    fine = stepped(neuron, 0.02 * neuron.gain(0.25), 160, dt=0.25)
    assert fine[-1][0] == pytest.approx(v, abs=1e-13)


def test_the_published_background_ends_just_below_threshold() -> None:
    mean, deviation = ENCODER.drive(np.array([0.0, 0.1, 0.5, 1.0]), dt=1.0)
    assert mean[0] * 29.0 * (1 - math.exp(-40 / 29.0)) == pytest.approx(0.958, abs=0.001)
    assert mean[1] == mean[0]
    assert (mean[2], mean[3]) == pytest.approx((0.1, 0.2))
    assert deviation[3] == pytest.approx(0.04)


def test_a_spike_resets_and_holds() -> None:
    # Without a leak; held for three steps, the spike's own among them.
    found = stepped(LIF(1e18, 1.0, -1.0, 3.0), 0.2, 10)
    assert [round(v, 9) for v, _ in found[5:]] == [-1.0, -1.0, -1.0, -0.8, -0.6]
    assert [fires for _, fires in found[4:7]] == [False, True, False]


def test_an_adaptive_threshold_relaxes() -> None:
    neuron = ALIF(11.51, 8.2, 0.0, 3.0, 1.1, 115.1)
    x, above = neuron.step(Named(v=2.0, hold=0.0, raised=1.1), 3.0, Named(**neuron.parameters(1.0)))
    assert x["v"] == pytest.approx(2.0 * math.exp(-1 / 11.51) + 3.0)
    assert above == pytest.approx(x["v"] - 8.2 - 1.1 * math.exp(-1 / 115.1))


@pytest.mark.parametrize("backend", BOTH)
def test_a_winner_clamps_the_others(backend: str) -> None:
    always = Population("a", 1, Source(), Current())
    outputs = Population("b", 2, LIF(1e18, 2.5, 0.0, 3.0), winner=WinnerTakesAll(12.0))
    graph = Graph((always, outputs), (Projection("a", "b", Ideal(), np.array([[1.0, 0.9]])),))
    simulation = Simulation(graph, backend=backend)
    found = simulation.run({"a": [[1.0]]}, steps=20, key=0, record=["b.v", "b.hold"])
    # The winner is free again in the third step after its spike, and needs three inputs.
    assert found.counts["b"].tolist() == [[4, 0]]
    assert found.records["b.hold"][0, 2].tolist() == [3.0, 12.0]
    assert found.records["b.v"][0, 2].tolist() == [0.0, 0.0]


@pytest.mark.parametrize("backend", BOTH)
def test_encoders_give_the_rates_that_they_are_asked_for(backend: str) -> None:
    graph = Graph((Population("p", 300, Source(), Poisson(40.0)), Population("r", 2, Regular(), Rate(50.0))))
    values = np.tile([1.0, 0.5, 0.0], 100)
    found = Simulation(graph, backend=backend).run({"p": [values] * 3, "r": [[1.0, 0.2]] * 3}, steps=1000, key=9)
    for k, rate in enumerate((40.0, 20.0, 0.0)):
        counts = found.counts["p"][:, k::3]
        assert abs(counts.mean() - rate) <= 4.0 * np.sqrt(rate / counts.size)  # four standard errors
    assert found.counts["r"].tolist() == [[50, 10]] * 3


# -- random numbers ----------------------------------------------------------------------------------------------------


def test_random_numbers_are_those_of_their_place() -> None:
    whole = draws(key_of(1, 2), "normal", first=0, steps=40, n=500)
    np.testing.assert_array_equal(draws(key_of(1, 2), "normal", first=7, steps=3, n=500), whole[7:10])
    assert key_of(1, 2) != key_of(2, 1)
    other = draws(key_of(1, 3), "normal", first=0, steps=40, n=500)
    count = whole.size
    for x in (whole, other, whole * other):
        assert abs(x.mean()) < 4.0 / np.sqrt(count)
        assert abs(x.var() - 1.0) < 4.0 * np.sqrt(10.0 / count)
    assert abs(np.mean(whole[:, :-1] * whole[:, 1:])) < 4.0 / np.sqrt(count)
    assert abs(np.mean(whole[:-1] * whole[1:])) < 4.0 / np.sqrt(count)
    sums = quantiles()[:, None] + quantiles()
    assert sums.var() == pytest.approx(1.0, abs=1e-12)
    assert np.mean(sums**4) == pytest.approx(2.986, abs=1e-3)
    assert sums.max() == pytest.approx(4.666, abs=1e-3)
    u = draws(5, "uniform", first=0, steps=100, n=1000)
    assert 0.0 < u.min() < u.max() < 1.0
    from scipy.stats import kstest

    assert kstest(u.ravel(), "uniform").pvalue > 1e-4
    assert kstest(whole.ravel(), "norm").pvalue > 1e-4


# -- both loops --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Everything(Rule):
    """Uses every hook and quantity that there is."""

    pre: ClassVar[Mapping[str, float]] = {"trace": 0.0}
    post: ClassVar[Mapping[str, float]] = {"trace": 0.5}
    states: ClassVar[Mapping[str, float]] = {"eligible": 0.0}
    sums: ClassVar[tuple[str, ...]] = ("total",)
    noisy: ClassVar[bool] = True
    every: int = 3

    def parameters(self, dt: float, *, ticks: float = 1.0) -> dict[str, float]:
        return {"left": math.exp(-ticks * dt / 20.0), "rate": 0.01}

    def each_pre(self, s):
        return {"trace": s.pre.trace * s.p.left + s.pre.spike}

    def each_post(self, s):
        return {"trace": s.post.trace * s.p.left + s.post.spike + 0.001 * s.post.total + s.post.signal}

    def on_pre(self, s):
        return {
            "eligible": s.own.eligible * s.p.left - s.post.trace,
            "change": 0.1 * s.p.rate * s.random / (1.0 + s.now),
        }

    def on_post(self, s):
        return {"change": s.p.rate * (s.pre.trace - s.weight), "when": s.pre.trace > 0.05}

    def on_step(self, s):
        return {"eligible": s.own.eligible + s.post.v * s.pre.trace, "total": np.abs(s.cell.w - 0.5)}

    def on_end(self, s):
        return {"change": 1e-4 * s.own.eligible}

    def on_gap(self, s):
        return {"eligible": s.own.eligible * s.p.left, "total": np.abs(s.cell.w - 0.5), "change": 1e-4 * s.random}


def everything(cells: Surrogate | Ideal | None = None, *, pair: bool = False) -> Graph:
    """Delays, recurrence, pairs, read-outs that teach, neurons that differ, and frames."""
    rng = np.random.default_rng(0)
    inputs = Population("in", 20, Source(), Poisson(200.0))
    hidden = Population(
        "hidden", 12, ALIF(15.0, 0.8, 0.0, 2.0, 0.1, 80.0), own={"threshold": rng.uniform(0.6, 1.0, 12)}
    )
    noisy = Population("noisy", 8, NEURON, Current(0.5), winner=WinnerTakesAll(1.0, groups=2))
    out = Population("out", 3, Softmax(20.0))
    plain, mask = Ideal(-2.0, 2.0), rng.random((8, 12)) < 0.7
    return Graph(
        (inputs, noisy, hidden, out),
        (
            Projection("in", "hidden", plain, rng.uniform(0.0, 0.3, (20, 12)), rule=Everything(), pair=pair, gain=1.5),
            Projection("noisy", "hidden", plain, rng.uniform(0.0, 0.3, (8, 12)), delay=3.0, rule=PairStdp(), mask=mask),
            Projection("hidden", "hidden", plain, rng.uniform(-0.2, 0.2, (12, 12)), delay=1.0, rule=PostStdp()),
            Projection("hidden", "out", plain, rng.uniform(-0.5, 0.5, (12, 3))),
            Projection("out", "hidden", plain, rng.uniform(-0.1, 0.1, (3, 12)), sends="error", into="signal"),
        ),
    )


def shown(simulation: Simulation, **changes):
    rng = np.random.default_rng(1)
    inputs = {"in": rng.random((4, 5, 20)), "noisy": 0.15 * rng.random((4, 8))}
    teach = {"out": np.eye(3)[rng.integers(0, 3, (4, 5))]}
    record = ["hidden.v", "out.error", "hidden.signal"]
    return simulation.run(inputs, steps=60, key=7, signals=teach, record=record, **changes)


@pytest.mark.needs("numba")
@pytest.mark.parametrize("pair", [False, True])
def test_both_loops_give_the_same_bits(pair: bool) -> None:
    simulations = [Simulation(everything(pair=pair), backend=name) for name in ("numpy", "numba")]
    for changes in ({"gap": 10.0}, {"fresh": True}, {"learn": False}, {"fresh": True, "learn": False}):
        ours, theirs = (shown(simulation, **changes) for simulation in simulations)
        for name, counts in ours.counts.items():
            np.testing.assert_array_equal(theirs.counts[name], counts)
            assert name == "out" or counts.sum() > 20
        for name, values in ours.records.items():
            # The softmax's exponential is another library's, and teaches the weights: a few units in the last place.
            np.testing.assert_allclose(theirs.records[name], values, rtol=1e-12, atol=1e-14)
        for name, x in simulations[0].state().items():
            np.testing.assert_allclose(simulations[1].state()[name], x, rtol=1e-12, atol=1e-14, err_msg=name)


@pytest.mark.needs("numba")
def test_the_same_weights_to_the_bit_where_both_call_the_same_library() -> None:
    """numpy's own exponentials are switched off in a process of its own: then not a bit differs, with any map."""
    code = (
        "import numpy as np\n"
        "from network.test_core import Simulation, cells, everything, shown\n"
        "for graph, inputs in ((everything(), None), *cells()[::2]):\n"
        "    found = []\n"
        "    for backend in ('numpy', 'numba'):\n"
        "        s = Simulation(graph, backend=backend)\n"
        "        shown(s) if inputs is None else s.run(inputs, steps=40, key=3, gap=10.0)\n"
        "        found.append(s.state())\n"
        "    for name, x in found[0].items():\n"
        "        assert np.array_equal(x, found[1][name]), name\n"
        "print('the same')\n"
    )
    environment = {**os.environ, "NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL AVX512_SPR"}
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.stdout == "the same\n", done.stderr


def cells() -> list[tuple[Graph, dict[str, np.ndarray]]]:
    """Networks on memristors by the published map and by the rate law, alone and in a cell."""
    tio2, found = ParameterSet.load("tio2"), []
    inputs = {"a": np.random.default_rng(2).random((5, 30))}
    for surrogate in (Surrogate(tio2, "published"), Surrogate(tio2), Surrogate(tio2.for_device("cell_1t1r"))):
        a = Population("a", 30, LIF(29.0, 1.0, -1.0, 1.0), ENCODER)
        b = Population("b", 5, ALIF(11.5, 2.0, 0.0, 3.0, 0.3, 115.0), winner=WinnerTakesAll(12.0))
        rule = Vdsp.of(surrogate, scale_p=1.05, scale_d=1.11)
        w = np.random.default_rng(3).random((30, 5))
        found.append((Graph((a, b), (Projection("a", "b", surrogate, w, rule=rule),)), inputs))
    return found


@pytest.mark.parametrize("backend", BOTH)
def test_a_run_in_parts_goes_on_to_the_same_state(backend: str) -> None:
    graph, inputs = cells()[1]
    whole, first, then = (Simulation(graph, backend=backend) for _ in range(3))
    for key in (3, 4):
        whole.run(inputs, steps=40, key=key, gap=10.0)
    first.run(inputs, steps=40, key=3, gap=10.0)
    then.restore(first.state())
    then.run(inputs, steps=40, key=4, gap=10.0)
    for name, x in whole.state().items():
        np.testing.assert_array_equal(then.state()[name], x)
    with pytest.raises(InputError, match="it is another one"):
        then.restore({"clock": np.array(0)})


def test_inputs_are_encoded_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = shown(Simulation(everything(), backend="numpy"))
    monkeypatch.setattr("cosim.network.simulation.ENCODED", 20 * 5 * 3)  # three of the four presentations
    parts = shown(Simulation(everything(), backend="numpy"))
    for name, counts in whole.counts.items():
        np.testing.assert_array_equal(parts.counts[name], counts)
    for name, values in whole.records.items():
        np.testing.assert_array_equal(parts.records[name], values)


@pytest.mark.parametrize("backend", BOTH)
def test_watched_cells_are_noted(backend: str) -> None:
    graph, inputs = cells()[1]
    simulation = Simulation(graph, backend=backend)
    bar = simulation.cells["a_to_b"]
    bar.watch = Watch(bar, 20, np.random.default_rng(0))
    before = bar.w.copy()
    counts = simulation.run(inputs, steps=40, key=3).counts["b"].sum(axis=0)
    assert counts.sum() > 0
    for (row, column), drives in zip(bar.watch.cells, bar.watch.drives, strict=True):
        assert len(drives) == counts[column]
        w = before[row, column]
        for volts in drives:
            w = float(bar.surrogate.update(w, volts))
        assert w == pytest.approx(bar.w[row, column], abs=1e-14)


@pytest.mark.parametrize("backend", BOTH)
def test_volatile_cells_rest_on_access(backend: str) -> None:
    """One presynaptic spike reads what the rest of all time since has left of the state, and nothing before it does."""
    cell = Surrogate(ParameterSet("ecram", "defaults", {}), "write")
    state = {"m_fast": np.full((2, 1), 0.4), "m_slow": np.full((2, 1), 0.3), "w": np.full((2, 1), 0.4)}
    a = Population("a", 2, Source(), Current())
    b = Population("b", 1, Leaky(1e18))
    simulation = Simulation(Graph((a, b), (Projection("a", "b", cell, state),), dt=10.0), backend=backend)
    frames = np.zeros((1, 30, 2))
    frames[0, 20, 0] = 1.0
    before = simulation.cells["a_to_b"].weight.copy()
    y = simulation.run({"a": frames}, steps=30, key=1, record=["b.y"]).records["b.y"][0, -1, 0]
    x = cosim_values({name: np.array([values[0, 0]]) for name, values in state.items()})
    rested = cell.rest(x, 0.2)
    share = cell.read(rested)["conductance"] / cell.full_scale("conductance")
    assert y == pytest.approx(share[0], rel=1e-12)
    assert y < before[0, 0]
    assert simulation.cells["a_to_b"].weight[1, 0] == before[1, 0]  # never read, never computed
    simulation.run({"a": frames}, steps=30, key=1, learn=False, fresh=True)
    assert simulation.clock == 30


def cosim_values(values):
    from cosim.devices.base import Values

    return Values(values)


@pytest.mark.parametrize("backend", BOTH)
def test_pair_stdp_has_its_window(backend: str) -> None:
    """A weight's change by the interval between two spikes is the textbook's pair of exponentials."""
    rule = PairStdp(tau_pre=17.0, tau_post=34.0, at_pre=-0.01, at_post=0.02)
    for interval in (-30, -1, 1, 12):
        a, b = (Population(name, 1, Source(), Current()) for name in "ab")
        teacher = Projection("a", "b", Ideal(), np.array([[0.5]]), rule=rule, name="learned", gain=-1e-9)
        simulation = Simulation(Graph((a, b), (teacher,)), backend=backend)
        spikes = np.zeros((2, 1, 100, 1))
        spikes[0, 0, 50], spikes[1, 0, 50 + interval] = 1.0, 1.0
        simulation.run({"a": spikes[0], "b": spikes[1]}, steps=100, key=0)
        expected = 0.02 * math.exp(-interval / 17.0) if interval > 0 else -0.01 * math.exp(interval / 34.0)
        assert simulation.cells["learned"].w[0, 0] - 0.5 == pytest.approx(expected, rel=1e-9)


# -- what cannot be ----------------------------------------------------------------------------------------------------

A, B = Population("a", 3, NEURON), Population("b", 2, NEURON)
W = np.full((3, 2), 0.5)
CELL = Surrogate(ParameterSet.load("tio2"))
TWO = Surrogate(ParameterSet("thermal_reram", "defaults", {}))


class Asks(Rule):
    def on_post(self, s):
        return {"change": s.pre.calcium}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LIF(0.0, 1.0, -1.0, 1.0), "cannot work"),
        (lambda: LIF(10.0, 1.0, 2.0, 1.0), "cannot work"),
        (lambda: LIF(10.0, 1.0, 0.0, math.nan), "cannot work"),
        (lambda: ALIF(10.0, 1.0, 0.0, 1.0, -1.0, 10.0), "cannot adapt"),
        (lambda: replace(ENCODER, noise=-0.1), "negative current"),
        (lambda: Poisson(0.0), "a rate of 0.0 Hz encodes nothing"),
        (lambda: Ideal(1.0, 1.0), "leave nothing to learn"),
        (lambda: Graph(()), "needs at least one population"),
        (lambda: Graph((A,), dt=0.0), "a time step of 0.0 ms"),
        (lambda: Population("a", 0, NEURON), "a needs at least one neuron, not 0"),
        (lambda: Population("a b", 1, NEURON), "letters, digits and underscores"),
        (lambda: Population("a", 2, NEURON, own={"thresold": np.ones(2)}), "'thresold' of a; did you mean threshold"),
        (lambda: Population("a", 2, NEURON, own={"threshold": np.ones(3)}), r"threshold of a has shape \(3,\)"),
        (lambda: Population("a", 2, Leaky(1.0), winner=WinnerTakesAll()), "do not spike, and so cannot compete"),
        (lambda: Population("a", 2, NEURON, Poisson(1.0)), "Poisson cannot drive the LIF neurons of a"),
        (lambda: Population("a", 3, NEURON, winner=WinnerTakesAll(groups=2)), "do not make 2 equal groups"),
        (lambda: WinnerTakesAll(groups=0), "at least one group"),
        (lambda: Graph((A, B), (Projection("a", "b", CELL, W, mask=W.T > 0),)), r"the mask of the cells has shape"),
        (lambda: Graph((A, A)), "two parts of the network have the name a"),
        (lambda: Graph((A, B), (Projection("a", "c", Ideal(), W),)), "unknown target 'c' of the projection a_to_c"),
        (lambda: Graph((A, B), (Projection("a", "b", Ideal(), W.T),)), "a_to_b are 2 x 3, and a and b have 3 and 2"),
        (lambda: Graph((A, B), (Projection("b", "a", Ideal(), W.T),)), "b steps after a; give it a delay"),
        (lambda: Graph((A,), (Projection("a", "a", Ideal(), np.ones((3, 3))),)), "steps with itself; give it a delay"),
        (lambda: Graph((A, B), (Projection("a", "b", Ideal(), W, rule=Vdsp(1, 1, 1, 1)),)), "gives amplitude, wh"),
        (lambda: Graph((A, B), (Projection("a", "b", Ideal(), W, rule=Asks()),)), "asks for pre.calcium, and"),
        (
            lambda: Graph(
                (A, B),
                (
                    Projection(
                        "a", "b", TWO, {n: np.full((3, 2), e.range[0]) for n, e in TWO.map.states.items()},
                        rule=PostStdp(input="cell"),
                    ),
                ),
            ),
            "gives cell alone, and the map pulse of a_to_b needs heater as well; hold it at a value",
        ),
        (lambda: Graph((A, B), (Projection("a", "b", CELL, 3.0 * W),)), r"a matrix of numbers in 0\.\.1"),
        (lambda: Projection("a", "b", CELL, W, into="reward"), "unknown input 'reward' of a neuron"),
        (lambda: Projection("a", "b", CELL, W, delay=-1.0), "give a time >= 0"),
        (
            lambda: Graph((Population("r", 3, Leaky(9.0)), B), (Projection("r", "b", Ideal(), W),)),
            "neurons of r do not spike, so r_to_b sends nothing; give sends=, one of y",
        ),
    ],
)  # fmt: skip
def test_parts_that_do_not_fit(make, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"inputs": {}}, "the populations in, noisy have an encoder and no input"),
        ({"inputs": {"in": np.ones((1, 19)), "noisy": np.ones((1, 8))}}, "what is shown to in has shape"),
        ({"inputs": {"in": np.full((1, 20), np.nan), "noisy": np.ones((1, 8))}}, "not finite"),
        ({"inputs": {"in": np.ones((1, 7, 20)), "noisy": np.ones((1, 8))}}, "7 frames do not fit 60 time steps"),
        ({"inputs": {"out": np.ones((1, 3))}}, "unknown input 'out' of a population"),
        ({"steps": 0}, "a presentation of 0 steps"),
        ({"parameters": {"in_to_hiden": {}}}, "did you mean in_to_hidden"),
        ({"parameters": {"in_to_hidden": {"speed": 1.0}}}, "unknown parameter 'speed' of in_to_hidden"),
        ({"record": ["hidden.w"]}, "unknown state to record"),
    ],
)
def test_runs_that_do_not_fit(changes: dict, message: str) -> None:
    usual = {"inputs": {"in": np.ones((1, 20)), "noisy": np.ones((1, 8))}, "steps": 60, "key": 1}
    given = {**usual, **changes}
    with pytest.raises(InputError, match=message):
        Simulation(everything(), backend="numpy").run(given.pop("inputs"), **given)


def test_backends_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnknownName, match="backend"):
        Simulation(Graph((A,)), backend="fortran")
    graph = Graph((Population("a", 1, Source(), Poisson(1.0)),))
    monkeypatch.setattr("cosim.network.simulation.find_spec", lambda name: None)
    assert Simulation(graph).backend == "numpy"
    monkeypatch.setitem(sys.modules, "numba", None)  # as if it were not installed
    from cosim.network import kernel, noise

    noise.helpers.cache_clear()
    kernel._compiled.cache_clear()
    with pytest.raises(EngineMissing, match="needs the package numba, which is not installed"):
        Simulation(graph, backend="numba").run({"a": [[1.0]]}, steps=1, key=0)
