"""Surrogates: what their certificates say, whether their intervals hold on fresh events, and how fast they are.

*Error and coverage* are of the 1T1R cell against ngspice. Two certificates with free runs are made from different
seeds; the intervals of the first are held against the events of the second. What is asked for is 95 % within 1 %. As
many free runs of 100 and 1000 events as tell 94 % from 95 % would take ngspice an hour, so that these lengths are also
measured on a loop in plain Python: the published map, which the surrogate's rate law misses by some percent of the
range. Each quantity is judged by itself, but for those whose errors are another's in another unit (the conductance is
affine in w). Two samples of n runs each leave a standard deviation of √(2 · 0.95 · 0.05 / n), where n counts
independent runs: events of one train are alike, and n is what the shares of the trains vary as. A coverage is *below*
where two deviations more would still be less than 94 %, and *above* where two deviations less are more than 96 %;
where two deviations are more than 1 %, it *cannot tell*. Of a few dozen runs of 1000 events through ngspice it cannot:
the figures say so by name (`cannot_tell_spice`), and within how many percent each share is known
(`told_within_percent_spice`). ``COSIM_SURROGATES_RUNS=N`` takes N such runs: 4000 tell.

*Speed* is that of a matrix of 784 × 200 cells, one voltage a row, every pulse above threshold, on two cores, which
have to be idle, compiled and in plain numpy. The peer of the same run is the law written out over whole arrays in
numpy. The kernel computes what `step` gives, without its checks; both write into given arrays. The figures are medians
of interleaved calls; memory is the peak that one call of `update` allocates, its result included, and one of `step`
that writes into given arrays, both in arrays of the size of the state; `compiled_differs` is how far the state is from
numpy's. The speed-up of the 1T1R cell is that of one thread, all outputs, in both precisions; beside the errors of
the certificate, which are those of double precision, stand those of single precision on the same held-out events.
"""

from __future__ import annotations

import math
import os
import statistics
import time
import tracemalloc
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from benchmark.bench_surrogate_update import SHAPE, amplitudes, naive_rate
from claims.base import Claim, Figures, Report
from claims.surrogate_targets import ENERGY, SPEED_UP, STATE, UPDATES, Target, missed, of_error
from claims.surrogates_kinds import spice_seconds, step_seconds
from cosim.devices.base import Array, Values
from cosim.devices.maps import EventMap
from cosim.engines.registry import open_simulator
from cosim.engines.simulator import Simulator
from cosim.parameters import ParameterSet
from cosim.surrogate.certify import HeldOutEvents, certify, stepped
from cosim.surrogate.conformal import LEVELS, USUAL, Band
from cosim.surrogate.learned import fit
from cosim.surrogate.model import Surrogate
from cosim.surrogate.references import EVENT, Reference, reference_for
from cosim.surrogate.trains import random_inputs

SPICE_RUNS, LOOP_RUNS = 60, 4000
# A coverage outside of this is broken; two standard deviations that are more than `TOLD` say neither.
COVERED, TOLD = (0.94, 0.96), 0.01
SOON = 10  # events after which even few long trains hold enough runs
SAME = 1e-6  # of a correlation of 1: errors that are the same twice
CALLS = 60
TRAIN = (100, 1000)  # events whose difference is ngspice's steady state
SPLINED = 500  # samples of the spline: some of a budget of five minutes
THREADS = 2
PRECISIONS: tuple[Literal["float32", "float64"], ...] = ("float32", "float64")


@dataclass(frozen=True)
class Loop:
    """The published map of a threshold memristor in plain Python, event by event; ``loose``: an error of its states."""

    loose: float = 0.0
    device: ParameterSet | None = None
    engine = "python"
    independent = False

    @property
    def tolerances(self) -> dict[str, float]:
        """It has none."""
        return {}

    def netlist(self, event_map: EventMap) -> str:
        """There is none."""
        return ""

    def subject(self, parameters: ParameterSet) -> str:
        """The loop."""
        return f"a loop with {parameters.name}"

    def respond(self, parameters: ParameterSet, event_map: EventMap, events: xr.Dataset) -> xr.Dataset:
        """The events one after the other."""
        p, w, path, energy = parameters.resolved(), float(events["w_before"]), [], []
        for v in events["amplitude"].values.tolist():
            if v < -p.theta_p:
                w = min(w + (1.0 - w) ** p.gamma_p * math.expm1(-p.alpha_p * (v + p.theta_p)), 1.0)
            elif v > p.theta_n:
                w = max(w - (w**p.gamma_n if w > 0.01 else 1.0) * math.expm1(p.alpha_n * (v - p.theta_n)), 0.0)
            path.append(w + self.loose)
            energy.append(v * v * p.g_max * w)
        read = p.g_max * (np.array(path) * (1.0 - 1.0 / p.ratio) + 1.0 / p.ratio)
        columns = {"w": np.array(path), "conductance": read, "energy": np.array(energy)}
        return xr.Dataset({name: (EVENT, values) for name, values in columns.items()})


