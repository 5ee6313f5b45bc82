"""The virtual lab: a bench takes the place of a device on a probe station and gives the curves an instrument would.

What is measured is the cell at its bit line, transistor included; read noise is Gaussian, a fraction of the full scale
G_max of the memristor in the bench (`cosim.devices.pulse.full_scale`). One SPICE run gives the noise-free train; each
seed gives its own noise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from cosim.bench.result import BenchResult
from cosim.bench.testbench import Testbench
from cosim.data.recording import Curve
from cosim.devices.base import Array
from cosim.devices.pulse import full_scale
from cosim.engines.simulator import Simulator


@dataclass(frozen=True)
class Experiment:
    """A run of a pulse bench and the curve that an ideal instrument reads from it.

    Args:
        run: the bench's result.
        curve: amplitudes at the bit line (n,) V and read conductances (n,) S, without noise.
        full_scale: G_max of the bench's memristor (S), what noise is stated against.
        states: (n,) the memristor's state after each pulse: no instrument sees it.
        energies: (n,) J per programming pulse.
    """

    run: BenchResult
    curve: Curve
    full_scale: float
    states: Array
    energies: Array

    def noisy(self, rng: np.random.Generator, *, noise: float = 0.02) -> Curve:
        """The curve with Gaussian read noise of ``noise`` times full scale."""
        return self.curve.with_measured(self.curve.measured + rng.normal(0.0, noise * self.full_scale, len(self.curve)))

    def instrument(self, *, noise: float = 0.02) -> Callable[[np.random.Generator], Curve]:
        """A laboratory: each generator gives the curve with fresh noise."""
        return lambda rng: self.noisy(rng, noise=noise)


def pulse_experiment(
    bench: Testbench, simulator: Simulator | None = None, *, stimulus: str = "bl", device: str = "memristor"
) -> Experiment:
    """Run a bench with the measures ``conductance``, ``state`` and ``pulse_energy`` and read its curve.

    Raises `SimulationError` where the run does not converge.

    >>> experiment = cosim.pulse_experiment(cosim.Testbench.load("memristor_random_pulses"))
    >>> experiment.curve.kind, len(experiment.curve)
    ('pulse train', 500)
    """
    run = bench.run(simulator)
    run.result.require()
    train = bench.train(stimulus)
    curve = Curve.pulse_train(
        train.amplitudes,
        run["conductance"].values,
        v_read=train.read_voltage,
        shape=train.shape,
        source=f"bench {bench.name} ({run.result.engine})",
    )
    return Experiment(
        run, curve, full_scale(bench.sets[device].resolved()), run["state"].values, run["pulse_energy"].values
    )
