"""``cosim fit``: a recipe and measured curves in, parameter sets with a verdict out; ``show``, ``compare``."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from cosim.cli.paths import figure_file, require_file

if TYPE_CHECKING:
    from cosim.data.parts import Part
    from cosim.data.recording import Recording
    from cosim.fitting.auto import Taken
    from cosim.fitting.joint_result import JointResult
    from cosim.fitting.recipe import FitRecipe
    from cosim.fitting.result import FitResult

HELP = "Extract device parameters from measured curves, and say which of them they determine."
MORE = (
    " `cosim fit RECIPE` is short for it. Results that -o wrote: `cosim fit show RESULT`, `cosim fit compare A B`, and "
    "of many devices' `cosim fit distributions FOLDER -o plan.toml`. "
    "Exit code 1 says that a law explains no more than a constant, or that a set was asked for and nothing is "
    "identifiable."
)
ENDINGS = (".csv", ".tsv", ".txt", ".dat", ".xls", ".xlsx", ".xlsm", ".ods", ".tdms", ".mat", ".raw")


class _Group(TyperGroup):
    """``cosim fit RECIPE`` is ``cosim fit run RECIPE``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args or args[0] not in self.commands:
            args = ["run", *args]
        return super().parse_args(ctx, args)


def register(app: typer.Typer) -> None:
    """Add the verb."""
    from cosim.cli.fit_distributions import distributions
    from cosim.cli.fit_results import compare, show

    group = typer.Typer(name="fit", cls=_Group, help=HELP)
    group.command("run", help=HELP + MORE)(fit)
    group.command("show")(show)
    group.command("compare")(compare)
    group.command("distributions")(distributions)
    app.add_typer(group)


