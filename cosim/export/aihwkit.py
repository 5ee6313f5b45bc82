"""aihwkit: a `PiecewiseStepDevice` to train with, and a noise model for inference.

The device's steps up and down are sampled from the map at one amplitude each (`cosim.export.pulses`); a weight of −1..1
is the certified range of the state. Where the map has a conductance that rises with its state, the noise model is what
programming without looking leaves of a pair of cells, one for each sign of a weight.
"""

from __future__ import annotations

import numpy as np

from cosim.errors import InputError
from cosim.export.base import CHECK, Draft, Files, Target, check_text
from cosim.export.golden import Levels, deviating, span_of
from cosim.export.laws import told
from cosim.export.pulses import NODES, Programmed, amplitudes, deviation, nodes, steps
from cosim.surrogate.model import Surrogate

FILE = '''"""The {told} as a device of aihwkit; surrogate {fingerprint}.

Written by cosim. One pulse up is {up:.6g} {unit}, one down {down:.6g} {unit}.
The weight -1..1 is {state} = {low:.6g}..{high:.6g}.

    from device import config{imported}
    layer = AnalogLinear(10, 5, rpu_config=config()){layer}
"""
{imports}
from aihwkit.simulator.configs import {configs}PiecewiseStepDevice, SingleRPUConfig

AMPLITUDES = {{"up": {up!r}, "down": {down!r}}}
RANGE = ({low!r}, {high!r})
STEP = {{
    "dw_min": {dw_min!r},
    "w_min": -1.0, "w_max": 1.0, "w_min_dtod": 0.0, "w_max_dtod": 0.0,
    "up_down": 0.0, "up_down_dtod": 0.0,
    # From device to device, of a step's logarithm: the certified spread of parameters.
    "dw_min_dtod": {deviation!r}, "dw_min_dtod_log_normal": True,
    "dw_min_std": 0.0, "write_noise_std": 0.0,  # the surrogate has no noise of its own
    "piecewise_up": {ups!r},
    "piecewise_down": {downs!r},
}}


def device(**changes):
    """The device; ``changes`` replace its fields."""
    return PiecewiseStepDevice(**{{**STEP, **changes}})


def config(**changes):
    """A configuration of analog layers of this device."""
    return SingleRPUConfig(device=device(**changes))
{noise}'''

NOISE = '''

LEVELS = {levels!r}  # S, of a nominal cell after 0, 1, 2, ... pulses up from the low end
CELLS = {cells!r}  # S, the same of cells drawn from the certified spread
MICRO = 1e6  # aihwkit counts in microsiemens


class ProgrammingNoise(BaseNoiseModel):
    """What is left of a target by as many pulses up as bring a nominal cell nearest to it.

    Args:
        magnitude: of the certified spread of cells; 0: all are nominal.
    """

    def __init__(self, magnitude=1.0):
        super().__init__(SinglePairConductanceConverter(g_max=MICRO * LEVELS[-1], g_min=MICRO * LEVELS[0]))
        self.magnitude = magnitude

    def apply_programming_noise_to_conductance(self, g_target):
        """The conductances that cells have whose targets are ``g_target``."""
        levels = MICRO * torch.tensor(LEVELS, dtype=torch.float64).to(g_target)
        pulses = torch.bucketize(g_target.contiguous(), 0.5 * (levels[1:] + levels[:-1]))
        found = levels[pulses]
        if CELLS and self.magnitude:
            cells = MICRO * torch.tensor(CELLS, dtype=torch.float64).to(g_target)
            which = torch.randint(len(CELLS), g_target.shape, device=g_target.device)
            found = found + self.magnitude * (cells[which, pulses] - found)
        return found

    def apply_drift_noise_to_conductance(self, g_prog, drift_noise_param, t_inference):
        """A cell keeps what it has: the surrogate's states do not move between events."""
        return g_prog


def inference(magnitude=1.0, **changes):
    """A configuration of analog layers for inference; ``changes`` replace its fields."""
    return InferenceRPUConfig(**{{"noise_model": ProgrammingNoise(magnitude), "drift_compensation": None, **changes}})
'''

