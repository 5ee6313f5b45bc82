"""Parameter sets: the values that flow from the curve to the network without being typed twice.

A set belongs to a device, and each value carries its unit, its source and, where it was extracted, its standard error.
Files are TOML; one file holds the sets of one device::

    device = "threshold_memristor"

    [sets.tio2]
    source = "arXiv 2510.25787"
    notes = ["absolute conductances are our choice: the source gives ratios"]
    [sets.tio2.values]
    theta_p = { value = 1.4323, unit = "V", stderr = 0.01, source = "..." }
    g_max = { value = "200 uS", source = "our choice" }
    [sets.tio2.plasticity]
    scale_p = { value = 1.05, source = "..." }

``plasticity`` holds the factors of a learning rule that were chosen for this device, plain numbers above zero. They
belong to the set: a copy with another name or other values keeps them.

A note that begins with ``caution:`` is printed wherever the set is used.

A set is named ``tio2`` (shipped), ``threshold_memristor:tio2``, ``path/file.toml`` (its only set) or
``path/file.toml:tio2``. A file ``mine.toml`` of the library (`cosim.resources.library`) is named ``mine``: its set of
that name, or its only one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import tomli_w
from numpy.typing import NDArray

from cosim import resources, units
from cosim.devices.base import Values
from cosim.devices.registry import device as find_device
from cosim.devices.registry import devices
from cosim.errors import InputError, UnknownName, Where
from cosim.files import write_atomic
from cosim.toml_files import read_toml

# How a note begins that whoever uses the set has to read.
CAUTION = "caution: "
# How the source of a value begins that a fit did not vary.
NOT_FITTED = "not fitted"


@dataclass(frozen=True)
class Quantity:
    """A parameter's value (SI), its standard error (None: not extracted, or not identifiable) and its source.

    >>> cosim.Quantity(1.43, stderr=0.01, source="our fit").value
    1.43
    """

    value: float
    stderr: float | None = None
    source: str = ""


def _belong(one: str, other: str) -> bool:
    """Whether two devices are the same, or one is a part of the other: it has all of its parameters."""
    if one == other:
        return True
    ours, theirs = ({(entry.name, entry.unit) for entry in find_device(name).params} for name in (one, other))
    return bool(ours and theirs) and (ours <= theirs or theirs <= ours)


@dataclass(frozen=True)
class ParameterSet:
    """The values of one device.

    Args:
        device: its name in the registry; every name in ``values`` is one of its parameters.
        name: of the set.
        values: by parameter name; parameters that are not named keep the device's default.
        source: paper, data file or fit that the set comes from.
        notes: contradictions in the source, our choices, verdicts.
        covariance: of the extracted values, in the order of ``extracted``; (k, k), SI; None where it is not known.
        extracted: the names that ``covariance`` belongs to.
        provenance: hashes and versions that make the set reproducible.
        plasticity: factors of a learning rule that were chosen for this device, by name (dimensionless, above zero).

    >>> tio2 = cosim.ParameterSet.load("tio2")
    >>> tio2.values["theta_p"].value, tio2.source[:17]
    (1.4323, 'arXiv 2510.25787:')
    >>> tio2.with_values({"theta_p": 1.5}, name="mine").resolved().theta_p
    1.5
    """

    device: str
    name: str
    values: Mapping[str, Quantity]
    source: str = ""
    notes: tuple[str, ...] = ()
    extracted: tuple[str, ...] = ()
    covariance: NDArray[np.float64] | None = field(default=None, compare=False)
    provenance: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    plasticity: Mapping[str, Quantity] = field(default_factory=lambda: MappingProxyType({}))
    _checked: Values = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        model = find_device(self.device)
        checked = model.values({name: quantity.value for name, quantity in self.values.items()})
        object.__setattr__(self, "_checked", checked)
        for name, factor in self.plasticity.items():
            if not 0.0 < factor.value < np.inf:
                raise InputError(f"plasticity.{name} = {factor.value:g} of {self.name} is not a factor above zero")
        if self.covariance is not None and self.covariance.shape != (len(self.extracted),) * 2:
            raise InputError(f"covariance of {self.name} has shape {self.covariance.shape}, not one row per parameter")

    def resolved(self, **changes: Any) -> Values:
        """Every parameter of the device, with ``changes`` over the set's values; checked against the bounds."""
        if not changes:
            return self._checked
        return find_device(self.device).values({**{n: q.value for n, q in self.values.items()}, **changes})

    def reservations(self) -> list[str]:
        """What whoever uses the set has to know, a sentence each: what is not from its data, and its cautions."""
        found = self.not_from_data()
        said = [f"{self.name}: not from its data: {listed(found)}"] if found else []
        return said + [f"{self.name}: {note}" for note in self.notes if note.startswith(CAUTION)]

    def not_from_data(self) -> dict[str, tuple[float, str, str]]:
        """Value (SI), unit and source of each parameter that the set lacks, or that its fit did not vary."""
        model = find_device(self.device)
        lacking = {
            entry.name: (entry.default, entry.unit, default_source(self.device, entry.name))
            for entry in model.params
            if entry.name not in self.values
        }
        held = {
            name: (quantity.value, model.param(name).unit, quantity.source)
            for name, quantity in self.values.items()
            if quantity.source.startswith(NOT_FITTED)
        }
        return lacking | held

    def with_values(self, changes: Mapping[str, float | Quantity], *, name: str | None = None) -> ParameterSet:
        """A copy with some values changed; a plain number has no standard error and no source. Drops the covariance."""
        merged = dict(self.values)
        for key, value in changes.items():
            merged[key] = value if isinstance(value, Quantity) else Quantity(float(value))
        return ParameterSet(
            self.device,
            name or self.name,
            merged,
            self.source,
            self.notes,
            provenance=MappingProxyType({}),
            plasticity=self.plasticity,
        )

    def for_device(self, device: str, *, others: Iterable[ParameterSet] = ()) -> ParameterSet:
        """The part of this set (and of ``others``) that another device has parameters for.

        A cell's set gives its memristor's; a memristor's and a transistor's give the cell's. Later sets win.

        Raises:
            InputError: for a set of a device of which neither is a part of the other: it would leave all defaults.
        """
        others = tuple(others)
        known = {entry.name for entry in find_device(device).params}
        merged: dict[str, Quantity] = {}
        for part in (self, *others):
            if not _belong(part.device, device):
                fitting = ", ".join(name for of, name in shipped_sets() if _belong(of, device))
                raise InputError(
                    f"{part.name} is a set of {part.device}, which is neither {device} nor a part of it",
                    remedy=f"take a set of {device}" + (f", e.g. {fitting}" if fitting else ""),
                )
            merged |= {name: quantity for name, quantity in part.values.items() if name in known}
        sources = "; ".join(dict.fromkeys(part.source for part in (self, *others) if part.source))
        factors = {name: factor for part in (self, *others) for name, factor in part.plasticity.items()}
        cautions = [note for part in others for note in part.notes if note.startswith(CAUTION)]
        notes = tuple(dict.fromkeys((*self.notes, *cautions)))
        return ParameterSet(device, self.name, merged, sources, notes, provenance=self.provenance, plasticity=factors)

    def fingerprint(self) -> str:
        """SHA-256 of device and resolved values; independent of notes and sources."""
        resolved = {name: float(value) for name, value in self.resolved().items()}
        return hashlib.sha256(json.dumps([self.device, resolved], sort_keys=True).encode()).hexdigest()

    def to_toml(self) -> str:
        """The set as a complete TOML document."""
        model = find_device(self.device)
        values: dict[str, Any] = {}
        for name, quantity in self.values.items():
            entry: dict[str, Any] = {"value": float(quantity.value), "unit": model.param(name).unit}
            if quantity.stderr is not None:
                entry["stderr"] = float(quantity.stderr)
            if quantity.source:
                entry["source"] = quantity.source
            values[name] = entry
        body: dict[str, Any] = {"source": self.source}
        if self.notes:
            body["notes"] = list(self.notes)
        if self.provenance:
            body["provenance"] = dict(self.provenance)
        body["values"] = values
        if self.plasticity:
            body["plasticity"] = {n: {"value": float(q.value), "source": q.source} for n, q in self.plasticity.items()}
        if self.covariance is not None:
            body["covariance"] = {"names": list(self.extracted), "matrix": self.covariance.tolist()}
        return tomli_w.dumps({"device": self.device, "sets": {self.name: body}})

    def save(self, path: str | Path) -> Path:
        """Write the set to ``path``, replacing it atomically."""
        return write_atomic(path, self.to_toml())

    @classmethod
    def load(cls, reference: str | Path) -> ParameterSet:
        """The set that ``reference`` names (module docstring). Raises `MissingFile`, `UnknownName`, `InputError`."""
        text = str(reference)
        file, name = in_file(text)
        if file:
            return cls.in_file(file, name)
        head, _, tail = text.rpartition(":")
        shipped = shipped_sets()
        own = in_library(text)
        if own is not None:
            known = next((found for (device, name), found in shipped.items() if name == tail), None)
            if known is not None and head in ("", known.device):
                raise InputError(
                    f"the parameter set {tail!r} is cosim's, and a file of the library, {own}",
                    remedy=f"rename the file, or take its set by its path: {own}",
                )
            found = _of_file(own)
            if head not in ("", found.device):
                raise InputError(
                    f"the set {tail!r} of the library is of {found.device}, not of {head}",
                    where=Where(own),
                    remedy=f"write {found.device}:{tail}",
                )
            return found
        if head:
            shipped = {key: found for key, found in shipped.items() if key[0] == head}
            if not shipped:
                raise UnknownName("device with parameter sets", head, {key[0] for key in shipped_sets()})
        matches = [found for (_, name), found in shipped.items() if name == tail]
        if not matches:
            known_names = [f"{a}:{b}" for a, b in shipped_sets()] + [b for _, b in shipped]
            raise UnknownName("parameter set", text, [*known_names, *resources.library()])
        if len(matches) > 1:
            raise InputError(
                f"parameter set {text!r} is not unique",
                remedy="write " + " or ".join(f"{found.device}:{found.name}" for found in matches),
            )
        return matches[0]

    @classmethod
    def in_file(cls, path: str | Path, name: str | None = None) -> ParameterSet:
        """The set called ``name`` in a file, or its only one; raises as `load`."""
        sets = read_sets(path)
        return _only(sets, str(path)) if name is None else _named(sets, name, str(path))


