"""Rigid-body dynamics of a serial arm, batched: mass matrix, bias torque, forward and inverse dynamics.

``(M(q) + armature) ddq + b(q, dq) = effort``, without friction. ``b`` holds Coriolis and centrifugal torque, and
gravity where the drives do not add that themselves. One code for NumPy and torch (``xp``), so that the exported prior,
the training rows and the planner share one physics.

All bodies are expressed in the base frame about the base origin, so that sums over a chain are products with a
triangular matrix of ones: composite bodies for the mass matrix, Newton and Euler for the bias (Featherstone, "Rigid
Body Dynamics Algorithms", 2008, chapters 5 and 6). Products of two vectors are outer products followed by a constant
matrix: few, wide operations, because a control process pays for each of them and not for its width.
Layout inside: [..., N], the batch last.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np

from mbrl_control.robot import Arm
from mbrl_control.signals import Array

GRAVITY = 9.81
"""m/s^2, along -z of the base frame (``urdf_chain`` refuses a base frame that the URDF tilts)."""


@dataclass(frozen=True, slots=True)
class Constants:
    """What the formulas need of one arm, as arrays of NumPy or torch."""

    turn_constant: Any
    turn_sine: Any
    turn_cosine: Any
    """[J, 3, 3, 1] rotation of link j in the frame of link j-1 = constant + sine sin q + cosine cos q."""
    offset: Any
    """[J, 3, 1] m, joint origin in the frame of the link before."""
    axis: Any
    """[J, 1, 3, 1] joint axis in the link frame."""
    centre: Any
    """[J, 1, 3, 1] m, centre of mass in the link frame."""
    mass: Any
    """[J, 1, 1] kg."""
    inertia: Any
    """[J, 1, 3, 3, 1] kg m^2 about the centre of mass, link axes."""
    armature: Any
    """[J, J, 1] diagonal."""
    outward: Any
    """[J, J] lower triangle of ones: sums from the base to each link."""
    inward: Any
    """[J, J] upper triangle of ones: sums from each link to the tip."""
    ahead: Any
    """[J, J, 1] upper triangle with the diagonal: column k is right for the joints j <= k."""
    strictly_ahead: Any
    """[J, J, 1] the same without the diagonal."""
    screw: Any
    """[6, 12] (axis, outer product of position and axis) -> (axis, position x axis)."""
    spatial: Any
    """[36, 22] (inertia 9, m c c^T 9, m c 3, m 1) -> spatial inertia about the origin."""
    motion_cross: Any
    """[6, 36] outer product of two motions -> their motion cross product."""
    force_cross: Any
    """[6, 36] outer product of a motion and a force -> their force cross product."""
    base_acceleration: Any
    """[1, 6, 1] m/s^2, minus gravity, or zero where the drives compensate it."""
    unit: Any
    """[J, J, 1] identity."""
    hung_mass: Any
    """[H, 1, 1] kg, H = 1: a load whose weight the command carries though the drives carry the arm's; H = 0: none."""
    hung_moment: Any
    """[H, 1, 3, 1] kg m, its mass times its centre in the last link's frame. Its inertia is in that link's."""


class RigidBody:
    """NumPy dynamics of one arm."""

    def __init__(self, arm: Arm, gravity: bool | None = None) -> None:
        """``gravity``: in the bias; None: as a torque command has to carry it or not."""
        if gravity is None:
            gravity = arm.effort_mode is not None and not arm.effort_mode.gravity_compensated
        self.joints = arm.joints
        self.constants = _constants(arm, gravity)

    def terms(self, position: Array, velocity: Array) -> tuple[Array, Array]:
        """q, dq [N, J] -> mass matrix [N, J, J] kg m^2 with armature, bias [N, J] N m."""
        mass, bias = mass_and_bias(self.constants, position.T, velocity.T, np)
        return np.ascontiguousarray(mass.transpose(2, 0, 1)), np.ascontiguousarray(bias.T)

    def acceleration(self, position: Array, velocity: Array, effort: Array) -> Array:
        """q, dq, effort [N, J] -> ddq [N, J] rad/s^2."""
        mass, bias = self.terms(position, velocity)
        return np.asarray(np.linalg.solve(mass, (effort - bias)[..., None])[..., 0], dtype=np.float64)

    def effort(self, position: Array, velocity: Array, acceleration: Array) -> Array:
        """q, dq, ddq [N, J] -> the effort [N, J] N m that gives it."""
        return np.asarray(inverse_dynamics(self.constants, position.T, velocity.T, acceleration.T, np).T)

    def energy(self, position: Array, velocity: Array) -> Array:
        """q, dq [N, J] -> mechanical energy [N] J, see :func:`energy`."""
        return np.asarray(energy(self.constants, position.T, velocity.T, np), dtype=np.float64)

    @cached_property
    def lifting_energy(self) -> float:
        """J, to lift every link's centre of mass by as much as it can be away from the first joint; 0 where the drives
        carry the weight."""
        lengths = np.linalg.norm(self.constants.offset[1:, :, 0], axis=1)
        reach = np.concatenate([[0.0], np.cumsum(lengths)]) + np.linalg.norm(self.constants.centre[:, 0, :, 0], axis=1)
        weight = self.constants.base_acceleration[0, 5, 0] * self.constants.mass[:, 0, 0]
        return float(weight @ reach)

    @cached_property
    def _still(self) -> Array:
        return np.zeros((1, self.joints))

    def gravity(self, position: Array) -> Array:
        """q [J] -> the effort [J] N m that carries the arm at rest; zero where the drives do."""
        bias: Array = self.terms(position[None], self._still)[1][0]
        return bias


