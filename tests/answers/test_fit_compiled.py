"""Trains and loops that are followed by compiled code: the same reads, derivatives and fits as in numpy."""

from __future__ import annotations

import numpy as np
import pytest

from cosim.data.recording import Curve
from cosim.devices.pulse import PulseShape
from cosim.devices.registry import device
from cosim.emit import numba_filter
from cosim.emit.derivative import derivatives
from cosim.emit.expr import Node, merged, postorder
from cosim.errors import EmitError
from cosim.fitting.forward import forward_for
from cosim.fitting.forwards import events, loop, pulse_train
from cosim.fitting.plateau import hazard
from cosim.fitting.process import FilteredTrain, TrainNoise, clipped

pytest.importorskip("numba")

V = np.where(np.arange(80) % 3 == 0, 1.0, -1.0) * np.random.default_rng(5).uniform(1.2, 2.4, 80)


def train(name: str) -> pulse_train.PulseTrainForward:
    curve = Curve.pulse_train(V, np.full(80, 1e-4), shape=PulseShape(), v_read=0.1)
    made = forward_for(device(name), curve, np.ones(80, dtype=bool))
    assert isinstance(made, pulse_train.PulseTrainForward)
    return made


def test_a_compiled_train_is_the_train(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "threshold_memristor"
    p = device(name).defaults()
    slow = train(name)
    expected, by_numpy = slow.linearise(p, slow.active)
    monkeypatch.setattr(pulse_train, "MANY", 0)
    fast = train(name)
    read, slopes = fast.linearise(p, fast.active)
    assert fast._train() is not None
    span = np.ptp(expected)
    assert read == pytest.approx(expected, rel=0.0, abs=1e-12 * span)
    assert fast.predict(p) == pytest.approx(read, rel=1e-14)
    # central differences with a step of 6e-6 are good to some 1e-9
    assert slopes == pytest.approx(by_numpy, rel=0.0, abs=1e-7 * np.abs(by_numpy).max(axis=1, keepdims=True).max())
    for mine, theirs in zip(slopes, by_numpy, strict=True):
        assert np.abs(mine - theirs).max() <= 1e-7 * np.abs(theirs).max()


@pytest.mark.parametrize("limited", [False, True])
def test_a_compiled_filter_is_the_filter(limited: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    model, rows, rng = device("threshold_memristor"), np.ones(80, dtype=bool), np.random.default_rng(1)
    p = model.defaults()
    clean = train("threshold_memristor").predict(p)
    reads = clean + 0.05 * np.ptp(clean) * rng.standard_normal(80)
    curve = Curve.pulse_train(V, reads, shape=PulseShape(), v_read=0.1)
    side = rng.integers(-1, 2, 80) if limited else np.zeros(80, dtype=np.int64)
    sigma, gain, width = 0.05 * np.ptp(clean), rng.uniform(0.2, 0.9, 80), rng.uniform(0.0, 0.3, 80)

    def found() -> tuple[np.ndarray, ...]:
        made = FilteredTrain(model, curve, rows, gain=gain, side=side, sigma=sigma, width=width)
        noise = TrainNoise(0.2, 0.3), np.full(80, sigma)
        return made.predict(p), *made.linearise(p, made.active), *made.linear(p).filtered(*noise, rows)

    alone, expected, by_numpy, *filtered = found()
    monkeypatch.setattr(pulse_train, "MANY", 0)
    monkeypatch.setattr(numba_filter, "MANY", 0)
    again, read, slopes, *compiled = found()
    assert again == pytest.approx(alone, rel=0.0, abs=1e-12 * np.ptp(alone))
    assert read == pytest.approx(expected, rel=0.0, abs=1e-12 * np.ptp(alone))
    for mine, theirs in zip(slopes, by_numpy, strict=True):
        assert np.abs(mine - theirs).max() <= 1e-6 * np.abs(theirs).max()
    for mine, theirs in zip(compiled, filtered, strict=True):
        assert mine == pytest.approx(theirs, rel=1e-12)


def test_compiled_events_are_the_events(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three sequences of unequal length, with bursts and rows that only rest."""
    model, n = device("ecram"), 40
    columns = {
        "sequence": np.repeat([1.0, 2.0, 3.0], [20, 12, 8]),
        "count": np.where(np.arange(n) % 7 == 0, 3.0, 1.0),
        "interval": np.where(np.arange(n) % 3 == 0, 0.0, 0.02),
        "duration": np.where(np.arange(n) % 2 == 0, 0.05, 0.0),
        "read": np.full(n, 1e-4),
    }
    units = {"sequence": "1", "count": "1", "interval": "s", "duration": "s", "read": "S"}
    p = model.defaults().with_(w0=0.4, m_fast0=0.1)

    def found() -> tuple[np.ndarray, np.ndarray]:
        made = forward_for(model, Curve("events", columns, units), np.ones(n, dtype=bool))
        return made.linearise(p, made.active)

    expected, by_numpy = found()
    monkeypatch.setattr(events, "MANY", 0)
    followed = []
    follow = events.EventsForward._follow
    monkeypatch.setattr(events.EventsForward, "_follow", lambda *given: followed.append(follow(*given)))
    read, slopes = found()
    assert followed
    assert read == pytest.approx(expected, rel=1e-12)
    size = np.abs(by_numpy).max(axis=1, keepdims=True)
    assert np.abs(slopes - by_numpy).max(axis=1) == pytest.approx(0.0, abs=1e-6 * size.max())


@pytest.mark.parametrize("z", [-60.0, -35.1, -34.9, -8.0, -1.0, 0.0, 3.0, 40.0])
def test_one_number_of_a_filter_is_the_array_s(z: float) -> None:
    assert numba_filter.beyond_limit(z) == pytest.approx(float(hazard(np.array(z))), rel=1e-9)
    centre, variance = clipped(0.3, 0.2 + abs(z))
    assert numba_filter.moved_to_bounds(0.3, 0.2 + abs(z))[:2] == pytest.approx(
        (float(centre), float(variance)), rel=1e-11
    )


def test_a_pulse_that_takes_long_to_compile_stays_in_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulse_train, "MANY", 0)
    assert train("cell_1t1r")._train() is None


@pytest.mark.parametrize("name", ["vteam", "yakopcic", "threshold_memristor"])
def test_a_compiled_loop_is_the_loop(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = device(name)
    t = np.linspace(0.0, 1.0, 91)
    v = 2.0 * np.sin(2.0 * np.pi * t)
    start = model.states[0].initial
    p = model.defaults().with_(**{start: 0.4})
    curve = Curve.loop(t, v, np.zeros(t.size))

    def found() -> tuple[np.ndarray, np.ndarray]:
        made = forward_for(model, curve, np.ones(t.size, dtype=bool))
        return made.linearise(p, made.active)

    current, slopes = found()
    monkeypatch.setattr(loop, "_compiled", lambda *_: None)
    expected, by_numpy = found()
    # numpy's slope of the rate is a difference over 1e-6 of the state
    assert current == pytest.approx(expected, rel=0.0, abs=1e-7 * np.ptp(expected))
    largest = np.abs(by_numpy * np.array([abs(p[n]) or 1.0 for n in p if n in _active(model, curve)])[:, None]).max()
    for mine, theirs, n in zip(slopes, by_numpy, _active(model, curve), strict=True):
        assert np.abs(mine - theirs).max() * (abs(p[n]) or 1.0) <= 1e-5 * largest, n


def _active(model, curve):  # type: ignore[no-untyped-def]
    return forward_for(model, curve, np.ones(len(curve), dtype=bool)).active


ONE = {
    "exp": np.exp, "exp2": np.exp2, "expm1": np.expm1, "log": np.log, "log2": np.log2, "log1p": np.log1p,
    "sqrt": np.sqrt, "square": np.square, "reciprocal": np.reciprocal, "sin": np.sin, "cos": np.cos, "tan": np.tan,
    "sinh": np.sinh, "cosh": np.cosh, "tanh": np.tanh, "arctan": np.arctan, "absolute": np.abs,
    "negative": np.negative,
}  # fmt: skip
TWO = {
    "add": np.add, "subtract": np.subtract, "multiply": np.multiply, "divide": np.divide, "power": np.power,
    "maximum": np.maximum, "minimum": np.minimum,
    "chosen": lambda x, y: np.where(x > y, x * x * y, x - 3.0 * y),
}  # fmt: skip
_EVALUATE = {
    "+": np.add, "-": np.subtract, "*": np.multiply, "/": np.divide, "pow": np.power, "max": np.maximum,
    "min": np.minimum, "where": np.where, ">": np.greater, "<": np.less, "neg": np.negative, "abs": np.abs,
    "ln": np.log, "atan": np.arctan,
}  # fmt: skip


def value(root: Node, places: dict[str, float]) -> float:
    known: dict[int, float] = {}
    for node in postorder(merged({"root": root}).values()):
        if node.op in ("const", "name"):
            known[id(node)] = float(node.args[0]) if node.op == "const" else places[node.args[0]]
        else:
            function = _EVALUATE.get(node.op) or getattr(np, node.op)
            known[id(node)] = function(*(known[id(arg)] for arg in node.args))
    return known[id(node)]


@pytest.mark.parametrize("name", [*ONE, *TWO])
def test_derivatives_are_those_of_the_function(name: str) -> None:
    x, y = Node("name", "x"), Node("name", "y")
    for at in ({"x": 0.7, "y": 1.3}, {"x": 1.6, "y": 0.4}):
        called = (lambda a, b: ONE[name](a * b + a)) if name in ONE else TWO[name]
        graph = Node.of(called(x, y))
        for one, slope in zip("xy", derivatives(graph, ["x", "y"]), strict=True):
            h = 1e-6
            up, down = (value(graph, at | {one: at[one] + sign * h}) for sign in (1.0, -1.0))
            assert value(slope, at) == pytest.approx((up - down) / (2.0 * h), rel=1e-6, abs=1e-8), (one, at)


def test_an_operation_without_a_derivative_is_named() -> None:
    with pytest.raises(EmitError, match="'sign' has no derivative"):
        derivatives(Node("sign", Node("name", "x")), ["x"])
