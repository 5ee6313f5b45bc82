"""The rules for Verilog-A: each was seen to fail, or to give another result, in OpenVAF-Reloaded or ngspice 46."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cosim.errors import NetlistRefused, Where
from cosim.language.expressions import Expr, Token, is_integer
from cosim.language.findings import Finding, Rule, Severity, at, inside
from cosim.language.va_macros import CONSTANTS, GUARDS
from cosim.language.va_syntax import parse
from cosim.language.va_tokens import STANDARD_HEADERS, SUFFIX, Source, scan
from cosim.language.va_tree import Declared, Module, Statement, Unread
from cosim.language.va_words import RESERVED
from cosim.lint.va_state import Flow, constant, flow

E, W, N = Severity.ERROR, Severity.WRONG, Severity.WARNING

# ngspice's own types: ".model x diode" is one of them, whatever module of that name was loaded.
TYPES = frozenset(
    """r res resistor c cap capacitor l ind inductor k mutual d dio diode npn pnp vbic njf pjf jfet nmf pmf mes mesa
    nmos pmos vdmos sw csw switch cswitch ltra urc tra txl cpl nbjt numd numos hfet1 hfet2 soi asrc vsource isource vcvs
    vccs ccvs cccs hisim2 hisimhv1 hisimhv2 hicum2 spice2poly climit divide d_dt gain hyst ilimit int limit mult
    multi_input_pwl oneshot pwl sine slew square summer xfer s_xfer triangle filesource delay pwlts astate adc_bridge
    dac_bridge bidi_bridge aswitch capacitoric cmeter core inductoric lcouple lmeter potentiometer zener memristor
    sidiode pswitch seegen table2d table3d mlin tline cpline cpmlin msopen""".split()  # noqa: SIM905
)
RENAMED = {
    "log10": "log", "bound_step": "$bound_step", "discontinuity": "$discontinuity", "$realtime": "$abstime",
    "$time": "$abstime", "fabs": "abs",
}  # fmt: skip
_RANDOM = re.compile(r"\$(random|arandom|r?dist_\w+)$")
_UNSUPPORTED = re.compile(
    r"(transition|slew|last_crossing|delay|laplace_\w+|zi_\w+|\$table_model|\$fopen|\$fclose|\$fwrite|\$fdisplay"
    r"|\$fstrobe|\$f?scanf|\$fgets|\$random_seed)$"
)
_UNSUPPORTED_WORDS = frozenset(
    {"genvar", "generate", "wreal", "reg", "always", "tri0", "tri1", "repeat", "forever", "casex", "casez", "defparam"}
)
_AFTER_A_VALUE = frozenset({"=", ";", ",", ")", "*", "+", "-", "/"})
_SIMPARAM = frozenset({"gmin", "tnom", "abstol", "vntol", "reltol", "epsmin", "iteration", "sourceScaleFactor"})
# Rules about what an author may mean: a comment at the line's end, "// lint: allow RULE, RULE", and no more, says so.
MEANT = frozenset({"integer-division", "log", "domain"})
_ALLOWED = re.compile(r"^(?:(?!//).)*//\s*lint: allow ([\w-]+(?:, [\w-]+)*)\s*$")
_OPERATORS = frozenset({"ddt", "idt", "idtmod", "absdelay", "transition", "slew", "laplace_nd", "zi_nd"})

RULES = {
    rule.code: rule
    for rule in (
        Rule("hidden-state", W, "{!r} is read before it is assigned: its value of the last step is lost in OSDI",
             "hold it as the voltage of an internal node, V(x) <+ x0 + idt(rate, 0)"),
        Rule("initial-step", W, "the @(initial_step) assignment to {!r} is run at every evaluation, not once",
             "start the state in V(x) <+ x0 + idt(rate, 0); assign only constants there"),
        Rule("final-step", W, "the @(final_step) block with {!r} is run at every evaluation, not at the end",
             "remove it"),
        Rule("idt-initial", W, "{} with an initial condition starts right and falls to 0 at ngspice's first step",
             "write x0 + idt(rate, 0)"),
        Rule("idt-reset", W, "the reset of {} is ignored", "let the node go back to its start where it is reset"),
        Rule("idt-plain", N, "{} without an initial condition starts at its equilibrium in some simulators and at 0 in "
             "ngspice", "write idt(rate, 0)"),
        Rule("idtmod", W, "idtmod is not wrapped in ngspice", "use idt and take the modulus of its value"),
        Rule("random", E, "{} is not supported", "make the deviation a parameter and draw it outside (Monte Carlo)"),
        Rule("event", E, "@({}) is not supported", "write the condition as a smooth function, or as a state"),
        Rule("event-or", E, "an event with 'or' is not supported", "write a single event, or assign without one"),
        Rule("initial-instance", E, "@({}) is not supported", "assign constants outside of events"),
        Rule("unsupported", E, "{} is not supported", "write it with ddt, idt and ordinary functions"),
        Rule("absdelay", E, "absdelay compiles and leaves a singular matrix in ngspice", "use a line, or an RC chain"),
        Rule("operator-in-condition", E, "{} may not stand in an 'if' that depends on a signal",
             "compute its argument in the 'if', and put the operator after it"),
        Rule("reserved", E, "{!r} is a reserved word of Verilog-A", "rename it"),
        Rule("ground", E, "ground {!r} has no discipline", "write 'electrical {}; ground {}'"),
        Rule("ground-order", E, "'electrical ground {}' is not a declaration", "write 'electrical {}; ground {}'"),
        Rule("discipline", E, "port {!r} has no discipline", "write 'electrical {}'"),
        Rule("direction", E, "port {!r} has no direction", "write 'inout {}'"),
        Rule("no-disciplines", E, "disciplines.vams is not included", 'write `include "disciplines.vams"'),
        Rule("no-constants", E, "{} is used and constants.vams is not included", 'write `include "constants.vams"'),
        Rule("include-missing", E, "included file {!r} does not exist beside the file",
             "put it there, or give its folder with --allow"),
        Rule("include-outside", E, "included file {!r} is outside the file's folder",
             "put it beside the file, or give its folder with --allow"),
        Rule("attr", E, "macro {} is not part of the language", "write a description as (* desc=\"...\" *) in front"),
        Rule("macro", E, "macro {} is not defined", "define it, or include the file that does"),
        Rule("directive", E, "directive {} is not supported", "remove it"),
        Rule("range-comma", E, "the range of parameter {!r} has a comma", "write a colon: from [low:high]"),
        Rule("number", E, "{} is not a number in Verilog-A", "write a digit before the point, and 1e6 for 1meg"),
        Rule("caret", E, "'^' is exclusive or, not a power", "write pow(x, y)"),
        Rule("renamed", E, "{} is not known", "use the language's name"),
        Rule("sgn", E, "there is no {}()", "write (x > 0 ? 1 : (x < 0 ? -1 : 0))"),
        Rule("analysis-static", W, "analysis({}) is false in a transient's first operating point: its hold is skipped",
             "start the state in V(x) <+ x0 + idt(rate, 0)"),
        Rule("log", N, "log() is base 10 in Verilog-A", "write ln() where the natural logarithm is meant"),
        Rule("domain", N, "{} of something that may be negative is NaN, and the simulation stops",
             "limit the argument with max(), or take abs()"),
        Rule("integer-division", W, "{} is a division of integers and drops the rest",
             "write one of them with a point; where it is meant, '// lint: allow integer-division' in that line"),
        Rule("untyped-parameter", W, "parameter {!r} has no type and an integer default: real values are rounded",
             "write 'parameter real'"),
        Rule("module-name", E, "module {!r} has the name of a type of ngspice's own, and cannot be instantiated",
             "rename it"),
        Rule("case-clash", W, "parameters {} differ in case only, which ngspice ignores", "rename one of them"),
        Rule("finish", W, "$finish is ignored in ngspice", "end the analysis in the netlist"),
        Rule("stop", E, "{} stops ngspice with 'timestep too small'", "remove it"),
        Rule("simparam", E, "$simparam({}) without a default is not known to ngspice", "give a default value"),
        Rule("function-type", E, "argument {!r} of an analog function has no type: the compiler aborts",
             "write 'real {};' in the function"),
        Rule("parameter-assigned", E, "parameter {!r} is assigned", "use a variable"),
        Rule("loose-node", E, "nothing contributes to internal node {!r}: the matrix is singular",
             "contribute, or drop it"),
        Rule("unused-node", N, "node {!r} is declared and not used: the matrix is singular in VACASK", "remove it"),
        Rule("array", E, "arrays and buses are not supported", "write single variables and nodes"),
        Rule("instance", E, "an instance of another module is not supported", "connect the modules in the netlist"),
        Rule("unread", N, "{}: it was not checked", "check it by hand, or write it in plain statements"),
    )
}  # fmt: skip


def taken(name: str) -> bool:
    """Whether ngspice has a type of that name."""
    return name.lower() in TYPES or bool(re.match(r"(bsim|mos|b[34]soi|soi3?$|d_)", name.lower()))


@dataclass(frozen=True)
class Model:
    """A Verilog-A file, read: its tokens, modules, the flow of their variables, and what lies outside of modules."""

    source: Source
    modules: tuple[Module, ...]
    flows: tuple[Flow, ...]
    folders: tuple[Path, ...]
    outside: tuple[Unread, ...] = ()

    def found(self, code: str, position: int, what: str = "") -> Finding:
        """A finding of rule ``code``."""
        return at(_formatted(RULES[code], what), *self.source.place(position), what)


def _formatted(rule: Rule, what: str) -> Rule:
    says = rule.says.replace("{!r}", repr(what).replace("{", "{{").replace("}", "}}"))
    return Rule(rule.code, rule.severity, says, rule.remedy.replace("{}", what.replace("{", "{{").replace("}", "}}")))


def read(text: str, *folders: Path) -> Model:
    """The model in ``text``; what it includes is looked for in ``folders``."""
    source = scan(text, folders)
    outside: list[Unread] = []
    modules = tuple(parse(source, outside))
    return Model(source, modules, tuple(flow(module) for module in modules), folders, tuple(outside))


def check(model: Model) -> list[Finding]:
    """All findings, in the order of the text."""
    found = [finding for rule in (_includes, _words, _unread) for finding in rule(model)]
    for module, states in zip(model.modules, model.flows, strict=True):
        for check_module in _MODULE_RULES:
            found += check_module(model, module, states)
    lines = model.source.text.split("\n")
    unique = {
        (f.rule, f.line, f.column): f
        for f in found
        if not (
            f.rule in MEANT and (allowed := _ALLOWED.search(lines[f.line - 1])) and f.rule in allowed[1].split(", ")
        )
    }
    return sorted(unique.values(), key=lambda f: (f.line, f.column))


def _includes(model: Model) -> Iterator[Finding]:
    for name, token in model.source.includes:
        if name in STANDARD_HEADERS:
            continue
        try:
            if inside(name, model.folders, where=Where()) is None:
                yield model.found("include-missing", token.start, name)
        except NetlistRefused:
            yield model.found("include-outside", token.start, name)


def _unread(model: Model) -> Iterator[Finding]:
    """Each part that was not understood; parts in a row are one."""
    parts = sorted((*model.outside, *(part for m in model.modules for part in m.unread)), key=lambda part: part.start)
    joined: list[Unread] = []
    for part in parts:
        between = model.source.text[joined[-1].end : part.start] if joined else "x"
        if between.strip():
            joined.append(part)
        else:
            last = joined.pop()
            joined.append(Unread(last.start, max(last.end, part.end), last.message))
    for part in joined:
        first, last_line = (model.source.place(position)[0] for position in (part.start, max(part.end - 1, part.start)))
        lines = f"line {first} was" if first == last_line else f"lines {first}–{last_line} were"
        yield model.found("unread", part.start, f"{lines} not understood ({part.message})")


def _words(model: Model) -> Iterator[Finding]:
    """What the tokens alone show."""
    source = model.source
    constants = source.standard >= CONSTANTS
    for token in source.directives:
        yield model.found("directive", token.start, token.text)
    own = any(token.text == "enddiscipline" for token in source.tokens)
    followed = not source.unopened
    if followed and model.modules and not own and GUARDS["discipline"] not in source.standard:
        yield model.found("no-disciplines", model.modules[0].start)
    for token, after in zip(source.tokens, source.tokens[1:], strict=False):
        if token.kind == "directive":
            yield from _macro(model, token, after, constants=constants, followed=followed)
    written = source.written
    for before, token, after in zip((None, *written), written, (*written[1:], source.tokens[-1]), strict=False):
        if token.kind == "number":
            tail = re.sub(r"^[\d._]+([eE][+-]?\d+)?", "", token.text)
            if token.text.startswith(".") or (tail and tail not in SUFFIX):
                yield model.found("number", token.start, token.text)
        elif token.text == "ground" and after.kind == "name" and before is not None and before.kind == "name":
            yield model.found("ground-order", token.start, after.text)
        elif token.kind == "name" and token.text in _UNSUPPORTED_WORDS and after.text not in _AFTER_A_VALUE:
            yield model.found("unsupported", token.start, token.text)


def _macro(model: Model, token: Token, after: Token, *, constants: bool, followed: bool) -> Iterator[Finding]:
    word = token.text[1:]
    if word in CONSTANTS:
        if not constants and followed:
            yield model.found("no-constants", token.start, token.text)
    elif word in ("attr", "P", "ATTR") and after.text == "(":
        yield model.found("attr", token.start, token.text)
    elif followed:
        yield model.found("macro", token.start, token.text)


def _states(model: Model, module: Module, states: Flow) -> Iterator[Finding]:
    for name, node in states.hidden.items():
        yield model.found("hidden-state", node.start, name)
    for name, statements in states.initial.items():
        settled = {n for n in states.initial if n not in states.assigned}
        bad = [s for s in statements if s.value is not None and not constant(s.value, module, settled)]
        if name not in states.assigned and bad and name in states.unset:
            yield model.found("initial-step", bad[0].start, name)
    for name, statements in states.ending.items():
        yield model.found("final-step", statements[0].start, name)


def _names(model: Model, module: Module, states: Flow) -> Iterator[Finding]:
    if taken(module.name):
        yield model.found("module-name", module.named, module.name)
    declared = [*module.ports, *(entry.name for entry in (*module.parameters, *module.variables))]
    for token in declared:
        if token.text in RESERVED:
            yield model.found("reserved", token.start, token.text)
    lower: dict[str, Token] = {}
    for entry in module.parameters:
        other = lower.setdefault(entry.name.text.lower(), entry.name)
        if other is not entry.name and not entry.local:
            yield model.found("case-clash", entry.name.start, f"{other.text} and {entry.name.text}")
        if not entry.kind and entry.name.text in module.integers and not entry.local:
            yield model.found("untyped-parameter", entry.name.start, entry.name.text)
    for token in module.grounds:
        if token.text not in module.nets:
            yield model.found("ground", token.start, token.text)
    for port in module.ports:
        if port.text not in module.directed:
            yield model.found("direction", port.start, port.text)
        if port.text not in module.nets and port.text not in RESERVED:
            yield model.found("discipline", port.start, port.text)
    for function in module.functions.values():
        for token in function.arguments:
            if token.text not in function.typed:
                yield model.found("function-type", token.start, token.text)
    for token in module.instances:
        yield model.found("instance", token.start)
    yield from _arrays(model, module)
    for entry in module.parameters:
        for comma in entry.commas:
            yield model.found("range-comma", comma.start, entry.name.text)


def _arrays(model: Model, module: Module) -> Iterator[Finding]:
    """Where each array is declared, and where it is first used."""
    functions = [entry for function in module.functions.values() for entry in function.locals]
    entries: list[Declared] = [*module.parameters, *module.variables, *functions]
    places = [*(entry.name.start for entry in entries if entry.array), *(token.start for token in module.arrays)]
    used: dict[str, int] = {}
    targets = (s.access for s in module.statements() if s.kind == "assign" and s.access is not None)
    for expr in (*module.expressions(), *targets):
        for node in expr.walk():
            if node.op == "index":
                used[node.name] = min(node.start, used.get(node.name, node.start))
    for position in (*places, *used.values()):
        yield model.found("array", position)


def _nodes(model: Model, module: Module, states: Flow) -> Iterator[Finding]:
    fed = {port.text for port in module.ports} | {token.text for token in module.grounds}
    used: dict[str, Expr] = {}
    for statement in module.statements():
        if statement.kind == "contrib" and statement.access is not None:
            for arg in statement.access.args:
                fed |= {arg.name, *module.branches.get(arg.name, ())}
        for expr in statement.expressions():
            for node in expr.walk():
                if node.op == "name" and node.name in module.nets:
                    used.setdefault(node.name, node)
    if not (module.unread or module.instances or module.arrays):  # each of them may contribute
        for name, node in used.items():
            if name not in fed and module.nets[name] != "genvar":  # a variable, which the reader takes for a node
                yield model.found("loose-node", node.start, name)


def unused_nodes(model: Model, module: Module) -> list[list[Token]]:
    """The names that each declaration of nodes has, where some of them are used nowhere else in ``module``.

    A declaration is (discipline, name, ...); a name that is used is left out of it.
    """
    if module.unread or module.instances or module.arrays:  # each of them may use one
        return []
    used = {port.text for port in module.ports}
    lists: list[list[Token]] = []
    statement: list[Token] = []
    for token in model.source.tokens:
        if not module.start <= token.start < module.end:
            continue
        statement.append(token)
        if token.text == ";":
            first = statement[0].text
            if first == "ground" or first in module.nets.values():
                lists.append(statement)
            else:
                used |= {word.text for word in statement}
            statement = []
    used |= {word.text for word in statement}
    return [
        [declared[0], *names]
        for declared in lists
        if (names := [t for t in declared[1:] if t.text in module.nets and t.text not in used])
    ]


def _unused(model: Model, module: Module, states: Flow) -> Iterator[Finding]:
    for _, *names in unused_nodes(model, module):
        for token in names:
            yield model.found("unused-node", token.start, token.text)


def _statements(model: Model, module: Module, states: Flow) -> Iterator[Finding]:
    parameters = {entry.name.text for entry in module.parameters}
    for statement in module.statements():
        if statement.kind == "assign" and statement.target in parameters:
            yield model.found("parameter-assigned", statement.start, statement.target)
        if statement.kind == "event":
            events = statement.name.split()
            for event in events:
                if event in ("cross", "above", "timer", "absdelta"):
                    yield model.found("event", statement.start, event)
                elif event in ("initial_instance", "initial_model"):
                    yield model.found("initial-instance", statement.start, event)
            if len(events) > 1:
                yield model.found("event-or", statement.start)
            printed = [s for s in statement.walk() if s.kind == "call"]
            if "final_step" in events and printed and not states.ending:
                yield model.found("final-step", statement.start, printed[0].name)
        if statement.kind == "if" and statement.value is not None and not _static(statement.value, module):
            for child in (s for part in (*statement.body, *statement.other) for s in part.walk()):
                for expr in child.expressions():
                    for node in expr.walk():
                        if node.op == "call" and node.name in _OPERATORS:
                            yield model.found("operator-in-condition", node.start, node.name)


def _static(condition: Expr, module: Module) -> bool:
    """Whether the compiler takes a condition for one that does not change within an analysis."""
    calls = [node for node in condition.walk() if node.name == "analysis"]
    return bool(calls) or constant(condition, module)


def _calls(model: Model, module: Module, states: Flow) -> Iterator[Finding]:
    integers = module.integers
    for expr in module.expressions():
        for node in expr.walk():
            if node.op in ("call", "name"):
                yield from _call(model, module, node)
            elif node.op == "^" and not all(is_integer(arg, integers) for arg in node.args):
                yield model.found("caret", node.start)
            elif node.op == "/" and is_integer(node, integers) and not _exact(node):
                text = model.source.text[node.start : node.end]
                yield model.found("integer-division", node.start, text)


def _exact(node: Expr) -> bool:
    top, bottom = node.args
    return top.op == bottom.op == "number" and bottom.value != 0.0 and top.value % bottom.value == 0.0


def _call(model: Model, module: Module, node: Expr) -> Iterator[Finding]:
    name, args = node.name, node.args
    if name in module.functions or (node.op == "name" and not name.startswith("$")):
        return
    text = args[0].name if args and args[0].op == "string" else ""
    if _RANDOM.match(name):
        yield model.found("random", node.start, name)
    elif _UNSUPPORTED.match(name):
        yield model.found("unsupported", node.start, name)
    elif name in RENAMED:
        yield model.found("renamed", node.start, name)
    elif name in ("sgn", "sign"):
        yield model.found("sgn", node.start, name)
    elif name == "idt" and len(args) > 2:
        yield model.found("idt-reset", node.start, model.source.text[node.start : node.end])
    elif name in ("idt",) and len(args) > 1 and not (args[1].op == "number" and args[1].value == 0.0):
        yield model.found("idt-initial", node.start, model.source.text[node.start : node.end])
    elif name == "idt" and len(args) == 1:
        yield model.found("idt-plain", node.start, model.source.text[node.start : node.end])
    elif name in ("idtmod", "absdelay"):
        yield model.found(name, node.start)
    elif name == "analysis" and text.strip('"') in ("static", "ic", "nodeset"):
        yield model.found("analysis-static", node.start, text)
    elif name == "$simparam" and len(args) == 1 and text.strip('"') not in _SIMPARAM:
        yield model.found("simparam", node.start, text)
    elif name == "$finish":
        yield model.found("finish", node.start)
    elif name in ("$stop", "$fatal"):
        yield model.found("stop", node.start, name)
    elif name == "log":
        yield model.found("log", node.start)


def _domains(model: Model, module: Module, states: Flow) -> Iterator[Finding]:
    """Roots, logarithms and broken powers of a signal's difference, where no 'if' stands around them."""
    accesses = {"V", "I"}

    def loose(expr: Expr) -> bool:
        if expr.op == "call":
            return expr.name in accesses
        if expr.op in ("-", "u-"):
            return any(part.op == "call" and part.name in accesses for part in expr.walk())
        signals = [arg for arg in expr.args if arg.op != "number"]
        if expr.op in ("*", "/"):
            return len(signals) == 1 and loose(signals[0])
        return expr.op == "+" and all(loose(arg) for arg in signals)

    def walk(statement: Statement) -> Iterator[Finding]:
        if statement.kind == "if":
            return
        for expr in statement.expressions():
            for node in expr.walk():
                if node.op == "cond":
                    break
                if node.op not in ("call", "**") or not node.args or not loose(node.args[0]):
                    continue
                broken = len(node.args) > 1 and node.args[1].op == "number" and node.args[1].value % 1.0 != 0.0
                if node.name in ("sqrt", "ln", "log") or ((node.name == "pow" or node.op == "**") and broken):
                    yield model.found("domain", node.start, node.name or "**")
        for child in statement.body:
            yield from walk(child)

    for statement, _ in module.analogs:
        yield from walk(statement)


_MODULE_RULES: tuple[Callable[[Model, Module, Flow], Iterator[Finding]], ...] = (
    _states, _names, _nodes, _unused, _statements, _calls, _domains,
)  # fmt: skip
