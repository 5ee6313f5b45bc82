"""A folder of eight instrument files becomes a report without a recipe: each is recognised, fitted and judged.

The files are of eight formats and hold six kinds of measurement, simulated with known parameters and a seed. The folder
goes through the command as a user types it, in a process of its own.

Of 95 % intervals of so many truths, taken as independent, `LEAST` or more hold theirs in 99 of 100 such folders (a
binomial distribution): of 11 that is 8. Fewer than 8 are one folder in 640, fewer than 9 would be one in 66.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from scipy import stats

from claims.base import Claim, Figures, Report
from cosim.data.recording import Curve
from cosim.devices.base import Array
from cosim.devices.registry import device
from cosim.fitting.forward import forward_for
from cosim.packages import process_unchanged
from instruments import MAKERS, Sweep

SEED = 10
SECONDS = 60.0


@dataclass(frozen=True)
class Kept:
    """A file: how it is written, what it has to be taken for, what describes it, and parameters that are known."""

    write: Callable[[Path], None]
    shape: str
    kept: str
    truth: Mapping[str, float] = field(default_factory=dict)


def _rng(stream: int) -> np.random.Generator:
    return np.random.default_rng([SEED, stream])


VTEAM = {
    "v_on": -0.6, "v_off": 0.5, "k_on": -3e-8, "k_off": 2.5e-8, "alpha_on": 2.0, "alpha_off": 2.0, "r_on": 2e3,
    "r_off": 2e4, "x0": 0.8,
}  # fmt: skip


def _loop(t: Array, v: Array, stream: int) -> Sweep:
    """A VTEAM device along a voltage, read with 0.5 % of noise."""
    model = device("vteam")
    blank = Curve.loop(t, v, np.zeros(t.size))
    i = forward_for(model, blank, np.ones(t.size, dtype=bool)).predict(model.values(VTEAM))
    return Sweep(t, np.round(v, 5), i + 5e-3 * np.ptp(i) * _rng(stream).standard_normal(t.size))


def _triangle(t: Array, top: float, bottom: float) -> Array:
    """Two periods of a triangle from 0 to ``top``, ``bottom`` and 0 over ``t``; the second a third larger."""
    share = (2.0 * t / t[-1]) % 1.0
    size = np.where(t < 0.5 * t[-1], 0.75, 1.0)
    return np.asarray(size * np.interp(share, [0.0, 0.25, 0.75, 1.0], [0.0, top, bottom, 0.0]))


def hysteresis(path: Path) -> None:
    """A Keithley 2600 with a loop of two amplitudes."""
    t = np.linspace(0.0, 4.0, 241)
    MAKERS["Keithley 2600"].write(path, _loop(t, _triangle(t, 1.2, -1.4), 1))


def pulses_in_time(path: Path) -> None:
    """An oscilloscope with a device under four pulses and reads between them, that triggered at the first pulse."""
    t = np.linspace(0.0, 1.0, 121)
    v = np.full(t.size, 0.1)
    for k, level in enumerate((-1.0, 0.9, -1.3, 1.2)):
        v[(t >= 0.1 + 0.22 * k) & (t < 0.2 + 0.22 * k)] = level
    made = _loop(t, v, 2)
    MAKERS["Tektronix MSO"].write(path, replace(made, time=t - 0.1))


TRIODE = {"g_on": 4e-3, "v_sat": 2.0, "v_c": 2.5}


def transistor(path: Path) -> None:
    """A B1500 with an access transistor."""
    v = np.round(np.concatenate([np.linspace(-0.4, 1.6, 51), np.linspace(1.6, -0.4, 51)[1:]]), 4)
    model = device("access_transistor")
    i = forward_for(model, Curve.i_v(v, 0.0 * v), np.ones(v.size, dtype=bool)).predict(model.values(TRIODE))
    i = i + 2e-3 * np.ptp(i) * _rng(0).standard_normal(v.size)
    MAKERS["EasyEXPERT"].write(path, Sweep(1e-3 * np.arange(v.size), v, i))


def retention(path: Path) -> None:
    """A Keithley 2400 that reads at 0.1 V for hours: a drift of t^−0.04."""
    t = np.logspace(0.0, 4.0, 61)
    g = 50e-6 * t**-0.04 * (1.0 + 2e-3 * _rng(3).standard_normal(t.size))
    MAKERS["Keithley 2400"].write(path, Sweep(t, np.full(t.size, 0.1), 0.1 * g))


TIO2 = {"theta_p": 1.4323, "theta_n": 1.5643, "alpha_p": 0.679, "alpha_n": 0.7637, "g_max": 200e-6, "ratio": 7.5}


def random_pulses(path: Path) -> None:
    """MATLAB's file of random pulses and reads of a threshold memristor."""
    from scipy.io import savemat

    from claims.coverage import NumpyLab

    model = device("threshold_memristor")
    curve = NumpyLab("threshold_memristor", model.values(TIO2), pulses=300, noise=0.01)(_rng(4))
    with process_unchanged():
        savemat(path, {"V": curve["amplitude"], "G": curve["read"]})


