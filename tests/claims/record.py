"""Recorded results of long claims: written by ``reproduce``, held against the present state by the tests.

A record is of today when three things are what they were: what the claim ran on (settings, seeds, parameter values,
checksums of data, limits), the figures as they were written, and what the code makes of a *probe*: the claim's own
computation, made small enough to be repeated in seconds. Where code stands decides nothing: moved or renamed, it gives
the same probe, and code that computes something else does not.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cosim
from claims.base import Claim, Figures
from cosim import __version__, resources
from cosim.errors import InputError
from cosim.files import write_atomic

PACKAGE = Path(cosim.__file__).resolve().parent
# Largest relative difference of a probe's figures: libraries round differently on other machines and in other
# versions, by some 1e-13 in these computations; a changed constant or seed moves them by far more.
SAME = 1e-6


def path_of(claim: Claim) -> Path:
    """Where a claim's record is shipped."""
    return resources.folder("fits") / "results" / f"{claim.name}.json"


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """As JSON gives it back; a dataclass becomes an object of its fields."""
    plain: dict[str, Any] = json.loads(json.dumps(dict(values), allow_nan=False, default=_content))
    return plain


def _content(value: Any) -> dict[str, Any]:
    if is_dataclass(value):
        return {entry.name: getattr(value, entry.name) for entry in fields(value)}
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


def _seal(record: Mapping[str, Any]) -> str:
    """SHA-256 of all of a record but the seal itself."""
    rest = {key: value for key, value in record.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True, allow_nan=False).encode()).hexdigest()


def _inputs(claim: Claim) -> dict[str, Any]:
    limits = {name: list(ends) for name, ends in claim.limits.items()}
    return _plain({"says": claim.says, "limits": limits, "settings": claim.settings()})


def write(claim: Claim, figures: Figures) -> Path:
    """Record ``figures``; only in a checkout, because what is installed is never written to.

    Raises `InputError` for an installed package and for a claim without a probe, whose record nothing could contradict.
    """
    path = path_of(claim)
    if PACKAGE in path.parents:
        raise InputError("records are kept in a checkout only", remedy="clone the repository and install it with -e")
    if claim.probe is None:
        raise InputError(f"{claim.name} has no probe, without which an outdated record would go unnoticed")
    record = {
        "claim": claim.name,
        **_inputs(claim),
        "figures": _plain(figures),
        "probe": _plain(claim.probe()),
        "made": datetime.now(UTC).strftime("%Y-%m-%d"),
        "version": __version__,
    }
    return write_atomic(path, json.dumps({**record, "sha256": _seal(record)}, indent=2) + "\n")


def read(claim: Claim) -> dict[str, Any] | None:
    """The record of a claim; None where there is none. Raises `InputError` where it was edited since it was written."""
    path = path_of(claim)
    if not path.is_file():
        return None
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if found.get("sha256") != _seal(found):
        raise InputError(f"{path} was edited after it was measured", remedy=f"./run reproduce {claim.name}")
    return found


def _given(settings: Any) -> Any:
    """Settings without those that are None: a new one that is not given was not there before."""
    if isinstance(settings, Mapping):
        return {name: _given(value) for name, value in settings.items() if value is not None}
    return [_given(value) for value in settings] if isinstance(settings, list) else settings


def out_of_date(claim: Claim, found: Mapping[str, Any]) -> list[str]:
    """Why a record says nothing about today's code; empty where it is fresh. Runs the claim's probe."""
    now = _inputs(claim)
    reasons = [f"its {name} changed" for name in ("says", "limits") if found[name] != now[name]]
    before, after = _given(found["settings"]), _given(now["settings"])
    reasons += [
        f"its setting {name} was {before.get(name)!r}, is {after.get(name)!r}"
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    ]
    assert claim.probe is not None  # a record is written with one
    then, today = found["probe"], _plain(claim.probe())
    reasons += [
        f"the probe's {name} was {then.get(name)}, is {today.get(name)}"
        for name in sorted(then.keys() | today.keys())
        if not _same(then.get(name), today.get(name))
    ]
    return reasons


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, float) and isinstance(b, float):
        return math.isclose(a, b, rel_tol=SAME, abs_tol=0.0)
    return bool(a == b)
