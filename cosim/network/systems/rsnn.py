"""Phones of speech by a recurrent spiking network that learns with e-prop (arXiv 2411.18272, Secs. 5.2 and 7.2).

39 features → 200 neurons, recurrent → a leaky read-out per phone, `cosim.network.eprop`. A data frame is an utterance:
weights change at its end alone, and the state that learns does not grow with its length. Each frame of 10 ms is some
time steps, and its answer is the read-out with the largest share at the last of them. Synapses into the hidden layer
are ideal, or thermal (`cosim.network.systems.rsnn_thermal`): then a data frame ends with a write pulse. Those of the
read-out are always ideal, since the source has common synapses there.

The source's own values (Sec. 7.2) are ``source``. ``public`` are those of the published implementations of e-prop for
TIMIT (IGITUGraz, ChFrenkel) as far as this neuron has them: a shorter memory, and Adam over some utterances.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from cosim.data.speech import FRAME, Speech, Utterance
from cosim.devices.base import Array
from cosim.errors import InputError
from cosim.network.crossbar import Ideal
from cosim.network.encoders import Current
from cosim.network.eprop import EProp, EPropOfValues, ReadOutDescent, Subtracting
from cosim.network.graph import Graph, Population, Projection
from cosim.network.logistic import fit_logistic
from cosim.network.neurons import Leaky, Softmax
from cosim.network.run import Purpose, RunResult, SeedResult, Streams, System
from cosim.network.simulation import Answers, Simulation
from cosim.network.systems.maze_settings import time_constant, volts
from cosim.network.systems.rsnn_settings import PRESETS, RsnnSettings, ThermalSettings
from cosim.network.systems.rsnn_thermal import ThermalArray, devices, heating, told

__all__ = ["PRESETS", "RsnnRun", "RsnnSettings", "RsnnSystem", "ThermalSettings"]

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LEARNING = ("into", "among", "read")
HEATED = ("into", "among")
WIDEST = 100.0  # of an ideal weight
# Frames that are shown at a time: inputs, signals and answers of so many are held, however long an utterance is.
CHUNK = 1024
PARTS = ("train", "test", "unseen")


@dataclass(frozen=True)
class RsnnSystem(System):
    """The network of ``settings`` on ``speech``, ``epochs`` times."""

    name: ClassVar[str] = "rsnn"

    settings: RsnnSettings
    speech: Speech
    epochs: int = 5
    backend: str = "auto"
    thermal: ThermalSettings | None = None

    def __post_init__(self) -> None:
        if self.epochs < 1 or not self.speech.train or not self.speech.test:
            raise InputError("there is nothing to learn, or nothing to test", remedy="give utterances and epochs >= 1")
        if self.thermal is not None:
            if self.settings.inputs != "split":
                raise InputError("a heater takes no input below zero", remedy='take inputs="split"')
            if self.settings.filtered:
                raise InputError("a temperature does not filter as the read-out does", remedy="take filtered=False")
            devices(self.thermal)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of all that the numbers depend on, but for the seed."""
        about: list[Any] = [asdict(self.settings), self.speech.fingerprint, self.epochs]
        if self.thermal is not None:
            about += [asdict(self.thermal), devices(self.thermal).fingerprint()]
        return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()

    @property
    def options(self) -> Mapping[str, str]:
        """Of the command line."""
        return {"data": self.speech.name, "epochs": str(self.epochs)} | {
            name: str(value)
            for part in (self.settings, self.thermal)
            if part is not None
            for name, value in asdict(part).items()
        }

    @cached_property
    def batches(self) -> Sequence[int]:
        """Utterances of each batch."""
        whole, left = divmod(len(self.speech.train), self.settings.batch)
        return ((self.settings.batch,) * whole + (left,) * (left > 0)) * self.epochs

    @cached_property
    def beside(self) -> Mapping[str, float | None]:
        """Shares of right frames of a logistic regression on the same features, frame by frame; None: no frames."""
        speech = self.speech
        whole = {part: _frames(getattr(speech, part)) for part in PARTS if getattr(speech, part)}
        fitted = fit_logistic(*whole["train"], classes=len(speech.phones))
        right = {part: float(np.mean(fitted.predict(x) == y)) for part, (x, y) in whole.items()}
        return {part: right.get(part) for part in PARTS}

    def start(self, streams: Streams) -> RsnnRun:
        """The untrained network of a seed."""
        return RsnnRun(self, streams)

    def to_dict(self, seeds: Sequence[SeedResult]) -> dict[str, Any]:
        """Data, settings, and what logistic regression reaches."""
        speech = self.speech
        return {
            "data": {
                "name": speech.name, "phones": len(speech.phones), "frames": speech.frames, "notes": list(speech.notes),
                **{part: len(getattr(speech, part)) for part in PARTS},
            },
            "settings": asdict(self.settings),
            **({} if self.thermal is None else {"synapses": asdict(self.thermal)}),
            "epochs": self.epochs,
            "logistic_regression": dict(self.beside),
        }  # fmt: skip

    def lines(self, seeds: Sequence[SeedResult]) -> list[str]:
        """The network, each seed's shares of right frames, and logistic regression's."""
        speech, s = self.speech, self.settings
        out = [
            f"network     {speech.train[0].features.shape[1]} -> {s.hidden} -> {len(speech.phones)}; {speech.name}, "
            f"{len(speech.train)} {'utterance' if len(speech.train) == 1 else 'utterances'}, {speech.frames} frames, "
            f"{self.epochs} "
            f"{'epoch' if self.epochs == 1 else 'epochs'}; {s.optimiser}, rate {s.rate:g}",
            f"synapses    {'ideal' if self.thermal is None else self._about_devices(self.thermal)}",
        ]
        out += [f"data        {note}" for note in speech.notes]
        for seed in seeds:
            v = seed.values
            out.append(f"seed {seed.seed:<6} frames right: {self._told(v.accuracy, v.unseen, v.train)}")
            if self.thermal is not None:
                out += [f"            {line}" for line in told(v.writes, self.thermal)]
            out.append(f"            {v.processor_seconds:.1f} s of processor time, of learning{pace_told(v)}")
        b = self.beside
        out.append(f"beside      logistic regression of each frame: {self._told(b['test'], b['unseen'], b['train'])}")
        if seeds:
            out.append(f"            the most frequent phone alone {100 * seeds[0].values.majority:.2f} %")
        return out

    def _told(self, test: float | None, unseen: float | None, train: float | None) -> str:
        assert test is not None
        assert train is not None
        heard = "" if unseen is None else f", a voice not heard before {100 * unseen:.2f} %"
        return f"{self.speech.tested} {100 * test:.2f} %{heard}; training {100 * train:.2f} %"

    def _about_devices(self, thermal: ThermalSettings) -> str:
        cells = devices(thermal)
        p = cells.parameters.resolved()
        levels = f"{thermal.levels} levels" if thermal.levels else "any conductance"
        return (
            f"thermal, {cells.parameters.name}, {levels}; temperatures fall to 1/e in {time_constant(p) * 1e6:.3g} us, "
            f"{time_constant(p) / thermal.step:.0f} steps of {thermal.step * 1e9:g} ns; {volts(thermal, cells):.2g} V "
            "at the heater at most"
        )

    def figures(self, result: RunResult) -> dict[str, Figure]:
        """Learning, and which phones are taken for which."""
        from cosim.report.rsnn_figures import rsnn_figures

        return rsnn_figures(result, self.speech.phones)


