"""What a surrogate consists of, as JSON values and arrays, and the surrogate that they make again."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cosim.devices.pulse import PulseShape
from cosim.parameters import ParameterSet, Quantity
from cosim.surrogate.base import Certificate
from cosim.surrogate.circuit import CircuitSet
from cosim.surrogate.correction import Correction
from cosim.surrogate.laws import law_of
from cosim.surrogate.learned import Law
from cosim.surrogate.model import Surrogate


def document(surrogate: Surrogate) -> dict[str, Any]:
    """What is needed to make ``surrogate`` again, as JSON values, without the certificate."""
    learned = surrogate.correction
    return {
        "map": surrogate.name,
        "shape": None if surrogate.shape is None else vars(surrogate.shape),
        "dtype": surrogate.dtype,
        "instances": sorted(surrogate.instances),
        "correction": None
        if learned is None
        else {
            "fields": list(learned.fields),
            "signed": list(learned.signed),
            "degree": learned.degree,
            "of": sorted(learned.tables),
        },
        **{name: law.document() for name, law in surrogate.laws()},
        **(
            {"circuit": surrogate.parameters.document()}
            if isinstance(surrogate.parameters, CircuitSet)
            else {"parameters": set_document(surrogate.parameters)}
        ),
    }


def arrays(surrogate: Surrogate) -> dict[str, NDArray[Any]]:
    """The arrays of its file: instances and correction."""
    out: dict[str, NDArray[Any]] = {f"instance_{name}": values for name, values in surrogate.instances.items()}
    for name, law in surrogate.laws():
        out |= law.arrays(name)
    return out | (surrogate.correction.arrays() if surrogate.correction is not None else {})


def rebuilt(
    document: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], certificate: Certificate | None
) -> Surrogate:
    """The inverse of `document` and `arrays`."""
    shape, learned = document["shape"], document["correction"]
    correction = None
    if learned is not None:
        correction = Correction(
            tuple(str(name) for name in learned["fields"]),
            tuple(str(name) for name in learned["signed"]),
            np.asarray(arrays["correction_ranges"], dtype=float),
            int(learned["degree"]),
            {str(name): np.asarray(arrays[f"correction_of_{name}"], dtype=float) for name in learned["of"]},
        )
    return Surrogate(
        parameters=CircuitSet.rebuilt(document["circuit"]) if "circuit" in document else set_of(document["parameters"]),
        name=str(document["map"]),
        shape=None if shape is None else PulseShape(**{k: float(shape[k]) for k in ("width", "rise", "fall")}),
        instances={str(name): arrays[f"instance_{name}"] for name in document["instances"]},
        correction=correction,
        learned=law_of(document["learned"], arrays, "learned") if "learned" in document else None,
        reading=Law.rebuilt(document["reading"], arrays, "reading") if "reading" in document else None,
        certificate=certificate,
        dtype=document["dtype"],
    )


def set_document(chosen: ParameterSet) -> dict[str, Any]:
    """A parameter set as JSON values, for a surrogate's file; without its covariance."""
    return {
        "device": chosen.device,
        "name": chosen.name,
        "source": chosen.source,
        "notes": list(chosen.notes),
        "provenance": dict(chosen.provenance),
        "plasticity": {name: [q.value, q.source] for name, q in chosen.plasticity.items()},
        "values": {name: [q.value, q.stderr, q.source] for name, q in chosen.values.items()},
    }


def set_of(given: Mapping[str, Any]) -> ParameterSet:
    """The inverse of `set_document`; raises KeyError, TypeError or ValueError for any other document."""
    values = {
        str(name): Quantity(float(value), None if stderr is None else float(stderr), str(source))
        for name, (value, stderr, source) in given["values"].items()
    }
    factors = {str(k): Quantity(float(v), None, str(s)) for k, (v, s) in given.get("plasticity", {}).items()}
    return ParameterSet(
        given["device"],
        str(given["name"]),
        MappingProxyType(values),
        str(given["source"]),
        tuple(str(note) for note in given["notes"]),
        provenance=MappingProxyType({str(k): str(v) for k, v in given["provenance"].items()}),
        plasticity=MappingProxyType(factors),
    )
