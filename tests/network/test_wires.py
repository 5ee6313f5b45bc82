"""Crossbars with wires against sparse and dense solves, a simulator, and what has to hold of any resistive network."""

from functools import partial

import numpy as np
import pytest

import cosim
from cosim import network as net
from cosim.devices.base import Array
from cosim.engines.simulator import Simulator
from cosim.errors import InputError
from cosim.network.crossbar import Crossbar
from cosim.network.plasticity import PostStdp
from cosim.network.wires import TOLERANCE, Wires, cell_current, effective_conductance, solve_wired
from reference.oracles.wires import linear_currents, netlist

WIRES = Wires(row=3.0, column=2.0, driver=50.0, sense=20.0)


def conductances(m: int, n: int, seed: int = 0) -> Array:
    return 10 ** np.random.default_rng(seed).uniform(-6.0, -3.5, (m, n))


def test_linear_cells_agree_with_a_sparse_solve_of_the_whole_network() -> None:
    g = conductances(7, 5)
    rows, columns = np.linspace(-0.3, 0.5, 7), np.linspace(0.0, 0.1, 5)
    found = solve_wired(lambda v: g * v, WIRES, rows=rows, columns=columns)
    expected = linear_currents(g, WIRES, rows=rows, columns=columns)
    np.testing.assert_allclose(found.cell_current, expected, rtol=1e-9, atol=1e-18)
    np.testing.assert_allclose(found.column_current, expected.sum(axis=0), rtol=1e-9)
    np.testing.assert_allclose(found.row_current, expected.sum(axis=1), rtol=1e-9)
    assert found.residual <= TOLERANCE * np.max(np.abs(expected))


def test_one_cell_is_a_voltage_divider() -> None:
    found = solve_wired(lambda v: v / 100.0, WIRES, rows=[1.0], columns=[0.0])
    assert found.column_current[0] == pytest.approx(1.0 / (100.0 + 50.0 + 3.0 + 20.0 + 2.0), rel=1e-12)


def test_wires_of_almost_no_resistance_give_the_ideal_crossbar() -> None:
    g = conductances(20, 10)
    rows = np.random.default_rng(1).uniform(-0.2, 0.2, 20)
    found = solve_wired(lambda v: g * np.sinh(v), Wires(1e-5, 1e-5), rows=rows, columns=np.zeros(10))
    np.testing.assert_allclose(found.column_current, np.sinh(rows) @ g, rtol=1e-5, atol=1e-9)


def test_nothing_flows_without_a_voltage_and_charge_is_conserved_where_wires_are_open() -> None:
    g = conductances(12, 9)
    rows = np.full((3, 12), np.nan)
    rows[0], rows[1, 4], rows[2, ::2] = 0.0, 1.0, 0.5
    columns = np.full(9, np.nan)
    columns[2] = 0.0
    found = solve_wired(lambda v: g * np.sinh(3.0 * v) / 3.0, WIRES, rows=rows, columns=columns)
    assert np.max(np.abs(found.cell_current[0])) == 0.0
    np.testing.assert_allclose(found.row_current.sum(axis=-1), found.column_current.sum(axis=-1), atol=1e-15)
    assert np.all(found.row_current[1, np.arange(12) != 4] == 0.0)  # open rows
    # each of several drives is what it is alone
    alone = solve_wired(lambda v: g * np.sinh(3.0 * v) / 3.0, WIRES, rows=rows[1], columns=columns)
    np.testing.assert_allclose(found.cell_current[1], alone.cell_current, atol=1e-14)


