"""How a run ended, read from what ngspice left behind: its plots and its log.

ngspice's exit code and PySpice's exceptions say too much or too little: a gmin step that worked looks like an error,
a line that was ignored like a success. What counts here: each analysis has its plot, a transient reached its end, no
line was dropped. The reason is ngspice's own sentence, with the place in the user's file.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import numpy as np

from cosim.engines.prepare import Prepared
from cosim.engines.simulator import Outcome
from cosim.engines.waveforms import Plot
from cosim.errors import Where
from cosim.language.hazards import options_of

# A transient's last point is its stop time up to rounding; ngspice's own sum of steps differs in the last few bits.
_STOP_RTOL = 1e-6
_PRINTED = 2e-6  # of a number that ngspice prints with seven digits
_STOPPED = re.compile(r"in expression: parsing stopped at line (\d+)", re.IGNORECASE)
_OPTION = re.compile(r"bad type given for option (\S+)", re.IGNORECASE)
_PASSED = re.compile(r"^\s*warning\s*:.*\bignored\b|could not set temperature", re.IGNORECASE)
_AUTOSTOP = re.compile(r"Autostop after (\d[\d.]*(?:e[+-]?\d+)?) s", re.IGNORECASE)

_LINE_NUMBER = re.compile(
    r"(?:on|in) line(?: no\.?)? (\d+)|new internal line no\. (\d+)|line number (\d+)", re.IGNORECASE
)
_IGNORED = re.compile(
    r"is not a valid .* instance line, ignored|unrecognized parameter|no such parameter", re.IGNORECASE
)
_FATAL = re.compile(
    r"^\s*(?:error|fatal|undefined parameter|could not find a valid modelname|.*unknown subckt|.*unknown parameter|"
    r".*can't find model|.*no such (?:function|vector|node)|.*unable to find definition|.*syntax error|.*mif-error)",
    re.IGNORECASE,
)
_NOISE = re.compile(
    r"there (?:aren't|is no)|circuit not parsed|simulation interrupted|cannot recover|please check|^error on line \d+|"
    r"error in netlist line|any of the following|ngspice stopped|fatal error in ngspice|no circuit",
    re.IGNORECASE,
)
# What a model, built in or compiled, reports about its parameters.
_DEVICE = re.compile(
    r"fatal error:\s*(?!.*\bngspice\b)(\S.*)|(\d+ errors? occurred during initialization.*)", re.IGNORECASE
)
_ABORT = re.compile(r"doAnalyses:\s*(?:\w+:\s*)?(.*)", re.IGNORECASE)
_RUN_TROUBLE = re.compile(
    r"timestep too small|singular matrix|no convergence|convergence problem|iteration limit|operating point could not|"
    r"run simulation\(s\) aborted|out of memory|can't allocate|no such device|not found in circuit",
    re.IGNORECASE,
)

# The usual remedies, the likeliest first.
_ADVICE = (
    (
        re.compile("singular matrix", re.IGNORECASE),
        "look there for a node without a path to ground or a loop of voltage sources; a resistor of 1e12 ohms helps",
    ),
    (
        re.compile("timestep too small|no convergence|iteration limit", re.IGNORECASE),
        "look for a root or logarithm of a negative number and for jumps in an expression; then try options "
        "method=gear, gmin=1e-10, cshunt=1e-15 or reltol=1e-3, slower edges, or .nodeset near the operating point",
    ),
)

Log = Sequence[tuple[str, str]]


def of_ngspice(prepared: Prepared, plots: Sequence[Plot], log: Log, *, parsed: bool) -> tuple[Outcome, str]:
    """The outcome and, unless it converged, the reason in one sentence.

    Args:
        prepared: what was run.
        plots: what came back, in any order.
        log: ngspice's lines with their streams.
        parsed: False when ngspice gave up before it had a circuit.
    """
    texts = [text for _, text in log]
    refused = not parsed or any(re.search(r"there aren't any circuits|circuit not parsed", text) for text in texts)
    if refused:
        return Outcome.REFUSED, load_reason(prepared, texts)
    for index, text in enumerate(texts):
        if re.search(r"instance line, ignored", text):
            return Outcome.REFUSED, _placed(prepared, _clean(text), texts, index)
    if dropped := next((match[1] for text in texts if (match := _OPTION.search(text))), None):
        where = _option_place(prepared, dropped)
        return Outcome.REFUSED, f"{where}ngspice would ignore option {dropped}, whose value it does not accept"
    missing = _unfinished(prepared, plots, texts)
    if missing is None and not any("simulation(s) aborted" in text for text in texts):
        return Outcome.CONVERGED, ""
    if any("no data saved" in text for text in texts):
        saved = re.findall(r"^\.save\s+(.*)$", prepared.text, re.MULTILINE | re.IGNORECASE)
        return Outcome.REFUSED, f"the circuit has none of the vectors to save: {' '.join(saved)}"
    devices = [_clean(match[1] or match[2]) for text in texts if (match := _DEVICE.search(text))]
    if devices:
        return Outcome.REFUSED, f"a device cannot be set up: {'; '.join(dict.fromkeys(devices))}; check its values"
    return Outcome.NOT_CONVERGED, _run_reason(missing or "the run was aborted", texts)


def ended_early(plots: Sequence[Plot], prepared: Prepared, texts: Sequence[str]) -> tuple[str, ...]:
    """A sentence for each transient that the option autostop ended."""
    ends = [float(np.real(scale[-1])) for plot in plots if (scale := plot.scale()) is not None and plot.kind == "tran"]
    stops = {f" of {analysis.stop:.6g} s" for analysis in prepared.analyses if analysis.stop is not None}
    asked = stops.pop() if len(stops) == 1 else ""
    return tuple(
        f"the transient ended at {end:.6g} s{asked}: .options autostop ends it when all .meas are done"
        for end in ends
        if _autostopped(end, texts)
    )


def ignored(texts: Sequence[str]) -> tuple[str, ...]:
    """ngspice's own sentences about what it read and ignored."""
    found = (re.sub(r"^\s*warning\s*:\s*", "", text, flags=re.IGNORECASE) for text in texts if _PASSED.search(text))
    return tuple(dict.fromkeys(f"ngspice: {' '.join(text.split())}" for text in found))


