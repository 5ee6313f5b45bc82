"""``cosim surrogate train`` and ``cosim surrogate check``."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cosim import units
from cosim.errors import InputError

if TYPE_CHECKING:
    from cosim.devices.pulse import Law
    from cosim.surrogate.base import Range
    from cosim.surrogate.check import HeldOut
    from cosim.surrogate.pulse import PulseSurrogate
    from cosim.surrogate.references import PulseBench

EXAMPLE = {"--spread": "theta_p=20%", "--limit": "state=1%"}
LIMIT = (
    "Largest error per pulse, a share of full scale; the defaults are state=1%, conductance=1%, energy=7%, and of the "
    "state in a free run 'free run=5%'; may be repeated."
)
REFERENCE = (
    "Parameter set of the device that answers, e.g. the one that was measured; default: the surrogate's own set, whose "
    "extraction is then not tested."
)
AGAINST = "ngspice, or integration: the device's own equations by scipy, which need no simulator."


def register(app: typer.Typer) -> None:
    """Add the verb to the command."""
    group = typer.Typer(name="surrogate", no_args_is_help=True, help="Train a fast model of a cell, or check one.")
    group.command("train")(train)
    group.command("check")(check)
    app.add_typer(group)


def train(
    output: Annotated[Path, typer.Option("-o", "--output", help="File to write (.npz).")],
    parameters: Annotated[
        str, typer.Option("--parameters", help="Parameter set: a shipped one's name, FILE.toml or FILE.toml:NAME.")
    ] = "tio2",
    device: Annotated[
        str, typer.Option(help="cell_1t1r or threshold_memristor; default: the set's own.", show_default=False)
    ] = "",
    samples: Annotated[
        Path | None, typer.Option(help="SPICE samples (.npz: w_before, amplitude, w_after, energy) to correct with.")
    ] = None,
    learn: Annotated[int, typer.Option(help="Collect so many pulses in --against, and correct with them.")] = 0,
    law: Annotated[str, typer.Option(help="rate or published.")] = "rate",
    against: Annotated[str, typer.Option(help=AGAINST)] = "ngspice",
    pulses: Annotated[int, typer.Option(help="Held-out pulses of the certificate.")] = 500,
    seed: Annotated[int, typer.Option(help="Of the pulses.")] = 0,
    width: Annotated[str, typer.Option(help="Pulse width.")] = "200 ns",
    edge: Annotated[str, typer.Option(help="Rise and fall time of the pulse.")] = "5 ns",
    span: Annotated[
        tuple[str, str], typer.Option(help="Amplitudes of the domain, e.g. '-2.5 V' '2.5 V'; default: by overdrive.")
    ] = ("", ""),
    spread: Annotated[
        list[str] | None,
        typer.Option(
            help="Certify what a parameter's relative standard deviation from cell to cell reaches, e.g. theta_p=20%; "
            "may be repeated."
        ),
    ] = None,
    limit: Annotated[list[str] | None, typer.Option(help=LIMIT)] = None,
    reference: Annotated[str, typer.Option(help=REFERENCE, show_default=False)] = "",
    figure: Annotated[Path | None, typer.Option(help="Write the comparison as a figure (.png, .svg, .pdf).")] = None,
) -> None:
    """Make a surrogate from a parameter set, and certify it on pulses held out from its making.

    Exit code 1: it misses a limit. It is written all the same, with its certificate; a network refuses it.
    """
    from cosim.cli.output import counting
    from cosim.devices.pulse import PulseShape
    from cosim.parameters import ParameterSet
    from cosim.surrogate.files import save
    from cosim.surrogate.train import Samples, collect, from_parameters
    from cosim.surrogate.train import train as make

    if output.suffix != ".npz":
        raise InputError(f"{output} is no .npz file", remedy="name the output e.g. cell.npz")
    chosen = ParameterSet.load(parameters)
    if device:
        chosen = chosen.for_device(device)
    shape = PulseShape(units.parse(width, "s"), units.parse(edge, "s"), units.parse(edge, "s"))
    limits = None if span == ("", "") else (units.parse(span[0], "V"), units.parse(span[1], "V"))
    given = None if samples is None else Samples.load(samples)
    draft = from_parameters(chosen, law=_law(law), shape=shape)
    if learn and given is not None:
        raise InputError("--samples and --learn exclude each other", remedy="take one of them")
    spreads, allowed = _shares("--spread", spread), _shares("--limit", limit)
    with _opened(against, chosen.device, reference) as bench:
        if learn:
            with counting(f"collecting samples in {against}", learn, "pulses") as tell:
                given = collect(draft, bench, seed=seed, pulses=learn, span=limits, tell=tell)
        with counting(f"certifying against {against}", pulses, "pulses") as tell:
            surrogate, held = make(
                chosen,
                bench,
                law=_law(law),
                shape=shape,
                samples=given,
                seed=seed,
                pulses=pulses,
                span=limits,
                spread=spreads,
                limits=allowed,
                tell=tell,
            )
    save(surrogate, output)
    _show(surrogate, held, figure)
    print(f"written     {output}")
    assert surrogate.certificate is not None
    if surrogate.certificate.broken:
        print(
            f"cosim: {output} misses its limits, and networks refuse it without --uncertified; "
            + ("correct it by samples, e.g. --learn 600" if given is None else "take more samples to correct it by"),
            file=sys.stderr,
        )
        raise typer.Exit(1)


def check(
    file: Annotated[Path, typer.Argument(help="A surrogate (.npz).")],
    against: Annotated[str, typer.Option(help=AGAINST)] = "ngspice",
    pulses: Annotated[int, typer.Option(help="Held-out pulses.")] = 500,
    seed: Annotated[int, typer.Option(help="Of the pulses; another one than the certificate's tells more.")] = 1,
    limit: Annotated[list[str] | None, typer.Option(help=LIMIT)] = None,
    reference: Annotated[str, typer.Option(help=REFERENCE, show_default=False)] = "",
    figure: Annotated[Path | None, typer.Option(help="Write the comparison as a figure (.png, .svg, .pdf).")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One line of JSON instead of text.")] = False,
) -> None:
    """Print a surrogate's certificate, and hold it against the circuit again on new pulses. Exit code 1: it fails."""
    from cosim.cli.output import counting
    from cosim.surrogate.check import certify, updates_per_second
    from cosim.surrogate.files import load
    from cosim.surrogate.pulse import PulseSurrogate

    stored = load(file)
    if not isinstance(stored, PulseSurrogate):
        raise InputError(f"{file} holds a surrogate of kind {stored.kind!r}, this check is for pulses")
    if stored.instances:
        stored = stored.with_(instances={})
    old = stored.certificate
    span: Range | None = None if old is None else old.domain.inputs["amplitude"]
    allowed = {**({} if old is None else old.limits), **_shares("--limit", limit)}
    with (
        _opened(against, stored.device, reference) as bench,
        counting(f"checking against {against}", pulses, "pulses") as tell,
    ):
        fresh, held = certify(stored, bench, seed=seed, pulses=pulses, span=span, limits=allowed, tell=tell)
    assert fresh.certificate is not None
    speed = updates_per_second(stored)
    passed = not fresh.certificate.broken
    if as_json:
        facts = {
            "passed": passed,
            "certificate": None if old is None else old.to_dict(),
            "check": fresh.certificate.to_dict(),
            "updates_per_second": speed,
            "reference_updates_per_second": None if held.seconds_per_pulse is None else 1.0 / held.seconds_per_pulse,
        }
        print(json.dumps(facts))
    else:
        print("certificate" if old is not None else "this surrogate has no certificate")
        for line in [] if old is None else old.lines():
            print("  " + line)
        print("now")
        _show(fresh, held, figure, indent="  ")
        print("  passes" if passed else "  fails: " + "; ".join(fresh.certificate.broken))
    if not passed:
        raise typer.Exit(1)


