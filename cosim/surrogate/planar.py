"""A flow in the plane, learned from waveforms: where two voltages of a circuit go by themselves, and when they arrive.

Between its inputs a spiking circuit is autonomous, and two of its voltages say where it is: the membrane v, which
leaks, and the stage n, which falls while v is above the circuit's threshold and comes back below it. What drives either
is a smooth function of both, read off every step of the waveforms:

    dv/dt = f(v, n),  dn/dt = g(v, n)

`flow_of` fits both by splines of arsinh(f / scale), so that slow and fast parts count alike, follows them from a grid
of points, and keeps what came of it: the `Flow`. The grid's first coordinate is the distance of v from the separatrix,
the membrane above which n reaches the ``line`` on which the circuit spikes; it is fine near the separatrix, where the
time to get there has a singularity.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from cosim.devices.base import Array
from cosim.surrogate.bases import Spline

CELLS = 128  # of a spline along either voltage
FINE = 768  # of the field's table along either voltage
PLACES, MOST = 400, 12  # along either voltage, from each of which so many points are taken at most
ROWS, TIMES = 33, 56  # of a flow's tables: stages and times
NEAREST, FAR, FURTHER = 2e-4, 0.05, 0.03  # of the membrane's range: distances from the separatrix, by the logarithm
FINER = 24  # up to ``FAR`` in so many steps, and evenly from there
APART_FROM = 0.04  # of the membrane's range below the separatrix: up to there the stage acts on the leak (our choice)
PULL = 4.0  # mean rates, the most by which it is drawn
BACK = 0.1  # of the time scale, in which a stage that no waveform had comes back to one (our choice)
NEAR, APART = 12, 4.0  # places between waveforms that count as theirs; from which on a place is far from all of them
SPLITS, SECTIONS = 5, 24  # by which the separatrix is found
STEP, GROWTH, LONGEST = 2.5e-3, 0.02, 0.02  # of the time scale: of a step at first, by how much it grows, at most


@dataclass(frozen=True)
class Flow:
    """What comes of a state (v, n) by itself (module docstring).

    Args:
        stages: (r,) V, evenly. edge: (r,) V, the separatrix at each. distances: (d,) V, rising, from it.
        times: (m,) s, rising, above 0.
        arrival: (2 d, r) s, until the spike; infinite below the separatrix.
        stage: (2 d, r, m) V, the stage after each time. shift: (2 d, r, m) V, by how much the membrane is above what
            `clock` gives.
        grid, clock: (c,) V and s, how long the membrane takes from ``grid`` to its first value with the stage at rest.
    """

    stages: Array
    edge: Array
    distances: Array
    times: Array
    arrival: Array
    stage: Array
    shift: Array
    grid: Array
    clock: Array

    def place(self, v: Array, n: Array) -> tuple[NDArray[np.int64], NDArray[np.int64], Array, Array, Array]:
        """Of states (k,): the tables' cell (along distance and stage), the place in it (0..1), and the distance (V)."""
        last = self.stages.size - 2
        y = (n - self.stages[0]) * ((last + 1) / (self.stages[-1] - self.stages[0]))
        row = np.clip(y.astype(np.int64), 0, last)
        y = np.clip(y - row, 0.0, 1.0)
        distance = v - (self.edge[row] + y * (self.edge[row + 1] - self.edge[row]))
        # no cell reaches across the separatrix
        half, above = self.distances.size // 2, distance > 0.0
        side, size = self.distances[half:], np.abs(distance)
        nearer = np.clip(np.searchsorted(side, size, side="right") - 1, 0, half - 2)
        x = np.clip((size - side[nearer]) / (side[nearer + 1] - side[nearer]), 0.0, 1.0)
        cell = np.where(above, half + nearer, half - 2 - nearer)
        x = np.where(above, x, 1.0 - x)
        return cell, row, x, y, distance

    def beside(self, v: Array, n: Array, *, spikes: NDArray[np.bool_]) -> Array:
        """``v``, or what is nearest to it on the side of the separatrix where the circuit ``spikes`` or does not."""
        edge = np.interp(n, self.stages, self.edge)
        near = self.distances[self.distances.size // 2]
        return np.asarray(np.where(spikes, np.maximum(v, edge + near), np.minimum(v, edge - near)))

    def arrives(self, v: Array, n: Array) -> Array:
        """(k,) s until the spike; infinite for states that come to none.

        Next to the separatrix it goes on as the logarithm of the distance.
        """
        cell, row, x, y, distance = self.place(v, n)
        table, half = self.arrival, self.distances.size // 2
        with np.errstate(invalid="ignore", divide="ignore"):
            found = (1.0 - x) * ((1.0 - y) * table[cell, row] + y * table[cell, row + 1]) + x * (
                (1.0 - y) * table[cell + 1, row] + y * table[cell + 1, row + 1]
            )
            nearest, further = self.distances[half : half + 2]
            steep = (table[half] - table[half + 1]) / np.log(further / nearest)
            steeper = ((1.0 - y) * steep[row] + y * steep[row + 1]) * np.log(nearest / distance)
            found = np.where((distance > 0.0) & (distance < nearest), found + steeper, found)
        return np.where((distance > 0.0) & np.isfinite(found), found, np.inf)

    def shifted(self, v: Array, n: Array, t: Array) -> Array:
        """(k,) V: how far the membrane is above what the leak makes of it, after ``t`` (k,) s."""
        found, early = self._read(self.shift, v, n, t)
        return early * found

    def staged(self, v: Array, n: Array, t: Array) -> Array:
        """(k,) V: the stage after ``t`` (k,) s."""
        found, early = self._read(self.stage, v, n, t)
        return n + early * (found - n)

    def _read(self, table: Array, v: Array, n: Array, t: Array) -> tuple[Array, Array]:
        """(k,) of a table after ``t``, at its first time at least, and the share of that time that it is."""
        cell, row, x, y, _ = self.place(v, n)
        z = np.clip(np.interp(np.log(np.maximum(t, 1e-30)), np.log(self.times), np.arange(self.times.size)), 0.0, None)
        at = np.minimum(z.astype(np.int64), self.times.size - 2)
        z = z - at
        found = np.zeros(v.size)
        for i, p in ((cell, 1.0 - x), (cell + 1, x)):
            for j, q in ((row, 1.0 - y), (row + 1, y)):
                found += p * q * ((1.0 - z) * table[i, j, at] + z * table[i, j, at + 1])
        return found, np.minimum(t / self.times[0], 1.0)

    def leaked(self, v: Array, t: Array) -> Array:
        """The membrane (k,) after ``t`` (s; below 0: before) with the stage at rest."""
        return np.interp(np.interp(v, self.grid, self.clock) - t, self.clock, self.grid)

    def arrays(self, prefix: str) -> dict[str, NDArray[Any]]:
        """Its numbers, for a file."""
        return {f"{prefix}_{one.name}": getattr(self, one.name) for one in fields(self)}

    @classmethod
    def rebuilt(cls, arrays: Mapping[str, NDArray[Any]], prefix: str) -> Self:
        """The inverse of `arrays`; raises KeyError or ValueError for what cannot be one."""
        own = {one.name: np.asarray(arrays[f"{prefix}_{one.name}"], dtype=float) for one in fields(cls)}
        if not all(np.all(np.isfinite(values)) for name, values in own.items() if name != "arrival"):
            raise ValueError("numbers that are not finite in a flow")
        if any(values.ndim != 1 or values.size < 2 or np.any(np.diff(values) <= 0.0)
               for values in (own[name] for name in ("stages", "distances", "times", "grid", "clock"))):  # fmt: skip
            raise ValueError("coordinates of a flow")
        plane = (own["distances"].size, own["stages"].size)
        whole = (*plane, own["times"].size)
        if own["edge"].shape != plane[1:] or own["arrival"].shape != plane or own["grid"].shape != own["clock"].shape:
            raise ValueError("tables of a flow")
        if own["stage"].shape != whole or own["shift"].shape != whole or np.any(np.isnan(own["arrival"])):
            raise ValueError("tables of a flow")
        return cls(**own)


class _Field:
    """dv/dt and dn/dt (V/s) at states, from a fine table.

    Where no waveform was, both are those of the nearest place where one was, and the stage is drawn back to there: no
    waveform says, for one, that it falls when it is above its rest.
    """

    def __init__(self, states: Array, rates: Array, dt: Array, settled: NDArray[np.bool_], scale: float,
                 rng: np.random.Generator) -> None:  # fmt: skip
        from scipy import ndimage

        margin = 0.05 * np.ptp(states, axis=0)
        self.low, self.high = states.min(axis=0) - margin, states.max(axis=0) + margin
        sizes = np.average(np.abs(rates[settled]), weights=dt[settled], axis=0)
        # what a reset has not let settle tells of places where nothing else was
        i, j = (PLACES * (states - self.low) / (self.high - self.low)).astype(np.int64).T
        known = np.zeros((PLACES, PLACES), dtype=bool)
        known[i[settled], j[settled]] = True
        kept_ = settled | ~ndimage.binary_dilation(known, iterations=NEAR)[i, j]
        states, rates, dt = states[kept_], rates[kept_], dt[kept_]
        # as many points from each place: most of the time a circuit is at rest
        order = rng.permutation(dt.size)
        x = (states[order] - self.low) / (self.high - self.low)
        i, j = (x * PLACES).astype(np.int64).T
        key = i * PLACES + j
        by = np.argsort(key, kind="stable")
        first = np.searchsorted(key[by], key[by], side="left")
        kept = by[np.arange(dt.size) - first < MOST]
        x, rates = x[kept], rates[order[kept]]
        seen = np.zeros((PLACES, PLACES), dtype=bool)
        seen[i, j] = True
        seen = ndimage.binary_closing(np.pad(seen, NEAR), iterations=NEAR)[NEAR:-NEAR, NEAR:-NEAR]
        # between the highest and the lowest stage that a membrane had, the spline finds its way
        seen = np.logical_or.accumulate(seen, axis=1) & np.logical_or.accumulate(seen[:, ::-1], axis=1)[:, ::-1]
        away, near = ndimage.distance_transform_edt(~seen, return_indices=True)
        sums = np.zeros((PLACES * PLACES, 2))
        np.add.at(sums, key[kept], rates)
        counts = np.maximum(np.bincount(key[kept], minlength=len(sums)), 1)
        mean: Array = (sums / counts[:, None]).reshape(PLACES, PLACES, 2)
        filled = ndimage.distance_transform_edt(mean[..., 1] == 0.0, return_distances=False, return_indices=True)
        mean = mean[tuple(filled)][tuple(near)]
        back = (near[1] - np.arange(PLACES)) * ((self.high[1] - self.low[1]) / PLACES / (BACK * scale))
        mean[..., 1] += np.clip(back, -PULL * sizes[1], PULL * sizes[1])
        far = np.argwhere(away > APART)
        x = np.concatenate([x, (far + 0.5) / PLACES])
        y = np.arcsinh(np.concatenate([rates, mean[tuple(far.T)]]) / sizes)
        spline = Spline.trained(2.0 * x - 1.0, y, CELLS)
        side = np.linspace(-1.0, 1.0, FINE + 1)
        mesh = np.stack(np.meshgrid(side, side, indexing="ij"), axis=-1).reshape(-1, 2)
        found = np.clip(spline.predict(mesh), y.min(axis=0), y.max(axis=0))
        self.table = np.sinh(found) * sizes

    def __call__(self, x: Array) -> Array:
        """(k, 2) of states (k, 2)."""
        at = np.clip((x - self.low) * (FINE / (self.high - self.low)), 0.0, FINE)
        cell = np.minimum(at.astype(np.int64), FINE - 1)
        p, q = (at - cell).T[:, :, None]
        i, j = cell.T
        first, table = i * (FINE + 1) + j, self.table
        near = (1.0 - q) * table.take(first, axis=0) + q * table.take(first + 1, axis=0)
        first += FINE + 1
        return np.asarray(
            (1.0 - p) * near + p * ((1.0 - q) * table.take(first, axis=0) + q * table.take(first + 1, axis=0))
        )

    def step(self, x: Array, h: float) -> Array:
        """(k, 2), ``h`` later, by the classical Runge-Kutta rule."""
        a = self(x)
        b = self(x + 0.5 * h * a)
        c = self(x + 0.5 * h * b)
        d = self(x + h * c)
        return np.asarray(x + h / 6.0 * (a + 2.0 * b + 2.0 * c + d))


def flow_of(
    states: Array,
    rates: Array,
    lasting: Array,
    settled: NDArray[np.bool_],
    *,
    line: tuple[Array, Array],
    scale: float,
    longest: float,
    leak: tuple[Array, Array],
    rng: np.random.Generator,
) -> Flow:
    """The flow that waveforms follow.

    Args:
        states: (k, 2) V, membrane and stage in the middle of each step of the waveforms without an input.
        rates: (k, 2) V/s, of both in that step. lasting: (k,) s, how long it is.
        settled: (k,) whether a reset before it is over and forgotten.
        line: membranes (V, rising) and the stage (V) at which the circuit spikes there; the stage falls to it.
        scale: s, of the circuit's spikes. longest: s, the longest time that is asked for.
        leak: membranes (V, rising) and the time (s) that the leak takes from each to the first.
    """
    field = _Field(states, rates, lasting, settled, scale, rng)
    top = float(states[:, 0].max())
    low, high = float(states[:, 1].min()), float(states[:, 1].max())
    lowest = max(low, float(np.min(line[1])))
    stages = np.linspace(lowest, high, ROWS)
    edge = _separatrix(field, stages, line=line, top=top, scale=scale)
    part = top * np.concatenate([np.geomspace(NEAREST, FAR, FINER), np.arange(FAR + FURTHER, 1.0 + FURTHER, FURTHER)])
    distances = np.concatenate([-part[::-1], part])
    times = np.geomspace(0.05 * scale, longest, TIMES)
    begin = np.stack(np.broadcast_arrays(edge[None, :] + distances[:, None], stages[None, :]), axis=-1).reshape(-1, 2)
    begin[:, 0] = np.clip(begin[:, 0], 0.0, field.high[0])
    arrival, path = _followed(field, begin, times, line=line, scale=scale)
    plane = (distances.size, stages.size)
    arrival = arrival.reshape(plane)
    arrival[: part.size] = np.inf
    # the farther above the separatrix, the sooner
    arrival[part.size :] = np.minimum.accumulate(arrival[part.size :], axis=0)
    alone = np.stack([np.interp(np.interp(begin[:, 0], *leak) - t, *leak[::-1]) for t in times], axis=1)
    shift, stage = (one.reshape(*plane, -1) for one in (path[..., 0] - alone, path[..., 1]))
    # farther below the separatrix the stage does nothing to the leak, and the field knows it less well than the clock
    shift *= np.clip(2.0 + distances / (APART_FROM * top), 0.0, 1.0)[:, None, None]
    return Flow(stages, edge, distances, times, arrival, stage, shift, *leak)


def _followed(
    field: _Field, begin: Array, times: Array, *, line: tuple[Array, Array], scale: float
) -> tuple[Array, Array]:
    """When each state (k, 2) arrives at the line (k,), s or infinite, and where it is at ``times`` (k, m, 2)."""
    x, t = begin.copy(), 0.0
    arrival = np.full(len(x), np.inf)
    above = x[:, 1] - np.interp(x[:, 0], *line)
    arrival[above <= 0.0] = 0.0
    path = np.empty((len(x), times.size, 2))
    for k, end in enumerate(times):
        while t < end * (1.0 - 1e-12):
            h = min(max(STEP * scale, GROWTH * t), LONGEST * scale * 4.0, end - t)
            x = np.clip(field.step(x, h), field.low, field.high)
            left = x[:, 1] - np.interp(x[:, 0], *line)
            hit = (left <= 0.0) & (above > 0.0) & np.isinf(arrival)
            with np.errstate(all="ignore"):
                arrival = np.where(hit, t + h * above / (above - left), arrival)
            above, t = left, t + h
        path[:, k] = x
    return arrival, path


def _separatrix(field: _Field, stages: Array, *, line: tuple[Array, Array], top: float, scale: float) -> Array:
    """(r,) V: at each stage the membrane above which the circuit spikes."""
    from scipy.optimize import isotonic_regression

    low, high = np.zeros(stages.size), np.full(stages.size, top)
    for _ in range(SPLITS):
        part = np.linspace(0.0, 1.0, SECTIONS)
        v = low + part[:, None] * (high - low)
        begin = np.stack(np.broadcast_arrays(v, stages), axis=-1).reshape(-1, 2)
        arrival, _ = _followed(field, begin, np.array([40.0 * scale]), line=line, scale=scale)
        fires = np.isfinite(arrival).reshape(v.shape)
        # from above: where no waveform was, the field may lead a state far below to the line all the same
        first = np.where(fires.all(axis=0), 1, SECTIONS - np.argmin(fires[::-1], axis=0)).clip(1, SECTIONS - 1)
        column = np.arange(stages.size)
        low, high = v[first - 1, column], v[first, column]
    # the lower the stage is already, the lower a membrane brings it to the line
    return np.asarray(isotonic_regression(0.5 * (low + high)).x)
