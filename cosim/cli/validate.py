"""``cosim validate``: benches at their corners and samples; a verdict per limit, for people and for CI."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from cosim.bench.validate import Validation
    from cosim.report.html import Mark, Report


_DRAWN = 3  # corners that fail, of each bench: our choice
MOVES = "moves: by how much a second run, with tightened tolerances and half the step, changes the measure"
WHY_WIDTH = 100  # of the table's last column; longer texts stand in full below it


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("validate", help="Judge benches: pass, fail or cannot tell for every limit, in every corner.")(validate)


def validate(
    what: Annotated[
        list[str] | None, typer.Argument(metavar="[BENCH|DECK|FOLDER]...", help="Default: every shipped bench.")
    ] = None,
    engine: Annotated[str, typer.Option(help="pyspice or ngspice.")] = "pyspice",
    workers: Annotated[int, typer.Option("--workers", "-j", min=1, help="Simulations at once.")] = 2,
    trust: Annotated[bool, typer.Option(help="Repeat each run with tightened tolerances and half the step.")] = True,
    wall: Annotated[str, typer.Option(help="Wall-clock limit of one simulation.")] = "120 s",
    allow: Annotated[
        list[Path] | None, typer.Option(help="A further folder that the benches' libraries may lie in.")
    ] = None,
    html: Annotated[Path | None, typer.Option(help="Write a report with figures.")] = None,
    junit: Annotated[Path | None, typer.Option(help="Write JUnit XML.")] = None,
    baseline: Annotated[Path | None, typer.Option(help="JSON of an earlier run: say what changed.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Validate; exit 1 unless every limit passes and, with a baseline, nothing changed for the worse."""
    from cosim import units
    from cosim.bench.validate import Verdict, compare, find_benches, read_baseline, validate_all
    from cosim.bench.validate import junit as to_junit
    from cosim.cli.output import advise, print_json, progress
    from cosim.engines.registry import open_simulator
    from cosim.engines.simulator import Limits
    from cosim.files import write_atomic

    limits = Limits(wall=units.parse(wall, "s"))
    benches = find_benches(what or [])
    earlier = read_baseline(baseline) if baseline is not None else None
    with open_simulator(engine, workers) as simulator, progress() as bars:
        task = bars.add_task("validating", total=len(benches))

        def tell(at_work: Sequence[str], ended: int) -> None:
            bars.update(task, description=", ".join(at_work) or "validating", completed=ended)

        done = validate_all(
            benches,
            simulator,
            limits=limits,
            trust=trust,
            workers=workers,
            tell=tell,
            allow=allow or (),
        )
    if earlier is not None:
        done = compare(done, earlier)
    if html is not None:
        _report(done).write(html)
    if junit is not None:
        write_atomic(junit, to_junit(done))
    advise(f"{report.bench}: {note}" for report in done.reports for note in report.notes)
    if as_json:
        print_json(done.to_dict())
    else:
        _show(done)
    worse = any("became fail" in change or "became cannot tell" in change for change in done.changes)
    raise typer.Exit(0 if all(r.verdict is Verdict.PASS for r in done.reports) and not worse else 1)


def _short(why: str) -> str:
    return textwrap.shorten(why, WHY_WIDTH, placeholder=" ...")


def _show(done: Validation) -> None:
    from cosim.cli.output import show_table

    rows, whole = [], dict[str, str]()
    for report in done.reports:
        name = report.bench
        for corner, why in ((" ".join((s.corner, s.measure)), s.account) for s in report.specs):
            if _short(why) != why:
                whole.setdefault(why, f"{name} {corner}")
        if _short(report.error) != report.error:
            whole.setdefault(report.error, name)
        if report.error:
            rows.append([name, "", "", "", "", report.kind, _short(report.error)])
        elif not report.specs:
            rows.append([name, "", "", "", "", report.kind, ""])
        last = ""
        for spec in report.specs:
            moved = "" if spec.moved is None else f"{spec.moved:.1%}"
            why, last = "same" if spec.account and spec.account == last else _short(spec.account), spec.account
            rows.append(
                [
                    name,
                    spec.corner,
                    spec.measure,
                    f"{spec.value()}  ({spec.limit()})",
                    moved,
                    spec.verdict.value,
                    why,
                ]
            )
            name = ""
    show_table(
        f"{len(done.reports)} bench{'' if len(done.reports) == 1 else 'es'} ({done.engine})",
        ("bench", "corner", "measure", "value (limit)", "moves", "verdict", "why; where the limit is from"),
        rows,
    )
    if any(spec.moved is not None for report in done.reports for spec in report.specs):
        print(MOVES)
    for why, place in whole.items():
        print(f"{place}: {why}")
    print(done.summary)
    for change in done.changes:
        print(f"changed  {change}")


def _report(done: Validation) -> Report:
    from cosim.bench.validate import NO_LIMITS, Verdict
    from cosim.report.bench_figures import bench_figures
    from cosim.report.campaign_figures import yield_figure
    from cosim.report.html import Report

    page = Report("Validation", f"{len(done.reports)} benches on {done.engine}: {done.summary}.")
    if any(spec.moved is not None for report in done.reports for spec in report.specs):
        page.section("Reading the tables").text(MOVES)
    page.section("Verdicts").table(
        ("bench", "verdict", "seconds"), [[r.bench, r.kind, f"{r.seconds:.1f}"] for r in done.reports]
    )
    if done.changes:
        page.section("Against the baseline")
        for change in done.changes:
            page.text(change)
    for report in done.reports:
        page.section(f"{report.title} ({report.bench})")
        if report.source:
            page.text(f"Source: {report.source}")
        if report.description:
            page.text(report.description)
        marks: dict[str, Mark] = {Verdict.PASS: "good", NO_LIMITS: ""}
        page.text(report.kind, mark=marks.get(report.kind, "bad"))
        if report.error:
            page.text(report.error, mark="bad")
        for note in report.notes:
            page.text(note)
        rows = [
            [
                s.corner,
                s.measure,
                s.value(),
                s.limit(),
                "" if s.moved is None else f"{s.moved:.2%}",
                s.verdict.value,
                s.basis,
                s.why,
            ]
            for s in report.specs
        ]
        if rows:
            page.table(("corner", "measure", "value", "limit", "moves", "verdict", "limit from", "why"), rows)
        if report.nominal is not None and report.nominal.result.ok:
            for name, figure in bench_figures(report.nominal).items():
                page.figure(figure, f"{name.capitalize()} of {report.bench}, as it stands.")
        for corner, run in list(report.failing.items())[:_DRAWN]:
            for name, figure in bench_figures(run).items():
                page.figure(figure, f"{name.capitalize()} of {report.bench} at the corner {corner}, which fails.")
        if len(report.failing) > _DRAWN:
            page.text(f"{len(report.failing) - _DRAWN} further corners that fail are not drawn.")
        for spec in report.specs:
            if values := report.samples.get(spec.measure, ()) if spec.corner == "Monte Carlo" else ():
                figure = yield_figure(values, name=spec.measure, unit=spec.unit, low=spec.low, high=spec.high)
                page.figure(figure, f"{spec.measure} of {report.bench} in Monte Carlo: {spec.why}.")
    return page
