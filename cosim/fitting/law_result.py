"""The fit of a law that belongs to no device: the loop and the verdict of any other fit, without a parameter set."""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import NDArray

from cosim.data.recording import Curve
from cosim.devices.base import Values
from cosim.errors import InputError
from cosim.fitting.check import check_fit
from cosim.fitting.forwards.lawful import LawForward
from cosim.fitting.identify import judge
from cosim.fitting.laws import Law
from cosim.fitting.problem import Problem
from cosim.fitting.recipe import FitRecipe
from cosim.fitting.result import Cost, FitResult
from cosim.fitting.search import search
from cosim.fitting.uncertainty import band_of, covariance_of
from cosim.parameters import ParameterSet


class LawResult(FitResult):
    """The result of a law that belongs to no device: it has a verdict, and no parameter set."""

    @property
    def designed(self) -> bool:
        """False: what to measure next is designed with a device's forward model."""
        return False

    def parameter_set(self) -> ParameterSet:
        """Raises `InputError`: there is no device that the values are of."""
        raise InputError(
            f"the law '{self.choice}' belongs to no device: its values are in the report and the .json, not in a set"
        )


def law_result(recipe: FitRecipe, curve: Curve, rows: NDArray[np.bool_], law: Law, near: Values) -> FitResult:
    """A law's minimum on ``rows`` (n,), near parameters where it was found, judged as a device's is (`extract`)."""
    began = time.perf_counter()
    forward = LawForward(law, curve, rows)
    bounds = {name: forward.bounds()[name] for name in recipe.fit.vary}
    sigma = np.full(len(curve), float(np.std(curve.measured[rows])))
    problem = Problem(forward, curve.measured, sigma, rows, tuple(recipe.fit.vary), bounds)
    minimum = search(problem, near)
    check = check_fit(problem, minimum.p, curve, noise_known=False)
    scale = problem.scale(minimum.p)
    uncertainty = covariance_of(problem, minimum.p, scale=scale)
    verdict = judge(problem, minimum, uncertainty, check, scale=scale, noise_known=False)
    return LawResult(
        recipe=recipe,
        curve=curve,
        choice=law.formula,
        trials=(),
        forward=forward,
        names=problem.names,
        values=minimum.p,
        bounds=bounds,
        uncertainty=uncertainty,
        predicted=forward.predict(minimum.p),
        band=band_of(forward, minimum.p, uncertainty),
        held_out=~rows,
        clipped=np.zeros(len(curve), dtype=bool),
        left_out=np.zeros(len(curve), dtype=bool),
        sigma=problem.sigma * scale,
        noise_known=False,
        spread=None,
        chi_square=float(problem.points - len(problem.names)),
        verdict=verdict,
        cost=Cost(minimum.evaluations, time.perf_counter() - began),
    )
