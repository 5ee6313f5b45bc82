r"""Ramps of equal pulses, whose amplitude does not enter: the published law's course, and what it can tell.

With a constant overdrive a threshold law (`cosim.devices.threshold`) is u(n) after n pulses of strength
s = K(V)·t/t_event, and the device's closed form, its ``depress``, is that course for n·s. θ and α enter
through s alone: such a curve does not determine them, nor t_event.

The read value goes from ``low`` to ``high`` (S, or 1 where it is normalised) with the state. Of a ramp that runs in one
direction only, a far bound with s and γ is determined, and the near one is not: du/dn = −s u^γ keeps its form when u is
scaled, with s·scale^(1−γ). Then the near bound is a convention (the lowest or highest value read), and s belongs to it.

``course`` (our choice): ``saturating`` is the published law. ``accelerating`` runs it backwards in time, u' = +s u^γ
from the near bound: the steps grow along the ramp, which the published law cannot say with γ >= 0. Such a γ is not a
parameter of the device and is not written to its parameter set.

``start`` (our choice): ``first read`` takes each ramp's initial state from its first read, or from a column ``before``
with what was read before its pulses; ``shared`` fits one initial state for all ramps of a polarity; ``shifted`` does so
too and moves each ramp's reads to its first one, as a conductance in parallel that differs from ramp to ramp would.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np
from scipy.stats import f as f_distribution

from cosim.data.recording import Curve
from cosim.devices.base import Array, DeviceModel, Operand, Param, Values
from cosim.devices.registry import devices
from cosim.errors import InputError
from cosim.fitting import checks
from cosim.fitting.forward import THE_DATA, ExplicitForward, Index, Rows
from cosim.fitting.residuals import SUSPICIOUS

# Far enough from a bound that u^γ is on its power law (`cosim.devices.threshold.EDGE`).
INSIDE = 1e-3
# Bounds are looked for no further outside the reads than this many of their spans.
REACH = 2.0


@runtime_checkable
class Saturating(Protocol):
    """A device with one state, the closed form of its course under a constant drive, and an ohmic law."""

    def depress(self, w: Operand, p: Values, *, down: Operand) -> Operand:
        """The state after the drive ``down`` (dimensionless) with the non-linearity ``gamma_n``."""
        ...

    def conductance(self, x: Values, p: Values) -> Operand:
        """Its conductance (S)."""
        ...


class RampForward(ExplicitForward):
    """Reads along ramps of equal pulses (module docstring)."""

    choices: ClassVar[tuple[str, ...]] = ("course", "start")

    def __init__(
        self, device: DeviceModel, curve: Curve, rows: Rows, *, course: str = "saturating", start: str = "first read"
    ) -> None:
        if not isinstance(device, Saturating):
            known = " or ".join(repr(name) for name, other in devices().items() if isinstance(other, Saturating))
            raise InputError(f"ramps of equal pulses say nothing about {device.name}", remedy=f"write device = {known}")
        self._device, self._accelerating, self._curve = device, course == "accelerating", curve
        self._shared, self._shifted = start in ("shared", "shifted"), start == "shifted"
        self._n, self._read = curve["pulse"], curve["read"]
        self._up = curve["polarity"] > 0
        ramp = np.unique(curve["ramp"], return_inverse=True)[1]
        first = np.array([np.flatnonzero(ramp == r)[np.argmin(self._n[ramp == r])] for r in range(ramp.max() + 1)])
        self._first, self._rows = self._read[first][ramp], rows
        fitted = self._read[rows]
        if "before" in curve.columns:
            self._first = curve["before"]
            fitted = np.concatenate([fitted, self._first[rows]])
        unit, span = curve.measured_unit, float(np.ptp(fitted))
        bottom, top = self._ends = float(fitted.min()), float(fitted.max())
        signs = [sign for sign, seen in (("p", self._up.any()), ("n", (~self._up).any())) if seen]
        name = {"p": "potentiation", "n": "depression"}
        floor = bottom - REACH * span
        if unit == "S" and bottom > 0.0:
            floor = max(floor, 0.0)
        # A ramp that starts from its first read starts within the range; noise may carry other reads out of it.
        ceiling, bed = top - 0.05 * span, bottom + 0.05 * span
        if not self._shared:
            ceiling, bed = max(bottom, float(self._first[rows].min())), min(top, float(self._first[rows].max()))
        own = [
            Param("low", bottom, unit, (floor, ceiling), "value read at w = 0", THE_DATA, "range"),
            Param("high", top, unit, (bed, top + REACH * span), "value read at w = 1", THE_DATA, "range"),
        ]
        for s in signs:
            own += [
                Param(f"strength_{s}", 1e-2, "1", (1e-9, 1e3), f"strength of one pulse of {name[s]}, K(V) t/t_event"),
                Param(f"gamma_{s}", 1.0, "1", (0.0, 10.0), f"non-linearity of {name[s]}", role="drive"),
            ]
            if self._shared:
                own.append(Param(f"start_{s}", 0.5, "1", (0.0, 1.0), f"state at the first read of a ramp of {name[s]}"))
        self.params = tuple(own)
        self.active = tuple(entry.name for entry in own)
        self._unit = unit
        # Ramps that share their start run the same course, which is computed once for each number of pulses.
        self._once: slice | Index = slice(None)
        self._back: slice | Index = slice(None)
        if self._shared:
            key = np.column_stack([self._n, self._up])
            _, once, back = np.unique(key, axis=0, return_index=True, return_inverse=True)
            self._once, self._back = once, back.reshape(-1)
        self._signs = signs

    def _each(self, p: Values, stem: str) -> Operand:
        """A parameter of each course's direction: (courses,), or one value where they all have the same direction."""
        if len(self._signs) == 1:
            return p[f"{stem}_{self._signs[0]}"]
        return np.where(self._up[self._once], p[f"{stem}_p"], p[f"{stem}_n"])

    def _start(self, p: Values) -> Array:
        """The state before each course's first pulse."""
        if self._shared:
            return np.asarray(self._each(p, "start"), dtype=float)
        return np.asarray(np.clip((self._first - p.low) / (p.high - p.low), 0.0, 1.0), dtype=float)

    def _courses(self, p: Values) -> Array:
        """The state of each row, or of each course that rows share; (n,), or (m, n) with parameters (m, 1)."""
        w, up, n = self._start(p), self._up[self._once], self._n[self._once]
        # `depress` serves both directions, whose courses are mirror images.
        sides = up != self._accelerating
        mirrored = bool(sides[0]) if len(self._signs) == 1 else sides
        w, gamma, strength = _mirrored(w, mirrored), self._each(p, "gamma"), self._each(p, "strength")
        if self._accelerating:
            w, strength = np.maximum(w, INSIDE), -strength
        with np.errstate(over="ignore", invalid="ignore"):
            after = self._device.depress(w, Values({"gamma_n": gamma}), down=strength * n)
        after = np.where(np.isfinite(after), np.minimum(after, 1.0), 1.0)  # a course that has run into the far bound
        return np.asarray(_mirrored(after, mirrored), dtype=float)

    def states(self, p: Values) -> Array:
        """The state of each row; (n,), or (m, n) with parameters (m, 1)."""
        return self._of_rows(self._courses(p))

    def evaluate(self, p: Values) -> Array:
        """The value read at each row (unit of the curve)."""
        # The device's ohmic law in the curve's own unit: G_max = high, G_max/ratio = low.
        span = Values({"g_max": p.high, "ratio": p.high / np.where(p.low == 0.0, 1e-300, p.low)})
        read = self._of_rows(self._device.conductance(Values({"w": self._courses(p)}), span))
        if self._shifted:
            read = read + self._first - self._of_rows(self._device.conductance(Values({"w": self._start(p)}), span))
        return read

    def _of_rows(self, found: Operand) -> Array:
        """What each course has, for each of its rows; one value is that of all of them."""
        each = np.asarray(found, dtype=float)
        return each if each.ndim == 0 or each.shape[-1] == 1 else each[..., self._back]

    def guess(self, p: Values) -> dict[str, float]:
        """Bounds from the extreme reads, strengths from the mean course."""
        bottom, top = self._ends
        span = top - bottom
        # A bound that the law leaves or reaches lies outside of what was read.
        outside = 0.05 * span
        found = {"low": bottom - outside * self._accelerating, "high": top + outside}
        for sign, rows in (("p", self._up & self._rows), ("n", ~self._up & self._rows)):
            if not rows.any():
                continue
            first, last = np.quantile(self._n[rows], [0.1, 0.9])
            early, late = rows & (self._n <= first), rows & (self._n >= last)
            travelled = abs(float(self._read[late].mean() - self._read[early].mean())) / span
            found[f"gamma_{sign}"] = 0.5 if self._accelerating else 1.0
            found[f"strength_{sign}"] = max(travelled, 0.05) / float(self._n.max())
            found[f"start_{sign}"] = float(np.clip((self._read[early].mean() - bottom) / span, 0.01, 0.99))
        return {name: value for name, value in found.items() if name in self.active}

    def check(self, p: Values, *, sign: bool = False, shift: bool = False) -> None:
        """Refuse ramps that run against their polarity."""
        if not sign:
            checks.check_ramps(self._curve)

    def remarks(self, names: Sequence[str], p: Values) -> tuple[str, ...]:
        """Which parameters such ramps cannot give, and which value is a convention."""
        said = [
            "the pulses of a ramp are equal: theta, alpha and t_event act through the strength of one pulse alone and "
            "cannot be determined from this curve, whatever the amplitude"
        ]
        if self._accelerating:
            said.append(
                "the steps grow along the ramp: the course is that of the published law run backwards in time, so its "
                "gamma is not a parameter of the device"
            )
        said += self._apart(p)
        held = [name for name in ("low", "high") if name not in names]
        if held:
            usual = {
                entry.name: (entry.default, self.guess(p)[entry.name]) for entry in self.params if entry.name in held
            }
            how = "taken from the reads" if all(float(p[name]) in usual[name] for name in held) else "held"
            values = " and ".join(f"{name} = {float(p[name]):.4g}" for name in held)
            said.append(f"{values}: not fitted but {how}; strength and start belong to that choice")
        if self._unit == "1":
            said.append("the reads are normalised: they do not determine g_max and ratio")
        return tuple(said)

    def _apart(self, p: Values) -> list[str]:
        """A sentence where ramps that share their start begin at places further apart than neighbouring reads lie."""
        if not self._shared or self._shifted:
            return []
        rest, ramp = self._read - self.evaluate(p), self._curve["ramp"]
        order = np.lexsort((self._n, ramp))
        order = order[self._rows[order]]
        begins = np.append(True, np.diff(ramp[order]) != 0.0)
        steps = np.diff(rest[order])[~begins[1:]]
        first = rest[order][begins]
        if first.size < 3 or not steps.any():
            return []
        scatter = float(np.std(first)) / (float(np.std(steps)) / math.sqrt(2.0))
        if f_distribution.sf(scatter**2, first.size - 1, steps.size) >= SUSPICIOUS:
            return []
        return [
            f"the ramps do not begin at one place: their first reads scatter by {scatter:.0f} times as much as a read "
            "does, and what is said here is of their mean; write start = 'first read' or 'shifted' under ramps"
        ]

    def finish(self, values: Mapping[str, float]) -> dict[str, float]:
        """γ (published course only) and, where the reads are conductances, G_max and the ratio."""
        done = {} if self._accelerating else {k: v for k, v in values.items() if k.startswith("gamma")}
        if self._unit == "S" and values["low"] > 0.0:
            done |= {"g_max": values["high"], "ratio": values["high"] / values["low"]}
        return done


def _mirrored(w: Array, which: bool | Rows) -> Array:
    """1 − w where ``which`` is true."""
    if isinstance(which, bool):
        return 1.0 - w if which else w
    return np.where(which, 1.0 - w, w)
