"""Pulses as vector instructions: functions to the last places, the law's own answers, single precision, memory."""

import re
import tracemalloc
from itertools import product

import numpy as np
import pytest

from cosim.devices.base import Values
from cosim.errors import InputError
from cosim.parameters import ParameterSet
from cosim.surrogate import pulse_kernel
from cosim.surrogate.correction import Correction, orders
from cosim.surrogate.learned import fit, fit_each
from cosim.surrogate.model import Surrogate

numba = pytest.importorskip("numba")
from cosim.surrogate.vector_math import functions  # noqa: E402

DTYPES = ("float32", "float64")
SETS = {
    (name, device): ParameterSet.load(name).for_device(device)
    for name, device in product(("tio2", "hfo2", "hzo"), ("threshold_memristor", "cell_1t1r"))
}
TIO2, CELL = SETS["tio2", "threshold_memristor"], SETS["tio2", "cell_1t1r"]
# Of the state's range; the rounding of the law itself in this precision, whichever way it is computed.
ROUNDING = {"float32": 1e-6, "float64": 1e-12}


def loop_of(function):
    @numba.njit(error_model="numpy")
    def loop(x, out):
        for i in range(x.size):
            out[i] = function(x[i])

    return loop


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["expm1", "exp2", "log1p", "log2"])
def test_a_function_is_right_to_two_units_in_the_last_place(name: str, dtype: str) -> None:
    rng, kind = np.random.default_rng(3), np.finfo(dtype)
    small = rng.choice([-1.0, 1.0], 4000) * 10.0 ** rng.uniform(-20, -0.01, 4000)
    wide = {
        "expm1": rng.uniform(-0.98, 0.98, 4000) * np.log(float(kind.max)),
        "exp2": rng.uniform(kind.minexp + 2, kind.maxexp - 2, 4000),
        "log1p": np.concatenate([10.0 ** rng.uniform(-3, 25, 2000), -rng.random(2000)]),
        "log2": 10.0 ** rng.uniform(-30, 30, 4000),
    }[name]
    near = 1.0 + small[np.abs(small) > 1e-6] if name == "log2" else small
    x = np.concatenate([wide, near, [1.0] if name == "log2" else [0.0]]).astype(dtype)
    out = np.empty_like(x)
    loop_of(functions(dtype)[name])(x, out)
    exact = getattr(np, name)(x.astype(np.longdouble))
    assert float(np.max(np.abs(out - exact) / np.spacing(np.abs(exact).astype(dtype)))) < 2.0
    assert out[-1] == (1.0 if name == "exp2" else 0.0)  # where nothing moves, nothing moves


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_function_is_finite_beyond_its_range(dtype: str) -> None:
    big = np.array([-np.inf, -1e30, 1e30, np.inf]).astype(dtype)
    found = {name: np.empty_like(big) for name in ("expm1", "exp2")}
    for name, out in found.items():
        loop_of(functions(dtype)[name])(big, out)
    assert np.all(found["expm1"][:2] == -1.0)
    assert np.all(found["expm1"][2:] > 0.5 * np.finfo(dtype).max ** 0.9)
    assert np.all((found["exp2"][:2] >= 0.0) & (found["exp2"][:2] <= np.finfo(dtype).tiny * 4))
    low, out = np.array([-1.0, 0.0]).astype(dtype), np.empty(2, dtype)
    loop_of(functions(dtype)["log1p"])(low, out)
    assert out[0] < -80.0  # extinction: e to this power times anything is nothing
    loop_of(functions(dtype)["log2"])(low, out)
    assert out[1] <= np.finfo(dtype).minexp


def correction() -> Correction:
    terms = len(orders(2, 3))
    tables = {name: 0.02 * np.random.default_rng(5).standard_normal((2, terms)) for name in ("w", "energy")}
    return Correction(("w", "amplitude"), ("amplitude",), np.array([[0.0, 1.0], [0.0, 2.4]]), 3, tables)


def drawn(shape: tuple[int, ...], drive: tuple[int, ...], dtype: str) -> tuple[Values, Values]:
    rng = np.random.default_rng(7)
    w, v = rng.uniform(0.0, 1.0, shape).astype(dtype), rng.uniform(-2.4, 2.4, drive).astype(dtype)
    w.ravel()[:4] = 0.0, 1.0, 1e-7, 1.0 - 1e-7
    v.ravel()[:2] = 0.0, -0.5
    return Values({"w": w}), Values({"amplitude": v})


