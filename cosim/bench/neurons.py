"""``[neurons.NAME]`` of a bench: where its circuit takes spikes in and gives spikes out.

`cosim.surrogate.neuron_bench` sends random trains of spikes through it, and learns an event neuron from the waveforms.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pydantic

from cosim.bench.maps import known
from cosim.bench.stimulus_kinds import Spikes
from cosim.errors import InputError, at
from cosim.schema import Second, Table, Volt

if TYPE_CHECKING:
    from cosim.bench.file import BenchFile


def rising(given: tuple[float, float]) -> tuple[float, float]:
    """The shortest interval and the longest mean; raises `InputError` where they leave no room."""
    if not 0.0 < 2.0 * given[0] <= given[1]:
        raise InputError(
            f"the intervals {given[0]:g} s and {given[1]:g} s leave no room for random trains",
            remedy="write the shortest interval, above zero, and a mean of at least twice as much",
        )
    return given


class NeuronFile(Table):
    """A neuron of the circuit, for event surrogates.

    Args:
        analysis: a transient, whose step and parameters are taken; default: the only one.
        stimulus: of kind "spikes"; its width, edge and amplitude are those of an input spike.
        membrane: the vector that integrates the input, e.g. ``v(mem)``.
        output: the vector whose rise through ``level`` is an output spike.
        level: of the output.
        reset: the vector that holds the membrane at its reset while it is above ``reset_level``.
        reset_level: of ``reset``.
        stage: the vector between membrane and output that remembers an input, and falls to a spike, e.g. the node
            behind the first inverter.
        facilitation: a share (0..1) that each input raises and that falls between them, e.g. a synapse's; default:
            none.
        supplies: pairs of a voltage and the current of the source that gives it, whose energy counts.
        drive: the same of the input's driver; only what it gives counts.
        options: of the simulator for the trains, over the bench's: where an input ends next to the threshold, its
            spike is as late as the tolerances make it.
        intervals: the shortest interval between inputs, and the longest mean interval of a train.
    """

    analysis: str | None = None
    stimulus: str
    membrane: str
    output: str
    level: Volt
    reset: str
    reset_level: Volt
    stage: str
    facilitation: str = ""
    supplies: tuple[tuple[str, str], ...] = pydantic.Field(min_length=1)
    drive: tuple[str, str] | None = None
    options: dict[str, float | str] = pydantic.Field(default_factory=dict)
    intervals: tuple[Second, Second]

    _rising = pydantic.field_validator("intervals")(rising)

    @pydantic.model_validator(mode="before")
    @classmethod
    def _staged(cls, given: Any) -> Any:
        if isinstance(given, dict) and "stage" not in given:
            raise InputError(
                "a neuron does not say which of its vectors remembers an input between membrane and output",
                remedy='name the node behind the first inverter, e.g. stage = "v(xn.n1)"',
            )
        return given

    @property
    def vectors(self) -> list[str]:
        """Every vector that it needs, once."""
        found = [self.membrane, self.stage, self.output, self.reset, *(name for pair in self.supplies for name in pair)]
        found += [*(self.drive or ()), *([self.facilitation] if self.facilitation else [])]
        return list(dict.fromkeys(found))


def check_transient(file: BenchFile, whose: str, analysis: str | None) -> None:
    """Raises `InputError` unless the analysis of a neuron or a filter is named where there are several, and fits."""
    if analysis is None and len(file.plan) > 1:
        raise InputError(f"{whose} does not say which analysis to take", remedy=f"one of {', '.join(file.plan)}")
    with at("analysis"):
        chosen = analysis or next(iter(file.plan))
        known(f"analysis of {whose}", chosen, file.plan)
        if file.plan[chosen].kind != "tran":
            raise InputError(f"the analysis {chosen!r} of {whose} is not a transient", remedy="name one that is")


def check_neuron_entry(file: BenchFile, name: str, given: NeuronFile) -> None:
    """Raises `InputError` for a neuron that its bench cannot have, with the keys of what is wrong."""
    check_transient(file, f"neuron {name!r}", given.analysis)
    with at("stimulus"):
        known(f"stimulus of neuron {name!r}", given.stimulus, file.stimuli)
        if not isinstance(file.stimuli[given.stimulus], Spikes):
            raise InputError(f"{given.stimulus} is not a train of spikes", remedy='take a stimulus of kind "spikes"')
