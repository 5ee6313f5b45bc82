"""Thermal synapses of the recurrent network: heat in the loop, writes after a frame, and what cannot be."""

import gc
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cosim.cli.app import main
from cosim.data.speech import Utterance
from cosim.errors import CosimError, InputError
from cosim.network.run import Streams, run_network
from cosim.network.systems.maze_settings import time_constant, volts
from cosim.network.systems.rsnn import HEATED, RsnnSystem
from cosim.network.systems.rsnn_settings import PRESETS, RsnnSettings, ThermalSettings
from cosim.network.systems.rsnn_thermal import ThermalArray, coupling_of, crosstalk, devices
from cosim.report.rsnn_figures import plot_learning, plot_sweeps
from network.test_rsnn import copy_of_timit, toy

SMALL = PRESETS["thermal"].with_(hidden=20, rate=1.0, spread=1.0)
HOT = ThermalSettings(alpha=0.0, unit=0.3, q_full=0.1, gain=2.0)


def system(
    thermal: ThermalSettings | None = HOT, *, backend: str = "numpy", epochs: int = 1, **changes: object
) -> RsnnSystem:
    return RsnnSystem(SMALL.with_(**changes), toy(), epochs=epochs, backend=backend, thermal=thermal)


def by_hand(
    run: Any, one: Any, thermal: ThermalSettings, *, side: float, keep: float | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """(plus, minus) temperatures of the input array after a frame, from the signals that a run in numpy records."""
    s, p = run.system.settings, devices(thermal).parameters.resolved()
    steps = len(one.phones) * s.steps
    found = run.simulation.run(
        {"inputs": run._rows(one)[None]}, steps=steps, key=0, learn=False, fresh=True,
        signals={"out": np.eye(3)[one.phones][None]}, record=("hidden.u", "out.error"),
    ).records  # fmt: skip
    leak = np.exp(-10.0 / s.steps / s.tau)
    keep = np.exp(-thermal.step / time_constant(p)) if keep is None else keep
    f, plus, minus = np.zeros(12), np.zeros((12, s.hidden)), np.zeros((12, s.hidden))
    for t in range(steps):
        f = f * leak + run._rows(one)[t // s.steps]
        psi = s.beta / s.threshold * np.maximum(0.0, 1.0 - np.abs(found["hidden.u"][0, t] / s.threshold - 1.0))
        q = -side * psi * (found["out.error"][0, t] @ run.weight("back"))
        q = np.clip(q, -thermal.q_full, thermal.q_full)
        pulse = thermal.unit * np.minimum(f, thermal.f_full)[:, None] / thermal.f_full * q / thermal.q_full
        plus, minus = plus * keep + np.maximum(pulse, 0.0), minus * keep + np.maximum(-pulse, 0.0)
    return plus, minus


@pytest.mark.parametrize("written", [0, 1])
def test_temperatures_are_the_eligibilities_that_decay(written: int) -> None:
    """Eqs. 14 to 16 and 23, written out; a frame before SET heats what has to grow, one before RESET the other."""
    turns = HOT.with_(writes="alternate")
    run = system(turns).start(Streams(1))
    run.written = written
    one = run.system.speech.train[0]
    plus, minus = by_hand(system(turns).start(Streams(1)), one, HOT, side=1.0 if written == 0 else -1.0)
    list(run._shown(one, rate=1e-6))
    traces = run.simulation.traces["into"]
    assert plus.max() > 1e-3
    assert minus.max() > 1e-3
    np.testing.assert_allclose(traces["own_plus"], plus, rtol=1e-9, atol=1e-14)
    np.testing.assert_allclose(traces["own_minus"], minus, rtol=1e-9, atol=1e-14)


def test_conductances_follow_the_temperature_while_a_frame_lasts() -> None:
    """W(1 + α T) at the end of a frame; afterwards they are cold again."""
    thermal = HOT.with_(alpha=5e-3)
    run = system(thermal).start(Streams(1))
    cold = [x.copy() for x in run.arrays["into"].shares()]
    list(run._shown(run.system.speech.train[0], rate=1e-6))
    p, traces = devices(thermal).parameters.resolved(), run.simulation.traces["into"]
    for x, name, half in zip(cold, ("w", "w_minus"), ("plus", "minus"), strict=True):
        hot = x * (1.0 + 5e-3 * float(p.full_scale_rise) * traces[f"own_{half}"])
        np.testing.assert_allclose(run.simulation.cells["into"].state[name], hot, rtol=1e-9)
        assert np.abs(hot - x).max() > 1e-4
    run._write(40)
    for x, name in zip(run.arrays["into"].shares(), ("w", "w_minus"), strict=True):
        assert np.array_equal(run.simulation.cells["into"].state[name], x)


@pytest.mark.parametrize("thermal", [None, HOT])
def test_frames_are_shown_some_at_a_time(thermal: ThermalSettings | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Spikes that are on their way where one run ends arrive in the next one, and what synapses hold is the same."""
    found = []
    for chunk in (1000, 7):
        monkeypatch.setattr("cosim.network.systems.rsnn.CHUNK", chunk)
        run: Any = system(thermal).start(Streams(1))
        for batch in range(2):
            run.learn(batch)
        _, arrays = run.evaluate()
        post = "post_psi" if thermal is None else "post_q"
        traces = [run.simulation.traces[name][key] for name in HEATED for key in ("pre_f", post)]
        found.append((run.loss, [run.weight(name) for name in ("into", "among", "read")], traces, arrays["confusion"]))
    spikes = run.answers(run.system.speech.train[0]).counts["hidden"].sum()
    assert spikes > 20
    for one, other in zip(*found, strict=True):
        for a, b in zip(one, other, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-7, atol=1e-9)


@pytest.fixture
def uncollected() -> Iterator[None]:
    """What refers to itself stays."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("uncollected")
def test_memory_does_not_grow_with_the_utterance(monkeypatch: pytest.MonkeyPatch) -> None:
    """Peak of learning three and twelve times as many frames as are shown at a time, by counts of references alone."""
    monkeypatch.setattr("cosim.network.systems.rsnn.CHUNK", 40)
    peaks = []
    for times in (3, 12):
        whole = system()
        first = whole.speech.train[0]
        longer = Utterance(np.tile(first.features, (times, 1)), np.tile(first.phones, times))
        run: Any = replace(whole, speech=replace(whole.speech, train=(longer,))).start(Streams(0))
        run.learn(0)
        tracemalloc.start()
        run.learn(0)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] - peaks[0] < 8 * 9 * 40 * 6  # bytes: less than the answers, 3 phones in 2 steps of each frame


def test_a_write_is_that_of_the_device_s_map() -> None:
    """Eq. 27 of the parameter set, SET up and RESET down, by the temperature; cold devices stay."""
    thermal = ThermalSettings(levels=0)
    cells = devices(thermal)
    p = cells.parameters.resolved()
    for up in (True, False):
        array = ThermalArray(np.zeros((2, 3)), thermal, cells, np.random.default_rng(0))
        before = array.shares()[0][0, 0]
        rise = np.array([[0.3, 0.0, 0.8], [0.0, 0.0, 0.0]])
        array.write((rise, np.zeros((2, 3))), up=up, rng=np.random.default_rng(1))
        plus, minus = array.shares()
        step = cells.map.device.surface(0.5, rise, p, polarity=1 if up else -1)
        pulses = thermal.pulses if up else thermal.pulses * array.down
        expected = before * (1.0 + (step if up else -step)) ** pulses
        np.testing.assert_allclose(plus, expected, rtol=1e-9)
        assert np.all(minus == before)
    assert array.counts.tolist() == [2, 2, 0, 0]
    assert array.histogram.sum() == 2


def test_a_pair_at_the_end_of_its_range_is_set_back() -> None:
    """By as many levels in both: its weight stays, the lower device is at the low end or a part of a level above."""
    thermal = ThermalSettings(levels=256, refresh=(0.2, 0.8))
    array = ThermalArray(np.zeros((1, 4)), thermal, devices(thermal), np.random.default_rng(0))
    for bar, w in zip(array.bars, ([0.85, 0.85, 0.7, 0.95], [0.6, 0.82, 0.6, 0.1]), strict=True):
        bar.load({"w": np.round(np.array([w]) * 255.0) / 255.0})
    plus, minus = (x.copy() for x in array.states())
    cold = np.zeros((1, 4))
    array.write((cold, cold), up=True, rng=np.random.default_rng(1))
    after = array.states()
    np.testing.assert_allclose(after[0] - after[1], plus - minus, atol=1e-12)
    assert np.all(np.abs(np.minimum(*after)[0, :2] - 0.2) <= 1.0 / 255.0)
    assert np.array_equal(after[0][0, 2:], plus[0, 2:])  # not at its end; and one that nothing can be taken off
    assert array.counts.tolist() == [0, 0, 0, 2]
    turns = thermal.with_(writes="alternate")
    array = ThermalArray(np.zeros((1, 1)), turns, devices(turns), np.random.default_rng(0))
    array.bars[0].load({"w": np.full((1, 1), 0.9)})
    array.write((cold[:, :1], cold[:, :1]), up=True, rng=np.random.default_rng(1))
    assert array.states()[0][0, 0] > 0.9


def test_few_levels_lose_small_writes() -> None:
    moved = []
    for levels in (0, 1024, 16):
        array = ThermalArray(
            np.zeros((40, 40)), ThermalSettings(levels=levels, pulses=5.0), devices(HOT), np.random.default_rng(0)
        )
        rises = np.random.default_rng(2).exponential(0.05, (40, 40)), np.zeros((40, 40))
        array.write(rises, up=True, rng=np.random.default_rng(1))
        moved.append(int(array.counts[1]))
        if levels:
            grid = array.bars[0].state["w"] * (levels - 1)
            np.testing.assert_allclose(grid, np.round(grid), atol=1e-9)
    assert moved[0] == 1600 > moved[1] > moved[2] > 0


def test_what_is_left_of_the_rate() -> None:
    """Both fall linearly: half way a quarter less with half left; at the end of nothing left, nothing moves."""
    run = system(left=0.5).start(Streams(1))
    run.count = len(run.system.batches) // 2
    assert run._pace_left == pytest.approx(0.75)
    run = system(HOT.with_(writes="alternate"), left=0.0).start(Streams(1))
    run.count = len(run.system.batches)
    before = run.arrays["into"].states()[0].copy()
    list(run._shown(run.system.speech.train[0], rate=1e-6))
    run._write(40)
    np.testing.assert_allclose(run.arrays["into"].states()[0], before, atol=1e-12)
    with pytest.raises(InputError, match=r"what is left of the rate is 2; give a share of 0\.\.1"):
        system(left=2.0)


def test_neighbours_in_the_array_are_warmed() -> None:
    """Pairs stand side by side: what is beside a + in its row is its own − and the − before it."""
    plus, minus = np.zeros((3, 3)), np.zeros((3, 3))
    plus[1, 1] = 1.0
    hot, other = crosstalk((plus, minus), (0.4, 0.2, 0.1))
    np.testing.assert_allclose(hot, [[0, 0.2, 0], [0, 1, 0], [0, 0.2, 0]])
    np.testing.assert_allclose(other, [[0.1, 0.1, 0], [0.4, 0.4, 0], [0.1, 0.1, 0]])
    assert crosstalk((plus, minus), (0.0, 0.0, 0.0))[0] is plus
    alone, cold = crosstalk((plus, minus), (0.4, 0.2, 0.1), layout="apart")
    np.testing.assert_allclose(alone, [[0.1, 0.2, 0.1], [0.4, 1, 0.4], [0.1, 0.2, 0.1]])
    assert not cold.any()
    at = {"heater": 1.0, "A": 0.25, "B row": 0.1, "B column": 0.05, "C": 0.025}
    assert coupling_of(at) == pytest.approx((0.4, 0.2, 0.1))


def test_a_write_lays_out_its_pairs() -> None:
    """A hot + beside a cold −: its own − moves where they stand side by side, and the next + where they stand apart."""
    for layout, warm in (("beside", (1, 0)), ("apart", (0, 1))):
        thermal = ThermalSettings(levels=0, coupling=(0.4, 0.0, 0.0), layout=layout)
        array = ThermalArray(np.zeros((1, 2)), thermal, devices(thermal), np.random.default_rng(0))
        before = array.states()[0][0, 0]
        array.write((np.array([[0.5, 0.0]]), np.zeros((1, 2))), up=True, rng=np.random.default_rng(1))
        moved = np.array(array.states())[:, 0] > before
        expected = np.zeros((2, 2), dtype=bool)
        expected[0, 0] = expected[warm] = True
        assert np.array_equal(moved, expected)


def test_devices_and_cycles_differ() -> None:
    """Both spreads change what is written; the same random numbers give the same."""
    rises = np.full((6, 5), 0.4), np.full((6, 5), 0.4)

    def written(thermal: ThermalSettings) -> np.ndarray:
        array = ThermalArray(np.zeros((6, 5)), thermal, devices(thermal), np.random.default_rng(3))
        array.write(rises, up=True, rng=np.random.default_rng(4))
        return array.shares()[0]

    plain = ThermalSettings(levels=0)
    assert np.ptp(written(plain)) == 0.0
    for name in ("device_spread", "cycle_spread"):
        spread = plain.with_(**{name: 0.3})
        assert np.ptp(written(spread)) > 0.001
        assert np.array_equal(written(spread), written(spread))


def test_pairs_whose_devices_move_too_far_are_left_out() -> None:
    """They weigh nothing and stay; the others have the same devices as without the screen, and none moves too far."""
    rough, rises = ThermalSettings(levels=0, pulses=1.0, device_spread=1.0), np.full((20, 20), 0.1)

    def steps(thermal: ThermalSettings) -> tuple[ThermalArray, np.ndarray]:
        array = ThermalArray(np.zeros((20, 20)), thermal, devices(thermal), np.random.default_rng(3))
        before = np.array(array.shares())
        array.write((rises, rises), up=True, rng=np.random.default_rng(4))
        return array, np.array(array.shares()) / before - 1.0

    every, all_steps = steps(rough)
    array, found = steps(rough.with_(screen=2.0))
    nominal = steps(rough.with_(device_spread=0.0))[1][0, 0, 0]
    assert not every.out.any()
    assert np.array_equal(array.out, (all_steps > 2.0 * nominal).any(axis=0))
    assert 0.1 < array.out.mean() < 0.9
    assert np.all(found[:, array.out] == 0.0)
    assert np.array_equal(*(half[array.out] for half in array.shares()))
    np.testing.assert_allclose(found[:, ~array.out], all_steps[:, ~array.out], rtol=1e-12)
    assert array.counts[0] == 2 * np.count_nonzero(~array.out)
    with pytest.raises(InputError, match=r"a screen at 0\.5 times the nominal step would leave out nominal devices"):
        rough.with_(screen=0.5)


@pytest.mark.needs("numba")
def test_it_learns_and_goes_on_where_it_stopped() -> None:
    learner = system(backend="numba", epochs=8)
    result = run_network(learner)
    values = result.seeds[0].values
    frozen = run_network(system(backend="numba", epochs=8, trained="readout")).seeds[0].values
    assert values.accuracy > 0.7 > values.majority
    assert values.accuracy > frozen.accuracy
    assert values.writes["heated"] > values.writes["heated"] * values.writes["moved"] > 0
    assert any("of heated devices" in line for line in result.lines())
    assert any("synapses    thermal, stack_60nm, 256 levels" in line for line in result.lines())
    assert set(result.figures()) == {"loss", "confusion", "writes"}
    (line, *_), *_ = plot_learning({"thermal": result}).axes[0].containers
    assert line.get_ydata()[-1] < line.get_ydata()[0]
    run = learner.start(Streams(5))
    run.learn(0)
    kept = run.state()
    run.learn(1)
    again = learner.start(Streams(5))
    again.restore(kept)
    again.learn(1)
    slow = system(epochs=8).start(Streams(5))
    slow.learn(0)
    slow.learn(1)
    for half in ("own_plus", "own_minus"):
        both = (x.simulation.traces["among"][half] for x in (slow, run))
        np.testing.assert_allclose(*both, rtol=1e-9, atol=1e-14)
    for name in ("into", "among", "read"):
        assert np.array_equal(run.weight(name), again.weight(name))
    assert again._writes() == run._writes()


def test_sweeps_over_numbers_are_curves_and_others_points() -> None:
    points = {name: {"mean": 60.0, "deviation": 1.0} for name in ("0.1 us", "1 us", "100 us")}
    sweeps, titles = {"tau": points, "other": points}, {"tau": "τ", "other": "another"}
    curve, dots = (ax.containers[0][0] for ax in plot_sweeps(sweeps, {}, titles=titles, curves=("tau",)).axes)
    assert curve.get_xdata() == pytest.approx([-1.0, 0.0, 2.0])
    assert curve.get_linestyle() == "-"
    assert dots.get_xdata() == pytest.approx([0, 1, 2])
    assert dots.get_linestyle() == "None"


def test_the_decay_and_the_heater_are_the_device_s() -> None:
    """Nothing is typed anew: another set of the stack changes both, and an override of τ is told."""
    own = ThermalSettings()
    small, large = (devices(own.with_(parameters=f"thermal_reram:stack_{n}nm")) for n in (60, 250))
    rates = [time_constant(cells.parameters.resolved()) for cells in (small, large)]
    assert rates[1] > 2.0 * rates[0]
    assert volts(own, large) > volts(own, small)
    longer = devices(own.with_(tau=2e-6))
    assert time_constant(longer.parameters.resolved()) == pytest.approx(2e-6)
    # The fingerprint, and with it every checkpoint, tells them apart.
    assert len({system(HOT.with_(tau=tau)).fingerprint for tau in (None, 1e-6, 2e-6)} | {system(None).fingerprint}) == 4


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"gain": 0.0}, "gain of the synapses is 0; give a number above zero"),
        ({"cycle_spread": -0.1}, "cycle_spread of the synapses is -0.1; give a number >= 0"),
        ({"tau": 0.0}, "the time constant of the synapses is 0 s"),
        ({"levels": 1}, "devices with 1 level hold no weight"),
        ({"writes": "reset"}, "unknown kind .reset. of writes"),
        ({"layout": "stacked"}, "unknown layout .stacked. of pairs; known: apart, beside"),
        ({"refresh": (0.8, 0.2)}, "a refresh from 0.2 to 0.8 is not possible"),
        ({"e_width": 2e-8}, "an e-update of 2e-08 s does not fit a step of 1e-08 s"),
        ({"coupling": (0.1, 2.0, 0.0)}, r"couplings of \(0\.1, 2\.0, 0\.0\) are not shares"),
        ({"parameters": "tio2"}, "tio2 is of the device"),
        ({"alpha": 0.5}, "alpha"),
    ],
)
def test_synapses_that_cannot_be(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(CosimError, match=says):
        system(ThermalSettings(**changes))


def test_a_write_stays_within_the_devices_map() -> None:
    """Flags of a write are cleared, since rises beyond the map are counted: its pulses are looked at before."""
    with pytest.raises(
        InputError, match="a write of 12 published pulses is beyond the 10 that the devices' map goes to"
    ):
        system(HOT.with_(pulses=12.0)).start(Streams(0))


def test_a_heater_takes_nothing_below_zero() -> None:
    with pytest.raises(InputError, match='a heater takes no input below zero; take inputs="split"'):
        system(HOT, inputs="signed")
    with pytest.raises(InputError, match="take filtered=False"):
        system(HOT, filtered=True)
    with pytest.raises(CosimError, match="inputs"):
        RsnnSettings(inputs="both")


def test_from_the_shell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(copy_of_timit(tmp_path / "timit"))
    command = ["network", "run", "rsnn", "--data", folder, "--hidden", "6", "--epochs", "1", "--backend", "numpy"]
    out = str(tmp_path / "out")
    more = ["--synapse", "thermal", "--levels", "64", "--tau-th", "1us", "--alpha", "0", "--cycle-spread", "20 %"]
    assert main([*command, "-o", out, *more, "--no-figures"]) == 0
    said = capsys.readouterr().out
    assert "thermal, stack_60nm, 64 levels; temperatures fall to 1/e in 1 us, 100 steps of 10 ns" in said
    assert main([*command, "-o", out, "--tau-th", "1us"]) == 2
    assert "--tau-th is of thermal synapses, and these are ideal; add --synapse thermal" in capsys.readouterr().err
    assert main([*command, "-o", out, "--synapse", "thermal", "--pitch", "1um"]) == 2
    assert "--pitch is of a stack whose --feature is not given" in capsys.readouterr().err
    assert main([*command, "-o", out, "--synapse", "thermal", "--layout", "apart"]) == 2
    assert "--layout is of a stack whose --feature is not given" in capsys.readouterr().err
    assert main([*command, "-o", out, "--synapse", "hot"]) == 2
