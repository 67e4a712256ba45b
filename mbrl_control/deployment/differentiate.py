"""Derivatives written out as operations that the ONNX exporter knows.

`make_fx` records what a graph does, its backward passes included, for inputs of fixed shapes. A few of the operations
that come out are internal to torch; here they are said in terms of others.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import fx, nn
from torch._guards import TracingContext, tracing
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx

_aten = torch.ops.aten


def written_out(graph: nn.Module, inputs: tuple[torch.Tensor, ...]) -> fx.GraphModule:
    """The operations of ``graph`` for inputs of these shapes."""
    # One for the shapes of all operations: else each makes one of its own, which takes most of the time.
    shapes = TracingContext(FakeTensorMode(allow_fallback_kernels=True))
    with tracing(shapes):
        recorded = make_fx(lambda *values: graph(*values), decomposition_table=_DERIVATIVES)(*inputs)
    for node in recorded.graph.nodes:
        node.target = _SAID_OTHERWISE.get(node.target, node.target)
    recorded.recompile()
    return recorded


def _silu_backward(slope: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    share = torch.sigmoid(x)
    return slope * (share * (1.0 + x * (1.0 - share)))


def _tanh_backward(slope: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    return slope * (1.0 - value * value)


def _sigmoid_backward(slope: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    return slope * (value * (1.0 - value))


def _threshold_backward(slope: torch.Tensor, x: torch.Tensor, threshold: float) -> torch.Tensor:
    return torch.where(x <= threshold, torch.zeros_like(slope), slope)


def _slice_backward(slope: torch.Tensor, sizes: list[int], dim: int, start: int, end: int, step: int) -> torch.Tensor:
    """Zeros around ``slope``; for steps of one, which are all there are here."""
    assert step == 1, "a slice with steps has no derivative here"
    start, end = (min(place % sizes[dim] if place < 0 else place, sizes[dim]) for place in (start, end))
    before, after = list(sizes), list(sizes)
    before[dim], after[dim] = start, sizes[dim] - end
    return torch.cat([slope.new_zeros(before), slope, slope.new_zeros(after)], dim=dim)


def _select_backward(slope: torch.Tensor, sizes: list[int], dim: int, index: int) -> torch.Tensor:
    index = index % sizes[dim]
    return _slice_backward(slope.unsqueeze(dim), sizes, dim, index, index + 1, 1)


def _converted(x: torch.Tensor, dtype: torch.dtype | None = None, **_: Any) -> torch.Tensor:
    return x.to(dtype)


_DERIVATIVES: dict[Any, Callable[..., Any]] = {
    _aten.silu_backward.default: _silu_backward,
    _aten.tanh_backward.default: _tanh_backward,
    _aten.sigmoid_backward.default: _sigmoid_backward,
    _aten.threshold_backward.default: _threshold_backward,
    _aten.slice_backward.default: _slice_backward,
    _aten.select_backward.default: _select_backward,
    _aten._unsafe_view.default: torch.reshape,
}
_SAID_OTHERWISE: dict[Any, Callable[..., Any]] = {
    _aten.lift_fresh_copy.default: torch.clone,
    _aten.alias.default: torch.clone,
    _aten.logical_and_.default: torch.logical_and,
    _aten.sgn.default: torch.sign,
    _aten._to_copy.default: _converted,
}
