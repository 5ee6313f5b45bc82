"""LabVIEW TDMS, by nptdms: each group is a record, each channel a column, with its ``unit_string``.

Where channels are waveforms (``wf_start_offset``, ``wf_increment``) and none is called time, a column ``Time`` is made.
"""

from __future__ import annotations

import io
import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from cosim.data.readers.cells import MAX_BYTES
from cosim.data.readers.tables import Layout, NumberTable
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
                found = [_group(path, group, layout, len(data)) for group in file.groups()]
    except (KeyboardInterrupt, SystemExit, MemoryError, DataError):
        raise
    except Exception as error:
        said = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        raise DataError(
            f"cannot be read as a TDMS file: {said}", where=Where(path), remedy="it may be cut off: copy it again"
        ) from None
    filled = tuple(table for table in found if table is not None)
    if not filled:
        raise DataError("holds no channels of numbers", where=Where(path), remedy="check that it was saved")
    return filled


def _group(path: Path, group: Any, layout: Layout, size: int) -> NumberTable | None:
    columns: dict[str, Array] = {}
    units: dict[str, str] = {}
    notes: list[str] = []
    channels = [channel for channel in group.channels() if len(channel)]
    if sum(len(channel) for channel in channels) > size:  # a value takes a byte at least
        raise DataError(
            f"group {group.name[:60]!r} claims more values than the file holds",
            where=Where(path),
            remedy="copy it again",
        )
    for channel in channels:
        values = np.asarray(channel[:])
        if values.dtype.kind == "M":  # a time stamp: seconds since the first
            values, units[channel.name] = (values - values[0]) / np.timedelta64(1, "s"), "s"
        if values.dtype.kind not in "biuf":
            notes.append(f"channel {channel.name!r} holds no numbers")
            continue
        columns[channel.name] = values.astype(float)
        units.setdefault(channel.name, str(channel.properties.get("unit_string", "")))
    if not columns:
        return None
    length = max(map(len, columns.values()))
    steps = {name: group[name].properties.get("wf_increment") for name in columns}
    timed = [name for name, step in steps.items() if isinstance(step, int | float) and step]
    if timed and not any(name.casefold() == "time" for name in columns):
        first = group[timed[0]].properties
        start, step = float(first.get("wf_start_offset", 0.0)), float(first["wf_increment"])
        columns, units = (
            {"Time": np.asarray(start + step * np.arange(length), dtype=float), **columns},
            {"Time": "s", **units},
        )
    for name, column in columns.items():
        if len(column) < length:
            notes.append(f"channel {name!r} has {len(column)} of {length} values")
            columns[name] = np.append(column, np.full(length - len(column), np.nan))
    return NumberTable.of(path, columns, units=units, layout=layout, notes=tuple(notes), name=group.name)
