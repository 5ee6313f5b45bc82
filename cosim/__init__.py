"""cosim: SPICE-coupled co-simulation of memristive circuits.

The line, each arrow one call::

    Curve -> FitRecipe -> extract -> FitResult -> ParameterSet -> Testbench -> BenchResult -> train -> run_network

Names are loaded when they are first used: ``import cosim`` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from cosim.bench.events import BenchMap
    from cosim.bench.result import BenchResult
    from cosim.bench.testbench import Testbench
    from cosim.bench.validate import validate_all, validate_bench
    from cosim.campaign.campaign import Campaign
    from cosim.campaign.executors import Processes
    from cosim.campaign.results import frame as campaign_frame
    from cosim.data.readers import read_curve
    from cosim.data.recording import Curve, Recording
    from cosim.devices.base import DeviceModel, Event, Param, Port, State, TwoTerminal, Values
    from cosim.devices.registry import device
    from cosim.engines.registry import open_simulator
    from cosim.engines.simulator import Deck, Limits, Outcome, Result, Simulator
    from cosim.errors import CosimError
    from cosim.export.write import export_surrogate
    from cosim.fitting.experiment import pulse_experiment
    from cosim.fitting.extract import extract
    from cosim.fitting.joint import extract_joint
    from cosim.fitting.joint_recipe import JointRecipe
    from cosim.fitting.joint_result import JointResult
    from cosim.fitting.law import fit_law
    from cosim.fitting.next_measurement import next_measurement
    from cosim.fitting.posterior import posterior
    from cosim.fitting.recipe import FitRecipe
    from cosim.fitting.result import FitResult
    from cosim.lint.lint import lint_file
    from cosim.network.images import ImageSet, ImageTask, load_images
    from cosim.network.run import System, run_network
    from cosim.network.systems.stc import StcSystem
    from cosim.network.systems.stc_images import DigitTask, RateImages
    from cosim.network.systems.stc_settings import StcSettings, stc_preset
    from cosim.network.systems.vdsp import VdspSystem
    from cosim.network.systems.vdsp_settings import VdspSettings, vdsp_preset
    from cosim.network.wires import WiredSolution, Wires, cell_current, effective_conductance, solve_wired
    from cosim.parameters import ParameterSet, Quantity
    from cosim.statistics.groups import distributions
    from cosim.surrogate.bench_reference import BenchReference
    from cosim.surrogate.files import load as load_surrogate
    from cosim.surrogate.files import save as save_surrogate
    from cosim.surrogate.model import Surrogate
    from cosim.surrogate.train import train

# Name -> its module, and its name there where that is another.
_WHERE = {
    "BenchMap": "cosim.bench.events",
    "BenchResult": "cosim.bench.result",
    "Campaign": "cosim.campaign.campaign",
    "CosimError": "cosim.errors",
    "Curve": "cosim.data.recording",
    "Deck": "cosim.engines.simulator",
    "DeviceModel": "cosim.devices.base",
    "DigitTask": "cosim.network.systems.stc_images",
    "Event": "cosim.devices.base",
    "FitRecipe": "cosim.fitting.recipe",
    "FitResult": "cosim.fitting.result",
    "JointRecipe": "cosim.fitting.joint_recipe",
    "JointResult": "cosim.fitting.joint_result",
    "ImageSet": "cosim.network.images",
    "ImageTask": "cosim.network.images",
    "Limits": "cosim.engines.simulator",
    "Outcome": "cosim.engines.simulator",
    "Param": "cosim.devices.base",
    "ParameterSet": "cosim.parameters",
    "Port": "cosim.devices.base",
    "Processes": "cosim.campaign.executors",
    "Quantity": "cosim.parameters",
    "RateImages": "cosim.network.systems.stc_images",
    "Recording": "cosim.data.recording",
    "Result": "cosim.engines.simulator",
    "Simulator": "cosim.engines.simulator",
    "BenchReference": "cosim.surrogate.bench_reference",
    "State": "cosim.devices.base",
    "StcSettings": "cosim.network.systems.stc_settings",
    "StcSystem": "cosim.network.systems.stc",
    "Surrogate": "cosim.surrogate.model",
    "System": "cosim.network.run",
    "Testbench": "cosim.bench.testbench",
    "TwoTerminal": "cosim.devices.base",
    "Values": "cosim.devices.base",
    "VdspSettings": "cosim.network.systems.vdsp_settings",
    "VdspSystem": "cosim.network.systems.vdsp",
    "WiredSolution": "cosim.network.wires",
    "Wires": "cosim.network.wires",
    "campaign_frame": "cosim.campaign.results:frame",
    "cell_current": "cosim.network.wires",
    "device": "cosim.devices.registry",
    "distributions": "cosim.statistics.groups",
    "effective_conductance": "cosim.network.wires",
    "export_surrogate": "cosim.export.write",
    "extract": "cosim.fitting.extract",
    "extract_joint": "cosim.fitting.joint",
    "fit_law": "cosim.fitting.law",
    "lint_file": "cosim.lint.lint",
    "load_images": "cosim.network.images",
    "load_surrogate": "cosim.surrogate.files:load",
    "next_measurement": "cosim.fitting.next_measurement",
    "open_simulator": "cosim.engines.registry",
    "posterior": "cosim.fitting.posterior",
    "pulse_experiment": "cosim.fitting.experiment",
    "read_curve": "cosim.data.readers",
    "run_network": "cosim.network.run",
    "save_surrogate": "cosim.surrogate.files:save",
    "solve_wired": "cosim.network.wires",
    "stc_preset": "cosim.network.systems.stc_settings",
    "train": "cosim.surrogate.train",
    "validate_all": "cosim.bench.validate",
    "validate_bench": "cosim.bench.validate",
    "vdsp_preset": "cosim.network.systems.vdsp_settings",
}
__all__ = [
    "BenchMap",
    "BenchReference",
    "BenchResult",
    "Campaign",
    "CosimError",
    "Curve",
    "Deck",
    "DeviceModel",
    "DigitTask",
    "Event",
    "FitRecipe",
    "FitResult",
    "ImageSet",
    "ImageTask",
    "JointRecipe",
    "JointResult",
    "Limits",
    "Outcome",
    "Param",
    "ParameterSet",
    "Port",
    "Processes",
    "Quantity",
    "RateImages",
    "Recording",
    "Result",
    "Simulator",
    "State",
    "StcSettings",
    "StcSystem",
    "Surrogate",
    "System",
    "Testbench",
    "TwoTerminal",
    "Values",
    "VdspSettings",
    "VdspSystem",
    "WiredSolution",
    "Wires",
    "campaign_frame",
    "cell_current",
    "device",
    "distributions",
    "effective_conductance",
    "export_surrogate",
    "extract",
    "extract_joint",
    "fit_law",
    "lint_file",
    "load_images",
    "load_surrogate",
    "next_measurement",
    "open_simulator",
    "posterior",
    "pulse_experiment",
    "read_curve",
    "run_network",
    "save_surrogate",
    "solve_wired",
    "stc_preset",
    "train",
    "validate_all",
    "validate_bench",
    "vdsp_preset",
]


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        module, _, there = _WHERE[name].partition(":")
        value = getattr(import_module(module), there or name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'cosim' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
