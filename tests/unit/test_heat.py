"""The heat solution against closed forms, energy balances and a second way through time."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cosim.cli.app import main
from cosim.errors import EngineMissing, FitError, InputError
from cosim.heat import solve
from cosim.heat.extrapolate import Extrapolated, convergence_order, extrapolate, limit, quarter_response
from cosim.heat.network import array_response, fit_array, fit_cell, foster, parameter_sets, write_sets
from cosim.heat.reduced import reduce
from cosim.heat.response import PROBES, VOLTAGE, StepResponse, probes, response, steady_field
from cosim.heat.solve import Discretised, discretise, heater, joule, march, steady
from cosim.heat.stack import MATERIALS, NAMES, Material, Stack, graded, make_grid
from cosim.parameters import ParameterSet, read_sets

COARSE = Stack.baseline(refine=0.45)


@pytest.fixture(scope="module")
def model() -> Discretised:
    return discretise(make_grid(COARSE))


@pytest.fixture(scope="module")
def found(model: Discretised) -> StepResponse:
    return response(COARSE)


def test_the_grid_has_a_plane_at_every_interface() -> None:
    stack = Stack.modified(refine=0.5)
    grid = make_grid(stack)
    for z in {z for layer in stack.layers.values() for z in layer}:
        assert np.min(np.abs(grid.edges[2] - z)) < 1e-15
    volumes = grid.volumes
    assert volumes.sum() == pytest.approx(stack.width**2 * stack.layers["cap"][1], rel=1e-12)
    for kind, radius in (("heater", stack.rod_radius), ("filament", stack.filament_radius)):
        rod = grid.rod(1, 2, kind=kind)
        assert volumes[rod].sum() == pytest.approx(math.pi * radius**2 * stack.oxide, rel=1e-9)
    pads = grid.material == NAMES.index("electrode")
    f = stack.feature
    lines = 3 * stack.width * f * 2 * (2 * f)  # top and bottom, 2 F thick
    assert volumes[pads].sum() == pytest.approx(lines + 9 * f * f * f / 3, rel=1e-9)


def test_cells_grow_with_the_distance() -> None:
    edges = graded(np.array([0.0, 1.0, 3.0]), fine=np.array([1.0]), smallest=0.05, growth=0.3)
    sizes = np.diff(edges)
    assert {0.0, 1.0, 3.0} <= set(edges)
    middle = 0.5 * (edges[1:] + edges[:-1])
    # never more than the law allows, a rounded-up number of cells makes them smaller
    assert np.all(sizes <= (0.05 + 0.3 * np.abs(middle - 1.0)) * 1.1)
    assert sizes.min() > 0.02


def slab() -> tuple[Stack, Material]:
    """A stack of one material: with the same heat everywhere it is a slab of one dimension."""
    plain = Material(2.0, 1e5, 5000.0, 400.0)
    return replace(COARSE, substrate=60e-9, materials=dict.fromkeys(MATERIALS, plain)), plain


@pytest.mark.needs("fipy")
def test_a_slab_at_rest_is_a_parabola() -> None:
    stack, plain = slab()
    model = discretise(make_grid(stack))
    q, height = 1e15, stack.layers["cap"][1]
    rise = solve.solver(model.heat, rtol=1e-10, what="slab")(q * model.grid.volumes)
    edges = model.grid.edges[2]
    z = np.repeat(0.5 * (edges[1:] + edges[:-1]), model.grid.shape[0] * model.grid.shape[1])
    exact = q / plain.kappa * (height * z - 0.5 * z * z)
    # finite volumes integrate a parabola exactly but for the half cell at the sink: h²/8 of the first cell
    np.testing.assert_allclose(rise, exact, atol=q / plain.kappa * np.max(np.diff(edges)) ** 2 / 4)


@pytest.mark.needs("fipy")
def test_a_slab_warms_up_as_its_series_says() -> None:
    stack, plain = slab()
    model = discretise(make_grid(stack))
    q, height = 1e15, stack.layers["cap"][1]
    diffusivity = plain.kappa / (plain.density * plain.heat)
    everywhere = np.ones(model.grid.size, dtype=bool)
    times = np.geomspace(0.01, 3.0, 12) * height**2 / diffusivity
    fast = reduce(model, q * model.grid.volumes, first=times[0] / 10, last=times[-1] * 10)
    means = fast.means([everywhere], model.grid.volumes, times=times)[:, 0]
    k = (np.arange(400) + 0.5) * math.pi
    rest = q * height**2 / plain.kappa
    exact = rest * (1 / 3 - 2 * np.sum(np.exp(-np.outer(times * diffusivity / height**2, k**2)) / k**4, axis=1))
    # 0.3 % of the mesh at rest; at first the layer that the sink cools is hardly thicker than a cell
    np.testing.assert_allclose(means, exact, rtol=0.02)


@pytest.mark.needs("fipy")
def test_heat_is_voltage_times_current(model: Discretised) -> None:
    site = heater(model, 1, 1)
    heat, current = joule(model, site, voltage=0.2)
    assert heat.sum() == pytest.approx(0.2 * current, rel=1e-9)
    rod = 30e-9 / (1e5 * math.pi * 4.19e-9**2)
    # the rod itself, and leads that are a hundred times better and wider
    assert rod < 0.2 / current < 1.01 * rod
    assert heat[model.grid.rod(1, 1, kind="heater")].sum() > 0.99 * heat.sum()
    twice, _ = joule(model, site, voltage=0.4)
    np.testing.assert_allclose(twice, 4 * heat, rtol=1e-9, atol=1e-20)


@pytest.mark.needs("fipy")
def test_all_heat_ends_in_the_sink(model: Discretised) -> None:
    site = heater(model, 1, 1)
    rise, power = steady(model, site, voltage=VOLTAGE)
    bottom = model.grid.shape[0] * model.grid.shape[1]
    edges = model.grid.edges
    area = np.multiply.outer(np.diff(edges[1]), np.diff(edges[0])).ravel()
    flow = np.sum(0.5 * area * rise[:bottom] / (edges[2][1] / 4)) * 0.5  # κ = 0.5 over half a cell
    assert flow == pytest.approx(power, rel=1e-5)
    assert rise.min() > 0.0


@pytest.mark.needs("fipy")
def test_every_heater_of_the_array_has_its_conductor(model: Discretised) -> None:
    edge, middle = (joule(model, heater(model, *at), voltage=1.0)[1] for at in ((0, 0), (1, 1)))
    assert edge == pytest.approx(middle, rel=0.01)  # a shorter or longer piece of line in series


@pytest.mark.needs("fipy")
def test_a_rod_that_warms_takes_less(model: Discretised) -> None:
    """V² / (R_rod (1 + β ΔT) + R_leads), with the rod's own mean rise."""
    site = heater(model, 1, 1)
    voltage, beta = 0.3, 3e-3
    cold_rise, cold = steady(model, site, voltage=voltage)
    rise, power = steady(model, site, voltage=voltage, rod_coefficient=beta)
    rod = model.grid.rod(1, 1, kind="heater")
    mean = np.average(rise[rod], weights=model.grid.volumes[rod])
    assert cold_rise.max() > rise.max()
    # across the rod slices are in parallel: second order in β times the spread there; the leads are 0.5 %
    assert power == pytest.approx(cold / (1 + beta * mean), rel=0.01)


