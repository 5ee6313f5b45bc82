"""A user's Verilog-A file as a device of a bench: compiled, and wrapped in a subcircuit."""

from __future__ import annotations

import hashlib
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from cosim.bench.file import DeviceUse
from cosim.bench.stimuli import fmt
from cosim.bench.variation import Adjustable
from cosim.engines.openvaf import compile_model
from cosim.errors import InputError, MissingFile, NetlistRefused, UnknownName, Where, at
from cosim.files import resolved
from cosim.language.findings import Edit, apply_edits, inside, read_source
from cosim.language.va_syntax import parse
from cosim.language.va_tokens import Source, scan
from cosim.language.va_tree import Declared, Module


def foreign_model(name: str, use: DeviceUse, folder: Path, *, roots: Sequence[Path]) -> tuple[Path, str]:
    """The compiled model of ``use.verilog_a`` and a ``.subckt`` called ``name`` around its module.

    Raises:
        MissingFile: the file does not exist.
        NetlistRefused: it, or what it includes, is outside of ``roots`` or its own folder.
        NetlistError: the compiler's first error, with file and line.
        UnknownName: a module, terminal or parameter that the file does not have.
    """
    path, source, module, known = _read(name, use, folder, roots)
    ports = [port.text for port in module.ports]
    for key in use.values:
        if key not in known:
            with at("values", key):
                raise UnknownName(f"parameter of module {module.name!r} in {path.name}", key, known)
    for terminal in use.terminals:
        if terminal not in ports:
            with at("terminals"):
                raise UnknownName(f"terminal of module {module.name!r} in {path.name}", terminal, ports)
    order = list(use.terminals) or ports
    if len(set(order)) != len(order):
        with at("terminals"):
            raise InputError(f"device {name!r} names a terminal twice", remedy=f"the module has {', '.join(ports)}")
    strings = {key: given for key, given in use.values.items() if isinstance(given, str)}
    for key in use.values:
        with at("values", key):
            _require_kind(known[key], strings.get(key), f"parameter {key!r} of module {module.name!r} in {path.name}")
    called, text = _with_strings(module, source, known, strings)
    compiled = compile_model(path, text=text)
    numbers = {key: fmt(given.value) for key, given in use.values.items() if not isinstance(given, str)}
    defaults = "".join(f" {key}={value}" for key, value in numbers.items())
    passed = "".join(f" {key}={{{key}}}" for key in numbers)
    lines = [
        f".subckt {name} {' '.join(order)}" + (f" params:{defaults}" if defaults else ""),
        f"N1 {' '.join(port if port in order else f'open_{port}' for port in ports)} {name}_module",
        f".model {name}_module {called}{passed}",
        f".ends {name}",
    ]
    return compiled, "\n".join(lines)


def _require_kind(entry: Declared, word: str | None, what: str) -> None:
    """Raises `InputError` for a string where a number is asked for, or the other way round, or one out of its range."""
    if (word is not None) != (entry.kind == "string"):
        wanted = 'a string: write a word in quotes, e.g. "fast"' if word is None else "a number"
        raise InputError(f"{what} takes {wanted}")
    if word is not None and (word in entry.excluded or (entry.allowed and word not in entry.allowed)):
        raise UnknownName(f"value of {what}", word, [one for one in entry.allowed if one not in entry.excluded])


def _with_strings(
    module: Module, source: Source, known: Mapping[str, Declared], strings: Mapping[str, str]
) -> tuple[str, str | None]:
    """The module's name and text with ``strings`` as the defaults of their parameters; None where the text stays.

    They are compiled in: ngspice reads a string of a ``.model`` card in lower case and up to its first blank, and the
    compiler's own check of ``from '{...}`` takes the first of several strings alone.
    """
    if not strings:
        return module.name, None
    edits = []
    for key, word in strings.items():
        entry = known[key]
        assert entry.value is not None
        if any(map(source.expanded, (module.start, module.named))) or not source.editable(entry.value):
            raise InputError(
                f"parameter {key!r} or the head of module {module.name!r} is written by a macro or in an included file",
                remedy="write both in the file itself",
            )
        edits.append(Edit(entry.value.start, entry.end, f'"{word}"'))
    # a module with a unique name: an engine may hold the same one with other strings
    called = f"{module.name}_{hashlib.sha256(repr(sorted(strings.items())).encode()).hexdigest()[:12]}"
    edits.append(Edit(module.named, module.named + len(module.name), called))
    return called, apply_edits(source.text, edits)


