"""A surrogate against its circuit: held-out pulses, free runs, and the certificate that comes of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cosim import __version__
from cosim.devices.base import Values
from cosim.errors import InputError, UnknownName
from cosim.surrogate.base import (
    Array,
    Certificate,
    Domain,
    ErrorSummary,
    Range,
    Response,
    Rollout,
    deviating_range,
    read_limits,
)
from cosim.surrogate.files import array_digest
from cosim.surrogate.pulse import PulseSurrogate
from cosim.surrogate.references import PulseBench

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Tell = Callable[[int, int], None]
# The state's range is tested and certified in tenths; one counts as tested with so many pulses (our choice).
TENTHS = 10
LEAST_TESTED = 5
SHORT = 5  # pulses of a train that begins where too few were tested
MARKS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)


@dataclass(frozen=True)
class HeldOut:
    """Held-out pulses and what both made of them; all (n,) but for the free runs.

    Args:
        w_before: state before each pulse, the reference's own.
        amplitude: V.
        w, energy, conductance: after, during and after the pulse: the reference's (1, J, S), its own memristor's.
        w_surrogate, energy_surrogate, conductance_surrogate: the surrogate's, from the same ``w_before``.
        free: per train, the reference's and the surrogate's states (2, n) where each follows itself from one start.
        seconds_per_pulse: wall time that one pulse more takes the reference, its start-up left out; None where the
            trains are too few or too short to tell.
        full_scale: G_max (S) of the reference's memristor; of the first train where trains differ.
    """

    w_before: Array
    amplitude: Array
    w: Array
    energy: Array
    w_surrogate: Array
    energy_surrogate: Array
    conductance: Array
    conductance_surrogate: Array
    free: tuple[Array, ...]
    seconds_per_pulse: float | None
    full_scale: float

    def plot(self, ax: Axes | None = None) -> Axes:
        """Surrogate over reference, with the error below."""
        from cosim.report.surrogate_figures import plot_parity

        return plot_parity(self, ax)


def default_range(surrogate: PulseSurrogate, *, step: float = 1.0) -> Range:
    """Amplitudes (V) up to an overdrive K of ``step`` in mid-range: where one pulse crosses the whole range (own)."""
    reach = surrogate.cell.reach(surrogate.parameters.resolved(), step=step)
    low, high = (surrogate.cell_voltage(v) for v in (-float(reach[0]), float(reach[1])))
    return (low, high)


def random_train(surrogate: PulseSurrogate, rng: np.random.Generator, *, count: int, span: Range) -> Array:
    """(count,) V: either polarity with equal chance, nine in ten above threshold, uniform up to ``span``'s ends."""
    theta_n, theta_p = surrogate.cell.thresholds(surrogate.parameters.resolved())
    negative = rng.random(count) < 0.5
    below = rng.random(count) < 0.1
    theta = np.where(negative, theta_n, theta_p)
    end = np.where(negative, -span[0], span[1])
    if np.any(end <= 0.0):
        raise InputError(
            f"amplitudes {span[0]:g}..{span[1]:g} V have one sign", remedy="give a negative and a positive"
        )
    low = np.where(below | (end <= theta), 0.0, theta)
    size = low + rng.random(count) * (np.where(below, np.minimum(theta, end), end) - low)
    return np.asarray(np.where(negative, -size, size))


