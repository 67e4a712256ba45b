"""What draws an arm, by the simulator that moved it. A control process has no use for it, nor for what it imports."""

from __future__ import annotations

from pathlib import Path

from mbrl_control.robot import load_arm
from sim.engines import Simulator
from sim.pybullet_render import BulletRenderer
from sim.render import CapsuleRenderer, Renderer, load_camera


def open_renderer(simulator: Simulator, arm_path: str | Path) -> Renderer:
    """What draws an arm that the simulator has moved; none of them needs a display.

    Raises:
        ArmError: the YAML names no camera, or a mesh file of the URDF is not there.
    """
    if simulator is Simulator.MUJOCO:
        return CapsuleRenderer(load_arm(arm_path), load_camera(arm_path))
    return BulletRenderer(arm_path)
