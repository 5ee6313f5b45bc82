"""``python -m cosim.engines.worker.process``: a resident process that holds one engine, and may die without taking
anything with it.

Two kinds: ``library`` holds libngspice through PySpice's ``NgSpiceShared``; ``command`` starts a simulator program for
each job, as a confined child. Both take frames (`frames`) on one pipe and answer on another, until the
first pipe closes. The parent enforces the wall clock from outside and judges the result; a worker only reports what
it saw.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import re
import select
import shutil
import signal
import sys
import tempfile
import time
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from cosim.engines.worker import frames, landlock, sandbox

_LOG_LINES, _LINE = 4000, 1000  # lines of a log, and characters of one: all of it fits into an answer
_TAIL_BYTES = 1 << 20
# norefvalue: the reference value would ask for the processor time at every point.
SETTINGS = ("set num_threads=1", "set no_mem_check", "set noaskquit", "set norefvalue", "unset unixcom")
CANNOT_START = 127  # as a shell and the loader of shared libraries say it
_PROGRESS = "Reference value"


def _start_watcher(pipe: int, writer: int, scratch: Path) -> None:
    """A process that ends this one when the parent's end of the pipe is gone, also in the middle of a simulation.

    PR_SET_PDEATHSIG would not do: it fires when the parent's *thread* that started us ends, and pools are used from
    threads. A thread would not do either: it would keep rights that the engine's code could borrow from it, being in
    the same memory. So the watcher is forked while this process has one thread and no engine yet.
    """
    engine = os.getpid()
    ended = os.pidfd_open(engine)
    if os.fork() != 0:
        os.close(ended)
        return
    try:
        os.close(writer)
        poller = select.poll()
        poller.register(pipe, 0)  # POLLHUP and POLLERR are always reported
        poller.register(ended, select.POLLIN)
        gone = {handle for handle, _ in poller.poll()}
        if ended not in gone:
            signal.pidfd_send_signal(ended, signal.SIGKILL)
            gone |= {handle for handle, _ in poller.poll(5000)}
        if pipe in gone:
            shutil.rmtree(scratch, ignore_errors=True)
    finally:
        os._exit(0)


class LibraryEngine:
    """libngspice behind PySpice, in this process."""

    def __init__(self, scratch: Path) -> None:
        import logging

        # PySpice logs every stderr line as an error, successful gmin stepping among them; the transcript has them all.
        logging.getLogger("PySpice").setLevel(logging.CRITICAL + 1)
        import warnings

        warnings.filterwarnings("ignore", module=r"PySpice\..*")
        from PySpice.Spice.NgSpice.Shared import NgSpiceShared

        transcript: deque[tuple[str, str]] = deque(maxlen=_LOG_LINES)
        self.transcript = transcript
        self.exited = False
        engine = self

        class Shared(NgSpiceShared):  # type: ignore[misc]
            def send_char(self, message: str | bytes, ngspice_id: int) -> int:
                del ngspice_id
                text = message if isinstance(message, str) else message.decode("latin-1")
                stream, _, content = text.partition(" ")
                if not content.lstrip().startswith(_PROGRESS):
                    transcript.append((stream, content.rstrip("\r\n")[:_LINE]))
                for kept in (
                    self._stdout,
                    self._stderr,
                ):  # PySpice keeps all of a run: an endless warning would eat memory
                    if len(kept) > _LOG_LINES:
                        del kept[: _LOG_LINES // 2]
                return 0

            @staticmethod
            def _exit(status: int, *_: Any) -> int:
                engine.exited = True
                return status

        self._shared = Shared()
        self._loaded: dict[str, str] = {}
        self._modules: dict[str, set[str]] = {}
        self._used = False
        self.version = f"ngspice-{self._shared.ngspice_version}"
        for command in SETTINGS:
            self._command(command)
        self._scratch = scratch

    def _command(self, text: str) -> bool:
        """Whether ngspice took the command; PySpice raises for any text on stderr, which is not a failure in itself."""
        try:
            self._shared.exec_command(text)
        except (NameError, UnicodeError):  # PySpice's own errors derive from NameError
            return False
        return True

    def osdi(self, paths: Sequence[Mapping[str, str]], deck: str) -> str:
        """Load compiled models once each. Returns "", why it failed, or "stale".

        Stale: it holds another module of that name, or one that ``deck`` names without declaring it; the outcome
        would then depend on what ran before.
        """
        declared = {entry["path"] for entry in paths}
        undeclared = [names for path, names in self._modules.items() if path not in declared]
        if undeclared:
            used = set(re.findall(r"\w+", deck.lower()))
            if any(not names or names & used for names in undeclared):
                return "stale"
        for entry in paths:
            path, identity = entry["path"], entry["identity"]
            if self._loaded.get(path) == identity:
                continue
            file = entry.get("file", path)  # a copy, where this process may read it
            try:
                names = osdi_modules(file)
            except OSError as error:
                return f"cannot load compiled model {path}: {error}"
            if path in self._loaded or any(names & held for held in self._modules.values()):
                return "stale"
            self.transcript.clear()
            self._command(f"osdi {file}")
            errors = [text for stream, text in self.transcript if stream == "stderr" and "rror" in text]
            if errors:
                version = osdi_version(file)
                return (
                    f"{self.version} refuses compiled model {path} of OSDI version {version}; compile it again with "
                    f"a compiler of its own version ({errors[-1].strip()})"
                )
            self._loaded[path] = identity
            self._modules[path] = names
        return ""

    def run(self, job: Mapping[str, Any]) -> tuple[dict[str, Any], list[frames.Numbers]]:
        """Load, run, copy the plots out, and forget the circuit."""
        # Half of a pair of Gaussian numbers stays for the next source of noise, whatever the seed.
        if job.get("fresh") and self._used:
            return {"status": "stale", "log": []}, []
        self._used = True
        refusal = self.osdi(job.get("osdi", ()), job["deck"])
        if refusal:
            return {"status": "stale" if refusal == "stale" else "failed", "log": [["stderr", refusal]]}, []
        self.transcript.clear()
        loaded, run = True, False
        self._command("setseed 1")  # a resident process would otherwise continue the last run's random numbers
        try:
            self._shared.load_circuit(job["deck"])
        except (NameError, UnicodeError):
            loaded = not self.exited
        load_lines = len(self.transcript)
        if loaded:
            run = self._command("run")
        plots: list[dict[str, Any]] = []
        arrays: list[frames.Numbers] = []
        if not self.exited:
            for name in self._shared.plot_names:
                if name == "const":
                    continue
                vectors = []
                for label, vector in self._shared.plot(None, name).items():
                    vectors.append([label, str(vector._type)])
                    arrays.append(vector._data)
                plots.append({"name": name, "vectors": vectors})
            for name in self._shared.plot_names if job.get("fourier") else ():
                if name.startswith("tran"):
                    for command in (f"setplot {name}", *job["fourier"]):
                        self._command(command)
        log = [list(entry) for entry in self.transcript]
        if not self.exited:
            self._command("destroy all")
            self._command("remcirc")
        status = "exited" if self.exited else "done"
        return {"status": status, "run": run, "plots": plots, "log": log, "load_lines": load_lines}, arrays


def osdi_modules(path: str) -> set[str]:
    """The names of the Verilog-A modules in a compiled model: OSDI 0.4 and later; empty for an older file."""
    library = ctypes.CDLL(path, mode=os.RTLD_LOCAL)
    try:
        count = ctypes.c_uint32.in_dll(library, "OSDI_NUM_DESCRIPTORS").value
        size = ctypes.c_uint32.in_dll(library, "OSDI_DESCRIPTOR_SIZE").value
        first = ctypes.addressof(ctypes.c_char.in_dll(library, "OSDI_DESCRIPTORS"))
    except ValueError:
        return set()
    names = (ctypes.c_char_p.from_address(first + index * size).value for index in range(count))
    return {name.decode("latin-1").lower() for name in names if name}


def osdi_version(path: str) -> str:
    """The version of the interface that a compiled model was made for; "unknown" where the file does not say."""
    library = ctypes.CDLL(path, mode=os.RTLD_LOCAL)
    try:
        parts = [ctypes.c_uint32.in_dll(library, f"OSDI_VERSION_{part}").value for part in ("MAJOR", "MINOR")]
    except ValueError:
        return "unknown"
    return ".".join(str(part) for part in parts)


def _create(path: Path) -> BinaryIO:
    """A new file; one that is there already, or a link, is an error."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600), "wb")


