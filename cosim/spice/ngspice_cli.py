"""The second engine: the ``ngspice`` program in batch mode, a fresh process for each run, with its own raw reader."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Mapping
from functools import cache
from typing import Any, Self

from cosim.errors import DataError, EngineMissing, MissingFile, NetlistError
from cosim.spice import outcome, sandbox, waveforms
from cosim.spice.library import find_ngspice
from cosim.spice.pool import Answer, Pool
from cosim.spice.prepare import Prepared, prepare
from cosim.spice.raw import read_raw
from cosim.spice.simulator import Deck, Limits, Result

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


class NgspiceCli:
    """``ngspice -b -r``, at most ``workers`` at once. Thread-safe; a context manager."""

    name = "ngspice"

    def __init__(self, *, workers: int = 1) -> None:
        program = find_ngspice()
        if program is None:
            raise EngineMissing("there is no ngspice on this machine", remedy="install ngspice 44 or later")
        self._program = program
        self._pool = Pool("command", size=workers)

    def version(self) -> str:
        """``"ngspice-46"``."""
        return ngspice_version(self._program)

    def confinement(self) -> Mapping[str, Any]:
        """What holds the program back (`sandbox.Confinement`)."""
        return dict(self._pool.hello()["confinement"])

    def pids(self) -> list[int]:
        """The process ids of the workers that run."""
        return self._pool.pids()

    def run(self, deck: Deck, *, limits: Limits = Limits()) -> Result:  # noqa: B008  a frozen value
        """Run ``deck``; the outcome says what became of it. Raises `EngineMissing` only."""
        started = time.monotonic()
        try:
            prepared = prepare(deck)
        except (NetlistError, MissingFile) as error:
            return outcome.refused(deck, self.name, str(error))
        job = {
            "argv": [self._program, "-b"],
            "reads": [*prepared.osdi, *prepared.reads],
            "files": {".spiceinit": start_up(prepared), "deck.cir": prepared.text},
            "memory": limits.memory,
            "file_size": limits.file_size,
        }
        with self._pool.run(job, wall=limits.wall) as answer:
            return outcome.of_ngspice(
                deck, prepared, answer, _plots(answer), engine=self.name, limits=limits, wall=time.monotonic() - started
            )

    def close(self) -> None:
        """End the worker processes and remove their scratch folders."""
        self._pool.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def start_up(prepared: Prepared) -> str:
    """The whole run as ngspice's start-up file.

    A deck on the command line would be copied into a tmpfile(3), which is made in /tmp whatever TMPDIR says: for that
    the whole of /tmp would have to stay writable. And batch mode drops ``.meas`` beside ``-r``.
    """
    commands = [*(f"osdi {path}" for path in prepared.osdi), "set filetype=binary", "source deck.cir"]
    if not prepared.measures:
        commands += ["run out.raw"]
    else:
        counts: dict[str, int] = {}
        for analysis in prepared.analyses:
            counts[analysis.kind] = counts.get(analysis.kind, 0) + (2 if analysis.kind == "noise" else 1)
        plots = [f"{kind}{number}" for kind, count in counts.items() for number in range(1, count + 1)]
        commands += ["run", "set appendwrite", *(f"setplot {plot}\nwrite out.raw" for plot in plots)]
    return sandbox.SPICEINIT + "\n".join([*commands, "quit 0", ""])


def _plots(answer: Answer) -> list[waveforms.Plot]:
    file = answer.file("out.raw")
    if answer.status != "done" or file is None:
        return []
    try:
        found = read_raw(file)
    except DataError:  # a run that was aborted: the log says why, and no plot is no convergence
        return []
    # ngspice runs cards of one kind from the last to the first: reversed, this is deck order.
    return [
        waveforms.Plot(_KINDS.get(plot.name.lower(), plot.name.lower().split()[0]), plot.names, plot.types, plot.values)
        for plot in reversed(found)
    ]
