"""The guard of torques looks ahead only where it has to: the shortcut must never change what comes out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mbrl_control.rigid_body import RigidBody
from mbrl_control.robot import Arm
from mbrl_control.safety.braking import Braking
from mbrl_control.safety.config import GuardConfig, limits_of
from mbrl_control.safety.effort_law import EffortLaw
from mbrl_control.safety.limiter import Motion
from mbrl_control.signals import SensorSample, Stage
from tests.unit.effort_rig import effort_arm

CONFIG = GuardConfig()
DRAWS = 700


class Counting(Braking):
    """Counts how often the shortcut is taken; ``thorough``: never takes it."""

    def __init__(self, arm: Arm, thorough: bool) -> None:
        super().__init__(limits_of(arm), CONFIG)
        self.thorough, self.taken = thorough, 0

    def surely_free(self, *args: Any) -> bool:
        free = not self.thorough and super().surely_free(*args)
        self.taken += free
        return free


def law_of(arm: Arm, thorough: bool) -> tuple[EffortLaw, Counting]:
    law, braking = EffortLaw(RigidBody(arm), limits_of(arm), CONFIG), Counting(arm, thorough)
    law._braking = braking
    return law, braking


def situation(
    arm: Arm, body: RigidBody, generator: np.random.Generator
) -> tuple[np.ndarray, Motion, SensorSample, float, float]:
    """Sizes drawn over decades, so that both calm and wild states come, and torques that have just changed."""

    def part(least: float) -> np.ndarray:
        return generator.uniform(-1.0, 1.0, arm.joints) * 10.0 ** generator.uniform(np.log10(least), 0.0)

    position = generator.uniform(arm.lower, arm.upper)
    velocity = part(1e-3) * arm.velocity
    carried = body.terms(position[None], velocity[None])[1][0]
    command = np.clip(carried + part(1e-3) * arm.effort, -arm.effort, arm.effort)
    rate = part(1e-2) * arm.torque_rate
    request = command + 1.5 * part(1e-2) * arm.torque_rate * CONFIG.tick_s
    sample = SensorSample(0, position, velocity, np.zeros(arm.joints))
    age_s = 0.1 * 10.0 ** generator.uniform(-2.0, 0.0)
    return request, Motion(command, rate, request), sample, age_s, generator.uniform(0.05, 1.0)


@pytest.mark.parametrize("name", ["panda", "planar", "ur5e"])
def test_without_the_shortcut_every_command_is_the_same(name: str) -> None:
    arm, generator = effort_arm(name), np.random.default_rng(0)
    body = RigidBody(arm)
    (quick, counting), (thorough, _) = law_of(arm, False), law_of(arm, True)
    refused = 0
    for _ in range(DRAWS):
        case = situation(arm, body, generator)
        fast, slow = quick.limit(*case), thorough.limit(*case)
        np.testing.assert_array_equal(fast.command, slow.command)
        assert (fast.factor, fast.stage, fast.joint) == (slow.factor, slow.stage, slow.joint)
        refused += slow.stage in (Stage.POSITION, Stage.VELOCITY)
    assert counting.taken > 0.1 * DRAWS, "else nothing was tested"
    assert refused > 0.1 * DRAWS, "else nothing could have been wrong"


@pytest.mark.parametrize("name", ["panda", "planar", "ur5e"])
def test_at_rest_with_its_weight_carried_every_arm_takes_the_shortcut(name: str) -> None:
    """What it is for: a tick at rest must not pay for the look ahead."""
    arm = effort_arm(name)
    law, counting = law_of(arm, False)
    carried = RigidBody(arm).gravity(arm.home)
    sample = SensorSample(0, arm.home, np.zeros(arm.joints), np.zeros(arm.joints))
    limited = law.limit(carried, Motion(carried, np.zeros(arm.joints), carried), sample, 0.004, 0.5)
    assert counting.taken == 1
    np.testing.assert_array_equal(limited.command, carried)
