"""``python -m cosim.engines.worker.confined``: a compiler of untrusted text, confined as an engine, but with a linker.

It writes in its scratch folder only, reads the source's folders and what programs are made of, and is off the network.
It may start programs, from the system's folders only, which are confined in the same way.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from cosim.engines.worker import sandbox
from cosim.engines.worker.landlock import Readable


def command(argv: Sequence[str], scratch: Path, *, reads: Sequence[Path], memory: int, file_size: int) -> list[str]:
    """``argv`` confined to ``scratch``: what to start in its place, with `environment`.

    ``reads`` are files and folders to read; ``memory`` and ``file_size`` limits in bytes.
    """
    limits = ["--memory", str(memory), "--file-size", str(file_size)]
    named = [word for path in reads for word in ("--read", str(path))]
    start = [sys.executable, "-B", "-P", "-m", "cosim.engines.worker.confined", "--scratch", str(scratch)]
    return [*start, *limits, *named, "--", *argv]


def environment(scratch: Path) -> dict[str, str]:
    """The environment of what `command` starts."""
    return sandbox.environment(scratch, {"PYTHONPATH": str(Path(__file__).resolve().parents[3])})


def _linker() -> tuple[str, ...]:
    found = shutil.which("ld")
    beside = (*sandbox.engine_paths(found), str(Path(found).parent)) if found else ()
    return ("/bin", "/usr/bin", *beside)  # a linker may be a script


def main(arguments: Sequence[str] | None = None) -> int:
    """Become the command behind ``--``; 127 where it does not start."""
    parser = argparse.ArgumentParser(prog="cosim.engines.worker.confined")
    parser.add_argument("--scratch", type=Path, required=True)
    parser.add_argument("--memory", type=int, required=True)
    parser.add_argument("--file-size", type=int, required=True)
    parser.add_argument("--read", action="append", default=[])
    parser.add_argument("command", nargs="+")
    given = parser.parse_args(arguments)
    sandbox.isolate()
    sandbox.limit_resources(memory=given.memory, file_size=given.file_size, for_good=True)
    readable = Readable.of((*sandbox.engine_paths(given.command[0]), *_linker()), execute=True)
    kept = sandbox.environment(given.scratch)
    try:
        sandbox.execute(given.command, kept, given.scratch, readable=readable, files=given.read, programs=True)
    except OSError as error:
        os.write(2, f"error: {given.command[0]} does not start: {error.strerror}\n".encode())
    return 127


if __name__ == "__main__":
    sys.exit(main())
