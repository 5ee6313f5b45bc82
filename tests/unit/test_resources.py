from pathlib import Path

import pytest

import cosim
from cosim import resources
from cosim.errors import MissingFile, UnknownName

CHECKOUT = Path(cosim.__file__).parent.parent


@pytest.fixture
def netlists(tmp_path, monkeypatch):
    """A stand-in for an installation: a package folder with one netlist folder beside it."""
    package = tmp_path / "cosim"
    package.mkdir()
    folder = tmp_path / "netlists"
    (folder / "cells").mkdir(parents=True)
    for name in ("1t1r.cir", "1t1r.toml", "cells/dpi.cir", ".hidden.cir"):
        (folder / name).write_text(name)
    monkeypatch.setattr(resources, "files", lambda package_name: package)
    return folder


def test_listing_is_sorted_recursive_and_without_hidden_files(netlists):
    assert resources.listing("netlists", ".cir") == [netlists / "1t1r.cir", netlists / "cells/dpi.cir"]
    assert len(resources.listing("netlists")) == 3


@pytest.mark.parametrize(
    ("name", "suffix", "expected"),
    [
        ("1t1r", ".cir", "1t1r.cir"),
        ("1t1r.cir", ".cir", "1t1r.cir"),
        ("1t1r.cir", "", "1t1r.cir"),
        ("1t1r", ".toml", "1t1r.toml"),
        ("cells/dpi", ".cir", "cells/dpi.cir"),
    ],
)
def test_find_takes_a_name_with_or_without_its_suffix(netlists, name, suffix, expected):
    assert resources.find("netlists", name, suffix=suffix) == netlists / expected


@pytest.mark.parametrize("name", ["1t1t", "", ".", "cells", "../netlists/1t1r.cir", "/etc/passwd", "1t1r.toml"])
def test_find_refuses_what_is_not_shipped(netlists, name):
    with pytest.raises(UnknownName, match=r"unknown file '.*' in netlists"):
        resources.find("netlists", name, suffix=".cir")


def test_find_offers_the_nearest_name(netlists):
    with pytest.raises(UnknownName, match=r"did you mean 1t1r\?"):
        resources.find("netlists", "1t1", suffix=".cir")


def test_the_wheel_goes_before_the_checkout(netlists):
    packed = netlists.parent / "cosim" / "_data" / "netlists"
    packed.mkdir(parents=True)
    assert resources.folder("netlists") == packed


def test_a_lost_folder_and_an_unknown_kind_are_said(netlists):
    with pytest.raises(MissingFile, match="lacks its folder 'fits'"):
        resources.folder("fits")
    with pytest.raises(UnknownName, match="did you mean netlists"):
        resources.folder("netlist")


def test_the_three_folders_of_this_installation_are_found():
    roots = resources.shipped_roots()
    assert [root.name for root in roots] == list(resources.KINDS)
    assert all(root.is_dir() for root in roots)
    for path in resources.listing("netlists"):
        assert resources.find("netlists", path.relative_to(roots[0]).as_posix()) == path
