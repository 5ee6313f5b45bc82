"""The gate for surrogates that miss their limits, or have no certificate: every way into a network, and exports."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import cosim
from claims.exports_subjects import SUBJECTS
from cosim.errors import InputError
from cosim.network import Crossbar, EventNeuron, Graph, Population, Projection, Simulation, Source
from cosim.network.systems.filters_circuits import CircuitFilters, SpacedTrains
from cosim.network.systems.maze import MazeSystem
from cosim.network.systems.maze_settings import MazeSettings, synapse
from cosim.network.systems.vdsp import VdspSystem
from cosim.network.systems.vdsp_settings import VdspSettings
from cosim.surrogate.base import Certificate, Domain, DomainWarning
from cosim.surrogate.model import Surrogate
from cosim.surrogate.summary import ErrorSummary, Rollout

TRAINS = SpacedTrains("patterns", duration=10e-6, counts=(8, 10), train=3, test=3, apart=7e-8)
CELL = Surrogate(cosim.ParameterSet.load("tio2"))
(LIF,) = (subject.plain() for subject in SUBJECTS if subject.name == "lif neuron")
HEATED = synapse(MazeSettings())


def certified(surrogate: Surrogate, *, error: float) -> Surrogate:
    """With a certificate of one error, whose limit is 1 %."""
    ranges = [{n: e.range for n, e in part.items()} for part in (surrogate.map.inputs, surrogate.map.states)]
    name = next(iter(surrogate.map.states))
    made = Certificate(
        errors={name: ErrorSummary(error, error, 1.0, "")}, rollout=Rollout((1,), (error,), (error,), 1),
        domain=Domain(*ranges), pulses=10, against="test", reference="a circuit", extraction="not included",
        limits={name: 0.01}, netlist="", data="", parameters="", surrogate=surrogate.fingerprint(), tolerances={},
        seed="0", made="now", version="0",
    )  # fmt: skip
    return surrogate.with_(certificate=made)


def vdsp(cell: Surrogate) -> VdspSystem:
    return VdspSystem(VdspSettings(w_init=(0.4, 0.6)), cell, cosim.ImageTask(cosim.load_images("digits").first(50)))


# What takes a surrogate, and one that it takes.
WAYS: dict[str, tuple[Callable[[Surrogate], object], Surrogate]] = {
    "crossbar": (lambda cell: Crossbar(cell, np.full((2, 2), 0.5)), CELL),
    "projection": (lambda cell: Projection("a", "b", cell, np.full((2, 2), 0.5)), CELL),
    "event neuron": (EventNeuron, LIF),
    "vdsp": (vdsp, CELL),
    "filters": (lambda neuron: CircuitFilters((neuron,), (TRAINS,)), LIF),
    "maze": (lambda cell: MazeSystem(MazeSettings(), sizes=(3,), runs=1, surrogate=cell), HEATED),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_surrogate_that_misses_its_limits_comes_in_nowhere(way: str) -> None:
    take, plain = WAYS[way]
    broken = certified(plain, error=0.02)
    with pytest.raises(InputError, match=r"misses its limits: .*: 2 % of full scale, limit 1 %; .* --uncertified"):
        take(broken)
    take(broken.with_(uncertified=True))
    take(certified(plain, error=0.005))
    if plain.learned is None:  # a device's own equations claim no circuit
        take(plain)
    else:
        with pytest.raises(InputError, match="has no certificate"):
            take(plain)


def test_an_export_takes_neither(tmp_path: Path) -> None:
    for one in (CELL, certified(CELL, error=0.02)):
        with pytest.raises(InputError, match=r"has no certificate|misses its limits"):
            cosim.export_surrogate(one, "numpy", tmp_path / "out")
        assert cosim.export_surrogate(one.with_(uncertified=True), "numpy", tmp_path / "out", events=2).files


def test_instances_and_copies_are_no_way_around() -> None:
    broken = certified(CELL, error=0.02)
    domain = replace(broken.certificate.domain, parameters={"theta_p": (0.5, 3.0)})  # type: ignore[union-attr]
    many = broken.with_(certificate=replace(broken.certificate, domain=domain))  # type: ignore[type-var]
    for one in (many.with_(instances={"theta_p": np.full((2, 2), 1.0)}), many.with_(policy="warn")):
        with pytest.raises(InputError, match="misses its limits"):
            Crossbar(one, np.full((2, 2), 0.5))


def test_cells_of_whose_rests_nothing_is_known_are_told() -> None:
    (cell,) = (subject.plain() for subject in SUBJECTS if subject.name == "clipped charge by polynomial")
    parts = Population("a", 2, Source()), Population("b", 2, Source())
    wired = Projection("a", "b", cell.with_(uncertified=True), np.zeros((2, 2)))
    with pytest.warns(DomainWarning, match=r"what the cells of a_to_b do between events .*: their states are held"):
        Simulation(Graph(parts, (wired,)), backend="numpy")
    Simulation(Graph(parts, (replace(wired, cells=CELL),)), backend="numpy")  # a device that keeps its states
