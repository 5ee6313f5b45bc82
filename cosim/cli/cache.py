"""``cosim cache``: the cases that need not be run again; show and prune."""

from __future__ import annotations

from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the verb."""
    group = typer.Typer(name="cache", no_args_is_help=True, help="Cases that were run before: show and prune.")
    group.command("show")(show)
    group.command("prune")(prune)
    app.add_typer(group)


def show(as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False) -> None:
    """Where the cache is, how many cases it holds, and how large and old they are."""
    from datetime import UTC, datetime

    from cosim.campaign.cache import Cache
    from cosim.cli.output import print_json

    with Cache() as cache:
        found = cache.holding()
    if as_json:
        print_json(vars(found))
        return
    print(f"{found.path}: {found.rows} cases, {found.size / 1e6:.1f} MB")
    if found.oldest is not None and found.latest is not None:
        ends = [datetime.fromtimestamp(when, UTC).strftime("%Y-%m-%d %H:%M") for when in (found.oldest, found.latest)]
        print(f"last used between {ends[0]} and {ends[1]} UTC")


def prune(
    days: Annotated[float | None, typer.Option(min=0.0, help="Drop what was not used for so many days.")] = None,
    megabytes: Annotated[
        float | None, typer.Option(min=0.0, help="Keep so much, the most recently used first.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Drop every case.")] = False,
) -> None:
    """Drop cases from the cache; campaigns keep their own rows."""
    from cosim.campaign.cache import Cache
    from cosim.errors import InputError

    if days is None and megabytes is None and not everything:
        raise InputError("say what to drop", remedy="give --days, --megabytes or --all")
    with Cache() as cache:
        gone = cache.prune(
            unused_for=None if days is None else 86400.0 * days,
            larger_than=0 if everything else None if megabytes is None else int(1e6 * megabytes),
        )
        print(f"{gone} cases dropped, {len(cache)} kept")
