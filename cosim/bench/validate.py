"""Validation: benches at their corners and samples, a verdict per limit, and whether the verdict can be trusted.

A *verdict* is ``pass``, ``fail`` or ``cannot tell``. A limit gets the last where a run did not converge, or where its
measure, repeated at tightened tolerances and half the maximum step, moves by more than the bench's ``trust.moves`` or
across the limit. Monte Carlo samples are run once each, at the bench's own tolerances, and judged by their yield:
an interval that includes the least yield asked for cannot tell.

Benches, and the nominal run, the repeated run, corners and samples of each, are worked on at once: the simulator's
processes bound what really runs. Results are the same in any order.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from cosim import resources
from cosim.bench.from_deck import SUFFIXES
from cosim.bench.limits import Spec, judge_limit
from cosim.bench.result import BenchResult
from cosim.bench.testbench import Testbench
from cosim.engines.simulator import Limits, Simulator
from cosim.errors import CosimError, InputError, MissingFile, Where
from cosim.statistics.verdict import Verdict
from cosim.statistics.yields import estimate
from cosim.units import scale_of, show

NOMINAL = "nominal"
NO_LIMITS = "no limits"
UNREADABLE = "unreadable"
Tell = Callable[[Sequence[str], int], None]
# Of the JSON: from 2 on limits and values are in the unit beside them, before they were SI whatever it said.
FORMAT = 2
BLOCK = 256  # samples that are handed out before the first of them is judged
Found = TypeVar("Found")
__all__ = [
    "BenchReport", "Spec", "Validation", "Verdict", "compare", "find_benches", "junit", "read_baseline", "validate_all",
    "validate_bench",
]  # fmt: skip


@dataclass(frozen=True)
class BenchReport:
    """Everything that was found about one bench. ``nominal`` is its run as it stands; None where it could not run.

    ``seconds`` went by from its start to its verdict, with other benches at work at the same time. ``source`` and
    ``description`` are the bench's; ``unreadable`` says that ``error`` is about its file. ``failing`` are the runs
    of the corners that break a limit; ``samples`` the values (SI) that each limited measure took in Monte Carlo: one of
    a sample, or the smallest and the largest of several.
    """

    bench: str
    title: str
    specs: tuple[Spec, ...]
    nominal: BenchResult | None = None
    error: str = ""
    seconds: float = 0.0
    source: str = ""
    description: str = ""
    unreadable: bool = False
    failing: Mapping[str, BenchResult] = field(default_factory=dict)
    samples: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    @property
    def verdict(self) -> Verdict:
        """The worst of its specs; ``cannot tell`` for a bench that could not run.

        A bench without limits that ran has ``pass`` here, as nothing is wrong with it; `kind` tells it apart.
        """
        found = {spec.verdict for spec in self.specs}
        if Verdict.FAIL in found:
            return Verdict.FAIL
        return Verdict.CANNOT_TELL if self.error or Verdict.CANNOT_TELL in found else Verdict.PASS

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader has to know of the run as it stands: cards left out, numbers that may be misread."""
        return self.nominal.notes if self.nominal is not None else ()

    @property
    def kind(self) -> str:
        """The verdict in words; `UNREADABLE`, or `NO_LIMITS` for a bench that ran and has no limits to judge."""
        if self.unreadable:
            return UNREADABLE
        return self.verdict.value if self.specs or self.error else NO_LIMITS


@dataclass(frozen=True)
class Validation:
    """Reports of several benches."""

    reports: tuple[BenchReport, ...]
    engine: str
    changes: tuple[str, ...] = field(default=())

    @property
    def summary(self) -> str:
        """How many benches ended in which way."""
        kinds = [report.kind for report in self.reports]
        return ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds))

    @property
    def passed(self) -> bool:
        """Whether every bench passes that has limits."""
        return all(report.verdict is Verdict.PASS for report in self.reports)

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "format": FORMAT,
            "engine": self.engine,
            "passed": self.passed,
            "benches": [
                {
                    "bench": report.bench,
                    "title": report.title,
                    **({"source": report.source} if report.source else {}),
                    "verdict": report.kind,
                    "seconds": round(report.seconds, 3),
                    **({"error": report.error} if report.error else {}),
                    **({"notes": list(report.notes)} if report.notes else {}),
                    "specs": [spec.to_dict() for spec in report.specs],
                }
                for report in self.reports
            ],
            **({"changes": list(self.changes)} if self.changes else {}),
        }


