"""What a fit writes and why: sets on a condition, units that are misread, recipes that carry their data."""

from __future__ import annotations

import json

import numpy as np
import pytest

from cosim.cli.app import main
from cosim.data.recording import Curve
from cosim.devices.registry import device
from cosim.fitting.forward import forward_for
from cosim.parameters import CAUTION, ParameterSet


def rng(stream):
    return np.random.default_rng([311, stream])


def triode(*, wave=0.0, noise=1e-4, n=80, stream=0):
    """Voltage and current of an access transistor with a ``wave`` in it that its law does not have; of the range."""
    v = np.linspace(-0.5, 2.0, n)
    model = device("access_transistor")
    values = model.values({"g_on": 2e-3, "v_sat": 1.6, "v_c": 3.0})
    i = forward_for(model, Curve.i_v(v, 0.0 * v), np.ones(n, dtype=bool)).predict(values)
    span = np.ptp(i)
    return v, i + span * (wave * np.sin(9.0 * v) + noise * rng(stream).standard_normal(n))


def table(head, *columns):
    return head + "\n" + "\n".join(",".join(f"{value:.9g}" for value in row) for row in zip(*columns, strict=True))


# the wave's size, over the range -> whether a set is written, and the words on it
CONDITIONS = {
    "the law holds": (0.0, True, ""),
    "the law leaves little, and that is not noise": (
        3e-4,
        True,
        "no parameter is identifiable unless the law is right",
    ),
    "the law does not hold": (0.03, False, "would be if the model described what was measured"),
}


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("name", CONDITIONS)
def test_a_set_needs_a_parameter_that_is_identifiable(name, together, tmp_path, capsys):
    wave, written, words = CONDITIONS[name]
    files = [tmp_path / f"{k}.csv" for k in range(1 + together)]
    for k, file in enumerate(files):
        file.write_text(table("V,I", *triode(wave=wave, noise=1e-5 if 0.0 < wave < 0.01 else 1e-3, stream=k)))
    out = tmp_path / "set.toml"
    asked = ["fit", "access_transistor", *map(str, files), *(["--together"] if together else []), "-o", str(out)]
    assert main(asked) == (0 if written else 1)
    said = capsys.readouterr()
    assert words in said.err
    assert out.exists() == written
    if not words:
        assert "identifiable unless" not in said.err
    elif written:
        assert any(note.startswith(CAUTION) and "0 of 3" in note for note in ParameterSet.load(out).notes)
    else:
        assert main([*asked, "--undetermined"]) == 0
        assert out.exists()


MISREAD = {"XA": "A", "ua": "uA", "MA ": None, "mean": None, "rms": None, "QV": "V"}


@pytest.mark.parametrize("unit", MISREAD)
def test_a_unit_that_is_unknown_is_not_called_missing(unit, tmp_path, capsys):
    data, meant = tmp_path / "a.csv", MISREAD[unit]
    data.write_text(table(f"V (V),I ({unit})", *triode()))
    main(["fit", "--auto", str(data)])
    auto = capsys.readouterr().out
    said = f"unknown unit {unit!r} in column 2 ('I ({unit})')"
    assert (f"{said}: did you mean {meant}?" in auto) == (meant is not None)
    recipe = tmp_path / "a.toml"
    text = 'name = "a"\ndevice = "access_transistor"\n[data]\nkind = "i-v"\nfile = "a.csv"\n'
    text += "columns.voltage = {{ name = 1 }}\ncolumns.current = {{ name = 2{} }}\n[fit]\nvary = ['g_on']\n"
    recipe.write_text(text.format(""))
    if meant:
        assert main(["fit", str(recipe)]) == 2
        assert f"{said}; did you mean {meant}?" in capsys.readouterr().err
        recipe.write_text(text.format(', unit = "mA"'))  # not what the header is likely to mean
        assert main(["fit", str(recipe)]) == 2
        assert said in capsys.readouterr().err


def test_a_recipe_of_auto_reads_its_data_without_leave(tmp_path, monkeypatch):
    """Also of two files of one name, of which neither result replaces the other."""
    for k, folder in enumerate(("one", "two")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.csv").write_text(table("V (V),I (A)", *triode(noise=1e-3, stream=20 + k)))
    out = tmp_path / "out"
    assert main(["fit", "--auto", str(tmp_path / "one"), str(tmp_path / "two"), "-o", str(out)]) == 0
    made = [json.loads((out / f"{name}.json").read_text()) for name in ("x", "x_2")]
    assert made[0]["parameters"] != made[1]["parameters"]
    monkeypatch.chdir(tmp_path / "one")
    for name in ("x", "x_2"):
        assert main(["fit", str(out / f"{name}_recipe.toml")]) == 0
    inside = tmp_path / "one" / "x.toml"
    assert main(["fit", "--auto", str(tmp_path / "one" / "x.csv"), "-o", str(inside)]) == 0
    assert not (tmp_path / "one" / "x_data.csv").exists()  # its data lie beside it already
    assert main(["fit", str(tmp_path / "one" / "x_recipe.toml")]) == 0
