"""What the synapses of a network did, and what that draws."""

from typing import Any, cast

import numpy as np
import pytest

from cosim.errors import InputError
from cosim.network.run import Streams
from cosim.network.systems.rsnn_energy import SynapseEnergy, Use, use
from cosim.network.systems.rsnn_thermal import devices
from network.test_rsnn_thermal import HOT, by_hand, system


def test_the_heat_is_that_of_all_steps_and_nothing_is_learned() -> None:
    """Temperatures that do not fall, written out; of the input array and the recurrent one together."""
    run: Any = system().start(Streams(1))
    before = [x.copy() for array in run.arrays.values() for x in array.states()]
    found = use(run, 2)
    for old, array in zip(before, (x for a in run.arrays.values() for x in a.states()), strict=True):
        assert np.array_equal(old, array)
    for name in ("into", "among", "read"):
        np.testing.assert_allclose(run.weight(name), system().start(Streams(1)).weight(name), atol=1e-9)
    full = float(devices(HOT).parameters.resolved().full_scale_rise)
    steps = into = 0.0
    for one in run.system.speech.train[:2]:
        plus, minus = by_hand(system().start(Streams(1)), one, HOT, side=1.0, keep=1.0)
        into += full * (plus.sum() + minus.sum())
        steps += len(one.phones) * run.system.settings.steps
    assert found.steps == steps / 2.0
    assert found.pairs == 12 * 20 + 20 * 20
    assert np.mean([(found.span[0] <= x) & (x <= found.span[1]) for x in before[:2]]) > 0.95
    among = found.heat * steps * found.pairs - into
    assert 0.0 < among < found.heat * steps * found.pairs
    assert 12 * 20 / found.pairs < found.spikes < 1.0  # the inputs are there in each step, neurons spike now and then
    with pytest.raises(InputError, match="ideal synapses draw nothing"):
        use(system(None).start(Streams(1)), 1)


def test_a_step_is_the_sum_of_its_parts() -> None:
    w, none = np.array([0.0, 1.0]), cast(Any, None)
    cell = SynapseEnergy(
        w, read=np.array([0.0, 2.0]), gate=np.array([3.0, 3.0]), write=np.array([10.0, 30.0]), worst=0.0,
        worst_pair=0.0, per_kelvin=5.0, line=1.2, off=0.0, period=1.0, certificate=none,
    )  # fmt: skip
    used = Use(spikes=0.5, heat=0.1, w=0.5, steps=100.0, pairs=1, span=(0.2, 0.9))
    found = cell.of_step(used)
    assert found == pytest.approx({"reads": 1.0, "gates": 6.0, "heaters": 0.6, "writes": 0.4, "all": 8.0})
    assert used.beyond((0.1, 1.0)) == 0.0
    assert used.beyond((0.3, 0.7)) == pytest.approx(0.2)
    assert used.beyond((0.25, 1.0)) == pytest.approx(0.05)
