"""What a fit says of curves that a laboratory gives, each kind with its right answer; and the tests behind it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from scipy.optimize import brentq

from claims.coverage import NumpyLab, noisy
from cosim.cli.app import main
from cosim.data.recording import Curve
from cosim.devices.base import Values
from cosim.devices.pulse import PulseShape, apply_pulse
from cosim.devices.registry import device
from cosim.errors import DataError, InputError
from cosim.fitting import residuals
from cosim.fitting.extract import extract
from cosim.fitting.plateau import found, most_likely
from cosim.fitting.process import FilteredTrain
from cosim.fitting.published import unusual
from cosim.fitting.recipe import FitRecipe

DEVICE = device("threshold_memristor")
TRUTH = DEVICE.values(
    {"theta_p": 1.1, "theta_n": 1.2, "alpha_p": 0.8, "alpha_n": 0.9, "gamma_p": 1.5, "gamma_n": 1.4, "ratio": 9.0,
     "g_max": 120e-6, "w0": 0.4}
)  # fmt: skip
NINE = ("theta_p", "theta_n", "alpha_p", "alpha_n", "gamma_p", "gamma_n", "g_max", "ratio", "w0")
RAMP = ("high", "strength_p", "gamma_p")
ACCESS = device("access_transistor").values({"g_on": 4e-3, "v_sat": 2.0, "v_c": 2.5})
SWEEP = np.concatenate([np.linspace(-1.5, 1.5, 80), np.linspace(1.5, -1.5, 80)])


def train(*, read: float = 0.02, step: float = 0.0, seed: int = 0, n: int = 300) -> Curve:
    """A seeded train: ``step`` is the variation of each step over the step, ``read`` the noise of a read over G_max."""
    rng = np.random.default_rng(seed)
    v = rng.uniform(0.0, 2.4, n) * rng.choice([-1.0, 1.0], n)
    w, reads = float(TRUTH.w0), []
    for amplitude in v:
        after = float(apply_pulse(DEVICE, TRUTH, v=amplitude, w=w, shape=PulseShape())[0])
        w = float(np.clip(w + (after - w) * (1.0 + step * rng.standard_normal()), 0.0, 1.0))
        reads.append(float(DEVICE.conductance(Values({"w": w}), TRUTH)))
    y = np.array(reads) + read * TRUTH.g_max * rng.standard_normal(n)
    return Curve.pulse_train(v, y, v_read=0.2, shape=PulseShape())


def ramps(course: Any, *, noise: float, count: int = 4) -> Curve:
    rng, n = np.random.default_rng(1), np.arange(60.0)
    made = [course(n) + noise * rng.standard_normal(60) for _ in range(count)]
    return Curve.equal_pulses(made, polarity=[1] * count)


def sweep(*, noise: float = 2e-6, offset: float = 0.0) -> Curve:
    current = device("access_transistor").current(SWEEP, ACCESS)
    return Curve.i_v(SWEEP, current + offset + noise * np.random.default_rng(2).standard_normal(SWEEP.size))


def clipped(curve: Curve, share: float) -> Curve:
    limit = share * float(np.abs(curve.measured).max())
    return curve.with_measured(np.clip(curve.measured, -limit, limit))


def noise_of(curve: Curve) -> Curve:
    """The same input, and reads that have nothing to do with it."""
    low, high = float(curve.measured.min()), float(curve.measured.max())
    return curve.with_measured(np.random.default_rng(3).uniform(low, high, len(curve)))


@dataclass(frozen=True)
class Answer:
    """A curve, and what has to be said of it.

    ``truth``: values that intervals and claims are held against; ``identifiable``: whether any parameter may be called
    so; ``said``: parts of the verdict, ``unsaid``: what must not be.
    """

    curve: Curve
    vary: tuple[str, ...]
    device: str = "threshold_memristor"
    white: bool = True
    useful: bool = True
    identifiable: bool = True
    said: tuple[str, ...] = ()
    unsaid: tuple[str, ...] = ()
    truth: Any = None
    more: dict[str, Any] = field(default_factory=dict)


FALLING = ramps(lambda n: 1e-4 * (0.2 + np.exp(-n / 25.0)), noise=2e-7)
RISING = ramps(lambda n: 1e-4 * (1.2 - np.exp(-n / 20.0)), noise=5e-7)
UNITS = train(seed=4)
NOISE = "explains no more than a constant"
DEPARTS = ("does not describe what was measured; parameter errors are not to be trusted", "are not noise")
ANSWERS = {
    "read noise alone": Answer(
        train(), NINE, truth=TRUTH, said=("the residuals are noise",), unsaid=("check the unit",)),
    "nothing but noise": Answer(
        noise_of(train()), NINE, useful=False, white=False, identifiable=False, said=(NOISE,),
        unsaid=("residuals are noise",)),
    "nothing but noise, in ramps": Answer(
        ramps(lambda n: 1e-4 + 0.0 * n, noise=1e-6), RAMP, useful=False, white=False, identifiable=False,
        said=(NOISE,)),
    "nothing but noise, static": Answer(
        noise_of(sweep()), tuple(ACCESS)[:3], "access_transistor", useful=False, white=False, identifiable=False,
        said=(NOISE,)),
    "ramps of their own polarity": Answer(RISING, RAMP, said=("the residuals are noise",)),
    "residuals of one sign": Answer(
        sweep(offset=3e-5), ("g_on",), "access_transistor", white=False, identifiable=False,
        said=(*DEPARTS, "1 would be if the model were right", "mean -", "repeated rows scatter"),
        more={"start": {"values": {"v_sat": 2.0, "v_c": 2.5}}}),
    "reads at the compliance": Answer(
        clipped(train(seed=5), 0.6), NINE, truth=TRUTH, said=("values equal", "the largest of the curve (rows ")),
    "currents at the compliance, both ways": Answer(
        clipped(sweep(), 0.3), ("g_on", "v_sat", "v_c"), "access_transistor", truth=ACCESS,
        said=("the largest of the curve", "the smallest of the curve")),
    "a stated compliance": Answer(
        clipped(sweep(), 0.6), ("g_on", "v_sat", "v_c"), "access_transistor", truth=ACCESS,
        said=("at the stated compliance",), unsaid=('write data.compliance = "none"',),
        more={"data": {"compliance": 0.6 * float(np.abs(sweep().measured).max())}}),
    "equal values that are the device's": Answer(
        clipped(sweep(), 0.6), ("g_on", "v_sat", "v_c"), "access_transistor", white=False, identifiable=False,
        said=DEPARTS, unsaid=("taken as clipped",), more={"data": {"compliance": "none"}}),
    "a curve without noise that saturates": Answer(
        NumpyLab("threshold_memristor", TRUTH.with_(gamma_n=0.5), noise=0.0).clean(np.repeat([-2.0, 2.4], 40)),
        ("theta_p", "alpha_n"), said=("exactly",), unsaid=("clipped",),
        more={"start": {"values": {**dict(TRUTH), "gamma_n": 0.5, "theta_p": 1.0}}}),
    "steps that vary": Answer(
        train(read=0.01, step=0.3, seed=6), NINE, truth=TRUTH, identifiable=False,
        said=("the steps vary from pulse to pulse", 'write noise.step = "fit"', "each read is predicted")),
    "steps that vary, as the recipe says": Answer(
        train(read=0.01, step=0.3, seed=6), NINE, truth=TRUTH, more={"noise": {"step": "fit"}},
        said=("the steps vary from pulse to pulse",), unsaid=("a wrong law",)),
    "steps that vary, and are not to be looked for": Answer(
        train(read=0.01, step=0.3, seed=6), NINE, white=False, identifiable=False, said=DEPARTS,
        more={"noise": {"step": 0.0}}),
    "a unit a thousand times too large": Answer(
        UNITS.with_measured(1e3 * UNITS.measured), NINE,
        said=("times the largest published value (200 µS", "check the unit")),
    "too few points to tell noise": Answer(
        Curve.i_v([0.0, 0.1, 0.2, 0.3, 0.4, 0.5], [0.0, 0.401e-3, 0.78e-3, 1.15e-3, 1.5e-3, 1.83e-3]),
        ("g_on",), "access_transistor", said=("too few to say whether they are noise",),
        unsaid=("residuals are noise",)),
}  # fmt: skip


def recipe(answer: Answer) -> FitRecipe:
    more = dict(answer.more)
    data = {"kind": answer.curve.kind, **more.pop("data", {})}
    return FitRecipe.model_validate(
        {"name": "t", "device": answer.device, "data": data, "fit": {"vary": answer.vary}, **more}
    )


@pytest.mark.parametrize("case", ANSWERS)
def test_the_verdict(case):
    answer = ANSWERS[case]
    result = extract(recipe(answer), answer.curve)
    verdict = result.verdict
    text = " | ".join([verdict.summary, *verdict.sentences()])
    assert verdict.residuals.white == answer.white, text
    assert verdict.useful == answer.useful, text
    named = [entry.name for entry in verdict.parameters if entry.status == "identifiable"]
    assert bool(named) == answer.identifiable, text
    for part in answer.said:
        assert part in text
    for part in answer.unsaid:
        assert part not in text
    if answer.truth is not None:
        for entry in verdict.parameters:
            low, high = entry.interval
            assert not low > answer.truth[entry.name], (entry.name, text)
            assert not high < answer.truth[entry.name], (entry.name, text)
    if not answer.useful:
        assert all(row.stderr is None for row in result.rows())
        assert all(quantity.stderr is None for quantity in result.parameter_set().values.values())


def test_ramps_of_the_other_polarity_are_refused():
    answer = Answer(FALLING, RAMP)
    with pytest.raises(DataError, match="write polarity = -1"):
        extract(recipe(answer), answer.curve)


def test_a_fit_that_explains_nothing_has_exit_code_1(tmp_path, capsys):
    curve = noise_of(train(n=120))
    rows = "\n".join(f"{v:.6g},{g:.6g}" for v, g in zip(curve["amplitude"], curve["read"], strict=True))
    (tmp_path / "noise.csv").write_text(f"V (V),G (S)\n{rows}\n")
    (tmp_path / "noise.toml").write_text(
        'name = "n"\ndevice = "threshold_memristor"\n[data]\nkind = "pulse train"\nfile = "noise.csv"\n'
        'columns.amplitude = { name = "V" }\ncolumns.read = { name = "G" }\n'
        'conditions = { v_read = "0.2 V", width = "200 ns", rise = "5 ns", fall = "5 ns" }\n'
        '[fit]\nvary = ["theta_p", "theta_n", "g_max"]\n'
    )
    asked = ["fit", str(tmp_path / "noise.toml"), "-o", str(tmp_path / "set.toml")]
    assert main(asked) == 1
    assert "0 of 3 parameters identifiable: the law explains no more than a constant" in capsys.readouterr().out
    assert not (tmp_path / "set.toml").exists()
    assert main([*asked, "--undetermined"]) == 1
    assert "stderr" not in (tmp_path / "set.toml").read_text()


def test_a_compliance_that_nothing_reaches_is_refused():
    answer = Answer(sweep(), ("g_on",), "access_transistor", more={"data": {"compliance": "1 A"}})
    with pytest.raises(InputError, match=r"no value reaches data.compliance = 1 A \(the largest is 0.00"):
        extract(recipe(answer), answer.curve)


def test_a_compliance_in_ampere_limits_a_read_at_v_read():
    curve = clipped(train(seed=5), 0.6)
    limit = 0.2 * float(curve.measured.max())
    answer = Answer(curve, NINE, more={"data": {"compliance": f"{limit!r} A"}})
    assert extract(recipe(answer), curve).clipped.sum() == (curve.measured == curve.measured.max()).sum()


@pytest.mark.parametrize("seed", [105, 109, 116])
def test_clipped_reads_do_not_mislead_the_start(seed):
    """Equal reads look like a state that does not move: the threshold of the start came out near zero, out of reach.

    Of 25 such trains 93 % of the intervals hold the truth.
    """
    result = extract(recipe(Answer(train(), NINE)), clipped(train(seed=seed), 0.6))
    for entry in result.verdict.parameters:
        low, high = entry.interval
        assert low <= TRUTH[entry.name] <= high, entry


@pytest.mark.parametrize(
    ("values", "rows"),
    [
        ([1.0, 2.0, 5.0, 5.0, 5.0, 3.0], 3),
        ([1.0, 2.0, 5.0, 5.0, 3.0], 0),  # two may be chance
        ([1.0, 2.0, 2.0, 3.0, 3.0, 5.0, 5.0, 5.0], 0),  # a coarse converter
        ([0.0, 0.0, 0.0, 2.0, 3.0, 5.0], 0),  # an off state
        ([2.0, 2.0, 2.0, 3.0, 5.0], 3),
        ([5.0, 5.0, 5.0], 0),
    ],
)
def test_equal_values_at_an_end(values, rows):
    at = np.arange(len(values), dtype=float)
    plateau = found(Curve.i_v(at, values))
    assert (0 if plateau is None else plateau.rows.sum()) == rows
    if rows:
        assert found(Curve.i_v(np.round(at / 99.0), values)) is None  # the same voltage: rows that repeat each other


def test_the_published_sets_of_a_cell_are_its_memristor_s():
    cell = device("cell_1t1r")
    assert unusual(cell, {"g_max": 100e-6, "theta_p": 1.0, "ratio": 1e4}) == []
    assert "times below the smallest" in unusual(cell, {"g_max": 1e-9})[0]
    assert "theta_p = 900 V is 628 times the largest" in unusual(cell, {"theta_p": 900.0})[0]
    (alone,) = unusual(device("yakopcic"), {"a1": 400e-6})  # one set says nothing of how far devices lie apart
    assert "times below the only published value" in alone
    assert "check the unit if this one should be like it" in alone


@pytest.mark.parametrize("n", [60, 200])
def test_a_parameter_without_effect_has_its_bounds_and_its_start(n):
    """Pulses of one polarity: the search had moved alpha_p to a bound, and doubted the unit of the column for it."""
    rng = np.random.default_rng(0)
    clean = NumpyLab("threshold_memristor", TRUTH, noise=0.0).clean(rng.uniform(0.0, 2.4, n))
    curve = clean.with_measured(clean.measured + 1e-6 * rng.standard_normal(n))
    result = extract(recipe(Answer(curve, ("theta_p", "alpha_p", "g_max", "theta_n", "alpha_n", "gamma_n"))), curve)
    text = " | ".join(result.verdict.sentences())
    for name in ("theta_p", "alpha_p"):
        entry = result.verdict[name]
        assert (entry.status, entry.source) == ("not identifiable", "bounds")
        assert entry.interval == result.bounds[name]
        assert result.values[name] == DEVICE.defaults()[name]
        assert f"{name} has no effect on what was measured: any value within its bounds fits; fix it" in text
    assert "check the unit" not in text
    assert result.verdict["theta_n"].interval[1] < 2.0


# --- the tests behind it ----------------------------------------------------------------------------------------


def quantile(n: int, regressors: int, *, upper: bool) -> float:
    """The 5 % point of d whose regressors give its upper or lower limit: the difference matrix's own vectors."""
    vectors = np.cos(np.pi * np.outer(np.arange(n) + 0.5, np.arange(n)) / n)
    vectors /= np.linalg.norm(vectors, axis=0)
    columns = [0, *(range(1, regressors + 1) if upper else range(n - regressors, n))]
    others = np.setdiff1d(np.arange(n), columns)
    # d of a mixture of the first and the last vector that is left runs through all values between their own.
    ends = vectors[:, [others[0], others[-1]]]

    def excess(angle: float) -> float:
        d, chance = residuals.durbin_watson(
            ends @ [np.cos(angle), np.sin(angle)], group=np.zeros(n, dtype=np.int64), basis=vectors[:, columns]
        )
        reached.append(d)
        return chance - 0.1  # two-sided

    reached: list[float] = []
    brentq(excess, 1e-3, 0.5 * np.arccos(-0.0))
    return reached[-1]


