"""Lines of a TOML text: every entry that the standard library reads is found, and in its line."""

import tomllib
from typing import Any

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from cosim.resources import listing
from cosim.toml_lines import entries, line_of

_NAMES = st.text(alphabet="abcXYZ019_-", min_size=1, max_size=4)
_LEAVES = st.one_of(
    st.integers(-99, 99), st.booleans(), st.floats(allow_nan=False, allow_infinity=False, width=32),
    st.text(alphabet="ab =[]{},#'\"\\\n.", max_size=12),
)  # fmt: skip
_VALUES = st.recursive(
    _LEAVES,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(_NAMES, inner, max_size=3)),
    max_leaves=12,
)


def paths(value: Any, above: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found = {above} if above else set()
    for key, inner in pairs:
        found |= paths(inner, (*above, str(key)))
    return found


@given(document=st.dictionaries(_NAMES, _VALUES, max_size=4), several=st.booleans())
def test_every_entry_is_found(document: dict[str, Any], several: bool) -> None:
    text = tomli_w.dumps(document, multiline_strings=several)
    read = tomllib.loads(text)
    found = {here[:k] for here, _ in entries(text) for k in range(1, len(here) + 1)}
    assert paths(read) <= found


@given(before=st.dictionaries(_NAMES, _LEAVES, max_size=4), value=_LEAVES, several=st.booleans())
def test_a_key_is_in_its_line(before: dict[str, Any], value: Any, several: bool) -> None:
    head = tomli_w.dumps(before, multiline_strings=several)
    tail = tomli_w.dumps({"wanted": value}, multiline_strings=several)
    text = f"{head}# wanted = 1\n[last]\n{tail}"
    tomllib.loads(text)
    assert line_of(text, ("last", "wanted")) == head.count("\n") + 3


@pytest.mark.parametrize(
    "path", [*listing("netlists", ".toml"), *listing("device_models", ".toml")], ids=lambda p: p.stem
)
def test_shipped_files(path: Any) -> None:
    text = path.read_text()
    rows = text.splitlines()
    for here, line in entries(text):
        if not here[-1].isdigit():
            assert here[-1] in rows[line - 1]
    assert paths(tomllib.loads(text)) <= {here[:k] for here, _ in entries(text) for k in range(1, len(here) + 1)}


TRICKY = '''description = """
[limits]
top = 3
"""
values = [
  [1, 2],
  { a = 1, b = [
     4 ] },
]
[limits]
top = 5
[[list]]
x = 1
[list.below]
y = 2
[[list]]
x = 3
a.b."c d" = 4
'''


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        (("limits", "top"), 11), (("limits",), 10), (("values", 0), 6), (("values", 1), 7), (("values", 1, "b"), 7),
        (("values", 1, "b", 0), 8), (("list", 0, "x"), 13), (("list", 0, "below", "y"), 15), (("list", 1, "x"), 17),
        (("list", 1, "a", "b", "c d"), 18), (("list", 1, "nothing"), 16), (("nothing",), None), (("list", 1, "a"), 18),
    ],
)  # fmt: skip
def test_text_that_only_looks_like_a_table(keys: tuple[str | int, ...], line: int | None) -> None:
    tomllib.loads(TRICKY)
    assert line_of(TRICKY, keys) == line
