"""``python tools/reference_pages.py``: writes what follows the mark in the pages of `PAGES`, in ``docs/``.

Every key of a bench, a fit recipe and a plan, from the schema itself: its type, unit and default from the annotations,
its meaning from the ``Args:`` of its class's docstring or of a class above it, or from the docstring where it names the
key in double backticks; what came of exports, from their record. What stands above the mark is written by hand and
kept. In ``docs/networks.md`` the tables of `network_tables.TABLES` are written from their records.
"""

from __future__ import annotations

import inspect
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, get_args

import pydantic
from pydantic.fields import FieldInfo

from cosim import resources, units
from cosim.campaign.plan import CaseLimits, HighSigma, Plan, Range, Sample, WorstCaseSearch
from cosim.errors import InputError
from cosim.files import write_atomic
from cosim.statistics.spread import Correlation, Spread
from cosim.wording import tables, unit_of, words
from network_tables import TABLES

Schema = type[pydantic.BaseModel]
MARK = "<!-- Below this line: written by tools/reference_pages.py from the schema. -->\n"
FOLDER = Path(__file__).resolve().parent.parent / "docs"
TABLE = re.compile(r"(<!-- table: (.+), by tools/reference_pages\.py -->\n)(?:.*\n)*?<!-- end -->\n")
_NOTHING: tuple[Any, ...] = (None, (), {}, "")
_ENTRY = re.compile(r"( {4,})([a-z_][\w, ]*): (.*)")


def meanings(schema: Schema) -> dict[str, str]:
    """Key -> sentence, from the ``Args:`` of ``schema``'s docstring and of the classes above it; the nearest wins."""
    found: dict[str, str] = {}
    for cls in reversed(schema.__mro__):
        if issubclass(cls, pydantic.BaseModel) and cls is not pydantic.BaseModel:
            found |= _arguments(inspect.cleandoc(cls.__doc__ or ""))
    return found


def _arguments(doc: str) -> dict[str, str]:
    found: dict[str, str] = {}
    names: list[str] = []
    inside = False
    for line in doc.splitlines():
        if line.strip() == "Args:":
            inside = True
        elif inside and line and not line.startswith(" "):
            inside = False
        elif inside and (entry := _ENTRY.fullmatch(line)) and len(entry[1]) == 4:
            names = [name.strip() for name in entry[2].split(",")]
            found |= dict.fromkeys(names, entry[3])
        elif inside and line.strip():
            found |= {name: f"{found[name]} {line.strip()}" for name in names}
    return found


def summary(schema: Schema) -> str:
    """The docstring of a schema without its ``Args:``, as Markdown."""
    text = inspect.cleandoc(schema.__doc__ or "").partition("Args:")[0].strip()
    return re.sub(r"``(.+?)``", r"`\1`", re.sub(r"(?<!`)`(\w+)`(?!`)", r"\1", text))


def rows(schema: Schema, *, without: Iterable[str] = ()) -> Iterator[tuple[str, str, str, str, str]]:
    """Key, type, unit, default and meaning of each key; raises `InputError` for one whose meaning nobody wrote."""
    known = meanings(schema)
    for name, field in schema.model_fields.items():
        if name in without or field.exclude:
            continue
        if name not in known and f"``{name}``" in (schema.__doc__ or ""):
            known[name] = "as above"
        if name not in known and name != "kind":
            raise InputError(f"{schema.__name__}.{name} has no meaning", remedy="write it into Args: of its class")
        unit = ", ".join(dict.fromkeys(_units(field.annotation, field.metadata)))
        meaning = "which kind" if name == "kind" and name not in known else re.sub(r"``(.+?)``", r"`\1`", known[name])
        yield name, words(field.annotation, field.metadata), unit, _default(field), meaning


def _units(annotation: Any, metadata: Iterable[Any]) -> Iterator[str]:
    unit = unit_of(annotation, metadata)
    if unit is not None:
        yield unit or "1"
        return
    for arg in get_args(annotation):
        yield from _units(arg, ())


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "**required**"
    value = field.get_default(call_default_factory=True)
    said = "" if value in _NOTHING else _shown(value, field)
    return f"`{said}`" if said not in ("", "{}") else "–"


