"""What a surrogate refuses, and what its certificate may promise."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType
from typing import ClassVar

import numpy as np
import pytest
import xarray as xr

from cosim.cli.app import main
from cosim.devices.base import Values
from cosim.devices.maps import EventMap, Field
from cosim.errors import DomainError, FitError, InputError, UnknownName
from cosim.parameters import ParameterSet, Quantity
from cosim.surrogate.base import Certificate
from cosim.surrogate.certify import certify
from cosim.surrogate.circuit import CIRCUIT, CircuitSet
from cosim.surrogate.conformal import Band
from cosim.surrogate.evidence import Scales, extraction_error, instance_shares
from cosim.surrogate.filter import FilterLaw
from cosim.surrogate.learned import fit
from cosim.surrogate.measured import undecided_thresholds
from cosim.surrogate.model import Surrogate
from cosim.surrogate.neuron_bench import neuron_limits
from cosim.surrogate.neuron_trains import held_out_means
from cosim.surrogate.recheck import broken_intervals, fresh_events
from cosim.surrogate.references import Equations
from cosim.surrogate.spike_bench import intervals_tested, seen
from cosim.surrogate.trains import RandomTrains


def learned_circuit() -> Surrogate:
    rng = np.random.default_rng(0)
    w, v = rng.random(200), rng.uniform(-1.0, 1.0, 200)
    ranges = {"w": (0.0, 1.0), "v": (-1.0, 1.0)}
    law = fit({"w": w, "v": v}, {"w": 0.1 * v}, scales={"w": 1.0}, rng=rng, kinds=["polynomial"], ranges=ranges).law
    chosen = CircuitSet(
        CIRCUIT, "c", {}, source="x", inputs=MappingProxyType({"v": Field("V", ranges["v"])}),
        states=MappingProxyType({"w": Field("1", ranges["w"])}), event="e",
    )  # fmt: skip
    return Surrogate(chosen, learned=law)


def test_a_learned_circuit_stays_within_its_states_and_is_not_asked_beyond_its_inputs() -> None:
    one = learned_circuit()
    state = Values({"w": np.array(0.95)})
    for _ in range(3):
        state = one.advance(state, Values({"v": 1.0}))
    assert float(state["w"]) == 1.0
    with pytest.raises(DomainError, match="v"):
        one.advance(state, Values({"v": 2.0}))
    with pytest.raises(DomainError, match="state w"):
        one.advance(Values({"w": 1.15}), Values({"v": 0.5}))
    with pytest.warns(match="v"):
        one.with_(policy="warn").advance(state, Values({"v": 2.0}))


def test_a_law_that_was_learned_from_its_circuit_lacks_no_extraction() -> None:
    found, said = extraction_error(learned_circuit(), xr.Dataset(), Scales({}, {}))
    assert not found
    assert "missing" not in said


class Equation:
    """A reference whose alpha_p counts more than the surrogate's: each instance has an error of its own."""

    engine, independent, device = "equation", False, None
    tolerances: ClassVar[Mapping[str, float]] = {}

    def netlist(self, event_map: EventMap) -> str:
        return "0"

    def subject(self, parameters: ParameterSet) -> str:
        return "an equation"

    def respond(self, parameters: ParameterSet, event_map: EventMap, events: xr.Dataset) -> xr.Dataset:
        nominal = float(ParameterSet.load("tio2").resolved()["theta_p"])
        p = parameters.resolved()
        shift = 0.01 * (float(p["theta_p"]) / nominal - 1.0)
        x, rows = Values({"w": np.array(float(events["w_before"]))}), []
        for u in events["amplitude"].values:
            after, outputs = event_map(x, Values({"amplitude": np.array(u)}), p)
            x = Values({"w": np.clip(after["w"] + shift, 0.0, 1.0)})
            rows.append({**x, **outputs})
        return xr.Dataset({name: ("event", [float(row[name]) for row in rows]) for name in rows[0]})


class Drifting:
    """The circuit of `learned_circuit` without bounds: trains leave the range that its bench gives."""

    engine, independent, device = "equation", True, None
    tolerances: ClassVar[Mapping[str, float]] = {}
    netlist, subject = Equation.netlist, Equation.subject

    def respond(self, parameters: ParameterSet, event_map: EventMap, events: xr.Dataset) -> xr.Dataset:
        return xr.Dataset({"w": ("event", float(events["w_before"]) + 0.1 * np.cumsum(events["v"].values))})


