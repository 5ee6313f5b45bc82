"""What programming takes: the energy of the events of some cells, as their surrogate gives it, and for how long.

A `Meter` watches randomly chosen cells of a crossbar while it learns, and puts each of their events through the
surrogate once more, this time for its energy. Their mean stands for all cells; how far it may be off by the choice of
cells is its standard error, and by the surrogate what the certificate says of an event.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from cosim.devices.base import Array
from cosim.devices.maps import ENERGY
from cosim.network.crossbar import Crossbar
from cosim.network.spice_check import Watch
from cosim.surrogate.model import Surrogate

METERED = 100  # cells (our choice): one has some thousand events in an epoch of 60 000 images


def gives_energy(surrogate: Surrogate) -> bool:
    """Whether the energy of an event is among what a surrogate's map gives."""
    return ENERGY in surrogate.map.outputs


class Meter:
    """Adds up what the events of the watched cells take.

    Attributes:
        watch: of the cells. spent: (n,) J. events: (n,). items: presentations that they are of, and the sum of the
        pulses' lengths over them.
    """

    def __init__(self, crossbar: Crossbar, watch: Watch) -> None:
        self.watch = watch
        self.spent, self.events, self.items = np.zeros(len(watch.cells)), np.zeros(len(watch.cells)), np.zeros(2)
        self._state, self._taken = self._now(crossbar), [0] * len(watch.cells)

    def _now(self, crossbar: Crossbar) -> dict[str, Array]:
        return {name: crossbar.at(name, tuple(self.watch.cells.T)) for name in crossbar.fields}

    def account(self, crossbar: Crossbar, *, items: int, length: float = 1.0, forget: bool = True) -> None:
        """Take over the events of ``items`` presentations, with pulses of ``length`` times the surrogate's.

        A pulse whose waveform is compressed in time takes as much less. ``forget``: the watch begins anew.
        """
        watch, x = self.watch, self._state
        todo = [drives[taken:] for drives, taken in zip(watch.drives, self._taken, strict=True)]
        for k in range(max(map(len, todo), default=0)):
            here = np.array([n for n, drives in enumerate(todo) if len(drives) > k])
            cells = crossbar.surrogate.select(tuple(watch.cells[here].T)) if crossbar.own else crossbar.surrogate
            inputs = {crossbar.drive: np.array([todo[n][k] for n in here]), **crossbar.held}
            after, energy = _event(cells, {name: values[here] for name, values in x.items()}, inputs)
            for name, values in after.items():
                x[name][here] = values
            self.spent[here] += length * energy
            self.events[here] += 1
        self.items += items, items * length
        if forget:
            watch.restart(crossbar)
        self._state, self._taken = self._now(crossbar), [len(drives) for drives in watch.drives]

    def state(self) -> dict[str, Array]:
        """All that it has added up, copied."""
        return {"spent": self.spent.copy(), "events": self.events.copy(), "items": self.items.copy()}

    def restore(self, state: Mapping[str, Array], crossbar: Crossbar) -> None:
        """The inverse of `state`, of cells that are where they were then."""
        self.spent[:], self.events[:], self.items[:] = state["spent"], state["events"], state["items"]
        self._state, self._taken = self._now(crossbar), [len(drives) for drives in self.watch.drives]

    def to_dict(self, crossbar: Crossbar, *, updates: float) -> dict[str, Any]:
        """JSON values: energies (J) and times (s) per presentation, ``updates`` columns of which are programmed.

        ``certified`` is None without a certificate; else the largest and the root mean square error of an event's
        energy on held-out pulses, J. The mean over like events is off by no more than the latter.
        """
        cells, count = crossbar.shape[0] * crossbar.shape[1], len(self.spent)
        surrogate, (items, long) = crossbar.surrogate, np.maximum(self.items, 1e-300).tolist()
        each = self.spent * cells / items
        error = None if surrogate.certificate is None else surrogate.certificate.errors.get(ENERGY)
        events = float(self.events.mean()) * cells / items
        seconds = sum(surrogate.map.fixed.values()) * long / items
        return {
            "programming_per_item": float(each.mean()),
            "standard_error": float(each.std(ddof=1) / np.sqrt(count)) if count > 1 else None,
            "cells_watched": count,
            "events_per_item": events,
            "programming_per_event": float(self.spent.sum() / max(self.events.sum(), 1.0)),
            "certified": None if error is None else {"max": error.max, "rms": error.rms},
            "seconds_per_event": seconds,
            "busy_seconds_per_item": updates * seconds,
        }


def _event(cells: Surrogate, x: dict[str, Array], u: dict[str, Array]) -> tuple[Mapping[str, Array], Array]:
    """States and energy after one event; the domain was looked at when it happened."""
    shape = np.broadcast_shapes(*(np.shape(values) for values in (*x.values(), *u.values())))
    if cells.kernel is not None:
        w, found = cells.kernel.run(x[cells.kernel.state], u[cells.kernel.drive], shape=shape, energy=True)
        assert found is not None
        return {cells.kernel.state: w}, found[ENERGY]
    after, outputs = cells.whole(x, u, shape)
    return after, outputs[ENERGY]


def energy_lines(found: Mapping[str, Any], items: str) -> list[str]:
    """`Meter.to_dict` in words, of ``items`` such as "image"."""
    spread, certified, each = found["standard_error"], found["certified"], found["programming_per_event"]
    by = "" if spread is None else f" ± {1e9 * spread:.2g} (standard error of {found['cells_watched']} cells)"
    known = "no certificate says how well it is known"
    if certified is not None and each > 0.0:
        known = f"certified to {100.0 * certified['rms'] / each:.2g} % of that (rms of held-out events)"
    return [
        f"            programming takes {1e9 * found['programming_per_item']:.4g}{by} nJ per {items}: "
        f"{found['events_per_item']:.4g} pulses of {1e12 * each:.3g} pJ; {known}; "
        f"{1e6 * found['busy_seconds_per_item']:.3g} µs of pulses, a column at a time; reads are not counted"
    ]
