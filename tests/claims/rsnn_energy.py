"""What a thermal synapse draws in a time step, by SPICE and a surrogate that is certified against it (arXiv 2411.18272,
Table 1), in the small network of `claims.rsnn`.

``./run measure rsnn_energy`` writes ``cosim-out/rsnn/energy.html``, with the source's Table 1 beside.
"""

from __future__ import annotations

from dataclasses import asdict

from claims.base import Claim, Figures, Report
from claims.rsnn import COLD, FOLDER, PIECES, SEEDS, SMALL_SENTENCES, system
from cosim.data.speech import stand_in
from cosim.engines.registry import open_simulator
from cosim.network.run import Streams
from cosim.network.systems.rsnn_energy import measured_energy, use
from cosim.report.html import Report as Page
from cosim.surrogate.base import LIMITS

METERED = 20  # pieces by which the energy is
TABLE_1 = {  # J per time step, of one synapse
    "PCM and its drift (Demirag 2021)": "~1 nJ", "CMOS (Frenkel 2022)": "1.5-178 nJ",
    "PCM and CMOS (Bohnstingl 2022)": "29 nJ", "optical PCM (Sarwat 2021)": "~mJ", "thermal (the source)": "5 pJ",
}  # fmt: skip


def measure(tell: Report) -> Figures:
    """Of a cell and a pair of the circuit, and of a pair in the trained network of the first seed; minutes."""
    tell("energy of the circuit")
    kept = FOLDER / "parts" / "frames.npz"
    kept.parent.mkdir(parents=True, exist_ok=True)
    with open_simulator() as simulator:
        circuit = measured_energy(
            simulator, kept=kept, tell=lambda done, of: tell(f"frames of the circuit: {done} of {of}")
        )
    one = system(COLD, stand_in(SMALL_SENTENCES, tell=tell).pieces(PIECES))
    run = one.start(Streams(SEEDS[0]))
    for batch in range(len(one.batches)):
        tell(f"energy of the network: {batch} of {len(one.batches)}")
        run.learn(batch)
    used, held = use(run, METERED), circuit.certificate
    span = held.domain.states["w"]
    figures: Figures = {
        "energy_of_a_cell": circuit.worst,
        "energy_off": circuit.off,
        "heat_off": held.errors["eligibility"].max_percent / 100.0,
        "held_out_frames": held.pulses,
        "w_beyond": used.beyond(span),
        "energy_of_a_pair": circuit.worst_pair,
        "of_a_network_pair": circuit.of_step(used),
        "network": asdict(used),
        "s_step_of_the_bench": circuit.period,
        "J_per_K": circuit.per_kelvin,
        "certificate": {
            "against": held.against, "frames": held.pulses, "data": held.data, "netlist": held.netlist,
            "missed": list(held.broken),
            "states": {name: list(span) for name, span in held.domain.states.items()},
            "off": {name: error.max_percent / 100.0 for name, error in held.errors.items()},
        },
    }  # fmt: skip
    page = Page("Energy of a thermal synapse", "arXiv 2411.18272, Sec. 5.2 and Table 1")
    told = {
        **TABLE_1,
        "time of a step": f"{circuit.period * 1e9:g} ns in the bench; the source's 10 ns in the network",
        "one cell, worst case, with a write": f"{circuit.worst * 1e12:.2f} pJ",
        "a pair, worst case, with a write": f"{circuit.worst_pair * 1e12:.2f} pJ",
        "a pair in the trained network": f"{figures['of_a_network_pair']['all'] * 1e12:.3f} pJ"
        + "".join(f"; its surrogate misses a limit: {one}" for one in held.broken),
    }
    page.table(("energy per time step", "Table 1 of the source, and here"), list(told.items()))
    page.text(
        f"Joules per kelvin are the largest at w of {span[0]:g} to {span[1]:g}, where held-out frames tested them; the "
        f"mean w of the network is {used.w:.2g}, and 98 % of its devices are at {used.span[0]:.2g} to "
        f"{used.span[1]:.2g}. They are those of a surrogate with this certificate:"
    )
    page.table(("certificate",), [(line,) for line in held.lines()])
    page.write(FOLDER / "energy.html")
    return figures


RSNN_ENERGY = Claim(
    "rsnn_energy",
    "A thermal synapse takes at most the source's 5 pJ in a time step with a read, an e-update and a write",
    measure,
    {
        "energy_of_a_cell": (None, 5e-12),  # Table 1
        "energy_off": (
            None,
            LIMITS["energy"],
        ),  # as of any surrogate's certificate; both are what joules per kelvin take
        "heat_off": (None, LIMITS["state"]),
        "held_out_frames": (100, None),
        "w_beyond": (None, 0.0),  # the mean w and 98 % of the devices are where the surrogate is certified
    },
)
