import math

import pytest

from cosim.errors import UnitError
from cosim.units import dimension, parse, show


@pytest.mark.parametrize(
    ("text", "unit", "value"),
    [
        ("4.7k", "Ohm", 4700.0), ("200 ns", "s", 200e-9), ("200 uS", "S", 2e-4), ("10 µS", "S", 1e-5),
        ("1 MΩ", "Ohm", 1e6), ("1meg", "Ohm", 1e6), ("1m", "V", 1e-3), ("1 M", "Ohm", 1e6), ("0.679 1/V", "1/V", 0.679),
        ("0.679 V^-1", "1/V", 0.679), ("1e3 1/mV", "1/V", 1e6), ("20 %", "", 0.2), ("-2.6 V", "V", -2.6),
        (".5", "", 0.5), ("48.8 ms", "s", 48.8e-3), ("1 h", "s", 3600.0), ("6.2e6 K/W", "K/W", 6.2e6), ("3", "V", 3.0),
        ("5 pJ", "J", 5e-12), ("1 m", "m", 1.0), ("3m", "m", 3.0), ("230 1/(V)", "", None),
    ],
)  # fmt: skip
def test_parse(text: str, unit: str, value: float | None) -> None:
    if value is None:
        with pytest.raises(UnitError):
            parse(text, unit)
    else:
        # decimal prefixes are exact; compound units may round once
        assert parse(text, unit) == pytest.approx(value, rel=1e-15)


@pytest.mark.parametrize("text", ["12 parsec", "V", "", "1,5 V", "1 A", "1 V V", "nan", "1e999 V", "0x10"])
def test_no_voltage(text: str) -> None:
    with pytest.raises(UnitError, match=r"write a number with a unit of V|finite"):
        parse(text, "V")


@pytest.mark.parametrize("value", [True, math.inf, math.nan])
def test_no_number(value: float) -> None:
    with pytest.raises(UnitError):
        parse(value, "V")


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (2e-7, "s", "200 ns"),
        (1.5e-4, "S", "150 µS"),
        (0.0, "V", "0 V"),
        (1e3, "Ohm", "1 kOhm"),
        (0.679, "1/V", "0.679 1/V"),
    ],
)
def test_show(value: float, unit: str, text: str) -> None:
    assert show(value, unit) == text


@pytest.mark.parametrize("text", ["k", "meg", "u", "K*n"])
def test_a_prefix_alone_is_not_a_unit(text: str) -> None:
    with pytest.raises(UnitError, match="is a prefix without a unit; write what it counts"):
        dimension(text)


def test_dimension_of_conductance_is_inverse_resistance() -> None:
    assert dimension("S")[1] == dimension("1/Ohm")[1]
