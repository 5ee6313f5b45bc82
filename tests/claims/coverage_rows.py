"""The rows of the claim `coverage_claim`: a recipe, a laboratory and its truth, and what the fit of a draw says.

Rows are trains of a threshold memristor under the noise that laboratories have, ramps of equal pulses, the clipper, and
every shipped recipe whose curve ships with it: that is fitted once, and its curve drawn again from the fit with the
noise that the fit found: of each row's size, growing with the reading and correlated where it is. Steps that vary and
outliers are not drawn again: such a row has white noise of the median size of the fit's. But for "growing noise" no
recipe of a row says what noise it has. A parameter without an interval counts as one that does not
hold the truth.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cache

import numpy as np

from claims import clipper
from claims.coverage import Lab, noisy
from cosim import __version__
from cosim.data.recording import Curve
from cosim.devices.base import Values
from cosim.devices.pulse import PulseShape
from cosim.devices.registry import devices
from cosim.devices.threshold import ThresholdMemristor
from cosim.errors import CosimError, FitError
from cosim.fitting.correlated import Whitening
from cosim.fitting.extract import extract
from cosim.fitting.forwards.equal_pulses import RampForward
from cosim.fitting.provenance import code_fingerprint
from cosim.fitting.recipe import FitRecipe
from cosim.fitting.residuals import orders
from cosim.fitting.result import FitResult
from cosim.resources import folder

# What a memristor of the rows has, and how its trains are read: our choice.
TRUTH = {
    "theta_p": 1.1, "theta_n": 1.2, "alpha_p": 0.8, "alpha_n": 0.9, "gamma_p": 1.5, "gamma_n": 1.4, "ratio": 9.0,
    "g_max": 120e-6, "w0": 0.4,
}  # fmt: skip
HIGH, CONDITIONING = 2.4, 20


@dataclass(frozen=True)
class TrainLab:
    """A train of random pulses, conditioned by both polarities first, and its reads.

    Args:
        pulses: of the train, at least 6.
        read: standard deviation of a read over G_max.
        correlation: of the noise of reads that follow each other.
        step: standard deviation of a step over the step; the state stays between its bounds.
        outliers: share of the reads that are 6 to 15 standard deviations off.
        growing: standard deviation of a read over itself, beside ``read``.
    """

    pulses: int = 300
    read: float = 0.02
    correlation: float = 0.0
    step: float = 0.0
    outliers: float = 0.0
    growing: float = 0.0

    def __call__(self, rng: np.random.Generator) -> Curve:
        """One train."""
        model, shape = ThresholdMemristor(), PulseShape()
        p, first = model.values(TRUTH), min(CONDITIONING, self.pulses // 6)
        n = self.pulses - 2 * first
        amplitude = rng.uniform(0.0, HIGH, n) * rng.choice([-1.0, 1.0], n)
        amplitude = np.concatenate([np.repeat([-HIGH, HIGH], first), amplitude])
        w, states = float(p.w0), []
        for v, xi in zip(amplitude, rng.standard_normal(amplitude.size), strict=True):
            after = float(model.pulse(v, w, p, shape=shape)[0])
            w = min(max(w + (after - w) * (1.0 + self.step * float(xi)), 0.0), 1.0)
            states.append(w)
        noise = rng.standard_normal(amplitude.size)
        for k in range(1, noise.size):
            noise[k] = self.correlation * noise[k - 1] + np.sqrt(1.0 - self.correlation**2) * noise[k]
        off = rng.random(noise.size) < self.outliers
        noise[off] = rng.choice([-1.0, 1.0], int(off.sum())) * rng.uniform(6.0, 15.0, int(off.sum()))
        clean = np.asarray(model.conductance(Values({"w": np.array(states)}), p))
        reads = clean + np.hypot(self.read * p.g_max, self.growing * clean) * noise
        return Curve.pulse_train(amplitude, reads, v_read=0.2, shape=shape)


TRAINS = {
    "300 pulses": TrainLab(),
    "60 pulses": TrainLab(60),
    "30 pulses": TrainLab(30),
    "strongly correlated reads": TrainLab(correlation=0.6),
    "weakly correlated reads": TrainLab(correlation=0.3),
    "varying steps": TrainLab(read=0.01, step=0.3),
    "outliers": TrainLab(outliers=0.02),
    "mixed noise": TrainLab(read=0.01, step=0.2, outliers=0.02),
    "growing noise": TrainLab(read=0.0, growing=0.1),
    "growing noise, not stated": TrainLab(read=0.0, growing=0.1),
}
# The one row whose recipe states its noise. And a row beside the claim, which does not hold it: w0 has an interval in 2
# of its 1000 draws, from one read that came out high, and both miss.
STATED, BESIDE = "growing noise", ("growing noise, not stated",)
# Two ramps of 100 equal pulses each, up and down, whose starts are fitted; our choice.
RAMPS = {
    "low": 20e-6, "high": 110e-6, "strength_p": 0.15, "strength_n": 0.12, "gamma_p": 1.6, "gamma_n": 1.3,
    "start_p": 0.1, "start_n": 0.9,
}  # fmt: skip
CLIPPER, EQUAL = "clipper", "equal pulses"


@dataclass(frozen=True)
class Row:
    """A recipe, a laboratory and its truth."""

    recipe: FitRecipe
    lab: Lab
    truth: Mapping[str, float]


def shipped() -> list[str]:
    """The recipes that ship with a curve of their own, one each."""
    root, found = folder("fits"), []
    for file in sorted(root.rglob("*.toml")):
        try:
            recipe = FitRecipe.load(file)
        except CosimError:  # a joint recipe, a parameter set
            continue
        if recipe.data.file is not None and (file.parent / recipe.data.file).exists():
            found.append(file.relative_to(root).with_suffix("").as_posix())
    return found


def names() -> list[str]:
    """Of all rows of the claim."""
    return [*(name for name in TRAINS if name not in BESIDE), EQUAL, CLIPPER, *shipped()]


def about(name: str) -> dict[str, str]:
    """The device of a row, and the kind of its curve."""
    if name in TRAINS:
        return {"device": "threshold_memristor", "curve": "pulse train"}
    if name == EQUAL:
        return {"device": "threshold_memristor", "curve": "equal pulses"}
    recipe = clipper.recipe() if name == CLIPPER else FitRecipe.load(name)
    return {"device": recipe.device or recipe.data.kind, "curve": recipe.data.kind}


@cache
def row(name: str) -> Row:
    """A row by its name."""
    if name in TRAINS:
        body: dict[str, object] = {
            "name": "train",
            "device": "threshold_memristor",
            "data": {"kind": "pulse train"},
            "fit": {"vary": tuple(TRUTH)},
        }
        if name == STATED:
            body["noise"] = {"relative": TRAINS[name].growing}
        return Row(FitRecipe.model_validate(body), TRAINS[name], TRUTH)
    if name == EQUAL:
        body = {
            "name": "ramps",
            "device": "threshold_memristor",
            "data": {"kind": "equal pulses"},
            "ramps": {"start": "shared"},
            "fit": {"vary": tuple(RAMPS)},
        }
        # The law's bounds come from the reads that it is made with: any through the whole range.
        up = np.linspace(RAMPS["low"], RAMPS["high"], 101)
        blank = Curve.equal_pulses([up, up[::-1]], polarity=[1, -1])
        forward = RampForward(ThresholdMemristor(), blank, np.ones(len(blank), dtype=bool), start="shared")
        clean = blank.with_measured(forward.predict(Values(RAMPS)))
        return Row(FitRecipe.model_validate(body), noisy(clean, sigma=0.02 * RAMPS["high"]), RAMPS)
    if name == CLIPPER:
        devices()["clipper"] = clipper.Clipper()
        return Row(clipper.recipe(), clipper.lab, clipper.TRUTH)
    recipe = FitRecipe.load(name)
    fitted = extract(recipe)
    clean = fitted.curve.with_measured(fitted.forward.predict(fitted.values))
    return Row(recipe, redrawn(fitted, clean), dict(fitted.values))


def redrawn(fitted: FitResult, clean: Curve) -> Lab:
    """A laboratory with the noise that a fit found (module docstring)."""
    if fitted.spread is not None:
        return noisy(clean, sigma=float(np.median(fitted.sigma)))
    grown, whiten = fitted.growing, fitted.problem.whiten
    sigma = fitted.sigma if grown is None else np.hypot(grown.sigma, grown.relative * clean.measured)
    r = float(whiten.r) if isinstance(whiten, Whitening) else 0.0
    order = orders(clean)[0]

    def lab(rng: np.random.Generator) -> Curve:
        noise = rng.standard_normal(len(clean))
        for last, this, same in zip(order.index, order.index[1:], order.group[1:] == order.group[:-1], strict=False):
            if same:
                noise[this] = r * noise[last] + np.sqrt(1.0 - r**2) * noise[this]
        return clean.with_measured(clean.measured + sigma * noise)

    return lab


@dataclass(frozen=True)
class Draw:
    """What the fit of a draw said.

    Args:
        seed: of the draw.
        held: parameter → whether its interval, or the range that a verdict states instead, holds the truth.
        status: parameter → the verdict in two words; empty where there was no fit.
        failed: why there was no fit.
        seconds: of the processor.
        value: parameter → what was found, in its unit.
        low: parameter → the lower end of its interval or range; None where it is open.
        high: parameter → the upper end.
        made: the version of cosim, and the beginning of the hash of the code that a fit runs through.
    """

    seed: int
    held: Mapping[str, bool]
    status: Mapping[str, str]
    failed: str = ""
    seconds: float = 0.0
    value: Mapping[str, float] = field(default_factory=dict)
    low: Mapping[str, float | None] = field(default_factory=dict)
    high: Mapping[str, float | None] = field(default_factory=dict)
    made: str = ""

    def undetermined(self, name: str) -> bool:
        """Whether the verdict states a range, and not a value with an interval."""
        return self.status.get(name) in ("not identifiable", "at bound")


def draws(name: str, seeds: Iterable[int]) -> list[Draw]:
    """The fits of some seeds of a row."""
    one, found, made = row(name), [], f"{__version__} {code_fingerprint()[:12]}"
    for seed in seeds:
        began = time.process_time()
        try:
            result = extract(one.recipe, one.lab(np.random.default_rng(seed)))
        except FitError as error:
            held = dict.fromkeys(one.recipe.fit.vary, False)
            found.append(Draw(seed, held, {}, str(error), time.process_time() - began, made=made))
            continue
        verdicts = {n: result.verdict[n] for n in result.names}
        found.append(
            Draw(
                seed,
                {n: bool(v.interval[0] <= float(one.truth[n]) <= v.interval[1]) for n, v in verdicts.items()},
                {n: str(v.status) for n, v in verdicts.items()},
                seconds=time.process_time() - began,
                value={n: float(result.values[n]) for n in verdicts},
                low={n: _finite(v.interval[0]) for n, v in verdicts.items()},
                high={n: _finite(v.interval[1]) for n, v in verdicts.items()},
                made=made,
            )
        )
    return found


def _finite(end: float) -> float | None:
    return float(end) if math.isfinite(end) else None


def key(name: str) -> str:
    """A hash of what a row is: of its recipe, and of its curve or its laboratory; not of the code.

    The truth and the noise of a shipped row are what today's code makes of its recipe and curve.
    """
    parts: tuple[object, ...]
    if name in TRAINS:
        parts = (TRUTH, HIGH, CONDITIONING, asdict(TRAINS[name]))
    elif name == EQUAL:
        parts = (RAMPS,)
    elif name == CLIPPER:
        parts = (clipper.TRUTH, clipper.VOLTAGES.tolist(), clipper.NOISE)
    else:
        recipe = folder("fits") / f"{name}.toml"
        files = (recipe, recipe.parent / str(FitRecipe.load(recipe).data.file))
        parts = tuple(hashlib.sha256(file.read_bytes()).hexdigest() for file in files)
    return hashlib.sha256(json.dumps([name, *parts]).encode()).hexdigest()
