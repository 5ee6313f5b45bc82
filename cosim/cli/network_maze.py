"""``cosim network run maze``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cosim import units
from cosim.cli.network_options import ANYWAY, Uncertified
from cosim.errors import InputError, UnknownName


def run_maze(
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for results, figures and checkpoints.")],
    sizes: Annotated[str, typer.Option(help="Lengths of the grids; default: 3,5,7,10.", show_default=False)] = "",
    grid: Annotated[
        Path | None,
        typer.Option(help="A grid of your own in place of drawn ones: rows of . (free), c (cheese), x (trap)."),
    ] = None,
    gamma: Annotated[str, typer.Option(help="Shares of an eligibility left after a step.")] = "",
    variability: Annotated[str, typer.Option(help="Of the devices, e.g. '0,10 %,50 %'.")] = "",
    alpha: Annotated[
        str, typer.Option(help="Temperature coefficients (1/K) of the second map; 'none' leaves it out.")
    ] = "",
    runs: Annotated[int, typer.Option(help="Runs of each point of a map.")] = 20,
    episodes: Annotated[int, typer.Option(help="After so many a run has missed the benchmark.")] = 1000,
    best: Annotated[str, typer.Option(help="Reward of the cheese per grid length.", show_default=False)] = "",
    worst: Annotated[str, typer.Option(help="Penalty of a trap per grid length.", show_default=False)] = "",
    step: Annotated[str, typer.Option(help="Penalty of a step.", show_default=False)] = "",
    traps: Annotated[str, typer.Option(help="Traps per grid length.", show_default=False)] = "",
    levels: Annotated[int, typer.Option(help="Levels of each device; 128 are 7 bits.")] = 128,
    parameters: Annotated[
        str, typer.Option(help="Set of the synapses: a stack's poles from its heat equation, or FILE.toml:NAME.")
    ] = "thermal_reram:stack_60nm",
    surrogate: Annotated[
        Path | None, typer.Option(help="A surrogate (.npz) of its map published, in place of --parameters.")
    ] = None,
    uncertified: Uncertified = False,
    policy: Annotated[str, typer.Option(help="Outside its domain: raise, or warn and extrapolate.")] = "raise",
    seeds: Annotated[str, typer.Option(help="A whole set of runs each, e.g. 0,1,2.")] = "0",
    backend: Annotated[str, typer.Option(help="auto, numba or numpy.")] = "auto",
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the folder's checkpoints.")] = False,
    anyway: Annotated[bool, typer.Option("--anyway", help=ANYWAY)] = False,
    figures: Annotated[bool, typer.Option("--figures/--no-figures", help="Draw the figures.")] = True,
) -> None:
    """A mouse learns mazes by synapses whose eligibility is their temperature: episodes it takes, as maps."""
    from dataclasses import replace

    from cosim.cli.network import carry_out, read_seeds
    from cosim.cli.output import working

    numbers = read_seeds(seeds)
    if policy not in ("raise", "warn"):
        raise UnknownName("policy outside the domain", policy, ("raise", "warn"))
    for option, value in (("--sizes", sizes), ("--traps", traps)):
        if value and grid is not None:
            raise InputError(
                f"{option} is of drawn grids, and --grid gives one of your own", remedy="give one of the two"
            )
    for option, asked in (("--policy", policy != "raise"), ("--uncertified", uncertified)):
        if asked and surrogate is None:
            raise InputError(f"{option} is of a --surrogate, which is not given", remedy="give both")
    with working("drawing mazes"):
        from cosim.network.grid import Grid
        from cosim.network.systems.maze import ALPHAS, GAMMAS, SIZES, VARIABILITIES, MazeSystem
        from cosim.network.systems.maze_settings import MazeSettings
        from cosim.surrogate.files import load

        usual = MazeSettings()
        given = {"best": best, "worst": worst, "step": step}
        rewards = replace(usual.rewards, **{name: units.parse(text, "1") for name, text in given.items() if text})
        settings = usual.with_(
            rewards=rewards, levels=levels, parameters=parameters, episodes=episodes,
            traps=units.parse(traps, "1") if traps else usual.traps,
        )  # fmt: skip
        system = MazeSystem(
            settings,
            sizes=tuple(_whole(part) for part in sizes.split(",")) if sizes else SIZES,
            gammas=_numbers(gamma, "1") or GAMMAS,
            variabilities=_numbers(variability, "1") or VARIABILITIES,
            alphas=() if alpha == "none" else _numbers(alpha, "1/K") or ALPHAS,
            runs=runs,
            grid=None if grid is None else Grid.read(grid),
            surrogate=None if surrogate is None else load(surrogate).with_(policy=policy, uncertified=uncertified),
            backend=backend,
        )
    carry_out(system, output, seeds=numbers, resume=resume, anyway=anyway, figures=figures, items="runs")


def _numbers(text: str, unit: str) -> tuple[float, ...]:
    return tuple(units.parse(part.strip(), unit) for part in text.split(",")) if text else ()


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise InputError(f"--sizes {text!r} has to be whole numbers", remedy="write e.g. 3,5,7,10") from None
