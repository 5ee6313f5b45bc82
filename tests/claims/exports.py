"""Exports imported again: each target in an environment of its own, against the surrogates' golden events.

The environments lie in cosim's cache, ``targets/<name>``, and are made by pip from `Target.packages` where they are not
there. SPICE and Verilog-A run in the machine's ngspice.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import venv
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from claims.base import Claim, Figures, Report
from cosim.errors import InputError
from cosim.export.base import Target
from cosim.export.names import TARGETS
from cosim.export.registry import target_named
from cosim.export.write import checked, export_surrogate
from cosim.parameters import ParameterSet
from cosim.surrogate.model import Surrogate
from cosim.surrogate.references import Equations
from cosim.surrogate.train import train

# Parameter set, device and map.
SUBJECTS = (
    ("tio2", "threshold_memristor", "pulse"),
    ("hfo2", "cell_1t1r", "pulse"),
    ("slow", "ecram", "spike"),
    ("vteam_2015", "vteam", "pulse"),
)
# What cannot go where, by target and subject, and how the refusal begins; everything else is imported.
_VTEAM, _ECRAM = "vteam_2015 vteam pulse", "slow ecram spike"
REFUSED: Mapping[tuple[str, str], str] = {
    ("spice", _VTEAM): "the map pulse of vteam is integrated, and has no block",
    ("verilog-a", _VTEAM): "the map pulse of vteam is integrated, and has no block",
    ("brian2", _VTEAM): "the map pulse of vteam is integrated, and a synapse's code holds closed maps",
    ("torch", _VTEAM): "the map pulse of vteam is integrated, and a PyTorch module holds closed maps",
    ("aihwkit", _ECRAM): "the map spike of ecram has 3 states and 1 inputs, and a device of aihwkit one weight",
}
SPREAD = {"threshold_memristor": {"theta_p": 0.05}}
PULSES, EVENTS, SEED = 100, 40, 11
# The oldest numpy that has wheels for cosim's Python, and is another than the tests': the loader is for both.
OLDER = {"numpy": ("numpy<2",)}
INSTALL = 1800.0  # s


def environment(target: Target) -> Path:
    """The interpreter of the environment of ``target``, which is made where it is not there or is of other packages."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cosim" / "targets"
    folder, packages = cache / target.name, OLDER.get(target.name, target.packages)
    python, stamp = folder / "bin" / "python", folder / "cosim-packages"
    wanted = "\n".join([*packages, sys.version])
    if not stamp.is_file() or stamp.read_text(encoding="utf-8") != wanted:
        if not python.is_file():
            venv.create(folder, with_pip=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages]
        done = subprocess.run(pip, capture_output=True, text=True, timeout=INSTALL, check=False)
        if done.returncode:
            raise InputError(f"pip could not install {', '.join(packages)}: {done.stderr.strip()[-300:]}")
        stamp.write_text(wanted, encoding="utf-8")
    return python


def surrogate_of(name: str, device: str, event: str) -> Surrogate:
    """A certified surrogate of a shipped set."""
    plain = Surrogate(ParameterSet.load(name).for_device(device), event)
    return train(plain, Equations(), pulses=PULSES, seed=SEED, spread=SPREAD.get(device, {}))[0]


def require_expected(imported: Collection[tuple[str, str]], refused: Mapping[tuple[str, str], str]) -> None:
    """Raises `InputError` unless exactly the pairs of target and subject in `REFUSED` were refused, for its reasons."""
    every = {(name, " ".join(subject)) for name in TARGETS for subject in SUBJECTS}
    for pair in sorted({*every, *imported, *refused, *REFUSED}):
        why, wanted = refused.get(pair), REFUSED.get(pair)
        fits = (why is None) == (wanted is None) and (why or "").startswith(wanted or "")
        if pair not in every or not fits or (pair in imported) == (pair in refused):
            expected = "is imported" if wanted is None else f"is refused because {wanted}"
            found = f"was refused because {why}" if why else "was imported" if pair in imported else "was not tried"
            raise InputError(f"{' of '.join(pair)} {expected}, and {found}", remedy="mend the export, or the claim")


def measure(tell: Report) -> Figures:
    """Every subject in every target that can express it."""
    surrogates = {}
    for subject in SUBJECTS:
        tell(f"certifying {' '.join(subject)}")
        surrogates[subject] = surrogate_of(*subject)
    rows: list[dict[str, Any]] = []
    refused: list[dict[str, str]] = []
    for name in TARGETS:
        target = target_named(name)
        tell(f"the environment of {name}")
        where = {} if target.check is not None else {"python": environment(target)}
        for subject, surrogate in surrogates.items():
            tell(f"{' '.join(subject)} in {name}")
            with tempfile.TemporaryDirectory(prefix="cosim-export-") as folder:
                try:
                    made = export_surrogate(surrogate, name, Path(folder) / name, events=EVENTS, seed=SEED)
                except InputError as error:
                    refused.append({"target": name, "subject": " ".join(subject), "why": str(error)})
                    continue
                found = checked(made.folder, **where)
            rows.append(
                {
                    "subject": " ".join(subject),
                    "worst": max(found["difference"].values()),
                    "tolerance": target.tolerance[0],
                    "why": target.tolerance[1],
                    "versions": target.versions,
                    "losses": list(made.losses),
                    "branches": made.golden.document["branches"],
                    **found,
                    "target": name,
                }
            )
    require_expected(
        {(row["target"], row["subject"]) for row in rows},
        {(entry["target"], entry["subject"]): entry["why"] for entry in refused},
    )
    figures: Figures = {}
    for name in TARGETS:
        of = [row["worst"] for row in rows if row["target"] == name]
        if of:
            figures[name.replace("-", "_")] = max(of)
    return {**figures, "imports": len(rows), "rows": rows, "refused": refused}


def probe() -> Figures:
    """The loader of numpy, and the golden events of a surrogate without a certificate."""
    surrogate = Surrogate(ParameterSet.load("tio2"))
    with tempfile.TemporaryDirectory(prefix="cosim-export-") as folder:
        made = export_surrogate(surrogate, "numpy", folder, events=10, seed=SEED, uncertified=True)
        found = checked(made.folder)
    events = made.golden.document["events"]
    sums = {name: sum(values) for name, values in {**events["after"], **events["outputs"]}.items()}
    return {**sums, "within": max(found["difference"].values()) < 1e-12}


def settings() -> Mapping[str, Any]:
    """All that the figures depend on but the code."""
    packages = {name: list(OLDER.get(name, target_named(name).packages)) for name in TARGETS}
    prints = {" ".join(subject): ParameterSet.load(subject[0]).fingerprint() for subject in SUBJECTS}
    return {
        "subjects": prints,
        "spread": SPREAD,
        "pulses": PULSES,
        "events": EVENTS,
        "seed": SEED,
        "packages": packages,
    }


EXPORTS = Claim(
    "exports",
    "Each export, imported again in its target, repeats the surrogate's golden events",
    measure,
    {
        **{name.replace("-", "_"): (None, target_named(name).tolerance[0]) for name in TARGETS},
        "imports": (len(TARGETS), None),
    },
    long=True,
    settings=settings,
    probe=probe,
)
