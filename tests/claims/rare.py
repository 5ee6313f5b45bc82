"""A small probability to fail, by importance sampling and by scaled sigma, held against counting failures in ngspice.

The 1T1R cell with both thresholds spread so far that a potentiating pulse misses its limit in about one cell of 800:
3 sigma, where failures can still be counted. Each estimate has 1500 simulations, each way three seeds; counting takes
30 000. Importance sampling has to know its value within a factor of 1.5. Scaled sigma extrapolates, and with 1500
simulations its interval spans decades: that it holds the value says little, and how wide it is stands beside it.
"""

from __future__ import annotations

import math
import tempfile
import time
from pathlib import Path

from claims.base import Claim, Figures, Report
from cosim.campaign.campaign import Campaign
from cosim.campaign.executors import Processes, cores
from cosim.campaign.results import groups, search_result
from cosim.statistics.rare import RareFailure
from cosim.statistics.yields import interval, sigma_of

LIMIT = "potentiated"
COUNTED, SEARCHED, SEEDS = 30_000, 1500, (1, 2, 3)
WITHIN = 1.5  # factor that importance sampling has to know its value by
_VARIABLES = """
variables.devices.memristor.theta_p = { relative = "6.5 %", clip = inf }
variables.devices.memristor.theta_n = { relative = "6.5 %", clip = inf }
"""


def measure(tell: Report) -> Figures:
    """Probability and interval (95 %) of each way and seed, how wide they are, and how many simulations they took."""
    found: Figures = {"counted_cases": COUNTED}
    executor = Processes(cores())
    try:
        with tempfile.TemporaryDirectory(prefix="cosim-") as name:
            folder = Path(name)
            count = f"[sample]\nsamples = {COUNTED}\nseed = {SEEDS[0]}{_VARIABLES}"
            with _run(folder, "counted", count, executor, tell) as campaign:
                (group,) = groups(campaign)
                kept = group.yields[LIMIT]
                failed = kept.n - kept.passed
                low, high = interval(failed, kept.n)
                share = failed / kept.n
                found |= {"counted": share, "counted_low": low, "counted_high": high, "counted_failed": failed}
                found["sigma"] = sigma_of(share)
            for method in ("importance", "scaled-sigma"):
                key = method.replace("-", "_")
                results = [_estimate(folder, method, seed, executor, tell) for seed in SEEDS]
                found |= _figures(key, results, low, high)
    finally:
        executor.close()
    return found


def _estimate(folder: Path, method: str, seed: int, executor: Processes, tell: Report) -> RareFailure:
    head = f'[high_sigma]\nmethod = "{method}"\nlimit = "{LIMIT}"\n'
    text = f"{head}cases = {SEARCHED}\nseed = {seed}{_VARIABLES}"
    with _run(folder, f"{method}-{seed}", text, executor, tell) as campaign:
        ended = search_result(campaign)
        assert ended is not None
        result: RareFailure = ended[1]
        return result


def _figures(key: str, results: list[RareFailure], low: float, high: float) -> Figures:
    """Of one way: how many seeds gave a value, whether their intervals meet ``low`` .. ``high``, how wide they are."""
    found: Figures = {f"{key}_cases": max(result.evaluated for result in results)}
    meets, factors, decades = list[bool](), list[float](), list[float]()
    for seed, one in zip(SEEDS, results, strict=True):
        if one.probability is None or one.low is None or one.high is None:
            continue
        found |= {f"{key}_{seed}": one.probability, f"{key}_{seed}_low": one.low, f"{key}_{seed}_high": one.high}
        meets.append(one.low <= high and one.high >= low)
        factors.append(max(one.high / one.probability, one.probability / one.low))
        decades.append(math.log10(one.high / one.low))
    found |= {f"{key}_told": len(meets), f"{key}_trusted": sum(result.trusted for result in results)}
    if meets:
        found |= {f"{key}_overlaps": float(all(meets)), f"{key}_factor": max(factors), f"{key}_decades": max(decades)}
    return found


def _run(folder: Path, name: str, text: str, executor: Processes, tell: Report) -> Campaign:
    path = folder / f"{name}.toml"
    path.write_text(f'bench = "1t1r_write"\n{text}')
    campaign = Campaign.begin(path, folder / name)
    last = [0.0]

    def progress(now: object) -> None:
        if time.monotonic() - last[0] > 1.0:
            last[0] = time.monotonic()
            tell(f"{name}: {len(campaign.store)} cases")

    campaign.run(executor, tell=progress)
    return campaign


RARE = Claim(
    "rare",
    "at 3 sigma importance sampling with 1500 simulations agrees with counting 30 000 cells in ngspice, within a factor"
    " of 1.5, in each of three seeds; the far wider intervals of scaled sigma hold the same value",
    measure,
    {
        "counted_failed": (10, None), "importance_told": (len(SEEDS), None), "importance_overlaps": (1.0, None),
        "importance_trusted": (len(SEEDS), None), "importance_factor": (None, WITHIN),
        "importance_cases": (None, SEARCHED),
        "scaled_sigma_told": (1, None), "scaled_sigma_overlaps": (1.0, None), "scaled_sigma_cases": (None, SEARCHED),
    },
)  # fmt: skip
