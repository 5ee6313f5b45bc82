"""Images to input currents: a bright pixel drives its neuron, a dark one leaves it to a bias; both with noise.

Source: arXiv 2510.25787 and its authors' published parameters. A pixel above ``cut`` drives I = gain · pixel · (1 + n);
any other one the bias current b (1 + m); n and m are Gaussian with the standard deviations ``noise`` and
``bias_noise``, drawn anew in each time step. The bias takes a silent neuron near its threshold at the end of the
presentation, so that a postsynaptic spike depresses the weights of the background.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cosim.devices.base import Array
from cosim.errors import InputError


@dataclass(frozen=True)
class CurrentEncoder:
    """Currents in thresholds per ms (module docstring); ``gain``, ``cut`` and ``noise`` per pixel value 0..1."""

    gain: float = 0.2
    cut: float = 0.1
    noise: float = 0.2
    bias: float = 1.28 / 29.0
    bias_noise: float = 0.9793 * 1.28 / 29.0

    def __post_init__(self) -> None:
        if min(self.gain, self.noise, self.bias, self.bias_noise) < 0.0:
            raise InputError(f"{self} has a negative current", remedy="give values >= 0")

    def currents(self, image: Array, *, bias: bool = True) -> tuple[Array, Array]:
        """Mean current (n,) per ms and its standard deviation (n,) for pixels ``image`` (n,) in 0..1."""
        bright = image > self.cut
        mean = np.where(bright, self.gain * image, self.bias if bias else 0.0)
        return mean, mean * np.where(bright, self.noise, self.bias_noise)
