r"""The heater/ReRAM stack in a 3×3 crossbar: materials, dimensions, and a graded box grid that fits them.

Source: arXiv 2411.18272, Table 2 (materials), Sec. 7.4 and Figs. 6, 13 (geometry). The text gives: oxides of 30 nm for
heater and ReRAM (once printed as 30 m), a rod of radius 4.19 nm and a filament of 3.1 nm, all else in units of the
feature size F, the pitch K; a heat sink at 300 K below the substrate, every other surface adiabatic. It calls σ an
electrical resistivity; the values are conductivities.

Our choice, as text and table leave it open: electrodes F thick; the shared electrode a pad of F × F per cell (its
transistor's contact); the heater's oxide is the isolation oxide, the ReRAM's the switching oxide, under the pad only;
lines of width F, top electrodes along x (a column of the array), bottom electrodes along y (a row); the substrate's
oxide (isolation oxide, too), its thickness and the margin around the outer lines are inputs. The *modified* geometry
does what the text says: heater and ReRAM nearer (a shared electrode of F/3), top and bottom electrodes thicker (2 F).
Rod and filament are square, with the area of the circle.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import numpy as np

from cosim.devices.base import Array
from cosim.errors import InputError, told

SOURCE = "arXiv 2411.18272, Table 2"


@dataclass(frozen=True)
class Material:
    """Thermal conductivity (W/(m K)), electrical conductivity (S/m), density (kg/m³), specific heat (J/(kg K))."""

    kappa: float
    sigma: float
    density: float
    heat: float

    def __post_init__(self) -> None:
        if not all(math.isfinite(v) and v > 0.0 for v in (self.kappa, self.sigma, self.density, self.heat)):
            raise InputError(f"a material needs four finite numbers above zero, not {told(self)}")


# Table 2. The density of the isolation oxide is printed as 745: a porous one, or 7450 or 2200 misprinted; kept.
MATERIALS: Mapping[str, Material] = MappingProxyType(
    {
        "switching oxide": Material(1.4, 1e-6, 6850.0, 306.0),
        "metallic rod": Material(23.0, 1e5, 5200.0, 450.0),
        "electrode": Material(71.8, 1e7, 12033.0, 244.0),
        "filament": Material(23.0, 1e5, 6850.0, 306.0),
        "isolation oxide": Material(0.5, 1e-6, 745.0, 2200.0),
    }
)
NAMES = tuple(MATERIALS)


# A length above it (m) is a forgotten unit: a grid as fine as a rod would not fit into any memory.
LONGEST = 1e-3
_LENGTHS = (
    "feature", "pitch", "oxide", "top", "bottom", "shared", "rod_radius", "filament_radius", "substrate", "margin",
    "cap",
)  # fmt: skip


@dataclass(frozen=True)
class Stack:
    """Dimensions of the array (m) and the fineness of its grid.

    Args:
        feature: F, the width of lines and pads.
        pitch: K, from line to line; at least F.
        oxide: thickness of heater and ReRAM oxide.
        top, bottom, shared: thicknesses of the electrodes; None: F.
        rod_radius, filament_radius: of circles whose area the square rods have.
        substrate: oxide between the bottom electrodes and the heat sink.
        margin: from the outer lines' edges to the adiabatic sides.
        cap: isolation oxide above the top electrodes.
        cells: lines per direction.
        refine: divides every cell size; 1 has two cells across a rod.
    """

    feature: float = 60e-9
    pitch: float = 120e-9
    oxide: float = 30e-9
    top: float | None = None
    bottom: float | None = None
    shared: float | None = None
    rod_radius: float = 4.19e-9
    filament_radius: float = 3.1e-9
    substrate: float = 0.5e-6
    margin: float = 120e-9
    cap: float = 30e-9
    cells: int = 3
    refine: float = 1.0
    materials: Mapping[str, Material] = field(default_factory=lambda: MATERIALS)

    def __post_init__(self) -> None:
        for name in (
            "feature",
            "pitch",
            "oxide",
            "rod_radius",
            "filament_radius",
            "substrate",
            "margin",
            "cap",
            "refine",
        ):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) > 0.0):
                raise InputError(f"{name} = {getattr(self, name)} of the stack is not above zero", remedy="give metres")
        for name in _LENGTHS:
            size = getattr(self, name)
            if size is not None and size > LONGEST:
                raise InputError(
                    f"{name} = {size:g} m of the stack is above {LONGEST:g} m, and its grid would not fit",
                    remedy=f'a number without a unit is in metres: write it with one, e.g. "{size:g} nm"',
                )
        if self.pitch < self.feature:
            raise InputError(f"the pitch {self.pitch:g} m is below the line width {self.feature:g} m")
        if self.side(self.rod_radius) >= self.feature or self.side(self.filament_radius) >= self.feature:
            raise InputError(f"a rod does not fit into a feature of {self.feature:g} m")
        if self.cells < 1 or self.cells % 2 == 0:
            raise InputError(f"an array of {self.cells} lines has no middle", remedy="give an odd number")
        missing = set(NAMES) - set(self.materials)
        if missing:
            raise InputError(f"the stack lacks {', '.join(sorted(missing))}", remedy="add to MATERIALS")

    @classmethod
    def baseline(cls, feature: float = 60e-9, *, pitch: float | None = None, refine: float = 1.0) -> Stack:
        """The geometry of Fig. 6(b) with electrodes of F (our choice); the pitch is 2 F unless given."""
        return cls(feature, 2 * feature if pitch is None else pitch, margin=2 * feature, refine=refine)

    @classmethod
    def modified(cls, feature: float = 60e-9, *, pitch: float | None = None, refine: float = 1.0) -> Stack:
        """The geometry of Fig. 6(e): heater nearer to the ReRAM, thicker top and bottom electrodes (our choice)."""
        plain = cls.baseline(feature, pitch=pitch, refine=refine)
        return replace(plain, shared=feature / 3, top=2 * feature, bottom=2 * feature)

    @staticmethod
    def side(radius: float) -> float:
        """The square with the area of a circle (m)."""
        return radius * math.sqrt(math.pi)

    @property
    def centres(self) -> Array:
        """Where the lines' centres are, in x and in y (m)."""
        first = self.margin + 0.5 * self.feature
        return np.asarray(first + self.pitch * np.arange(self.cells), dtype=float)

    @property
    def width(self) -> float:
        """Of the whole domain in x and in y (m)."""
        return 2 * self.margin + self.feature + (self.cells - 1) * self.pitch

    @property
    def layers(self) -> Mapping[str, tuple[float, float]]:
        """Bottom and top (m) of each layer, from the heat sink upwards."""
        thick = self.feature
        sizes = (
            ("substrate", self.substrate), ("bottom", self.bottom or thick), ("switching", self.oxide),
            ("shared", self.shared or thick), ("heater", self.oxide), ("top", self.top or thick), ("cap", self.cap),
        )  # fmt: skip
        found, z = {}, 0.0
        for name, size in sizes:
            found[name] = (z, z + size)
            z += size
        return found


