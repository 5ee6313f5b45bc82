"""Text files of instruments: their lines, the cells of a line, and the number in a cell.

Delimiter and decimal sign are read off the whole file, never off one row; what they leave ambiguous is refused.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from cosim import units
from cosim.errors import DataError, Where
from cosim.files import decoded, read_plain

COMMENT = ("#", "!", "%", "//")
# A cell that holds no reading: nothing, or what programs write for it.
EMPTY = {"", "nan", "na", "n/a", "#n/a", "-", "--", "---", "none", "null"}
# What instruments and spreadsheets write in place of a reading: such a cell belongs to a row of data, not to a header.
FAILED = EMPTY - {""} | {
    "ovld", "ovl", "ol", "oflo", "overflow", "overload", "over", "under", "inf", "+inf", "-inf", "infinity",
    "-infinity", "ovrng", "overrange", "err", "error", "invalid", "compliance", "comp", "cmpl", "fail", "failed",
    "open", "*", "**", "***", "****", "-----", "#div/0!", "#value!", "#num!", "#ref!",
}  # fmt: skip
# SCPI instruments send 9.9e37 for an overflow and 9.91e37 for "not a number".
OVERFLOW = 9.8e37
# Our choice: more than a fit can use, and what memory holds as cells.
MAX_BYTES, MAX_LINES = 512 << 20, 10_000_000
MAX_VALUES = 10_000_000  # numbers of a binary file, which can claim more than it has bytes
SAMPLE = 2000  # lines that choose the delimiter

_EXPONENT = r"(?:[eEdD][+-]?\d+)?"
_NUMBER = re.compile(rf"[+-]?(?:\d+\.?\d*|\.\d+){_EXPONENT}")
_EITHER = re.compile(rf"[+-]?(?:\d+(?:[.,]\d*)?|[.,]\d+|\d{{1,3}}(?:[.,]\d{{3}})+(?:[.,]\d*)?){_EXPONENT}")
_SUFFIXED = re.compile(rf"{_EITHER.pattern}\s*([a-zA-Zµμ\u03a9\u2126%][\w/·*^Ω%-]{{0,11}})")
# "1,234" may be 1.234 or 1234; "0,234" and "12,5" may not.
_GROUPED = re.compile(r"[+-]?[1-9]\d{0,2}(?:,\d{3})+")
# Thousands set apart by a narrow or unbreakable blank or an apostrophe mean nothing else.
_APART = re.compile("(?<=\\d)[\u00a0\u2009\u202f'\u2019](?=\\d{3}(?!\\d))")


def read_text(path: str | Path) -> str:
    """A text file in UTF-8 (with or without BOM), UTF-16 with BOM, or the Western code page of older instruments."""
    file = Path(path)
    text = decoded(read_plain(file, limit=MAX_BYTES, kind="data file"), where=Where(file), fallback="cp1252")
    if "\0" in text:
        raise DataError("is not a text file", where=Where(file), remedy="export the data as CSV")
    if text.count("\n") + text.count("\r") > 2 * MAX_LINES:  # CR LF counts twice
        raise DataError(f"has more than {MAX_LINES} lines", where=Where(file), remedy="keep the part to be fitted")
    return text


def lines_of(text: str) -> list[str]:
    """The lines as an editor counts them: a form feed or a Unicode separator ends none."""
    return re.split(r"\r\n|\n|\r", text)


def delimiter_of(lines: Sequence[str]) -> str:
    """The sign that sets most numbers apart: semicolon, tab, comma, or "" for blanks; the first of them in a tie."""
    if lines and (stated := re.fullmatch(r'"?sep=(.)"?', lines[0].strip(" \r\n"), re.IGNORECASE)):
        return "" if stated[1] == " " else stated[1]  # Excel's hint
    sample = lines[:: max(1, -(-len(lines) // SAMPLE))]

    def score(sign: str) -> int:
        rows = (split(line, sign) for line in sample)
        return sum(sum(map(is_reading, cells)) for cells in rows if len(cells) > 1)

    signs = (";", "\t", ",", "")
    found = {sign: score(sign) for sign in signs}
    best = max(signs, key=found.__getitem__)
    if found[best]:
        return best
    return next((sign for sign in signs[:3] if sum(sign in line for line in sample) > len(sample) / 2), "")


def split(line: str, delimiter: str) -> list[str]:
    """The cells of a line; a unit in brackets stays with the word before it where blanks set cells apart."""
    if not delimiter:
        return re.split(r"\s+(?![(\[])", line.strip())
    return [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter, skipinitialspace=True))]


def plain(cell: str) -> str:
    """The cell with ASCII minus and without blanks or apostrophes between thousands."""
    text = cell.strip()
    if text.isascii() and "'" not in text:
        return text
    return _APART.sub("", text.replace("\u2212", "-"))


def is_number(cell: str) -> bool:
    """Whether it is a number under either decimal sign."""
    return _EITHER.fullmatch(plain(cell)) is not None


def with_suffix(cell: str) -> bool:
    """Whether letters follow a number, as in "2.1m", "3 mA" or "3 monkeys"."""
    return bool(suffix(cell))


def suffix(cell: str) -> str:
    """The letters behind a number: "m" of "2.1m", "mA" of "3 mA", "" of all that is not a number with letters."""
    if cell[-1:].isdigit():  # the usual cell, at once
        return ""
    found = _SUFFIXED.fullmatch(plain(cell))
    return found[1] if found else ""


def is_prefix(suffix: str) -> bool:
    """Whether letters behind a number are an SI prefix: "m" is milli there, not metre."""
    return bool(suffix) and suffix in units.PREFIXES


def factor(prefix: str) -> float:
    """What an SI prefix stands for."""
    return units.PREFIXES[prefix]


def is_reading(cell: str) -> bool:
    """Whether it is a number, alone or with an SI prefix or a unit behind it."""
    behind = suffix(cell)
    return is_prefix(behind) or units.is_unit(behind) if behind else is_number(cell)


def is_failed(cell: str, missing: Callable[[str], bool]) -> bool:
    """Whether it stands for a reading that failed: one of the usual marks, or one that the user named."""
    return cell.strip().lower() in FAILED or missing(cell)


def is_mark(cell: str) -> bool:
    """Whether it is an instrument's word for a failed reading."""
    return cell.strip().lower() in FAILED