def default_source(device: str, name: str) -> str:
    """Where a device's default comes from: itself, and the first published set that has the same value."""
    default = find_device(device).param(name).default
    for (other, label), published in shipped_sets().items():
        if other == device and name in published.values and published.values[name].value == default:
            return f"default, that of {label}"
    return f"default of {device}"


def listed(values: Mapping[str, tuple[float, str, str]]) -> str:
    """Values (SI), each with its unit and where it comes from, in words; those of one source together."""
    by_source: dict[str, list[str]] = {}
    for name, (value, unit, source) in values.items():
        by_source.setdefault(source, []).append(f"{name} = {units.show(value, unit)}")
    return "; ".join(f"{', '.join(names)} ({source})" for source, names in by_source.items())


def in_file(reference: str) -> tuple[str, str | None]:
    """The file that a reference to a set names, "" for a shipped set; and the set's name, None for the only one."""
    if reference.endswith(".toml"):
        return reference, None
    head, _, tail = reference.rpartition(":")
    return (head, tail) if head.endswith(".toml") else ("", None)


def library_sets() -> dict[str, ParameterSet]:
    """The sets of the library by the name of their file; raises `InputError` for a file that has none of that name."""
    return {name: _of_file(path) for name, path in resources.library().items()}


def _of_file(path: Path) -> ParameterSet:
    """The set that is called as the file, or its only one."""
    sets = read_sets(path)
    return sets[path.stem] if path.stem in sets else _only(sets, str(path))


