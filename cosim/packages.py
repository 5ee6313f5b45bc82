"""Optional packages: imported where they are needed, and kept from changing the process that imports them.

dask-jobqueue replaces Ctrl-C's handler when it is imported; scikit-learn and what FiPy draws in write environment
variables for OpenMP. A simulation would then end without its last row being written, and the engines that are started
later would see other variables than those started before.
"""

from __future__ import annotations

import os
import signal
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from cosim.errors import EngineMissing


@contextmanager
def process_unchanged() -> Iterator[None]:
    """Signal handlers and environment variables are afterwards what they were before."""
    handlers = {number: signal.getsignal(number) for number in signal.valid_signals()}
    environment = dict(os.environ)
    try:
        yield
    finally:
        for name in os.environ.keys() - environment.keys():
            del os.environ[name]
        for name, value in environment.items():
            if os.environ.get(name) != value:
                os.environ[name] = value
        if threading.current_thread() is threading.main_thread():  # no other thread can set a handler
            for number, handler in handlers.items():
                if handler is not None and signal.getsignal(number) is not handler:
                    signal.signal(number, handler)


def optional(name: str, *, extra: str, needed_by: str) -> Any:
    """The package or module ``name`` of cosim's extra ``extra``. Raises `EngineMissing`, which says what to install."""
    try:
        with process_unchanged(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a package's imports warn about its own code
            return import_module(name)
    except ImportError:
        package = name.partition(".")[0].replace("_", "-").replace("sklearn", "scikit-learn")
        raise EngineMissing(
            f"{needed_by} needs the package {package}, which is not installed",
            remedy=f"pip install 'cosim-spice[{extra}]'",
        ) from None
