"""Making a surrogate: from a parameter set or a fit, and optionally corrected by samples of the circuit.

Without samples the surrogate is the fitted device model itself, event by event. With samples (w before, amplitude, w
after, energy) a `Correction` is fitted to what the model leaves out; it is kept only where it lowers the error on
samples held out from its own fit by a tenth, and the certificate is made on further pulses that neither has seen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from cosim.devices.base import Values
from cosim.devices.pulse import Law, PulseShape
from cosim.errors import DataError, FitError, InputError, Where
from cosim.parameters import ParameterSet
from cosim.surrogate.base import Array, Range
from cosim.surrogate.check import TENTHS, HeldOut, Tell, certify, default_range, random_train, start_of, trains_of
from cosim.surrogate.correction import POLARITIES, Correction, design
from cosim.surrogate.files import read_npz, write_npz
from cosim.surrogate.pulse import PulseSurrogate
from cosim.surrogate.references import PulseBench

DEGREES = (0, 1, 2, 3)
# A correction has to lower the held-out rms error to this share, or the physics stays alone.
WORTH = 0.9
# Pulses that move the state by less say nothing about a factor on the step.
LEAST_STEP = 1e-4
COLUMNS = ("w_before", "amplitude", "w_after", "energy")


class Fitted(Protocol):
    """Anything that a fit returns with a parameter set in it."""

    @property
    def parameters(self) -> ParameterSet:
        """The extracted set."""
        ...


@dataclass(frozen=True)
class Samples:
    """What single pulses did in a circuit; all (n,): ``w_before``, ``amplitude`` (V), ``w_after``, ``energy`` (J)."""

    w_before: Array
    amplitude: Array
    w_after: Array
    energy: Array
    source: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        shapes = {np.shape(getattr(self, name)) for name in COLUMNS}
        if len(shapes) != 1 or len(next(iter(shapes))) != 1 or not np.size(self.w_before):
            raise DataError(f"samples need four columns of one length, got shapes {sorted(shapes)}")
        for name in COLUMNS:
            values = getattr(self, name)
            bad = ~np.isfinite(values)
            if name.startswith("w_"):
                bad |= (values < -1e-3) | (values > 1.0 + 1e-3)
            if np.any(bad):
                row = int(np.flatnonzero(bad)[0])
                raise DataError(
                    f"{name} = {values[row]:g} is not a sample",
                    where=Where(line=row, column=name),
                    remedy="leave the pulse out",
                )

    def __len__(self) -> int:
        return int(self.w_before.size)

    def take(self, index: NDArray[Any]) -> Self:
        """Some of them."""
        return type(self)(
            self.w_before[index], self.amplitude[index], self.w_after[index], self.energy[index], self.source
        )

    def save(self, path: str | Path) -> Path:
        """Write them as ``.npz`` with the columns' names."""
        return write_npz(path, {name: np.asarray(getattr(self, name), dtype=float) for name in COLUMNS})

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """From an ``.npz`` with the four columns; raises `MissingFile`, `InputError`, `DataError`."""
        stored = read_npz(path, kind="sample file")
        missing = [name for name in COLUMNS if name not in stored]
        if missing:
            raise DataError(
                f"the sample file lacks {', '.join(missing)}",
                where=Where(path),
                remedy="it needs the arrays " + ", ".join(COLUMNS),
            )
        try:
            before, amplitude, after, energy = (np.asarray(stored[name], dtype=float) for name in COLUMNS)
            return cls(before, amplitude, after, energy)
        except DataError as error:
            inside = error.where
            where = Where(path, inside.line, inside.column) if inside is not None else Where(path)
            raise DataError(error.message, where=where, remedy=error.remedy) from None
        except ValueError:
            raise DataError("the samples are not numbers", where=Where(path), remedy="store floats") from None


def from_parameters(
    parameters: ParameterSet | Fitted, *, law: Law = "rate", shape: PulseShape | None = None, v_read: float = 0.1
) -> PulseSurrogate:
    """The device model itself as a surrogate, without a certificate."""
    chosen = parameters if isinstance(parameters, ParameterSet) else parameters.parameters
    return PulseSurrogate(chosen, law=law, shape=shape or PulseShape(), v_read=v_read)


def collect(
    surrogate: PulseSurrogate,
    bench: PulseBench,
    *,
    seed: int = 0,
    pulses: int = 600,
    span: Range | None = None,
    tell: Tell | None = None,
) -> Samples:
    """Training samples from a circuit: trains of random pulses, from a stream that `certify` does not use.

    They begin as a certificate's do.
    """
    rng = np.random.default_rng([seed, 0])
    reference = bench.reference(surrogate.parameters, shape=surrogate.shape)
    span = span or default_range(surrogate)
    parts: list[tuple[Array, ...]] = []
    sizes, tested = trains_of(pulses, longest=200), np.zeros(TENTHS, dtype=np.int64)
    for number, count in enumerate(sizes):
        if tell is not None:
            tell(sum(sizes[:number]), pulses)
        amplitude = random_train(surrogate, rng, count=count, span=span)
        w0 = start_of(number, tested, rng)
        answer = reference(amplitude, w0)
        before = np.concatenate([[w0], answer.w[:-1]])
        parts.append((before, amplitude, answer.w, answer.energy))
        tested += np.histogram(before, bins=TENTHS, range=(0.0, 1.0))[0]
    before, amplitude, after, energy = (np.concatenate(column) for column in zip(*parts, strict=True))
    source = MappingProxyType({"engine": bench.engine, "netlist": bench.netlist})
    return Samples(before, amplitude, after, energy, source)


