"""The public face."""

import subprocess
import sys

import cosim


def test_all_names_load_and_are_the_lazy_ones() -> None:
    assert sorted(cosim.__all__) == sorted(cosim._WHERE)
    for name in cosim.__all__:
        assert getattr(cosim, name) is not None
    assert set(cosim.__all__) <= set(dir(cosim))


def test_import_is_light() -> None:
    code = "import sys, cosim; sys.exit(any(m in sys.modules for m in ('numpy', 'scipy', 'matplotlib', 'PySpice')))"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
