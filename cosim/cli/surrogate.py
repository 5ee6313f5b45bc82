"""``cosim surrogate train``, ``check`` and ``show``; ``export`` is in `cosim.cli.surrogate_export`."""

from __future__ import annotations

import json
import math
import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated

import typer

from cosim import units
from cosim.cli import surrogate_export as export
from cosim.cli.paths import figure_file, require_file
from cosim.errors import InputError

if TYPE_CHECKING:
    from cosim.bench.testbench import Testbench
    from cosim.devices.maps import EventMap
    from cosim.devices.pulse import PulseShape
    from cosim.parameters import ParameterSet
    from cosim.surrogate.base import Certificate
    from cosim.surrogate.certify import HeldOutEvents
    from cosim.surrogate.model import Surrogate
    from cosim.surrogate.references import Reference

LONGEST = 1000.0  # times the device's own pulse: a longer one is a unit that was forgotten (our choice)
SPIKES = 100  # of a train through a neuron
EXAMPLE = {"--spread": "theta_p=20%", "--limit": "state=1%"}
LIMIT = (
    "Largest error per pulse, a share of full scale; the defaults are state=1%, conductance=1%, energy=7%, and of the "
    "states in a free run 'free run=5%'; may be repeated. Single states and other outputs go by their names."
)
MAP = "Event map of the device, e.g. spike or rest; of BENCH: its map or neuron. Default: the usual or first one."
LEARN = (
    "Collect up to so many samples in --against to correct with: a Latin hypercube, then where the error is largest, "
    "until the limits are kept."
)
USUAL_BUDGET = "5 min"
BUDGET = (
    "How long --against may work on samples and certificate, e.g. '5 min'; samples are collected until then. Of BENCH: "
    f"how long it is sampled, {USUAL_BUDGET} by default."
)
ROLLOUTS = "Free runs of 1000 events more, which calibrate the prediction intervals after 10, 100 and 1000 events."
REFERENCE = (
    "Parameter set of the device that answers, e.g. the one that was measured; default: the surrogate's own set, whose "
    "extraction is then not tested."
)
AGAINST = (
    "ngspice; integration: the device's own equations by scipy, which need no simulator; or a bench (a shipped one's "
    "name, or FILE.toml) that declares a map with the fields of the device's."
)


def register(app: typer.Typer) -> None:
    """Add the verb to the command."""
    group = typer.Typer(
        name="surrogate", no_args_is_help=True, help="Train a fast model of a cell, check, show or export one."
    )
    group.command("train")(train)
    group.command("check")(check)
    group.command("show")(show)
    export.register(group)
    app.add_typer(group)


BENCH = (
    "A bench (a shipped one's name, or FILE.toml) that names inputs, states and outputs in [maps.NAME]: its law is the "
    "physics of the device that the map names, or learned, whichever follows it best; or one with a neuron, "
    "[neurons.NAME]. Default: --parameters."
)