def _shown(value: Any, field: FieldInfo) -> str:
    """A value as TOML has it."""
    if isinstance(value, pydantic.BaseModel):
        fields = type(value).model_fields
        given = {name: getattr(value, name) for name in fields if getattr(value, name) not in _NOTHING}
        parts = [f"{name} = {_shown(item, fields[name])}" for name, item in given.items()]
        return f"{{ {', '.join(parts)} }}" if parts else "{}"
    if isinstance(value, tuple) and value and isinstance(value[0], pydantic.BaseModel):
        return f"[{', '.join(_shown(item, field) for item in value)}]"
    unit = unit_of(field.annotation, field.metadata)
    if isinstance(value, bool):
        return str(value).lower()
    if unit and isinstance(value, float):
        return f'"{units.show(value, unit)}"' if value else "0"
    if isinstance(value, float):
        return f"{value:g}"
    return f'"{value}"' if isinstance(value, str) else str(list(value) if isinstance(value, tuple) else value)


def table(schema: Schema, *, without: Iterable[str] = ()) -> str:
    """The keys of a schema as a Markdown table; empty where there is none."""
    found = list(rows(schema, without=without))
    if not found:
        return ""
    lines = ["| key | type | unit | default | meaning |", "|---|---|---|---|---|"]
    for name, kind, unit, default, meaning in found:
        lines.append(f"| `{name}` | {kind} | {unit} | {default} | {meaning} |".replace("|  |", "| |"))
    return "\n".join(lines) + "\n"


def _chapter(title: str, schema: Schema, *, level: int = 2, without: Iterable[str] = ()) -> str:
    parts = [f"{'#' * level} {title}", summary(schema), table(schema, without=without)]
    return "\n\n".join(part.rstrip() for part in parts if part) + "\n\n"


def _kinds(schemas: Iterable[Schema], *, without: Iterable[str] = ()) -> str:
    found = []
    for schema in schemas:
        names = get_args(schema.model_fields["kind"].annotation)
        title = ", ".join(f"`{name}`" for name in names)
        hidden = {*without} if len(names) > 1 else {*without, "kind"}
        found.append(_chapter(title, schema, level=3, without=hidden))
    return "".join(found)


def benches() -> str:
    """The generated part of ``docs/benches.md``."""
    from cosim.bench import analyses as analyses_of
    from cosim.bench import file as bench
    from cosim.bench import filters, maps, neurons, stimulus_kinds
    from cosim.bench.measures.kinds import DerivedMeasure, Kind
    from cosim.bench.measures.registry import KINDS as MEASURES
    from cosim.bench.variation import Corner, MonteCarlo, Trust
    from cosim.schema import Quantity

    common = set(Kind.model_fields)
    spread = next(iter(tables(MonteCarlo.model_fields["parameters"].annotation)))
    nested = [
        schema for kind in MEASURES for field in kind.model_fields.values() for schema in tables(field.annotation)
    ]
    analyses = list(tables(bench.BenchFile.model_fields["analysis"].annotation))
    shared = ("parameters", "sweep")
    return "".join(
        [
            _chapter("The file", bench.BenchFile),
            _chapter("A quantity with a unit", Quantity),
            _chapter("`[devices.NAME]`", bench.DeviceUse),
            "## `[analysis]`, `[analyses.NAME]`\n\nEvery kind has `parameters` and `sweep`.\n\n",
            table(analyses_of.Op, without=("kind",)),
            "\n",
            _kinds(analyses, without=shared),
            "## `[stimuli.NAME]`\n\n",
            _kinds(stimulus_kinds.KINDS),
            _chapter("A pulse's `shape`, `read_shape`", stimulus_kinds.Shape, level=3),
            "## `[measures.NAME]`\n\nEvery kind has `unit` and `analysis`.\n\n",
            table(Kind),
            "\n",
            _kinds([kind for kind in MEASURES if not issubclass(kind, DerivedMeasure)], without=common),
            "## Measures of other measures\n\n",
            _kinds([kind for kind in MEASURES if issubclass(kind, DerivedMeasure)], without=common),
            *(_chapter(f"`{schema.__name__.lower()}`", schema, level=3) for schema in dict.fromkeys(nested)),
            _chapter("`[limits]`", bench.Limit),
            _chapter("`[maps.NAME]`", maps.MapFile),
            _chapter("`inputs.NAME`", maps.MapInput, level=3),
            _chapter("`states.NAME`", maps.MapState, level=3),
            _chapter("`[neurons.NAME]`", neurons.NeuronFile),
            _chapter("`[filters.NAME]`", filters.FilterFile),
            _chapter("`[corners.NAME]`", Corner),
            _chapter("`[monte_carlo]`", MonteCarlo),
            _chapter("A distribution", spread, level=3),
            _chapter("`[trust]`", Trust),
        ]
    )


