"""``cosim surrogate train``: of a parameter set, or of a bench's map, neuron or filter."""

from __future__ import annotations

import math
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated

import typer

from cosim import units
from cosim.cli.paths import refuse, require_file
from cosim.cli.surrogate_common import (
    AGAINST,
    LIMIT,
    PULSES,
    REFERENCE,
    USUAL_PULSES,
    Drawing,
    map_of_law,
    opened,
    shares_of,
    shown,
    verdict,
)
from cosim.cli.surrogate_trains import NEURON, asked_for, kind_of, train_on_trains
from cosim.errors import InputError

if TYPE_CHECKING:
    from cosim.devices.maps import EventMap
    from cosim.devices.pulse import PulseShape
    from cosim.parameters import ParameterSet
    from cosim.surrogate.base import Certificate
    from cosim.surrogate.certify import HeldOutEvents
    from cosim.surrogate.model import Surrogate

LONGEST = 1000.0  # times the device's own pulse: a longer one is a unit that was forgotten (our choice)
MAP = (
    "Event map of the device, e.g. spike or rest; of BENCH: its map, neuron or filter. Default: the usual or first one."
)
LEARN = (
    "Collect up to so many samples in --against to correct with: a Latin hypercube, then where the error is largest, "
    "until the limits are kept."
)
USUAL_BUDGET, USUAL_MOST = "5 min", 1024
BUDGET = (
    "How long --against may work on samples and certificate, e.g. '5 min'; samples are collected until then. Of BENCH: "
    f"how long it is sampled, {USUAL_BUDGET} by default, without what its certificate takes; that "
    "of a neuron or a filter states the sum."
)
KEEP = (
    "Add the samples that were collected to this file (.npz), for --samples. Of BENCH: keep them as they come, and the "
    "trains of a neuron or a filter in a folder; training that was stopped goes on with them."
)
LAW = (
    "rate or published: short for --map pulse and --map published. Of BENCH: physics, a kind that is learned (e.g. "
    "spline), or both (e.g. physics+spline); default: the one that follows it best."
)
ROLLOUTS = (
    "Free runs of 1000 events more, which calibrate the prediction intervals after 10, 100 and 1000 events; of a "
    "neuron those after 1000."
)
MOST_SAMPLES = (
    "Of BENCH: learn from so many events at most; default: 1024, of a neuron 3000 (in trains of a hundred inputs)."
)
ASSUME = (
    "A threshold that is not from the data of the parameter set and that you answer for, e.g. theta_p; repeatable. "
    "Any other makes the certificate fail."
)
BENCH = (
    "A bench (a shipped one's name, or FILE.toml) that names inputs, states and outputs in [maps.NAME]: its law is the "
    "physics of the device that the map names, or learned, whichever follows it best; or one with a neuron "
    "or a filter, [neurons.NAME] or [filters.NAME]. Or the name of a parameter set, as --parameters takes it, too."
)


