"""What a certificate was held against, asked again from the surrogate's file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import cosim
from cosim import resources
from cosim.cli.network import _obeying
from cosim.errors import InputError
from cosim.network.systems.vdsp_settings import VdspSettings
from cosim.surrogate.certify import certify
from cosim.surrogate.files import load, save
from cosim.surrogate.references import Circuit, Equations, events_of, reference_for
from cosim.surrogate.reopened import certified_reference, opened_again, origin

pytestmark = pytest.mark.spice
TIO2 = cosim.ParameterSet.load("tio2").for_device("cell_1t1r")
# as if it had been extracted badly: the device that answers is another
MINE = TIO2.with_values({"theta_p": 1.05 * float(TIO2.resolved().theta_p)})


@pytest.fixture
def bench(tmp_path: Path) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text(resources.find("netlists", "1t1r_random_pulses.toml").read_text())
    return path


def certified(bench: Path | str, device: cosim.ParameterSet | None, path: Path) -> Path:
    with cosim.open_simulator() as simulator:
        reference = cosim.BenchReference(cosim.Testbench.load(bench), simulator, device=device)
        return save(certify(cosim.Surrogate(MINE), reference, pulses=60)[0], path)


def test_the_certified_bench_and_device_answer_again(bench: Path, tmp_path: Path) -> None:
    stored = load(certified(bench, TIO2, tmp_path / "cell.npz"))
    events = events_of(stored.map, {"amplitude": [-2.0, -1.5, 1.4]}, begin={"w": 0.4})
    with cosim.open_simulator() as simulator, _obeying(stored, "ask") as asking:
        assert asking.reference is not None
        assert asking.reference.subject(MINE) == "mine with the device tio2"
        found = asking.reference.respond(MINE, stored.map, events)
        wanted = cosim.BenchReference(cosim.Testbench.load(bench), simulator, device=TIO2)
        np.testing.assert_array_equal(found.w, wanted.respond(MINE, stored.map, events).w)
        own = reference_for(stored.map, simulator).respond(MINE, stored.map, events)
        assert np.max(np.abs(found.w - own.w)) > 0.01  # what the surrogate's own set answers


def test_a_bench_that_is_gone_or_changed_is_refused(bench: Path, tmp_path: Path) -> None:
    stored = load(certified(bench, None, tmp_path / "cell.npz"))
    settings, task = VdspSettings(), cosim.ImageTask(cosim.load_images("digits").first(300))
    with cosim.open_simulator() as simulator:
        certified_reference(stored, simulator)
        cosim.VdspSystem(settings, stored.with_(policy="warn", uncertified=True), task, spice_check=2)
        bench.write_text(bench.read_text().replace("5 um", "6 um"))
        assert opened_again(stored, simulator).subject(MINE).startswith("mine with")  # a check may find what changed
        with pytest.raises(InputError, match=r"was certified against another circuit .* than mine with"):
            certified_reference(stored, simulator)
        bench.unlink()
        with pytest.raises(InputError, match=r"mine.toml, against which .* is not there any more"):
            cosim.VdspSystem(settings, stored.with_(policy="warn", uncertified=True), task, spice_check=2)


def test_cells_that_deviate_are_not_held_against_one_that_does_not(tmp_path: Path) -> None:
    stored = load(certified("1t1r_random_pulses", TIO2, tmp_path / "cell.npz")).with_(policy="warn", uncertified=True)
    assert stored.certificate is not None
    assert stored.certificate.answered["bench"] == "1t1r_random_pulses"
    task = cosim.ImageTask(cosim.load_images("digits").first(300))
    with pytest.raises(InputError, match="cells that deviate cannot be checked against 1t1r_random_pulses with"):
        cosim.VdspSystem(VdspSettings(deviation=0.1), stored, task, spice_check=2)


def test_other_references_are_opened_as_they_were() -> None:
    with cosim.open_simulator() as simulator:
        for reference in (Circuit(simulator, device=TIO2), Circuit(simulator)):
            surrogate = certify(cosim.Surrogate(TIO2), reference, pulses=60)[0]
            assert certified_reference(surrogate, simulator) == reference
        surrogate = certify(cosim.Surrogate(TIO2), Equations(device=MINE), pulses=60)[0]
        again = certified_reference(surrogate, simulator)  # the equations are no SPICE: their device in its bench
        assert origin(again)["bench"] == "1t1r_random_pulses"
        assert again.device is not None
        assert again.device.resolved() == MINE.resolved()
        assert again.netlist(surrogate.map) == reference_for(surrogate.map, simulator).netlist(surrogate.map)
        old = surrogate.certificate.__class__.from_dict({**surrogate.certificate.to_dict(), "answered": {}})
        with pytest.raises(InputError, match="was certified against another circuit"):
            certified_reference(surrogate.with_(certificate=old), simulator)
