"""LabVIEW TDMS, by nptdms: each group is a record, each channel a column, with its ``unit_string``.

Where channels are waveforms (``wf_start_time``, ``wf_start_offset``, ``wf_increment``) and none is called time, a
column ``Time`` is made. Those of a group that were not sampled at the same times are records of their own.
"""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cosim.data.readers.cells import MAX_BYTES
from cosim.data.readers.tables import Layout, NumberTable, check_count, real_columns
from cosim.devices.base import Array
from cosim.errors import DataError, Where
from cosim.files import read_plain
from cosim.packages import optional


def begins(head: bytes) -> bool:
    """Whether it has the tag of a segment."""
    return head.startswith(b"TDSm")


def tables(path: Path, layout: Layout) -> tuple[NumberTable, ...]:
    """The groups that hold numbers; raises `DataError`, `EngineMissing`."""
    data = read_plain(path, limit=MAX_BYTES, kind="TDMS file")
    nptdms = optional("nptdms", extra="instruments", needed_by=f"reading the TDMS file {str(path)!r}")
    nptdms.log.log_manager.set_level(logging.CRITICAL)  # what it says of a damaged file is said below, in a sentence
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with nptdms.TdmsFile.open(io.BytesIO(data)) as file:
                _check(path, file.groups(), len(data))
                found = [table for group in file.groups() for table in _group(path, group, layout)]
    except (KeyboardInterrupt, SystemExit, MemoryError, DataError):
        raise
    except Exception as error:
        said = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        raise DataError(
            f"cannot be read as a TDMS file: {said}", where=Where(path), remedy="it may be cut off: copy it again"
        ) from None
    if not found:
        raise DataError("holds no channels of numbers", where=Where(path), remedy="check that it was saved")
    return tuple(found)


def _check(path: Path, groups: Sequence[Any], size: int) -> None:
    """Refuse what claims more values than there are, before any is read."""
    count = 0
    for group in groups:
        held = sum(len(channel) for channel in group.channels())
        count += held
        if held > size:  # a value takes a byte at least
            raise DataError(
                f"group {group.name[:60]!r} claims more values than the file holds",
                where=Where(path),
                remedy="copy it again",
            )
    check_count(count, path)


def _group(path: Path, group: Any, layout: Layout) -> list[NumberTable]:
    """The records of a group: one for each timing of its channels."""
    columns: dict[str, Array] = {}
    units: dict[str, str] = {}
    timings: dict[str, tuple[float, ...]] = {}
    notes: list[str] = []
    for channel in group.channels():
        values, unit = np.asarray(channel[:]), str(channel.properties.get("unit_string", ""))
        if values.dtype.kind == "M" and values.size:  # a time stamp: seconds since the first
            values, unit = (values - values[0]) / np.timedelta64(1, "s"), "s"
        if values.dtype.kind not in "biufc" or not values.size:
            notes.append(f"channel {channel.name!r} holds no numbers")
            continue
        made = real_columns(channel.name, values)
        columns |= made
        units |= dict.fromkeys(made, unit)
        timings |= dict.fromkeys(made, _timing(channel.properties))
    kinds = list(dict.fromkeys(timing for timing in timings.values() if timing))
    if len(kinds) < 2 or any(name.casefold() == "time" for name in columns):
        kinds = kinds[:1] or [()]
        timings = dict.fromkeys(columns, kinds[0])
    elif () in timings.values():
        kinds.append(())
    if len(kinds) > 1:
        notes.append(f"the channels of group {group.name!r} were sampled at {len(kinds)} different times")
    made_of = [{name: columns[name] for name in columns if timings[name] == kind} for kind in kinds]
    return [
        _record(path, part, units, kind, layout, notes, f"{group.name} {number}" if len(kinds) > 1 else group.name)
        for number, (kind, part) in enumerate(zip(kinds, made_of, strict=True), 1)
        if part
    ]


def _timing(properties: Mapping[str, Any]) -> tuple[float, ...]:
    """When a waveform was sampled: its increment and offset (s), and what its clock showed; () of any other channel."""
    step = properties.get("wf_increment")
    if not isinstance(step, int | float) or not step:
        return ()
    began = properties.get("wf_start_time")
    seconds = 0.0 if began is None else float((np.datetime64(began) - np.datetime64(0, "s")) / np.timedelta64(1, "s"))
    return float(step), float(properties.get("wf_start_offset", 0.0)), seconds


def _record(
    path: Path, columns: dict[str, Array], units: Mapping[str, str], timing: tuple[float, ...], layout: Layout,
    notes: Sequence[str], name: str,
) -> NumberTable:  # fmt: skip
    length, said = max(map(len, columns.values())), list(notes)
    for title, column in columns.items():
        if len(column) < length:
            said.append(f"channel {title!r} has {len(column)} of {length} values")
            columns[title] = np.append(column, np.full(length - len(column), np.nan))
    if timing and not any(title.casefold() == "time" for title in columns):
        time = np.asarray(timing[1] + timing[0] * np.arange(length), dtype=float)
        columns, units = {"Time": time, **columns}, {"Time": "s", **units}
    return NumberTable.of(path, columns, units=units, layout=layout, notes=tuple(said), name=name)
