"""Answers of the network core: gaps, neurons that differ, presentations on their own, and what is refused."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import SimpleNamespace as Named
from typing import ClassVar

import numpy as np
import pytest

from cosim.errors import InputError
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
from cosim.network.plasticity import PairStdp, PostStdp, Vdsp
from cosim.parameters import ParameterSet
from cosim.surrogate.learned import Law
from cosim.surrogate.model import Surrogate
from cosim.surrogate.ridges import Axis

BOTH = ["numpy", pytest.param("numba", marks=pytest.mark.needs("numba"))]
SHOWN, GAP = 12, 6


@dataclass(frozen=True)
class Eligible(Rule):
    """Has an array per synapse, which decays in each step."""

    states: ClassVar[Mapping[str, float]] = {"eligible": 0.0}
    tau: float = 15.0

    def parameters(self, dt, *, ticks=1.0):
        return {"left": math.exp(-ticks * dt / self.tau)}

    def on_step(self, s):
        return {"eligible": s.own.eligible * s.p.left + s.pre.spike * s.weight}


class EligibleInGaps(Eligible):
    def on_gap(self, s):
        return {"eligible": s.own.eligible * s.p.left}


def layered(rule: Rule | None = None) -> Graph:
    """Every model and the rules that ship; the layer's neurons are held when the gap begins."""
    rng = np.random.default_rng(0)
    held = LIF(20.0, 0.3, -0.5, 5.0)
    layer = Population("layer", 3, held, Current(), own={"tau": np.array([8.0, 20.0, 50.0])})
    competing = Population("competing", 4, ALIF(15.0, 0.4, -0.2, 3.0, 0.1, 80.0), winner=WinnerTakesAll(9.0))
    tio2 = Surrogate(ParameterSet.load("tio2"))
    return Graph(
        (
            Population("spikes", 5, Source(), Current()),
            Population("even", 2, Regular(), Rate(300.0)),
            layer,
            competing,
            Population("slow", 2, Leaky(30.0)),
            Population("out", 2, Softmax(30.0)),
        ),
        (
            Projection("spikes", "competing", Ideal(), rng.random((5, 4)), rule=PairStdp()),
            Projection("even", "competing", Ideal(), rng.random((2, 4)), rule=PostStdp()),
            Projection("layer", "competing", tio2, rng.random((3, 4)), rule=Vdsp.of(tio2, scale_p=1.05, scale_d=1.1)),
            Projection("layer", "slow", Ideal(), rng.random((3, 2)), rule=rule),
            Projection("competing", "out", Ideal(), rng.random((4, 2))),
            Projection("out", "layer", Ideal(), rng.random((2, 3)), sends="error", into="signal"),
        ),
    )


@pytest.mark.parametrize("backend", BOTH)
def test_a_gap_is_as_many_silent_steps(backend: str) -> None:
    rng = np.random.default_rng(1)
    n = SHOWN + GAP
    inputs = {
        "spikes": (rng.random((1, n, 5)) < 0.5) * 1.0,
        "even": rng.random((1, n, 2)),
        "layer": rng.random((1, n, 3)),
    }
    teach = {"out": np.tile([1.0, 0.0], (1, n, 1))}
    for values in (*inputs.values(), *teach.values()):
        values[:, SHOWN:] = 0.0
    with_gap, silent = (Simulation(layered(EligibleInGaps()), backend=backend) for _ in range(2))
    silent.run(inputs, steps=n, key=1, signals=teach)
    shown = {name: values[:, :SHOWN] for name, values in inputs.items()}
    with_gap.run(shown, steps=SHOWN, key=1, signals={"out": teach["out"][:, :SHOWN]}, gap=float(GAP))
    for name, x in silent.state().items():
        if not name.endswith("signal"):  # what a population is taught in silence is nothing in a gap
            np.testing.assert_allclose(with_gap.state()[name], x, rtol=1e-12, atol=1e-15, err_msg=name)
    assert with_gap.neurons["layer"]["v"].min() < 0.0


@pytest.mark.parametrize("held", [0.0, 1.0, 2.0, 5.0, 6.0, 7.0, 30.0])
def test_a_neuron_that_is_held_leaks_for_the_rest_of_the_gap(held: float) -> None:
    model = ALIF(20.0, 1.0, -1.0, 3.0, 0.2, 70.0)
    x = {"v": np.array([-1.0 if held else 0.4]), "hold": np.array([held]), "raised": np.array([0.5])}
    gone = model.idle(Named(**x), Named(**model.parameters(0.5, ticks=GAP)))
    for _ in range(GAP):
        x = model.step(Named(**x), 0.0, Named(**model.parameters(0.5)))[0]
    for name, value in x.items():
        assert gone[name] == pytest.approx(value, rel=1e-13, abs=1e-15), name


