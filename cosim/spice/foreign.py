"""A Verilog-A file of one's own as a device of a bench: compiled, and wrapped in a subcircuit."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from cosim.errors import InputError, MissingFile, NetlistRefused, UnknownName, Where, at
from cosim.files import resolved
from cosim.lint.findings import inside, read_source
from cosim.lint.va_syntax import parse
from cosim.lint.va_tokens import scan
from cosim.lint.va_tree import Module
from cosim.spice.bench import DeviceUse
from cosim.spice.openvaf import compile_model
from cosim.spice.stimuli import fmt


def foreign_model(name: str, use: DeviceUse, folder: Path, *, roots: Sequence[Path]) -> tuple[Path, str]:
    """The compiled model of ``use.verilog_a`` and a ``.subckt`` called ``name`` around its module.

    Raises:
        MissingFile: no such file.
        NetlistRefused: it, or what it includes, is outside of ``roots`` or its own folder.
        NetlistError: the compiler's first error, with file and line.
        UnknownName: a module, terminal or parameter that the file does not have.
    """
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
    source = scan(read_source(path), path.parent)
    for included, token in source.includes:
        inside(included, path.parent, where=Where(path, *source.place(token.start)))
    modules = {module.name: module for module in parse(source)}
    module = _choose(name, use, path, modules)
    ports = [port.text for port in module.ports]
    known = {entry.name.text: entry for entry in module.parameters if not entry.local}
    for key in use.values:
        if key not in known:
            with at("values", key):
                raise UnknownName(f"parameter of module {module.name!r} in {path.name}:", key, known)
    for terminal in use.terminals:
        if terminal not in ports:
            with at("terminals"):
                raise UnknownName(f"terminal of module {module.name!r} in {path.name}:", terminal, ports)
    order = list(use.terminals) or ports
    if len(set(order)) != len(order):
        with at("terminals"):
            raise InputError(f"device {name!r} names a terminal twice", remedy=f"the module has {', '.join(ports)}")
    compiled = compile_model(path)
    numbers = {key: fmt(quantity.value) for key, quantity in use.values.items()}
    defaults = "".join(f" {key}={value}" for key, value in numbers.items())
    passed = "".join(f" {key}={{{key}}}" for key in numbers)
    lines = [
        f".subckt {name} {' '.join(order)}" + (f" params:{defaults}" if defaults else ""),
        f"N1 {' '.join(port if port in order else f'open_{port}' for port in ports)} {name}_module",
        f".model {name}_module {module.name}{passed}",
        f".ends {name}",
    ]
    return compiled, "\n".join(lines)


def _choose(name: str, use: DeviceUse, path: Path, modules: dict[str, Module]) -> Module:
    if use.module is not None:
        if use.module not in modules:
            with at("module"):
                raise UnknownName(f"module in {path.name}:", use.module, modules)
        return modules[use.module]
    if len(modules) != 1:
        raise InputError(
            f"device {name!r}: {path.name} has {len(modules)} modules",
            remedy=f"write module = one of {', '.join(modules)}" if modules else "a model is a module",
        )  # fmt: skip
    return next(iter(modules.values()))
