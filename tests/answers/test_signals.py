"""Measures of edges, responses and noise, each against its closed form; and arithmetic on measures."""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest
import xarray

from cosim.bench.measures import signals, waveforms
from cosim.bench.measures.dimensions import PLAIN, Dimension, Known
from cosim.bench.measures.kinds import At, Crossing, Point, Reduced
from cosim.bench.testbench import Testbench
from cosim.engines.simulator import Simulator
from cosim.errors import InputError, UnitError


def point(y: np.ndarray, **axis: np.ndarray) -> Point:
    ((name, x),) = axis.items()
    return Point(xarray.Dataset({"v(out)": (name, y)}, coords={name: x}), MappingProxyType({}), MappingProxyType({}))


T = np.linspace(0.0, 20.0, 200_001)
ZETA = 0.3
W = np.sqrt(1.0 - ZETA**2)
RC = point(1.0 - np.exp(-T), time=T)
RING = point(1.0 - np.exp(-ZETA * T) * (np.cos(W * T) + ZETA / W * np.sin(W * T)), time=T)
SINE = point(2.0 * np.sin(2.0 * np.pi * T) + 0.1 * np.sin(6.0 * np.pi * T) + 5.0, time=T)
F = np.logspace(0.0, 6.0, 601)
S = 1j * F / 1e3
FALL = point(np.exp(-T) - 1.0, time=T)
HIGH = point(1j * F / 1e2 / (1.0 + 1j * F / 1e2), frequency=F)
BAND = point(1j * F / 1e2 / (1.0 + 1j * F / 1e2) / (1.0 + 1j * F / 1e5), frequency=F)
INVERTED = point(-1e3 / (1.0 + S) ** 3, frequency=F)
# Two poles at the origin and a zero at 1 kHz, with a gain of 1 at twice that: |1 + jx| = (x/2)^2 sqrt(5)
DOUBLE_AT = 2.0
DOUBLE = point(-(1.0 + S) * 4.0 / np.sqrt(5.0) / np.abs(S) ** 2, frequency=F)
LOOP = point(1e3 / (1.0 + S) ** 3, frequency=F)  # three poles at 1 kHz


@pytest.mark.parametrize(
    ("kind", "given", "where", "wanted"),
    [
        (signals.Edge, {"kind": "rise-time", "top": 1.0}, RC, np.log(9.0)),
        (signals.Edge, {"kind": "rise-time", "top": 1.0, "low": 0.2, "high": 0.8}, RC, np.log(4.0)),
        (signals.Edge, {"kind": "slew-rate", "top": 1.0, "low": 0.2, "high": 0.8}, RC, 0.6 / np.log(4.0)),
        (signals.Edge, {"kind": "fall-time", "top": -1.0}, FALL, np.log(9.0)),
        (signals.Edge, {"kind": "slew-rate", "top": -1.0, "low": 0.2, "high": 0.8}, FALL, -0.6 / np.log(4.0)),
        (Reduced, {"kind": "mean"}, SINE, 5.0),
        (Reduced, {"kind": "integral"}, SINE, 100.0),
        (Reduced, {"kind": "integral", "start": 0.0, "stop": 0.25}, SINE, 1.25 + 2.0 / (2 * np.pi) + 0.1 / (6 * np.pi)),
        (Reduced, {"kind": "max", "stop": 0.5}, SINE, 6.9),
        (Reduced, {"kind": "swing"}, RC, 1.0),
        (Crossing, {"kind": "crossing", "level": 0.5}, RC, np.log(2.0)),
        (signals.Response, {"kind": "bandwidth", "band": "high"}, HIGH, 1e2),
        (signals.Response, {"kind": "bandwidth", "band": "band"}, BAND, 1e5 + 1e2),
        (signals.Response, {"kind": "phase-margin"}, INVERTED, 180.0 - 3.0 * np.degrees(np.arctan(np.sqrt(99.0)))),
        (signals.Response, {"kind": "gain-margin"}, INVERTED, 20.0 * np.log10(8.0 / 1e3)),
        (signals.Response, {"kind": "phase-margin"}, DOUBLE, np.degrees(np.arctan(DOUBLE_AT))),
        (At, {"kind": "derivative", "at": 1.0}, RC, np.exp(-1.0)),
        (signals.Settling, {"kind": "settling-time", "top": 1.0}, RC, np.log(100.0)),
        (signals.Settling, {"kind": "settling-time", "top": 1.0, "within": 0.1}, RC, np.log(10.0)),
        (signals.Overshoot, {"kind": "overshoot", "top": 1.0}, RC, 0.0),
        (signals.Overshoot, {"kind": "overshoot", "top": 1.0}, RING, np.exp(-np.pi * ZETA / W)),
        (signals.Rms, {"kind": "rms", "start": 10.0}, SINE, np.sqrt(25.0 + 2.0 + 0.005)),
        (signals.Distortion, {"kind": "thd", "frequency": 1.0}, SINE, 0.05),
        (signals.Response, {"kind": "bandwidth"}, LOOP, 1e3 * np.sqrt(2.0 ** (1.0 / 3.0) - 1.0)),
        (signals.Response, {"kind": "unity-gain"}, LOOP, 1e3 * np.sqrt(99.0)),
        (signals.Response, {"kind": "phase-margin"}, LOOP, 180.0 - 3.0 * np.degrees(np.arctan(np.sqrt(99.0)))),
        (signals.Response, {"kind": "gain-margin"}, LOOP, 20.0 * np.log10(8.0 / 1e3)),
    ],
)
def test_closed_forms(kind: type[signals.PointMeasure], given: dict[str, object], where: Point, wanted: float) -> None:
    # what linear steps between the points cost: 1e-8 in time, 1 % of a decade squared in frequency
    assert kind(of="v(out)", **given).evaluate(where) == pytest.approx(wanted, rel=1e-3, abs=1e-9)


