"""Mutations: a wrong number or a wrong law, one at a time, and whether the limits of the shipped benches notice.

Mutated are, for each device in a bench, every parameter of its set but zeros and initial states (by +20 %, by -20 %
where that is out of bounds), every factor of its set's learning rule (by +20 %), the sign of every rate and of every
event's jump, and the exponent of the voltage at every electrical port (1.2 in place of 1); and every number among the
parameters of the subcircuits that the bench includes (by +20 %).

A mutation *moves* a bench where a judged measure leaves its value by more than `MOVES` of its largest value, or where a
limit that held breaks; it is *caught* there in the latter case. How loose a limit is makes no difference, but for two
sorts of measures, which come to next to nothing where a circuit is right: an error (`ERRORS`, and any measure whose
limits enclose zero, or that is below a thousandth of its limit) is compared to what is asked of it where that is more
than itself, as 3 % that are allowed are not claimed to 2 % of the 1 % that is there; and a coefficient of determination
counts by what it lacks of 1, as an error.

What the rule leaves out, and what it adds:

- a move of less than 2 % of the largest of a measure's values, however much it is of the smaller ones;
- figures without a limit, which nothing judges;
- runs that fail, which are neither moved nor caught and are counted apart. A mutation that fails wherever it is run
  says nothing of any limit, and each one would leave a better share: those that may are listed (`RUN_AWAY`);
- numbers that are no parameter: those of stimuli and of the bench itself, sizes and cards of transistors that are typed
  at the instance, and what an instance is given; two numbers wrong at once; a law that is wrong in another way;
- the solver's own error is not taken off: where it is above 2 %, a mutation without effect counts as moved and missed.

A bench that a mutation does not move has no figure that depends on it; it is not run where the circuit has no instance
that takes the number, and the bench does not name it. Runs are at the benches' own tolerances, nominal corner, one run
each, so that a limit on a spread of samples (`reram_variability`) judges the device that is drawn around. A number is
named by the set or the circuit that it is typed in, by the device where it is a default; it is *published* where the
set says that it is from a publication, and neither our choice nor a fit or a solution of ours.

The claim is that each mutation that moves something is caught by at least one bench. By bench it is fewer, as a limit
that states what is asked of a circuit, and not what it has to come to (an energy below 2 pJ), is moved by numbers that
leave it kept: nine of ten pairs of a mutation and a bench that it moves, and 19 of 20 where the number is published, as
a published number is what a bench is there to show (our choice, both). The benches that fail as they stand are those
whose source differs (`DIFFER`), where a limit that is broken already catches nothing.

``PYTHONPATH=tests python -m claims.mutations BENCH ...`` tries some benches alone (names or paths), and says what each
misses.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from claims.base import Claim, Figures, Report
from cosim.bench.measured import Measured
from cosim.bench.result import BenchResult
from cosim.bench.testbench import Testbench
from cosim.bench.validate import find_benches
from cosim.devices.base import DeviceModel, Operand, Values
from cosim.devices.registry import device, devices
from cosim.engines.registry import open_simulator
from cosim.engines.simulator import Limits, Simulator
from cosim.errors import CosimError
from cosim.statistics.verdict import Verdict

BY = 0.2
EXPONENT = 1.2
MOVES = 0.02  # our choice: ten times what engines differ by on any device
ERRORS = ("deviation", "line-error", "largest-change", "pinch")  # how such kinds end
NOTHING = 1e-3  # of a limit: what is below is the solver's
SHARES = ("r-squared",)  # of 1
DIFFER = ("quantum_dot_anti_symmetric", "quantum_dot_table_2")
# Fail wherever they are run: with this sign the state feeds itself and runs away, and ngspice finds no further step.
RUN_AWAY = (
    "stc_equations: sign of dc/dt",
    "stc_equations: sign of dprotein/dt",
    "stc_synapse: sign of dprotein/dt",
    "stc_synapse: sign of dud/dt",
    "stc_synapse: sign of dup/dt",
    "stc_synapse: sign of dxd/dt",
    "stc_synapse: sign of dxp/dt",
)
UNPUBLISHED = ("our choice", "fitted to", "heat equation")  # how the source of a number of ours begins
LIMITS = Limits(wall=300.0)  # five times the usual: a run that times out says nothing of a limit
_NUMBER = re.compile(r"(?<![\w.{])(\w+)=(-?[0-9.]+(?:e[-+]?[0-9]+)?)(meg|[a-z]?)(?![\w.*/+({-])", re.IGNORECASE)
_GIVEN = re.compile(r"(\w+)\s*=\s*(?:\{[^}]*\}|\S+)")

Mutant = Callable[[Testbench], Testbench]


@dataclass(frozen=True)
class Answer:
    """What one run said: measures that have a limit, by name, and the names of those that break it.

    ``errors`` are the measures that are compared to their limit. A coefficient of determination is what it lacks of 1.
    """

    measured: Mapping[str, Measured] = field(default_factory=dict)
    red: frozenset[str] = frozenset()
    failed: str = ""
    errors: frozenset[str] = frozenset()


def answer(bench: Testbench, simulator: Simulator) -> Answer:
    """One nominal run; a bench that cannot be run has no values."""
    try:
        run: BenchResult = bench.run(simulator, limits=LIMITS)
    except CosimError as error:
        return Answer(failed=str(error))
    if not all(one.result.ok for one in run.runs):
        return Answer(failed=run.result.reason or run.result.outcome.value)
    found = {name: run.measures[name] for name in bench.file.limits if name in run.measures}
    red = {name for name in bench.file.limits if name not in found or found[name].verdict is not Verdict.PASS}
    kinds = {name: str(dict(bench.file.measures[name])["kind"]) for name in found}
    return replace(judged(found, kinds), red=frozenset(red))


def judged(measured: Mapping[str, Measured], kinds: Mapping[str, str]) -> Answer:
    """The measures as the rule compares them."""
    errors = {name for name, one in measured.items() if kinds[name].endswith((*ERRORS, *SHARES)) or _error(one)}
    lacking = {name: _lack(one) if kinds[name].endswith(SHARES) else one for name, one in measured.items()}
    return Answer(lacking, errors=frozenset(errors))


def _error(measured: Measured) -> bool:
    low, high = measured.low, measured.high
    around_zero = low is not None and high is not None and low <= 0.0 <= high
    return around_zero or _largest(measured) < NOTHING * measured.scale


def _largest(measured: Measured) -> float:
    return float(np.max(np.abs(measured.values), initial=0.0))


def _lack(share: Measured) -> Measured:
    return replace(share, values=1.0 - share.values, low=None, high=None if share.low is None else 1.0 - share.low)


def moved(before: Answer, after: Answer) -> bool:
    """Whether a judged measure is not what it was."""
    for name, old in before.measured.items():
        new = after.measured.get(name)
        if new is None or new.values.shape != old.values.shape:
            return True
        scale = old.scale if name in before.errors else _largest(old)
        if not np.max(np.abs(new.values - old.values), initial=0.0) <= MOVES * scale:  # not finite: moved
            return True
    return False


def netlists(bench: Testbench) -> Mapping[str, str]:
    """The texts of the bench's netlist and of what it includes, by file name."""
    read = [] if bench.file.netlist is None else [bench.file.netlist]
    found = {}
    for name in read:  # grows while it is read
        found[name] = (bench.folder / name).read_text(encoding="utf-8")
        read += [x for x in re.findall(r'(?im)^\.include "([^"]+)"', found[name]) if x not in read]
    return found


