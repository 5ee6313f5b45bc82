"""Exports of strangers' files: no name becomes code, and no folder is run or written that is not cosim's."""

from __future__ import annotations

import ast
import hashlib
import json
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest

import cosim
from claims.exports import REFUSED, pairs, require_expected
from claims.exports_subjects import SUBJECTS
from cosim import resources
from cosim.devices.maps import Field
from cosim.emit.ngspice import subcircuit
from cosim.emit.veriloga import module
from cosim.errors import EmitError, InputError
from cosim.export import golden, pulses
from cosim.export.names import TARGETS
from cosim.export.write import checked, export_surrogate
from cosim.parameters import ParameterSet
from cosim.surrogate import kinds, model, named
from cosim.surrogate.circuit import CIRCUIT, CircuitSet
from cosim.surrogate.files import read_npz, write_npz
from cosim.surrogate.learned import fit
from cosim.surrogate.named import one_line

HOSTILE = (
    'x"""\nopen("pwned", "w").write("yes")\n"""',
    "x\n.control\nshell touch pwned\n.endc\n*",
    "x\r.control",
    "x\u2028shell touch pwned",
    "x'",
    "x\\",
    "x`y",
    "",
)


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(golden, "POOL", 50)


def plain(name: str = "tio2") -> cosim.Surrogate:
    return cosim.Surrogate(ParameterSet.load(name))


def statements(folder: Path) -> dict[str, list[str]]:
    """The statements of each file of Python, what docstrings say left out."""
    found = {}
    for path in folder.glob("*.py"):
        found[path.name] = [ast.dump(node) for node in ast.parse(path.read_text()).body[1:]]
    return found


@pytest.mark.parametrize("hostile", HOSTILE)
def test_a_hostile_name_is_refused_from_python(hostile: str) -> None:
    with pytest.raises(InputError, match=r"name of the parameter set .* holds characters") as caught:
        cosim.Surrogate(replace(ParameterSet.load("tio2"), name=hostile))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("hostile", HOSTILE[:3])
