"""Datasets: where a file is looked for, what is accepted, and what is said when there is none."""

from __future__ import annotations

import gzip
import hashlib
import os
import sys
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest

from cosim.data import datasets
from cosim.errors import DataError, EngineMissing, MissingFile, UnknownName

TEXT = "1.0,5.0\n2.0,4.0\n3.0,\n"
HASH = hashlib.sha256(TEXT.encode()).hexdigest()


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """An empty $COSIM_DATA and an empty cache."""
    data, cache = tmp_path / "data", tmp_path / "cache"
    data.mkdir()
    monkeypatch.setenv("COSIM_DATA", str(data))
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    return data, cache / "cosim"


@pytest.fixture
def offline(monkeypatch):
    """Every download fails as it does without a network."""
    import pooch
    import requests

    def fail(*args, **kwargs):
        raise requests.ConnectionError("no route to host")

    monkeypatch.setattr(pooch, "retrieve", fail)


def serve(monkeypatch, content: bytes):
    """Every download gives ``content``; the addresses asked for are returned."""
    import pooch

    asked = []

    def retrieve(url, known_hash, fname, path, downloader):
        asked.append(url)
        if known_hash and known_hash != f"sha256:{hashlib.sha256(content).hexdigest()}":
            raise ValueError("hash differs")
        Path(path).mkdir(parents=True, exist_ok=True)
        (Path(path) / fname).write_bytes(content)
        return str(Path(path) / fname)

    monkeypatch.setattr(pooch, "retrieve", retrieve)
    return asked


@pytest.fixture
def small(monkeypatch):
    """The registry with one small file under the name gong2018, and no recorded hash for crosssim_reset."""
    entry = datasets.REGISTRY["gong2018"]
    changed = replace(entry, file=replace(entry.file, sha256=HASH))
    monkeypatch.setattr(datasets, "REGISTRY", MappingProxyType({**datasets.REGISTRY, "gong2018": changed}))


def test_cosim_data_comes_before_the_cache_and_the_network(folders, small, offline):
    data, cache = folders
    assert datasets.locate("gong2018").place == "network"
    cache.mkdir(parents=True)
    (cache / "gong2018_reram_pulses.csv").write_text(TEXT)
    assert datasets.locate("gong2018").place == "cache"
    (data / "gong2018_reram_pulses.csv").write_text(TEXT)
    assert datasets.locate("gong2018").place == "COSIM_DATA"
    curve = datasets.load("gong2018")
    np.testing.assert_array_equal(curve["polarity"], [1, 1, 1, -1, -1])
    assert curve.fingerprint == HASH
    assert "IBM/aihwkit" in curve.source


def test_the_network_is_asked_at_the_recorded_commit(folders, small, monkeypatch):
    asked = serve(monkeypatch, TEXT.encode())
    assert len(datasets.load("gong2018")) == 5
    file = datasets.REGISTRY["gong2018"].file
    assert asked == [file.url]
    assert file.commit in file.url
    assert file.url.endswith(file.path)


def test_without_a_network_one_sentence_says_where_it_was_looked_for(folders, small, offline):
    with pytest.raises(MissingFile) as caught:
        datasets.load("gong2018")
    said = str(caught.value)
    assert str(folders[0]) in said
    assert str(folders[1]) in said
    assert "ConnectionError" in said
    assert "set COSIM_DATA" in said
    assert "\n" not in said


def test_another_content_is_refused_wherever_it_comes_from(folders, small, monkeypatch):
    serve(monkeypatch, b"1,2\n")
    with pytest.raises(DataError, match="SHA-256 differs"):
        datasets.load("gong2018")
    (folders[0] / "gong2018_reram_pulses.csv").write_text("1,2\n")
    with pytest.raises(DataError, match="is not the file that IBM/aihwkit has"):
        datasets.load("gong2018")


def test_a_file_without_a_recorded_hash_needs_consent(folders, monkeypatch):
    asked = serve(monkeypatch, b"a,b\n1e-4,2e-4\n2e-4,3e-4\n")
    with pytest.raises(DataError, match="unverified=True"):
        datasets.load("crosssim_reset")
    assert asked == []
    curve = datasets.load("crosssim_reset", unverified=True)
    assert curve.source.endswith("(unverified)")
    assert set(curve["polarity"]) == {-1.0}
    np.testing.assert_allclose(curve["read"], [1e-3, 2e-3, 2e-3, 3e-3])


