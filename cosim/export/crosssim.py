"""CrossSim: a device class whose error of programming is what the cell's own pulses leave.

A cell is programmed without looking: from the low end of its certified range by as many pulses up as bring a nominal
cell nearest to the target. What is left is the distance to the nearest reachable conductance, and, where a spread of
parameters is certified, that of the cell from a nominal one. The amplitude is that of `aihwkit`.
"""

from __future__ import annotations

import numpy as np

from cosim.devices.base import Array, Values
from cosim.errors import InputError
from cosim.export.aihwkit import amplitudes
from cosim.export.base import CHECK, Draft, Files, Target, check_text
from cosim.export.golden import Levels, deviating
from cosim.export.laws import told
from cosim.export.neurosim import READING, conductances
from cosim.export.program import subject
from cosim.surrogate.base import DEVIATIONS
from cosim.surrogate.model import Surrogate

MOST = 400  # pulses from the low end; the last levels lie nearer to each other than makes a difference
LEAST = 1e-4  # of the range: a pulse that moves less is the last one (our choice)
CELLS = 64  # drawn from the certified spread

FILE = '''"""The {told} as a device of CrossSim 3; surrogate {fingerprint}.

Written by cosim. Import this before a core is made::

    params.xbar.device.Rmin, params.xbar.device.Rmax = RMIN, RMAX
    params.xbar.device.programming_error.enable = True
    params.xbar.device.programming_error.model = "{name}"
    params.xbar.device.programming_error.magnitude = 1.0  # of the certified spread of cells; 0: all are nominal

A cell is programmed by pulses of {up:.6g} {unit} from the low end: as many as bring a nominal one
nearest to its target.
"""

import numpy
from simulator.backend import ComputeBackend
from simulator.devices.idevice import EmptyDevice

xp = ComputeBackend()
AMPLITUDE = {up!r}  # {unit}
RMIN, RMAX = {rmin!r}, {rmax!r}  # Ohm
LEVELS = {levels!r}  # S, of a nominal cell after 0, 1, 2, ... pulses
CELLS = {cells!r}  # S, the same of cells drawn from the certified spread


class {name}(EmptyDevice):
    """Programs without looking."""

    def programming_error(self, input_):
        """The conductances (a share of the largest) that cells have whose targets are ``input_``."""
        levels = xp.asarray(LEVELS) * RMIN
        middles = 0.5 * (levels[1:] + levels[:-1])
        pulses = xp.searchsorted(middles, input_)
        found = levels[pulses]
        if CELLS and self.magnitude:
            cells = xp.asarray(CELLS) * RMIN
            which = (xp.random.random(input_.shape) * len(CELLS)).astype(int)
            found = found + self.magnitude * (cells[which, pulses] - found)
        return found.astype(input_.dtype)

    def drift_error(self, input_, time):
        """None of its own: what programming leaves."""
        return self.programming_error(input_)
'''

CHECK_BODY = """
(state,) = GOLDEN["states"]
params = CrossSimParameters()
params.xbar.device.Rmin, params.xbar.device.Rmax = cell.RMIN, cell.RMAX
params.xbar.device.programming_error.enable = True
params.xbar.device.programming_error.model = NAME
params.xbar.device.programming_error.magnitude = 0.0
ComputeBackend(use_gpu=False)
device = Device.create_device(params.xbar.device)


def run(part):
    wanted, levels = column(part, "outputs")["conductance"], np.array(cell.LEVELS)
    at = np.argmin(np.abs(levels - wanted[:, None]), axis=1)
    # a target a fifth of the last step further: what is reached is the level before it
    target = wanted + 0.2 * (levels[at] - levels[np.maximum(at - 1, 0)])
    return {"conductance": device.programming_error(target * cell.RMIN) / cell.RMIN}


matrix = np.random.default_rng(0).uniform(-1.0, 1.0, (16, 16))
core = AnalogCore(matrix, params=params)
worst = float(np.max(np.abs(core.get_matrix() - matrix)))
if not worst < 0.1:
    sys.exit(f"a matrix of +-1 is programmed with an error of {worst}")
found = {part: run(part) for part in ("events", "train")}
params.xbar.device.programming_error.magnitude = 1.0
middle = np.full(1000, cell.LEVELS[len(cell.LEVELS) // 2] * cell.RMIN)
spread = float(np.std(Device.create_device(params.xbar.device).programming_error(middle)))
if bool(cell.CELLS) != (spread > 1e-9):
    sys.exit(f"the spread of cells is {spread}")
report(version, found, matrix_error=worst, spread=spread)
"""


