"""Public measured curves and image sets: where each comes from, where it is on this machine, and how it is read.

A file is looked for in ``$COSIM_DATA``, then in the cache (``$XDG_CACHE_HOME/cosim``), then at its public source, and
is used only if its SHA-256 is the one recorded here. The one file without a recorded hash (`reset.csv` beside
CrossSim's `set.csv`) is not fetched unless ``load(..., unverified=True)`` asks for it, and the source of the curve then
says so: its first download cannot be verified.

Sources and licences: CrossSim (BSD-3-Clause), aihwkit (MIT), cross-sim-data (BSD-3-Clause), thermodynamics-fitting
(MIT); MNIST (LeCun, Cortes & Burges) is checked by the MD5 of its uncompressed files: mirrors compress it anew.
"""

from __future__ import annotations

import gzip
import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from cosim.data.readers import read_curve
from cosim.data.recording import Curve
from cosim.data.spec import ColumnSpec, DataSpec
from cosim.errors import DataError, MissingFile, UnknownName, Where
from cosim.packages import optional

Images = NDArray[np.uint8]
Labels = NDArray[np.uint8]
# What a recipe may say otherwise of a named curve.
_CHANGEABLE = DataSpec.model_fields.keys() - {"file", "dataset"}
TIMEOUT = 20.0  # s per attempt: without a network the failure should be quick


@dataclass(frozen=True)
class RemoteFile:
    """A file at a fixed commit of a public repository.

    Args:
        repository, commit, path: on GitHub.
        local: its name below ``$COSIM_DATA`` and the cache.
        sha256: of its content; "" where none is recorded.
        spec: how it is read as a curve.
    """

    repository: str
    commit: str
    path: str
    local: str
    sha256: str
    spec: DataSpec

    @property
    def url(self) -> str:
        """Where its content is, as it is."""
        return f"https://raw.githubusercontent.com/{self.repository}/{self.commit}/{self.path}"


@dataclass(frozen=True)
class Dataset:
    """A named set: what it is, its licence, and its file (None for images, which have their own loader)."""

    name: str
    title: str
    licence: str
    file: RemoteFile | None = None


_CROSSSIM = ("sandialabs/cross-sim", "39fd461b7d214831ff7deb00f8d8656686f754c4")
_CROSSSIM_FOLDER = "examples/lookup_table_generation/lookup_table_example"
_ENODE = ("sandialabs/cross-sim-data", "2ebec1f27cf1c7c05c7a779b42e16036a765023f")


def _ramps(polarity: int | tuple[int, ...], unit: str, **conditions: str) -> DataSpec:
    return DataSpec.model_validate(
        {
            "kind": "equal pulses",
            "reader": "ramps",
            "columns": {"read": {"name": 1, "unit": unit}},
            "conditions": conditions,
            "polarity": polarity,
        }
    )


_STEPS = DataSpec(kind="step table", reader="steps")
_OECT = DataSpec(
    kind="i-v",
    columns={"voltage": ColumnSpec(name="Gate Voltage"), "current": ColumnSpec(name="Drain Current")},
)