def recipes() -> str:
    """The generated part of ``docs/recipes.md``."""
    from cosim.data import spec
    from cosim.data.kinds import KINDS
    from cosim.data.readers import READERS
    from cosim.fitting import circuit, joint_recipe, priors, recipe, recipe_tables

    def listed(columns: Mapping[str, tuple[str, ...]], between: str) -> str:
        return between.join(f"`{name}` ({' or '.join(allowed)})" for name, allowed in columns.items())

    kinds = "\n".join(
        f"| `{kind}` | "
        + "".join(
            f"{listed({n: u}, '')}, " for n, u in {**entry.columns, **entry.beside}.items() if n != entry.measured
        )
        + listed({entry.measured: entry.columns[entry.measured], **entry.instead}, " or ")
        + (f" or `read_NAME` ({', '.join(entry.named)})" if entry.named else "")
        + (
            f"; others by their names in the {'device' if entry.forward else 'bench'} ({', '.join(entry.further)})"
            if entry.further
            else ""
        )
        + " |"
        for kind, entry in KINDS.items()
    )
    return "".join(
        [
            _chapter("The file", recipe.FitRecipe),
            _chapter("`[data]`", spec.DataSpec),
            f"| kind | columns it has to have |\n|---|---|\n{kinds}\n\n"
            f"Readers: {', '.join(f'`{name}`' for name in READERS)}. "
            "Where a conductance (S) is asked for, a resistance is inverted and a current divided by `v_read`.\n\n",
            _chapter("`columns.NAME`", spec.ColumnSpec, level=3),
            "### `conditions`\n\n| key | unit |\n|---|---|\n"
            + "".join(f"| `{name}` | {unit} |\n" for name, unit in spec.CONDITIONS.items())
            + "\n",
            _chapter("`[start]`", recipe_tables.StartSpec),
            _chapter("`[fit]`", recipe_tables.FitSpec),
            _chapter("`[fit.priors.NAME]`", priors.PriorSpec, level=3),
            _chapter("`[circuit]`", circuit.CircuitSpec),
            _chapter("`[noise]`", recipe_tables.NoiseSpec),
            _chapter("`[held_out]`", recipe_tables.HeldOut),
            _chapter("`[ramps]`", recipe_tables.RampLaw),
            _chapter("`[[candidates]]`", recipe_tables.Candidate),
            _chapter("A file with several observations", joint_recipe.JointRecipe),
            _chapter("`[[observations]]`", joint_recipe.ObservationSpec),
            _chapter("`[parameters.NAME]`", joint_recipe.ParameterSpec),
            _chapter("`[[stages]]`", joint_recipe.StageSpec),
        ]
    )


def campaigns() -> str:
    """The generated part of ``docs/campaigns.md``."""
    from cosim.schema import Quantity

    return "".join(
        [
            _chapter("The file", Plan),
            _chapter("`[grid]`: a range in place of a list", Range, level=3),
            _chapter("`[sample]`", Sample),
            _chapter("A distribution", Spread, level=3),
            _chapter("A quantity with a unit", Quantity, level=3),
            _chapter("`correlations`", Correlation, level=3),
            _chapter("`[worst_case]`", WorstCaseSearch),
            _chapter("`[high_sigma]`", HighSigma),
            _chapter("`[limits]`", CaseLimits),
        ]
    )


