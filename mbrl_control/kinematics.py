"""Kinematics of a serial arm in NumPy: link poses, tool position, its Jacobian, targets in the work box."""

from __future__ import annotations

import numpy as np

from mbrl_control.robot import Arm, ArmError
from mbrl_control.signals import Array

MAX_DRAWS = 1000
"""Draws per target before the work box is called too small for the distance asked."""


def forward_kinematics(arm: Arm, q: Array) -> Array:
    """Tool position [..., 3] m in the base frame for joint positions [..., J] rad."""
    rotation, translation = link_poses(arm, q)
    tool: Array = translation[..., -1, :] + rotation[..., -1, :, :] @ arm.tool_translation
    return tool


def jacobian(arm: Arm, q: Array) -> Array:
    """[3, J] m/rad: derivative of the tool position by the joint positions [J] (geometric Jacobian, linear part)."""
    rotation, translation = link_poses(arm, q)
    axes = np.stack([rotation[index + 1] @ frame.axis for index, frame in enumerate(arm.chain)])
    lever = forward_kinematics(arm, q) - translation[1:]
    return np.cross(axes, lever).T


def link_poses(arm: Arm, q: Array) -> tuple[Array, Array]:
    """Rotations [..., J+1, 3, 3] and origins [..., J+1, 3] of base and links in the base frame for q [..., J].

    Raises:
        ValueError: the last axis of ``q`` is not the arm's number of joints.
    """
    q = np.asarray(q, dtype=np.float64)
    if q.shape[-1:] != (arm.joints,):
        raise ValueError(f"q has shape {q.shape}; {arm.name} needs [..., {arm.joints}]")
    rotation = np.broadcast_to(np.eye(3), (*q.shape[:-1], 3, 3))
    translation = np.zeros((*q.shape[:-1], 3))
    rotations, translations = [rotation], [translation]
    for index, frame in enumerate(arm.chain):
        translation = translation + rotation @ frame.origin_translation
        rotation = rotation @ frame.origin_rotation @ _axis_rotation(frame.axis, q[..., index])
        rotations.append(rotation)
        translations.append(translation)
    return np.stack(rotations, axis=-3), np.stack(translations, axis=-2)


def sample_targets(arm: Arm, count: int, min_distance: float, generator: np.random.Generator) -> tuple[Array, Array]:
    """Uniform joint samples in the work box whose tool positions lie >= ``min_distance`` m from the one before.

    Returns:
        q [N, J] rad and p [N, 3] m.

    Raises:
        ArmError: no sample is far enough from the last one after many draws.
    """
    joint = np.empty((count, arm.joints))
    tool = np.empty((count, 3))
    for index in range(count):
        for _ in range(MAX_DRAWS):
            joint[index] = generator.uniform(arm.box_lower, arm.box_upper)
            tool[index] = forward_kinematics(arm, joint[index])
            if index == 0 or np.linalg.norm(tool[index] - tool[index - 1]) >= min_distance:
                break
        else:
            raise ArmError(
                f"{arm.name}: work_box: no target {min_distance} m away from the last one in {MAX_DRAWS} draws; "
                "ask for a smaller distance or enlarge the box"
            )
    return joint, tool


def _axis_rotation(axis: Array, angle: Array) -> Array:
    """[..., 3, 3] rotation about a unit axis by angles [...] (Rodrigues' formula)."""
    skew = np.array([[0.0, -axis[2], axis[1]], [axis[2], 0.0, -axis[0]], [-axis[1], axis[0], 0.0]])
    sine, cosine = np.sin(angle)[..., None, None], np.cos(angle)[..., None, None]
    rotation: Array = np.eye(3) + sine * skew + (1.0 - cosine) * (skew @ skew)
    return rotation
