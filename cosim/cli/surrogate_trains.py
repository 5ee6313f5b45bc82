"""``cosim surrogate train`` and ``check`` of a bench's neuron or filter, on trains of `SPIKES` input spikes."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from cosim.cli.surrogate_common import before, certificate_lines, coverage, ended, narrower, verdict

if TYPE_CHECKING:
    from cosim.bench.testbench import Testbench
    from cosim.surrogate.base import Certificate
    from cosim.surrogate.conformal import Scores
    from cosim.surrogate.model import Surrogate

SPIKES = 100  # of a train
NEURON, FILTER = "neuron", "filter"
# Events to learn from and held out where nothing is asked for: a neuron's intervals take many trains (our choice).
MOST, PULSES = {NEURON: 3000, FILTER: 1024}, {NEURON: 4500, FILTER: 500}


@dataclass(frozen=True)
class Kind:
    """What differs between neurons and filters.

    Args:
        name: `NEURON` or `FILTER`.
        load: what is driven of a bench, by its name.
        train, certify: as `cosim.surrogate.neuron_bench` and `filter_bench` have them.
        overview: the figure of what these give, with a title.
        after: the errors of fresh answers that its intervals are held against.
    """

    name: str
    load: Callable[[Testbench, str], Any]
    train: Callable[..., Any]
    certify: Callable[..., Any]
    overview: Callable[[Any, str], Any]
    after: Callable[[Any], Mapping[int, Mapping[str, Scores]]]

    def held_out(self, pulses: int | None, *, rollouts: int = 0) -> dict[str, int]:
        """How many trains are held out, by the argument of `train` but for that of the first, ``held_out``: so many of
        about a hundred events, and of a neuron, which has half of its events there, short ones and long ones."""
        count = PULSES[self.name] if pulses is None else pulses
        if self.name == FILTER:
            from cosim.surrogate.filter_bench import HELD

            return {"held_out": trains_of(count, HELD)}
        from cosim.surrogate.neuron_runs import INPUTS

        stretches = round(0.5 * count / INPUTS[min(INPUTS)])
        return {"held_out": trains_of(0.5 * count), "stretches": stretches, "rollouts": rollouts}


def kind_of(name: str) -> Kind:
    """`NEURON` or `FILTER`."""
    from cosim.report.surrogate_figures import filter_overview, neuron_overview

    if name == NEURON:
        from cosim.surrogate.neuron_bench import NeuronBench, certify_neuron, train_neuron

        return Kind(
            NEURON, NeuronBench.load, train_neuron, certify_neuron,
            lambda made, title: neuron_overview(
                list(zip(made.trains, made.held_out, strict=True)),
                {name: entry.span for name, entry in made.surrogate.map.states.items()},
                title=title,
            ),
            lambda made: made.after,
        )  # fmt: skip
    from cosim.surrogate.filter import run_filter
    from cosim.surrogate.filter_bench import FilterBench, certify_filter, train_filter

    def overview(made: Any, title: str) -> Any:
        law = made.surrogate.learned
        return filter_overview([(train, run_filter(law, train)) for train in made.trains], title=title)

    return Kind(FILTER, FilterBench.load, train_filter, certify_filter, overview, lambda made: made.after)


def asked_for(whole: Testbench, event: str) -> str:
    """Whether ``event`` of a bench, or what it has where that is "", is a `NEURON`, a `FILTER`, or "" where a map."""
    file = whole.file
    for name, known in ((NEURON, file.neurons), (FILTER, file.filters)):
        if event in known or (known and not file.maps):
            return name
    return ""


def kind_of_surrogate(stored: Surrogate) -> str:
    """The same of a surrogate, by its law."""
    from cosim.surrogate.filter import FilterLaw
    from cosim.surrogate.neuron import NeuronLaw

    law = stored.learned
    return NEURON if isinstance(law, NeuronLaw) else FILTER if isinstance(law, FilterLaw) else ""


def trains_of(events: float, spikes: int = SPIKES) -> int:
    """How many trains of so many input ``spikes`` make so many events; at least three."""
    return max(round(events / spikes), 3)


def train_on_trains(
    kind: Kind,
    whole: Testbench,
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
    keep: Path | None,
) -> None:
    """`train` of a bench's neuron or filter: at least three trains, and as many held out."""
    from cosim.cli.output import counting
    from cosim.engines.registry import open_simulator
    from cosim.surrogate.files import save
    from cosim.surrogate.spike_bench import said_where

    found = replace(kind.load(whole, event), kept=keep)
    trains, held = trains_of(MOST[kind.name] if most is None else most), kind.held_out(pulses, rollouts=rollouts)
    with (
        said_where(keep),
        open_simulator() as simulator,
        counting(f"trains through {whole.name}", trains + sum(held.values()), "trains") as tell,
    ):
        made = kind.train(
            found, simulator, trains=trains, count=SPIKES, budget=budget, seed=seed, limits=limits, tell=tell, **held
        )
    save(made.surrogate, output)
    certificate = _shown(kind, made, figure)
    print(f"written     {output}")
    verdict(made.surrogate)
    if certificate.broken:
        print(
            f"cosim: {output} misses its limits, and networks refuse it without --uncertified; give more "
            f"--most-samples and --budget, or narrower intervals in the bench's {kind.name}",
            file=sys.stderr,
        )
        raise typer.Exit(1)


