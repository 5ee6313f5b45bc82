"""``cosim run``: a bench or a plain SPICE netlist, its measures against their limits."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Mapping

    import xarray

    from cosim.bench.result import BenchResult
    from cosim.engines.simulator import Limits, Result, Simulator
    from cosim.language.fourier import Fourier

Assignments = Annotated[
    list[str] | None,
    typer.Option(
        "--param",
        "-p",
        help="NAME=VALUE: a circuit parameter, with unit; or a file (.toml) of them, as cosim fit -o writes.",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("run", help="Run a bench (.toml, or the name of a shipped one) or a SPICE netlist (.cir).")(run)


def run(
    what: Annotated[str, typer.Argument(metavar="BENCH|NETLIST", help="bench.toml, a shipped bench, or netlist.cir")],
    param: Assignments = None,
    device: Annotated[
        list[str] | None, typer.Option("--device", "-d", help="NAME=SET: a parameter set for a device; NAME.KEY=VALUE.")
    ] = None,
    form: Annotated[str | None, typer.Option(help="behavioural or verilog-a, for every device of the bench.")] = None,
    engine: Annotated[str, typer.Option(help="pyspice, ngspice or vacask.")] = "pyspice",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder for waveforms, measures, figure, deck and log.")
    ] = None,
    include: Annotated[
        list[Path] | None, typer.Option("--allow", help="A further folder that the netlist or bench may read.")
    ] = None,
    wall: Annotated[str, typer.Option(help="Wall-clock limit of the simulation.")] = "60 s",
    translate: Annotated[
        bool, typer.Option("--translate", help="Show what a .control block becomes as analyses and measures; run that.")
    ] = False,
    seed: Annotated[
        int | None,
        typer.Option(help="Draw the netlist's random functions (agauss, ...) by this seed; default: their means."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Run one case; exit 1 when it fails or a limit is broken."""
    from cosim import units
    from cosim.cli.output import working
    from cosim.engines.registry import open_simulator
    from cosim.engines.simulator import Limits
    from cosim.errors import InputError
    from cosim.language.chance import check_seed

    limits = Limits(wall=units.parse(wall, "s"))
    is_bench = Path(what).suffix == ".toml" or not Path(what).suffix
    if not is_bench and (param or device or form):
        raise InputError("--param, --device and --form belong to a bench", remedy="write a bench for this netlist")
    if seed is not None:
        check_seed(seed)
    if is_bench and translate:
        raise InputError("--translate belongs to a netlist", remedy="leave it out for a bench")
    with open_simulator(engine) as simulator, working(f"running {what}"):
        if is_bench:
            code = _bench(
                what, include or [], param or [], device or [], form, seed, simulator, limits, output, as_json
            )
        else:
            code = _netlist(Path(what), include or [], translate, seed, simulator, limits, output, as_json)
    raise typer.Exit(code)


