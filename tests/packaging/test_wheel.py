"""A real ``pip install`` of the project into clean environments, used from a folder that is not the checkout.

The environments see the packages of the one that runs the tests through a ``.pth`` file, so that only cosim itself is
installed, and nothing is fetched; the path hook of an editable cosim in that environment is not among them.
"""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

import cosim
from cosim import resources

CHECKOUT = Path(__file__).parents[2]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (CHECKOUT / "pyproject.toml").exists(), reason="packaging is tested from a checkout"),
    pytest.mark.skipif(importlib.util.find_spec("hatchling") is None, reason="hatchling is not installed (extra dev)"),
]
PIP = ["-m", "pip", "--disable-pip-version-check", "--no-input", "-q"]


def call(*command, cwd, **environment):
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "COSIM_DEBUG")}
    result = subprocess.run(
        [str(word) for word in command], cwd=cwd, env=kept | environment, capture_output=True, text=True, timeout=300
    )
    assert result.returncode in (0, 1), result.stdout + result.stderr
    return result


def succeed(*command, cwd, **environment):
    result = call(*command, cwd=cwd, **environment)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """What a clean checkout holds: the files that are not ignored, without the environments and caches of this one."""
    root = tmp_path_factory.mktemp("source")
    for name in (
        "cosim",
        *resources.KINDS,
        "examples",
        "tests",
        "tools",
        "run",
        ".gitignore",
        "pyproject.toml",
        "LICENSE",
    ):
        path = CHECKOUT / name
        ignored = shutil.ignore_patterns("__pycache__", "*.osdi")
        shutil.copytree(path, root / name, ignore=ignored) if path.is_dir() else shutil.copy(path, root / name)
    for path in CHECKOUT.glob("*.md"):
        shutil.copy(path, root / path.name)
    return root


def environment(folder):
    """A virtual environment whose dependencies are this one's, and whose cosim is not."""
    succeed(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder.parent)
    [site] = (folder / "lib").glob("python*/site-packages")
    # A .pth line is a folder to search; the .pth files in it, editable installs among them, are not read.
    (site / "dependencies.pth").write_text(f"{sysconfig.get_path('purelib')}\n{sysconfig.get_path('platlib')}\n")
    return folder / "bin/python"


@pytest.fixture(scope="module")
def wheel(source, tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    succeed(sys.executable, *PIP, "wheel", "--no-build-isolation", "--no-deps", "-w", folder, source, cwd=folder)
    [path] = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(source, tmp_path_factory):
    """``pip install .`` into a clean environment; returns its Python and a folder to work in."""
    root = tmp_path_factory.mktemp("installed")
    python = environment(root / "venv")
    install = ["install", "--no-build-isolation", "--no-deps", "--ignore-installed"]
    succeed(sys.executable, "-m", "pip", "--python", python, *PIP[2:], *install, source, cwd=root)
    (root / "work").mkdir()
    return python, root / "work"


def shipped(root):
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for kind in resources.KINDS
        for path in (root / kind).rglob("*")
        if path.is_file() and not path.name.startswith(".")
    }


def test_the_wheel_holds_the_package_the_data_and_the_licence(wheel, source):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        data = {name.removeprefix("cosim/_data/"): archive.read(name) for name in names if "cosim/_data/" in name}
    assert {name: text for name, text in data.items() if not Path(name).name.startswith(".")} == shipped(source)
    modules = {path.relative_to(source).as_posix() for path in (source / "cosim").rglob("*.py")}
    assert modules | {"cosim/py.typed"} <= names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    unwanted = ("tests/", "claims/", "cosim/claims/", "netlists/")
    assert not [name for name in names if name.startswith(unwanted) or name.endswith((".pyc", ".osdi"))]


def test_an_installation_finds_its_own_data(installed, source):
    python, work = installed
    code = """
import json, cosim, cosim.resources as r
files = {f"{k}/{p.relative_to(r.folder(k)).as_posix()}": p.read_text() for k in r.KINDS for p in r.listing(k)}
print(json.dumps([cosim.__file__, [str(root) for root in r.shipped_roots()], files]))
"""
    module, roots, files = json.loads(succeed(python, "-c", code, cwd=work))
    site = python.parent.parent
    assert Path(module).is_relative_to(site)
    assert all(Path(root).is_relative_to(site) for root in roots)
    assert {name: text.encode() for name, text in files.items()} == shipped(source)


def test_the_command_runs_from_elsewhere(installed):
    python, work = installed
    command = python.parent / "cosim"
    assert succeed(command, "--version", cwd=work) == f"cosim {cosim.__version__}\n"
    assert succeed(python, "-m", "cosim", "--version", cwd=work) == f"cosim {cosim.__version__}\n"
    report = json.loads(call(command, "doctor", "--json", cwd=work).stdout)
    assert report["cosim"] == cosim.__version__
    assert not list(work.iterdir())


def test_an_editable_installation_uses_the_checkout(source, tmp_path):
    python = environment(tmp_path / "venv")
    install = ["install", "--no-build-isolation", "--no-deps", "--ignore-installed", "-e", source]
    succeed(sys.executable, "-m", "pip", "--python", python, *PIP[2:], *install, cwd=tmp_path)
    code = "import cosim.resources as r; print(*r.shipped_roots(), sep='\\n')"
    assert succeed(python, "-c", code, cwd=tmp_path).split() == [str(source / kind) for kind in resources.KINDS]


def test_the_source_archive_builds_the_same_wheel(source, wheel, tmp_path):
    build = "from hatchling.build import build_sdist as build; import sys; print(build(sys.argv[1]))"
    name = succeed(sys.executable, "-c", build, tmp_path, cwd=source).split()[-1]
    succeed(
        sys.executable,
        *PIP,
        "wheel",
        "--no-build-isolation",
        "--no-deps",
        "-w",
        tmp_path,
        tmp_path / name,
        cwd=tmp_path,
    )
    [again] = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as first, zipfile.ZipFile(again) as second:
        assert {n: first.read(n) for n in first.namelist()} == {n: second.read(n) for n in second.namelist()}
