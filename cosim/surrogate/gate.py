"""Which surrogates are used without a word: the one gate that networks and exports ask."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cosim.errors import InputError

if TYPE_CHECKING:
    from cosim.surrogate.model import Surrogate


def require_certified(surrogate: Surrogate, *, bare: bool = True) -> None:
    """Raises `InputError` for a surrogate that misses its limits, or has no certificate and is not ``uncertified``.

    ``bare``: whether the map of a parameter set alone, of which nothing was learned, is used as it is: these are the
    equations of the device, which claim no circuit.
    """
    certificate = surrogate.certificate
    if certificate is None:
        why = "" if bare and surrogate.correction is None and not surrogate.laws() else "has no certificate"
    else:
        why = f"misses its limits: {'; '.join(certificate.broken)}" if certificate.broken else ""
    if why and not surrogate.uncertified:
        raise InputError(
            f"the surrogate of {surrogate.parameters.name} {why}",
            remedy="train a better one, or take --uncertified (in Python: surrogate.with_(uncertified=True))",
        )
