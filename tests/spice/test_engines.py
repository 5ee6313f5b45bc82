"""The engines agree with each other and with closed forms, under one set of names."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from cosim.engines.simulator import Deck, Outcome, Result, Simulator

pytestmark = pytest.mark.spice

TAU = 1e-6
RC = """rc
V1 in 0 pulse(0 1 0 1n 1n 1 2)
R1 in out 1k
C1 out 0 1n
.tran 1n 5u 0 {step}
.options reltol=1e-7 abstol=1e-16 vntol=1e-10 chgtol=1e-20
"""
NGSPICES = ["pyspice", "ngspice"]


def at(result: Result, name: str, times: np.ndarray) -> np.ndarray:
    data = result["tran"]
    return np.interp(times, data["time"].values, data[name].values)


def ramp_response(times: np.ndarray, rise: float = 1e-9) -> np.ndarray:
    """v(out) of an RC driven by a linear ramp from 0 to 1 V within ``rise`` seconds."""

    def ramp(t: np.ndarray) -> np.ndarray:
        t = np.maximum(t, 0.0)
        return (t - TAU * -np.expm1(-t / TAU)) / rise

    return ramp(times) - ramp(times - rise)


@pytest.mark.parametrize("name", NGSPICES)
def test_rc_transient_is_the_closed_form(engine: Callable[[str], Simulator], name: str) -> None:
    result = engine(name).run(Deck(RC.format(step="1n"))).require()
    times = result["tran"]["time"].values
    # Trapezoidal rule with h = tau/1000: local error h^3/(12 tau^3) summed over tau/h steps is 1e-7 of the step.
    np.testing.assert_allclose(result["tran"]["v(out)"].values, ramp_response(times), atol=5e-7)


def test_the_two_ngspices_agree(engine: Callable[[str], Simulator]) -> None:
    first, second = (engine(name).run(Deck(RC.format(step="5n"))).require() for name in NGSPICES)
    times = np.linspace(0, 5e-6, 2001)
    for vector in ("v(in)", "v(out)", "i(v1)"):
        scale = np.abs(at(first, vector, times)).max()
        # The same equations solver in the same release; a raw file keeps all bits.
        np.testing.assert_allclose(at(first, vector, times), at(second, vector, times), atol=1e-6 * scale)


@pytest.mark.osdi
@pytest.mark.parametrize("name", ["pyspice", "ngspice", pytest.param("vacask", marks=pytest.mark.vacask)])
def test_verilog_a_rc_in_all_engines(engine: Callable[[str], Simulator], verilog_rc: Path, name: str) -> None:
    deck = Deck(
        """osdi rc
.param rr=500
V1 in 0 pulse(0 1 0 1n 1n 1 2)
N1 in 0 model1
X1 in cell r={2*rr}
.subckt cell p params: r=1
.model inner cosim_test_rc r={r} c=1n
N2 p 0 inner
.ends
.model model1 cosim_test_rc r=1k c=1n
.tran 1n 3u 0 2n
""",
        osdi=(verilog_rc,),
        options={"reltol": 1e-6, "vntol": 1e-9, "abstol": 1e-15},
        save=("v(in)", "i(v1)", "v(n1#state)", "v(n.x1.n2#state)"),
    )
    data = engine(name).run(deck).require()["tran"]
    assert {"v(n1#state)", "v(n.x1.n2#state)", "i(v1)"} <= set(data.data_vars)
    times = data["time"].values
    for vector in ("v(n1#state)", "v(n.x1.n2#state)"):
        # Steps of tau/500 and a local error limit of 1e-6: far below a thousandth.
        np.testing.assert_allclose(data[vector].values, ramp_response(times), atol=1e-4)
    current = -2e-3 * (1.0 - ramp_response(times))
    after = times > 2e-9  # the corner of the source
    np.testing.assert_allclose(data["i(v1)"].values[after], current[after], atol=1e-6)


@pytest.mark.parametrize("name", NGSPICES)
def test_all_analyses_have_names_units_and_order(engine: Callable[[str], Simulator], name: str) -> None:
    text = """many
