"""What a confined process cannot do, tried in one; and what it still can."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from cosim.engines.worker import frames, sandbox, seccomp

ATTEMPTS = """
import ctypes, os, resource, socket, stat, subprocess, sys, threading
from pathlib import Path
from cosim.engines.worker import landlock, sandbox

scratch, outside = Path(sys.argv[1]), Path(sys.argv[2])
if sys.argv[3] and landlock.abi():
    landlock.abi = lambda: int(sys.argv[3])
sandbox.limit_resources(memory=2 << 30, file_size=1 << 20, for_good=True)
means = sandbox.isolate()
readable = landlock.Readable.of([*sandbox.engine_paths(), *sandbox.python_paths()])
found = sandbox.confine(scratch, readable=readable, files=[str(outside / "given")], means=means)
print("means", *found.means)
print("holds", found.programs, found.files, found.reading, found.network)

def attempt(name, action):
    try:
        action()
    except (OSError, MemoryError, ValueError) as error:
        print(name, "denied")
    else:
        print(name, "allowed")

def shell():
    if os.system(f"touch {outside}/canary") != 0:
        raise OSError

def overwrite():
    (outside / "present").open("r+").write("x")

def empty():
    os.close(os.open(outside / "given", os.O_RDONLY | os.O_TRUNC))

def lift():
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

def interfaces():
    names = [line.split(":")[0].strip() for line in Path("/proc/self/net/dev").read_text().splitlines()[2:]]
    if names == ["lo"]:
        raise OSError

attempt("fork", os.fork)
attempt("exec", lambda: os.execv("/bin/true", ["true"]))
attempt("spawn", lambda: subprocess.run(["/bin/true"]))
attempt("shell", shell)
attempt("socket", socket.socket)
attempt("thread", lambda: threading.Thread(target=lambda: None).start())
attempt("make", lambda: (outside / "canary").write_text("x"))
attempt("overwrite", overwrite)
attempt("remove", (outside / "present").unlink)
attempt("rename", lambda: os.rename(outside / "present", scratch / "stolen"))
attempt("truncate", lambda: os.truncate(outside / "present", 0))
attempt("chmod", lambda: os.chmod(outside / "present", 0o777))
attempt("chown", lambda: os.chown(outside / "present", os.getuid(), os.getgid()))
attempt("utime", lambda: os.utime(outside / "present"))
attempt("setxattr", lambda: os.setxattr(outside / "present", "user.x", b"x"))
attempt("kill", lambda: os.kill(os.getppid(), 0))
attempt("limit", lambda: resource.prlimit(os.getppid(), resource.RLIMIT_CORE, (0, 0)))
attempt("empty", empty)
attempt("device", lambda: os.mknod(scratch / "device", 0o600 | stat.S_IFBLK, os.makedev(7, 0)))
attempt("pipe", lambda: os.mkfifo(scratch / "pipe"))
attempt("lift", lift)
attempt("interfaces", interfaces)
attempt("read", (outside / "present").read_text)
attempt("list", lambda: os.listdir(outside))
attempt("list-home", lambda: os.listdir(os.path.expanduser("~")))
attempt("shadow", lambda: open("/etc/shadow").read())
attempt("passwd", lambda: open("/etc/passwd").read())
attempt("root", lambda: open("/proc/self/root/etc/passwd").read())
attempt("other", lambda: open(f"/proc/{os.getppid()}/environ", "rb").read())
attempt("given", (outside / "given").read_text)
attempt("library", lambda: open(os.__file__).read())
attempt("own", lambda: open("/proc/self/statm").read())
attempt("raise", lambda: __import__("signal").raise_signal(23))
attempt("scratch", lambda: (scratch / "own").write_text("x"))
attempt("null", lambda: open("/dev/null", "w").write("x"))
attempt("memory", lambda: bytearray(3 << 30))
"""


@pytest.fixture(scope="module", params=["", "1"], ids=["this kernel", "Landlock's first version"])
def attempts(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    scratch, outside = tmp_path_factory.mktemp("scratch"), tmp_path_factory.mktemp("outside")
    (outside / "present").write_text("here")
    (outside / "given").write_text("given")
    answer = subprocess.run(
        [sys.executable, "-c", ATTEMPTS, str(scratch), str(outside), request.param],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    found = dict(line.split(None, 1) for line in answer.stdout.splitlines())
    found["left outside"] = " ".join(sorted(path.name for path in outside.iterdir()))
    found["content"] = " ".join((outside / name).read_text() for name in ("present", "given"))
    return found


@pytest.mark.parametrize("what", ["fork", "exec", "spawn", "shell", "socket", "kill", "limit", "device"])
def test_programs_cannot_be_started(attempts: dict[str, str], what: str) -> None:
    if not sandbox.capabilities()["seccomp"]:
        pytest.skip("no seccomp filter on this kernel")
    assert attempts[what] == "denied"


@pytest.mark.parametrize(
    "what",
    ["make", "overwrite", "remove", "rename", "truncate", "empty", "chmod", "chown", "utime", "setxattr", "device",
     "pipe"],
)  # fmt: skip
def test_files_outside_cannot_be_changed(attempts: dict[str, str], what: str) -> None:
    if not sandbox.capabilities()["files"]:
        pytest.skip("no Landlock on this kernel")
    assert attempts[what] == "denied"
    assert attempts["left outside"] == "given present"
    assert attempts["content"] == "here given"


@pytest.mark.parametrize("what", ["read", "list", "list-home", "shadow", "passwd", "root", "other"])
def test_files_outside_cannot_be_read(attempts: dict[str, str], what: str) -> None:
    if not sandbox.capabilities()["reading"]:
        pytest.skip("no Landlock on this kernel")
    assert attempts[what] == "denied"


def test_what_holds_is_said(attempts: dict[str, str]) -> None:
    can = sandbox.capabilities()
    assert attempts["holds"].split() == [str(can[wall]) for wall in ("programs", "files", "reading", "network")]


def test_a_network_namespace_holds_no_interface_but_its_own(attempts: dict[str, str]) -> None:
    if "network namespace" not in attempts["means"]:
        pytest.skip("this kernel gives no network namespace: the filter alone denies sockets")
    assert attempts["interfaces"] == "denied"


@pytest.mark.parametrize("what", ["thread", "scratch", "null", "raise", "given", "library", "own"])
def test_what_an_engine_needs_still_works(attempts: dict[str, str], what: str) -> None:
    assert attempts[what] == "allowed"


def test_memory_is_limited(attempts: dict[str, str]) -> None:
    assert attempts["memory"] == "denied"
    assert attempts["lift"] == "denied"


def test_the_one_program_that_was_asked_for_runs_and_starts_no_other(tmp_path: Path) -> None:
    if not sandbox.capabilities()["seccomp"]:
        pytest.skip("no seccomp filter on this kernel")
    code = """