def test_events_that_begin_outside_the_range_are_no_evidence() -> None:
    made, held = certify(learned_circuit(), Drifting(), pulses=200, limits={"w": 0.2})
    assert held.events.sizes["event"] == 200
    assert np.allclose(held["w"] - held["w_before"], 0.1 * held["v"], atol=1e-12)
    assert made.certificate is not None
    (said,) = [note for note in made.certificate.notes if " left " in note]
    assert said.startswith("w left 0 to 1, and the ")
    # what ends outside is an error: the surrogate holds the state
    inside = (held["w"] >= 0.0) & (held["w"] <= 1.0)
    error = np.abs(held["w_surrogate"] - held["w"])
    assert error[inside].max() < 1e-9 < error[~inside].max()


def ramp(source: str) -> ParameterSet:
    """The set of a fit that did not see the thresholds, whose values have this source."""
    known = ParameterSet.load("tio2")
    held = {name: Quantity(known.values[name].value, None, source) for name in ("theta_p", "theta_n", "alpha_p")}
    return ParameterSet(known.device, "ramp", MappingProxyType({**known.values, **held}))


def test_thresholds_that_nothing_measured_fail_unless_somebody_answers_for_them() -> None:
    cell = Surrogate(ramp("not fitted; arXiv 2510.25787"))
    found = certify(cell, Equations(), pulses=60)[0].certificate
    assert found is not None
    (said,) = found.broken
    assert said == (
        "not verified: thresholds theta_p = 1.432 V (not fitted; arXiv 2510.25787), "
        "theta_n = 1.564 V (not fitted; arXiv 2510.25787)"
    )
    half = certify(cell, Equations(), pulses=60, assume=["theta_p"])[0].certificate
    assert half is not None
    assert list(half.unverified) == ["theta_n"]
    whole = certify(cell, Equations(), pulses=60, assume=["theta_p", "theta_n"])[0].certificate
    assert whole is not None
    assert not whole.broken
    assert "assumed     theta_p = 1.432 V" in "\n".join(whole.lines())
    assert Certificate.from_dict(whole.to_dict()) == whole
    # values that are somebody's, and a reference that is another device
    assert not certify(Surrogate(ramp("our datasheet")), Equations(), pulses=60)[0].certificate.broken  # type: ignore[union-attr]
    other = certify(cell, Equations(device=ParameterSet.load("tio2")), pulses=60)[0].certificate
    assert other is not None
    assert not other.unverified
    with pytest.raises(UnknownName, match="theta_x"):
        certify(cell, Equations(), pulses=60, assume=["theta_x"])
    # a device whose parameters are another's defaults
    lacking = Surrogate(ParameterSet("threshold_memristor", "bare", MappingProxyType({})))
    assert list(certify(lacking, Equations(), pulses=60)[0].certificate.unverified) == ["theta_p", "theta_n"]  # type: ignore[union-attr]


def test_a_value_at_its_bound_is_moved_inwards() -> None:
    values = {**ramp("not fitted").values, "ratio": Quantity(1e6, None, "not fitted")}
    chosen = ParameterSet("threshold_memristor", "bound", MappingProxyType(values))
    event_map = Surrogate(chosen).map
    assert list(undecided_thresholds(chosen, event_map, shape=None)) == ["theta_p", "theta_n"]


def test_with_a_spread_each_instance_counts_once_in_the_intervals() -> None:
    cell = Surrogate(ParameterSet.load("tio2"))
    made, held = certify(cell, Equation(), pulses=500, spread={"theta_p": 0.2})
    found = made.certificate
    assert found is not None
    assert [(band.events, band.runs) for band in found.bands] == [(1, 51)]
    assert held.after[1]["w"].size == 51
    assert len(found.bands[0].widths["w"]) == 3  # no 99 %
    said = "; ".join(found.notes)
    assert "spread: 51 instances, 5 or more from each tenth of theta_p; " in said
    assert "calibrated on one run of each, too few for 99 %" in said
    alone, _ = certify(cell, Equation(), pulses=500)
    assert alone.certificate is not None
    assert alone.certificate.bands[0].runs == 500


def test_instances_fill_the_range_of_each_parameter() -> None:
    for count in (50, 51, 73):
        shares = instance_shares(count, 3, rng=np.random.default_rng(count))
        for column in shares.T:
            assert np.histogram(column, bins=10, range=(0.0, 1.0))[0].min() >= 5
        assert not np.array_equal(np.argsort(shares[:, 0]), np.argsort(shares[:, 1]))
    assert instance_shares(4, 0, rng=np.random.default_rng(0)).shape == (4, 0)
    cell = Surrogate(ParameterSet.load("tio2"))
    with pytest.raises(InputError, match="40 events are too few for a spread, which takes 50 instances"):
        certify(cell, Equation(), pulses=40, spread={"theta_p": 0.2})
    drawn = RandomTrains(cell.map, np.random.default_rng(0), count=60, longest=200, ranges={}, instances=50)
    assert (sum(drawn.sizes), len(drawn.sizes)) == (60, 52)


