"""Nothing of the user's environment reaches an engine: no token, no home, no folder for modules."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from cosim.engines.library import find_libngspice
from cosim.engines.worker.pool import Pool, Worker

KNOWN = {
    "HOME", "TMPDIR", "LANG", "LC_ALL", "TERM", "PATH", "LD_LIBRARY_PATH", "SPICE_LIB_DIR", "SPICE_EXEC_DIR",
    "SPICE_SCRIPTS", "NGSPICE_LIBRARY_PATH", "OMP_THREAD_LIMIT", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS",
    "PYTHONDONTWRITEBYTECODE", "PYTHONUTF8", "PYTHONPATH", "NGSPICE_MEAS_PRECISION", "LC_CTYPE",
    "GLIBC_TUNABLES",
}  # fmt: skip
SECRETS = {
    "GITHUB_TOKEN": "hush1", "AWS_SECRET_ACCESS_KEY": "hush2", "SSH_AUTH_SOCK": "/hush3", "HOME": "/hush4",
    "XDG_CONFIG_HOME": "/hush5", "PYTHONSTARTUP": "/hush6", "LD_PRELOAD": "", "NGSPICE_INPUT_DIR": "/hush7",
    "http_proxy": "hush8", "COSIM_DATA": "/hush9", "TMP": "/hush10", "BASH_ENV": "/hush11",
    "GLIBC_TUNABLES": "hush12",
}  # fmt: skip


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize("kind", ["library", "command"])
def test_the_environment_of_a_worker(kind: str) -> None:
    library = find_libngspice()
    if library is None:
        pytest.skip("no libngspice on this machine")
    worker = Worker(kind, environment={"NGSPICE_LIBRARY_PATH": library})  # type: ignore[arg-type]
    try:
        text = Path(f"/proc/{worker.pid}/environ").read_text()
        scratch = str(worker.scratch)
    finally:
        worker.close()
    given = dict(entry.split("=", 1) for entry in text.split("\0") if entry)
    assert "hush" not in text
    assert set(given) <= KNOWN
    assert given["HOME"] == given["TMPDIR"] == scratch


def test_the_environment_of_a_program() -> None:
    pool = Pool("command")
    try:
        job = {"argv": ["/usr/bin/env"], "files": {}, "memory": 1 << 30, "file_size": 1 << 20}
        with pool.run(job, wall=30.0) as answer:
            assert (answer.status, answer.code) == ("done", 0), answer.log
            given = dict(text.split("=", 1) for _, text in answer.log)
            folder = str(answer.scratch)
    finally:
        pool.close()
    assert not any("hush" in value for value in given.values())
    assert set(given) <= KNOWN - {"PYTHONPATH"}
    assert given["HOME"] == given["TMPDIR"] == folder


def test_no_module_is_taken_from_the_folder_that_an_engine_writes_in() -> None:
    pool = Pool("command")
    try:
        job = {"argv": ["/bin/echo", "x"], "files": {}, "memory": 1 << 30, "file_size": 1 << 20}
        with pool.run(job, wall=30.0) as answer:
            assert answer.code == 0
            assert answer.scratch is not None
            scratch = answer.scratch.parent
        worker = Path(f"/proc/{pool.pids()[0]}/cmdline").read_text().split("\0")
        assert "-P" in worker, "without it the working directory, which is the scratch folder, is searched first"
        assert worker[worker.index("--scratch") + 1] == str(scratch)
    finally:
        pool.close()


PARENT = """
import sys
from pathlib import Path
from cosim.engines.registry import open_simulator
from cosim.engines.simulator import Deck
with open_simulator("pyspice") as simulator:
    simulator.run(Deck("x\\nV1 a 0 1\\nR1 a 0 1k\\n.op\\n")).require()
    maps = Path("/proc/self/maps").read_text()
    print("ngspice" in maps, "PySpice.Spice.NgSpice.Shared" in sys.modules)
"""


@pytest.mark.spice
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_the_parent_never_loads_the_engine() -> None:
    if find_libngspice() is None:
        pytest.skip("no libngspice on this machine")
    answer = subprocess.run([sys.executable, "-c", PARENT], capture_output=True, text=True, timeout=120, check=True)
    assert answer.stdout.split() == ["False", "False"]
