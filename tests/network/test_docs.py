"""The network that the documentation builds."""

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "networks.md"


@pytest.mark.needs("sklearn")
def test_the_network_of_the_page_learns(capsys: pytest.CaptureFixture[str]) -> None:
    code, *_ = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    space: dict = {"__name__": "page"}
    exec(code, space)
    # A tenth is chance.
    assert space["accuracy"] > 0.75
    assert capsys.readouterr().out.endswith("of the test images\n")
