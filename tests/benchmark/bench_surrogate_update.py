"""Cell updates per second of the pulse surrogate, against the same law written out over the whole array.

784 × 200 cells, one voltage a row, every pulse above threshold, half of the rows of each polarity. Both run one after
the other, again and again, in one process; no call of either starts a thread, and processor time is counted, which
other work on the machine changes less. The median of the ratios is the result:

    python tests/benchmark/bench_surrogate_update.py [--json]
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from itertools import product

import numpy as np

from cosim.parameters import ParameterSet
from cosim.surrogate.model import Surrogate

SHAPE = (784, 200)
Update = Callable[[np.ndarray, np.ndarray], np.ndarray]


def naive_published(surrogate: Surrogate) -> Update:
    """The published map as its formula reads, both polarities over the whole array, then masked."""
    p = surrogate.values

    def update(w: np.ndarray, v: np.ndarray) -> np.ndarray:
        f_p = np.power(1 - w, p.gamma_p)
        f_n = np.where(w > 0.01, np.power(w, p.gamma_n), 1)
        k_p = np.abs(np.exp(-p.alpha_p * (v + p.theta_p)) - 1)
        k_n = np.abs(np.exp(p.alpha_n * (v - p.theta_n)) - 1)
        return np.clip(w + (v < -p.theta_p) * f_p * k_p - (v > p.theta_n) * f_n * k_n, 0, 1)

    return update


def naive_rate(surrogate: Surrogate) -> Update:
    """The rate law's closed form over a trapezoid, both polarities over the whole array, then chosen."""
    p, shape = surrogate.values, surrogate.map.pulse.shape

    def drive(v: np.ndarray, theta: float, alpha: float) -> np.ndarray:
        excess = np.maximum(v - theta, 0)
        k = np.exp(alpha * excess) - 1
        return (k * shape.width + shape.edges * (k / alpha - excess) / np.maximum(v, theta)) / p.t_event

    def left(u: np.ndarray, gamma: float, s: np.ndarray) -> np.ndarray:
        g = gamma - 1
        u = np.maximum(u, 1e-6)
        return u * np.power(np.maximum(1 + g * s * np.power(u, g), 0), -1 / g)

    def update(w: np.ndarray, v: np.ndarray) -> np.ndarray:
        up = 1 - left(1 - w, p.gamma_p, drive(-v, p.theta_p, p.alpha_p))
        down = left(w, p.gamma_n, drive(v, p.theta_n, p.alpha_n))
        return np.clip(np.where(v < 0, up, down), 0, 1)

    return update


def amplitudes(surrogate: Surrogate, dtype: str) -> np.ndarray:
    """(784, 1) V, all above threshold, either sign in random order."""
    rng = np.random.default_rng(1)
    p = surrogate.values
    excess = rng.uniform(0.05, 0.6, SHAPE[0])
    v = np.where(rng.random(SHAPE[0]) < 0.5, -(p.theta_p + excess), p.theta_n + excess)
    return v.astype(dtype)[:, None]


def measure(law: str, dtype: str, *, pairs: int = 40, compiled: bool = False) -> dict[str, float | str]:
    """Updates per second of both, and the median ratio of interleaved runs."""
    name = {"rate": "pulse"}.get(law, law)
    surrogate = Surrogate(ParameterSet.load("tio2"), name, dtype=dtype, compiled=compiled)
    naive = (naive_published if law == "published" else naive_rate)(surrogate)
    w = np.random.default_rng(0).uniform(0.02, 0.98, SHAPE).astype(dtype)
    v = amplitudes(surrogate, dtype)
    difference = float(np.max(np.abs(naive(w, v) - surrogate.update(w, v))))
    times: dict[str, list[float]] = {"naive": [], "surrogate": []}
    for k in range(pairs):
        order = (("naive", naive), ("surrogate", surrogate.update))
        for name, run in order if k % 2 else order[::-1]:
            start = time.process_time()
            run(w, v)
            times[name].append(time.process_time() - start)
    ratios = [a / b for a, b in zip(times["naive"][2:], times["surrogate"][2:], strict=True)]
    return {
        "law": f"{law}, compiled" if compiled else law,
        "dtype": dtype,
        "naive_per_s": w.size / statistics.median(times["naive"]),
        "surrogate_per_s": w.size / statistics.median(times["surrogate"]),
        "ratio": statistics.median(ratios),
        "max_difference": difference,
    }


def main() -> None:
    """Print one line per law and dtype."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    choices = product((False, True), ("published", "rate"), ("float64", "float32"))
    rows = [measure(law, dtype, compiled=compiled) for compiled, law, dtype in choices]
    if parser.parse_args().json:
        json.dump(rows, sys.stdout)
        print()
        return
    for row in rows:
        print(
            f"{row['law']:<20} {row['dtype']:<8} naive {row['naive_per_s']:.2e}/s  surrogate "
            f"{row['surrogate_per_s']:.2e}/s  ratio {row['ratio']:.2f}  max |difference| {row['max_difference']:.1e}"
        )


if __name__ == "__main__":
    main()
