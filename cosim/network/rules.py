"""Learning rules: small pure functions of what is local to a synapse, called at spikes, in each step, or at the end.

A rule declares arrays of its own: per presynaptic neuron (`Rule.pre`: traces), per postsynaptic one (`Rule.post`), per
synapse (`Rule.states`: eligibility), and sums over the synapses of each postsynaptic neuron (`Rule.sums`). Its hooks
get a `Local` and return, by name, inputs of the cells' event map and new values of its own synaptic arrays. ``when``
among them says which of the synapses have an event; without it all that the hook is called for have one, if there is
any input at all. A sum is the total of what `Rule.on_step` (or `Rule.on_gap`) returns under its name.

In each time step the populations step first. Then, for each projection: `each_pre`, `on_pre` for the presynaptic spikes
that arrive, `on_post` for the postsynaptic ones, `each_post`, and `on_step` for every synapse (all of it every
`Rule.every` steps). So `on_pre` sees the postsynaptic traces of the step before, and `on_post` presynaptic traces with
this step's spikes. All functions take arrays or recording operands, and use no branches.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from types import SimpleNamespace as Named
from typing import Any, ClassVar

from cosim.devices.base import Operand

HOOKS = ("each_pre", "each_post", "on_pre", "on_post", "on_step", "on_end", "on_gap")
WHEN = "when"
Given = Mapping[str, Operand]
_NONE: Mapping[str, float] = MappingProxyType({})


class Side:
    """Quantities by attribute, looked up when they are asked for."""

    __slots__ = ("_look",)

    def __init__(self, look: Callable[[str], Any]) -> None:
        self._look = look

    def __getattr__(self, name: str) -> Any:
        return self._look(name)


Some = Side | Named


class Local:
    """What a synapse knows.

    Attributes:
        pre, post: states of its two neurons, the rule's own arrays of them, ``spike`` (1 where a spike arrives, or
            fires, in this step); of ``post`` also ``signal``, the teaching signal, and the rule's sums.
        own: the rule's arrays per synapse.
        cell: the states of its cell; with a differential pair those of the second one have ``_minus`` in their names.
        weight: as it is read.
        p: `Rule.parameters`.
        now: time in ms since the network began, gaps included.
        random: a standard normal number of its own (of a rule with `Rule.noisy`).
    """

    __slots__ = ("_weight", "cell", "own", "p", "post", "pre")

    def __init__(self, pre: Some, post: Some, own: Some, cell: Some, weight: Callable[[str], Any], p: Named) -> None:
        self.pre, self.post, self.own, self.cell, self.p, self._weight = pre, post, own, cell, p, weight

    @property
    def weight(self) -> Any:
        """As it is read."""
        return self._weight("weight")

    @property
    def now(self) -> Any:
        """Time in ms since the network began."""
        return self._weight("now")

    @property
    def random(self) -> Any:
        """A standard normal number of its own."""
        return self._weight("random")


class Rule:
    """A learning rule (module docstring); a frozen value. What a rule does not override does nothing."""

    pre: ClassVar[Mapping[str, float]] = _NONE
    post: ClassVar[Mapping[str, float]] = _NONE
    states: ClassVar[Mapping[str, float]] = _NONE
    sums: ClassVar[tuple[str, ...]] = ()
    every: int = 1
    noisy: ClassVar[bool] = False

    def parameters(self, dt: float, *, ticks: float = 1.0) -> dict[str, float]:
        """What the hooks find in `Local.p`, for steps of ``dt`` (ms), or one long step of ``ticks`` of them.

        They may change from batch to batch without anything being compiled again.
        """
        return {}

    def each_pre(self, s: Local) -> Given:
        """New values of `pre`, in each step."""
        return {}

    def each_post(self, s: Local) -> Given:
        """New values of `post`, in each step."""
        return {}

    def on_pre(self, s: Local) -> Given:
        """At a presynaptic spike, for each synapse of that neuron."""
        return {}

    def on_post(self, s: Local) -> Given:
        """At a postsynaptic spike, for each synapse of that neuron."""
        return {}

    def on_step(self, s: Local) -> Given:
        """Every `every` steps, for each synapse."""
        return {}

    def on_end(self, s: Local) -> Given:
        """At the end of each presentation, for each synapse."""
        return {}

    def on_gap(self, s: Local) -> Given:
        """Once for the gap after a presentation, for each synapse, with the parameters of its ``ticks``: what as many
        steps without a spike do. A rule with `on_step` needs it.
        """
        return {}

    def has(self, hook: str) -> bool:
        """Whether the rule overrides a hook."""
        return getattr(type(self), hook) is not getattr(Rule, hook)
