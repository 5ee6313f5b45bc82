"""What kind of measurement a file holds, when nobody says so: by the units of its columns, their names and their shape.

Nothing here knows a device. A column has a role (voltage, current, time, interval, read, count, change) from its unit
and, where that leaves it open, from its title; the roles and the shape of the columns (`cosim.data.segments`) decide on
the kind. Every decision comes with the sentence that explains it, and a file that is not understood says what is
missing. The limits are our choice.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from cosim import units
from cosim.data.doubts import doubts
from cosim.data.recording import Curve
from cosim.data.segments import Segment, is_stepped, is_swept, noise_of, ramps, sweeps, turning_points
from cosim.data.sheets import Column, Sheet, sheets_of
from cosim.data.spec import CONDITIONS
from cosim.devices.base import Array
from cosim.errors import CosimError, DataError

CYCLES = re.compile(r"cycle|endurance|switch", re.IGNORECASE)
# A resistance state that differs from the other by this factor of its spread is another state.
APART = 3.0
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


def recognise(path: str | Path, *, sweep_rate: float | None = None) -> list[Part]:
    """What each recording in a file is; one `Part` that says why not, where the file cannot be read.

    ``sweep_rate`` (V/s) makes the time of sweeps whose file has none.
    """
    file = Path(path)
    try:
        sheets = sheets_of(file)
    except CosimError as error:
        return [Part(file.name, file, "unread", refused=str(error))]
    found: list[Part] = []
    for sheet in sheets:
        found += _parts(replace(sheet, sweep_rate=sweep_rate))
    return found


# --- from columns to kinds ----------------------------------------------------------------------------------------


def _parts(sheet: Sheet) -> list[Part]:
    if not sheet.columns:
        return [Part(sheet.name, sheet.path, "not recognised", refused="no column holds numbers")]
    if max(column.values.size for column in sheet.columns) < 4:
        rows = max(column.values.size for column in sheet.columns)
        return [_no(sheet, "too short", f"{rows} rows are too few to say anything; measure more")]
    for ask in _ASKED:
        found = ask(sheet)
        if found:
            return [_checked(part) for part in found]
    without = [column.title for column in sheet.columns if not column.unit]
    said = ", ".join(f"{c.title} ({c.unit or 'no unit'})" for c in sheet.columns[:8])
    remedy = "write a recipe (docs/recipes.md)"
    if without:
        remedy = f"state the units in the header, as in '{without[0]} (V)', or write a recipe"
    return [_no(sheet, "not recognised", f"columns {said} are none of the measurements that are known here; {remedy}")]


def _no(sheet: Sheet, shape: str, refused: str, why: str = "") -> Part:
    return Part(sheet.name, sheet.path, shape, why, notes=sheet.notes, refused=refused)


def _checked(part: Part) -> Part:
    """A part whose measured column says nothing is refused before any fit."""
    if part.curve is None:
        return part
    y = part.curve.measured
    if float(np.ptp(y)) <= 1e-12 * float(np.abs(y).max()):
        why = f"the measured column is constant ({units.show(float(y[0]), part.curve.measured_unit)}): it tells nothing"
        return replace(part, curve=None, refused=why)
    return replace(part, notes=(*part.notes, *doubts(part.curve)))


def _reads(sheet: Sheet) -> list[tuple[Column, str]]:
    """Columns that hold what was read of a device, as conductances where they are resistances; unit S, or 1."""
    found: list[tuple[Column, str]] = [(column, "S") for column in sheet.of("S")]
    for column in sheet.of("Ohm"):
        with np.errstate(divide="ignore"):
            found.append((replace(column, values=np.where(column.values == 0.0, np.nan, 1.0 / column.values)), "S"))
    if not found:
        plain = [*sheet.of("1"), *sheet.of("")]
        found = [(c, "1") for c in plain if c.says("conductance") and not c.says("change")]
    return found


def _interval(sheet: Sheet) -> list[Part]:
    """Changes over the interval of two pulses: windows of STDP, pairs of pulses.

    A time before a trigger is negative too; it is an interval by its title, or where its rows go back and forth.
    """
    intervals = [column for column in sheet.of("s") if column.says("interval") or _unordered(column)]
    if not intervals or (sheet.of("V") and sheet.of("A")):
        return []
    x = intervals[0]
    signed = bool(np.nanmin(x.values) < 0.0 < np.nanmax(x.values))
    others = [column for column in sheet.columns if column is not x and column.unit in ("1", "", "S", "A", "V")]
    named = [column for column in others if column.says("change" if signed else "ratio")] or others
    if not named:
        return []
    y = named[0]
    unit = y.unit or "1"
    order = np.argsort(x.values, kind="stable")
    kind, name = ("stdp window", "change") if signed else ("paired pulses", "ratio")
    curve = sheet.curve(kind, {"interval": x.values[order], name: y.values[order]}, {"interval": "s", name: unit})
    if signed:
        why = f"{y.title} over {x.title} of both signs"
        return [Part(sheet.name, sheet.path, "STDP window", why, curve, notes=sheet.notes)]
    return [
        Part(
            sheet.name, sheet.path, "paired pulses", f"{y.title} over the interval {x.title}", curve, notes=sheet.notes
        )
    ]


def _unordered(column: Column) -> bool:
    """Whether it has both signs, in no order that a time has."""
    steps = np.diff(column.values[np.isfinite(column.values)])
    return bool(np.nanmin(column.values) < 0.0 and (steps < 0.0).any() and not column.says("time"))


def _driven(sheet: Sheet) -> list[Part]:
    """A voltage and a current: sweeps, pulses in time, a retention read at one voltage."""
    volts, amps, times = sheet.of("V"), sheet.of("A"), sheet.of("s")
    if not volts or not amps:
        return []
    moving = [column for column in volts if not column.constant]
    time = times[0] if times else None
    if not moving:
        return _at_rest(sheet, volts[0], amps[0], time)
    v = next((column for column in moving if not column.says("gate")), moving[0])
    if v.says("gate"):
        rest = next((column.title for column in volts if column.constant), "drain voltage")
        why = f"the current follows {v.title} at a constant {rest}"
        return [
            _no(sheet, "transfer curve", "no law for the gate is known here; write a recipe of kind 'transient'", why)
        ]
    current = next((column for column in amps if not column.says("gate")), amps[0])
    held = [column.title for column in volts if column is not v and not column.constant]
    notes = (*sheet.notes, *(f"{title} moves too and is not used" for title in held))
    sheet = replace(sheet, notes=notes)
    if is_swept(v.values):
        return [_sweep(sheet, v, current, time)]
    if time is not None and is_stepped(v.values):
        curve, said = _in_time(sheet, v, current, time.values)
        why = f"{v.title} rests on levels and {current.title} is followed in time"
        titles = {"time": time.title, "voltage": v.title, "current": current.title}
        return [Part(sheet.name, sheet.path, "transient", why, curve, notes=(*notes, *said), columns=titles)]
    stated = sheet.settings.get("v_read")
    return [
        _train(sheet, v, replace(current, values=current.values / (stated or ASSUMED["v_read"])), "S", v_read=stated)
    ]


def _at_rest(sheet: Sheet, v: Column, current: Column, time: Column | None) -> list[Part]:
    level = float(np.median(v.values))
    if time is None or level == 0.0:
        return []
    g = replace(current, values=current.values / level, title=f"{current.title}/{v.title}")
    why = f"{current.title} over {time.title} at a constant {units.show(level, 'V')}"
    return [_relaxation(sheet, time, g, "S", why)]


def _sweep(sheet: Sheet, v: Column, current: Column, time: Column | None) -> Part:
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
        return Part(sheet.name, sheet.path, "I-V sweep", why, static, tuple(found), sheet.notes, columns=titles)
    why = (
        f"{current.title} over a swept {v.title} ({said}); rising and falling sweeps differ by {width:.0%} of the range"
    )
    part = Part(sheet.name, sheet.path, "hysteresis loop", why, static, tuple(found), sheet.notes)
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
    curve, notes = _in_time(sheet, v, current, seconds)
    if time is not None:
        part = replace(part, columns={"time": time.title, **titles})
    return replace(part, curve=curve, notes=(*part.notes, *notes))


def _in_time(sheet: Sheet, v: Column, current: Column, t: Array) -> tuple[Curve, tuple[str, ...]]:
    """A recording in time; rows whose time does not move on are left out, and said."""
    good = np.isfinite(t)
    later = np.ones(t.size, dtype=bool)
    last = -np.inf
    for k in range(t.size):
        later[k] = bool(good[k]) and t[k] > last
        last = float(t[k]) if later[k] else last
    repeated = int(np.count_nonzero(good & ~later))
    if repeated > 0.2 * t.size:
        raise DataError(f"{repeated} of {t.size} rows are not later than the row before: this is not a time")
    columns: dict[str, Column | Array] = {
        "time": np.where(later, t - t[later][0], np.nan),
        "voltage": v,
        "current": current,
    }
    notes = (
        (f"{repeated} row{'s' * (repeated > 1)} left out whose time stamp is not later than that of the row before",)
        if repeated
        else ()
    )
    return sheet.curve("loop", columns, {"time": "s", "voltage": "V", "current": "A"}), notes


def _loop_width(curve: Curve) -> float | None:
    """How far rising and falling sweeps differ, as part of the range; None where that is noise."""
    v, i = curve["voltage"], curve["current"]
    points = turning_points(v, 0.05 * float(np.ptp(v)))
    rising = np.zeros(v.size, dtype=bool)
    for a, b in pairwise(points):
        rising[a : b + 1] = v[b] > v[a]
    if rising.all() or not rising.any():
        return None
    grid = np.linspace(max(v[rising].min(), v[~rising].min()), min(v[rising].max(), v[~rising].max()), 43)[1:-1]
    branch = []
    for side in (rising, ~rising):
        order = np.argsort(v[side], kind="stable")
        branch.append(np.interp(grid, v[side][order], i[side][order]))
    apart = np.abs(branch[0] - branch[1])
    size = float(np.sqrt(np.mean(apart**2))) / float(np.ptp(i))
    noise = noise_of(i) / float(np.ptp(i))
    return size if size > max(0.01, 3.0 * noise) else None


def _train(
    sheet: Sheet, v: Column, read: Column, unit: str, *, v_read: float | None = None, ramps_only: bool = False
) -> Part:
    """A pulse and a read per row: random amplitudes, or trains of potentiation and depression."""
    runs = _runs(np.sign(np.round(v.values / (np.abs(v.values).max() or 1.0), 6)))
    levels = {sign: np.unique(np.round(v.values[np.sign(v.values) == sign], 9)) for sign in (-1.0, 1.0)}
    single = all(found.size <= 1 for found in levels.values())
    if single or ramps_only:
        shown = " and ".join(units.show(float(found[0]), "V") for found in levels.values() if found.size == 1)
        why = f"{read.title} after pulses of one amplitude each way ({shown})"
        return _equal(sheet, read, unit, [r for r in runs if len(r) > 1], why)
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
        return _no(sheet, "pulse train", "its reads are normalised; a law of the amplitude needs conductances")
    curve = sheet.curve("pulse train", {"amplitude": v, "read": read}, {"amplitude": "V", "read": "S"}, **conditions)
    count = np.unique(v.values).size
    why = f"{read.title} after each pulse of {v.title}, of {count} amplitudes in no order of a sweep"
    titles = {"amplitude": v.title, "read": read.title}
    return Part(
        sheet.name, sheet.path, "pulse train", why, curve, tuple(runs), (*sheet.notes, *notes), columns=titles
    )  # fmt: skip


def _runs(marks: Array) -> list[Segment]:
    edges = [0, *(np.flatnonzero(np.diff(marks)) + 1).tolist(), marks.size]
    return [Segment(a, b, float(marks[a]), float(marks[a])) for a, b in pairwise(edges)]


def _equal(sheet: Sheet, read: Column, unit: str, found: Sequence[Segment], why: str) -> Part:
    """Trains of equal pulses: each stretch of the reads is a ramp, potentiation where it rises."""
    y = read.values
    kept = [s for s in found if len(s) >= 4 and np.isfinite(y[s.start : s.stop]).all()]
    if not kept:
        return _no(sheet, "trains of equal pulses", "no stretch of it rises or falls over four reads or more", why)
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


def _pulsed(sheet: Sheet) -> list[Part]:
    """Reads beside the amplitude of their pulses."""
    volts, reads = [c for c in sheet.of("V") if not c.says("read voltage")], _reads(sheet)
    changes = [c for c in sheet.columns if c.says("change") and c.unit in ("1", "S", "", "A")]
    if volts and changes and (len(sheet.columns) > 2):
        names = ", ".join(column.title for column in sheet.columns)
        return [
            _no(
                sheet, "table of single steps", "which column is which state or input of a device only a recipe can "
                "say (kind = 'step table')", f"a change per row, with its conditions ({names})",
            )
        ]  # fmt: skip
    if not volts or not reads:
        return []
    moving = [column for column in volts if not column.constant]
    if not moving:
        return []
    return [_train(sheet, moving[0], reads[0][0], reads[0][1], v_read=sheet.settings.get("v_read"))]


def _counted(sheet: Sheet) -> list[Part]:
    """Reads over a count: endurance, or trains of equal pulses."""
    reads = _reads(sheet)
    chosen = {id(column) for column, _ in reads}
    counts = [
        c for c in sheet.columns
        if c.unit in ("1", "") and c.number not in {r.number for r, _ in reads} and id(c) not in chosen
        and np.all(np.diff(c.values) >= 0.0) and (c.says("count") or c is sheet.columns[0])
    ]  # fmt: skip
    if not reads or (not counts and sheet.of("s")):
        return []
    cycles = bool(counts) and CYCLES.search(counts[0].title) is not None
    if len(reads) == 1:
        y = reads[0][0].values
        if _alternates(y):
            return _endurance(
                sheet, counts[0] if counts else None, _split(reads[0]), "high and low alternate from row to row"
            )
        if cycles:
            return _endurance(sheet, counts[0], [reads[0]], f"{reads[0][0].title} over {counts[0].title}")
        over = f" over {counts[0].title}" if counts else ""
        return [_equal(sheet, *reads[0], ramps(y), f"{reads[0][0].title}{over} rises and falls in stretches")]
    states = _apart([column for column, _ in reads])
    if cycles or (states and len(reads) == 2 and counts):
        titles = " and ".join(column.title for column, _ in reads)
        return _endurance(
            sheet, counts[0] if counts else None, reads, f"{titles} over {counts[0].title if counts else 'the rows'}"
        )
    # One column per ramp: the reads follow each other, column by column.
    unit = reads[0][1]
    filled = [column.values[np.isfinite(column.values)] for column, _ in reads]
    joined = Column("reads", unit, np.concatenate(filled), reads[0][0].number)
    edges = np.concatenate([[0], np.cumsum([part.size for part in filled])])
    found = [Segment(int(a), int(b), 0.0, 1.0) for a, b in pairwise(edges)]
    return [_equal(replace(sheet, lines=()), joined, unit, found, f"{len(reads)} columns of reads, one for each train")]


def _alternates(y: Array) -> bool:
    """Whether rows alternate between two levels that lie apart."""
    return y.size >= 8 and _apart_levels(y[::2], y[1::2])


def _apart(columns: Sequence[Column]) -> bool:
    return len(columns) == 2 and _apart_levels(columns[0].values, columns[1].values)


def _apart_levels(one: Array, other: Array) -> bool:
    n = min(one.size, other.size)
    with np.errstate(divide="ignore", invalid="ignore"):
        a, b = np.log(np.abs(one[:n])), np.log(np.abs(other[:n]))
    gap = float(np.nanmedian(a) - np.nanmedian(b))
    spread = float(np.nanstd(a - np.nanmedian(a)) + np.nanstd(b - np.nanmedian(b)))
    return abs(gap) > max(APART * spread, 0.1) and float(np.mean(np.sign(a - b) == np.sign(gap))) > 0.95


def _split(read: tuple[Column, str]) -> list[tuple[Column, str]]:
    column, unit = read
    halves = [column.values[k::2] for k in (0, 1)]
    n = min(half.size for half in halves)
    low = int(np.median(halves[0]) > np.median(halves[1]))
    names = {low: "low state", 1 - low: "high state"}
    return [(replace(column, values=half[:n], title=names[k]), unit) for k, half in enumerate(halves)]


def _endurance(sheet: Sheet, count: Column | None, reads: Sequence[tuple[Column, str]], why: str) -> list[Part]:
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
        found.append(Part(name, sheet.path, "endurance", why, curve, notes=(*sheet.notes, *notes)))
    return found


def _timed(sheet: Sheet) -> list[Part]:
    """Something over time: retention and relaxation, heat, or trains whose rows carry time stamps."""
    times = sheet.of("s")
    if not times:
        return []
    time = times[0]
    reads = _reads(sheet) or [(c, c.unit) for unit in ("K", "V", "A") for c in sheet.of(unit) if not c.constant]
    if not reads:
        return []
    if len(reads) > 1 and len(reads) == len([c for c in sheet.of("V") if not c.constant]):
        titles = ", ".join(column.title for column, _ in reads)
        hint = f"columns.current = {{ name = '{reads[-1][0].title}', unit = 'A' }}"
        return [
            _no(
                sheet, "waveforms", f"which channel is a current, and through what, only a recipe can say: {hint}",
                f"voltages over {time.title}: {titles}",
            )
        ]  # fmt: skip
    y = reads[0][0].values
    turned = ramps(y[np.isfinite(y)])
    if reads[0][1] in ("S", "1") and len(turned) > 2:
        return [_equal(sheet, *reads[0], ramps(y), f"{reads[0][0].title} rises and falls in stretches of time")]
    if len(turned) > 2:
        why = f"{reads[0][0].title} turns {len(turned) - 1} times over {time.title}"
        return [_no(sheet, "waveform", "without what drove it nothing can be fitted; add the drive as a column", why)]
    return [
        _relaxation(sheet, time, column, unit, f"{column.title} over {time.title}, without a drive in the file")
        for column, unit in reads[:4]
    ]


def _relaxation(sheet: Sheet, time: Column, y: Column, unit: str, why: str) -> Part:
    """A read that is left to itself; what comes before its extreme is the drive and is left out."""
    t, notes = time.values, sheet.notes
    order = np.argsort(t, kind="stable")
    early = int(np.count_nonzero(t < 0.0))
    if early and np.count_nonzero(t >= 0.0) >= 4:
        order, notes = order[early:], (*notes, f"{early} row{'s' * (early > 1)} before the time 0 left out")
    if len(sheet.lines) == t.size and not np.array_equal(order, np.arange(t.size)):
        sheet = replace(sheet, lines=np.asarray(sheet.lines)[order].tolist())
    first, far = float(np.nanmin(t[order])), float(np.nanmax(t))
    if not 0.0 <= first <= 0.5 * (far - first):  # a clock's time, not that since the drive
        t, notes = t - first, (*notes, f"the time counts from the first row, {units.show(first, 's')}")
    curve = sheet.curve("relaxation", {"time": t[order], "read": y.values[order]}, {"time": "s", "read": unit})
    shape = {"K": "heat transient"}.get(unit, "retention" if np.nanmax(t) - np.nanmin(t) > 1.0 else "relaxation")
    return Part(sheet.name, sheet.path, shape, why, curve, notes=notes)


_ASKED: tuple[Callable[[Sheet], list[Part]], ...] = (_interval, _driven, _pulsed, _counted, _timed)
