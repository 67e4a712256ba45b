"""What the planner is compared with: both know the rigid body of the description, and the same torque limit."""

from __future__ import annotations

import numpy as np

from benchmarks.lockstep_law import Law
from benchmarks.swing_up_run import UPRIGHT
from mbrl_control.rigid_body import RigidBody
from mbrl_control.robot import Arm
from mbrl_control.signals import Array, BeliefState

_FREQUENCY = 8.0
"""rad/s, of the critically damped computed torque."""
_CATCH = 0.5
"""rad from upright within which the energy law hands over."""


def computed_torque(arm: Arm, limit: Array) -> Law:
    """A critically damped move to upright, clipped: what an arm with enough torque would do."""
    body = RigidBody(arm)

    def law(belief: BeliefState) -> Array:
        return np.clip(_towards(body, belief, UPRIGHT), -limit, limit)

    return law


def energy_pumping(arm: Arm, limit: Array) -> Law:
    """Astrom and Furuta (Automatica 36, 2000): full torque along the shoulder's motion while energy is missing, against
    it while there is too much, the elbow kept straight; near the top computed torque.

    The top is either way round, as the law has no side of its own.
    """
    body = RigidBody(arm)
    wanted = float(body.energy(UPRIGHT[None], np.zeros((1, arm.joints)))[0])

    def law(belief: BeliefState) -> Array:
        position, velocity = belief.position, belief.velocity
        side = np.array([np.copysign(1.0, position[0]), 1.0])
        if abs(abs(position[0]) - UPRIGHT[0]) < _CATCH:
            return np.clip(_towards(body, belief, side * UPRIGHT), -limit, limit)
        missing = wanted - float(body.energy(position[None], velocity[None])[0])
        torque = _towards(body, belief, np.array([position[0], 0.0]))
        torque[0] = limit[0] * np.copysign(1.0, velocity[0]) * np.clip(missing / _FULL_AT_J, -1.0, 1.0)
        return np.clip(torque, -limit, limit)

    return law


_FULL_AT_J = 2.0
"""J of missing energy from which on the torque is full."""


def _towards(body: RigidBody, belief: BeliefState, goal: Array) -> Array:
    pull = _FREQUENCY**2 * (goal - belief.position) - 2.0 * _FREQUENCY * belief.velocity
    return body.effort(belief.position[None], belief.velocity[None], pull[None])[0]
