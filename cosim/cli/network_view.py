"""What a terminal shows while a network learns; nothing in a pipe."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from cosim.network.run import Progress, View

BLOCKS = " ▁▂▃▄▅▆▇█"


@contextmanager
def live_view(
    seeds: tuple[int, ...], total: int, *, items: str = "images", screen: Console | None = None
) -> Iterator[tuple[Progress, View | None]]:
    """A bar per seed with ``items`` a second and the time left, the first at once, and below it what the network shows
    of itself. Signs of a failure stay on the screen.
    """
    from rich.console import Console, Group
    from rich.live import Live
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    screen = screen or Console(stderr=True)
    bars = Progress(
        TextColumn("seed {task.fields[seed]}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TextColumn(f"{{task.fields[rate]}} {items}/s"),
        TimeRemainingColumn(),
        console=screen,
        disable=not screen.is_terminal,
    )
    # The first bar is there before the first images are: the compiler takes seconds.
    tasks = {seed: bars.add_task("", total=total, seed=seed, rate="…") for seed in seeds[:1]}
    begin: dict[int, tuple[float, int]] = {}

    def progress(seed: int, done: int, of: int) -> None:
        now = time.monotonic()
        if seed not in tasks:
            tasks[seed] = bars.add_task("", total=of, seed=seed, rate="…")
        if seed not in begin:
            begin[seed] = (now, done)
        elapsed, shown = now - begin[seed][0], done - begin[seed][1]
        rate = f"{shown / elapsed:.0f}" if shown > 0 and elapsed > 0 else "…"
        bars.update(tasks[seed], completed=done, rate=rate)

    if not screen.is_terminal:
        yield progress, None
        return
    said: set[tuple[int, str]] = set()
    with Live(bars, console=screen, refresh_per_second=4) as live:

        def view(seed: int, glance: Any) -> None:
            if glance is None:
                return
            parts: list[RenderableType] = [bars, *shown_lines(glance)]
            live.update(Group(*parts))
            for sentence in glance.signs:
                head = sentence.partition(":")[0]
                if (seed, head) not in said:
                    said.add((seed, head))
                    live.console.print(f"seed {seed} after {glance.images} images: {sentence}", highlight=False)

        yield progress, view


def shown_lines(glance: Any) -> list[str]:
    """Accuracy so far, activity and the cells' states, as lines of text."""
    accuracy = "…" if glance.accuracy is None else f"about {100.0 * glance.accuracy:.0f} %"
    low, middle, high = np.quantile(glance.rates, (0.1, 0.5, 0.9))
    bars = "".join(BLOCKS[level] for level in _levels(glance.states))
    silent = int(np.sum(glance.rates <= 0.0))
    return [
        f"accuracy    {accuracy} by the winner's label, while it learns",
        f"activity    {glance.rates.sum():.2f} spikes per image; per neuron {low:.3f}, {middle:.3f}, {high:.3f} "
        f"(10, 50, 90 %), largest {glance.rates.max():.3f}, {silent} silent",
        f"states      0 |{bars}| 1",
    ]


def _levels(shares: Any) -> list[int]:
    """Heights 0..8 of a histogram by the root, so that a small share is seen beside a large one."""
    most = float(np.max(shares))
    if not most > 0.0:
        return [0] * len(shares)
    return [int(np.ceil(8.0 * np.sqrt(share / most))) for share in shares]