def independent(errors: Mapping[str, Array]) -> list[str]:
    """The quantities whose errors (n,) are not those of an earlier one in another unit."""
    kept: list[str] = []
    for name, values in errors.items():
        spread = float(np.std(values))
        if all(
            spread == 0.0
            or np.std(errors[one]) == 0.0
            or abs(float(np.corrcoef(values, errors[one])[0, 1])) < 1.0 - SAME
            for one in kept
        ):
            kept.append(name)
    return kept


def independent_runs(held: NDArray[np.bool_], train: NDArray[np.int64]) -> float:
    """As how many independent answers ``held`` (n,) of the trains ``train`` (n,) vary, at most n."""
    count, inside = np.bincount(train), np.bincount(train, weights=held)
    count, inside = count[count > 0], inside[count > 0]
    share = float(np.mean(held))
    # of a ratio of means, by linearisation (Cochran, Sampling Techniques, ch. 2.11)
    variance = float(np.sum((inside - share * count) ** 2)) / held.size**2
    return min(share * (1.0 - share) / variance, float(held.size)) if variance > 0.0 else float(count.size)


def deviation(runs: float) -> float:
    """Of a share that is 95 %, where the interval and the share are each of ``runs`` independent runs."""
    return math.sqrt(2.0 * 0.95 * 0.05 / runs)


def verdict(share: float, runs: float) -> str:
    """Whether a share of answers within a 95 % interval is "below" or "above", "holds", or "cannot tell" from so few
    runs."""
    if share + 2.0 * deviation(runs) < COVERED[0]:
        return "below"
    if share - 2.0 * deviation(runs) > COVERED[1]:
        return "above"
    return "holds" if 2.0 * deviation(runs) <= TOLD else "cannot tell"


def coverage(
    plain: Surrogate, reference: Reference, *, rollouts: int, label: str
) -> tuple[Surrogate, HeldOutEvents, Figures]:
    """The shares of fresh answers within 95 % intervals, of each quantity, after each number of events; before them the
    surrogate that is judged, and what its certificate was made on."""
    first, held = certify(plain, reference, pulses=500, rollouts=rollouts, seed=0)
    _, fresh = certify(plain, reference, pulses=500, rollouts=rollouts, seed=1)
    assert first.certificate is not None
    return first, held, covered(first.certificate.bands, fresh, label=label)


