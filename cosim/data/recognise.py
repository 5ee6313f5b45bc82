"""What kind of measurement a file holds, when nobody says so: by the units of its columns, their names and their shape.

Nothing here knows a device. A column has a role (voltage, current, time, interval, read, count, change) from its unit
and, where that leaves it open, from its title; the roles and the shape of the columns (`cosim.data.segments`) decide on
the kind. Every decision comes with the sentence that explains it, and a file that is not understood says what is
missing. The limits are our choice.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from cosim import units
from cosim.data.doubts import doubts
from cosim.data.families import Family, family, quoted
from cosim.data.parts import ASSUMED, Part, endurance, equal, in_time, no, relaxation, sweep, train
from cosim.data.segments import Segment, is_flat, is_stepped, is_swept, ramps
from cosim.data.sheets import Column, Sheet, sheets_of
from cosim.devices.base import Array
from cosim.errors import CosimError

CYCLES = re.compile(r"cycle|endurance|switch", re.IGNORECASE)
# A resistance state that differs from the other by this factor of its spread is another state.
APART = 3.0
# Of more reads over one time the others are not looked at, which is said.
RELAXING = 4

# Rows below which nothing is said of a recording.
SHORTEST = 4


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
    if max(column.values.size for column in sheet.columns) < SHORTEST:
        rows = max(column.values.size for column in sheet.columns)
        few = "one row is" if rows == 1 else f"{rows} rows are"
        where = f" (line {sheet.lines[0]})" if rows == 1 and len(sheet.lines) == 1 else ""
        return [no(sheet, "too short", f"{few} too few to say anything{where}; measure more")]
    for ask in (_repeated, *_ASKED):
        found = ask(sheet)
        if found:
            record = {} if sheet.record is None else {"record": sheet.record}
            marks = {"missing": sheet.missing} if sheet.missing else {}
            return [replace(_checked(part, sheet), data={**part.data, **record, **marks}) for part in found]
    if sheet.misread:
        notes = tuple(note for note in sheet.notes if note not in sheet.misread)
        return [no(replace(sheet, notes=notes), "not recognised", " ".join(sheet.misread))]
    without = [column.title for column in sheet.columns if not column.unit]
    said = ", ".join(f"{c.title} ({c.unit or 'no unit'})" for c in sheet.columns[:8])
    remedy = "write a recipe (docs/recipes.md)"
    if without:
        remedy = f"state the units in the header, as in '{without[0]} (V)', or write a recipe"
    return [no(sheet, "not recognised", f"columns {said} are of no known measurement; {remedy}")]


def _repeated(sheet: Sheet) -> list[Part]:
    """Recordings one below the other, which a column of numbers tells apart: at its steps the time begins anew."""
    clock = next((column for column in sheet.of("s") if not column.says("interval")), None)
    if clock is None:
        return []
    back = 1 + np.flatnonzero(np.diff(clock.values) <= 0.0)
    for number in (*sheet.of("1"), *sheet.of("")):
        labels = number.values[[0, *back]]
        steps = 1 + np.flatnonzero(np.diff(number.values) != 0.0)
        rows = np.diff([0, *back, number.values.size])
        apart = np.array_equal(back, steps) and np.unique(labels).size == labels.size
        if apart and back.size and rows.min() >= SHORTEST:
            break
    else:
        return []
    found: list[Part] = []
    for label, start, stop in zip(labels.tolist(), [0, *back], [*back, number.values.size], strict=True):
        own = slice(int(start), int(stop))
        columns = tuple(replace(column, values=column.values[own]) for column in sheet.columns if column is not number)
        name = f"{sheet.name} [{number.title} = {label:g}]"
        alone = replace(sheet.only(np.arange(own.start, own.stop)), columns=columns, name=name)
        where = f"{quoted(number.title)} == {label:g}"
        found += [replace(one, where=" and ".join(filter(None, (where, one.where)))) for one in _parts(alone)]
    return found


def _checked(part: Part, sheet: Sheet) -> Part:
    """A part with what was left out of its recording; one whose measured column says nothing is refused."""
    curve = part.curve
    if curve is None:
        return part
    y = curve.measured
    if float(np.ptp(y)) <= 1e-12 * float(np.abs(y).max()):
        title = part.columns.get(curve.measured_name)
        named = f"the measured column{f' {title!r}' if title else ''}"
        lines = f" in lines {curve.lines[0]} to {curve.lines[-1]}" if curve.lines else ""
        why = f"{named} is constant ({units.show(float(y[0]), curve.measured_unit)}{lines}): it tells nothing"
        return replace(part, curve=None, refused=why)
    left = [] if curve.reading is None else [note for note in curve.reading.notes if note not in sheet.notes]
    return replace(part, notes=(*part.notes, *left, *doubts(curve)))


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
    """Changes over the interval of two pulses: windows of STDP, pairs of pulses; what was read after each of them."""
    volts, amps = sheet.of("V"), sheet.of("A")
    if amps and any(not column.constant for column in volts):  # a recording in time, whose trigger is at zero
        return []
    intervals = [column for column in sheet.of("s") if column.says("interval")]
    if not intervals and not (volts and amps):
        intervals = [column for column in sheet.of("s") if not column.says("time") and _jumps(column.values)]
    if not intervals:
        return []
    x = intervals[0]
    signed = bool(np.nanmin(x.values) < 0.0 < np.nanmax(x.values))
    others = [column for column in sheet.columns if column is not x and column.unit in ("1", "", "S", "A", "V")]
    named = [column for column in others if column.says("change" if signed else "ratio")] or others
    if not named:
        return []
    numbered = [column for column in sheet.columns if column.says("sequence") and column.unit in ("1", "")]
    rests = [column for column in sheet.of("s") if column is not x and column.says("rest")]
    reads = sheet.of("S")
    if reads and (numbered or rests) and not signed:
        return [_events(sheet, {"interval": x, "read": reads[0]}, numbered=numbered, rests=rests)]
    y = named[0]
    pairs = [column for column in others if column.unit == y.unit and not column.constant]
    if not signed and not y.says("ratio") and len(pairs) == len(others) == 2:
        return [_ratio(sheet, x, *pairs)]
    unit = y.unit or "1"
    order = np.argsort(x.values, kind="stable")
    kind, name = ("stdp window", "change") if signed else ("paired pulses", "ratio")
    curve = sheet.only(order).curve(
        kind, {"interval": x.values[order], name: y.values[order]}, {"interval": "s", name: unit}
    )
    shape = "STDP window" if signed else "paired pulses"
    why = f"{y.title} over {x.title} of both signs" if signed else f"{y.title} over the interval {x.title}"
    columns = sheet.titles({"interval": x, name: y})
    return [Part(sheet.name, sheet.path, shape, why, curve, notes=sheet.notes, columns=columns)]


def _ratio(sheet: Sheet, x: Column, first: Column, second: Column) -> Part:
    """Pairs of pulses with what each of the two left: their ratio over the interval."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(first.values == 0.0, np.nan, second.values / first.values)
    order = np.argsort(x.values, kind="stable")
    curve = sheet.only(order).curve(
        "paired pulses", {"interval": x.values[order], "ratio": ratio[order]}, {"interval": "s", "ratio": "1"}
    )
    why = f"{first.title} and {second.title} over the interval {x.title}"
    note = f"the ratio is {second.title} over {first.title}"
    return Part(sheet.name, sheet.path, "paired pulses", why, curve, notes=(*sheet.notes, note))


