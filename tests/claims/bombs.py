"""Hostile files that are too large, too deep or too odd to be kept: written when they are tried.

Each maker takes the path to write; its name is what a case of the corpus says under ``make``.
"""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import zipfile
from collections.abc import Callable
from copy import copy
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from cosim.parameters import ParameterSet
from cosim.surrogate.correction import Correction
from cosim.surrogate.files import VERSION
from cosim.surrogate.files import save as save_surrogate
from cosim.surrogate.model import Surrogate

BASE = "R1 a 0 1k\nV1 a 0 1\n.tran 1n 100n\n"
BENCH = 'title = "bomb"\ncircuit = """\nV1 a 0 1\nR1 a 0 1k\n"""\nanalysis = { kind = "op" }\n'
VERILOG = '`include "disciplines.vams"\nmodule bomb(p, n);\ninout p, n; electrical p, n;\nanalog '
Maker = Callable[[Path], None]
MAKERS: dict[str, Maker] = {}


def _maker(function: Maker) -> Maker:
    MAKERS[function.__name__.removeprefix("_")] = function
    return function


def _deck(path: Path, body: str, *, base: str = BASE) -> None:
    path.write_text(f"hostile\n{base}{body}.end\n")


def _written(text: Callable[[], str], path: Path) -> None:
    path.write_text(text())


def _written_deck(body: Callable[[], str], path: Path) -> None:
    _deck(path, body())


# Decks, and other files, that one expression makes: the text after `BASE`, and the whole.
DECKS: dict[str, Callable[[], str]] = {
    "parentheses": lambda: f".param p={'(' * 100_000}1{')' * 100_000}\nR2 a 0 {{p}}\n",
    "parentheses_in_source": lambda: f"B1 b 0 V={'(' * 100_000}1{')' * 100_000}\nR2 b 0 1k\n",
    "brackets_unclosed": lambda: f"B1 b 0 V={'max(1,' * 50_000}\nR2 b 0 1k\n",
    "signs": lambda: f"B1 b 0 V={'-' * 100_000}1\nR2 b 0 1k\n",
    "ternaries": lambda: f"B1 b 0 V={'v(a)?' * 20_000}1{':1' * 20_000}\nR2 b 0 1k\n",
    "braces": lambda: f"R2 a 0 {'{' * 50_000}1{'}' * 50_000}\n",
    "quotes": lambda: ".param s=" + "'\"" * 50_000 + "\n",
    "subcircuits_open": lambda: "".join(f".subckt s{k} a\n" for k in range(5000)) + "R1 a 0 1k\n",
    "parameters_many": lambda: "".join(f".param p{k}={{p{k - 1}*2}}\n" if k else ".param p0=1\n" for k in range(3000)),
    "names_colliding": lambda: "".join(f"R{'a' * (k % 50)}{k} n{k % 7} 0 1k\n" for k in range(20_000)) + "Ra a n0 1\n",
}
TEXTS: dict[str, Callable[[], str]] = {
    "toml_deep_arrays": lambda: BENCH + f"save = {'[' * 100_000}{']' * 100_000}\n",
    "toml_deep_tables": lambda: BENCH + f"[{'.'.join(['a'] * 5_000)}]\nx = 1\n",
    "toml_deep_inline": lambda: BENCH + f"corners = {'{ a = ' * 20_000}1{' }' * 20_000}\n",
    "toml_huge_integer": lambda: BENCH + f"[parameters]\nw0 = {'9' * 5000}\n",
    "toml_large_integer": lambda: BENCH + f"[parameters]\nw0 = {'9' * 400}\n",
    "toml_many_keys": lambda: BENCH + "[parameters]\n" + "".join(f"p{k} = {k}\n" for k in range(20_000)),
    "verilog_parentheses": lambda: f"{VERILOG}I(p, n) <+ {'(' * 50_000}V(p, n){')' * 50_000};\nendmodule\n",
    "verilog_tokens": lambda: f"{VERILOG}I(p, n) <+ V(p, n){' + V(p, n)' * 100_000};\nendmodule\n",
}
MAKERS |= {name: partial(_written, text) for name, text in TEXTS.items()}
MAKERS |= {name: partial(_written_deck, body) for name, body in DECKS.items()}


