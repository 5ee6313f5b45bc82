r"""Synaptic tagging and capture between spikes, in closed form: what a network does with a synapse, event by event.

Source: M. A. Nicholson (thesis, Groningen, 2024), Eqs. 2–6. Between two spikes of a synapse its calcium c falls to
c_rest, and the early phase h goes through three stretches at most: both thresholds exceeded, the lower one, none. In
each of them h moves monotonically to one target, so that it passes each tag level at most once, and the late phase z
relaxes exactly for the time in which a tag stands. A synapse therefore costs nothing while its neurons are silent: it
is brought up to date when the next spike needs it (`Rule.advance`), whatever the time since the last one.

Three laws, one set of functions (`laws`):

* ``equations``: Eqs. 2–4; h relaxes exponentially in each stretch.
* ``circuit``: Eq. 6 and Fig. 8; constant currents on a capacitor between the rails, thresholds that switch at once, and
  a recovery that is constant until it ends (the source's script, without its time step).
* ``reduced``: the model fitted to the transistor-level circuit (`cosim.devices.stc`). What its comparators and mirrors
  make of a spike, delays and tails included, is tabulated over the calcium that the spike leads to
  (`stc_constants`); the currents have their slope with the weight, and the recovery is a tanh, of which
  the closed form is sinh u ∝ e^(−t).

The protein of Eq. 5 is latched for a neuron (`cosim.network.systems.stc_loop`): ``drive`` is α p/τ_z with its p.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from cosim.devices.base import Array

Operand = Any
# Where sinh of a double does not overflow.
_SINH_LIMIT = 300.0
_TINY = 1e-300
EXPONENTIAL, LINEAR, HYPERBOLIC = 0, 1, 2


# Seconds.
_NEVER = 1e30


def _where(condition: Operand, one: Operand, other: Operand) -> Operand:
    return (one if condition else other) if isinstance(condition, bool) else np.where(condition, one, other)


class Constants(NamedTuple):
    """A law's constants: c in the unit of its thresholds, h in V, times in s; (n,) tables for ``reduced`` only.

    ``*_p`` belongs to the stretch above both thresholds, ``*_d`` to the one above the lower. A rate is 1/s where
    ``shape`` is exponential, else V/s.
    """

    c_rest: float
    c_pre: float
    c_post: float
    c_gain: float
    tau_c: float
    theta_p: float
    theta_d: float
    shape: int
    target_p: float
    rate_p: float
    target_d: float
    rate_d: float
    target_only_p: float
    rate_only_p: float
    recovery_shape: int
    rest: float
    rate_up: float
    rate_down: float
    width: float
    h0: float
    low: float
    high: float
    theta_tag: float
    theta_pro: float
    consolidation: float
    z_max: float
    z_min: float
    tabulated: int
    table_end: float
    table_p: Array
    table_d: Array


class Rule(NamedTuple):
    """The functions of a synapse, positional only, on arrays or compiled for scalars.

    Args:
        advance: (c, h, z, drive, elapsed, constants) -> (c, h, z) after ``elapsed`` (s) without a spike; ``drive`` is
            α p/τ_z (1/s), 0 without protein.
        on_pre, on_post: (c, constants) -> c after a spike.
        weight: (h, z, constants) -> the total weight h + h_0 z (V).
        changed: (h, constants) -> |h − h_0| (V), of which Eq. 5 takes the sum over a neuron's synapses.
    """

    advance: Callable[..., Any]
    on_pre: Callable[..., Any]
    on_post: Callable[..., Any]
    weight: Callable[..., Any]
    changed: Callable[..., Any]


def laws(compiled: Callable[[Any], Any] | None = None) -> Rule:
    """The rule's functions on arrays; with ``compiled`` (numba.njit) on scalars inside a compiled loop."""
    scalar = compiled is not None
    compiled = compiled or (lambda function: function)
    pick: Any = _where
    if scalar:

        @compiled
        def pick(condition: Operand, one: Operand, other: Operand) -> Operand:
            return one if condition else other

    @compiled
    def fall(d: Operand, rate: Operand, span: Operand, width: Operand, shape: int) -> Operand:
        """The distance ``d`` (V) from the target after ``span`` (s)."""
        if shape == LINEAR:
            return np.maximum(d - rate * span, 0.0)
        if shape == EXPONENTIAL:
            return d * np.exp(-rate * span)
        shrunk = np.exp(-rate * span / width)
        return width * np.arcsinh(np.sinh(np.minimum(d / width, _SINH_LIMIT)) * shrunk)

    @compiled
    def time(d: Operand, level: Operand, rate: Operand, width: Operand, shape: int) -> Operand:
        """When a distance ``d`` has fallen to ``level`` (s): 0 where it is there already, never for a level below 0."""
        if shape == LINEAR:
            need = np.maximum(d - level, 0.0) / rate
        elif shape == EXPONENTIAL:
            need = np.log(np.maximum(d / np.maximum(level, _TINY), 1.0)) / rate
        else:
            ratio = np.sinh(np.minimum(d / width, _SINH_LIMIT)) / np.sinh(np.maximum(level, _TINY) / width)
            need = np.log(np.maximum(ratio, 1.0)) * width / rate
        return pick(level >= 0.0, need, _NEVER)

    @compiled
    def stretch(
        h: Operand, z: Operand, drive: Operand, span: Operand, target: float, rate: float, shape: int, k: Constants
    ) -> tuple[Operand, Operand]:
        """h (V) and z after ``span`` (s) on the way to ``target`` (V)."""
        if scalar and span <= 0.0:
            return h, z
        # a target at a rail or beyond has one direction, which spares the arrays
        down = True if target <= k.low else (False if target >= k.high else h >= target)
        sign = pick(down, 1.0, -1.0)
        d = sign * (h - target)
        upper = np.minimum(time(d, sign * (k.h0 + k.theta_tag - target), rate, k.width, shape), span)
        lower = np.minimum(time(d, sign * (k.h0 - k.theta_tag - target), rate, k.width, shape), span)
        h = target + sign * fall(d, rate, span, k.width, shape)
        if target > k.high:
            h = np.minimum(h, k.high)
        if target < k.low:
            h = np.maximum(h, k.low)
        # falling: first above the upper level, then below the lower one; rising: the other way round
        begin, end = pick(down, k.z_max, k.z_min), pick(down, k.z_min, k.z_max)
        z = begin + (z - begin) * np.exp(-drive * pick(down, upper, lower))
        return h, end + (z - end) * np.exp(-drive * (span - pick(down, lower, upper)))

    @compiled
    def recover(h: Operand, z: Operand, drive: Operand, span: Operand, k: Constants) -> tuple[Operand, Operand]:
        """h (V) and z after ``span`` (s) of recovery, which ends between the tag levels: a tag can only go out."""
        down = h >= k.rest
        d = np.abs(h - k.rest)
        rate = pick(down, k.rate_down, k.rate_up)
        level = pick(down, k.h0 + k.theta_tag - k.rest, k.rest - k.h0 + k.theta_tag)
        tagged = np.minimum(time(d, level, rate, k.width, k.recovery_shape), span)
        h = k.rest + pick(down, 1.0, -1.0) * fall(d, rate, span, k.width, k.recovery_shape)
        end = pick(down, k.z_max, k.z_min)
        return h, end + (z - end) * np.exp(-drive * tagged)

    @compiled
    def spent(x: Operand, threshold: float, table: Array, k: Constants) -> Operand:
        """How long (s) the tail current flows while calcium falls from ``x`` above its rest to it."""
        if k.tabulated == 0:
            above = threshold - k.c_rest
            if scalar and x <= above:
                return 0.0
            return np.log(np.maximum(x / above, 1.0)) * k.tau_c
        place = np.minimum(np.maximum(x / k.table_end, 0.0), 1.0) * (table.size - 1.0)
        node = np.minimum(np.floor(place), table.size - 2.0)
        left = table[np.int64(node)]
        return left + (place - node) * (table[np.int64(node + 1.0)] - left)

    @compiled
    def advance(
        c: Operand, h: Operand, z: Operand, drive: Operand, elapsed: Operand, k: Constants
    ) -> tuple[Operand, Operand, Operand]:
        x = c - k.c_rest
        slowed = c / (c + k.c_gain) if k.c_gain > 0.0 else 1.0
        y = x * np.exp(-elapsed / k.tau_c * slowed)
        p = np.minimum(spent(x, k.theta_p, k.table_p, k) - spent(y, k.theta_p, k.table_p, k), elapsed)
        d = np.minimum(spent(x, k.theta_d, k.table_d, k) - spent(y, k.theta_d, k.table_d, k), elapsed)
        if k.tabulated == 0:  # thresholds that switch at once never leave potentiation alone
            h, z = stretch(h, z, drive, p, k.target_p, k.rate_p, k.shape, k)
            h, z = stretch(h, z, drive, d - p, k.target_d, k.rate_d, k.shape, k)
            h, z = recover(h, z, drive, elapsed - d, k)
        else:
            both = np.minimum(p, d)
            h, z = stretch(h, z, drive, both, k.target_p, k.rate_p, k.shape, k)
            h, z = stretch(h, z, drive, p - both, k.target_only_p, k.rate_only_p, k.shape, k)
            h, z = stretch(h, z, drive, d - both, k.target_d, k.rate_d, k.shape, k)
            h, z = recover(h, z, drive, elapsed - np.maximum(p, d), k)
        return k.c_rest + y, h, z

    @compiled
    def on_pre(c: Operand, k: Constants) -> Operand:
        return c + k.c_pre

    @compiled
    def on_post(c: Operand, k: Constants) -> Operand:
        return c + k.c_post

    @compiled
    def weight(h: Operand, z: Operand, k: Constants) -> Operand:
        return h + k.h0 * z

    @compiled
    def changed(h: Operand, k: Constants) -> Operand:
        return np.abs(h - k.h0)

    return Rule(advance, on_pre, on_post, weight, changed)