def _jumps(x: Array) -> bool:
    """Whether values of both signs come in no order of time."""
    return bool(np.nanmin(x) < 0.0 < np.nanmax(x) and np.any(np.diff(x[np.isfinite(x)]) < 0.0))


def _events(sheet: Sheet, columns: dict[str, Column], *, numbered: list[Column], rests: list[Column]) -> Part:
    """What was read after each spike of a burst or a pair, and after each rest."""
    columns |= {"sequence": numbered[0]} if numbered else {}
    columns |= {"duration": rests[0]} if rests else {}
    units = {"interval": "s", "duration": "s", "read": "S", "sequence": "1"}
    curve = sheet.curve("events", columns, {name: units[name] for name in columns})
    why = f"{columns['read'].title} after each spike, {columns['interval'].title} after the one before"
    return Part(
        sheet.name, sheet.path, "events", why, curve, notes=sheet.notes,
        columns={name: column.title for name, column in columns.items()},
    )  # fmt: skip


def _complex(sheet: Sheet) -> list[Part]:
    """The vectors of an AC analysis: real parts plotted against each other are not a device's I-V curve."""
    parts = [column.title for column in sheet.columns if column.title.lower().startswith(("re(", "im("))]
    if not sheet.of("Hz") or not parts:
        return []
    return [no(
        sheet, "frequency response", "no law for complex vectors is known here; write a recipe of kind 'values', with "
        f"a part such as '{parts[0]}' as the value at {sheet.of('Hz')[0].title}",
    )]  # fmt: skip


