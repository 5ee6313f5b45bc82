"""Tagging and capture at network level: the source's task in every law, all ten digits, memory and speed.

Each seed draws its images anew. Laws are those of `cosim.network.systems.stc_settings.LAWS`; ``early`` and ``late`` are
the system's two tests, but of the listing, whose phase is that of its time constants, as the source's is. The read-out
is chosen on training images; ``charge``, ``count`` and ``balanced`` (a count of our own,
`cosim.network.systems.stc_recall`) are named beside it, and so is what simple classifiers make of the same images. The
source has one draw of 100 test images: 96 right early, 93 late, by count. What that says of the mean over draws is its
binomial interval (Clopper and Pearson), in which our mean has to lie.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from claims import stc_counts
from claims.base import Claim, Figures, Report
from cosim.data import datasets
from cosim.network.images import ImageSet
from cosim.network.run import RunResult, run_network
from cosim.network.systems.stc import StcSystem
from cosim.network.systems.stc_images import DigitTask, RateImages
from cosim.network.systems.stc_listing import MENDS
from cosim.network.systems.stc_loop import backend, begin, trains
from cosim.network.systems.stc_recall import GAINS
from cosim.network.systems.stc_settings import ACCELERATED, StcSettings, parameters, stc_preset, synapse
from cosim.statistics.yields import interval

SOURCE = {"early": 96, "late": 93}  # of 100
DRAWS, MEND_DRAWS, SEEDS = 20, 4, (0, 1, 2)
TEN = tuple(range(10))
LAWS = ("circuit", "reduced", "equations")
# The listing's way, a JAX scan that stores every trace, on the machine on which it was measured (synapse-steps/s).
SCAN = 2.6e7
TASKS: Mapping[str, StcSettings] = {
    **{law: stc_preset(2, law) for law in LAWS},
    "circuit_accelerated": stc_preset(2).with_(acceleration=ACCELERATED),
    "listing_early": StcSettings(law="listing"),
    "listing_late": StcSettings(law="listing", acceleration=ACCELERATED),
}
# What the two changes for ten digits do, one by one.
CHANGES: Mapping[str, StcSettings] = {
    "both": stc_preset(10),
    "source's constants": stc_preset(10).with_(tails=1.0, teaching="always"),
    "teaching mistakes alone": stc_preset(10).with_(tails=1.0),
    "smaller tails alone": stc_preset(10).with_(teaching="always"),
}
CHANGE_IMAGES = 3000
COUNT_DRAWS = 6


def ten_digits(images: RateImages, *, train: int = 0) -> DigitTask:
    """All digits and test images; all training images or so many."""
    return DigitTask(images, TEN, train=train, test=0, choice=1000)


def summary(result: RunResult) -> dict[str, Any]:
    """Both phases: mean, deviation, each read-out's mean, plastic recall."""
    found: dict[str, Any] = {}
    for phase, share in result.to_dict()["phases"].items():
        seeds = [seed.values[phase] for seed in result.seeds]
        plastic = [one["plastic"] for one in seeds]
        found[phase] = {
            "mean": round(share["mean"], 4),
            "deviation": None if share["deviation"] is None else round(share["deviation"], 4),
            **{kind: round(float(np.mean([one["on_test"][kind] for one in seeds])), 4) for kind in seeds[0]["on_test"]},
            "plastic_recall": None if None in plastic else round(float(np.mean(plastic)), 4),
        }
    simple = [seed.values.controls for seed in result.seeds]
    found["controls"] = {name: round(float(np.mean([one[name] for one in simple])), 4) for name in simple[0]}
    if "early_phase_left" in result.seeds[0].values:
        found["early_phase_left"] = max(seed.values.early_phase_left for seed in result.seeds)
    if "weight_early_over_late" in result.seeds[0].values:
        ratios = [seed.values.weight_early_over_late for seed in result.seeds]
        found["weight_early_over_late"] = round(float(np.mean(ratios)), 4)
    return found


def over(result: RunResult, control: str) -> dict[str, float]:
    """Late accuracy by charge less a control's, of the same images: the mean over seeds, and the least."""
    paired = [seed.values.late["on_test"]["charge"] - seed.values.controls[control] for seed in result.seeds]
    name = f"ten_over_{control.replace(' ', '_')}"
    return {name: round(float(np.mean(paired)), 4), f"{name}_least": round(min(paired), 4)}