def number(cell: str, decimal: str) -> float | None:
    """The number under a decimal sign, "." or ","; the other one may set thousands apart. None for any other cell."""
    text, other = plain(cell), "," if decimal == "." else "."
    if other in text:
        if not re.fullmatch(rf"[+-]?\d{{1,3}}(?:\{other}\d{{3}})+(?:\{decimal}\d*)?{_EXPONENT}", text):
            return None
        text = text.replace(other, "")
    text = text.replace(",", ".")
    return float(text.lower().replace("d", "e")) if _NUMBER.fullmatch(text) else None


def same(cell: str, mark: str | float, decimal: str | None) -> bool:
    """Whether a cell is what a user wrote for a missing reading: the same text in any case, or the same number.

    Where the cell's ``decimal`` sign is not stated, it may be either.
    """
    if isinstance(mark, str) and cell.strip().casefold() == mark.strip().casefold():
        return True
    wanted = number(mark, ".") if isinstance(mark, str) else float(mark)
    return wanted is not None and any(number(cell, sign) == wanted for sign in decimal or ".,")


def decimal_sign(cells: Iterable[str], delimiter: str, *, file: Path) -> str:
    """The decimal sign of all the ``cells``; raises `DataError` where they leave it open or contradict each other."""
    numbers = [number for cell in cells if is_number(number := plain(cell).removesuffix(suffix(cell)).rstrip())]
    commas = [text for text in numbers if "," in text]
    if not commas:
        return "."
    point = next((text for text in numbers if "." in text), None)
    both = next((text for text in commas if "." in text), None)
    if both is not None:
        message = f"{both!r} has a comma and a point, one of which sets thousands apart"
    elif point is not None:
        message = f"{commas[0]!r} and {point!r} have different decimal signs"
    elif delimiter == ";" or not all(_GROUPED.fullmatch(text) for text in commas):
        return ","
    else:
        message = f"{commas[0]!r} is one number with a decimal comma and another with a comma between thousands"
    raise DataError(message, where=Where(file), remedy='write decimal = "." or "," under [data]')


def spans(lines: Iterable[int]) -> str:
    """Line numbers in words: "line 4", "lines 2–21 and 30"."""
    whole = isinstance(lines, range) and len(lines) > 0  # of a table that may be large
    ordered = lines if isinstance(lines, range) else sorted(lines)
    runs: list[list[int]] = [[ordered[0], ordered[-1]]] if whole else []
    for line in () if whole else ordered:
        if runs and line == runs[-1][1] + 1:
            runs[-1][1] = line
        else:
            runs.append([line, line])
    shown = [str(a) if a == b else f"{a}–{b}" for a, b in runs[:6]]
    if len(runs) > 6:
        shown.append(f"{len(runs) - 6} further places")
    joined = ", ".join(shown[:-1]) + (" and " if len(shown) > 1 else "") + shown[-1]
    return f"line{'s' if len(ordered) > 1 else ''} {joined}"