def _driven(sheet: Sheet) -> list[Part]:
    """A voltage and a current: sweeps, pulses in time, a retention read at one voltage."""
    volts, amps, times = sheet.of("V"), sheet.of("A"), sheet.of("s")
    if not volts or not amps:
        return []
    moving = [column for column in volts if not column.constant]
    time = times[0] if times else None
    if not moving:
        return _at_rest(sheet, volts[0], amps[0], time)
    others = [c for unit in ("K", "S", "Ohm") for c in sheet.of(unit) if not c.constant]
    if (curves := family(moving, others)) is not None:
        return _family(sheet, curves, next((c for c in amps if not c.says("gate")), amps[0]), time)
    v = next((column for column in moving if not column.says("gate")), moving[0])
    if v.says("gate"):
        rest = next((column.title for column in volts if column.constant), "drain voltage")
        why = f"the current follows {v.title} at a constant {rest}"
        return [
            no(sheet, "transfer curve", "no law for the gate is known here; write a recipe of kind 'transient'", why)
        ]
    current = next((column for column in amps if not column.says("gate")), amps[0])
    held = [column.title for column in volts if column is not v and not column.constant]
    notes = (*sheet.notes, *(f"{title} moves too and is not used" for title in held))
    sheet = replace(sheet, notes=notes)
    if is_swept(v.values):
        return [sweep(sheet, v, current, time)]
    if time is not None and is_stepped(v.values):
        curve, said = in_time(sheet, v, current, time.values)
        why = f"{v.title} rests on levels and {current.title} is followed in time"
        titles = {"time": time.title, "voltage": v.title, "current": current.title}
        return [Part(sheet.name, sheet.path, "transient", why, curve, notes=(*notes, *said), columns=titles)]
    stated = sheet.settings.get("v_read")
    return [
        train(sheet, v, replace(current, values=current.values / (stated or ASSUMED["v_read"])), "S", v_read=stated)
    ]


def _family(sheet: Sheet, curves: Family, current: Column, time: Column | None) -> list[Part]:
    """Each curve of a family by itself, or all of them where a device has the stepped column as a parameter."""
    v, stepped = curves.swept, curves.stepped
    count = len(curves.levels)
    why = f"{current.title} over {v.title} at {count} levels of {stepped.title} ({curves.shown})"
    if v.says("gate"):
        return [no(sheet, "family of transfer curves", "no law for the gate is known here; write a recipe of kind "
                   "'transient'", why)]  # fmt: skip
    if curves.parameter:
        name = curves.parameter
        titles = {"voltage": v.title, "current": current.title, name: stepped.title}
        curve = sheet.curve(
            "i-v", {"voltage": v, "current": current, name: stepped},
            {"voltage": "V", "current": "A", name: stepped.unit},
        )  # fmt: skip
        return [Part(sheet.name, sheet.path, "family of curves", why, curve, notes=sheet.notes, columns=titles)]
    found = []
    for k in range(count):
        alone, rows = curves.curve(sheet, k)
        at_level, flows = (replace(column, values=column.values[rows]) for column in (v, current))
        clock = None if time is None else replace(time, values=time.values[rows])
        part = sweep(alone, at_level, flows, clock)
        note = f'curve {k + 1} of a family: {why}; a recipe selects it by where = "{curves.where(k)}"'
        shape = f"{part.shape} of a family"
        found.append(replace(part, shape=shape, notes=(*part.notes, note), where=curves.where(k)))
    return found


