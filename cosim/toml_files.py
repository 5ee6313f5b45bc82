"""Reading TOML files: plain ones up to a size; an error names the line."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from cosim.errors import InputError, Where
from cosim.files import read_plain, refuse_results

MAX_TOML = 16 << 20  # bytes


def read_toml(path: str | Path, *, kind: str) -> dict[str, Any]:
    """A TOML file as a dict; raises `MissingFile`, or `InputError` with the line. ``kind`` says what it should be."""
    file = Path(path)
    data = read_plain(file, limit=MAX_TOML, kind=kind)
    refuse_results(data, where=Where(file))
    try:
        return tomllib.loads(data.decode("utf-8-sig").replace("\r\n", "\n"))
    except UnicodeDecodeError:
        raise InputError(f"{kind} is not UTF-8 text", where=Where(file), remedy="save it as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"not valid TOML: {error}", where=Where(file), remedy="see toml.io for the syntax") from None
    except (RecursionError, ValueError):  # of a number's digits
        raise InputError(
            f"{kind} nests too deeply, or holds a number of too many digits", where=Where(file), remedy="shorten it"
        ) from None
