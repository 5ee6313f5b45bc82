"""What holds for every test: benchmarks run alone, no test leaves the process changed, engines are opened once."""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import signal
import tempfile
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from cosim.engines.simulator import Simulator

# Before numpy is loaded: there is a process for each core, and the threads of each one's BLAS wait for each other (ten
# times the time where matrices are small). The command line does the same; a value that the user has set stays.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

# A shell that starts its jobs in the background ignores Ctrl-C for them; tests press it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _has_what_it_needs(request: pytest.FixtureRequest) -> None:
    """Skip a test whose package or tool is missing; a package is not imported, which could change the process."""
    for mark in request.node.iter_markers("needs"):
        if find_spec(mark.args[0]) is None:
            pytest.skip(f"the package {mark.args[0]} is not installed")
    if request.node.get_closest_marker("osdi") is not None:
        request.getfixturevalue("osdi")


@pytest.fixture(scope="session")
def osdi() -> None:
    """Skip what compiles Verilog-A for ngspice on a machine that cannot."""
    from cosim.engines.registry import probe_compiler, probe_osdi

    for probe in (probe_compiler(), probe_osdi()):
        if not probe.ok:
            pytest.skip(f"{probe.name}: {probe.found}; {probe.advice}")


@pytest.fixture(scope="session")
def _gates(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, int]]:
    """Two lock files that every process of this run shares: a turnstile, and the machine itself."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:  # each process has a folder below the run's own
        folder = folder.parent
    opened = [os.open(folder / name, os.O_RDWR | os.O_CREAT, 0o600) for name in ("turnstile", "machine")]
    yield opened[0], opened[1]
    for descriptor in opened:
        os.close(descriptor)


@pytest.fixture(autouse=True)
def _alone(request: pytest.FixtureRequest, _gates: tuple[int, int]) -> Iterator[None]:
    """A benchmark has the machine to itself: ratios of times measured beside other work are luck.

    Whoever waits for the machine stands in the turnstile, so that a benchmark is not overtaken for ever.
    """
    turnstile, machine = _gates
    kind = fcntl.LOCK_SH if request.node.get_closest_marker("benchmark") is None else fcntl.LOCK_EX
    fcntl.flock(turnstile, fcntl.LOCK_EX)
    fcntl.flock(machine, kind)
    fcntl.flock(turnstile, fcntl.LOCK_UN)
    yield
    fcntl.flock(machine, fcntl.LOCK_UN)


def _process() -> dict[str, object]:
    """What a test could leave behind that changes the ones after it."""
    return {
        **{f"variable {name}": value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"},
        **{f"signal {name.name}": signal.getsignal(name) for name in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD)},
        "start method": multiprocessing.get_start_method(allow_none=True) or multiprocessing.get_all_start_methods()[0],
        "working directory": Path.cwd(),
        "folder for temporary files": tempfile.gettempdir(),
    }


@pytest.fixture(autouse=True)
def _leaves_the_process_as_it_was() -> Iterator[None]:
    before = _process()
    yield
    after = _process()
    changed = [name for name in before.keys() | after.keys() if before.get(name) != after.get(name)]
    assert not changed, f"the test changed {', '.join(sorted(changed))}"


@pytest.fixture(scope="session")
def engine() -> Iterator[Callable[[str], Simulator]]:
    """Opens an engine by name, once; skips where the machine has none."""
    from cosim.engines.registry import open_simulator
    from cosim.errors import CosimError

    opened: dict[str, Simulator] = {}

    def get(name: str) -> Simulator:
        if name not in opened:
            try:
                opened[name] = open_simulator(name)
            except CosimError as error:
                pytest.skip(str(error))
        return opened[name]

    yield get
    for simulator in opened.values():
        simulator.close()


@pytest.fixture(scope="session")
def simulator(engine: Callable[[str], Simulator]) -> Simulator:
    """The default engine."""
    return engine("pyspice")


@pytest.fixture
def pyspice(engine: Callable[[str], Simulator]) -> Simulator:
    return engine("pyspice")
