"""VDSP on MNIST: the published TiO2 set, 200 neurons, one epoch of 60 000 images, three seeds."""

from __future__ import annotations

from cosim.claims.base import Claim, Figures, Report
from cosim.network.experiment import Plan, load_images, run_vdsp
from cosim.network.vdsp import VdspSettings
from cosim.parameters import ParameterSet
from cosim.surrogate.train import from_parameters

SEEDS = (0, 1, 2)
WHAT_IT_RUNS_ON = (
    "network/crossbar.py", "network/encoders.py", "network/experiment.py", "network/layers.py", "network/neurons.py",
    "network/plasticity.py", "network/readout.py", "network/vdsp.py", "surrogate/pulse.py", "devices/threshold.py",
    "devices/pulse.py", "devices/base.py", "surrogate/base.py", "surrogate/compiled.py", "surrogate/train.py",
    "emit/expr.py", "datasets.py", "parameters.py", "device_models/threshold_memristor.toml",
)  # fmt: skip


def measure(tell: Report) -> Figures:
    """Test accuracy per seed of the read-out that was chosen on training images, and what an epoch takes."""
    surrogate = from_parameters(ParameterSet.load("threshold_memristor:tio2"), law="published")
    plan = Plan(VdspSettings(), surrogate, load_images("mnist"))

    def shown(seed: int, images: int, total: int) -> None:
        tell(f"seed {seed}: {images} of {total} images")

    result = run_vdsp(plan, seeds=SEEDS, progress=shown)
    accuracies = [seed.accuracy for seed in result.seeds]
    return {
        "accuracy": result.mean,
        "accuracy_deviation": result.deviation,
        "accuracy_lowest": min(accuracies),
        "accuracies": accuracies,
        "read_outs": [seed.chosen for seed in result.seeds],
        "on_test": {kind: [seed.on_test[kind] for seed in result.seeds] for kind in result.seeds[0].on_test},
        "seconds_per_epoch": [round(seed.seconds, 1) for seed in result.seeds],
    }


MNIST = Claim(
    "mnist",
    "VDSP on 200 neurons with the published TiO2 memristor learns MNIST in one epoch to more than 83 %",
    measure,
    {"accuracy_lowest": (0.83, None)},
    long=True,
    depends=WHAT_IT_RUNS_ON,
)
