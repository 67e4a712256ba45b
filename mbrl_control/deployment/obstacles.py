"""An arm's capsules in its graphs."""

from __future__ import annotations

import numpy as np
import torch

from mbrl_control.dynamics.kinematics import ToolChain, link_points
from mbrl_control.rewards.clearance import squared_depth
from mbrl_control.robot import Arm


class CapsuleBodies:
    """Those on links that move: the base cannot get out of the way."""

    def __init__(self, arm: Arm) -> None:
        self._chain = ToolChain.of(arm)
        links = [[c for c in arm.capsules if c.link_index == link] for link in range(1, arm.joints + 1)]
        self._ends = [
            np.array([end for c in capsules for end in (c.start, c.end)]).reshape(-1, 3) for capsules in links
        ]
        self._radii = [c.radius for capsules in reversed(links) for c in capsules]

    def intrusion(self, position: torch.Tensor, obstacles: torch.Tensor) -> torch.Tensor:
        """Joint positions [H, E, J, B] rad, obstacles [N, 7] -> squared depths [H, E, B] m^2, summed over all pairs."""
        joints = position.permute(2, 0, 1, 3)
        ends = link_points(self._chain, self._ends, joints.reshape(len(self._ends), -1))
        radii = torch.tensor(self._radii, dtype=position.dtype)
        starts, ends = ends.reshape(3, len(self._radii), 2, -1).unbind(2)
        depth = squared_depth(starts, ends, radii, obstacles)
        return depth.reshape(position.shape[0], position.shape[1], -1)
