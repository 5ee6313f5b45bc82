"""The reduced synapse (`cosim.devices.stc`) fitted with lmfit to its transistor-level waveforms, delays and tails too.

The bench ``stc_spike_trains`` gives calcium, potentiation and depression current and the early-phase weight of the
transistor-level circuit under trains of spikes; ``stc_early_static`` the recovery amplifier. `fit` varies what the
circuit's sizing decides (time constant, drives, charges of comparators and mirrors, finite gain, output conductance,
recovery) and keeps what its biases are (thresholds, capacitor, supply). All columns of the Jacobian are run at once, as
one vectorised experiment of `cosim.devices.stc_steps`. `StcFit.errors` states the error on other trains.

A recipe cannot say this yet: its observations are files, not runs of a bench, and it has neither residuals in the
logarithm of a curve's tail nor measured numbers that are functions of the parameters alone (`delays`, `width`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from cosim.bench.measures import waveforms as measure
from cosim.bench.testbench import Testbench
from cosim.devices import stc_steps
from cosim.devices.base import Array, Values
from cosim.devices.stc import StcSynapse
from cosim.errors import FitError, InputError
from cosim.fitting.minimise import estimates, minimise
from cosim.parameters import ParameterSet, Quantity

if TYPE_CHECKING:
    import xarray

    from cosim.engines.simulator import Simulator

# What the spike trains determine; all positive but the two output conductances.
VARY = (
    "tau_ca", "i_rest", "i_pre", "i_post", "q_wta_p", "q_wta_d",
    "i_tail_p", "i_tail_d", "q_mirror_p", "q_mirror_d", "lambda_p", "lambda_d", "v_sat",
)  # fmt: skip
COMPARATOR = ("q_wta_p", "wta_gain", "wta_slope")
RECOVERY = ("i_hrp", "i_hrm", "v_rec", "v_off")
# Varied in femtocoulombs and femtoamperes.
FEMTO: Mapping[str, float] = MappingProxyType({"q_wta_p": 1e-15, "i_hrp": 1e-15, "i_hrm": 1e-15})
SIGNED = frozenset({"lambda_p", "lambda_d", "v_off"})
VECTORS: Mapping[str, str] = MappingProxyType(
    {
        "calcium": "i(vca)",
        "potentiation": "i(v.xe.vpot)",
        "depression": "i(v.xe.vdep)",
        "early": "v(vh)",
    }
)
# Shares of a full scale that count alike: the weight is what a network sees, so it counts five times a current.
WEIGHTS: Mapping[str, float] = MappingProxyType({"calcium": 1.0, "potentiation": 1.0, "depression": 1.0, "early": 5.0})
STAGES: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = (
    (VARY[:4], ("calcium",)),
    (VARY[4:10], ("potentiation", "depression")),
    (VARY, tuple(WEIGHTS)),
)
# Below this share of the full current its logarithm counts, one e-fold as much as 2 % of full scale.
TAIL_SHARE, TAIL_WEIGHT, TAIL_FLOOR = 0.03, 0.02, 3e-15
DIFFERENCE = 1e-4
STEP = 50e-6
# Known from the biases: I_g is I_TH; a winner at 0.55 V over the thermal voltage.
FIXED: Mapping[str, float] = MappingProxyType({"i_gain": 1e-12, "wta_kappa": 21.2})


@dataclass(frozen=True)
class Trains:
    """Transistor-level waveforms on a regular grid, and the spikes that made them.

    ``waves``: calcium, potentiation, depression (A), early (V), each (steps + 1,); ``pre``, ``post``: (steps,) shares.
    """

    dt: float
    pre: Array
    post: Array
    waves: Mapping[str, Array]
    start: float

    @property
    def times(self) -> Array:
        """(steps + 1,) s."""
        return self.dt * np.arange(self.pre.size + 1, dtype=np.float64)


def record(
    simulator: Simulator | None = None,
    *,
    parameters: Mapping[str, float] | None = None,
    biases: ParameterSet | None = None,
) -> Trains:
    """Run the bench ``stc_spike_trains`` with ``parameters`` (SI) over its own and sample it every 50 µs.

    ``biases`` are those of the circuit; None: the bench's own.
    """
    bench = Testbench.load("stc_spike_trains").with_(parameters=parameters or {})
    if biases is not None:
        bench = bench.with_(devices={"synapse": biases})
    values = {name: entry.value for name, entry in bench.file.parameters.items()}
    data = bench.run(simulator).waveforms
    count = int(values["spikes"])
    stop = float(data["time"].values[-1])
    steps = round(stop / STEP)
    # PULSE: 1 µs edges, 791.3 µs on top, in the bench's circuit
    shares = {
        name: stc_steps.spike_share(
            np.asarray(first + 0.5e-6 + values[f"{name}_period"] * np.arange(count), dtype=np.float64),
            width=792.3e-6,
            dt=STEP,
            steps=steps,
        )
        for name, first in (("pre", 4e-3), ("post", 2e-3))
    }
    return Trains(
        STEP,
        shares["pre"],
        shares["post"],
        _sampled(data, STEP * np.arange(steps + 1, dtype=np.float64)),
        values["start"],
    )


def _sampled(data: xarray.Dataset, t: Array) -> Mapping[str, Array]:
    return MappingProxyType({name: measure.sample(data, vector, at=t) for name, vector in VECTORS.items()})


def settled(p: Values) -> Values:
    """The states of a synapse at rest with its weight at ``h_init``: no spikes for long."""
    ca = p.i_rest / p.i_th_p
    loser = np.log1p(-np.minimum(p.i_rest / p.i_th_p, 0.99))
    other = np.log1p(-np.minimum(p.i_rest / p.i_th_d, 0.99))
    low = {name: np.log(p[f"i_low_{name}"] / p[f"i_tail_{name}"]) for name in "pd"}
    x = StcSynapse().initial(p)
    return x.with_(
        ca=ca, xp=-1.0 - loser / p.wta_kappa, xd=-1.0 - other / p.wta_kappa, up=low["p"], ud=low["d"], h=p.h_init
    )


def simulate(p: Values, trains: Trains) -> dict[str, Array]:
    """The reduced model under the spikes of ``trains``: (steps + 1, ...) of each of its waves; ``p`` broadcasts."""
    p = p.with_(h_init=trains.start)
    shape = (-1,) + (1,) * max(np.ndim(value) for value in p.values())
    pre, post = trains.pre.reshape(shape), trains.post.reshape(shape)
    return stc_steps.run(p, dt=trains.dt, pre=pre, post=post, x0=settled(p), keep=tuple(VECTORS))


def residuals(
    waves: Mapping[str, Array], trains: Trains, *, seen: tuple[str, ...] = tuple(WEIGHTS), every: int = 4
) -> Array:
    """Weighted differences from the circuit in the waves ``seen``, every fourth point; (k, ...)."""
    rows = []
    for name in seen:
        weight = WEIGHTS[name]
        target = trains.waves[name][::every]
        scale = float(np.max(np.abs(trains.waves[name])))
        wave = waves[name][::every]
        column = target.reshape((-1,) + (1,) * (wave.ndim - 1))
        rows.append(weight * (wave - column) / scale)
        if name in ("potentiation", "depression"):
            tail = (target > TAIL_FLOOR) & (target < TAIL_SHARE * scale)
            rows.append(TAIL_WEIGHT * np.log(np.maximum(wave[tail], 1e-20) / column[tail]))
    return np.concatenate(rows)


@dataclass(frozen=True)
class StcFit:
    """Fitted parameters (SI), their standard errors (None: not estimated), and the trains they were fitted to."""

    p: Values
    stderr: Mapping[str, float | None]
    trains: Trains
    evaluations: int
    notes: tuple[str, ...] = ()

    def errors(self, trains: Trains | None = None) -> dict[str, float]:
        """RMS error of each wave over its largest magnitude, and of the weight's total change (``change``)."""
        trains = trains or self.trains
        waves = simulate(self.p, trains)
        found = {
            name: float(np.sqrt(np.mean((waves[name] - wave) ** 2)) / np.max(np.abs(wave)))
            for name, wave in trains.waves.items()
        }
        circuit = float(trains.waves["early"][-1] - trains.waves["early"][0])
        found["change"] = abs(float(waves["early"][-1] - waves["early"][0]) / circuit - 1.0)
        return found

    def parameter_set(self, held_out: Mapping[str, float], *, name: str = "transistor") -> ParameterSet:
        """The parameters for everything downstream; ``held_out`` are the `errors` on trains that were not fitted."""
        varied = {*VARY, *COMPARATOR, *RECOVERY, "i_low_p", "i_low_d"}
        source = "fitted with lmfit to the transistor-level waveforms of netlists/stc_cells.cir"
        values = {
            entry.name: Quantity(
                float(self.p[entry.name]),
                self.stderr.get(entry.name),
                source if entry.name in varied else entry.source,
            )
            for entry in StcSynapse.params
        }
        listed = ", ".join(f"{key} {value:.2%}" for key, value in held_out.items())
        notes = (
            f"error on spike trains that were not fitted (RMS over full scale; change: of the weight): {listed}",
            "i_pre, i_post, i_rest, tau_ca include the circuit's own deviation from Eq. 6",
            *self.notes,
        )
        return ParameterSet("stc_synapse", name, MappingProxyType(values), source, notes)