V1 in 0 dc 1 ac 1
R1 in out 1k
C1 out 0 1n
X1 out sub
.subckt sub a
R2 a state 1k
V2 state 0 0
.ends
.op
.tran 10n 1u
.tran 10n 2u
.dc V1 0 1 0.25
.ac dec 5 1k 1meg
.meas tran level find v(out) at=0.5u
"""
    result = engine(name).run(Deck(text)).require()
    assert set(result.waveforms) == {"op", "tran", "tran2", "dc", "ac"}
    # Half of 1 V over two equal resistors; the capacitor is charged at the start. gmin (1e-12 S) is 1e-9 of 1 mS.
    assert result["op"]["v(out)"].item() == pytest.approx(0.5, rel=1e-6)
    assert result["op"]["i(v1)"].item() == pytest.approx(-0.5e-3, rel=1e-6)
    assert result["op"]["i(v.x1.v2)"].item() == pytest.approx(0.5e-3, rel=1e-6)
    assert result.measures["level"] == pytest.approx(0.5, rel=1e-6)
    assert result["tran"]["time"].values[-1] == pytest.approx(1e-6)
    assert result["tran2"]["time"].values[-1] == pytest.approx(2e-6)
    assert result["tran"]["time"].attrs["units"] == "s"
    assert result["tran"]["v(x1.state)"].attrs["units"] == "V"
    np.testing.assert_allclose(result["dc"]["sweep"].values, [0, 0.25, 0.5, 0.75, 1.0], atol=1e-12)
    np.testing.assert_allclose(result["dc"]["v(out)"].values, result["dc"]["sweep"].values / 2, atol=1e-6)
    ac = result["ac"]
    omega = 2j * np.pi * ac["frequency"].values
    np.testing.assert_allclose(ac["v(out)"].values, 1 / (2 + omega * 1e3 * 1e-9), rtol=1e-6)
    assert ac["v(out)"].dtype == np.complex128


@pytest.mark.parametrize("name", NGSPICES)
def test_save_keeps_the_named_vectors_also_inside_subcircuits(engine: Callable[[str], Simulator], name: str) -> None:
    text = "save\nV1 in 0 1\nX1 in cell\n.subckt cell p\nR1 p mid 1k\nR2 mid 0 1k\n.ends\n.tran 1n 10n\n"
    data = engine(name).run(Deck(text, save=("v(x1.mid)", "@r.x1.r1[i]"))).require()["tran"]
    assert set(data.data_vars) == {"v(x1.mid)", "@r.x1.r1[i]"}
    assert data["v(x1.mid)"].values[-1] == pytest.approx(0.5)
    assert data["@r.x1.r1[i]"].values[-1] == pytest.approx(0.5e-3)


def test_options_reach_the_engine(pyspice: Simulator) -> None:
    deck = Deck("temp\nV1 a 0 1\nR1 a 0 1k tc1=0.01\n.op\n")
    cold, warm = (pyspice.run(deck.with_options({"temp": t})).require()["op"]["i(v1)"].item() for t in (27, 37))
    assert cold / warm == pytest.approx(1.1, rel=1e-6)


def test_a_title_that_says_error_and_gmin_stepping_are_no_errors(pyspice: Simulator) -> None:
    text = "an error of a title\nI1 0 a 1n\nC1 a 0 1p\nD1 a 0 d\n.model d d\n.op\n"
    assert pyspice.run(Deck(text)).outcome is Outcome.CONVERGED


def test_random_numbers_do_not_depend_on_what_ran_before(engine: Callable[[str], Simulator]) -> None:
    deck = Deck("random\n.param r=agauss(1k,100,1)\nV1 a 0 1\nR1 a 0 {r}\n.op\n")
    drawn = [engine("pyspice").run(deck).require()["op"]["i(v1)"].item() for _ in range(3)]
    assert len(set(drawn)) == 1


def test_several_workers_serve_several_threads() -> None:
    from cosim.engines.registry import open_simulator

    def current(ohms: int) -> float:
        deck = Deck(f"threads\nV1 a 0 1\nR1 a 0 {ohms}\n.op\n")
        return float(simulator.run(deck).require()["op"]["i(v1)"].item())

    values = list(range(100, 124))
    with open_simulator("pyspice", workers=2) as simulator, ThreadPoolExecutor(4) as threads:
        assert list(threads.map(current, values)) == pytest.approx([-1 / ohms for ohms in values])
        assert len(simulator.pids()) == 2


@pytest.mark.slow
def test_memory_does_not_grow_over_two_hundred_runs() -> None:
    from cosim.engines.registry import open_simulator

    def resident(pid: int) -> int:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096

    deck = Deck(RC.format(step="2n"))
    with open_simulator("pyspice") as simulator:
        for _ in range(30):
            simulator.run(deck).require()
        (pid,) = simulator.pids()
        before = resident(pid)
        for _ in range(200):
            simulator.run(deck).require()
        assert simulator.pids() == [pid]
        # A circuit that is not removed costs 263 kB a run, 53 MB in all; the allocator's own play is below 4 MB.
        assert resident(pid) - before < 4 << 20


SPREAD = "spread\n{}\n.param r=agauss(1k,500,1)\nV1 a 0 1\nR1 a 0 {{r}}\n.op\n"


@pytest.mark.parametrize(("option", "seed"), [("", 1), ("", 12), (".options seed=7", None)])
def test_random_parameters_are_the_same_in_every_run(
    engine: Callable[[str], Simulator], option: str, seed: int | None
) -> None:
    """Bit for bit, in a resident process, in a new one and in the other engine: the seed is part of the deck."""
    deck = Deck(SPREAD.format(option), seed=seed)
    currents = [engine(name).run(deck)["op"]["i(v1)"].item() for name in ("pyspice", "ngspice") for _ in range(2)]
    assert len(set(currents)) == 1
    assert abs(currents[0] + 1e-3) > 1e-9  # drawn, not the nominal value
    other = engine("ngspice").run(Deck(SPREAD.format(""), seed=11))
    assert other["op"]["i(v1)"].item() != currents[0]


@pytest.mark.parametrize("value", ["random", "0", "-3", "{x}"])
def test_a_seed_that_differs_from_run_to_run_is_refused(pyspice: Simulator, value: str) -> None:
    result = pyspice.run(Deck(SPREAD.format(f".options seed={value}")))
    assert result.outcome is Outcome.REFUSED
    assert "seed" in result.reason
