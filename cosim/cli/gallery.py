"""``cosim gallery``: every circuit's figures beside the numbers of its source, on one page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("gallery", help="Run the circuits and show their figures beside the numbers of their sources.")(gallery)


def gallery(
    system: Annotated[list[str] | None, typer.Argument(metavar="[SYSTEM]...", help="Default: all of them.")] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the page and its figures.")] = Path(
        "cosim-out/gallery"
    ),
    workers: Annotated[int, typer.Option("--workers", "-j", min=1, help="Simulations at once.")] = 2,
) -> None:
    """Write ``OUTPUT/index.html`` and one PNG per figure."""
    from importlib import import_module

    from cosim.cli.output import progress
    from cosim.engines.registry import open_simulator
    from cosim.errors import UnknownName
    from cosim.report import style
    from cosim.report.gallery import MODULES
    from cosim.report.html import Report

    chosen = system or list(MODULES)
    for name in chosen:
        if name not in MODULES:
            raise UnknownName("system", name, MODULES)
    page = Report("Gallery", "Each circuit as it ships, run in ngspice, beside what its source states.")
    with open_simulator(workers=workers) as simulator, progress() as bars:
        task = bars.add_task("gallery", total=None)
        for name in chosen:
            module = import_module(f"cosim.report.gallery.{name}")
            page.section(module.TITLE)
            entries = module.entries(simulator, lambda what: bars.update(task, description=what, advance=1))
            for number, entry in enumerate(entries, 1):
                page.text(entry.title)
                page.figure(entry.figure, entry.caption)
                style.save(entry.figure, output / f"{name}_{number}.png")
                if entry.comparisons:
                    rows = [(c.quantity, c.source, c.ours, c.verdict, c.why) for c in entry.comparisons]
                    page.table(("quantity", "source", "here", "verdict", "why"), rows)
        page.footer = simulator.version()
    print(page.write(output / "index.html"))
