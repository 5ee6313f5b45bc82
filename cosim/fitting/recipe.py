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
from typing import Annotated, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, InstanceOf, PrivateAttr

from cosim import resources, units
from cosim.data.kinds import KINDS
from cosim.data.recording import Curve, Group, Recording
from cosim.data.spec import CONDITIONS, DataSpec, Quantities
from cosim.devices.base import Array, DeviceModel
from cosim.devices.registry import device as find_device
from cosim.devices.registry import devices
from cosim.errors import InputError, UnitError, UnknownName, at
from cosim.files import resolved
from cosim.fitting.circuit import CircuitSpec
from cosim.fitting.forward import Forward, Rows, forward_for
from cosim.fitting.methods import LEAST_SQUARES, Method
from cosim.fitting.priors import PriorSpec
from cosim.parameters import ParameterSet, in_file
from cosim.schema import Table, located, validate
from cosim.toml_files import read_toml


class StartSpec(Table):
    """Values before the fit: published or extracted sets, single values over them, and what the curve itself shows.

    Args:
        sets: parameter sets, later ones win: a name, or a file from the recipe's folder.
        values: of single parameters, over the sets'; a plain number is SI.
        from_data: whether what the curve shows (range, threshold) is read off it before the fit.
    """

    sets: tuple[str, ...] = ()
    values: Quantities = Field(default_factory=dict)
    from_data: bool = True


class FitSpec(Table):
    """Which parameters vary, and within which bounds; the others keep their start values.

    Args:
        vary: the parameters that the fit may change.
        bounds: lower and upper, by parameter; default: the device's. A plain number is SI.
        priors: what is known of a parameter beforehand, each counted as an observation.
        method: how the minimum is looked for: ``least_squares`` (from several starts), or any method of lmfit, such as
            ``differential_evolution``, ``basinhopping`` or ``nelder``, or ``cma``; least squares go on from there.
    """

    vary: tuple[str, ...] = Field(min_length=1)
    bounds: dict[str, tuple[str | float, str | float]] = Field(default_factory=dict)
    priors: dict[str, PriorSpec] = Field(default_factory=dict)
    method: Method = LEAST_SQUARES


class NoiseSpec(Table):
    """What is known about the noise of one read; the parts add in quadrature. Empty: estimated from the residuals.

    Args:
        sigma: standard deviation of a read, with a unit.
        of_range: as a share of the curve's range.
        relative: as a share of the value.
        step: standard deviation of a step from pulse to pulse (cycle to cycle), as a share of the step; ``"fit"``: the
            steps vary, and by how much is fitted; 0: they do not. By default it is fitted where the residuals of a
            pulse train are not noise, and the parameters are then conditional on it.
        correlation: of the noise of rows that follow each other, from -1 to 1; ``"fit"``: it is fitted; 0: there is
            none. By default it is fitted where the residuals show structure in time and none along what was applied,
            and the parameters are then conditional on it.
        outliers: ``"leave out"`` the rows that lie further from the law than the noise of the others allows, and name
            them; or ``"keep"`` them.
    """

    sigma: str | float | None = None
    of_range: float | None = Field(default=None, gt=0)
    relative: float | None = Field(default=None, gt=0)
    step: Literal["fit"] | Annotated[float, Field(ge=0)] | None = None
    correlation: Literal["fit"] | Annotated[float, Field(gt=-1, lt=1)] | None = None
    outliers: Literal["keep", "leave out"] = "leave out"

    def per_point(self, curve: Curve) -> Array | None:
        """Standard deviation of each measured value (n,) in the column's unit; None: not known."""
        y = curve.measured
        variance = np.zeros(y.size)
        if self.sigma is not None:
            sigma = units.parse(self.sigma, curve.measured_unit)
            if sigma <= 0.0:
                raise InputError(f"noise.sigma = {self.sigma} is not positive", remedy="give a standard deviation")
            variance += sigma**2
        if self.of_range is not None:
            variance += (self.of_range * float(np.ptp(y))) ** 2
        if self.relative is not None:
            variance += (self.relative * y) ** 2
        if not variance.any():
            return None
        if not variance.all():
            raise InputError("the noise of a point is zero", remedy="add sigma or of_range to noise.relative")
        return np.asarray(np.sqrt(variance), dtype=float)


