"""A bench of transistors takes a device's numbers from its set, and limits say where they are from."""

from pathlib import Path

import pytest

from cosim.bench.testbench import Testbench
from cosim.errors import InputError

BENCH = """title = "t"
circuit = "I1 0 a {{device.{name}.{key}}}\\nR1 a 0 1k"
[devices.synapse]
parameters = "stc_synapse:{chosen}"
[analysis]
kind = "op"
[measures.m]
kind = "final"
of = "v(a)"
unit = "V"
"""


def written(folder: Path, **given: str) -> Testbench:
    path = folder / "b.toml"
    path.write_text(BENCH.format(**{"name": "synapse", "key": "i_th_p", "chosen": "published", **given}))
    return Testbench.load(path)


@pytest.mark.parametrize(("chosen", "value"), [("published", 62e-12), ("listing_a", 30e-12)])
def test_a_circuit_has_the_number_of_the_set(chosen: str, value: float, tmp_path: Path) -> None:
    bench = written(tmp_path, chosen=chosen)
    assert f"I1 0 a {value!r}" in bench.deck().text
    assert "I1 0 a 7e-11" in bench.with_(values={"synapse": {"i_th_p": 7e-11}}).deck().text


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"name": "neuron"}, "unknown device"),
        ({"key": "i_thp"}, "unknown parameter"),
        ({"key": "h0.x"}, "unknown parameter"),
    ],
)
def test_a_name_that_is_not_there_is_said(given: dict[str, str], says: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=says):
        written(tmp_path, **given).deck()


SHIPPED = sorted(path.stem for path in (Path(__file__).parents[2] / "netlists").glob("stc_*.toml"))


@pytest.mark.parametrize("name", SHIPPED)
def test_every_limit_of_the_synapse_says_where_it_is_from(name: str) -> None:
    bench = Testbench.load(name)
    assert bench.file.limits
    assert all(limit.origin and limit.reason for limit in bench.file.limits.values())


def test_total_weight_needs_the_recovery_alone(tmp_path: Path) -> None:
    """Fig. 11: the acceleration is the recovery current's; tau_z stays what it is."""
    bench = Testbench.load("stc_consolidation")
    for point in bench.points("eight"):
        text = bench.deck("eight", point=point).text
        assert "tau_z=11.25" in text
        assert f"acceleration={point['acceleration']!r}" in text
