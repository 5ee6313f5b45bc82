"""Unsupervised learning by voltage-dependent synaptic plasticity: images → LIF → 1T1R crossbar → adaptive LIF, WTA.

Source: arXiv 2510.25787 and its authors' published parameters (times in ms, potentials in input thresholds). Where text
and code differ, the code is followed: the programming voltage is the presynaptic potential at the postsynaptic spike
(rule ``vdsp-post``: the postsynaptic one at the presynaptic spike, as the text has it).
Deviations, our choice: exact integration of the current between time steps; adaptation is carried on from image to
image through the gap; responses for the read-out start from rest, so that they do not depend on the images' order.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from cosim.devices.base import Array
from cosim.engines.registry import open_simulator
from cosim.errors import DomainError, InputError, UnknownName
from cosim.network.energy import METERED, Meter, energy_lines, gives_energy
from cosim.network.graph import Graph, Population, Projection
from cosim.network.images import ImageTask
from cosim.network.neurons import WinnerTakesAll
from cosim.network.plasticity import default_scales, threshold_cell
from cosim.network.readout import PROTOCOL, READ_OUTS, Evaluation, known_to
from cosim.network.run import Network, Purpose, RunResult, SeedResult, Streams, System
from cosim.network.simulation import Simulation
from cosim.network.spice_check import Watch, checked_lines, replay
from cosim.network.systems.vdsp_cells import deviating_cells
from cosim.network.systems.vdsp_rules import rule_of
from cosim.network.systems.vdsp_settings import VdspSettings
from cosim.network.systems.vdsp_watch import Glance, Tally, glance
from cosim.surrogate.document import arrays, document
from cosim.surrogate.files import array_digest
from cosim.surrogate.gate import require_certified
from cosim.surrogate.model import Surrogate
from cosim.surrogate.reopened import certified_reference

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class VdspSystem(System):
    """The network on cells of ``surrogate``, with an image task.

    ``spice_check`` cells of each seed see their events again in SPICE at the end (`cosim.network.spice_check`).

    >>> settings, epochs = cosim.vdsp_preset("digits")
    >>> cell = cosim.Surrogate(cosim.ParameterSet.load("tio2"))
    >>> task = cosim.ImageTask(cosim.load_images("digits").first(300), epochs)
    >>> sum(cosim.VdspSystem(settings, cell, task).batches)
    3000
    """

    name: ClassVar[str] = "vdsp"

    settings: VdspSettings
    surrogate: Surrogate
    task: ImageTask
    backend: str = "auto"
    spice_check: int = 0

    def __post_init__(self) -> None:
        if self.spice_check < 0:
            raise InputError(
                f"{self.spice_check} cells cannot be checked in SPICE", remedy="give --spice-check a number above zero"
            )
        threshold_cell(self.surrogate)
        if self.spice_check and self.settings.scales_width:
            raise InputError(
                "pulses of several lengths cannot be checked in SPICE by the surrogate of one",
                remedy="leave out --spice-check, or the widths",
            )
        self._require_start()
        if self.spice_check:
            self._require_answers()
        require_certified(self.surrogate)

    def _require_answers(self) -> None:
        """Raises `InputError` where the circuit of the certificate cannot answer for these cells."""
        with open_simulator() as simulator:
            reference = certified_reference(self.surrogate, simulator)
        if reference.independent and (self.settings.deviation or self.settings.resistance_deviation):
            raise InputError(
                f"cells that deviate cannot be checked against {reference.subject(self.surrogate.parameters)}, which "
                "does not",
                remedy="leave out --spice-check, or the deviations",
            )

    def _require_start(self) -> None:
        """Raises `DomainError` where the cells would begin outside the surrogate's domain."""
        if self.surrogate.policy != "raise" or self.surrogate.certificate is None:
            return
        (name,) = self.surrogate.map.states
        (low, high), (first, last) = self.surrogate.allowed(name), self.settings.w_init
        room = self.surrogate.slack * (high - low)
        if first < low - room or last > high + room:
            raise DomainError(
                f"the cells begin with {name} from {first:g} to {last:g}, and the surrogate is certified only from "
                f"{low:.4g} to {high:.4g}",
                remedy=f"certify it from {first:g} to {last:g} (cosim surrogate train with more --pulses, or a map "
                f"whose {name} reaches that far), or take the policy 'warn' (--policy warn)",
            )

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of all that the numbers depend on, but for the seed."""
        parts = [
            self.settings.fingerprint(),
            json.dumps(document(self.surrogate), sort_keys=True),
            array_digest(*arrays(self.surrogate).values()),
            self.task.fingerprint,
        ]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    @property
    def options(self) -> Mapping[str, str]:
        """Every setting, the images, the epochs and a digest of the cells."""
        cells = json.dumps(document(self.surrogate), sort_keys=True) + array_digest(*arrays(self.surrogate).values())
        images = self.task.images
        return {
            **{name: json.dumps(value, sort_keys=True) for name, value in asdict(self.settings).items()},
            "data": images.name,
            "images": str(len(images.train_y)),
            "epochs": str(self.task.epochs),
            "cells": hashlib.sha256(cells.encode()).hexdigest()[:8],
        }

    @property
    def batches(self) -> Sequence[int]:
        """How many images each batch holds."""
        return self.task.batches

    def start(self, streams: Streams) -> VdspRun:
        """The untrained network of a seed; raises `InputError` where the images for the labels lack a class."""
        self.task.require_labels(streams)
        return VdspRun(self, streams)

    def glance(self, network: Network) -> Glance | None:
        """What the network of a seed shows of itself."""
        return network.glance() if isinstance(network, VdspRun) else None

    def to_dict(self, seeds: Sequence[SeedResult]) -> dict[str, Any]:
        """Data, settings, surrogate and the mean accuracy of every read-out."""
        images, surrogate = self.task.images, self.surrogate
        certificate = surrogate.certificate
        on_test = [seed.values["accuracy_on_test_images"] for seed in seeds]
        return {
            "data": {"name": images.name, "train": len(images.train_y), "test": len(images.test_y)},
            "epochs": self.task.epochs,
            "images_for_labels_and_choice": list(self.task.split),
            "settings": asdict(self.settings),
            "surrogate": {
                "device": surrogate.device,
                "parameters": surrogate.parameters.name,
                "map": surrogate.name,
                "certificate": None if certificate is None else certificate.to_dict(),
            },
            "mean_on_test_images": {kind: float(np.mean([one[kind] for one in on_test])) for kind in PROTOCOL},
        }

    def reading(self, seeds: Sequence[SeedResult]) -> str:
        """The read-outs that were chosen."""
        kinds = dict.fromkeys(str(seed.values.read_out) for seed in seeds)
        return f"by read-out {' or '.join(f'{kind} ({READ_OUTS[kind]})' for kind in kinds)}"

    def lines(self, seeds: Sequence[SeedResult]) -> list[str]:
        """The network, its surrogate's certificate, and the read-outs of each seed."""
        images, surrogate = self.task.images, self.surrogate
        certificate = surrogate.certificate
        out = [
            f"network     {images.train_x.shape[1]} inputs, {self.settings.neurons} neurons, {self.task.epochs} "
            f"epoch(s) of {len(images.train_y)} images of {images.name}; {surrogate.device} "
            f"{surrogate.parameters.name}, map {surrogate.name}"
        ]
        if certificate is None:
            out.append("certificate none: the parameter set's map, not compared with any circuit")
        else:
            largest = max(certificate.errors[name].max_percent for name in surrogate.map.states)
            out.append(f"certificate state within {largest:.3g} % of {certificate.reference} in {certificate.against}")
            out += [f"            missed: {sentence}" for sentence in certificate.broken]
            if self.settings.scales_width:
                out.append("            of pulses of the full length: shorter ones are not certified")
        out.append(f"drive       {self._drive()}")
        for seed in seeds:
            found = seed.values
            known = known_to(found.accuracy, len(images.test_y), classes=images.classes)
            others = ", ".join(f"{kind} {100 * x:.1f}" for kind, x in found.accuracy_on_test_images.items())
            out.append(
                f"seed {seed.seed:<6} {100 * found.accuracy:.2f} % of {len(images.test_y)} test images ({known}) "
                f"with read-out {found.read_out}, the best of counts on held-out training images (all: {others}; "
                f"G reads currents, for comparison); {sum(self.batches) / seed.seconds:.0f} images/s with compiling"
            )
            out += [f"            looks like a failure: {sentence}" for sentence in found.get("signs", ())]
            out += [
                f"domain      seed {seed.seed}: {name} was outside of it in {row['events']:.0f} events of a cell, and "
                f"extrapolated: {row['from']:.4g} to {row['to']:.4g}"
                for name, row in found.get("extrapolated", {}).items()
            ]
            if silent := sum(row[-1] for row in found.confusion):
                out.append(f"            no output neuron fired on {silent} of them, which count as wrong")
            if self.settings.wires is not None and "seen_through_wires" in found:
                seen = found.seen_through_wires
                out.append(
                    f"            through wires of {self.settings.wires.row:g} Ohm a segment a cell is seen with "
                    f"{100 * seen['mean']:.1f} % of its conductance, the farthest with {100 * seen['least']:.1f} %; "
                    "learned without them"
                )
            if "energy" in found:
                out += energy_lines(found.energy, "image")
            if "spice_check" in found:
                out += checked_lines(found.spice_check, found.accuracy_on_test_images, found.read_out)
        return out

    def _drive(self) -> str:
        s, (scale_d, scale_p) = self.settings, default_scales(self.surrogate)
        up, down = (
            f"{given or usual:.4g}" + ("" if end is None else f" to {end:.4g}")
            for given, usual, end in ((s.scale_p, scale_p, s.scale_p_end), (s.scale_d, scale_d, s.scale_d_end))
        )
        said = f"{up} thresholds at a potential of −1 (potentiation), {down} at 1 (depression)"
        if s.scales_width:
            pulses = f"{s.width:.4g}" + ("" if s.width_end is None else f" to {s.width_end:.4g}")
            said += f", pulses of {pulses} of the surrogate's length"
        return said

    def figures(self, result: RunResult) -> dict[str, Figure]:
        """Receptive fields, states, confusion, accuracy and activity."""
        from cosim.report.network_figures import image_figures

        return image_figures(result, self.task, initial=self.settings.w_init)


