"""The networks that `claims.vdsp` trains: technology, settings, epochs and seeds of each.

A part is a run in a folder of its own and goes on where it was stopped. Parts are worked off seed by seed, so that an
interrupted measurement has as many seeds of each as it can.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from claims.base import Report, resuming
from claims.mnist import cell
from cosim.errors import InputError
from cosim.network.images import ImageSet, ImageTask
from cosim.network.run import RunResult, run_network
from cosim.network.systems.vdsp import VdspSystem
from cosim.network.systems.vdsp_settings import VdspSettings, annealed, overdriven
from cosim.surrogate.model import Surrogate

FOLDER = Path("cosim-out/vdsp")
EPOCHS = 3
TECHNOLOGIES = ("tio2", "hfo2", "hzo")
# Steps of a pulse of full length (potentiation, depression) further above the thresholds, and the pulse's length: where
# deviation by 20 % cost least on held-out training images. Elsewhere the steps are those of the parameter set.
FAR: Mapping[str, tuple[float, float, float]] = {
    "tio2": (3.5, 6.2, 0.015),
    "hfo2": (10.8, 7.2, 0.0075),
    "hzo": (3.3, 5.4, 0.015),
}
# Seeds of TiO2's networks of other sizes than 200.
SIZES: Mapping[int, tuple[int, ...]] = {
    400: (0, 1, 2, 3, 4),
    100: (0, 1),
    50: (0, 1),
    10: (0, 1),
    500: (0,),
}
LABELS, CHOICE = 20_000, 5_000  # of the networks that are trained for three epochs
SIDE_LABELS, SIDE_CHOICE = 6_000, 2_000  # of the others


@dataclass(frozen=True)
class Part:
    """One network with its seeds."""

    technology: str
    network: VdspSettings
    seeds: tuple[int, ...]
    epochs: int = 1

    def system(self, images: ImageSet, *, backend: str = "auto") -> VdspSystem:
        """The network on ``images``; few images keep the usual split."""
        split = (LABELS, CHOICE) if self.epochs > 1 else (SIDE_LABELS, SIDE_CHOICE)
        enough = len(images.train_y) >= sum(split)
        task = ImageTask(images, self.epochs, *(split if enough else (0, 0)))
        return VdspSystem(self.network, Surrogate(cell(self.technology), "pulse"), task, backend=backend)


def chosen(technology: str, neurons: int = 200) -> VdspSettings:
    """The operating point of a technology in the claim, by the steps of its parameter set."""
    return overdriven(Surrogate(cell(technology), "pulse"), annealed(neurons))


def far(technology: str) -> VdspSettings:
    """The operating point at which deviating thresholds count least."""
    step_p, step_d, width = FAR[technology]
    cells = Surrogate(cell(technology), "pulse")
    return overdriven(cells, step_p=step_p, step_d=step_d, width=width, gates=(0.95, 0.9))


def main_parts(seeds: Mapping[str, tuple[int, ...]]) -> dict[str, Part]:
    """Three epochs of a network of 200 neurons for each technology."""
    return {f"{name}_200": Part(name, chosen(name), of, EPOCHS) for name, of in seeds.items()}


def by_shrinking(seeds: tuple[int, ...]) -> dict[str, Part]:
    """Three epochs of HfO2 by its published factors: pulses that become shorter, factors that fall, and neither.

    Factors that fall by as much as leaves the thresholds' distance a twentieth would shut the windows of programming;
    these fall to 1 and to 1.04 (our choice), below which no dark pixel is depressed.
    """
    given = cell("hfo2").plasticity
    short = annealed().with_(scale_p=given["scale_p"].value, scale_d=given["scale_d"].value)
    same = short.with_(width_end=None)
    made = {"length": short, "voltage": same.with_(scale_p_end=1.0, scale_d_end=1.04), "none": same}
    return {f"hfo2_shrinking_{name}": Part("hfo2", network, seeds, EPOCHS) for name, network in made.items()}


def sizes() -> dict[str, Part]:
    """Three epochs of TiO2 with more and fewer neurons, and 400 that share the images more evenly."""
    found = {f"tio2_{count}": Part("tio2", chosen("tio2", count), seeds, EPOCHS) for count, seeds in SIZES.items()}
    # Thresholds that rise by thrice as much share the images more evenly: chosen on held-out training images.
    even = replace(chosen("tio2").output, jump=3.3)
    return {**found, "tio2_400_even": Part("tio2", chosen("tio2", 400).with_(output=even), SIZES[400], EPOCHS)}


def side_parts(seeds: tuple[int, ...]) -> dict[str, Part]:
    """One epoch each, at the published operating point and far above it: cells that deviate, pulses that do."""
    over, published = far("tio2"), VdspSettings()
    found = {
        "tio2_over": Part("tio2", over, seeds),
        "tio2_over_theta20": Part("tio2", over.with_(deviation=0.2), seeds),
        "tio2_published": Part("tio2", published, seeds),
        "tio2_published_theta20": Part("tio2", published.with_(deviation=0.2), seeds),
    }
    for where, network in (("over", over), ("published", published)):
        found[f"tio2_{where}_resistance20"] = Part("tio2", network.with_(resistance_deviation=0.2), seeds)
        for percent in (20, 50):
            found[f"tio2_{where}_cycle{percent}"] = Part("tio2", network.with_(cycle_deviation=percent / 100), seeds)
    for name in ("hfo2", "hzo"):
        found[f"{name}_over"] = Part(name, far(name), seeds)
        found[f"{name}_over_theta20"] = Part(name, far(name).with_(deviation=0.2), seeds)
    return found


def run_parts(
    parts: Mapping[str, Part], images: ImageSet, tell: Report, *, folder: Path = FOLDER
) -> Mapping[str, RunResult]:
    """Train what is not trained yet, seed by seed; the results by the part's label, its folder in ``folder``."""
    way = resuming()
    for label, seed in in_order(parts):
        if (folder / label / f"seed-{seed}.npz").exists():
            continue  # looked at below

        def shown(seed: int, done: int, total: int, label: str = label) -> None:
            tell(f"{label}, seed {seed}: {done} of {total} images")

        run_network(parts[label].system(images), seeds=(seed,), folder=folder / label, resume=way, progress=shown)
    return {
        label: run_network(part.system(images), seeds=part.seeds, folder=folder / label, resume=way)
        for label, part in parts.items()
    }


def changed(network: VdspSettings) -> Mapping[str, Any]:
    """What is not as published."""
    published = vars(VdspSettings())
    return {name: value for name, value in vars(network).items() if value != published[name]}


def codes(results: Mapping[str, RunResult]) -> list[str]:
    """Digests of all code that had a part in the results (`cosim.network.origin`)."""
    return sorted({code for result in results.values() for seed in result.seeds for code in seed.codes})


def in_order(parts: Mapping[str, Part]) -> Iterator[tuple[str, int]]:
    """Labels and seeds: the first seed of each part, then the second, ..."""
    if not parts:
        raise InputError("there is nothing to train")
    for place in range(max(len(part.seeds) for part in parts.values())):
        for label, part in parts.items():
            if place < len(part.seeds):
                yield label, part.seeds[place]
