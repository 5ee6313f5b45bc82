"""What the verbs of ``cosim surrogate`` share: options, references, and what they print of a certificate."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cosim import units
from cosim.cli.paths import figure_file
from cosim.errors import InputError

if TYPE_CHECKING:
    from cosim.devices.maps import EventMap
    from cosim.surrogate.base import Certificate, Domain
    from cosim.surrogate.certify import HeldOutEvents
    from cosim.surrogate.conformal import Scores
    from cosim.surrogate.model import Surrogate
    from cosim.surrogate.references import Reference

EXAMPLE = {"--spread": "theta_p=20%", "--limit": "state=1%"}
LIMIT = (
    "Largest error per pulse, a share of full scale; the defaults are state=1%, conductance=1%, energy=7%, and of the "
    "states in a free run 'free run=5%'; may be repeated. Single states and other outputs go by their names."
)
USUAL_PULSES = 500
PULSES = (
    f"Held-out pulses of the certificate; default: {USUAL_PULSES}, of a neuron 4500, half of them in trains of a "
    "hundred and half in short ones, which its prediction intervals take; of a filter in trains of 25 spikes."
)
REFERENCE = (
    "Parameter set of the device that answers, e.g. the one that was measured; default: the surrogate's own set, whose "
    "extraction is then not tested."
)
AGAINST = (
    "ngspice; integration: the device's own equations by scipy, which need no simulator; or a bench (a shipped one's "
    "name, or FILE.toml) that declares a map with the fields of the device's."
)
UNSEEN = 4  # exit code of a check whose events did not see all that is certified
Stored = Annotated[Path, typer.Argument(help="A surrogate (.npz).")]
AsJson = Annotated[bool, typer.Option("--json", help="One line of JSON instead of text.")]
Drawing = Annotated[
    Path | None, typer.Option(callback=figure_file, help="Write the comparison as a figure (.png, .svg, .pdf).")
]


def verdict(
    surrogate: Surrogate, *, indent: str = "", missed: tuple[str, ...] = (), unseen: tuple[str, ...] = ()
) -> None:
    """Print whether it passes, and where alone; ``missed`` is what else fails, ``unseen`` what a check cannot tell."""
    assert surrogate.certificate is not None
    if broken := (*surrogate.certificate.broken, *missed):
        print(f"{indent}fails: {'; '.join(broken)}")
    elif unseen:
        print(f"{indent}not verified: {'; '.join(unseen)}; give more --pulses")
    elif partly := surrogate.uncovered():
        print(f"{indent}passes where it was tested: {'; '.join(partly)}")
    else:
        print(f"{indent}passes")


def ended(*, failed: bool, unseen: tuple[str, ...]) -> None:
    """End a check with exit code 1 where it ``failed``, else with `UNSEEN` where fresh events left something out."""
    if failed or unseen:
        raise typer.Exit(1 if failed else UNSEEN)


def shown(surrogate: Surrogate, held: HeldOutEvents, figure: Path | None, *, indent: str = "") -> None:
    """Print its certificate and its speed, and draw ``figure``."""
    from cosim.surrogate.certify import updates_per_second

    assert surrogate.certificate is not None
    for line in certificate_lines(surrogate):
        print(indent + line)
    ours, theirs = updates_per_second(surrogate), held.seconds_per_pulse
    print(f"{indent}speed       {ours:.3g} cell updates/s here, " + speed_of_reference(ours, theirs))
    if figure is not None:
        drawn(surrogate, held, figure)
        print(f"{indent}figure      {figure}")


def certificate_lines(surrogate: Surrogate) -> Iterator[str]:
    """Its certificate, what of its states is not certified, and what becomes of them between events."""
    from cosim.surrogate.answers import rests

    if surrogate.certificate is not None:
        yield from surrogate.certificate.lines()
        yield from (f"covered     {sentence}: give more --pulses" for sentence in surrogate.uncovered())
        if said := rests(surrogate):
            yield f"rests       {said}"


def drawn(surrogate: Surrogate, held: HeldOutEvents, figure: Path) -> None:
    """Write the comparison with ``held`` as a figure."""
    from cosim.report.style import save
    from cosim.report.surrogate_figures import overview
    from cosim.surrogate.answers import described

    assert surrogate.certificate is not None
    title = f"Surrogate of {described(surrogate, briefly=True)}\nagainst {surrogate.certificate.against}"
    save(overview(held, title=title), figure)


def narrower(certified: Domain, fresh: Domain) -> tuple[str, ...]:
    """What fresh events did not see of what is ``certified``, as sentences.

    Parts of a state's range are tenths of it, of which each is seen or not. Inputs that are drawn at random never come
    as near to the ends as others did: less than a tenth of a range counts as nothing there.
    """
    import numpy as np

    from cosim.surrogate.density import LOGARITHMIC
    from cosim.surrogate.trains import TENTHS

    found = []
    for name, ends in {**certified.inputs, **certified.states}.items():
        (low, high), seen = ends, {**fresh.inputs, **fresh.states}[name]
        if name in certified.states:
            room = (1e-9 * (high - low),) * 2
        elif low > 0.0 and high > LOGARITHMIC * low:
            part = (high / low) ** (1.0 / TENTHS)
            room = (low * (part - 1.0), high * (1.0 - 1.0 / part))
        else:
            room = ((high - low) / TENTHS,) * 2
        ends = (low + room[0], high - room[1])
        gaps = np.array([*certified.gaps.get(name, ()), *fresh.gaps.get(name, ())])
        cuts = np.unique(np.clip([*ends, *seen, *gaps.ravel()], *ends))
        middles = (cuts[:-1] + 0.5 * np.diff(cuts))[np.diff(cuts) > 1e-9 * (high - low)]
        x = np.array([*ends, *middles])  # in each part there is, of what is certified, seen or not
        if np.any(~certified.in_gap(name, x) & ((x < seen[0]) | (x > seen[1]) | fresh.in_gap(name, x))):
            found.append(f"certified is {certified.shown(name)}, and of it these events saw {fresh.shown(name)}")
    return tuple(found)


def before(surrogate: Surrogate) -> None:
    """Print the certificate of a ``surrogate`` from a file that is held against its circuit again."""
    print("certificate" if surrogate.certificate is not None else "this surrogate has no certificate")
    for line in certificate_lines(surrogate):
        print("  " + line)
    print("now")


def coverage(certificate: Certificate, after: Mapping[int, Mapping[str, Scores]]) -> Iterator[str]:
    """How much of new events, whose errors ``after`` holds, lies within the certificate's intervals."""
    for band in certificate.bands:
        fresh = after.get(band.events)
        if fresh is None:
            continue
        shares = ", ".join(f"{name} {share:.1%}" for name, share in band.covered(fresh).items())
        events = "1 event" if band.events == 1 else f"{band.events} events"
        yield f"coverage    of the certificate's 95 % intervals after {events}: {shares or 'none that has 95 %'}"


