"""The claim on mutations: which numbers are made wrong where, and what counts as moved."""

from pathlib import Path

import numpy as np
import pytest

from claims.mutations import Answer, circuits, instances, judged, moved, numbers, published
from cosim.bench.measured import Measured
from cosim.bench.testbench import Testbench

NETLIST = """* two levels
.subckt outer a b params: r=1k unused=2 v=-5m
Xi a b inner c=3p
R1 a b {r}
V1 a b {v}
.ends outer
.subckt inner a b params: c=1p l=2n
+ k=4
C1 a b {c}
.ends inner
.subckt never a b params: r=7
R1 a b {r}
.ends never
"""

BENCH = """
title = "two levels"
netlist = "levels.cir"
circuit = '''
V1 a 0 1
Xo a 0 outer r={r}
+ unused=1
Xm a 0 memristor w0={device.memristor.w0} theta_p=1.5
'''
[parameters]
r = "2 kOhm"
[devices.memristor]
parameters = "threshold_memristor:tio2"
[devices.idle]
parameters = "threshold_memristor:hfo2"
[from_devices]
theta = "idle.theta_p"
[analysis]
kind = "op"
[measures.i]
kind = "final"
of = "i(v1)"
[limits]
i = { max = 1, origin = "our choice", reason = "any" }
"""


@pytest.fixture
def bench(tmp_path: Path) -> Testbench:
    (tmp_path / "levels.cir").write_text(NETLIST)
    (tmp_path / "levels.toml").write_text(BENCH)
    return Testbench.load(tmp_path / "levels.toml")


def test_what_instances_are_given(bench: Testbench) -> None:
    assert instances(bench) == {
        "outer": [frozenset({"r", "unused"})],
        "inner": [frozenset({"c"})],
        "memristor": [frozenset({"w0", "theta_p"})],
    }


def test_numbers_of_netlists_that_an_instance_takes(bench: Testbench, tmp_path: Path) -> None:
    wrong = dict(circuits(bench, tmp_path))
    # r, unused and c are given, never is not instantiated
    assert wrong.keys() == {"levels.outer.v", "levels.inner.l", "levels.inner.k"}
    text = (wrong["levels.outer.v"](bench).folder / "levels.cir").read_text()
    assert text == NETLIST.replace("v=-5m", "v=-6m")


def test_numbers_of_sets_that_the_bench_takes(bench: Testbench) -> None:
    wrong = dict(numbers(bench))
    assert "threshold_memristor:hfo2.theta_p" in wrong  # taken by name; nothing else of a device without an instance
    assert [name for name in wrong if name.startswith("threshold_memristor:hfo2.")] == [
        "threshold_memristor:hfo2.theta_p"
    ]
    assert "threshold_memristor:tio2.theta_n" in wrong
    assert "threshold_memristor:tio2.theta_p" not in wrong  # each instance is given another
    changed = wrong["threshold_memristor:tio2.theta_n"](bench).sets["memristor"].resolved()
    assert changed["theta_n"] == pytest.approx(1.2 * bench.sets["memristor"].resolved()["theta_n"])


@pytest.mark.parametrize(
    ("kind", "bounds", "before", "after", "is_moved"),
    [
        ("final", (None, 10.0), 1.0, 1.01, False),
        ("final", (None, 10.0), 1.0, 1.03, True),  # a loose limit makes no difference
        ("final", (0.5, 1.5), 1.0, 1.03, True),
        ("deviation", (None, 0.03), 0.010, 0.0105, False),  # below 3 %: not claimed to 2 % of itself
        ("deviation", (None, 0.03), 0.010, 0.0107, True),
        ("final", (None, 0.03), 0.010, 0.0105, True),
        ("final", (-0.03, 0.03), 0.010, 0.0105, False),  # a difference
        ("final", (-0.03, 0.03), 0.010, 0.0107, True),
        ("final", (None, 1e-4), 1e-15, -1e-15, False),
        ("r-squared", (0.99, None), 0.9990, 0.9989, False),
        ("r-squared", (0.99, None), 0.9990, 0.9987, True),  # of the 0.01 that it may lack
        ("final", (None, 1.0), 0.5, float("nan"), True),
    ],
)
def test_moved(
    kind: str, bounds: tuple[float | None, float | None], before: float, after: float, is_moved: bool
) -> None:
    low, high = bounds

    def said(value: float) -> Answer:
        return judged({"x": Measured(np.array([value]), "1", low=low, high=high)}, {"x": kind})

    assert moved(said(before), said(after)) is is_moved
    assert moved(said(before), Answer())  # a measure that cannot be made any more


def test_published_is_what_a_publication_states() -> None:
    stated = published(Testbench.load("vdsp_update"))
    assert {"threshold_memristor:tio2.theta_p", "threshold_memristor:tio2.scale_d"} <= stated
    assert "threshold_memristor:tio2.g_max" not in stated  # our choice
    assert not published(Testbench.load("1t1h1m_energy"))  # a fit and a solution of ours
