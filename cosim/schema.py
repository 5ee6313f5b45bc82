"""TOML files with a schema: quantities with units become SI floats, and an error names file, line and remedy."""

from __future__ import annotations

import contextlib
import json
import re
import types
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar, Union, get_args, get_origin

import pydantic
from pydantic import BeforeValidator, ConfigDict
from pydantic.fields import FieldInfo

from cosim import units
from cosim.errors import CosimError, InputError, MissingFile, UnitError, UnknownName, Where, at, legible
from cosim.toml_files import read_toml
from cosim.toml_lines import line_of
from cosim.wording import In, choice, words

Model = TypeVar("Model", bound="Table")


class Table(pydantic.BaseModel):
    """A table of a file: frozen, and a key that the schema does not know is an error."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", arbitrary_types_allowed=True,
        ser_json_inf_nan="constants",  # JSON's null would come back as no number
    )  # fmt: skip

    @pydantic.model_validator(mode="before")
    @classmethod
    def _legible(cls, given: Any) -> Any:
        for key, value in given.items() if isinstance(given, dict) else ():
            if isinstance(value, str) and not value.isprintable() and legible(value) != value.replace("\r\n", "\n"):
                with at(str(key)):
                    raise InputError(f"control characters in {legible(value)[:60]!r}", remedy="remove them")
        return given


class Stated(Table):
    """A table that remembers the units its quantities were written in, which their SI numbers no longer show."""

    _written: dict[str, Any] = pydantic.PrivateAttr(default_factory=dict)

    @pydantic.model_validator(mode="wrap")
    @classmethod
    def _remember(cls, given: Any, handler: pydantic.ModelWrapValidatorHandler[Self]) -> Self:
        made = handler(given)
        if isinstance(given, dict):
            made._written = {str(key): value for key, value in given.items()}
        return made

    def units_of(self, key: str) -> list[str]:
        """The units that a key's quantities, or those in its lists, were written in; those without one left out."""

        def texts(given: Any) -> Iterator[str]:
            if isinstance(given, str):
                yield given
            for entry in given if isinstance(given, list | tuple) else ():
                yield from texts(entry)

        return [unit for text in texts(self._written.get(key)) if (unit := units.unit_in(text))]


def _quantity(unit: str) -> BeforeValidator:
    def convert(value: Any) -> float:
        if not isinstance(value, str | int | float):
            raise ValueError(f"{value!r} is not a quantity in {unit or 'plain numbers'}")
        return units.parse(value, unit)

    return BeforeValidator(convert)


Volt = Annotated[float, _quantity("V"), In("V")]
Ampere = Annotated[float, _quantity("A"), In("A")]
Second = Annotated[float, _quantity("s"), In("s")]
Hertz = Annotated[float, _quantity("Hz"), In("Hz")]
Number = Annotated[float, _quantity(""), In("")]


class Quantity(Table):
    """A value with a unit of its own: ``5``, ``"5 um"`` or ``{ value = 5, unit = "um" }``.

    Args:
        value: the number, in ``unit``.
        unit: any of V, A, s, Ohm, S, F, K, m, Hz, J, W and their kin, with a prefix.
    """

    value: float
    unit: str = "1"

    @pydantic.model_validator(mode="before")
    @classmethod
    def _read(cls, given: Any) -> Any:
        if isinstance(given, str | int | float) and not isinstance(given, bool):
            if isinstance(given, int | float):
                return {"value": units.parse(given), "unit": "1"}
            base = units.si_unit(units.unit_in(given) or "1")
            return {"value": units.parse(given, base), "unit": base}
        if isinstance(given, dict) and "value" in given:
            base = units.si_unit(str(given.get("unit", "1")))
            value = given["value"]
            if isinstance(value, str):
                return {**given, "value": units.parse(value, base), "unit": base}
            return {
                **given,
                "value": units.parse(value, base) * units.dimension(str(given.get("unit", "1")))[0],
                "unit": base,
            }
        return given


def _word(value: Any) -> str:
    """A value that is not a number, for a parameter of type string."""
    if not isinstance(value, str) or re.match(r"\s*[-+.]?\d", value) or not _WORD.fullmatch(value):
        raise ValueError(f"{value!r} is neither a quantity nor a word of letters, digits, blanks and . + - _")
    return value


