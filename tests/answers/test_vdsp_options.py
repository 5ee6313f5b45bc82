"""VDSP networks: cells that deviate, gates, STDP in its place, and the signs of a network that fails."""

from dataclasses import replace
from io import StringIO
from pathlib import Path

import numpy as np
import pytest

import cosim
from cosim.cli.app import main
from cosim.cli.network_view import live_view, shown_lines
from cosim.errors import InputError, UnknownName
from cosim.network.images import ImageSet, ImageTask
from cosim.network.plasticity import Vdsp
from cosim.network.run import run_network
from cosim.network.systems.vdsp import VdspNetwork, VdspSystem
from cosim.network.systems.vdsp_cells import deviating_cells
from cosim.network.systems.vdsp_settings import RULES, VdspSettings, annealed, driven, overdriven
from cosim.network.systems.vdsp_watch import Tally, glance

CELL = cosim.Surrogate(cosim.ParameterSet.load("tio2"), "pulse")
BASE = VdspSettings()
EASY = BASE.with_(neurons=8, output=replace(BASE.output, threshold=2.0, jump=0.3))


def bars(n: int = 800, side: int = 6) -> ImageSet:
    """A vertical bar at one of ``side`` places."""
    rng = np.random.default_rng(1)
    y = rng.integers(0, side, n)
    x = 0.04 * rng.random((n, side, side))
    x[np.arange(n), :, y] = rng.uniform(0.7, 1.0, (n, side))
    flat, k = x.reshape(n, -1), 4 * n // 5
    return ImageSet("bars", flat[:k], y[:k], flat[k:], y[k:], side)


BARS = bars()


def system(settings: VdspSettings, images: ImageSet = BARS) -> VdspSystem:
    return VdspSystem(settings, CELL, ImageTask(images), backend="numpy")


def signs(settings: VdspSettings) -> tuple[float, str]:
    """Accuracy and signs of a short training."""
    seed = run_network(system(settings)).seeds[0]
    return float(seed.values.accuracy), " | ".join(seed.values.signs)


# -- cells that deviate ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("deviation", [0.05, 0.2, 0.5])
def test_cells_deviate_as_asked(deviation: float) -> None:
    """Normal, with the tails cut off by drawing anew: nothing is piled up at an end, or below zero."""
    rng = np.random.default_rng(0)
    cells = deviating_cells(CELL, (300, 300), rng, thresholds=deviation, resistances=deviation)
    assert set(cells) == {"theta_p", "theta_n", "g_max", "ratio"}
    nominal = CELL.parameters.resolved()
    low = {"g_min": cells["g_max"] / cells["ratio"]}
    for name, values in {**{n: cells[n] for n in ("theta_p", "theta_n", "g_max")}, **low}.items():
        middle = nominal["g_max"] / nominal["ratio"] if name == "g_min" else nominal[name]
        share = values / middle
        assert share.min() > 0.0
        assert np.unique(share).size == share.size
        # Cut off at three deviations: 0.986 of the deviation is left. 90 000 cells know it to a quarter of a percent.
        # At 50 % the cut at a tenth, and a lower end that has to lie below the upper one, take more.
        assert share.std() == pytest.approx(0.986 * deviation, rel=0.01 if deviation < 0.3 else 0.15)
        assert share.mean() == pytest.approx(1.0, abs=0.003 if deviation < 0.3 else 0.06)
    assert cells["ratio"].min() > 1.0
    assert abs(np.corrcoef(cells["theta_p"].ravel(), cells["theta_n"].ravel())[0, 1]) < 0.02


def test_cells_without_deviation_and_without_ends() -> None:
    rng = np.random.default_rng(0)
    assert not deviating_cells(CELL, (2, 2), rng)
    ecram = cosim.Surrogate(cosim.ParameterSet.load("ecram:slow"))
    with pytest.raises(InputError, match="pulse in closed form"):
        deviating_cells(ecram, (2, 2), rng, resistances=0.1)


