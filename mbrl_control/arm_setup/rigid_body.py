"""Mass matrix and gravity torque of many poses, to choose limits and gains by (not for control)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mbrl_control.kinematics import link_poses
from mbrl_control.rigid_body import GRAVITY
from mbrl_control.robot import Arm, Inertial
from mbrl_control.signals import Array


def mass_matrices(arm: Arm, q: Array) -> Array:
    """[N, J, J] kg m^2 for q [N, J], armature included."""
    matrix = np.zeros((len(q), arm.joints, arm.joints)) + np.diag(arm.armature)
    for body, rotation, linear, angular in _bodies(arm, q):
        tensor = rotation @ body.inertia @ np.swapaxes(rotation, 1, 2)
        matrix += body.mass * np.einsum("nij,nik->njk", linear, linear)
        matrix += np.einsum("nij,nik,nkl->njl", angular, tensor, angular)
    return matrix


def gravity_torques(arm: Arm, q: Array) -> Array:
    """[N, J] N m that hold the arm against gravity along -z of the base frame."""
    torque = np.zeros_like(q)
    for body, _, linear, _ in _bodies(arm, q):
        torque += body.mass * GRAVITY * linear[:, 2]
    return torque


def tool_jacobians(arm: Arm, q: Array) -> Array:
    """[N, 3, J] m/rad of the tool position."""
    rotation, translation = link_poses(arm, q)
    tool = translation[:, -1] + rotation[:, -1] @ arm.tool_translation
    return _linear(_axes(arm, rotation), translation, tool, arm.joints)


def _bodies(arm: Arm, q: Array) -> Iterator[tuple[Inertial, Array, Array, Array]]:
    """Each body with its rotation [N, 3, 3] and the linear and angular Jacobian [N, 3, J] of its centre of mass."""
    rotation, translation = link_poses(arm, q)
    axes = _axes(arm, rotation)
    for index, body in enumerate(arm.bodies):
        centre = translation[:, index + 1] + rotation[:, index + 1] @ body.com
        angular = np.zeros((len(q), 3, arm.joints))
        angular[:, :, : index + 1] = np.swapaxes(axes[:, : index + 1], 1, 2)
        yield body, rotation[:, index + 1], _linear(axes, translation, centre, index + 1), angular


def _axes(arm: Arm, rotation: Array) -> Array:
    """[N, J, 3] joint axes in the base frame."""
    return np.stack([rotation[:, index + 1] @ frame.axis for index, frame in enumerate(arm.chain)], axis=1)


def _linear(axes: Array, translation: Array, point: Array, moving: int) -> Array:
    """[N, 3, J]: velocity of a point that the first ``moving`` joints move."""
    lever = point[:, None] - translation[:, 1:]
    columns = np.cross(axes, lever)
    columns[:, moving:] = 0.0
    return np.swapaxes(columns, 1, 2)
