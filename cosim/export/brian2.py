"""Brian2: the map as the code of synapses, run at each spike of one side.

All quantities are numbers in SI units: the graph has no room for units inside. Brian2's language has no choice between
two values; the file brings one. The recorded checks ran in Brian2's code target numpy; the file brings the functions
for Cython and C++ too, which no recorded check has run.
"""

from __future__ import annotations

import keyword
from collections.abc import Mapping
from types import MappingProxyType

from cosim.emit.numba import assignments
from cosim.errors import InputError
from cosim.export import brian2_neuron
from cosim.export.base import CHECK, Draft, Files, Target, check_text
from cosim.export.golden import deviating
from cosim.export.laws import told
from cosim.export.program import program, subject
from cosim.surrogate.neuron import NeuronLaw

TEXT: Mapping[str, str] = MappingProxyType(
    {
        "+": "{0} + {1}", "-": "{0} - {1}", "*": "{0} * {1}", "/": "{0} / {1}", "neg": "-{0}", "pos": "{0}",
        ">": "int({0} > {1})", "<": "int({0} < {1})", ">=": "int({0} >= {1})", "<=": "int({0} <= {1})",
        "and": "{0} * {1}", "or": "cosim_max({0}, {1})", "not": "1 - {0}", "where": "cosim_where({0}, {1}, {2})",
        "max": "cosim_max({0}, {1})", "min": "cosim_min({0}, {1})", "pow": "{0} ** {1}", "square": "{0} * {0}",
        "reciprocal": "1.0 / {0}", "ln": "log({0})", "exp2": "exp(0.6931471805599453 * {0})",
        "log2": "1.4426950408889634 * log({0})", "atan": "arctan({0})",
        **{op: f"{op}({{0}})" for op in (
            "exp", "expm1", "log1p", "sqrt", "abs", "sin", "cos", "tan", "sinh", "cosh", "tanh", "sign",
        )},
    }
)  # fmt: skip
# Names that Brian2 keeps for itself.
TAKEN = frozenset({"t", "dt", "i", "j", "N", "N_pre", "N_post", "lastspike", "lastupdate", "not_refractory", "xi"})

FILE = '''"""The {told} as synapses of Brian2; surrogate {fingerprint}.

Written by cosim.

    made = synapses(source, target, inputs={{{example}}}, on="post")
    made.connect()
    made.{state} = 0.5

Every quantity is a number in SI units: {units}. ``inputs`` are Brian2 expressions, evaluated at each spike.
Checked with Brian2's code target numpy, ``brian2.prefs.codegen.target = "numpy"``; Cython and C++ were not.
"""

import numpy as np
from brian2 import Function, Synapses

MODEL = """
{model}
"""
ON_EVENT = """
{code}
"""
INPUTS = {inputs!r}


def _function(name, call, text, in_cython):
    made = Function(call, arg_units=[1] * call.__code__.co_argcount, return_unit=1)
    names = call.__code__.co_varnames[: call.__code__.co_argcount]
    made.implementations.add_implementation("numpy", call)
    declared = ", ".join(f"double {{n}}" for n in names)
    made.implementations.add_implementation(
        "cpp", f"static inline double {{name}}({{declared}}) {{{{ return {{text}}; }}}}", name=name
    )
    made.implementations.add_implementation(
        "cython", f"cdef double {{name}}({{declared}}):\\n    return {{in_cython}}\\n", name=name
    )
    return made


NAMESPACE = {{
    "cosim_where": _function(
        "cosim_where", lambda c, a, b: np.where(c > 0.5, a, b), "c > 0.5 ? a : b", "a if c > 0.5 else b"
    ),
    "cosim_max": _function("cosim_max", lambda a, b: np.maximum(a, b), "a > b ? a : b", "a if a > b else b"),
    "cosim_min": _function("cosim_min", lambda a, b: np.minimum(a, b), "a < b ? a : b", "a if a < b else b"),
}}


def synapses(source, target, inputs, on="pre", namespace=None, **options):
    """Synapses with an event at each spike of the side ``on``, "pre" or "post"; the rest as for `Synapses`."""
    if set(inputs) != set(INPUTS):
        raise ValueError(f"inputs are {{', '.join(INPUTS)}}, got {{', '.join(inputs)}}")
    begin = "\\n".join(f"{{name}} = {{inputs[name]}}" for name in INPUTS)
    code = {{f"on_{{on}}": begin + ON_EVENT}}
    return Synapses(source, target, MODEL, namespace={{**NAMESPACE, **(namespace or {{}})}}, **code, **options)
'''

