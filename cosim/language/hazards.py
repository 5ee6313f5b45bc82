"""What a netlist may not contain: a netlist is a program, and this module refuses what could do harm.

ngspice runs commands from ``.control`` blocks, ``*#`` comments, some titles and backticks; some of its digital models
start programs or load libraries; options and output cards name files. The rule is the safe one: a card, an
option or a built-in code model that is not known to be harmless is refused, with its line. (There is a second line of
defence: `cosim.engines.worker.sandbox`.)
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from cosim.errors import NetlistError, NetlistRefused, Where
from cosim.language.netlist import Line, Netlist, netlist_path, words
from cosim.language.numbers import spice_number


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Cards that describe a circuit, an analysis or what to keep.
CARDS = _names(
    """
    .ac .dc .disto .noise .op .pz .sens .sp .tf .tran .param .params .subckt .macro .ends .eom .model
    .global .func .if .elseif .else .endif .ic .nodeset .options .option .opt .temp .save .probe .meas .measure
    .four .fourier .print .plot .width .title .end .connect .backanno
    """
)
# Printed output, and cards that only a control block could use: checked, and not handed on to an engine.
# (`cosim.language.left_out` says which; `cosim.language.fourier` follows .four by a command)
DROPPED = frozenset({".print", ".plot", ".four", ".fourier", ".width", ".title", ".end", ".backanno"})

OPTIONS = _names(
    """
    abstol absdv absv acct autostop badmos3 bypass chgtol convabsstep convlimit convstep cshunt cptime defad defas
    defl defm defnrd defnrs defw delmin device dstep epsmin gmin gminsteps gminfactor gshunt indverbosity interp
    itl1 itl2 itl3 itl4 itl5 itl6 keepopinfo klu klu_memgrow_factor limpts limtim list lvltim lvlcod maxevtiter
    maxopalter maxord maxstep maxwarns method minbreak nobjthack node noacct noinit noinitinfo nomod nomodcheck
    noopac noopalter noopiter nopage nostepsizelimit numdgt oldlimit optran opts optsran pivrel pivtol post probe
    ramptime reltol relv reli rshunt rseries savecurrents scale scalm seed seedinfo sparse srcsteps statlocal temp
    tnom trtol trytocompact vntol warn wnflag xmu xtrtol
    """
)
# HSPICE's own, about its output and its ways: ngspice ignores them, which a run says.
HSPICE_OPTIONS = _names(
    """
    accurate alt999 alt9999 altcc brief captab ingold lvltim measdgt measfail measform measout nowarn post probe runlvl
    """
)
OPTIONS |= HSPICE_OPTIONS | {"tran_redofactor"}  # VACASK's own: by how much a step has to be too long to be made again
# Options that end with their circuit (tests run a clean deck before and after each); some of the others stay set in a
# resident ngspice, interp and cshunt among them, so that such a deck is the last of its process.
PASSING_OPTIONS = _names(
    """
    abstol chgtol defad defas defl defw gmin gminsteps itl1 itl2 itl3 itl4 itl5 itl6 klu maxord method minbreak noinit
    noopac noopiter pivrel pivtol reltol savecurrents seed srcsteps temp tnom trtol vntol
    """
)
_METHODS = frozenset({"gear", "trap", "trapezoidal"})
_OPTION_VALUE = re.compile(r"[\w.+\-*/(){}' ]*")

# XSPICE code models without a file, a program or a library among their parameters (ngspice 39 to 46).
CODE_MODELS = _names(
    """
    astate climit cmeter core d_and d_buffer d_dff d_dlatch d_fdiv d_genlut d_inverter d_jkff d_lut d_nand d_nor
    d_open_c d_open_e d_or d_osc d_pulldown d_pullup d_pwm d_ram d_srff d_srlatch d_tff d_to_real d_tristate
    d_xnor d_xor d_dt adc_bridge bidi_bridge dac_bridge aswitch pswitch capacitoric cap capacitor delay divide
    gain hyst ilimit inductoric ind inductor int lcouple limit lmeter memristor mult multi_input_pwl oneshot
    potentiometer pwl pwlts real_delay real_gain real_to_v s_xfer seegen sidiode sine slew spice2poly square
    summer triangle zener
    """
)
# Code models that read a file, and the parameter that names it.
FILE_MODELS = {
    "filesource": "file", "d_source": "input_file", "d_state": "state_file", "table2d": "file", "table3d": "file",
    "xfer": "file",
}  # fmt: skip
PROGRAM_MODELS = {
    "d_process": "starts a program", "d_cosim": "loads a program library",
    "numd": "writes files", "nbjt": "writes files", "numos": "writes files", "nbjt2": "writes files",
}  # fmt: skip
# Anything else after .model is a device of the simulator or a compiled Verilog-A module; these words would name a
# file there.
_FILE_PARAMETER = re.compile(
    r"(?<![\w.])((?:\w*_)?file(?:name)?|process_params|simulation|lib_args|sim_args|sim_points_data|pwlfile|directory"
    r"|path)(?!\w)",
    re.IGNORECASE,
)
_FILE_HINTS = ("file", "process_params", "simulation", "_args", "sim_points", "directory", "path")
# ngspice's tokenizer parts words at blanks and at each of ",()=": a name with one of them would be two words there, and
# the second of them the type. So both have to be plain words here, with blanks between them.
_MODEL_NAME = re.compile(r"\w[\w.+\-]*", re.ASCII)
_MODEL = re.compile(rf"\.model\s+({_MODEL_NAME.pattern})\s+([A-Za-z_]\w*)(?=\s|\(|\Z)", re.IGNORECASE | re.ASCII)
_REMEDIES = {
    ".para": "write .param: ngspice does not know .params",
    ".csparam": "remove it: only a .control block could read it",
    ".step": "write the values as sweep = { NAME = [...] } in a bench's analysis, or as the grid of a campaign's plan; "
    "'cosim new bench --from DECK' writes such a bench",
}
_QUOTED = re.compile(r'=\s*"([^"]*)"')
_READ_AS_IT_IS = re.compile(r"[a-z0-9_.+\-]+")
_KEPT = 512  # characters: longer lines are not cached
_NOWHERE = Where(None, None)
_BOOLEANS = frozenset(("true", "false"))
_SAVED = re.compile(r"[\w.#@\[\]():,+\-/$!~&|%\" =]*")


def refuse(netlist: Netlist) -> tuple[Line, ...]:
    """The lines of ``netlist`` when all are harmless, file parameters made absolute. Raises `NetlistRefused`."""
    for directive in netlist.directives:
        raise _refused(directive, "a comment that ngspice runs as a command", "remove the line")
    for block in netlist.controls:
        raise NetlistRefused(
            "a .control block is a program", where=block.where,
            remedy="remove it and write the analyses as cards (.tran, .meas); 'cosim run --translate' shows how",
        )  # fmt: skip
    return tuple(
        line if len(line.text) < _KEPT and _harmless(line.text) else _refuse_line(line, netlist.roots)
        for line in netlist.lines
    )


@lru_cache(maxsize=8192)
def _harmless(text: str) -> bool:
    """Whether a line is harmless in any folder; cached, as the cases of a campaign share most of their lines."""
    try:
        _refuse_line(Line(text, _NOWHERE), ())
    except NetlistError:
        return False
    return True


def check_option(name: str, value: object, *, line: Line | None = None) -> None:
    """Raises `NetlistRefused` for a simulator option that is not known to be one of the solver's."""
    where = line.where if line is not None else None
    if name.lower() not in OPTIONS:
        raise NetlistRefused(f"option {name!r} is not one of the solver's", where=where, remedy="remove it")
    if not _OPTION_VALUE.fullmatch(str(value)):
        raise NetlistRefused(f"option {name} has the value {value!r}", where=where, remedy="write a number or a word")
    if name.lower() == "method" and str(value).strip().lower() not in _METHODS:
        raise NetlistRefused(
            f"option method has the value {value!r}, which ngspice would ignore", where=where,
            remedy="write gear or trap",
        )  # fmt: skip
    if name.lower() == "seed" and not re.fullmatch(r"[1-9]\d{0,8}", str(value).strip()):
        raise NetlistRefused(
            f"option seed has the value {value!r}, and results would differ from run to run", where=where,
            remedy="write a whole number above 0",
        )  # fmt: skip


