"""``cosim demo``: the straight line end to end."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("demo", help="The line end to end: lab, extraction, surrogate, network; one HTML report.")(demo)


def demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the report, sets and surrogate.")] = Path(
        "cosim-out/demo"
    ),
    data: Annotated[str, typer.Option(help="Images to learn: digits or mnist.")] = "digits",
    seed: Annotated[int, typer.Option(min=0, help="Of noise, held-out pulses and network.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the table as JSON.")] = False,
) -> None:
    """Run it; the report is ``OUTPUT/report.html``."""
    import time

    from cosim.cli.output import print_json, progress, show_table
    from cosim.demo import Settings, demonstrate

    started = time.perf_counter()
    with progress() as bars:
        steps = bars.add_task("starting", total=None)
        learning = bars.add_task("learning", total=None, visible=False)

        def tell(what: str) -> None:
            bars.update(steps, description=what, advance=1)

        def shown(_: int, images: int, total: int) -> None:
            bars.update(learning, completed=images, total=total, visible=True)

        done = demonstrate(output, settings=Settings(seed=seed, images=data), tell=tell, learning=shown)
    seconds = time.perf_counter() - started
    if as_json:
        print_json({"report": done.report, "seconds": seconds, "rows": dict(done.rows())})
        return
    show_table("From a measured curve to a learning network", ("what", "figure"), done.rows())
    print(f"{done.report}   ({seconds:.0f} s)")
