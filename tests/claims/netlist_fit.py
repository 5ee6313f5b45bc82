"""A fit through ngspice: six parameters of a 1T1R cell, its transistor included, from a noisy pulse train.

How far a parameter may be off is a matter of its standard error: the largest of six errors exceeds `FAR` standard
errors in one fit of a thousand (normal, six of them by Bonferroni). ``off_percent`` has no other limit.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from scipy import stats

from claims.base import Claim, Figures, Report
from cosim.bench.testbench import Testbench
from cosim.fitting.experiment import pulse_experiment
from cosim.fitting.extract import extract
from cosim.fitting.forwards.circuit import CircuitForward
from cosim.fitting.recipe import FitRecipe

BENCH, PULSES, NOISE, SEED = "1t1r_random_pulses", 150, 0.005, 0
# Off the bench's values, from where the fit starts: of the memristor, and the width of the access transistor (m).
TRUTH = {"theta_p": 1.5, "theta_n": 1.4, "alpha_p": 0.8, "gamma_p": 1.35, "g_max": 170e-6}
WIDTH = 4e-6
FAR = float(stats.norm.ppf(1.0 - 1e-3 / (2 * (len(TRUTH) + 1))))  # 3.76


@contextmanager
def _empty_cache() -> Iterator[None]:
    kept = os.environ.get("COSIM_CACHE")
    with tempfile.TemporaryDirectory(prefix="cosim-") as folder:
        os.environ["COSIM_CACHE"] = folder
        try:
            yield
        finally:
            if kept is None:
                del os.environ["COSIM_CACHE"]
            else:
                os.environ["COSIM_CACHE"] = kept


def measure(tell: Report) -> Figures:
    """Time, simulations and errors of the fit with two workers, and the time of the same fit from the cache."""
    tell("measuring the cell")
    bench = Testbench.load(BENCH).with_(
        stimuli={"bl": {"count": PULSES, "conditioning": 8, "seed": 5}}, parameters={"width": WIDTH},
        values={"memristor": TRUTH},
    )  # fmt: skip
    curve = pulse_experiment(bench).noisy(np.random.default_rng(SEED), noise=NOISE)
    body: dict[str, Any] = {
        "name": "cell", "device": "threshold_memristor", "data": {"kind": "pulse train"},
        "circuit": {"bench": BENCH, "read": "conductance", "drive": "bl", "workers": 2},
        "start": {"sets": ["tio2"]}, "fit": {"vary": (*TRUTH, "width")},
    }  # fmt: skip
    recipe = FitRecipe.model_validate(body)
    with _empty_cache():
        tell("fitting through ngspice")
        began = time.perf_counter()
        found = extract(recipe, curve)
        seconds = time.perf_counter() - began
        tell("the same from the cache")
        began = time.perf_counter()
        again = extract(recipe, curve)
        cached = time.perf_counter() - began
    assert isinstance(found.forward, CircuitForward)
    assert isinstance(again.forward, CircuitForward)
    truth = {**TRUTH, "width": WIDTH}
    off = {name: abs(float(found.values[name]) - true) for name, true in truth.items()}
    errors = [by / (found.uncertainty.stderr(name) or 1e-300) for name, by in off.items()]
    return {
        "parameters": len(truth),
        "fit_seconds": round(seconds, 2),
        "simulations": found.forward.runs.simulated,
        "from_the_cache_seconds": round(cached, 2),
        "simulated_again": again.forward.runs.simulated,
        "off_in_standard_errors": round(max(errors), 2),
        "off_percent": round(100.0 * max(by / abs(truth[name]) for name, by in off.items()), 2),
        "identifiable": sum(row.verdict.status == "identifiable" for row in found.rows()),
        "moves_when_tightened": float(f"{found.forward.departure(found.values):.2g}"),
    }


NETLIST_FIT = Claim(
    "netlist_fit",
    "six parameters of a 1T1R cell are fitted through ngspice in minutes on two cores, and no simulation is done twice",
    measure,
    {
        "parameters": (6, None),
        "fit_seconds": (None, 180.0),
        "simulations": (1, None),  # else there is nothing that could be done twice
        "simulated_again": (0, 0),
        "off_in_standard_errors": (None, FAR),
        "identifiable": (6, None),
        "moves_when_tightened": (None, 1e-3),  # of the range; a fifth of the noise
    },
)
