"""A target by its name: the ``TARGET`` of the module of that name in this package, imported when it is asked for."""

from __future__ import annotations

from importlib import import_module

from cosim.errors import UnknownName
from cosim.export.base import Target
from cosim.export.names import TARGETS


def target_named(name: str) -> Target:
    """A target; raises `UnknownName` with those that there are."""
    if name not in TARGETS:
        raise UnknownName("target", name, TARGETS)
    found: Target = import_module(f"cosim.export.{name.replace('-', '_')}").TARGET
    return found
