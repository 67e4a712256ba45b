"""How deep an arm's capsules lie in obstacles, differentiable and without branches."""

from __future__ import annotations

import torch

_TINY = 1e-9
"""m^2; below it a segment is a point, and segments count as parallel."""


def squared_depth(
    starts: torch.Tensor, ends: torch.Tensor, radii: torch.Tensor, obstacles: torch.Tensor
) -> torch.Tensor:
    """Capsules [3, P, M] m to [3, P, M] m of radii [P] against obstacles [N, 7] (two ends, radius): squared depths of
    every pair, summed, [M] m^2."""
    first, last = (
        obstacles[:, :3].transpose(0, 1)[:, None, :, None],
        obstacles[:, 3:6].transpose(0, 1)[:, None, :, None],
    )
    distance = segment_distance(starts[:, :, None], ends[:, :, None], first, last)
    reach = radii[:, None, None] + obstacles[:, 6][None, :, None]
    return torch.relu(reach - distance).square().sum((0, 1))


def segment_distance(p: torch.Tensor, p_end: torch.Tensor, q: torch.Tensor, q_end: torch.Tensor) -> torch.Tensor:
    """Least distance of two segments, coordinates on axis 0 (Ericson, "Real-Time Collision Detection", 2005, 5.1.9).

    The nearest point of one for a clamped point of the other is found twice: the second time it is exact, because the
    squared distance is convex in both places.
    """
    along, across, gap = p_end - p, q_end - q, p - q
    a, e, b = _dot(along, along), _dot(across, across), _dot(along, across)
    c, f = _dot(along, gap), _dot(across, gap)
    # Of parallel segments any place will do to begin with.
    s = ((b * f - c * e) / (a * e - b * b).clamp(min=_TINY)).clamp(0.0, 1.0)
    t = ((b * s + f) / e.clamp(min=_TINY)).clamp(0.0, 1.0)
    s = ((b * t - c) / a.clamp(min=_TINY)).clamp(0.0, 1.0)
    apart = gap + s * along - t * across
    return torch.sqrt(_dot(apart, apart) + _TINY)


def _dot(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    return (left * right).sum(0)