@pytest.mark.parametrize(
    ("n", "regressors", "lower", "upper"),
    # Savin & White, Econometrica 45, 1989 (1977), table II: 5 %, an intercept and so many regressors
    [
        (15, 1, 1.077, 1.361),
        (20, 1, 1.201, 1.411),
        (25, 2, 1.206, 1.550),
        (30, 3, 1.214, 1.650),
        (100, 5, 1.571, 1.780),
    ],
)
def test_durbin_watson_against_its_published_table(n, regressors, lower, upper):
    # the beta approximation is good to half a percent
    assert quantile(n, regressors, upper=False) == pytest.approx(lower, abs=0.006)
    assert quantile(n, regressors, upper=True) == pytest.approx(upper, abs=0.006)


def test_ljung_box_is_chi_square_at_its_statistic():
    """One lag by hand: r = 1/4 of 40 values gives Q = 40·42·r²/39."""
    from scipy.stats import chi2

    x = np.random.default_rng(0).standard_normal(40)
    r = float(x[1:] @ x[:-1]) / float(x @ x)
    one = residuals.ljung_box(x, group=np.zeros(40, dtype=np.int64), lags=1)
    assert one == pytest.approx(chi2.sf(40 * 42 * r**2 / 39, 1))
    # a cycle of five rows has no correlation to its neighbours that is worth mentioning, and much to the fifth
    cycle = np.tile([1.0, -1.0, 1.0, 1.0, -2.0], 20) + 0.3 * np.random.default_rng(1).standard_normal(100)
    assert residuals.ljung_box(cycle, group=np.zeros(100, dtype=np.int64)) < 1e-6


