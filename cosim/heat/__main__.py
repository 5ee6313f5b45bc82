"""``python -m cosim.heat``: solve the stack, print resistance and coupling, write the circuit's parameter sets."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import replace

from cosim import units
from cosim.errors import CosimError
from cosim.heat.stack import Stack


def main(arguments: Sequence[str] | None = None) -> int:
    """Solve one stack; one line of JSON. Lengths take units ("60 nm")."""
    parser = argparse.ArgumentParser(prog="cosim.heat", description="The heat equation in a thermal synapse's stack.")
    parser.add_argument("--geometry", choices=("baseline", "modified"), default="baseline")
    parser.add_argument("--feature", default="60 nm", help="F, the width of a line")
    parser.add_argument("--pitch", help="K; default 2 F")
    parser.add_argument("--substrate", help="oxide above the heat sink")
    parser.add_argument("--margin", help="from the outer lines to the adiabatic sides")
    parser.add_argument("--refine", type=float, default=1.0, help="fineness; 1.35 has 300 000 cells")
    parser.add_argument("--write", metavar="FOLDER", help="write the fitted parameter sets there")
    parser.add_argument("--name", help="of the sets; default stack_60nm and so on")
    given = parser.parse_args(arguments)
    try:
        from cosim.heat.network import fit_array, fit_cell, parameter_sets, write_sets
        from cosim.heat.response import response

        feature = units.parse(given.feature, "m")
        make = Stack.modified if given.geometry == "modified" else Stack.baseline
        pitch = None if given.pitch is None else units.parse(given.pitch, "m")
        stack = make(feature, pitch=pitch, refine=given.refine)
        if given.substrate is not None:
            stack = replace(stack, substrate=units.parse(given.substrate, "m"))
        if given.margin is not None:
            stack = replace(stack, margin=units.parse(given.margin, "m"))
        started = time.perf_counter()
        found = response(stack, tell=_tell)
        seconds = time.perf_counter() - started
        _tell("")
        cell, single, array = fit_cell(found), fit_cell(found, poles=1), fit_array(found)
        line = {
            "cells": found.cells, "seconds": round(seconds, 1), "heater_ohm": found.resistance, "r_th": found.r_th,
            "coupling_60ns": found.at(60e-9), "coupling_rest": found.at(None),
            "cell": {k: q.value for k, q in cell.values.items()}, "cell_error": cell.error,
            "one_pole_error": single.error, "array": {k: q.value for k, q in array.values.items()},
            "array_error": array.error,
        }  # fmt: skip
        print(json.dumps(line))
        if given.write:
            suffix = "" if pitch is None else f"_pitch_{pitch * 1e9:.4g}nm"
            suffix += "" if given.geometry == "baseline" else "_modified"
            name = given.name or f"stack_{feature * 1e9:.4g}nm{suffix}"
            for path in write_sets(parameter_sets(found, name), given.write):
                print(f"wrote {path}", file=sys.stderr)
    except CosimError as error:
        print(f"cosim.heat: {error}", file=sys.stderr)
        return 2
    return 0


def _tell(what: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{what}", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
