"""What a surrogate refuses, and what its certificate may promise."""

from __future__ import annotations

from types import MappingProxyType

import numpy as np
import pytest

from cosim.devices.base import Values
from cosim.devices.maps import Field
from cosim.errors import DomainError
from cosim.surrogate.circuit import CIRCUIT, CircuitSet
from cosim.surrogate.learned import fit
from cosim.surrogate.model import Surrogate


def learned_circuit() -> Surrogate:
    rng = np.random.default_rng(0)
    w, v = rng.random(200), rng.uniform(-1.0, 1.0, 200)
    ranges = {"w": (0.0, 1.0), "v": (-1.0, 1.0)}
    law = fit({"w": w, "v": v}, {"w": 0.1 * v}, scales={"w": 1.0}, rng=rng, kinds=["polynomial"], ranges=ranges).law
    chosen = CircuitSet(
        CIRCUIT, "c", {}, source="x", inputs=MappingProxyType({"v": Field("V", ranges["v"])}),
        states=MappingProxyType({"w": Field("1", ranges["w"])}), event="e",
    )  # fmt: skip
    return Surrogate(chosen, learned=law)


def test_a_learned_circuit_stays_within_its_states_and_is_not_asked_beyond_its_inputs() -> None:
    one = learned_circuit()
    state = Values({"w": np.array(0.95)})
    for _ in range(3):
        state = one.advance(state, Values({"v": 1.0}))
    assert float(state["w"]) == 1.0
    with pytest.raises(DomainError, match="v"):
        one.advance(state, Values({"v": 2.0}))
    with pytest.raises(DomainError, match="state w"):
        one.advance(Values({"w": 1.15}), Values({"v": 0.5}))
    with pytest.warns(match="v"):
        one.with_(policy="warn").advance(state, Values({"v": 2.0}))
