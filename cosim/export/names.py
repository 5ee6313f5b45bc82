"""The targets of exports by name. One is listed once its export was imported in it, as `./run measure exports` does."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

TARGETS: Mapping[str, str] = MappingProxyType(
    {
        "spice": "a subcircuit of B-sources that takes an event at each edge of its trigger",
        "verilog-a": "a Verilog-A module that takes an event at each edge of its trigger",
        "aihwkit": "a PiecewiseStepDevice: the steps of one pulse up and of one down over the weight",
        "brian2": "synapses of Brian2 that take an event at each spike, checked with its code target numpy",
        "crosssim": "a device class of CrossSim 3: what programming by pulses of one size leaves",
        "crosssim2": "CrossSim 2's tables of dG over G: what one pulse up and one down do",
        "neurosim": "a RealDevice of MLP+NeuroSim: its parameters, fitted to one pulse up and one down",
        "nest": "the facilitation of an ECRAM as a tsodyks2_synapse",
        "nir": "a filter as a leaky integrator, checked with sinabs",
        "torch": "a PyTorch module with gradients, for training with the device in the loop",
        "numpy": "a file of Python that needs numpy alone, with its parameters (.npz)",
    }
)
