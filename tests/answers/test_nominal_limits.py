"""A limit that is computed from a bench's nominal numbers is judged at those, and nowhere else."""

from pathlib import Path

import numpy as np
import pytest

from cosim.bench.testbench import Testbench
from cosim.bench.validate import validate_bench
from cosim.campaign.plan import Plan, load_bench
from cosim.cli.app import main
from cosim.engines.simulator import Simulator

# 1 kOhm and 1 kOhm: half of a volt; a corner at 3 kOhm has three quarters, which no limit of the nominal bench allows.
DIVIDER = """
title = "divider"
circuit = \"\"\"
V1 in 0 1
R1 in out 1k
R2 out 0 {r}
\"\"\"
[parameters]
r = "1 kOhm"
[analysis]
kind = "op"
[measures.out]
kind = "final"
of = "v(out)"
unit = "V"
[measures.twice]
kind = "sum"
of = ["out", "out"]
unit = "V"
[limits]
out = { min = "0.499 V", max = "0.501 V", nominal = true, origin = "oracle", reason = "Kirchhoff" }
twice = { min = "0.5 V", max = "1.6 V" }
[corners.high]
parameters = { r = "3 kOhm" }
[monte_carlo]
samples = 20
parameters = { r = { relative = "10 %" } }
yield_min = 0.5
"""


@pytest.fixture
def divider(tmp_path: Path) -> Path:
    path = tmp_path / "divider.toml"
    path.write_text(DIVIDER, encoding="utf-8")
    return path


def test_what_varies_has_other_limits(divider: Path) -> None:
    bench = Testbench.load(divider)
    assert set(bench.file.limits) == {"out", "twice"}
    varied = (bench.at_corner("high"), bench.sampled(np.random.default_rng(1)), bench.varied())
    plan = Plan.model_validate({"bench": divider.name, "grid": {"parameters": {"r": [1e3]}}})
    campaign = load_bench(plan, divider.parent)
    for one in (*varied, campaign):
        assert set(one.file.limits) == {"twice"}


@pytest.mark.spice
def test_only_the_bench_as_it_stands_is_judged(divider: Path, simulator: Simulator) -> None:
    report = validate_bench(Testbench.load(divider), simulator)
    assert report.verdict.value == "pass"
    assert [(s.corner, s.measure) for s in report.specs] == [
        ("nominal", "out"), ("nominal", "twice"), ("high", "twice"), ("Monte Carlo", "twice"),
    ]  # fmt: skip


@pytest.mark.spice
def test_a_changed_parameter_is_not_held_against_the_nominal(divider: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", str(divider), "-p", "r=3k"]) == 0
    assert "0.501" not in capsys.readouterr().out
    wrong = DIVIDER.replace('"0.499 V"', '"0.4999999 V"').replace("R1 in out 1k", "R1 in out 2k")
    divider.write_text(wrong, encoding="utf-8")
    main(["run", str(divider)])
    assert "FAIL" in capsys.readouterr().out
