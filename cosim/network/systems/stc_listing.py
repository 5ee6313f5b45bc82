"""The source's network as its listing A runs it: forward Euler in steps of 1 ms, inconsistencies included.

Source: M. A. Nicholson (thesis, Groningen, 2024), listing A. What contradicts its own text, tables or circuit can be
mended one at a time (`MENDS`), so that each difference can be measured. In every variant, as printed:

* training reads a spike one step after the potential has passed the threshold, and what arrives in that step is lost;
* a negative stimulus holds its neuron at the reset potential, whatever the stimulus's size;
* the weights of a test are divided by four (`DIVISOR`), and the neuron with most spikes answers, the first of equals.

Constants of the synapse come from a set of `stc_synapse`; `listing_loop` runs in numpy, compiled with numba.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import cache
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cosim.devices.base import Array, Values
from cosim.errors import UnknownName
from cosim.packages import optional

Ints = NDArray[np.int64]
MENDS: Mapping[str, str] = MappingProxyType(
    {
        "drive": "a spike is weighted by its own synapse, not by the sum over all of them",
        "protein": "Eq. 5's sum over the neuron's synapses, not each synapse by itself",
        "depression": "the late phase reaches z_min as in Eq. 4, it is not clamped at 0",
        "rails": "the early phase stays below the supply",
        "leak": "the low depression current leaves the capacitor, it is not added to the potentiation",
        "recovery": "both directions of the recovery are accelerated, not the downward one alone",
        "rest": "calcium starts at its rest, not at 17 pA",
    }
)
DIVISOR = 4.0
DT = 1e-3


class Listing(NamedTuple):
    """Constants (SI) of the listing, and its variants as numbers (0 or 1)."""

    rest: float
    start: float
    kick_pre: float
    kick_post: float
    calcium: float
    theta_p: float
    theta_d: float
    step_p: float
    step_p_low: float
    step_d: float
    step_d_low: float
    recovery_up: float
    recovery_down: float
    h0: float
    ceiling: float
    tag: float
    protein: float
    late: float
    z_max: float
    z_min: float
    floor: float
    beta: float
    per_synapse: int
    all_weights: int


def constants(p: Values, *, beta: float, width: float, mends: Collection[str] = (), printed: Values) -> Listing:
    """From a set of `stc_synapse` (SI), the scale ``beta`` of the weights, and the spikes' ``width`` (s).

    ``printed``: the set whose recovery currents are not accelerated. Raises `UnknownName` for an unknown mend.
    """
    for name in mends:
        if name not in MENDS:
            raise UnknownName("mend", name, MENDS)
    kick = -np.expm1(-width / float(p.tau_ca))
    per_step = DT / float(p.c_h)
    up = float(p.i_hrp)
    if "recovery" in mends:
        up *= float(p.i_hrm / printed.i_hrm)
    return Listing(
        rest=float(p.i_rest), start=float(p.i_rest if "rest" in mends else p.ca_init * p.i_th_p),
        kick_pre=float(p.i_pre * kick), kick_post=float(p.i_post * kick), calcium=DT / float(p.tau_ca),
        theta_p=float(p.i_th_p), theta_d=float(p.i_th_d), step_p=float(p.i_tail_p) * per_step,
        step_p_low=float(p.i_low_p) * per_step, step_d=-float(p.i_tail_d) * per_step,
        step_d_low=float(p.i_low_d) * per_step * (-1.0 if "leak" in mends else 1.0), recovery_up=up * per_step,
        recovery_down=-float(p.i_hrm) * per_step, h0=float(p.h0),
        ceiling=float(p.v_dd) if "rails" in mends else np.inf, tag=float(p.theta_tag), protein=float(p.theta_pro),
        late=DT / float(p.tau_z), z_max=float(p.z_max), z_min=float(p.z_min),
        floor=float(p.z_min) if "depression" in mends else 0.0, beta=beta,
        per_synapse=int("protein" not in mends), all_weights=int("drive" not in mends),
    )  # fmt: skip


class Unit(NamedTuple):
    """The listing's neuron: volts in its own scale, where a spike adds its weight over ``tau`` without a time step."""

    tau: float
    rest: float
    reset: float
    threshold: float
    stimulus: float


def early_step(c: Any, h: Any, pre: Any, post: Any, k: Listing) -> tuple[Any, Any]:
    """One step of calcium (A) and early phase (V); ``pre``, ``post`` are 0 or 1."""
    c = c + (k.rest - c) * k.calcium + pre * k.kick_pre + post * k.kick_post
    up, down, above = 1.0 * (c > k.theta_p), 1.0 * (c > k.theta_d), 1.0 * (h > k.h0)
    change = above * k.recovery_down + (1.0 - above) * k.recovery_up
    change = change + up * k.step_p + (1.0 - up) * k.step_p_low + down * k.step_d + (1.0 - down) * k.step_d_low
    return c, np.minimum(np.maximum(h + change, 0.0), k.ceiling)


def late_step(h: Any, z: Any, made: Any, enough: Any, k: Listing) -> tuple[Any, Any]:
    """One step of the late phase, and of the protein ``made``; ``enough``: Eq. 5's sum exceeds its threshold."""
    own = 1.0 * (np.abs(h - k.h0) > k.protein)
    made = np.maximum(made, k.per_synapse * own + (1.0 - k.per_synapse) * enough)
    gained = (k.z_max - z) * (h - k.h0 > k.tag)
    lost = (z - k.z_min) * (k.h0 - h > k.tag)
    return np.maximum(z + k.late * made * (gained - lost), k.floor), made


