"""The plan of a campaign: a bench, and what is varied in it.

::

    title = "Threshold spread of the 1T1R cell"
    bench = "1t1r_write"                          # a shipped bench, or a path from the plan's folder

    [grid]                                        # every combination, the last one varying fastest
    corner = ["nominal", "hot"]
    parameters.width = ["2 um", "5 um"]

    [sample]                                      # at every point of the grid
    method = "monte-carlo"                        # or latin-hypercube, sobol
    samples = 1000
    seed = 1
    variables.devices.memristor.theta_p = { relative = "20 %" }
    correlations = [{ of = ["devices.memristor.theta_p", "devices.memristor.theta_n"], rho = 0.5 }]

Instead of ``sample``, ``worst_case`` searches the worst value of a measure, and ``high_sigma`` estimates a small
probability to fail: both choose their cases by the results of earlier ones, and replay them after a stop.
Addresses are `cosim.campaign.address`'s; values and widths carry their units.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic
from pydantic import BeforeValidator, Field

from cosim import units
from cosim.bench.from_deck import SUFFIXES
from cosim.bench.testbench import Testbench
from cosim.campaign.address import CORNER, NOMINAL, apply, bounds, is_string, nominal, split
from cosim.engines.registry import ENGINES
from cosim.engines.simulator import Limits
from cosim.errors import CosimError, InputError, UnitError, UnknownName, at
from cosim.language.numbers import spice_number
from cosim.schema import Number, Second, Table, read
from cosim.statistics.spread import Correlation, Spread

MAX_CASES = 100_000_000
_SPREAD_KEYS = frozenset(Spread.model_fields)


def _flat(is_leaf: Callable[[dict[str, Any]], bool]) -> BeforeValidator:
    """``{"devices": {"m": {"theta": X}}}`` as ``{"devices.m.theta": X}``: dotted keys of TOML need no quotes.

    A table for which ``is_leaf`` is true is a value.
    """

    def walk(table: dict[str, Any], path: str) -> Iterator[tuple[str, Any]]:
        for key, value in table.items():
            here = f"{path}.{key}" if path else key
            if isinstance(value, dict) and not is_leaf(value):
                yield from walk(value, here)
            else:
                yield here, value

    return BeforeValidator(lambda given: dict(walk(given, "")) if isinstance(given, dict) else given)


Spreads = Annotated[dict[str, Spread], _flat(lambda table: bool(_SPREAD_KEYS & set(table)))]


class Range(Table):
    """Values from one to another, in place of a list.

    Args:
        start, stop: the first and the last value, with units.
        count: how many there are, both ends included.
        log: by a constant factor, not evenly spaced.
    """

    start: str | float
    stop: str | float
    count: int = Field(gt=0, le=10_000_000)
    log: bool = False

    def values(self, unit: str) -> list[float]:
        """The values (SI). Raises `InputError` for a range of the wrong sign or direction."""
        start, stop = units.parse(self.start, unit), units.parse(self.stop, unit)
        if self.count > 1 and not start < stop:
            raise InputError(f"a range from {self.start} to {self.stop} does not rise", remedy="swap start and stop")
        if self.log and not start > 0.0:
            raise InputError(f"a logarithmic range cannot begin at {self.start}", remedy="begin above zero")
        if self.count == 1:
            return [start]
        if self.log:
            return [start * (stop / start) ** (k / (self.count - 1)) for k in range(self.count)]
        return [start + (stop - start) * k / (self.count - 1) for k in range(self.count)]


Around = Annotated[dict[str, str | float], _flat(lambda table: False)]
Grid = Annotated[dict[str, Range | tuple[str | float, ...]], _flat(lambda table: "start" in table)]


class Sample(Table):
    """Points drawn from distributions, at every point of the grid; the same draws at each of them.

    Each point also has its own seed for the random functions of the netlist and its libraries (``agauss``,
    ``gauss``, ``aunif``, ``unif``, ``limit``) and for its noise (``trrandom``), whatever the method;
    `variables` may then be left out. All cycles of a device share it. Without [sample] these functions are their
    means, in a search, too.

    Args:
        method: how points are placed.
        samples: points; with cycles, devices.
        seed: of the draws: the same seed gives the same cases, however many run at once.
        variables: distribution by address (see below).
        cycles: how often each device is run; its `variables` stay, `cycle_variables` are drawn anew.
        cycle_variables: what differs from cycle to cycle, as `variables`.
        correlations: groups of correlated variables.
        yield_min: the least share of cases that keeps every limit; its interval has to show it. 1: every case does.
        confidence: of the intervals.
    """

    method: Literal["monte-carlo", "latin-hypercube", "sobol"] = "monte-carlo"
    samples: int = Field(gt=0, le=MAX_CASES)
    seed: int = Field(default=0, ge=0)
    variables: Spreads = Field(default_factory=dict)
    cycles: int = Field(default=1, gt=0, le=1_000_000)
    cycle_variables: Spreads = Field(default_factory=dict)
    correlations: tuple[Correlation, ...] = ()
    yield_min: Number | None = None
    confidence: float = Field(default=0.95, gt=0.0, lt=1.0)

    @pydantic.model_validator(mode="after")
    def _fits(self) -> Sample:
        if bool(self.cycle_variables) != (self.cycles > 1):
            raise InputError("cycles and cycle_variables belong together", remedy="give both, or neither")
        if self.cycles > 1 and self.method != "monte-carlo":
            raise InputError("cycles are drawn by Monte Carlo", remedy='write method = "monte-carlo"')
        twice = set(self.variables) & set(self.cycle_variables)
        if twice:
            raise InputError(f"{min(twice)} varies from device to device and from cycle to cycle", remedy="choose one")
        return self


class WorstCaseSearch(Table):
    """A search for the worst value of a measure, or for the smallest deviation at which it meets its limit.

    Args:
        measure: of the bench; of several values the worst counts.
        find: the worst value within `sigma`, or the distance in standard deviations at which the limit is met.
        worst: which end of the measure is the bad one.
        sigma: how far all variables together deviate, in standard deviations; a distance is searched up to 8.
        cases: simulations at most.
        seed: of the search.
        variables: distribution by address; `clip` is left out, `min`, `max` and a device's bounds stay.
        correlations: groups of variables that go together.
    """

    measure: str
    find: Literal["value", "distance"] = "value"
    worst: Literal["smallest", "largest"]
    sigma: float = Field(default=3.0, gt=0.0, le=10.0)
    cases: int = Field(default=200, gt=0, le=100_000)
    seed: int = Field(default=0, ge=0)
    variables: Spreads
    correlations: tuple[Correlation, ...] = ()


class HighSigma(Table):
    """The probability that a limit is broken, where it is too small to count. A run without a verdict counts as broken,
    a case that is refused, killed or too slow as neither: where such cases carry weight, the estimate is not trusted.

    Args:
        method: importance sampling around the nearest failures, or extrapolation from widened distributions.
        limit: of the bench.
        cases: simulations at most.
        seed: of the search.
        variables: distribution by address; `clip` is left out, `min`, `max` and a device's bounds stay.
        correlations: groups of variables that go together.
        confidence: of the interval.
    """

    method: Literal["importance", "scaled-sigma"] = "importance"
    limit: str
    cases: int = Field(default=2000, ge=200, le=10_000_000)
    seed: int = Field(default=0, ge=0)
    variables: Spreads
    correlations: tuple[Correlation, ...] = ()
    confidence: float = Field(default=0.95, gt=0.0, lt=1.0)


class CaseLimits(Table):
    """What one simulation may take.

    Args:
        wall: time.
        memory_gib: address space, in GiB.
        file_size_gib: of what it writes, in GiB.
    """

    wall: Second = 60.0
    memory_gib: float = Field(default=4.0, gt=0.0)
    file_size_gib: float = Field(default=2.0, gt=0.0)

    def value(self) -> Limits:
        """The simulator's limits."""
        return Limits(self.wall, int(self.memory_gib * 2**30), int(self.file_size_gib * 2**30))


