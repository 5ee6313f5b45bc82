"""The demonstration: the straight line end to end, with one HTML report.

Everything that it shows comes out of the run: the virtual lab measures the published TiO2 cell in ngspice with 2 % of
read noise, the extraction sees that curve alone, the surrogate is the extraction's, and the network learns on it. A
measured curve goes through the same fit beside it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cosim.engines.registry import open_simulator
from cosim.errors import CosimError
from cosim.fitting.extract import extract
from cosim.fitting.recipe import FitRecipe
from cosim.fitting.result import FitResult
from cosim.network.images import ImageSet, ImageTask, load_images
from cosim.network.run import RunResult, run_network
from cosim.network.systems.vdsp import VdspSystem, vdsp_preset
from cosim.pipeline import Lab, certified, extract_cell, measure_lab, relative_errors
from cosim.report import style
from cosim.report.bench_figures import bench_figure
from cosim.report.html import Report
from cosim.report.line_figure import line_figure
from cosim.report.surrogate_figures import overview
from cosim.resources import find
from cosim.surrogate.certify import HeldOut, updates_per_second
from cosim.surrogate.files import save
from cosim.surrogate.model import Surrogate
from cosim.units import show

MEASURED = ("crosssim_set", "gong2018")
NOISE = 0.02


@dataclass(frozen=True)
class Settings:
    """What of it can be changed: ``images`` are "digits" or "mnist"."""

    seed: int = 0
    images: str = "digits"
    pulses: int = 500


@dataclass(frozen=True)
class Demonstration:
    """What came of it; ``measured`` are the fits of the measured curves at hand, ``absent`` why others are not."""

    lab: Lab
    fit: FitResult
    measured: dict[str, FitResult]
    absent: dict[str, str]
    surrogate: Surrogate
    held: HeldOut
    speed_up: float | None
    images: ImageSet
    network: RunResult
    report: Path

    def rows(self) -> list[tuple[str, str]]:
        """The table at the end: what, and the figure."""
        certificate = self.surrogate.certificate
        assert certificate is not None  # certified() gives one
        conductance = certificate.errors["conductance"]
        errors = relative_errors(self.fit, self.lab.truth)
        worst = max(errors, key=lambda name: errors[name])
        energy = self.lab.experiment.energies
        accuracy = f"{self.network.mean:.1%}"
        rows = [
            ("1T1R cell in ngspice", f"{len(self.lab.experiment.curve)} pulses of both polarities, "
             f"{show(float(energy.min()), 'J', digits=3)} to {show(float(energy.max()), 'J', digits=3)} each"),
            ("extraction", f"{self.fit.verdict.summary}; farthest from the device's own: {worst}, {errors[worst]:.1%}"),
            ("surrogate against ngspice", f"{certificate.pulses} fresh pulses: conductance rms "
             f"{conductance.rms_percent:.2f} %, largest {conductance.max_percent:.2f} % of full scale"),
            (
                "speed",
                "too few pulses to tell"
                if self.speed_up is None
                else f"{self.speed_up:.3g} times ngspice's updates per second in a long train",
            ),
            ("network", f"{accuracy} of {len(self.images.test_y)} test images "
             f"({self.images.name}, read-out {self.network.seeds[0].values.read_out}, chosen on training images)"),
        ]  # fmt: skip
        for name, fit in self.measured.items():
            held = fit.held_out_error
            rows.append(
                (f"measured: {name}", f"RMS error {'' if held is None else f'{held:.2%} '}of the held-out part")
            )
        rows += [(f"measured: {name}", reason) for name, reason in self.absent.items()]
        return rows


Step = Callable[[str], None]
Progress = Callable[[int, int, int], None]


def demonstrate(folder: Path, *, settings: Settings | None = None, tell: Step, learning: Progress) -> Demonstration:
    """Run the line and write the parameter sets, the surrogate and ``report.html`` into ``folder``.

    Args:
        folder: made where it does not exist; files in it are replaced.
        settings: what to change.
        tell: gets a sentence at each step.
        learning: gets seed, images shown and images in all while the network learns.
    """
    chosen = settings or Settings()
    with open_simulator() as simulator:
        lab = measure_lab(simulator, tell=tell)
        fit = extract_cell(lab, noise=NOISE, seed=chosen.seed, tell=tell)
        lab.access.parameter_set().save(folder / "access.toml")
        fit.parameter_set().save(folder / "cell.toml")
        surrogate, held = certified(fit, lab, simulator, pulses=chosen.pulses, seed=chosen.seed, tell=tell)
        engine = simulator.version()
    save(surrogate, folder / "surrogate.npz")
    measured, absent = _measured(tell)
    tell("counting the surrogate's updates per second")
    speed_up = updates_per_second(surrogate) * held.seconds_per_pulse if held.seconds_per_pulse else None
    tell(f"learning {chosen.images}")
    images = load_images(chosen.images)
    network_settings, epochs = vdsp_preset(chosen.images)
    system = VdspSystem(network_settings, surrogate, ImageTask(images, epochs))
    network = run_network(system, seeds=(chosen.seed,), progress=learning)
    tell("drawing")
    done = Demonstration(lab, fit, measured, absent, surrogate, held, speed_up, images, network, folder / "report.html")
    report = _report(done)
    style.save(line_figure(done), folder / "line.png")
    report.footer = f"{engine}; seed {chosen.seed}."
    report.write(done.report)
    return done


def _measured(tell: Step) -> tuple[dict[str, FitResult], dict[str, str]]:
    found: dict[str, FitResult] = {}
    absent: dict[str, str] = {}
    for name in MEASURED:
        tell(f"fitting the measured curve {name}")
        try:
            found[name] = extract(FitRecipe.load(find("fits", f"{name}.toml")))
        except CosimError as error:  # not reachable: the report says so, and the rest goes on
            absent[name] = str(error)
    return found, absent


def _report(done: Demonstration) -> Report:
    report = Report(
        "From a measured curve to a learning network",
        "The published TiO2 1T1R cell, measured in ngspice as on a probe station with 2 % of read noise; extracted, "
        "made a surrogate, held against ngspice, and put into a spiking network. Nothing is typed twice.",
    )
    report.section("Summary").table(("what", "figure"), done.rows())
    report.figure(line_figure(done), "The line in one picture.")
    report.section("1 · The cell in ngspice")
    report.text(
        "A threshold memristor behind a BSIM4 access transistor under the random-pulse protocol: 200 ns pulses of both "
        "polarities, a read after each, and the energy of each pulse."
    )
    report.figure(bench_figure(done.lab.experiment.run), "Waveforms over the first pulses, measures over all of them.")
    report.section("2 · The access transistor").text(_sentence(done.lab.access))
    report.figure(done.lab.access.figure(), "I–V curve of the transistor in its on state and the triode law.")
    report.section("3 · Extraction of the cell").text(_sentence(done.fit))
    truth = done.lab.truth.resolved()
    rows = []
    for row in done.fit.rows():
        low, high = row.verdict.interval
        own = f"{float(truth[row.name]):.5g}" if row.name in truth and row.name != "w0" else ""
        rows.append([row.name, f"{row.value:.5g}", f"{low:.4g} .. {high:.4g}", own, row.unit, row.verdict.status])
    report.table(("parameter", "extracted", "95 % interval", "the device's own", "unit", "verdict"), rows)
    for sentence in done.fit.verdict.sentences():
        report.text(sentence, mark="note")
    report.figure(done.fit.figure(), "Measured and fitted conductance, residuals, correlations of the parameters.")
    report.section("4 · Surrogate against ngspice")
    certificate = done.surrogate.certificate
    assert certificate is not None  # certified() gives one
    report.table(("", "certificate"), [line.split(None, 1) for line in certificate.lines()])
    report.figure(overview(done.held), "Fresh pulses: the surrogate against ngspice on the device itself.")
    report.section("5 · Network")
    report.text(
        f"{done.network.seeds[0].arrays.labels.size} adaptive neurons learn {done.images.name} by "
        f"voltage-dependent plasticity on cells of this surrogate: {done.network.mean:.1%} of the test images."
    )
    for name, figure in done.network.figures().items():
        report.figure(figure, name.replace("_", " "))
    report.section("6 · Measured curves")
    report.text(
        "The public pulse files do not state their voltages, so thresholds and slopes cannot be had from them; "
        "the step of one pulse, its saturation, and the range can."
    )
    for name, fit in done.measured.items():
        report.text(f"{name}: {_sentence(fit)}")
        report.figure(fit.figure(), f"{name}: measured and fitted, held-out part marked.")
    for name, reason in done.absent.items():
        report.text(f"{name}: {reason}", mark="note")
    return report


def _sentence(fit: FitResult) -> str:
    held = fit.held_out_error
    tail = "" if held is None else f" RMS error on the held-out part: {held:.2%} of its range."
    return f"{fit.verdict.summary.capitalize()}. RMS error: {fit.training_error:.3%} of the range.{tail}"
