"""Writes ``tests/reference/oracles/nest_eprop.json``: what NEST's native e-prop makes of a small network.

It runs in an environment of its own with NEST (``pip install nest-simulator``; the file says of which version), not in
the project's: ``python tools/nest_eprop.py tests/reference/oracles/nest_eprop.json``. The models are those of Bellec et
al. 2020, ``eprop_iaf_bsshslm_2020``, with the constants of `tests/network/test_eprop.py`; one data frame, and the
change of its weights.
"""

import json
import sys
from typing import Any

import nest  # type: ignore[import-not-found]
import numpy as np

INPUTS, HIDDEN, OUT, STEPS = 4, 5, 3, 60
TAU, THRESHOLD, BETA, TAU_OUT, ETA = 20.0, 0.615, 0.3, 15.0, 1e-6


def main(place: str) -> None:
    """One data frame, a second one in whose spikes NEST brings the weights up to date, and all of it as JSON."""
    rng = np.random.default_rng(3)
    into, among = 0.5 * rng.standard_normal((INPUTS, HIDDEN)), 0.4 * rng.standard_normal((HIDDEN, HIDDEN))
    np.fill_diagonal(among, 0.0)
    out = rng.standard_normal((HIDDEN, OUT))
    shown = rng.random((STEPS, INPUTS)) < 0.3
    shown[:3] = False  # NEST counts a spike that the delays carry over the edge of a frame to the one before
    target = rng.standard_normal((STEPS, OUT))

    nest.ResetKernel()
    nest.set(
        resolution=1.0, total_num_virtual_procs=1, eprop_update_interval=float(STEPS),
        eprop_learning_window=float(STEPS), eprop_reset_neurons_on_update=True,
    )  # fmt: skip
    common = {"C_m": 1.0, "E_L": 0.0, "I_e": 0.0, "V_m": 0.0, "regular_spike_arrival": True}
    hidden = nest.Create("eprop_iaf_bsshslm_2020", HIDDEN, {
        **common, "tau_m": TAU, "V_th": THRESHOLD, "t_ref": 0.0, "c_reg": 0.0,
        "surrogate_gradient_function": "piecewise_linear", "surrogate_gradient_height": BETA / THRESHOLD,
        "surrogate_gradient_width": THRESHOLD,
    })  # fmt: skip
    reads = nest.Create("eprop_readout_bsshslm_2020", OUT, {**common, "tau_m": TAU_OUT, "loss": "mean_squared_error"})
    generators, parrots = nest.Create("spike_generator", INPUTS), nest.Create("parrot_neuron", INPUTS)
    rates = nest.Create("step_rate_generator", OUT)
    meters = nest.Create("multimeter", {
        "interval": 1.0, "record_from": ["V_m", "surrogate_gradient", "learning_signal"],
    })  # fmt: skip

    syn = {"synapse_model": "eprop_synapse_bsshslm_2020", "delay": 1.0, "tau_m_readout": TAU_OUT}
    nest.SetDefaults("eprop_synapse_bsshslm_2020", {
        "optimizer": {"type": "gradient_descent", "batch_size": 1, "eta": ETA, "Wmin": -100.0, "Wmax": 100.0},
        "average_gradient": False,
    })  # fmt: skip
    every = {"rule": "all_to_all", "allow_autapses": False}
    nest.Connect(generators, parrots, "one_to_one", {"delay": 1.0})
    nest.Connect(parrots, hidden, every, {**syn, "weight": into.T})
    nest.Connect(hidden, hidden, every, {**syn, "weight": among.T})
    nest.Connect(hidden, reads, every, {**syn, "weight": out.T})
    nest.Connect(reads, hidden, every, {
        "synapse_model": "eprop_learning_signal_connection_bsshslm_2020", "delay": 1.0, "weight": out,
    })  # fmt: skip
    nest.Connect(rates, reads, "one_to_one", {
        "synapse_model": "rate_connection_delayed", "delay": 1.0, "receptor_type": 2,
    })  # fmt: skip
    nest.Connect(meters, hidden)
    # NEST updates at the first spike after a frame's end: inputs repeat, so that there is one by each synapse.
    times = [np.flatnonzero(np.tile(shown[:, k], 2)) + 1.0 for k in range(INPUTS)]
    nest.SetStatus(generators, [{"spike_times": t} for t in times])
    grid = np.arange(2 * STEPS) + 2.0
    nest.SetStatus(rates, [
        {"amplitude_times": grid, "amplitude_values": np.tile(target[:, k], 2)} for k in range(OUT)
    ])  # fmt: skip

    def weights(source: Any, goal: Any) -> Any:
        """(sources, goals)."""
        found = np.zeros((len(source), len(goal)))
        got = nest.GetConnections(source, goal).get(["source", "target", "weight"])
        for a, b, w in zip(got["source"], got["target"], got["weight"], strict=True):
            found[source.tolist().index(a), goal.tolist().index(b)] = w
        return found.tolist()

    pairs = {"into": (parrots, hidden), "among": (hidden, hidden), "read": (hidden, reads)}
    before = {name: weights(*pair) for name, pair in pairs.items()}
    nest.Simulate(2.0 * STEPS)
    after = {name: weights(*pair) for name, pair in pairs.items()}
    seen = meters.get("events")
    order = np.lexsort((seen["senders"], seen["times"]))
    v, signal = (np.asarray(seen[name])[order].reshape(-1, HIDDEN) for name in ("V_m", "learning_signal"))
    # A spike is in the potential 2 steps after it was shown, and the learning signal that it causes there after 3 more.
    v, signal = v[2 : STEPS + 2], signal[5 : STEPS + 5]
    found = {
        "nest": nest.__version__, "eta": ETA, "tau": TAU, "tau_out": TAU_OUT, "threshold": THRESHOLD, "beta": BETA,
        "shown": shown.astype(int).tolist(), "into": before["into"], "among": before["among"], "v": v.tolist(),
        "learning_signal": signal.tolist(),
        "gradient": {
            name: ((np.array(after[name]) - np.array(before[name])) / -ETA).tolist() for name in ("into", "among")
        },
    }  # fmt: skip
    with open(place, "w", encoding="ascii") as file:
        json.dump(found, file)
        file.write("\n")


if __name__ == "__main__":
    main(sys.argv[1])
