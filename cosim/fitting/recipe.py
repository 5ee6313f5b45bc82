"""Fit recipes: everything that an extraction needs besides the data, as a TOML file.

::

    name = "tio2_lab"                 # of the parameter set that comes out
    device = "cell_1t1r"

    [data]
    kind = "pulse train"
    file = "train.csv"                # in the recipe's folder; or dataset = "gong2018"
    reader = "table"                  # `cosim.data.readers`
    columns.amplitude = { name = "V", unit = "V" }
    columns.read = { name = "I", unit = "uA" }   # a current is divided by v_read
    conditions = { v_read = "0.1 V", width = "200 ns", rise = "5 ns", fall = "5 ns" }

    [start]
    sets = ["tio2", "transistor.toml"]           # later ones win
    values = { g_max = "150 uS" }
    from_data = true                             # read what can be read off the curve before fitting

    [fit]
    vary = ["theta_p", "theta_n", "alpha_p", "alpha_n", "gamma_p", "gamma_n", "g_max", "ratio", "w0"]
    bounds = { gamma_p = [0, 5] }

    [noise]                                      # absent: estimated from the residuals
    sigma = "2 uS"                               # and/or of_range = 0.02, relative = 0.01; added in quadrature

    [held_out]
    rule = "last"                                # "blocks", "ramps", "points", "none"
    fraction = 0.2
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from pydantic import Field, InstanceOf, PrivateAttr

from cosim import resources, units
from cosim.data.kinds import KINDS
from cosim.data.recording import Curve, Recording
from cosim.data.spec import CONDITIONS, DataSpec
from cosim.devices.base import DeviceModel
from cosim.devices.registry import device as find_device
from cosim.devices.registry import devices
from cosim.errors import InputError, UnitError, UnknownName, at
from cosim.files import resolved
from cosim.fitting.circuit import CircuitSpec
from cosim.fitting.forward import Forward, Rows, forward_for
from cosim.fitting.laws import DEVICES_TAKE, LAWS
from cosim.fitting.recipe_tables import Candidate, FitSpec, HeldOut, NoiseSpec, RampLaw, StartSpec
from cosim.parameters import ParameterSet, default_source, in_file
from cosim.schema import Table, located, validate
from cosim.toml_files import read_toml


class Recipe(Table):
    """What every extraction needs: a name, a device, and where its parameters start."""

    name: str
    device: str
    start: StartSpec = StartSpec()
    notes: tuple[str, ...] = ()
    path: Path | None = Field(default=None, exclude=True)
    given: tuple[InstanceOf[ParameterSet], ...] = Field(default=(), exclude=True)

    # Private: a file that could set it would allow itself what it likes.
    _allowed: tuple[Path, ...] = PrivateAttr(default=())

    @classmethod
    def load(cls, path: str | Path, *, allow: Sequence[str | Path] = ()) -> Self:
        """A recipe file, or a shipped one by name (``"virtual_lab/cell"``).

        ``allow`` are folders, beside the recipe's own, that its files may lie in: a recipe cannot grant itself more.
        Raises `MissingFile`, `UnknownName`, or an `InputError` that names the key.
        """
        file = recipe_file(path)
        body = read_toml(file, kind="fit recipe")
        text = file.read_text(encoding="utf-8")
        recipe = validate(cls, {**body, "path": file}, text=text, file=file, kind="fit recipe")
        recipe._allowed = tuple(resolved(folder) for folder in allow)
        with located(file):
            _require_units(body)
            recipe.check()
        return recipe

    def check(self) -> None:
        """Names and units that can be checked without the data; raises `UnknownName`, `UnitError`, `InputError`."""
        if self.device not in devices():
            with at("device"):
                raise UnknownName("device", self.device, devices())

    @property
    def model(self) -> DeviceModel:
        """The device."""
        return find_device(self.device)

    def inside(self, name: str, what: str) -> Path:
        """The file that the recipe means by ``name``, from its folder; of a recipe made in memory, any file.

        Raises `InputError` for one that leads out of the recipe's folder and those allowed.
        """
        if self.path is None:
            return resolved(name)
        path = resolved(name if name.startswith("~") else self.path.parent / name)
        roots = (resolved(self.path.parent), *self._allowed, *resources.shipped_roots())
        if not any(path.is_relative_to(root) for root in roots):
            raise InputError(
                f"{what} lies outside the recipe's folder, in {str(path.parent)!r}",
                remedy=f"allow it, --allow {path.parent}, or give data files themselves after the recipe",
            )
        return path

    def recording(self, spec: DataSpec, file: str | Path | None = None) -> Recording:
        """The recording that ``spec`` describes; ``file`` replaces the file that it names."""
        from cosim.data.readers import read_curve

        if file is not None:
            return read_curve(file, spec)
        if spec.dataset is not None:
            from cosim.data.datasets import load

            return load(spec.dataset, spec=spec)
        if spec.file is None:
            raise InputError("the recipe names no data", remedy="write data.file or data.dataset, or give a file")
        # As the recipe calls it: a parameter set does not carry the folders of the machine that made it.
        return read_curve(self.inside(spec.file, f"data file {spec.file[:80]!r}"), spec).with_(source=spec.file)

    def starting_set(self) -> ParameterSet:
        """The parameter sets of ``start.sets``, merged for the device; later ones win."""
        merged = ParameterSet(self.device, self.name, {})
        with located(self.path), at("start", "sets"):
            parts = [*(self._load_set(reference) for reference in self.start.sets), *self.given]
            return merged.for_device(self.device, others=parts) if parts else merged

    def origin(self, name: str, value: float) -> str:
        """Where the ``value`` (SI) of a parameter comes from that no fit varied, in words."""
        if name in self.start.values:
            return "start.values"
        if self.device:
            parts = [*self.given[::-1], *(self._load_set(reference) for reference in self.start.sets[::-1])]
            source = next((part.name for part in parts if name in part.values), "")
            if source:
                return source
            entry = next((entry for entry in self.model.params if entry.name == name), None)
            if entry is not None and entry.default == value:
                return default_source(self.device, name)
        return "taken from the curve, or by definition"

    def forward(
        self, curve: Curve, rows: Rows, *, law: Mapping[str, str], device: DeviceModel | None = None,
        circuit: CircuitSpec | None = None,
    ) -> Forward:  # fmt: skip
        """The model of a curve, of which ``rows`` are fitted: of ``device``, or of ``circuit`` where there is one."""
        if circuit is None:
            return forward_for(device or self.model, curve, rows, law=law)
        from cosim.bench.testbench import Testbench
        from cosim.fitting.forwards.circuit import CircuitForward

        with located(self.path), at("circuit", "bench"):
            file = self.inside(circuit.bench, f"bench {circuit.bench!r}") if circuit.path() else circuit.bench
        bench = Testbench.load(file, allow=self._allowed)
        model = device or (self.model if self.device else None)
        with located(self.path):
            return CircuitForward(bench, circuit, model, curve, rows)

    def _load_set(self, reference: str) -> ParameterSet:
        file, name = in_file(reference)
        if not file:
            return ParameterSet.load(reference)
        return ParameterSet.in_file(self.inside(file, f"parameter set {file[:80]!r}"), name)

    def fingerprint(self) -> str:
        """SHA-256 of the recipe's content, wherever its file lies."""
        content = [self.model_dump(mode="json"), [entry.fingerprint() for entry in self.given]]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


