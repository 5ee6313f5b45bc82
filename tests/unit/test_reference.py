"""The reference pages: current, complete, and their examples true."""

from __future__ import annotations

import inspect
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pydantic
import pytest

import reference_pages as reference
from cosim.bench.file import BenchFile
from cosim.bench.testbench import Testbench
from cosim.campaign.plan import Plan
from cosim.cli.app import VERBS, main
from cosim.errors import InputError
from cosim.fitting.joint_recipe import JointRecipe, load_recipe
from cosim.fitting.priors import PriorSpec
from cosim.fitting.recipe import FitRecipe
from cosim.schema import Number, Second, Table, Volt, validate
from cosim.wording import tables, words

DOCS = Path(__file__).resolve().parents[2] / "docs"
ROOTS = {"benches.md": BenchFile, "recipes.md": FitRecipe, "campaigns.md": Plan}


def schemas(root: type[pydantic.BaseModel]) -> Iterator[type[pydantic.BaseModel]]:
    """The schema and all below it, each once."""
    waiting, seen = [root], set()
    while waiting:
        schema = waiting.pop()
        if schema not in seen:
            seen.add(schema)
            yield schema
            waiting += [found for field in schema.model_fields.values() for found in tables(field.annotation)]


@pytest.mark.parametrize("name", reference.PAGES)
def test_the_pages_are_current(name: str) -> None:
    assert (DOCS / name).read_text(encoding="utf-8") == reference.page(DOCS / name), (
        "run: python tools/reference_pages.py"
    )


def test_the_tables_of_networks_are_those_of_the_records() -> None:
    text = (DOCS / "networks.md").read_text(encoding="utf-8")
    assert text == reference.networks(), "run: python tools/reference_pages.py"
    assert sorted(found[2] for found in reference.TABLE.finditer(text)) == sorted(reference.TABLES)
    assert text.count("<!-- end -->") == len(reference.TABLES)


@pytest.mark.parametrize("name", ROOTS)
def test_every_key_of_every_table_is_there(name: str) -> None:
    text = (DOCS / name).read_text(encoding="utf-8")
    for schema in schemas(ROOTS[name]):
        assert reference.summary(schema).splitlines()[0] in text or schema.__name__ == "Op", schema
        for row in reference.rows(schema, without=("kind",)):
            assert f"| `{row[0]}` |" in text, (schema, row)
            assert row[4]
        kinds = schema.model_fields.get("kind")
        for kind in get_args(kinds.annotation) if kinds else ():
            assert f"`{kind}`" in text, kind


def test_no_meaning_outlives_its_key() -> None:
    """What a docstring explains is a key of that class, or of one below it."""
    found = {schema for root in ROOTS.values() for schema in schemas(root)}
    known: dict[type, set[str]] = {}
    for schema in found:
        for cls in schema.__mro__:
            known.setdefault(cls, set()).update(schema.model_fields)
    for cls, keys in known.items():
        if cls.__module__.startswith("cosim."):
            own = reference._arguments(inspect.cleandoc(cls.__doc__ or ""))
            assert set(own) <= keys, cls


def test_a_key_without_a_meaning_is_refused() -> None:
    class Silent(Table):
        """Something.

        Args:
            said: what it is, over
                two lines.
        """

        said: int
        unsaid: int

    assert reference.meanings(Silent) == {"said": "what it is, over two lines."}
    with pytest.raises(InputError, match=r"Silent\.unsaid has no meaning"):
        reference.table(Silent)


@pytest.mark.parametrize(
    ("annotation", "said"),
    [
        (Volt, "quantity in V"),
        (Number, "number"),
        (str, "text"),
        (int | None, "whole number"),
        (tuple[Second, ...], "list of quantities in s"),
        (tuple[Second, Volt], "list of 2: quantity in s, quantity in V"),
        (Number | Volt | Second, "quantity in V or s or number"),
        (dict[str, float], "table of NAME = number"),
        (str | float | None, "text or number"),
    ],
)
def test_types_in_words(annotation: object, said: str) -> None:
    assert words(annotation) == said


def example(name: str, *, of: int = 1, number: int = 0) -> str:
    found = re.findall(r"```toml\n(.*?)```", (DOCS / name).read_text(encoding="utf-8"), re.DOTALL)
    assert len(found) == of
    text: str = found[number]
    return text


@pytest.mark.spice
def test_the_bench_of_the_page_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    validate(BenchFile, tomllib.loads(example("benches.md")))
    (tmp_path / "rc.toml").write_text(example("benches.md"))
    assert main(["run", str(tmp_path / "rc.toml")]) == 0
    assert "pass" in capsys.readouterr().out
    assert main(["run", str(tmp_path / "rc.toml"), "-p", "r=1 MOhm"]) == 1  # the limit can fail


def test_the_recipe_of_the_page_fits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.toml").write_text(example("recipes.md", of=4))
    rows = "".join(f"{v / 10},{10 * v / 10 / (1 + abs(v) / 30):.6g}\n" for v in range(-5, 6))
    (tmp_path / "iv.csv").write_text("Voltage (V),Current (mA)\n" + rows)
    assert main(["fit", str(tmp_path / "mine.toml")]) == 0
    assert "g_on" in capsys.readouterr().out


def test_the_netlist_recipe_of_the_page_is_one(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(example("recipes.md", of=4, number=2))
    recipe = FitRecipe.load(tmp_path / "mine.toml")
    priors = tomllib.loads(example("recipes.md", of=4, number=3))["fit"]["priors"]
    assert recipe.circuit is not None
    bench = Testbench.load(recipe.circuit.bench)
    assert {recipe.circuit.read, recipe.circuit.drive} <= {*bench.file.measures, *bench.file.stimuli}
    assert [PriorSpec.model_validate(given).kind for given in priors.values()] == ["normal", "lognormal"]


@pytest.mark.parametrize("name", reference.PAGES)
def test_commands_of_the_pages_exist(name: str) -> None:
    text = (DOCS / name).read_text(encoding="utf-8").partition(reference.MARK)[0]
    found = re.findall(r"\bcosim (\w+) ", text)
    assert found
    assert set(found) <= set(VERBS)


def test_the_joint_recipe_of_the_page_is_one(tmp_path: Path) -> None:
    (tmp_path / "six.toml").write_text(example("recipes.md", of=4, number=1))
    recipe = load_recipe(tmp_path / "six.toml")
    assert isinstance(recipe, JointRecipe)
    assert [stage.title for stage in recipe.stages] == ["static", "all"]