class HeldOut(Table):
    """The part of the curve that the fit does not see.

    ``last``: the last ``fraction`` of the rows (a forecast). ``blocks``: every ``every``-th block of ``length`` rows
    (an interpolation). ``ramps``: every ``every``-th ramp (a new ramp of the same device). ``points``: every
    ``every``-th row. ``none``.

    Args:
        rule: which rows.
        fraction: of ``last``.
        every: of ``blocks``, ``ramps``, ``points``: 4 is each fourth.
        length: of a block, in rows.
    """

    rule: Literal["last", "blocks", "ramps", "points", "none"] = "none"
    fraction: float = Field(default=0.2, gt=0, lt=1)
    every: int = Field(default=4, ge=2)
    length: int = Field(default=50, ge=1)

    def rows(self, curve: Curve) -> NDArray[np.bool_]:
        """True where a row is held out; (n,)."""
        n = len(curve)
        if self.rule == "none":
            return np.zeros(n, dtype=bool)
        if self.rule == "last":
            return np.asarray(np.arange(n) >= n - max(1, round(self.fraction * n)))
        return np.asarray(self._groups(curve) % self.every == self.every // 2)

    def folds(self, curve: Curve, count: int) -> list[NDArray[np.bool_]]:
        """The rule again, within a curve that is left of it: ``count`` masks (n,) for cross-validation."""
        if self.rule == "last":
            return [self.rows(curve)]
        if self.rule == "none":
            raise InputError("candidates are compared on held-out rows", remedy="write a [held_out] rule")
        number = np.unique(self._groups(curve), return_inverse=True)[1]
        return [np.asarray(number % count == phase) for phase in range(count)]

    def _groups(self, curve: Curve) -> NDArray[np.int64]:
        """The number of the ramp, block or row that is held out as a whole; (n,)."""
        index = np.arange(len(curve))
        if self.rule == "ramps":
            if curve.kind != "equal pulses":
                raise InputError(f"held_out.rule = 'ramps' with a curve of kind {curve.kind!r}", remedy="take 'blocks'")
            return np.unique(curve["ramp"], return_inverse=True)[1].astype(np.int64)
        if self.rule == "blocks":
            index = index if curve.kind != "equal pulses" else curve["pulse"].astype(np.int64)
            return np.asarray(index // self.length, dtype=np.int64)
        return index


class RampLaw(Table):
    """Choices for ramps of equal pulses (`ramps.RampForward`).

    Args:
        course: whether the step shrinks or grows along a ramp.
        start: where the model begins a ramp.
    """

    course: Literal["saturating", "accelerating"] = "saturating"
    start: Literal["first read", "shared", "shifted"] = "first read"


class Candidate(RampLaw):
    """One of several choices, of which cross-validation on the training part keeps the best.

    Args:
        title: what it is called in tables.
        vary: as in ``fit``.
        values: as in ``start``.
    """

    title: str
    vary: tuple[str, ...] = Field(min_length=1)
    values: Quantities = Field(default_factory=dict)


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
        file = _file(path)
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
                remedy=f"allow it: --allow {path.parent}",
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
    fit: FitSpec
    noise: NoiseSpec = NoiseSpec()
    held_out: HeldOut = HeldOut()
    ramps: RampLaw = RampLaw()
    candidates: tuple[Candidate, ...] = ()

    # Private: a function is no part of a file.
    _law: Callable[[Curve], Forward] | None = PrivateAttr(default=None)

    def check(self) -> None:
        """As of any recipe, and the conditions of the data."""
        if self.circuit is None or self.device:
            super().check()
        elif self.start.sets:
            with at("start", "sets"):
                raise InputError("start.sets needs the recipe's device", remedy='write device = "...", or start.values')
        _require_circuit(self.data.kind, self.circuit)
        self.data.resolved_conditions()
        with at("data", "pulses"):
            self.data.resolved_pulses()

    @property
    def subject(self) -> str:
        """What is fitted, in words: the device, the bench without one, or a function."""
        return self.device or ("a function" if self.circuit is None else f"bench {self.circuit.bench}")

    def forward_of(self, curve: Curve, rows: Rows, choice: RampLaw) -> Forward:
        """The model of the curve with one choice of the law."""
        if self._law is not None:
            return self._law(curve)
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


class ObservationSpec(DataSpec):
    """One measured recording of a joint fit: everything of ``[data]``, and which device it belongs to.

    Args:
        name: of the observation; a file with columns of ``groups`` becomes one observation for each combination.
        labels: the ``device``, ``cycle`` or ``sweep`` of the whole file; default device: the observation's name.
        model: the device model of this observation, where it is another one than the recipe's; parameters of the same
            name are the same.
        values: what is different in this observation: values of parameters that do not vary, starts of those that do.
        circuit: the bench that was measured, where the curve is not that of the device alone.
        noise: of one read; default: estimated for each observation from its residuals.
        held_out: the part that the fit does not see.
        ramps: choices for ramps of equal pulses.
    """

    name: str
    labels: dict[Group, str] = Field(default_factory=dict)
    model: str | None = None
    circuit: CircuitSpec | None = None
    values: Quantities = Field(default_factory=dict)
    noise: NoiseSpec = NoiseSpec()
    held_out: HeldOut = HeldOut()
    ramps: RampLaw = RampLaw()


class ParameterSpec(Table):
    """A parameter that varies in a joint fit.

    Args:
        scope: ``shared``: one value for all observations; ``own``: a value for each group; ``population``: a value for
            each group, drawn from a normal distribution whose mean and spread are estimated.
        by: the group: ``device`` (all observations of a device share the value), ``cycle`` (of a device), ``sweep`` (of
            a cycle) or ``observation``.
        bounds: lower and upper; default: the device's. A plain number is SI.
        prior: what is known of each of its values beforehand (of a population: of its mean), counted as an observation.
    """

    scope: Literal["shared", "own", "population"] = "shared"
    by: Literal["observation", "device", "cycle", "sweep"] = "device"
    bounds: tuple[str | float, str | float] | None = None
    prior: PriorSpec | None = None


class StageSpec(Table):
    """One stage of a joint fit. It starts where the one before it ended; what it does not vary is held there.

    Args:
        title: what it is called.
        vary: the parameters; default: all.
        observations: names or kinds of observations; default: all.
        part: first and last share of each recording's rows: ``[0, 0.5]`` is the first half.
        method: how the minimum is looked for, as in ``fit``.
    """

    title: str = ""
    vary: tuple[str, ...] = ()
    observations: tuple[str, ...] = ()
    part: tuple[Annotated[float, Field(ge=0, le=1)], Annotated[float, Field(ge=0, le=1)]] = (0.0, 1.0)
    method: Method = LEAST_SQUARES


class JointRecipe(Recipe):
    """Several observations fitted together, with shared, per-group and population parameters, in one or more stages.

    Args:
        name: of the parameter sets that come out.
        device: the model whose parameters are extracted (``cosim devices``); without it every observation has a
            circuit.
        observations: what was measured.
        parameters: what varies, and for whom.
        stages: one fit after the other; default: a single one of everything.
        start: values before the fit.
        notes: sentences that go into the parameter sets.
        path, given: as in `FitRecipe`.

    >>> body = {"name": "two", "device": "vteam", "observations": [{"name": "A", "kind": "loop", "file": "a.csv"}]}
    >>> recipe = cosim.JointRecipe.model_validate({**body, "parameters": {"k_on": {"scope": "own"}}})
    >>> recipe.parameters["k_on"].by
    'device'
    """

    device: str = ""
    observations: tuple[ObservationSpec, ...] = Field(min_length=1)
    parameters: dict[str, ParameterSpec] = Field(min_length=1)
    stages: tuple[StageSpec, ...] = (StageSpec(),)

    @property
    def subject(self) -> str:
        """What is fitted, in words: the device, or the benches without one."""
        benches = dict.fromkeys(spec.circuit.bench for spec in self.observations if spec.circuit is not None)
        return self.device or f"bench {', '.join(benches)}"

    def set_name(self, group: str) -> str:
        """The name of the parameter set of a group; of ``""``: of what is shared."""
        return f"{self.name}_{group.replace('/', '_')}" if group else self.name

    def check(self) -> None:
        """As of any recipe; names of observations and parameters, and conditions."""
        if self.device or any(spec.circuit is None and spec.model is None for spec in self.observations):
            super().check()
        names = [spec.name for spec in self.observations]
        for k, spec in enumerate(self.observations):
            with at("observations", k):
                spec.resolved_conditions("conditions")
                spec.resolved_pulses()
                _require_circuit(spec.kind, spec.circuit)
                if names.count(spec.name) > 1:
                    raise InputError(f"two observations are named {spec.name!r}", remedy="give each a different name")
                if spec.model is not None and spec.model not in devices():
                    raise UnknownName("device", spec.model, devices())
                if spec.noise.step:
                    raise InputError(
                        "noise.step is for a pulse train that is fitted alone", remedy="remove it, or write [data]"
                    )
        known = {*names, *(spec.kind for spec in self.observations)}
        for k, stage in enumerate(self.stages):
            with at("stages", k):
                for name in stage.vary:
                    if name not in self.parameters:
                        raise UnknownName("parameter of the recipe", name, self.parameters)
                for name in stage.observations:
                    if name not in known:
                        raise UnknownName("observation", name, known)
                if not stage.part[0] < stage.part[1]:
                    raise InputError("part = [first, last] leaves no rows", remedy="write the smaller share first")


def _require_circuit(kind: str, circuit: CircuitSpec | None) -> None:
    if circuit is None and not KINDS[kind].forward:
        raise InputError(
            f"a curve of kind {kind!r} says nothing of a device alone",
            remedy="name the bench that was measured: [circuit]",
        )


def load_recipe(path: str | Path, *, allow: Sequence[str | Path] = ()) -> FitRecipe | JointRecipe:
    """The recipe in a file: a joint one where it has ``[[observations]]``; raises as `Recipe.load`."""
    file = _file(path)
    joint = "observations" in read_toml(file, kind="fit recipe")
    return (JointRecipe if joint else FitRecipe).load(file, allow=allow)


def _file(path: str | Path) -> Path:
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
