"""``cosim network run rsnn``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from cosim import units
from cosim.cli.network_options import ANYWAY
from cosim.errors import InputError, UnknownName

if TYPE_CHECKING:
    from cosim.network.systems.rsnn_settings import ThermalSettings

PIECES = 50  # frames of a piece for thermal synapses: half a second, which their temperatures remember


def run_rsnn(
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for results, figures and checkpoints.")],
    data: Annotated[str, typer.Option(help="flite (spoken anew, free), or the folder of a copy of TIMIT.")] = "flite",
    sentences: Annotated[int, typer.Option(help="Of flite, by each of three voices; a fifth of them to test.")] = 80,
    synapse: Annotated[
        str, typer.Option(help="Into the hidden layer: ideal, or thermal (eligibility as temperature).")
    ] = "ideal",
    preset: Annotated[
        str,
        typer.Option(
            help="public (of e-prop's implementations), source (Sec. 7.2), or thermal; default: as the synapses are.",
            show_default=False,
        ),
    ] = "",
    epochs: Annotated[int, typer.Option(help="Epochs.")] = 5,
    hidden: Annotated[int, typer.Option(help="Recurrent neurons.")] = 200,
    rate: Annotated[str, typer.Option(help="Learning rate; default: the preset's.", show_default=False)] = "",
    feedback: Annotated[str, typer.Option(help="Of errors: symmetric or random.")] = "symmetric",
    trained: Annotated[str, typer.Option(help="all weights, or the readout alone.")] = "all",
    utterances: Annotated[int, typer.Option(help="Train on so many utterances only; 0: on all.")] = 0,
    hold_out: Annotated[
        int,
        typer.Option(help="To choose settings: test on so many training utterances, the last ones; 0: on the test's."),
    ] = 0,
    pieces: Annotated[
        int,
        typer.Option(
            help=f"Train on pieces of about so many frames; 0: on whole utterances; default: {PIECES} if thermal.",
            show_default=False,
        ),
    ] = -1,
    parameters: Annotated[
        str, typer.Option(help="Of thermal synapses: a parameter set of thermal_reram.", show_default=False)
    ] = "",
    levels: Annotated[
        int, typer.Option(help="Of each thermal device; 0: any conductance; default: 256.", show_default=False)
    ] = -1,
    gain: Annotated[
        str,
        typer.Option(help="Weight per difference of a pair, in units of the devices' range.", show_default=False),
    ] = "",
    pulses: Annotated[
        str, typer.Option(help="Published SET pulses of a write: the learning rate.", show_default=False)
    ] = "",
    unit: Annotated[
        str,
        typer.Option(
            help="Rise of an e-update at full drive, over that which counts as 1 in Eq. 27; default: 0.1.",
            show_default=False,
        ),
    ] = "",
    tau_th: Annotated[
        str,
        typer.Option(help="Time constant of the temperature, e.g. 1us; default: the device's own.", show_default=False),
    ] = "",
    alpha: Annotated[
        str, typer.Option(help="Of W(T), relative, 1/K; default: the device's own.", show_default=False)
    ] = "",
    device_spread: Annotated[str, typer.Option(help="Of a, b, c, d from device to device (D_v), relative.")] = "",
    cycle_spread: Annotated[str, typer.Option(help="Of a write from cycle to cycle (C_v), relative.")] = "",
    screen: Annotated[
        str,
        typer.Option(
            help="Leave out pairs with a device whose test step is more than so many times too large; default: none.",
            show_default=False,
        ),
    ] = "",
    feature: Annotated[
        str,
        typer.Option(help="F: crosstalk of a stack with such lines, solved for; default: none.", show_default=False),
    ] = "",
    pitch: Annotated[str, typer.Option(help="K of that stack; default: 2 F.", show_default=False)] = "",
    geometry: Annotated[Literal["baseline", "modified"], typer.Option(help="Of that stack.")] = "baseline",
    layout: Annotated[
        str,
        typer.Option(
            help="Of pairs in that stack: beside (+ and - side by side; the default), or apart (an array for each).",
            show_default=False,
        ),
    ] = "",
    seeds: Annotated[str, typer.Option(help="One network each, e.g. 0,1,2.")] = "0",
    backend: Annotated[str, typer.Option(help="auto, numba or numpy.")] = "auto",
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the folder's checkpoints.")] = False,
    anyway: Annotated[bool, typer.Option("--anyway", help=ANYWAY)] = False,
    figures: Annotated[bool, typer.Option("--figures/--no-figures", help="Draw the figures.")] = True,
) -> None:
    """Phones of speech, frame by frame, by a recurrent spiking network that learns with e-prop."""
    from cosim.cli.network import carry_out, read_seeds
    from cosim.cli.output import working

    numbers = read_seeds(seeds)
    if synapse not in ("ideal", "thermal"):
        raise UnknownName("synapse", synapse, ("ideal", "thermal"))
    of_devices = {
        "--parameters": parameters, "--tau-th": tau_th, "--alpha": alpha, "--device-spread": device_spread,
        "--cycle-spread": cycle_spread, "--gain": gain, "--pulses": pulses, "--feature": feature, "--pitch": pitch,
        "--levels": levels != -1, "--layout": layout, "--unit": unit, "--screen": screen,
    }  # fmt: skip
    if synapse == "ideal" and (given := [name for name, value in of_devices.items() if value]):
        raise InputError(f"{given[0]} is of thermal synapses, and these are ideal", remedy="add --synapse thermal")
    for option, value in (("--pitch", pitch), ("--layout", layout), ("--geometry", geometry == "modified")):
        if value and not feature:
            raise InputError(f"{option} is of a stack whose --feature is not given", remedy="give both")
    with working("loading the speech"):
        from cosim.data.speech import stand_in, timit
        from cosim.network.systems.rsnn import RsnnSystem
        from cosim.network.systems.rsnn_settings import PRESETS

        preset = preset or ("thermal" if synapse == "thermal" else "public")
        if preset not in PRESETS:
            raise UnknownName("preset", preset, PRESETS)
        changes: dict[str, Any] = {"hidden": hidden, "feedback": feedback, "trained": trained}
        if rate:
            changes["rate"] = units.parse(rate, "1")
        if synapse == "thermal":
            changes |= {"inputs": "split", "filtered": False}
        settings = PRESETS[preset].with_(**changes)
        devices = _devices(of_devices, levels) if synapse == "thermal" else None
        speech = stand_in(sentences) if data == "flite" else timit(data)
        if utterances > len(speech.train):
            raise InputError(
                f"--utterances {utterances} are more than the {len(speech.train)} to train on",
                remedy="give fewer, or 0 for all",
            )
        speech = speech.first(utterances) if utterances else speech
        speech = speech.held_out(hold_out) if hold_out else speech
        length = (PIECES if synapse == "thermal" else 0) if pieces == -1 else pieces
        speech = speech.pieces(length) if length else speech
    if devices is not None and feature:
        with working("solving the heat equation of the stack"):
            devices = devices.with_(coupling=_coupling(feature, pitch, geometry))
    carry_out(
        RsnnSystem(settings, speech, epochs, backend, devices), output, seeds=numbers, resume=resume, anyway=anyway,
        figures=figures, items="utterances" if not length else "pieces",
    )  # fmt: skip


def _devices(given: dict[str, Any], levels: int) -> ThermalSettings:
    """Settings of thermal synapses as they are typed."""
    from cosim.network.systems.rsnn_settings import ThermalSettings

    changes: dict[str, Any] = {"levels": levels} if levels != -1 else {}
    changes |= {name: given[f"--{name}"] for name in ("parameters", "layout") if given[f"--{name}"]}
    names = (
        ("--tau-th", "tau", "s"), ("--alpha", "alpha", "1/K"), ("--device-spread", "device_spread", "1"),
        ("--cycle-spread", "cycle_spread", "1"), ("--gain", "gain", "1"), ("--pulses", "pulses", "1"),
        ("--unit", "unit", "1"), ("--screen", "screen", "1"),
    )  # fmt: skip
    for option, name, unit in names:
        if given[option]:
            changes[name] = units.parse(given[option], unit)
    return ThermalSettings(**changes)


def _coupling(feature: str, pitch: str, geometry: str) -> tuple[float, float, float]:
    """Of the heat equation's solution of a stack."""
    from cosim.heat.response import COUPLING_TIME, response
    from cosim.heat.stack import Stack
    from cosim.network.systems.rsnn_thermal import coupling_of

    make = Stack.modified if geometry == "modified" else Stack.baseline
    stack = make(units.parse(feature, "m"), pitch=units.parse(pitch, "m") if pitch else None)
    return coupling_of(response(stack, stop=1.5 * COUPLING_TIME).at(COUPLING_TIME))
