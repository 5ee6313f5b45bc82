"""Tagging and capture as differential equations (`cosim.devices.stc_equations`) against closed forms typed anew."""

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest

from cosim.bench.testbench import Testbench
from cosim.devices.integrate import integrate
from cosim.devices.stc_equations import StcEquations
from cosim.parameters import ParameterSet

MODEL = StcEquations()
# Nicholson 2024, Table 2; Luboeinski and Tetzlaff 2022 (in vivo): typed here a second time on purpose
SHARED = {
    "tau_c": 48.8e-3, "tau_h": 688.4, "gamma_p": 1645.6, "gamma_d": 313.1, "h0": 4.20075e-3, "h_max": 10e-3,
    "alpha": 1.0, "tau_z": 3600.0, "z_max": 1.0, "z_min": -0.5, "c_pre": 0.6,
}  # fmt: skip
TABLE = {**SHARED, "c_post": 0.1655, "theta_p": 0.3, "theta_d": 0.2, "theta_pro": 2.3e-3, "theta_tag": 0.0640149e-3}
LITERATURE = {
    **SHARED, "c_post": 0.6 * 0.2758, "theta_p": 3.0, "theta_d": 1.2, "theta_pro": 0.5 * 4.20075e-3,
    "theta_tag": 0.2 * 4.20075e-3,
}  # fmt: skip


@pytest.mark.parametrize(("name", "table"), [("thesis", TABLE), ("literature", LITERATURE)])
def test_sets_are_the_tables(name: str, table: dict[str, float]) -> None:
    p = ParameterSet.load(f"stc_equations:{name}").resolved()
    assert {key: float(p[key]) for key in table} == pytest.approx(table, rel=1e-9)
    assert p.h_init == p.h0


def relaxed(h: float, c: float, t: float, p: dict[str, float]) -> tuple[float, float]:
    """h (V) and c (mM) after ``t`` (s) without spikes: exponentials between the crossings of the thresholds."""
    crossings = [p["tau_c"] * math.log(c / level) for level in (p["theta_p"], p["theta_d"]) if c > level]
    cuts = sorted({0.0, t, *(min(cut, t) for cut in crossings)})
    for a, b in pairwise(cuts):
        here = c * math.exp(-(a + b) / 2 / p["tau_c"])
        up, down = here > p["theta_p"], here > p["theta_d"]
        pull = 0.1 + p["gamma_p"] * up + p["gamma_d"] * down
        end = (0.1 * p["h0"] + p["gamma_p"] * p["h_max"] * up) / pull
        h = end + (h - end) * math.exp(-pull * (b - a) / p["tau_h"])
    return h, c * math.exp(-t / p["tau_c"])


@pytest.mark.parametrize("pair", [False, True])
@pytest.mark.parametrize(("name", "table"), [("thesis", TABLE), ("literature", LITERATURE)])
def test_spikes_and_what_follows(name: str, table: dict[str, float], pair: bool) -> None:
    """Eight spikes 10 ms apart: Table 2 potentiates by one of them, the literature depresses."""
    p = ParameterSet.load(f"stc_equations:{name}").resolved()
    h, c, edge, knots = table["h0"], 0.0, 1e-6, [(0.0, 0.0)]
    for k in range(8):
        start = 1e-3 + 10e-3 * k
        knots += [(start, 0.0), (start + edge, 1.8), (start + 1e-3, 1.8), (start + 1e-3 + edge, 0.0)]
        h, c = relaxed(h, c, 1e-3 if k == 0 else 10e-3, table)
        c += table["c_pre"] + pair * table["c_post"]
    h, c = relaxed(h, c, 0.2 - 71e-3, table)
    t, v = np.array([*knots, (0.2, 0.0)]).T
    found = integrate(MODEL, p, t=t, across={"pre": v, "post": pair * v}, rtol=1e-7, atol=1e-10).states
    assert found["c"][-1] == pytest.approx(c, rel=2e-3)
    moved = h - table["h0"]
    # spikes are spent within 20 us and thresholds are 2 uM wide: 1 % of what potentiation and depression bring
    assert found["h"][-1] - table["h0"] == pytest.approx(moved, rel=0.01, abs=1e-7)
    assert (moved > 3e-4) == (name == "thesis")  # eight do not pass 3 mM for long, and depress above 1.2


@pytest.mark.parametrize(("h", "end"), [(6e-3, 1.0), (2e-3, -0.5)])
def test_late_phase_is_eq_4(h: float, end: float) -> None:
    p = ParameterSet.load("stc_equations:thesis").resolved(acceleration=10.0)
    x = MODEL.initial(p).with_(h=h, protein=1.0, z=0.2)
    rest = dict.fromkeys(("pre", "post", "others", "weight"), 0.0)
    assert MODEL.rates(rest, x, p)["z"] == pytest.approx((end - 0.2) / 360.0)
    assert MODEL.rates(rest, x.with_(h=float(p.h0)), p)["z"] == 0.0
    assert MODEL.rates(rest, x.with_(protein=0.0), p)["z"] == 0.0
    assert MODEL.rates(rest, x.with_(h=5e-3), p)["h"] == pytest.approx(0.1 * (4.20075e-3 - 5e-3) / 68.84)


