"""What programs whose device is one conductance take of a surrogate: pulses of one size, and what they leave.

The amplitudes of a pulse up and one down are those of the domain whose largest step comes nearest to `STEP` of the
state's certified range (our choice): such programs know small steps of one size, and no voltage.

A cell is programmed without looking: from the low end of its certified range by as many pulses up as bring a nominal
cell nearest to the target. What is left is the distance to the nearest reachable conductance, and, where a spread of
parameters is certified, that of the cell from a nominal one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.stats import truncnorm

from cosim.devices.base import Array, Values
from cosim.errors import InputError
from cosim.export.golden import deviating, span_of
from cosim.export.program import subject
from cosim.surrogate.base import deviation_within
from cosim.surrogate.model import Surrogate

READING = "conductance"
STEP = 0.02
CANDIDATES = 401
NODES = 61  # of steps over the state; aihwkit takes fewer than 64 on a GPU
SCALE = 201  # conductances over the state
INSTANCES = 1000  # drawn to see how much a step differs from device to device
MOST = 400  # pulses from the low end, whether or not more would move a cell (our choice)
LEAST = 1e-4  # of the range: a pulse that moves less is the last one (our choice)
CELLS = 64  # drawn from the certified spread
TARGETS = 50  # of golden programming


def plain(surrogate: Surrogate) -> Surrogate:
    """A nominal cell, in double precision."""
    return surrogate.with_(policy="warn", instances={}, dtype="float64")


def nodes(surrogate: Surrogate, count: int = NODES) -> Array:
    """(count,) states, evenly over the certified range."""
    (state,) = surrogate.map.states
    return np.linspace(*span_of(surrogate, state, surrogate.map.states[state]), count)


def steps(surrogate: Surrogate, amplitude: float | Array, states: Array) -> Array:
    """The change of the state by a pulse, as a share of its certified range; amplitudes and states broadcast."""
    (state,), (given,) = surrogate.map.states, surrogate.map.inputs
    low, high = span_of(surrogate, state, surrogate.map.states[state])
    after: Array = plain(surrogate).step(Values({state: states}), Values({given: np.asarray(amplitude)}))[0][state]
    return (after - states) / (high - low)


def amplitudes(surrogate: Surrogate, program: str) -> Mapping[str, list[float]]:
    """The amplitudes of a pulse up and one down, in this order. Raises `InputError` for a map that has no such pair.

    ``program`` is the one whose device they drive.
    """
    if len(surrogate.map.states) != 1 or len(surrogate.map.inputs) != 1:
        raise InputError(
            f"the map {surrogate.name} of {surrogate.device} has {len(surrogate.map.states)} states and "
            f"{len(surrogate.map.inputs)} inputs, and a device of {program} one weight and one pulse",
            remedy="export a map with one state and one amplitude, or take another target",
        )
    ((given, entry),) = surrogate.map.inputs.items()
    candidates = np.linspace(*span_of(surrogate, given, entry), CANDIDATES)
    moved = steps(surrogate, candidates[:, None], nodes(surrogate))
    found: list[float] = []
    for sign in (1.0, -1.0):
        largest = np.max(sign * moved, axis=1)
        sizes = np.where((np.min(sign * moved, axis=1) >= -1e-9) & (largest > 0.0), largest, -np.inf)
        if not np.isfinite(np.max(sizes)):
            way = "up" if sign > 0 else "down"
            raise InputError(
                f"no certified {given} moves the state {way}", remedy="certify both polarities, beyond the thresholds"
            )
        found.append(float(candidates[int(np.argmin(np.abs(sizes - STEP)))]))
    return {given: found}


def drawn(surrogate: Surrogate, *, count: int, seed: int = 0) -> dict[str, Array]:
    """(count,) of each parameter that may differ.

    Of a certified spread they are normal about the nominal value, and drawn anew beyond what is certified; of instances
    without a certificate they are those of some instances.
    """
    rng, nominal, found = np.random.default_rng([seed, 0]), surrogate.parameters.resolved(), {}
    if surrogate.certificate is None or not surrogate.certificate.domain.parameters:
        chosen = rng.integers(0, max((x.size for x in surrogate.instances.values()), default=1), count)
        return {name: np.broadcast_to(x.ravel(), (x.size,))[chosen % x.size] for name, x in surrogate.instances.items()}
    for name, (low, high) in deviating(surrogate).items():
        size = abs(deviation_within(float(nominal[name]), (low, high)) * float(nominal[name]))
        begin, end = ((edge - float(nominal[name])) / (size or 1.0) for edge in (low, high))
        found[name] = truncnorm.rvs(begin, end, loc=float(nominal[name]), scale=size, size=count, random_state=rng)
    return found


def deviation(surrogate: Surrogate, amplitude: float) -> float:
    """The standard deviation of a step's logarithm in the middle of the range, over the spread of parameters.

    The steps of a cell depend on its parameters by exponentials and powers, and keep their sign: their logarithms are
    nearer to a normal distribution than they are. Of cells that such a pulse moves.
    """
    own = drawn(surrogate, count=INSTANCES)
    if not own:
        return 0.0
    (state,), (given,) = surrogate.map.states, surrogate.map.inputs
    middle = np.full(INSTANCES, 0.5 * sum(span_of(surrogate, state, surrogate.map.states[state])))
    cells = surrogate.with_(instances=own, policy="warn")
    after = cells.step(Values({state: middle}), Values({given: np.full(INSTANCES, amplitude)}))[0][state]
    moved = np.abs(after - middle)
    return float(np.std(np.log(moved[moved > 0.0])))


def conductances(surrogate: Surrogate, program: str) -> tuple[Array, Array]:
    """States over the certified range, and their conductances (S). Raises `InputError` where these do not make a scale.

    ``program`` is the one whose device is one conductance.
    """
    if READING not in surrogate.map.outputs or len(surrogate.map.states) != 1:
        raise InputError(
            f"the map {surrogate.name} of {subject(surrogate)} has {len(surrogate.map.states)} states"
            f"{'' if READING in surrogate.map.outputs else ' and no conductance'}, and a device of {program} is one "
            "conductance",
            remedy="export a map with one state and a conductance, or take another target",
        )
    (state,) = surrogate.map.states
    states = nodes(surrogate, SCALE)
    found = np.asarray(surrogate.read(Values({state: states}))[READING], dtype=float)
    if not np.all(np.diff(found) > 0.0):
        raise InputError(f"the conductance of {subject(surrogate)} does not rise with {state}, as {program}'s does")
    return states, found


@dataclass(frozen=True)
class Programmed:
    """Programming without looking.

    Args:
        surrogate: of one state, whose conductance rises with it.
        program: the one whose device is one conductance.
    """

    surrogate: Surrogate
    program: str

    @cached_property
    def up(self) -> float:
        """The amplitude of a pulse."""
        ((_, (up, _)),) = amplitudes(self.surrogate, self.program).items()
        return up

    @cached_property
    def states(self) -> Array:
        """(n,) of a nominal cell after 0, 1, 2, ... pulses. Raises `InputError` where pulses reach none."""
        states, _ = conductances(self.surrogate, self.program)  # refuses what has no conductance, or several states
        low, high = float(states[0]), float(states[-1])
        found = self._climbed(plain(self.surrogate), np.array([low]), pulses=MOST)[:, 0]
        moving = np.flatnonzero((np.diff(found) > LEAST * (high - low)) & (found[1:] <= high))
        if moving.size < 2:
            raise InputError(f"pulses of {subject(self.surrogate)} reach no conductance from the low end of its range")
        return found[: moving[-1] + 2]

    @cached_property
    def levels(self) -> list[float]:
        """(n,) S, of a nominal cell."""
        return self._read(plain(self.surrogate), self.states)

    @cached_property
    def cells(self) -> list[list[float]]:
        """(`CELLS`, n) S, of cells drawn from the certified spread; empty without one."""
        own = drawn(self.surrogate, count=CELLS)
        if not own:
            return []
        cells = self.surrogate.with_(policy="warn", instances=own, dtype="float64")
        path = self._climbed(cells, np.full(CELLS, self.states[0]), pulses=self.states.size - 1)
        return np.array([self._read(cells, row) for row in path]).T.tolist()  # type: ignore[no-any-return]

    def golden_text(self) -> str:
        """What pulses leave of targets drawn over the range, by the surrogate's `step` alone, as JSON in SI units.

        ``targets`` and ``left`` of a nominal cell, (n,) S, and the ``spread``, which is the deviation (S) of many cells
        that are programmed to the first target: other cells than `cells`.
        """
        (state,) = self.surrogate.map.states
        targets = np.random.default_rng(1).uniform(self.levels[0], self.levels[-1], TARGETS)
        seen = [self.levels[0]]
        x, nominal = Values({state: self.states[:1]}), plain(self.surrogate)
        for _ in range(self.states.size - 1):
            x, outputs = nominal.step(x, self._pulse(1))
            seen.append(float(outputs[READING][0]))
        reached = np.array(seen)
        pulses = np.argmin(np.abs(reached[:, None] - targets), axis=0)
        own = drawn(self.surrogate, count=INSTANCES, seed=1)
        spread = 0.0
        if own:
            cells = self.surrogate.with_(policy="warn", instances=own, dtype="float64")
            x, found = Values({state: np.full(INSTANCES, self.states[0])}), np.full(INSTANCES, reached[0])
            for _ in range(int(pulses[0])):
                x, outputs = cells.step(x, self._pulse(INSTANCES))
                found = outputs[READING]
            spread = float(np.std(found))
        return json.dumps({"targets": targets.tolist(), "left": reached[pulses].tolist(), "spread": spread}) + "\n"

    def _pulse(self, count: int) -> Values:
        (given,) = self.surrogate.map.inputs
        return Values({given: np.full(count, self.up)})

    def _read(self, surrogate: Surrogate, states: Array) -> list[float]:
        (state,) = surrogate.map.states
        found: list[float] = np.asarray(surrogate.read(Values({state: states}))[READING], dtype=float).tolist()
        return found

    def _climbed(self, surrogate: Surrogate, states: Array, *, pulses: int) -> Array:
        """(pulses + 1, n): the states after 0, 1, 2, ... pulses up."""
        (state,) = surrogate.map.states
        path = [states]
        for _ in range(pulses):
            path.append(surrogate.advance(Values({state: path[-1]}), self._pulse(states.size))[state])
        return np.stack(path)
