"""The parameters of a bench's devices that corners, samples and campaigns vary: of devices of the library, and of the
user's Verilog-A files.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from cosim.bench.foreign import check_string, foreign_parameters, foreign_strings
from cosim.bench.variation import Adjustable
from cosim.devices.registry import device as find_device
from cosim.errors import InputError, UnitError, UnknownName, at
from cosim.schema import Quantity, located
from cosim.units import dimension

if TYPE_CHECKING:
    from cosim.bench.testbench import Testbench


def check_varied(bench: Testbench) -> None:
    """Raises `UnknownName` for a parameter that corners or samples vary and the bench's devices do not have."""
    for name, corner in bench.file.corners.items():
        for key, given in corner.devices.items():
            with at("corners", name, "devices", key):
                if isinstance(given, dict):
                    _check_values(bench, key, given)
                elif bench.file.devices[key].verilog_a is not None:
                    raise InputError(
                        f"device {key!r} is a Verilog-A file and has no parameter sets",
                        remedy=f'give values: devices.{key} = {{ NAME = "..." }}',
                    )
                else:
                    bench.load_set(given, key)
    for name, spreads in bench.file.monte_carlo.devices.items() if bench.file.monte_carlo is not None else ():
        with at("monte_carlo", "devices", name):
            _check_values(bench, name, {key: spread.absolute for key, spread in spreads.items()})


def _check_values(bench: Testbench, device: str, values: Mapping[str, Quantity | str | None]) -> None:
    """Raises `UnknownName`, `UnitError` for a parameter that the device lacks, or a unit of another dimension."""
    _known(bench, "device", device, bench.file.devices)  # also where no parameter is named
    for key, given in values.items():
        with at(key):
            if isinstance(given, str):
                require_string(bench, device, key, given)
                continue
            unit = adjustable(bench, device, key).unit
            if given is not None and "1" not in (given.unit, unit) and dimension(given.unit)[1] != dimension(unit)[1]:
                raise UnitError(f"{device}.{key} is in {unit}, not in {given.unit}", remedy=f"write it in {unit}")


def of_set(bench: Testbench, place: str) -> tuple[float, str]:
    """The value (SI) and the unit of ``DEVICE.KEY``, a parameter of a device's set or one of its plasticity factors.

    Raises `UnknownName`.
    """
    device, _, key = place.partition(".")
    _known(bench, "device", device, bench.sets)
    chosen = bench.sets[device]
    known = {**{factor: entry.value for factor, entry in chosen.plasticity.items()}, **chosen.resolved()}
    _known(bench, f"parameter of device {device!r}", key, known)
    return float(known[key]), "1" if key in chosen.plasticity else find_device(chosen.device).param(key).unit


def taken(bench: Testbench, name: str) -> tuple[float, str]:
    """The value (SI) and the unit of a parameter that the circuit takes from a device; raises `UnknownName`."""
    with located(bench.source), at("from_devices", name):
        return of_set(bench, bench.file.from_devices[name])


def check_taken(bench: Testbench) -> None:
    """Whether the devices have what the circuit takes, and each analysis gives it in the same dimension."""
    for name, place in bench.file.from_devices.items():
        unit = taken(bench, name)[1]
        for analysis, entry in bench.file.plan.items():
            given = (entry.parameters[name],) if name in entry.parameters else entry.sweep.get(name, ())
            for value in given:
                if value.unit != "1" and dimension(value.unit)[1] != dimension(unit)[1]:
                    raise UnitError(
                        f"analysis {analysis!r} of bench {bench.name} gives {name} in {value.unit}, and {place} is in "
                        f"{unit}",
                        remedy=f"write it in {unit}",
                    )


def adjustable(bench: Testbench, device: str, key: str) -> Adjustable:
    """A parameter of one of the bench's devices: of the library, or of a Verilog-A file.

    Raises `UnknownName`; `InputError` for one that is not a real number; what reading the file raises.
    """
    _known(bench, "device", device, bench.file.devices)
    if device in bench.sets:
        values = bench.sets[device].resolved()
        _known(bench, f"parameter of device {device!r}", key, values)
        entry = find_device(bench.sets[device].device).param(key)
        return Adjustable(float(values[key]), entry.unit, bounds=entry.bounds)
    with located(bench.source), at("devices", device):
        known = foreign_parameters(device, bench.file.devices[device], bench.folder, roots=bench.roots())
    if is_string(bench, device, key):
        raise InputError(
            f"parameter {key!r} of device {device!r} is a string", remedy='give it words, in corners or a grid: "fast"'
        )
    _known(bench, f"parameter of device {device!r}", key, known)
    found = known[key]
    if found.integer or found.value is None:
        why = "is an integer" if found.integer else "does not have a number as its default"
        raise InputError(
            f"parameter {key!r} of device {device!r} {why}",
            remedy="vary another one" if found.integer else f"give it a value: devices.{device}.values.{key}",
        )
    return found


def is_string(bench: Testbench, device: str, key: str) -> bool:
    """Whether ``key`` is a parameter of type string of a Verilog-A file. Raises what reading the file raises."""
    use = bench.file.devices.get(device)
    if use is None or use.verilog_a is None:
        return False
    return key in foreign_strings(device, use, bench.folder, roots=bench.roots())


def require_string(bench: Testbench, device: str, key: str, word: str) -> None:
    """Raises `InputError` where a parameter may not be ``word``; `UnknownName`."""
    _known(bench, "device", device, bench.file.devices)
    use = bench.file.devices[device]
    if use.verilog_a is None:
        raise InputError(f"parameter {key!r} of device {device!r} takes a number", remedy="write a value and its unit")
    with located(bench.source):
        check_string(device, use, bench.folder, key, word, roots=bench.roots())


def checked(bench: Testbench, device: str, given: Mapping[str, float | str]) -> dict[str, Quantity | str]:
    """Values (SI) and words of a Verilog-A file's parameters, as its ``values`` are. Raises as `adjustable` does."""
    found: dict[str, Quantity | str] = {}
    for key, value in given.items():
        if isinstance(value, str):
            require_string(bench, device, key, value)
            found[key] = value
        elif device not in bench.sets:
            found[key] = Quantity(value=value, unit=adjustable(bench, device, key).unit)
    return found


def _known(bench: Testbench, kind: str, name: str, known: Mapping[str, object]) -> None:
    if name not in known:
        raise UnknownName(f"{kind} of bench {bench.name}", name, known)
