"""MINUIT's MINOS as a second opinion on the profile likelihoods of shipped recipes."""

import numpy as np
import pytest
from scipy import stats

from cosim.devices.base import Values
from cosim.fitting.extract import extract
from cosim.fitting.recipe import FitRecipe


@pytest.mark.needs("iminuit")
@pytest.mark.parametrize(("name", "parameter"), [("virtual_lab/access", "v_c"), ("thermal_poles", "")])
def test_a_profile_ends_where_minos_does(name: str, parameter: str) -> None:
    """The same chi-square, in units of the noise and raised by Student's t squared; ends to 2 % of the width."""
    from iminuit import Minuit

    found = extract(FitRecipe.load(name), profile=True)
    problem, wanted = found.problem, parameter or found.names[0]
    start = np.array([float(found.values[n]) for n in found.names])

    def cost(*x: float) -> float:
        p: Values = found.values.with_(**dict(zip(found.names, (start * np.array(x)).tolist(), strict=True)))
        return problem.chi_square(p)

    minuit = Minuit(cost, *np.ones(start.size), name=found.names)
    level = stats.norm.ppf(0.975) if found.noise_known else stats.t.ppf(0.975, problem.free)
    minuit.errordef = float(level) ** 2
    minuit.strategy = 2
    minuit.migrad()
    minuit.minos(wanted)
    error, size = minuit.merrors[wanted], float(found.values[wanted])
    ends = size * (minuit.values[wanted] + np.array([error.lower, error.upper]))
    assert found.verdict[wanted].interval == pytest.approx(tuple(ends), abs=0.02 * float(np.ptp(ends)))
