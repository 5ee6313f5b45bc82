"""Vectors as datasets: the quick construction gives what xarray's own constructor would."""

import numpy as np
import xarray

from cosim.engines.waveforms import Plot, dataset


def test_a_transient_is_the_dataset_that_the_public_constructor_makes() -> None:
    time = np.linspace(0.0, 1e-6, 50)
    plot = Plot("tran", ("time", "out", "v1#branch"), ("time", "voltage", "current"), (time, np.sin(time), -time))
    expected = xarray.Dataset(
        {"v(out)": ("time", np.sin(time), {"units": "V"}), "i(v1)": ("time", -time, {"units": "A"})},
        coords={"time": ("time", time, {"units": "s"})},
    )
    got = dataset(plot)
    xarray.testing.assert_identical(got, expected)
    xarray.testing.assert_identical(got.sel(time=slice(2e-7, 4e-7)), expected.sel(time=slice(2e-7, 4e-7)))
    xarray.testing.assert_identical(got.interp(time=[3.3e-7]), expected.interp(time=[3.3e-7]))
    xarray.testing.assert_identical(xarray.merge([got, got.rename({"v(out)": "twice"})]).drop_vars("twice"), expected)


def test_a_dataset_may_be_changed_without_changing_another() -> None:
    time = np.linspace(0.0, 1.0, 5)
    plot = Plot("tran", ("time", "out"), ("time", "voltage"), (time, time.copy()))
    first, second = dataset(plot), dataset(plot)
    first["more"] = first["v(out)"] * 2.0
    assert "more" not in second
    assert list(second.coords) == ["time"]