def find_benches(places: Sequence[str | Path]) -> list[Path]:
    """Bench files and decks that are given, benches in given folders, shipped ones by name; every shipped one without
    any.
    """
    if not places:
        return resources.listing("netlists", ".toml")
    found: list[Path] = []
    for place in places:
        path = Path(place)
        if path.is_dir():
            inside = sorted(path.rglob("*.toml"))
            if not inside:
                raise InputError(f"{path} does not contain a bench", remedy="a bench is a .toml file")
            found += inside
        elif path.suffix in (".toml", ".raw") or path.suffix.lower() in SUFFIXES:
            if not path.is_file():
                raise MissingFile(f"cannot read bench {path}: No such file", remedy="check the path")
            found.append(path)
        else:
            found.append(resources.find("netlists", str(place), suffix=".toml"))
    return list(dict.fromkeys(found))


@contextlib.contextmanager
def _threads(simulator: Simulator, count: int) -> Iterator[ThreadPoolExecutor]:
    """Threads that wait for simulations. An interrupt ends what they wait for: it closes the simulator."""
    threads = ThreadPoolExecutor(count)
    try:
        yield threads
    except Exception:
        threads.shutdown(cancel_futures=True)
        raise
    except BaseException:
        simulator.close()
        threads.shutdown(wait=False, cancel_futures=True)
        raise
    threads.shutdown()


def _gather(futures: Sequence[Future[Found]]) -> list[Found]:
    """Their results in their order; the first error ends those that have not begun."""
    try:
        return [future.result() for future in futures]
    finally:
        for future in futures:
            future.cancel()


def validate_all(
    benches: Iterable[Path],
    simulator: Simulator,
    *,
    limits: Limits | None = None,
    trust: bool = True,
    workers: int = 2,
    tell: Tell = lambda *_: None,
    allow: Sequence[Path] = (),
) -> Validation:
    """Validate each bench; one that cannot be read or run is reported, and the next one runs.

    Reports have the order of ``benches``. ``workers``, the simulator's processes, are kept busy. ``tell`` gets the
    names of the benches under way and how many are done, whenever that changes, from any thread. ``allow`` are
    folders that their libraries may lie in, beside each bench's own. An interrupt closes the simulator.

    >>> bench = cosim.Testbench.load("1t1r_write")
    >>> with cosim.open_simulator() as simulator:
    ...     validation = cosim.validate_all([bench.source], simulator)
    >>> validation.passed
    True
    """
    lock = threading.Lock()
    at_work: list[str] = []
    done = 0

    def said(path: Path, *, ended: bool) -> None:
        nonlocal done
        with lock:
            if ended:
                at_work.remove(path.stem)
                done += 1
            else:
                at_work.append(path.stem)
            tell(tuple(at_work), done)

    def one(path: Path) -> BenchReport:
        said(path, ended=False)
        bench = None
        try:
            bench = Testbench.load(path, allow=allow)
            return _validate(bench, simulator, cases, limits=limits, trust=trust)
        except CosimError as error:
            return BenchReport(path.stem, path.stem, (), error=str(error), unreadable=bench is None)
        finally:
            said(path, ended=True)

    # One bench more than processes: there is work while the harness reads and judges another.
    with _threads(simulator, 2 * (workers + 1)) as cases, _threads(simulator, workers + 1) as threads:
        reports = _gather([threads.submit(one, path) for path in benches])
    return Validation(tuple(reports), simulator.version())


def validate_bench(
    bench: Testbench, simulator: Simulator, *, limits: Limits | None = None, trust: bool = True, workers: int = 2
) -> BenchReport:
    """One bench: as it stands, at every corner, and over its samples. An interrupt closes the simulator.

    >>> with cosim.open_simulator() as simulator:
    ...     report = cosim.validate_bench(cosim.Testbench.load("1t1r_write"), simulator)
    >>> report.verdict.value
    'pass'
    """
    with _threads(simulator, 2 * (workers + 1)) as cases:
        return _validate(bench, simulator, cases, limits=limits, trust=trust)


