"""The place where hostile inputs are tried: a user's folder, and around it what they must not reach.

Outside the folder lie a secret that must not be read, a file that must not change, and the place of a canary that a
program would leave. Inside lie a script and a library that make the canary, start-up files that call the script, and
links, a pipe and devices that lead out.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

NUMBER = 7.318529164051  # in no circuit's solution by itself
_LIBRARY = (
    "#include <stdlib.h>\n"
    "__attribute__((constructor)) static void go(void) {{ if (system(\"touch '{}'\")) exit(1); }}\n"
)
# path -> mode, size, time of change
Snapshot = dict[str, tuple[int, int, int]]


class World:
    """Made below ``root``. ``home`` is the folder that netlists lie in, ``token`` the secret."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self.home = self.root / "home"
        self.canary, self.victim = self.root / "canary", self.root / "victim"
        self.token = f"hush{os.urandom(6).hex()}"
        self.home.mkdir()
        self.victim.write_text("untouched")
        (self.root / "secret.inc").write_text(f".param {self.token}={NUMBER!r}\nR{self.token} a 0 1k\n")
        (self.root / "secret.lib").write_text(f".lib tt\n.param {self.token}={NUMBER!r}\n.endl\n")
        (self.root / "points.txt").write_text("".join(f"{k}e-8 {NUMBER!r}\n" for k in range(20)))
        (self.root / "secret.va").write_text(f"`define {self.token} {NUMBER!r}\n{self.token} {self.token};\n")
        values = f"theta_p = {NUMBER!r}"
        (self.root / "secret.toml").write_text(
            f'device = "threshold_memristor"\n[sets.{self.token}.values]\n{values}\n'
        )
        self._arm()
        self._lay_links()
        self.before: Snapshot = {}
        self.remember()

    def _arm(self) -> None:
        home = self.home
        script = home / "evil.sh"
        script.write_text(f"#!/bin/sh\necho ran > '{self.canary}'\n")
        script.chmod(0o755)
        for name in (".spiceinit", "spice.rc", "spinit", ".vacaskrc.toml"):
            (home / name).write_text(f"* start\nshell {script}\n")
        (home / "sitecustomize.py").write_text(f"import pathlib\npathlib.Path({str(self.canary)!r}).touch()\n")
        if compiler := shutil.which("cc"):
            source = _LIBRARY.format(self.canary)
            command = [compiler, "-shared", "-fPIC", "-xc", "-", "-o", str(home / "evil.so")]
            subprocess.run(command, input=source, text=True, check=True, timeout=60)
        (home / "own.inc").write_text("R8 a 0 1k\n")
        (home / "own.lib").write_text(".lib tt\n.param own=1\n.endl\n")
        (home / "points.txt").write_text("0 0\n1e-6 1\n2e-6 1\n")
        (home / "own.toml").write_text('device = "threshold_memristor"\n[sets.own.values]\ntheta_p = 1.4\n')

    def _lay_links(self) -> None:
        home = self.home
        for suffix in ("inc", "lib", "va", "toml"):
            (home / f"link.{suffix}").symlink_to(self.root / f"secret.{suffix}")
            (home / f"zero.{suffix}").symlink_to("/dev/zero")
            (home / f"stdin.{suffix}").symlink_to("/dev/stdin")
            (home / f"loop.{suffix}").symlink_to(f"loop.{suffix}")
            os.mkfifo(home / f"pipe.{suffix}")
        (home / "up").symlink_to("..")
        (home / "folder.toml").mkdir()
        (home / "link.toml:own").write_text("its name ends as a reference to a set does\n")
        (home / "colon.toml").symlink_to("link.toml:own")
        (home / "chain.inc").symlink_to("chain2.inc")
        (home / "chain2.inc").symlink_to("up/home/up/secret.inc")
        (home / "points_link.txt").symlink_to(self.root / "points.txt")
        (home / "memory.inc").symlink_to("/proc/self/mem")

    def fill(self, data: bytes) -> bytes:
        """A case's file with the places of this world in it."""
        for name, path in (
            ("CANARY", self.canary), ("VICTIM", self.victim), ("EVIL", self.home / "evil"), ("HOME", self.home),
            ("OUTSIDE", self.root),
        ):  # fmt: skip
            data = data.replace(f"@{name}@".encode(), str(path).encode())
        return data

    def remember(self) -> None:
        """Take everything as it is now for what has to stay."""
        self.before = self._snapshot()

    def _snapshot(self) -> Snapshot:
        found: Snapshot = {}
        for folder, _, names in os.walk(self.root):
            for name in (*names, "."):
                path = os.path.join(folder, name)
                with suppress(FileNotFoundError):
                    status = os.lstat(path)
                    found[path] = (status.st_mode, status.st_size if name != "." else 0, status.st_mtime_ns)
        return found

    def damage(self) -> list[str]:
        """What has appeared, changed or gone since `remember`."""
        now = self._snapshot()
        if now == self.before:
            return []
        changed = {path for path in {*now, *self.before} if now.get(path) != self.before.get(path)}
        return [f"{Path(path).relative_to(self.root)} was made, changed or removed" for path in sorted(changed)][:5]

    def leaks(self, texts: Iterable[str], arrays: Iterable[NDArray[Any]] = ()) -> list[str]:
        """Where the secret came out."""
        found = [f"the secret is in {text[:80]!r}" for text in texts if self.token in text or str(NUMBER)[:10] in text]
        for array in arrays:
            values = np.abs(np.asarray(array).ravel())
            if values.size and np.any(np.abs(values - NUMBER) < 1e-9):
                found.append("the secret's number is in a waveform")
        return found

    def clear(self, kept: frozenset[str]) -> None:
        """Remove what a case has laid into ``home``: all but ``kept``."""
        for path in self.home.iterdir():
            if path.name not in kept:
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def resident_mb() -> float:
    """The largest memory that this process has had, in MB."""
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)
