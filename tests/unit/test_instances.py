"""What a circuit passes to its devices: held against their bounds through subcircuits, names and expressions."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cosim.bench.testbench import Testbench
from cosim.devices.registry import devices
from cosim.emit.ngspice import subcircuit
from cosim.engines.prepare import prepare
from cosim.engines.simulator import Deck
from cosim.errors import NetlistError
from cosim.language.instances import check_instances
from cosim.language.netlist import read_text
from cosim.resources import listing

CELL = """bounds of an instance
.param w0={value} half=0.5 step={{2*half}}
.subckt pair a params: w0=0.2 share=1
Xm a 0 memristor w0={{w0*share}}
.ends pair
.subckt outer a params: start=0.1
Xp a pair {passed}
.ends outer
Xo te outer start={{w0}}
Vte te 0 0.1
.op
.end
"""


def _check(value: str, passed: str) -> None:
    check_instances(read_text(CELL.format(value=value, passed=passed)), {"memristor": "threshold_memristor"})


@pytest.mark.parametrize("path", listing("netlists", ".toml"), ids=lambda p: p.stem)
def test_what_ships_passes(path: Path) -> None:
    bench = Testbench.load(path)
    for analysis in bench.file.plan:
        for point in bench.points(analysis):
            prepare(bench.deck(analysis, point=point))


def test_a_bench_parameter_out_of_the_device_s_bounds() -> None:
    deck = Testbench.load("1t1r_write").with_(parameters={"w0": 7.0}).deck()
    with pytest.raises(NetlistError) as caught:
        prepare(deck)
    said = str(caught.value)
    assert "w0 = 7 of xcell.xm, the memristor, is outside 0..1;" in said
    assert "w0 is the initial state of a threshold_memristor" in said
    assert "1t1r.cir:5" in said


def test_an_array_names_the_parameters_that_the_value_is_made_of() -> None:
    bench = Testbench.load("1t1h1m_array_4x4").with_(parameters={"w0": 0.95})
    for analysis in bench.file.plan:
        if bench.values(analysis, point={})["spread"]:
            with pytest.raises(NetlistError, match=r"w0 = 1\.1 \(made of spread, w0\) of xa\.xn11\.xm"):
                prepare(bench.deck(analysis))
            return
    raise AssertionError("the bench spreads its weights in no analysis")


@pytest.mark.parametrize(
    ("value", "passed"),
    [("0.5", "w0={start}"), ("1", "w0={start} share=1.0"), ("0.5", "w0={start*step} share=2"), ("2", "share={half}"),
     ("500m", "w0='start'"), ("5", "w0={unknown(start)}"), ("5", "w0={agauss(5,1,1)}")],
)  # fmt: skip
def test_values_inside_and_values_that_are_not_followed(value: str, passed: str) -> None:
    _check(value, passed)


@pytest.mark.parametrize(
    ("value", "passed", "said"),
    [("1.5", "w0={start}", "w0 = 1.5"), ("0.5", "w0=-1m", "w0 = -0.001"), ("0.9", "w0={2*start}", "w0 = 1.8"),
     ("0.9", "w0={start} share={start+step}", "w0 = 1.71"), ("0.6", "w0={max(start, 3)}", "w0 = 3"),
     ("1", "w0={start} share={2**step}", "w0 = 2")],
)  # fmt: skip
def test_values_are_followed(value: str, passed: str, said: str) -> None:
    with pytest.raises(NetlistError) as caught:
        _check(value, passed)
    assert said in str(caught.value)


def test_a_default_on_the_way_is_followed() -> None:
    with pytest.raises(NetlistError, match=r"w0 = 1\.2 of xo\.xp\.xm"):
        _check("0.5", "share=6")


def test_a_circle_of_parameters_is_left_to_the_engine() -> None:
    text = CELL.format(value="0.5", passed="w0={start}").replace("half=0.5", "half={step}")
    check_instances(read_text(text), {"memristor": "threshold_memristor"})


@given(
    a=st.floats(-3, 3), b=st.floats(-3, 3), c=st.floats(-3, 3), name=st.sampled_from(["threshold_memristor", "vteam"])
)
def test_an_expression_is_judged_as_python_computes_it(a: float, b: float, c: float, name: str) -> None:
    model = devices()[name]
    entry = next(e for e in model.params if e.name == model.states[0].initial)
    low, high = entry.bounds
    text = (
        f"a property\n.param a={a!r} b={b!r}\n.subckt mid p params: q={c!r}\nXm p 0 dut {entry.name}={{(a+q)*b/2-q}}\n"
        f".ends mid\n{subcircuit(model, 'dut')}Xa n1 mid\nVn n1 0 1\n.op\n.end\n"
    )
    value = (a + c) * b / 2 - c
    slack = 1e-6  # far above rounding, so that what lies on a bound is not judged here
    if low + slack < value < high - slack:
        check_instances(read_text(text), {"dut": name})
    elif value < low - slack or value > high + slack:
        with pytest.raises(NetlistError, match="is outside"):
            check_instances(read_text(text), {"dut": name})


def test_a_parameter_that_a_subcircuit_lacks_has_no_default(tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    text = (
        'title = "own"\ncircuit = """\nV1 a 0 1\nXm a 0 memristor GIVEN\n"""\n[devices.memristor]\n'
        'parameters = "vteam:vteam_2015"\n[analysis]\nkind = "op"\n'
    )
    file.write_text(text.replace("GIVEN", "w0=0.5"))
    with pytest.raises(NetlistError, match=r"'w0' that it does not have; did you mean x0") as caught:
        prepare(Testbench.load(file).deck())
    assert caught.value.where is not None
    assert caught.value.where.line == 4
    file.write_text(text.replace("GIVEN", "x0=0.5 m=2"))
    prepare(Testbench.load(file).deck())


def test_a_kit_from_elsewhere_may_give_what_it_likes(tmp_path: Path) -> None:
    kit = tmp_path / "kit"
    kit.mkdir()
    (kit / "kit.cir").write_text(
        "kit\n.subckt r2 a b r=1k\nR1 a b {r}\n.ends\n.subckt r4 a b\nX1 a b r2 mult=2\n.ends\n"
    )
    own = tmp_path / "own"
    own.mkdir()
    text = f'top\n.include "{kit}/kit.cir"\nV1 a 0 1\nX1 a 0 r4\n.op\n.end\n'
    prepare(Deck(text, source=own / "top.cir", roots=(kit,)))
    with pytest.raises(NetlistError, match="it has none"):
        prepare(Deck(text.replace("r4\n", "r4 r=2k\n"), source=own / "top.cir", roots=(kit,)))
