"""The runner with a system of its own: seeds, checkpoints, resume and results are the runner's, whatever learns."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from cosim.errors import InputError
from cosim.network import origin, run
from cosim.network.run import Purpose, Streams, System, run_network
from cosim.network.systems.maze import MazeSystem
from cosim.network.systems.vdsp import VdspSystem
from cosim.surrogate.files import read_npz, write_npz

TRUE = np.array([1.5, -2.0, 0.5])


class Rule:
    """A perceptron that is told the side of a plane."""

    def __init__(self, system: "Perceptron", streams: Streams) -> None:
        self.system, self.streams = system, streams
        self.w = 0.1 * streams(Purpose.START).standard_normal(3)

    def _points(self, rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
        x = rng.standard_normal((n, 3))
        return x, np.sign(x @ TRUE)

    def learn(self, batch: int) -> None:
        for x, y in zip(*self._points(self.streams(Purpose.LEARN, batch), self.system.batches[batch]), strict=True):
            self.w += self.system.rate * (y - np.sign(x @ self.w)) * x

    def evaluate(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        x, y = self._points(self.streams(Purpose.EVALUATE), 500)
        return {"right": float(np.mean(np.sign(x @ self.w) == y))}, {"w": self.w.copy()}

    def state(self) -> dict[str, np.ndarray]:
        return {"w": self.w.copy()}

    def restore(self, state) -> None:
        self.w = state["w"]


@dataclass(frozen=True)
class Perceptron(System):
    """The least that a system has to say."""

    name: ClassVar[str] = "perceptron"
    score: ClassVar[str] = "right"
    rate: float = 0.1
    batches: Sequence[int] = (20, 20, 20, 7)

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(repr(self).encode()).hexdigest()

    def start(self, streams: Streams) -> Rule:
        if not self.rate > 0.0:
            raise InputError("the rate has to be above zero")
        return Rule(self, streams)


def test_seeds_are_networks_of_their_own_and_the_result_is_written(tmp_path: Path) -> None:
    shown = []
    found = run_network(Perceptron(), seeds=(3, 4), folder=tmp_path, progress=lambda *told: shown.append(told))
    assert found.mean > 0.85  # chance is a half
    assert shown[:4] == [(3, 20, 67), (3, 40, 67), (3, 60, 67), (3, 67, 67)]
    assert not np.array_equal(found.seeds[0].arrays.w, found.seeds[1].arrays.w)
    stored = json.loads((tmp_path / "result.json").read_text())
    assert stored["system"] == "perceptron"
    assert stored["right"] == {"mean": found.mean, "deviation": found.deviation, "seeds": 2, "reading": ""}
    assert [seed["right"] for seed in stored["seeds"]] == found.scores
    assert found.lines()[-1].startswith(f"right       {100 * found.mean:.2f} ± ")
    assert len(found.lines()) == 3
    assert found.figures() == {}
    alone = run_network(Perceptron(), seeds=(4,)).seeds[0]
    np.testing.assert_array_equal(alone.arrays.w, found.seeds[1].arrays.w)  # whatever ran before it
    assert found.deviation is not None
    assert run_network(Perceptron(), seeds=(4,)).deviation is None


@pytest.mark.parametrize("at", range(5))
@pytest.mark.parametrize("killed", [False, True])
def test_stopped_anywhere_it_goes_on_to_the_same_numbers(
    at: int, killed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C in the midst of a batch or in the evaluation; or killed, where only timely checkpoints are left."""
    whole = run_network(Perceptron(), seeds=(7,)).seeds[0]
    monkeypatch.setattr(run, "SAVE_EVERY", -1.0)
    learn = Rule.learn
    stop: type[BaseException] = SystemExit if killed else KeyboardInterrupt
    learned = []

    def stopping(self, batch):
        if batch == at:
            self.w += 1.0  # what a batch left half done
            raise stop
        learn(self, batch)

    def at_the_end(self):
        raise stop

    with monkeypatch.context() as broken:
        broken.setattr(Rule, "learn", stopping)
        broken.setattr(Rule, "evaluate", at_the_end)
        with pytest.raises(stop):
            run_network(Perceptron(), seeds=(7,), folder=tmp_path)
    assert (tmp_path / "seed-7.checkpoint.npz").exists() == (at > 0 or not killed)
    monkeypatch.setattr(Rule, "learn", lambda self, batch: (learned.append(batch), learn(self, batch)))
    again = run_network(Perceptron(), seeds=(7,), folder=tmp_path, resume=True).seeds[0]
    assert learned == list(range(at, 4))
    np.testing.assert_array_equal(again.arrays.w, whole.arrays.w)
    assert again.values == whole.values
    assert sorted(path.name for path in tmp_path.iterdir()) == ["result.json", "seed-7.npz"]
    monkeypatch.setattr(Rule, "evaluate", at_the_end)  # what is finished is read
    read = run_network(Perceptron(), seeds=(7,), folder=tmp_path, resume=True).seeds[0]
    assert (read.values, read.seconds) == (again.values, again.seconds)
    np.testing.assert_array_equal(read.arrays.w, whole.arrays.w)


def test_every_seed_is_asked_before_the_first_learns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Rule, "learn", lambda *_: pytest.fail("it learned"))
    with pytest.raises(InputError, match="the rate has to be above zero"):
        run_network(Perceptron(rate=0.0))


