"""Does a 95 % interval hold the truth in 95 % of the cases? A row for each recipe and each kind of noise.

Rows are trains of a threshold memristor under the noise that laboratories have, the clipper, and every shipped recipe
whose curve ships with it: that is fitted once, and its curve drawn again from the fit with the noise of the fit. No
recipe of a row says what noise it has. Each draw is a fit; a row ends after `DRAWS` of them or `MINUTES`, and says how
many there were. A parameter without an interval counts as one that does not hold the truth.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing import get_context
from typing import Any

import numpy as np

from claims import clipper
from claims.base import Claim, Figures, Report
from claims.coverage import Lab, noisy
from cosim.campaign.executors import cores
from cosim.data.recording import Curve
from cosim.devices.base import Values
from cosim.devices.pulse import PulseShape
from cosim.devices.registry import devices
from cosim.devices.threshold import ThresholdMemristor
from cosim.errors import CosimError, FitError
from cosim.fitting.extract import extract
from cosim.fitting.recipe import FitRecipe
from cosim.resources import folder
from cosim.statistics.yields import interval

DRAWS, MINUTES, CHUNK = 1000, 10.0, 5
POOLED, EACH = (0.93, 0.97), (0.90, 0.98)
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
    """

    pulses: int = 300
    read: float = 0.02
    correlation: float = 0.0
    step: float = 0.0
    outliers: float = 0.0

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
        reads = np.asarray(model.conductance(Values({"w": np.array(states)}), p)) + self.read * p.g_max * noise
        return Curve.pulse_train(amplitude, reads, v_read=0.2, shape=shape)


TRAINS = {
    "300 pulses": TrainLab(),
    "60 pulses": TrainLab(60),
    "30 pulses": TrainLab(30),
    "correlated reads": TrainLab(correlation=0.6),
    "varying steps": TrainLab(read=0.01, step=0.3),
    "outliers": TrainLab(outliers=0.02),
}


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
    """Of all rows."""
    return [*TRAINS, "clipper", *shipped()]


@lru_cache(maxsize=2)
def row(name: str) -> Row:
    """A row by its name."""
    if name in TRAINS:
        vary = tuple(TRUTH)
        body = {
            "name": "train",
            "device": "threshold_memristor",
            "data": {"kind": "pulse train"},
            "fit": {"vary": vary},
        }
        return Row(FitRecipe.model_validate(body), TRAINS[name], TRUTH)
    if name == "clipper":
        devices()["clipper"] = clipper.Clipper()
        return Row(clipper.recipe(), clipper.lab, clipper.TRUTH)
    recipe = FitRecipe.load(name)
    fitted = extract(recipe)
    clean = fitted.curve.with_measured(fitted.forward.predict(fitted.values))
    return Row(recipe, noisy(clean, sigma=float(np.median(fitted.sigma))), dict(fitted.values))


@dataclass(frozen=True)
class Draw:
    """What one fit said: of each parameter whether the interval held the truth, and whether it is determined."""

    held: Mapping[str, bool]
    undetermined: frozenset[str]
    failed: str = ""


def draws(name: str, seeds: range) -> list[Draw]:
    """The fits of some seeds of a row."""
    one, found = row(name), []
    for seed in seeds:
        try:
            result = extract(one.recipe, one.lab(np.random.default_rng(seed)))
        except FitError as error:
            found.append(Draw(dict.fromkeys(one.recipe.fit.vary, False), frozenset(), str(error)))
            continue
        held, undetermined = {}, set[str]()
        for name_, entry in ((name_, result.verdict[name_]) for name_ in result.names):
            held[name_] = bool(entry.interval[0] <= float(one.truth[name_]) <= entry.interval[1])
            if entry.status in ("not identifiable", "at bound"):
                undetermined.add(name_)
        found.append(Draw(held, frozenset(undetermined)))
    return found


def summary(found: list[Draw]) -> dict[str, Any]:
    """The figures of a row; the interval of the pooled share counts a draw as one trial, not each parameter."""
    by = {name: float(np.mean([one.held[name] for one in found])) for name in found[0].held}
    pooled, worst = float(np.mean(list(by.values()))), max(by, key=lambda name: abs(by[name] - 0.95))
    low, high = interval(round(pooled * len(found)), len(found), method="wilson")
    outside = not POOLED[0] <= pooled <= POOLED[1] or not all(EACH[0] <= share <= EACH[1] for share in by.values())
    open_ = [one.held[name] for one in found for name in one.undetermined]
    return {
        "draws": len(found),
        "pooled": round(pooled, 4),
        "pooled_95": [round(low, 4), round(high, 4)],
        "worst": [worst, round(by[worst], 4)],
        "undetermined": len(open_),
        "undetermined_held": sum(open_),
        "failed": sum(bool(one.failed) for one in found),
        "inside": not outside,
    }


def measure(tell: Report) -> Figures:
    """Each row's shares, and how many rows lie outside the bands."""
    rows, table = names(), dict[str, Any]()
    with ProcessPoolExecutor(cores(), mp_context=get_context("spawn")) as pool:
        for name in rows:
            table[name] = summary([one for part in _chunks(pool, name, tell) for one in part])
    count = sum(entry["undetermined"] for entry in table.values())
    return {
        "rows": table,
        "outside": sum(not entry["inside"] for entry in table.values()),
        "lowest_pooled": min(entry["pooled"] for entry in table.values()),
        "undetermined_share": sum(entry["undetermined_held"] for entry in table.values()) / count if count else 1.0,
    }


def _chunks(pool: ProcessPoolExecutor, name: str, tell: Report) -> Iterator[list[Draw]]:
    """The draws of a row, as many as its time allows."""
    began, following, done = time.monotonic(), iter(range(0, DRAWS, CHUNK)), 0
    waiting: set[Future[list[Draw]]] = set()
    while True:
        in_time = time.monotonic() - began < 60.0 * MINUTES
        while in_time and len(waiting) < 2 * cores() and (first := next(following, None)) is not None:
            waiting.add(pool.submit(draws, name, range(first, min(first + CHUNK, DRAWS))))
        if not waiting:
            return
        ended, waiting = wait(waiting, return_when=FIRST_COMPLETED)
        for future in ended:
            done += CHUNK
            tell(f"{name}: {done} of {DRAWS} draws")
            yield future.result()


COVERAGE = Claim(
    "coverage",
    "95 % intervals hold the truth in 93 to 97 % of the draws of every recipe, of each parameter in 90 to 98 %",
    measure,
    {"outside": (None, 0), "lowest_pooled": (POOLED[0], None), "undetermined_share": (POOLED[0], None)},
)
