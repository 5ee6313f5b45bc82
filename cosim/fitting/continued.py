"""What a fit has of each recording that further rows may continue: its unknowns, its noise, a model of a longer one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from cosim.data.recording import Recording
from cosim.devices.base import DeviceModel, Values
from cosim.errors import InputError
from cosim.fitting.forward import Forward, PointForward, Rows, forward_for
from cosim.fitting.forwards.circuit import CircuitForward
from cosim.fitting.joint_result import JointResult
from cosim.fitting.problem import Problem
from cosim.fitting.runs import Runs
from cosim.fitting.uncertainty import Uncertainty

if TYPE_CHECKING:
    from cosim.fitting.result import FitResult

T = TypeVar("T")
# Kinds whose rows are voltages in time or in order: without a stimulus that follows them a bench knows nothing of them.
DRIVEN = ("pulse train", "loop", "transient")


@dataclass(frozen=True)
class Continued:
    """A recording of a fit, which further rows may continue.

    Args:
        name: of the observation; "" where it is the only recording.
        curve: what was measured.
        rows: (n,) true where a row was fitted, and not clipped.
        noise: standard deviation of a further read.
        names: of the unknown that each parameter of its model is.
        local: the parameters of its model under the unknowns.
        began: the unknowns that were over before its first row, the initial state.
        model: the model of a longer recording, of which rows (n,) were fitted.
        quick: the same, of the device alone where ``model`` is simulated; None: there is no such model.
        expensive: whether ``model`` is simulated.
        over: the column that the model is a function of, in rows of any order; "" where it is of more.
    """

    name: str
    curve: Recording
    rows: Rows
    noise: float
    names: Mapping[str, str]
    local: Callable[[Values], Values]
    began: frozenset[str]
    model: Callable[[Recording, Rows], Forward]
    quick: Callable[[Recording, Rows], Forward] | None
    expensive: bool
    over: str = ""


@dataclass(frozen=True)
class Fitted:
    """The last problem of a fit with its solution, and its recordings.

    Args:
        problem: of the rows that were measured, not clipped.
        values: of the unknowns.
        uncertainty: of the unknowns.
        means: the unknowns that only more devices tell: means of populations.
        recordings: that may be continued.
        independent: whether the noise of each read is its own: neither correlated nor that of steps that vary.
    """

    problem: Problem
    values: Values
    uncertainty: Uncertainty
    means: frozenset[str]
    recordings: tuple[Continued, ...]
    independent: bool = True


def fitted(fit: FitResult | JointResult) -> Fitted:
    """Raises `InputError` for a fit whose measurement cannot be designed further."""
    return _joint(fit) if isinstance(fit, JointResult) else _single(fit)


def _single(fit: FitResult) -> Fitted:
    recipe = fit.recipe
    law = next((c for c in recipe.candidates if c.title == fit.choice), recipe.ramps)
    problem = fit.problem
    device = recipe.model if recipe.device else None
    one = _continued(
        "", fit.forward, fit.curve, problem.seen, float(np.median(fit.sigma)), {name: name for name in fit.names},
        lambda p: p, device, lambda curve, rows: recipe.forward_of(curve, rows, law), what=recipe.name,
    )  # fmt: skip
    alone = fit.spread is None and problem.whiten is None
    return Fitted(problem, fit.values, fit.uncertainty, frozenset(), (one,), alone)


def _joint(fit: JointResult) -> Fitted:
    stage = fit.stages[-1]
    forward, found = stage.forward, []
    for k, (one, rows) in enumerate(zip(forward.observations, forward.rows, strict=True)):
        if not forward.names[k]:
            continue
        law = {"course": one.spec.ramps.course, "start": one.spec.ramps.start}
        model = partial(fit.recipe.forward, law=law, device=one.model, circuit=one.spec.circuit)
        noise = float(np.median(stage.problem.sigma[rows]))
        local = partial(_at, forward.local, k)
        made = _continued(
            one.name, one.forward, one.recording, stage.problem.seen[rows], noise, forward.names[k], local, one.model,
            model, what=one.name,
        )  # fmt: skip
        found.append(made)
    means = frozenset(name for name, u in forward.unknowns.items() if u.scope == "population" and not u.group)
    noises = [one.spec.noise for one in forward.observations]
    alone = not any(noise.step or noise.correlation for noise in noises)
    return Fitted(stage.problem, stage.values, stage.uncertainty, means, tuple(found), alone)


def _at(local: Callable[[int, Mapping[str, float]], Values], k: int, p: Values) -> Values:
    return local(k, p)


def _continued(
    name: str,
    forward: Forward,
    curve: Recording,
    rows: Rows,
    noise: float,
    names: Mapping[str, str],
    local: Callable[[Values], Values],
    device: DeviceModel | None,
    model: Callable[[Recording, Rows], Forward],
    *,
    what: str,
) -> Continued:
    if isinstance(forward, CircuitForward):
        _require_driven(forward, what)
    elif isinstance(forward, PointForward) and not forward.over:
        raise InputError(
            f"{what} was fitted by a function of no single column, for which further measurements are not designed",
            remedy="fit the device, where that is possible",
        )
    began = frozenset(
        names[state.initial] for state in (device.all_states if device is not None else ()) if state.initial in names
    )
    quick = None
    if forward.stand_in is not None and device is not None:
        quick = partial(forward_for, device)

    def made(longer: Recording, rows: Rows) -> Forward:
        found = model(longer, rows)
        if isinstance(found, CircuitForward) and isinstance(forward, CircuitForward):
            found.differ_as(forward)
        return found

    over = forward.over if isinstance(forward, PointForward) else ""
    return Continued(name, curve, rows, noise, names, local, began, made, quick, forward.expensive, over)


def _require_driven(forward: CircuitForward, what: str) -> None:
    """Raise `InputError` where the rows of a curve do not drive its bench, or each of them is a run of its own."""
    curve, stimuli = forward.curve, forward.original.file.stimuli
    drives = forward.spec.drive is not None or any(name in stimuli for name in curve.columns)
    if not isinstance(forward.runs, Runs):
        reason, remedy = "simulates each row on its own", "fit the device alone, where that is possible"
    elif curve.kind in DRIVEN and not drives:
        reason, remedy = "is driven by nothing of the recording", "name the stimulus: circuit.drive"
    elif curve.kind == "values" and drives:
        reason, remedy = "takes a waveform from its rows", 'give it as kind = "transient"'
    else:
        return
    raise InputError(f"further measurements are not designed for {what}: its bench {reason}", remedy=remedy)


def continued(recordings: tuple[Continued, ...], unknown: str, *, most: int) -> Iterator[Continued]:
    """Those that bear an unknown, at most ``most`` of each kind, spread over the list."""
    by_kind: dict[str, list[Continued]] = {}
    for one in recordings:
        if unknown in one.names.values():
            by_kind.setdefault(one.curve.kind, []).append(one)
    for listed in by_kind.values():
        yield from spread_over(listed, most)


def spread_over(listed: list[T], most: int) -> list[T]:
    """At most ``most`` of a list, at even distances."""
    if len(listed) <= most:
        return listed
    return [listed[k] for k in dict.fromkeys(np.linspace(0, len(listed) - 1, most).round().astype(int).tolist())]