def delays(p: Values, overdrive: Array, *, dt: float = 4e-6, limit: float = 3e-3) -> Array:
    """(n,) s: from a step of the calcium current from rest to I_THPOT + ``overdrive`` (n,) A to half of the tail."""
    x = np.full(overdrive.shape, float(settled(p).xp))
    found = np.full(overdrive.shape, limit)
    for k in range(round(limit / dt)):
        after = stc_steps.comparator(x, p.i_th_p + overdrive, p.i_th_p, p, charge=p.q_wta_p, dt=dt)
        crossed = (x < 0.0) & (after >= 0.0)
        found = np.where(crossed, dt * (k - x / np.where(crossed, after - x, 1.0)), found)
        x = after
        if np.all(x >= 0.0):
            break
    return found


def width(p: Values) -> float:
    """The change of the calcium current (A) that takes a comparator's output from 10 to 90 % of its tail.

    At rest i (1 − g max(x, 0)) = I_TH (1 + g min(x, 0)), with x = ln(share/(1 − share))/s.
    """
    x = np.log(9.0) / p.wta_slope
    return float(p.i_th_p * (1.0 / (1.0 - p.wta_gain * x) - (1.0 - p.wta_gain * x)))


def published() -> Values:
    """Where fits start: the source's biases, and what follows from them."""
    return ParameterSet.load("stc_synapse:published").resolved(lambda_p=0.2, lambda_d=0.2, **FIXED)


