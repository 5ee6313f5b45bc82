"""Decks that differ by numbers alone are read once; what the numbers decide is looked at each time."""

from __future__ import annotations

import pytest

from cosim.engines.prepare import prepare
from cosim.engines.simulator import Deck
from cosim.errors import NetlistError


def test_the_frequency_of_a_four_card_follows_its_parameter() -> None:
    text = "t\n.param f0={f}\nV1 a 0 sin(0 1 1k)\nR1 a 0 1k\n.tran 1u 3m\n.four {{2*f0}} v(a)\n"
    found = [prepare(Deck(text.format(f=f))).fourier[0].frequency for f in (500, 1000, 500)]
    assert found == [1e3, 2e3, 1e3]


@pytest.mark.parametrize("of_deck", [False, True])
def test_a_shunt_that_a_parameter_takes_away(of_deck: bool) -> None:
    card, options = ("", {"rshunt": "{rs}"}) if of_deck else (".options rshunt={rs}\n", {})
    text = "t\n.param rs={rs}\nV1 a 0 1\nC1 a b 1n\nR1 a 0 1k\n" + card.replace("{", "{{").replace("}", "}}") + ".op\n"
    prepare(Deck(text.format(rs="1e12"), options=options))
    with pytest.raises(NetlistError, match="node 'b' floats"):
        prepare(Deck(text.format(rs="0"), options=options))
