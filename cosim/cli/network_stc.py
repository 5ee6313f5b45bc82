"""``cosim network run stc``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from cosim import units
from cosim.cli.network_options import ANYWAY
from cosim.errors import InputError


def run_stc(
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for results, figures and checkpoints.")],
    data: Annotated[str, typer.Option(help="digits (8×8) or mnist.")] = "digits",
    digits: Annotated[str, typer.Option(help="Which to tell apart, e.g. 0,1; or all.")] = "0,1",
    law: Annotated[
        str, typer.Option(help="Of the synapses: equations, circuit, reduced (fitted to transistors), or listing.")
    ] = "circuit",
    images: Annotated[int, typer.Option(help="Train on so many images, drawn anew for each seed; 0: on all.")] = 170,
    test_images: Annotated[
        int | None, typer.Option(help="Test on so many images; 0: on all; default: 100, or what there is.")
    ] = None,
    teaching: Annotated[
        str,
        typer.Option(
            help="Learn every image (always) or those answered wrongly (mistakes); default: as suits the digits.",
            show_default=False,
        ),
    ] = "",
    tails: Annotated[
        str,
        typer.Option(help="Scale of the tail currents; default: 1 for two digits, else 0.07.", show_default=False),
    ] = "",
    acceleration: Annotated[
        str, typer.Option(help="Of recovery and consolidation; the source's late phase: 32.")
    ] = "1",
    stimulus: Annotated[
        str, typer.Option(help="Current into the neuron of an image's digit; default: 1 nA.", show_default=False)
    ] = "",
    mend: Annotated[
        str,
        typer.Option(help="Of the law listing: drive, protein, depression, rails, leak, recovery, rest; or all."),
    ] = "",
    seeds: Annotated[str, typer.Option(help="One network each, e.g. 0,1,2 or 0:20.")] = "0",
    backend: Annotated[str, typer.Option(help="auto, numba or numpy.")] = "auto",
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the folder's checkpoints.")] = False,
    anyway: Annotated[bool, typer.Option("--anyway", help=ANYWAY)] = False,
    figures: Annotated[bool, typer.Option("--figures/--no-figures", help="Draw the figures.")] = True,
) -> None:
    """Digits by synapses with tagging and capture: tested right after training, and after consolidation."""
    from cosim.cli.network import carry_out, read_seeds
    from cosim.cli.output import working

    numbers = read_seeds(seeds)
    with working(f"loading {data}"):
        from cosim.network.systems.stc import StcSystem
        from cosim.network.systems.stc_images import DigitTask, RateImages
        from cosim.network.systems.stc_listing import MENDS
        from cosim.network.systems.stc_settings import stc_preset

    wanted = tuple(range(10)) if digits == "all" else _digits(digits)
    settings = stc_preset(len(wanted), law)
    changes: dict[str, Any] = {"acceleration": units.parse(acceleration, "1")}
    if teaching:
        changes["teaching"] = teaching
    if tails:
        changes["tails"] = units.parse(tails, "1")
    if stimulus:
        changes["stimulus"] = units.parse(stimulus, "A")
    if mend:
        changes["mends"] = tuple(MENDS) if mend == "all" else tuple(mend.split(","))
    settings = settings.with_(**changes)
    with working(f"loading {data}"):
        loaded = RateImages.load(data, rate=settings.rate, shown=settings.shown)
    task = DigitTask.of(loaded, wanted, train=images, test=test_images)
    carry_out(StcSystem(settings, task, backend), output, seeds=numbers, resume=resume, anyway=anyway, figures=figures)


def _digits(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"--digits {text!r} has to be whole numbers", remedy="write e.g. 0,1 or all") from None