def fit_comparator(p: Values, simulator: Simulator | None = None) -> tuple[Values, dict[str, float | None], float]:
    """`COMPARATOR` fitted to the bench ``stc_wta``: its delays against overdrive and its width.

    Returns the parameters, their standard errors, and the largest relative error of a delay.
    """
    run = Testbench.load("stc_wta").run(simulator)
    overdrive = run["turn_on"].coordinates["overdrive"]
    # the bench steps the current at 1 ms, within 1 µs
    target, trip = run["turn_on"].values - 0.5e-6, run["width"].scalar
    begin = {"q_wta_p": 3.0, "wta_gain": 0.2, "wta_slope": 16.0}
    bounds = {"q_wta_p": (0.3, 30.0), "wta_gain": (0.01, 0.9), "wta_slope": (4.0, 60.0)}

    def residual(current: Values) -> Array:
        here = p.with_(**{n: current[n] * FEMTO.get(n, 1.0) for n in COMPARATOR})
        # the width fixes gain over slope, to be kept as well as all the delays together
        return np.append(np.log(delays(here, overdrive) / target), 3.0 * np.log(width(here) / trip))

    found = estimates(minimise(residual, begin, bounds=bounds, epsfcn=1e-6), FEMTO)
    best = p.with_(**{n: value for n, (value, _) in found.items()})
    stderr = {n: error for n, (_, error) in found.items()}
    return best, stderr, float(np.max(np.abs(delays(best, overdrive) / target - 1.0)))


def fit(trains: Trains, *, start: Values | None = None, evaluations: int = 40, tolerance: float = 1e-5) -> StcFit:
    """Fit `VARY` to ``trains`` by Levenberg–Marquardt: calcium, then the two currents, then all waves together.

    The stages keep a start far from the circuit from ending where a threshold is never crossed. ``evaluations`` bound
    each stage; ``tolerance`` is the relative change of the sum of squares, or of the parameters, at which it ends.
    Raises `FitError` where the model diverges.
    """
    p = published() if start is None else start
    spent = 0
    for names, seen in STAGES:
        p, stderr, used = _stage(p, trains, names=names, seen=seen, evaluations=evaluations, tolerance=tolerance)
        spent += used
    return StcFit(p, MappingProxyType(stderr), trains, spent)


