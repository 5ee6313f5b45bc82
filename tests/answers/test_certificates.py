"""What a certificate says: errors, the simulator's own, prediction intervals, density, rests, and what it refuses."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from claims.exports_subjects import SUBJECTS
from claims.surrogates_cells import Loop
from cosim import units
from cosim.bench.testbench import Testbench
from cosim.cli.app import main
from cosim.devices.base import Values
from cosim.devices.maps import ENERGY, EventMap
from cosim.engines.simulator import Simulator
from cosim.errors import DomainError, FitError, InputError, UnknownName
from cosim.parameters import ParameterSet, Quantity
from cosim.surrogate import files, pulse_kernel
from cosim.surrogate.active import FIRST_EVENTS, Budget, learn_actively
from cosim.surrogate.answers import rests
from cosim.surrogate.base import Certificate, kind_of, read_limits
from cosim.surrogate.bench_reference import BenchReference
from cosim.surrogate.certify import certify
from cosim.surrogate.conformal import LEVELS, Band, half_width, width_after
from cosim.surrogate.density import covered_share, drawn_share, near_enough
from cosim.surrogate.learned import fit
from cosim.surrogate.model import Surrogate
from cosim.surrogate.references import EVENT, Equations
from cosim.surrogate.train import correct, load_samples, save_samples, train
from cosim.surrogate.trains import random_inputs

TIO2 = ParameterSet.load("tio2")
CELL = Surrogate(TIO2)
ROLLOUTS = 60


class Scalar(Loop):
    """A circuit that differs from the rate law; ``loose``: its own error at the tolerances used."""

    @property
    def tolerances(self) -> dict[str, float]:
        return {"reltol": 1e-3 if self.loose else 1e-4}

    def tightened(self) -> Scalar:
        return Scalar()


@pytest.fixture(scope="module")
def long() -> tuple[Surrogate, Surrogate, object]:
    """Two certificates of one surrogate from different seeds, with free runs, and the second's held-out events."""
    first, _ = certify(CELL, Scalar(), pulses=400, rollouts=ROLLOUTS)
    second, held = certify(CELL, Scalar(), pulses=400, rollouts=ROLLOUTS, seed=7)
    return first, second, held


def test_errors_have_median_95_percent_and_worst() -> None:
    cell, held = certify(CELL, Scalar(), pulses=300)
    error = np.abs(held["w_surrogate"] - held["w"])
    found = cell.certificate.errors["w"]
    assert (found.median, found.p95, found.max) == tuple(float(np.quantile(error, q)) for q in (0.5, 0.95, 1.0))
    shown = "\n".join(cell.certificate.lines())
    assert f"w           median {100 * found.median:.3g} %, 95 % {100 * found.p95:.3g} %, worst" in shown
    assert "of 200 µS (behaviour)" in shown
    assert "(energy)" in shown
    assert Certificate.from_dict(cell.certificate.to_dict()) == cell.certificate


def test_the_simulators_own_error_stands_beside_them() -> None:
    found = certify(CELL, Scalar(loose=1e-3), pulses=300)[0].certificate
    assert found.simulator["w"].max == pytest.approx(1e-3)
    assert found.tightened.startswith(
        "its own error by 20 of the events again at reltol 0.0001, in trains of at most 5"
    )
    assert "the simulator's own error: worst 0.1 %, rms 0.1 %" in "\n".join(found.lines())
    sharp = certify(CELL, Equations(), pulses=60)[0].certificate
    assert 0.0 < sharp.simulator["w"].max < 1e-5


def test_a_reference_that_cannot_be_asked_again_is_named() -> None:
    class Once:
        engine, tolerances, device, independent = "once", {}, None, False
        netlist, subject, respond = Scalar.netlist, Scalar.subject, Scalar.respond
        loose = 0.0

    found = certify(CELL, Once(), pulses=100)[0].certificate
    assert not found.simulator
    assert found.tightened == "its own error is missing: once is not asked at other tolerances"


