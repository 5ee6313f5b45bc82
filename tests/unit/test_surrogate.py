"""The pulse surrogate: laws, layouts, instances, domains, and its files."""

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from cosim.devices.base import Values
from cosim.devices.cell import Cell1T1R
from cosim.devices.pulse import PulseShape, apply_event, apply_pulse
from cosim.devices.threshold import ThresholdMemristor
from cosim.errors import DomainError, InputError, MissingFile, UnknownName
from cosim.parameters import ParameterSet
from cosim.surrogate import files
from cosim.surrogate.base import Certificate, Domain, DomainWarning
from cosim.surrogate.certify import updates_per_second
from cosim.surrogate.correction import Correction
from cosim.surrogate.model import Surrogate
from cosim.surrogate.references import Equations
from cosim.surrogate.summary import ErrorSummary, Rollout

TIO2 = ParameterSet.load("tio2")
CELL = TIO2.for_device("cell_1t1r")
SETS = {"memristor": TIO2, "cell": CELL}


def certified(surrogate: Surrogate, span=(-2.4, 2.4), w=(0.0, 1.0), **parameters) -> Surrogate:
    domain = Domain({"amplitude": span}, {"w": w}, parameters, {"width": 2e-7})
    error = ErrorSummary(1e-3, 1e-4, 1.0, "")
    rollout, itself = Rollout((1,), (1e-3,), (1e-4,), 1), surrogate.fingerprint()
    made = Certificate(
        errors={"w": error}, rollout=rollout, domain=domain, pulses=10, against="test", reference="a circuit",
        extraction="not included", limits={"w": 0.01}, netlist="", data="", parameters="", surrogate=itself,
        tolerances={}, seed="0", made="now", version="0",
    )  # fmt: skip
    return surrogate.with_(certificate=made)


def inputs(n: int = 300) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(5)
    return rng.uniform(0, 1, n), rng.uniform(-2.4, 2.4, n)


@pytest.mark.parametrize("name", SETS)
def test_rate_law_is_the_devices_own_pulse(name: str) -> None:
    w, v = inputs()
    surrogate = Surrogate(SETS[name])
    p = SETS[name].resolved()
    shape = PulseShape()
    if name == "cell":
        after, energy = Cell1T1R().pulse(v, w, p, shape=shape)
    else:
        after, energy = apply_pulse(ThresholdMemristor(), p, v=v, w=w, shape=shape)
    state, out = surrogate.step(Values({"w": w}), Values({"amplitude": v}))
    # The same operations on the same numbers, in blocks: only the compiler's choice of instruction may differ.
    np.testing.assert_allclose(state.w, after, rtol=0, atol=1e-14)
    np.testing.assert_allclose(out.energy, energy, rtol=1e-12, atol=1e-30)
    np.testing.assert_allclose(out.conductance, ThresholdMemristor().conductance(Values({"w": after}), p), rtol=1e-12)
    np.testing.assert_array_equal(surrogate.update(w, v), state.w)


def test_published_law_is_the_published_map() -> None:
    w, v = inputs()
    after = Surrogate(TIO2, name="published").update(w, v)
    np.testing.assert_allclose(after, ThresholdMemristor().published_map(v, w, TIO2.resolved()), rtol=0, atol=1e-15)


@pytest.mark.parametrize("law", ["pulse", "published"])
@pytest.mark.parametrize(
    "shape", [PulseShape(2e-7, 5e-9, 5e-9), PulseShape(1e-7, 3e-8, 9e-8), PulseShape(0.0, 1e-8, 0.0)]
)
def test_energy_of_a_pulse_that_moves_nothing_is_that_of_its_waveform(shape: PulseShape, law: str) -> None:
    """Below both thresholds the memristor is a resistor; Simpson's rule is exact on the square of straight lines."""
    top, w, p = 1.1, np.array([0.3]), TIO2.resolved()
    joules = 0.0
    for a, b, length in ((0.0, top, shape.rise), (top, top, shape.width), (top, 0.0, shape.fall)):
        joules += length * (a**2 + 4.0 * ((a + b) / 2.0) ** 2 + b**2) / 6.0
    joules *= float(ThresholdMemristor().conductance(Values({"w": w}), p)[0])
    for v in (top, -top):
        out = Surrogate(TIO2, name=law, shape=shape).step(Values({"w": w}), Values({"amplitude": np.array([v])}))[1]
        assert out.energy[0] == pytest.approx(joules, rel=1e-12)
        assert apply_pulse(ThresholdMemristor(), p, v=v, w=w, shape=shape)[1][0] == pytest.approx(joules, rel=1e-12)
        assert apply_event(ThresholdMemristor(), p, v=v, w=w, shape=shape)[1][0] == pytest.approx(joules, rel=1e-12)
    assert shape.energy_time == pytest.approx(shape.width + shape.rise / 3.0 + shape.fall / 3.0, rel=1e-15)


