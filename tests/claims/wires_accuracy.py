"""What wires cost in accuracy: the network of `claims.mnist` read through a crossbar of 784 x 200 with resistive wires.

Learning is without wires. ``as it is``: thresholds stay; ``gain``: what is read of all cells is multiplied by the one
number that restores their mean, so that what is left is the pattern: cells far from the drivers and the sense lines
count less. Labels come from training images seen through the same wires. The reference is the same network read without
wires; what wires cost is the paired difference to it, a seed at a time.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from claims import mnist
from claims.base import Claim, Figures, Report
from cosim.network.images import ImageSet, ImageTask, Respond, load_images
from cosim.network.run import Streams
from cosim.network.systems.vdsp import VdspNetwork, VdspRun
from cosim.network.wires import Wires
from cosim.report import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SEGMENTS = (0.0, 0.01, 0.03, 0.1, 0.3, 1.0)  # Ohm, of a row's and of a column's wire alike
SEEDS = (0, 1, 2)
LABELS = 8000  # training images that label the neurons
WAYS = ("as it is", "gain")
KINDS = ("NB", "S")
# Ohm: up to here wires have to cost no more than a point by naive Bayes (our choice; no source has a figure).
HARMLESS, MOST_LOST = 0.03, 0.01


def trained(images: ImageSet, seed: int) -> VdspRun:
    """A network of 200 neurons after an epoch, in cells of TiO2."""
    run = mnist.system("tio2", images).start(Streams(seed))
    for batch in range(len(run.system.batches)):
        run.learn(batch)
    return run


def _respond(network: VdspNetwork) -> Respond:
    return lambda shown, rng, protocol: network.respond(shown, rng, protocol=protocol)


def table(tell: Report) -> dict[str, dict[str, dict[str, float]]]:
    """Of each resistance (Ohm): the mean share of its conductance that a cell is seen with, the least, and accuracy
    (mean over seeds) by naive Bayes and majority vote.
    """
    images = load_images("mnist")
    task = ImageTask(images, label_images=LABELS, choice_images=LABELS // 2)
    rows: dict[str, list[dict[str, dict[str, float]]]] = {f"{segment:g}": [] for segment in SEGMENTS}
    for seed in SEEDS:
        tell(f"wires: learning, seed {seed}")
        run = trained(images, seed)
        crossbar, network = run.network.crossbar, run.network
        learned = crossbar.weight.copy()
        for segment in SEGMENTS:
            tell(f"wires: {segment:g} Ohm a segment, seed {seed}")
            seen = crossbar.wired(Wires(row=segment, column=segment)) if segment else learned
            row = {"share": {"mean": float(np.mean(seen / learned)), "least": float(np.min(seen / learned))}}
            for way, gain in zip(WAYS, (1.0, float(learned.mean() / seen.mean())), strict=True):
                crossbar.weight[:] = gain * seen
                found = task.read(_respond(network), Streams(seed)).to_dict()["accuracy_on_test_images"]
                row[way] = {kind: float(found[kind]) for kind in KINDS}
            rows[f"{segment:g}"].append(row)
            crossbar.weight[:] = learned
    return {segment: _summary(each, rows["0"]) for segment, each in rows.items()}


def _summary(
    each: list[dict[str, dict[str, float]]], ideal: list[dict[str, dict[str, float]]]
) -> dict[str, dict[str, float]]:
    """Means over seeds; of the accuracies their deviations, and what is lost against the reference, paired."""
    found = {
        part: {name: float(np.mean([one[part][name] for one in each])) for name in each[0][part]} for part in each[0]
    }
    for way in WAYS:
        shares = {kind: np.array([one[way][kind] for one in each]) for kind in KINDS}
        for kind, share in shares.items():
            lost = np.array([one[WAYS[0]][kind] for one in ideal]) - share
            found[way] |= {f"{kind} lost": float(lost.mean())}
            if len(each) > 1:
                found[way] |= {
                    f"{kind} deviation": float(share.std(ddof=1)),
                    f"{kind} lost, deviation": float(lost.std(ddof=1)),
                }
    return {part: {name: round(value, 4) for name, value in values.items()} for part, values in found.items()}


def figure(found: Mapping[str, Mapping[str, Mapping[str, float]]]) -> Figure:
    """Accuracy over the resistance of a segment, and the share of its conductance that a cell is seen with."""
    with style.styled():
        made = style.new_figure(width=9.0, height=3.6)
        left, right = made.subplots(1, 2)
        ohms = [one for one in SEGMENTS if one > 0.0]
        for colour, (kind, name) in zip(style.COLOURS, (("NB", "naive Bayes"), ("S", "majority vote")), strict=False):
            for way, line in zip(WAYS, ("o-", "s--"), strict=True):
                shares = [100.0 * found[f"{one:g}"][way][kind] for one in ohms]
                errors = [100.0 * found[f"{one:g}"][way].get(f"{kind} deviation", 0.0) for one in ohms]
                left.errorbar(ohms, shares, errors, fmt=line, color=colour, capsize=2.0, label=f"{name}, {way}")
            ideal = 100.0 * found["0"]["as it is"][kind]
            left.axhline(ideal, color=colour, lw=1.2, ls=":", label=f"{name}, wires without resistance ({ideal:.1f} %)")
        left.set_xscale("log")
        left.set(xlabel="resistance of a segment (Ω)", ylabel="test accuracy (%)", ylim=(0.0, 100.0))
        left.set_title(f"784 × 200 cells of TiO2, {len(SEEDS)} seeds")
        for kind, line in (("mean", "o-"), ("least", "s--")):
            right.loglog(ohms, [found[f"{one:g}"]["share"][kind] for one in ohms], line, label=f"{kind} of all cells")
        right.set(xlabel="resistance of a segment (Ω)", ylabel="share of its conductance")
        right.set_title("What is seen of a cell")
        left.legend(fontsize=7, loc="lower left"), right.legend()
    return made


def measure(tell: Report) -> Figures:
    """The table; its figure is written to ``cosim-out/wires-accuracy.png``."""
    found = table(tell)
    target = Path("cosim-out") / "wires-accuracy.png"
    target.parent.mkdir(exist_ok=True)
    style.save(figure(found), target)
    harmless = [found[f"{one:g}"]["as it is"]["NB lost"] for one in SEGMENTS if 0.0 < one <= HARMLESS]
    return {
        "majority_without_wires": found["0"]["as it is"]["S"],
        "lost_at_most_where_harmless": max(harmless),
        "by_segment": found,
        "figure": str(target),
    }


WIRES_ACCURACY = Claim(
    "wires_accuracy",
    "a network of MNIST of 784 x 200 cells of up to 200 uS loses at most a point by naive Bayes to wires of up to 0.03 "
    "Ohm a segment, three seeds",
    measure,
    {"majority_without_wires": (0.83, None), "lost_at_most_where_harmless": (None, MOST_LOST)},
)
