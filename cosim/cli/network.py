"""``cosim network run vdsp``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from cosim import units
from cosim.cli.network_options import ANYWAY, Uncertified
from cosim.cli.paths import require_file
from cosim.errors import InputError, UnknownName

if TYPE_CHECKING:
    from cosim.network.run import System
    from cosim.surrogate.model import Surrogate

SYSTEMS = {
    "vdsp": "unsupervised learning of images by voltage-dependent synaptic plasticity (arXiv 2510.25787)",
    "maze": "mazes by reinforcement, with eligibility as temperature (arXiv 2411.18272)",
    "rsnn": "phones of speech by a recurrent network with e-prop (arXiv 2411.18272)",
    "stc": "digits by synaptic tagging and capture, right after training and after consolidation (Nicholson 2024)",
    "filters": "spike rates and interval patterns by ECRAM synapses as temporal filters (arXiv 2605.11243)",
    "stdp": "four learning rules of one quantum-dot memristor by pulse shape (J. Appl. Phys. 120, 134503)",
}


class _Systems(TyperGroup):
    """Says which systems there are where another is asked for."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            raise UnknownName("network", args[0], SYSTEMS)
        return super().resolve_command(ctx, args)


def register(app: typer.Typer) -> None:
    """Add the verb to the command."""
    from cosim.cli.network_filters import run_filters
    from cosim.cli.network_map import run_map_vdsp
    from cosim.cli.network_maze import run_maze
    from cosim.cli.network_rsnn import run_rsnn
    from cosim.cli.network_stc import run_stc
    from cosim.cli.network_stdp import run_stdp

    listed = (f"{name}: {about}" for name, about in SYSTEMS.items())
    group = typer.Typer(
        name="network", no_args_is_help=True,
        help="\n\n".join(("Run a spiking network on surrogates of a circuit.", *listed)),
    )  # fmt: skip
    group.callback()(lambda: None)
    runs = typer.Typer(
        name="run", cls=_Systems, no_args_is_help=True,
        help="Train a network, choose its read-out on training images, test it; Ctrl-C leaves a state to go on from.",
    )  # fmt: skip
    runs.command("vdsp", short_help=SYSTEMS["vdsp"])(run)
    runs.command("maze", short_help=SYSTEMS["maze"])(run_maze)
    runs.command("rsnn", short_help=SYSTEMS["rsnn"])(run_rsnn)
    runs.command("stc", short_help=SYSTEMS["stc"])(run_stc)
    runs.command("filters", short_help=SYSTEMS["filters"])(run_filters)
    runs.command("stdp", short_help=SYSTEMS["stdp"])(run_stdp)
    group.add_typer(runs)
    maps = typer.Typer(
        name="map", cls=_Systems, no_args_is_help=True, help="Map the accuracy over one or two settings."
    )
    maps.callback()(lambda: None)
    maps.command("vdsp", short_help=SYSTEMS["vdsp"])(run_map_vdsp)
    group.add_typer(maps)
    app.add_typer(group)