@dataclass(frozen=True)
class BoxGrid:
    """Boxes: edges in x, y, z (m), and per cell, x fastest, the index of its material in `NAMES`."""

    stack: Stack
    edges: tuple[Array, Array, Array]
    material: Array

    @property
    def shape(self) -> tuple[int, int, int]:
        """Cells in x, y, z."""
        nx, ny, nz = (edge.size - 1 for edge in self.edges)
        return nx, ny, nz

    @property
    def size(self) -> int:
        """The number of cells."""
        return int(np.prod(self.shape))

    @property
    def volumes(self) -> Array:
        """(cells,) m³."""
        dx, dy, dz = (np.diff(edge) for edge in self.edges)
        return np.asarray((dz[:, None, None] * dy[None, :, None] * dx[None, None, :]).ravel())

    def of_material(self, name: str) -> Array:
        """(cells,) a material property by its field's name."""
        table = np.array([getattr(self.stack.materials[key], name) for key in NAMES])
        return np.asarray(table[self.material])

    @property
    def heat_capacity(self) -> Array:
        """(cells,) J/K."""
        return np.asarray(self.volumes * self.of_material("density") * self.of_material("heat"))

    def box(self, x: tuple[float, float], y: tuple[float, float], z: tuple[float, float]) -> Array:
        """(cells,) whether a cell's centre lies in a box (m)."""
        inside = []
        for edge, (low, high) in zip(self.edges, (x, y, z), strict=True):
            centre = 0.5 * (edge[1:] + edge[:-1])
            inside.append((centre > low) & (centre < high))
        return np.asarray((inside[2][:, None, None] & inside[1][None, :, None] & inside[0][None, None, :]).ravel())

    def rod(self, column: int, row: int, *, kind: str) -> Array:
        """(cells,) the cells of the heater rod ("heater") or the filament ("filament") at a crossing."""
        s = self.stack
        radius, layer = (s.rod_radius, "heater") if kind == "heater" else (s.filament_radius, "switching")
        x, y, half = s.centres[column], s.centres[row], 0.5 * s.side(radius)
        return self.box((x - half, x + half), (y - half, y + half), s.layers[layer])