@pytest.mark.parametrize("model", [LIF(20.0, 0.3, -0.5, 5.0), ALIF(15.0, 0.4, -0.2, 3.0, 0.1, 80.0)])
@pytest.mark.parametrize("winner", [None, WinnerTakesAll(9.0)])
def test_steps_in_which_no_neuron_is_held_are_steps_like_others(model: LIF, winner: WinnerTakesAll | None) -> None:
    class Plain(type(model)):  # type: ignore[misc]
        def step(self, x, drive, p):
            return super().step(x, drive, p)

    shown = np.random.default_rng(4).random((3, 60, 4)) * np.repeat([0.1, 0.0, 0.02], 20)[None, :, None]
    found = []
    for one in (model, Plain(**vars(model))):
        graph = Graph((Population("layer", 4, one, Current(0.3), winner=winner),))
        simulation = Simulation(graph, backend="numpy")
        record = [f"layer.{state}" for state in model.states]
        found.append(simulation.run({"layer": shown}, steps=60, key=1, gap=2.0, record=record))
    assert found[0].counts["layer"].sum() > 2
    for name, x in found[0].records.items():
        np.testing.assert_array_equal(x, found[1].records[name], err_msg=name)


@pytest.mark.parametrize("backend", BOTH)
def test_neurons_differ_in_fields_of_their_model(backend: str) -> None:
    """Each does what a population of its own does: in the steps, by its gain, and in the gap."""
    taus, gains = np.array([10.0, 29.0, 60.0]), np.array([1.0, 2.0, 0.5])
    inputs = {"a": np.full((1, 3), 0.03), "b": np.full((1, 3), 0.4)}
    neuron = LIF(20.0, 1e6, -1.0, 1.0)

    def end(graph: Graph, **changes) -> dict[str, np.ndarray]:
        simulation = Simulation(graph, backend=backend)
        simulation.run(inputs, steps=10, key=1, gap=30.0, **changes)
        return {"a": simulation.neurons["a"]["v"], "b": simulation.neurons["b"]["y"]}

    found = end(
        Graph(
            (
                Population("a", 3, neuron, Current(), own={"tau": taus}),
                Population("b", 3, Leaky(20.0), Current(), own={"gain": gains}),
            )
        )
    )
    for k, (tau, gain) in enumerate(zip(taus, gains, strict=True)):
        left = math.exp(-30.0 / tau)
        assert found["a"][k] == pytest.approx(0.03 * tau * (1.0 - math.exp(-10.0 / tau)) * left, rel=1e-12)
        y = sum(0.4 * gain * math.exp(-j / 20.0) for j in range(10)) * math.exp(-30.0 / 20.0)
        assert found["b"][k] == pytest.approx(y, rel=1e-12)
    same = end(
        Graph(
            (
                Population("a", 3, neuron, Current(), own={"tau": taus}),
                Population("b", 3, Leaky(20.0), Current(), own={"gain": gains}),
            )
        ),
        parameters={"a": {"tau": 29.0}, "b": {"gain": 2.0}},
    )
    np.testing.assert_allclose(same["a"], found["a"][1], rtol=1e-12)
    np.testing.assert_allclose(same["b"], found["b"][1], rtol=1e-12)


@pytest.mark.parametrize("backend", BOTH)
def test_the_order_of_images_does_not_matter(backend: str) -> None:
    """Volatile cells are where they were before each presentation that is alone."""
    cell = Surrogate(ParameterSet("ecram", "defaults", {}), "write")
    state = {"m_fast": np.full((4, 2), 0.4), "m_slow": np.full((4, 2), 0.3), "w": np.full((4, 2), 0.4)}
    graph = Graph(
        (Population("a", 4, Source(), Current()), Population("b", 2, Leaky(1e3))),
        (Projection("a", "b", cell, state),),
        dt=10.0,
    )
    simulation = Simulation(graph, backend=backend)
    frames = (np.random.default_rng(3).random((5, 20, 4)) < 0.2) * 1.0
    order = np.array([3, 0, 4, 2, 1])
    answers = [
        simulation.run({"a": x}, steps=20, key=1, learn=False, fresh=True, gap=50.0, record=["b.y"]).records["b.y"]
        for x in (frames, frames[order])
    ]
    np.testing.assert_array_equal(answers[1], answers[0][order])
    assert simulation.clock == 0