def test_the_start_is_another_arrays_solution_and_changes_no_answer() -> None:
    g = conductances(30, 20)
    rows, columns = np.full(30, 0.3), np.zeros(20)
    first = solve_wired(lambda v: g * np.sinh(5.0 * v) / 5.0, WIRES, rows=rows, columns=columns)
    later = g * np.random.default_rng(3).normal(1.0, 0.02, g.shape)

    def current(v: Array) -> Array:
        return later * np.sinh(5.0 * v) / 5.0

    cold = solve_wired(current, WIRES, rows=rows, columns=columns)
    warm = solve_wired(current, WIRES, rows=rows, columns=columns, start=first)
    np.testing.assert_allclose(warm.cell_current, cold.cell_current, rtol=1e-8)
    assert warm.iterations < cold.iterations


def test_effective_conductances_are_the_response_to_each_row() -> None:
    g = conductances(6, 11)
    found = effective_conductance(g, WIRES, chunk=4)
    for i in range(6):
        rows = np.zeros(6)
        rows[i] = 0.7
        expected = linear_currents(g, WIRES, rows=rows, columns=np.zeros(11)).sum(axis=0) / 0.7
        np.testing.assert_allclose(found[i], expected, rtol=1e-8, atol=1e-15)


def test_a_registered_device_gives_its_cells_currents() -> None:
    device, p = cosim.device("threshold_memristor"), cosim.ParameterSet.load("tio2").resolved()
    w = np.random.default_rng(5).uniform(0.0, 1.0, (4, 3))
    current = cell_current(device, cosim.Values({"w": w}), p)
    found = solve_wired(current, WIRES, rows=np.full(4, 0.2), columns=np.zeros(3))
    np.testing.assert_allclose(current(found.cell_voltage), found.cell_current)
    assert np.all(found.cell_voltage < 0.2)


def test_a_device_with_several_ports_needs_the_one_between_row_and_column_named() -> None:
    device = cosim.device("ecram")
    p = cosim.ParameterSet.load("ecram:fast").resolved()
    state = cosim.Values({**device.initial(p), "w": np.full((2, 3), 0.4)})
    with pytest.raises(InputError, match=r"has the electrical ports gate, channel; name the one"):
        cell_current(device, state, p)
    with pytest.raises(InputError, match="did you mean"):
        cell_current(device, state, p, port="channels")
    current = cell_current(device, state, p, port="channel")
    np.testing.assert_allclose(
        current(np.full((2, 3), 0.01)) / 0.01, device.readout(state, p)["conductance"], rtol=1e-6
    )


def test_a_crossbar_reads_through_wires() -> None:
    crossbar = Crossbar(cosim.Surrogate(cosim.ParameterSet.load("tio2")), np.full((8, 4), 0.6))
    seen = crossbar.wired(Wires(10.0, 10.0))
    assert np.all(seen < crossbar.weight)
    assert np.argmax(seen[:, 0]) == 7  # next to the column's end
    np.testing.assert_allclose(crossbar.wired(Wires(1e-6, 1e-6)), crossbar.weight, rtol=1e-7)


@pytest.mark.spice
def test_non_linear_cells_agree_with_a_simulator(simulator: Simulator) -> None:
    m = n = 8
    g, rows = conductances(m, n), np.linspace(0.2, 0.6, m)
    found = solve_wired(lambda v: g * 0.1 * np.sinh(v / 0.1), WIRES, rows=rows, columns=np.zeros(n))
    deck = netlist(g, rows, WIRES)
    saved = tuple(f"i(vs{j})" for j in range(n))
    options = {"reltol": 1e-9, "abstol": 1e-18, "vntol": 1e-13}
    data = simulator.run(cosim.Deck(deck, save=saved, options=options))["op"]
    currents = np.array([float(data[name].values.ravel()[-1]) for name in saved])
    np.testing.assert_allclose(found.column_current, currents, rtol=1e-8)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"rows": np.full(3, np.nan), "columns": np.full(2, np.nan)}, "no wire is driven"),
        ({"rows": np.array([np.inf, 0.0, 0.0])}, "infinite"),
        ({"rows": np.zeros(0)}, "at least one voltage"),
    ],
)
def test_drives_that_do_not_fit_are_refused(change: dict[str, Array], says: str) -> None:
    drive = {"rows": np.ones(3), "columns": np.zeros(2), **change}
    with pytest.raises(InputError, match=says):
        solve_wired(lambda v: 1e-4 * v, WIRES, **drive)


