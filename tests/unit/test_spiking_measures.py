"""Measures of spike trains on waveforms whose answers are known."""

import numpy as np
import pytest
import xarray

from cosim.bench.file import BenchFile
from cosim.bench.measures.kinds import Crossing, Point
from cosim.bench.measures.spiking import EnergyPerSpike, PairedPulse, SpikeInterval, SpikeTime, SpikeWidth
from cosim.bench.stimulus_kinds import Spikes
from cosim.errors import InputError, UnknownName


def trapezoids(starts: list[float], width: float, end: float) -> Point:
    """Pulses of 1 V with edges of 1 ns; a supply of 2 V that gives 1 uA always and 3 uA more within each pulse."""
    t, v, i = [0.0], [0.0], [-1e-6]
    for start in starts:
        t += [start, start + 1e-9, start + 1e-9 + width, start + 2e-9 + width]
        v += [0.0, 1.0, 1.0, 0.0]
        i += [-1e-6, -4e-6, -4e-6, -1e-6]
    t, v, i = [*t, end], [*v, 0.0], [*i, -1e-6]
    data = xarray.Dataset(
        {"v(out)": ("time", np.array(v)), "v(vdd)": ("time", np.full(len(t), 2.0)), "i(vdd)": ("time", np.array(i))},
        coords={"time": np.array(t)},
    )
    return Point(data, {"gap": 2e-6}, {})


POINT = trapezoids([1e-6, 3e-6, 6e-6, 10e-6], 100e-9, 12e-6)
COMMON = {"of": "v(out)", "level": 0.5}


@pytest.mark.parametrize(("which", "us"), [("first", 2.0), ("last", 4.0), ("shortest", 2.0), ("mean", 3.0)])
def test_intervals(which: str, us: float) -> None:
    found = SpikeInterval(kind="spike-interval", which=which, **COMMON).evaluate(POINT)
    assert found == pytest.approx(us * 1e-6, rel=1e-12)


def test_times_and_width() -> None:
    assert SpikeTime(kind="spike-time", number=2, **COMMON).evaluate(POINT) == pytest.approx(3.0005e-6, rel=1e-12)
    assert SpikeTime(kind="spike-time", number=-1, **COMMON).evaluate(POINT) == pytest.approx(10.0005e-6, rel=1e-12)
    assert SpikeTime(kind="spike-time", after=4e-6, **COMMON).evaluate(POINT) == pytest.approx(6.0005e-6, rel=1e-12)
    assert SpikeWidth(kind="spike-width", **COMMON).evaluate(POINT) == pytest.approx(101e-9, rel=1e-9)
    with pytest.raises(InputError, match="counted from 1"):
        SpikeTime(kind="spike-time", number=0, **COMMON).evaluate(POINT)
    with pytest.raises(InputError, match="4 spikes, and 9 are needed"):
        SpikeTime(kind="spike-time", number=9, **COMMON).evaluate(POINT)


def test_crossings_are_counted_from_either_end() -> None:
    last = Crossing(kind="crossing", edge="fall", number=-1, since=10e-6, **COMMON).evaluate(POINT)
    assert last == pytest.approx(101.5e-9, rel=1e-6)
    with pytest.raises(InputError, match="counted from 1"):
        Crossing(kind="crossing", number=0, **COMMON).evaluate(POINT)
    with pytest.raises(InputError, match="4 times, not 5"):
        Crossing(kind="crossing", number=-5, **COMMON).evaluate(POINT)


def test_energy_counts_whole_intervals() -> None:
    supplies = (("v(vdd)", "i(vdd)"),)
    found = EnergyPerSpike(kind="energy-per-spike", supplies=supplies, **COMMON).evaluate(POINT)
    # 9 us of 2 uW and three pulses of 101 ns x 6 uW, over three intervals; half an edge at each end
    assert found == pytest.approx((9e-6 * 2e-6 + 3 * 101e-9 * 6e-6) / 3, rel=1e-4)
    later = EnergyPerSpike(kind="energy-per-spike", supplies=supplies, skip=2, **COMMON).evaluate(POINT)
    assert later == pytest.approx(4e-6 * 2e-6 + 101e-9 * 6e-6, rel=1e-4)
    with pytest.raises(InputError, match="needed"):
        EnergyPerSpike(kind="energy-per-spike", supplies=supplies, skip=3, **COMMON).evaluate(POINT)


def test_paired_pulse_ratio() -> None:
    t = np.linspace(0.0, 6e-6, 6001)
    k = np.arange(t.size)
    first, second = abs(k - 1100) < 50, abs(k - 3100) < 50
    data = xarray.Dataset({"i(v)": ("time", 5e-9 + 1e-6 * first + 1.3e-6 * second)}, coords={"time": t})
    point = Point(data, {"gap": 2e-6}, {})
    for response in ("charge", "peak"):
        kind = PairedPulse(
            kind="paired-pulse-ratio", of="i(v)", response=response, first=1e-6, interval="gap", window=1e-6
        )
        assert kind.evaluate(point) == pytest.approx(1.3, rel=1e-9)
    silent = PairedPulse(kind="paired-pulse-ratio", of="i(v)", first=4e-6, interval="gap", window=1e-6)
    with pytest.raises(InputError, match="does not answer"):
        silent.evaluate(Point(data, {"gap": 1e-6}, {}))
    with pytest.raises(UnknownName):
        silent.evaluate(Point(data, {"delay": 1e-6}, {}))


def test_spike_train_is_written_as_knots() -> None:
    train = Spikes(
        kind="spikes", count=2, interval="2 us", first=1e-6, width=10e-9, edge=1e-9, amplitude=1.2, base=-0.2
    )
    numbers = [float(x) for x in train.source().replace("PWL(", "").replace(")", "").replace("+ ", "").split()]
    assert numbers[0::2] == pytest.approx(
        [0, 1e-6, 1.001e-6, 1.011e-6, 1.012e-6, 3e-6, 3.001e-6, 3.011e-6, 3.012e-6], rel=1e-12
    )
    assert numbers[1::2] == [-0.2, -0.2, 1.2, 1.2, -0.2, -0.2, 1.2, 1.2, -0.2]
    assert train.duration() == pytest.approx(5e-6)
    swept = train.model_copy(update={"interval": "gap"})
    assert swept.duration() is None
    assert "{1e-06 + 1 * gap}" in swept.source()


@pytest.mark.parametrize("name", ["width", "edge", "first"])
def test_spike_train_refuses_no_time(name: str) -> None:
    stimulus = {"kind": "spikes", "count": 1, "interval": "1 us", "first": "1 us", "width": "1 ns", "edge": "1 ns"}
    file = {
        "title": "t", "analysis": {"kind": "op"}, "stimuli": {"in": {**stimulus, "amplitude": "1 V", name: "0 s"}},
    }  # fmt: skip
    with pytest.raises(ValueError, match=f"{name} of a spike train"):
        BenchFile.model_validate(file)
