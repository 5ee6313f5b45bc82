"""Learned laws as cells of a network: compiled where they are expressions or tables, in numpy where they are not."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

import numpy as np
import pytest

import cosim
from cosim.devices.maps import Field
from cosim.errors import EmitError
from cosim.network import LIF, Current, Graph, Population, Projection, Rule, Simulation
from cosim.surrogate.circuit import CIRCUIT, CircuitSet
from cosim.surrogate.learned import fit, fit_each

STEPS = 60
# the circuit here is of pulses alone: nothing is known of its rests
pytestmark = pytest.mark.filterwarnings("ignore:nothing is known of what the cells:cosim.surrogate.base.DomainWarning")


def circuit(kind: str, *, read: str = "polynomial") -> cosim.Surrogate:
    """A cell of a circuit: what a pulse ``v`` moves, and what is read of it."""
    rng = np.random.default_rng(2)
    x = {"w": rng.uniform(0.0, 1.0, 400), "v": rng.uniform(-1.0, 1.0, 400)}
    change = {"w": 0.2 * np.tanh(3.0 * x["v"]) * (1.2 - x["w"])}
    law = fit_each(x, change, scales={"w": 1.0}, rng=rng, kinds=[kind]).law
    reading = fit({"w": x["w"]}, {"g": 1e-6 * np.exp(x["w"])}, scales={"g": 3e-6}, rng=rng, kinds=[read]).law
    chosen = CircuitSet(
        CIRCUIT, "pulsed", MappingProxyType({}), states={"w": Field("1", (0.0, 1.0))},
        inputs={"v": Field("V", (-1.0, 1.0))}, outputs={"g": Field("S")}, event="pulse",
    )  # fmt: skip
    return cosim.Surrogate(chosen, learned=law, reading=reading, uncertified=True)


def remainder(kind: str) -> cosim.Surrogate:
    """A device's pulse with a learned remainder of a size that shows."""
    plain = cosim.Surrogate(cosim.ParameterSet.load("tio2"))
    rng, (drive,) = np.random.default_rng(3), plain.map.inputs
    low, high = plain.map.inputs[drive].range
    x = {"w": rng.uniform(0.0, 1.0, 400), drive: rng.uniform(low, high, 400)}
    rest = {"w": 0.05 * np.sin(3.0 * x["w"]) * x[drive], "energy": 1e-13 * x[drive] ** 2}
    law = fit(x, rest, scales={"w": 1.0, "energy": 1e-13}, rng=rng, kinds=[kind]).law
    return plain.with_(learned=law, uncertified=True)


@dataclass(frozen=True)
class Paired(Rule):
    """Pulses whose height follows from the presynaptic potential."""

    pre: ClassVar[Mapping[str, float]] = MappingProxyType({})
    input: str = "v"
    height: float = 0.9

    def parameters(self, dt: float, *, ticks: float = 1.0) -> dict[str, float]:
        return {"height": self.height}

    def on_post(self, s):
        return {self.input: s.p.height * np.minimum(np.maximum(s.pre.v, -1.0), 1.0)}


def weights(kind: cosim.Surrogate, rule: Rule, backend: str, *, reading: str = "conductance") -> np.ndarray:
    rng = np.random.default_rng(4)
    a = Population("a", 4, LIF(20.0, 1.0, -0.5, 2.0), Current(0.2))
    b = Population("b", 3, LIF(20.0, 1.2, 0.0, 2.0))
    synapses = Projection("a", "b", kind, rng.uniform(0.2, 0.8, (4, 3)), rule=rule, reading=reading)
    simulation = Simulation(Graph((a, b), (synapses,)), backend=backend)
    assert simulation.backend == backend
    before = simulation.cells["a_to_b"].weight.copy()
    simulation.run({"a": rng.random((3, 4)) * 0.2}, steps=STEPS, key=1)
    assert np.abs(simulation.cells["a_to_b"].weight - before).mean() > 1e-2
    return simulation.cells["a_to_b"].weight.copy()


@pytest.mark.needs("numba")
@pytest.mark.parametrize(
    ("kind", "read"), [("polynomial", "polynomial"), ("spline", "polynomial"), ("spline", "spline")]
)
def test_a_learned_circuit_is_compiled_to_the_same_weights(kind: str, read: str) -> None:
    found = [weights(circuit(kind, read=read), Paired(), one, reading="g") for one in ("numpy", "numba")]
    np.testing.assert_allclose(found[1], found[0], rtol=1e-11)


@pytest.mark.needs("numba")
@pytest.mark.parametrize("kind", ["polynomial", "spline"])
def test_a_learned_remainder_is_compiled_to_the_same_weights(kind: str) -> None:
    cell, rule = remainder(kind), Paired(input="amplitude", height=2.2)
    found = [weights(cell, rule, backend) for backend in ("numpy", "numba")]
    np.testing.assert_allclose(found[1], found[0], rtol=1e-10)
    bare = weights(cell.with_(learned=None), rule, "numba")
    assert np.abs(bare - found[1]).max() > 1e-3


@pytest.mark.needs("sklearn")
@pytest.mark.needs("numba")
def test_a_law_without_an_expression_says_which_loop_to_take() -> None:
    cell = circuit("trees")
    assert weights(cell, Paired(), "numpy", reading="g").shape == (4, 3)
    with pytest.raises(
        EmitError, match=r"the learned law of pulse of circuit \(trees: w\) has no scalar kernel.*numpy"
    ):
        weights(cell, Paired(), "numba", reading="g")
