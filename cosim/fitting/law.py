"""Any law that is a Python function of its parameters, fitted as a device is: `fit_law`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike
from pydantic import PrivateAttr

from cosim.data.recording import Recording
from cosim.devices.base import Array, Param
from cosim.errors import DataError, InputError
from cosim.fitting.extract import extract
from cosim.fitting.forward import THE_CALLER
from cosim.fitting.forwards.lawful import LawForward
from cosim.fitting.methods import LEAST_SQUARES, Method
from cosim.fitting.priors import PriorSpec
from cosim.fitting.problem import Progress
from cosim.fitting.recipe import FitRecipe
from cosim.fitting.recipe_tables import NoiseSpec
from cosim.fitting.result import FitResult

Law = Callable[..., ArrayLike]


class _Sigma(NoiseSpec):
    """A standard deviation for each row."""

    _rows: Array = PrivateAttr()

    def per_point(self, curve: Recording, predicted: Array | None = None) -> Array:
        """They themselves; (n,)."""
        return self._rows


def fit_law(
    law: Law,
    x: ArrayLike | Mapping[str, ArrayLike],
    y: ArrayLike,
    *,
    start: Mapping[str, float],
    bounds: Mapping[str, tuple[float, float]] | None = None,
    vary: Sequence[str] | None = None,
    sigma: ArrayLike | None = None,
    priors: Mapping[str, PriorSpec] | None = None,
    method: Method = LEAST_SQUARES,
    profile: bool = False,
    name: str = "law",
    progress: Progress | None = None,
) -> FitResult:
    """Fit any law to values, with the search, the intervals and the verdict of a device's `extract`; every row counts.

    Args:
        law: called as ``law(x, **parameters)``; gives (n,) values. Its derivatives are differences.
        x: what it is called with: (n,) numbers, or whatever it takes.
        y: (n,) measured values.
        start: of each parameter, by the name that ``law`` takes it by.
        bounds: lower and upper, by parameter; default: none.
        vary: the parameters that the fit may change; default: all.
        sigma: standard deviation of y, one or (n,), by which the rows are weighted; default: estimated from the
            residuals.
        priors: what is known of parameters beforehand, each counted as an observation.
        method: as in a recipe (`cosim.fitting.explore`).
        profile: 95 % intervals from the profile likelihood throughout.
        name: of the result.
        progress: called with the number of evaluations and chi-square.

    Raises:
        InputError, DataError: values that cannot be fitted; FitError: no minimum was found.

    >>> import numpy as np
    >>> t = np.linspace(0.0, 5.0, 40)
    >>> y = 2.0 * np.exp(-t / 1.5) + 0.01 * np.random.default_rng(0).standard_normal(40)
    >>> fit = cosim.fit_law(lambda t, a, tau: a * np.exp(-t / tau), t, y, start={"a": 1.0, "tau": 0.5})
    >>> round(fit.values.a, 1), round(fit.values.tau, 1), fit.verdict.trustworthy
    (2.0, 1.5, True)
    """
    measured = np.asarray(y, dtype=float)
    if measured.ndim != 1:
        raise DataError(f"the measured values have shape {measured.shape}", remedy="give them in one row")
    n = measured.size
    given = x if isinstance(x, Mapping) else np.asarray(x)
    plain = isinstance(given, np.ndarray) and given.shape == (n,) and given.dtype.kind in "iuf"
    places = np.asarray(given, dtype=float) if plain else np.arange(float(n))
    curve = Recording("values", {"at": places, "value": measured}, {"at": "1", "value": "1"}, source=name)
    unknown = sorted({*(bounds or {}), *(priors or {}), *(vary or ())} - start.keys())
    if unknown:
        raise InputError(f"{unknown[0]} has no start", remedy="give one for each parameter")
    ends = {key: (bounds or {}).get(key, (-np.inf, np.inf)) for key in start}
    for key, value in start.items():
        if not ends[key][0] <= value <= ends[key][1]:
            raise InputError(
                f"the start of {key}, {value:g}, is outside its bounds {ends[key][0]:g}..{ends[key][1]:g}",
                remedy="move the start or the bounds",
            )
    params = [Param(key, float(value), "1", ends[key], f"of {name}", THE_CALLER) for key, value in start.items()]
    noise = NoiseSpec(outliers="keep")  # the caller chose the rows
    if sigma is not None:
        rows = np.broadcast_to(np.asarray(sigma, dtype=float), (n,)).copy()
        if not np.all(rows > 0.0):
            raise InputError("a standard deviation is not above zero", remedy="leave out what has none")
        noise = _Sigma(outliers="keep")
        noise._rows = rows
    fit = {"vary": tuple(vary or start), "priors": dict(priors or {}), "method": method}
    recipe = FitRecipe.model_validate({"name": name, "data": {"kind": "values"}, "fit": fit, "noise": noise})
    at = places if plain else given
    recipe._law = lambda _: LawForward(lambda p: law(at, **{key: p[key] for key in start}), size=n, params=params)
    return extract(recipe, curve, profile=profile, progress=progress)
