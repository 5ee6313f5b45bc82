"""e-prop held against back-propagation through time, written out backwards by hand, of the same small network."""

from dataclasses import dataclass

import numpy as np
import pytest

from cosim.devices.base import Array
from cosim.errors import InputError
from cosim.network import Current, Graph, Ideal, Leaky, Population, Projection, Simulation, Softmax
from cosim.network.eprop import EProp, EPropOfValues, ReadOutDescent, Subtracting

INPUTS, HIDDEN, OUT, STEPS = 5, 8, 3, 60
TAU, THRESHOLD, BETA = 20.0, 0.615, 0.3
RATE = 1e-3
BOTH = ["numpy", pytest.param("numba", marks=pytest.mark.needs("numba"))]


@dataclass
class Weights:
    into: Array
    among: Array
    out: Array


def task() -> tuple[Weights, Array, Array]:
    """Weights, inputs (steps, inputs) and targets (steps, out) of a network that spikes."""
    rng = np.random.default_rng(3)
    among = 0.4 * rng.standard_normal((HIDDEN, HIDDEN))
    np.fill_diagonal(among, 0.0)
    weights = Weights(0.3 * rng.standard_normal((INPUTS, HIDDEN)), among, rng.standard_normal((HIDDEN, OUT)))
    return weights, rng.standard_normal((STEPS, INPUTS)), np.eye(OUT)[rng.integers(OUT, size=STEPS)]


def network(weights: Weights, tau_out: float, *, exact: bool = True) -> Graph:
    wide = Ideal(-10.0, 10.0)
    rule = {"rate": RATE, "beta": BETA, "tau": TAU, "threshold": THRESHOLD, "tau_out": tau_out if exact else 0.0}
    neurons = Subtracting(TAU, THRESHOLD)
    return Graph(
        (
            Population("inputs", INPUTS, Leaky(tau=1e-3), Current()),
            Population("hidden", HIDDEN, neurons),
            Population("out", OUT, Softmax(tau=tau_out)),
        ),
        (
            Projection("inputs", "hidden", wide, weights.into, rule=EPropOfValues(**rule), sends="y", name="into"),
            Projection("hidden", "hidden", wide, weights.among, rule=EProp(**rule), delay=1.0, name="among"),
            Projection("hidden", "out", wide, weights.out, rule=ReadOutDescent(RATE, tau_out), name="read"),
            Projection("out", "hidden", wide, weights.out.T, sends="error", into="signal", name="back"),
        ),
    )


def backwards(weights: Weights, x: Array, target: Array, tau_out: float) -> tuple[Weights, float, int]:
    """Gradients of Σ_t cross-entropy by back-propagation through time; loss and spikes.

    A spike's derivative is the triangle of Eq. 15. Nothing goes back through the spikes that recurrent weights bring,
    and nothing through the threshold that a spike takes off: what e-prop leaves out.
    """
    leak, kappa = np.exp(-1.0 / TAU), np.exp(-1.0 / tau_out)
    v, y, spikes = np.zeros(HIDDEN), np.zeros(OUT), np.zeros(HIDDEN)
    past, triangle, fired, errors, loss = [], [], [], [], 0.0
    for t in range(STEPS):
        past.append(spikes)
        u = leak * v + x[t] @ weights.into + spikes @ weights.among
        spikes = (u > THRESHOLD).astype(float)
        v = u - THRESHOLD * spikes
        y = kappa * y + spikes @ weights.out
        share = np.exp(y - y.max())
        share /= share.sum()
        loss -= float(np.log(share @ target[t]))
        triangle.append(BETA / THRESHOLD * np.maximum(0.0, 1.0 - np.abs(u / THRESHOLD - 1.0)))
        fired.append(spikes)
        errors.append(share - target[t])
    found = Weights(*(np.zeros_like(w) for w in (weights.into, weights.among, weights.out)))
    of_y, of_u = np.zeros(OUT), np.zeros(HIDDEN)
    for t in reversed(range(STEPS)):
        of_y = errors[t] + kappa * of_y
        found.out += np.outer(fired[t], of_y)
        of_u = leak * of_u + triangle[t] * (weights.out @ of_y)
        found.into += np.outer(x[t], of_u)
        found.among += np.outer(past[t], of_u)
    np.fill_diagonal(found.among, 0.0)
    return found, loss, int(np.sum(fired))


