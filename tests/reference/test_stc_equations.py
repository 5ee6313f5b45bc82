"""Tagging and capture as differential equations (`cosim.devices.stc_equations`) against closed forms typed anew."""

import numpy as np
import pytest

from cosim.devices.integrate import integrate
from cosim.devices.stc_equations import StcEquations
from cosim.parameters import ParameterSet
from reference.oracles.stc_equations import LITERATURE, TABLE, relaxed

MODEL = StcEquations()


@pytest.mark.parametrize(("name", "table"), [("thesis", TABLE), ("literature", LITERATURE)])
def test_sets_are_the_tables(name: str, table: dict[str, float]) -> None:
    p = ParameterSet.load(f"stc_equations:{name}").resolved()
    assert {key: float(p[key]) for key in table} == pytest.approx(table, rel=1e-9)
    assert p.h_init == p.h0


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
