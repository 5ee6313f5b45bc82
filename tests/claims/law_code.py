"""What code says, apart from how: a digest that moves when a law does, and not with a comment.

Comments, layout, docstrings, annotations, imports and the wording of errors do not count; names, numbers and the order
of statements do.
"""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from cosim import resources

# Fields that say nothing of what runs, or that another Python has not.
_LEFT_OUT = frozenset({"annotation", "returns", "type_comment", "kind", "type_params", "type_ignores"})


def _silent(node: Any) -> bool:
    """Whether it does nothing: an import, or a docstring."""
    return isinstance(node, ast.Import | ast.ImportFrom) or (
        isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    )


def _said(node: Any) -> Any:
    """A syntax tree as lists and strings."""
    if isinstance(node, list):
        return [_said(part) for part in node if not _silent(part)]
    if not isinstance(node, ast.AST):
        return repr(node)
    if isinstance(node, ast.Raise):
        return "Raise"
    fields = ast.iter_fields(node)
    kept = ([name, _said(value)] for name, value in fields if name not in _LEFT_OUT and value not in (None, []))
    return [type(node).__name__, *kept]


def digest_of(texts: Collection[str]) -> str:
    """SHA-256 of what Python ``texts`` say, in whatever order and files they stand; cut to 16 digits."""
    said = sorted(json.dumps(part) for text in texts for part in _said(ast.parse(text).body))
    return hashlib.sha256("\n".join(said).encode()).hexdigest()[:16]


def law_digest(patterns: Collection[str]) -> str:
    """`digest_of` the files of cosim that match the ``patterns``. Raises AssertionError where one matches none."""
    root = Path(resources.__file__).parent
    files: set[Path] = set()
    for pattern in patterns:
        found = set(root.glob(pattern))
        assert found, f"no file of cosim matches {pattern}"
        files |= found
    return digest_of([path.read_text(encoding="utf-8") for path in sorted(files)])