def rates(images: RateImages) -> dict[str, float]:
    """Synapse-steps per second (of processor time) of 784 × 2 synapses in 350 steps an image, learning."""
    settings = stc_preset(2)
    k, found = synapse(settings), {}
    task = DigitTask(images, (0, 1))
    chosen = np.flatnonzero(np.isin(images.train_y, (0, 1)))[:100]
    counts, y = images.train[chosen], task.neuron_of(images.train_y[chosen])
    teacher = np.where(y[:, None] == np.arange(2), settings.stimulus * settings.resistance, -1.0)
    for name, number in (("numba", 100), ("numpy", 20)):
        times = []
        for _ in range(3):
            memory = begin(counts.shape[1], np.full(2, 0.01), k, c=k.c_rest, h=k.h0, z=0.0)
            out = np.zeros((number, 2), np.int64), np.zeros((number, 2)), np.zeros(number, bool)
            started = time.process_time()
            backend(name).present(
                counts[:number], teacher[:number], trains(6, 150), 350, True, False, memory, settings.neurons(k), k,
                *out,
            )  # fmt: skip
            times.append(time.process_time() - started)
        found[name] = number * counts.shape[1] * 2 * 350 / min(times)  # the first one compiles
    return found


# ru_maxrss of a child begins with its parent's; VmHWM is its own.
MEMORY = """
import cosim
system = cosim.StcSystem(cosim.stc_preset(10), cosim.DigitTask(
    cosim.RateImages.load("mnist"), tuple(range(10)), train=0, test=100, choice=100), {backend!r})
from cosim.network.run import Streams
network = system.start(Streams(0))
for batch in range({batches}):
    network.learn(batch)
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


# What numba takes for itself: its import, and one line compiled.
BARE = """
import numpy, numba
numba.njit(lambda x: numpy.exp(x).sum())(numpy.ones(3))
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


