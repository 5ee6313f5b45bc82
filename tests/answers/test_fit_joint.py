"""Several observations fitted together: what is shared, each group's own, or drawn from a population; stages."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from cosim.cli.app import main
from cosim.data.recording import Recording
from cosim.devices.base import Values
from cosim.devices.pulse import PulseShape
from cosim.devices.registry import device
from cosim.errors import InputError, UnknownName
from cosim.fitting.forwards.pulse_train import PulseTrainForward
from cosim.fitting.joint import extract_joint
from cosim.fitting.joint_recipe import JointRecipe, load_recipe
from cosim.fitting.joint_result import JointResult
from cosim.parameters import ParameterSet

CELL, TRUTH = device("threshold_memristor"), ParameterSet.load("tio2").resolved()
SHAPE = PulseShape(200e-9, rise=5e-9, fall=5e-9)
NOISE, MEAN, SPREAD = 0.01, TRUTH.theta_p, 0.03
NAMES = tuple("ABCDEF")
THETA = dict(zip(NAMES, MEAN + SPREAD * np.random.default_rng(4).standard_normal(6), strict=True))


def fitted(wanted: JointRecipe, data: Mapping[str, Recording]) -> JointResult:
    wanted.check()
    return extract_joint(wanted, data)


def pulses(p: Values, *, seed: int, n: int = 80, noise: float = NOISE) -> Recording:
    rng = np.random.default_rng(seed)
    blank = Recording.pulse_train(rng.uniform(-2.4, 2.4, n), np.ones(n) * 1e-6, v_read=0.1, shape=SHAPE)
    read = PulseTrainForward(CELL, blank, np.ones(n, dtype=bool)).predict(p)
    return blank.with_measured(read + noise * p.g_max * rng.standard_normal(n))


def recipe(
    scope: str = "population", *, observations: object = None, parameters: object = None, **more: object
) -> JointRecipe:
    listed = observations or [{"name": name, "kind": "pulse train"} for name in NAMES]
    vary = {"alpha_p": {}, "theta_p": {"scope": scope}} if parameters is None else parameters
    start = {"sets": ["tio2"], "values": {"alpha_p": 1.3 * TRUTH.alpha_p}}
    body = {"name": "six", "device": "threshold_memristor", "observations": listed, "parameters": vary, "start": start}
    return JointRecipe.model_validate({**body, **more})


DATA = {name: pulses(TRUTH.with_(theta_p=theta), seed=k) for k, (name, theta) in enumerate(THETA.items())}


@pytest.mark.parametrize("scope", ["own", "population"])
def test_alpha_is_shared_and_each_device_has_its_own_theta(scope: str) -> None:
    found = extract_joint(recipe(scope), DATA)
    assert found.verdict.trustworthy, found.verdict.sentences()
    rows = {row.name: row for row in found.rows()}
    truth = {"alpha_p": TRUTH.alpha_p, **{f"theta_p[{name}]": theta for name, theta in THETA.items()}}
    for name, value in truth.items():
        # 4 standard errors of seven parameters: one chance in two thousand
        assert abs(rows[name].value - value) < 4.0 * rows[name].stderr, name
        assert rows[name].stderr < 0.05 * value


def test_the_population_is_found_within_its_interval() -> None:
    found = extract_joint(recipe(), DATA)
    spread = found.spreads["theta_p"]
    assert spread.interval[0] < SPREAD < spread.interval[1]
    # the values are known far better than they differ: the spread is that of the six, by n − 1
    sample = float(np.std(list(THETA.values()), ddof=1))
    assert spread.value == pytest.approx(sample, rel=0.15)
    mean = {row.name: row for row in found.rows()}["theta_p.mean"]
    assert mean.verdict.interval[0] < MEAN < mean.verdict.interval[1]
    assert mean.stderr == pytest.approx(spread.value / math.sqrt(6), rel=0.1)


def test_devices_that_do_not_differ_have_no_spread() -> None:
    same = {name: pulses(TRUTH, seed=20 + k) for k, name in enumerate(NAMES)}
    found = extract_joint(recipe(), same)
    assert found.spreads["theta_p"].interval[0] == 0.0
    assert any("not shown" in sentence for sentence in found.verdict.sentences())


def test_a_device_that_says_nothing_is_drawn_to_the_mean() -> None:
    few = {**DATA, "F": pulses(TRUTH.with_(theta_p=THETA["F"]), seed=5, n=6, noise=0.3)}
    found = extract_joint(recipe(), few)
    rows, spread = {row.name: row for row in found.rows()}, found.spreads["theta_p"].value
    assert abs(rows["theta_p[F]"].value - rows["theta_p.mean"].value) < spread
    # what is known of it is its population, whose mean has an error too
    assert 0.5 * spread < rows["theta_p[F]"].stderr < 1.3 * spread
    assert rows["theta_p[A]"].stderr < 0.2 * spread


def i_v(p: Values, seed: int, noise: float) -> Recording:
    v = np.linspace(-0.3, 0.3, 61)
    current = np.asarray(CELL.current(v, Values({"w": p.w0}), p), dtype=float)
    return Recording.i_v(v, current + noise * np.ptp(current) * np.random.default_rng(seed).standard_normal(v.size))


BOTH = [{"name": "static", "kind": "i-v", "labels": {"device": "A"}},
        {"name": "train", "kind": "pulse train", "labels": {"device": "A"}}]  # fmt: skip
FOUR = {name: {} for name in ("g_max", "alpha_p", "theta_p", "w0")}


def test_two_stages_end_where_one_joint_fit_ends() -> None:
    data = {"static": i_v(TRUTH, 1, 0.002), "train": pulses(TRUTH, seed=2, n=200)}
    start = {"sets": ["tio2"], "values": {"g_max": 1.4 * TRUTH.g_max, "alpha_p": 1.2 * TRUTH.alpha_p}}
    whole = recipe(observations=BOTH, parameters=FOUR, start=start)
    first = {"title": "I-V", "vary": ["g_max"], "observations": ["i-v"]}
    once = extract_joint(whole, data)
    for second, allowed in (({}, 1e-5), ({"vary": ["alpha_p", "theta_p", "w0"], "observations": ["train"]}, 3.0)):
        staged = extract_joint(recipe(observations=BOTH, parameters=FOUR, start=start, stages=[first, second]), data)
        rows = {row.name: row for row in staged.rows()}
        for row in once.rows():
            # the same minimum; where the I-V's value is held, within the errors of both
            unit = abs(row.value) if allowed < 1e-3 else math.hypot(row.stderr, rows[row.name].stderr)
            assert abs(rows[row.name].value - row.value) < allowed * unit, row.name
    assert any("conditional on what an earlier stage found: g_max" in s for s in staged.verdict.sentences())


def test_noise_is_estimated_for_each_observation() -> None:
    data = {"static": i_v(TRUTH, 1, 0.05), "train": pulses(TRUTH, seed=2, n=200)}
    found = extract_joint(recipe(observations=BOTH, parameters=FOUR), data).stages[-1]
    iv, train = (float(found.problem.sigma[rows][0]) for rows in found.forward.rows)
    # of 61 and 200 rows: 9 % and 5 %, three times
    assert iv == pytest.approx(0.05 * np.ptp(i_v(TRUTH, 1, 0.0).measured), rel=0.27)
    assert train == pytest.approx(NOISE * TRUTH.g_max, rel=0.15)


FILE = """name = "six"
device = "threshold_memristor"
start.sets = ["tio2"]

