"""``cosim campaign``: many cases of a bench, kept as they come; run, resume, status, show, export, diff."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from cosim.campaign.cache import Cache
    from cosim.campaign.campaign import Campaign
    from cosim.campaign.executors import Executor
    from cosim.campaign.results import Group
    from cosim.campaign.run import Progress

Folder = Annotated[Path, typer.Argument(metavar="FOLDER", help="A campaign's folder.")]
Workers = Annotated[
    int | None, typer.Option("--workers", "-j", min=0, help="Processes; 0: in this one. Default: every core.")
]
Scheduler = Annotated[
    str | None, typer.Option(help="Run on a cluster: tcp://HOST:PORT of a dask scheduler, or a dask-jobqueue file.")
]
NoCache = Annotated[bool, typer.Option("--no-cache", help="Neither look up nor keep cases in the cache.")]
Allow = Annotated[
    list[Path] | None, typer.Option("--allow", help="A further folder that the bench may read; may be repeated.")
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
_SHOWN, _VALUES = 20, 8


def register(app: typer.Typer) -> None:
    """Add the verb."""
    group = typer.Typer(
        name="campaign", no_args_is_help=True, help="Many cases of a bench, safe against any interruption."
    )
    for function in (run, resume, status, show, export, diff):
        group.command(function.__name__)(function)
    app.add_typer(group)


def run(
    plan: Annotated[Path, typer.Argument(metavar="PLAN.toml", help="What is varied, and how.")],
    into: Annotated[Path | None, typer.Option("--into", "-o", help="Folder; default: the plan's name.")] = None,
    workers: Workers = None,
    scheduler: Scheduler = None,
    no_cache: NoCache = False,
    allow: Allow = None,
    as_json: Json = False,
) -> None:
    """Begin a campaign. Ctrl-C finishes what runs and stops; again, it stops at once. Exit 1 unless every case
    converges and the yield is what the plan asks for; for a search, unless its result is to be trusted.
    """
    from cosim.campaign.campaign import Campaign

    folder = into or Path(f"{plan.stem}.campaign")
    executor = _executor(workers, scheduler)  # an unreachable cluster leaves no folder behind
    try:
        with Campaign.begin(plan, folder, allow=allow or ()) as campaign:
            code = _go(campaign, executor, no_cache=no_cache, as_json=as_json)
    except BaseException:
        executor.close(now=True)
        raise
    raise typer.Exit(code)


def resume(
    folder: Folder, workers: Workers = None, scheduler: Scheduler = None, no_cache: NoCache = False,
    allow: Allow = None, as_json: Json = False,
) -> None:  # fmt: skip
    """Resume a campaign, however it was stopped: only cases without a row are run."""
    from cosim.campaign.campaign import Campaign

    with Campaign.open(folder, allow=allow or ()) as campaign:
        raise typer.Exit(_go(campaign, _executor(workers, scheduler), no_cache=no_cache, as_json=as_json))


def _executor(workers: int | None, scheduler: str | None) -> Executor:
    from cosim.campaign.executors import InProcess, Processes, cores
    from cosim.errors import InputError

    if scheduler is not None:
        if workers is not None:
            raise InputError("--workers belongs to this machine, --scheduler to a cluster", remedy="give one of them")
        from cosim.campaign.cluster import connect

        return connect(scheduler)
    count = cores() if workers is None else workers
    return Processes(count) if count else InProcess()


@contextmanager
def _stopping(campaign: Campaign) -> Iterator[threading.Event]:
    """An event that Ctrl-C or SIGTERM sets; the second time they act as usual."""
    import sys

    stop = threading.Event()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def on(number: int, frame: object) -> None:
        del frame
        stop.set()
        print(f"\nfinishing what runs; go on later with: {campaign.resume_line()}", file=sys.stderr)
        signal.signal(number, before[signal.Signals(number)])

    for number in before:
        signal.signal(number, on)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _go(campaign: Campaign, executor: Executor, *, no_cache: bool, as_json: bool) -> int:
    from cosim.bench.advice import of_deck
    from cosim.cli.output import advise, progress

    advise(of_deck(campaign.bench))
    cache = None if no_cache else _cache()
    ended = False
    with _stopping(campaign) as stop, progress() as bars:
        task, noted, warned = bars.add_task("starting", total=None), False, False

        def tell(now: Progress) -> None:
            nonlocal noted, warned
            if now.warning and not warned:
                warned = True
                bars.console.print(now.warning, highlight=False, soft_wrap=True)
            if bool(now.note) != noted:  # once, also in a pipe
                noted = bool(now.note)
                bars.console.print(now.note or "a worker has connected", highlight=False, soft_wrap=True)
            bars.update(task, total=now.total, completed=now.done, description=_live(now))

        try:
            complete = campaign.run(executor, cache=cache, tell=tell, stop=stop)
            ended = True
        finally:
            executor.close(now=not ended)
            if cache is not None:
                cache.close()
    _show(campaign, as_json=as_json)
    if not complete:
        return 130 if stop.is_set() else 1
    searched = _found(campaign)
    if searched is not None:
        return 0 if getattr(searched[1], "trusted", True) else 1
    if set(campaign.store.counts("outcome")) - {"converged"}:
        return 1
    return 0 if _yields(campaign) else 1


def _cache() -> Cache | None:
    """The user's cache; None, with a note, where it cannot be opened: a campaign runs without."""
    import sys

    from cosim.campaign.cache import Cache
    from cosim.campaign.store import StoreError

    try:
        return Cache()
    except StoreError as error:
        print(f"{error.message}; the campaign continues without it", file=sys.stderr)
        return None


