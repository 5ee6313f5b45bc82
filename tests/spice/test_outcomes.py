"""Each way in which a run can end, and that the next case runs after it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cosim.engines.registry import open_simulator
from cosim.engines.simulator import Deck, Limits, Outcome, Result, Simulator
from cosim.errors import SimulationError
from cosim.language import hazards

pytestmark = pytest.mark.spice

GOOD = Deck("good\nV1 a 0 1\nR1 a 0 1k\n.tran 1n 10n\n")
# 1e13 steps: no machine gets there. One saved vector, so that memory is not what ends it.
ENDLESS = Deck("endless\nV1 a 0 sin(0 1 1g)\nR1 a b 1k\nC1 b 0 1p\n.save v(b)\n.tran 1p 10 0 1p\n")
# dv/dt = v^2 from 1 V: v is infinite at 1 s.
BLOW_UP = Deck("blow up\nB1 0 x i=v(x)*v(x)\nC1 x 0 1\n.ic v(x)=1\n.tran 1m 2\n")
SINGULAR = Deck("two sources\nV1 a 0 1\nV2 a 0 2\n.tran 1n 10n\n")


@pytest.fixture(params=["pyspice", "ngspice"])
def simulator(request: pytest.FixtureRequest, engine: Callable[[str], Simulator]) -> Iterator[Simulator]:
    """The engine; after the test it still runs the next case."""
    found = engine(request.param)
    yield found
    assert found.run(GOOD).outcome is Outcome.CONVERGED


def test_converged(simulator: Simulator) -> None:
    result = simulator.run(GOOD)
    assert result.ok
    assert result.reason == ""
    assert result.wall > 0


@pytest.mark.parametrize(
    ("deck", "reason"),
    [
        (BLOW_UP, r"the transient stopped at 0\.99\d* s of 2 s: Timestep too small.*trouble with node"),
        (SINGULAR, r"the \.tran analysis gave no result.*singular matrix at v\d#branch"),
    ],
    ids=["blow up", "singular"],
)
def test_not_converged_has_the_engines_reason(simulator: Simulator, deck: Deck, reason: str) -> None:
    result = simulator.run(deck)
    assert result.outcome is Outcome.NOT_CONVERGED
    assert not result.waveforms
    with pytest.raises(SimulationError, match=reason):
        result.require()


MISTAKES = {
    "undefined parameter": ("V1 a 0 1\nR1 a 0 {rload}\n.op\n", r"line 3: unknown parameter 'rload'"),
    "unknown subcircuit": ("V1 a 0 1\nX1 a 0 celll\n.subckt cell a b\nR1 a b 1\n.ends\n.op\n", r"line 3: .*cell\?"),
    "unknown model": ("V1 a 0 1\nD1 a 0 dx\n.op\n", r"line 3: unknown model 'dx'"),
    "short line": ("V1 a 0 1\nR1 a\n.op\n", r"line 3: R1 is incomplete"),
    "wrong node count": ("V1 a 0 1\nX1 a cell\n.subckt cell a b\nR1 a b 1\n.ends\n.op\n", r"line 3: X1 has 1 nodes"),
    "open subcircuit": ("V1 a 0 1\nX1 a 0 cell\n.subckt cell a b\nR1 a b 1\n.op\n", r"line 4: .*is not closed"),
    "bad expression": ("V1 a 0 1\nB1 a 0 i=v(a)*(1+\n.op\n", r"line 3"),
    "no analysis": ("V1 a 0 1\nR1 a 0 1\n", r"no analysis"),
    "control block": ("V1 a 0 1\n.control\nrun\n.endc\n.op\n", r"line 3: a \.control block is a program"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_refused_names_line_and_cause(simulator: Simulator, mistake: str) -> None:
    body, reason = MISTAKES[mistake]
    result = simulator.run(Deck("a mistake\n" + body))
    assert result.outcome is Outcome.REFUSED
    with pytest.raises(SimulationError, match=reason):
        result.require()


def test_a_mistake_in_an_included_file_is_named_there(simulator: Simulator, tmp_path: Path) -> None:
    (tmp_path / "cell.lib").write_text("* a cell\n.subckt cell a b\nR1 a b\n+ {gone}\n.ends\n")
    result = simulator.run(Deck('top\n.include "cell.lib"\nV1 a 0 1\nX1 a 0 cell\n.op\n', roots=(tmp_path,)))
    assert result.outcome is Outcome.REFUSED
    assert result.reason.startswith(f"{tmp_path / 'cell.lib'}:3: unknown parameter 'gone'")


def test_an_undefined_parameter_poisons_nothing(simulator: Simulator) -> None:
    poison = Deck("poison\nV1 a 0 1\nR1 a 0 {gone}\n.op\n")
    for _ in range(3):
        assert simulator.run(poison).outcome is Outcome.REFUSED
        assert simulator.run(GOOD).outcome is Outcome.CONVERGED


def test_an_endless_transient_is_stopped(simulator: Simulator) -> None:
    started = time.monotonic()
    result = simulator.run(ENDLESS, limits=Limits(wall=0.7))
    assert result.outcome is Outcome.TIMED_OUT
    assert "0.7 s" in result.reason
    assert time.monotonic() - started < 5  # start of a worker included, on a busy machine


def test_a_killed_worker_is_reported_and_replaced(simulator: Simulator) -> None:
    assert simulator.run(GOOD).ok
    (pid,) = simulator.pids()  # type: ignore[attr-defined]
    killer = threading.Timer(0.3, os.kill, (pid, signal.SIGKILL))
    killer.start()
    result = simulator.run(ENDLESS, limits=Limits(wall=20))
    killer.join()
    assert result.outcome is Outcome.CRASHED
    assert "signal 9" in result.reason


def test_a_worker_killed_between_runs_is_not_noticed(simulator: Simulator) -> None:
    assert simulator.run(GOOD).ok
    os.kill(simulator.pids()[0], signal.SIGKILL)  # type: ignore[attr-defined]
    assert simulator.run(GOOD).ok


def test_the_memory_limit_ends_a_run(simulator: Simulator) -> None:
    sources = "\n".join(f"V{i} n{i} 0 1" for i in range(2, 600))
    hungry = Deck(f"hungry\n{sources}\nV1 a 0 sin(0 1 1g)\n.tran 1p 10 0 1p\n")
    result = simulator.run(hungry, limits=Limits(wall=60, memory=500 << 20, file_size=50 << 20))
    assert result.outcome is Outcome.CRASHED
    assert "limit" in result.reason


def test_vacask_says_the_same_outcomes(engine: Callable[[str], Simulator]) -> None:
    vacask = engine("vacask")
    assert vacask.run(GOOD).outcome is Outcome.CONVERGED
    singular = vacask.run(SINGULAR)
    assert singular.outcome is Outcome.NOT_CONVERGED
    assert "zero pivot" in singular.reason
    refused = vacask.run(Deck("mos\nV1 a 0 1\nM1 a a 0 0 n\n.model n nmos\n.tran 1n 1u\n"))
    assert refused.outcome is Outcome.REFUSED
    assert refused.reason.startswith("line 3: VACASK cannot run this element")
    assert vacask.run(ENDLESS, limits=Limits(wall=0.7)).outcome is Outcome.TIMED_OUT
    assert vacask.run(GOOD).outcome is Outcome.CONVERGED


ORPHAN = """
import os, sys
from cosim.engines.registry import open_simulator
from cosim.engines.simulator import Deck, Limits
import threading, time
simulator = open_simulator({name!r})
simulator.run(Deck({good!r}))
threading.Thread(target=simulator.run, args=(Deck({endless!r}),), daemon=True).start()
time.sleep(0.3)
print(*simulator.pids(), flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("name", ["pyspice", "ngspice"])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT], ids=["kill", "ctrl-c"])
def test_no_process_and_no_folder_outlive_their_parent(
    engine: Callable[[str], Simulator], name: str, number: signal.Signals, tmp_path: Path
) -> None:
    engine(name)
    script = ORPHAN.format(name=name, good=GOOD.text, endless=ENDLESS.text)
    parent = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )  # fmt: skip
    assert parent.stdout is not None
    pids = [int(word) for word in parent.stdout.readline().split()]
    assert pids
    families = set(pids) | {child for pid in pids for child in _children(pid)}
    parent.send_signal(number)
    parent.wait(timeout=20)
    parent.stdout.close()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and (any(map(_alive, families)) or list(tmp_path.glob("cosim-*"))):
        time.sleep(0.05)
    assert not any(map(_alive, families))
    assert not list(tmp_path.glob("cosim-*"))