def exports() -> str:
    """What was imported again, from the record of the claim."""
    path = resources.folder("fits") / "results" / "exports.json"
    if not path.is_file():
        return "Nothing was recorded yet: `./run reproduce exports`."
    record = json.loads(path.read_text(encoding="utf-8"))
    figures, lines = record["figures"], ["## Imported again", ""]
    lines += [
        f"Recorded by `./run reproduce exports` on {record['made']} with cosim {record['version']}. A difference is "
        "the largest of any state or output over all golden events, as a share of full scale.",
        "",
        "| target | version | set, device, map | events, train | largest difference | allowed |",
        "|---|---|---|---|---|---|",
    ]
    for row in figures["rows"]:
        counts = f"{row['events']['events']}, {row['events']['train']}"
        lines.append(
            f"| {row['target']} | {row['version']} | {row['subject']} | {counts} | {row['worst']:.1e} | "
            f"{row['tolerance']:g}: {row['why']} |"
        )
    if figures["refused"]:
        lines += ["", "Refused, with the reason:", ""]
        lines += [f"- {entry['subject']} to {entry['target']}: {entry['why']}." for entry in figures["refused"]]
    lines += ["", "## What is lost", ""]
    seen = set()
    for row in figures["rows"]:
        if row["target"] not in seen:
            seen.add(row["target"])
            lines += [f"Of {row['subject']} in {row['target']} ({row['versions']}):", ""]
            lines += [*(f"- {sentence}" for sentence in row["losses"]), ""]
    return "\n".join(lines)


def extraction() -> str:
    """How often intervals held the truth, from the record of the claim."""
    path = resources.folder("fits") / "results" / "coverage.json"
    if not path.is_file():
        return "Nothing was recorded yet: `./run reproduce coverage`."
    record = json.loads(path.read_text(encoding="utf-8"))
    lines = [
        f"Recorded by `./run reproduce coverage` on {record['made']} with cosim {record['version']}.",
        "",
        "| recipe or laboratory | device, curve | curves | pooled | each alone | ranges | seldom an interval |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, row in record["figures"]["rows"].items():
        often = {n: held[0] for n, held in row["each"].items() if 2 * held[3] >= row["draws"]}
        seldom = [
            f"{n} (of {row['each'][n][3] if n in row['each'] else 0}: {100 * share:.1f} % of all held)"
            for n, share in row["all"].items()
            if n not in often
        ]
        alone = [
            f"{100 * often[n]:.1f} % ({n})" for n in sorted(often, key=lambda n: often[n])[:: max(len(often) - 1, 1)]
        ]
        ranges = f"{row['ranges_held']} of {row['ranges']}" if row["ranges"] else ""
        lines.append(
            f"| {name} | {row['device']}, {row['curve']} | {row['draws']} | {100 * row['pooled']:.1f} % | "
            f"{' to '.join(alone)} | {ranges} | {', '.join(seldom)} |"
        )
    return "\n".join(lines)


PAGES: Mapping[str, Callable[[], str]] = MappingProxyType(
    {
        "benches.md": benches,
        "recipes.md": recipes,
        "campaigns.md": campaigns,
        "exports.md": exports,
        "extraction.md": extraction,
    }
)


def page(path: Path) -> str:
    """What ``path`` should hold: its own text up to the mark, and the generated part."""
    head, mark, _ = path.read_text(encoding="utf-8").partition(MARK)
    if not mark:
        raise InputError(f"{path} has no mark", remedy=f"write the line {MARK.strip()}")
    return f"{head}{mark}\n{PAGES[path.name]().rstrip()}\n"


def networks() -> str:
    """``docs/networks.md`` as it should be: its own text, with the tables of the records."""
    path = FOLDER / "networks.md"
    return TABLE.sub(
        lambda found: f"{found[1]}\n{TABLES[found[2]]()}\n\n<!-- end -->\n", path.read_text(encoding="utf-8")
    )


def main() -> int:
    """Write the pages of this checkout."""
    for name in PAGES:
        print(write_atomic(FOLDER / name, page(FOLDER / name)))
    print(write_atomic(FOLDER / "networks.md", networks()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
