"""Synapses with tagging and capture: closed forms against fine integration, the loops, the listing, the network."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest

from cosim import network as net
from cosim.devices import stc_steps
from cosim.errors import InputError, UnknownName
from cosim.fitting.stc import settled
from cosim.network import origin
from cosim.network.images import ImageSet
from cosim.network.run import Streams, run_network
from cosim.network.systems import stc_constants, stc_listing
from cosim.network.systems.stc import StcSystem, answers
from cosim.network.systems.stc_images import DigitTask, RateImages, spike_counts
from cosim.network.systems.stc_loop import Backend, Neurons, backend, begin, rest, trains
from cosim.network.systems.stc_rule import Tagging
from cosim.network.systems.stc_settings import StcSettings, listing, parameters, stc_preset, synapse
from cosim.network.systems.stc_synapse import Constants, laws
from cosim.parameters import ParameterSet

CLOSED = ("equations", "circuit", "reduced")
# Pre- and postsynaptic spikes (ms), alone, together and close to each other.
PRE, POST = (0.0, 25.0, 50.0, 75.0, 100.0, 103.0), (25.0, 52.0, 53.0, 75.0, 99.0, 140.0)


# Rates (h, z, c, k, protein) -> dh/dt, dz/dt, written anew; numbers of the sets as plain floats, which are fast.
Rates = Callable[[float, float, float, Constants, float], tuple[float, float]]


def circuit_rates() -> Rates:
    """Fig. 8 and Eq. 4: currents over the capacitor between the rails, a recovery that ends."""
    p = ParameterSet.load("stc_synapse:listing_a").resolved()
    up, down = float(p.i_tail_p / p.c_h), float(p.i_tail_d / p.c_h)
    theta_p, theta_d, top = float(p.i_th_p), float(p.i_th_d), float(p.v_dd)

    def rates(h: float, z: float, c: float, k: Constants, protein: float) -> tuple[float, float]:
        if c > theta_d:  # the tail currents are 4000 times the recovery's, which the closed form leaves out beside them
            rate = (up if c > theta_p else 0.0) - down
        else:
            rate = -k.rate_down if h > k.h0 else k.rate_up if h < k.h0 else 0.0
        if (h >= top and rate > 0.0) or (h <= 0.0 and rate < 0.0):
            rate = 0.0
        return rate, late_rate(h, z, k, protein)

    return rates


def equation_rates() -> Rates:
    """Eqs. 3 and 4."""
    p = ParameterSet.load("stc_equations:literature").resolved()
    h0, tau, top, up, down = (float(p[name]) for name in ("h0", "tau_h", "h_max", "gamma_p", "gamma_d"))
    theta_p, theta_d = float(p.theta_p), float(p.theta_d)

    def rates(h: float, z: float, c: float, k: Constants, protein: float) -> tuple[float, float]:
        rate = 0.1 * (h0 - h) + up * (top - h) * (c > theta_p) - down * h * (c > theta_d)
        return rate / tau, late_rate(h, z, k, protein)

    return rates


def late_rate(h: float, z: float, k: Constants, protein: float) -> float:
    gained = (k.z_max - z) * (h - k.h0 > k.theta_tag)
    return protein * k.consolidation * (gained - (z - k.z_min) * (k.h0 - h > k.theta_tag))


def events(scale: float) -> list[tuple[float, str]]:
    spikes = [(t, "pre") for t in PRE for _ in range(round(scale))] + [(t, "post") for t in POST]
    return sorted((1e-3 * t, what) for t, what in spikes)


def closed_form(k: Constants, h: float, *, until: float, scale: float = 1.0) -> tuple[float, float, float]:
    rule, c, z, now = laws(), k.c_rest, 0.0, 0.0
    for t, what in events(scale):
        c, h, z = rule.advance(c, h, z, k.consolidation, t - now, k)
        c, now = (rule.on_pre if what == "pre" else rule.on_post)(c, k), t
    c, h, z = rule.advance(c, h, z, k.consolidation, until - now, k)
    return float(c), float(h), float(z)


@pytest.mark.parametrize(
    ("law", "rates", "start", "scale"),
    [
        ("circuit", circuit_rates, 0.9, 1.0),
        ("circuit", circuit_rates, 1.75, 1.0),
        ("circuit", circuit_rates, 0.03, 1.0),
        ("circuit", circuit_rates, 0.93, 1.0),
        ("equations", equation_rates, 4.20075e-3, 6.0),
        ("equations", equation_rates, 9.5e-3, 3.0),
    ],
)
def test_closed_form_is_fine_integration(law: str, rates: Callable[[], Rates], start: float, scale: float) -> None:
    k, dt, until, rate_of = synapse(StcSettings(law=law)), 1e-5, 0.2, rates()
    c, h, z, left = k.c_rest, start, 0.0, events(scale)
    for n in range(round(until / dt)):
        while left and left[0][0] < (n + 0.5) * dt:
            c += k.c_pre if left.pop(0)[1] == "pre" else k.c_post
        # the middle of the step decides on which side of a threshold it lies
        middle = k.c_rest + (c - k.c_rest) * math.exp(-dt / 2 / k.tau_c)
        dh, dz = rate_of(h, z, middle, k, 1.0)
        h, z = h + dt * dh, z + dt * dz
        c = k.c_rest + (c - k.c_rest) * math.exp(-dt / k.tau_c)
    found = closed_form(k, start, until=until, scale=scale)
    fastest = max(k.rate_p * (1.0 if law == "circuit" else k.high), k.rate_down)
    # Euler is off by at most half a step at each of two edges per event, at the fastest rate, and by its own O(dt)
    assert found[1] == pytest.approx(h, abs=fastest * dt * (len(events(scale)) + 2))
    assert abs(found[1] - start) > 20 * fastest * dt  # something has happened
    assert found[2] == pytest.approx(z, abs=k.consolidation * dt * (len(events(scale)) + 2))
    assert found[0] == pytest.approx(c, rel=1e-9)


@pytest.mark.parametrize("law", ["equations", "circuit"])
def test_a_rest_cut_in_two_is_the_same_rest(law: str) -> None:
    """It is a flow: synapses may be brought up to date as often as anybody likes."""
    k, rng = synapse(StcSettings(law=law)), np.random.default_rng(4)
    n = 4000
    c = k.c_rest + rng.uniform(0.0, 3.0, n) * (k.theta_p - k.c_rest)
    h, z = rng.uniform(k.low, k.high, n), rng.uniform(k.z_min, k.z_max, n)
    first, second = 10.0 ** rng.uniform(-4, 3, (2, n))
    advance = laws().advance
    once = advance(c, h, z, k.consolidation, first + second, k)
    twice = advance(*advance(c, h, z, k.consolidation, first, k), k.consolidation, second, k)
    for one, two, scale in zip(once, twice, (k.theta_p, k.high, 1.0), strict=True):
        np.testing.assert_allclose(one, two, rtol=0, atol=1e-11 * scale)  # rounding, over exponents up to 1e5


@pytest.mark.parametrize("lift", [0.0, 0.3, -0.4])
def test_reduced_law_follows_the_fitted_model(lift: float) -> None:
    """The tables take each spike for one after a rest; the fitted model (`stc_steps`) does not."""
    settings = StcSettings(law="reduced")
    k, p = synapse(settings), parameters(settings).resolved()
    dt, until = 1e-4, 0.2
    share = {
        name: stc_steps.spike_share(1e-3 * np.array(times), width=settings.width, dt=dt, steps=round(until / dt))
        for name, times in (("pre", PRE), ("post", POST))
    }
    start = float(p.h0) + lift
    x0 = settled(p).with_(h=start, protein=1.0)
    seen = stc_steps.run(p.with_(tau_z=360.0), dt=dt, **share, x0=x0, keep=("early", "late"))
    found = closed_form(k, start, until=until)
    moved = float(np.abs(np.diff(seen["early"])).sum())
    # 5 % of the way: pairs of spikes 1 to 4 ms apart share one comparator, which the tables start at rest each time
    assert found[1] == pytest.approx(float(seen["early"][-1]), abs=0.05 * moved)
    assert found[2] == pytest.approx(float(seen["late"][-1]), abs=0.1 * k.consolidation * until)


@pytest.mark.parametrize(
    ("law", "alone", "together", "error"),
    [
        # Eq. 6 above 25 pA (and 30 pA) with 10 pA (50 pA) on 1.2215 pF; 51 uV of recovery until the next spike
        ("circuit", -10 / 1.2215 * 4.88e-3 * math.log(15 / 12.5), None, 6e-5),
        # the transistor-level bench stc_rules: 7.2 mV down, 92 mV up; 5 % of a pair is what the fit misses of it
        ("reduced", -7.2e-3, 92e-3, 4.6e-3),
    ],
)
def test_a_spike_alone_depresses_and_a_pair_potentiates(
    law: str, alone: float, together: float | None, error: float
) -> None:
    k, rule = synapse(StcSettings(law=law)), laws()
    for kicks, wanted in (((rule.on_pre,), alone), ((rule.on_post,), alone), ((rule.on_pre, rule.on_post), together)):
        c = k.c_rest
        for kick in kicks:
            c = kick(c, k)
        moved = float(rule.advance(c, k.h0, 0.0, 0.0, 0.025, k)[1]) - k.h0
        if wanted is None:
            both = 4.88e-3 * math.log(30 / 17.5), 4.88e-3 * math.log(30 / 12.5)
            wanted = (50 * both[0] - 10 * both[1]) / 1.2215
        assert moved == pytest.approx(wanted, abs=error)
        assert (moved > 0.0) is (len(kicks) > 1)


def images(n: int = 240, *, classes: int = 4, side: int = 12, seed: int = 5) -> RateImages:
    """A bar at one of ``classes`` places, with noise; a third of them to test on."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % classes
    x = rng.uniform(0.0, 0.15, (n, classes, side // classes, side))
    x[np.arange(n), y] += rng.uniform(0.5, 0.84, (n, side // classes, side))
    flat, k = x.reshape(n, -1), 2 * n // 3
    return RateImages.of(ImageSet("bars", flat[:k], y[:k], flat[k:], y[k:], side))


def neurons(k: Constants) -> Neurons:
    """As the network's, with fewer pixels to drive it."""
    settings = StcSettings()
    made = settings.neurons(k)
    return made._replace(jump=8.0 * made.jump)


def shown(which: str, law: str, *, plastic: bool, gated: bool) -> tuple[Any, ...]:
    k, task = synapse(StcSettings(law=law)), images(36)
    memory = begin(task.train.shape[1], np.full(4, 0.01), k, c=k.c_rest, h=k.h0, z=0.0)
    spikes, charge, taught = np.zeros((24, 4), np.int64), np.zeros((24, 4)), np.zeros(24, bool)
    own = task.train_y[:, None] == np.arange(4)
    teacher = np.where(own, 0.02, -1.0) if plastic else np.zeros((24, 4))
    one: Backend = backend(which)
    one.present(task.train, teacher, trains(6, 150), 350, plastic, gated, memory, neurons(k), k, spikes, charge, taught)
    rest(memory, 10_000, neurons(k), k)
    return memory, spikes, charge, taught


@pytest.mark.needs("numba")
@pytest.mark.parametrize("law", CLOSED)
@pytest.mark.parametrize(("plastic", "gated"), [(True, False), (True, True), (False, False)])
def test_numba_and_numpy_are_one_network(law: str, plastic: bool, gated: bool) -> None:
    first, second = (shown(which, law, plastic=plastic, gated=gated) for which in ("numpy", "numba"))
    assert first[1 if plastic else 2].sum() > 0
    np.testing.assert_array_equal(first[1], second[1])
    np.testing.assert_array_equal(first[3], second[3])
    np.testing.assert_allclose(first[2], second[2], rtol=1e-10)  # sums in another order
    for name, one in first[0]._asdict().items():
        np.testing.assert_allclose(one, getattr(second[0], name), rtol=1e-9, atol=1e-15, err_msg=name)
    if gated:
        assert 0 < first[3].sum() < 24


def test_what_is_off_does_not_change() -> None:
    memory, _, _, _ = shown("numpy", "circuit", plastic=False, gated=False)
    assert np.all(memory.h == 0.9)
    assert np.all(memory.z == 0.0)


def test_protein_needs_the_sum_over_the_synapses() -> None:
    """Eq. 5: no synapse alone has changed by θ_pro, all of them together have; without protein, no late phase."""
    base = synapse(StcSettings())
    for threshold, captured in ((3.0, True), (1e3, False)):
        k = base._replace(theta_pro=threshold)
        memory = begin(144, np.full(2, 0.01), k, c=k.c_rest, h=k.h0, z=0.0)
        counts = np.full((1, 144), 6, dtype=np.uint8)
        backend("numpy").present(
            counts, np.array([[0.02, -1.0]]), trains(6, 150), 350, True, False, memory, neurons(k), k,
            np.zeros((1, 2), np.int64), np.zeros((1, 2)), np.zeros(1, bool),
        )  # fmt: skip
        rest(memory, 1000, neurons(k), k)
        assert np.abs(memory.h - k.h0).max() < 3.0
        assert bool(memory.protein[0]) is captured
        assert bool(np.any(memory.z != 0.0)) is captured


@pytest.mark.parametrize("which", ["numpy", pytest.param("numba", marks=pytest.mark.needs("numba"))])
def test_protein_does_not_act_before_it_is_there(which: str) -> None:
    """A synapse that was tagged and silent for 100 s when others latch the protein has consolidated for one image."""
    k = synapse(StcSettings())._replace(theta_pro=3.0, rate_down=1e-6, rate_up=1e-6)  # the tag stands
    memory = begin(145, np.full(1, 0.01), k, c=k.c_rest, h=k.h0, z=0.0)
    memory.h[0, 144] = k.h0 + 2.0 * k.theta_tag
    memory.total[0] = 2.0 * k.theta_tag
    memory.now[0] = 100_000
    memory.last[0, :144] = 100_000
    counts = np.full((1, 145), 6, dtype=np.uint8)
    counts[0, 144] = 0
    backend(which).present(
        counts, np.array([[0.02]]), trains(6, 150), 350, True, False, memory, neurons(k), k,
        np.zeros((1, 1), np.int64), np.zeros((1, 1)), np.zeros(1, bool),
    )  # fmt: skip
    rest(memory, 0, neurons(k), k)
    assert memory.protein[0] == 1.0
    assert 0.0 < memory.z[0, 144] <= k.z_max * -np.expm1(-0.35 * k.consolidation)


# --- on the core of all networks ----------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["numpy", pytest.param("numba", marks=pytest.mark.needs("numba"))])
@pytest.mark.parametrize("law", ["circuit", "equations"])
def test_rule_on_the_core_is_the_closed_form(law: str, which: str) -> None:
    k, rule = synapse(StcSettings(law=law)), laws()
    # in the equations a neuron has to spike often to potentiate
    speeds = {"pre": np.array([1.0, 0.5, 0.3]), "post": np.array([0.8, 0.1]) * (1.0 if law == "circuit" else 6.0)}
    pixels, layer = (
        net.Population(name, speeds[name].size, net.Regular(), net.Rate(rate=60.0)) for name in ("pre", "post")
    )
    # the weights are to be seen, and to change no spike
    joint = net.Projection("pre", "post", net.Ideal(-1.0, 10.0), np.ones((3, 2)), rule=Tagging(k, every=1), gain=1e-12)
    simulation = net.Simulation(net.Graph((pixels, layer), (joint,)), backend=which)
    simulation.run({name: speed[None, :] for name, speed in speeds.items()}, steps=300, key=1)
    found = simulation.state()

    phase = {name: np.zeros(speed.size) for name, speed in speeds.items()}
    c, h, z, at = np.full((3, 2), k.c_rest), np.full((3, 2), k.h0), np.zeros((3, 2)), np.zeros((3, 2))
    since, changed = np.full(2, np.inf), np.zeros(2)
    for t in range(300):
        for name, speed in speeds.items():
            phase[name] += 0.06 * speed
        fired = {name: value > 1.0 - 1e-9 for name, value in phase.items()}
        for name, which_fired in fired.items():
            phase[name] -= which_fired
            mask = np.broadcast_to(which_fired[:, None] if name == "pre" else which_fired, (3, 2))
            within = np.minimum(np.maximum(t - since, 0.0), t - at)
            half = rule.advance(c, h, z, 0.0, 1e-3 * (t - at - within), k)
            after = rule.advance(*half, k.consolidation, 1e-3 * within, k)
            c = np.where(mask, after[0] + (k.c_pre if name == "pre" else k.c_post), c)
            h, z, at = np.where(mask, after[1], h), np.where(mask, after[2], z), np.where(mask, t, at)
        since = np.where((changed > k.theta_pro) & (since > t), t, since)
        changed = rule.changed(h, k).sum(axis=0)
    assert since.max() < 300.0 or law == "equations"
    assert np.abs(h - k.h0).max() > 0.1 * k.h0
    for name, one in (("own_h", h - k.h0), ("own_z", z), ("own_x", c - k.c_rest), ("cell_w", (h + k.h0 * z) / k.h0)):
        np.testing.assert_allclose(
            found[f"pre_to_post.{name}"], one, rtol=1e-9, atol=1e-15 if name == "own_x" else 1e-12
        )


def test_rule_on_the_core_has_no_tables() -> None:
    with pytest.raises(InputError, match="law circuit or equations"):
        Tagging(synapse(StcSettings(law="reduced")))


# --- the listing --------------------------------------------------------------------------------------------------


def listed(which: str, mends: tuple[str, ...] = (), *, count: int = 6) -> tuple[stc_listing.Learned, Any]:
    settings = StcSettings(law="listing", mends=mends, acceleration=32.0)
    k, unit = listing(settings)
    task = images(60)
    run = stc_listing.train_numpy if which == "numpy" else stc_listing.train_compiled()
    unit = unit._replace(threshold=10.0)  # of 144 pixels
    return run(task.train[:count], task.train_y[:count] % 2, trains(6, 150), 350, 2, k, unit), k


@pytest.mark.needs("numba")
@pytest.mark.parametrize("mends", [(), tuple(stc_listing.MENDS)])
def test_listing_in_numba_is_the_listing_in_numpy(mends: tuple[str, ...]) -> None:
    (first, _), (second, _) = (listed(which, mends, count=3) for which in ("numpy", "numba"))
    np.testing.assert_array_equal(first.spikes, second.spikes)
    np.testing.assert_allclose(first.h, second.h, rtol=1e-12)
    np.testing.assert_allclose(first.z, second.z, atol=1e-14)


def test_a_synapse_of_the_listing_is_the_source_script() -> None:
    """`stc_steps.script` has listing A's equations for one synapse."""
    p, steps, rng = ParameterSet.load("stc_synapse:listing_a").resolved(), 2000, np.random.default_rng(3)
    pre, post = (1.0 * (rng.random(steps) < share) for share in (0.04, 0.06))
    k, _ = listing(StcSettings(law="listing", acceleration=32.0, mends=("rest",)))
    seen = stc_steps.script(p, dt=1e-3, pre=pre, post=post, steps_of={"pre": k.kick_pre, "post": k.kick_post})
    c, h, z, made = k.rest, k.h0, 0.0, 0.0
    for a, b in zip(pre, post, strict=True):
        c, h = stc_listing.early_step(c, h, a, b, k)
        z, made = stc_listing.late_step(h, z, made, 0.0, k)
    assert float(h) == pytest.approx(seen["early"][-1], rel=1e-12)
    assert float(z) == pytest.approx(seen["late"][-1], rel=1e-12)
    assert abs(h - k.h0) > 0.5


@pytest.mark.parametrize("mend", stc_listing.MENDS)
def test_every_mend_changes_what_it_says(mend: str) -> None:
    (printed, k), (mended, _) = listed("numpy"), listed("numpy", (mend,))
    h, z = (float(np.abs(getattr(printed, name) - getattr(mended, name)).max()) for name in ("h", "z"))
    assert max(h, z) > 0.0 or mend in ("protein", "rails")
    if mend == "rails":  # too few images to get there
        near = np.array([1.79]), 0.0, 0.0
        other, _ = listing(StcSettings(law="listing", mends=("rails",), acceleration=32.0))
        assert stc_listing.early_step(1e-9, *near, k)[1] > 1.8 == stc_listing.early_step(1e-9, *near, other)[1]
    if mend == "depression":
        assert printed.z.min() == 0.0 > mended.z.min()
    if mend == "drive":
        assert printed.spikes.sum() > mended.spikes.sum()
    if mend == "protein":  # a synapse that has moved by a volt has its own; Eq. 5 gives it to one that has not
        small = np.zeros(3), np.zeros(3)
        _, alone = stc_listing.late_step(k.h0 + np.array([0.0, 0.005, 0.02]), *small, 1.0, k)
        _, summed = stc_listing.late_step(k.h0 + np.array([0.0, 0.005, 0.02]), *small, 1.0, k._replace(per_synapse=0))
        assert (alone.tolist(), summed.tolist()) == ([0.0, 0.0, 1.0], [1.0, 1.0, 1.0])


def test_pixels_spike_as_the_listing_counts_them() -> None:
    """But for a third and two thirds of 255: the listing's product of doubles falls just short of 2 and 4."""
    value = np.arange(256)
    printed = np.array([int((v / 255) * 40 * 150 * 0.001) for v in value.tolist()])
    for x in (value / 255, (value / 255).astype(np.float32)):
        found = spike_counts(x, rate=40.0, shown=0.15)
        assert np.flatnonzero(found != printed).tolist() == [85, 170]
        assert (found[[85, 170]].tolist(), printed[[85, 170]].tolist()) == ([2, 4], [1, 3])
    fires = trains(6, 150)
    for n in range(1, 7):
        assert np.flatnonzero(fires[n]).tolist() == [i * (150 // n) for i in range(n)]


# --- the network --------------------------------------------------------------------------------------------------


def bars(**changes: Any) -> DigitTask:
    return replace(DigitTask(images(), digits=(0, 1, 2, 3), train=100, test=60, choice=40), **changes)


@pytest.mark.parametrize("law", CLOSED)
def test_bars_are_told_apart_in_both_phases(law: str) -> None:
    result = run_network(StcSystem(stc_preset(2, law).with_(stimulus=2e-9 if law != "equations" else 1e-8), bars()))
    assert result.mean > 0.9
    seed = result.seeds[0].values
    assert seed.accuracy_early > 0.9
    assert seed.late["plastic"] is not None
    assert seed.early_phase_left < 0.0101  # `pause`
    described = result.to_dict()["phases"]
    assert described["late"]["mean"] == result.mean
    assert any("late" in line for line in result.lines())


def test_listing_runs_as_a_system() -> None:
    result = run_network(StcSystem(StcSettings(law="listing"), bars(train=12)))
    assert set(result.to_dict()["phases"]) == {"early"}
    assert 0.0 <= result.mean <= 1.0


def test_a_run_that_was_stopped_goes_on_to_the_same_numbers() -> None:
    system = StcSystem(stc_preset(10), bars(train=0, choice=40))
    whole, first = (system.start(Streams(1)) for _ in range(2))
    assert whole.draw.train.size == 160
    batches = [slice(0, 80), slice(80, 160)]
    for network, stop in ((whole, False), (first, True)):
        for number, part in enumerate(batches):
            chosen = network.draw.train[part]
            own = system.task.neuron_of(system.task.images.train_y[chosen])[:, None] == np.arange(4)
            network._present(
                system.task.images.train[chosen], np.where(own, 0.01, -1.0), network.memory, plastic=True, gated=True
            )
            if stop and number == 0:
                again = system.start(Streams(1))
                again.restore(network.state())
                network = again
        first = network if stop else first
    for name, one in whole.state().items():
        np.testing.assert_array_equal(one, first.state()[name], err_msg=name)


def test_a_silent_image_has_no_answer() -> None:
    assert answers(np.array([[0, 0], [0, 2], [3, 3]])).tolist() == [-1, 1, 0]


def test_a_network_is_another_with_another_set_or_other_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every law takes `StcSettings.width` from listing A, and tables come from `cosim.fitting.stc`."""
    before, load = StcSystem(StcSettings(law="equations"), bars()).fingerprint, ParameterSet.load
    changed = load("stc_synapse:published")
    monkeypatch.setattr(ParameterSet, "load", lambda name: changed if name == "stc_synapse:listing_a" else load(name))
    assert StcSystem(StcSettings(law="equations"), bars()).fingerprint != before
    systems = origin.PACKAGE / "network" / "systems"
    assert origin.PACKAGE / "fitting" / "stc.py" in origin._reached({systems / "stc.py"})


SMALL = images(24)
BAD: list[tuple[str, Callable[[], Any], type[InputError], str]] = [
    ("a digit that is not there", lambda: bars(digits=(0, 7)), InputError, "no image of 7"),
    ("one digit", lambda: bars(digits=(1,)), InputError, "at least two different digits"),
    ("no neurons", lambda: bars(digits=()), InputError, "at least two different digits"),
    ("a digit twice", lambda: bars(digits=(1, 1)), InputError, "at least two different digits"),
    ("too many images", lambda: bars(train=1000), InputError, "1000 images to train on"),
    (
        "images of two sizes",
        lambda: replace(SMALL, test=SMALL.test[:, :100]),
        InputError,
        "144 pixels and tested on images of 100",
    ),
    ("labels that do not match", lambda: replace(SMALL, train_y=SMALL.train_y[:3]), InputError, "3 labels"),
    ("rows that do not fit", lambda: replace(SMALL, side=7), InputError, "rows of 7"),
    ("pixels beyond one", lambda: spike_counts(np.array([0.0, 2.0]), rate=40.0, shown=0.15), InputError, "0..1"),
    ("too many spikes", lambda: spike_counts(np.zeros(2), rate=1e4, shown=0.15), InputError, "1500 spikes"),
    ("an unknown law", lambda: StcSettings(law="circit"), UnknownName, "did you mean circuit"),
    ("an unknown mend", lambda: listing(StcSettings(law="listing", mends=("rail",))), UnknownName, "rails"),
    ("a mend of nothing", lambda: StcSettings(mends=("rails",)), InputError, "nothing to mend"),
    ("a listing that is taught otherwise", lambda: StcSettings(law="listing", tails=0.1), InputError, "circuit"),
    ("thresholds the wrong way round", lambda: stc_constants.circuit(
        ParameterSet.load("stc_synapse:listing_a").resolved(i_th_d=40e-12), width=1e-3), InputError, "in that order"),
    ("a leak beyond the recovery", lambda: stc_constants.reduced(
        ParameterSet.load("stc_synapse:transistor_network").resolved(i_low_d=1e-13), width=1e-3), InputError, "leak"),
    ("a set without an image of a class", lambda: StcSystem(
        StcSettings(), bars(train=2, choice=2)).start(Streams(0)), InputError, "draws to train on show no"),
    ("a listing in other steps", lambda: StcSettings(law="listing", dt=5e-4), InputError, "time step is 0.001 s"),
    *((f"{name} without a number", partial(StcSettings, **{name: math.nan}), InputError, f"{name} has to be a finite")
      for name in ("tails", "acceleration", "gap", "stimulus", "tau_m", "late_after", "spike")),
    ("half a time step", lambda: StcSettings(shown=0.1505), InputError, "time shown is 150.5 ms, which is not a whole"),
    ("images of another rate", lambda: StcSystem(
        StcSettings(rate=400.0), bars()), InputError, "spike at 40 Hz for 0.15 s, the network expects 400 Hz"),
    ("nobody fires", lambda: run_network(
        StcSystem(StcSettings(stimulus=1e-12), bars())), InputError, "no output neuron has fired"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "error", "says"), [pytest.param(*entry[1:], id=entry[0]) for entry in BAD])
def test_bad_input_is_said(make: Callable[[], Any], error: type[InputError], says: str) -> None:
    with pytest.raises(error, match=says):
        make()


def test_the_network_of_digits_imports_nothing_large() -> None:
    """What its memory rests on: of 60 000 images in 300 MB each of these would take a part."""
    code = (
        "import sys, cosim; from cosim.data import datasets; from cosim.network.systems.stc import StcSystem; "
        "print(*({'scipy', 'xarray', 'pandas', 'pyarrow', 'pooch', 'matplotlib', 'numba'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == []
