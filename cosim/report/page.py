"""A page of benches: each is run, shown by its own figures, and held against its source in a table.

An example is a script around `command`: ``python stc.py -o OUT`` writes ``OUT/stc.html``.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cosim.bench.measured import Measured
from cosim.bench.result import BenchResult
from cosim.bench.testbench import Testbench
from cosim.engines.registry import open_simulator
from cosim.engines.simulator import Simulator
from cosim.errors import CosimError
from cosim.report import style
from cosim.report.comparison import COLUMNS, Row, rows_of
from cosim.report.html import Report
from cosim.units import in_unit

if TYPE_CHECKING:
    import xarray
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


Curve = tuple[NDArray[Any], NDArray[Any], str, str]  # x, y, label, matplotlib's format


@dataclass(frozen=True)
class Panel:
    """One pair of axes: curves in the units that ``x`` and ``y`` name; ``log`` has the names of logarithmic axes."""

    title: str
    x: str
    y: str
    curves: Sequence[Curve]
    log: str = ""


def wave(data: xarray.Dataset, name: str, units: tuple[str, str], label: str = "", line: str = "-") -> Curve:
    """A vector of waveforms over time or sweep, each in its unit of ``units``."""
    x = data[next(iter(data.coords))].values
    return in_unit(x, units[0]), in_unit(data[name].values, units[1]), label, line


def trace(
    data: xarray.Dataset, x: str, y: str, units: tuple[str, str], label: str = "", line: str = "-", scale: float = 1.0
) -> Curve:
    """One vector of waveforms over another, each in its unit of ``units``; ``scale`` multiplies ``y``."""
    return in_unit(data[x].values, units[0]), scale * in_unit(data[y].values, units[1]), label, line


def swept(
    measured: Measured, over: str, units: tuple[str, str] = ("1", "1"), label: str = "", line: str = "o-"
) -> list[Curve]:
    """A measure over a swept parameter, in ``units``: a curve for each value of the other swept parameters."""
    others = {key: column for key, column in measured.coordinates.items() if key != over}
    points = np.stack([*others.values(), np.zeros(measured.values.size)])
    found: list[Curve] = []
    for point in np.unique(points, axis=1).T:
        own = np.all(points == point[:, None], axis=0)
        at = ", ".join(f"{key} = {value:g}" for key, value in zip(others, point, strict=False))
        x, y = measured.coordinates[over][own], measured.values[own]
        found.append((in_unit(x, units[0]), in_unit(y, units[1]), " ".join(filter(None, [label, at])), line))
    return found


def draw_panel(ax: Axes, panel: Panel) -> Axes:
    """A panel in given axes."""
    for x, y, label, line in panel.curves:
        ax.plot(x, y, line, markersize=3.5, label=label or None)
    ax.set(title=panel.title, xlabel=panel.x, ylabel=panel.y)
    ax.set(**{f"{axis}scale": "log" for axis in panel.log})
    if any(curve[2] for curve in panel.curves):
        ax.legend(fontsize="small", ncols=1 + (sum(bool(curve[2]) for curve in panel.curves) > 4))
    return ax


def panels_figure(*panels: Panel) -> Figure:
    """Panels side by side, two in a row where there are more than three."""
    columns = len(panels) if len(panels) <= 3 else 2
    rows = -(-len(panels) // columns)
    figure = style.new_figure(min(3.6 * columns + 0.8, 10.0), 3.1 * rows)
    with style.styled():
        for number, panel in enumerate(panels, 1):
            draw_panel(figure.add_subplot(rows, columns, number), panel)
    return figure


class Page(Report):
    """A report whose benches run in ``simulator``.

    ``output`` is the folder for its files, ``quick`` leaves out what takes more than seconds, and ``tell`` is called
    with the name of each step.
    """

    def __init__(
        self,
        title: str,
        summary: str,
        simulator: Simulator,
        *,
        output: Path = Path("cosim-out"),
        quick: bool = False,
        tell: Callable[[str], None] = print,
    ) -> None:
        super().__init__(title, summary)
        self.simulator, self.output, self.quick, self.tell = simulator, output, quick, tell
        self.rows: list[Row] = []
        self.footer = f"{simulator.version()}."

    def run(self, bench: str | Testbench, *, save: Sequence[str] = ()) -> BenchResult:
        """Run a bench, by name or as it is, and keep the vectors of ``save`` beside its own.

        Raises `SimulationError` where it does not converge.
        """
        loaded = Testbench.load(bench) if isinstance(bench, str) else bench
        kept = loaded.file.model_copy(update={"save": (*loaded.file.save, *save)})
        loaded = replace(loaded, file=kept)
        self.tell(loaded.name)
        result = loaded.run(self.simulator)
        result.result.require()
        return result

    def draw(self, caption: str, *panels: Panel) -> None:
        """Add a figure of panels."""
        self.figure(panels_figure(*panels), caption)

    def compare(self, *rows: Row) -> None:
        """Add a table of rows."""
        self.rows += rows
        self.table(COLUMNS, [row.cells() for row in rows])

    def judge(self, *runs: BenchResult, **names: str) -> None:
        """Add a table of the limits of ``runs``: values, bounds and reasons are those of the benches, and so are the
        names of the measures, except for those that ``names`` says in words.
        """
        self.compare(*(row for run in runs for row in rows_of(run, names)))

    def count(self) -> str:
        """How many rows got which verdict."""
        return ", ".join(f"{number} {verdict}" for verdict, number in Counter(row.verdict for row in self.rows).items())


def command(
    name: str, title: str, summary: str, build: Callable[[Page], None], arguments: Sequence[str] | None = None
) -> int:
    """The command line of an example: builds the page and writes ``OUTPUT/NAME.html``; returns the exit code."""
    parser = argparse.ArgumentParser(prog=name, description=f"{title}: {summary}")
    parser.add_argument("-o", "--output", type=Path, default=Path("cosim-out/examples"), help="folder for the page")
    parser.add_argument("--quick", action="store_true", help="leave out what takes more than seconds")
    given = parser.parse_args(arguments)
    terminal = sys.stderr.isatty()

    def tell(what: str) -> None:
        if terminal:
            print(f"\r\033[K{name}: {what}", end="", file=sys.stderr, flush=True)

    try:
        with open_simulator() as simulator:
            page = Page(title, summary, simulator, output=given.output, quick=given.quick, tell=tell)
            build(page)
        written = page.write(given.output / f"{name}.html")
    except CosimError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 1
    tell("")
    for row in page.rows:
        quantity, beside, here, verdict, _ = row.cells()
        print(f"{verdict:<18} {quantity}:  {here}{f'   ({beside})' if beside else ''}")
    print(f"{written}   ({page.count()})")
    return 0