CHECK_BODY = """
brian2.prefs.codegen.target = sys.argv[1] if len(sys.argv) > 1 else "numpy"


def run(part):
    before, inputs, own = (column(part, kind) for kind in ("before", "inputs", "parameters"))
    rows = len(next(iter(inputs.values())))
    width, events = (rows, 1) if part == "events" else (1, rows)
    source = brian2.NeuronGroup(width, "\\n".join(f"given_{name} : 1" for name in inputs), threshold="True")
    made = synapses(source, source, {name: f"given_{name}_pre" for name in inputs})
    made.connect(j="i")
    for name, values in {**before, **own}.items():
        setattr(made, name, values if part == "events" else values[:1])
    network, found = brian2.Network(source, made), []
    for k in range(events):
        for name, values in inputs.items():
            setattr(source, f"given_{name}", values if part == "events" else values[k : k + 1])
        network.run(brian2.defaultclock.dt)
        found.append({name: np.array(getattr(made, name)) for name in [*GOLDEN["states"], *GOLDEN["outputs"]]})
    return {name: np.concatenate([row[name] for row in found]) for name in found[0]}


report(brian2.__version__, {part: run(part) for part in ("events", "train")}, code=str(brian2.prefs.codegen.target))
"""


def write(draft: Draft) -> Files:
    """``synapses.py`` and ``check.py``."""
    surrogate = draft.surrogate
    event_map = surrogate.map
    if event_map.closed is None:
        raise InputError(
            f"the map {surrogate.name} of {subject(surrogate)} is integrated, and a synapse's code holds closed maps",
            remedy="export it to numpy",
        )
    own = sorted({*deviating(surrogate), *surrogate.instances})
    found = program(surrogate, lambda kind, name: name, own=own)
    for name in (*event_map.states, *event_map.inputs, *event_map.outputs):
        own_name = name in TAKEN or keyword.iskeyword(name) or name.startswith(("_", "cosim_", "new_"))
        if own_name or not name.isidentifier():
            raise InputError(f"a variable of Brian2 cannot be called {name!r}", remedy="rename it in the map")
    own = [name for name in own if name in found.parameters]
    body, texts = assignments(found.results, TEXT, temporary="cosim_")
    lines = [*body, *(f"new_{name} = {texts[name]}" for name in found.results)]
    lines += [f"{name} = new_{name}" for name in found.results]
    fields = {**event_map.states, **event_map.inputs, **event_map.outputs}
    units = {name: entry.unit for name, entry in fields.items()} | {n: event_map.device.param(n).unit for n in own}
    text = FILE.format(
        told=told(surrogate),
        fingerprint=surrogate.fingerprint()[:12], state=next(iter(event_map.states)),
        example=", ".join(f'"{name}": "..."' for name in event_map.inputs), inputs=list(event_map.inputs),
        model="\n".join(f"{name} : 1" for name in units), code="\n".join(lines),
        units=", ".join(f"{name} {unit}" for name, unit in units.items()),
    )  # fmt: skip
    imports = "import brian2\n    from synapses import synapses"
    return {"synapses.py": text, CHECK: check_text(TARGET, imports=imports, body=CHECK_BODY)}


TARGET = Target(
    "brian2",
    "Brian2 2.9",
    ("brian2==2.9.*", "numpy<2.4"),
    frozenset({"energy", "readings", "instances", "correction"}),
    write,
    tolerance=(1e-9, "rounding: log2 and exp2 as natural logarithms and exponentials"),
    variants={NeuronLaw.kind: brian2_neuron.TARGET},
)
