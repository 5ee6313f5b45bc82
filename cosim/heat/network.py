r"""Thermal networks fitted to the heat equation, and written as the parameter sets of the circuit's devices.

Two models of `cosim.devices.thermal_reram`, by Levenberg–Marquardt (lmfit):

- a *cell*: rise per watt of its own filament, Σ_k r_k (1 − exp(−t/τ_k)), one pole or two (arXiv 2411.18272 has one,
  Eqs. 23 and 24). Its neighbours are part of what its heat spreads into.
- an *array*: the same two poles per cell, the slow one joined to its neighbours in row and column by the links of
  `cosim.devices.thermal_link` (a diagonal link was tried: the fit sets it to zero). Fitted to the filaments at A, B and
  C together; r_slow is then what leads down to the heat sink alone.

Times are evenly spaced on a logarithmic axis. The cell's residuals are relative to its rise at rest, the array's to the
own filament's rise at the same time, so that the ratios of crosstalk count while steps are taken. The curves have no
noise: standard errors say how far the network is from the heat equation and, where the curve is the limit of several
meshes (`cosim.heat.extrapolate`), how far the fits to its coarser and its finer pair of them are apart.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np

from cosim import __version__
from cosim.devices.base import Array, Values
from cosim.devices.registry import device
from cosim.errors import FitError
from cosim.files import write_atomic
from cosim.fitting.minimise import estimates, minimise
from cosim.heat.extrapolate import Extrapolated
from cosim.heat.response import COUPLING_TIME, StepResponse
from cosim.heat.stack import Stack
from cosim.parameters import ParameterSet, Quantity, read_sets

LINKS = ("along_row", "along_column")
OWN, ROW, COLUMN, DIAGONAL = range(1, 5)  # columns of StepResponse.rises
RISEN = 1e-9  # s: the rod has its rise over the filament by then
FLOOR = 0.05  # of the rise at rest: below it crosstalk is of no account


@dataclass(frozen=True)
class NetworkFit:
    """A fitted network.

    Args:
        values: parameter -> value with its standard error, SI.
        times: (n,) s.
        fitted, target: (n, k) K/W: A alone, or A, B row, B column, C.
    """

    values: Mapping[str, Quantity]
    times: Array
    fitted: Array
    target: Array

    @property
    def error(self) -> float:
        """The largest difference over the own filament's rise at the last time."""
        return float(np.max(np.abs(self.fitted - self.target)) / self.target[-1, 0])

    @property
    def rms(self) -> float:
        """The root mean square of the differences over the own filament's rise at the last time."""
        return float(np.sqrt(np.mean((self.fitted - self.target) ** 2)) / self.target[-1, 0])


def foster(times: Array, values: Mapping[str, float]) -> Array:
    """(n,) K/W: the step response of r_fast, tau_fast, r_slow, tau_slow; the fast pole may be missing."""
    slow = values["r_slow"] * -np.expm1(-times / values["tau_slow"])
    if "r_fast" not in values:
        return np.asarray(slow)
    return np.asarray(slow + values["r_fast"] * -np.expm1(-times / values["tau_fast"]))


