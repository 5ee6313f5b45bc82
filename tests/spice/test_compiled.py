"""Verilog-A: compiled once, errors with their place, and models that replace each other in a resident worker."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from cosim.engines import openvaf
from cosim.engines.openvaf import compile_model
from cosim.engines.simulator import Deck, Outcome, Simulator
from cosim.errors import CosimError, EngineMissing, MissingFile, NetlistError

pytestmark = pytest.mark.osdi

RESISTOR = """`include "disciplines.vams"
module cosim_test_resistor(p, n);
    inout p, n; electrical p, n;
    parameter real r = {r} from (0:inf);
    analog I(p, n) <+ V(p, n) / r;
endmodule
"""


@pytest.fixture(autouse=True)
def _compiler() -> None:
    try:
        openvaf.require_openvaf()
    except EngineMissing as error:
        pytest.skip(str(error))


def test_the_cache_knows_source_and_includes(tmp_path: Path) -> None:
    source = tmp_path / "model.va"
    (tmp_path / "value.inc").write_text("`define VALUE 1e3\n")
    source.write_text('`include "value.inc"\n' + RESISTOR.format(r="`VALUE"))
    cache = tmp_path / "cache"
    first = compile_model(source, cache=cache)
    changed = first.stat().st_mtime_ns
    assert compile_model(source, cache=cache) == first
    assert first.stat().st_mtime_ns == changed
    (tmp_path / "value.inc").write_text("`define VALUE 2e3\n")
    second = compile_model(source, cache=cache)
    assert second != first
    assert second.name.startswith("cosim_test_resistor-")
    assert sorted(path.name for path in cache.iterdir()) == sorted([first.name, second.name])


def test_the_cache_is_where_the_user_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert compile_model(RESISTOR.format(r="1e3")).parent == tmp_path / "cosim" / "osdi"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("V(p, n) / r", "V(p, n) / rr"), r"model\.va:5, column 33: Verilog-A: 'rr' was not found"),
        (("analog I", "analog J"), r"model\.va:5, column \d+: Verilog-A: "),
        (("module", "modul"), r"model\.va:1: no 'module'"),
    ],
)
def test_an_error_has_its_place(tmp_path: Path, change: tuple[str, str], message: str) -> None:
    source = tmp_path / "model.va"
    source.write_text(RESISTOR.format(r="1e3").replace(*change))
    with pytest.raises(NetlistError, match=message):
        compile_model(source, cache=tmp_path / "cache")
    assert not list(tmp_path.glob("cache/*"))


def test_a_missing_source(tmp_path: Path) -> None:
    with pytest.raises(MissingFile, match=r"gone\.va"):
        compile_model(tmp_path / "gone.va")


def test_a_missing_linker_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EngineMissing, match="binutils"):
        compile_model(RESISTOR.format(r="3e3"), cache=tmp_path)


def test_the_compiler_ends_with_zero_and_no_file_without_a_linker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = openvaf.require_openvaf()
    monkeypatch.setattr(openvaf, "require_openvaf", lambda: program)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CosimError, match="linker"):
        compile_model(RESISTOR.format(r="4e3"), cache=tmp_path)


@pytest.mark.spice
def test_a_changed_model_of_the_same_name_is_the_one_that_runs(pyspice: Simulator, tmp_path: Path) -> None:
    def current(r: str) -> float:
        model = compile_model(RESISTOR.format(r=r), cache=tmp_path)
        deck = Deck("t\nV1 a 0 1\nN1 a 0 m\n.model m cosim_test_resistor\n.op\n", osdi=(model,))
        return float(pyspice.run(deck).require()["op"]["i(v1)"].item())

    assert [current(r) for r in ("1e3", "2e3", "1e3")] == pytest.approx([-1e-3, -0.5e-3, -1e-3], rel=1e-6)


@pytest.mark.spice
def test_a_compiled_model_that_is_none_is_refused(
    pyspice: Simulator, engine: Callable[[str], Simulator], tmp_path: Path
) -> None:
    (tmp_path / "x.osdi").write_bytes(b"no library")
    good = "t\nV1 a 0 1\nR1 a 0 1\n.op\n"
    assert pyspice.run(Deck(good, osdi=(tmp_path / "gone.osdi",))).outcome is Outcome.REFUSED
    for simulator in (pyspice, engine("ngspice")):
        result = simulator.run(Deck(good, osdi=(tmp_path / "x.osdi",)))
        assert result.outcome is Outcome.REFUSED
        assert "x.osdi" in result.reason
        assert simulator.run(Deck(good)).require()["op"]["i(v1)"].item() == pytest.approx(-1.0)
