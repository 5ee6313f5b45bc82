"""numpy: the map as one file of Python that needs numpy alone, with its parameters and golden events.

``loader.py`` is written from the traced map; where the map is integrated, it holds cosim's own integrator as it is, and
where a law is learned, the code that evaluates it.
"""

from __future__ import annotations

import inspect
import io
import json
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cosim.devices import integrate
from cosim.devices.base import DeviceModel
from cosim.emit.expr import Node
from cosim.emit.numba import assignments
from cosim.export import laws
from cosim.export.base import CHECK, Draft, Files, Target, check_text
from cosim.export.golden import deviating
from cosim.export.laws import told
from cosim.export.program import Program, program
from cosim.surrogate.named import one_line

VERSIONS = "numpy >= 1.22"
TEXT: Mapping[str, str] = MappingProxyType(
    {
        "+": "{0} + {1}", "-": "{0} - {1}", "*": "{0} * {1}", "/": "{0} / {1}", ">": "{0} > {1}", "<": "{0} < {1}",
        ">=": "{0} >= {1}", "<=": "{0} <= {1}", "and": "{0} & {1}", "or": "{0} | {1}", "not": "np.logical_not({0})",
        "neg": "-{0}", "pos": "{0}", "abs": "np.abs({0})", "max": "np.maximum({0}, {1})",
        "min": "np.minimum({0}, {1})", "pow": "np.power({0}, {1})", "where": "np.where({0}, {1}, {2})",
        "ln": "np.log({0})", "square": "{0} * {0}", "reciprocal": "1.0 / {0}", "atan": "np.arctan({0})",
        **{op: f"np.{op}({{0}})" for op in (
            "exp", "exp2", "expm1", "log2", "log1p", "sqrt", "sin", "cos", "tan", "sinh", "cosh", "tanh", "sign",
        )},
    }
)  # fmt: skip
_ARRAY = {"state": "x", "after": "y", "input": "u", "parameter": "p", "across": "a"}


def naming(kind: str, name: str) -> str:
    """What the loader calls a quantity."""
    return "energy" if kind == "energy" else f"{_ARRAY[kind]}[{name!r}]"


def function(head: str, result: Mapping[str, Mapping[str, Node]], *, law: Sequence[str] = ()) -> str:
    """A function that returns a dict per entry of ``result``; ``law`` are the lines of `laws.calls`."""
    flat = {f"{part} {name}": graph for part, graphs in result.items() for name, graph in graphs.items()}
    body, found = assignments(flat, TEXT)
    given = [
        "{" + ", ".join(f"{name!r}: {found[f'{part} {name}']}" for name in graphs) + "}"
        for part, graphs in result.items()
    ]
    lines = [*law[:1], *body]
    if law:
        lines += [f"after = {given[0]}", *law[1:]]
        given[0] = "after"
    return "\n".join([f"def {head}:", *(f"    {line}" for line in lines), f"    return {', '.join(given)}", ""])


HEAD = '''"""{title}: the {told}, as cosim's surrogate {fingerprint} has it.

Written by cosim {version}; do not edit. Needs numpy alone::

    cell = Surrogate()
    after, outputs = cell.step({{{states}}}, {{{inputs}}})

States and inputs are arrays that broadcast; a parameter of {own} may be given per instance.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np

'''

