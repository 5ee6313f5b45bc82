"""The engines by name, and what `cosim doctor` says of those that a machine lacks."""

from __future__ import annotations

import pytest

from cosim.engines import registry as engines
from cosim.engines.simulator import Simulator
from cosim.errors import UnknownName

pytestmark = pytest.mark.spice


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
