"""Parameter sets that verbs take by name or file."""

from __future__ import annotations

from cosim.cli.output import advise
from cosim.parameters import ParameterSet, in_file, in_library


def load_set(reference: str, *, device: str = "") -> ParameterSet:
    """The set of ``reference``, for ``device`` where one is named; of one in a file, its reservations are printed."""
    found = ParameterSet.load(reference)
    if device:
        found = found.for_device(device)
    if in_file(reference)[0] or in_library(reference):
        advise(found.reservations())
    return found