def in_library(reference: str) -> Path | None:
    """The file of the library that a reference ``NAME`` or ``DEVICE:NAME`` is of; None for any other."""
    return None if in_file(reference)[0] else resources.library().get(reference.rpartition(":")[2])


def _only(sets: Mapping[str, ParameterSet], path: str) -> ParameterSet:
    if len(sets) != 1:
        raise InputError(f"{path} holds {len(sets)} parameter sets", remedy=f"write {path}:NAME, of {', '.join(sets)}")
    return next(iter(sets.values()))


def _named(sets: Mapping[str, ParameterSet], name: str, path: str) -> ParameterSet:
    if name not in sets:
        raise UnknownName("parameter set", name, sets, where=Where(path))
    return sets[name]


def shipped_sets() -> dict[tuple[str, str], ParameterSet]:
    """The published sets in ``device_models/`` by (device, name), as they were when a process first asked."""
    return dict(_shipped())


@cache  # a fit asks many times, and looking whether a file has changed takes as long as a search
def _shipped() -> Mapping[tuple[str, str], ParameterSet]:
    files = resources.listing("device_models", ".toml")
    return {(entry.device, entry.name): entry for path in files for entry in read_sets(path).values()}


def read_sets(path: str | Path) -> dict[str, ParameterSet]:
    """Every set in a file; raises `InputError` that names file, set and parameter."""
    data = read_toml(path, kind="parameter file")
    where = Where(path)
    name = data.get("device")
    if not isinstance(name, str) or not isinstance(data.get("sets"), dict):
        raise InputError("not a parameter file", where=where, remedy='it needs device = "..." and [sets.NAME.values]')
    if name not in devices():
        raise UnknownName("device", name, devices(), where=where)
    return {key: _read_set(name, key, body, where) for key, body in data["sets"].items()}


