"""What the numbers of the thermal synapse's benches rest on: heat, channel, area, the two structures of the source."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import least_squares

from cosim.engines.simulator import Deck, Simulator
from cosim.heat.extrapolate import limit, quarter_response
from cosim.heat.stack import Stack
from cosim.parameters import ParameterSet
from cosim.resources import find
from reference.oracles.thermal import F_ROWS, HEAT, PSI_PAIRS, R_ROD, V_GATE, VTH, K, channel, eligibilities


def test_the_law_as_published_ends_later() -> None:
    """Eq. 22 with a 3.3 V gate, without the mobility's decline: the largest f."""
    a = R_ROD * K * (V_GATE - VTH)
    assert (a / (1.0 + a)) ** 2 == pytest.approx(0.693, abs=1e-3)


def drawn(simulator: Simulator, *, drop: float) -> np.ndarray:
    """(53,) A of the cell's transistor with its gate at 0.7, 0.75, ... 3.3 V."""
    text = find("netlists", "1t1h1m.cir").read_text()
    card = text[text.index(".model select") :].split("\n\n")[0]
    device = "M1 d g 0 0 select W=0.66u L=0.35u AD=0.462p AS=0.462p PD=2.72u PS=2.72u"
    deck = f"channel\nVd d 0 {drop}\nVg g 0 0\n{device}\n{card}\n.dc Vg 0.7 3.3 0.05\n.end\n"
    return -np.asarray(simulator.run(Deck(deck, save=("i(vd)",)))["dc"]["i(vd)"].values)


@pytest.mark.spice
def test_the_channel_s_set_is_the_fit_to_the_transistor(simulator: Simulator) -> None:
    gate, found = np.linspace(0.7, 3.3, 53), drawn(simulator, drop=5e-3) / 5e-3

    def law(p: np.ndarray) -> np.ndarray:
        over = gate - p[0]
        return np.asarray(p[1] * over / (1.0 + p[2] * over))

    fit = least_squares(lambda p: law(p) / found - 1.0, [0.5, 3e-4, 0.15], x_scale=[0.1, 1e-4, 0.1])
    p = ParameterSet.load("triode_channel:select_1t1h1m").resolved()
    shipped = np.array([p.v_th, p.beta * p.aspect, p.m])
    np.testing.assert_allclose(fit.x, shipped, rtol=0.01)
    np.testing.assert_allclose(law(shipped), found, rtol=0.015)
    assert p.aspect == pytest.approx(0.66 / 0.35, rel=1e-6)


@pytest.mark.spice
@pytest.mark.parametrize("drop", [0.05, 0.1, 0.15])
def test_the_channel_carries_less_at_a_larger_drop(simulator: Simulator, drop: float) -> None:
    """Square law and velocity saturation, as the oracle of the write pulse has them."""
    assert channel(drop) == pytest.approx(drawn(simulator, drop=drop)[-1], rel=0.01)


def test_the_area_of_table_1() -> None:
    """450 F² at 65 nm are its 1.9 µm², and not the pitch of its text."""
    assert pytest.approx(1.9e-12, rel=0.01) == 450 * 65e-9**2
    assert pytest.approx(48, rel=0.01) == (250e-9 + 200e-9) ** 2 / 65e-9**2
    # this transistor with contacts, and 0.3 µm to the next
    assert pytest.approx(1.97e-12, rel=0.01) == (0.35e-6 + 2 * 0.7e-6 + 0.3e-6) * (0.66e-6 + 0.3e-6)


def straightness(found: np.ndarray) -> tuple[float, float]:
    """R² of a line through the origin against f ψ, and the median relative error."""
    law = np.outer(F_ROWS, PSI_PAIRS).ravel()
    line = law * (law @ found) / (law @ law)
    return 1.0 - float(np.sum((found - line) ** 2) / np.sum(found**2)), float(np.median(np.abs(found / line - 1.0)))


def test_both_structures_at_the_pitch_of_the_source() -> None:
    """What crosstalk alone leaves of the proportionality: Fig. 6(e) is better than (b), and gets less warm."""
    plain, modified = eligibilities("stack_250nm"), eligibilities("stack_250nm_modified")
    (r2, median), (r2_modified, median_modified) = straightness(plain), straightness(modified)
    assert 0.99 < r2 < r2_modified < 1.0
    assert median_modified < 0.7 * median
    assert 0.9 * plain.max() < modified.max() < 0.95 * plain.max()


def test_the_modified_structure_couples_better() -> None:
    """Sec. 4 and Fig. 6(f): more of the heater's rise reaches its ReRAM after 60 ns."""
    coupling = []
    for name in ("stack_250nm", "stack_250nm_modified"):
        p = ParameterSet.load(f"thermal_reram:{name}").resolved()
        early = sum(p[f"r_{k}"] * -math.expm1(-60e-9 / p[f"tau_{k}"]) for k in ("fast", "slow"))
        coupling.append(early / (early + p.r_rod))
    assert coupling[1] > 1.1 * coupling[0]


@pytest.mark.slow
@pytest.mark.needs("fipy")
def test_the_heat_equation_has_what_the_crosstalk_is_held_against() -> None:
    """On two coarse meshes of a quarter of the stack, extrapolated at the order of the shipped sets' three."""
    splits, seen = (2, 3), []
    for split in splits:
        found = quarter_response(replace(Stack.baseline(60e-9), refine=0.12), split=split, stop=60e-9)
        at = [[np.interp(t, found.times, column) for column in found.rises.T] for t in (2e-9, 60e-9)]
        seen.append([*at, found.steady])
    early, late, rest = limit(np.array(seen), 1.0 / np.array(splits), order=1.44)
    own = {"own_early": early[1], "own": late[1], "own_at_rest": rest[1], "self_coupling": late[1] / late[0]}
    names = ("row", "column", "diagonal")
    ratios = {f"crosstalk_{name}": late[2 + k] / late[1] for k, name in enumerate(names)}
    ratios |= {f"crosstalk_{name}_at_rest": rest[2 + k] / rest[1] for k, name in enumerate(names) if name != "column"}
    for name, value in {**own, **ratios}.items():
        # a rod of 4 nm in cells of this size: the nearer to it, the coarser
        share = {"self_coupling": 0.06, "own_early": 0.04, "own": 0.03}.get(name, 0.02)
        assert value == pytest.approx(HEAT[name], rel=share), name
