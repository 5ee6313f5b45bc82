"""Learned maps of circuits as vector instructions: the law's own answers in both precisions, whatever it is made of."""

from types import MappingProxyType

import numpy as np
import pytest

from cosim.devices.base import Values
from cosim.devices.maps import Field
from cosim.errors import InputError
from cosim.surrogate.circuit import CIRCUIT, CircuitSet
from cosim.surrogate.learned import Laws, fit
from cosim.surrogate.model import Surrogate

pytest.importorskip("numba")

STATES = {"x": Field("1", (0.0, 1.0)), "y": Field("V", (-1.0, 1.0))}
INPUTS = {"v": Field("V", (-2.0, 2.0)), "width": Field("s", (1e-9, 1e-7))}
RANGES = {name: entry.range for name, entry in {**STATES, **INPUTS}.items()}


def learned(*, fields: tuple[str, ...], targets: tuple[str, ...], kind: str, rng: np.random.Generator):
    """A law that follows what no kind follows exactly."""
    drawn = {name: rng.uniform(*RANGES[name], 700) for name in fields}
    unit = [2.0 * (drawn[name] - RANGES[name][0]) / np.ptp(RANGES[name]) - 1.0 for name in fields]
    found = {name: 0.4 * np.sin(3.0 * sum(unit) + k) - 0.2 * np.abs(unit[0]) for k, name in enumerate(targets)}
    return fit(drawn, found, scales=dict.fromkeys(targets, 1.0), rng=rng, kinds=[kind],
               ranges={name: RANGES[name] for name in fields}).law  # fmt: skip


def circuit(*parts, reading=None) -> Surrogate:
    """A circuit of two states and two inputs, whose outputs are those that the parts have."""
    outputs = [name for part in parts for name in part.targets if name not in STATES]
    outputs += list(reading.targets) if reading is not None else []
    chosen = CircuitSet(
        CIRCUIT, "made up", {}, source="the bench made up", event="pulse", inputs=MappingProxyType(INPUTS),
        states=MappingProxyType(STATES), outputs=MappingProxyType({name: Field("J") for name in outputs}),
    )  # fmt: skip
    return Surrogate(chosen, learned=Laws(tuple(parts)), reading=reading)


def drawn(shape: tuple[int, ...], dtype: str = "float64") -> tuple[Values, Values]:
    """States and inputs, some at the ends of their ranges."""
    rng, found = np.random.default_rng(5), {}
    for name, (low, high) in RANGES.items():
        values = rng.uniform(low, high, shape)
        values[rng.random(shape) < 0.1] = high
        found[name] = np.clip(values.astype(dtype), low, high)
    return Values({n: found[n] for n in STATES}), Values({n: found[n] for n in INPUTS})


@pytest.fixture(scope="module")
def made() -> Surrogate:
    """Two targets on one grid of two fields, a sum in three fields, a polynomial that leaves a state out, a reading."""
    rng = np.random.default_rng(2)
    return circuit(
        learned(fields=("x", "v"), targets=("x", "energy"), kind="spline", rng=rng),
        learned(fields=("y", "v", "width"), targets=("y",), kind="spline", rng=rng),
        learned(fields=("v", "width"), targets=("loss",), kind="polynomial", rng=rng),
        reading=learned(fields=("x",), targets=("conductance",), kind="spline", rng=rng),
    )


@pytest.mark.parametrize(("dtype", "rounding"), [("float64", 1e-13), ("float32", 1e-5)])
@pytest.mark.parametrize("count", [1, 15, 1000])
def test_a_compiled_map_answers_as_its_law_does(made: Surrogate, dtype: str, rounding: float, count: int) -> None:
    known, found = made.step(*drawn((count,))), made.with_(compiled=True, dtype=dtype).step(*drawn((count,), dtype))
    for ours, theirs in zip(found, known, strict=True):
        assert set(ours) == set(theirs)
        for name in theirs:
            assert ours[name].dtype == dtype
            np.testing.assert_allclose(ours[name], theirs[name], rtol=0, atol=rounding)


def test_a_compiled_map_holds_states_in_their_bounds_and_writes_where_it_is_told(made: Surrogate) -> None:
    x, u = drawn((40, 30))
    out = {name: np.full((40, 30), np.nan) for name in ("x", "energy", "conductance")}
    compiled = made.with_(compiled=True)
    after, outputs = compiled.step(x, u, out=out)
    assert np.shares_memory(after.x, out["x"])
    assert np.shares_memory(outputs.conductance, out["conductance"])
    for name, entry in STATES.items():
        low, high = entry.range
        assert after[name].min() == low
        assert after[name].max() <= high
    shared = compiled.step(x, Values({"v": u.v[:, :1], "width": u.width[0, 0]}))
    known = made.step(x, Values({"v": u.v[:, :1], "width": u.width[0, 0]}))
    np.testing.assert_allclose(shared[1].energy, known[1].energy, rtol=0, atol=1e-13)


def test_a_map_whose_law_has_no_text_has_no_compiled_form() -> None:
    rng = np.random.default_rng(3)
    states = learned(fields=("x", "v", "width"), targets=("x", "y"), kind="hinge", rng=rng)
    with pytest.raises(InputError, match="the map pulse of made up has no compiled form; take compiled=False"):
        circuit(states).with_(compiled=True)


def test_single_precision_without_a_compiled_form_is_refused(made: Surrogate) -> None:
    with pytest.raises(InputError, match="has no float32 form; add compiled=True, or take dtype='float64'"):
        made.with_(dtype="float32")