def run(
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for results, figures and checkpoints.")],
    data: Annotated[str, typer.Option(help="digits (8×8), mnist, or a FILE.npz of your own.")] = "digits",
    parameters: Annotated[
        str | None,
        typer.Option(
            help="Parameter set of the cells: a shipped one's name, FILE.toml or FILE.toml:NAME; default: tio2.",
            show_default=False,
        ),
    ] = None,
    surrogate: Annotated[
        Path | None, typer.Option(help="A certified surrogate (.npz) in place of --parameters and --law.")
    ] = None,
    uncertified: Uncertified = False,
    policy: Annotated[
        str, typer.Option(help="Outside the domain of --surrogate: raise, warn (and extrapolate), or ask SPICE.")
    ] = "raise",
    answers: Annotated[
        Path | None,
        typer.Option(help="Add what --policy ask answered to this file (.npz), for 'surrogate train --samples'."),
    ] = None,
    law: Annotated[
        str | None,
        typer.Option(
            help="rate (saturates in the pulse; the default) or published (map per event).", show_default=False
        ),
    ] = None,
    neurons: Annotated[int, typer.Option(help="Output neurons; 0: as suits the data.")] = 0,
    epochs: Annotated[int, typer.Option(help="Epochs; 0: as suits the data.")] = 0,
    seeds: Annotated[str, typer.Option(help="One network each, e.g. 0,1,2.")] = "0",
    images: Annotated[int, typer.Option(help="Train on so many images only; 0: on all.")] = 0,
    scale_p: Annotated[
        str, typer.Option(help="Scale factor of potentiation, START or START:END to anneal; default: the technology's.")
    ] = "",
    scale_d: Annotated[str, typer.Option(help="Scale factor of depression, as above.")] = "",
    width: Annotated[
        str, typer.Option(help="Length of a programming pulse over the surrogate's, as above, e.g. 1:0.05.")
    ] = "",
    gate: Annotated[
        str,
        typer.Option(help="The neuron programs only below −P and above D of its potential, P:D, e.g. 0.95:0.9."),
    ] = "",
    drive: Annotated[
        str,
        typer.Option(
            help="published (as the source), annealed (pulses that become shorter), or overdriven (far above the "
            "thresholds by short pulses, with gates); the options above change it.",
            show_default=False,
        ),
    ] = "",
    rule: Annotated[str, typer.Option(help="vdsp, pair-stdp, post-stdp or vdsp-post.")] = "vdsp",
    threshold_rsd: Annotated[
        str,
        typer.Option(
            "--threshold-rsd", "--deviation", help="Relative standard deviation of the thresholds from cell to cell."
        ),
    ] = "0 %",
    resistance_rsd: Annotated[
        str, typer.Option(help="Relative standard deviation of the conductances of both ends of a cell's range.")
    ] = "0 %",
    cycle_rsd: Annotated[
        str, typer.Option(help="Relative standard deviation of the thresholds from pulse to pulse (of VDSP).")
    ] = "0 %",
    wires: Annotated[
        str,
        typer.Option(help="Resistance of a wire between two cells, e.g. '2 Ohm', when the trained network is read."),
    ] = "",
    backend: Annotated[str, typer.Option(help="auto, numba or numpy.")] = "auto",
    spice_check: Annotated[
        int,
        typer.Option(
            help="Send what so many cells of each seed saw, chosen at random, through SPICE again, and compare.",
            show_default=False,
        ),
    ] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the folder's checkpoints.")] = False,
    anyway: Annotated[bool, typer.Option("--anyway", help=ANYWAY)] = False,
    figures: Annotated[bool, typer.Option("--figures/--no-figures", help="Draw the figures.")] = True,
) -> None:
    """Train a network, choose its read-out on training images, and test it; Ctrl-C leaves a state to go on from."""
    from cosim.cli.output import working

    numbers = read_seeds(seeds)
    from cosim.surrogate.train import save_samples

    with working(f"loading {data}"):
        from cosim.network.images import ImageTask, load_images
        from cosim.network.systems.vdsp import VdspSystem
        from cosim.network.systems.vdsp_settings import driven, vdsp_preset

        chosen = load_images(data)
    settings, usual = vdsp_preset(data)
    changes: dict[str, Any] = {"deviation": units.parse(threshold_rsd, "1")}
    if spread := units.parse(resistance_rsd, "1"):
        changes["resistance_deviation"] = spread
    if cycle := units.parse(cycle_rsd, "1"):
        changes["cycle_deviation"] = cycle
    if rule != "vdsp":
        changes["rule"] = rule
    changes |= _gates(gate)
    if wires:
        from cosim.network.wires import Wires

        segment = units.parse(wires, "Ohm")
        changes["wires"] = Wires(row=segment, column=segment)
    if neurons:
        changes["neurons"] = neurons
    for name, text in (("scale_p", scale_p), ("scale_d", scale_d), ("width", width)):
        changes |= _scales(name, text)
    if answers is not None:
        require_file(answers, ".npz", example="samples.npz")
        if policy != "ask":
            raise InputError(f"--answers {answers} needs --policy ask", remedy="give both, or leave it out")
    cells = _surrogate(parameters, surrogate, law, uncertified=uncertified)
    if drive:
        settings = driven(drive, settings, cells)
    with _obeying(cells, policy) as obeying:
        network = VdspSystem(
            settings.with_(**changes),
            obeying,
            ImageTask(chosen.first(images) if images else chosen, epochs or usual),
            backend=backend,
            spice_check=spice_check,
        )
        try:
            carry_out(network, output, seeds=numbers, resume=resume, anyway=anyway, figures=figures)
        finally:
            if answers is not None and cells.answers:
                print(
                    f"answers     {save_samples(answers, cells.answers, cells.map)}: {len(cells.answers)} more samples"
                )


