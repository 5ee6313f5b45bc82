"""Plans: what they vary, what is wrong with one, and that a case is a function of its number alone."""

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from cosim.bench.testbench import Testbench
from cosim.bench.variation import MonteCarlo
from cosim.campaign.address import apply, nominal
from cosim.campaign.campaign import Campaign
from cosim.campaign.cases import PreparedBench
from cosim.campaign.plan import Plan
from cosim.campaign.points import Points, repeats
from cosim.campaign.searches import searcher
from cosim.errors import CosimError, InputError, UnitError, UnknownName
from cosim.statistics.rare import RareFailure

BENCH = Testbench.load("1t1r_write")
THETA = "devices.memristor.theta_p"


def points(**given):
    return Points(Plan.model_validate({"bench": "1t1r_write", **given}), BENCH)


def test_a_grid_is_every_combination_the_last_one_fastest() -> None:
    cases = points(
        grid={"corner": ["nominal", "hot"], "parameters": {"width": ["2 um", "5 um"], "w0": [0.1, 0.2, 0.3]}}
    )
    assert len(cases) == 12
    found = [(case.corner, case.values["parameters.width"], case.values["parameters.w0"]) for case in cases]
    assert found == list(itertools.product(["nominal", "hot"], [2e-6, 5e-6], [0.1, 0.2, 0.3]))
    assert [case.number for case in cases] == list(range(12))


def test_ranges_are_even_or_even_in_their_logarithm() -> None:
    even = points(grid={"parameters.width": {"start": "1 um", "stop": "5 um", "count": 5}})
    assert [case.values["parameters.width"] for case in even] == pytest.approx(np.linspace(1e-6, 5e-6, 5), rel=1e-12)
    log = points(grid={"parameters.width": {"start": "1 um", "stop": "100 um", "count": 3, "log": True}})
    assert [case.values["parameters.width"] for case in log] == pytest.approx([1e-6, 1e-5, 1e-4], rel=1e-12)


@given(number=st.integers(0, 999), size=st.integers(1000, 5000))
@settings(max_examples=25, deadline=None)
def test_a_monte_carlo_case_does_not_depend_on_how_many_there_are(number: int, size: int) -> None:
    variables = {THETA: {"relative": "20 %"}, "devices.memristor.theta_n": {"relative": "20 %"}}
    few = points(sample={"samples": 1000, "seed": 7, "variables": variables})
    many = points(sample={"samples": size, "seed": 7, "variables": variables})
    assert few[number] == many[number]


def test_a_sample_has_its_mean_deviation_and_correlation() -> None:
    other = "devices.memristor.theta_n"
    cases = points(
        sample={
            "samples": 2000, "seed": 3, "variables": {THETA: {"relative": "20 %"}, other: {"relative": "20 %"}},
            "correlations": [{"of": [THETA, other], "rho": 0.5}],
        }
    )  # fmt: skip
    values = np.array([[case.values[THETA], case.values[other]] for case in cases])
    mean = nominal(BENCH, THETA)[0]
    assert values[:, 0].mean() == pytest.approx(mean, rel=4 * 0.2 / np.sqrt(2000))  # four standard errors
    assert values[:, 0].std() == pytest.approx(0.2 * mean, rel=4 / np.sqrt(2 * 2000))
    assert np.corrcoef(values.T)[0, 1] == pytest.approx(0.5, abs=4 * 0.75 / np.sqrt(2000))


def test_a_sample_is_drawn_around_the_value_of_its_corner() -> None:
    """The corner weak_word_line has 3.0 V on the word line in place of 3.3 V."""
    cases = points(
        grid={"corner": ["nominal", "weak_word_line"], "parameters.w0": [0.4, 0.6]},
        sample={"samples": 500, "variables": {"parameters.v_wl": {"relative": "1 %"}}},
    )
    values = np.array([case.values["parameters.v_wl"] for case in cases]).reshape(2, 2, 500)
    assert np.array_equal(values[:, 0], values[:, 1])
    # four standard errors of a mean of 500
    assert values.mean(axis=(1, 2)) == pytest.approx([3.3, 3.0], rel=4 * 0.01 / np.sqrt(500))
    assert values[1] / 3.0 == pytest.approx(values[0] / 3.3, rel=1e-12)


def _ks(values: np.ndarray, low: float, high: float, centre: float, width: float) -> float:
    """p of the truncated normal distribution."""
    return stats.kstest(values, stats.truncnorm((low - centre) / width, (high - centre) / width, centre, width).cdf)[1]


