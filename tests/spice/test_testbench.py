"""Benches: what they write, what they measure, and what they refuse."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from claims.mutations import DIFFER
from cosim.bench.measures import waveforms as measure
from cosim.bench.testbench import TIGHT, Testbench
from cosim.bench.validate import Verdict, validate_bench
from cosim.cli.app import main
from cosim.data.recording import Curve
from cosim.devices.cell import Cell1T1R
from cosim.engines.registry import open_simulator
from cosim.engines.simulator import Outcome, Simulator
from cosim.errors import InputError, NetlistRefused, UnitError, UnknownName
from cosim.fitting.experiment import pulse_experiment
from cosim.parameters import ParameterSet
from cosim.report import style
from cosim.report.bench_figures import bench_figure, bench_figures
from cosim.resources import listing
from examples.line import access_curve

pytestmark = pytest.mark.spice


@pytest.fixture
def short() -> Testbench:
    return Testbench.load("1t1r_random_pulses").with_(stimuli={"bl": {"count": 30}})


@pytest.mark.parametrize("path", listing("netlists", ".toml"), ids=lambda p: p.stem)
def test_shipped_benches_pass(path: Path, simulator: Simulator, tmp_path: Path) -> None:
    done = Testbench.load(path).run(simulator)
    assert done.result.ok, done.result.reason
    expected = path.stem not in DIFFER
    assert done.passed == expected, {name: m for name, m in done.measures.items() if m.passed is False}
    style.save(bench_figure(done), tmp_path / "figure.png")


def test_both_forms_measure_the_same(short: Testbench, simulator: Simulator) -> None:
    runs = [short.with_(form=form, options=TIGHT).run(simulator) for form in ("behavioural", "verilog-a")]
    for name in ("conductance", "state", "pulse_energy"):
        first, second = (run[name].values for run in runs)
        # tightened tolerances follow the state to 2e-4 of full scale
        np.testing.assert_allclose(first, second, atol=4e-4 * np.max(np.abs(first)))


def test_a_copy_with_another_stimulus_writes_that(short: Testbench) -> None:
    """Copies share what they have written; a stimulus that is another one must not be taken for it."""
    first = short.deck().text
    stimulus = short.file.stimuli["bl"].model_copy(update={"seed": 7})
    other = replace(short, file=short.file.model_copy(update={"stimuli": {"bl": stimulus}}))
    assert other.deck().text == short.with_(stimuli={"bl": {"seed": 7}}).deck().text != first
    assert short.deck().text == first


def test_energy_is_charge_times_voltage(short: Testbench, simulator: Simulator) -> None:
    """The energies of the pulses against an integral over the whole run: reads and gaps are the small rest."""
    run = short.run(simulator)
    data, train = run.waveforms, short.train("bl")
    t = data["time"].values
    power = -data["v(bl)"].values * data["i(vbl)"].values
    total = np.trapezoid(power, t)
    reads = measure.energy(
        data, "v(bl)", "i(vbl)", starts=train.write_ends, stops=train.write_ends + train.gap + train.read_length
    )
    # displacement currents return their energy; the rest is the trapezoidal rule on the engine's points
    assert run["pulse_energy"].values.sum() + reads.sum() == pytest.approx(total, rel=1e-6)
    assert np.all(run["pulse_energy"].values > 0)


def test_read_sees_the_cell_and_not_only_the_memristor(short: Testbench, simulator: Simulator) -> None:
    run = short.run(simulator)
    memristor = short.sets["memristor"].resolved()
    w = run["state"].values
    bare = memristor.g_max * (w * (1 - 1 / memristor.ratio) + 1 / memristor.ratio)
    read = run["conductance"].values
    assert np.all(read < bare)
    # 220 Ohm of transistor in series with 5 kOhm and more
    assert np.all(read > 0.93 * bare)


def test_numpy_cell_follows_the_transistor_level_cell(short: Testbench, simulator: Simulator) -> None:
    from scipy.optimize import curve_fit

    curve = access_curve(simulator)
    cell = Cell1T1R()

    def law(v: np.ndarray, g_on: float, v_sat: float, v_c: float) -> np.ndarray:
        from cosim.devices.access import AccessTransistor

        return AccessTransistor().current(v, cell.defaults().with_(g_on=g_on, v_sat=v_sat, v_c=v_c)) * 1e3

    (g_on, v_sat, v_c), _ = curve_fit(law, curve["voltage"], curve["current"] * 1e3, p0=(4e-3, 2.0, 3.0))
    p = cell.values({**short.sets["memristor"].resolved(), "g_on": g_on, "v_sat": v_sat, "v_c": v_c})
    run = short.with_(options=TIGHT).run(simulator)
    train, w, worst = short.train("bl"), float(p.w0), 0.0
    for amplitude, after in zip(train.amplitudes, run["state"].values, strict=True):
        w = float(cell.pulse(amplitude, w, p, shape=train.shape)[0])
        worst = max(worst, abs(w - after))
    # the triode law is within 0.2 % of BSIM4's current here, and a pulse's midpoint rule within 3e-4
    assert worst < 2e-3


def test_experiment_gives_a_curve(short: Testbench, simulator: Simulator) -> None:
    experiment = pulse_experiment(short, simulator)
    assert isinstance(experiment.curve, Curve)
    assert len(experiment.curve) == 30
    noisy = [experiment.noisy(np.random.default_rng(seed)).measured for seed in (1, 1, 2)]
    np.testing.assert_array_equal(noisy[0], noisy[1])
    spread = np.std(noisy[2] - experiment.curve.measured)
    # 30 draws of sigma = 2 % of 200 uS: within a factor of 1.6 at four sigma
    assert 0.5 < spread / (0.02 * 200e-6) < 1.6


def test_with_changes_copies_only(short: Testbench) -> None:
    other = short.with_(parameters={"w0": 0.2}, devices={"memristor": ParameterSet.load("hfo2")}, form="verilog-a")
    assert short.file.parameters["w0"].value == 0.5
    assert other.file.parameters["w0"].value == 0.2
    assert other.sets["memristor"].name == "hfo2"
    assert short.deck().fingerprint() != other.deck().fingerprint()
    assert short.deck().fingerprint() == short.with_().deck().fingerprint()


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"parameters": {"w1": 0.2}}, UnknownName, "known: v_wl, w0, width"),
        ({"devices": {"memristr": None}}, UnknownName, "did you mean memristor"),
        ({"form": "vhdl"}, InputError, "form"),
        ({"stimuli": {"bl": {"count": 0}}}, InputError, "count"),
        ({"stimuli": {"sl": {}}}, UnknownName, "known: bl"),
    ],
)
def test_wrong_changes(short: Testbench, change: dict[str, object], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        short.with_(**change)  # type: ignore[arg-type]


BENCH = """title = "t"
circuit = "V1 a 0 1\\nR1 a 0 1k"
[analysis]
kind = "op"
[measures.i]
kind = "final"
of = "i(v1)"
unit = "A"
[limits]
i = { max = "2 mA" }
"""


@pytest.mark.parametrize(
    ("old", "new", "error", "line", "says"),
    [
        ('kind = "op"', 'kind = "opp"', InputError, 3, "analysis"),
        ('title = "t"', 'titel = "t"', UnknownName, 1, "did you mean title"),
        ('"2 mA"', '"2 mV"', UnitError, 10, "is not in A"),
        ("[limits]\ni =", "[limits]\nj =", InputError, 10, "has no measure"),
        ('kind = "final"', 'kind = "last"', InputError, 5, "measures.i"),
        ('unit = "A"', 'window = 3\nunit = "A"', UnknownName, 8, "window"),
        ('kind = "op"', 'kind = "tran"\nmax_step = "1 parsec"', UnitError, 5, "parsec"),
        ('title = "t"', "title = ", InputError, None, "line 1"),
        ('unit = "A"', 'unit = "parsec"', UnitError, 8, "not a unit"),
        ('"op"', '"op"\nsweep.r = ["1 Ohm"]', InputError, 5, "known: none"),
        ('"op"', '"op"\n[corners.hot]\ntemperature = 9\nparameters.r = "1 Ohm"', InputError, 7, "corner 'hot'"),
        ('"op"', '"op"\n[monte_carlo]\nsamples = 9\ndevices.m.theta = { relative = 0.1 }', UnknownName, 7, "device"),
        ('"op"', '"op"\n[devices.m]\nform = "verilog-a"\nparameters = "tio3"', UnknownName, 7, "did you mean tio2"),
        ('"op"', '"op"\n[devices.m]\nparameters = "../mine.toml"', NetlistRefused, 6, "--allow"),
        ("1k", "{library.pdk}", UnknownName, 2, "library"),
        ('1k"', '{r}"\nparameters.r = "1 pF"', UnitError, 2, "r is in F, and that element's value is in Ohm"),
    ],
)
def test_wrong_files_name_the_line(
    tmp_path: Path, old: str, new: str, error: type[Exception], line: int | None, says: str
) -> None:
    path = tmp_path / "b.toml"
    assert old in BENCH
    path.write_text(BENCH.replace(old, new))
    with pytest.raises(InputError, match=says) as caught:
        Testbench.load(path).deck()
    assert isinstance(caught.value, error)
    if line is not None:
        assert f"b.toml:{line}" in str(caught.value)


def test_a_small_bench_runs(tmp_path: Path, simulator: Simulator) -> None:
    path = tmp_path / "b.toml"
    path.write_text(BENCH)
    done = Testbench.load(path).run(simulator)
    assert done["i"].scalar == pytest.approx(-1e-3, rel=1e-9)
    assert done.passed


def test_an_unknown_vector_is_named(tmp_path: Path, simulator: Simulator) -> None:
    path = tmp_path / "b.toml"
    path.write_text(BENCH.replace("i(v1)", "i(v2)"))
    done = Testbench.load(path).run(simulator)
    assert not done.result.ok
    assert "i(v2)" in done.result.reason
    assert not done.measures


@pytest.mark.parametrize("options", ["", 'reltol = "1e-8"', "abstol = 1e-15\nchgtol = 1e-20", "trtol = 0.5\nvntol = 1"])
def test_tightened_is_never_looser(tmp_path: Path, options: str) -> None:
    path = tmp_path / "b.toml"
    path.write_text(BENCH.replace("[measures.i]", f"[options]\n{options}\n[measures.i]"))
    bench = Testbench.load(path)
    before, after = bench.deck().options, bench.tightened().deck().options
    for key in TIGHT:
        assert float(after[key]) <= float(before[key]), key
    assert any(float(after[key]) < float(before[key]) for key in TIGHT)


SWEEP = """title = "a $\\\\frac{ title"
circuit = "V1 a 0 0\\nR1 a b 1k\\nR2 b 0 1k"
[analysis]
kind = "dc"
source = "V1"
start = "{start}"
stop = "{stop}"
step = "{step}"
[measures.area]
kind = "integral"
of = "v(b)"
start = "0.5 V"
stop = "1.5 V"
[measures.half]
kind = "at"
of = "v(b)"
at = "1 V"
unit = "V"
"""


@pytest.mark.parametrize(("start", "stop", "step"), [("0 V", "2 V", "0.1 V"), ("2 V", "0 V", "-0.1 V")])
def test_measures_on_a_sweep(tmp_path: Path, simulator: Simulator, start: str, stop: str, step: str) -> None:
    path = tmp_path / "s.toml"
    text = SWEEP
    for name, value in (("start", start), ("stop", stop), ("step", step)):
        text = text.replace("{" + name + "}", value)
    path.write_text(text)
    done = Testbench.load(path).run(simulator)
    # v(b) = v/2: the integral over 0.5..1.5 V is 0.5 V²; gmin shunts the divider by 1e-9
    assert done["area"].scalar == pytest.approx(0.5, rel=1e-6)
    assert done["half"].scalar == pytest.approx(0.5, rel=1e-6)


def test_a_title_is_not_a_formula(tmp_path: Path, simulator: Simulator) -> None:
    path = tmp_path / "s.toml"
    path.write_text(BENCH.replace('"t"', "'a $\\frac{ title $'"))
    done = Testbench.load(path).run(simulator)
    style.save(bench_figure(done), tmp_path / "f.png")
    style.save(done.plot(), tmp_path / "g.png")


def test_an_operating_point_has_no_window(tmp_path: Path, simulator: Simulator) -> None:
    path = tmp_path / "b.toml"
    path.write_text(BENCH.replace('kind = "final"', 'kind = "integral"'))
    done = Testbench.load(path).run(simulator)
    assert done.result.ok
    assert not done.passed
    assert set(done.missing) == {"i"}
    with pytest.raises(InputError, match="measure 'i' of bench b: an operating point has no window"):
        _ = done["i"]


def test_a_measure_that_cannot_be_had_leaves_the_others(
    tmp_path: Path, simulator: Simulator, capsys: pytest.CaptureFixture[str]
) -> None:
    text = SWEEP.replace("{start}", "0 V").replace("{stop}", "2 V").replace("{step}", "0.1 V")
    text += '[measures.late]\nkind = "at"\nof = "v(b)"\nat = "3 V"\nunit = "V"\n'
    text += '[measures.share]\nkind = "quotient"\nof = "half"\nby = "late"\n[limits]\nhalf = { max = "1 V" }\n'
    text += 'late = { max = "1 V" }\n[parameters]\nr = { value = "1 kOhm", unit = "Ohm" }\n'
    text += '[monte_carlo]\nsamples = 2\nparameters.r = { relative = "1 %" }\n'
    path = tmp_path / "s.toml"
    path.write_text(text)
    bench = Testbench.load(path)
    done = bench.run(simulator)
    assert done.result.ok
    assert set(done.measures) == {"area", "half"}
    assert set(done.missing) == {"late", "share"}
    assert done["half"].passed
    assert not done.passed
    assert "needs late" in done.missing["share"]
    report = validate_bench(bench, simulator)
    verdicts = {(spec.corner, spec.measure): spec for spec in report.specs}
    assert verdicts["nominal", "half"].verdict is Verdict.PASS
    assert verdicts["nominal", "late"].verdict is Verdict.CANNOT_TELL
    assert verdicts["nominal", "late"].why == done.missing["late"]
    assert "2 of 2" in verdicts["Monte Carlo", "half"].why
    assert verdicts["Monte Carlo", "late"].verdict is Verdict.FAIL
    assert "0 of 2" in verdicts["Monte Carlo", "late"].why
    assert "measure 'share'" in report.error
    assert main(["run", str(path)]) == 1
    said = capsys.readouterr()
    assert "half" in said.out
    assert "measure 'late' of bench s: v(b) is asked for at 3, the run goes from 0 to 2" in said.err


def test_a_loop_needs_two_directions(tmp_path: Path) -> None:
    path = tmp_path / "b.toml"
    path.write_text(BENCH + '[measures.l]\nkind = "loop-area"\nvoltage = "v(a)"\ncurrent = "i(v1)"\nunit = "W"\n')
    with pytest.raises(InputError, match=r"b\.toml:11: measure 'l': an op analysis has no loop"):
        Testbench.load(path)


@pytest.mark.parametrize(
    ("change", "line", "says"),
    [
        (("i(v1)", "i(v2)"), 5, r"unknown vector 'i\(v2\)'; did you mean i\(v1\)"),
        (("i(v1)", "v(b)"), 5, r"unknown vector 'v\(b\)'; did you mean v\(a\)"),
        (("[analysis]", 'save = ["v(ab)"]\n[analysis]'), 3, r"unknown vector 'v\(ab\)'"),
    ],
)
def test_a_vector_that_the_circuit_lacks_is_named_with_the_line_that_asks_for_it(
    tmp_path: Path, simulator: Simulator, change: tuple[str, str], line: int, says: str
) -> None:
    path = tmp_path / "b.toml"
    path.write_text(BENCH.replace(*change))
    for _ in range(2):
        done = Testbench.load(path).run(simulator)
        assert not done.result.ok
        assert re.search(rf"b\.toml:{line}: {says}", done.result.reason), done.result.reason


def test_vectors_that_only_the_engine_knows_are_left_to_it(tmp_path: Path, simulator: Simulator) -> None:
    path = tmp_path / "b.toml"
    circuit = "V1 A 0 1\\nX1 A sub\\nR1 A 0 1k\\n.subckt sub p\\nR1 p q 1k\\nR2 q 0 1k\\n.ends"
    saved = 'save = ["v(x1.q)", "@r1[i]", "v(a)", "V(A)"]\n[analysis]'
    path.write_text(BENCH.replace("V1 a 0 1\\nR1 a 0 1k", circuit).replace("[analysis]", saved))
    done = Testbench.load(path).run(simulator)
    assert done.waveforms["v(x1.q)"].item() == pytest.approx(0.5)


def test_an_element_that_is_there_twice_is_named_with_both_lines(tmp_path: Path, simulator: Simulator) -> None:
    path = tmp_path / "b.toml"
    path.write_text(BENCH.replace('"V1 a 0 1\\nR1 a 0 1k"', '"""\nV1 a 0 1\nR1 a 0 1k\nr1 a 0 2k\n"""'))
    done = Testbench.load(path).run(simulator)
    assert re.search(r"b\.toml:5: r1 is there already, in .*b\.toml:4; give it", done.result.reason), done.result.reason


def test_a_section_that_a_corner_chose_and_the_library_lacks_is_named_with_the_corners_line(
    tmp_path: Path, simulator: Simulator
) -> None:
    (tmp_path / "kit.lib").write_text("* kit\n.lib tt\n.param r=1k\n.endl tt\n.lib ss\n.param r=2k\n.endl ss\n")
    path = tmp_path / "b.toml"
    circuit = '"""\n.lib {library.kit} {section.mos}\nV1 a 0 1\nR1 a 0 {r}\n"""'
    tail = (
        'libraries.kit = "kit.lib"\nsections.mos = "tt"\n[corners.slow.sections]\nmos = "ss"\n[corners.fast.sections]\n'
    )
    path.write_text(
        BENCH.replace('"V1 a 0 1\\nR1 a 0 1k"', circuit).replace("[analysis]", f'{tail}mos = "ff"\n[analysis]')
    )
    bench = Testbench.load(path)
    assert bench.run(simulator)["i"].scalar == pytest.approx(-1e-3, rel=1e-6)
    assert bench.at_corner("slow").run(simulator)["i"].scalar == pytest.approx(-0.5e-3, rel=1e-6)
    reason = bench.at_corner("fast").run(simulator).result.reason
    line = path.read_text().splitlines().index('mos = "ff"') + 1
    assert re.search(rf"b\.toml:{line}: 'kit\.lib' has no section 'ff'; it has tt, ss", reason), reason


def test_a_value_that_a_model_refuses_is_not_a_failure_to_converge(simulator: Simulator) -> None:
    done = Testbench.load("1t1r_write").with_(parameters={"width": -2e-6}).run(simulator)
    assert done.result.outcome is Outcome.REFUSED
    assert re.search(r"a device cannot be set up: BSIM4.*channel width <= 0; check its values", done.result.reason)


TAKEN = """title = "taken"
circuit = "V1 a 0 {{theta*scale_d}}\\nR1 a 0 1k\\nXm a 0 memristor"
[devices.memristor]
parameters = "tio2"
[from_devices]
theta = "{place}"
scale_d = "memristor.scale_d"
[analysis]
kind = "op"
[measures.v]
kind = "final"
of = "v(a)"
unit = "V"
"""


def test_the_circuit_takes_numbers_from_its_devices(tmp_path: Path) -> None:
    """A parameter and a plasticity factor of the set, and of the set that is put in its place."""
    path = tmp_path / "taken.toml"
    path.write_text(TAKEN.format(place="memristor.theta_n"))
    bench = Testbench.load(path)
    with open_simulator() as simulator:
        assert bench.run(simulator)["v"].values[0] == pytest.approx(1.5643 * 1.11)
        changed = bench.with_(values={"memristor": {"theta_n": 1.0}})
        assert changed.run(simulator)["v"].values[0] == pytest.approx(1.11)
        other = bench.with_(devices={"memristor": ParameterSet.load("hfo2")})
        assert other.run(simulator)["v"].values[0] == pytest.approx(0.8518 * 1.08)


def test_an_analysis_may_change_what_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "taken.toml"
    text = TAKEN.format(place="memristor.theta_n")
    path.write_text(text.replace('kind = "op"', 'kind = "op"\nparameters = { theta = "2 V" }'))
    with open_simulator() as simulator:
        assert Testbench.load(path).run(simulator)["v"].values[0] == pytest.approx(2.0 * 1.11)
    path.write_text(text.replace('kind = "op"', 'kind = "op"\nsweep = { theta = ["2 A"] }'))
    with pytest.raises(UnitError, match=r"gives theta in A, and memristor.theta_n is in V"):
        Testbench.load(path)


def test_figures_know_the_unit_of_what_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "taken.toml"
    tran = 'kind = "tran"\nstop = "1 us"\nmax_step = "1 us"\nsweep = { theta = ["1 V", "2 V"] }'
    path.write_text(TAKEN.format(place="memristor.theta_n").replace('kind = "op"', tran))
    with open_simulator() as simulator:
        figures = bench_figures(Testbench.load(path).run(simulator))
    assert "theta = 1 V" in figures["waveforms"].get_suptitle()
    assert figures["measures"].axes[0].get_xlabel() == "theta (V)"


@pytest.mark.parametrize(
    ("place", "says"),
    [("memristor.thta_n", "parameter 'thta_n' of device 'memristor' of bench taken"),
     ("memristor", "does not name a device"), ("diode.theta_n", "unknown device 'diode'")],
)  # fmt: skip
def test_what_no_device_has_cannot_be_taken(place: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "taken.toml"
    path.write_text(TAKEN.format(place=place))
    with pytest.raises(InputError, match=says) as raised:
        Testbench.load(path)
    assert f"{path}:6" in str(raised.value)


@pytest.mark.parametrize("name", [path.stem for path in listing("netlists", ".toml")])
def test_a_number_of_a_device_stands_in_its_set_alone(name: str) -> None:
    """A parameter of a shipped bench that has the name of a device's does not repeat that device's value."""
    bench = Testbench.load(name)
    for device, chosen in bench.sets.items():
        known = {
            **{key: q.value for key, q in chosen.plasticity.items()},
            **{k: q.value for k, q in chosen.values.items()},
        }
        for key, given in bench.file.parameters.items():
            assert key not in known or given.value != known[key], f"take {key} from {device} (from_devices)"
