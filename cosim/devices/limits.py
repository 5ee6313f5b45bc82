"""A state kept between 0 and 1 whatever drives it: the rectangular window, made continuous (our choice)."""

from __future__ import annotations

import numpy as np

from cosim.devices.base import Operand

EDGE = 1e-3  # of the range: wide enough that an implicit integrator of double precision follows the stop


def within(rate: Operand, x: Operand) -> Operand:
    """``rate`` (1/s) where ``x`` has room to go, linear to zero within `EDGE` of the bound that it goes to.

    Beyond the bound it turns round: an integrator that stepped over the bound is led back, not left there.
    """
    room = np.where(rate > 0.0, 1.0 - x, x)
    return rate * np.minimum(np.maximum(room / EDGE, -1.0), 1.0)
