"""What a result depends on beside data and recipe: its code, as a hash, the versions under it; what was applied."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import cache
from importlib.metadata import version
from pathlib import Path

from cosim import __version__
from cosim.data.recording import Recording

# The packages whose source decides on what a fit finds.
ROOMS = ("devices", "data", "fitting")
# Of a result's files; it changes when what they say changes its meaning.
FORMAT = "1"
# Column → the quantity that was applied, and its unit.
_APPLIED = {"amplitude": ("amplitude", "V"), "voltage": ("amplitude", "V"), "width": ("width", "s")}


@cache
def code_fingerprint() -> str:
    """SHA-256 of the sources that a fit runs through."""
    root, found = Path(__file__).resolve().parents[1], hashlib.sha256()
    for path in sorted(path for room in ROOMS for path in (root / room).rglob("*.py")):
        data = path.read_bytes()
        found.update(f"{path.relative_to(root).as_posix()} {len(data)}\n".encode() + data)
    return found.hexdigest()


def made_with() -> dict[str, str]:
    """The format of a result, and the hash and versions of the code that made it."""
    return {
        "format": FORMAT,
        "code_sha256": code_fingerprint(),
        "cosim": __version__,
        **{name: version(name) for name in ("lmfit", "scipy", "numpy")},
    }


def measured_range(curves: Iterable[Recording]) -> dict[str, str]:
    """The range of voltages or amplitudes, and of pulse widths, that recordings cover: ``measured_amplitude``, …."""
    ends: dict[str, list[float]] = {}
    for curve in curves:
        for column, (name, unit) in _APPLIED.items():
            if column in curve.columns and curve.units[column] == unit:
                ends.setdefault(name, []).extend((float(curve[column].min()), float(curve[column].max())))
            elif column in curve.conditions and curve.kind == "pulse train":
                ends.setdefault(name, []).append(float(curve.conditions[column]))
    si = dict(_APPLIED.values())
    return {f"measured_{n}": f"{min(found)!r} {si[n]} .. {max(found)!r} {si[n]}" for n, found in ends.items()}
