"""Heat in the stack of a thermal synapse: potential and temperature in 3-D, and their reduction to a circuit.

Source: arXiv 2411.18272, Sec. 7.4, Eqs. 25 and 26, Table 2. ``stack`` says what is where, ``solve`` discretises it with
FiPy's finite volumes and solves it, ``reduced`` has the step response without time steps, ``response`` that of a 3×3
array and its coupling coefficients, ``network`` fits the thermal network that `thermal_reram` and `thermal_link` carry,
and writes it as parameter sets. ``cosim heat`` does all of it.

Needs the extra ``heat`` (FiPy, PyAMG).
"""
