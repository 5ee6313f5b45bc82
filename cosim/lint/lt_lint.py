"""LTspice netlists through lint: read without running anything, found, repaired, compared."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cosim.engines.openvaf import compile_model
from cosim.engines.simulator import Deck, Limits, Simulator
from cosim.errors import CosimError, EngineMissing, InputError, NetlistError
from cosim.language.control import translate
from cosim.language.expressions import Unreadable
from cosim.language.findings import Finding, Fixed, Severity
from cosim.language.hazards import refuse
from cosim.language.lt_syntax import apart
from cosim.language.netlist import Line, logical_lines, read_text
from cosim.language.suffixes import traps
from cosim.lint import lt_fix, lt_rules, lt_verilog
from cosim.lint.drive import Drive, Reader
from cosim.lint.equivalence import BODY_LINE, Equivalence, bench_deck, compare, fails
from cosim.lint.lint import SLOWER, Lint, Repair
from cosim.lint.lt_reading import GROUND, Subcircuit

_REFUSED = "refused"
_TITLED = (".cir", ".net", ".sp", ".spice", ".ckt", ".spi")  # circuits, whose first row is a title
_OF_NODES = (".ic", ".nodeset")
_ANALYSIS = re.compile(r"\s*\.(tran|ac|dc|op|end|noise|tf|four|meas|backanno)\b", re.IGNORECASE)


def _lines(text: str, file: Path) -> list[Line]:
    """The logical lines; a circuit's first row is its title unless it is a comment or a card."""
    first = text.lstrip("\n").split("\n", 1)[0].strip()
    has_title = file.suffix.lower() in _TITLED and first[:1] not in ("*", ".", "")
    found, inside = [], False
    for line in logical_lines(text, file=file, has_title=has_title):
        inside = inside or line.card == ".control"
        if not inside:  # a block is a program, not a netlist
            found += apart(line)
        inside = inside and line.card != ".endc"
    return found


def lint_spice(text: str, file: Path, *, allow: Sequence[Path] = ()) -> Lint:
    """The rules' findings, and what cosim would refuse to run. Raises `NetlistError` for any other text."""
    lines = _lines(text, file)
    findings = [*lt_rules.check(lines, text, file), *_suffixes(lines, text)]
    notes = []
    if any(line.card in (".include", ".inc", ".lib") for line in lines):
        notes.append("included files are not linted")
    try:
        refuse(read_text("* lint\n" + text, source=file.resolve(), roots=allow))
    except InputError as error:
        known = {finding.line for finding in findings}
        line = ((error.where.line or 2) if error.where is not None else 2) - 1
        if line not in known and isinstance(error, NetlistError):
            findings.append(Finding(_REFUSED, Severity.ERROR, line, 1, error.message, error.remedy or "remove it"))
        elif not isinstance(error, NetlistError):
            notes.append(error.message)
    return Lint(file, "ltspice", tuple(sorted(findings, key=lambda f: (f.line, f.column))), tuple(notes))


def _suffixes(lines: list[Line], text: str) -> list[Finding]:
    """Numbers whose suffix looks like a unit, as a run notes them."""
    rows = text.split("\n")
    places = [(trap, lt_rules.place(lt_rules.Spot("unread", trap.line, trap.start), rows)) for trap in traps(lines)]
    return [
        replace(found, rule="suffix", severity=Severity.WARNING, message=trap.says, remedy=trap.remedy)
        for trap, found in places
    ]


def fix_spice(
    text: str,
    file: Path,
    simulator: Simulator | None,
    *,
    amplitude: float | None,
    period: float | None,
    caret: str,
    second: Simulator | None = None,
    to: str = "",
    allow: Sequence[Path] = (),
) -> Repair:
    """Repair a netlist and run it; its first subcircuit is compared, driven between its first two terminals.

    In ``second``, VACASK, it runs as Verilog-A; ``to`` is "verilog-a" for that text instead of the netlist.
    """
    if caret not in ("", "power", "xor"):
        raise InputError(f"{caret!r} is not a meaning of '^'", remedy="power or xor")
    lines = _lines(text, file)
    fixed = _without_blocks(text, file, lt_fix.fix(lines, text, caret=caret))
    after = lint_spice(fixed.text, file, allow=allow)
    new = _lines(fixed.text, file)
    written = _as_verilog(new)
    if to:
        if isinstance(written, str):
            return Repair(fixed, after, fails(f"the repaired netlist cannot be written as Verilog-A: {written}"))
        done = (*fixed.done, "the subcircuit is a Verilog-A module")
        fixed = Fixed(written.text, done, fixed.left)
    if simulator is None:
        return Repair(fixed, after, Equivalence(None, (), ("nothing was run and compared: no simulator was given",)))
    # What is written as ngspice reads it anyway has to give what the original gives there.
    changed = bool(to) or any(why != lt_fix.AS_POWER for why in fixed.done)
    found = _compare_first(
        _Compared(lines, new, written, as_verilog=bool(to)),
        simulator,
        second=second,
        amplitude=amplitude,
        period=period,
        caret=caret,
        changed=changed,
        shortest=SLOWER * float(lt_fix.RESET) if any(lt_fix.RESET in text for text in fixed.done) else 0.0,
    )
    if found.runs and not to:
        found = _run_rest(found, new, simulator)
    return Repair(fixed, after, found)