@pytest.mark.parametrize(("n", "parameters"), [(24, 9), (60, 9), (200, 4)])
def test_noise_is_called_structured_once_in_hundreds(n, parameters):
    """Each test stands at a chance of 1e-3; together they may raise a false alarm in 1 % of fits at most."""
    x = np.arange(n) / n
    jacobian = np.polynomial.legendre.legvander(2.0 * x - 1.0, parameters - 1).T
    basis = np.linalg.qr(jacobian.T)[0]
    order = (residuals.Order("pulse", np.arange(n), np.zeros(n, dtype=np.int64)),)
    alarms = 0
    for seed in range(400):
        e = np.random.default_rng(seed).standard_normal(n)
        e -= basis @ (basis.T @ e)
        y = 20 * x + e
        check = residuals.check_residuals(e, jacobian, orders=order, measured=y, null=y - y.mean())
        alarms += not check.white
    assert alarms <= 9  # of 400 at 1 %, 10 or more come up with a chance of 1 %


def test_lack_of_fit_against_repeated_rows():
    """Pure error by hand: pairs (1, 3), (2, 4), ... of means 2, 3, ...; six pairs, one parameter."""
    from scipy.stats import f

    first = np.arange(1.0, 7.0)
    residual = np.concatenate([first, first + 2.0])
    chance, scatter = residuals.lack_of_fit(residual, np.tile(np.arange(6), 2), parameters=1)
    pure = 6 * 2.0
    lack = float(residual @ residual) - pure
    assert scatter == pytest.approx(np.sqrt(pure / 6))
    assert chance == pytest.approx(f.sf((lack / 5) / (pure / 6), 5, 6))


