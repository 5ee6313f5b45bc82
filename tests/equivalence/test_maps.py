"""Event maps of every registered device: their fields, and the certified surrogate that each gives."""

from pathlib import Path

import numpy as np
import pytest

from cosim.cli.app import main
from cosim.devices.base import Values
from cosim.devices.integrate import sweep
from cosim.devices.registry import devices
from cosim.emit.numba import map_kernel, map_source
from cosim.emit.numba_sweep import sweep_sources
from cosim.errors import DomainError, EmitError, InputError, UnknownName
from cosim.parameters import ParameterSet, shipped_sets
from cosim.surrogate import files
from cosim.surrogate.certify import certify
from cosim.surrogate.model import Surrogate
from cosim.surrogate.references import Circuit, Equations
from cosim.surrogate.train import collect, correct
from cosim.surrogate.trains import random_events

SETS: dict[str, ParameterSet] = {}
for (_device, _name), _set in shipped_sets().items():
    SETS.setdefault(_device, _set)
STATEFUL = [name for name, model in devices().items() if model.states]
# The published law takes a pulse as one event, which no integration of the rate law does.
MAPS = [
    (name, event)
    for name in STATEFUL
    for event in devices()[name].maps(devices()[name].defaults())
    if event != "published"
]


def parameters(name: str) -> ParameterSet:
    return SETS.get(name) or ParameterSet(name, "defaults", {})


def drawn(surrogate: Surrogate, count: int, seed: int = 0) -> tuple[Values, Values]:
    rng = np.random.default_rng(seed)
    state = {name: rng.uniform(*entry.range, count) for name, entry in surrogate.map.states.items()}
    events = random_events(surrogate.map, rng, count=count, begin=dict.fromkeys(state, 0.0), ranges={})
    return Values(state), Values({name: events[name].values for name in surrogate.map.inputs})


@pytest.mark.parametrize(("name", "event"), MAPS)
def test_every_map_answers_every_instance_alike(name: str, event: str) -> None:
    """Fields as the device names them, bounds kept, and one instance alone gives what it gives among others."""
    surrogate = Surrogate(parameters(name), event)
    model = devices()[name]
    assert list(surrogate.map.states) == [state.name for state in model.states]
    assert all(entry.unit for entry in (*surrogate.map.inputs.values(), *surrogate.map.outputs.values()))
    state, inputs = drawn(surrogate, 6)
    after, outputs = surrogate.step(state, inputs)
    assert list(outputs) == list(surrogate.map.outputs)
    for entry in model.states:
        assert np.all((after[entry.name] >= entry.bounds[0]) & (after[entry.name] <= entry.bounds[1]))
    alone, out = surrogate.step(
        Values({n: x[:1].reshape(1, 1) for n, x in state.items()}), Values({n: x[0] for n, x in inputs.items()})
    )
    for entry in model.states:
        assert alone[entry.name].shape == (1, 1)
        # The steps of the integrator are the worst instance's: 1e-5 of the range each, some hundred of them.
        span = surrogate.map.states[entry.name].span
        assert alone[entry.name][0, 0] == pytest.approx(after[entry.name][0], abs=3e-4 * span)
    for value in out.values():
        assert np.all(np.isfinite(value))


