"""The random numbers of a netlist: means where nothing is sampled, draws of their own in every sample."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from cosim.bench.testbench import Testbench
from cosim.bench.validate import Verdict, validate_bench
from cosim.campaign.cache import Cache
from cosim.campaign.campaign import Campaign
from cosim.campaign.executors import InProcess
from cosim.cli.app import main
from cosim.engines.prepare import prepare
from cosim.engines.simulator import Deck, Outcome, Simulator
from cosim.errors import InputError


def volts(simulator: Simulator, deck: Deck) -> dict[str, float]:
    data = simulator.run(deck).require()["op"]
    return {str(name): float(data[name]) for name in data.data_vars}


S = ".subckt s a params:"
# Where a random function may stand, and what v(a) is at its mean, for 1 mA out of a node or 1 V across it.
PLACES = {
    "a parameter": (".param r=agauss(2k,100,1)\nI1 0 a 1m\nR1 a 0 {r}", 2.0),
    "in capitals, with blanks": (".PARAM R = AGAUSS (2k, 100, 1)\nI1 0 a 1m\nR1 a 0 'r'", 2.0),
    "an element": ("I1 0 a 1m\nR1 a 0 {gauss(2k,0.1,3)}", 2.0),
    "a part of an expression": (".param on=1\nI1 0 a 1m\nR1 a 0 '1k+on*aunif(1k,300)'", 2.0),
    "its arguments are expressions": (".param n=1k\nI1 0 a 1m\nR1 a 0 {unif(2*n,0.1/max(1,2))}", 2.0),
    "limit": ("I1 0 a 1m\nR1 a 0 {limit(2k,100)}", 2.0),
    "one in another": ("I1 0 a 1m\nR1 a 0 {agauss(agauss(2k,100,1),50,1)}", 2.0),
    "a model card": ("I1 0 a 1m\n.model rm r r=agauss(2k,100,1)\nR1 a 0 rm", 2.0),
    "a function around it": (".func f(x) {agauss(x,0.1*x,1)}\nI1 0 a 1m\nR1 a 0 {f(2k)}", 2.0),
    "a behavioural source": ("B1 a 0 V=agauss(2,0.1,1)\nR1 a 0 1k", 2.0),
    # ngspice by itself is at the mean in the next three, whatever the seed
    "a behavioural source, expressions": (".param s=0.1\nB1 a 0 V=agauss(2*1,s*2,1)\nR1 a 0 1k", 2.0),
    "a behavioural source, function": (".func f(x) {agauss(x,0.1*x,1)}\nB1 a 0 V=f(2)\nR1 a 0 1k", 2.0),
    "a behavioural source, parameter": (".param s=agauss(2,0.1*2,1)\nB1 a 0 V=s\nR1 a 0 1k", 2.0),
    "a subcircuit's default": (f"I1 0 a 1m\nX1 a s\n{S} r=agauss(2k,100,1)\nR1 a 0 {{r}}\n.ends", 2.0),
    "what an instance passes": (f"I1 0 a 1m\nX1 a s r={{agauss(2k,100,1)}}\n{S} r=1\nR1 a 0 {{r}}\n.ends", 2.0),
    "within a subcircuit": ("I1 0 a 1m\nX1 a s\n.subckt s a\n.param r=agauss(2k,100,1)\nR1 a 0 {r}\n.ends", 2.0),
    "within a branch": (".param k=1\n.if (k==1)\n.param r=agauss(2k,9,1)\n.endif\nI1 0 a 1m\nR1 a 0 {r}", 2.0),
}  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
def test_a_random_function_is_its_mean_or_follows_the_seed(place: str, engine: Callable[[str], Simulator]) -> None:
    circuit, mean = PLACES[place]
    text = f"t\n{circuit}\n.op\n.end\n"
    nominal = [volts(engine(name), Deck(text))["v(a)"] for name in ("pyspice", "ngspice")]
    assert nominal == pytest.approx([mean, mean], rel=1e-9)
    # limit has two values: not every pair of seeds differs
    drawn = [[volts(engine("pyspice"), Deck(text, seed=k))["v(a)"] for k in (1, 2, 8, 9, 10)] for _ in range(2)]
    assert drawn[0] == drawn[1]
    assert len(set(drawn[0])) > 1
    assert mean not in drawn[0]
    assert volts(engine("ngspice"), Deck(text, seed=8))["v(a)"] == drawn[0][2]


def test_what_only_looks_like_a_random_function_stays(pyspice: Simulator) -> None:
    clamp = ".func limit(x,lo,hi) {min(max(x,lo),hi)}\n.func agauss(x) {x+1}"
    text = f"t\n{clamp}\nV1 a 0 {{agauss(1)}}\nV2 b 0 {{limit(5,0,3)}}\nR1 a 0 1k\nR2 b 0 1k\n.op\n"
    for seed in (None, 1):
        found = volts(pyspice, Deck(text, seed=seed))
        assert (found["v(a)"], found["v(b)"]) == pytest.approx((2.0, 3.0))
    model = "t\nV1 a 0 2\nA1 a b lim\n.model lim limit(gain=1 out_lower_limit=0 out_upper_limit=1)\nR1 b 0 1k\n.op\n"
    assert volts(pyspice, Deck(model))["v(b)"] == pytest.approx(1.0, rel=1e-6)
    nominal = "t\nI1 0 a 1m\n.model r1k res r=1k dev=5%\nR1 a 0 r1k\n.op\n"  # refused in a sample
    assert volts(pyspice, Deck(nominal))["v(a)"] == pytest.approx(1.0)


def test_a_function_of_ones_own_counts_where_it_stands(pyspice: Simulator) -> None:
    own = ".subckt s a\n.func unif(x,y) {x+y}\nR1 a 0 {unif(1k,1k)}\n.ends"
    text = f"t\nI1 0 a 1m\nX1 a s\n{own}\nI2 0 b 1m\nR2 b 0 {{unif(1k,0.5)}}\n.op\n"
    found = volts(pyspice, Deck(text))
    assert (found["v(a)"], found["v(b)"]) == (pytest.approx(2.0), pytest.approx(1.0))


def test_instances_and_uses_have_draws_of_their_own(pyspice: Simulator) -> None:
    """As in ngspice: what is made of a random parameter is one draw, each use of the parameter itself another."""
    part = ".subckt s a\n.param r=agauss(1k,100,1)\nR1 a 0 {r}\n.ends"
    uses = ".param one=agauss(1k,100,1) same='one'"
    text = f"t\n{part}\n{uses}\n" + "".join(f"I{k} 0 n{k} 1m\n" for k in range(6))
    text += "X0 n0 s\nX1 n1 s\nR2 n2 0 {one}\nR3 n3 0 {one}\nR4 n4 0 {same}\nR5 n5 0 {same}\n.op\n"
    found = volts(pyspice, Deck(text, seed=1))
    v = [found[f"v(n{k})"] for k in range(6)]
    assert v[4] == v[5]
    assert len(set(v[:5])) == 5


def test_draws_over_seeds_have_their_distribution(pyspice: Simulator) -> None:
    """Over the seeds, not within one run: two instances of a subcircuit are normal and not correlated."""
    text = "t\nX1 a s\nX2 b s\n.subckt s a\nV1 a 0 {agauss(1,0.3,3)}\nR1 a 0 1k\n.ends\n.op\n"
    rng = np.random.default_rng(1)
    found = [volts(pyspice, Deck(text, seed=int(seed))) for seed in rng.integers(1, 10**9, 400)]
    pairs = np.array([(one["v(a)"], one["v(b)"]) for one in found])
    for column in pairs.T:
        assert stats.kstest((column - 1.0) / 0.1, "norm").pvalue > 1e-3  # fixed seeds: not a matter of luck
    assert abs(np.corrcoef(pairs.T)[0, 1]) < 3.3 / np.sqrt(400)  # 3.3 standard deviations


def test_noise_in_time_follows_the_seed(engine: Callable[[str], Simulator]) -> None:
    """Also behind a run with an odd number of Gaussian values, of which ngspice keeps one for the next run."""
    deck = "t\nV1 a 0 dc 0 trrandom(2 1u 0 1 0)\nR1 a 0 1k\n.tran 1u 20u\n"

    def run(name: str, seed: int | None) -> list[float]:
        return [float(x) for x in engine(name).run(Deck(deck, seed=seed)).require()["tran"]["v(a)"].values]

    assert run("pyspice", 6) == run("ngspice", 6) != run("pyspice", 5)
    assert run("pyspice", 5) == run("pyspice", 5) == run("ngspice", 5)
    assert run("pyspice", None) == run("pyspice", None)


REFUSED = {
    "another number of arguments": ("R1 a 0 {agauss(1k,100)}", None, {}, r"agauss takes 3 arguments"),
    "a clamp of PSpice": ("R1 a 0 {limit(1k,1,2)}", None, {}, r"min\(max\(x, low\), high\)"),
    "a seed in the netlist": ("R1 a 0 {agauss(1k,1,1)}\n.options seed=4", 1, {}, "line 4: the seed that is set here"),
    "a seed in the options": ("R1 a 0 {agauss(1k,1,1)}", 1, {"seed": 4}, "each sample has its own seed"),
    "noise that has no seed": ("V2 b 0 dc 0 trnoise(1 1u 0 0)\nR1 b 0 1", None, {}, "cannot seed trnoise"),
    "a tolerance of PSpice": (
        ".model r1k res r=1k dev/gauss=5%\nR1 a 0 r1k",
        1,
        {},
        "line 3: ngspice ignores the tolerance",
    ),
    "too deep": (f"R1 a 0 {{{'agauss(' * 200}1k{',1,1)' * 200}}}", None, {}, "nest deeper"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_drawn_is_refused(case: str, pyspice: Simulator) -> None:
    circuit, seed, options, says = REFUSED[case]
    result = pyspice.run(Deck(f"t\nV1 a 0 1\n{circuit}\n.op\n", seed=seed, options=options))
    assert result.outcome is Outcome.REFUSED
    with pytest.raises(InputError, match=says):
        prepare(Deck(f"t\nV1 a 0 1\n{circuit}\n.op\n", seed=seed, options=options))


def test_a_seed_of_the_deck_draws_without_samples(pyspice: Simulator) -> None:
    text = "t\nI1 0 a 1m\nR1 a 0 {agauss(1k,100,1)}\n.op\n"
    own = volts(pyspice, Deck(text.replace(".op", ".options seed=7\n.op")))
    assert own == volts(pyspice, Deck(text, seed=7)) == volts(pyspice, Deck(text, options={"seed": 7}))
    assert own["v(a)"] != pytest.approx(1.0, rel=1e-6)


def test_vacask_runs_means_and_refuses_draws(engine: Callable[[str], Simulator]) -> None:
    text = "t\nV1 a 0 1\n.param r=agauss(1k,100,1)\nR1 a 0 {r}\n.tran 1u 2u\n"
    result = engine("vacask").run(Deck(text)).require()
    assert float(result["tran"]["i(v1)"].values[-1]) == pytest.approx(-1e-3)
    refused = engine("vacask").run(Deck(text, seed=1))
    assert refused.outcome is Outcome.REFUSED
    assert "line 3: VACASK has no random functions" in refused.reason


# A kit as foundries write them: sections, a switch, and mismatch that each instance draws from its own size.
KIT = """* kit
.lib typical
.param switch=0
.lib "kit.lib" parts
.endl
.lib statistical
.param switch=1
.lib "kit.lib" parts
.endl
.lib parts
.subckt res a b params: w=1u l=10u
.param spread='switch*agauss(0,0.02*sqrt(10e-12/(w*l)),1)'
.model rm r tc1=0 rsh={1k*(1+spread)}
R1 a b rm w={w} l={l}
.ends
.endl
"""
BENCH = """
title = "divider of a kit"
circuit = '''
.lib {{library.kit}} {{section.process}}
V1 a 0 1
X1 a b res
X2 b 0 res{extra}
'''
sections = {{ process = "statistical" }}
libraries = {{ kit = "kit.lib" }}
corners.typical = {{ sections = {{ process = "typical" }} }}
{tail}
[analysis]
kind = "op"
[measures.vb]
kind = "final"
of = "v(b)"
unit = "V"
[limits]
vb = {{ min = "0.495 V", max = "0.52 V" }}
"""
# The ratio of the two is normal to first order: deviation 0.25 * 0.02 * sqrt(2) V.
SIGMA = 0.25 * 0.02 * np.sqrt(2.0)
YIELD = stats.norm.cdf(0.02 / SIGMA) - stats.norm.cdf(-0.005 / SIGMA)


def bench(folder: Path, tail: str = "", *, extra: str = "", name: str = "divider") -> Path:
    (folder / "kit.lib").write_text(KIT)
    file = folder / f"{name}.toml"
    file.write_text(BENCH.format(tail=tail, extra=extra))
    return file


def test_validate_draws_a_kits_mismatch(tmp_path: Path, pyspice: Simulator) -> None:
    file = bench(tmp_path, "monte_carlo = { samples = 200, seed = 5, yield_min = 0.5 }")
    nominal, corner, samples = validate_bench(Testbench.load(file), pyspice).specs
    for spec in (nominal, corner):
        assert spec.verdict is Verdict.PASS
        assert spec.smallest == spec.largest == pytest.approx(0.5, rel=1e-9)
        assert spec.moved == 0.0
    passed = int(samples.why.split()[1])
    # four binomial deviations, of a seed that is fixed
    assert abs(passed - 200 * YIELD) < 4.0 * np.sqrt(200 * YIELD * (1.0 - YIELD))
    again = validate_bench(Testbench.load(file), pyspice).specs[-1]
    assert again == samples
    other = bench(tmp_path, "monte_carlo = { samples = 200, seed = 6, yield_min = 0.5 }")
    assert validate_bench(Testbench.load(other), pyspice).specs[-1].smallest != samples.smallest


def test_monte_carlo_of_nothing_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = bench(tmp_path, "monte_carlo = { samples = 5 }").read_text()
    nothing = tmp_path / "nothing.toml"
    nothing.write_text(text.replace("X1 a b res", "R1 a b 1k").replace("X2 b 0 res", "R2 b 0 1k"))
    nothing.write_text(nothing.read_text().replace(".lib {library.kit} {section.process}\n", ""))
    assert main(["validate", str(nothing)]) == 1
    assert "varies nothing" in capsys.readouterr().out
    off = tmp_path / "off.toml"
    off.write_text(text.replace('process = "statistical"', 'process = "typical"'))
    main(["validate", str(off)])
    assert "every sample gave the same values" in capsys.readouterr().out


PLAN = """bench = "divider.toml"
[sample]
samples = {samples}
seed = {seed}
{tail}
"""


def campaign(folder: Path, name: str, *, samples: int = 12, seed: int = 1, tail: str = "") -> Path:
    plan = folder / f"{name}.toml"
    plan.write_text(PLAN.format(samples=samples, seed=seed, tail=tail))
    return plan


def rows(campaign: Campaign) -> list[tuple[Any, ...]]:
    return [(row["seed"], row["measures"]["vb"][0]) for row in campaign.store.rows()]


def test_a_campaign_draws_and_keeps_its_promises(tmp_path: Path) -> None:
    """Same case, same row, also from the cache and in a longer campaign; another seed, another case."""
    bench(tmp_path)
    cache = Cache(tmp_path / "cache")
    with Campaign.begin(campaign(tmp_path, "plan"), tmp_path / "one") as one:
        assert one.run(InProcess(), cache=cache)
        first = rows(one)
    assert len(set(first)) == 12
    with Campaign.open(tmp_path / "one") as opened:  # what every worker works out for itself
        points = opened.points()
        assert [points[k].seed for k in reversed(range(12))] == [seed for seed, _ in reversed(first)]
    with Campaign.begin(campaign(tmp_path, "longer", samples=14), tmp_path / "three") as three:
        assert three.run(InProcess(), cache=cache)
        assert rows(three)[:12] == first
        assert [bool(row.get("cached")) for row in three.store.rows()] == [True] * 12 + [False] * 2
    with Campaign.begin(campaign(tmp_path, "other", seed=2), tmp_path / "four") as four:
        assert four.run(InProcess(), cache=cache)
        assert not set(rows(four)) & set(first)
        assert not any(row.get("cached") for row in four.store.rows())
    cache.close()


def test_cycles_of_a_device_share_its_draws(tmp_path: Path) -> None:
    bench(tmp_path, "parameters = { k = 1 }")
    tail = "cycles = 2\ncycle_variables.parameters.k = { absolute = 0.1 }"
    with Campaign.begin(campaign(tmp_path, "cycles", samples=3, tail=tail), tmp_path / "out") as made:
        assert made.run(InProcess())
        found = rows(made)
    assert found[0] == found[1]
    assert found[2] == found[3] != found[0]


def test_without_a_sample_the_means_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bench(tmp_path)
    plan = tmp_path / "grid.toml"
    plan.write_text('bench = "divider.toml"\n[grid]\ncorner = ["nominal", "typical"]\n')
    into = ["--into", str(tmp_path / "out")]
    assert main(["campaign", "run", str(plan), "-j", "0", "--no-cache", *into]) == 0
    assert "held at their means" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("edit", "tail", "says"),
    [
        (("X2 b 0 res", "X2 b 0 res\n.options seed=3"), "", "the seed that is set here"),
        (('"statistical"', '"statistical"'), '[grid]\ncorner = ["plain"]', "varies nothing.*at corner plain"),
    ],
)
def test_a_plan_that_cannot_be_drawn_is_refused(tmp_path: Path, edit: tuple[str, str], tail: str, says: str) -> None:
    file = bench(tmp_path, 'corners.plain = { sections = { process = "plain" } }')
    (tmp_path / "kit.lib").write_text(KIT + ".lib plain\n.subckt res a b\nR1 a b 1k\n.ends\n.endl\n")
    file.write_text(file.read_text().replace(*edit))
    with pytest.raises(InputError, match=says):
        Campaign.begin(campaign(tmp_path, "plan", tail=tail), tmp_path / "out")


def test_run_says_that_the_functions_are_means(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "x.cir"
    file.write_text("x\nI1 0 a 1m\nR1 a 0 {agauss(1k,100,1)}\n.op\n.end\n")
    assert main(["run", str(file)]) == 0
    told = capsys.readouterr()
    assert "1 V" in told.out
    assert "held at their means" in told.err
    assert main(["run", str(file), "--seed", "3"]) == 0
    told = capsys.readouterr()
    assert "held" not in told.err
    assert " 1 V" not in told.out
    assert main(["run", str(file), "--seed", "0"]) == 2


# A conductance that is gon where the voltage is above vset, and goff elsewhere; no state, so that it is told by hand.
CELL = """`include "disciplines.vams"
module latch(te, be);
  inout te, be; electrical te, be;
  parameter real gon = 2e-4 from (0:inf);
  parameter real goff = 5e-6;
  parameter real vset = 0.6 from (0.5:2);
  parameter integer steps = 3;
  parameter real twice = 2*goff;
  analog I(te, be) <+ (goff + (gon - goff)*(V(te, be) > vset ? 1.0 : 0.0))*V(te, be);
endmodule
"""
OWN = """
title = "a Verilog-A file of one's own"
circuit = '''
V1 a 0 {v}
Xm a 0 cell
'''
parameters = { v = "0.61 V" }
corners.low = { devices = { cell = { vset = "0.7 V" } } }
[devices.cell]
verilog_a = "cell.va"
values = { vset = "0.6 V" }
[analysis]
kind = "op"
[measures.i]
kind = "final"
of = "i(v1)"
unit = "A"
[limits]
i = { max = "-100 uA" }
"""


@pytest.fixture
def own(tmp_path: Path, osdi: None) -> Path:
    (tmp_path / "cell.va").write_text(CELL)
    file = tmp_path / "own.toml"
    file.write_text(OWN)
    return file


def test_samples_and_corners_vary_a_verilog_a_file_of_ones_own(own: Path, pyspice: Simulator) -> None:
    tail = '[monte_carlo]\nsamples = 100\nseed = 2\nyield_min = 0.4\ndevices.cell = { vset = { absolute = "20 mV" } }\n'
    own.write_text(OWN + tail)
    nominal, corner, samples = validate_bench(Testbench.load(own), pyspice, trust=False).specs
    assert nominal.smallest == pytest.approx(-0.61 * 2e-4, rel=1e-6)
    assert corner.smallest == pytest.approx(-0.61 * 5e-6, rel=1e-6)
    share = stats.norm.cdf(0.5)  # vset below 0.61 V
    passed = int(samples.why.split()[1])
    assert abs(passed - 100 * share) < 4.0 * np.sqrt(100 * share * (1.0 - share))  # of a fixed seed


def test_a_default_of_the_file_is_varied_within_its_range(own: Path, pyspice: Simulator) -> None:
    text = OWN.replace('values = { vset = "0.6 V" }\n', "").replace("0.61 V", "1.99 V")
    tail = (
        "[monte_carlo]\nsamples = 40\nyield_min = 0.1\ndevices.cell = { vset = { absolute = 5 }, gon.relative = 0.1 }\n"
    )
    own.write_text(text + tail)
    bench = Testbench.load(own)
    drawn = [bench.sampled(np.random.default_rng(k)).file.devices["cell"].values for k in range(50)]
    assert all(0.5 <= values["vset"].value <= 2.0 for values in drawn)
    assert len({values["gon"].value for values in drawn}) == 50
    samples = validate_bench(bench, pyspice, trust=False).specs[-1]
    assert "did not run" not in samples.why


def test_a_campaign_varies_a_verilog_a_file_of_ones_own(own: Path) -> None:
    plan = own.parent / "plan.toml"
    plan.write_text(
        'bench = "own.toml"\n[grid]\ndevices.cell.vset = ["0.55 V", "0.65 V"]\n[sample]\nsamples = 3\n'
        'variables.devices.cell.gon = { relative = "10 %" }\n'
    )
    with Campaign.begin(plan, own.parent / "out") as made:
        assert made.run(InProcess())
        rows = list(made.store.rows())
    for row in rows:
        conductance = row["values"]["devices.cell.gon"] if row["values"]["devices.cell.vset"] < 0.61 else 5e-6
        assert row["measures"]["i"][0] == pytest.approx(-0.61 * conductance, rel=1e-6)
    assert len({row["key"] for row in rows}) == 6


@pytest.mark.parametrize(
    ("tail", "says"),
    [
        ("devices.cel = { vset = { absolute = 1 } }", r"'cel'.*did you mean cell"),
        ("devices.cell = { vst = { absolute = 1 } }", r"'vst'.*did you mean vset"),
        ('devices.cell = { vset = { absolute = "1 ns" } }', r"cell\.vset is in V, not in s"),
        ("devices.cell = { steps = { absolute = 1 } }", "is an integer"),
        ("devices.cell = { twice = { absolute = 1 } }", r"give it a value: devices\.cell\.values\.twice"),
    ],
)
def test_what_a_verilog_a_file_lacks_is_said(own: Path, tail: str, says: str) -> None:
    own.write_text(f"{OWN}[monte_carlo]\nsamples = 3\n{tail}\n")
    with pytest.raises(InputError, match=says):
        Testbench.load(own)


@pytest.mark.parametrize(
    ("given", "says"), [('"tio2"', "has no parameter sets"), ('{ vst = "1 V" }', r"'vst'.*did you mean vset")]
)
def test_a_corner_that_a_verilog_a_file_cannot_have(own: Path, given: str, says: str) -> None:
    own.write_text(OWN.replace('cell = { vset = "0.7 V" }', f"cell = {given}"))
    with pytest.raises(InputError, match=says):
        Testbench.load(own)
