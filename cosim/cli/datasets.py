"""``cosim datasets``: the public curves and image sets, where each is on this machine, and how to get it."""

from __future__ import annotations

from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the verb."""
    group = typer.Typer(help="The measured curves and image sets: where they are, and where they come from.")
    group.callback(invoke_without_command=True)(list_datasets)
    group.command("fetch", help="Fetch a dataset into the cache, and check it.")(fetch)
    app.add_typer(group, name="datasets")


def list_datasets(
    context: typer.Context, as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False
) -> None:
    """Every dataset and where it is; nothing is fetched."""
    from cosim.cli.output import print_json, show_table
    from cosim.data import datasets

    if context.invoked_subcommand is not None:
        return
    rows = []
    for name, entry in datasets.REGISTRY.items():
        location = datasets.locate(name)
        source = "" if entry.file is None else f"github.com/{entry.file.repository} at {entry.file.commit[:7]}"
        rows.append([name, location.place, entry.title, entry.licence, source, str(location.path or "")])
    columns = ("name", "place", "what it is", "licence", "source", "path")
    if as_json:
        print_json([dict(zip(columns, row, strict=True)) for row in rows])
        return
    show_table("", columns, rows)
    folder = datasets.data_folder()
    print(f"$COSIM_DATA {folder if folder else 'is not set'}; cache {datasets.cache_folder()}")
    print("'network' is fetched on first use; 'cosim datasets fetch NAME' fetches it now")


def fetch(
    name: Annotated[str, typer.Argument(help="Of the list.")],
    unverified: Annotated[
        bool, typer.Option("--unverified", help="Accept a file whose hash is not recorded; it is printed.")
    ] = False,
) -> None:
    """Fetch a dataset into the cache unless it is there, and check its hash."""
    import hashlib

    from cosim.data import datasets

    path = datasets.fetch(name, unverified=unverified)
    entry = datasets.find(name)
    print(f"{name} is here: {path}" if path.name else f"{name} is installed")
    if entry.file is not None and not entry.file.sha256:
        print(f"its hash was not checked, it is sha256 {hashlib.sha256(path.read_bytes()).hexdigest()}")