def test_the_error_of_the_extraction_follows_from_standard_errors() -> None:
    bare = certify(CELL, Scalar(), pulses=100)[0].certificate
    assert bare.carried == "tio2 states no standard errors: the error of its extraction is missing"
    values = {**TIO2.values, "g_max": Quantity(float(TIO2.resolved().g_max), stderr=2e-6)}
    stated = Surrogate(ParameterSet(TIO2.device, "mine", values))
    found = certify(stated, Scalar(), pulses=100)[0].certificate
    # the conductance is proportional to g_max, of which 2 µS is 1 %; the state does not know it
    assert found.extracted["conductance"].max_percent == pytest.approx(1.0, rel=0.05)
    assert found.extracted["w"].max == 0.0
    assert "standard errors of g_max of mine, without their correlations" in found.carried


def test_what_was_learned_beside_the_parameters_is_no_error_of_them() -> None:
    rng = np.random.default_rng(4)
    fields = {"w": rng.random(400), "amplitude": rng.uniform(-2.4, 2.4, 400)}
    remainder = {"w": 0.02 * np.sin(5.0 * fields["w"] + fields["amplitude"])}
    law = fit(fields, remainder, scales={"w": 1.0}, rng=rng, kinds=("polynomial",)).law
    values = {**TIO2.values, "alpha_p": Quantity(float(TIO2.resolved().alpha_p), stderr=1e-3)}
    plain = Surrogate(ParameterSet(TIO2.device, "mine", values))
    alone, beside = (certify(one, Scalar(), pulses=100)[0].certificate for one in (plain, plain.with_(learned=law)))
    assert alone.extracted["w"].max > 0.0
    # the remainder does not know the parameters, and moves the states that they act on by little
    assert beside.extracted["w"].max == pytest.approx(alone.extracted["w"].max, rel=0.5)


@pytest.mark.parametrize(
    ("name", "unit", "kind"),
    [
        ("w", "1", "state"),
        ("w at rest", "1", "state"),
        ("g", "S", "behaviour"),
        ("e", "J", "energy"),
        ("t", "s", "latency"),
    ],
)
def test_kinds_of_errors(name: str, unit: str, kind: str) -> None:
    assert kind_of(name, unit, states=["w"]) == kind


def test_an_output_that_is_a_time_has_the_limit_of_a_latency() -> None:
    from cosim.devices.maps import Field

    found = read_limits({}, states=["w"], outputs={"delay": Field("s"), "spent": Field("J"), "g": Field("S")})
    assert (found["delay"], found["spent"], found["g"]) == (0.08, 0.07, 0.01)


# -- prediction intervals ----------------------------------------------------------------------------------------------


