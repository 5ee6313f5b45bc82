"""CrossSim: a device class whose error of programming is what the cell's own pulses leave.

How a cell is programmed, and with which pulse, is said in `cosim.export.pulses`.
"""

from __future__ import annotations

from cosim.export.base import CHECK, Draft, Files, Target, check_text
from cosim.export.golden import Levels, deviating
from cosim.export.laws import told
from cosim.export.pulses import Programmed
from cosim.surrogate.model import Surrogate

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


def _programmed(surrogate: Surrogate) -> Programmed:
    return Programmed(surrogate, "CrossSim")


def levels(surrogate: Surrogate) -> Levels:
    """One amplitude, the states that it reaches, and a nominal cell."""
    found, nominal = _programmed(surrogate), surrogate.parameters.resolved()
    reached = found.states[:-1].tolist()
    ((state,), (given,)) = surrogate.map.states, surrogate.map.inputs
    return {given: [found.up], state: reached, **{name: [float(nominal[name])] for name in deviating(surrogate)}}


def write(draft: Draft) -> Files:
    """``cell.py`` and ``check.py``."""
    surrogate, found = draft.surrogate, _programmed(draft.surrogate)
    (entry,) = surrogate.map.inputs.values()
    name = "Cosim" + "".join(part.capitalize() for part in draft.name.split("_"))
    text = FILE.format(
        told=told(surrogate), fingerprint=surrogate.fingerprint()[:12], name=name, up=found.up, unit=entry.unit,
        rmin=1.0 / found.levels[-1], rmax=1.0 / found.levels[0], levels=found.levels, cells=found.cells,
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
    found = _programmed(surrogate)
    (entry,) = surrogate.map.inputs.values()
    return [
        f"every pulse but one: {found.up:.4g} {entry.unit} up, {found.states.size - 1} times from the low end at most",
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
