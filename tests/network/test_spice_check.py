"""Spot checks of a network's cells: what they saw, again in the reference."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cosim.cli.app import main
from cosim.errors import InputError
from cosim.network.crossbar import Crossbar
from cosim.network.spice_check import SpiceCheck, Watch, replay
from cosim.parameters import ParameterSet
from cosim.surrogate.model import Surrogate
from cosim.surrogate.references import Equations

TIO2 = ParameterSet.load("tio2")


def checked(reference: Equations, **instances: np.ndarray) -> SpiceCheck:
    rng = np.random.default_rng(0)
    crossbar = Crossbar(Surrogate(TIO2, instances=instances), rng.random((3, 2)))
    crossbar.watch = Watch(crossbar, 6, rng)
    for number in range(8):
        crossbar.program(number % 2, rng.uniform(-2.2, 2.2, 3))
    found = replay(crossbar.surrogate, crossbar.watch, reference, drive="amplitude", held={})
    assert np.array_equal(found.network["w"], crossbar.w[found.cells[:, 0], found.cells[:, 1]])
    assert np.all(found.events == 4)
    assert np.any(found.moving < 4)  # pulses below the thresholds need no replay
    return found


def test_cells_end_where_their_equations_do() -> None:
    assert np.max(np.abs(checked(Equations()).difference("w"))) < 1e-5


def test_cells_are_replayed_with_their_own_parameters() -> None:
    own = TIO2.resolved().theta_p * np.linspace(0.8, 1.2, 6).reshape(3, 2)
    assert np.max(np.abs(checked(Equations(), theta_p=own).difference("w"))) < 1e-5


def test_another_device_is_found_out() -> None:
    other = TIO2.with_values({"theta_p": 1.1})
    assert np.max(np.abs(checked(Equations(device=other)).difference("w"))) > 0.05


def test_a_watch_begins_anew_where_the_cells_are_put() -> None:
    crossbar = Crossbar(Surrogate(TIO2), np.full((3, 2), 0.5))
    crossbar.watch = Watch(crossbar, 2, np.random.default_rng(0))
    crossbar.program(0, np.full(3, 2.0))
    crossbar.program(1, np.full(3, 2.0))
    crossbar.load(np.full((3, 2), 0.25))
    assert crossbar.watch.drives == [[], []]
    assert np.all(crossbar.watch.begin["w"] == 0.25)
    with pytest.raises(InputError, match="7 cells cannot be checked in SPICE: the network has 6"):
        Watch(crossbar, 7, np.random.default_rng(0))


@pytest.mark.needs("sklearn")
@pytest.mark.spice
def test_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    quick = ["network", "run", "vdsp", "--images", "300", "--epochs", "1", "--neurons", "10", "--no-figures"]
    assert main([*quick, "-o", str(tmp_path / "out"), "--spice-check", "3"]) == 0
    shown = capsys.readouterr().out
    assert "spice check 3 cells in ngspice-" in shown
    assert "change read-out" in shown
    assert main([*quick, "-o", str(tmp_path / "bad"), "--spice-check", "641"]) == 2
    assert "641 cells cannot be checked in SPICE: the network has 640" in capsys.readouterr().err