@pytest.mark.parametrize("name", STATEFUL)
def test_every_device_with_a_map_trains_a_certified_surrogate(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command itself, against the device's equations by another integrator: within the limits, exit code 0."""
    file, source = tmp_path / "surrogate.npz", parameters(name).save(tmp_path / "set.toml")
    words = ["--parameters", str(source), "--against", "integration", "--pulses", "25", "-o", str(file)]
    if name == "cell_1t1r":  # no set of it is published: its thresholds are defaults
        words += ["--assume", "theta_p", "--assume", "theta_n"]
    assert main(["surrogate", "train", *words]) == 0
    assert "against     scipy" in capsys.readouterr().out
    found = files.load(file)
    assert found.certificate is not None
    assert not found.certificate.broken
    with pytest.raises(DomainError):
        found.step(
            Values({state.name: state.bounds[1] + 1.0 for state in devices()[name].states}),
            Values({entry: ends[0] for entry, ends in found.certificate.domain.inputs.items()}),
        )


@pytest.mark.spice
@pytest.mark.parametrize("name", ["vteam", "ecram"])
def test_a_map_against_the_devices_subcircuit(name: str) -> None:
    from cosim.engines.registry import open_simulator

    simulator = open_simulator()
    try:
        bench = Circuit(simulator)
        certificate = certify(Surrogate(parameters(name)), bench, pulses=60)[0].certificate
    finally:
        simulator.close()
    assert certificate is not None
    assert certificate.against.startswith("ngspice")
    assert len(certificate.netlist) == 64
    # ngspice's own error at reltol 1e-5; measured up to 0.11 % (energy), 0.03 % (states)
    assert max(error.max_percent for error in certificate.errors.values()) < 0.3


@pytest.mark.needs("numba")
@pytest.mark.parametrize(
    ("name", "event"),
    # the four pulse pairs are one closed form; compiling it takes 10 s each
    [
        *((name, event) for name, event in MAPS if event not in ("anti_hebbian", "symmetric", "hebbian")),
        *((name, "published") for name in ("threshold_memristor", "cell_1t1r", "thermal_reram")),
    ],
)
def test_closed_maps_compile_to_what_numpy_gives(name: str, event: str) -> None:
    surrogate = Surrogate(parameters(name), event)
    if surrogate.map.closed is None:
        with pytest.raises(EmitError, match="is integrated"):
            map_source(surrogate.map, surrogate.values)
        return
    state, inputs = drawn(surrogate, 50)
    own = next(entry.name for entry in surrogate.map.device.params if entry.bounds[0] > 0.0)
    instances = float(surrogate.values[own]) * np.linspace(1.0, 1.01, 50)
    after, outputs = surrogate.map(state, inputs, surrogate.values.with_(**{own: instances}))
    expected = np.stack([np.broadcast_to(x, 50) for x in (*after.values(), *outputs.values())])
    out = np.empty_like(expected)
    run = map_kernel(surrogate.map, surrogate.values, own=[own])
    run(np.stack(list(state.values())), np.stack(list(inputs.values())), instances[None], out)
    scale = np.max(np.abs(expected), axis=1, keepdims=True)
    # the same operations in the same order; libraries differ in the last bits of an exponential
    np.testing.assert_allclose(out / (scale + 1e-300), expected / (scale + 1e-300), rtol=0, atol=1e-12)


@pytest.mark.needs("numba")
def test_an_integrated_map_compiles_to_what_numpy_gives() -> None:
    """The same method and tolerance, but for the steps, which are each instance's own."""
    own, surrogate = "g_on", Surrogate(ParameterSet("ecram", "defaults", {}), "write")
    state, inputs = drawn(surrogate, 40)
    instances = float(surrogate.values[own]) * np.linspace(1.0, 1.1, 40)
    after, outputs = surrogate.map(state, inputs, surrogate.values.with_(**{own: instances}))
    expected = np.stack([np.broadcast_to(x, 40) for x in (*after.values(), *outputs.values())])
    out = np.empty_like(expected)
    run = map_kernel(surrogate.map, surrogate.values, own=[own])
    run(np.stack(list(state.values())), np.stack(list(inputs.values())), instances[None], out)
    scale = np.max(np.abs(expected), axis=1, keepdims=True)
    # 1e-5 of the range a step, some tens of them; measured 7e-5
    np.testing.assert_allclose(out / (scale + 1e-300), expected / (scale + 1e-300), rtol=0, atol=3e-4)


def test_an_implicit_current_has_no_scalar_kernel() -> None:
    surrogate = Surrogate(parameters("quantum_dot_memristor"))
    with pytest.raises(EmitError, match="the current of quantum_dot_memristor is implicit"):
        sweep_sources(surrogate.map, surrogate.values)


@pytest.mark.parametrize(("name", "event"), [("stc_synapse", "rest"), ("filament_reram", "pulse")])
def test_an_integrated_map_has_a_text(name: str, event: str) -> None:
    surrogate = Surrogate(parameters(name), event)
    for text in sweep_sources(surrogate.map, surrogate.values):
        compile(text, name, "exec")


def test_integrated_maps_are_as_good_as_closed_ones() -> None:
    """The same pulse by the closed form and by the rates."""
    surrogate = Surrogate(parameters("threshold_memristor"))
    state, inputs = drawn(surrogate, 200)
    after, outputs = surrogate.step(state, inputs)
    p = surrogate.values
    found, energy = sweep(surrogate.map.device, p, segments=surrogate.map.waveform(inputs, p), x0=state)
    # 1e-5 of the range a step; the closed form's energy is Simpson's over the whole pulse
    np.testing.assert_allclose(found["w"], after.w, rtol=0, atol=1e-4)
    np.testing.assert_allclose(energy, outputs.energy, rtol=0, atol=6e-3 * float(np.max(outputs.energy)))


def test_the_integrator_is_of_order_three() -> None:
    surrogate = Surrogate(parameters("yakopcic"))
    state, inputs = drawn(surrogate, 50)
    p, segments = surrogate.values, surrogate.map.waveform(inputs, surrogate.values)
    fine = sweep(surrogate.map.device, p, segments=segments, x0=state, tolerance=1e-9)[0]["x"]
    errors = [
        np.max(np.abs(sweep(surrogate.map.device, p, segments=segments, x0=state, tolerance=t)[0]["x"] - fine))
        for t in (1e-3, 1e-6)
    ]
    assert errors[0] < 5e-3
    assert errors[1] < 5e-5


def test_a_correction_learns_another_devices_answers() -> None:
    """A device that is 10 % faster: the map alone misses the limit, the corrected one keeps it."""
    vteam = parameters("vteam")
    bench = Equations(device=vteam.with_values({"k_off": 1.1 * float(vteam.resolved().k_off)}, name="faster"))
    plain = Surrogate(vteam)
    samples = collect(plain, bench, pulses=200)
    mended, sentence = correct(plain, samples, rng=np.random.default_rng(0))
    assert sentence.startswith("correction of degree")
    before = certify(plain, bench, pulses=100)[0].certificate
    after = certify(mended, bench, pulses=100)[0].certificate
    assert before is not None
    assert after is not None
    assert after.extraction == "included"
    assert after.errors["x"].rms < 0.5 * before.errors["x"].rms


def test_files_of_a_map_give_back_the_surrogate(tmp_path: Path) -> None:
    vteam = parameters("vteam")
    plain = Surrogate(vteam)
    samples = collect(plain, Equations(device=vteam.with_values({"k_off": 1e-3})), pulses=100)
    mended = correct(plain, samples, rng=np.random.default_rng(0))[0].with_(instances={"k_on": np.array([-9.0, -10.0])})
    found = files.load(files.save(mended, tmp_path / "map.npz"))
    state, inputs = Values({"x": np.array([0.2, 0.8])}), Values({"amplitude": np.array([0.1, -0.22])})
    assert isinstance(found, Surrogate)
    np.testing.assert_array_equal(found.step(state, inputs)[0].x, mended.step(state, inputs)[0].x)
    assert found.fingerprint() == mended.fingerprint()


def test_what_a_map_does_not_have() -> None:
    with pytest.raises(UnknownName, match="did you mean spike"):
        Surrogate(parameters("ecram"), "spikes")
    with pytest.raises(InputError, match="access_transistor has no event map, because it has no state"):
        Surrogate(parameters("access_transistor"))
    surrogate = Surrogate(parameters("vteam"))
    with pytest.raises(InputError, match="input 'amplitude' of the surrogate is missing; give amplitude in V"):
        surrogate.step(Values({"x": 0.5}), Values({}))
    with pytest.raises(DomainError, match=r"state x = 1\.2 is outside"):
        surrogate.step(Values({"x": 1.2}), Values({"amplitude": 0.1}))
