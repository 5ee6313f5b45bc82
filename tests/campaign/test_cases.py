"""A case and its row: what the key has in it, what stops a campaign, what is judged where something is missing."""

import os
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
import xarray

from cosim.bench.measured import Measured
from cosim.bench.result import BenchResult, Run
from cosim.bench.testbench import Testbench
from cosim.campaign import identity
from cosim.campaign.cache import Cache
from cosim.campaign.cases import Case, PreparedBench, evaluate, physics_of
from cosim.engines.openvaf import find_openvaf
from cosim.engines.simulator import Deck, Limits, Outcome, Result, Simulator
from cosim.errors import InputError
from cosim.language.instances import calls
from cosim.language.netlist import read_text

BENCH = """
title = "own"
circuit = '''
{more}
V1 a 0 {{v}}
X1 a 0 own
.include own.cir
'''
[parameters]
v = {{ value = "1 V", unit = "V" }}
[analysis]
kind = "dc"
source = "V1"
start = "0 V"
stop = "1 V"
step = "0.1 V"
[measures.i]
kind = "at"
of = "i(v1)"
at = "1 V"
unit = "A"
[limits]
i = {{ min = "-2 mA", max = "0 A" }}
{end}
"""
OWN = "* own\n.subckt own a b\nR1 a b {r}\n.ends\n"


def bench_in(folder: Path, *, more: str = "", end: str = "") -> Testbench:
    (folder / "own.cir").write_text(OWN.format(r="1k"))
    file = folder / "own.toml"
    file.write_text(BENCH.format(more=more, end=end))
    return Testbench.load(file)


def rewritten(path: Path, text: str) -> None:
    """Another content, at a time that a clock of coarse ticks tells apart, too."""
    path.write_text(text)
    later = path.stat().st_mtime_ns + 1_000_000_000
    os.utime(path, ns=(later, later))


class Played:
    """A simulator that answers what a test says, per deck."""

    name = "played"

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.decks: list[Deck] = []

    def run(self, deck: Deck, *, limits: Limits = Limits()) -> Result:  # noqa: B008  a frozen value
        self.decks.append(deck)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return answer(deck) if callable(answer) else answer

    def version(self) -> str:
        return "played-1"

    def close(self) -> None: ...

    def __enter__(self) -> "Played":
        return self

    def __exit__(self, *_: object) -> None: ...


def swept(**vectors: Any) -> Result:
    """A converged sweep from 0 to 1 V; ``i_v1`` stands for ``i(v1)``."""
    sweep = np.linspace(0.0, 1.0, 11)
    data = {name.replace("_", "(", 1) + ")": ("sweep", np.broadcast_to(y, sweep.shape)) for name, y in vectors.items()}
    return Result(Outcome.CONVERGED, "played-1", MappingProxyType({"dc": xarray.Dataset(data, {"sweep": sweep})}))


CORNERS = '[corners.hot]\ntemperature = 85.0\nparameters.v = "{v}"\n'


def test_the_digest_has_every_corner_and_what_it_includes(tmp_path: Path) -> None:
    (tmp_path / "kit.cir").write_text(".lib slow\nR9 a 0 1k\n.endl\n.lib fast\n.include extra.cir\n.endl\n")
    (tmp_path / "extra.cir").write_text("R9 a 0 2k\n")
    tables = '[libraries]\nkit = "kit.cir"\n[sections]\nkit = "slow"\n[corners.fast.sections]\nkit = "fast"\n'
    more = ".lib {library.kit} {section.kit}"

    def digest(v: str = "1.1 V") -> str:
        return PreparedBench(bench_in(tmp_path, more=more, end=CORNERS.format(v=v) + tables), "ngspice-46").digest()

    first = digest()
    assert digest() == first
    changed = digest("1.2 V")
    (tmp_path / "extra.cir").write_text("R9 a 0 3k\n")  # only the corner includes it
    assert len({first, changed, digest()}) == 3


