"""``export_surrogate``: a folder that another program reads, with golden events, provenance and what is lost."""

from __future__ import annotations

import hashlib
import json
import math
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cosim import __version__
from cosim.errors import EngineMissing, InputError, MissingFile, SimulationError
from cosim.export.base import CHECK, Draft, Target
from cosim.export.golden import Golden, golden
from cosim.export.laws import told
from cosim.export.losses import losses
from cosim.export.program import subject
from cosim.export.registry import target_named
from cosim.files import read_plain, write_atomic
from cosim.surrogate.gate import require_certified
from cosim.surrogate.model import Surrogate
from cosim.surrogate.named import require_plain

FORMAT, VERSION = "cosim export", 1
ABOUT = "export.json"
LARGEST = 1 << 30  # bytes of a file of an export
TIME = 600.0  # seconds that a check may take


@dataclass(frozen=True)
class Export:
    """What was written: the ``folder``, its ``files``, what the format loses, and the golden events."""

    target: Target
    folder: Path
    files: tuple[str, ...]
    losses: tuple[str, ...]
    golden: Golden


def export_surrogate(
    surrogate: Surrogate,
    target: str,
    path: str | Path,
    *,
    seed: int = 0,
    events: int = 100,
    uncertified: bool = False,
) -> Export:
    """Write ``surrogate`` for another program into the folder ``path``.

    Args:
        surrogate: with a certificate whose limits it keeps.
        target: which program, e.g. "numpy"; `cosim surrogate export --help` lists them.
        path: of the folder; an older export in it is replaced: the files that its `export.json` lists go.
        seed, events: of the golden events beside it.
        uncertified: take a surrogate without a certificate, or one that misses its limits.

    Raises:
        UnknownName: for a target that there is not. InputError: for a surrogate without a certificate, for names that
        could become code in the files (`cosim.surrogate.named`), and for a folder that holds something else. EmitError:
        for a map that the target cannot express.

    >>> from cosim.surrogate.references import Equations
    >>> cell, held_out = cosim.train(cosim.ParameterSet.load("tio2"), Equations(), pulses=100)
    >>> made = cosim.export_surrogate(cell, "numpy", "cell_numpy")
    >>> sorted(made.files)[:4]
    ['LOSSES.md', 'check.py', 'export.json', 'golden.json']
    """
    chosen, folder = target_named(target).of(surrogate), Path(path)
    require_plain(surrogate)
    if not uncertified:
        require_certified(surrogate, bare=False)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file", remedy="name a folder for the export")
    older: frozenset[str] = frozenset()
    if folder.is_dir() and any(folder.iterdir()):
        older = frozenset({ABOUT, *_described(folder)["files"]})
    name = re.sub(r"\W", "_", f"{subject(surrogate)}_{surrogate.name}", flags=re.ASCII)
    if not name[0].isalpha():  # of a module, a class or a subcircuit
        name = f"of_{name}"
    own, levels = "instances" in chosen.keeps, chosen.levels(surrogate)
    draft = Draft(surrogate, name, lambda: golden(surrogate, seed=seed, events=events, instances=own, levels=levels))
    written = dict(chosen.write(draft))
    made = draft.golden
    lost = [*losses(surrogate, keeps=chosen.keeps), *chosen.lost(surrogate)]
    written["golden.json"] = made.text()
    written["LOSSES.md"] = _losses_page(surrogate, chosen, lost)
    content = {name: text.encode() if isinstance(text, str) else text for name, text in written.items()}
    about = _about(surrogate, chosen, lost, content)
    content[ABOUT] = (json.dumps(about, indent=1, allow_nan=False) + "\n").encode()
    for file in older:  # none of an older export stays beside the new one
        (folder / file).unlink(missing_ok=True)
    for file, data in content.items():
        write_atomic(folder / file, data)
    return Export(chosen, folder, tuple(sorted(content)), tuple(lost), made)


def _about(surrogate: Surrogate, target: Target, lost: list[str], content: Mapping[str, bytes]) -> dict[str, Any]:
    certificate = surrogate.certificate
    return {
        "format": FORMAT,
        "version": VERSION,
        "target": target.name,
        "target_versions": target.versions,
        "cosim": __version__,
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "device": surrogate.device,
        "map": surrogate.name,
        "fingerprint": surrogate.fingerprint(),
        "parameters": {"name": surrogate.parameters.name, "fingerprint": surrogate.parameters.fingerprint()},
        "losses": lost,
        "tolerance": {"share of full scale": target.tolerance[0], "why": target.tolerance[1]},
        "certificate": None if certificate is None else certificate.to_dict(),
        "files": {name: hashlib.sha256(data).hexdigest() for name, data in content.items()},
    }


