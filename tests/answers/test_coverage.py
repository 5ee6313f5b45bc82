"""The claim that intervals hold the truth: what it counts, what decides, and that it goes on where it stopped."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from claims import coverage_claim, coverage_kept, coverage_rows
from claims.coverage_claim import COVERAGE, asked, carry_on, judged, made_again, summary
from claims.coverage_kept import Outcomes, difference
from claims.coverage_rows import BESIDE, CLIPPER, Draw, TrainLab, draws, key, names, redrawn, row
from cosim.errors import InputError, UnknownName
from cosim.fitting.correlated import Whitening
from cosim.fitting.extract import extract
from cosim.fitting.residuals import orders

ROW = "virtual_lab/access"


def made(count: int, held: dict[str, float], status: dict[str, str] | None = None) -> list[Draw]:
    """Draws whose intervals held the truth in given shares, spread evenly."""
    status = dict.fromkeys(held, "identifiable") | (status or {})
    return [Draw(k, {n: int((k + 1) * s) > int(k * s) for n, s in held.items()}, status) for k in range(count)]


def quiet(_: str) -> None:
    """No progress."""


def test_rows_are_of_every_noise_and_family():
    wanted = {
        "300 pulses", "60 pulses", "30 pulses", "strongly correlated reads", "weakly correlated reads", "varying steps",
        "outliers", "mixed noise", "growing noise", "equal pulses", "clipper",
        "vteam_loop", "yakopcic_loop", "ecram_relaxation",
    }  # fmt: skip
    assert wanted | {ROW} <= set(names())
    assert not set(BESIDE) & set(names())
    assert row(BESIDE[0]).recipe.noise.relative is None


@pytest.mark.parametrize(
    ("count", "held", "verdict"),
    [
        (1000, {"a": 0.95, "b": 0.96}, "inside"),
        (1000, {"a": 0.929, "b": 0.929}, "outside"),  # pooled
        (1000, {"a": 0.899, "b": 0.97, "c": 0.97}, "outside"),  # one alone
        (1000, {"a": 0.985, "b": 0.94}, "outside"),  # too wide is wrong as well
        (100, {"a": 0.93, "b": 0.95}, "cannot tell"),
        (100, {"a": 0.5, "b": 0.95}, "outside"),
    ],
)
def test_shares_decide_once_there_are_enough_draws(count, held, verdict):
    found = summary(made(count, held))
    assert found["verdict"] == verdict
    assert found["pooled_95"][0] < found["pooled"] < found["pooled_95"][1]
    assert found["each"]["a"][:1] == [pytest.approx(held["a"], abs=0.02)]


def test_parameters_of_a_draw_that_go_together_count_once():
    status = dict.fromkeys("abcd", "identifiable")
    alike = [Draw(k, dict.fromkeys("abcd", k % 20 > 0), status) for k in range(200)]
    apart = [Draw(k, {n: (k + 5 * j) % 20 > 0 for j, n in enumerate("abcd")}, status) for k in range(200)]
    wide, narrow = (summary(found)["pooled_95"] for found in (alike, apart))
    assert summary(alike)["pooled"] == summary(apart)["pooled"] == 0.95
    assert wide[1] - wide[0] > 1.8 * (narrow[1] - narrow[0])


def test_ranges_of_what_is_not_determined_are_counted_apart():
    found = summary(made(1000, {"a": 0.95, "b": 0.5}, {"b": "not identifiable"}))
    assert (found["ranges"], found["ranges_held"], found["pooled"]) == (1000, 500, 0.95)
    # what is said of a parameter that never has an interval is held to the truth as well
    assert found["verdict"] == "outside"
    assert summary(made(1000, {"a": 0.95, "b": 0.94}, {"b": "not identifiable"}))["verdict"] == "inside"
    # what a verdict has to name as weak, and calls identifiable in every draw
    assert summary(made(10, {"a": 0.9, "b": 0.9}), weak=["a"])["weak_named"] == 0.0
    assert summary(made(10, {"a": 0.9, "b": 0.9}, {"a": "weakly identifiable"}), weak=["a"])["weak_named"] == 1.0
    # a draw without a fit holds nothing
    failed = [*made(999, {"a": 0.95}), Draw(999, {"a": False}, {}, "no minimum")]
    assert (summary(failed)["failed"], summary(failed)["each"]["a"][3]) == (1, 1000)


def test_what_cannot_be_told_does_not_count_as_held():
    """Few intervals, whose bounds reach the limit: 450 of them that hold in 87.6 % were once called inside."""
    found = [*made(450, {"a": 0.876, "b": 0.97}), *made(550, {"b": 0.97, "a": 0.95}, {"a": "not identifiable"})]
    assert summary(found)["verdict"] == "outside"
    assert summary(found[:300])["verdict"] == "cannot tell"
    limits = COVERAGE.judge({"cannot_tell": 1})
    assert any("cannot_tell" in sentence for sentence in limits)


def test_a_curve_is_drawn_again_with_the_noise_that_the_fit_found():
    one = row("growing noise")
    result = extract(one.recipe, one.lab(np.random.default_rng(1)))
    clean = result.curve.with_measured(result.predicted)
    lab = redrawn(result, clean)
    drawn = np.array([lab(np.random.default_rng(k)).measured - clean.measured for k in range(400)])
    assert np.std(drawn, axis=0) == pytest.approx(0.1 * clean.measured, rel=0.2)
    whiten = Whitening.of(0.7, orders(clean)[0], result.problem.rows)
    lab = redrawn(replace(result, problem=replace(result.problem, whiten=whiten)), clean)
    drawn = np.array([(lab(np.random.default_rng(k)).measured - clean.measured) / result.sigma for k in range(50)])
    assert np.mean(drawn[:, 1:] * drawn[:, :-1]) == pytest.approx(0.7, abs=0.05)


def test_it_goes_on_where_it_stopped(tmp_path, monkeypatch):
    calls = list[int]()

    def counted(name: str, seeds: list[int]) -> list[Draw]:
        calls.extend(seeds)
        return draws(name, seeds)

    monkeypatch.setattr(coverage_claim, "draws", counted)
    with ThreadPoolExecutor(1) as pool:
        carry_on({ROW: Outcomes(tmp_path, ROW)}, 3, pool, quiet)
        first = Outcomes(tmp_path, ROW)
        with first.path.open("a") as file:
            file.write('{"seed": 3, "hel')  # killed while it wrote
        again = Outcomes(tmp_path, ROW)
        assert again.draws == first.draws
        carry_on({ROW: again}, 6, pool, quiet)
    assert sorted(calls) == [0, 1, 2, 3, 4, 5]
    whole = Outcomes(tmp_path, ROW).draws
    assert {seed: one.held for seed, one in whole.items()} == {one.seed: one.held for one in draws(ROW, range(6))}
    found = judged({ROW: Outcomes(tmp_path, ROW)})
    assert found["rows"][ROW]["draws"] == 6
    assert found["rows"][ROW]["failed"] == 0
    assert found["rows"][ROW]["pooled"] >= 0.7  # 18 intervals of 95 %
    # six draws are figures, not the claim
    assert found["note"].startswith("not the claim")
    assert any("short_of_draws" in sentence for sentence in COVERAGE.judge(found))


def test_other_seeds_may_be_asked_for(tmp_path, monkeypatch):
    made = list[int]()
    monkeypatch.setattr(coverage_claim, "draws", lambda _, seeds: made.extend(seeds) or [])
    monkeypatch.setenv("COSIM_COVERAGE_FIRST", "1000")
    with ThreadPoolExecutor(1) as pool:
        carry_on({ROW: Outcomes(tmp_path, ROW)}, 30, pool, quiet)
    assert sorted(made) == list(range(1000, 1030))
    monkeypatch.setenv("COSIM_COVERAGE_FIRST", "-1")
    with pytest.raises(InputError, match="COSIM_COVERAGE_FIRST = '-1' is not a whole number"):
        carry_on({ROW: Outcomes(tmp_path, ROW)}, 1, None, quiet)


def test_an_interruption_keeps_what_was_drawn(tmp_path):
    class Stopped:
        """Interrupted as the second chunk is given to it."""

        count = 0

        def submit(self, function, *given):
            self.count += 1
            if self.count == 2:
                raise KeyboardInterrupt
            future: Future[list[Draw]] = Future()
            future.set_result(function(*given))
            return future

    with pytest.raises(KeyboardInterrupt):
        carry_on({ROW: Outcomes(tmp_path, ROW)}, 100, Stopped(), quiet)
    assert len(Outcomes(tmp_path, ROW).draws) == coverage_claim.CHUNK


def test_the_file_of_a_row_is_of_what_the_row_is(tmp_path, monkeypatch):
    before = key(ROW), key("30 pulses"), key(CLIPPER)
    assert len({*before, key("60 pulses")}) == 4
    assert Outcomes(tmp_path, ROW).path.name.startswith("virtual_lab-access-")
    monkeypatch.setattr("claims.coverage_rows.code_fingerprint", lambda: "another")
    assert (key(ROW), key("30 pulses")) == before[:2]
    monkeypatch.setitem(coverage_rows.TRAINS, "30 pulses", TrainLab(31))
    monkeypatch.setattr(coverage_rows.clipper, "NOISE", 0.006)
    assert key("30 pulses") != before[1]
    assert key(CLIPPER) != before[2]


def test_draws_are_made_again_before_others_are_added(tmp_path, monkeypatch):
    kept, said = Outcomes(tmp_path, ROW), list[str]()
    kept.add(draws(ROW, range(30)))
    assert len(kept.again()) == len({*kept.again()}) == 30  # they are cheap
    monkeypatch.setattr(coverage_kept, "SPENT", 0.0)
    seeds = Outcomes(tmp_path, ROW).again()
    assert [seed // 3 for seed in seeds] == list(range(10))  # spread over all
    with ThreadPoolExecutor(1) as pool:
        assert made_again({ROW: kept}, pool, said.append) == {}
        assert len(kept.draws) == 30
        # what changes one interval by 2 % of its width changes the row
        one = kept.draws[seeds[4]]
        moved = one.low["v_c"] - 0.02 * (one.high["v_c"] - one.low["v_c"])
        kept.draws[one.seed] = replace(one, low={**one.low, "v_c": moved})
        changed = made_again({ROW: kept}, pool, said.append)[ROW]
    assert changed.startswith(f"draw {one.seed}: v_c was ")
    assert kept.draws == {}
    assert not kept.path.exists()
    assert [path.name for path in tmp_path.iterdir()] == [f"{kept.path.name}.before-1"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, ""),
        ({"low": {"a": 1.0001}}, ""),
        ({"low": {"a": None}}, "draw 3: a was 2 from 1 to 3, is 2 from -inf to 3"),
        ({"high": {"a": 3.1}}, "draw 3: a was 2 from 1 to 3, is 2 from 1 to 3.1"),
        ({"status": {"a": "at bound"}}, "draw 3: a is at bound, was identifiable"),
        ({"held": {"a": False}}, "draw 3: a does not hold the truth, and did"),
        ({"failed": "no minimum", "status": {}}, "draw 3: no minimum (before: it had a fit)"),
    ],
)
def test_what_of_a_draw_is_not_as_it_was(change, said):
    then = Draw(3, {"a": True}, {"a": "identifiable"}, value={"a": 2.0}, low={"a": 1.0}, high={"a": 3.0})
    assert difference(then, replace(then, **change)) == said
    # draws of before the ends were kept are held by the rest
    old = replace(then, value={}, low={}, high={})
    assert bool(difference(old, replace(then, **change))) == ("status" in change or "held" in change)


def test_the_environment_chooses_rows_and_draws(tmp_path, monkeypatch):
    monkeypatch.setenv("COSIM_COVERAGE", str(tmp_path))
    monkeypatch.setenv("COSIM_COVERAGE_ROWS", "clipper; 30 pulses")
    monkeypatch.setenv("COSIM_COVERAGE_DRAWS", "0")
    assert asked() == (["clipper", "30 pulses"], 0, tmp_path)
    found = COVERAGE.measure(quiet)  # draws nothing
    assert found["rows"] == {}
    assert found["short_of_draws"] == len(names())
    assert any("unchecked" in sentence for sentence in COVERAGE.judge(found))
    monkeypatch.setenv("COSIM_COVERAGE_DRAWS", "some")
    with pytest.raises(InputError, match="COSIM_COVERAGE_DRAWS = 'some' is not a whole number"):
        asked()
    monkeypatch.setenv("COSIM_COVERAGE_ROWS", "cliper")
    with pytest.raises(UnknownName, match="clipper"):
        asked()