def _children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_closing_ends_workers_and_removes_scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with open_simulator("pyspice") as simulator:
        simulator.run(GOOD).require()
        (pid,) = simulator.pids()
        assert list(tmp_path.glob("cosim-*"))
    assert not _alive(pid)
    assert not list(tmp_path.glob("cosim-*"))


def test_the_process_that_holds_an_engine_has_no_thread_beside_it(pyspice: Simulator) -> None:
    """Confinement is each thread's own: a second one would keep rights that the engine's code could use."""
    assert pyspice.run(GOOD).ok
    for pid in pyspice.pids():  # type: ignore[attr-defined]
        assert len(list(Path(f"/proc/{pid}/task").iterdir())) == 1


FAMILIES = Deck(
    "families\nV1 d 0 1\nVg g 0 pulse(0 1.5 0 1n 1n 20n 50n)\nM1 d g s 0 n w=1u l=0.2u\nRs s 0 10k\nCs s 0 10f\n"
    ".model n nmos level=1 vto=0.4 kp=1e-4\nD1 s 0 dd\n.model dd d is=1e-14\n.tran 0.5n 50n\n"
)
VALUES = {"method": "gear", "temp": "100", "tnom": "80", "seed": "5", "maxord": "4", "klu": "", "savecurrents": ""}