def unit_step(v: Any, fired: Any, drive: Any, stimulus: Any, unit: Unit) -> tuple[Any, Any]:
    """One step of a neuron: its potential, and whether it fires (0 or 1)."""
    v = (1.0 - fired) * v + fired * unit.reset
    fires = 1.0 * (v > unit.threshold)
    held = 1.0 * (stimulus < 0.0)
    v = v + (unit.rest - v + stimulus) / unit.tau * DT + drive / unit.tau
    return (1.0 - held) * v + held * unit.reset, fires


class Learned(NamedTuple):
    """Early (V) and late phase (m, n) after the last image, and the spikes (k, m) of each."""

    h: Array
    z: Array
    spikes: Ints


# (counts (k, n), labels (k,), fires (largest count + 1, steps shown), steps, neurons, constants, unit) -> Learned
Train = Callable[..., Learned]


def train_numpy(
    counts: NDArray[np.uint8], labels: Ints, fires: NDArray[np.bool_], steps: int, neurons: int, k: Listing, unit: Unit
) -> Learned:
    """The listing's training, all synapses at a time."""
    shape, shown = (neurons, counts.shape[1]), fires.shape[1]
    c, h, z, made = np.full(shape, k.start), np.full(shape, k.h0), np.zeros(shape), np.zeros(shape)
    v, fired = np.full(neurons, unit.rest), np.zeros(neurons)
    spikes = np.zeros((len(counts), neurons), dtype=np.int64)
    for m, image in enumerate(counts):
        for t in range(steps):
            pre = 1.0 * fires[image, t] if t < shown else np.zeros(shape[1])
            sign = np.where(np.arange(neurons) == labels[m], 1.0, -1.0) if t < shown else np.zeros(neurons)
            w = k.beta * (h + k.h0 * z)
            drive = w.sum(axis=1) * pre.sum() if k.all_weights else w @ pre
            v, fired = unit_step(v, fired, drive, sign * unit.stimulus, unit)
            spikes[m] += fired > 0.0
            c, h = early_step(c, h, pre, fired[:, None], k)
            enough = 1.0 * (np.abs(h - k.h0).sum(axis=1) > k.protein)[:, None]
            z, made = late_step(h, z, made, enough, k)
    return Learned(h, z, spikes)


@cache
def train_compiled() -> Train:
    """`train_numpy` compiled by numba, a synapse at a time."""
    numba = optional("numba", extra="fast", needed_by="the backend numba")
    jit: Any = numba.njit(forceinline=True, error_model="numpy")
    early, late, integrate = jit(early_step), jit(late_step), jit(unit_step)

    def run(counts: Any, labels: Any, fires: Any, steps: Any, neurons: Any, k: Any, unit: Any) -> Any:
        inputs, shown = counts.shape[1], fires.shape[1]
        shape = (neurons, inputs)
        c, h, z, made = np.full(shape, k.start), np.full(shape, k.h0), np.zeros(shape), np.zeros(shape)
        v, fired = np.full(neurons, unit.rest), np.zeros(neurons)
        spikes = np.zeros((counts.shape[0], neurons), np.int64)
        pre = np.zeros(inputs)
        for m in range(counts.shape[0]):
            for t in range(steps):
                total = 0.0
                for i in range(inputs):
                    pre[i] = 1.0 if t < shown and fires[counts[m, i], t] else 0.0
                    total += pre[i]
                for j in range(neurons):
                    drive = 0.0
                    if total > 0.0:
                        for i in range(inputs):
                            share = total if k.all_weights else pre[i]
                            drive += share * k.beta * (h[j, i] + k.h0 * z[j, i])
                    stimulus = (unit.stimulus if labels[m] == j else -unit.stimulus) if t < shown else 0.0
                    v[j], fired[j] = integrate(v[j], fired[j], drive, stimulus, unit)
                    if fired[j] > 0.0:
                        spikes[m, j] += 1
                    changed = 0.0
                    for i in range(inputs):
                        c[j, i], h[j, i] = early(c[j, i], h[j, i], pre[i], fired[j], k)
                        changed += abs(h[j, i] - k.h0)
                    enough = 1.0 if changed > k.protein else 0.0
                    for i in range(inputs):
                        z[j, i], made[j, i] = late(h[j, i], z[j, i], made[j, i], enough, k)
        return h, z, spikes

    compiled = numba.njit(run, error_model="numpy")

    def train(*arguments: Any) -> Learned:
        return Learned(*compiled(*arguments))

    return train


def test_counts(
    counts: NDArray[np.uint8], w: Array, fires: NDArray[np.bool_], steps: int, unit: Unit
) -> NDArray[np.int64]:
    """Spikes (k, m) of each image with the weights ``w`` (m, n) as given (the listing divides them by `DIVISOR`)."""
    shown, neurons = fires.shape[1], w.shape[0]
    v, fired = np.full(neurons, unit.rest), np.zeros(neurons)
    spikes = np.zeros((len(counts), neurons), dtype=np.int64)
    some = np.flatnonzero(fires.any(axis=0))
    for m, image in enumerate(counts):
        drives = dict(zip(some.tolist(), fires[image][:, some].T @ w.T, strict=True))
        for t in range(steps):
            v, fired = unit_step(v, fired, drives.get(t, 0.0), 0.0, unit)
            spikes[m] += fired > 0.0
            if t >= shown and not fired.any() and not np.any(v > unit.threshold):
                left = steps - t - 1  # nothing can fire any more in the gap
                v = unit.rest + (v - unit.rest) * (1.0 - DT / unit.tau) ** left
                break
    return spikes
