"""Learned laws in PyTorch: the text of the module's part that evaluates them, with gradients, and their arrays.

Trees have no gradient, and neurons and filters loops that stop at data: they are refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cosim.errors import EmitError
from cosim.export.laws import NAMED, instead
from cosim.export.program import subject
from cosim.surrogate.correction import orders
from cosim.surrogate.laws import AnyLaw
from cosim.surrogate.learned import Law, Laws
from cosim.surrogate.model import Surrogate

KNOWN = ("polynomial", "stretched", "hinge", "spline", "network")
TEXT = '''

def _law(about, name):
    return (Laws if "parts" in about else Law)(about, _arrays(name))


def _arrays(name):
    import numpy

    with numpy.load(Path(__file__).resolve().parent / f"{name}.npz", allow_pickle=False) as stored:
        return {key: stored[key] for key in stored.files}

class Laws(torch.nn.Module):
    """Laws of the same fields, each of targets of its own."""

    def __init__(self, about, arrays):
        super().__init__()
        own = [{key.partition("_")[2]: a for key, a in arrays.items() if key.startswith(f"{n}_")} for n in
               range(len(about["parts"]))]
        self.parts = torch.nn.ModuleList(Law(part, values) for part, values in zip(about["parts"], own))

    def __call__(self, values):
        return {name: found for part in self.parts for name, found in part(values).items()}


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
        return self._basis(x) @ self.coefficients

    def _stretched(self, x):
        inner = torch.minimum(torch.maximum(self._polynomial(x), self.ends[0]), self.ends[1])
        return self.origin + self.width * torch.sinh(inner)

    def _hinge(self, x):
        one, other = self._basis(x) @ self.sides
        return torch.where(self.sign > 0.0, torch.maximum(one, other), torch.minimum(one, other))

    def _basis(self, x):
        powers = [torch.ones_like(x), x]
        for _ in range(2, int(self.orders.max()) + 1):
            powers.append(2.0 * x * powers[-1] - powers[-2])
        table, basis = torch.stack(powers, dim=2), 1.0
        for k in range(x.shape[1]):
            basis = basis * table[:, k, self.orders[:, k]]
        return basis

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
    """What the module's ``Law`` or ``Laws`` needs of a law. Raises `EmitError` for one that it cannot evaluate."""
    if isinstance(law, Laws):
        parts = [arrays(surrogate, part) for part in law.parts]
        return {f"{n}_{key}": values for n, part in enumerate(parts) for key, values in part.items()}
    if not isinstance(law, Law) or law.kind not in KNOWN:
        raise EmitError(
            f"the map {surrogate.name} of {subject(surrogate)}: its law is learned, of kind {law.kind} "
            f"({NAMED[law.kind]}), and has no gradient here",
            remedy=instead(law.kind),
        )
    found = {"ranges": law.ranges, "logarithmic": law.logarithmic, "offset": law.offset, "scale": law.scale}
    found |= law.model.arrays()
    if "degree" in found:
        found["orders"] = np.array(orders(len(law.fields), int(found["degree"])), dtype=np.int64)
    return found
