"""aihwkit: a `PiecewiseStepDevice`, whose steps up and down are sampled from the map at one amplitude each.

A weight of −1..1 is the certified range of the state. The amplitudes are those of the domain whose largest step comes
nearest to `STEP` of that range (our choice): aihwkit's pulses are small steps of one size, and know no voltage.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from cosim.devices.base import Array, Values
from cosim.errors import InputError
from cosim.export.base import CHECK, Draft, Files, Target, check_text
from cosim.export.golden import deviating, span_of
from cosim.export.laws import told
from cosim.surrogate.model import Surrogate

STEP = 0.02
CANDIDATES = 401
NODES = 61  # of the piecewise steps; aihwkit takes fewer than 64 on a GPU
INSTANCES = 1000  # drawn to see how much a step differs from device to device

FILE = '''"""The {told} as a device of aihwkit; surrogate {fingerprint}.

Written by cosim. One pulse up is {up:.6g} {unit}, one down {down:.6g} {unit}.
The weight -1..1 is {state} = {low:.6g}..{high:.6g}.

    from device import config
    layer = AnalogLinear(10, 5, rpu_config=config())
"""

from aihwkit.simulator.configs import PiecewiseStepDevice, SingleRPUConfig

AMPLITUDES = {{"up": {up!r}, "down": {down!r}}}
RANGE = ({low!r}, {high!r})
STEP = {{
    "dw_min": {dw_min!r},
    "w_min": -1.0, "w_max": 1.0, "w_min_dtod": 0.0, "w_max_dtod": 0.0,
    "up_down": 0.0, "up_down_dtod": 0.0,
    "dw_min_dtod": {deviation!r},  # from device to device: the certified spread of parameters
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


report(version("aihwkit"), {part: run(part) for part in ("events", "train")}, torch=torch.__version__)
"""


def _steps(surrogate: Surrogate, amplitude: float | Array, states: Array) -> Array:
    """The change of the state by a pulse, as a share of its certified range; amplitudes and states broadcast."""
    (state,), (given,) = surrogate.map.states, surrogate.map.inputs
    low, high = span_of(surrogate, state, surrogate.map.states[state])
    plain = surrogate.with_(policy="warn", instances={}, dtype="float64")
    after: Array = plain.step(Values({state: states}), Values({given: np.asarray(amplitude)}))[0][state]
    return (after - states) / (high - low)


def nodes(surrogate: Surrogate) -> Array:
    """The states at which steps are sampled."""
    (state,) = surrogate.map.states
    return np.linspace(*span_of(surrogate, state, surrogate.map.states[state]), NODES)


def amplitudes(surrogate: Surrogate) -> Mapping[str, list[float]]:
    """The amplitudes of a pulse up and one down, in this order. Raises `InputError` for a map that has no such pair."""
    if len(surrogate.map.states) != 1 or len(surrogate.map.inputs) != 1:
        raise InputError(
            f"the map {surrogate.name} of {surrogate.device} has {len(surrogate.map.states)} states and "
            f"{len(surrogate.map.inputs)} inputs, and a device of aihwkit one weight and one pulse",
            remedy="export a map with one state and one amplitude, or take another target",
        )
    ((given, entry),) = surrogate.map.inputs.items()
    low, high = span_of(surrogate, given, entry)
    at = nodes(surrogate)
    candidates = np.linspace(low, high, CANDIDATES)
    moved = _steps(surrogate, candidates[:, None], at)
    found: list[float] = []
    for sign in (1.0, -1.0):
        steps = sign * moved
        largest = np.max(steps, axis=1)
        sizes = np.where((np.min(steps, axis=1) >= -1e-9) & (largest > 0.0), largest, -np.inf)
        if not np.isfinite(np.max(sizes)):
            way = "up" if sign > 0 else "down"
            raise InputError(
                f"no certified {given} moves the state {way}", remedy="certify both polarities, beyond the thresholds"
            )
        found.append(float(candidates[int(np.argmin(np.abs(sizes - STEP)))]))
    return {given: found}


def write(draft: Draft) -> Files:
    """``device.py`` and ``check.py``."""
    surrogate = draft.surrogate
    ((given, (up, down)),) = amplitudes(surrogate).items()
    (state,) = surrogate.map.states
    low, high = span_of(surrogate, state, surrogate.map.states[state])
    at = nodes(surrogate)
    # a weight spans 2 where the state spans its range once
    ups, downs = 2.0 * _steps(surrogate, up, at), -2.0 * _steps(surrogate, down, at)
    dw_min = float(np.mean([ups.mean(), downs.mean()]))
    text = FILE.format(
        told=told(surrogate), state=state,
        fingerprint=surrogate.fingerprint()[:12], up=up, down=down, unit=surrogate.map.inputs[given].unit, low=low,
        high=high, dw_min=dw_min, deviation=deviation(surrogate, up), ups=(ups / dw_min).tolist(),
        downs=(downs / dw_min).tolist(),
    )  # fmt: skip
    imports = "import torch\n    from device import AMPLITUDES, RANGE, config"
    return {"device.py": text, CHECK: check_text(TARGET, imports=imports, body=CHECK_BODY)}


def deviation(surrogate: Surrogate, amplitude: float) -> float:
    """The relative standard deviation of a step in the middle of the range, over the certified spread of parameters."""
    spread = deviating(surrogate)
    if not spread:
        return 0.0
    rng = np.random.default_rng(0)
    # certified are three standard deviations to either side
    own = {}
    for name, (low, high) in spread.items():
        own[name] = np.clip(rng.normal(0.5 * (low + high), (high - low) / 6.0, INSTANCES), low, high)
    (state,), (given,) = surrogate.map.states, surrogate.map.inputs
    middle = np.full(INSTANCES, 0.5 * sum(span_of(surrogate, state, surrogate.map.states[state])))
    drawn = surrogate.with_(instances=own, policy="warn")
    after = drawn.step(Values({state: middle}), Values({given: np.full(INSTANCES, amplitude)}))[0][state]
    steps = after - middle
    return float(np.std(steps) / abs(np.mean(steps)))


def lost(surrogate: Surrogate) -> list[str]:
    """What a device of steps cannot say."""
    ((given, (up, down)),) = amplitudes(surrogate).items()
    unit = surrogate.map.inputs[given].unit
    return [
        f"every amplitude but two: a pulse up is {up:.4g} {unit}, one down {down:.4g} {unit}",
        f"the steps between {NODES} nodes over the weight: aihwkit interpolates, in float32",
        "noise from cycle to cycle and at inference: the surrogate has none, and the device's are set to zero",
    ]


TARGET = Target(
    "aihwkit",
    "aihwkit 1.1 with torch 2.10, which its wheel was built with",
    ("aihwkit==1.1.0", "torch==2.10.0", "torchvision==0.25.0", "numpy"),
    frozenset(),
    write,
    lost=lost,
    tolerance=(2e-3, "a tenth of a step: interpolated between 61 nodes, in float32"),
    levels=amplitudes,
)
