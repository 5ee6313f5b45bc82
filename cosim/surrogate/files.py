"""Surrogates on disk: ``.npz`` without pickle, with the description and the certificate as JSON inside.

The description carries a SHA-256 of every array, and the file one of the description: a file that was cut, changed or
made by another program is refused.
"""

from __future__ import annotations

import hashlib
import json
import warnings
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

import numpy as np
from numpy.typing import NDArray

from cosim import __version__
from cosim.errors import InputError, MissingFile, Where
from cosim.files import open_plain, replacing
from cosim.surrogate.base import Certificate, Policy

if TYPE_CHECKING:
    from cosim.surrogate.certify import HeldOutEvents
    from cosim.surrogate.model import Surrogate
    from cosim.surrogate.references import Reference

EVENT = "event"
FORMAT = "cosim surrogate"
# 2: certificates name what they certify, and compare conductances with the circuit's own memristor.
# 3: their domain is the range of states that was tested.
# 4: one kind of surrogate, whose errors go by the names of states and outputs.
# 5: prediction intervals, the simulator's own error, the density of the domain, and the held-out events.
VERSION = 6
HELD, MOST_HELD = "held_", 2000  # events that a file keeps for its figure, at most
MAX_UNPACKED, MAX_MEMBERS = 1 << 30, 10_000


class OtherVersionWarning(UserWarning):
    """A surrogate comes from a file that another version of cosim wrote."""


def array_digest(*arrays: NDArray[Any]) -> str:
    """SHA-256 of dtypes, shapes and values."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)  # not tobytes: a copy of all images
    return digest.hexdigest()


def write_npz(path: str | Path, arrays: dict[str, NDArray[Any]]) -> Path:
    """An ``.npz`` that replaces ``path`` as a whole."""
    with replacing(path) as temporary, temporary.open("wb") as handle:
        # Cast: numpy's stub has allow_pickle before the arrays' names.
        saving: Callable[..., None] = np.savez_compressed
        saving(handle, **arrays)
    return Path(path)


def read_npz(path: str | Path, *, kind: str) -> dict[str, NDArray[Any]]:
    """Every array of an ``.npz``; raises `MissingFile`, or `InputError` for a file that is not one or is damaged."""
    try:
        if not Path(path).exists():
            raise MissingFile(f"there is no {kind} {path}", remedy="check the path")
        with open_plain(path, kind=kind) as handle:
            if not zipfile.is_zipfile(handle):
                raise InputError(
                    f"this is not a {kind}",
                    where=Where(path),
                    remedy="take a whole .npz file: this one is cut short or of another kind",
                )
            _require_small(handle, Path(path), kind)
            with np.load(handle, allow_pickle=False) as archive:
                found = {name: archive[name] for name in archive.files}
            # a member that is not an array comes as bytes
            if any(not isinstance(array, np.ndarray) for array in found.values()):
                raise InputError(
                    f"this is not a {kind}", where=Where(path), remedy="it holds something that is not an array"
                )
            return found
    except InputError:
        raise
    except OSError as error:
        raise MissingFile(f"cannot read {kind} {path}: {error.strerror or error}", remedy="check the path") from None
    except (ValueError, KeyError, EOFError, SyntaxError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
        why = (str(error).splitlines() or [""])[0]
        if "allow_pickle" in why:
            raise InputError(
                f"this {kind} has Python objects (a pickle) in it, which could run code and are not read",
                where=Where(path),
                remedy="take one that cosim wrote",
            ) from None
        raise InputError(
            f"this is not a {kind}, or it is damaged ({why})", where=Where(path), remedy="make it again"
        ) from None
    except MemoryError:
        raise InputError(
            f"this {kind} claims more memory than there is", where=Where(path), remedy="make it again"
        ) from None


def _require_small(handle: BinaryIO, path: Path, kind: str) -> None:
    """Raises `InputError` for an archive that unpacks to more than any of cosim's does."""
    members = zipfile.ZipFile(handle).infolist()
    if len(members) > MAX_MEMBERS or sum(member.file_size for member in members) > MAX_UNPACKED:
        raise InputError(
            f"this {kind} unpacks to more than {MAX_UNPACKED >> 20} MiB or {MAX_MEMBERS} arrays",
            where=Where(path), remedy="make it again",
        )  # fmt: skip
    handle.seek(0)