@pytest.mark.needs("fipy")
def test_reduced_model_and_time_steps_agree(model: Discretised) -> None:
    site = heater(model, 1, 1)
    heat, current = joule(model, site, voltage=VOLTAGE)
    times = np.geomspace(5e-12, 5e-7, 45)
    seen = probes(model.grid)
    rows, powers, last = march(model, site, voltage=VOLTAGE, times=times, probes=seen, rtol=1e-6)
    fast = reduce(model, heat, first=1e-10, last=5e-7)
    late = times > 1e-9
    means = fast.means(seen, model.grid.volumes, times=times)
    # SDIRK at 10 steps a decade has an error of 1e-3, the reduced model one of 5e-4
    assert np.max(np.abs(means - rows)[late] / rows[-1]) < 3e-3
    np.testing.assert_allclose(fast.field(times[-1]), last, atol=3e-3 * last.max())
    np.testing.assert_allclose(powers, VOLTAGE * current, rtol=1e-12)
    rest, _ = steady(model, site, voltage=VOLTAGE)
    np.testing.assert_allclose(fast.field(None), rest, rtol=1e-4, atol=1e-6 * rest.max())


@pytest.mark.needs("fipy")
def test_coupling_after_60_ns_does_not_see_the_substrate(found: StepResponse) -> None:
    thin = response(replace(COARSE, substrate=0.2e-6), stop=0.2e-6)
    for name in PROBES[1:]:
        # the heat has not gone through 0.2 µm of oxide by then
        assert thin.at(60e-9)[name] == pytest.approx(found.at(60e-9)[name], rel=0.03)
    assert thin.r_th < 0.8 * found.r_th
    assert thin.at(None)["A"] < found.at(None)["A"]


