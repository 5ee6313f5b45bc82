"""The order of the packages: each imports only what stands above it, inside functions too.

A figure is drawn by whoever is asked to plot itself, so `report` may be imported from anywhere, inside functions only.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import cosim

ROOT = Path(cosim.__file__).parent
ORDER = (
    "errors", "units", "packages", "files", "resources", "toml_lines", "toml_files", "wording", "devices", "parameters",
    "schema", "emit", "language", "engines", "statistics", "bench", "campaign", "data",
    "fitting", "surrogate", "export", "network", "heat", "lint", "report", "cli",
)  # fmt: skip


def imports(tree: ast.Module) -> Iterator[tuple[str, int, bool]]:
    """Modules of cosim that a module imports, the line, and whether that happens inside a function."""
    annotations = {
        id(child)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for child in ast.walk(node)
    }
    inside = {
        id(child)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for child in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in annotations:
            continue
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "cosim":
            names = [node.module] if node.module != "cosim" else [f"cosim.{entry.name}" for entry in node.names]
        elif isinstance(node, ast.Import):
            names = [entry.name for entry in node.names if entry.name.startswith("cosim.")]
        else:
            continue
        for name in names:
            yield name.split(".")[1], node.lineno, id(node) in inside


def arrows(room: str) -> Iterator[tuple[str, str]]:
    """(imported package, place) for every import of another package in ``room``, a package or a module."""
    for path in sorted([*ROOT.glob(f"{room}.py"), *ROOT.glob(f"{room}/**/*.py")]):
        for target, line, inside in imports(ast.parse(path.read_text(encoding="utf-8"))):
            if target not in (room, "__version__") and not (target == "report" and inside):
                yield target, f"{path.relative_to(ROOT.parent)}:{line}"


def test_every_room_has_its_place() -> None:
    rooms = {path.stem for path in ROOT.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert rooms - {"__init__", "__main__"} <= set(ORDER), "write the new package into ORDER"


@pytest.mark.parametrize("room", ORDER)
def test_a_package_imports_only_what_stands_above_it(room: str) -> None:
    back = [
        f"{place}: {room} imports {target}, which stands below it"
        for target, place in arrows(room)
        if ORDER.index(target) > ORDER.index(room)
    ]
    assert back == []