def _read_set(device: str, name: str, body: Mapping[str, Any], where: Where) -> ParameterSet:
    model = find_device(device)
    given = body.get("values") if isinstance(body, dict) else None
    if not isinstance(given, dict):
        raise InputError(f"set {name!r} has no values", where=where, remedy=f"write [sets.{name}.values]")
    values: dict[str, Quantity] = {}
    for key, entry in given.items():
        spec = entry if isinstance(entry, dict) else {"value": entry}
        try:
            unit = model.param(key).unit
            if "unit" in spec and units.dimension(spec["unit"])[1] != units.dimension(unit)[1]:
                raise InputError(f"{spec['unit']!r} is not a unit of {key}", remedy=f"write it in {unit}")
            scale = units.dimension(spec["unit"])[0] if "unit" in spec else 1.0
            value, stderr = spec["value"], spec.get("stderr")
            if not isinstance(value, str):
                value = units.parse(value, unit) * scale
                stderr = None if stderr is None else units.parse(stderr, unit) * scale
            values[key] = Quantity(
                units.parse(value, unit),
                None if stderr is None else units.parse(stderr, unit),
                str(spec.get("source", "")),
            )
        except KeyError:
            raise InputError(f"{name}.{key} has no value", where=where, remedy="write { value = ... }") from None
        except InputError as error:
            raise InputError(f"set {name!r}: {error}", where=where) from None
    matrix = body.get("covariance")
    try:
        return ParameterSet(
            device,
            name,
            MappingProxyType(values),
            str(body.get("source", "")),
            tuple(str(note) for note in body.get("notes", ())),
            tuple(matrix["names"]) if matrix else (),
            np.asarray(matrix["matrix"], dtype=float) if matrix else None,
            MappingProxyType({str(k): str(v) for k, v in body.get("provenance", {}).items()}),
            MappingProxyType(
                {
                    str(k): Quantity(units.parse(v["value"], "1"), None, str(v.get("source", "")))
                    for k, v in body.get("plasticity", {}).items()
                }
            ),
        )
    except InputError as error:
        raise InputError(f"set {name!r}: {error}", where=where) from None
    except (KeyError, ValueError, TypeError):
        raise InputError(
            f"set {name!r}: its covariance or plasticity is malformed",
            where=where,
            remedy="write names = [...], matrix = [[...], ...]; scale_p = { value = ..., source = ... }",
        ) from None
