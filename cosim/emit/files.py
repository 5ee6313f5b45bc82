"""A device's generated files: ``<device>.lib`` (B-source subcircuit) and ``<device>.va`` (Verilog-A)."""

from __future__ import annotations

from pathlib import Path

from cosim import resources
from cosim.devices.base import DeviceModel
from cosim.emit.ngspice import subcircuit
from cosim.emit.veriloga import module
from cosim.files import write_atomic


def texts(device: DeviceModel) -> dict[str, str]:
    """File name -> content."""
    return {f"{device.name}.lib": subcircuit(device), f"{device.name}.va": module(device)}


def shipped(device: DeviceModel) -> dict[Path, str]:
    """The shipped path of each generated file of a device -> what it should hold."""
    folder = resources.folder("device_models")
    return {folder / name: text for name, text in texts(device).items()}


def write(device: DeviceModel, folder: str | Path) -> list[Path]:
    """Write both files into ``folder``."""
    return [write_atomic(Path(folder) / name, text) for name, text in texts(device).items()]