WHITE = point(np.full(F.size, 3e-9), frequency=F)
FLICKER = point(1e-6 / np.sqrt(F), frequency=F)


@pytest.mark.parametrize(
    ("where", "band", "wanted"),
    [
        (WHITE, {}, 3e-9 * np.sqrt(1e6 - 1.0)),
        (WHITE, {"start": 150.0, "stop": 2345.0}, 3e-9 * np.sqrt(2345.0 - 150.0)),
        (FLICKER, {"start": 17.0, "stop": 170.0}, 1e-6 * np.sqrt(np.log(10.0))),
        (point(1e-9 * F, frequency=F), {"start": 10.0, "stop": 20.0}, 1e-9 * np.sqrt((20.0**3 - 10.0**3) / 3.0)),
    ],
)
def test_noise_in_a_band(where: Point, band: dict[str, float], wanted: float) -> None:
    noise = signals.IntegratedNoise(kind="integrated-noise", of="v(out)", **band)
    assert noise.evaluate(where) == pytest.approx(wanted, rel=1e-9)


def test_parts_of_a_small_signal() -> None:
    def at_1_khz(name: str) -> float:
        return float(waveforms.sample(LOOP.data, name, at=1e3))

    value = 1e3 / (1.0 + 1j) ** 3
    assert at_1_khz("vdb(out)") == at_1_khz("DB(v(out))") == pytest.approx(20.0 * np.log10(abs(value)))
    assert at_1_khz("vp(out)") == at_1_khz("ph(v(out))") == pytest.approx(-135.0)
    assert waveforms.vector(LOOP.data, "vp(out)")[-1] == pytest.approx(-270.0, abs=0.2)  # without a jump at -180
    assert at_1_khz("vr(out)") == pytest.approx(value.real)
    assert at_1_khz("vi(out)") == pytest.approx(value.imag)
    pair = waveforms.vector(LOOP.data.assign({"v(in)": LOOP.data["v(out)"] * 0 + 1e3}), "vr(in,out)")
    assert pair == pytest.approx(1e3 - waveforms.vector(LOOP.data, "re(v(out, 0))"))
    assert waveforms.needed("vdb(A,b)") == ("v(a)", "v(b)")
    assert waveforms.needed("ph(v(a,0))") == ("v(a)",)
    assert at_1_khz("vm(out)") == at_1_khz("v(out)") == pytest.approx(abs(value))


@pytest.mark.parametrize(
    ("measure", "says"),
    [
        (signals.Edge(kind="fall-time", of="v(out)"), "goes from 0 to 1"),
        (signals.Settling(kind="settling-time", of="v(out)", top=2.0), "of its step away at the end"),
        (signals.Overshoot(kind="overshoot", of="v(out)", base=1.0, top=1.0), "ends where it begins"),
        (signals.Edge(kind="rise-time", of="v(out)", low=0.9, high=0.1), "is not below"),
        (signals.Edge(kind="rise-time", of="v(out)", start=1.0, base=0.0, top=1.0), "at 63% of its step where"),
    ],
)
def test_what_has_no_value_says_why(measure: signals.PointMeasure, says: str) -> None:
    with pytest.raises(InputError, match=says):
        measure.evaluate(RC)


