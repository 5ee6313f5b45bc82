"""The netlist reader, for any text: what it hands on is one plain deck, and nothing in it is a program."""

from __future__ import annotations

import re
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from cosim.errors import CosimError
from cosim.language import netlist
from cosim.language.numbers import spice_number

FRAGMENTS = st.sampled_from(
    [
        "R1 a 0 1k", "+ 2k", "+", ".control", ".CONTROL", ".endc", "*#shell x", "* comment", "`touch x`", ".end",
        ".tran 1n 1u", ".lib s", ".endl", ".lib f s", ".include f", ".model m d_process", ".model m d (is=1)", "\\\\",
        "; note", " $ note", "// note", "\t", "\r\n", "\n", "\n", "\n", "\f", "\x0b", "\x1c", "\u2028", "\x85", "\x00",
        "µ", "é", "'", '"', "{a}", "$", ".option x=1", ".options reltol=1e-3", "shell touch x", ".param a=1",
        "V1 a 0 pwl file=x", ".exec x", "*ng_script",
    ]
)  # fmt: skip
TEXTS = st.lists(st.one_of(FRAGMENTS, st.text(max_size=8)), max_size=25).map("".join)
NOTES = ["", "   ", "* note", "  * note", "; note", "\t// note", "$ note"]
NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,6}", fullmatch=True)
WORDS = st.from_regex(r"[a-z0-9_.=(){}+-]{1,8}", fullmatch=True).filter(lambda word: word[0] not in "+")
ELEMENTS = st.tuples(st.sampled_from("RCLVIBEG"), NAMES, st.lists(WORDS, min_size=2, max_size=6)).map(
    lambda parts: [parts[0] + parts[1], *parts[2]]
)


@settings(deadline=None)  # time is the machine's, not the property's
@given(TEXTS)
def test_any_text_is_refused_or_becomes_a_plain_deck(text: str) -> None:
    try:
        checked = netlist.check(netlist.read_text(text))
    except CosimError:
        return
    deck, places = checked.flatten()
    rows = deck.split("\n")[:-1]
    assert len(rows) == len(places) == len(deck.splitlines())  # no character breaks a row where we see none
    assert rows[0] == netlist.TITLE
    assert rows[-1] == ".end"
    for row in rows[1:-1]:
        assert row[0] == "." or row[0].isalpha()
        assert row.isprintable() or "\t" in row
        assert not re.search(r"`|\\|^\.control|^\.include|^\.lib|^\.exec|d_process|pwl file", row, re.IGNORECASE)


@settings(deadline=None)  # time is the machine's, not the property's
@given(TEXTS)
def test_a_deck_that_was_flattened_reads_as_itself(text: str) -> None:
    try:
        first = netlist.check(netlist.read_text(text))
    except CosimError:
        return
    deck, _ = first.flatten()
    again = netlist.check(netlist.read_text(deck))
    assert again.flatten()[0] == deck


@settings(deadline=None)  # time is the machine's, not the property's
@given(st.data())
def test_continuations_comments_and_line_ends_do_not_change_a_netlist(data: st.DataObject) -> None:
    elements = data.draw(st.lists(ELEMENTS, min_size=1, max_size=6))
    rows, expected = ["title"], []
    for words in elements:
        rows += data.draw(st.lists(st.sampled_from(NOTES), max_size=2))
        expected.append((" ".join(words), len(rows) + 1))
        row = words[0]
        for word in words[1:]:
            if data.draw(st.booleans()):
                rows.append(row + data.draw(st.sampled_from(["", "  ", " ; x", " $ x", " // x"])))
                if data.draw(st.booleans()):
                    rows.append(data.draw(st.sampled_from(["* between", ""])))
                row = data.draw(st.sampled_from(["+", "+ ", "  + "])) + word
            else:
                row += data.draw(st.sampled_from([" ", "  ", "\t"])) + word
        rows.append(row)
    end = data.draw(st.sampled_from(["\n", "\r\n"]))
    read = netlist.read_text(end.join(rows), source=Path("deck.cir"))
    assert [(" ".join(line.text.split()), line.where.line) for line in read.lines] == expected


@settings(deadline=None)  # time is the machine's, not the property's
@given(st.floats(min_value=1e-30, max_value=1e30), st.sampled_from(["", "V", "ohm", "s"]))
def test_numbers_are_read_as_spice_reads_them(value: float, unit: str) -> None:
    assert spice_number(f"{value!r}{unit}") == pytest.approx(value, rel=1e-15)


@pytest.mark.parametrize(
    ("text", "value"),
    [("1k", 1e3), ("1M", 1e-3), ("1meg", 1e6), ("1MEGohm", 1e6), ("2.5mil", 63.5e-6), ("10f", 1e-14), (".5u", 5e-7),
     ("1e-3k", 1.0), ("-4.7n", -4.7e-9), ("1mH", 1e-3), ("3volts", 3.0)],
)  # fmt: skip
def test_scale_factors(text: str, value: float) -> None:
    assert spice_number(text) == pytest.approx(value, rel=1e-15)


@pytest.mark.parametrize("text", ["", "{a}", "a1", "1..2", "1 k", "--1"])
def test_text_that_is_not_a_number(text: str) -> None:
    assert spice_number(text) is None
