"""What a simulation process may do: write in one scratch folder, and start nothing.

A netlist is a program in its engine's language, and a check of its text can have holes, so each process that reads
one is confined by the kernel as well. Sources: seccomp(2), landlock(7), prctl(2), setrlimit(2).

- seccomp filter: no fork, vfork, clone of a process (threads stay allowed), exec, socket, ptrace, io_uring;
  ``clone3`` answers ENOSYS, upon which the C library falls back to ``clone``, whose flags a filter can see.
- Landlock, where the kernel has it: files can be created and written in the scratch folder only.
- the filter also denies what Landlock does not see: modes, owners, times and attributes of files, signals to others.
- not held: reading. What the user may read, a process that got past the check of netlists may read as well.
- resource limits: address space, file size, no core; RLIMIT_NPROC where there is no seccomp (root is exempt from it).

Standard library only: this module is loaded by the worker before anything else.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import resource
import struct
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_LITTLE_LINUX = sys.platform.startswith("linux") and sys.byteorder == "little"
_PR_SET_NO_NEW_PRIVS, _PR_SET_PDEATHSIG, _PR_SET_SECCOMP = 38, 1, 22
_SECCOMP_MODE_FILTER = 2
_FILTER_TSYNC = 1
_RET_ALLOW, _RET_ERRNO = 0x7FFF0000, 0x00050000
_CLONE_THREAD = 0x00010000
_X32_BIT = 0x40000000

# (audit architecture, system call numbers) of the two machines that the filter is written for.
_MACHINES: Mapping[str, tuple[int, Mapping[str, int]]] = {
    "x86_64": (
        0xC000003E,
        {
            "clone": 56, "fork": 57, "vfork": 58, "execve": 59, "execveat": 322, "clone3": 435, "socket": 41,
            "socketpair": 53, "ptrace": 101, "io_uring_setup": 425, "process_vm_writev": 311, "seccomp": 317,
            "process_vm_readv": 310, "truncate": 76, "chmod": 90, "fchmod": 91, "fchmodat": 268, "fchmodat2": 452,
            "chown": 92, "fchown": 93, "lchown": 94, "fchownat": 260, "utime": 132, "utimes": 235, "futimesat": 261,
            "utimensat": 280, "setxattr": 188, "lsetxattr": 189, "fsetxattr": 190, "setxattrat": 463,
            "removexattr": 197, "lremovexattr": 198, "fremovexattr": 199, "removexattrat": 466, "kill": 62,
            "tkill": 200, "tgkill": 234, "rt_sigqueueinfo": 129, "rt_tgsigqueueinfo": 297, "pidfd_send_signal": 424,
            "mount": 165, "umount2": 166, "chroot": 161, "pivot_root": 155, "unshare": 272, "setns": 308,
            "open_by_handle_at": 304, "init_module": 175, "finit_module": 313, "bpf": 321, "perf_event_open": 298,
        },
    ),
    "aarch64": (
        0xC00000B7,
        {
            "clone": 220, "execve": 221, "execveat": 281, "clone3": 435, "socket": 198, "socketpair": 199,
            "ptrace": 117, "io_uring_setup": 425, "process_vm_writev": 271, "seccomp": 277,
            "process_vm_readv": 270, "truncate": 45, "fchmod": 52, "fchmodat": 53, "fchmodat2": 452, "fchown": 55,
            "fchownat": 54, "utimensat": 88, "setxattr": 5, "lsetxattr": 6, "fsetxattr": 7, "setxattrat": 463,
            "removexattr": 14, "lremovexattr": 15, "fremovexattr": 16, "removexattrat": 466, "kill": 129, "tkill": 130,
            "tgkill": 131, "rt_sigqueueinfo": 138, "rt_tgsigqueueinfo": 240, "pidfd_send_signal": 424, "mount": 40,
            "umount2": 39, "chroot": 51, "pivot_root": 41, "unshare": 97, "setns": 268, "open_by_handle_at": 265,
            "init_module": 105, "finit_module": 273, "bpf": 280, "perf_event_open": 241,
        },
    ),
}  # fmt: skip
# What Landlock does not see (modes, owners, times, attributes; truncate before its version 3), other processes' memory
# and signals, and what only root could do.
_DENIED = tuple(
    """
    fork vfork execve execveat socket socketpair ptrace io_uring_setup process_vm_writev process_vm_readv truncate chmod
    fchmod fchmodat fchmodat2 chown fchown lchown fchownat utime utimes futimesat utimensat setxattr lsetxattr fsetxattr
    setxattrat removexattr lremovexattr fremovexattr removexattrat kill tkill rt_sigqueueinfo rt_tgsigqueueinfo
    pidfd_send_signal mount umount2 chroot pivot_root unshare setns open_by_handle_at init_module finit_module bpf
    perf_event_open
    """.split()  # noqa: SIM905
)

_LANDLOCK_CREATE, _LANDLOCK_ADD, _LANDLOCK_RESTRICT = 444, 445, 446
_FS_WRITE_FILE, _FS_REFER, _FS_TRUNCATE = 1 << 1, 1 << 13, 1 << 14
_FS_CHANGES = _FS_WRITE_FILE | sum(1 << bit for bit in range(4, 13))  # remove and make, of every kind

# Written into the scratch folder, which is HOME and working directory: no other .spiceinit is read.
SPICEINIT = (
    "* OpenMP on a busy machine costs far more than it gives\nset num_threads=1\nset no_mem_check\nset noaskquit\n"
)

_KEPT_VARIABLES = (
    "PATH",
    "LD_LIBRARY_PATH",
    "SPICE_LIB_DIR",
    "SPICE_EXEC_DIR",
    "SPICE_SCRIPTS",
    "NGSPICE_LIBRARY_PATH",
)


class _Filter(ctypes.Structure):
    _fields_ = (
        ("code", ctypes.c_uint16),
        ("jt", ctypes.c_uint8),
        ("jf", ctypes.c_uint8),
        ("k", ctypes.c_uint32),
    )


class _Program(ctypes.Structure):
    _fields_ = (("len", ctypes.c_uint16), ("filter", ctypes.POINTER(_Filter)))


@dataclass(frozen=True)
class Confinement:
    """What holds a process back: ``programs`` (it starts none), ``files`` (written in scratch only), and by what.

    Neither keeps it from reading what the user may read.
    """

    programs: bool
    files: bool
    means: tuple[str, ...]

    def as_dict(self) -> dict[str, object]:
        """For the ready message of a worker and for reports."""
        return {"programs": self.programs, "files": self.files, "means": list(self.means)}


def environment(scratch: Path, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The whole environment of an engine: a few variables of the user's, HOME and TMPDIR in ``scratch``, one thread."""
    kept = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
    fixed = {
        "HOME": str(scratch), "TMPDIR": str(scratch), "LANG": "C", "LC_ALL": "C", "TERM": "dumb",
        "OMP_THREAD_LIMIT": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1",
        "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUTF8": "1", "NGSPICE_MEAS_PRECISION": "12",
    }  # fmt: skip
    return {**kept, **fixed, **(extra or {})}


