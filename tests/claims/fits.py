"""How well and how fast cosim fits: every measured curve that it knows, beside others; times of whole extractions.

Errors are RMS over the range of the whole curve, of rows that no fit has seen (`held_out` of the shipped recipe). The
polynomials have as many coefficients as the recipe has fitted parameters, and the same rows. aihwkit's
`fit_measurements` gets the same ramps; it cannot leave out rows in the middle of a ramp, so that of gong2018 it is
given the held-out blocks as well. It models pulses, not tables of steps or transfer curves.

Times are of the processor, not of the clock: medians over curves that are fitted in turns by all.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from scipy.optimize import least_squares

from claims.base import Claim, Figures, Report
from claims.coverage import NumpyLab
from claims.fits_peers import aihwkit, compiled_train, lmfit_loop, polynomial
from cosim.data import datasets
from cosim.data.recording import Recording
from cosim.devices.base import Array
from cosim.fitting.extract import extract
from cosim.fitting.joint import extract_joint
from cosim.fitting.joint_recipe import JointRecipe, load_recipe
from cosim.fitting.laws import LAWS
from cosim.fitting.recipe import FitRecipe
from cosim.fitting.result import FitResult
from cosim.parameters import ParameterSet
from cosim.resources import find

CURVES = ("crosssim_set", "gong2018", "enode_increasing", "enode_decreasing")
NAMES = ("theta_p", "theta_n", "alpha_p", "alpha_n", "gamma_p", "gamma_n")
FITS, PULSES = 10, 500
WARM = 40  # fits after which a process has compiled the pulse


def _share(error: Array, measured: Array) -> float:
    """RMS over the range."""
    return float(np.sqrt(np.mean(error**2)) / np.ptp(measured))


def _polynomials(found: FitResult) -> dict[str, float]:
    """Held-out errors of polynomials with as many coefficients as the law has parameters."""
    curve, y, out = found.curve, found.curve.measured, found.held_out
    count = len(found.names)
    if curve.kind != "equal pulses":
        x = curve["conductance"]
        one = polynomial(x, y, ~out, parameters=count, part=np.zeros(y.size, dtype=np.int64))
        return {"polynomial": _share((one - y)[out], y)}
    x, part = curve["pulse"], (curve["polarity"] > 0).astype(np.int64)
    ramp = np.unique(curve["ramp"], return_inverse=True)[1]
    first = y[[np.flatnonzero(ramp == r)[np.argmin(x[ramp == r])] for r in range(ramp.max() + 1)]][ramp]
    plain = polynomial(x, y, ~out, parameters=count, part=part)
    moved = first + polynomial(x, y - first, ~out, parameters=count, part=part)
    return {
        "polynomial": _share((plain - y)[out], y),
        "polynomial_from_first_read": _share((moved - y)[out], y),
    }


def _aihwkit(found: FitResult) -> Figures:
    """The same ramps, fitted by aihwkit; its prediction of the held-out rows."""
    curve, y, out = found.curve, found.curve.measured, found.held_out
    middle, half = 0.5 * (y.max() + y.min()), 0.5 * float(np.ptp(y))
    scaled, sign = (y - middle) / half, curve["polarity"]
    ramp = np.unique(curve["ramp"], return_inverse=True)[1]
    rows = [np.flatnonzero(ramp == r) for r in range(ramp.max() + 1)]
    both = bool(np.ptp(sign))
    whole = np.array([out[one].all() for one in rows])
    if whole.any():
        asked = [one for one, gone in zip(rows, whole, strict=True) if gone]
        fitted = [one for one, gone in zip(rows, whole, strict=True) if not gone]
    else:
        asked = fitted = rows
    step = float(np.median([abs(scaled[one][-1] - scaled[one][0]) / one.size for one in fitted]))
    traces = [[(sign[one], scaled[one]) for one in part] for part in (fitted, asked)]
    told = aihwkit(*traces, step=step, both=both)
    if isinstance(told, str):
        return {"aihwkit": told}
    error = np.zeros(y.size)
    for one, predicted in zip(asked, told["predicted"], strict=True):
        error[one] = half * (np.array(predicted) - scaled[one])
    said = {
        "aihwkit": _share(error[out], y),
        "aihwkit_device": told["device"],
        "aihwkit_parameters": told["parameters"],
    }
    return said if whole.any() else said | {"aihwkit_was_given_the_held_out_rows": True}


def _by_law(recipe: FitRecipe, curve: Recording) -> list[FitResult]:
    """The same rows by each law that belongs to no device."""
    fits = []
    for law in LAWS.get(curve.kind, ()):
        body = {"name": recipe.name, "law": law.name, "data": {"kind": curve.kind}, "held_out": recipe.held_out,
                "noise": recipe.noise}  # fmt: skip
        vary = [entry.name for entry in law.params(curve[law.over], curve.measured, "S", "S") if np.ptp(entry.bounds)]
        fits.append(extract(FitRecipe.model_validate({**body, "fit": {"vary": vary}}), curve))
    return fits


def _one(name: str) -> Figures:
    """The row of one curve; of steps of unknown pulses that of the device or law with the lowest AICc."""
    recipe = load_recipe(find("fits", name, suffix=".toml"))
    assert isinstance(recipe, FitRecipe)
    began = time.process_time()
    device = extract(recipe)
    took = time.process_time() - began
    curve, out = device.curve, device.held_out
    found = min([device, *_by_law(recipe, curve)], key=lambda one: one.criteria.aicc)
    row: Figures = {
        "cosim": _share((found.predicted - curve.measured)[out], curve.measured),
        "cosim_device": _share((device.predicted - curve.measured)[out], curve.measured),
        "law": found.recipe.law or found.choice or recipe.device,
        "parameters": len(found.names),
        **_polynomials(found),
        "verdict": found.verdict.summary,
        "cpu_seconds": round(took, 2),
    }
    return row | (_aihwkit(found) if curve.kind == "equal pulses" else {"aihwkit": "models pulses, not steps"})


def _oect() -> Figures:
    """The row of the transfer curve: two observations, each with a polynomial of half the parameters."""
    recipe = load_recipe(find("fits", "oect_transfer", suffix=".toml"))
    assert isinstance(recipe, JointRecipe)
    found = extract_joint(recipe)
    stage = found.stages[-1]
    predicted = stage.forward.predict(stage.values)
    x, y = (np.concatenate([one.recording[c] for one in found.observations]) for c in ("voltage", "current"))
    out = np.concatenate([one.held_out for one in found.observations])
    part = np.concatenate([np.full(len(one.recording), k) for k, one in enumerate(found.observations)])
    count = len(stage.problem.names)
    return {
        "cosim": _share((predicted[: y.size] - y)[out], y),
        "law": "two-level doping, a midpoint for each direction",
        "parameters": count,
        "polynomial": _share((polynomial(x, y, ~out, parameters=count, part=part) - y)[out], y),
        "verdict": stage.verdict.summary,
        "aihwkit": "models pulses, not transfer curves",
    }


def real_data(report: Report) -> dict[str, Figures]:
    """Held-out errors of every measured curve on this machine."""
    rows: dict[str, Figures] = {}
    for name in (*CURVES, "oect_transfer"):
        if datasets.locate(name).path is None:
            continue
        report(f"fits: {name}")
        rows[name] = _oect() if name == "oect_transfer" else _one(name)
    return rows


def _seconds(call: Callable[[], Any]) -> float:
    began = time.process_time()
    call()
    return time.process_time() - began


def train_times(*, fits: int = FITS, pulses: int = PULSES) -> Figures:
    """CPU time of whole extractions from trains, of bare least squares on compiled code, and of a Python loop."""
    truth = ParameterSet.load("tio2").resolved()
    lab = NumpyLab("threshold_memristor", truth, pulses=pulses)
    start = dict(zip(NAMES, (1.4, 1.5, 0.9, 1.0, 1.2, 1.2), strict=True))
    recipe = FitRecipe.model_validate({
        "name": "train", "device": "threshold_memristor", "data": {"kind": "pulse train"},
        "start": {"sets": ["tio2"], "values": start}, "fit": {"vary": NAMES},
    })  # fmt: skip
    compiled, x0, shape = compiled_train(), np.array(list(start.values())), lab.shape
    seconds: dict[str, list[float]] = {"whole": [], "bare": [], "loop": []}
    apart = []
    for seed in range(WARM):
        extract(recipe, lab(np.random.default_rng(seed)))
    for seed in range(fits + 1):
        curve = lab(np.random.default_rng(seed))
        v, read = curve["amplitude"], curve["read"]
        sigma = float(np.std(read))

        def residual(x: Array, law: Any, v: Array = v, read: Array = read, sigma: float = sigma) -> Array:
            args = (shape.width, shape.edges, float(truth.t_event), float(truth.g_max), float(truth.ratio))
            return np.asarray((law(x, v, *args, float(truth.w0), np.empty(v.size)) - read) / sigma)

        residual(x0, compiled)
        found: dict[str, Any] = {}

        def whole(curve: Recording = curve, found: dict[str, Any] = found) -> None:
            found["whole"] = extract(recipe, curve)

        def bare(found: dict[str, Any] = found, residual: Any = residual) -> None:
            found["bare"] = least_squares(residual, x0, args=(compiled,))

        def loop(residual: Any = residual) -> None:
            lmfit_loop(lambda x: residual(x, compiled.py_func), NAMES, x0)

        took = {"whole": _seconds(whole), "bare": _seconds(bare), "loop": _seconds(loop)}
        if seed == 0:  # warms up
            continue
        for name, value in took.items():
            seconds[name].append(value)
        best = np.array([float(found["whole"].values[name]) for name in NAMES])
        apart.append(float(np.max(np.abs(found["bare"].x / best - 1.0))))
    median = {name: statistics.median(values) for name, values in seconds.items()}
    return {
        "extract_cpu_ms": 1e3 * median["whole"],
        "bare_compiled_cpu_ms": 1e3 * median["bare"],
        "python_loop_cpu_ms": 1e3 * median["loop"],
        "extract_over_bare": median["whole"] / median["bare"],
        "extract_over_python_loop": median["whole"] / median["loop"],
        "bare_apart": statistics.median(apart),
    }


def ramp_seconds() -> Figures:
    """CPU time of the 39 ramps: the recipe with its six candidates, and a joint fit with a start of each ramp's own."""
    curve = datasets.load("crosssim_set")
    read, ramp = curve["read"], curve["ramp"]
    low, high = float(read.min()), float(read.max())
    data = {f"r{k:g}": Recording.equal_pulses([read[ramp == k]], polarity=[1], unit="S") for k in np.unique(ramp)}
    values = {"low": low, "high": high, "strength_p": 0.01, "gamma_p": 0.5, "start_p": 0.05}
    one = {
        "kind": "equal pulses", "ramps": {"course": "accelerating", "start": "shared"}, "values": values,
        "held_out": {"rule": "points", "every": 4},
    }  # fmt: skip
    joint = JointRecipe.model_validate({
        "name": "ramps", "device": "threshold_memristor", "observations": [{"name": name, **one} for name in data],
        "parameters": {"strength_p": {}, "gamma_p": {}, "start_p": {"scope": "own"}},
    })  # fmt: skip
    recipe = FitRecipe.load(find("fits", "crosssim_set.toml"))
    extract_joint(JointRecipe.model_validate({**joint.model_dump(), "observations": joint.observations[:2]}), data)
    shared = _seconds(lambda: extract(recipe, curve))
    own = _seconds(lambda: extract_joint(joint, data))
    return {"ramps_candidates_cpu_s": shared, "ramps_own_cpu_s": own}


def worse_than_polynomial(rows: Mapping[str, Figures]) -> list[str]:
    """The curves of which a polynomial of as many coefficients predicts the held-out rows better."""
    return sorted(name for name, row in rows.items() if not row["cosim"] <= row["polynomial"])


def measure(report: Report) -> Figures:
    """The table, and the times."""
    report("fits: times")
    figures: Figures = train_times()
    if datasets.locate("crosssim_set").path is not None:
        figures |= ramp_seconds()
    rows = real_data(report)
    laws = {name: row["cosim"] for name, row in rows.items()}
    worse = worse_than_polynomial(rows)
    return figures | {
        "curves": len(rows), "held_out": laws, "worse": len(worse), "worse_than_polynomial": worse, "table": rows,
    }  # fmt: skip


FITS_CLAIM = Claim(
    "fits",
    "every measured curve is fitted beside others, and none is predicted better by a polynomial of as many "
    "coefficients; 39 ramps with own parameters and verdict take at most 5 s",
    measure,
    {"curves": (5, None), "worse": (None, 0), "ramps_candidates_cpu_s": (None, 5.0), "ramps_own_cpu_s": (None, 5.0)},
)