# What a compiled model may get as a string: nothing that ends one, or that an engine reads differently.
_WORD = re.compile(r"[A-Za-z_][\w .+-]*", re.ASCII)
Word = Annotated[str, pydantic.BeforeValidator(_word)]


def validate(model: type[Model], data: Any, *, text: str = "", file: Path | None = None, kind: str = "file") -> Model:
    """``data`` as ``model``; the first error as one sentence with its line."""
    try:
        return model.model_validate(data)
    except pydantic.ValidationError as error:
        first, *others = error.errors(include_url=False)
        if first["type"] == "missing":  # a key that is spelled wrong is the better explanation of a missing one
            beside = (
                one for one in others if one["type"] == "extra_forbidden" and one["loc"][:-1] == first["loc"][:-1]
            )
            first = next(beside, first)
        path = _keys(first["loc"], data, absent=first["type"] == "missing")
        cause = first.get("ctx", {}).get("error")
        below = cause.keys if isinstance(cause, CosimError) else ()
        where = Where(file, line_of(text, [*path, *below]))
        raise _sentence(model, data, first, path, where=where, kind=kind) from None


def _sentence(
    model: type[Table], data: Any, first: Any, path: list[str | int], *, where: Where, kind: str
) -> InputError:
    """What is wrong, in TOML's words: tables, lists, numbers, text."""
    name = ".".join(str(part) for part in path) or kind
    cause = first.get("ctx", {}).get("error")
    if isinstance(cause, InputError):
        kept = UnitError if isinstance(cause, UnitError) else InputError
        said = f"{name}: {cause.message}" if path or not cause.keys else cause.message
        return kept(said, where=where, remedy=cause.remedy)
    if first["type"] == "extra_forbidden":
        return UnknownName(f"key in {kind}", name.rpartition(".")[2], _known(model, path), where=where)
    if first["type"] == "value_error":
        return InputError(f"{name}: {first['msg'].removeprefix('Value error, ')}", where=where)
    if first["type"] in ("union_tag_invalid", "union_tag_not_found"):
        known = re.findall(r"'([^']*)'", first["ctx"].get("expected_tags", "")) or _kinds(model, path, data)
        if first["type"] == "union_tag_invalid":
            return UnknownName(f"kind in {name}", str(first["ctx"]["tag"]), known, where=where)
        if isinstance(first["input"], dict):
            return InputError(f"{name} does not say its kind", where=where, remedy=f"write kind = {choice(known)}")
    annotation, metadata = _asked(model, path, data)
    wanted = words(annotation, metadata)
    if first["type"] == "missing" and isinstance(first["loc"][-1], str):
        return InputError(f"{kind} lacks {name}", where=where, remedy=f"add it: {_article(wanted)}")
    value = first["input"]
    if first["type"] == "literal_error" and isinstance(value, str):
        choices = [str(known) for one in _flat(annotation) if get_origin(one) is Literal for known in get_args(one)]
        return UnknownName(name, value, choices or [wanted], where=where)
    if first["type"] == "string_pattern_mismatch":
        return InputError(f"{name} is {_shown(value)}, and has to match {first['ctx']['pattern']}", where=where)
    remedy = None
    if wanted.startswith("table"):
        remedy = f"write [{name}], and its keys below it"
    elif wanted.startswith("list") and not isinstance(value, list | tuple):
        remedy = "write it in brackets: [..., ...]"
    return InputError(f"{name} is {_shown(value)}, and has to be {_article(wanted)}", where=where, remedy=remedy)


def _article(wanted: str) -> str:
    return wanted if wanted.startswith(("one of", "text", "true or")) else f"a {wanted}"


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return "an empty list" if not value else f"a list of {len(value)}"
    text = legible(json.dumps(value, ensure_ascii=False)) if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _asked(model: type[Table], path: Sequence[str | int], data: Any) -> tuple[Any, Sequence[Any]]:
    """The annotation of the value at ``path``, and its metadata, as far as the schema's types tell."""
    annotation: Any = model
    metadata: Sequence[Any] = ()
    for part in path:
        annotation, metadata = _below(annotation, part, data), ()
        if isinstance(annotation, FieldInfo):
            annotation, metadata = annotation.annotation, annotation.metadata
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            data = None
    return annotation, metadata