class Plan(Table):
    """A bench, and what is varied in it.

    Args:
        title: for tables and figures.
        bench: a shipped bench by name, or the path of a bench or of a deck (.cir), from the plan's folder.
        engine: pyspice, ngspice or vacask.
        form: of every device; the bench's own where it is left out.
        around: values by address in place of the bench's own, around which distributions lie.
        grid: values by address (see below), every combination.
        sample: draws at every point of the grid.
        worst_case: a search, in place of a sample.
        high_sigma: an estimate of a small probability, in place of a sample.
        keep: what is kept beside measures and verdicts: "waveforms" keeps every vector of every case.
        trust: the share of cases that are repeated with tightened tolerances and half the step.
        limits: what one simulation may take.
        attempts: how often a case whose process died is tried.
    """

    title: str = ""
    bench: str
    engine: str = "pyspice"
    form: Literal["behavioural", "verilog-a"] | None = None
    around: Around = Field(default_factory=dict)
    grid: Grid = Field(default_factory=dict)
    sample: Sample | None = None
    worst_case: WorstCaseSearch | None = None
    high_sigma: HighSigma | None = None
    keep: Literal["measures", "waveforms"] = "measures"
    trust: Number = 0.0
    limits: CaseLimits = CaseLimits()
    attempts: int = Field(default=2, gt=0, le=10)

    @pydantic.model_validator(mode="after")
    def _one_way(self) -> Plan:
        ways = [name for name in ("sample", "worst_case", "high_sigma") if getattr(self, name) is not None]
        if len(ways) > 1:
            raise InputError(f"a plan has one of {', '.join(ways)}", remedy="write a plan for each")
        if ways and ways[0] != "sample" and self.grid:
            raise InputError(f"{ways[0]} chooses its own cases", remedy="remove [grid]")
        if not ways and not self.grid:
            raise InputError("the plan varies nothing", remedy="write [grid], [sample], [worst_case] or [high_sigma]")
        twice = set(self.grid) & set(self.spreads)
        if twice:
            with at(*self.keys_of(min(twice))):
                raise InputError(
                    f"{min(twice)} has its values in the grid, and is drawn as well",
                    remedy="remove it from [grid] or from the variables",
                )
        if not 0.0 <= self.trust <= 1.0:
            with at("trust"):
                raise InputError(f"trust = {self.trust:g} is not a share from 0 to 1", remedy="give 0 to 1")
        if self.engine not in ENGINES:
            with at("engine"):
                raise UnknownName("engine", self.engine, ENGINES)
        return self

    @property
    def spreads(self) -> Mapping[str, Spread]:
        """Every variable with a distribution."""
        _, way = self.way
        if way is None:
            return {}
        return {**way.variables, **(way.cycle_variables if isinstance(way, Sample) else {})}

    def keys_of(self, variable: str) -> tuple[str, ...]:
        """The keys of the plan's file under which a variable's distribution stands."""
        name, way = self.way
        cycle = isinstance(way, Sample) and variable in way.cycle_variables
        return name, "cycle_variables" if cycle else "variables", *variable.split(".")

    @property
    def way(self) -> tuple[str, Sample | WorstCaseSearch | HighSigma | None]:
        """How cases are drawn or searched: its table's name, and the table; "" and None for a mere grid."""
        tables = {"sample": self.sample, "worst_case": self.worst_case, "high_sigma": self.high_sigma}
        return next(((name, way) for name, way in tables.items() if way is not None), ("", None))


