r"""ECRAM: a long-term conductance with volatile, relaxing facilitation on top of it, one step per gate spike.

Source: arXiv 2605.11243 (Currie et al., 2026) measures a transient modulation of about 1.5 kΩ per spike and builds a
behavioural model of it. Its equations and its schematic are not public, so the form below is our choice. Window, number
of levels and write voltage of the long-term part are those of published W/YSZ/WOx devices.

Four terminals: the channel ``p``–``n`` is read, the gate ``g`` is driven against its reference ``b`` (tied to ``n``, or
to ground where a spike line drives it); the gate's capacitance, which has to be charged, stands in the circuit. With
the long-term state w in [0, 1] and volatile ones m_fast, m_slow >= 0::

    R0(w) = 1 / (g_off + w (g_on − g_off))                      resistance at rest
    R     = R0 − (R0 − r_min) · u,     u = m_fast + m_slow      u in [0, 1]; R = r_min is the clamp
    dm_fast/dt = −m_fast / tau_fast,   dm_slow/dt = −m_slow / tau_slow

**Spike**: the gate rises through ``v_spike``. Once per edge, whatever the spike's length::

    u → u + (1 − u) · dr / (R0 − r_min)

so that a spike from rest lowers R by ``dr`` = 1.5 kΩ, and a spike near the clamp by less. ``share_slow`` of the step
goes to m_slow, the rest to m_fast; share_slow = 0 leaves one relaxation time, dr = 0 freezes the device. After n spikes
at distances long against ``settle`` and short against the relaxation, u = 1 − (1 − dr / (R0 − r_min))^n.

**Write**: the gate beyond ±``v_write`` moves w by ±1/``levels`` per edge, less within one level of a bound. A positive
write pulse is a spike as well: its volatile part lies on top of what it writes. A negative one leaves the volatile part
alone (our choice; nothing is published).

Every event is spent with the time constant ``settle`` after the edge (`cosim.devices.base`); a pulse of length t counts
1 − exp(−t/settle) of an event. Where steps are long against ``settle``, the trapezoidal rule rings after a falling
edge, and each swing counts as a part of a spike (1.6 % too much in the bench ``ecram_relaxation``): the option
``method = "gear"`` avoids it.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from cosim.devices.base import DeviceModel, Event, Operand, Param, Port, State, Values
from cosim.devices.integrate import Segment
from cosim.devices.maps import ARMED, EventMap, Field, event_map, pulse_map, rest_map

if TYPE_CHECKING:
    from cosim.devices.pulse import PulseShape

SOURCE = "arXiv 2605.11243"
LARGEST_STEP = 0.999  # of the room that is left: keeps the event's exponent finite where dr reaches R0 − r_min


def rest_resistance(w: Operand, p: Values) -> Operand:
    """R0 (Ω) of the long-term state ``w``."""
    return 1.0 / (p.g_off + w * (p.g_on - p.g_off))


def spike_step(w: Operand, p: Values) -> Operand:
    """The part of the room 1 − u that one spike takes: dr / (R0 − r_min), at most `LARGEST_STEP`."""
    # where R0 does not exceed r_min the volatile part acts on nothing; the denominator only has to stay finite
    room = np.maximum(rest_resistance(w, p) - p.r_min, 1e-9 * p.r_min)
    return np.minimum(p.dr / room, LARGEST_STEP)


def _spike_level(across: Mapping[str, Operand], x: Values, p: Values) -> Operand:
    return (across["gate"] - p.v_spike) / p.band + 0.5


def _write_level(across: Mapping[str, Operand], x: Values, p: Values) -> Operand:
    return (across["gate"] - p.v_write) / p.band + 0.5


def _erase_level(across: Mapping[str, Operand], x: Values, p: Values) -> Operand:
    return (-across["gate"] - p.v_write) / p.band + 0.5


def _spike_jump(across: Mapping[str, Operand], x: Values, p: Values) -> Mapping[str, Operand]:
    # d(1 − u)/de = −k (1 − u) ends at (1 − u) exp(−k): k makes that the step of the module docstring, exactly
    moved = -np.log1p(-spike_step(x.w, p)) * np.maximum(1.0 - x.m_fast - x.m_slow, 0.0)
    return {"m_fast": (1.0 - p.share_slow) * moved, "m_slow": p.share_slow * moved}


def _write_jump(across: Mapping[str, Operand], x: Values, p: Values) -> Mapping[str, Operand]:
    return {"w": np.minimum(np.maximum(1.0 - x.w, 0.0), 1.0 / p.levels)}


def _erase_jump(across: Mapping[str, Operand], x: Values, p: Values) -> Mapping[str, Operand]:
    return {"w": -np.minimum(np.maximum(x.w, 0.0), 1.0 / p.levels)}


def _spike_voltage(p: Values) -> Operand:
    """A gate voltage (V) that is a spike and does not write."""
    return np.minimum(p.v_spike + p.band, 0.5 * (p.v_spike + p.v_write))


def _spike_waveform(inputs: Values, p: Values) -> tuple[Segment, ...]:
    """The gate up for as long as the event takes to be spent, then down for the rest of the interval."""
    edge, hold = p.settle, ARMED * p.settle
    off, on = {"gate": 0.0}, {"gate": _spike_voltage(p)}
    rest = inputs["interval"] - hold - 2.0 * edge
    return (Segment(edge, off, on), Segment(hold, on, on), Segment(edge, on, off), Segment(rest, off, off))


class Ecram(DeviceModel):
    """Edge-triggered ECRAM with a volatile and a long-term part (module docstring)."""

    name = "ecram"
    title = "ECRAM with volatile facilitation and long-term conductance"
    source = SOURCE
    ports = (Port("gate", ("g", "b")), Port("channel", ("p", "n")))
    states = (
        State("m_fast", "m_fast0", (0.0, 1.0), description="volatile part with the shorter relaxation time"),
        State("m_slow", "m_slow0", (0.0, 1.0), description="volatile part with the longer relaxation time"),
        State("w", "w0", (0.0, 1.0), description="long-term conductance state"),
    )
    events = (
        Event("spike", _spike_level, _spike_jump, "settle"),
        Event("write", _write_level, _write_jump, "settle"),
        Event("erase", _erase_level, _erase_jump, "settle"),
    )
    ordered = (("g_off", "g_on"),)
    params = (
        Param("dr", 1.5e3, "Ohm", (0.0, 1e9), "fall of the resistance per spike, from rest", SOURCE),
        Param("r_min", 5e3, "Ohm", (1.0, 1e9), "resistance at full facilitation, where R is clamped"),
        Param("share_slow", 0.3, "1", (0.0, 1.0), "part of a spike's step that relaxes with tau_slow"),
        Param("tau_fast", 20e-3, "s", (1e-9, 1e6), "shorter relaxation time"),
        Param("tau_slow", 200e-3, "s", (1e-9, 1e6), "longer relaxation time"),
        Param("g_off", 0.1e-6, "S", (1e-12, 1.0), "conductance at w = 0", "published W/YSZ/WOx devices"),
        Param("g_on", 230e-6, "S", (1e-12, 1.0), "conductance at w = 1", "published W/YSZ/WOx devices"),
        Param("levels", 1000.0, "1", (1.0, 1e9), "write pulses from w = 0 to w = 1", "published W/YSZ/WOx devices"),
        Param("v_spike", 0.6, "V", (1e-3, 20.0), "gate voltage of the spike's edge"),
        Param("v_write", 3.0, "V", (1e-3, 50.0), "gate voltage beyond which a pulse writes w"),
        Param("band", 0.2, "V", (1e-3, 10.0), "gate voltage from no event to a full one, centred on the level"),
        Param("settle", 5e-9, "s", (1e-15, 1.0), "time constant with which an event is spent and re-armed"),
        Param("g_gate", 1e-11, "S", (0.0, 1.0), "leakage conductance of the gate"),
        Param("w0", 0.1446, "1", (0.0, 1.0), "initial long-term state"),
        Param("m_fast0", 0.0, "1", (0.0, 1.0), "initial volatile part with the shorter relaxation time"),
        Param("m_slow0", 0.0, "1", (0.0, 1.0), "initial volatile part with the longer relaxation time"),
    )

    readings = MappingProxyType({"conductance": "S"})

    def readout(self, x: Values, p: Values) -> Mapping[str, Operand]:
        """Conductance (S) of the channel."""
        return {"conductance": 1.0 / self.resistance(x, p)}

    def state_ranges(self, p: Values) -> Mapping[str, tuple[float, float]]:
        """The volatile parts share the room below the clamp."""
        return {"m_fast": (0.0, 0.5), "m_slow": (0.0, 0.5), "w": (0.0, 1.0)}

    def maps(self, p: Values, *, shape: PulseShape | None = None) -> Mapping[str, EventMap]:
        """A spike and the time to the next one; a write or erase pulse; a rest."""
        slowest = 3.0 * float(max(p.tau_fast, p.tau_slow))
        hold = ARMED * float(p.settle)
        rest = rest_map(self, p, span=(0.0, slowest), closed=self._rested)
        spike = event_map(
            self,
            "spike",
            p,
            inputs={"interval": Field("s", (3.0 * hold, slowest))},
            waveform=_spike_waveform,
            closed=self._spiked,
        )
        write = pulse_map(self, p, name="write", shape=shape)
        return {"spike": spike, "write": write, "rest": rest}

    def _spiked(self, x: Values, u: Values, p: Values) -> tuple[Mapping[str, Operand], Mapping[str, Operand]]:
        """One spike, then nothing until ``interval`` (s) after its edge."""
        v, hold = _spike_voltage(p), ARMED * p.settle
        after = self.after_rest(self.after_spikes(x, p), p, duration=u.interval)
        return after, {
            **self.readout(after, p),
            "energy": p.g_gate * v * v * (hold + 2.0 / 3.0 * p.settle) + 0.0 * after.w,
        }

    def _rested(self, x: Values, u: Values, p: Values) -> tuple[Mapping[str, Operand], Mapping[str, Operand]]:
        after = self.after_rest(x, p, duration=u.duration)
        return after, self.readout(after, p)

    def facilitation(self, x: Values) -> Operand:
        """u in [0, 1]: 0 at rest, 1 at the clamp."""
        return np.minimum(np.maximum(x.m_fast + x.m_slow, 0.0), 1.0)

    def resistance(self, x: Values, p: Values) -> Operand:
        """Channel resistance (Ω) in state ``x``."""
        rest = rest_resistance(x.w, p)
        return rest - np.maximum(rest - p.r_min, 0.0) * self.facilitation(x)

    def drive_level(self, p: Values) -> float:
        """A gate voltage (V) that spikes and writes."""
        return 1.4 * float(p.v_write + p.band)

    def through(self, across: Mapping[str, Operand], x: Values, p: Values) -> Mapping[str, Operand]:
        """The channel's current, ohmic in the state, and the gate's leakage."""
        return {"gate": p.g_gate * across["gate"], "channel": across["channel"] / self.resistance(x, p)}

    def rates(self, across: Mapping[str, Operand], x: Values, p: Values) -> Mapping[str, Operand]:
        """Relaxation of the volatile part; the long-term part keeps."""
        return {"m_fast": -x.m_fast / p.tau_fast, "m_slow": -x.m_slow / p.tau_slow, "w": 0.0 * x.w}

    def after_spikes(self, x: Values, p: Values, *, count: int = 1) -> Values:
        """The states after ``count`` spikes in a time short against the relaxation: the event's closed form."""
        room = np.maximum(1.0 - x.m_fast - x.m_slow, 0.0)
        moved = room * (1.0 - (1.0 - spike_step(x.w, p)) ** count)
        return x.with_(
            m_fast=x.m_fast + (1.0 - p.share_slow) * moved,
            m_slow=x.m_slow + p.share_slow * moved,
        )

    def after_rest(self, x: Values, p: Values, *, duration: Operand) -> Values:
        """The states after ``duration`` (s) without spikes."""
        return x.with_(
            m_fast=x.m_fast * np.exp(-duration / p.tau_fast),
            m_slow=x.m_slow * np.exp(-duration / p.tau_slow),
        )
