"""The results of a campaign: yields and spreads of measures, tables for other programs, and two campaigns compared."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cosim.campaign.address import CORNER, unit_of
from cosim.campaign.campaign import Campaign
from cosim.campaign.searches import Searcher
from cosim.devices.base import Array
from cosim.engines.simulator import Outcome
from cosim.errors import EngineMissing, InputError
from cosim.files import replacing, write_netcdf
from cosim.statistics.verdict import Verdict
from cosim.statistics.yields import Yield, estimate
from cosim.units import in_unit, show, si_unit

if TYPE_CHECKING:
    import pandas
    import xarray

ALL = "all limits"
FORMATS = (".csv", ".parquet", ".nc")
APART = 8  # values of a measure that are listed one by one; of more the spread is that of all together
PHYSICS = ("finite", "state in bounds")


@dataclass(frozen=True)
class Observed:
    """One measure over the cases of a group: every value (n,) of every case that converged, and its limits, SI.

    ``shown_in`` is the unit that the bench asks for, in which tables, files and figures have them. Of a measure with up
    to `APART` values a case each is one of its own, ``name[0]``, ``name[1]``, ...
    """

    name: str
    shown_in: str
    values: Array
    low: float | None = None
    high: float | None = None

    @property
    def unit(self) -> str:
        """The SI unit of the values and limits."""
        return si_unit(self.shown_in)

    @property
    def mean(self) -> float:
        """Mean of the values."""
        return float(np.mean(self.values))

    @property
    def deviation(self) -> float:
        """Standard deviation of the values, with n − 1; 0 for a single one."""
        return float(np.std(self.values, ddof=1)) if self.values.size > 1 else 0.0

    def to_dict(self) -> dict[str, Any]:
        """JSON values, in ``unit``, which is that of the bench."""
        found = {"mean": self.mean, "deviation": self.deviation, "smallest": self.values.min(),
                 "largest": self.values.max()}  # fmt: skip
        return {"unit": self.shown_in} | {name: in_unit(float(x), self.shown_in) for name, x in found.items()}


@dataclass(frozen=True)
class Group:
    """The cases at one point of the grid: how they ended, the yield per limit, and the spread per measure."""

    point: Mapping[str, float | str]
    cases: int
    outcomes: Mapping[str, int]
    yields: Mapping[str, Yield]
    measures: Mapping[str, Observed]
    units: Mapping[str, str] = field(default_factory=dict)

    @property
    def told(self) -> dict[str, Yield]:
        """The yields; without that of all limits if there is only one."""
        alone = len(self.yields) == 2 and len({str(share) for share in self.yields.values()}) == 1
        return {name: share for name, share in self.yields.items() if not (alone and name == ALL)}

    def name(self) -> str:
        """The point in words."""
        parts = []
        for key, value in self.point.items():
            written = value if isinstance(value, str) else show(value, self.units.get(key, "1"))
            parts.append(f"{key.rpartition('.')[2]} = {written}")
        return ", ".join(parts) or "all"


@dataclass
class _Count:
    cases: int = 0
    outcomes: dict[str, int] = field(default_factory=dict)
    passed: dict[str, int] = field(default_factory=dict)
    unknown: dict[str, int] = field(default_factory=dict)
    values: dict[str, list[float]] = field(default_factory=dict)


def groups(campaign: Campaign) -> list[Group]:
    """The finished cases by the points of the grid, in the grid's order; one group where there is no grid."""
    plan, bench = campaign.plan, campaign.bench
    counts: dict[tuple[float | str, ...], _Count] = {}
    for row in campaign.store.rows():
        point = tuple(row["corner"] if name == CORNER else row["values"][name] for name in plan.grid)
        _count(counts.setdefault(point, _Count()), row, bench.file.limits)
    sample = plan.sample
    units = {name: unit_of(bench, name) for name in plan.grid if name != CORNER}
    found = []
    for point, count in counts.items():
        yields = {}
        for name in (*bench.file.limits, ALL):
            if sample is None:
                continue
            yields[name] = estimate(
                count.passed.get(name, 0), count.cases, unknown=count.unknown.get(name, 0), level=sample.confidence,
                sampling=sample.method, cycles=sample.cycles,
            )  # fmt: skip
        measures = {}
        for name, values in count.values.items():
            measure = name.partition("[")[0]
            unit = bench.file.measures[measure].unit
            limit = bench.file.limits.get(measure)
            low, high = limit.span(unit) if limit else (None, None)
            measures[name] = Observed(name, unit, np.array(values), low, high)
        place = dict(zip(plan.grid, point, strict=True))
        found.append(Group(place, count.cases, count.outcomes, yields, measures, units))
    return found