CHECK_BODY = """
from importlib.metadata import version

from aihwkit.simulator.configs import PulseType, UpdateParameters
from aihwkit.simulator.tiles import AnalogTile

STATE, INPUT = GOLDEN["states"][0], GOLDEN["inputs"][0]


def weight(state):
    return 2.0 * (np.asarray(state) - RANGE[0]) / (RANGE[1] - RANGE[0]) - 1.0


def tile(size):
    made = config(dw_min_dtod=0.0)
    # Exactly one pulse for each pair of inputs of size 1: the chance of one, the rate over dw_min, is cut off at 1.
    made.update = UpdateParameters(
        desired_bl=1, fixed_bl=True, update_management=False, update_bl_management=False,
        pulse_type=PulseType.STOCHASTIC_COMPRESSED,
    )
    found = AnalogTile(size, 1, made)
    found.set_learning_rate(4.0 * made.device.dw_min)
    return found


def pulsed(found, amplitudes):
    up = np.isclose(amplitudes, AMPLITUDES["up"])
    found.tile.update(torch.ones(1, 1), torch.tensor(np.where(up, -1.0, 1.0)[None], dtype=torch.float32), False)


def states(found):
    weights = found.tile.get_weights().detach().numpy().ravel()
    return RANGE[0] + 0.5 * (weights + 1.0) * (RANGE[1] - RANGE[0])


def run(part):
    before, amplitudes = column(part, "before")[STATE], column(part, "inputs")[INPUT]
    found = tile(before.size if part == "events" else 1)
    start = weight(before if part == "events" else before[:1])
    found.tile.set_weights(torch.tensor(start[:, None], dtype=torch.float32))
    if part == "events":
        pulsed(found, amplitudes)
        return {STATE: states(found)}
    rows = []
    for amplitude in amplitudes:
        pulsed(found, np.array([amplitude]))
        rows.append(states(found)[0])
    return {STATE: np.array(rows)}


found = {part: run(part) for part in ("events", "train")}
more = {"torch": torch.__version__}
if hasattr(device, "inference"):
    more |= noise()
report(version("aihwkit"), found, **more)
"""
CHECK_NOISE = """
def noise():
    # What the surrogate's own pulses, one by one, leave of targets anywhere in the range.
    wanted = json.loads((HERE / "programming.json").read_text(encoding="utf-8"))
    targets, left = (device.MICRO * torch.tensor(wanted[name], dtype=torch.float64) for name in ("targets", "left"))
    found = device.ProgrammingNoise(0.0).apply_programming_noise_to_conductance(targets)
    error = float((found - left).abs().max() / left.max())
    if not error < 1e-9:
        sys.exit(f"a nominal cell is programmed with an error of {error} of its largest conductance")
    levels = device.MICRO * np.array(device.LEVELS)
    # A layer, by aihwkit's own pairs of cells, of which one stays at the low end: no weight is off by more than half
    # of a step.
    layer = AnalogLinear(16, 16, bias=False, rpu_config=device.inference(0.0)).eval()
    before = layer.get_weights()[0].clone()
    layer.program_analog_weights()
    matrix = float((layer.get_weights()[0] - before).abs().max() / before.abs().max())
    allowed = 0.5 * float(np.max(np.diff(levels)) / (levels[-1] - levels[0]))
    if not 0.0 < matrix < allowed + 1e-6:  # rounding in float32
        sys.exit(f"weights are programmed with an error of {matrix}; half a step is {allowed}")
    many = device.ProgrammingNoise().apply_programming_noise_to_conductance(torch.full((100000,), targets[0].item()))
    spread, certified = float(many.double().std()) / levels[-1], device.MICRO * wanted["spread"] / levels[-1]
    # Four standard errors of the deviation of as many cells as are drawn; rounding in float32.
    room = 4.0 / np.sqrt(2.0 * max(len(device.CELLS), 1))
    if not abs(spread - certified) <= room * certified + 1e-7:
        sys.exit(f"cells spread by {spread} of the largest conductance, where {certified} is the surrogate's")
    return {"matrix_error": matrix, "spread": spread, "spread_wanted": certified}


"""