def instances(bench: Testbench) -> Mapping[str, list[frozenset[str]]]:
    """Every subcircuit that the circuit reaches, and for each instance of it the parameters that it is given."""
    calls: dict[str, list[tuple[str, frozenset[str]]]] = {"": []}
    part = ""
    whole = "\n".join([*netlists(bench).values(), bench.file.circuit]).lower()
    for line in re.sub(r"\n\+", " ", whole).splitlines():
        if line.startswith(".subckt"):
            part = line.split()[1]
            calls[part] = []
        elif line.startswith(".ends"):
            part = ""
        elif line.startswith("x"):
            nodes = _GIVEN.sub("", line).split()
            calls[part].append((nodes[-1], frozenset(found[1] for found in _GIVEN.finditer(line))))
    found: dict[str, list[frozenset[str]]] = {}
    reached = [""]
    for part in reached:  # grows while it is read
        for name, given in calls.get(part, ()):
            found.setdefault(name, []).append(given)
            reached += [name] if name not in reached else []
    return found


def numbers(bench: Testbench) -> Iterator[tuple[str, Mutant]]:
    """Every parameter of the bench's sets that something in the bench takes, wrong by a fifth."""
    used, text = instances(bench), bench.source.read_text(encoding="utf-8")
    for name, chosen in bench.sets.items():
        begins = {state.initial for state in device(chosen.device).states}
        for key, value in chosen.resolved().items():
            low, high = device(chosen.device).param(key).bounds
            other = next((x for x in (value * (1.0 + BY), value * (1.0 - BY)) if low <= x <= high), None)
            if value == 0.0 or other is None or key in begins:
                continue
            if all(key in given for given in used.get(name, ())) and not re.search(rf"\b{name}\.{key}\b", text):
                continue

            def mutant(bench: Testbench, name: str = name, key: str = key, other: float = other) -> Testbench:
                return bench.with_(values={name: {key: other}})

            typed = bench.file.devices[name].parameters if key in chosen.values else chosen.device
            yield f"{typed}.{key}", mutant
        for key, factor in chosen.plasticity.items():
            if not re.search(rf"\b{name}\.{key}\b", text):
                continue  # no instance takes a factor: only its name does
            wrong = {**chosen.plasticity, key: replace(factor, value=factor.value * (1.0 + BY))}

            def taught(bench: Testbench, name: str = name, wrong: Mapping[str, Any] = wrong) -> Testbench:
                return bench.with_(devices={name: replace(bench.sets[name], plasticity=wrong)})

            yield f"{bench.file.devices[name].parameters}.{key}", taught


