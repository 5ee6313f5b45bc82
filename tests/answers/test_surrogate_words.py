"""What making and checking a surrogate says, and what it refuses before the work: its own equations by scipy."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from cosim.bench.testbench import Testbench
from cosim.cli.app import main
from cosim.cli.surrogate_common import UNSEEN, narrower
from cosim.devices.base import Values
from cosim.engines.simulator import Simulator
from cosim.errors import DomainError, InputError
from cosim.parameters import ParameterSet
from cosim.report.surrogate_figures import plot_error, plot_parity
from cosim.surrogate.base import Domain, require_inside
from cosim.surrogate.bench_reference import BenchReference
from cosim.surrogate.certify import HeldOutEvents
from cosim.surrogate.files import load
from cosim.surrogate.model import Surrogate

TRAIN = ("surrogate", "train", "--against", "integration", "--pulses", "60", "-o", "a.npz")
STRANGE = (
    "tio2 is a set of threshold_memristor, which is neither vteam nor a part of it; take a set of vteam, e.g. vteam"
)
BENCH = """title = "a pulse"
circuit = '''
V1 in 0 PULSE(0 {v} 0 1n 1n {width} 1)
Xm in 0 memristor x0={x0}
'''
[parameters]
v = "0.1 V"
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
[measures.spent]
kind = "energy"
voltage = "v(in)"
current = "i(v1)"
unit = "J"
[maps.write]
device = "memristor"
inputs.amplitude = { parameter = "v", range = ["-0.2 V", "0.2 V"] }
states.STATE = { parameter = "x0", measure = "x", range = [0, 1] }
outputs.OUTPUT = "spent"
"""


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--parameters", "tio2", "--device", "vteam"], STRANGE),
        (["--parameters", "vteam_2015", "--reference", "tio2"], STRANGE),
        (["--figure", "o.xyz"], "o.xyz is not a .png, .svg, .pdf file; name it e.g. figure.png"),
        (["--figure", "no/o.png"], "there is no folder no for o.png; make it, or choose another"),
        (["-o", "no/x.npz"], "there is no folder no for x.npz; make it, or choose another"),
        (["-o", "x.txt"], "x.txt is not a .npz file; name it e.g. cell.npz"),
        (["--width", "200"], "--width 200 is 200 s, more than 1000 times the 200 ns of a pulse of"),
        (["--width", "200"], "write its unit, e.g. --width '200 ns'"),
        (["--parameters", "vteam_2015", "--width", "3e4"], "write its unit, e.g. --width '3e4 ps'"),
        (["--span", "2.5", "-2.5"], "--span 2.5 -2.5 is empty; write the lower end first"),
        (["--span", "0", "2"], "0..2 V has one sign, and a cell is moved by both; give both signs, e.g. -2 V to 2 V"),
        (
            ["--parameters", "slow", "--span", "-2", "2"],
            "--span is of the amplitude of pulses, and the map spike of ecram",
        ),
        (["--limit", "state=5"], "the limit of state is 5, which is 500 % of full scale; write 5%"),
    ],
)
def test_what_train_refuses_before_the_work(
    words: list[str], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("cosim.surrogate.references.Equations.respond", None)
    assert main([*TRAIN, *words]) == 2
    assert sentence in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "words",
    [
        ["fit", "missing.toml", "--figure", "o.xyz"],
        ["fit", "missing.toml", "-o", "o.txt"],
        ["fit", "missing.toml", "-o", "no/o.toml"],
        ["heat", "--figure", "o.xyz"],
        ["surrogate", "check", "missing.npz", "--figure", "o.xyz"],
    ],
)
def test_every_verb_looks_at_its_outputs_first(
    words: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    said = capsys.readouterr().err
    assert words[-1] in said or "there is no folder no" in said
    assert "missing" not in said


@pytest.mark.parametrize(
    ("of", "to", "values"),
    [
        ("tio2", "cell_1t1r", {"theta_p"}),
        ("cell", "threshold_memristor", {"theta_p"}),
        ("cell", "access_transistor", set()),
    ],
)
def test_a_part_and_its_whole_share_a_set(of: str, to: str, values: set[str]) -> None:
    tio2 = ParameterSet.load("tio2")
    given = tio2 if of == "tio2" else tio2.for_device("cell_1t1r")
    assert values <= given.for_device(to).values.keys()


@pytest.mark.parametrize("to", ["vteam", "ecram", "thermal_reram", "access_transistor", "stc_equations"])
def test_a_strange_set_is_refused(to: str) -> None:
    with pytest.raises(InputError, match=f"neither {to} nor a part of it"):
        ParameterSet.load("tio2").for_device(to)
    with pytest.raises(InputError, match=f"neither {to} nor a part of it"):
        ParameterSet(to, "mine", {}).for_device(to, others=[ParameterSet.load("tio2")])


@pytest.mark.parametrize(
    ("value", "allowed", "unit", "sentence"),
    [
        (1.0, (-0.5, 0.5), "V", "u = 1 V is outside the certified -0.5..0.5 V"),
        (2.0, (0.0, 1.0), "1", "u = 2 is outside the certified 0..1"),
        (1.0, (0.0, 0.5), "1", "u = 1 is outside the certified 0..0.5"),
        (0.5, (-0.0, 0.4), "1", "u = 0.5 is outside the certified 0..0.4"),
        (0.40000001, (0.0, 0.4), "1", "u = 0.40000001 is outside the certified 0..0.4"),
    ],
)
def test_the_domain_in_words(value: float, allowed: tuple[float, float], unit: str, sentence: str) -> None:
    assert require_inside("u", np.array(value), allowed, unit=unit, slack=1e-9) == sentence


def test_a_check_names_what_fresh_events_did_not_see() -> None:
    old = Domain(
        {"interval": (1.0, 1e4), "a": (-1.0, 1.0)}, {"v": (0.0, 1.0), "n": (0.0, 1.0), "u": (0.0, 0.5)},
        units={"v": "V", "interval": "s"}, gaps={"n": ((0.3, 0.4),)},
    )  # fmt: skip
    assert narrower(old, old) == ()
    fresh = replace(old, inputs={"interval": (2.0, 5e3), "a": (-0.9, 0.9)})
    assert narrower(old, fresh) == ()
    fresh = replace(
        old, inputs={"interval": (3.0, 1e4), "a": (-1.0, 0.7)}, states={**old.states, "v": (0.1, 1.0), "u": (0.0, 0.6)},
        gaps={"n": ((0.3, 0.5),)},
    )  # fmt: skip
    assert list(narrower(old, fresh)) == [
        f"certified is {one}, and of it these events saw {other}"
        for one, other in (
            ("interval 1..1e+04 s", "interval 3..1e+04 s"),
            ("a -1..1", "a -1..0.7"),
            ("v 0..1 V", "v 0.1..1 V"),
            ("n 0..1 but for 0.3..0.4", "n 0..1 but for 0.3..0.5"),
        )
    ]


@pytest.mark.parametrize(
    ("certified", "gaps", "seen", "missing", "lacks"),
    [
        ((0.0, 1.0), [(0.3, 0.5)], (0.0, 1.0), [(0.3, 0.4)], False),  # more than is certified
        ((0.0, 1.0), [(0.3, 0.5)], (0.0, 1.0), [(0.4, 0.5)], False),
        ((0.0, 0.5), [], (0.0, 1.0), [(0.6, 0.7)], False),  # beyond what is certified
        ((0.0, 0.5), [], (0.0, 1.0), [(0.5, 0.6)], False),
        ((0.0, 1.0), [(0.3, 0.5)], (0.0, 1.0), [(0.3 + 1e-12, 0.4), (0.4, 0.5 + 1e-12)], False),  # rounding
        ((0.2, 0.2), [], (0.2, 0.2), [], False),
        ((0.2, 0.2), [], (0.3, 0.4), [], True),
        ((0.0, 1.0), [(0.3, 0.5)], (0.0, 1.0), [(0.4, 0.6)], True),
        ((0.0, 1.0), [(0.3, 0.5)], (0.0, 1.0), [(0.3, 0.4), (0.8, 0.9)], True),
        ((0.0, 0.5), [], (0.0, 1.0), [(0.4, 0.6)], True),
        ((0.0, 1.0), [(0.3, 0.5)], (0.0, 0.3), [], True),
    ],
)
def test_gaps_of_fresh_events_count_where_something_is_certified(
    certified: tuple[float, float], gaps: list[Any], seen: tuple[float, float], missing: list[Any], lacks: bool
) -> None:
    old, fresh = (Domain({}, {"w": ends}, gaps={"w": tuple(parts)}) for ends, parts in
                  ((certified, gaps), (seen, missing)))  # fmt: skip
    assert bool(narrower(old, fresh)) is lacks


def test_train_says_what_it_covers_and_whether_it_passes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([*TRAIN]) == 0
    said = capsys.readouterr().out
    cell = load("a.npz")
    low, high = cell.allowed("w")
    assert high - low < 1.0
    assert f"w is certified from {low:g} to {high:g} of 0..1: give more --pulses\n" in said
    assert said.endswith(f"\npasses where it was tested: w is certified from {low:g} to {high:g} of 0..1\n")
    beyond = high + 0.05 if high < 1.0 else low - 0.05
    with pytest.raises(DomainError, match=r"certified .*; certify a wider domain \(.* with more --pulses\)") as error:
        cell.step(Values({"w": beyond}), Values({"amplitude": 0.0}))
    assert f"the certified {low:.6g}..{high:.6g};" in str(error.value)
    inside = (low + high) / 2
    with pytest.raises(DomainError, match=r"with --span, or of a bench a wider range in its map\)"):
        cell.step(Values({"w": inside}), Values({"amplitude": 9.0}))
    with pytest.raises(DomainError, match="with --spread"):
        cell.with_(instances={"theta_p": np.array([9.0])})
    assert main(["surrogate", "check", "a.npz", "--against", "integration", "--reference", "vteam_2015"]) == 2
    assert "vteam_2015 is a set of vteam, which is neither threshold_memristor" in capsys.readouterr().err
    # figures are written beside JSON too
    words = ["surrogate", "check", "a.npz", "--against", "integration", "--pulses", "60", "--json", "--figure", "c.png"]
    code, told = main(words), json.loads(capsys.readouterr().out)
    assert not told["check"]["broken"]
    assert not told["missed_intervals"]
    assert code == (UNSEEN if told["not_verified"] else 0)
    assert told["passed"] == (code == 0)
    assert Path("c.png").exists()
    assert main([*TRAIN, "--limit", "state=0.000001%"]) == 1
    assert "\nfails: w: " in capsys.readouterr().out


def test_figures_are_in_full_scale_and_leave_out_what_stands_still() -> None:
    step = np.array([0.1, -0.2, 0.05])
    data = xr.Dataset({"amplitude": ("event", step, {"units": "V"})})
    for name, size, full in (("w", 1.0, 4.0), ("q", 1e-10, 1.0)):
        data[f"{name}_before"] = ("event", np.full(3, 0.5 * size))
        data[name] = ("event", (0.5 + step) * size, {"full_scale": full})
        data[f"{name}_surrogate"] = ("event", (0.54 + step) * size)
    held = HeldOutEvents(data, (), None)
    parity, error = plot_parity(held), plot_error(held)
    assert [line.get_label() for line in parity.lines if not str(line.get_label()).startswith("_")] == ["w"]
    assert parity.get_title() == "left out, moves by less than 0.1% of full scale: q"
    np.testing.assert_allclose(error.lines[0].get_ydata(), 1.0)  # 0.04 of 4, in %
    assert error.get_ylabel() == "error of the state (% of full scale)"
    assert [text.get_text() for text in error.get_legend().get_texts()] == ["w", "q"]


@pytest.mark.parametrize(
    ("state", "output", "sentence"),
    [
        ("xx", "energy", "write lacks the state x (did you mean its xx?); name its fields"),
        ("x", "enrgy", "write lacks the output energy (J) (did you mean its enrgy?); name its fields"),
    ],
)
def test_a_bench_says_which_field_differs(state: str, output: str, sentence: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(BENCH.replace("STATE", state).replace("OUTPUT", output))
    reference = BenchReference(Testbench.load(file), Simulator.__new__(Simulator))
    with pytest.raises(InputError) as error:
        reference.found(Surrogate(ParameterSet.load("vteam_2015")).map)
    line = 1 + file.read_text().splitlines().index("[maps.write]")
    assert str(error.value).startswith(
        f"{file}:{line}: bench mine has no map with the fields of vteam's pulse: its map "
    )
    assert sentence in str(error.value)
