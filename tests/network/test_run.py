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
from cosim.network import run
from cosim.network.run import Purpose, Streams, System, run_network
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
    assert stored["right"] == {"mean": found.mean, "deviation": found.deviation, "seeds": 2}
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
    packed = np.frombuffer(json.dumps(about).encode(), dtype=np.uint8)
    write_npz(checkpoint, {"v": np.zeros(3), "about": packed})
    with pytest.raises(InputError, match="by another version of cosim"):
        run_network(Perceptron(), folder=tmp_path, resume=True)
    write_npz(checkpoint, {"w": np.zeros(3), "about": packed})
    assert run_network(Perceptron(), folder=tmp_path, resume=True).seeds[0].seconds >= 1.0


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