def _stage(
    p0: Values, trains: Trains, *, names: tuple[str, ...], seen: tuple[str, ...], evaluations: int, tolerance: float
) -> tuple[Values, dict[str, float | None], int]:
    """Vary ``names`` to follow the waves ``seen``: values, standard errors, evaluations.

    Every parameter is varied as a multiple of its start (the signed ones as they are), within a factor of ten; the
    Jacobian is by forward differences of 1e-4, all columns in one run.
    """
    physical = {name: StcSynapse().param(name).bounds for name in names}
    begin = {name: float(p0[name]) if name in SIGNED else 1.0 for name in names}
    bounds = {
        name: physical[name] if name in SIGNED else (0.1, min(10.0, physical[name][1] / float(p0[name])))
        for name in names
    }

    def values(vector: Mapping[str, Any]) -> Values:
        return p0.with_(**{n: vector[n] if n in SIGNED else vector[n] * float(p0[n]) for n in names})

    def residual(current: Values) -> Array:
        one = {name: np.array([current[name]]) for name in names}
        return residuals(simulate(values(one), trains), trains, seen=seen)[:, 0]

    def jacobian(current: Values) -> Array:
        here = np.array([current[name] for name in names])
        moved = here[:, None] + DIFFERENCE * np.eye(len(names), len(names) + 1, 1)
        found = residuals(simulate(values(dict(zip(names, moved, strict=True))), trains), trains, seen=seen)
        return (found[:, 1:] - found[:, :1]).T / DIFFERENCE

    found = minimise(
        residual, begin, bounds=bounds, jacobian=jacobian, evaluations=evaluations,
        col_deriv=1, ftol=tolerance, xtol=tolerance, factor=1.0,
    )  # fmt: skip
    if not np.all(np.isfinite(found.residual)):
        raise FitError("the reduced model diverged", remedy="start closer to the circuit")
    ended = estimates(found, {name: float(p0[name]) for name in names if name not in SIGNED})
    stderr = {name: error for name, (_, error) in ended.items()}
    return values(found.params.valuesdict()), stderr, int(found.nfev)


def fit_recovery(fitted: StcFit, simulator: Simulator | None = None) -> StcFit:
    """Add the recovery amplifier and the low currents from the static bench ``stc_early_static``."""
    data = Testbench.load("stc_early_static").run(simulator).waveforms
    h = np.asarray(data["sweep"].values, dtype=float)
    current = measure.vector(data, "i(v.xe.vrec)")
    near = np.argmin(np.abs(h - float(fitted.p.h0)))
    low = {
        name: float(measure.vector(data, vector)[near])
        for name, vector in (("i_low_p", "i(v.xe.vpot)"), ("i_low_d", "i(v.xe.vdep)"))
    }
    if min(low.values()) <= 0.0:
        raise InputError("a switched-off mirror leaks backwards", remedy="lower gmin in stc_early_static")
    p = fitted.p.with_(**low)
    begin = {"i_hrp": 2.5, "i_hrm": 2.5, "v_rec": 0.07, "v_off": 0.0}
    bounds = {"i_hrp": (0.1, 25.0), "i_hrm": (0.1, 25.0), "v_rec": (1e-3, 0.5), "v_off": (-0.1, 0.1)}

    def values(scaled: Mapping[str, float]) -> Values:
        return p.with_(**{name: scaled[name] * FEMTO.get(name, 1.0) for name in RECOVERY})

    def residual(vector: Values) -> Array:
        return np.asarray((StcSynapse().recovery(Values({"h": h}), values(vector)) - current) * 1e15)

    found = minimise(residual, begin, bounds=bounds)
    stderr = {name: error for name, (_, error) in estimates(found, FEMTO).items()}
    best = values(found.params.valuesdict())
    at_rest = settled(best)
    best = best.with_(ca_init=at_rest.ca, x_init=at_rest.xp, up_init=at_rest.up, ud_init=at_rest.ud)
    worst = float(np.max(np.abs(found.residual)) * 1e-15 / best.i_hrm)
    note = f"largest error of the recovery current over its limit: {worst:.2%}"
    return replace(fitted, p=best, stderr=MappingProxyType({**fitted.stderr, **stderr}), notes=(*fitted.notes, note))


