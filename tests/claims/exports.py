"""Exports imported again: each target in an environment of its own, against the surrogates' golden events.

The environments lie in cosim's cache, ``targets/<name>``, and are made by pip from `Target.packages` where they are not
there. SPICE and Verilog-A run in the machine's ngspice; of CrossSim and NeuroSim, which have no package,
``COSIM_CROSSSIM``, ``COSIM_CROSSSIM2`` and ``COSIM_NEUROSIM`` are the folders with their source.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import venv
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from claims.base import Claim, Figures, Report
from claims.exports_subjects import (
    HELD,
    PULSES,
    SAMPLES,
    SEED,
    SPIKES,
    SPREAD,
    SUBJECTS,
    TRAINS,
    Subject,
    steps,
)
from cosim import resources
from cosim.campaign.cache import own_folder
from cosim.engines.registry import open_simulator
from cosim.engines.simulator import Simulator
from cosim.errors import EmitError, InputError
from cosim.export.base import Target
from cosim.export.names import TARGETS
from cosim.export.registry import target_named
from cosim.export.write import checked, export_surrogate
from cosim.files import write_atomic
from cosim.parameters import ParameterSet
from cosim.surrogate.files import load, save
from cosim.surrogate.model import Surrogate

# Learned circuits are not tried in targets that see no more of them than of a cell.
LEARNED = tuple(f"clipped charge by {kind}" for kind in ("polynomial", "spline", "trees", "network"))
# Their plain forms are trained by scikit-learn, whose versions differ: the probe leaves them out.
TRAINED = ("tio2 with a learned remainder", *LEARNED[2:])
CELLS_ALONE = ("aihwkit", "crosssim", "crosssim2", "neurosim", "nest", "nir")
# What cannot go where, by target and subject, and how the refusal begins; everything else is imported.
_VTEAM, _SLOW, _FAST = "vteam_2015 vteam pulse", "slow ecram spike", "fast ecram spike"
_TIO2, _HFO2, _REST = "tio2 threshold_memristor pulse", "hfo2 cell_1t1r pulse", "tio2 with a learned remainder"
_LIF, _DPI, _TREES = "lif neuron", "dpi filter", "clipped charge by trees"
_ONE_CONDUCTANCE = ("crosssim", "crosssim2", "neurosim")
_WRITTEN = ("spice", "verilog-a", "brian2", "torch")
REFUSED: Mapping[tuple[str, str], str] = {
    ("spice", _VTEAM): "the map pulse of vteam is integrated, and has no block",
    ("verilog-a", _VTEAM): "the map pulse of vteam is integrated, and has no block",
    ("brian2", _VTEAM): "the map pulse of vteam is integrated, and a synapse's code holds closed maps",
    ("torch", _VTEAM): "the map pulse of vteam is integrated, and a PyTorch module holds closed maps",
    **{(name, _TREES): "the map charge of clipped: its law is learned, of kind trees" for name in _WRITTEN},
    **{(name, _LIF): "the map lif of " for name in (*_WRITTEN, *CELLS_ALONE) if name != "brian2"},
    **{(name, _DPI): "the map calcium of " for name in (*_WRITTEN, *CELLS_ALONE) if name != "nir"},
    **{("aihwkit", name): "the map spike of ecram has 3 states and 1 inputs" for name in (_SLOW, _FAST)},
    **{
        (name, spike): "the map spike of ecram has 3 states, and a device of "
        for name in _ONE_CONDUCTANCE
        for spike in (_SLOW, _FAST)
    },
    ("neurosim", _HFO2): "a pulse ",  # up or down does not follow NeuroSim's law
    **{(name, _VTEAM): "the conductance of vteam does not rise with x" for name in _ONE_CONDUCTANCE},
    **{("nir", name): "the map pulse of " for name in (_TIO2, _HFO2, _VTEAM, _REST)},
    **{("nir", name): "the map spike of ecram is not a filter" for name in (_SLOW, _FAST)},
    **{("nest", name): "the map pulse of " for name in (_TIO2, _HFO2, _VTEAM, _REST)},
    ("nest", _SLOW): "0.3 of a spike's step of slow relaxes with a second time constant",
}
EVENTS = 20
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


def source_of(target: Target) -> Path | None:
    """The folder with the source of a target that has no package, from the environment; raises `InputError`."""
    if not target.source:
        return None
    variable = f"COSIM_{target.name.upper()}"
    if variable not in os.environ:
        raise InputError(f"{target.name} has no package", remedy=f"set {variable} to {target.source}")
    return Path(os.environ[variable])


def pairs() -> list[tuple[str, Subject]]:
    """Each target with each subject that is tried in it."""
    return [
        (name, subject) for name in TARGETS for subject in SUBJECTS
        if not (name in CELLS_ALONE and subject.name in LEARNED)
    ]  # fmt: skip


def require_expected(imported: Collection[tuple[str, str]], refused: Mapping[tuple[str, str], str]) -> None:
    """Raises `InputError` unless exactly the pairs of target and subject in `REFUSED` were refused, for its reasons."""
    every = {(name, subject.name) for name, subject in pairs()}
    for pair in sorted({*every, *imported, *refused, *REFUSED}):
        why, wanted = refused.get(pair), REFUSED.get(pair)
        fits = (why is None) == (wanted is None) and (why or "").startswith(wanted or "")
        if pair not in every or not fits or (pair in imported) == (pair in refused):
            expected = "is imported" if wanted is None else f"is refused because {wanted}"
            found = f"was refused because {why}" if why else "was imported" if pair in imported else "was not tried"
            raise InputError(f"{' of '.join(pair)} {expected}, and {found}", remedy="mend the export, or the claim")


def folder() -> Path:
    """Where surrogates and rows are kept: a run that was stopped goes on as long as the code is the same."""
    given = os.environ.get("COSIM_EXPORTS", "")
    return Path(given) if given else own_folder() / "exports"


def stamp(*more: str, rooms: Collection[str] = ("surrogate",)) -> str:
    """Of the code in cosim's ``rooms`` and of the subjects, and of what ``more`` a part depends on."""
    root, digest = Path(resources.__file__).parent, hashlib.sha256("\n".join(more).encode())
    files = (path for room in rooms for path in sorted((root / room).rglob("*.py")))
    for path in (Path(__file__).with_name("exports_subjects.py"), *files):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def certified(subject: Subject, simulator: Simulator) -> Surrogate:
    """A subject's surrogate, of this run or of an earlier one."""
    path = folder() / f"{subject.name.replace(' ', '_').replace(':', '_')}-{stamp(subject.text())}.npz"
    if not path.is_file():
        folder().mkdir(parents=True, exist_ok=True)
        save(subject.certified(simulator), path)
    return load(path)


