"""``cosim heat``: the heat equation in the stack of a thermal synapse, and the circuits that stand for it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from cosim.cli.paths import figure_file


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("heat", help="Solve the heat equation in a thermal synapse's stack, and extract its circuit.")(heat)


def heat(
    geometry: Annotated[Literal["baseline", "modified"], typer.Option(help="The source's two stacks.")] = "baseline",
    feature: Annotated[str, typer.Option(help="F, the width of a line.")] = "60 nm",
    pitch: Annotated[str, typer.Option(help="K, from line to line; default: 2 F.", show_default=False)] = "",
    substrate: Annotated[
        str, typer.Option(help="Oxide above the heat sink; default: 0.5 um.", show_default=False)
    ] = "",
    margin: Annotated[
        str, typer.Option(help="From the outer lines to the adiabatic sides; default: 2 F.", show_default=False)
    ] = "",
    refine: Annotated[float, typer.Option(help="Fineness of the mesh; 1.35 has 300 000 cells.")] = 1.0,
    limit: Annotated[
        bool, typer.Option("--limit", help="Extrapolate three nested meshes; --refine scales the coarsest.")
    ] = False,
    write: Annotated[Path | None, typer.Option(help="Folder for the fitted parameter sets.")] = None,
    name: Annotated[str, typer.Option(help="Name of the sets; default: by F and K.", show_default=False)] = "",
    figure: Annotated[
        Path | None, typer.Option(callback=figure_file, help="Write the step responses (.png, .svg, .pdf).")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The figures as JSON.")] = False,
) -> None:
    """Thermal resistance, coupling and poles of one stack; lengths take units ("60 nm")."""
    import time
    from dataclasses import replace

    from cosim import units
    from cosim.cli.output import print_json, show_table, working
    from cosim.heat.extrapolate import BASE, extrapolate
    from cosim.heat.network import fit_array, fit_cell, parameter_sets, write_sets
    from cosim.heat.response import COUPLING_TIME, StepResponse, response
    from cosim.heat.stack import Stack

    width, spacing = units.parse(feature, "m"), units.parse(pitch, "m") if pitch else None
    make = Stack.modified if geometry == "modified" else Stack.baseline
    stack = make(width, pitch=spacing, refine=refine)
    if substrate:
        stack = replace(stack, substrate=units.parse(substrate, "m"))
    if margin:
        stack = replace(stack, margin=units.parse(margin, "m"))
    started = time.perf_counter()
    with working("solving the heat equation"):
        solved = extrapolate(stack, base=BASE * refine) if limit else response(stack)
        found = solved if isinstance(solved, StepResponse) else solved.response
        seconds = time.perf_counter() - started
        cell, single, array = fit_cell(found), fit_cell(found, poles=1), fit_array(found)
    late, rest = found.at(COUPLING_TIME), found.at(None)
    if as_json:
        print_json(
            {
                "cells": found.cells, "seconds": round(seconds, 1), "heater_ohm": found.resistance, "r_th": found.r_th,
                "coupling_60ns": late, "coupling_rest": rest,
                "cell": {key: quantity.value for key, quantity in cell.values.items()}, "cell_error": cell.error,
                "one_pole_error": single.error,
                "mesh_error": None if isinstance(solved, StepResponse) else dict(solved.error),
                "array": {key: quantity.value for key, quantity in array.values.items()}, "array_error": array.error,
            }
        )  # fmt: skip
    else:
        print(f"{found.cells} cells in {seconds:.1f} s; heater {units.show(found.resistance, 'ohm')}")
        print(f"thermal resistance of the heater {found.r_th / 1e6:.4g} K/uW")
        rows = [(where, f"{late[where]:.4f}", f"{rest[where]:.4f}") for where in late]
        show_table("", ("coupling to", f"after {units.show(COUPLING_TIME, 's')}", "at rest"), rows, right=(1, 2))

        def unit_of(key: str) -> str:
            return "s" if key.startswith("tau_") else "K/W" if key.startswith("r_") else "W/K"

        values = [
            (of, key, units.show(quantity.value, unit_of(key)))
            for of, fit in (("cell", cell), ("array", array))
            for key, quantity in fit.values.items()
        ]
        show_table("", ("circuit", "parameter", "value"), values, right=(2,))
        if not isinstance(solved, StepResponse):
            off = ", ".join(f"{where} {error:.1%}" for where, error in solved.error.items())
            print(f"limit of three meshes, order {solved.order:.2f}; its error: {off}")
        print(f"largest error: cell {cell.error:.2%} (one pole {single.error:.2%}), array {array.error:.2%}")
    if figure is not None:
        from cosim.report.heat_figures import plot_response
        from cosim.report.style import save

        save(plot_response(found, fits={"two poles": cell, "array network": array}), figure)
    if write is not None:
        suffix = f"_pitch_{spacing * 1e9:.4g}nm" if spacing else ""
        suffix += "" if geometry == "baseline" else "_modified"
        sets = parameter_sets(solved, name or f"stack_{width * 1e9:.4g}nm{suffix}")
        for path in write_sets(sets, write):
            typer.echo(f"wrote {path}", err=True)
