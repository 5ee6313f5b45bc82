"""NEST: the facilitation of an ECRAM as a ``tsodyks2_synapse``, whose law at a spike and between spikes is the same.

With one relaxation time (``share_slow`` = 0) the volatile state is that synapse's u, with U the step of a spike from
rest and tau_fac the relaxation time; nothing is depleted. What the channel makes of u is not in NEST's synapse, which
delivers u times a weight.
"""

from __future__ import annotations

import numpy as np

from cosim.devices.base import Values
from cosim.devices.ecram import Ecram, spike_step
from cosim.emit.expr import Node
from cosim.errors import InputError
from cosim.export.base import CHECK, Draft, Files, Target, check_text
from cosim.export.golden import Levels
from cosim.export.laws import told
from cosim.export.numpy import function
from cosim.export.program import subject
from cosim.surrogate.model import Surrogate

LEVELS = 400  # intervals that are whole steps, among which golden events are
STEPS = 100.0  # of the check's clock in a relaxation time, a millisecond of NEST's
DEPLETION = 1e-3  # of a step: how fast NEST's synapse recovers what a spike depletes

FILE = '''"""The {told}: its facilitation as synapses of NEST; surrogate {fingerprint}.

Written by cosim.

    connect(pre, post, long_term=0.5, weight=100.0)

A spike delivers weight x u, where u is {state} behind it; ``u`` of `connect` is {state} when the first spike comes. A
millisecond of NEST stands for {unit!r} s, so that the relaxation is one millisecond; ``second`` says what stands for
a second otherwise.
"""

import nest
import numpy as np

UNIT = {unit!r}  # s
RELAXATION = {tau!r}  # s


{step}

def connect(pre, post, long_term, weight, u=0.0, second=1e3 * 1e-3 / UNIT, **options):
    """One to one; ``long_term``, ``weight`` (of u = 1) and ``u`` are numbers or arrays, one per synapse."""
    count = len(pre)
    step = step_of(np.broadcast_to(np.asarray(long_term, dtype=float), count))["u"]
    specification = {{
        # NEST's u is what the first spike delivers
        "synapse_model": "tsodyks2_synapse", "U": step, "u": step + np.broadcast_to(u, count) * (1.0 - step),
        "x": np.ones(count), "tau_fac": np.full(count, RELAXATION * second),
        "tau_rec": np.full(count, {depletion!r} * RELAXATION * second / {clock!r}),
        "weight": np.array(np.broadcast_to(weight, count), dtype=float), **options,
    }}
    nest.Connect(pre, post, "one_to_one", specification)
    return nest.GetConnections(pre, post)
'''

CHECK_BODY = """
SECOND = 1e3 * 1e-3 / UNIT


def run(part):
    before, steps = column(part, "before"), np.rint(column(part, "inputs")["interval"] * SECOND / CLOCK).astype(int)
    rows = steps.size
    nest.ResetKernel()
    nest.set_verbosity("M_ERROR")
    nest.resolution = CLOCK
    first = 10
    times = [[first, first + n] for n in steps] if part == "events" else [[first, *(first + np.cumsum(steps))]]
    source = nest.Create("spike_generator", len(times))
    for one, at in zip(source, times):
        one.spike_times = [float(CLOCK * n) for n in at]
    pre, post = nest.Create("parrot_neuron", len(times)), nest.Create("parrot_neuron", len(times))
    nest.Connect(source, pre, "one_to_one", {"delay": CLOCK, "weight": 1.0})
    recorder = nest.Create("weight_recorder")
    nest.CopyModel("tsodyks2_synapse", "recorded_" + part, {"weight_recorder": recorder})
    u = before[STATE][: len(times)]
    made = connect(pre, post, before["w"][: len(times)], 1.0, u=u, delay=CLOCK, synapse_model="recorded_" + part)
    jump = np.atleast_1d(made.get("U"))
    nest.Simulate(CLOCK * (max(at[-1] for at in times) + 10))
    seen = recorder.events
    found = []
    for k, sender in enumerate(pre.tolist()):
        mine = seen["senders"] == sender
        delivered = seen["weights"][mine][np.argsort(seen["times"][mine])]
        found.append((delivered[1:] - jump[k]) / (1.0 - jump[k]))  # what the next spike found
    return {STATE: np.concatenate(found)}


report(nest.__version__, {part: run(part) for part in ("events", "train")})
"""


def _require(surrogate: Surrogate) -> None:
    """Raises `InputError` for what is not the synapse's law."""
    if not isinstance(surrogate.map.device, Ecram) or surrogate.name != "spike" or surrogate.learned is not None:
        raise InputError(
            f"the map {surrogate.name} of {subject(surrogate)} is not a facilitation, and of NEST's synapses only one "
            "that facilitates has a law that a device here has",
            remedy="export it to brian2, or the spikes of an ECRAM",
        )
    share = float(surrogate.parameters.resolved()["share_slow"])
    if share != 0.0:
        raise InputError(
            f"{share:g} of a spike's step of {surrogate.parameters.name} relaxes with a second time constant, and "
            "NEST's facilitating synapse has one",
            remedy="export it to brian2",
        )
    if surrogate.correction is not None:
        raise InputError("NEST's synapse has no place for a learned correction", remedy="export it to brian2")


def levels(surrogate: Surrogate) -> Levels:
    """Intervals that are whole steps of the check's clock; the second volatile part, which nothing moves, is zero."""
    _require(surrogate)
    clock = float(surrogate.parameters.resolved()["tau_fast"]) / STEPS
    low, high = surrogate.allowed("interval") if surrogate.certificate else surrogate.map.inputs["interval"].range
    counts = np.unique(np.rint(np.geomspace(max(low, clock), high, LEVELS) / clock))
    return {"interval": (counts[(counts * clock >= low) & (counts * clock <= high)] * clock).tolist(), "m_slow": [0.0]}


def write(draft: Draft) -> Files:
    """``synapses.py`` and ``check.py``."""
    surrogate = draft.surrogate
    _require(surrogate)
    p = surrogate.parameters.resolved()
    values = Values({name: float(value) for name, value in p.items()})
    step = Node.of(spike_step(Node("name", "long_term"), values))
    tau = float(p["tau_fast"])
    text = FILE.format(
        told=told(surrogate), fingerprint=surrogate.fingerprint()[:12], state="m_fast", unit=tau, tau=tau,
        step=function("step_of(long_term)", {"u": {"u": step}}), depletion=DEPLETION, clock=STEPS,
    )  # fmt: skip
    imports = f'import nest\n    from synapses import UNIT, connect\n\n    STATE, CLOCK = "m_fast", {1.0 / STEPS!r}'
    return {"synapses.py": text, CHECK: check_text(TARGET, imports=imports, body=CHECK_BODY)}


def lost(surrogate: Surrogate) -> list[str]:
    """What the synapse has not."""
    return [
        "how the channel's resistance depends on both states: a spike delivers its weight times the facilitation",
        "the long-term state as one that moves: it sets the step of a spike when synapses are connected",
        "times between two steps of NEST's clock",
    ]


TARGET = Target(
    "nest",
    "NEST 3.10",
    ("nest-simulator==3.10.0", "numpy"),
    frozenset({"rest"}),
    write,
    lost=lost,
    tolerance=(1e-9, "rounding; what is read back is a difference of two"),
    levels=levels,
)
