"""``cosim network run filters``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cosim import units
from cosim.cli.network_options import ANYWAY
from cosim.errors import UnknownName


def run_filters(
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for results, figures and checkpoints.")],
    tasks: Annotated[str, typer.Option(help="rates, patterns; or all.")] = "all",
    parameters: Annotated[
        str, typer.Option(help="Set of the synapses: a device that spikes facilitate, or FILE.toml:NAME.")
    ] = "ecram:fast",
    scales: Annotated[
        str, typer.Option(help="Relaxation times of the synapses in units of the set's, a group of neurons each.")
    ] = "0.1,0.3,1,3",
    shares: Annotated[
        str, typer.Option(help="Output spikes per input to which thresholds are set, one neuron of a group each.")
    ] = "0.4,0.2,0.1",
    membrane: Annotated[str, typer.Option(help="Time constant of a neuron's leak.")] = "1 us",
    delay: Annotated[str, typer.Option(help="Of the feedback that resets a neuron.")] = "0.1 us",
    duration: Annotated[str, typer.Option(help="Of a train.")] = "40 us",
    step: Annotated[str, typer.Option(help="Time step; two spikes never share one.")] = "20 ns",
    rates: Annotated[
        str, typer.Option(help="Rates to tell, e.g. '0.5 MHz,1 MHz,2 MHz'; default: six.", show_default=False)
    ] = "",
    train: Annotated[int, typer.Option(help="Trains of each class to learn from.")] = 60,
    test: Annotated[int, typer.Option(help="Trains of each class to test on.")] = 60,
    energy: Annotated[
        bool, typer.Option("--energy/--no-energy", help="Measure a neuron's energy in its circuit (ngspice).")
    ] = True,
    seeds: Annotated[str, typer.Option(help="Trains drawn anew for each, e.g. 0,1,2 or 0:5.")] = "0:5",
    backend: Annotated[str, typer.Option(help="auto, numba or numpy.")] = "auto",
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the folder's checkpoints.")] = False,
    anyway: Annotated[bool, typer.Option("--anyway", help=ANYWAY)] = False,
    figures: Annotated[bool, typer.Option("--figures/--no-figures", help="Draw the figures.")] = True,
) -> None:
    """Spike rates and interval patterns told by ECRAM synapses of different relaxation times, with and without STP."""
    from cosim.cli.network import carry_out, read_seeds
    from cosim.cli.output import working

    numbers = read_seeds(seeds)
    with working("reading the device"):
        from cosim.engines.registry import open_simulator
        from cosim.network.systems.filters import FiltersSystem
        from cosim.network.systems.filters_energy import measured_energy
        from cosim.network.systems.filters_settings import FilterSettings
        from cosim.network.systems.filters_trains import CLASSES, TASKS, Trains

        settings = FilterSettings(
            parameters, _numbers(scales, "1"), _numbers(shares, "1"), units.parse(membrane, "s"),
            units.parse(delay, "s"),
        )  # fmt: skip
        wanted = TASKS if tasks == "all" else tuple(tasks.split(","))
        for task in wanted:
            if task not in TASKS:
                raise UnknownName("task", task, TASKS)
        asked = _numbers(rates, "Hz") if rates else CLASSES
        drawn = tuple(
            Trains(task, units.parse(duration, "s"), units.parse(step, "s"), asked, train=train, test=test)
            for task in wanted
        )
        system = FiltersSystem(settings, drawn, backend=backend)
    if energy:
        with working("measuring a neuron's energy in its circuit"), open_simulator() as simulator:
            system = FiltersSystem(settings, drawn, measured_energy(simulator), backend)
    carry_out(system, output, seeds=numbers, resume=resume, anyway=anyway, figures=figures, items="trains")


def _numbers(text: str, unit: str) -> tuple[float, ...]:
    return tuple(units.parse(part.strip(), unit) for part in text.split(","))