def test_a_corner_that_cannot_be_had_does_not_stop_a_plan_without_it(tmp_path: Path) -> None:
    end = '[sections]\nkit = "slow"\n[libraries]\nkit = "kit.cir"\n[corners.gone.sections]\nkit = "gone"\n'
    (tmp_path / "kit.cir").write_text(".lib slow\nR9 a 0 1k\n.endl\n")
    subject = PreparedBench(bench_in(tmp_path, more=".lib {library.kit} {section.kit}", end=end), "ngspice-46")
    assert len(subject.digest()) == 64
    with pytest.raises(InputError, match="no section 'gone'"):
        subject.corner("gone")


def test_a_file_that_changes_stops_the_campaign(tmp_path: Path, simulator: Simulator) -> None:
    subject = PreparedBench(bench_in(tmp_path), simulator.version())
    included = tmp_path / "own.cir"
    assert evaluate(subject, Case(0), simulator).row["measures"]["i"] == [pytest.approx(-1e-3)]
    rewritten(included, included.read_text())  # written anew, and the same
    assert evaluate(subject, Case(0), simulator).row["outcome"] == "converged"
    rewritten(included, OWN.format(r="2k"))
    with pytest.raises(InputError, match=r"own\.cir changed while the campaign ran; undo the change, or begin anew"):
        evaluate(subject, Case(1), simulator)
    rewritten(included, OWN.format(r="1k"))
    assert evaluate(subject, Case(1), simulator).row["outcome"] == "converged"
    included.unlink()
    with pytest.raises(InputError, match="changed while"):
        evaluate(subject, Case(2), simulator)


def test_a_file_that_changes_during_a_run_leaves_no_row(tmp_path: Path) -> None:
    def meddling(deck: Deck) -> Result:
        rewritten(tmp_path / "own.cir", "no netlist")
        return Result(Outcome.REFUSED, "played-1", reason="no netlist")

    with pytest.raises(InputError, match="changed while"):
        evaluate(PreparedBench(bench_in(tmp_path), "played-1"), Case(0), Played(meddling))


@pytest.mark.skipif(find_openvaf() is None, reason="no Verilog-A compiler")
def test_a_verilog_a_file_that_changes_stops_the_campaign(tmp_path: Path) -> None:
    text = '`include "disciplines.vams"\nmodule own_r(a, b);\ninout a, b;\nelectrical a, b;\n'
    text += "analog I(a, b) <+ V(a, b) / {};\nendmodule\n"
    model = tmp_path / "r.va"
    model.write_text(text.format("1e3"))
    bench = bench_in(tmp_path, more="X2 a 0 mine", end='[devices.mine]\nverilog_a = "r.va"\n')
    subject, answer = PreparedBench(bench, "played-1"), swept(i_v1=-1e-3)
    first = subject.key(Case(0))
    assert evaluate(subject, Case(0), Played(answer)).row["key"] == first
    model.write_text(text.format("2e3"))
    with pytest.raises(InputError, match="Verilog-A file of bench own changed while"):
        evaluate(subject, Case(0), Played(answer))
    assert PreparedBench(bench, "played-1").key(Case(0)) != first


def test_the_key_has_the_data_files_of_code_models(tmp_path: Path) -> None:
    table = tmp_path / "signal.txt"
    table.write_text("0 0\n1 1\n")
    more = 'A1 %v([c]) source\n.model source filesource (file="signal.txt")\nR2 c 0 1k'
    bench = bench_in(tmp_path, more=more)
    first, digest = PreparedBench(bench, "e").key(Case(0)), PreparedBench(bench, "e").digest()
    assert PreparedBench(bench, "e").key(Case(0)) == first
    table.write_text("0 0\n1 2\n")
    assert PreparedBench(bench, "e").key(Case(0)) != first
    assert PreparedBench(bench, "e").digest() != digest


