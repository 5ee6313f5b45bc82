"""The result of a bench: runs with their waveforms, measures, and the names of a device's states in either form."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from cosim.bench.measured import Measured
from cosim.engines.simulator import Result
from cosim.errors import InputError, UnknownName
from cosim.statistics.verdict import Verdict

if TYPE_CHECKING:
    import xarray
    from matplotlib.axes import Axes

    from cosim.bench.testbench import Testbench


@dataclass(frozen=True)
class Run:
    """One simulation of a bench: which analysis, at which values of the swept parameters, and its result."""

    analysis: str
    point: Mapping[str, float]
    result: Result


@dataclass(frozen=True)
class BenchResult:
    """The result of a bench. ``measures`` is empty unless every run converged: absent, never NaN.

    ``missing`` says why each of the other measures cannot be computed, e.g. that a level is not crossed.

    >>> result = cosim.Testbench.load("1t1r_write").run()
    >>> sorted(result.measures)[:3]
    ['after_down', 'after_up', 'average_energy']
    """

    bench: Testbench
    runs: tuple[Run, ...]
    measures: Mapping[str, Measured]
    missing: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def result(self) -> Result:
        """The first run that failed, or the first run if none did."""
        return next((run.result for run in self.runs if not run.result.ok), self.runs[0].result)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader has to know of the runs, each sentence once: what was left out, what ended early."""
        return tuple(dict.fromkeys([*self.bench.left, *(note for run in self.runs for note in run.result.notes)]))

    @property
    def passed(self) -> bool:
        """Whether every run converged, every measure could be computed and every limit is kept."""
        kept = all(entry.verdict in (None, Verdict.PASS) for entry in self.measures.values())
        return self.result.ok and not self.missing and kept

    @property
    def waveforms(self) -> xarray.Dataset:
        """The waveforms of the first run; raises `SimulationError` without any."""
        return self.waveforms_of(self.runs[0].analysis)[0]

    def waveforms_of(self, analysis: str) -> list[xarray.Dataset]:
        """The waveforms of an analysis, one dataset per point of its sweep."""
        self.result.require()
        kind = self.bench.file.plan[analysis].kind
        return [run.result[kind] for run in self.runs if run.analysis == analysis]

    def __getitem__(self, name: str) -> Measured:
        self.result.require()
        if name in self.missing:
            raise InputError(self.absent(name))
        if name not in self.measures:
            raise UnknownName("measure", name, self.measures)
        return self.measures[name]

    def absent(self, name: str) -> str:
        """The sentence on a measure that cannot be computed."""
        return f"measure {name!r} of bench {self.bench.name}: {self.missing[name]}"

    def plot(self, ax: Axes | None = None, *, vectors: tuple[str, ...] = ()) -> Axes:
        """The waveforms of the first run (or ``vectors`` of them) over time or sweep."""
        from cosim.report.bench_figures import plot_waveforms

        return plot_waveforms(self, ax, vectors=vectors)


def compiled_name(vector: str) -> str | None:
    """What ngspice calls a device's state when the device is compiled: v(xcell.xm.w) -> v(n.xcell.xm.n1#w)."""
    match = re.fullmatch(r"v\((.+)\.(\w+)\)", vector)
    return f"v(n.{match[1]}.n1#{match[2]})" if match else None


def behavioural_names(result: Result) -> Result:
    """The same result with compiled devices' states under their behavioural names."""
    return replace(result, waveforms=MappingProxyType({kind: _plain(data) for kind, data in result.waveforms.items()}))


def _plain(data: xarray.Dataset) -> xarray.Dataset:
    """The same waveforms with compiled devices' states under their behavioural names."""
    names = {}
    for key in data.data_vars:
        match = re.fullmatch(r"v\(n\.(.+)\.n1#(\w+)\)", str(key))
        if match:
            names[key] = f"v({match[1]}.{match[2]})"
    return data.rename(names) if names else data
