"""Further measurements that an instrument could make after a curve, to choose the most telling one from.

A `Design` is rows that continue a curve: the state goes on from where the curve left it. What is varied follows from
the roles of the curve's columns (`cosim.data.kinds`), not from a device:

* rows in time: the same drive once more, weaker or stronger, faster or slower;
* events in order: the same ones once more, larger or smaller, closer together or further apart;
* pulses in order: blocks of either polarity, one polarity alone, and pulses of random size;
* ramps of equal pulses: longer ones of the polarities that there are, for another one has parameters of its own;
* rows in any order: points spread over the box of what was applied, of which those that tell most are taken
  (`cosim.fitting.next_measurement`);
* a function of time alone, or of a count: the recording goes on, in even or in growing steps.

What is applied stays within ``reach`` times what the curve already has: an instrument's limits are not known here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from scipy.stats import qmc

from cosim.data.kinds import KINDS
from cosim.data.recording import Recording
from cosim.devices.base import Array
from cosim.units import show

# Of the largest value applied: the sizes that are tried (times ``reach`` at the top).
SIZES = (0.4, 0.55, 0.7, 0.85, 1.0)
# Units of what an instrument applies; states, times and temperatures stay where the curve has them.
DRIVES = ("V", "A")
# A drive is tried faster and slower by these factors.
PACES = (0.1, 0.3, 1.0, 3.0, 10.0)
# Points that are spread over the box of what was applied, on so many steps of each column; a column with no more than
# ``LEVELS`` values is taken to have them on purpose.
POINTS, STEPS, LEVELS = 512, 20, 6


@dataclass(frozen=True)
class Design:
    """Rows that continue a curve.

    Args:
        title: what to do, in words.
        columns: of the new rows, without what is measured; (m,) each.
        loose: whether the order of the rows means nothing, so that some of them may be left out or repeated.
        goes_on: whether the times of the rows are those of the recording, which goes on.
    """

    title: str
    columns: Mapping[str, Array]
    loose: bool = False
    goes_on: bool = False

    def __len__(self) -> int:
        return int(next(iter(self.columns.values())).size)

    def after(self, curve: Recording, measured: Array | None = None) -> Recording:
        """The curve with the new rows below it, and what was ``measured`` of them (m,); without it a placeholder."""
        name = curve.measured_name
        if measured is None:
            measured = np.full(len(self), curve.measured[-1])
            if "polarity" in self.columns:  # a ramp starts where it has some way to go
                ends = np.where(self.columns["polarity"] > 0.0, curve.measured.min(), curve.measured.max())
                measured = np.asarray(ends, dtype=float)
        new = {**self.columns, name: measured}
        return curve.with_(
            columns={key: np.concatenate([column, new[key]]) for key, column in curve.columns.items()},
            groups={group: [*labels, *labels[-1:] * len(self)] for group, labels in curve.groups.items()},
            lines=(),
            reading=None,
            fingerprint="",
        )


def designs(curve: Recording, *, reach: float, rows: int, over: str = "") -> list[Design]:
    """What could be measured next: ``rows`` more of the same kind, applied values up to ``reach`` times as large.

    ``over``: the one column that what was measured is a function of: a time or a count goes on, and rows are spread
    over anything else.
    """
    roles = {name: KINDS[curve.kind].role(name) for name in curve.columns}
    if over and (roles[over] == "time" or curve.units[over] == "1"):
        return list(_further(curve, over, reach=reach, rows=rows))
    if over:
        return list(_points(curve, [over], reach=reach, rows=rows, drives=(curve.units[over],)))
    applied = [name for name, role in roles.items() if role == "applied"]
    make: Callable[..., Iterator[Design]]
    if "time" in roles.values():
        make = _drives
    elif curve.kind == "events":
        make = _events
    elif "order" in roles.values():
        make = _ramps
    elif KINDS[curve.kind].ordered:
        make = _pulses
    else:
        make = _points
    return list(make(curve, applied, reach=reach, rows=rows))


def _drives(curve: Recording, applied: Sequence[str], *, reach: float, rows: int) -> Iterator[Design]:
    """The whole drive once more at some ``rows`` of its rows, scaled in size and time."""
    part = slice(None, None, max(round(len(curve) / rows), 1))  # one stride, so that the steps stay even
    driven = [name for name in applied if curve.units[name] == "V"]
    one_sided = all(curve[name].min() * curve[name].max() >= 0.0 for name in driven)
    t = curve["time"][part] - curve["time"][part][0]
    gap, end = float(np.median(np.diff(curve["time"]))), float(curve["time"][-1])
    for sign, size, pace in product((1.0, -1.0) if one_sided else (1.0,), _sizes(reach), PACES):
        moved = {name: sign * size * curve[name][part] if name in driven else curve[name][part] for name in applied}
        how = "" if pace == 1.0 else f", {1.0 / pace:g} times faster" if pace < 1.0 else f", {pace:g} times slower"
        ends = " and ".join(
            f"{name} from {show(float(c.min()), 'V')} to {show(float(c.max()), 'V')}"
            for name, c in moved.items() if name in driven
        )  # fmt: skip
        # An instrument needs no less time to the first row than between two of them.
        columns = {"time": end + max(gap, pace * gap) + pace * t, **moved}
        what = "the same drive again" if sign > 0.0 else "the drive with the other polarity"
        much = "" if size == 1.0 else f", {size:g} times the voltage"
        span = f"{t.size} rows in {show(pace * float(t[-1]), 's')}"
        yield Design(f"{what}{much}{how} ({', '.join(part for part in (ends, span) if part)})", columns)


def _events(curve: Recording, applied: Sequence[str], *, reach: float, rows: int) -> Iterator[Design]:
    """The events once more, up to ``rows`` of them, scaled in size and in time."""
    part = slice(0, rows)
    sizes = _sizes(reach) if any(curve.units[name] == "V" for name in applied) else (1.0,)
    for size, pace in product(sizes, PACES):
        by = {"V": size, "s": pace}
        columns = {name: by.get(curve.units[name], 1.0) * curve[name][part] for name in applied}
        if "sequence" in curve.columns:
            columns["sequence"] = curve["sequence"][part] + 1.0 + float(np.ptp(curve["sequence"]))
        much = "" if size == 1.0 else f", {size:g} times the voltage"
        how = "" if pace == 1.0 else f", {pace:g} times the intervals"
        count = len(next(iter(columns.values())))
        ranges = ", ".join(
            f"{name} {_between(columns[name], curve.units[name])}" for name in applied if curve.units[name] in by
        )  # fmt: skip
        yield Design(f"the same events again{much}{how} ({count} events, {ranges})", columns)


def _pulses(curve: Recording, applied: Sequence[str], *, reach: float, rows: int) -> Iterator[Design]:
    driven = KINDS[curve.kind].applied or applied[0]
    others = {name: np.full(rows, np.median(curve[name])) for name in applied if name != driven}
    top, unit = float(np.abs(curve[driven]).max()), curve.units[driven]
    sizes = [size * top for size in _sizes(reach)]

    def design(title: str, values: Array) -> Design:
        return Design(title + tail, {driven: values, **others})

    half, tail = rows // 2, _pulse(curve, others)
    for sign, size in product((1.0, -1.0), sizes):
        yield design(f"{rows} pulses of {_signed(sign * size, unit)}", np.full(rows, sign * size))
    for first, second in product(sizes, sizes):
        for sign in (1.0, -1.0):
            title = (
                f"{half} pulses of {_signed(sign * first, unit)}, then {rows - half} of {_signed(-sign * second, unit)}"
            )
            yield design(title, np.repeat([sign * first, -sign * second], [half, rows - half]))
    for index, size in enumerate(sizes):
        rng = np.random.default_rng(index)
        values = rng.uniform(0.0, size, rows) * rng.choice([-1.0, 1.0], rows)
        yield design(f"{rows} pulses of random size up to {show(size, unit)} and either polarity", values)


def _ramps(curve: Recording, applied: Sequence[str], *, reach: float, rows: int) -> Iterator[Design]:
    del applied
    longest, last = float(curve["pulse"].max()), float(curve["ramp"].max())
    for sign, factor in product(np.unique(np.sign(curve["polarity"])).tolist(), (1.0, reach, 2.0 * reach)):
        count = min(int(factor * longest) + 1, max(2 * rows, int(longest) + 1))
        columns = {
            "ramp": np.full(count, last + 1.0),
            "pulse": np.arange(float(count)),
            "polarity": np.full(count, sign),
        }
        way, end = ("potentiation", "lowest") if sign > 0 else ("depression", "highest")
        yield Design(
            f"a ramp of {count - 1} pulses of {way}, of the amplitude and width that the others had, from the {end} "
            f"{curve.measured_name} that was reached", columns,
        )  # fmt: skip


def _points(
    curve: Recording, applied: Sequence[str], *, reach: float, rows: int, drives: Sequence[str] = DRIVES
) -> Iterator[Design]:
    del rows
    spread = np.unique(np.round(qmc.Sobol(len(applied), seed=0).random(POINTS) * STEPS) / STEPS, axis=0)
    reaches = {name: reach if curve.units[name] in drives else 1.0 for name in applied}
    columns = {name: _spread(curve[name], spread[:, k], reach=reaches[name]) for k, name in enumerate(applied)}
    yield Design("rows", columns, loose=True)


def _further(curve: Recording, over: str, *, reach: float, rows: int) -> Iterator[Design]:
    """The recording once more as long, or ``reach`` times, after its last row."""
    first, last, unit = float(curve[over].min()), float(curve[over].max()), curve.units[over]
    end = last + max(reach - 1.0, 0.0) * (last - first)
    for steps, made in (("even", np.linspace), ("growing", np.geomspace)):
        if end <= last or (made is np.geomspace and last <= 0.0):
            continue
        places = made(last, end, rows + 1)[1:]
        if unit == "1":  # cycles are whole
            places = np.unique(np.round(places))
            places = places[places > last]
        yield Design(
            f"the recording continued to {over} = {show(end, unit, digits=3)}, {places.size} rows in {steps} steps",
            {over: places}, goes_on=True,
        )  # fmt: skip


def _spread(column: Array, share: Array, *, reach: float) -> Array:
    """Values over the range of a column and beyond it; a column of few values keeps to them."""
    known = np.unique(column)
    if known.size <= LEVELS:
        return np.asarray(known[np.minimum((share * known.size).astype(int), known.size - 1)])
    low, high = float(known[0]), float(known[-1])
    low, high = (reach * low if low < 0.0 else low / reach), (reach * high if high > 0.0 else high / reach)
    if low > 0.0 and high > 10.0 * low:
        return np.asarray(low * (high / low) ** share)
    return np.asarray(low + (high - low) * share)


def _sizes(reach: float) -> tuple[float, ...]:
    return SIZES if reach == 1.0 else (*SIZES, reach)


def _between(column: Array, unit: str) -> str:
    low, high = float(column.min()), float(column.max())
    return show(low, unit) if low == high else f"{show(low, unit)} to {show(high, unit)}"


def _pulse(curve: Recording, others: Mapping[str, Array]) -> str:
    """What else an instrument is told of each pulse, as far as the recording says it: "; width 200 ns, ..."."""
    times = {**curve.conditions, **{name: float(column[0]) for name, column in others.items() if column.size}}
    said = [f"{name} {show(times[name], 's')}" for name in ("width", "rise", "fall") if times.get(name)]
    read = f"read at {show(times['v_read'], 'V')} after each" if "v_read" in times else "read after each"
    return f"; {', '.join([*said, read])}"


def _signed(value: float, unit: str) -> str:
    return f"{'+' if value > 0.0 else ''}{show(value, unit)}"
