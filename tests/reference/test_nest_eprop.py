"""e-prop held against NEST's native one (Bellec et al. 2020): same weights, spikes and learning signal.

`tools/nest_eprop.py` wrote the answers, in an environment with NEST 3.10. NEST takes the threshold off a potential
after the leak of the next step, where Eq. 10 of arXiv 2411.18272 takes it off at once; the neuron here does as NEST
does, so that spikes are the same. What the read-out low-passes, NEST scales by 1 − κ.
"""

import json
import math
from pathlib import Path
from types import SimpleNamespace as Named

import numpy as np
import pytest

from cosim.network import Current, Graph, Ideal, Leaky, Population, Projection, Simulation
from cosim.network.eprop import EProp, EPropOfValues, Subtracting
from cosim.network.neurons import After

RATE = 1e-6


class Late(Subtracting):
    """The threshold less after the next step's leak."""

    def spiked(self, x: Named, p: Named) -> After:
        """As NEST."""
        return {"v": x.u - p.threshold / p.leak}


@pytest.mark.parametrize("backend", ["numpy", pytest.param("numba", marks=pytest.mark.needs("numba"))])
def test_the_gradient_is_nest_s(backend: str) -> None:
    nest = json.loads((Path(__file__).parent / "oracles" / "nest_eprop.json").read_text(encoding="ascii"))
    shown, signal = np.array(nest["shown"], dtype=float), np.array(nest["learning_signal"])
    (steps, inputs), hidden = shown.shape, signal.shape[1]
    rule = {
        "rate": RATE, "beta": nest["beta"], "tau": nest["tau"], "threshold": nest["threshold"],
        "tau_out": nest["tau_out"],
    }  # fmt: skip
    weights = {name: np.array(nest[name]) for name in ("into", "among")}
    wide = Ideal(-100.0, 100.0)
    simulation = Simulation(
        Graph(
            (
                Population("inputs", inputs, Leaky(tau=1e-3), Current()),
                Population("hidden", hidden, Late(nest["tau"], nest["threshold"])),
            ),
            (
                Projection(
                    "inputs", "hidden", wide, weights["into"], rule=EPropOfValues(**rule), sends="y", name="into"
                ),
                Projection("hidden", "hidden", wide, weights["among"], rule=EProp(**rule), delay=1.0, name="among"),
            ),
        ),
        backend=backend,
    )
    found = simulation.run(
        {"inputs": shown[None]}, steps=steps, key=0, fresh=True, signals={"hidden": signal[None]}, record=("hidden.u",)
    )
    # Both add up the same numbers in double precision, over 60 steps of potentials up to 10.
    np.testing.assert_allclose(found.records["hidden.u"][0], nest["v"], atol=1e-12)
    assert found.counts["hidden"].sum() > 50
    scale = 1.0 - math.exp(-1.0 / nest["tau_out"])
    for name, before in weights.items():
        expected = np.array(nest["gradient"][name])
        assert np.abs(expected).max() > 100.0
        change = (simulation.cells[name].weight - before) / -RATE * scale
        # Weights of 1 moved by 1e-6 times the gradient, on both sides: ten digits below a gradient of 1000 are left.
        np.testing.assert_allclose(change, expected, atol=1e-8 * np.abs(expected).max())
