"""``cosim surrogate train`` and ``cosim surrogate check``."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cosim import units
from cosim.errors import InputError, UnknownName

if TYPE_CHECKING:
    from cosim.bench.testbench import Testbench
    from cosim.devices.pulse import Law, PulseShape
    from cosim.engines.simulator import Simulator
    from cosim.parameters import ParameterSet
    from cosim.surrogate.base import Range
    from cosim.surrogate.certify import HeldEvents
    from cosim.surrogate.check import HeldOut
    from cosim.surrogate.circuit import MapBench
    from cosim.surrogate.mapped import MapSurrogate
    from cosim.surrogate.pulse import PulseSurrogate
    from cosim.surrogate.references import PulseBench

EXAMPLE = {"--spread": "theta_p=20%", "--limit": "state=1%"}
LIMIT = (
    "Largest error per pulse, a share of full scale; the defaults are state=1%, conductance=1%, energy=7%, and of the "
    "state in a free run 'free run=5%'; may be repeated. For --map, states and outputs go by their names."
)
MAP = "Event map of the device, e.g. spike or rest; default: its usual one."
REFERENCE = (
    "Parameter set of the device that answers, e.g. the one that was measured; default: the surrogate's own set, whose "
    "extraction is then not tested."
)
AGAINST = (
    "ngspice; integration: the device's own equations by scipy, which need no simulator; or a bench (a shipped one's "
    "name, or FILE.toml) that declares a map with the fields of the device's."
)
ENGINES = ("ngspice", "integration")


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
        str,
        typer.Option(help="Device that the set is for, e.g. cell_1t1r; default: the set's own.", show_default=False),
    ] = "",
    event: Annotated[str, typer.Option("--map", help=MAP, show_default=False)] = "",
    samples: Annotated[
        Path | None, typer.Option(help="SPICE samples (.npz: w_before, amplitude, w_after, energy) to correct with.")
    ] = None,
    learn: Annotated[int, typer.Option(help="Collect so many pulses in --against, and correct with them.")] = 0,
    law: Annotated[str, typer.Option(help="rate or published; of pulses in closed form.", show_default="rate")] = "",
    against: Annotated[str, typer.Option(help=AGAINST)] = "ngspice",
    pulses: Annotated[int, typer.Option(help="Held-out pulses of the certificate.")] = 500,
    seed: Annotated[int, typer.Option(help="Of the pulses.")] = 0,
    width: Annotated[str, typer.Option(help="Pulse width.", show_default="the device's own")] = "",
    edge: Annotated[str, typer.Option(help="Rise and fall time of the pulse.", show_default="width / 40")] = "",
    span: Annotated[
        tuple[str, str], typer.Option(help="Amplitudes of the domain, e.g. '-2.5 V' '2.5 V'; default: the device's.")
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
    from cosim.parameters import ParameterSet
    from cosim.surrogate.files import save

    if output.suffix != ".npz":
        raise InputError(f"{output} is not a .npz file", remedy="name the output e.g. cell.npz")
    chosen = ParameterSet.load(parameters)
    if device:
        chosen = chosen.for_device(device)
    task = _Task(
        chosen, event, width=width, edge=edge, against=against, reference=reference, learn=learn, seed=seed,
        pulses=pulses, span=None if span == ("", "") else (units.parse(span[0], "V"), units.parse(span[1], "V")),
        spread=_shares("--spread", spread), limits=_shares("--limit", limit),
    )  # fmt: skip
    surrogate, held = _train_pulse(task, law, samples) if task.closed else _train_map(task, law, samples)
    save(surrogate, output)
    _show(surrogate, held, figure)
    print(f"written     {output}")
    assert surrogate.certificate is not None
    if surrogate.certificate.broken:
        print(
            f"cosim: {output} misses its limits, and networks refuse it without --uncertified; "
            + (
                "correct it by samples, e.g. --learn 600"
                if not (samples or learn)
                else "take more samples to correct it by"
            ),
            file=sys.stderr,
        )
        raise typer.Exit(1)


@dataclass(frozen=True)
class _Task:
    """What ``train`` was asked for, read."""

    chosen: ParameterSet
    event: str
    width: str
    edge: str
    against: str
    reference: str
    learn: int
    seed: int
    pulses: int
    span: Range | None
    spread: Mapping[str, float]
    limits: Mapping[str, float]

    @property
    def closed(self) -> bool:
        """Whether the event is a pulse that the device has in closed form."""
        from cosim.devices.registry import device
        from cosim.surrogate.mapped import find_map

        return device(find_map(self.chosen, self.event).device.name).pulse_cell() is not None

    @property
    def shape(self) -> PulseShape | None:
        """The pulse, where one was given; what is not given follows from the device."""
        from cosim.devices.maps import EDGES
        from cosim.devices.pulse import PulseShape
        from cosim.devices.registry import device

        if not self.width and not self.edge:
            return None
        own = device(self.chosen.device).pulse_width(self.chosen.resolved())
        width = units.parse(self.width, "s") if self.width else own
        edge = units.parse(self.edge, "s") if self.edge else EDGES * (own if self.closed else width)
        return PulseShape(width, edge, edge)


def _train_pulse(task: _Task, law: str, samples: Path | None) -> tuple[PulseSurrogate, HeldOut]:
    from cosim.cli.output import counting
    from cosim.surrogate.train import Samples, collect, from_parameters, train

    if law and task.event:
        raise InputError("--law and --map exclude each other", remedy="take --map pulse or --map published")
    which = _law({"": law or "rate", "pulse": "rate"}.get(task.event, task.event))
    given = None if samples is None else Samples.load(samples)
    draft = from_parameters(task.chosen, law=which, shape=task.shape)
    if task.learn and given is not None:
        raise InputError("--samples and --learn exclude each other", remedy="take one of them")
    with _opened(task.against, task.chosen.device, task.reference) as bench:
        if task.learn:
            with counting(f"collecting samples in {task.against}", task.learn, "pulses") as tell:
                given = collect(draft, bench, seed=task.seed, pulses=task.learn, span=task.span, tell=tell)
        with counting(f"certifying against {task.against}", task.pulses, "pulses") as tell:
            return train(
                task.chosen, bench, law=which, shape=task.shape, samples=given, seed=task.seed, pulses=task.pulses,
                span=task.span, spread=task.spread, limits=task.limits, tell=tell,
            )  # fmt: skip


def _train_map(task: _Task, law: str, samples: Path | None) -> tuple[MapSurrogate, HeldEvents]:
    from cosim.cli.output import counting
    from cosim.surrogate.bench_reference import BenchReference
    from cosim.surrogate.certify import collect_events, train_map
    from cosim.surrogate.mapped import MapSurrogate

    if law or samples:
        raise InputError(
            f"{'--law' if law else '--samples'} is for pulses in closed form, which {task.chosen.device} does not have",
            remedy="take --map" if law else "take --learn",
        )
    draft = MapSurrogate(task.chosen, task.event, shape=task.shape)
    ranges = {} if task.span is None else {"amplitude": task.span}
    with _opened_map(task.against, task.chosen.device, task.reference) as bench:
        if isinstance(bench, BenchReference):
            ranges = {**bench.ranges(draft.map), **ranges}
        given = None
        if task.learn:
            with counting(f"collecting samples in {task.against}", task.learn, "events") as tell:
                given = collect_events(draft, bench, seed=task.seed, pulses=task.learn, ranges=ranges, tell=tell)
        with counting(f"certifying against {task.against}", task.pulses, "events") as tell:
            return train_map(
                task.chosen, bench, surrogate=draft, samples=given, seed=task.seed, pulses=task.pulses, ranges=ranges,
                spread=task.spread, limits=task.limits, tell=tell,
            )  # fmt: skip


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
    from cosim.surrogate.certify import certify_map
    from cosim.surrogate.check import certify
    from cosim.surrogate.files import load
    from cosim.surrogate.mapped import MapSurrogate
    from cosim.surrogate.pulse import PulseSurrogate

    stored = load(file)
    if not isinstance(stored, PulseSurrogate | MapSurrogate):
        raise InputError(f"{file} holds a surrogate of kind {stored.kind!r}, which this check does not know")
    if stored.instances:
        stored = stored.with_(instances={})
    old = stored.certificate
    allowed = {**({} if old is None else old.limits), **_shares("--limit", limit)}
    fresh: PulseSurrogate | MapSurrogate
    held: HeldOut | HeldEvents
    with counting(f"checking against {against}", pulses, "pulses") as tell:
        if isinstance(stored, PulseSurrogate):
            span: Range | None = None if old is None else old.domain.inputs["amplitude"]
            with _opened(against, stored.device, reference) as bench:
                fresh, held = certify(stored, bench, seed=seed, pulses=pulses, span=span, limits=allowed, tell=tell)
        else:
            ranges = {} if old is None else old.domain.inputs
            with _opened_map(against, stored.device, reference) as circuit:
                fresh, held = certify_map(
                    stored, circuit, seed=seed, pulses=pulses, ranges=ranges, limits=allowed, tell=tell
                )
    assert fresh.certificate is not None
    speed = _speed(stored)
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


def _speed(surrogate: PulseSurrogate | MapSurrogate) -> float:
    """Updates of one cell per second (1/s)."""
    from cosim.surrogate.certify import events_per_second
    from cosim.surrogate.check import updates_per_second
    from cosim.surrogate.mapped import MapSurrogate

    return events_per_second(surrogate) if isinstance(surrogate, MapSurrogate) else updates_per_second(surrogate)


def _show(
    surrogate: PulseSurrogate | MapSurrogate, held: HeldOut | HeldEvents, figure: Path | None, *, indent: str = ""
) -> None:
    assert surrogate.certificate is not None
    for line in surrogate.certificate.lines():
        print(indent + line)
    ours, theirs = _speed(surrogate), held.seconds_per_pulse
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
    """The reference of pulses of that name; its simulator, if any, is closed at the end."""
    from cosim.surrogate.references import Integration, SpiceBench

    device, bench = _other(reference, kind), _bench(against)
    with _simulator(against) as simulator:
        if simulator is None:
            yield Integration(device=device)
        elif bench is None:
            yield SpiceBench(kind, simulator, device=device)
        else:
            from cosim.surrogate.bench_reference import BenchPulses, BenchReference

            yield BenchPulses(BenchReference(bench, simulator, kind, device))


@contextmanager
def _opened_map(against: str, kind: str, reference: str) -> Iterator[MapBench]:
    """The reference of a device's maps."""
    from cosim.surrogate.circuit import Circuit, Equations

    device, bench = _other(reference, kind), _bench(against)
    with _simulator(against) as simulator:
        if simulator is None:
            yield Equations(device=device)
        elif bench is None:
            yield Circuit(simulator, device=device)
        else:
            from cosim.surrogate.bench_reference import BenchReference

            yield BenchReference(bench, simulator, kind, device)


def _bench(against: str) -> Testbench | None:
    """A bench by name or path; None for what is not one."""
    from cosim import resources
    from cosim.bench.testbench import Testbench

    if against in ENGINES:
        return None
    names = [path.stem for path in resources.listing("netlists", ".toml")]
    if not against.endswith(".toml") and against not in names:
        raise UnknownName("reference", against, (*ENGINES, *names))
    return Testbench.load(against)


def _other(reference: str, kind: str) -> ParameterSet | None:
    from cosim.parameters import ParameterSet

    return ParameterSet.load(reference).for_device(kind) if reference else None


@contextmanager
def _simulator(against: str) -> Iterator[Simulator | None]:
    """ngspice, closed at the end; None for the equations by themselves."""
    if against == "integration":
        yield None
        return
    from cosim.engines.registry import open_simulator

    simulator = open_simulator()
    try:
        yield simulator
    finally:
        simulator.close()