def _show(surrogate: PulseSurrogate, held: HeldOut, figure: Path | None, *, indent: str = "") -> None:
    from cosim.surrogate.check import updates_per_second

    assert surrogate.certificate is not None
    for line in surrogate.certificate.lines():
        print(indent + line)
    ours, theirs = updates_per_second(surrogate), held.seconds_per_pulse
    print(f"{indent}speed       {ours:.3g} cell updates/s here, " + speed_of_reference(ours, theirs))
    if figure is not None:
        from cosim.report.style import save
        from cosim.report.surrogate_figures import overview

        save(overview(held, title=f"Surrogate against {surrogate.certificate.against}"), figure)
        print(f"{indent}figure      {figure}")


def speed_of_reference(ours: float, seconds_per_pulse: float | None) -> str:
    """The reference's updates per second in a long train, in words, beside ``ours`` (1/s)."""
    if seconds_per_pulse is None:
        return "too few pulses in the reference to tell its speed"
    return f"{1.0 / seconds_per_pulse:.3g} in the reference without its start-up: {ours * seconds_per_pulse:.3g} x"


def _law(text: str) -> Law:
    from cosim.devices.pulse import LAWS
    from cosim.errors import UnknownName

    for law in LAWS:
        if law == text:
            return law
    raise UnknownName("law", text, LAWS)


def _shares(option: str, given: list[str] | None) -> dict[str, float]:
    found = {}
    for entry in given or ():
        name, equals, value = entry.partition("=")
        if not equals:
            raise InputError(f"{option} {entry!r} has no value", remedy=f"write e.g. {option} {EXAMPLE[option]}")
        found[name.strip()] = units.parse(value, "1")
    return found


@contextmanager
def _opened(against: str, kind: str, reference: str) -> Iterator[PulseBench]:
    """The reference of that name; its simulator, if any, is closed at the end."""
    from cosim.parameters import ParameterSet
    from cosim.surrogate.references import Integration, SpiceBench

    device = ParameterSet.load(reference) if reference else None
    if against == "integration":
        yield Integration(device=None if device is None else device.for_device(kind))
        return
    if against != "ngspice":
        from cosim.errors import UnknownName

        raise UnknownName("reference", against, ("ngspice", "integration"))
    from cosim.spice.engines import open_simulator

    simulator = open_simulator()
    try:
        yield SpiceBench(kind, simulator, device=device)
    finally:
        simulator.close()