def speed_of_reference(ours: float, seconds_per_pulse: float | None) -> str:
    """The reference's updates per second in a long train, in words, beside ``ours`` (1/s)."""
    if seconds_per_pulse is None:
        return "too few pulses in the reference to tell its speed"
    return f"{1.0 / seconds_per_pulse:.3g} in the reference without its start-up: {ours * seconds_per_pulse:.3g} x"


def map_of_law(law: str) -> str:
    """The map of a closed pulse by its law's name; raises `UnknownName`."""
    from cosim.errors import UnknownName

    maps = {"rate": "pulse", "published": "published"}
    if law not in maps:
        raise UnknownName("law", law, maps)
    return maps[law]


def shares_of(option: str, given: list[str] | None) -> dict[str, float]:
    """What an option that may be repeated gives as NAME=SHARE. Raises `InputError`."""
    found = {}
    for entry in given or ():
        name, equals, value = entry.partition("=")
        if not equals:
            raise InputError(f"{option} {entry!r} has no value", remedy=f"write e.g. {option} {EXAMPLE[option]}")
        found[name.strip()] = units.parse(value, "1")
    return found


@contextmanager
def opened(event_map: EventMap, against: str, reference: str) -> Iterator[Reference]:
    """What a map is held against, by its name; its simulator, if any, is closed at the end."""
    from cosim import resources
    from cosim.bench.testbench import Testbench
    from cosim.cli.sets import load_set
    from cosim.engines.registry import open_simulator
    from cosim.errors import UnknownName
    from cosim.surrogate.bench_reference import BenchReference
    from cosim.surrogate.references import Equations, reference_for

    device = load_set(reference, device=event_map.device.name) if reference else None
    if against == "integration":
        yield Equations(device=device)
        return
    bench = None
    if against != "ngspice":
        known = [path.stem for path in resources.listing("netlists", ".toml")]
        if not against.endswith(".toml") and against not in known:
            raise UnknownName("reference", against, ("ngspice", "integration", *known))
        bench = Testbench.load(against)
    with open_simulator() as simulator:
        if bench is not None:
            yield BenchReference(bench, simulator, device=device)
        else:
            yield reference_for(event_map, simulator, device=device)
