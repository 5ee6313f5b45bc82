"""A bench from a working deck measures what the deck's own ``.meas`` do, and says what it cannot hold."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

from cosim.bench.from_deck import from_deck
from cosim.bench.measures.signals import Expression
from cosim.bench.testbench import Testbench
from cosim.cli.app import main
from cosim.engines.library import find_ngspice
from cosim.engines.simulator import Deck, Simulator
from cosim.errors import InputError, UnknownName
from cosim.language.control import translate
from cosim.language.netlist import read_text

RC = "V1 in 0 dc 0 ac 1 pulse(0 1 1u 1n 1n 20u)\nR1 in out {r}\nC1 out 0 {c}\n.param r=1k c=1n tau={r*c}\n"
# circuit and cards -> how far the bench's measures, at its own tolerances, may be from the deck's (relative)
DECKS = {
    "levels, times and windows": (
        RC + ".tran 10n 10u\n.meas tran top max v(out)\n.meas tran low MIN v(out) from = 2u\n"
        ".meas tran span pp v(out) from=2u to=4u\n.meas tran mean avg v(out) from=1u to=5u\n"
        ".meas tran power rms v(out)\n.meas tran area integ v(out) from=0 to=5u\n.meas tran late find v(out) at=3u\n"
        ".meas tran half when v(out)=0.5 rise=1\n.meas tran twice param='2*top'\n"
        ".meas tran delay trig v(in) val=0.5 rise=1 targ v(out) val=0.5 rise=1\n",
        1.2e-2,  # ngspice's windows end at its points: 10 ns at 0.37 V/us, of 0.32 V
    ),
    "a transient that is kept from somewhere on": (
        "V1 in 0 sin(0 1 1meg)\nR1 in out 1k\nC1 out 0 1p\n.tran 1n 5u 2u 1n\n.meas tran first when v(out)=0.5 rise=1\n"
        ".meas tran top max v(out)\n",
        1e-3,
    ),
    "a sweep of a source": (
        "V1 in 0 1\nR1 in out 1k\nD1 out 0 dx\n.model dx d is=1e-14\n.dc v1 0 2 10m\n"
        ".meas dc on when v(out)=0.5 cross=1\n.meas dc top max v(out)\n",
        1e-3,
    ),
    "a response": (RC + ".ac dec 50 1k 10meg\n.meas ac corner when vdb(out)=-3 fall=1\n", 2e-3),
    "frequencies in a line": (RC + ".ac lin 1001 10k 1meg\n.meas ac corner when vdb(out)=-3 fall=1\n", 1e-6),
    "frequencies by octave": (RC + ".ac oct 90 10k 1meg\n.meas ac corner when vdb(out)=-3 fall=1\n", 1e-4),
    "phases and parts of a response": (
        RC + ".ac dec 200 1k 10meg\n.meas ac ph find vp(out) at=100k\n.meas ac deg param='ph*57.29577951'\n"
        ".meas ac low min vp(out)\n.meas ac quarter when vp(out)=-0.785398\n.meas ac real find v(out) at=100k\n"
        ".meas ac half when v(out)=0.5 fall=1\n.meas ac drawn find i(v1) at=100k\n.meas ac size find vm(out) at=100k\n"
        ".meas ac imag min vi(out)\n.meas ac span trig vp(out) val=-0.5 cross=1 targ v(out) val=0.5 cross=1\n",
        2e-3,
    ),
    "a phase that jumps from -180 to 180 degrees": (
        RC + "E1 b 0 out 0 1\nR2 b d 1k\nC2 d 0 1n\nE2 e 0 d 0 1\nR3 e f 1k\nC3 f 0 1n\n.ac dec 200 1k 10meg\n"
        ".meas ac late find vp(f) at=1meg\n.meas ac top max vp(f)\n", 2e-3,
    ),
    "forms that ngspice computes, of a transient": (
        "V1 in 0 sin(0 1 100k)\nR1 in out 1k\nC1 out 0 1n\nR2 in late 3k\nC2 late 0 1n\n"
        ".param lev=0.5 tt=3u lev2={lev/2}\n"
        ".tran 5n 30u\n.meas tran at2 find v(in) when v(out)=0.5 rise=2\n"
        ".meas tran meet when v(out)=v(late) cross=last\n"
        ".meas tran low min_at v(out) from=5u to=12u\n.meas tran high max_at v(out) from=10u to=18u\n"
        ".meas tran both trig v(out) val=lev td=2u fall=1 targ v(late) val={lev2} rise=last\n"
        ".meas tran named find v(late) at=tt\n.meas tran power find par('v(out)*v(in)') at=3u\n"
        ".meas tran most max par('v(out)-v(late)')\n.meas tran scaled param='lev*2+named'\n"
        ".meas tran floor param='floor(2.5)+named'\n.meas tran whole find v(in) at=4u\n"
        ".meas tran more param='floor(2.5)+whole+lev2'\n.meas tran level when v(out)=lev fall=last\n"
        ".meas tran part rms v(out) from=tt to='tt+4u'\n.meas tran drawn find i(v1) when v(out)='lev' td=5u\n"
        ".meas tran later when v(out)=0.5 fall=2 from=10u to=30u\n"
        ".meas tran begun trig at=1u targ v(out) val=0.5 rise=2\n",
        5e-3,  # ngspice's windows and extremes stand at its points, 5 ns of 3 us
    ),
    "a phase margin and its kin": (
        RC + ".param lev=-3 half={0.5}\n.ac dec 50 1k 100meg\n.meas ac pm find vp(out) when vdb(out)=-3 fall=1\n"
        ".meas ac deg param='180+pm*57.29577951'\n.meas ac corner when vdb(out)=lev\n"
        ".meas ac low min_at vp(out) to=2meg\n"
        ".meas ac span trig at=1k targ vm(out) val=half fall=1\n",
        1e-6,
    ),
    "a control block": (RC + ".control\ntran 10n 10u\nmeas tran top max v(out)\nplot v(out)\n.endc\n", 1e-3),
    "options, a temperature and a model file": (
        "V1 in 0 1\nR1 in out 1k tc1=1m\nR2 out 0 1k\n.include part.inc\nX1 out 0 load\n.temp 77\n"
        ".options reltol=1e-5\n.tran 1n 1u\n.meas tran top max v(out)\n",
        1e-6,
    ),
}  # fmt: skip


@pytest.mark.spice
@pytest.mark.parametrize("name", DECKS)
def test_it_measures_the_same(name: str, simulator: Simulator, tmp_path: Path) -> None:
    body, close = DECKS[name]
    (tmp_path / "part.inc").write_text(".subckt load a b\nR1 a b 3k\n.ends\n")
    deck = tmp_path / "deck.cir"
    deck.write_text(f"a deck\n{body}.end\n")
    plain = body
    if ".control" in body:
        plain = RC + ".tran 10n 10u\n.meas tran top max v(out)\n"
    meant = simulator.run(Deck(f"a deck\n{plain}.end\n", roots=(tmp_path,), source=deck)).require()
    assert meant.measures
    assert main(["new", "bench", "--from", str(deck)]) == 0
    for reference in (deck, deck.with_suffix(".toml")):
        done = Testbench.load(reference).run(simulator)
        assert not done.missing
        assert done.bench.left == () or "keeps its transient from" in done.bench.left[0]
        for key, value in meant.measures.items():
            assert done[key].values.ravel() == pytest.approx([value], rel=close), key
    assert main(["new", "bench", "--from", str(deck)]) == 2  # it is not replaced


FORMULAS = (
    "'(top-1)*100'", "'log(two)+pow(two,2)'", "'two^2'", "'(0-two)^3'", "'(0-two)**2'", "'pow(0-two,3)'", "'-two^2'",
    "'two*(2^3)^2'", "'top>1 ? 5 : 6'", "'1meg+top'", "'2k+3m'", "top*2", "{top*(2+1)}", "'two > 1 && top > 2'",
    "'(top)*(two)'", "'10*log10(two)'", "'two % 2'", "'1/2+1e1'", "'3*2^-1'", "'max(top, two) - min(top,two)'",
    "'arctan(top)+sqrt(two)+abs(0-two)+exp(top)+ln(two)'", "'8/2/2-1-1'",
)  # fmt: skip


@pytest.mark.spice
def test_formulas_of_measures_are_those_of_ngspice(simulator: Simulator, tmp_path: Path) -> None:
    deck = tmp_path / "deck.cir"
    cards = "".join(f".meas tran f{k} param={formula}\n" for k, formula in enumerate(FORMULAS))
    deck.write_text(
        "formulas\nV1 a 0 pwl(0 0 1u 1.5)\nR1 a 0 1k\n.tran 10n 1u\n.meas tran top max v(a)\n"
        f".meas tran two param='top*2'\n{cards}.end\n"
    )
    meant = simulator.run(Deck(deck.read_text())).require().measures
    bench = Testbench.load(deck)
    assert bench.left == ()
    done = bench.run(simulator)
    for k, formula in enumerate(FORMULAS):
        assert done[f"f{k}"].values == pytest.approx([meant[f"f{k}"]], rel=1e-5), formula
    assert done["f0"].values == pytest.approx([50.0])


def test_a_caret_in_a_bench_is_a_power() -> None:
    found = Expression(kind="expression", value="2*a^2 + 1").combine({"a": np.array([3.0])}, {})
    assert found == pytest.approx([19.0])


TWICE = {
    "cards": ".param r=1k\n.param r=3k\n",
    "one card": ".param r=1k R=3k\n",
    "an expression": ".param r=1k\n.param r={1k+2k}\n",
    "a file below": ".param r=1k\n.include values.inc\n",
    "a file above": ".include values.inc\n.param r=3k\n",
    "a subcircuit's own": ".param r=3k\n.subckt part a b\n.param r=9k\nR1 a b {r}\n.ends\n",
}


@pytest.mark.spice
@pytest.mark.parametrize("name", TWICE)
def test_a_parameter_that_is_set_twice_is_not_varied_in_vain(name: str, simulator: Simulator, tmp_path: Path) -> None:
    """The last card wins, as in ngspice: 1 V over 3k and 1k is 250 mV at 1k."""
    deck = tmp_path / "deck.cir"
    below = "1k" if name == "a file above" else "3k"
    (tmp_path / "values.inc").write_text(f"* values\n.param r={below}\n")
    deck.write_text(
        f"twice\n{TWICE[name]}V1 a 0 1\nR1 a b {{r}}\nR2 b 0 1k\n.tran 1u 9u\n.meas tran v find v(b) at=5u\n.end\n"
    )
    bench = Testbench.load(deck)
    assert bench.run(simulator)["v"].values == pytest.approx([0.25])
    if name == "a subcircuit's own":
        assert bench.with_(parameters={"r": 1e3}).run(simulator)["v"].values == pytest.approx([0.5])
        return
    assert "'r' is not a parameter of the bench, as it is set more than once: at" in bench.left[0].lower()
    with pytest.raises(UnknownName):
        bench.with_(parameters={"r": 1e3})


def test_a_bench_whose_circuit_sets_its_parameter_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "bench.toml"
    text = """title = "twice"