def check_saved(vector: str, *, line: Line | None = None) -> None:
    """Raises `NetlistRefused` for a saved vector that is not the name of one."""
    if not _SAVED.fullmatch(vector):
        where = line.where if line is not None else None
        raise NetlistRefused(f"{vector!r} is not a vector", where=where, remedy="write e.g. v(out), i(v1)")


def _refused(line: Line, what: str, remedy: str) -> NetlistRefused:
    return NetlistRefused(f"{what}: {line.text[:60]!r}", where=line.where, remedy=remedy)


def _refuse_line(line: Line, roots: tuple[Path, ...]) -> Line:
    text = line.text
    if "`" in text:
        raise _refused(line, "a backtick runs a shell command", "remove it")
    if "\\" in text:
        raise _refused(line, "a backslash", "remove it; continue a line with '+' on the next")
    first = text[0]
    if first == ".":
        card = line.card
        if card not in CARDS:
            remedy = _REMEDIES.get(card, "remove it")
            raise _refused(line, f"card {card} is not among those that describe a circuit or an analysis", remedy)
        rule = _CARD_RULES.get(card)
        return rule(line, roots) if rule is not None else line
    if not first.isalpha():
        raise NetlistError(
            f"{text[:60]!r} is neither an element nor a card", where=line.where, remedy="start a comment with '*'"
        )
    if first in "aAvViI":
        _no_file_source(line)
    if first in "aA" and not _MODEL_NAME.fullmatch(text.split()[-1]):
        raise _refused(
            line, f"{text.split()[-1]!r} is not a plain model name", "end the line with the name of its model"
        )
    return line


