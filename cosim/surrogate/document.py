"""What a surrogate consists of, as JSON values and arrays, and the surrogate that they make again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cosim.devices.pulse import PulseShape
from cosim.surrogate.base import Certificate
from cosim.surrogate.correction import Correction
from cosim.surrogate.laws import law_of
from cosim.surrogate.learned import Law
from cosim.surrogate.model import Surrogate
from cosim.surrogate.subjects import rebuilt_set


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
        **surrogate.subject.document(),
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
        parameters=rebuilt_set(document),
        name=str(document["map"]),
        shape=None if shape is None else PulseShape(**{k: float(shape[k]) for k in ("width", "rise", "fall")}),
        instances={str(name): arrays[f"instance_{name}"] for name in document["instances"]},
        correction=correction,
        learned=law_of(document["learned"], arrays, "learned") if "learned" in document else None,
        reading=Law.rebuilt(document["reading"], arrays, "reading") if "reading" in document else None,
        certificate=certificate,
        dtype=document["dtype"],
    )
