"""Every hostile input of the corpus through cosim's public ways: refused or contained, and nothing reached outside."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from claims import hostile
from claims.bombs import MAKERS
from claims.hostile import Case, Seen, Trial
from cosim.engines.simulator import Outcome, Result
from cosim.errors import InputError, MissingFile

CASES = hostile.load_corpus()
pytestmark = pytest.mark.spice


@pytest.fixture(scope="module")
def trial() -> Iterator[Trial]:
    with ExitStack() as stack:
        yield Trial(stack)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.file)
def test_refused_or_contained(case: Case, trial: Trial) -> None:
    _, wrong, _ = trial.run(case)
    assert not wrong, f"{case.tries}: {'; '.join(wrong)}"


def test_the_corpus_is_whole(capsys: pytest.CaptureFixture[str]) -> None:
    expected = {"refused": 0, "contained": 0}
    for case in CASES:
        expected[case.expect] += 1
        assert case.tries
        assert not case.make or case.make in MAKERS
    assert {case.make for case in CASES} - {""} == set(MAKERS)
    assert sum(expected.values()) == len(CASES) >= 200
    with capsys.disabled():
        print(f"\n{len(CASES)} hostile inputs: {expected['refused']} to refuse, {expected['contained']} to contain")


@pytest.mark.parametrize("name", ["pyspice", "ngspice"])
def test_an_engine_is_held_by_every_wall_that_this_machine_has(trial: Trial, name: str) -> None:
    if name not in trial.engines:
        pytest.skip(f"no {name} on this machine")
    held = trial.engines[name].confinement()  # type: ignore[attr-defined]
    for wall in ("programs", "files", "reading", "network"):
        assert held[wall] == trial.walls[wall], f"{wall}: {held}"


# The runner itself: what it would say of an input that does escape.

HARMLESS = "harmless\nV1 a 0 1\nR1 a 0 1k\n.op\n.end\n"


def small(tmp_path: Path, case: str, **files: str) -> Path:
    for name, text in files.items():
        (tmp_path / name.replace("_", ".")).write_text(text)
    (tmp_path / "index.toml").write_text(case)
    return tmp_path


def judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: object = None, **changes: str) -> list[str]:
    """What the runner says of one deck, read by ``way``."""
    fields = {"file": "x.cir", "tries": "nothing", "expect": "contained", **changes}
    folder = small(tmp_path, "[[case]]\n" + "".join(f'{k} = "{v}"\n' for k, v in fields.items()), x_cir=HARMLESS)
    if way is not None:
        monkeypatch.setattr(hostile, "_WAYS", {"deck": way})
    [(_, _, wrong, _)] = hostile.outcomes(hostile.load_corpus(folder), corpus=folder)
    return wrong


def test_a_harmless_deck_does_not_escape(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert judged(tmp_path, monkeypatch) == []


def test_what_should_be_refused_and_runs_has_escaped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert judged(tmp_path, monkeypatch, expect="refused") == ["was not refused"]


def _makes(trial: Trial, path: Path, seen: Seen) -> None:
    trial.world.canary.touch()


def _changes(trial: Trial, path: Path, seen: Seen) -> None:
    trial.world.victim.write_text("touched")


def _lays(trial: Trial, path: Path, seen: Seen) -> None:
    (path.parent / "beside.raw").touch()


def _tells(trial: Trial, path: Path, seen: Seen) -> None:
    seen.result(Result(Outcome.NOT_CONVERGED, "x", log=f"no such thing: {trial.world.token}"))


def _raises(trial: Trial, path: Path, seen: Seen) -> None:
    raise ZeroDivisionError("x")


def _mumbles(trial: Trial, path: Path, seen: Seen) -> None:
    seen.refused(InputError("two\nlines"))


@pytest.mark.parametrize(
    ("way", "expect", "said"),
    [(_makes, "contained", "canary was made"), (_changes, "contained", "victim was made, changed"),
     (_lays, "contained", "beside.raw was made"), (_tells, "contained", "the secret is in"),
     (_raises, "contained", "raised ZeroDivisionError"), (_mumbles, "refused", "not refused in one sentence")],
)  # fmt: skip
def test_what_escapes_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: object, expect: str, said: str
) -> None:
    wrong = judged(tmp_path, monkeypatch, way, expect=expect)
    assert any(said in text for text in wrong), wrong


def test_a_corpus_that_is_not_there_and_one_that_lies(tmp_path: Path) -> None:
    with pytest.raises(MissingFile, match="in a checkout"):
        hostile.load_corpus(tmp_path / "nowhere")
    case = '[[case]]\nfile = "a.cir"\ntries = "x"\nexpect = "refused"\n'
    for folder in (small(tmp_path, case), small(tmp_path, case, a_cir="x", b_cir="x")):
        with pytest.raises(InputError, match="differ"):
            hostile.load_corpus(folder)
