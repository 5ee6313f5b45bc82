r"""The measurement that would tell most about what a fit left open: `next_measurement`.

The information of rows is M = Σ J Jᵀ/σ², J the derivative of a row's prediction by the parameters, each in units of its
own size (Atkinson, Donev & Tobias, *Optimum Experimental Designs*, ch. 9 and 17). Before any row there is that of the
bounds: a parameter within them has the variance of a uniform distribution. What further rows would leave is
C = (M + M_new)⁻¹, and the design that is proposed is the one with the smallest error of the parameter that is then
known worst (a minimax design). Between designs that are equal in that, the gain in ln det M decides, as in a D-optimal
design. A parameter that is hardly known makes J itself uncertain, so that the error is averaged in its logarithm over
parameters that fit the curve too (a pseudo-Bayesian design, ibid. ch. 18).

Rows whose order means nothing are chosen one by one, each where it lowers the sum of all relative variances most
(A-optimal, by the Sherman–Morrison formula); a row may be chosen again.

Of several recordings fitted together, the one that is continued is chosen too, among those that bear the parameter
known worst. Through a netlist every derivative is a simulation: the device alone ranks the designs where it can, a few
of them are simulated, and the parameters that they are judged at are the fitted ones alone (a local design).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cosim.errors import InputError
from cosim.files import write_atomic
from cosim.fitting.designs import Design
from cosim.fitting.simulators import simulators
from cosim.units import show

if TYPE_CHECKING:
    from cosim.fitting.joint_result import JointResult
    from cosim.fitting.result import FitResult

# Times what the curve applied, one after the other until a design would halve the largest error (our choice).
REACHES, HALF = (1.0, 1.5, 2.0, 3.0, 5.0, 10.0), 0.5
# More than what was applied by this factor is said.
BEYOND = 1.01
# An error that falls by less is not put into numbers.
NO_BETTER = 0.8
# Designs within this part of the smallest error are equal: the larger determinant decides.
EQUAL = 0.05


@dataclass(frozen=True)
class NextMeasurement:
    """A proposal, judged by the linear model around parameters that fit the curve.

    Args:
        design: the rows to measure.
        parameter: the one known worst today.
        before, after: largest relative standard error of a parameter, today and with the proposed rows (relative to the
            parameter's natural size; today's is limited by the bounds).
        worst: the parameter known worst afterwards.
        gain: of ln det M, all parameters together.
        tells: where the information about ``parameter`` would come from: column or state -> (low, high), SI.
        units: of ``tells``.
        units_applied: of the columns of ``design``.
        reach: the largest voltage or current that it applies, over the largest of the curve.
        observation: of several, the one that it continues.
        independent: whether each read has a noise of its own: else ``after`` promises too much, and is not told.
    """

    design: Design
    parameter: str
    before: float
    after: float
    worst: str
    gain: float
    tells: Mapping[str, tuple[float, float]]
    units: Mapping[str, str]
    units_applied: Mapping[str, str]
    reach: float
    observation: str = ""
    independent: bool = True

    def write(self, path: str | Path) -> Path:
        """What to apply, as a table with units that `cosim fit` reads once the measured column is added (.csv).

        As an instrument is programmed: time counts from the first of the rows, or from that of a
        recording that goes on, and a voltage has four digits.
        """
        head = ",".join(f"{name} ({self.units_applied[name]})" for name in self.design.columns)
        anew = not self.design.goes_on
        columns = {name: c - c[0] if name == "time" and anew else c for name, c in self.design.columns.items()}
        rows = zip(*(column.tolist() for column in columns.values()), strict=True)
        digits = [4 if self.units_applied[name] == "V" else 10 for name in columns]
        lines = (",".join(f"{value:.{k}g}" for value, k in zip(row, digits, strict=True)) for row in rows)
        return write_atomic(path, "\n".join([head, *lines]) + "\n")

    def __str__(self) -> str:
        spans = [
            f"{name} from {show(low, self.units[name], digits=3)} to {show(high, self.units[name], digits=3)}"
            for name, (low, high) in self.tells.items()
        ]
        recording = self.observation or "the recording"
        what = self.design.title + (f", on the device as {recording} left it" if not self.design.loose else "")
        what += f", on the device of {recording}" if self.design.loose and self.observation else ""
        tells = f"; {self.parameter} shows at {' and '.join(spans)}" if spans else ""
        if self.reach > BEYOND:
            tells += f"; up to {self.reach:.2g} times what was applied so far: make sure that the device withstands it"
        if self.after > NO_BETTER * self.before:  # the linear model at a bound says little about how much
            return f"{what}: would tell most about {self.parameter}{tells}"
        if not self.independent:
            return (
                f"{what}: would tell most about {self.parameter}{tells}; how much is not said, because the reads of "
                "this recording are not independent of each other"
            )
        then = "" if self.worst == self.parameter else f", then that of {self.worst}"
        return (
            f"{what}: the largest relative standard error would fall from {_share(self.before)}, that of "
            f"{self.parameter}, to about {_share(self.after)}{then}{tells}"
        )


def _share(error: float) -> str:
    return f"{error:.1%}" if error < 0.1 else f"{error:.0%}"


def next_measurement(
    fit: FitResult | JointResult, *, reach: float | None = None, rows: int | None = None, seed: int = 0
) -> NextMeasurement | None:
    """The measurement that would lower the largest relative error of a fit most; None where none would lower it.

    Args:
        fit: of one curve, or of several together; through a netlist it takes simulations.
        reach: largest applied value, in terms of the curve's; 1 stays within what was applied. None: 1 where that would
            halve the largest error, else 1.5, 2, 3, 5 or 10, the first that would.
        rows: of the proposal; None: as many as the curve has, but at least 100 and at most 200.
        seed: of the parameters that a design is averaged over.

    Raises:
        InputError: ``reach`` below 1 or not finite, fewer than one row, a fit of a function, or of a bench that the
            rows of the curve do not drive.

    >>> fit = cosim.extract(cosim.FitRecipe.load("virtual_lab/access"))
    >>> proposal = cosim.next_measurement(fit)
    >>> proposal.after < proposal.before
    True
    """
    from cosim.fitting.study import Study

    if reach is not None and not 1.0 <= reach < math.inf:
        raise InputError(f"reach = {reach:g}", remedy="give 1 to stay within what was applied, or more")
    if rows is not None and rows < 1:
        raise InputError(f"{rows} rows", remedy="give at least one")
    best: NextMeasurement | None = None
    # Parameters that are drawn may lie where a device has no current: what is not finite there is not looked at.
    with simulators(), np.errstate(all="ignore"):
        study = Study(fit, seed=seed, rows=rows)
        for far in REACHES if reach is None else (reach,):
            better = [one for one in study.judged(reach=far) if one.after < one.before]
            if not better:
                continue
            least = min(one.after for one in better)
            here = max((one for one in better if one.after <= (1.0 + EQUAL) * least), key=lambda one: one.gain)
            best = here if best is None or here.after < best.after else best
            if best.after <= HALF * best.before:
                break
    return best
