"""``cosim new``: a file to begin with: a bench from a working deck."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the verb."""
    group = typer.Typer(help="A file to begin with.", no_args_is_help=True)
    group.callback()(_only)
    group.command("bench", help="A bench from a working deck: its circuit, analyses and .meas cards.")(bench)
    app.add_typer(group, name="new")


def _only() -> None:
    """A group of one command."""


def bench(
    source: Annotated[Path, typer.Option("--from", metavar="DECK", help="The netlist.")],
    out: Annotated[
        Path | None, typer.Argument(metavar="[BENCH.toml]", help="Default: beside the deck, under its name.")
    ] = None,
    allow: Annotated[
        list[Path] | None, typer.Option("--allow", help="A further folder that the deck includes files from.")
    ] = None,
) -> None:
    """Write the bench; a file that is there is not replaced."""
    from cosim.bench.from_deck import from_deck
    from cosim.bench.testbench import Testbench
    from cosim.cli.output import advise
    from cosim.cli.run import dialect_of
    from cosim.errors import InputError, NetlistError
    from cosim.files import write_atomic
    from cosim.language.netlist import source_text

    target = out if out is not None else source.with_suffix(".toml")
    if target.suffix != ".toml":
        raise InputError(f"{target} is not the name of a bench", remedy="a bench is a .toml file")
    if target.resolve().parent != source.resolve().parent:
        raise InputError(f"{target} is not beside {source}", remedy="its includes count from the deck's folder")
    if target.exists():
        raise InputError(f"{target} already exists", remedy="give another name, or remove it")
    try:
        found = from_deck(source, roots=allow or ())
        Testbench.load(source, allow=allow or ())  # as a bench it is read once before it is written
    except NetlistError as error:
        if hint := dialect_of(source, source_text(source)):
            raise NetlistError(
                error.message, where=error.where, remedy=f"{error.remedy or 'repair it'}; {hint}"
            ) from None
        raise
    if hint := dialect_of(source, source_text(source), runs=True):
        advise([hint])
    print(write_atomic(target, found.to_toml()))
    advise(found.notes)
    print(f"run it with: cosim run {target}")
