"""Why a formula of ``.meas`` has no value, where ngspice says nothing but "failed"."""

from __future__ import annotations

import pytest

from cosim.language.meas import reasons
from cosim.language.netlist import read_text

DECK = "* formulas\nV1 a 0 1\nR1 a 0 1k\n.param neg=-4\n.tran 1u 1m\n.meas tran lo min v(a)\n"


@pytest.mark.parametrize(
    ("formula", "said"),
    [
        ("sqrt(lo)+1", "'sqrt(lo)' is not a finite number, as lo is -0.5"),
        ("log(lo)", "'log(lo)' is not a finite number, as lo is -0.5"),
        ("2*pow(lo,0.5)", "'pow(lo,0.5)' is not a finite number, as lo is -0.5"),
        ("sqrt(neg)", "'sqrt(neg)' is not a finite number, as neg is -4"),
        ("1/(lo-lo)", "'1/(lo-lo)' is not a finite number, as lo is -0.5"),
        ("exp(lo)", "ngspice gives neither a value nor a reason"),
        ("1/other", "ngspice gives neither a value nor a reason"),
    ],
)
def test_the_part_that_is_not_a_number_is_named(formula: str, said: str) -> None:
    """ngspice: all but ``exp(lo)`` are "failed"."""
    netlist = read_text(f"{DECK}.meas tran x param='{formula}'\n.end\n")
    assert reasons(netlist, (), (), {"lo": -0.5}) == {"x": said}
