"""``cosim network run rsnn``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from cosim import units
from cosim.errors import UnknownName


def run_rsnn(
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for results, figures and checkpoints.")],
    data: Annotated[str, typer.Option(help="flite (spoken anew, free), or the folder of a copy of TIMIT.")] = "flite",
    sentences: Annotated[int, typer.Option(help="Of flite, by each of three voices; a fifth of them to test.")] = 80,
    preset: Annotated[str, typer.Option(help="public (of e-prop's implementations), or source (Sec. 7.2).")] = "public",
    epochs: Annotated[int, typer.Option(help="Epochs.")] = 5,
    hidden: Annotated[int, typer.Option(help="Recurrent neurons.")] = 200,
    rate: Annotated[str, typer.Option(help="Learning rate; default: the preset's.", show_default=False)] = "",
    feedback: Annotated[str, typer.Option(help="Of errors: symmetric or random.")] = "symmetric",
    utterances: Annotated[int, typer.Option(help="Train on so many utterances only; 0: on all.")] = 0,
    seeds: Annotated[str, typer.Option(help="One network each, e.g. 0,1,2.")] = "0",
    backend: Annotated[str, typer.Option(help="auto, numba or numpy.")] = "auto",
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the folder's checkpoints.")] = False,
    figures: Annotated[bool, typer.Option("--figures/--no-figures", help="Draw the figures.")] = True,
) -> None:
    """Phones of speech, frame by frame, by a recurrent spiking network that learns with e-prop; ideal synapses."""
    from cosim.cli.network import carry_out, read_seeds
    from cosim.cli.output import working

    numbers = read_seeds(seeds)
    with working("loading the speech"):
        from cosim.data.speech import stand_in, timit
        from cosim.network.systems.rsnn import PRESETS, RsnnSystem

        if preset not in PRESETS:
            raise UnknownName("preset", preset, PRESETS)
        changes: dict[str, Any] = {"hidden": hidden, "feedback": feedback}
        if rate:
            changes["rate"] = units.parse(rate, "1")
        settings = PRESETS[preset].with_(**changes)
        speech = stand_in(sentences) if data == "flite" else timit(data)
        system = RsnnSystem(settings, speech.first(utterances) if utterances else speech, epochs, backend)
    carry_out(system, output, seeds=numbers, resume=resume, figures=figures, items="utterances")
