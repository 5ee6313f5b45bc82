"""The synapse with tagging and capture on transistors, and its reduced model beside it."""

import numpy as np
import pytest

from cosim.bench.measures import waveforms as measure
from cosim.bench.testbench import Testbench
from cosim.devices import stc_steps
from cosim.devices.base import Values
from cosim.devices.stc import StcSynapse
from cosim.engines.simulator import Simulator
from cosim.errors import InputError
from cosim.fitting import stc as fitting
from cosim.parameters import ParameterSet

pytestmark = pytest.mark.spice


@pytest.fixture(scope="module")
def transistor() -> Values:
    return ParameterSet.load("stc_synapse:transistor").resolved()


def test_200_s_of_the_early_phase_take_less_than_2_s(simulator: Simulator) -> None:
    run = Testbench.load("stc_recovery").run(simulator)
    assert all(entry.result["tran"]["time"].values[-1] == pytest.approx(200.0) for entry in run.runs)
    # measured 0.05 s; the claim is 2 s
    assert max(entry.result.wall for entry in run.runs) < 2.0


@pytest.mark.parametrize("bench", ["stc_spike_pair", "stc_recovery"])
def test_measures_stand_tighter_tolerances(bench: str, simulator: Simulator) -> None:
    """With tolerances a tenth and half the step a weight moves by less than 1 % of what it moved in the run."""
    loose = Testbench.load(bench)
    step = next(iter(loose.file.plan.values())).max_step
    tight = loose.with_(options={"reltol": 1e-5, "abstol": 1e-19, "vntol": 1e-8, "chgtol": 1e-21}, max_step=0.5 * step)
    for name in loose.file.plan:
        found = []
        for variant in (loose, tight):
            data = variant.run(simulator).waveforms_of(name)[0]
            found.append(measure.vector(data, "v(vh)"))
        assert abs(found[1][-1] - found[0][-1]) < 0.01 * abs(found[0][-1] - found[0][0])


def test_leakage_needs_its_own_gmin(simulator: Simulator) -> None:
    """At ngspice's default gmin of 1 pS the drain's leakage hides the recovery current: the bench has to set it."""
    bench = Testbench.load("stc_early_static")
    data = bench.with_(options={"gmin": 1e-12}).run(simulator).waveforms
    assert np.max(np.abs(measure.vector(data, "i(v.xe.vrec)"))) > 100 * 2.5e-15


@pytest.mark.parametrize("held_out", range(len(fitting.HELD_OUT)))
def test_shipped_parameters_follow_the_circuit(held_out: int, simulator: Simulator, transistor: Values) -> None:
    trains = fitting.record(simulator, parameters=fitting.HELD_OUT[held_out])
    errors = fitting.StcFit(transistor, {}, trains, 0).errors()
    # RMS over full scale; measured 0.8, 1.2, 2.5, 0.7 and 1.5 %
    assert errors["calcium"] < 0.015
    assert errors["potentiation"] < 0.02
    assert errors["depression"] < 0.035
    assert errors["early"] < 0.015
    assert errors["change"] < 0.03


def test_the_set_states_its_error() -> None:
    notes = " ".join(ParameterSet.load("stc_synapse:transistor").notes)
    assert "not fitted" in notes
    assert "early" in notes


def test_delays_and_tails_matter(simulator: Simulator, transistor: Values) -> None:
    """Without them (charges of a hundredth) the model misses what it follows with them."""
    trains = fitting.record(simulator, parameters=fitting.HELD_OUT[0])
    small = {name: 0.01 * transistor[name] for name in ("q_wta_p", "q_wta_d", "q_mirror_p", "q_mirror_d")}
    bare = fitting.StcFit(transistor.with_(**small), {}, trains, 0).errors()
    full = fitting.StcFit(transistor, {}, trains, 0).errors()
    for name in ("potentiation", "depression"):
        assert bare[name] > 3 * full[name], name


def test_comparator_alone(simulator: Simulator) -> None:
    p, stderr, worst = fitting.fit_comparator(fitting.published(), simulator)
    # six delays over a factor of twelve and the width, by three numbers; measured 0.3 %
    assert worst < 0.02
    assert 1e-15 < p.q_wta_p < 6e-15  # 0.55 V on a few femtofarads
    assert all(error is not None for error in stderr.values())
    # a slope of κ V/U_T = 0.75 · 0.55 V / 25.85 mV = 16
    assert p.wta_slope == pytest.approx(16.0, rel=0.2)


