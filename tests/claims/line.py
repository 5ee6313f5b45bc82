"""The straight line on the 1T1R cell, measured: equivalence, map, recovery, coverage, surrogate error, speed-up."""

from __future__ import annotations

import numpy as np

from claims.base import Claim, Figures, Report
from claims.coverage import coverage
from claims.equivalence import Exercise
from cosim.bench.testbench import STANDARD, TIGHT
from cosim.devices.registry import device
from cosim.devices.threshold import ThresholdMemristor
from cosim.engines.registry import open_simulator
from cosim.engines.simulator import Simulator
from cosim.parameters import ParameterSet, shipped_sets
from cosim.surrogate.certify import updates_per_second
from examples.line import NOISE, measure_lab, relative_errors

SETS = ("tio2", "hfo2", "hzo")
WAYS = (("pyspice", "behavioural"), ("pyspice", "verilog-a"), ("vacask", "verilog-a"))


def equivalence(tell: Report) -> Figures:
    """The largest difference from scipy, in the state's range, over the published sets, forms and engines."""
    worst = {"standard": 0.0, "tight": 0.0}
    for engine, form in WAYS:
        with open_simulator(engine) as simulator:
            for name in SETS:
                tell(f"{name} as {form} in {engine}")
                p = shipped_sets()["threshold_memristor", name].resolved()
                exercise = Exercise.random(device("threshold_memristor"), p, pulses=40, seed=1)
                for label, options in (("standard", STANDARD), ("tight", TIGHT)):
                    errors = exercise.errors(simulator, form=form, options=options)
                    worst[label] = max(worst[label], *errors.values())
    return {"equivalence": worst["standard"], "equivalence_tight": worst["tight"]}


def map_agreement(simulator: Simulator, *, pulses: int = 60) -> float:
    """The largest |ngspice − published map| after one 200 ns event, steps <= 0.05 that start >= 0.2 from their bound.

    The events are rectangles but for edges of 1 ps, because the map knows no edges.
    """
    from cosim.emit.ngspice import subcircuit
    from cosim.engines.simulator import Deck

    memristor, worst = ThresholdMemristor(), 0.0
    for number, name in enumerate(SETS):
        p = ParameterSet.load(name).resolved()
        rng = np.random.default_rng([7, number])
        span = 1.6 * max(p.theta_p, p.theta_n)
        v, w = rng.uniform(-span, span, 40 * pulses), rng.uniform(0, 1, 40 * pulses)
        after = memristor.published_map(v, w, p)
        step, room = np.abs(after - w), np.where(v < 0, 1 - w, w)
        chosen = np.flatnonzero((step <= 0.05) & (step > 0.0) & (room >= 0.2))[:pulses]
        rows = ["events of 200 ns, one cell each", subcircuit(memristor, "dut", {k: float(x) for k, x in p.items()})]
        for k, index in enumerate(chosen):
            rows.append(f"V{k} n{k} 0 PULSE(0 {float(v[index])!r} 10n 1p 1p 200n 1)")
            rows.append(f"X{k} n{k} 0 dut w0={float(w[index])!r}")
        rows += [".tran 2n 230n 0 2n", ".end"]
        deck = Deck("\n".join(rows), save=tuple(f"v(x{k}.w)" for k in range(len(chosen))), options=TIGHT)
        data = simulator.run(deck)["tran"]
        got = np.array([float(data[f"v(x{k}.w)"].values[-1]) for k in range(len(chosen))])
        worst = max(worst, float(np.max(np.abs(got - after[chosen]))))
    return worst


def measure(tell: Report) -> Figures:
    """All figures of the line."""
    figures = equivalence(tell)
    with open_simulator() as simulator:
        tell("one event against the published map")
        figures["map_error"] = map_agreement(simulator)
        lab = measure_lab(simulator, tell)
        tell("extracting the cell's parameters")
        exact, fit = lab.extract(0.0), lab.extract()
        figures["recovery_error"] = max(relative_errors(exact, lab.truth).values())
        tell("coverage: 100 fits")
        found = coverage(
            lab.recipe(),
            lab.experiment.instrument(noise=NOISE),
            lab.truth,
            seeds=100,
            progress=lambda n: tell(f"coverage: {n} of 100 fits"),
        )
        figures["coverage"] = found.pooled
        figures["coverage_by_parameter"] = dict(found.by_parameter)
        for label, source in (("noise_free_fit", exact), ("fit", fit)):
            tell(f"certifying the surrogate of the {label}")
            surrogate, held = lab.certify(source, simulator)
            certificate = surrogate.certificate
            assert certificate is not None  # certified() gives one
            figures[f"surrogate_max_{label}"] = certificate.errors["conductance"].max_percent / 100.0
            figures[f"surrogate_rms_{label}"] = certificate.errors["conductance"].rms_percent / 100.0
            figures[f"surrogate_after_{certificate.rollout.pulses[-1]}_{label}"] = certificate.rollout.max[-1]
        tell("updates per second")
        rate = updates_per_second(surrogate)
        figures["updates_per_second"] = rate
        # of one pulse more in a train: what ngspice takes to start is not held against it
        figures["speed_up"] = rate * (held.seconds_per_pulse or 0.0)
    return figures


LINE = Claim(
    "line",
    "numpy, B-source and Verilog-A agree; the cell's parameters are recovered; the surrogate is within 1 % and 1000 x",
    measure,
    {
        "equivalence": (None, 2e-3),
        "equivalence_tight": (None, 2e-4),
        "map_error": (None, 0.01),
        "recovery_error": (None, 0.02),
        "coverage": (0.90, 0.99),
        "surrogate_max_noise_free_fit": (None, 0.01),
        "surrogate_rms_fit": (None, 0.01),
        "speed_up": (1000.0, None),
    },
)