def _frames(utterances: Sequence[Utterance]) -> tuple[Array, NDArray[np.int64]]:
    """Features and phones of all frames."""
    return np.concatenate([one.features for one in utterances]), np.concatenate([one.phones for one in utterances])


class RsnnRun:
    """The network of one seed."""

    def __init__(self, system: RsnnSystem, streams: Streams) -> None:
        self.system, self.streams, s = system, streams, system.settings
        inputs, out = self._rows(system.speech.train[0]).shape[1], len(system.speech.phones)
        rng = streams(Purpose.START)

        def weights(n: int, m: int) -> Array:
            found: Array = np.clip(s.spread / np.sqrt(n) * rng.standard_normal((n, m)), -WIDEST, WIDEST)
            return found

        first = {"into": weights(inputs, s.hidden), "among": weights(s.hidden, s.hidden)}
        np.fill_diagonal(first["among"], 0.0)
        first["read"] = weights(s.hidden, out)
        back = first["read"].T if s.feedback == "symmetric" else weights(out, s.hidden)
        cells, thermal = Ideal(-WIDEST, WIDEST), system.thermal
        self.arrays: dict[str, ThermalArray] = {}
        if thermal is None:
            rule = {
                "rate": 1.0, "beta": s.beta, "tau": s.tau, "threshold": s.threshold,
                "tau_out": s.tau_out if s.filtered else 0.0,
            }  # fmt: skip
            into, among = EPropOfValues(**rule), EProp(**rule)
            layer: dict[str, dict[str, Any]] = {
                name: {"cells": cells, "state": first[name], "rule": r}
                for name, r in (("into", into), ("among", among))
            }
        else:
            kind, layer = devices(thermal), {}
            for name in HEATED:
                self.arrays[name] = made = ThermalArray(
                    first[name], thermal, kind, streams(Purpose.START, 1, len(layer))
                )
                plus, minus = made.shares()
                layer[name] = {
                    "cells": Ideal(0.0, WIDEST), "state": {"w": plus, "w_minus": minus}, "pair": True,
                    "gain": thermal.gain, "rule": heating(s, thermal, kind, values=name == "into"),
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
                    Projection("inputs", "hidden", **layer["into"], sends="y", name="into"),
                    Projection("hidden", "hidden", **layer["among"], delay=dt, name="among"),
                    Projection("hidden", "out", cells, first["read"], ReadOutDescent(1.0, s.tau_out), name="read"),
                    Projection("out", "hidden", cells, back, sends="error", into="signal", name="back"),
                ),
                dt,
            ),
            backend=system.backend,
        )
        self.optimised = tuple(name for name in LEARNING if name == "read" or (thermal is None and s.trained == "all"))
        self.moments = {name: np.zeros((2, *first[name].shape)) for name in self.optimised}
        self.count, self.written, self.loss = 0, 0, list[float]()
        self.bound, self.offered = np.zeros(2), np.zeros(2)  # e-updates whose f, whose q was at its bound, and all
        self.spent = list[tuple[int, float]]()  # frames, and seconds of processor time, of each batch since the start

    def _rows(self, one: Utterance) -> Array:
        """(frames, inputs) what the rows of the first array get."""
        if self.system.settings.inputs == "signed":
            return one.features
        return np.hstack([np.maximum(one.features, 0.0), np.maximum(-one.features, 0.0)])

    def weight(self, name: str) -> Array:
        """Of a projection."""
        return self.simulation.cells[name].weight

    def order(self, batch: int) -> NDArray[np.int64]:
        """Which utterances a batch shows."""
        per = len(self.system.batches) // self.system.epochs
        found = self.streams(Purpose.ORDER, batch // per).permutation(len(self.system.speech.train))
        return found[batch % per * self.system.settings.batch :][: self.system.batches[batch]]

    def learn(self, batch: int) -> None:
        """Some utterances: each one's gradient at the same weights, and one change; thermal synapses are written after
        each.
        """
        began = time.process_time()
        s, chosen = self.system.settings, self.order(batch)
        before = {name: self.weight(name).copy() for name in self.optimised}
        gradients = {name: np.zeros_like(x) for name, x in before.items()}
        wrong, frames = 0.0, 0
        for k in chosen:
            one = self.system.speech.train[k]
            steps = len(one.phones) * s.steps
            tiny = 1e-3 / steps  # far from the bounds of the weights
            for phones, shares in self._shown(one, rate=tiny):
                for name, x in before.items():
                    gradients[name] += (x - self.weight(name)) / (tiny * steps * len(chosen))
                    self.simulation.cells[name].load(x)
                wrong -= float(np.log(np.maximum(shares[np.arange(len(phones)), phones], 1e-300)).sum())
            if self.arrays:
                self._write(steps)
            frames += len(one.phones)
        self.loss.append(wrong / frames)
        self.count += 1
        for name, gradient in gradients.items():
            self.simulation.cells[name].load(np.clip(before[name] - self._change(name, gradient), -WIDEST, WIDEST))
        if s.feedback == "symmetric":
            self.simulation.cells["back"].load(self.weight("read").T)
        self.spent.append((frames, time.process_time() - began))

    def _write(self, steps: int) -> None:
        """The write pulse at the end of a data frame of so many steps."""
        up = self._up
        for place, (name, array) in enumerate(self.arrays.items()):
            traces = self.simulation.traces[name]
            self.bound += traces["pre_bound"].sum(), traces["post_bound"].sum()
            self.offered += steps * array.bars[0].shape[0], steps * array.bars[0].shape[1]
            rises = traces["own_plus"], traces["own_minus"]
            if self.system.settings.trained == "all":
                array.write(rises, up=up, share=self._pace_left, rng=self.streams(Purpose.LEARN, place, self.written))
            plus, minus = array.shares()
            self.simulation.cells[name].load({"w": plus, "w_minus": minus})
        self.written += 1

    @property
    def _up(self) -> bool:
        """Whether the next write raises conductances."""
        thermal = self.system.thermal
        return self.written % 2 == 0 or (thermal is not None and thermal.writes == "set")

    @property
    def _pace_left(self) -> float:
        """Of the rate and of a write's pulses, by how much has been learned."""
        return 1.0 - (1.0 - self.system.settings.left) * self.count / len(self.system.batches)

    def _change(self, name: str, gradient: Array) -> Array:
        """What the optimiser takes off the weights (Adam: Kingma and Ba 2014, its usual constants)."""
        s = self.system.settings
        rate = s.rate * self._pace_left
        if s.optimiser == "sgd":
            return rate * gradient
        mean, square = self.moments[name]
        mean += 0.1 * (gradient - mean)
        square += 0.001 * (gradient**2 - square)
        found: Array = rate * (mean / (1.0 - 0.9**self.count))
        found /= np.sqrt(square / (1.0 - 0.999**self.count)) + 1e-8
        return found

    def _shown(self, one: Utterance, *, rate: float = 0.0) -> Iterator[tuple[NDArray[np.int64], Array]]:
        """The phones (frames,) of `CHUNK` frames after the other, and the shares (frames, phones) at the last step of
        each; with a rate it learns.
        """
        last = slice(self.system.settings.steps - 1, None, self.system.settings.steps)
        for begin in range(0, len(one.phones), CHUNK):
            part = slice(begin, begin + CHUNK)
            shown = Utterance(one.features[part], one.phones[part])
            if begin:
                self._carry(learns=rate > 0.0)
            yield shown.phones, self.answers(shown, rate=rate, fresh=not begin).records["out.share"][0, last]

    def _carry(self, *, learns: bool) -> None:
        """Spikes of the last step arrive in the next one, which a run of its own would not know: they are put into the
        potentials, and into what their synapses remember, as if they had arrived before the leak.
        """
        s, hidden = self.system.settings, self.simulation.neurons["hidden"]
        fired = (hidden["u"] > s.threshold).astype(float)
        leak = np.exp(-10.0 / s.steps / s.tau)
        hidden["v"] += fired @ self.weight("among") / leak
        if learns:
            self.simulation.traces["among"]["pre_f"] += fired / leak

    def answers(
        self,
        one: Utterance,
        *,
        rate: float = 0.0,
        changes: Mapping[str, Mapping[str, float]] = MappingProxyType({}),
        fresh: bool = True,
    ) -> Answers:
        """Spikes, and the shares of all phones in each step; with a rate it learns, and ``changes`` are of the rules'
        parameters, by projection. It begins at rest where it is ``fresh``. All frames are held.
        """
        s, known = self.system.settings, len(self.system.speech.phones)
        signals = {"out": np.eye(known)[one.phones][None]} if rate else {}
        parameters = {"read": {"rate": rate}}
        if not self.arrays:
            parameters |= {name: {"rate": rate if name in self.optimised else 0.0} for name in HEATED}
        parameters |= {name: {"side": 1.0 if self._up else -1.0} for name in self.arrays}
        parameters |= {name: {**parameters.get(name, {}), **changed} for name, changed in changes.items()}
        if fresh and not rate:  # a run that begins at rest and does not learn would put the neurons back after it
            for name in ("inputs", "hidden", "out"):
                self.simulation.rest(name)
        return self.simulation.run(
            {"inputs": self._rows(one)[None]}, steps=len(one.phones) * s.steps, key=0, learn=rate > 0.0,
            fresh=fresh and rate > 0.0, signals=signals, parameters=parameters, record=("out.share",),
        )  # fmt: skip

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
                for phones, shares in self._shown(one):
                    answer = shares.argmax(axis=1)
                    hits, total = hits + int(np.sum(answer == phones)), total + len(phones)
                    if part == "test":
                        np.add.at(confusion, (phones, answer), 1)
            right[part] = hits / total if total else None
        frequent = np.bincount(np.concatenate([one.phones for one in speech.train]), minlength=known).argmax()
        majority = float(confusion[frequent].sum() / confusion.sum())
        values: dict[str, Any] = {
            "accuracy": right["test"],
            "train": right["train"],
            "unseen": right["unseen"],
            "majority": majority,
        }
        values |= self._pace()
        arrays: dict[str, NDArray[Any]] = {"confusion": confusion, "loss": np.array(self.loss)}
        if self.arrays:
            values["writes"] = self._writes()
            arrays["relative_steps"] = np.sum([array.histogram for array in self.arrays.values()], axis=0)
        return values, arrays

    def _pace(self) -> dict[str, Any]:
        """Processor time, and seconds of speech learned in one of it; the first batch, which compiles, apart."""
        frames, seconds = np.sum(self.spent[1:], axis=0) if len(self.spent) > 1 else (0, 0.0)
        speed = float(frames * FRAME / seconds) if seconds > 0.0 else None
        return {
            "processor_seconds": sum(seconds for _, seconds in self.spent),
            "first_batch_seconds": self.spent[0][1] if self.spent else 0.0,
            "times_real": speed,
        }

    def _writes(self) -> dict[str, Any]:
        """What became of the writes, and of what the heaters were asked for, as shares."""
        heated, moved, hot, refreshed = np.sum([array.counts for array in self.arrays.values()], axis=0).tolist()
        f, q = (self.bound / np.maximum(self.offered, 1.0)).tolist()
        return {
            "heated": heated, "moved": moved / max(heated, 1), "hot": hot / max(heated, 1), "f_bound": f, "q_bound": q,
            "refreshed": refreshed,
            "cut": sum(array.missed for array in self.arrays.values()),
            "out": float(np.mean(np.concatenate([array.out.ravel() for array in self.arrays.values()]))),
        }  # fmt: skip

    def state(self) -> dict[str, NDArray[Any]]:
        """All that changes while learning, copied."""
        held = {f"{name}_{key}": x for name, array in self.arrays.items() for key, x in array.state().items()}
        return {
            **self.simulation.state(),
            **{f"moments_{name}": x.copy() for name, x in self.moments.items()},
            **held,
            "count": np.array(self.count),
            "written": np.array(self.written),
            "heaters": np.array([self.bound, self.offered]),
            "loss": np.array(self.loss),
        }

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """The inverse of `state`."""
        self.simulation.restore(state)
        for name, x in self.moments.items():
            x[...] = state[f"moments_{name}"]
        for name, array in self.arrays.items():
            array.restore({key: state[f"{name}_{key}"] for key in array.state()})
        self.count, self.written, self.loss = int(state["count"]), int(state["written"]), state["loss"].tolist()
        self.bound, self.offered = state["heaters"].copy()


def pace_told(values: Mapping[str, Any]) -> str:
    """How much of the processor time was the first batch's, and the pace after it; or why the pace is missing."""
    if not values["processor_seconds"]:
        return ": all had been learned before this start, so its pace is not known"
    if values["times_real"] is None:
        return ", with any compiling; how many times real time is not known of a single batch, which holds that too"
    first = values.get("first_batch_seconds")  # results of earlier versions do not have it
    apart = "" if first is None else f", {first:.1f} s of them in the first batch, with any compiling"
    return f"{apart}; after the first batch {values['times_real']:.0f} x real time"
