"""Recorded results of long claims: written by ``reproduce``, checked for age by the tests.

A record is old when the code that it depends on has changed. Code is compared by its syntax tree without docstrings,
so that a comment, a docstring or a line break does not make an hour of simulation worthless.
"""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cosim import __version__, resources
from cosim.claims.base import Claim
from cosim.errors import InputError
from cosim.files import write_atomic

PACKAGE = Path(__file__).resolve().parent.parent


def _tree(source: str) -> str:
    tree = ast.parse(source)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if (
            isinstance(body, list)
            and body
            and isinstance(body[0], ast.Expr)
            and isinstance(body[0].value, ast.Constant)
        ):
            del body[0]
    return ast.dump(tree)


def code_hash(depends: tuple[str, ...]) -> str:
    """SHA-256 of files and folders below the package, or of what ships (``netlists/`` and so on)."""
    digest = hashlib.sha256()
    for name in depends:
        root = PACKAGE / name
        if not root.exists():
            kind, _, rest = name.partition("/")
            if kind not in ("netlists", "device_models", "fits"):
                raise InputError(f"a claim depends on {name!r}, which does not exist")
            root = resources.folder(kind) / rest
        files = sorted(root.rglob("*.py")) if root.is_dir() else [root]
        if not files or not all(path.is_file() for path in files):
            raise InputError(f"claim depends on {name!r}, which does not exist")
        for path in files:
            text = path.read_text(encoding="utf-8")
            digest.update(path.name.encode() + (_tree(text) if path.suffix == ".py" else text).encode())
    return digest.hexdigest()


def path_of(claim: Claim) -> Path:
    """Where a claim's record is shipped."""
    return resources.folder("fits") / "results" / f"{claim.name}.json"


def write(claim: Claim, figures: Mapping[str, Any]) -> Path:
    """Record ``figures``; only in a checkout, because what is installed is never written to."""
    path = path_of(claim)
    if PACKAGE in path.parents:
        raise InputError("records are kept in a checkout only", remedy="clone the repository and install it with -e")
    record = {
        "claim": claim.name,
        "says": claim.says,
        "figures": dict(figures),
        "made": datetime.now(UTC).strftime("%Y-%m-%d"),
        "version": __version__,
        "code": code_hash(claim.depends),
    }
    return write_atomic(path, json.dumps(record, indent=2, allow_nan=False) + "\n")


def read(claim: Claim) -> dict[str, Any] | None:
    """The record of a claim; None where there is none."""
    path = path_of(claim)
    if not path.is_file():
        return None
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found
