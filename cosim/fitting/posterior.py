r"""What the parameters of a fit may be, by sampling: `posterior`, with emcee through lmfit.

The density is the fit's own: rows with stated noise count −z²/2, priors as the recipe has them. Noise that was
estimated from the residuals is integrated over with the prior 1/σ: its n rows count −(n/2) ln Σ z², which is Student's
t for a straight law (Gelman et al., *Bayesian Data Analysis*, ch. 3.2). Where no prior is given a parameter is uniform
between its bounds in the coordinates of the search: the logarithm of what spans decades. Correlation of the noise,
varying steps and the spread of a population stay at their estimates.

The sampler is that of Goodman & Weare (emcee: Foreman-Mackey et al., PASP 125, 306 (2013)). It runs on until the chain
is 50 times its longest autocorrelation time, which its authors advise, or up to a limit; which of the two is said.
"""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from cosim.devices.base import Array, Values
from cosim.errors import InputError
from cosim.fitting.joint_result import JointResult
from cosim.fitting.minimise import minimise
from cosim.fitting.problem import Problem, Progress
from cosim.packages import optional

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from cosim.fitting.result import FitResult

# Walkers at least and for each parameter; steps of one run, and all of them at most (our choice).
WALKERS, EACH, RUN, STEPS = 32, 4, 500, 5000
# Autocorrelation times that a chain should be long, and that are left out at its beginning.
LONG, BURNT = 50.0, 5.0
LEVEL = 0.95
# Of a coordinate that the curve leaves open, the width in which walkers begin; of the others, standard errors.
OPEN, NEAR = 1.0, 0.5


@dataclass(frozen=True)
class Posterior:
    """Samples of the parameters of a fit.

    Args:
        names, units: of the k parameters.
        samples: (m, k) SI, of all walkers after the beginning was left out.
        likelihood: the fit's own 95 % intervals, for comparison.
        walkers, steps, burnt: of the chain; steps that were left out at its beginning.
        autocorrelation: the longest autocorrelation time, in steps, and ``slowest`` whose it is.
    """

    names: tuple[str, ...]
    units: tuple[str, ...]
    samples: Array = field(repr=False)
    likelihood: Mapping[str, tuple[float, float]]
    walkers: int
    steps: int
    burnt: int
    autocorrelation: float
    slowest: str

    @property
    def long_enough(self) -> bool:
        """Whether the chain is 50 autocorrelation times long."""
        return self.steps >= LONG * self.autocorrelation

    def interval(self, name: str, level: float = LEVEL) -> tuple[float, float]:
        """The central interval that holds a parameter with a probability ``level``."""
        tail = 50.0 * (1.0 - level)
        low, high = np.percentile(self.samples[:, self.names.index(name)], [tail, 100.0 - tail])
        return float(low), float(high)

    def median(self, name: str) -> float:
        """The middle of a parameter's samples."""
        return float(np.median(self.samples[:, self.names.index(name)]))

    def __str__(self) -> str:
        times = self.steps / self.autocorrelation
        said = "long enough" if self.long_enough else f"too short, {LONG:g} are wanted: take its ends with care"
        return (
            f"{self.walkers} walkers, {self.steps} steps, the first {self.burnt} left out; autocorrelation time "
            f"{self.autocorrelation:.3g} steps (of {self.slowest}), so that the chain is {times:.0f} of them: {said}"
        )

    def to_json(self) -> dict[str, Any]:
        """The chain's length and the intervals as plain values for `json.dumps`."""
        return {
            "walkers": self.walkers,
            "steps": self.steps,
            "burnt": self.burnt,
            "autocorrelation_steps": self.autocorrelation,
            "long_enough": self.long_enough,
            "parameters": {
                name: {"median": self.median(name), "interval_95": list(self.interval(name)), "unit": unit}
                for name, unit in zip(self.names, self.units, strict=True)
            },
        }

    def figure(self) -> Figure:
        """Each parameter, and each pair of them."""
        from cosim.report.corner import corner_figure

        return corner_figure(self)


