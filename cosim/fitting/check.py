"""From a minimum to the tests on its residuals: which rows repeat each other, and what a fit without the law leaves."""

from __future__ import annotations

import numpy as np

from cosim.devices.base import Array, Values
from cosim.fitting.curve import Curve
from cosim.fitting.problem import Problem
from cosim.fitting.process import FilteredTrain, without_law
from cosim.fitting.residuals import Index, ResidualCheck, check_residuals, orders

# A prediction that moves by less of its range has not moved.
SAME = 1e-9


def check_fit(problem: Problem, p: Values, curve: Curve, *, noise_known: bool) -> ResidualCheck:
    """The tests on the residuals at ``p``; clipped rows take no part."""
    seen, sigma = problem.seen, problem.sigma
    predicted, derivatives = problem.forward.linearise(p, problem.names)
    repeated = _repeated(curve, predicted)
    if isinstance(problem.forward, FilteredTrain):
        repeated = None  # each prediction uses the read before it
    return check_residuals(
        ((predicted - problem.measured) / sigma)[seen],
        (derivatives / sigma)[:, seen],
        orders=tuple(order.of(seen) for order in orders(curve)),
        measured=(problem.measured / sigma)[seen],
        null=_without_law(problem, curve),
        repeated=None if repeated is None else repeated[seen],
        noise_known=noise_known,
    )


def _repeated(curve: Curve, predicted: Array) -> Index | None:
    """A number for each row, the same where rows repeat each other; None where that is not known."""
    if curve.kind == "i-v":
        return np.unique(curve["voltage"], return_inverse=True)[1].astype(np.int64)
    if curve.kind == "pulse train":
        moved = np.abs(np.diff(predicted)) > SAME * max(float(np.ptp(predicted)), 1e-300)
        return np.concatenate([[0], np.cumsum(moved)]).astype(np.int64)
    return None


def _without_law(problem: Problem, curve: Curve) -> Array:
    """Residuals, over sigma, of the best fit without the law: a constant, the last reads, or a ramp's first read."""
    seen, y = problem.seen, problem.measured
    sigma = problem.sigma[seen]
    if isinstance(problem.forward, FilteredTrain):
        return np.asarray(without_law(problem.forward, y)[seen] / sigma)
    found = [y[seen] - np.average(y[seen], weights=sigma**-2)]
    if curve.kind == "equal pulses":
        ramp = np.unique(curve["ramp"], return_inverse=True)[1]
        order = np.lexsort((curve["pulse"], ramp))
        first = order[np.unique(ramp[order], return_index=True)[1]]
        found.append((y - y[first][ramp])[seen])
    return np.asarray(min((residual / sigma for residual in found), key=lambda z: float(z @ z)))
