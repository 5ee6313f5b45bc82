"""The verdict on a fit: which parameters the curve determines, which only together, and whether the law fits at all.

A small chi-square does not prove that the parameters mean anything. Each parameter is judged by its standard error (or
its profile likelihood), its correlation with the others, and its bounds; the residuals by the tests of `residuals`.
Where these are not noise, errors and intervals would hold only if the law were right, which it is not: no parameter is
then called identifiable. Nor is any where the law explains no more than a constant. The limits below are our choice.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Literal

import numpy as np
from scipy import special

from cosim.devices.base import Values
from cosim.fitting import profile as likelihood
from cosim.fitting.combinations import Combination, known_products, product
from cosim.fitting.forward import THE_CALLER, THE_DATA, Limits
from cosim.fitting.interval_ends import beyond, closed, ends_of
from cosim.fitting.problem import Minimum, Problem
from cosim.fitting.released import released
from cosim.fitting.residuals import RESIDUALS_FOR_TESTS, ResidualCheck
from cosim.fitting.search import idle_at
from cosim.fitting.uncertainty import Uncertainty, natural_size

# A standard error above this part of the natural size: the curve shows the parameter, and does not determine it.
WEAK = 0.25
# A correlation above this: two parameters that trade against each other.
TRADING = 0.95
# Correlations do not matter between parameters that are known better than this.
GOOD = 0.05
LEVEL = 0.95
# An interval across this factor does not tell the order of magnitude of a quantity that is positive (our choice).
ORDER = 10.0
# Above this part of the natural size a law is seldom straight over a standard error: the interval is profiled.
STRAIGHT = 0.1
# Chi-square may rise by this factor more or less than it would for a straight law: 10 % in the interval's half-width.
BENT = 1.2
# A minimum that is lower by less than this, in units of the noise's variance, lies within a third of a standard error
# (our choice).
BETTER = 0.1
# An interval that physics closes at one end says where the parameter is if it is at most as wide as this part of what
# physics allows, and as the natural size (our choice); else it is a limit on one side.
HALF = 0.5
# Below so many points intervals come from the profile likelihood.
FEW = 100
# A misfit below this part of the range is called small, though it is not noise.
SMALL = 1e-3

Status = Literal["identifiable", "conditional", "weakly identifiable", "not identifiable", "at bound"]


@dataclass(frozen=True)
class ParameterVerdict:
    """The verdict on one parameter.

    Args:
        name: of the parameter.
        status: the verdict in two words; "conditional": identifiable on a condition that the residuals deny or
            cannot prove (`Identifiability.summary`).
        reason: one sentence that explains the verdict.
        interval: 95 % interval; infinite ends where there is no limit, NaN where there is no interval. Of a parameter
            without effect, alone or against another one, its bounds.
        source: of the interval: "profile likelihood", "standard error", "bounds" or "".
        remedy: of a parameter at a bound: what to do about it.
    """

    name: str
    status: Status
    reason: str
    interval: tuple[float, float]
    source: str
    remedy: str = ""


@dataclass(frozen=True)
class Pair:
    """Two parameters that trade: ``first · second^power`` is known to ``known`` (relative), each alone to ``alone``.

    ``roles``: of the two parameters (`cosim.devices.base.Param`). ``negative``: those of them that are.
    """

    first: str
    second: str
    correlation: float
    power: float
    known: float
    alone: tuple[float, float]
    roles: tuple[str, str] = ("", "")
    negative: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """``a·b^0.98``."""
        return product([(self.first, 1.0), (self.second, self.power)], self.negative)

    def __str__(self) -> str:
        how = "cannot be told apart" if min(self.alone) > WEAK else "trade against each other"
        return (
            f"{self.first} and {self.second} {how} (correlation {self.correlation:+.3f}): "
            f"{self.title} is known to {self.known:.1%}, they alone to "
            f"{self.alone[0]:.0%} and {self.alone[1]:.0%}; fix one of them"
        )

    @property
    def remedy(self) -> str:
        """What a further measurement would have to show."""
        if "range" in self.roles:
            return "drive the state to both ends of its range"
        if set(self.roles) == {"drive"}:
            return "measure over a wider range of amplitudes"
        return "measure where they act differently"


@dataclass(frozen=True)
class Identifiability:
    """The judgement on a fit: by parameter, by pair and product, and on the residuals.

    ``assumed``: an assumption, not stated in the recipe, under which the residuals are noise. ``outliers``: how many
    rows were left out as such. ``better``: a lower minimum that the profiles met.
    """

    parameters: tuple[ParameterVerdict, ...]
    pairs: tuple[Pair, ...]
    residuals: ResidualCheck
    remarks: tuple[str, ...] = ()
    products: tuple[Combination, ...] = ()
    assumed: str = ""
    outliers: int = 0
    better: Minimum | None = None

    def __getitem__(self, name: str) -> ParameterVerdict:
        return next(entry for entry in self.parameters if entry.name == name)

    @property
    def trustworthy(self) -> bool:
        """Whether every parameter is identifiable and the residuals are noise."""
        return self.residuals.white and all(entry.status == "identifiable" for entry in self.parameters)

    @property
    def useful(self) -> bool:
        """Whether the law explains more than a constant: otherwise the fit found nothing."""
        return self.residuals.explains

    @property
    def summary(self) -> str:
        """One line."""
        check, total = self.residuals, len(self.parameters)
        good, conditional = (
            sum(entry.status == status for entry in self.parameters) for status in ("identifiable", "conditional")
        )
        count = f"{good} of {total} parameters identifiable"
        if not check.explains:
            return f"{count}: the law explains no more than a constant"
        if check.exact:
            return f"{count}; the law describes what was measured exactly"
        if check.white and self.assumed:
            return (
                f"{count} ({conditional} would be if {self.assumed}): with that assumption the residuals are noise, "
                "without it they are not"
            )
        if check.white:
            few = check.points < RESIDUALS_FOR_TESTS
            tail = (
                f"{check.points} residuals are too few to say whether they are noise"
                if few
                else "the residuals are noise"
            )
            if self.outliers:
                tail += f" but for {self.outliers} {'outlier' if self.outliers == 1 else 'outliers'}"
            return f"{count}; {tail}"
        if check.size < SMALL:
            model = f"the model describes what was measured to {check.size:.1g} of its range, but the rest is not noise"
        elif check.structured:
            model = "the model does not describe what was measured"
        else:
            model = "the residuals exceed the stated noise"
        would = f" ({conditional} would be if the model were right)" if conditional else ""
        return f"{count}{would}: {model}; parameter errors are not to be trusted"

    def sentences(self, *, remedies: bool = True) -> list[str]:
        """Every objection to the fit, or one sentence that says there is none.

        A pair is not spoken of where a known product holds both of its parameters, which says more.
        ``remedies``: whether to say which kind of measurement would tell the parameters of a pair apart.
        """
        if not self.residuals.explains:
            return [*self.residuals.sentences(), *self.remarks]
        said = [entry.reason for entry in self.parameters if entry.status not in ("identifiable", "conditional")]
        held = [{name for name, _ in one.powers} for one in self.products]
        apart = [pair for pair in self.pairs if not any({pair.first, pair.second} <= names for names in held)]
        said += [f"{pair}, or {pair.remedy}" if remedies else str(pair) for pair in apart]
        for one, names in zip(self.products, held, strict=True):
            within = [pair.remedy for pair in self.pairs if {pair.first, pair.second} <= names]
            said.append(f"{one}; fix one of them, or {within[0]}" if remedies and within else str(one))
        said += self.residuals.sentences() + list(self.remarks)
        return said or ["every parameter is determined by what was measured"]


def judge(
    problem: Problem,
    minimum: Minimum,
    uncertainty: Uncertainty,
    check: ResidualCheck,
    *,
    scale: float,
    noise_known: bool,
    profile: bool = False,
    assumed: str = "",
    outliers: int = 0,
    loose: Sequence[str] = (),
) -> Identifiability:
    """The verdict on a minimum with its residuals' ``check``; ``profile``: intervals from the profile likelihood.

    ``scale`` multiplies the sigma of the problem, as for the ``uncertainty``; ``noise_known``: intervals from the
    normal law instead of Student's t; ``assumed``, ``outliers``: as in `Identifiability`. Below `FEW` points, and where
    chi-square does not rise as it would for a straight law, intervals come from the profile likelihood in any case;
    of a curve that is simulated, where an error is large or reaches a bound.

    ``loose``: parameters that are held though the curve does not determine them: no other is called determined that
    owes it to them (`released`).
    """
    if not check.explains:
        reason = "the law explains no more than a constant"
        return Identifiability(
            tuple(ParameterVerdict(name, "not identifiable", reason, (math.nan,) * 2, "") for name in problem.names),
            (),
            check,
        )
    profile = profile or (problem.points < FEW and not problem.forward.expensive)
    height = float(special.ndtri(0.5 + LEVEL / 2) if noise_known else special.stdtrit(problem.free, 0.5 + LEVEL / 2))
    roles = {entry.name: entry.role for entry in problem.forward.params}
    pairs = trading_pairs(uncertainty, minimum.p, roles)
    entries, remarks = [], []
    better: Minimum | None = None
    ordered = problem.ordered()
    idle = idle_at(problem, minimum.p, uncertainty.flat)

    def profiled(name: str, known: Sequence[Values] = ()) -> likelihood.Interval:
        return likelihood.interval(
            ordered, minimum, name, stderr=uncertainty.stderr(name), scale=scale, height=height, known=known,
            # a guess along a straight ridge can end in another minimum where something is held at a bound
            ridge={} if uncertainty.at_bound else uncertainty.ridge(name),
        )  # fmt: skip

    profiles, own = dict[str, likelihood.Interval | None](), dict[str, Limits]()
    for name in problem.names:
        if name in idle or check.exact:
            continue
        if (known := problem.forward.limits(name, minimum.p, height)) is not None:
            own[name], profiles[name] = known, likelihood.Interval(known.low, known.high)
            continue
        guided = not profile and _guided(problem, minimum, uncertainty, name, height=height, scale=scale)
        profiles[name] = None if guided else profiled(name)
    # Where a profile met a better minimum the fit begins again from there, and these ends are not the last ones.
    settled = [found for found in profiles.values() if found is not None]
    within = [] if any(found.lower for found in settled) else [p for found in settled for p in found.within]
    for name in [name for name in profiles if name not in own]:
        before = profiles[name]
        ends = ends_of(minimum.p, uncertainty, name, height, before)
        if further := beyond(ends, within, name, float(minimum.p[name])):
            again = profiled(name, further)
            met = [found.lower for found in (before, again) if found is not None and found.lower is not None]
            profiles[name] = replace(again, lower=min(met, key=lambda one: one.chi_square, default=None))
    for name in problem.names:
        if name in idle:
            reason = f"{name} has no effect on what was measured: any value within its bounds fits; fix it"
            entries.append(ParameterVerdict(name, "not identifiable", reason, problem.bounds[name], "bounds"))
            continue
        lower = None if (found := profiles.get(name)) is None else found.lower
        if lower is not None and minimum.chi_square - lower.chi_square > BETTER * scale**2:
            better = lower if better is None or lower.chi_square < better.chi_square else better
            remarks.append(
                f"a better minimum (chi-square {lower.chi_square:.4g} after {minimum.chi_square:.4g}) was "
                f"met while {name} was varied: start again from other values"
            )
        known = own.get(name)
        entry = _judge_one(
            problem, minimum.p, uncertainty, name, pairs, height, found, told=known is None or known.determined
        )
        if entry.status == "identifiable" and (assumed or not check.white):
            condition = assumed or "the law is right"
            entry = replace(entry, status="conditional", reason=f"{entry.reason}, if {condition}")
        entries.append(entry)
    if loose and not check.exact:
        entries = _loosened(entries, problem, minimum, uncertainty, loose, scale=scale, height=height)
    if uncertainty.at_bound and uncertainty.names:
        held = " and ".join(f"{name} = {bound:.4g}" for name, bound in uncertainty.at_bound.items())
        remarks.append(f"the standard errors of the others are conditional on {held}, held at the bound")
    products = known_products(uncertainty, minimum.p, height=height)
    return Identifiability(
        tuple(entries), pairs, check, tuple(dict.fromkeys(remarks)), products, assumed, outliers, better
    )


def _loosened(
    entries: Sequence[ParameterVerdict], problem: Problem, minimum: Minimum, uncertainty: Uncertainty,
    loose: Sequence[str], *, scale: float, height: float,
) -> list[ParameterVerdict]:  # fmt: skip
    """The entries, with those that owe their interval to what is held ``loose``."""
    known = ("identifiable", "conditional", "weakly identifiable")
    wanted = {entry.name: entry.interval for entry in entries if entry.status in known}
    found = released(problem, minimum, uncertainty, loose, wanted=wanted, scale=scale, height=height)
    made = []
    for entry in entries:
        if entry.name in found:
            value = float(minimum.p[entry.name])
            low, high = closed(problem, entry.name, value, found[entry.name])
            held = " and ".join(f"{name} = {float(minimum.p[name]):.4g}" for name in loose)
            role = next(one.role for one in problem.forward.params if one.name == entry.name)
            remedy = (
                "drive the state to both ends of its range" if role == "range" else f"measure where {loose[0]} acts"
            )
            reason = (
                f"{entry.name} is not determined by these data: {_any_value(low, high)} fits within the noise if "
                f"{held} may move with it; {remedy}"
            )
            entry = replace(
                entry, status="not identifiable", reason=reason, interval=(low, high), source="profile likelihood"
            )
        made.append(entry)
    return made


def _any_value(low: float, high: float) -> str:
    if math.isinf(low) and math.isinf(high):
        return "any value"
    if math.isinf(low) or math.isinf(high):
        return f"any value below {high:.3g}" if math.isinf(low) else f"any value above {low:.3g}"
    return f"any value from {low:.3g} to {high:.3g}"


def _guided(
    problem: Problem, minimum: Minimum, uncertainty: Uncertainty, name: str, *, height: float, scale: float
) -> bool:
    """Whether a standard error may stand for an interval.

    It may where chi-square rises, to both ends of the interval and with all others moving along as a straight law has
    it, by as much as it would for one. Not where the error is large, where the interval reaches beyond the bounds, or
    where another parameter is held at one.
    """
    p, stderr = minimum.p, uncertainty.stderr(name)
    if stderr is None or name in uncertainty.conditional:
        return False
    if stderr > STRAIGHT * natural_size(problem, name, float(p[name])):
        return False
    ridge = uncertainty.ridge(name)
    for step in (-height * stderr, height * stderr):
        there = p.with_(**{other: float(p[other]) + slope * step for other, slope in ridge.items()})
        if any(not problem.bounds[other][0] <= float(there[other]) <= problem.bounds[other][1] for other in ridge):
            return False
        if problem.forward.expensive:  # of the others' minimum there a simulation's own error would be profiled
            continue
        rise = (problem.chi_square(there) - minimum.chi_square) / (height * scale) ** 2
        if not 1.0 / BENT < rise < BENT:
            return False
    return True


def _judge_one(
    problem: Problem,
    p: Values,
    uncertainty: Uncertainty,
    name: str,
    pairs: Sequence[Pair],
    height: float,
    profiled: likelihood.Interval | None,
    *,
    told: bool = True,
) -> ParameterVerdict:
    value, stderr = float(p[name]), uncertainty.stderr(name)
    source, ends = "standard error", ends_of(p, uncertainty, name, height, profiled)
    if profiled is not None:
        ends, source = closed(problem, name, value, ends), "profile likelihood"
    elif stderr is not None:  # beyond a bound by rounding only, or it would have been profiled
        ends = max(ends[0], problem.bounds[name][0]), min(ends[1], problem.bounds[name][1])
    if name in uncertainty.at_bound:
        bound = uncertainty.at_bound[name]
        side = "lower" if bound == problem.bounds[name][0] else "upper"
        why, remedy = (
            f"its {side} bound {bound:.4g}: widen the bound, or fix {name}",
            f"widen the bounds of {name}, or fix it",
        )
        entry = next(one for one in problem.forward.params if one.name == name)
        if bound in entry.bounds and entry.source != THE_CALLER:
            what, remedy = f"its physical limit {bound:.4g}", f"fix {name} at {bound:.4g}"
            if entry.source == THE_DATA and bound != 0.0:
                what = f"the {side} end {bound:.4g} of the range that the measured values set"
                remedy += ", or try another law"
            why = f"{what}: the law wants to go beyond it; {remedy}"
        reason = f"{name} stopped at {why}"
        return ParameterVerdict(name, "at bound", reason, ends, source if profiled else "", remedy)
    open_ends = [math.isinf(end) for end in ends]
    if name in uncertainty.flat and (profiled is None or all(open_ends)):
        others = [other for other in uncertainty.flat if other != name]
        tail = f" together with {', '.join(others)}" if others else ""
        reason = f"{name} can be moved{tail} without changing the prediction: fix it"
        return ParameterVerdict(name, "not identifiable", reason, problem.bounds[name], "bounds")
    size = natural_size(problem, name, value)
    relative = math.inf if stderr is None or size == 0.0 else stderr / size
    if profiled is not None and size > 0.0:  # the parabola may have it narrower
        relative = max(relative, (ends[1] - ends[0]) / (2.0 * height * size))
    allowed = float(np.diff(problem.forward.bounds()[name])[0])
    # An end that physics closes is not a limit by the curve, unless little is left of what physics allows.
    found = () if profiled is None else zip((profiled.low, profiled.high), problem.bounds[name], strict=True)
    cut = [math.isinf(end) or end == bound for end, bound in found]
    if not told:
        reason = (
            f"{name} is not determined by these data: at a level of 99.9 % {_any_value(*ends)} is possible, and what "
            "says more is one step, which varies; fix it, or measure where it acts"
        )
        return ParameterVerdict(name, "not identifiable", reason, ends, source)
    if profiled is not None and (any(open_ends) or (any(cut) and ends[1] - ends[0] > min(size, HALF * allowed))):
        if all(cut):
            limit = "within its bounds the curve does not limit it at all"
        elif cut[1]:
            limit = f"the curve only says that it is above {ends[0]:.4g}"
        else:
            limit = f"the curve only says that it is below {ends[1]:.4g}"
        reason = f"{name}: {limit}; fix it, or measure where it acts"
        return ParameterVerdict(name, "not identifiable", reason, ends, source)
    of = "its value" if size == abs(value) else f"its usual size, {size:.3g}"
    partner = next((pair for pair in pairs if name in (pair.first, pair.second)), None)
    if relative > 1.0 or (profiled is not None and _spans_an_order(problem, name, ends)):
        reason = (
            f"{name} is not determined by these data: any value from {ends[0]:.3g} to {ends[1]:.3g} fits within the "
            "noise; fix it, or measure where it acts"
        )
        return ParameterVerdict(name, "not identifiable", reason, ends, source)
    if partner is not None:
        relative, of = max(relative, partner.alone[name == partner.second]), "its value"
    if relative > WEAK or (partner is not None and relative > GOOD):
        other = "" if partner is None else partner.second if name == partner.first else partner.first
        why = f"it trades against {other}" if other else "these data tell little about it; measure more where it acts"
        reason = f"{name} is known to within {_share(relative)} of {of} only: {why}"
        return ParameterVerdict(name, "weakly identifiable", reason, ends, source)
    return ParameterVerdict(name, "identifiable", f"{name} is known to within {_share(relative)} of {of}", ends, source)


def _share(relative: float) -> str:
    """A share in per cent, to two digits."""
    return f"{100.0 * relative:.2g} %" if relative < 0.0995 else f"{100.0 * relative:.0f} %"


def _spans_an_order(problem: Problem, name: str, ends: tuple[float, float]) -> bool:
    """Whether an interval leaves open the order of magnitude of a parameter of one sign."""
    entry = next(one for one in problem.forward.params if one.name == name)
    low, high = sorted(map(abs, ends))
    one_sign = entry.is_scale or not entry.bounds[0] <= 0.0 <= entry.bounds[1]
    return one_sign and ends[0] * ends[1] > 0.0 and high > ORDER * low


def trading_pairs(uncertainty: Uncertainty, p: Values, roles: Mapping[str, str]) -> tuple[Pair, ...]:
    """Pairs whose correlation exceeds `TRADING`, with the product of powers that the curve does determine.

    ``roles``: of the parameters, by name.
    """
    names, pairs = uncertainty.names, []
    if len(names) < 2:
        return ()
    correlation = uncertainty.correlation
    value = np.array([float(p[name]) for name in names])
    for i, j in combinations(range(len(names)), 2):
        if abs(correlation[i, j]) < TRADING or value[i] == 0.0 or value[j] == 0.0:
            continue
        block = np.ix_([i, j], [i, j])
        relative = uncertainty.covariance[block] / np.outer(value[[i, j]], value[[i, j]])
        # Of ln a + power · ln b, the variance is least at power = −cov(a, b)/var(b).
        power = -relative[0, 1] / relative[1, 1]
        known = math.sqrt(max(relative[0, 0] - relative[0, 1] ** 2 / relative[1, 1], 0.0))
        alone = (math.sqrt(relative[0, 0]), math.sqrt(relative[1, 1]))
        if max(alone) <= GOOD:
            continue
        both = (roles[names[i]], roles[names[j]])
        negative = tuple(names[k] for k in (i, j) if value[k] < 0.0)
        pairs.append(Pair(names[i], names[j], float(correlation[i, j]), float(power), known, alone, both, negative))
    return tuple(sorted(pairs, key=lambda pair: -abs(pair.correlation)))
