"""Fingerprint of what a rollout graph has built in of its arm."""

from __future__ import annotations

import hashlib

import numpy as np

from mbrl_control.robot import Arm


def geometry_sha256(arm: Arm) -> str:
    """Hex digest of joint names, kinematic chain, tool frame and position limits; comments and noise do not count."""
    digest = hashlib.sha256("\n".join(arm.joint_names).encode())
    for frame in arm.chain:
        for part in (frame.origin_rotation, frame.origin_translation, frame.axis):
            digest.update(np.ascontiguousarray(part, dtype=np.float64).tobytes())
    for part in (arm.tool_translation, arm.lower, arm.upper):
        digest.update(np.ascontiguousarray(part, dtype=np.float64).tobytes())
    return digest.hexdigest()
