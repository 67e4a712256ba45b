"""Cost terms, one per function: what every step of H, for E members and B sequences, costs, [H, E, B] or [H, 1, B].

A term counts as its mean over the horizon or, where it is terminal, as its value after the last step; never as a plain
sum over time, so weights do not depend on H.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from mbrl_control.rewards.names import ENERGY

_REACH_SOFTNESS = 0.005
"""m; inside it the cost is quadratic, outside it is a distance: precise at the goal, not violent far away."""
_JOINT_SOFTNESS = 0.01
"""rad, the same for joint goals."""
_NEAR = 0.05
"""m; range around the goal in which speed is charged."""
_LIMIT_MARGIN = 0.1
"""rad before a joint limit at which the barrier begins."""
_SPEED_MARGIN = 0.1
"""Share of a joint's rated speed below it at which the barrier begins."""


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
    rated: torch.Tensor
    """[J, 1] rad/s."""
    epistemic: torch.Tensor
    """[H, 1, B] rad/s, spread of the members' predicted velocities."""
    intrusion: torch.Tensor | None = None
    """[H, E, B] m^2, squared depths of the arm's capsules within the obstacles' margins, summed; None: no obstacles."""
    energy_gap: torch.Tensor | None = None
    """[H, 1, B] mechanical energy above that of resting at the joint goal of the step, as a share of the energy that
    lifts the arm; None where the drives carry the weight."""


@dataclass(frozen=True, slots=True)
class Term:
    """How a term counts."""

    cost: Callable[[Rollout], torch.Tensor]
    terminal: bool = False


def reach(rollout: Rollout) -> torch.Tensor:
    """Robust distance, m."""
    return _robust(rollout.distance_squared, _REACH_SOFTNESS)


def speed_near_goal(rollout: Rollout) -> torch.Tensor:
    """Mean squared joint speed, rad^2/s^2, faded out with the distance: charges overshoot, not travel."""
    nearness = torch.exp(rollout.distance_squared * (-1.0 / _NEAR**2))
    return nearness * speed(rollout)


def speed(rollout: Rollout) -> torch.Tensor:
    """Mean squared joint speed, rad^2/s^2."""
    return rollout.velocity.square().mean(-2)


def smoothness(rollout: Rollout) -> torch.Tensor:
    """Mean squared change of the command from step to step, unit^2, the first one against the past."""
    before = torch.cat([rollout.last_action, rollout.action[:-1]])
    return (rollout.action - before).square().mean(-2)


def posture(rollout: Rollout) -> torch.Tensor:
    """Mean squared distance to the preferred joint position, rad^2."""
    return (rollout.position - rollout.goal_joint).square().mean(-2)


def joint_goal(rollout: Rollout) -> torch.Tensor:
    """Robust root-mean-square distance to the joint goal, rad."""
    return _robust((rollout.position - rollout.goal_joint).square().mean(-2), _JOINT_SOFTNESS)


def joint_limit(rollout: Rollout) -> torch.Tensor:
    """Squared intrusion into the margin before a position limit, in margins, summed over joints."""
    above = torch.relu(rollout.position - (rollout.upper - _LIMIT_MARGIN))
    below = torch.relu((rollout.lower + _LIMIT_MARGIN) - rollout.position)
    return ((above + below) * (1.0 / _LIMIT_MARGIN)).square().sum(-2)


def speed_limit(rollout: Rollout) -> torch.Tensor:
    """Squared intrusion into the margin before the rated speed, in margins, summed over joints."""
    share = rollout.velocity.abs() / rollout.rated
    return (torch.relu(share - (1.0 - _SPEED_MARGIN)) * (1.0 / _SPEED_MARGIN)).square().sum(-2)


def spread(rollout: Rollout) -> torch.Tensor:
    """Epistemic spread, rad/s: of one strength, an aversion or a bonus by its weight's sign."""
    return rollout.epistemic


def obstacle(rollout: Rollout) -> torch.Tensor:
    """Squared depth within the obstacles' margins, m^2; none without obstacles."""
    return torch.zeros_like(rollout.epistemic) if rollout.intrusion is None else rollout.intrusion


def energy(rollout: Rollout) -> torch.Tensor:
    """Squared energy gap: what a swing-up has to close (Astrom and Furuta, "Swinging up a pendulum by energy
    control", Automatica 36, 2000)."""
    assert rollout.energy_gap is not None, "only graphs with the energy term have its rollout"
    return rollout.energy_gap.square()


_BY_NAME = {
    "reach": Term(reach),
    "reach_terminal": Term(reach, terminal=True),
    "speed_near_goal": Term(speed_near_goal),
    "speed_terminal": Term(speed, terminal=True),
    "smoothness": Term(smoothness),
    "posture": Term(posture),
    "joint_goal": Term(joint_goal),
    "joint_limit": Term(joint_limit),
    "speed_limit": Term(speed_limit),
    "spread": Term(spread),
    "obstacle": Term(obstacle),
    ENERGY: Term(energy),
}


def terms_of(names: tuple[str, ...]) -> tuple[Term, ...]:
    """In the order of ``names``, as `rewards.names.term_names` has them."""
    return tuple(_BY_NAME[name] for name in names)


def _robust(squared: torch.Tensor, softness: float) -> torch.Tensor:
    """sqrt(d^2 + a^2) - a."""
    return torch.sqrt(squared + softness**2) - softness
