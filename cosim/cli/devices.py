"""``cosim devices``: the device models, their published parameter sets, and their text in other languages."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from cosim.bench.examine import Subject
    from cosim.parameters import ParameterSet


def register(app: typer.Typer) -> None:
    """Add the verb."""
    group = typer.Typer(help="The device models and their published parameter sets.", no_args_is_help=False)
    group.callback(invoke_without_command=True)(list_devices)
    group.command("show", help="Parameters of a device, or of one of its sets, with units, bounds and sources.")(show)
    group.command("emit", help="Write a device's B-source subcircuit (.lib) and Verilog-A module (.va).")(emit)
    group.command("check", help="Physics of a memristive model: pinched, passive, bounded, solvable, convergent.")(
        check
    )
    app.add_typer(group, name="devices")


def list_devices(
    context: typer.Context, as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False
) -> None:
    """Every device with its sets."""
    from cosim.cli.output import print_json, show_table
    from cosim.devices.registry import devices
    from cosim.parameters import library_sets, shipped_sets

    if context.invoked_subcommand is not None:
        return
    sets = [*shipped_sets(), *((found.device, name) for name, found in library_sets().items())]
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
    from cosim.parameters import ParameterSet, library_sets, shipped_sets

    try:
        return ParameterSet.load(what)
    except UnknownName:
        known = [*devices(), *(name for _, name in shipped_sets()), *library_sets()]
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


def check(
    what: Annotated[str, typer.Argument(metavar="DEVICE|NETLIST", help="a device with one port, or a user's netlist")],
    form: Annotated[str, typer.Option(help="behavioural or verilog-a, of a device of the library.")] = "behavioural",
    instance: Annotated[
        str | None, typer.Option(help='Of a netlist: one line between node "te" and 0, e.g. "X1 te 0 my_memristor".')
    ] = None,
    amplitude: Annotated[str, typer.Option(help="Of the sine, for a netlist.")] = "1 V",
    period: Annotated[str, typer.Option(help="Of the sine, for a netlist.")] = "1 ms",
    state: Annotated[
        list[str] | None, typer.Option(help='Of a netlist: "v(x1.w)=0..1", a state and its bounds.')
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Six checks with a verdict each; exit 1 unless all pass."""
    from cosim.bench.examine import Subject, examine
    from cosim.cli.output import print_json, show_table, working
    from cosim.engines.registry import open_simulator
    from cosim.errors import InputError, UnknownName
    from cosim.statistics.verdict import Verdict

    if form not in ("behavioural", "verilog-a"):
        raise UnknownName("form", form, ("behavioural", "verilog-a"))
    if Path(what).suffix:
        if instance is None:
            raise InputError(f"{what} may hold many models", remedy='say which: --instance "X1 te 0 NAME"')
        subject = _subject(Path(what), instance, amplitude, period, state or [])
    else:
        from cosim.devices.registry import device

        model = device(what)
        subject = Subject.of_device(model, model.defaults(), form=form)
    with open_simulator() as simulator, working(f"checking {what}"):
        found = examine(subject, simulator)
        engine = simulator.version()
    if as_json:
        checks = [
            {"name": c.name, "verdict": c.verdict.value, "says": c.says, "value": c.value, "limit": c.limit}
            for c in found.checks
        ]
        print_json({"model": found.model, "engine": engine, "verdict": found.verdict.value, "checks": checks})
    else:
        rows = [(c.name, c.verdict.value, c.says) for c in found.checks]
        show_table(f"{found.model} ({engine})", ("check", "verdict", ""), rows)
    raise typer.Exit(0 if found.verdict is Verdict.PASS else 1)


def _subject(path: Path, instance: str, amplitude: str, period: str, states: list[str]) -> Subject:
    from cosim import units
    from cosim.bench.examine import Subject
    from cosim.errors import InputError, MissingFile

    if not path.is_file():
        raise MissingFile(f"cannot read {path}: No such file", remedy="check the path")
    bounds = {}
    for text in states:
        name, _, span = text.partition("=")
        low, dots, high = span.partition("..")
        if not dots:
            raise InputError(f"--state {text!r} lacks bounds", remedy='write e.g. "v(x1.w)=0..1"')
        bounds[name.strip().lower()] = (units.parse(low), units.parse(high))
    body = f'.include "{path.resolve()}"\n{instance}'
    volts, seconds = units.parse(amplitude, "V"), units.parse(period, "s")
    return Subject(path.name, body, volts, seconds, bounds, roots=(path.resolve().parent,))