import sys
from pathlib import Path
from cosim.engines.worker import sandbox
scratch = Path(sys.argv[1])
sandbox.execute(["/bin/sh", "-c", "echo started; echo own > own; /bin/ls; exec /bin/ls"], {}, scratch)
"""
    answer = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=tmp_path,
    )
    assert answer.stdout == "started\n"
    assert answer.returncode != 0
    assert (tmp_path / "own").read_text() == "own\n"


def test_as_an_ordinary_user(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become another user; the other tests ran as an ordinary one")
    code = """
import os, sys
from pathlib import Path
from cosim.engines.worker import sandbox
os.setgid(65534); os.setuid(65534)
found = sandbox.confine(Path(sys.argv[1]))
print(found.programs, os.system("true") != 0)
"""
    tmp_path.chmod(0o777)
    answer = subprocess.run(
        [sys.executable, "-c", code, tempfile.gettempdir()], capture_output=True, text=True, timeout=60, check=True
    )
    assert answer.stdout.split() == ["True", "True"]


FALLBACK = """
import os, sys
from pathlib import Path
from cosim.engines.worker import sandbox, seccomp
seccomp.MACHINES = {}  # a machine that the filter is not written for
if len(sys.argv) > 2:
    os.setgid(65534); os.setuid(65534)
found = sandbox.confine(Path(sys.argv[1]))
assert "rlimit-nproc" in found.means and "seccomp" not in found.means
assert found.programs == sandbox.capabilities()["programs"]
print(found.programs, os.geteuid() == 0)
try:
    pid = os.fork()
except OSError:
    print("denied")
else:
    os.waitpid(pid, 0) if pid else os._exit(0)
    print("allowed")
