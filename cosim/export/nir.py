"""NIR: a filter as a leaky integrator, with an input for each level. It has no node for cells and neurons as these.

A filter's law has a threshold, and may have a learned remainder; NIR's node has one time constant. Time constant and
levels are fitted to what the law does in its domain, and `LOSSES.md` says how far the two are apart.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import least_squares

from cosim.devices.base import Array, Values
from cosim.errors import InputError
from cosim.export.base import CHECK, Draft, Files, Target, check_text
from cosim.export.golden import span_of
from cosim.export.laws import told
from cosim.export.program import subject
from cosim.surrogate.filter import FilterLaw
from cosim.surrogate.model import Surrogate
from cosim.surrogate.trains import random_inputs

SAMPLES = 2000  # events of the law that the node is fitted to

FILE = '''"""The {told} as a graph of NIR; surrogate {fingerprint}.

Written by cosim. ``python graph.py filter.nir`` writes the file.

Input {{k}} of {count} is 1 while the level is k, and 0 otherwise; the output is the state, of which 1 is {scale!r} A.
"""

import sys

import numpy as np
import nir

TAU = {tau!r}  # s
LEVELS = {ends!r}  # the state that each level leads to
SCALE = {scale!r}  # A


def graph():
    """The graph: a level, what it leads to, and the integrator."""
    return nir.NIRGraph(
        nodes={{
            "input": nir.Input(np.array([len(LEVELS)])),
            "levels": nir.Affine(np.array([LEVELS]), np.zeros(1)),
            "filter": nir.LI(tau=np.array([TAU]), r=np.array([1.0]), v_leak=np.array([0.0])),
            "output": nir.Output(np.array([1])),
        }},
        edges=[("input", "levels"), ("levels", "filter"), ("filter", "output")],
    )


if __name__ == "__main__":
    nir.write(sys.argv[1], graph())
'''

CHECK_BODY = """
import tempfile
from importlib.metadata import version

STEPS = 20  # of sinabs in an event


def event(state, level, interval):
    # sinabs counts a time constant in steps, and adds its input to the state: 1 - exp(-1/tau) of it
    found = nir.read(FILE)
    found.nodes["filter"].tau = torch.tensor([TAU * STEPS / interval])
    found.nodes["filter"].r, found.nodes["filter"].v_leak = torch.ones(1), torch.zeros(1)
    run = from_nir(found, batch_size=1)
    run(torch.zeros(1, len(LEVELS)))
    (layer,) = (module for module in run.modules() if hasattr(module, "v_mem"))
    layer.v_mem.data[...] = state / SCALE
    given = torch.zeros(STEPS, len(LEVELS))
    given[:, int(level)] = 1.0 - np.exp(-interval / STEPS / TAU)
    with torch.no_grad():
        out = run(given)
    out = out[0] if isinstance(out, tuple) else out
    return SCALE * float(out.reshape(-1)[-1])


def run(part):
    before, inputs, rows = column(part, "before")["i"], column(part, "inputs"), []
    for k in range(before.size):
        state = before[k] if part == "events" or not rows else rows[-1]
        rows.append(event(state, inputs["level"][k], inputs["interval"][k]))
    return {"i": np.array(rows)}


with tempfile.TemporaryDirectory() as folder:
    FILE = str(Path(folder) / "filter.nir")
    nir.write(FILE, graph())
    found = {part: run(part) for part in ("events", "train")}
report(version("nir"), found, sinabs=version("sinabs"))
"""


def _law(surrogate: Surrogate) -> FilterLaw:
    if not isinstance(surrogate.learned, FilterLaw):
        raise InputError(
            f"the map {surrogate.name} of {subject(surrogate)} is not a filter, and NIR's other nodes are neurons that "
            "leak exponentially and take inputs of one size",
            remedy="export it to numpy or brian2",
        )
    return surrogate.learned


def _fitted(surrogate: Surrogate) -> tuple[float, Array, float]:
    """Time constant (s) and levels (A) nearest to the law, and the largest difference, a share of the states' range."""
    law, rng = _law(surrogate), np.random.default_rng(0)
    low, high = span_of(surrogate, "i", surrogate.map.states["i"])
    before, level = rng.uniform(low, high, SAMPLES), rng.integers(0, law.ends.size, SAMPLES)
    span = span_of(surrogate, "interval", surrogate.map.inputs["interval"])
    interval = random_inputs(surrogate.map.inputs["interval"], rng, count=SAMPLES, name="interval", span=span)
    plain = surrogate.with_(policy="warn")
    after = plain.step(Values({"i": before}), Values({"level": level.astype(float), "interval": interval}))[0]["i"]

    def apart(p: Array) -> Array:
        ends = p[1:] * high
        return np.asarray((ends[level] + (before - ends[level]) * np.exp(-interval / (p[0] * law.tau)) - after) / high)

    found = least_squares(apart, [1.0, *(law.ends / high)]).x
    return float(found[0]) * law.tau, found[1:] * high, float(np.max(np.abs(apart(found))))


def write(draft: Draft) -> Files:
    """``graph.py`` and ``check.py``."""
    surrogate = draft.surrogate
    tau, ends, _ = _fitted(surrogate)
    scale = float(ends.max())
    text = FILE.format(
        told=told(surrogate), fingerprint=surrogate.fingerprint()[:12], count=ends.size, tau=tau, scale=scale,
        ends=(ends / scale).tolist(),
    )  # fmt: skip
    imports = "import nir\n    import torch\n    from graph import LEVELS, SCALE, TAU, graph"
    imports += "\n    from sinabs.nir import from_nir"
    return {"graph.py": text, CHECK: check_text(TARGET, imports=imports, body=CHECK_BODY)}


def lost(surrogate: Surrogate) -> list[str]:
    """What one time constant cannot say."""
    law = _law(surrogate)
    remainder = "" if law.rest is None else " and the learned remainder"
    return [
        f"the law's threshold ({law.threshold:.3g} A){remainder}: one time constant follows it to within "
        f"{_fitted(surrogate)[2]:.2g} of the states' range",
        "more than one level at a time: a combination of inputs has a level of its own",
    ]


TARGET = Target(
    "nir",
    "NIR 1.0, run by sinabs 3.1",
    ("sinabs==3.1.*", "nir", "torch==2.13.0", "numpy"),
    frozenset(),
    write,
    lost=lost,
    tolerance=(0.05, "one time constant for a law with a threshold"),
)
