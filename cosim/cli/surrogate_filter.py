"""``cosim surrogate train`` and ``check`` of a bench's filter, on trains of `SPIKES` input spikes."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from cosim.cli.surrogate_common import SPIKES, trains_of, verdict

if TYPE_CHECKING:
    from cosim.bench.testbench import Testbench
    from cosim.surrogate.filter_bench import FilterBench, TrainedFilter
    from cosim.surrogate.model import Surrogate


def train_filter_of(
    whole: Testbench,
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
    """`train` of a bench's filter: at least two trains, and one held out."""
    from cosim.cli.output import counting
    from cosim.engines.registry import open_simulator
    from cosim.surrogate.files import save
    from cosim.surrogate.filter_bench import FilterBench, train_filter

    found = FilterBench.load(whole, event)
    trains, held = max(trains_of(most), 2), trains_of(pulses)
    with (
        open_simulator() as simulator,
        counting(f"trains through {whole.name}", trains + held, "trains") as tell,
    ):
        made = train_filter(
            found, simulator, trains=trains, count=SPIKES, budget=budget, held_out=held, seed=seed, limits=limits,
            tell=tell,
        )  # fmt: skip
    save(made.surrogate, output)
    certificate = made.surrogate.certificate
    assert certificate is not None
    _shown(made, figure, indent="")
    print(f"written     {output}")
    verdict(certificate)
    if certificate.broken:
        print(
            f"cosim: {output} misses its limits, and networks refuse it without --uncertified; give more "
            "--most-samples and --budget, or narrower intervals in the bench's filter",
            file=sys.stderr,
        )
        raise typer.Exit(1)


def check_filter(
    stored: Surrogate,
    found: FilterBench,
    *,
    trains: int,
    seed: int,
    limits: dict[str, float],
    figure: Path | None,
    as_json: bool,
) -> None:
    """`check` of a filter, on fresh trains."""
    from cosim.cli.output import counting
    from cosim.engines.registry import open_simulator
    from cosim.surrogate.filter_bench import certify_filter

    old = stored.certificate
    if old is not None and old.seed == str(seed):
        print(f"cosim: seed {seed} gave the certificate's own events: seed {seed + 1} was taken", file=sys.stderr)
        seed += 1
    with open_simulator() as simulator, counting(f"checking against {found.bench.name}", trains, "trains") as tell:
        again = certify_filter(
            stored, found, simulator, trains=trains, count=SPIKES, seed=seed, limits=limits, tell=tell
        )
    fresh = again.surrogate.certificate
    assert fresh is not None
    if as_json:
        facts = {
            "passed": not fresh.broken,
            "certificate": None if old is None else old.to_dict(),
            "check": fresh.to_dict(),
            "coverage": {},
            "reference_updates_per_second": 1.0 / again.seconds_per_event,
        }
        print(json.dumps(facts))
        if figure is not None:
            _drawn(again, figure)
    else:
        print("certificate" if old is not None else "this surrogate has no certificate")
        for line in [] if old is None else old.lines():
            print("  " + line)
        print("now")
        _shown(again, figure, indent="  ")
        verdict(fresh, indent="  ")
    if fresh.broken:
        raise typer.Exit(1)


def _shown(made: TrainedFilter, figure: Path | None, *, indent: str) -> None:
    assert made.surrogate.certificate is not None
    for line in made.surrogate.certificate.lines():
        print(indent + line)
    if figure is not None:
        _drawn(made, figure)
        print(f"{indent}figure      {figure}")


def _drawn(made: TrainedFilter, figure: Path) -> None:
    """Write the held-out trains as a figure."""
    from cosim.report.style import save
    from cosim.report.surrogate_figures import filter_overview
    from cosim.surrogate.filter import FilterLaw, run_filter

    law, certificate = made.surrogate.learned, made.surrogate.certificate
    assert isinstance(law, FilterLaw)
    assert certificate is not None
    runs = [(train, run_filter(law, train)) for train in made.trains]
    save(filter_overview(runs, title=f"Surrogate against {certificate.against}"), figure)