circuit = '''
.param q=1 R=3k
V1 a 0 1
R1 a 0 {r}
'''
parameters = { r = 1000 }
analysis = { kind = "op" }
measures.i = { kind = "final", of = "i(v1)" }
"""
    file.write_text(text)
    with pytest.raises(InputError, match="sets 'r' again, so that the bench's parameter has no effect"):
        Testbench.load(file)
    file.write_text(text.replace("R=3k", "other={r*2}"))
    Testbench.load(file)


@pytest.mark.parametrize(
    "command", ["alter r1=3k", "altermod dx is=1e-12", "alterparam r=3k", "reset\nalter @r1[resistance]=3k", "repeat 3"]
)
def test_a_deck_that_is_altered_is_no_bench(command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without the block's change the bench would measure another circuit, 500 mV instead of 250."""
    deck = tmp_path / "deck.cir"
    deck.write_text(
        f"altered\nV1 a 0 1\nR1 a b 1k\nR2 b 0 1k\n.control\n{command}\ntran 1u 9u\n"
        "meas tran v find v(b) at=5u\n.endc\n.end\n"
    )
    for asked in (["new", "bench", "--from", str(deck)], ["validate", str(deck)]):
        assert main(asked) in (1, 2)
        said = capsys.readouterr()
        assert f"{command.splitlines()[-1]!r} has no equivalent" in " ".join((said.out + said.err).split())
    assert not deck.with_suffix(".toml").exists()