def read_plan(path: str | Path) -> Plan:
    """A plan from a TOML file. Raises `MissingFile`, and `InputError` with file and line."""
    return read(path, Plan, kind="plan")


def load_bench(plan: Plan, folder: Path, *, allow: tuple[Path, ...] = ()) -> Testbench:
    """The plan's bench in the plan's form, with the values ``around``, without nominal limits.

    A path counts from ``folder``. Raises `UnknownName`, `UnitError`, `InputError` for a value that does not fit.
    """
    reference: str | Path = plan.bench
    if Path(plan.bench).suffix.lower() in (".toml", *SUFFIXES):
        reference = folder / plan.bench
    with at("bench"):
        bench = Testbench.load(reference, allow=allow).varied()
    bench = bench.with_(form=plan.form) if plan.form else bench
    values: dict[str, float | str] = {}
    for address, given in plan.around.items():
        with at("around", *address.split(".")):
            if is_string(bench, address):
                values[address] = str(given)
                continue
            unit = nominal(bench, address)[1]
            values[address] = number = units.parse(_number(given, unit) if _is_deck(plan) else given, unit)
            _within(bench, address, [number])
    return apply(bench, values) if values else bench


def grid_values(plan: Plan, bench: Testbench) -> dict[str, list[float | str]]:
    """The values (SI; names of corners) of each address of the grid, checked against the bench.

    Raises `UnknownName` for an address that the bench lacks, `InputError` for values that do not fit.
    """
    found: dict[str, list[float | str]] = {}
    for address, given in plan.grid.items():
        with at("grid", *address.split(".")):
            try:
                found[address] = _column(bench, address, given, deck=_is_deck(plan))
            except UnknownName as error:
                error.message = f"grid: {error.message}"
                raise
            except CosimError as error:
                kind = UnitError if isinstance(error, UnitError) else InputError
                raise kind(f"grid.{address}: {error.message}", remedy=error.remedy) from None
            if not found[address]:
                raise InputError(f"grid.{address} has no values", remedy="give at least one")
    cases = math.prod(len(values) for values in found.values())
    per_point = plan.sample.samples * plan.sample.cycles if plan.sample else 1
    if cases * per_point > MAX_CASES:
        raise InputError(f"a plan of {cases * per_point} cases is too long", remedy=f"take {MAX_CASES} at most")
    return found