def published(bench: Testbench) -> set[str]:
    """The names of `numbers` that a publication states."""
    found = set()
    for name, chosen in bench.sets.items():
        for key, quantity in {**chosen.values, **chosen.plasticity}.items():
            if not (quantity.source or chosen.source).startswith(UNPUBLISHED):
                found.add(f"{bench.file.devices[name].parameters}.{key}")
    return found


def circuits(bench: Testbench, folder: Path) -> Iterator[tuple[str, Mutant]]:
    """Every number among the parameters of subcircuits in the netlists of a bench that an instance takes from there."""
    shipped, used = bench.folder, instances(bench)
    for name, whole in netlists(bench).items():
        lines = whole.splitlines(keepends=True)
        heading = False
        for row, line in enumerate(lines):
            opens = ".subckt" in line.lower() and "params:" in line.lower()
            heading = opens or (heading and line.startswith("+"))
            for found in _NUMBER.finditer(line) if heading else ():
                part = _heading(lines, row)
                if float(found[2]) == 0.0 or all(found[1].lower() in given for given in used.get(part.lower(), ())):
                    continue
                changed = f"{found[1]}={float(found[2]) * (1.0 + BY):.9g}{found[3]}"
                text = "".join([*lines[:row], line[: found.start()] + changed + line[found.end() :], *lines[row + 1 :]])

                def mutant(bench: Testbench, name: str = name, text: str = text) -> Testbench:
                    own = Path(tempfile.mkdtemp(dir=folder))
                    for path in shipped.glob("*.cir"):
                        shutil.copy(path, own)
                    (own / name).write_text(text, encoding="utf-8")
                    return replace(bench, folder=own)

                yield f"{name.removesuffix('.cir')}.{part}.{found[1]}", mutant


def _heading(lines: list[str], row: int) -> str:
    while not lines[row].lower().startswith(".subckt"):
        row -= 1
    return lines[row].split()[1]


def laws(model: DeviceModel) -> Iterator[tuple[str, DeviceModel]]:
    """The device with one sign or one exponent wrong."""
    base = type(model)

    def variant(**methods: Any) -> DeviceModel:
        made: DeviceModel = type(base.__name__, (base,), methods)()
        return made

    for state in model.states:

        def rates(
            self: DeviceModel, across: Mapping[str, Operand], x: Values, p: Values, name: str = state.name
        ) -> Mapping[str, Operand]:
            true = dict(base.rates(self, across, x, p))
            return {**true, name: -true[name]}

        yield f"{model.name}: sign of d{state.name}/dt", variant(rates=rates)
    for event in model.events:

        def jump(across: Mapping[str, Operand], x: Values, p: Values, true: Any = event.jump) -> Mapping[str, Operand]:
            return {name: -value for name, value in true(across, x, p).items()}

        wrong = tuple(replace(entry, jump=jump) if entry is event else entry for entry in model.events)
        yield f"{model.name}: sign of event {event.name}", variant(events=wrong)
    for port in model.ports:
        if port.nature != "electrical":
            continue

        def bent(across: Mapping[str, Operand], name: str = port.name) -> dict[str, Operand]:
            v = across[name]
            return {**across, name: v * (v * v + 1e-12) ** (0.5 * (EXPONENT - 1.0))}

        def through(
            self: DeviceModel, across: Mapping[str, Operand], x: Values, p: Values, bend: Any = bent
        ) -> Mapping[str, Operand]:
            return base.through(self, bend(across), x, p)

        def drifts(
            self: DeviceModel, across: Mapping[str, Operand], x: Values, p: Values, bend: Any = bent
        ) -> Mapping[str, Operand]:
            return base.rates(self, bend(across), x, p)

        yield f"{model.name}: exponent of the voltage at {port.name}", variant(through=through, rates=drifts)


def _as_it_is(bench: Testbench) -> Testbench:
    return bench


