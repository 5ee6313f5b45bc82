"""What a worker may send, and whose death it was: the parent takes nothing for granted."""

import json
import os
import signal
import struct
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from cosim.engines.library import find_libngspice
from cosim.engines.worker import frames
from cosim.engines.worker.pool import Pool, Worker, WorkerDied, _is_answer

JOB = {"deck": "t\nV1 a 0 1\n.op\n.end\n", "memory": 1 << 32, "file_size": 1 << 20}


@pytest.fixture
def worker() -> Iterator[Worker]:
    library = find_libngspice()
    if library is None:
        pytest.skip("no libngspice on this machine")
    made = Worker("library", environment={"NGSPICE_LIBRARY_PATH": library})
    yield made
    made.close()


def test_one_that_died_before_it_had_the_job_is_not_the_jobs_death(worker: Worker) -> None:
    worker.kill()
    worker._process.wait(timeout=10)
    with pytest.raises(WorkerDied) as caught:
        worker.ask(JOB, wall=10.0)
    assert not caught.value.accepted


def test_a_worker_that_dies_while_a_job_is_sent_did_not_die_of_it(worker: Worker) -> None:
    os.kill(worker.pid, signal.SIGSTOP)  # stopped, it reads nothing: the pipe fills up
    with pytest.raises(frames.FrameTimeout):
        worker.ask({**JOB, "deck": "*" * (8 << 20)}, wall=0.5)
    worker.kill()
    worker._process.wait(timeout=10)
    assert not worker._took_all()


def test_a_worker_that_dies_of_its_job_says_so(worker: Worker) -> None:
    deck = "t\nB1 a 0 v=sin(time*1e9)\nR1 a 0 1\n.tran 1n 20m 0 1n\n.end\n"
    started = time.monotonic()
    threading.Timer(0.5, worker.kill).start()
    with pytest.raises(WorkerDied) as caught:
        worker.ask({**JOB, "deck": deck}, wall=30.0)
    assert caught.value.accepted
    assert time.monotonic() - started < 20.0


def test_a_worker_that_dies_idle_does_not_cost_a_job() -> None:
    library = find_libngspice()
    if library is None:
        pytest.skip("no libngspice on this machine")
    pool = Pool("library", environment={"NGSPICE_LIBRARY_PATH": library})
    try:
        with pool.run(JOB, wall=20.0) as answer:
            assert answer.status == "done"
        (pid,) = pool.pids()
        alive = Worker.alive.fget
        os.kill(pid, signal.SIGKILL)
        with pytest.MonkeyPatch.context() as patch:
            # as if it had died just after the question whether it lives
            patch.setattr(Worker, "alive", property(lambda self: True if self.pid == pid else alive(self)))
            with pool.run(JOB, wall=20.0) as answer:
                assert answer.status == "done", answer.log
    finally:
        pool.close()


GOOD = {"status": "done", "run": True, "plots": [{"name": "op1", "vectors": [["a", "voltage"]]}], "log": [["o", "x"]]}
ARRAYS = [np.zeros(1)]


def test_well_formed_answers_are_accepted() -> None:
    assert _is_answer(GOOD, ARRAYS)
    assert _is_answer({"status": "memory", "log": []}, [])
    assert _is_answer({"status": "done", "code": 0, "log": [], "peak": 5, "folder": "job-1"}, [])


@pytest.mark.parametrize(
    "wrong",
    [
        {"status": 5}, {"plots": 5}, {"plots": [5]}, {"plots": [{"name": 5, "vectors": []}]},
        {"plots": [{"name": "a"}]},
        {"plots": [{"name": "a", "vectors": [["a"]]}]}, {"plots": [{"name": "a", "vectors": [["a", 5]]}]},
        {"plots": []}, {"log": 5}, {"log": [["a"]]}, {"log": ["ab"]}, {"code": "x"}, {"peak": [1]}, {"folder": 7},
        {"load_lines": 1.5}, {"code": True},
    ],
)  # fmt: skip
def test_a_malformed_answer_is_refused(wrong: dict[str, object]) -> None:
    assert not _is_answer({**GOOD, **wrong}, ARRAYS)


@pytest.mark.parametrize("header", [b'{"arrays": [["<f8", Infinity]]}', b'{"arrays": 5}', b"[]", b"nonsense"])
def test_a_malformed_frame_closes_the_pipe(header: bytes) -> None:
    reader, writer = os.pipe()
    os.write(writer, struct.pack("<I", len(header)) + header)
    with pytest.raises(frames.FrameClosed):
        frames.receive(reader)


def test_an_answer_that_is_too_long_closes_the_pipe() -> None:
    reader, writer = os.pipe()
    os.write(writer, struct.pack("<I", frames.MAX_ANSWER + 1))
    with pytest.raises(frames.FrameClosed):
        frames.receive(reader, most=frames.MAX_ANSWER)


def test_a_message_comes_as_it_was_sent_in_however_many_writes() -> None:
    reader, writer = os.pipe()  # 64 KiB: the arrays take many turns
    arrays = [np.arange(n, dtype=float) for n in (0, 1, 30_000, 0, 7, *[3] * 700)]
    sending = threading.Thread(target=frames.send, args=(writer, {"a": "b"}), kwargs={"arrays": arrays})
    sending.start()
    header, found = frames.receive(reader, deadline=time.monotonic() + 20.0)
    sending.join()
    assert json.dumps(header) == '{"a": "b"}'
    for one, other in zip(arrays, found, strict=True):
        np.testing.assert_array_equal(one, other)


def test_what_is_read_of_an_answer_is_a_share_of_the_engines_memory() -> None:
    assert frames.most_of_answer(0) == frames.MAX_ANSWER
    assert frames.MAX_ANSWER < frames.most_of_answer(4 << 30) <= (4 << 30) / 5 / 25 * 1.01
    assert frames.most_of_answer(1 << 50) == frames.MAX_HEADER
