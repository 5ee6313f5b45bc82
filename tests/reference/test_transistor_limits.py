"""Limits of the benches on transistors against closed forms of their card (BSIM4, 4.1 nm, 2e17 /cm³), typed anew."""

import math

import pytest

from cosim.bench.testbench import Testbench

U_T = 1.380649e-23 * 300.15 / 1.602177e-19
EPS_0, EPS_OX, EPS_SI, Q = 8.854188e-12, 3.9, 11.7, 1.602177e-19
T_OX, DOPING, N_I, N_FACTOR = 4.1e-9, 2e23, 1.45e16, 1.9  # m, /m³, /m³, 1
C_OX = EPS_OX * EPS_0 / T_OX  # F/m²
OVERLAP = 3e-10  # F/m, at source and at drain
JUNCTION, SIDE = 1e-3, 5e-10  # F/m² (card), F/m (BSIM4's default)
PHI = 0.4 + U_T * math.log(DOPING / N_I)  # V
LVT, HVT = (1e-6, 1e-6), (0.42e-6, 2e-6)  # W, L


def span(bench: str, name: str) -> tuple[float, float]:
    file = Testbench.load(bench).file
    low, high = file.limits[name].span(file.measures[name].unit)
    assert low is not None
    assert high is not None
    return low, high


def test_a_decade_of_current() -> None:
    depletion = math.sqrt(EPS_SI * EPS_0 * Q * DOPING / (2.0 * PHI))
    n = 1.0 + N_FACTOR * depletion / C_OX
    assert n == pytest.approx(1.33, abs=0.02)
    for kind in ("n", "nh", "p", "ph"):
        low, high = span("stc_transistors", f"per_decade_{kind}")
        # 79.2 mV lie between both levels
        assert low < math.exp(79.2e-3 / (n * U_T)) < high
        assert high - low < 0.07 * low


def narrow(width: float) -> float:
    """By how much (V) BSIM4's defaults (k3 80, w0 2.5 um) raise the threshold of a narrow channel."""
    return 80.0 * T_OX / (width + 2.5e-6) * PHI


@pytest.mark.parametrize("kind", ["n", "p"])
def test_low_over_raised_threshold(kind: str) -> None:
    threshold = 0.1 + narrow(HVT[0]) - narrow(LVT[0])
    ratio = LVT[0] / LVT[1] / (HVT[0] / HVT[1]) * math.exp(threshold / (1.33 * U_T))
    assert span("stc_transistors", f"over_{kind}h") == pytest.approx((0.85 * ratio, 1.15 * ratio), rel=0.02)


@pytest.mark.parametrize(("kind", "size"), [("n", LVT), ("nh", HVT), ("p", LVT), ("ph", HVT)])
def test_gate_is_a_capacitor(kind: str, size: tuple[float, float]) -> None:
    width, length = size
    c = C_OX * width * length + 2.0 * OVERLAP * width
    assert span("stc_transistors", f"capacitance_{kind}") == pytest.approx((0.9 * c, 1.1 * c), rel=2e-3)


def node(gates: float, widths: float, areas: float, perimeters: float) -> float:
    """At most what transistors add to a node (F): gates (m²), widths that overlap (m), junctions (m², m)."""
    return C_OX * gates + OVERLAP * widths + JUNCTION * areas + SIDE * perimeters


def test_what_the_delay_stages_discharge() -> None:
    """c_d and the drains before it, 0.8 and 0.4 um wide, and the gates behind it, as wide, 0.36 or 0.18 um long."""
    drains = {"areas": 0.6e-12, "perimeters": 3.2e-6}
    slow = node(1.2e-6 * 0.36e-6, 1.2e-6 * 3, **drains)
    fast = node(1.2e-6 * 0.18e-6, 1.2e-6 * 3, **drains)
    assert fast < slow < 7e-15
    assert span("ecram_feedback_delay", "capacitance") == pytest.approx((80e-15, 87e-15))
    low, high = span("ecram_lif_delay", "charging")
    assert high == pytest.approx(20e-9 / 20e-15)
    assert low == pytest.approx(20e-9 / 27e-15, rel=2e-3)


def test_membrane_of_the_first_topology() -> None:
    """c_m, the gates of 0.8 and 0.4 x 0.18 um, the drains of leak (eight of 0.25 um) and reset (1 um)."""
    assert node(0.216e-12, (2 * 1.2 + 2.0 + 1.0) * 1e-6, 1.5e-12, 12e-6) < 11.1e-15
    assert span("ecram_lif_delay", "charging_membrane") == pytest.approx((20e-9 / 511e-15, 20e-9 / 500e-15), rel=2e-3)


def test_what_an_input_spike_charges() -> None:
    """c_gate, and the gates of the switch, 1 x 0.18 um, and of the pull-up, 0.42 x 0.18 um."""
    assert node(0.2556e-12, 2 * 1.42e-6, 0.0, 0.0) < 3.2e-15
    low, high = span("ecram_lif_delay", "charging_input")
    assert high == pytest.approx(20e-9 / 10e-15)
    assert low == pytest.approx(20e-9 / 13.2e-15, rel=5e-3)


def test_how_fast_the_membrane_climbs() -> None:
    """20 nA onto c_m, c_fb, the gates of 0.5 x 0.5 and 0.5 x 0.18 um, the drains of leak and reset."""
    most = node(0.34e-12, (2 * 0.5 + 2 * 0.5 + 0.5 + 1.0) * 1e-6, 0.75e-12, 3.5e-6)
    assert most < 8e-15
    low, high = span("ecram_feedback_delay", "climb")
    assert low < 20e-9 / 538e-15 < 20e-9 / 530e-15 < high
    assert high - low < 0.02 * low


def test_comparators_of_the_late_phase() -> None:
    """The legs of a bump circuit with S = 4, and a logistic of slope 80 in the logarithm of one's current."""

    def leg(volts: float) -> float:
        u = volts / (2.0 * 34.4e-3)
        return math.exp(u) / (2.0 * math.cosh(u) + 4.0 / (2.0 * math.cosh(u)))

    def tagged(volts: float) -> float:
        return 1.0 / (1.0 + (leg(volts) / leg(15.1226e-3)) ** -80.0)

    def passes(level: float) -> float:
        low, high = 0.0, 0.1
        for _ in range(60):
            middle = 0.5 * (low + high)
            low, high = (middle, high) if tagged(middle) < level else (low, middle)
        return low

    for name, volts in (("leg_at_rest", 0.0), ("leg_above", 0.1)):
        assert span("stc_late", name) == pytest.approx((0.99 * leg(volts), 1.01 * leg(volts)), rel=1e-3)
    takes = (passes(0.9) - passes(0.1)) / 0.1
    assert span("stc_late", "tag_up_takes") == pytest.approx((0.95 * takes, 1.05 * takes), rel=2e-3)
