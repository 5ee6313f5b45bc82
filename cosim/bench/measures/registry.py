"""Every kind of measure that a bench may name. A topic with further kinds adds its tuple here."""

from __future__ import annotations

from cosim.bench.measures import cards, kinds, loops, signals, spiking, stc, stdp, thermal

KINDS: tuple[type[kinds.Kind], ...] = (
    *kinds.KINDS,
    *cards.KINDS,
    *loops.KINDS,
    *signals.KINDS,
    *spiking.KINDS,
    *stc.KINDS,
    *stdp.KINDS,
    *thermal.KINDS,
)
