"""The analyses that a bench may name, and their cards."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal, cast

import pydantic
from pydantic import Field

from cosim.bench.stimuli import fmt
from cosim.errors import InputError, at
from cosim.schema import Ampere, Hertz, Number, Quantity, Second, Stated, Volt

if TYPE_CHECKING:
    import xarray

    from cosim.engines.simulator import Result

MAX_POINTS = 10_000


class _Analysis(Stated):
    """What every analysis has.

    ``parameters`` override the circuit's for this analysis; ``sweep`` runs it at every combination of the values given
    per parameter, the last one varying fastest.

    Args:
        parameters: values for this analysis, over the circuit's.
        sweep: lists of values by parameter; the analysis runs at every combination.
    """

    parameters: dict[str, Quantity] = Field(default_factory=dict)
    sweep: dict[str, tuple[Quantity, ...]] = Field(default_factory=dict)

    @pydantic.field_validator("sweep")
    @classmethod
    def _not_empty(cls, sweep: dict[str, tuple[Quantity, ...]]) -> dict[str, tuple[Quantity, ...]]:
        for name, values in sweep.items():
            if not values:
                with at(name):
                    raise InputError(f"the sweep of {name!r} has no values", remedy="give at least one")
        points = math.prod(len(values) for values in sweep.values())
        if points > MAX_POINTS:
            raise InputError(f"a sweep of {points} points is too long for a bench", remedy=f"take {MAX_POINTS} at most")
        return sweep


_ELEMENT = r"^[A-Za-z][\w.]*$"
_VOLTAGE = r"^[vV]\([\w.+\-]+(,[\w.+\-]+)?\)$"
_VECTOR = r"^([vV]\([\w.+\-]+(,[\w.+\-]+)?\)|[iI]\([\w.]+\))$"


class Tran(_Analysis):
    """A transient; ``stop`` comes from ``stimulus`` where it is left out.

    Args:
        stop: where it ends; default: the end of ``stimulus``.
        stimulus: the stimulus whose end is the analysis's.
        max_step: largest time step.
        step: the engine's first step; default: ``max_step``.
    """

    kind: Literal["tran"]
    stop: Second | None = None
    stimulus: str | None = None
    max_step: Second
    step: Second | None = None


class Dc(_Analysis):
    """A sweep of one source, in V or A.

    Args:
        source: the element that is swept, e.g. ``vd``.
        start, stop, step: of the sweep, in the source's unit.
    """

    kind: Literal["dc"]
    source: str = Field(pattern=_ELEMENT)
    start: Number | Volt | Ampere
    stop: Number | Volt | Ampere
    step: Number | Volt | Ampere


class Ac(_Analysis):
    """Small-signal response, ``points`` per decade.

    Args:
        points: per decade.
        start, stop: of the frequency.
    """

    kind: Literal["ac"]
    points: int = Field(default=20, gt=0)
    start: Hertz
    stop: Hertz


class Noise(_Analysis):
    """Noise at ``output``, and referred to ``source``: spectra ``onoise_spectrum`` and ``inoise_spectrum`` over the
    frequency (V or A per root of Hz), and what they integrate to, ``onoise_total`` and ``inoise_total``.

    Args:
        output: the voltage, ``v(out)`` or ``v(a,b)``.
        source: the input's element.
        points: per decade.
        start, stop: of the frequency.
    """

    kind: Literal["noise"]
    output: str = Field(pattern=_VOLTAGE)
    source: str = Field(pattern=_ELEMENT)
    points: int = Field(default=20, gt=0)
    start: Hertz
    stop: Hertz


class Tf(_Analysis):
    """The transfer function at zero frequency: ``transfer_function``, and the resistances at input and output.

    Args:
        output: a voltage, ``v(out)``, or the current of a source, ``i(v2)``.
        source: the input's element.
    """

    kind: Literal["tf"]
    output: str = Field(pattern=_VECTOR)
    source: str = Field(pattern=_ELEMENT)


class Sens(_Analysis):
    """The derivatives of the operating point's ``output`` by the value of each element: the vector ``r1`` is by R1's.

    Args:
        output: a voltage, ``v(out)``, or the current of a source, ``i(v2)``.
    """

    kind: Literal["sens"]
    output: str = Field(pattern=_VECTOR)


class Pz(_Analysis):
    """Poles and zeros (rad/s) of the transfer function from one pair of nodes to another: ``re(pole(1))``,
    ``im(pole(1))``, ``re(zero(1))``.

    Args:
        input, output: pairs of nodes.
        of: a ratio of voltages, or of the output's voltage to the input's current.
    """

    kind: Literal["pz"]
    input: tuple[str, str]
    output: tuple[str, str]
    of: Literal["voltage", "current"] = "voltage"

    @pydantic.field_validator("input", "output")
    @classmethod
    def _nodes(cls, pair: tuple[str, str]) -> tuple[str, str]:
        for node in pair:
            if not re.fullmatch(r"[\w.+\-]+", node):
                raise InputError(f"{node!r} is not the name of a node")
        return pair


class Op(_Analysis):
    """The operating point."""

    kind: Literal["op"]


Analysis = Annotated[Tran | Dc | Ac | Op | Noise | Tf | Sens | Pz, Field(discriminator="kind")]


SAVED = frozenset({"tran", "dc", "ac", "op"})  # whose vectors are those of the circuit
_TOTALS = frozenset({"onoise_total", "inoise_total"})


def card(entry: Analysis) -> str:
    """SPICE's card of an analysis; a transient has its ``stop``."""
    if isinstance(entry, Dc):
        return f".dc {entry.source} {fmt(entry.start)} {fmt(entry.stop)} {fmt(entry.step)}"
    if isinstance(entry, Ac):
        return f".ac dec {entry.points} {fmt(entry.start)} {fmt(entry.stop)}"
    if isinstance(entry, Noise):
        span = f"dec {entry.points} {fmt(entry.start)} {fmt(entry.stop)}"
        return f".noise {entry.output} {entry.source} {span}"
    if isinstance(entry, Tf):
        return f".tf {entry.output} {entry.source}"
    if isinstance(entry, Sens):
        return f".sens {entry.output}"
    if isinstance(entry, Pz):
        return f".pz {' '.join((*entry.input, *entry.output))} {'vol' if entry.of == 'voltage' else 'cur'} pz"
    if isinstance(entry, Tran):
        stop = fmt(cast(float, entry.stop))  # given, or put in from the stimulus
        return f".tran {fmt(entry.step or entry.max_step)} {stop} 0 {fmt(entry.max_step)}"
    return ".op"


def waveforms(entry: Analysis, result: Result, vectors: Sequence[str]) -> xarray.Dataset:
    """What a measure of ``vectors`` sees of an analysis: of noise the spectra, or what they integrate to."""
    if entry.kind == "noise" and vectors and set(vectors) <= _TOTALS:
        found = result["noise_integrated"]
        names = {str(name): str(name)[2:-1] for name in found.data_vars if re.fullmatch(r"[vi]\(.*\)", str(name))}
        return found.rename(names)
    return result[entry.kind]
