"""``cosim fit``: a recipe and a measured curve in, a parameter set with a verdict out."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cosim.cli.paths import figure_file, require_file

if TYPE_CHECKING:
    from cosim.fitting.joint_result import JointResult
    from cosim.fitting.result import FitResult


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("fit", help="Extract device parameters from a measured curve, and say which of them it determines.")(
        fit
    )


def fit(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="A recipe (.toml), or the name of a shipped one.")],
    data: Annotated[Path | None, typer.Option("--data", help="A file in place of the recipe's own.")] = None,
    allow: Annotated[
        list[Path] | None, typer.Option("--allow", help="A further folder that the recipe may read; may be repeated.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Write the parameter set here, and the result beside it (.json)."),
    ] = None,
    figure: Annotated[
        Path | None, typer.Option("--figure", callback=figure_file, help="Write the figure here (.png, .svg, .pdf).")
    ] = None,
    profile: Annotated[
        bool,
        typer.Option("--profile", help="95 % intervals from the profile likelihood: slower, and right when curved."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Extract device parameters from a measured curve, and say which of them it determines.

    Exit code 0 says that the law explains the curve better than a constant, not that its parameters mean anything: read
    the verdict. Exit code 1 says that it does not; files that were asked for are written all the same, without errors.
    """
    from cosim.cli.output import print_json, to_json
    from cosim.fitting.recipe import JointRecipe, load_recipe

    if output is not None:
        require_file(output, ".toml", example="fit.toml")
    chosen = load_recipe(recipe, allow=allow or ())
    result: FitResult | JointResult
    if isinstance(chosen, JointRecipe):
        from cosim.errors import InputError
        from cosim.fitting.joint import extract_joint

        if data is not None:
            raise InputError("the recipe has several observations", remedy="name their files there, without --data")
        with _progress(chosen.name) as step:
            result = extract_joint(chosen, profile=profile, progress=step)
        if not as_json:
            for one in result.observations:
                print(f"read        {one.name}: {one.recording.reading or f'{len(one.recording)} rows'}")
    else:
        from cosim.fitting.extract import extract

        curve = chosen.curve(data)
        if curve.reading is not None and not as_json:
            print(f"read        {curve.reading}")  # before the fit, which may be what fails
        with _progress(chosen.name) as step:
            result = extract(chosen, curve, profile=profile, progress=step)
    written = []
    if output is not None:
        from cosim.files import write_atomic

        written.append(result.save(output))
        written.append(write_atomic(output.with_suffix(".json"), to_json(result.to_json()) + "\n"))
    if figure is not None:
        from cosim.report.style import save

        written.append(save(result.figure(), figure))
    if as_json:
        print_json(result.to_json())
    else:
        _show(result)
        for path in written:
            print(f"written     {path}")
    if not result.verdict.useful:
        raise typer.Exit(1)


def _show(result: FitResult | JointResult) -> None:
    from cosim.cli.output import show_table
    from cosim.fitting.joint_result import JointResult

    def number(value: float | None, digits: int) -> str:
        return "–" if value is None or math.isnan(value) else f"{value:.{digits}g}"

    def interval(low: float, high: float) -> str:
        if math.isinf(low) or math.isinf(high):  # an end that the curve does not give
            return "–" if low == -high else f">= {number(low, 4)}" if math.isinf(high) else f"<= {number(high, 4)}"
        return f"{number(low, 4)} .. {number(high, 4)}"

    rows = [
        [
            row.name,
            number(row.value, 6),
            number(row.stderr, 2),
            interval(*row.verdict.interval),
            row.unit,
            row.verdict.status,
        ]
        for row in result.rows()
    ]
    columns = ("parameter", "value", "std. error", "95 % interval", "unit", "verdict")
    title = f"{result.recipe.name}: {result.recipe.subject}, {result.points}"
    show_table(title, columns, rows, right=(1, 2))
    if isinstance(result, JointResult):
        _show_joint(result)
    else:
        _show_one(result)
    print(f"verdict     {result.verdict.summary}")
    for sentence in result.verdict.sentences():
        print(f"  - {sentence}")
    print(f"cost        {result.cost.evaluations} evaluations, {result.cost.seconds:.2f} s")


def _show_joint(result: JointResult) -> None:
    for name, spread in result.spreads.items():
        print(f"population  {name}: spread {spread}")
    for name, (fitted, held) in result.errors().items():
        tail = "" if held is None else f", {held:.3%} held out"
        print(f"error       {name}: {fitted:.3%} RMS of the range{tail}")
    for stage in result.stages[:-1]:
        print(f"stage       {stage.title or 'earlier'}: {stage.verdict.summary}")


def _show_one(result: FitResult) -> None:
    for trial in result.trials:
        kept = "  ← kept" if trial.title == result.choice else ""
        print(f"candidate   {trial.text:>8}  {trial.title}{kept}")
    if result.trials:
        print("            (RMS of the range, cross-validated on the fitted part)")
    ahead = "" if result.spread is None else " (each read from those before it)"
    print(f"error       {result.training_error:.3%} RMS of the range, fitted part{ahead}")
    if result.held_out_error is not None:
        print(f"            {result.held_out_error:.3%} RMS of the range, held-out part")


@contextmanager
def _progress(name: str) -> Iterator[Callable[[int, float], None] | None]:
    """A line on the terminal with evaluations and chi-square; nothing in a pipe."""
    from rich.console import Console

    shown = Console(stderr=True)
    if not shown.is_terminal:
        yield None
        return
    with shown.status(f"fitting {name}") as status:
        yield lambda count, chi: status.update(f"fitting {name}: evaluation {count}, chi-square {chi:.5g}")
