"""The certified problems of nonlinear regression (NIST StRD): every problem from both of its starts, by `fit_law`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from claims.base import Claim, Figures, Report
from cosim.devices.base import Array
from cosim.fitting.law import fit_law
from cosim.fitting.result import FitResult

DATA = Path(__file__).with_name("strd.txt")
DIGITS = 6.0

Model = Callable[..., Array]


def _saturating(x: Array, b1: float, b2: float) -> Array:
    return b1 * (1.0 - np.exp(-b2 * x))


def _chwirut(x: Array, b1: float, b2: float, b3: float) -> Array:
    return np.exp(-b1 * x) / (b2 + b3 * x)


def _two_peaks(x: Array, *b: float) -> Array:
    peaks = b[2] * np.exp(-((x - b[3]) ** 2) / b[4] ** 2) + b[5] * np.exp(-((x - b[6]) ** 2) / b[7] ** 2)
    return np.asarray(b[0] * np.exp(-b[1] * x) + peaks)


def _three_decays(x: Array, *b: float) -> Array:
    return np.asarray(b[0] * np.exp(-b[1] * x) + b[2] * np.exp(-b[3] * x) + b[4] * np.exp(-b[5] * x))


def _cubics(x: Array, *b: float) -> Array:
    return np.asarray(np.polyval(b[3::-1], x) / (1.0 + x * np.polyval(b[:3:-1], x)))


def _enso(x: Array, *b: float) -> Array:
    waves = zip((12.0, b[3], b[6]), (b[1], b[4], b[7]), (b[2], b[5], b[8]), strict=True)
    angle = 2.0 * np.pi * x
    return np.asarray(b[0] + sum(c * np.cos(angle / period) + s * np.sin(angle / period) for period, c, s in waves))


MODELS: dict[str, Model] = {
    "Bennett5": lambda x, b1, b2, b3: b1 * (b2 + x) ** (-1.0 / b3),
    "BoxBOD": _saturating,
    "Chwirut1": _chwirut,
    "Chwirut2": _chwirut,
    "DanWood": lambda x, b1, b2: b1 * x**b2,
    "ENSO": _enso,
    "Eckerle4": lambda x, b1, b2, b3: b1 / b2 * np.exp(-0.5 * ((x - b3) / b2) ** 2),
    "Gauss1": _two_peaks,
    "Gauss2": _two_peaks,
    "Gauss3": _two_peaks,
    "Hahn1": _cubics,
    "Kirby2": lambda x, b1, b2, b3, b4, b5: (b1 + b2 * x + b3 * x**2) / (1.0 + b4 * x + b5 * x**2),
    "Lanczos1": _three_decays,
    "Lanczos2": _three_decays,
    "Lanczos3": _three_decays,
    "MGH09": lambda x, b1, b2, b3, b4: b1 * (x**2 + x * b2) / (x**2 + x * b3 + b4),
    "MGH10": lambda x, b1, b2, b3: b1 * np.exp(b2 / (x + b3)),
    "MGH17": lambda x, b1, b2, b3, b4, b5: b1 + b2 * np.exp(-x * b4) + b3 * np.exp(-x * b5),
    "Misra1a": _saturating,
    "Misra1b": lambda x, b1, b2: b1 * (1.0 - (1.0 + b2 * x / 2.0) ** -2.0),
    "Misra1c": lambda x, b1, b2: b1 * (1.0 - (1.0 + 2.0 * b2 * x) ** -0.5),
    "Misra1d": lambda x, b1, b2: b1 * b2 * x / (1.0 + b2 * x),
    "Nelson": lambda x, b1, b2, b3: b1 - b2 * x[0] * np.exp(-b3 * x[1]),  # of log y
    "Rat42": lambda x, b1, b2, b3: b1 / (1.0 + np.exp(b2 - b3 * x)),
    "Rat43": lambda x, b1, b2, b3, b4: b1 / (1.0 + np.exp(b2 - b3 * x)) ** (1.0 / b4),
    "Roszman1": lambda x, b1, b2, b3, b4: b1 - b2 * x - np.arctan(b3 / (x - b4)) / np.pi,
    "Thurber": _cubics,
}


@dataclass(frozen=True)
class Certified:
    """One problem: both ``starts``, ``values`` and ``errors`` (k,), the response and its one or two predictors."""

    name: str
    level: str
    starts: tuple[Array, Array]
    values: Array
    errors: Array
    y: Array
    x: Array

    def law(self, x: Array, **b: float) -> Array:
        """Its model with the parameters b1, b2, ..."""
        return MODELS[self.name](x, *b.values())

    def fit(self, start: int) -> FitResult:
        """The fit from a start, 0 or 1."""
        names = [f"b{k + 1}" for k in range(self.values.size)]
        begin = dict(zip(names, self.starts[start].tolist(), strict=True))
        return fit_law(self.law, self.x, self.y, start=begin, name=self.name)

    def digits(self, found: FitResult) -> tuple[float, float]:
        """The fewest digits in common of a value and of a standard error, -log10 of the relative difference, <= 11."""
        values = np.array([found.values[name] for name in found.names])
        errors = np.array([found.uncertainty.stderr(name) or math.nan for name in found.names])
        return _digits(values, self.values), _digits(errors, self.errors)


def _digits(found: Array, certified: Array) -> float:
    with np.errstate(divide="ignore"):
        common = -np.log10(np.abs(found / certified - 1.0))
    return float(min(np.min(common), 11.0))  # as many as are certified


def problems() -> Iterator[Certified]:
    """All of the file."""
    for block in DATA.read_text(encoding="utf-8").split("\n\n")[1:]:
        head, *lines = block.strip().split("\n")
        name, level, _ = head.split()
        rows = [(line.split(" ", 1)[0], np.array(line.split()[1:], dtype=float)) for line in lines]
        table: dict[str, list[Array]] = {}
        for key, row in rows:
            table.setdefault(key, []).append(row)
        x, y = table["x"], table["y"][0]
        yield Certified(
            name, level, (table["start"][0], table["start"][1]), table["certified"][0], table["stderr"][0],
            np.log(y) if name == "Nelson" else y, x[0] if len(x) == 1 else np.stack(x),
        )  # fmt: skip


def measure(tell: Report) -> Figures:
    """How many of the problems are solved to six digits from both starts, and the fewest digits."""
    solved, fewest, errors, unsolved = 0, 11.0, 11.0, list[str]()
    levels: dict[str, Any] = {}
    for problem in problems():
        for start in (0, 1):
            tell(f"{problem.name}, start {start + 1}")
            digits, of_error = problem.digits(problem.fit(start))
            good = digits >= DIGITS
            solved += good
            fewest, errors = min(fewest, digits), min(errors, of_error)
            levels[problem.level] = levels.get(problem.level, 0) + good
            if not good:
                unsolved.append(f"{problem.name} from start {start + 1}: {digits:.1f} digits")
    return {
        "solved": solved, "digits": round(fewest, 2), "digits_of_standard_errors": round(errors, 2),
        **{f"solved_{level}": count for level, count in levels.items()}, "unsolved": unsolved,
    }  # fmt: skip


STRD = Claim(
    "strd",
    "the certified problems of nonlinear regression (NIST StRD, 27 problems from two starts each) are solved to six "
    "digits, 54 of 54",
    measure,
    {"solved": (54, 54), "digits": (DIGITS, None)},
)
