"""Distributions of one parameter around its nominal value, as maps of a standard normal coordinate, and correlation.

Every distribution is given by its inverse function: ``value(nominal, z)`` has the distribution where ``z`` is standard
normal. So pseudo-random, Latin hypercube, Sobol and importance samples all share one map, and correlation is a Gaussian
copula: the coordinates are correlated, the marginal distributions stay as given. The upper tail is computed from the
survival function, so coordinates far out (8 sigma) keep their precision.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Literal

import numpy as np
import pydantic
from numpy.typing import ArrayLike
from pydantic import Field
from scipy import optimize, special

from cosim.devices.base import Array
from cosim.errors import InputError, UnknownName
from cosim.schema import Number, Quantity, Table

FAR = 37.0  # the normal distribution beyond it underflows a double
LEAST_MASS = 1e-9  # bounds that leave less of a distribution are taken for a mistake
LEAST_EIGENVALUE = 1e-10  # of a correlation matrix: below it the Cholesky factor is rounding noise
_OWN = {
    "student-t": ("dof",), "weibull": ("shape",), "beta": ("a", "b"), "empirical": ("values", "quantiles", "are"),
}  # fmt: skip
_BOUNDED = ("uniform", "triangular", "beta")
_POSITIVE = ("lognormal", "gamma", "weibull")


class Spread(Table):
    """The distribution of one parameter around its nominal value.

    ``relative`` (to the nominal value) or ``absolute`` (in the parameter's unit) is the width. What it is, and what
    the nominal value is, depends on ``distribution``:

    * ``normal``: standard deviation; nominal is the mean. ``student-t``: the same, with ``dof`` > 2 degrees of freedom.
    * ``lognormal``, ``gamma``, ``weibull``: standard deviation, relative only; nominal is the mean. A Weibull may have
      its slope as ``shape`` in place of the width.
    * ``uniform``, ``triangular``: half width; nominal is the middle.
    * ``beta``: half width of the support, with the shape parameters ``a`` and ``b``; nominal is the support's middle.
    * ``empirical``: ``values`` that were measured, joined linearly at the plotting positions (k − ½)/n; or values at
      ``quantiles``, joined linearly on normal paper and continued so beyond the outermost. ``are`` says what they are:
      "values" of the parameter itself (the default), "factors" of its nominal value, or "deviations" from it.

    ``clip`` truncates at that many standard deviations of the normal coordinate, for a distribution that is not normal
    at the same quantiles; a bounded one is not clipped. ``clip = inf`` leaves it out, which an estimate beyond 4 sigma
    needs. ``min`` and ``max`` truncate at values, and a device's parameter at its own bounds in any case. Truncation
    renormalises: nothing piles up at a bound.
    """

    relative: Number | None = None
    absolute: Quantity | None = None
    distribution: Literal[
        "normal", "lognormal", "uniform", "triangular", "student-t", "gamma", "weibull", "beta", "empirical"
    ] = "normal"
    clip: float = Field(default=4.0, gt=0)
    min: Quantity | None = None
    max: Quantity | None = None
    dof: float | None = Field(default=None, gt=2, allow_inf_nan=False)
    shape: float | None = Field(default=None, gt=0.1, lt=1e3)
    a: float | None = Field(default=None, gt=0, lt=1e6)
    b: float | None = Field(default=None, gt=0, lt=1e6)
    values: tuple[Quantity, ...] | None = None
    quantiles: tuple[float, ...] | None = None
    are: Literal["values", "factors", "deviations"] | None = None

    @pydantic.model_validator(mode="after")
    def _own_keys(self) -> Spread:
        name = self.distribution
        for owner, keys in _OWN.items():
            for key in keys:
                if name != owner and getattr(self, key) is not None:
                    raise InputError(
                        f"{key} belongs to a spread that is {owner}, not {name}", remedy=f"leave {key} out"
                    )
        missing = [
            key for key in {"student-t": ("dof",), "beta": ("a", "b")}.get(name, ()) if getattr(self, key) is None
        ]
        if missing:
            raise InputError(f"a {name} spread lacks {missing[0]}", remedy=f"e.g. {missing[0]} = 5")
        if self.min is not None and self.max is not None and not self.min.value < self.max.value:
            raise InputError("min is not below max in a spread", remedy="swap them")
        return self

    @pydantic.model_validator(mode="after")
    def _width(self) -> Spread:
        given = [key for key in ("relative", "absolute", "shape") if getattr(self, key) is not None]
        if self.distribution == "empirical":
            if given:
                raise InputError(f"an empirical spread has no {given[0]} width", remedy="its values are its width")
            return self._check_values()
        if self.distribution in _POSITIVE and self.absolute is not None:
            raise InputError(
                f"a {self.distribution} spread is relative",
                remedy=f'e.g. {{ relative = "20 %", distribution = "{self.distribution}" }}',
            )
        if len(given) != 1:
            raise InputError("a spread is either relative or absolute", remedy='e.g. { relative = "5 %" }')
        width = self.absolute.value if self.absolute is not None else self.relative
        if width is not None and not width > 0.0:
            raise InputError(f"a spread of {width:g} is not above zero", remedy="give a positive one")
        if self.distribution == "weibull" and self.relative is not None:
            weibull_shape(self.relative)
        return self

    def _check_values(self) -> Spread:
        values = [entry.value for entry in self.values or ()]
        if len(values) < 2 or min(values) == max(values):
            raise InputError("an empirical spread needs two different values", remedy="values = [...]")
        if self.quantiles is None:
            return self
        if len(self.quantiles) != len(values):
            raise InputError(f"{len(self.quantiles)} quantiles for {len(values)} values", remedy="give one per value")
        if not all(0.0 < q < 1.0 for q in self.quantiles):
            raise InputError("a quantile is not between 0 and 1", remedy="give shares such as 0.05, 0.5, 0.95")
        if np.any(np.diff(self.quantiles) <= 0.0) or np.any(np.diff(values) < 0.0):
            raise InputError("quantiles and their values have to rise", remedy="sort them")
        return self

    def value(self, nominal: float, z: ArrayLike) -> Array:
        """The parameter (SI) at standard normal coordinates ``z`` of any shape; a number for a number.

        Raises `InputError` where a relative spread has a nominal value of 0, or the bounds exclude everything.
        """
        clip = math.inf if self.distribution in _BOUNDED or self._measured else self.clip
        low, high = -clip, clip
        if self.min is not None or self.max is not None:
            low, high = _window(self, nominal)
        at = _truncated(np.asarray(z, dtype=float), low, high)
        values = _MAPS[self.distribution](self, nominal, at)
        if self.min is not None or self.max is not None:
            lower, upper = self._bounds
            values = np.clip(values, lower, upper)  # by a rounding at most
        return values

    def draw(self, nominal: float, rng: np.random.Generator) -> float:
        """One value around ``nominal`` (SI)."""
        return float(self.value(nominal, rng.standard_normal()))

    def unclipped(self) -> Spread:
        """The same spread without ``clip``: what an estimate of rare failures is to be made with."""
        return self.model_copy(update={"clip": math.inf})

    def within(self, nominal: float, low: float, high: float) -> Spread:
        """The same spread, truncated at ``low`` and ``high`` (SI) as well; itself where it does not reach them."""
        with np.errstate(over="ignore"):
            ends = self.value(nominal, np.array([-FAR, FAR]))
        if low <= np.min(ends) and np.max(ends) <= high:
            return self
        lower, upper = self._bounds
        changed = {"min": (max(lower, low), lower), "max": (min(upper, high), upper)}
        update = {key: Quantity(value=new) for key, (new, old) in changed.items() if new != old}
        return self.model_copy(update=update)

    def width(self, nominal: float) -> float:
        """The width (SI) around ``nominal``."""
        if self.absolute is not None:
            return self.absolute.value
        if nominal == 0.0:
            raise InputError("a spread relative to a value of 0 has no width", remedy="give it as absolute")
        return (self.relative or 0.0) * abs(nominal)

    @property
    def _measured(self) -> bool:
        return self.distribution == "empirical" and self.quantiles is None

    @property
    def _bounds(self) -> tuple[float, float]:
        return (
            -math.inf if self.min is None else self.min.value,
            math.inf if self.max is None else self.max.value,
        )


def _normal(spread: Spread, nominal: float, z: Array) -> Array:
    return nominal + spread.width(nominal) * z


def _lognormal(spread: Spread, nominal: float, z: Array) -> Array:
    spread.width(nominal)
    variance = math.log1p((spread.relative or 0.0) ** 2)
    return nominal * np.exp(math.sqrt(variance) * z - 0.5 * variance)


def _uniform(spread: Spread, nominal: float, z: Array) -> Array:
    return nominal + spread.width(nominal) * special.erf(z / math.sqrt(2.0))


def _triangular(spread: Spread, nominal: float, z: Array) -> Array:
    return nominal + spread.width(nominal) * np.sign(z) * (1.0 - np.sqrt(2.0 * special.ndtr(-np.abs(z))))


def _student(spread: Spread, nominal: float, z: Array) -> Array:
    dof = spread.dof or math.inf
    scale = spread.width(nominal) * math.sqrt((dof - 2.0) / dof)
    far = -special.stdtrit(dof, special.ndtr(-np.abs(z)))
    # near the median stdtrit has an error of 1e-8: there from the incomplete beta function of the share within ±t
    within = special.betaincinv(0.5, 0.5 * dof, special.erf(np.minimum(np.abs(z), 1.0) / math.sqrt(2.0)))
    near = np.sqrt(dof * within / (1.0 - within))
    return nominal + scale * np.sign(z) * np.where(np.abs(z) < 1.0, near, far)


def _gamma(spread: Spread, nominal: float, z: Array) -> Array:
    spread.width(nominal)
    k = (spread.relative or 0.0) ** -2
    tail = special.ndtr(-np.abs(z))
    return nominal / k * np.where(z < 0.0, special.gammaincinv(k, tail), special.gammainccinv(k, tail))


def _weibull(spread: Spread, nominal: float, z: Array) -> Array:
    if nominal == 0.0:
        spread.width(nominal)
    shape = spread.shape if spread.shape is not None else weibull_shape(spread.relative or 0.0)
    return nominal * np.exp(np.log(-special.log_ndtr(-z)) / shape - special.gammaln(1.0 + 1.0 / shape))


def _beta(spread: Spread, nominal: float, z: Array) -> Array:
    a, b = spread.a or 1.0, spread.b or 1.0
    tail = special.ndtr(-np.abs(z))
    share = np.where(z < 0.0, special.betaincinv(a, b, tail), special.betainccinv(a, b, tail))
    return nominal + spread.width(nominal) * (2.0 * share - 1.0)


def _empirical(spread: Spread, nominal: float, z: Array) -> Array:
    at, values = _points(spread)
    if spread.quantiles is None:
        found = np.interp(special.ndtr(z), at, values)
    else:
        piece = np.clip(np.searchsorted(at, z) - 1, 0, at.size - 2)
        slope = np.diff(values) / np.diff(at)
        found = values[piece] + slope[piece] * (z - at[piece])
    if spread.are == "factors":
        return nominal * found
    return nominal + found if spread.are == "deviations" else found


@lru_cache(maxsize=256)
def _points(spread: Spread) -> tuple[Array, Array]:
    """Where an empirical distribution is known, and its values there: probabilities, or normal coordinates."""
    values = np.array([entry.value for entry in spread.values or ()])
    if spread.quantiles is None:
        return (np.arange(values.size) + 0.5) / values.size, np.sort(values)
    return special.ndtri(np.array(spread.quantiles)), values


_MAPS: Mapping[str, Callable[[Spread, float, Array], Array]] = {
    "normal": _normal, "lognormal": _lognormal, "uniform": _uniform, "triangular": _triangular, "student-t": _student,
    "gamma": _gamma, "weibull": _weibull, "beta": _beta, "empirical": _empirical,
}  # fmt: skip


@lru_cache(maxsize=256)
def weibull_shape(relative: float) -> float:
    """The slope of a Weibull distribution whose standard deviation is ``relative`` times its mean."""

    def excess(shape: float) -> float:
        log_ratio = special.gammaln(1.0 + 2.0 / shape) - 2.0 * special.gammaln(1.0 + 1.0 / shape)
        return float(0.5 * math.log(math.expm1(log_ratio)) - math.log(relative))

    ends = (0.2, 1e4)
    if not excess(ends[0]) > 0.0 > excess(ends[1]):
        raise InputError(f"a Weibull spread of {relative:g} is impossible", remedy="give one from 0.001 to 15")
    return optimize.brentq(excess, *ends, xtol=1e-13, rtol=1e-13)


def _truncated(z: Array, low: float, high: float) -> Array:
    """A coordinate of the normal distribution truncated to ``low`` .. ``high`` that has the rank of ``z``."""
    if low <= -FAR and high >= FAR:
        return z
    below, above = special.ndtr(low), special.ndtr(-high)
    mass = special.ndtr(-low) - above if low > 0.0 else special.ndtr(high) - below
    lower, upper = below + mass * special.ndtr(z), above + mass * special.ndtr(-z)
    return np.where(lower < upper, special.ndtri(lower), -special.ndtri(upper))


@lru_cache(maxsize=4096)
def _window(spread: Spread, nominal: float) -> tuple[float, float]:
    """The normal coordinates between which ``spread`` keeps its clip and bounds."""
    clip = FAR if spread.distribution in _BOUNDED or spread._measured else min(spread.clip, FAR)
    lower, upper = spread._bounds

    def at(z: float) -> float:
        with np.errstate(over="ignore"):
            return float(_MAPS[spread.distribution](spread, nominal, np.asarray(z)))

    rising = at(clip) >= at(-clip)  # a negative value times a lognormal factor falls

    def edge(bound: float, *, from_below: bool) -> float:
        """Where the map crosses ``bound``, by bisection: the first coordinate that keeps it, or the last."""
        above = from_below == rising

        def keeps(z: float) -> bool:
            return at(z) >= bound if above else at(z) <= bound

        inside, outside = (clip, -clip) if from_below else (-clip, clip)
        if keeps(outside):
            return outside
        if not keeps(inside):
            return inside
        for _ in range(64):
            middle = 0.5 * (inside + outside)
            inside, outside = (middle, outside) if keeps(middle) else (inside, middle)
        return inside

    first, last = (lower, upper) if rising else (upper, lower)
    low, high = edge(first, from_below=True), edge(last, from_below=False)
    mass = special.ndtr(high) - special.ndtr(low)
    if not mass > LEAST_MASS:
        raise InputError(
            f"the bounds of a spread leave nothing of its distribution around {nominal:g}", remedy="widen min and max"
        )
    return low, high


class Correlation(Table):
    """Parameters whose normal coordinates are correlated, each pair with ``rho`` (a Gaussian copula).

    For parameters with normal spreads ``rho`` is their correlation; otherwise it is near their rank correlation.

    Args:
        of: addresses of two or more variables.
        rho: correlation of their standard normal coordinates, each with each.
    """

    of: tuple[str, ...]
    rho: Number

    @pydantic.model_validator(mode="after")
    def _possible(self) -> Correlation:
        n = len(self.of)
        if n < 2 or len(set(self.of)) < n:
            raise InputError("a correlation needs two or more different parameters", remedy="of = [..., ...]")
        lowest = -1.0 / (n - 1)
        if not lowest < self.rho < 1.0:
            raise InputError(
                f"rho = {self.rho:g} is impossible between each two of {n} parameters ({', '.join(self.of)})",
                remedy=f"it has to lie between {lowest:.4g} and 1, both excluded",
            )
        return self


def correlation_matrix(names: Sequence[str], correlations: Sequence[Correlation]) -> Array:
    """The correlation matrix (n, n) of the coordinates ``names``.

    Raises `UnknownName` for a correlation of something that does not vary, and `InputError`, which names the group,
    where a pair is given twice or the matrix is not positive definite.
    """
    index = {name: k for k, name in enumerate(names)}
    matrix = np.eye(len(names))
    group = np.arange(len(names))  # which coordinates are connected
    for entry in correlations:
        for name in entry.of:
            if name not in index:
                raise UnknownName("correlated parameter (it does not vary)", name, names)
        at = [index[name] for name in entry.of]
        for i in at:
            for j in at:
                if i == j:
                    continue
                if matrix[i, j] not in (0.0, entry.rho):
                    raise InputError(
                        f"the correlation of {names[i]} and {names[j]} is given as {matrix[i, j]:g} and {entry.rho:g}",
                        remedy="give it once",
                    )
                matrix[i, j] = entry.rho
        group[np.isin(group, group[at])] = group[at[0]]
    for label in np.unique(group):
        members = np.flatnonzero(group == label)
        if np.linalg.eigvalsh(matrix[np.ix_(members, members)])[0] < LEAST_EIGENVALUE:
            who = ", ".join(names[int(k)] for k in members)
            raise InputError(
                f"the correlations between {who} contradict each other (their matrix is not positive definite)",
                remedy="lower them, or give the missing pairs",
            )
    return matrix


def correlate(z: Array, names: Sequence[str], correlations: Sequence[Correlation]) -> Array:
    """Independent standard normal coordinates ``z`` (..., n) as correlated ones; the first of a group stays itself."""
    if not correlations:
        return z
    factor = _factor(tuple(names), tuple(correlations))
    return np.asarray(z @ factor.T, dtype=float)


@lru_cache(maxsize=64)
def _factor(names: tuple[str, ...], correlations: tuple[Correlation, ...]) -> Array:
    factor = np.asarray(np.linalg.cholesky(correlation_matrix(names, correlations)), dtype=float)
    factor.setflags(write=False)
    return factor
