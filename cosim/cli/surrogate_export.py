"""``cosim surrogate export``."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Annotated

import typer

from cosim.cli.network_options import Uncertified
from cosim.export.names import TARGETS


def register(group: typer.Typer) -> None:
    """Add ``export`` to the verbs of ``surrogate``."""
    listed = "\n\n".join(f"{name}: {says}." for name, says in TARGETS.items())
    group.command("export", help=f"{inspect.cleandoc(export.__doc__ or '')}\n\nTargets:\n\n{listed}")(export)


def export(
    file: Annotated[Path, typer.Argument(help="A surrogate (.npz).")],
    to: Annotated[str, typer.Option("--to", help="Target; see below.", show_default=False)],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder to write.")],
    events: Annotated[int, typer.Option(help="Golden events beside it.")] = 100,
    seed: Annotated[int, typer.Option(help="Of the golden events.")] = 0,
    check: Annotated[
        bool, typer.Option("--check", help="Import it in the target, run the golden events, and compare.")
    ] = False,
    python: Annotated[
        Path | None,
        typer.Option(help="Interpreter of the environment that has the target; default: this one.", show_default=False),
    ] = None,
    source: Annotated[
        Path | None,
        typer.Option(help="Of a target without a package: the folder with its source.", show_default=False),
    ] = None,
    uncertified: Uncertified = False,
) -> None:
    """Write a surrogate for another program, with golden events, provenance, and a list of what the format loses.

    With --check it is imported again; exit code 1: it differs by more than the target's tolerance.
    """
    from cosim.export.write import checked, export_surrogate
    from cosim.surrogate.files import load

    made = export_surrogate(load(file), to, output, seed=seed, events=events, uncertified=uncertified)
    print(f"written     {made.folder}: {', '.join(made.files)}")
    for sentence in made.losses:
        print(f"lost        {sentence}")
    if not (check or python or source):
        return
    found = checked(made.folder, source=source, **({} if python is None else {"python": python}))
    worst = max(found["difference"].values())
    shown = ", ".join(f"{name} {share:.2g}" for name, share in found["difference"].items())
    print(f"imported    in {to} {found['version']}; largest differences, of full scale: {shown}")
    if not worst <= made.target.tolerance[0]:
        print(f"fails: the largest difference is {worst:.2g}, allowed {made.target.tolerance[0]:g}")
        raise typer.Exit(1)
    print("passes")
