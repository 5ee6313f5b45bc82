"""From a `Deck` to what an engine is given: read, checked, flattened, with its options and saved vectors as cards."""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cosim.errors import MissingFile, NetlistError, NetlistRefused, Where
from cosim.spice import hazards
from cosim.spice.diagnose import check_expansion
from cosim.spice.floating import check_floating
from cosim.spice.instances import check_instances
from cosim.spice.netlist import Analysis, Netlist, check, read_text
from cosim.spice.saved import check_vectors
from cosim.spice.simulator import Deck

# ngspice seeds agauss and its kin anew in each process unless the deck says how; setseed in a start-up file does not.
SEED = ".options seed=1"


@dataclass(frozen=True)
class Prepared:
    """A deck ready for an engine.

    ``text`` is self-contained; ``places[i]`` is where its row ``i`` (from 0) came from. ``osdi`` are absolute paths of
    existing files. ``measures`` are the names of its ``.meas`` cards. ``lasting``: one of its options could stay set
    in an engine that runs more than one deck. ``reads`` are the data files that its code models read.
    """

    text: str
    places: tuple[Where, ...]
    circuit: Netlist
    analyses: tuple[Analysis, ...]
    osdi: tuple[str, ...]
    measures: tuple[str, ...]
    lasting: bool = False
    reads: tuple[str, ...] = ()

    def place(self, row: int) -> Where | None:
        """Where row ``row`` (from 1, as engines count) came from."""
        return self.places[row - 1] if 0 < row <= len(self.places) else None


# Cards that give numbers and no structure.
_NUMBERS = frozenset({".param", ".params", ".para", ".csparam", ".options", ".option", ".opt", ".temp", ".save"})
_KEPT = 16
_sound: dict[tuple[str, ...], None] = {}


def _check_structure(netlist: Netlist, deck: Deck) -> None:
    """What does not depend on numbers is looked at once for decks that differ by nothing else: those of a campaign."""
    structure = (*deck.save, "", *(line.text for line in netlist.lines if line.card not in _NUMBERS))
    if structure in _sound:
        return
    check_expansion(netlist)
    check_floating(netlist)
    check_vectors(netlist, deck.save, deck.asked)
    with contextlib.suppress(KeyError, StopIteration):  # another thread may have made room
        while len(_sound) >= _KEPT:
            del _sound[next(iter(_sound))]
    _sound[structure] = None


def fingerprint(deck: Deck) -> str:
    """SHA-256 of the deck as an engine sees it, included files and compiled models with it: for caches and campaigns.

    Comments, line ends and the title do not count. Raises as `prepare` does.
    """
    prepared = prepare(deck)
    digest = hashlib.sha256(prepared.text.encode())
    for path in prepared.osdi:
        digest.update(hashlib.sha256(Path(path).read_bytes()).digest())
    return digest.hexdigest()


def cards_of(deck: Deck) -> list[str]:
    """``deck.options`` and ``deck.save`` as cards. Raises `NetlistRefused` for what is neither option nor vector."""
    rows = []
    for name, value in deck.options.items():
        hazards.check_option(name, value)
        rows.append(f".options {name}" if value is True or value == "" else f".options {name}={_written(value)}")
    for vector in deck.save:
        hazards.check_saved(vector)
    rows += [f".save {vector}" for vector in deck.save]
    return rows


def _written(value: float | str) -> str:
    return value if isinstance(value, str) else repr(float(value)) if isinstance(value, float) else str(value)


def _option_names(netlist: Netlist, deck: Deck) -> set[str]:
    cards = netlist.cards(".options", ".option", ".opt")
    written = (name for card in cards for name, _ in hazards.options_of(card))
    return {name.lower() for name in (*deck.options, *written)}


def prepare(deck: Deck, *, drop: Iterable[str] = ()) -> Prepared:
    """Read, check and flatten ``deck``. Raises what `read_text` and `check` raise."""
    read = check(read_text(deck.text, source=deck.source, roots=deck.roots, rows=deck.rows))
    _check_structure(read, deck)
    check_instances(read, deck.devices)
    analyses = read.analyses()
    if not analyses:
        raise NetlistError(
            "the netlist asks for no analysis", where=Where(deck.source, None), remedy="add a card, e.g. '.tran 1n 1u'"
        )
    cards = cards_of(deck)
    options = _option_names(read, deck)
    if "seed" not in options:
        cards.append(SEED)
    text, places = read.flatten(cards, drop=hazards.DROPPED | frozenset(drop))
    osdi = []
    for path in deck.osdi:
        resolved = path.resolve()
        if not resolved.is_file():
            raise MissingFile(f"compiled model {str(path)!r} does not exist", remedy="compile it first")
        if not re.fullmatch(r"[\w./+@=,:%-]+", str(resolved)):
            raise NetlistRefused(
                f"path {str(resolved)!r} of a compiled model", remedy="use a path without blanks or quotes"
            )
        osdi.append(str(resolved))
    measures = tuple(
        words[2].lower() for line in read.cards(".meas", ".measure") if len(words := line.text.split()) > 2
    )
    lasting = not options <= hazards.PASSING_OPTIONS
    return Prepared(text, places, read, analyses, tuple(osdi), measures, lasting, hazards.data_files(read))
