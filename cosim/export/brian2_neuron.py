"""Brian2: an event neuron as a group that follows its law exactly from input to input, and spikes on Brian2's clock.

An input is the law's event: when it arrives, the states go to what they are by now, and the neuron is due at the
latency that the law gives if no other input comes first. The law itself is numpy's loader (`cosim.export.numpy`).
"""

from __future__ import annotations

import numpy as np

from cosim.devices.base import Values
from cosim.export import numpy
from cosim.export.base import CHECK, Draft, Files, Target, check_text
from cosim.export.golden import Levels, random_events
from cosim.export.laws import told
from cosim.surrogate.model import Surrogate

STEPS = 20.0  # of Brian2's clock in the shortest interval between inputs, at least (our choice)
# Of full scale, what the clock may take from a latency: a quarter of the 2 % that a neuron may be late by (our choice).
# A spike falls on the nearest step, so that half a step is the most; full scale is the largest golden latency, which is
# at least the median of many unless all of some dozen spikes are below it.
LATE = 0.005
DRAWN = 1000  # random events from whose latencies the median is taken
LEVELS = 400  # intervals on the clock among which golden events are

FILE = '''"""The {told} as neurons of Brian2; surrogate {fingerprint}.

Written by cosim.

    made = neurons(10)
    inputs = Synapses(source, made, on_pre="arrived_post += 1")
    brian2.defaultclock.dt = {step!r} * brian2.second

A spike falls on the step of the clock that is nearest to its time; take {step:g} s or less. ``v`` and the other states
are those at the last input; ``energy`` (J) is what all intervals took until then. The law is Python that is called when
inputs arrive, whatever the code target; a device in standalone mode cannot call it.
"""

import numpy as np
from brian2 import NetworkOperation, NeuronGroup, second

from loader import Surrogate

STEP = {step!r}  # s
LONGEST = {longest!r}  # s, between two inputs
MODEL = """
{states}
energy : 1
arrived : integer
driven : boolean
last : second
due : second
"""


def neurons(count, outside="raise", **options):
    """A group of ``count`` neurons; an input adds one to ``arrived``. ``outside`` as for the loader's `Surrogate`."""
    law = Surrogate(outside=outside)
    names = list(law.about["states"])
    group = NeuronGroup(
        count, MODEL, threshold="driven and t + 0.5 * dt >= due", reset="due = 1e9 * second", **options
    )
    group.due = 1e9 * second

    def arrive():
        known = (*names, "energy", "arrived", "driven", "last", "due")
        x = {{name: group.variables[name].get_value() for name in known}}
        now = float(group.clock.t / second)
        while (at := np.flatnonzero(x["arrived"] > 0)).size:
            past = at[x["driven"][at]]
            if past.size:
                interval = {{"interval": now - x["last"][past]}}
                after, outputs = law.step({{name: x[name][past] for name in names}}, interval)
                for name in names:
                    x[name][past] = after[name]
                x["energy"][past] += outputs["energy"]
            ahead = law.step({{name: x[name][at] for name in names}}, {{"interval": LONGEST}})[1]
            x["due"][at] = np.where(ahead["spikes"] > 0.0, now + ahead["latency"], 1e9)
            x["last"][at], x["driven"][at] = now, True
            x["arrived"][at] -= 1

    group.contained_objects.append(NetworkOperation(arrive, clock=group.clock, when="after_synapses"))
    return group
'''

