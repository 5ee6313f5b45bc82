"""Laws that describe a course without a device: retention, endurance, pairs of pulses, STDP windows, conduction.

They are candidates beside the devices where a curve is taken without a recipe (`cosim.fitting.auto`): what a device has
to beat, and what is left to say where no device has a law for the measurement. Each is a closed form of one column. The
start values are read off the fitted rows; the search does the rest.

Sources: relaxation by one or two times and the stretched exponential (Kohlrausch 1854); drift as a power of time
(Karpov et al., J. Appl. Phys. 102, 124503 (2007)); paired pulses (Zucker & Regehr, Annu. Rev. Physiol. 64, 355 (2002));
STDP windows (Bi & Poo, J. Neurosci. 18, 10464 (1998)); conduction: ohmic, space-charge limited (a power of the voltage)
and hopping, sinh (Chiu, Adv. Mater. Sci. Eng. 2014, 578168). The step of one pulse over the conductance: insertion, the
exchange current x^a (1 − x)^b of an insertion electrode with the occupancy x (Butler–Volmer; Doyle, Fuller & Newman,
J. Electrochem. Soc. 140, 1526 (1993)), which soft bounds lack: it has a hump; and the exponential step of Gong et al.,
Nat. Commun. 9, 2102 (2018), towards each end of the range. That the occupancy is linear in the conductance, and that a
and b need not add up to 1, are our choices.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from cosim.devices.base import Array, Param, Values
from cosim.fitting.forward import THE_DATA

CONSTANT = "constant"
Build = Callable[[Array, Array, str, str], Sequence[Param]]
Evaluate = Callable[[Array, Values], Array]


@dataclass(frozen=True)
class Law:
    """A closed form y(x).

    Args:
        name: of the law.
        formula: as it is written.
        over: the column that is x.
        params: makes the parameters from x, y of the fitted rows and their units; defaults are start values.
        value: y of x (n,) and parameters that broadcast against it.
    """

    name: str
    formula: str
    over: str
    params: Build
    value: Evaluate


def _size(y: Array) -> float:
    return max(float(np.ptp(y)), 1e-3 * float(np.abs(y).max()), 1e-300)


def _level(name: str, y: Array, unit: str, text: str, value: float | None = None) -> Param:
    """A parameter in the unit of y, of either sign, within a hundred ranges of the data."""
    value = float(np.median(y)) if value is None else value
    reach = 100.0 * (_size(y) + float(np.abs(y).max()))
    return Param(name, value, unit, (-reach, reach), text, THE_DATA)


def _time(name: str, x: Array, share: float, unit: str, text: str) -> Param:
    """A positive parameter in the unit of x: between a thousandth of the smallest and a thousand times the range."""
    far = np.abs(x[x != 0.0])
    low, high = 1e-3 * float(far.min()), 1e3 * float(far.max())
    middle = float(far.max()) ** share * float(far.min()) ** (1.0 - share)
    return Param(name, min(max(middle, low), high), unit, (low, high), text, THE_DATA)


def _plain(name: str, value: float, bounds: tuple[float, float], text: str) -> Param:
    return Param(name, value, "1", bounds, text, THE_DATA)


def _ends(x: Array, y: Array) -> tuple[float, float]:
    """The mean first and last values along x."""
    order = np.argsort(x, kind="stable")
    few = max(1, x.size // 20)
    return float(np.mean(y[order[:few]])), float(np.mean(y[order[-few:]]))


def _decay(count: int, over: str) -> Law:
    shares = {1: (0.7,), 2: (0.45, 0.85)}[count]

    def params(x: Array, y: Array, xu: str, yu: str) -> list[Param]:
        first, last = _ends(x, y)
        parts = [
            entry
            for k, share in enumerate(shares, 1)
            for entry in (
                _level(f"amplitude_{k}", y, yu, f"amplitude of part {k}", (first - last) / count),
                _time(f"tau_{k}", x, share, xu, f"time constant of part {k}"),
            )
        ]
        return [_level("rest", y, yu, "value it ends at", last), *parts]

    def value(x: Array, p: Values) -> Array:
        return np.asarray(p.rest + sum(p[f"amplitude_{k}"] * np.exp(-x / p[f"tau_{k}"]) for k in range(1, count + 1)))

    tail = "" if count == 1 else " + amplitude_2·exp(−x/tau_2)"
    return Law(
        ("one exponential", "two exponentials")[count - 1],
        f"rest + amplitude_1·exp(−x/tau_1){tail}",
        over,
        params,
        value,
    )


def _stretched(over: str) -> Law:
    def params(x: Array, y: Array, xu: str, yu: str) -> list[Param]:
        first, last = _ends(x, y)
        return [
            _level("rest", y, yu, "value it ends at", last),
            _level("amplitude", y, yu, "amplitude", first - last),
            _time("tau", x, 0.7, xu, "time constant"),
            _plain("beta", 0.7, (0.05, 2.0), "stretching exponent"),
        ]

    def value(x: Array, p: Values) -> Array:
        return np.asarray(p.rest + p.amplitude * np.exp(-((np.maximum(x, 0.0) / p.tau) ** p.beta)))

    return Law("stretched exponential", "rest + amplitude·exp(−(x/tau)^beta)", over, params, value)


def _power(over: str) -> Law:
    def params(x: Array, y: Array, xu: str, yu: str) -> list[Param]:
        first, last = _ends(x, y)
        reference = float(x[x > 0.0].min())
        span = np.log(float(x.max()) / reference) or 1.0
        slope = float(np.log(max(last / first, 1e-6)) / span) if first * last > 0.0 else 0.0
        return [
            _level("first", y, yu, "value at the first x above 0", first),
            _plain("exponent", min(max(slope, -4.9), 4.9), (-5.0, 5.0), "drift exponent"),
            Param("reference", reference, xu, (reference, reference), "x at which it is 'first'", THE_DATA),
        ]

    def value(x: Array, p: Values) -> Array:
        return np.asarray(p.first * (np.maximum(x, p.reference) / p.reference) ** p.exponent)

    return Law("power law", "first·(x/reference)^exponent", over, params, value)


def _logarithm(over: str) -> Law:
    def params(x: Array, y: Array, xu: str, yu: str) -> list[Param]:
        first, last = _ends(x, y)
        reference = float(x[x > 0.0].min())
        decades = float(np.log10(x.max() / reference)) or 1.0
        return [
            _level("first", y, yu, "value at the first x above 0", first),
            _level("per_decade", y, yu, "change per decade", (last - first) / decades),
            Param("reference", reference, xu, (reference, reference), "x at which it is 'first'", THE_DATA),
        ]

    def value(x: Array, p: Values) -> Array:
        return np.asarray(p.first + p.per_decade * np.log10(np.maximum(x, p.reference) / p.reference))

    return Law("logarithm", "first + per_decade·log10(x/reference)", over, params, value)


def _line(over: str) -> Law:
    def params(x: Array, y: Array, xu: str, yu: str) -> list[Param]:
        first, last = _ends(x, y)
        slope = (last - first) / (float(np.ptp(x)) or 1.0)
        reach = 1e3 * (_size(y) / (float(np.ptp(x)) or 1.0))
        unit = yu if xu == "1" else f"1/{xu}" if yu == "1" else f"{yu}/{xu}"
        drift = Param("slope", slope, unit, (-reach, reach), "change per x", THE_DATA)
        return [_level("first", y, yu, "value at 0", first), drift]

    return Law("straight line", "first + slope·x", over, params, lambda x, p: np.asarray(p.first + p.slope * x))


def _constant(over: str) -> Law:
    return Law(
        CONSTANT, "level", over,
        lambda x, y, xu, yu: [_level("level", y, yu, "level", float(np.mean(y)))],
        lambda x, p: np.asarray(p.level + 0.0 * x),
    )  # fmt: skip


def _window_sides() -> Law:
    def params(x: Array, y: Array, xu: str, yu: str) -> list[Param]:
        found = []
        for side, rows in (("after", x > 0.0), ("before", x < 0.0)):
            near = np.abs(x[rows]) <= np.quantile(np.abs(x[rows]), 0.3)
            found += [
                _level(
                    f"a_{side}", y, yu, f"amplitude where the second pulse comes {side}", float(np.mean(y[rows][near]))
                ),
                _time(f"tau_{side}", x[rows], 0.6, xu, f"width where the second pulse comes {side}"),
            ]
        return found

    def value(x: Array, p: Values) -> Array:
        width, height = np.where(x > 0.0, p.tau_after, p.tau_before), np.where(x > 0.0, p.a_after, p.a_before)
        return np.asarray(height * np.exp(-np.abs(x) / width))

    return Law("two exponential sides", "a·exp(−|x|/tau), each side its own", "interval", params, value)


def _window_mirrored() -> Law:
    def params(x: Array, y: Array, xu: str, yu: str) -> list[Param]:
        near = np.abs(x) <= np.quantile(np.abs(x), 0.3)
        height = float(np.mean((np.sign(x) * y)[near]))
        return [
            _level("a", y, yu, "amplitude", height),
            _time("tau", x, 0.6, xu, "width"),
        ]

    return Law(
        "antisymmetric window", "sign(x)·a·exp(−|x|/tau)", "interval", params,
        lambda x, p: np.asarray(np.sign(x) * p.a * np.exp(-np.abs(x) / p.tau)),
    )  # fmt: skip


def _window_even() -> Law:
    def params(x: Array, y: Array, xu: str, yu: str) -> list[Param]:
        far = np.abs(x) >= np.quantile(np.abs(x), 0.8)
        near = np.abs(x) <= np.quantile(np.abs(x), 0.3)
        rest = float(np.mean(y[far]))
        return [
            _level("rest", y, yu, "value far from coincidence", rest),
            _level("a", y, yu, "height at coincidence", float(np.mean(y[near])) - rest),
            _time("tau", x, 0.6, xu, "width"),
        ]

    return Law(
        "symmetric window", "rest + a·exp(−x²/(2·tau²))", "interval", params,
        lambda x, p: np.asarray(p.rest + p.a * np.exp(-0.5 * (x / p.tau) ** 2)),
    )  # fmt: skip


def _conductance(x: Array, y: Array) -> float:
    return float(x @ y) / (float(x @ x) or 1.0)


def _scale(name: str, value: float, unit: str, text: str) -> Param:
    size = abs(value) or 1e-12
    return Param(name, value or size, unit, (-1e4 * size, 1e4 * size), text, THE_DATA)


def _ohmic() -> Law:
    return Law(
        "ohmic", "g·V", "voltage",
        lambda x, y, xu, yu: [_scale("g", _conductance(x, y), "S", "conductance")],
        lambda x, p: np.asarray(p.g * x),
    )  # fmt: skip


def _hopping() -> Law:
    def params(x: Array, y: Array, xu: str, yu: str) -> list[Param]:
        top = float(np.abs(x).max())
        return [
            _scale("g", _conductance(x, y), "S", "conductance at small voltages"),
            Param("v_0", 0.5 * top, "V", (0.02 * top, 100.0 * top), "voltage at which it bends", THE_DATA),
        ]

    def value(x: Array, p: Values) -> Array:
        return np.asarray(p.g * p.v_0 * np.sinh(np.clip(x / p.v_0, -200.0, 200.0)))

    return Law("hopping (sinh)", "g·v_0·sinh(V/v_0)", "voltage", params, value)


def _space_charge() -> Law:
    def params(x: Array, y: Array, xu: str, yu: str) -> list[Param]:
        top = float(np.abs(x).max())
        g = _conductance(x, y)
        fixed = Param("v_1", top, "V", (top, top), "the largest voltage", THE_DATA)
        return [
            _scale("i_1", g * top, "A", "current of the power law at v_1"),
            _plain("exponent", 2.0, (0.3, 20.0), "exponent of the voltage"),
            fixed,
        ]

    def value(x: Array, p: Values) -> Array:
        return np.asarray(p.i_1 * np.sign(x) * (np.abs(x) / p.v_1) ** p.exponent)

    return Law("power of the voltage", "i_1·sign(V)·|V/v_1|^exponent", "voltage", params, value)


def _cubic() -> Law:
    def params(x: Array, y: Array, xu: str, yu: str) -> list[Param]:
        top, g = float(np.abs(x).max()), _conductance(x, y)
        bend = g / top**2
        return [_scale("g", g, "S", "conductance"), _scale("g_3", 0.1 * bend, "S/V^2", "cubic part")]

    return Law("cubic", "g·V + g_3·V³", "voltage", params, lambda x, p: np.asarray(p.g * x + p.g_3 * x**3))


def _insertion() -> Law:
    def params(x: Array, y: Array, xu: str, yu: str) -> list[Param]:
        low, high, span = float(x.min()), float(x.max()), float(np.ptp(x)) or 1.0
        least = 0.0 if low >= 0.0 else low - 30.0 * span
        return [
            _level("middle", y, yu, "step half-way between low and high"),
            Param("low", max(low - 0.3 * span, least), xu, (least, low), "conductance of an empty device", THE_DATA),
            Param("high", high + 0.3 * span, xu, (high, high + 30.0 * span), "conductance of a full one", THE_DATA),
            _plain("exponent_low", 0.5, (0.0, 10.0), "exponent of the occupancy"),
            _plain("exponent_high", 0.5, (0.0, 10.0), "exponent of what is left of it"),
        ]

    def value(x: Array, p: Values) -> Array:
        filled = (x - p.low) / (p.high - p.low)  # rows that are not fitted may lie beyond the ends
        empty = 2.0 * np.maximum(1.0 - filled, 0.0)
        return np.asarray(p.middle * (2.0 * np.maximum(filled, 0.0)) ** p.exponent_low * empty**p.exponent_high)

    formula = "middle·(2x)^exponent_low·(2 − 2x)^exponent_high, x = (G − low)/(high − low)"
    return Law("insertion", formula, "conductance", params, value)


def _exponential_ends() -> Law:
    def params(x: Array, y: Array, xu: str, yu: str) -> list[Param]:
        low, high = float(x.min()), float(x.max())
        first, last = _ends(x, y)
        middle, span = float(np.median(y)), high - low or 1.0
        reach = 1e-2 * span, 3.0 * span  # further away an end is a parabola
        made = [_level("rest", y, yu, "step far from both ends", middle)]
        for end, at, value in (("low", low, first), ("high", high, last)):
            made += [
                _level(f"step_{end}", y, yu, f"what is added at the {end} end", value - middle),
                Param(f"reach_{end}", 0.3 * span, xu, reach, f"how far the {end} end acts", THE_DATA),
                Param(f"g_{end}", at, xu, (at, at), f"the {end} end of the measured range", THE_DATA),
            ]
        return made

    def value(x: Array, p: Values) -> Array:
        up, down = (x - p.g_low) / p.reach_low, (p.g_high - x) / p.reach_high
        return np.asarray(p.rest + p.step_low * np.exp(-up) + p.step_high * np.exp(-down))

    formula = "rest + step_low·exp(−(G − g_low)/reach_low) + step_high·exp(−(g_high − G)/reach_high)"
    return Law("exponential ends", formula, "conductance", params, value)


def _of_time(over: str) -> tuple[Law, ...]:
    return (
        _constant(over), _line(over), _logarithm(over), _power(over), _decay(1, over), _stretched(over), _decay(2, over)
    )  # fmt: skip


_CONDUCTION = (_ohmic(), _cubic(), _hopping(), _space_charge())
LAWS: Mapping[str, tuple[Law, ...]] = MappingProxyType(
    {
        "relaxation": _of_time("time"),
        "endurance": (_constant("cycle"), _line("cycle"), _logarithm("cycle"), _power("cycle"), _decay(1, "cycle")),
        "paired pulses": (_constant("interval"), _decay(1, "interval"), _stretched("interval"), _decay(2, "interval")),
        "stdp window": (_constant("interval"), _window_mirrored(), _window_even(), _window_sides()),
        "i-v": _CONDUCTION,
        "loop": _CONDUCTION,
        "step table": (_constant("conductance"), _line("conductance"), _insertion(), _exponential_ends()),
    }
)
# What a device needs to be told beyond such a curve, of which it takes none by itself.
DEVICES_TAKE: Mapping[str, str] = MappingProxyType(
    {
        "relaxation": "a device takes kind = 'events', with what happened before each read: interval, amplitude",
        "endurance": "no device here wears out",
        "paired pulses": "any device may have such a ratio; cosim fit ecram_pulse_ratio FILE fits an ECRAM",
        "stdp window": "a device takes kind = 'pulse pairs', with the shape of both pulses: data.pulses",
    }
)
