"""Engines by name, and what each needs on a machine: for `open_simulator` and for ``cosim doctor``."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from cosim.engines.library import find_libngspice, find_ngspice
from cosim.engines.ngspice_cli import NgspiceCli, ngspice_version
from cosim.engines.openvaf import compiler_version, find_openvaf
from cosim.engines.pyspice import PySpiceSimulator
from cosim.engines.simulator import Simulator
from cosim.engines.vacask import VacaskSimulator, find_vacask, vacask_version
from cosim.engines.worker import sandbox
from cosim.errors import EngineMissing, UnknownName

ENGINES: Mapping[str, Callable[[int], Simulator]] = {
    "pyspice": lambda workers: PySpiceSimulator(workers=workers),
    "ngspice": lambda workers: NgspiceCli(workers=workers),
    "vacask": lambda workers: VacaskSimulator(workers=workers),
}

# ngspice got OSDI, by which Verilog-A models are loaded, in release 39; distributions may build without it.
_INSTALL_NGSPICE = "install ngspice 44 or later with OSDI (Debian 12: the backports suite)"


def open_simulator(name: str = "pyspice", workers: int = 1) -> Simulator:
    """A simulator by name, with ``workers`` processes. Raises `UnknownName`; `EngineMissing` where it is not installed.

    >>> with cosim.open_simulator("ngspice") as simulator:
    ...     print(simulator.run(cosim.Deck("one source\\nv1 a 0 1\\n.op")).outcome.value)
    converged
    """
    try:
        engine = ENGINES[name]
    except KeyError:
        raise UnknownName("simulator", name, ENGINES) from None
    return engine(workers)


@dataclass(frozen=True)
class Probe:
    """One thing that a machine has or lacks: ``found`` describes it, ``advice`` says what to do where it is missing."""

    name: str
    ok: bool
    found: str
    advice: str = ""


def probe_ngspice() -> Probe:
    """The program ``ngspice`` and its version."""
    program = find_ngspice()
    if program is None:
        return Probe("ngspice", False, "none", _INSTALL_NGSPICE)
    try:
        return Probe("ngspice", True, f"{ngspice_version(program)} ({program})")
    except EngineMissing as error:
        return Probe("ngspice", False, program, str(error))


# Commands that we wrote: "osdi" without a file is an unknown command, or a known one that misses its argument.
_QUESTIONS = "* probe\n.control\nosdi\nif $?xspice_enabled\necho xspice yes\nend\nquit\n.endc\n.end\n"


@cache
def ngspice_features() -> Mapping[str, bool]:
    """Whether ngspice has ``osdi`` (Verilog-A), ``klu`` (its faster matrix solver) and ``xspice``; asked of itself."""
    program = find_ngspice()
    if program is None:
        return {"osdi": False, "klu": False, "xspice": False}
    version = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=30, check=False)
    with tempfile.TemporaryDirectory(prefix="cosim-") as name:
        folder = Path(name)
        sandbox.prepare_scratch(folder)
        deck = folder / "probe.cir"
        deck.write_text(_QUESTIONS)
        answer = subprocess.run(
            [program, "-b", str(deck)],
            capture_output=True, text=True, timeout=30, check=False, cwd=folder, env=sandbox.environment(folder),
        )  # fmt: skip
    text = answer.stdout + answer.stderr
    return {
        "osdi": "osdi: too few args" in text,
        "klu": "KLU" in version.stdout,
        "xspice": "xspice yes" in text,
    }


def probe_osdi() -> Probe:
    """Whether ngspice can load compiled Verilog-A."""
    if ngspice_features()["osdi"]:
        return Probe("OSDI", True, "ngspice loads compiled Verilog-A")
    return Probe("OSDI", False, "no: B-source twins of the devices are used", _INSTALL_NGSPICE)


def probe_klu() -> Probe:
    """Whether ngspice has the KLU matrix solver."""
    has = ngspice_features()["klu"]
    return Probe(
        "KLU", has, "KLU matrix solver" if has else "Sparse 1.3 only", "" if has else "slower on large circuits"
    )


def probe_library() -> Probe:
    """The shared library that PySpice loads, and whether a worker starts with it."""
    library = find_libngspice()
    if library is None:
        named = os.environ.get("NGSPICE_LIBRARY_PATH")
        advice = f"NGSPICE_LIBRARY_PATH names {named!r}, which is not a file" if named else "install libngspice0"
        return Probe("libngspice", False, "none", advice)
    try:
        with PySpiceSimulator() as simulator:
            return Probe("libngspice", True, f"{simulator.version()} ({library})")
    except EngineMissing as error:
        return Probe("libngspice", False, library, str(error))


def probe_compiler() -> Probe:
    """The Verilog-A compiler and its linker."""
    try:
        program = find_openvaf()
    except EngineMissing as error:
        return Probe("OpenVAF", False, "not executable", str(error))
    if program is None:
        return Probe("OpenVAF", False, "none", "pip install 'cosim-spice[veriloga]'")
    if shutil.which("ld") is None:
        return Probe("OpenVAF", False, f"{compiler_version(program)}, but no linker", "install binutils")
    return Probe("OpenVAF", True, compiler_version(program))


def probe_vacask() -> Probe:
    """The simulator VACASK."""
    try:
        program = find_vacask()
    except EngineMissing as error:
        return Probe("VACASK", False, "not executable", str(error))
    if program is None:
        return Probe("VACASK", False, "none", "pip install 'cosim-spice[veriloga]'")
    return Probe("VACASK", True, vacask_version())


def probe_sandbox() -> Probe:
    """What can keep an engine from starting programs and from writing outside its scratch folder."""
    can = sandbox.capabilities()
    means = [text for key, text in (("seccomp", "seccomp"), ("landlock", "Landlock")) if can[key]]
    found = " and ".join(means) or "process limits only"
    return Probe("confinement", bool(can["programs"]), found, str(can["advice"]))


def probes() -> tuple[Probe, ...]:
    """All of them, in the order in which a report shows them."""
    return (
        probe_ngspice(),
        probe_library(),
        probe_osdi(),
        probe_klu(),
        probe_compiler(),
        probe_vacask(),
        probe_sandbox(),
    )


def require(name: str, *, osdi: bool = False) -> None:
    """Raises `EngineMissing` where the engine ``name``, or with ``osdi`` its Verilog-A interface, is not there."""
    checks = {"pyspice": probe_library, "ngspice": probe_ngspice, "vacask": probe_vacask}
    if name not in checks:
        raise UnknownName("simulator", name, checks)
    needed = [checks[name]()] + ([probe_osdi()] if osdi and name != "vacask" else [])
    for probe in needed:
        if not probe.ok:
            raise EngineMissing(f"{probe.name}: {probe.found}", remedy=probe.advice)
