"""Draws of the claim `coverage_claim` that are kept, and whether today's code would make the same.

The file of a row is that of what the row is (`coverage_rows.key`), whatever code made its draws: where code stands
decides nothing, what it computes does. So some of the draws that are there are made again before any is added
(`again`): verdicts and what held the truth have to be the same, and the ends of the intervals by a small part of their
width. What one of n draws made again shows acts on a share of all draws: a change that acts on a share q is missed with
probability (1 − q)^n, one on a quarter of them with 5 % where n is 10. What acts on rare draws only is not seen, nor a
change that moves every interval by less than `SAME`, whose shares it moves by no more than 0.5 % (a normal law's). The
draws say which code made them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import numpy as np

from claims.coverage_rows import Draw, key

# What the end of a profile is good to, as a part of the interval (`cosim.fitting.profile`).
SAME = 0.01
# Draws that are made again: at least so many, as many as take so long (s of the processor), at most so many.
LEAST, SPENT, MOST = 10, 4.0, 40
HOLDS, DID = ("does not hold the truth", "holds the truth"), ("did not", "did")


class Outcomes:
    """The draws of a row that were made, in a file to which each new one is appended."""

    def __init__(self, folder: Path, name: str) -> None:
        self.path = folder / f"{name.replace('/', '-').replace(' ', '-')}-{key(name)[:16]}.jsonl"
        self.draws: dict[int, Draw] = {}
        try:
            lines = self.path.read_text().splitlines(keepends=True)
        except FileNotFoundError:
            lines = []
        for line in lines:
            if line.endswith("\n"):  # else a run ended while it wrote it
                one = Draw(**json.loads(line))
                self.draws.setdefault(one.seed, one)
        self._torn = bool(lines) and not lines[-1].endswith("\n")

    def add(self, found: Iterable[Draw]) -> None:
        """Append what was drawn."""
        new = list(found)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self._torn:
            whole = self.path.read_bytes()
            os.truncate(self.path, whole.rfind(b"\n") + 1)
            self._torn = False
        with self.path.open("a") as file:
            file.write("".join(json.dumps(asdict(one)) + "\n" for one in new))
        self.draws.update({one.seed: one for one in new})

    def again(self) -> list[int]:
        """The seeds of draws to be made again: one of each of as many equal parts of all."""
        seeds = sorted(self.draws)
        if not seeds:
            return []
        mean = float(np.mean([one.seconds for one in self.draws.values()]))
        count = min(max(LEAST, int(SPENT / max(mean, 1e-3))), MOST, len(seeds))
        rng = np.random.default_rng(len(seeds))
        return [int(rng.choice(part)) for part in np.array_split(seeds, count)]

    def begin_anew(self) -> Path:
        """Set the draws aside, in a file whose name is returned."""
        aside = next(
            path for k in range(1, 1000) if not (path := self.path.with_name(f"{self.path.name}.before-{k}")).exists()
        )
        self.path.rename(aside)
        self.draws.clear()
        self._torn = False
        return aside


def difference(then: Draw, now: Draw) -> str:
    """What of a draw is not as it was; empty where nothing is. A draw without the ends of its intervals is held by the
    rest.
    """
    if bool(then.failed) != bool(now.failed):
        return f"draw {now.seed}: {now.failed or 'it has a fit'} (before: {then.failed or 'it had a fit'})"
    for name, status in now.status.items():
        if then.status.get(name) != status:
            return f"draw {now.seed}: {name} is {status}, was {then.status.get(name)}"
        if then.held[name] != now.held[name]:
            return f"draw {now.seed}: {name} {HOLDS[now.held[name]]}, and {DID[then.held[name]]}"
        if name not in then.value:
            continue
        before, after = ((one.low[name], one.high[name], one.value[name]) for one in (then, now))
        if not _alike(before, after):
            return f"draw {now.seed}: {name} was {_said(*before)}, is {_said(*after)}"
    return ""


def _alike(before: tuple[float | None, float | None, float], after: tuple[float | None, float | None, float]) -> bool:
    low, high, value = before
    # of a range that is open on one side, what is left of it from the estimate on
    width = (value if high is None else high) - (value if low is None else low)
    return all(
        a is b is None or (a is not None and b is not None and abs(a - b) <= SAME * width)
        for a, b in zip(before[:2], after[:2], strict=True)
    )


def _said(low: float | None, high: float | None, value: float) -> str:
    ends = [sign if end is None else f"{end:.6g}" for end, sign in ((low, "-inf"), (high, "inf"))]
    return f"{value:.6g} from {ends[0]} to {ends[1]}"
