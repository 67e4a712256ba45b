"""Tool position and Jacobian of one pose, fast enough for several calls per planner cycle.

Same result as `robot.forward_kinematics` and `robot.jacobian` (a test compares them); here all joint rotations
come from one vectorised Rodrigues formula whose constant factors are prepared once.
"""

from __future__ import annotations

import numpy as np

from mbrl_control.robot import Arm
from mbrl_control.signals import Array


class ToolKinematics:
    """Of one arm."""

    def __init__(self, arm: Arm) -> None:
        origins = np.stack([frame.origin_rotation for frame in arm.chain])
        skews = np.stack([_skew(frame.axis) for frame in arm.chain])
        self._constant = origins + origins @ skews @ skews
        self._by_sine = origins @ skews
        self._by_cosine = -origins @ skews @ skews
        self._offsets = [frame.origin_translation for frame in arm.chain]
        self._axes = [frame.axis for frame in arm.chain]
        self._tool = arm.tool_translation

    def tools(self, q: Array) -> Array:
        """Tool positions [N, 3] m at q [N, J] rad."""
        sine, cosine = np.sin(q)[..., None, None], np.cos(q)[..., None, None]
        local = self._constant + sine * self._by_sine + cosine * self._by_cosine
        # From the tool back to the base: vectors are turned, no matrices.
        place = np.broadcast_to(self._tool, (len(q), 3))
        for i in range(len(self._offsets) - 1, -1, -1):
            place = self._offsets[i] + (local[:, i] @ place[..., None])[..., 0]
        return np.asarray(place)

    def tool_and_jacobian(self, q: Array) -> tuple[Array, Array]:
        """Tool position [3] m and its derivative [3, J] m/rad at q [J] rad."""
        sine, cosine = np.sin(q)[:, None, None], np.cos(q)[:, None, None]
        local = self._constant + sine * self._by_sine + cosine * self._by_cosine
        rotation, position = np.eye(3), np.zeros(3)
        axes, origins = np.empty((len(q), 3)), np.empty((len(q), 3))
        for i, offset in enumerate(self._offsets):
            position = position + rotation @ offset
            rotation = rotation @ local[i]
            axes[i], origins[i] = rotation @ self._axes[i], position
        tool = position + rotation @ self._tool
        lever = tool - origins
        # Written out: numpy's cross costs more than the whole loop.
        slope = np.stack(
            [
                axes[:, 1] * lever[:, 2] - axes[:, 2] * lever[:, 1],
                axes[:, 2] * lever[:, 0] - axes[:, 0] * lever[:, 2],
                axes[:, 0] * lever[:, 1] - axes[:, 1] * lever[:, 0],
            ]
        )
        return tool, slope


def _skew(axis: Array) -> Array:
    x, y, z = axis
    return np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
