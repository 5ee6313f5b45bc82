"""Vectors of an engine as `xarray.Dataset`s, under one set of names whatever the engine.

A node voltage is ``v(name)``, a branch current ``i(name)``, anything else keeps its name (``@m1[gm]``), all in lower
case.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cosim.engines.worker.frames import Numbers

if TYPE_CHECKING:
    import xarray

_UNITS = {
    "voltage": "V", "current": "A", "time": "s", "frequency": "Hz", "temperature": "degC", "resistance": "Ohm",
    "impedance": "Ohm", "admittance": "S", "power": "W", "charge": "C", "capacitance": "F", "temp-sweep": "degC",
    "res-sweep": "Ohm",
}  # fmt: skip
_SCALES = {
    "time": "time", "frequency": "frequency", "v-sweep": "sweep", "i-sweep": "sweep", "temp-sweep": "sweep",
    "res-sweep": "sweep", "v(v-sweep)": "sweep", "i(i-sweep)": "sweep",
}  # fmt: skip
# These analyses do not give voltages, although ngspice says so of all vectors.
_OF_THE_CIRCUIT = frozenset({"tf", "sens", "pz"})
_KIND = re.compile(r"([a-z]+?)\d*$")


@dataclass(frozen=True)
class Plot:
    """One analysis as an engine gave it: ``kind`` (``"tran"``), and per vector name, type and values."""

    kind: str
    names: tuple[str, ...]
    types: tuple[str, ...]
    values: tuple[Numbers, ...]

    def scale(self) -> Numbers | None:
        """The values of time, frequency or sweep."""
        for name, values in zip(self.names, self.values, strict=True):
            if name.lower() in _SCALES:
                return values
        return None

    @property
    def points(self) -> int:
        """How many points there are."""
        return max((len(values) for values in self.values), default=0)


def canonical(name: str, kind: str) -> str:
    """The one name of a vector: ``out`` of type voltage is ``v(out)``, ``v1#branch`` is ``i(v1)``."""
    lower = name.lower()
    if match := re.match(r"[vi]\((@.*)\)$", lower):
        return match[1]
    if lower.startswith("@") or re.match(r"[vi]\(.*\)$", lower):
        return lower
    if lower.endswith("#branch"):
        return f"i({lower[:-7]})"
    if kind == "voltage":
        return f"v({lower})"
    if kind == "current":
        return f"i({lower})"
    return lower


def _of_the_circuit(name: str, values: Numbers) -> Iterator[tuple[str, Numbers, str]]:
    """A resistance, a pole or zero in its two parts, or a ratio whose unit ngspice does not state."""
    wrapped = re.fullmatch(r"[vi]\((.*)\)", name.lower())
    plain = wrapped[1] if wrapped else name.lower()
    if re.fullmatch(r"(pole|zero)\(\d+\)", plain):
        yield f"re({plain})", values.real.copy(), "1/s"
        yield f"im({plain})", values.imag.copy(), "1/s"
    else:
        yield plain, values, "Ohm" if "impedance" in plain else ""


def dataset(plot: Plot) -> xarray.Dataset:
    """``plot`` as a dataset: one coordinate (none for a single point), and one variable per vector with its units.

    Of ``.pz`` each pole or zero is two variables, ``re(pole(1))`` and ``im(pole(1))`` in 1/s. Impedances of ``.tf`` are
    in Ohm; transfer functions and sensitivities have no unit here, because ngspice does not state theirs.
    """
    import pandas  # slow to import, and a command without waveforms need not pay for them
    import xarray
    from xarray.indexes import PandasIndex

    coordinate: tuple[str, Numbers, str] | None = None
    variables: dict[str, tuple[Numbers, str]] = {}
    for name, kind, values in zip(plot.names, plot.types, plot.values, strict=True):
        lower = name.lower()
        units = _UNITS.get(lower, _UNITS.get(kind, ""))
        if lower in _SCALES and coordinate is None:
            coordinate = (_SCALES[lower], values.real.copy() if np.iscomplexobj(values) else values, units)
        elif plot.kind in _OF_THE_CIRCUIT:
            variables.update({named: (part, unit) for named, part, unit in _of_the_circuit(name, values)})
        else:
            variables[canonical(name, kind)] = (values, units)
    if coordinate is None and plot.points <= 1:
        return xarray.Dataset(
            {name: ((), values[0], {"units": units}) for name, (values, units) in variables.items() if len(values)}
        )
    dim = coordinate[0] if coordinate is not None else "index"
    coords = {dim: (dim, coordinate[1], {"units": coordinate[2]})} if coordinate is not None else {}
    length = len(coordinate[1]) if coordinate is not None else plot.points
    data = {
        name: ((dim,), values, {"units": units}) for name, (values, units) in variables.items() if len(values) == length
    }
    quick = getattr(xarray.Dataset, "_construct_direct", None)
    if quick is None or not coords:
        return xarray.Dataset(data, coords=coords)
    # The constructor aligns and merges what is aligned already: half of all that a short run costs beside its engine.
    index = PandasIndex(pandas.Index(coords[dim][1], name=dim), dim)
    parts = {name: xarray.Variable(*part, fastpath=True) for name, part in data.items()}
    parts |= index.create_variables({dim: xarray.Variable((dim,), coords[dim][1], coords[dim][2], fastpath=True)})
    found: xarray.Dataset = quick(parts, {dim}, dims={dim: length}, indexes={dim: index})
    return found


def kind_of(plot_name: str) -> str:
    """``"tran"`` of ngspice's ``"tran12"``."""
    match = _KIND.match(plot_name)
    return match[1] if match else plot_name


def label(plots: Sequence[Plot]) -> Mapping[str, Plot]:
    """Plots under unique names: a second transient is ``"tran2"``."""
    seen: dict[str, int] = {}
    named: dict[str, Plot] = {}
    for plot in plots:
        seen[plot.kind] = seen.get(plot.kind, 0) + 1
        named[plot.kind if seen[plot.kind] == 1 else f"{plot.kind}{seen[plot.kind]}"] = plot
    return named
