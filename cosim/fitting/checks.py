"""What a curve shows before any fit: its sign, rows that are shifted, a loop where the model has none.

Each test compares the data with the device's functions and with the scatter of the data. The limits (our choice) are
wide: a curve that is refused here fits no parameters at all, and a recipe can override the refusal.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from cosim.data.recording import Curve
from cosim.devices.base import Array, DeviceModel
from cosim.devices.registry import devices
from cosim.errors import DataError, InputError, Where

PulseMap = Callable[..., tuple[Any, Any]]
# Chance of so strong a contradiction in noise alone, below which a curve is refused.
CERTAIN = 1e-6
# Bins of voltage in which two branches are compared, and rows that one needs.
BINS, ROWS_PER_BIN = 20, 12
# A loop narrower than this part of the curve's range is left to the fit, which describes it to that part.
NARROW = 0.01


class OppositeSign(DataError):
    """A curve that contradicts the model, and would agree with it if the sign of ``column`` were turned."""

    column = ""

    @classmethod
    def of(cls, column: str, message: str, *, where: Where | None, remedy: str) -> OppositeSign:
        """The error about a column."""
        made = cls(message, where=where, remedy=remedy)
        made.column = column
        return made


def pulse_map(device: DeviceModel) -> PulseMap:
    """The device's map of one pulse; raises `InputError` where it has none."""
    found: PulseMap | None = getattr(device, "pulse", None)
    if found is None:
        known = " or ".join(name for name, other in devices().items() if hasattr(other, "pulse"))
        raise InputError(f"{device.name} has no map of a pulse", remedy=f"fit {known}")
    return found


def _chance(correlation: float, n: int) -> float:
    """Chance (two-sided) of so large a correlation of n independent pairs."""
    if n < 4 or not math.isfinite(correlation):
        return 1.0
    return float(2.0 * special.ndtr(-math.atanh(min(abs(correlation), 1.0 - 1e-15)) * math.sqrt(n - 3)))


def _rank(one: Array, other: Array) -> float:
    """Spearman's correlation; 0 where one of them is constant."""
    if one.size < 4 or np.ptp(one) == 0.0 or np.ptp(other) == 0.0:
        return 0.0
    return rank_correlation(one, other)


def rank_correlation(one: Array, other: Array) -> float:
    """Spearman's correlation of two columns (n,), neither of which is constant."""
    return float(np.corrcoef(_ranks(one), _ranks(other))[0, 1])


def _ranks(values: Array) -> Array:
    """Ranks (n,), equal values sharing the mean of theirs; `scipy.stats.rankdata` takes six times as long."""
    order = np.argsort(values)
    first = np.flatnonzero(np.diff(values[order], prepend=np.nan))
    count = np.diff(first, append=values.size)
    ranks = np.empty(values.size)
    ranks[order] = np.repeat(first + 0.5 * (count + 1), count)
    return ranks


def check_shift(curve: Curve) -> None:
    """Refuse reads whose steps follow the pulse of the row above or below instead of the pulse in the same row."""
    v, step = curve["amplitude"], np.diff(curve["read"])
    # step[k] leads to the read of row k + 1: it follows that row's pulse, or the one of row k or k + 2.
    inner = step[:-1]
    found = {0: _rank(v[1:-1], inner), 1: _rank(v[:-2], inner), -1: _rank(v[2:], inner)}
    best = max(found, key=lambda shift: abs(found[shift]))
    n = inner.size
    if best == 0 or _chance(found[best], n) > CERTAIN:
        return
    gain = math.atanh(min(abs(found[best]), 1 - 1e-15)) - math.atanh(min(abs(found[0]), 1 - 1e-15))
    if special.ndtr(-gain * math.sqrt((n - 3) / 2.0)) < CERTAIN:
        side, taken = ("above", "before its pulse") if best == 1 else ("below", "one pulse too late")
        raise DataError(
            f"the reads follow the pulses of the row {side} (rank correlation {found[best]:+.2f}) rather than "
            f"those of the same row ({found[0]:+.2f}): each read seems to be taken {taken}",
            where=curve.where,
            remedy=f"write columns.read.shift = {best}, or shift = 0 where the rows are right",
        )


