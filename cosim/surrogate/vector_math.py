"""Exponentials and logarithms that a compiler turns into vector instructions: straight lines, without a branch.

Calls of a mathematical library keep a loop scalar. These are polynomials on a reduced argument, in either precision,
with the exponent put in and taken out as bits. Each is within a few units in the last place on its whole domain, and
`expm1` and `log1p` near zero as well; 0 gives exactly 0, and `exp2` of 0 exactly 1.

The coefficients minimise the largest error of the function relative to its value (Remez's algorithm in 60 digits): of
(eʳ − 1 − r) / r² for |r| <= ln(2)/2, and of (ln(1 + f) − f + f²/2) / f³ for 1 + f from √½ to √2. Subnormal numbers are
taken as the smallest normal one, and results beyond the largest as about that one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Any

import numpy as np

from cosim.packages import optional

FLAGS = frozenset({"contract", "arcp"})  # a·b + c in one rounding; division by what a loop keeps as a product


@dataclass(frozen=True)
class Precision:
    """Of a floating-point type: ``bits`` of its fraction, the largest ``exponent``, ``ln2`` in two parts, of which a
    whole number times the first is exact, and the coefficients of ``expm1`` and ``log1p``, lowest first."""

    bits: int
    exponent: int
    ln2: tuple[float, float]
    expm1: tuple[float, ...]
    log1p: tuple[float, ...]


PRECISIONS: Mapping[str, Precision] = MappingProxyType(
    {
        "float32": Precision(
            23,
            127,
            (0.693145751953125, 1.4286068203094173e-06),
            (0.4999999815308765, 0.166665436197253, 0.04166720014832079, 0.008366520745143746, 0.0013882504392046164),
            (
                0.33333316729912366, -0.2500081037564304, 0.20002285943639964, -0.166245547260522, 0.14181199484468987,
                -0.13128756757719723, 0.12881598514038145, -0.07859545329439316,
            ),
        ),
        "float64": Precision(
            52,
            1023,
            (0.6931471805598903, 5.497923018708371e-14),
            (
                0.5000000000000006, 0.16666666666666588, 0.04166666666657675, 0.008333333333389535,
                0.0013888888931566181, 0.00019841269719052165, 2.4801505272456028e-05, 2.7557407496531044e-06,
                2.7626038362553793e-07, 2.505379103160249e-08,
            ),
            (
                0.3333333333332809, -0.249999999999949, 0.2000000000174042, -0.16666666669056002, 0.14285714088899698,
                -0.1249999963783269, 0.11111121791344107, -0.10000025071505732, 0.09090595179645984,
                -0.08332414635049241, 0.07697396806682671, -0.07161756088529508, 0.0662604242326533,
                -0.060336692898492944, 0.05941486718024932, -0.06789071039409278, 0.06418252615743261,
                -0.02911770323017268,
            ),
        ),
    }
)  # fmt: skip

# A number plus `split` holds its nearest whole number in the lowest bits.
_TEXT = """
def expm1(x):
    x = pick(x > exp_low, x, exp_low)
    x = pick(x < exp_high, x, exp_high)
    t = x * per_ln2 + split
    k = t - split
    r = (x - k * ln2_high) - k * ln2_low
    p = r + r * r * ({exponential})
    s = as_float((as_int(t) << bits) + one_bits)
    return s * p + (s - one)

def exp2(x):
    x = pick(x > exp2_low, x, exp2_low)
    x = pick(x < exp2_high, x, exp2_high)
    t = x + split
    r = (x - (t - split)) * ln2
    s = as_float((as_int(t) << bits) + one_bits)
    return s * (one + (r + r * r * ({exponential})))

def log1p(x):
    x = pick(x < most, x, most)
    e = (as_int(x + one) - low_bits) >> bits
    s = as_float(one_bits - (e << bits))
    f = x * s + (s - one)
    k = as_float(e + split_bits) - split
    return k * ln2_high + (f + (f * f * (f * ({logarithm}) - half) + k * ln2_low))

def log2(x):
    x = pick(x > least, x, least)
    y = as_int(x)
    e = (y - low_bits) >> bits
    f = as_float(y - (e << bits)) - one
    k = as_float(e + split_bits) - split
    return k + (f + f * f * (f * ({logarithm}) - half)) * per_ln2

def pace(x):
    y = as_int(x)
    e = (y - one_bits) >> bits
    return (as_float(e + split_bits) - split) + (as_float(y - (e << bits)) - one)
