"""What a file's columns become once it is known what they are: recordings, with the sentence that explains each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from cosim import units
from cosim.data.recording import Curve
from cosim.data.segments import Segment, noise_of, ramps, sweeps, turning_points
from cosim.data.sheets import Column, Sheet
from cosim.data.spec import CONDITIONS
from cosim.devices.base import Array
from cosim.errors import DataError

# What is assumed of a pulse train whose file does not state it.
ASSUMED: Mapping[str, float] = {"v_read": 0.1, "width": 200e-9}


@dataclass(frozen=True)
class Part:
    """What one recording in a file was taken for.

    Args:
        name: of the file, and of the record or column where it has several.
        path: of the file.
        shape: what was measured, in words: "hysteresis loop".
        why: the sentence that explains it.
        curve: as a recording; None where nothing can be fitted to it.
        segments: its sweeps, ramps or runs.
        notes: what was left out, assumed or summarised.
        refused: why nothing can be fitted to it, and what would help; "".
        columns: column of a recipe → title in the file, where a recipe can read the recording by itself.
        where: the condition that selects its rows in a recipe; "": all.
        data: further keys of ``[data]`` that it needs.
        compliance: the instrument's limit on what was measured (SI), where the file states it.
    """

    name: str
    path: Path
    shape: str
    why: str = ""
    curve: Curve | None = None
    segments: tuple[Segment, ...] = ()
    notes: tuple[str, ...] = ()
    refused: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)
    where: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)
    compliance: float | None = None


def no(sheet: Sheet, shape: str, refused: str, why: str = "") -> Part:
    """A recording that nothing can be fitted to: its ``shape``, why it is that, and why it is ``refused``."""
    return Part(sheet.name, sheet.path, shape, why, notes=sheet.notes, refused=refused)


def sweep(sheet: Sheet, v: Column, current: Column, time: Column | None) -> Part:
    """A current over a swept voltage: a static curve where rising and falling sweeps agree, else a loop in time."""
    found = sweeps(v.values)
    ends = " → ".join(units.show(x, "V", digits=3) for x in [found[0].first, *(s.last for s in found[:6])])
    said = f"{len(found)} sweep{'s' * (len(found) > 1)}: {ends}{' …' * (len(found) > 6)}"
    titles = {"voltage": v.title, "current": current.title}
    static = sheet.curve("i-v", {"voltage": v, "current": current}, {"voltage": "V", "current": "A"})
    width = _loop_width(static)
    if width is None:
        why = f"{current.title} over a swept {v.title} ({said}); rising and falling sweeps agree"
        if len(found) == 1:
            why = f"{current.title} over a swept {v.title} ({said})"
        return Part(
            sheet.name, sheet.path, "I-V sweep", why, static, tuple(found), sheet.notes, columns=titles,
            compliance=sheet.compliance(current),
        )  # fmt: skip
    why = (
        f"{current.title} over a swept {v.title} ({said}); rising and falling sweeps differ by {width:.0%} of the range"
    )
    part = Part(
        sheet.name, sheet.path, "hysteresis loop", why, static, tuple(found), sheet.notes,
        compliance=sheet.compliance(current),
    )  # fmt: skip
    seconds = None if time is None else time.values
    if seconds is None and sheet.sweep_rate is not None:
        travelled = np.abs(np.diff(v.values))
        least = 1e-3 * float(np.median(travelled[travelled > 0.0]))
        seconds = np.concatenate([[0.0], np.cumsum(np.maximum(travelled, least))]) / sheet.sweep_rate
        part = replace(part, notes=(*part.notes, f"time made from a sweep rate of {sheet.sweep_rate:g} V/s"))
    if seconds is None:
        return replace(
            part, curve=None,
            refused="the state moved along this loop, and without the time of each row it cannot be followed; give "
            "--sweep-rate, e.g. '1 V/s', or a time column",
        )  # fmt: skip
    curve, notes = in_time(sheet, v, current, seconds)
    if time is not None:
        part = replace(part, columns={"time": time.title, **titles})
    return replace(part, curve=curve, notes=(*part.notes, *notes))


def in_time(sheet: Sheet, v: Column, current: Column, t: Array) -> tuple[Curve, tuple[str, ...]]:
    """A recording in time; rows whose time does not move on are left out, and said."""
    good = np.isfinite(t)
    later = np.ones(t.size, dtype=bool)
    last = -np.inf
    for k in range(t.size):
        later[k] = bool(good[k]) and t[k] > last
        last = float(t[k]) if later[k] else last
    stuck = good & ~later
    repeated = int(np.count_nonzero(stuck))
    if repeated > 0.2 * t.size:
        raise DataError(f"{repeated} of {t.size} rows are not later than the row before: this is not a time")
    columns: dict[str, Column | Array] = {
        "time": np.where(later, t - t[later][0], np.nan),
        "voltage": v,
        "current": current,
    }
    notes: tuple[str, ...] = ()
    if repeated:
        notes += (f"{sheet.rows_out(stuck)} whose time stamp is not later than that of the row before",)
    if not good.all():
        notes += (f"{sheet.rows_out(~good)} without a time",)
    return sheet.curve("loop", columns, {"time": "s", "voltage": "V", "current": "A"}), notes


def _loop_width(curve: Curve) -> float | None:
    """How far rising and falling sweeps differ, as part of the range; None where that is noise."""
    v, i = curve["voltage"], curve["current"]
    points = turning_points(v, 0.05 * float(np.ptp(v)))
    direction = np.zeros(v.size)
    for a, b in pairwise(points):
        if b - a > 1:  # a single step is a jump back to where the next sweep begins
            direction[a : b + 1] = np.sign(v[b] - v[a])
    rising, falling = direction > 0.0, direction < 0.0
    if not rising.any() or not falling.any():
        return None
    grid = np.linspace(max(v[rising].min(), v[falling].min()), min(v[rising].max(), v[falling].max()), 43)[1:-1]
    branch = []
    for side in (rising, falling):
        order = np.argsort(v[side], kind="stable")
        branch.append(np.interp(grid, v[side][order], i[side][order]))
    apart = np.abs(branch[0] - branch[1])
    size = float(np.sqrt(np.mean(apart**2))) / float(np.ptp(i))
    noise = noise_of(i) / float(np.ptp(i))
    return size if size > max(0.01, 3.0 * noise) else None


def train(
    sheet: Sheet, v: Column, read: Column, unit: str, *, v_read: float | None = None, ramps_only: bool = False
) -> Part:
    """A pulse and a read per row: random amplitudes, or trains of potentiation and depression."""
    runs = _stretches(np.sign(np.round(v.values / (np.abs(v.values).max() or 1.0), 6)))
    levels = {sign: np.unique(np.round(v.values[np.sign(v.values) == sign], 9)) for sign in (-1.0, 1.0)}
    single = all(found.size <= 1 for found in levels.values())
    if single or ramps_only:
        shown = " and ".join(units.show(float(found[0]), "V") for found in levels.values() if found.size == 1)
        why = f"{read.title} after pulses of one amplitude each way ({shown})"
        return equal(sheet, read, unit, [r for r in runs if len(r) > 1], why)
    conditions = {name: value for name, value in sheet.settings.items() if name in CONDITIONS}
    if v_read is not None:
        conditions["v_read"] = v_read
    assumed = [name for name in ASSUMED if name not in conditions]
    conditions |= {name: ASSUMED[name] for name in assumed}
    notes = tuple(
        f"the file does not state {name}: {units.show(ASSUMED[name], CONDITIONS[name])} is assumed"
        f" (write '# {name} = ...' above the header)" for name in assumed
    )  # fmt: skip
    if unit != "S":
        return no(sheet, "pulse train", "its reads are normalised; a law of the amplitude needs conductances")
    curve = sheet.curve("pulse train", {"amplitude": v, "read": read}, {"amplitude": "V", "read": "S"}, **conditions)
    count = np.unique(v.values).size
    why = f"{read.title} after each pulse of {v.title}, of {count} amplitudes in no order of a sweep"
    titles = {"amplitude": v.title, "read": read.title}
    return Part(
        sheet.name, sheet.path, "pulse train", why, curve, tuple(runs), (*sheet.notes, *notes), columns=titles
    )  # fmt: skip


def _stretches(marks: Array) -> list[Segment]:
    edges = [0, *(np.flatnonzero(np.diff(marks)) + 1).tolist(), marks.size]
    return [Segment(a, b, float(marks[a]), float(marks[a])) for a, b in pairwise(edges)]


def equal(sheet: Sheet, read: Column, unit: str, found: Sequence[Segment], why: str) -> Part:
    """Trains of equal pulses: each stretch of the reads is a ramp, potentiation where it rises."""
    y = read.values
    kept = [s for s in found if len(s) >= 4 and np.isfinite(y[s.start : s.stop]).all()]
    if not kept:
        return no(sheet, "trains of equal pulses", "no stretch of it rises or falls over four reads or more", why)
    number = np.concatenate([np.full(len(s), k, dtype=float) for k, s in enumerate(kept)])
    pulse = np.concatenate([np.arange(len(s), dtype=float) for s in kept])
    up = [
        float(np.mean(y[s.stop - max(1, len(s) // 4) : s.stop]) - np.mean(y[s.start : s.start + max(1, len(s) // 4)]))
        for s in kept
    ]
    sign = np.concatenate([np.full(len(s), 1.0 if rise > 0.0 else -1.0) for s, rise in zip(kept, up, strict=True)])
    reads = np.concatenate([y[s.start : s.stop] for s in kept])
    lines = [line for s in kept for line in sheet.lines[s.start : s.stop]]
    own = replace(sheet, lines=tuple(lines))
    curve = own.curve(
        "equal pulses", {"ramp": number, "pulse": pulse, "polarity": sign, "read": reads},
        {"ramp": "1", "pulse": "1", "polarity": "1", "read": unit},
    )  # fmt: skip
    rising = sum(rise > 0.0 for rise in up)
    sizes = f"{min(map(len, kept))}–{max(map(len, kept))} reads each"
    told = f"{rising} of potentiation and {len(kept) - rising} of depression, {sizes}"
    left = y.size - reads.size
    notes = (*sheet.notes, f"{left} rows between the trains left out") if left else sheet.notes
    return Part(sheet.name, sheet.path, "trains of equal pulses", f"{why}: {told}", curve, tuple(kept), notes)


def endurance(sheet: Sheet, count: Column | None, reads: Sequence[tuple[Column, str]], why: str) -> list[Part]:
    """A recording for each resistance state that was read, over the ``count`` of cycles or the rows."""
    n = min(column.values.size for column, _ in reads)
    cycle = np.arange(1.0, n + 1.0) if count is None or count.values.size != n else count.values
    found = []
    middle = [float(np.nanmedian(column.values)) for column, _ in reads]
    window = max(middle) / min(middle) if len(reads) > 1 and min(middle) > 0.0 else None
    for column, unit in reads:
        y = column.values[:n]
        mean, spread = float(np.nanmean(y)), float(np.nanstd(y, ddof=1))
        middle_y, mean_y = (units.show(value, unit) for value in (float(np.nanmedian(y)), mean))
        notes = [f"{column.title}: median {middle_y}, spread {spread / abs(mean):.1%} of the mean {mean_y}"]
        if window is not None:
            notes.append(f"window {window:.3g} between the medians of the states")
        own = replace(sheet, lines=sheet.lines[:n] if len(sheet.lines) == n else ())
        curve = own.curve("endurance", {"cycle": cycle, "read": y}, {"cycle": "1", "read": unit})
        name = sheet.name if len(reads) == 1 else f"{sheet.name} [{column.title}]"
        titles = {} if count is None or cycle is not count.values else sheet.titles({"cycle": count, "read": column})
        found.append(Part(name, sheet.path, "endurance", why, curve, notes=(*sheet.notes, *notes), columns=titles))
    return found


def relaxation(sheet: Sheet, time: Column, y: Column, unit: str, why: str) -> Part:
    """A read that is left to itself; what comes before the trigger or its extreme is the drive, left out and said."""
    order = np.argsort(time.values, kind="stable")
    order = order[np.isfinite(time.values[order]) & np.isfinite(y.values[order])]
    t, notes = time.values[order], list(sheet.notes)
    if blank := time.values.size - t.size:
        notes.append(f"{_rows(blank)} without a number left out")
    whole = len(notes)
    before = int(np.count_nonzero(t < 0.0))
    if before and t.size - before >= 4:
        order, t = order[before:], t[before:]
        notes.append(f"{_rows(before)} before t = 0 left out: {time.title} counts from a trigger (write its title as "
                     "'dt' if it is the interval of two spikes)")  # fmt: skip
    turned = ramps(y.values[order]) if t.size else []
    if len(turned) == 2 and len(turned[1]) >= 4:
        start = turned[1].start
        notes.append(
            f"{_rows(start)} before {y.title} turns, at {units.show(float(t[start]), 's')}, left out as the drive; the "
            "time counts from there"
        )
        order, t = order[start:], t[start:] - t[start]
    elif t.size and not 0.0 <= t[0] <= 0.5 * (t[-1] - t[0]):  # a clock's time, not that since the drive
        notes.append(f"the time counts from the first row, {units.show(float(t[0]), 's')}")
        t = t - t[0]
    curve = sheet.only(order).curve("relaxation", {"time": t, "read": y.values[order]}, {"time": "s", "read": unit})
    shape = {"K": "heat transient"}.get(unit, "retention" if np.ptp(t) > 1.0 else "relaxation")
    columns = sheet.titles({"time": time, "read": y}) if len(notes) == whole else {}
    return Part(sheet.name, sheet.path, shape, why, curve, notes=tuple(notes), columns=columns)


def _rows(count: int) -> str:
    return f"{count} row{'s' * (count > 1)}"