CHECK_BODY = """
brian2.defaultclock.dt = STEP * brian2.second


def driven(part, count, indices, steps):
    made = neurons(count, outside="warn")  # an event may end where nothing was tested
    for name, values in column(part, "before").items():
        setattr(made, name, values[:count])
    source = brian2.SpikeGeneratorGroup(count, indices, steps * STEP * brian2.second)
    inputs = brian2.Synapses(source, made, on_pre="arrived_post += 1")
    inputs.connect(j="i")
    spikes = brian2.SpikeMonitor(made)
    return made, spikes, brian2.Network(source, made, inputs, spikes)


def latencies(spikes, begin, end, neuron):
    times = np.asarray(spikes.t / brian2.second)[np.asarray(spikes.i) == neuron]
    return times[(times > begin + 0.1 * STEP) & (times < end + 0.1 * STEP)] - begin


def run(part):
    intervals = np.rint(column(part, "inputs")["interval"] / STEP).astype(int)
    rows, names, found = intervals.size, [*GOLDEN["states"], "energy"], []
    if part == "events":
        at = np.concatenate([0 * intervals, intervals])
        made, spikes, network = driven(part, rows, np.tile(np.arange(rows), 2), at)
        network.run((intervals.max() + 1) * STEP * brian2.second)
        result = {name: np.asarray(getattr(made, name)) for name in names}
        late = [latencies(spikes, 0.0, n * STEP, k) for k, n in enumerate(intervals)]
    else:
        at = np.concatenate([[0], np.cumsum(intervals)])
        made, spikes, network = driven(part, 1, np.zeros(at.size, dtype=int), at)
        network.run(STEP * brian2.second)
        for n in intervals:
            network.run(n * STEP * brian2.second)
            found.append([float(getattr(made, name)[0]) for name in names])
        result = dict(zip(names, np.array(found).T))
        result["energy"] = np.diff(result["energy"], prepend=0.0)
        late = [latencies(spikes, a * STEP, b * STEP, 0) for a, b in zip(at, at[1:])]
    result["spikes"] = np.array([float(len(one)) for one in late])
    result["latency"] = np.array([one[0] if len(one) else 0.0 for one in late])
    return result


report(brian2.__version__, {part: run(part) for part in ("events", "train")}, step=STEP)
"""


def step(surrogate: Surrogate) -> float:
    """The clock's step (s): a power of ten, at most a `STEPS`-th of the shortest interval, and with half of it at most
    `LATE` of the median latency of random events."""
    shortest = surrogate.allowed("interval")[0]
    drawn = random_events(surrogate, {}, np.random.default_rng(0), count=DRAWN)
    outputs = surrogate.with_(policy="warn").step(Values(drawn["before"]), Values(drawn["inputs"]))[1]
    latencies = outputs["latency"][outputs["latency"] > 0.0]
    most = min([shortest / STEPS, *([2.0 * LATE * float(np.median(latencies))] if latencies.size else [])])
    return float(f"1e{int(np.floor(np.log10(most)))}")


def levels(surrogate: Surrogate) -> Levels:
    """Intervals that are whole steps of the clock."""
    clock, (low, high) = step(surrogate), surrogate.allowed("interval")
    counts = np.unique(np.rint(np.geomspace(low, high, LEVELS) / clock))
    return {"interval": (counts[(counts * clock >= low) & (counts * clock <= high)] * clock).tolist()}


def write(draft: Draft) -> Files:
    """``neurons.py``, the loader's files and ``check.py``."""
    surrogate = draft.surrogate
    text = FILE.format(
        told=told(surrogate), fingerprint=surrogate.fingerprint()[:12], step=step(surrogate),
        longest=surrogate.allowed("interval")[1],
        states="\n".join(f"{name} : 1" for name in surrogate.map.states),
    )  # fmt: skip
    imports = "import brian2\n    from neurons import STEP, neurons"
    body = check_text(TARGET, imports=imports, body=CHECK_BODY)
    return {**numpy.write(draft), "neurons.py": text, CHECK: body}


def lost(surrogate: Surrogate) -> list[str]:
    """What a clock cannot say."""
    return [
        f"the time of a spike within a step of the clock, {step(surrogate):g} s or what the user takes; a spike after "
        "less than half a step falls on the next one",
        "the states between inputs: they are known when the next input comes",
    ]


TARGET = Target(
    "brian2",
    "Brian2 2.9",
    ("brian2==2.9.*", "numpy<2.4"),
    frozenset({"energy", "readings", "domain", "certificate"}),
    write,
    lost=lost,
    tolerance=(LATE, "half a step of the clock, which is chosen for it, in the latency; all else rounding"),
    levels=levels,
)
