"""``cosim doctor``: what this machine can do. Each finding is the outcome of a trial, not of looking for a file.

Exit code 0 where everything that is needed works, 1 otherwise; what is optional only warns.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import typer

from cosim import __version__
from cosim.errors import CosimError

DIVIDER = "doctor\nV1 in 0 1\nR1 in out 1k\n{lower}\n.tran 10n 100n\n"
RESISTOR = """`include "disciplines.vams"
module cosim_doctor(p, n);
  inout p, n; electrical p, n;
  analog I(p, n) <+ V(p, n) / 1000.0;
endmodule
"""
ENGINE_USES = {
    "pyspice": "runs netlists: the default engine, ngspice as a library behind PySpice",
    "ngspice": "runs netlists as a program: the second engine, and the one that needs no library",
    "vacask": "runs compiled Verilog-A models: an independent engine to check ngspice with",
}
EXTRA_USES = {
    "veriloga": "compiles device models to OSDI and brings the engine VACASK",
    "train": "trains surrogates, and brings the 8x8 digits of the demo",
    "fast": "makes large networks several times faster",
    "instruments": "reads workbooks (Excel, Keithley 4200) and LabVIEW TDMS",
}


class Status(StrEnum):
    """How one finding stands."""

    OK = "ok"
    WARNING = "warning"
    MISSING = "missing"


COLOURS = {Status.OK: "green", Status.WARNING: "yellow", Status.MISSING: "bold red"}


@dataclass(frozen=True)
class DoctorFinding:
    """One thing: what was ``found``, what it is for (``meaning``), and what to do (``remedy``, empty when ok)."""

    topic: str
    state: Status
    found: str
    meaning: str
    remedy: str = ""


def examine() -> Iterator[DoctorFinding]:
    """All findings, one after another as they are made; does not raise for what a machine lacks."""
    yield python()
    yield from engines()
    yield linker()
    yield sandbox()
    yield threads()
    yield from data()
    yield from packages()


def _attempt(topic: str, meaning: str, trial: Callable[[], str], *, needed: bool = False) -> DoctorFinding:
    """The finding of a trial that returns what it found, and raises where it fails."""
    try:
        return DoctorFinding(topic, Status.OK, trial(), meaning)
    except CosimError as error:
        found, remedy = error.message, error.remedy or "see the message"
    except (OSError, subprocess.SubprocessError) as error:  # a program that exists but does not start
        found, remedy = str(error), "install it again"
    return DoctorFinding(topic, Status.MISSING if needed else Status.WARNING, found, meaning, remedy)


def python() -> DoctorFinding:
    """The interpreter."""
    found = f"{platform.python_version()} ({sys.executable})"
    return DoctorFinding("Python", Status.OK, found, "runs cosim; 3.11 or newer")


def engines() -> Iterator[DoctorFinding]:
    """Each simulator on a voltage divider, the default one with a compiled model and with KLU too."""
    from cosim.engines.registry import ENGINES

    with tempfile.TemporaryDirectory(prefix="cosim-doctor-") as folder:
        model: list[Path] = []
        yield _attempt("Verilog-A compiler", "turns device models into OSDI files", lambda: _compile(folder, model))
        for name in ENGINES:
            needed = name == "pyspice"
            meaning = ENGINE_USES.get(name, "runs netlists")
            yield _attempt(f"engine {name}", meaning, lambda name=name: _divide(name, model), needed=needed)  # type: ignore[misc]
        meaning = (
            "runs compiled Verilog-A device models; without it the same devices run as behavioural sources, slower"
        )
        yield _attempt("OSDI", meaning, lambda: _osdi(model))
        yield _attempt("KLU", "solves large circuits faster; without it ngspice uses SPARSE 1.3", _divide_by_klu)


def _compile(folder: str, made: list[Path]) -> str:
    from cosim.engines import openvaf

    program = openvaf.require_openvaf()
    made.append(openvaf.compile_model(RESISTOR, cache=Path(folder)))
    return openvaf.compiler_version(program)


def _measure(name: str, lower: str, **deck: Any) -> tuple[str, str]:
    """Version and log of an engine that halves a volt with ``lower`` as lower resistor; raises where it does not."""
    from cosim.engines.registry import open_simulator
    from cosim.engines.simulator import Deck, Limits, Outcome
    from cosim.errors import SimulationError

    simulator = open_simulator(name)
    try:
        result = simulator.run(Deck(DIVIDER.format(lower=lower), **deck), limits=Limits(wall=30.0)).require()
        volts = float(result["tran"]["v(out)"][-1])
        if abs(volts - 0.5) > 1e-6:  # reltol 1e-3 does not show in a linear circuit; gmin does, at 1e-9
            raise SimulationError(f"{name} divides 1 V to {volts:g} V", outcome=Outcome.CONVERGED, remedy="report this")
        return simulator.version(), result.log
    finally:
        simulator.close()


def _divide(name: str, model: list[Path]) -> str:
    if name == "vacask":  # runs compiled models only
        return _divide_compiled(name, model)
    version, _ = _measure(name, "R2 out 0 1k")
    return version


def _divide_compiled(name: str, model: list[Path]) -> str:
    from cosim.errors import EngineMissing

    if not model:
        raise EngineMissing("not tried: no model could be compiled", remedy="see the Verilog-A compiler above")
    version, _ = _measure(name, "N1 out 0 lower\n.model lower cosim_doctor", osdi=tuple(model))
    return version


def _osdi(model: list[Path]) -> str:
    from cosim.errors import EngineMissing, SimulationError

    version, _ = _measure("pyspice", "R2 out 0 1k")
    try:
        _divide_compiled("pyspice", model)
    except SimulationError:
        remedy = "install ngspice 44 or newer (Debian 12 has it in bookworm-backports, where ./run setup takes it from)"
        raise EngineMissing(f"{version} cannot load compiled models", remedy=remedy) from None
    return f"a compiled model runs in {version}"


def _divide_by_klu() -> str:
    from cosim.errors import EngineMissing

    version, log = _measure("pyspice", "R2 out 0 1k", options={"klu": ""})
    if "KLU as Direct" not in log:
        raise EngineMissing(f"{version} is built without KLU", remedy="install ngspice 40 or newer")
    return f"solver of {version}"


def linker() -> DoctorFinding:
    """The program ``ld``, which the Verilog-A compiler calls."""
    found, meaning = shutil.which("ld"), "links compiled device models"
    if found:
        return DoctorFinding("linker", Status.OK, found, meaning)
    return DoctorFinding(
        "linker", Status.WARNING, "no ld", meaning, "install binutils (Xcode's command line tools on macOS)"
    )


def sandbox() -> DoctorFinding:
    """What confines an engine that runs a stranger's netlist, as its worker reports it."""
    from cosim.engines.worker.sandbox import advice, capabilities

    can = capabilities()
    held = {name: _walls(name) for name in ("pyspice", "ngspice")}
    known = {name: walls for name, walls in held.items() if walls}
    walls = {wall: all(found[wall] for found in known.values()) if known else bool(can[wall]) for wall in WALLS}
    found = [WALLS[wall][0 if holds else 1] for wall, holds in walls.items()]
    found.append("limits on time, memory and file size")
    means = list(dict.fromkeys(word for walls in known.values() for word in walls["means"]))
    if "landlock" in means:
        means[means.index("landlock")] = f"Landlock {can['landlock']}"
    by = f" ({', '.join(means)})" if means else " (not tried: no engine)"
    meaning = "what a netlist can make an engine do, should the check of netlists have let it through"
    remedy = advice(programs=walls["programs"], files=walls["files"] and walls["reading"])
    return DoctorFinding("sandbox", Status.WARNING if remedy else Status.OK, "; ".join(found) + by, meaning, remedy)


# What is prevented, or what the engine may do otherwise.
WALLS = {
    "programs": ("starts no program", "may start programs"),
    "files": ("writes in its scratch folder only", "may write what its user may"),
    "reading": ("reads engines and its job's files only", "may read what its user may"),
    "network": ("no network", "may use the network"),
}


def _walls(name: str) -> dict[str, Any]:
    """What a worker of the engine reports about its confinement; empty without one."""
    from cosim.engines.registry import open_simulator

    try:
        with open_simulator(name) as simulator:
            return dict(simulator.confinement())  # type: ignore[attr-defined]
    except CosimError:
        return {}


def threads() -> DoctorFinding:
    """Cores, and how many threads numerical libraries and engines may start."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limit = os.environ.get("OMP_NUM_THREADS", "unset")
    found = f"{cores} cores; OMP_NUM_THREADS={limit} for numpy, one thread for each engine"
    meaning = "cases run in processes of one thread each: OpenMP on shared cores costs more than it gives"
    wide = limit.isdecimal() and int(limit) > cores
    remedy = f"set OMP_NUM_THREADS to at most {cores}" if wide else ""
    return DoctorFinding("threads", Status.WARNING if wide else Status.OK, found, meaning, remedy)


def data() -> Iterator[DoctorFinding]:
    """``$COSIM_DATA``, the cache, and which of the data sets are here."""
    from cosim.data import datasets

    named, cache = datasets.data_folder(), datasets.cache_folder()
    wrong = named is not None and not named.is_dir()
    yield DoctorFinding(
        "data folders",
        Status.WARNING if wrong else Status.OK,
        f"COSIM_DATA: {f'{named} is not a folder' if wrong else named or 'not set'}; cache: {cache}",
        "measured curves and images are looked for in COSIM_DATA, then in the cache, then fetched",
        "name an existing folder in COSIM_DATA, or unset it" if wrong else "",
    )
    for topic, meaning, curves in (
        ("measured curves", "what a fit is shown on, beside the virtual lab", True),
        ("image sets", "what the networks learn", False),
    ):
        entries = [entry for entry in datasets.REGISTRY.values() if curves is bool(entry.file)]
        places = {entry.name: datasets.locate(entry.name).place for entry in entries}
        here = [f"{name} ({place})" for name, place in places.items() if place not in ("network", "nowhere")]
        # A data set without a recorded hash is fetched on request only.
        away = [
            e.name for e in entries if places[e.name] in ("network", "nowhere") and not (e.file and not e.file.sha256)
        ]
        found = "; ".join(part for part in (", ".join(here), away and f"not here: {', '.join(away)}") if part)
        remedy = f"set COSIM_DATA, or fetch them: cosim datasets fetch {away[0]}" if away else ""
        yield DoctorFinding(topic, Status.WARNING if away else Status.OK, found, meaning, remedy)


def packages() -> Iterator[DoctorFinding]:
    """The Python packages that cosim needs, and those of each extra."""
    meaning = "the packages that cosim stands on"
    try:
        required = metadata.requires("cosim-spice") or []
    except metadata.PackageNotFoundError:
        remedy = "pip install -e . in the checkout"
        yield DoctorFinding("packages", Status.WARNING, "cosim is on the path but not installed", meaning, remedy)
        return
    groups: dict[str, list[str]] = {}
    for requirement in required:
        name = re.match(r"[\w.-]+", requirement)
        condition = re.search(r"extra == ['\"]([\w.-]+)['\"]", requirement)
        if name and name[0] != "cosim-spice":
            groups.setdefault(condition[1] if condition else "", []).append(name[0])
    for extra in ("", *EXTRA_USES):
        versions = {name: _version(name) for name in groups.get(extra, [])}
        absent = [name for name, version in versions.items() if version is None]
        topic, use = (f"extra {extra}", EXTRA_USES[extra]) if extra else ("packages", meaning)
        if absent:
            remedy = f"pip install 'cosim-spice[{extra}]'" if extra else "pip install --force-reinstall cosim-spice"
            yield DoctorFinding(
                topic, Status.WARNING if extra else Status.MISSING, f"without {', '.join(absent)}", use, remedy
            )
        else:
            found = ", ".join(f"{name} {version}" for name, version in versions.items())
            yield DoctorFinding(topic, Status.OK, found, use)


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def works(findings: list[DoctorFinding]) -> bool:
    """Whether everything that is needed works."""
    return all(finding.state is not Status.MISSING for finding in findings)


def as_data(findings: list[DoctorFinding]) -> dict[str, object]:
    """The findings for scripts: ``{"cosim": version, "ok": bool, "findings": [...]}``."""
    return {"cosim": __version__, "ok": works(findings), "findings": [asdict(finding) for finding in findings]}


def as_text(finding: DoctorFinding) -> str:
    """One finding in plain lines: state, topic and what was found; what it is for; what to do."""
    lines = [f"{finding.state:8}{finding.topic}: {finding.found}", f"{'':8}{finding.meaning}"]
    return "\n".join([*lines, f"{'':8}-> {finding.remedy}"] if finding.remedy else lines)


def verdict(findings: list[DoctorFinding]) -> str:
    """One sentence on all of them."""
    if not works(findings):
        return "Something that cosim needs is missing: " + ", ".join(
            f.topic for f in findings if f.state is Status.MISSING
        )
    warnings = [finding.topic for finding in findings if finding.state is Status.WARNING]
    return "Everything needed works" + (f"; optional parts to look at: {', '.join(warnings)}." if warnings else ".")


def _rows(findings: list[DoctorFinding]) -> Iterator[tuple[object, ...]]:
    from rich.text import Text

    from cosim.errors import legible

    for finding in findings:
        colour = COLOURS[finding.state]
        what = Text(legible(finding.meaning))
        if finding.remedy:
            what.append(f"\n{legible(finding.remedy)}", style=colour)
        topic = Text(legible(finding.topic), style="bold")
        yield Text(finding.state, style=colour), topic, legible(finding.found), what


def doctor(plain_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False) -> None:
    """What this machine can do: engines, compilers, data; what is missing and how to get it."""
    from cosim.cli import output

    with output.working("trying what this machine can do"):
        findings = list(examine())
    if plain_json:
        output.print_json(as_data(findings))
    elif sys.stdout.isatty():
        output.show_table("", ("", "", "Found", "What it is for, and what to do"), list(_rows(findings)))
        print(verdict(findings))
    else:
        print("\n".join([*map(as_text, findings), verdict(findings)]))
    if not works(findings):
        raise typer.Exit(1)


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("doctor")(doctor)
