"""The VDSP network: its rule, small runs that learn, and runs that are interrupted and go on."""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from cosim.errors import DomainError, InputError, UnknownName
from cosim.network.crossbar import Crossbar
from cosim.network.images import BATCH, ImageSet, ImageTask, load_images
from cosim.network.plasticity import StochasticVdsp, Vdsp, default_scales
from cosim.network.run import run_network
from cosim.network.systems.vdsp import VdspNetwork, VdspSystem
from cosim.network.systems.vdsp_settings import VdspSettings, vdsp_preset
from cosim.parameters import ParameterSet
from cosim.surrogate.base import DomainWarning
from cosim.surrogate.model import Surrogate

TIO2 = ParameterSet.load("tio2")
SURROGATES = {
    "published": Surrogate(TIO2, name="published"),
    "rate": Surrogate(TIO2),
    "cell": Surrogate(TIO2.for_device("cell_1t1r")),
}


def bars(n: int = 400, side: int = 6) -> ImageSet:
    """Vertical bars at ``side`` places, with noise: a set that a small network learns within a second."""
    rng = np.random.default_rng(1)
    y = rng.integers(0, side, n)
    x = 0.04 * rng.random((n, side, side))
    x[np.arange(n), :, y] = rng.uniform(0.7, 1.0, (n, side))
    flat, k = x.reshape(n, -1), 3 * n // 4
    return ImageSet("bars", flat[:k], y[:k], flat[k:], y[k:], side)


BARS = bars()
SETTINGS, _ = vdsp_preset("digits")
# A bar has six pixels, a digit about thirty.
SMALL = SETTINGS.with_(neurons=16, output=replace(SETTINGS.output, threshold=2.0, jump=0.26))


def system(
    name: str = "published", *, epochs: int = 3, settings: VdspSettings = SMALL, label_images: int = 0, **changes
) -> VdspSystem:
    return VdspSystem(settings, SURROGATES[name], ImageTask(BARS, epochs, label_images), **changes)


# -- the rule ----------------------------------------------------------------------------------------------------------


def test_a_threshold_that_is_higher_acts_as_a_voltage_that_is_lower() -> None:
    rule = StochasticVdsp(threshold_p=1.4, threshold_d=1.5, scale_p=1.0, scale_d=1.0, gate_p=0.2, cycle=0.2)
    v, random = np.array([-1.0, -1.0, -0.3, -0.1, 0.0, 0.1, 1.0]), np.array([1.0, -1.0, 2.0, 3.0, -3.0, 1.0, 1.0])
    local = SimpleNamespace(pre=SimpleNamespace(v=v), random=random, p=SimpleNamespace(**rule.parameters(1.0)))
    volts = rule.on_post(local)["amplitude"]
    np.testing.assert_allclose(volts, [-1.4 + 0.28, -1.4 - 0.28, 0.0, 0.0, 0.0, 0.0, 1.5 - 0.3])


def test_no_threshold_of_a_pulse_is_below_zero() -> None:
    """At 50 % a normal number of −2 is a threshold of zero, and a lower one is no stronger pulse."""
    rule = StochasticVdsp(threshold_p=1.4, threshold_d=1.5, scale_p=1.0, scale_d=1.0, cycle=0.5)
    local = SimpleNamespace(
        pre=SimpleNamespace(v=np.array([-1.0, -1.0, 1.0, 1.0])),
        random=np.array([-2.0, -4.0, -2.0, -4.0]),
        p=SimpleNamespace(**rule.parameters(1.0)),
    )
    np.testing.assert_allclose(rule.on_post(local)["amplitude"], [-2.8, -2.8, 3.0, 3.0])


@pytest.mark.needs("numba")
def test_a_stochastic_device_learns_the_same_in_numpy_and_compiled() -> None:
    settings = SMALL.with_(cycle_deviation=0.1)
    runs = [run_network(system(epochs=1, settings=settings, backend=b)).seeds[0] for b in ("numpy", "numba")]
    np.testing.assert_allclose(runs[0].arrays.w, runs[1].arrays.w, rtol=1e-12)  # exponentials of two libraries
    assert not np.array_equal(runs[0].arrays.w, run_network(system(epochs=1)).seeds[0].arrays.w)


