"""What cosim's fits are held against: polynomials, aihwkit in an environment of its own, and bare optimisers."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lmfit
import numpy as np
from numpy.typing import NDArray

from cosim.devices.base import Array

Rows = NDArray[np.bool_]
# Names the interpreter of an environment with aihwkit, its extra "fitting" and torch.
AIHWKIT = "COSIM_AIHWKIT"
WALL = 900.0  # s for one set of traces


def polynomial(x: Array, y: Array, fitted: Rows, *, parameters: int, part: NDArray[np.int64]) -> Array:
    """Predictions (n,) of one polynomial of ``x`` for each ``part``, which have ``parameters`` coefficients in all."""
    parts = np.unique(part)
    found = np.empty(y.size)
    for k, one in enumerate(parts):
        rows = part == one
        count = parameters // parts.size + (k < parameters % parts.size)
        centre, span = float(x[rows].mean()), float(np.ptp(x[rows])) or 1.0
        shape = np.vander(2.0 * (x[rows] - centre) / span, count)
        found[rows] = shape @ np.linalg.lstsq(shape[fitted[rows]], y[rows][fitted[rows]], rcond=None)[0]
    return found


# The traces start at their own first read, as `fit_measurements` has it; what it returns is the traces' prediction.
_SCRIPT = """
import json, sys
import numpy as np
from aihwkit.simulator.configs.devices import LinearStepDevice, SoftBoundsDevice
from aihwkit.utils.fitting import fit_measurements, model_response
from aihwkit.simulator.configs.configs import SingleRPUConfig
told = json.load(sys.stdin)
fitted, asked = (
    [tuple(np.array(column, dtype="float32") for column in columns) for columns in zip(*told[part])]
    for part in ("fitted", "asked")
)
both = told["both"]
size = {"dw_min": (told["step"], told["step"] / 30, told["step"] * 30)}
size |= {"up_down": (0.0, -0.95, 0.95)} if both else {}
slopes = {"gamma_up": (0.0, -3.0, 3.0)} | ({"gamma_down": (0.0, -3.0, 3.0)} if both else {})
ends = {"w_max": (1.1, 0.2, 4.0), "w_min": (-1.1, -4.0, -0.2) if both else -1.1}
devices = {
    "SoftBounds": (SoftBoundsDevice(), size | ends),
    "LinearStep": (LinearStepDevice(allow_increasing=True), size | slopes | {"w_max": 1.2, "w_min": -1.2}),
}
best = None
for name in told["devices"]:
    device, parameters = devices[name]
    limits = {"method": told["method"], "max_nfev": told["evaluations"]}
    result, device, _ = fit_measurements(parameters, *fitted, device, **limits)
    free = sum(p.vary for p in result.params.values())
    if best is None or result.chisqr < best[0]:
        config = SingleRPUConfig(device=device)
        config.update.desired_bl = 1
        config.update.update_bl_management = config.update.update_management = False
        for field in vars(config.device):
            if field.endswith(("dtod", "std")):
                setattr(config.device, field, 0.0)
        said = model_response(result.params, *asked, config, verbose=False, only_response=True)
        best = (result.chisqr, {"device": name, "parameters": free, "predicted": [np.ravel(s).tolist() for s in said]})
json.dump(best[1], sys.stdout)
"""


def aihwkit(
    fitted: Sequence[tuple[Array, Array]],
    asked: Sequence[tuple[Array, Array]],
    *,
    step: float,
    both: bool,
    devices: Sequence[str] = ("SoftBounds", "LinearStep"),
    method: str = "powell",
    evaluations: int = 200,
) -> dict[str, Any] | str:
    """aihwkit's `fit_measurements` on traces (pulses ±1, reads within −1 .. 1), and its prediction of others.

    Of several of its devices the one with the smallest chi-square is taken. ``step`` is the usual one of a pulse;
    ``both``: pulses of both signs. A text instead says why there is none.
    """
    python = os.environ.get(AIHWKIT, "")
    if not Path(python).is_file():
        return f"not installed: name the interpreter of an environment with aihwkit[fitting] in {AIHWKIT}"
    told = {
        "fitted": [[column.tolist() for column in trace] for trace in fitted],
        "asked": [[column.tolist() for column in trace] for trace in asked],
        "step": step, "both": both, "devices": list(devices), "method": method,
        "evaluations": evaluations,
    }  # fmt: skip
    try:
        done = subprocess.run(
            [python, "-P", "-c", _SCRIPT], input=json.dumps(told), capture_output=True, text=True, timeout=WALL
        )
    except subprocess.TimeoutExpired:
        return f"not done within {WALL:.0f} s"
    if done.returncode:
        return f"failed: {done.stderr.strip().splitlines()[-1]}"
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def compiled_train() -> Any:
    """The rate law of a threshold memristor along a train of trapezoidal pulses, written by hand and compiled."""
    import math

    from numba import njit

    @njit(cache=False)
    def train(x, v, width, edges, t_event, g_max, ratio, w, out):  # type: ignore[no-untyped-def]
        for k in range(v.size):
            up = v[k] < 0.0
            theta, alpha, gamma = (x[0], x[2], x[4]) if up else (x[1], x[3], x[5])
            excess = abs(v[k]) - theta
            if excess > 0.0:
                strong = math.expm1(min(alpha * excess, 60.0))
                drive = (strong * width + edges * (strong / alpha - excess) / abs(v[k])) / t_event
                u = max(1.0 - w if up else w, 1e-6)
                g = gamma - 1.0
                if abs(g) < 1e-12:
                    g = 1e-12
                bracket = 1.0 + g * drive * u**g
                after = u * bracket ** (-1.0 / g) if bracket > 0.0 else 0.0
                w = 1.0 - after if up else after
            out[k] = g_max * (w * (1.0 - 1.0 / ratio) + 1.0 / ratio)
        return out

    return train


def lmfit_loop(residual: Any, names: Sequence[str], start: Array) -> Any:
    """lmfit as it is usually called: a residual of its parameters, leastsq."""
    parameters = lmfit.Parameters()
    for name, value in zip(names, start, strict=True):
        parameters.add(name, value=float(value))
    return lmfit.minimize(lambda now: residual(np.array(list(now.valuesdict().values()))), parameters)