def _file_parameter(text: str) -> re.Match[str] | None:
    """A word that would name a file or a program, with or without the ``=`` that ngspice does not ask for."""
    return _FILE_PARAMETER.search(text) if _hints_at_file(text) else None


def _hints_at_file(text: str) -> bool:
    """Whether `_FILE_PARAMETER` could match, found ten times as fast."""
    lower = text.lower()
    return any(hint in lower for hint in _FILE_HINTS)


def _no_file_parameter(line: Line) -> None:
    if match := _file_parameter(line.text):
        raise _refused(line, f"{match[1]!r} would name a file or a program", "write the data into the netlist (PWL)")


def _no_file_source(line: Line) -> None:
    if not _hints_at_file(line.text):
        return
    for match in _FILE_PARAMETER.finditer(line.text):
        if line.text[match.end() :].lstrip(" \t(),").startswith("="):  # without one, the word is a node's name
            raise _refused(line, f"{match[1]!r} would name a file or a program", "write the data into the netlist")
    if line.text[0] in "vViI" and re.search(r"\bpwl[\s,=()]*file", line.text, re.IGNORECASE):
        raise _refused(line, "a source that reads a file", "write its points into the netlist")


def _refuse_options(line: Line, roots: tuple[Path, ...]) -> Line:
    del roots
    for name, value in options_of(line):
        check_option(name, value, line=line)
    return line


def options_of(line: Line) -> list[tuple[str, str]]:
    """Names and values of an ``.options`` card."""
    body = re.sub(r"\s*=\s*", "=", line.text.split(None, 1)[1] if " " in line.text or "\t" in line.text else "")
    found = re.findall(r"(?:[^\s'{]|'[^']*'|\{[^}]*\})+", body.replace(",", " "))
    return [(name, value) for name, _, value in (word.partition("=") for word in found)]


def _refuse_model(line: Line, roots: tuple[Path, ...]) -> Line:
    match = _MODEL.match(line.text)
    if match is None:
        raise NetlistRefused(
            f"a model needs a name and a plain type: {line.text[:60]!r}",
            where=line.where,
            remedy="write .model NAME TYPE (...)",
        )
    kind = match[2].lower()
    if kind in PROGRAM_MODELS:
        raise _refused(line, f"model type {kind} {PROGRAM_MODELS[kind]}", "remove it")
    if kind in FILE_MODELS:
        return _confine_file(line, FILE_MODELS[kind], roots)
    if kind not in CODE_MODELS:
        _no_file_parameter(line)
        for word in _QUOTED.findall(line.text):
            if not _READ_AS_IT_IS.fullmatch(word):
                raise _refused(line, f"ngspice would not read {word[:40]!r} as it stands", "use lower case, no blanks")
    elif _file_parameter(line.text):
        raise _refused(line, f"{kind} takes no file", "remove it")
    return line