def check_on_trains(
    kind: Kind,
    stored: Surrogate,
    bench: str,
    *,
    pulses: int | None,
    seed: int,
    limits: dict[str, float],
    figure: Path | None,
    as_json: bool,
) -> None:
    """`check` of a neuron or a filter, on fresh trains."""
    from cosim.bench.testbench import Testbench
    from cosim.cli.output import counting
    from cosim.engines.registry import open_simulator
    from cosim.surrogate.certify import updates_per_second
    from cosim.surrogate.recheck import broken_intervals, fresh_events

    old, more = stored.certificate, fresh_events(stored, seed=seed)
    if more.said:
        print(f"cosim: {more.said}", file=sys.stderr)
    found = kind.load(Testbench.load(bench), stored.subject.bench[1])
    held = kind.held_out(pulses, rollouts=more.rollouts)
    total = sum(held.values())
    with open_simulator() as simulator, counting(f"checking against {found.bench.name}", total, "trains") as tell:
        again = kind.certify(
            stored, found, simulator, trains=held.pop("held_out"), count=SPIKES, seed=more.seed, limits=limits,
            tell=tell, **held,
        )  # fmt: skip
    fresh, after = again.surrogate.certificate, kind.after(again)
    missed = () if old is None else broken_intervals(old.bands, after)
    failed, unseen = bool(fresh.broken or missed), () if old is None else narrower(old.domain, fresh.domain)
    if as_json:
        facts = {
            "passed": not (failed or unseen),
            "missed_intervals": missed,
            "not_verified": unseen,
            "certificate": None if old is None else old.to_dict(),
            "check": fresh.to_dict(),
            "coverage": {} if old is None else {b.events: b.covered(after.get(b.events, {})) for b in old.bands},
            "updates_per_second": updates_per_second(stored),
            "reference_updates_per_second": 1.0 / again.seconds_per_event,
        }
        print(json.dumps(facts))
        if figure is not None:
            _drawn(kind, again, figure)
    else:
        before(stored)
        _shown(kind, again, figure, indent="  ")
        for line in () if old is None else coverage(old, after):
            print("  " + line)
        verdict(again.surrogate, indent="  ", missed=missed, unseen=unseen)
    ended(failed=failed, unseen=unseen)


def _shown(kind: Kind, made: Any, figure: Path | None, *, indent: str = "") -> Certificate:
    """Print the certificate, and draw the held-out trains."""
    certificate: Certificate = made.surrogate.certificate
    for line in certificate_lines(made.surrogate):
        print(indent + line)
    if figure is not None:
        _drawn(kind, made, figure)
        print(f"{indent}figure      {figure}")
    return certificate


def _drawn(kind: Kind, made: Any, figure: Path) -> None:
    from cosim.report.style import save

    surrogate = made.surrogate
    title = f"Surrogate of the {kind.name} of {surrogate.parameters.name}\nagainst {surrogate.certificate.against}"
    save(kind.overview(made, title), figure)