IMPORTED = """import torch
from aihwkit.inference.converter.conductance import SinglePairConductanceConverter
from aihwkit.inference.noise.base import BaseNoiseModel
"""


def _programmed(surrogate: Surrogate) -> Programmed | str:
    """What programming leaves of targets, or why the map has no noise model."""
    found = Programmed(surrogate, "aihwkit")
    try:
        found.levels  # noqa: B018  # which raises
    except InputError as error:
        return str(error)
    return found


def write(draft: Draft) -> Files:
    """``device.py`` and ``check.py``."""
    surrogate, programmed = draft.surrogate, _programmed(draft.surrogate)
    ((given, (up, down)),) = amplitudes(surrogate, "aihwkit").items()
    (state,) = surrogate.map.states
    low, high = span_of(surrogate, state, surrogate.map.states[state])
    at = nodes(surrogate)
    # a weight spans 2 where the state spans its range once
    ups, downs = 2.0 * steps(surrogate, up, at), -2.0 * steps(surrogate, down, at)
    dw_min = float(np.mean([ups.mean(), downs.mean()]))
    more, body = {"imported": "", "layer": "", "imports": "", "configs": "", "noise": ""}, CHECK_BODY
    if isinstance(programmed, Programmed):
        more = {
            "imported": ", inference", "imports": IMPORTED, "configs": "InferenceRPUConfig, ",
            "layer": "\n    layer = AnalogLinear(10, 5, rpu_config=inference())  # and layer.program_analog_weights()",
            "noise": NOISE.format(levels=programmed.levels, cells=programmed.cells),
        }  # fmt: skip
        body = CHECK_NOISE + CHECK_BODY
    text = FILE.format(
        told=told(surrogate), state=state,
        fingerprint=surrogate.fingerprint()[:12], up=up, down=down, unit=surrogate.map.inputs[given].unit, low=low,
        high=high, dw_min=dw_min, deviation=deviation(surrogate, up), ups=(ups / dw_min).tolist(),
        downs=(downs / dw_min).tolist(), **more,
    )  # fmt: skip
    imports = "import device\n    import torch\n    from aihwkit.nn import AnalogLinear\n    "
    imports += "from device import AMPLITUDES, RANGE, config"
    return {
        "device.py": text,
        **({"programming.json": programmed.golden_text()} if isinstance(programmed, Programmed) else {}),
        CHECK: check_text(TARGET, imports=imports, body=body),
    }


def lost(surrogate: Surrogate) -> list[str]:
    """What a device of steps cannot say."""
    ((given, (up, down)),) = amplitudes(surrogate, "aihwkit").items()
    unit, programmed = surrogate.map.inputs[given].unit, _programmed(surrogate)
    return [
        f"every amplitude but two: a pulse up is {up:.4g} {unit}, one down {down:.4g} {unit}",
        f"the steps between {NODES} nodes over the weight: aihwkit interpolates, in float32",
        "noise from cycle to cycle and of reading: the surrogate has none, and the device's are set to zero",
        f"a noise model for inference: {programmed}"
        if isinstance(programmed, str)
        else "drift at inference, and programming that looks at what it reaches: cells keep what so many pulses leave, "
        f"at most {len(programmed.states) - 1}, which reach {programmed.levels[-1]:.4g} S",
        *(
            [
                "which cell is which: each programming draws cells anew, and a device's steps up and down vary by one "
                "log-normal factor, whatever its weight"
            ]
            if deviating(surrogate)
            else []
        ),
    ]


def levels(surrogate: Surrogate) -> Levels:
    """The amplitudes of a pulse up and one down, and a nominal cell."""
    nominal = surrogate.parameters.resolved()
    return {**amplitudes(surrogate, "aihwkit"), **{name: [float(nominal[name])] for name in deviating(surrogate)}}


TARGET = Target(
    "aihwkit",
    "aihwkit 1.1 with torch 2.10, which its wheel was built with",
    ("aihwkit==1.1.0", "torch==2.10.0", "torchvision==0.25.0", "numpy"),
    frozenset({"instances"}),
    write,
    lost=lost,
    tolerance=(2e-3, "a tenth of a step: interpolated between 61 nodes, in float32"),
    levels=levels,
)