class CommandEngine:
    """A simulator program, started anew for each job in a folder of its own that holds nothing of an earlier one."""

    version = ""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._folder: Path | None = None
        self._readable: dict[str, landlock.Readable] = {}

    def readable(self, program: str) -> landlock.Readable:
        """What ``program`` may read whatever its job is, opened once."""
        if program not in self._readable:
            self._readable[program] = landlock.Readable.of(sandbox.engine_paths(program), execute=True)
        return self._readable[program]

    def run(self, job: Mapping[str, Any], pipe: int) -> dict[str, Any]:
        """Write the job's files, run its program confined, and say how it ended, where, and what it printed."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
        folder = self._folder = Path(tempfile.mkdtemp(prefix="job-", dir=self._scratch))
        for name, content in job["files"].items():
            with _create(folder / Path(name).name) as file:
                file.write(content.encode())
        readable = self.readable(job["argv"][0])
        # Read back through the same handle: no path that the program could have put something else at.
        with tempfile.TemporaryFile(dir=self._scratch) as output:
            child = os.fork()
            if child == 0:
                self._become(job, output.fileno(), folder, readable)
            status, usage = self._wait(child, pipe)
            size = output.seek(0, os.SEEK_END)
            output.seek(max(0, size - _TAIL_BYTES))
            text = output.read().decode("utf-8", "replace")
        lines = [line for line in text.splitlines() if not line.lstrip().startswith(_PROGRESS)]
        log = [["stdout", line[:_LINE]] for line in lines[-_LOG_LINES:]]
        code = os.waitstatus_to_exitcode(status)
        return {"status": "done", "code": code, "log": log, "peak": usage, "folder": folder.name}

    @staticmethod
    def _become(job: Mapping[str, Any], sink: int, folder: Path, readable: landlock.Readable) -> None:
        """In the child: the program, or exit code `CANNOT_START`."""
        try:
            sandbox.die_with_parent()
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(sink, 1)
            os.dup2(sink, 2)
            os.chdir(folder)
            sandbox.limit_resources(memory=job["memory"], file_size=job["file_size"], for_good=True)
            environment = sandbox.environment(folder, job.get("env"))
            sandbox.execute(job["argv"], environment, folder, readable=readable, files=job.get("reads", ()))
        except BaseException as error:  # the child of a fork must not go on with its parent's code
            os.write(2, f"cannot start {job['argv'][0]}: {error}\n".encode())
        os._exit(CANNOT_START)

    @staticmethod
    def _wait(child: int, pipe: int) -> tuple[int, int]:
        """Wait for the child, and end with it when the parent's end of the pipe goes."""
        done = os.pidfd_open(child)
        poller = select.poll()
        poller.register(done, select.POLLIN)
        poller.register(pipe, 0)
        try:
            while True:
                events = dict(poller.poll())
                if done in events:
                    _, status, usage = os.wait4(child, 0)
                    return status, usage.ru_maxrss * 1024
                if pipe in events:
                    os.kill(child, signal.SIGKILL)
                    raise frames.FrameClosed
        finally:
            os.close(done)


