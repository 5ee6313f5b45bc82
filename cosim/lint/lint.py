"""``cosim lint`` as functions: `lint_file` finds, `fix_file` repairs and compares.

Untrusted input: a file is read as text, with a limit on its size; what it includes is looked for in its own folder
only; nothing in it is executed, except by a simulator in its sandbox for the comparison.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from cosim.devices.base import Array
from cosim.engines.openvaf import compile_model, find_openvaf
from cosim.engines.simulator import Deck, Simulator
from cosim.errors import CosimError, EngineMissing, InputError, MissingFile, NetlistError, NetlistRefused
from cosim.language.expressions import Expr, Unreadable
from cosim.language.findings import Finding, Fixed, Severity, read_source
from cosim.language.va_tokens import STANDARD_HEADERS
from cosim.language.va_tree import Module
from cosim.lint import va_behavioural, va_fix, va_rules, va_timer
from cosim.lint.drive import Drive, ModelRun, Reader
from cosim.lint.equivalence import Equivalence, bench_deck, compare, fails
from cosim.lint.va_euler import FAST
from cosim.lint.va_reading import ModuleReading

VERILOG_A = (".va", ".vams", ".verilog-a")
_NOT_RUN = "nothing was run and compared: no simulator was given"
SLOWER = 1e4  # than the time in which a state that is set at once goes there: a drive's period
TICKS = 1e5  # of a timer in a drive's period: in its edges, a fiftieth of it, a tick is 0.05 % of the way
SPICE = (".sub", ".lib", ".cir", ".sp", ".spice", ".net", ".mod", ".asc-net", ".inc", ".ckt", ".spi")


@dataclass(frozen=True)
class Lint:
    """What was found in a file. ``notes`` are sentences on what could not be checked."""

    file: Path
    language: str
    findings: tuple[Finding, ...]
    notes: tuple[str, ...] = ()

    @property
    def clean(self) -> bool:
        """Whether all of it was understood, and there are warnings at most."""
        return all(finding.severity is Severity.WARNING and finding.rule != "unread" for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "file": str(self.file),
            "language": self.language,
            "clean": self.clean,
            "findings": [finding.to_dict() for finding in self.findings],
            "notes": list(self.notes),
        }


@dataclass(frozen=True)
class Repair:
    """A repaired text, what lint says of it, and how it compares with the original."""

    fixed: Fixed
    after: Lint
    equivalence: Equivalence = field(default_factory=lambda: Equivalence(None))

    @property
    def offered(self) -> bool:
        """Whether the text may be written: nothing showed that it fails in the compiler or in the simulator."""
        return self.equivalence.runs

    @property
    def clean(self) -> bool:
        """Whether it has warnings at most, and every comparison speaks for it."""
        return self.after.clean and not self.equivalence.findings

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "done": list(self.fixed.done),
            "left": list(self.fixed.left),
            "offered": self.offered,
            "clean": self.clean,
            "findings": [finding.to_dict() for finding in self.after.findings],
            "equivalence": self.equivalence.to_dict(),
            "unverified": list(self.equivalence.unverified),
        }


def lint_file(path: str | Path, *, allow: Sequence[Path] = ()) -> Lint:
    """Lint a Verilog-A model, or an LTspice netlist, by its suffix. Raises `InputError`, `MissingFile`.

    ``allow``: folders beside the file's own that it may include from.

    >>> from pathlib import Path
    >>> text = "module ohmic(p, n); inout p, n; electrical p, n; analog I(p, n) <+ V(p, n) / 1k; endmodule"
    >>> _ = Path("ohmic.va").write_text(text)
    >>> [finding.rule for finding in cosim.lint_file("ohmic.va").findings]
    ['no-disciplines']
    """
    file = Path(path)
    text = read_source(file)
    if file.suffix.lower() in VERILOG_A:
        return lint_verilog_a(text, file, allow=allow)
    if file.suffix.lower() in SPICE:
        from cosim.lint.lt_lint import lint_spice

        return lint_spice(text, file, allow=allow)
    raise InputError(f"{file.name}: lint does not know this suffix", remedy=f"one of {', '.join(VERILOG_A + SPICE)}")


def fix_file(
    path: str | Path,
    simulator: Simulator | None,
    *,
    amplitude: float | None = None,
    period: float | None = None,
    caret: str = "",
    second: Simulator | None = None,
    to: str = "",
    allow: Sequence[Path] = (),
) -> Repair:
    """Repair a file, compile and run the result, and compare it with the file; without ``simulator`` only compiled.

    Args:
        path: the file.
        simulator: ngspice, or None.
        amplitude, period: of the drive of the comparison (V, s); None chooses one that moves the model's states.
        second: VACASK, in which the repaired model is compared as well, or None.
        allow: folders beside the file's own that it may include from.
        to: "behavioural" for a subcircuit of B-sources in place of the repaired Verilog-A, "verilog-a" for a module
            in place of the repaired netlist.
        caret: what ``^`` means in an LTspice expression, "power" or "xor"; empty leaves it, and says so.
    """
    file = Path(path)
    text = read_source(file)
    if file.suffix.lower() in VERILOG_A:
        given = _Given(text, file, (file.resolve().parent, *allow), amplitude, period)
        return _fix_verilog_a(given, simulator, second=second, to=to)
    if to not in ("", "verilog-a"):
        raise InputError(f"{file.name}: --to {to} does not take a netlist", remedy="a netlist goes --to verilog-a")
    from cosim.lint.lt_lint import fix_spice

    drive = {"amplitude": amplitude, "period": period}
    return fix_spice(text, file, simulator, **drive, caret=caret, second=second, to=to, allow=allow)


def lint_verilog_a(text: str, file: Path, *, allow: Sequence[Path] = ()) -> Lint:
    """The rules' findings, and what the compiler says where no rule has said it."""
    folders = (file.resolve().parent, *allow)
    model = va_rules.read(text, *folders)
    findings = va_rules.check(model)
    notes = []
    if not model.modules:
        if re.search(r"^\s*simulator\s+lang\s*=\s*spectre", text, re.MULTILINE | re.IGNORECASE):
            raise NetlistError(f"{file} is a netlist in Spectre's language", remedy="write it in SPICE or Verilog-A")
        raise NetlistError(f"{file}: this file does not contain a module", remedy="a model is a module")
    if any(finding.rule.startswith("include-") for finding in findings):
        notes.append("not compiled: an included file is missing or not allowed")
    elif find_openvaf() is None:
        notes.append("not compiled: there is no Verilog-A compiler (pip install 'cosim-spice[veriloga]')")
    else:
        findings += _compiler(text, folders, findings)
    foreign = sorted({name for name, _ in model.source.includes} - STANDARD_HEADERS)
    if foreign:
        notes.append(f"findings in an included file are given at the line that includes it: {', '.join(foreign)}")
    return Lint(file, "verilog-a", tuple(sorted(findings, key=lambda f: (f.line, f.column))), tuple(notes))


