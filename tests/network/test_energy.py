"""Programming energy of a network: against the sum over the events of all its cells."""

from __future__ import annotations

import numpy as np
import pytest

import cosim
from cosim.network.crossbar import Crossbar
from cosim.network.energy import Meter, energy_lines
from cosim.network.run import Streams
from cosim.network.spice_check import Watch
from cosim.network.systems.vdsp import VdspRun, VdspSystem


def test_energy_is_that_of_each_event() -> None:
    rng = np.random.default_rng(0)
    cells = cosim.Surrogate(cosim.ParameterSet.load("tio2"))
    cells = cells.with_(instances={"theta_p": rng.uniform(1.2, 1.6, (4, 3))})
    bar = Crossbar(cells, rng.uniform(0.2, 0.8, (4, 3)))
    bar.watch = Watch(bar, 12, rng)
    meter, expected, state = Meter(bar, bar.watch), np.zeros((4, 3)), bar.w.copy()
    for batch, length in enumerate((1.0, 0.5)):
        for column in (0, 2, 0):
            drive = rng.uniform(-2.2, 2.2, 4)
            after, outputs = cells.select((slice(None), column)).step(
                cosim.Values({"w": state[:, column]}), cosim.Values({"amplitude": drive})
            )
            state[:, column] = after.w
            expected[:, column] += length * outputs.energy
            bar.program(column, drive)
        meter.account(bar, items=2, length=length, forget=bool(batch))
    rows, columns = bar.watch.cells.T
    np.testing.assert_allclose(meter.spent, expected[rows, columns], rtol=1e-12)
    found = meter.to_dict(bar, updates=1.5)
    assert found["programming_per_item"] == pytest.approx(expected.sum() / 4)
    assert found["events_per_item"] == 24 / 4
    assert found["busy_seconds_per_item"] == pytest.approx(1.5 * 210e-9 * 0.75)
    assert found["certified"] is None


@pytest.mark.parametrize("backend", ["numpy", pytest.param("numba", marks=pytest.mark.needs("numba"))])
def test_a_run_reports_its_energy_and_goes_on_to_the_same(backend: str) -> None:
    settings, _ = cosim.vdsp_preset("digits")
    task = cosim.ImageTask(cosim.load_images("digits").first(220), 1)
    cell = cosim.Surrogate(cosim.ParameterSet.load("tio2"))
    system = VdspSystem(settings.with_(neurons=6, width=0.5), cell, task, backend)
    whole, first = (system.start(Streams(0)) for _ in range(2))
    again = system.start(Streams(0))
    for batch in range(len(system.batches)):
        whole.learn(batch)
        first.learn(batch)
        again.restore(first.state())
        assert isinstance(again, VdspRun)
        first, again = again, first
    ours, theirs = (run.evaluate()[0]["energy"] for run in (whole, first))
    assert ours == theirs
    # every cell of a column sees its neuron's spikes, and a pulse takes at most that of a cell at its full scale
    spikes = float(np.mean(whole.evaluate()[0]["spikes_per_image"]))
    assert ours["events_per_item"] == pytest.approx(64 * spikes, rel=0.5)
    assert 0.0 < ours["programming_per_event"] < 0.5 * 2e-4 * 2.5**2 * 210e-9
    assert "nJ per image" in energy_lines(ours, "image")[0]
