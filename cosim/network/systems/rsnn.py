"""Phones of speech by a recurrent spiking network that learns with e-prop (arXiv 2411.18272, Secs. 5.2 and 7.2).

39 features → 200 neurons, recurrent → a leaky read-out per phone, `cosim.network.eprop`. A data frame is an utterance:
weights change at its end alone, and the state that learns does not grow with its length. Each frame of 10 ms is some
time steps, and its answer is the read-out with the largest share at the last of them. Synapses are ideal.

The source's own values (Sec. 7.2) are ``source``. ``public`` are those of the published implementations of e-prop for
TIMIT (IGITUGraz, ChFrenkel) as far as this neuron has them: a shorter memory, and Adam over some utterances.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from cosim.data.speech import Speech, Utterance
from cosim.devices.base import Array
from cosim.errors import InputError, UnknownName
from cosim.network.crossbar import Ideal
from cosim.network.encoders import Current
from cosim.network.eprop import EProp, EPropOfValues, ReadOutDescent, Subtracting
from cosim.network.graph import Graph, Population, Projection
from cosim.network.neurons import Leaky, Softmax
from cosim.network.run import Purpose, RunResult, SeedResult, Streams, System
from cosim.network.simulation import Simulation

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LEARNING = ("into", "among", "read")
WIDEST = 100.0  # of an ideal weight
OPTIMISERS = ("sgd", "adam")
PARTS = ("train", "test", "unseen")


@dataclass(frozen=True)
class RsnnSettings:
    """The network's constants; times in ms.

    Args:
        hidden, tau, threshold, beta: of the layer (Sec. 7.2).
        rate: η per step of an utterance (``sgd``: Δw = −η Σ/steps), or Adam's.
        optimiser: "sgd" (source), or "adam".
        batch: utterances per change of the weights.
        tau_out: of the read-outs; not stated, that of the public implementations.
        filtered: whether the eligibility is low-passed as the read-out (Bellec; exact), or not (the source's Eq. 16).
        steps: per frame of 10 ms, of 10/steps ms each.
        feedback: "symmetric" (Eq. 12), or "random".
        spread: of the first weights, over 1/√(inputs of a neuron).
    """

    hidden: int = 200
    tau: float = 200.0
    threshold: float = 0.615
    beta: float = 0.3
    rate: float = 0.3
    optimiser: str = "sgd"
    batch: int = 1
    tau_out: float = 3.0
    filtered: bool = True
    steps: int = 5
    feedback: str = "symmetric"
    spread: float = 0.3

    def __post_init__(self) -> None:
        if self.optimiser not in OPTIMISERS:
            raise UnknownName("optimiser", self.optimiser, OPTIMISERS)
        if self.feedback not in ("symmetric", "random"):
            raise UnknownName("feedback", self.feedback, ("symmetric", "random"))
        if min(self.hidden, self.batch, self.steps) < 1:
            raise InputError("a network needs at least one neuron, one utterance a batch and one step a frame")
        if not min(self.rate, self.beta, self.spread) > 0.0:
            raise InputError("rate, beta and spread have to be above zero")

    def with_(self, **changes: Any) -> Self:
        """A copy with some values changed."""
        return replace(self, **changes)


PRESETS: Mapping[str, RsnnSettings] = {
    "source": RsnnSettings(),
    "public": RsnnSettings(tau=20.0, rate=0.01, optimiser="adam", batch=8),
}


@dataclass(frozen=True)
class RsnnSystem(System):
    """The network of ``settings`` on ``speech``, ``epochs`` times."""

    name: ClassVar[str] = "rsnn"

    settings: RsnnSettings
    speech: Speech
    epochs: int = 5
    backend: str = "auto"

    def __post_init__(self) -> None:
        if self.epochs < 1 or not self.speech.train or not self.speech.test:
            raise InputError("there is nothing to learn, or nothing to test", remedy="give utterances and epochs >= 1")

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of all that the numbers depend on, but for the seed."""
        about = [asdict(self.settings), self.speech.fingerprint, self.epochs]
        return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()

    @property
    def options(self) -> Mapping[str, str]:
        """Of the command line."""
        return {"data": self.speech.name, "epochs": str(self.epochs)} | {
            name: str(value) for name, value in asdict(self.settings).items()
        }

    @cached_property
    def batches(self) -> Sequence[int]:
        """Utterances of each batch."""
        whole, left = divmod(len(self.speech.train), self.settings.batch)
        return ((self.settings.batch,) * whole + (left,) * (left > 0)) * self.epochs

    def start(self, streams: Streams) -> RsnnRun:
        """The untrained network of a seed."""
        return RsnnRun(self, streams)

    def to_dict(self, seeds: Sequence[SeedResult]) -> dict[str, Any]:
        """Data and settings."""
        speech = self.speech
        return {
            "data": {
                "name": speech.name, "phones": len(speech.phones), "frames": speech.frames,
                **{part: len(getattr(speech, part)) for part in PARTS},
            },
            "settings": asdict(self.settings),
            "epochs": self.epochs,
        }  # fmt: skip

    def lines(self, seeds: Sequence[SeedResult]) -> list[str]:
        """The network, and each seed's shares of right frames beside what they are worth."""
        speech, s = self.speech, self.settings
        out = [
            f"network     {speech.train[0].features.shape[1]} -> {s.hidden} -> {len(speech.phones)}; {speech.name}, "
            f"{speech.frames} frames, {self.epochs} epochs; {s.optimiser}, rate {s.rate:g}"
        ]
        for seed in seeds:
            v = seed.values
            heard = "" if v.unseen is None else f", voices not heard before {100 * v.unseen:.2f} %"
            out.append(
                f"seed {seed.seed:<6} frames right: new sentences {100 * v.accuracy:.2f} %{heard}; training "
                f"{100 * v.train:.2f} %; the most frequent phone alone {100 * v.majority:.2f} %"
            )
            speed = speech.frames * 0.01 * self.epochs / max(seed.seconds, 1e-9)
            out.append(f"            {seed.seconds:.1f} s of learning, {speed:.0f} x real time")
        return out

    def figures(self, result: RunResult) -> dict[str, Figure]:
        """Learning, and which phones are taken for which."""
        from cosim.report.rsnn_figures import rsnn_figures

        return rsnn_figures(result, self.speech.phones)


class RsnnRun:
    """The network of one seed."""

    def __init__(self, system: RsnnSystem, streams: Streams) -> None:
        self.system, self.streams, s = system, streams, system.settings
        inputs, out = system.speech.train[0].features.shape[1], len(system.speech.phones)
        rng = streams(Purpose.START)

        def weights(n: int, m: int) -> Array:
            found: Array = np.clip(s.spread / np.sqrt(n) * rng.standard_normal((n, m)), -WIDEST, WIDEST)
            return found

        first = {"into": weights(inputs, s.hidden), "among": weights(s.hidden, s.hidden)}
        np.fill_diagonal(first["among"], 0.0)
        first["read"] = weights(s.hidden, out)
        back = first["read"].T if s.feedback == "symmetric" else weights(out, s.hidden)
        cells = Ideal(-WIDEST, WIDEST)
        rule = {
            "rate": 1.0, "beta": s.beta, "tau": s.tau, "threshold": s.threshold,
            "tau_out": s.tau_out if s.filtered else 0.0,
        }  # fmt: skip
        dt = 10.0 / s.steps
        self.simulation = Simulation(
            Graph(
                (
                    Population("inputs", inputs, Leaky(tau=1e-3 * dt), Current()),
                    Population("hidden", s.hidden, Subtracting(s.tau, s.threshold)),
                    Population("out", out, Softmax(s.tau_out)),
                ),
                (
                    Projection("inputs", "hidden", cells, first["into"], EPropOfValues(**rule), sends="y", name="into"),
                    Projection("hidden", "hidden", cells, first["among"], EProp(**rule), delay=dt, name="among"),
                    Projection("hidden", "out", cells, first["read"], ReadOutDescent(1.0, s.tau_out), name="read"),
                    Projection("out", "hidden", cells, back, sends="error", into="signal", name="back"),
                ),
                dt,
            ),
            backend=system.backend,
        )
        self.moments = {name: np.zeros((2, *x.shape)) for name, x in first.items()}
        self.count, self.loss = 0, list[float]()

    def weight(self, name: str) -> Array:
        """Of a projection."""
        return self.simulation.cells[name].weight

    def learn(self, batch: int) -> None:
        """Some utterances: each one's gradient at the same weights, and one change."""
        s, per = self.system.settings, len(self.system.batches) // self.system.epochs
        order = self.streams(Purpose.ORDER, batch // per).permutation(len(self.system.speech.train))
        chosen = order[batch % per * s.batch :][: self.system.batches[batch]]
        before = {name: self.weight(name).copy() for name in LEARNING}
        gradients = {name: np.zeros_like(x) for name, x in before.items()}
        wrong, frames = 0.0, 0
        for k in chosen:
            one = self.system.speech.train[k]
            steps = len(one.phones) * s.steps
            tiny = 1e-3 / steps  # far from the bounds of the weights
            shares = self._shown(one, rate=tiny)
            for name, x in before.items():
                gradients[name] += (x - self.weight(name)) / (tiny * steps * len(chosen))
                self.simulation.cells[name].load(x)
            wrong -= float(np.log(np.maximum(shares[np.arange(len(one.phones)), one.phones], 1e-300)).sum())
            frames += len(one.phones)
        self.loss.append(wrong / frames)
        self.count += 1
        for name, gradient in gradients.items():
            self.simulation.cells[name].load(np.clip(before[name] - self._change(name, gradient), -WIDEST, WIDEST))
        if s.feedback == "symmetric":
            self.simulation.cells["back"].load(self.weight("read").T)

    def _change(self, name: str, gradient: Array) -> Array:
        """What the optimiser takes off the weights (Adam: Kingma and Ba 2014, its usual constants)."""
        s = self.system.settings
        if s.optimiser == "sgd":
            return s.rate * gradient
        mean, square = self.moments[name]
        mean += 0.1 * (gradient - mean)
        square += 0.001 * (gradient**2 - square)
        found: Array = s.rate * (mean / (1.0 - 0.9**self.count))
        found /= np.sqrt(square / (1.0 - 0.999**self.count)) + 1e-8
        return found

    def _shown(self, one: Utterance, *, rate: float = 0.0) -> Array:
        """(frames, phones) shares at the last step of each frame; with a rate it learns."""
        s, known = self.system.settings, len(self.system.speech.phones)
        signals = {"out": np.eye(known)[one.phones][None]} if rate else {}
        answers = self.simulation.run(
            {"inputs": one.features[None]}, steps=len(one.phones) * s.steps, key=0, learn=rate > 0.0, fresh=True,
            signals=signals, parameters={name: {"rate": rate} for name in LEARNING}, record=("out.share",),
        )  # fmt: skip
        found: Array = answers.records["out.share"][0, s.steps - 1 :: s.steps]
        return found

    def evaluate(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Shares of right frames, the most frequent phone's among them; confusion on new sentences."""
        speech = self.system.speech
        known = len(speech.phones)
        confusion, right = np.zeros((known, known), dtype=np.int64), dict[str, float | None]()
        for part in PARTS:
            utterances: tuple[Utterance, ...] = getattr(speech, part)
            if part == "train":
                utterances = utterances[: len(speech.test)]
            hits = total = 0
            for one in utterances:
                answer = self._shown(one).argmax(axis=1)
                hits, total = hits + int(np.sum(answer == one.phones)), total + len(one.phones)
                if part == "test":
                    np.add.at(confusion, (one.phones, answer), 1)
            right[part] = hits / total if total else None
        frequent = np.bincount(np.concatenate([one.phones for one in speech.train]), minlength=known).argmax()
        majority = float(confusion[frequent].sum() / confusion.sum())
        values = {"accuracy": right["test"], "train": right["train"], "unseen": right["unseen"], "majority": majority}
        return values, {"confusion": confusion, "loss": np.array(self.loss)}

    def state(self) -> dict[str, NDArray[Any]]:
        """All that changes while learning, copied."""
        return {
            **self.simulation.state(),
            **{f"moments_{name}": x.copy() for name, x in self.moments.items()},
            "count": np.array(self.count),
            "loss": np.array(self.loss),
        }

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """The inverse of `state`."""
        self.simulation.restore(state)
        for name, x in self.moments.items():
            x[...] = state[f"moments_{name}"]
        self.count, self.loss = int(state["count"]), state["loss"].tolist()
