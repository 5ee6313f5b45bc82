"""What is drawn and said of how far a result can be trusted: profiles, intervals, domains, shares of few images."""

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import typer
import xarray as xr

import cosim
from cosim.cli.app import _warned, application, main, offered
from cosim.cli.surrogate_train import _refused_by_exports
from cosim.data.recording import Curve, Recording
from cosim.devices.base import Values
from cosim.devices.registry import device
from cosim.errors import DomainError, InputError, UnknownName
from cosim.fitting.extract import extract
from cosim.fitting.forward import forward_for
from cosim.fitting.forwards.pulse_ratio import RatioForward
from cosim.fitting.recipe import FitRecipe
from cosim.network.readout import known_to
from cosim.parameters import ParameterSet
from cosim.report import fit_figures
from cosim.report.fit_page import profiles_figure
from cosim.report.surrogate_figures import plot_growth
from cosim.surrogate import files
from cosim.surrogate.base import DomainWarning
from cosim.surrogate.certify import HeldOutEvents
from cosim.surrogate.files import save
from cosim.surrogate.learn import _Candidate
from cosim.surrogate.learned import fit
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
    assert after.extrapolated == outputs.extrapolated == later.extrapolated == 1
    with pytest.warns(DomainWarning, match="50 V is outside"):
        more, _ = extrapolating.step(later, Values({"amplitude": np.array([50.0, 1.0, -50.0])}))
    assert more.extrapolated == 3  # events of an instance
    rested = extrapolating.rest(after, 1e-3)
    for kept in (rested, extrapolating.advance(rested, Values({"amplitude": 1.0}))):
        assert (kept.extrapolated, kept.outside) == (1, after.outside)
    with pytest.warns(DomainWarning, match="50 V is outside"):
        assert extrapolating.advance(rested, Values({"amplitude": 50.0})).extrapolated == 2
    with pytest.raises(DomainError, match="50 V"):
        cell.interval(rested)


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


def held_out(*runs: tuple[list[float], list[float]]) -> HeldOutEvents:
    return HeldOutEvents(xr.Dataset(), tuple(np.array(run) for run in runs), None)


def test_no_error_is_drawn_as_none():
    """Zeros on a logarithmic axis are marks at its bottom and not lines down to some floor."""
    held = held_out(([0.5, 0.6, 0.7, 0.8], [0.5, 0.6, 0.701, 0.802]), ([0.1, 0.2, 0.3, 0.4], [0.101, 0.2, 0.301, 0.4]))
    ax = plot_growth(held)
    drawn = [line.get_ydata() for line in ax.lines if line.get_marker() == "."]
    assert len(drawn) == 2
    assert np.isnan(drawn[0][:2]).all()
    assert min(np.nanmin(y) for y in drawn) == pytest.approx(0.1)
    assert sum(len(line.get_xdata()) for line in ax.lines if line.get_marker() == "v") == 4
    assert ax.get_title() == "2 free runs; ▾ no error at all (4 pulses)"
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["run 1", "run 2"]


def test_a_pulse_ratio_is_drawn_by_its_law_and_labelled_whole():
    interval = np.array([0.01, 0.03, 0.1, 0.3, 1.0])
    blank = Recording(
        "paired pulses", {"interval": interval, "ratio": np.ones(5)}, {"interval": "s", "ratio": "1"}, {}, "pairs"
    )
    model = device("ecram")
    ratio = RatioForward(model, blank, np.ones(5, dtype=bool)).predict(model.values({}))
    noise = 1e-3 * np.random.default_rng(3).standard_normal(5)
    recipe = FitRecipe.model_validate(
        {"name": "p", "device": "ecram", "data": {"kind": "paired pulses"}, "fit": {"vary": ["tau_fast"]}}
    )
    found = extract(recipe, blank.with_measured(ratio + noise))
    ax = fit_figures.plot_fit(found)
    x, y = next(line.get_xydata() for line in ax.lines if line.get_label() == "fit").T
    assert x.size > 100
    assert y[np.isin(x, interval)] == pytest.approx(found.predicted)
    assert all(len(line) <= 40 for line in ax.get_ylabel().splitlines())
    assert ax.get_ylabel().replace("\n", " ") == "ratio of the second response to the first (normalised)"


