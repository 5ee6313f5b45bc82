"""Filters of a bench: trained, checked and exported on the command line, and what bad input gets."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from cosim import resources
from cosim.cli.app import main
from cosim.cli.surrogate_common import UNSEEN
from cosim.devices.base import Values
from cosim.surrogate.conformal import Band
from cosim.surrogate.files import load
from cosim.surrogate.filter import FilterLaw, FilterTrain
from cosim.surrogate.filter_bench import errors_after
from cosim.surrogate.neuron_trains import drawn_means

BENCH = "stc_dpi_filter"


@pytest.mark.spice
@pytest.mark.slow
def test_a_filter_of_a_bench(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "filter.npz"
    words = ["--most-samples", "200", "--pulses", "100", "--figure", str(tmp_path / "filter.png")]
    assert main(["surrogate", "train", BENCH, "-o", str(file), *words]) == 0
    shown = capsys.readouterr().out
    assert "trains of random spikes through the circuit of stc_dpi_filter" in shown
    assert "note        law: a filter with tau 0.005" in shown
    assert "calibrated on 4 trains of random means, each of which counts once, too few for 95 %" in shown
    assert "simulator   its own error by 2 trains again at reltol" in shown
    assert "the simulator's own error: worst" in shown
    assert "; the error of the extraction" not in shown
    assert shown.splitlines()[-1].startswith("passes")
    made = load(file)
    assert isinstance(made.learned, FilterLaw)
    assert made.certificate is not None
    assert made.certificate.errors["i"].p95 < 0.005 * made.certificate.errors["i"].full_scale
    assert max(made.certificate.rollout.max) < 0.02
    lows, highs = made.interval(Values({"i": np.array([2e-11])}), level=0.5)
    assert 0.0 < highs["i"] - lows["i"] < 0.05 * made.certificate.errors["i"].full_scale
    after, _ = made.step(Values({"i": np.full(2, 2e-11)}), Values({"level": np.array([0.0, 3.0]), "interval": 8e-4}))
    assert after["i"][0] < 2e-11 < after["i"][1]
    assert main(["surrogate", "show", str(file)]) == 0
    capsys.readouterr()
    code = main(["surrogate", "check", str(file), "--pulses", "75", "--seed", "0", "--json"])
    told, said = capsys.readouterr()
    assert "seed 0 gave the certificate's own events" in said
    found = json.loads(told)
    assert not found["check"]["broken"]
    assert not found["missed_intervals"]
    assert code == (UNSEEN if found["not_verified"] else 0)  # of three trains for four
    assert found["passed"] == (code == 0)
    assert found["check"]["seed"] == "1"
    assert found["check"]["errors"]["i"]["max"] < 0.02 * made.certificate.errors["i"].full_scale
    assert found["check"]["data"] != found["certificate"]["data"] == made.certificate.data
    assert main(["surrogate", "check", str(file), "--against", "integration"]) == 2
    assert "has no equations" in capsys.readouterr().err
    assert main(["surrogate", "export", str(file), "--to", "numpy", "-o", str(tmp_path / "out"), "--check"]) == 0
    golden = json.loads((tmp_path / "out" / "golden.json").read_text())
    assert set(golden["events"]["inputs"]["level"]) == {0.0, 1.0, 2.0, 3.0}
    assert main(["surrogate", "export", str(file), "--to", "spice", "-o", str(tmp_path / "no")]) == 1
    assert "of kind filter (a time course that an iteration solves)" in capsys.readouterr().err


@pytest.mark.spice
@pytest.mark.parametrize(
    ("old", "new", "words", "message"),
    [
        ("", "", ["--map", "calsium"], "did you mean calcium"),
        ("", "", ["--law", "spline"], "--law has no meaning with a filter"),
        ('stimuli = ["post", "pre"]', 'stimuli = ["post", "past"]', [], "did you mean post"),
        ('stimuli = ["post", "pre"]', 'stimuli = ["post", "post"]', [], "named twice"),
        ('["1.5 ms", "30 ms"]', '["0.5 ms", "30 ms"]', [], "a spike of post is longer than the shortest interval"),
        ('["1.5 ms", "30 ms"]', '["30 ms", "1.5 ms"]', [], "leave no room for random trains"),
        (
            'state = "i(vout)"',
            'state = "i(vout)"\nanalysis = "long"',
            [],
            "unknown analysis 'long' of filter 'calcium'",
        ),
        ('state = "i(vout)"', 'state = "i(vdd)"', [], "falls to -"),
    ],
)
def test_bad_filters(
    old: str, new: str, words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = resources.find("netlists", f"{BENCH}.toml").read_text()
    assert old in text
    bench = tmp_path / "filter.toml"
    bench.write_text(text.replace(old, new) if old else text)
    words = ["--most-samples", "100", *words]
    assert main(["surrogate", "train", str(bench), "-o", str(tmp_path / "x.npz"), *words]) in (1, 2)
    assert message in capsys.readouterr().err
    assert not (tmp_path / "x.npz").exists()


def test_the_intervals_of_a_filter_cover_fresh_events() -> None:
    rng, law = np.random.default_rng(5), FilterLaw(5e-3, 2e-13, np.array([1.2e-11, 1e-10, 4e-10, 5e-10]))

    def train(events: int) -> FilterTrain:
        """Of a circuit that leaves the law by a percent of each step, with a deviation of its own in each event."""
        begin, level = np.concatenate([[0.0], np.cumsum(rng.exponential(2e-3, events))]), rng.integers(0, 4, events)
        state = [1e-10]
        for k in range(events):
            here = {
                "i": np.array(state[-1]),
                "level": np.array(level[k]),
                "interval": np.array(begin[k + 1] - begin[k]),
            }
            state.append(state[-1] + float(law(here)["i"]) * (1.0 + 0.01 * rng.standard_normal()))
        return FilterTrain(begin, level, np.array(state))

    trains = [train(30) for _ in range(120)]
    held, fresh = errors_after(law, trains[:100]), errors_after(law, trains[20:])
    assert {events: [one.size for one in errors["i"]] for events, errors in held.items()} == {
        1: [30] * 100, 10: [3] * 100,
    }  # fmt: skip
    for events, errors in held.items():
        (share,) = Band.of(errors, events=events).covered(fresh[events]).values()
        assert share == pytest.approx(0.95, abs=0.05)
    # an event's error is of that event alone: not what the law has gathered before it
    assert np.max(np.abs(np.concatenate(held[1]["i"]))) < 0.05 * 5e-10
    # fewer trains count with one score each, and too few allow no interval
    few = errors_after(law, trains[:20])
    assert [one.size for one in few[10]["i"]] == [1] * 20
    assert set(errors_after(law, trains[:18])) == {1}
    assert len(Band.of(errors_after(law, trains[:18])[1], events=1).widths["i"]) == 2  # 50 and 90 %


def test_held_out_means_are_of_the_seed() -> None:
    ends = (1e-3, 5e-3, 1e-1)  # the shortest interval; the shortest mean and the longest
    drawn = [
        drawn_means(np.random.default_rng(seed), intervals=(ends[0], ends[2]), count=count)
        for seed in (0, 1) for count in (3, 40)
    ]  # fmt: skip
    assert drawn[0] != drawn[2]
    for few in (drawn[0], drawn[2]):  # one of each third, in any order
        assert sorted(np.digitize(few, np.geomspace(ends[1], ends[2], 4))) == [1, 2, 3]
    for many in (drawn[1], drawn[3]):
        assert ends[1] < min(many) < 1.5 * ends[1]
        assert ends[2] / 1.5 < max(many) < ends[2]
