"""What answered the events of a certificate, as JSON values in it, and the same reference opened again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cosim import resources
from cosim.bench.events import BenchMap
from cosim.bench.testbench import Testbench
from cosim.errors import InputError
from cosim.surrogate.bench_reference import BenchReference
from cosim.surrogate.circuit import CircuitReference, CircuitSet
from cosim.surrogate.references import Circuit, Reference, reference_for
from cosim.surrogate.subjects import rebuilt_set, subject_of

if TYPE_CHECKING:
    from cosim.engines.simulator import Simulator
    from cosim.surrogate.model import Surrogate

BENCH, MAP, DEVICE, SUBCIRCUIT = "bench", "map", "device", "subcircuit"


def origin(reference: Reference) -> dict[str, Any]:
    """What `opened_again` takes to open ``reference``: its bench, by name where it ships, the bench's map, the device
    that answers. Empty where the surrogate tells all, or for a reference of one's own.
    """
    found: dict[str, Any] = {}
    if isinstance(reference, BenchReference):
        found[BENCH] = _told(reference.bench)
    elif isinstance(reference, CircuitReference):
        found |= {BENCH: _told(reference.found.bench), MAP: reference.found.name}
    elif isinstance(reference, Circuit):
        found[SUBCIRCUIT] = True
    if reference.device is not None:
        found[DEVICE] = subject_of(reference.device).document()
    return found


def opened_again(surrogate: Surrogate, simulator: Simulator) -> Reference:
    """What answered its certificate, in ``simulator``.

    Without a certificate, or where equations answered, the bench that it was made of, or the default one of its map,
    with the device of the certificate.

    Raises `InputError` where the bench is not there any more, or the certificate's device is malformed.
    """
    told: Mapping[str, Any] = {} if surrogate.certificate is None else surrogate.certificate.answered
    try:
        device = rebuilt_set(told[DEVICE]) if DEVICE in told else None
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"the device that answered the certificate lacks or has malformed {error}", remedy="certify it again"
        ) from None
    if told.get(SUBCIRCUIT):
        return Circuit(simulator, device=device)
    made_of, event = surrogate.subject.bench
    bench = str(told.get(BENCH, made_of))
    if not bench:
        return reference_for(surrogate.map, simulator, device=device)
    if bench.endswith(".toml") and not Path(bench).exists():
        raise InputError(
            f"the bench {bench}, against which the surrogate was certified, is not there any more",
            remedy="put it back, or train the surrogate again; 'cosim surrogate check' takes --against FILE.toml",
        )
    if MAP in told or isinstance(surrogate.parameters, CircuitSet):
        return CircuitReference(BenchMap.load(bench, str(told.get(MAP, event))), simulator)
    return BenchReference(Testbench.load(bench), simulator, device=device)


def certified_reference(surrogate: Surrogate, simulator: Simulator) -> Reference:
    """`opened_again`, where it still is what the certificate says.

    Raises `InputError` where the circuit has changed since, or the certificate does not tell which device answered.
    """
    reference, certificate = opened_again(surrogate, simulator), surrogate.certificate
    if certificate is None:
        return reference
    changed = certificate.netlist and certificate.netlist != reference.netlist(surrogate.map)
    if changed or (certificate.extraction != "not included") != reference.independent:
        raise InputError(
            f"the surrogate was certified against another circuit ({certificate.reference}) than "
            f"{reference.subject(surrogate.parameters)} as it is now, so that its answers would not be the certified "
            "ones",
            remedy="certify it again, against the circuit as it is",
        )
    return reference


def _told(bench: Testbench) -> str:
    """A bench that ships by its name, any other by its file."""
    ships = any(bench.folder.is_relative_to(root.resolve()) for root in resources.shipped_roots())
    return bench.name if ships else str(bench.source)