ROWS, CELLS = ((40, 67), (40, 1)), ((700,), (700,))
CASES = {
    "rate law": (Surrogate(TIO2), "float32", ROWS),
    "rate law of another set": (Surrogate(SETS["hzo", "threshold_memristor"]), "float64", CELLS),
    "published map": (Surrogate(TIO2, "published"), "float64", ROWS),
    "published map of a cell": (Surrogate(SETS["hfo2", "cell_1t1r"], "published"), "float32", CELLS),
    "cell": (Surrogate(CELL), "float64", ROWS),
    "corrected": (Surrogate(TIO2, correction=correction()), "float32", CELLS),
    "gamma below one": (Surrogate(TIO2.with_values({"gamma_p": 0.6, "gamma_n": 0.0})), "float64", ROWS),
    "gamma of one": (Surrogate(TIO2.with_values({"gamma_p": 1.0, "gamma_n": 1.0})), "float64", CELLS),
    "pinched off": (Surrogate(CELL.with_values({"g_on": 1.6e-3, "v_sat": 0.45})), "float32", CELLS),
}


@pytest.mark.parametrize("case", CASES)
def test_compiled_is_the_law_to_rounding(case: str) -> None:
    known, dtype, layout = CASES[case]
    made = known.with_(dtype=dtype, compiled=True)
    x, u = drawn(*layout, dtype)
    exact = known.step(*(Values({n: a.astype(float) for n, a in part.items()}) for part in (x, u)))
    after, outputs = made.step(x, u)
    assert after.w.dtype == dtype
    np.testing.assert_allclose(after.w, exact[0].w, rtol=0, atol=ROUNDING[dtype])
    assert np.all((after.w >= 0.0) & (after.w <= 1.0))
    for name, values in outputs.items():
        np.testing.assert_allclose(values, exact[1][name], rtol=0, atol=3 * ROUNDING[dtype] * exact[1][name].max())
    p = known.values
    still = np.broadcast_to((u.amplitude >= -p.theta_p) & (u.amplitude <= p.theta_n), x.w.shape)
    np.testing.assert_array_equal(after.w[still], x.w[still])
    assert np.any(still)
    assert not np.all(still)


@pytest.mark.parametrize(
    ("kind", "layout"), [("polynomial", CELLS), ("each", CELLS), ("spline", CELLS), ("spline", ROWS)]
)
def test_a_learned_remainder_is_compiled_with_its_physics(
    kind: str, layout: tuple[tuple[int, ...], tuple[int, ...]]
) -> None:
    # a spline is looked up in slots behind those of the instances' parameters
    own = {"theta_p": np.random.default_rng(2).uniform(1.3, 1.5, layout[0])} if kind == "spline" else {}
    rng, plain = np.random.default_rng(4), Surrogate(TIO2, instances=own)
    w, v = rng.random(400), rng.uniform(-2.4, 2.4, 400)
    targets = {"w": 0.05 * np.sin(5.0 * w + v), "energy": 1e-12 * np.cos(3.0 * v) * w}
    scales, ranges = {"w": 1.0, "energy": 1e-11}, {"w": (0.0, 1.0), "amplitude": (-3.0, 3.0)}
    fields = {"w": w, "amplitude": v}
    if kind == "each":
        law = fit_each(fields, targets, scales=scales, rng=rng, kinds=("polynomial", "spline"), ranges=ranges).law
    else:
        law = fit(fields, targets, scales=scales, rng=rng, kinds=(kind,), ranges=ranges).law
    learned = plain.with_(learned=law)
    x, u = drawn(*layout, "float64")
    assert learned.allowed("amplitude") == (-3.0, 3.0)  # as far as it was trained, not as far as the map is tested
    known, made = learned.step(x, u), learned.with_(compiled=True).step(x, u)
    assert np.max(np.abs(known[0].w - plain.step(x, u)[0].w)) > 0.02
    np.testing.assert_allclose(made[0].w, known[0].w, rtol=0, atol=1e-12)
    for name in known[1]:
        np.testing.assert_allclose(made[1][name], known[1][name], rtol=0, atol=1e-11 * np.abs(known[1][name]).max())


