"""``cosim lint``: what in a Verilog-A model or an LTspice netlist breaks in OpenVAF or ngspice; a repaired version."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from cosim.engines.simulator import Simulator
    from cosim.language.findings import Finding
    from cosim.lint.lint import Lint, Repair


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("lint", help="What breaks in a Verilog-A or LTspice model, and with --fix a version that runs.")(lint)


def lint(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A .va model, a netlist, or a folder of them.")],
    fix: Annotated[Path | None, typer.Option("--fix", metavar="OUT", help="Write a repaired version.")] = None,
    amplitude: Annotated[
        str | None, typer.Option(help="Of the drive that compares before and after; default: found from the model.")
    ] = None,
    period: Annotated[str | None, typer.Option(help="Of the drive; default: found from the model.")] = None,
    caret: Annotated[str, typer.Option(help="What '^' means in an LTspice expression: power or xor.")] = "",
    to: Annotated[
        str,
        typer.Option(
            metavar="behavioural|verilog-a", help="Write a subcircuit of B-sources, or of a netlist a Verilog-A module."
        ),
    ] = "",
    allow: Annotated[
        list[Path] | None, typer.Option("--allow", help="A further folder to include from; may be repeated.")
    ] = None,
    compare: Annotated[bool, typer.Option(help="Run before and after in ngspice and compare.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Lint; exit 1 if something found is not repaired, or if a comparison disagrees or shows nothing."""
    from cosim import units
    from cosim.cli.output import print_json, working
    from cosim.engines.registry import open_simulator
    from cosim.errors import EngineMissing, InputError
    from cosim.files import write_atomic
    from cosim.lint.lint import fix_file, lint_file

    if fix is not None and fix.resolve() == file.resolve():
        raise InputError("--fix would replace the file itself", remedy="give another name")
    volts = None if amplitude is None else units.parse(amplitude, "V")
    seconds = None if period is None else units.parse(period, "s")
    if (volts is not None and volts <= 0.0) or (seconds is not None and seconds <= 0.0):
        raise InputError("amplitude and period of the drive have to be positive")
    if file.is_dir():
        if fix is not None:
            raise InputError("--fix takes one file", remedy="repair the files of a folder one by one")
        raise typer.Exit(0 if _folder(file, allow=allow or (), as_json=as_json) else 1)
    if to and fix is None:
        raise InputError("--to needs a file to write", remedy="add --fix OUT")
    found = lint_file(file, allow=allow or ())
    repair: Repair | None = None
    if fix is not None:
        with working("comparing"), ExitStack() as stack:

            def engine(name: str) -> Simulator | None:
                try:
                    return stack.enter_context(open_simulator(name)) if compare else None
                except EngineMissing:
                    return None

            first, second = engine("pyspice"), engine("vacask")
            repair = fix_file(
                file, first, amplitude=volts, period=seconds, caret=caret, second=second, to=to, allow=allow or ()
            )
        if repair.offered:
            write_atomic(fix, repair.fixed.text)
    if as_json:
        print_json(_json(found, repair))
    else:
        _show(found, repair, fix)
    raise typer.Exit(0 if (repair if repair is not None else found).clean else 1)


def _json(found: Lint, repair: Repair | None) -> dict[str, Any]:
    """A file that no comparison speaks for is not called clean, whatever the rules found in it."""
    values = found.to_dict()
    if repair is None:
        return values
    clean = found.clean and not repair.equivalence.findings
    return {**values, "clean": clean, "unverified": list(repair.equivalence.unverified), "fix": repair.to_dict()}


def _show(found: Lint, repair: Repair | None, out: Path | None) -> None:
    for finding, others in _grouped(found.findings):
        more = f" (also at line{'s' if len(others) > 1 else ''} {', '.join(map(str, others))})" if others else ""
        print(f"{found.file}:{finding}{more}")
    for note in found.notes:
        print(f"note: {note}")
    count = len(found.findings)
    print(f"{count} finding{'s' if count > 1 else ''}" if count else "the rules found nothing")
    if repair is None:
        return
    print(f"\n{out}:" if repair.offered else f"\n{out} was not written:")
    for text in repair.fixed.done:
        print(f"  changed: {text}")
    for text in repair.fixed.left:
        print(f"  left: {text}")
    for finding in repair.after.findings:
        print(f"  still there: {finding}")
    drive = repair.equivalence.drive
    if drive is not None:
        print(f"  drive: {drive}")
    for comparison in repair.equivalence.comparisons:
        print(f"  {comparison}")
        if comparison.moved:
            print("  note: the original is another model to ngspice: check that its author meant the changes above")
    for finding in repair.equivalence.findings:
        print(f"  {finding.severity.value} [{finding.rule}] {finding.message}; {finding.remedy}")
    named = {finding.message for finding in repair.equivalence.findings}
    for text in repair.equivalence.unverified:
        if text not in named:
            print(f"  not verified: {text}")
    print(f"  {_verdict(repair)}")


def _grouped(findings: Sequence[Finding]) -> list[tuple[Finding, list[int]]]:
    """Findings that say the same once, with the lines of the others."""
    groups: dict[tuple[str, str], list[Finding]] = {}
    for finding in findings:
        groups.setdefault((finding.rule, finding.message), []).append(finding)
    return [(group[0], list(dict.fromkeys(one.line for one in group[1:]))) for group in groups.values()]


def _folder(folder: Path, *, allow: Sequence[Path], as_json: bool) -> bool:
    """Lint every model and netlist below ``folder`` and print a table; whether all are clean."""
    from cosim.cli.output import print_json, show_table
    from cosim.errors import CosimError, InputError
    from cosim.lint.lint import SPICE, VERILOG_A, lint_file

    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in VERILOG_A + SPICE and p.is_file())
    if not files:
        raise InputError(f"{folder} holds no file to lint", remedy=f"one of {', '.join(VERILOG_A + SPICE)}")
    rows: list[tuple[str, ...]] = []
    values, clean = list[dict[str, Any]](), True
    for file in files:
        try:
            found = lint_file(file, allow=allow)
        except CosimError as error:
            clean = False
            rows.append((str(file.relative_to(folder)), "", "", "", f"not read: {error}"))
            values.append({"file": str(file), "clean": False, "error": str(error)})
            continue
        clean = clean and found.clean
        count = {kind: sum(f.severity.value == kind for f in found.findings) for kind in ("error", "wrong", "warning")}
        rules = ", ".join(dict.fromkeys(f.rule for f in found.findings)) or "nothing found"
        rows.append((str(file.relative_to(folder)), *(str(number or "") for number in count.values()), rules))
        values.append(found.to_dict())
    if as_json:
        print_json(values)
    else:
        show_table("", ("file", "errors", "wrong", "warnings", "rules"), rows, right=(1, 2, 3))
    return clean


def _verdict(repair: Repair) -> str:
    if not repair.clean:
        return "not repaired: see the findings above"
    changed = "repaired" if repair.fixed.done else "nothing had to be changed"
    engines, rest = repair.equivalence.engines, repair.equivalence.rest
    if not engines:
        return f"{changed}; not compared"
    where = "ngspice and VACASK" if len(engines) > 1 else f"{engines[0]} alone"
    return f"{changed}; compared within the limits in {where}{f', except {_named(rest)}' if rest else ''}"


def _named(parts: Sequence[str]) -> str:
    return ", ".join([*parts[:3], *([f"{len(parts) - 3} more"] if len(parts) > 3 else [])])
