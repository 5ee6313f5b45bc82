"""Which noise a curve has, found from what a fit leaves: independent or correlated reads, varying steps, outliers.

The first fit takes the noise of each row for its own. Where its residuals are not noise, the models of `correlated` and
`process` are tried; one that leaves nothing but noise is kept, of several the one under which the curve is more likely
(each has one parameter more than independent noise). What the recipe states is taken as stated; what it does not
mention is an assumption, and the verdict says so. Outliers are looked for under every model (`outliers`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from cosim.data.kinds import KINDS
from cosim.data.recording import Curve
from cosim.devices.base import Array, Values
from cosim.errors import FitError, InputError, at
from cosim.fitting import correlated, outliers
from cosim.fitting.check import check_fit
from cosim.fitting.correlated import Whitening
from cosim.fitting.forward import Rows
from cosim.fitting.forwards.pulse_train import PulseTrainForward
from cosim.fitting.identify import SMALL
from cosim.fitting.problem import TURNS, Minimum, Problem
from cosim.fitting.process import TrainNoise, fit_train
from cosim.fitting.recipe_tables import NoiseSpec
from cosim.fitting.residuals import SUSPICIOUS, Order, ResidualCheck, check_residuals, orders
from cosim.fitting.uncertainty import leverage

# Shapiro–Wilk's chance from which correlated noise is taken without trying varying steps, which take longer.
NORMAL = 0.05


@dataclass(frozen=True)
class Found:
    """A minimum with the check of its residuals, and what noise it supposes.

    Args:
        minimum, problem: what was fitted.
        check: of its residuals.
        noise_known: whether the noise was stated.
        spread: where the steps of a pulse train vary.
        left: (n,) the outliers, which were not fitted.
        assumed: what was supposed of the noise and the recipe does not say.
    """

    minimum: Minimum
    problem: Problem
    check: ResidualCheck
    noise_known: bool
    left: Rows
    spread: TrainNoise | None = None
    assumed: str = ""

    @property
    def scale(self) -> float:
        """What the problem's sigma has to be multiplied with to be the noise."""
        return 1.0 if self.noise_known else self.problem.scale(self.minimum.p)

    @property
    def likelihood(self) -> float:
        """−2 ln of the fitted rows' likelihood, up to a constant, at the most likely scale of the noise."""
        problem, points = self.problem, self.problem.points
        whiten, sigma = problem.whiten, problem.sigma[problem.seen]
        squares = problem.chi_square(self.minimum.p)
        size = squares if self.noise_known else points * (1.0 + math.log(squares / points))
        correlation = whiten.log_determinant if isinstance(whiten, Whitening) else 0.0
        return size + 2.0 * float(np.sum(np.log(sigma))) + correlation

    @property
    def deviations(self) -> Array:
        """(n,) how far each row lies from what the law and the fitted rows before it say, in units of ``sigma``."""
        problem = self.problem
        z = (problem.forward.predict(self.minimum.p) - problem.measured) / problem.sigma
        return z if not isinstance(problem.whiten, Whitening) else problem.whiten.innovations(z, problem.rows)

    def remarks(self, curve: Curve) -> list[str]:
        """A sentence for each thing that was found of the noise."""
        said, assumed = [], bool(self.assumed)
        if self.spread is not None:
            said.append(self.spread.sentence(curve, assumed=assumed))
        if isinstance(self.problem.whiten, Whitening):
            said.append(correlated.sentence(float(self.problem.whiten.r), assumed=assumed))
        if self.left.any():
            said.append(outliers.sentence(self.left, curve, self.deviations / self.scale))
        return said

    def beyond(self) -> Rows:
        """(n,) rows that are as far from the law as an outlier, whether or not they were left out."""
        problem, kept = self.problem, self.problem.seen
        z = self.deviations
        found = outliers.beyond(z, kept, parameters=len(problem.names), known=self.noise_known)
        return np.asarray(kept & (found > 1.0))


def explain(
    found: Found,
    stated: NoiseSpec,
    curve: Curve,
    *,
    again: Callable[[Rows], Found],
    starts: Callable[[], Sequence[Values]],
) -> Found:
    """The fit under the noise that the curve has.

    Args:
        found: the fit with independent noise.
        stated: of the noise.
        curve: that is fitted.
        again: the same fit of other rows.
        starts: values from which a train with varying steps is fitted.

    Raises:
        InputError: what is stated of the noise does not apply to the curve; FitError: no minimum under it.
    """
    plain, screen = found, stated.outliers == "leave out" and found.problem.side is None
    if stated.step is not None and stated.step != 0.0:
        return _stepping(plain, stated, curve, starts=starts)
    if stated.correlation is not None and stated.correlation != 0.0:
        return _correlating(plain, stated, curve)
    if found.check.exact or found.check.size < SMALL:
        return found
    if screen and not (found.check.structured and found.check.explains):
        found, screen = _without_outliers(found, curve, again=again), False
    if not found.check.structured or not found.check.explains:
        return found
    tried = []
    alone = not plain.problem.priors  # which are rows of the residual that no model of the noise is for
    if alone and stated.correlation is None and _in_time_alone(plain, curve):
        one = _correlating(replace(plain, minimum=found.minimum), stated, curve)
        # Steps that vary leave more noise in some rows than in others: then it is not normal.
        if one.check.white and one.minimum.converged and one.check.normal >= SUSPICIOUS:
            tried.append(one)
            if one.check.normal >= NORMAL:
                return one
    if alone and stated.step is None and isinstance(plain.problem.forward, PulseTrainForward):
        one = _stepping(plain, stated, curve, starts=starts)
        if one.check.white and one.minimum.converged:
            tried.append(one)
    if not tried and screen:
        return _without_outliers(found, curve, again=again)
    return _likelier(tried, plain, stated, curve) if tried else found


