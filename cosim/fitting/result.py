"""What an extraction found: values with their uncertainty, residuals, the error on held-out rows, and the verdict."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import tomli_w
from numpy.typing import NDArray

from cosim.data.recording import Curve
from cosim.data.spec import ColumnSpec
from cosim.devices.base import Array, Values
from cosim.errors import InputError
from cosim.files import write_atomic
from cosim.fitting.criteria import Criteria, criteria
from cosim.fitting.forward import Forward, PointForward
from cosim.fitting.identify import Identifiability, ParameterVerdict
from cosim.fitting.problem import Problem
from cosim.fitting.process import TrainNoise
from cosim.fitting.provenance import made_with, measured_range
from cosim.fitting.recipe import FitRecipe
from cosim.fitting.uncertainty import Uncertainty
from cosim.parameters import CAUTION, NOT_FITTED, ParameterSet, Quantity, listed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from cosim.fitting.heteroscedastic import Growing
    from cosim.fitting.joint_result import JointResult
    from cosim.fitting.next_measurement import NextMeasurement
    from cosim.fitting.posterior import Posterior


def rms_over_range(residual: Array, measured: Array) -> float:
    """Root mean square of ``residual`` over the range of ``measured``; dimensionless, NaN where that is zero."""
    span = float(np.ptp(measured)) if measured.size else 0.0
    return float(np.sqrt(np.mean(residual**2))) / span if span > 0.0 else math.nan


def number(value: float | None) -> float | None:
    """``value`` for JSON, where NaN and infinity become null."""
    return None if value is None or not math.isfinite(value) else float(value)


@dataclass(frozen=True)
class Cost:
    """The cost of a fit: evaluations of the model (by the best start) and seconds."""

    evaluations: int
    seconds: float


def judgement(verdict: Identifiability, cost: Cost) -> dict[str, Any]:
    """Verdict and cost of a fit as plain values for `json.dumps`."""
    return {
        "verdict": verdict.summary,
        "trustworthy": verdict.trustworthy,
        "remarks": verdict.sentences(),
        "evaluations": cost.evaluations,
        "seconds": cost.seconds,
    }


def findings(verdict: Identifiability, columns: Mapping[str, Mapping[str, ColumnSpec]]) -> list[str]:
    """The notes of a set on its verdict, and on what was turned of ``columns``: of each recording, by its name."""
    turned = [
        f"{name}{f' of {recording}' if recording else ''}"
        for recording, specs in columns.items()
        for name, spec in specs.items()
        if spec.sign == -1
    ]
    said = []
    if turned:
        said.append(
            f"{CAUTION}the sign of {', '.join(turned)} was turned (sign = -1): this set has the polarity of the turned "
            "numbers, not of the file's"
        )
    summary = verdict.summary if verdict.trustworthy else f"{CAUTION}{verdict.summary}"
    return [*said, summary, *verdict.sentences()]


def not_fitted(base: ParameterSet) -> dict[str, Quantity]:
    """The values that a fit starts from, each with a source that says so."""
    return {
        name: Quantity(entry.value, entry.stderr, f"{NOT_FITTED}; {entry.source or base.source}")
        for name, entry in base.values.items()
    }


@dataclass(frozen=True)
class Trial:
    """A candidate and its cross-validated RMS error over the range, from the training part alone.

    ``error`` is None where a fold's fit found no minimum, and ``note`` says why.
    """

    title: str
    error: float | None
    note: str = ""

    @property
    def text(self) -> str:
        """The error, or why it could not be computed."""
        return self.note if self.error is None else f"{self.error:.3%}"


def proposed(result: FitResult | JointResult, verdict: Identifiability) -> NextMeasurement | None:
    """What to measure next where a parameter is left open; None where none is, or nothing would help."""
    from cosim.fitting.next_measurement import next_measurement

    told = ("identifiable", "conditional")
    left_open = any(entry.status not in told for entry in verdict.parameters)
    return next_measurement(result) if verdict.useful and left_open else None


@dataclass(frozen=True)
class ResultRow:
    """A line of the table of results; ``value``, ``stderr``, ``interval`` in ``unit`` (SI)."""

    name: str
    value: float
    unit: str
    stderr: float | None
    verdict: ParameterVerdict

    def to_json(self) -> dict[str, Any]:
        """The line as plain values for `json.dumps`, without its name; what is absent or infinite is null."""
        return {
            "value": self.value,
            "unit": self.unit,
            "stderr": number(self.stderr),
            "interval_95": [number(end) for end in self.verdict.interval],
            "interval_source": self.verdict.source or None,
            "status": self.verdict.status,
            "reason": self.verdict.reason,
        }


@dataclass(frozen=True)
class FitResult:
    """The result of `extract`.

    Args:
        recipe, curve: what was fitted to what.
        choice, trials: of the recipe's candidates, the one that was kept, and how each did.
        forward: the model of the curve.
        names: the k parameters that varied.
        values: all parameters of the forward model (SI).
        bounds: of the search.
        uncertainty: covariance, and which parameters are not in it.
        predicted: (n,) the model at the found values, in the curve's unit.
        band: (n,) standard error of ``predicted``, from that of the parameters.
        held_out: (n,) true where a row was not fitted.
        clipped: (n,) true where a read is at an instrument's limit.
        left_out: (n,) true where a row is an outlier, and was not fitted.
        sigma: (n,) standard deviation of a read, as stated or as estimated from the residuals.
        noise_known: whether it was stated.
        spread: of the steps and reads of a train whose steps vary from pulse to pulse: then each row of ``predicted``
            comes from the fitted reads before it, and ``sigma`` is its deviation; None: from the first state.
        chi_square: of the fitted rows, in units of ``sigma``.
        verdict: what the curve determines.
        cost: evaluations and time.
        problem: the last one that was solved, ``sigma`` being the noise.
        posterior: its samples, where they were asked for.
        growing: the noise that the recipe should state, where it grows with the reading.
        loose: parameters that are held though the curve does not determine them: intervals are those with them free.

    >>> fit = cosim.extract(cosim.FitRecipe.load("virtual_lab/access"))
    >>> [(row.name, row.unit) for row in fit.rows()]
    [('g_on', 'S'), ('v_sat', 'V'), ('v_c', 'V')]
    """

    recipe: FitRecipe
    curve: Curve
    choice: str
    trials: tuple[Trial, ...]
    forward: Forward = field(repr=False)
    names: tuple[str, ...]
    values: Values
    bounds: Mapping[str, tuple[float, float]]
    uncertainty: Uncertainty = field(repr=False)
    predicted: Array = field(repr=False)
    band: Array = field(repr=False)
    held_out: NDArray[np.bool_] = field(repr=False)
    clipped: NDArray[np.bool_] = field(repr=False)
    left_out: NDArray[np.bool_] = field(repr=False)
    sigma: Array = field(repr=False)
    noise_known: bool
    spread: TrainNoise | None
    chi_square: float
    verdict: Identifiability
    cost: Cost
    problem: Problem = field(repr=False)
    posterior: Posterior | None = field(default=None, repr=False)
    growing: Growing | None = None
    loose: tuple[str, ...] = ()

    @property
    def residuals(self) -> Array:
        """Measured − predicted; (n,), in the curve's unit."""
        return self.curve.measured - self.predicted

    @property
    def training_error(self) -> float:
        """RMS error of the fitted rows over their range, without clipped ones."""
        rows = ~self.held_out & ~self.clipped & ~self.left_out
        return rms_over_range(self.residuals[rows], self.curve.measured[rows])

    @property
    def held_out_error(self) -> float | None:
        """RMS error of the held-out rows over their own range; None where nothing was held out."""
        if not (self.held_out & ~self.clipped).any():
            return None
        rows = self.held_out & ~self.clipped
        return rms_over_range(self.residuals[rows], self.curve.measured[rows])

    @property
    def held_out_noise(self) -> float | None:
        """RMS error of the held-out rows over their noise; None where nothing was held out, or the fit is exact."""
        rows = self.held_out & ~self.clipped
        if not rows.any() or self.verdict.residuals.exact:
            return None
        return float(np.sqrt(np.mean((self.residuals[rows] / self.sigma[rows]) ** 2)))

    @property
    def criteria(self) -> Criteria:
        """AICc and BIC of the fitted rows, without clipped ones and outliers."""
        rows = ~self.held_out & ~self.clipped & ~self.left_out
        k = len(self.names) + (self.spread is not None)
        return criteria(self.residuals[rows], self.sigma[rows], parameters=k, noise_known=self.noise_known)

    @cached_property
    def proposal(self) -> NextMeasurement | None:
        """What to measure next where a parameter is left open; None where none is, or nothing would help.

        Of a fit through a netlist, where each derivative is a simulation, `next_measurement` has to be asked.
        """
        asked = isinstance(self.forward, PointForward) and not self.forward.over
        return None if asked else proposed(self, self.verdict)

    @property
    def points(self) -> str:
        """How many rows were fitted, held out and clipped, in words."""
        fitted, held = int((~self.held_out & ~self.left_out).sum()), int(self.held_out.sum())
        clipped = f"; of all {self.clipped.size}, {int(self.clipped.sum())} are clipped" if self.clipped.any() else ""
        count = int(self.left_out.sum())
        left = f", {count} {'outlier' if count == 1 else 'outliers'} left out" if count else ""
        return f"{fitted} points fitted, {held} held out{left}{clipped}"

    @property
    def held(self) -> dict[str, tuple[float, str, str]]:
        """Value (SI), unit and origin of each parameter that the fit did not vary."""
        return {
            entry.name: (
                float(self.values[entry.name]),
                entry.unit,
                self.recipe.origin(entry.name, float(self.values[entry.name])),
            )
            for entry in self.forward.params
            if entry.name not in self.names
        }

    def save(self, path: str | Path) -> Path:
        """Replace ``path`` atomically by the `parameter_set`; without a device by the ``[parameters]`` of a bench."""
        if self.recipe.device:
            return self.parameter_set().save(path)
        units = {row.name: row for row in self.rows()}
        values = {name: {"value": row.value, "unit": row.unit} for name, row in units.items()}
        errors = {name: row.stderr for name, row in units.items() if row.stderr is not None}
        notes = [*self.recipe.notes, self.verdict.summary, *self.verdict.sentences()]
        fit = {"name": self.recipe.name, "notes": notes, "stderr": errors, "provenance": self.provenance()}
        return write_atomic(path, tomli_w.dumps({"parameters": values, "fit": fit}))

    def rows(self) -> list[ResultRow]:
        """One line per varied parameter."""
        units = {entry.name: entry.unit for entry in self.forward.params}
        return [
            ResultRow(
                name,
                float(self.values[name]),
                units[name],
                self.uncertainty.stderr(name) if self.verdict.useful else None,
                self.verdict[name],
            )
            for name in self.names
        ]

    def parameter_set(self) -> ParameterSet:
        """The device's parameters for everything downstream: extracted values, and the start set's for the others.

        A value that stopped at a bound or that the curve does not determine is kept, without a standard error, and the
        notes say so; where the law explains no more than a constant, none has one.
        """
        if not self.recipe.device:
            raise InputError(
                f"{self.recipe.name} was fitted to no device, so that there is no parameter set of one",
                remedy="take its values: rows(), values, to_json()",
            )
        base = self.recipe.starting_set()
        known = {entry.name for entry in self.recipe.model.params}
        source = f"extracted from {self.curve.source or 'a curve'}"
        finished = {name: value for name, value in self.forward.finish(self.values).items() if name in known}
        names, covariance = self._finished_covariance(list(finished))
        if not self.verdict.useful:
            names, covariance = [], np.empty((0, 0))
        values, not_varied = not_fitted(base), self.held
        for name, value in finished.items():
            held = name not in names and name not in self.names
            if held and name in values and values[name].value == value:
                continue
            stderr = math.sqrt(covariance[names.index(name), names.index(name)]) if name in names else None
            kept = f"{NOT_FITTED}; {not_varied[name][2]}" if name in not_varied else NOT_FITTED
            values[name] = Quantity(float(value), stderr, kept if held else source)
        extras = {name: float(self.values[name]) for name in self.names if name not in known}
        notes = [*self.recipe.notes, *findings(self.verdict, {"": self.recipe.data.columns})]
        if extras:
            listed = ", ".join(f"{name} = {value:.4g}" for name, value in extras.items())
            notes.append(f"these belong to the measurement, not to the device: {listed}")
        if self.trials:
            tried = "; ".join(f"{trial.title}: {trial.text}" for trial in self.trials)
            notes.append(f"kept: {self.choice}; cross-validated errors on the training part: {tried}")
        if self.held_out_error is not None:
            notes.append(f"RMS error of the held-out rows over their range: {self.held_out_error:.3%}")
        return ParameterSet(
            self.recipe.device,
            self.recipe.name,
            MappingProxyType(values),
            source,
            tuple(notes),
            tuple(names),
            covariance if names else None,
            MappingProxyType(self.provenance()),
            base.plasticity,
        )

    def _finished_covariance(self, wanted: list[str]) -> tuple[list[str], Array]:
        """Covariance of the device parameters that `forward.finish` makes, by its derivatives."""
        base = {name: float(value) for name, value in self.values.items()}
        moving = self.uncertainty.names
        rows = np.zeros((len(wanted), len(moving)))
        for j, name in enumerate(moving):
            step = 1e-6 * max(abs(base[name]), 1e-12)
            up, down = (self.forward.finish({**base, name: base[name] + s}) for s in (step, -step))
            rows[:, j] = [(up[entry] - down[entry]) / (2.0 * step) for entry in wanted]
        depends = np.asarray(np.abs(rows).any(axis=1))
        rows = rows[depends]
        names = [name for name, keep in zip(wanted, depends.tolist(), strict=True) if keep]
        return names, np.asarray(rows @ self.uncertainty.covariance @ rows.T)

    def provenance(self) -> dict[str, str]:
        """Hashes and versions that make the result reproducible."""
        return {
            "data": self.curve.source,
            "data_sha256": self.curve.fingerprint,
            **({"data_rows": str(self.curve.reading)} if self.curve.reading is not None else {}),
            "recipe_sha256": self.recipe.fingerprint(),
            **measured_range([self.curve]),
            **made_with(),
            **self.forward.provenance(),
        }

    def to_json(self) -> dict[str, Any]:
        """The result as plain values for `json.dumps`; what is absent or infinite is null."""
        check = self.verdict.residuals
        return {
            "name": self.recipe.name,
            "device": self.recipe.device or None,
            "law": self.recipe.law or None,
            "choice": self.choice or None,
            "candidates": [{"title": t.title, "cross_validated_error": t.error, "note": t.note} for t in self.trials],
            "parameters": {
                row.name: {**row.to_json(), "bounds": [number(end) for end in self.bounds[row.name]]}
                for row in self.rows()
            },
            "fixed": {name: float(value) for name, value in self.values.items() if name not in self.names},
            "held": listed(self.held) or None,
            "correlation": {
                "names": list(self.uncertainty.names),
                "matrix": self.uncertainty.correlation.tolist() if self.uncertainty.names else [],
            },
            "products": [
                {
                    "powers": dict(product.powers),
                    "value": product.value,
                    "stderr": product.value * product.known,
                    "interval_95": list(product.interval),
                }
                for product in self.verdict.products
            ],
            "points": {"fitted": int((~self.held_out).sum()), "held_out": int(self.held_out.sum())},
            "clipped": int(self.clipped.sum()),
            "reading": None if self.curve.reading is None else self.curve.reading.to_json(),
            "noise": {
                "known": self.noise_known,
                "sigma": float(np.median(self.sigma)),
                "unit": self.curve.measured_unit,
                "step": None if self.spread is None else self.spread.step,
            },
            "chi_square": number(self.chi_square),
            "training_error": number(self.training_error),
            "held_out_error": number(self.held_out_error),
            "aicc": number(self.criteria.aicc),
            "bic": number(self.criteria.bic),
            "residuals": {
                "durbin_watson": number(check.durbin_watson),
                "durbin_watson_p": number(check.neighbours),
                "order": check.order or None,
                "runs_p": number(check.runs),
                "ljung_box_p": number(check.lags),
                "mean": number(check.mean),
                "mean_p": number(check.mean_chance),
                "shapiro_p": number(check.normal),
                "repeats_p": number(check.repeats),
                "constant_p": number(check.constant),
                "reduced_chi_square": number(check.reduced_chi_square),
            },
            **judgement(self.verdict, self.cost),
            **({} if self.posterior is None else {"posterior": self.posterior.to_json()}),
            "provenance": self.provenance(),
        }

    def plot(self, ax: Axes | None = None) -> Axes:
        """Curve and fit, with the 95 % band, in one Axes."""
        from cosim.report.fit_figures import plot_fit

        return plot_fit(self, ax)

    def figure(self) -> Figure:
        """Curve and fit, residuals, and the correlations of the parameters."""
        from cosim.report.fit_figures import fit_figure

        return fit_figure(self)