def test_voltages_of_the_rule() -> None:
    rule = Vdsp(threshold_p=1.4323, threshold_d=1.5643, scale_p=1.05, scale_d=1.11)
    v = np.array([-1.0, -0.5, 0.0, 0.9, 1.0])
    local = SimpleNamespace(pre=SimpleNamespace(v=v), p=SimpleNamespace(**rule.parameters(1.0)))
    volts = rule.on_post(local)["amplitude"]
    np.testing.assert_allclose(volts, [-1.4323 * 1.05, -0.5 * 1.4323 * 1.05, 0.0, 0.9 * 1.5643 * 1.11, 1.5643 * 1.11])
    # A neuron that has just spiked potentiates, one near its threshold depresses, one in between does nothing.
    w = SURROGATES["published"].update(np.full(5, 0.5), volts)
    assert w[0] > 0.5 > w[4]
    assert w[1] == w[2] == w[3] == 0.5


def test_scales_of_known_and_unknown_sets() -> None:
    assert default_scales(SURROGATES["rate"]) == (1.11, 1.05)
    renamed = ParameterSet("threshold_memristor", "mine", TIO2.values)
    # The rule for unknown cells aims at the steps of TiO2: its factors come back to within the rounding of those.
    assert default_scales(Surrogate(renamed)) == pytest.approx((1.11, 1.05), abs=0.002)


def test_scales_go_with_the_set_and_not_with_its_name(tmp_path: Path) -> None:
    from cosim.surrogate import files

    other = TIO2.with_values({"theta_p": 0.9, "alpha_p": 2.0}, name="mine")
    assert default_scales(Surrogate(other)) == (1.11, 1.05)
    assert default_scales(Surrogate(other.for_device("cell_1t1r"))) == (1.11, 1.05)
    again = ParameterSet.load(other.save(tmp_path / "mine.toml"))
    assert again.plasticity == other.plasticity
    stored = files.load(files.save(Surrogate(again), tmp_path / "mine.npz"))
    assert default_scales(stored) == (1.11, 1.05)
    named = ParameterSet("threshold_memristor", "tio2-else", other.values)
    assert default_scales(Surrogate(named)) != (1.11, 1.05)
    with pytest.raises(InputError, match="not a factor above zero"):
        replace(TIO2, plasticity={"scale_p": replace(TIO2.plasticity["scale_p"], value=0.0)})


def test_a_cell_is_driven_harder_than_its_memristor() -> None:
    alone = Vdsp.of(SURROGATES["rate"], scale_p=1.0, scale_d=1.0)
    cell = Vdsp.of(SURROGATES["cell"], scale_p=1.0, scale_d=1.0)
    assert (alone.threshold_p, alone.threshold_d) == pytest.approx((1.4323, 1.5643))
    assert cell.threshold_p > alone.threshold_p
    assert cell.threshold_d > alone.threshold_d


# -- the crossbar ------------------------------------------------------------------------------------------------------


def test_programming_one_column_leaves_the_others() -> None:
    rng = np.random.default_rng(0)
    w = rng.random((5, 3))
    crossbar = Crossbar(SURROGATES["rate"], w)
    crossbar.program(1, np.array([-2.0, 2.0, 0.0, 1.0, -1.6]))
    np.testing.assert_array_equal(crossbar.w[:, [0, 2]], w[:, [0, 2]])
    assert crossbar.pulses == 3
    np.testing.assert_allclose(crossbar.weight, crossbar.w * (1 - 1 / 7.5) + 1 / 7.5, atol=1e-15)


@pytest.mark.needs("numba")
@pytest.mark.parametrize(("name", "instances"), [("published", False), ("rate", True), ("cell", True)])
def test_the_compiled_map_does_the_same(name: str, instances: bool) -> None:
    settings = SMALL.with_(deviation=0.2 if instances else 0.0)
    networks = [
        VdspNetwork(settings, SURROGATES[name], inputs=36, rng=np.random.default_rng(0), backend=backend)
        for backend in ("numpy", "numba")
    ]
    for network in networks:
        w = network.crossbar.w.copy()
        w[:4, :] = np.array([0.0, 1.0, 1e-9, 0.005])[:, None]
        network.crossbar.load(w)
        network.learn(BARS.train_x[:40], np.random.default_rng(1))
    ours, theirs = (network.crossbar for network in networks)
    # Two libraries' exponentials and logarithms, a unit in the last place each, in some thousand pulses.
    np.testing.assert_allclose(theirs.w, ours.w, rtol=0, atol=1e-13)
    np.testing.assert_allclose(theirs.weight, ours.weight, rtol=0, atol=1e-13)
    assert theirs.pulses == ours.pulses > 300


