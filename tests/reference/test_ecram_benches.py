"""Limits of the ECRAM benches that are the source's or ours, and follow from closed forms all the same."""

import pytest

from cosim.bench.testbench import Testbench
from reference.oracles.ecram import DR, ratio


@pytest.mark.parametrize("name", ["ecram_coexistence", "ecram_relaxation"])
def test_published_fall_per_spike(name: str) -> None:
    limit = Testbench.load(name).file.limits["fall_per_spike"]
    assert limit.origin == "source"
    assert limit.span("Ohm") == pytest.approx((0.99 * DR, 1.01 * DR))


@pytest.mark.parametrize(("name", "r0", "series"), [("10k", 10e3, 7.53e3), ("20k", 20e3, 9.14e3)])
def test_paired_pulse_limits_are_two_resistors(name: str, r0: float, series: float) -> None:
    """The series resistances are those that `test_ecram_circuits` finds with fixed ECRAMs."""
    excess = ratio(r0, 2e-6, series) - 1.0
    limit = Testbench.load("ecram_paired_pulse").file.limits[f"excess_early_{name}"]
    assert limit.span("1") == pytest.approx((0.97 * excess, 1.03 * excess), rel=1e-3)


@pytest.mark.parametrize("name", ["ecram_lif_energy", "ecram_feedback_delay", "ecram_feedback_stp"])
def test_energy_is_the_source_s_and_at_least_the_membrane_s(name: str) -> None:
    assert Testbench.load(name).file.limits["energy"].span("J") == pytest.approx((0.5e-12 * 0.6 * 1.2, 2e-12))
