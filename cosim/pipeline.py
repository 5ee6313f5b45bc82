"""The straight line on the 1T1R cell: virtual lab, extraction, surrogate with its certificate.

The lab is the published memristor behind a BSIM4 transistor in ngspice; nothing downstream of the measured curve knows
the published values. The network is the caller's (`cosim.network`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from cosim.bench.testbench import TIGHT, Testbench
from cosim.engines.simulator import Simulator
from cosim.fitting.extract import extract
from cosim.fitting.recipe import FitRecipe, NoiseSpec
from cosim.fitting.result import FitResult
from cosim.lab import Experiment, access_curve, pulse_experiment
from cosim.parameters import ParameterSet
from cosim.resources import find
from cosim.surrogate.certify import HeldOut
from cosim.surrogate.model import Surrogate
from cosim.surrogate.references import SpiceBench
from cosim.surrogate.train import train

Tell = Callable[[str], None]
EXTRACTED = ("theta_p", "theta_n", "alpha_p", "alpha_n", "gamma_p", "gamma_n")


@dataclass(frozen=True)
class Lab:
    """What was measured: the cell's experiment and the fit of its access transistor."""

    experiment: Experiment
    access: FitResult

    @property
    def truth(self) -> ParameterSet:
        """The memristor inside, which an extraction is compared with and never sees."""
        return self.experiment.run.bench.sets["memristor"]


def measure_lab(
    simulator: Simulator,
    *,
    bench: str = "1t1r_random_pulses",
    memristor: ParameterSet | None = None,
    tell: Tell = print,
) -> Lab:
    """Run the transistor's and the cell's bench, the latter at tightened tolerances, and fit the transistor."""
    tell("measuring the access transistor in ngspice")
    access = extract(
        FitRecipe.load(find("fits", "access_transistor.toml")), access_curve(Testbench.load("access_iv"), simulator)
    )
    tell("measuring the 1T1R cell in ngspice: 500 random pulses")
    cell = Testbench.load(bench).with_(options=TIGHT, devices={"memristor": memristor} if memristor else {})
    return Lab(pulse_experiment(cell, simulator), access)


def extract_cell(lab: Lab, *, noise: float = 0.02, seed: int = 0, tell: Tell = print) -> FitResult:
    """Fit the cell to the lab's curve with read noise of ``noise`` times full scale, by the shipped recipe."""
    tell("extracting the cell's parameters")
    curve = lab.experiment.noisy(np.random.default_rng(seed), noise=noise) if noise else lab.experiment.curve
    return extract(cell_recipe(lab, noise=noise), curve)


def cell_recipe(lab: Lab, *, noise: float) -> FitRecipe:
    """The shipped recipe with the lab's transistor and its stated noise."""
    recipe = FitRecipe.load(find("fits", "cell_1t1r.toml"))
    sigma = noise * lab.experiment.full_scale
    return recipe.with_(sets=(lab.access.parameter_set(),), noise=NoiseSpec(sigma=sigma) if noise else None)


def relative_errors(fit: FitResult, truth: ParameterSet) -> dict[str, float]:
    """|extracted/true − 1| of each parameter that the memristor has and the fit varied."""
    true = truth.resolved()
    return {name: abs(float(fit.values[name]) / float(true[name]) - 1.0) for name in fit.names if name in EXTRACTED}


def certified(
    fit: FitResult, lab: Lab, simulator: Simulator, *, pulses: int = 500, seed: int = 0, tell: Tell = print
) -> tuple[Surrogate, HeldOut]:
    """The surrogate of an extraction, held against the device that was measured, on ``pulses`` fresh pulses."""
    tell(f"holding the surrogate against ngspice on {pulses} fresh pulses")
    surrogate = Surrogate(fit.parameter_set(), shape=lab.experiment.curve.shape)
    bench = SpiceBench("1t1r_random_pulses", simulator, options=MappingProxyType(dict(TIGHT)), device=lab.truth)
    return train(surrogate, bench, pulses=pulses, seed=seed)