def test_an_edge_between_two_points() -> None:
    edge = signals.Edge(kind="rise-time", of="v(out)")
    assert edge.evaluate(point(np.array([0.0, 1.0, 1.0]), time=np.arange(3.0))) == pytest.approx(0.8)
    assert edge.evaluate(point(np.array([0.0, 0.0, 1.0]), time=np.arange(3.0))) == pytest.approx(0.8)


def test_units_of_all_arguments_are_looked_at() -> None:
    kinds = {"v": Dimension(("V",)), "i": Dimension(("A",))}
    known = Known(kinds.__getitem__, PLAIN, kinds.__getitem__)
    assert signals.Expression(kind="expression", value="max(v, -v)").dimension(known) == kinds["v"]
    with pytest.raises(UnitError, match="V"):
        signals.Expression(kind="expression", value="max(v, i)").dimension(known)


def test_arithmetic() -> None:
    found = {"a": np.array([[1.0, 2.0, 4.0]]), "b": np.array([[2.0]])}

    def of(value: str) -> list[float]:
        return list(np.atleast_1d(signals.Expression(kind="expression", value=value).combine(found, {})))

    assert of("(a - 1)/b + 1k") == [1000.0, 1000.5, 1001.5]
    assert of("db(10*b/2)") == pytest.approx([20.0])
    for bad, says in (("a +", "is not an expression"), ("a/(b - 2)", "division by zero"), ("c", "unknown measure"),
                      ("a b", "follows its end"), ("ln(0*b)", "not finite"),
                      ("pow(-b, 0.5)", "not finite"), ("(-b)**0.5", "not finite"), ("min(b)", "number of arguments"),
                      ("log10()", "number of arguments")):  # fmt: skip
        with pytest.raises(InputError, match=says):
            of(bad)


BENCH = """
title = "a divider with a capacitor"
circuit = '''
v1 in 0 dc 1 ac 1
r1 in out 1k
r2 out 0 1k
c1 out 0 1n
'''
[analyses]
ac = { kind = "ac", start = "1 kHz", stop = "10 MHz", points = 50 }
noise = { kind = "noise", output = "v(out)", source = "v1", start = "1 Hz", stop = "1 GHz", points = 20 }
tf = { kind = "tf", output = "v(out)", source = "v1" }
sens = { kind = "sens", output = "v(out)" }
pz = { kind = "pz", input = ["in", "0"], output = ["out", "0"] }
[measures]
gain = { kind = "max", of = "vdb(out)", analysis = "ac" }
phase = { kind = "at", of = "vp(out)", at = "318.30989 kHz", analysis = "ac" }
band = { kind = "bandwidth", of = "v(out)", unit = "kHz", analysis = "ac" }
density = { kind = "at", of = "onoise_spectrum", at = "1 kHz", analysis = "noise" }
total = { kind = "final", of = "onoise_total", analysis = "noise" }
ratio = { kind = "final", of = "transfer_function", analysis = "tf" }
by_r1 = { kind = "final", of = "r1", analysis = "sens" }
pole = { kind = "final", of = "re(pole(1))", analysis = "pz" }
corner = { kind = "expression", value = "abs(pole)/6.283185307179586/band" }
"""


@pytest.mark.spice
def test_small_signals_and_noise_of_a_divider(simulator: Simulator, tmp_path: Path) -> None:
    file = tmp_path / "divider.toml"
    file.write_text(BENCH)
    result = Testbench.load(file).run(simulator)
    assert not result.missing, result.missing
    found = {name: float(measured.values[0]) for name, measured in result.measures.items()}
    boltzmann, kelvin = 1.380649e-23, 300.15
    pole = 1.0 / (500.0 * 1e-9)
    assert found == pytest.approx(
        {
            "gain": -20.0 * np.log10(2.0), "phase": -45.0, "band": pole / (2.0 * np.pi), "ratio": 0.5, "pole": -pole,
            "by_r1": -0.25e-3, "density": np.sqrt(4.0 * boltzmann * kelvin * 500.0),
            "total": np.sqrt(boltzmann * kelvin / 1e-9), "corner": 1.0,
        },
        rel=3e-3,  # the grid of frequencies, and noise above 1 GHz
    )  # fmt: skip


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_phase_margin_is_that_of_a_sweep_from_beyond_the_first_pole(sign: float) -> None:
    whole, part = (np.logspace(start, 8.0, 400) for start in (0.0, 3.0))
    margins = [
        signals.Response(kind="phase-margin", of="v(out)").evaluate(
            point(sign * 1e3 / (1.0 + 1j * f / 160.0) / (1.0 + 1j * f / 1.6e5), frequency=f)
        )
        for f in (whole, part)
    ]
    assert margins[1] == pytest.approx(margins[0], abs=0.1)
