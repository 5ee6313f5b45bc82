"""Results as files: what a fit found, from which numbers, so that it can be shown, compared and judged again.

A saved result is the JSON of `FitResult.to_json` with its recipe, its recording and all values beside it. It holds
everything that the model needs: no data file has to be where it was.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cosim.data.kinds import KINDS
from cosim.data.recording import Curve
from cosim.devices.base import Array, DeviceModel, Values
from cosim.devices.registry import devices
from cosim.errors import DataError, InputError, Where
from cosim.files import read_plain
from cosim.fitting.forward import Forward
from cosim.fitting.joint_result import JointResult
from cosim.fitting.problem import Problem
from cosim.fitting.recipe import FitRecipe
from cosim.fitting.result import FitResult
from cosim.schema import located, validate

# Our choice: far more than any recording that is fitted.
LIMIT = 256 << 20
HEIGHT = 1.96  # standard deviations of half a 95 % interval


def record(result: FitResult | JointResult) -> dict[str, Any]:
    """A result as plain values for `json.dumps`; of a single recording with everything that its model needs."""
    told = result.to_json()
    if isinstance(result, JointResult):
        return told
    curve = result.curve
    return told | {
        "recipe": result.recipe.model_dump(mode="json", exclude_defaults=True),
        "curve": {
            "kind": curve.kind,
            "columns": {name: column.tolist() for name, column in curve.columns.items()},
            "units": dict(curve.units),
            "conditions": dict(curve.conditions),
            "source": curve.source,
            "fingerprint": curve.fingerprint,
        },
        "values": {name: float(value) for name, value in result.values.items()},
        "held_out": np.flatnonzero(result.held_out).tolist(),
    }


@dataclass(frozen=True)
class Saved:
    """A result from a file: ``told`` is its JSON, ``path`` the file."""

    path: Path
    told: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Of the parameter set, or of the law's result."""
        return str(self.told["name"])

    @property
    def parameters(self) -> Mapping[str, Mapping[str, Any]]:
        """Parameter → value, unit, stderr, interval_95, status, reason."""
        found: Mapping[str, Mapping[str, Any]] = self.told["parameters"]
        return found

    @property
    def complete(self) -> bool:
        """Whether it holds its recording, and can predict."""
        return "curve" in self.told

    def curve(self) -> Curve:
        """The recording that it was fitted to."""
        if not self.complete:
            raise InputError("the result does not hold its recording", where=Where(self.path))
        body = self.told["curve"]
        columns = {name: np.array(column, dtype=float) for name, column in body["columns"].items()}
        return Curve(body["kind"], columns, body["units"], body["conditions"], body["source"], body["fingerprint"])

    def held_out(self) -> Any:
        """(n,) true where a row was not fitted."""
        rows = np.zeros(len(self.curve()), dtype=bool)
        rows[np.array(self.told["held_out"], dtype=int)] = True
        return rows

    def forward(self, curve: Curve) -> Forward:
        """Its model of a recording of the same kind; raises `InputError`, `UnknownName` where it has none."""
        kind, recipe = self.told["curve"]["kind"], self.recipe()
        if curve.kind != kind:
            raise InputError(f"{self.name} describes a curve of kind {kind!r}, not {curve.kind!r}")
        with located(self.path):
            recipe.check()
        kept = next((one for one in recipe.candidates if one.title == self.told["choice"]), recipe.ramps)
        return recipe.forward_of(curve, np.ones(len(curve), dtype=bool), kept)

    def recipe(self) -> FitRecipe:
        """The recipe that it was fitted by."""
        return validate(FitRecipe, self.told["recipe"], text="", file=self.path, kind="result of a fit")

    def predict(self, curve: Curve) -> Array:
        """Its prediction of a recording (n,); what belongs to a measurement, an initial state, is fitted to it anew."""
        forward = self.forward(curve)
        p = Values({entry.name: self.told["values"].get(entry.name, entry.default) for entry in forward.params})
        if curve.fingerprint != self.told["curve"]["fingerprint"]:
            device = devices().get(self.told["device"])
            own = [] if device is None else _initial(device, forward)
            if own:
                sigma = np.full(len(curve), float(np.std(curve.measured)) or 1.0)
                bounds = {name: forward.bounds()[name] for name in own}
                rows = np.ones(len(curve), dtype=bool)
                p = Problem(forward, curve.measured, sigma, rows, tuple(own), bounds).minimise(p).p
        return forward.predict(p)


