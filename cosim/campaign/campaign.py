"""A campaign: a plan and the store of its rows. Begin one, resume one, ask one for its results."""

from __future__ import annotations

import json
import shlex
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Self

from cosim.bench.testbench import Testbench
from cosim.campaign.address import CORNER, NOMINAL
from cosim.campaign.cache import Cache
from cosim.campaign.cases import PreparedBench
from cosim.campaign.executors import Executor
from cosim.campaign.plan import Plan, grid_values, load_bench, read_plan
from cosim.campaign.points import Points
from cosim.campaign.run import Loop, Progress, Tell
from cosim.campaign.searches import Searcher, searcher
from cosim.campaign.store import Store
from cosim.campaign.work import Job
from cosim.engines.registry import open_simulator
from cosim.errors import InputError, at
from cosim.files import resolved
from cosim.schema import located, validate

HELD = "the random functions of the netlist are held at their means: they are drawn by a [sample] only"


@dataclass
class Campaign:
    """A campaign that is open. ``plan`` and ``bench`` are as they were when it began. A context manager.

    >>> from pathlib import Path
    >>> _ = Path("plan.toml").write_text('bench = "1t1r_write"\\n[grid]\\n"devices.memristor.theta_p" = [1.4, 1.5]\\n')
    >>> with cosim.Campaign.begin("plan.toml", "plan.campaign") as campaign:
    ...     print(campaign.total())
    2
    """

    store: Store
    plan: Plan
    bench: Testbench
    job: Job

    @classmethod
    def begin(cls, plan_file: str | Path, into: str | Path, *, allow: Sequence[str | Path] = ()) -> Campaign:
        """A new campaign in the folder ``into``. Every error in its plan is reported before it begins.

        Raises `MissingFile`, `InputError`, `UnknownName` for the plan and the bench, `EngineMissing`, `StoreError`.
        """
        path = Path(plan_file)
        plan = read_plan(path)
        folder, allowed = path.resolve().parent, tuple(str(resolved(entry)) for entry in allow)
        text = path.read_text(encoding="utf-8")
        with located(path):
            bench = load_bench(plan, folder, allow=tuple(map(Path, allowed)))
            check(plan, bench)
        subject = subject_of(plan, bench)
        job = Job(plan.model_dump_json(), str(folder), subject.engine, subject.digest(), allowed)
        note = HELD if plan.sample is None and any(map(subject.held, corners_of(plan, bench))) else ""
        store = Store.create(into, plan=text, meta={"job": json.dumps(job.plain()), "note": note})
        return cls(store, plan, bench, job)

    @classmethod
    def open(cls, folder: str | Path, *, allow: Sequence[str | Path] = ()) -> Campaign:
        """An existing campaign. The caller names again what its bench may read beside its own folder: the
        campaign's folder may be somebody else's.

        Raises `MissingFile`, `StoreError`; `InputError` where its bench is gone, or a folder that it began with is not
        in ``allow``.
        """
        store = Store.load(folder)
        try:
            job = _job(store)
            allowed = _given_again(folder, job.allow, allow)
            job = replace(job, allow=allowed)
            plan = validate(Plan, json.loads(job.plan), kind="plan")
            bench = load_bench(plan, Path(job.folder), allow=tuple(map(Path, allowed)))
        except BaseException:
            store.close()
            raise
        return cls(store, plan, bench, job)

    @property
    def note(self) -> str:
        """What a reader has to know about all of its cases; may be empty."""
        return self.store.meta().get("note", "")

    def points(self) -> Points:
        """The cases of a plan whose cases are known beforehand."""
        return Points(self.plan, self.bench)

    def searcher(self) -> Searcher | None:
        """What chooses the cases by the results of earlier ones; None for a plan that does not search."""
        return searcher(self.plan, self.bench)

    def resume_line(self) -> str:
        """The command that resumes it."""
        allowed = (f" --allow {shlex.quote(entry)}" for entry in self.job.allow)
        return f"cosim campaign resume {shlex.quote(str(self.store.folder))}" + "".join(allowed)

    def total(self) -> int:
        """How many cases there are; of a search, how many there may be."""
        way = self.plan.worst_case or self.plan.high_sigma
        return way.cases if way is not None else len(self.points())

    def run(
        self, executor: Executor, *, cache: Cache | None = None, tell: Tell = lambda _: None,
        stop: threading.Event | None = None,
    ) -> bool:  # fmt: skip
        """Run every case that has no row; returns whether all have one now.

        Raises `StoreError` (locked, full), `InputError` where the bench is not what the campaign began with.
        """
        self.store.lock()
        total, points, search = self.total(), None, self.searcher()
        done = Bitmap(total)
        for number in self.store.each_number():
            done.add(number)
        if search is None:
            points = self.points()
        loop = Loop(
            self.store, executor, self.job, progress=Progress(total, done.count), cases=points or {}, cache=cache,
            by_number=points is not None and points.cheap, keep=self.plan.keep == "waveforms",
            attempts=self.plan.attempts, tell=tell, stop=stop,
        )  # fmt: skip
        if search is None:
            return loop.run((number for number in range(total) if number not in done), count=total - done.count)
        while (asked := search.ask()) is not None:
            loop.cases = {case.number: case for case in asked}
            missing = [case.number for case in asked if case.number not in done]
            if not loop.run(missing, count=len(missing)):
                return False
            search.tell(list(self.store.rows(numbers=[case.number for case in asked])))
        return True

    def close(self) -> None:
        """Close the store."""
        self.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _job(store: Store) -> Job:
    """What the campaign was begun with. Raises `InputError` where it is not recorded."""
    wrong = InputError(f"{store.folder} does not record what it was begun with", remedy="begin it anew")
    try:
        found = json.loads(store.meta()["job"])
        job = Job(**{**found, "allow": tuple(found["allow"])})
        json.loads(job.plan)
    except (KeyError, TypeError, ValueError, RecursionError):
        raise wrong from None
    if not all(isinstance(value, str) for value in (job.folder, job.engine, job.digest, *job.allow)):
        raise wrong
    return job