def check_pulses(device: DeviceModel, curve: Curve, direction: int) -> None:
    """Refuse pulses that move the read in the opposite direction to the model's."""
    v, g = curve["amplitude"], curve["read"]
    if v.min() < 0.0 < v.max():
        follows, n = _rank(v[1:], np.diff(g)), g.size - 1
    else:  # pulses of one sign: the read has a trend
        follows, n = _rank(np.sign(v.sum()) * np.arange(g.size), g), g.size
    if follows * direction < 0.0 and _chance(follows, n) < CERTAIN:
        here, there = ("potentiate", "depress") if follows > 0.0 else ("depress", "potentiate")
        raise OppositeSign.of(
            "amplitude",
            f"in this file positive pulses {here} (rank correlation {follows:+.2f}); those of {device.name} {there}, "
            f"and {here} when negative",
            where=curve.where,
            remedy="set the sign: columns.amplitude.sign = -1, or sign = 1 where it is right",
        )


def check_ramps(curve: Curve) -> None:
    """Refuse ramps that run against their polarity."""
    wrong = []
    ramps = np.unique(curve["ramp"])
    for ramp in ramps:
        rows = curve["ramp"] == ramp
        trend = _rank(curve["pulse"][rows], curve["read"][rows])
        polarity = float(curve["polarity"][rows][0])
        if trend * polarity < 0.0 and _chance(trend, int(rows.sum())) < CERTAIN:
            wrong.append((int(ramp) + 1, polarity))
    if wrong:
        number, polarity = wrong[0]
        ways = ("falls", "potentiates", -1) if polarity > 0 else ("rises", "depresses", 1)
        which = f"ramp {number}" if len(wrong) == 1 else f"ramp {number} and {len(wrong) - 1} others of {ramps.size}"
        raise DataError(
            f"{which} {ways[0] if len(wrong) == 1 else ways[0].removesuffix('s')} along the pulses, and polarity = "
            f"{polarity:g} says that each {ways[1]}",
            where=curve.where,
            remedy=f"write polarity = {ways[2]}, or one sign for each ramp",
        )


def check_steps(device: DeviceModel, model: Array, curve: Curve) -> None:
    """Refuse a table whose steps run against the model's."""
    follows = _rank(model, curve["step"])
    if follows < 0.0 and _chance(follows, model.size) < CERTAIN:
        raise DataError(
            f"the steps run against those of {device.name} (rank correlation {follows:+.2f})",
            where=curve.where,
            remedy="set the sign of the pulses or of the steps, e.g. columns.step.sign = -1, or 1 where it is right",
        )


def check_current(name: str, model: Array, curve: Curve) -> None:
    """Refuse a current that runs against the model's over the whole curve."""
    v, measured = curve["voltage"], curve["current"]
    if not np.all(np.isfinite(model)):
        return
    size = math.sqrt(float(model @ model) * float(measured @ measured))
    cosine = float(model @ measured) / size if size else 0.0
    # Where both signs of the voltage were applied, the slope tells as well, whatever offset the current has.
    slope = _rank(v, measured) * _rank(v, model) if v.min() < 0.0 < v.max() else cosine
    if cosine < 0.0 and slope < 0.0 and max(_chance(cosine, v.size), _chance(slope, v.size)) < CERTAIN:
        raise OppositeSign.of(
            "current",
            f"the current has the opposite sign of that into {name} (correlation {cosine:+.2f}), as the current "
            "of a voltage source in SPICE, i(v1), has",
            where=curve.where,
            remedy="write columns.current.sign = -1, or sign = 1 where it is right",
        )


