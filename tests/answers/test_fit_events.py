"""Sequences of events and pairs of pulses: whatever device has the maps, followed as the maps and closed forms say."""

from __future__ import annotations

import numpy as np
import pytest

from cosim.data.recording import Recording
from cosim.data.spec import DataSpec
from cosim.devices.base import DeviceModel, Values
from cosim.devices.pulse import PulseShape
from cosim.devices.registry import device, devices
from cosim.errors import DataError, InputError, UnitError
from cosim.fitting.forward import Forward, forward_for
from cosim.parameters import ParameterSet

UNITS = {"read": "S", "interval": "s", "duration": "s", "amplitude": "V", "sequence": "1", "count": "1"}
WITH_MAPS = [name for name, model in devices().items() if model.maps(model.defaults())]


def forward(model: DeviceModel, columns: dict[str, list[float]], kind: str = "events", **changes: object) -> Forward:
    n = len(next(iter(columns.values())))
    measured = "step" if kind == "pulse pairs" else "read"
    made = {name: np.array(column, dtype=float) for name, column in columns.items()} | {measured: np.zeros(n)}
    units = UNITS | {"delay": "s", "step": "S", "pre": "V", "post": "V", "cell": "V"}
    curve = Recording(kind, made, units | changes.pop("units", {}), **changes)  # type: ignore[arg-type]
    return forward_for(model, curve, np.ones(n, dtype=bool))


def test_spikes_and_rests_are_those_of_the_maps() -> None:
    model, p = device("ecram"), ParameterSet.load("ecram:slow").resolved()
    found = forward(model, {"interval": [2e-3, 2e-3, 0, 0], "duration": [0, 0, 0, 0.1]}).predict(p)
    x, expected = model.initial(p), []
    for _ in range(2):
        x = model.after_rest(model.after_spikes(x, p), p, duration=2e-3)
        expected.append(1.0 / model.resistance(x, p))
    expected.append(expected[-1])  # a row of zeros only reads
    expected.append(1.0 / model.resistance(model.after_rest(x, p, duration=0.1), p))
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_a_sequence_starts_again_and_a_count_repeats() -> None:
    model, p = device("ecram"), ParameterSet.load("ecram:slow").resolved()
    one = forward(model, {"interval": [5e-3] * 7}).predict(p)
    both = {"interval": [5e-3] * 5, "count": [3, 4, 1, 0, 3], "sequence": [1, 1, 2, 2, 1]}
    found = forward(model, both).predict(p)
    np.testing.assert_allclose(found, one[[2, 6, 0, 0, 2]], rtol=1e-12)


def test_its_derivatives_are_the_prediction_s() -> None:
    model, p = device("ecram"), ParameterSet.load("ecram:slow").resolved()
    made = forward(model, {"interval": [5e-3] * 3 + [0], "duration": [0, 0, 0, 0.05], "sequence": [1, 1, 2, 2]})
    slope = made.linearise(p, ("dr", "tau_fast"))[1]
    for name, row in zip(("dr", "tau_fast"), slope, strict=True):
        h = 1e-4 * p[name]
        ends = [made.predict(p.with_(**{name: p[name] + sign * h})) for sign in (1, -1)]
        np.testing.assert_allclose(row, (ends[0] - ends[1]) / (2 * h), rtol=1e-6)


@pytest.mark.parametrize("name", WITH_MAPS)
def test_any_device_with_a_map_is_followed(name: str) -> None:
    model = device(name)
    event = next(iter(model.maps(model.defaults()).values()))
    columns = {n: [field.range[1], 0.0] for n, field in event.inputs.items()}
    units = {n: field.unit for n, field in event.inputs.items()} | {"read": next(iter(model.readings.values()))}
    shape = {n: event.fixed[n] for n in ("width", "rise", "fall") if n in event.fixed}
    found = forward(model, columns, units=units, conditions=shape).predict(model.defaults())
    p = model.defaults()
    start = Values({state.name: p[state.initial] for state in model.states})
    after = event(start, Values({n: c[0] for n, c in columns.items()}), p)[1]
    np.testing.assert_allclose(found, float(after[next(iter(model.readings))]), rtol=1e-9)


