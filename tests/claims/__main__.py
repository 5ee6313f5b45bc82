"""``python -m claims [NAME ...] [--reproduce]``: a line of JSON per claim; exit 1 where one does not hold."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure the claims named in ``arguments``; without a name list them, or --reproduce the long ones."""
    from claims import record
    from claims.registry import CLAIMS
    from cosim.errors import CosimError, UnknownName

    parser = argparse.ArgumentParser(prog="measure", description="Measure what the project claims, on this machine.")
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument(
        "--reproduce", action="store_true", help="the long claims; results are recorded in fits/results/"
    )
    given = parser.parse_args(arguments)
    if not given.names and not given.reproduce:
        for name, claim in CLAIMS.items():
            print(f"{name:<14} {claim.says}{' (long)' if claim.long else ''}")
        return 0
    failed = False
    try:
        for name in given.names or [name for name, claim in CLAIMS.items() if claim.long]:
            if name not in CLAIMS:
                raise UnknownName("claim", name, CLAIMS)
            claim = CLAIMS[name]
            started = time.perf_counter()
            figures = claim.measure(_tell)
            _tell("")
            broken = claim.judge(figures)
            failed |= bool(broken)
            line = {"claim": name, "holds": not broken, **figures, "broken": broken}
            print(json.dumps({**line, "seconds": round(time.perf_counter() - started, 1)}, allow_nan=False), flush=True)
            if given.reproduce and not broken:
                print(f"recorded in {record.write(claim, figures)}", file=sys.stderr)
    except CosimError as error:
        print(f"measure: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("measure: interrupted", file=sys.stderr)
        return 130
    return 1 if failed else 0


def _tell(what: str) -> None:
    """Progress, on a terminal only."""
    if sys.stderr.isatty():
        print(f"\r\033[K{what}", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    # As Ctrl-C: what was drawn is kept, and no process is left behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):  # before numpy is loaded
        os.environ.setdefault(name, "1")
    sys.exit(main())
