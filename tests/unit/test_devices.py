"""Every device of the registry, held to what a compact model has to do."""

import numpy as np
import pytest

from cosim.devices.base import DeviceModel, Param, TwoTerminal, Values
from cosim.devices.registry import device, devices
from cosim.errors import InputError, UnknownName

ALL = sorted(devices())


def random_point(model: DeviceModel, rng: np.random.Generator, n: int) -> tuple[dict[str, np.ndarray], Values]:
    across = {port.name: rng.uniform(-3, 3, n) for port in model.ports}
    states = Values({s.name: rng.uniform(*s.bounds, n) for s in model.all_states})
    return across, states


@pytest.mark.parametrize("name", ALL)
def test_finite_and_broadcasts(name: str) -> None:
    model, rng = device(name), np.random.default_rng(0)
    across, states = random_point(model, rng, 7)
    p = model.defaults()
    columns = Values({entry.name: np.full((5, 1), entry.default) for entry in model.params})
    for values in (model.through(across, states, columns), model.total_rates(across, states, columns)):
        for key, value in values.items():
            assert np.shape(np.broadcast_to(value, (5, 7))) == (5, 7), key
            assert np.all(np.isfinite(value)), key
    for key, value in model.through(across, states, p).items():
        np.testing.assert_allclose(value, model.through(across, states, columns)[key][0], rtol=1e-15)


@pytest.mark.parametrize("name", [n for n in ALL if devices()[n].passive])
def test_passive_and_nothing_flows_at_zero(name: str) -> None:
    model, rng = device(name), np.random.default_rng(1)
    across, states = random_point(model, rng, 100)
    p = model.defaults()
    through = model.through(across, states, p)
    power = sum(across[port.name] * through[port.name] for port in model.ports if port.nature == "electrical")
    assert np.all(power >= 0)
    zero = model.through({port.name: np.zeros(100) for port in model.ports}, states, p)
    assert all(np.all(value == 0) for value in zero.values())


@pytest.mark.parametrize("name", [n for n in ALL if devices()[n].states])
def test_states_do_not_leave_their_bounds(name: str) -> None:
    model, rng = device(name), np.random.default_rng(2)
    across, _ = random_point(model, rng, 200)
    for state in model.states:
        for bound, outward in zip(state.bounds, (-1.0, 1.0), strict=True):
            states = Values(
                {s.name: np.full(200, bound if s is state else np.mean(s.bounds)) for s in model.all_states}
            )
            assert np.all(outward * model.rates(across, states, model.defaults())[state.name] <= 0)


@pytest.mark.parametrize("name", ALL)
def test_parameters_are_described(name: str) -> None:
    model = device(name)
    assert model.title
    assert model.source
    assert len({entry.name for entry in model.params}) == len(model.params)
    for entry in model.params:
        assert entry.description
        assert entry.source
    for state in model.states:
        assert model.param(state.initial)


@pytest.mark.parametrize("name", ALL)
def test_wrong_parameters(name: str) -> None:
    model = device(name)
    entry = model.params[0]
    with pytest.raises(UnknownName, match="unknown parameter"):
        model.values({"no_such": 1.0})
    with pytest.raises(InputError, match=entry.name):
        model.values({entry.name: entry.bounds[1] * 2 + 1})
    with pytest.raises(InputError, match="not finite"):
        model.values({entry.name: np.nan})


def test_unknown_device_offers_the_nearest() -> None:
    with pytest.raises(UnknownName, match="threshold_memristor"):
        device("treshold_memristor")


def test_default_outside_bounds_is_refused() -> None:
    with pytest.raises(InputError, match="outside its bounds"):
        Param("r", 2.0, "Ohm", (0.0, 1.0), "resistance")


def test_values_are_immutable_and_say_what_they_have() -> None:
    values = Values({"w": 1.0})
    with pytest.raises(AttributeError, match="immutable"):
        values.w = 2.0
    with pytest.raises(AttributeError, match="there are w"):
        _ = values.x
    assert values.with_(w=2.0).w == 2.0
    assert values.w == 1.0


def test_two_terminal_needs_its_current() -> None:
    class Half(TwoTerminal):
        name = "half"

    with pytest.raises(TypeError, match="current"):
        Half()
