"""Names and units that a surrogate brings along, which become text of other programs' files where it is exported.

A surrogate's file comes from anybody, and so may what its sets, maps, fields and units are called: a name with a line
break or a quote would end the comment that it stands in, and what follows would run.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from cosim.errors import InputError

if TYPE_CHECKING:
    from cosim.surrogate.model import Surrogate

NAME = re.compile(r"[\w.+ (),:=%/-]+")
UNIT = re.compile(r"[\w.+ (),:=%/*^·°-]*")


def require_plain(surrogate: Surrogate) -> None:
    """Raises `InputError` for a name or a unit that holds more than letters, digits and a few harmless signs."""
    event_map, certificate, correction = surrogate.map, surrogate.certificate, surrogate.correction
    fields = {**event_map.inputs, **event_map.states, **event_map.outputs}
    names = {
        "parameter set": [surrogate.parameters.name],
        "device": [surrogate.device],
        "map": [surrogate.name],
        "field": [*fields, *event_map.fixed],
        "parameter": [*surrogate.parameters.values, *surrogate.instances],
        "correction": [] if correction is None else [*correction.fields, *correction.tables],
    }
    units = [entry.unit for entry in fields.values()]
    if certificate is not None:
        domain = certificate.domain
        names["certified range"] = [*domain.inputs, *domain.states, *domain.parameters, *domain.fixed, *domain.units]
        units += domain.units.values()
    for kind, given in names.items():
        for name in given:
            if not NAME.fullmatch(name):
                raise _refused(f"the name of the {kind}", name)
    for unit in units:
        if not UNIT.fullmatch(unit):
            raise _refused("the unit", unit)


def _refused(what: str, text: str) -> InputError:
    shown = ascii(text) if len(text) <= 60 else f"{text[:60]!a}..."
    return InputError(
        f"{what} {shown} holds characters that could become code in an export",
        remedy="use letters, digits, spaces and any of _ . + - ( ) , : = % /",
    )


def one_line(text: str) -> str:
    """Free text for a comment or a docstring: one line without quotes and backslashes."""
    shown = "".join(c if c.isprintable() else " " for c in text.replace('"', "'").replace("\\", "/"))
    return " ".join(shown.split())
