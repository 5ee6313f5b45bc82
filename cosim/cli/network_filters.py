"""``cosim network run filters``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated

import typer

from cosim import units
from cosim.cli.network_options import ANYWAY, Uncertified
from cosim.cli.paths import refuse
from cosim.errors import UnknownName

if TYPE_CHECKING:
    from cosim.network.run import System
    from cosim.network.systems.filters_circuits import CircuitFilters
    from cosim.network.systems.filters_trains import Trains
    from cosim.surrogate.base import Policy


NEURONS = (
    "A certified surrogate of a bench's neuron with its synapse (.npz), in place of the layer's neurons and synapses; "
    "may be repeated: a group of another relaxation time is a bench with another set."
)
SPICE_CHECK = (
    "Of --neurons: send what so many neurons of each seed received in a test train, chosen at random, through their "
    "circuits again, and compare."
)
# What has no meaning beside --neurons, and without, by the name of its variable.
OF_LAYER: Mapping[str, str] = MappingProxyType(
    {"parameters": "--parameters", "scales": "--scales", "shares": "--shares", "membrane": "--membrane",
     "delay": "--delay", "energy": "--energy", "backend": "--backend"}
)  # fmt: skip
OF_NEURONS: Mapping[str, str] = MappingProxyType(
    {"policy": "--policy", "uncertified": "--uncertified", "spice_check": "--spice-check"}
)


def run_filters(
    context: typer.Context,
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
        bool, typer.Option("--energy/--no-energy", help="Certify a neuron's energy in its circuit (ngspice; minutes).")
    ] = True,
    neurons: Annotated[list[Path] | None, typer.Option(help=NEURONS)] = None,
    policy: Annotated[
        str, typer.Option(help="Outside the domain of --neurons: raise, or warn and extrapolate, which is told.")
    ] = "raise",
    uncertified: Uncertified = False,
    spice_check: Annotated[int, typer.Option(help=SPICE_CHECK, show_default=False)] = 0,
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
    kind = "with --neurons" if neurons else "without --neurons"
    refuse(context, OF_LAYER if neurons else OF_NEURONS, kind)
    if policy not in ("raise", "warn"):
        raise UnknownName("policy outside the domain", policy, ("raise", "warn"))
    with working("reading the device"):
        from cosim.engines.registry import open_simulator
        from cosim.network.systems.filters import FiltersSystem
        from cosim.network.systems.filters_energy import measured_energy
        from cosim.network.systems.filters_settings import FilterSettings
        from cosim.network.systems.filters_trains import CLASSES, TASKS, Trains

        wanted = TASKS if tasks == "all" else tuple(tasks.split(","))
        for task in wanted:
            if task not in TASKS:
                raise UnknownName("task", task, TASKS)
        asked = _numbers(rates, "Hz") if rates else CLASSES
        drawn = tuple(
            Trains(task, units.parse(duration, "s"), units.parse(step, "s"), asked, train=train, test=test)
            for task in wanted
        )
        system: System
        settings = FilterSettings(
            parameters, _numbers(scales, "1"), _numbers(shares, "1"), units.parse(membrane, "s"),
            units.parse(delay, "s"),
        )  # fmt: skip
        if neurons:
            obeyed: Policy = "warn" if policy == "warn" else "raise"
            system = _circuits(neurons, drawn, policy=obeyed, uncertified=uncertified, spice_check=spice_check)
        else:
            system = layer = FiltersSystem(settings, drawn, backend=backend)
    if energy and not neurons:
        with working("certifying a neuron's energy in its circuit"), open_simulator() as simulator:
            energies = measured_energy(simulator, settings, drawn, layer.thresholds(), kept=output / "energy_trains")
            system = FiltersSystem(settings, drawn, energies, backend)
    carry_out(system, output, seeds=numbers, resume=resume, anyway=anyway, figures=figures, items="trains")


def _circuits(
    files: list[Path], drawn: tuple[Trains, ...], *, policy: Policy, uncertified: bool, spice_check: int
) -> CircuitFilters:
    """The layer of the surrogates in ``files``, and the trains ``drawn`` as far apart as they are certified for."""
    from dataclasses import fields

    from cosim.network.event_neurons import EventNeuron
    from cosim.network.systems.filters_circuits import CircuitFilters, SpacedTrains
    from cosim.surrogate.files import load

    found = tuple(load(file, policy=policy, uncertified=uncertified) for file in files)
    apart = max(EventNeuron(neuron).surrogate.allowed("interval")[0] for neuron in found)
    spaced = (
        SpacedTrains(**{one.name: getattr(trains, one.name) for one in fields(trains)}, apart=apart) for trains in drawn
    )
    return CircuitFilters(found, tuple(spaced), spice_check=spice_check)


def _numbers(text: str, unit: str) -> tuple[float, ...]:
    return tuple(units.parse(part.strip(), unit) for part in text.split(","))