def _repeated(path: Path, head: bytes, piece: bytes, count: int, tail: bytes = b"") -> None:
    with path.open("wb") as file:
        file.write(head)
        for _ in range(count // 4096):
            file.write(piece * 4096)
        file.write(piece * (count % 4096) + tail)


@_maker
def _subcircuits_doubling(path: Path) -> None:
    cells = "".join(f".subckt s{k} a\nX1 a s{k + 1}\nX2 a s{k + 1}\n.ends\n" for k in range(40))
    _deck(path, f"{cells}.subckt s40 a\nR1 a 0 1k\n.ends\nX1 a s0\n")


@_maker
def _subcircuits_deep(path: Path) -> None:
    cells = "".join(f".subckt s{k} a\nX1 a s{k + 1}\n.ends\n" for k in range(5000))
    _deck(path, f"{cells}.subckt s5000 a\nR1 a 0 1k\n.ends\nX1 a s0\n")


@_maker
def _elements_many(path: Path) -> None:
    cells = "".join(
        f".subckt s{k} a\n" + "".join(f"X{i} a s{k + 1}\n" for i in range(20)) + ".ends\n" for k in range(4)
    )
    _deck(path, f"{cells}.subckt s4 a\nR1 a n 1k\nC1 n 0 1p\n.ends\nX1 a s0\n")


@_maker
def _lines_million(path: Path) -> None:
    _repeated(path, b"hostile\n" + BASE.encode(), b"* \n", 1_000_000, b".end\n")


@_maker
def _continuations_many(path: Path) -> None:
    _repeated(path, b"hostile\n" + BASE.encode() + b"V2 b 0 pwl(0 0\n", b"+\n", 300_000, b"+ 1 1)\nR2 b 0 1k\n.end\n")


@_maker
def _line_long(path: Path) -> None:
    _repeated(path, b"hostile\n" + BASE.encode() + b"R2 a 0 1k ", b"x y ", 4_000_000, b"\n.end\n")


@_maker
def _word_long(path: Path) -> None:
    _repeated(path, b"hostile\n" + BASE.encode() + b"R", b"r", 8_000_000, b" a 0 1k\n.end\n")


@_maker
def _file_sparse(path: Path) -> None:
    path.write_text("hostile\n" + BASE)
    with path.open("r+b") as file:
        file.truncate(200 << 20)


@_maker
def _file_large(path: Path) -> None:
    _repeated(path, b"hostile\n" + BASE.encode(), b"* " + b"x" * 1021 + b"\n", 132 << 10, b".end\n")


@_maker
def _includes_doubling(path: Path) -> None:
    for level in range(16):
        body = f'.include "level{level + 1}.inc"\n' * 2 if level < 15 else "R9 a 0 1k\n"
        (path.parent / f"level{level}.inc").write_text(body)
    _deck(path, '.include "level0.inc"\n')


@_maker
def _sources_long(path: Path) -> None:
    points = " ".join(f"{k}n {k % 2}" for k in range(300_000))
    _deck(path, f"V2 b 0 pwl({points})\nR2 b 0 1k\n")


@_maker
def _toml_long_string(path: Path) -> None:
    _repeated(path, BENCH.encode() + b'description = "', b"x", 40_000_000, b'"\n')


@_maker
def _toml_sparse(path: Path) -> None:
    path.write_text(BENCH)
    with path.open("r+b") as file:
        file.truncate(2 << 30)


@_maker
def _verilog_macros_doubling(path: Path) -> None:
    macros = "".join(f"`define m{k} `m{k + 1} + `m{k + 1}\n" for k in range(30))
    path.write_text(f"{macros}`define m30 V(p, n)\n{VERILOG}I(p, n) <+ `m0;\nendmodule\n")


@_maker
def _verilog_include_chain(path: Path) -> None:
    for level in range(1200):
        (path.parent / f"chain{level}.va").write_text(f'`include "chain{level + 1}.va"\n')
    path.write_text(f'`include "chain0.va"\n{VERILOG}I(p, n) <+ V(p, n);\nendmodule\n')


class _Touch:
    """An object whose unpickling makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


def _canary(path: Path) -> Path:
    return path.parent.parent / "canary"


def _npz(path: Path, members: dict[str, bytes], *, packed: bool = False) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def _npy(array: Any, *, allow_pickle: bool = False) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.asarray(array), allow_pickle=allow_pickle)
    return buffer.getvalue()


def _header(text: str) -> bytes:
    padded = text.encode().ljust(118) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(padded).to_bytes(2, "little") + padded


@_maker
def _npz_pickle(path: Path) -> None:
    # the only pickle that is written here: what must never be read
    array = np.array([_Touch(_canary(path))], dtype=object)
    _npz(path, {"document.npy": _npy(array, allow_pickle=True), "digest.npy": _npy(np.zeros(32, np.uint8))})


@_maker
def _npz_pickle_bare(path: Path) -> None:
    _npz(path, {"document.npy": pickle.dumps(_Touch(_canary(path))), "digest.npy": b""})


@_maker
def _npz_zip_bomb(path: Path) -> None:
    size = 32 << 20
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        head = _header(f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({size},)}}")
        archive.writestr("array_0.npy", head + bytes(size))
        for number in range(1, 200):  # all of them the same bytes
            twin = copy(archive.filelist[0])
            twin.filename = f"array_{number}.npy"
            archive.filelist.append(twin)


@_maker
def _npz_claims_more(path: Path) -> None:
    _npz(path, {"document.npy": _header("{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,)}")})


@_maker
def _npz_code_in_header(path: Path) -> None:
    _npz(path, {"document.npy": _header(f"__import__('pathlib').Path({str(_canary(path))!r}).touch()")})


@_maker
def _npz_deep_header(path: Path) -> None:
    _npz(path, {"document.npy": b"\x93NUMPY\x02\x00" + (60_000).to_bytes(4, "little") + b"(" * 60_000})


@_maker
def _npz_traversal(path: Path) -> None:
    name = f"../../{_canary(path).name}"
    _npz(path, {name: b"x", str(_canary(path)): b"x", "document.npy": _npy(np.zeros(3)), "digest.npy": _npy([0])})


@_maker
def _npz_members_many(path: Path) -> None:
    _npz(path, {f"array_{k}.npy": b"" for k in range(20_000)})


def _document(path: Path, text: bytes) -> None:
    digest = np.frombuffer(hashlib.sha256(text).digest(), dtype=np.uint8)
    members = {"document.npy": _npy(np.frombuffer(text, dtype=np.uint8)), "digest.npy": _npy(digest)}
    _npz(path, members, packed=True)


@_maker
def _certificate_deep(path: Path) -> None:
    _document(path, b"[" * 200_000)


@_maker
def _certificate_junk(path: Path) -> None:
    body = {
        "format": "cosim surrogate",
        "version": VERSION,
        "kind": "pulse",
        "arrays": {},
        "body": {},
        "certificate": 7,
    }
    _document(path, json.dumps(body).encode())


@_maker
def _certificate_kind(path: Path) -> None:
    body = {"format": "cosim surrogate", "version": VERSION, "kind": "os.system", "arrays": {}, "body": {}}
    _document(path, json.dumps(body).encode())


@_maker
def _certificate_numbers(path: Path) -> None:
    text = '{"format": "cosim surrogate", "version": 1e999, "kind": NaN, "arrays": 5, "certificate": Infinity}'
    _document(path, text.encode())


@_maker
def _certificate_no_text(path: Path) -> None:
    _document(path, b"\xff\xfe\x00{")


def _corrected(path: Path, **changes: Any) -> None:
    """A whole surrogate whose correction says of itself what it likes, with a right digest."""
    correction = Correction(
        ("w", "amplitude"), ("amplitude",), np.array([[0.0, 1.0], [0.0, 2.0]]), 0, {"w": np.zeros((2, 1))}
    )
    save_surrogate(Surrogate(ParameterSet.load("tio2"), correction=correction), path)
    with np.load(path, allow_pickle=False) as archive:
        arrays = dict(archive)
    document = json.loads(arrays["document"].tobytes())
    document["body"]["correction"] |= changes
    text = json.dumps(document).encode()
    arrays["document"] = np.frombuffer(text, dtype=np.uint8)
    arrays["digest"] = np.frombuffer(hashlib.sha256(text).digest(), dtype=np.uint8)
    np.savez(path, **arrays)


@_maker
def _correction_degree(path: Path) -> None:
    _corrected(path, degree=3_000_000_000)


@_maker
def _correction_degree_no_table(path: Path) -> None:
    _corrected(path, degree=3_000_000_000, of=[])


@_maker
def _correction_negative(path: Path) -> None:
    _corrected(path, degree=-1)


@_maker
def _correction_fields(path: Path) -> None:
    _corrected(path, degree=20, fields=[f"f{k}" for k in range(500)], signed=[])


@_maker
def _correction_signed(path: Path) -> None:
    _corrected(path, fields=[f"f{k}" for k in range(60)], signed=[f"f{k}" for k in range(60)], of=[])
