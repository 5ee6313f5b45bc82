"""What the shipped benches call the source's names the place; what they call an oracle's is computed anew."""

import re

import pytest

from cosim.bench.testbench import Testbench
from cosim.resources import listing
from reference.oracles import ORACLES

# A place in the source, or the year of a publication that is cited as a whole.
PLACE = re.compile(r"Secs?\. |§|Eqs?\. |Figs?\. |Table \d|\babstract\b|\btext\b|\blisting\b|\(\w+ (19|20)\d\d\)")
OURS = re.compile(r"our choice|our reading|we ask|we allow|\(script\)|closed form|scipy|read back")


NAMES = [path.stem for path in listing("netlists", ".toml")]
ROUNDING = 0.05  # of the distance between both edges, or of a single edge's tolerance: limits have three or four digits


@pytest.mark.parametrize("name", NAMES)
def test_what_the_source_states_is_its_own(name: str) -> None:
    wrong = {}
    for key, limit in Testbench.load(name).file.limits.items():
        if limit.origin != "source":
            continue
        if found := OURS.search(limit.reason):
            wrong[key] = f"{found[0]!r} is not the source's"
        elif not PLACE.search(limit.reason):
            wrong[key] = f"no place in {limit.reason!r}"
    assert not wrong


@pytest.mark.parametrize("name", NAMES)
def test_what_an_oracle_states_is_computed(name: str) -> None:
    """Every limit of that origin follows from a function of `reference.oracles`, by the tolerance that it states."""
    file = Testbench.load(name).file
    claimed = {key: limit for key, limit in file.limits.items() if limit.origin == "oracle"}
    found = ORACLES[name]() if name in ORACLES else {}
    assert claimed.keys() == found.keys(), "limits of origin oracle, and what is computed"
    wrong = {}
    for key, oracle in found.items():
        limit = claimed[key]
        edges, computed = limit.span(file.measures[key].unit), (oracle.low, oracle.high)
        ends = [edge for edge in computed if edge is not None]
        width = ends[1] - ends[0] if len(ends) == 2 else max(abs(ends[0]), 1e-3)
        for edge, own in zip(edges, computed, strict=True):
            if (edge is None) != (own is None) or (edge is not None and abs(edge - own) > ROUNDING * width):
                wrong[key] = f"{edges} should be {computed}"
        if oracle.share is not None and f"{100 * oracle.share:g} %" not in limit.reason:
            wrong[key] = f"the reason does not name {100 * oracle.share:g} %: {limit.reason}"
    assert not wrong


def test_every_oracle_belongs_to_a_bench() -> None:
    assert ORACLES.keys() <= set(NAMES)
