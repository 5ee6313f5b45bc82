"""Learned laws in exports: as graphs for targets that hold expressions, and as cosim's own code for a loader in numpy.

Polynomials, what is made of them, networks and small splines are sums and products. Trees are not: thousands of
comparisons, without a gradient; nor what has its knots in a table. Neurons take tables, filters an iteration.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, cast

import numpy as np

from cosim.devices.base import Array, Operand
from cosim.emit.expr import Node
from cosim.errors import EmitError
from cosim.surrogate import bases, correction, kinds, kinked, laws, learned, neuron, planar, ridges
from cosim.surrogate import filter as filters
from cosim.surrogate.circuit import CircuitSet
from cosim.surrogate.correction import orders, series
from cosim.surrogate.filter import FilterLaw
from cosim.surrogate.laws import AnyLaw
from cosim.surrogate.learned import Law, Laws
from cosim.surrogate.model import Surrogate
from cosim.surrogate.neuron import NeuronLaw
from cosim.surrogate.subjects import PARAMETER_SET

MOST = 2000  # products in a law's graph (our choice)
NAMED: Mapping[str, str] = MappingProxyType(
    {
        "trees": "thousands of comparisons",
        "ridge": "a spline whose knots are a table",
        "sheet": "splines whose knots are a table",
        NeuronLaw.kind: "tables of a flow",
        FilterLaw.kind: "a time course that an iteration solves",
    }
)
Writing = Callable[[str, AnyLaw, Mapping[str, Operand]], Mapping[str, Operand]]


def graphs(name: str, law: AnyLaw, values: Mapping[str, Operand]) -> dict[str, Operand]:
    """Each target of a law at the fields' traced ``values``. Raises `EmitError` for a law without an expression.

    ``name`` is of the surrogate's field that holds the law.
    """
    if isinstance(law, Laws):
        return {key: found for part in law.parts for key, found in graphs(name, part, values).items()}
    if not isinstance(law, Law):
        raise _no_expression(law.kind)
    x = [_scaled(law, k, values) for k in range(len(law.fields))]
    scaling = zip(law.targets, law.offset.tolist(), law.scale.tolist(), _predicted(law.model, law.kind, x), strict=True)
    return {target: offset + scale * value for target, offset, scale, value in scaling}


def _predicted(model: Any, kind: str, x: list[Operand]) -> list[Operand]:
    """What a model gives of the scaled fields."""
    if isinstance(model, bases.Polynomial):
        _require_few(kind, model.coefficients.size)
        return _polynomials(x, model.degree, model.coefficients)
    if isinstance(model, kinked.Stretched):
        inner = zip(_predicted(model.inner, kind, x), *model.ends.tolist(), model.origin.tolist(), strict=True)
        return [origin + model.width * np.sinh(np.clip(one, low, high)) for one, low, high, origin in inner]
    if isinstance(model, kinked.Hinge):
        _require_few(kind, model.sides.size)
        sides = [_polynomials(x, model.degree, side) for side in model.sides]
        return [
            (np.maximum if sign > 0.0 else np.minimum)(one, other)
            for one, other, sign in zip(*sides, model.sign.tolist(), strict=True)
        ]
    if isinstance(model, bases.Spline):
        _require_few(kind, model.coefficients.size)
        return _spline(model, x)
    if isinstance(model, kinds.Network):
        _require_few(kind, sum(weight.size for weight in model.weights))
        for number, (weight, bias) in enumerate(zip(model.weights, model.biases, strict=True)):
            sums = [_sum(column, x) + b for column, b in zip(weight.T.tolist(), bias.tolist(), strict=True)]
            x = [np.tanh(one) for one in sums] if number + 1 < len(model.weights) else sums
        return x
    raise _no_expression(kind)


def _no_expression(kind: str) -> EmitError:
    return EmitError(
        f"its law is learned, of kind {kind} ({NAMED[kind]}), and cannot be written as an expression",
        remedy=instead(kind),
    )


def instead(kind: str) -> str:
    """What becomes of a law of a kind in `NAMED`: where it goes, and what goes everywhere."""
    other = "" if kind in (NeuronLaw.kind, FilterLaw.kind) else ", or train it with --law polynomial or --law spline"
    return f"export it to numpy{other}"


def _polynomials(x: list[Operand], degree: int, coefficients: Array) -> list[Operand]:
    powers = orders(len(x), degree)
    return [series(list(zip(powers, column, strict=True)), x) for column in coefficients.T.tolist()]


def _require_few(kind: str, count: int) -> None:
    if count > MOST:
        raise EmitError(
            f"its law is learned, of kind {kind} with {count} coefficients, and an expression takes up to {MOST}",
            remedy="export it to numpy or torch",
        )


def _scaled(law: Law, k: int, values: Mapping[str, Operand]) -> Operand:
    """`cosim.surrogate.learned.scaled` of one field."""
    low, high = law.ranges[k].tolist()
    x = np.clip(values[law.fields[k]], low, high)
    if law.logarithmic[k]:
        x, low, high = np.log(x), float(np.log(low)), float(np.log(high))
    return (2.0 * x - (low + high)) / (high - low)


def _spline(model: bases.Spline, x: list[Operand]) -> list[Operand]:
    """Every basis function counts, as an expression cannot look a cell up."""

    def basis(at: Operand) -> list[Operand]:
        sides = [np.abs(at - (k - 1.0)) for k in range(model.cells + 3)]
        parts = [(np.maximum(2.0 - side, 0.0), np.maximum(1.0 - side, 0.0)) for side in sides]
        return [(p * p * p - 4.0 * q * q * q) / 6.0 for p, q in parts]

    axes = [basis(0.5 * (one + 1.0) * model.cells) for one in x]

    def total(depth: int, coefficients: Any) -> Operand:
        rows = coefficients if depth + 1 == len(axes) else [total(depth + 1, row) for row in coefficients]
        return _sum(rows, axes[depth])

    shape = (model.cells + 3,) * len(axes)
    return [total(0, column.reshape(shape).tolist()) for column in model.coefficients.T]


def _sum(weights: list[Operand], values: list[Operand]) -> Operand:
    found: Operand = 0.0
    for weight, value in zip(weights, values, strict=True):
        found = found + weight * value
    return found


@dataclass(frozen=True)
class Written:
    """Stands for a law where a surrogate is called with recording operands."""

    name: str
    law: AnyLaw
    write: Writing

    def __getattr__(self, name: str) -> Any:
        return getattr(self.law, name)

    def __call__(self, values: Mapping[str, Operand]) -> dict[str, Operand]:
        """What ``write`` makes of the law."""
        return dict(self.write(self.name, self.law, values))


def named(name: str, law: AnyLaw, values: Mapping[str, Operand]) -> dict[str, Operand]:
    """Each target of a law as a quantity that the target computes: ``learned['w']``."""
    return {target: Node("name", f"{name}[{target!r}]") for target in law.targets}


def calls(surrogate: Surrogate, after: str) -> list[str]:
    """The lines that compute what `named` names, in order: before the states after the event, and behind them."""
    fields = {"learned": "{**x, **u}", "reading": after}
    return [f'{name} = laws["{name}"]({fields[name]})' for name, _ in surrogate.laws()]


def told(surrogate: Surrogate) -> str:
    """Map, device and set in words, for the head of a file."""
    if isinstance(surrogate.parameters, CircuitSet):
        return f"map {surrogate.name} of the circuit {surrogate.parameters.name}"
    given = surrogate.parameters.provenance.get(PARAMETER_SET)
    of = f"with the set {given or surrogate.parameters.name}" + (
        f" in the bench {surrogate.parameters.name}" if given else ""
    )
    return f"map {surrogate.name} of {surrogate.device} {of}"


def written(surrogate: Surrogate, write: Writing) -> Surrogate:
    """``surrogate`` with laws that take recording operands."""
    replaced = {name: Written(name, law, write) for name, law in surrogate.laws()}
    return surrogate.with_(**replaced) if replaced else surrogate


# What a loader has no use for: how a law is trained, traced and written to a file.
LEFT_OUT = frozenset(
    {
        "trained", "document", "arrays", "traced", "scaled_traced", "located", "traceable",
        "Axis.along", "Axis.basis", "Axis.grid", "Axis.bent",
    }
)  # fmt: skip
_POLYNOMIAL: tuple[Any, ...] = (correction.orders, bases.Polynomial)
_CUBIC: tuple[Any, ...] = (bases.cubic_weights, bases.uniform_parts)
_RIDGE: tuple[Any, ...] = (*_POLYNOMIAL, *_CUBIC, ridges.Axis, ridges._across)
TAKEN: Mapping[str, tuple[Any, ...]] = {
    "polynomial": _POLYNOMIAL,
    "stretched": (*_POLYNOMIAL, kinked.Stretched),
    "hinge": (*_POLYNOMIAL, kinked.Hinge),
    "ridge": (*_RIDGE, ridges.Ridge),
    "sheet": (*_RIDGE, ridges.Sheet),
    "spline": (*_CUBIC, bases.Spline),
    "trees": (kinds.Trees,),
    "network": (kinds.Network,),
}


def source(used: list[AnyLaw]) -> str:
    """The code that evaluates laws, as cosim has it, and ``law_of``, which reads one: Python that needs numpy."""
    inner: list[Law] = []
    for law in used:
        if isinstance(law, NeuronLaw):
            inner += [one for one in law.laws.values() if one is not None]
        elif isinstance(law, FilterLaw):
            inner += [] if law.rest is None else [law.rest]
        else:
            inner += law.parts if isinstance(law, Laws) else [law]
    wanted = list(dict.fromkeys(law.kind for law in inner))
    limits = {
        "MOST_SPLINE_FIELDS": bases,
        "MOST_DEGREE": ridges,
        "MOST_CELLS": ridges,
        "SEVERAL": learned,
        "SLACK": ridges,
    }
    parts = [IMPORTS, *(f"{name} = {getattr(module, name)!r}" for name, module in limits.items())]
    parts += map(_text, dict.fromkeys(thing for kind in wanted for thing in TAKEN[kind]))
    listed = ", ".join(f'"{kind}": {kinds.KINDS[kind].__name__}' for kind in wanted)
    parts += [f"KINDS = {{{listed}}}", _text(bases.scaled), _text(Law), _text(Laws)]
    for kind, module, constants, needs in (
        (
            NeuronLaw,
            neuron,
            ("STATES", "OUTPUTS", "NUMBERS", "LAWS", "TABLES", "SOON", "QUIET", "HASTY", "NEVER"),
            (planar.Flow, neuron.Table),
        ),
        (FilterLaw, filters, ("NEWTON", "SOLVED", "SMALLEST", "TURN"), ()),
    ):
        if any(isinstance(law, kind) for law in used):
            parts += [f"{name} = {getattr(module, name)!r}" for name in constants]
            parts += [_text(thing) for thing in (*needs, kind)]
        else:
            parts.append(f'class {kind.__name__}:\n    """Not among the laws of this file."""\n\n    kind = None')
    return "\n\n\n".join([*parts, _text(laws.law_of)]) + "\n"


IMPORTS = '''
import math
from dataclasses import dataclass, fields
from itertools import pairwise, product
from types import MappingProxyType
from typing import ClassVar

from numpy.polynomial import chebyshev


class LawError(ValueError):
    """What a law cannot answer."""

    def __init__(self, message, *, remedy=""):
        super().__init__(f"{message}; {remedy}" if remedy else message)


FitError = InputError = LawError

# The laws, as cosim has them.'''


def _text(thing: Any) -> str:
    """The source of a function or a class, without its methods in `LEFT_OUT`."""
    text = inspect.getsource(thing)
    lines = text.splitlines()
    if inspect.isclass(thing):
        (tree,) = ast.parse(text).body
        for node in reversed(cast(ast.ClassDef, tree).body):
            if isinstance(node, ast.FunctionDef) and {node.name, f"{thing.__name__}.{node.name}"} & LEFT_OUT:
                begin = min([node.lineno, *(entry.lineno for entry in node.decorator_list)])
                del lines[begin - 2 : node.end_lineno]  # with the empty line above it
    return "\n".join(lines)
