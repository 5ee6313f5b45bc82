"""What runs in a netlist or a bench and may not be intended: sentences for the user, none of them an error."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cosim import resources
from cosim.bench.units import not_verified
from cosim.engines.prepare import prepare
from cosim.errors import CosimError, MissingFile, NetlistError
from cosim.language.floating import nodes_of
from cosim.language.netlist import Netlist, read, read_text, source_text

if TYPE_CHECKING:
    from cosim.bench.testbench import Testbench
    from cosim.engines.simulator import Result

_ELEMENT = re.compile(r"[a-z]\w*$", re.IGNORECASE)


def of_netlist(text: str, *, source: Path, roots: Sequence[Path] = ()) -> list[str]:
    """Sentences about the netlist ``text``; none about one that cannot be read, as the engine reports that."""
    try:
        netlist = read_text(text, source=source, roots=roots)
    except (NetlistError, MissingFile):
        return []
    return [*_swallowed(text, netlist), *_fallen_back(text, netlist)]


def of_bench(bench: Testbench) -> list[str]:
    """Sentences about a bench's units and its netlist."""
    return [*not_verified(bench), *_of_netlist_of(bench)]


def _of_netlist_of(bench: Testbench) -> list[str]:
    name = bench.file.netlist
    if name is None or Path(name).is_absolute() or _shipped(bench.folder):
        return []
    beside = bench.folder / name
    if not beside.exists():
        shipped = resources.find("netlists", name)
        return [f"netlist {name!r} is not beside the bench in {bench.folder}: the shipped {shipped} is taken"]
    try:
        netlist = read(beside, roots=bench.allowed)
    except (NetlistError, MissingFile):
        return []
    return list(_fallen_back(source_text(beside), netlist))


def of_deck(bench: Testbench) -> tuple[str, ...]:
    """Sentences about a bench's deck, before anything runs; none about one that is refused."""
    try:
        return prepare(bench.deck()).notes
    except CosimError:
        return ()


def of_random(result: Result) -> list[str]:
    """How the random numbers of a deck that ran were made: held at their means, or drawn, and by which seed."""
    if not result.ok or result.deck is None:
        return []
    deck, ready = result.deck, prepare(result.deck)
    if not ready.random:
        quiet = deck.seed is not None and not ready.noise
        return [f"nothing is random here: seed {deck.seed} changes nothing"] if quiet else []
    line = ready.random[0]
    first = f"{line.where}: {line.text[:60]!r}"
    if not ready.drawn:
        return [f"random functions are held at their means ({first}); cosim run --seed 1 draws them"]
    return [] if deck.seed is not None else [f"random functions are drawn by the seed that the deck sets ({first})"]


def _swallowed(text: str, netlist: Netlist) -> Iterator[str]:
    """An element on the first line, which is the title: its nodes are those of other elements."""
    first = text.partition("\n")[0].strip()
    words = first.split()
    if len(words) < 4 or not _ELEMENT.match(words[0]):
        return
    known = {"0", "gnd"} | {node for line in netlist.lines for node in nodes_of(line)}
    if {word.lower() for word in words[1:3]} <= known:
        yield (
            f"the first line of {netlist.source}, {first!r}, is its title and not part of the circuit; "
            "put a title line above it if it is an element"
        )


def _fallen_back(text: str, netlist: Netlist) -> Iterator[str]:
    """Included files that are not beside the netlist, and were found among those that ship."""
    if netlist.source is None or _shipped(netlist.source.resolve()):
        return
    for path in netlist.files:
        if _shipped(path) and str(path) not in text:
            yield f"{path.name!r} is not beside {netlist.source}: the shipped {path} is taken"


def _shipped(path: Path) -> bool:
    return any(path.is_relative_to(root) for root in resources.shipped_roots())
