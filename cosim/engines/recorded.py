"""A simulator for tests: it replays another one's answers, without any engine.

Each deck's answer is two files under the deck's fingerprint: ``.json`` (outcome, reason, log, measures, names) and
``.npz`` (arrays, no pickle). With an inner simulator, a deck that is not there yet is run and recorded.
"""

from __future__ import annotations

import json
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from cosim.engines.simulator import Deck, Limits, Outcome, Result, Simulator
from cosim.errors import DataError, Where
from cosim.files import replacing, write_atomic
from cosim.language.fourier import Fourier

if TYPE_CHECKING:
    import xarray


class RecordedSimulator:
    """Replays the recordings in ``folder``; records what ``inner`` answers to decks that are new."""

    name = "recorded"

    def __init__(self, folder: str | Path, inner: Simulator | None = None) -> None:
        self.folder = Path(folder)
        self._inner = inner

    def run(self, deck: Deck, *, limits: Limits = Limits()) -> Result:  # noqa: B008  a frozen value
        """The recorded answer. A deck without one is refused, or run where there is an inner simulator."""
        key = deck.fingerprint()
        stored = self.folder / f"{key}.json"
        if stored.is_file():
            return _load(stored, deck)
        if self._inner is None:
            reason = f"no recording of this deck ({key[:12]}) in {self.folder}"
            return Result(Outcome.REFUSED, self.name, reason=reason, deck=deck)
        result = self._inner.run(deck, limits=limits)
        _store(stored, result)
        write_atomic(self.folder / "engine.txt", self._inner.version() + "\n")
        return result

    def version(self) -> str:
        """The version of the engine that was recorded."""
        if self._inner is not None:
            return self._inner.version()
        note = self.folder / "engine.txt"
        return note.read_text().strip() if note.is_file() else "unknown"

    def close(self) -> None:
        """Close the inner simulator, where there is one."""
        if self._inner is not None:
            self._inner.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _store(path: Path, result: Result) -> None:
    arrays: dict[str, Any] = {}
    waveforms: dict[str, Any] = {}
    for analysis, dataset in result.waveforms.items():
        described = []
        for name, variable in dataset.variables.items():
            key = f"a{len(arrays)}"
            arrays[key] = variable.values
            described.append(
                {"name": str(name), "array": key, "dims": list(map(str, variable.dims)), "attrs": dict(variable.attrs)}
            )
        waveforms[analysis] = {"variables": described, "coords": [str(name) for name in dataset.coords]}
    header = {
        "outcome": result.outcome.value, "engine": result.engine, "reason": result.reason, "log": result.log,
        "wall": result.wall, "measures": dict(result.measures), "waveforms": waveforms,
        "missing": dict(result.missing), "notes": result.notes, "fourier": [vars(entry) for entry in result.fourier],
    }  # fmt: skip
    with replacing(path.with_suffix(".npz")) as temporary, temporary.open("wb") as sink:
        np.savez_compressed(sink, **arrays)
    write_atomic(path, json.dumps(header, indent=1) + "\n")  # last: a recording counts once its header is there


def _load(path: Path, deck: Deck) -> Result:
    try:
        header = json.loads(path.read_text())
        with np.load(path.with_suffix(".npz"), allow_pickle=False) as arrays:
            waveforms = {name: _dataset(entry, arrays) for name, entry in header["waveforms"].items()}
        return Result(
            Outcome(header["outcome"]),
            header["engine"],
            waveforms=MappingProxyType(waveforms),
            reason=header["reason"],
            log=header["log"],
            wall=header["wall"],
            deck=deck,
            measures=MappingProxyType(header["measures"]),
            missing=MappingProxyType(header["missing"]),
            fourier=tuple(_fourier(entry) for entry in header["fourier"]),
            notes=tuple(header["notes"]),
        )
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"a broken recording: {error}", where=Where(path), remedy="delete it and record again"
        ) from None


def _fourier(entry: dict[str, Any]) -> Fourier:
    return Fourier(
        entry["analysis"], entry["vector"], entry["frequency"], tuple(entry["magnitudes"]), tuple(entry["phases"])
    )


def _dataset(entry: dict[str, Any], arrays: Any) -> xarray.Dataset:
    import xarray  # slow to import

    variables = {v["name"]: (tuple(v["dims"]), arrays[v["array"]], v["attrs"]) for v in entry["variables"]}
    coords = {name: variables.pop(name) for name in entry["coords"]}
    return xarray.Dataset(variables, coords=coords)
