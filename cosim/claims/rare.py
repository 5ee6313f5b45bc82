"""A small probability to fail, by importance sampling and by scaled sigma, held against counting failures in ngspice.

The 1T1R cell with both thresholds spread so far that a potentiating pulse misses its limit in about one cell of 800:
3 sigma, where failures can still be counted. Each estimate has 1500 simulations; counting takes 30 000.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from cosim.campaign.campaign import Campaign
from cosim.campaign.executors import Processes, cores
from cosim.campaign.results import groups, search_result
from cosim.campaign.yields import interval, sigma_of
from cosim.claims.base import Claim, Figures, Report

LIMIT = "potentiated"
COUNTED, SEARCHED, SEED = 30_000, 1500, 1
_VARIABLES = """
variables.devices.memristor.theta_p = { relative = "6.5 %", clip = inf }
variables.devices.memristor.theta_n = { relative = "6.5 %", clip = inf }
"""


def measure(tell: Report) -> Figures:
    """Probability and interval (95 %) of each way, and how many simulations it took."""
    found: Figures = {"counted_cases": COUNTED}
    executor = Processes(cores())
    try:
        with tempfile.TemporaryDirectory(prefix="cosim-") as name:
            folder = Path(name)
            count = f"[sample]\nsamples = {COUNTED}\nseed = {SEED}{_VARIABLES}"
            with _run(folder, "counted", count, executor, tell) as campaign:
                (group,) = groups(campaign)
                kept = group.yields[LIMIT]
                failed = kept.n - kept.passed
                low, high = interval(failed, kept.n)
                share = failed / kept.n
                found |= {"counted": share, "counted_low": low, "counted_high": high, "counted_failed": failed}
                found["sigma"] = sigma_of(share)
            for method in ("importance", "scaled-sigma"):
                head = f'[high_sigma]\nmethod = "{method}"\nlimit = "{LIMIT}"\n'
                text = f"{head}cases = {SEARCHED}\nseed = {SEED}{_VARIABLES}"
                with _run(folder, method, text, executor, tell) as campaign:
                    ended = search_result(campaign)
                    assert ended is not None
                    result = ended[1]
                    key = method.replace("-", "_")
                    found |= {f"{key}": result.probability, f"{key}_low": result.low, f"{key}_high": result.high,
                              f"{key}_cases": result.evaluated,
                              f"{key}_overlaps": float(result.low <= high and result.high >= low)}  # fmt: skip
    finally:
        executor.close()
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
    "at 3 sigma importance sampling and scaled sigma agree with counting 30 000 cells in ngspice, with 1500 of them",
    measure,
    {
        "importance_overlaps": (1.0, None), "scaled_sigma_overlaps": (1.0, None), "counted_failed": (10, None),
        "importance_cases": (None, SEARCHED), "scaled_sigma_cases": (None, SEARCHED),
    },
)  # fmt: skip