"""


@pytest.mark.parametrize("become", [(), ("nobody",)], ids=["as we are", "as nobody"])
def test_without_a_filter_process_limits_do_it_except_for_root(become: tuple[str, ...]) -> None:
    if become and os.geteuid() != 0:
        pytest.skip("only root can become another user")
    answer = subprocess.run(
        [sys.executable, "-c", FALLBACK, tempfile.gettempdir(), *become],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    programs, root, attempt = answer.stdout.split()
    assert root == str(os.geteuid() == 0 and not become)
    assert programs == str(root == "False")
    assert attempt == ("denied" if root == "False" else "allowed")


WITHOUT = """
import sys
from pathlib import Path
from cosim.engines.worker import landlock, sandbox
landlock.abi = lambda: 0
scratch = Path(sys.argv[1])
for found in (sandbox.trial(scratch, readable=landlock.Readable.of([])),
              sandbox.confine(scratch, readable=landlock.Readable.of([]))):
    assert (found.files, found.reading) == (False, False), found
    print(found.programs, "landlock" in found.means)
"""


def test_without_landlock_nothing_is_claimed_of_files(tmp_path: Path) -> None:
    answer = subprocess.run(
        [sys.executable, "-c", WITHOUT, str(tmp_path)], capture_output=True, text=True, timeout=60, check=True
    )
    programs = str(sandbox.capabilities()["programs"])
    assert answer.stdout.split() == [programs, "False"] * 2


def test_capabilities_say_what_holds_and_what_to_do() -> None:
    found = sandbox.capabilities()
    walls = {"programs", "files", "reading", "network"}
    assert set(found) == {"seccomp", "landlock", "root", "advice"} | walls
    assert found["root"] == (os.geteuid() == 0)
    assert bool(found["advice"]) == (not (found["programs"] and found["files"]))


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_filter_of_each_machine_jumps_within_itself(machine: str) -> None:
    for ticket, programs in ((None, False), (0x7F1234567890, False), (None, True)):
        raw = seccomp.build(machine, ticket=ticket, programs=programs)
        steps = [raw[i : i + 8] for i in range(0, len(raw), 8)]
        assert 0 < len(steps) < 4096
        for position, step in enumerate(steps):
            code, if_true, if_false = int.from_bytes(step[:2], sys.byteorder), step[2], step[3]
            if code & 7 == 5:  # a jump
                assert position + 1 + max(if_true, if_false) < len(steps)
        assert int.from_bytes(steps[-1][:2], sys.byteorder) & 7 == 6  # a return


def test_the_environment_holds_nothing_of_the_users_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "x")
    monkeypatch.setenv("NGSPICE_INPUT_DIR", "/etc")
    found = sandbox.environment(tmp_path)
    assert not {"SECRET_TOKEN", "NGSPICE_INPUT_DIR"} & set(found)
    assert found["HOME"] == found["TMPDIR"] == str(tmp_path)
    assert found["OMP_THREAD_LIMIT"] == "1"


BESIDE = """
import os, sys, threading
from pathlib import Path
from cosim.engines.worker import sandbox
confined = threading.Event()
def beside():
    confined.wait()
    try:
        pid = os.fork()
    except OSError:
        print("denied", flush=True)
    else:
        os.waitpid(pid, 0) if pid else os._exit(0)
        print("allowed", flush=True)
thread = threading.Thread(target=beside)
thread.start()
print(sandbox.confine(Path(sys.argv[1])).files, flush=True)
confined.set()
thread.join()
"""


def test_a_thread_that_ran_before_is_confined_as_well(tmp_path: Path) -> None:
    if not sandbox.capabilities()["seccomp"]:
        pytest.skip("no seccomp filter on this kernel")
    answer = subprocess.run(
        [sys.executable, "-c", BESIDE, str(tmp_path)], capture_output=True, text=True, timeout=60, check=True
    )
    assert answer.stdout.split() == ["False", "denied"]  # Landlock cannot reach it, and confine says so


@pytest.mark.parametrize(
    "body",
    [b'{"arrays": [["<f8", 9000000000000]]}', b'{"arrays": [["<f8", -1]]}', b"no json", b"[]", b"\xff", b"[" * 99999],
)
def test_a_malformed_frame_is_a_closed_pipe(body: bytes) -> None:
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb"), os.fdopen(writer, "wb", 0) as sink:
        thread = threading.Thread(target=sink.write, args=(len(body).to_bytes(4, "little") + body,))
        thread.start()
        with pytest.raises(frames.FrameClosed):
            frames.receive(reader)
        thread.join()
