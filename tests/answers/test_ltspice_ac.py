"""LTspice's complex raw files: compared with a circuit at their frequencies, and refused where a circuit is meant."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cosim.cli.app import main
from cosim.data.recognise import recognise
from cosim.devices.base import Values
from cosim.fitting.recipe import FitRecipe
from instruments import ltspice_ac

BENCH = """
title = "a filter"
circuit = '''
V1 in 0 dc 0 ac 1
R1 in out 1k
C1 out 0 {c}
'''
[parameters]
c = 4e-9
[analyses.ac]
kind = "ac"
start = "1 Hz"
stop = "1 MHz"
[measures.top]
kind = "max"
of = "vm(out)"
"""
RECIPE = """
name = "ac"
data = { kind = "values", file = "ac.raw", columns = { at.name = "frequency", value.name = "PART(V(out))" } }
circuit = { bench = "filter.toml", read = "READ(out)" }
start = { values = { c = 4e-9 } }
fit = { vary = ["c"] }
"""


@pytest.mark.parametrize(("part", "read", "on_a_grid"), [("re", "vr", True), ("im", "vi", False)])
def test_a_circuit_is_read_at_each_frequency(tmp_path: Path, part: str, read: str, on_a_grid: bool) -> None:
    """H = 1/(1 + 2 pi i f R C), R = 1 kOhm and C = 10 nF."""
    frequency = np.logspace(2.0, 6.0, 21) if on_a_grid else np.geomspace(150.0, 9.1e5, 17) ** 1.003
    ltspice_ac(tmp_path / "ac.raw", 1.0 / (1.0 + 2j * np.pi * frequency * 1e-5), frequency)
    (tmp_path / "filter.toml").write_text(BENCH)
    (tmp_path / "recipe.toml").write_text(RECIPE.replace("PART", part).replace("READ", read))
    recipe = FitRecipe.load(tmp_path / "recipe.toml")
    curve = recipe.curve()
    forward = recipe.forward(curve, np.ones(len(curve), dtype=bool), law={}, circuit=recipe.circuit)
    predicted = forward.predict(Values({"c": 10e-9}))
    np.testing.assert_allclose(predicted, curve.measured, atol=1e-9 if on_a_grid else 1e-5)


def test_a_response_is_no_curve_of_a_device(tmp_path: Path) -> None:
    frequency = np.logspace(2.0, 6.0, 21)
    ltspice_ac(tmp_path / "ac.raw", 1.0 / (1.0 + 2j * np.pi * frequency * 1e-5), frequency)
    (part,) = recognise(tmp_path / "ac.raw")
    assert (part.shape, part.curve) == ("frequency response", None)
    assert "kind 'values'" in part.refused


@pytest.mark.parametrize("command", [["validate"], ["campaign", "run"], ["run"], ["lint"]])
def test_results_are_no_circuit(tmp_path: Path, command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    ltspice_ac(tmp_path / "ac.raw", np.ones(3), np.arange(1.0, 4.0))
    assert main([*command, str(tmp_path / "ac.raw")]) != 0
    said = capsys.readouterr()
    assert "a simulator's raw file, which holds results" in " ".join((said.out + said.err).split())