[[observations]]
name = "trains"
kind = "pulse train"
file = "trains.csv"
groups.device = "chip"
columns.amplitude = {{ name = "V", unit = "V" }}
columns.read = {{ name = "G", unit = "S" }}
conditions = {{ v_read = "0.1 V", width = {width}, rise = "5 ns", fall = "5 ns" }}

[parameters.alpha_p]
[parameters.theta_p]
scope = "{scope}"

[[stages]]
part = [0.0, 0.5]
[[stages]]
"""


def written(folder: Path, width: str = '"200 ns"', scope: str = "population") -> Path:
    rows = [
        f"{name},{v:.17g},{g:.17g}" for name, data in DATA.items() for v, g in zip(*data.columns.values(), strict=True)
    ]
    (folder / "trains.csv").write_text("\n".join(["chip,V,G", *rows]) + "\n")
    (folder / "six.toml").write_text(FILE.format(width=width, scope=scope))
    return folder / "six.toml"


def test_a_recipe_file_says_all_of_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, out = written(tmp_path), tmp_path / "out.toml"
    assert main(["fit", str(path), "-o", str(out), "--figure", str(tmp_path / "f.png")]) == 0
    printed = capsys.readouterr().out
    for word in ("theta_p[C]", "theta_p.mean", "population  theta_p: spread", "trains/B", "6 observations"):
        assert word in printed
    told = json.loads(out.with_suffix(".json").read_text())
    assert told["populations"]["theta_p"]["groups"] == 6
    one = ParameterSet.load(f"{out}:six_C")
    assert one.values["theta_p"].value == told["parameters"]["theta_p[C]"]["value"]
    assert ParameterSet.load(f"{out}:six").values["theta_p"].value == told["parameters"]["theta_p.mean"]["value"]
    assert isinstance(load_recipe(path), JointRecipe)


@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        ({"parameters": {"theta_q": {}}}, UnknownName, "theta_q"),
        ({"parameters": {"theta_p": {"scope": "population"}}, "observations": BOTH}, InputError, "at least three"),
        ({"stages": [{"vary": ["phi"]}]}, UnknownName, "phi"),
        ({"stages": [{"observations": ["Z"]}]}, UnknownName, "'Z'"),
        ({"stages": [{"vary": ["alpha_p"], "observations": ["static"]}], "observations": BOTH,
          "parameters": {"alpha_p": {}}}, InputError,
         "alpha_p cannot be determined from the observations of the stage"),
        ({"stages": [{"part": [0.5, 0.5]}]}, InputError, "leaves no rows"),
    ],
)  # fmt: skip
def test_wrong_recipes(changes: dict[str, object], error: type[Exception], says: str) -> None:
    data = {**DATA, "static": i_v(TRUTH, 1, 0.01), "train": DATA["A"]}
    wrong = recipe(**changes)  # type: ignore[arg-type]
    with pytest.raises(error, match=says):
        fitted(wrong, data)


def test_a_width_without_a_unit_is_refused_with_its_place(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"six\.toml:\d+: observations.0.conditions.width = 200 has no unit"):
        load_recipe(written(tmp_path, width="200"))