# Trains that the fit does not see: other periods, other starts, pre and post out of step in other ways.
HELD_OUT: tuple[Mapping[str, float], ...] = (
    {"pre_period": 23e-3, "post_period": 7.1e-3, "start": 0.5},
    {"pre_period": 11e-3, "post_period": 11.9e-3, "start": 0.9, "spikes": 5},
)


# At the network's biases: pixels spike every 25 ms, neurons somewhat more often; and what the fit does not see.
NETWORK: Mapping[str, float] = MappingProxyType(
    {"pre_period": 25e-3, "post_period": 9.7e-3, "start": 0.9, "spikes": 11}
)
NETWORK_HELD_OUT: tuple[Mapping[str, float], ...] = (
    {"pre_period": 30e-3, "post_period": 23e-3, "start": 0.9, "spikes": 9},
    {"pre_period": 17e-3, "post_period": 5.3e-3, "start": 0.5, "spikes": 14},
)


def worst_errors(
    fitted: StcFit,
    simulator: Simulator | None = None,
    *,
    held_out: tuple[Mapping[str, float], ...] = HELD_OUT,
    biases: ParameterSet | None = None,
) -> dict[str, float]:
    """The larger of `StcFit.errors` over the trains of ``held_out``."""
    found = [fitted.errors(record(simulator, parameters=changes, biases=biases)) for changes in held_out]
    return {name: max(errors[name] for errors in found) for name in found[0]}


def publish(folder: str | Path, simulator: Simulator | None = None) -> Path:
    """Record, fit, check on other trains, and write ``stc_synapse_transistor.toml`` into ``folder``: about two minutes.

    The comparator's gain and slope come from its own bench; its charge is fitted again within the synapse.
    """
    start, stderr, worst = fit_comparator(published(), simulator)
    fitted = fit(record(simulator), start=start)
    note = (
        f"a comparator alone: q_wta_p = {start.q_wta_p:.3g} C, its delays at 1 to 50 pA of overdrive to {worst:.2%}; "
        "within the synapse the integrator's output adds to the charge"
    )
    fitted = replace(fitted, stderr=MappingProxyType({**stderr, **fitted.stderr}), notes=(note,))
    fitted = fit_recovery(fitted, simulator)
    chosen = fitted.parameter_set(worst_errors(fitted, simulator))
    return chosen.save(Path(folder) / "stc_synapse_transistor.toml")


def network_biases() -> ParameterSet:
    """The source's network (listing A) before it is accelerated: recovery and τ_z of its tables."""
    printed = published()
    return ParameterSet.load("stc_synapse:listing_a").with_values(
        {"i_hrm": float(printed.i_hrm), "tau_z": float(printed.tau_z)}
    )


def publish_network(folder: str | Path, simulator: Simulator | None = None) -> Path:
    """The same at `network_biases`, from ``stc_synapse:transistor`` on, into ``stc_synapse_network.toml``: minutes.

    The charges come out as they are there, but the calcium's drives and time constant do not: at a fifth of the
    current the integrator is another one. The recovery amplifier, which has no part in the trains, is taken over.
    """
    biases, known = network_biases(), ParameterSet.load("stc_synapse:transistor").resolved()
    keep = (
        "tau_ca", "q_wta_p", "q_wta_d", "wta_gain", "wta_slope", "q_mirror_p", "q_mirror_d", "lambda_p", "lambda_d",
        "v_sat", "i_gain", "wta_kappa",
    )  # fmt: skip
    start = biases.resolved(**{name: float(known[name]) for name in (*keep, *RECOVERY)})
    trains = record(simulator, parameters=NETWORK, biases=biases)
    fitted = fit(trains, start=start, evaluations=25, tolerance=1e-4)
    p = fitted.p.with_(i_low_p=known.i_low_p, i_low_d=known.i_low_d)
    rest = settled(p)
    p = p.with_(ca_init=rest.ca, x_init=rest.xp, up_init=rest.up, ud_init=rest.ud)
    note = "fitted at listing A's biases with Table 1's recovery and tau_z; recovery and leakage as in transistor"
    fitted = replace(fitted, p=p, notes=(note,))
    held_out = worst_errors(fitted, simulator, held_out=NETWORK_HELD_OUT, biases=biases)
    return fitted.parameter_set(held_out, name="transistor_network").save(Path(folder) / "stc_synapse_network.toml")
