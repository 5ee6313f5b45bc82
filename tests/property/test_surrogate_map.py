"""Properties of the pulse map for every published set, either law, alone and in a cell."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cosim.devices.base import Values
from cosim.parameters import ParameterSet
from cosim.surrogate.model import Surrogate

CASES = {
    (name, device, law): Surrogate(ParameterSet.load(name).for_device(device), name=law)
    for name in ("tio2", "hfo2", "hzo")
    for device in ("threshold_memristor", "cell_1t1r")
    for law in ("pulse", "published")
}
every = pytest.mark.parametrize("case", CASES, ids="-".join)
states = st.lists(st.floats(0.0, 1.0), min_size=1, max_size=20).map(np.array)
volts = st.floats(-4.0, 4.0)


@every
@given(w=states, v=volts)
def test_states_stay_states(case: tuple[str, str, str], w: np.ndarray, v: float) -> None:
    after = CASES[case].update(w, v)
    assert np.all((after >= 0.0) & (after <= 1.0))


@every
@given(w=states, share=st.floats(-1.0, 1.0))
def test_below_threshold_nothing_moves(case: tuple[str, str, str], w: np.ndarray, share: float) -> None:
    p = CASES[case].values
    v = share * (p.theta_n if share > 0 else p.theta_p)
    np.testing.assert_array_equal(CASES[case].update(w, v), w)


@every
@given(w=states, v=volts)
def test_negative_potentiates_and_positive_depresses(case: tuple[str, str, str], w: np.ndarray, v: float) -> None:
    step = CASES[case].update(w, v) - w
    # Two roundings of a number up to 1.
    assert np.all(step * -np.sign(v) >= -4e-16)


@every
@given(w=st.floats(0.0, 1.0), v=st.tuples(volts, volts))
def test_a_higher_voltage_leaves_a_lower_state(case: tuple[str, str, str], w: float, v: tuple[float, float]) -> None:
    low, high = (float(CASES[case].update(w, volt)) for volt in sorted(v))
    # Rounding, and in the cell the third-order error of the drop where a huge step saturates.
    assert high <= low + (2e-3 if case[1] == "cell_1t1r" else 1e-14)


@pytest.mark.parametrize("case", [c for c in CASES if c[2] == "pulse" and c[1] == "threshold_memristor"], ids="-".join)
@given(w=st.tuples(st.floats(0.0, 1.0), st.floats(0.0, 1.0)), v=volts)
def test_the_rate_law_keeps_the_order_of_states(case: tuple[str, str, str], w: tuple[float, float], v: float) -> None:
    # A flow in one dimension does not let trajectories cross; the map, which jumps, does.
    low, high = (float(CASES[case].update(x, v)) for x in sorted(w))
    assert low <= high + 1e-12


@every
@given(w=states, v=volts)
def test_a_passive_cell_takes_energy(case: tuple[str, str, str], w: np.ndarray, v: float) -> None:
    _, out = CASES[case].step(Values({"w": w}), Values({"amplitude": v}))
    assert np.all(out.energy >= 0.0)
    assert np.all(out.conductance > 0.0)
