"""Every claim by its name."""

from __future__ import annotations

from cosim.claims.base import Claim
from cosim.claims.campaign import CAMPAIGN
from cosim.claims.engines import ENGINES
from cosim.claims.heat import HEAT
from cosim.claims.hostile import HOSTILE
from cosim.claims.kills import KILLS_CLAIM
from cosim.claims.line import LINE
from cosim.claims.mnist import MNIST
from cosim.claims.overhead import OVERHEAD
from cosim.claims.rare import RARE

CLAIMS: dict[str, Claim] = {
    claim.name: claim for claim in (LINE, ENGINES, OVERHEAD, CAMPAIGN, KILLS_CLAIM, RARE, HOSTILE, MNIST, HEAT)
}
