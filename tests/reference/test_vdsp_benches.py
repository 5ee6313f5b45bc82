"""What the VDSP benches' measures expect, against the closed forms of arXiv 2510.25787 behind their limits."""

import numpy as np
import pytest

from cosim.bench.testbench import Testbench
from reference.oracles.vdsp import LAWS, TIO2, WIDTH_MEASURES, constant, published, twenty


@pytest.mark.parametrize("name", LAWS)
def test_amplifier_is_the_rule(name: str) -> None:
    """V_prog = V_mem · θ · scale factor at V_mem = ±0.5 and ±1 V."""
    measures = Testbench.load("vdsp_amplifier").file.measures
    for polarity in ("depression", "potentiation"):
        places = measures[f"{name}_{polarity}"].at
        expected = [LAWS[name].programmed(v) for v in places]
        assert measures[f"{name}_{polarity}_error"].expected == pytest.approx(expected, abs=1e-6)
        assert max(map(abs, places)) == 1.0


@pytest.mark.parametrize(("name", "sign"), [("up", -1.0), ("down", 1.0)])
def test_the_map_is_a_third_more_than_the_law(name: str, sign: float) -> None:
    bench = Testbench.load("vdsp_map")
    theta = TIO2.theta_p if sign < 0 else TIO2.theta_n
    multiples = [q.value for q in bench.file.plan["analysis"].sweep["over"]]
    by_law = [constant(TIO2, sign * x * theta, 0.5) for x in multiples]
    by_map = [published(TIO2, sign * x * theta, 0.5) for x in multiples]
    assert bench.file.measures[f"{name}_off_law"].expected == pytest.approx(by_law, rel=1e-4)
    assert bench.file.measures[f"{name}_off_map"].expected == pytest.approx(by_map, rel=1e-4)
    off = [a / b - 1.0 for a, b in zip(by_law, by_map, strict=True)]
    low, high = bench.file.limits[f"{name}_off_map"].span("1")
    # a law within 1 % of its closed form is as far from the map
    assert (low, high) == pytest.approx((min(off) - 0.01, max(off) + 0.01), abs=1e-3)
    assert multiples[-1] == 1.6
    assert off[-1] == pytest.approx(-1.0 / 3.0, abs=0.05)


@pytest.mark.parametrize(
    ("name", "sign", "equal"),
    [("up", -1, False), ("down", 1, False), ("equal_up", -1, True), ("equal_down", 1, True)],
)
def test_pulse_widths_are_the_closed_form(name: str, sign: int, equal: bool) -> None:
    bench = Testbench.load("vdsp_pulse_width")
    widths = [q.value for q in bench.file.plan["analysis"].sweep["width"]]
    found = [twenty(TIO2, sign, width=width, equal_steps=equal) for width in widths]
    for measure in WIDTH_MEASURES:
        expected = bench.file.measures[f"{name}_{measure}_off"].expected
        assert expected == pytest.approx([one[measure] for one in found], rel=1e-4), measure
        assert bench.file.limits[f"{name}_{measure}_off"].span("%") == (-0.01, 0.01)
    halves, energies = [one["half"] for one in found], [one["energy"] for one in found]
    if equal:  # one curve, and less energy where the pulse is shorter
        assert halves == pytest.approx([halves[0]] * len(halves), rel=1e-9)
        assert np.all(np.diff(energies) > 0.0)
    else:  # half of the change by half of the pulses is linear
        assert np.all(np.diff(halves) > 0.0)
        assert halves[0] > 0.5


def test_depression_is_at_least_the_bare_law_s() -> None:
    """So much of the law is left that the transistor is seen."""
    low, high = Testbench.load("1t1r_write").file.limits["depressed"].span("1")
    assert low is None
    assert high == pytest.approx(0.5 - TIO2.pulse(0.5, -2.0)[0], abs=5e-4)