def branch_difference(v: Array, y: Array, first: NDArray[np.bool_]) -> tuple[float, float]:
    """How far two branches of a static curve lie apart, and the chance of that in noise alone.

    In bins of ``v`` with as many rows each, one parabola for both branches is held against one for each (F-test).
    Each bin takes the noise from its residuals: noise that grows along the curve does not count as a difference. The
    chance is twice the smaller of Fisher's combination of the bins and Bonferroni's of the best: a difference may be
    everywhere or in one place.

    Args:
        v, y: (n,) of the curve.
        first: (n,) true on one branch.

    Returns:
        RMS difference of the parabolas as part of the range of ``y``, and the chance; (0, 1) where few rows overlap.
    """
    low, high = max(v[first].min(), v[~first].min()), min(v[first].max(), v[~first].max())
    both = np.flatnonzero((v >= low) & (v <= high))
    order = both[np.argsort(v[both], kind="stable")]
    squares, logs = [np.zeros(0)], []
    for rows in np.array_split(order, max(1, min(BINS, order.size // ROWS_PER_BIN))):
        one, span = first[rows], float(np.ptp(v[rows])) if rows.size else 0.0
        free = rows.size - 6
        if min(one.sum(), (~one).sum()) < 4 or free < 3 or span == 0.0:
            continue
        x = (v[rows] - v[rows].mean()) / span
        shape = np.stack([np.ones_like(x), x, x**2], axis=1)
        pooled = np.linalg.lstsq(shape, y[rows], rcond=None)[0]
        own = [np.linalg.lstsq(shape[side], y[rows][side], rcond=None)[0] for side in (one, ~one)]
        rest = np.where(one, y[rows] - shape @ own[0], y[rows] - shape @ own[1])
        together = y[rows] - shape @ pooled
        # Rounding does not count as a difference, however smooth the data are.
        noise = max(float(rest @ rest) / free, (1e-9 * float(np.abs(y).max())) ** 2)
        gain = max(float(together @ together) - float(rest @ rest), 0.0) / 3.0
        logs.append(float(stats.f.logsf(gain / noise, 3, free)))
        squares.append((shape @ (own[0] - own[1])) ** 2)
    if not logs:
        return 0.0, 1.0
    fisher = float(stats.chi2.logsf(-2.0 * sum(logs), 2 * len(logs)))
    chance = 2.0 * math.exp(min(fisher, min(logs) + math.log(len(logs))))
    return math.sqrt(float(np.mean(np.concatenate(squares)))) / float(np.ptp(y)), min(chance, 1.0)


def loop_of(curve: Curve) -> tuple[float, float]:
    """`branch_difference` of the rising and falling branches of an i-v curve, in the order of its rows."""
    v = curve["voltage"]
    if v.size < ROWS_PER_BIN:
        return 0.0, 1.0
    step = np.sign(np.concatenate([[v[1] - v[0]], v[2:] - v[:-2], [v[-1] - v[-2]]]))
    moving = step != 0.0
    rising = step[moving] > 0.0
    if rising.all() or not rising.any():
        return 0.0, 1.0
    return branch_difference(v[moving], curve["current"][moving], rising)


def check_loop(device: DeviceModel, curve: Curve) -> None:
    """Refuse a loop for a device with states: a static curve holds them where they start."""
    width, chance = loop_of(curve)
    if width > NARROW and chance < CERTAIN:
        states = ", ".join(state.name for state in device.states)
        raise DataError(
            f"the curve is a loop: rising and falling sweeps differ by {width:.0%} of its range (chance in noise "
            f"{chance:.1g}), so the state of {device.name} ({states}) moved; a curve of kind 'i-v' is static",
            where=curve.where,
            remedy="keep the rows along which it rests, and vary what acts there; for all of them write kind = 'loop' "
            "and columns.time, which follows the state in time",
        )


def remarks_on(device: DeviceModel, curve: Curve) -> tuple[str, ...]:
    """What a fit to this curve leaves out, where that is not a reason to refuse the curve."""
    width, chance = loop_of(curve)
    if width <= NARROW or chance >= CERTAIN:
        return ()
    return (
        f"rising and falling sweeps differ by {width:.1%} of the range (chance in noise {chance:.1g}): {device.name} "
        "has no state, and its curve lies between them",
    )


def check_records(curve: Curve) -> None:
    """Refuse records of one file that are read together and are not the same curve."""
    if curve.reading is None or len(curve.reading.rows) < 2:
        return
    ends = np.cumsum(curve.reading.rows)
    if ends[-1] != len(curve):
        return
    number = np.searchsorted(ends, np.arange(len(curve)), side="right")
    for k in range(1, ends.size):
        rows = (number == 0) | (number == k)
        width, chance = branch_difference(curve["voltage"][rows], curve["current"][rows], (number == 0)[rows])
        if width > NARROW and chance < CERTAIN:
            raise DataError(
                f"records 1 and {k + 1} differ by {width:.0%} of the range (chance in noise {chance:.1g}): they are "
                "not one curve",
                where=curve.where,
                remedy="choose one with record = 1 under [data]",
            )