REGISTRY: Mapping[str, Dataset] = MappingProxyType(
    {
        entry.name: entry
        for entry in (
            Dataset(
                "crosssim_set",
                "analogue ReRAM, 39 SET ramps of up to 192 equal pulses, current at 0.1 V",
                "BSD-3-Clause",
                RemoteFile(
                    *_CROSSSIM,
                    f"{_CROSSSIM_FOLDER}/set.csv",
                    "crosssim_set_pulses.csv",
                    "01911062546c5fae25b5085638a23e01eb1820e5e7d979ade9e80913080654cf",
                    _ramps(1, "A", v_read="0.1 V"),
                ),
            ),
            Dataset(
                "crosssim_reset",
                "the same device, RESET ramps; its hash is not recorded, so it is fetched only on request",
                "BSD-3-Clause",
                RemoteFile(
                    *_CROSSSIM,
                    f"{_CROSSSIM_FOLDER}/reset.csv",
                    "crosssim_reset_pulses.csv",
                    "",
                    _ramps(-1, "A", v_read="0.1 V"),
                ),
            ),
            Dataset(
                "gong2018",
                "ReRAM of Gong et al. 2018, 1000 pulses up and 1000 down, normalised conductance",
                "MIT",
                RemoteFile(
                    "IBM/aihwkit",
                    "4545f11b5214c5e3c6b9d293053bbf8baf74e110",
                    "examples/csv/gong_et_al.csv",
                    "gong2018_reram_pulses.csv",
                    "8f009fcbe88d818ae4defff5fb98483c203fcded7958678d42890f27e3e91881",
                    _ramps((1, -1), "1"),
                ),
            ),
            Dataset(
                "enode_increasing",
                "organic electrochemical RAM, quantiles of the conductance step of one potentiating pulse",
                "BSD-3-Clause",
                RemoteFile(
                    *_ENODE,
                    "lookup_tables/ENODe/dG_increasing.txt",
                    "enode_dG_increasing.txt",
                    "13de0e4805aea57f1d94398bbe2eb05b6361bdc765b186556aa152cec5f9c5b3",
                    _STEPS,
                ),
            ),
            Dataset(
                "enode_decreasing",
                "the same device, depressing pulses",
                "BSD-3-Clause",
                RemoteFile(
                    *_ENODE,
                    "lookup_tables/ENODe/dG_decreasing.txt",
                    "enode_dG_decreasing.txt",
                    "260264c2d7eaafd4727e0c8f0df30bc08db5b569c70a3392d8ad0d3526f561be",
                    _STEPS,
                ),
            ),
            Dataset(
                "oect_transfer",
                "organic electrochemical transistor, drain current against gate voltage, up and down",
                "MIT",
                RemoteFile(
                    "lukasbongartz/thermodynamics-fitting",
                    "203d73185d34a7301131480a9b42a3ea90a6f6dc",
                    "Data/Example.csv",
                    "oect_transfer_hysteresis.csv",
                    "f620259eb25a7c794129058cb3b4a9f41b7fe903b3845db03b6a789ab4d15d3a",
                    _OECT,
                ),
            ),
            Dataset("mnist", "handwritten digits, 60 000 + 10 000 images of 28 × 28", "as MNIST"),
            Dataset("digits", "scikit-learn's handwritten digits, 1797 images of 8 × 8", "CC BY 4.0 (UCI)"),
        )
    }
)

# File → (MD5 of the uncompressed file, shape of its array).
MNIST: Mapping[str, tuple[str, tuple[int, ...]]] = MappingProxyType(
    {
        "train-images-idx3-ubyte.gz": ("6bbc9ace898e44ae57da46a324031adb", (60_000, 28, 28)),
        "train-labels-idx1-ubyte.gz": ("a25bea736e30d166cdddb491f175f624", (60_000,)),
        "t10k-images-idx3-ubyte.gz": ("2646ac647ad5339dbf082846283269ea", (10_000, 28, 28)),
        "t10k-labels-idx1-ubyte.gz": ("27ae3e4e09519cfbb04c329615203637", (10_000,)),
    }
)
MNIST_MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)


@dataclass(frozen=True)
class Location:
    """Where a dataset is: ``place`` is "COSIM_DATA", "cache", "installed", "network" (not fetched yet) or "nowhere"."""

    dataset: Dataset
    place: str
    path: Path | None


def data_folder() -> Path | None:
    """The folder that ``$COSIM_DATA`` names, or None."""
    given = os.environ.get("COSIM_DATA", "")
    return Path(given).expanduser() if given else None


def cache_folder() -> Path:
    """The folder for fetched files (``$XDG_CACHE_HOME/cosim`` or the platform's own)."""
    import pooch

    return Path(pooch.os_cache("cosim"))


def find(name: str) -> Dataset:
    """An entry of the registry; raises `UnknownName`."""
    try:
        return REGISTRY[name]
    except KeyError:
        raise UnknownName("dataset", name, REGISTRY) from None


