"""The methods by which a fit may look for a minimum: lmfit's, and ``cma`` (`cosim.fitting.explore`).

``nearest`` takes the minimum that least squares reach from the start, and looks for no other.
"""

from __future__ import annotations

from typing import Literal

Method = Literal[
    "least_squares", "nearest", "differential_evolution", "basinhopping", "dual_annealing", "shgo", "ampgo", "cma",
    "leastsq", "nelder", "powell", "lbfgsb", "bfgs", "cg", "cobyla", "tnc", "slsqp", "trust-constr",
]  # fmt: skip
LEAST_SQUARES: Method = "least_squares"
NEAREST: Method = "nearest"
