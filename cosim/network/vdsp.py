"""Unsupervised learning by voltage-dependent synaptic plasticity: images → LIF → 1T1R crossbar → adaptive LIF, WTA.

Source: arXiv 2510.25787 and its authors' published parameters (times in ms, potentials in input thresholds). Where text
and code differ, the code is followed: the programming voltage is the presynaptic potential at the postsynaptic spike.
Deviations (own): exact integration of the current between time steps; adaptation is carried on from image to image
through the gap; responses for the read-out start from rest, so that they do not depend on the order of the images.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from types import MappingProxyType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from cosim.errors import InputError, UnknownName
from cosim.network.crossbar import Crossbar
from cosim.network.encoders import CurrentEncoder
from cosim.network.layers import Layers, layers
from cosim.network.neurons import ALIF, LIF
from cosim.network.plasticity import PostSpike, Vdsp, default_scales
from cosim.surrogate.base import deviating_range
from cosim.surrogate.pulse import PulseSurrogate

Array = NDArray[np.float64]


@dataclass(frozen=True)
class VdspSettings:
    """The network's constants: the authors' published ones, but for the last four (own).

    Args:
        neurons: output neurons.
        encoder, input, output: currents and neurons.
        presentation, gap: of an image and after it, in ms.
        inhibition: how long a winner clamps the others, in ms.
        dt: time step in ms.
        scale_p, scale_d: scale factors of potentiation and depression; None: `default_scales`.
        w_init: range of the uniform initial states.
        scale_p_end, scale_d_end: where annealing ends; None: no annealing.
        anneal_steps: steps of the annealing per epoch.
        test_presentation: of an image for the read-outs S, P and NB, in ms.
        deviation: relative standard deviation of both thresholds from cell to cell; a certificate's ``spread`` of the
            same figure covers it.
    """

    neurons: int = 200
    encoder: CurrentEncoder = field(default_factory=CurrentEncoder)
    input: LIF = field(default_factory=lambda: LIF(tau=29.0, threshold=1.0, reset=-1.0, refractory=1.0))
    output: ALIF = field(
        default_factory=lambda: ALIF(tau=11.51, threshold=8.2, reset=0.0, refractory=3.0, jump=1.1, tau_threshold=115.1)
    )
    presentation: float = 40.0
    gap: float = 100.0
    inhibition: float = 12.0
    dt: float = 1.0
    scale_p: float | None = None
    scale_d: float | None = None
    w_init: tuple[float, float] = (0.0, 1.0)
    scale_p_end: float | None = None
    scale_d_end: float | None = None
    anneal_steps: int = 20
    test_presentation: float = 100.0
    deviation: float = 0.0

    def __post_init__(self) -> None:
        if self.neurons < 1 or self.anneal_steps < 1:
            raise InputError(f"a network of {self.neurons} neurons is none", remedy="give at least one")
        if not 0.0 < self.dt <= min(self.presentation, self.test_presentation) or self.gap < 0 or self.inhibition < 0:
            raise InputError("the times of the network do not fit its time step", remedy="give times >= dt > 0")
        if not 0.0 <= self.w_init[0] <= self.w_init[1] <= 1.0:
            raise InputError(f"initial states {self.w_init} are no range in 0..1", remedy="give e.g. (0, 1)")
        if not 0.0 <= self.deviation < 1.0:
            raise InputError(f"deviation {self.deviation:g} is no share", remedy="give e.g. 0.2 for 20 %")

    def fingerprint(self) -> str:
        """SHA-256 of all values."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()

    def with_(self, **changes: Any) -> Self:
        """A copy with some values changed."""
        return replace(self, **changes)


