"""The constants of `stc_synapse` from the parameter sets of the devices; no device's number is typed here.

The circuit's operating point is the network's: `stc_synapse:listing_a` for the source's own, `transistor_network` for
the model that was fitted to the transistor-level waveforms at these biases.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from cosim.devices import stc_steps
from cosim.devices.base import Array, Values
from cosim.errors import InputError
from cosim.network.systems.stc_synapse import EXPONENTIAL, HYPERBOLIC, LINEAR, Constants

# Nodes of the tables of `charges`, the step (s) and the end (s) of the spikes that they are made of.
NODES, STEP, END = 193, 2e-5, 0.025
_NO_TABLE = np.zeros(2)


def equations(p: Values) -> Constants:
    """Eqs. 2–5 with the values of a set of `stc_equations`."""
    rate = float(p.acceleration / p.tau_h)
    both, lower, upper = 0.1 + p.gamma_p + p.gamma_d, 0.1 + p.gamma_d, 0.1 + p.gamma_p
    return _checked(
        Constants(
            c_rest=0.0, c_pre=float(p.c_pre), c_post=float(p.c_post), c_gain=0.0,
            tau_c=float(p.tau_c / p.acceleration), theta_p=float(p.theta_p), theta_d=float(p.theta_d),
            shape=EXPONENTIAL, target_p=float((0.1 * p.h0 + p.gamma_p * p.h_max) / both), rate_p=float(rate * both),
            target_d=float(0.1 * p.h0 / lower), rate_d=float(rate * lower),
            target_only_p=float((0.1 * p.h0 + p.gamma_p * p.h_max) / upper), rate_only_p=float(rate * upper),
            recovery_shape=EXPONENTIAL, rest=float(p.h0), rate_up=0.1 * rate, rate_down=0.1 * rate, width=1.0,
            low=0.0, high=float(p.h_max), tabulated=0, table_end=1.0, table_p=_NO_TABLE, table_d=_NO_TABLE,
            **_late(p, float(p.acceleration)),
        )
    )  # fmt: skip


def circuit(p: Values, *, width: float) -> Constants:
    """Eq. 6, Fig. 8 and Eq. 4 with the values of a set of `stc_synapse`; spikes of ``width`` (s) step the calcium."""
    kick = -math.expm1(-width / float(p.tau_ca))
    target_p, rate_p = _ramp(float(p.i_tail_p - p.i_tail_d), p)
    target_only, rate_only = _ramp(float(p.i_tail_p), p)
    target_d, rate_d = _ramp(-float(p.i_tail_d), p)
    leak = float(p.i_low_p - p.i_low_d)
    return _checked(
        Constants(
            c_rest=float(p.i_rest), c_pre=float(p.i_pre) * kick, c_post=float(p.i_post) * kick, c_gain=0.0,
            tau_c=float(p.tau_ca), theta_p=float(p.i_th_p), theta_d=float(p.i_th_d), shape=LINEAR,
            target_p=target_p, rate_p=rate_p, target_d=target_d, rate_d=rate_d, target_only_p=target_only,
            rate_only_p=rate_only, recovery_shape=LINEAR, rest=float(p.h0),
            rate_up=max(float(p.acceleration * p.i_hrp) + leak, 0.0) / float(p.c_h),
            rate_down=max(float(p.acceleration * p.i_hrm) - leak, 0.0) / float(p.c_h), width=1.0,
            low=0.0, high=float(p.v_dd), tabulated=0, table_end=1.0, table_p=_NO_TABLE, table_d=_NO_TABLE,
            **_late(p, 1.0),
        )
    )  # fmt: skip


def reduced(p: Values, *, width: float) -> Constants:
    """The constants of a fitted set of `stc_synapse`; the recovery ends where the leak balances it."""
    ideal = circuit(p, width=width)
    tails = float(p.i_tail_p), float(p.i_tail_d)
    slopes = tails[0] * float(p.lambda_p), tails[1] * float(p.lambda_d)
    if min(slopes) <= 0.0:
        raise InputError("the reduced model needs tail currents with a slope", remedy="give lambda_p, lambda_d > 0")
    leak, c_h = float(p.i_low_p - p.i_low_d), float(p.c_h)
    up, down = float(p.acceleration * p.i_hrp), float(p.acceleration * p.i_hrm)
    pull = down if leak > 0.0 else up
    shift = float(p.v_rec) * math.atanh(leak / pull) if abs(leak) < pull else math.copysign(math.inf, leak)
    rest = float(p.h0 + p.v_off) + shift
    if not 0.0 < rest < float(p.v_dd):
        raise InputError(
            f"a leak of {leak:.3g} A is more than the recovery current can balance",
            remedy="take a larger i_hrp and i_hrm",
        )
    end, table_p, table_d = charges(tuple(sorted((name, float(value)) for name, value in p.items())), width)
    return _checked(
        ideal._replace(
        c_gain=float(p.i_gain), shape=EXPONENTIAL, recovery_shape=HYPERBOLIC, width=float(p.v_rec), rest=rest,
        target_p=float(p.h0) + (tails[0] - tails[1]) / sum(slopes), rate_p=sum(slopes) / c_h,
        target_d=float(p.h0) - tails[1] / slopes[1], rate_d=slopes[1] / c_h,
        target_only_p=float(p.h0) + tails[0] / slopes[0], rate_only_p=slopes[0] / c_h,
        rate_up=(up + leak) / c_h, rate_down=(down - leak) / c_h,
        tabulated=1, table_end=end, table_p=table_p, table_d=table_d,
        )
    )  # fmt: skip


@lru_cache(maxsize=8)
def charges(values: tuple[tuple[str, float], ...], width: float) -> tuple[float, Array, Array]:
    """What a spike that takes calcium from rest to rest + x gives: seconds of the tail currents, (n,) over x.

    Returns the last x (A) and the tables of potentiation and depression. They are made with the fitted model's own
    steps (`cosim.devices.stc_steps`), comparators and mirrors at rest before the spike, the weight held at h_0.
    """
    from cosim.fitting.stc import settled

    p = Values(dict(values))
    kick = -math.expm1(-width / float(p.tau_ca))
    end = 3.0 * float(p.i_pre + p.i_post) * kick
    drive = np.linspace(0.0, end, NODES) / kick
    x0 = settled(p).with_(h=float(p.h0))
    steps = round(END / STEP)
    share = stc_steps.spike_share(np.zeros(1), width=width, dt=STEP, steps=steps)[:, None] * drive / float(p.i_pre)
    held = p.with_(c_h=1e6)  # F: the weight does not move
    seen = stc_steps.run(
        held, dt=STEP, pre=share, post=np.zeros((steps, 1)), x0=x0, keep=("potentiation", "depression")
    )
    found = []
    for name, tail in (("potentiation", p.i_tail_p), ("depression", p.i_tail_d)):
        current = seen[name] - seen[name][:, :1]  # without what leaks at rest
        found.append(np.maximum(np.trapezoid(current, dx=STEP, axis=0) / float(tail), 0.0))
    return end, np.ascontiguousarray(found[0]), np.ascontiguousarray(found[1])


def _ramp(current: float, p: Values) -> tuple[float, float]:
    return (float(p.v_dd) if current > 0.0 else 0.0), abs(current) / float(p.c_h)


def _late(p: Values, acceleration: float) -> dict[str, float]:
    return {
        "h0": float(p.h0), "theta_tag": float(p.theta_tag), "theta_pro": float(p.theta_pro),
        "consolidation": acceleration * float(p.alpha / p.tau_z), "z_max": float(p.z_max), "z_min": float(p.z_min),
    }  # fmt: skip


def _checked(k: Constants) -> Constants:
    if not k.c_rest < k.theta_d <= k.theta_p:
        raise InputError(
            f"calcium thresholds {k.theta_d:g} and {k.theta_p:g} have to lie above the rest of {k.c_rest:g}, "
            "potentiation's on top",
            remedy="give i_th_d and i_th_p (theta_d, theta_p) in that order",
        )
    if not abs(k.rest - k.h0) < k.theta_tag:
        raise InputError(
            f"a recovery that ends {k.rest - k.h0:+.3g} V from the reference leaves every synapse tagged",
            remedy=f"give theta_tag above it; it is {k.theta_tag:.3g} V",
        )
    return k


def spike_width(p: Values, *, step: float) -> float:
    """How long (s) a spike of ``i_pre`` lasts that steps the calcium current by ``step`` (A)."""
    return -float(p.tau_ca) * math.log1p(-step / float(p.i_pre))