def test_files_of_another_run_or_of_another_version(tmp_path: Path) -> None:
    run_network(Perceptron(), folder=tmp_path)
    with pytest.raises(InputError, match="exists already"):
        run_network(Perceptron(), folder=tmp_path)
    with pytest.raises(InputError, match="this result belongs to another run"):
        run_network(Perceptron(rate=0.2), folder=tmp_path, resume=True)
    final, checkpoint = tmp_path / "seed-0.npz", tmp_path / "seed-0.checkpoint.npz"
    for about in (b"[]", b"{}", b"\xff", b'{"kind": "result", "plan": "", "seed": 0, "learning_seconds": "long"}'):
        write_npz(final, {"about": np.frombuffer(about, dtype=np.uint8)})
        with pytest.raises(InputError, match="this is not a result"):
            run_network(Perceptron(), folder=tmp_path, resume=True)
    final.unlink()
    about = {"kind": "checkpoint", "plan": Perceptron().fingerprint, "seed": 0, "batch": 2, "seconds": 1.0}
    about["codes"] = [origin.code_of(Perceptron)]
    packed = np.frombuffer(json.dumps(about).encode(), dtype=np.uint8)
    write_npz(checkpoint, {"v": np.zeros(3), "about": packed})
    with pytest.raises(InputError, match="by another version of cosim"):
        run_network(Perceptron(), folder=tmp_path, resume=True)
    write_npz(checkpoint, {"w": np.zeros(3), "about": packed})
    assert run_network(Perceptron(), folder=tmp_path, resume=True).seeds[0].seconds >= 1.0


def test_what_other_code_trained_is_refused_or_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint by one state of the code, gone on with by another; and the result of the two."""
    monkeypatch.setattr(run, "code_of", lambda _: "old")
    with monkeypatch.context() as broken:
        broken.setattr(Rule, "evaluate", _interrupted)
        with pytest.raises(KeyboardInterrupt):
            run_network(Perceptron(), folder=tmp_path)
    monkeypatch.setattr(run, "code_of", lambda _: "new")
    with pytest.raises(InputError, match=r"this checkpoint was made by other code: old of cosim .*, and this is new"):
        run_network(Perceptron(), folder=tmp_path, resume=True)
    found = run_network(Perceptron(), folder=tmp_path, resume="anyway")
    assert found.seeds[0].codes == ("old", "new")
    assert (
        found.lines()[-2] == "code        seed 0 comes from other code, in whole or in part: old, then new; this is new"
    )
    with pytest.raises(InputError, match="this result was made by other code: old, then new"):
        run_network(Perceptron(), folder=tmp_path, resume=True)
    assert run_network(Perceptron(), folder=tmp_path, resume="anyway").seeds[0].codes == ("old", "new")
    stored = json.loads((tmp_path / "result.json").read_text())
    assert (stored["code"], stored["seeds"][0]["codes"]) == ("new", ["old", "new"])


def _interrupted(_: Rule) -> None:
    raise KeyboardInterrupt


def test_a_file_that_notes_no_code(tmp_path: Path) -> None:
    run_network(Perceptron(), folder=tmp_path)
    stored = read_npz(tmp_path / "seed-0.npz", kind="result")
    about = json.loads(stored["about"].tobytes())
    del about["codes"], about["cosim"]
    write_npz(tmp_path / "seed-0.npz", {**stored, "about": np.frombuffer(json.dumps(about).encode(), dtype=np.uint8)})
    with pytest.raises(InputError, match="unknown of cosim unknown"):
        run_network(Perceptron(), folder=tmp_path, resume=True)
    assert run_network(Perceptron(), folder=tmp_path, resume="anyway").seeds[0].codes == ("unknown",)


def test_the_code_of_a_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The digest moves with what a system reaches, and with nothing else; comments do not count."""
    package = tmp_path / "cosim"
    files = {
        "network/run.py": "from cosim.network.loop import f\n",
        "network/loop.py": "def f():\n    from cosim.devices import one, two\n",
        "devices/__init__.py": "",
        "devices/two.py": "x = 1  # kept\n# left out\n",
        "devices/three.py": "y = 1\n",
        "network/systems/maze.py": "z = 1\n",
    }
    for name, text in files.items():
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text(text)
    monkeypatch.setattr(origin, "PACKAGE", package)

    def digest(system: Path) -> str:
        monkeypatch.setattr(origin, "_file", lambda _: system)
        origin.code_of.cache_clear()
        return origin.code_of(Perceptron)

    try:
        inside, own = package / "network/run.py", tmp_path / "own.py"
        own.write_text("a = 1\n")
        before, alone = digest(inside), digest(own)
        for name, text, moves in (
            ("devices/two.py", "x = 1  # kept\n\n# said otherwise\n", (False, False)),
            ("devices/three.py", "y = 2\n", (False, True)),  # not imported, but a system from elsewhere may
            ("network/systems/maze.py", "z = 2\n", (False, True)),
            ("devices/two.py", "x = 2\n", (True, True)),
        ):
            (package / name).write_text(text)
            after = digest(inside), digest(own)
            assert (after[0] != before, after[1] != alone) == moves, name
            before, alone = after
    finally:
        origin.code_of.cache_clear()
    monkeypatch.undo()
    assert len({origin.code_of(one) for one in (Perceptron, VdspSystem, MazeSystem)}) == 3


def test_files_hold_plain_arrays(tmp_path: Path) -> None:
    run_network(Perceptron(), folder=tmp_path)
    assert {name: array.dtype.kind for name, array in read_npz(tmp_path / "seed-0.npz", kind="result").items()} == {
        "w": "f",
        "about": "u",
    }


def test_streams_differ() -> None:
    places = [(0, Purpose.LEARN, 0), (0, Purpose.LEARN, 1), (0, Purpose.ORDER, 0), (1, Purpose.LEARN, 0)]
    drawn = [Streams(seed)(purpose, place).random() for seed, purpose, place in places]
    assert len(set(drawn)) == len(drawn)
    assert Streams(0)(Purpose.LEARN, 1).random() == drawn[1]
