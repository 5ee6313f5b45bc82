"""Event maps of benches in ngspice: against closed forms, against themselves, and as references of surrogates."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from cosim.bench.events import BenchMap
from cosim.bench.testbench import Testbench
from cosim.cli.app import main
from cosim.cli.surrogate_common import UNSEEN
from cosim.engines.simulator import Simulator
from cosim.errors import InputError
from cosim.resources import listing

pytestmark = pytest.mark.spice
RC = """title = "RC"
circuit = '''
V1 in 0 {v}
R1 in out {r}
C1 out 0 1n
.ic v(out)={start}
'''
[parameters]
v = "1 V"
r = "1 kOhm"
start = "0 V"
[analysis]
kind = "tran"
stop = "1 us"
max_step = "5 ns"
[analysis.sweep]
v = ["1 V", "2 V"]
[measures.last]
kind = "final"
of = "v(out)"
unit = "mV"
[measures.gone]
kind = "crossing"
of = "v(out)"
level = "0.5 V"
unit = "ns"
[measures.five]
kind = "at"
of = "v(out)"
at = ["0 s", "1 us"]
unit = "V"
[maps.charge]
inputs.v = { parameter = "v", range = ["-2 V", "2 V"] }
states.out = { parameter = "start", measure = "last", range = ["-2 V", "2 V"] }
outputs.delay = "gone"
fixed.resistance = "r"
[maps.twice]
inputs.v = { parameter = "v", range = ["-2 V", "2 V"] }
outputs.both = "five"
"""


@pytest.fixture
def rc(tmp_path: Path) -> Testbench:
    (tmp_path / "rc.toml").write_text(RC)
    return Testbench.load(tmp_path / "rc.toml")


def events(**columns: object) -> xr.Dataset:
    return xr.Dataset({name: x if isinstance(x, float) else ("event", np.array(x)) for name, x in columns.items()})


@pytest.mark.parametrize("resistance", [1e3, 2e3])
def test_events_follow_the_closed_form(resistance: float, rc: Testbench, simulator: Simulator) -> None:
    v, start = np.array([1.0, 0.2, 2.0, -1.0]), np.array([0.0, 0.1, -0.2, 0.3])
    found = BenchMap.load(rc, "charge").with_(fixed={"resistance": resistance})
    answer = found.respond(events(v=v, out_before=start), simulator)
    left = np.exp(-1e-6 / (resistance * 1e-9))
    # those that never come to 0.5 V are absent, each with its reason
    there = answer["event"].values
    assert there.tolist() == ([0, 2] if resistance == 1e3 else [2])
    assert sorted([*there, *answer["failed"].values]) == [0, 1, 2, 3]
    assert all("crosses 0.5 0 times" in why for why in answer["reason"].values)
    # ngspice at reltol 1e-4 and steps of 5 ns
    np.testing.assert_allclose(answer["out"], (v + (start - v) * left)[there], atol=1e-3)
    delay = -np.log((0.5 - v[there]) / (start - v)[there]) * resistance * 1e-9
    np.testing.assert_allclose(answer["delay"], delay, atol=1e-9)
    assert (answer["out"].attrs["units"], answer["delay"].attrs["units"]) == ("V", "s")


def test_a_measure_with_several_values_is_an_error(rc: Testbench, simulator: Simulator) -> None:
    with pytest.raises(InputError, match="measure 'five' of bench rc has 2 values for 1 event of the map 'twice'"):
        BenchMap.load(rc, "twice").respond(events(v=[1.0]), simulator)


SHIPPED = [
    (path.stem, name) for path in listing("netlists", ".toml") for name in Testbench.load(path).file.maps
]  # fmt: skip


def test_maps_are_shipped_of_a_cell_of_each_kind() -> None:
    assert {("1t1r_random_pulses", "pulse"), ("1t1h1m_phases", "frame"), ("stc_spike_pair", "pair")} <= set(SHIPPED)


@pytest.mark.parametrize(("bench", "name"), SHIPPED)
def test_shipped_maps_answer_in_their_ranges(bench: str, name: str, simulator: Simulator) -> None:
    found = BenchMap.load(bench, name)
    columns = {**found.inputs, **{f"{key}_before": entry for key, entry in found.states.items()}}
    shares = np.array([0.25, 0.6])
    asked = events(**{key: entry.range[0] + shares * entry.span for key, entry in columns.items()})
    answer = found.respond(asked, simulator)
    assert answer.sizes == {"event": 2, "failed": 0}, answer["reason"].values
    for key, entry in {**found.states, **found.outputs}.items():
        assert answer[key].attrs["units"] == entry.unit
        assert np.all(np.isfinite(answer[key].values))
    # every field tells: another input, other states
    assert all(answer[key].values[0] != answer[key].values[1] for key in {**found.states, **found.outputs})


def test_the_state_is_where_it_is_put(simulator: Simulator) -> None:
    """The three states of a 1T-1H-1M cell without drive: the filament keeps, the rises fall by their time constants."""
    found = BenchMap.load("1t1h1m_phases")
    start = {"w_before": [0.2, 0.8], "rise_fast_before": [0.0, 10.0], "rise_slow_before": [10.0, 0.0]}
    answer = found.respond(events(v_max=[0.1, 0.1], v_write=[1.6, 1.6], **start), simulator)
    cold = found.respond(
        events(v_max=[0.1], v_write=[1.6], w_before=[0.2], rise_fast_before=[0.0], rise_slow_before=[0.0]), simulator
    )
    p = found.bench.sets["reram"].resolved()
    warmer = float(answer["rise_slow"][0] - cold["rise_slow"][0])
    stop = found.bench.file.plan["analysis"].stop
    # the thermal node is left open, so that only the slow pole's own resistance cools it
    assert warmer == pytest.approx(10.0 * np.exp(-stop / float(p["tau_slow"])), rel=0.02)
    assert float(answer["rise_fast"][1]) < 1e-3  # 176 time constants later
    np.testing.assert_allclose(answer["w"], [0.2, 0.8], atol=0.05)


def test_a_train_is_its_pulses_one_by_one(simulator: Simulator) -> None:
    found = BenchMap.load("1t1r_random_pulses")
    amplitudes = [-2.2, -1.8, 2.0, 2.4, -2.0]
    train = found.respond(events(amplitude=amplitudes, w_before=0.4), simulator)
    before = [0.4, *train["w"].values[:-1]]
    alone = found.respond(events(amplitude=amplitudes, w_before=before), simulator)
    for name in ("w", "energy"):
        # a simulation each: the tolerances follow the state to 1e-4 of its range
        np.testing.assert_allclose(alone[name], train[name], atol=5e-4 * float(np.max(np.abs(train[name]))))


def test_reads_are_left_out_unless_they_are_asked_for(tmp_path: Path) -> None:
    bench = Testbench.load("1t1r_random_pulses")
    assert bench.train("bl").read_voltage == 0.2
    assert BenchMap.load(bench).bench.train("bl").read_voltage == 0.0
    main(["benches", "copy", "1t1r_random_pulses", str(tmp_path)])
    file = tmp_path / "1t1r_random_pulses.toml"
    file.write_text(file.read_text() + 'outputs.conductance = "conductance"\n')
    assert BenchMap.load(Testbench.load(file)).bench.train("bl").read_voltage == 0.2


VTEAM = """title = "VTEAM under one pulse"
circuit = '''
V1 in 0 PULSE(0 {v} 0 {rise} {fall} {width} 1)
Xm in 0 memristor x0={x0}
'''
[parameters]
v = "0.1 V"
rise = "1 ns"
fall = "1 ns"
width = "30 ns"
x0 = 0.5
[devices.memristor]
parameters = "vteam_2015"
[analysis]
kind = "tran"
stop = "40 ns"
max_step = "0.5 ns"
[measures.x]
kind = "final"
of = "v(xm.x)"
[measures.energy]
kind = "energy"
voltage = "v(in)"
current = "i(v1)"
unit = "J"
[maps.write]
DEVICEinputs.amplitude = { parameter = "v", range = ["-0.2 V", "0.2 V"] }
states.x = { parameter = "x0", measure = "x", range = [0, 1] }
outputs.energy = "energy"
fixed = { rise = "rise", fall = "fall", width = "width" }
"""


def test_any_device_is_certified_against_a_bench(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bench, file = tmp_path / "mine.toml", tmp_path / "vteam.npz"
    bench.write_text(VTEAM.replace("DEVICE", 'device = "memristor"\n'))
    train = ["surrogate", "train", "--parameters", "vteam_2015", "--against", str(bench), "--pulses", "60"]
    assert main([*train, "-o", str(file)]) == 0
    out = capsys.readouterr().out
    assert "map pulse on mine with the surrogate's own parameter set vteam_2015" in out
    assert "amplitude -0.2..0.2 V" in out  # the bench's range: the device's own is wider
    assert main(["surrogate", "check", str(file), "--against", str(bench), "--pulses", "60", "--json"]) in (0, UNSEEN)
    check = json.loads(capsys.readouterr().out)["check"]
    # the same equations in another integrator; ngspice's own error in a state is 1e-4 a pulse
    assert check["errors"]["x"]["max"] < 2e-3
    assert check["extraction"] == "not included"
    # without a device in the map its circuit is what it is: the surrogate's set does not go into it
    bench.write_text(VTEAM.replace("DEVICE", ""))
    main(["surrogate", "check", str(file), "--against", str(bench), "--pulses", "60", "--json"])
    check = json.loads(capsys.readouterr().out)["check"]
    assert (check["extraction"], check["reference"]) == ("included", "map pulse on the circuit of mine")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["tio2", "--against", "1t1r_random_pulse"], "did you mean 1t1r_random_pulses or memristor_r"),
        (["tio2", "--against", "1t1r_write"], "bench 1t1r_write has no event map"),
        (["tio2", "--against", "1t1h1m_phases"], "no map with the fields of threshold_memristor's pulse"),
        (["tio2", "--against", "1t1r_random_pulses", "--span=-4", "4"], "outside -3.5..3.5 V, its range in"),
        (["stanford_1_0_0", "--against", "mine.toml"], "memristor of bench mine is a vteam, and stanford_1_0_0 is"),
    ],
)  # fmt: skip
def test_what_no_bench_answers(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.toml").write_text(VTEAM.replace("DEVICE", 'device = "memristor"\n'))
    code = main(["surrogate", "train", "-o", "a.npz", "--pulses", "60", "--parameters", *words])
    assert code == (1 if "outside" in message else 2)
    assert message in capsys.readouterr().err
