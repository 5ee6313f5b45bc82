"""Training and certifying against a circuit that is known exactly."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from cosim.devices.base import Values
from cosim.devices.maps import EventMap
from cosim.errors import DataError, DomainError, FitError, InputError, UnknownName
from cosim.parameters import ParameterSet
from cosim.surrogate.base import Certificate
from cosim.surrogate.certify import certify, growth, seconds_per_event, seconds_per_step
from cosim.surrogate.files import load, save
from cosim.surrogate.model import Surrogate
from cosim.surrogate.train import collect, correct, load_samples, sample_columns, train
from cosim.surrogate.trains import LEAST_TESTED, covered_range, random_events

TIO2 = ParameterSet.load("tio2")
BARE = Surrogate(TIO2)


class Made:
    """A circuit whose step is the model's own times a known factor, and whose energy is a known factor larger."""

    engine = "made"
    device: ParameterSet | None = None

    @property
    def independent(self) -> bool:
        return self.device is not None

    def __init__(self, bend: float = 0.0, energy: float = 1.0) -> None:
        self.tolerances = {"reltol": 1e-9}
        self.bend, self.energy = bend, energy

    def netlist(self, event_map: EventMap) -> str:
        return "0" * 64

    def subject(self, parameters: ParameterSet) -> str:
        return f"a circuit with {(self.device or parameters).name}"

    def respond(self, parameters: ParameterSet, event_map: EventMap, events: xr.Dataset) -> xr.Dataset:
        own = Surrogate(self.device or parameters)
        w, states, energies = np.array([float(events["w_before"])]), [], []
        for v in events["amplitude"].values:
            after, out = own.step(Values({"w": w}), Values({"amplitude": np.array([v])}))
            gain = 1.0 + self.bend * (w - 0.5) * abs(v)
            w = np.clip(w + gain * (after.w - w), 0.0, 1.0)
            states.append(w[0])
            energies.append(self.energy * out.energy[0])
        read = own.read(Values({"w": np.array(states)})).conductance
        columns = {"w": np.array(states), "conductance": read, "energy": np.array(energies)}
        return xr.Dataset({name: ("event", values) for name, values in columns.items()})


def test_the_certificate_of_a_perfect_surrogate_is_zero() -> None:
    surrogate, held = certify(BARE, Made(), pulses=120, train=50)
    found = surrogate.certificate
    assert isinstance(found, Certificate)
    assert [run.shape[1] for run in held.free] == [30, 30, *[5] * 12]
    assert found.errors["w"].max < 1e-14
    assert found.errors["energy"].max_percent < 1e-9
    assert found.pulses == held["amplitude"].size == 120
    assert (found.against, found.reference, found.extraction) == (
        "made",
        "map pulse on a circuit with tio2",
        "not included",
    )
    assert found.parameters == TIO2.fingerprint()
    assert Certificate.from_dict(found.to_dict()) == found


def test_the_certificate_finds_a_known_error() -> None:
    surrogate, held = certify(BARE, Made(bend=0.1, energy=1.25), pulses=300)
    errors = surrogate.certificate.errors
    step = held["w"] - held["w_before"]
    gain = 1 + 0.1 * (held["w_before"] - 0.5) * np.abs(held["amplitude"])
    np.testing.assert_allclose(held["w_surrogate"] - held["w_before"], step / gain, atol=1e-12)
    assert errors["w"].max == pytest.approx(np.max(np.abs(step / gain - step)), rel=1e-9)
    assert errors["conductance"].max == pytest.approx(errors["w"].max * 200e-6 * (1 - 1 / 7.5), rel=1e-9)
    assert errors["energy"].max_percent == pytest.approx(20.0, rel=1e-6)  # 1 − 1/1.25
    rollout = surrogate.certificate.rollout
    assert list(rollout.max) == sorted(rollout.max)
    assert rollout.pulses[-1] == 100


class Fixed(Made):
    """A circuit whose memristor stays the published one, whatever the surrogate believes."""

    device = TIO2


