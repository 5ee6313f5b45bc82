"""``cosim benches``: the benches that ship, their text, and a copy to change."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

TRAINED = ("map", "neuron", "filter")  # what of a bench a surrogate is made of, as its file names them


def register(app: typer.Typer) -> None:
    """Add the verb."""
    group = typer.Typer(help="The benches that ship: list them, show one, copy one to change it.")
    group.callback(invoke_without_command=True)(list_benches)
    group.command("show", help="Print a bench.")(show)
    group.command("copy", help="Copy a bench, and the netlists that it includes, into a folder.")(copy)
    app.add_typer(group, name="benches")


def list_benches(
    context: typer.Context, as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False
) -> None:
    """Every bench with its title."""
    from cosim import resources
    from cosim.cli.output import print_json, show_table
    from cosim.toml_files import read_toml

    if context.invoked_subcommand is not None:
        return
    rows = []
    for path in resources.listing("netlists", ".toml"):
        bench = read_toml(path, kind="bench")
        plan = [bench.get("analysis"), *bench.get("analyses", {}).values()]
        kinds = dict.fromkeys(entry["kind"] for entry in plan if entry)
        trained = [f"{kind} {name}" for kind in TRAINED for name in bench.get(f"{kind}s", {})]
        rows.append(
            [path.stem, bench["title"], ", ".join(kinds), str(len(bench.get("limits", {}))), ", ".join(trained)]
        )
    columns = ("bench", "title", "analyses", "limits", "surrogate")
    if as_json:
        print_json([dict(zip(columns, row, strict=True)) for row in rows])
        return
    show_table("", columns, rows, right=(3,))
    print("'cosim run BENCH' runs one; 'cosim benches copy BENCH FOLDER' makes a copy to change")
    print("'cosim surrogate train BENCH' takes those with a map, a neuron or a filter (--map chooses one of several)")


def show(name: Annotated[str, typer.Argument(metavar="BENCH", help="Of the list.")]) -> None:
    """Print the file."""
    from cosim import resources

    print(resources.find("netlists", name, suffix=".toml").read_text(encoding="utf-8"), end="")


def copy(
    name: Annotated[str, typer.Argument(metavar="BENCH", help="Of the list.")],
    folder: Annotated[Path, typer.Argument(help="Where to; created if it does not exist.")],
) -> None:
    """Copy the files; existing ones are not replaced."""
    from cosim import resources
    from cosim.errors import InputError
    from cosim.files import write_atomic
    from cosim.language.netlist import read
    from cosim.toml_files import read_toml

    bench = resources.find("netlists", name, suffix=".toml")
    files = [bench]
    netlist = read_toml(bench, kind="bench").get("netlist")
    if netlist is not None:
        first = resources.find("netlists", netlist)
        files += dict.fromkeys([first, *read(first).files])
    taken = [folder / path.name for path in files if (folder / path.name).exists()]
    if taken:
        raise InputError(f"{taken[0]} already exists", remedy="take another folder, or remove it")
    for path in files:
        print(write_atomic(folder / path.name, path.read_text(encoding="utf-8")))
    print(f"run it with: cosim run {folder / bench.name}")
