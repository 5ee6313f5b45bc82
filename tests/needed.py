"""Optional packages that tests need, imported without the changes that some of them make to the process."""

from __future__ import annotations

import pytest

from cosim.packages import process_unchanged


def needed(name: str, *, extra: str) -> None:
    """Skip the test, or the module, where the package ``name`` of cosim's extra ``extra`` is not installed."""
    with process_unchanged():
        pytest.importorskip(name, reason=f"the package {name} is not installed (extra {extra!r})")