@pytest.mark.needs("fipy")
def test_modified_geometry_does_what_the_text_says(found: StepResponse) -> None:
    modified = response(Stack.modified(refine=0.45), stop=0.2e-6)
    assert modified.at(60e-9)["A"] > found.at(60e-9)["A"]
    for name in ("B row", "B column", "C"):
        assert modified.at(60e-9)[name] < found.at(60e-9)[name]


@pytest.mark.needs("fipy")
def test_two_poles_fit_and_one_does_not(found: StepResponse) -> None:
    two, one = fit_cell(found), fit_cell(found, poles=1)
    assert two.error < 0.02
    assert one.error > 4 * two.error
    values = {name: quantity.value for name, quantity in two.values.items()}
    assert values["r_fast"] + values["r_slow"] == pytest.approx(found.steady[1], rel=0.01)
    with pytest.raises(FitError, match="one or two thermal poles"):
        fit_cell(found, poles=3)


@pytest.mark.needs("fipy")
def test_known_poles_are_found_again(found: StepResponse) -> None:
    known = {"r_fast": 0.4e6, "tau_fast": 4e-9, "r_slow": 3e6, "tau_slow": 0.9e-6}
    curve = foster(found.times, known)
    made = replace(found, rises=np.repeat(curve[:, None], 5, axis=1), steady=np.full(5, 3.4e6))
    for name, quantity in fit_cell(made).values.items():
        assert quantity.value == pytest.approx(known[name], rel=1e-4)


def test_an_array_without_links_is_a_cell() -> None:
    values = {"r_fast": 0.4e6, "tau_fast": 4e-9, "r_slow": 3e6, "tau_slow": 0.9e-6}
    times = np.geomspace(1e-10, 1e-5, 50)
    alone = array_response(times, {**values, "along_row": 0.0, "along_column": 0.0})
    np.testing.assert_allclose(alone[:, 0], foster(times, values), rtol=1e-9)
    assert np.all(np.abs(alone[:, 1:]) < 1e-6)
    joined = array_response(times, {**values, "along_row": 1e-6, "along_column": 2e-6})[-1]
    assert joined[0] < alone[-1, 0]
    assert joined[2] > joined[1] > joined[3] > 0.0
    # at rest the sum over the nine cells of what goes down is the power: 1 = Σ T/r, by symmetry A + 2B + 2B' + 4C
    slow = (joined[0] - values["r_fast"]) + 2 * joined[1] + 2 * joined[2] + 4 * joined[3]
    assert slow == pytest.approx(values["r_slow"], rel=1e-4)


@pytest.mark.needs("fipy")
def test_sets_are_written_and_merged(found: StepResponse, tmp_path: Path) -> None:
    sets = parameter_sets(found, "stack_test")
    paths = write_sets(sets, tmp_path)
    write_sets(parameter_sets(found, "other"), tmp_path)
    cell = fit_cell(found)
    for path in paths:
        assert {name.split("_")[0] for name in read_sets(path)} == {"stack", "other"}
    read = ParameterSet.load(f"{tmp_path / 'thermal_stack.toml'}:stack_test")
    assert read.values["r_slow"].value == cell.values["r_slow"].value
    assert "%" in read.notes[0]
    links = fit_array(found).values
    link = ParameterSet.load(f"{tmp_path / 'thermal_link.toml'}:stack_test_along_row")
    assert link.values["g_link"].value == links["along_row"].value


@pytest.fixture(scope="module")
def extrapolated() -> Extrapolated:
    return extrapolate(Stack.baseline(), base=0.12, splits=(1, 2, 3))


def test_limit_of_three_values_is_that_of_their_law() -> None:
    steps = 1.0 / np.array([2.0, 3.0, 4.0])
    values = 5.0 + 0.8 * steps**1.3
    assert convergence_order(values.tolist(), steps) == pytest.approx(1.3, rel=1e-9)
    assert limit(values, steps, order=1.3) == pytest.approx(5.0, rel=1e-12)
    with pytest.raises(InputError, match="do not converge"):
        convergence_order([1.0, 2.0, 1.5], steps)


@pytest.mark.needs("fipy")
def test_a_quarter_is_the_whole(found: StepResponse) -> None:
    """The mirror planes, on one grid: only what the leads take of the heat differs."""
    part = quarter_response(COARSE, split=1)
    # the quarter has one more plane of cells in each line's middle
    np.testing.assert_allclose(part.steady, found.steady, rtol=0.04)
    assert part.resistance == pytest.approx(found.resistance, rel=0.01)


