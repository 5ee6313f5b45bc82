"""The text that a simulator evaluates against the numpy functions, at random voltages, states and parameters."""

import numpy as np
import pytest

from claims.pointwise import differences, expected, random_points
from cosim.devices.registry import device, devices
from cosim.engines.simulator import Simulator
from cosim.parameters import shipped_sets

FORMS = [
    pytest.param("behavioural", marks=pytest.mark.spice),
    pytest.param("verilog-a", marks=[pytest.mark.spice, pytest.mark.osdi]),
]
SETS = sorted(shipped_sets()) + [(n, "") for n in devices() if not any(key[0] == n for key in shipped_sets())]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("case", SETS, ids=":".join)
def test_currents_and_drifts_agree(case: tuple[str, str], form: str, simulator: Simulator) -> None:
    model = device(case[0])
    p = shipped_sets()[case].resolved() if case[1] else model.defaults()
    found = differences(model, p, simulator=simulator, form=form, rng=np.random.default_rng(7))
    # 1e-6 relative: rounding in another order, and for an inner node Newton's method at a relative 1e-9
    assert max(found.values()) < 1e-6, found


@pytest.mark.parametrize("name", sorted(devices()))
def test_points_move_every_quantity(name: str) -> None:
    """A comparison of zeros would hold, too."""
    model = device(name)
    points = random_points(model, model.defaults(), rng=np.random.default_rng(7), count=50)
    answers = [expected(model, point) for point in points]
    for pin, first in answers[0].items():
        sense = all(pin not in port.nodes for port in model.ports if port.nature != "sense") and pin in model.nodes
        assert sense or any(answer[pin] != first for answer in answers), pin