def _compiler(text: str, folders: Sequence[Path], found: list[Finding]) -> list[Finding]:
    """The compiler's first error, unless a rule has named its line."""
    try:
        compile_model(text, include=folders)
    except EngineMissing:
        return []
    except NetlistError as error:
        line = (error.where.line if error.where is not None else None) or 1
        column = error.where.column if error.where is not None and isinstance(error.where.column, int) else 1
        if any(f.severity is Severity.ERROR and (f.line == line or error.where is None) for f in found):
            return []
        if any(f.severity is Severity.ERROR for f in found):  # it may follow from one of those
            return []
        message = error.message.removeprefix("Verilog-A: ")
        return [Finding("compiler", Severity.ERROR, line, column, message, "see the language's manual")]
    return []


def _first_error(folders: Sequence[Path]) -> va_fix.Compiler | None:
    """The compiler as the fixes call it; None where it is not installed."""
    if find_openvaf() is None:
        return None

    def compiled(text: str) -> tuple[int, str] | None:
        try:
            compile_model(text, include=folders)
        except (EngineMissing, NetlistRefused, MissingFile):
            return None  # an included file, or the linker: not the fault of a fix
        except NetlistError as error:
            line = error.where.line if error.where is not None else None
            return line or 1, error.message.removeprefix("Verilog-A: ")
        return None

    return compiled


@dataclass(frozen=True)
class _Given:
    """A Verilog-A file, the folders that it may include from, and the drive (V, s) that was asked for."""

    text: str
    file: Path
    folders: tuple[Path, ...]
    amplitude: float | None
    period: float | None


