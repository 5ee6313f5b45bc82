"""What one programming pulse of the VDSP networks does in SPICE, over the voltages and lengths that they use.

Trains of `TRAIN` pulses, as the networks give them, on the 1T1R cell of the bench `BENCH`: three technologies, the
published scale factors, the operating points of `claims.vdsp` and those far above the thresholds, each length from the
first pulses to the last. The range of the bench's map, 3.5 V, is widened to what the networks use. From SPICE's state
before a pulse the network's law gives a step; the largest error of a step is told as a share of the train's mean step,
so that a cell that does not move passes nothing. (A pulse just above its threshold has a share of it and no error of
its own.) Near an end of the range a step towards it is far smaller than one away from it: each polarity is judged by
its own mean step. Trains begin at `BEGIN`, and stay near there where pulses are short. The law is compared with SPICE
at tolerances that are tightened again and again (`TIGHTER`), because near the ends, where steps are small, the bench's
own settings move them by percents; what the last tightening moves counts as the law's error, too. Edges are compressed
with the pulse, as the law has it, or stay as long as a driver's (`EDGES`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import xarray as xr

from claims.base import Claim, Figures, Report
from claims.mnist import cell
from claims.vdsp_parts import TECHNOLOGIES, chosen, far
from cosim.bench.events import BenchMap
from cosim.bench.testbench import TIGHT, Testbench
from cosim.devices.base import Array
from cosim.devices.pulse import PulseShape
from cosim.engines.registry import open_simulator
from cosim.engines.simulator import Simulator
from cosim.network.plasticity import Vdsp, threshold_cell
from cosim.network.systems.vdsp_settings import VdspSettings, annealed
from cosim.surrogate.model import Surrogate
from cosim.surrogate.references import events_of

BENCH = "1t1r_random_pulses"
SHARES = (1.0, 0.5, 0.2, 0.05)  # of the length of the first pulses, to that of the last
TRAIN = 12  # pulses of a train
BEGIN = (0.01, 0.25, 0.5, 0.75, 0.99)  # w before a train
TIGHTER = 4  # times that tolerances are tightened for the reference
# s, beside edges that are compressed with the pulse.
EDGES: Mapping[str, float | None] = {"compressed": None, "0.2 ns": 0.2e-9, "1 ns": 1e-9}
# Of the mean step (our choice): a tenth of the third by which steps scatter where thresholds deviate by 20 %.
LARGEST = 0.03


def published(name: str) -> VdspSettings:
    """The published scale factors, with pulses that become shorter."""
    given = cell(name).plasticity
    return annealed().with_(scale_p=given["scale_p"].value, scale_d=given["scale_d"].value)


POINTS: Mapping[str, tuple[str, Callable[[str], VdspSettings]]] = {
    **{f"{name}, annealed": (name, published) for name in TECHNOLOGIES},
    **{f"{name}, overdriven": (name, chosen) for name in TECHNOLOGIES},
    **{f"{name}, far": (name, far) for name in TECHNOLOGIES},
}


def measure(tell: Report) -> Figures:
    """Per operating point, length, first state and edges: the mean step, the largest error of a step, SPICE's own."""
    rows: dict[str, dict[str, Mapping[str, float]]] = {}
    with open_simulator() as simulator:
        for label, (name, network) in POINTS.items():
            tell(label)
            for share in SHARES:
                for begin in BEGIN:
                    for edges, length in EDGES.items():
                        found = compared(name, network(name), share, length, simulator, begin=begin, tighter=TIGHTER)
                        rows.setdefault(f"{label}, {found['pulse_ns']:.3g} ns, w = {begin:g}", {})[edges] = found
    compressed = [row["compressed"] for row in rows.values()]
    return {
        "largest_error_of_a_step": max(row["error_by_polarity"] + row["reference_error"] for row in compressed),
        "largest_error_against_the_reference": max(row["error_by_polarity"] for row in compressed),
        "largest_error_by_begin": {
            f"{begin:g}": max(
                row["compressed"]["error_by_polarity"] for label, row in rows.items() if label.endswith(f" {begin:g}")
            )
            for begin in BEGIN
        },
        "largest_bias": max((row["bias"] for row in compressed), key=abs),
        "largest_own_error_of_the_reference": max(row["reference_error"] for row in compressed),
        "largest_own_error_of_spice": max(row["own_error"] for row in compressed),
        "smallest_mean_step": min(row["smaller_mean_step"] for row in compressed),
        "largest_voltage": max(row["volts"] for row in compressed),
        **{
            f"largest_error_with_edges_of_{edges.replace(' ', '_')}": max(row[edges]["error"] for row in rows.values())
            for edges, length in EDGES.items()
            if length is not None
        },
        "pulses": rows,
    }