def mass_and_bias(c: Constants, q: Any, dq: Any, xp: Any) -> tuple[Any, Any]:
    """q, dq [J, N] -> mass matrix [J, J, N] with armature, bias [J, N]; ``xp`` is numpy or torch."""
    joints, count = q.shape
    screw, body, _, hung = _bodies(c, q, xp)
    composite = _chain_sum(c.inward, body).reshape(joints, 6, 6, count)
    carried = (composite * screw[:, None]).sum(2)
    upper = (screw[:, None] * carried[None]).sum(2) * c.ahead
    mass = upper + (upper * c.strictly_ahead).swapaxes(0, 1) + c.armature
    bias = _bias(c, screw, body.reshape(joints, 6, 6, count), dq, xp)
    if len(hung):
        bias = bias + GRAVITY * (c.hung_mass[0] * screw[:, 5] + screw[:, 0] * hung[0, 1] - screw[:, 1] * hung[0, 0])
    return mass, bias


def inverse_dynamics(c: Constants, q: Any, dq: Any, ddq: Any, xp: Any) -> Any:
    """q, dq, ddq [J, N] -> the effort [J, N] that gives it."""
    mass, bias = mass_and_bias(c, q, dq, xp)
    return (mass * ddq[None]).sum(1) + bias


def energy(c: Constants, q: Any, dq: Any, xp: Any) -> Any:
    """q, dq [J, N] -> kinetic energy with armature, plus potential energy where the command carries the weight, [N] J.

    The potential is zero at the height of the base frame's origin.
    """
    screw, body, moment, hung = _bodies(c, q, xp)
    motion = _chain_sum(c.outward, screw * dq[:, None])
    momentum = (body.reshape(*body.shape[:1], 6, 6, -1) * motion[:, None]).sum(2)
    kinetic = 0.5 * ((motion * momentum).sum(1) + c.armature.sum(1) * dq**2)
    total = (kinetic + c.base_acceleration[:, 5] * moment[:, 2]).sum(0)
    return total + GRAVITY * hung[0, 2] if len(hung) else total


def _bodies(c: Constants, q: Any, xp: Any) -> tuple[Any, Any, Any, Any]:
    """Joint screws [J, 6, N], spatial inertias [J, 36, N] and masses times centres [J, 3, N] and of a hung load
    [H, 3, N], about the base origin."""
    joints, count = q.shape
    rotation, origin = _link_poses(c, q, xp)
    centre = (rotation * c.centre).sum(2) + origin
    axis = (rotation * c.axis).sum(2)
    lever = (origin[:, :, None] * axis[:, None]).reshape(joints, 9, count)
    screw = c.screw @ xp.concatenate([axis, lever], 1)
    turned = (rotation[:, :, :, None] * c.inertia).sum(2)
    inertia = (turned[:, :, None] * rotation[:, None]).sum(3).reshape(joints, 9, count)
    moment = c.mass * centre
    shift = (moment[:, :, None] * centre[:, None]).reshape(joints, 9, count)
    body = c.spatial @ xp.concatenate([inertia, shift, moment, c.mass + 0.0 * moment[:, :1]], 1)
    return screw, body, moment, (rotation[-1] * c.hung_moment).sum(2) + c.hung_mass * origin[-1:]


def inverse(c: Constants, matrix: Any, xp: Any) -> Any:
    """Of [J, J, N], by Gauss-Jordan elimination; mass matrices need no pivots (they are positive definite)."""
    joints = len(matrix)
    rows = xp.concatenate([matrix, c.unit + 0.0 * matrix], 1)
    for k in range(joints):
        pivot_row = rows[k : k + 1] / rows[k : k + 1, k : k + 1]
        rows = rows - (rows[:, k : k + 1] - c.unit[:, k : k + 1]) * pivot_row
    return rows[:, joints:]


def _link_poses(c: Constants, q: Any, xp: Any) -> tuple[Any, Any]:
    """Rotations [J, 3, 3, N] and origins [J, 3, N] of the links in the base frame."""
    sine, cosine = xp.sin(q)[:, None, None], xp.cos(q)[:, None, None]
    local = c.turn_constant + c.turn_sine * sine + c.turn_cosine * cosine
    turned = [local[0]]
    for step in range(1, len(local)):
        turned.append((turned[-1][:, :, None] * local[step][None]).sum(1))
    rotation = xp.stack(turned)
    later = (rotation[:-1] * c.offset[1:, None]).sum(2)
    first = c.offset[:1] + 0.0 * rotation[:1, :, 0]
    return rotation, _chain_sum(c.outward, xp.concatenate([first, later], 0))


