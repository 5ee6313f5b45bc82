"""Messages, tables and pages say what they mean: word order, units, origins of limits, how much of a file was read."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import numpy as np
import pytest

from cosim import resources, units
from cosim.bench.testbench import Testbench
from cosim.cli.app import main
from cosim.data.readers import read_columns
from cosim.data.spec import DataSpec
from cosim.errors import InputError, UnitError, UnknownName
from cosim.heat.stack import Stack

CHIPS = """name = "chips"
device = "access_transistor"
[[observations]]
name = "chips"
kind = "i-v"
file = "chips.csv"
groups.device = "chip"
columns.voltage = { name = "U", unit = "V" }
columns.current = { name = "I", unit = "A" }
[parameters.g_on]
scope = "own"
"""
NAMES: dict[str, tuple[str, str]] = {
    "a noun": ("vector", "unknown vector 'r_onn'; did you mean r_on?"),
    "in a place": ("key in bench", "unknown key 'r_onn' in bench; did you mean r_on?"),
    "of two": (
        "parameter of device 'memristor' of bench i",
        "unknown parameter 'r_onn' of device 'memristor' of bench i; did you mean r_on?",
    ),
    "with something": ("device with parameter sets", "unknown device 'r_onn' with parameter sets; did you mean r_on?"),
    "a choice": ("measure or swept parameter", "unknown measure or swept parameter 'r_onn'; did you mean r_on?"),
    "a remark": (
        "correlated parameter (it does not vary)",
        "unknown correlated parameter 'r_onn' (it does not vary); did you mean r_on?",
    ),
}


@pytest.mark.parametrize("kind", NAMES)
def test_the_unknown_name_stands_behind_its_noun(kind: str) -> None:
    noun, said = NAMES[kind]
    assert str(UnknownName(noun, "r_onn", ["r_on", "w"])) == said


@pytest.mark.parametrize("unit", ["", "1", "%"])
def test_a_plain_number_with_a_unit_is_refused_in_plain_words(unit: str) -> None:
    with pytest.raises(UnitError) as error:
        units.parse("3 mW", unit)
    assert str(error.value) == "'3 mW' has a unit, and this is a plain number; write it without a unit"


def test_columns_of_another_kind_name_it(tmp_path: Path) -> None:
    path = tmp_path / "loop.csv"
    path.write_text("t,U,I\n0,0,0\n1,1,1e-3\n")
    columns = {name: {"name": column, "unit": unit} for name, column, unit in
               (("time", "t", "s"), ("voltage", "U", "V"), ("current", "I", "A"))}  # fmt: skip
    spec = DataSpec.model_validate({"kind": "i-v", "file": str(path), "columns": columns})
    with pytest.raises(InputError, match=r"kind 'i-v' has no column 'time'; with these columns write kind = \"loop\""):
        read_columns(path, spec)


LENGTHS = ("feature", "pitch", "oxide", "top", "bottom", "shared", "rod_radius", "filament_radius", "substrate",
           "margin", "cap")  # fmt: skip


@pytest.mark.parametrize("name", LENGTHS)
def test_a_length_without_its_unit_is_refused_before_the_grid_is_made(name: str) -> None:
    with pytest.raises(InputError, match=rf'^{name} = 60 m .*in metres.*"60 nm"$'):
        Stack(**{name: 60.0})  # type: ignore[arg-type]
    assert Stack.baseline(60e-9).feature == 60e-9


@pytest.mark.parametrize("name", ["benches.md", "recipes.md", "campaigns.md"])
def test_a_default_in_the_reference_is_what_a_file_may_say(name: str) -> None:
    page = (Path(__file__).parents[2] / "docs" / name).read_text(encoding="utf-8")
    rows = [[cell.strip() for cell in row.split("|")[1:-1]] for row in page.splitlines() if row.startswith("| `")]
    said = [row[3] for row in rows if len(row) == 5 and row[3].startswith("`")]
    assert said
    for default in said:
        tomllib.loads(f"key = {default.strip('`')}")


def test_each_group_of_a_file_says_how_many_rows_it_took(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    v = np.linspace(-0.5, 0.5, 30)
    rows = [
        f"{chip},{x:.17g},{k * 1e-4 * x:.17g}" for k, chip in enumerate(("A", "B", "C"), 1) for x in v[: 30 - 5 * k]
    ]
    (tmp_path / "chips.csv").write_text("\n".join(["chip,U,I", *rows]) + "\n")
    (tmp_path / "r.toml").write_text(CHIPS)
    main(["fit", str(tmp_path / "r.toml"), "-o", str(tmp_path / "o.toml")])
    printed = capsys.readouterr().out
    for chip, said in (("A", "25 of 60 rows, lines 2–26"), ("B", "20 of 60 rows, lines 27–46"), ("C", "15 of 60 rows")):
        assert f"chips/{chip}: {said}" in printed
    told = json.loads((tmp_path / "o.json").read_text())["observations"]
    assert [entry["reading"]["rows"] for entry in told.values()] == [[25], [20], [15]]
    assert "this curve" not in printed


def shipped() -> list[Path]:
    return resources.listing("netlists", ".toml")


def test_a_bench_whose_limits_are_of_a_source_says_which() -> None:
    missing = [
        path.stem
        for path in shipped()
        if (file := Testbench.load(path).file) and not file.source
        and any(limit.origin == "source" for limit in file.limits.values())
    ]  # fmt: skip
    assert not missing


def test_no_origin_contradicts_its_reason() -> None:
    """A bound that is from a source has no number there of which the reason says that it is ours alone."""
    ours = re.compile(r"which is our choice|is our reading|\(our reading\)|is the engine's tolerance")
    wrong = [
        (path.stem, name)
        for path in shipped()
        for name, limit in Testbench.load(path).file.limits.items()
        if limit.origin == "source" and ours.search(limit.reason)
    ]
    assert not wrong


BENCH = """title = "divider"
source = "Some Journal 1, 2 (1999)"
description = "Two resistors."
circuit = "V1 a 0 2\\nR1 a b 1k\\nR2 b 0 1k\\n"
[analysis]
kind = "op"
[measures.half]
kind = "final"
of = "v(b)"
unit = "V"
[limits]
half = { max = "0.5 V"%s }
"""
ORIGINS = {
    "stated": (', origin = "source", reason = "Table 2: 0.4 V"', "source: Table 2: 0.4 V"),
    "not stated": ("", "not stated"),
}


@pytest.mark.spice
@pytest.mark.parametrize("case", ORIGINS)
def test_a_broken_limit_says_where_it_is_from(
    case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "240")
    extra, said = ORIGINS[case]
    (tmp_path / "b.toml").write_text(BENCH % extra)
    assert main(["run", str(tmp_path / "b.toml")]) == 1
    assert said in capsys.readouterr().out
    page, xml = tmp_path / "p.html", tmp_path / "p.xml"
    assert main(["validate", str(tmp_path / "b.toml"), "--html", str(page), "--junit", str(xml)]) == 1
    printed = capsys.readouterr().out
    assert said in printed
    assert "where the limit is from" in printed
    assert "moves: by how much a second run" in printed
    assert said in xml.read_text()
    for text in (said, "Some Journal 1, 2 (1999)", "Two resistors.", "moves: by how much"):
        assert text in page.read_text(encoding="utf-8")
    main(["run", str(tmp_path / "b.toml"), "--json"])
    assert json.loads(capsys.readouterr().out)["source"] == "Some Journal 1, 2 (1999)"
    main(["validate", str(tmp_path / "b.toml"), "--json"])
    assert json.loads(capsys.readouterr().out)["benches"][0]["source"] == "Some Journal 1, 2 (1999)"


UNREADABLE = {
    "syntax": "title = ",
    "a misspelt limit": BENCH.replace("half = {", "haff = {") % "",
    "an origin without reason": BENCH % ', origin = "source"',
}


@pytest.mark.spice
@pytest.mark.parametrize("case", UNREADABLE)
def test_a_bench_that_cannot_be_read_is_called_so(
    case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "b.toml").write_text(UNREADABLE[case])
    xml = tmp_path / "p.xml"
    assert main(["validate", str(tmp_path / "b.toml"), "--junit", str(xml)]) == 1
    printed = capsys.readouterr().out
    assert "1 unreadable" in printed
    assert "cannot tell" not in printed
    assert "<error" in xml.read_text()
