"""The system calls that a simulation process may no longer make: a filter in BPF. Sources: seccomp(2), bpf(2).

Denied are calls that start processes (threads stay allowed), open sockets, reach other processes, change what Landlock
does not see (modes, owners, times, attributes, emptying a file by its path or by a read-only open), share memory by a
key, and those that only root could make. ``clone3`` and ``openat2`` answer ENOSYS, upon which the C library falls back
to calls whose flags a filter can see.

Standard library only: the worker loads this before anything else.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
import sys
from collections.abc import Mapping

_LINUX = sys.platform.startswith("linux") and sys.byteorder == "little" and struct.calcsize("P") == 8
_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 22, 2
_SET_MODE_FILTER, _GET_ACTION_AVAIL, _FILTER_TSYNC = 1, 2, 1
_RET_ALLOW, _RET_ERRNO = 0x7FFF0000, 0x00050000
_CLONE_THREAD = 0x00010000
_X32_BIT = 0x40000000
_O_TRUNC, _O_ACCMODE = 0x200, 0x3


def _numbers(table: str) -> Mapping[str, int]:
    words = table.split()
    return {name: int(number) for name, number in zip(words[::2], words[1::2], strict=True)}


# (audit architecture, system call numbers) of the two machines that the filter is written for. From 424 on they agree.
_SAME = """
    pidfd_send_signal 424 io_uring_setup 425 open_tree 428 move_mount 429 fsopen 430 fsconfig 431 fsmount 432 fspick 433
    clone3 435 openat2 437 pidfd_getfd 438 process_madvise 440 mount_setattr 442 quotactl_fd 443 process_mrelease 448
    fchmodat2 452 setxattrat 463 removexattrat 466 open_tree_attr 467 file_setattr 469
