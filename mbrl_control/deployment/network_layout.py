"""The members' networks in the order of products that ONNX Runtime computes fastest.

`Stacked` has one product of stacked matrices per layer: few operations, right for narrow networks. `Apart` has one per
member: the runtime packs a constant matrix once, when the graph is opened, but no stack of them, and wide networks gain
more by that than the operations cost. `bench rollout` measures both.
"""

from __future__ import annotations

import torch
from torch import nn

from mbrl_control.deployment.folding import NetworkWeights

WIDE = 160
"""Width from which `Apart` is faster."""


def networks_for(weights: NetworkWeights) -> Stacked | Apart:
    """The faster layout for the width of these networks."""
    return Apart(weights) if weights.first.shape[1] >= WIDE else Stacked(weights)


class Stacked(nn.Module):
    """Saturated features [E, G, B] -> [E, O, B]."""

    def __init__(self, weights: NetworkWeights) -> None:
        super().__init__()
        self.depth = len(weights.hidden)
        for name in ("first", "last", "last_bias"):
            self.register_buffer(name, getattr(weights, name))
        for index, (hidden, bias) in enumerate(zip(weights.hidden, weights.hidden_bias, strict=True)):
            self.register_buffer(f"hidden_{index}", hidden)
            self.register_buffer(f"hidden_bias_{index}", bias)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        columns = nn.functional.silu(torch.matmul(self.get_buffer("first"), features))
        for index in range(self.depth):
            product = torch.matmul(self.get_buffer(f"hidden_{index}"), columns)
            columns = nn.functional.silu(product + self.get_buffer(f"hidden_bias_{index}"))
        return torch.matmul(self.get_buffer("last"), columns) + self.get_buffer("last_bias")


class Apart(nn.Module):
    """The same function; inside, activations are rows [B, W] of one member."""

    def __init__(self, weights: NetworkWeights) -> None:
        super().__init__()
        self.depth, self.members = len(weights.hidden), len(weights.first)
        for member in range(self.members):
            self.register_buffer(f"first_{member}", weights.first[member].mT.contiguous())
            self.register_buffer(f"last_{member}", weights.last[member].contiguous())
            self.register_buffer(f"last_bias_{member}", weights.last_bias[member].contiguous())
            for index, (hidden, bias) in enumerate(zip(weights.hidden, weights.hidden_bias, strict=True)):
                self.register_buffer(f"hidden_{member}_{index}", hidden[member].mT.contiguous())
                self.register_buffer(f"hidden_bias_{member}_{index}", bias[member, :, 0].contiguous())

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        outputs = [self._member(member, features[member]) for member in range(self.members)]
        return torch.cat(outputs).reshape(self.members, len(self.get_buffer("last_0")), -1)

    def _member(self, member: int, features: torch.Tensor) -> torch.Tensor:
        """[G, B] -> [O, B]; the transposed operands cost nothing in a product."""
        rows = nn.functional.silu(torch.mm(features.t(), self.get_buffer(f"first_{member}")))
        for index in range(self.depth):
            weights, bias = (self.get_buffer(f"{name}_{member}_{index}") for name in ("hidden", "hidden_bias"))
            rows = nn.functional.silu(torch.addmm(bias, rows, weights))
        return torch.addmm(self.get_buffer(f"last_bias_{member}"), self.get_buffer(f"last_{member}"), rows.t())