class VdspNetwork:
    """The network with its state: membranes, adaptation, and the crossbar."""

    def __init__(
        self,
        settings: VdspSettings,
        surrogate: PulseSurrogate,
        *,
        inputs: int,
        rng: np.random.Generator,
        backend: str = "auto",
    ) -> None:
        """A network with random initial states (and thresholds, where cells deviate) drawn from ``rng``."""
        self.settings = settings
        shape = (inputs, settings.neurons)
        w = rng.uniform(*settings.w_init, shape)
        if settings.deviation > 0.0:
            surrogate = surrogate.with_(instances=_deviating(surrogate, settings.deviation, shape, rng))
        self.layers: Layers = layers(backend)
        self.crossbar = Crossbar(surrogate, w, compiled=self.layers.name == "numba")
        scale_d, scale_p = default_scales(surrogate)
        self.scale_p = settings.scale_p if settings.scale_p is not None else scale_p
        self.scale_d = settings.scale_d if settings.scale_d is not None else scale_d
        self._rule = Vdsp.of(surrogate, scale_p=self.scale_p, scale_d=self.scale_d)
        self.v_in, self.hold_in = np.zeros(inputs), np.zeros(inputs)
        self.v_out, self.hold_out, self.raised = (np.zeros(settings.neurons) for _ in range(3))
        steps = self._steps(max(settings.presentation, settings.test_presentation))
        self._potential = np.empty((steps, inputs))
        self._starts = np.empty(steps + 1, dtype=np.int64)
        self._sources = np.empty(steps * inputs, dtype=np.int64)

    def _steps(self, time: float) -> int:
        return max(round(time / self.settings.dt), 1)

    @property
    def inputs(self) -> int:
        """Number of input neurons."""
        return self.crossbar.shape[0]

    def state(self) -> dict[str, Array]:
        """All that changes while learning, copied."""
        return {
            "w": self.crossbar.w.copy(),
            "pulses": np.array(self.crossbar.pulses),
            **{name: getattr(self, name).copy() for name in _STATE},
        }

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """The inverse of `state`; raises `InputError` for a network of another size."""
        if state["w"].shape != self.crossbar.shape:
            raise InputError(f"the saved network has {state['w'].shape} cells, this one {self.crossbar.shape}")
        self.crossbar.load(state["w"])
        self.crossbar.pulses = int(state["pulses"])
        for name in _STATE:
            getattr(self, name)[:] = state[name]

    def learn(
        self, images: NDArray[np.floating], rng: np.random.Generator, *, progress: float = 0.0
    ) -> NDArray[np.int64]:
        """Show ``images`` (k, inputs) in 0..1 one after another, learning; the spike counts (k, neurons).

        ``progress`` (0..1) is the place on the annealing of the scale factors, constant for this call.
        """
        s = self.settings
        rule = replace(
            self._rule,
            scale_p=_annealed(self.scale_p, s.scale_p_end, progress),
            scale_d=_annealed(self.scale_d, s.scale_d_end, progress),
        )
        counts = np.zeros((images.shape[0], s.neurons), dtype=np.int64)
        steps = self._steps(s.presentation)
        noise = np.empty((steps, self.inputs), dtype=np.float32)
        fade_in, fade_out = s.input.leak(s.gap), s.output.leak(s.gap)
        relax = math.exp(-s.gap / s.output.tau_threshold)
        for k, image in enumerate(np.asarray(images, dtype=float)):
            rng.standard_normal(out=noise, dtype=np.float32)
            self._inputs(image, noise, self.v_in, self.hold_in, bias=True)
            step = 0
            while True:
                step, winner = self._outputs(
                    step, steps, counts[k], self._memory(), clamp=s.inhibition, jump=s.output.jump, stop=True
                )
                if winner < 0:
                    break
                starts = self._starts[: steps + 1]
                spike = PostSpike(winner, step, self._potential[step - 1], starts, self._sources)
                self.crossbar.program(winner, rule.amplitudes(spike))
            self.v_in *= fade_in
            self.v_out *= fade_out
            self.raised *= relax
            self.hold_in[:] = np.maximum(self.hold_in - s.gap / s.dt, 0.0)
            self.hold_out[:] = np.maximum(self.hold_out - s.gap / s.dt, 0.0)
        return counts

    def respond(
        self, images: NDArray[np.floating], rng: np.random.Generator, *, protocol: str = "test"
    ) -> NDArray[np.int64]:
        """Spike counts (k, neurons) for ``images`` (k, inputs) with learning off, each image from rest.

        ``protocol`` "learning" is that of `learn`; "test" is longer, without bias, losers are reset but not clamped,
        and thresholds stay at rest.
        """
        if protocol not in ("learning", "test"):
            raise UnknownName("protocol", protocol, ("learning", "test"))
        s, test = self.settings, protocol == "test"
        counts = np.zeros((images.shape[0], s.neurons), dtype=np.int64)
        steps = self._steps(s.test_presentation if test else s.presentation)
        for k, image in enumerate(np.asarray(images, dtype=float)):
            # Without bias a dark pixel stays silent: only the others need to be run.
            lit = np.flatnonzero(image > s.encoder.cut) if test else np.arange(self.inputs)
            noise = rng.standard_normal((steps, lit.size), dtype=np.float32)
            spikes = self._inputs(image[lit], noise, np.zeros(lit.size), np.zeros(lit.size), bias=not test)
            self._sources[:spikes] = lit[self._sources[:spikes]]
            rest = tuple(np.zeros(s.neurons) for _ in range(3))
            clamp, jump = (0.0, 0.0) if test else (s.inhibition, s.output.jump)
            self._outputs(0, steps, counts[k], rest, clamp=clamp, jump=jump, stop=False)
        return counts

    def _memory(self) -> tuple[Array, ...]:
        return self.v_out, self.hold_out, self.raised

    def _inputs(self, image: Array, noise: NDArray[np.float32], v: Array, hold: Array, *, bias: bool) -> int:
        s = self.settings
        mean, deviation = s.encoder.currents(image, bias=bias)
        gain, steps = s.input.gain(s.dt), noise.shape[0]
        return self.layers.run_input(
            v, hold, mean * gain, deviation * gain, noise, s.input.leak(s.dt), s.input.threshold, s.input.reset,
            s.input.refractory / s.dt, self._potential[:steps, : v.size], self._starts[: steps + 1], self._sources,
        )  # fmt: skip

    def _outputs(
        self,
        step: int,
        steps: int,
        counts: NDArray[np.int64],
        memory: tuple[Array, ...],
        *,
        clamp: float,
        jump: float,
        stop: bool,
    ) -> tuple[int, int]:
        s = self.settings
        return self.layers.run_output(
            step, *memory, self.crossbar.weight, self._starts[: steps + 1], self._sources, counts, s.output.leak(s.dt),
            s.output.threshold, math.exp(-s.dt / s.output.tau_threshold), jump, s.output.refractory / s.dt,
            clamp / s.dt, stop,
        )  # fmt: skip


_STATE = ("v_in", "hold_in", "v_out", "hold_out", "raised")


def _annealed(start: float, end: float | None, progress: float) -> float:
    return start if end is None else start + (end - start) * min(max(progress, 0.0), 1.0)


def _deviating(
    surrogate: PulseSurrogate, deviation: float, shape: tuple[int, int], rng: np.random.Generator
) -> Mapping[str, Array]:
    """Thresholds from cell to cell: normal, what lies outside `deviating_range` put at its ends."""
    nominal = surrogate.parameters.resolved()
    return MappingProxyType(
        {
            name: np.clip(
                float(nominal[name]) * (1.0 + deviation * rng.standard_normal(shape)),
                *deviating_range(float(nominal[name]), deviation),
            )
            for name in ("theta_p", "theta_n")
        }
    )
