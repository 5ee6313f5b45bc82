"""The second engine: the ``ngspice`` program in batch mode, a fresh process for each run, with its own raw reader."""

from __future__ import annotations

import re
import subprocess
from functools import cache
from typing import Any

from cosim.engines import waveforms
from cosim.engines.library import find_ngspice
from cosim.engines.pooled import PooledNgspice
from cosim.engines.prepare import Prepared
from cosim.engines.raw import read_raw
from cosim.engines.worker import sandbox
from cosim.engines.worker.pool import Answer, Pool
from cosim.errors import DataError, EngineMissing
from cosim.language import fourier

_KINDS = {
    "transient analysis": "tran", "ac analysis": "ac", "dc transfer characteristic": "dc", "operating point": "op",
    "noise spectral density curves": "noise", "integrated noise": "noise_integrated", "transfer function": "tf",
    "sensitivity analysis": "sens", "pole-zero analysis": "pz", "sp analysis": "sp",
}  # fmt: skip


@cache
def ngspice_version(program: str) -> str:
    """``"ngspice-46"`` of the program; raises `EngineMissing` where it does not answer."""
    try:
        answer = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EngineMissing(f"{program} does not run: {error}", remedy="install ngspice 44 or later") from None
    match = re.search(r"ngspice-([\d.]+\+?)", answer.stdout)
    return f"ngspice-{match[1]}" if match else "ngspice-unknown"


class NgspiceCli(PooledNgspice):
    """``ngspice -b -r``, at most ``workers`` at once. Thread-safe; a context manager."""

    name = "ngspice"

    def __init__(self, *, workers: int = 1) -> None:
        program = find_ngspice()
        if program is None:
            raise EngineMissing("there is no ngspice on this machine", remedy="install ngspice 44 or later")
        super().__init__(Pool("command", size=workers))
        self._program = program

    def version(self) -> str:
        """``"ngspice-46"``."""
        return ngspice_version(self._program)

    def _job(self, ready: Prepared) -> dict[str, Any]:
        return {
            "argv": [self._program, "-b"],
            "reads": [*ready.osdi, *ready.reads],
            "files": {".spiceinit": start_up(ready), "deck.cir": ready.text},
        }

    def _read(self, ready: Prepared, answer: Answer) -> list[waveforms.Plot]:
        return _plots(answer)


def start_up(prepared: Prepared) -> str:
    """The whole run as ngspice's start-up file.

    A deck on the command line would be copied into a tmpfile(3), which is made in /tmp whatever TMPDIR says: for that
    the whole of /tmp would have to stay writable. And batch mode drops ``.meas`` beside ``-r``.
    """
    commands = [*(f"osdi {path}" for path in prepared.osdi), "set filetype=binary", "source deck.cir"]
    if not (prepared.measures or prepared.fourier):
        commands += ["run out.raw"]
    else:
        counts: dict[str, int] = {}
        for analysis in prepared.analyses:
            more = {"noise": 2, "disto": 3 if len(analysis.line.text.split()) > 5 else 2}.get(analysis.kind, 1)
            counts[analysis.kind] = counts.get(analysis.kind, 0) + more
        plots = [f"{kind}{number}" for kind, count in counts.items() for number in range(1, count + 1)]
        commands += ["run", "set appendwrite", *(f"setplot {plot}\nwrite out.raw" for plot in plots)]
        transients = [plot for plot in reversed(plots) if plot.startswith("tran")] if prepared.fourier else []
        for plot in transients:
            commands += [f"setplot {plot}", *fourier.commands(prepared.fourier)]
    return sandbox.SPICEINIT + "\n".join([*commands, "quit 0", ""])


def _kind(name: str) -> str:
    return "disto" if name.startswith("distortion") else _KINDS.get(name, name.split()[0])


def _plots(answer: Answer) -> list[waveforms.Plot]:
    file = answer.file("out.raw")
    if answer.status != "done" or file is None:
        return []
    try:
        found = read_raw(file)
    except DataError:  # a run that was aborted: the log says why, and no plot is no convergence
        return []
    # ngspice runs cards of one kind from the last to the first: reversed, this is deck order.
    return [waveforms.Plot(_kind(plot.name.lower()), plot.names, plot.types, plot.values) for plot in reversed(found)]
