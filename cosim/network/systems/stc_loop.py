"""Rate-coded images through plastic synapses with tagging and capture onto a layer of LIF neurons: the loops.

A pixel sends a regular train while its image is shown (`trains`); all trains begin together. In each time step of the
neurons, in this order: presynaptic spikes bring their synapses up to date, add their weights to the drive and then
their calcium; the neurons integrate; a postsynaptic spike brings its neuron's synapses up to date and adds their
calcium; the protein of Eq. 5 is latched where the sum over a neuron's synapses exceeds its threshold. The sum counts
each synapse as of its last spike; where it exceeds the threshold, all of the neuron's synapses are brought up to date
without protein first, and the sum has to exceed it still. Nothing else costs anything: a synapse without spikes is a
closed form on access.

`numpy_loop` and `compiled_loop` (numba, extra ``fast``) run the same functions of `stc_synapse` in the
same order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cosim.devices.base import Array
from cosim.errors import UnknownName
from cosim.network.systems.stc_synapse import Constants, laws
from cosim.packages import optional

Ints = NDArray[np.int64]


class Neurons(NamedTuple):
    """Output neurons (V above their resting potential, steps of ``dt`` s): ``jump`` V per V of weight and spike."""

    dt: float
    leak: float
    jump: float
    reset: float
    refractory: float


class Memory(NamedTuple):
    """All that changes: (m, n) arrays of m neurons and n pixels, (m,) arrays, and the clock (1,) in steps.

    Args:
        c, h, z: calcium, early (V) and late phase of each synapse, as of step ``last``.
        total: Σ_j |h_j − h_0| (V) of each neuron.
        protein: 0 or 1.
        v, hold: potential (V) and the steps for which it is held.
        threshold: (V) of each neuron.
    """

    c: Array
    h: Array
    z: Array
    last: Ints
    total: Array
    protein: Array
    v: Array
    hold: Array
    threshold: Array
    now: Ints

    def copy(self) -> Memory:
        """Arrays of its own."""
        return Memory._make(x.copy() for x in self)


# What follows an update of synapses: a presynaptic spike, a postsynaptic one, nothing.
PRE, POST, LOOK = 0, 1, 2
# (counts (k, n), teacher (k, m), fires (largest count + 1, steps shown), steps, plastic, gated, memory, neurons,
# constants, spikes (k, m), charge (k, m), taught (k,)) -> None: adds to spikes, and to charge the weights (V) that
# presynaptic spikes met. A teacher above 0 V drives its neuron, one below holds it. Gated, an image is recalled first,
# and shown to learn (``taught``) only where another neuron than the teacher's gets the largest charge.
Loop = Callable[..., None]


@dataclass(frozen=True)
class Backend:
    """A loop by its name."""

    name: str
    present: Loop


def begin(inputs: int, thresholds: Array, k: Constants, *, c: float, h: float, z: float) -> Memory:
    """Synapses of ``inputs`` pixels and neurons of these ``thresholds`` (m,) before the first image."""
    shape, neurons = (thresholds.size, inputs), thresholds.size
    return Memory(
        c=np.full(shape, c), h=np.full(shape, h), z=np.full(shape, z), last=np.zeros(shape, np.int64),
        total=np.full(neurons, inputs * abs(h - k.h0)), protein=np.zeros(neurons), v=np.zeros(neurons),
        hold=np.zeros(neurons), threshold=thresholds.astype(float).copy(), now=np.zeros(1, np.int64),
    )  # fmt: skip


def trains(largest: int, shown: int) -> NDArray[np.bool_]:
    """(largest + 1, shown): in which step a pixel of n spikes per image fires: at 0 and every ``shown // n`` steps."""
    fires = np.zeros((largest + 1, shown), dtype=bool)
    for n in range(1, largest + 1):
        fires[n, np.arange(min(n, shown)) * max(shown // n, 1)] = True
    return fires


def rest(memory: Memory, steps: int, neurons: Neurons, k: Constants) -> None:
    """Nothing happens for ``steps``: every synapse is brought up to date, every potential falls to rest."""
    advance, _, _, _, changed = laws()
    memory.now[0] += steps
    elapsed = (memory.now[0] - memory.last) * neurons.dt
    drive = memory.protein[:, None] * k.consolidation
    memory.c[:], memory.h[:], memory.z[:] = advance(memory.c, memory.h, memory.z, drive, elapsed, k)
    memory.last[:] = memory.now[0]
    memory.total[:] = changed(memory.h, k).sum(axis=1)
    memory.v[:], memory.hold[:] = idle_step(memory.v, memory.hold, steps, neurons.leak, neurons.reset)


def lif_step(
    v: Any, hold: Any, drive: Any, leak: Any, threshold: Any, reset: Any, refractory: Any
) -> tuple[Any, Any, Any]:
    """One time step of `cosim.network.neurons.LIF`: the potential, the steps that it is held, and whether it fires (0
    or 1); arrays, or scalars in compiled code.
    """
    hold = np.maximum(hold - 1.0, 0.0)
    free = 1.0 * (hold == 0.0)
    v = free * (v * leak + drive) + (1.0 - free) * reset
    fires = 1.0 * (v > threshold)
    v = (1.0 - fires) * v + fires * reset
    hold = (1.0 - fires) * hold + fires * refractory
    return v, hold, fires


def idle_step(v: Any, hold: Any, steps: Any, leak: Any, reset: Any) -> tuple[Any, Any]:
    """``steps`` of `lif_step` without any input: the potential and the steps for which it is still held."""
    held = np.minimum(np.maximum(hold - 1.0, 0.0), steps)
    v = 1.0 * (held > 0.0) * reset + 1.0 * (held <= 0.0) * v
    return v * leak ** (steps - held), np.maximum(hold - steps, 0.0)


def backend(name: str = "auto") -> Backend:
    """ "numpy", "numba", or "auto", which takes numba where it is installed. Raises `UnknownName`, `EngineMissing`."""
    if name == "auto":
        name = "numba" if find_spec("numba") is not None else "numpy"
    if name == "numpy":
        return Backend("numpy", numpy_loop)
    if name != "numba":
        raise UnknownName("backend", name, ("auto", "numba", "numpy"))
    return Backend("numba", compiled_loop())


def numpy_loop(
    counts: NDArray[np.uint8], teacher: Array, fires: NDArray[np.bool_], steps: int, plastic: bool, gated: bool,
    memory: Memory, neurons: Neurons, k: Constants, spikes: Ints, charge: Array, taught: NDArray[np.bool_],
) -> None:  # fmt: skip
    """`Loop` in numpy, a row of synapses at a time."""
    advance, on_pre, on_post, weight, changed = laws()
    c, h, z, last, total, protein, v, hold, threshold, now = memory
    fixed = None if plastic else weight(h, z, k)
    some: NDArray[np.bool_] = fires.any(axis=0).reshape(-1)

    def touch(neuron: Any, pixels: Any) -> None:
        elapsed = (now[0] - last[neuron, pixels]) * neurons.dt
        before = h[neuron, pixels]
        drive = (protein[neuron] * k.consolidation)[:, None]
        c[neuron, pixels], after, z[neuron, pixels] = advance(
            c[neuron, pixels], before, z[neuron, pixels], drive, elapsed, k
        )
        h[neuron, pixels] = after
        last[neuron, pixels] = now[0]
        total[neuron] += (changed(after, k) - changed(before, k)).sum(axis=1)

    for m, image in enumerate(counts):
        lit = np.flatnonzero(image)
        if gated:
            touch(slice(None), lit)
            recalled = weight(h[:, lit], z[:, lit], k) @ image[lit].astype(float)
            now[0] += steps
            if teacher[m, int(np.argmax(recalled))] > 0.0:
                continue
        taught[m] = True
        stimulus, held = np.maximum(teacher[m], 0.0) * (1.0 - neurons.leak), np.flatnonzero(teacher[m] < 0.0)
        for t in range(some.size):
            now[0] += 1
            gained = stimulus
            if some[t]:
                rows = lit[fires[image[lit], t]]
                if rows.size:
                    if fixed is not None:
                        drive = fixed[:, rows].sum(axis=1)
                    else:
                        touch(slice(None), rows)
                        drive = weight(h[:, rows], z[:, rows], k).sum(axis=1)
                        c[:, rows] = on_pre(c[:, rows], k)
                    charge[m] += drive
                    gained = stimulus + neurons.jump * drive
            v[:], hold[:], fired = lif_step(v, hold, gained, neurons.leak, threshold, neurons.reset, neurons.refractory)
            v[held] = neurons.reset
            fired[held] = 0.0
            winners = np.flatnonzero(fired)
            spikes[m, winners] += 1
            if plastic:
                if winners.size:
                    touch(winners, slice(None))
                    c[winners] = on_post(c[winners], k)
                near = np.flatnonzero((total > k.theta_pro) & (protein == 0.0))
                if near.size:
                    touch(near, slice(None))
                    protein[near] = total[near] > k.theta_pro
        now[0] += steps - some.size
        v[:], hold[:] = idle_step(v, hold, float(steps - some.size), neurons.leak, neurons.reset)


@cache
def compiled_loop() -> Loop:
    """`Loop` compiled by numba, a synapse at a time."""
    numba = optional("numba", extra="fast", needed_by="the backend numba")
    # A division by zero is caught by the functions themselves. Only `run` is called from Python: wrappers of the others
    # would take 20 MB to compile.
    inner: Any = partial(numba.njit, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)
    jit: Any = inner(forceinline=True)  # a call would copy all constants
    advance, on_pre, on_post, weight, changed = laws(jit)
    lif: Any = jit(lif_step)
    idle: Any = jit(idle_step)

    @inner()  # type: ignore[untyped-decorator]
    def update(j: Any, pixels: Any, number: Any, kind: Any, shares: Any, memory: Any, neurons: Any, k: Any) -> Any:
        """Bring ``number`` of the ``pixels`` up to date for neuron j, with a spike after it; their weights × shares."""
        c, h, z, last, total, protein, _, _, _, now = memory
        drive, changes = 0.0, 0.0
        consolidation = protein[j] * k.consolidation
        for place in range(number):
            i = pixels[place]
            before = h[j, i]
            ca, early, late = advance(c[j, i], before, z[j, i], consolidation, (now[0] - last[j, i]) * neurons.dt, k)
            c[j, i] = on_pre(ca, k) if kind == PRE else (on_post(ca, k) if kind == POST else ca)
            h[j, i], z[j, i], last[j, i] = early, late, now[0]
            changes += changed(early, k) - changed(before, k)
            if kind == PRE:
                drive += weight(early, late, k)
            elif kind == LOOK:
                drive += weight(early, late, k) * shares[i]
        total[j] += changes
        return drive

    def run(
        counts: Any, teacher: Any, fires: Any, steps: Any, plastic: Any, gated: Any, memory: Any, neurons: Any,
        k: Any, spikes: Any, charge: Any, taught: Any,
    ) -> None:  # fmt: skip
        _, h, z, _, total, protein, v, hold, threshold, now = memory
        outputs, inputs = h.shape
        shown = fires.shape[1]
        fixed = np.empty((outputs, inputs))
        if not plastic:
            for j in range(outputs):
                for i in range(inputs):
                    fixed[j, i] = weight(h[j, i], z[j, i], k)
        some = np.zeros(shown, np.bool_)
        for t in range(shown):
            some[t] = fires[:, t].any()
        every, lit, firing = np.arange(inputs), np.empty(inputs, np.int64), np.empty(inputs, np.int64)
        drive = np.zeros(outputs)
        for m in range(counts.shape[0]):
            number = 0
            for i in range(inputs):
                if counts[m, i] > 0:
                    lit[number] = i
                    number += 1
            if gated:
                for j in range(outputs):
                    drive[j] = update(j, lit, number, LOOK, counts[m], memory, neurons, k)
                now[0] += steps
                if teacher[m, int(np.argmax(drive))] > 0.0:
                    continue
            taught[m] = True
            for t in range(shown):
                now[0] += 1
                drive[:] = 0.0
                if some[t]:
                    fired_now = 0
                    for place in range(number):
                        if fires[counts[m, lit[place]], t]:
                            firing[fired_now] = lit[place]
                            fired_now += 1
                    for j in range(outputs):
                        if plastic:
                            drive[j] = update(j, firing, fired_now, PRE, counts[m], memory, neurons, k)
                        else:
                            for place in range(fired_now):
                                drive[j] += fixed[j, firing[place]]
                        charge[m, j] += drive[j]
                for j in range(outputs):
                    stimulus = teacher[m, j]
                    gained = neurons.jump * drive[j] + (1.0 - neurons.leak) * max(stimulus, 0.0)
                    v[j], hold[j], fired = lif(
                        v[j], hold[j], gained, neurons.leak, threshold[j], neurons.reset, neurons.refractory
                    )
                    if stimulus < 0.0:
                        v[j] = neurons.reset
                        fired = 0.0
                    if fired > 0.0:
                        spikes[m, j] += 1
                        if plastic:
                            update(j, every, inputs, POST, counts[m], memory, neurons, k)
                    if plastic and protein[j] == 0.0 and total[j] > k.theta_pro:
                        update(j, every, inputs, LOOK, counts[m], memory, neurons, k)
                        protein[j] = 1.0 * (total[j] > k.theta_pro)
            now[0] += steps - shown
            for j in range(outputs):
                v[j], hold[j] = idle(v[j], hold[j], float(steps - shown), neurons.leak, neurons.reset)

    return numba.njit(run, error_model="numpy", no_cfunc_wrapper=True)  # type: ignore[no-any-return]
