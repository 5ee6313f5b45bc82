"""LTspice netlists through lint: read without running anything, found, repaired, compared."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from cosim.errors import InputError, NetlistError
from cosim.lint import lt_fix, lt_rules
from cosim.lint.equivalence import Drive, Equivalence, Reader, bench_deck, compare
from cosim.lint.expressions import Unreadable
from cosim.lint.findings import Finding, Severity
from cosim.lint.lint import Lint, Repair
from cosim.lint.lt_reading import Subcircuit
from cosim.spice.hazards import refuse
from cosim.spice.netlist import Line, logical_lines, read_text
from cosim.spice.simulator import Deck, Simulator
from cosim.spice.suffixes import traps

_REFUSED = "refused"
_ANALYSIS = re.compile(r"\s*\.(tran|ac|dc|op|end|noise|tf|four|meas|backanno)\b", re.IGNORECASE)


def _lines(text: str, file: Path) -> list[Line]:
    """The logical lines; a circuit's first row is its title unless it is a comment or a card."""
    first = text.lstrip("\n").split("\n", 1)[0].strip()
    has_title = file.suffix.lower() in (".cir", ".net", ".sp") and first[:1] not in ("*", ".", "")
    return logical_lines(text, file=file, has_title=has_title)


def lint_spice(text: str, file: Path) -> Lint:
    """The rules' findings, and what cosim would refuse to run. Raises `NetlistError` for what is no netlist."""
    lines = _lines(text, file)
    findings = [*lt_rules.check(lines, text, file), *_suffixes(lines, text)]
    notes = []
    if any(line.card in (".include", ".inc", ".lib") for line in lines):
        notes.append("included files are not linted")
    try:
        refuse(read_text("* lint\n" + text, source=file.resolve()))
    except InputError as error:
        known = {finding.line for finding in findings}
        line = ((error.where.line or 2) if error.where is not None else 2) - 1
        if line not in known and isinstance(error, NetlistError):
            findings.append(Finding(_REFUSED, Severity.ERROR, line, 1, error.message, error.remedy or "remove it"))
        elif not isinstance(error, NetlistError):
            notes.append(error.message)
    return Lint(file, "ltspice", tuple(sorted(findings, key=lambda f: (f.line, f.column))), tuple(notes))


def _suffixes(lines: list[Line], text: str) -> list[Finding]:
    """Numbers whose suffix reads as a unit, as a run says them."""
    rows = text.split("\n")
    places = [(trap, lt_rules.place(lt_rules.Spot("unread", trap.line, trap.start), rows)) for trap in traps(lines)]
    return [
        replace(found, rule="suffix", severity=Severity.WARNING, message=trap.says, remedy=trap.remedy)
        for trap, found in places
    ]


def fix_spice(
    text: str, file: Path, simulator: Simulator | None, *, amplitude: float, period: float | None, caret: str
) -> Repair:
    """Repair a netlist; its first subcircuit is compared, driven between its first two terminals."""
    if caret not in ("", "power", "xor"):
        raise InputError(f"{caret!r} is no meaning of '^'", remedy="power or xor")
    lines = _lines(text, file)
    fixed = lt_fix.fix(lines, text, caret=caret)
    after = lint_spice(fixed.text, file)
    if simulator is None:
        return Repair(fixed, after, Equivalence(None, (), ("nothing was compared: no simulator",)))
    reader: Reader | None = None
    unread, states = "", dict[str, str]()
    try:
        circuit = Subcircuit(lines, caret_is_power=caret == "power")
        name, ports = circuit.name, circuit.ports
        reader = circuit.run
        for state in circuit.states:
            place = ports.index(state) if state in ports else -1
            states[state] = f"v(open{place})" if place > 1 else f"v(x1.{state})"
    except Unreadable as reason:
        unread = reason.message
        heads = [re.split(r"\bparams:|\w+\s*=", line.text, maxsplit=1, flags=re.IGNORECASE)[0].split()
                 for line in lines if line.card == ".subckt"]  # fmt: skip
        if not heads or len(heads[0]) < 4:
            why = "nothing was compared: there is no subcircuit with two terminals"
            return Repair(fixed, after, Equivalence(None, (), (why,)))
        name, ports = heads[0][1], tuple(heads[0][2:])

    def deck(body: str) -> Callable[[Drive], Deck]:
        opened = " ".join(f"open{k}" for k in range(2, len(ports)))
        loads = "\n".join(f"Ropen{k} open{k} 0 1e15" for k in range(2, len(ports)))
        kept = "\n".join(row for row in body.split("\n") if not _ANALYSIS.match(row))
        return lambda drive: bench_deck(f"{kept}\nX1 a 0 {opened} {name}\n{loads}", drive)

    found = compare(
        read=reader,
        unread=unread,
        before=deck(text),
        no_before="",
        after=deck(fixed.text),
        states=states,
        simulator=simulator,
        amplitude=amplitude,
        period=period,
    )
    return Repair(fixed, after, found)
