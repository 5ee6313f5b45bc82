"""Every limit of origin "oracle" of the shipped benches, computed anew: closed forms, scipy, equations typed again.

A module per system. Nothing here runs a simulator, and nothing takes a law from the devices; a module's docstring says
where it takes a number from a set.
"""

from reference.oracles import ecram, loops, quantum_dot, stc, stc_equations, thermal, transistors, vdsp
from reference.oracles.base import Oracle, Table

__all__ = ["ORACLES", "Oracle"]

ORACLES: Table = {
    name: compute
    for module in (ecram, loops, quantum_dot, stc, stc_equations, thermal, transistors, vdsp)
    for name, compute in module.ORACLES.items()
}