def _bench(
    what: str,
    allow: list[Path],
    param: list[str],
    device: list[str],
    form: str | None,
    seed: int | None,
    simulator: Simulator,
    limits: Limits,
    output: Path | None,
    as_json: bool,
) -> int:
    import sys
    from dataclasses import replace

    from cosim import units
    from cosim.bench.adjust import is_string
    from cosim.bench.advice import of_bench, of_random
    from cosim.bench.testbench import Testbench
    from cosim.cli.output import advise, print_json, show_table
    from cosim.errors import UnknownName
    from cosim.parameters import ParameterSet, in_file, in_library

    bench = Testbench.load(what, allow=allow)
    if form not in (None, "behavioural", "verilog-a"):
        raise UnknownName("form", str(form), ("behavioural", "verilog-a"))
    values = {}
    for name, text in (pair for entry in param for pair in _parameters(entry)):
        if name not in bench.file.parameters:
            raise UnknownName(f"parameter of bench {bench.name}", name, bench.file.parameters)
        values[name] = units.parse(text, bench.file.parameters[name].unit)
    given = dict(_pair(entry, "--device") for entry in device)
    chosen = {name: text for name, text in given.items() if "." not in name}
    single: dict[str, dict[str, float | str]] = {}
    for place, text in given.items() - chosen.items():
        name, _, key = place.partition(".")
        word = is_string(bench, name, key)
        single.setdefault(name, {})[key] = text if word else units.parse(text, bench.adjustable(name, key).unit)
    sets = {name: ParameterSet.load(text) for name, text in chosen.items()}
    if values or given:
        bench = bench.varied()
    bench = replace(bench.with_(parameters=values, devices=sets, values=single, form=form), seed=seed)
    for name, found in bench.sets.items():
        use = bench.file.devices[name]
        references = (chosen[name],) if name in chosen else (use.parameters or "", *use.also)
        if any(in_file(reference)[0] or in_library(reference) for reference in references):
            advise(f"{name}: {sentence}" for sentence in found.reservations())
    advise(of_bench(bench))
    done = bench.run(simulator, limits=limits)
    advise(of_random(done.result))
    summary = {
        "bench": bench.name,
        **({"source": bench.file.source} if bench.file.source else {}),
        "engine": simulator.version(),
        "outcome": done.result.outcome.value,
        "reason": done.result.reason,
        "passed": done.passed,
        "wall_s": done.result.wall,
        "measures": {name: m.to_dict() for name, m in done.measures.items()},
        **({"missing": dict(done.missing)} if done.missing else {}),
        **({"notes": done.notes} if done.notes else {}),
    }
    if output is not None:
        _leave(done.result, output)
        if done.result.ok:
            _keep(_stored(done), output, summary)
            _draw(done, output)
    if as_json:
        print_json(summary)
    elif not done.result.ok:
        _failed(what, done.result)
    else:
        rows = []
        for name, m in done.measures.items():
            low, high = (m.show(float(end)) for end in (m.values.min(), m.values.max()))
            span = low if m.values.size == 1 else f"{low} .. {high}"
            allowed = [m.show(m.low), m.show(m.high)]
            verdict = "FAIL" if m.passed is False else str(m.verdict or "")
            limit = bench.file.limits.get(name)
            unkept = limit is not None and m.passed is not True
            rows.append([name, m.values.size, span, *allowed, verdict, limit.basis if limit and unkept else ""])
        columns = ("measure", "values", "result", "min", "max", "verdict", "limit from")
        show_table(f"{bench.file.title} ({simulator.version()})", columns, rows, right=(1, 3, 4))
        if output is not None:
            print(f"written to {output}/")
    advise(done.notes)
    for name in done.missing:
        print(f"cosim: {done.absent(name)}", file=sys.stderr)
    return 0 if done.passed else 1


def _netlist(
    path: Path,
    include: list[Path],
    translate: bool,
    seed: int | None,
    simulator: Simulator,
    limits: Limits,
    output: Path | None,
    as_json: bool,
) -> int:
    from dataclasses import replace

    from cosim import resources
    from cosim.bench.advice import of_netlist, of_random
    from cosim.cli.output import advise, print_json, show_table
    from cosim.engines.simulator import Deck, Outcome
    from cosim.errors import InputError, Where
    from cosim.language.netlist import source_text
    from cosim.units import show

    text = source_text(path)
    roots = (path.resolve().parent, *(folder.resolve() for folder in include), *resources.shipped_roots())
    advise(of_netlist(text, source=path, roots=roots))
    source: Path | None = path
    if translate:
        text, source = _translated(path, text, roots)
    done = simulator.run(Deck(text, roots=roots, source=source, seed=seed), limits=limits)
    advise(of_random(done))
    if done.outcome is Outcome.REFUSED and (hint := _dialect(path, text)):
        done = replace(done, reason=f"{done.reason}; {hint}")
    vectors = [
        (analysis, str(name), data[name].values, data[name].attrs.get("units", ""))
        for analysis, data in done.waveforms.items()
        for name in data.data_vars
    ]
    summary = {
        "netlist": path,
        "engine": simulator.version(),
        "outcome": done.outcome.value,
        "reason": done.reason,
        "wall_s": done.wall,
        "measures": dict(done.measures),
        **({"missing": dict(done.missing)} if done.missing else {}),
        **({"fourier": [{**vars(entry), "thd": entry.thd} for entry in done.fourier]} if done.fourier else {}),
        **({"notes": done.notes} if done.notes else {}),
        "vectors": [
            {
                "analysis": a,
                "name": n,
                "unit": u,
                "points": v.size,
                "last": abs(v.reshape(-1)[-1]) if v.dtype.kind == "c" else v.reshape(-1)[-1],
            }
            for a, n, v, u in vectors
        ],
    }
    if output is not None:
        _leave(done, output)
        if done.ok:
            _keep(done.waveforms, output, summary)
            _draw_netlist(done, path.name, output)
    if as_json:
        print_json(summary)
    elif not done.ok:
        _failed(str(path), done)
    else:
        rows = []
        for analysis, name, values, unit in vectors:
            real = abs(values.reshape(-1)) if values.dtype.kind == "c" else values.reshape(-1)
            rows.append(
                [analysis, name, real.size, *(show(float(x), unit) for x in (real.min(), real.max(), real[-1]))]
            )
        show_table(
            f"{path} ({simulator.version()})", ("analysis", "vector", "points", "min", "max", "last"), rows, right=(2,)
        )
        if done.measures:
            show_table("", ("measure", "value"), [[name, f"{value:.6g}"] for name, value in done.measures.items()])
        for entry in done.fourier:
            _show_fourier(entry)
        if output is not None:
            print(f"written to {output}/")
    advise(done.notes)
    if done.missing:
        named: dict[str, list[str]] = {}  # by reason
        for name, reason in done.missing.items():
            named.setdefault(reason, []).append(name if name[0] == "." else f".meas {name}")
        why = "; ".join(f"{', '.join(names)}: {reason}" for reason, names in named.items())
        if hint := _dialect(path, text, only="measure"):
            why += f"; {hint}"
        raise InputError(why, where=Where(path))
    return 0 if done.ok else 1


