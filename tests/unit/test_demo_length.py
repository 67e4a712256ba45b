"""The demo by torques gives a retraining the motion that it asks for."""

from __future__ import annotations

import pytest

from mbrl_control.cli.demo import paced
from mbrl_control.cli.locations import arm_file
from mbrl_control.replay.blocks import BLOCK_NS, GROUP, LEAST_BLOCKS
from mbrl_control.robot import load_arm
from mbrl_control.signals import CommandInterface


@pytest.mark.parametrize("robot", ["panda", "planar", "ur5e"])
def test_two_payload_phases_hold_enough_whole_groups_of_blocks(robot: str) -> None:
    """One group more than needed, as the phases begin anywhere within one."""
    _, phase_s = paced(load_arm(arm_file(robot), CommandInterface.EFFORT))
    group_s = GROUP * BLOCK_NS * 1e-9
    assert 2 * phase_s >= (LEAST_BLOCKS + 1) * group_s
