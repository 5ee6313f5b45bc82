"""Every kind of learned law by the name in its document: what files read them back by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from cosim.surrogate.filter import FilterLaw
from cosim.surrogate.learned import SEVERAL, Law, Laws
from cosim.surrogate.neuron import NeuronLaw

AnyLaw = Law | Laws | NeuronLaw | FilterLaw


def law_of(document: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], prefix: str) -> AnyLaw:
    """A law from its document and arrays; raises KeyError or ValueError for what cannot be one."""
    if document["kind"] == NeuronLaw.kind:
        return NeuronLaw.rebuilt(document, arrays, prefix)
    if document["kind"] == FilterLaw.kind:
        return FilterLaw.rebuilt(document, arrays, prefix)
    if document["kind"] == SEVERAL:
        return Laws.rebuilt(document, arrays, prefix)
    return Law.rebuilt(document, arrays, prefix)
