"""Surrogates: what their certificates say, whether their intervals hold on fresh events, and how fast they are.

*Error and coverage* are of the 1T1R cell against ngspice. Two certificates with free runs are made from different
seeds; the intervals of the first are held against the events of the second. As many free runs of 100 and 1000 events as
tell 95 % from 94 % would take ngspice an hour, so that these lengths are also measured on a loop in plain Python: the
published map, which the surrogate's rate law misses by some percent of the range. Two samples of n runs each leave a
standard deviation of √(2 · 0.95 · 0.05 / n), which stands beside every coverage; ``beyond`` is by how much a coverage
differs from 95 % beyond two of these deviations.

*Speed* is that of a matrix of 784 × 200 cells, one voltage a row, every pulse above threshold, on two cores, which
have to be idle. The peer of the same run is the law written out over whole arrays in numpy. The kernel computes what
`step` gives, without its checks; both write into given arrays. The figures are medians of interleaved calls; memory is
the peak that one call of `update` allocates, its result included, and one of `step` that writes into given arrays, both
in arrays of the size of the state.
"""

from __future__ import annotations

import math
import statistics
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np
import xarray as xr

from benchmark.bench_surrogate_update import SHAPE, amplitudes, naive_rate
from claims.base import Figures, Report
from cosim.devices.base import Values
from cosim.devices.maps import EventMap
from cosim.engines.registry import open_simulator
from cosim.parameters import ParameterSet
from cosim.surrogate.certify import certify, updates_per_second
from cosim.surrogate.conformal import LENGTHS
from cosim.surrogate.model import Surrogate
from cosim.surrogate.references import EVENT, Reference, reference_for

SPICE_RUNS, LOOP_RUNS = 30, 2000
CALLS = 60
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


def coverage(plain: Surrogate, reference: Reference, *, rollouts: int, label: str) -> tuple[Surrogate, Figures]:
    """The shares of fresh answers within 95 % intervals, the mean over all quantities, after each number of events."""
    first, _ = certify(plain, reference, pulses=500, rollouts=rollouts, seed=0)
    _, fresh = certify(plain, reference, pulses=500, rollouts=rollouts, seed=1)
    figures: Figures = {}
    assert first.certificate is not None
    for band in first.certificate.bands:
        shares = band.covered(fresh.after[band.events])
        mean, deviation = statistics.fmean(shares.values()), math.sqrt(2.0 * 0.95 * 0.05 / band.runs)
        figures[f"coverage_{label}_{band.events}"] = mean
        figures[f"deviation_{label}_{band.events}"] = deviation
        figures[f"beyond_{label}_{band.events}"] = max(abs(mean - 0.95) - 2.0 * deviation, 0.0)
        figures[f"runs_{label}_{band.events}"] = band.runs
    return first, figures


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
    cell = Surrogate(ParameterSet.load("tio2"), dtype=dtype, threads=THREADS)
    kernel, naive = cell.kernel, naive_rate(cell)
    assert kernel is not None
    w = np.random.default_rng(0).uniform(0.02, 0.98, SHAPE).astype(dtype)
    v = amplitudes(cell, dtype)
    out = {name: np.empty_like(w) for name in ("w", "energy", "conductance")}
    x, u = Values({"w": w}), Values({"amplitude": v})
    seconds = _medians(
        {
            "naive": lambda: naive(w, v),
            "update": lambda: cell.update(w, v),
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
        f"step_per_s_{dtype}": w.size / seconds["step"],
        f"step_over_kernel_{dtype}": seconds["step"] / seconds["kernel"],
        **{f"arrays_of_memory_of_{name}_{dtype}": peak for name, peak in peaks.items()},
    }


def measure(tell: Report) -> Figures:
    """All figures."""
    figures: Figures = {}
    for dtype in PRECISIONS:
        tell(f"speed in {dtype}")
        figures |= speed(dtype)
    tell("coverage on a loop in Python")
    figures |= coverage(Surrogate(ParameterSet.load("tio2")), Loop(), rollouts=LOOP_RUNS, label="loop")[1]
    tell("error and coverage of the 1T1R cell on ngspice")
    cell = Surrogate(ParameterSet.load("tio2").for_device("cell_1t1r"))
    with open_simulator() as simulator:
        made, found = coverage(cell, reference_for(cell.map, simulator), rollouts=SPICE_RUNS, label="spice")
    certificate = made.certificate
    assert certificate is not None
    for name, error in certificate.errors.items():
        assert error.median is not None
        assert error.p95 is not None
        parts = (("median", error.median), ("p95", error.p95), ("worst", error.max))
        figures |= {f"{name}_{part}": value / error.full_scale for part, value in parts}
        if name in certificate.simulator:
            figures[f"{name}_of_ngspice"] = certificate.simulator[name].max / error.full_scale
    figures["speed_up"] = updates_per_second(made) * (certificate.seconds_per_event or 0.0)
    return figures | found


LIMITS = MappingProxyType(
    {
        "w_p95": (None, 0.005),
        "conductance_p95": (None, 0.005),
        "energy_p95": (None, 0.03),
        **{f"beyond_{label}_{length}": (None, 0.01) for label in ("spice", "loop") for length in LENGTHS},
        "updates_per_s_float32": (2.5e8, None),
        "updates_per_s_float64": (1.2e8, None),
        "times_naive_float32": (1.5, None),
        "times_naive_float64": (1.5, None),
        "step_over_kernel_float32": (None, 1.5),
        "step_over_kernel_float64": (None, 1.5),
        **{f"arrays_of_memory_of_{name}_{dtype}": (None, 3.0) for name in ("update", "step") for dtype in PRECISIONS},
        "speed_up": (1e3, None),
    }
)
