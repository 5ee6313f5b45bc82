"""``cosim network map vdsp``."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cosim import units
from cosim.cli.network_options import ANYWAY
from cosim.errors import InputError

if TYPE_CHECKING:
    from cosim.network.map import Axis


@dataclass(frozen=True)
class Point:
    """A point's run, as another process makes it."""

    data: str
    images: int
    held: int
    epochs: int
    neurons: int
    parameters: str
    law: str
    drive: str
    rule: str
    backend: str
    anyway: bool

    def __call__(self, settings: Mapping[str, float], seed: int, folder: Path) -> Mapping[str, float]:
        """Accuracies by read-out on the images that were held out."""
        from cosim.cli.sets import load_set
        from cosim.cli.surrogate_common import map_of_law
        from cosim.network.images import ImageTask, load_images
        from cosim.network.map import held_out, with_setting
        from cosim.network.run import Resume, run_network
        from cosim.network.systems.vdsp import VdspSystem
        from cosim.network.systems.vdsp_settings import driven, vdsp_preset
        from cosim.surrogate.model import Surrogate

        cells = Surrogate(load_set(self.parameters), map_of_law(self.law))
        made = driven(self.drive, vdsp_preset(self.data)[0].with_(neurons=self.neurons), cells)
        if self.rule != "vdsp":
            made = made.with_(rule=self.rule)
        for name, value in settings.items():
            made = with_setting(made, name, value)
        task = ImageTask(held_out(load_images(self.data), self.images, self.held), self.epochs)
        system = VdspSystem(made, cells, task, backend=self.backend)
        way: Resume = "anyway" if self.anyway else True
        found = run_network(system, seeds=(seed,), folder=folder, resume=way).seeds[0].values
        return {kind: float(x) for kind, x in found.accuracy_on_test_images.items()}


def run_map_vdsp(
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the runs, the map and its figure.")],
    vary: Annotated[
        list[str],
        typer.Option(
            help="A setting and its values, NAME=FIRST:LAST:COUNT or NAME=A,B,…; twice for a map of two. A dot reaches "
            "into a part: input.tau, encoder.noise."
        ),
    ],
    data: Annotated[str, typer.Option(help="digits (8×8), mnist, or a FILE.npz of your own.")] = "digits",
    parameters: Annotated[str, typer.Option(help="Parameter set of the cells.")] = "tio2",
    law: Annotated[str, typer.Option(help="rate or published.")] = "rate",
    drive: Annotated[str, typer.Option(help="published, annealed or overdriven.")] = "published",
    rule: Annotated[str, typer.Option(help="vdsp, pair-stdp, post-stdp or vdsp-post.")] = "vdsp",
    neurons: Annotated[int, typer.Option(help="Output neurons.")] = 10,
    images: Annotated[int, typer.Option(help="Training images of each point.")] = 1000,
    held: Annotated[int, typer.Option(help="Further training images, to compare the points by.")] = 400,
    epochs: Annotated[int, typer.Option(help="Epochs.")] = 1,
    seeds: Annotated[str, typer.Option(help="One network each per point, e.g. 0,1,2.")] = "0",
    jobs: Annotated[int, typer.Option(help="Processes; 0: one per core.")] = 1,
    backend: Annotated[str, typer.Option(help="auto, numba or numpy.")] = "auto",
    anyway: Annotated[bool, typer.Option("--anyway", help=ANYWAY)] = False,
) -> None:
    """Map the accuracy over one or two settings; the same command goes on where it was stopped."""
    from cosim.cli.network import read_seeds
    from cosim.network.map import run_map
    from cosim.network.readout import READ_OUTS
    from cosim.report.network_figures import map_figure
    from cosim.report.style import save

    axes = [_axis(text) for text in vary]
    point = Point(data, images, held, epochs, neurons, parameters, law, drive, rule, backend, anyway)

    def shown(done: int, total: int) -> None:
        if sys.stderr.isatty():
            print(f"\r{done} of {total} points", end="" if done < total else "\n", file=sys.stderr, flush=True)

    found = run_map(point, axes, folder=output, seeds=read_seeds(seeds), jobs=jobs, progress=shown)
    print(f"map         {' x '.join(str(len(axis.values)) for axis in axes)} points, {held} held-out training images")
    for kind in found.accuracies:
        best, accuracy = found.best(kind)
        where = ", ".join(f"{name} = {value:g}" for name, value in best.items())
        print(f"best {kind:<6} {100.0 * accuracy:.1f} % at {where} ({READ_OUTS[kind]})")
    print(f"figure      {save(map_figure(found), output / 'map.png')}")
    print(f"results     {output / 'map.json'}")


def _axis(text: str) -> Axis:
    import numpy as np

    from cosim.network.map import Axis
    from cosim.network.systems.vdsp_settings import LABELS

    name, equals, values = text.partition("=")
    if not equals or not name or not values:
        raise InputError(f"--vary {text!r} names no setting with values", remedy="write e.g. scale_p=1.0:1.3:7")
    if ":" not in values:
        return Axis(name, tuple(units.parse(part, "1") for part in values.split(",")), LABELS.get(name, ""))
    parts = values.split(":")
    try:
        first, last, count = units.parse(parts[0], "1"), units.parse(parts[1], "1"), int(parts[2])
    except (IndexError, ValueError):
        raise InputError(f"--vary {text!r} is not FIRST:LAST:COUNT", remedy="write e.g. scale_p=1.0:1.3:7") from None
    if count < 2 or len(parts) > 3:
        raise InputError(f"--vary {text!r} is not FIRST:LAST:COUNT with two or more values")
    steps = tuple(round(float(x), 9) for x in np.linspace(first, last, count))
    return Axis(name, steps, LABELS.get(name, ""))
