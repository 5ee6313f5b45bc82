"""The constants of `cosim.network.systems.stc`: the source's network, what it leaves out, and what suits ten digits."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from types import MappingProxyType
from typing import Any, Self

from cosim.devices.base import Values
from cosim.errors import InputError, UnknownName, require_finite
from cosim.network.neurons import whole_steps
from cosim.network.systems import stc_constants, stc_listing
from cosim.network.systems.stc_listing import Listing, Unit
from cosim.network.systems.stc_loop import Neurons
from cosim.network.systems.stc_synapse import EXPONENTIAL, LINEAR, Constants
from cosim.parameters import ParameterSet

LAWS: Mapping[str, str] = MappingProxyType(
    {
        "equations": "the differential equations with the literature's constants, in closed form",
        "circuit": "the source's circuit model with listing A's constants, in closed form",
        "reduced": "the model fitted to the transistor-level waveforms at listing A's biases",
        "listing": "listing A as it is printed, in steps of 1 ms",
    }
)
TEACHING = ("always", "mistakes")
# The threshold of listing A, in its own volts: a spike adds its weight over tau_m without a time step.
LISTING_THRESHOLD = 70.0
# Of the early phase before the late one is tested: our choice.
LEFT = 0.01
# By which a spike raises listing A's calcium (A).
LISTING_STEP = 15e-12
# Of both time constants, Sec. 3.3.2; listing A's constants are the accelerated ones.
ACCELERATED = 32.0


@dataclass(frozen=True)
class StcSettings:
    """The network's constants (SI); no constant of a synapse is among them.

    Args:
        law: of the synapses, one of `LAWS`.
        mends: what is mended of ``listing`` (`cosim.network.systems.stc_listing.MENDS`).
        teaching: "always": every image is learned (source); "mistakes": those that the network answers wrongly (our
            choice).
        tails: scale of both tail currents, with γ_p and γ_d in place of them in ``equations``; 1 is the source's.
        acceleration: of recovery and consolidation; the source's late phase is trained with 32.
        rate, shown, gap: largest rate of a pixel (Hz), presentation and pause (s).
        stimulus: current (A) into the neuron of the image's class; the others are held at their reset potential.
        spike: length (s) of a spike's current into the calcium integrator; None: what makes listing A's step of 15 pA.
        tau_m, resistance, rest, reset, threshold, refractory: the neuron's; its threshold is the literature's, since
            the source's 70 belongs to no unit of its table, and so is the refractory time; the source's 0.1 ms is less
            than a time step. A spike is scaled so that the same sum of weights fires.
        late_after: pause (s) before the late phase is tested; None: until of a weight at a rail a hundredth of the
            early phase is left (`pause`), in which time every tag has gone out.

    >>> settings = cosim.StcSettings(law="equations")
    >>> settings.with_(acceleration=32.0).law
    'equations'
    """

    law: str = "circuit"
    mends: tuple[str, ...] = ()
    teaching: str = "always"
    tails: float = 1.0
    acceleration: float = 1.0
    rate: float = 40.0
    shown: float = 0.15
    gap: float = 0.2
    stimulus: float = 1e-9
    spike: float | None = None
    tau_m: float = 0.01
    resistance: float = 1e7
    rest: float = -0.065
    reset: float = -0.07
    threshold: float = -0.055
    refractory: float = 2e-3
    late_after: float | None = None
    dt: float = 1e-3

    def __post_init__(self) -> None:
        require_finite(self)
        if self.law not in LAWS:
            raise UnknownName("law of the synapse", self.law, LAWS)
        if self.teaching not in TEACHING:
            raise UnknownName("way of teaching", self.teaching, TEACHING)
        if self.law != "listing" and self.mends:
            raise InputError(
                f"the law {self.law} has nothing to mend", remedy="leave the mends out, or take the law listing"
            )
        if self.law == "listing" and (self.teaching != "always" or self.tails != 1.0):
            raise InputError(
                "the listing learns every image with its own tail currents", remedy="take the law circuit instead"
            )
        if self.law == "listing" and self.acceleration not in (1.0, ACCELERATED):
            raise InputError(
                f"the listing is accelerated by 1 or {ACCELERATED:g}, not {self.acceleration:g}",
                remedy="take the law circuit instead",
            )
        if self.law == "listing" and self.dt != stc_listing.DT:
            raise InputError(f"the listing's time step is {stc_listing.DT:g} s, not {self.dt:g} s")
        if min(self.tails, self.acceleration, self.rate, self.tau_m, self.resistance, self.width) <= 0.0:
            raise InputError("scales, rates and time constants have to be above zero")
        if not 0.0 < self.dt <= self.shown or min(self.gap, self.refractory, self.late_after or 0.0) < 0.0:
            raise InputError("the times of the network do not fit its time step", remedy="give times >= dt > 0")
        for name in ("shown", "gap"):
            whole_steps(1e3 * getattr(self, name), 1e3 * self.dt, f"the time {name}")
        if not self.reset <= self.rest < self.threshold:
            raise InputError("a neuron needs reset <= rest < threshold")

    def fingerprint(self) -> str:
        """SHA-256 of all values."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()

    def with_(self, **changes: Any) -> Self:
        """A copy with some values changed."""
        return replace(self, **changes)

    @property
    def width(self) -> float:
        """Length (s) of a spike's current into the calcium integrator."""
        if self.spike is not None:
            return self.spike
        return stc_constants.spike_width(ParameterSet.load("stc_synapse:listing_a").resolved(), step=LISTING_STEP)

    def steps(self, time: float) -> int:
        """How many time steps ``time`` (s) takes."""
        return round(time / self.dt)

    def neurons(self, k: Constants) -> Neurons:
        """The output neurons' constants; a spike adds ``jump`` per volt of the circuit's weight."""
        to_fire = (LISTING_THRESHOLD - self.rest) * self.tau_m  # V of weights that spike together
        scale = beta(k.h0)
        return Neurons(
            dt=self.dt,
            leak=math.exp(-self.dt / self.tau_m),
            jump=(self.threshold - self.rest) / to_fire * scale,
            reset=self.reset - self.rest,
            refractory=max(self.refractory / self.dt, 1.0),
        )