def _bias(c: Constants, screw: Any, body: Any, dq: Any, xp: Any) -> Any:
    """Torque [J, N] at zero joint acceleration (recursive Newton-Euler, in sums over the chain)."""
    joints, count = dq.shape
    own = screw * dq[:, None]
    motion = _chain_sum(c.outward, own)
    turning = c.motion_cross @ (motion[:, :, None] * own[:, None]).reshape(joints, 36, count)
    acceleration = _chain_sum(c.outward, turning) + c.base_acceleration
    momentum = (body * motion[:, None]).sum(2)
    gyration = c.force_cross @ (motion[:, :, None] * momentum[:, None]).reshape(joints, 36, count)
    force = (body * acceleration[:, None]).sum(2) + gyration
    return (screw * _chain_sum(c.inward, force)).sum(1)


def _chain_sum(triangle: Any, values: Any) -> Any:
    """[J, J] applied to the joints of [J, K, N]."""
    return (triangle @ values.reshape(len(values), -1)).reshape(values.shape)


def fields_of(constants: Constants) -> dict[str, Any]:
    """Name -> array."""
    return {field.name: getattr(constants, field.name) for field in fields(constants)}


def _constants(arm: Arm, gravity: bool) -> Constants:
    joints = arm.joints
    skews = np.stack([_skew(frame.axis) for frame in arm.chain])
    origins = np.stack([frame.origin_rotation for frame in arm.chain])
    acceleration = np.zeros((1, 6, 1))
    acceleration[0, 5] = GRAVITY if gravity else 0.0
    return Constants(
        turn_constant=(origins + origins @ skews @ skews)[..., None],
        turn_sine=(origins @ skews)[..., None],
        turn_cosine=(-origins @ skews @ skews)[..., None],
        offset=np.stack([frame.origin_translation for frame in arm.chain])[..., None],
        axis=np.stack([frame.axis for frame in arm.chain])[:, None, :, None],
        centre=np.stack([body.com for body in arm.bodies])[:, None, :, None],
        mass=np.array([body.mass for body in arm.bodies])[:, None, None],
        inertia=np.stack([body.inertia for body in arm.bodies])[:, None, :, :, None],
        armature=np.diag(arm.armature)[..., None],
        outward=np.tril(np.ones((joints, joints))),
        inward=np.triu(np.ones((joints, joints))),
        ahead=np.triu(np.ones((joints, joints)))[..., None],
        strictly_ahead=np.triu(np.ones((joints, joints)), 1)[..., None],
        screw=_screw_matrix(),
        spatial=_spatial_matrix(),
        motion_cross=_cross_matrix(force=False),
        force_cross=_cross_matrix(force=True),
        base_acceleration=acceleration,
        unit=np.eye(joints)[..., None],
        hung_mass=np.zeros((0, 1, 1)),
        hung_moment=np.zeros((0, 1, 3, 1)),
    )


def _skew(vector: Array) -> Array:
    x, y, z = vector
    return np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])


def _screw_matrix() -> Array:
    """[6, 12]"""
    matrix = np.zeros((6, 12))
    matrix[:3, :3] = np.eye(3)
    matrix[3:, 3:] = _vector_cross()
    return matrix


def _vector_cross() -> Array:
    """[3, 9] outer product of a and b (row after row) -> a x b."""
    matrix = np.zeros((3, 9))
    for row, (i, j) in enumerate(((1, 2), (2, 0), (0, 1))):
        matrix[row, 3 * i + j], matrix[row, 3 * j + i] = 1.0, -1.0
    return matrix


def _spatial_matrix() -> Array:
    """[36, 22] from the columns' unit vectors: I - m c c^T + m c^2 1, m [c]x, and m 1."""
    matrix = np.zeros((6, 6, 22))
    for i in range(3):
        for j in range(3):
            matrix[i, j, 3 * i + j] += 1.0
            matrix[i, j, 9 + 3 * i + j] -= 1.0
            matrix[i, i, 9 + 3 * j + j] += 1.0
        unit = _skew(np.eye(3)[i])
        matrix[:3, 3:, 18 + i] = unit
        matrix[3:, :3, 18 + i] = -unit
        matrix[3 + i, 3 + i, 21] = 1.0
    return matrix.reshape(36, 22)


def _cross_matrix(force: bool) -> Array:
    """[6, 36]: of v = (w, l) and m: (w x m_w, w x m_l + l x m_w); of v and f = (n, f): (w x n + l x f, w x f)."""
    cross, matrix = _vector_cross().reshape(3, 3, 3), np.zeros((6, 6, 6))
    matrix[:3, :3, :3] = cross
    matrix[3:, :3, 3:] = cross
    if force:
        matrix[:3, 3:, 3:] = cross
    else:
        matrix[3:, 3:, :3] = cross
    return matrix.reshape(6, 36)