class VdspRun:
    """The network of one seed, as the runner sees it."""

    def __init__(self, system: VdspSystem, streams: Streams) -> None:
        self.system, self.streams = system, streams
        self.network = VdspNetwork(
            system.settings,
            system.surrogate,
            inputs=system.task.images.train_x.shape[1],
            rng=streams(Purpose.START),
            backend=system.backend,
        )
        self._untouched = self.network.crossbar.w.copy()
        self._tally = Tally(classes=system.task.images.classes, neurons=system.settings.neurons)
        crossbar, energy = self.network.crossbar, gives_energy(system.surrogate)
        if system.spice_check or energy:
            cells = system.spice_check or min(METERED, crossbar.w.size)
            crossbar.watch = Watch(crossbar, cells, streams(Purpose.CHECK))
        self._meter = Meter(crossbar, crossbar.watch) if energy and crossbar.watch is not None else None
        self._spikes: list[float] = []  # per image, of each batch

    def learn(self, batch: int) -> None:
        """Show a batch of images; annealing goes in steps, the last of which is its end."""
        sizes, steps = self.system.batches, self.system.settings.anneal_steps * self.system.task.epochs
        stage = int(sum(sizes[:batch]) / sum(sizes) * steps)
        images, rng = self.system.task.batch(batch, self.streams)
        counts = self.network.learn(images, rng, progress=stage / max(steps - 1, 1))
        self._spikes.append(float(counts.sum() / len(images)))
        if self._meter is not None:
            length, forget = self.network.length, not self.system.spice_check
            self._meter.account(self.network.crossbar, items=len(images), length=length, forget=forget)
        self._tally.add(counts, self.system.task.truth(batch, self.streams))

    def glance(self) -> Glance:
        """What it shows of itself while it learns."""
        return glance(self._tally, self.system.settings, w=self.network.crossbar.w, start=self._untouched)

    def evaluate(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Read-outs, spikes and pulses; states, weights (inputs, neurons) and labels (neurons,).

        A label is −1 where the neuron answers to no class, or was never trained.
        """
        if not any(self._spikes):
            raise InputError(
                f"no output neuron has ever spiked for the images of {self.system.task.images.name}",
                remedy="lower the threshold of the output neurons",
            )
        crossbar = self.network.crossbar
        reading, seen = self._read()
        metered = {}
        if self._meter is not None:  # a column is programmed at each spike of its neuron
            metered = {"energy": self._meter.to_dict(crossbar, updates=float(np.mean(self._spikes)))}
        checked = {}
        if self.system.spice_check and crossbar.watch is not None:
            checked = {"spice_check": self._checked(crossbar.watch)}
        trained = np.any(crossbar.w != self._untouched, axis=0)
        cost = {}
        if self.system.settings.wires is not None:
            share = seen / crossbar.weight
            cost = {"seen_through_wires": {"mean": float(share.mean()), "least": float(share.min())}}
        beyond = {"extrapolated": crossbar.extrapolated} if np.any(crossbar.beyond[:, 0]) else {}
        return (
            {
                **reading.to_dict(),
                "spikes_per_image": list(self._spikes),
                "programming_pulses": crossbar.pulses,
                "signs": list(self.glance().signs),
                **beyond,
                **cost,
                **metered,
                **checked,
            },
            {
                "w": crossbar.w.copy(),
                "weight": seen,
                "labels": np.where(trained, reading.labels, -1),
            },
        )

    def _read(self) -> tuple[Evaluation, Array]:
        """What the read-outs make of the images, and the weights through which they were shown: behind the wires."""
        crossbar, wires = self.network.crossbar, self.system.settings.wires
        learned = crossbar.weight.copy()
        if wires is not None:
            crossbar.weight[:] = crossbar.wired(wires)
        reading = self.system.task.read(
            lambda images, rng, protocol: self.network.respond(images, rng, protocol=protocol), self.streams
        )
        seen = crossbar.weight.copy()
        crossbar.weight[:] = learned
        return reading, seen

    def _checked(self, watch: Watch) -> dict[str, Any]:
        """The chosen cells in SPICE, and what the read-outs make of differences like theirs in every cell."""
        crossbar, surrogate = self.network.crossbar, self.system.surrogate
        with open_simulator() as simulator:
            reference = certified_reference(surrogate, simulator)
            found = replay(crossbar.surrogate, watch, reference, drive=crossbar.drive, held=crossbar.held)
        whole = {name: x.copy() for name, x in crossbar.state.items()}
        crossbar.watch = None
        crossbar.load(found.spread(whole, surrogate, self.streams(Purpose.CHECK, 1)))
        other = self._read()[0].to_dict()["accuracy_on_test_images"]
        crossbar.load(whole)
        return {**found.to_dict(), "accuracy_with_such_differences": other}

    def state(self) -> dict[str, NDArray[Any]]:
        """All that changes while learning, copied."""
        metered = {} if self._meter is None else {f"metered_{name}": x for name, x in self._meter.state().items()}
        bar, own = self.network.crossbar, {"spikes": np.array(self._spikes)}
        if self.system.surrogate.policy == "warn":
            own["beyond"] = bar.beyond.copy()
        return {**self.network.state(), **self._tally.state(), **metered, **own}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """The inverse of `state`."""
        self.network.restore(state)
        self._tally.restore(state)
        self._spikes = state["spikes"].tolist()
        if self.system.surrogate.policy == "warn":
            self.network.crossbar.beyond[:] = state["beyond"]
        if self._meter is not None:
            metered = {name: state[f"metered_{name}"] for name in self._meter.state()}
            self._meter.restore(metered, self.network.crossbar)


INPUTS, OUTPUTS, SYNAPSES = "inputs", "outputs", "synapses"


class VdspNetwork:
    """The network with its state."""

    def __init__(
        self,
        settings: VdspSettings,
        surrogate: Surrogate,
        *,
        inputs: int,
        rng: np.random.Generator,
        backend: str = "auto",
    ) -> None:
        """A network with random initial states (and thresholds, where cells deviate) drawn from ``rng``."""
        self.settings = settings
        shape = (inputs, settings.neurons)
        w = rng.uniform(*settings.w_init, shape)
        instances = dict(
            deviating_cells(
                surrogate, shape, rng, thresholds=settings.deviation, resistances=settings.resistance_deviation or 0.0
            )
        )
        if settings.scales_width:
            whole = threshold_cell(surrogate).compressed(surrogate.parameters.resolved(), 1.0)
            instances |= {name: np.full(shape, value) for name, value in whole.items()}
        if instances:
            surrogate = surrogate.with_(instances=instances)
        scale_d, scale_p = default_scales(surrogate)
        self.scale_p = settings.scale_p if settings.scale_p is not None else scale_p
        self.scale_d = settings.scale_d if settings.scale_d is not None else scale_d
        self.length = 1.0  # of programming pulses over the surrogate's
        self._nominal = surrogate
        self._rule = rule_of(settings, surrogate, scale_p=self.scale_p, scale_d=self.scale_d)
        graph = Graph(
            (
                Population(INPUTS, inputs, settings.input, settings.encoder),
                Population(OUTPUTS, settings.neurons, settings.output, winner=WinnerTakesAll(settings.inhibition)),
            ),
            (Projection(INPUTS, OUTPUTS, surrogate, w, rule=self._rule, name=SYNAPSES),),
            dt=settings.dt,
        )
        self.simulation = Simulation(graph, backend=backend)
        self.crossbar = self.simulation.cells[SYNAPSES]

    def _steps(self, time: float) -> int:
        return max(round(time / self.settings.dt), 1)

    @property
    def inputs(self) -> int:
        """Number of input neurons."""
        return self.crossbar.shape[0]

    def state(self) -> dict[str, NDArray[Any]]:
        """All that changes while learning, copied."""
        return self.simulation.state()

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """The inverse of `state`; raises `InputError` for a network of another size."""
        self.simulation.restore(state)

    def learn(
        self, images: NDArray[np.floating], rng: np.random.Generator, *, progress: float = 0.0
    ) -> NDArray[np.int64]:
        """Show ``images`` (k, inputs) in 0..1 one after another, learning; the spike counts (k, neurons).

        ``progress`` (0..1) is the place on the annealing of scale factors and pulse width, constant for this call.
        """
        s = self.settings
        if s.scales_width:
            self._shorten(_annealed(s.width, s.width_end, progress))
        rule = rule_of(
            s,
            self._nominal,
            scale_p=_annealed(self.scale_p, s.scale_p_end, progress),
            scale_d=_annealed(self.scale_d, s.scale_d_end, progress),
        )
        found = self.simulation.run(
            {INPUTS: images},
            steps=self._steps(s.presentation),
            key=_key(rng),
            gap=s.gap,
            parameters={SYNAPSES: {n: x for n, x in vars(rule).items() if x != getattr(self._rule, n)}},
        )
        return found.counts[OUTPUTS]

    def _shorten(self, width: float) -> None:
        """Programming pulses of so many times the surrogate's length from now on."""
        self.length = width
        surrogate = self.crossbar.surrogate
        for name, value in threshold_cell(surrogate).compressed(surrogate.parameters.resolved(), width).items():
            surrogate.instances[name][...] = value  # columns of the numpy loop look into it
            self.crossbar.own[name][...] = value

    def respond(
        self, images: NDArray[np.floating], rng: np.random.Generator, *, protocol: str = "test"
    ) -> NDArray[Any]:
        """Spike counts (k, neurons) for ``images`` (k, inputs) with learning off, each image from rest.

        ``protocol`` "learning" is that of `learn`; "test" is longer, without bias, losers are reset but not clamped,
        and thresholds stay at rest; "graded" gives the columns' currents in place of counts, where each pixel is a
        voltage on its row, 1 for full scale.
        """
        protocols = (*sorted({*PROTOCOL.values()}),)
        if protocol not in protocols:
            raise UnknownName("protocol", protocol, protocols)
        if protocol == "graded":
            return np.asarray(images @ self.crossbar.weight)
        s, test = self.settings, protocol == "test"
        threshold = s.output.threshold if s.test_threshold is None else s.test_threshold
        found = self.simulation.run(
            {INPUTS: images},
            steps=self._steps(s.test_presentation if test else s.presentation),
            key=_key(rng),
            learn=False,
            fresh=True,
            # Without bias a dark pixel stays silent, and is left out.
            encoders={INPUTS: replace(s.encoder, bias=0.0)} if test else {},
            parameters={OUTPUTS: {"clamp": 0.0, "jump": 0.0, "threshold": threshold}} if test else {},
        )
        return found.counts[OUTPUTS]


def _key(rng: np.random.Generator) -> int:
    return int(rng.integers(0, 1 << 64, dtype=np.uint64))


def _annealed(start: float, end: float | None, progress: float) -> float:
    return start if end is None else start + (end - start) * min(max(progress, 0.0), 1.0)