def train(
    context: typer.Context,
    output: Annotated[Path, typer.Option("-o", "--output", help="File to write (.npz).")],
    bench: Annotated[str, typer.Argument(metavar="[BENCH]", help=BENCH, show_default=False)] = "",
    parameters: Annotated[
        str, typer.Option("--parameters", help="Parameter set: a shipped one's name, FILE.toml or FILE.toml:NAME.")
    ] = "tio2",
    device: Annotated[
        str,
        typer.Option(help="Device that the set is for, e.g. cell_1t1r; default: the set's own.", show_default=False),
    ] = "",
    event: Annotated[str, typer.Option("--map", help=MAP, show_default=False)] = "",
    samples: Annotated[
        Path | None,
        typer.Option(help="SPICE samples (.npz: e.g. w_before, amplitude, w_after, energy) to correct with."),
    ] = None,
    learn: Annotated[int, typer.Option(help=LEARN)] = 0,
    most: Annotated[int, typer.Option("--most-samples", help="Of BENCH: learn from so many events at most.")] = 1024,
    budget: Annotated[str, typer.Option(help=BUDGET, show_default=False)] = "",
    keep: Annotated[
        Path | None, typer.Option(help="Add the samples that were collected to this file (.npz), for --samples.")
    ] = None,
    rollouts: Annotated[int, typer.Option(help=ROLLOUTS)] = 0,
    law: Annotated[
        str, typer.Option(help="rate or published: short for --map pulse and --map published.", show_default=False)
    ] = "",
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
    figure: Annotated[
        Path | None, typer.Option(callback=figure_file, help="Write the comparison as a figure (.png, .svg, .pdf).")
    ] = None,
) -> None:
    """Make a surrogate of a bench or from a parameter set, and certify it on events held out from its making.

    Exit code 1: it misses a limit. It is written all the same, with its certificate; a network refuses it.
    """
    from cosim.cli.output import advise, counting
    from cosim.cli.sets import load_set
    from cosim.surrogate.active import MOST, Budget
    from cosim.surrogate.active import learn_actively as learned
    from cosim.surrogate.base import read_limits
    from cosim.surrogate.bench_reference import BenchReference
    from cosim.surrogate.conformal import LENGTHS
    from cosim.surrogate.files import save
    from cosim.surrogate.measured import beyond_measured
    from cosim.surrogate.model import Surrogate, find_map
    from cosim.surrogate.train import load_samples, save_samples
    from cosim.surrogate.train import train as certified

    require_file(output, ".npz", example="cell.npz")
    if bench:
        _refuse(context, OF_SETS, f"with the bench {bench}")
        _of_bench(
            bench, output, event=event, most=most, budget=_budget(budget or USUAL_BUDGET), pulses=pulses, seed=seed,
            limits=_shares("--limit", limit), figure=figure,
        )  # fmt: skip
        return
    _refuse(context, OF_BENCHES, "without a bench")
    pairs = ((law, "--law"), (event, "--map")), ((samples, "--samples"), (learn, "--learn"))
    for one, other in (*pairs, ((samples, "--samples"), (budget, "--budget"))):
        if one[0] and other[0]:
            raise InputError(f"{one[1]} and {other[1]} exclude each other", remedy="take one of them")
    chosen = load_set(parameters, device=device)
    name = map_of_law(law) if law else event
    draft = Surrogate(chosen, name, shape=_shape(find_map(chosen, name), chosen, width, edge))
    ranges = {} if span == ("", "") else {"amplitude": _span(*span)}
    shares, limits = _shares("--spread", spread), _shares("--limit", limit)
    allowed = read_limits(limits, states=draft.map.states, outputs=draft.map.outputs)
    seconds = _budget(budget)
    if keep is not None:
        require_file(keep, ".npz", example="samples.npz")
        if not (learn or budget):
            raise InputError("--keep without --learn or --budget keeps nothing", remedy="give one of them")
    notes: tuple[str, ...] = ()
    given = None if samples is None else load_samples(samples, draft.map)
    with _opened(draft.map, against, reference) as answering:
        if isinstance(answering, BenchReference):
            ranges = {**answering.ranges(draft.map), **ranges}
        if learn or budget:
            spend = Budget(learn or MOST, seconds, reserve=pulses + LENGTHS[-1] * rollouts)
            with counting(f"collecting samples in {against}", spend.events, "pulses") as tell:
                draft, collected, sentence = learned(
                    draft, answering, allowed=allowed, budget=spend, seed=seed, ranges=ranges, tell=tell
                )
            notes = (sentence,)
            if keep is not None:
                save_samples(keep, collected, draft.map)
        with counting(f"certifying against {against}", pulses + LENGTHS[-1] * rollouts, "pulses") as tell:
            surrogate, held = certified(
                draft, answering, samples=given, seed=seed, pulses=pulses, ranges=ranges, spread=shares, limits=limits,
                rollouts=rollouts, notes=notes, tell=tell,
            )  # fmt: skip
    save(surrogate, output, held=held)
    _show(surrogate, held, figure)
    assert surrogate.certificate is not None
    for sentence in surrogate.uncovered():
        print(f"covered     {sentence}: give more --pulses")
    if further := beyond_measured(surrogate.certificate.domain, chosen.provenance):
        advise([further])
    print(f"written     {output}")
    _verdict(surrogate.certificate)
    if surrogate.certificate.broken:
        print(
            f"cosim: {output} misses its limits, and networks refuse it without --uncertified; "
            + (
                "correct it by samples, e.g. --learn 600"
                if not (samples or learn or budget)
                else "take more samples to correct it by"
            ),
            file=sys.stderr,
        )
        raise typer.Exit(1)


