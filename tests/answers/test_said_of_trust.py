"""What is drawn and said of how far a result can be trusted: profiles, intervals, domains, shares of few images."""

import numpy as np
import pytest

import cosim
from cosim.data.recording import Curve
from cosim.devices.base import Values
from cosim.devices.registry import device
from cosim.errors import DomainError, InputError, UnknownName
from cosim.fitting.extract import extract
from cosim.fitting.forward import forward_for
from cosim.fitting.recipe import FitRecipe
from cosim.parameters import ParameterSet
from cosim.report.fit_page import profiles_figure
from cosim.surrogate.base import DomainWarning
from cosim.surrogate.files import save
from cosim.surrogate.references import Equations


def threshold_loop(start: float) -> Curve:
    """A loop of a threshold memristor with noise of 0.3 % of its range."""
    t = np.linspace(0.0, 2e-5, 201)
    v = 2.2 * np.interp(t / 2e-5, [0.0, 0.25, 0.75, 1.0], [0.0, 1.0, -1.0, 0.0])
    units = {"time": "s", "voltage": "V", "current": "A"}
    curve = Curve("loop", {"time": t, "voltage": v, "current": 0.0 * v}, units, {}, "loop")
    model = device("threshold_memristor")
    i = forward_for(model, curve, np.ones(t.size, dtype=bool)).predict(model.values({"w0": start}))
    return curve.with_measured(i + 3e-3 * np.ptp(i) * np.random.default_rng(4).standard_normal(t.size))


def test_a_profile_crosses_its_level_where_the_interval_ends():
    """What was held for the search stays where an interval does not owe itself to it: no flat lines on zero."""
    vary = ("theta_p", "theta_n", "g_max", "w0")
    recipe = FitRecipe.model_validate(
        {"name": "a", "device": "threshold_memristor", "data": {"kind": "loop"}, "fit": {"vary": vary}}
    )
    found = extract(recipe, threshold_loop(0.3), loose=("gamma_n", "alpha_n"))
    known = [name for name in vary if found.verdict[name].status == "identifiable"]
    assert len(known) == 3
    figure, left = profiles_figure(found)
    assert figure is not None
    assert not left
    drawn = dict(zip((row.name for row in found.rows() if row.stderr), figure.axes, strict=False))
    for name in known:
        x, rise = next(line.get_xydata() for line in drawn[name].lines if line.get_marker() == "o").T
        middle = len(x) // 2
        distance = (x / x[middle] - 1.0) * float(found.values[name]) / found.uncertainty.stderr(name)
        assert rise[middle] < 0.05
        assert rise == pytest.approx(distance**2, rel=0.2, abs=0.1), name


@pytest.fixture(scope="module")
def cell() -> cosim.Surrogate:
    return cosim.train(ParameterSet.load("tio2"), Equations(), pulses=100)[0]


def test_an_interval_is_for_answers_from_within_the_domain(cell):
    extrapolating = cell.with_(policy="warn")
    with pytest.warns(DomainWarning, match="50 V is outside"):
        after, outputs = extrapolating.step(Values({"w": 0.5}), Values({"amplitude": 50.0}))
    with pytest.warns(DomainWarning, match=r"50 V is outside .* where no interval was calibrated"):
        extrapolating.interval(after)
    with pytest.warns(DomainWarning, match="where no interval was calibrated"):
        extrapolating.interval(outputs)
    for asked in (after, outputs):
        with pytest.raises(DomainError, match="where no interval was calibrated"):
            cell.interval(asked)
    later, _ = extrapolating.step(after, Values({"amplitude": 1.0}))  # it follows from what was outside
    with pytest.raises(DomainError, match="50 V"):
        cell.interval(later)


@pytest.mark.parametrize(("value", "said"), [(7.0, "state w = 7 is outside 0..1"), (np.nan, "state w is not finite")])
def test_an_impossible_state_has_no_interval(cell, value, said):
    with pytest.raises(DomainError, match=said):
        cell.interval(Values({"w": value}))


def test_intervals_within_the_domain_are_silent(cell):
    after, _ = cell.with_(policy="warn").step(Values({"w": 0.5}), Values({"amplitude": -2.0}))
    low, high = cell.interval(after)
    assert low.w < after.w < high.w


@pytest.mark.parametrize("ask", ["step", "advance", "update", "rest", "covered"])
def test_shapes_that_do_not_fit_are_named(cell, ask):
    state, inputs = Values({"w": np.full(3, 0.5)}), Values({"amplitude": np.ones(4)})
    call = {
        "update": lambda: cell.update(state.w, inputs.amplitude), "rest": lambda: cell.rest(state, np.ones(4)),
    }.get(ask, lambda: getattr(cell, ask)(state, inputs))  # fmt: skip
    other = "duration" if ask == "rest" else "amplitude"
    with pytest.raises(InputError, match=rf"do not broadcast with each other: w \(3,\), {other} \(4,\)"):
        call()


def test_a_surrogate_is_loaded_with_a_policy(cell, tmp_path):
    path = save(cell, tmp_path / "cell.npz")
    assert cosim.load_surrogate(path, policy="warn").policy == "warn"
    assert cosim.load_surrogate(path, policy="ask", reference=Equations()).reference is not None
    assert cosim.load_surrogate(path) == cell
    with pytest.raises(UnknownName, match="unknown policy"):
        cosim.load_surrogate(path, policy="never")  # type: ignore[arg-type]


def test_a_surrogate_says_what_it_is_in_a_line(cell):
    said = str(cell)
    assert said.startswith("surrogate of threshold_memristor tio2, map pulse: states within ")
    assert "amplitude -2.4" in said
    assert len(said) < 250
    assert str(cell.with_(certificate=None)) == "surrogate of threshold_memristor tio2, map pulse: not certified"