def test_a_clipped_row_has_the_likelihood_of_what_lies_beyond():
    from scipy.stats import norm

    z = np.array([-3.0, -0.5, 0.0, 0.5, 30.0])
    for side in (1, -1):
        root, slope = most_likely(z, np.full(5, side))
        np.testing.assert_allclose(root**2, -2.0 * norm.logcdf(side * z), atol=1e-12)
        step = 1e-6
        up, down = (most_likely(z + s, np.full(5, side))[0] for s in (step, -step))
        np.testing.assert_allclose(slope, (up - down) / (2 * step), rtol=1e-5, atol=1e-9)


def test_a_filtered_train_s_derivatives_are_its_differences():
    curve = train(read=0.01, step=0.3, n=80)
    forward = FilteredTrain(DEVICE, curve, np.ones(80, dtype=bool), gain=np.linspace(0.2, 0.9, 80))
    names = ("theta_p", "gamma_n", "g_max", "ratio", "w0")
    read, derivatives = forward.linearise(TRUTH, names)
    np.testing.assert_allclose(forward.predict(TRUTH), read, rtol=1e-9)
    for name, row in zip(names, derivatives, strict=True):
        step = 1e-5 * TRUTH[name]
        up, down = (forward.predict(TRUTH.with_(**{name: TRUTH[name] + s})) for s in (step, -step))
        scale = float(np.abs(row).max())
        np.testing.assert_allclose(row, (up - down) / (2 * step), atol=1e-4 * scale)


