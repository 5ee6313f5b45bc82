"""Measures of STDP curves and loops on waveforms that were made up."""

import numpy as np
import pytest
import xarray as xr

from cosim.bench.measures.kinds import Point
from cosim.bench.measures.loops import ConductanceAt, LoopArea, Pinch
from cosim.bench.measures.stdp import (
    Delays,
    LevelRatio,
    RowConductance,
    StdpAt,
    StdpCurve,
    StdpDistance,
    StdpPeak,
    StdpWindow,
)
from cosim.errors import InputError
from cosim.schema import validate

DELAYS = {"first": "-2 ms", "last": "2 ms", "count": 5}
CURVE = np.array([-0.5, -1.0, 0.0, 2.0, 1.0])


def point(**vectors: np.ndarray) -> Point:
    t = np.linspace(0.0, 1.0, next(iter(vectors.values())).size)
    return Point(xr.Dataset({name: ("time", y) for name, y in vectors.items()}, {"time": t}), {}, {})


def of(cls: type, **fields: object) -> object:
    return validate(cls, fields, kind="measure")


def test_curve_reads_before_and_after() -> None:
    data = point(**{"i(v00)": np.array([1.0, 1.0, 3.0]), "i(v01)": np.array([2.0, 2.0, 1.0]), "v(p)": np.ones(3) * 2})
    curve = of(StdpCurve, kind="stdp-curve", current="i(v{})", count=2, before="0.2 s", after="1 s")
    assert curve.vectors() == ("i(v00)", "i(v01)")
    np.testing.assert_allclose(curve.evaluate(data), [2.0, -0.5])
    row = of(RowConductance, kind="row-conductance", current="i(v{})", voltage="v(p)", count=2, at="1 s")
    np.testing.assert_allclose(row.evaluate(data), [1.5, 0.5])


def test_curve_of_conductances_each_over_its_own_voltage() -> None:
    data = point(
        **{"i(v00)": np.array([1.0, 1.0, 3.0]), "i(v01)": np.array([2.0, 2.0, 1.0])},
        **{"v(x00)": np.array([1.0, 1.0, 0.5]), "v(x01)": np.array([4.0, 4.0, 2.0])},
    )
    curve = of(StdpCurve, kind="stdp-curve", current="i(v{})", voltage="v(x{})", count=2, before="0.2 s", after="1 s")
    np.testing.assert_allclose(curve.evaluate(data), [5.0, 0.0])
    row = of(RowConductance, kind="row-conductance", current="i(v{})", voltage="v(x{})", count=2, at="1 s")
    np.testing.assert_allclose(row.evaluate(data), [6.0, 0.5])
    with pytest.raises(InputError, match=r"v\(x\{\}\) is zero in a read"):
        curve.evaluate(point(**{name: np.zeros(3) if name == "v(x01)" else y.values for name, y in data.data.items()}))


def test_reads_without_a_signal_are_refused() -> None:
    data = point(**{"i(v00)": np.zeros(3), "v(p)": np.zeros(3)})
    with pytest.raises(InputError, match="no current before"):
        of(StdpCurve, kind="stdp-curve", current="i(v{})", count=1, before="0 s", after="1 s").evaluate(data)
    row = of(RowConductance, kind="row-conductance", current="i(v{})", voltage="v(p)", count=1, at="1 s")
    with pytest.raises(InputError, match="is zero at 1 s"):
        row.evaluate(data)


@pytest.mark.parametrize(
    ("cls", "fields", "expected"),
    [
        (StdpPeak, {"kind": "stdp-max-delay"}, 1e-3),
        (StdpPeak, {"kind": "stdp-min-delay"}, -1e-3),
        (StdpWindow, {"kind": "stdp-window-opens", "level": -0.75}, -1.5e-3),
        (StdpWindow, {"kind": "stdp-window-closes", "level": 1.5}, 1.5e-3),
        (StdpAt, {"kind": "stdp-at", "delay": "-0.5 ms"}, -0.5),
        (StdpDistance, {"kind": "stdp-distance"}, np.sqrt(np.mean(CURVE**2))),
    ],
)
def test_of_a_curve(cls: type, fields: dict[str, object], expected: float) -> None:
    measure = of(cls, of="c", delays=DELAYS, **fields)
    assert measure.combine({"c": CURVE}, {}) == pytest.approx(expected)
    with pytest.raises(InputError, match="4 values for 5 delays"):
        measure.combine({"c": CURVE[:4]}, {})


def test_a_delay_outside_the_curve_is_refused() -> None:
    with pytest.raises(InputError, match=r"0\.003 s is outside the curve's -0\.002 \.\. 0\.002 s"):
        of(StdpAt, kind="stdp-at", of="c", delays=DELAYS, delay="3 ms").combine({"c": CURVE}, {})


def test_distance_to_its_own_action_is_zero() -> None:
    t = Delays(first=-2e-3, last=2e-3, count=9).values() * 1e3
    made = np.where(
        t > 0, 3 * (1 - np.exp(-np.maximum(0.5 - 0.1 * t**2, 0))), np.exp(-np.maximum(0.4 + 0.1 * t, 0)) - 1
    )
    measure = of(
        StdpDistance, kind="stdp-distance", of="c", delays={**DELAYS, "count": 9}, discharge=[0.5, 0.0, -0.1],
        charge=[0.4, 0.1], between=["0 s", "1 s"],
    )  # fmt: skip
    assert measure.combine({"c": made}, {}) == pytest.approx(0.0, abs=1e-12)


def test_level_ratio() -> None:
    measure = of(LevelRatio, kind="level-ratio", of="c")
    assert measure.combine({"c": np.array([4.0, 1.0, 2.0, 3.0])}, {}) == pytest.approx(4 / 3)
    with pytest.raises(InputError, match="needs at least two positive"):
        measure.combine({"c": np.array([0.0, 1.0])}, {})


def test_loops() -> None:
    phase = np.linspace(0.0, 2 * np.pi, 4001)
    v = np.sin(phase)
    names = {"voltage": "v(a)", "current": "i(a)"}
    line = point(**{"v(a)": v, "i(a)": 2.0 * v})
    assert of(Pinch, kind="pinch", **names).evaluate(line) < 1e-12
    assert of(LoopArea, kind="loop-area", **names).evaluate(line) == pytest.approx(0.0, abs=1e-12)
    np.testing.assert_allclose(
        of(ConductanceAt, kind="conductance-at", at=["0.1 s", "0.9 s"], **names).evaluate(line), 2.0
    )
    ellipse = point(**{"v(a)": v, "i(a)": np.cos(phase)})
    assert of(Pinch, kind="pinch", **names).evaluate(ellipse) == pytest.approx(1.0)
    assert of(LoopArea, kind="loop-area", **names).evaluate(ellipse) == pytest.approx(np.pi, rel=1e-5)
    with pytest.raises(InputError, match="never crosses zero"):
        of(Pinch, kind="pinch", **names).evaluate(point(**{"v(a)": v + 2.0, "i(a)": v}))
    with pytest.raises(InputError, match="beside the zero"):
        of(ConductanceAt, kind="conductance-at", at="0 s", **names).evaluate(line)
