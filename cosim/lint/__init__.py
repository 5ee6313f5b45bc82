"""Linting of models that someone else wrote: what breaks in OpenVAF or ngspice, and how to repair it."""
