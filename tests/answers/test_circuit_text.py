"""What a bench writes into its circuit means there what it says, and a map's digest identifies what was written."""

from __future__ import annotations

from pathlib import Path

import pytest

from cosim.bench.events import BenchMap
from cosim.bench.rows import filled
from cosim.bench.testbench import Testbench
from cosim.engines.registry import open_simulator


@pytest.mark.parametrize(
    ("line", "written"),
    [
        ("B1 a 0 V={{device.m.v}**2}", "B1 a 0 V={(-1.9)**2}"),
        ("B1 a 0 V={device.m.v}**2", "B1 a 0 V=(-1.9)**2"),
        ("R1 a 0 '2-{device.m.v}'", "R1 a 0 '2-(-1.9)'"),
        (".param x=3-{device.m.v} y={device.m.v}*{device.m.v}", ".param x=3-(-1.9) y=(-1.9)*(-1.9)"),
        ("X1 a 0 s p={2*\n+ {device.m.v}^2} q={device.m.v}", "X1 a 0 s p={2*\n+ (-1.9)^2} q=-1.9"),
        ("R1 a 0 {device.m.v}", "R1 a 0 -1.9"),
        ("X1 in+ in- s p={device.m.v}\n+ {device.m.v}", "X1 in+ in- s p=-1.9\n+ -1.9"),
        ("V1 a 0 {x} {device.m.v} $ it's\n+ ac {device.m.v}", "V1 a 0 {x} -1.9 $ it's\n+ ac -1.9"),
    ],
)
def test_a_negative_value_in_an_expression(line: str, written: str) -> None:
    assert filled(line, lambda kind, name: "-1.9")[0] == written
    assert filled(line, lambda kind, name: "1.9")[0] == written.replace("(-1.9)", "@").replace("-1.9", "@").replace(
        "@", "1.9"
    )


@pytest.mark.spice
def test_the_engine_reads_it_so(tmp_path: Path) -> None:
    (tmp_path / "m.toml").write_text('device = "vteam"\n[sets.m.values]\nv_on = "-1.9 V"\n')
    (tmp_path / "b.toml").write_text(
        'title = "signs"\ncircuit = """\n.param half={2+{device.m.v_on}/2}\nB1 a 0 V={{device.m.v_on}**2}\n'
        "B2 b 0 V={device.m.v_on}**2\nV3 c 0 {device.m.v_on}\nV4 d 0 {half}\nR1 a 0 1k\nR2 b 0 1k\nR3 c 0 1k\n"
        'R4 d 0 1k\n"""\ndevices = { m = { parameters = "m.toml" } }\nanalysis = { kind = "op" }\n'
        'save = ["v(a)", "v(b)", "v(c)", "v(d)"]\n'
    )
    with open_simulator() as simulator:
        run = Testbench.load(tmp_path / "b.toml").run(simulator).runs[0]
    assert run.result.ok, run.result.reason
    found = [float(run.result["op"][f"v({node})"].values.ravel()[0]) for node in "abcd"]
    assert found == pytest.approx([3.61, 3.61, -1.9, 1.05], rel=1e-9)


CELL = """
title = "cell"
netlist = "cell.inc"
circuit = '''
Xc bl wl cell w0={w0}
Vbl bl 0 {stimulus.bl}
Vwl wl 0 {v_wl}
'''
parameters = { w0 = 0.5, v_wl = "3.3 V" }
devices = { memristor = { parameters = "threshold_memristor:tio2" } }
analysis = { kind = "tran", stimulus = "bl", max_step = "20 ns" }
[stimuli.bl]
kind = "pulses"
amplitudes = ["1 V"]
shape = { width = "200 ns", rise = "5 ns", fall = "5 ns" }
[options]
reltol = 1e-4
[measures.state]
kind = "final"
of = "v(xc.xm.w)"
unit = "1"
[maps.pulse]
inputs.amplitude = { stimulus = "bl", range = ["-2 V", "2 V"] }
states.w = { parameter = "w0", measure = "state", range = [0, 1] }
fixed.gate = "v_wl"
"""
NETLIST = """
.subckt cell bl wl w0=0.5
Xm bl mid memristor w0={w0}
S1 mid 0 wl 0 sw
.model sw sw vt=1 ron=1k
.ends
"""


def digest_of(folder: Path, old: str = "", new: str = "", *, netlist: str = NETLIST) -> str:
    folder.mkdir(exist_ok=True)
    assert old in CELL
    (folder / "cell.inc").write_text(netlist)
    (folder / "cell.toml").write_text(CELL.replace(old, new) if old else CELL)
    return BenchMap.load(Testbench.load(folder / "cell.toml")).digest()


def test_a_digest_is_of_all_that_decides_the_answers(tmp_path: Path) -> None:
    first = digest_of(tmp_path / "a")
    changes = [
        ('v_wl = "3.3 V"', 'v_wl = "3.2 V"'), ('width = "200 ns"', 'width = "100 ns"'),
        ("reltol = 1e-4", "reltol = 1e-5"), ('kind = "final"', 'kind = "max"'), ("threshold_memristor:tio2", "hfo2"),
        ("max_step = \"20 ns\"", "max_step = \"10 ns\""),
    ]  # fmt: skip
    digests = [digest_of(tmp_path / "a", old, new) for old, new in changes]
    digests.append(digest_of(tmp_path / "a", netlist=NETLIST.replace("ron=1k", "ron=2k")))
    assert len({first, *digests}) == len(digests) + 1
    assert digest_of(tmp_path / "elsewhere") == first
    # the events' own values, and what a pulse of the bench itself would be
    assert digest_of(tmp_path / "a", "w0 = 0.5", "w0 = 0.4") == first
    assert digest_of(tmp_path / "a", 'amplitudes = ["1 V"]', 'amplitudes = ["2 V", "1 V"]') == first


def test_what_is_held_fixed_counts() -> None:
    pulse = BenchMap.load("1t1r_random_pulses")
    assert pulse.with_(fixed={"width": 1e-7}).digest() != pulse.digest() == pulse.with_(fixed=pulse.fixed).digest()