def array_response(times: Array, values: Mapping[str, float], *, cells: int = 3) -> Array:
    """(n, 4) K/W: the filaments at A, B row, B column and C of ``cells`` × ``cells`` with the middle heater on.

    The equations are those of the devices: each port's contact, links between ports, a pole to ambient in each cell.
    """
    n = cells * cells
    contact = device("thermal_reram").defaults().contact / values["r_slow"]
    links = np.zeros((n, n))
    at = {(row, column): row * cells + column for row in range(cells) for column in range(cells)}
    steps = {(0, 1): "along_row", (1, 0): "along_column"}
    for (row, column), i in at.items():
        for (down, right), name in steps.items():
            j = at.get((row + down, column + right))
            if j is not None:
                g = values[name]
                links[[i, j], [i, j]] += g
                links[[i, j], [j, i]] -= g
    ports = np.linalg.solve(contact * np.eye(n) + links, contact * np.eye(n))
    conduction = np.eye(n) / values["r_slow"] + contact * (np.eye(n) - ports)
    capacity = values["tau_slow"] / values["r_slow"]
    rates, modes = np.linalg.eigh(0.5 * (conduction + conduction.T) / capacity)
    a = at[cells // 2, cells // 2]
    seen = [a, at[cells // 2, cells // 2 + 1], at[cells // 2 + 1, cells // 2], at[cells // 2 + 1, cells // 2 + 1]]
    rise = -np.expm1(-np.outer(times, rates)) / (rates * capacity) * modes[a]
    found = rise @ modes[seen].T
    found[:, 0] += values["r_fast"] * -np.expm1(-times / values["tau_fast"])
    return np.asarray(found)


def _minimise(
    start: Mapping[str, float],
    model: Callable[[Array, Mapping[str, float]], Array],
    times: Array,
    target: Array,
    scale: Array,
    most: Mapping[str, float] = MappingProxyType({}),
) -> NetworkFit:
    """Fit positive parameters, as their logarithms; residuals over ``scale`` (n, 1); ``most``: upper bounds."""

    def values(logs: Mapping[str, float]) -> dict[str, float]:
        return {name: float(np.exp(log)) for name, log in logs.items()}

    def residual(logs: Values) -> Array:
        return np.asarray(((model(times, values(logs)) - target) / scale).ravel())

    found = minimise(
        residual,
        {name: float(np.log(value)) for name, value in start.items()},
        bounds={name: (-np.inf, float(np.log(most.get(name, 1e30)))) for name in start},
    )
    if not found.success:
        raise FitError(f"the thermal network does not settle: {found.message}", remedy="give a longer step response")
    best = values(found.params.valuesdict())
    quantities = {
        name: Quantity(best[name], None if stderr is None else best[name] * stderr)
        for name, (_, stderr) in estimates(found).items()
    }
    return NetworkFit(MappingProxyType(quantities), times, model(times, best), target)


def fit_cell(response: StepResponse, *, poles: int = 2) -> NetworkFit:
    """One pole or two for a cell on its own."""
    target = response.rises[:, OWN : OWN + 1]
    rest = float(response.steady[OWN])
    middle = float(np.interp(0.6 * rest, target[:, 0], response.times))
    start = {"r_slow": rest, "tau_slow": middle}
    if poles == 2:
        start = {"r_slow": 0.75 * rest, "tau_slow": 2 * middle, "r_fast": 0.25 * rest, "tau_fast": 5e-9}
    elif poles != 1:
        raise FitError(f"the device has one or two thermal poles, not {poles}")
    scale = np.full((response.times.size, 1), rest)
    return _minimise(start, lambda t, values: foster(t, values)[:, None], response.times, target, scale)


def fit_array(response: StepResponse) -> NetworkFit:
    """Two poles per cell and the links of a 3×3 array."""
    cell = {name: quantity.value for name, quantity in fit_cell(response).values.items()}
    own, row, diagonal = (float(response.steady[k]) for k in (OWN, ROW, DIAGONAL))
    vertical = own - cell["r_fast"] + 4 * row + 4 * diagonal  # at rest all heat goes down
    link = 1.0 / max(own - cell["r_fast"] - row, 0.05 * own)
    start = {
        **cell, "r_slow": vertical, "along_row": 0.3 * link, "along_column": 0.3 * link,
    }  # fmt: skip
    scale = np.maximum(response.rises[:, OWN : OWN + 1], FLOOR * own)
    # a link that conducts like the port's contact is indistinguishable from an ideal one
    largest = 0.3 * device("thermal_reram").defaults().contact / vertical
    most = dict.fromkeys(LINKS, largest)
    start |= {name: min(start[name], 0.5 * largest) for name in LINKS}
    return _minimise(start, array_response, response.times, response.rises[:, OWN:], scale, most)


def describe(stack: Stack) -> str:
    """The stack in one sentence."""
    sizes = {
        "F": stack.feature, "K": stack.pitch, "oxides": stack.oxide, "top": stack.top or stack.feature,
        "shared": stack.shared or stack.feature, "bottom": stack.bottom or stack.feature,
        "substrate oxide": stack.substrate, "margin": stack.margin,
    }  # fmt: skip
    return ", ".join(f"{name} {value * 1e9:.4g} nm" for name, value in sizes.items())


def rod(response: StepResponse) -> Quantity:
    """K/W from the heater's rod to its filament, with the largest distance from it after 1 ns as its error."""
    late = response.times >= RISEN
    drop = response.rises[late, 0] - response.rises[late, OWN]
    value = float(drop.mean())
    return Quantity(value, float(np.max(np.abs(drop - value))))


def _values(response: StepResponse) -> dict[str, dict[str, Quantity]]:
    cell, array = fit_cell(response).values, fit_array(response).values
    own = {"r_rod": rod(response)}
    return {"cell": {**cell, **own}, "array": {**array, **own}}


def parameter_sets(found: StepResponse | Extrapolated, name: str) -> dict[str, list[ParameterSet]]:
    """File name -> sets: the cell, the array's cell, and its links, as ``name``, ``name_array``, ``name_along_row``."""
    response = found if isinstance(found, StepResponse) else found.response
    values = _values(response)
    origin = {"cells": str(response.cells), "refine": f"{response.stack.refine:g}"}
    heater: dict[str, Quantity] = {"r_heater": Quantity(response.resistance)}
    mesh = f"one mesh of {response.cells} cells"
    if not isinstance(found, StepResponse):
        ends = [_values(pair) for pair in found.pairs]
        for kind, entries in values.items():
            for key, quantity in entries.items():
                apart = abs(ends[1][kind][key].value - ends[0][kind][key].value)
                entries[key] = Quantity(quantity.value, float(np.hypot(quantity.stderr or 0.0, apart)))
        origin = {"cells": ", ".join(str(one.cells) for one in found.meshes), "order": f"{found.order:.2f}"}
        heater = {}  # the rod of Table 2, as the device has it
        at_rest = found.meshes[-1].steady / response.steady - 1.0
        mesh = (
            f"limit of three meshes: the finest is off by {at_rest[0]:+.1%} (heater) and {at_rest[OWN]:+.1%} (filament)"
            f" at rest, the limit's own error is {found.error['heater']:.1%} and {found.error['A']:.1%}"
        )
    cell, single, array = fit_cell(response), fit_cell(response, poles=1), fit_array(response)
    late = response.at(COUPLING_TIME)
    source = (
        f"heat equation with Table 2 of arXiv 2411.18272: {describe(response.stack)} (our choice where the text is"
        " silent)"
    )
    made = MappingProxyType({"cosim": __version__, **origin})

    def one(kind: str, label: str, values: Mapping[str, Quantity], *notes: str) -> ParameterSet:
        return ParameterSet(kind, label, MappingProxyType(dict(values)), source, notes, provenance=made)

    poles = ("r_fast", "tau_fast", "r_slow", "tau_slow", "r_rod")
    coupling = f"coupling of the heater to its filament after 60 ns {late['A']:.4f}, to B {late['B row']:.4f} (row)"
    coupling += f" and {late['B column']:.4f} (column), to C {late['C']:.4f}"
    own_cell = one(
        "thermal_reram", name, {**{key: values["cell"][key] for key in poles}, **heater},
        f"the cell alone: its neighbours are part of what its heat spreads into; largest error {cell.error:.2%} of the"
        f" rise at rest, {single.error:.2%} with one pole",
        mesh, coupling,
        "standard errors: the network's distance from the heat equation, and the mesh's; the curve has no noise",
    )  # fmt: skip
    in_array = one(
        "thermal_reram", f"{name}_array", {**{key: values["array"][key] for key in poles}, **heater},
        f"for use with the links {name}_along_row and {name}_along_column; largest error {array.error:.2%} of the"
        " own filament's rise at rest",
        mesh, coupling,
        "a middle cell's neighbourhood: cells at the edge of an array see the same links, fewer of them",
    )  # fmt: skip
    links = [one("thermal_link", f"{name}_{key}", {"g_link": values["array"][key]}) for key in LINKS]
    return {"thermal_stack.toml": [own_cell, in_array], "thermal_link.toml": links}


def write_sets(sets: Mapping[str, list[ParameterSet]], folder: str | Path) -> list[Path]:
    """Write each file's sets; sets of other names in the file are kept."""
    written = []
    for file, entries in sets.items():
        path = Path(folder) / file
        merged = {**(read_sets(path) if path.exists() else {}), **{entry.name: entry for entry in entries}}
        texts = [entry.to_toml() for entry in merged.values()]
        head, _, _ = texts[0].partition("\n\n")
        bodies = [text.partition("\n\n")[2] for text in texts]
        comment = "# Written by `cosim heat --write`: extracted from the heat equation, not typed.\n"
        written.append(write_atomic(path, comment + head + "\n\n" + "\n".join(bodies)))
    return written
