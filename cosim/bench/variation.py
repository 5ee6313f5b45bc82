"""How a bench varies: corners (process, voltage, temperature), Monte Carlo samples, and how a run is trusted.

A corner changes parameters, parameter sets, library sections and the temperature together. A sample draws parameters
from their distributions. Both give a bench that runs like any other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import pydantic
from pydantic import Field

from cosim.errors import InputError
from cosim.schema import Number, Quantity, Table, Word
from cosim.statistics.spread import Spread


@dataclass(frozen=True)
class Adjustable:
    """A parameter of a device that may be varied: its value (SI; None: not a number in the file), unit, whether it is
    an integer, and its bounds (SI).
    """

    value: float | None
    unit: str
    integer: bool = False
    bounds: tuple[float, float] = (-math.inf, math.inf)


class Corner(Table):
    """One corner: what differs from the bench as it stands. ``temperature`` in °C, as SPICE counts it.

    Args:
        temperature: of the simulator, in °C.
        parameters: of the circuit.
        devices: a parameter set by device, or a table of values of its parameters; a string for one of type string.
        sections: of libraries, by the bench's name for them.
    """

    temperature: float | None = Field(default=None, gt=-273.15)
    parameters: dict[str, Quantity] = Field(default_factory=dict)
    devices: dict[str, str | dict[str, Quantity | Word]] = Field(default_factory=dict)
    sections: dict[str, str] = Field(default_factory=dict)


class MonteCarlo(Table):
    """Samples: each draws every parameter named here; ``yield_min`` is the share of samples that has to pass.

    Each sample also draws the random functions of its netlist and libraries anew (``agauss``, ``gauss``, ``aunif``,
    ``unif``, ``limit``), by its own seed, and so does the noise of ``trrandom``; no parameter needs
    to be named then. As in ngspice each instance of a subcircuit has its own draws, and so has each use of a
    parameter that is defined by such a function; a parameter made of that one (``.param b = 'a'``) is one draw.
    Everywhere else, nominal, at corners and in a repeated run, these functions are their means. A parameter of a
    device has one draw for all instances of the device. A seed among the options is refused beside samples: all
    would have the same random numbers.

    Args:
        samples: how many.
        seed: of the draws.
        parameters: distributions of circuit parameters.
        devices: distributions of parameters, by device: one of the library, or a Verilog-A file.
        yield_min: the least share of samples that keeps each limit; its 95 % interval has to show it. 1: all of them.
    """

    samples: int = Field(gt=0, le=100_000)
    seed: int = Field(default=0, ge=0)
    parameters: dict[str, Spread] = Field(default_factory=dict)
    devices: dict[str, dict[str, Spread]] = Field(default_factory=dict)
    yield_min: Number = 1.0

    @pydantic.model_validator(mode="after")
    def _share(self) -> MonteCarlo:
        if not 0.0 < self.yield_min <= 1.0:
            raise InputError(f"yield_min = {self.yield_min:g} is not a share from 0 to 1", remedy="give e.g. 0.99")
        return self


class Trust(Table):
    """When a measure can be trusted: repeated at tightened tolerances and half the step it moves by less than this.

    ``moves`` is relative to the largest value of the measure; ``repeat`` = false leaves the repetition out.

    Args:
        moves: the largest relative change that a repetition at tighter tolerances may make.
        repeat: whether it is repeated at all.
    """

    moves: Number = 0.05
    repeat: bool = True