@pytest.mark.parametrize("wrong", [{"g_max": 300e-6}, {"ratio": 3.0}, {"g_max": 300e-6, "ratio": 3.0}])
def test_the_certificate_sees_a_wrong_conductance(wrong: dict[str, float]) -> None:
    """The states agree; what a read of the two memristors gives does not."""
    surrogate, held = certify(Surrogate(TIO2.with_values(wrong)), Fixed(), pulses=100, train=60)
    errors, device, believed = surrogate.certificate.errors, TIO2.resolved(), surrogate.values

    def read(w, p):
        return p.g_max * (1.0 / p.ratio + (1.0 - 1.0 / p.ratio) * w)

    assert errors["w"].max < 1e-14
    worst = np.max(np.abs(read(held["w"], believed) - read(held["w"], device)))
    assert errors["conductance"].max == pytest.approx(worst, rel=1e-9)
    assert errors["conductance"].max_percent > 10.0
    assert errors["conductance"].full_scale == device.g_max


def test_the_domain_is_what_the_held_out_pulses_tested() -> None:
    surrogate, held = certify(BARE, Made(), pulses=200, train=40)
    tested = np.histogram(held["w_before"], bins=10, range=(0.0, 1.0))[0]
    assert tested.min() >= LEAST_TESTED  # the short trains began where too few pulses were
    assert surrogate.certificate.domain.states["w"] == (0.0, 1.0)
    assert f"tenth of w: {', '.join(map(str, tested))};" in surrogate.certificate.notes[-1]
    surrogate.update(np.linspace(0.0, 1.0, 5), 1.6)  # every state, as a network begins with


def test_a_state_that_a_start_point_alone_has_seen_is_not_certified() -> None:
    """Weak pulses from 0 and from 1 leave the middle untouched, and four more do not test eight tenths."""
    p = TIO2.resolved()
    span = (-1.02 * float(p.theta_p), 1.02 * float(p.theta_n))
    surrogate, held = certify(BARE, Made(), pulses=20, ranges={"amplitude": span})
    assert {0.0, 1.0} <= set(held["w_before"])
    low, high = surrogate.certificate.domain.states["w"]
    assert high - low < 0.35
    with pytest.raises(DomainError, match="state w"):
        surrogate.update(np.array([0.5]), float(span[1]))
    with pytest.raises(InputError, match="certify with 100 pulses or more"):
        certify(BARE, Made(), pulses=2)


@pytest.mark.parametrize(
    ("tested", "covered"),
    [
        ([5] * 10, (0.0, 1.0)),
        ([5, 5, 5, 4, 9, 9, 9, 9, 9, 9], (0.4, 1.0)),
        ([99, 1, 5, 5, 1, 0, 0, 0, 0, 99], (0.2, 0.4)),
        ([5, 5, 0, 5, 5, 5, 0, 5, 0, 0], (0.3, 0.6)),
    ],
)
def test_the_widest_range_with_enough_pulses(tested: list[int], covered: tuple[float, float]) -> None:
    assert covered_range(BARE.map.states["w"], np.array(tested), name="w") == covered


def test_limits_of_a_certificate() -> None:
    good = certify(BARE, Made(), pulses=100)[0].certificate
    assert good.broken == ()
    bad = certify(BARE, Made(bend=0.3, energy=1.25), pulses=100, limits={"free run": 0.5})[0].certificate
    assert dict(bad.limits) == {"w": 0.01, "conductance": 0.01, "energy": 0.07, "free run": 0.5}
    assert [sentence.partition(":")[0] for sentence in bad.broken] == ["w", "conductance", "energy"]
    assert bad.broken[2] == "energy: 20 % of full scale, limit 7 %"
    with pytest.raises(UnknownName, match="sate"):
        certify(BARE, Made(), pulses=100, limits={"sate": 0.1})
    with pytest.raises(InputError, match="limit of energy is 0"):
        certify(BARE, Made(), pulses=100, limits={"energy": 0.0})


def test_a_certificate_names_its_reference() -> None:
    """The same surrogate against its own set and against the device: the second alone shows the extraction's error."""
    fitted = Surrogate(TIO2.with_values({"theta_p": 1.02 * 1.4323}, name="fitted"))
    itself = certify(fitted, Made(), pulses=100)[0].certificate
    device = certify(fitted, Fixed(), pulses=100)[0].certificate
    assert (itself.reference, itself.extraction) == ("map pulse on a circuit with fitted", "not included")
    assert (device.reference, device.extraction) == ("map pulse on a circuit with tio2", "included")
    assert itself.errors["w"].max < 1e-14
    assert device.errors["w"].max > 0.01
    with pytest.raises(InputError, match="cannot be held against a circuit with tio2, which has none"):
        certify(fitted, Fixed(), pulses=100, spread={"theta_p": 0.1})