def posterior(
    fit: FitResult | JointResult, *, seed: int = 0, steps: int = STEPS, progress: Progress | None = None
) -> Posterior:
    """Samples of what the parameters of a fit may be, given its curve, noise, bounds and priors.

    Args:
        fit: of a device or a function; of stages the last one.
        seed: of the sampler.
        steps: at most, of each walker; a multiple of 500.
        progress: called with the number of evaluations and −2 times the logarithm of the density.

    Raises:
        EngineMissing: without the package emcee (extra ``posterior``); InputError: the fit explains nothing, or each
            evaluation is a simulation.

    >>> fit = cosim.extract(cosim.FitRecipe.load("virtual_lab/access"))
    >>> found = cosim.posterior(fit, steps=500)  # emcee
    >>> low, high = found.interval("g_on")
    >>> low < fit.values.g_on < high
    True
    """
    problem, values, blocks = _target(fit)
    if not fit.verdict.useful:
        raise InputError("the law explains no more than a constant: there is nothing to sample", remedy="fit another")
    if problem.forward.expensive:
        raise InputError(
            f"the posterior of {fit.recipe.name} would take tens of thousands of simulations",
            remedy="take the profile likelihood: --profile, or fit the device alone",
        )
    if steps < 1:
        raise InputError(f"steps = {steps}", remedy="give at least one")
    emcee = optional("emcee", extra="posterior", needed_by="the posterior")
    frame, names = problem.coordinates(values), problem.names
    low, high = frame.box
    keys = [f"z{k}" for k in range(len(names))]
    count = 0

    def place(z: Array) -> Values:
        return values.with_(**dict(zip(names, frame.x(z).tolist(), strict=True)))

    def density(current: Values) -> float:
        nonlocal count
        count += 1
        with np.errstate(all="ignore"):
            found = _log_density(problem, place(np.array([current[key] for key in keys])), blocks)
        if progress is not None:
            progress(count, -2.0 * found)
        return found

    rng = np.random.default_rng(seed)
    walkers = max(WALKERS, EACH * len(names))
    position = _beginning(problem, values, frame.z(np.array([float(values[n]) for n in names])), walkers, rng)
    chain = np.empty((0, walkers, len(names)))
    time, slowest = math.inf, 0
    bounds = {key: (float(a), float(b)) for key, a, b in zip(keys, low, high, strict=True)}
    while len(chain) < steps and not len(chain) >= LONG * time:
        with contextlib.redirect_stdout(io.StringIO()):  # lmfit prints that a chain is short, which is said below
            found = minimise(
                density, dict(zip(keys, position[0].tolist(), strict=True)), bounds=bounds, method="emcee",
                steps=min(RUN, steps - len(chain)), nwalkers=walkers, pos=position, progress=False,
                seed=int(rng.integers(2**31)), float_behavior="posterior",
                run_mcmc_kwargs={"skip_initial_state_check": True},
            )  # fmt: skip
        chain = np.concatenate([chain, found.chain])
        position = found.chain[-1]
        times = np.nan_to_num(emcee.autocorr.integrated_time(chain, tol=0, quiet=True), nan=math.inf)
        time, slowest = float(times.max()), int(np.argmax(times))
    burnt = min(math.ceil(BURNT * time), len(chain) // 2) if math.isfinite(time) else len(chain) // 2
    units = {entry.name: entry.unit for entry in problem.forward.params}
    samples = frame.x(chain[burnt:].reshape(-1, len(names)))
    ends = {row.name: row.verdict.interval for row in fit.rows()}
    return Posterior(
        names, tuple(units[name] for name in names), samples, {name: ends[name] for name in names}, walkers, len(chain),
        burnt, time, names[slowest],
    )  # fmt: skip


def _target(fit: FitResult | JointResult) -> tuple[Problem, Values, list[Array]]:
    """The problem of a fit, its solution, and which of its fitted rows share a noise that was not stated."""
    if isinstance(fit, JointResult):
        stage = fit.stages[-1]
        problem, values = stage.problem, stage.values
        pairs = zip(stage.forward.observations, stage.forward.rows, strict=True)
        unknown = [rows for one, rows in pairs if one.noise is None]
    else:
        problem, values = fit.problem, fit.values
        # The noise of a train with varying steps is more than a scale: it stays as it is.
        unknown = [slice(None)] if not fit.noise_known and fit.spread is None else []
    if problem.side is not None:  # the likelihood of a clipped row is not a power of the scale
        unknown = []
    blocks = []
    for rows in unknown:
        marked = np.zeros(problem.rows.size, dtype=bool)
        marked[rows] = True
        blocks.append(marked[problem.rows])
    return problem, values, [block for block in blocks if block.any()]


def _log_density(problem: Problem, p: Values, blocks: list[Array]) -> float:
    """Logarithm of the density at ``p``, up to a constant; −inf where the model has no value."""
    squares = problem.residual(p) ** 2
    if not np.all(np.isfinite(squares)):
        return -math.inf
    total = -0.5 * float(squares.sum())
    for block in blocks:
        part = float(squares[: block.size][block].sum())
        total += 0.5 * part - 0.5 * float(block.sum()) * math.log(max(part, 1e-300))
    return total


def _beginning(problem: Problem, values: Values, z: Array, walkers: int, rng: np.random.Generator) -> Array:
    """Where the walkers begin, (walkers, k): about the minimum, as wide as the curve leaves it, within the bounds."""
    frame = problem.coordinates(values)
    low, high = frame.box
    x = np.array([float(values[name]) for name in problem.names])
    slopes = np.nan_to_num(problem.slopes(values, problem.names) * frame.slope(x)[:, None])
    width = np.minimum(np.where(np.isfinite(high - low), high - low, OPEN), OPEN)
    spread = np.linalg.cholesky(np.linalg.inv(slopes @ slopes.T + np.diag(12.0 / width**2)))
    found = z + NEAR * rng.standard_normal((walkers, z.size)) @ spread.T
    # Beyond a bound, on its inner side at the same distance, as far as there is room.
    found = np.where(found < low, np.minimum(2.0 * low - found, z + 0.5 * (high - z)), found)
    found = np.where(found > high, np.maximum(2.0 * high - found, z - 0.5 * (z - low)), found)
    return np.asarray(found)