def save(surrogate: Surrogate, path: str | Path, *, held: HeldOutEvents | None = None) -> Path:
    """Write ``surrogate`` to ``path`` (``.npz``), replacing it atomically; ``held``: the events of its certificate.

    >>> cell = cosim.Surrogate(cosim.ParameterSet.load("tio2"))
    >>> cosim.save_surrogate(cell, "cell.npz").name
    'cell.npz'
    """
    from cosim.surrogate import document

    arrays = document.arrays(surrogate)
    certificate = surrogate.certificate
    told: dict[str, Any] = {}
    if held is not None:
        few = held.events.isel({EVENT: slice(0, MOST_HELD)})
        arrays |= {f"{HELD}{name}": np.asarray(few[name].values) for name in few.data_vars}
        each = len(held.free) // max(len(held.states), 1)  # as many of each state
        runs = [
            run for k, run in enumerate(held.free) if k % max(each, 1) < MOST_HELD // 10 // max(len(held.states), 1)
        ]
        arrays |= {f"{HELD}free_{k}": run for k, run in enumerate(runs)}
        told = {str(name): dict(few[name].attrs) for name in few.data_vars}
    text = json.dumps(
        {
            "format": FORMAT,
            "version": VERSION,
            "cosim": __version__,
            "body": document.document(surrogate),
            "certificate": None if certificate is None else certificate.to_dict(),
            "held": told,
            "arrays": {name: array_digest(array) for name, array in arrays.items()},
        },
        indent=1,
    ).encode()
    packed = {f"array_{name}": array for name, array in arrays.items()}
    packed["document"] = np.frombuffer(text, dtype=np.uint8)
    packed["digest"] = np.frombuffer(hashlib.sha256(text).digest(), dtype=np.uint8)
    return write_npz(path, packed)


def load(
    path: str | Path, *, policy: Policy = "raise", reference: Reference | None = None, uncertified: bool = False
) -> Surrogate:
    """The surrogate in ``path``; ``policy``, ``reference`` and ``uncertified`` as in `Surrogate`.

    Raises `MissingFile`; `InputError` for a foreign, damaged or newer file; `UnknownName` for a policy.

    >>> _ = cosim.save_surrogate(cosim.Surrogate(cosim.ParameterSet.load("tio2")), "cell.npz")
    >>> cosim.load_surrogate("cell.npz").parameters.name
    'tio2'
    """
    from cosim.surrogate.document import rebuilt

    found = _read(path, lambda body, arrays, certificate, _: rebuilt(body, arrays, certificate))
    return found.with_(policy=policy, reference=reference, uncertified=uncertified)


def load_held(path: str | Path) -> HeldOutEvents | None:
    """The held-out events of the surrogate in ``path``, as many as it keeps; None: it keeps none. Raises as `load`."""
    import xarray as xr

    from cosim.surrogate.certify import HeldOutEvents

    def held(
        _: Any, arrays: dict[str, NDArray[Any]], certificate: Certificate | None, told: Any
    ) -> HeldOutEvents | None:
        if not told:
            return None
        columns = {str(name): (EVENT, arrays[f"{HELD}{name}"], attributes) for name, attributes in told.items()}
        free = [arrays[f"{HELD}free_{k}"] for k in range(len(arrays)) if f"{HELD}free_{k}" in arrays]
        seconds = None if certificate is None else certificate.seconds_per_event
        return HeldOutEvents(xr.Dataset(columns), tuple(free), seconds)

    return _read(path, held)


Made = TypeVar("Made")


def _read(path: str | Path, make: Callable[[Any, dict[str, NDArray[Any]], Certificate | None, Any], Made]) -> Made:
    """What ``make`` makes of the body, the arrays, the certificate and the held-out events' attributes of a file."""
    stored = read_npz(path, kind="surrogate file")
    where = Where(path)
    if "document" not in stored or "digest" not in stored:
        raise InputError("this is not a surrogate file", where=where, remedy="make one with 'cosim surrogate train'")
    text = stored["document"].tobytes()
    if hashlib.sha256(text).digest() != stored["digest"].tobytes():
        raise InputError("the surrogate file is damaged: its digest is wrong", where=where, remedy="make it again")
    try:
        document = json.loads(text)
        if document["format"] != FORMAT:
            raise InputError(
                "this is not a surrogate file", where=where, remedy="make one with 'cosim surrogate train'"
            )
        if type(document["version"]) is not int:
            raise InputError(
                f"the surrogate file has version {document['version']!r}", where=where, remedy="make it again"
            )
        if document["version"] > VERSION:
            raise InputError(
                f"the surrogate file has version {document['version']}, this cosim reads up to {VERSION}",
                where=where,
                remedy="use a newer cosim",
            )
        if document["version"] < VERSION:
            raise InputError(
                f"the surrogate file has version {document['version']}, whose certificates lack what this cosim checks",
                where=where,
                remedy="make it again with 'cosim surrogate train'",
            )
        arrays = {name: stored[f"array_{name}"] for name in document["arrays"]}
        for name, digest in document["arrays"].items():
            if array_digest(arrays[name]) != digest:
                raise InputError(
                    f"the surrogate file is damaged: array {name!r} has changed", where=where, remedy="make it again"
                )
        if document["cosim"] != __version__:
            warnings.warn(
                f"{path} was made by cosim {document['cosim']}, and this is {__version__}: 'cosim surrogate check' "
                "tells whether it is what it was",
                OtherVersionWarning,
                stacklevel=4,
            )
        given = document["certificate"]
        certificate = None if given is None else Certificate.from_dict(given)
        return make(document["body"], arrays, certificate, document["held"])
    except InputError as error:
        if error.where is None:
            raise InputError(error.message, where=where, remedy=error.remedy) from None
        raise
    except MemoryError:
        raise InputError(
            "the surrogate file asks for more memory than there is", where=where, remedy="make it again"
        ) from None
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError, RecursionError) as error:
        raise InputError(
            f"the surrogate file lacks or has malformed {error}", where=where, remedy="make it again"
        ) from None