def _below(annotation: Any, part: str | int, data: Any) -> Any:
    """The type of what ``part`` names within a value of the type ``annotation``."""
    found = [table for table in _tables(annotation) if str(part) in table.model_fields]
    if isinstance(part, str) and found and not _is_dict(annotation):
        tag = data.get("kind") if isinstance(data, dict) else None
        named = [t for t in found if "kind" in t.model_fields and tag in get_args(t.model_fields["kind"].annotation)]
        return (named or found)[0].model_fields[part]
    for candidate in _flat(annotation):
        if get_origin(candidate) is dict and isinstance(part, str):
            return get_args(candidate)[1]
        if get_origin(candidate) is tuple and isinstance(part, int):
            args = get_args(candidate)
            return args[0] if Ellipsis in args else args[min(part, len(args) - 1)]
    return Any


def _flat(annotation: Any) -> list[Any]:
    """The alternatives of a union, without what is annotated to them."""
    if get_origin(annotation) is Annotated:
        return _flat(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return [one for arg in get_args(annotation) for one in _flat(arg)]
    return [annotation]


def _is_dict(annotation: Any) -> bool:
    return any(get_origin(one) is dict for one in _flat(annotation))


def _kinds(model: type[Table], path: Sequence[str | int], data: Any) -> list[str]:
    found = [table for table in _tables(_asked(model, path, data)[0]) if "kind" in table.model_fields]
    return list(dict.fromkeys(str(k) for table in found for k in get_args(table.model_fields["kind"].annotation)))


def _keys(loc: Sequence[str | int], data: Any, *, absent: bool) -> list[str | int]:
    """The part of pydantic's location that names keys of ``data``; the tags of unions are left out.

    ``absent``: the last part is a key that is not there.
    """
    keys: list[str | int] = []
    for index, part in enumerate(loc):
        in_list = isinstance(data, list | tuple) and isinstance(part, int) and part < len(data)
        if in_list or (isinstance(data, dict) and part in data):
            data = data[part]
        elif index < len(loc) - 1 or not isinstance(data, dict) or not absent:
            continue
        keys.append(part)
    return keys


def _known(model: type[Table], path: Sequence[str | int]) -> list[str]:
    """The keys that the table at the parent of ``path`` may have, as far as the schema's types tell."""
    fields = model.model_fields
    for part in path[:-1]:
        found = fields.get(str(part))
        tables = _tables(found.annotation) if found else [t for f in fields.values() for t in _tables(f.annotation)]
        tagged = [t for t in tables if str(part) in t.model_fields]
        if not found and not tagged:
            continue
        if tables:
            fields = {name: field for table in tables for name, field in table.model_fields.items()}
    return [name for name, field in fields.items() if not field.exclude]


def _tables(annotation: Any) -> list[type[Table]]:
    if isinstance(annotation, type) and issubclass(annotation, Table):
        return [annotation]
    return [table for arg in get_args(annotation) for table in _tables(arg)]


def read(path: str | Path, model: type[Model], *, kind: str) -> Model:
    """A TOML file as ``model``. Raises `MissingFile`, or `InputError` with file and line."""
    file = Path(path)
    data = read_toml(file, kind=kind)
    return validate(model, data, text=file.read_text(encoding="utf-8"), file=file, kind=kind)


class located:  # noqa: N801  used like contextlib.suppress
    """Errors raised inside that name no place get that of their `keys` in ``file``: its line where it is TOML.

    A missing file has no line.
    """

    def __init__(self, file: Path | None) -> None:
        self._file = file

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if not isinstance(error, CosimError) or error.where is not None or self._file is None:
            return
        line = None
        if error.keys:
            with contextlib.suppress(OSError, UnicodeDecodeError):
                line = line_of(self._file.read_text(encoding="utf-8"), error.keys)
        if line is not None or not isinstance(error, MissingFile):
            error.where = Where(self._file, line)
