"""The quantum-dot memristor at network level: four learning rules by pulse shape, and what each is good for.

The source (J. Appl. Phys. 120, 134503) has no network: it states what symmetric and asymmetric rules are good for, the
signs of its windows, and what a larger α_c does to them (Sec. IV, Fig. 4). Constants of the networks were chosen on
seeds of their own (`CHOSEN_ON`); those of the claim are used once.
``./run reproduce quantumdot`` writes ``cosim-out/quantumdot``: figures, and a page with the source's numbers beside.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from claims.base import Claim, Figures, Report, resuming
from cosim.network.run import RunResult, SeedResult, run_network
from cosim.network.systems.stdp import (
    COMPLETION,
    DEVICE,
    FAMILIARITY,
    OTHER,
    RECALL,
    UNLEARNING,
    StdpSystem,
    Work,
    said_of,
)
from cosim.network.systems.stdp_settings import ANTI_HEBBIAN, ANTI_SYMMETRIC, HEBBIAN, RULES, SYMMETRIC, StdpSettings
from cosim.network.systems.stdp_windows import CHARGING, DELAYS, alone, published, width, window
from cosim.report.comparison import COLUMNS, Row, source
from cosim.report.html import Report as Page
from cosim.report.stdp_figures import TITLES, stdp_figures
from cosim.report.style import save

FOLDER = Path("cosim-out/quantumdot")
SEEDS = (0, 1, 2, 3, 4)
CHOSEN_ON = (100, 101, 102)
FALL = -0.2  # ΔG that counts as charging
RISE = 0.05  # and as discharging
SIGNS: Mapping[str, tuple[float, float]] = {  # of ΔG at −1.5 and +1 ms, in the source's Fig. 3 and Table 2
    HEBBIAN: (-1.0, 1.0), ANTI_HEBBIAN: (1.0, -1.0), SYMMETRIC: (0.0, 0.0), ANTI_SYMMETRIC: (-1.0, -1.0),
}  # fmt: skip


def usual() -> StdpSystem:
    """All tasks."""
    return StdpSystem(StdpSettings())


def at(delay: float) -> int:
    """Where a delay (ms) is."""
    return int(np.argmin(np.abs(DELAYS - delay)))


def windows(settings: StdpSettings) -> dict[str, Any]:
    """Of each rule the largest and smallest ΔG with their delays, the lone pulses', and widths against α_c."""
    found: dict[str, Any] = {}
    for rule in RULES:
        curve, table = window(settings, rule), published(rule)
        ends = {f"{which}{end}": float(x) for which, c in (("", curve), ("source_", table))
                for end, x in (("max", c.max()), ("max_delay", DELAYS[c.argmax()]), ("min", c.min()),
                               ("min_delay", DELAYS[c.argmin()]))}  # fmt: skip
        found[rule] = {**ends, "pre_alone": alone(settings, rule)[0], "post_alone": alone(settings, rule)[1]}
        for factor in CHARGING:
            other = window(settings.with_(charging=factor), rule)
            found[rule][f"charging_{factor:g}"] = {"falls": width(other, FALL), "rises": width(other, RISE)}
    return found


def signs_right(settings: StdpSettings) -> int:
    """How many of the four rules have the source's signs at −1.5 and +1 ms; the third is its rise at 0, fall at ±6."""
    right = 0
    for rule, signs in SIGNS.items():
        curve = window(settings, rule)
        if rule == SYMMETRIC:
            right += bool(curve[at(0.0)] > 0.0 > max(curve[0], curve[-1]))
        else:
            right += bool(np.all(np.sign(curve[[at(-1.5), at(1.0)]]) == signs))
    return right


def measure(tell: Report) -> Figures:
    """The windows and all networks; minutes of processor time."""
    system = usual()
    result = run_network(
        system, seeds=SEEDS, folder=FOLDER / "networks", resume=resuming(),
        progress=lambda seed, done, of: tell(f"seed {seed}: {done} of {of} networks"),
    )  # fmt: skip
    table, found = system.table(result.seeds), windows(system.settings)

    def score(task: str, way: str = DEVICE) -> float:
        return float(table[task][way][str(system.usual(task))]["mean"])

    figures: Figures = {
        "signs_right": signs_right(system.settings),
        **{task: score(task) for task in table},
        "completion_over_other_pulses": score(COMPLETION) - score(COMPLETION, OTHER),
        "recall_over_other_pulses": score(RECALL) - score(RECALL, OTHER),
        **{f"{task}_surely_over_other_pulses": surely_over(system, result.seeds, task)
           for task in (UNLEARNING, FAMILIARITY)},
        "forgets": forgets(table[UNLEARNING][DEVICE], str(system.usual(UNLEARNING)), len(SEEDS)),
        "charging_widens": min(_step(found[rule], "falls") for rule in (HEBBIAN, ANTI_HEBBIAN, ANTI_SYMMETRIC)),
        "charging_narrows_the_rise": -_step(found[SYMMETRIC], "rises", largest=True),
        "scores": table,
        "windows": found,
        "seeds": list(SEEDS),
    }  # fmt: skip
    show(result, figures)
    return figures


def surely_over(system: StdpSystem, seeds: Sequence[SeedResult], task: str) -> float:
    """What is left of two standard errors of how far a task's own pulses are above the other ones at its usual load,
    paired by seed.
    """
    places = [system.works.index(Work(task, way, system.usual(task))) for way in (DEVICE, OTHER)]
    own, other = np.array([seed.arrays["scores"][places, 0] for seed in seeds]).T
    more = own - other
    return float(more.mean() - 2.0 * more.std(ddof=1) / np.sqrt(more.size))


