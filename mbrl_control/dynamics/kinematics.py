"""Position of the tool, and of other points on the arm, from joint positions.

Only the tool's origin is needed by a cost, so the chain is applied to one point from the tool back to the base:
three vectors of N numbers, no [N, 4, 4] products. Constant zeros and ones of the chain vanish while tracing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from mbrl_control.robot import Arm
from mbrl_control.signals import Array

_ZERO = 1e-12


@dataclass(frozen=True, slots=True)
class ToolChain:
    """The chain with every joint axis turned into z: point -> rotation @ Rz(q) @ point + translation."""

    rotations: tuple[Array, ...]
    """J times [3, 3]."""
    translations: tuple[Array, ...]
    """J times [3] m."""
    tool: Array
    """[3] m, tool origin behind the last joint's rotation."""
    turned: tuple[Array, ...]
    """J times [3, 3], from a link's own frame to that behind its joint's rotation."""

    @staticmethod
    def of(arm: Arm) -> ToolChain:
        """Fold ``axis = align @ z`` into the neighbours: R Rot(axis, q) p = (R align) Rz(q) (align^T p)."""
        aligns = [_align_z(np.asarray(frame.axis, dtype=np.float64)) for frame in arm.chain]
        undo = [align.T for align in aligns]
        rotations, translations = [], []
        for index, frame in enumerate(arm.chain):
            before = undo[index - 1] if index else np.eye(3)
            rotations.append(before @ np.asarray(frame.origin_rotation) @ aligns[index])
            translations.append(before @ np.asarray(frame.origin_translation))
        tool = undo[-1] @ np.asarray(arm.tool_translation)
        return ToolChain(tuple(rotations), tuple(translations), tool, tuple(undo))


def tool_position(
    chain: ToolChain, position: torch.Tensor, dim: int = -1
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Joint positions, J along ``dim``, rad -> x, y, z of the tool origin in the base frame (``dim`` has size 1), m."""
    joints = len(chain.rotations)
    sines, cosines = torch.sin(position).chunk(joints, dim), torch.cos(position).chunk(joints, dim)
    like = sines[0]
    point: list[torch.Tensor | float] = [float(value) for value in chain.tool]
    for index in reversed(range(len(chain.rotations))):
        x, y, z = point
        turned = [
            _sum([_times(cosines[index], x), _negative(_times(sines[index], y))]),
            _sum([_times(sines[index], x), _times(cosines[index], y)]),
            z,
        ]
        point = _affine(chain.rotations[index], chain.translations[index], turned)
    x, y, z = (value if isinstance(value, torch.Tensor) else torch.full_like(like, value) for value in point)
    return x, y, z


def link_points(chain: ToolChain, points: Sequence[Array], position: torch.Tensor) -> torch.Tensor:
    """``points`` J times [P_j, 3] m, each in the frame of the link that joint j moves; joint positions [J, N] rad ->
    [3, P, N] m in the base frame, those of the last link first."""
    placed = torch.zeros(3, 0, 1, dtype=position.dtype) + torch.zeros_like(position[:1, None])
    for index in reversed(range(len(chain.rotations))):
        own = torch.as_tensor(chain.turned[index] @ points[index].T, dtype=position.dtype)[..., None]
        x, y, z = torch.cat([placed, own + torch.zeros_like(position[:1, None])], dim=1).unbind(0)
        sine, cosine = torch.sin(position[index]), torch.cos(position[index])
        turned = torch.stack([cosine * x - sine * y, sine * x + cosine * y, z])
        rotation, translation = (
            torch.as_tensor(value, dtype=position.dtype)
            for value in (chain.rotations[index], chain.translations[index])
        )
        placed = torch.matmul(rotation, turned.reshape(3, -1)).reshape(turned.shape) + translation[:, None, None]
    return placed


def _affine(rotation: Array, translation: Array, point: Sequence[torch.Tensor | float]) -> list[torch.Tensor | float]:
    return [
        _sum([_times(value, float(row[axis])) for axis, value in enumerate(point)] + [float(offset)])
        for row, offset in zip(rotation, translation, strict=True)
    ]


def _times(left: torch.Tensor | float, right: torch.Tensor | float) -> torch.Tensor | float:
    """Product that leaves out constant factors 0 and 1."""
    for constant, other in ((left, right), (right, left)):
        if isinstance(constant, float):
            if abs(constant) < _ZERO:
                return 0.0
            if abs(constant - 1.0) < _ZERO:
                return other
            if abs(constant + 1.0) < _ZERO:
                return _negative(other)
    return left * right


def _negative(value: torch.Tensor | float) -> torch.Tensor | float:
    return -value


def _sum(values: list[torch.Tensor | float]) -> torch.Tensor | float:
    """Sum with the constants added up first."""
    constant = sum(value for value in values if isinstance(value, float))
    tensors = [value for value in values if isinstance(value, torch.Tensor)]
    if not tensors:
        return constant
    total = tensors[0]
    for value in tensors[1:]:
        total = total + value
    return total if abs(constant) < _ZERO else total + constant


def _align_z(axis: Array) -> Array:
    """[3, 3] rotation that takes z onto the unit ``axis``."""
    norm = float(np.linalg.norm(axis))
    if norm < _ZERO:
        raise ValueError("axis: a joint axis is zero; give a direction in the arm description")
    z = axis / norm
    helper = np.eye(3)[int(np.argmin(np.abs(z)))] if abs(z[2]) < 1.0 else np.eye(3)[0]
    x = helper - (helper @ z) * z
    x /= np.linalg.norm(x)
    return np.column_stack([x, np.cross(z, x), z])
