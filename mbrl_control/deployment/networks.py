"""The members' networks as a chain of products of stacked matrices, with the biases inside them.

Each hidden layer has one unit more, whose value is a one, as the last of the features is: the biases are the next
matrix' last column, and no operation adds them. That is 8 % of a rollout's time (`bench rollout`).
"""

from __future__ import annotations

import torch
from torch import nn

_ONE = 1.2784645427610738
"""silu of it is one, to float64's rounding."""


class Networks(nn.Module):
    """Saturated features [E, G, B], the last of them a one -> [E, O, B]."""

    def __init__(self, layers: list[tuple[torch.Tensor, torch.Tensor]]) -> None:
        """Weights [E, out, in] and biases [E, out, 1], the output layer last; computed in float32."""
        super().__init__()
        self.depth = len(layers) - 1
        for index, (weights, bias) in enumerate(layers):
            matrix = torch.cat([weights, bias], dim=2)
            if index < self.depth:
                one = torch.zeros_like(matrix[:, :1])
                one[..., -1] = _ONE
                matrix = torch.cat([matrix, one], dim=1)
            self.register_buffer(f"layer_{index}", matrix.float().contiguous())

    def forward(self, columns: torch.Tensor) -> torch.Tensor:
        for index in range(self.depth):
            columns = nn.functional.silu(torch.matmul(self.get_buffer(f"layer_{index}"), columns))
        return torch.matmul(self.get_buffer(f"layer_{self.depth}"), columns)