@pytest.mark.parametrize("law", ["pulse", "published"])
@pytest.mark.parametrize("name", SETS)
def test_a_voltage_per_row_is_the_same_as_a_matrix_of_voltages(name: str, law: str) -> None:
    rng = np.random.default_rng(0)
    # More cells than a block holds, so that the seams are passed.
    w, v = rng.uniform(0, 1, (300, 130)), rng.uniform(-2.4, 2.4, (300, 1))
    surrogate = Surrogate(SETS[name], name=law)
    by_row = surrogate.step(Values({"w": w}), Values({"amplitude": v}))
    whole = surrogate.step(Values({"w": w}), Values({"amplitude": np.broadcast_to(v, w.shape)}))
    np.testing.assert_allclose(by_row[0].w, whole[0].w, rtol=0, atol=1e-14)
    np.testing.assert_allclose(by_row[1].energy, whole[1].energy, rtol=1e-12, atol=1e-30)


@pytest.mark.parametrize("shape", [(), (1,), (0,), (7,), (3, 4), (2, 3, 4)])
def test_shapes(shape: tuple[int, ...]) -> None:
    state, out = Surrogate(CELL).step(Values({"w": np.full(shape, 0.4)}), Values({"amplitude": -2.0}))
    assert state.w.shape == out.energy.shape == out.conductance.shape == shape
    np.testing.assert_array_equal(Surrogate(CELL).update(0.4, np.full(shape, -2.0)), state.w)


@pytest.mark.parametrize("law", ["pulse", "published"])
@pytest.mark.parametrize("name", SETS)
def test_single_precision(name: str, law: str) -> None:
    w, v = inputs()
    single = Surrogate(SETS[name], name=law, dtype="float32").update(w, v)
    double = Surrogate(SETS[name], name=law).update(w.astype(np.float32), v.astype(np.float32))
    assert single.dtype == np.float32
    # A dozen operations of relative error 6e-8 on numbers up to 1, amplified by the exponential's slope of about 2.
    np.testing.assert_allclose(single, double, rtol=0, atol=3e-6)


@pytest.mark.parametrize("policy", ["raise", "warn"])
def test_many_events_are_steps_in_a_loop(policy: str) -> None:
    rng, cell = np.random.default_rng(6), Surrogate(CELL, policy=policy)
    w, v = rng.random((4, 3)), rng.uniform(-2.5, 2.5, (7, 4, 1))
    state, energy = Values({"w": w}), []
    for one in v:
        state, outputs = cell.step(state, Values({"amplitude": one}))
        energy.append(outputs["energy"])
    begun = w.copy()
    after, found = cell.follow(Values({"w": w}), Values({"amplitude": v}))
    assert np.array_equal(w, begun)
    assert np.array_equal(after["w"], state["w"])
    assert np.array_equal(found["energy"], energy)
    room = {"w": w, "energy": np.empty((7, 4, 3))}
    again, within = cell.follow(Values({"w": w}), Values({"amplitude": v}), out=room)
    assert np.shares_memory(again["w"], w)
    assert np.shares_memory(within["energy"], room["energy"])
    assert np.array_equal(w, state["w"])
    assert np.array_equal(within["energy"], energy)
    nothing, none = cell.follow(Values({"w": begun}), Values({"amplitude": v[:0]}))
    assert np.array_equal(nothing["w"], begun)
    assert none["energy"].shape == (0, 4, 3)


@pytest.mark.parametrize(
    ("state", "inputs", "says"),
    [
        ({"w": 0.5}, {"amplitude": 1.0}, r"have one row an event, not amplitude \(\); give \(events, ...\) of each"),
        ({"w": 0.5}, {}, "input 'amplitude' of the surrogate is missing"),
        ({}, {"amplitude": [1.0]}, "state 'w' of the surrogate is missing"),
        ({"w": 0.5}, {"amplitude": [1.0, 50.0]}, "amplitude = 50 V is outside"),
    ],
)
def test_many_events_that_are_wrong(state: dict, inputs: dict, says: str) -> None:
    with pytest.raises((InputError, DomainError), match=says):
        Surrogate(CELL).follow(Values(state), Values(inputs))