def covered(bands: Iterable[Band], fresh: HeldOutEvents, *, label: str) -> Figures:
    """The verdict on each interval of ``bands`` from ``fresh`` events, and the counts that are claimed."""
    sizes = np.array([run.shape[1] for run in fresh.free[: len(fresh.free) // len(fresh.states)]])
    figures: Figures = {}
    said: dict[str, str] = {}
    within: dict[str, float] = {}
    for band in bands:
        errors = fresh.after[band.events]
        train = np.repeat(np.arange(sizes.size), sizes // band.events)
        shares = band.covered({name: errors[name] for name in independent(errors)})
        runs = {}
        for name, share in shares.items():
            held = np.abs(errors[name]) <= band.widths[name][LEVELS.index(USUAL)]
            runs[name] = independent_runs(held, train)
            said[f"{name} after {band.events}"] = verdict(share, runs[name])
        figures[f"coverage_{label}_{band.events}"] = {name: round(share, 4) for name, share in shares.items()}
        figures[f"independent_runs_{label}_{band.events}"] = {name: round(count) for name, count in runs.items()}
        within |= {f"{n} after {band.events}": round(200.0 * deviation(count), 2) for n, count in runs.items()}
    figures[f"told_within_percent_{label}"] = within
    for word in ("below", "above", "cannot tell"):
        figures[f"{word.replace(' ', '_')}_{label}"] = [name for name, one in said.items() if one == word]
    figures[f"intervals_{label}"] = len(said)
    for word in ("below", "above"):
        figures[f"intervals_{word}_{label}"] = len(figures[f"{word}_{label}"])
    figures[f"intervals_undecided_{label}"] = len(figures[f"cannot_tell_{label}"])
    figures[f"intervals_undecided_soon_{label}"] = sum(
        int(name.split()[-1]) <= SOON for name in figures[f"cannot_tell_{label}"]
    )
    return figures


def _medians(calls: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Seconds of each call, all of them in turn."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(CALLS):
        for name, call in calls.items():
            begin = time.perf_counter()
            call()
            times[name].append(time.perf_counter() - begin)
    return {name: statistics.median(found[CALLS // 10 :]) for name, found in times.items()}


def speed(dtype: Literal["float32", "float64"]) -> Figures:
    """Updates per second and memory of one precision."""
    cell = Surrogate(ParameterSet.load("tio2"), dtype=dtype, threads=THREADS, compiled=True)
    plain, kernel, naive = cell.with_(compiled=False), cell.kernel, naive_rate(cell)
    assert kernel is not None
    w = np.random.default_rng(0).uniform(0.02, 0.98, SHAPE).astype(dtype)
    v = amplitudes(cell, dtype)
    out = {name: np.empty_like(w) for name in ("w", "energy", "conductance")}
    x, u = Values({"w": w}), Values({"amplitude": v})
    seconds = _medians(
        {
            "naive": lambda: naive(w, v),
            "update": lambda: cell.update(w, v),
            "numpy": lambda: plain.update(w, v),
            "kernel": lambda: kernel.run(w, v, shape=SHAPE, energy=True, out=out, threads=THREADS),
            "step": lambda: cell.step(x, u, out=out),
        }
    )
    peaks = {}
    for name, call in (("update", lambda: cell.update(w, v)), ("step", lambda: cell.step(x, u, out=out))):
        tracemalloc.start()
        kept = call()
        peaks[name] = tracemalloc.get_traced_memory()[1] / w.nbytes
        tracemalloc.stop()
        del kept
    return {
        f"updates_per_s_{dtype}": w.size / seconds["update"],
        f"naive_per_s_{dtype}": w.size / seconds["naive"],
        f"times_naive_{dtype}": seconds["naive"] / seconds["update"],
        f"numpy_per_s_{dtype}": w.size / seconds["numpy"],
        f"compiled_differs_{dtype}": float(np.max(np.abs(cell.update(w, v) - plain.update(w, v)))),
        f"step_per_s_{dtype}": w.size / seconds["step"],
        f"step_over_kernel_{dtype}": seconds["step"] / seconds["kernel"],
        **{f"arrays_of_memory_of_{name}_{dtype}": peak for name, peak in peaks.items()},
    }


def speed_up(cell: Surrogate) -> Figures:
    """Events of a plain cell and of one with a spline, over those of ngspice (module docstring)."""
    (entry,) = cell.map.inputs.values()
    rng = np.random.default_rng(0)

    def train(count: int) -> Callable[[Simulator], object]:
        drawn = random_inputs(entry, rng, count=count, name="amplitude", span=entry.range)
        events = xr.Dataset({"amplitude": (EVENT, drawn, {"units": entry.unit}), "w_before": 0.5})
        return lambda one: reference_for(cell.map, one).respond(cell.parameters, cell.map, events)

    short, long = (spice_seconds(train(count)) for count in TRAIN)
    each = (long - short) / (TRAIN[1] - TRAIN[0])
    w, v = rng.uniform(0.0, 1.0, SPLINED), rng.uniform(*entry.range, SPLINED)
    rest = {"w": 1e-3 * np.sin(3.0 * w) * v, "energy": 1e-16 * v**2}
    law = fit(
        {"w": w, "amplitude": v}, rest, scales={"w": 1.0, "energy": 1e-14}, rng=rng, kinds=["spline"],
        ranges={"w": (0.0, 1.0), "amplitude": entry.range},
    ).law  # fmt: skip
    return {
        "ngspice_s_per_event": each,
        **{
            f"speed_up{what}_{dtype}": each / step_seconds(one.with_(dtype=dtype))
            for what, one in (("", cell), ("_with_spline", cell.with_(learned=law)))
            for dtype in PRECISIONS
        },
    }


def measure(tell: Report) -> Figures:
    """All figures."""
    figures: Figures = {}
    for dtype in PRECISIONS:
        tell(f"speed in {dtype}")
        figures |= speed(dtype)
    tell("coverage on a loop in Python")
    figures |= coverage(Surrogate(ParameterSet.load("tio2")), Loop(), rollouts=LOOP_RUNS, label="loop")[-1]
    tell("error and coverage of the 1T1R cell on ngspice")
    cell = Surrogate(ParameterSet.load("tio2").for_device("cell_1t1r"))
    runs = int(os.environ.get("COSIM_SURROGATES_RUNS", SPICE_RUNS))
    with open_simulator() as simulator:
        made, held, found = coverage(cell, reference_for(cell.map, simulator), rollouts=runs, label="spice")
    certificate = made.certificate
    assert certificate is not None
    for name, error in certificate.errors.items():
        assert error.median is not None
        assert error.p95 is not None
        parts = (("median", error.median), ("p95", error.p95), ("max", error.max))
        figures |= {f"{name}_{part}_percent": 100.0 * value / error.full_scale for part, value in parts}
        if name in certificate.simulator:
            figures[f"{name}_of_ngspice"] = certificate.simulator[name].max / error.full_scale
    single = stepped(made.with_(dtype="float32", compiled=True), held.events)
    for name, error in certificate.errors.items():
        if name in single:
            shares = np.abs(single[name] - held[name]) / error.full_scale
            figures[f"{name}_p95_percent_float32"] = 100.0 * float(np.quantile(shares, 0.95))
    tell("speed of the 1T1R cell")
    figures |= speed_up(cell) | found
    return {**figures, "targets_missed": missed(figures, TARGETS)}


SPEED_UPS = tuple(f"speed_up{what}_{dtype}" for what in ("", "_with_spline") for dtype in PRECISIONS)
TARGETS: Mapping[str, Target] = MappingProxyType(
    {
        **of_error("w", STATE),
        **of_error("conductance", STATE),
        **of_error("energy", ENERGY),
        **{f"updates_per_s_{dtype}": UPDATES[dtype] for dtype in PRECISIONS},
        **dict.fromkeys(SPEED_UPS, SPEED_UP),
        **{
            f"{name}_p95_percent_float32": (None, target)
            for name, target in (("w", STATE), ("conductance", STATE), ("energy", ENERGY))
        },
    }
)
LIMITS: Mapping[str, Target] = MappingProxyType(
    {
        **TARGETS,
        # Claimed is ten times what the published surrogates of circuits reach at most (LASANA, arXiv 2507.10748);
        # `targets_missed` says that the target is not reached.
        **dict.fromkeys(SPEED_UPS, (1e4, None)),
        "compiled_differs_float32": (None, 1e-6),
        "compiled_differs_float64": (None, 1e-12),
        **{f"intervals_{word}_{label}": (None, 0) for word in ("below", "above") for label in ("spice", "loop")},
        "intervals_undecided_loop": (None, 0),
        "intervals_undecided_soon_spice": (None, 0),
        # w and energy after one event, and after each of three lengths
        "intervals_spice": (8, None),
        "intervals_loop": (8, None),
        "times_naive_float32": (1.5, None),
        "times_naive_float64": (1.5, None),
        "step_over_kernel_float32": (None, 1.5),
        "step_over_kernel_float64": (None, 1.5),
        **{f"arrays_of_memory_of_{name}_{dtype}": (None, 3.0) for name in ("update", "step") for dtype in PRECISIONS},
    }
)

SURROGATES = Claim(
    "surrogates",
    "the surrogate of a 1T1R cell follows ngspice on events held out; its 95 % intervals and those of a loop in Python "
    "hold of each quantity, where the runs are enough to tell; arrays of cells run at memory's pace",
    measure,
    LIMITS,
)