def test_deviating_conductances_are_what_the_neurons_see() -> None:
    settings = overdriven(CELL, EASY).with_(resistance_deviation=0.3, deviation=0.2)
    network = VdspNetwork(settings, CELL, inputs=36, rng=np.random.default_rng(3), backend="numpy")
    own, w = network.crossbar.own, network.crossbar.w
    expected = own["g_max"] * (w * (1.0 - 1.0 / own["ratio"]) + 1.0 / own["ratio"]) / 200e-6
    np.testing.assert_allclose(network.crossbar.weight, expected, rtol=1e-12)
    network.learn(BARS.train_x[:20], np.random.default_rng(0))
    expected = own["g_max"] * (w * (1.0 - 1.0 / own["ratio"]) + 1.0 / own["ratio"]) / 200e-6
    np.testing.assert_allclose(network.crossbar.weight, expected, rtol=1e-12)
    pytest.importorskip("numba")
    compiled = VdspNetwork(settings, CELL, inputs=36, rng=np.random.default_rng(3), backend="numba")
    compiled.learn(BARS.train_x[:20], np.random.default_rng(0))
    np.testing.assert_allclose(compiled.crossbar.w, w, rtol=0, atol=1e-12)


# -- gates and operating points ----------------------------------------------------------------------------------------


def test_gates_make_the_dead_zone() -> None:
    from types import SimpleNamespace

    rule = Vdsp(1.0, 2.0, 3.0, 4.0, gate_p=0.95, gate_d=0.9)
    v = np.array([-1.0, -0.95, -0.5, 0.0, 0.9, 0.91])
    local = SimpleNamespace(pre=SimpleNamespace(v=v), p=SimpleNamespace(**rule.parameters(1.0)))
    np.testing.assert_allclose(rule.on_post(local)["amplitude"], [-3.0, 0.0, 0.0, 0.0, 0.0, 0.91 * 8.0])
    with pytest.raises(InputError, match="negative gate"):
        Vdsp(1.0, 1.0, 1.0, 1.0, gate_p=-0.1)


@pytest.mark.parametrize(
    ("technology", "steps"), [("tio2", (0.55, 0.9)), ("hfo2", (0.9, 0.6)), ("hzo", (0.55, 0.9)), (None, (0.55, 0.9))]
)
def test_overdriven_pulses_make_the_step_of_the_technology(technology: str | None, steps: tuple[float, float]) -> None:
    """Of w = 0.5 and V_mem = ±1, but for the bound's pull, a step is K · width; None: a set without own steps."""
    chosen = cosim.ParameterSet.load(technology or "hfo2")
    cell = cosim.Surrogate(chosen if technology else replace(chosen, plasticity={}), "pulse")
    settings = overdriven(cell, width=0.01)
    p = cell.parameters.resolved()
    k_p = np.expm1(p.alpha_p * p.theta_p * (settings.scale_p - 1.0))
    k_d = np.expm1(p.alpha_n * p.theta_n * (settings.scale_d - 1.0))
    assert (k_p, k_d) == pytest.approx(steps, rel=0.005)  # the factors are rounded to three decimals
    network = VdspNetwork(settings, cell, inputs=1, rng=np.random.default_rng(0), backend="numpy")
    network._shorten(settings.width)
    bar = network.crossbar
    for volts, step in (
        (-settings.scale_p * p.theta_p, k_p * 0.5**p.gamma_p),
        (settings.scale_d * p.theta_n, -k_d * 0.5**p.gamma_n),
    ):
        bar.load(np.full((1, 200), 0.5))
        bar.program(0, np.array([volts]))
        # The edges of a pulse of 200 ns add a few ns to it.
        assert bar.w[0, 0] - 0.5 == pytest.approx(0.01 * step, rel=0.04)


def test_ways_to_drive() -> None:
    assert driven("published", BASE, CELL) is BASE
    assert driven("annealed", BASE, CELL) == annealed()
    assert driven("overdriven", BASE, CELL) == overdriven(CELL)
    with pytest.raises(UnknownName, match="way to drive"):
        driven("hard", BASE, CELL)