def foreign_parameters(name: str, use: DeviceUse, folder: Path, *, roots: Sequence[Path]) -> dict[str, Adjustable]:
    """The numbers among the module's parameters, at the values that ``use`` or the file gives. Raises as
    `foreign_model` does.
    """
    _, source, module, known = _read(name, use, folder, roots)
    found = {}
    for key, entry in known.items():
        if entry.kind == "string":
            continue
        of_file = Adjustable(*_default(entry, module), _range(source.text[entry.name.end : entry.end]))
        given = use.values.get(key)
        quantity = None if given is None or isinstance(given, str) else given
        found[key] = of_file if quantity is None else replace(of_file, value=quantity.value, unit=quantity.unit)
    return found


def check_string(name: str, use: DeviceUse, folder: Path, key: str, word: str, *, roots: Sequence[Path]) -> None:
    """Raises `InputError` where parameter ``key`` is not a string that may be ``word``, and as `foreign_model` does."""
    path, _, module, known = _read(name, use, folder, roots)
    if key not in known:
        raise UnknownName(f"parameter of device {name!r}", key, known)
    _require_kind(known[key], word, f"parameter {key!r} of module {module.name!r} in {path.name}")


def foreign_strings(name: str, use: DeviceUse, folder: Path, *, roots: Sequence[Path]) -> frozenset[str]:
    """The module's parameters of type string. Raises as `foreign_model` does."""
    return frozenset(key for key, entry in _read(name, use, folder, roots)[3].items() if entry.kind == "string")


def _read(
    name: str, use: DeviceUse, folder: Path, roots: Sequence[Path]
) -> tuple[Path, Source, Module, dict[str, Declared]]:
    """The file, its text, its module, and the parameters that an instance may give."""
    assert use.verilog_a is not None
    path = resolved(Path(use.verilog_a) if use.verilog_a.startswith("~") else folder / use.verilog_a)
    if not any(path.is_relative_to(root) for root in roots):
        with at("verilog_a"):
            raise NetlistRefused(
                f"device {name!r}: {path} lies outside the bench's folder", remedy=f"allow it: --allow {path.parent}"
            )
    if not os.path.isfile(path):
        with at("verilog_a"):
            raise MissingFile(f"device {name!r}: there is no Verilog-A file {str(path)[:200]}", remedy="check the path")
    status = path.stat()
    source, modules = _parsed(path, status.st_mtime_ns, status.st_size)
    for included, token in source.includes:
        inside(included, (path.parent,), where=Where(path, *source.place(token.start)))
    module = _choose(name, use, path, modules)
    known = {entry.name.text: entry for entry in module.parameters if not entry.local}
    return path, source, module, known


@lru_cache(maxsize=32)
def _parsed(path: Path, changed: int, size: int) -> tuple[Source, dict[str, Module]]:
    """Once for all samples of a bench; ``changed`` and ``size`` are keys only."""
    del changed, size
    source = scan(read_source(path), (path.parent,))
    return source, {module.name: module for module in parse(source)}


def _default(entry: Declared, module: Module) -> tuple[float | None, str, bool]:
    """The default where it is a number, its unit, which nobody knows, and whether the parameter is an integer."""
    value, sign = entry.value, 1.0
    while value is not None and value.op in ("u-", "u+"):
        value, sign = value.args[0], -sign if value.op == "u-" else sign
    number = sign * value.value if value is not None and value.op == "number" else None
    return number, "1", entry.name.text in module.integers


_RANGE = re.compile(r"\bfrom\s*[\[(]\s*([^:\[\]()]+?)\s*:\s*([^:\[\]()]+?)\s*[\])]")


def _range(text: str) -> tuple[float, float]:
    """The ends of a parameter's range where they are numbers; infinite where not."""
    match = _RANGE.search(text)
    low, high = (_end(match[1], -math.inf), _end(match[2], math.inf)) if match else (-math.inf, math.inf)
    return low, high


def _end(text: str, otherwise: float) -> float:
    try:
        return float(text)  # also inf and -inf
    except ValueError:
        return otherwise


def _choose(name: str, use: DeviceUse, path: Path, modules: dict[str, Module]) -> Module:
    if use.module is not None:
        if use.module not in modules:
            with at("module"):
                raise UnknownName(f"module in {path.name}", use.module, modules)
        return modules[use.module]
    if len(modules) != 1:
        raise InputError(
            f"device {name!r}: {path.name} has {len(modules)} modules",
            remedy=f"write module = one of {', '.join(modules)}" if modules else "a model is a module",
        )  # fmt: skip
    return next(iter(modules.values()))
