"""What a campaign may vary, by address: ``corner``, ``parameters.NAME``, ``devices.DEVICE.PARAMETER``,
``stimuli.NAME.FIELD`` (a number, such as a seed) and ``options.NAME`` of a bench.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, cast

from cosim.bench import adjust
from cosim.bench.testbench import STANDARD, Testbench
from cosim.errors import InputError, UnknownName

CORNER = "corner"
NOMINAL = "nominal"
KINDS = ("parameters", "devices", "stimuli", "options")
_SHAPE = {"parameters": 2, "devices": 3, "stimuli": 3, "options": 2}


def split(address: str) -> tuple[str, ...]:
    """The parts of an address. Raises `InputError`."""
    parts = tuple(address.split("."))
    if parts[0] not in KINDS or len(parts) != _SHAPE[parts[0]]:
        raise InputError(
            f"{address!r} is not an address of a bench's value",
            remedy="write corner, parameters.NAME, devices.DEVICE.PARAMETER, stimuli.NAME.FIELD or options.NAME",
        )
    return parts


def nominal(bench: Testbench, address: str) -> tuple[float, str]:
    """Value (SI) and unit of an address in the bench as it is. Raises `UnknownName`, `InputError`."""
    parts = split(address)
    file = bench.file
    if parts[0] == "parameters":
        _known(f"parameter of bench {bench.name}", parts[1], file.parameters)
        quantity = file.parameters[parts[1]]
        return quantity.value, quantity.unit
    if parts[0] == "devices":
        entry = bench.adjustable(parts[1], parts[2])
        return cast(float, entry.value), entry.unit
    if parts[0] == "stimuli":
        _known(f"stimulus of bench {bench.name}", parts[1], file.stimuli)
        _known(f"field of stimulus {parts[1]!r}", parts[2], type(file.stimuli[parts[1]]).model_fields)
        return _number(address, getattr(file.stimuli[parts[1]], parts[2])), "1"
    options = {**STANDARD, "temp": 27.0, **file.options}  # °C, as ngspice begins
    _known(f"option of bench {bench.name}", parts[1], options)
    return _number(address, options[parts[1]]), "1"


def is_string(bench: Testbench, address: str) -> bool:
    """Whether an address is a parameter of type string of the user's own Verilog-A."""
    parts = split(address)
    return parts[0] == "devices" and adjust.is_string(bench, parts[1], parts[2])


def unit_of(bench: Testbench, address: str) -> str:
    """The unit of an address; "" for a string."""
    return "" if is_string(bench, address) else nominal(bench, address)[1]


def bounds(bench: Testbench, address: str) -> tuple[float, float]:
    """The bounds (SI, inclusive) that a value of this address has to keep; infinite but for a device's parameter."""
    parts = split(address)
    if parts[0] != "devices":
        return -math.inf, math.inf
    return bench.adjustable(parts[1], parts[2]).bounds


def apply(bench: Testbench, values: Mapping[str, float | str]) -> Testbench:
    """The bench with ``values`` (SI, or a word, by address).

    Raises `UnknownName`, `InputError` for one out of its bounds.
    """
    parameters: dict[str, float] = {}
    devices: dict[str, dict[str, float | str]] = {}
    stimuli: dict[str, dict[str, Any]] = {}
    options: dict[str, float | str] = {}
    for address, value in values.items():
        parts = split(address)
        if parts[0] == "parameters":
            parameters[parts[1]] = cast(float, value)
        elif parts[0] == "devices":
            _known(f"device of bench {bench.name}", parts[1], bench.file.devices)
            devices.setdefault(parts[1], {})[parts[2]] = value
        elif parts[0] == "stimuli":
            whole = isinstance(value, float) and value.is_integer()
            stimuli.setdefault(parts[1], {})[parts[2]] = int(value) if whole else value
        else:
            options[parts[1]] = value
    return bench.with_(parameters=parameters, values=devices, stimuli=stimuli, options=options)


def _known(kind: str, name: str, known: Any) -> None:
    if name not in known:
        raise UnknownName(kind, name, known)


def _number(address: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError(f"{address} is not a number but {value!r}", remedy="vary a number")
    return float(value)
