"""The only place where lmfit is called: named parameters within bounds, a residual, and what comes out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import copy
from functools import cache
from typing import Any

import lmfit
import numpy as np

from cosim.devices.base import Array, Values

UNBOUNDED = (-np.inf, np.inf)


class _Plain(lmfit.Parameters):  # type: ignore[misc]
    """Parameters without constraints: copies share one interpreter, the making of which takes longer than a fit.

    Nor are their names, all identifiers, parsed again for each copy.
    """

    def __init__(self) -> None:
        dict.__init__(self)
        self._asteval = _interpreter()

    def __setitem__(self, name: str, entry: lmfit.Parameter) -> None:
        dict.__setitem__(self, name, entry)
        entry._expr_eval = self._asteval

    def __deepcopy__(self, memo: dict[int, Any]) -> _Plain:
        made = _Plain()
        for name, entry in self.items():
            made[name] = copied = copy(entry)
            copied.correl = dict(entry.correl) if entry.correl else entry.correl
        return made


@cache
def _interpreter() -> Any:
    return lmfit.Parameters()._asteval


def minimise(
    residual: Callable[[Values], Array | float],
    start: Mapping[str, float],
    *,
    bounds: Mapping[str, tuple[float, float]] | None = None,
    jacobian: Callable[[Values], Array] | None = None,
    evaluations: int | None = None,
    method: str = "leastsq",
    **options: Any,
) -> Any:
    """The least squares of ``residual`` (n,) from ``start``.

    Args:
        residual: of the parameters, weighted; for emcee the logarithm of a density.
        start: value of each parameter that varies.
        bounds: lower and upper, by parameter; default: none.
        jacobian: derivatives of the residual as the method wants them; default: by differences.
        evaluations: the most that are allowed.
        method: of lmfit.
        options: of the method.

    Returns:
        lmfit's result; `estimates` are its values with their standard errors.
    """
    parameters = _Plain()
    # lmfit takes identifiers only: "theta[A1]" gets another name there.
    names = {name if name.isidentifier() else f"x{k}_": name for k, name in enumerate(start)}
    for label, name in names.items():
        low, high = (bounds or {}).get(name, UNBOUNDED)
        parameters.add(label, value=float(start[name]), min=low, max=high)

    def point(current: Any) -> Values:
        return Values({names[label]: value for label, value in current.valuesdict().items()})

    if jacobian is not None:
        given = jacobian
        options["Dfun"] = lambda current: given(point(current))
    # A step to where a model is not finite is taken back by a trust region; leastsq ends there.
    policy = "propagate" if method == "least_squares" else "raise"
    minimiser = lmfit.Minimizer(
        lambda current: residual(point(current)), parameters, max_nfev=evaluations, nan_policy=policy
    )
    return minimiser.minimize(method=method, **options)


def estimates(found: Any, scale: Mapping[str, float] | None = None) -> dict[str, tuple[float, float | None]]:
    """Value and standard error (None where it could not be estimated) of each parameter, times its ``scale``."""
    by = scale or {}
    return {
        name: (
            float(entry.value) * by.get(name, 1.0),
            None if entry.stderr is None else float(entry.stderr) * by.get(name, 1.0),
        )
        for name, entry in found.params.items()
    }
