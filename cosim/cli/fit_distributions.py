"""``cosim fit distributions``: results of many fits in, a campaign plan that draws like them out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from cosim.cli.paths import require_file


def distributions(
    results: Annotated[
        list[Path], typer.Argument(metavar="RESULT|FOLDER...", help="What cosim fit -o wrote, one for each device.")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="The campaign plan (.toml).")],
    bench: Annotated[str, typer.Option("--bench", help="That it varies: a shipped one, or a path from the plan.")],
    device: Annotated[
        str | None, typer.Option("--device", help="The bench's name of the device; default: the one that fits.")
    ] = None,
    samples: Annotated[int, typer.Option("--samples", min=1, help="Devices that the campaign draws.")] = 1000,
    differ: Annotated[
        Literal["device", "cycle"], typer.Option("--differ", help="Whether each result is of a device, or of a cycle.")
    ] = "device",
) -> None:
    """Distributions and correlations of many fits' parameters, as a plan: `cosim campaign run` draws from them."""
    import tomli_w

    from cosim.cli.output import advise
    from cosim.files import write_atomic
    from cosim.fitting.spread_plan import measured, plan_of, results_in

    require_file(output, ".toml", example="plan.toml")
    found = measured(results_in(results))
    advise(list(found.notes))
    groups = found.groups()
    body = plan_of(found, groups, bench=bench, folder=output.parent, use=device, samples=samples, differ=differ)
    for sentence in groups.sentences():
        print(f"drawn       {sentence}")
    for one in groups.correlations:
        print(f"correlation {' and '.join(one.of)}: {one.rho:+.2f}")
    print(f"written     {write_atomic(output, tomli_w.dumps(body))}")