def _at_rest(sheet: Sheet, v: Column, current: Column, time: Column | None) -> list[Part]:
    level = float(np.median(v.values))
    if time is None or level == 0.0:
        return []
    g = replace(current, values=current.values / level, title=f"{current.title}/{v.title}")
    why = f"{current.title} over {time.title} at a constant {units.show(level, 'V')}"
    return [relaxation(sheet, time, g, "S", why)]


def _pulsed(sheet: Sheet) -> list[Part]:
    """Reads beside the amplitude of their pulses."""
    volts, reads = [c for c in sheet.of("V") if not c.says("read voltage")], _reads(sheet)
    changes = [c for c in sheet.columns if c.says("change") and c.unit in ("1", "S", "", "A")]
    if volts and changes and (len(sheet.columns) > 2):
        names = ", ".join(column.title for column in sheet.columns)
        return [
            no(
                sheet, "table of single steps", "which column is which state or input of a device only a recipe can "
                "say (kind = 'step table')", f"a change per row, with its conditions ({names})",
            )
        ]  # fmt: skip
    if not volts or not reads:
        return []
    moving = [column for column in volts if not column.constant]
    if not moving:
        return []
    return [train(sheet, moving[0], reads[0][0], reads[0][1], v_read=sheet.settings.get("v_read"))]


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
            return endurance(
                sheet, counts[0] if counts else None, _split(reads[0]), "high and low alternate from row to row"
            )
        if cycles:
            return endurance(sheet, counts[0], [reads[0]], f"{reads[0][0].title} over {counts[0].title}")
        over = f" over {counts[0].title}" if counts else ""
        found = ramps(y)
        if counts and len(found) < 2 and is_flat(y):
            return endurance(sheet, counts[0], reads, f"{reads[0][0].title}{over} neither rises nor falls")
        return [equal(sheet, *reads[0], found, f"{reads[0][0].title}{over} rises and falls in stretches")]
    states = _apart([column for column, _ in reads])
    if cycles or (states and len(reads) == 2 and counts):
        titles = " and ".join(column.title for column, _ in reads)
        return endurance(
            sheet, counts[0] if counts else None, reads, f"{titles} over {counts[0].title if counts else 'the rows'}"
        )
    # One column per ramp: the reads follow each other, column by column.
    unit = reads[0][1]
    filled = [column.values[np.isfinite(column.values)] for column, _ in reads]
    joined = Column("reads", unit, np.concatenate(filled), reads[0][0].number)
    edges = np.concatenate([[0], np.cumsum([part.size for part in filled])])
    found = [Segment(int(a), int(b), 0.0, 1.0) for a, b in pairwise(edges)]
    return [equal(replace(sheet, lines=()), joined, unit, found, f"{len(reads)} columns of reads, one for each train")]


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
            no(
                sheet, "waveforms", f"which channel is a current, and through what, only a recipe can say: {hint}",
                f"voltages over {time.title}: {titles}",
            )
        ]  # fmt: skip
    y = reads[0][0].values
    turned = ramps(y[np.isfinite(y)])
    if reads[0][1] in ("S", "1") and len(turned) > 2:
        return [equal(sheet, *reads[0], ramps(y), f"{reads[0][0].title} rises and falls in stretches of time")]
    if len(turned) > 2:
        why = f"{reads[0][0].title} turns {len(turned) - 1} times over {time.title}"
        return [no(sheet, "waveform", "without what drove it nothing can be fitted; add the drive as a column", why)]
    if len(reads) > RELAXING:
        left = ", ".join(column.title for column, _ in reads[RELAXING:])
        sheet = replace(sheet, notes=(*sheet.notes, f"only the first {RELAXING} reads are looked at, not {left}"))
    return [
        relaxation(sheet, time, column, unit, f"{column.title} over {time.title}, without a drive in the file")
        for column, unit in reads[:RELAXING]
    ]


_ASKED: tuple[Callable[[Sheet], list[Part]], ...] = (_complex, _interval, _driven, _pulsed, _counted, _timed)