CLASS = '''
class DomainError(ValueError):
    """The surrogate was asked for something outside its certified domain."""


class Surrogate:
    """The map for any number of instances; ``outside`` its domain it raises ("raise") or warns ("warn").

    ``parameters``: values per instance for those in ``self.own``; each broadcasts with the states.
    """

    def __init__(self, folder=None, outside="raise", parameters=None):
        folder = Path(__file__).resolve().parent if folder is None else Path(folder)
        self.about = json.loads((folder / "surrogate.json").read_text(encoding="utf-8"))
        with np.load(folder / "surrogate.npz", allow_pickle=False) as stored:
            self.parameters = {name: stored[name] for name in stored.files}
        self.laws = {}
        if self.about["laws"]:
            with np.load(folder / "laws.npz", allow_pickle=False) as stored:
                arrays = {name: stored[name] for name in stored.files}
            self.laws = {name: law_of(document, arrays, name) for name, document in self.about["laws"].items()}
        if outside not in ("raise", "warn"):
            raise ValueError(f"outside = {outside!r} is neither 'raise' nor 'warn'")
        self.outside, self.own = outside, tuple(self.about["own"])
        for name, values in (parameters or {}).items():
            if name not in self.own:
                raise ValueError(f"{name!r} is not a parameter that may differ: {', '.join(self.own) or 'none may'}")
            self.parameters[name] = np.asarray(values, dtype=float)
            self._check(name, self.parameters[name], self.about["domain"]["parameters"].get(name))

    def step(self, state, inputs):
        """The states after one event, and its outputs (SI units; names as in surrogate.json)."""
        x, u = self._given("state", state), self._given("input", inputs)
        with np.errstate(all="ignore"):
            after, outputs = event(x, u, self.parameters, self.laws)
        shape = np.broadcast_shapes(*(np.shape(v) for v in (*x.values(), *u.values(), *self.parameters.values())))
        whole = [{name: np.array(np.broadcast_to(v, shape)) for name, v in part.items()} for part in (after, outputs)]
        return whole[0], whole[1]

    def _given(self, kind, given):
        known = self.about[kind + "s"]
        for name in known:
            if name not in given:
                raise ValueError(f"{kind} {name!r} is missing")
        for name in given:
            if name not in known:
                raise ValueError(f"unknown {kind} {name!r}; known: {', '.join(known)}")
        found = {name: np.asarray(given[name], dtype=float) for name in known}
        for name, values in found.items():
            self._check(name, values, self.about["domain"][kind + "s"].get(name))
        return found

    def _check(self, name, values, allowed):
        if not np.all(np.isfinite(values)):
            raise DomainError(f"{name} is not finite")
        if allowed is None or values.size == 0:
            return
        for low, high in self.about["domain"]["gaps"].get(name, ()):
            inside = values[(values > low) & (values < high)]
            if inside.size:
                self._outside(f"{name} = {inside.flat[0]:.6g} is between {low:.6g} and {high:.6g}, which is untested")
        low, high = allowed
        room = self.about["slack"] * max(abs(low), abs(high))
        if values.min() < low - room or values.max() > high + room:
            worst = values.min() if values.min() < low - room else values.max()
            self._outside(f"{name} = {worst:.6g} is outside {low:.6g}..{high:.6g}")

    def _outside(self, sentence):
        if self.outside == "raise":
            raise DomainError(sentence)
        warnings.warn(sentence + ": the surrogate extrapolates", stacklevel=4)
'''

INTEGRATOR = '''
class SimulationError(RuntimeError):
    """An integration that did not reach its end."""

    def __init__(self, message, outcome=""):
        super().__init__(message)


class Entry:
    """A port or a state: its name, and its nature or its bounds."""

    def __init__(self, name, nature="", bounds=(0.0, 1.0)):
        self.name, self.nature, self.bounds = name, nature, bounds


class Device:
    """What the integrator asks of a device."""

    ports = {ports}
    all_states = {states}
    total_rates = staticmethod(lambda across, x, p: rates(across, x, p))
    through = staticmethod(lambda across, x, p: flows(across, x, p))


class Segment:
    """A straight piece of a drive."""

    def __init__(self, length, begin, end):
        self.length, self.begin, self.end = length, begin, end


class Values(dict):
    """Names with values."""


def event(x, u, p, laws):
    """The waveform of the event, followed to its end."""
    y, energy = sweep(Device, Values(p), segments=waveform(u, p), x0=x)
    return finish(x, u, y, energy, p, laws)


def MappingProxyType(given):
    """A default that nobody changes."""
    return given


# The integrator, as cosim has it.
'''


def _integrated(found: Program, model: DeviceModel, law: Sequence[str]) -> str:
    assert found.rates is not None
    assert found.flows is not None
    ports = [f"Entry({port.name!r}, nature={port.nature!r})" for port in model.ports]
    states = []
    for state in model.all_states:
        low, high = (f"float({str(end)!r})" for end in state.bounds)
        states.append(f"Entry({state.name!r}, bounds=({low}, {high}))")
    flat: dict[str, Node] = {}
    for k, piece in enumerate(found.pieces):
        flat[f"{k} length"] = piece.length
        flat |= {f"{k} begin {name}": node for name, node in piece.begin.items()}
        flat |= {f"{k} end {name}": node for name, node in piece.end.items()}
    body, text = assignments(flat, TEXT)
    rows = []
    for k, piece in enumerate(found.pieces):
        sides = (
            "{" + ", ".join(f"{name!r}: {text[f'{k} {side} {name}']}" for name in part) + "}"
            for side, part in (("begin", piece.begin), ("end", piece.end))
        )
        rows.append(f"Segment({text[f'{k} length']}, {', '.join(sides)})")
    split = {
        "states": {name: found.results[name] for name in found.results if name in {s.name for s in model.states}},
        "outputs": {name: found.results[name] for name in found.results if name not in {s.name for s in model.states}},
    }
    constants = ("GAMMA", "STAGES", "DIFFERENCE", "MAX_STEPS")
    return "\n".join(
        [
            function("rates(a, y, p)", {"rates": found.rates}),
            "",
            function("flows(a, y, p)", {"flows": found.flows}),
            "",
            "\n".join(
                ["def waveform(u, p):", *(f"    {line}" for line in body), f"    return [{', '.join(rows)}]", ""]
            ),
            "",
            function("finish(x, u, y, energy, p, laws)", split, law=law),
            INTEGRATOR.format(ports=f"[{', '.join(ports)}]", states=f"[{', '.join(states)}]"),
            *(f"{name} = {getattr(integrate, name)!r}" for name in constants),
            "",
            "",
            inspect.getsource(integrate.sweep),
            "",
            inspect.getsource(integrate._rodas),
        ]
    )