def fit(
    inputs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RECIPE [DATA]...",
            help="A recipe (.toml) or the name of a shipped one, then files in place of its own; with --auto files and "
            "folders alone.",
        ),
    ] = None,
    auto: Annotated[
        bool, typer.Option("--auto", help="Without a recipe: recognise what each file is, and what describes it.")
    ] = False,
    data: Annotated[list[Path] | None, typer.Option("--data", help="The same as DATA; may be repeated.")] = None,
    together: Annotated[
        bool, typer.Option("--together", help="Fit all files at once: initial states of each, the rest shared.")
    ] = False,
    sweep_rate: Annotated[
        str | None, typer.Option("--sweep-rate", help="Of sweeps without a time column (--auto), e.g. '1 V/s'.")
    ] = None,
    allow: Annotated[
        list[Path] | None, typer.Option("--allow", help="A further folder that the recipe may read; may be repeated.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", help="Write the parameter set here (.toml), and the result beside it (.json); of several "
            "results a folder.",
        ),
    ] = None,
    report: Annotated[Path | None, typer.Option("--report", "--html", help="Write a page with it all (.html).")] = None,
    figure: Annotated[
        Path | None, typer.Option("--figure", callback=figure_file, help="Write the figure here (.png, .svg, .pdf).")
    ] = None,
    following: Annotated[
        Path | None,
        typer.Option("--next", help="Write the measurement that would tell most about what is left open (.csv)."),
    ] = None,
    profile: Annotated[
        bool,
        typer.Option("--profile", help="95 % intervals from the profile likelihood: slower, and right when curved."),
    ] = False,
    posterior: Annotated[
        bool,
        typer.Option("--posterior", help="Sample what the parameters may be (emcee, extra 'posterior'): minutes."),
    ] = False,
    undetermined: Annotated[
        bool, typer.Option("--undetermined", help="Write a parameter set even where nothing is identifiable.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:  # fmt: skip
    """Extract device parameters from measured curves, and say which of them they determine.

    Exit code 0 says that the law explains the curve better than a constant, not that its parameters mean anything: read
    the verdict. Exit code 1 says that it does not, that nothing could be fitted, or that a parameter set was asked for
    and nothing is identifiable.
    """
    from cosim.errors import InputError

    given = [*(inputs or ()), *(str(path) for path in (data or ()))]
    if not given:
        raise InputError(
            "nothing to fit", remedy="name a recipe and files, cosim fit RECIPE DATA, or cosim fit --auto FOLDER"
        )
    if report is not None:
        require_file(report, ".html", ".htm", example="fit.html")
    if following is not None:
        require_file(following, ".csv", example="next.csv")
    if output is not None and output.suffix and not auto and len(given) <= 2:  # one result: looked at before all else
        require_file(output, ".toml", example="fit.toml")
    job = _Job(output, report, figure, following, undetermined=undetermined, as_json=as_json, posterior=posterior)
    if posterior:
        from cosim.packages import optional

        optional("emcee", extra="posterior", needed_by="--posterior")
    if auto:
        if together or profile or allow or posterior:
            raise InputError(
                "--together, --profile, --posterior and --allow need a recipe",
                remedy="leave them out; --auto -o FOLDER writes recipes to go on with",
            )
        _auto(given, job, sweep_rate)
    else:
        if sweep_rate is not None:
            raise InputError("--sweep-rate goes with --auto", remedy="a recipe names the column of the time")
        _by_recipe(given[0], given[1:], job, allow=allow or (), profile=profile, together=together)
    job.end()


@dataclass
class _Job:
    """What is asked of a fit's results: each is printed and written as it comes, so that an interruption loses none."""

    output: Path | None
    report: Path | None
    figure: Path | None
    following: Path | None
    undetermined: bool
    as_json: bool
    posterior: bool = False
    expected: int = 1
    into_folder: bool = False
    results: list[FitResult | JointResult] = field(default_factory=list)
    taken: list[Taken] = field(default_factory=list)
    failed: bool = False
    waiting: list[str] = field(default_factory=list)

    def begin(self, expected: int, *, folder: bool = False) -> None:
        """Check the files that will be written, before the work; with ``folder`` one result may go into a folder."""
        from cosim.errors import InputError

        self.expected = expected
        self.into_folder = expected != 1 or (folder and self.output is not None and self.output.suffix != ".toml")
        if self.output is not None:
            if not self.into_folder:
                require_file(self.output, ".toml", example="fit.toml")
            elif self.output.suffix == ".toml" or self.output.is_file():
                raise InputError(f"{expected} results do not go into {self.output}", remedy="name a folder: -o results")
        if self.figure is not None and expected != 1:
            raise InputError("--figure draws one result, and there are several", remedy="write --report page.html")
        if self.following is not None and expected != 1:
            raise InputError("--next is for one result, and there are several", remedy="fit one of the files")

    def add(self, result: FitResult | JointResult, *, name: str = "") -> None:
        """A result: show it, write its files."""
        from cosim.cli.fit_results import print_result
        from cosim.cli.output import advise
        from cosim.fitting.write import condition, lawful, write

        if self.posterior and result.verdict.useful:
            from cosim.fitting.posterior import posterior

            with progress(f"the posterior of {result.recipe.name}") as step:
                result = replace(result, posterior=posterior(result, progress=step))
        self.results.append(result)
        if not self.as_json:
            print_result(result)
        answer = lawful(result)
        self.failed = self.failed or not (answer or result.verdict.useful)
        if self.output is None:
            return
        path = self.output / f"{name or result.recipe.name}.toml" if self.into_folder else self.output
        written, why = write(result, path, anyway=self.undetermined)
        if why:
            way = "" if answer else "; --undetermined writes one all the same"
            left = f"; {path} is of an earlier fit" if path.is_file() else ""
            advise([f"{result.recipe.name}: no parameter set is written: {why}{way}{left}"])
            self.failed = self.failed or not answer
        elif said := condition(result):
            advise([f"{result.recipe.name}: the set is written, and {said}"])
        self.say(written)

    def say(self, written: Sequence[Path]) -> None:
        """Print what was written."""
        for path in written if not self.as_json else ():
            print(f"written     {path}")

    def pages(self) -> None:
        """Write the page and the figure of what there is so far."""
        if self.report is not None and (self.results or self.taken):
            from cosim.report.fit_page import page

            self.say([page(self.results, self.taken, waiting=self.waiting).write(self.report)])
        if self.figure is not None and self.results:
            from cosim.report.style import save

            self.say([save(self.results[0].figure(), self.figure)])
        if self.following is not None and self.results:
            self._follow(self.results[0], self.following)

    def _follow(self, result: FitResult | JointResult, path: Path) -> None:
        """Write the next measurement."""
        from cosim.cli.output import advise
        from cosim.fitting.next_measurement import next_measurement

        proposal = next_measurement(result)
        if proposal is None:
            advise(["no further measurement of this kind would narrow an interval: none is written"])
            return
        if not self.as_json and result.proposal is None:  # said already where something is left open
            print(f"next        {proposal}")
        self.say([proposal.write(path)])

    def end(self) -> None:
        """Write the page and the figure, print JSON, and end with the exit code."""
        self.pages()
        if self.as_json:
            from cosim.cli.output import print_json

            if self.taken:
                print_json({"files": [one.to_json() for one in self.taken]})
            elif len(self.results) == 1:
                print_json(self.results[0].to_json())
            else:
                print_json({"results": [result.to_json() for result in self.results]})
        if self.failed:
            raise typer.Exit(1)

    @contextmanager
    def kept(self) -> Iterator[None]:
        """What was fitted when Ctrl-C comes stays: its page is written too."""
        try:
            yield
        except KeyboardInterrupt:
            done = f"{len(self.results)} of {self.expected} fitted, and kept" if self.results else "nothing fitted yet"
            left = f"; not fitted: {', '.join(self.waiting)}" if self.waiting else ""
            print(f"cosim: note: interrupted; {done}{left}", file=sys.stderr)
            if self.report is not None and (self.results or self.taken):
                print(f"cosim: note: writing {self.report}", file=sys.stderr, flush=True)
            self.pages()
            raise


def _by_recipe(
    recipe: str, files: list[str], job: _Job, *, allow: Sequence[Path], profile: bool, together: bool
) -> None:
    from cosim.errors import InputError
    from cosim.fitting.joint_recipe import JointRecipe, load_recipe

    chosen = load_recipe(recipe, allow=allow)
    if together and isinstance(chosen, JointRecipe):
        raise InputError("the recipe fits its observations together already", remedy="leave out --together")
    if isinstance(chosen, JointRecipe) or together:
        from cosim.fitting.joint import extract_joint

        if isinstance(chosen, JointRecipe):
            joint, names = chosen, [one.name for one in chosen.observations]
            if files and len(files) != len(names):
                raise InputError(
                    f"{len(files)} files for the recipe's {len(names)} observations ({', '.join(names)})",
                    remedy="give one file for each, in this order, or none",
                )
            recordings: dict[str, Recording] = {
                spec.name: joint.recording(spec, file) for spec, file in zip(joint.observations, files, strict=False)
            }
        else:
            recordings = _apart(chosen, files)
            joint = _joined(chosen, list(recordings))
        job.begin(1)
        with progress(joint.name) as step:
            found = extract_joint(joint, recordings, profile=profile, progress=step)
        if not job.as_json:
            for one in found.observations:
                print(f"read        {one.name}: {one.recording.reading or f'{len(one.recording)} rows'}")
        job.add(found)
        return
    from cosim.data.doubts import doubts
    from cosim.fitting.extract import extract

    curves = _recordings(chosen, files)
    job.begin(len(curves))
    names = _named(chosen.name, [*curves])
    job.waiting = [*curves] if len(curves) > 1 else []
    with job.kept():
        for curve, name in zip(curves.values(), names, strict=True):
            if not job.as_json:
                from cosim.cli.output import advise

                if curve.reading is not None:
                    print(f"read        {curve.reading}")  # before the fit, which may be what fails
                advise(doubts(curve))
            recipe_of = chosen if len(curves) == 1 else chosen.model_copy(update={"name": name})
            with progress(recipe_of.name) as step:
                result = extract(recipe_of, curve, profile=profile, progress=step)
            job.add(result)
            job.waiting = job.waiting[1:]


def _named(name: str, stems: list[str]) -> list[str]:
    """Names of parameter sets, one per file; numbered where two files have the same name."""
    made = [f"{name}_{''.join(c if c.isalnum() else '_' for c in stem)}" for stem in stems]
    return [f"{one}_{k + 1}" if made.count(one) > 1 else one for k, one in enumerate(made)]


def _recordings(recipe: FitRecipe, files: list[str]) -> dict[str, Recording]:
    """The recordings by name: each file, and of a file whose rows are of several groups each of these."""
    named: list[str | None] = [*files] or [None]
    found: dict[str, Recording] = {}
    stems = [name.removeprefix("_") for name in _named("", [Path(file or recipe.name).stem for file in named])]
    for stem, file in zip(stems, named, strict=True):
        parts = recipe.curve(file).parts()
        for labels, part in parts:
            tail = _named("", ["_".join(labels.values())])[0] if len(parts) > 1 else ""
            found[stem + tail] = part.with_(groups={}) if len(parts) > 1 else part
    return found


def _apart(recipe: FitRecipe, files: list[str]) -> dict[str, Recording]:
    """What is fitted together, by name."""
    from cosim.errors import InputError

    found = {name: part.with_(groups={}) for name, part in _recordings(recipe, files).items()}
    if len(found) < 2:
        raise InputError(
            "--together needs two recordings or more",
            remedy="name their files after the recipe, or the column that tells them apart under data.groups",
        )
    return found


def _joined(recipe: FitRecipe, stems: list[str]) -> Any:
    """The recipe over several recordings at once: an initial state for each, everything else shared."""
    from cosim.errors import InputError
    from cosim.fitting.joint_recipe import JointRecipe

    if recipe.candidates:
        raise InputError("--together cannot choose among candidates", remedy="write the chosen one under [fit]")
    own = {state.initial for state in recipe.model.states}
    body = recipe.data.model_dump(exclude_defaults=True, exclude={"file", "dataset", "groups"})
    common = {"noise": recipe.noise, "held_out": recipe.held_out, "ramps": recipe.ramps}
    joint = JointRecipe.model_validate(
        {
            "name": recipe.name,
            "device": recipe.device,
            "notes": recipe.notes,
            "start": recipe.start,
            "observations": [{**body, **common, "name": stem} for stem in stems],
            "parameters": {
                name: {"scope": "own" if name in own else "shared", "by": "observation" if name in own else "device"}
                | ({"bounds": recipe.fit.bounds[name]} if name in recipe.fit.bounds else {})
                for name in recipe.fit.vary
            },
            "path": recipe.path,
        }
    )
    joint._allowed = recipe._allowed
    return joint


def _auto(given: list[str], job: _Job, sweep_rate: str | None) -> None:
    from cosim import units
    from cosim.cli.fit_results import print_taken
    from cosim.cli.output import progress as bars
    from cosim.data.recognise import recognise
    from cosim.fitting.auto import fit_part

    rate = None if sweep_rate is None else units.parse(sweep_rate, "V/s")
    parts = [part for file in _files(given) for part in recognise(file, sweep_rate=rate)]
    fits = sum(part.curve is not None for part in parts)
    job.begin(fits if fits else 1, folder=True)
    beside: dict[Path, Path] = {}
    with job.kept(), bars() as shown:
        task = shown.add_task("files", total=len(parts))
        job.waiting = [part.name for part in parts]
        for part in parts:
            taken = fit_part(part, tell=lambda what, name=part.name: shown.update(task, description=f"{name}: {what}"))  # type: ignore[misc]
            shown.advance(task)
            if taken.result is not None:
                numbered = replace(taken.result, recipe=_numbered(taken.result.recipe, job))
                taken = replace(taken, result=numbered)
            job.taken.append(taken)
            job.waiting = job.waiting[1:]
            if not job.as_json:
                print_taken(taken)
            if taken.result is not None:
                _keep(job, taken.result, taken.part, beside)
    from cosim.cli.fit_together import alike

    if found := alike(job.taken):
        from cosim.cli.output import advise

        advise(found)
    if not any(taken.result is not None for taken in job.taken):
        job.failed = True


def _numbered(recipe: FitRecipe, job: _Job) -> FitRecipe:
    """The recipe, with a number behind its name where another file of that name was fitted before."""
    taken = {result.recipe.name for result in job.results}
    free = (f"{recipe.name}_{k}" if k > 1 else recipe.name for k in itertools.count(1))
    return recipe.model_copy(update={"name": next(name for name in free if name not in taken)})


def _keep(job: _Job, result: FitResult, part: Part, beside: dict[Path, Path]) -> None:
    """Show a result and write its files; ``beside``: the copy of each file that lies outside the folder, so far.

    A recipe may read its own folder and no other that it was not allowed: what it needs lies there.
    """
    from cosim.fitting.write import copy_beside, same_rows, write_recipe, write_rows

    job.add(result)
    if job.output is None:
        return
    folder = job.output if job.into_folder else job.output.parent
    name, made = result.recipe.name, []
    if cut := not part.columns or not same_rows(result, part.path):
        measured = write_rows(result, folder / f"{name}_rows.csv")
        made.append(measured)
    else:
        measured = beside.get(part.path) or copy_beside(part.path, folder / f"{name}_data{part.path.suffix}")
        if part.path not in beside and measured != part.path:
            made.append(measured)
        beside[part.path] = measured
    job.say([*made, write_recipe(result, folder / f"{name}_recipe.toml", data=measured, cut=cut)])


def _files(given: Sequence[str]) -> list[Path]:
    """The files of what was named; of a folder those whose ending is one of a recording, in order of their names."""
    from cosim.cli.output import advise
    from cosim.errors import InputError, MissingFile

    found: list[Path] = []
    for name in given:
        path = Path(name)
        if not path.exists():
            raise MissingFile(f"there is no file or folder {name!r}", remedy="check the path")
        if not path.is_dir():
            found.append(path)
            continue
        inside = sorted(entry for entry in path.iterdir() if entry.is_file() and not entry.name.startswith("."))
        kept = [entry for entry in inside if entry.suffix.lower() in ENDINGS]
        left = [entry.name for entry in inside if entry not in kept]
        if left:
            advise([f"{path}: not a recording by its ending, left out: {', '.join(left)}"])
        if not kept:
            raise InputError(f"the folder {path} holds no recording", remedy=f"files end in {', '.join(ENDINGS)}")
        found += kept
    return found


@contextmanager
def progress(name: str) -> Iterator[Callable[[int, float], None] | None]:
    """A line on the terminal with evaluations and chi-square; nothing in a pipe."""
    from rich.console import Console

    shown = Console(stderr=True)
    if not shown.is_terminal:
        yield None
        return
    with shown.status(f"fitting {name}") as status:
        yield lambda count, chi: status.update(f"fitting {name}: evaluation {count}, chi-square {chi:.5g}")
