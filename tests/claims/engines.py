"""numpy, B-source, OSDI and VACASK: how far apart they are on every device with states, and at which tolerances."""

from __future__ import annotations

from claims.base import Claim, Figures, Report
from claims.equivalence import Exercise
from cosim.bench.testbench import STANDARD, TIGHT
from cosim.devices.registry import device, devices
from cosim.engines.registry import open_simulator
from cosim.parameters import shipped_sets

WAYS = (("pyspice", "behavioural"), ("pyspice", "verilog-a"), ("vacask", "verilog-a"))


def cases() -> list[tuple[str, str]]:
    """(device, set) of every published set of a device with states; (device, "") for one without sets."""
    sets = shipped_sets()
    with_sets = [key for key in sorted(sets) if device(key[0]).states]
    named = {name for name, _ in with_sets}
    return with_sets + [(name, "") for name, model in devices().items() if model.states and name not in named]


def measure(tell: Report) -> Figures:
    """The largest |engine − scipy| over states and time, in the state's range, per device and way."""
    table: dict[str, dict[str, float]] = {}
    worst = {"standard": 0.0, "tight": 0.0}
    exercises = {}
    for name, chosen in cases():
        tell(f"scipy on {name} {chosen}")
        p = shipped_sets()[name, chosen].resolved() if chosen else device(name).defaults()
        exercises[name, chosen] = Exercise.random(device(name), p)
    for engine, form in WAYS:
        with open_simulator(engine) as simulator:
            for (name, chosen), exercise in exercises.items():
                tell(f"{name} {chosen} as {form} in {engine}")
                row = table.setdefault(f"{name}:{chosen}".rstrip(":"), {})
                for label, options in (("standard", STANDARD), ("tight", TIGHT)):
                    largest = max(exercise.errors(simulator, form=form, options=options).values())
                    row[f"{engine}/{form}/{label}"] = largest
                    worst[label] = max(worst[label], largest)
    return {"devices": len(exercises), "largest": worst["standard"], "largest_tight": worst["tight"], "table": table}


ENGINES = Claim(
    "engines",
    "on every device numpy, B-source, OSDI and VACASK agree: 2e-3 of full scale, 2e-4 with tightened tolerances",
    measure,
    {"largest": (None, 2e-3), "largest_tight": (None, 2e-4)},
)