def climbed(surrogate: Surrogate, states: Array, amplitude: float, *, pulses: int) -> Array:
    """(pulses + 1, n): the states after 0, 1, 2, ... pulses."""
    ((state,), (given,)) = surrogate.map.states, surrogate.map.inputs
    path = [states]
    for _ in range(pulses):
        path.append(
            surrogate.advance(Values({state: path[-1]}), Values({given: np.full(states.shape, amplitude)}))[state]
        )
    return np.stack(path)


def _levels(surrogate: Surrogate) -> tuple[float, Array]:
    """The amplitude of a pulse up, and the states (n,) that it reaches from the low end."""
    states, _ = conductances(surrogate, "CrossSim")
    ((_, (up, _)),) = amplitudes(surrogate).items()
    low, high = float(states[0]), float(states[-1])
    plain = surrogate.with_(policy="warn", instances={}, dtype="float64")
    found = climbed(plain, np.array([low]), up, pulses=MOST)[:, 0]
    moving = np.flatnonzero((np.diff(found) > LEAST * (high - low)) & (found[1:] <= high))
    if moving.size < 2:
        raise InputError(f"pulses of {subject(surrogate)} reach no conductance from the low end of its range")
    return up, found[: moving[-1] + 2]


def levels(surrogate: Surrogate) -> Levels:
    """One amplitude, the states that it reaches, and a nominal cell."""
    up, found = _levels(surrogate)
    ((state,), (given,)) = surrogate.map.states, surrogate.map.inputs
    nominal = surrogate.parameters.resolved()
    return {given: [up], state: found[:-1].tolist(), **{name: [float(nominal[name])] for name in deviating(surrogate)}}


def write(draft: Draft) -> Files:
    """``cell.py`` and ``check.py``."""
    surrogate = draft.surrogate
    up, reached = _levels(surrogate)
    ((state,), (given,)) = surrogate.map.states, surrogate.map.inputs
    made = np.asarray(surrogate.read(Values({state: reached}))[READING], dtype=float)
    cells: list[list[float]] = []
    if spread := deviating(surrogate):
        rng, own = np.random.default_rng(0), {}
        for name, (low, high) in spread.items():
            size = (high - low) / (2.0 * DEVIATIONS)
            own[name] = np.clip(rng.normal(0.5 * (low + high), size, CELLS), low, high)
        plain = surrogate.with_(policy="warn", instances=own, dtype="float64")
        path = climbed(plain, np.full(CELLS, reached[0]), up, pulses=reached.size - 1)
        cells = [np.asarray(plain.read(Values({state: row}))[READING]).tolist() for row in path]
        cells = np.array(cells).T.tolist()
    name = "Cosim" + "".join(part.capitalize() for part in draft.name.split("_"))
    text = FILE.format(
        told=told(surrogate), fingerprint=surrogate.fingerprint()[:12], name=name, up=up, rmin=1.0 / float(made[-1]),
        unit=surrogate.map.inputs[given].unit, rmax=1.0 / float(made[0]), levels=made.tolist(), cells=cells,
    )  # fmt: skip
    body = check_text(TARGET, imports=IMPORTS, body=f"NAME = {name!r}\n{CHECK_BODY}")
    return {"cell.py": text, CHECK: body}


IMPORTS = """sys.path.insert(1, sys.argv[1] if len(sys.argv) > 1 else "")
    import cell
    from simulator import AnalogCore, CrossSimParameters
    from simulator.backend import ComputeBackend
    from simulator.devices.device import Device

    text = (Path(sys.argv[1]) / "pyproject.toml").read_text(encoding="utf-8")
    version = next(line.split('"')[1] for line in text.splitlines() if line.startswith("version"))"""


def lost(surrogate: Surrogate) -> list[str]:
    """What an error of programming cannot say."""
    up, reached = _levels(surrogate)
    (entry,) = surrogate.map.inputs.values()
    return [
        f"every pulse but one: {up:.4g} {entry.unit} up, {reached.size - 1} times from the low end at most",
        "training: CrossSim 3 programs a matrix and moves it no more",
        "noise of reading, and drift: the surrogate has none, and the device's are those of CrossSim's ideal device",
    ]


TARGET = Target(
    "crosssim",
    "CrossSim 3.2",
    ("numpy", "scipy"),
    frozenset({"readings", "instances"}),
    write,
    lost=lost,
    tolerance=(1e-9, "rounding"),
    levels=levels,
    source="the folder with simulator/ and pyproject.toml of CrossSim 3",
)