def _yields(campaign: Campaign) -> bool:
    """Whether the cases surely keep their limits as often as the plan asks, at every point of the grid."""
    import sys

    from cosim.campaign.results import ALL, groups
    from cosim.statistics.verdict import Verdict

    least = campaign.plan.sample.yield_min if campaign.plan.sample is not None else None
    if least is None:
        return True
    passed = True
    for group in groups(campaign):
        verdict = group.yields[ALL].judged(least)
        if verdict is not Verdict.PASS:
            passed = False
            print(f"yield_min, {group.name()}: {verdict}: {group.yields[ALL].judgement(least)}", file=sys.stderr)
    return passed


def _live(now: Progress) -> str:
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    cached = f", {now.cached} cached" if now.cached else ""
    return f"{now.rate:.1f}/s, {now.failed} failed{cached}, {peak:.0f} MB"


def status(folder: Folder, allow: Allow = None, as_json: Json = False) -> None:
    """How far a campaign has got; also while it runs. Exit 0 when it is complete, 1 when cases are missing."""
    from cosim.campaign.campaign import Campaign
    from cosim.cli.output import print_json

    with Campaign.open(folder, allow=allow or ()) as campaign:
        total, done = campaign.total(), len(campaign.store)
        complete = done >= total if campaign.searcher() is None else _found(campaign) is not None
        counts = {name: campaign.store.counts(name) for name in ("outcome", "verdict")}
        holder = campaign.store.holder()
    if as_json:
        print_json({"cases": total, "done": done, "complete": complete, "runs": holder is not None, **counts})
    else:
        print(f"{done} of {total} cases" + (f"; being run by {holder}" if holder else ""))
        for name, found in counts.items():
            print(f"{name}: " + (", ".join(f"{count} {key}" for key, count in found.items()) or "none yet"))
        if not complete and holder is None:
            print(f"go on with: {campaign.resume_line()}")
    raise typer.Exit(0 if complete else 1)


def show(
    folder: Folder,
    case: Annotated[
        int | None, typer.Option(help="One case: its values, measures, verdicts, log; --json has all of it.")
    ] = None,
    only: Annotated[
        str | None, typer.Option(help="Cases with this outcome or verdict, e.g. fail, 'not converged'.")
    ] = None,
    html: Annotated[Path | None, typer.Option(help="Write a report with figures.")] = None,
    allow: Allow = None,
    as_json: Json = False,
) -> None:
    """Yield with its interval, spread of every measure; one case; or the cases that failed."""
    from cosim.campaign.campaign import Campaign
    from cosim.cli.output import print_json, show_table
    from cosim.engines.simulator import Outcome
    from cosim.errors import InputError, UnknownName
    from cosim.statistics.verdict import Verdict

    with Campaign.open(folder, allow=allow or ()) as campaign:
        if html is not None:
            from cosim.report.campaign_page import page

            page(campaign).write(html)
        if case is not None:
            row = next(campaign.store.rows(numbers=[case]), None)
            if row is None:
                raise InputError(f"case {case} has no row", remedy=f"cases are 0 to {campaign.total() - 1}")
            if as_json:
                print_json(_with_units(campaign, row))
            else:
                _show_case(campaign, row)
        elif only is not None:
            known = {*(o.value for o in Outcome), *(v.value for v in Verdict)}
            if only not in known:
                raise UnknownName("outcome or verdict", only, known)
            rows = list(campaign.store.rows(where=only))
            if as_json:
                print_json([_with_units(campaign, row) for row in rows])
                return
            cells = [
                [row["number"], _values(row), row["outcome"], row["verdict"], row.get("why", "")]
                for row in rows[:_SHOWN]
            ]
            show_table(f"{len(rows)} cases: {only}", ("case", "values", "outcome", "verdict", ""), cells)
        else:
            _show(campaign, as_json=as_json)