def _dialect(path: Path, text: str, *, only: str = "") -> str:
    """The dialect that a refused netlist seems to be in, and what repairs it; empty where lint finds nothing, or
    nothing by the rule ``only``.
    """
    from cosim.errors import CosimError
    from cosim.language.findings import Severity
    from cosim.language.lt_syntax import is_hspice
    from cosim.language.netlist import logical_lines
    from cosim.lint.lt_lint import lint_spice

    try:
        found = lint_spice(text, path).findings
    except CosimError:
        return ""
    foreign = [f for f in found if f.severity in (Severity.ERROR, Severity.WRONG) and f.rule != "refused"]
    if not foreign or (only and all(f.rule != only for f in foreign)):
        return ""
    stepped = [f for f in foreign if f.message.startswith(".step ")]
    first, more = foreign[0], f" and {len(foreign) - 1} more" if len(foreign) > 1 else ""
    whose = "HSPICE's" if is_hspice(list(logical_lines(text))) else "LTspice's or PSpice's"
    new = path.with_name(f"{path.stem}_ngspice{path.suffix}").name
    return (
        f"it seems to be {whose} (line {first.line}: {first.message}{more}): "
        f"'cosim lint {path} --fix {new}' writes it for ngspice{', without its .step' if stepped else ''}"
    )


def _show_fourier(found: Fourier) -> None:
    from cosim.cli.output import show_table
    from cosim.units import show

    harmonics = enumerate(zip(found.magnitudes, found.phases, strict=True))
    rows = [[n, show(n * found.frequency, "Hz"), f"{size:.6g}", f"{phase:.4g}"] for n, (size, phase) in harmonics]
    title = f"{found.vector} in {found.analysis}: total harmonic distortion {found.thd:.4%}"
    show_table(title, ("harmonic", "frequency", "magnitude", "phase in deg"), rows, right=(0, 2, 3))


def _pair(text: str, option: str) -> tuple[str, str]:
    from cosim.errors import InputError

    name, equals, value = text.partition("=")
    if not equals or not name.strip() or not value.strip():
        raise InputError(f"{option} {text!r} is not NAME=VALUE", remedy=f"write e.g. {option} w0=0.2")
    return name.strip(), value.strip()


def _parameters(text: str) -> list[tuple[str, str]]:
    """NAME=VALUE, or the ``[parameters]`` of a file."""
    from cosim.errors import InputError, Where, at
    from cosim.schema import Quantity, located
    from cosim.toml_files import read_toml

    if "=" in text or not text.endswith(".toml"):
        return [_pair(text, "--param")]
    table = read_toml(text, kind="file of parameters").get("parameters")
    if not isinstance(table, dict) or not table:
        raise InputError("the file has no parameters", where=Where(text), remedy="write [parameters]")
    found = []
    for name, given in table.items():
        with located(Path(text)), at("parameters", name):
            quantity = Quantity.model_validate(given)
        found.append((name, f"{quantity.value!r} {quantity.unit}" if quantity.unit != "1" else repr(quantity.value)))
    return found


