"""``[circuit]`` of a recipe: the bench whose simulation takes the place of a device's law, and what of it was measured.

[circuit]
bench = "probe_station.toml"   # a bench beside the recipe, or a shipped one by name
read = "-i(vbl)"               # a vector of its waveforms, or one of its measures; a minus turns the sign
drive = "bl"                   # the stimulus whose place the measured voltage takes
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from cosim.schema import Second, Table


class CircuitSpec(Table):
    """The bench that is simulated for each prediction; its parameters and those of its devices can then be fitted.

    Args:
        bench: a file (``.toml``) from the recipe's folder, or a shipped bench by name.
        read: what was measured: a vector in ngspice's names (``v(out)``, ``i(v1)``) at the time or the voltage of each
            row, or a measure of the bench that has a value for each row. A minus before it turns its sign.
        drive: the stimulus whose place the measured voltage takes (of a pulse train: the amplitudes). A further column
            with the name of a stimulus takes that one's place. Default: the bench's stimuli stay as they are.
        map: the event map of the bench, ``[maps.NAME]``, for a table of events; ``read`` is then one of its states or
            outputs. Default, for a step table: its first one.
        device: which of the bench's devices the recipe's ``device`` is; default: the only one of that kind.
        analysis: which of the bench's analyses; default: the one of the measure, or the only one.
        engine: the simulator.
        workers: simulations at once; default: one for each core.
        wall: the longest that one simulation may take.
    """

    bench: str
    read: str
    drive: str | None = None
    map: str | None = None
    device: str | None = None
    analysis: str | None = None
    engine: str = "pyspice"
    workers: int | None = Field(default=None, ge=1)
    wall: Annotated[Second, Field(gt=0)] = 60.0

    def path(self) -> Path | None:
        """The bench's file; None for a shipped one."""
        return Path(self.bench) if self.bench.endswith(".toml") else None