def _validate(
    bench: Testbench, simulator: Simulator, threads: ThreadPoolExecutor, *, limits: Limits | None, trust: bool
) -> BenchReport:
    began = time.perf_counter()
    cases = {NOMINAL: bench, **{name: bench.at_corner(name) for name in bench.file.corners}}
    repeated = [
        corner for corner, case in cases.items() if trust and case.file.trust.repeat and case.file.limits
    ]  # fmt: skip
    # the tightened ones are the longest, so they begin first
    todo = [*(cases[corner].tightened() for corner in repeated), *cases.values()]
    futures = [threads.submit(case.run, simulator, limits=limits) for case in todo]
    try:
        samples, values = _samples(bench, simulator, threads, limits)
    finally:
        found = _gather(futures)
    again: dict[str, BenchResult] = dict(zip(repeated, found, strict=False))
    runs = dict(zip(cases, found[len(repeated) :], strict=True))
    specs = [
        judge_limit(case, corner, name, runs[corner], again.get(corner))
        for corner, case in cases.items()
        for name in case.file.limits
    ]
    error = ""
    nominal = runs[NOMINAL]
    if not specs and not nominal.result.ok:
        error = f"{nominal.result.outcome.value}: {nominal.result.reason}"
    elif absent := [name for name in nominal.missing if name not in bench.file.limits]:
        error = "; ".join(map(nominal.absent, absent))
    broken = dict.fromkeys(spec.corner for spec in specs if spec.verdict is Verdict.FAIL and spec.corner != NOMINAL)
    failing = {corner: runs[corner] for corner in broken if runs[corner].result.ok}
    seconds = time.perf_counter() - began
    return BenchReport(
        bench.name, bench.file.title, (*specs, *samples), nominal, error, seconds,
        bench.file.source, bench.file.description, failing=failing, samples=values,
    )  # fmt: skip


def _sample(
    bench: Testbench, simulator: Simulator, limits: Limits | None, stream: np.random.SeedSequence
) -> dict[str, tuple[bool, *tuple[float, ...]]] | str:
    """Per limit of one sample: whether it is kept, and the measure's ends, which are missing where the measure is
    and the limit so not kept; for a sample without a run, why.
    """
    run = bench.sampled(np.random.default_rng(stream)).run(simulator, limits=limits)
    if not run.result.ok:
        return f"{run.result.outcome.value}: {run.result.reason}"
    found: dict[str, tuple[bool, *tuple[float, ...]]] = {}
    for name in run.bench.file.limits:
        measured = run.measures.get(name)
        ends = () if measured is None or not measured.values.size else (measured.values.min(), measured.values.max())
        found[name] = (measured is not None and measured.verdict is Verdict.PASS, *map(float, ends))
    return found


def _samples(
    bench: Testbench, simulator: Simulator, threads: ThreadPoolExecutor, limits: Limits | None
) -> tuple[list[Spec], dict[str, tuple[float, ...]]]:
    """A spec per limit over the samples: the yield, judged by its 95 % Clopper–Pearson interval; the values of each.

    Raises `InputError` where samples cannot differ.
    """
    spec = bench.file.monte_carlo
    if spec is None:
        return [], {}
    if not spec.parameters and not spec.devices and not bench.random_lines():
        raise InputError(
            "[monte_carlo] varies nothing, and the netlist has no random functions",
            where=Where(bench.source), remedy="name parameters, or parameters of devices",
        )  # fmt: skip
    streams = np.random.SeedSequence(spec.seed).spawn(spec.samples)
    good = dict.fromkeys(bench.varied().file.limits, 0)
    values: dict[str, list[float]] = {name: [] for name in good}
    failed: list[str] = []
    for start in range(0, spec.samples, BLOCK):
        block = [threads.submit(_sample, bench, simulator, limits, stream) for stream in streams[start : start + BLOCK]]
        for sample in _gather(block):
            if isinstance(sample, str):
                failed.append(sample)
                continue
            for name, (kept, *ends_of_one) in sample.items():
                good[name] += kept
                values[name] += ends_of_one
    found = []
    runs = spec.samples - len(failed)
    alike = runs > 1 and any(values.values()) and all(not seen or min(seen) == max(seen) for seen in values.values())
    for name, count in good.items():
        share = estimate(count, spec.samples, unknown=len(failed))
        why = f"yield {share.judgement(spec.yield_min)}"
        if failed:
            why += f"; {len(failed)} did not run and count as either in the interval; the first: {failed[0]}"
        if alike:
            why += "; every sample gave the same values: what is varied reaches no measure"
        verdict = share.judged(spec.yield_min)
        unit = bench.file.measures[name].unit
        limit = bench.file.limits[name]
        low, high = limit.span(unit)
        ends = (min(values[name]), max(values[name])) if values[name] else (None, None)
        made = Spec(bench.name, "Monte Carlo", name, verdict, why, unit, low, high, *ends)
        found.append(replace(made, origin=limit.origin, reason=limit.reason))
    scalar = {name: seen[::2] == seen[1::2] for name, seen in values.items()}
    return found, {name: tuple(seen[::2] if scalar[name] else seen) for name, seen in values.items()}