def test_the_key_has_the_files_of_every_analysis_and_point(tmp_path: Path) -> None:
    bench = bench_in(tmp_path)
    (tmp_path / "other.cir").write_text("R7 a 0 1k\n")

    class Uneven(Testbench):
        """A bench with a file that only the deck of its last point includes."""

        def decks(self) -> list[tuple[str, Mapping[str, float], Deck]]:
            ((name, point, deck),) = super().decks()
            last = replace(deck, text=deck.text.replace(".end\n", ".include other.cir\n.end\n"))
            return [(name, point, deck), (name, point, deck), (name, point, last)]

    uneven = Uneven(bench.file, bench.folder, bench.name)
    first = PreparedBench(uneven, "e").key(Case(0))
    (tmp_path / "other.cir").write_text("R7 a 0 2k\n")
    assert PreparedBench(uneven, "e").key(Case(0)) != first
    decks = uneven.decks()
    assert len(identity.circuits(decks)) == 2
    assert len(identity.circuits(bench.with_(parameters={"v": 0.5}).decks() + bench.decks())) == 1


def test_the_key_has_the_simulator_and_cosim_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = bench_in(tmp_path)
    keys = {PreparedBench(bench, "ngspice-46", simulator=name).key(Case(0)) for name in ("pyspice", "ngspice")}
    assert len(keys) == 2
    package = tmp_path / "cosim"
    for part in ("bench", "campaign"):
        (package / part).mkdir(parents=True)
        (package / part / "code.py").write_text("x = 1\n")
    for name in ("units.py", "schema.py", "parameters.py"):
        (package / name).write_text("")
    with monkeypatch.context() as changed:
        changed.setattr(identity, "__file__", str(package / "campaign" / "identity.py"))
        codes = [identity.own_code.__wrapped__()]
        for edited in ("bench/code.py", "units.py"):
            (package / edited).write_text("x = 2\n")
            codes.append(identity.own_code.__wrapped__())
        assert len(set(codes)) == 3
    # what an engine follows beside its deck
    (tmp_path / "spinit").write_text("set ngbehavior=lt\n")
    before = PreparedBench(bench, "ngspice-46", simulator="pyspice")
    own = before.key(Case(0)), before.digest()
    with monkeypatch.context() as changed:
        changed.setenv("SPICE_SCRIPTS", str(tmp_path))
        elsewhere = PreparedBench(bench, "ngspice-46", simulator="pyspice")
        first = elsewhere.key(Case(0))
        assert first not in (*keys, own[0])
        assert elsewhere.digest() != own[1]
        (tmp_path / "spinit").write_text("set ngbehavior=ps\n")
        identity._build.cache_clear()
        assert elsewhere.key(Case(0)) != first
    monkeypatch.setattr("cosim.campaign.cases.own_code", lambda: b"another")
    assert PreparedBench(bench, "ngspice-46", simulator="pyspice").key(Case(0)) not in keys


@pytest.mark.parametrize(("ends", "kept"), [(Outcome.TIMED_OUT, 0), (Outcome.CRASHED, 0), (Outcome.NOT_CONVERGED, 1)])
def test_a_repetition_that_a_limit_or_a_signal_ended_is_not_kept_for_later(
    tmp_path: Path, ends: Outcome, kept: int
) -> None:
    subject = PreparedBench(bench_in(tmp_path), "played-1")
    simulator = Played(swept(i_v1=-1e-3), Result(ends, "played-1", reason="too slow"))
    done = evaluate(subject, Case(0, repeat=True), simulator)
    assert len(simulator.decks) == 2
    assert done.row["repeated"] == ends.value
    assert done.row["outcome"] == "converged"
    cache = Cache(tmp_path / "cache")
    cache.add([done])
    assert cache.holding().rows == kept