@pytest.mark.needs("crepes")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(
    "count", [20, 57, 100, 1234]
)  # (n + 1) times the level is no whole number, where crepes rounds
def test_half_widths_are_those_of_crepes(count: int, level: float, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KMP_DUPLICATE_LIB_OK", "KMP_INIT_AT_FORK"):  # which its imports leave behind
        monkeypatch.setenv(name, "TRUE")
    crepes = pytest.importorskip("crepes")
    residuals = np.random.default_rng(count).standard_normal(count)
    ours = half_width(np.abs(residuals), level)
    if math.isinf(ours):
        assert count < level / (1.0 - level) - 1e-9
        return
    model = crepes.ConformalRegressor().fit(residuals)
    low, high = model.predict_int(y_hat=np.zeros(1), confidence=level)[0]
    assert (-low, high) == pytest.approx((ours, ours), rel=1e-12)


def test_half_widths_in_closed_form() -> None:
    assert half_width(np.arange(1.0, 20.0), 0.95) == 19.0  # ⌈20 · 0.95⌉ = 19 of 19
    assert half_width(np.arange(1.0, 19.0), 0.95) == math.inf
    assert half_width(np.arange(1.0, 100.0), 0.95) == 95.0


def test_coverage_on_fresh_free_runs(long) -> None:
    first, second, held = long
    assert [band.events for band in first.certificate.bands] == [1, 10, 100, 1000]
    for band in first.certificate.bands:
        # 1 %, or two standard deviations of two samples of that size where that is more: fresh and calibrated runs
        runs = held.after[band.events]["w"].size
        room = max(0.01, 2.0 * math.sqrt(0.95 * 0.05 * (1.0 / runs + 1.0 / band.runs)))
        for name, share in band.covered(held.after[band.events]).items():
            assert abs(share - 0.95) <= room, (band.events, name, share, room)
    assert [band.runs for band in first.certificate.bands][2:] == [2 + 10 * ROLLOUTS, ROLLOUTS]
    assert second.certificate.bands != first.certificate.bands


def test_an_interval_lies_around_the_answer(long) -> None:
    cell = long[0]
    after, outputs = cell.step(Values({"w": np.array([0.3, 0.999])}), Values({"amplitude": -2.0}))
    low, high = cell.interval(after)
    width = width_after(cell.certificate.bands, "w", events=1, level=0.95)
    assert float(after.w[0] - low.w[0]) == pytest.approx(width)
    assert high.w[1] == 1.0  # a state keeps its bounds
    wide = cell.interval(outputs, events=50, level=0.99)
    assert np.all(wide[1].energy - wide[0].energy > 0.0)
    widths = [width_after(cell.certificate.bands, "w", events=n, level=0.95) for n in (10, 50, 100)]
    assert widths[1] == max(widths[0], widths[2])


@pytest.mark.parametrize(
    ("words", "kind", "sentence"),
    [
        (
            {"events": 2000},
            InputError,
            "has no interval of w after 2000 events, only after 1, 10, 100, 1000; certify with",
        ),
        ({"events": 0}, InputError, "no interval of w after 0 events"),
        ({"level": 0.9501}, InputError, "the level 0.9501 was not calibrated; take one of 0.5, 0.9, 0.95, 0.99"),
    ],
)
def test_intervals_that_there_are_not(long, words: dict, kind: type, sentence: str) -> None:
    with pytest.raises(kind) as error:
        long[0].interval(Values({"w": 0.5}), **words)
    assert sentence in str(error.value)


def test_too_few_runs_give_no_interval() -> None:
    few = Band.of({"w": np.linspace(-1.0, 1.0, 20)}, events=10)
    assert len(few.widths["w"]) == 3
    with pytest.raises(InputError, match=r"20 held-out runs do not determine a 99 % interval of w after 10 events"):
        width_after([few], "w", events=10, level=0.99)
    with pytest.raises(InputError, match="without a certificate has no prediction intervals"):
        CELL.interval(Values({"w": 0.5}))
    with pytest.raises(UnknownName, match="unknown quantity 'q' of the surrogate"):
        certify(CELL, Scalar(), pulses=100)[0].interval(Values({"q": 0.5}))


# -- the domain --------------------------------------------------------------------------------------------------------


def test_coordinates_are_those_in_which_inputs_are_uniform() -> None:
    entry = CELL.map.inputs["amplitude"]
    drawn = random_inputs(entry, np.random.default_rng(0), count=40_000, name="amplitude", span=entry.range)
    share = np.sort(drawn_share(entry, entry.range, drawn))
    # Kolmogorov–Smirnov at 1 %: 1.63 / √n
    assert np.max(np.abs(share - np.linspace(0.0, 1.0, share.size))) < 1.63 / math.sqrt(share.size)


def test_the_certificate_says_which_share_of_the_box_was_tested() -> None:
    many = certify(CELL, Scalar(), pulses=1500)[0]
    few = certify(CELL, Scalar(), pulses=60)[0]
    assert many.certificate.domain.covered > 0.95
    assert few.certificate.domain.covered < 0.6
    assert f"{few.certificate.domain.covered:.1%} of this box" in "\n".join(few.certificate.lines())
    strict = certify(CELL, Scalar(), pulses=60, limits={"untested": 0.1})[0].certificate
    assert strict.broken[-1].startswith("untested: ")
    assert strict.broken[-1].endswith(" % of the domain, limit 10 %")
    # where one was tested, in the joint of state and input
    found = many.covered(Values({"w": np.array([0.5, 0.5, 1.5])}), Values({"amplitude": np.array([-2.0, 9.0, 2.0])}))
    np.testing.assert_array_equal(found, [True, False, False])


def test_a_corner_that_no_event_saw_is_not_covered() -> None:
    rng = np.random.default_rng(1)
    points = rng.random((2000, 2))
    seen = points[~np.all(points > 0.5, axis=1)]  # each range whole, and a quarter of the joint empty
    assert covered_share(points) > 0.99
    assert 0.7 < covered_share(seen) < 0.95
    np.testing.assert_array_equal(near_enough(seen, np.array([[0.9, 0.9], [0.2, 0.2]])), [False, True])


def test_an_uncertified_surrogate_does_not_take_any_voltage() -> None:
    with pytest.raises(DomainError) as error:
        CELL.update(0.5, 50.0)
    assert str(error.value).startswith(
        "amplitude = 50 V is outside -12.2657..12.3596 V, 5 times what the map is meant for, and the surrogate has no "
        "certificate; certify a wider domain"
    )
    assert "\n" not in str(error.value)


# -- rests -------------------------------------------------------------------------------------------------------------


def test_a_rest_is_exact_where_states_decay_linearly() -> None:
    cell = Surrogate(ParameterSet.load("fast"), "spike")
    p = cell.parameters.resolved()
    x = Values({"m_fast": np.array([0.2, 0.1]), "m_slow": np.array([0.3, 0.0]), "w": np.array([0.4, 0.9])})
    taus = {"m_fast": float(p.tau_fast), "m_slow": float(p.tau_slow)}
    after = cell.rest(x, 2e-5)
    for name, tau in taus.items():
        np.testing.assert_allclose(after[name], x[name] * np.exp(-2e-5 / tau), rtol=1e-12)
    np.testing.assert_array_equal(after.w, x.w)
    twice = cell.rest(cell.rest(x, 1e-5), 1e-5)
    for name in taus:
        np.testing.assert_allclose(twice[name], after[name], rtol=1e-12)


def test_rests_are_certified_with_the_surrogate() -> None:
    cell = certify(Surrogate(ParameterSet.load("fast"), "spike"), Equations(), pulses=60)[0]
    assert cell.certificate.errors["m_slow at rest"].max_percent < 0.01
    assert cell.certificate.limits["m_slow at rest"] == 0.01
    spread = replace(cell.certificate.domain, parameters={"tau_slow": (0.9, 1.1)})
    assert rests(cell).endswith("with the errors at rest above")
    varied = cell.with_(certificate=replace(cell.certificate, domain=spread))
    assert rests(varied).endswith("with the errors at rest above, of nominal parameters alone")
    x = Values(dict.fromkeys(cell.map.states, 0.1))
    assert cell.rest(x, 1e-6).m_fast < 0.1
    with pytest.raises(DomainError, match="duration of a rest = 10 s is outside the certified 0"):
        cell.rest(x, 10.0)
    with pytest.raises(InputError, match="below zero"):
        cell.rest(x, -1.0)


def test_a_check_judges_rests_by_the_limits_of_the_file_and_by_those_that_are_given(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cell = certify(Surrogate(ParameterSet.load("fast"), "spike"), Equations(), pulses=30)[0]
    file = str(files.save(cell, tmp_path / "cell.npz"))
    longest = units.show(cell.rest_map.inputs["duration"].range[1], "s")
    assert main(["surrogate", "show", file]) == 0
    said = capsys.readouterr().out
    assert "m_slow at rest" in said
    assert f"rests       certified up to {longest}, with the errors at rest above" in said
    command = ["surrogate", "check", file, "--against", "integration", "--pulses", "30"]
    assert main([*command, "--json"]) == 0
    fresh = json.loads(capsys.readouterr().out)["check"]
    assert fresh["limits"]["m_slow at rest"] == 0.01
    least = fresh["errors"]["m_slow at rest"]["max"] / fresh["errors"]["m_slow at rest"]["full_scale"]
    assert main([*command, "--limit", f"m_slow at rest={0.5 * least:.3g}"]) == 1
    assert "m_slow at rest: " in capsys.readouterr().out


def test_a_limit_of_a_rest_that_nobody_measured_is_missed() -> None:
    cell = certify(CELL, Equations(), pulses=60, limits={"w at rest": 0.01})[0]
    assert cell.certificate.broken == ("w at rest: not measured, limit 1 %",)


def test_a_device_without_a_rest_map_keeps_its_states() -> None:
    np.testing.assert_array_equal(CELL.rest(Values({"w": [0.2, 0.4]}), 1e3).w, [0.2, 0.4])


def test_a_rest_of_a_filter_follows_its_law() -> None:
    (law,) = (one.plain() for one in SUBJECTS if one.name == "dpi filter")
    tau, (end, *_) = law.learned.tau, law.learned.ends
    cell = law.with_(learned=replace(law.learned, threshold=0.0))  # first order: an exponential
    x, t = np.array([2e-11, 4e-10]), np.array([1e-3, 3e-3])
    after = cell.rest(Values({"i": x}), t)
    np.testing.assert_allclose(after.i, end + (x - end) * np.exp(-t / tau), rtol=1e-9)
    np.testing.assert_allclose(law.rest(law.rest(Values({"i": x}), 1e-3), 2e-3).i, law.rest(Values({"i": x}), 3e-3).i)
    with pytest.raises(DomainError, match="interval = 1000 s is outside"):
        cell.rest(Values({"i": x}), 1e3)


def test_a_circuit_of_whose_rests_nothing_is_known_has_none() -> None:
    of = {one.name: one.plain() for one in SUBJECTS}
    clipped, neuron = of["clipped charge by polynomial"], of["lif neuron"]
    with pytest.raises(InputError, match="what the circuit clipped does between events was not learned; make the time"):
        clipped.rest(Values({"level": 0.1}), 1.0)
    with pytest.raises(InputError, match="the neuron lif has no rest by itself: its intervals begin with an input"):
        neuron.rest(Values({"v": 0.4, "u": 0.1, "n": 0.9, "phase": -1e-9}), 1.0)


# -- asking outside the domain -----------------------------------------------------------------------------------------


def test_what_the_reference_answered_becomes_training_samples(tmp_path: Path) -> None:
    cell = certify(CELL, Scalar(), pulses=100, ranges={"amplitude": (-1.8, 1.9)})[0]
    asking = cell.with_(policy="ask", reference=Scalar())
    asking.step(Values({"w": np.array([0.2, 0.5, 0.6])}), Values({"amplitude": np.array([-2.2, 1.0, 2.3])}))
    asking.update(0.5, -2.1)
    file = save_samples(tmp_path / "more.npz", asking.answers, asking.map)
    found = load_samples(file, asking.map)
    np.testing.assert_array_equal(found["amplitude"], [-2.2, 2.3, -2.1])
    np.testing.assert_array_equal(found["w_before"], [0.2, 0.6, 0.5])
    p = TIO2.resolved()
    assert found["w"].values[0] == pytest.approx(0.2 + 0.8**p.gamma_p * math.expm1(p.alpha_p * (2.2 - p.theta_p)))
    save_samples(file, asking.answers, asking.map)
    assert load_samples(file, asking.map).sizes[EVENT] == 6
    with pytest.raises(InputError, match="no samples to write"):
        save_samples(file, [], asking.map)


def test_one_name_for_what_happens_outside() -> None:
    with pytest.raises(UnknownName, match="unknown policy 'guess' outside the domain"):
        Surrogate(TIO2, policy="guess")
    with pytest.raises(InputError, match="policy='ask' needs a reference"):
        Surrogate(TIO2, policy="ask")


# -- learning ----------------------------------------------------------------------------------------------------------

ALLOWED = read_limits({}, states=CELL.map.states, outputs=CELL.map.outputs)


def test_learning_ends_where_the_limits_are_kept_or_the_budget_is_spent() -> None:
    loose = dict.fromkeys(ALLOWED, 1.0)
    _, samples, said = learn_actively(CELL, Scalar(), allowed=loose, budget=Budget(events=400))
    assert samples.sizes[EVENT] == FIRST_EVENTS + 20
    assert "80 events in" in said
    assert "the limits were kept by the last of them" in said
    _, samples, said = learn_actively(CELL, Scalar(), allowed=ALLOWED, budget=Budget(events=70))
    assert samples.sizes[EVENT] == 70
    assert "60 in trains of 5 begun at points of a Latin hypercube and 10 where the error was largest: " in said
    assert ": the budget was spent, with the last" in said
    assert learn_actively(CELL, Scalar(), allowed=ALLOWED, budget=Budget(seconds=1e-9))[1].sizes[EVENT] == FIRST_EVENTS
    # on events that neither has seen
    made = learn_actively(CELL, Scalar(), allowed=ALLOWED, budget=Budget(events=400))[0]
    plain, better = (certify(one, Scalar(), pulses=300, seed=5)[0].certificate.errors["w"] for one in (CELL, made))
    assert better.p95 < 0.01 < 0.1 < plain.p95


class Bent(Scalar):
    """The device's own equations, but for one corner in which nothing moves."""

    def respond(self, parameters: ParameterSet, event_map: EventMap, events: xr.Dataset) -> xr.Dataset:
        w, path, own = float(events["w_before"]), [], Surrogate(parameters)
        for v in events["amplitude"].values.tolist():
            w = w if w < 0.3 and v < -2.0 else float(own.update(w, v))
            path.append(w)
        found = super().respond(parameters, event_map, events)
        return found.assign(w=(EVENT, np.array(path)))


def test_samples_go_where_the_error_is_largest() -> None:
    limits = {**ALLOWED, "conductance": 1.0, "energy": 1.0}
    samples = learn_actively(CELL, Bent(), allowed=limits, budget=Budget(events=FIRST_EVENTS + 60))[1]
    chosen = samples.isel({EVENT: slice(FIRST_EVENTS, None)})
    near = (chosen["w_before"].values < 0.4) & (chosen["amplitude"].values < -1.8)
    assert np.mean(near) > 0.3  # the corner takes an eighth of the box


def test_samples_of_one_sign_tell_no_correction() -> None:
    cell, rng = Surrogate(ParameterSet.load("tio2")), np.random.default_rng(0)
    w, v = rng.uniform(0.1, 0.9, 300), rng.uniform(-2.2, -1.8, 300)
    after, outputs = cell.step(Values({"w": w}), Values({"amplitude": v}))
    columns = {"w_before": w, "amplitude": v, "w": after["w"], ENERGY: outputs[ENERGY]}
    data = xr.Dataset({name: (EVENT, values) for name, values in columns.items()})
    with pytest.raises(FitError, match="300 of them move a state, 0 with amplitude above zero and 300 below"):
        correct(cell, data, rng=rng)


def test_an_output_that_depends_on_nothing_is_refused() -> None:
    class Flat(Scalar):
        def respond(self, parameters: ParameterSet, event_map: EventMap, events: xr.Dataset) -> xr.Dataset:
            found = super().respond(parameters, event_map, events)
            return found.assign(energy=(EVENT, np.full(events.sizes[EVENT], 3e-12)))

    sentence = (
        "the output energy of the map pulse does not depend on any input or state: it was 3 pJ in all of 100 events"
    )
    with pytest.raises(InputError, match=sentence):
        certify(CELL, Flat(), pulses=100)
    with pytest.raises(InputError, match="in all of 60 events; leave it out"):
        learn_actively(CELL, Flat(), allowed=ALLOWED, budget=Budget(events=60))


# -- large arrays ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_results_go_into_given_arrays_and_threads_change_nothing(dtype: str) -> None:
    rng = np.random.default_rng(3)
    w, v = rng.random((400, 300)).astype(dtype), rng.uniform(-2.4, 2.4, (400, 1)).astype(dtype)
    cell = Surrogate(TIO2, dtype=dtype)
    answers = [cell.with_(threads=n).step(Values({"w": w}), Values({"amplitude": v})) for n in (1, 3)]
    state, energy = w.copy(), np.empty_like(w)
    after, outputs = cell.step(Values({"w": state}), Values({"amplitude": v}), out={"w": state, "energy": energy})
    assert np.shares_memory(after.w, state)
    assert np.shares_memory(outputs.energy, energy)
    for other in answers:
        np.testing.assert_array_equal(state, other[0].w)
        for name in ("energy", "conductance"):
            np.testing.assert_array_equal(outputs[name], other[1][name])
    with pytest.raises(InputError, match="the array for energy is float16 of shape"):
        cell.step(Values({"w": w}), Values({"amplitude": v}), out={"energy": energy.astype("float16")})
    with pytest.raises(UnknownName, match="quantity 'q'"):
        cell.step(Values({"w": w}), Values({"amplitude": v}), out={"q": energy})


def test_what_fails_in_a_thread_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("here")

    monkeypatch.setattr(pulse_kernel.PulseKernel, "law", broken)
    with pytest.raises(ZeroDivisionError, match="here"):
        CELL.with_(threads=2).update(np.full((400, 300), 0.5), np.full((400, 1), 2.0))


def test_no_threads_are_none() -> None:
    with pytest.raises(InputError, match="0 threads do no work; give 1 or more"):
        Surrogate(TIO2, threads=0)


def test_an_integrated_map_writes_into_given_arrays_too() -> None:
    cell = Surrogate(ParameterSet.load("vteam_2015"))
    x = np.full(3, 0.5)
    after, _ = cell.step(Values({"x": x}), Values({"amplitude": np.array([-0.2, 0.0, 0.1])}), out={"x": x})
    assert after.x is x
    np.testing.assert_array_equal(
        x, cell.advance(Values({"x": np.full(3, 0.5)}), Values({"amplitude": np.array([-0.2, 0.0, 0.1])})).x
    )


# -- files and the command line ----------------------------------------------------------------------------------------


def test_show_runs_nothing_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    cell, held = train(TIO2, Scalar(), pulses=100)
    files.save(cell, "cell.npz", held=held)
    assert main(["surrogate", "show", "cell.npz", "--figure", "f.png"]) == 1  # the rate law is not the published map
    said = capsys.readouterr().out
    assert "against     python, 100 held-out pulses" in said
    assert "intervals   95 % after 1 event (100 runs): w ±" in said
    assert "\nfails: w: " in said
    assert Path("f.png").stat().st_size > 10_000
    kept = files.load_held("cell.npz")
    np.testing.assert_array_equal(kept["w_surrogate"], held["w_surrogate"])
    assert kept.full_scale("w") == 1.0
    assert main(["surrogate", "show", "cell.npz", "--json"]) == 1
    assert Certificate.from_dict(json.loads(capsys.readouterr().out)) == cell.certificate
    files.save(cell, "bare.npz")
    assert main(["surrogate", "show", "bare.npz", "--figure", "f.png"]) == 2
    assert "bare.npz keeps no held-out events to draw; draw new ones" in capsys.readouterr().err
    files.save(CELL, "none.npz")
    assert main(["surrogate", "show", "none.npz"]) == 2
    assert "the surrogate in none.npz has no certificate to show; make it with" in capsys.readouterr().err


def test_a_certificate_of_another_version_and_a_pickle_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    now, old, new, pickled = files.VERSION, *(tmp_path / f"{name}.npz" for name in ("old", "new", "pickled"))
    for path, version in ((old, now - 1), (new, now + 1)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(files, "VERSION", version)
            files.save(CELL, path)
    np.savez(pickled, document=np.array([{"a": 1}], dtype=object))
    for path, sentence in (
        (
            old,
            f"the surrogate file has version {now - 1}, whose certificates lack what this cosim checks; make it again",
        ),
        (new, f"the surrogate file has version {now + 1}, this cosim reads up to {now}; use a newer cosim"),
        (pickled, "this surrogate file has Python objects (a pickle) in it, which could run code and are not read"),
    ):
        assert main(["surrogate", "show", str(path)]) == 2
        said = capsys.readouterr().err
        assert sentence in said
        assert said.count("\n") == 1


TRAIN = ("surrogate", "train", "--against", "integration", "--pulses", "60", "-o", "a.npz")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([*TRAIN, "--budget", "0 s"], "--budget 0 s leaves no time to work; give one above zero, e.g. '5 min'"),
        ([*TRAIN, "--budget", "5 V"], "5 V"),
        ([*TRAIN, "--budget", "5 min", "--samples", "s.npz"], "--samples and --budget exclude each other"),
        ([*TRAIN, "--keep", "s.npz"], "--keep without --learn or --budget keeps nothing; give one of them"),
        ([*TRAIN, "--rollouts", "-1"], "a certificate cannot have -1 free runs more; give 0 or more"),
        (["network", "run", "vdsp", "-o", "n", "--policy", "gess"], "unknown policy 'gess' outside the domain"),
        (["network", "run", "vdsp", "-o", "n", "--answers", "x.npz"], "--answers x.npz needs --policy ask"),
    ],
)
def test_bad_words(
    words: list[str], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert said.count("\n") == 1


def test_train_says_what_was_spent_and_check_what_is_covered(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([*TRAIN, "--budget", "5 min", "--keep", "kept.npz"]) == 0
    said = capsys.readouterr().out
    assert "of a Latin hypercube and 20 where the error was largest: the limits were kept" in said
    assert load_samples("kept.npz", CELL.map).sizes[EVENT] == FIRST_EVENTS + 20
    assert main(["surrogate", "check", "a.npz", "--against", "integration", "--pulses", "60"]) == 0
    assert "coverage    of the certificate's 95 % intervals after 1 event: w " in capsys.readouterr().out


STATELESS = """title = "a divider"
circuit = '''
V1 in 0 {v}
R1 in out 1k
R2 out 0 1k
'''
[parameters]
v = "0.1 V"
[analysis]
kind = "op"
[measures.half]
kind = "final"
of = "v(out)"
unit = "V"
[maps.read]
inputs.amplitude = { parameter = "v", range = ["-1 V", "1 V"] }
outputs.half = "half"
"""


def test_a_bench_without_named_states_is_refused(tmp_path: Path) -> None:
    (tmp_path / "divider.toml").write_text(STATELESS)
    reference = BenchReference(Testbench.load(tmp_path / "divider.toml"), Simulator.__new__(Simulator))
    with pytest.raises(InputError) as error:
        reference.found(CELL.map)
    assert "no map of bench divider names a state, and a surrogate follows states from event to event" in str(
        error.value
    )
    assert "write states.NAME = " in str(error.value)