def test_settings_that_are_not_given_leave_the_fingerprint() -> None:
    """So a checkpoint is not lost to an option that came later."""
    assert "gate_p" in vars(BASE)
    assert BASE.fingerprint() == BASE.with_(gate_p=None).fingerprint() != BASE.with_(gate_p=0.5).fingerprint()


# -- STDP in the same network ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", RULES)
def test_rules_program_cells_and_anneal(rule: str) -> None:
    settings = overdriven(CELL, EASY, gates=(0.0, 0.0)).with_(rule=rule, scale_p_end=1.2)
    found = []
    for progress in (0.0, 1.0):
        network = VdspNetwork(settings, CELL, inputs=36, rng=np.random.default_rng(0), backend="numpy")
        network.learn(BARS.train_x[:30], np.random.default_rng(0), progress=progress)
        assert network.crossbar.pulses > 0
        found.append(network.crossbar.w.copy())
    assert np.max(np.abs(found[0] - found[1])) > 1e-3


def test_post_stdp_depresses_what_was_silent() -> None:
    """An input without a spike is depressed as by VDSP at V_mem = 1, one that has just spiked potentiated as at -1."""
    from types import SimpleNamespace

    from cosim.network.systems.vdsp_rules import rule_of

    settings = BASE.with_(rule="post-stdp")
    rule = rule_of(settings, CELL, scale_p=1.5, scale_d=1.6)
    local = SimpleNamespace(pre=SimpleNamespace(trace=np.array([0.0, 1.0])), p=SimpleNamespace(**rule.parameters(1.0)))
    np.testing.assert_allclose(rule.on_post(local)["amplitude"], [1.6 * 1.5643, -1.5 * 1.4323])


def test_vdsp_by_the_postsynaptic_potential() -> None:
    """A neuron at its threshold potentiates the input that spikes, one at its reset depresses it; between is a gap."""
    from types import SimpleNamespace

    from cosim.network.systems.vdsp_rules import rule_of

    output = replace(BASE.output, threshold=8.0, reset=0.0)
    rule = rule_of(BASE.with_(rule="vdsp-post", output=output, gate_p=0.4, gate_d=0.2), CELL, scale_p=1.5, scale_d=1.6)
    v = np.array([8.0, 6.0, 5.0, 4.0, 3.5, 2.0, 0.0])  # u = 1, 0.5, 0.25, 0, −0.125, −0.5, −1
    local = SimpleNamespace(post=SimpleNamespace(v=v), p=SimpleNamespace(**rule.parameters(1.0)))
    up, down = 1.5 * 1.4323, 1.6 * 1.5643
    np.testing.assert_allclose(rule.on_pre(local)["amplitude"], [-up, -0.5 * up, 0.0, 0.0, 0.0, 0.5 * down, down])
    assert not rule.has("on_post")
    pytest.importorskip("numba")
    states = []
    for backend in ("numpy", "numba"):
        settings = overdriven(CELL, EASY, gates=(0.1, 0.1)).with_(rule="vdsp-post")
        network = VdspNetwork(settings, CELL, inputs=36, rng=np.random.default_rng(0), backend=backend)
        network.learn(BARS.train_x[:20], np.random.default_rng(0))
        states.append(network.crossbar.w)
    np.testing.assert_allclose(*states, rtol=0, atol=1e-12)


# -- signs of a failure ------------------------------------------------------------------------------------------------


def test_a_network_that_learns_gives_no_sign() -> None:
    accuracy, said = signs(EASY)
    assert accuracy > 0.9
    assert said == ""


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"scale_p": 0.8, "scale_d": 0.8}, "no cells were ever programmed; the scale factors are probably too low"),
        ({"gate_p": 9.0, "gate_d": 9.0}, "no cells were ever programmed; the neuron's gates, or"),
        ({"scale_p": 5.0, "scale_d": 5.0}, "stuck weights: .* too high, or the pulses too long"),
        ({"output": replace(EASY.output, threshold=1e3)}, "no output neuron spiked"),
    ],
)
def test_stuck_and_silent_networks(changes: dict[str, object], says: str) -> None:
    import re

    settings = EASY.with_(**changes)
    run = system(settings).start(cosim.network.run.Streams(0))
    for batch in range(4):
        run.learn(batch)
    assert re.search(says, " | ".join(run.glance().signs))


