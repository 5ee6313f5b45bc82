"""cosim: SPICE-coupled co-simulation of memristive circuits.

The line, each arrow one call::

    Curve -> FitRecipe -> extract -> FitResult -> ParameterSet -> Testbench -> run -> BenchResult -> train -> network

Names are loaded when they are first used, so that ``import cosim`` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from cosim.bench.result import BenchResult
    from cosim.bench.testbench import Testbench
    from cosim.devices.base import DeviceModel, Event, Param, Port, State, TwoTerminal, Values
    from cosim.devices.registry import device
    from cosim.engines.registry import open_simulator
    from cosim.engines.simulator import Deck, Limits, Outcome, Result, Simulator
    from cosim.errors import CosimError
    from cosim.fitting.curve import Curve
    from cosim.fitting.extract import extract
    from cosim.fitting.recipe import FitRecipe
    from cosim.fitting.result import FitResult
    from cosim.lab import pulse_experiment
    from cosim.parameters import ParameterSet, Quantity
    from cosim.surrogate.pulse import PulseSurrogate
    from cosim.surrogate.train import train

_WHERE = {
    "BenchResult": "cosim.bench.result",
    "CosimError": "cosim.errors",
    "Curve": "cosim.fitting.curve",
    "Deck": "cosim.engines.simulator",
    "DeviceModel": "cosim.devices.base",
    "Event": "cosim.devices.base",
    "FitRecipe": "cosim.fitting.recipe",
    "FitResult": "cosim.fitting.result",
    "Limits": "cosim.engines.simulator",
    "Outcome": "cosim.engines.simulator",
    "Param": "cosim.devices.base",
    "ParameterSet": "cosim.parameters",
    "Port": "cosim.devices.base",
    "PulseSurrogate": "cosim.surrogate.pulse",
    "Quantity": "cosim.parameters",
    "Result": "cosim.engines.simulator",
    "Simulator": "cosim.engines.simulator",
    "State": "cosim.devices.base",
    "Testbench": "cosim.bench.testbench",
    "TwoTerminal": "cosim.devices.base",
    "Values": "cosim.devices.base",
    "device": "cosim.devices.registry",
    "extract": "cosim.fitting.extract",
    "open_simulator": "cosim.engines.registry",
    "pulse_experiment": "cosim.lab",
    "train": "cosim.surrogate.train",
}
__all__ = [
    "BenchResult",
    "CosimError",
    "Curve",
    "Deck",
    "DeviceModel",
    "Event",
    "FitRecipe",
    "FitResult",
    "Limits",
    "Outcome",
    "Param",
    "ParameterSet",
    "Port",
    "PulseSurrogate",
    "Quantity",
    "Result",
    "Simulator",
    "State",
    "Testbench",
    "TwoTerminal",
    "Values",
    "device",
    "extract",
    "open_simulator",
    "pulse_experiment",
    "train",
]


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        value = getattr(import_module(_WHERE[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'cosim' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