@contextmanager
def _obeying(cells: Surrogate, policy: str) -> Iterator[Surrogate]:
    """The cells with a policy outside their domain; the simulator that they ask is closed at the end."""
    from cosim.engines.registry import open_simulator
    from cosim.surrogate.base import POLICIES
    from cosim.surrogate.reopened import certified_reference

    if policy not in POLICIES:
        raise UnknownName("policy outside the domain", policy, POLICIES)
    if policy != "ask":
        yield cells.with_(policy=policy)
        return
    with open_simulator() as simulator:
        yield cells.with_(policy=policy, reference=certified_reference(cells, simulator))


def carry_out(
    system: System,
    output: Path,
    *,
    seeds: tuple[int, ...],
    resume: bool,
    anyway: bool,
    figures: bool,
    items: str = "images",
) -> None:
    """Run any system with a bar on the terminal that counts ``items``, and print and draw what comes of it."""
    from cosim.cli.network_view import live_view
    from cosim.network.run import Resume, kept, run_network
    from cosim.report.style import save

    way: Resume = "anyway" if anyway else resume
    if way and not kept(output, seeds):
        print(f"cosim: {output} has nothing of these seeds to resume; they start anew", file=sys.stderr)
    try:
        with live_view(seeds, sum(system.batches), items=items) as (progress, view):
            result = run_network(system, seeds=seeds, folder=output, resume=way, progress=progress, view=view)
    except KeyboardInterrupt:
        print(f"cosim: the state is kept in {output}; go on with the same command and --resume", file=sys.stderr)
        raise
    print("\n".join(result.lines()))
    if figures:
        for name, figure in result.figures().items():
            print(f"figure      {save(figure, output / f'{name}.png')}")
    print(f"results     {output / 'result.json'}")


def read_seeds(text: str) -> tuple[int, ...]:
    """Seeds as they are typed: 0,1,2 or 0:20."""
    try:
        first, colon, end = text.partition(":")
        found = tuple(range(int(first), int(end))) if colon else tuple(int(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"--seeds {text!r} has to be whole numbers", remedy="write e.g. 0,1,2 or 0:20") from None
    if any(seed < 0 for seed in found):
        raise InputError(f"--seeds {text!r} holds a negative number", remedy="write e.g. 0,1,2")
    return found


def _scales(name: str, text: str) -> dict[str, float]:
    if not text:
        return {}
    start, colon, end = text.partition(":")
    found = {name: units.parse(start, "1")}
    if colon:
        found[f"{name}_end"] = units.parse(end, "1")
    if min(found.values()) <= 0.0:
        raise InputError(f"--{name.replace('_', '-')} {text!r} is not above zero", remedy="write e.g. 1.05:1.005")
    return found


def _gates(text: str) -> dict[str, float]:
    if not text:
        return {}
    below, colon, above = text.partition(":")
    found = {"gate_p": abs(units.parse(below, "1")), "gate_d": units.parse(above if colon else below, "1")}
    if found["gate_d"] < 0.0:
        raise InputError(f"--gate {text!r} has a negative second number", remedy="write e.g. 0.95:0.9")
    return found


def _surrogate(parameters: str | None, file: Path | None, law: str | None, *, uncertified: bool) -> Surrogate:
    from cosim.cli.sets import load_set
    from cosim.cli.surrogate_common import map_of_law
    from cosim.surrogate.files import load
    from cosim.surrogate.gate import require_certified
    from cosim.surrogate.model import Surrogate

    if file is not None:
        for option, given in (("--parameters", parameters), ("--law", law)):
            if given is not None:
                raise InputError(
                    f"{option} {given} and --surrogate {file} contradict each other: a surrogate has its own",
                    remedy=f"leave out {option}, or give it to 'cosim surrogate train'",
                )
        found = load(file, uncertified=uncertified)
        require_certified(found, bare=False)
        return found
    return Surrogate(load_set(parameters or "tio2"), map_of_law(law or "rate"))
