"""PyTorch: the map as a module with gradients, for training with the device in the loop.

The graphs are those of the numpy loader in torch's words. The law that a ``where`` does not take gets a gradient of
zero, which an infinite slope further down would make NaN and so spoil the sum with the law that is taken: each operand
of an operation drops such a NaN where it arises.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType

from cosim.emit.expr import Node
from cosim.emit.numba import assignments
from cosim.errors import InputError
from cosim.export import laws
from cosim.export.base import CHECK, Draft, Files, Target, check_text
from cosim.export.golden import deviating
from cosim.export.laws import told
from cosim.export.numpy import packed
from cosim.export.program import program
from cosim.export.torch_laws import TEXT as LAWS
from cosim.export.torch_laws import arrays

TEXT: Mapping[str, str] = MappingProxyType(
    {
        "+": "{0} + {1}", "-": "{0} - {1}", "*": "{0} * {1}", "/": "_both(torch.div, {0}, {1})", ">": "{0} > {1}",
        "<": "{0} < {1}",
        ">=": "{0} >= {1}", "<=": "{0} <= {1}",
        "and": "{0} & {1}", "or": "{0} | {1}", "not": "~{0}",
        "neg": "-{0}", "pos": "{0}", "abs": "_on(torch.abs, {0})", "max": "_both(torch.maximum, {0}, {1})",
        "min": "_both(torch.minimum, {0}, {1})",
        "pow": "_both(torch.pow, {0}, {1})",
        "where": "_where({0}, {1}, {2})",
        "ln": "_on(torch.log, {0})", "square": "{0} * {0}",
        "reciprocal": "_on(torch.reciprocal, {0})", "atan": "_on(torch.atan, {0})",
        **{op: f"_on(torch.{op}, {{0}})" for op in (
            "exp", "exp2", "expm1", "log2", "log1p", "sqrt", "sin", "cos", "tan", "sinh", "cosh", "tanh", "sign",
        )},
    }
)  # fmt: skip
_ARRAY = {"state": "x", "input": "u", "parameter": "p"}


def naming(kind: str, name: str) -> str:
    """What the module calls a quantity."""
    return f"{_ARRAY[kind]}[{name!r}]"


HEAD = '''"""The {told} as a PyTorch module; surrogate {fingerprint}.

Written by cosim.

    cell = Cell()                                  # float64; Cell(parameters={{...}}) for parameters per instance
    after, outputs = cell({{{states}}}, {{{inputs}}})

