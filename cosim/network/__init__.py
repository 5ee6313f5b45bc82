"""Spiking networks of surrogates: built from parts (`Graph`), run in numpy or compiled (`Simulation`)."""

from cosim.network.crossbar import Crossbar, Ideal
from cosim.network.encoders import Current, CurrentEncoder, Encoder, Poisson, Rate
from cosim.network.event_neurons import EventNeuron, NeuronCheck, check_neurons
from cosim.network.graph import Graph, Population, Projection
from cosim.network.neurons import ALIF, LIF, Leaky, Model, Regular, Softmax, Source, WinnerTakesAll
from cosim.network.rules import Local, Rule
from cosim.network.simulation import Answers, Simulation

__all__ = [
    "ALIF", "LIF", "Answers", "Crossbar", "Current", "CurrentEncoder", "Encoder", "EventNeuron", "Graph", "Ideal",
    "Leaky", "Local", "Model", "NeuronCheck", "Poisson", "Population", "Projection", "Rate", "Regular", "Rule",
    "Simulation", "Softmax", "Source", "WinnerTakesAll", "check_neurons",
]  # fmt: skip