def graded(breaks: Array, *, fine: Array, smallest: float, growth: float) -> Array:
    """Edges (m) through every break, with cells that grow with the distance from the nearest point of ``fine``.

    A cell at distance d is about smallest + growth · d wide; between breaks sizes follow that law exactly.
    """
    edges = [np.atleast_1d(breaks[0])]
    for a, b in itertools.pairwise(breaks):
        x = np.linspace(a, b, 201)
        nearest = np.min(np.abs(x[:, None] - fine[None, :]), axis=1)
        density = 1.0 / (smallest + growth * nearest)
        count = np.concatenate([[0.0], np.cumsum(0.5 * (density[1:] + density[:-1]) * np.diff(x))])
        n = max(1, math.ceil(count[-1] - 1e-9))
        inner = np.interp(np.linspace(0.0, count[-1], n + 1)[1:], count, x)
        inner[-1] = b
        edges.append(inner)
    return np.concatenate(edges)


def make_grid(stack: Stack, *, middle: bool = False) -> BoxGrid:
    """The stack on a graded grid whose planes lie on every interface and, where ``middle``, on every line's centre."""
    rod, filament = 0.5 * stack.side(stack.rod_radius), 0.5 * stack.side(stack.filament_radius)
    half, centres = 0.5 * stack.feature, stack.centres
    offsets = np.array([-half, -rod, -filament, *([0.0] if middle else []), filament, rod, half])
    breaks = np.unique(np.concatenate([[0.0, stack.width], (centres[:, None] + offsets).ravel()]).round(15))
    fine = (centres[:, None] + np.array([-rod, -filament, filament, rod])).ravel()
    across = graded(breaks, fine=fine, smallest=rod / stack.refine, growth=0.3 / stack.refine)
    levels = np.unique(np.array([z for layer in stack.layers.values() for z in layer]).round(15))
    ends = np.array([z for name in ("switching", "heater") for z in stack.layers[name]])
    upwards = graded(levels, fine=ends, smallest=stack.oxide / (8 * stack.refine), growth=0.25 / stack.refine)
    grid = BoxGrid(stack, (across, across, upwards), np.zeros(0, dtype=int))
    return replace(grid, material=_painted(grid))


def _painted(grid: BoxGrid) -> Array:
    """(cells,) material indices: later paint covers earlier."""
    stack = grid.stack
    layers, half = stack.layers, 0.5 * stack.feature
    everywhere = (-1.0, 1.0 + stack.width)
    index = {name: k for k, name in enumerate(NAMES)}
    material = np.full(grid.size, index["isolation oxide"])
    for c in stack.centres:
        line = (c - half, c + half)
        material[grid.box(everywhere, line, layers["top"])] = index["electrode"]
        material[grid.box(line, everywhere, layers["bottom"])] = index["electrode"]
        for r in stack.centres:
            pad = (r - half, r + half)
            material[grid.box(line, pad, layers["shared"])] = index["electrode"]
            material[grid.box(line, pad, layers["switching"])] = index["switching oxide"]
    for column in range(stack.cells):
        for row in range(stack.cells):
            material[grid.rod(column, row, kind="heater")] = index["metallic rod"]
            material[grid.rod(column, row, kind="filament")] = index["filament"]
    return material