def _with_units(campaign: Campaign, row: Mapping[str, Any]) -> dict[str, Any]:
    """A row as it is stored, and the SI units of its measures."""
    from cosim.units import si_unit

    entries = campaign.bench.file.measures
    return {**row, "units": {name: si_unit(entries[name].unit) for name in row.get("measures", {})}}


def _show_case(campaign: Campaign, row: Mapping[str, Any]) -> None:
    """One case as a table: its values, measures and verdicts, and the end of its log."""
    from cosim.campaign.address import unit_of
    from cosim.cli.output import show_table
    from cosim.units import show as written

    cells = [
        [name, value if isinstance(value, str) else written(value, unit_of(campaign.bench, name)), ""]
        for name, value in row["values"].items()
    ]
    verdicts = row.get("limits", {})
    for name, values in row.get("measures", {}).items():
        entry = campaign.bench.file.measures[name]
        shown = ", ".join(written(value, entry.unit) for value in values[:_VALUES])
        more = f" and {len(values) - _VALUES} more" if len(values) > _VALUES else ""
        limit = campaign.bench.file.limits.get(name)
        low, high = limit.span(entry.unit) if limit else (None, None)
        ends = [f"{word} {written(end, entry.unit)}" for word, end in (("min", low), ("max", high)) if end is not None]
        cells.append([name, shown + more, " ".join(filter(None, (verdicts.get(name), ", ".join(ends))))])
    cells += [[name, "", verdict] for name, verdict in verdicts.items() if name not in row.get("measures", {})]
    cells += [[name, entry.get("says", ""), entry["verdict"]] for name, entry in row.get("physics", {}).items()]
    cells.append(["time step", "", str(row.get("time_step", ""))])
    state = f"{row['outcome']}, {row['verdict']}, {row.get('seconds', 0.0):.3g} s"
    show_table(f"case {row['number']}, corner {row['corner']}: {state}", ("", "value", "verdict"), cells)
    if row.get("why"):
        print(row["why"])
    if row.get("log"):
        print(row["log"])


def _values(row: dict[str, Any]) -> str:
    corner = [] if row["corner"] == "nominal" else [row["corner"]]
    return ", ".join([*corner, *(f"{name.rpartition('.')[2]}={value:.4g}" for name, value in row["values"].items())])


def _found(campaign: Campaign) -> Any:
    from cosim.campaign.results import search_result

    return search_result(campaign)


def _show(campaign: Campaign, *, as_json: bool) -> None:
    from cosim.campaign.results import groups
    from cosim.campaign.searches import sentence
    from cosim.cli.output import print_json, show_table
    from cosim.units import show as written

    found, searched = groups(campaign), _found(campaign)
    if as_json:
        print_json(summary(campaign, found, searched))
        return
    total, done = campaign.total(), len(campaign.store)
    print(f"{campaign.plan.title or campaign.bench.file.title}: {done} of {total} cases ({campaign.job.engine})")
    for outcome, count in campaign.store.counts("outcome").items():
        if outcome != "converged":
            first = next(campaign.store.rows(where=outcome))
            why = f", case {first['number']}: {first['why']}" if first.get("why") else ""
            print(
                f"{count} {outcome}{why}; all of them: cosim campaign show {campaign.store.folder} --only '{outcome}'"
            )
    if campaign.note:
        print(f"note: {campaign.note}")
    if searched is not None:
        print(sentence(searched[0], searched[1], campaign.bench))
    elif campaign.plan.worst_case or campaign.plan.high_sigma:
        print("the search is not finished")
    shown = found[:_SHOWN]
    rows = [
        [g.name(), g.cases, ", ".join(f"{n} {k}" for k, n in g.outcomes.items()), name, str(y)]
        for g in shown for name, y in g.told.items()
    ]  # fmt: skip
    if rows:
        show_table("yield", ("point", "cases", "outcomes", "limit", "yield"), rows, right=(1,))
        for note in dict.fromkeys(y.note for g in shown for y in g.yields.values() if y.note):
            print(f"note: {note}")
    if campaign.searcher() is not None:
        return  # a mean over the points of a search is meaningless
    rows = [
        [g.name(), m.name, *(written(x, m.shown_in) for x in (m.mean, m.deviation, m.values.min(), m.values.max()))]
        for g in shown for m in g.measures.values()
    ]  # fmt: skip
    show_table("measures", ("point", "measure", "mean", "deviation", "smallest", "largest"), rows, right=(2, 3, 4, 5))
    if len(found) > _SHOWN:
        print(f"{len(found) - _SHOWN} more points: cosim campaign export {campaign.store.folder} --to table.csv")


