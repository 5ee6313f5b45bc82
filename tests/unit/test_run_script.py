"""``./run`` on machines that are made up: every program it calls is a script in one folder, which is the whole PATH.

The real ``sh``, the real text tools and the real Python's file locks run; only package managers, ngspice, ``sudo``,
pip and ``python -m venv`` are stand-ins, so nothing is installed and nothing outside the test's folder is written.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
PARALLEL = "ran -m pytest -n logical --maxprocesses 8 --dist worksteal"  # what ./run test starts, unless told otherwise
pytestmark = pytest.mark.skipif(
    not (CHECKOUT / "run").exists(), reason="./run is part of a checkout, not of an installation"
)

# What the script may take for granted on any POSIX machine.
TOOLS = [
    *("sh", "cat", "cksum", "cp", "cut", "dirname", "env", "grep", "head", "id", "ls", "mkdir", "rm", "sed", "sleep"),
    *("sort", "tail", "tee", "tr", "true", "uname", "wc"),
]

PYTHON = """\
case "$*" in
    *"-m venv"*)
        for folder; do :; done
        echo "venv" >>"$WORLD/calls"
        mkdir -p "$folder/bin"
        cp "$WORLD/venv-python" "$folder/bin/python"
        ;;
    *version_info*'>='*) echo "$PYTHON_VERSION" ;;
    *"import ensurepip"*) [ -e "$WORLD/has-venv" ] ;;
    -V) echo "Python ${PYTHON_VERSION% *}.0" ;;
    *) exec "$REAL_PYTHON" "$@" ;;
esac
"""
VENV_PYTHON = """\
case "$*" in
    "-m pip --version") echo "pip 23" ;;
    *"-m pip"*)
        echo "pip $*" >>"$WORLD/calls"
        [ -z "${PIP_TAKES:-}" ] || sleep "$PIP_TAKES"
        [ -z "${PIP_SAYS:-}" ] || { echo "$PIP_SAYS"; exit 1; }
        ;;
    -V) echo "Python 3.11.0" ;;
    *) echo "ran $*"; exit "${VERB_EXIT:-0}" ;;
esac
"""
NGSPICE_WITH_OSDI = "cat >/dev/null; echo 'Error opening osdi lib \"/nonexistent\"'"
NGSPICE_WITHOUT = "cat >/dev/null; echo 'osdi: no such command available in ngspice'"
APT_GET = """\
echo "apt-get $*" >>"$WORLD/calls"
[ "${DEBIAN_FRONTEND:-}" = noninteractive ] || { echo "would ask"; exit 100; }
[ -z "${APT_SAYS:-}" ] || { echo "$APT_SAYS"; exit 100; }
case "$*" in
    *update) [ ! -e "$WORLD/etc/apt/sources.list.d/cosim-backports.list" ] || : >"$WORLD/knows-backports" ;;
    *install*ngspice*)
        case "$*" in *-backports*) which=with-osdi ;; *) which=own-ngspice ;; esac
        cp "$WORLD/$which" "$WORLD/bin/ngspice"
        ;;
esac
case "$*" in *install*-venv*) : >"$WORLD/has-venv" ;; esac
case "$*" in *install*binutils*) cp "$WORLD/bin/uname" "$WORLD/bin/ld" ;; esac
"""
APT_CACHE = """\
if [ "$2" ]; then
    case $2 in ngspice) version=$OWN_NGSPICE ;; *) version=1.0 ;; esac
    printf '%s:\\n  Installed: (none)\\n  Candidate: %s\\n' "$2" "$version"
else
    echo "     release v=12,o=Debian,a=oldstable,n=bookworm,l=Debian,c=main,b=amd64"
    [ ! -e "$WORLD/knows-backports" ] || echo "     release o=Debian Backports,a=b,n=bookworm-backports,c=main"