Gradients flow to states, inputs and parameters; at a threshold they are those of one side. A learned law holds its
fields at the ends of what it was trained on, and has no gradient beyond.
"""

import json
from itertools import product
from pathlib import Path

import torch


def _tensor(value):
    return value if isinstance(value, torch.Tensor) else torch.as_tensor(value, dtype=torch.float64)


class _Quiet(torch.autograd.Function):
    """The value itself; a gradient of 0 · inf, from the side of a choice that is not taken, is 0."""

    @staticmethod
    def forward(ctx, value):
        return value.view_as(value)

    @staticmethod
    def backward(ctx, gradient):
        return torch.where(torch.isnan(gradient), torch.zeros_like(gradient), gradient)


def _quiet(value):
    value = _tensor(value)
    return _Quiet.apply(value) if value.requires_grad else value


def _on(operation, value):
    return operation(_quiet(value))


def _both(operation, a, b):
    return operation(_quiet(a), _quiet(b))


def _where(condition, yes, no):
    yes, no = torch.broadcast_tensors(_tensor(yes), _tensor(no))
    return torch.where(condition, yes, no)

'''

CLASS = '''

class Cell(torch.nn.Module):
    """One event on any number of instances."""

    def __init__(self, parameters=None):
        super().__init__()
        about = json.loads((Path(__file__).resolve().parent / "cell.json").read_text(encoding="utf-8"))
        self.states, self.inputs, self.outputs = about["states"], about["inputs"], about["outputs"]
        self.laws = torch.nn.ModuleDict({name: _law(law, name) for name, law in about["laws"].items()})
        given = parameters or {}
        for name in given:
            if name not in about["own"]:
                known = ", ".join(about["own"]) or "none may"
                raise ValueError(f"{name!r} is not a parameter that may differ: {known}")
        self.names = list(about["parameters"])
        for name, value in about["parameters"].items():
            self.register_buffer(name, _tensor(given.get(name, value)))

    def forward(self, state, inputs):
        """The states after the event, and its outputs, each a dict of tensors (SI units)."""
        parameters = {name: getattr(self, name) for name in self.names}
        x = {name: _tensor(state[name]) for name in self.states}
        u = {name: _tensor(inputs[name]) for name in self.inputs}
        return event(x, u, parameters, self.laws)
'''

CHECK_BODY = '''
def tensors(part, kind, **more):
    return {name: torch.tensor(values, dtype=torch.float64, **more) for name, values in GOLDEN[part][kind].items()}


def run(part):
    cell = Cell(parameters=tensors(part, "parameters"))
    if part == "events":
        after, outputs = cell(tensors(part, "before"), tensors(part, "inputs"))
        return {name: value.numpy() for name, value in {**after, **outputs}.items()}
    state = {name: values[:1] for name, values in tensors(part, "before").items()}
    cell = Cell(parameters={name: values[:1] for name, values in tensors(part, "parameters").items()})
    inputs, rows = tensors(part, "inputs"), []
    for k in range(len(next(iter(inputs.values())))):
        state, outputs = cell(state, {name: values[k : k + 1] for name, values in inputs.items()})
        rows.append({**state, **outputs})
    return {name: torch.cat([row[name].reshape(1) for row in rows]).numpy() for name in rows[0]}


def gradients():
    """Whether gradcheck agrees at every golden event that is not within a step of a kink, in scaled quantities."""
    before, inputs, own = tensors("events", "before"), tensors("events", "inputs"), tensors("events", "parameters")
    names = [*GOLDEN["states"], *GOLDEN["inputs"]]
    columns = {**before, **inputs}
    sizes = {name: float(columns[name].abs().max()) or 1.0 for name in names}
    results = [*GOLDEN["states"], *GOLDEN["outputs"]]
    agreed = skipped = 0
    for k in range(len(columns[names[0]])):
        cell = Cell(parameters={name: values[k : k + 1] for name, values in own.items()})

        def scaled(*z):
            here = {name: value * sizes[name] for name, value in zip(names, z)}
            after, outputs = cell({n: here[n] for n in GOLDEN["states"]}, {n: here[n] for n in GOLDEN["inputs"]})
            found = {**after, **outputs}
            return tuple(found[name] / GOLDEN["scale"][name] for name in results)

        z = [(columns[name][k : k + 1] / sizes[name]).clone() for name in names]
        step = 1e-6
        with torch.no_grad():
            middle = scaled(*z)
            kink = False
            for i in range(len(z)):
                ahead, behind = list(z), list(z)
                ahead[i], behind[i] = z[i] + step, z[i] - step
                for m, a, b in zip(middle, scaled(*ahead), scaled(*behind)):
                    one, other = (a - m) / step, (m - b) / step
                    kink |= bool((one - other).abs().max() > 1e-3 * (1.0 + one.abs().max()))
        if kink:
            skipped += 1
            continue
        agreed += torch.autograd.gradcheck(
            scaled, [value.requires_grad_() for value in z], eps=step, atol=1e-5, rtol=1e-4, raise_exception=False
        )
    return agreed, skipped, k + 1


agreed, skipped, count = gradients()
if agreed + skipped < count:
    sys.exit(f"gradients differ from finite differences at {count - agreed - skipped} of {count} golden events")
found = {part: run(part) for part in ("events", "train")}
report(torch.__version__, found, gradients={"agreed": agreed, "kinks": skipped})
'''


def write(draft: Draft) -> Files:
    """``cell.py``, ``cell.json`` and ``check.py``."""
    surrogate = draft.surrogate
    if surrogate.map.closed is None:
        raise InputError(
            f"the map {surrogate.name} of {surrogate.device} is integrated, and a PyTorch module holds closed maps",
            remedy="export it to numpy",
        )
    used = dict(surrogate.laws())
    packs = {f"{name}.npz": packed(arrays(surrogate, law)) for name, law in used.items()}
    call = laws.calls(surrogate, "after")
    found = program(surrogate, naming, write=laws.named)
    event_map, nominal = surrogate.map, surrogate.parameters.resolved()
    own = [name for name in sorted({*deviating(surrogate), *surrogate.instances}) if name in found.parameters]
    parameters = {
        name: surrogate.instances[name].tolist() if name in surrogate.instances else float(nominal[name])
        for name in found.parameters
    }
    text = HEAD.format(
        told=told(surrogate),
        fingerprint=surrogate.fingerprint()[:12],
        states=", ".join(f'"{name}": ...' for name in event_map.states),
        inputs=", ".join(f'"{name}": ...' for name in event_map.inputs),
    )  # fmt: skip
    about = {
        "states": list(event_map.states), "inputs": list(event_map.inputs), "outputs": list(event_map.outputs),
        "own": own, "parameters": parameters, "laws": {name: law.document() for name, law in used.items()},
    }  # fmt: skip
    return {
        "cell.py": f"{text}{LAWS if used else ''}\n{event(found.results, event_map.states, call)}{CLASS}",
        **packs,
        "cell.json": json.dumps(about, indent=1, allow_nan=False) + "\n",
        CHECK: check_text(TARGET, imports="import torch\n    from cell import Cell", body=CHECK_BODY),
    }


def event(results: Mapping[str, Node], states: Collection[str], law: Sequence[str]) -> str:
    """The function of the module that holds the map; ``law`` are the lines of `laws.calls`."""
    body, found = assignments(results, TEXT)
    given = [
        "{" + ", ".join(f"{name!r}: _tensor({found[name]})" for name in results if (name in states) == of) + "}"
        for of in (True, False)
    ]
    lines = [*law[:1], *body]
    if law:
        lines += [f"after = {given[0]}", *law[1:]]
        given[0] = "after"
    lines.append(f"return {', '.join(given)}")
    return "\n".join(["def event(x, u, p, laws):", *(f"    {line}" for line in lines), ""])


TARGET = Target(
    "torch",
    "torch >= 2.0",
    ("torch>=2.0", "numpy"),
    frozenset({"energy", "readings", "instances", "correction"}),
    write,
    tolerance=(1e-9, "rounding: powers and exponentials of another library"),
)