def beta(h0: float) -> float:
    """The source's β: weights of the literature (V) over those of a synapse whose reference is ``h0`` (V)."""
    return float(ParameterSet.load("stc_equations:literature").resolved().h0) / h0


def parameters(settings: StcSettings) -> ParameterSet:
    """The set of the synapses before it is scaled."""
    names = {"equations": "stc_equations:literature", "reduced": "stc_synapse:transistor_network"}
    return ParameterSet.load(names.get(settings.law, "stc_synapse:listing_a"))


def synapse(settings: StcSettings) -> Constants:
    """The constants of the synapses in closed form, scaled and accelerated as the settings say."""
    p, a = parameters(settings).resolved(), settings.acceleration
    if settings.law == "equations":
        k = stc_constants.equations(p.with_(gamma_p=p.gamma_p * settings.tails, gamma_d=p.gamma_d * settings.tails))
        return k._replace(rate_up=k.rate_up * a, rate_down=k.rate_down * a, consolidation=k.consolidation * a)
    printed = ParameterSet.load("stc_synapse:published").resolved()
    p = p.with_(
        i_tail_p=p.i_tail_p * settings.tails, i_tail_d=p.i_tail_d * settings.tails, acceleration=a,
        tau_z=printed.tau_z / a,
    )  # fmt: skip
    if settings.law == "reduced":
        return stc_constants.reduced(p, width=settings.width)
    return stc_constants.circuit(p.with_(i_hrm=printed.i_hrm), width=settings.width)


def pause(settings: StcSettings) -> float:
    """How long (s) the network rests before its late phase is tested."""
    if settings.late_after is not None:
        return settings.late_after
    k, found = synapse(settings), 0.0
    for rate, far in ((k.rate_down, k.high - k.rest), (k.rate_up, k.rest - k.low)):
        if k.recovery_shape == LINEAR:
            found = max(found, far * (1.0 - LEFT) / rate)
        elif k.recovery_shape == EXPONENTIAL:
            found = max(found, -math.log(LEFT) / rate)
        else:  # sinh falls exponentially; of a large argument it is e^x / 2
            x = far / k.width
            ratio = x - math.log(2.0) if x > 300.0 else math.log(math.sinh(x))
            found = max(found, (ratio - math.log(math.sinh(LEFT * x))) * k.width / rate)
    return found


def listing(settings: StcSettings) -> tuple[Listing, Unit]:
    """The constants of the law ``listing``."""
    p, printed = parameters(settings).resolved(), ParameterSet.load("stc_synapse:published").resolved()
    if settings.acceleration != ACCELERATED:
        p = p.with_(i_hrm=printed.i_hrm, tau_z=printed.tau_z)
    made = stc_listing.constants(
        p, beta=beta(float(p.h0)), width=settings.width, mends=settings.mends, printed=Values(printed)
    )
    stimulus = settings.stimulus * settings.resistance
    return made, Unit(settings.tau_m, settings.rest, settings.reset, LISTING_THRESHOLD, stimulus)


def stc_preset(digits: int, law: str = "circuit") -> StcSettings:
    """What suits so many digits: the source's network for two; for more, our choice (module docstring of the system).

    The literature's thresholds need some 230 postsynaptic spikes a second to potentiate, which ten times the stimulus
    makes. Tail currents of 0.07 leave the fewest mistakes on the last of 30 000 training images of MNIST (16 %; 21 %
    with 0.1 and 0.15).

    >>> cosim.stc_preset(10).tails, cosim.stc_preset(2).tails
    (0.07, 1.0)
    """
    settings = StcSettings(law=law, stimulus=1e-8 if law == "equations" else 1e-9)
    if digits > 2 and law != "listing":
        settings = settings.with_(teaching="mistakes", tails=0.07)
    return settings