def _count(count: _Count, row: Mapping[str, Any], limits: Iterable[str]) -> None:
    count.cases += 1
    count.outcomes[row["outcome"]] = count.outcomes.get(row["outcome"], 0) + 1
    verdicts = {**dict.fromkeys(limits, Verdict.CANNOT_TELL.value), **row.get("limits", {}), ALL: row["verdict"]}
    for name, verdict in verdicts.items():
        if verdict == Verdict.PASS.value:
            count.passed[name] = count.passed.get(name, 0) + 1
        elif verdict == Verdict.CANNOT_TELL.value:
            count.unknown[name] = count.unknown.get(name, 0) + 1
    for name, values in row.get("measures", {}).items():
        if 1 < len(values) <= APART:  # values after different pulses: one number over all is meaningless
            for k, value in enumerate(values):
                count.values.setdefault(f"{name}[{k}]", []).append(value)
        else:
            count.values.setdefault(name, []).extend(values)


def search_result(campaign: Campaign) -> tuple[Searcher, Any] | None:
    """The search of a plan at its end, and its result, from the rows alone; None without one or before its end."""
    search = campaign.searcher()
    if search is None:
        return None
    while (asked := search.ask()) is not None:
        rows = list(campaign.store.rows(numbers=[case.number for case in asked]))
        if len(rows) < len(asked):
            return None
        search.tell(rows)
    return search, search.search.result


@dataclass(frozen=True)
class Columns:
    """The columns of the flat table: name -> unit, in order. A measure with n values has columns ``name[0]`` ...

    Addresses are in SI, measures in the units that the bench asks for.
    """

    addresses: Mapping[str, str]
    measures: Mapping[str, tuple[str, int]]
    limits: tuple[str, ...]


def columns(campaign: Campaign) -> Columns:
    """The columns that the finished cases need."""
    addresses: dict[str, str] = {}
    lengths: dict[str, int] = {}
    for row in campaign.store.rows():
        for name in row["values"]:
            if name not in addresses:
                addresses[name] = unit_of(campaign.bench, name)
        for name, values in row.get("measures", {}).items():
            lengths[name] = max(lengths.get(name, 0), len(values))
    measures = {name: (campaign.bench.file.measures[name].unit, length) for name, length in lengths.items()}
    return Columns(addresses, measures, tuple(campaign.bench.file.limits))


def flat(campaign: Campaign, wanted: Columns) -> Iterator[dict[str, Any]]:
    """The finished cases as flat records, in the units of ``wanted``; what a case lacks is absent."""
    for row in campaign.store.rows():
        record = {
            "case": row["number"], "corner": row["corner"], "outcome": row["outcome"], "verdict": row["verdict"],
            "time_step": row.get("time_step"), "seconds": row.get("seconds"), "cached": bool(row.get("cached")),
            **row["values"],
        }  # fmt: skip
        for name, values in row.get("measures", {}).items():
            unit, length = wanted.measures[name]
            record |= {f"{name}[{k}]" if length > 1 else name: in_unit(x, unit) for k, x in enumerate(values)}
        record |= {f"limit:{name}": verdict for name, verdict in row.get("limits", {}).items()}
        record |= {f"physics:{name}": entry["verdict"] for name, entry in row.get("physics", {}).items()}
        yield {key: value for key, value in record.items() if value is not None}


