"""Every claim by its name."""

from __future__ import annotations

from claims.base import Claim
from claims.campaign import CAMPAIGN
from claims.coverage_claim import COVERAGE
from claims.dialects import DIALECTS
from claims.ecram import ECRAM
from claims.engines import ENGINES
from claims.exports import EXPORTS
from claims.fits import FITS_CLAIM
from claims.folder import FOLDER
from claims.heat import HEAT
from claims.hostile import HOSTILE
from claims.kills import KILLS_CLAIM
from claims.line import LINE
from claims.maze_speed import MAZE_SPEED
from claims.mnist import MNIST
from claims.mutations import MUTATIONS
from claims.neohebbian import NEOHEBBIAN
from claims.netlist_fit import NETLIST_FIT
from claims.next_measurement import NEXT
from claims.overhead import OVERHEAD
from claims.quantumdot import QUANTUMDOT
from claims.rare import RARE
from claims.rsnn import RSNN
from claims.rsnn_energy import RSNN_ENERGY
from claims.speed import SPEED
from claims.stc import STC
from claims.strd import STRD
from claims.surrogates_cells import SURROGATES
from claims.surrogates_kinds import SURROGATE_KINDS
from claims.vdsp import VDSP
from claims.vdsp_fresh import VDSP_FRESH
from claims.vdsp_pulses import VDSP_PULSES
from claims.vdsp_rules import VDSP_RULES
from claims.wires import WIRES_CLAIM
from claims.wires_accuracy import WIRES_ACCURACY

CLAIMS: dict[str, Claim] = {
    claim.name: claim
    for claim in (
        LINE, ENGINES, OVERHEAD, CAMPAIGN, KILLS_CLAIM, RARE, HOSTILE, MNIST, HEAT, MUTATIONS, FOLDER, NEXT, STRD,
        NETLIST_FIT, COVERAGE, FITS_CLAIM, SURROGATES, SURROGATE_KINDS, WIRES_CLAIM, EXPORTS, SPEED, STC, VDSP,
        VDSP_PULSES, VDSP_FRESH, VDSP_RULES, NEOHEBBIAN, WIRES_ACCURACY, QUANTUMDOT, ECRAM, DIALECTS, RSNN,
        RSNN_ENERGY, MAZE_SPEED,
    )
}  # fmt: skip