@pytest.mark.parametrize("backend", BOTH)
def test_a_softmax_of_large_numbers(backend: str) -> None:
    graph = Graph((Population("out", 2, Softmax(1e15), Current()),))
    for y in ((-1000.0, -1001.0), (800.0, 750.0), (0.3, -0.2)):
        share = Simulation(graph, backend=backend).run({"out": [y]}, steps=1, key=0, record=["out.share"])
        first = 1.0 / (1.0 + math.exp(y[1] - y[0]))
        np.testing.assert_allclose(share.records["out.share"][0, 0], [first, 1.0 - first], rtol=1e-12, atol=1e-21)


@dataclass(frozen=True)
class NamedAlike(LIF):
    """A parameter of its neurons has the name of one of the cells'."""

    theta_p: float = 0.1

    def parameters(self, dt, *, ticks=1.0):
        return super().parameters(dt, ticks=ticks) | {"theta_p": self.theta_p}


@pytest.mark.needs("numba")
def test_parameters_of_neurons_and_of_cells_may_have_the_same_name() -> None:
    tio2 = ParameterSet.load("tio2")
    name = "theta_p"
    rng = np.random.default_rng(5)
    theta = tio2.resolved()[name] * rng.uniform(0.9, 1.1, (3, 2))
    kind = Surrogate(tio2, instances={name: theta})
    a = Population("a", 3, NamedAlike(20.0, 0.5, -1.0, 1.0), Current(), own={name: np.full(3, 0.2)})
    b = Population("b", 2, LIF(20.0, 0.5, 0.0, 1.0))
    rule = Vdsp.of(kind, scale_p=1.05, scale_d=1.1)
    found = []
    for backend in ("numpy", "numba"):
        graph = Graph((a, b), (Projection("a", "b", kind, np.full((3, 2), 0.5), rule=rule),))
        simulation = Simulation(graph, backend=backend)
        simulation.run({"a": np.full((1, 3), 0.1)}, steps=40, key=1)
        found.append(simulation.cells["a_to_b"].w.copy())
    assert np.ptp(found[0]) > 0.0
    np.testing.assert_allclose(found[1], found[0], rtol=1e-12)


class GivesNothing(Rule):
    def on_post(self, s):
        return None


NEURON = LIF(20.0, 1.0, 0.0, 2.0)
A, B = Population("a", 2, NEURON, Current()), Population("b", 2, NEURON)


