"""What a simulation process may do: write in one scratch folder, read what an engine is made of, and start nothing.

A netlist is a program in its engine's language, and a check of its text can have holes, so each process that reads
one is confined by the kernel as well. Sources: prctl(2), setrlimit(2), namespaces(7), capabilities(7), and those of
the modules that it stands on.

- `seccomp`: no new process, no socket, no reach into other processes, no change that Landlock cannot see.
- `landlock`, where the kernel has it: files are made and written in the scratch folder only, and read only
  there, in the folders of engines, system libraries and Python, and where a job's own files are.
- a separate network namespace, where the kernel allows one; all capabilities are dropped, root's too.
- resource limits: address space, file size, no core; RLIMIT_NPROC where there is no seccomp (root is exempt from it).

Standard library only: this module is loaded by the worker before anything else.
"""

from __future__ import annotations

import ctypes
import os
import resource
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from cosim.engines.worker import landlock, seccomp
from cosim.engines.worker.landlock import Readable

_LINUX = sys.platform.startswith("linux")
_PR_SET_NO_NEW_PRIVS, _PR_SET_PDEATHSIG = 38, 1
_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
_CAPABILITY_VERSION = 0x20080522

# Written into the scratch folder, which is HOME and working directory: no other .spiceinit is read.
SPICEINIT = (
    "* OpenMP on a busy machine costs far more than it gives\nset num_threads=1\nset no_mem_check\nset noaskquit\n"
    "* the reference value asks for the processor time at every point: a thirtieth of a run\nset norefvalue\n"
)

_KEPT_VARIABLES = (
    "PATH",
    "LD_LIBRARY_PATH",
    "SPICE_LIB_DIR",
    "SPICE_EXEC_DIR",
    "SPICE_SCRIPTS",
    "NGSPICE_LIBRARY_PATH",
)
_FOLDER_VARIABLES = ("LD_LIBRARY_PATH", "SPICE_LIB_DIR", "SPICE_EXEC_DIR", "SPICE_SCRIPTS")
# Where programs live that everybody may read: no folder of a user or of a service.
_SYSTEM = (
    "/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/usr/local/lib64", "/nix/store", "/gnu/store",
    "/usr/share/ngspice", "/usr/local/share/ngspice", "/usr/share/terminfo", "/etc/terminfo", "/usr/share/zoneinfo",
    "/etc/localtime", "/etc/ld.so.cache", "/proc/meminfo", "/proc/cpuinfo", "/proc/sys/vm/overcommit_memory",
    "/sys/devices/system/cpu", "/sys/devices/system/node", "/sys/fs/cgroup", "/dev/urandom", "/dev/random",
)  # fmt: skip


@dataclass(frozen=True)
class Confinement:
    """What a process is kept from, and by what ``means``.

    ``programs``: it cannot start any. ``files``: it writes in its scratch folder only. ``reading``: it reads only
    there, in engines' and system folders, and what its job names. ``network``: it opens no connection.
    """

    programs: bool
    files: bool
    means: tuple[str, ...]
    reading: bool = False
    network: bool = False

    def as_dict(self) -> dict[str, object]:
        """For the ready message of a worker and for reports."""
        return {**asdict(self), "means": list(self.means)}


