"""Some of the corpus of decks and models that ``./run measure dialects`` goes through as a whole."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest

from claims.dialects import CLOSE, fails, repaired
from claims.dialects_decks import DeckCase, cases
from claims.dialects_models import LAWS, WAYS, models
from cosim.engines.registry import open_simulator
from cosim.engines.simulator import Simulator

DECKS = [*islice(cases(), 3, None, 7), *(case for case in cases() if case.of == "refused")]
# A law of each way, in turn.
MODELS = [entry for k, entry in enumerate(models()) if k % len(LAWS) == (k // len(LAWS)) % len(LAWS)]


@pytest.fixture(scope="module")
def vacask() -> Iterator[Simulator]:
    with open_simulator("vacask") as simulator:
        yield simulator


@pytest.mark.spice
@pytest.mark.parametrize("case", DECKS, ids=lambda case: case.name)
def test_a_deck_is_answered_as_it_was_meant(case: DeckCase, simulator: Simulator, tmp_path: Path) -> None:
    assert fails(case, simulator, tmp_path) == ""


@pytest.mark.spice
@pytest.mark.osdi
@pytest.mark.parametrize("number", range(len(MODELS)), ids=[name for name, _, _ in MODELS])
def test_a_model_is_what_it_was_written_for(number: int, simulator: Simulator, vacask: Simulator) -> None:
    _, text, law = MODELS[number]
    off = repaired(text, law, {"ngspice": simulator, "vacask": vacask})
    assert len(off) == 3
    assert max(off.values()) <= CLOSE


def test_the_corpus_is_whole() -> None:
    kinds = Counter(case.of for case in cases())
    assert sum(kinds.values()) >= 60
    assert min(kinds[of] for of in ("ngspice", "control", "foreign")) >= 8
    assert len({text for _, text, _ in models()}) == len(WAYS) * len(LAWS) >= 30