@pytest.mark.parametrize("backend", ["numpy", pytest.param("numba", marks=pytest.mark.needs("numba"))])
def test_a_domain_is_looked_at_once_per_batch(backend: str) -> None:
    cell = SURROGATES["rate"]
    network = VdspNetwork(SMALL.with_(scale_p=9.0), cell, inputs=36, rng=np.random.default_rng(0), backend=backend)
    with pytest.raises(DomainError, match=r"amplitude = -12\.8907 V is outside"):
        network.learn(BARS.train_x[:20], np.random.default_rng(1))
    warned = cell.with_(policy="warn")
    network = VdspNetwork(SMALL.with_(scale_p=9.0), warned, inputs=36, rng=np.random.default_rng(0), backend=backend)
    with pytest.warns(DomainWarning) as found:
        network.learn(BARS.train_x[:20], np.random.default_rng(1))
    assert len(found) == 1
    (said,) = network.crossbar.extrapolated.items()
    assert said[0] == "amplitude"
    end = pytest.approx(-12.8907)
    assert said[1] == {"events": 151.0, "from": end, "to": end}  # both loops count the same
    with pytest.raises(DomainError):
        Crossbar(cell, np.full((2, 2), 0.5)).program(0, np.full(2, np.nan))


def test_bad_crossbars() -> None:
    with pytest.raises(InputError, match="matrix"):
        Crossbar(SURROGATES["rate"], np.zeros(3))
    with pytest.raises(InputError, match="matrix"):
        Crossbar(SURROGATES["rate"], np.full((2, 2), np.nan))
    many = Surrogate(TIO2, instances={"theta_p": np.full((2, 3), 1.4)})
    with pytest.raises(InputError, match="theta_p of the cells"):
        Crossbar(many, np.zeros((2, 2)))


def test_cells_that_deviate() -> None:
    network = VdspNetwork(
        SMALL.with_(deviation=0.2), SURROGATES["rate"], inputs=36, rng=np.random.default_rng(0), backend="numpy"
    )
    theta = network.crossbar.surrogate.instances["theta_p"]
    assert theta.shape == (36, 16)
    assert np.std(theta) / 1.4323 == pytest.approx(0.2, rel=0.1)  # of 576 draws: 3 %
    network.learn(BARS.train_x[:40], np.random.default_rng(1))
    assert np.all((network.crossbar.w >= 0) & (network.crossbar.w <= 1))


# -- learning ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SURROGATES)
def test_a_small_network_learns(name: str) -> None:
    result = run_network(system(name))
    found = result.seeds[0]
    # Chance is a sixth; the winner of a network that does not learn is right in 0.7, by its random fields.
    assert found.values.accuracy_on_test_images["W"] > 0.85
    assert found.values.accuracy > 0.9
    assert 0.5 < np.mean(found.values.spikes_per_image) < 20
    assert found.values.programming_pulses > 1000
    field = np.argmax([found.arrays.weight[:, j].reshape(6, 6).mean(axis=0) for j in range(16)], axis=1)
    own = found.arrays.labels >= 0
    # A neuron's brightest column is the bar that it answers to.
    assert np.mean(field[own] == found.arrays.labels[own]) > 0.7


def test_without_plasticity_there_is_nothing_to_see() -> None:
    still = run_network(system(settings=SMALL.with_(scale_p=0.9, scale_d=0.9, scale_p_end=None)))
    assert still.seeds[0].values.programming_pulses == 0
    before, after = (one.seeds[0].values.accuracy_on_test_images["W"] for one in (still, run_network(system())))
    assert before < after - 0.1


