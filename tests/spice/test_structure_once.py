"""What does not depend on numbers is checked once for decks that differ by nothing else, and never too seldom."""

import pytest

from cosim.errors import NetlistError
from cosim.spice import prepare as module
from cosim.spice.prepare import prepare
from cosim.spice.simulator import Deck

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
