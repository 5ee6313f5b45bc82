"""From a `Deck` to an engine's input: read, checked, flattened, with its options and saved vectors as cards."""

from __future__ import annotations

import hashlib
import os
import re
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cosim.engines.saved import check_vectors
from cosim.engines.simulator import Deck
from cosim.errors import InputError, MissingFile, NetlistError, NetlistRefused, Where
from cosim.files import resolved
from cosim.language import chance, dialect, fourier, hazards, meas, suffixes
from cosim.language.diagnose import check_expansion
from cosim.language.floating import check_floating, shunted, shunted_by_name
from cosim.language.fourier import FourierCard
from cosim.language.instances import check_instances
from cosim.language.left_out import left_out
from cosim.language.netlist import Analysis, Line, Netlist, check, read_text

# ngspice seeds agauss and its kin anew in each process unless the deck says how; setseed in a start-up file does not.
SEED = 1


@dataclass(frozen=True)
class Prepared:
    """A deck ready for an engine.

    ``text`` is self-contained; ``places[i]`` is where its row ``i`` (from 0) came from. ``osdi`` are absolute paths of
    existing files. ``measures`` are the names of its ``.meas`` cards. ``lasting``: one of its options could stay set
    in an engine that runs more than one deck. ``reads`` are the data files that its code models read. ``random`` are
    its lines that call random functions, as they were written, and ``drawn`` says whether these are drawn or their
    means; ``noise`` are its sources that are random in time. ``fourier`` are its ``.four`` cards. ``notes`` say what is
    left out of its run, and which numbers may not mean what their writer intended.
    """

    text: str
    places: tuple[Where, ...]
    circuit: Netlist
    analyses: tuple[Analysis, ...]
    osdi: tuple[str, ...]
    measures: tuple[str, ...]
    lasting: bool = False
    reads: tuple[str, ...] = ()
    random: tuple[Line, ...] = ()
    drawn: bool = False
    noise: tuple[Line, ...] = ()
    fourier: tuple[FourierCard, ...] = ()
    notes: tuple[str, ...] = ()

    def place(self, row: int) -> Where | None:
        """Where row ``row`` (from 1, as engines count) came from."""
        return self.places[row - 1] if 0 < row <= len(self.places) else None


# Cards that give numbers and no structure; of a subcircuit's head that is what stands after its ports.
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
    """What does not depend on numbers is checked once for decks that differ in numbers only: those of a campaign."""
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
    """SHA-256 of the deck as an engine sees it, with included files, compiled models and the data that it reads.

    Comments, line ends and the title do not count. Raises as `prepare` does.
    """
    prepared = prepare(deck)
    digest = hashlib.sha256(prepared.text.encode())
    for path in (*prepared.osdi, *prepared.reads):
        digest.update(hashlib.sha256(Path(path).read_bytes()).digest())
    return digest.hexdigest()


def cards_of(deck: Deck) -> list[str]:
    """``deck.options`` and ``deck.save`` as cards. Raises `NetlistRefused` for anything else."""
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


def _own_seed(netlist: Netlist, deck: Deck) -> Where | None:
    """Where the netlist or the deck's options set a seed; None where they do not."""
    for card in netlist.cards(".options", ".option", ".opt"):
        if any(name.lower() == "seed" for name, _ in hazards.options_of(card)):
            return card.where
    return Where(deck.source, None) if any(name.lower() == "seed" for name in deck.options) else None


def _seed_card(deck: Deck) -> str:
    return f".options seed={SEED if deck.seed is None else chance.check_seed(deck.seed)}"


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
        numbers.keep(prepared, deck.options)
    return prepared


