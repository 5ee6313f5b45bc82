"""CrossSim 2: the tables of ΔG over G of one pulse up and one down, which its cores take for an update.

A table has a row for each value of a cumulative distribution, from which CrossSim draws what a pulse does; a surrogate
gives one answer, so that all rows are alike. CrossSim takes the node that is nearest to a conductance. Where pulses
saturate, a step shrinks a difference by what it was off, so that a train is off by half the distance of two nodes at
most; where a step grows with the conductance, a train adds it up. Amplitudes are those of `pulses`.
"""

from __future__ import annotations

import json

import numpy as np

from cosim.devices.base import Array, Values
from cosim.export.base import CHECK, Draft, Files, Target, check_text
from cosim.export.golden import Levels
from cosim.export.laws import told
from cosim.export.pulses import READING, amplitudes, conductances, plain
from cosim.surrogate.model import Surrogate

NODES = 501  # as many as CrossSim's own tables have
FINE = 10  # states between two nodes, among which that of a node's conductance is interpolated
WAYS = ("increasing", "decreasing")

CHECK_BODY = '''
ABOUT = json.loads((HERE / "device.json").read_text(encoding="utf-8"))
(state,), (given,) = GOLDEN["states"], GOLDEN["inputs"]
params = Parameters()
params.algorithm_params.crossbar_type = "OFFSET"
params.numeric_params.update_model = "DG_LOOKUP"
for way in ("increasing", "decreasing"):
    setattr(params.numeric_params.dG_lookup, "file_" + way, str(HERE / ("dG_" + way + ".txt")))
params.numeric_params.dG_lookup.Gmin_relative, params.numeric_params.dG_lookup.Gmax_relative = 0.0, 1.0
core = MakeCore(params=params)
table, largest = core.params.numeric_params.dG_lookup, ABOUT["conductances"][-1]


def pulsed(weights, amplitudes):
    """One pulse on each weight: an update of the size that CrossSim takes for one."""
    sizes = np.where(np.isclose(amplitudes, ABOUT["up"]), table.ave_dw_inc, table.ave_dw_dec)
    core.core.set_matrix(weights[:, None].copy())
    rate = 2.0 * float(np.max(np.abs(sizes)))  # a core clips what comes near its rows' limit of 1
    core.core.update_matrix(sizes / rate, np.ones(1), rate, 0)
    return core.core.matrix[:, 0]


def run(part):
    start = np.interp(column(part, "before")[state], ABOUT["states"], ABOUT["conductances"]) / largest
    amplitudes = column(part, "inputs")[given]
    if part == "events":
        return {"conductance": largest * pulsed(start, amplitudes)}
    rows, weights = [], start[:1]
    for amplitude in amplitudes:
        weights = pulsed(weights, np.array([amplitude]))
        rows.append(largest * weights[0])
    return {"conductance": np.array(rows)}


matrix = np.random.default_rng(0).uniform(-1.0, 1.0, (16, 16))
core.set_matrix(matrix.copy())
worst = float(np.max(np.abs(core._read_matrix() - matrix)))
if not worst < 1e-9:
    sys.exit(f"a matrix of +-1 is held with an error of {worst}")
digest = hashlib.sha256(Path(numeric_params.__file__).read_bytes()).hexdigest()[:12]
report(f"2.0 (numeric_params.py {digest})", {part: run(part) for part in ("events", "train")})
'''
IMPORTS = """import hashlib
    sys.path.insert(1, sys.argv[1] if len(sys.argv) > 1 else "")
    from cross_sim import MakeCore, Parameters
    from cross_sim.cross_sim.xbar_simulator.parameters import numeric_params"""


def _nodes(surrogate: Surrogate) -> tuple[Array, Array]:
    """The conductances (S) of the tables, evenly apart, and the states that have them. Raises `InputError`."""
    states, scale = conductances(surrogate, "CrossSim")
    (state,) = surrogate.map.states
    fine = np.linspace(states[0], states[-1], FINE * NODES)
    nodes = np.linspace(scale[0], scale[-1], NODES)
    return nodes, np.interp(nodes, surrogate.read(Values({state: fine}))[READING], fine)


def _tables(surrogate: Surrogate) -> tuple[Array, Array, dict[str, Array]]:
    """Conductances (S), states, and what a pulse each way adds to each conductance (S)."""
    nodes, states = _nodes(surrogate)
    (state,) = surrogate.map.states
    ((given, pair),) = amplitudes(surrogate, "CrossSim").items()
    nominal, found = plain(surrogate), {}
    for way, amplitude in zip(WAYS, pair, strict=True):
        after = nominal.advance(Values({state: states}), Values({given: np.full(NODES, amplitude)}))
        found[way] = np.clip(nominal.read(after)[READING], nodes[0], nodes[-1]) - nodes
    return nodes, states, found


def levels(surrogate: Surrogate) -> Levels:
    """The amplitudes of a pulse up and one down, and the states of the nodes."""
    (state,) = surrogate.map.states if len(surrogate.map.states) == 1 else ("",)
    return {state: _nodes(surrogate)[1].tolist(), **amplitudes(surrogate, "CrossSim")}


def write(draft: Draft) -> Files:
    """``dG_increasing.txt``, ``dG_decreasing.txt``, ``device.json`` and ``check.py``."""
    surrogate = draft.surrogate
    nodes, states, found = _tables(surrogate)
    ((given, pair),) = amplitudes(surrogate, "CrossSim").items()
    unit, files = surrogate.map.inputs[given].unit, {}
    for (way, steps), amplitude in zip(found.items(), pair, strict=True):
        row = ",".join(map(repr, steps.tolist()))
        begin = (
            f"Written by cosim: {told(surrogate)}; surrogate {surrogate.fingerprint()[:12]}; lines: G (S); CDF; dG (S) "
            f"of a pulse of {amplitude:.6g} {unit} for each CDF"
        )
        files[f"dG_{way}.txt"] = "\n".join([begin, ",".join(map(repr, nodes.tolist())), "0.0,1.0", row, row, ""])
    about = {"up": pair[0], "down": pair[1], "states": states.tolist(), "conductances": nodes.tolist()}
    return {
        **files,
        "device.json": json.dumps(about, indent=1) + "\n",
        CHECK: check_text(TARGET, imports=IMPORTS, body=CHECK_BODY),
    }


def lost(surrogate: Surrogate) -> list[str]:
    """What a table of steps cannot say."""
    nodes, _, found = _tables(surrogate)
    ((given, (up, down)),) = amplitudes(surrogate, "CrossSim").items()
    unit = surrogate.map.inputs[given].unit
    off = max(float(np.max(np.abs(np.diff(steps)))) for steps in found.values()) / (2.0 * float(np.ptp(nodes)))
    return [
        f"every amplitude but two: a pulse up is {up:.4g} {unit}, one down {down:.4g} {unit}",
        f"the steps between {NODES} conductances: CrossSim takes the nearest, which is off by up to {off:.2g} of the "
        "range in one step; a train adds that up where steps grow",
        "noise from cycle to cycle: the surrogate has none, and all rows of a table are the same",
    ]


TARGET = Target(
    "crosssim2",
    "CrossSim 2.0",
    ("numpy<1.24", "scipy<1.11", "setuptools<81"),
    frozenset({"readings"}),
    write,
    lost=lost,
    tolerance=(0.5 / (NODES - 1), f"half the distance of {NODES} nodes: a train of pulses that saturate keeps it"),
    levels=levels,
    source="the folder with cross_sim/ of CrossSim 2.0",
)
