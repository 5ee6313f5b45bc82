"""Trains whose steps vary from pulse to pulse, in a fit of several observations (`cosim.fitting.process`).

Each has a variation and a noise of its own. They take turns with the parameters, as a correlation does: at given gains
the train is one more forward model, that predicts each read from those before it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from cosim.devices.base import Array, Values
from cosim.errors import InputError, at
from cosim.fitting.forward import Rows
from cosim.fitting.forwards.pulse_train import PulseTrainForward
from cosim.fitting.observation import JointForward, Observation
from cosim.fitting.process import FilteredTrain, TrainNoise, likely_noise
from cosim.fitting.recipe_tables import NoiseSpec

# First guesses: the variation of a step, and how much of what a train leaves is noise of its reads.
STEP, READ = 0.2, 0.3


def require_train(kind: str, stated: NoiseSpec, *, circuit: bool) -> None:
    """Raise `InputError` where varying steps are stated and are not for such an observation."""
    if not stated.step:
        return
    reason = ""
    if kind != "pulse train":
        reason = f"noise.step is for pulse trains, and the observation is of kind {kind!r}"
    elif circuit:
        reason = "noise.step is not for a pulse train that is fitted through a circuit"
    elif stated.correlation:
        reason = "noise.step and noise.correlation are two models of the same noise"
    if reason:
        with at("noise", "step"):
            raise InputError(reason, remedy="remove it" if not stated.correlation else "remove one of them")


def varies(one: Observation) -> bool:
    """Whether an observation is a train that the recipe says has varying steps."""
    return bool(one.spec.noise.step) and isinstance(one.forward, PulseTrainForward)


def noise_known(one: Observation) -> bool:
    """Whether everything about an observation's noise was stated."""
    return one.noise is not None and one.spec.noise.step != "fit"


@dataclass(frozen=True)
class Stepping:
    """The noise of the trains of a joint fit whose steps vary, by the number of the observation."""

    spread: Mapping[int, TrainNoise]

    @classmethod
    def begun(cls, forward: JointForward, rows: Rows) -> tuple[JointForward, Stepping | None]:
        """Each train predicted from the read before, of which ``rows`` (n,) are used; None where no steps vary."""
        made = {}
        for k, (one, part) in enumerate(zip(forward.observations, forward.rows, strict=True)):
            if varies(one):
                assert isinstance(one.forward, PulseTrainForward)
                made[k] = FilteredTrain.of(one.forward, rows[part], gain=np.ones(len(one.recording)))
        if not made:
            return forward, None
        return _with(forward, made), cls({})

    def next(self, forward: JointForward, p: Values, rows: Rows, sigma: Array) -> tuple[JointForward, Stepping, Array]:
        """The trains with the gains of their most likely noise at ``p``, and the deviations (n,) of all rows."""
        made, spread, found = dict[int, FilteredTrain](), dict[int, TrainNoise](), sigma.copy()
        for k, (one, part) in enumerate(zip(forward.observations, forward.rows, strict=True)):
            train, measured = one.forward, one.recording.measured
            if not isinstance(train, FilteredTrain):
                continue
            used, here, step = rows[part], forward.local(k, p), one.spec.noise.step
            stated = one.noise_of(train.predict(here))
            base = np.full(used.size, float(np.std(measured[used]))) if stated is None else stated
            left = (train.predict(here) - measured)[used] / base[used]
            last = self.spread.get(k) or TrainNoise(
                STEP if step == "fit" else float(step or 0.0),
                READ * float(np.sqrt(np.mean(left**2))) if one.noise is None else 1.0,
            )
            train = FilteredTrain.of(train, used, gain=train.gain, side=one.side)
            spread[k] = likely_noise(
                train, here, measured, base, start=last, read=one.noise is None, step=step == "fit"
            )  # fmt: skip
            found[part], gain, width = train.linear(here).filtered(spread[k], base, used)
            made[k] = train.with_gain(gain, found[part], width)
            made[k]._noise = spread[k], base
        return _with(forward, made), Stepping(spread), found

    @property
    def numbers(self) -> Array:
        """All of them, to see whether they still change."""
        return np.array([value for one in self.spread.values() for value in (one.step, one.read)])


def found(one: Observation) -> TrainNoise | None:
    """What a fit found of a train whose steps vary, the noise of a read in S."""
    if not isinstance(one.forward, FilteredTrain) or one.forward._noise is None:
        return None
    spread, base = one.forward._noise
    return replace(spread, read=spread.read * float(np.median(base[one.forward.fitted])))


def _with(forward: JointForward, made: Mapping[int, FilteredTrain]) -> JointForward:
    observations: Sequence[Observation] = [
        replace(one, forward=made[k]) if k in made else one for k, one in enumerate(forward.observations)
    ]
    return JointForward(observations, forward.specs)
