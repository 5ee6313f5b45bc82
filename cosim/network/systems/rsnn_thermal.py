"""Thermal synapses of `cosim.network.systems.rsnn`: what a data frame's temperatures write (arXiv 2411.18272).

A weight is the difference of two conductances; eligibility is the temperature that `cosim.network.heated_eprop`
gathers in the network's loop, with the decay of the device's own slow pole. After a data frame the whole array gets one
write pulse, and each device moves by its temperature: the map ``published`` of `thermal_reram` (Eq. 27), to the nearest
level, with the variability of Sec. 7.5.

All writes are SET pulses, as in Fig. 5: what has to grow was heated. They drive both devices of a pair towards the top
of their range, so a pair that comes near it is set back, both devices by as many levels, which keeps its weight (our
choice; differential pairs of phase-change memory are refreshed likewise, Boybat et al., Nat. Commun. 9:2514, 2018).
With ``writes="alternate"`` frames take turns instead: after one the array gets SET pulses, after the next RESET pulses,
and what has to shrink was heated. That needs no refresh, but it forgets: in Eq. 27 steps up are larger from below and
steps down larger from above, so that whatever heats both devices of a pair pulls them together. In the middle of the
range d ln|ΔG|/dg is 1.8 + b + c d ln θ: at θ = 0.1 it is −1.3 for SET, and 4.1 for RESET.

A heater warms its neighbours by `ThermalSettings.coupling`, at once and with its own time constant, so that the sum
over a frame is warmed as each step is: crosstalk is added when the frame ends. While it lasts, W(T) sees a device's own
heater alone. How pairs are laid out decides what crosstalk does. Side by side in a row (+, −, +, −) each heats its own
counterpart most. In two arrays, one of all + and one of all −, neighbours are other synapses of the same sign: what a
pair gets in all is then the update smeared over its neighbours, and keeps its sign.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cosim.devices.base import Array, Values
from cosim.errors import InputError
from cosim.network.crossbar import ALL, Crossbar
from cosim.network.heated_eprop import HeatedEProp, HeatedOfValues
from cosim.network.systems.maze_settings import scattered, synapse, time_constant
from cosim.network.systems.rsnn_settings import RsnnSettings, ThermalSettings
from cosim.surrogate.model import Surrogate

HALVES = ("plus", "minus")
BALANCED_AT = 0.5, 0.1  # state and rise at which SET and RESET move a device as far: usual ones
EDGES = np.linspace(-0.5, 0.5, 101)  # of the histogram of ΔG/G0


def devices(settings: ThermalSettings) -> Surrogate:
    """All devices, before they differ; raises `InputError` for a parameter set of another device."""
    cells = synapse(settings)
    changes = {} if settings.tau is None else {"tau_slow": settings.tau}
    changes |= {} if settings.alpha is None else {"alpha": settings.alpha}
    if not changes:
        return cells
    return cells.with_(parameters=cells.parameters.with_values(changes, name=cells.parameters.name))


def heating(network: RsnnSettings, settings: ThermalSettings, cells: Surrogate, *, values: bool) -> HeatedEProp:
    """By which temperatures gather; ``values``: of inputs that are values."""
    p = cells.parameters.resolved()
    return (HeatedOfValues if values else HeatedEProp)(
        beta=network.beta,
        tau=network.tau,
        threshold=network.threshold,
        keep=math.exp(-settings.step / time_constant(p)),
        scale=settings.unit / (settings.f_full * settings.q_full),
        f_full=settings.f_full,
        q_full=settings.q_full,
        alpha=float(p.alpha) * float(p.full_scale_rise),
    )


class ThermalArray:
    """(n, m) pairs of devices that hold weights.

    Attributes:
        bars: the devices that count positive, and those that count negative.
        histogram: of ΔG/G0 over `EDGES`, of all writes of heated devices; its ends take what lies beyond.
        counts: devices that a heated write met, those that it took to another level, those of a rise beyond that which
            counts as 1, where the map ends, and pairs that were refreshed.
        missed: weights of the beginning that the range of the devices cut off.
        out: (n, m) pairs that the test of their devices left out.
    """

    def __init__(self, weights: Array, settings: ThermalSettings, cells: Surrogate, rng: np.random.Generator) -> None:
        p = cells.parameters.resolved()
        self.settings, self.cells, self.full = settings, cells, float(p.full_scale_rise)
        low = 1.0 / float(p.ratio)
        share = weights / (2.0 * settings.gain * (1.0 - low))
        self.missed = int(np.sum(np.abs(share) > 0.5))
        spread = settings.device_spread
        halves = [scattered(cells, p, spread, weights.shape, rng) if spread else {} for _ in HALVES]
        self.out = out = np.broadcast_to(self._screened(halves, p), weights.shape)
        self.bars = []
        for sign, own in zip((1.0, -1.0), halves, strict=True):
            w = np.where(out, 0.0, np.clip(0.5 + sign * share, 0.0, 1.0))
            if settings.levels:
                w = np.round(w * (settings.levels - 1)) / (settings.levels - 1)
            own |= {name: np.where(out, 0.0, x) for name, x in own.items() if name in ("a_set", "a_reset")}
            state = {"w": w, "rise_fast": np.zeros(w.shape), "rise_slow": np.zeros(w.shape)}
            self.bars.append(Crossbar(cells.with_(instances=own), state, by_column=False, levels=settings.levels))
        self.down = _balanced(cells, p)
        most = cells.map.inputs["pulses"].range[1]
        if settings.pulses * max(self.down if settings.writes == "alternate" else 1.0, 1.0) > most:
            raise InputError(
                f"a write of {settings.pulses:g} published pulses is beyond the {most:g} that the devices' map goes to",
                remedy="give fewer, and a larger gain",
            )
        self.histogram = np.zeros(len(EDGES) - 1, dtype=np.int64)
        self.counts = np.zeros(4, dtype=np.int64)

    def _screened(self, halves: Sequence[Mapping[str, Array]], p: Values) -> NDArray[np.bool_]:
        """(n, m) pairs with a device that a usual write moves too far."""
        surface, limit = self.cells.map.device.surface, self.settings.screen  # type: ignore[attr-defined]
        out = np.zeros((), dtype=np.bool_)
        for own in halves if limit else ():
            for polarity in (1, -1) if self.settings.writes == "alternate" else (1,):
                steps = (surface(*BALANCED_AT, of, polarity=polarity) for of in (p.with_(**own), p))
                out = out | (next(steps) > limit * next(steps))
        return out

    def shares(self) -> tuple[Array, Array]:
        """(n, m) cold conductances of both halves over the full scale."""
        plus, minus = (bar.weight.copy() for bar in self.bars)
        return plus, minus

    def states(self) -> tuple[Array, Array]:
        """(n, m) of both halves, between 0 and 1."""
        plus, minus = (bar.state["w"] for bar in self.bars)
        return plus, minus

    def write(self, rises: tuple[Array, Array], *, up: bool, rng: np.random.Generator, share: float = 1.0) -> None:
        """One pulse for all, SET (``up``) or RESET, at the ``rises`` (n, m) of both halves, in units of Eq. 27's; a
        ``share`` of the settings' pulses.
        """
        pulses = self.settings.pulses * share * (1.0 if up else -self.down)
        warmed = crosstalk(rises, self.settings.coupling, layout=self.settings.layout)
        for bar, rise in zip(self.bars, warmed, strict=True):
            before = bar.weight.copy()
            cold = np.zeros(rise.shape)
            bar.load({"rise_slow": rise * self.full})
            spread = self.settings.cycle_spread
            scatter = spread * rng.standard_normal(rise.shape) if spread else cold
            bar.touch(ALL, {"heater": cold, "pulses": np.full(rise.shape, pulses), "scatter": scatter})
            bar.flags.clear()  # rises beyond the full scale are counted
            bar.load({"rise_slow": cold})
            heated = (rise > 0.0) & ~self.out
            steps = (bar.weight / before - 1.0)[heated]
            self.histogram += np.histogram(np.clip(steps, EDGES[0], EDGES[-1]), EDGES)[0]
            self.counts[:3] += [np.count_nonzero(heated), np.count_nonzero(steps), np.count_nonzero(rise > 1.0)]
        if self.settings.writes == "set":
            self._refresh()

    def _refresh(self) -> None:
        """Both devices of a pair that has come to the end of its range by as many levels back."""
        plus, minus = self.states()
        low, high = self.settings.refresh
        worn, steps = np.maximum(plus, minus) > high, self.settings.levels - 1
        back = np.where(worn, np.maximum(np.minimum(plus, minus) - low, 0.0), 0.0)
        back = np.floor(back * steps) / steps if steps > 0 else back
        self.counts[3] += np.count_nonzero(back)
        for bar, x in zip(self.bars, (plus - back, minus - back), strict=True):
            bar.load({"w": x})

    def state(self) -> dict[str, NDArray[Any]]:
        """All that changes, copied."""
        halves = {f"w_{name}": bar.state["w"].copy() for name, bar in zip(HALVES, self.bars, strict=True)}
        return {**halves, "histogram": self.histogram.copy(), "counts": self.counts.copy()}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """The inverse of `state`."""
        for name, bar in zip(HALVES, self.bars, strict=True):
            bar.load({"w": state[f"w_{name}"]})
        self.histogram[:], self.counts[:] = state["histogram"], state["counts"]


def _balanced(cells: Surrogate, p: Values) -> float:
    """RESET pulses per SET pulse by which a device in its middle is moved as far."""
    surface = cells.map.device.surface  # type: ignore[attr-defined]  # `devices` gives a thermal ReRAM
    up, down = (float(surface(*BALANCED_AT, p, polarity=polarity)) for polarity in (1, -1))
    return math.log1p(up) / -math.log1p(-down)


def crosstalk(
    rises: tuple[Array, Array], coupling: tuple[float, float, float], *, layout: str = "beside"
) -> tuple[Array, Array]:
    """The rises (n, m) of both halves with what heaters beside them add."""
    if not any(coupling):
        return rises
    if layout == "apart":
        plus, minus = (_warmed(half, coupling) for half in rises)
        return plus, minus
    n, m = rises[0].shape
    found = _warmed(np.stack(rises, axis=2).reshape(n, 2 * m), coupling)
    return found[:, 0::2], found[:, 1::2]


def _warmed(rises: Array, coupling: tuple[float, float, float]) -> Array:
    """Those of one array, (rows, columns), with what its eight neighbours add to each."""
    row, column, diagonal = coupling
    own = np.pad(rises, 1)
    in_row = own[:, :-2] + own[:, 2:]
    found: Array = rises + row * in_row[1:-1] + diagonal * (in_row[:-2] + in_row[2:])
    found += column * (own[:-2, 1:-1] + own[2:, 1:-1])
    return found


def coupling_of(at: Mapping[str, float]) -> tuple[float, float, float]:
    """Row, column and diagonal from the coefficients of a heat solution (`cosim.heat.response.StepResponse.at`), which
    are over the heater's rise; here they are over the rise of the heated device itself.
    """
    return at["B row"] / at["A"], at["B column"] / at["A"], at["C"] / at["A"]


def told(writes: Mapping[str, Any], settings: ThermalSettings) -> list[str]:
    """What became of the writes, as sentences."""
    out = [
        f"{writes['heated']:.3g} writes of heated devices: {writes['moved']:.1%} moved the device, "
        f"{writes['hot']:.2%} were hotter than the map of the devices goes, and took its last step"
    ]
    if writes["out"]:
        out.append(f"{writes['out']:.1%} of the pairs are left out, since a test moved one of their devices too far")
    if writes["refreshed"]:
        out.append(f"{writes['refreshed']} times a pair was set back from the end of its range")
    if writes["f_bound"] or writes["q_bound"]:
        out.append(
            f"the heaters' bounds cut f in {writes['f_bound']:.2%} of the steps of a row, and the learning signal in "
            f"{writes['q_bound']:.2%} of those of a neuron"
        )
    if writes["cut"]:
        out.append(
            f"{writes['cut']} first weights were beyond ±{settings.gain:g} times the devices' range, and cut to it"
        )
    return out
