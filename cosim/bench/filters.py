"""``[filters.NAME]`` of a bench: which trains of spikes go into its circuit, and which current they leave in it.

`cosim.surrogate.filter_bench` sends random trains of spikes through it, and fits a filter to the waveform.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pydantic

from cosim.bench.maps import known
from cosim.bench.neurons import check_transient, rising
from cosim.bench.stimulus_kinds import Spikes
from cosim.errors import InputError, at
from cosim.schema import Second, Table

if TYPE_CHECKING:
    from cosim.bench.file import BenchFile

MOST_INPUTS = 4  # of which every combination is a level


class FilterFile(Table):
    """A filter of the circuit, for surrogates: one state under spikes.

    Args:
        analysis: a transient, whose step and parameters are taken; default: the only one.
        stimuli: of kind "spikes"; their width, edge and amplitude are those of an input spike. Every combination of
            those that are up is a level of the filter's input.
        state: the current that they leave, e.g. ``i(vout)``, above zero at all times.
        tau: a first guess of its time constant, which is fitted; a rest is compared at least as often.
        intervals: the shortest interval between spikes of an input, and the longest mean interval of a train.
    """

    analysis: str | None = None
    stimuli: tuple[str, ...] = pydantic.Field(min_length=1, max_length=MOST_INPUTS)
    state: str
    tau: Second = pydantic.Field(gt=0.0)
    intervals: tuple[Second, Second]

    _rising = pydantic.field_validator("intervals")(rising)


def check_filter_entry(file: BenchFile, name: str, given: FilterFile) -> None:
    """Raises `InputError` for a filter that its bench cannot have, with the keys of what is wrong."""
    check_transient(file, f"filter {name!r}", given.analysis)
    with at("stimuli"):
        if len(set(given.stimuli)) < len(given.stimuli):
            raise InputError(f"a stimulus of filter {name!r} is named twice", remedy="name each once")
        for stimulus in given.stimuli:
            known(f"stimulus of filter {name!r}", stimulus, file.stimuli)
            train = file.stimuli[stimulus]
            if not isinstance(train, Spikes):
                raise InputError(f"{stimulus} is not a train of spikes", remedy='take a stimulus of kind "spikes"')
            if not train.width + 2.0 * train.edge < given.intervals[0]:
                raise InputError(
                    f"a spike of {stimulus} is longer than the shortest interval", remedy="write a longer interval"
                )
