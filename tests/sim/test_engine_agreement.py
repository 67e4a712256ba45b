"""MuJoCo and PyBullet, step for step under the same random commands, for one second.

Without dry friction they agree in both command interfaces, with and without payload, to what 1e-7 of inertia makes of a
second (see tests/oracle/test_kinematics_dynamics.py; most under free torques): servo, lag, delay, gravity compensation,
armature, viscous friction and integration are the same.

With dry friction they part by what their friction laws differ in: at each reversal MuJoCo's regularized law lets a
joint creep to rest with a time constant of 10 ms, ours stops it at once. A velocity servo makes up for part of that, a
torque does not. Ten seeds of each case gave at most 1.5 mrad (panda) and 2.3 mrad (planar) under velocities, 5.8 and
2.2 mrad under torques; at the tool 0.4 and 0.9 mm, 1.9 and 1.2 mm. The tolerances are about one and a half times that.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mbrl_control.signals import Array, CommandInterface
from sim.arm_sim import ArmSim
from sim.generate import ROBOTS
from sim.mujoco_arm import MujocoArm
from sim.pybullet_arm import PybulletArm
from tests.sim.variants import variant, without_friction

VELOCITY, EFFORT = CommandInterface.VELOCITY, CommandInterface.EFFORT
PAYLOAD_KG = {"panda": 1.5, "planar": 0.5}
SHARE = {VELOCITY: 0.5, EFFORT: 0.025}
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


@pytest.mark.parametrize("loaded", [False, True], ids=["empty", "loaded"])
@pytest.mark.parametrize("interface", list(CommandInterface))
@pytest.mark.parametrize("name", ["panda", "planar"])
def test_without_dry_friction_they_are_one(
    tmp_path: Path, name: str, interface: CommandInterface, loaded: bool
) -> None:
    path = variant(tmp_path, name, without_friction)
    found = largest_differences(path, interface, loaded * PAYLOAD_KG[name], seed=1)
    assert found["position"] < 1e-7
    assert found["tool"] < 1e-7
    assert found["velocity"] < 1e-6
    assert found["effort"] < 1e-5


@pytest.mark.parametrize("loaded", [False, True], ids=["empty", "loaded"])
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(
    ("name", "interface", "position", "tool"),
    [
        ("panda", VELOCITY, 2.3e-3, 0.6e-3),
        ("planar", VELOCITY, 3.5e-3, 1.4e-3),
        ("panda", EFFORT, 9e-3, 3e-3),
        ("planar", EFFORT, 3.5e-3, 1.8e-3),
    ],
)
def test_with_dry_friction_they_part_by_their_friction_laws_alone(
    name: str, interface: CommandInterface, position: float, tool: float, seed: int, loaded: bool
) -> None:
    found = largest_differences(ROBOTS / f"{name}.yaml", interface, loaded * PAYLOAD_KG[name], seed)
    assert 1e-6 < found["position"] < position
    assert found["tool"] < tool
