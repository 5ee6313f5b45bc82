"""Every limit of the shipped benches that is called the source's names the place, and leaves nothing of it to us."""

import re

import pytest

from cosim.bench.testbench import Testbench
from cosim.resources import listing

# A place in the source, or the year of a publication that is cited as a whole.
PLACE = re.compile(r"Secs?\. |§|Eqs?\. |Figs?\. |Table \d|\babstract\b|\btext\b|\blisting\b|\(\w+ (19|20)\d\d\)")
OURS = re.compile(r"our choice|our reading|we ask|we allow|\(script\)|closed form|scipy|read back")


@pytest.mark.parametrize("name", [path.stem for path in listing("netlists", ".toml")])
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
