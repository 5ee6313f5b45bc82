"""VDSP with programming pulses of other lengths than the surrogate's."""

from dataclasses import replace

import numpy as np
import pytest

import cosim
from cosim.devices.pulse import PulseShape
from cosim.errors import InputError
from cosim.network.systems.vdsp import VdspNetwork
from cosim.network.systems.vdsp_settings import VdspSettings, annealed

CELL = cosim.Surrogate(cosim.ParameterSet.load("hfo2"), "pulse")
SMALL = VdspSettings(neurons=6, scale_p=1.08, scale_d=1.08)


def learned(settings: VdspSettings, *, cell: cosim.Surrogate = CELL, backend: str = "numpy", progress: float = 0.0):
    network = VdspNetwork(settings, cell, inputs=40, rng=np.random.default_rng(0), backend=backend)
    network.learn(np.random.default_rng(1).uniform(0.3, 1.0, (8, 40)), np.random.default_rng(2), progress=progress)
    assert network.crossbar.pulses > 0
    return network.crossbar.w


EASY = SMALL.with_(output=replace(SMALL.output, threshold=3.0))


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_a_shorter_pulse_is_one_compressed_in_time(backend: str) -> None:
    """A fifth of the length: the same as cells of pulses with a fifth of top and edges, and other than the whole."""
    pytest.importorskip("numba")
    full = PulseShape()
    short = CELL.with_(shape=PulseShape(full.width / 5, full.rise / 5, full.fall / 5))
    found = learned(EASY.with_(width=0.2), backend=backend)
    np.testing.assert_allclose(found, learned(EASY, cell=short, backend=backend), rtol=0, atol=1e-12)
    assert np.max(np.abs(found - learned(EASY, backend=backend))) > 1e-3


def test_the_length_is_annealed() -> None:
    def at(progress: float, **widths: float) -> np.ndarray:
        return learned(EASY.with_(**widths), progress=progress)

    np.testing.assert_allclose(at(1.0, width_end=0.05), at(0.0, width=0.05), rtol=0, atol=1e-12)
    np.testing.assert_allclose(at(0.5, width_end=0.5), at(0.0, width=0.75), rtol=0, atol=1e-12)
    np.testing.assert_allclose(at(0.0, width_end=0.05), learned(EASY), rtol=0, atol=1e-12)


def test_each_network_has_cells_of_its_own() -> None:
    """Two networks of one surrogate do not share the length of their pulses."""
    first, second = (
        VdspNetwork(EASY.with_(width_end=0.1), CELL, inputs=4, rng=np.random.default_rng(0), backend="numpy")
        for _ in range(2)
    )
    first.learn(np.ones((1, 4)), np.random.default_rng(0), progress=1.0)
    assert first.crossbar.own["t_event"].mean() == pytest.approx(10 * second.crossbar.own["t_event"].mean())
    assert "t_event" not in CELL.instances


def test_deviating_cells_anneal_too() -> None:
    found = learned(EASY.with_(deviation=0.1, width_end=0.05), progress=1.0)
    assert np.max(np.abs(found - learned(EASY.with_(deviation=0.1, width_end=0.05)))) > 1e-3


def test_the_reading_threshold_is_its_own() -> None:
    x = np.random.default_rng(1).uniform(0.5, 1.0, (5, 40))
    counts = {}
    for threshold in (None, 3.0, 12.0):
        network = VdspNetwork(
            EASY.with_(test_threshold=threshold), CELL, inputs=40, rng=np.random.default_rng(0), backend="numpy"
        )
        counts[threshold] = network.respond(x, np.random.default_rng(3)).sum()
        alike = network.respond(x, np.random.default_rng(3), protocol="learning").sum()
    assert counts[None] == counts[3.0] > counts[12.0]
    assert alike > 0


def test_bad_widths() -> None:
    for widths in ({"width": 0.0}, {"width_end": 0.0}, {"width_end": -1.0}, {"width": float("nan")}):
        with pytest.raises(InputError, match=r"times the surrogate's|width has to be a finite number, not nan"):
            VdspSettings(**widths)
    task = cosim.ImageTask(cosim.load_images("digits").first(300))
    with pytest.raises(InputError, match="several lengths"):
        cosim.VdspSystem(annealed(20), CELL, task, spice_check=2)