def _given_again(folder: str | Path, stored: Sequence[str], given: Sequence[str | Path]) -> tuple[str, ...]:
    """The folders that a campaign began with, if each is, or lies in, one that is given now. Raises `InputError`."""
    roots = [resolved(entry) for entry in given]
    wanted = [resolved(entry) for entry in stored]
    missing = [entry for entry in wanted if not any(entry.is_relative_to(root) for root in roots)]
    if missing:
        more = " ".join(f"--allow {shlex.quote(str(entry))}" for entry in missing)
        raise InputError(
            f"campaign {folder} began with {more}, which counts only when it is given again",
            remedy=f"if you trust the campaign with that: {more}",
        )
    return tuple(map(str, wanted))


class Bitmap:
    """A set of whole numbers below ``size`` in an eighth of a byte each."""

    def __init__(self, size: int) -> None:
        self._bits = bytearray((size + 7) // 8)
        self.count = 0

    def add(self, number: int) -> None:
        """Put a number in; one beyond the size is ignored."""
        if number < 8 * len(self._bits) and number not in self:
            self._bits[number >> 3] |= 1 << (number & 7)
            self.count += 1

    def __contains__(self, number: int) -> bool:
        return number < 8 * len(self._bits) and bool(self._bits[number >> 3] & (1 << (number & 7)))


def check(plan: Plan, bench: Testbench) -> None:
    """Raises the error of a plan that does not suit this bench, before anything runs."""
    searching = searcher(plan, bench)
    if searching is None:
        points = Points(plan, bench)
        ends = {0, len(points) - 1}
        subject = PreparedBench(bench, "", simulator=plan.engine)
        for corner in corners_of(plan, bench):
            subject.corner(corner)
            if plan.sample is not None and not plan.spreads and not subject.random(corner):
                with at("sample"):
                    raise InputError(
                        f"the sample varies nothing: the netlist has no random functions at corner {corner}",
                        remedy="name variables",
                    )
        for number in ends:
            case = subject.at(points[number])
            if case.seed is not None:
                case.random_lines()  # raises for a spread that cannot be drawn


def corners_of(plan: Plan, bench: Testbench) -> list[str]:
    """The corners at which a plan has cases."""
    return list(map(str, grid_values(plan, bench).get(CORNER, [NOMINAL])))


def subject_of(plan: Plan, bench: Testbench) -> PreparedBench:
    """The bench with the version of its engine, which is started for the question. Raises `EngineMissing`."""
    with open_simulator(plan.engine) as simulator:
        return PreparedBench(bench, simulator.version(), simulator=plan.engine)