# The initial state is a parameter as well, w0, which is none of the states that a pulse finds.
@pytest.mark.parametrize("layout", [((30, 60), (30, 1)), ((500,), (500,)), ((40, 5), (40, 1)), ((7, 8, 9), ())])
def test_compiled_with_parameters_of_each_instance(layout: tuple[tuple[int, ...], ...]) -> None:
    rng, (shape, drive) = np.random.default_rng(1), layout
    own = {name: TIO2.resolved()[name] * rng.uniform(0.9, 1.1, shape) for name in ("theta_p", "gamma_n", "w0")}
    plain = Surrogate(TIO2, instances={**own, "alpha_n": np.array(0.8)})
    x = Values({"w": rng.uniform(0, 1, shape)})
    u = Values({"amplitude": rng.uniform(-2.4, 2.4, drive)})
    made, known = (surrogate.step(x, u) for surrogate in (plain.with_(compiled=True), plain))
    np.testing.assert_allclose(made[0].w, known[0].w, rtol=0, atol=1e-12)
    for name in known[1]:
        np.testing.assert_allclose(made[1][name], known[1][name], rtol=1e-10)


def test_the_scalar_loop_keeps_a_state_apart_from_a_parameter_of_its_name() -> None:
    rng = np.random.default_rng(1)
    cells = Surrogate(TIO2, instances={"w0": rng.random(50)})
    w, v, out = rng.random(50), rng.uniform(-2.4, 2.4, 50), np.empty(50)
    assert cells.kernel is not None
    cells.kernel.compiled()(w, v, out, cells.instances["w0"][None])
    np.testing.assert_allclose(out, cells.update(w, v), rtol=0, atol=1e-14)


@pytest.mark.parametrize("drive", [(400, 1), (400, 300)], ids=["rows", "cells"])
def test_compiled_in_place_and_by_threads_is_the_same(drive: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulse_kernel, "WORTH_A_THREAD_COMPILED", 10_000)
    x, u = drawn((400, 300), drive, "float64")
    known = Surrogate(TIO2, compiled=True).step(x, u)
    w = x.w.copy()
    after, outputs = Surrogate(TIO2, compiled=True, threads=2).step(Values({"w": w}), u, out={"w": w})
    assert np.shares_memory(after.w, w)
    np.testing.assert_array_equal(w, known[0].w)
    np.testing.assert_array_equal(outputs.energy, known[1].energy)


@pytest.mark.parametrize("shape", [(), (0,), (3, 4), (60, 0)])
def test_compiled_shapes(shape: tuple[int, ...]) -> None:
    state, out = Surrogate(TIO2, compiled=True).step(Values({"w": np.full(shape, 0.4)}), Values({"amplitude": -2.0}))
    known = Surrogate(TIO2).update(np.full(shape, 0.4), -2.0)
    assert state.w.shape == out.energy.shape == shape
    np.testing.assert_allclose(state.w, known, rtol=0, atol=1e-14)


@pytest.mark.parametrize("dtype", DTYPES)
def test_compiled_takes_at_most_three_arrays(dtype: str) -> None:
    cell = Surrogate(TIO2, dtype=dtype, compiled=True)
    x, u = drawn((784, 200), (784, 1), dtype)
    out = {name: np.empty_like(x.w) for name in ("w", "energy", "conductance")}
    for call in (lambda: cell.update(x.w, u.amplitude), lambda: cell.step(x, u, out=out)):
        call()
        tracemalloc.start()
        kept = call()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert kept is not None
        assert peak < 1.5 * x.w.nbytes


@pytest.mark.parametrize("shared", [True, False])
def test_single_precision_stays_single(shared: bool) -> None:
    kernel = Surrogate(TIO2, dtype="float32", compiled=True).kernel
    assert kernel is not None
    x, u = drawn((64, 64), (64, 1) if shared else (64, 64), "float32")
    kernel.run(x.w, u.amplitude, shape=x.w.shape, energy=True)
    (made,) = kernel._vectors.values()
    for text in made.driver.inspect_llvm().values():
        assert "float" in text
        assert not re.search(r"fpext|f(mul|add|sub|div|ma)[a-z ]* double", text)


def test_only_a_closed_pulse_is_compiled() -> None:
    with pytest.raises(InputError, match=r"the map spike of .* has no compiled form; take compiled=False"):
        Surrogate(ParameterSet.load("fast"), "spike", compiled=True)
