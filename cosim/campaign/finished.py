"""A finished case on its way from where it ran to where it is kept: JSON text that is not unpacked on the way.

At 10⁵ rows a second a parent that takes rows apart and puts them together again does nothing else. A worker writes the
text once; the store keeps it unchanged, and the cache keeps the part that does not depend on the plan.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from cosim.campaign.cases import Done
from cosim.statistics.verdict import Verdict

# What belongs to a plan and not to its case.
PLANS_OWN = ("number", "corner", "values", "cached")


class Finished(NamedTuple):
    """``own`` and ``rest`` are the two halves of the row, each a JSON object with at least one entry."""

    number: int
    outcome: str
    verdict: str
    key: str | None
    seconds: float | None
    own: str
    rest: str
    waveforms: bytes | None = None

    @classmethod
    def of(cls, done: Done) -> Finished:
        """The same case. JSON has no infinity: a measure that is not finite is left out, and the row says so."""
        row = _finite(done.row)
        return cls(
            row["number"], row["outcome"], row["verdict"], row.get("key"), row.get("seconds"),
            _text({name: row[name] for name in PLANS_OWN if name in row}),
            _text({name: value for name, value in row.items() if name not in PLANS_OWN}), done.waveforms,
        )  # fmt: skip

    @property
    def text(self) -> str:
        """The row as JSON."""
        return f"{self.own[:-1]},{self.rest[1:]}"

    @property
    def row(self) -> dict[str, Any]:
        """The row."""
        found: dict[str, Any] = json.loads(self.text)
        return found


def _finite(row: Mapping[str, Any]) -> Mapping[str, Any]:
    measures = row.get("measures", {})
    wrong = [name for name, values in measures.items() if not all(map(math.isfinite, values))]
    moved = {name: value for name, value in row.get("moved", {}).items() if math.isfinite(value)}
    if not wrong and len(moved) == len(row.get("moved", {})):
        return row
    found = {**row, "measures": {name: values for name, values in measures.items() if name not in wrong}}
    if moved or "moved" in row:
        found["moved"] = moved
    if wrong:
        why = [*([row["why"]] if row.get("why") else []), *(f"{name} is not finite" for name in wrong)]
        found["why"] = "; ".join(why)
        if row["verdict"] == Verdict.PASS.value:
            found["verdict"] = Verdict.CANNOT_TELL.value
    return found


def _text(entries: Mapping[str, Any]) -> str:
    return json.dumps(entries, allow_nan=False, separators=(",", ":"))
