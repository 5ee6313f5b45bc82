"""Tagging and capture as a rule of the core (`cosim.network.rules`), on ideal cells: for networks of one's own.

A synapse is brought up to date when it is touched, in closed form, as in `stc_loop`. What the hooks
of the core leave different from that loop, which the digits run on:

* a cell is read before its rule is called, so that a spike meets the weight as of the synapse's last spike;
* Eq. 5's sum is taken every `Tagging.every` steps, since sums come from `on_step` alone; the protein is latched then.

The law ``reduced`` looks up a table, for which recorded operands have no expression: `Tagging` refuses it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

import numpy as np

from cosim.errors import InputError
from cosim.network.rules import Given, Local, Rule
from cosim.network.systems.stc_synapse import Constants, laws

MS = 1e-3
_ADVANCE = laws().advance
_NEVER = 1e30  # ms


@dataclass(frozen=True)
class Tagging(Rule):
    """The rule; cells are `Ideal` with their weight in units of h_0, which begins at 1.

    Its arrays per synapse: ``x``, calcium above its rest; ``h``, the early phase above its reference (V); ``z``, the
    late phase; ``at``, the time (ms) as of which they are.

    >>> from cosim.network.systems.stc_settings import StcSettings, synapse
    >>> Tagging(synapse(StcSettings())).every
    350
    """

    post: ClassVar[Mapping[str, float]] = MappingProxyType({"since": _NEVER})
    states: ClassVar[Mapping[str, float]] = MappingProxyType({"x": 0.0, "h": 0.0, "z": 0.0, "at": 0.0})
    sums: ClassVar[tuple[str, ...]] = ("changed",)

    k: Constants
    every: int = 350

    def __post_init__(self) -> None:
        if self.k.tabulated:
            raise InputError("the rule Tagging has no tables", remedy="take the law circuit or equations")

    def _touched(self, s: Local, kick: float) -> Given:
        k = self.k
        with_protein = np.minimum(np.maximum(s.now - s.post.since, 0.0), s.now - s.own.at)
        without = s.now - s.own.at - with_protein
        c, h, z = _ADVANCE(s.own.x + k.c_rest, s.own.h + k.h0, s.own.z, 0.0, without * MS, k)
        c, h, z = _ADVANCE(c, h, z, k.consolidation, with_protein * MS, k)
        change = (h + k.h0 * z) / k.h0 - s.cell.w
        return {"x": c - k.c_rest + kick, "h": h - k.h0, "z": z, "at": s.now + 0.0 * s.own.at, "change": change}

    def on_pre(self, s: Local) -> Given:
        """Up to date, and the presynaptic spike's calcium."""
        return self._touched(s, self.k.c_pre)

    def on_post(self, s: Local) -> Given:
        """Up to date, and the postsynaptic spike's calcium."""
        return self._touched(s, self.k.c_post)

    def on_step(self, s: Local) -> Given:
        """What Eq. 5 adds up."""
        return {"changed": np.abs(s.own.h)}

    def each_post(self, s: Local) -> Given:
        """The protein is latched: there is some since now."""
        return {"since": np.where(s.post.changed > self.k.theta_pro, np.minimum(s.post.since, s.now), s.post.since)}