def _header(wanted: Columns) -> dict[str, str]:
    """The columns of the flat table with their units; "" for one without a unit."""
    names = dict.fromkeys(("case", "corner", "outcome", "verdict", "time_step"), "")
    names |= {"seconds": "s", "cached": ""} | dict(wanted.addresses)
    for name, (unit, length) in wanted.measures.items():
        names |= {f"{name}[{k}]" if length > 1 else name: unit for k in range(length)}
    names |= {f"limit:{name}": "" for name in wanted.limits}
    return names | {f"physics:{name}": "" for name in PHYSICS}


def frame(campaign: Campaign) -> pandas.DataFrame:
    """The finished cases as a data frame, a row per case; ``attrs["units"]`` has the unit of each column.

    >>> from pathlib import Path
    >>> _ = Path("plan.toml").write_text('bench = "1t1r_write"\\n[grid]\\n"devices.memristor.theta_p" = [1.4, 1.5]\\n')
    >>> executor = cosim.Processes(1)
    >>> with cosim.Campaign.begin("plan.toml", "plan.campaign") as campaign:
    ...     done = campaign.run(executor)
    ...     table = cosim.campaign_frame(campaign)
    >>> executor.close()
    >>> done, len(table)
    (True, 2)
    """
    import pandas

    wanted = columns(campaign)
    header = _header(wanted)
    found = pandas.DataFrame.from_records(list(flat(campaign, wanted)), columns=list(header))
    found.attrs["units"] = header
    return found


def dataset(campaign: Campaign) -> xarray.Dataset:
    """The finished cases over the dimension ``case``, each with its unit; measures with n values have a second one."""
    import xarray

    wanted = columns(campaign)
    rows = list(campaign.store.rows())
    numbers = [row["number"] for row in rows]
    found = xarray.Dataset(coords={"case": ("case", numbers)})
    for name, unit in wanted.addresses.items():
        values = [row["values"].get(name, math.nan) for row in rows]
        found[name] = ("case", values, {"units": unit, "role": "varied"})
    for name, (unit, length) in wanted.measures.items():
        block = np.full((len(rows), length), math.nan)
        for k, row in enumerate(rows):
            values = row.get("measures", {}).get(name, ())
            block[k, : len(values)] = in_unit(np.asarray(values, dtype=float), unit)
        dims, data = (("case",), block[:, 0]) if length == 1 else (("case", f"{name}_value"), block)
        found[name if name not in found else f"measure_{name}"] = (dims, data, {"units": unit, "role": "measure"})
    for name in ("corner", "outcome", "verdict"):
        found[name] = ("case", np.array([str(row[name]) for row in rows], dtype=np.str_))
    for name in wanted.limits:
        verdicts = [str(row.get("limits", {}).get(name, "")) for row in rows]
        found[f"limit_{name}"] = ("case", np.array(verdicts, dtype=np.str_))
    for name in PHYSICS:
        verdicts = [str(row.get("physics", {}).get(name, {}).get("verdict", "")) for row in rows]
        found[f"physics_{name.replace(' ', '_')}"] = ("case", np.array(verdicts, dtype=np.str_))
    found["time_step"] = ("case", np.array([str(row.get("time_step") or "") for row in rows], dtype=np.str_))
    found["seconds"] = ("case", [float(row.get("seconds") or math.nan) for row in rows], {"units": "s"})
    found.attrs |= {"title": campaign.plan.title, "bench": campaign.bench.name, "engine": campaign.job.engine}
    return found


