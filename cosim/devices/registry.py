"""Devices by name: the ones here and those that other packages announce under the entry point ``cosim.devices``."""

from __future__ import annotations

from functools import cache
from importlib.metadata import entry_points

from cosim.devices.access import AccessTransistor
from cosim.devices.base import DeviceModel
from cosim.devices.cell import Cell1T1R
from cosim.devices.ecram import Ecram
from cosim.devices.filament import FilamentReram
from cosim.devices.quantum_dot import QuantumDotMemristor
from cosim.devices.stc import StcSynapse
from cosim.devices.stc_equations import StcEquations
from cosim.devices.thermal_link import ThermalLink
from cosim.devices.thermal_reram import ThermalReram
from cosim.devices.threshold import ThresholdMemristor
from cosim.devices.triode import TriodeChannel
from cosim.devices.vteam import Vteam
from cosim.devices.yakopcic import Yakopcic
from cosim.errors import InputError, UnknownName

BUILT_IN: tuple[type[DeviceModel], ...] = (
    ThresholdMemristor,
    AccessTransistor,
    Cell1T1R,
    Ecram,
    ThermalReram,
    ThermalLink,
    TriodeChannel,
    StcSynapse,
    StcEquations,
    QuantumDotMemristor,
    Vteam,
    Yakopcic,
    FilamentReram,
)


@cache
def devices() -> dict[str, DeviceModel]:
    """Every device by its name."""
    found: dict[str, DeviceModel] = {cls.name: cls() for cls in BUILT_IN}
    for entry in entry_points(group="cosim.devices"):
        cls = entry.load()
        if not (isinstance(cls, type) and issubclass(cls, DeviceModel)):
            raise InputError(
                f"entry point cosim.devices:{entry.name} is {cls!r}, not a DeviceModel",
                remedy="let it name a subclass of cosim.DeviceModel",
            )
        found[cls.name] = cls()
    return found


def device(name: str) -> DeviceModel:
    """One device; raises `UnknownName` with the nearest names.

    >>> cosim.device("vteam").title
    'VTEAM memristor'
    """
    try:
        return devices()[name]
    except KeyError:
        raise UnknownName("device", name, devices()) from None