def test_the_same_seed_gives_the_same_network() -> None:
    first, again = (run_network(system(epochs=1), seeds=(4,)).seeds[0] for _ in range(2))
    other = run_network(system(epochs=1), seeds=(5,)).seeds[0]
    np.testing.assert_array_equal(first.arrays.w, again.arrays.w)
    assert first.values.accuracy_on_test_images == again.values.accuracy_on_test_images
    assert not np.array_equal(first.arrays.w, other.arrays.w)


@pytest.mark.needs("numba")
def test_numba_and_numpy_learn_the_same() -> None:
    ours, theirs = (run_network(system(epochs=1, backend=name)).seeds[0] for name in ("numpy", "numba"))
    np.testing.assert_array_equal(ours.values.spikes_per_image, theirs.values.spikes_per_image)
    # The pulse map rounds differently in its last bit, in each of some ten thousand pulses.
    np.testing.assert_allclose(ours.arrays.w, theirs.arrays.w, rtol=0, atol=1e-12)
    assert ours.values.accuracy_on_test_images == theirs.values.accuracy_on_test_images


def test_responses_do_not_depend_on_what_came_before() -> None:
    network = VdspNetwork(SMALL, SURROGATES["rate"], inputs=36, rng=np.random.default_rng(0))
    before = network.state()
    for protocol in ("test", "learning"):
        first = network.respond(BARS.test_x[:10], np.random.default_rng(3), protocol=protocol)
        again = network.respond(BARS.test_x[:10], np.random.default_rng(3), protocol=protocol)
        np.testing.assert_array_equal(first, again)
    for name, values in network.state().items():
        np.testing.assert_array_equal(values, before[name])
    with pytest.raises(UnknownName, match="protocol"):
        network.respond(BARS.test_x[:1], np.random.default_rng(3), protocol="guess")