@dataclass(frozen=True)
class _VerilogA:
    """A subcircuit as Verilog-A: its text, its module, and the compiled file."""

    text: str
    module: str
    osdi: Path


def _as_verilog(lines: list[Line]) -> _VerilogA | str:
    """The first subcircuit as Verilog-A, or why there is none."""
    try:
        text, module, _ = lt_verilog.module(lines)
        return _VerilogA(text, module, compile_model(text))
    except Unreadable as reason:
        return reason.message
    except (EngineMissing, NetlistError) as error:
        return str(error)


@dataclass(frozen=True)
class _Compared:
    """The logical lines of a file, those of its repaired text, and that as Verilog-A or why there is none."""

    old: list[Line]
    new: list[Line]
    written: _VerilogA | str
    as_verilog: bool


def _without_blocks(text: str, file: Path, fixed: Fixed) -> Fixed:
    """``fixed`` with the cards that its ``.control`` blocks come to, in place of the blocks."""
    if not re.search(r"(?mi)^\s*\.control\b", fixed.text):
        return fixed
    titled = f"* lint\n{fixed.text}"
    found = translate(read_text(titled, source=file.resolve()))
    done = [f".control becomes {card}" for card in found.cards]
    places = [(note.line.where.line or 2) - 1 for note in found.impossible]
    left = [f"line {at}: {note.line.text!r}: {note.reason}" for at, note in zip(places, found.impossible, strict=True)]
    new = found.apply(titled).partition("\n")[2]
    return Fixed(new, (*fixed.done, *(done or [".control is removed"])), (*fixed.left, *left))


def _compare_first(
    files: _Compared,
    simulator: Simulator,
    *,
    second: Simulator | None,
    amplitude: float | None,
    period: float | None,
    caret: str,
    changed: bool,
    shortest: float,
) -> Equivalence:
    lines, new, written = files.old, files.new, files.written
    heads = _heads(lines)
    if not heads or len(heads[0]) < 4:
        return Equivalence(None, (), ("nothing was compared: the file has no subcircuit with two terminals",))
    name, ports = heads[0][1], _ports(heads[0])
    if len(ports) == 2 and (sources := _sources_to_ground(new, ports)):
        says = f"nothing was compared: {sources[0]} of subcircuit {name!r} drives a port against ground, so that the "
        return Equivalence(None, (), (f"{says}current between its two ports does not show what it does",))
    reader: Reader | None = None
    unread, states = "", dict[str, str]()
    try:
        circuit = Subcircuit(lines, caret_is_power=caret == "power")
        reader = circuit.run
        for state in circuit.states:
            place = ports.index(state) if state in ports else -1
            inner = f"v(n1#{state})" if files.as_verilog else f"v(x1.{state})"
            states[state] = f"v(open{place})" if place > 1 else inner
    except Unreadable as reason:
        unread = reason.message

    def deck(of: list[Line]) -> Callable[[Drive], Deck]:
        return lambda drive: bench_deck(f"{_library(of)}\n{_instance('X1', 'a', name, len(ports))}", drive)

    def as_module(drive: Drive) -> Deck:
        assert not isinstance(written, str)
        nodes = " ".join(["a", "0", *(f"open{k}" for k in range(2, len(ports)))])
        return bench_deck(f"N1 {nodes} dut\n.model dut {written.module}", drive, osdi=(written.osdi,))

    found = compare(
        read=reader,
        unread=unread,
        before=deck(lines),
        in_file=lambda reason: _in_file(reason, lines),
        no_before="",
        after=as_module if files.as_verilog else deck(new),
        second=None if isinstance(written, str) else second,
        after_second=as_module,
        states=states,
        simulator=simulator,
        amplitude=amplitude,
        period=period,
        changed=changed,
        read_to_look=True,
        shortest=shortest,
    )
    if isinstance(written, str) and second is not None:
        why = f"the repaired netlist was not run in VACASK, which takes it as Verilog-A: {written}"
        found = replace(found, unverified=(*found.unverified, why))
    return found


