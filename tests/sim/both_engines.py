"""The same arm in both engines, step for step under the same random commands."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mbrl_control.signals import Array, CommandInterface
from sim.arm_sim import ArmSim
from sim.mujoco_arm import MujocoArm
from sim.pybullet_arm import PybulletArm

VELOCITY = CommandInterface.VELOCITY
SHARE = {VELOCITY: 0.5, CommandInterface.EFFORT: 0.025}
"""Of the velocity or effort limit; small enough that neither stops nor motor limits are met."""
STEPS = 500


def largest_differences(path: Path, interface: CommandInterface, payload_kg: float, seed: int) -> dict[str, float]:
    """Between the truths of both engines, over all steps."""
    arms: list[ArmSim] = [MujocoArm(path, 0, 0, interface), PybulletArm(path, 0, 0, interface)]
    arm, generator = arms[0].arm, np.random.default_rng(seed)
    limit = arm.velocity if interface is VELOCITY else arm.effort
    found = dict.fromkeys(("position", "velocity", "effort", "tool"), 0.0)
    for sim in arms:
        sim.attach_payload(payload_kg, np.array([0.01, 0.02, 0.05]))
    for step in range(STEPS):
        if step % 25 == 0:
            command = SHARE[interface] * limit * generator.uniform(-1.0, 1.0, arm.joints)
        for sim in arms:
            sim.command(command)
            sim.step()
        truths = [sim.truth() for sim in arms]
        assert away_from_limits(truths[0].position, truths[0].effort, arms[0])
        for name in found:
            found[name] = max(found[name], np.abs(getattr(truths[0], name) - getattr(truths[1], name)).max())
    return found


def away_from_limits(position: Array, effort: Array, sim: ArmSim) -> bool:
    arm = sim.arm
    inside = (position > arm.lower) & (position < arm.upper)
    return bool(inside.all() and (np.abs(effort) < arm.effort).all())


def assert_one(found: dict[str, float]) -> None:
    """What rounding may make of a second without dry friction."""
    assert found["position"] < 1e-7
    assert found["tool"] < 1e-7
    assert found["velocity"] < 1e-6
    assert found["effort"] < 1e-5