def _option_place(prepared: Prepared, name: str) -> str:
    for line in prepared.circuit.cards(".options", ".option", ".opt"):
        if any(given.lower() == name.lower() for given, _ in options_of(line)):
            return f"{line.where}: "
    return ""


def _autostopped(end: float, texts: Sequence[str]) -> bool:
    """Whether ngspice says that its option autostop ended a transient at ``end``, in s."""
    times = [float(match[1]) for text in texts if (match := _AUTOSTOP.search(text))]
    return any(math.isclose(end, time, rel_tol=_PRINTED) for time in times)


def _unfinished(prepared: Prepared, plots: Sequence[Plot], texts: Sequence[str]) -> str | None:
    """What did not reach its end, in words; None when everything did."""
    for kind in dict.fromkeys(analysis.kind for analysis in prepared.analyses):
        asked = [analysis for analysis in prepared.analyses if analysis.kind == kind]
        got = [plot for plot in plots if plot.kind == kind and plot.points > 0]
        if len(got) < len(asked):
            return f"the .{kind} analysis gave no result"
        if kind != "tran":
            continue
        ends = sorted(float(np.real(scale[-1])) for plot in got if (scale := plot.scale()) is not None and len(scale))
        stops = sorted(analysis.stop for analysis in asked if analysis.stop is not None)
        if len(stops) != len(ends):
            continue
        for end, stop in zip(ends, stops, strict=True):
            if end < stop * (1 - _STOP_RTOL) and not _autostopped(end, texts):
                return f"the transient stopped at {end:.6g} s of {stop:.6g} s"
    return None


def _run_reason(missing: str, texts: Sequence[str]) -> str:
    details = [_clean(match[1]) for text in texts if (match := _ABORT.search(text))]
    singular = [match[1] for text in texts if (match := re.search(r"singular matrix:\s*check nodes? (.*)", text))]
    if singular:
        details.append(f"singular matrix at {', '.join(dict.fromkeys(s.strip() for s in singular[:3]))}")
    if not details:
        troubles = [_clean(text) for text in texts if _RUN_TROUBLE.search(text) and "aborted" not in text]
        details = troubles[-1:]
    if not details:
        details = [_clean(text) for text in texts if re.match(r"\s*error", text, re.IGNORECASE)][-1:]
    said = missing + (f": {'; '.join(dict.fromkeys(details))}" if details else "")
    return said + next((f"; {advice}" for pattern, advice in _ADVICE if pattern.search(said)), "")


def load_reason(prepared: Prepared, texts: Sequence[str]) -> str:
    """Why ngspice did not take the netlist, with the place that its log leads to."""
    for index, text in enumerate(texts):
        if (stopped := _STOPPED.search(text)) and (where := prepared.place(int(stopped[1]))) is not None:
            name = prepared.text.split("\n")[int(stopped[1]) - 1].split(None, 1)[0]
            rest = " ".join(texts[index + 1].partition(" in ")[0].split())[:40] if index + 1 < len(texts) else ""
            return f"{where}: syntax error in the expression of {name}, at {rest!r}"
    for index, text in enumerate(texts):
        if (_FATAL.search(text) or _IGNORED.search(text)) and not _NOISE.search(text):
            return _placed(prepared, _clean(text), texts, index)
    for index, text in enumerate(texts):
        if re.match(r"\s*error on line \d+", text, re.IGNORECASE) and index + 2 < len(texts):
            return _placed(prepared, _clean(texts[index + 2]), texts, index)  # the line itself stands between
    for index, text in enumerate(texts):
        if re.search("error", text, re.IGNORECASE):
            return _placed(prepared, _clean(text), texts, index)
    return "ngspice did not take the netlist: " + (_clean(texts[-1]) if texts else "it gave no reason")


def _clean(text: str) -> str:
    cleaned = re.sub(r"^\s*(?:error|warning|fatal)\s*[:,]?\s*", "", text.strip(), flags=re.IGNORECASE)
    return re.sub(r"\s+", " ", cleaned).strip(" .!")


def _placed(prepared: Prepared, reason: str, texts: Sequence[str], index: int) -> str:
    where = _find_place(prepared, texts, index)
    return f"{where}: {reason}" if where is not None and str(where) else reason


def _find_place(prepared: Prepared, texts: Sequence[str], index: int) -> Where | None:
    """The row that the log quotes near ``index``; by its number, else by its words."""
    near = [*texts[index : index + 3], *texts[max(0, index - 3) : index][::-1]]
    rows = prepared.text.splitlines()
    for text in near:
        for quoted in (text.strip().lower(), *re.findall(r"'([^']+)'", text.lower()), text.lower().partition(": ")[2]):
            hits = [i for i, row in enumerate(rows) if i and _same(row, quoted)] if len(quoted) > 2 else []
            if len(hits) == 1:
                return prepared.place(hits[0] + 1)
    for text in near:
        if match := _LINE_NUMBER.search(text):
            return prepared.place(int(next(group for group in match.groups() if group)))
    return None


def _same(row: str, quoted: str) -> bool:
    return row.lower().split() == quoted.split()