@pytest.mark.parametrize("name", SETS)
def test_every_instance_has_its_own_parameters(name: str) -> None:
    rng = np.random.default_rng(2)
    w = rng.uniform(0, 1, (20, 6))
    v = rng.uniform(-2.4, 2.4, (20, 1))
    theta = 1.4323 * (1 + 0.2 * rng.standard_normal((20, 6)))
    many = Surrogate(SETS[name], instances={"theta_p": theta})
    after = many.update(w, v)
    for i, j in [(0, 0), (3, 5), (19, 2)]:
        alone = Surrogate(SETS[name].with_values({"theta_p": theta[i, j]}))
        assert after[i, j] == pytest.approx(float(alone.update(w[i, j], v[i, 0])), abs=1e-14)
    column = many.select((slice(None), 4))
    np.testing.assert_allclose(column.update(w[:, 4], v[:, 0]), after[:, 4], rtol=0, atol=1e-14)


def test_cell_voltage_is_the_inverse_of_the_drop() -> None:
    cell = Cell1T1R().pulse_cell()
    for v in (-1.4323, 1.5643, 0.2):
        over = cell.voltage(v, CELL.resolved())
        assert float(Cell1T1R().device_voltage(over, 0.5, CELL.resolved())) == pytest.approx(v, abs=1e-9)
        assert abs(over) > abs(v)
    assert ThresholdMemristor().pulse_cell().voltage(1.0, TIO2.resolved()) == 1.0
    weak = CELL.with_values({"g_on": 1e-7, "v_sat": 0.1})
    with pytest.raises(InputError, match="saturates"):
        cell.voltage(5.0, weak.resolved())


def test_outside_raises_warns_or_asks() -> None:
    w, v = np.array([0.2, 0.3]), np.array([-2.0, -3.0])
    with pytest.raises(DomainError, match=r"amplitude = -3 V is outside the certified -2\.4\.\.2\.4 V"):
        certified(Surrogate(TIO2)).update(w, v)
    warned = certified(Surrogate(TIO2, policy="warn"))
    with pytest.warns(DomainWarning, match="extrapolates"):
        extrapolated = warned.update(w, v)
    np.testing.assert_array_equal(extrapolated, Surrogate(TIO2).update(w, v))
    calls = []

    class Asked(Equations):
        def respond(self, parameters, event_map, events):
            calls.append((list(events["amplitude"].values), float(events["w_before"])))
            columns = {"w": 0.77, "energy": 1e-12, "conductance": 1e-4}
            return xr.Dataset({name: ("event", [value]) for name, value in columns.items()})

    asking = certified(Surrogate(TIO2, policy="ask", reference=Asked()))
    state, out = asking.step(Values({"w": w}), Values({"amplitude": v}))
    assert calls == [([-3.0], 0.3)]
    assert state.w[1] == 0.77
    assert out.energy[1] == 1e-12
    assert state.w[0] == Surrogate(TIO2).update(w, v)[0]
    assert asking.update(0.3, -3.0) == 0.77  # one instance alone, without outputs


def test_inside_is_silent() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        surrogate = certified(Surrogate(TIO2, policy="warn", dtype="float32"))
        # 2.4 and 1.0 are not floats of single precision: their rounding is no departure from the domain.
        surrogate.update(np.array([0.0, 1.0]), np.array([-2.4, 2.4]))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_no_policy_answers_what_is_not_finite(bad: float) -> None:
    for outside in ("raise", "warn"):
        surrogate = certified(Surrogate(TIO2, policy=outside))
        with pytest.raises(DomainError, match="not finite"):
            surrogate.update(np.array([0.5, bad]), 1.0)
        with pytest.raises(DomainError, match="not finite"):
            surrogate.update(0.5, bad)


def test_states_are_states() -> None:
    with pytest.raises(DomainError, match="state w"):
        Surrogate(TIO2).update(np.array([1.2]), 2.0)


@pytest.mark.parametrize(
    ("state", "inputs", "kind", "message"),
    [
        (
            {"w": 0.5},
            {"amplitud": 2.0},
            UnknownName,
            "unknown input 'amplitud' of the surrogate; did you mean amplitude",
        ),
        ({"w": 0.5}, {"amplitude": 2.0, "t": 1.0}, UnknownName, "unknown input 't' of the surrogate"),
        ({"w": 0.5}, {}, InputError, "input 'amplitude' of the surrogate is missing; give amplitude in V"),
        ({"x": 0.5}, {"amplitude": 2.0}, UnknownName, "unknown state 'x' of the surrogate"),
        ({}, {"amplitude": 2.0}, InputError, "state 'w' of the surrogate is missing; give w"),
    ],
)
def test_names_of_states_and_inputs(state: dict, inputs: dict, kind: type, message: str) -> None:
    with pytest.raises(kind) as caught:
        Surrogate(TIO2).step(Values(state), Values(inputs))
    assert str(caught.value).startswith(message)


