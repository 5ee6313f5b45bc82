"""Results of ``cosim fit`` on the terminal; ``cosim fit show`` and ``cosim fit compare``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cosim.cli.paths import require_file
from cosim.units import with_error

if TYPE_CHECKING:
    from cosim.fitting.auto import Taken
    from cosim.fitting.joint_result import JointResult
    from cosim.fitting.posterior import Posterior
    from cosim.fitting.result import FitResult
    from cosim.fitting.saved import Saved

COLUMNS = ("parameter", "value", "std. error", "95 % interval", "unit", "verdict")
# Two values that differ by more standard errors than this are different at the 5 % level.
DIFFERENT = 1.96


def number(value: float | None, digits: int) -> str:
    """A number of a table; a dash where there is none."""
    return "–" if value is None or math.isnan(value) else f"{value:.{digits}g}"


def interval(low: float, high: float) -> str:
    """An interval of a table; an open end is one that the curve does not give."""
    if math.isinf(low) or math.isinf(high):
        return "–" if low == -high else f">= {number(low, 4)}" if math.isinf(high) else f"<= {number(high, 4)}"
    return "–" if math.isnan(low) or math.isnan(high) else f"{number(low, 4)} .. {number(high, 4)}"


def print_result(result: FitResult | JointResult) -> None:
    """The table of parameters, errors and the verdict."""
    from cosim.cli.output import show_table
    from cosim.fitting.joint_result import JointResult

    rows = [
        [row.name, *with_error(row.value, row.stderr, row.verdict.interval, row.unit), row.verdict.status]
        for row in result.rows()
    ]
    show_table(f"{result.recipe.name}: {result.recipe.subject}, {result.points}", COLUMNS, rows, right=(1, 2))
    if isinstance(result, JointResult):
        _print_joint(result)
    else:
        _print_one(result)
    if result.posterior is not None:
        _print_posterior(result.posterior)
    print(f"verdict     {result.verdict.summary}")
    proposal = result.proposal
    for sentence in result.verdict.sentences(remedies=proposal is None):
        print(f"  - {sentence}")
    for note in result.recipe.notes:
        print(f"note        {note}")
    if proposal is not None:
        print(f"next        {proposal}")
    print(f"cost        {result.cost.evaluations} evaluations, {result.cost.seconds:.2f} s")


def _print_posterior(found: Posterior) -> None:
    from cosim.cli.output import show_table

    rows = [
        [name, number(found.median(name), 6), interval(*found.interval(name)), interval(*found.likelihood[name]), unit]
        for name, unit in zip(found.names, found.units, strict=True)
    ]
    heads = ("parameter", "median", "95 % of the samples", "95 % interval of the fit", "unit")
    show_table("posterior", heads, rows, right=(1,))
    print(f"posterior   {found}")


def _print_joint(result: JointResult) -> None:
    from cosim.parameters import listed

    if result.held:
        print(f"held        {listed(result.held)}")
    for name, spread in result.spreads.items():
        print(f"population  {name}: spread {spread}")
    for name, (fitted, held) in result.errors().items():
        tail = "" if held is None else f", {held:.3%} held out"
        print(f"error       {name}: {fitted:.3%} RMS of the range{tail}")
    for stage in result.stages[:-1]:
        print(f"stage       {stage.title or 'earlier'}: {stage.verdict.summary}")


def _print_one(result: FitResult) -> None:
    from cosim.parameters import listed

    for trial in result.trials:
        kept = "  ← kept" if trial.title == result.choice else ""
        print(f"candidate   {trial.text:>8}  {trial.title}{kept}")
    if result.trials:
        print("            (RMS of the range, cross-validated on the fitted part)")
    ahead = "" if result.spread is None else " (each read from those before it)"
    print(f"error       {result.training_error:.3%} RMS of the range, fitted part{ahead}")
    if result.held_out_error is not None:
        times = result.held_out_noise
        beside = "" if times is None else f"; {times:.2g} times the noise"
        print(f"            {result.held_out_error:.3%} RMS of its own range, held-out part{beside}")
    if result.held:
        print(f"held        {listed(result.held)}")
    print(f"criteria    AICc {result.criteria.aicc:.5g}, BIC {result.criteria.bic:.5g}")


def print_taken(taken: Taken) -> None:
    """What a recording was taken for and why, what was tried, and what was chosen."""
    from cosim.cli.output import show_table
    from cosim.fitting.auto import TRIED

    part = taken.part
    print(f"file        {part.name}: {part.shape}{f': {part.why}' if part.why else ''}")
    for note in part.notes:
        print(f"            {note}")
    if taken.tried:
        show_table("", TRIED, taken.table(), right=(1, 2, 3, 4, 5))
    print(f"{'kept' if taken.result is not None else 'not fitted':<12}{taken.why}")


# --- saved results ------------------------------------------------------------------------------------------------


def show(
    result: Annotated[Path, typer.Argument(metavar="RESULT", help="A .json that cosim fit -o wrote, or its .toml.")],
    report: Annotated[Path | None, typer.Option("--report", "--html", help="Write its page (.html).")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """Show a result that was saved: parameters, verdict, and what it was made from."""
    from cosim.cli.output import print_json, show_table
    from cosim.fitting.saved import load

    if report is not None:
        require_file(report, ".html", ".htm", example="fit.html")
    saved = load(result)
    told = saved.told
    if as_json:
        print_json(told)
    else:
        rows = [
            [
                name,
                *with_error(entry["value"], entry["stderr"], _ends(entry), entry["unit"]),
                entry["status"],
            ]
            for name, entry in saved.parameters.items()
        ]
        show_table(f"{saved.name}: {told['device'] or told.get('law') or 'a function'}", COLUMNS, rows, right=(1, 2))
        for name, held in (("error", "training_error"), ("held out", "held_out_error")):
            if told.get(held) is not None:
                print(f"{name:<12}{told[held]:.3%} RMS of the range")
        if told.get("held"):
            print(f"held        {told['held']}")
        print(f"verdict     {told['verdict']}")
        for sentence in told["remarks"]:
            print(f"  - {sentence}")
        for name, value in told["provenance"].items():
            print(f"made from   {name} {value}")
        changed = _changed(told["provenance"])
        if changed:
            print(f"note        {changed}")
    if report is not None:
        from cosim.fitting.again import judged_again
        from cosim.report.fit_page import page

        print(f"written     {page([judged_again(saved)], []).write(report)}")


def _ends(entry: Mapping[str, Any]) -> tuple[float, float]:
    """The interval of a saved parameter; null is an open end, and where both are there is no interval."""
    low, high = entry["interval_95"]
    if low is None and high is None:
        return math.nan, math.nan
    return (-math.inf if low is None else low), (math.inf if high is None else high)


def _changed(provenance: Mapping[str, str]) -> str:
    from cosim.fitting.provenance import code_fingerprint

    made = provenance.get("code_sha256")
    if made is None:
        return "made by a version of cosim that kept no hash of its code"
    return (
        ""
        if made == code_fingerprint()
        else "made by another state of cosim's code than this one: fit again to compare"
    )


def compare(
    results: Annotated[list[Path], typer.Argument(metavar="RESULT...", help="Two or more results (.json or .toml).")],
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """Compare results: parameters with their intervals, z of each difference, and which is better on which data.

    z = (a − b)/√(σa² + σb²) against the first result, σ by the half of the interval that points to the other value; it
    supposes that the two were measured independently.
    """
    from cosim.cli.output import advise, print_json, show_table
    from cosim.errors import InputError
    from cosim.fitting.saved import differences, errors_on, load, same_rows

    if len(results) < 2:
        raise InputError("a comparison needs two results or more", remedy="name another .json")
    saved = [load(path) for path in results]
    titles = _titles(saved)
    first = saved[0]
    z = [{one.name: one.z for one in differences(first, other)} for other in saved[1:]]
    table = errors_on(saved)
    if as_json:
        print_json(
            {
                "results": [str(one.path) for one in saved],
                "parameters": {
                    name: {
                        "values": [one.parameters.get(name) for one in saved],
                        "z": [zs.get(name) for zs in z],
                    }
                    for name in _all_names(saved)
                },
                "errors": table,
            }
        )
        return
    rows = []
    for name in _all_names(saved):
        row = [name]
        for k, one in enumerate(saved):
            entry = one.parameters.get(name)
            row.append(
                "–" if entry is None else f"{number(entry['value'], 5)} ({interval(*_ends(entry))}) {entry['unit']}"
            )
            if k:
                found = z[k - 1].get(name)
                row.append("–" if found is None else f"{found:+.2f}{' *' if abs(found) > DIFFERENT else ''}")
        rows.append(row)
    heads = ["parameter", titles[0]]
    for title in titles[1:]:
        heads += [title, "z"]
    show_table("parameters with 95 % intervals; * differs at the 5 % level", heads, rows)
    show_table(
        "RMS error over the range: of each result (row) on the recording of each (column)",
        ["", *titles],
        [
            [title, *(cell if isinstance(cell, str) else f"{cell:.3%}" for cell in row)]
            for title, row in zip(titles, table, strict=True)
        ],
    )
    for k, title in enumerate(titles):
        column = [(row[k], name) for row, name in zip(table, titles, strict=True) if isinstance(row[k], float)]
        if len(column) > 1:
            print(f"better      on the recording of {title}: {min(column)[1]}")
    same = [same_rows(first, other) for other in saved[1:]]
    if any(same):
        kept = [(one.told.get("aicc"), title) for one, title in zip(saved, titles, strict=True)]
        if all(same) and all(value is not None for value, _ in kept):
            print(
                "criteria    " + ", ".join(f"{title}: AICc {value:.5g}" for value, title in kept) + " (same rows only)"
            )
        advise(["some of the results are of the same recording: their z is too small, because they share its noise"])


def _titles(saved: list[Saved]) -> list[str]:
    names = [one.name for one in saved]
    return [str(one.path) if names.count(one.name) > 1 else one.name for one in saved]


def _all_names(saved: list[Saved]) -> list[str]:
    return list(dict.fromkeys(name for one in saved for name in one.parameters))