def forgets(entries: Mapping[str, Any], load: str, seeds: int) -> float:
    """What is left of two standard errors of how much less of a sequence is recalled where it was shown again."""
    before, after = (entries[key]["forgotten"] for key in ("0", load))
    error = float(np.hypot(before["deviation"], after["deviation"]) / np.sqrt(seeds))
    return float(before["mean"] - after["mean"] - 2.0 * error)


def _step(found: Mapping[str, Any], part: str, *, largest: bool = False) -> float:
    """The smallest (or largest) difference of a width from one α_c to the next (ms)."""
    steps = np.diff([found[f"charging_{factor:g}"][part] for factor in CHARGING])
    return float(steps.max() if largest else steps.min())


def show(result: RunResult, figures: Figures) -> None:
    """Figures and the page with the source's numbers."""
    system = result.system
    assert isinstance(system, StdpSystem)
    page = Page("Quantum-dot memristors in networks", "J. Appl. Phys. 120, 134503 (2016).")
    captions = {
        "windows": "Fig. 4: ΔG of the wire after one pair, from one parameter set; beyond ±5 ms pulses do not overlap.",
        "scores": "Mean and deviation of five seeds; ways share their patterns.",
    }
    drawn = stdp_figures(system, result.seeds)
    for name, figure in drawn.items():
        save(figure, FOLDER / f"{name}.png")
    page.section("Four rules by pulse shape").figure(drawn["windows"], captions["windows"])
    rows = []
    reason = "a tenth of it, our choice: the source gives no errors"
    for rule, found in figures["windows"].items():
        for end, word in (("max", "largest"), ("min", "smallest")):
            known = found[f"source_{end}"]
            beside = source("Table 2", value=known, absolute=0.1 * abs(known) + 1e-3, reason=reason)
            note = f"at {found[f'{end}_delay']:.1f} ms, there at {found[f'source_{end}_delay']:.1f} ms"
            rows.append(Row(f"{TITLES[rule]}: {word} ΔG", found[end], beside, note=note))
    wider = source("Sec. IV, Fig. 4", above=0.0, statement="a larger α_c gives larger time intervals for charging")
    less = source("Sec. IV, Fig. 4(c)", above=0.0, statement="and a smaller one for discharging in the symmetric rule")
    span = ", ".join(f"{factor:g}" for factor in CHARGING)
    rows.append(
        Row("least growth of the charging window (ms)", figures["charging_widens"], wider, note=f"α_c × {span}")
    )
    rows.append(Row("least loss of the symmetric rule's rise (ms)", figures["charging_narrows_the_rise"], less))
    page.table(COLUMNS, [row.cells() for row in rows])
    page.section("What each is good for").figure(drawn["scores"], captions["scores"])
    best = source(
        "Sec. I, Refs. 28, 29", above=0.0, statement="symmetric rules for completion, asymmetric for sequences"
    )
    over = [Row(f"{task}: over the other Hebbian rule", figures[f"{task}_over_other_pulses"], best)
            for task in (COMPLETION, RECALL)]  # fmt: skip
    ours = source("our choice", above=0.0, statement="each task by its own rule's pulses")
    over += [
        Row(
            f"{task}: over the other anti-Hebbian rule, less two errors",
            figures[f"{task}_surely_over_other_pulses"],
            ours,
        )
        for task in (UNLEARNING, FAMILIARITY)
    ]
    over.append(Row("recalled less of what was shown again to forget it, less two errors", figures["forgets"], ours))
    page.table(COLUMNS, [row.cells() for row in over])
    page.table(("task", "way", "score (%)"), [
        (said_of(task, int(load)), way, _told(entry))
        for task, ways in figures["scores"].items() for way, entries in ways.items() for load, entry in entries.items()
    ])  # fmt: skip
    page.write(FOLDER / "quantumdot.html")


def _told(entry: Mapping[str, float]) -> str:
    return f"{100 * entry['mean']:.1f} ± {100 * entry['deviation']:.1f}"


def probe() -> Figures:
    """Small networks of every task in numpy, and the windows."""
    small = StdpSystem(
        StdpSettings(groups=5, width=4, items=3, repeats=2, unknown=20, spread=0.1),
        {COMPLETION: (3,), RECALL: (2,), UNLEARNING: (0, 1), FAMILIARITY: (6,)},
    )  # fmt: skip
    seed = run_network(small).seeds[0]
    return {"scores": np.nan_to_num(seed.arrays.scores, nan=-1.0).tolist(), "windows": windows(small.settings)}


def settings() -> Mapping[str, Any]:
    """All that the figures depend on but the code."""
    return {"networks": usual().fingerprint, "seeds": SEEDS, "falls": FALL, "rises": RISE}


QUANTUMDOT = Claim(
    "quantumdot",
    "One quantum-dot memristor learns by four rules, which the shape of its pulses alone decides: networks of it "
    "complete patterns, recall sequences, forget one of them, and tell what is familiar, each by its own rule",
    measure,
    {
        "signs_right": (4, None),
        "completion": (0.8, None),
        "recall": (0.7, None),
        "unlearning": (0.5, None),
        "familiarity": (0.75, None),
        "completion_over_other_pulses": (0.3, None),
        "recall_over_other_pulses": (0.3, None),
        "unlearning_surely_over_other_pulses": (0.0, None),
        "familiarity_surely_over_other_pulses": (0.0, None),
        "forgets": (0.0, None),
        "charging_widens": (1e-9, None),
        "charging_narrows_the_rise": (1e-9, None),
    },
    long=True,
    settings=settings,
    probe=probe,
)
