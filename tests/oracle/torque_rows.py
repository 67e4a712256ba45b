"""Rows of an arm under torques whose physics is known, for the tests of what is learned from them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mbrl_control.dynamics.prior import prior_of
from mbrl_control.dynamics.rigid_prior import RigidBodyPrior
from mbrl_control.rigid_body import inverse_dynamics
from mbrl_control.rigid_load import MOMENTS, carrying
from mbrl_control.robot import load_arm
from mbrl_control.signals import Array, CommandInterface, Transitions
from sim.generate import ROBOTS

DT, ROWS = 0.02, 3000
NOTHING = np.zeros(MOMENTS)


def prior_of_arm(name: str) -> RigidBodyPrior:
    prior = prior_of(load_arm(ROBOTS / f"{name}.yaml", CommandInterface.EFFORT), DT)
    assert isinstance(prior, RigidBodyPrior)
    return prior


def rows_of(
    prior: RigidBodyPrior,
    friction: Array,
    load: Array,
    seed: int = 0,
    noise: float = 0.0,
    speed: Array | float = 0.8,
    span: Array | float = 2.0,
    extra: Callable[[Array], Array] = np.zeros_like,
) -> Transitions:
    """Random motion of at most ``speed`` rad/s at most ``span`` rad from zero, each for all joints or one of them [J].

    ``noise`` [rad/s] of the measured speeds; ``extra`` positions [N, J] -> what besides takes torque, N m.
    """
    generator, shape = np.random.default_rng(seed), (ROWS, prior.joints)
    q, dq, ddq = (size * generator.uniform(-1.0, 1.0, shape) for size in (span, speed, 3.0))
    rigid = inverse_dynamics(carrying(prior.described, load), q.T, dq.T, ddq.T, np).T
    torque = rigid + friction[0] * np.sign(dq) + friction[1] * dq + extra(q)
    seen, after = dq + noise * generator.normal(size=shape), dq + DT * ddq + noise * generator.normal(size=shape)
    moved = q + DT * dq + 0.5 * DT**2 * ddq
    stamps = np.arange(ROWS) * 20_000_000
    return Transitions(q, seen, torque[:, None], torque, moved, after, torque, stamps, 0 * stamps, 0 * stamps)
