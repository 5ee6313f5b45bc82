"""What the claim `vdsp` makes of its runs: paired differences, and the networks of its sweeps."""

import numpy as np
import pytest
from scipy.stats import ttest_rel

from claims.vdsp import NEURONS, PROBED, cost, parts
from claims.vdsp_parts import changed
from claims.vdsp_sweeps import PUBLISHED, SWEEPS, as_far, label_of
from cosim.network.neurons import LIF
from cosim.network.readout import PROTOCOL
from cosim.network.systems.vdsp_settings import VdspSettings


def test_a_paired_difference_has_the_interval_of_the_t_test() -> None:
    rng = np.random.default_rng(4)
    table = {part: {kind: list(rng.uniform(0.8, 0.9, 3)) for kind in PROTOCOL} for part in ("a", "b")}
    found = cost(table, "a", "b")
    for kind in PROTOCOL:
        oracle = ttest_rel(table["b"][kind], table["a"][kind]).confidence_interval(0.95)
        assert found[kind]["interval"] == pytest.approx([oracle.low, oracle.high], abs=5e-5)  # five digits are kept
        assert found[kind]["mean_and_deviation"][0] == pytest.approx(
            np.subtract(table["b"][kind], table["a"][kind]).mean(), abs=5e-6
        )


@pytest.mark.parametrize("tau", [10.0, 29.0, 50.0])
def test_a_dark_pixel_ends_where_the_published_one_does(tau: float) -> None:
    """Stepped as the network steps it, without noise, over an image from rest."""

    def end(network: VdspSettings) -> float:
        neuron = network.input
        assert isinstance(neuron, LIF)
        v, left = 0.0, np.exp(-network.dt / neuron.tau)
        for _ in range(round(network.presentation / network.dt)):
            v = v * left + network.encoder.bias * neuron.tau * (1.0 - left)
        return v

    published = VdspSettings()
    assert end(as_far(published, tau)) == pytest.approx(end(published), rel=1e-9)
    assert as_far(published, tau).input.tau == tau


def test_each_part_is_a_network_of_its_own() -> None:
    made = parts()
    different = {(part.technology, part.network.fingerprint(), part.epochs) for part in made.values()}
    assert len(different) == len(made)
    assert {*PROBED, *NEURONS.values()} <= made.keys()
    assert {label_of(sweep, value) for sweep, one in SWEEPS.items() for value in one.values} <= made.keys()
    assert changed(made[PUBLISHED].network) == {}
    assert changed(made["tio2_published_theta20"].network) == {"deviation": 0.2}
