"""What a curve leaves open is said: an interval that physics closes, or that spans decades, determines nothing."""

from __future__ import annotations

import numpy as np
import pytest

from claims.coverage_rows import CLIPPER, row
from cosim.emit.expr import Node, hoisted
from cosim.emit.numba import assignments
from cosim.fitting.extract import extract
from cosim.fitting.forwards.loop import COARSE, LEAST_SEEN, MOVED, LoopForward
from cosim.fitting.forwards.step_table import StepForward
from cosim.fitting.recipe import FitRecipe


@pytest.mark.parametrize(
    ("name", "seed", "parameter", "said"),
    [
        # an estimate far above the truth was "known to 0.89 of its value", from 3.2e-9 to 9.3e-8
        (CLIPPER, 7, "i_s1", "i_s1 is not determined by these data: any value from 3."),
        # 0 to 0.98 of a state that physics has between 0 and 1 was "known to 0.84 of its usual size"
        ("growing noise", 2, "w0", "w0: the curve only says that it is below 0.9"),
        ("growing noise", 0, "w0", "w0: the curve only says that it is above 0.0"),
    ],
)
def test_a_lucky_draw_determines_no_more_than_others(name, seed, parameter, said):
    one = row(name)
    entry = extract(one.recipe, one.lab(np.random.default_rng(seed))).verdict[parameter]
    assert entry.status == "not identifiable"
    assert entry.reason.startswith(said)
    assert entry.source == "profile likelihood"


def test_a_short_interval_at_a_physical_limit_is_one():
    """The state of a train that begins at its lower end is known though the end is closed by physics."""
    one = row("300 pulses")
    rng = np.random.default_rng(0)
    found = extract(one.recipe, one.lab(rng))
    assert found.verdict["w0"].status != "not identifiable"


def test_steps_of_a_loop_are_small_against_its_noise():
    """An integration error that the current's range hides still bends chi-square where the noise is small."""
    recipe = FitRecipe.load("filament_loop")
    curve = recipe.curve()
    rows = np.ones(len(curve), dtype=bool)
    forward = recipe.forward_of(curve, rows, recipe.ramps)
    assert isinstance(forward, LoopForward)
    p, span = recipe.model.defaults().with_(x0=0.9), float(np.ptp(curve.measured))
    here = forward._in(8)
    halved = here._halved(p)
    worst = float(np.max(np.abs(halved))) / span
    assert LEAST_SEEN < worst < COARSE
    quiet = np.full(len(curve), float(np.linalg.norm(halved)) / MOVED)
    assert here.finer(p, noise=1.01 * quiet) is None
    finer = here.finer(p, noise=0.2 * quiet)
    assert finer is not None
    assert np.linalg.norm(finer._halved(p)) < np.linalg.norm(halved)


def test_a_loop_does_not_jump_where_a_step_passes_a_kink():
    """A threshold had an interval of 8e-5 V, a fiftieth of the right one: between two columns of its difference the
    state of one step passed the end of a window, and the prediction jumped.
    """
    one = row("yakopcic_loop")
    found = extract(one.recipe, one.lab(np.random.default_rng(149)))
    low, high = found.verdict["v_p"].interval
    assert 4e-3 < high - low < 1.2e-2
    here, p = found.forward, found.values
    slopes = [
        np.linalg.norm(here.predict(p.with_(v_p=p.v_p + e)) - here.predict(p.with_(v_p=p.v_p - e))) / e
        for e in (1e-7, 1e-6, 1e-5, 1e-4)
    ]
    assert max(slopes) < 1.5 * min(slopes)


@pytest.mark.needs("numba")
def test_events_of_a_table_are_compiled_to_what_numpy_integrates():
    recipe = FitRecipe.load("virtual_lab/thermal_steps")
    curve = recipe.curve().select(np.arange(72) % 6 == 0)
    forward = recipe.forward_of(curve, np.ones(len(curve), dtype=bool), recipe.ramps)
    assert isinstance(forward, StepForward)
    assert forward._texts is not None
    p = recipe.model.defaults()
    reads, slopes = forward.linearise(p, recipe.fit.vary)
    forward._texts, forward._last = None, None
    also, those = forward.linearise(p, recipe.fit.vary)
    assert np.max(np.abs(reads - also)) < 5e-5 * np.ptp(also)
    for name, one, other in zip(recipe.fit.vary, slopes, those, strict=True):
        assert np.max(np.abs(one - other)) <= 5e-3 * np.max(np.abs(other)), name


def test_what_depends_on_parameters_alone_is_taken_out():
    v, q = Node("name", "v"), Node("name", "q[0]")
    scale = np.exp(q) * 2.0
    graph = np.where((q > 1.0) & (v > 0.0), scale * v, scale - v)
    kept, rest = hoisted({"out": graph}, {"q[0]"}, lambda k: f"q[{1 + k}]")
    assert len(kept) == 2  # the scale, and the condition as 1 or 0
    first, found = assignments(kept)
    then, end = assignments(rest)
    assert not any("exp" in line for line in then)
    for value, volts in ((0.5, 1.0), (1.5, 1.0), (1.5, -1.0)):
        space = {"q": [value, 0.0, 0.0], "v": volts, "math": __import__("math")}
        exec("\n".join([*first, *(f"{target} = {text}" for target, text in found.items()), *then]), space)
        wanted = 2.0 * np.exp(value) * volts if value > 1.0 and volts > 0.0 else 2.0 * np.exp(value) - volts
        assert eval(end["out"], space) == pytest.approx(wanted, rel=1e-15)
