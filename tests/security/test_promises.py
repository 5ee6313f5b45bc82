"""SECURITY.md names what there is, and can be found."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from claims.registry import CLAIMS
from cosim.cli.app import main
from cosim.cli.doctor import WALLS

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.skipif(not (ROOT / "SECURITY.md").is_file(), reason="a checkout has it")


def test_what_it_names_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    for claim in re.findall(r"`./run measure (\w+)`", text):
        assert claim in CLAIMS
    for path in re.findall(r"`(tests/[\w/]+)`", text):
        assert (ROOT / path).exists()
    options = re.findall(r"`(--[a-z]+)`", text)
    assert options
    assert main(["run", "--help"]) == 0
    told = capsys.readouterr().out
    for option in options:
        assert option in told
    assert len(re.findall(r"^\| Linux|^\| the same", text, re.MULTILINE)) == 3
    assert {"programs", "writing", "reading", "network"} <= set(re.findall(r"\w+", text))
    assert len(WALLS) == 4  # as many as the table of platforms has columns


def test_contributors_find_it() -> None:
    assert "(SECURITY.md)" in (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