def test_a_state_that_was_not_tested() -> None:
    narrow = certified(Surrogate(TIO2), w=(0.1, 0.9))
    with pytest.raises(DomainError, match=r"state w = 0\.95 is outside the certified 0\.1\.\.0\.9"):
        narrow.step(Values({"w": np.array([0.5, 0.95])}), Values({"amplitude": 2.0}))
    with pytest.warns(DomainWarning, match="state w = 0.05"):
        narrow.with_(policy="warn").update(np.array([0.05]), 2.0)


def test_instances_outside_the_certified_parameters() -> None:
    narrow = certified(Surrogate(TIO2))
    with pytest.raises(DomainError, match="theta_p"):
        narrow.with_(instances={"theta_p": np.array([1.5])})
    wide = certified(Surrogate(TIO2), theta_p=(1.2, 1.7))
    wide.with_(instances={"theta_p": np.array([1.5])})
    with pytest.raises(DomainError, match="theta_p"):
        wide.with_(instances={"theta_p": np.array([1.8])})


def test_another_law_drops_the_certificate() -> None:
    surrogate = certified(Surrogate(TIO2))
    assert surrogate.with_(name="published").certificate is None
    assert surrogate.with_(dtype="float32").certificate is surrogate.certificate


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "exact"}, "unknown map"),
        ({"policy": "guess"}, "outside the domain"),
        ({"policy": "ask"}, "needs a reference"),
        ({"dtype": "float16"}, "dtype"),
        ({"instances": {"theta_q": np.array([1.0])}}, "theta_q"),
        ({"instances": {"theta_p": np.array([np.nan])}}, "not finite"),
        ({"instances": {"theta_p": np.array([-1.0])}}, "outside"),
    ],
)
def test_bad_choices(changes: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Surrogate(TIO2, **changes)


def test_a_device_without_pulses_is_refused() -> None:
    access = ParameterSet("access_transistor", "x", {})
    with pytest.raises(InputError, match="access_transistor has no event map, because it has no state"):
        Surrogate(access)


def correction(**tables: list[list[float]]) -> Correction:
    """Of degree 1: rows for negative and positive amplitudes, columns for 1, |V| in 1.5..2.5 V, w in 0..1."""
    given = {"w": [[0.01, 0.02, 0.03], [-0.02, 0.0, 0.0]], "energy": [[0.0, 0.0, 0.0], [0.5, 0.0, 0.0]], **tables}
    ranges = np.array([[0.0, 1.0], [1.5, 2.5]])
    return Correction(("w", "amplitude"), ("amplitude",), ranges, 1, {n: np.array(x) for n, x in given.items()})


def test_another_correction_drops_the_certificate() -> None:
    surrogate = certified(Surrogate(TIO2))
    mended = surrogate.with_(correction=correction())
    assert mended.certificate is None
    with pytest.raises(InputError, match="certificate is of another surrogate"):
        mended.with_(certificate=surrogate.certificate)
    kept = certified(mended)
    assert kept.with_(dtype="float32").certificate is kept.certificate
    assert kept.with_(correction=None).certificate is None
    changed = correction(w=[[0.01, 0.02, 0.03], [-0.9, 0.0, 0.0]])
    assert kept.with_(correction=changed).certificate is None


def test_correction_scales_the_step_and_the_energy() -> None:
    plain = Surrogate(TIO2)
    mended = plain.with_(correction=correction())
    w = np.array([0.3, 0.3, 0.3])
    v = np.array([-1.0, 2.0, -2.0])
    before, out = plain.step(Values({"w": w}), Values({"amplitude": v}))
    after, other = mended.step(Values({"w": w}), Values({"amplitude": v}))
    assert after.w[0] == w[0]  # below threshold
    assert after.w[1] - w[1] == pytest.approx(0.98 * (before.w[1] - w[1]))
    assert other.energy[1] == pytest.approx(1.5 * out.energy[1])
    x, y = 2 * 0.3 - 1, (2 * 2.0 - 4.0) / 1.0
    gain = 1 + 0.01 + 0.02 * y + 0.03 * x
    assert after.w[2] - w[2] == pytest.approx(gain * (before.w[2] - w[2]))


# -- files -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    theta = {"theta_p": np.full((3, 2), 1.5)}
    surrogate = certified(Surrogate(CELL, correction=correction()), theta_p=(1.0, 2.0)).with_(instances=theta)
    return files.save(surrogate, tmp_path / "cell.npz")


def test_a_file_gives_back_the_surrogate(stored: Path) -> None:
    found = files.load(stored)
    assert isinstance(found, Surrogate)
    original = certified(Surrogate(CELL, correction=correction()), theta_p=(1.0, 2.0)).with_(
        instances={"theta_p": np.full((3, 2), 1.5)}
    )
    assert found.certificate == original.certificate
    assert found.parameters == original.parameters
    w = np.full((3, 2), 0.4)
    np.testing.assert_array_equal(found.update(w, -2.2), original.update(w, -2.2))


def test_no_pickle_inside(stored: Path) -> None:
    with np.load(stored, allow_pickle=False) as archive:
        assert all(archive[name].dtype != object for name in archive.files)
        document = json.loads(archive["document"].tobytes())
    assert document["version"] == files.VERSION
    assert document["certificate"]["against"] == "test"


def rewrite(path: Path, change) -> None:
    with np.load(path, allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    change(arrays)
    np.savez(path, **arrays)


def edit(arrays: dict, **values: object) -> None:
    """Another document with a right digest."""
    import hashlib

    text = json.dumps({**json.loads(arrays["document"].tobytes()), **values}).encode()
    arrays["document"] = np.frombuffer(text, dtype=np.uint8)
    arrays["digest"] = np.frombuffer(hashlib.sha256(text).digest(), dtype=np.uint8)


def body_of(arrays: dict) -> dict:
    return json.loads(arrays["document"].tobytes())["body"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a.pop("document"), "not a surrogate file"),
        (lambda a: a.update(document=a["document"][::-1].copy()), "digest is wrong"),
        (lambda a: a.update(array_instance_theta_p=np.full((3, 2), 1.6)), "has changed"),
        (lambda a: a.pop("array_instance_theta_p"), "lacks or has malformed"),
        (lambda a: edit(a, version=99), "version 99"),
        (lambda a: edit(a, version=1), "version 1, whose certificates"),
        (lambda a: edit(a, version="six"), "has version 'six'; make it again"),
        (lambda a: edit(a, body={**body_of(a), "map": "published"}), "certificate is of another surrogate"),
        (lambda a: edit(a, body={**body_of(a), "correction": None}), "certificate is of another surrogate"),
        (lambda a: edit(a, format="else"), "not a surrogate file"),
        (lambda a: edit(a, body={}), "lacks or has malformed"),
        (lambda a: edit(a, certificate={"errors": 3}), "lacks or has malformed"),
    ],
)
def test_foreign_and_damaged_files(stored: Path, change, message: str) -> None:
    rewrite(stored, change)
    with pytest.raises(InputError, match=message) as caught:
        files.load(stored)
    assert str(stored) in str(caught.value)


