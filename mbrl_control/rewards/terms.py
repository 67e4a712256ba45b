"""Cost terms, one per function, over H steps, E members and B sequences: each returns [E, B] or [1, B].

All are means (or sums over joints of a mean), never plain sums over time, so weights do not depend on H.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

_REACH_SOFTNESS = 0.005
"""m; inside it the cost is quadratic, outside it is a distance: precise at the goal, not violent far away."""
_JOINT_SOFTNESS = 0.01
"""rad, the same for joint goals."""
_NEAR = 0.05
"""m; range around the goal in which speed is charged."""
_LIMIT_MARGIN = 0.1
"""rad before a joint limit at which the barrier begins."""


@dataclass(frozen=True, slots=True)
class Rollout:
    """What the terms read."""

    distance_squared: torch.Tensor
    """[H, E, B] m^2, tool to the goal of that step, after each step."""
    position: torch.Tensor
    """[H, E, J, B] rad."""
    velocity: torch.Tensor
    """[H, E, J, B] rad/s."""
    action: torch.Tensor
    """[H, 1, J, B] rad/s, or torque as a share of its limit."""
    last_action: torch.Tensor
    """[1, 1, J, B] in the same unit, mean command of the step before the plan."""
    goal_joint: torch.Tensor
    """[H, 1, J, 1] rad, at each step."""
    lower: torch.Tensor
    upper: torch.Tensor
    """[J, 1] rad, position limits."""
    energy_gap: torch.Tensor | None = None
    """[H, 1, B] mechanical energy above that of resting at the joint goal of the step, as a share of the energy that
    lifts the arm; None where the drives carry the weight."""


def reach(rollout: Rollout) -> torch.Tensor:
    """Mean over the horizon of the robust distance, m."""
    return _robust(rollout.distance_squared, _REACH_SOFTNESS).mean(0)


def reach_terminal(rollout: Rollout) -> torch.Tensor:
    """Robust distance after the last step, m."""
    return _robust(rollout.distance_squared[-1], _REACH_SOFTNESS)


def speed_near_goal(rollout: Rollout) -> torch.Tensor:
    """Mean squared joint speed, rad^2/s^2, faded out with the distance: charges overshoot, not travel."""
    nearness = torch.exp(rollout.distance_squared * (-1.0 / _NEAR**2))
    return (nearness * rollout.velocity.square().mean(-2)).mean(0)


def speed_terminal(rollout: Rollout) -> torch.Tensor:
    """Mean squared joint speed after the last step, rad^2/s^2."""
    return rollout.velocity[-1].square().mean(-2)


def smoothness(rollout: Rollout) -> torch.Tensor:
    """Mean squared change of the command from step to step, unit^2, the first one against the past."""
    before = torch.cat([rollout.last_action, rollout.action[:-1]])
    return (rollout.action - before).square().mean(-2).mean(0)


def posture(rollout: Rollout) -> torch.Tensor:
    """Mean squared distance to the preferred joint position, rad^2."""
    return (rollout.position - rollout.goal_joint).square().mean(-2).mean(0)


def joint_goal(rollout: Rollout) -> torch.Tensor:
    """Mean over the horizon of the robust root-mean-square distance to the joint goal, rad."""
    return _robust((rollout.position - rollout.goal_joint).square().mean(-2), _JOINT_SOFTNESS).mean(0)


def joint_limit(rollout: Rollout) -> torch.Tensor:
    """Squared intrusion into the margin before a limit, in margins, summed over joints, mean over the horizon."""
    above = torch.relu(rollout.position - (rollout.upper - _LIMIT_MARGIN))
    below = torch.relu((rollout.lower + _LIMIT_MARGIN) - rollout.position)
    return ((above + below) * (1.0 / _LIMIT_MARGIN)).square().sum(-2).mean(0)


def energy(rollout: Rollout) -> torch.Tensor:
    """Mean squared energy gap: what a swing-up has to close (Astrom and Furuta, "Swinging up a pendulum by energy
    control", Automatica 36, 2000)."""
    assert rollout.energy_gap is not None, "only graphs with the energy term have its rollout"
    return rollout.energy_gap.square().mean(0)


TERMS = (reach, reach_terminal, speed_near_goal, speed_terminal, smoothness, posture, joint_goal, joint_limit)
"""In the order of `rewards.names.TERM_NAMES`; `energy` follows where `term_names` has it."""


def _robust(squared: torch.Tensor, softness: float) -> torch.Tensor:
    """sqrt(d^2 + a^2) - a."""
    return torch.sqrt(squared + softness**2) - softness
