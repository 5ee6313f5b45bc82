"""Engines by name."""

from __future__ import annotations

from collections.abc import Callable

from cosim.errors import UnknownName
from cosim.spice.ngspice_cli import NgspiceCli
from cosim.spice.pyspice import PySpiceSimulator
from cosim.spice.simulator import Simulator
from cosim.spice.vacask import VacaskSimulator

ENGINES: dict[str, Callable[[int], Simulator]] = {
    "pyspice": lambda workers: PySpiceSimulator(workers=workers),
    "ngspice": lambda workers: NgspiceCli(workers=workers),
    "vacask": lambda workers: VacaskSimulator(workers=workers),
}


def open_simulator(name: str = "pyspice", workers: int = 1) -> Simulator:
    """A simulator by name, with ``workers`` processes. Raises `UnknownName`; `EngineMissing` where there is none."""
    try:
        engine = ENGINES[name]
    except KeyError:
        raise UnknownName("simulator", name, ENGINES) from None
    return engine(workers)
