"""The only seam between cosim and a circuit simulator: ``Simulator.run(deck) -> Result``.

A `Deck` is text and the few things around it; a `Result` is an `Outcome` with waveforms where there are any.
Nothing here knows an engine, and nothing here runs one: engines live in `pyspice`, `ngspice_cli` and `vacask`,
each behind a process that may die (`worker`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol, Self, runtime_checkable

from cosim.errors import SimulationError

if TYPE_CHECKING:
    import xarray

    from cosim.language.fourier import Fourier


class Outcome(StrEnum):
    """How a simulation ended.

    >>> [outcome.value for outcome in cosim.Outcome]
    ['converged', 'not converged', 'refused', 'timed out', 'crashed']
    """

    CONVERGED = "converged"
    NOT_CONVERGED = "not converged"
    REFUSED = "refused"
    TIMED_OUT = "timed out"
    CRASHED = "crashed"


@dataclass(frozen=True)
class Limits:
    """What one run may take. ``wall`` in seconds, ``memory`` in bytes of address space, ``file_size`` in bytes.

    >>> cosim.Limits(wall=5.0).wall
    5.0
    """

    wall: float = 60.0
    memory: int = 4 << 30
    file_size: int = 2 << 30


@dataclass(frozen=True)
class Deck:
    """A complete circuit with its analyses as dot-cards, and no ``.control`` block.

    Args:
        text: SPICE netlist; the first line is the title, ``.end`` is optional.
        osdi: compiled Verilog-A models to load first (absolute paths).
        save: vectors to keep, in ngspice's names (``v(out)``, ``i(v1)``); empty keeps what ngspice keeps.
        options: simulator options, e.g. ``{"reltol": 1e-5}``; written as ``.options``.
        roots: folders that ``.include`` and ``.lib`` may read from.
        source: the file that the text came from, for messages.
        rows: the line of ``source`` that each row of ``text`` stands in, None for what is not in it, for messages;
            empty: the text is the file's.
        devices: subcircuits of ``text`` that stand for a device of the library, by its name: what instances pass to
            them is held against its bounds.
        asked: the line of ``source`` that asks for a vector of ``save``, for messages.
        bench: the text is a bench's: its last analysis card is the only one that it may have, and ``.meas`` cards are
            not its measures.
        seed: what the random numbers of the text are drawn by; None: its random functions (``agauss`` and its kin) are
            their means, unless the text or ``options`` set ``seed``, as for ngspice.

    >>> cosim.Deck("a divider\\nv1 in 0 1\\nr1 in out 1k\\nr2 out 0 1k\\n.op", save=("v(out)",)).save
    ('v(out)',)
    """

    text: str
    osdi: tuple[Path, ...] = ()
    save: tuple[str, ...] = ()
    options: Mapping[str, float | str] = field(default_factory=lambda: MappingProxyType({}))
    roots: tuple[Path, ...] = ()
    source: Path | None = None
    rows: tuple[int | None, ...] = ()
    devices: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    asked: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    bench: bool = False
    seed: int | None = None

    def with_options(self, options: Mapping[str, float | str]) -> Deck:
        """The same deck with ``options`` added over its own."""
        return replace(self, options=MappingProxyType({**self.options, **options}))

    def fingerprint(self) -> str:
        """SHA-256 of all that the result depends on, except for the engine and the files that the text includes."""
        digest = hashlib.sha256(self.text.encode())
        for path in self.osdi:
            digest.update(path.read_bytes())
        seed = [] if self.seed is None else [self.seed]
        digest.update(json.dumps([self.save, sorted(self.options.items()), *seed], default=str).encode())
        return digest.hexdigest()


@dataclass(frozen=True)
class Result:
    """What became of a deck.

    ``waveforms`` maps an analysis (``"tran"``, ``"dc"``, ``"op"``, ``"ac"``) to an `xarray.Dataset`: one coordinate
    (``time`` in s, ``sweep`` in V or A, ``frequency`` in Hz; none for ``op``), one variable per saved vector under its
    lower-case ngspice name (``v(out)``, ``i(v1)``), each with ``attrs["units"]``. It is empty unless the
    outcome is converged. ``measures`` are the values of the deck's ``.meas`` cards, ``missing`` the engine's reason for
    each without one; ``fourier`` is what its ``.four`` cards ask for. ``notes`` are sentences that a reader has to
    know: cards that were left out, numbers that may not mean what was intended, a transient that an option ended.

    >>> divider = cosim.Deck("a divider\\nv1 in 0 1\\nr1 in out 1k\\nr2 out 0 1k\\n.op", save=("v(out)",))
    >>> with cosim.open_simulator() as simulator:
    ...     result = simulator.run(divider)
    >>> result.outcome.value, float(result.waveforms["op"]["v(out)"])
    ('converged', 0.5)
    """

    outcome: Outcome
    engine: str
    waveforms: Mapping[str, xarray.Dataset] = field(default_factory=lambda: MappingProxyType({}))
    reason: str = ""
    log: str = ""
    wall: float = 0.0
    deck: Deck | None = None
    measures: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    missing: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    fourier: tuple[Fourier, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether there are waveforms to measure."""
        return self.outcome is Outcome.CONVERGED

    def require(self) -> Self:
        """Itself if converged; raises `SimulationError` with the engine's reason otherwise."""
        if not self.ok:
            raise SimulationError(
                f"{self.engine} {self.outcome.value}: {self.reason}", outcome=self.outcome, log=self.log
            )
        return self

    def __getitem__(self, analysis: str) -> xarray.Dataset:
        """The waveforms of one analysis, of a converged run."""
        return self.require().waveforms[analysis]


@runtime_checkable
class Simulator(Protocol):
    """An engine that runs in its own processes. Safe to share between threads; ``close`` ends its processes.

    >>> with cosim.open_simulator() as simulator:
    ...     print(simulator.version().split("-")[0])
    ngspice
    """

    name: str

    def run(self, deck: Deck, *, limits: Limits = ...) -> Result:
        """Run ``deck``. Never raises for what the deck does: see `Result.outcome`."""
        ...

    def version(self) -> str:
        """The engine and its version, as it goes into hashes and certificates: ``"ngspice-46"``."""
        ...

    def close(self) -> None:
        """End the worker processes and remove their scratch folders."""
        ...

    def __enter__(self) -> Self:
        """Itself."""
        ...

    def __exit__(self, *_: object) -> None:
        """Close it."""
        ...