def locate(name: str) -> Location:
    """Where a dataset is on this machine, without fetching it; a file with another hash counts as absent."""
    entry = find(name)
    if name == "digits":
        from importlib.util import find_spec

        return Location(entry, "installed" if find_spec("sklearn") else "nowhere", None)
    if entry.file is None:
        found = [_present(f"mnist/{file}", _mnist_check(file)) for file in MNIST]
        if all(found) and found[0] is not None:
            return Location(entry, found[0][0], found[0][1].parent)
        return Location(entry, "network", None)
    here = _present(entry.file.local, _sha256_check(entry.file.sha256))
    return Location(entry, *here) if here else Location(entry, "network", None)


def load(name: str, *, spec: DataSpec | None = None, unverified: bool = False) -> Curve:
    """A measured curve by its name.

    Args:
        name: of the registry.
        spec: what is read otherwise than the registry says: the keys that are set, such as ``rows`` or ``reader``.
        unverified: accept a file whose hash is not recorded; its source then ends in "(unverified)".

    Raises:
        UnknownName, MissingFile (found nowhere), DataError (the content is not the recorded one).
    """
    entry = find(name)
    if entry.file is None:
        raise DataError(f"{name} is a set of images, not a curve", remedy=f"call cosim.data.datasets.{_LOADER[name]}()")
    path = _path_of(entry.file, unverified=unverified)
    changed = {} if spec is None else {key: getattr(spec, key) for key in spec.model_fields_set & _CHANGEABLE}
    curve = read_curve(path, entry.file.spec.model_copy(update=changed))
    mark = "" if entry.file.sha256 else " (unverified)"
    source = f"{entry.file.repository} {entry.file.path} at {entry.file.commit[:7]}{mark}"
    return curve.with_(source=source)


def fetch(name: str, *, unverified: bool = False) -> Path:
    """The file (of MNIST: the folder) of a dataset, fetched if need be; see `load`."""
    entry = find(name)
    if name == "digits":
        digits()
        return Path()
    if entry.file is None:
        return next(iter(_mnist_paths().values())).parent
    return _path_of(entry.file, unverified=unverified)


def load_mnist() -> tuple[Images, Labels, Images, Labels]:
    """MNIST: training images (60000, 28, 28), labels (60000,), test images (10000, 28, 28), labels (10000,); uint8."""
    paths = _mnist_paths()
    first, second, third, fourth = (_idx(paths[file], shape) for file, (_, shape) in MNIST.items())
    return first, second, third, fourth


def digits() -> tuple[Images, Labels]:
    """scikit-learn's digits: images (1797, 8, 8) with values 0..16, labels (1797,); uint8."""
    found = optional("sklearn.datasets", extra="train", needed_by="the set of 8×8 digits").load_digits()
    return found.images.astype(np.uint8), found.target.astype(np.uint8)


_CHUNK = 1 << 20  # bytes that are unpacked at once
_LOADER: Mapping[str, str] = MappingProxyType({"mnist": "load_mnist", "digits": "digits"})
Check = Callable[[Path], bool]


def _sha256_check(wanted: str) -> Check:
    return lambda path: not wanted or hashlib.sha256(path.read_bytes()).hexdigest() == wanted


def _mnist_check(file: str) -> Check:
    def check(path: Path) -> bool:
        try:
            with gzip.open(path) as opened:
                found = hashlib.file_digest(opened, lambda: hashlib.md5(usedforsecurity=False))
        except (OSError, EOFError):
            return False
        return found.hexdigest() == MNIST[file][0]

    return check


def _present(local: str, check: Check) -> tuple[str, Path] | None:
    for place, of in (("COSIM_DATA", data_folder), ("cache", cache_folder)):  # which costs an import of 5 MB
        folder = of()
        if folder is not None and (folder / local).is_file() and check(folder / local):
            return place, folder / local
    return None


