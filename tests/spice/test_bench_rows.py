"""An error in a bench's circuit names the bench's file and the line in it, whatever the deck around it looks like."""

from __future__ import annotations

from pathlib import Path

import pytest

from cosim.bench.testbench import Testbench
from cosim.engines.prepare import prepare
from cosim.engines.registry import open_simulator
from cosim.engines.simulator import Outcome
from cosim.errors import CosimError

HEAD = """title = "a bench"
# a comment
"""
CIRCUITS = {
    "block": 'circuit = """\nV1 in 0 {stimulus.steps}\nR1 in out 1k\n\n* a comment\nMISTAKE\nC1 out 0 1n\n"""\n',
    "literal block": "circuit = '''\n\n\nV1 in 0 {stimulus.steps}\nR1 in out 1k\nMISTAKE\nC1 out 0 1n'''\n",
    "block beside its key": 'circuit = """V1 in 0 {stimulus.steps}\nR1 in out 1k\nMISTAKE\nC1 out 0 1n\n"""\n',
    "continued lines": 'circuit = """\nV1 in 0\n+ {stimulus.steps}\nR1 in out\n+ 1k\nC1 out 0 1n\nMISTAKE\n"""\n',
}
REST = """
[parameters]
width = { value = "1 us", unit = "s" }

[stimuli.steps]
kind = "pulses"
amplitudes = ["1 V", "0.5 V", "1 V", "2 V", "1 V"]
shape = { width = "200 ns", rise = "5 ns", fall = "5 ns" }
read_shape = { width = "100 ns", rise = "5 ns", fall = "5 ns" }
read_voltage = "0.2 V"
gap = "50 ns"

[analysis]
kind = "tran"
stop = "2 us"
max_step = "10 ns"

[measures.top]
kind = "max"
of = "v(out)"
unit = "V"
"""
MISTAKES = {
    "a node without a path to ground": "C9 out lost 1n",
    "an unknown subcircuit": "X1 out 0 nothing",
    "a program": ".control\nshell ls\n.endc",
    "a file outside": '.include "/etc/passwd"',
    "an odd character": "R9 out 0 1k €",
}


def bench(folder: Path, circuit: str, mistake: str) -> tuple[Testbench, int]:
    """The bench, and the line of its mistake."""
    text = HEAD + CIRCUITS[circuit].replace("MISTAKE", mistake) + REST
    (folder / "b.toml").write_text(text)
    return Testbench.load(folder / "b.toml"), text[: text.index(mistake)].count("\n") + 1


@pytest.mark.spice
@pytest.mark.parametrize("circuit", CIRCUITS)
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_named_by_its_line_in_the_bench(tmp_path: Path, circuit: str, mistake: str) -> None:
    made, line = bench(tmp_path, circuit, MISTAKES[mistake])
    try:
        simulator = open_simulator()
    except CosimError as error:
        pytest.skip(str(error))
    with simulator:
        result = made.run(simulator).result
    assert result.outcome is Outcome.REFUSED
    assert f"{tmp_path / 'b.toml'}:{line}: " in result.reason


@pytest.mark.parametrize("circuit", CIRCUITS)
def test_every_row_of_the_circuit_is_that_of_the_file(tmp_path: Path, circuit: str) -> None:
    made, line = bench(tmp_path, circuit, "R9 out 0 1k")
    text = (tmp_path / "b.toml").read_text().split("\n")
    prepared = prepare(made.deck())
    names = {}
    for row, place in zip(prepared.text.splitlines(), prepared.places, strict=True):
        if row[0] in "VRC":
            assert place.file == tmp_path / "b.toml"
            assert row.split()[0] in text[place.line - 1]
            names[row.split()[0]] = place.line
        elif row.startswith(".tran"):
            assert text[place.line - 1] == "[analysis]"
        elif row.startswith((".param", ".options", ".save", ".end")):
            assert place.line is None
    assert names["R9"] == line
    assert len(names) == 4


def test_a_circuit_with_escapes_is_named_by_its_key(tmp_path: Path) -> None:
    (tmp_path / "b.toml").write_text(HEAD + 'circuit = "R1 a 0 1k\\nV1 a 0 1\\nQ1 a"\n' + REST)
    deck = Testbench.load(tmp_path / "b.toml").deck()
    assert [row for row in deck.rows if row is not None][:3] == [3, 3, 3]


def test_without_a_file_rows_are_those_of_the_deck(tmp_path: Path) -> None:
    made, _ = bench(tmp_path, "block", "R9 out 0 1k €")
    (tmp_path / "b.toml").rename(tmp_path / "other.toml")
    deck = made.deck()
    assert deck.rows == ()
    with pytest.raises(CosimError, match=r"character '€'") as caught:
        prepare(deck)
    assert deck.text.split("\n")[caught.value.where.line - 1] == "R9 out 0 1k €"
