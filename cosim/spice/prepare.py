"""From a `Deck` to what an engine is given: read, checked, flattened, with its options and saved vectors as cards."""

from __future__ import annotations

import hashlib
import os
import re
import threading
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cosim.errors import InputError, MissingFile, NetlistError, NetlistRefused, Where
from cosim.files import resolved
from cosim.spice import dialect, fourier, hazards, meas, suffixes
from cosim.spice.diagnose import check_expansion
from cosim.spice.floating import check_floating, shunted
from cosim.spice.fourier import FourierCard
from cosim.spice.instances import check_instances
from cosim.spice.left_out import left_out
from cosim.spice.netlist import Analysis, Line, Netlist, check, read_text
from cosim.spice.saved import check_vectors
from cosim.spice.simulator import Deck

# ngspice seeds agauss and its kin anew in each process unless the deck says how; setseed in a start-up file does not.
SEED = ".options seed=1"


@dataclass(frozen=True)
class Prepared:
    """A deck ready for an engine.

    ``text`` is self-contained; ``places[i]`` is where its row ``i`` (from 0) came from. ``osdi`` are absolute paths of
    existing files. ``measures`` are the names of its ``.meas`` cards. ``lasting``: one of its options could stay set
    in an engine that runs more than one deck. ``reads`` are the data files that its code models read. ``fourier`` are
    its ``.four`` cards. ``notes`` say what is left out of its run, and which numbers may be meant otherwise.
    """

    text: str
    places: tuple[Where, ...]
    circuit: Netlist
    analyses: tuple[Analysis, ...]
    osdi: tuple[str, ...]
    measures: tuple[str, ...]
    lasting: bool = False
    reads: tuple[str, ...] = ()
    fourier: tuple[FourierCard, ...] = ()
    notes: tuple[str, ...] = ()

    def place(self, row: int) -> Where | None:
        """Where row ``row`` (from 1, as engines count) came from."""
        return self.places[row - 1] if 0 < row <= len(self.places) else None


# Cards that give numbers and no structure; of a subcircuit's head that is what stands behind its ports.
_NUMBERS = frozenset({".param", ".params", ".csparam", ".options", ".option", ".opt", ".temp", ".model"})
_HEADS = frozenset({".subckt", ".macro"})
_VALUES = re.compile(r"\bparams:|\S+\s*=", re.IGNORECASE)
_KEPT = 16
_sound: dict[tuple[str, ...], None] = {}
_sound_lock = threading.Lock()


def _structural(line: Line) -> str:
    if line.card in _HEADS and (match := _VALUES.search(line.text)):
        return line.text[: match.start()]
    return line.text


def _check_structure(netlist: Netlist, deck: Deck) -> None:
    """What does not depend on numbers is looked at once for decks that differ by nothing else: those of a campaign."""
    grounded = shunted(netlist, deck.options)
    structure = (*deck.save, str(grounded), *(_structural(line) for line in netlist.lines if line.card not in _NUMBERS))
    with _sound_lock:
        if structure in _sound:
            return
    check_expansion(netlist)
    if not grounded:
        check_floating(netlist)
    check_vectors(netlist, deck.save, deck.asked)
    with _sound_lock:
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
    dropped = frozenset(drop)
    numbers = _Numbers.of(deck, dropped)
    template = None if numbers is None else numbers.template()
    if numbers is not None and template is not None:
        prepared = template.filled(numbers)
        check_instances(prepared.circuit, deck.devices)
        return prepared
    prepared = _prepare(deck, dropped)
    if numbers is not None:
        numbers.keep(prepared)
    return prepared