fi
"""
# dpkg --compare-versions A ge B
DPKG = 'case "$2" in "") exit 1 ;; esac; [ "$(printf "%s\\n%s\\n" "$2" "$4" | sort -V | head -n 1)" = "$4" ]'
SUDO = 'echo sudo >>"$WORLD/calls"; while case $1 in -*) true ;; *) false ;; esac; do shift; done; exec "$@"'


class World:
    """A machine in one folder: ``bin`` is its PATH, ``etc`` its configuration, ``checkout`` the project."""

    def __init__(self, root):
        self.root, self.bin, self.checkout = root, root / "bin", root / "a checkout"
        for folder in (self.bin, self.checkout / "tools", root / "etc/apt/sources.list.d"):
            folder.mkdir(parents=True)
        for name in ("run", "pyproject.toml", "tools/apt_source.py"):
            shutil.copy(CHECKOUT / name, self.checkout / name)
        for tool in TOOLS:
            (self.bin / tool).symlink_to(shutil.which(tool))
        self.environment = {
            "PATH": str(self.bin), "HOME": str(root), "WORLD": str(root), "REAL_PYTHON": sys.executable,
            "PYTHON_VERSION": "3.11 1", "OWN_NGSPICE": "44.2+ds-1", "COSIM_ETC": str(root / "etc"),
        }  # fmt: skip
        self.script("python3", PYTHON)
        self.script("ldconfig", "[ ! -e \"$WORLD/bin/ngspice\" ] || echo 'libngspice.so.0 => /lib/libngspice.so.0'")
        self.write("venv-python", VENV_PYTHON)
        self.write("with-osdi", NGSPICE_WITH_OSDI)
        self.write("own-ngspice", NGSPICE_WITH_OSDI)
        (root / "has-venv").touch()

    def write(self, name, body):
        path = self.root / name
        path.write_text(f"#!{shutil.which('sh')}\n{body}\n")
        path.chmod(0o755)

    def script(self, name, body):
        (self.bin / name).unlink(missing_ok=True)
        self.write(f"bin/{name}", body)

    def with_engine(self, body=NGSPICE_WITH_OSDI):
        self.script("ngspice", body)
        self.script("ld", "")
        return self

    def with_apt(self, *, root=True, sudo=False):
        for name, body in (("apt-get", APT_GET), ("apt-cache", APT_CACHE), ("dpkg", DPKG)):
            self.script(name, body)
        self.script("id", f"case $1 in -u) echo {0 if root else 1000} ;; *) echo somebody ;; esac")
        if sudo:
            self.script("sudo", SUDO)
        (self.root / "etc/os-release").write_text("ID=debian\nVERSION_CODENAME=bookworm\n")
        (self.root / "etc/apt/sources.list").write_text("deb http://a.example/debian bookworm main\n")
        return self

    def start(self, *arguments, **environment):
        return subprocess.Popen(
            [self.checkout / "run", *arguments], cwd=self.root, env=self.environment | environment, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip

    def run(self, *arguments, **environment):
        process = self.start(*arguments, **environment)
        out, err = process.communicate(timeout=60)
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)

    def calls(self, word):
        path = self.root / "calls"
        return [line for line in path.read_text().splitlines() if line.startswith(word)] if path.exists() else []

    def log(self):
        return (self.checkout / ".venv/setup.log").read_text()


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def assert_one_sentence(result, *words):
    assert result.returncode == 1
    [line] = result.stderr.splitlines()
    assert line.startswith("run: ")
    for word in words:
        assert word in line


# --- verbs ----------------------------------------------------------------------------------------------------------


def test_help_needs_nothing_and_an_unknown_verb_says_so(world):
    assert "usage: ./run VERB" in world.run("help").stdout
    assert world.run().stdout == world.run("--help").stdout
    result = world.run("tset")
    assert (result.returncode, result.stderr) == (2, "run: unknown verb 'tset'; './run help' lists them\n")
    assert not (world.checkout / ".venv").exists()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["test", "-k", "a b"], f"{PARALLEL} -k a b"),
        (["test", "-p", "no:xdist"], "ran -m pytest -p no:xdist"),
        (["test", "-n", "3"], "ran -m pytest -n 3"),
        (["test", "--pdb"], "ran -m pytest --pdb"),
        (["demo", "--quick"], "ran -P {checkout}/examples/line.py --quick"),
        (["examples", "--quick"], "ran -P {checkout}/examples/line.py --quick"),  # the first that fails ends it
        (["cosim", "doctor", "--json"], "ran -P -m cosim doctor --json"),
        (["measure"], "ran -P -m claims"),
        (["measure", "line"], "ran -P -m claims line"),
        (["reproduce", "line"], "ran -P -m claims --reproduce line"),
    ],
)
def test_a_verb_is_one_call_of_the_environments_python(world, arguments, expected):
    result = world.with_engine().run(*arguments, VERB_EXIT="3")
    assert (result.stdout, result.stderr, result.returncode) == (f"{expected.format(checkout=world.checkout)}\n", "", 3)


def test_check_stops_at_the_first_tool_that_fails(world):
    world.with_engine().run("test")
    for tool in ("ruff", "mypy"):
        world.write(f"a checkout/.venv/bin/{tool}", f"echo {tool} $*; [ {tool} = mypy ]")
    result = world.run("check")
    assert (result.returncode, result.stdout) == (1, "ruff check .\n")


# --- the virtual environment ----------------------------------------------------------------------------------------


def test_the_environment_is_made_once_for_a_pyproject(world):
    world.with_engine()
    for _ in range(2):
        assert world.run("test").returncode == 0
    assert world.run("demo").returncode == 0  # what tests need holds what the demo needs
    assert (len(world.calls("venv")), len(world.calls("pip"))) == (1, 1)
    assert world.calls("pip")[0].endswith(f"-e {world.checkout}[dev]")
    with (world.checkout / "pyproject.toml").open("a") as file:
        file.write("# one more package\n")
    world.run("demo")
    assert (len(world.calls("venv")), len(world.calls("pip"))) == (1, 2)
    assert world.calls("pip")[1].endswith("[all]")
    world.run("test")
    assert len(world.calls("pip")) == 3


def test_setup_looks_at_everything_again(world):
    world.with_apt().write("own-ngspice", NGSPICE_WITHOUT)
    world.with_engine(NGSPICE_WITHOUT).run("test", COSIM_NO_SYSTEM="1")
    assert not world.calls("apt-get")
    result = world.run("setup", OWN_NGSPICE="39.3+ds-1")
    assert (result.stdout, result.stderr) == ("ran -P -m cosim doctor\n", "")
    assert any("backports" in call for call in world.calls("apt-get"))
    assert (len(world.calls("venv")), len(world.calls("pip"))) == (1, 2)


@pytest.mark.parametrize(
    "breakage",
    [
        lambda venv: (venv / "bin/python").unlink(),
        lambda venv: (venv / "bin/python").write_text("#!/bin/sh\nexit 1\n"),
        lambda venv: (venv / "unfinished").touch() or (venv / "stamp-dev").unlink(),
        lambda venv: shutil.rmtree(venv),
    ],
    ids=["no python", "broken python", "unfinished", "gone"],
)
def test_a_broken_environment_is_made_again(world, breakage):
    world.with_engine().run("test")
    breakage(world.checkout / ".venv")
    assert world.run("test").stdout == f"{PARALLEL}\n"
    assert (len(world.calls("venv")), len(world.calls("pip"))) == (2, 2)


def test_an_interrupted_set_up_starts_again(world):
    process = world.with_engine().start("test", PIP_TAKES="60")
    deadline = time.monotonic() + 20
    while not world.calls("pip"):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert world.run("test").stdout == f"{PARALLEL}\n"
    assert len(world.calls("venv")) == 2


def test_two_calls_at_the_same_time_make_one_environment(world):
    world.with_engine()
    both = [world.start("test", PIP_TAKES="0.5") for _ in range(2)]
    assert [process.communicate(timeout=60)[0] for process in both] == [f"{PARALLEL}\n"] * 2
    assert (len(world.calls("venv")), len(world.calls("pip"))) == (1, 1)


def test_a_call_waits_while_another_makes_a_broken_environment_again(world):
    world.with_engine().run("test")
    (world.checkout / ".venv/bin/python").unlink()
    rm = shutil.which("rm")
    slowly = f': >"$2/removing"; {rm} "$2/setup.log"; sleep 1'
    world.script("rm", f'[ ! -e "$2/setup.log" ] || {{ {slowly}; }}; exec {rm} "$@"')
    first = world.start("test")
    deadline = time.monotonic() + 20
    while not (world.checkout / ".venv/removing").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    second = world.run("test")
    assert (second.stdout, second.stderr) == (f"{PARALLEL}\n", "")
    assert first.communicate(timeout=60)[0] == f"{PARALLEL}\n"
    assert (len(world.calls("venv")), len(world.calls("pip"))) == (2, 2)


def test_pips_failure_shows_the_end_of_the_log(world):
    result = world.with_engine().run("test", PIP_SAYS="ERROR: No matching distribution found for numpy")
    assert result.returncode == 1
    assert "ERROR: No matching distribution found for numpy" in result.stderr
    assert result.stderr.splitlines()[-1].startswith("run: pip could not install cosim")
    assert "No matching distribution" in world.log()


def test_pip_without_a_network_is_one_sentence(world):
    result = world.with_engine().run("test", PIP_SAYS="NewConnectionError: Temporary failure in name resolution")
    assert_one_sentence(result, "index cannot be reached", "run this again")


def test_an_environment_elsewhere(world):
    elsewhere = world.root / "elsewhere"
    assert world.with_engine().run("demo", COSIM_VENV=str(elsewhere)).returncode == 0
    assert (elsewhere / "stamp-all").exists()
    assert not (world.checkout / ".venv").exists()


def test_a_folder_of_something_else_is_not_taken_for_an_environment(world):
    precious = world.root / "thesis"
    precious.mkdir()
    (precious / "chapter1.tex").touch()
    lock = world.root / "thesis.lock"
    lock.write_text("of another program")
    assert_one_sentence(world.with_engine().run("demo", COSIM_VENV=str(precious)), "thesis", "empty")
    assert [path.name for path in precious.iterdir()] == ["chapter1.tex"]
    assert lock.read_text() == "of another program"


def test_an_environment_of_the_users_own_is_not_removed(world):
    own = world.checkout / ".venv"
    own.mkdir()
    (own / "pyvenv.cfg").touch()
    assert_one_sentence(world.with_engine().run("test"), ".venv", "something else", "COSIM_VENV")
    assert [path.name for path in own.iterdir()] == ["pyvenv.cfg"]


def test_a_place_that_cannot_be_written_is_one_sentence(world):
    (world.root / "file").touch()  # no folder can be made in a file, not even by root
    result = world.with_engine().run("test", COSIM_VENV=str(world.root / "file/venv"))
    assert_one_sentence(result, "cannot be written", "COSIM_VENV")


# --- Python ---------------------------------------------------------------------------------------------------------


def test_an_old_python_is_one_sentence(world):
    assert_one_sentence(
        world.with_engine().run("test", PYTHON_VERSION="3.10 0"), "Python 3.11 or newer", "python3 is 3.10"
    )


def test_no_python_is_one_sentence(world):
    (world.bin / "python3").unlink()
    assert_one_sentence(world.with_engine().run("test"), "Python 3.11 or newer", "PYTHON=")


def test_a_newer_python_beside_an_old_one_is_found(world):
    world.with_engine().script("python3.12", 'PYTHON_VERSION="3.12 1"\n' + PYTHON)
    assert world.run("test", PYTHON_VERSION="3.10 0").returncode == 0


# --- ngspice --------------------------------------------------------------------------------------------------------


def test_the_distributions_own_ngspice_is_taken_where_it_can_have_osdi(world):
    (world.root / "has-venv").unlink()
    assert world.with_apt().run("test").returncode == 0
    assert not (world.root / "etc/apt/sources.list.d/cosim-backports.list").exists()
    installs = [call for call in world.calls("apt-get") if " install " in call]
    venv = f"python3.{sys.version_info.minor}-venv"
    assert [call.split(" install ")[1] for call in installs] == ["ngspice libngspice0", f"binutils {venv}"]
    assert "backports" not in " ".join(installs)


@pytest.mark.parametrize("there", [True, False], ids=["39 installed", "none installed"])
@pytest.mark.parametrize("root", [True, False], ids=["root", "sudo"])
def test_an_ngspice_without_osdi_comes_from_backports(world, root, there):
    world.with_apt(root=root, sudo=not root).write("own-ngspice", NGSPICE_WITHOUT)
    if there:
        world.with_engine(NGSPICE_WITHOUT)
    result = world.run("test", OWN_NGSPICE="39.3+ds-1")
    assert (result.returncode, result.stderr) == (0, "")
    entry = (world.root / "etc/apt/sources.list.d/cosim-backports.list").read_text()
    assert entry == "deb http://a.example/debian bookworm-backports main\n"
    assert any("-t bookworm-backports ngspice libngspice0" in call for call in world.calls("apt-get"))
    assert bool(world.calls("sudo")) is not root


def test_a_machine_that_has_backports_already_gets_no_entry(world):
    (world.root / "knows-backports").touch()
    assert world.with_apt().run("test", OWN_NGSPICE="39.3+ds-1").returncode == 0
    assert not list((world.root / "etc/apt/sources.list.d").iterdir())


def test_an_archive_without_backports_leaves_no_entry_and_cosim_goes_on_without_osdi(world):
    world.with_apt().write("own-ngspice", NGSPICE_WITHOUT)
    world.script("apt-get", APT_GET.replace(': >"$WORLD/knows-backports"', ":"))
    result = world.run("test", OWN_NGSPICE="39.3+ds-1")
    assert (result.returncode, result.stdout) == (0, f"{PARALLEL}\n")
    assert "lacks an ngspice with OSDI: cosim goes on without" in result.stderr
    assert not list((world.root / "etc/apt/sources.list.d").iterdir())


def test_apt_without_a_network_is_one_sentence(world):
    result = world.with_apt().run("test", APT_SAYS="Err:1 Temporary failure resolving 'a.example'")
    assert_one_sentence(result, "archive cannot be reached", "run this again")


def test_apt_failing_otherwise_shows_the_end_of_the_log(world):
    result = world.with_apt().run("test", APT_SAYS="E: dpkg was interrupted")
    assert result.returncode == 1
    assert "E: dpkg was interrupted" in result.stderr
    assert "could not install ngspice" in result.stderr.splitlines()[-1]


def test_no_rights_and_no_terminal_is_one_sentence_with_the_packages(world):
    result = world.with_apt(root=False).run("test", OWN_NGSPICE="39.3+ds-1")
    assert_one_sentence(result, "ngspice", "apt-get install ngspice libngspice0 binutils", "bookworm-backports")
    assert not world.calls("apt-get")


def test_a_wish_to_be_left_alone_is_respected(world):
    assert_one_sentence(world.with_apt().run("test", COSIM_NO_SYSTEM="1"), "lacks ngspice")
    assert not world.calls("apt-get")


@pytest.mark.parametrize(
    ("manager", "words"),
    [
        ("brew", "brew install ngspice libngspice"),
        ("dnf", "dnf install ngspice"),
        ("pacman", "pacman -S ngspice"),
        ("", "conda install"),
    ],
)
def test_without_apt_one_sentence_names_the_packages(world, manager, words):
    world.script("uname", "echo Linux")
    if manager:
        world.script(manager, "exit 1")
    assert_one_sentence(world.run("test"), words)
    # and where ngspice is there already, the rest goes on
    assert world.with_engine().run("test").stdout == f"{PARALLEL}\n"


def test_the_script_is_posix(world):
    for shell in filter(shutil.which, ("dash", "bash", "busybox")):
        command = [shutil.which(shell), *(["sh"] if shell == "busybox" else []), "-n", str(CHECKOUT / "run")]
        assert subprocess.run(command, capture_output=True, check=False).stderr == b""
