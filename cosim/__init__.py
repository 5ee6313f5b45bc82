"""cosim: SPICE-coupled co-simulation of memristive circuits."""

__version__ = "0.1.0"