def train(
    context: typer.Context,
    output: Annotated[Path, typer.Option("-o", "--output", help="File to write (.npz).")],
    bench: Annotated[str, typer.Argument(metavar="[BENCH|SET]", help=BENCH, show_default=False)] = "",
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
    most: Annotated[int | None, typer.Option("--most-samples", help=MOST_SAMPLES, show_default=False)] = None,
    budget: Annotated[str, typer.Option(help=BUDGET, show_default=False)] = "",
    keep: Annotated[Path | None, typer.Option(help=KEEP)] = None,
    rollouts: Annotated[int, typer.Option(help=ROLLOUTS)] = 0,
    law: Annotated[str, typer.Option(help=LAW, show_default=False)] = "",
    against: Annotated[str, typer.Option(help=AGAINST)] = "ngspice",
    pulses: Annotated[int | None, typer.Option(help=PULSES, show_default=False)] = None,
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
    assume: Annotated[list[str] | None, typer.Option(help=ASSUME)] = None,
    reference: Annotated[str, typer.Option(help=REFERENCE, show_default=False)] = "",
    figure: Drawing = None,
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
    from cosim.surrogate.measured import beyond_measured
    from cosim.surrogate.model import Surrogate
    from cosim.surrogate.subjects import find_map
    from cosim.surrogate.train import load_samples, save_samples
    from cosim.surrogate.train import train as certified

    require_file(output, ".npz", example="cell.npz")
    if bench and _is_set(bench):
        refuse(context, {"parameters": "--parameters"}, f"with the parameter set {bench}")
        bench, parameters = "", bench
    if bench:
        refuse(context, OF_SETS, f"with the bench {bench}")
        _of_bench(
            bench, output, event=event, most=most, budget=_budget(budget or USUAL_BUDGET), pulses=pulses,
            rollouts=rollouts, seed=seed, limits=shares_of("--limit", limit), figure=figure, law=law, keep=keep,
        )  # fmt: skip
        return
    refuse(context, OF_BENCHES, "without a bench")
    pulses = USUAL_PULSES if pulses is None else pulses
    pairs = ((law, "--law"), (event, "--map")), ((samples, "--samples"), (learn, "--learn"))
    for one, other in (*pairs, ((samples, "--samples"), (budget, "--budget"))):
        if one[0] and other[0]:
            raise InputError(f"{one[1]} and {other[1]} exclude each other", remedy="take one of them")
    chosen = load_set(parameters, device=device)
    name = map_of_law(law) if law else event
    draft = Surrogate(chosen, name, shape=_shape(find_map(chosen, name), chosen, width, edge))
    ranges = {} if span == ("", "") else {"amplitude": _span(*span)}
    if ranges and "amplitude" not in draft.map.inputs:
        raise InputError(
            f"--span is of the amplitude of pulses, and the map {draft.map.name} of {draft.device} has "
            f"{', '.join(draft.map.inputs)}",
            remedy="leave it out",
        )
    shares, limits = shares_of("--spread", spread), shares_of("--limit", limit)
    allowed = read_limits(limits, states=draft.map.states, outputs=draft.map.outputs)
    seconds = _budget(budget)
    if keep is not None:
        require_file(keep, ".npz", example="samples.npz")
        if not (learn or budget):
            raise InputError("--keep without --learn or --budget keeps nothing", remedy="give one of them")
    notes: tuple[str, ...] = ()
    given = None if samples is None else load_samples(samples, draft.map)
    with opened(draft.map, against, reference) as answering:
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
                rollouts=rollouts, assume=assume or (), notes=notes, tell=tell,
            )  # fmt: skip
    certificate = _written(surrogate, held, output, figure)
    if further := beyond_measured(certificate.domain, chosen.provenance):
        advise([further])
    if certificate.broken:
        why, advice = "misses its limits", "take more samples to correct it by"
        if certificate.unverified:
            why = "rests on thresholds that were not measured"
            advice = "measure pulses of several amplitudes about them, or answer for them with " + " ".join(
                f"--assume {name}" for name in certificate.unverified
            )
        elif not (samples or learn or budget):
            advice = "correct it by samples, e.g. --learn 600"
        print(f"cosim: {output} {why}, and networks refuse it without --uncertified; {advice}", file=sys.stderr)
        raise typer.Exit(1)


def _written(surrogate: Surrogate, held: HeldOutEvents, output: Path, figure: Path | None) -> Certificate:
    """Write a surrogate, and print its certificate and verdict."""
    from cosim.surrogate.files import save

    save(surrogate, output, held=held)
    shown(surrogate, held, figure)
    assert surrogate.certificate is not None
    if refused := _refused_by_exports(surrogate):
        print(f"exports     {refused}")
    print(f"written     {output}")
    verdict(surrogate)
    return surrogate.certificate


def _refused_by_exports(surrogate: Surrogate) -> str:
    """Which targets will not take its learned law, and why; "" where all that hold expressions do."""
    from cosim.export.laws import NAMED, instead
    from cosim.surrogate.learned import Laws

    law = surrogate.learned
    parts = () if law is None else law.parts if isinstance(law, Laws) else (law,)
    kinds = dict.fromkeys(part.kind for part in parts if part.kind in NAMED)
    why = " and ".join(f"{kind} ({NAMED[kind]})" for kind in kinds)
    other = f"; {instead(next(iter(kinds)))}" if why else ""
    return f"SPICE, Verilog-A, Brian2 and PyTorch do not take a law of {why}{other}" if why else ""