def test_a_network_says_how_well_few_images_know_it():
    assert known_to(0.9, 10, classes=2) == "95 %: 59.6 .. 98.2 %, chance 50 %"
    assert known_to(0.85, 10_000, classes=10) == "95 %: 84.3 .. 85.7 %, chance 10 %"


def test_cells_that_begin_outside_the_domain_are_refused_at_the_start(cell):
    domain = replace(cell.certificate.domain, states={"w": (0.2, 0.6)})
    narrow = cell.with_(certificate=replace(cell.certificate, domain=domain))
    settings, _ = cosim.vdsp_preset("digits")
    task = cosim.ImageTask(cosim.load_images("digits").first(20))
    with pytest.raises(DomainError, match=r"begin with w from 0 to 1, and the surrogate is certified only from 0.2 to"):
        cosim.VdspSystem(settings, narrow, task)
    cosim.VdspSystem(settings, narrow.with_(policy="warn"), task)
    cosim.VdspSystem(settings.with_(w_init=(0.3, 0.5)), narrow, task)
    cosim.VdspSystem(settings, cell, task)


def commands(entry: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    yield path, entry
    for name, inner in getattr(entry, "commands", {}).items():
        yield from commands(inner, (*path, name))


def test_help_keeps_what_stands_in_brackets(capsys):
    verbs = [verb for verb in offered() if verb != "doctor"]
    plain = dict(commands(typer.main.get_command(application(verbs))))
    told = 0
    for path, entry in plain.items():
        texts = [entry.help or "", *(getattr(one, "help", "") or "" for one in entry.params)]
        wanted = {word for text in texts for word in re.findall(r"\[[^\]\n]*\]", text)}
        if not wanted:
            continue
        told += 1
        main([*path, "--help"])
        shown = re.sub(r"[\s│]+", "", capsys.readouterr().out)
        assert not {word for word in wanted if re.sub(r"\s+", "", word) not in shown}, path
    assert told >= 2


def candidate(name: str, rms: float, **more: Any) -> _Candidate:
    return _Candidate(name, {"w": rms}, lambda: None, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(("largest", "alone"), [(0.0029, True), (0.0071, False), (0.2, False)])
def test_physics_that_keeps_the_limits_needs_no_remainder(largest, alone):
    assert candidate("physics", largest / 3, largest={"w": largest}).keeps({"w": 0.01}) is alone
    assert not candidate("learned", 1e-5).keeps({"w": 0.01})


def test_training_says_which_exports_refuse_its_law(cell):
    x = np.random.default_rng(2).uniform(size=(2, 200))
    law = fit(
        {"w": x[0], "amplitude": x[1]}, {"w": np.floor(4.0 * x[0])}, scales={"w": 1.0}, kinds=("trees",),
        rng=np.random.default_rng(1), ranges={"w": (0.0, 1.0), "amplitude": (0.0, 1.0)},
    ).law  # fmt: skip
    said = _refused_by_exports(cell.with_(learned=law))
    assert said.startswith("SPICE, Verilog-A, Brian2 and PyTorch do not take a law of trees (")
    assert said.endswith("; export it to numpy, or train it with --law polynomial or --law spline")
    assert not _refused_by_exports(cell)


def test_a_file_of_another_version_is_told_in_a_line(cell, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "__version__", "0.0.7")
    files.save(cell, tmp_path / "cell.npz")
    monkeypatch.undo()
    with pytest.warns(
        files.OtherVersionWarning, match=r"was made by cosim 0.0.7, and this is .* surrogate check"
    ) as said:
        files.load(tmp_path / "cell.npz")
    assert _warned(said[0].message, said[0].category, "file.py", 1) == f"cosim: note: {said[0].message}\n"
    assert "file.py:1: UserWarning: x" in _warned("x", UserWarning, "file.py", 1)