def test_a_repetition_that_cannot_be_had_is_said_by_the_row(tmp_path: Path) -> None:
    bench = bench_in(tmp_path, end='[options]\nreltol = "{v}"\n')
    row = evaluate(PreparedBench(bench, "played-1"), Case(0, repeat=True), Played(swept(i_v1=-1e-3))).row
    assert row["outcome"] == "converged"
    assert row["time_step"] == "cannot tell"
    assert "option reltol = '{v}' is not a number" in row["why"]
    assert row["limits"] == {"i": "pass"}
    assert row["measures"]["i"] == [-1e-3]


LATE = '[measures.late]\nkind = "at"\nof = "i(v1)"\nat = "2 V"\nunit = "A"\n'


def test_a_measure_that_cannot_be_had_leaves_the_others(tmp_path: Path, simulator: Simulator) -> None:
    end = 'late = { max = "1 A" }\n' + LATE
    row = evaluate(PreparedBench(bench_in(tmp_path, end=end), simulator.version()), Case(0), simulator).row
    assert row["outcome"] == "converged"
    assert set(row["measures"]) == {"i"}
    assert row["limits"] == {"i": "pass", "late": "cannot tell"}
    assert row["verdict"] == "cannot tell"
    assert row["why"].startswith("late: ")
    assert "the run goes from 0 to 1" in row["why"]


def test_a_measure_without_limit_that_cannot_be_had_is_named(tmp_path: Path) -> None:
    row = evaluate(PreparedBench(bench_in(tmp_path, end=LATE), "played-1"), Case(0), Played(swept(i_v1=-1e-3))).row
    assert row["limits"] == {"i": "pass"}
    assert row["verdict"] == "pass"
    assert "late: " in row["why"]


def test_the_time_step_is_judged_by_every_measure(tmp_path: Path) -> None:
    free = '[measures.free]\nkind = "at"\nof = "v(a)"\nat = "1 V"\nunit = "V"\n'
    subject = PreparedBench(bench_in(tmp_path, end=free), "played-1")
    case = Case(0, repeat=True)

    def step(first: Result, second: Result, subject: PreparedBench = subject) -> tuple[str, dict[str, float], str]:
        row = evaluate(subject, case, Played(first, second)).row
        return row["time_step"], row.get("moved", {}), row.get("why", "")

    plain = swept(i_v1=-1e-3, v_a=1.0)
    assert step(plain, plain) == ("pass", {"i": 0.0, "free": 0.0}, "")
    verdict, moved, why = step(plain, swept(i_v1=-1e-3, v_a=2.0))  # has no limit
    assert verdict == "fail"
    assert moved == {"i": 0.0, "free": 0.5}
    assert "free moves by 50.0%" in why
    verdict, moved, why = step(plain, swept(i_v1=-1e-3, v_a=np.nan))
    assert verdict == "cannot tell"
    assert moved == {"i": 0.0}
    verdict, _, why = step(plain, Result(Outcome.TIMED_OUT, "played-1", reason="too slow"))
    assert verdict == "cannot tell"
    assert "too slow" in why


def test_the_time_step_is_not_judged_where_nothing_was_compared(tmp_path: Path) -> None:
    bench = bench_in(tmp_path)
    bare = replace(bench, file=bench.file.model_copy(update={"measures": {}, "limits": {}}))
    row = evaluate(PreparedBench(bare, "played-1"), Case(0, repeat=True), Played(swept(i_v1=-1e-3))).row
    assert row["time_step"] == "cannot tell"
    assert "no measure to compare" in row["why"]


TREE = """tree
.subckt cell a b
Xm a b upper
Xn a b lower
Xr a b plain
.ends
.subckt plain a b
Rw a w 1
Rb w b 1
.ends
X1 a 0 cell
Xm a 0 upper
"""


class _Model:
    def __init__(self, low: float, high: float) -> None:
        from cosim.devices.base import State

        self.states = (State("w", "w0", (low, high)),)