@contextmanager
def registered(model: DeviceModel) -> Iterator[None]:
    """``model`` in place of the registry's device of that name."""
    table = devices()
    true = table[model.name]
    table[model.name] = model
    try:
        yield
    finally:
        table[model.name] = true


def failures(failed: Mapping[str, set[str]], touched: Mapping[str, set[str]]) -> Figures:
    """Runs that failed, by bench, and the mutations that failed wherever they were run."""
    wherever = set().union(*failed.values()) - set().union(*touched.values())
    return {
        "runs_failed": sum(map(len, failed.values())),
        "failed_wherever_run": sorted(wherever),
        "failed_unexpectedly": len(wherever - set(RUN_AWAY)),
    }


def measure(tell: Report) -> Figures:
    """Caught and moved per bench and in all, and what no bench catches."""
    figures = mutate(find_benches([]), tell)
    del figures["missed"]  # long, and no more than the other figures say of the whole
    return figures


def mutate(names: Iterable[str | Path], tell: Report) -> Figures:
    """The figures of `measure` for some benches, and what each of them moves at and misses."""
    benches = [bench for bench in map(Testbench.load, names) if bench.file.limits]
    touched: dict[str, set[str]] = {bench.name: set() for bench in benches}
    caught: dict[str, set[str]] = {bench.name: set() for bench in benches}
    failed: dict[str, set[str]] = {bench.name: set() for bench in benches}
    tried: set[str] = set()
    cores = os.cpu_count() or 2
    with (
        tempfile.TemporaryDirectory() as scratch,
        open_simulator(workers=cores) as simulator,
        ThreadPoolExecutor(2 * cores) as pool,
    ):

        def judge(name: str, bench: Testbench, mutant: Mutant) -> None:
            before = known[bench.name]
            after = answer(mutant(bench), simulator)
            if after.failed:
                failed[bench.name].add(name)
            elif after.red - before.red:
                touched[bench.name].add(name)
                caught[bench.name].add(name)
            elif moved(before, after):
                touched[bench.name].add(name)

        tell(f"{len(benches)} benches as they stand")
        known = dict(zip((b.name for b in benches), pool.map(lambda b: answer(b, simulator), benches), strict=True))
        jobs = [
            (name, bench, mutant)
            for bench in benches
            for name, mutant in (*numbers(bench), *circuits(bench, Path(scratch)))
        ]
        tried |= {name for name, _, _ in jobs}
        for done, _ in enumerate(pool.map(lambda job: judge(*job), jobs)):
            tell(f"{done + 1} of {len(jobs)} wrong numbers")
        for model_name in sorted({chosen.device for bench in benches for chosen in bench.sets.values()}):
            using = [
                b
                for b in benches
                if model_name in {b.sets[name].device for name in b.sets.keys() & instances(b).keys()}
            ]
            for name, model in laws(device(model_name)):
                tell(name)
                tried.add(name)
                with registered(model):
                    for job in [pool.submit(judge, name, bench, _as_it_is) for bench in using]:
                        job.result()
    stated = set().union(*map(published, benches))
    of_published = sum(len(names & stated) for names in touched.values())
    red = {name for name, one in known.items() if one.failed or one.red}
    everywhere, found = set().union(*touched.values()), set().union(*caught.values())
    pairs = sum(map(len, touched.values()))
    return {
        "mutations": len(tried),
        "moving": len(everywhere),
        "caught": len(found),
        "share": round(len(found) / len(everywhere), 4),
        "pairs_moved": pairs,
        "share_of_pairs": round(sum(map(len, caught.values())) / pairs, 4),
        "pairs_of_published": of_published,
        "share_of_published": round(sum(len(names & stated) for names in caught.values()) / max(of_published, 1), 4),
        **failures(failed, touched),
        "red_as_they_stand": sorted(red),
        "red_unexpectedly": len(red - set(DIFFER)),
        "uncaught": sorted(everywhere - found),
        "without_effect": len(tried - everywhere - set().union(*failed.values())),
        "benches": {name: f"{len(caught[name])}/{len(touched[name])}" for name in sorted(touched)},
        "missed": {name: sorted(touched[name] - caught[name]) for name in sorted(touched)},
    }


MUTATIONS = Claim(
    "mutations",
    "a wrong number or law that moves a judged figure of the shipped benches turns one of them red",
    measure,
    {
        "share": (1.0, None),
        "share_of_pairs": (0.9, None),
        "share_of_published": (0.95, None),
        "red_unexpectedly": (None, 0),
        "failed_unexpectedly": (None, 0),
    },
)

if __name__ == "__main__":
    print(json.dumps(mutate(sys.argv[1:], lambda what: print(what, file=sys.stderr)), indent=1))
