"""A recording answers as its engine did; the engines by name; what a machine is said to have."""

from __future__ import annotations

from pathlib import Path

import pytest
import xarray

from cosim.engines import registry as engines
from cosim.engines.recorded import RecordedSimulator
from cosim.engines.simulator import Deck, Outcome, Simulator
from cosim.errors import DataError, UnknownName

pytestmark = pytest.mark.spice

GOOD = Deck("good\nV1 a 0 dc 1 ac 1\nR1 a 0 1k\n.op\n.tran 1n 10n\n.ac dec 2 1 10\n.meas tran m max v(a)\n")
BAD = Deck("two sources\nV1 a 0 1\nV2 a 0 2\n.op\n")


def test_a_recording_is_replayed_without_its_engine(pyspice: Simulator, tmp_path: Path) -> None:
    recorder = RecordedSimulator(tmp_path, pyspice)
    first = [recorder.run(deck) for deck in (GOOD, BAD)]
    replay = RecordedSimulator(tmp_path)
    assert isinstance(replay, Simulator)
    assert replay.version() == pyspice.version()
    for live, again in zip(first, (replay.run(deck) for deck in (GOOD, BAD)), strict=True):
        assert (live.outcome, live.reason, live.engine, live.measures) == (
            again.outcome, again.reason, again.engine, again.measures,
        )  # fmt: skip
        assert set(live.waveforms) == set(again.waveforms)
        for analysis in live.waveforms:
            xarray.testing.assert_identical(live.waveforms[analysis], again.waveforms[analysis])
    assert first[0].ok
    assert first[1].outcome is Outcome.NOT_CONVERGED
    assert replay.run(GOOD.with_options({"reltol": 1e-5})).outcome is Outcome.REFUSED


def test_a_broken_recording_is_said(pyspice: Simulator, tmp_path: Path) -> None:
    RecordedSimulator(tmp_path, pyspice).run(GOOD)
    next(tmp_path.glob("*.npz")).write_bytes(b"nothing")
    with pytest.raises(DataError, match="broken recording"):
        RecordedSimulator(tmp_path).run(GOOD)


def test_engines_by_name() -> None:
    with pytest.raises(UnknownName, match="did you mean ngspice"):
        engines.open_simulator("ngspic")
    with pytest.raises(UnknownName):
        engines.require("spectre")


@pytest.mark.parametrize("name", engines.ENGINES)
def test_each_engine_keeps_the_protocol(engine: object, name: str) -> None:
    simulator = engine(name)  # type: ignore[operator]
    assert isinstance(simulator, Simulator)
    assert simulator.name == name
    family, _, number = simulator.version().partition("-")
    assert family in ("ngspice", "vacask")
    assert number[0].isdigit()


def test_probes_say_what_to_do_about_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    for probe in engines.probes():
        assert probe.found
        assert probe.ok or probe.advice
    monkeypatch.setattr(engines, "find_ngspice", lambda: None)
    monkeypatch.setattr(engines, "find_vacask", lambda: None)
    monkeypatch.setattr(engines, "find_openvaf", lambda: None)
    monkeypatch.setattr(engines, "find_libngspice", lambda: None)
    for probe in (
        engines.probe_ngspice(), engines.probe_library(), engines.probe_vacask(), engines.probe_compiler(),
    ):  # fmt: skip
        assert not probe.ok
        assert "install" in probe.advice
