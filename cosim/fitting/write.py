"""What a fit leaves in files: the parameter set, the result, its page; and when there is no set to write."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import tomli_w

from cosim.data.readers.cells import MAX_BYTES
from cosim.data.spec import ColumnSpec, DataSpec
from cosim.errors import CosimError
from cosim.files import read_plain, write_atomic
from cosim.fitting.identify import GOOD, SMALL
from cosim.fitting.joint_result import JointResult
from cosim.fitting.result import FitResult
from cosim.fitting.saved import record


def lawful(result: FitResult | JointResult) -> bool:
    """Whether it is a law that belongs to no device: it has no parameter set, and a constant is an answer too."""
    return isinstance(result, FitResult) and bool(result.recipe.law)


def nothing_determined(result: FitResult | JointResult) -> str:
    """Why there is no parameter set to write; "" where a parameter is determined, or is on a stated condition."""
    if lawful(result):
        return f"{result.recipe.subject} belongs to no device"
    if not result.verdict.useful:
        return "the law explains no more than a constant"
    if _any(result, "identifiable") or condition(result):
        return ""
    would = sum(row.verdict.status == "conditional" for row in result.rows())
    why = f"; {would} would be if the model described what was measured" if would else ""
    return f"none of its parameters is identifiable{why}"


def condition(result: FitResult | JointResult) -> str:
    """On what all of a set's values hold where no parameter of it is identifiable; "" where one is, or where none do.

    The residuals must not deny the condition: it is that an assumption which makes them noise is true, or that a law
    which leaves a small part of the range (`identify.SMALL`) is right; or a product is known while its factors are not.
    """
    if _any(result, "identifiable"):
        return ""
    verdict = result.verdict
    check, conditional = verdict.residuals, _any(result, "conditional")
    if not check.white and not check.size < SMALL:
        return ""
    if conditional and check.white:
        return f"no parameter is identifiable unless {verdict.assumed}" if verdict.assumed else ""
    if conditional:
        return f"no parameter is identifiable unless the law is right, which leaves {check.size:.1g} of the range"
    known = [one.title for one in verdict.products] + [one.title for one in verdict.pairs if one.known <= GOOD]
    return f"no parameter is identifiable, only {' and '.join(dict.fromkeys(known))}" if known else ""


def _any(result: FitResult | JointResult, status: str) -> bool:
    return any(row.verdict.status == status for row in result.rows())


def write(result: FitResult | JointResult, path: Path, *, anyway: bool = False) -> tuple[list[Path], str]:
    """Write the result (``path`` with .json) and the set (``path``, .toml).

    Returns what was written, and why the set was not: "" if it was.
    """
    why = nothing_determined(result)
    told = json.dumps(record(result), indent=2, allow_nan=False, default=_plain)
    if why and (not anyway or lawful(result)):
        return [write_atomic(path.with_suffix(".json"), told + "\n")], why
    return [result.save(path), write_atomic(path.with_suffix(".json"), told + "\n")], ""


def write_recipe(result: FitResult, path: Path, *, data: Path, cut: bool = False) -> Path:
    """The recipe of a result as a file that `cosim fit` takes, with ``data`` as its file, from the recipe's folder.

    ``cut``: ``data`` is what `write_rows` wrote, not the file that was measured.
    """
    recipe = result.recipe
    if cut:
        signs = {name: spec.sign for name, spec in recipe.data.columns.items()}
        columns = {
            name: ColumnSpec(name=name, unit=unit, sign=signs.get(name)) for name, unit in result.curve.units.items()
        }
        spec = DataSpec(
            kind=result.curve.kind, columns=columns, conditions=recipe.data.conditions,
            compliance=recipe.data.compliance,
        )  # fmt: skip
        recipe = recipe.model_copy(update={"data": spec})
    body = recipe.model_dump(mode="json", exclude_defaults=True)
    body["data"]["file"] = Path(os.path.relpath(data.resolve(), path.resolve().parent)).as_posix()
    return write_atomic(path, tomli_w.dumps(body))


def same_rows(result: FitResult, file: Path) -> bool:
    """Whether the recipe of a result reads the rows that were fitted from ``file``.

    It does not where every k-th row was fitted, or where units were taken from the titles of columns.
    """
    try:
        curve = result.recipe.curve(file)
    except CosimError:
        return False
    columns = result.curve.columns
    return curve.columns.keys() == columns.keys() and all(np.array_equal(curve[n], c) for n, c in columns.items())


def copy_beside(file: Path, copy: Path) -> Path:
    """``file`` where it lies in or below the folder of ``copy``, which is made otherwise."""
    if file.resolve().is_relative_to(copy.parent.resolve()):
        return file
    return write_atomic(copy, read_plain(file, limit=MAX_BYTES, kind="data file"))


def write_rows(result: FitResult, path: Path) -> Path:
    """The rows of a result as they were measured, as a file with a column for each quantity (SI)."""
    curve, specs = result.curve, result.recipe.data.columns
    turned = [name for name, spec in specs.items() if spec.sign == -1]
    columns = [-column if name in turned else column for name, column in curve.columns.items()]
    lines = [",".join(repr(float(value)) for value in row) for row in zip(*columns, strict=True)]
    head = [f"# cut out of {curve.source or 'a recording'}", ",".join(curve.columns)]
    return write_atomic(path, "\n".join([*head, *lines]) + "\n")


def _plain(value: object) -> object:
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")