# Options of `train` that only one of its subjects has, by the name of their variable.
OF_SETS: Mapping[str, str] = MappingProxyType(
    {"parameters": "--parameters", "device": "--device", "samples": "--samples", "learn": "--learn",
     "against": "--against", "assume": "--assume", "width": "--width", "edge": "--edge", "span": "--span",
     "spread": "--spread", "reference": "--reference"}
)  # fmt: skip
OF_BENCHES: Mapping[str, str] = MappingProxyType({"most": "--most-samples"})


def _is_set(reference: str) -> bool:
    """Whether what is to be trained is a set by name. Raises `UnknownName`, and `InputError` for a device's name."""
    from cosim import resources
    from cosim.devices.registry import devices
    from cosim.errors import UnknownName
    from cosim.parameters import ParameterSet

    benches = [path.stem for path in resources.listing("netlists", ".toml")]
    if Path(reference).suffix == ".toml" or reference in benches:
        return False
    if reference in devices():
        raise InputError(
            f"{reference} is a device, and a surrogate is of one with a parameter set",
            remedy=f"write e.g. cosim surrogate train tio2 --device {reference}; 'cosim devices' lists the sets",
        )
    try:
        ParameterSet.load(reference)
    except UnknownName as error:
        raise UnknownName("bench or parameter set", reference, [*benches, *error.known]) from None
    return True


def _of_bench(
    bench: str,
    output: Path,
    *,
    event: str,
    most: int | None,
    budget: float,
    pulses: int | None,
    rollouts: int,
    seed: int,
    limits: dict[str, float],
    figure: Path | None,
    law: str,
    keep: Path | None,
) -> None:
    """`train` of a bench: sampled, learned, certified on further events."""
    from cosim.bench.testbench import Testbench
    from cosim.cli.output import counting
    from cosim.engines.registry import open_simulator
    from cosim.surrogate.certify import certify
    from cosim.surrogate.learn import learn

    whole = Testbench.load(bench)
    kind = asked_for(whole, event)
    refused = ((law and kind, "--law"), (rollouts and kind != NEURON, "--rollouts"))
    for given, option in refused:
        if given:
            raise InputError(f"{option} has no meaning with a {kind or 'map'}", remedy=f"leave out {option}")
    if rollouts < 0:
        raise InputError(f"a certificate cannot have {rollouts} free runs more", remedy="give 0 or more")
    if kind:
        train_on_trains(
            kind_of(kind), whole, output, event=event, most=most, budget=budget, pulses=pulses, rollouts=rollouts,
            seed=seed, limits=limits, figure=figure, keep=keep,
        )  # fmt: skip
        return
    most, pulses = USUAL_MOST if most is None else most, USUAL_PULSES if pulses is None else pulses
    with open_simulator(workers=os.cpu_count() or 1) as simulator:
        with counting(f"sampling {whole.name}", most, "events") as tell:
            found = learn(
                whole, simulator, event=event, seed=seed, samples=most, budget=budget, law=law, limits=limits,
                kept=keep, tell=tell,
            )  # fmt: skip
        with counting(f"certifying against {whole.name}", pulses, "events") as tell:
            surrogate, held = certify(
                found.surrogate, found.reference, seed=seed, pulses=pulses, limits=limits, notes=found.notes, tell=tell
            )
    if _written(surrogate, held, output, figure).broken:
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
        raise InputError(f"--budget {text} leaves no time to work", remedy="give one above zero, e.g. '5 min'")
    return seconds


def _span(first: str, second: str) -> tuple[float, float]:
    low, high = units.parse(first, "V"), units.parse(second, "V")
    if not low < high:
        raise InputError(f"--span {first} {second} is empty", remedy="write the lower end first")
    return low, high