def test_the_time_of_a_pulse_leaves_out_what_the_reference_takes_to_start() -> None:
    sizes = [200, 200, 5, 5, 5]
    assert seconds_per_event(sizes, [9.0, *(0.5 + 1e-3 * n for n in sizes[1:])]) == pytest.approx(1e-3)
    assert seconds_per_event([20, 20], [1.0, 1.0]) is None  # of one length: start-up cannot be told from pulses


def test_every_certificate_says_how_long_an_event_takes(tmp_path: Path) -> None:
    surrogate, held = certify(BARE, Made(), pulses=400, train=200)
    found = surrogate.certificate
    assert found is not None
    assert found.seconds_per_step is not None
    assert 1e-9 < found.seconds_per_step < 1e-5  # tens of ns in numpy; one alone would take tens of µs
    assert found.seconds_per_event == held.seconds_per_pulse
    (said,) = (line for line in found.lines() if line.startswith("time"))
    assert "of a core, of many instances" in said
    assert ("in the reference" in said) == (found.seconds_per_event is not None)
    save(surrogate, tmp_path / "cell.npz")
    stored = load(tmp_path / "cell.npz").certificate
    assert stored is not None
    assert stored.lines() == found.lines()


def test_the_time_of_a_step_is_that_of_one_instance(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step that takes 10 ms whatever the number of instances, and one of 30 µs an instance: fewer are then taken."""
    clock, seen = [0.0], []

    def step(self: Surrogate, state: Values, inputs: Values, *, out: object) -> None:
        seen.append(state["w"].size)
        clock[0] += once + each * state["w"].size

    monkeypatch.setattr(Surrogate, "step", step)
    monkeypatch.setattr("cosim.surrogate.certify.time.process_time", lambda: clock[0])
    once, each = 0.01, 0.0
    assert seconds_per_step(BARE) == pytest.approx(0.01 / 20_000)
    assert seen[-1] == 20_000
    once, each = 0.0, 3e-5
    assert seconds_per_step(BARE) == pytest.approx(3e-5)
    assert seen[-1] == 2000


def test_progress_counts_to_the_end() -> None:
    told: list[tuple[int, int]] = []
    certify(BARE, Made(), pulses=48, train=40, tell=lambda done, of: told.append((done, of)))
    assert told == [(0, 48), (12, 48), (24, 48), (29, 48), (34, 48), (39, 48), (44, 48), (48, 48)]


def test_the_same_seed_gives_the_same_certificate() -> None:
    first = certify(BARE, Made(bend=0.1), pulses=50, seed=3)[0].certificate
    again = certify(BARE, Made(bend=0.1), pulses=50, seed=3)[0].certificate
    other = certify(BARE, Made(bend=0.1), pulses=50, seed=4)[0].certificate
    assert first.data == again.data != other.data
    assert first.errors == again.errors


def test_a_spread_of_parameters_becomes_part_of_the_domain() -> None:
    surrogate, _ = certify(BARE, Made(), pulses=60, train=20, spread={"theta_p": 0.2})
    low, high = surrogate.certificate.domain.parameters["theta_p"]
    # cells of that deviation lie up to three of it from the nominal value
    assert (low, high) == pytest.approx((0.4 * 1.4323, 1.6 * 1.4323))
    assert surrogate.certificate.errors["w"].max < 1e-14
    surrogate.with_(instances={"theta_p": np.array([1.2, 1.6])})
    with pytest.raises(UnknownName):
        certify(BARE, Made(), pulses=5, spread={"theta_q": 0.2})
    with pytest.raises(InputError, match="give a share"):
        certify(BARE, Made(), pulses=5, spread={"theta_p": 20.0})


def test_training_and_held_out_pulses_differ() -> None:
    samples = collect(BARE, Made(), seed=0, pulses=200)
    _, held = certify(BARE, Made(), seed=0, pulses=200)
    assert not np.intersect1d(samples["amplitude"], held["amplitude"]).size


def test_random_trains_hold_both_polarities_and_stay_in_their_span() -> None:
    span = BARE.map.inputs["amplitude"].range
    v = random_events(BARE.map, np.random.default_rng(0), count=2000, begin={"w": 0.5})["amplitude"].values
    assert span[0] <= v.min() < -2.2
    assert 2.2 < v.max() <= span[1]
    quiet = np.mean((v > -1.4323) & (v < 1.5643))
    assert 0.07 < quiet < 0.13  # a tenth of 2000 has a standard deviation of 0.7 %
    with pytest.raises(InputError, match="one sign"):
        random_events(BARE.map, np.random.default_rng(0), count=5, begin={"w": 0.5}, ranges={"amplitude": (1.0, 2.0)})


def test_a_correction_learns_what_the_model_leaves_out() -> None:
    circuit = Made(bend=0.1, energy=1.25)
    samples = collect(BARE, circuit, pulses=800)
    surrogate, held = train(TIO2, circuit, samples=samples)
    plain = certify(BARE, circuit)[0].certificate
    found = surrogate.certificate
    assert "correction of degree" in found.notes[0]
    # The factor is bilinear in w and V, which degree 1 holds exactly.
    assert found.errors["w"].max < 1e-3 * plain.errors["w"].max
    assert found.errors["energy"].max_percent < 0.1
    assert held["w_surrogate"].min() >= 0.0
    assert held["w_surrogate"].max() <= 1.0


def test_noise_is_not_learned() -> None:
    samples = collect(BARE, Made(), pulses=400)
    rng = np.random.default_rng(1)
    noise = 0.02 * rng.standard_normal(samples.sizes["event"])
    noisy = samples.assign(w=np.clip(samples["w"] + noise, 0, 1))
    surrogate, sentence = correct(BARE, noisy, rng=np.random.default_rng(0))
    assert surrogate.correction is None
    assert sentence.startswith("no correction")


def test_samples_that_say_nothing() -> None:
    columns = {"w_before": 0.5, "amplitude": 2.0, "w": 0.4, "energy": 1e-12}
    few = xr.Dataset({name: ("event", np.full(9, value)) for name, value in columns.items()})
    with pytest.raises(FitError, match="too few"):
        correct(BARE, few, rng=np.random.default_rng(0))
    with pytest.raises(InputError, match="no sample lies within"):
        train(TIO2, Made(), samples=few, ranges={"amplitude": (-1.9, 1.9)}, pulses=5)


def test_sample_files(tmp_path: Path) -> None:
    samples = collect(BARE, Made(), pulses=20)
    path = tmp_path / "samples.npz"
    columns = {name: samples[there].values for name, there in sample_columns(BARE.map).items()}
    np.savez(path, **columns)
    np.testing.assert_array_equal(load_samples(path, BARE.map)["w"], samples["w"])
    np.savez(tmp_path / "lacking.npz", w_before=np.zeros(3))
    with pytest.raises(DataError, match="lacks amplitude, w_after, energy"):
        load_samples(tmp_path / "lacking.npz", BARE.map)
    columns["w_after"][7] = np.nan
    np.savez(tmp_path / "bad.npz", **columns)
    with pytest.raises(DataError, match=r"bad\.npz:7, column w_after: .* is not a sample"):
        load_samples(tmp_path / "bad.npz", BARE.map)
    np.savez(tmp_path / "ragged.npz", **{**columns, "energy": np.zeros(3)})
    with pytest.raises(DataError, match="one length"):
        load_samples(tmp_path / "ragged.npz", BARE.map)
    np.savez(tmp_path / "words.npz", **{**columns, "energy": np.array(["a"] * 20)})
    with pytest.raises(DataError, match="not numbers"):
        load_samples(tmp_path / "words.npz", BARE.map)


def test_growth_is_of_all_pulses_so_far() -> None:
    run = np.array([[0.5, 0.5, 0.5], [0.5, 0.7, 0.5]])
    found = growth((run,))
    assert found.pulses == (1, 2, 3)
    assert found.max == (0.0, pytest.approx(0.2), pytest.approx(0.2))
