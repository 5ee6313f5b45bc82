"""NeuroSim: the parameters of a `RealDevice` of MLP+NeuroSim, fitted to the steps of one pulse up and of one down.

NeuroSim's cell is a conductance G = B (1 − exp(−x/A)) + G_min, of which a pulse makes x one more or one less; A and
the number of pulses N between the ends of the range are fitted for each way. Its `MeasuredDevice`, which takes a table,
goes down by the table of the way up (V3.0, `Cell.cpp`), and so is not exported. Amplitudes are those of `pulses`.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar

from cosim.devices.base import Array, Values
from cosim.errors import InputError
from cosim.export.base import CHECK, Draft, Files, Target, check_text
from cosim.export.golden import TRAIN, Levels
from cosim.export.laws import told
from cosim.export.program import subject
from cosim.export.pulses import READING, amplitudes, conductances, deviation, plain
from cosim.surrogate.model import Surrogate

MOST_BENT = 20.0  # N/|A| of NeuroSim's most bent label is 44; beyond 20 a way has two or three steps in it
WORST = 0.004  # of the range: a fifth of the largest step, by which a fitted one may be off (our choice)
READ = 0.1  # V: NeuroSim's readVoltage; the surrogate's conductance is that of a small voltage

FILE = """// The {told}, as a RealDevice of MLP+NeuroSim; surrogate {fingerprint}.
// Written by cosim. Call it at the end of the constructor of RealDevice in Cell.cpp: cosim_device(*this);
// One pulse up is {up:.6g} {unit}, one down {down:.6g} {unit}.
#ifndef COSIM_DEVICE_H_
#define COSIM_DEVICE_H_
#include "Cell.h"

