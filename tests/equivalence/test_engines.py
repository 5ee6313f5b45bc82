"""One device, one drive, four ways to solve it: scipy on the numpy functions, B-source, OSDI, VACASK."""

from collections.abc import Iterator

import pytest

from claims.equivalence import Exercise
from cosim.bench.testbench import STANDARD, TIGHT
from cosim.devices.registry import device, devices
from cosim.engines.registry import open_simulator
from cosim.engines.simulator import Simulator
from cosim.parameters import shipped_sets

# Every published set of a device with states, and the defaults of every stateful device that has none.
CASES = [key for key in sorted(shipped_sets()) if device(key[0]).states] + [
    (name, "") for name, d in devices().items() if d.states and not any(key[0] == name for key in shipped_sets())
]
WAYS = [
    pytest.param("pyspice", "behavioural", marks=pytest.mark.spice),
    pytest.param("pyspice", "verilog-a", marks=[pytest.mark.spice, pytest.mark.osdi]),
    pytest.param("ngspice", "behavioural", marks=pytest.mark.spice),
    pytest.param("vacask", "verilog-a", marks=pytest.mark.vacask),
]


@pytest.fixture(scope="module")
def simulators() -> Iterator[dict[str, Simulator]]:
    opened: dict[str, Simulator] = {}
    yield opened
    for simulator in opened.values():
        simulator.close()


@pytest.fixture(scope="module")
def exercises() -> dict[tuple[str, str], Exercise]:
    return {}


@pytest.mark.parametrize(("engine", "form"), WAYS)
@pytest.mark.parametrize("case", CASES, ids=":".join)
def test_states_agree(
    case: tuple[str, str],
    engine: str,
    form: str,
    simulators: dict[str, Simulator],
    exercises: dict[tuple[str, str], Exercise],
) -> None:
    if engine not in simulators:
        simulators[engine] = open_simulator(engine)
    if case not in exercises:
        model = device(case[0])
        p = shipped_sets()[case].resolved() if case[1] else model.defaults()
        first = next(key for key in CASES if key[0] == case[0])
        # a device's other sets differ by their numbers alone; `./run measure engines` drives each as long
        exercises[case] = Exercise.random(model, p, pulses=40 if case == first else 10)
    exercise = exercises[case]
    # the project's claims: 2e-3 of full scale as benches run, 2e-4 with tightened tolerances
    for options, allowed in ((STANDARD, 2e-3), (TIGHT, 2e-4)):
        errors = exercise.errors(simulators[engine], form=form, options=options)
        assert max(errors.values()) < allowed, (options, errors)