def test_a_check_draws_as_the_certificate_did_but_others() -> None:
    cell = Surrogate(ParameterSet.load("tio2"))
    made, _ = certify(cell, Equation(), pulses=500, seed=3, spread={"theta_p": 0.2})
    more = fresh_events(made, seed=3)
    assert more.seed == 4
    assert "own events" in more.said
    assert dict(more.spread) == pytest.approx({"theta_p": 0.2})
    assert fresh_events(made, seed=5).said == ""
    assert fresh_events(made, seed=5, independent=True).spread == {}
    assert fresh_events(cell, seed=3).seed == 3


def test_intervals_that_cover_too_few_fresh_answers_are_named() -> None:
    rng = np.random.default_rng(2)
    band = Band.of({"w": rng.normal(size=500)}, events=1)
    assert broken_intervals([band], {1: {"w": rng.normal(size=500)}}) == ()
    (said,) = broken_intervals([band], {1: {"w": 1.5 * rng.normal(size=500)}})
    assert said == "the 95 % interval of w after 1 event covers 390 of 500 fresh answers"
    assert broken_intervals([band], {10: {"w": rng.normal(size=500)}}) == ()


def test_a_filter_refuses_levels_that_it_has_not_and_says_when_it_is_not_solved() -> None:
    law = FilterLaw(1e-6, 1e-12, np.array([1e-10, 1e-9]))
    held = {"i": np.array([1e-10, 2e-10]), "interval": np.array(1e-6)}
    assert np.all(np.isfinite(law({**held, "level": np.array([0.0, 1.0])})["i"]))
    for level in (-1.0, 2.0, 0.49, np.nan):
        with pytest.raises(InputError, match=r"whole number from 0 to 1|not one of the filter's"):
            law({**held, "level": np.array(level)})
    backwards = FilterLaw(1e-6, -5e-9, np.array([1e-9]))  # more threshold than any level: there is no time course
    with pytest.raises(FitError, match="was not solved in"):
        backwards({**held, "level": np.array(0.0)})
    trimmed = FilterLaw(1e-6, -1e-11, np.array([1e-9]))  # begun where the law would run backwards
    assert np.isfinite(trimmed({**held, "i": np.array(0.0), "level": np.array(0.0)})["i"])


def test_a_circuit_without_a_law_is_sent_to_a_command_that_exists() -> None:
    with pytest.raises(InputError, match="has no law") as found:
        Surrogate(learned_circuit().parameters)
    words = str(found.value.remedy).partition("cosim ")[2].split()
    assert main([*words, "--help"]) == 0


def test_no_two_modules_give_one_name_two_meanings() -> None:
    modules = [
        import_module(f"cosim.surrogate.{name}") for name in ("active", "learn", "learned", "density", "certify")
    ]
    modules.append(import_module("cosim.surrogate.neuron_bench"))
    meanings: dict[str, list[object]] = {}
    for module in modules:
        for name, value in vars(module).items():
            own = getattr(value, "__module__", module.__name__) == module.__name__
            if own and not name.startswith("_") and (callable(value) or isinstance(value, (int, float))):
                meanings.setdefault(name, []).append(value)
    assert {name for name, values in meanings.items() if any(value != values[0] for value in values)} == set()


def test_a_neuron_is_held_out_from_end_to_end_and_certified_where_it_was_tested() -> None:
    assert held_out_means(60e-9, 1e-6, count=3) == pytest.approx([3e-7, np.sqrt(3e-13), 1e-6])
    assert held_out_means(60e-9, 1e-6, count=1) == pytest.approx([np.sqrt(3e-13)])
    usual = 1e-7 * np.exp(np.linspace(0.0, 1.0, 100))
    low, high = intervals_tested([np.append(usual, 1e-4), usual, usual])  # one long interval certifies nothing
    assert low == pytest.approx(1e-7)
    assert high < 5e-7
    assert neuron_limits({"untested": 0.1})["untested"] == 0.1
    counts = seen([np.zeros(40), np.full(40, 0.55), np.append(np.full(3, 0.55), 0.0), np.array([0.55])], (0.0, 1.0))
    assert counts.tolist() == [0, 0, 0, 0, 0, 44, 0, 0, 0, 0]  # two trains saw the first tenth
    assert neuron_limits({"latency": 0.5, "phase": 0.2}).items() >= {"latency": 0.5, "phase": 0.2, "v": 0.01}.items()