@pytest.mark.parametrize(
    ("vectors", "verdict", "says"),
    [
        ({"v(x1.xm.w)": 0.5, "v(x1.xn.w)": 1.5}, "pass", "x1."),
        ({"v(x1.xm.w)": 1.5}, "fail", "x1.xm.w leaves"),  # of upper, whose own bounds are 0 .. 1
        ({"v(x1.xn.w)": 0.5}, "fail", "x1.xn.w leaves"),  # of lower: 1 .. 2
        ({"v(xm.w)": 1.5, "v(x1.xr.w)": 0.5}, "fail", "xm.w leaves"),
        ({"v(x1.xr.w)": 7.0, "v(x1.w)": 7.0, "v(w)": 7.0, "i(x1.xm.w)": 7.0}, "cannot tell", "no state"),
    ],
)
def test_states_are_those_of_the_benchs_own_devices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, vectors: dict[str, float], verdict: str, says: str
) -> None:
    models = {"one": _Model(0.0, 1.0), "two": _Model(1.0, 2.0)}
    monkeypatch.setattr("cosim.campaign.cases.find_device", models.__getitem__)
    named = {name: type("Set", (), {"device": device}) for name, device in (("Upper", "one"), ("lower", "two"))}
    bench = replace(bench_in(tmp_path), sets=named)
    data = xarray.Dataset({name: ("sweep", np.full(3, y)) for name, y in vectors.items()})
    result = Result(Outcome.CONVERGED, "e", MappingProxyType({"dc": data}))
    run = BenchResult(bench, (Run("analysis", {}, result),), MappingProxyType({}))
    found = physics_of(bench, run, calls(read_text(TREE)))["state in bounds"]
    assert found["verdict"] == verdict
    assert says in found["says"]


def test_the_states_of_devices_are_saved(tmp_path: Path, simulator: Simulator) -> None:
    more = "Xm a 0 memristor\nXc a 0 cell\n.subckt cell p n\nXd p n memristor\n.ends"
    device = '[devices.memristor]\nparameters = "tio2"\n'
    subject = PreparedBench(bench_in(tmp_path, more=more, end=device), simulator.version())
    assert set(subject.corner("nominal").file.save) == {"v(xm.w)", "v(xc.xd.w)"}
    row = evaluate(subject, Case(0), simulator).row
    assert row["outcome"] == "converged", row
    assert row["physics"]["state in bounds"]["verdict"] == "pass"
    many = "\n".join(f"Xm{k} a 0 memristor" for k in range(65))
    assert PreparedBench(bench_in(tmp_path, more=many, end=device), "e").corner("nominal").file.save == ()


def test_variants_may_be_made_by_many_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    subject = PreparedBench(bench_in(tmp_path), "e")

    class Forgetful(dict):  # what another thread's clear() does between two looks
        def __contains__(self, key: object) -> bool:
            return True

    monkeypatch.setattr(subject, "_variants", Forgetful())
    bench = subject.at(Case(0, values={"options.reltol": 1e-6, "parameters.v": 0.5}))
    assert bench.file.options["reltol"] == 1e-6
    assert bench.file.parameters["v"].value == 0.5


def test_files_are_hashed_once_for_all_threads(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("a")
    files, found = identity.Files(), []
    threads = [threading.Thread(target=lambda: found.append(files.digest(path))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1
    assert path in files
    with pytest.raises(InputError, match="gone changed while"):
        files.digest(tmp_path / "gone")


def test_how_far_a_measure_moves() -> None:
    from cosim.bench.limits import moves

    def measured(*values: float, **limits: float) -> Measured:
        return Measured(np.array(values), "V", **limits)

    assert moves(measured(1.0, 2.0), measured(1.0, 1.0)) == 1.0
    assert moves(measured(1e-9), measured(0.0, high=1.0)) == 1e-9  # against its limit
    assert moves(measured(1e-9), measured(0.0)) == 1.0
    assert moves(measured(0.0), measured(0.0)) == 0.0
    assert moves(measured(1.0), measured(1.0, 1.0)) is None
    assert moves(measured(1.0), measured(np.inf)) is None