def test_samples_searches_and_a_benchs_own_monte_carlo_share_a_distribution_within_the_devices_bounds() -> None:
    """memristor w0 is bounded to 0 .. 1; around 0.5 with a deviation of 0.5 a third would lie beyond."""
    address = "devices.memristor.w0"
    spread = {"absolute": 0.5, "clip": np.inf}
    centre = nominal(BENCH, address)[0]
    sampled = np.array(
        [case.values[address] for case in points(sample={"samples": 1000, "seed": 3, "variables": {address: spread}})]
    )
    bench = Testbench.load("1t1r_write")
    carlo = MonteCarlo(samples=1000, devices={"memristor": {"w0": spread}})
    bench = replace(bench, file=bench.file.model_copy(update={"monte_carlo": carlo}))
    rng = np.random.default_rng(3)
    own = np.array([bench.sampled(rng).sets["memristor"].resolved()["w0"] for _ in range(1000)])
    plan = {"limit": "potentiated", "variables": {address: spread}}
    search = searcher(Plan.model_validate({"bench": "1t1r_write", "high_sigma": plan}), BENCH)
    assert search is not None
    normal = np.random.default_rng(5).standard_normal((1000, 1))
    searched = np.array([search.variables.values(z)[address] for z in normal])
    for values in (sampled, own, searched):
        assert np.all((values >= 0.0) & (values <= 1.0))
        assert len(set(values)) == 1000  # nothing piles up
        assert _ks(values, 0.0, 1.0, centre, 0.5) > 1e-4  # fixed seeds; clipped values give 1e-100
    # far out too
    assert 0.0 < search.variables.values(np.array([-8.0]))[address] < 1e-9
    assert 1.0 - 1e-9 < search.variables.values(np.array([8.0]))[address] <= 1.0


def test_refused_cases_are_not_failures_of_the_circuit() -> None:
    """theta_p beyond 4 sigma fails, and half of those cases are refused: the estimate is of the others, untrusted."""
    variables = {THETA: {"relative": "5 %"}, "devices.memristor.theta_n": {"relative": "5 %"}}
    plan = {"limit": "potentiated", "cases": 2000, "variables": variables}
    centres = [nominal(BENCH, address)[0] for address in variables]

    def estimate(*, refuse: bool) -> RareFailure:
        search = searcher(Plan.model_validate({"bench": "1t1r_write", "high_sigma": plan}), BENCH)
        assert search is not None
        while (cases := search.ask()) is not None:
            rows = []
            for case in cases:
                first, second = (case.values[a] / c - 1.0 for a, c in zip(variables, centres, strict=True))
                fails, refused = first > 0.2, refuse and second > 0.0 and first > 0.2
                row = {"outcome": "refused"} if refused else {
                    "outcome": "converged", "limits": {"potentiated": "fail" if fails else "pass"},
                }  # fmt: skip
                rows.append({"values": dict(case.values), **row})
            search.tell(rows)
        result = search.search.result
        assert isinstance(result, RareFailure)
        return result

    whole, half = estimate(refuse=False), estimate(refuse=True)
    assert whole.trusted
    assert whole.low < stats.norm.sf(4.0) < whole.high
    assert half.unknown > 100
    assert half.probability == pytest.approx(
        0.5 * stats.norm.sf(4.0), rel=0.5
    )  # some 5 % deviation, and the cut's edge
    assert not half.trusted
    assert "verdict" in half.why


def test_cycles_keep_the_device_and_draw_the_cycle() -> None:
    cases = points(
        sample={
            "samples": 3, "cycles": 4, "variables": {THETA: {"relative": "10 %"}},
            "cycle_variables": {"devices.memristor.alpha_p": {"relative": "5 %"}},
        }
    )  # fmt: skip
    theta = np.array([case.values[THETA] for case in cases]).reshape(3, 4)
    alpha = np.array([case.values["devices.memristor.alpha_p"] for case in cases])
    assert np.all(theta == theta[:, :1])
    assert len(set(theta[:, 0])) == 3
    assert len(set(alpha)) == 12


@given(share=st.floats(0, 1), count=st.integers(1, 3000))
@settings(max_examples=50, deadline=None)
def test_repeated_cases_are_the_share_that_was_asked_for(share: float, count: int) -> None:
    assert abs(sum(repeats(k, share) for k in range(count)) - share * count) <= 1.0


