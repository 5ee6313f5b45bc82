"""Sweeps of `claims.vdsp`: noise, time constant, deviating cells and homeostasis on TiO2, scale factors on all.

One epoch and one seed each, beside the published settings: noise of the currents of bright pixels and of dark ones
(relative, per step of 1 ms); the time constant of the input neurons, with the bias as it is and with a bias that takes
a dark pixel as far within an image as the published one does; by how much a neuron's threshold rises at its spike, with
and without deviation. Thresholds and conductances that deviate by up to 50 %, published and far above the thresholds.
Scale factors are those of the source's search: 10 neurons, 1000 images, compared on training images that were held out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from claims.base import resuming
from claims.mnist import cell
from claims.vdsp_parts import FOLDER, Part, far
from cosim.network.images import ImageSet, ImageTask
from cosim.network.map import Axis, NetworkMap, held_out, run_map, with_setting
from cosim.network.run import run_network
from cosim.network.systems.vdsp import VdspSystem
from cosim.network.systems.vdsp_settings import VdspSettings
from cosim.surrogate.model import Surrogate

PUBLISHED = "tio2_published"
NOISES = (0.01, 0.1, 0.2, 0.5)
# The published one is between the first two.
DARK_NOISES = (0.01, VdspSettings().encoder.bias_noise, 0.5)
TAUS = (10.0, 20.0, 29.0, 40.0, 50.0)  # ms
DEVIATIONS = (0.0, 0.1, 0.2, 0.3, 0.5)
JUMPS = (0.0, 1.1, 3.3)  # the second is the published one
SEEDS = (0,)
# Of the maps: factors of potentiation and of depression, seeds, images to learn and to compare by.
SCALES = (
    Axis("scale_p", (1.0, 1.05, 1.1, 1.15, 1.2, 1.25, 1.3)),
    Axis("scale_d", (1.0, 1.06, 1.11, 1.16, 1.26, 1.36, 1.5)),
)
MAP_SEEDS = (0,)
MAP_IMAGES = (1000, 2000)
MAP_NEURONS = 10


def noise(network: VdspSettings, sigma: float) -> VdspSettings:
    """With this noise of the currents of bright pixels."""
    return network.with_(encoder=replace(network.encoder, noise=sigma))


def dark_noise(network: VdspSettings, sigma: float) -> VdspSettings:
    """With this noise of the bias current, which dark pixels get."""
    return network.with_(encoder=replace(network.encoder, bias_noise=sigma))


def slow(network: VdspSettings, tau: float) -> VdspSettings:
    """With input neurons of this time constant (ms)."""
    return network.with_(input=replace(network.input, tau=tau))


def as_far(network: VdspSettings, tau: float) -> VdspSettings:
    """The same, with a bias that takes a dark pixel from rest to the potential at which the published one ends."""
    level = network.encoder.bias * reach(network, network.input.tau)
    encoder = replace(network.encoder, bias=level / reach(network, tau))
    return slow(network.with_(encoder=encoder), tau)


def reach(network: VdspSettings, tau: float) -> float:
    """Potential from rest at an image's end per bias current, in ms."""
    return tau * (1.0 - math.exp(-network.presentation / tau))


def deviating(network: VdspSettings, deviation: float) -> VdspSettings:
    """With thresholds that deviate from cell to cell."""
    return network.with_(deviation=deviation)


def resisting(network: VdspSettings, deviation: float) -> VdspSettings:
    """With conductances of both ends that deviate from cell to cell."""
    return network.with_(resistance_deviation=deviation or None)


def homeostatic(network: VdspSettings, jump: float) -> VdspSettings:
    """With thresholds that rise by this much at a spike; 0: no homeostasis."""
    return network.with_(output=replace(network.output, jump=jump))


def published_drive() -> VdspSettings:
    """The published operating point."""
    return VdspSettings()


def far_above() -> VdspSettings:
    """TiO2's operating point far above the thresholds."""
    return far("tio2")


def deviating_drive() -> VdspSettings:
    """The published operating point on cells whose thresholds deviate by 20 %."""
    return VdspSettings(deviation=0.2)


@dataclass(frozen=True)
class Sweep:
    """One setting over its values: ``make`` gives the network of a value from ``base``; ``parts`` are values whose
    network is a part of `claims.vdsp` anyway, with its label.
    """

    make: Callable[[VdspSettings, float], VdspSettings]
    values: tuple[float, ...]
    parts: Mapping[float, str]
    base: Callable[[], VdspSettings] = published_drive


SWEEPS: Mapping[str, Sweep] = {
    "noise": Sweep(noise, NOISES, {VdspSettings().encoder.noise: PUBLISHED}),
    "dark_noise": Sweep(dark_noise, DARK_NOISES, {VdspSettings().encoder.bias_noise: PUBLISHED}),
    "tau_same_bias": Sweep(slow, TAUS[1:4], {VdspSettings().input.tau: PUBLISHED}),
    "tau": Sweep(as_far, TAUS, {VdspSettings().input.tau: PUBLISHED}),
    "thresholds": Sweep(deviating, DEVIATIONS, {0.0: PUBLISHED, 0.2: f"{PUBLISHED}_theta20"}),
    "thresholds_far": Sweep(deviating, DEVIATIONS, {0.0: "tio2_over", 0.2: "tio2_over_theta20"}, far_above),
    "conductances": Sweep(resisting, DEVIATIONS, {0.0: PUBLISHED, 0.2: f"{PUBLISHED}_resistance20"}),
    "conductances_far": Sweep(resisting, DEVIATIONS, {0.0: "tio2_over", 0.2: "tio2_over_resistance20"}, far_above),
    "homeostasis": Sweep(homeostatic, JUMPS, {1.1: PUBLISHED}),
    "homeostasis_theta20": Sweep(homeostatic, JUMPS, {1.1: f"{PUBLISHED}_theta20"}, deviating_drive),
}


def label_of(sweep: str, value: float) -> str:
    """The part of a point of a sweep."""
    return SWEEPS[sweep].parts.get(value, f"tio2_{sweep}_{value:g}")


def sweep_parts() -> dict[str, Part]:
    """All points that are no other part."""
    return {
        label_of(name, value): Part("tio2", sweep.make(sweep.base(), value), SEEDS)
        for name, sweep in SWEEPS.items()
        for value in sweep.values
        if value not in sweep.parts
    }


def scale_map(name: str, images: ImageSet, folder: Path = FOLDER) -> NetworkMap:
    """Accuracy on held-out training images over both scale factors."""
    return run_map(
        partial(_point, name, held_out(images, *MAP_IMAGES)), SCALES, folder=folder / f"map_{name}", seeds=MAP_SEEDS
    )


def _point(name: str, images: ImageSet, settings: Mapping[str, float], seed: int, folder: Path) -> Mapping[str, float]:
    network = VdspSettings(neurons=MAP_NEURONS)
    for setting, value in settings.items():
        network = with_setting(network, setting, value)
    system = VdspSystem(network, Surrogate(cell(name), "pulse"), ImageTask(images))
    found = run_network(system, seeds=(seed,), folder=folder, resume=resuming()).seeds[0].values
    return {kind: float(x) for kind, x in found.accuracy_on_test_images.items()}
