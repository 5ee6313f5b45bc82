"""The frame of the command line: exit codes, one sentence an error, and a start that imports nothing heavy."""

import errno
import json
import os
import subprocess
import sys
import types
from importlib.machinery import ModuleSpec

import pytest
import typer

import cosim
from cosim import errors
from cosim.cli import app as frame


@pytest.fixture
def verb(monkeypatch):
    """A verb ``doctor`` that does what the test says."""

    def install(body):
        module = types.ModuleType("cosim.cli.doctor")
        module.__spec__ = ModuleSpec(module.__name__, None)
        module.register = lambda app: app.command("doctor")(body)
        monkeypatch.setitem(sys.modules, "cosim.cli.doctor", module)

    return install


def raising(error):
    def body() -> None:
        raise error

    return body


@pytest.mark.parametrize(
    ("error", "code", "sentence"),
    [
        (errors.InputError("bad", remedy="mend it"), 2, "cosim: bad; mend it"),
        (errors.DataError("no number", where=errors.Where("a.csv", 3, 2)), 2, "cosim: a.csv:3, column 2: no number"),
        (errors.EngineMissing("no ngspice", remedy="install it"), 3, "cosim: no ngspice; install it"),
        (errors.SimulationError("timestep too small", outcome="x"), 1, "cosim: timestep too small"),
        (errors.FitError("no start"), 1, "cosim: no start"),
        (errors.DomainError("outside"), 1, "cosim: outside"),
        (PermissionError(errno.EACCES, "Permission denied", "out/x"), 1, "cosim: out/x: Permission denied"),
        (OSError(errno.EIO, "Input/output error"), 1, "cosim: Input/output error"),
        (
            OSError(errno.ENOSPC, "No space left on device", "out/x"),
            1,
            "cosim: out/x: No space left on device; free some space, or choose another folder",
        ),
        (MemoryError(), 1, "cosim: out of memory; take fewer cases, neurons or samples at a time"),
        (KeyboardInterrupt(), 130, "cosim: interrupted"),
        (typer.Abort(), 130, "cosim: interrupted"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
def test_each_failure_has_its_exit_code_and_one_sentence(verb, capfd, error, code, sentence):
    verb(raising(error))
    assert frame.main(["doctor"]) == code
    assert capfd.readouterr() == ("", f"{sentence}\n")


def test_every_error_of_the_tree_is_one_sentence_without_a_traceback(verb, capfd):
    def leaves(cls):
        return [cls, *(leaf for sub in cls.__subclasses__() for leaf in leaves(sub))]

    special = {errors.UnknownName: ("node", "nn", ["n1"])}
    for cls in leaves(errors.CosimError):
        keywords = {"outcome": "crashed"} if cls is errors.SimulationError else {}
        verb(raising(cls(*special.get(cls, ("what happened",)), **keywords)))
        assert frame.main(["doctor"]) in (1, 2, 3)
        assert len(capfd.readouterr().err.splitlines()) == 1


def test_a_bug_says_that_it_is_one_and_how_to_see_more(verb, capfd):
    verb(raising(ZeroDivisionError("division by zero")))
    assert frame.main(["doctor"]) == 70
    [line] = capfd.readouterr().err.splitlines()
    assert "a bug of cosim" in line
    assert "ZeroDivisionError: division by zero" in line
    assert "--debug" in line


@pytest.mark.parametrize("words", [["--debug", "doctor"], ["doctor", "--debug"]])
def test_debug_shows_the_traceback_and_keeps_the_exit_code(verb, capfd, words):
    verb(raising(errors.InputError("bad")))
    assert frame.main(words) == 2
    assert "Traceback" in capfd.readouterr().err


def test_debug_by_environment(verb, capfd, monkeypatch):
    verb(raising(errors.InputError("bad")))
    for value, shown in (("1", True), ("0", False), ("", False)):
        monkeypatch.setenv("COSIM_DEBUG", value)
        frame.main(["doctor"])
        assert ("Traceback" in capfd.readouterr().err) is shown


def test_after_two_dashes_debug_is_the_users_own_word(verb, capfd):
    def body(name: str) -> None:
        print(name)

    verb(body)
    assert frame.main(["doctor", "--", "--debug"]) == 0
    assert capfd.readouterr().out == "--debug\n"


def test_a_verb_ends_with_the_code_that_it_chose(verb):
    verb(raising(typer.Exit(1)))
    assert frame.main(["doctor"]) == 1


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["docter"], "cosim: No such command 'docter'"),
        (["--nonsense"], "cosim: No such option: --nonsense"),
        (["doctor", "--nonsense"], "see 'cosim doctor --help'"),
        (["doctor", "extra"], "see 'cosim doctor --help'"),
    ],
)
def test_wrong_usage_is_one_sentence(verb, capfd, words, expected):
    verb(lambda: None)
    assert frame.main(words) == 2
    [line] = capfd.readouterr().err.splitlines()
    assert line.startswith("cosim: ")
    assert expected in line


def test_version_and_help(capfd):
    assert frame.main(["--version"]) == 0
    assert capfd.readouterr().out == f"cosim {cosim.__version__}\n"
    assert frame.main(["--help"]) == 0
    text = capfd.readouterr().out
    assert all(verb in text for verb in frame.offered())
    assert frame.main([]) == 2
    assert "Usage" in capfd.readouterr().out


@pytest.mark.parametrize("verb", frame.offered())
def test_each_verb_registers_itself_under_its_name_only(verb):
    app = typer.Typer()
    app.callback()(lambda: None)  # without it, typer takes a single command for the application itself
    frame.import_module(f"cosim.cli.{verb}").register(app)
    assert list(typer.main.get_command(app).commands) == [verb]


@pytest.mark.parametrize("verb", frame.offered())
def test_each_verb_has_help(verb, capfd):
    assert frame.main([verb, "--help"]) == 0
    assert f"cosim {verb}" in capfd.readouterr().out


def python(code, **environment):
    env = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")} | environment
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, timeout=60, check=True)


def test_help_imports_nothing_heavy():
    code = "import sys; from cosim.cli.app import main; main(['--help']); print(*sys.modules, file=sys.stderr)"
    loaded = {name.partition(".")[0] for name in python(code).stderr.split()}
    # Each of these costs 0.1 s to 1 s before the first word is on the screen.
    assert not loaded & {
        "numpy",
        "scipy",
        "matplotlib",
        "xarray",
        "pandas",
        "lmfit",
        "sklearn",
        "numba",
        "pydantic",
        "PySpice",
    }


def test_threads_of_numerical_libraries_are_one_unless_the_user_says_otherwise():
    code = (
        "import json, os, sys; from cosim.cli.app import main; sys.argv[1:] = ['--version']; main(); "
        "print(json.dumps(dict(os.environ)))"
    )
    found = json.loads(python(code, OMP_NUM_THREADS="3").stdout.splitlines()[-1])
    assert (found["OMP_NUM_THREADS"], found["OPENBLAS_NUM_THREADS"], found["MKL_NUM_THREADS"]) == ("3", "1", "1")


def test_a_reader_that_goes_away_is_not_an_error():
    run = "import sys; from cosim.cli.app import main; sys.exit(main(['--help']))"
    process = subprocess.Popen([sys.executable, "-c", run], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(timeout=60) != 70


def test_a_shell_can_complete_verbs():
    code = "import sys; from cosim.cli.app import main; sys.exit(main())"
    result = python(code, _COSIM_COMPLETE="complete_bash", COMP_WORDS="cosim de", COMP_CWORD="1")
    assert result.stdout.split() == [verb for verb in frame.offered() if verb.startswith("de")]