def _model_end(text: str) -> int:
    match = _MODEL.match(text)
    return match.end() if match is not None else 0


def _file_pattern(parameter: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w.]){parameter}\s*=\s*\"([^\"]*)\"", re.IGNORECASE)


def _confine_file(line: Line, parameter: str, roots: tuple[Path, ...]) -> Line:
    match = _file_pattern(parameter).search(line.text)
    if match is None:
        raise _refused(line, f'expected {parameter}="FILE"', "quote the file, and name one")
    # ngspice takes the last of several, with or without "=", and would put a parameter's text in place of its name.
    rest = line.text[_model_end(line.text) : match.start()] + " " + line.text[match.end() :]
    for word in re.findall(r"[^\s,()=\[\]]+\s*=?", rest):
        plain = word.rstrip("= \t").lower()
        if _FILE_PARAMETER.fullmatch(plain):
            raise _refused(line, f"a second parameter {plain!r} beside {parameter}", "name one file")
        given = word.endswith("=") and plain.isidentifier()
        if not (given or plain in _BOOLEANS or spice_number(plain) is not None):
            raise _refused(line, f"{plain!r} beside a file", "write NAME=VALUE with numbers")
    name = Path(match[1])
    base = Path(line.where.file).resolve().parent if line.where.file is not None else None
    candidates = [name] if name.is_absolute() else [folder / name for folder in ((base,) if base else ()) + roots]
    for candidate in candidates:
        found = netlist_path(candidate, line.where)
        if os.path.isfile(found) and any(found.is_relative_to(root) for root in roots):
            if re.search(r"[\s\"'`;$\\]|//", str(found)):
                raise _refused(line, "a file name with a blank or a quote", "rename the file")
            return Line(line.text[: match.start(1)] + str(found) + line.text[match.end(1) :], line.where)
    raise _refused(line, f"{match[1]!r} is not a file below the folders that this netlist may read", "move it there")


def data_files(checked: Netlist) -> tuple[str, ...]:
    """The absolute paths that the code models of a checked netlist read."""
    found: dict[str, None] = {}
    for line in checked.lines:
        if line.text[0] == "." and '"' in line.text and line.card == ".model":
            match = _MODEL.match(line.text)
            parameter = FILE_MODELS.get(match[2].lower()) if match is not None else None
            if parameter is not None and (named := _file_pattern(parameter).search(line.text)):
                found[named[1]] = None
    return tuple(found)


def _refuse_output(line: Line, roots: tuple[Path, ...]) -> Line:
    del roots
    rest = line.text.split(None, 1)[1] if len(line.text.split(None, 1)) > 1 else ""
    if line.card in (".save", ".probe"):
        check_saved(rest, line=line)
        _no_file_source(line)
    elif re.search(r">|<|\||\bfile\b", rest) and line.card not in (".meas", ".measure"):
        raise _refused(line, "an output card with a redirection", "remove it")
    return line


def _refuse_temperature(line: Line, roots: tuple[Path, ...]) -> Line:
    del roots
    value = line.text.split(None, 1)[1:]
    if not value or not (value[0][0] in "{'" or spice_number(value[0]) is not None):
        if value and all(spice_number(word) is not None for word in value[0].split()):
            remedy = "write one, and the others as corners of a bench: corners.hot = { temperature = 85 }"
            raise NetlistError(f"{line.text[:60]!r} has several temperatures", where=line.where, remedy=remedy)
        raise NetlistError(f"{line.text[:60]!r} has no temperature", where=line.where, remedy="write .temp 27, in degC")
    return line


def _refuse_connect(line: Line, roots: tuple[Path, ...]) -> Line:
    del roots
    if len(words(line.text)) != 3:
        raise _refused(line, ".connect joins two nodes", "write .connect A B")
    return line


_CARD_RULES: dict[str, Callable[[Line, tuple[Path, ...]], Line]] = {
    ".model": _refuse_model,
    ".options": _refuse_options,
    ".option": _refuse_options,
    ".opt": _refuse_options,
    ".connect": _refuse_connect,
    ".temp": _refuse_temperature,
    **dict.fromkeys((".save", ".probe", ".print", ".plot", ".four", ".fourier", ".meas", ".measure"), _refuse_output),
}
