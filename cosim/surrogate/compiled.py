"""The pulse surrogate as a scalar kernel: `PulseSurrogate.traced` of either polarity, in a loop over cells."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cosim.emit.numba import assignments, compiled

if TYPE_CHECKING:
    from cosim.surrogate.pulse import PulseSurrogate

Array = NDArray[np.float64]
# (w, v, out, rows of instances' parameters): one pulse on each cell.
Kernel = Callable[[Array, Array, Array, Array], None]


def source(surrogate: PulseSurrogate) -> str:
    """The text of the loop, one assignment per operation; raises `EmitError` for one that has no text."""
    names = sorted(surrogate.instances)
    loads = [f"{name} = own[{k}, i]" for k, name in enumerate(names)]
    lines = ["def kernel(w, v, out, own):", "    for i in range(w.size):", "        w0 = w[i]", "        v0 = v[i]"]
    lines += [f"        {load}" for load in loads]
    low, high = surrogate.lowest
    for keyword, condition, polarity in (("if", f"v0 < {-low!r}", -1), ("elif", f"v0 > {high!r}", 1)):
        body, found = assignments({"after": surrogate.traced(polarity=polarity)})
        lines.append(f"        {keyword} {condition}:")
        lines += [f"            {line}" for line in [*body, f"out[i] = {found['after']}"]]
    return "\n".join([*lines, "        else:", "            out[i] = w0", ""])


def kernel(surrogate: PulseSurrogate) -> Kernel:
    """The compiled loop for a surrogate; needs numba."""
    found: Kernel = compiled(source(surrogate))
    return found
