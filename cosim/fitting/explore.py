"""By which method a minimum is looked for: least squares from several starts, or any other, from which they go on.

Whatever method is named, the fit ends with the trust region of `Problem.minimise`: only a minimum that its criteria
accept has standard errors, and a method that does not reach one is no worse than a start. Global methods search within
the bounds; where these are farther away, within a factor of 10⁴ of the start of what spans decades, and within 30 times
its size of anything else (our choice). All of them are lmfit's, but ``cma`` (the package of that name): the covariance
matrix adaptation evolution strategy of Hansen & Ostermeier, Evolutionary Computation 9, 159 (2001).
"""

from __future__ import annotations

import importlib.util
import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from cosim.devices.base import Array, Values
from cosim.errors import FitError, InputError
from cosim.fitting.coordinates import Coordinates
from cosim.fitting.methods import Method
from cosim.fitting.minimise import minimise
from cosim.fitting.problem import Problem

# How far from the start the box of a global search may reach: a factor, and multiples of a size.
FACTOR, MULTIPLE = 1e4, 30.0
SEED = 0
# Of a method's own settings (our choice): enough for some ten parameters.
EVALUATIONS = 20_000
OPTIONS: dict[str, dict[str, Any]] = {
    "differential_evolution": {"seed": SEED, "polish": False, "tol": 1e-6, "popsize": 15},
    "basinhopping": {"seed": SEED, "niter": 30},
    "dual_annealing": {"seed": SEED, "maxiter": 200},
    "shgo": {"n": 128, "sampling_method": "sobol"},
    "ampgo": {"totaliter": 5, "maxfunevals": 1000},
}


def explore(problem: Problem, start: Values, method: Method) -> tuple[Values, int]:
    """The best place that a method reaches from ``start``, and its evaluations of the model.

    Raises `FitError` where the model gives no finite number, `InputError` for a package that is missing.
    """
    frame = problem.coordinates(start)
    low, high = _box(problem, start, frame)
    begin = np.clip(_z(problem, start, frame), low, high)
    best, lowest, count = start, problem.chi_square(start), 0

    def place(z: Array) -> Values:
        return start.with_(**dict(zip(problem.names, frame.x(z), strict=True)))

    def note(p: Values, height: float) -> None:
        nonlocal best, lowest
        if height < lowest:
            best, lowest = p, height

    if method == "cma":
        count = _cma(problem, begin, low, high, place=place, note=note)
        return best, count

    def residual(current: Values) -> Array:
        nonlocal count
        count += 1
        p = place(np.array([current[name] for name in problem.names], dtype=float))
        found = problem.residual(p)
        if not np.all(np.isfinite(found)):
            # These methods compare heights only: a wall keeps them where the model has values.
            return np.full(found.size, 1e150 / math.sqrt(found.size))
        note(p, float(found @ found))
        return found

    box = {name: (float(a), float(b)) for name, a, b in zip(problem.names, low, high, strict=True)}
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # of methods that give up: the least squares that follow judge the place
        try:
            first = dict(zip(problem.names, begin.tolist(), strict=True))
            options = OPTIONS.get(method, {})
            with _seeded():
                minimise(residual, first, bounds=box, evaluations=EVALUATIONS, method=method, **options)
        except ValueError as error:
            if not math.isfinite(lowest):
                raise FitError(f"{method} finds no place with a finite number: {error}") from None
    if not math.isfinite(lowest):
        raise FitError(
            f"{method} finds no place where the model gives finite numbers",
            remedy="narrow the bounds or start closer",
        )
    return best, count


@contextmanager
def _seeded() -> Iterator[None]:
    """numpy's global generator, from which ampgo draws and for which it takes no seed, seeded and put back."""
    before = np.random.get_state()  # noqa: NPY002
    np.random.seed(SEED)  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(before)  # noqa: NPY002


def _z(problem: Problem, p: Values, frame: Coordinates) -> Array:
    return frame.z(np.array([p[name] for name in problem.names], dtype=float))


def _box(problem: Problem, start: Values, frame: Coordinates) -> tuple[Array, Array]:
    """Finite bounds of the search in its coordinates."""
    low, high = (edge.copy() for edge in frame.box)
    centre = _z(problem, start, frame)
    reach = np.where(frame.sign != 0.0, math.log(FACTOR), MULTIPLE)
    return np.maximum(low, centre - reach), np.minimum(high, centre + reach)


def _cma(
    problem: Problem,
    begin: Array,
    low: Array,
    high: Array,
    *,
    place: Callable[[Array], Values],
    note: Callable[[Values, float], None],
) -> int:
    """Evaluations; in units of a quarter of the box. Each generation is evaluated in one call."""
    if importlib.util.find_spec("cma") is None:
        raise InputError("method cma needs the package cma", remedy="pip install 'cosim-spice[global]'")
    import cma

    width = np.where(high > low, high - low, 1.0)
    options = {"bounds": [0.0, 1.0], "seed": SEED + 1, "verbose": -9, "maxfevals": EVALUATIONS, "tolfun": 1e-9}
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        strategy = cma.CMAEvolutionStrategy(((begin - low) / width).tolist(), 0.25, options)
        count = 0
        while not strategy.stop():
            asked = strategy.ask()
            places = [place(low + np.asarray(share) * width) for share in asked]
            heights = [height if math.isfinite(height) else 1e300 for height in problem.chi_squares(places)]
            count += len(places)
            for p, height in zip(places, heights, strict=True):
                note(p, height)
            strategy.tell(asked, heights)
    return count