def _same(one: Result, other: Result) -> bool:
    return one["tran"].identical(other["tran"])


def test_no_option_stays_for_the_next_deck(pyspice: Simulator) -> None:
    """Clean, option, clean: the second clean run equals the first bit for bit, whatever was between."""
    clean = pyspice.run(FAMILIES)
    contaminated = []
    for name in sorted(hazards.PASSING_OPTIONS):
        pyspice.run(FAMILIES.with_options({name: VALUES.get(name, 0.1)}), limits=Limits(wall=10))
        if not _same(pyspice.run(FAMILIES), clean):
            contaminated.append(name)
    assert not contaminated


@pytest.mark.parametrize(("name", "value"), [("interp", ""), ("cshunt", 1e-12), ("rshunt", 1e6), ("xmu", 0.3)])
def test_an_option_that_could_stay_ends_its_process(pyspice: Simulator, name: str, value: float | str) -> None:
    clean = pyspice.run(FAMILIES)
    (before,) = pyspice.pids()  # type: ignore[attr-defined]
    assert pyspice.run(FAMILIES.with_options({name: value})).ok
    assert _same(pyspice.run(FAMILIES), clean)
    assert pyspice.pids() != [before]  # type: ignore[attr-defined]


def test_the_outcome_does_not_depend_on_the_modules_that_ran_before(pyspice: Simulator, verilog_rc: Path) -> None:
    undeclared = Deck("module\nV1 a 0 1\nN1 a 0 m\n.model m cosim_test_rc\n.tran 1n 10n\n")
    declared = Deck(undeclared.text, osdi=(verilog_rc,))
    before = pyspice.run(undeclared)
    assert before.outcome is Outcome.REFUSED
    assert pyspice.run(declared).ok
    after = pyspice.run(undeclared)
    assert (after.outcome, after.reason) == (before.outcome, before.reason)
    assert pyspice.run(declared).ok
    pids = pyspice.pids()  # type: ignore[attr-defined]
    assert pyspice.run(GOOD).ok  # names no module, and needs no new process
    assert pyspice.pids() == pids  # type: ignore[attr-defined]
