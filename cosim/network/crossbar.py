"""A crossbar of cells: every cell an instance of one surrogate, read by its conductance, programmed by columns.

A row is an input, a column an output. A programming event drives each row with a voltage of its own and selects one
column; a read takes the normalised conductance G/G_max of the nominal cell.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cosim.errors import InputError
from cosim.surrogate.compiled import Kernel, kernel
from cosim.surrogate.pulse import PulseSurrogate

Array = NDArray[np.float64]


class Crossbar:
    """``inputs`` × ``outputs`` cells; the only thing in a network that learns.

    Attributes:
        surrogate: of all cells; parameters of its instances are (inputs, outputs).
        w: (inputs, outputs) states.
        weight: (inputs, outputs) G/G_max, kept up to date.
        pulses: programming pulses beyond threshold so far.
    """

    def __init__(self, surrogate: PulseSurrogate, w: Array, *, compiled: bool = False) -> None:
        """A crossbar in the states ``w`` (inputs, outputs); ``compiled`` runs the surrogate through numba."""
        w = np.array(w, dtype=float)
        if w.ndim != 2 or not np.all((w >= 0.0) & (w <= 1.0)):
            raise InputError(f"the states of a crossbar are a matrix of numbers in 0..1, not {w.shape}")
        for name, values in surrogate.instances.items():
            if values.shape not in ((), w.shape):
                raise InputError(f"{name} of the cells has shape {values.shape}, the crossbar {w.shape}")
        self.surrogate = surrogate
        self._columns = [surrogate.select((slice(None), j)) for j in range(w.shape[1])]
        self._g_max = float(surrogate.parameters.resolved()["g_max"])
        self._kernel: Kernel | None = kernel(surrogate) if compiled and surrogate.dtype == "float64" else None
        # By column, then by parameter in the order of the kernel.
        own = [np.broadcast_to(surrogate.instances[name], w.shape) for name in sorted(surrogate.instances)]
        self._own = np.ascontiguousarray(np.array(own).reshape(len(own), *w.shape).transpose(2, 0, 1))
        self.pulses = 0
        self.w = w
        self.weight = np.ascontiguousarray(surrogate.conductance(w) / self._g_max)

    @property
    def shape(self) -> tuple[int, int]:
        """Inputs and outputs."""
        return int(self.w.shape[0]), int(self.w.shape[1])

    def load(self, w: Array) -> None:
        """Put every cell into the state ``w`` (inputs, outputs)."""
        self.w[:] = w
        self.weight[:] = self.surrogate.conductance(self.w) / self._g_max

    def program(self, column: int, amplitude: Array) -> None:
        """One pulse of ``amplitude`` (inputs,) V on the cells of one column."""
        cells = self._columns[column]
        before = self.w[:, column].copy()
        if self._kernel is None or cells.outside_domain(before, amplitude) is not None:
            after = cells.update(before, amplitude)
        else:
            after = np.empty_like(before)
            self._kernel(before, amplitude, after, self._own[column])
        self.pulses += int(np.count_nonzero(after != before))
        self.w[:, column] = after
        self.weight[:, column] = cells.conductance(after) / self._g_max