def environment(scratch: Path, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The whole environment of an engine: a few variables of the user's, HOME and TMPDIR in ``scratch``, one thread."""
    kept = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
    fixed = {
        "HOME": str(scratch), "TMPDIR": str(scratch), "LANG": "C", "LC_ALL": "C", "TERM": "dumb",
        "OMP_THREAD_LIMIT": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1",
        "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUTF8": "1", "NGSPICE_MEAS_PRECISION": "12",
        # An engine asks again at once for what it frees: with the usual 7 blocks of a size at hand it is 2 % slower,
        # with hundreds no faster than with these, and it grows.
        "GLIBC_TUNABLES": "glibc.malloc.tcache_count=32",
    }  # fmt: skip
    return {**kept, **fixed, **(extra or {})}


def prepare_scratch(scratch: Path) -> None:
    """Write our own start-up file for ngspice, so that none of the user's is found."""
    (scratch / ".spiceinit").write_text(SPICEINIT)


def limit_resources(*, memory: int | None = None, file_size: int | None = None, for_good: bool = False) -> None:
    """Set the limits of address space and file size (bytes), up to the hard ones, and forbid core files.

    Only ``for_good`` they are hard ones, which the process itself cannot lift.
    """
    for kind, wanted in ((resource.RLIMIT_AS, memory), (resource.RLIMIT_FSIZE, file_size)):
        if wanted is None:
            continue
        _, hard = resource.getrlimit(kind)
        if hard != resource.RLIM_INFINITY and (wanted == resource.RLIM_INFINITY or wanted > hard):
            wanted = hard
        resource.setrlimit(kind, (wanted, wanted if for_good else hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def die_with_parent() -> None:
    """Have the kernel kill this process when the *thread* that started it ends: for children of a main thread only."""
    if _LINUX:
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, 9, 0, 0, 0)


def engine_paths(program: str | None = None) -> tuple[str, ...]:
    """What engines are made of: system libraries, ``program`` (or a library) with the folders beside it."""
    found = list(_SYSTEM)
    for name in _FOLDER_VARIABLES:
        found += [folder for folder in os.environ.get(name, "").split(os.pathsep) if os.path.isabs(folder)]
    if program is not None:
        file = Path(program).resolve()
        beside, above = file.parent, file.parent.parent
        found += [str(file), str(beside / "lib"), str(beside / "ngspice")]
        found += [str(above / name) for name in ("lib", "lib64", "share/ngspice", "share/terminfo")]
    return tuple(found)


def python_paths() -> tuple[str, ...]:
    """What Python is made of: its libraries and the installed packages, and this one."""
    wanted = ("stdlib", "platstdlib", "purelib", "platlib")
    installed = [path for name in wanted if (path := sysconfig.get_path(name))]
    return (*installed, str(Path(sys.base_prefix) / "lib"), str(Path(__file__).resolve().parents[2]))


def isolate() -> tuple[str, ...]:
    """Take this process off the network, where the kernel allows a network namespace; returns the means.

    Only a process of one thread can, and what it starts is off the network too.
    """
    if not _LINUX:
        return ()
    libc = ctypes.CDLL(None, use_errno=True)
    # An ordinary user gets one together with a user namespace; root needs none, and keeps its view of owners.
    flags = _CLONE_NEWNET if os.geteuid() == 0 else _CLONE_NEWNET | _CLONE_NEWUSER
    return ("network namespace",) if libc.unshare(flags) == 0 else ()


def _drop_capabilities(libc: ctypes.CDLL) -> bool:
    """Root without them is the owner of its files and nothing more; what it starts gains none (no new privileges)."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
    none = (ctypes.c_uint32 * 6)()
    try:
        return bool(libc.capset(ctypes.byref(header), ctypes.byref(none)) == 0)
    except AttributeError:  # a C library that does not have it
        return False


def _threads() -> int:
    return len(os.listdir("/proc/self/task"))


def confine(
    scratch: Path,
    *,
    ticket: int | None = None,
    readable: Readable | None = None,
    files: Sequence[str] = (),
    programs: bool = False,
    means: Sequence[str] = (),
) -> Confinement:
    """Give up, for this process and for good, the right to write outside ``scratch`` and to start programs.

    Args:
        scratch: the only folder that stays writable.
        ticket: address of the C string that one last ``execve`` may name (see `execute`); None: no ``execve`` at all.
        readable: what may be read beside ``scratch`` and ``files``; None: everything.
        files: further files and folders to read.
        programs: processes may be started, under the same confinement, as a compiler starts its linker.
        means: what `isolate` achieved before.
    """
    held = list(means)
    no_programs = written = read = False
    if _LINUX:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0:
            alone = _threads() == 1
            if landlock.restrict(landlock.Rules(scratch, readable, tuple(files))):
                written = alone  # Landlock holds this thread and those that it starts later
                read = alone and readable is not None
                held.append("landlock")
            if _drop_capabilities(libc):
                held.append("no capabilities")
            if seccomp.install(alone=alone, ticket=ticket, programs=programs):
                no_programs = not programs
                held.append("seccomp")
    if not programs and "seccomp" not in held:
        _, hard = resource.getrlimit(resource.RLIMIT_NPROC)
        resource.setrlimit(resource.RLIMIT_NPROC, (0, hard))
        held.append("rlimit-nproc")
        no_programs = os.geteuid() != 0
    return Confinement(no_programs, written, tuple(held), read, bool({"seccomp", "network namespace"} & {*held}))


def execute(
    argv: Sequence[str],
    env: Mapping[str, str],
    scratch: Path,
    *,
    readable: Readable | None = None,
    files: Sequence[str] = (),
    programs: bool = False,
) -> None:
    """Confine this process and become ``argv``; returns only by raising OSError. ``argv[0]`` is an absolute path.

    Every file but the three standard ones is closed. The rest as in `confine`.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    path = ctypes.create_string_buffer(os.fsencode(argv[0]))
    arguments = (ctypes.c_char_p * (len(argv) + 1))(*[os.fsencode(word) for word in argv], None)
    pairs = [os.fsencode(f"{name}={value}") for name, value in env.items()]
    variables = (ctypes.c_char_p * (len(pairs) + 1))(*pairs, None)
    ticket = None if programs else ctypes.addressof(path)
    confine(scratch, ticket=ticket, readable=readable, files=files, programs=programs)
    os.closerange(3, 256)
    libc.execve(path, arguments, variables)
    code = ctypes.get_errno()
    raise OSError(code, os.strerror(code), argv[0])


def trial(scratch: Path, *, readable: Readable | None = None, means: Sequence[str] = ()) -> Confinement:
    """What `confine` would hold, found out by confining a child of this process, which has one thread."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        with suppress(BaseException):  # the child of a fork must not go on with its parent's code
            found = confine(scratch, readable=readable, means=means)
            bits = "".join("01"[held] for held in (found.programs, found.files, found.reading, found.network))
            os.write(writer, f"{bits}{','.join(found.means)}".encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        text = pipe.read()
    os.waitpid(child, 0)
    programs, files, reading, network = (bit == "1" for bit in text[:4].ljust(4, "0"))
    return Confinement(programs, files, tuple(text[4:].split(",")) if text[4:] else (), reading, network)


def capabilities() -> dict[str, object]:
    """What this machine can do to confine an engine, found out without confining anything: for tests and short reports.

    Keys: ``seccomp`` (bool), ``landlock`` (version, 0 for none), ``root`` (bool), ``programs`` (whether an engine can
    be kept from starting programs), ``files`` and ``reading`` (whether its writes and its reads can be held),
    ``network`` (whether it can be kept off the network), ``advice`` (a sentence, or empty).
    """
    filtered, version, root = seccomp.available(), landlock.abi(), os.geteuid() == 0
    return {
        "seccomp": filtered,
        "landlock": version,
        "root": root,
        "programs": filtered or not root,
        "files": version > 0,
        "reading": version > 0,
        "network": filtered,
        "advice": advice(programs=filtered or not root, files=version > 0),
    }


def advice(*, programs: bool, files: bool) -> str:
    """What to do about protection that a machine lacks; empty where it has all."""
    if not programs:
        return "this kernel has no seccomp filter and root is exempt from process limits: run as an ordinary user"
    if not files:
        return (
            "no Landlock here (Linux 5.13 or newer has it): an engine that the check of netlists let through could "
            "read and write as its user; run netlists of strangers in a container or as another user"
        )
    return ""