def _prepare(deck: Deck, drop: frozenset[str]) -> Prepared:
    written = check(read_text(deck.text, source=deck.source, roots=deck.roots, rows=deck.rows))
    random, noise = tuple(chance.functions_of(written)), tuple(chance.noise_of(written))
    own_seed = _own_seed(written, deck)
    if deck.seed is not None and own_seed is not None and (random or noise):
        raise NetlistError(
            "the seed that is set here would give every sample the same random numbers",
            where=own_seed, remedy="remove it: each sample has its own seed",
        )  # fmt: skip
    if deck.seed is not None:
        chance.refuse_tolerances(written)
    drawn = deck.seed is not None or own_seed is not None
    read = chance.settled(written, draw=drawn)
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
            f"{line.card} in the circuit of a bench, whose analyses are tables of the bench's file", where=line.where,
            remedy=f"remove it, and write [analyses.NAME] with kind = {line.card[1:]!r}",
        )  # fmt: skip
    cards = cards_of(deck)
    asked = () if deck.bench else fourier.cards(read)
    if asked and (deck.save or any(True for _ in read.cards(".save"))):
        cards += [f".save {vector}" for card in asked for vector in card.needed]
    options = _option_names(read, deck)
    if own_seed is None:
        cards.append(_seed_card(deck))
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
    if not (deck.bench or "temp" in deck.options):
        notes += dialect.temperatures(read.own_lines())
    data = hazards.data_files(read)
    return Prepared(
        text, places, read, analyses, tuple(osdi), measures, lasting, data, random, drawn, noise, asked, notes
    )


# The card that a bench writes below its title: names and plain numbers, which are always harmless.
_CARD = re.compile(r"\.param(?: [A-Za-z_]\w*=[-+]?\d+(?:\.\d*)?(?:e[-+]?\d+)?)+")
_NUMBER = re.compile(r"=\S+")
_templates: dict[tuple[Any, ...], _Template] = {}
_templates_lock = threading.Lock()


@dataclass(frozen=True)
class _Template:
    """A deck that was read and checked, into which other numbers may be put: where they stand, and the files it read.

    ``row`` and ``line`` are the card's in the text and in the circuit, ``seed_row`` the seed's; None: it has none.
    """

    prepared: Prepared
    row: int | None
    line: int
    seed_row: int | None
    stamps: tuple[tuple[Path, Path, int, int], ...]
    missed: tuple[Path, ...]

    def unchanged(self) -> bool:
        """Whether every included file is still found in the same place, and unchanged."""
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
        rows, circuit = self.prepared.text.split("\n"), self.prepared.circuit
        if self.seed_row is not None:
            rows[self.seed_row] = numbers.seed
        if self.row is not None:
            rows[self.row] = numbers.card
            card = Line(numbers.card, circuit.lines[self.line].where)
            circuit = replace(circuit, lines=(*circuit.lines[: self.line], card, *circuit.lines[self.line + 1 :]))
        # the frequency of a .four card may be one of the numbers
        asked = fourier.cards(circuit) if self.prepared.fourier else ()
        return replace(self.prepared, text="\n".join(rows), circuit=circuit, fourier=asked)


@dataclass(frozen=True)
class _Numbers:
    """The numbers of a deck, and the rest of it: decks of a campaign differ in their numbers only.

    ``card`` is "" for a deck without one, whose only number is its seed; ``seed`` is the card that sets it.
    """

    card: str
    seed: str
    key: tuple[Any, ...]

    @classmethod
    def of(cls, deck: Deck, drop: frozenset[str]) -> _Numbers | None:
        """None for a deck without such numbers; one with compiled models is looked at anew."""
        if deck.osdi:
            return None
        title, _, below = deck.text.partition("\n")
        card, _, rest = below.partition("\n")
        if not _CARD.fullmatch(card) or rest.lstrip().startswith("+"):
            if deck.seed is None:
                return None
            card, rest = "", below
        told = (deck.seed is not None, deck.bench)
        same = (title, _NUMBER.sub("=", card), rest, deck.save, deck.roots, deck.source, deck.rows, drop, *told)
        tables = (deck.options, deck.devices, deck.asked)
        return cls(card, _seed_card(deck), (*same, *(tuple(table.items()) for table in tables)))

    def template(self) -> _Template | None:
        """What was read of a deck with other numbers, unless a file of it changed."""
        with _templates_lock:
            found = _templates.get(self.key)
        return found if found is not None and found.unchanged() else None

    def keep(self, prepared: Prepared, options: Mapping[str, float | str]) -> None:
        """Keep a deck for those that come with other numbers."""
        rows = prepared.text.split("\n")
        lines = [k for k, line in enumerate(prepared.circuit.lines) if line.text == self.card]
        if self.card and (len(lines) != 1 or rows.count(self.card) != 1):
            return
        if self.card and shunted_by_name(prepared.circuit, options):  # with other numbers other nodes may float
            return
        row, line = (rows.index(self.card), lines[0]) if self.card else (None, 0)
        seed_row = rows.index(self.seed) if self.seed in rows else None
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
            _templates[self.key] = _Template(prepared, row, line, seed_row, tuple(stamps), tuple(missed))
