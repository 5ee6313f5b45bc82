"""Learned laws in PyTorch: the text of the module's part that evaluates them, with gradients, and their arrays.

Trees have no gradient, and neurons and filters loops that stop at data: they are refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cosim.errors import EmitError
from cosim.export.laws import NAMED
from cosim.export.program import subject
from cosim.surrogate import kinds
from cosim.surrogate.correction import orders
from cosim.surrogate.laws import AnyLaw
from cosim.surrogate.learned import Law
from cosim.surrogate.model import Surrogate

TEXT = '''

def _arrays(name):
    import numpy

    with numpy.load(Path(__file__).resolve().parent / f"{name}.npz", allow_pickle=False) as stored:
        return {key: stored[key] for key in stored.files}

class Law(torch.nn.Module):
    """A learned law: fields scaled to [-1, 1] and held at the ends of what it was trained on, then its model."""

    def __init__(self, about, arrays):
        super().__init__()
        self.kind, self.fields, self.targets = about["kind"], about["fields"], about["targets"]
        for name, value in arrays.items():
            self.register_buffer(name, torch.as_tensor(value))

    def __call__(self, values):
        columns = torch.broadcast_tensors(*(_tensor(values[name]) for name in self.fields))
        x = torch.stack([column.reshape(-1) for column in columns], dim=1)
        x = torch.minimum(torch.maximum(x, self.ranges[:, 0]), self.ranges[:, 1])
        low, high = self.ranges[:, 0], self.ranges[:, 1]
        if bool(self.logarithmic.any()):
            x = torch.where(self.logarithmic, torch.log(torch.where(self.logarithmic, x, 1.0)), x)
            low, high = (
                torch.where(self.logarithmic, torch.log(torch.where(self.logarithmic, end, 1.0)), end)
                for end in (low, high)
            )
        y = self.offset + self.scale * getattr(self, "_" + self.kind)((2.0 * x - (low + high)) / (high - low))
        return {name: y[:, k].reshape(columns[0].shape) for k, name in enumerate(self.targets)}

    def _polynomial(self, x):
        powers = [torch.ones_like(x), x]
        for _ in range(2, int(self.orders.max()) + 1):
            powers.append(2.0 * x * powers[-1] - powers[-2])
        table, basis = torch.stack(powers, dim=2), 1.0
        for k in range(x.shape[1]):
            basis = basis * table[:, k, self.orders[:, k]]
        return basis @ self.coefficients

    def _spline(self, x):
        cells = int(self.cells)
        at = 0.5 * (x + 1.0) * cells
        cell = torch.clamp(torch.floor(at.detach()).long(), 0, cells - 1)
        t = at - cell
        weights = ((1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3)
        found = 0.0
        for offsets in product(range(4), repeat=x.shape[1]):
            index, weight = 0, 1.0
            for k, offset in enumerate(offsets):
                index = index * (cells + 3) + cell[:, k] + offset
                weight = weight * weights[offset][:, k] / 6.0
            found = found + weight[:, None] * self.coefficients[index]
        return found

    def _network(self, x):
        for k in range(int(self.layers)):
            x = x @ getattr(self, f"weight{k}") + getattr(self, f"bias{k}")
            x = torch.tanh(x) if k + 1 < int(self.layers) else x
        return x
'''


def arrays(surrogate: Surrogate, law: AnyLaw) -> Mapping[str, NDArray[Any]]:
    """What the module's ``Law`` needs of a law. Raises `EmitError` for one that it cannot evaluate."""
    if not isinstance(law, Law) or isinstance(law.model, kinds.Trees):
        raise EmitError(
            f"the map {surrogate.name} of {subject(surrogate)}: its law is learned, of kind {law.kind} "
            f"({NAMED[law.kind]}), and has no gradient",
            remedy="export it to numpy",
        )
    found = {"ranges": law.ranges, "logarithmic": law.logarithmic, "offset": law.offset, "scale": law.scale}
    found |= law.model.arrays()
    if isinstance(law.model, kinds.Polynomial):
        found["orders"] = np.array(orders(len(law.fields), law.model.degree), dtype=np.int64)
    return found
