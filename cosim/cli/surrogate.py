"""``cosim surrogate check`` and ``show``; `cosim.cli.surrogate_train` and `surrogate_export` have the others."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cosim.cli import surrogate_export as export
from cosim.cli.surrogate_common import (
    AGAINST,
    LIMIT,
    PULSES,
    REFERENCE,
    USUAL_PULSES,
    AsJson,
    Drawing,
    Stored,
    before,
    certificate_lines,
    coverage,
    drawn,
    ended,
    narrower,
    opened,
    shares_of,
    shown,
    verdict,
)
from cosim.cli.surrogate_train import train
from cosim.cli.surrogate_trains import check_on_trains, kind_of, kind_of_surrogate
from cosim.errors import InputError

if TYPE_CHECKING:
    from cosim.surrogate.model import Surrogate
    from cosim.surrogate.references import Reference


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


def check(
    file: Stored,
    against: Annotated[
        str,
        typer.Option(help=f"{AGAINST} ngspice is the certificate's own bench and set, if it names any."),
    ] = "ngspice",
    pulses: Annotated[int | None, typer.Option(help=PULSES, show_default=False)] = None,
    seed: Annotated[int, typer.Option(help="Of the pulses; the certificate's own is stepped over.")] = 1,
    limit: Annotated[list[str] | None, typer.Option(help=LIMIT)] = None,
    reference: Annotated[str, typer.Option(help=REFERENCE, show_default=False)] = "",
    figure: Drawing = None,
    as_json: AsJson = False,
) -> None:
    """Print a surrogate's certificate, and hold it against the circuit again on new pulses.

    Exit code 1: it fails. 4: not verified, as the new pulses did not see all of the domain that is certified.
    """
    from cosim.cli.output import counting
    from cosim.surrogate.base import REST, STATE
    from cosim.surrogate.certify import certify, updates_per_second
    from cosim.surrogate.files import load
    from cosim.surrogate.recheck import broken_intervals, fresh_events

    stored = load(file)
    if stored.instances:
        stored = stored.with_(instances={})
    old = stored.certificate
    given = shares_of("--limit", limit)
    # of a state at rest, as of the state itself
    anew = {*given, *(stored.map.states if STATE in given else ())}
    kept = {} if old is None else {n: x for n, x in old.limits.items() if n.removesuffix(REST) not in anew}
    allowed = {**kept, **given}
    if kind := kind_of_surrogate(stored):
        check_on_trains(
            kind_of(kind), stored, _bench_of(stored, against, reference), pulses=pulses, seed=seed, limits=allowed,
            figure=figure, as_json=as_json,
        )  # fmt: skip
        return
    pulses = USUAL_PULSES if pulses is None else pulses
    ranges = {} if old is None else old.domain.inputs
    with (
        counting(f"checking against {against}", pulses, "pulses") as tell,
        _opened_again(stored, against, reference) as bench,
    ):
        more = fresh_events(stored, seed=seed, independent=bench.independent)
        fresh, held = certify(
            stored, bench, seed=more.seed, pulses=pulses, ranges=ranges, spread=more.spread, rollouts=more.rollouts,
            limits=allowed, assume=() if old is None else tuple(old.assumed), tell=tell,
        )  # fmt: skip
    assert fresh.certificate is not None
    speed = updates_per_second(stored)
    missed = () if old is None else broken_intervals(old.bands, held.after)
    failed = bool(fresh.certificate.broken or missed)
    unseen = () if old is None else narrower(old.domain, fresh.certificate.domain)
    if as_json:
        facts = {
            "passed": not (failed or unseen),
            "missed_intervals": missed,
            "not_verified": unseen,
            "certificate": None if old is None else old.to_dict(),
            "check": fresh.certificate.to_dict(),
            "coverage": {} if old is None else {b.events: b.covered(held.after.get(b.events, {})) for b in old.bands},
            "updates_per_second": speed,
            "reference_updates_per_second": None if held.seconds_per_pulse is None else 1.0 / held.seconds_per_pulse,
        }
        print(json.dumps(facts))
        if figure is not None:
            drawn(fresh, held, figure)
    else:
        before(stored)
        shown(fresh, held, figure, indent="  ")
        for line in () if old is None else coverage(old, held.after):
            print("  " + line)
        verdict(fresh, indent="  ", missed=missed, unseen=unseen)
    if more.said:
        print(f"cosim: {more.said}", file=sys.stderr)
    ended(failed=failed, unseen=unseen)


def show(
    file: Stored,
    figure: Drawing = None,
    as_json: AsJson = False,
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
        print("\n".join(certificate_lines(stored)))
    if figure is not None and held is not None:
        drawn(stored, held, figure)
        if not as_json:
            print(f"figure      {figure}")
    if not as_json:
        verdict(stored)
    if certificate.broken:
        raise typer.Exit(1)


@contextmanager
def _opened_again(stored: Surrogate, against: str, reference: str) -> Iterator[Reference]:
    """What a surrogate from a file is held against: what its certificate was, unless another is named."""
    from cosim.bench.events import BenchMap
    from cosim.engines.registry import open_simulator
    from cosim.surrogate.circuit import CircuitReference, CircuitSet
    from cosim.surrogate.reopened import opened_again

    if against == "ngspice" and not reference:
        with open_simulator() as simulator:
            yield opened_again(stored, simulator)
    elif isinstance(stored.parameters, CircuitSet):
        bench = _bench_of(stored, against, reference)
        with open_simulator() as simulator:
            yield CircuitReference(BenchMap.load(bench, stored.subject.bench[1]), simulator)
    else:
        with opened(stored.map, against, reference) as found:
            yield found


def _bench_of(stored: Surrogate, against: str, reference: str) -> str:
    """The bench that a circuit's surrogate is held against. Raises `InputError`."""
    if against == "integration" or reference:
        raise InputError(
            f"the circuit {stored.parameters.name} has no equations and no parameter set",
            remedy="leave out --reference, and give --against a bench, or nothing",
        )
    path = stored.subject.bench[0] if against == "ngspice" else against
    if path.endswith(".toml") and not Path(path).exists():
        raise InputError(f"the bench {path} is not there any more", remedy="give it as --against FILE.toml")
    return path