def imported(name: str, subject: Subject, surrogate: Surrogate) -> dict[str, Any]:
    """The row of a target and a subject, or why it was refused, of this run or of an earlier one."""
    target = target_named(name)
    more = (name, subject.name, surrogate.fingerprint(), *target.packages, sys.version)
    of = stamp(*more, rooms=("surrogate", "export", "emit"))
    path = folder() / f"row-{of}.json"
    if path.is_file():
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return found
    where: dict[str, Any] = (
        {} if target.check is not None else {"python": environment(target), "source": source_of(target)}
    )
    with tempfile.TemporaryDirectory(prefix="cosim-export-") as place:
        try:
            # an export says what its surrogate gives, however good that is
            made = export_surrogate(surrogate, name, Path(place) / name, events=EVENTS, seed=SEED, uncertified=True)
        except (InputError, EmitError) as error:
            return {"target": name, "subject": subject.name, "refused": str(error)}
        row = {
            "subject": subject.name,
            **({"law": law} if (law := subject.law()) else {}),
            "tolerance": made.target.tolerance[0],
            "why": made.target.tolerance[1],
            "versions": made.target.versions,
            "losses": list(made.losses),
            "branches": made.golden.document["branches"],
            "figure": figure_of(made.target),
            **checked(made.folder, **where),
            "target": name,
        }
    row["worst"] = max(row["difference"].values())
    write_atomic(path, json.dumps(row, indent=1).encode())
    return row


def measure(tell: Report) -> Figures:
    """Every subject in every target that can express it."""
    surrogates = {}
    with open_simulator(workers=2) as simulator:
        for subject in SUBJECTS:
            tell(f"certifying {subject.name}")
            surrogates[subject.name] = certified(subject, simulator)
    rows: list[dict[str, Any]] = []
    refused: list[dict[str, str]] = []
    worst: dict[str, float] = {}
    for name, subject in pairs():
        tell(f"{subject.name} in {name}")
        row = imported(name, subject, surrogates[subject.name])
        if "refused" in row:
            refused.append({"target": name, "subject": subject.name, "why": row["refused"]})
            continue
        figure = row.pop("figure")
        worst[figure] = max(worst.get(figure, 0.0), row["worst"])
        rows.append(row)
    require_expected(
        {(row["target"], row["subject"]) for row in rows},
        {(entry["target"], entry["subject"]): entry["why"] for entry in refused},
    )
    return {**worst, "rows": rows, "refused": refused}


def figure_of(target: Target) -> str:
    """The figure that a target's differences count for: a variant of its own has its own."""
    variants = {id(variant): f"{target.name}_{kind}" for kind, variant in target_named(target.name).variants.items()}
    return variants.get(id(target), target.name).replace("-", "_")


def probe() -> Figures:
    """The loader of numpy: golden events of a plain cell; and what each subject's plain form gives."""
    surrogate = Surrogate(ParameterSet.load("tio2"))
    with tempfile.TemporaryDirectory(prefix="cosim-export-") as folder:
        made = export_surrogate(surrogate, "numpy", folder, events=10, seed=SEED, uncertified=True)
        found = checked(made.folder)
    events = made.golden.document["events"]
    sums = {name: sum(values) for name, values in {**events["after"], **events["outputs"]}.items()}
    plain = [subject for subject in SUBJECTS if subject.name not in TRAINED]
    sums |= {f"{one.name} {key}": value for one in plain for key, value in steps(one.plain()).items()}
    return {**sums, "within": max(found["difference"].values()) < 1e-12}


def settings() -> Mapping[str, Any]:
    """All that the figures depend on but the code."""
    packages = {name: list(OLDER.get(name, target_named(name).packages)) for name in TARGETS}
    return {
        "subjects": {subject.name: subject.text() for subject in SUBJECTS},
        "laws": {subject.name: law for subject in SUBJECTS if (law := subject.law())},
        "spread": SPREAD,
        "pulses": PULSES,
        "trains": [TRAINS, SPIKES],
        "samples": [SAMPLES, HELD],
        "events": EVENTS,
        "seed": SEED,
        "packages": packages,
    }


EXPORTS = Claim(
    "exports",
    "Each export, imported again in its target, repeats the surrogate's golden events",
    measure,
    {
        figure_of(target): (None, target.tolerance[0])
        for name in TARGETS
        for target in (target_named(name), *target_named(name).variants.values())
    },
    long=True,
    settings=settings,
    probe=probe,
)