def test_every_entry_says_what_it_is():
    for name, entry in datasets.REGISTRY.items():
        assert entry.name == name
        assert entry.title
        assert entry.licence
        if entry.file is not None:
            assert len(entry.file.commit) == 40
            assert len(entry.file.sha256) in (0, 64)


def test_unknown_names_and_images(folders):
    with pytest.raises(UnknownName, match="gong2018"):
        datasets.load("gong")
    with pytest.raises(DataError, match="load_mnist"):
        datasets.load("mnist")


def idx(values: np.ndarray) -> bytes:
    header = bytes((0, 0, 8, values.ndim)) + np.array(values.shape, ">u4").tobytes()
    return gzip.compress(header + values.astype(np.uint8).tobytes())


def test_mnist_is_checked_by_its_uncompressed_content(folders, monkeypatch, offline):
    folder = folders[0] / "mnist"
    folder.mkdir()
    arrays = {"images": np.arange(24).reshape(6, 2, 2), "labels": np.arange(6)}
    contents, expected = {}, {}
    for name in datasets.MNIST:
        array = arrays["images" if "images" in name else "labels"]
        contents[name] = idx(array)
        md5 = hashlib.md5(gzip.decompress(contents[name]), usedforsecurity=False).hexdigest()
        expected[name] = (md5, array.shape)
    monkeypatch.setattr(datasets, "MNIST", MappingProxyType(expected))
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    assert datasets.locate("mnist").place == "COSIM_DATA"
    train_x, train_y, test_x, _ = datasets.load_mnist()
    np.testing.assert_array_equal(train_x, arrays["images"])
    np.testing.assert_array_equal(train_y, arrays["labels"])
    assert test_x.dtype == np.uint8
    (folder / "t10k-images-idx3-ubyte.gz").write_bytes(idx(arrays["images"] + 1))
    assert datasets.locate("mnist").place == "network"
    (folder / "train-labels-idx1-ubyte.gz").unlink()
    monkeypatch.setattr(datasets, "_download", lambda *_, **__: pytest.fail("it went to the network"))
    with pytest.raises(DataError, match=r"t10k-images.* is damaged or another file than MNIST's.*; replace it"):
        datasets.load_mnist()


def test_a_mirror_s_wrong_file_is_not_kept(folders, monkeypatch):
    serve(monkeypatch, gzip.compress(b"nothing"))
    with pytest.raises(DataError, match="uncompressed MD5 differs"):
        datasets.load_mnist()
    assert not list((folders[1] / "mnist").iterdir())


def test_digits_or_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(EngineMissing, match="pip install"):
        datasets.digits()


@pytest.mark.needs("sklearn")
def test_digits():
    images, labels = datasets.digits()
    assert images.shape == (1797, 8, 8)
    assert (images.dtype, labels.dtype) == (np.uint8, np.uint8)
    assert images.max() == 16
    assert set(labels) == set(range(10))


def test_scikit_learn_is_not_imported_with_the_module():
    import subprocess

    code = "import cosim.data.datasets, sys; sys.exit('sklearn' in sys.modules or 'pooch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "rows", "first"),
    [
        ("crosssim_set", 7362, 1.60588e-3),
        ("gong2018", 2000, -0.84444),
        ("enode_increasing", 48 * 122, 6e-6),
        ("enode_decreasing", 48 * 122, -2e-6),
        ("oect_transfer", 122, -6.08e-4),
    ],
)
def test_the_measured_files_themselves(name, rows, first):
    if not os.environ.get("COSIM_DATA") or datasets.locate(name).path is None:
        pytest.skip(f"{name} is not on this machine: set COSIM_DATA")
    curve = datasets.load(name)
    assert len(curve) == rows
    assert curve.measured[0] == pytest.approx(first, rel=1e-12)
    assert datasets.REGISTRY[name].file.sha256 == curve.fingerprint


@pytest.mark.data
def test_mnist_itself():
    if datasets.locate("mnist").path is None:
        pytest.skip("MNIST is not on this machine: set COSIM_DATA")
    train_x, train_y, test_x, test_y = datasets.load_mnist()
    assert train_x.shape == (60_000, 28, 28)
    assert test_x.shape == (10_000, 28, 28)
    assert np.bincount(train_y).tolist()[:3] == [5923, 6742, 5958]
    assert np.bincount(test_y).sum() == 10_000
