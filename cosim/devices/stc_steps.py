r"""Synapses with tagging and capture, many at once: the reduced model of `cosim.devices.stc`, step by step.

Source: M. A. Nicholson (thesis, Groningen, 2024), Eqs. 4–6 and Fig. 8; delays and tails are fitted to the
transistor-level circuit (`cosim.fitting.stc`). One step of length dt, inputs constant over it:

* calcium: exact for a constant I_g/i;
* comparators: the loser's node in closed form, the finite gain taken at the middle of the step; the output's mean over
  the step, for x linear in it;
* early phase: exponential Rosenbrock–Euler, h ← h + dt φ(J dt) f(h), φ(u) = (e^u − 1)/u, which cannot overshoot a rail;
* mirrors: the logistic law's closed form, and the charge that it delivers over the step
  Q_m ln(1 + (I_0/I_in)(e^(I_in dt/Q_m) − 1)), so that a tail far longer or shorter than dt counts in full;
* protein and late phase: exact for constant tags.

`script` is the source's own script (its listing A), for comparison: Heaviside thresholds, no delay, no tail, no rails.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from cosim.devices.base import Array, Values
from cosim.devices.stc import StcSynapse, logistic, step
from cosim.errors import InputError

Operand = Any
_SYNAPSE = StcSynapse()
# Central difference of the capacitor's current (V).
_DIFFERENCE = 1e-6


def _phi(u: Operand) -> Operand:
    """(e^u − 1)/u, 1 at u = 0."""
    safe = np.where(np.abs(u) > 1e-12, u, 1.0)
    return np.where(np.abs(u) > 1e-12, np.expm1(np.minimum(safe, 50.0)) / safe, 1.0)


def _rosenbrock(rate: Any, y: Operand, *, dt: float, bounds: tuple[Operand, Operand]) -> Operand:
    slope = (rate(y + _DIFFERENCE) - rate(y - _DIFFERENCE)) / (2.0 * _DIFFERENCE)
    return np.clip(y + dt * _phi(slope * dt) * rate(y), *bounds)


def _log_phi(u: Operand) -> Operand:
    """ln φ(u), without overflow."""
    large = np.maximum(u, 30.0)
    return np.where(u > 30.0, large - np.log(large), np.log(_phi(np.minimum(u, 30.0))))


def _rise(y: Operand, up: Operand, down: Operand, *, kappa: Operand, scale: Operand) -> Operand:
    """y after dt of dy/dt = (up − down (1 − e^(−κy)))/Q, exact for constant ``up``, ``down``; ``scale`` = dt/Q."""
    r = kappa * (up - down) * scale
    return np.logaddexp(kappa * y + r, np.log(kappa * down * scale) + _log_phi(r)) / kappa


def comparator(x: Operand, i: Operand, threshold: Operand, p: Values, *, charge: Operand, dt: float) -> Operand:
    """x after ``dt`` (s) of `comparator_rate` with constant currents ``i`` and ``threshold`` (A).

    Only the loser's transistor can be out of saturation: with y its node's voltage the law is `_rise`, exact but for
    the finite gain, which is taken at the middle of the step (two passes).
    """
    i = np.maximum(i, 1e-24)  # a current of zero has no logarithm
    middle = x
    after = x
    for _ in range(2):
        first, second = (
            i * (1.0 - p.wta_gain * np.maximum(middle, 0.0)),
            threshold * (1.0 + p.wta_gain * np.minimum(middle, 0.0)),
        )
        low = _rise(1.0 + x, first, second, kappa=p.wta_kappa, scale=dt / charge) - 1.0
        high = 1.0 - _rise(1.0 - x, second, first, kappa=p.wta_kappa, scale=dt / charge)
        after = np.clip(np.where(x < 0.0, np.minimum(low, 1.0), np.maximum(high, -1.0)), -1.0, 1.0)
        middle = 0.5 * (x + after)
    # a step that crosses 0 ends at the other end's equilibrium at most
    ratio = np.clip(second / first, 1e-12, 1.0 - 1e-12)
    top = 1.0 + np.log1p(-ratio) / p.wta_kappa
    ratio = np.clip(first / second, 1e-12, 1.0 - 1e-12)
    bottom = -1.0 - np.log1p(-ratio) / p.wta_kappa
    return np.where(x < 0.0, np.minimum(after, np.maximum(top, 0.0)), np.maximum(after, np.minimum(bottom, 0.0)))


def mean_logistic(a: Operand, b: Operand) -> Operand:
    """The mean of 1/(1 + e^(−y)) while y goes straight from ``a`` to ``b``."""
    near = np.abs(b - a) < 1e-6
    span = np.where(near, 1.0, b - a)
    return np.where(near, logistic(0.5 * (a + b)), (np.logaddexp(0.0, b) - np.logaddexp(0.0, a)) / span)


def mirror(u: Operand, drive: Operand, *, charge: Operand, tail: Operand, dt: float) -> tuple[Operand, Operand]:
    """ln(I/tail) after ``dt`` (s) with the constant input ``drive`` (A) > 0, and the mean current (A) until then.

    ``charge`` (C) is the gate charge per e-fold. The logistic law d ln I/dt = (drive − I)/charge in closed form.
    """
    growth = drive * dt / charge
    # ln(1 + (I_0/I_in)(e^g − 1)), written so that e^g cannot overflow
    log_ratio = u + np.log(tail / drive)
    short = np.minimum(growth, 40.0)
    log_sum = np.where(
        growth < 40.0,
        np.log1p(np.exp(np.minimum(log_ratio, 300.0)) * np.expm1(short)),
        np.logaddexp(0.0, log_ratio + growth),
    )
    return u + growth - log_sum, charge * log_sum / dt


def advance(
    x: Values, p: Values, *, dt: float, pre: Operand = 0.0, post: Operand = 0.0, others: Operand = 0.0
) -> Values:
    """The states of `StcSynapse` after ``dt`` (s); everything broadcasts.

    Args:
        x: states as the device's, any shape.
        p: parameters as the device's, any shape.
        dt: step (s). 20 µs follows the circuit's waveforms; 0.1 ms keeps the weight (tests state the errors).
        pre, post: the share of the step in which a spike's current flows: of one spike per step, its length over dt.
        others: Σ|h_j − h_0| (V) of the neuron's other synapses.
    """
    drive = p.i_rest + p.i_pre * pre + p.i_post * post
    before = p.i_th_p * np.maximum(x.ca, 0.0)
    after = drive + (before - drive) * np.exp(-dt / p.tau_ca * before / (before + p.i_gain))
    i = 0.5 * (before + after)
    xp = comparator(x.xp, i, p.i_th_p, p, charge=p.q_wta_p, dt=dt)
    xd = comparator(x.xd, i, p.i_th_d, p, charge=p.q_wta_d, dt=dt)
    up, mean_p = mirror(
        x.up, p.i_low_p + p.i_tail_p * mean_logistic(p.wta_slope * x.xp, p.wta_slope * xp),
        charge=p.q_mirror_p, tail=p.i_tail_p, dt=dt,
    )  # fmt: skip
    ud, mean_d = mirror(
        x.ud, p.i_low_d + p.i_tail_d * mean_logistic(p.wta_slope * x.xd, p.wta_slope * xd),
        charge=p.q_mirror_d, tail=p.i_tail_d, dt=dt,
    )  # fmt: skip
    mean = {"up": np.log(mean_p / p.i_tail_p), "ud": np.log(mean_d / p.i_tail_d)}

    def charging(h: Operand) -> Operand:
        here = Values({"h": h, **mean})
        current = _SYNAPSE.potentiation(here, p) - _SYNAPSE.depression(here, p) + _SYNAPSE.recovery(here, p)
        return current / p.c_h

    h = _rosenbrock(charging, x.h, dt=dt, bounds=(0.0, p.v_dd))
    moved = h - p.h0
    trigger = step(np.abs(moved) + others - p.theta_pro, p.v_edge)
    protein = 1.0 - (1.0 - x.protein) * np.exp(-dt * trigger / p.t_latch)
    up_tag, down_tag = step(moved - p.theta_tag, p.v_edge), step(-moved - p.theta_tag, p.v_edge)
    rate = p.alpha * protein / p.tau_z
    pull = up_tag + down_tag
    target = np.where(pull > 0.0, (up_tag * p.z_max + down_tag * p.z_min) / np.maximum(pull, 1e-300), x.z)
    z = target + (x.z - target) * np.exp(-rate * pull * dt)
    return Values({"ca": after / p.i_th_p, "xp": xp, "xd": xd, "up": up, "ud": ud, "h": h, "protein": protein, "z": z})


def observed(x: Values, p: Values) -> dict[str, Operand]:
    """What a probe sees: ``calcium``, ``potentiation``, ``depression`` (A), ``early``, ``total`` (V), ``late``."""
    return {
        "calcium": p.i_th_p * x.ca,
        "potentiation": _SYNAPSE.potentiation(x, p),
        "depression": _SYNAPSE.depression(x, p),
        "early": x.h,
        "late": x.z,
        "total": _SYNAPSE.weight(x, p),
    }


def run(
    p: Values, *, dt: float, pre: Array, post: Array, x0: Values | None = None, keep: tuple[str, ...] = ("early",)
) -> dict[str, Array]:
    """A whole experiment: ``pre``, ``post`` (steps, ...) as in `advance`; quantities of `observed` after each step.

    Returns each of ``keep`` as (steps + 1, ...), the first row at t = 0.
    """
    if pre.shape[0] != post.shape[0]:
        raise InputError(f"pre has {pre.shape[0]} steps, post {post.shape[0]}", remedy="give both the same length")
    x = _SYNAPSE.initial(p) if x0 is None else x0
    rows: dict[str, list[Operand]] = {name: [observed(x, p)[name]] for name in keep}
    for a, b in zip(pre, post, strict=True):
        x = advance(x, p, dt=dt, pre=a, post=b)
        seen = observed(x, p)
        for name in keep:
            rows[name].append(seen[name])
    shape = np.broadcast_shapes(*(np.shape(row) for values in rows.values() for row in values))
    return {name: np.stack([np.broadcast_to(row, shape) for row in values]) for name, values in rows.items()}


def spike_share(times: Array, *, width: float, dt: float, steps: int) -> Array:
    """(steps,): the share of each step in which a pulse of ``width`` (s) after one of ``times`` (s) flows."""
    edges = dt * np.arange(steps + 1)
    done = np.zeros(steps + 1)
    for t in np.atleast_1d(times):
        done += np.clip(edges - t, 0.0, width)
    return np.diff(done) / dt


def script(p: Values, *, dt: float, pre: Array, post: Array, steps_of: Mapping[str, float]) -> dict[str, Array]:
    """The source's script (listing A): forward Euler, Heaviside thresholds; ``pre``, ``post`` (steps,) count spikes.

    ``steps_of`` has ``pre`` and ``post``, the steps of the calcium current (A) per spike. The protein is tested per
    synapse and z is clamped at 0, as printed. Returns ``calcium`` (A), ``early`` (V), ``late``; (steps + 1,).
    """
    i, h, z, protein = float(p.i_rest), float(p.h_init), float(p.z_init), 0.0
    rows = [(i, h, z)]
    for a, b in zip(pre, post, strict=True):
        i += dt * (float(p.i_rest) - i) / float(p.tau_ca) + a * steps_of["pre"] + b * steps_of["post"]
        recovery = float(p.acceleration) * (-float(p.i_hrm) if h > p.h0 else float(p.i_hrp))
        potentiation = float(p.i_tail_p) if i > p.i_th_p else float(p.i_low_p)
        depression = -float(p.i_tail_d) if i > p.i_th_d else float(p.i_low_d)
        h = max(h + dt * (recovery + potentiation + depression) / float(p.c_h), 0.0)
        if abs(h - p.h0) > p.theta_pro:
            protein = float(p.alpha)
        gained = protein * (float(p.z_max) - z) * float(h - p.h0 > p.theta_tag)
        lost = protein * (z - float(p.z_min)) * float(p.h0 - h > p.theta_tag)
        z = max(z + dt * (gained - lost) / float(p.tau_z), 0.0)
        rows.append((i, h, z))
    calcium, early, late = np.array(rows).T
    return {"calcium": calcium, "early": early, "late": late}
