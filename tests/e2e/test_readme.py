"""The README is true: its Python runs, its commands exist, its claims are claims, its files are there."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from claims.registry import CLAIMS
from cosim.cli.app import VERBS

README = Path(__file__).resolve().parents[2] / "README.md"
TEXT = README.read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    found = re.findall(r"^```(\w*)\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)  # opening and closing in turns
    assert found
    return [text for tongue, text in found if tongue == language]


@pytest.mark.spice
@pytest.mark.slow
def test_the_python_runs(tmp_path: Path) -> None:
    (code,) = blocks("python")
    script = tmp_path / "readme.py"
    script.write_text(code)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", str(script)],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "of 9 parameters identifiable" in done.stdout
    accuracy = re.search(r"([\d.]+)% of the test images", done.stdout)
    assert accuracy is not None
    # 20 neurons and 600 images: far above the 10 % of chance, whatever the seed
    assert float(accuracy[1]) > 30
    assert (tmp_path / "cell.toml").exists()


def test_its_commands_exist() -> None:
    commands = [line.split("#")[0].split() for block in blocks("") for line in block.splitlines()]
    named = {words[1] for words in commands if words[:1] == ["cosim"]}
    assert {"run", "validate", "fit", "surrogate", "network"} <= named <= set(VERBS)


def test_its_claims_are_claims() -> None:
    named = re.findall(r"\| `(\w+)` \|$", TEXT, re.MULTILINE)
    assert named
    assert set(named) <= set(CLAIMS)


def test_its_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)]+)\)", TEXT):
        assert (README.parent / target).exists(), target


def test_it_says_how_a_checkout_runs_its_commands_and_stays_short() -> None:
    """Every command of its examples is one of the installed package; a checkout has `./run cosim`, and is told so."""
    before, _, after = TEXT.partition("`./run cosim …`")
    assert after
    assert not re.search(r"^cosim ", before, re.MULTILINE)
    assert len(TEXT.splitlines()) <= 130


def test_claims_that_it_mentions_are_claims() -> None:
    """Those of the table, and the words in backquotes in the sentence above it."""
    section = TEXT.partition("## What it claims")[2].partition("\n## ")[0]
    mentioned = set(re.findall(r"`(\w+)`", section))
    assert mentioned >= {"engines", "overhead", "heat", "kills", "line", "mnist"}
    assert mentioned <= set(CLAIMS)
