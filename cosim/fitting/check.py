"""From a minimum to the tests on its residuals: which rows repeat each other, and what a fit without the law leaves."""

from __future__ import annotations

import numpy as np

from cosim.data.recording import Curve
from cosim.devices.base import Array, Values
from cosim.fitting.problem import Problem
from cosim.fitting.process import FilteredTrain, without_law
from cosim.fitting.residuals import ResidualCheck, check_residuals, orders


def check_fit(problem: Problem, p: Values, curve: Curve, *, noise_known: bool) -> ResidualCheck:
    """The tests on the residuals at ``p``; clipped rows take no part."""
    seen, sigma = problem.seen, problem.sigma
    predicted, derivatives = problem.forward.linearise(p, problem.names)
    # Repeated rows scatter less than others where neighbours are alike.
    repeated = problem.forward.repeated(predicted) if problem.whiten is None else None
    return check_residuals(
        problem.independent(((predicted - problem.measured) / sigma)[seen]),
        problem.independent((derivatives / sigma)[:, seen]),
        orders=tuple(order.of(seen) for order in orders(curve)),
        measured=(problem.measured / sigma)[seen],
        null=problem.independent(_without_law(problem, curve)),
        repeated=None if repeated is None else repeated[seen],
        noise_known=noise_known,
    )


def _without_law(problem: Problem, curve: Curve) -> Array:
    """Residuals, over sigma, of the best fit without the law: a constant, the last reads, or a ramp's first read.

    A law that is a constant itself is held against zero.
    """
    seen, y = problem.seen, problem.measured
    sigma = problem.sigma[seen]
    if isinstance(problem.forward, FilteredTrain):
        return np.asarray(without_law(problem.forward, y)[seen] / sigma)
    if problem.forward.level:
        return np.asarray(y[seen] / sigma)
    found = [y[seen] - np.average(y[seen], weights=sigma**-2)]
    if curve.kind == "equal pulses":
        ramp = np.unique(curve["ramp"], return_inverse=True)[1]
        order = np.lexsort((curve["pulse"], ramp))
        first = order[np.unique(ramp[order], return_index=True)[1]]
        found.append((y - y[first][ramp])[seen])
    return np.asarray(min((residual / sigma for residual in found), key=lambda z: float(z @ z)))
