"""Does a 95 % interval hold the truth in 95 % of the cases? 1000 draws of each row of `coverage_rows`.

Each draw's outcome is appended to a file of its row: a run that was stopped goes on. Before it does, some of the draws
that are there are made again, and a row begins anew, its file set aside, where they are not what they were
(`coverage_kept`). Rows take turns, so that a run that was stopped has draws of all of them. The environment says what
is not to be the default:

- ``COSIM_COVERAGE``: the folder of these files; default ``coverage`` in the cache folder.
- ``COSIM_COVERAGE_ROWS``: rows by name, separated by semicolons; default all of the claim (`BESIDE` are not).
- ``COSIM_COVERAGE_DRAWS``: of each row; default 1000. 0 draws nothing, and judges what there is, which is not the claim
  because no draw is made again.
- ``COSIM_COVERAGE_FIRST``: the first seed; default 0. Some rules of the verdicts were chosen after draws of the seeds
  from 0 on were seen: others, in a folder of their own, confirm them.

The rule: with 1000 draws or more the shares themselves are held against the limits. A parameter with an interval in
fewer than half of the draws (in the others its verdict states a range) is outside where the exact bounds of its share
(Clopper and Pearson's: Wilson's convict by a single interval) leave the limits no room, and where what is said of it in
all draws, intervals and ranges, holds the truth in fewer than 93 %; else it is inside. With fewer draws the figures are
printed, and the claim does not hold: a row is then said to be inside or outside only where its bounds leave no doubt.
The bounds of a pooled share allow for the parameters of a draw being alike: they are those of as many independent
intervals as have the variance that the draws show.

Where a verdict states a range because the curve does not determine a parameter, that is no 95 % interval: whether these
ranges hold the truth is counted apart. Of what a parameter is said to be in all draws, interval or range, 95 % are
promised; of its intervals alone they are not, because the draw itself decides whether it gives one. Where few draws
do, these are the ones whose estimate lies far in one tail: of the clipper's saturation current 95.0 % of what was said
of it in 1000 draws held the truth, and 6 of the 20 intervals among that. Such a share convicts the verdict that calls
determined what a lucky draw shows, not the intervals, and no number of draws makes it 95 %; ``all`` has each
parameter's share of all draws beside it. All rules are our choice, but for the limits.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, as_completed, wait
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from claims.base import Claim, Figures, Report
from claims.coverage_kept import Outcomes, difference
from claims.coverage_rows import BESIDE, CLIPPER, Draw, about, draws, key, names
from cosim.campaign.cache import own_folder
from cosim.campaign.executors import cores
from cosim.errors import InputError, UnknownName
from cosim.statistics.yields import interval

DRAWS, CHUNK, ROUND = 1000, 5, 20
POOLED, EACH = (0.93, 0.97), (0.90, 0.98)
# What the curves of a row do not determine, and a verdict has to name.
WEAK = {CLIPPER: ("i_s1", "i_s2")}
# Rows whose intervals are the same wherever they are made, but for rounding.
STRAIGHT = ("virtual_lab/access", "threshold_memristor", "thermal_poles")
FOLDER, ROWS, COUNT = "COSIM_COVERAGE", "COSIM_COVERAGE_ROWS", "COSIM_COVERAGE_DRAWS"
FIRST = "COSIM_COVERAGE_FIRST"


def summary(found: Sequence[Draw], *, weak: Sequence[str] = (), asked: int = DRAWS) -> dict[str, Any]:
    """The figures of a row (module docstring); ``asked``: so many draws decide by their shares."""
    stated = {n: [one.held[n] for one in found if not one.undetermined(n)] for n in found[0].held}
    each: dict[str, list[float]] = {}
    few = []  # parameters whose intervals, of all draws, are too few to tell
    states = []  # of the pooled share and of each parameter's: inside, outside, or neither for certain
    whole = len(found) >= asked
    said = {n: float(np.mean([one.held[n] for one in found])) for n in stated}
    for name, held in stated.items():
        if held:
            share, bounds = sum(held) / len(held), interval(sum(held), len(held))
            each[name] = [round(value, 4) for value in (share, *bounds)] + [len(held)]
            state = _state(share, bounds, EACH, decides=whole and 2 * len(held) >= len(found))
        if not held or state == "cannot tell":
            few.append(name)
            if whole:
                state = "inside" if said[name] >= POOLED[0] else "outside"
        if held or whole:
            states.append(state)
    counted = [[one.held[n] for n in one.held if not one.undetermined(n)] for one in found]
    numbers = np.array([(sum(held), len(held)) for held in counted], dtype=float)
    held_all, count = numbers.sum(axis=0)
    pooled = float(held_all / max(count, 1.0))
    bounds = _pooled_bounds(pooled, numbers)
    states.append(_state(pooled, bounds, POOLED, decides=whole))
    ranges = [one.held[n] for one in found for n in one.held if one.undetermined(n)]
    verdict = "outside" if "outside" in states else "inside" if set(states) == {"inside"} else "cannot tell"
    return {
        "draws": len(found),
        "code": sorted({one.made for one in found}),  # each that made some of the draws
        "verdict": verdict,
        "pooled": round(pooled, 4),
        "pooled_95": [round(end, 4) for end in bounds],
        "worst": max(each, key=lambda n: abs(each[n][0] - 0.95)) if each else None,
        "each": each,
        "all": {n: round(share, 4) for n, share in said.items()},
        **({"too_few_intervals": few} if whole and few else {}),
        "ranges": len(ranges),
        "ranges_held": sum(ranges),
        "failed": sum(bool(one.failed) for one in found),
        **({"weak_named": round(float(np.mean([_named(one, weak) for one in found])), 4)} if weak else {}),
        "cpu_ms": round(1e3 * float(np.mean([one.seconds for one in found]))),
    }


def _named(one: Draw, weak: Sequence[str]) -> bool:
    return all(one.status.get(n) in ("not identifiable", "weakly identifiable", "at bound") for n in weak)


def _pooled_bounds(share: float, numbers: np.ndarray[Any, np.dtype[np.float64]]) -> tuple[float, float]:
    """Wilson bounds of a pooled share; ``numbers`` (draws, 2): intervals of each that held the truth, and all of it."""
    held, count = numbers.T
    if count.sum() == 0.0:
        return 0.0, 1.0
    # of a ratio of means, by linearisation (Cochran, Sampling Techniques, ch. 2.11)
    variance = float(np.sum((held - share * count) ** 2)) / float(count.sum()) ** 2
    independent = share * (1.0 - share) / variance if variance > 0.0 else float(len(held))
    n = max(round(independent), 1)
    return interval(round(share * n), n, method="wilson")


def _state(share: float, bounds: tuple[float, float], limits: tuple[float, float], *, decides: bool) -> str:
    if decides:
        return "inside" if limits[0] <= share <= limits[1] else "outside"
    if bounds[1] < limits[0] or bounds[0] > limits[1]:
        return "outside"
    return "inside" if limits[0] <= bounds[0] and bounds[1] <= limits[1] else "cannot tell"


def made_again(made: dict[str, Outcomes], pool: Executor, tell: Report) -> dict[str, str]:
    """Rows that begin anew → why: a draw that today's code does not make as it was."""
    jobs = {pool.submit(draws, name, seeds): name for name, one in made.items() for seeds in _chunks(one.again())}
    changed: dict[str, str] = {}
    for future in as_completed(jobs):
        name = jobs[future]
        for now in future.result():
            if said := difference(made[name].draws[now.seed], now):
                changed.setdefault(name, said)
        tell(f"{name}: draws made again")
    for name, said in changed.items():
        changed[name] = f"{said}; its draws are in {made[name].begin_anew().name}"
    return changed


