"""Random hostile decks: each is refused in one sentence, or is harmless; and the engines hold what is not checked."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, example, given, settings

from claims.hostile import CLEAN, START_UP, Trial
from claims.world import World
from cosim.engines.library import find_ngspice
from cosim.engines.prepare import prepare
from cosim.engines.simulator import Deck, Limits, Outcome
from cosim.errors import CosimError

LIMITS = Limits(wall=1.0, memory=2 << 30, file_size=4 << 20)

FILES = st.sampled_from(
    ["@CANARY@", "@VICTIM@", "@OUTSIDE@/points.txt", "@OUTSIDE@/secret.inc", "../secret.inc", "link.inc",
     "up/points.txt", "points.txt", "own.inc", "own.lib", "pipe.inc", "zero.inc", "loop.inc", "@EVIL@.sh", "@EVIL@.so",
     "/dev/stdin", "/etc/passwd", "~/.bashrc", "", "a" * 300]
)  # fmt: skip
QUOTES = st.sampled_from(['"{}"', "'{}'", "{}", '"{}', "({})", "{{{}}}", "`cat {}`", "$(cat {})"])
COMMANDS = st.sampled_from(
    ["shell touch {}", "wrdata {} v(a)", "write {}", "echo x > {}", "echo x >> {}", "source {}", "codemodel {}",
     "pre_osdi {}", "!touch {}", "set x = `cat {}`", "print v(a) > {}", "load {}", "edit {}", "cd {}", "plot v(a) > {}"]
)  # fmt: skip
CARDS = st.sampled_from(
    [".include {}", ".inc {}", ".lib {} tt", ".lib {}", ".print tran v(a) > {}", ".save v(a) > {}", ".probe v(a) {}",
     ".meas tran m max v(a) > {}", ".options rawfile={}", ".options temp={}", ".param p={}", ".csparam p={}",
     ".model m d_process (process_file={})", ".model m d_cosim (simulation={})", ".model m filesource (file={})",
     ".model m d_source (input_file={})", ".model m later (path={})", ".model m,d_process gain (process_file {})",
     ".model m numd output rootfile={}", ".func f(x) {{{}}}", ".exec {}", ".subckt {} a", ".title {}", ".ic v(a)={}",
     ".connect a {}", ".four 1k v(a) > {}", ".tran 1n {}", ".if ({})"]
)  # fmt: skip
ELEMENTS = st.sampled_from(
    ["R2 a 0 {}", "V2 b 0 pwl file={}", "V2 b 0 pwl(file {})", "I2 b 0 pwlfile={}", "B2 b 0 V=pwl(time,file,{})",
     "A1 %vd([b 0]) {}", "A1 [a] [b] m file={}", "X1 a {}", "N1 a 0 {}", "E2 b 0 table {{v(a)}}=file({})", "D1 a 0 {}",
     "R{} a 0 1k", "M1 a a a a {}", "{} a 0 1k"]
)  # fmt: skip
PLAIN = st.sampled_from(
    ["R2 a 0 1k", "C2 a 0 1p", "V2 b 0 1", "R3 b 0 1k", "D1 a 0 d", ".model d d", ".param q=1", ".save v(a)", ".ends",
     ".endif", ".else", ".endl", ".endc", ".end", ".control", "*#x", "+ 1k", "+", "* note", "", ".op", ".dc v1 0 1 1"]
)  # fmt: skip
ODD = st.sampled_from(["\0", "\r", "\f", "\v", "\x1b", "\x85", "\u2028", "\u202e", "\u200b", "\ufeff", "\\", "`", "\t"])


@st.composite
def rows(draw: st.DrawFn) -> str:
    """A line: a template with a file in it, in some case, over some lines, with some comment and some odd character."""
    template = draw(st.one_of(CARDS, ELEMENTS, COMMANDS, COMMANDS.map("*#{}".format), PLAIN))
    text = template.replace("{}", draw(QUOTES).replace("{}", draw(FILES))) if "{}" in template else template
    text = draw(st.sampled_from([text, text, text.upper().replace("@CANARY@", "@CANARY@"), text.title(), f"  {text}"]))
    if draw(st.integers(0, 5)) == 0 and " " in text:
        text = text.replace(" ", draw(st.sampled_from(["\n+ ", "\n* between\n+", "\\\\\n", "\t", " ; x\n+ ", "  "])), 1)
    if draw(st.integers(0, 9)) == 0:
        place = draw(st.integers(0, len(text)))
        text = text[:place] + draw(ODD) + text[place:]
    return text + draw(st.sampled_from(["", "", "", " ; x", " $ x", " // x", "\r"]))


TITLES = st.sampled_from(
    ["hostile", "*#shell touch @CANARY@", "*ng_script", "`touch @CANARY@`", "", ".include x", "\ufeff"]
)
BASE = "R1 a 0 1k\nV1 a 0 1\n.tran 1n 50n\n"
DECKS = st.builds(
    lambda title, block, body: title + "\n" + BASE + "\n".join(body) + ("\n.endc" if block else "") + "\n.end\n",
    TITLES, st.booleans(), st.lists(rows(), max_size=6),
)  # fmt: skip
# Decks of which many pass the check: one odd line in a plain circuit.
NEAR = st.builds(lambda row: f"hostile\n{BASE}{row}\n.end\n", rows())


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with tempfile.TemporaryDirectory(prefix="cosim-hostile-") as folder:
        yield World(Path(folder))


@pytest.fixture(scope="module")
def trial() -> Iterator[Trial]:
    with ExitStack() as stack:
        yield Trial(stack)


def unharmed(world: World, texts: list[str]) -> None:
    assert world.damage() == []
    assert not world.canary.exists()
    assert world.leaks(texts) == []


@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(DECKS)
@example("hostile\n" + BASE + ".include up/secret.inc\n.end\n")
@example("hostile\n" + BASE + '.model m filesource (file="points.txt")\n.end\n')
@example("hostile\n" + BASE + ".include loop.inc\n.end\n")
@example("hostile\n" + BASE + ".include ~nobody_here/x\n.end\n")
def test_a_hostile_deck_is_refused_in_a_sentence_or_names_nothing_outside(world: World, text: str) -> None:
    filled = world.fill(text.encode("utf-8", "surrogatepass")).decode("utf-8", "replace")
    try:
        ready = prepare(Deck(filled, source=world.home / "deck.cir"))
    except CosimError as error:
        sentence = str(error)
        assert sentence.isprintable(), sentence
        assert 0 < len(sentence) < 2000
        unharmed(world, [sentence])
        return
    unharmed(world, [ready.text])
    for path in ready.reads:
        assert Path(path).resolve().is_relative_to(world.home)
    opened = {str(path) for path in ready.circuit.files}
    assert all(Path(path).is_relative_to(world.home) for path in opened)


@pytest.mark.spice
@settings(deadline=None, max_examples=40, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(NEAR)
def test_what_passes_the_check_harms_nothing_when_it_runs(trial: Trial, text: str) -> None:
    if "pyspice" not in trial.engines:
        pytest.skip("no libngspice on this machine")
    world = trial.world
    filled = world.fill(text.encode("utf-8", "surrogatepass")).decode("utf-8", "replace")
    result = trial.engines["pyspice"].run(Deck(filled, source=world.home / "deck.cir"), limits=LIMITS)
    assert result.outcome in set(Outcome)
    unharmed(world, [result.reason, result.log])
    assert world.leaks([], [data[name].values for data in result.waveforms.values() for name in data]) == []
    assert trial.engines["pyspice"].run(CLEAN, limits=Limits(wall=30.0)).ok


@pytest.mark.spice
@settings(deadline=None, max_examples=20, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(DECKS)
def test_what_was_not_checked_harms_nothing_either(trial: Trial, text: str) -> None:
    if not (trial.walls["programs"] and trial.walls["files"] and trial.pools):
        pytest.skip(str(trial.walls["advice"]) or "no ngspice on this machine")
    world = trial.world
    filled = world.fill(text.encode("utf-8", "surrogatepass")).decode("utf-8", "replace").replace("\0", "")
    limits = {"memory": LIMITS.memory, "file_size": LIMITS.file_size}
    jobs = {
        "library": {"deck": filled, **limits},
        "command": {"argv": [find_ngspice(), "-b"], "files": {".spiceinit": START_UP, "deck.cir": filled}, **limits},
    }
    for name, pool in trial.pools.items():
        with pool.run(jobs[name], wall=LIMITS.wall) as answer:
            texts = [text for _, text in answer.log]
        unharmed(world, texts)
