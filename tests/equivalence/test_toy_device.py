"""A device that another package brings: one file, one parameter set, one entry point, and all else follows.

No line of cosim knows it: it gets a netlist and Verilog-A, a fit of its loop, a certified surrogate and a crossbar.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from claims.pointwise import differences
from cosim.cli.app import main
from cosim.data.recording import Curve
from cosim.devices.base import Values
from cosim.devices.integrate import integrate
from cosim.devices.registry import device, devices
from cosim.engines.registry import open_simulator
from cosim.errors import InputError
from cosim.fitting.extract import extract
from cosim.fitting.recipe import FitRecipe
from cosim.network.crossbar import Crossbar
from cosim.network.encoders import Poisson
from cosim.network.graph import Graph, Population, Projection
from cosim.network.neurons import LIF, Source
from cosim.network.plasticity import PostStdp, default_scales
from cosim.network.simulation import Simulation
from cosim.parameters import ParameterSet
from cosim.surrogate import files
from cosim.surrogate.model import Surrogate

DEVICE = '''"""Linear conductance between two ends, moved by a hyperbolic sine of the voltage."""

import numpy as np

import cosim


class Toy(cosim.TwoTerminal):
    name, title, source = "toy", "Toy memristor", "our choice"
    states = (cosim.State("s", "s0", (0.0, 1.0), description="share of the conductance"),)
    params = (
        cosim.Param("g_on", 2e-4, "S", (1e-9, 1.0), "conductance at s = 1"),
        cosim.Param("g_off", 1e-5, "S", (1e-12, 1.0), "conductance at s = 0"),
        cosim.Param("rate", 4e4, "1/s", (1.0, 1e9), "rate of the state"),
        cosim.Param("v_0", 0.25, "V", (1e-3, 10.0), "voltage of the hyperbolic sine"),
        cosim.Param("s0", 0.2, "1", (0.0, 1.0), "initial state"),
    )

    def current(self, v, x, p):
        return (p.g_off + (p.g_on - p.g_off) * x.s) * v

    def drift(self, v, x, p):
        return {"s": p.rate * np.sinh(v / p.v_0) * np.where(v > 0.0, 1.0 - x.s, x.s)}
'''
SET = """device = "toy"
[sets.mine]
source = "our choice"
[sets.mine.values]
g_on = "0.15 mS"
rate = { value = 6e4, unit = "1/s" }
"""


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ParameterSet]:
    """As pip would leave it: a module, and the entry point of its distribution."""
    (tmp_path / "toy_memristor.py").write_text(DEVICE)
    (tmp_path / "toy_memristor-1.0.dist-info").mkdir()
    (tmp_path / "toy_memristor-1.0.dist-info" / "METADATA").write_text("Name: toy-memristor\nVersion: 1.0\n")
    (tmp_path / "toy_memristor-1.0.dist-info" / "entry_points.txt").write_text(
        "[cosim.devices]\ntoy = toy_memristor:Toy\n"
    )
    (tmp_path / "toy.toml").write_text(SET)
    monkeypatch.syspath_prepend(str(tmp_path))
    devices.cache_clear()
    yield ParameterSet.load(tmp_path / "toy.toml")
    monkeypatch.undo()
    devices.cache_clear()
    sys.modules.pop("toy_memristor", None)


@pytest.mark.spice
@pytest.mark.parametrize("form", ["behavioural", pytest.param("verilog-a", marks=pytest.mark.osdi)])
def test_netlist_and_verilog_a_agree_with_its_equations(toy: ParameterSet, form: str) -> None:
    with open_simulator() as simulator:
        found = differences(device("toy"), toy.resolved(), simulator=simulator, form=form, rng=np.random.default_rng(7))
    # as for the shipped devices: rounding in another order
    assert max(found.values()) < 1e-6, found


def test_a_fit_of_its_loop(toy: ParameterSet) -> None:
    model, p = device("toy"), toy.resolved()
    t = np.linspace(0.0, 6e-5, 1200)
    v = 0.9 * np.sin(8.0 * np.pi * t / t[-1]) * (0.1 + 0.9 * t / t[-1])
    current = integrate(model, p, t=t, across={"pn": v}).through["pn"]
    noisy = current + 0.01 * np.ptp(current) * np.random.default_rng(0).standard_normal(t.size)
    recipe = FitRecipe.model_validate(
        {
            "name": "again",
            "device": "toy",
            "data": {"kind": "loop", "columns": {key: {"name": key} for key in ("time", "voltage", "current")}},
            "fit": {"vary": ["g_on", "g_off", "rate", "v_0", "s0"]},
        }
    )
    found = extract(recipe, Curve.loop(t, v, noisy))
    good = [entry.name for entry in found.verdict.parameters if entry.status == "identifiable"]
    assert {"g_on", "rate", "v_0"} <= set(good), found.verdict.sentences()
    for name in good:
        assert found.values[name] == pytest.approx(float(p[name]), rel=0.05), name


def test_a_certified_surrogate_and_a_crossbar(toy: ParameterSet, tmp_path: Path) -> None:
    file = tmp_path / "toy.npz"
    words = ["--parameters", str(tmp_path / "toy.toml"), "--against", "integration", "--pulses", "60"]
    assert main(["surrogate", "train", *words, "-o", str(file)]) == 0
    cell = files.load(file)
    assert cell.certificate is not None
    low, high = cell.certificate.domain.states["s"]
    crossbar = Crossbar(cell, np.full((4, 3), 0.5 * (low + high)))
    before = crossbar.weight.copy()
    crossbar.program(1, np.array([-0.9, 0.0, 0.5, 0.9]))
    assert crossbar.pulses == 3
    moved = crossbar.weight[:, 1] - before[:, 1]
    assert moved[0] < 0.0 == moved[1] < moved[2] < moved[3]
    np.testing.assert_array_equal(crossbar.weight[:, [0, 2]], before[:, [0, 2]])
    p = toy.resolved()
    np.testing.assert_allclose(crossbar.weight * p.g_on, p.g_off + (p.g_on - p.g_off) * crossbar.w, rtol=1e-12)


def test_plasticity_by_thresholds_says_that_it_has_none(toy: ParameterSet) -> None:
    with pytest.raises(
        InputError, match=r"needs a pulse in closed form with thresholds .* map pulse of toy does not have"
    ):
        default_scales(Surrogate(toy))


@pytest.mark.parametrize(
    ("name", "event", "held"),
    [
        ("vteam", "", {}),
        ("ecram", "write", {}),
        ("thermal_reram", "", {"heater": 0.2}),
        ("quantum_dot_memristor", "", {}),
        ("filament_reram", "", {}),
        ("cell_1t1r", "published", {}),
    ],
)
def test_a_crossbar_of_any_device(name: str, event: str, held: dict[str, float]) -> None:
    """What it programs is what the surrogate's own step gives, and what it reads is that conductance's share."""
    cell = Surrogate(ParameterSet(name, "defaults", {}), event)
    rng = np.random.default_rng(0)
    state = {n: e.range[0] + e.span * rng.uniform(0.3, 0.6, (3, 2)) for n, e in cell.map.states.items()}
    crossbar = Crossbar(cell, state, held=held)
    drive = next(n for n in cell.map.inputs if n not in held)
    volts = np.array([0.9, -0.9, 0.0]) * cell.map.inputs[drive].range[1]
    crossbar.program(1, volts)
    after, outputs = cell.step(Values({n: x[:, 1] for n, x in state.items()}), Values({drive: volts, **held}))
    for n, x in state.items():
        np.testing.assert_array_equal(crossbar.state[n][:, 1], after[n])
        np.testing.assert_array_equal(crossbar.state[n][:, 0], x[:, 0])
    np.testing.assert_allclose(crossbar.weight[:, 1] * cell.full_scale("conductance"), outputs.conductance, rtol=1e-12)
    crossbar.load(state)
    for n, x in state.items():
        np.testing.assert_array_equal(crossbar.state[n], x)


@pytest.mark.needs("numba")
def test_a_compiled_network_of_an_integrated_map() -> None:
    own = {"g_on": 2e-4 * np.linspace(1.0, 1.2, 6).reshape(3, 2)}
    cell = Surrogate(ParameterSet("ecram", "defaults", {}), "write", instances=own)
    state = {"m_fast": np.full((3, 2), 0.1), "m_slow": np.full((3, 2), 0.2), "w": np.full((3, 2), 0.4)}
    rule = PostStdp(at_post=cell.map.inputs["amplitude"].range[1], offset=0.5, input="amplitude")
    graph = Graph(
        (
            Population("a", 3, Source(), Poisson(400.0)),
            Population("b", 2, LIF(tau=20.0, threshold=0.5, reset=0.0, refractory=2.0)),
        ),
        (Projection("a", "b", cell, state, rule=rule),),
    )
    ours, theirs = (Simulation(graph, backend=backend) for backend in ("numpy", "numba"))
    for simulation in (ours, theirs):
        simulation.run({"a": [[1.0, 0.3, 0.1]]}, steps=12, key=5)
    ours, theirs = (simulation.cells["a_to_b"] for simulation in (ours, theirs))
    # the tolerance of the integrator's steps, which are each cell's own
    for name, x in ours.state.items():
        assert name == "w" or np.any(x != state[name])
        np.testing.assert_allclose(theirs.state[name], x, rtol=0, atol=3e-4)
    np.testing.assert_allclose(theirs.weight, ours.weight, rtol=0, atol=3e-4)


@pytest.mark.parametrize(
    ("name", "event", "message"),
    [
        ("stc_synapse", "", "gives no conductance, which a crossbar reads"),
        ("thermal_reram", "", "programs by one input, the map pulse has cell, heater; hold the others"),
    ],
)
def test_what_a_crossbar_cannot_be_made_of(name: str, event: str, message: str) -> None:
    cell = Surrogate(ParameterSet(name, "defaults", {}), event)
    with pytest.raises(InputError, match=message):
        Crossbar(cell, {n: np.full((2, 2), e.range[0]) for n, e in cell.map.states.items()}).program(0, np.zeros(2))
