"""Decks and models of other simulators: what runs, what equals ngspice, what is repaired and right afterwards."""

from __future__ import annotations

import math
import os
import re
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from claims.base import Claim, Figures, Report
from claims.dialects_decks import DeckCase, cases
from claims.dialects_models import PERIOD, VOLTS, Law, current, models, netlists
from cosim.engines.library import find_ngspice
from cosim.engines.openvaf import compile_model
from cosim.engines.registry import open_simulator
from cosim.engines.simulator import Deck, Simulator
from cosim.errors import CosimError
from cosim.language.netlist import logical_lines, read_text, translate
from cosim.lint import lt_verilog, va_behavioural, va_fix, va_rules
from cosim.lint.lt_lint import fix_spice

CLOSE = 1e-3  # of full scale: what a repaired model may be off, in either engine
_POINTS = np.linspace(0.02, 0.98, 97) * PERIOD
_TIGHT = {"reltol": 1e-5, "abstol": 1e-13, "vntol": 1e-9, "trtol": 1.0}


def printed(text: str, folder: Path) -> dict[str, float]:
    """The measures that ``ngspice -b`` prints of a deck."""
    program = find_ngspice()
    if program is None:
        raise CosimError("there is no ngspice program", remedy="install ngspice")
    (folder / "deck.cir").write_text(text)
    environment = {**os.environ, "OMP_THREAD_LIMIT": "1", "NGSPICE_MEAS_PRECISION": "12"}
    done = subprocess.run(
        [program, "-b", "deck.cir"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    found = re.findall(r"^(\w+)\s+=\s+([-+0-9.eE]+)", done.stdout, re.MULTILINE)
    return {name: float(value) for name, value in found[::-1] if name == "y"}  # the first, before any print


def fails(case: DeckCase, simulator: Simulator, folder: Path) -> str:
    """Why a deck is not answered as it should be; "" where it is."""
    text = f"a deck\n{case.text}.end\n"
    if case.of == "refused":
        result = simulator.run(Deck(text, source=folder / "deck.cir"))
        told = case.says in result.reason and ";" in result.reason
        return "" if not result.ok and told else f"not refused with a remedy: {result.reason}"
    plain = text
    if case.of == "foreign":
        repair = fix_spice(case.text, folder / "deck.sub", None, amplitude=None, period=None, caret="power")
        if repair.fixed.left:
            return f"left: {repair.fixed.left[0]}"
        text = plain = f"a deck\n{repair.fixed.text.rstrip()}\n.end\n"
    elif case.of == "control":
        found = translate(read_text(text))
        if found.impossible:
            return f"not translated: {found.impossible[0].line.text!r}: {found.impossible[0].reason}"
        text = found.apply(text)
    result = simulator.run(Deck(text))
    if not result.ok:
        return f"does not run: {result.reason}"
    values = dict(result.measures)
    if not values or values != (same := printed(plain, folder)):
        return f"{values} is not what ngspice -b prints, {same if values else 'a measure'}"
    return _off(values, case.right, case.close)


def _off(values: Mapping[str, float], right: Mapping[str, float], close: float) -> str:
    for name, value in right.items():
        if not math.isclose(values[name], value, rel_tol=close, abs_tol=1e-9 * close):
            return f"{name} is {values[name]!r}, not {value!r}"
    return ""


def repaired(text: str, law: Law, engines: Mapping[str, Simulator]) -> dict[str, float]:
    """How far the repaired model is from its closed form (of full scale) in each engine, and without Verilog-A.

    Raises `CosimError` for one that is not repaired.
    """
    fixed = va_fix.fix(va_rules.read(text, Path()))
    if fixed.left:
        raise CosimError(f"left: {fixed.left[0]}")
    found = va_rules.read(fixed.text, Path())
    module = found.modules[0]
    compiled = _driven(f"N1 a 0 dut\n.model dut {module.name}", compile_model(fixed.text))
    twin, _ = va_behavioural.subcircuit(found, module)
    decks = {name: (engine, compiled) for name, engine in engines.items()}
    decks["behavioural"] = engines["ngspice"], _driven(f"{twin}X1 a 0 {module.name}")
    return _far(decks, law)


def repaired_netlist(text: str, law: Law, engines: Mapping[str, Simulator]) -> dict[str, float]:
    """The same of a subcircuit: as repaired in ngspice, as Verilog-A in VACASK. Raises `CosimError` likewise."""
    repair = fix_spice(text, Path("model.sub"), None, amplitude=None, period=None, caret="power")
    if repair.fixed.left:
        raise CosimError(f"left: {repair.fixed.left[0]}")
    written, name, _ = lt_verilog.module(logical_lines(repair.fixed.text, has_title=False))
    compiled = _driven(f"N1 a 0 dut\n.model dut {name}", compile_model(written))
    decks = {"ngspice": _driven(f"{repair.fixed.text}\nX1 a 0 model"), "vacask": compiled}
    return _far({engine: (engines[engine], deck) for engine, deck in decks.items()}, law)


def _driven(body: str, *osdi: Path) -> Deck:
    drive = f"t\nV1 a 0 sin(0 {VOLTS} {1 / PERIOD})"
    run = f".tran {PERIOD / 2000} {PERIOD} 0 {PERIOD / 2000}\n.end\n"
    return Deck(f"{drive}\n{body}\n{run}", osdi=osdi, options=_TIGHT)


def _far(decks: Mapping[str, tuple[Simulator, Deck]], law: Law) -> dict[str, float]:
    """How far each deck's current is from the closed form, of full scale."""
    right = current(law, _POINTS)
    off = {}
    for name, (engine, deck) in decks.items():
        data = engine.run(deck).require()["tran"]
        time, amperes = (np.asarray(data[key].values, float) for key in ("time", "i(v1)"))
        off[name] = float(np.max(np.abs(np.interp(_POINTS, time, -amperes) - right)) / np.max(np.abs(right)))
    return off


def measure(tell: Report) -> Figures:
    """The whole corpus."""
    kinds: dict[str, list[int]] = {}
    wrong: list[str] = []
    with (
        open_simulator() as ngspice,
        open_simulator("vacask") as vacask,
        tempfile.TemporaryDirectory(prefix="cosim-dialects-") as scratch,
    ):
        for case in cases():
            tell(f"dialects: {case.name}")
            reason = fails(case, ngspice, Path(scratch))
            kinds.setdefault(case.of, []).append(not reason)
            wrong += [f"{case.of}, {case.name}: {reason}"] if reason else []
        engines = {"ngspice": ngspice, "vacask": vacask}
        netlists_wrong = 0
        for name, text, law in netlists():
            tell(f"dialects: {name}")
            try:
                far = max(repaired_netlist(text, law, engines).values())
                reason = "" if far <= CLOSE else f"{far:.2g} of full scale from its closed form"
            except CosimError as error:
                reason = str(error)
            netlists_wrong += bool(reason)
            wrong += [f"netlist, {name}: {reason}"] if reason else []
        worst = dict.fromkeys((*engines, "behavioural"), 0.0)
        verified = found = 0
        for name, text, law in models():
            tell(f"dialects: {name}")
            found += bool(va_rules.check(va_rules.read(text, Path())))
            try:
                off = repaired(text, law, engines)
            except CosimError as error:
                wrong.append(f"model, {name}: {error}")
                continue
            verified += max(off.values()) <= CLOSE
            worst = {engine: max(value, off[engine]) for engine, value in worst.items()}
    count = sum(1 for _ in models())
    decks = [right for answers in kinds.values() for right in answers]
    return {
        "decks": len(decks), "decks_wrong": len(decks) - sum(decks),
        **{f"{kind}_right": sum(answers) for kind, answers in kinds.items()},
        "models": count, "models_found": found, "models_wrong": count - verified,
        "netlists": sum(1 for _ in netlists()), "netlists_wrong": netlists_wrong,
        **{f"worst_{engine}": float(f"{value:.2g}") for engine, value in worst.items()}, "wrong": wrong,
    }  # fmt: skip


DIALECTS = Claim(
    "dialects",
    "decks and models in the ways of other simulators run as they were meant: decks of ngspice to its last digit, "
    "others as repaired, models of Verilog-A in ngspice, in VACASK and without Verilog-A, and those of other "
    "simulators' netlists in ngspice and, as Verilog-A, in VACASK",
    measure,
    {
        "decks": (60, None),
        "decks_wrong": (None, 0),
        "models": (30, None),
        "models_wrong": (None, 0),
        "netlists": (20, None),
        "netlists_wrong": (None, 0),
    },
)
