"""Surrogate of a memristive cell under programming pulses: one call advances any number of cells by one pulse each.

The physics is the device's own (`cosim.devices.pulse`), evaluated so that little is computed and little leaves the
cache: rows below every threshold are left alone, rows of one sign of the voltage get that polarity's law only, a
voltage shared by a row is exponentiated once, and the rest goes in blocks that fit the second-level cache.

Two laws: ``"rate"`` follows the rate law through the pulse's waveform and saturates within the pulse; ``"published"``
is the source's map per event. The device is any that has the closed form (`DeviceModel.pulse_cell`); every other one's
maps run in `cosim.surrogate.mapped`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cosim.devices.base import Operand, Values
from cosim.devices.pulse import LAWS, Law, PulseCell, PulseShape
from cosim.devices.registry import device as find_device
from cosim.devices.registry import devices
from cosim.emit.expr import Expr
from cosim.errors import DomainError, InputError, UnknownName
from cosim.parameters import ParameterSet
from cosim.surrogate.base import (
    OUTSIDE,
    Array,
    Certificate,
    Outside,
    Range,
    Reference,
    Surrogate,
    complain,
    parameters_outside,
    require_inside,
    require_names,
    set_document,
    set_of,
    widened,
)
from cosim.surrogate.correction import Correction
from cosim.surrogate.files import array_digest

# Bytes of a block: a dozen temporaries of this size stay within a second-level cache of 1 MB.
BLOCK = 131072


@dataclass(frozen=True)
class PulseSurrogate(Surrogate):
    """The pulse map of a cell, for any number of instances (module docstring).

    Args:
        parameters: of a device whose pulse has a closed form, e.g. a ``threshold_memristor`` or a ``cell_1t1r``.
        law: "rate" or "published".
        shape: of every pulse. The published map takes a pulse as one event; there the shape enters the energy only.
        instances: parameters that differ from cell to cell; each broadcasts to the shape of the state.
        correction: learned from SPICE samples; None: the physics alone.
        certificate: None: made without one; there is then no domain.
        v_read: voltage (V) of the read current.
        dtype: "float64" or "float32", of the computation; the latter adds up to 3e-6 to the certified error of ``w``.
        outside: what to do outside the certificate's domain; "ask" takes the answer of ``reference``.
        reference: asked for single cells outside the domain.
        lowest: the lowest thresholds (V) of any instance: potentiation, depression.

    >>> cell = cosim.PulseSurrogate(cosim.ParameterSet.load("tio2"))
    >>> cell.update([0.5, 0.5, 0.5], [-2.0, 0.0, 2.0]).round(3).tolist()
    [0.618, 0.5, 0.391]
    """

    kind: ClassVar[str] = "pulse"

    parameters: ParameterSet
    law: Law = "rate"
    shape: PulseShape = field(default_factory=PulseShape)
    instances: Mapping[str, Array] = field(default_factory=lambda: MappingProxyType({}))
    correction: Correction | None = None
    certificate: Certificate | None = None
    v_read: float = 0.1
    dtype: Literal["float64", "float32"] = "float64"
    outside: Outside = "raise"
    reference: Reference | None = field(default=None, compare=False)
    cell: PulseCell = field(init=False, repr=False, compare=False)
    _p: Values = field(init=False, repr=False, compare=False)
    lowest: tuple[float, float] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        cell = find_device(self.parameters.device).pulse_cell()
        if cell is None:
            known = [name for name, entry in devices().items() if entry.pulse_cell() is not None]
            raise UnknownName("device of a pulse surrogate", self.parameters.device, known)
        object.__setattr__(self, "cell", cell)
        if self.law not in LAWS:
            raise UnknownName("law", self.law, LAWS)
        if self.outside not in OUTSIDE:
            raise UnknownName("choice outside the domain", self.outside, OUTSIDE)
        if self.outside == "ask" and self.reference is None:
            raise InputError("outside='ask' needs a reference", remedy="give reference=..., or take 'raise' or 'warn'")
        kind = np.dtype(self.dtype)
        if kind not in (np.float64, np.float32):
            raise UnknownName("dtype", str(self.dtype), ("float64", "float32"))
        own = {name: np.asarray(values, dtype=kind) for name, values in self.instances.items()}
        self.parameters.resolved(**own)  # names and physical bounds
        # Python floats, which do not widen float32 arrays.
        nominal = {name: float(value) for name, value in self.parameters.resolved().items()}
        object.__setattr__(self, "_p", Values({**nominal, **own}))
        lowest = tuple(float(np.min(theta, initial=np.inf)) for theta in cell.thresholds(self._p))
        object.__setattr__(self, "lowest", lowest)
        if self.certificate is not None:
            if self.certificate.surrogate != self.fingerprint():
                raise InputError(
                    "the certificate is of another surrogate: law, pulse shape, parameters or correction differ",
                    remedy="certify this one",
                )
            complaint = parameters_outside(self.parameters, self.certificate.domain, own, slack=self._slack)
            complain(complaint, outside=self.outside)

    @property
    def _slack(self) -> float:
        """Of the rounding to ``dtype``, relative."""
        return 4.0 * float(np.finfo(self.dtype).eps)

    @property
    def device(self) -> str:
        """Name of the device that it stands for."""
        return self.parameters.device

    @property
    def values(self) -> Values:
        """The parameters in use: floats, and arrays of instances."""
        return self._p

    def with_(self, **changes: Any) -> Self:
        """A copy with other ``law``, ``dtype``, ``outside``, ``instances``, ...

        A law, a shape or a parameter set that is not the certified one drops the certificate and the correction;
        another correction drops the certificate.
        """
        if any(name in changes and changes[name] != getattr(self, name) for name in ("law", "shape", "parameters")):
            changes = {"certificate": None, "correction": None, **changes}
        elif "correction" in changes and changes["correction"] is not self.correction:
            changes = {"certificate": None, **changes}
        return replace(self, **changes)

    def fingerprint(self) -> str:
        """SHA-256 of what decides the answers of nominal instances: law, shape, parameters, correction."""
        learned = self.correction.arrays() if self.correction is not None else {}
        facts = {
            "law": self.law,
            "shape": vars(self.shape),
            "parameters": self.parameters.fingerprint(),
            "correction": {name: array_digest(values) for name, values in learned.items()},
        }
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    def select(self, index: Any) -> Self:
        """The surrogate of some of the instances: ``index`` as for an array of the state's shape."""
        if not self.instances:
            return self
        picked = {name: values[index] if values.ndim else values for name, values in self.instances.items()}
        made = object.__new__(type(self))
        made.__dict__.update(self.__dict__, instances=picked, _p=self._p.with_(**picked))
        return made

    # -- running ------------------------------------------------------------------------------------------------------

    def step(self, state: Values, inputs: Values) -> tuple[Values, Values]:
        """One pulse on every cell.

        Args:
            state: ``w``, any shape.
            inputs: ``amplitude`` in V; broadcasts to ``w``, e.g. (rows, 1) for a voltage shared by a row.

        Returns:
            The state after the pulse (``w``), and ``conductance`` (S), ``read_current`` (A, at ``v_read``) after it and
            ``energy`` (J) taken from the driver by it, each of the shape of ``w``.

        Raises:
            UnknownName, InputError: a state or an input that there is not, or that is missing.
            DomainError: outside the certificate's domain, where ``outside`` is "raise".
        """
        require_names("state", state, {"w": "1"})
        require_names("input", inputs, {"amplitude": "V"})
        after, energy = self._pulse(state["w"], inputs["amplitude"], energy=True)
        conductance = self.conductance(after)
        current = self.read_current(after)
        return Values({"w": after}), Values({"conductance": conductance, "read_current": current, "energy": energy})

    def update(self, w: ArrayLike, amplitude: ArrayLike) -> Array:
        """`step` without its outputs: the states after one pulse."""
        return self._pulse(w, amplitude, energy=False)[0]

    def conductance(self, w: Array) -> Array:
        """Conductance (S) of the memristor in state ``w``."""
        return np.asarray(self.cell.conductance(w, self._p))

    def read_current(self, w: Array) -> Array:
        """Current (A) of the cell at ``v_read`` in state ``w``."""
        return np.asarray(self.cell.device.current(self.v_read, Values({"w": w}), self._p))

    def cell_voltage(self, v: float, *, w: float = 0.5) -> float:
        """The voltage (V) over the cell that puts ``v`` on the memristor in state ``w``, with nominal parameters."""
        return self.cell.voltage(v, self.parameters.resolved(), w=w)

    def _pulse(self, w: ArrayLike, amplitude: ArrayLike, *, energy: bool) -> tuple[Array, Array | None]:
        w = np.asarray(w, dtype=self.dtype)
        v = np.asarray(amplitude, dtype=self.dtype)
        shape = np.broadcast_shapes(w.shape, v.shape)
        if w.shape != shape:
            w = np.broadcast_to(w, shape)
        beyond = self.outside_domain(w, v)
        # A voltage per row of a matrix stays one; anything else is taken as a matrix with one column.
        shared = len(shape) >= 2 and v.ndim == len(shape) and v.size == v.shape[0] == shape[0]
        rows = shape[0] if shared else w.size
        column = v.reshape(rows) if shared or v.shape == shape else np.broadcast_to(v, shape).reshape(rows)
        flat = w.reshape(rows, w.size // max(rows, 1))
        after, spent = self._blocks(flat, column, self._as_matrix(shape, flat.shape), energy=energy)
        after = after.reshape(shape)
        spent = None if spent is None else spent.reshape(shape)
        if beyond is not None:
            self._ask(beyond, w, np.broadcast_to(v, shape), after, spent)
        return after, spent

    def _blocks(self, w: Array, v: Array, p: Values, *, energy: bool) -> tuple[Array, Array | None]:
        """One pulse on ``w`` (rows, m), ``v`` (rows,) V, parameters scalar or (rows, m), block by block."""
        after = w.copy()
        spent = np.empty_like(w) if energy else None
        step = max(BLOCK // max(w.itemsize * w.shape[1], 1), 1)
        for polarity, chosen in self._sorted(v, rest=energy):
            for start in range(0, chosen.size, step):
                block = chosen[start : start + step]
                here = p if not self.instances else p.with_(**{name: p[name][block] for name in self.instances})
                now, used = self._law(v[block, None], w.take(block, axis=0), here, polarity=polarity, energy=energy)
                after[block] = now
                if spent is not None:
                    spent[block] = used
        return after, spent

    def _as_matrix(self, shape: tuple[int, ...], flat: tuple[int, ...]) -> Values:
        if not self.instances:
            return self._p
        return self._p.with_(**{name: np.broadcast_to(self._p[name], shape).reshape(flat) for name in self.instances})

    def _sorted(self, v: Array, *, rest: bool) -> Iterator[tuple[int, NDArray[np.intp]]]:
        """Rows by polarity: −1 and +1 beyond the lowest threshold of any instance, and 0, which move nothing.

        A series element only takes voltage away, so the threshold of the memristor is safe for the cell.
        """
        potentiates, depresses = v < -self.lowest[0], v > self.lowest[1]
        yield -1, np.flatnonzero(potentiates)
        yield 1, np.flatnonzero(depresses)
        if rest:
            # By sign as well, which is all that a correction of the energy asks for.
            yield 0, np.flatnonzero((v < 0.0) & ~potentiates)
            yield 0, np.flatnonzero((v >= 0.0) & ~depresses)

    def traced(self, *, polarity: int) -> Expr:
        """What one pulse of one polarity does to the state ``w0`` of a cell at ``v0``, written down by the physics."""
        p = self._p.with_(**{name: Expr("name", name) for name in self.instances})
        with np.errstate(all="ignore"):
            return Expr.of(self._law(Expr("name", "v0"), Expr("name", "w0"), p, polarity=polarity, energy=False)[0])

    def _law(self, v: Operand, w: Operand, p: Values, *, polarity: int, energy: bool) -> tuple[Operand, Operand]:
        if polarity == 0:
            after, used = w, self.cell.still(v, w, p, shape=self.shape)
        else:
            after, used = self.cell.pulse(v, w, p, shape=self.shape, law=self.law, polarity=polarity, energy=energy)
        if self.correction is not None:
            if polarity:
                after = np.clip(w + (after - w) * self.correction.gain("state", v, w, polarity=polarity), 0.0, 1.0)
            if used is not None:
                sign = polarity or (-1 if v[0, 0] < 0.0 else 1)
                used = used * self.correction.gain("energy", v, w, polarity=sign)
        return after, used

    # -- outside the domain -------------------------------------------------------------------------------------------

    def outside_domain(self, w: Array, v: Array) -> NDArray[np.bool_] | None:
        """None inside the domain; else raises, warns, or gives the cells (bool, shape of ``w``) to ask SPICE for."""
        ranges: tuple[Range, Range] = ((-np.inf, np.inf), (0.0, 1.0))
        if self.certificate is not None:
            ranges = (self.certificate.domain.inputs["amplitude"], self.certificate.domain.states["w"])
        wide = tuple(widened(allowed, self._slack) for allowed in ranges)
        complaint = require_inside("amplitude", v, wide[0], unit="V") or require_inside("state w", w, wide[1], unit="1")
        if complaint is None:
            return None
        if self.outside == "ask" and self.certificate is not None:
            bad = [~((x >= low) & (x <= high)) for x, (low, high) in zip((v, w), wide, strict=True)]
            return np.asarray(np.broadcast_to(bad[0] | bad[1], w.shape))
        complain(complaint, outside=self.outside)
        return None

    def _ask(self, cells: NDArray[np.bool_], w: Array, v: Array, after: Array, spent: Array | None) -> None:
        if self.instances:
            raise DomainError(
                "SPICE cannot be asked for instances with parameters of their own", remedy="certify a wider domain"
            )
        assert self.reference is not None
        for index in zip(*np.nonzero(cells), strict=True):
            answer = self.reference(np.array([float(v[index])]), float(w[index]))
            after[index] = answer.w[0]
            if spent is not None:
                spent[index] = answer.energy[0]

    # -- files --------------------------------------------------------------------------------------------------------

    def document(self) -> dict[str, Any]:
        """What is needed to make it again, as JSON values."""
        return {
            "law": self.law,
            "shape": {"width": self.shape.width, "rise": self.shape.rise, "fall": self.shape.fall},
            "v_read": self.v_read,
            "dtype": self.dtype,
            "corrected": self.correction is not None,
            "instances": sorted(self.instances),
            "parameters": set_document(self.parameters),
        }

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Instances and correction."""
        out: dict[str, NDArray[Any]] = {f"instance_{name}": values for name, values in self.instances.items()}
        return out | (self.correction.arrays() if self.correction is not None else {})

    @classmethod
    def rebuilt(
        cls, document: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], certificate: Certificate | None
    ) -> Self:
        """The surrogate of a file."""
        return cls(
            parameters=set_of(document["parameters"]),
            law=document["law"],
            shape=PulseShape(**{k: float(document["shape"][k]) for k in ("width", "rise", "fall")}),
            instances={str(name): arrays[f"instance_{name}"] for name in document["instances"]},
            correction=Correction.from_arrays(arrays) if document["corrected"] else None,
            certificate=certificate,
            v_read=float(document["v_read"]),
            dtype=document["dtype"],
        )