def carry_on(made: dict[str, Outcomes], count: int, pool: Executor, tell: Report) -> None:
    """Make the first ``count`` draws of each row, as far as they are not there; rows take turns."""
    begin = _number(FIRST, 0)
    end = begin + count
    jobs = iter(
        [
            (name, seeds)
            for first in range(begin, end, ROUND)
            for name, one in made.items()
            for seeds in _chunks([k for k in range(first, min(first + ROUND, end)) if k not in one.draws])
        ]
    )
    waiting = dict[Future[list[Draw]], str]()
    try:
        while True:
            while len(waiting) < 2 * cores() and (job := next(jobs, None)) is not None:
                waiting[pool.submit(draws, *job)] = job[0]
            if not waiting:
                return
            for future in wait(waiting, return_when=FIRST_COMPLETED)[0]:
                name = waiting.pop(future)
                made[name].add(future.result())
                there = sum(len(one.draws) for one in made.values())
                tell(f"{name}: {len(made[name].draws)} of {count} draws; {there} of {count * len(made)} in all")
    finally:
        for future, name in waiting.items():  # interrupted
            if not future.cancel() and future.done() and future.exception() is None:
                made[name].add(future.result())


def _chunks(seeds: list[int]) -> list[list[int]]:
    return [seeds[k : k + CHUNK] for k in range(0, len(seeds), CHUNK)]


