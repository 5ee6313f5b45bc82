"""What a fit leaves in files: the parameter set, the result, its page; and when there is no set to write."""

from __future__ import annotations

import json
import os
from pathlib import Path

import tomli_w

from cosim.files import write_atomic
from cosim.fitting.joint_result import JointResult
from cosim.fitting.result import FitResult
from cosim.fitting.saved import record

DETERMINED = ("identifiable", "conditional", "weakly identifiable")


def lawful(result: FitResult | JointResult) -> bool:
    """Whether it is a law that belongs to no device: it has no parameter set, and a constant is an answer too."""
    return isinstance(result, FitResult) and bool(result.recipe.law)


def nothing_determined(result: FitResult | JointResult) -> str:
    """Why there is no parameter set to write; "" where at least one parameter is determined."""
    if lawful(result):
        return f"{result.recipe.subject} belongs to no device"
    if not result.verdict.useful:
        return "the law explains no more than a constant"
    if not any(row.verdict.status in DETERMINED for row in result.rows()):
        return "none of its parameters is identifiable"
    return ""


def write(result: FitResult | JointResult, path: Path, *, anyway: bool = False) -> tuple[list[Path], str]:
    """Write the result (``path`` with .json) and, if anything is determined or ``anyway``, the set (``path``, .toml).

    Returns what was written, and why the set was not: "" if it was.
    """
    why = nothing_determined(result)
    told = json.dumps(record(result), indent=2, allow_nan=False, default=_plain)
    if why and (not anyway or lawful(result)):
        return [write_atomic(path.with_suffix(".json"), told + "\n")], why
    return [result.save(path), write_atomic(path.with_suffix(".json"), told + "\n")], ""


def write_recipe(result: FitResult, path: Path, *, data: Path) -> Path:
    """The recipe of a result as a file that `cosim fit` takes, with ``data`` as its file, from the recipe's folder."""
    body = result.recipe.model_dump(mode="json", exclude_defaults=True)
    body["data"]["file"] = Path(os.path.relpath(data.resolve(), path.resolve().parent)).as_posix()
    return write_atomic(path, tomli_w.dumps(body))


def _plain(value: object) -> object:
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")
