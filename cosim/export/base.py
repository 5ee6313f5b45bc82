"""What a target is: the program that reads an export, how it is written, what it can hold, and its check.

An export is a folder: the target's own files, ``golden.json``, ``export.json`` (provenance, certificate, losses),
``LOSSES.md``, and ``check.py``. The last runs in the target's own environment, without cosim: it imports the export as
its reader would, runs the golden events, and prints the largest differences as a line of JSON.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from cosim.export.golden import Golden, Levels

if TYPE_CHECKING:
    from cosim.surrogate.model import Surrogate

CHECK = "check.py"


@dataclass(frozen=True)
class Draft:
    """What a target writes from: the surrogate, a name for what is defined, and golden events."""

    surrogate: Surrogate
    name: str
    make: Callable[[], Golden]

    @cached_property
    def golden(self) -> Golden:
        """The golden events."""
        return self.make()


Files = Mapping[str, str | bytes]


@dataclass(frozen=True)
class Target:
    """A program that surrogates are exported to.

    Args:
        name: as ``--to`` takes it.
        versions: of the program that the export is for, in words.
        packages: what an environment needs to run `check.py`, as pip takes them.
        keeps: which `losses.FEATURES` the format holds.
        write: the target's files by name.
        lost: further sentences for ``LOSSES.md``.
        tolerance: the largest difference after the import, as a share of full scale, and what it is from.
        levels: the values of inputs that the target knows, where it knows no others.
        check: imports the export in a folder and compares, inside cosim; None: `check.py` does.
        source: of a program that has no package, what of its source `check.py` takes as its argument, in words.
        variants: the same program for surrogates of another kind of law, by its name, where they are written otherwise.
    """

    name: str
    versions: str
    packages: tuple[str, ...]
    keeps: frozenset[str]
    write: Callable[[Draft], Files]
    lost: Callable[[Surrogate], list[str]] = field(default=lambda surrogate: [])
    tolerance: tuple[float, str] = (1e-9, "rounding")
    check: Callable[[Path], Mapping[str, Any]] | None = None
    levels: Callable[[Surrogate], Levels] = field(default=lambda surrogate: {})
    source: str = ""
    variants: Mapping[str, Target] = field(default_factory=lambda: MappingProxyType({}))

    def of(self, surrogate: Surrogate) -> Target:
        """The target as it takes this surrogate."""
        return self if surrogate.learned is None else self.variants.get(surrogate.learned.kind, self)


# Every check begins and ends so: what differs is how the export is imported and run.
CHECK_BEGIN = '''"""Imports this export in {versions} and runs its golden events; prints a line of JSON.

Written by cosim.
"""

import json
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
GOLDEN = json.loads((HERE / "golden.json").read_text(encoding="utf-8"))
sys.path.insert(0, str(HERE))
try:
    import numpy as np
    {imports}
except ImportError as error:
    sys.exit(f"check: {{sys.executable}} does not have {target}: {{error}}: this export is for {versions} ({remedy})")


def column(part, kind):
    return {{name: np.array(values) for name, values in GOLDEN[part][kind].items()}}


def report(version, found, **more):
    """The largest difference from the golden answers, as a share of full scale; ``found`` is by part and name."""
    differences = {{}}
    for part in ("events", "train"):
        if not found.get(part):
            sys.exit(f"nothing was answered for the golden {{part}}")
        for name, values in found[part].items():
            wanted = np.array(GOLDEN[part]["after" if name in GOLDEN["states"] else "outputs"][name])
            values = np.asarray(values, dtype=float)
            if values.shape != wanted.shape:
                sys.exit(f"{{name}} of the golden {{part}} has the shape {{values.shape}}, not {{wanted.shape}}")
            if not np.all(np.isfinite(values)):
                sys.exit(f"{{name}} of the golden {{part}} is not finite")
            error = np.max(np.abs(values - wanted)) / GOLDEN["scale"][name]
            differences[name] = max(differences.get(name, 0.0), float(error))
    events = {{part: len(next(iter(GOLDEN[part]["after"].values()))) for part in found}}
    print(json.dumps({{"target": "{target}", "version": version, "events": events, "difference": differences, **more}}))

'''


def check_text(target: Target, *, imports: str, body: str) -> str:
    """The text of ``check.py``; ``body`` ends in a call of ``report(version, {part: {name: values}})``."""
    begin = CHECK_BEGIN.format(
        target=target.name,
        versions=target.versions,
        remedy=(f"give --source, {target.source}, and " if target.source else "")
        + "pip install "
        + " ".join(f"'{name}'" for name in target.packages),
        imports=imports,
    )
    return begin + body