def prepare_scratch(scratch: Path) -> None:
    """Write our own start-up file for ngspice, so that none of the user's is found."""
    (scratch / ".spiceinit").write_text(SPICEINIT)


def limit_resources(*, memory: int | None = None, file_size: int | None = None) -> None:
    """Set the soft limits of address space and file size (bytes), up to the hard ones, and forbid core files."""
    for kind, wanted in ((resource.RLIMIT_AS, memory), (resource.RLIMIT_FSIZE, file_size)):
        if wanted is None:
            continue
        _, hard = resource.getrlimit(kind)
        if hard != resource.RLIM_INFINITY and (wanted == resource.RLIM_INFINITY or wanted > hard):
            wanted = hard
        resource.setrlimit(kind, (wanted, hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def die_with_parent() -> None:
    """Have the kernel kill this process when the *thread* that started it ends: for children of a main thread only."""
    if _LITTLE_LINUX:
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, 9, 0, 0, 0)


def _build_filter(machine: str, ticket: int | None) -> bytes:
    """The BPF program. ``ticket`` is the one address of a path for which ``execve`` is still allowed."""
    audit, numbers = _MACHINES[machine]
    load, jump_eq, jump_ge, jump_set, ret = 0x20, 0x15, 0x35, 0x45, 0x06
    code: list[tuple[int, int, int, int]] = [
        (load, 0, 0, 4),
        (jump_eq, 1, 0, audit),
        (ret, 0, 0, _RET_ERRNO | errno.EPERM),
        (load, 0, 0, 0),
    ]
    if machine == "x86_64":
        code += [(jump_ge, 0, 1, _X32_BIT), (ret, 0, 0, _RET_ERRNO | errno.EPERM)]
    code += [(jump_eq, 0, 1, numbers["clone3"]), (ret, 0, 0, _RET_ERRNO | errno.ENOSYS)]
    code += [
        (jump_eq, 0, 4, numbers["clone"]),
        (load, 0, 0, 16),
        (jump_set, 0, 1, _CLONE_THREAD),
        (ret, 0, 0, _RET_ALLOW),
        (ret, 0, 0, _RET_ERRNO | errno.EPERM),
    ]
    code += [  # raise() and abort() signal this process itself
        (jump_eq, 0, 4, numbers["tgkill"]),
        (load, 0, 0, 16),
        (jump_eq, 0, 1, os.getpid()),
        (ret, 0, 0, _RET_ALLOW),
        (ret, 0, 0, _RET_ERRNO | errno.EPERM),
    ]
    if ticket is not None:
        code += [
            (jump_eq, 0, 6, numbers["execve"]),
            (load, 0, 0, 16),
            (jump_eq, 0, 3, ticket & 0xFFFFFFFF),
            (load, 0, 0, 20),
            (jump_eq, 0, 1, ticket >> 32),
            (ret, 0, 0, _RET_ALLOW),
            (ret, 0, 0, _RET_ERRNO | errno.EPERM),
        ]
    for name in _DENIED:
        if name in numbers:
            code += [(jump_eq, 0, 1, numbers[name]), (ret, 0, 0, _RET_ERRNO | errno.EPERM)]
    code.append((ret, 0, 0, _RET_ALLOW))
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in code)