def _initial(device: DeviceModel, forward: Forward) -> list[str]:
    """The parameters that are initial states, and act on this recording."""
    return [state.initial for state in device.states if state.initial in forward.active]


def load(path: str | Path) -> Saved:
    """A saved result: the .json, or the parameter set (.toml) that lies beside it.

    Raises `MissingFile`, `InputError`.
    """
    file = Path(path)
    if file.suffix == ".toml":
        file = file.with_suffix(".json")
        if not file.is_file():
            raise InputError(
                f"{path} has no result beside it ({file.name})", remedy="fit again with -o, or name the .json"
            )
    raw = read_plain(file, limit=LIMIT, kind="result of a fit")
    try:
        told = json.loads(raw)
        whole = isinstance(told, dict) and {"name", "device", "parameters", "verdict", "provenance"} <= told.keys()
    except (ValueError, RecursionError):
        whole, told = False, None
    if not whole or not isinstance(told["parameters"], dict):
        raise InputError("not the result of a fit", where=Where(file), remedy="name a .json that cosim fit -o wrote")
    try:
        saved = Saved(file, told)
        if saved.complete:
            saved.curve()
            saved.held_out()
            _ = [float(told["values"][name]) for name in told["parameters"]], told["recipe"], told["choice"]
        for entry in saved.parameters.values():
            _ = float(entry["value"]), str(entry["unit"]), entry["stderr"], entry["interval_95"], str(entry["status"])
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, DataError) as error:
        raise InputError(f"the result is damaged ({error})", where=Where(file), remedy="fit again") from None
    return saved


@dataclass(frozen=True)
class Difference:
    """A parameter of two results: z of their difference; None where one of them has no limit on the other's side."""

    name: str
    z: float | None


def differences(one: Saved, other: Saved) -> list[Difference]:
    """z = (a − b)/√(σa² + σb²) of every parameter that both have.

    σ is a half of the 95 % interval over 1.96: the half that points to the other value, where intervals are lopsided.
    """
    found = []
    for name in one.parameters:
        if name in other.parameters:
            a, b = one.parameters[name], other.parameters[name]
            sigmas = _towards(a, float(b["value"])), _towards(b, float(a["value"]))
            known = [sigma for sigma in sigmas if sigma is not None]
            spread = math.hypot(*known) if len(known) == len(sigmas) else 0.0
            found.append(Difference(name, (a["value"] - b["value"]) / spread if spread else None))
    return found


def _towards(entry: Mapping[str, Any], value: float) -> float | None:
    """The standard deviation of a parameter on the side of ``value``; None where nothing limits it there."""
    if entry["stderr"] is None:
        return None
    end = entry["interval_95"][value > entry["value"]]
    return None if end is None else abs(float(end) - float(entry["value"])) / HEIGHT


def same_rows(one: Saved, other: Saved) -> bool:
    """Whether two results are of the same rows: of the same values where both have them, else of the same file."""
    if one.complete and other.complete:
        return bool(one.told["curve"]["columns"] == other.told["curve"]["columns"])
    return bool(one.told["provenance"].get("data_sha256") == other.told["provenance"].get("data_sha256"))


def errors_on(results: list[Saved]) -> list[list[float | str]]:
    """RMS error over the range of each result (row) on the recording of each (column); text where it cannot predict."""
    table: list[list[float | str]] = []
    curves = [one.curve() if one.complete else None for one in results]
    for one in results:
        row: list[float | str] = []
        for curve in curves:
            if curve is None or not one.complete:
                row.append("no recording")
                continue
            if curve.kind not in KINDS or curve.kind != one.told["curve"]["kind"]:
                row.append("another kind")
                continue
            residual = curve.measured - one.predict(curve)
            row.append(float(np.sqrt(np.mean(residual**2))) / float(np.ptp(curve.measured)))
        table.append(row)
    return table