def _prepare(deck: Deck, drop: frozenset[str]) -> Prepared:
    read = check(read_text(deck.text, source=deck.source, roots=deck.roots, rows=deck.rows))
    _check_structure(read, deck)
    check_instances(read, deck.devices)
    analyses = read.analyses()
    if not analyses:
        raise NetlistError(
            "the netlist asks for no analysis", where=Where(deck.source, None), remedy="add a card, e.g. '.tran 1n 1u'"
        )
    if deck.bench and len(analyses) > 1:
        line = analyses[0].line
        raise NetlistError(
            f"{line.card} in the circuit of a bench, whose analyses are tables of its own", where=line.where,
            remedy=f"remove it, and write [analyses.NAME] with kind = {line.card[1:]!r}",
        )  # fmt: skip
    cards = cards_of(deck)
    asked = () if deck.bench else fourier.cards(read)
    if asked and (deck.save or any(True for _ in read.cards(".save"))):
        cards += [f".save {vector}" for card in asked for vector in card.needed]
    options = _option_names(read, deck)
    if "seed" not in options:
        cards.append(SEED)
    text, places = read.flatten(cards, drop=hazards.DROPPED | drop)
    osdi = []
    for path in deck.osdi:
        model = path.resolve()
        if not model.is_file():
            raise MissingFile(f"compiled model {str(path)!r} does not exist", remedy="compile it first")
        if not re.fullmatch(r"[\w./+@=,:%-]+", str(model)):
            raise NetlistRefused(
                f"path {str(model)!r} of a compiled model", remedy="use a path without blanks or quotes"
            )
        osdi.append(str(model))
    measures = meas.names(read)
    meas.check_autostop(read, deck.options)
    lasting = not options <= hazards.PASSING_OPTIONS
    notes = (*left_out(read, bench=deck.bench), *suffixes.notes(read), *dialect.notes(read))
    reads = hazards.data_files(read)
    return Prepared(text, places, read, analyses, tuple(osdi), measures, lasting, reads, asked, notes)


# The card that a bench writes below its title: names and plain numbers, which cannot be anything else.
_CARD = re.compile(r"\.param(?: [A-Za-z_]\w*=[-+]?\d+(?:\.\d*)?(?:e[-+]?\d+)?)+")
_NUMBER = re.compile(r"=\S+")
_templates: dict[tuple[Any, ...], _Template] = {}
_templates_lock = threading.Lock()


@dataclass(frozen=True)
class _Template:
    """A deck that was read and checked, whose numbers may be others: where they stand, and the files that it read."""

    prepared: Prepared
    row: int
    line: int
    stamps: tuple[tuple[Path, Path, int, int], ...]
    missed: tuple[Path, ...]

    def unchanged(self) -> bool:
        """Whether every included file is found where it was found, and is as it was."""
        if any(os.path.lexists(path) for path in self.missed):
            return False
        try:
            return all(
                resolved(asked) == path and ((status := path.stat()).st_mtime_ns, status.st_size) == (changed, size)
                for asked, path, changed, size in self.stamps
            )
        except (OSError, InputError):
            return False

    def filled(self, numbers: _Numbers) -> Prepared:
        """The same deck with other numbers."""
        rows = self.prepared.text.split("\n")
        rows[self.row] = numbers.card
        lines = self.prepared.circuit.lines
        card = Line(numbers.card, lines[self.line].where)
        circuit = replace(self.prepared.circuit, lines=(*lines[: self.line], card, *lines[self.line + 1 :]))
        return replace(self.prepared, text="\n".join(rows), circuit=circuit)


@dataclass(frozen=True)
class _Numbers:
    """The numbers of a deck, and all the rest of it: decks of a campaign differ in nothing else."""

    card: str
    key: tuple[Any, ...]

    @classmethod
    def of(cls, deck: Deck, drop: frozenset[str]) -> _Numbers | None:
        """None for a deck whose second row is no card of numbers alone; one with compiled models is looked at anew."""
        title, _, below = deck.text.partition("\n")
        card, _, rest = below.partition("\n")
        if deck.osdi or not _CARD.fullmatch(card) or rest.lstrip().startswith("+"):
            return None
        same = (title, _NUMBER.sub("=", card), rest, deck.save, deck.roots, deck.source, deck.rows, deck.bench, drop)
        tables = (deck.options, deck.devices, deck.asked)
        return cls(card, (*same, *(tuple(table.items()) for table in tables)))

    def template(self) -> _Template | None:
        """What was read of a deck with other numbers, unless a file of it changed."""
        with _templates_lock:
            found = _templates.get(self.key)
        return found if found is not None and found.unchanged() else None

    def keep(self, prepared: Prepared) -> None:
        """Keep a deck for those that come with other numbers."""
        rows = prepared.text.split("\n")
        lines = [k for k, line in enumerate(prepared.circuit.lines) if line.text == self.card]
        if len(lines) != 1 or rows.count(self.card) != 1:
            return
        stamps, missed = [], []
        for asked, path in prepared.circuit.found:
            if path is None:
                missed.append(asked)
                continue
            try:
                status = path.stat()
            except OSError:
                return
            stamps.append((asked, path, status.st_mtime_ns, status.st_size))
        with _templates_lock:
            while len(_templates) >= _KEPT:
                del _templates[next(iter(_templates))]
            _templates[self.key] = _Template(prepared, rows.index(self.card), lines[0], tuple(stamps), tuple(missed))
