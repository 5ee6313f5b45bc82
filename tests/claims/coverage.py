"""Does a 95 % interval hold the truth in 95 % of the cases? Extraction from a virtual laboratory, many times over.

A laboratory is a function of a random generator that gives a curve whose true parameters are known. `NumpyLab` is the
pulse map of a device with read noise; `noisy` makes one of a curve that was simulated once, without noise, elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from cosim.data.recording import Curve
from cosim.devices.base import Values
from cosim.devices.pulse import PulseShape, full_scale
from cosim.devices.registry import device as find_device
from cosim.errors import FitError, InputError
from cosim.fitting.extract import extract
from cosim.fitting.forwards.pulse_train import PulseTrainForward
from cosim.fitting.recipe import FitRecipe
from cosim.parameters import ParameterSet

Lab = Callable[[np.random.Generator], Curve]


@dataclass(frozen=True)
class NumpyLab:
    """Pulse trains of random amplitude on the numpy device, read with noise; one random train per call.

    Args:
        device: its name.
        p: the true parameters.
        pulses: number of pulses, the conditioning ones included.
        amplitudes: (smallest, largest) magnitude in V, of either polarity with equal chance.
        conditioning: so many pulses of the largest amplitude of each polarity come first, so that the curve shows both
            ends of the range: without them g_max and ratio trade against the non-linearities.
        noise: standard deviation of a read over the full scale G_max (`cosim.devices.pulse.full_scale`).
        v_read: read voltage in V.
        shape: of a pulse.
    """

    device: str
    p: Values
    pulses: int = 500
    amplitudes: tuple[float, float] = (0.0, 2.6)
    conditioning: int = 20
    noise: float = 0.02
    v_read: float = 0.2
    shape: PulseShape = field(default_factory=PulseShape)

    def __call__(self, rng: np.random.Generator) -> Curve:
        """One train and its reads."""
        low, high = self.amplitudes
        n = self.pulses - 2 * self.conditioning
        if n < 1:
            raise InputError(f"{self.pulses} pulses leave none after conditioning", remedy="give more pulses")
        random = rng.uniform(low, high, n) * rng.choice([-1.0, 1.0], n)
        first = np.repeat([-high, high], self.conditioning)
        clean = self.clean(np.concatenate([first, random]))
        return noisy(clean, sigma=self.noise * full_scale(self.p))(rng)

    def clean(self, amplitude: np.ndarray[tuple[int], np.dtype[np.float64]]) -> Curve:
        """The noise-free reads of a given train (n,) V."""
        blank = Curve.pulse_train(
            amplitude, np.zeros(amplitude.size), v_read=self.v_read, shape=self.shape, source="numpy cell"
        )
        return blank.with_measured(
            PulseTrainForward(find_device(self.device), blank, np.ones(len(blank), dtype=bool)).predict(self.p)
        )


def noisy(clean: Curve, *, sigma: float) -> Lab:
    """A laboratory that reads one noise-free curve with Gaussian noise ``sigma`` (in the curve's unit)."""

    def lab(rng: np.random.Generator) -> Curve:
        return clean.with_measured(clean.measured + sigma * rng.standard_normal(len(clean)))

    return lab


@dataclass(frozen=True)
class Coverage:
    """How often the intervals held the truth.

    Args:
        held: parameter → number of intervals that held its true value.
        intervals: parameter → number of intervals.
        deviation: parameter → (mean, standard deviation) of the estimates' error over the truth's size, if it has any.
        failed: seed → why there was no fit.
        seconds: mean time of a fit.
    """

    held: Mapping[str, int]
    intervals: Mapping[str, int]
    deviation: Mapping[str, tuple[float, float]]
    failed: Mapping[int, str]
    seconds: float

    @property
    def pooled(self) -> float:
        """Part of all intervals that held the truth."""
        return sum(self.held.values()) / max(sum(self.intervals.values()), 1)

    @property
    def by_parameter(self) -> dict[str, float]:
        """Part of each parameter's intervals that held the truth."""
        return {name: self.held[name] / max(count, 1) for name, count in self.intervals.items()}


def coverage(
    recipe: FitRecipe,
    lab: Lab,
    truth: ParameterSet | Mapping[str, float],
    *,
    seeds: int | Iterable[int] = 100,
    profile: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Coverage:
    """Extract from ``seeds`` curves of a laboratory, and count the 95 % intervals that hold the truth.

    A parameter without an interval (at a bound, or not determined) counts as one that does not hold it.

    Args:
        recipe: of the extraction; its data part is not read.
        lab: gives a curve for a generator; the generator of seed k is ``numpy.random.default_rng(k)``.
        truth: the true values: a parameter set, or a value for each parameter that the recipe varies.
        seeds: how many, or which.
        profile: intervals from the profile likelihood.
        progress: called with the number of curves done.
    """
    names = recipe.fit.vary
    true: Mapping[str, Any] = truth.resolved() if isinstance(truth, ParameterSet) else truth
    for name in names:
        if name not in true:
            raise InputError(f"no true value of {name} is given", remedy="leave it out of fit.vary, or give it")
    held, errors = dict.fromkeys(names, 0), {name: list[float]() for name in names}
    failed, seconds = dict[int, str](), list[float]()
    for done, seed in enumerate(range(seeds) if isinstance(seeds, int) else seeds, 1):
        try:
            result = extract(recipe, lab(np.random.default_rng(seed)), profile=profile)
        except FitError as error:
            failed[seed] = str(error)
            continue
        for name in names:
            low, high = result.verdict[name].interval
            held[name] += bool(low <= true[name] <= high)
            errors[name].append((float(result.values[name]) - float(true[name])) / abs(float(true[name]) or 1.0))
        seconds.append(result.cost.seconds)
        if progress is not None:
            progress(done)
    count = len(seconds)
    return Coverage(
        held,
        dict.fromkeys(names, count + len(failed)),
        {name: (float(np.mean(e)), float(np.std(e))) for name, e in errors.items() if e},
        failed,
        float(np.mean(seconds)) if seconds else 0.0,
    )