def export(campaign: Campaign, to: str | Path) -> Path:
    """Write the finished cases as CSV, Parquet or netCDF, by the ending of ``to``, replacing it as a whole.

    Raises `InputError` for another ending, `EngineMissing` where Parquet's library is not installed.
    """
    path = Path(to)
    if path.suffix not in FORMATS:
        raise InputError(f"{path.name!r} has an unknown ending", remedy=f"end it with {', '.join(FORMATS)}")
    if path.suffix == ".csv":
        wanted = columns(campaign)
        header = _header(wanted)
        with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, header, restval="")
            writer.writerow(
                {name: f"{name} ({unit})" if unit not in ("", "1") else name for name, unit in header.items()}
            )
            writer.writerows(flat(campaign, wanted))
        return path
    if path.suffix == ".nc":
        return write_netcdf(path, dataset(campaign))
    table = frame(campaign)
    table.attrs = {"units": json.dumps(table.attrs["units"])}
    try:
        with replacing(path) as temporary:
            table.to_parquet(temporary, index=False)
    except ImportError:
        raise EngineMissing("Parquet needs pyarrow, which is not installed", remedy="pip install pyarrow") from None
    return path


@dataclass(frozen=True)
class Difference:
    """Two campaigns compared, case by case, where corner and values agree.

    Args:
        both, only_first, only_second: cases.
        verdicts: (case of the second, before, after) of each verdict or outcome that differs.
        largest: per measure the largest difference of a value, over the largest value of that measure; and its case.
        uneven: (case of the second, measure, values in the first, in the second) where these numbers differ: the number
            of a missing measure is absent.
    """

    both: int
    only_first: int
    only_second: int
    verdicts: tuple[tuple[int, str, str], ...]
    largest: Mapping[str, tuple[float, int]]
    uneven: tuple[tuple[int, str, int, int], ...] = ()

    def same(self, tolerance: float) -> bool:
        """Whether both have the same cases, verdicts and measures, whose values agree within ``tolerance``."""
        within = all(value <= tolerance for value, _ in self.largest.values())
        return not (self.only_first or self.only_second or self.verdicts or self.uneven) and within


def compare(first: Campaign, second: Campaign) -> Difference:
    """The differences of two campaigns. Cases with the same corner and values are paired in their order."""
    before = dict(_identified(first.store.rows()))
    scales: dict[str, float] = {}
    for row in before.values():
        _scale(scales, row)
    both, only_second = 0, 0
    verdicts: list[tuple[int, str, str]] = []
    uneven: list[tuple[int, str, int, int]] = []
    largest: dict[str, tuple[float, int]] = {}
    for identity, row in _identified(second.store.rows()):
        _scale(scales, row)
        other = before.get(identity)
        if other is None:
            only_second += 1
            continue
        both += 1
        states = [_state(entry) for entry in (other, row)]
        if states[0] != states[1]:
            verdicts.append((row["number"], *states))
        measures = [entry.get("measures", {}) for entry in (other, row)]
        for name in dict.fromkeys((*measures[0], *measures[1])):
            earlier, values = (entry.get(name, []) for entry in measures)
            if len(earlier) != len(values):
                uneven.append((row["number"], name, len(earlier), len(values)))
                continue
            change = max((abs(a - b) for a, b in zip(earlier, values, strict=True)), default=0.0)
            if change >= largest.get(name, (-1.0, 0))[0]:
                largest[name] = change, row["number"]
    relative = {name: (change / (scales[name] or 1.0), number) for name, (change, number) in largest.items()}
    return Difference(both, len(before) - both, only_second, tuple(verdicts), relative, tuple(uneven))


def _scale(scales: dict[str, float], row: Mapping[str, Any]) -> None:
    """Take the largest value of each measure in."""
    for name, values in row.get("measures", {}).items():
        scales[name] = max(scales.get(name, 0.0), *(abs(value) for value in values), 0.0)


def _identified(rows: Iterable[Mapping[str, Any]]) -> Iterator[tuple[tuple[str, int], Mapping[str, Any]]]:
    """Rows, each with its corner, values and seed, and how many rows with the same ones came before."""
    found: dict[str, int] = {}
    for row in rows:
        identity = json.dumps([row["corner"], sorted(row["values"].items()), row.get("seed")])
        found[identity] = found.get(identity, -1) + 1
        yield (identity, found[identity]), row


def _state(row: Mapping[str, Any]) -> str:
    return str(row["verdict"] if row["outcome"] == Outcome.CONVERGED.value else row["outcome"])