inline void cosim_device(RealDevice &d) {{
{lines}
}}
#endif
"""

CHECK_BODY = '''
if len(sys.argv) < 2 or not (Path(sys.argv[1]) / "Cell.cpp").is_file():
    sys.exit("check: there is no folder with Cell.cpp: this export is for MLP+NeuroSim V3.0 (give it as --source)")
SOURCE = Path(sys.argv[1])
DRIVER = """
#include <cstdio>
#include "Cell.h"
#include "device.h"
std::mt19937 gen(0);
int main() {
    RealDevice d(0, 0);
    cosim_device(d);
    double g;
    int pulses;
    while (scanf("%lf %d", &g, &pulses) == 2) {
        if (g > 0) d.conductance = g;
        d.Write(double(pulses) / (pulses > 0 ? d.maxNumLevelLTP : d.maxNumLevelLTD), 0, 0, 1);
        printf("%.17g\\\\n", d.conductance);
    }
}
"""
ABOUT = json.loads((HERE / "device.json").read_text(encoding="utf-8"))


def pulsed(program, part):
    (state,), (given,) = GOLDEN["states"], GOLDEN["inputs"]
    start = np.interp(column(part, "before")[state], ABOUT["states"], ABOUT["conductances"])
    pulses = np.where(np.isclose(column(part, "inputs")[given], ABOUT["up"]), 1, -1)
    if part == "train":  # each begins where the last ended
        start[1:] = -1.0
    text = "".join(f"{g!r} {n}\\n" for g, n in zip(start.tolist(), pulses.tolist()))
    done = subprocess.run([program], input=text, capture_output=True, text=True, check=True)
    return {"conductance": np.array([float(line) for line in done.stdout.split()])}


with tempfile.TemporaryDirectory() as folder:
    (Path(folder) / "driver.cpp").write_text(DRIVER)
    program = str(Path(folder) / "driver")
    sources = [str(Path(folder) / "driver.cpp"), *(str(SOURCE / name) for name in ("Cell.cpp", "formula.cpp"))]
    subprocess.run(
        ["g++", "-std=c++11", "-O1", "-w", f"-I{SOURCE}", f"-I{HERE}", *sources, "-o", program], check=True
    )
    found = {part: pulsed(program, part) for part in ("events", "train")}
digest = hashlib.sha256((SOURCE / "Cell.cpp").read_bytes()).hexdigest()[:12]
report(f"V3.0 (Cell.cpp {digest})", found)
'''


@dataclass(frozen=True)
class Way:
    """One way of `RealDevice`: ``levels`` pulses between the ends, ``a`` of its law, ``worst`` difference of a step."""

    levels: int
    a: float
    worst: float


def fitted(before: Array, after: Array, *, low: float, high: float, sign: int) -> Way:
    """The way whose steps from ``before`` are nearest to ``after`` (S, n), by the largest difference.

    ``sign`` is 1 for the way up. A step is G → G + (1 − q) (c − G) with q = e^(−sign/A) and c = G_min + B.
    """

    def way(levels: int, bend: float) -> Way:
        # bend is N/A, of NeuroSim's sign; its law is linear where the bend vanishes
        bend = bend if abs(bend) > 1e-3 else 1e-3
        b = (high - low) / -np.expm1(-bend)
        x = -levels / bend * np.log1p(-(before - low) / b)
        made = np.clip(b * -np.expm1(-(x + sign) * bend / levels) + low, low, high)
        return Way(levels, levels / bend, float(np.max(np.abs(made - after))) / (high - low))

    moved = np.abs(after - before) / (high - low)
    middle = max(round(1.0 / float(np.mean(moved))), 2)
    best = None
    for levels in range(max(middle // 4, 2), 2 * middle + 2):
        found = minimize_scalar(
            lambda bend, levels=levels: way(levels, bend).worst, bounds=(-MOST_BENT, MOST_BENT), method="bounded"
        )
        here = way(levels, float(found.x))
        best = here if best is None or here.worst < best.worst else best
    assert best is not None
    return best


def ways(surrogate: Surrogate) -> tuple[Way, Way, Array, Array]:
    """Up, down, states and conductances."""
    states, scale = conductances(surrogate, "NeuroSim")
    ((given, pair),) = amplitudes(surrogate, "NeuroSim").items()
    (state,) = surrogate.map.states
    low, high = float(scale[0]), float(scale[-1])
    nominal, made = plain(surrogate), list[Way]()
    for sign, amplitude in zip((1, -1), pair, strict=True):
        after = nominal.step(Values({state: states}), Values({given: np.full(states.shape, amplitude)}))[0]
        answer = np.clip(np.asarray(nominal.read(after)[READING], dtype=float), low, high)
        made.append(fitted(scale, answer, low=low, high=high, sign=sign))
        if made[-1].worst > WORST:
            raise InputError(
                f"a pulse {'up' if sign > 0 else 'down'} of {subject(surrogate)} does not follow NeuroSim's law, which "
                f"is off by up to {made[-1].worst:.2g} of the range; {WORST:g} is allowed",
                remedy="take another target",
            )
    return made[0], made[1], states, scale


def levels(surrogate: Surrogate) -> Levels:
    """The amplitudes of a pulse up and one down, of a map that is one conductance. Raises `InputError`."""
    conductances(surrogate, "NeuroSim")
    return amplitudes(surrogate, "NeuroSim")


def write(draft: Draft) -> Files:
    """``device.h``, ``device.json`` and ``check.py``."""
    surrogate = draft.surrogate
    up, down, states, scale = ways(surrogate)
    ((given, (high, low)),) = amplitudes(surrogate, "NeuroSim").items()
    width = surrogate.map.fixed.get("width", 0.0)
    values = {
        "maxConductance": scale[-1], "minConductance": scale[0],
        "avgMaxConductance": scale[-1], "avgMinConductance": scale[0],
        "conductance": scale[0], "conductancePrev": scale[0], "readVoltage": READ,
        "writeVoltageLTP": abs(high), "writeVoltageLTD": abs(low),
        "writePulseWidthLTP": width, "writePulseWidthLTD": width,
        "maxNumLevelLTP": up.levels, "maxNumLevelLTD": down.levels, "paramALTP": up.a, "paramALTD": down.a,
        "sigmaReadNoise": 0.0, "sigmaCtoC": 0.0,
    }  # fmt: skip
    given_lines = [f"    d.{name} = {float(value)!r};" for name, value in values.items() if "Num" not in name]
    given_lines += [f"    d.{name} = {value};" for name, value in values.items() if "Num" in name]
    flags = {"nonlinearWrite": "true", "nonlinearIV": "false", "nonIdenticalPulse": "false", "readNoise": "false"}
    given_lines += [f"    d.{name} = {flag};" for name, flag in flags.items()]
    text = FILE.format(
        told=told(surrogate), fingerprint=surrogate.fingerprint()[:12], up=high, down=low,
        unit=surrogate.map.inputs[given].unit, lines="\n".join(given_lines),
    )  # fmt: skip
    about = {"up": high, "down": low, "states": states.tolist(), "conductances": scale.tolist()}
    imports = "import hashlib\n    import subprocess\n    import tempfile"
    return {
        "device.h": text,
        "device.json": json.dumps(about, indent=1) + "\n",
        CHECK: check_text(TARGET, imports=imports, body=CHECK_BODY),
    }


def lost(surrogate: Surrogate) -> list[str]:
    """What NeuroSim's law cannot say."""
    up, down, _, _ = ways(surrogate)
    ((given, (high, low)),) = amplitudes(surrogate, "NeuroSim").items()
    unit, spread = surrogate.map.inputs[given].unit, deviation(surrogate, high)
    return [
        f"every amplitude but two: a pulse up is {high:.4g} {unit}, one down {low:.4g} {unit}",
        f"the law of a step: NeuroSim's, fitted, is off by up to {up.worst:.2g} of the range on the way up and "
        f"{down.worst:.2g} on the way down",
        "noise from cycle to cycle and of reading: the surrogate has none, and the device's are set to zero",
        *(
            [f"that the logarithm of a step differs by {spread:.2g} from device to device: NeuroSim varies A alone"]
            if spread
            else []
        ),
    ]


TARGET = Target(
    "neurosim",
    "MLP+NeuroSim V3.0",
    ("numpy",),
    frozenset({"readings"}),
    write,
    lost=lost,
    tolerance=(
        WORST * math.sqrt(TRAIN),
        f"{WORST:g} of the range that a fitted step may be off, added up by {TRAIN} events as a random walk",
    ),
    levels=levels,
    source="the folder with Cell.cpp of MLP+NeuroSim V3.0",
)