class FitRecipe(Recipe):
    """Everything that an extraction needs besides the data. Make one from keyword arguments, or with `load`.

    Args:
        name: of the parameter set that comes out.
        device: the model whose parameters are extracted (``cosim devices``).
        data: where the curve is.
        circuit: the bench that was measured, where the curve is not that of the device alone; without ``device`` its
            own parameters are fitted.
        law: in place of a device, a closed form for curves of this kind: ``"one exponential"`` of a relaxation.
        start: values before the fit.
        fit: what varies.
        noise: of one read.
        held_out: the part of the curve that the fit does not see.
        ramps: choices for ramps of equal pulses.
        candidates: several choices, of which cross-validation keeps the best.
        notes: sentences that go into the parameter set.
        path: the file that the recipe came from: paths in it count from its folder.
        given: parameter sets that come from a program and not from a file; they win over ``start.sets``.

    >>> recipe = cosim.FitRecipe.load("access_transistor")
    >>> recipe.device, recipe.data.kind
    ('access_transistor', 'i-v')
    """

    device: str = ""
    data: DataSpec
    circuit: CircuitSpec | None = None
    law: str = ""
    fit: FitSpec
    noise: NoiseSpec = NoiseSpec()
    held_out: HeldOut = HeldOut()
    ramps: RampLaw = RampLaw()
    candidates: tuple[Candidate, ...] = ()

    # Private: a function is no part of a file.
    _law: Callable[[Curve], Forward] | None = PrivateAttr(default=None)

    def check(self) -> None:
        """As of any recipe, and the conditions of the data."""
        if self.device or not (self.circuit or self.law):
            super().check()
        elif self.start.sets:
            with at("start", "sets"):
                raise InputError("start.sets needs the recipe's device", remedy='write device = "...", or start.values')
        if self.law and (self.device or self.circuit):
            with at("law"):
                raise InputError(
                    f"both a law and a {'device' if self.device else 'circuit'} are to describe the curve",
                    remedy="leave out one of them",
                )
        require_model(self.data.kind, self.circuit, self.law)
        self.data.resolved_conditions()
        with at("data", "pulses"):
            self.data.resolved_pulses()

    @property
    def subject(self) -> str:
        """What is fitted, in words: the device, the bench without one, or a function."""
        if self.circuit is not None:
            return self.device or f"bench {self.circuit.bench}"
        return self.device or (f"the law '{self.law}'" if self.law else "a function")

    def forward_of(self, curve: Curve, rows: Rows, choice: RampLaw) -> Forward:
        """The model of the curve with one choice of the law."""
        if self._law is not None:
            return self._law(curve)
        if self.law:
            from cosim.fitting.forwards.lawful import law_forward

            return law_forward(self.law, curve, rows)
        law = {"course": choice.course, "start": choice.start}
        return self.forward(curve, rows, law=law, circuit=self.circuit)

    def curve(self, file: str | Path | None = None) -> Recording:
        """The measured curve; ``file`` replaces the one that the recipe names."""
        with located(self.path):
            return self.recording(self.data, file)

    def with_(self, *, sets: tuple[ParameterSet, ...] = (), noise: NoiseSpec | None = None) -> FitRecipe:
        """A copy that starts from further ``sets`` (they win), and knows the ``noise`` of a read where it is given."""
        changes: dict[str, Any] = {"given": (*self.given, *sets)}
        if noise is not None:
            changes["noise"] = noise
        return self.model_copy(update=changes)


