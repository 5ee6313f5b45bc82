"""Neurons and layers: closed forms, and the two backends spike by spike."""

import math
import sys

import numpy as np
import pytest

from cosim.errors import EngineMissing, InputError, UnknownName
from cosim.network.encoders import CurrentEncoder
from cosim.network.layers import _compiled, layers
from cosim.network.neurons import ALIF, LIF, alif_step, lif_step


def test_a_lif_neuron_follows_its_closed_form() -> None:
    neuron, current, dt = LIF(29.0, 1.0, -1.0, 1.0), 0.02, 1.0
    v, hold = np.zeros(1), np.zeros(1)
    for k in range(1, 41):
        v, hold, fires = lif_step(v, hold, current * neuron.gain(dt), neuron.leak(dt), 1.0, -1.0, 1.0)
        # Exact for a constant current, so only rounding is left.
        assert v[0] == pytest.approx(current * 29.0 * (1 - math.exp(-k * dt / 29.0)), abs=1e-14)
        assert fires[0] == 0.0


def test_the_time_step_does_not_change_the_potential() -> None:
    neuron, current = LIF(29.0, 1.0, -1.0, 1.0), 0.02
    ends = []
    for dt in (1.0, 0.25):
        v, hold = 0.0, 0.0
        for _ in range(round(40 / dt)):
            v, hold, _ = lif_step(v, hold, current * neuron.gain(dt), neuron.leak(dt), 1.0, -1.0, 1.0 / dt)
        ends.append(float(v))
    assert ends[0] == pytest.approx(ends[1], abs=1e-13)


def test_the_published_background_ends_just_below_threshold() -> None:
    encoder, neuron = CurrentEncoder(), LIF(29.0, 1.0, -1.0, 1.0)
    mean, deviation = encoder.currents(np.array([0.0, 0.1, 0.5, 1.0]))
    end = mean[0] * 29.0 * (1 - math.exp(-40 / 29.0))
    assert end == pytest.approx(0.958, abs=0.001)
    assert mean[1] == mean[0]
    assert (mean[2], mean[3]) == pytest.approx((0.1, 0.2))
    assert deviation[3] == pytest.approx(0.04)
    assert neuron.gain(1.0) == pytest.approx(1.0, abs=0.02)
    dark, silent = encoder.currents(np.array([0.05, 0.8]), bias=False)
    assert dark[0] == silent[0] == 0.0


def test_a_spike_resets_and_holds() -> None:
    v, hold = 0.99, 0.0
    trace = []
    for _ in range(5):
        v, hold, fires = lif_step(v, hold, 0.2, 1.0, 1.0, -1.0, 3.0)
        trace.append((round(float(v), 9), float(fires)))
    # Held for three steps, the spike's own among them.
    assert trace == [(-1.0, 1.0), (-1.0, 0.0), (-1.0, 0.0), (-0.8, 0.0), (-0.6, 0.0)]


def test_an_adaptive_threshold_relaxes() -> None:
    neuron = ALIF(11.51, 8.2, 0.0, 3.0, 1.1, 115.1)
    v, hold, raised, above = alif_step(2.0, 0.0, 1.1, 3.0, neuron.leak(1.0), 8.2, math.exp(-1 / 115.1))
    assert v == pytest.approx(2.0 * math.exp(-1 / 11.51) + 3.0)
    assert above == pytest.approx(v - 8.2 - 1.1 * math.exp(-1 / 115.1))
    assert hold == 0.0
    assert raised < 1.1


@pytest.mark.parametrize(
    "make",
    [
        lambda: LIF(0.0, 1.0, -1.0, 1.0),
        lambda: LIF(10.0, 1.0, 2.0, 1.0),
        lambda: LIF(10.0, 1.0, 0.0, math.nan),
        lambda: ALIF(10.0, 1.0, 0.0, 1.0, -1.0, 10.0),
        lambda: CurrentEncoder(noise=-0.1),
    ],
)
def test_impossible_neurons(make) -> None:
    with pytest.raises(InputError):
        make()


def run(backend: str, *, refractory: float, stop: bool) -> tuple:
    found = layers(backend)
    rng = np.random.default_rng(3)
    n, m, steps = 60, 12, 50
    noise = rng.standard_normal((steps, n), dtype=np.float32)
    mean = rng.uniform(0.0, 0.25, n)
    conductance = rng.uniform(0.1, 1.0, (n, m))
    v, hold, potential = np.zeros(n), np.zeros(n), np.empty((steps, n))
    starts, sources = np.empty(steps + 1, dtype=np.int64), np.full(steps * n, -1, dtype=np.int64)
    total = found.run_input(v, hold, mean, 0.2 * mean, noise, 0.97, 1.0, -1.0, refractory, potential, starts, sources)
    out, held, raised, counts = np.zeros(m), np.zeros(m), np.zeros(m), np.zeros(m, dtype=np.int64)
    spikes, step = [], 0
    while True:
        step, winner = found.run_output(
            step, out, held, raised, conductance, starts, sources, counts, 0.9, 3.0, 0.99, 0.4, 3.0, 6.0, stop
        )
        if winner < 0:
            break
        spikes.append((step, winner))
        conductance[:, winner] *= 0.98  # as a synapse would learn
    return total, sources[:total].tolist(), starts.tolist(), potential, spikes, counts.tolist(), out, raised


@pytest.mark.needs("numba")
@pytest.mark.parametrize("stop", [True, False])
@pytest.mark.parametrize("refractory", [1.0, 4.0])
def test_both_backends_give_the_same_spikes(refractory: float, stop: bool) -> None:
    ours, theirs = (run(name, refractory=refractory, stop=stop) for name in ("numpy", "numba"))
    assert ours[0] > 100
    assert sum(ours[5]) > 5
    assert len(ours[4]) == (sum(ours[5]) if stop else 0)
    for mine, other in zip(ours, theirs, strict=True):
        # The same operations in the same order: nothing to tolerate.
        np.testing.assert_array_equal(mine, other)


def test_a_winner_clamps_the_others() -> None:
    found = layers("numpy")
    starts, sources = np.arange(21, dtype=np.int64), np.zeros(20, dtype=np.int64)  # input 0 fires in every step
    conductance = np.array([[1.0, 0.9]])
    v, hold, raised, counts = np.zeros(2), np.zeros(2), np.zeros(2), np.zeros(2, dtype=np.int64)
    args = (conductance, starts, sources, counts, 1.0, 2.5, 1.0, 0.0, 3.0)
    step, winner = found.run_output(0, v, hold, raised, *args, 12.0, True)
    assert (step, winner) == (3, 0)
    assert v.tolist() == [0.0, 0.0]
    assert hold.tolist() == [3.0, 12.0]
    # The winner is free again in the third step after its spike, and needs three inputs.
    assert found.run_output(step, v, hold, raised, *args, 12.0, True) == (8, 0)


def test_backends_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnknownName, match="backend"):
        layers("fortran")
    monkeypatch.setitem(sys.modules, "numba", None)  # as if it were not installed
    _compiled.cache_clear()
    assert layers("auto").name == "numpy"
    with pytest.raises(EngineMissing, match="needs the package numba, which is not installed"):
        layers("numba")