"""


def _horner(coefficients: tuple[float, ...], x: str) -> str:
    """The polynomial in ``x`` as a Python expression, every number of the type `T`."""
    text = f"T({coefficients[-1]!r})"
    for c in reversed(coefficients[:-1]):
        text = f"({text}) * {x} + T({c!r})"
    return text


# Cubic B-splines that are not zero in a cell, as polynomials of the place in it: of each power, what the four take.
_CUBIC = ((1.0, 4.0, 1.0, 0.0), (-3.0, 0.0, 3.0, 0.0), (3.0, -6.0, 3.0, 0.0), (-1.0, 3.0, -3.0, 1.0))
_SUMMED = ("contract", "reassoc", "nsz")


def _picked(builder: Any, vector: Any, *mask: int) -> Any:
    """The elements of an LLVM ``vector`` that the mask says."""
    ir = optional("llvmlite.ir", extra="fast", needed_by="a compiled law")
    chosen = ir.Constant(ir.VectorType(ir.IntType(32), len(mask)), mask)
    return builder.shuffle_vector(vector, ir.Constant(vector.type, ir.Undefined), chosen)


def _weights(builder: Any, place: Any) -> Any:
    """The weights of four neighbours at a place in a cell, as one register."""
    ir = optional("llvmlite.ir", extra="fast", needed_by="a compiled law")
    four = ir.VectorType(place.type, 4)
    spread = _picked(
        builder, builder.insert_element(ir.Constant(four, ir.Undefined), place, ir.IntType(32)(0)), 0, 0, 0, 0
    )
    rows = [ir.Constant(four, [x / 6.0 for x in row]) for row in _CUBIC]
    found = rows.pop()
    for row in reversed(rows):
        found = builder.fadd(builder.fmul(found, spread, flags=_SUMMED), row, flags=_SUMMED)
    return found


def _summed(builder: Any, data: Any, at: Any, strides: Any, weights: Any) -> Any:
    """The sum along all sides that have a stride, of four neighbours along the last one."""
    ir = optional("llvmlite.ir", extra="fast", needed_by="a compiled law")
    if not strides:
        element = data.type.pointee
        place = builder.bitcast(builder.gep(data, [at]), ir.VectorType(element, 4).as_pointer())
        return builder.load(place, align=8 if isinstance(element, ir.DoubleType) else 4)
    total = None
    for k in range(4):
        row = _summed(builder, data, at, strides[1:], weights[1:])
        term = builder.fmul(row, _picked(builder, weights[0], *[k] * 4), flags=_SUMMED)
        total = term if total is None else builder.fadd(total, term, flags=_SUMMED)
        at = builder.add(at, strides[0])
    return total


def _halved(builder: Any, vector: Any) -> Any:
    """The sum of both halves of a vector."""
    half = vector.type.count // 2
    first, second = (_picked(builder, vector, *range(k, k + half)) for k in (0, half))
    return builder.fadd(first, second, flags=_SUMMED)


@cache
def tensor_sum(dtype: str, sides: int) -> Any:
    """The sum over 4 x 4 coefficients of cubic B-splines, or 4 x 4 x 4, for compiled code: (table, first, strides,
    places) -> a number.

    ``sides`` is 2 or 3; a stride for each side but the last, along which four coefficients are one register, and the
    place in the cell, 0..1, of each side.
    """
    ir = optional("llvmlite.ir", extra="fast", needed_by="a compiled law")
    from numba import types
    from numba.extending import intrinsic

    number = getattr(types, dtype)

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        weights = [_weights(builder, place) for place in args[1 + sides :]]
        total = _summed(builder, data, args[1], args[2 : 1 + sides], weights)
        both = _halved(builder, builder.fmul(total, weights[-1], flags=_SUMMED))
        first, second = (builder.extract_element(both, ir.IntType(32)(k)) for k in range(2))
        return builder.fadd(first, second, flags=_SUMMED)

    # numba does not take *places here
    def patch(context: Any, table: Any, first: Any, stride: Any, row: Any, across: Any) -> Any:
        return number(table, types.uintp, types.uintp, number, number), build

    def cube(context: Any, table: Any, first: Any, stride: Any, side: Any, outer: Any, row: Any, across: Any) -> Any:
        return number(table, types.uintp, types.uintp, types.uintp, number, number, number), build

    return intrinsic({2: patch, 3: cube}[sides])


@cache
def functions(dtype: str) -> Mapping[str, Any]:
    """For compiled code, of ``dtype``: `expm1`, `exp2`, `log1p`, `log2` of a number; `pace`, which is log2 at the
    powers of 2 and linear between them; and `pick` (condition, yes, no).

    Raises `EngineMissing` without numba.
    """
    numba = optional("numba", extra="fast", needed_by="a compiled pulse")
    from numba import types
    from numba.extending import intrinsic

    chosen, kind = PRECISIONS[dtype], np.dtype(dtype).type
    integer: Any = np.int64 if dtype == "float64" else np.int32

    def cast(source: Any, target: Any) -> Any:
        """The same bits as another type."""

        def typed(context: Any, x: Any) -> Any:
            def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
                return builder.bitcast(args[0], context.get_value_type(target))

            return target(source), build

        return intrinsic(typed)

    def select(context: Any, condition: Any, yes: Any, no: Any) -> Any:
        """``yes`` where the condition holds, else ``no``; both are there already."""

        def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.select(*args)

        return number(types.boolean, number, number), build

    number, whole = getattr(types, dtype), getattr(types, integer.__name__)
    ends = {
        "exp_low": -(chosen.exponent - 1.5) * chosen.ln2[0],
        "exp_high": (chosen.exponent - 0.05) * chosen.ln2[0],
        "exp2_low": 1.0 - chosen.exponent,
        "exp2_high": chosen.exponent,
        "most": 2.0 ** (chosen.exponent - 1),
        "least": np.finfo(kind).tiny,
        "split": 1.5 * 2.0**chosen.bits,
        "one": 1.0,
        "half": 0.5,
        "ln2": sum(chosen.ln2),
        "ln2_high": chosen.ln2[0],
        "ln2_low": chosen.ln2[1],
        "per_ln2": 1.4426950408889634,
        "low": 0.7071067811865476,
    }
    space: dict[str, Any] = {name: kind(value) for name, value in ends.items()}
    space |= {f"{name}_bits": space[name].view(integer) for name in ("one", "split", "low")}
    space |= {"T": kind, "bits": integer(chosen.bits), "as_int": cast(number, whole), "as_float": cast(whole, number)}
    space["pick"] = intrinsic(select)
    text = _TEXT.format(exponential=_horner(chosen.expm1, "r"), logarithm=_horner(chosen.log1p, "f"))
    exec(compile(text, "<vector math>", "exec"), space)  # noqa: S102  # the text above
    make = numba.njit(fastmath=set(FLAGS), error_model="numpy", forceinline=True)
    made = {name: make(space[name]) for name in ("expm1", "exp2", "log1p", "log2", "pace")}
    return MappingProxyType({**made, "pick": space["pick"]})