def summary(campaign: Campaign, found: list[Group], searched: Any) -> dict[str, Any]:
    """A campaign's result as JSON values."""
    from cosim.campaign.searches import described

    return {
        "title": campaign.plan.title, "bench": campaign.bench.name, "engine": campaign.job.engine,
        "cases": campaign.total(), "done": len(campaign.store), **({"note": campaign.note} if campaign.note else {}),
        "outcomes": campaign.store.counts("outcome"), "verdicts": campaign.store.counts("verdict"),
        **({} if searched is None else {"search": described(searched[0], searched[1], campaign.bench)}),
        "points": [
            {
                "point": dict(g.point), "cases": g.cases, "outcomes": dict(g.outcomes),
                "yield": {n: {"share": y.share, "low": y.low, "high": y.high, "level": y.level, "method": y.method}
                          for n, y in g.yields.items()},
                "measures": {n: m.to_dict() for n, m in g.measures.items()} if searched is None else {},
            }
            for g in found
        ],
    }  # fmt: skip


def export(
    folder: Folder,
    to: Annotated[Path, typer.Option("--to", help="FILE.csv, FILE.parquet or FILE.nc (netCDF).")],
    allow: Allow = None,
) -> None:
    """Write the finished cases as a table, with units: CSV, Parquet or netCDF."""
    from cosim.campaign import results
    from cosim.campaign.campaign import Campaign

    with Campaign.open(folder, allow=allow or ()) as campaign:
        print(f"{len(campaign.store)} cases written to {results.export(campaign, to)}")


def diff(
    first: Annotated[Path, typer.Argument(metavar="A", help="A campaign's folder.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="Another one's.")],
    tolerance: Annotated[float, typer.Option(min=0.0, help="Of a measure, over its largest value.")] = 1e-3,
    allow: Allow = None,
    as_json: Json = False,
) -> None:
    """What changed from campaign A to B, case by case. Exit 0 when nothing did beyond the tolerance."""
    from cosim.campaign.campaign import Campaign
    from cosim.campaign.results import compare
    from cosim.cli.output import print_json, show_table

    allowed = allow or ()
    with Campaign.open(first, allow=allowed) as a, Campaign.open(second, allow=allowed) as b:
        found = compare(a, b)
    if as_json:
        print_json({**vars(found), "same": found.same(tolerance)})
    else:
        print(f"{found.both} cases in both, {found.only_first} in {first} only, {found.only_second} in {second} only")
        rows = [[name, f"{change:.3g}", number] for name, (change, number) in found.largest.items()]
        if rows:
            title = "largest difference over the largest value"
            show_table(title, ("measure", "difference", "case"), rows, right=(1, 2))
        elif not found.both:
            print("no case has the same corner and values in both: there is nothing to compare")
        for number, before, after in found.verdicts[:_SHOWN]:
            print(f"case {number}: {before} became {after}")
        if len(found.verdicts) > _SHOWN:
            print(f"{len(found.verdicts) - _SHOWN} more verdicts differ")
        for number, name, before_count, after_count in found.uneven[:_SHOWN]:
            print(f"case {number}: {name} had {before_count} values and has {after_count}")
        if len(found.uneven) > _SHOWN:
            print(f"{len(found.uneven) - _SHOWN} more measures have a different number of values")
    raise typer.Exit(0 if found.same(tolerance) else 1)
