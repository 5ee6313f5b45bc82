"""The examples: each writes its page, and what it says of its source is what it said before."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
NAMES = sorted(path.stem for path in EXAMPLES.glob("[a-z]*.py"))
# Rows that differ from their source, for a reason that the page states; all others agree or are our choice.
DIFFER = {
    "line": set(),
    "ecram": {"energy per spike at 0.87 MHz", "positive-feedback LIF, energy per spike"},
    "neo_hebbian": {"energy per step of a cell, w = 1", "update of an unheated twin over the largest"},
    "quantum_dot": {
        "asymmetric Hebbian: the window opens",
        "asymmetric Hebbian: the window closes",
        "symmetric anti-Hebbian: ΔG at the longest delay",
        "delays of the first and the last level",
        "G0 of the largest relative rise",
    },
    "stc": {
        "the same at the source's I_TH, 10 pA",
        "10 to 90 % width of the comparator",
        "change of the weight",
        "leakage of potentiation, depression",
        "fall, rise of the weight",
        "late phase of 8 bits − of 16 bits at 10 s, ×32",
    },
}


def test_every_example_is_tested_and_listed() -> None:
    assert sorted(DIFFER) == NAMES
    listed = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    run = (EXAMPLES.parent / "run").read_text(encoding="utf-8")
    for name in NAMES:
        assert f"`{name}.py`" in listed
        assert re.search(rf"for page in [\w ]*\b{name}\b", run)


@pytest.mark.spice
@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.needs("sklearn")) if n == "line" else n for n in NAMES]
)
def test_an_example_writes_its_page(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert import_module(f"examples.{name}").main(["--quick", "-o", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    verdicts = re.findall(r"^(agrees|differs|cannot tell|our choice) +(.+?):  ", said, re.MULTILINE)
    assert {quantity for verdict, quantity in verdicts if verdict in ("differs", "cannot tell")} == DIFFER[name], said
    assert any(verdict == "agrees" for verdict, _ in verdicts)
    page = (tmp_path / f"{name}.html").read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") >= 3
    assert not re.search(r'(src|href)="(?!data:)', page)  # nothing in it points elsewhere