def _translated(path: Path, text: str, roots: tuple[Path, ...]) -> tuple[str, Path | None]:
    """``text`` without its .control blocks; their cards go to standard error; a command that would be lost raises.

    Where a block sits in an included file, the text contains all files, and its lines have no place in ``path``.
    """
    import sys

    from cosim.errors import NetlistRefused
    from cosim.language.control import READ_BY_BLOCKS, translate
    from cosim.language.netlist import read_text

    netlist = read_text(text, source=path, roots=roots)
    found = translate(netlist)
    for card in found.cards:
        print(f"becomes  {card}", file=sys.stderr)
    for note in found.dropped:
        print(f"dropped  {note}", file=sys.stderr)
    if found.impossible:
        first = found.impossible[0]
        raise NetlistRefused(
            f"{first.line.text!r} has no equivalent: {first.reason}",
            where=first.line.where,
            remedy=f"take {'it' if len(found.impossible) == 1 else f'these {len(found.impossible)} lines'} out",
        )
    blocks = [block.where for block in netlist.controls] + [line.where for line in netlist.directives]
    if any(where.file != path for where in blocks):
        return netlist.flatten(found.cards, drop=frozenset({READ_BY_BLOCKS}))[0], None
    return found.apply(text), path


def _failed(what: str, result: Result) -> None:
    import sys

    from cosim.errors import legible

    print(f"cosim: {legible(f'{what} {result.outcome.value}: {result.reason}')}", file=sys.stderr)


def _leave(result: Result, folder: Path) -> None:
    """The deck of a run, as the engine got it, and the engine's last lines; also of a run that failed.

    It runs in plain ngspice: compiled models lie beside it, and a block loads them.
    """
    from cosim.engines.prepare import prepare
    from cosim.errors import InputError
    from cosim.files import write_atomic

    if result.deck is None:
        return
    try:
        prepared = prepare(result.deck)
        text = prepared.text
    except InputError:  # a refused deck is kept as it was written
        text = result.deck.text
    else:
        models = [Path(model) for model in prepared.osdi]
        for model in models:
            write_atomic(folder / model.name, model.read_bytes())
        if models:
            block = "".join(f"pre_osdi {model.name}\n" for model in models)
            head, end, rest = text.rpartition("\n.end")
            text = f"{head}\n.control\n{block}.endc{end}{rest}"
    write_atomic(folder / "deck.cir", text)
    write_atomic(folder / "log.txt", result.log + "\n")


def _stored(done: BenchResult) -> dict[str, xarray.Dataset]:
    """The waveforms of every run by a file name: the kind of analysis where there is one run, else name and number."""
    plan = done.bench.file.plan
    if len(done.runs) == 1:
        return dict(done.result.waveforms)
    found = {}
    for name, entry in plan.items():
        own = [run for run in done.runs if run.analysis == name]
        for number, run in enumerate(own, 1):
            label = name if len(own) == 1 else f"{name}_{number:0{len(str(len(own)))}}"
            found[label] = run.result[entry.kind].assign_attrs({key: float(x) for key, x in run.point.items()})
    return found


def _keep(waveforms: Mapping[str, xarray.Dataset], folder: Path, summary: Mapping[str, object]) -> None:
    """Waveforms as netCDF, one file per run, and the summary as JSON."""
    from cosim.cli.output import to_json
    from cosim.files import write_atomic, write_netcdf

    for analysis, data in waveforms.items():
        # netCDF 3 has no complex numbers, and no parentheses in names
        plain = {str(name): str(name).replace("(", "_").replace(")", "").replace("#", "_") for name in data.data_vars}
        stored = data.rename(plain)
        for name in [str(key) for key in stored.data_vars]:
            if stored[name].dtype.kind == "c":
                stored[f"{name}_real"], stored[f"{name}_imag"] = stored[name].real, stored[name].imag
                stored = stored.drop_vars([name])
        for old, new in plain.items():
            if new in stored:
                stored[new].attrs["spice_name"] = old
        write_netcdf(folder / f"{analysis}.nc", stored)
    write_atomic(folder / "measures.json", to_json(summary) + "\n")


def _draw(done: BenchResult, folder: Path) -> None:
    from cosim.report import style
    from cosim.report.bench_figures import bench_figures

    for name, figure in bench_figures(done).items():
        style.save(figure, folder / f"{name}.png")


def _draw_netlist(done: Result, title: str, folder: Path) -> None:
    """A figure per analysis: ``waveforms.png`` where there is one."""
    from cosim.report import style
    from cosim.report.panels import netlist_figures

    figures = netlist_figures(done.waveforms, title)
    for kind, figure in figures.items():
        style.save(figure, folder / f"{'waveforms' if len(figures) == 1 else kind}.png")