def counted(shares: np.ndarray, *, right: bool, images: int = 1000) -> Tally:
    """A tally of 10 classes in which each neuron makes a share of the spikes."""
    rng, classes = np.random.default_rng(0), 10
    tally = Tally(classes=classes, neurons=shares.size)
    for _ in range(images // 100):
        truth = rng.integers(0, classes, 100)
        winner = truth if right else rng.choice(shares.size, 100, p=shares)
        counts = np.zeros((100, shares.size), dtype=np.int64)
        counts[np.arange(100), winner] = 3
        tally.add(counts, truth)
    return tally


W = np.random.default_rng(0).random((20, 10))
START = np.random.default_rng(1).random((20, 10))
EQUAL, ONE = np.full(10, 0.1), np.array([0.91, *[0.01] * 9])


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (BASE, "one dominating neuron: neuron 0 makes 9. % of all spikes; the thresholds probably adapt too little"),
        (BASE.with_(inhibition=2.0), "the winner probably holds the others for too short a time .2 ms, with a time"),
        (BASE.with_(encoder=replace(BASE.encoder, bias=0.0)), "the inputs have no bias current"),
    ],
)
def test_a_dominating_neuron_is_named_with_its_cause(settings: VdspSettings, says: str) -> None:
    import re

    assert re.search(says, " | ".join(glance(counted(ONE, right=False), settings, w=W, start=START).signs))


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (BASE, "answers at random: about .* chance is 10 %"),
        (BASE.with_(encoder=replace(BASE.encoder, noise=3.0)), "the noise of the inputs .* is probably too high"),
        (BASE.with_(input=replace(BASE.input, tau=2.0)), "time constant .2 ms. probably does not suit the 40 ms"),
    ],
)
def test_answers_at_random_are_named_with_their_cause(settings: VdspSettings, says: str) -> None:
    import re

    found = glance(counted(EQUAL, right=False), settings, w=W, start=START)
    assert re.search(says, " | ".join(found.signs))
    assert found.accuracy is not None
    assert found.accuracy < 0.2


def test_right_answers_are_no_sign_and_few_images_say_nothing() -> None:
    found = glance(counted(EQUAL, right=True), BASE, w=W, start=START)
    assert found.signs == ()
    assert found.accuracy is not None
    assert found.accuracy > 0.95
    assert glance(counted(ONE, right=False, images=500), BASE, w=W, start=START).signs == ()


def test_the_tally_is_part_of_a_checkpoint() -> None:
    streams = cosim.network.run.Streams(0)
    first, second = (system(EASY).start(streams) for _ in range(2))
    first.learn(0)
    second.restore(first.state())
    for run in (first, second):
        run.learn(1)
    assert first.glance().accuracy == second.glance().accuracy is not None
    np.testing.assert_array_equal(first.glance().rates, second.glance().rates)


# -- the live view -----------------------------------------------------------------------------------------------------


def test_a_terminal_shows_the_network_and_a_pipe_nothing() -> None:
    from rich.console import Console

    failing = glance(counted(ONE, right=False), BASE, w=W, start=START)
    seen = {}
    for terminal in (True, False):
        screen = Console(file=StringIO(), force_terminal=terminal, width=120, color_system=None)
        with live_view((0,), 1000, screen=screen) as (progress, view):
            progress(0, 500, 1000)
            progress(0, 1000, 1000)
            assert (view is not None) is terminal
            for _ in range(2):
                if view is not None:
                    view(0, failing)
        seen[terminal] = screen.file.getvalue()
    assert seen[False] == ""
    for said in ("images/s", "accuracy    about", "spikes per image", "states      0 |"):
        assert said in seen[True]
    assert seen[True].count("seed 0 after 1000 images: one dominating neuron") == 1


