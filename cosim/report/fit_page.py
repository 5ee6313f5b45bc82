"""The page of a fit: what was read, the fit and its residuals, what is determined, and what to do next."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from cosim.errors import CosimError
from cosim.fitting.auto import TRIED
from cosim.fitting.joint_result import JointResult
from cosim.fitting.problem import Problem
from cosim.fitting.released import widened
from cosim.fitting.result import FitResult
from cosim.parameters import listed
from cosim.report import fit_figures as figures
from cosim.report.html import Mark, Report
from cosim.report.style import COLOURS, new_figure, plain, styled
from cosim.units import with_error

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from cosim.devices.base import Array
    from cosim.fitting.auto import Taken

# Of a page: profiles are drawn for so many parameters, in so many seconds a result, at so many places each.
PROFILED, SECONDS, PLACES = 9, 6.0, 9
LAGS = 30
# Of chi-square, below the fit's own: less is what a search leaves (our choice).
LOWER = 0.1
LEVEL = 0.95


def page(
    results: Sequence[FitResult | JointResult], taken: Sequence[Taken] = (), *, waiting: Sequence[str] = ()
) -> Report:
    """One page of all results; of ``taken`` also what each file was taken for, and why; ``waiting`` were not fitted."""
    count = len(taken) if taken else len(results)
    what = results[0].recipe.name if count == 1 and results else f"{count} recordings"
    good = sum(result.verdict.trustworthy for result in results)
    summary = (
        results[0].verdict.summary if len(results) == 1 else f"{len(results)} fits, {good} of them without objection."
    )
    if waiting:
        summary = f"Interrupted, not fitted: {', '.join(waiting)}. {summary}"
    report = Report(f"Fit: {what}", summary)
    if taken:
        report.section("Recordings").table(
            ("file", "taken for", "because", "kept", "verdict"),
            [
                (
                    one.part.name,
                    one.part.shape,
                    one.part.why or one.part.refused,
                    one.kept or "not fitted",
                    one.why if one.result is None else one.result.verdict.summary,
                )
                for one in taken
            ],
        )
        for one in taken:
            report.section(one.part.name)
            _taken(report, one)
            if one.result is not None:
                _fit(report, one.result)
    else:
        for result in results:
            report.section(result.recipe.name)
            if isinstance(result, JointResult):
                _joint(report, result)
            else:
                _fit(report, result)
    return report


def _taken(report: Report, taken: Taken) -> None:
    part = taken.part
    titles = (*part.columns.values(), part.name)
    report.text(f"Taken for: {part.shape}. {_sentence(part.why, titles)}")
    for note in part.notes:
        report.text(_sentence(note, titles), mark="note")
    if taken.result is None:
        report.text(f"Not fitted: {taken.why}.", mark="bad")
    if taken.tried:
        report.table(TRIED, taken.table())
        report.text(f"{_sentence(taken.why, titles)} Errors are shares of the range.")


def _sentence(text: str, names: Collection[str] = ()) -> str:
    """``text`` as a sentence; at its beginning one of ``names``, or what is written like a name, stays as it is."""
    text = text.strip()
    if not text:
        return ""
    first = text.split()[0]
    named = re.search(r"[\d_.=]", first) or any(re.match(rf"{re.escape(name)}(?!\w)", text) for name in names if name)
    return f"{text if named else text[:1].upper() + text[1:]}{'' if text.endswith('.') else '.'}"


def _fit(report: Report, result: FitResult) -> None:
    verdict = result.verdict
    mark: Mark = "good" if verdict.trustworthy else "bad" if not verdict.useful else "note"
    report.text(f"{result.recipe.name}, {result.recipe.subject}: {verdict.summary}.", mark=mark)
    if result.choice:
        report.text(f"Law: {figures.chosen(result)}.")
    times = result.held_out_noise
    beside = "" if times is None else f" ({times:.2g} times the noise)"
    held = "" if result.held_out_error is None else f", {result.held_out_error:.3%} on the held-out part{beside}"
    report.text(f"{result.points}; RMS error {result.training_error:.3%} of the range on the fitted part{held}.")
    _parameters(report, result)
    report.figure(
        _two(result, figures.plot_fit, figures.plot_parity),
        "Measured and fitted; held-out rows are green, clipped ones grey. Right: the fit over the measurement.",
    )
    report.figure(
        residuals_figure(result),
        "Residuals in the order of the rows, against the prediction, and their autocorrelation: noise shows no "
        "structure in any of them.",
    )
    drawn, left = profiles_figure(result)
    if drawn is not None:
        report.figure(
            drawn,
            "Profile likelihood: the rise of chi-square where a parameter is moved and all others make up for it. The "
            "dashed line is the 95 % level, the dotted curve the parabola of the standard error.",
        )
    if left:
        report.text(f"Without a profile, for time: {', '.join(left)}.", mark="note")
    if len(result.uncertainty.names) > 1:
        report.figure(figures.plot_correlation(result), "Correlation of the parameters' errors.")
    _posterior(report, result)
    _said(report, result)
    _read(report, result)


def _posterior(report: Report, result: FitResult | JointResult) -> None:
    found = result.posterior
    if found is None:
        return
    rows = []
    for name, unit in zip(found.names, found.units, strict=True):
        (low, high), (a, b) = found.interval(name), found.likelihood[name]
        fit = "–" if math.isnan(a) else f"{a:.4g} .. {b:.4g}"
        rows.append((name, f"{found.median(name):.6g}", f"{low:.4g} .. {high:.4g}", fit, unit))
    report.table(("parameter", "median", "95 % of the samples", "95 % interval of the fit", "unit"), rows)
    report.figure(
        found.figure(),
        "Posterior: samples of each parameter and of each pair. Dashed: 95 % of the samples; dotted: the interval of "
        "the fit; lines around 68 and 95 %.",
    )
    report.text(f"Posterior: {found}.", mark="good" if found.long_enough else "note")


def _parameters(report: Report, result: FitResult | JointResult) -> None:
    rows = []
    for row in result.rows():
        shown = with_error(row.value, row.stderr, row.verdict.interval, row.unit)
        rows.append((row.name, *shown, row.verdict.status, row.verdict.source))
    report.table(("parameter", "value", "std. error", "95 % interval", "unit", "verdict", "interval from"), rows)
    if result.held:
        report.text(f"Held: {listed(result.held)}.", mark="note")


def _said(report: Report, result: FitResult | JointResult) -> None:
    names = [row.name for row in result.rows()]
    if isinstance(result, FitResult):
        names = [entry.name for entry in result.forward.params]
    proposed = result.proposal is not None
    report.text("What the fit says:")
    for sentence in result.verdict.sentences(remedies=not proposed):
        report.text(_sentence(sentence, names), mark="" if result.verdict.trustworthy else "bad")
    for note in result.recipe.notes:
        report.text(_sentence(note, names), mark="note")
    report.text("What to do next:")
    for sentence in next_steps(result):
        report.text(_sentence(sentence, names))


def next_steps(result: FitResult | JointResult) -> list[str]:
    """What would help, from the verdict; one sentence each."""
    verdict, check = result.verdict, result.verdict.residuals
    if not verdict.useful:
        return ["check the columns, their units and the sign of what was applied; then try another law"]
    proposal = result.proposal
    said = [] if proposal is None else [f"measure {proposal}"]
    if check.too_large:
        said.append("state the noise that repeated reads show, or look for another law")
    elif check.structured:
        said.append(
            "look at the residuals: a shape in them is what the law leaves out; try another law, or fit the part of "
            "the recording where it holds"
        )
    for entry in verdict.parameters:
        if entry.status == "at bound":
            said.append(entry.remedy)
        elif entry.status in ("not identifiable", "weakly identifiable") and proposal is None:
            said.append(f"measure where {entry.name} acts, or hold it at a value from elsewhere")
    if proposal is None:  # which weighs all parameters, and not one pair
        said += [f"to tell {pair.first} from {pair.second}: {pair.remedy}" for pair in verdict.pairs]
    if isinstance(result, FitResult) and not result.held_out.any():
        said.append(
            "hold a part of the rows out ([held_out] in the recipe): an error on rows that were fitted proves little"
        )
    return list(dict.fromkeys(said)) or ["nothing stands in the way: use the values, within what was measured"]


def _read(report: Report, result: FitResult) -> None:
    curve = result.curve
    if curve.reading is not None:
        report.text(f"Read: {curve.reading}.", mark="note")
    clipped = int(result.clipped.sum())
    if clipped:
        report.text(
            f"{clipped} rows are at an instrument's limit; only that the true value lies beyond counts.", mark="note"
        )
    report.code("\n".join(f"{name:<14} {value}" for name, value in result.provenance().items()))


def _joint(report: Report, result: JointResult) -> None:
    report.text(f"{result.points}: {result.verdict.summary}.", mark="good" if result.verdict.trustworthy else "note")
    _parameters(report, result)
    report.figure(result.figure(), "Each observation with its prediction.")
    rows = [
        (name, f"{fitted:.3%}", "–" if held is None else f"{held:.3%}")
        for name, (fitted, held) in result.errors().items()
    ]
    report.table(("observation", "RMS of the range, fitted", "held out"), rows)
    if result.spreads:
        report.table(("population", "spread"), [(name, str(spread)) for name, spread in result.spreads.items()])
    _posterior(report, result)
    _said(report, result)
    report.code("\n".join(f"{name:<14} {value}" for name, value in result.provenance().items()))


def _two(result: FitResult, left: object, right: object) -> Figure:
    with styled():
        figure = new_figure(10.0, 3.9)
        grid = figure.subplots(1, 2, width_ratios=(1.5, 1.0))
        left(result, grid[0])  # type: ignore[operator]
        right(result, grid[1])  # type: ignore[operator]
    return figure


def autocorrelation(residual: Array, lags: int) -> Array:
    """Correlation of residuals (n,) with those k rows later, for k = 1 .. ``lags``; (lags,)."""
    z = residual - residual.mean()
    square = float(z @ z) or 1.0
    return np.array([float(z[k:] @ z[:-k]) / square for k in range(1, lags + 1)])


def residuals_figure(result: FitResult) -> Figure:
    """Residuals over the order of the rows, against the prediction, and their autocorrelation."""
    kept = ~result.clipped
    fitted, held = kept & ~result.held_out, kept & result.held_out
    factor, unit = figures.scaled(result.residuals[kept], result.curve.measured_unit)
    scale, shown = figures.scaled(result.curve.measured, result.curve.measured_unit)
    with styled():
        figure = new_figure(10.0, 3.2)
        order, against, lags = figure.subplots(1, 3)
        row = np.arange(1, len(result.curve) + 1)
        for rows, colour, name in ((fitted, figures.MEASURED, "fitted"), (held, figures.HELD, "held out")):
            if rows.any():
                y = result.residuals[rows] * factor
                order.plot(row[rows], y, ".", ms=2.5, color=colour, label=name)
                against.plot(result.predicted[rows] * scale, y, ".", ms=2.5, color=colour)
        noise = 1.96 * float(np.median(result.sigma)) * factor
        for ax in (order, against):
            ax.axhline(0.0, color="0.4", lw=0.6)
            for sign in (-1.0, 1.0):
                ax.axhline(sign * noise, color="0.4", lw=0.8, ls="--")
        order.set(xlabel="row", ylabel=f"measured − fit ({unit})")
        order.legend(fontsize=7.5)
        against.set(xlabel=f"prediction ({shown})", ylabel=f"measured − fit ({unit})")
        residual = (result.residuals / result.sigma)[fitted]
        count = min(LAGS, residual.size // 3)
        if count >= 1:
            found = autocorrelation(residual, count)
            lags.bar(np.arange(1, count + 1), found, width=0.6, color=COLOURS[0])
            limit = 1.96 / math.sqrt(residual.size)
            for sign in (-1.0, 1.0):
                lags.axhline(sign * limit, color="0.4", lw=0.8, ls="--")
            lags.axhline(0.0, color="0.4", lw=0.6)
            lags.set_ylim(min(-1.2 * limit, 1.1 * float(found.min())), max(1.2 * limit, 1.1 * float(found.max())))
        lags.set(xlabel="lag (rows)", ylabel="autocorrelation")
    return figure


def profiles_figure(result: FitResult) -> tuple[Figure | None, list[str]]:
    """The profile likelihood of each parameter with a standard error, and the names that there was no time for."""
    names = [row.name for row in result.rows() if row.stderr]
    if not names or not result.verdict.useful or result.verdict.residuals.exact:
        return None, []
    level = float(stats.chi2.ppf(LEVEL, 1))
    end = time.process_time() + SECONDS
    found: dict[str, tuple[Array, Array, float]] = {}
    left: list[str] = []
    for name in names:
        if len(found) >= PROFILED or time.process_time() > end:
            left.append(name)
            continue
        found[name] = _profile(result, profiled_problem(result, name), name)
    if not found:
        return None, left
    columns = min(3, len(found))
    units = {entry.name: entry.unit for entry in result.forward.params}
    with styled():
        figure = new_figure(10.0 if columns == 3 else 3.6 * columns, 2.6 * -(-len(found) // columns))
        grid = figure.subplots(-(-len(found) // columns), columns, squeeze=False).flat
        for (name, (x, rise, lower)), ax in zip(found.items(), grid, strict=False):
            value, stderr = float(result.values[name]), result.uncertainty.stderr(name) or math.nan
            unit = "" if units[name] == "1" else units[name]
            factor, shown = figures.scaled(np.array([value]), unit) if unit in ("S", "A", "V", "s") else (1.0, unit)
            fine = np.linspace(x.min(), x.max(), 60)
            ax.plot(fine * factor, ((fine - value) / stderr) ** 2, ":", color="0.4")
            ax.plot(x * factor, rise, "o-", ms=3, color=COLOURS[0])
            ax.axhline(level, color="0.4", lw=0.8, ls="--")
            ax.set_ylim(0.0, 3.0 * level)
            if lower > LOWER:
                ax.set_title(f"from a minimum {lower:.3g} below the fit's", fontsize=7.5)
            ax.set(xlabel=f"{plain(name)}{f' ({shown})' if shown else ''}", ylabel="Δχ²")
        for ax in list(figure.axes)[len(found) :]:
            ax.set_axis_off()
    return figure, left


def profiled_problem(result: FitResult, name: str) -> Problem:
    """The problem whose profile the verdict on a parameter rests on.

    What was held for the search moves as well only where the verdict says that the interval owes itself to it: it
    would take the others' chi-square far below the fit's, and a rise from there says nothing of the fit.
    """
    rows = ~result.held_out & ~result.clipped & ~result.left_out
    problem = Problem(result.forward, result.curve.measured, result.sigma, rows, result.names, result.bounds)
    entry = result.verdict[name]
    owes = entry.status == "not identifiable" and any(f"{other} = " in entry.reason for other in result.loose)
    return widened(problem, result.loose) if owes else problem


def _profile(result: FitResult, problem: Problem, name: str) -> tuple[Array, Array, float]:
    """Values of a parameter over its interval, three standard errors at least, the rise of chi-square at each above the
    smallest that was met, and how far that one is below the fit's own.

    Within the bounds, with all others making up for it.
    """
    value, stderr = float(result.values[name]), result.uncertainty.stderr(name) or 0.0
    low, high = result.bounds[name]
    ends = [value - 3.0 * stderr, value + 3.0 * stderr]
    for k, end in enumerate(result.verdict[name].interval):
        if math.isfinite(end) and abs(end - value) > 2.0 * stderr:  # wider than the parabola has it
            ends[k] = value + 1.2 * (end - value)
    half = PLACES // 2
    places = np.concatenate([np.linspace(ends[0], value, half + 1)[:-1], np.linspace(value, ends[1], half + 1)])
    places = np.clip(places, low, high)
    rest = problem.without(name)
    reached = np.full(PLACES, math.nan)
    middle = int(np.argmin(np.abs(places - value)))
    for side in (range(middle, -1, -1), range(middle, PLACES)):
        start = result.values
        for k in side:
            try:
                found = rest.minimise(start.with_(**{name: float(places[k])}), tolerance=1e-5, evaluations=60)
            except CosimError:
                break
            start, reached[k] = found.p, found.chi_square
    good = np.isfinite(reached)
    own = problem.chi_square(result.values)
    least = float(np.min(reached[good], initial=own))
    return places[good], reached[good] - least, own - least
