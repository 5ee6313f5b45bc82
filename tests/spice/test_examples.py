"""The examples: each writes its page, and what it says of its source is what it said before."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import pytest

from cosim.report.comparison import VERDICTS

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
NAMES = sorted(path.stem for path in EXAMPLES.glob("[a-z]*.py"))
# Rows that differ from their source, for a reason that the page states; all others agree, or are our choice and kept.
TABLE_2 = (
    "largest ΔG, asymmetric Hebbian",
    "smallest ΔG, asymmetric Hebbian",
    "smallest ΔG, asymmetric anti-Hebbian",
    "delay of the largest ΔG, asymmetric anti-Hebbian",
    "delay of the smallest ΔG, asymmetric anti-Hebbian",
    "largest ΔG, symmetric Hebbian",
    "smallest ΔG, symmetric anti-Hebbian",
    "ΔG at −4 ms, asymmetric Hebbian",
    "ΔG at +2 ms, asymmetric Hebbian",
    "ΔG at −2 ms, asymmetric anti-Hebbian",
    "ΔG at +6 ms, symmetric Hebbian",
    "ΔG at +6 ms, symmetric anti-Hebbian",
)
DIFFER: dict[str, set[str]] = {
    "line": set(),
    "ecram": set(),
    "neo_hebbian": set(),
    "quantum_dot": {f"quantum_dot_table_2: {row}" for row in TABLE_2}
    | {"quantum_dot_anti_symmetric: rms distance from Table 2"},
    "stc": set(),
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
    verdicts = re.findall(rf"^({'|'.join(sorted(VERDICTS, reverse=True))}) +(.+?):  ", said, re.MULTILINE)
    fine = ("agrees", "our choice", "our choice: kept")
    assert {quantity for verdict, quantity in verdicts if verdict not in fine} == DIFFER[name], said
    assert len(verdicts) >= 10
    page = (tmp_path / f"{name}.html").read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") >= 2
    assert not re.search(r'(src|href)="(?!data:)', page)  # nothing in it points elsewhere