def test_what_cannot_be_solved_says_why() -> None:
    with pytest.raises(InputError, match="above zero"):
        Wires(0.0, 1.0)
    with pytest.raises(InputError, match="negative"):
        Wires(1.0, 1.0, driver=-1.0)
    with pytest.raises(InputError, match="falls with its voltage"):
        solve_wired(lambda v: -1e-4 * v, WIRES, rows=np.ones(3), columns=np.zeros(2))
    with pytest.raises(InputError, match="not finite"), np.errstate(over="ignore"):
        solve_wired(lambda v: np.exp(1e4 * v), WIRES, rows=np.ones(3), columns=np.zeros(2))
    open_row = np.array([np.nan, 1.0])
    with pytest.raises(InputError, match="singular"):
        solve_wired(lambda v: v * np.array([[0.0], [1e-3]]), WIRES, rows=open_row, columns=np.zeros(1))


def test_a_start_of_another_size_is_refused() -> None:
    first = solve_wired(lambda v: 1e-4 * v, WIRES, rows=np.ones(3), columns=np.zeros(2))
    assert first.cell_voltage.shape == (3, 2)
    with pytest.raises(InputError, match="start has the shape"):
        solve_wired(lambda v: 1e-4 * v, WIRES, rows=np.ones(4), columns=np.zeros(2), start=first)


def test_many_cells_need_few_iterations() -> None:
    """A hundredfold array takes no more than a few times the iterations: what the preconditioner is there for."""
    counts = []
    for size in (16, 160):
        g = conductances(size, size)
        current = partial(np.multiply, g)
        counts.append(solve_wired(current, Wires(1.0, 1.0), rows=np.ones(size), columns=np.zeros(size)).iterations)
    assert counts[1] < 4 * counts[0]


# --- as an option of a projection ---------------------------------------------------------------------------------


def wired_simulation(backend: str, **changes: object) -> net.Simulation:
    digits = np.random.default_rng(5).uniform(0.2, 0.8, (9, 4))
    source = net.Population("pixels", 9, net.Source(), net.Poisson(rate=300.0))
    layer = net.Population("layer", 4, net.LIF(tau=10.0, threshold=1.0, reset=0.0, refractory=1.0))
    rule = PostStdp(tau_pre=20.0, at_post=-4.0, offset=0.5, input="amplitude")
    cells = cosim.Surrogate(cosim.ParameterSet.load("tio2"))
    given = {"wires": Wires(300.0, 200.0), "rule": rule, **changes}
    joint = net.Projection("pixels", "layer", cells, digits, **given)  # type: ignore[arg-type]
    return net.Simulation(net.Graph((source, layer), (joint,)), backend=backend)


@pytest.mark.parametrize("backend", ["numpy", pytest.param("numba", marks=pytest.mark.needs("numba"))])
def test_a_projection_is_read_through_its_wires_and_learns(backend: str) -> None:
    simulation, plain = (wired_simulation(backend, **changes) for changes in ({}, {"wires": None}))
    bar = simulation.cells["pixels_to_layer"]
    shown = {"pixels": np.ones((2, 9))}
    spikes = [one.run(shown, steps=60, key=1).counts["layer"].sum() for one in (simulation, plain)]
    assert 0 < spikes[0] < spikes[1]
    assert np.any(bar.w != wired_simulation("numpy").cells["pixels_to_layer"].w)
    # until the next run a moved cell has what the wires left of it when this one began
    own = Crossbar(bar.kind, bar.w).weight
    first = wired_simulation("numpy").cells["pixels_to_layer"]
    before, began = first.weight.copy(), first.w.copy()
    first.see()
    np.testing.assert_allclose(bar.weight / own, first.weight / before, rtol=1e-12)
    assert np.all(first.w == began)
    simulation.run(shown, steps=1, key=2, learn=False)
    expected = effective_conductance(own * bar.scale, Wires(300.0, 200.0))
    np.testing.assert_allclose(bar.weight * bar.scale, expected, rtol=1e-9)