def test_annealing_ends_where_it_should(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    learn = VdspNetwork.learn

    def spy(self, images, rng, *, progress=0.0):
        seen.append(progress)
        return learn(self, images, rng, progress=progress)

    monkeypatch.setattr(VdspNetwork, "learn", spy)
    run_network(system(epochs=10, settings=SMALL.with_(anneal_steps=2)))
    assert seen[0] == 0.0
    assert seen[-1] == 1.0
    assert seen == sorted(seen)


# -- files and interruption --------------------------------------------------------------------------------------------


def test_interrupted_and_resumed_is_the_same_as_uninterrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(BARS.train_y) > BATCH
    whole = run_network(system(), seeds=(0, 1))
    learn = VdspNetwork.learn
    calls = 0

    def stopping(self, images, rng, *, progress=0.0):
        nonlocal calls
        calls += 1
        if calls == 4:
            learn(self, images[:7], rng, progress=progress)  # in the midst of a batch
            raise KeyboardInterrupt
        return learn(self, images, rng, progress=progress)

    monkeypatch.setattr(VdspNetwork, "learn", stopping)
    with pytest.raises(KeyboardInterrupt):
        run_network(system(), seeds=(0, 1), folder=tmp_path)
    assert (tmp_path / "seed-0.checkpoint.npz").exists()
    calls = 100
    resumed = run_network(system(), seeds=(0, 1), folder=tmp_path, resume=True)
    for ours, theirs in zip(whole.seeds, resumed.seeds, strict=True):
        np.testing.assert_array_equal(ours.arrays.w, theirs.arrays.w)
        np.testing.assert_array_equal(ours.values.spikes_per_image, theirs.values.spikes_per_image)
        assert ours.values.accuracy_on_test_images == theirs.values.accuracy_on_test_images
    assert sorted(path.name for path in tmp_path.iterdir()) == ["result.json", "seed-0.npz", "seed-1.npz"]
    stored = json.loads((tmp_path / "result.json").read_text())
    assert stored["accuracy"]["mean"] == whole.mean
    assert stored["accuracy"]["seeds"] == 2
    calls = 3  # a finished folder is read, not run again
    again = run_network(system(), seeds=(0, 1), folder=tmp_path, resume=True)
    assert again.mean == whole.mean
    assert calls == 3


def test_a_folder_is_not_overwritten_or_mixed_up(tmp_path: Path) -> None:
    run_network(system(epochs=1), folder=tmp_path)
    with pytest.raises(InputError, match="exists already"):
        run_network(system(epochs=1), folder=tmp_path)
    with pytest.raises(InputError, match=r"belongs to another run: \w+ was .* and is "):
        run_network(system("rate", epochs=1), folder=tmp_path, resume=True)
    with pytest.raises(InputError, match="belongs to another run: epochs was 1 and is 2; give the same options"):
        run_network(system(epochs=2), folder=tmp_path, resume=True)
    (tmp_path / "seed-0.npz").write_bytes(b"no archive")
    with pytest.raises(InputError, match=r"seed-0\.npz"):
        run_network(system(epochs=1), folder=tmp_path, resume=True)


@pytest.mark.parametrize(
    "make",
    [
        lambda: VdspSettings(neurons=0),
        lambda: VdspSettings(dt=0.0),
        lambda: VdspSettings(w_init=(0.5, 1.5)),
        lambda: VdspSettings(deviation=20.0),
        lambda: Vdsp(1.0, 1.0, 0.0, 1.0),
        lambda: system(epochs=0),
        lambda: system(label_images=1000),
        lambda: BARS.first(0),
        lambda: BARS.first(10_000),
        lambda: load_images("letters"),
        lambda: vdsp_preset("letters"),
        lambda: run_network(system(), seeds=()),
        lambda: run_network(system(), seeds=(1, 1)),
        *(partial(run_network, system(), seeds=(seed,)) for seed in (-1, 1.5, "a", None, True)),
        *(partial(VdspSettings, **{name: np.nan}) for name in ("scale_p", "scale_d", "inhibition", "gap", "tau_pre")),
        *(partial(VdspSettings, **{name: -1.0}) for name in ("scale_p", "scale_d", "tau_pre", "tau_post")),
        partial(VdspSettings, neurons=2.5),
        lambda: run_network(system(settings=SMALL.with_(output=replace(SMALL.output, threshold=100.0)), epochs=1)),
    ],
)
def test_impossible_plans(make) -> None:
    with pytest.raises(InputError):
        make()


def test_label_images_are_looked_at_before_learning(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(self, *args, **kwargs):
        raise AssertionError("it learned")

    monkeypatch.setattr(VdspNetwork, "learn", never)
    few = replace(system(), task=ImageTask(BARS.first(6)))
    with pytest.raises(
        InputError, match=r"the 4 images that the read-outs are fitted on show none of class .* \(seed 3\)"
    ):
        run_network(few, seeds=(3,))
    with pytest.raises(InputError, match="no image is left"):
        ImageTask(BARS.first(2), label_images=2)


def test_neurons_that_were_never_trained_have_no_class() -> None:
    """Without a pulse every field is as it was drawn; the read-outs may use it, a figure must not call it learned."""
    still = run_network(system(epochs=1, settings=SMALL.with_(scale_p=0.9, scale_d=0.9, scale_p_end=None)))
    assert np.all(still.seeds[0].arrays.labels == -1)
    fields = still.figures()["receptive_fields"].axes[0]
    assert not fields.texts
    assert "16 of all silent or untrained" in fields.get_title()
    learned = run_network(system(epochs=1)).seeds[0]
    assert 0 < np.count_nonzero(learned.arrays.labels >= 0) <= 16


def test_figures_of_a_run() -> None:
    result = run_network(system(epochs=1), seeds=(0, 1))
    figures = result.figures()
    assert set(figures) == {"receptive_fields", "states", "confusion", "accuracy", "activity"}
    for figure in figures.values():
        figure.canvas.draw()
        assert all(ax.get_xlabel() or not ax.axison or ax.get_ylabel() or ax.get_xticklabels() for ax in figure.axes)


@pytest.mark.needs("sklearn")
def test_digits_are_learned_in_the_demo_setting() -> None:
    settings, _ = vdsp_preset("digits")
    found = run_network(VdspSystem(settings, SURROGATES["rate"], ImageTask(load_images("digits").first(700), 4)))
    # Chance is a tenth. With all images and ten epochs it is above 80 %; this is a quarter of a minute's worth less.
    assert found.mean > 0.65