@pytest.mark.slow
def test_fit_finds_what_made_the_waveforms() -> None:
    """Waveforms of the model itself, from parameters 15 to 40 % off the start."""
    start = fitting.published()
    changes = {"tau_ca": 1.15, "i_pre": 0.85, "q_wta_p": 1.4, "q_mirror_d": 0.7, "i_tail_p": 1.2}
    truth = start.with_(**{name: factor * start[name] for name, factor in changes.items()})
    steps = 760
    shares = {
        name: stc_steps.spike_share(first + period * np.arange(4), width=0.8e-3, dt=5e-5, steps=steps)
        for name, first, period in (("pre", 4e-3, 17e-3), ("post", 2e-3, 7e-3))
    }
    blank = fitting.Trains(5e-5, shares["pre"], shares["post"], {}, 0.5)
    trains = fitting.Trains(5e-5, shares["pre"], shares["post"], fitting.simulate(truth, blank), 0.5)
    found = fitting.fit(trains, start=start)
    for name in changes:
        # no noise: rounding, and what the search leaves at a relative change of 1e-5
        assert found.p[name] == pytest.approx(truth[name], rel=1e-3), name
    assert max(found.errors().values()) < 1e-4


def test_consolidation_in_the_reduced_model_is_eq_4(transistor: Values) -> None:
    """The late phase over a long decay: z = 1 − exp(−t/τ_z) while tagged, whatever accelerates the recovery."""
    p = transistor.with_(acceleration=32.0, tau_z=11.25)
    x = fitting.settled(p).with_(h=1.7, protein=1.0)
    steps = 200
    for _ in range(steps):
        x = stc_steps.advance(x, p, dt=0.05)
    assert float(x.z) == pytest.approx(1 - np.exp(-0.05 * steps / 11.25), rel=1e-9)
    fall = 32.0 * float(p.i_hrm) + float(p.i_low_d) - float(p.i_low_p)
    # low currents change with the weight by their λ
    assert float(x.h) == pytest.approx(1.7 - fall * 0.05 * steps / float(p.c_h), rel=0.02)


def test_weight_is_the_devices(transistor: Values) -> None:
    x = fitting.settled(transistor).with_(h=1.2, z=0.4)
    assert stc_steps.observed(x, transistor)["total"] == StcSynapse().weight(x, transistor)


BAD = """title = "t"
circuit = "V1 a 0 1\\nR1 a 0 1k"
[analysis]
{analysis}
[measures.m]
{measure}
"""


@pytest.mark.parametrize(
    ("analysis", "measured", "says"),
    [
        ('kind = "op"', 'kind = "trip"\nof = "v(a)"\nlevel = 0.5', "measure of a dc sweep"),
        (
            'kind = "dc"\nsource = "V1"\nstart = 0\nstop = 1\nstep = 0.1',
            'kind = "trip"\nof = "v(a)"\nlevel = 3',
            "crosses 3 0 times",
        ),
        (
            'kind = "tran"\nstop = "1 ms"\nmax_step = "0.1 ms"',
            'kind = "crossing-delay"\ncause = "v(a)"\ncause_level = 3\neffect = "v(a)"\neffect_level = 3',
            "does not cross 3",
        ),
        (
            'kind = "tran"\nstop = "1 ms"\nmax_step = "0.1 ms"',
            'kind = "eq6-deviation"\noutput = "v(a)"\ndrive = "i(v1)"\ngain = "g"\ntau = "1 ms"',
            "'g' is not a parameter",
        ),
        (
            'kind = "tran"\nstop = "1 ms"\nmax_step = "0.1 ms"',
            'kind = "slope"\nof = "v(a)"\nstart = "0 s"\nstop = "2 ms"',
            "the run goes from",
        ),
    ],
)
def test_measures_say_what_is_wrong(tmp_path, simulator, analysis: str, measured: str, says: str) -> None:
    path = tmp_path / "b.toml"
    path.write_text(BAD.format(analysis=analysis, measure=measured))
    done = Testbench.load(path).run(simulator)
    assert not done.measures
    with pytest.raises(InputError, match=says):
        done[next(iter(done.missing))]
