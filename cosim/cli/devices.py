"""``cosim devices``: the device models, their published parameter sets, and their text in other languages."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from cosim.parameters import ParameterSet


def register(app: typer.Typer) -> None:
    """Add the verb."""
    group = typer.Typer(help="The device models and their published parameter sets.", no_args_is_help=False)
    group.callback(invoke_without_command=True)(list_devices)
    group.command("show", help="Parameters of a device, or of one of its sets, with units, bounds and sources.")(show)
    group.command("emit", help="Write a device's B-source subcircuit (.lib) and Verilog-A module (.va).")(emit)
    app.add_typer(group, name="devices")


def list_devices(
    context: typer.Context, as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False
) -> None:
    """Every device with its sets."""
    from cosim.cli.output import print_json, show_table
    from cosim.devices.registry import devices
    from cosim.parameters import shipped_sets

    if context.invoked_subcommand is not None:
        return
    sets = shipped_sets()
    rows = [
        [name, model.title, ", ".join(s for d, s in sets if d == name), model.source]
        for name, model in devices().items()
    ]
    if as_json:
        print_json([dict(zip(("name", "title", "sets", "source"), row, strict=True)) for row in rows])
    else:
        show_table("", ("device", "what it is", "parameter sets", "source"), rows)


def show(
    what: Annotated[str, typer.Argument(metavar="DEVICE|SET", help="a device, a set (tio2), or file.toml[:SET]")],
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """The parameter table."""
    from cosim.cli.output import print_json, show_table
    from cosim.devices.registry import device, devices

    chosen = None if what in devices() else _set(what)
    model = device(what if chosen is None else chosen.device)
    rows = []
    for entry in model.params:
        quantity = chosen.values.get(entry.name) if chosen is not None else None
        value = entry.default if quantity is None else quantity.value
        error = "" if quantity is None or quantity.stderr is None else f"{quantity.stderr:.3g}"
        source = (quantity.source or (chosen.source if chosen else "")) if quantity is not None else entry.source
        bounds = f"{entry.bounds[0]:g} .. {entry.bounds[1]:g}"
        rows.append([entry.name, f"{value:.6g}", error, entry.unit, bounds, entry.description, source])
    names = ("parameter", "value", "std. error", "unit", "bounds", "description", "source")
    if as_json:
        print_json({"device": model.name, "parameters": [dict(zip(names, row, strict=True)) for row in rows]})
        return
    show_table(f"{model.title}: {model.source}", names, rows, right=(1, 2))
    for note in chosen.notes if chosen is not None else ():
        print(f"  note: {note}")


def _set(what: str) -> ParameterSet:
    from cosim.devices.registry import devices
    from cosim.errors import UnknownName
    from cosim.parameters import ParameterSet, shipped_sets

    try:
        return ParameterSet.load(what)
    except UnknownName:
        known = [*devices(), *(name for _, name in shipped_sets())]
        if ".toml" in what:
            raise
        raise UnknownName("device or parameter set", what, known) from None


def emit(
    name: Annotated[str, typer.Argument(metavar="DEVICE")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write into.")] = Path("."),
) -> None:
    """Write the files."""
    from cosim.devices.registry import device
    from cosim.emit.files import write

    for path in write(device(name), output):
        print(path)
