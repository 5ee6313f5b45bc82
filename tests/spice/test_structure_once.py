"""What does not depend on numbers is checked once for decks that differ by nothing else, and never too seldom."""

import contextlib
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cosim.bench.testbench import Testbench
from cosim.engines import prepare as module
from cosim.engines.openvaf import find_openvaf
from cosim.engines.prepare import prepare
from cosim.engines.simulator import Deck
from cosim.errors import MissingFile, NetlistError, NetlistRefused
from cosim.resources import listing

GOOD = """a divider
.param r={r}
V1 a 0 1
R1 a b {{r}}
R2 b 0 1k
.op
.end
"""


def count(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    calls: list[int] = []
    original = module.check_floating
    monkeypatch.setattr(module, "_sound", {})
    monkeypatch.setattr(module, "_templates", {})
    monkeypatch.setattr(module, "check_floating", lambda netlist: (calls.append(1), original(netlist))[1])
    return calls


def test_other_numbers_are_the_same_structure(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = count(monkeypatch)
    texts = [prepare(Deck(GOOD.format(r=k))).text for k in (1, 2, 3)]
    assert len(calls) == 1
    assert len(set(texts)) == 3


@pytest.mark.parametrize("wrong", ["C2 b c 1n", "R3 c d 1k", "I1 0 c 1m"])
@pytest.mark.parametrize("sound", ["", ".ic V(c)=0\n"])
def test_a_sound_deck_says_nothing_of_another_one(monkeypatch: pytest.MonkeyPatch, wrong: str, sound: str) -> None:
    calls = count(monkeypatch)
    good = GOOD.format(r=1)
    prepare(Deck(good.replace(".op", f"{wrong}\n{sound}.op") if sound and "d" not in wrong else good))
    for _ in range(2):  # what is refused once is refused again
        with pytest.raises(NetlistError, match="floats"):
            prepare(Deck(good.replace(".op", f"{wrong}\n.op")))
    assert len(calls) == 3


def test_it_remembers_a_few(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = count(monkeypatch)
    for k in range(40):
        prepare(Deck(GOOD.format(r=1).replace("R2 b", f"R{k + 2} b")))
    assert len(calls) == 40
    assert len(module._sound) <= module._KEPT


@pytest.mark.parametrize("path", listing("netlists", ".toml"), ids=lambda path: path.stem)
def test_a_deck_that_differs_by_numbers_is_what_it_would_be_alone(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    monkeypatch.setattr(module, "_templates", {})
    bench = Testbench.load(path)
    if not bench.file.parameters:
        pytest.skip("has no parameters")
    name, quantity = next(iter(bench.file.parameters.items()))
    for factor in (1.0, 0.999, 0.9995, 0.998):
        deck = bench.with_(parameters={name: factor * quantity.value}).deck()
        once = prepare(deck)
        with monkeypatch.context() as alone:
            alone.setattr(module, "_templates", {})
            assert prepare(deck) == once
    assert len(module._templates) == 1


def included(folder: Path, name: str = "part.cir") -> Deck:
    text = f"title\n.param r=1\nV1 a 0 1\nX1 a part\n.include {name}\n.op\n.end\n"
    return Deck(text, source=folder / "own" / "main.cir", roots=(folder,))


PART = ".subckt part p\nR1 p 0 {v}\n.ends\n"


def test_a_file_that_changes_is_read_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "_templates", {})
    (tmp_path / "own").mkdir()
    other = tmp_path / "other.cir"
    part = tmp_path / "part.cir"
    part.write_text(PART.format(v=1))
    deck = included(tmp_path)
    assert "R1 p 0 1" in prepare(deck).text
    part.write_text(PART.format(v=23))
    assert "R1 p 0 23" in prepare(deck).text
    other.write_text(PART.format(v=45))
    part.unlink()
    part.symlink_to(other)
    assert "R1 p 0 45" in prepare(deck).text
    # one that is nearer comes before it
    (tmp_path / "own" / "part.cir").write_text(PART.format(v=67))
    assert "R1 p 0 67" in prepare(deck).text
    (tmp_path / "own" / "part.cir").unlink()
    assert "R1 p 0 45" in prepare(deck).text
    part.unlink()
    part.symlink_to("/etc/hostname")
    with pytest.raises(NetlistRefused):
        prepare(deck)
    part.unlink()
    with pytest.raises(MissingFile):
        prepare(deck)


@pytest.mark.parametrize(
    "card", [".param r=1 q={shell(1)}", ".param r=agauss(1,1,1)", ".param r='x'", ".param r=1\n+ q=2", ".param r=1k"]
)
def test_what_is_no_plain_number_is_read_each_time(monkeypatch: pytest.MonkeyPatch, card: str) -> None:
    monkeypatch.setattr(module, "_templates", {})
    deck = Deck(GOOD.replace(".param r={r}", card).replace("{{r}}", "1"))
    with contextlib.suppress(NetlistError):
        prepare(deck)
    assert not module._templates


def test_values_that_instances_pass_are_checked_with_every_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_templates", {})
    bench = Testbench.load("1t1r_write")
    prepare(bench.deck())
    for _ in range(2):
        with pytest.raises(NetlistError, match="w0"):
            prepare(bench.with_(parameters={"w0": 7.0}).deck())
    prepare(bench.with_(parameters={"w0": 0.3}).deck())


@pytest.mark.parametrize("form", ["behavioural", "verilog-a"])
def test_values_of_devices_are_numbers(monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    if form == "verilog-a" and find_openvaf() is None:
        pytest.skip("no Verilog-A compiler on this machine")
    calls = count(monkeypatch)
    bench = Testbench.load("1t1r_write").with_(form=form)
    for k in range(4):
        own = bench.sets["memristor"].with_values({"theta_p": 1.0 + 0.1 * k})
        prepare(bench.with_(devices={"memristor": own}, parameters={"w0": 0.4 + 0.1 * k}).deck())
    assert len(calls) == 1


def test_threads_may_prepare_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    count(monkeypatch)
    decks = [Deck(GOOD.format(r=1).replace("R2 b", f"R{k + 2} b")) for k in range(60)]
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as threads:
            assert len(list(threads.map(prepare, decks * 5))) == 300
    finally:
        sys.setswitchinterval(before)
