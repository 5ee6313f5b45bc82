"""The number beside a unit is in that unit, wherever one is written; a unit of another dimension is refused.

The circuit is a divider of two equal resistors and an RC low-pass: closed forms.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cosim import units
from cosim.bench.testbench import Testbench
from cosim.cli.app import main
from cosim.errors import InputError, UnitError

BENCH = """title = "divider"
circuit = \"\"\"
V1 a 0 {v0}
R1 a b 1k
R2 b 0 1k
I1 0 c 1u
R3 c 0 1k
X1 a part
.subckt part p
R1 p q 1k
R2 q 0 1k
.ends
\"\"\"
[parameters]
v0 = "2 V"
r = "1 kOhm"
[analysis]
kind = "op"
"""
TRAN = BENCH.replace('kind = "op"', 'kind = "tran"\nstop = "1 us"\nmax_step = "10 ns"')
# unit -> (measure's keys, value in SI, value in the unit, as a table says it): 2 V over 2 x 1 kOhm.
RIGHT: dict[str, tuple[str, float, float, str]] = {
    "mA": ('kind = "final"\nof = "i(v1)"', -2e-3, -2.0, "-2 mA"),
    "uA": ('kind = "final"\nof = "i(v1)"', -2e-3, -2000.0, "-2000 uA"),
    "A": ('kind = "final"\nof = "i(v1)"', -2e-3, -2e-3, "-2 mA"),
    "mV": ('kind = "final"\nof = "v(b)"', 1.0, 1000.0, "1000 mV"),
    "kV": ('kind = "final"\nof = "v(b)"', 1.0, 1e-3, "0.001 kV"),
    "1": ('kind = "final"\nof = "v(b)"', 1.0, 1.0, "1"),
    "mW": ('kind = "resistor-power"\nbetween = ["v(b)"]\nresistance = 1000', 1e-3, 1.0, "1 mW"),
    "µW": ('kind = "resistor-power"\nbetween = ["v(a)", "v(b)"]\nresistance = 1000', 1e-3, 1000.0, "1000 µW"),
    "mS": ('kind = "conductance-at"\nvoltage = "v(a)"\ncurrent = "i(v1)"\nat = "1 ns"', -1e-3, -1.0, "-1 mS"),
    "%": ('kind = "quotient"\nof = "vb"\nby = "va"', 0.5, 50.0, "50 %"),
    "kΩ": ('kind = "quotient"\nof = "vb"\nby = "1 mA"', 1000.0, 1.0, "1 kΩ"),
    "MOhm": ('kind = "quotient"\nof = "vb"\nby = 1e-3', 1000.0, 1e-3, "0.001 MOhm"),  # the divisor's unit is not said
}


def measures(unit: str, keys: str) -> str:
    """Two plain voltages, and the measure ``m`` in ``unit``."""
    plain = "".join(f'[measures.v{node}]\nkind = "final"\nof = "v({node})"\n' for node in "ab")
    return f'{plain}[measures.m]\n{keys}\nunit = "{unit}"\n'


def write(folder: Path, unit: str, keys: str, *, limits: str = "") -> Path:
    path = folder / "b.toml"
    text = TRAN if "conductance-at" in keys else BENCH
    path.write_text(text + measures(unit, keys) + limits, encoding="utf-8")
    return path


@pytest.mark.spice
@pytest.mark.parametrize("unit", RIGHT)
def test_a_run_shows_and_keeps_the_number_of_the_unit(
    unit: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keys, si, shown, said = RIGHT[unit]
    path = write(tmp_path, unit, keys)
    assert main(["run", str(path), "-o", str(tmp_path / "out")]) == 0
    assert said in capsys.readouterr().out
    kept = json.loads((tmp_path / "out/measures.json").read_text(encoding="utf-8"))["measures"]["m"]
    assert (kept["unit"], kept["values"]) == (unit, [pytest.approx(shown, rel=1e-6)])
    measured = Testbench.load(path).run()["m"]
    assert measured.scalar == pytest.approx(si, rel=1e-6)  # Python has SI, and says so
    assert measured.scalar / units.dimension(measured.unit)[0] == measured.scalar
    assert units.dimension(measured.unit)[1] == units.dimension(unit)[1]


@pytest.mark.spice
def test_limits_in_any_unit_of_the_dimension_compare_rightly(tmp_path: Path) -> None:
    for limits, verdict in (
        ('min = "-2.1 mA", max = "-1.9 mA"', "pass"),
        ('min = "-2100 uA", max = "-0.0019 A"', "pass"),
        ('max = "-2.1 mA"', "fail"),
        ('min = "-1 uA"', "fail"),
        ("max = 0", "pass"),  # nothing is nothing in any unit
    ):
        path = write(tmp_path, "mA", RIGHT["mA"][0], limits=f"[limits]\nm = {{ {limits} }}\n")
        assert str(Testbench.load(path).run()["m"].verdict) == verdict, limits


@pytest.mark.parametrize("limit", ["max = -1.9", 'max = "-1.9"', 'min = "1 V"', 'max = "1 s"'])
def test_a_limit_without_a_unit_or_in_another_is_refused(tmp_path: Path, limit: str) -> None:
    path = write(tmp_path, "mA", RIGHT["mA"][0], limits=f"[limits]\nm = {{ {limit} }}\n")
    with pytest.raises(UnitError, match=r"b\.toml:30: .*mA"):
        Testbench.load(path)


WRONG = [
    ("A", 'kind = "final"\nof = "v(b)"', r"is a voltage \(V\), and its unit 'A' is a current \(A\); .*unit = \"V\""),
    ("mV", 'kind = "final"\nof = "i(v1)"', r"is a current \(A\), and its unit 'mV' is a voltage \(V\)"),
    ("K", 'kind = "max"\nof = "v(b)"', r"a voltage \(V\), .* a temperature \(K\)"),  # nothing here is thermal
    ("%", 'kind = "final"\nof = "v(b)"', r"a voltage \(V\), .*'%' is a plain number"),
    ("A", 'kind = "resistor-power"\nbetween = ["v(b)"]\nresistance = 1000', r"a power \(W\), .*a current \(A\)"),
    ("V", 'kind = "quotient"\nof = "vb"\nby = "va"', r"a plain number, and its unit 'V' is a voltage"),
    ("A", 'kind = "largest"\nof = "vb"', r"a voltage \(V\), .*a current"),
    ("V", 'kind = "quotient"\nof = "vb"\nby = "1 mA"', r"a resistance \(Ohm\), .*a voltage"),
    ("J", 'kind = "count"\nof = "v(b)"\nlevel = "1 V"', r"a plain number, .*an energy \(J\)"),
    ("°C", 'kind = "final"\nof = "v(b)"', r"'°C' is not a unit; °C counts from 273.15 K"),
    ("dB", 'kind = "final"\nof = "v(b)"', r"'dB' is not a unit; a decibel is a logarithm"),
    ("mmA", 'kind = "final"\nof = "i(v1)"', r"'mmA' is not a unit"),
]


@pytest.mark.parametrize(("unit", "keys", "says"), WRONG)
def test_a_unit_of_another_dimension_names_file_line_and_both(
    tmp_path: Path, unit: str, keys: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path, unit, keys)
    line = 1 + path.read_text(encoding="utf-8").split("\n").index(f'unit = "{unit}"')
    with pytest.raises(UnitError, match=rf"b\.toml:{line}: .*{says}"):
        Testbench.load(path)
    for verb in ("run", "validate"):
        assert main([verb, str(path)]) != 0
        assert f"b.toml:{line}: " in "".join(capsys.readouterr())


TRAN_WRONG = [
    ("V", 'kind = "integral"\nof = "v(b)"', r"is a flux \(Wb\), and"),
    ("V", 'kind = "slope"\nof = "v(b)"\nstart = "0 s"\nstop = "1 us"', r"is V/s, and"),
    ("V", 'kind = "crossing"\nof = "v(b)"\nlevel = "1 V"', r"is a time \(s\), and"),
    ("W", 'kind = "energy"\nvoltage = "v(a)"\ncurrent = "i(v1)"', r"is an energy \(J\), and"),
    ("J", 'kind = "energy"\nvoltage = "v(a)"\ncurrent = "v(b)"', r"and its unit 'J' is an energy"),
    ("V", 'kind = "changes"\nof = ["v(b) + i(v1)"]\nstop = "1 us"', r"adds a voltage \(V\) and a current \(A\)"),
    (
        "s",
        'kind = "crossing"\nof = "i(v1)"\nlevel = "1 V"',
        r"level is a voltage \(V\), and i\(v1\) is a curre",
    ),
    ("V", 'kind = "at"\nof = "v(b)"\nat = ["1 us", "1 V"]', r"at is a voltage \(V\), and .*coordinate is a time"),
    ("V", 'kind = "max"\nof = "v(b)"\nstop = "1 MHz"', r"stop is a frequency \(Hz\), and .*coordinate is a time"),
]


@pytest.mark.parametrize(("unit", "keys", "says"), TRAN_WRONG)
def test_dimensions_follow_through_time_products_and_sums(tmp_path: Path, unit: str, keys: str, says: str) -> None:
    path = tmp_path / "b.toml"
    path.write_text(TRAN + measures(unit, keys))
    with pytest.raises(UnitError, match=rf"b\.toml:\d+: .*{says}"):
        Testbench.load(path)


@pytest.mark.parametrize(
    ("circuit", "change", "says"),
    [
        (
            "V1 a 0 {stimulus.x}\nR1 a 0 1k",
            '"1 mA"',
            r"b\.toml:8: .*points is a current \(A\), and V1 is a volt",
        ),
        (
            "I1 0 a {stimulus.x}\nR1 a 0 1k",
            '"1 V"',
            r"b\.toml:8: .*points is a voltage \(V\), and I1 is a curr",
        ),
    ],
)
def test_a_stimulus_of_the_other_kind_of_source_is_refused(
    tmp_path: Path, circuit: str, change: str, says: str
) -> None:
    path = tmp_path / "b.toml"
    path.write_text(
        f'title = "b"\ncircuit = """\n{circuit}\n"""\n[stimuli.x]\nkind = "pwl"\n'
        f'points = [["0 s", 0], ["1 us", {change}]]\n[analysis]\nkind = "tran"\nstimulus = "x"\nmax_step = "10 ns"\n'
    )
    with pytest.raises(UnitError, match=says):
        Testbench.load(path)
    other = {'"1 mA"': '"1 V"', '"1 V"': '"1 mA"'}[change]
    path.write_text(path.read_text().replace(change, other))
    assert Testbench.load(path).file.stimuli["x"].duration() == 1e-6


def test_a_sweep_in_the_unit_of_another_source_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "b.toml"
    path.write_text(BENCH.replace('kind = "op"', 'kind = "dc"\nsource = "v1"\nstart = 0\nstop = "1 A"\nstep = "0.1 V"'))
    with pytest.raises(UnitError, match=r"b\.toml:21: .*stop is a current \(A\), and v1 is a voltage \(V\)"):
        Testbench.load(path)


@pytest.mark.spice
def test_a_unit_that_cannot_be_verified_is_taken_and_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path, "nm", 'kind = "final"\nof = "v(x1.q)"')
    assert main(["run", str(path)]) == 0
    said = capsys.readouterr()
    assert "1e+09 nm" in said.out
    assert "measure 'm': " in said.err
    assert "'nm' is taken as it is written, and not verified" in said.err
    assert main(["run", str(write(tmp_path, "mV", 'kind = "final"\nof = "v(x1.q)"'))]) == 0
    assert "verified" not in capsys.readouterr().err


@pytest.mark.parametrize("name", ["1t1h1m_phases", "stc_consolidation", "vdsp_update"])
def test_states_and_thermal_nodes_have_their_own_dimension(name: str, tmp_path: Path) -> None:
    unit, wrong = {"1t1h1m_phases": ("K", "A"), "stc_consolidation": ("V/s", "V"), "vdsp_update": ("J", "K")}[name]
    text = Testbench.load(name).source.read_text(encoding="utf-8").partition("[limits]")[0]
    text = text.replace(f'unit = "{unit}"', f'unit = "{wrong}"')
    path = tmp_path / "b.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UnitError, match=r"b\.toml:\d+: measure"):
        Testbench.load(path)


@pytest.mark.spice
def test_a_campaign_stores_si_and_gives_the_unit_everywhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, "mA", RIGHT["mA"][0], limits='[limits]\nm = { min = "-1.5 mA" }\n')
    (tmp_path / "p.toml").write_text('bench = "b.toml"\n[grid]\nparameters.v0 = ["1 V", "2 V"]\n')
    folder = str(tmp_path / "p.campaign")
    main(["campaign", "run", str(tmp_path / "p.toml"), "--no-cache", "--workers", "0", "--into", folder])
    assert "-2 mA" in capsys.readouterr().out

    main(["campaign", "show", folder, "--json"])
    points = json.loads(capsys.readouterr().out)["points"]
    assert [point["measures"]["m"]["mean"] for point in points] == pytest.approx([-1.0, -2.0], rel=1e-6)
    assert {point["measures"]["m"]["unit"] for point in points} == {"mA"}

    main(["campaign", "show", folder, "--case", "1"])
    said = capsys.readouterr().out
    assert "-2 mA" in said
    assert "min -1.5 mA" in said
    main(["campaign", "show", folder, "--case", "1", "--json"])
    row = json.loads(capsys.readouterr().out)
    assert (row["units"]["m"], row["measures"]["m"]) == ("A", [pytest.approx(-2e-3, rel=1e-6)])

    main(["campaign", "export", folder, "--to", str(tmp_path / "t.csv")])
    with (tmp_path / "t.csv").open(encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file))
    assert [float(entry["m (mA)"]) for entry in table] == pytest.approx([-1.0, -2.0], rel=1e-6)
    assert [entry["limit:m"] for entry in table] == ["pass", "fail"]

    main(["campaign", "export", folder, "--to", str(tmp_path / "t.nc")])
    import xarray

    with xarray.open_dataset(tmp_path / "t.nc", engine="scipy") as data:
        assert data["m"].attrs["units"] == "mA"
        np.testing.assert_allclose(data["m"].values, [-1.0, -2.0], rtol=1e-6)
    from cosim.campaign.campaign import Campaign
    from cosim.campaign.results import frame, groups

    with Campaign.open(folder) as campaign:
        found = frame(campaign)
        assert found.attrs["units"]["m"] == "mA"
        np.testing.assert_allclose(found["m"], [-1.0, -2.0], rtol=1e-6)
        one = groups(campaign)[0].measures["m"]
        assert (one.unit, one.low) == ("A", pytest.approx(-1.5e-3))


@pytest.mark.spice
def test_validate_prints_limits_and_values_in_the_unit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path, "mA", RIGHT["mA"][0], limits='[limits]\nm = { min = "-1500 uA" }\n')
    junit, html = tmp_path / "j.xml", tmp_path / "r.html"
    assert main(["validate", str(path), "--json", "--junit", str(junit), "--html", str(html)]) == 1
    now = json.loads(capsys.readouterr().out)
    spec = now["benches"][0]["specs"][0]
    assert [spec[key] for key in ("unit", "low", "smallest", "largest")] == [
        "mA", pytest.approx(-1.5), pytest.approx(-2.0, rel=1e-6), pytest.approx(-2.0, rel=1e-6)
    ]  # fmt: skip
    for text in (junit.read_text(encoding="utf-8"), html.read_text(encoding="utf-8")):
        assert "-2 mA" in text
        assert "-1.5 mA" in text

    def changes(baseline: Any) -> list[str]:
        (tmp_path / "before.json").write_text(json.dumps(baseline))
        main(["validate", str(path), "--json", "--baseline", str(tmp_path / "before.json")])
        return json.loads(capsys.readouterr().out).get("changes", [])

    assert changes(now) == []
    # from before limits and values were in the unit: SI, whatever it says
    old = json.loads(json.dumps(now))
    del old["format"]
    old["benches"][0]["specs"][0] |= {"low": -1.5e-3, "smallest": -2e-3, "largest": -2e-3}
    assert changes(old) == []
    # a bench that was in another unit then
    old = json.loads(json.dumps(now))
    old["benches"][0]["specs"][0] |= {"unit": "uA", "low": -1500.0, "smallest": -2000.0, "largest": -2000.0}
    assert changes(old) == []
    old["benches"][0]["specs"][0]["smallest"] = -1000.0
    assert changes(old) == ["b/nominal/m: smallest was -1 mA, is -2 mA"]


@pytest.mark.spice
def test_axes_and_limit_lines_are_in_the_unit(tmp_path: Path) -> None:
    from cosim.report.measure_figures import measure_figure

    path = write(tmp_path, "uA", RIGHT["uA"][0], limits='[limits]\nm = { max = "1 mA" }\n')
    text = path.read_text(encoding="utf-8").replace('kind = "op"', 'kind = "op"\nsweep = { v0 = SWEPT }')
    for scale in (1.0, 0.0):  # values that are all zero tell no scale
        path.write_text(text.replace("SWEPT", f'["{scale} V", "{2 * scale} V"]'), encoding="utf-8")
        figure = measure_figure(Testbench.load(path).run())
        assert figure is not None
        panel = next(panel for panel in figure.axes if panel.get_ylabel() == "m (uA)")
        np.testing.assert_allclose(panel.lines[0].get_ydata(), [-1000.0 * scale, -2000.0 * scale], rtol=1e-6, atol=1e-9)
        assert panel.lines[-1].get_ydata()[0] == pytest.approx(1000.0)


SHOWN = [
    (-1e-3, "mA", "-1 mA"), (2e-7, "us", "0.2 us"), (3.0, "V/ms", "0.003 V/ms"), (0.05, "%", "5 %"),
    (250.0, "1/ms", "0.25 1/ms"), (2e-6, "µS", "2 µS"), (1e-6, "mm²", "1 mm²"), (1e-6, "m^2", "1e-06 m^2"),
    (120.0, "min", "2 min"), (1.602176634e-19, "eV", "1 eV"), (2e9, "MΩ", "2000 MΩ"), (300.0, "mK", "3e+05 mK"),
    (5.0, "degC", "5 degC"), (1e-4, "uS/um", "0.0001 uS/um"), (0.0, "mA", "0 mA"),
]  # fmt: skip


@pytest.mark.parametrize(("value", "unit", "text"), SHOWN)
def test_no_unit_gets_a_second_prefix(value: float, unit: str, text: str) -> None:
    assert units.show(value, unit) == text


@pytest.mark.parametrize(
    ("unit", "si"),
    [("mA", "A"), ("%", "1"), ("V/ms", "V/s"), ("1/ms", "Hz"), ("kΩ", "Ohm"), ("A/mV^2", "A/V^2"), ("min", "s"),
     ("eV", "J"), ("mm²", "m^2"), ("", "1"), ("1/V", "1/V")],
)  # fmt: skip
def test_the_si_unit_has_the_same_dimension_and_no_scale(unit: str, si: str) -> None:
    assert units.si_unit(unit) == si
    assert units.dimension(si) == (1.0, units.dimension(unit)[1])
    assert units.in_unit(units.dimension(unit)[0], unit) == pytest.approx(1.0)


def test_a_divisor_is_a_name_or_a_quantity(tmp_path: Path) -> None:
    path = write(tmp_path, "kOhm", 'kind = "quotient"\nof = "vb"\nby = "1 fortnight"')
    with pytest.raises(InputError, match=r"b\.toml:\d+: .*'fortnight' is not a unit"):
        Testbench.load(path)
