"""Fingerprint of what a rollout graph has built in of its arm."""

from __future__ import annotations

import hashlib

import numpy as np

from mbrl_control.robot import Arm
from mbrl_control.signals import CommandInterface


def geometry_sha256(arm: Arm) -> str:
    """Hex digest of joint names, kinematic chain, tool frame and position limits; comments and noise do not count.

    Of an arm that takes torques also inertias, armature, torque limits and who carries the weight.
    """
    digest = hashlib.sha256("\n".join(arm.joint_names).encode())
    for frame in arm.chain:
        for part in (frame.origin_rotation, frame.origin_translation, frame.axis):
            digest.update(np.ascontiguousarray(part, dtype=np.float64).tobytes())
    for part in (arm.tool_translation, arm.lower, arm.upper):
        digest.update(np.ascontiguousarray(part, dtype=np.float64).tobytes())
    if arm.interface is CommandInterface.EFFORT and arm.effort_mode is not None:
        digest.update(b"carried by the drives" if arm.effort_mode.gravity_compensated else b"carried by the command")
        for body in arm.bodies:
            for part in (np.array([body.mass]), body.com, body.inertia):
                digest.update(np.ascontiguousarray(part, dtype=np.float64).tobytes())
        for part in (arm.armature, arm.effort):
            digest.update(np.ascontiguousarray(part, dtype=np.float64).tobytes())
    return digest.hexdigest()