def _likelier(tried: Sequence[Found], plain: Found, stated: NoiseSpec, curve: Curve) -> Found:
    """The fit under whose noise the curve is most likely, by the rows that are an outlier under none of them."""
    both = ~np.any([one.left for one in tried], axis=0)
    keep, rows = stated.model_copy(update={"outliers": "keep"}), plain.problem.rows & both

    def deviance(one: Found) -> float:
        if np.array_equal(one.problem.rows, rows):
            return one.likelihood
        begin = replace(plain, minimum=one.minimum, problem=replace(plain.problem, rows=rows))
        if one.spread is None:
            return _correlating(begin, keep, curve).likelihood
        return _stepping(begin, keep, curve, starts=lambda: [one.minimum.p]).likelihood

    return tried[0] if len(tried) == 1 else min(tried, key=deviance)


def _require_minimum(found: Found) -> Found:
    if not found.minimum.converged:
        raise FitError(
            f"no minimum after {found.minimum.evaluations} evaluations ({found.minimum.message.strip()})",
            remedy="start closer, fix a parameter that the curve does not determine, or narrow the bounds",
        )
    return found


def _without_outliers(found: Found, curve: Curve, *, again: Callable[[Rows], Found]) -> Found:
    def excess(one: Found, kept: Rows) -> Array:
        problem = one.problem
        seen = problem.seen
        z = one.deviations
        taken = leverage(problem, one.minimum.p)[: int(seen.sum())]  # without that of priors
        z[seen] /= np.sqrt(np.maximum(1.0 - taken, 0.1))
        return outliers.beyond(z, kept, parameters=len(problem.names), known=one.noise_known)

    rows = found.problem.rows
    best, left = outliers.without(found, rows, excess=excess, again=again, orders=orders(curve))
    return replace(best, left=left)


def _correlating(plain: Found, stated: NoiseSpec, curve: Curve) -> Found:
    """The fit with correlated reads."""
    problem, r = plain.problem, stated.correlation
    if problem.side is not None:
        with at("noise", "correlation"):
            raise InputError(
                "the curve has clipped values, and correlated noise is not for these",
                remedy='leave it out, or write data.compliance = "none"',
            )
    order = orders(curve)[0]

    def fit(rows: Rows, start: Values) -> Found:
        minimum, made = correlated.fit_correlated(
            replace(problem, rows=rows), start, order=order, r=None if r in (None, "fit") else float(r)
        )
        check = check_fit(made, minimum.p, curve, noise_known=plain.noise_known)
        assert isinstance(made.whiten, Whitening)
        assumed = f"the noise of neighbouring reads is correlated ({float(made.whiten.r):.2f})" if r is None else ""
        return replace(plain, minimum=minimum, problem=made, check=check, assumed=assumed)

    first = fit(problem.rows, plain.minimum.p)
    if r is not None:
        _require_minimum(first)
    if stated.outliers == "keep":
        return first
    return _without_outliers(first, curve, again=lambda rows: fit(rows, first.minimum.p))


def _stepping(plain: Found, stated: NoiseSpec, curve: Curve, *, starts: Callable[[], Sequence[Values]]) -> Found:
    """The fit of a train with varying steps."""
    given = None if stated.step in (None, "fit") else float(stated.step)
    stated_reads = stated.per_point(curve) is not None
    known = stated_reads and given is not None

    def fit(rows: Rows, begin: Sequence[Values]) -> Found:
        problem = replace(plain.problem, rows=rows)
        noise = problem.sigma if stated_reads else None
        minimum, made, spread = fit_train(problem, begin, noise=noise, step=given)
        for _ in range(TURNS):
            if problem.noise is None:
                break
            last, problem = problem, replace(problem, sigma=problem.noise(made.forward.predict(minimum.p)))
            if not problem.moved(last):
                break
            minimum, made, spread = fit_train(problem, [minimum.p], noise=problem.sigma, step=given)
        problem = made
        check = check_fit(problem, minimum.p, curve, noise_known=known)
        assumed = f"the steps vary from pulse to pulse by {spread.step:.0%}" if stated.step is None else ""
        return Found(minimum, problem, check, known, np.zeros(rows.size, dtype=bool), spread, assumed)

    first = fit(plain.problem.rows, starts())
    if stated.step is not None:
        _require_minimum(first)
    if stated.outliers == "keep" or plain.problem.side is not None:
        return first
    return _without_outliers(first, curve, again=lambda rows: fit(rows, [first.minimum.p]))


def _in_time_alone(found: Found, curve: Curve) -> bool:
    """Whether residuals are structured in the order of measurement, and in none of what was applied."""
    problem, (first, *others) = found.problem, orders(curve)
    if not KINDS[curve.kind].ordered or not others or problem.side is not None:
        return False
    seen, p = problem.seen, found.minimum.p
    residual, jacobian = problem.residual(p), problem.jacobian(p)

    def structured(order: Order) -> bool:
        check = check_residuals(
            residual, jacobian, orders=(order.of(seen),), measured=(problem.measured / problem.sigma)[seen],
            null=residual,
        )  # fmt: skip
        return min(check.neighbours, check.runs, check.lags) < SUSPICIOUS

    return structured(first) and not any(structured(order) for order in others)