def fit_correction(
    surrogate: PulseSurrogate, samples: Samples, *, rng: np.random.Generator
) -> tuple[PulseSurrogate, str]:
    """``surrogate`` with the correction that a held-out third of ``samples`` prefers, and a sentence that says which.

    Raises `FitError` where the samples move no state.
    """
    plain = surrogate.with_(correction=None, certificate=None)
    order = rng.permutation(len(samples))
    held, used = samples.take(order[: len(samples) // 3]), samples.take(order[len(samples) // 3 :])
    if not len(held):
        raise FitError(f"{len(samples)} samples are too few for a correction", remedy="give at least a few hundred")
    alone = _error(plain, held)
    tried: list[tuple[float, int]] = []
    for degree in DEGREES:
        correction = _solve(plain, used, degree)
        if correction is not None:
            tried.append((_error(plain.with_(correction=correction), held), degree))
    if not tried:
        raise FitError("the samples hold too few pulses that move the state", remedy="pulse above both thresholds")
    best, degree = min(tried)
    if best > WORTH * alone:
        return plain, f"no correction: the best would change the held-out rms error from {alone:.2e} to {best:.2e}"
    final = _solve(plain, samples, degree)
    sentence = f"correction of degree {degree}: held-out rms error of training {alone:.2e} -> {best:.2e}"
    return plain.with_(correction=final), sentence


def _error(surrogate: PulseSurrogate, samples: Samples) -> float:
    before = np.clip(samples.w_before, 0.0, 1.0)
    after = surrogate.update(before, samples.amplitude)
    return float(np.sqrt(np.mean((after - samples.w_after) ** 2)))


def _solve(surrogate: PulseSurrogate, samples: Samples, degree: int) -> Correction | None:
    """Least squares of the residuals of step and energy on the basis times the model's own; None: too few pulses."""
    before = np.clip(samples.w_before, 0.0, 1.0)
    after, out = surrogate.step(Values({"w": before}), Values({"amplitude": samples.amplitude}))
    step = after["w"] - before
    state: dict[int, Array] = {}
    energy: dict[int, Array] = {}
    spans: dict[int, Range] = {}
    for polarity in POLARITIES:
        chosen = (np.sign(samples.amplitude) == polarity) & (np.abs(step) > LEAST_STEP)
        if np.count_nonzero(chosen) < 4 * (degree + 1) ** 2:
            return None
        size = np.abs(samples.amplitude[chosen])
        spans[polarity] = (float(np.min(size)), float(np.max(size)))
        state[polarity] = _table(samples, before, step, samples.w_after - before, chosen, spans[polarity], degree)
        # The energy is that of every pulse of this sign, also of those that move nothing.
        taken = (np.sign(samples.amplitude) == polarity) & (np.abs(samples.amplitude) <= spans[polarity][1])
        energy[polarity] = _table(
            samples, before, out["energy"], samples.energy, taken, (0.0, spans[polarity][1]), degree
        )
    return Correction(MappingProxyType(state), MappingProxyType(energy), MappingProxyType(spans))


def _table(
    samples: Samples, before: Array, own: Array, measured: Array, chosen: NDArray[Any], span: Range, degree: int
) -> Array:
    """Coefficients (degree + 1, degree + 1) of 1 + c with measured = own · (1 + c), by least squares."""
    basis = design(samples.amplitude[chosen], before[chosen], span=span, degree=degree)
    scale = float(np.max(np.abs(own[chosen])))
    weight, rest = own[chosen] / scale, (measured - own)[chosen] / scale
    solution = np.linalg.lstsq(basis * weight[:, None], rest, rcond=1e-10)[0]
    return np.asarray(solution).reshape(degree + 1, degree + 1)


def train(
    parameters: ParameterSet | Fitted,
    bench: PulseBench,
    *,
    law: Law = "rate",
    shape: PulseShape | None = None,
    samples: Samples | None = None,
    seed: int = 0,
    pulses: int = 500,
    span: Range | None = None,
    spread: Mapping[str, float] = MappingProxyType({}),
    limits: Mapping[str, float] = MappingProxyType({}),
    tell: Tell | None = None,
) -> tuple[PulseSurrogate, HeldOut]:
    """A certified surrogate, and the held-out data of its certificate.

    Args:
        parameters: a set or a fit, of a ``threshold_memristor`` or a ``cell_1t1r``.
        bench: the circuit it is certified against.
        law, shape: as in `PulseSurrogate`.
        samples: of the circuit: a correction is fitted where it pays (`fit_correction`).
        seed, pulses, span, spread, limits, tell: as in `certify`.

    >>> from cosim.surrogate.references import Integration
    >>> cell, held_out = cosim.train(cosim.ParameterSet.load("tio2"), Integration(), pulses=100)
    >>> cell.certificate.broken
    ()
    """
    surrogate = from_parameters(parameters, law=law, shape=shape)
    notes: tuple[str, ...] = (f"law {law}",)
    if samples is not None:
        span = span or default_range(surrogate)
        inside = (samples.amplitude >= span[0]) & (samples.amplitude <= span[1])
        if not np.any(inside):
            raise InputError(
                f"no sample lies within {span[0]:.3g}..{span[1]:.3g} V", remedy="give a span that holds the samples"
            )
        surrogate, sentence = fit_correction(surrogate, samples.take(inside), rng=np.random.default_rng([seed, 2]))
        notes += (sentence,)
    return certify(
        surrogate, bench, seed=seed, pulses=pulses, span=span, spread=spread, limits=limits, notes=notes, tell=tell
    )