def test_protein_hears_the_other_synapses() -> None:
    p = ParameterSet.load("stc_equations:thesis").resolved()
    rest = dict.fromkeys(("pre", "post", "others", "weight"), 0.0)
    x = MODEL.initial(p).with_(h=4.20075e-3 + 2e-3)
    assert MODEL.rates(rest, x, p)["protein"] == 0.0
    assert MODEL.rates({**rest, "others": 0.4e-3}, x, p)["protein"] > 0.0


EDGE = 50e-6 / 2  # s: a spike counts at half of its edge


def spiked(at: float, spikes: list[tuple[float, float]], p: dict[str, float], rate: float = 1.0) -> tuple[float, float]:
    """h (V) and c (mM) at ``at`` (s) after ``spikes``, (time, mM) each; ``rate`` accelerates everything."""
    h, c, now = p["h0"], 0.0, 0.0
    for time, jump in sorted(spikes):
        if time > at:
            break
        h, c = relaxed(h, c, (time - now) * rate, p)
        c, now = c + jump, time
    return relaxed(h, c, (at - now) * rate, p)


def of_the_literature() -> dict[str, tuple[float, float]]:
    """(value, relative tolerance) of the oracles of stc_literature."""
    p = LITERATURE
    both = p["c_pre"] + p["c_post"]
    burst = [(0.01 * (k + 1) + EDGE, both) for k in range(20)]
    single = [(0.01 + EDGE, p["c_post"]), (0.0288 + EDGE, p["c_pre"])]
    early = spiked(0.5, burst, p)[0]
    slow = p["tau_h"] / 0.1  # s
    moved = early - p["h0"]
    tagged = slow * math.log(moved / p["theta_tag"])
    assert moved + 1.1e-3 > p["theta_pro"]  # so that the protein is there at once
    return {
        "after_post": (spiked(0.02, single, p)[1], 0.01),
        "after_pre": (spiked(0.04, single, p)[1], 0.01),
        "calcium": (spiked(burst[-1][0], burst, p)[1], 0.01),
        "early": (early, 0.01),
        "early_1h": (p["h0"] + moved * math.exp(-3600.0 / slow), 0.003),
        "early_7h": (p["h0"] + moved * math.exp(-25200.0 / slow), 0.01),
        "late_1h": (1.0 - math.exp(-tagged / p["tau_z"]), 0.01),
    }


def of_the_equations() -> dict[str, tuple[float, float]]:
    """(value, relative tolerance) of the oracles of stc_equations that are Eqs. 2 to 5."""
    p, rate = TABLE, 10.0
    stimuli = Testbench.load("stc_equations").file.stimuli
    spikes = []
    for name, jump in (("pre", p["c_pre"]), ("post", p["c_post"])):
        given = stimuli[name].model_dump()
        spikes += [
            (given["start"] + k * given["period"] + EDGE, jump) for k, level in enumerate(given["values"]) if level
        ]

    def h(at: float) -> float:
        return spiked(at, spikes, p, rate)[0] / p["h0"]

    level = 1.0 + p["theta_pro"] / p["h0"]
    # on the peak after a spike, before it depresses again
    protein = min(t for t, _ in spikes if max(h(t + after) for after in np.arange(0.0, 6e-3, 0.2e-3)) > level)
    assert h(1000.0) > 1.0 + p["theta_tag"] / p["h0"]  # tagged to the end
    return {
        "equations_spiked": (h(100.0), 0.005),
        "equations_end": (h(1000.0), 0.005),
        "equations_late": (1.0 - math.exp(-(1000.0 - protein) * rate / p["tau_z"]), 0.005),
        "equations_recovery": ((h(250.0) - h(150.0)) / 100.0, 0.02),
        "equations_pulled": ((h(13e-3) - h(11e-3)) / 2e-3, 0.02),
        "equations_dropping": ((h(15e-3) - h(14e-3)) / 1e-3, 0.02),
        "equations_step": (h(40e-3), 0.002),
        "equations_protein": (protein, 0.0004),
        "equations_tag": (1.0 - math.exp(-10.0 * rate / p["tau_z"]), 0.02),
    }


@pytest.mark.parametrize(("name", "oracle"), [("literature", of_the_literature), ("equations", of_the_equations)])
def test_limits_are_the_equations(name: str, oracle: Callable[[], dict[str, tuple[float, float]]]) -> None:
    file = Testbench.load(f"stc_{name}").file
    found = oracle()
    claimed = {key for key, limit in file.limits.items() if limit.origin == "oracle" and not key.startswith("circuit")}
    assert claimed == found.keys()
    for key, (value, tolerance) in found.items():
        low, high = file.limits[key].span(file.measures[key].unit)
        assert low is not None
        assert high is not None
        assert low < value < high, f"{key}: {value:.6g} is not within {low:.6g} .. {high:.6g}"
        assert high - low < 2.5 * tolerance * abs(value), key
