"""What a stranger's file says reaches the terminal as text, never as an instruction to it."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cosim.bench.testbench import Testbench
from cosim.cli.app import main
from cosim.cli.output import show_table
from cosim.errors import InputError, legible

BENCH = """
title = "{title}"
circuit = "R1 a 0 1k"
[analysis]
kind = "op"
"""


@given(st.text())
def test_nothing_but_text_and_line_ends_is_left(text: str) -> None:
    assert all(c.isprintable() or c in "\n\t" for c in legible(text))
    assert legible(text) == text or not all(c.isprintable() or c in "\n\t" for c in text)


def test_a_title_cannot_hold_an_escape(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "b.toml"
    file.write_text(BENCH.format(title="\\u001b]0;mine\\u0007"))
    with pytest.raises(InputError, match="control characters"):
        Testbench.load(file)
    assert main(["run", str(file)]) == 2
    assert "\x1b" not in capsys.readouterr().err


def test_a_table_takes_any_text_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    show_table("[bold]a[/x]", ("b",), [["[/x] \x1b]0;mine\x07"]])
    out = capsys.readouterr().out
    assert "[/x]" in out
    assert "[bold]a" in out
    assert "\x1b]0;" not in out