def _is_deck(plan: Plan) -> bool:
    return Path(plan.bench).suffix.lower() in SUFFIXES


def _number(given: str | float, unit: str) -> str | float:
    """A number as a deck writes it, ``1k`` or ``2meg``, for a parameter of a deck, whose unit nobody knows."""
    text = str(given).strip()
    if unit != "1" or not re.fullmatch(r"[-+\d.]+([eE][-+]?\d+)?(meg|[tgkmunpfa])", text, re.IGNORECASE):
        return given
    if text.endswith("M"):
        raise InputError(f"{text!r} is milli in a deck, and mega elsewhere", remedy="write 1m or 1meg")
    value = spice_number(text)
    return given if value is None else value


def _column(bench: Testbench, address: str, given: Range | tuple[str | float, ...], *, deck: bool) -> list[float | str]:
    if address == CORNER:
        if isinstance(given, Range):
            raise InputError("corners have names", remedy=f"known: {', '.join((NOMINAL, *bench.file.corners))}")
        for name in given:
            if name != NOMINAL and name not in bench.file.corners:
                raise UnknownName(f"corner of bench {bench.name}", str(name), (NOMINAL, *bench.file.corners))
        return [str(name) for name in given]
    if is_string(bench, address):
        if isinstance(given, Range):
            raise InputError("this is a string, and has no range", remedy="list its words")
        for word in given:
            apply(bench, {address: str(word)})
        return [str(word) for word in given]
    _, unit = nominal(bench, address)
    if deck and isinstance(given, Range):
        given = given.model_copy(update={key: _number(getattr(given, key), unit) for key in ("start", "stop")})
    elif deck and not isinstance(given, Range):
        given = tuple(_number(value, unit) for value in given)
    values = given.values(unit) if isinstance(given, Range) else [units.parse(value, unit) for value in given]
    _within(bench, address, values)
    return list(values)


def _within(bench: Testbench, address: str, values: list[float]) -> None:
    """Raises `InputError` for a value outside the device's bounds before anything runs."""
    parts = split(address)
    if parts[0] != "devices":
        return
    for value in (min(values), max(values)):
        bench.with_(values={parts[1]: {parts[2]: value}})


def check_spreads(plan: Plan, bench: Testbench) -> dict[str, tuple[Spread, float]]:
    """Each variable's distribution, truncated at its device's bounds, and its nominal value (SI) as the bench stands.

    A search's `clip` is left out: a truncated tail would hide what is searched for.
    Raises `UnknownName`, and `InputError` for widths and bounds that do not fit.
    """
    found: dict[str, tuple[Spread, float]] = {}
    for address, spread in plan.spreads.items():
        with at(*plan.keys_of(address)):
            found[address] = _checked(address, spread, plan, bench)
    return found


def _checked(address: str, spread: Spread, plan: Plan, bench: Testbench) -> tuple[Spread, float]:
    try:
        centre, unit = nominal(bench, address)
    except UnknownName as error:
        error.message = f"variables: {error.message}"
        raise
    if spread.absolute is not None and units.dimension(spread.absolute.unit)[1] != units.dimension(unit)[1]:
        raise UnitError(
            f"variables.{address}: a width in {spread.absolute.unit} of a value in {unit}", remedy=f"write it in {unit}"
        )
    if spread.relative is not None and centre == 0.0:
        raise InputError(
            f"variables.{address}: its value is 0, to which a width cannot be relative",
            remedy="give an absolute width",
        )
    try:
        spread = (spread if plan.sample is not None else spread.unclipped()).within(centre, *bounds(bench, address))
        spread.value(centre, 0.0)
    except InputError as error:
        raise InputError(f"variables.{address}: {error.message}", remedy=error.remedy) from None
    return spread, centre