def test_a_block_that_measures_degrees_is_not_read_as_radians(tmp_path: Path, simulator: Simulator) -> None:
    deck = tmp_path / "deck.cir"
    block = "a response\nV1 a 0 ac 1\nR1 a b 1k\nC1 b 0 1n\n.control\nset units=degrees\nac dec 9 1 1meg\n{}\n.endc\n"
    deck.write_text(block.format("meas ac p find vp(b) at=1k"))
    found = Testbench.load(deck).run(simulator)["p"].values
    assert found == pytest.approx(-np.degrees(np.arctan(2e-3 * np.pi)), rel=1e-3)  # points that lie 29 % apart
    deck.write_text(block.format("plot vp(b)"))
    assert from_deck(deck).notes == []


@pytest.mark.spice
def test_a_deck_is_validated_and_swept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    deck, plan = tmp_path / "deck.cir", tmp_path / "plan.toml"
    deck.write_text(
        "a divider\n.param r=1k\nV1 a 0 1\nR1 a b {r}\nR2 b 0 1k\n.tran 1n 10n\n.meas tran top max v(b)\n.end\n"
    )
    assert main(["validate", str(deck), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["benches"][0]["bench"] == "deck.cir"
    plan.write_text('bench = "deck.cir"\n[grid]\n"parameters.r" = ["1M"]\n')
    assert main(["campaign", "run", str(plan), "-o", str(tmp_path / "out")]) == 2
    assert "'1M' is milli in a deck, and mega elsewhere; write 1m or 1meg" in capsys.readouterr().err
    plan.write_text('bench = "deck.cir"\n[grid]\n"parameters.r" = ["1k", 3000]\n')
    assert main(["campaign", "run", str(plan), "-o", str(tmp_path / "out")]) == 0
    assert "r = 1000" in capsys.readouterr().out
    assert main(["campaign", "status", str(tmp_path / "out"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["cases"] == 2


@pytest.mark.spice
def test_a_step_is_a_sweep(simulator: Simulator, tmp_path: Path) -> None:
    deck = tmp_path / "deck.cir"
    deck.write_text(
        "stepped\n.param r=1k\nV1 a 0 1\nR1 a b {r}\nR2 b 0 1k\n.step param r 1k 3k 1k\n.tran 1n 10n\n"
        ".meas tran top max v(b)\n.end\n"
    )
    done = Testbench.load(deck).run(simulator)
    assert np.asarray(done["top"].values) == pytest.approx([1 / 2, 1 / 3, 1 / 4])


@pytest.mark.parametrize(
    ("cards", "says"),
    [
        (".tran 1n 1u\n.meas tran s deriv v(a) when v(a)=1", "ngspice: function 'deriv' currently not supported"),
        (".tran 1n 1u\n.meas tran s err1 v(a) v(a)", "ngspice: function 'err1' currently not supported"),
        (".noise v(a) v1 dec 9 1 9\n.meas noise s max v(a)", "ngspice has no .meas of an analysis noise"),
        (".tran 1n 1u\n.ac dec 9 1 9\n.meas tran a max v(a)\n.meas ac s param='floor(a)'", "'a' of another analysis"),
        (".tran 1n 1u\n.meas ac s max v(a)", "the deck has no .ac"),
        (".tran 1n 1u\n.meas tran s param='x+1'", "'x' is neither a measure above it nor a parameter"),
        (".tran 1n 1u\n.meas tran s param='(1'", "brackets that are not closed"),
        (".tran 1n 1u\n.meas tran s param='1+'", "its formula is not read"),
        (".tran 1n 1u\n.meas tran s param '(1+2)'", "not in ngspice's form"),
        (".tran 1n 1u\n.dc v1 0 1 0.1 v2 0 1 0.1", "sweeps one source"),
        (".tran 1n 1u\n.ac 10 1 10", "frequencies are dec, oct or lin"),
        (".tran 1n 1u\n.step v1 0 1 1", "only '.step param"),
        (".tran 1n 1u\n.step param q list 1 2", "'q' is left out"),
        (".tran 1n 1u\n.options autostop", "option 'autostop' is left out"),
    ],
)
def test_what_a_bench_cannot_hold_is_said(cards: str, says: str, tmp_path: Path) -> None:
    deck = tmp_path / "deck.cir"
    deck.write_text(f"a deck\nV1 a 0 1\nR1 a 0 1k\n{cards}\n.end\n")
    found = from_deck(deck)
    assert len(found.notes) == 1
    assert says in found.notes[0]
    assert f"# {found.notes[0]}" in found.to_toml()


def test_a_difference_is_measured_that_ngspice_has_not(tmp_path: Path) -> None:
    deck = tmp_path / "deck.cir"
    deck.write_text("a deck\nV1 a 0 1\nR1 a b 1k\nR2 b 0 3k\n.tran 1n 1u\n.meas tran s find v(a,b) at=1n\n.end\n")
    assert from_deck(deck).tables["measures"]["s"] == {
        "kind": "at", "of": "v(a,b)", "at": 1e-9, "analysis": "tran", "unit": "V",
    }  # fmt: skip
    assert from_deck(deck).notes == []


def test_a_name_that_is_taken_gets_a_number(tmp_path: Path) -> None:
    deck = tmp_path / "deck.cir"
    deck.write_text(
        "a deck\nV1 a 0 1\nR1 a 0 1k\n.tran 1n 1u\n.meas tran s max v(a)\n.meas tran s min v(a)\n"
        ".meas tran s max v(a)\n.meas tran when when v(a)=s\n.end\n"
    )
    bench = Testbench.load(deck)
    assert list(bench.file.measures) == ["s", "s_2"]
    left, renamed = bench.left
    assert renamed == "line 6: '.meas tran s min v(a)' is measure 's_2', as its name is taken"
    assert left.endswith("'s' is a measure, which only param= may name")


def test_a_message_names_the_line_of_the_deck(simulator: Simulator, tmp_path: Path) -> None:
    deck = tmp_path / "deck.cir"
    deck.write_text("a deck\nV1 a 0 1\n\nR1 a 0 {nobody}\n.tran 1n 1u\n.meas tran s max v(a)\n.end\n")
    assert f"{deck}:4: " in Testbench.load(deck).run(simulator).result.reason
    deck.write_text("a deck\nV1 a 0 1\nR1 a 0 1k\n.tran 1n 1u\n.meas tran s max v(b)\n.end\n")
    assert f"{deck}:5: unknown vector 'v(b)'" in Testbench.load(deck).run(simulator).result.reason


def test_a_window_beyond_the_run_ends_with_it(tmp_path: Path) -> None:
    deck = tmp_path / "deck.cir"
    deck.write_text("a deck\nV1 a 0 1\nR1 a 0 1k\n.tran 1n 1u\n.meas tran s rms v(a) from=-1n to=500n\n.end\n")
    given = from_deck(deck).tables["measures"]["s"]
    assert "start" not in given
    assert given["stop"] == pytest.approx(5e-7)


SMALL = """noise and the rest
V1 in 0 dc 1 ac 1
R1 in mid 1k
R2 mid 0 1k
C1 mid 0 1n
E1 e 0 mid 0 1
R3 e out 1k
C2 out 0 1n
R4 out x 2k
C3 x 0 1n
.noise v(mid) v1 dec 50 1 10g
.tf v(mid) v1
.sens v(mid)
.pz in 0 out 0 vol pz
.print noise onoise_total
.meas noise band integ onoise_spectrum from=1k to=500k
.meas noise input_noise integ inoise_spectrum
.meas noise density find inoise_spectrum at=1k
.meas noise corner when onoise_spectrum=2e-9 fall=1
"""


@pytest.mark.spice
def test_noise_transfer_sensitivities_and_poles_of_a_deck(simulator: Simulator, tmp_path: Path) -> None:
    deck = tmp_path / "deck.cir"
    deck.write_text(SMALL)
    done = Testbench.load(deck).run(simulator)
    assert not done.missing, done.missing
    assert done.bench.left == ("analysis 'pz': its zeros are a measure of kind 'zero-frequencies', where it has any",)
    found = {name: measured.values for name, measured in done.measures.items()}
    boltzmann, kelvin = 1.380649e-23, 300.15
    white, pole = np.sqrt(4.0 * boltzmann * kelvin * 500.0), 1.0 / (2.0 * np.pi * 500.0 * 1e-9)
    # R3 and C2 with R4 and C3 behind them: s^2 + s (1/R3C2 + 1/R4C2 + 1/R4C3) + 1/(R3C2R4C3) = 0
    behind = -np.roots([1.0, 1e6 + 0.5e6 + 0.5e6, 0.5e12])
    # ngspice takes the gain of one end of each step in frequency, which is 4.7 % wide; the spectrum has it at each
    assert found.pop("inoise_total") == pytest.approx([2.0 * white * 1e5], rel=10.0 ** (1 / 50) - 1.0)
    assert found.pop("input_noise") == pytest.approx([2.0 * white * 1e5], rel=1e-6)
    assert found.pop("poles") == pytest.approx(np.sort([pole, *(behind / 2.0 / np.pi)]), rel=1e-6)
    wanted = {
        "onoise_total": np.sqrt(boltzmann * kelvin / 1e-9), "transfer_function": 0.5,
        "output_impedance": 500.0, "input_impedance": 2e3, "d_v1": 0.5, "d_r1": -0.25e-3, "d_r2": 0.25e-3, "d_r3": 0.0,
        "d_r4": 0.0, "rightmost": -min(behind), "density": 2.0 * white,
        "band": white * np.sqrt(pole * (np.arctan(5e5 / pole) - np.arctan(1e3 / pole))),
        "corner": pole * np.sqrt((white / 2e-9) ** 2 - 1.0),
    }  # fmt: skip
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        assert found[name] == pytest.approx([value], rel=1e-3, abs=1e-9), name


@pytest.mark.spice
def test_a_kept_deck_measures_a_phase_in_batch_mode(tmp_path: Path) -> None:
    """Without a vector that is asked for otherwise, ngspice -b keeps no data for it."""
    deck, program = tmp_path / "deck.cir", find_ngspice()
    assert program is not None
    deck.write_text(f"a response\n{RC}.ac dec 50 1k 10meg\n.meas ac ph find vp(out) when vdb(out)=-3\n.end\n")
    assert main(["run", str(deck), "-o", str(tmp_path / "out")]) == 0
    done = subprocess.run(
        [program, "-n", "-b", "deck.cir"], cwd=tmp_path / "out", capture_output=True, text=True, timeout=60, check=False
    )
    found = re.search(r"^ph\s+=\s+(\S+)", done.stdout, re.MULTILINE)
    assert found is not None, done.stdout + done.stderr
    assert float(found[1]) == pytest.approx(-np.arccos(10.0 ** (-3.0 / 20.0)), rel=1e-3)


KEPT = ("max v(a) from=1n td=3n", "find v(a) when v(a)=v(b) cross=last", "param='floor(1.5)'")


@pytest.mark.parametrize("card", KEPT)
def test_a_form_that_a_bench_has_not_stays_as_it_is(card: str, tmp_path: Path) -> None:
    deck = tmp_path / "deck.cir"
    deck.write_text(f"a deck\nV1 a 0 1\nR1 a b 1k\nR2 b 0 1k\n.tran 1n 1u\n.meas tran S {card}\n.end\n")
    bench = Testbench.load(deck)
    assert bench.left == ()
    assert bench.file.measures["s"].model_dump()["card"] == card
    rows = bench.deck().text.splitlines()
    assert rows.index(f".meas tran s {card}") > rows.index(next(row for row in rows if row.startswith(".tran")))


@pytest.mark.spice
def test_a_measure_of_another_engine_gives_its_reason(simulator: Simulator, tmp_path: Path) -> None:
    deck = tmp_path / "deck.cir"
    deck.write_text(
        "a deck\nV1 a 0 1\nR1 a b 1k\nR2 b 0 1k\n.tran 1n 100n 50n\n.meas tran s when v(a)=v(b) cross=last\n.end\n"
    )
    bench = Testbench.load(deck)
    assert bench.file.measures["s"].model_dump()["card"].endswith("cross=last from=5.0000000000000004e-08")
    assert bench.run(simulator).missing["s"] == "out of interval"


def test_measures_of_the_analysis_that_ngspice_leaves_out_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    deck = tmp_path / "deck.cir"
    deck.write_text(
        "a deck\nV1 a 0 dc 1 ac 1\nR1 a b 1k\nC1 b 0 1n\n.tran 1n 100n\n.ac dec 9 1k 1meg\n.meas tran s max v(b)\n"
        ".meas ac t max v(b)\n.meas ac u min v(b)\n.end\n"
    )
    assert main(["run", str(deck)]) != 0
    said = " ".join(capsys.readouterr().err.split())
    assert ".meas t, .meas u: ngspice measures one analysis of a deck, not .ac here" in said


@pytest.mark.parametrize("cards", [".tran 1n 1u uic", ".dc v1 0 1 0.1 v2 0 1 0.1"])
def test_a_deck_that_is_not_a_bench(cards: str, tmp_path: Path) -> None:
    deck = tmp_path / "deck.cir"
    deck.write_text(f"a deck\nV1 a 0 1\nR1 a 0 1k\n{cards}\n.end\n")
    with pytest.raises(InputError, match=r"operating point|no analysis that a bench has: line 4: .*sweeps one source"):
        from_deck(deck)


@pytest.mark.parametrize(
    ("cards", "kinds"),
    [
        (".tran 1n 1u\n.meas tran m when v(a)=0 rise=1", ["meas"]),
        (".tran 1n 1u\n.meas tran m param='10m+1mil'", ["meas"]),
        (".tran 1n 1u\n.meas tran m param='2 ** -1 ** 2'", ["meas"]),
        (".tran 1n 1u\n.meas tran m param='2 ** -1'", ["expression"]),
        (".dc v1 1 0 -0.1\n.meas dc m integ v(a)", ["meas"]),
        (".dc v1 0 1 0.1\n.meas dc m integ v(a)", ["meas"]),
        (".dc v1 0 1 0.1\n.meas dc m avg v(a) from=0.2", ["meas"]),
        (".dc v1 0 1 0.1\n.meas dc m avg v(a)", ["mean"]),
        (".tran 1n 1u\n.meas tran m trig v(a) val=1 targ v(a) val=2", []),
    ],
)
def test_what_ngspice_measures_otherwise_stays_its_own(cards: str, kinds: list[str], tmp_path: Path) -> None:
    deck = tmp_path / "deck.cir"
    deck.write_text(f"own\nV1 a 0 1\nR1 a 0 1k\n{cards}\n.end\n")
    assert [entry["kind"] for entry in from_deck(deck).tables.get("measures", {}).values()] == kinds


@pytest.mark.parametrize(
    ("card", "right"),
    [
        (".step dec param r 1k 100k 2", [1e3, 10**3.5, 1e4, 10**4.5, 1e5]),
        (".step oct param r 1k 4k 1", [1e3, 2e3, 4e3]),
        (".step dec param r 1k 5k 2", "its end is not a whole number of its steps"),
        (".step dec param r 0 5k 2", "its ends have one sign"),
    ],
)
def test_a_step_by_decade_or_octave_is_a_sweep(card: str, right: list[float] | str, tmp_path: Path) -> None:
    (deck := tmp_path / "deck.cir").write_text(f"t\n.param r=1k\nV1 a 0 1\nR1 a 0 {{r}}\n{card}\n.tran 1n 10n\n.end\n")
    found = from_deck(deck)
    if isinstance(right, str):
        assert any(right in note for note in found.notes)
    else:
        assert found.tables["analyses"]["tran"]["sweep"]["r"] == pytest.approx(right, rel=1e-11)


BLOCK = """phases
V1 a 0 dc 0 ac 1
R1 a b 1k
C1 b 0 1u
.control
ac dec 20 1 100k
meas ac p0 find vp(b) at=500
set units=degrees
meas ac p1 find vp(b) at=500
meas ac f1 when vp(b)=-45
meas ac p2 min vp(b)
let pm = 180+p1
let h = p2*sqrt(2)+1meg/2
let v = pm+vdb(b)
print pm h
.endc
.end
"""


@pytest.mark.spice
def test_scalars_of_measures_and_phases_in_degrees_are_translated(simulator: Simulator) -> None:
    """The values are those that ngspice -b prints of the block."""
    netlist = read_text(BLOCK)
    found = translate(netlist)
    assert found.impossible == ()
    assert [note.line.text.split("=")[0] for note in found.dropped if "not computed" in note.reason] == ["let v "]
    got = simulator.run(Deck(found.apply(BLOCK))).require().measures
    right = {"p0": -1.26255, "p1": -72.3390, "f1": 159.195, "p2": -89.9088, "pm": 107.6610, "h": 4.998728e5}
    assert {name: got[name] for name in right} == pytest.approx(right, rel=5e-6)  # six digits


@pytest.mark.spice
def test_a_brace_that_is_not_closed_is_named_by_its_row(simulator: Simulator, tmp_path: Path) -> None:
    (file := tmp_path / "deck.cir").write_text("t\nV1 a 0 1\nR1 a 0 {1k\n.tran 1n 10n\n.end\n")
    done = simulator.run(Deck(file.read_text(), source=file))
    assert not done.ok
    assert "'R1 a 0 {1k' has a brace without its pair" in done.reason
    assert "deck.cir:3" in done.reason