def test_what_a_sequence_cannot_have() -> None:
    model = device("ecram")
    with pytest.raises(InputError, match="'w' says where an event starts"):
        forward(model, {"interval": [1e-3], "w": [0.1]}, units={"w": "1"})
    with pytest.raises(DataError, match=r"count of row 2 is 1\.5; give a whole number"):
        forward(model, {"interval": [1e-3, 1e-3], "count": [1, 1.5]})
    with pytest.raises(InputError, match="no column is an input of an event map of ecram; give"):
        forward(model, {"count": [1]})
    with pytest.raises(InputError, match=r"read is in V, and ecram shows .*conductance \(S\)"):
        forward(model, {"interval": [1e-3]}, units={"read": "V"})


def _trapezoid(top: float, shape: PulseShape) -> list[tuple[float, float]]:
    knots = np.cumsum([0.0, shape.rise, shape.width, shape.fall])
    return list(zip(knots, (0.0, top, top, 0.0), strict=True))


def test_a_pair_is_two_pulses_or_their_difference() -> None:
    """Against the memristor's closed form: apart they follow each other, together the device sees their difference."""
    model, shape = device("threshold_memristor"), PulseShape()
    p = ParameterSet.load("threshold_memristor:tio2").resolved()
    pulses = {"pre": _trapezoid(-1.9, shape), "post": _trapezoid(-2.0, shape)}
    pairs = forward(model, {"delay": [1e-6, -1e-6, 0.0]}, "pulse pairs", pulses=pulses)
    g0 = float(model.conductance(Values({"w": p.w0}), p))
    expected = []
    for tops in ((-1.9, 2.0), (2.0, -1.9), (0.1,)):
        w = p.w0
        for top in tops:
            w = model.pulse(top, w, p, shape=shape)[0]
        expected.append(float(model.conductance(Values({"w": w}), p)) - g0)
    # steps of the integration: 1e-5 of the range for each of some tens
    np.testing.assert_allclose(pairs.predict(p), expected, atol=2e-4 * p.g_max)
    assert abs(expected[0] - expected[1]) > 1e-3 * p.g_max


def test_a_jump_is_a_pair_of_corners_at_one_time() -> None:
    model, p = device("threshold_memristor"), ParameterSet.load("threshold_memristor:tio2").resolved()
    square = [(0.0, -2.0), (200e-9, -2.0)]
    found = forward(
        model, {"delay": [1e-6], "count": [2]}, "pulse pairs", pulses={"pre": square, "post": [(0, 0), (1e-9, 0)]}
    ).predict(p)[0]
    w = p.w0
    for _ in range(2):
        w = model.pulse(-2.0, w, p, shape=PulseShape(200e-9, 0.0, 0.0))[0]
    expected = model.conductance(Values({"w": w}), p) - model.conductance(Values({"w": p.w0}), p)
    assert found == pytest.approx(float(expected), abs=2e-4 * p.g_max)


def test_pulses_are_stated_with_units_and_in_order_of_time() -> None:
    spec = {"kind": "pulse pairs", "pulses": {"pre": [["0 ms", 0], ["1 ms", 2]]}}
    with pytest.raises(UnitError, match=r"2 of pulses\.pre has no unit"):
        DataSpec.model_validate(spec).resolved_pulses()
    spec["pulses"] = {"pre": [["2 ms", 0], ["1 ms", "2 V"]]}
    with pytest.raises(InputError, match=r"pulses\.pre needs at least two corners, in order of time"):
        DataSpec.model_validate(spec).resolved_pulses()
    with pytest.raises(InputError, match="shape of the presynaptic pulse is not stated; write"):
        forward(device("vteam"), {"delay": [0.0]}, "pulse pairs")