def run(*populations: Population, rule: Rule | None = None, **changes) -> None:
    one = populations or (A, B)
    projections = (Projection("a", "b", Ideal(), np.full((2, 2), 0.5), rule=rule),) if not populations else ()
    given = {"inputs": {one[0].name: np.ones((1, 2))}, "steps": 5, "key": 0, **changes}
    Simulation(Graph(one, projections), backend="numpy").run(given.pop("inputs"), **given)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Population("a", 2, NEURON, own={"leak": np.ones(2)}), "leak of a follows from the time step.*tau"),
        (lambda: Population("a", 2, NEURON, own={"gain": np.ones(2)}), "gain of a follows from the time step"),
        (lambda: Population("a", 2, NEURON, own={"tau": np.array([1.0, -1.0])}), "tau > 0"),
        (lambda: run(parameters={"a": {"leak": 0.5}}), "leak of a follows from the time step"),
        (lambda: run(rule=PostStdp(), parameters={"a_to_b": {"left": 0.5}}), "left of a_to_b follows from the time"),
        (lambda: run(rule=PostStdp(), parameters={"a_to_b": {"nearest": 0.0}}), "nearest of a_to_b is not among"),
        (lambda: Population("a", 2.5, NEURON), "a whole number of neurons, not 2.5"),
        (lambda: Population("a", 2, LIF), "the model of a has to be a Model, not the class LIF"),
        (lambda: Graph(A), "what a network has of populations has to be a tuple, not a Population"),
        (lambda: Graph((A, "b")), "each population of a network has to be a Population, not a str"),
        (
            lambda: Projection("a", "b", "tio2", np.ones((2, 2))),
            "cells of a_to_b has to be a Surrogate or Ideal, not a s",
        ),
        (lambda: run(rule=PostStdp), "the rule of a_to_b has to be a Rule, not the class PostStdp"),
        (
            lambda: run(rule=GivesNothing()),
            "what on_post of the rule GivesNothing returns has to be a Mapping, not a None",
        ),
        (
            lambda: Graph((A, B), (Projection("a", "b", Ideal(), [[0.5], [0.5, 0.5]]),)),
            "w of a crossbar are not a matrix",
        ),
        (lambda: Graph((A, B), (Projection("a", "b", Ideal(), np.full((2, 2), 3.0)),)), "in 0..1, and one is 3"),
        (lambda: run(steps=2.5), "the number of steps has to be a whole number, not 2.5"),
        (lambda: run(key="seed"), "the key has to be a whole number, not 'seed'"),
        (lambda: run(inputs={"a": np.ones((0, 2))}), "the inputs hold no presentation"),
        (lambda: run(inputs={"a": np.ones(2)}), r"shape \(2,\), not \(presentations, 2\)"),
        (lambda: run(inputs={"a": [["x", "y"]]}), "what is shown to a is not an array of numbers"),
        (lambda: run(inputs={"a": [[1.0], [1.0, 2.0]]}), "what is shown to a is not an array of numbers"),
        (lambda: run(gap=1.5), "the gap is 1.5 ms, which is not a whole number of time steps of 1 ms"),
        (lambda: run(gap=math.nan), "a gap of nan ms"),
        (lambda: run(rule=Eligible(), gap=5.0), "acts in each step, and does not say what a gap does; give it"),
        (lambda: run(encoders={"a": Poisson(10.0)}), "Poisson cannot drive the LIF neurons of a"),
        (lambda: run(Population("a", 2, Source(), Poisson(1001.0))), "more than one spike in a time step of 1 ms"),
        (lambda: run(Population("a", 2, Regular(), Rate(1001.0))), "more than one spike in a time step of 1 ms"),
        (
            lambda: run(Population("a", 2, Source(), Poisson(10.0)), inputs={"a": np.full((1, 2), -0.1)}),
            "-0.1 cannot be a share of a rate",
        ),
        *(
            (
                lambda delay=delay: Graph((A, B), (Projection("a", "b", Ideal(), np.ones((2, 2)), delay=delay),)),
                f"the delay of a_to_b is {delay} ms, which is not a whole number",
            )
            for delay in (0.4, 2.5)
        ),
    ],
)
def test_what_cannot_be_run_is_refused(make, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()


def test_what_fits_the_time_step_is_taken() -> None:
    run(Population("a", 2, Source(), Poisson(1000.0)), gap=3.0)
    run(rule=Eligible(), gap=5.0, learn=False)
    for dt, delay in ((0.1, 0.3), (0.25, 2.5)):
        graph = Graph((A, B), (Projection("a", "b", Ideal(), np.ones((2, 2)), delay=delay),), dt=dt)
        assert graph.delay_of(graph.projections[0]) == round(delay / dt)


LAW = {
    "law_ranges": np.array([[0.0, 1.0]]),
    "law_logarithmic": np.array([False]),
    "law_offset": np.zeros(2),
    "law_scale": np.ones(2),
    "law_degree": np.array(1),
    "law_coefficients": np.ones((2, 2)),
}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"law_logarithmic": np.array([True])}, "logarithm of a range that is not above zero"),
        ({"law_logarithmic": np.array([False, False])}, "logarithm"),
        ({"law_coefficients": np.ones((2, 1))}, "targets of its law"),
    ],
)
def test_laws_that_cannot_be_are_refused(changes: dict, message: str) -> None:
    document = json.loads('{"kind": "polynomial", "fields": ["x"], "targets": ["y", "z"]}')
    assert Law.rebuilt(document, LAW, "law")({"x": np.array([0.5])})["z"] == pytest.approx(1.0)
    with pytest.raises(ValueError, match=message):
        Law.rebuilt(document, LAW | changes, "law")


@pytest.mark.parametrize(
    "changes",
    [
        {"place": np.array([-1.5, 1.0])},
        {"place": np.array([-1.0, 2.0])},
        {"knot": np.array([-1.0, 1.2])},
        {"knot": np.array([-0.5, 1.0])},
        {"direction": np.array([1.0, 1.0])},
    ],
)
def test_axes_that_cannot_be_are_refused(changes: dict) -> None:
    axis = Axis.along(np.array([0.5, -0.5]))
    assert Axis.of(axis.arrays("axis"), "axis", 2).arrays("axis").keys() == axis.arrays("axis").keys()
    with pytest.raises(ValueError, match="of a spline"):
        Axis.of(replace(axis, **changes).arrays("axis"), "axis", 2)
