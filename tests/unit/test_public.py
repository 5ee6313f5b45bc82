"""The public face."""

import ast
import doctest
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import cosim

ROOT = Path(__file__).resolve().parents[2]


def test_all_names_load_and_are_the_lazy_ones() -> None:
    assert cosim.__all__ == sorted(cosim._WHERE, key=lambda name: (name[0].islower(), name))
    for name in cosim.__all__:
        assert getattr(cosim, name) is not None
    assert set(cosim.__all__) <= set(dir(cosim))
    typed = {
        (alias.asname or alias.name, f"{node.module}:{alias.name}" if alias.asname else node.module)
        for node in ast.walk(ast.parse(Path(cosim.__file__).read_text()))
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("cosim.")
        for alias in node.names
    }
    assert typed == set(cosim._WHERE.items())  # what type checkers see is what is loaded


def test_the_documentation_takes_everything_from_it() -> None:
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for code in re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
            for node in ast.walk(ast.parse(code)):
                if isinstance(node, ast.ImportFrom) and str(node.module).startswith("cosim"):
                    assert node.module == "cosim", f"{page.name}: {ast.unparse(node)}"
                if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "cosim":
                    assert node.attr in cosim.__all__, f"{page.name}: cosim.{node.attr}"


def test_import_is_light() -> None:
    code = "import sys, cosim; sys.exit(any(m in sys.modules for m in ('numpy', 'scipy', 'matplotlib', 'PySpice')))"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


SIMULATES = re.compile(r"open_simulator\(|\.run\(|pulse_experiment\(|Campaign\.begin\(|Processes\(")


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.spice) if SIMULATES.search(getattr(cosim, name).__doc__) else name
        for name in cosim.__all__
    ],
)
def test_its_examples_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = getattr(cosim, name).__doc__
    if "digits" in text and find_spec("sklearn") is None:
        pytest.skip("the package scikit-learn is not installed (extra 'train')")
    if "emcee" in text and find_spec("emcee") is None:
        pytest.skip("the package emcee is not installed (extra 'posterior')")
    monkeypatch.chdir(tmp_path)
    test = doctest.DocTestParser().get_doctest(text, {"cosim": cosim, "__name__": "example"}, name, None, 0)
    assert test.examples, f"the docstring of {name} has no example"
    told: list[str] = []
    doctest.DocTestRunner(verbose=False).run(test, out=told.append)
    assert not told, "".join(told)