@pytest.mark.parametrize(
    ("plan", "line", "error", "says"),
    [
        ('[grid]\nparameters.width = ["1 um"]\nparameters.widh = [1]', 4, UnknownName, "did you mean width"),
        ('[grid]\nparameters.width = { start = "5 um", stop = "1 um", count = 3 }', 3, InputError, "does not rise"),
        ('[grid]\nparameters.width = ["1 V"]', 3, InputError, "not in m"),
        ('[grid]\ncorner = ["col"]', 3, UnknownName, "did you mean cold"),
        ('[grid]\nwidth = ["1 um"]', 3, InputError, "parameters.NAME"),
        ("[grid]\ndevices.memristor.ratio = [-4]", 3, InputError, "outside"),
        (
            '[sample]\nsamples = 9\nvariables.devices.memristor.theta_x={ relative = "5 %" }',
            4,
            UnknownName,
            "theta_p",
        ),
        ('[sample]\nsamples = 9\nvariables.devices.memristor.theta_p = { absolute = "5 ns" }', 4, UnitError, "in V"),
        (
            '[sample]\nsamples = 9\nvariables.devices.memristor.theta_p = { relative = "-5 %" }',
            4,
            InputError,
            "not above zero",
        ),
        ("trust = 2\n[grid]\nparameters.w0 = [0.5]", 2, InputError, "not a share"),
        ('engine = "spectre"\n[grid]\nparameters.w0 = [0.5]', 2, InputError, "ngspice"),
        ("", None, InputError, "varies nothing"),
        (
            "[grid]\nparameters.w0 = [0.4]\n[sample]\nsamples = 9\nvariables.parameters.w0 = { absolute = 0.1 }",
            6,
            InputError,
            r"parameters\.w0 has its values in the grid, and is drawn as well",
        ),
        (
            "[sample]\nsamples = 9\nvariables.devices.memristor.w0 = { absolute = 0.1, min = 1.5 }",
            4,
            InputError,
            "leave nothing",
        ),
        (
            '[high_sigma]\nlimit = "x"\nvariables.devices.memristor.theta_p={ relative = "5 %" }',
            3,
            UnknownName,
            "limit",
        ),
    ],
)
def test_what_is_wrong_with_a_plan_is_said_before_anything_runs(
    tmp_path: Path, plan: str, line: int | None, error: type[CosimError], says: str
) -> None:
    file = tmp_path / "plan.toml"
    file.write_text('bench = "1t1r_write"\n' + plan + "\n")
    with pytest.raises(error, match=says) as caught:
        Campaign.begin(file, tmp_path / "out")
    assert caught.value.where is not None
    assert str(file) in str(caught.value)
    if line is not None:
        assert caught.value.where.line == line
    assert not (tmp_path / "out").exists()


def test_an_address_reaches_every_kind_of_value() -> None:
    bench = Testbench.load("1t1r_random_pulses")
    changed = apply(bench, {"parameters.w0": 0.25, THETA: 1.5, "stimuli.bl.seed": 9.0, "options.reltol": 1e-5})
    text = changed.deck().text
    assert "w0=0.25" in text
    assert "theta_p=1.5" in text
    assert changed.deck().options["reltol"] == 1e-5
    assert text != apply(bench, {"parameters.w0": 0.25, THETA: 1.5}).deck().text


def test_the_key_changes_with_everything_that_a_result_depends_on(tmp_path: Path) -> None:
    (tmp_path / "own.cir").write_text("own\n.subckt own a b\nR1 a b 1k\n.ends\n")
    text = (
        'title = "own"\ncircuit = """\n.include own.cir\nX1 a 0 own\nV1 a 0 {v}\nXm a 0 memristor\n"""\n'
        '[parameters]\nv = { value = "1 V", unit = "V" }\n[devices.memristor]\nparameters = "tio2"\n'
        '[analysis]\nkind = "op"\n[measures.i]\nkind = "max"\nof = "i(v1)"\nunit = "A"\n[limits]\ni = { max = 1 }\n'
    )
    file = tmp_path / "own.toml"
    file.write_text(text)

    def key(engine: str = "ngspice-46", **plan: object) -> str:
        bench = Testbench.load(file)
        case = Points(Plan.model_validate({"bench": str(file), "grid": {"parameters.v": [0.5]}, **plan}), bench)[0]
        return PreparedBench(bench, engine).key(case)

    plain = key()
    assert key() == plain
    keys = {
        "engine": key("ngspice-47"), "value": key(grid={"parameters.v": [0.6]}), "trust": key(trust=1.0),
        "tolerance": key(grid={"options.reltol": [1e-6], "parameters.v": [0.5]}),
        "device": key(grid={THETA: [1.4], "parameters.v": [0.5]}),
    }  # fmt: skip
    file.write_text(text.replace("max = 1", "max = 2"))
    keys["limit"] = key()
    file.write_text(text)
    (tmp_path / "own.cir").write_text("own\n.subckt own a b\nR1 a b 2k\n.ends\n")
    keys["include"] = key()
    assert len({plain, *keys.values()}) == 1 + len(keys), keys


def test_a_plan_survives_its_way_to_a_worker() -> None:
    """As JSON and back, infinities included."""
    plan = Plan.model_validate(
        {
            "bench": "1t1r_write", "grid": {"parameters": {"width": {"start": "1 um", "stop": "2 um", "count": 2}}},
            "sample": {
                "samples": 3, "correlations": [{"of": [THETA, "devices.memristor.theta_n"], "rho": 0.5}],
                "variables": {
                    THETA: {"relative": "5 %", "clip": np.inf}, "devices.memristor.theta_n": {"absolute": "10 mV"},
                },
            },
        }
    )  # fmt: skip
    back = Plan.model_validate_json(plan.model_dump_json())
    assert list(Points(back, BENCH)) == list(Points(plan, BENCH))