CHECK_BODY = """
def run(part):
    cell = Surrogate(HERE, parameters=column(part, "parameters"))
    before, inputs = column(part, "before"), column(part, "inputs")
    if part == "events":
        after, outputs = cell.step(before, inputs)
        return {**after, **outputs}
    state = {name: values[:1] for name, values in before.items()}  # a train: each event begins where the last ended
    own = {name: values[:1] for name, values in column(part, "parameters").items()}
    cell, rows = Surrogate(HERE, parameters=own), []
    for k in range(len(next(iter(inputs.values())))):
        state, outputs = cell.step(state, {name: values[k : k + 1] for name, values in inputs.items()})
        rows.append({**state, **outputs})
    return {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}


report(np.__version__, {part: run(part) for part in ("events", "train")})
"""


def packed(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """An ``.npz``."""
    made = io.BytesIO()
    np.savez(made, **arrays)  # type: ignore[arg-type]
    return made.getvalue()


def write(draft: Draft) -> Files:
    """``loader.py``, ``surrogate.npz``, ``laws.npz`` of a learned law, ``surrogate.json`` and ``check.py``."""
    from cosim import __version__

    surrogate = draft.surrogate
    found = program(surrogate, naming, write=laws.named)
    model, event_map = surrogate.map.device, surrogate.map
    states = {name: graph for name, graph in found.results.items() if name in event_map.states}
    outputs = {name: graph for name, graph in found.results.items() if name in event_map.outputs}
    nominal = surrogate.parameters.resolved()
    own = [name for name in sorted({*deviating(surrogate), *surrogate.instances}) if name in found.parameters]
    text = HEAD.format(
        title=one_line(model.title), told=told(surrogate),
        fingerprint=surrogate.fingerprint()[:12], version=__version__, own=", ".join(own) or "none",
        states=", ".join(f'"{name}": ...' for name in event_map.states),
        inputs=", ".join(f'"{name}": ...' for name in event_map.inputs),
    )  # fmt: skip
    used, law = dict(surrogate.laws()), laws.calls(surrogate, "after")
    if used:
        text += laws.source(list(used.values())) + "\n"
    if found.closed:
        body = function("event(x, u, p, laws)", {"states": states, "outputs": outputs}, law=law)
    else:
        body = _integrated(found, model, law)
    values = {name: np.asarray(surrogate.instances.get(name, nominal[name])) for name in found.parameters}
    arrays = {"surrogate.npz": packed(values)}
    if used:
        arrays["laws.npz"] = packed({key: v for name, one in used.items() for key, v in one.arrays(name).items()})
    certificate = surrogate.certificate
    # without a certificate, what the surrogate takes all the same
    ends = {name: surrogate.allowed(name) for name in (*event_map.states, *event_map.inputs)}
    finite = {name: list(pair) for name, pair in ends.items() if np.all(np.isfinite(pair))}
    domain = {kind: {n: finite[n] for n in getattr(event_map, kind) if n in finite} for kind in ("states", "inputs")}
    domain |= {"parameters": {}, "gaps": {}} if certificate is None else certificate.to_dict()["domain"]
    about = {
        "device": surrogate.device, "map": surrogate.name, "fingerprint": surrogate.fingerprint(),
        "states": {name: entry.unit for name, entry in event_map.states.items()},
        "inputs": {name: entry.unit for name, entry in event_map.inputs.items()},
        "outputs": {name: entry.unit for name, entry in event_map.outputs.items()},
        "parameters": {name: model.param(name).unit for name in found.parameters}, "own": own,
        "domain": {kind: domain[kind] for kind in ("states", "inputs", "parameters", "gaps")}, "slack": 1e-9,
        "laws": {name: one.document() for name, one in used.items()},
    }  # fmt: skip
    return {
        "loader.py": f"{text}\n{body}\n{CLASS}",
        **arrays,
        "surrogate.json": json.dumps(about, indent=1, allow_nan=False) + "\n",
        CHECK: check_text(TARGET, imports="from loader import Surrogate", body=CHECK_BODY),
    }


TARGET = Target(
    "numpy",
    VERSIONS,
    ("numpy>=1.22",),
    frozenset({"energy", "readings", "instances", "correction", "domain", "waveform"}),
    write,
    tolerance=(1e-9, "rounding: the same operations in the same order"),
)
