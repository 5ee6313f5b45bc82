"""Training and certifying against a circuit that is known exactly."""

from pathlib import Path

import numpy as np
import pytest

from cosim.devices.pulse import PulseShape
from cosim.errors import DataError, DomainError, FitError, InputError, UnknownName
from cosim.parameters import ParameterSet
from cosim.surrogate.base import Certificate, Response
from cosim.surrogate.check import certify, default_range, growth, random_train
from cosim.surrogate.pulse import PulseSurrogate
from cosim.surrogate.train import Samples, collect, fit_correction, from_parameters, train

TIO2 = ParameterSet.load("tio2")
BARE = PulseSurrogate(TIO2)


class Made:
    """A circuit whose step is the model's own times a known factor, and whose energy is a known factor larger."""

    engine = "made"
    netlist = "0" * 64

    def __init__(self, bend: float = 0.0, energy: float = 1.0) -> None:
        self.tolerances = {"reltol": 1e-9}
        self.bend, self.energy = bend, energy

    def reference(self, parameters: ParameterSet, *, shape: PulseShape):
        own = PulseSurrogate(parameters, shape=shape)

        def respond(amplitudes: np.ndarray, w0: float) -> Response:
            from cosim.devices.base import Values

            w, states, energies = np.array([w0]), [], []
            for v in amplitudes:
                after, out = own.step(Values({"w": w}), Values({"amplitude": np.array([v])}))
                gain = 1.0 + self.bend * (w - 0.5) * abs(v)
                w = np.clip(w + gain * (after.w - w), 0.0, 1.0)
                states.append(w[0])
                energies.append(self.energy * out.energy[0])
            return Response.of(np.array(states), np.array(energies), parameters.resolved())

        return respond


def test_the_certificate_of_a_perfect_surrogate_is_zero() -> None:
    surrogate, held = certify(BARE, Made(), pulses=120, train=50)
    found = surrogate.certificate
    assert isinstance(found, Certificate)
    assert [run.shape[1] for run in held.free] == [50, 50, 20]
    assert found.errors["state"].max < 1e-14
    assert found.errors["energy"].max_percent < 1e-9
    assert found.pulses == held.amplitude.size == 120
    assert found.against == "made"
    assert found.parameters == TIO2.fingerprint()
    assert Certificate.from_dict(found.to_dict()) == found


def test_the_certificate_finds_a_known_error() -> None:
    surrogate, held = certify(BARE, Made(bend=0.1, energy=1.25), pulses=300)
    errors = surrogate.certificate.errors
    step = held.w - held.w_before
    gain = 1 + 0.1 * (held.w_before - 0.5) * np.abs(held.amplitude)
    np.testing.assert_allclose(held.w_surrogate - held.w_before, step / gain, atol=1e-12)
    assert errors["state"].max == pytest.approx(np.max(np.abs(step / gain - step)), rel=1e-9)
    assert errors["conductance"].max == pytest.approx(errors["state"].max * 200e-6 * (1 - 1 / 7.5), rel=1e-9)
    assert errors["energy"].max_percent == pytest.approx(20.0, rel=1e-6)  # 1 − 1/1.25
    rollout = surrogate.certificate.rollout
    assert list(rollout.max) == sorted(rollout.max)
    assert rollout.pulses[-1] == 200


class Fixed(Made):
    """A circuit whose memristor stays the published one, whatever the surrogate believes."""

    def reference(self, parameters: ParameterSet, *, shape: PulseShape):
        return super().reference(TIO2, shape=shape)


@pytest.mark.parametrize("wrong", [{"g_max": 300e-6}, {"ratio": 3.0}, {"g_max": 300e-6, "ratio": 3.0}])
def test_the_certificate_sees_a_wrong_conductance(wrong: dict[str, float]) -> None:
    """The states agree; what a read of the two memristors gives does not."""
    surrogate, held = certify(from_parameters(TIO2.with_values(wrong)), Fixed(), pulses=60, train=60)
    errors, device, believed = surrogate.certificate.errors, TIO2.resolved(), surrogate.values

    def read(w, p):
        return p.g_max * (1.0 / p.ratio + (1.0 - 1.0 / p.ratio) * w)

    assert errors["state"].max < 1e-14
    worst = np.max(np.abs(read(held.w, believed) - read(held.w, device)))
    assert errors["conductance"].max == pytest.approx(worst, rel=1e-9)
    assert errors["conductance"].max_percent > 10.0
    assert errors["conductance"].full_scale == device.g_max


@pytest.mark.parametrize(("pulses", "trains"), [(1, 1), (2, 2), (40, 2), (90, 3)])
def test_the_domain_is_what_the_held_out_runs_went_through(pulses: int, trains: int) -> None:
    surrogate, held = certify(BARE, Made(), pulses=pulses, train=40)
    tested = np.concatenate([held.w_before, held.w])
    assert len(held.free) == trains
    assert surrogate.certificate.domain.states["w"] == (tested.min(), tested.max())
    assert surrogate.certificate.domain.states["w"] == (0.0, 1.0 if pulses > 1 else held.w[0])
    assert f"states tested: w 0..{tested.max():.4g}" in surrogate.certificate.notes[-1]
    if pulses == 1:  # begun at 0, it has seen nothing above its only step
        with pytest.raises(DomainError, match="state w"):
            surrogate.update(np.array([0.99]), 1.6)
    else:  # every state, as a network begins with
        surrogate.update(np.linspace(0.0, 1.0, 5), 1.6)


