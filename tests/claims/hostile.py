"""The corpus of hostile inputs, run through cosim as a user would run it: each is refused or contained.

A case is *refused* where cosim says so in one sentence, and *contained* where it ran and came to some end within its
limits. It *escaped* where a file outside the scratch folders appeared or changed, a program was started, the content
of a file that it may not read came out anywhere, another exception than cosim's own was raised, a limit did not hold,
or the simulator did not run the next deck. A case that should be refused and is not has escaped as well.

The text of each netlist is also handed to the workers unchecked, where only the kernel contains it. The corpus is
``tests/security/corpus``: files, and an index that says what each tries and what is expected.
"""

from __future__ import annotations

import os
import tempfile
import time
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from claims.base import Claim, Figures, Report
from claims.bombs import MAKERS
from claims.world import World, resident_mb
from cosim.bench.testbench import Testbench
from cosim.engines import openvaf
from cosim.engines.library import find_libngspice, find_ngspice
from cosim.engines.raw import read_raw
from cosim.engines.registry import open_simulator
from cosim.engines.simulator import Deck, Limits, Outcome, Result, Simulator
from cosim.engines.worker import sandbox
from cosim.engines.worker.pool import Answer, Pool
from cosim.errors import CosimError, EngineMissing, InputError, MissingFile, Where
from cosim.files import decoded
from cosim.fitting.joint_recipe import JointRecipe, load_recipe
from cosim.language import netlist
from cosim.parameters import ParameterSet
from cosim.surrogate import files as surrogates

CORPUS = Path(__file__).resolve().parents[1] / "security" / "corpus"
ENGINES = ("pyspice", "ngspice", "vacask")
LIMITS = Limits(wall=1.0, memory=2 << 30, file_size=16 << 20)
CLEAN = Deck("clean\nV1 in 0 1\nR1 in out 1k\nR2 out 0 1k\n.tran 10n 100n\n")
# A limit of the wall holds with this much room (s): the start of a worker, a busy machine.
SLACK = 8.0
COMPILE_LIMIT = 3.0  # s
LONGEST = 2000  # characters of a sentence
PATIENCE = 0.5  # s: what takes longer to check is checked for one simulator, not for all
KINDS = {".cir": "deck", ".toml": "bench", ".raw": "raw", ".va": "verilog-a", ".npz": "surrogate", ".json": "surrogate"}
START_UP = "* start\nsource deck.cir\nrun out.raw\nquit 0\n"


@dataclass(frozen=True)
class Case:
    """One hostile input.

    Args:
        file: its name in the corpus, or where ``make`` writes it.
        tries: what it would do, in a few words.
        expect: "refused" or "contained".
        says: a part of the refusal.
        make: the maker in `claims.bombs`, for a file that is not kept.
        kind: what it is given to, by default by its suffix.
        beside: further files of its folder, by name.
    """

    file: str
    tries: str
    expect: str
    says: str = ""
    make: str = ""
    kind: str = ""
    beside: Mapping[str, str] = field(default_factory=dict)

    def lay(self, world: World, corpus: Path) -> Path:
        """Write the case into the world's folder."""
        path = world.home / self.file
        if self.make:
            MAKERS[self.make](path)
        else:
            path.write_bytes(world.fill((corpus / self.file).read_bytes()))
        for name, text in self.beside.items():
            (world.home / name).write_bytes(world.fill(text.encode()))
        world.remember()
        return path


@dataclass
class Seen:
    """What a case did: the sentences that refused it, all texts and arrays that came out, and whether anything ran."""

    refusals: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    arrays: list[Any] = field(default_factory=list)
    ran: int = 0

    def refused(self, error: CosimError) -> None:
        """By an exception."""
        self.refusals.append(str(error))
        self.texts.append(f"{error!r} {getattr(error, 'log', '')}")

    def result(self, result: Result) -> None:
        """By a result, or run."""
        self.texts += [result.reason, result.log, " ".join(map(str, result.measures.values()))]
        if result.outcome is Outcome.REFUSED:
            self.refusals.append(result.reason)
            return
        self.ran += 1
        for data in result.waveforms.values():
            self.texts.append(" ".join(map(str, data.data_vars)))
            self.arrays += [data[name].values for name in data.data_vars]


def load_corpus(folder: Path = CORPUS) -> list[Case]:
    """Every case of the corpus. Raises `MissingFile` where there is none."""
    index = folder / "index.toml"
    if not index.is_file():
        raise MissingFile(
            f"the corpus of hostile inputs is not at {folder}", remedy="measure this claim in a checkout, where it is"
        )
    cases = [Case(**entry) for entry in tomllib.loads(index.read_text(encoding="utf-8"))["case"]]
    twice = [file for file, count in Counter(case.file for case in cases).items() if count > 1]
    kept = {path.name for path in folder.iterdir()} - {"index.toml"}
    if twice or kept != {case.file for case in cases if not case.make}:
        raise InputError(f"the index and the files in {folder} differ", remedy="list each file once")
    return cases