def _heads(lines: list[Line]) -> list[list[str]]:
    """Name and nodes of each subcircuit that is not inside another one: ``[".subckt", name, node, ...]``."""
    found, depth = [], 0
    for line in lines:
        if line.card in (".subckt", ".macro"):
            if depth == 0:
                found.append(re.split(r"\bparams:|\w+\s*=", line.text, maxsplit=1, flags=re.IGNORECASE)[0].split())
            depth += 1
        elif line.card in (".ends", ".eom"):
            depth = max(0, depth - 1)
    return found


def _ports(head: list[str]) -> tuple[str, ...]:
    return tuple(word.lower() for word in head[2:])


def _sources_to_ground(lines: list[Line], ports: tuple[str, ...]) -> list[str]:
    """The voltage sources of the first subcircuit, whose ports are given, between one of them and ground."""
    found, depth, ended = list[str](), 0, False
    for line in lines:
        depth += line.card in (".subckt", ".macro")
        words = line.text.lower().split()
        if depth == 1 and not ended and not line.card and len(words) > 2 and words[0][0] in "veh":
            ends = {"0" if word in GROUND else word for word in words[1:3]}
            found += [words[0]] if "0" in ends and ends & set(ports) else []
        if line.card in (".ends", ".eom"):
            depth, ended = max(0, depth - 1), ended or depth == 1
    return found


def _library(lines: list[Line]) -> str:
    return "\n".join(line.text for line in _definitions(lines))


def _definitions(lines: list[Line]) -> list[Line]:
    """Subcircuits and all cards except analyses and those about nodes: a file without its circuit."""
    rows, depth = list[Line](), 0
    for line in lines:
        depth += line.card in (".subckt", ".macro")
        if depth or (line.card and line.card not in _OF_NODES and not _ANALYSIS.match(line.text)):
            rows.append(line)
        depth = max(0, depth - (line.card in (".ends", ".eom")))
    return rows


def _in_file(reason: str, lines: list[Line]) -> str:
    """``reason`` with the lines of the file in place of those of the deck that was made of it."""
    numbers = dict(enumerate((line.where.line for line in _definitions(lines)), BODY_LINE))
    return re.sub(r"\bline (\d+)", lambda match: f"line {numbers.get(int(match[1]), match[1])}", reason)


def _instance(name: str, node: str, subcircuit: str, ports: int) -> str:
    """``subcircuit`` between ``node`` and ground, its further terminals open."""
    opened = [f"open{k}" for k in range(2, ports)]
    loads = [f"R{name}{k} {k} 0 1e15" for k in opened]
    return "\n".join([" ".join([name, node, *(["0"] if ports > 1 else []), *opened, subcircuit]), *loads])


def _run_rest(found: Equivalence, lines: list[Line], simulator: Simulator) -> Equivalence:
    """Run what was not compared, the further subcircuits and the file's own circuit, and report it."""
    unverified = list(found.unverified)
    decks = []
    for head in _heads(lines)[0 if found.drive is None else 1 :]:
        used = _instance("X1", "a", head[1], len(head) - 2)
        if len(head) == 4 and head[1] == _heads(lines)[0][1] and _sources_to_ground(lines, _ports(head)):
            used = f"X1 one other {head[1]}\nRone a one 1\nRother other 0 1e6"  # either may be a source
        body = f"{_library(lines)}\nVdrive a 0 0.1\n{used}"
        decks.append((f"subcircuit {head[1]!r}", f"{body}\n.op"))
    depth = 0
    own = False
    for line in lines:
        depth += line.card in (".subckt", ".macro")
        own = own or (depth == 0 and not line.card)
        depth = max(0, depth - (line.card in (".ends", ".eom")))
    if own:
        rows = [line.text for line in lines if line.card not in (".end", ".backanno")]
        asked = any(line.card in (".tran", ".ac", ".dc", ".op", ".noise", ".tf") for line in lines)
        decks.append(("the circuit", "\n".join(rows if asked else [*rows, ".op"])))
    for what, body in decks:
        try:
            result = simulator.run(Deck(f"lint\n{body}\n.end\n"), limits=Limits(wall=60.0))
            reason = "" if result.ok else result.reason
            unverified += [f"the circuit's .meas {name} gives nothing: {why}" for name, why in result.missing.items()]
        except CosimError as error:
            reason = str(error)
        if reason:
            return fails(f"{what} as repaired does not run in ngspice: {reason}")
        unverified.append(f"{what} runs in ngspice as repaired; it was not compared with the original")
    return replace(found, unverified=tuple(unverified), rest=tuple(what for what, _ in decks))