def test_a_hostile_name_does_not_get_into_an_export(
    hostile: str, target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as unchecked:  # made by whoever knows a way around the first check
        unchecked.setattr(model, "require_plain", lambda surrogate: None)
        surrogate = cosim.Surrogate(replace(ParameterSet.load("tio2"), name=hostile))
    with pytest.raises(InputError, match="could become code in an export"):
        export_surrogate(surrogate, target, tmp_path / "out", uncertified=True, events=2)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("target", [name for name in TARGETS if name not in ("nest", "nir")])  # which take no such cell
def test_harmless_names_of_all_signs_change_no_statement(target: str, tmp_path: Path) -> None:
    odd = replace(ParameterSet.load("tio2"), name="cell 2.1+heat-b (T=300, 5%): a/b é")
    for name, surrogate in (("plain", plain()), ("odd", cosim.Surrogate(odd))):
        export_surrogate(surrogate, target, tmp_path / name, uncertified=True, events=2)
    assert statements(tmp_path / "odd") == statements(tmp_path / "plain")
    for path in (tmp_path / "odd").iterdir():
        if path.suffix in {".lib", ".va", ".cir"}:
            assert not [line for line in path.read_text().splitlines() if line.startswith((".control", "shell"))]


def rewritten(path: Path, change: Any) -> None:
    """The file with another document, whose digest is right."""
    stored = read_npz(path, kind="surrogate file")
    document = json.loads(stored["document"].tobytes())
    change(document["body"])
    text = json.dumps(document).encode()
    digest = np.frombuffer(hashlib.sha256(text).digest(), dtype=np.uint8)
    write_npz(path, {**stored, "document": np.frombuffer(text, dtype=np.uint8), "digest": digest})


@pytest.mark.parametrize("hostile", HOSTILE)
def test_a_hostile_name_in_a_file_is_refused(hostile: str, tmp_path: Path) -> None:
    path = cosim.save_surrogate(plain(), tmp_path / "cell.npz")
    rewritten(path, lambda body: body["parameters"].update(name=hostile))
    with pytest.raises(InputError, match=r"cell\.npz: the name of the parameter set .* holds characters"):
        cosim.load_surrogate(path)


@pytest.mark.parametrize("hostile", HOSTILE[:-1])
@pytest.mark.parametrize("where", ["name", "event", "fixed", "input", "unit"])
def test_hostile_names_of_a_circuit_in_a_file_are_refused(where: str, hostile: str, tmp_path: Path) -> None:
    def change(body: dict[str, Any]) -> None:
        circuit = body["circuit"]
        if where == "fixed":
            circuit["fixed"] = {hostile: 1.0}
        elif where == "input":
            circuit["inputs"][hostile] = ["V", 0.0, 1.0]
        elif where == "unit":
            circuit["inputs"]["v"][0] = hostile
        else:
            circuit[where] = hostile

    rng = np.random.default_rng(0)
    w, v = rng.uniform(0.0, 1.0, (2, 200))
    chosen = CircuitSet(
        CIRCUIT, "rc", MappingProxyType({}), inputs={"v": Field("V", (0.0, 1.0))}, states={"w": Field("1", (0.0, 1.0))},
        event="charge",
    )  # fmt: skip
    law = fit({"w": w, "v": v}, {"w": 0.1 * v}, scales={"w": 1.0}, rng=rng, kinds=["polynomial"]).law
    path = cosim.save_surrogate(cosim.Surrogate(chosen, learned=law), tmp_path / "rc.npz")
    assert cosim.load_surrogate(path).name == "charge"
    rewritten(path, change)
    with pytest.raises(InputError, match=r"rc\.npz: the (name of the|unit) .* holds characters"):
        cosim.load_surrogate(path)


def test_shipped_sets_have_plain_names_and_units() -> None:
    for (device, name), entry in cosim.parameters.shipped_sets().items():
        assert named.NAME.fullmatch(name)
        assert all(named.UNIT.fullmatch(param.unit) for param in cosim.devices.registry.device(device).params)
        assert all(named.NAME.fullmatch(param) for param in entry.values)


def test_free_text_stays_on_one_line() -> None:
    assert one_line('a """\n.control\u2028\\b\x85c') == "a ''' .control /b c"

    class Odd(type(cosim.devices.registry.device("threshold_memristor"))):  # type: ignore[misc]
        title = "x\n.control\nshell touch pwned"
        source = "y\n.control"

    for text in (subcircuit(Odd()), module(Odd())):
        assert not [line for line in text.splitlines() if line.startswith((".control", "shell"))]


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    """An export to numpy."""
    return export_surrogate(plain(), "numpy", tmp_path / "out", uncertified=True, events=2).folder


@pytest.mark.parametrize("name", ["check.py", "loader.py", "golden.json", "surrogate.npz"])
def test_a_changed_file_is_not_run(name: str, exported: Path, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    with (exported / name).open("ab") as file:
        file.write(f"\nimport pathlib; pathlib.Path({str(ran)!r}).touch()\n".encode())
    with pytest.raises(InputError, match=rf"{name} has changed since it was exported, and nothing was run"):
        checked(exported)
    (exported / name).unlink()
    with pytest.raises(InputError, match=f"lacks {name}"):
        checked(exported)
    assert not ran.exists()


def test_what_else_lies_in_the_folder_is_not_run(exported: Path, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    for name in ("numpy.py", "sitecustomize.py", "warnings.py"):
        (exported / name).write_text(f"import pathlib; pathlib.Path({str(ran)!r}).touch()\n")
    assert max(checked(exported)["difference"].values()) < 1e-12
    assert not ran.exists()


def test_an_export_leaves_nothing_of_an_older_one(exported: Path) -> None:
    (exported / "notes.txt").write_text("mine")
    made = export_surrogate(plain(), "spice", exported, uncertified=True, events=2)
    assert {path.name for path in exported.iterdir()} == {*made.files, "notes.txt"}
    assert not list(exported.glob("*.py"))


@pytest.mark.parametrize(
    "text",
    [
        "mine", "[]", "{}", '{"format": "cosim export", "version": 1}',
        '{"format": "another", "version": 1, "files": {"check.py": "0"}}',
        '{"format": "cosim export", "version": 1, "files": ["check.py"]}',
        '{"format": "cosim export", "version": 1, "files": {"../check.py": "0"}}',
        '{"format": "cosim export", "version": 1, "files": {"..": "0"}}',
    ],
)  # fmt: skip
def test_a_foreign_folder_is_left_as_it_is(text: str, tmp_path: Path) -> None:
    folder = tmp_path / "own"
    folder.mkdir()
    for path in (folder / "check.py", tmp_path / "check.py"):
        path.write_text("mine")
    (folder / "export.json").write_text(text)
    with pytest.raises(InputError, match=r"export\.json is not the description of an export by this cosim"):
        export_surrogate(plain(), "numpy", folder, uncertified=True, events=2)
    with pytest.raises(InputError, match=r"export\.json is not the description"):
        checked(folder)
    assert {path.name for path in folder.iterdir()} == {"check.py", "export.json"}
    assert (folder / "check.py").read_text() == (tmp_path / "check.py").read_text() == "mine"
    assert (folder / "export.json").read_text() == text


def tried() -> set[tuple[str, str]]:
    """Each target with each subject that the claim tries in it."""
    return {(target, subject.name) for target, subject in pairs()}


def test_what_imports_and_what_is_refused_is_what_the_claim_pins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(golden, "SHORT", 2)
    monkeypatch.setattr(golden, "TRAIN", 2)
    monkeypatch.setattr(pulses, "CANDIDATES", 201)
    monkeypatch.setattr(kinds, "TREES", 5)
    surrogates = {subject.name: subject.plain() for subject in SUBJECTS}
    refused = {}
    for target, subject in tried():
        try:
            export_surrogate(surrogates[subject], target, tmp_path / target / subject, uncertified=True, events=1)
        except (InputError, EmitError) as error:
            refused[target, subject] = str(error)
    require_expected(tried() - refused.keys(), refused)


def test_the_record_is_of_the_pairs_that_the_claim_pins() -> None:
    figures = json.loads((resources.folder("fits") / "results" / "exports.json").read_text())["figures"]
    refused = {(entry["target"], entry["subject"]): entry["why"] for entry in figures["refused"]}
    require_expected({(row["target"], row["subject"]) for row in figures["rows"]}, refused)
    # as its help says; a neuron's law is called by Python, whatever the code target
    synapses = [row for row in figures["rows"] if row["target"] == "brian2" and row["subject"] != "lif neuron"]
    assert {row.get("code") for row in synapses} == {"numpy"}


def test_the_claim_fails_where_a_pair_is_missing_new_or_refused_for_another_reason() -> None:
    imported, refused = tried() - REFUSED.keys(), dict(REFUSED)
    require_expected(imported, refused)
    first, barred = ("numpy", "tio2 threshold_memristor pulse"), next(iter(REFUSED))
    for wrong in (
        (imported - {first}, refused),
        (imported - {first}, {**refused, first: "something"}),
        (imported | {barred}, {pair: why for pair, why in refused.items() if pair != barred}),
        (imported | {("matlab", "x")}, refused),
        (imported, {**refused, barred: "another reason"}),
    ):
        with pytest.raises(InputError, match=r" (is imported|is refused because .*), and was "):
            require_expected(*wrong)