def test_progress_counts_to_the_end() -> None:
    told: list[tuple[int, int]] = []
    certify(BARE, Made(), pulses=90, train=40, tell=lambda done, of: told.append((done, of)))
    assert told == [(0, 90), (40, 90), (80, 90), (90, 90)]


def test_the_same_seed_gives_the_same_certificate() -> None:
    first = certify(BARE, Made(bend=0.1), pulses=50, seed=3)[0].certificate
    again = certify(BARE, Made(bend=0.1), pulses=50, seed=3)[0].certificate
    other = certify(BARE, Made(bend=0.1), pulses=50, seed=4)[0].certificate
    assert first.data == again.data != other.data
    assert first.errors == again.errors


def test_a_spread_of_parameters_becomes_part_of_the_domain() -> None:
    surrogate, _ = certify(BARE, Made(), pulses=60, train=20, spread={"theta_p": 0.2})
    low, high = surrogate.certificate.domain.parameters["theta_p"]
    assert (low, high) == pytest.approx((0.8 * 1.4323, 1.2 * 1.4323))
    assert surrogate.certificate.errors["state"].max < 1e-14
    surrogate.with_(instances={"theta_p": np.array([1.2, 1.6])})
    with pytest.raises(UnknownName):
        certify(BARE, Made(), pulses=5, spread={"theta_q": 0.2})
    with pytest.raises(InputError, match="no share"):
        certify(BARE, Made(), pulses=5, spread={"theta_p": 20.0})


def test_training_and_held_out_pulses_differ() -> None:
    samples = collect(BARE, Made(), seed=0, pulses=200)
    _, held = certify(BARE, Made(), seed=0, pulses=200)
    assert not np.intersect1d(samples.amplitude, held.amplitude).size


def test_random_trains_hold_both_polarities_and_stay_in_their_span() -> None:
    span = default_range(BARE)
    v = random_train(BARE, np.random.default_rng(0), count=2000, span=span)
    assert span[0] <= v.min() < -2.2
    assert 2.2 < v.max() <= span[1]
    quiet = np.mean((v > -1.4323) & (v < 1.5643))
    assert 0.07 < quiet < 0.13  # a tenth of 2000 has a standard deviation of 0.7 %
    with pytest.raises(InputError, match="one sign"):
        random_train(BARE, np.random.default_rng(0), count=5, span=(1.0, 2.0))


def test_a_correction_learns_what_the_model_leaves_out() -> None:
    circuit = Made(bend=0.1, energy=1.25)
    samples = collect(BARE, circuit, pulses=800)
    surrogate, held = train(TIO2, circuit, samples=samples)
    plain = certify(BARE, circuit)[0].certificate
    found = surrogate.certificate
    assert "correction of degree" in found.notes[1]
    # The factor is bilinear in w and V, which degree 1 holds exactly.
    assert found.errors["state"].max < 1e-3 * plain.errors["state"].max
    assert found.errors["energy"].max_percent < 0.1
    assert held.w_surrogate.min() >= 0.0
    assert held.w_surrogate.max() <= 1.0


def test_noise_is_not_learned() -> None:
    samples = collect(BARE, Made(), pulses=400)
    rng = np.random.default_rng(1)
    noisy = Samples(
        samples.w_before,
        samples.amplitude,
        np.clip(samples.w_after + 0.02 * rng.standard_normal(len(samples)), 0, 1),
        samples.energy,
    )
    surrogate, sentence = fit_correction(BARE, noisy, rng=np.random.default_rng(0))
    assert surrogate.correction is None
    assert sentence.startswith("no correction")


def test_samples_that_say_nothing() -> None:
    few = Samples(np.full(9, 0.5), np.full(9, 2.0), np.full(9, 0.4), np.full(9, 1e-12))
    with pytest.raises(FitError, match="too few"):
        fit_correction(BARE, few, rng=np.random.default_rng(0))
    with pytest.raises(InputError, match="no sample lies within"):
        train(TIO2, Made(), samples=few, span=(-1.9, 1.9), pulses=5)


def test_sample_files(tmp_path: Path) -> None:
    samples = collect(BARE, Made(), pulses=20)
    path = samples.save(tmp_path / "samples.npz")
    np.testing.assert_array_equal(Samples.load(path).w_after, samples.w_after)
    np.savez(tmp_path / "lacking.npz", w_before=np.zeros(3))
    with pytest.raises(DataError, match="lacks amplitude, w_after, energy"):
        Samples.load(tmp_path / "lacking.npz")
    columns = {name: getattr(samples, name).copy() for name in ("w_before", "amplitude", "w_after", "energy")}
    columns["w_after"][7] = np.nan
    np.savez(tmp_path / "bad.npz", **columns)
    with pytest.raises(DataError, match=r"bad\.npz:7, column w_after: .* is no sample"):
        Samples.load(tmp_path / "bad.npz")
    np.savez(tmp_path / "ragged.npz", **{**columns, "energy": np.zeros(3)})
    with pytest.raises(DataError, match="one length"):
        Samples.load(tmp_path / "ragged.npz")
    np.savez(tmp_path / "words.npz", **{**columns, "energy": np.array(["a"] * 20)})
    with pytest.raises(DataError, match="no numbers"):
        Samples.load(tmp_path / "words.npz")


def test_from_a_fit() -> None:
    class Fit:
        parameters = TIO2

    assert from_parameters(Fit()).parameters is TIO2


def test_growth_is_of_all_pulses_so_far() -> None:
    run = np.array([[0.5, 0.5, 0.5], [0.5, 0.7, 0.5]])
    found = growth((run,))
    assert found.pulses == (1, 2, 3)
    assert found.max == (0.0, pytest.approx(0.2), pytest.approx(0.2))
