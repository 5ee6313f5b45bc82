"""From the results of many fits to a campaign plan: what differs from device to device, or from cycle to cycle.

Each result that `cosim fit -o` wrote is one group; of a fit of several observations each group of it is one. A
parameter takes part where every group has a value with a standard error; what does not is named. The values tell their
distributions (`cosim.statistics.groups`), and the plan draws from these around the values that it states itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from cosim.bench.testbench import Testbench
from cosim.campaign.plan import Plan, check_spreads, load_bench
from cosim.errors import DataError, InputError, Where
from cosim.fitting.saved import Saved, load
from cosim.schema import validate
from cosim.statistics.groups import Groups, distributions

CYCLES = 10


@dataclass(frozen=True)
class Measured:
    """The values of each parameter in every group, with the covariance of each group's errors; ``notes``: left out."""

    device: str
    values: Mapping[str, list[float]]
    units: Mapping[str, str]
    covariance: Any
    notes: tuple[str, ...] = ()

    def groups(self) -> Groups:
        """Their distributions and correlations; raises `DataError` for too few groups."""
        return distributions(self.values, covariance=self.covariance, units=self.units)


def results_in(given: Sequence[Path]) -> list[Path]:
    """The results that are named, and those in the folders that are; raises `InputError` where a folder has none."""
    found: list[Path] = []
    for path in given:
        inside = sorted(path.glob("*.json")) if path.is_dir() else [path]
        if not inside:
            raise InputError("the folder holds no result", where=Where(path), remedy="name one that cosim fit -o wrote")
        found += inside
    return found


def measured(paths: Sequence[Path]) -> Measured:
    """The groups of these results. Raises `InputError`, `DataError` where nothing is left to draw."""
    saved = [load(path) for path in paths]
    names = sorted({str(one.told["device"]) for one in saved})
    if len(names) > 1 or names == ["None"]:
        of = "no device" if names == ["None"] else f"several devices: {', '.join(names)}"
        raise InputError(f"the results are of {of}", remedy="name those of one device")
    notes, groups = [], []
    for one in saved:
        parts = _groups(one)
        if not any(row["status"] not in ("not identifiable", "at bound") for part in parts for row in part.values()):
            notes.append(f"{one.path.name} determines no parameter and is left out")
            continue
        groups += [(one, part) for part in parts]
    if not groups:
        raise DataError("no result determines a parameter", remedy="fit recordings that do")
    everywhere = dict.fromkeys(name for _, part in groups for name in part)
    kept = [name for name in everywhere if all(part.get(name, {}).get("stderr") is not None for _, part in groups)]
    if dropped := [name for name in everywhere if name not in kept]:
        notes.append(f"not drawn, because not every result has a standard error of it: {', '.join(dropped)}")
    if not kept:
        raise DataError("no parameter has a standard error in every result", remedy="leave results out")
    units = {name: str(groups[0][1][name]["unit"]) for name in kept}
    values = {name: [float(part[name]["value"]) for _, part in groups] for name in kept}
    covariance = [_covariance(one, part, kept) for one, part in groups]
    return Measured(names[0], values, units, np.array(covariance), tuple(notes))


def _groups(one: Saved) -> list[dict[str, Mapping[str, Any]]]:
    """The parameters of each group of a result: of a single recording one; of several, those that groups own."""
    rows = one.parameters
    if not any("scope" in row for row in rows.values()):
        return [dict(rows)]
    found: dict[str, dict[str, Mapping[str, Any]]] = {}
    for row in rows.values():
        if row.get("group"):
            found.setdefault(str(row["group"]), {})[str(row["parameter"])] = row
    if not found:
        raise InputError(
            "the result has one value of each parameter for all its observations", where=Where(one.path),
            remedy="fit them with scope = 'own' or 'population', or one by one",
        )  # fmt: skip
    return list(found.values())


def _covariance(one: Saved, part: Mapping[str, Mapping[str, Any]], kept: Sequence[str]) -> Any:
    error = np.array([float(part[name]["stderr"]) for name in kept])
    made = np.diag(error**2)
    known = one.told.get("correlation") or {"names": []}
    for i, first in enumerate(kept):
        for j, second in enumerate(kept):
            if i != j and first in known["names"] and second in known["names"]:
                rho = known["matrix"][known["names"].index(first)][known["names"].index(second)]
                made[i, j] = float(rho) * error[i] * error[j]
    return made


def plan_of(
    found: Measured, groups: Groups, *, bench: str, folder: Path, use: str | None, samples: int,
    differ: Literal["device", "cycle"],
) -> dict[str, Any]:  # fmt: skip
    """The plan as a table of TOML: ``use`` is the bench's name of the device; a bench's path counts from ``folder``.

    Raises `InputError` where the bench has no such device, or several, and as `read_plan` and `check_spreads`.
    """
    loaded = Testbench.load(folder / bench if bench.endswith(".toml") else bench)
    known = [name for name in loaded.file.devices if _takes(loaded, name, found.values)]
    if use is None and len(known) != 1:
        raise InputError(
            f"bench {loaded.name} has {len(known) or 'no'} devices with the parameters {', '.join(found.values)}",
            remedy=f"name one by --device, of {', '.join(loaded.file.devices)}",
        )
    address = f"devices.{use or known[0]}"
    drawn = groups.variables(address)
    if not drawn["variables"]:
        raise DataError(f"that the {groups.count} results differ beyond their errors is not shown: nothing is drawn")
    variables = {"cycles": CYCLES, "cycle_variables": drawn["variables"]} if differ == "cycle" else drawn
    body = {
        "title": f"{found.device} from {groups.count} fits",
        "bench": bench,
        "around": {f"{address}.{n}": f"{value!r} {found.units[n]}" for n, value in groups.nominal.items()},
        "sample": {"samples": samples, **variables, "correlations": drawn["correlations"]},
    }
    plan = validate(Plan, body, text="", file=Path("plan"), kind="plan")
    check_spreads(plan, load_bench(plan, folder))
    return body


def _takes(bench: Testbench, name: str, parameters: Mapping[str, Any]) -> bool:
    """Whether a device of the bench has all the parameters."""
    try:
        for parameter in parameters:
            bench.adjustable(name, parameter)
    except InputError:
        return False
    return True
