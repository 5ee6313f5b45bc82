"""Spiking networks of surrogates: built from parts (`Graph`), run in numpy or compiled (`Simulation`).

A part is imported when it is first asked for: networks without surrogates load nothing of surrogates.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cosim.network.crossbar import Crossbar, Ideal
    from cosim.network.encoders import Current, CurrentEncoder, Encoder, Poisson, Rate
    from cosim.network.event_neurons import EventNeuron, NeuronCheck, check_neurons
    from cosim.network.graph import Graph, Population, Projection
    from cosim.network.neurons import ALIF, LIF, Leaky, Model, Regular, Softmax, Source, WinnerTakesAll
    from cosim.network.rules import Local, Rule
    from cosim.network.simulation import Answers, Simulation

_PARTS = {
    "crossbar": ("Crossbar", "Ideal"),
    "encoders": ("Current", "CurrentEncoder", "Encoder", "Poisson", "Rate"),
    "event_neurons": ("EventNeuron", "NeuronCheck", "check_neurons"),
    "graph": ("Graph", "Population", "Projection"),
    "neurons": ("ALIF", "LIF", "Leaky", "Model", "Regular", "Softmax", "Source", "WinnerTakesAll"),
    "rules": ("Local", "Rule"),
    "simulation": ("Answers", "Simulation"),
}
_WHERE = {name: module for module, names in _PARTS.items() for name in names}

__all__ = [
    "ALIF", "LIF", "Answers", "Crossbar", "Current", "CurrentEncoder", "Encoder", "EventNeuron", "Graph", "Ideal",
    "Leaky", "Local", "Model", "NeuronCheck", "Poisson", "Population", "Projection", "Rate", "Regular", "Rule",
    "Simulation", "Softmax", "Source", "WinnerTakesAll", "check_neurons",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        value = getattr(import_module(f"cosim.network.{_WHERE[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'cosim.network' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