def compare(now: Validation, baseline: Mapping[str, Any], *, tolerance: float = 0.01) -> Validation:
    """``now`` with what changed against an earlier run's JSON: verdicts, and values by more than ``tolerance``.

    Raises `InputError` where ``baseline`` is not such JSON.
    """
    try:
        old = {
            (bench["bench"], spec["corner"], spec["measure"]): spec
            for bench in baseline["benches"]
            for spec in bench["specs"]
        }
    except (KeyError, TypeError):
        raise InputError("the baseline is not a result of cosim validate --json") from None
    si = baseline.get("format", 1) < FORMAT
    changes = []
    seen = set()
    for report in now.reports:
        for spec in report.specs:
            key = (spec.bench, spec.corner, spec.measure)
            seen.add(key)
            name = "/".join(key)
            before = old.get(key)
            if before is None:
                changes.append(f"{name}: new, {spec.verdict.value}")
                continue
            if before["verdict"] != spec.verdict.value:
                changes.append(f"{name}: {before['verdict']} became {spec.verdict.value}")
            for end in ("smallest", "largest"):
                was, value = before.get(end), getattr(spec, end)
                was = was if was is None or si else was * scale_of(before.get("unit", "1"))
                if was is not None and value is not None and abs(value - was) > tolerance * max(abs(was), abs(value)):
                    changes.append(f"{name}: {end} was {show(was, spec.shown_in)}, is {show(value, spec.shown_in)}")
    changes += [f"{'/'.join(key)}: gone" for key in old if key not in seen]
    return Validation(now.reports, now.engine, tuple(changes))


def read_baseline(path: str | Path) -> dict[str, Any]:
    """An earlier run's JSON file."""
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise MissingFile(f"cannot read baseline {path}: {error.strerror}", remedy="check the path") from None
    except ValueError:
        raise InputError("no JSON", where=Where(path), remedy="give a file that cosim validate --json wrote") from None
    if not isinstance(found, dict):
        raise InputError("not a result of cosim validate", where=Where(path), remedy="give its --json output")
    return found


def junit(validation: Validation) -> str:
    """The validation as JUnit XML: a suite per bench, a case per spec; ``cannot tell`` is an error."""
    from xml.etree import ElementTree as Xml

    root = Xml.Element("testsuites", name="cosim validate")
    for report in validation.reports:
        suite = Xml.SubElement(root, "testsuite", name=report.bench, time=f"{report.seconds:.3f}")
        cases = [
            (
                f"{s.corner}: {s.measure}",
                s.verdict,
                "; ".join(filter(None, (s.value(), f"limit {s.limit()}", s.account))),
            )
            for s in report.specs
        ]
        if report.error:
            cases.append(("bench", Verdict.CANNOT_TELL, report.error))
        if report.kind == NO_LIMITS:
            skipped = Xml.SubElement(suite, "testcase", classname=report.bench, name="bench")
            Xml.SubElement(skipped, "skipped", message=NO_LIMITS)
        for name, verdict, text in cases:
            case = Xml.SubElement(suite, "testcase", classname=report.bench, name=name)
            if verdict is not Verdict.PASS:
                Xml.SubElement(case, "failure" if verdict is Verdict.FAIL else "error", message=text)
        kinds = [verdict for _, verdict, _ in cases]
        suite.set("tests", str(len(cases) + (report.kind == NO_LIMITS)))
        suite.set("skipped", str(int(report.kind == NO_LIMITS)))
        suite.set("failures", str(kinds.count(Verdict.FAIL)))
        suite.set("errors", str(kinds.count(Verdict.CANNOT_TELL)))
    Xml.indent(root)
    return Xml.tostring(root, encoding="unicode", xml_declaration=True) + "\n"