def trains_of(pulses: int, *, longest: int) -> list[int]:
    """Pulses of each train: two long ones, and short ones for where the long ones were not."""
    long = max(min(longest, max(pulses // 4, (pulses - 100) // 2)), 1)
    sizes = [min(long, pulses), *([long] if pulses >= 2 * long else [])]
    return sizes + [min(SHORT, pulses - start) for start in range(sum(sizes), pulses, SHORT)]


def start_of(number: int, tested: NDArray[np.int64], rng: np.random.Generator) -> float:
    """Where a train begins: in 0, in 1, then anywhere in the tenth with the fewest pulses (``tested``) so far."""
    return float(number) if number < 2 else (int(np.argmin(tested)) + float(rng.random())) / TENTHS


def certify(
    surrogate: PulseSurrogate,
    bench: PulseBench,
    *,
    seed: int = 0,
    pulses: int = 500,
    train: int = 200,
    span: Range | None = None,
    spread: Mapping[str, float] = MappingProxyType({}),
    limits: Mapping[str, float] = MappingProxyType({}),
    notes: tuple[str, ...] = (),
    tell: Tell | None = None,
) -> tuple[PulseSurrogate, HeldOut]:
    """Hold ``surrogate`` against ``bench`` on fresh pulses, and give it the certificate.

    Two long trains begin in the states 0 and 1; the remaining pulses are short trains, each of which begins in the
    tenth of the range that was tested least so far. The certificate's domain is the range of tenths that hold
    `LEAST_TESTED` pulses each: a state that a start point alone has seen is not certified.

    Args:
        surrogate: with nominal parameters; its own certificate is ignored.
        bench: the circuit.
        seed: of the held-out pulses; training used another stream of it.
        pulses: how many in all.
        train: how many follow one another, at most; the free run is as long.
        span: amplitudes (V) of the domain; default `default_range`.
        spread: relative standard deviation from cell to cell by parameter, e.g. ``{"theta_p": 0.2}``: the first train
            is nominal, each further one has those parameters drawn uniformly from `deviating_range`, which becomes part
            of the domain. Held against a device of its own, a surrogate has none.
        limits: shares of full scale over `base.LIMITS`.
        notes: for the certificate.
        tell: called with the pulses that are done and all of them, before each train and at the end.

    Raises:
        InputError: the pulses move the state by less than its error may be, so that they test nothing.
    """
    if surrogate.instances:
        raise InputError("a surrogate is certified with nominal parameters", remedy="certify it, then set instances")
    if pulses < 1 or train < 1:
        raise InputError("a certificate needs at least one held-out pulse and one pulse in a train", remedy="give 500")
    resolved = surrogate.parameters.resolved()
    if spread and bench.device is not None:
        raise InputError(
            f"a spread of {', '.join(spread)} cannot be held against the device {bench.device.name}, which has none",
            remedy="certify against the surrogate's own set",
        )
    allowed = read_limits(limits)
    ranges: dict[str, Range] = {}
    for name, share in spread.items():
        if name not in resolved:
            raise UnknownName(f"parameter of {surrogate.device}", name, list(resolved))
        if not 0.0 < share < 1.0:
            raise InputError(f"the spread of {name} is {share:g}", remedy="give a share, e.g. 0.2 for 20 %")
        ranges[name] = deviating_range(float(resolved[name]), share)
    span = span or default_range(surrogate)
    plain = surrogate.with_(certificate=None, outside="raise", dtype="float64")
    rng = np.random.default_rng([seed, 1])
    parts: list[HeldOut] = []
    seconds: list[float] = []
    sizes = trains_of(pulses, longest=train)
    tested = np.zeros(TENTHS, dtype=np.int64)
    for number, count in enumerate(sizes):
        if tell is not None:
            tell(sum(sizes[:number]), pulses)
        drawn = {name: float(rng.uniform(*ends)) for name, ends in ranges.items() if number > 0}
        own = plain.parameters.with_values(drawn) if drawn else plain.parameters
        w0 = start_of(number, tested, rng)
        amplitude = random_train(plain, rng, count=count, span=span)
        here = plain.with_(instances={name: np.asarray(value) for name, value in drawn.items()})
        begin = time.perf_counter()
        answer = bench.reference(own, shape=plain.shape)(amplitude, w0)
        seconds.append(time.perf_counter() - begin)
        parts.append(compare(here, amplitude, w0, answer))
        tested += np.histogram(parts[-1].w_before, bins=TENTHS, range=(0.0, 1.0))[0]
    if tell is not None:
        tell(pulses, pulses)
    covered = _covered(tested)
    moved = max(float(np.ptp(np.concatenate([part.w_before, part.w]))) for part in parts)
    if moved <= allowed["state"]:
        raise InputError(
            f"the state moves by {100.0 * moved:.2g} % at most under pulses of {span[0]:g}..{span[1]:g} V, "
            f"which is within the limit of its error: a surrogate that never moved would pass",
            remedy="certify amplitudes beyond the thresholds, or longer pulses",
        )
    held = _joined(parts, _seconds_per_pulse(sizes, seconds))
    domain = Domain(
        MappingProxyType({"amplitude": span}),
        MappingProxyType({"w": covered}),
        MappingProxyType(ranges),
        MappingProxyType(vars(plain.shape)),
    )
    certificate = Certificate(
        errors=summaries(held),
        rollout=growth(held.free),
        domain=domain,
        pulses=pulses,
        against=bench.engine,
        reference=bench.subject(plain.parameters),
        extraction="included" if bench.device is not None else "not included",
        limits=allowed,
        netlist=bench.netlist,
        data=array_digest(held.w_before, held.amplitude, held.w, held.energy, held.conductance),
        parameters=plain.parameters.fingerprint(),
        surrogate=plain.fingerprint(),
        tolerances=MappingProxyType(dict(bench.tolerances)),
        seed=str(seed),
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        version=__version__,
        notes=(
            *notes,
            f"pulses in each tenth of w, from 0 to 1: {', '.join(str(n) for n in tested)}; a tenth with fewer than "
            f"{LEAST_TESTED} is not certified",
        ),
    )
    return surrogate.with_(certificate=certificate), held


def _covered(tested: NDArray[np.int64], *, of: str = "") -> Range:
    """The widest range of tenths of the state with `LEAST_TESTED` pulses each. Raises `InputError` without one."""
    best = (0, 0)
    start = 0
    for k in range(TENTHS + 1):
        if k == TENTHS or tested[k] < LEAST_TESTED:
            best = max(best, (start, k), key=lambda ends: ends[1] - ends[0])
            start = k + 1
    if best[0] == best[1]:
        raise InputError(
            f"no tenth of {of or 'the state'}'s range has {LEAST_TESTED} held-out pulses",
            remedy="certify with 100 pulses or more",
        )
    return (best[0] / TENTHS, best[1] / TENTHS)


def _seconds_per_pulse(sizes: list[int], seconds: list[float]) -> float | None:
    """The slope of time over length; the first train is left out, because it warms caches."""
    n, t = np.asarray(sizes[1:], dtype=float), np.asarray(seconds[1:])
    if n.size < 2 or n.max() < 10.0 * n.min():
        return None
    slope = float(np.polyfit(n, t, 1)[0])
    return slope if slope > 0.0 else None


def _joined(parts: list[HeldOut], seconds_per_pulse: float | None) -> HeldOut:
    return HeldOut(
        w_before=np.concatenate([part.w_before for part in parts]),
        amplitude=np.concatenate([part.amplitude for part in parts]),
        w=np.concatenate([part.w for part in parts]),
        energy=np.concatenate([part.energy for part in parts]),
        w_surrogate=np.concatenate([part.w_surrogate for part in parts]),
        energy_surrogate=np.concatenate([part.energy_surrogate for part in parts]),
        conductance=np.concatenate([part.conductance for part in parts]),
        conductance_surrogate=np.concatenate([part.conductance_surrogate for part in parts]),
        free=tuple(run for part in parts for run in part.free),
        seconds_per_pulse=seconds_per_pulse,
        full_scale=parts[0].full_scale,
    )


def compare(surrogate: PulseSurrogate, amplitude: Array, w0: float, answer: Response) -> HeldOut:
    """One train: pulse by pulse from the reference's own states, and freely from ``w0``."""
    # A simulator's state may overshoot its bound by its tolerance.
    before = np.clip(np.concatenate([[w0], answer.w[:-1]]), 0.0, 1.0)
    after, out = surrogate.step(Values({"w": before}), Values({"amplitude": amplitude}))
    free = np.empty(amplitude.size)
    w = np.array([w0])
    for k, v in enumerate(amplitude):
        w = surrogate.update(w, np.array([v]))
        free[k] = w[0]
    return HeldOut(
        before,
        amplitude,
        np.asarray(answer.w, dtype=float),
        np.asarray(answer.energy, dtype=float),
        after["w"],
        out["energy"],
        np.asarray(answer.conductance, dtype=float),
        out["conductance"],
        (np.stack([answer.w, free]),),
        None,
        answer.full_scale,
    )


def summaries(held: HeldOut) -> Mapping[str, ErrorSummary]:
    """Errors per pulse: full scale is 1 for the state, G_max of the reference, and its largest energy of a pulse."""
    conductance = held.conductance_surrogate - held.conductance
    return MappingProxyType(
        {
            "state": ErrorSummary.of(held.w_surrogate - held.w, full_scale=1.0, unit=""),
            "conductance": ErrorSummary.of(conductance, full_scale=held.full_scale, unit="S"),
            "energy": ErrorSummary.of(
                held.energy_surrogate - held.energy, full_scale=float(np.max(np.abs(held.energy))), unit="J"
            ),
        }
    )


def growth(free: tuple[Array, ...]) -> Rollout:
    """How the error of free runs (2, n) grows with the number of pulses."""
    longest = max(run.shape[1] for run in free)
    marks = [mark for mark in MARKS if mark < longest] + [longest]
    largest, rms = [], []
    for mark in marks:
        # All errors up to the mark: a saturating pulse forgets, so that the last one alone would flatter.
        errors = np.concatenate([run[1, :mark] - run[0, :mark] for run in free])
        largest.append(float(np.max(np.abs(errors))))
        rms.append(float(np.sqrt(np.mean(errors**2))))
    return Rollout(tuple(marks), tuple(largest), tuple(rms), len(free))


def updates_per_second(
    surrogate: PulseSurrogate, *, shape: tuple[int, int] = (784, 200), seconds: float = 0.5, seed: int = 0
) -> float:
    """Cell updates per second of a whole array, one voltage a row, every pulse above threshold; the median run."""
    rng = np.random.default_rng(seed)
    low, high = default_range(surrogate, step=0.5)
    least, most = 0.0, 1.0
    if surrogate.certificate is not None:
        domain = surrogate.certificate.domain.inputs["amplitude"]
        low, high = max(low, domain[0]), min(high, domain[1])
        least, most = surrogate.certificate.domain.states["w"]
    negative, positive = (float(np.max(theta)) for theta in surrogate.cell.thresholds(surrogate.values))
    size = rng.uniform(0.2, 1.0, shape[0])
    v = np.where(
        rng.random(shape[0]) < 0.5,
        -negative + size * (low + negative),
        positive + size * (high - positive),
    )[:, None]
    v = np.clip(v, low, high)  # a certified range may end below a threshold
    w = least + (most - least) * rng.random(shape)
    times: list[float] = []
    surrogate.update(w, v)
    while sum(times) < seconds:
        begin = time.perf_counter()
        surrogate.update(w, v)
        times.append(time.perf_counter() - begin)
    return w.size / float(np.median(times))