def _serve_library(reader: int, writer: int, scratch: Path) -> None:
    _start_watcher(reader, writer, scratch.parent)
    means = sandbox.isolate()
    started = time.monotonic()
    engine = LibraryEngine(scratch)
    library = os.environ.get("NGSPICE_LIBRARY_PATH")
    paths = (*sandbox.engine_paths(library), *sandbox.python_paths(), str(scratch.parent / frames.READ_ONLY))
    confinement = sandbox.confine(scratch, readable=landlock.Readable.of(paths), means=means)
    frames.send(
        writer,
        {
            "ready": True,
            "version": engine.version,
            "confinement": confinement.as_dict(),
            "start": time.monotonic() - started,
        },
    )
    while True:
        job, _ = frames.receive(reader)
        sandbox.limit_resources(memory=job["memory"], file_size=job["file_size"])
        try:
            answer, arrays = engine.run(job)
            frames.send(writer, answer, arrays=arrays)
        except MemoryError:
            sandbox.limit_resources(memory=-1)
            frames.send(writer, {"status": "memory", "log": []})
            return
        if engine.exited:
            return  # libngspice does not recover from its own exit


def _serve_command(reader: int, writer: int, scratch: Path) -> None:
    means = sandbox.isolate()
    engine = CommandEngine(scratch)
    confinement = sandbox.trial(scratch, readable=engine.readable(sys.executable), means=means)
    frames.send(writer, {"ready": True, "version": "", "confinement": confinement.as_dict(), "start": 0.0})
    while True:
        job, _ = frames.receive(reader)
        frames.send(writer, engine.run(job, reader))


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve frames until the pipe closes."""
    parser = argparse.ArgumentParser(prog="cosim.engines.worker.process")
    parser.add_argument("kind", choices=("library", "command"))
    parser.add_argument("--read", type=int, required=True)
    parser.add_argument("--write", type=int, required=True)
    parser.add_argument("--scratch", type=Path, required=True)
    options = parser.parse_args(arguments)
    scratch: Path = options.scratch
    os.chdir(scratch)
    sandbox.prepare_scratch(scratch)
    serve = _serve_library if options.kind == "library" else _serve_command
    try:
        serve(options.read, options.write, scratch)
    except (frames.FrameClosed, BrokenPipeError):
        shutil.rmtree(scratch.parent, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