class Trial:
    """The simulators and pools that cases are run on, and a world for them."""

    def __init__(self, stack: ExitStack, corpus: Path = CORPUS) -> None:
        self.corpus = corpus
        self.world = World(Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cosim-hostile-"))))
        self.engines: dict[str, Simulator] = {}
        for name in ENGINES:
            with suppress(EngineMissing):
                self.engines[name] = stack.enter_context(open_simulator(name))
        self.pools: dict[str, Pool] = {}
        if (library := find_libngspice()) is not None:
            self.pools["library"] = Pool("library", environment={"NGSPICE_LIBRARY_PATH": library})
        if find_ngspice() is not None:
            self.pools["command"] = Pool("command")
        for pool in self.pools.values():
            stack.callback(pool.close)
        # Compiled models of hostile files stay out of the user's cache, and their compiler gets less time.
        self.cache = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cosim-hostile-")))
        stack.enter_context(patch.dict(os.environ, {"XDG_CACHE_HOME": str(self.cache)}))
        stack.enter_context(patch.object(openvaf, "COMPILE_LIMIT", COMPILE_LIMIT))
        self.threads = stack.enter_context(ThreadPoolExecutor(4))
        self.kept = frozenset(path.name for path in self.world.home.iterdir())
        self.walls = sandbox.capabilities()

    def run(self, case: Case) -> tuple[str, list[str], int]:
        """What became of a case ("refused", "contained"), how it escaped, and on how many workers unchecked."""
        path = case.lay(self.world, self.corpus)
        seen, wrong, behind = Seen(), [], 0
        try:
            kind = case.kind or KINDS[path.suffix]
            started = time.monotonic()
            try:
                _WAYS[kind](self, path, seen)
            except Exception as error:
                wrong.append(f"raised {type(error).__name__}: {str(error)[:120]}")
            if kind == "deck" and not case.make:
                behind = self._unchecked(path, wrong)
            allowed = (len(self.engines) + len(self.pools)) * (LIMITS.wall + SLACK)
            if (took := time.monotonic() - started) > allowed:
                wrong.append(f"took {took:.0f} s")
            if seen.ran:
                wrong += self._clean()
        finally:
            wrong += self.world.damage() + self.world.leaks(seen.texts, seen.arrays)
            self.world.clear(self.kept)
            with suppress(FileNotFoundError):
                self.world.canary.unlink()
        became = "contained" if seen.ran or not seen.refusals else "refused"
        wrong += self._judge(case, seen, became)
        return became, wrong, behind

    @staticmethod
    def _judge(case: Case, seen: Seen, became: str) -> list[str]:
        wrong = []
        if case.expect == "refused":
            if became != "refused":
                wrong.append("was not refused")
            wrong += [
                f"was refused for another reason: {text[:160]!r}" for text in seen.refusals if case.says not in text
            ]
        for text in seen.refusals:
            if not text.isprintable() or len(text) > LONGEST or text.count("Traceback"):
                wrong.append(f"was not refused in one sentence: {text[:160]!r}")
        return wrong

    def _clean(self) -> list[str]:
        """Whether every simulator still runs a deck, and right."""
        wrong = []
        for name, simulator in self.engines.items():
            if name == "vacask":  # knows no built-in resistor of ngspice's kind without a model
                continue
            result = simulator.run(CLEAN, limits=Limits(wall=30.0))
            if not result.ok or abs(float(result["tran"]["v(out)"][-1]) - 0.5) > 1e-6:  # a divider; gmin shows at 1e-9
                wrong.append(f"{name} does not run the next deck: {result.reason[:120]}")
        return wrong

    def _unchecked(self, path: Path, wrong: list[str]) -> int:
        """The text on each kind of worker without the check; where the kernel has no walls, none."""
        if not (self.walls["programs"] and self.walls["files"]):
            return 0
        text = decoded(path.read_bytes(), where=Where(path))
        limits = {"memory": LIMITS.memory, "file_size": LIMITS.file_size}
        jobs: dict[str, dict[str, Any]] = {
            "library": {"deck": text.rstrip("\n") + "\n.end\n", **limits},
            "command": {
                "argv": [find_ngspice(), "-b"], **limits,
                "files": {".spiceinit": START_UP, "deck.cir": text.rstrip("\n") + "\n.end\n"},
            },
        }  # fmt: skip

        def one(name: str) -> list[str]:
            with self.pools[name].run(jobs[name], wall=LIMITS.wall) as answer:
                return [f"{name} worker, unchecked: {leak}" for leak in self._leaks(answer)]

        for found in self.threads.map(one, self.pools):
            wrong += found
        return len(self.pools)

    def _leaks(self, answer: Answer) -> list[str]:
        texts = [text for _, text in answer.log]
        texts += [str(vectors) for vectors in answer.header.get("plots", ())]
        arrays = list(answer.arrays)
        if (file := answer.file("out.raw")) is not None:
            with suppress(CosimError):
                for plot in read_raw(file):
                    arrays += plot.values
        return self.world.leaks(texts, arrays)


def _deck(trial: Trial, path: Path, seen: Seen) -> None:
    try:
        text = netlist.source_text(path)
    except CosimError as error:
        seen.refused(error)
        return
    started = time.monotonic()
    try:
        netlist.check(netlist.read(path))
        seen.ran += not trial.engines
    except CosimError as error:
        seen.refused(error)
    deck = Deck(text, source=path)
    names = list(trial.engines) if time.monotonic() - started < PATIENCE else list(trial.engines)[:1]
    runs = trial.threads.map(lambda name: trial.engines[name].run(deck, limits=LIMITS), names)
    for name, result in zip(names, runs, strict=True):
        if not (name == "vacask" and "VACASK cannot run" in result.reason):
            seen.result(result)


def _bench(trial: Trial, path: Path, seen: Seen) -> None:
    try:
        bench = Testbench.load(path)
        for corner in bench.file.corners:
            bench.at_corner(corner).deck()
        if bench.file.monte_carlo is not None:
            bench.sampled(np.random.default_rng(1)).deck()
        for name in ("pyspice", "ngspice"):
            if name in trial.engines:
                for run in bench.run(trial.engines[name], limits=LIMITS).runs:
                    seen.result(run.result)
    except CosimError as error:
        seen.refused(error)


def _raw(trial: Trial, path: Path, seen: Seen) -> None:
    del trial
    try:
        for plot in read_raw(path):
            seen.ran += 1
            seen.arrays += plot.values
    except CosimError as error:
        seen.refused(error)


def _verilog(trial: Trial, path: Path, seen: Seen) -> None:
    """As a bench's own device, and compiled as it is."""
    bench = path.with_suffix(".bench.toml")
    bench.write_text(
        'title = "own"\ncircuit = """\nV1 a 0 1\nX1 a 0 own\n"""\nanalysis = { kind = "op" }\n'
        f'devices = {{ own = {{ verilog_a = "{path.name}" }} }}\n'
    )
    trial.world.remember()
    _bench(trial, bench, seen)
    try:
        openvaf.compile_model(path, cache=trial.cache)
        seen.ran += 1
    except EngineMissing:
        return
    except CosimError as error:
        seen.refused(error)


def _surrogate(trial: Trial, path: Path, seen: Seen) -> None:
    del trial
    try:
        surrogates.load(path)
        seen.ran += 1
    except CosimError as error:
        seen.refused(error)


def _set(trial: Trial, path: Path, seen: Seen) -> None:
    del trial
    try:
        ParameterSet.load(path)
        seen.ran += 1
    except CosimError as error:
        seen.refused(error)


def _recipe(trial: Trial, path: Path, seen: Seen) -> None:
    """Its data and its starting set, each by itself."""
    del trial
    try:
        recipe = load_recipe(path)
    except CosimError as error:
        seen.refused(error)
        return
    specs = recipe.observations if isinstance(recipe, JointRecipe) else (recipe.data,)
    reads: list[Callable[[], object]] = [partial(recipe.recording, spec) for spec in specs if spec.file]
    for read in (*reads, recipe.starting_set) if recipe.start.sets else reads:
        try:
            found = read()
        except CosimError as error:
            seen.refused(error)
            continue
        seen.texts.append(repr(found))
        seen.ran += 1


_WAYS: Mapping[str, Callable[[Trial, Path, Seen], None]] = {
    "deck": _deck, "bench": _bench, "raw": _raw, "verilog-a": _verilog, "surrogate": _surrogate, "set": _set,
    "recipe": _recipe,
}  # fmt: skip


def outcomes(cases: list[Case], *, corpus: Path = CORPUS) -> Iterator[tuple[Case, str, list[str], int]]:
    """Each case, what became of it, how it escaped, and on how many workers it ran unchecked."""
    with ExitStack() as stack:
        trial = Trial(stack, corpus)
        for case in cases:
            yield case, *trial.run(case)


def measure(tell: Report) -> Figures:
    """The whole corpus."""
    cases = load_corpus()
    became: Counter[str] = Counter()
    escapes: list[str] = []
    unchecked = 0
    slowest = (0.0, "")
    before = resident_mb()
    started = time.monotonic()
    for number, (case, what, wrong, behind) in enumerate(outcomes(cases), 1):
        took = time.monotonic() - started
        slowest = max(slowest, (took, case.file))
        tell(f"hostile: {number} of {len(cases)}, {case.file}")
        became[what] += not wrong
        escapes += [f"{case.file}: {'; '.join(wrong)}"] if wrong else []
        unchecked += behind
        started = time.monotonic()
    return {
        "cases": len(cases), "refused": became["refused"], "contained": became["contained"], "escaped": len(escapes),
        "unchecked_runs": unchecked, "slowest_s": round(slowest[0], 2), "slowest": slowest[1],
        "parent_grew_mb": round(resident_mb() - before), "walls": sandbox.capabilities(), "escapes": escapes,
    }  # fmt: skip


HOSTILE = Claim(
    "hostile",
    "every hostile input of the corpus is refused or contained: nothing is written, started or read outside",
    measure,
    {"cases": (200, None), "escaped": (None, 0)},
)