def test_cut_and_made_up_files(stored: Path, tmp_path: Path) -> None:
    whole = stored.read_bytes()
    rng = np.random.default_rng(0)
    for length in [0, 1, 100, len(whole) // 2, len(whole) - 3]:
        (tmp_path / "cut.npz").write_bytes(whole[:length])
        with pytest.raises(InputError):
            files.load(tmp_path / "cut.npz")
    for _ in range(60):
        flipped = bytearray(whole)
        flipped[int(rng.integers(len(whole)))] ^= 1 << int(rng.integers(8))
        (tmp_path / "flip.npz").write_bytes(flipped)
        try:
            found = files.load(tmp_path / "flip.npz")
        except InputError:
            continue
        # The bit was one that the archive ignores: then nothing may have changed.
        assert found.certificate == files.load(stored).certificate
    with pytest.raises(MissingFile):
        files.load(tmp_path / "none.npz")
    with pytest.raises(InputError):
        files.load(tmp_path)
    np.save(tmp_path / "one.npy", np.zeros(3))
    with pytest.raises(InputError, match="not a surrogate file"):
        files.load(tmp_path / "one.npy")


def test_updates_per_second_is_a_speed() -> None:
    # Any machine that runs the tests makes more than a hundred thousand; ngspice makes about two thousand.
    assert updates_per_second(Surrogate(TIO2), shape=(100, 20), seconds=0.02) > 1e5
