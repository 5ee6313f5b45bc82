"""``export_surrogate``: a folder that another program reads, with golden events, provenance and what is lost."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cosim import __version__
from cosim.errors import EngineMissing, InputError, MissingFile, SimulationError
from cosim.export.base import CHECK, Draft, Target
from cosim.export.golden import Golden, golden
from cosim.export.losses import losses
from cosim.export.registry import target_named
from cosim.files import write_atomic
from cosim.surrogate.model import Surrogate
from cosim.surrogate.named import require_plain

FORMAT, VERSION = "cosim export", 1
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
        path: of the folder; files of an older export in it are replaced.
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
    chosen, folder = target_named(target), Path(path)
    require_plain(surrogate)
    certificate = surrogate.certificate
    if not uncertified and (certificate is None or certificate.broken):
        why = "has no certificate" if certificate is None else f"misses its limits ({'; '.join(certificate.broken)})"
        raise InputError(
            f"the surrogate {why}", remedy="train a better one, or take --uncertified (in Python: uncertified=True)"
        )
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file", remedy="name a folder for the export")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / "export.json").is_file():
        raise InputError(f"{folder} holds something that is not an export", remedy="name another folder")
    name = re.sub(r"\W", "_", f"{surrogate.device}_{surrogate.name}")
    own, levels = "instances" in chosen.keeps, chosen.levels(surrogate)
    draft = Draft(surrogate, name, lambda: golden(surrogate, seed=seed, events=events, instances=own, levels=levels))
    written = dict(chosen.write(draft))
    made = draft.golden
    lost = [*losses(surrogate, keeps=chosen.keeps), *chosen.lost(surrogate)]
    written["golden.json"] = made.text()
    written["LOSSES.md"] = _losses_page(surrogate, chosen, lost)
    content = {name: text.encode() if isinstance(text, str) else text for name, text in written.items()}
    about = _about(surrogate, chosen, lost, content)
    content["export.json"] = (json.dumps(about, indent=1, allow_nan=False) + "\n").encode()
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
        f"The map {surrogate.name} of {surrogate.device}, set {surrogate.parameters.name}, for {target.versions}. The "
        "surrogate in cosim has these, and the export has not:",
        "",
        *(f"- {sentence}" for sentence in lost),
        "",
        "`golden.json` holds inputs and the surrogate's answers; `check.py` imports the export and compares.",
        "",
    ]
    return "\n".join(lines)


def checked(folder: str | Path, *, python: str | Path = sys.executable) -> dict[str, Any]:
    """Import an export in its target and run its golden events.

    Args:
        folder: of the export.
        python: the interpreter of an environment that has the target; default: this one.

    Returns:
        ``version`` of the target, ``events`` and ``difference`` by state and output, as shares of full scale.

    Raises:
        MissingFile: for a folder without an export. EngineMissing: where the target is not installed there.
        SimulationError: where the check fails or takes too long.
    """
    folder = Path(folder).resolve()
    if not (folder / "export.json").is_file():
        raise MissingFile(f"there is no export in {folder}", remedy="make one with 'cosim surrogate export'")
    target = target_named(json.loads((folder / "export.json").read_text(encoding="utf-8"))["target"])
    if target.check is not None:
        return dict(target.check(folder))
    try:
        done = subprocess.run(
            [str(Path(python).absolute()), "-P", str(folder / CHECK)],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=TIME,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise SimulationError(f"the check of {folder} took more than {TIME:g} s", outcome="timed out") from None
    last = (done.stderr.strip().splitlines() or [""])[-1]
    if done.returncode and last.startswith("check: "):
        raise EngineMissing(
            last.removeprefix("check: ").partition(": this export")[0], remedy=last.rpartition("(")[2].rstrip(")")
        )
    if done.returncode:
        raise SimulationError(f"the check of {folder} failed: {last}", outcome="crashed", log=done.stderr[-2000:])
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found