def _fix_verilog_a(given: _Given, simulator: Simulator | None, *, second: Simulator | None, to: str) -> Repair:
    if to not in ("", "behavioural"):
        raise InputError(f"--to {to!r} is not known", remedy="the only target is 'behavioural'")
    text, file, folders = given.text, given.file, given.folders
    before = lint_verilog_a(text, file, allow=folders[1:])
    fixed = va_fix.fix(va_rules.read(text, *folders), _first_error(folders))
    after = lint_verilog_a(fixed.text, file, allow=folders[1:])
    if to:
        return _behavioural(given, fixed, after, simulator)
    try:
        compiled = compile_model(fixed.text, include=folders)
    except EngineMissing as error:
        return Repair(fixed, after, Equivalence(None, (), (f"the repaired model was not compiled: {error}",)))
    except CosimError as error:
        return Repair(fixed, after, fails(f"the repaired model does not compile: {error}"))
    if simulator is None:
        return Repair(fixed, after, Equivalence(None, (), (_NOT_RUN,)))
    new, old = va_rules.read(fixed.text, *folders), va_rules.read(text, *folders)
    module = new.modules[0]
    ends = module.terminals
    if len(ends) != 2 or _drives(module, ends):
        return Repair(fixed, after, Equivalence(None, (), (_not_two(module, ends),)))
    wired = _wired(module, ends)
    nodes = _integrals(old.modules[0]) & set(module.nets)
    states = _added(old, new)

    def deck(osdi: Path, name: str) -> Callable[[Drive], Deck]:
        return lambda drive: bench_deck(f"N1 {wired} dut\n.model dut {name}", drive, osdi=(osdi,))

    original, why = None, ""
    try:
        original = deck(compile_model(text, include=folders), old.modules[0].name)
    except CosimError as error:
        findings = [f for f in before.findings if f.severity is Severity.ERROR]
        why = f"it does not compile (line {findings[0].line}: {findings[0].message})" if findings else str(error)
    scales = _scales(new, states)
    reader, unread = _reader(old, {name: scale for name, (scale, _) in scales.items()}, nodes)
    found = compare(
        read=reader,
        unread=unread,
        before=original,
        no_before=why,
        after=deck(compiled, module.name),
        states={**states, **{name: f"v(n1#{name})" for name in nodes}},
        simulator=simulator,
        amplitude=given.amplitude,
        period=given.period,
        changed=fixed.text != text,
        second=second,
        bounds={name: bounds for name, (_, bounds) in scales.items()},
        stopped=_stopped(module, states),
        shortest=_shortest(old, new),
    )
    others = [f"module {other.name!r} was not run and compared" for other in new.modules[1:]]
    return Repair(fixed, after, replace(found, unverified=(*found.unverified, *others)))


def _behavioural(given: _Given, fixed: Fixed, after: Lint, simulator: Simulator | None) -> Repair:
    """The repaired model as a subcircuit, compared with the original as its language reads it."""
    old, new = va_rules.read(given.text, *given.folders), va_rules.read(fixed.text, *given.folders)
    module = new.modules[0]
    try:
        written, notes = va_behavioural.subcircuit(new, module)
    except Unreadable as reason:
        at = new.source.place(reason.position)[0]
        return Repair(fixed, after, fails(f"line {at} of the repaired model: {reason.message}"))
    result = Fixed(written, (*fixed.done, "the model is a subcircuit of B-sources", *notes), fixed.left)
    others = tuple(f"module {other.name!r} was not written" for other in new.modules[1:])
    ends = module.terminals
    if simulator is None or len(ends) != 2 or _drives(module, ends):
        skipped = _NOT_RUN if simulator is None else _not_two(module, ends)
        return Repair(result, after, Equivalence(None, (), (skipped, *others)))
    states = _added(old, new)
    nodes = _integrals(old.modules[0]) & set(module.nets)
    scales = _scales(new, states)
    reader, unread = _reader(old, {name: scale for name, (scale, _) in scales.items()}, nodes)
    vectors = {**states, **{name: f"v(n1#{name})" for name in nodes}}
    found = compare(
        read=reader,
        unread=unread,
        before=None,
        no_before="it is Verilog-A",
        after=lambda drive: bench_deck(f"{written}X1 {_wired(module, ends)} {module.name}", drive),
        states=dict(va_behavioural.mapped(vectors)),
        simulator=simulator,
        amplitude=given.amplitude,
        period=given.period,
        changed=True,
        bounds={name: bounds for name, (_, bounds) in scales.items()},
        stopped=_stopped(module, states),
        shortest=_shortest(old, new),
    )
    return Repair(result, after, replace(found, unverified=(*found.unverified, *others)))


def _not_two(module: Module, ends: tuple[str, ...]) -> str:
    if len(ends) == 2:
        says = f"nothing was compared: module {module.name!r} drives port {_drives(module, ends)!r} against ground"
        return f"{says}, so that the current between its two ports does not show what it does"
    return f"nothing was compared: module {module.name!r} has {len(ends)} terminals, not two"


def _drives(module: Module, ends: tuple[str, ...]) -> str:
    """The port that a module of two drives against ground by the voltage of the other one; "" for a two-terminal."""

    def alone(node: Expr | None) -> str:
        call = node is not None and node.op == "call" and node.name in ("V", "I") and len(node.args) == 1
        return node.args[0].name if call and node is not None and node.args[0].name not in module.branches else ""

    driven = {alone(s.access) for s in module.statements() if s.kind == "contrib"} & set(ends)
    read = {alone(node) for expr in module.expressions() for node in expr.walk()} & set(ends)
    return next((port for port in sorted(driven) if read - {port} - driven), "")


