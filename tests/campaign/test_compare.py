"""Two campaigns compared, row by row, where the rows are made up: what one of them lacks is a difference."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cosim.campaign.campaign import Campaign
from cosim.campaign.cases import Done
from cosim.campaign.finished import Finished
from cosim.campaign.results import Difference, compare
from cosim.campaign.store import Store
from cosim.campaign.work import Job

Row = dict[str, Any]


def row(w0: float, **measures: list[float]) -> Row:
    return {"corner": "nominal", "values": {"w0": w0}, "outcome": "converged", "verdict": "pass", "measures": measures}


def compared(folder: Path, first: list[Row], second: list[Row]) -> Difference:
    stores = []
    for name, rows in (("a", first), ("b", second)):
        store = Store.create(folder / name, plan="", meta={})
        store.add(Finished.of(Done({"number": number, **entry})) for number, entry in enumerate(rows))
        stores.append(store)
    # rows are all that is compared
    a, b = (Campaign(store, None, None, Job("{}", "", "", "")) for store in stores)  # type: ignore[arg-type]
    with a, b:
        return compare(a, b)


@pytest.mark.parametrize(
    ("before", "after"), [({"m": [1.0]}, {}), ({}, {"m": [1.0]}), ({"m": [1.0, 2.0]}, {"m": [1.0]})]
)
def test_a_measure_that_one_of_them_lacks_is_a_difference(
    tmp_path: Path, before: dict[str, list[float]], after: dict[str, list[float]]
) -> None:
    found = compared(tmp_path, [row(0.1), row(0.2, n=[3.0], **before)], [row(0.1), row(0.2, n=[3.0], **after)])
    assert found.uneven == ((1, "m", len(before.get("m", [])), len(after.get("m", []))),)
    assert found.largest == {"n": (0.0, 1)}
    assert not found.same(1.0)


def test_cases_with_the_same_values_are_paired_in_their_order(tmp_path: Path) -> None:
    rows = [row(0.1, m=[1.0]), row(0.1, m=[2.0]), row(0.2, m=[3.0]), row(0.1, m=[4.0])]
    found = compared(tmp_path, rows[:3], rows)
    assert (found.both, found.only_first, found.only_second) == (3, 0, 1)
    assert found.largest == {"m": (0.0, 2)}
    assert not found.same(1.0)


def test_a_value_that_was_zero_counts_by_the_size_of_the_new_one(tmp_path: Path) -> None:
    found = compared(tmp_path, [row(0.1, e=[0.0])], [row(0.1, e=[4e-12])])
    assert found.largest == {"e": (1.0, 0)}


rows = st.lists(
    st.builds(
        lambda w0, m, failed: row(w0, **m) | ({"outcome": "crashed"} if failed else {}),
        st.sampled_from([0.1, 0.2]),
        st.dictionaries(st.sampled_from("mn"), st.lists(st.integers(-9, 9).map(float), min_size=1, max_size=2)),
        st.booleans(),
    ),
    max_size=6,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(first=rows, second=rows)
def test_only_equal_campaigns_are_the_same(
    first: list[Row], second: list[Row], tmp_path_factory: pytest.TempPathFactory
) -> None:
    found = compared(tmp_path_factory.mktemp("pair"), first, second)
    assert found.both + found.only_first == len(first)
    assert found.both + found.only_second == len(second)
    by_value = [{w0: [entry for entry in side if entry["values"]["w0"] == w0] for w0 in (0.1, 0.2)}
                for side in (first, second)]  # fmt: skip
    assert found.same(0.0) == (by_value[0] == by_value[1])
    assert compared(tmp_path_factory.mktemp("itself"), first, first).same(0.0)