def _path_of(file: RemoteFile, *, unverified: bool) -> Path:
    here = _present(file.local, _sha256_check(file.sha256))
    if here is not None:
        return here[1]
    given = data_folder()
    if given is not None and (given / file.local).is_file():
        raise DataError(
            f"is not the file that {file.repository} has at {file.commit[:7]}",
            where=Where(given / file.local),
            remedy="remove it, or name it as data.file in a recipe",
        )
    if not file.sha256 and not unverified:
        raise DataError(
            f"no hash is recorded for {file.path} of {file.repository}, so it cannot be checked",
            remedy=f"put it into $COSIM_DATA as {file.local}, or accept it with unverified=True "
            "(`cosim datasets fetch --unverified`)",
        )
    return _download([file.url], file.local, known_hash=f"sha256:{file.sha256}" if file.sha256 else None)


def _mnist_paths() -> dict[str, Path]:
    """The four files; what a user has put there is judged before anything is fetched."""
    here = {file: _present(f"mnist/{file}", _mnist_check(file)) for file in MNIST}
    given = data_folder()
    for file, found in here.items():
        if found is None and given is not None and (given / "mnist" / file).is_file():
            raise DataError(
                "is damaged or another file than MNIST's: it cannot be unpacked, or the MD5 of its content differs",
                where=Where(given / "mnist" / file),
                remedy="replace it, or remove it, so that one is fetched",
            )
    return {file: _fetched(file) if found is None else found[1] for file, found in here.items()}


def _fetched(file: str) -> Path:
    path = _download([mirror + file for mirror in MNIST_MIRRORS], f"mnist/{file}", known_hash=None)
    if not _mnist_check(file)(path):
        path.unlink()
        raise DataError(f"{file} is not MNIST's: its uncompressed MD5 differs", remedy="try again later")
    return path


def _download(urls: list[str], local: str, *, known_hash: str | None) -> Path:
    """The file from the first of ``urls`` that has it, in the cache; pooch writes it whole or not at all."""
    import pooch
    import requests

    target = cache_folder() / local
    reasons = []
    for url in urls:
        try:
            found = pooch.retrieve(
                url,
                known_hash=known_hash,
                fname=target.name,
                path=target.parent,
                downloader=pooch.HTTPDownloader(timeout=TIMEOUT),
            )
        except requests.RequestException as error:
            reasons.append(f"{url.split('/')[2]} ({type(error).__name__})")
        except ValueError:
            raise DataError(
                f"{url} is not the file that was recorded: its SHA-256 differs",
                remedy="do not use it; report it to the project",
            ) from None
        except OSError as error:
            raise MissingFile(f"cannot write {target.parent}: {error.strerror}", remedy="set XDG_CACHE_HOME") from None
        else:
            return Path(found)
    folder = data_folder()
    if folder is not None and (folder / local).is_file():
        raise MissingFile(
            f"{folder / local} is damaged or another file than expected, and it could not be fetched from "
            f"{' or '.join(reasons)}",
            remedy="replace it, or connect to the network once",
        )
    looked = f"in $COSIM_DATA ({folder}), " if folder else "in $COSIM_DATA (which is not set), "
    raise MissingFile(
        f"{local} is neither {looked}nor in {cache_folder()}, nor could it be fetched from {' or '.join(reasons)}",
        remedy="set COSIM_DATA to a folder that holds it, or connect to the network once",
    )


def _idx(path: Path, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """An IDX file of unsigned bytes: magic (0, 0, 8, dimensions), big-endian sizes, values."""
    found = np.empty(shape, np.uint8)
    flat, at = found.reshape(-1), 0
    with gzip.open(path) as opened:
        header = bytes((0, 0, 8, len(shape))) + np.array(shape, ">u4").tobytes()
        right = opened.read(len(header)) == header
        while right and at < len(flat) and (part := opened.read(min(_CHUNK, len(flat) - at))):
            flat[at : at + len(part)] = np.frombuffer(part, np.uint8)
            at += len(part)
        if not right or at < len(flat) or opened.read(1):
            raise DataError(f"is not an IDX file of {shape}", where=Where(path))
    return found
