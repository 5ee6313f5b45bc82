"""Recordings: named columns with unit, role and groups, as a Dataset and back."""

from pathlib import Path

import numpy as np
import pytest

from cosim.data.readers import read_curve
from cosim.data.recording import Recording
from cosim.data.spec import DataSpec
from cosim.errors import DataError, UnknownName

TEXT = "chip,V (V),I (uA)\nA1,0,0\nA1,0.1,10\nB7,0,0\nB7,0.1,12\nB7,0.2,24\n"


def read(tmp_path: Path, **changes: object) -> Recording:
    (tmp_path / "iv.csv").write_text(TEXT)
    columns = {"voltage": {"name": "V"}, "current": {"name": "I"}}
    spec = {"kind": "i-v", "columns": columns, "groups": {"device": "chip"}, **changes}
    return read_curve(tmp_path / "iv.csv", DataSpec.model_validate(spec))


def test_a_file_of_several_devices_becomes_one_recording_each(tmp_path: Path) -> None:
    parts = read(tmp_path).parts()
    assert [labels for labels, _ in parts] == [{"device": "A1"}, {"device": "B7"}]
    np.testing.assert_allclose(parts[1][1]["current"], [0.0, 12e-6, 24e-6])
    assert parts[1][1].lines == (4, 5, 6)


def test_without_groups_a_recording_is_one_part(tmp_path: Path) -> None:
    whole = read(tmp_path, groups={})
    ((labels, part),) = whole.parts()
    assert labels == {}
    assert len(part) == 5


def test_the_dataset_says_units_roles_and_groups_and_comes_back(tmp_path: Path) -> None:
    found = read(tmp_path)
    assert found.data["voltage"].attrs == {"units": "V", "role": "applied"}
    assert found.data["current"].attrs == {"units": "A", "role": "measured"}
    assert found.data["device"].values.tolist() == ["A1", "A1", "B7", "B7", "B7"]
    again = Recording.of(found.data)
    assert again.kind == "i-v"
    assert again.groups == found.groups
    assert again.units == found.units
    np.testing.assert_array_equal(again.measured, found.measured)


def test_its_columns_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="read-only"):
        read(tmp_path)["current"][0] = 1.0


def test_a_group_has_a_label_per_row() -> None:
    with pytest.raises(DataError, match="differ in length"):
        Recording.i_v([0.0, 1.0], [0.0, 1.0]).with_(groups={"device": ("a",)})


def test_an_unknown_group_column_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="wafer"):
        read(tmp_path, groups={"device": "wafer"})