def _neuron(
    whole: Testbench,
    output: Path,
    *,
    event: str,
    most: int,
    budget: float,
    pulses: int,
    seed: int,
    limits: dict[str, float],
) -> None:
    """`train` of a bench's neuron, on trains of `SPIKES` input spikes; at least two of them, and one held out."""
    from cosim.cli.output import counting
    from cosim.engines.registry import open_simulator
    from cosim.surrogate.files import save
    from cosim.surrogate.neuron_bench import NeuronBench, train_neuron

    neuron = NeuronBench.load(whole, event)
    trains, held = max(round(most / SPIKES), 2), max(round(pulses / SPIKES), 3)
    with (
        open_simulator() as simulator,
        counting(f"trains through {whole.name}", trains + held, "trains") as tell,
    ):
        made = train_neuron(
            neuron, simulator, trains=trains, count=SPIKES, budget=budget, held_out=held, seed=seed, limits=limits,
            tell=tell,
        )  # fmt: skip
    certificate = made.surrogate.certificate
    assert certificate is not None
    save(made.surrogate, output)
    for line in certificate.lines():
        print(line)
    print(f"written     {output}")
    _verdict(certificate)
    if certificate.broken:
        print(
            f"cosim: {output} misses its limits, and networks refuse it without --uncertified; give more "
            "--most-samples and --budget, or narrower intervals in the bench's neuron",
            file=sys.stderr,
        )
        raise typer.Exit(1)


# Options of `train` that only one of its subjects has, by the name of their variable.
OF_SETS: Mapping[str, str] = MappingProxyType(
    {"parameters": "--parameters", "device": "--device", "samples": "--samples", "learn": "--learn", "law": "--law",
     "against": "--against", "keep": "--keep", "rollouts": "--rollouts",
     "width": "--width", "edge": "--edge", "span": "--span", "spread": "--spread",
     "reference": "--reference"}
)  # fmt: skip
OF_BENCHES: Mapping[str, str] = MappingProxyType({"most": "--most-samples"})


def _refuse(context: typer.Context, options: Mapping[str, str], where: str) -> None:
    """Raises `InputError` for an option that has no meaning here."""
    for name, option in options.items():
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            raise InputError(f"{option} has no meaning {where}", remedy=f"leave out {option}, or see --help")


def _of_bench(
    bench: str,
    output: Path,
    *,
    event: str,
    most: int,
    budget: float,
    pulses: int,
    seed: int,
    limits: dict[str, float],
    figure: Path | None,
) -> None:
    """`train` of a bench: sampled, learned, certified on further events."""
    from cosim.bench.testbench import Testbench
    from cosim.cli.output import counting
    from cosim.engines.registry import open_simulator
    from cosim.surrogate.certify import certify
    from cosim.surrogate.files import save
    from cosim.surrogate.learn import learn

    whole = Testbench.load(bench)
    if event in whole.file.neurons or (whole.file.neurons and not whole.file.maps):
        _neuron(whole, output, event=event, most=most, budget=budget, pulses=pulses, seed=seed, limits=limits)
        return
    with open_simulator(workers=os.cpu_count() or 1) as simulator:
        with counting(f"sampling {whole.name}", most, "events") as tell:
            found = learn(
                whole, simulator, event=event, seed=seed, samples=most, budget=budget, limits=limits, tell=tell
            )
        with counting(f"certifying against {whole.name}", pulses, "events") as tell:
            surrogate, held = certify(
                found.surrogate, found.reference, seed=seed, pulses=pulses, limits=limits, notes=found.notes, tell=tell
            )
    save(surrogate, output)
    _show(surrogate, held, figure)
    assert surrogate.certificate is not None
    for sentence in surrogate.uncovered():
        print(f"covered     {sentence}: give more --pulses")
    print(f"written     {output}")
    _verdict(surrogate.certificate)
    if surrogate.certificate.broken:
        spent = next((note for note in found.notes if " spent before " in note), "")
        print(
            f"cosim: {output} misses its limits, and networks refuse it without --uncertified"
            + (f"; {spent}" if spent else "")
            + "; give more --most-samples and --budget, or narrower ranges in the map",
            file=sys.stderr,
        )
        raise typer.Exit(1)


def _shape(event_map: EventMap, chosen: ParameterSet, width: str, edge: str) -> PulseShape | None:
    """The pulse, where one was given; what is not given follows from the device."""
    from cosim.devices.maps import EDGES
    from cosim.devices.pulse import PulseShape

    if not width and not edge:
        return None
    own = event_map.device.pulse_width(chosen.resolved())
    length = units.parse(width, "s") if width else own
    if length > LONGEST * own:
        raise InputError(
            f"--width {width} is {units.show(length, 's')}, more than {LONGEST:g} times the {units.show(own, 's')} of "
            f"a pulse of {chosen.device}",
            remedy=f"write its unit, e.g. --width '{_meant(width, own)}'",
        )
    # a closed pulse keeps the edges that its thresholds were extracted with
    rise = units.parse(edge, "s") if edge else EDGES * (length if event_map.pulse is None else own)
    return PulseShape(length, rise, rise)


