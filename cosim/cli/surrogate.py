"""``cosim surrogate train`` and ``cosim surrogate check``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cosim import units
from cosim.errors import InputError

if TYPE_CHECKING:
    from cosim.surrogate.base import Range
    from cosim.surrogate.check import HeldOut
    from cosim.surrogate.pulse import Law, PulseSurrogate
    from cosim.surrogate.references import PulseBench

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
        list[str] | None, typer.Option(help="Certify a range of a parameter, e.g. theta_p=20%; may be repeated.")
    ] = None,
    figure: Annotated[Path | None, typer.Option(help="Write the comparison as a figure (.png, .svg, .pdf).")] = None,
) -> None:
    """Make a surrogate from a parameter set, and certify it on pulses held out from its making."""
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
    spreads = _spreads(spread or [])
    with _opened(against, chosen.device) as bench:
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
                tell=tell,
            )
    save(surrogate, output)
    _show(surrogate, held, figure)
    print(f"written     {output}")


def check(
    file: Annotated[Path, typer.Argument(help="A surrogate (.npz).")],
    against: Annotated[str, typer.Option(help=AGAINST)] = "ngspice",
    pulses: Annotated[int, typer.Option(help="Held-out pulses.")] = 500,
    seed: Annotated[int, typer.Option(help="Of the pulses; another one than the certificate's tells more.")] = 1,
    limit: Annotated[str, typer.Option(help="Largest error of the state per pulse that passes.")] = "1 %",
    figure: Annotated[Path | None, typer.Option(help="Write the comparison as a figure (.png, .svg, .pdf).")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One line of JSON instead of text.")] = False,
) -> None:
    """Print a surrogate's certificate, and hold it against the circuit again on new pulses. Exit code 1: it fails."""
    from cosim.cli.output import counting
    from cosim.surrogate.check import certify, updates_per_second
    from cosim.surrogate.files import load
    from cosim.surrogate.pulse import PulseSurrogate

    allowed = units.parse(limit, "1")
    stored = load(file)
    if not isinstance(stored, PulseSurrogate):
        raise InputError(f"{file} holds a surrogate of kind {stored.kind!r}, this check is for pulses")
    if stored.instances:
        stored = stored.with_(instances={})
    old = stored.certificate
    span: Range | None = None if old is None else old.domain.inputs["amplitude"]
    with _opened(against, stored.device) as bench, counting(f"checking against {against}", pulses, "pulses") as tell:
        fresh, held = certify(stored, bench, seed=seed, pulses=pulses, span=span, tell=tell)
    assert fresh.certificate is not None
    worst = fresh.certificate.errors["state"].max
    speed = updates_per_second(stored)
    passed = worst <= allowed
    if as_json:
        facts = {
            "passed": passed,
            "certificate": None if old is None else old.to_dict(),
            "check": fresh.certificate.to_dict(),
            "updates_per_second": speed,
            "reference_updates_per_second": pulses / held.seconds,
        }
        print(json.dumps(facts))
    else:
        print("certificate" if old is not None else "this surrogate has no certificate")
        for line in [] if old is None else old.lines():
            print("  " + line)
        print("now")
        _show(fresh, held, figure, indent="  ")
        verdict = "passes" if passed else "fails"
        print(f"  {verdict}: largest error of the state {100 * worst:.3g} % of full scale, limit {100 * allowed:.3g} %")
    if not passed:
        raise typer.Exit(1)


def _show(surrogate: PulseSurrogate, held: HeldOut, figure: Path | None, *, indent: str = "") -> None:
    from cosim.surrogate.check import updates_per_second

    assert surrogate.certificate is not None
    for line in surrogate.certificate.lines():
        print(indent + line)
    ours, theirs = updates_per_second(surrogate), held.amplitude.size / held.seconds
    print(f"{indent}speed       {ours:.3g} cell updates/s here, {theirs:.3g} in the reference: {ours / theirs:.3g} x")
    if figure is not None:
        from cosim.report.style import save
        from cosim.report.surrogate_figures import overview

        save(overview(held, title=f"Surrogate against {surrogate.certificate.against}"), figure)
        print(f"{indent}figure      {figure}")


def _law(text: str) -> Law:
    from cosim.errors import UnknownName
    from cosim.surrogate.pulse import LAWS

    for law in LAWS:
        if law == text:
            return law
    raise UnknownName("law", text, LAWS)


def _spreads(given: list[str]) -> dict[str, float]:
    found = {}
    for entry in given:
        name, equals, value = entry.partition("=")
        if not equals:
            raise InputError(f"--spread {entry!r} has no value", remedy="write e.g. --spread theta_p=20%")
        found[name.strip()] = units.parse(value, "1")
    return found


@contextmanager
def _opened(against: str, device: str) -> Iterator[PulseBench]:
    """The reference of that name; its simulator, if any, is closed at the end."""
    from cosim.surrogate.references import Integration, SpiceBench

    if against == "integration":
        yield Integration()
        return
    if against != "ngspice":
        from cosim.errors import UnknownName

        raise UnknownName("reference", against, ("ngspice", "integration"))
    from cosim.spice.engines import open_simulator

    simulator = open_simulator()
    try:
        yield SpiceBench(device, simulator)
    finally:
        simulator.close()
