"""``[maps.NAME]`` of a bench: what it cannot declare, with its line; what a map is asked and does not have."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from cosim.bench.events import BenchMap
from cosim.bench.testbench import Testbench
from cosim.engines.simulator import Deck, Limits, Outcome, Result
from cosim.errors import CosimError, DomainError, InputError, UnitError, UnknownName

BENCH = """title = "RC"
circuit = '''
V1 in 0 {v}
R1 in out {r}
C1 out 0 1n
V2 b 0 {stimulus.train}
Xm b 0 memristor w0={w0}
.ic v(out)={start}
'''
[parameters]
v = "1 V"
r = "1 kOhm"
start = "0 V"
w0 = 0.5
[devices.memristor]
parameters = "tio2"
[stimuli.train]
kind = "pulses"
amplitudes = ["1 V"]
[stimuli.wave]
kind = "pwl"
points = [["0 s", "0 V"], ["1 s", "1 V"]]
[analyses.one]
kind = "tran"
stop = "1 us"
max_step = "20 ns"
[analyses.two]
kind = "tran"
stimulus = "train"
max_step = "20 ns"
sweep = { v = ["1 V", "2 V"] }
[measures.last]
kind = "final"
analysis = "one"
of = "v(out)"
unit = "V"
[measures.w]
kind = "final"
analysis = "one"
of = "v(xm.w)"
[measures.unsaid]
kind = "final"
analysis = "one"
of = "v(out)"
[measures.other]
kind = "final"
analysis = "two"
of = "v(out)"
unit = "V"
[maps.charge]
analysis = "one"
inputs.v = { parameter = "v", range = ["-2 V", "2 V"] }
states.out = { parameter = "start", measure = "last", range = ["0 V", "1 V"] }
outputs.level = "last"
"""


def load(folder: Path, text: str) -> Testbench:
    (folder / "rc.toml").write_text(text)
    return Testbench.load(folder / "rc.toml")


STATE = 'states.out = { parameter = "start", measure = "last", range = ["0 V", "1 V"] }\n'
WRONG = [
    # the row that the message names, what is replaced in the map, by what, the message
    ("states.out", 'measure = "last"', 'measure = "lost"', "measure 'lost' of map 'charge'; did you mean last?"),
    ("outputs.", 'level = "last"', 'level = "nowhere"', "unknown measure 'nowhere' of map 'charge'"),
    ("states.out", 'parameter = "start"', 'parameter = "begin"', "unknown parameter 'begin' of map 'charge'"),
    ("states.out", '["0 V", "1 V"]', '["0 A", "1 A"]', "its range is a current (A), and what it drives is a voltage"),
    ("inputs.v", '["-2 V", "2 V"]', '["2 V", "-2 V"]', "2 is not below -2; write the lower end first"),
    ("states.out", 'measure = "last"', 'measure = "w"', "the measure w, which reads the state, is a plain number"),
    ("outputs.", 'level = "last"', 'level = "unsaid"', 'has no unit; write unit = "V"'),
    ("outputs.", 'level = "last"', 'level = "other"', "sees the analysis 'two', and the map's is 'one'"),
    ("states.out", 'parameter = "v"', 'parameter = "start"', "start is set by v already"),
    ("inputs.v", 'parameter = "v"', "x = 1", "unknown key 'x' in bench"),
    ("inputs.v", 'parameter = "v",', "", "an input has either a parameter or a stimulus"),
    ("inputs.v", 'parameter = "v"', 'stimulus = "wave"', "wave is not a pulse train; drive it by a parameter"),
    ("inputs.v", 'parameter = "v"', 'stimulus = "train"', "stops at a time, however many pulses there are"),
    ("analysis", 'analysis = "one"', 'analysis = "three"', "unknown analysis 'three' of map 'charge'"),
    ("maps.charge", 'analysis = "one"', "", "does not say which analysis is its event; one of one, two"),
    ("maps.charge", STATE + 'outputs.level = "last"', "", "has neither a state nor an output"),
    ("device", 'analysis = "one"', 'analysis = "one"\ndevice = "reram"', "unknown device 'reram' of map 'charge'"),
    ("states.w", STATE, 'device = "memristor"\nstates.w = { parameter = "w0", measure = "w", range = [0, 2] }\n',
     "0..2 leaves the bounds 0..1 of the state w of threshold_memristor"),
    ("outputs.", "outputs.level", "outputs.v", "map 'charge' has v twice"),
]  # fmt: skip


@pytest.mark.parametrize(("row", "old", "new", "message"), WRONG, ids=[entry[3][:40] for entry in WRONG])
def test_what_a_bench_cannot_declare(row: str, old: str, new: str, message: str, tmp_path: Path) -> None:
    head, mark, tail = BENCH.partition("[maps.charge]")
    assert old in tail
    text = head + mark + tail.replace(old, new, 1)
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        load(tmp_path, text)
    number = next(k for k, line in enumerate(text.splitlines(), 1) if k > head.count("\n") and row in line)
    assert caught.value.where is not None
    assert (Path(str(caught.value.where.file)).name, caught.value.where.line) == ("rc.toml", number)


class Answers:
    """An engine that answers as it is told, without a simulator."""

    name = "told"

    def __init__(self, *outcomes: Outcome) -> None:
        self.outcomes = list(outcomes)
        self.texts: list[str] = []

    def run(self, deck: Deck, *, limits: Limits = Limits()) -> Result:  # noqa: B008
        self.texts.append(deck.text)
        outcome = self.outcomes[len(self.texts) - 1]
        data = xr.Dataset({"v(out)": ("time", [0.0, 0.25])}, coords={"time": [0.0, 1e-6]})
        ok = outcome is Outcome.CONVERGED
        return Result(
            outcome, self.name, waveforms={"tran": data} if ok else {}, reason="" if ok else "timestep too small"
        )

    def version(self) -> str:
        return "told-1"

    def close(self) -> None: ...

    def __enter__(self) -> Answers:
        return self

    def __exit__(self, *_: object) -> None: ...


def events(**columns: object) -> xr.Dataset:
    return xr.Dataset({name: x if isinstance(x, float) else ("event", np.array(x)) for name, x in columns.items()})


ASKED = [
    (events(v=[1.0], out_before=[0.5], temperature=[1.0]), UnknownName, "unknown column 'temperature' of map 'charge'"),
    (events(v=[1.0]), InputError, "lack out_before; give it in V"),
    (events(v=[1.0, 3.0], out_before=0.0), DomainError, "v = 3 V is outside -2..2 V"),
    (events(v=[1.0], out_before=[float("nan")]), DomainError, "out_before = nan V is outside 0..1 V"),
    (events(v=1.0, out_before=0.5), InputError, "have no dimension 'event'"),
    (events(v=1.0, out_before=[0.5]), InputError, "v of map 'charge' is not a column over 'event'"),
    (events(v=[1.0], out_before=[0.5]).assign(v=("event", [1.0], {"units": "A"})), UnitError, "is in V, not in A"),
]  # fmt: skip


@pytest.mark.parametrize(("asked", "kind", "message"), ASKED, ids=[entry[2][:40] for entry in ASKED])
def test_what_a_map_does_not_answer(asked: xr.Dataset, kind: type[CosimError], message: str, tmp_path: Path) -> None:
    told = Answers()
    with pytest.raises(kind, match=re.escape(message)):
        BenchMap.load(load(tmp_path, BENCH)).respond(asked, told)
    assert not told.texts


def test_a_failed_event_is_absent_with_its_reason(tmp_path: Path) -> None:
    found = BenchMap.load(load(tmp_path, BENCH))
    good, bad = Outcome.CONVERGED, Outcome.NOT_CONVERGED
    alone = found.respond(events(v=[1.0], out_before=[0.5]), Answers(bad))
    assert alone.sizes == {"event": 0, "failed": 1}
    assert alone["reason"].values[0] == f"{bad.value}: timestep too small"
    # those that follow one another: the second one starts where the first one ended, the fourth has no start
    told = Answers(good, good, bad)
    asked = events(v=[1.0, 1.0, 1.0, 1.0], out_before=0.5).assign_coords(event=[10, 11, 12, 13])
    row = found.respond(asked, told)
    assert [re.search(r"start=(\S+)", text)[1] for text in told.texts] == ["0.5", "0.25", "0.25"]
    assert (row["event"].values.tolist(), row["failed"].values.tolist()) == ([10, 11], [12, 13])
    assert row["reason"].values.tolist() == [f"{bad.value}: timestep too small", "it follows event 12, which failed"]
    assert row["out"].values.tolist() == row["level"].values.tolist() == [0.25, 0.25]
    assert row["out"].attrs["units"] == "V"


def test_a_bench_without_a_map_says_so() -> None:
    with pytest.raises(InputError, match=r"bench 1t1r_write has no event map; write \[maps\.NAME\]"):
        BenchMap.load("1t1r_write")
    with pytest.raises(UnknownName, match="unknown map 'puls' of bench 1t1r_random_pulses; did you mean pulse"):
        BenchMap.load("1t1r_random_pulses", "puls")