def asked() -> tuple[list[str], int, Path]:
    """Rows, draws of each and the folder of their outcomes, as the environment has them."""
    known, wanted = [*names(), *BESIDE], [name.strip() for name in os.environ.get(ROWS, "").split(";") if name.strip()]
    for name in wanted:
        if name not in known:
            raise UnknownName(f"row in {ROWS}", name, known)
    given = os.environ.get(FOLDER, "")
    return wanted or names(), _number(COUNT, DRAWS), Path(given).expanduser() if given else own_folder() / "coverage"


def _number(name: str, default: int) -> int:
    """What the environment has of a whole number."""
    given = os.environ.get(name, "") or str(default)
    if not given.isdecimal():
        raise InputError(f"{name} = {given!r} is not a whole number", remedy="write one, such as 60")
    return int(given)


def judged(made: dict[str, Outcomes]) -> Figures:
    """Each row's figures, and what the claim is held against."""
    table = {
        name: {**about(name), **summary(list(one.draws.values()), weak=WEAK.get(name, ()))}
        for name, one in made.items()
        if one.draws
    }
    count = sum(entry["ranges"] for entry in table.values())
    short = [name for name in names() if name not in table or table[name]["draws"] < DRAWS]
    return {
        "rows": table,
        "short_of_draws": len(short),
        "note": f"not the claim: {len(short)} rows have fewer than {DRAWS} draws" if short else "the shares decide",
        "outside": sum(entry["verdict"] == "outside" for entry in table.values()),
        "cannot_tell": sum(entry["verdict"] == "cannot tell" for entry in table.values()),
        "lowest_pooled": min((entry["pooled"] for entry in table.values()), default=None),
        "ranges": count,
        "ranges_share": sum(entry["ranges_held"] for entry in table.values()) / count if count else 1.0,
        "too_few_intervals": {
            n: entry["too_few_intervals"] for n, entry in table.items() if "too_few_intervals" in entry
        },
        "weak_named": min((entry["weak_named"] for entry in table.values() if "weak_named" in entry), default=None),
        "cpu_s_of_a_draw_of_each": round(sum(entry["cpu_ms"] for entry in table.values()) / 1e3, 2),
    }


def measure(tell: Report) -> Figures:
    """The draws that are not there yet, and the figures of all."""
    rows, count, folder = asked()
    made, changed = {name: Outcomes(folder, name) for name in rows}, dict[str, str]()
    if count:
        pool = ProcessPoolExecutor(cores(), mp_context=get_context("spawn"))
        try:
            changed = made_again(made, pool, tell)
            carry_on(made, count, pool, tell)
        finally:
            pool.shutdown(cancel_futures=True)
    return {
        **judged(made),
        "unchecked": 0 if count else len(made),
        "first_seed": _number(FIRST, 0),
        "began_anew": changed,
        "folder": str(folder),
    }


def settings() -> Mapping[str, Any]:
    """What is drawn and how it is judged."""
    return {"draws": DRAWS, "pooled": POOLED, "each": EACH, "rows": {name: key(name)[:16] for name in names()}}


def probe() -> Figures:
    """A few draws of rows that take little time: intervals of straight laws, and verdicts of the most bent one."""
    figures: Figures = {}
    for name in STRAIGHT:
        for one in draws(name, range(2)):
            for side, ends in (("low", one.low), ("high", one.high)):
                figures |= {f"{name}, {one.seed}: {n} {side}": end for n, end in ends.items()}
    for one in draws(CLIPPER, range(2)):
        figures |= {f"{CLIPPER}, {one.seed}: {n}": f"{one.status[n]}, {one.held[n]}" for n in one.held}
    return figures


COVERAGE = Claim(
    "coverage",
    "95 % intervals hold the truth in 93 to 97 % of 1000 draws of every recipe, of each parameter in 90 to 98 %; of a "
    "parameter that has one in fewer than half of the draws, what is said of it in all of them in 93 % or more",
    measure,
    {
        "short_of_draws": (None, 0),
        "unchecked": (None, 0),
        "outside": (None, 0),
        "cannot_tell": (None, 0),
        "lowest_pooled": (POOLED[0], None),
        "ranges_share": (POOLED[0], None),
        "weak_named": (POOLED[0], None),
    },
    settings=settings,
    probe=probe,
    long=True,
)