def _meant(width: str, own: float) -> str:
    """The number of ``width`` with the unit in which it is nearest to ``own`` (s), on a logarithmic scale."""
    number = re.match(r"[^a-zA-Zµμ\s]+(?:[eE][+-]?\d+)?", width.strip())
    written = number[0] if number is not None else width
    unit = min(
        ("fs", "ps", "ns", "us", "ms", "s"),
        key=lambda unit: abs(math.log(units.parse(written, "1") * units.scale_of(unit) / own)),
    )
    return f"{written} {unit}"


def _budget(text: str) -> float:
    """Seconds; inf where nothing was given."""
    seconds = units.parse(text, "s") if text else math.inf
    if not seconds > 0.0:
        raise InputError(f"--budget {text} is no time to work in", remedy="give one above zero, e.g. '5 min'")
    return seconds


def _span(first: str, second: str) -> tuple[float, float]:
    low, high = units.parse(first, "V"), units.parse(second, "V")
    if not low < high:
        raise InputError(f"--span {first} {second} is empty", remedy="write the lower end first")
    return low, high


def check(
    file: Annotated[Path, typer.Argument(help="A surrogate (.npz).")],
    against: Annotated[str, typer.Option(help=AGAINST)] = "ngspice",
    pulses: Annotated[int, typer.Option(help="Held-out pulses.")] = 500,
    seed: Annotated[int, typer.Option(help="Of the pulses; the certificate's own is stepped over.")] = 1,
    limit: Annotated[list[str] | None, typer.Option(help=LIMIT)] = None,
    reference: Annotated[str, typer.Option(help=REFERENCE, show_default=False)] = "",
    figure: Annotated[
        Path | None, typer.Option(callback=figure_file, help="Write the comparison as a figure (.png, .svg, .pdf).")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One line of JSON instead of text.")] = False,
) -> None:
    """Print a surrogate's certificate, and hold it against the circuit again on new pulses. Exit code 1: it fails."""
    from cosim.cli.output import counting
    from cosim.surrogate.base import STATE
    from cosim.surrogate.certify import certify, updates_per_second
    from cosim.surrogate.files import load
    from cosim.surrogate.recheck import broken_intervals, fresh_events

    stored = load(file)
    if stored.instances:
        stored = stored.with_(instances={})
    old = stored.certificate
    given = _shares("--limit", limit)
    kept = (
        {} if old is None else {n: x for n, x in old.limits.items() if STATE not in given or n not in stored.map.states}
    )
    allowed = {**kept, **given}
    ranges = {} if old is None else old.domain.inputs
    with (
        counting(f"checking against {against}", pulses, "pulses") as tell,
        _opened_again(stored, against, reference) as bench,
    ):
        more = fresh_events(stored, seed=seed, independent=bench.independent)
        fresh, held = certify(
            stored, bench, seed=more.seed, pulses=pulses, ranges=ranges, spread=more.spread, rollouts=more.rollouts,
            limits=allowed, tell=tell,
        )  # fmt: skip
    assert fresh.certificate is not None
    speed = updates_per_second(stored)
    missed = () if old is None else broken_intervals(old.bands, held.after)
    passed = not (fresh.certificate.broken or missed)
    if as_json:
        facts = {
            "passed": passed,
            "missed_intervals": missed,
            "certificate": None if old is None else old.to_dict(),
            "check": fresh.certificate.to_dict(),
            "coverage": {} if old is None else {b.events: b.covered(held.after.get(b.events, {})) for b in old.bands},
            "updates_per_second": speed,
            "reference_updates_per_second": None if held.seconds_per_pulse is None else 1.0 / held.seconds_per_pulse,
        }
        print(json.dumps(facts))
        if figure is not None:
            _draw(fresh, held, figure)
    else:
        print("certificate" if old is not None else "this surrogate has no certificate")
        for line in [] if old is None else old.lines():
            print("  " + line)
        print("now")
        _show(fresh, held, figure, indent="  ")
        for line in [] if old is None else _coverage(old, held):
            print("  " + line)
        _verdict(fresh.certificate, indent="  ", missed=missed)
    if more.said:
        print(f"cosim: {more.said}", file=sys.stderr)
    if not passed:
        raise typer.Exit(1)


def _coverage(certificate: Certificate, held: HeldOutEvents) -> Iterator[str]:
    """How much of the new events lies within the certificate's intervals."""
    for band in certificate.bands:
        fresh = held.after.get(band.events)
        if fresh is None:
            continue
        shares = ", ".join(f"{name} {share:.1%}" for name, share in band.covered(fresh).items())
        after = "1 event" if band.events == 1 else f"{band.events} events"
        yield f"coverage    of the certificate's 95 % intervals after {after}: {shares or 'none that has 95 %'}"


def show(
    file: Annotated[Path, typer.Argument(help="A surrogate (.npz).")],
    figure: Annotated[
        Path | None, typer.Option(callback=figure_file, help="Write the comparison as a figure (.png, .svg, .pdf).")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One line of JSON instead of text.")] = False,
) -> None:
    """Print a surrogate's certificate, without running anything again. Exit code 1: it misses its limits."""
    from cosim.surrogate.files import load, load_held

    stored = load(file)
    certificate = stored.certificate
    if certificate is None:
        raise InputError(
            f"the surrogate in {file} has no certificate to show", remedy="make it with 'cosim surrogate train'"
        )
    held = None if figure is None else load_held(file)
    if figure is not None and held is None:
        raise InputError(
            f"{file} keeps no held-out events to draw", remedy="draw new ones: 'cosim surrogate check' with --figure"
        )
    if as_json:
        print(json.dumps(certificate.to_dict()))
    else:
        print("\n".join(certificate.lines()))
        for sentence in stored.uncovered():
            print(f"covered     {sentence}")
    if figure is not None and held is not None:
        _draw(stored, held, figure)
        if not as_json:
            print(f"figure      {figure}")
    if not as_json:
        _verdict(certificate)
    if certificate.broken:
        raise typer.Exit(1)


def _verdict(certificate: Certificate, *, indent: str = "", missed: tuple[str, ...] = ()) -> None:
    broken = (*certificate.broken, *missed)
    print(indent + ("fails: " + "; ".join(broken) if broken else "passes"))


def _show(surrogate: Surrogate, held: HeldOutEvents, figure: Path | None, *, indent: str = "") -> None:
    from cosim.surrogate.certify import updates_per_second

    assert surrogate.certificate is not None
    for line in surrogate.certificate.lines():
        print(indent + line)
    ours, theirs = updates_per_second(surrogate), held.seconds_per_pulse
    print(f"{indent}speed       {ours:.3g} cell updates/s here, " + speed_of_reference(ours, theirs))
    if figure is not None:
        _draw(surrogate, held, figure)
        print(f"{indent}figure      {figure}")


def _draw(surrogate: Surrogate, held: HeldOutEvents, figure: Path) -> None:
    from cosim.report.style import save
    from cosim.report.surrogate_figures import overview

    assert surrogate.certificate is not None
    save(overview(held, title=f"Surrogate against {surrogate.certificate.against}"), figure)


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


def _shares(option: str, given: list[str] | None) -> dict[str, float]:
    found = {}
    for entry in given or ():
        name, equals, value = entry.partition("=")
        if not equals:
            raise InputError(f"{option} {entry!r} has no value", remedy=f"write e.g. {option} {EXAMPLE[option]}")
        found[name.strip()] = units.parse(value, "1")
    return found


@contextmanager
def _opened_again(stored: Surrogate, against: str, reference: str) -> Iterator[Reference]:
    """What a surrogate from a file is held against: that of a circuit against its bench, unless another is named."""
    from cosim.bench.events import BenchMap
    from cosim.engines.registry import open_simulator
    from cosim.surrogate.circuit import CircuitReference, CircuitSet
    from cosim.surrogate.learned import Law

    chosen = stored.parameters
    if stored.learned is not None and not isinstance(stored.learned, Law):
        raise InputError(
            f"a neuron's events cannot start anywhere, as a check's do: {chosen.name} is held against whole trains",
            remedy=f"train it again with another --seed: cosim surrogate train {chosen.name} --seed 1",
        )
    if not isinstance(chosen, CircuitSet):
        with _opened(stored.map, against, reference) as found:
            yield found
        return
    if against == "integration" or reference:
        raise InputError(
            f"the circuit {chosen.name} has no equations and no parameter set",
            remedy="leave out --reference, and give --against a bench, or nothing",
        )
    path = chosen.bench if against == "ngspice" else against
    if path.endswith(".toml") and not Path(path).exists():
        raise InputError(f"the bench {path} is not there any more", remedy="give it as --against FILE.toml")
    with open_simulator() as simulator:
        yield CircuitReference(BenchMap.load(path, chosen.event), simulator)


@contextmanager
def _opened(event_map: EventMap, against: str, reference: str) -> Iterator[Reference]:
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
