"""Messages between parent and worker: a length-prefixed JSON object, then raw little-endian arrays.

A frame is ``uint32 length | JSON | array bytes``; ``"arrays"`` in it lists ``[dtype, count]`` of what follows.
Neither side unpickles anything: a worker that a netlist has taken over can send numbers and text, and nothing else.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import struct
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_LENGTH = struct.Struct("<I")
_DTYPES = ("<f8", "<c16")
MAX_HEADER = 256 << 20  # of a job: a deck may be long
MAX_ANSWER = 8 << 20  # of an answer, at least: a hundred thousand names
_AT_ONCE = 512  # buffers; the least that POSIX lets a system call take is 16, every system that we know takes 1024
MAX_ARRAYS = 16 << 30
READ_ONLY = "read"  # the folder beside a worker's scratch folder whose files its engine may read

Numbers = NDArray[np.float64] | NDArray[np.complex128]


class FrameClosed(Exception):
    """The other side has closed the pipe, or sends something other than a frame."""


class FrameTimeout(Exception):
    """The deadline passed before a whole frame had come."""


def most_of_answer(memory: int) -> int:
    """Bytes that may stand before the arrays in an answer of an engine with ``memory`` bytes.

    What is read of them takes up to 25 times as much: a fifth of what the engine has.
    """
    return min(MAX_HEADER, max(MAX_ANSWER, memory // 128))


def _wait(handle: int, deadline: float | None, event: int) -> None:
    if deadline is None:
        return
    poller = select.poll()
    poller.register(handle, event)
    left = deadline - time.monotonic()
    if left <= 0 or not poller.poll(left * 1000):
        raise FrameTimeout


def _read_exactly(handle: int, count: int, deadline: float | None) -> bytearray:
    data = bytearray(count)
    view, done = memoryview(data), 0
    while done < count:
        _wait(handle, deadline, select.POLLIN)
        got = os.readv(handle, [view[done : done + (1 << 20)]])
        if got == 0:
            raise FrameClosed
        done += got
    return data


def receive(
    handle: int, *, deadline: float | None = None, limit: int = MAX_ARRAYS, most: int = MAX_HEADER
) -> tuple[dict[str, Any], list[Numbers]]:
    """One frame from ``handle``; ``deadline`` on `time.monotonic`'s clock, ``limit`` in bytes of all its arrays and
    ``most`` of what stands before them.

    Raises `FrameClosed`, also for a malformed frame or one beyond the limit, and `FrameTimeout`.
    """
    (length,) = _LENGTH.unpack(_read_exactly(handle, _LENGTH.size, deadline))
    if length > most:
        raise FrameClosed
    try:
        header = json.loads(bytes(_read_exactly(handle, length, deadline)))
        described = [(str(dtype), int(count)) for dtype, count in header.pop("arrays", [])]
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError):
        raise FrameClosed from None
    if any(dtype not in _DTYPES or count < 0 for dtype, count in described):
        raise FrameClosed
    sizes = [count * (16 if dtype == "<c16" else 8) for dtype, count in described]
    if sum(sizes) > limit:
        raise FrameClosed
    arrays: list[Numbers] = []
    data, position = _read_exactly(handle, sum(sizes), deadline), 0
    for (dtype, count), size in zip(described, sizes, strict=True):
        arrays.append(np.frombuffer(data, dtype=dtype, count=count, offset=position))
        position += size
    return header, arrays


def send(
    handle: int, message: Mapping[str, Any], *, arrays: Sequence[Numbers] = (), deadline: float | None = None
) -> None:
    """Write one frame, with a ``deadline`` to a ``handle`` that does not block.

    Raises `FrameClosed` where nobody reads any more, and `FrameTimeout`.
    """
    kinds = ["<c16" if array.dtype.kind == "c" else "<f8" for array in arrays]
    described = [[kind, int(array.size)] for kind, array in zip(kinds, arrays, strict=True)]
    header = json.dumps({**message, "arrays": described}).encode()
    buffers: list[memoryview] = [memoryview(_LENGTH.pack(len(header)) + header)]
    for kind, array in zip(kinds, arrays, strict=True):
        buffers.append(memoryview(np.ascontiguousarray(array, dtype=kind).reshape(-1).data).cast("B"))
    # At once, as far as the pipe has room: the other side wakes up once, and not for the header alone.
    try:
        while buffers:
            _wait(handle, deadline, select.POLLOUT)
            with contextlib.suppress(BlockingIOError):
                buffers = _behind(buffers, os.writev(handle, buffers[:_AT_ONCE]))
    except BrokenPipeError:
        raise FrameClosed from None


def _behind(buffers: list[memoryview], count: int) -> list[memoryview]:
    """What is left of ``buffers`` after their first ``count`` bytes."""
    number = 0
    while number < len(buffers) and count >= len(buffers[number]):
        count -= len(buffers[number])
        number += 1
    left = buffers[number:]
    if left:
        left[0] = left[0][count:]
    return left
