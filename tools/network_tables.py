"""The tables of ``docs/networks.md``, from the records of the claims that measured them.

A table stands between ``<!-- table: NAME, by tools/reference_pages.py -->`` and ``<!-- end -->``; what is around it is
written by hand.
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from cosim import resources

KINDS = ("W", "S", "NB", "R", "G")
TECHNOLOGIES = MappingProxyType({"tio2": "TiO2", "hfo2": "HfO2", "hzo": "HZO"})
NAMES = "winner's label | majority | naive Bayes | ridge on counts | graded"


def figures(claim: str) -> Any:
    """What a claim measured, from its record."""
    path = resources.folder("fits") / "results" / f"{claim}.json"
    return json.loads(path.read_text(encoding="utf-8"))["figures"]


def _percent(share: float | None, places: int = 1) -> str:
    """A half is rounded up, as by hand, and nothing is −0."""
    if share is None:
        return ""
    shown = f"{math.floor(abs(share) * 100.0 * 10**places + 0.5 + 1e-9) / 10**places:.{places}f}"
    return f"−{shown}" if share < 0.0 and float(shown) else shown


def _spread(mean: float, deviation: float | None) -> str:
    return _percent(mean) if deviation is None else f"{_percent(mean)} ± {_percent(deviation)}"


def _interval(lost: Mapping[str, Any]) -> str:
    """Points, with their paired 95 % interval."""
    low, high = (_percent(end) for end in lost["interval"])
    return f"{_percent(lost['mean_and_deviation'][0])} ({low} to {high})"


def _table(head: str, rows: Iterable[Sequence[str]]) -> str:
    cells = [[cell.strip() for cell in head.split("|")], *rows]
    first, *others = ["|" + "".join(f" {cell} |" if cell else " |" for cell in row) for row in cells]
    return "\n".join([first, "|" + "---|" * len(cells[0]), *others])


def _kinds(found: Mapping[str, Any], kinds: Sequence[str] = KINDS) -> list[str]:
    return [_spread(*found[kind]) for kind in kinds]


def vdsp() -> str:
    """What VDSP learns, by number of neurons and technology, beside k-means."""
    found = figures("vdsp")
    means = {count: found["k_means"][count] for count in ("200", "400")}
    rows = [["source, 200 neurons", "3", "", "> 83", "", "", ""]]
    rows += [
        [f"k-means on the pixels, {n} centres", "", "", _percent(k["majority"]), "", "", _percent(k["graded"])]
        for n, k in means.items()
    ]
    parts = {
        "tio2_200": "TiO2, overdriven (factors 1.45/1.54)",
        "hfo2_200": "HfO2, overdriven (1.831/1.43)",
        "hzo_200": "HZO, overdriven (1.92/4.0)",
        **{f"tio2_{n}": f"TiO2, {n} neurons" for n in (10, 50, 100, 400)},
        "tio2_400_even": "the same, thresholds rise by 3.3 a spike in place of 1.1",
        "tio2_500": "TiO2, 500 neurons",
    }
    rows += [[name, "3", *_kinds(found["mean_and_deviation"][part])] for part, name in parts.items()]
    return _table(f" | epochs | {NAMES}", rows)


def vdsp_deviation() -> str:
    """Cells that deviate."""
    kinds = {
        "_theta20": "– thresholds deviate by 20 %",
        "_resistance20": "– conductances of both ends deviate by 20 %",
        "_cycle20": "– thresholds vary by 20 % from pulse to pulse",
        "_cycle50": "– by 50 %",
    }
    parts = {
        "tio2_published": "TiO2, published drive (1.05/1.11)",
        "tio2_over": "TiO2, far above",
        "hfo2_over": "HfO2, far above",
        "hzo_over": "HZO, far above",
    }
    found = figures("vdsp")["mean_and_deviation"]
    rows = [
        [name or label, *_kinds(found[part + kind])]
        for part, label in parts.items()
        for kind, name in {"": "", **kinds}.items()
        if part + kind in found
    ]
    return _table(f" | {NAMES}", rows)


def vdsp_lost() -> str:
    """What 20 % of deviation cost by naive Bayes."""
    parts = ("tio2_published", "tio2_over", "hfo2_over", "hzo_over")
    kinds = {
        "theta20": "thresholds, from cell to cell",
        "resistance20": "conductances of both ends, from cell to cell",
        "cycle20": "thresholds, from pulse to pulse",
        "cycle50": "the same, 50 %",
    }
    lost = figures("vdsp")["lost"]
    rows = [
        [name, *(_interval(lost[f"{part}_{kind}"]["NB"]) if f"{part}_{kind}" in lost else "" for part in parts)]
        for kind, name in kinds.items()
    ]
    return _table(" | TiO2, published drive | TiO2, far above | HfO2, far above | HZO, far above", rows)


def vdsp_fresh() -> str:
    """The same on seeds that chose nothing."""
    found, rows = figures("vdsp_fresh"), []
    for part, name in TECHNOLOGIES.items():
        rows += [
            [f"{name}, no deviation", *_kinds(found["mean_and_deviation"][part])],
            ["– thresholds deviate by 20 %", *_kinds(found["mean_and_deviation"][f"{part}_theta20"])],
            ["– points lost, paired", *(_interval(found["lost"][part][kind]) for kind in KINDS)],
        ]
    return _table(f"far above the thresholds | {NAMES}", rows)


def vdsp_controls() -> str:
    """Networks that never learn, beside the one that does."""
    found = figures("vdsp")
    names = {"random": "cells as they begin, random", "images": "200 training images for weights"}
    rows = [["learned", *_kinds(found["mean_and_deviation"]["tio2_200"])]]
    rows += [[name, *_kinds(found["controls"][control])] for control, name in names.items()]
    rows += [
        [
            f"gained over {name.split(',')[0]}, paired",
            *(_interval(found["gained_by_learning"][control][k]) for k in KINDS),
        ]
        for control, name in names.items()
    ]
    return _table(f"TiO2, 200 neurons | {NAMES}", rows)


def vdsp_shrinking() -> str:
    """Ways to make the steps smaller while the network learns."""
    found = figures("vdsp")["mean_and_deviation"]
    names = {
        "length": "pulses from their length to a twentieth",
        "voltage": "factors from 1.08 and 1.08 to 1 and 1.04",
        "none": "neither",
    }
    rows = [[name, *_kinds(found[f"hfo2_shrinking_{kind}"])] for kind, name in names.items()]
    return _table(f"HfO2, published factors, 200 neurons, three epochs | {NAMES}", rows)


def vdsp_swept() -> str:
    """Deviating cells and homeostasis, by naive Bayes."""
    found = figures("vdsp")["sweeps"]
    names = {
        "thresholds": "thresholds, published drive",
        "thresholds_far": "thresholds, far above",
        "conductances": "conductances, published drive",
        "conductances_far": "conductances, far above",
    }
    values = list(found["thresholds"])
    rows = [[name, *(_percent(found[sweep][value]["NB"]) for value in values)] for sweep, name in names.items()]
    return _table(" | ".join(["", *(f"{100.0 * float(value):g} %" for value in values)]), rows)


def vdsp_settings() -> str:
    """Noise and time constant of the published network."""
    found = figures("vdsp")["sweeps"]
    names = {
        "noise": "noise of bright pixels, σ/mean",
        "dark_noise": "noise of dark pixels, σ/mean",
        "tau": "time constant, ms; a dark pixel ends at 0.96",
        "tau_same_bias": "time constant, ms; bias as published",
    }
    rows = [
        [name, ", ".join(f"{float(value):.3g}" for value in found[sweep])]
        + [", ".join(_percent(row[kind]) for row in found[sweep].values()) for kind in ("NB", "W")]
        for sweep, name in names.items()
    ]
    return _table(" | values | naive Bayes | winner's label", rows)


def vdsp_rules() -> str:
    """Three rules with equal budgets."""
    found, rows = figures("vdsp_rules"), []
    names = {"vdsp": "VDSP", "post-stdp": "STDP at postsynaptic spikes", "pair-stdp": "pair STDP"}
    for rule, name in names.items():
        tried = [one["NB"] for one in found["held_out"][rule]]
        of_all = ", ".join(_percent(share) for share in (max(tried), statistics.median(tried), min(tried)))
        below = _interval(found["below_vdsp"][rule]["NB"]) if rule in found["below_vdsp"] else ""
        rows.append([name, of_all, *_kinds(found["mean_and_deviation"][rule], ("W", "S", "NB", "G")), below])
    head = "winner's label | majority | naive Bayes | graded | naive Bayes below VDSP, points"
    return _table(f" | best, middle, worst of the twelve, held out | {head}", rows)


def stc() -> str:
    """Accuracy by law and phase, plastic recall and the controls, of digits by tagging and capture."""
    found, rows = figures("stc"), []
    two = {
        "circuit": "0 and 1, `circuit`, 20 draws",
        "reduced": "0 and 1, `reduced`",
        "equations": "0 and 1, `equations`",
        "circuit_accelerated": "0 and 1, `circuit`, 32 times accelerated",
        "listing_early": "0 and 1, `listing`",
        "listing_late": "0 and 1, `listing`, 32 times accelerated",
    }
    ten = {
        "circuit": "ten digits, all 60 000 images, 3 draws",
        "both, 3000 images": "ten digits, 3000 images, 3 draws",
        "teaching mistakes alone, 3000 images": "– the source's tails",
        "smaller tails alone, 3000 images": "– every image taught",
        "source's constants, 3000 images": "– the source's constants",
    }
    for group, names in ((found["two_digits"], two), (found["ten_digits"], ten)):
        for key, name in names.items():
            each, controls = group[key], group[key]["controls"]
            phases = [each.get("early", {}), each.get("late", {})]
            cells = [_spread(p["charge"], p["deviation"]) if "charge" in p else "" for p in phases]
            for kind in ("count", "balanced", "plastic_recall"):
                cells += [_percent(p.get(kind)) for p in phases]
            cells += [_percent(controls.get(kind)) for kind in ("class mean", "perceptron", "untrained")]
            rows.append([name, *cells])
    kinds = ("charge", "count", "balanced", "plastic recall")
    head = " | ".join(f"{phase}, {kind}" for kind in kinds for phase in ("early", "late"))
    return _table(f" | {head} | class mean | perceptron | untrained", rows)


def stc_counts() -> str:
    """Counts of the same trained weights, by what is changed."""
    both = [figures("stc")["by_count"][task] for task in ("two digits", "ten digits, 3000 images")]
    names = {
        "charge": "charge",
        "count": "count",
        "trains apart": "count, trains begin at times of their own",
        "mean inhibited": "count, the neurons' mean input is inhibited",
        "balanced": "count, both: `balanced`",
        "ties by charge": "count, equal ones decided by the charge",
        "surplus kept": "count of neurons that keep their surplus",
        "equal counts": "*the best two counts are equal*",
        "charge margin": "*by how much the best two charges differ (median)*",
    }
    rows = [[name, *(f"{_percent(one[key])} %" for one in both)] for key, name in names.items()]
    spikes = {"balanced": "*spikes of the neuron that answers, `balanced`*", "surplus kept": "*the same, surplus kept*"}
    rows += [[name, *(f"{one[f'spikes, {key}']:.0f}" for one in both)] for key, name in spikes.items()]
    return _table("read-out | 0 and 1, six draws | ten digits, 3000 images, seed 0", rows)


def stc_mends() -> str:
    """What the mends of the listing do."""
    rows = [
        [
            f"`{name}`" if name not in ("as printed", "all") else name,
            f"{_percent(one['mean'])} %",
            f"{one['highest_early_phase']:.1f} V",
            f"{one['silent']:.1f}",
        ]
        for name, one in figures("stc")["mends"].items()
    ]
    return _table("mended | right, late | highest early phase | silent of 100 test images, answered with 0", rows)


def stc_aims() -> str:
    """What was aimed at and has no limit, with what is reached."""
    rows = [
        [name, _percent(one["aim"]), _percent(one["value"]), "reached" if one["reached"] else "missed"]
        for name, one in figures("stc")["aims"].items()
    ]
    return _table("late phase where none is named | aim, % | reached, % | ", rows)


def stc_memory() -> str:
    """Peak memory while the network of ten digits learns."""
    found = figures("stc")
    names = {
        "memory_numpy": "numpy, while it learns two batches of 200 images",
        "memory_numba_learning": "numba, the usual one, likewise",
        "memory_numba": "numba, all 60 000 images learned and all 10 000 tested in both phases",
        "memory_growth": "– of that, what 298 of the 300 batches add",
        "memory_bare_numba": "– of that, numba's own import and a single line compiled",
    }
    return _table(
        "ten digits, with all of MNIST in memory | MB",
        ([name, f"{abs(found[key]):.0f}"] for key, name in names.items()),
    )


def _points(entry: Any) -> str:
    """Mean and deviation in points, or a number alone."""
    return f"{entry['mean']:.1f} ± {entry['deviation']:.1f}" if isinstance(entry, Mapping) else f"{entry:.1f}"


def _lost(entry: Mapping[str, float]) -> str:
    """Points lost, and their standard error."""
    lost = round(entry["lost"], 1) + 0.0  # nothing is −0
    return f"{lost:.1f} ± {entry['error']:.1f}".replace("-", "−")


def rsnn_full() -> str:
    """All the speech: by synapses, beside logistic regression."""
    found = figures("rsnn")
    known = found["logistic"]
    rows = [
        [what, _points(found[name]["accuracy"]), _points(found[name]["unseen"])]
        for what, name in (
            ("ideal synapses, back-propagation through time", "full_backwards"),
            ("ideal synapses, e-prop", "full"),
            ("thermal synapses, any level", "full_thermal_any_level"),
            ("thermal synapses, 256 levels", "full_thermal"),
            ("thermal synapses, 200 levels", "full_thermal_200_levels"),
        )
    ]
    rows.append(["logistic regression on the same features", _points(known["test"]), _points(known["unseen"])])
    rows.append(["the most frequent phone", _points(found["majority"]), ""])
    return _table(" | new sentences | voice not heard before", rows)


def rsnn_small() -> str:
    """A third of the speech, by synapses."""
    found = figures("rsnn")
    small, lost = found["small"], found["lost_to_ideal"]
    rows = [
        ["ideal, back-propagation through time", _points(small["back-propagation through time"]),
         _lost(lost["back-propagation through time"])],
        ["ideal, e-prop", _points(small["ideal"]), ""],
        ["thermal, any level", _points(found["accuracy"]["levels"]["any"]), _lost(lost["any level"])],
        ["thermal, 256 levels", _points(small["thermal"]), _lost(lost["thermal"])],
        ["as they began: the read-out alone learns", _points(small["readout alone"]), _lost(lost["readout alone"])],
        ["logistic regression", _points(small["logistic regression"]), ""],
    ]  # fmt: skip
    return _table("synapses into the hidden layer | new sentences | lost against ideal", rows)


def rsnn_sweeps() -> str:
    """What is not ideal, point by point."""
    found, rows = figures("rsnn"), []
    for name, title in (("levels", "levels (11c)"), ("tau", "τ_TH (11d)"), ("crosstalk", "crosstalk (11e)"),
                        ("variability", "D_v and C_v (11f)"), ("alpha", "α (14d)")):  # fmt: skip
        for point, entry in found["accuracy"][name].items():
            rows.append([title, point.replace(" us", " µs").replace("%", " %"), _points(entry),
                         _lost(found["lost"][name][point])])  # fmt: skip
            title = ""
    return _table("Fig. | point | new sentences | lost against 256 levels, undisturbed", rows)


# What arXiv 2411.18272 states of Figs. 11 and 14, where the record has it, and the most points that would be it.
AIMS: Sequence[tuple[str, str, str, str, float]] = (
    ("levels (11c), all the speech", "200 lose less than 3 points", "full_lost_to_any_level", "200", 3.0),
    ("the same, 24 sentences", "200 lose less than 3 points", "lost_to_any_level", "200", 3.0),
    ("τ_TH (11d)", "saturates beyond 1 µs", "lost", "tau/1 us", 3.0),
    ("crosstalk (11e)", "about 3 points", "lost", "crosstalk/60 nm, 2 F, baseline", 4.0),
    ("the same, pairs apart", "about 3 points", "lost", "crosstalk/60 nm, 2 F, baseline, apart", 4.0),
    ("variability (11f)", "about 1 point at 100 %", "lost", "variability/100%", 2.0),
    ("the same, C_v alone", "", "lost", "variability/100%, C_v alone", 2.0),
)


def rsnn_aims() -> str:
    """What the source states of synapses that are not ideal, and whether it is reached."""
    found, rows = figures("rsnn"), []
    for title, says, part, at, most in AIMS:
        entry: Any = found[part]
        for step in at.split("/"):
            entry = entry[step]
        reached = "yes" if entry["lost"] + 2.0 * entry["error"] <= most else "**no**"
        rows.append([title, says, f"{most:g}", _lost(entry), reached])
    before, after = (found["lost"]["alpha"][point] for point in ("0.0004 1/K", "0.004 1/K"))
    sharp = after["lost"] - 2.0 * after["error"] > before["lost"] + 2.0 * before["error"]
    said = f"{_lost(before)} at it, {_lost(after)} at ten times as much"
    rows.append(["α (14d)", "a sharp drop above 4·10⁻⁴ 1/K", "a loss above", said, "yes" if sharp else "**no**"])
    return _table("Fig. | the source | at most, points | lost here | reached", rows)


def maze_variability() -> str:
    """Episodes that variability costs, by grid and in their mean."""
    costs = figures("neohebbian")["costs"]
    sizes = sorted({x["size"] for x in costs})
    rows = []
    for at in sorted({x["at"] for x in costs}):
        here = {x["size"]: x for x in costs if x["at"] == at}
        more = sum(x["more"] for x in here.values()) / len(here)
        error = math.sqrt(sum(x["error"] ** 2 for x in here.values())) / len(here)
        row = [f"{here[n]['more']:.1f} ± {here[n]['error']:.1f}" for n in sizes]
        rows.append([f"{at:.0%}".replace("%", " %"), *row, f"{more:.1f} ± {error:.1f}",
                     "yes" if more > 2.0 * error else "**no**"])  # fmt: skip
    grids = " | ".join(f"{n} × {n}" for n in sizes)
    return _table(f"variability | {grids} | mean | above two errors", [[c.replace("-", "−") for c in r] for r in rows])


STDP = (
    ("completion", "complete patterns from half their groups", "symmetric Hebbian", "patterns"),
    ("recall", "recall sequences of six from the first item", "asymmetric Hebbian", "sequence"),
    (
        "unlearning",
        "forget one of four sequences: the others less that one",
        "asymmetric anti-Hebbian",
        "times shown again",
    ),
    ("familiarity", "tell familiar patterns from new ones (pairs)", "symmetric anti-Hebbian", "patterns"),
)


def quantumdot() -> str:
    """Each task at all loads, by its own pulses, its ideal window, and the other pulses of the same kind."""
    scores, rows = figures("quantumdot")["scores"], []
    for task, title, pulses, unit in STDP:
        for load in scores[task]["device"]:
            ways = [_spread(scores[task][way][load]["mean"], scores[task][way][load]["deviation"])
                    for way in ("device", "ideal", "other pulses")]  # fmt: skip
            rows.append([title, pulses, f"{load} {unit}".strip(), *(x.replace("100.0 ± 0.0", "100") for x in ways)])
            title = pulses = unit = ""
    return _table("task | pulses | load | device | ideal window | the other pulses of its kind", rows)


def quantumdot_forgetting() -> str:
    """What is recalled of the sequence that is shown again, and of the others."""
    entries, rows = figures("quantumdot")["scores"]["unlearning"], []
    for load in entries["device"]:
        row = [load]
        for way in ("device", "other pulses"):
            row += [_spread(entries[way][load][part]["mean"], entries[way][load][part]["deviation"])
                    for part in ("kept", "forgotten")]  # fmt: skip
        rows.append(row)
    return _table("times shown again | the others | that one | other pulses: the others | that one", rows)


TABLES: Mapping[str, Callable[[], str]] = MappingProxyType(
    {
        "vdsp": vdsp,
        "vdsp deviation": vdsp_deviation,
        "vdsp lost": vdsp_lost,
        "vdsp fresh": vdsp_fresh,
        "vdsp controls": vdsp_controls,
        "vdsp shrinking": vdsp_shrinking,
        "vdsp swept": vdsp_swept,
        "vdsp settings": vdsp_settings,
        "vdsp rules": vdsp_rules,
        "rsnn full": rsnn_full,
        "rsnn small": rsnn_small,
        "rsnn sweeps": rsnn_sweeps,
        "rsnn aims": rsnn_aims,
        "maze variability": maze_variability,
        "quantumdot": quantumdot,
        "quantumdot forgetting": quantumdot_forgetting,
        "stc": stc,
        "stc counts": stc_counts,
        "stc mends": stc_mends,
        "stc memory": stc_memory,
        "stc aims": stc_aims,
    }
)