"""
MACHINES: Mapping[str, tuple[int, Mapping[str, int]]] = {
    "x86_64": (
        0xC000003E,
        _numbers(
            """
    open 2 shmget 29 shmat 30 shmctl 31 socket 41 socketpair 53 clone 56 fork 57 vfork 58 execve 59 kill 62 semget 64
    semop 65 semctl 66 msgget 68 msgsnd 69 msgrcv 70 msgctl 71 truncate 76 chmod 90 fchmod 91 chown 92 fchown 93
    lchown 94 ptrace 101 syslog 103 utime 132 mknod 133 personality 135 setpriority 141 sched_setparam 142
    sched_setscheduler 144 vhangup 153 pivot_root 155 adjtimex 159 chroot 161 acct 163 settimeofday 164 mount 165
    umount2 166 swapon 167 swapoff 168 reboot 169 sethostname 170 setdomainname 171 iopl 172 ioperm 173 init_module 175
    delete_module 176 quotactl 179 setxattr 188 lsetxattr 189 fsetxattr 190 removexattr 197 lremovexattr 198
    fremovexattr 199 tkill 200 sched_setaffinity 203 semtimedop 220 clock_settime 227 tgkill 234 utimes 235 mq_open 240
    mq_unlink 241 kexec_load 246 add_key 248 request_key 249 keyctl 250 ioprio_set 251 migrate_pages 256 openat 257
    mknodat 259 fchownat 260 futimesat 261 fchmodat 268 unshare 272 move_pages 279 utimensat 280 rt_sigqueueinfo 129
    rt_tgsigqueueinfo 297 perf_event_open 298 fanotify_init 300 prlimit64 302 open_by_handle_at 304 clock_adjtime 305
    setns 308 process_vm_readv 310 process_vm_writev 311 kcmp 312 finit_module 313 sched_setattr 314 seccomp 317
    kexec_file_load 320 bpf 321 execveat 322 userfaultfd 323
            """
            + _SAME
        ),
    ),
    "aarch64": (
        0xC00000B7,
        _numbers(
            """
    setxattr 5 lsetxattr 6 fsetxattr 7 removexattr 14 lremovexattr 15 fremovexattr 16 ioprio_set 30 mknodat 33
    umount2 39 mount 40 pivot_root 41 truncate 45 chroot 51 fchmod 52 fchmodat 53 fchownat 54 fchown 55 openat 56
    vhangup 58 quotactl 60 utimensat 88 acct 89 personality 92 unshare 97 kexec_load 104 init_module 105
    delete_module 106 clock_settime 112 syslog 116 ptrace 117 sched_setparam 118 sched_setscheduler 119
    sched_setaffinity 122 kill 129 tkill 130 tgkill 131 rt_sigqueueinfo 138 setpriority 140 reboot 142 sethostname 161
    setdomainname 162 settimeofday 170 adjtimex 171 mq_open 180 mq_unlink 181 msgget 186 msgctl 187 msgrcv 188
    msgsnd 189 semget 190 semctl 191 semtimedop 192 semop 193 shmget 194 shmctl 195 shmat 196 socket 198 socketpair 199
    add_key 217 request_key 218 keyctl 219 clone 220 execve 221 swapon 224 swapoff 225 migrate_pages 238 move_pages 239
    rt_tgsigqueueinfo 240 perf_event_open 241 prlimit64 261 fanotify_init 262 open_by_handle_at 265 clock_adjtime 266
    setns 268 process_vm_readv 270 process_vm_writev 271 kcmp 272 finit_module 273 sched_setattr 274 seccomp 277 bpf 280
    execveat 281 userfaultfd 282 kexec_file_load 294
            """
            + _SAME
        ),
    ),
}
# Looked at with their arguments, in `build`; everything else in the tables is denied.
_WITH_ARGUMENTS = frozenset(["clone", "clone3", "openat2", "open", "openat", "tgkill", "seccomp"])
# Allowed on the process itself, which is 0 or its own number.
_OWN_ONLY = ("prlimit64", "sched_setaffinity", "sched_setscheduler", "sched_setparam", "sched_setattr")

Instruction = tuple[int, int, int, int]
_LOAD, _AND, _EQUAL, _ABOVE, _SET, _RETURN = 0x20, 0x54, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCHITECTURE, _FIRST, _SECOND, _THIRD = 0, 4, 16, 24, 32


def _deny(code: int = errno.EPERM) -> Instruction:
    return _RETURN, 0, 0, _RET_ERRNO | code


def _case(number: int, body: list[Instruction]) -> list[Instruction]:
    """``body``, which ends in a return, for one call only."""
    return [(_EQUAL, 0, len(body), number), *body]


def _truncating(flags: int) -> list[Instruction]:
    """An open for reading only that would empty the file: Landlock before version 3 takes it for one that reads."""
    return [
        (_LOAD, 0, 0, flags), (_AND, 0, 0, _O_TRUNC | _O_ACCMODE), (_EQUAL, 0, 1, _O_TRUNC), _deny(),
        (_RETURN, 0, 0, _RET_ALLOW),
    ]  # fmt: skip


def build(machine: str, *, ticket: int | None = None, programs: bool = False) -> bytes:
    """The BPF program for ``machine``.

    ``ticket`` is the one address of a path for which ``execve`` is still allowed. With ``programs`` processes may be
    started, as a compiler starts its linker; they are under the same filter.
    """
    audit, numbers = MACHINES[machine]
    code: list[Instruction] = [(_LOAD, 0, 0, _ARCHITECTURE), (_EQUAL, 1, 0, audit), _deny(), (_LOAD, 0, 0, _NUMBER)]
    if machine == "x86_64":
        code += [(_ABOVE, 0, 1, _X32_BIT), _deny()]
    allow: Instruction = (_RETURN, 0, 0, _RET_ALLOW)
    if not programs:
        code += _case(numbers["clone3"], [_deny(errno.ENOSYS)])
        code += _case(numbers["clone"], [(_LOAD, 0, 0, _FIRST), (_SET, 0, 1, _CLONE_THREAD), allow, _deny()])
    code += _case(numbers["openat2"], [_deny(errno.ENOSYS)])
    code += _case(numbers["openat"], _truncating(_THIRD))
    if "open" in numbers:
        code += _case(numbers["open"], _truncating(_SECOND))
    # raise() and abort() signal this process itself
    own = [(_LOAD, 0, 0, _FIRST), (_EQUAL, 0, 1, os.getpid()), allow]
    if not programs:
        code += _case(numbers["tgkill"], [*own, _deny()])
    for name in _OWN_ONLY:
        code += _case(numbers[name], [*own, (_EQUAL, 0, 1, 0), allow, _deny()])
    if ticket is not None:
        low, high = ticket & 0xFFFFFFFF, ticket >> 32
        body = [(_LOAD, 0, 0, _FIRST), (_EQUAL, 0, 3, low), (_LOAD, 0, 0, _FIRST + 4), (_EQUAL, 0, 1, high)]
        code += _case(numbers["execve"], [*body, allow, _deny()])
    spared = frozenset(["fork", "vfork", "execve", "kill"]) if programs else frozenset()
    for name, number in numbers.items():
        if name not in _WITH_ARGUMENTS and name not in _OWN_ONLY and name not in spared:
            code += [(_EQUAL, 0, 1, number), _deny()]
    code.append(allow)
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in code)


class _Filter(ctypes.Structure):
    _fields_ = (("code", ctypes.c_uint16), ("jt", ctypes.c_uint8), ("jf", ctypes.c_uint8), ("k", ctypes.c_uint32))


class _Program(ctypes.Structure):
    _fields_ = (("len", ctypes.c_uint16), ("filter", ctypes.POINTER(_Filter)))


def _machine() -> str | None:
    machine = platform.machine()
    return machine if _LINUX and machine in MACHINES else None


def available() -> bool:
    """Whether this kernel and machine have such filters."""
    machine = _machine()
    if machine is None:
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    action = ctypes.c_uint32(_RET_ERRNO)
    number = ctypes.c_long(MACHINES[machine][1]["seccomp"])
    return bool(libc.syscall(number, ctypes.c_uint(_GET_ACTION_AVAIL), ctypes.c_uint(0), ctypes.byref(action)) == 0)


def install(*, alone: bool, ticket: int | None = None, programs: bool = False) -> bool:
    """Put this process under the filter for good; whether that worked. ``alone``: it has one thread.

    The process has given up new privileges before (PR_SET_NO_NEW_PRIVS).
    """
    machine = _machine()
    if machine is None:
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    raw = build(machine, ticket=ticket, programs=programs)
    filters = (_Filter * (len(raw) // 8)).from_buffer_copy(raw)
    program = _Program(len(filters), filters)
    number = ctypes.c_long(MACHINES[machine][1]["seccomp"])
    # A filter is a thread's own: with TSYNC every thread of the process gets it, or the call fails.
    if libc.syscall(number, ctypes.c_uint(_SET_MODE_FILTER), ctypes.c_uint(_FILTER_TSYNC), ctypes.byref(program)) == 0:
        return True
    return alone and bool(libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0) == 0)