def paired(path: Path) -> None:
    """Semicolons and decimal commas: a ratio over the interval of two pulses."""
    x = np.logspace(-3.0, 0.0, 31)
    y = 1.0 + 0.8 * np.exp(-x / 0.06) + 0.01 * _rng(5).standard_normal(x.size)
    rows = "".join(f"{1e3 * a:.5f};{100 * b:.3f}\r\n".replace(".", ",") for a, b in zip(x, y, strict=True))
    path.write_bytes(f"Intervall dt (ms);PPF ratio (%)\r\n{rows}".encode("cp1252"))


def trains(path: Path) -> None:
    """Tabs, µS and a byte-order mark: three cycles of 40 pulses up and 40 down."""
    n = np.arange(40.0)
    ends, reads = [0.0], []
    for _ in range(3):
        for up in (True, False):
            start, goal = ends[-1], 1.0 if up else 0.0
            course = goal + (start - goal) * np.exp(-n * (0.06 if up else 0.09))
            reads.append(course)
            ends.append(float(course[-1]))
    y = 20.0 + 60.0 * np.concatenate(reads)
    y = y + 0.3 * _rng(6).standard_normal(y.size)
    rows = "".join(f"{k}\t{g:.4f}\n" for k, g in enumerate(y))
    path.write_text(f"\ufeffPulse number\tConductance (µS)\n{rows}", encoding="utf-8")


def endurance(path: Path) -> None:
    """Comment lines and kOhm: both states over 300 cycles."""
    rng = _rng(7)
    high, low = 900.0 * np.exp(0.1 * rng.standard_normal(300)), 8.0 * np.exp(0.05 * rng.standard_normal(300))
    rows = "".join(f"{k},{a:.5g},{b:.5g}\n" for k, (a, b) in enumerate(zip(high, low, strict=True), 1))
    path.write_text(f"# endurance, read at 0.1 V\nCycle,HRS (kOhm),LRS (kOhm)\n{rows}")


FILES: Mapping[str, Kept] = {
    "a_b1500.csv": Kept(transistor, "I-V sweep", "access_transistor", TRIODE),
    "b_smu2600.csv": Kept(hysteresis, "hysteresis loop", "vteam", {"r_on": 2e3, "r_off": 2e4, "v_on": -0.6}),
    "c_smu2400.txt": Kept(retention, "retention", "power law", {"exponent": -0.04}),
    "d_scope.csv": Kept(pulses_in_time, "transient", "vteam"),
    "e_lab.mat": Kept(random_pulses, "pulse train", "threshold_memristor", {k: TIO2[k] for k in ("theta_p", "g_max")}),
    "f_pairs.csv": Kept(paired, "paired pulses", "one exponential", {"tau_1": 0.06, "amplitude_1": 0.8}),
    "g_trains.tsv": Kept(trains, "trains of equal pulses", "threshold_memristor (saturating, first read)"),
    "h_cycles.csv": Kept(endurance, "endurance", "constant"),
}


TRUTHS = sum(len(entry.truth) for entry in FILES.values())
LEAST = int(stats.binom.ppf(0.01, TRUTHS, 0.95))


def write(folder: Path) -> None:
    """The eight files."""
    for name, entry in FILES.items():
        entry.write(folder / name)


def _measure(report: Report) -> Figures:
    with tempfile.TemporaryDirectory() as name:
        folder, page = Path(name) / "lab", Path(name) / "report.html"
        folder.mkdir()
        write(folder)
        report(f"cosim fit --auto on {len(FILES)} files")
        began = time.perf_counter()
        run = subprocess.run(
            [sys.executable, "-P", "-m", "cosim", "fit", "--auto", str(folder), "--report", str(page), "--json"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        seconds = time.perf_counter() - began
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        told = json.loads(run.stdout)["files"] if run.stdout else []
        text = page.read_text() if page.exists() else ""
    recognised = kept = held = intervals = 0
    for name, entry in FILES.items():
        parts = [part for part in told if Path(part["file"]).name == name]
        recognised += bool(parts) and all(part["taken_for"] == entry.shape for part in parts)
        kept += bool(parts) and all(part["kept"] == entry.kept for part in parts)
        report(f"{name}: {[(part['taken_for'], part['kept'], round(part['seconds'], 1)) for part in parts]}")
        for parameter, true in entry.truth.items():
            found = next((part["result"]["parameters"].get(parameter) for part in parts if part["result"]), None)
            low, high = (None, None) if found is None else found["interval_95"]
            intervals += 1
            held += low is not None and high is not None and low <= true <= high
    return {
        "files": len(FILES),
        "recognised": recognised,
        "kept_as_simulated": kept,
        "truths": intervals,
        "truths_within_their_interval": held,
        "figures_in_report": text.count("<figure>"),
        "seconds": seconds,
        "seconds_of_one_core": used.ru_utime + used.ru_stime,
    }


FOLDER = Claim(
    "folder",
    "A folder of eight instrument files becomes a report in at most a minute, without a recipe.",
    _measure,
    {
        "recognised": (len(FILES), None),
        "kept_as_simulated": (len(FILES), None),
        "truths_within_their_interval": (LEAST, None),
        "figures_in_report": (len(FILES), None),
        "seconds": (None, SECONDS),
    },
    settings=lambda: {"seed": SEED, "files": sorted(FILES)},
)