def test_a_filter_that_uses_nothing_is_the_train_itself_and_sees_no_held_out_read():
    curve = train(n=60)
    rows = np.arange(60) < 40
    forward = FilteredTrain(DEVICE, curve, rows, gain=np.ones(60))
    spoilt = curve.with_measured(np.where(rows, curve.measured, 1e-6))
    other = FilteredTrain(DEVICE, spoilt, rows, gain=np.ones(60))
    np.testing.assert_array_equal(forward.predict(TRUTH), other.predict(TRUTH))
    blind = FilteredTrain(DEVICE, curve, rows, gain=np.zeros(60))
    clean = NumpyLab("threshold_memristor", TRUTH).clean(curve["amplitude"])
    np.testing.assert_allclose(blind.predict(TRUTH), clean.measured, rtol=1e-9)


def test_intervals_of_varying_steps_hold_the_truth():
    """Two seeds here; of 60 seeds of such a train 94 % of the intervals do."""
    held = total = 0
    for seed in range(10, 12):
        result = extract(recipe(Answer(train(), NINE)), train(read=0.01, step=0.3, seed=seed))
        assert result.spread is not None
        # a standard deviation from some 150 steps scatters by 6 %; at the ends of the range steps are cut short
        assert 0.2 < result.spread.step < 0.4
        for entry in result.verdict.parameters:
            if not np.isnan(entry.interval[0]):
                total += 1
                held += entry.interval[0] <= TRUTH[entry.name] <= entry.interval[1]
    assert total >= 16
    assert held >= total - 4  # of 18 at 94 %, five or more miss with a chance of 0.4 %


def test_intervals_of_varying_steps_and_clipped_reads_hold_the_truth():
    """One seed here; of 17, 96 % of the intervals do. With clipped reads left out those of g_max held it in 2 of 5."""
    curve = clipped(train(read=0.01, step=0.3, seed=100), 0.6)
    more = {"noise": {"step": "fit"}, "start": {"values": dict(TRUTH)}}
    result = extract(recipe(Answer(curve, ("theta_p", "theta_n", "g_max", "w0"), more=more)), curve)
    assert result.clipped.sum() > 50
    for entry in result.verdict.parameters:
        low, high = entry.interval
        assert low <= TRUTH[entry.name] <= high, entry


def test_read_noise_alone_is_not_taken_for_varying_steps():
    lab = noisy(NumpyLab("threshold_memristor", TRUTH).clean(train()["amplitude"]), sigma=0.01 * TRUTH.g_max)
    assert extract(recipe(Answer(train(), NINE)), lab(np.random.default_rng(0))).spread is None