def _losses_page(surrogate: Surrogate, target: Target, lost: list[str]) -> str:
    lines = [
        f"# What the export to {target.name} loses",
        "",
        f"The {told(surrogate)}, for {target.versions}. The surrogate in cosim has these, and the export has not:",
        "",
        *(f"- {sentence}" for sentence in lost),
        "",
        "`golden.json` holds inputs and the surrogate's answers; `check.py` imports the export and compares.",
        "",
    ]
    return "\n".join(lines)


def _described(folder: Path) -> dict[str, Any]:
    """What the ``export.json`` of ``folder`` says. Raises `InputError` for a folder that cosim did not write.

    Its files are names without a path: nothing outside the folder is read or deleted.
    """
    remedy = "name another folder"
    path = folder / ABOUT
    if not path.is_file() or path.is_symlink():
        raise InputError(f"{folder} holds something that is not an export", remedy=remedy)
    try:
        found = json.loads(read_plain(path, limit=LARGEST, kind="description of an export"))
        told, files = (found["format"], found["version"]), found["files"]
        known = told == (FORMAT, VERSION) and all(isinstance(digest, str) for digest in files.values())
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        known, files = False, {}
    if not known or any(
        name != Path(name).name or not name.isprintable() or name in ("", "..", ABOUT) for name in files
    ):
        raise InputError(f"{path} is not the description of an export by this cosim", remedy=remedy)
    return dict(found)


def _unchanged(folder: Path, files: Mapping[str, str]) -> dict[str, bytes]:
    """The listed files of an export. Raises `InputError` where one is missing or is not what was written."""
    remedy = "export the surrogate again"
    found = {}
    for name, digest in files.items():
        path = folder / name
        if not path.is_file():
            raise InputError(f"the export in {folder} lacks {name}", remedy=remedy)
        found[name] = read_plain(path, limit=LARGEST, kind="file of an export")
        if hashlib.sha256(found[name]).hexdigest() != digest:
            raise InputError(f"{path} has changed since it was exported, and nothing was run", remedy=remedy)
    return found


def checked(
    folder: str | Path, *, python: str | Path = sys.executable, source: str | Path | None = None
) -> dict[str, Any]:
    """Import an export in its target and run its golden events.

    Args:
        folder: of the export.
        python: the interpreter of an environment that has the target; default: this one.
        source: of a target that has no package, its `Target.source`.

    Returns:
        ``version`` of the target, ``events`` and ``difference`` by state and output, as shares of full scale.

    Raises:
        MissingFile: for a folder without an export. InputError: for a file that is not what was exported; nothing runs.
        EngineMissing: where the target is not installed there.
        SimulationError: where the check fails or takes too long.
    """
    folder = Path(folder).resolve()
    if not (folder / ABOUT).is_file():
        raise MissingFile(f"there is no export in {folder}", remedy="make one with 'cosim surrogate export'")
    about = _described(folder)
    target = target_named(str(about["target"]))
    content = _unchanged(folder, about["files"])
    # Only what was verified runs: not what else lies in the folder, where Python would look for modules first.
    with tempfile.TemporaryDirectory(prefix="cosim-check-") as place:
        for name, data in content.items():
            (Path(place) / name).write_bytes(data)
        return (
            dict(target.check(Path(place))) if target.check is not None else _run(folder, Path(place), python, source)
        )


def _run(folder: Path, place: Path, python: str | Path, source: str | Path | None) -> dict[str, Any]:
    """What ``check.py`` of the copy in ``place`` prints."""
    if not Path(python).exists():
        raise MissingFile(
            f"interpreter {python} not found", remedy="give --python the one of an environment that has the target"
        )
    try:
        done = subprocess.run(
            [
                str(Path(python).absolute()),
                "-P",
                str(place / CHECK),
                *([] if source is None else [str(Path(source).absolute())]),
            ],
            cwd=place,
            capture_output=True,
            text=True,
            timeout=TIME,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise SimulationError(f"the check of {folder} took more than {TIME:g} s", outcome="timed out") from None
    last = (done.stderr.strip().splitlines() or [""])[-1]
    if done.returncode and last.startswith("check: "):
        remedy = last.rpartition("(")[2].rstrip(")")
        if "pip install" in remedy:
            remedy += ", or name an interpreter that has it with --python"
        raise EngineMissing(last.removeprefix("check: ").partition(": this export")[0], remedy=remedy)
    if done.returncode:
        raise SimulationError(f"the check of {folder} failed: {last}", outcome="crashed", log=done.stderr[-2000:])
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    if not found["difference"] or not all(map(math.isfinite, found["difference"].values())):
        raise SimulationError(f"the check of {folder} compared nothing", outcome="crashed", log=done.stdout[-2000:])
    return found
