"""``cosim network run stdp``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cosim import units
from cosim.cli.network_options import ANYWAY
from cosim.errors import InputError, UnknownName


def run_stdp(
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for results, figures and checkpoints.")],
    tasks: Annotated[
        str, typer.Option(help="completion, recall, unlearning, familiarity; or all.", show_default=False)
    ] = "all",
    load: Annotated[
        str, typer.Option(help="Of one task: patterns, sequences or showings, e.g. 5,10,20; default: several.")
    ] = "",
    parameters: Annotated[
        str, typer.Option(help="Set of the synapses: a device with the four pulse pairs, or FILE.toml:NAME.")
    ] = "qd_2016",
    charging: Annotated[str, typer.Option(help="Factor of the charging efficiency α_c.")] = "1",
    spread: Annotated[
        str, typer.Option(help="Relative deviation of both efficiencies from synapse to synapse, e.g. '20 %'.")
    ] = "0 %",
    groups: Annotated[int, typer.Option(help="Groups of competing units; a pattern has one of each.")] = 16,
    width: Annotated[int, typer.Option(help="Units of a group.")] = 8,
    items: Annotated[int, typer.Option(help="Of a sequence.")] = 6,
    spacing: Annotated[str, typer.Option(help="Time between two items.")] = "1 ms",
    jitter: Annotated[str, typer.Option(help="Standard deviation of the times of spikes.")] = "0.2 ms",
    repeats: Annotated[int, typer.Option(help="How often each pattern or sequence is shown.")] = 4,
    seeds: Annotated[str, typer.Option(help="Patterns drawn anew for each, e.g. 0,1,2 or 0:5.")] = "0:5",
    backend: Annotated[str, typer.Option(help="numpy; or numba, which compiles for a minute first.")] = "numpy",
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the folder's checkpoints.")] = False,
    anyway: Annotated[bool, typer.Option("--anyway", help=ANYWAY)] = False,
    figures: Annotated[bool, typer.Option("--figures/--no-figures", help="Draw the figures.")] = True,
) -> None:
    """Four learning rules of one device by the shape of its pulses: completion, recall, unlearning, familiarity."""
    from cosim.cli.network import carry_out, read_seeds
    from cosim.cli.output import working

    numbers = read_seeds(seeds)
    with working("reading the device"):
        from cosim.network.systems.stdp import LOADS, TASKS, StdpSystem
        from cosim.network.systems.stdp_settings import MS, StdpSettings

        wanted = TASKS if tasks == "all" else tuple(tasks.split(","))
        for task in wanted:
            if task not in TASKS:
                raise UnknownName("task", task, TASKS)
        if load and len(wanted) != 1:
            raise InputError(f"--load {load} is of one task, and {len(wanted)} are asked for", remedy="give --tasks")
        settings = StdpSettings(
            parameters=parameters, charging=units.parse(charging, "1"), spread=units.parse(spread, "1"), groups=groups,
            width=width, items=items, spacing=units.parse(spacing, "s") / MS, jitter=units.parse(jitter, "s") / MS,
            repeats=repeats,
        )  # fmt: skip
        loads = {task: _whole(load) if load else LOADS[task] for task in wanted}
        system = StdpSystem(settings, loads, backend)
    carry_out(system, output, seeds=numbers, resume=resume, anyway=anyway, figures=figures, items="networks")


def _whole(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"--load {text!r} has to be whole numbers", remedy="write e.g. 5,10,20") from None