def steps_taken(backend: str, tau_out: float, *, exact: bool = True) -> tuple[dict[str, Array], Weights]:
    """What one data frame changes, over −RATE; and the true gradients."""
    weights, x, target = task()
    simulation = Simulation(network(weights, tau_out, exact=exact), backend=backend)
    first = {name: bar.weight.copy() for name, bar in simulation.cells.items()}
    simulation.run({"inputs": x[None]}, steps=STEPS, key=0, fresh=True, signals={"out": target[None]})
    changes = {name: (bar.weight - first[name]) / -RATE for name, bar in simulation.cells.items()}
    gradient, _, spikes = backwards(weights, x, target, tau_out)
    assert spikes > STEPS  # the network is alive
    return changes, gradient


@pytest.mark.parametrize("backend", BOTH)
def test_e_prop_is_back_propagation_without_the_paths_it_leaves_out(backend: str) -> None:
    changes, gradient = steps_taken(backend, 15.0)
    # differences of weights at a rate of 1e-3 lose three digits
    for name, expected in (("into", gradient.into), ("among", gradient.among), ("read", gradient.out)):
        np.testing.assert_allclose(changes[name], expected, atol=1e-11 * np.abs(expected).max() / RATE)
        assert np.abs(expected).max() > 0.1
    assert not np.any(changes["back"])


def test_the_source_s_form_is_exact_without_a_leak_of_the_read_out_alone() -> None:
    """Eqs. 15 and 16 take L(t) f(t) ψ(t): right where the read-out forgets at once, and off where it remembers."""
    changes, gradient = steps_taken("numpy", 0.01, exact=False)
    np.testing.assert_allclose(changes["into"], gradient.into, atol=1e-8)
    changes, gradient = steps_taken("numpy", 15.0, exact=False)
    cosine = np.sum(changes["into"] * gradient.into) / np.linalg.norm(changes["into"]) / np.linalg.norm(gradient.into)
    assert 0.3 < cosine < 0.99


def test_the_next_frame_begins_with_no_sum() -> None:
    weights, x, target = task()
    simulation = Simulation(network(weights, 15.0), backend="numpy")
    simulation.run({"inputs": x[None]}, steps=STEPS, key=0, fresh=True, signals={"out": target[None]})
    assert all(not np.any(values) for name, values in simulation.traces["into"].items() if name == "own_total")
    before = simulation.cells["into"].weight.copy()
    simulation.run(
        {"inputs": x[None]}, steps=STEPS, key=0, fresh=True, signals={"out": target[None]},
        parameters={name: {"rate": 0.0} for name in ("into", "among", "read")},
    )  # fmt: skip
    assert np.array_equal(simulation.cells["into"].weight, before)


def test_what_it_learns_lowers_the_loss() -> None:
    weights, x, target = task()
    simulation = Simulation(network(weights, 15.0), backend="numpy")
    for _ in range(30):
        simulation.cells["back"].load(simulation.cells["read"].weight.T)
        simulation.run(
            {"inputs": x[None]}, steps=STEPS, key=0, fresh=True, signals={"out": target[None]},
            parameters={name: {"rate": 5e-3} for name in ("into", "among", "read")},
        )  # fmt: skip
    learned = Weights(*(simulation.cells[name].weight for name in ("into", "among", "read")))
    assert backwards(learned, x, target, 15.0)[1] < 0.8 * backwards(weights, x, target, 15.0)[1]


@pytest.mark.parametrize("changes", [{"tau": 0.0}, {"threshold": -1.0}, {"tau_out": -1.0}])
def test_rules_that_cannot_be(changes: dict[str, float]) -> None:
    with pytest.raises(InputError, match="cannot work"):
        EProp(**{"rate": 0.1, "beta": 0.3, "tau": 20.0, "threshold": 1.0, **changes})
    with pytest.raises(InputError, match="cannot work"):
        Subtracting(20.0, 0.0)
