"""Closed forms of the transistors that STC's and ECRAM's circuits share: BSIM4, 4.1 nm, 2e17 /cm³, typed anew."""

from __future__ import annotations

import math

from reference.oracles.base import Oracles, Table, around

U_T = 1.380649e-23 * 300.15 / 1.602177e-19
EPS_0, EPS_OX, EPS_SI, Q = 8.854188e-12, 3.9, 11.7, 1.602177e-19
T_OX, DOPING, N_I, N_FACTOR = 4.1e-9, 2e23, 1.45e16, 1.9  # m, /m³, /m³, 1
C_OX = EPS_OX * EPS_0 / T_OX  # F/m²
OVERLAP = 3e-10  # F/m, at source and at drain
JUNCTION, SIDE = 1e-3, 5e-10  # F/m² (card), F/m (BSIM4's default)
PHI = 0.4 + U_T * math.log(DOPING / N_I)  # V
LVT, HVT = (1e-6, 1e-6), (0.42e-6, 2e-6)  # W, L


def node(gates: float, widths: float, areas: float = 0.0, perimeters: float = 0.0) -> float:
    """At most what transistors add to a node (F): gates (m²), widths that overlap (m), junctions (m², m)."""
    return C_OX * gates + OVERLAP * widths + JUNCTION * areas + SIDE * perimeters


def narrow(width: float) -> float:
    """By how much (V) BSIM4's defaults (k3 80, w0 2.5 um) raise the threshold of a narrow channel."""
    return 80.0 * T_OX / (width + 2.5e-6) * PHI


def alone() -> Oracles:
    """Subthreshold currents 79.2 mV apart, a threshold 0.1 V higher, gates as capacitors of silicon dioxide."""
    n = 1.0 + N_FACTOR * math.sqrt(EPS_SI * EPS_0 * Q * DOPING / (2.0 * PHI)) / C_OX
    ratio = LVT[0] / LVT[1] / (HVT[0] / HVT[1]) * math.exp((0.1 + narrow(HVT[0]) - narrow(LVT[0])) / (n * U_T))
    found = {f"over_{kind}h": around(ratio, 0.15) for kind in ("n", "p")}
    for kind, (width, length) in (("n", LVT), ("nh", HVT), ("p", LVT), ("ph", HVT)):
        found[f"per_decade_{kind}"] = around(math.exp(79.2e-3 / (n * U_T)), 0.03)
        found[f"capacitance_{kind}"] = around(node(width * length, 2.0 * width), 0.1)
    return found


ORACLES: Table = {"stc_transistors": alone}