def require_model(kind: str, circuit: CircuitSpec | None, law: str = "") -> None:
    """Raise `InputError` or `UnknownName` where nothing that the recipe names describes a curve of a ``kind``."""
    names = [one.name for one in LAWS.get(kind, ())]
    if law and law not in names:
        with at("law"):
            raise UnknownName(f"law of a curve of kind {kind!r}", law, names)
    if law or circuit is not None or KINDS[kind].forward:
        return
    if names:
        raise InputError(
            f"a curve of kind {kind!r} is described by a law, not by a device",
            remedy=f"write law = {names[-1]!r} in place of device ({', '.join(names)}); {DEVICES_TAKE[kind]}",
        )
    raise InputError(
        f"a curve of kind {kind!r} says nothing of a device alone", remedy="name the bench that was measured: [circuit]"
    )


def recipe_file(path: str | Path) -> Path:
    """A recipe's file; that of the shipped recipe where it is a name."""
    file = Path(path)
    return file if file.suffix == ".toml" or file.exists() else resources.find("fits", str(path), suffix=".toml")


def _require_units(body: Mapping[str, Any]) -> None:
    """Require units on a file's experimental values: ``width = 200`` would mean 200 s. In Python numbers are SI."""
    found: list[tuple[tuple[str | int, ...], Any, str]] = []
    for place, data, whole in [
        ((), ("data",), body),
        *((("observations", k), (), part) for k, part in enumerate(body.get("observations", ()))),
    ]:
        conditions = (whole.get("data", {}) if data else whole).get("conditions", {})
        found += [
            ((*place, *data, "conditions", n), v, CONDITIONS[n]) for n, v in conditions.items() if n in CONDITIONS
        ]
        found += [((*place, "noise", "sigma"), v, "S") for n, v in whole.get("noise", {}).items() if n == "sigma"]
    for place, value, unit in found:
        try:
            number = float(value)
        except ValueError:
            continue
        if number:  # zero needs no unit
            usual = {"s": "ns", "V": "V", "S": "uS"}[unit]
            likely = f"{number:g} {usual}" if usual == unit or abs(number) >= 1e-3 else units.show(number, unit)
            with at(*place):
                raise UnitError(
                    f"{'.'.join(map(str, place))} = {value!r} has no unit",
                    remedy=f'write e.g. {place[-1]} = "{likely}"',
                )