@pytest.mark.needs("fipy")
@pytest.mark.needs("pyamg")
def test_the_limit_does_not_depend_on_the_mesh(extrapolated: Extrapolated) -> None:
    """Meshes of a few thousand cells, the finest 15 % off, have the limit of the shipped sets."""
    p = ParameterSet.load("thermal_reram:stack_60nm").resolved()
    filament = extrapolated.response.steady[1]
    assert filament == pytest.approx(p.r_fast + p.r_slow, rel=0.02)
    assert extrapolated.response.r_th == pytest.approx(p.r_fast + p.r_slow + p.r_rod, rel=0.04)
    assert extrapolated.meshes[-1].r_th > 1.1 * extrapolated.response.r_th
    assert 1.0 < extrapolated.order < 2.0
    assert 0.0 < extrapolated.error["A"] < 0.2


@pytest.mark.needs("fipy")
@pytest.mark.needs("pyamg")
def test_sets_of_the_limit_state_the_error_of_the_mesh(extrapolated: Extrapolated) -> None:
    sets = parameter_sets(extrapolated, "x")
    cell = next(entry for entry in sets["thermal_stack.toml"] if entry.name == "x")
    apart = np.diff([fit_cell(pair).values["r_fast"].value for pair in extrapolated.pairs])[0]
    assert (cell.values["r_fast"].stderr or 0.0) >= abs(apart)
    assert any("limit of three meshes" in note for note in cell.notes)
    assert "r_heater" not in cell.values


@pytest.mark.needs("fipy")
def test_shipped_sets_are_of_this_stack(found: StepResponse) -> None:
    """The shipped poles come from a finer mesh: the same stack within what the mesh changes."""
    shipped = ParameterSet.load("thermal_reram:stack_60nm").resolved()
    values = {name: quantity.value for name, quantity in fit_cell(found).values.items()}
    for name in ("r_slow", "tau_slow", "r_fast", "tau_fast"):
        assert values[name] == pytest.approx(shipped[name], rel=0.15), name


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"pitch": 50e-9}, "below the line width"),
        ({"refine": 0.0}, "refine = 0.0"),
        ({"substrate": -1.0}, "substrate"),
        ({"rod_radius": 40e-9}, "does not fit"),
        ({"cells": 2}, "middle"),
        ({"materials": {}}, "electrode"),
    ],
)
def test_wrong_stacks(change: dict[str, object], says: str) -> None:
    with pytest.raises(InputError, match=says):
        replace(COARSE, **change)  # type: ignore[arg-type]


def test_wrong_material() -> None:
    with pytest.raises(InputError, match="above zero"):
        Material(1.0, -1.0, 1.0, 1.0)


@pytest.mark.needs("fipy")
def test_wrong_times(model: Discretised, found: StepResponse) -> None:
    with pytest.raises(InputError, match="increase"):
        march(model, heater(model, 1, 1), voltage=1.0, times=np.array([1e-9, 1e-9]), probes=[])
    with pytest.raises(InputError, match="not a range"):
        reduce(model, np.zeros(model.grid.size), first=1e-6, last=1e-9)
    with pytest.raises(InputError, match="outside the response"):
        found.at(1.0)


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr("cosim.packages.import_module", missing)
    with pytest.raises(EngineMissing, match=r"cosim-spice\[heat\]"):
        discretise(make_grid(COARSE))


@pytest.mark.needs("fipy")
def test_steady_field_is_the_response_at_rest(found: StepResponse) -> None:
    field = steady_field(COARSE)
    np.testing.assert_allclose(field.means(), found.steady, rtol=1e-4)
    # both equations are linear: another voltage gives the same per watt
    np.testing.assert_allclose(steady_field(COARSE, voltage=0.3).means(), field.means(), rtol=1e-4)


@pytest.mark.needs("fipy")
def test_command(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    small = ["heat", "--refine", "0.4", "--substrate", "0.2 um"]
    assert main([*small, "--json", "--write", str(tmp_path), "--figure", str(tmp_path / "rise.png")]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["cells"] > 5000
    assert 0.1 < found["coupling_60ns"]["A"] < 0.4
    sets = read_sets(tmp_path / "thermal_stack.toml")
    assert sets["stack_60nm"].values["r_slow"].value == pytest.approx(found["cell"]["r_slow"], rel=1e-6)
    assert (tmp_path / "rise.png").read_bytes().startswith(b"\x89PNG")
    assert main(small) == 0
    shown = capsys.readouterr().out
    assert f"{found['cells']} cells" in shown
    assert f"{found['coupling_60ns']['A']:.4f}" in shown


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--pitch", "10 nm"], "below the line width"),
        (["--feature", "60 parsec"], "parsec"),
        (["--geometry", "round"], "round"),
    ],
)
def test_command_refuses(options: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["heat", *options]) == 2
    assert says in capsys.readouterr().err
