"""A surrogate's path that leads to no file: it neither blocks nor fills the memory."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cosim.errors import InputError
from cosim.surrogate import files


def test_a_pipe_and_a_device_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.npz")
    (tmp_path / "zero.npz").symlink_to("/dev/zero")
    for name in ("pipe.npz", "zero.npz"):
        with pytest.raises(InputError, match="is not a regular file"):
            files.load(tmp_path / name)


def test_what_asks_for_too_much_memory_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from claims.bombs import MAKERS

    def greedy(*_: object) -> None:
        raise MemoryError

    MAKERS["correction_degree"](tmp_path / "x.npz")
    monkeypatch.setattr("cosim.surrogate.document.rebuilt", greedy)
    with pytest.raises(InputError, match="more memory than there is"):
        files.load(tmp_path / "x.npz")