@pytest.mark.needs("numba")
def test_both_loops_see_the_same_wires() -> None:
    one, other = (wired_simulation(backend) for backend in ("numpy", "numba"))
    for key in (1, 2):
        counts = [s.run({"pixels": np.ones((2, 9))}, steps=60, key=key).counts["layer"] for s in (one, other)]
        np.testing.assert_array_equal(counts[0], counts[1])
    weights = [s.cells["pixels_to_layer"].weight for s in (one, other)]
    np.testing.assert_allclose(weights[0], weights[1], rtol=1e-12)


def test_a_read_voltage_takes_the_device_s_own_current() -> None:
    cells = cosim.Surrogate(cosim.ParameterSet.load("stanford_1_0_0"))
    (name,) = cells.map.states
    state = np.random.default_rng(2).uniform(*cells.map.states[name].range, (5, 3))
    bar = Crossbar(cells, {name: state}, wires=WIRES, read_voltage=0.4)
    bar.see()
    current = cell_current(cells.map.device, cosim.Values({name: state}), cells.values)
    for row in range(5):
        drive = 0.4 * (np.arange(5) == row)
        found = solve_wired(current, WIRES, rows=drive, columns=np.zeros(3)).column_current
        np.testing.assert_allclose(bar.weight[row] * bar.scale * 0.4, found, rtol=1e-9)
    linear = Crossbar(cells, {name: state}).wired(WIRES)
    assert np.max(np.abs(bar.weight / linear - 1.0)) > 0.01  # its I-V is not a line


def test_rows_that_are_read_alone_add_up_to_what_all_give_of_linear_cells_only() -> None:
    """16 x 16 cells, all rows driven in one solve against the sum of rows that are read alone.

    The current of the cells rises faster than their voltage, of which driven together they get less: the sum is too
    large. What makes it so is of the second order in the voltage, so that a quarter of it makes a sixteenth, about.
    """
    cells, wires = cosim.Surrogate(cosim.ParameterSet.load("stanford_1_0_0")), Wires(10.0, 10.0)
    (name,) = cells.map.states
    state = np.random.default_rng(2).uniform(*cells.map.states[name].range, (16, 16))
    bar, off = Crossbar(cells, {name: state}), {}
    own = bar.weight * bar.scale
    for v, current in (
        (0.0, lambda v: own * v),
        (0.1, cell_current(cells.map.device, cosim.Values({name: state}), cells.values)),
        (0.4, cell_current(cells.map.device, cosim.Values({name: state}), cells.values)),
    ):
        drive = v or 1.0
        together = solve_wired(current, wires, rows=np.full(16, drive), columns=np.zeros(16)).column_current
        alone = bar.wired(wires, read_voltage=v).sum(axis=0) * bar.scale * drive
        off[v] = alone / together - 1.0
    assert np.max(np.abs(off[0.0])) < 1e-9
    assert np.mean(off[0.4]) > 0.01
    assert 0.0 < np.mean(off[0.1]) < np.mean(off[0.4]) / 8.0


@pytest.mark.parametrize("changes", [{"pair": True}, {"cells": net.Ideal()}])
def test_wires_need_single_cells_with_ohms(changes: dict[str, object]) -> None:
    given = {"cells": cosim.Surrogate(cosim.ParameterSet.load("tio2")), "pair": False, **changes}
    with pytest.raises(InputError, match="wires"):
        Crossbar(given.pop("cells"), np.full((2, 2), 0.5), wires=WIRES, **given)  # type: ignore[arg-type]
