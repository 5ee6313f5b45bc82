"""What cosim imports leaves the process as it was: Ctrl-C's handler, the start method, the environment."""

import subprocess
import sys

import pytest

from cosim.errors import EngineMissing
from cosim.packages import optional

LOOK = """
import importlib, multiprocessing, os, pkgutil, signal, warnings
warnings.simplefilter("ignore")

def process():
    handlers = {f"signal {int(number)}": signal.getsignal(number) for number in signal.valid_signals()}
    return {**handlers, **os.environ, "start method": multiprocessing.get_start_method(allow_none=True)}

def told(what, before):
    after = process()
    for name in sorted(before.keys() | after.keys()):
        if before.get(name) != after.get(name):
            print(f"{what} changes {name}")

"""
EVERY_MODULE = """
import cosim
before = process()
for module in pkgutil.walk_packages(cosim.__path__, "cosim."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
        told(module.name, before)
        before = process()
"""
EVERY_OPTIONAL_PACKAGE = """
from cosim.errors import EngineMissing
from cosim.packages import optional
for name in ("sklearn.datasets", "numba", "fipy", "pyamg", "pyarrow", "dask", "distributed", "dask_jobqueue", "emcee"):
    before = process()
    try:
        optional(name, extra="all", needed_by="this")
    except EngineMissing:
        continue
    told(name, before)
"""


@pytest.mark.parametrize("imports", [EVERY_MODULE, EVERY_OPTIONAL_PACKAGE], ids=["modules", "packages"])
def test_imports_leave_the_process_as_it_was(imports: str) -> None:
    answer = subprocess.run([sys.executable, "-P", "-c", LOOK + imports], capture_output=True, text=True, timeout=300)
    assert (answer.stdout, answer.returncode) == ("", 0), answer.stderr


def test_a_package_that_is_not_there() -> None:
    said = r"a cluster needs the package no-such-package, which is not installed; pip install 'cosim-spice\[cluster\]'"
    with pytest.raises(EngineMissing, match=said):
        optional("no_such_package", extra="cluster", needed_by="a cluster")