def peak(code: str) -> float:
    """Peak resident memory (MB) of a process."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=3600)
    return round(int(done.stdout.split()[-1]) * 1024 / 1e6, 1)


def memory(name: str, batches: int) -> float:
    """Peak resident memory (MB) of a process that has all of MNIST and learns some batches of 200 images of it."""
    return peak(MEMORY.format(backend=name, batches=batches))


def measure(tell: Report) -> Figures:
    """The tables; minutes of processor time."""
    images = RateImages.load("mnist")
    two = DigitTask(images)
    table: dict[str, Any] = {}
    tell("ten digits")
    started = time.process_time()
    ten = run_network(StcSystem(stc_preset(10), ten_digits(images)), seeds=SEEDS)
    spent = (time.process_time() - started) / len(SEEDS)
    ten_table: dict[str, Any] = {"circuit": summary(ten)}
    for name, settings in TASKS.items():
        tell(f"two digits, {name}")
        table[name] = summary(run_network(StcSystem(settings, two), seeds=range(DRAWS)))
    mended: dict[str, Any] = {}
    for names in ((), *((name,) for name in MENDS), tuple(MENDS)):
        tell(f"listing, {', '.join(names) or 'as printed'}")
        settings = TASKS["listing_late"].with_(mends=names)
        seeds = run_network(StcSystem(settings, two), seeds=range(MEND_DRAWS)).seeds
        mended["all" if len(names) > 1 else names[0] if names else "as printed"] = {
            "mean": round(float(np.mean([seed.values.accuracy for seed in seeds])), 4),
            "highest_early_phase": max(seed.values.late["largest_early_phase"] for seed in seeds),
            "silent": float(np.mean([seed.values.late["silent_answered_with_the_first"] for seed in seeds])),
            "spikes_per_image": float(np.mean([seed.values.spikes_per_image for seed in seeds])),
        }
    for name, settings in CHANGES.items():
        tell(f"ten digits, {name}")
        task = ten_digits(images, train=CHANGE_IMAGES)
        ten_table[f"{name}, {CHANGE_IMAGES} images"] = summary(run_network(StcSystem(settings, task), seeds=SEEDS))
    tell("by count")
    counts = stc_counts.table(
        {
            "two digits": (TASKS["circuit"], two, range(COUNT_DRAWS)),
            f"ten digits, {CHANGE_IMAGES} images": (stc_preset(10), ten_digits(images, train=CHANGE_IMAGES), range(1)),
        }
    )
    tell("memory and speed")
    speed = rates(images)
    bare = round(peak(BARE) - peak(BARE.partition("import numpy")[1] + BARE[BARE.index("\nprint") :]), 1)
    used = {(name, n): memory(name, n) for name, n in (("numpy", 2), ("numba", 2), ("numba", 60))}
    lesser = [ten_table[f"{name}, {CHANGE_IMAGES} images"]["late"]["mean"] for name in CHANGES if name != "both"]
    return {
        **{f"listing_{phase}": table[f"listing_{phase}"][phase]["count"] for phase in SOURCE},
        "two_early_by_charge": min(table[law]["early"]["charge"] for law in LAWS),
        "two_late_by_charge": min(table[law]["late"]["charge"] for law in LAWS),
        "two_late_by_count": min(table[law]["late"]["count"] for law in LAWS),
        "ten_early_by_charge": ten_table["circuit"]["early"]["charge"],
        "ten_late_by_charge": ten_table["circuit"]["late"]["charge"],
        "ten_late_by_count": ten_table["circuit"]["late"]["count"],
        "ten_late_balanced": ten_table["circuit"]["late"]["balanced"],
        **over(ten, "class mean"),
        **over(ten, "perceptron"),
        "numba_rate": speed["numba"],
        "numpy_rate": speed["numpy"],
        "both_changes_gain": round(ten_table[f"both, {CHANGE_IMAGES} images"]["late"]["mean"] - max(lesser), 4),
        "early_phase_left": max(table[law]["early_phase_left"] for law in LAWS),
        "memory_numpy": used["numpy", 2],
        "memory_numba": used["numba", 2],
        "memory_bare_numba": bare,
        "memory_numba_less_bare": round(used["numba", 2] - bare, 1),
        "memory_growth": round(used["numba", 60] - used["numba", 2], 1),
        "two_digits": table,
        "mends": mended,
        "ten_digits": ten_table,
        "by_count": counts,
        "seconds_per_network_of_ten": round(spent, 1),
        "scan_rate": SCAN,
        "peak_here": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6, 1),
        "versions": {name: __import__(name).__version__ for name in ("numpy", "numba")},
    }


def _bars(n: int, *, classes: int = 4, side: int = 12) -> RateImages:
    """``n`` images of a bar at one of ``classes`` places, with noise; a third of them to test on."""
    rng = np.random.default_rng(5)
    y = np.arange(n) % classes
    x = rng.uniform(0.0, 0.15, (n, classes, side // classes, side))
    x[np.arange(n), y] += rng.uniform(0.5, 0.84, (n, side // classes, side))
    flat, k = x.reshape(n, -1), 2 * n // 3
    return RateImages.of(ImageSet("bars", flat[:k], y[:k], flat[k:], y[k:], side))


def probe() -> Figures:
    """Every law on 12 images of bars, in numpy: weights, spikes, answers."""
    found: Figures = {}
    task = DigitTask(_bars(60), (0, 1, 2, 3), train=12, test=12, choice=12)
    for name, settings in {**TASKS, "ten": stc_preset(10)}.items():
        seed = run_network(StcSystem(settings.with_(stimulus=max(2e-9, settings.stimulus)), task, "numpy")).seeds[0]
        phase = "late" if "early_late" in seed.arrays else "early"
        found |= {
            f"{name}_early_phase": float(seed.arrays[f"early_{phase}"].mean()),
            f"{name}_late_phase": float(seed.arrays[f"late_{phase}"].mean()),
            f"{name}_spikes": float(np.sum(seed.values.spikes_per_image)),
            f"{name}_accuracy": float(seed.values.accuracy),
        }
    return found


def settings() -> Mapping[str, Any]:
    """All that the figures depend on but the code."""
    return {
        "draws": DRAWS,
        "mend_draws": MEND_DRAWS,
        "seeds": SEEDS,
        "tasks": TASKS,
        "changes": CHANGES,
        "change_images": CHANGE_IMAGES,
        "count_draws": COUNT_DRAWS,
        "gains": GAINS,
        "ten": stc_preset(10),
        "parameters": {
            law: parameters(StcSettings(law=law)).fingerprint()
            for law in ("circuit", "reduced", "equations", "listing")
        },
        "images": {file: md5 for file, (md5, _) in datasets.MNIST.items()},
    }


STC = Claim(
    "stc",
    "Synapses with tagging and capture tell digits 0 and 1 apart as the source's do, and all ten digits of MNIST to "
    "more than 80 % after consolidation, by the charge that reaches each output neuron, and by its spikes where trains "
    "begin at times of their own and the mean input is inhibited, in constant memory; a perceptron does better on the "
    "same images",
    measure,
    {
        # our mean over draws in the interval of the source's one draw
        **{f"listing_{phase}": interval(right, 100) for phase, right in SOURCE.items()},
        "two_early_by_charge": (0.93, None),
        "two_late_by_charge": (0.93, None),
        "ten_late_by_charge": (0.80, None),
        "ten_late_balanced": (0.80, None),
        "ten_over_class_mean": (0.0, None),  # what is learned is more than the mean image
        "numba_rate": (1e9, None),
        "numpy_rate": (8e7, None),
        "memory_numpy": (None, 300.0),  # MB, with all of MNIST
        "memory_numba_less_bare": (None, 300.0),  # MB, less what numba takes to compile one line
        "memory_growth": (None, 10.0),  # MB, of 58 batches more: what no allocator explains
        "both_changes_gain": (0.0, None),
        "early_phase_left": (None, 0.011),  # of a weight at a rail `pause` leaves 0.01
    },
    long=True,
    settings=settings,
    probe=probe,
)