def test_what_is_shown() -> None:
    lines = shown_lines(glance(counted(EQUAL, right=True), BASE, w=np.full((2, 2), 0.5), start=START[:2, :2]))
    assert lines[0].startswith("accuracy    about 100 %")
    assert "0 silent" in lines[1]
    assert lines[2] == "states      0 |          █         | 1"


# -- bad input ---------------------------------------------------------------------------------------------------------

X, Y = np.eye(4), np.array([0, 1, 0, 1])


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"train_y": Y[:3]}, "4 images to train on and labels of shape .3,.; give one label per image"),
        ({"test_x": np.eye(3), "test_y": Y[:3]}, "4 pixels to train on and 3 to test on; give images of one size"),
        ({"train_x": X.reshape(4, 2, 2)}, "the images to train on corners have shape .4, 2, 2."),
        ({"train_x": 255.0 * X}, "pixels from 0 to 255 to train on; scale them to 0..1"),
        ({"test_x": X * np.nan}, "pixels from nan to nan to test on"),
        ({"train_y": Y - 1}, "are not whole numbers from 0"),
        ({"train_y": Y + 0.5}, "are not whole numbers from 0"),
        ({"side": 3}, "4 pixels of corners do not make rows of 3"),
        ({"test_x": X[:0], "test_y": Y[:0]}, "the images to test on corners have shape .0, 4."),
    ],
)
def test_images_that_do_not_fit_together(changes: dict[str, object], says: str) -> None:
    given = {"name": "corners", "train_x": X, "train_y": Y, "test_x": X, "test_y": Y, "side": 2}
    with pytest.raises(InputError, match=says):
        ImageSet(**{**given, **changes})


def test_one_class_is_no_task() -> None:
    one = np.zeros(4, dtype=int)
    with pytest.raises(InputError, match="all images of corners are of class 0, so that there is nothing to tell"):
        ImageTask(ImageSet("corners", X, one, X, one, side=2))


QUICK = [
    "network", "run", "vdsp", "--images", "300", "--epochs", "1", "--neurons", "5", "--no-figures", "--backend", "numpy"
]  # fmt: skip


@pytest.mark.needs("sklearn")
@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--threshold-rsd", "-5 %"], "the deviation has to be at least 0 and below 1"),
        (["--resistance-rsd", "120 %"], "the deviation of the resistances has to be at least 0 and below 1"),
        (["--gate", "0.9:-1"], "has a negative second number; write e.g. 0.95:0.9"),
        (["--drive", "hard"], "unknown way to drive the cells 'hard'"),
        (["--rule", "hebb"], "unknown learning rule 'hebb'"),
        (["--width", "1:0"], "not above zero"),
    ],
)
def test_bad_options(words: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*QUICK, *words, "-o", str(tmp_path / "out")]) == 2
    shown = capsys.readouterr().err
    assert says in shown
    assert shown.count("\n") == 1


@pytest.mark.needs("sklearn")
def test_folders_of_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file in the place of the folder is seen before anything is learned; what differs from the old run is named."""
    (tmp_path / "file").write_text("")
    assert main([*QUICK, "-o", str(tmp_path / "file")]) == 2
    assert "is a file, and results need a folder" in capsys.readouterr().err
    out = tmp_path / "out"
    assert main([*QUICK, "-o", str(out)]) == 0
    assert main([*QUICK, "-o", str(out), "--resume", "--scale-p", "1.2"]) == 2
    assert "scale_p was not given and is 1.2" in capsys.readouterr().err
    (out / "seed-0.npz").rename(out / "seed-1.npz")
    assert main([*QUICK, "-o", str(out), "--resume", "--seeds", "1"]) == 2
    assert "belongs to another run: seed was 0 and is 1" in capsys.readouterr().err