def _install_filter(libc: ctypes.CDLL, ticket: int | None) -> bool:
    machine = platform.machine()
    if not _LITTLE_LINUX or machine not in _MACHINES or struct.calcsize("P") != 8:
        return False
    raw = _build_filter(machine, ticket)
    filters = (_Filter * (len(raw) // 8)).from_buffer_copy(raw)
    program = _Program(len(filters), filters)
    number = ctypes.c_long(_MACHINES[machine][1]["seccomp"])
    # A filter is a thread's own: with TSYNC every thread of the process gets it, or the call fails.
    if libc.syscall(number, ctypes.c_uint(1), ctypes.c_uint(_FILTER_TSYNC), ctypes.byref(program)) == 0:
        return True
    alone = _threads() == 1
    return alone and bool(libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0) == 0)


def _threads() -> int:
    return len(os.listdir("/proc/self/task"))


def landlock_abi() -> int:
    """The version of the kernel's Landlock, 0 where it has none."""
    if not _LITTLE_LINUX:
        return 0
    libc = ctypes.CDLL(None, use_errno=True)
    version = libc.syscall(ctypes.c_long(_LANDLOCK_CREATE), None, ctypes.c_size_t(0), ctypes.c_uint32(1))
    return max(0, int(version))


def _restrict_writes(libc: ctypes.CDLL, scratch: Path, unnamed: Path | None) -> bool:
    abi = landlock_abi()
    if abi == 0:
        return False
    handled = _FS_CHANGES | (_FS_REFER if abi >= 2 else 0) | (_FS_TRUNCATE if abi >= 3 else 0)
    attribute = struct.pack("=Q", handled)
    buffer = ctypes.create_string_buffer(attribute, len(attribute))
    ruleset = libc.syscall(ctypes.c_long(_LANDLOCK_CREATE), buffer, ctypes.c_size_t(len(attribute)), ctypes.c_uint32(0))
    if ruleset < 0:
        return False
    try:
        file_rights = _FS_WRITE_FILE | (_FS_TRUNCATE if abi >= 3 else 0)
        rules = [(scratch, handled), (Path("/dev/null"), file_rights)]
        if unnamed is not None and unnamed.is_dir():
            rules.append((unnamed, _FS_WRITE_FILE))
        for path, rights in rules:
            handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
            try:
                packed = struct.pack("=Qi", rights, handle)
                rule = ctypes.create_string_buffer(packed, len(packed))
                if libc.syscall(ctypes.c_long(_LANDLOCK_ADD), ctypes.c_int(ruleset), 1, rule, ctypes.c_uint32(0)) != 0:
                    return False
            finally:
                os.close(handle)
        return bool(libc.syscall(ctypes.c_long(_LANDLOCK_RESTRICT), ctypes.c_int(ruleset), ctypes.c_uint32(0)) == 0)
    finally:
        os.close(ruleset)


def confine(scratch: Path, *, ticket: int | None = None, unnamed: Path | None = None) -> Confinement:
    """Give up the right to start programs and to write outside ``scratch``, for this process and for good.

    Args:
        scratch: the only folder that stays writable.
        ticket: address of the C string that one last ``execve`` may name (see `execute`); None: no ``execve`` at all.
        unnamed: a folder for tmpfile(3), whose files have no name; what lies there can then be appended to, but nothing
            can be made, emptied or removed.
    """
    means: list[str] = []
    programs = files = False
    if _LITTLE_LINUX:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0:
            if _restrict_writes(libc, scratch, unnamed):
                files = _threads() == 1  # Landlock holds this thread and those that it starts later
                means.append("landlock")
            if _install_filter(libc, ticket):
                programs = True
                means.append("seccomp")
    if not programs:
        _, hard = resource.getrlimit(resource.RLIMIT_NPROC)
        resource.setrlimit(resource.RLIMIT_NPROC, (0, hard))
        means.append("rlimit-nproc")
        programs = os.geteuid() != 0
    return Confinement(programs, files, tuple(means))


def execute(argv: Sequence[str], env: Mapping[str, str], scratch: Path, *, unnamed: Path | None = None) -> None:
    """Confine this process and become ``argv``; returns only by raising OSError. ``argv[0]`` is an absolute path."""
    libc = ctypes.CDLL(None, use_errno=True)
    path = ctypes.create_string_buffer(os.fsencode(argv[0]))
    arguments = (ctypes.c_char_p * (len(argv) + 1))(*[os.fsencode(word) for word in argv], None)
    pairs = [os.fsencode(f"{name}={value}") for name, value in env.items()]
    variables = (ctypes.c_char_p * (len(pairs) + 1))(*pairs, None)
    confine(scratch, ticket=ctypes.addressof(path), unnamed=unnamed)
    libc.execve(path, arguments, variables)
    code = ctypes.get_errno()
    raise OSError(code, os.strerror(code), argv[0])


def capabilities() -> dict[str, object]:
    """What this machine can do to confine an engine, without confining the caller: for ``cosim doctor``.

    Keys: ``seccomp`` (bool), ``landlock`` (version, 0 for none), ``root`` (bool), ``programs`` (whether an engine can
    be kept from starting programs), ``files`` (whether its writes can be kept in scratch), ``advice`` (a sentence, or
    empty).
    """
    seccomp = False
    machine = platform.machine()
    if _LITTLE_LINUX and machine in _MACHINES:
        libc = ctypes.CDLL(None, use_errno=True)
        action = ctypes.c_uint32(_RET_ERRNO)
        number = _MACHINES[machine][1]["seccomp"]
        seccomp = libc.syscall(ctypes.c_long(number), ctypes.c_uint(2), ctypes.c_uint(0), ctypes.byref(action)) == 0
    landlock = landlock_abi()
    root = os.geteuid() == 0
    programs = seccomp or not root
    advice = ""
    if not programs:
        advice = "this kernel has no seccomp filter and root is exempt from process limits: run as an ordinary user"
    elif not landlock:
        advice = "this kernel has no Landlock: an engine that the check of netlists let through could write anywhere"
    return {
        "seccomp": seccomp,
        "landlock": landlock,
        "root": root,
        "programs": programs,
        "files": landlock > 0,
        "advice": advice,
    }
