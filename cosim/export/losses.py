"""What an export loses: read off the surrogate and off what its target can hold, never typed for a file."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType

from cosim import units
from cosim.devices.maps import ENERGY
from cosim.devices.registry import device as find_device
from cosim.export.golden import deviating
from cosim.surrogate.circuit import CircuitSet
from cosim.surrogate.model import Surrogate

Tell = Callable[[Surrogate], str | None]


def _energy(surrogate: Surrogate) -> str | None:
    return "the energy of an event (J)" if ENERGY in surrogate.map.outputs else None


def _readings(surrogate: Surrogate) -> str | None:
    names = [f"{name} ({entry.unit})" for name, entry in surrogate.map.outputs.items() if name != ENERGY]
    return f"what a read gives after an event: {', '.join(names)}" if names else None


def _instances(surrogate: Surrogate) -> str | None:
    if surrogate.instances:
        size = max(values.size for values in surrogate.instances.values())
        return f"the {', '.join(sorted(surrogate.instances))} of each of {size} instances: all have the nominal ones"
    spread = deviating(surrogate)
    return f"that {', '.join(spread)} may differ between instances: all have the nominal ones" if spread else None


def _correction(surrogate: Surrogate) -> str | None:
    return (
        None
        if surrogate.correction is None
        else (f"the learned correction of {', '.join(sorted(surrogate.correction.tables))}")
    )


def _domain(surrogate: Surrogate) -> str | None:
    if surrogate.certificate is None:
        return None
    domain = surrogate.certificate.domain
    ranges = ", ".join(map(domain.shown, {**domain.inputs, **domain.states}))
    return f"the check of the certified domain ({ranges}): a call outside of it gets an answer"


def _ask(surrogate: Surrogate) -> str | None:
    return "asking SPICE outside the domain" if surrogate.certificate is not None else None


def _certificate(surrogate: Surrogate) -> str | None:
    return (
        None
        if surrogate.certificate is None
        else "the certificate as something that the program reads: its figures lie beside the export in export.json"
    )


def _intervals(surrogate: Surrogate) -> str | None:
    bands = () if surrogate.certificate is None else surrogate.certificate.bands
    return "prediction intervals: the export answers with values alone" if bands else None


def _uncertainty(surrogate: Surrogate) -> str | None:
    count = sum(entry.stderr is not None for entry in surrogate.parameters.values.values())
    return f"the standard errors of {count} parameters" if count else None


def _waveform(surrogate: Surrogate) -> str | None:
    fixed = ", ".join(f"{name} {units.show(value, 's')}" for name, value in surrogate.map.fixed.items())
    return f"the event's waveform{f' ({fixed})' if fixed else ''}: an event happens at an instant"


def _circuit(surrogate: Surrogate) -> str | None:
    if isinstance(surrogate.parameters, CircuitSet):
        return "the circuit: what the map's fields do not say of it is not in the surrogate either"
    ports = ", ".join(port.name for port in surrogate.map.device.ports)
    return f"the device as a part of a circuit: its ports ({ports}) load nothing, and see the given inputs alone"


def _other_maps(surrogate: Surrogate) -> str | None:
    if isinstance(surrogate.parameters, CircuitSet):
        return None
    maps = find_device(surrogate.device).maps(surrogate.parameters.resolved())
    others = [name for name in maps if name != surrogate.name]
    return f"the device's other events: {', '.join(others)}" if others else None


def _rest(surrogate: Surrogate) -> str | None:
    return "what happens between events (the map rest): states keep their values" if surrogate.rest_map else None


# What a surrogate may have that a target may not hold.
FEATURES: Mapping[str, Tell] = MappingProxyType(
    {
        "energy": _energy, "readings": _readings, "instances": _instances, "correction": _correction,
        "domain": _domain, "ask": _ask, "certificate": _certificate, "intervals": _intervals,
        "uncertainty": _uncertainty, "waveform": _waveform, "circuit": _circuit, "rest": _rest,
        "other maps": _other_maps,
    }
)  # fmt: skip


def losses(surrogate: Surrogate, *, keeps: Collection[str]) -> list[str]:
    """A sentence for each thing that the surrogate has and that is not among what a target ``keeps``."""
    told = (tell(surrogate) for feature, tell in FEATURES.items() if feature not in keeps)
    return [sentence for sentence in told if sentence]
