"""Simulators that live as long as a fit: opened when the first prediction asks for one, closed with the fit."""

from __future__ import annotations

import atexit
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cosim.engines.simulator import Simulator

_lock = threading.Lock()
_open: dict[tuple[str, int], Simulator] = {}
_fits = 0


def simulator_for(engine: str, workers: int) -> Simulator:
    """The simulator of the fits that run; raises as `open_simulator`. Outside of a fit it stays open until the end."""
    from cosim.engines.registry import open_simulator

    with _lock:
        if (engine, workers) not in _open:
            _open[engine, workers] = open_simulator(engine, workers)
        return _open[engine, workers]


@contextmanager
def simulators() -> Iterator[None]:
    """Closes every simulator that was opened inside, unless another fit is still running."""
    global _fits
    with _lock:
        _fits += 1
    try:
        yield
    finally:
        with _lock:
            _fits -= 1
            if not _fits:
                _close()


def _close() -> None:
    while _open:
        _open.popitem()[1].close()


atexit.register(_close)