def _wired(module: Module, ends: tuple[str, ...]) -> str:
    """The nodes of an instance between a and ground; other ports are left open."""
    return " ".join("a" if p.text == ends[0] else "0" if p.text == ends[1] else f"o_{p.text}" for p in module.ports)


def _added(old: va_rules.Model, new: va_rules.Model) -> dict[str, str]:
    """The states that the fix made nodes of -> their vectors."""
    added = new.modules[0].nets.keys() - old.modules[0].nets.keys()
    return {net.removesuffix("_state"): f"v(n1#{net})" for net in sorted(added) if net.endswith("_state")}


def _stopped(module: Module, states: Collection[str]) -> list[str]:
    """The states whose rate the fix sets to zero at a bound."""
    tests = [s.value.names() for s in module.statements() if s.kind == "if" and s.value is not None]
    return [name for name in states if any({f"{name}_state", f"{name}_rate"} <= names for names in tests)]


def _integrals(module: Module) -> set[str]:
    """The inner nodes whose voltage is an integral."""
    found = set()
    for statement in module.statements():
        access, value = statement.access, statement.value
        if access is None or value is None or access.name != "V" or len(access.args) != 1:
            continue
        if any(node.op == "call" and node.name == "idt" for node in value.walk()):
            found.add(access.args[0].name)
    return found


class _Watched(ModuleReading):
    """A reading that keeps the voltages of some inner nodes as well."""

    def __init__(self, model: va_rules.Model, dt: float, nodes: set[str]) -> None:
        super().__init__(model, model.modules[0], dt)
        self.seen: dict[str, list[float]] = {name: [] for name in nodes}

    def _step(self, now: float, volts: float, guess: float) -> float:
        current = super()._step(now, volts, guess)
        for name, values in self.seen.items():
            values.append(self._nodes.get(name, 0.0))
        return current


def _reader(old: va_rules.Model, scales: dict[str, float], nodes: set[str]) -> tuple[Reader | None, str]:
    try:
        ModuleReading(old, old.modules[0], 1e-9)
    except Unreadable as reason:
        return None, f"line {old.source.place(reason.position)[0]}: {reason.message}"

    def read(t: Array, v: Array) -> ModelRun:
        reading = _Watched(old, float(t[1] - t[0]), nodes)
        trace = reading.run(t, v)
        kept = {name: trace.kept[name] / scales[name] for name in scales if name in trace.kept}
        return ModelRun(trace.i, {**kept, **{name: np.array(x) for name, x in reading.seen.items()}})

    return read, ""


def _shortest(old: va_rules.Model, new: va_rules.Model) -> float:
    """The period (s) of a drive below which the repaired model is not meant to follow."""
    return max(SLOWER * float(FAST) if _set_at_once(old, new) else 0.0, TICKS * va_timer.longest(old))


def _set_at_once(old: va_rules.Model, new: va_rules.Model) -> bool:
    """Whether the fix gave a state a time in which it goes to what it is set to."""
    before = {entry.name.text for entry in old.modules[0].parameters}
    written = f"/{FAST} :" in new.source.text.replace(old.source.text, "")
    given = (e.name.text for e in new.modules[0].parameters)
    return written or any(name.startswith("reset_time") and name not in before for name in given)


def _scales(model: va_rules.Model, states: dict[str, str]) -> dict[str, tuple[float, tuple[float, float]]]:
    """What a state is divided by in its node, and the bounds of what is read of it there, as the fix wrote them.

    1, and no bounds, where one of them has no value: neither has the model then, which its reading says.
    """
    found = {}
    for name in states:
        try:
            found[name] = _scale(model, name)
        except Unreadable:
            found[name] = 1.0, (-np.inf, np.inf)
    return found


def _scale(model: va_rules.Model, name: str) -> tuple[float, tuple[float, float]]:
    reading = ModuleReading(model, model.modules[0], 1e-9)

    def constant(expr: Expr) -> float:
        return reading.constant(model.source.text[expr.start : expr.end])

    scale, low, high = 1.0, -np.inf, np.inf
    for statement in model.modules[0].statements():
        value = statement.value
        if statement.target != name or value is None or f"{name}_state" not in value.names():
            continue
        while value.op == "call" and value.name in ("min", "max"):
            bound = constant(value.args[1])
            low, high = (low, bound) if value.name == "min" else (bound, high)
            value = value.args[0]
        scale = constant(value.args[0]) if value.op == "*" else 1.0
        break
    return scale, (low / scale, high / scale)