def compared(
    name: str,
    network: VdspSettings,
    share: float,
    edge: float | None,
    simulator: Simulator,
    *,
    begin: float = 0.5,
    tighter: int = 1,
) -> dict[str, float]:
    """A train of pulses of ``share`` of the network's first length, with edges of ``edge`` (s; None: compressed).

    ``error`` is a share of the mean step, ``error_by_polarity`` of that of the same polarity, ``bias`` the relative
    difference of the mean steps. ``own_error`` is of the bench as it ships, ``reference_error`` of the bench that is
    tightened once less, by polarity.
    """
    whole = Surrogate(cell(name), "pulse")
    assert network.scale_p is not None
    assert network.scale_d is not None
    assert whole.map.pulse is not None
    rule, rng = Vdsp.of(whole, scale_p=network.scale_p, scale_d=network.scale_d), np.random.default_rng(3)
    reach = np.where(rng.uniform(size=TRAIN) < 0.5, -1.0, 1.0) * rng.uniform(0.9, 1.0, TRAIN)
    volts = reach * np.where(reach < 0.0, rule.threshold_p * rule.scale_p, rule.threshold_d * rule.scale_d)
    shape, width = whole.map.pulse.shape, network.width * share
    rise = shape.rise * width if edge is None else edge
    made = PulseShape(shape.width * width, rise, rise)
    runs = [spice(bench, whole, volts, made, simulator, begin) for bench in benches(tighter)]
    usual, before, tight = runs[0], runs[-2], runs[-1]
    pulses = threshold_cell(whole).compressed(whole.parameters.resolved(), width)
    ours = whole.with_(instances={key: np.full(1, x) for key, x in pulses.items()})
    law = np.array([float(ours.update(tight[k : k + 1], volts[k : k + 1])[0]) for k in range(TRAIN)]) - tight[:-1]
    steps = np.diff(tight)
    mean = float(np.mean(np.abs(steps)))
    up = volts < 0.0
    means = {side: float(np.mean(np.abs(steps[side_is]))) for side, side_is in (("up", up), ("down", ~up))}
    of = np.where(up, means["up"], means["down"])
    return {
        "pulse_ns": 1e9 * made.width,
        "volts": float(np.max(np.abs(volts))),
        "mean_step": mean,
        "error": float(np.max(np.abs(law - steps))) / mean,
        "own_error": float(np.max(np.abs(np.diff(usual) - steps))) / mean,
        "smaller_mean_step": min(means.values()),
        "error_by_polarity": float(np.max(np.abs(law - steps) / of)),
        "bias": float(max((np.mean((law - steps)[x]) / np.mean(steps[x]) for x in (up, ~up)), key=abs)),
        "reference_error": float(np.max(np.abs(np.diff(before) - steps) / of)),
    }


def benches(tighter: int) -> list[Testbench]:
    """As it ships, and tightened once to ``tighter`` times, but for the currents' tolerance: a transistor's charges are
    too rough for less than `TIGHT` has.
    """
    found = [Testbench.load(BENCH)]
    for _ in range(tighter):
        file = found[-1].tightened().file
        options = {**file.options, "abstol": TIGHT["abstol"]}
        found.append(replace(found[-1], file=file.model_copy(update={"options": options})))
    return found


def spice(
    bench: Testbench, cells: Surrogate, volts: Array, shape: PulseShape, simulator: Simulator, begin: float
) -> Array:
    """(pulses + 1,) the states of a cell from ``begin`` on, through pulses of ``volts``."""
    one = BenchMap.load(bench, "pulse").with_(
        device=cells.parameters.for_device("threshold_memristor"), fixed=vars(shape)
    )
    far = 1.1 * float(np.max(np.abs(volts)))
    wide = replace(one, inputs={"amplitude": replace(one.inputs["amplitude"], range=(-far, far))})
    answer: xr.Dataset = wide.respond(events_of(cells.map, {"amplitude": volts}, begin={"w": begin}), simulator)
    return np.concatenate([[begin], np.asarray(answer["w"].values, dtype=float)])


VDSP_PULSES = Claim(
    "vdsp_pulses",
    "the law by which VDSP networks shorten their pulses makes each step as SPICE does, within 3 % of the mean step of "
    "its polarity, from five states between the ends of the range, from 200 ns to 0.075 ns and up to the voltages used "
    "far above the thresholds, with edges that shorten alike",
    measure,
    {"largest_error_of_a_step": (None, LARGEST)},
)
