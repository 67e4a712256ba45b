"""What the last link of an arm carries besides its description: ten numbers, in which joint torque is linear.

``(m, m c, Sigma)``: mass, first moment [3] and second moments ``integral r r^T dm`` (xx, yy, zz, xy, xz, yz), about the
origin of the last link's frame; kg, kg m, kg m^2. Second moments and not the inertia, because a body can have them
exactly when point masses can (Wensing, Kim and Slotine, IEEE Robotics and Automation Letters 3, 2018).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mbrl_control.rigid_body import Constants, inverse_dynamics
from mbrl_control.signals import Array

MOMENTS = 10
_PAIRS = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))
_E = np.eye(3)
_PROBES = np.stack([0.0 * _E[0], *_E, *-_E, _E[0] + _E[1], _E[0] + _E[2], _E[1] + _E[2]])
"""[10, 3] m, point masses whose moments are a basis."""


def point_moments(points: Array) -> Array:
    """Places [P, 3] m in the last link's frame -> moments [P, 10] of 1 kg at each."""
    seconds = np.stack([points[:, i] * points[:, j] for i, j in _PAIRS], axis=1)
    return np.concatenate([np.ones((len(points), 1)), points, seconds], axis=1)


def moments_about(place: Array) -> Array:
    """[10, 10]: times moments [..., 10] about the last link's origin gives those about a place [3] m in its frame."""
    return np.asarray(np.linalg.solve(point_moments(_PROBES), point_moments(_PROBES - place)))


def carrying(described: Constants, load: Array) -> Constants:
    """NumPy constants of the arm with a load [10] on its last link; drives that carry the arm do not carry the load."""
    if load[0] <= 0.0:
        return described
    link, centre = float(described.mass[-1, 0, 0]), described.centre[-1, 0, :, 0]
    mass, moment = link + load[0], link * centre + load[1:4]
    second = _second_moments(described.inertia[-1, 0, :, :, 0]) + link * np.outer(centre, centre) + _symmetric(load[4:])
    both = moment / mass
    spread = second - mass * np.outer(both, both)
    hung = not described.base_acceleration.any()
    return replace(
        described,
        mass=_with_last(described.mass, mass),
        centre=_with_last(described.centre, both[None, :, None]),
        inertia=_with_last(described.inertia, (np.trace(spread) * np.eye(3) - spread)[None, :, :, None]),
        hung_mass=load[:1].reshape(-1, 1, 1)[:hung],
        hung_moment=load[1:4].reshape(1, 1, 3, 1)[:hung],
    )


def load_regressor(described: Constants, position: Array, velocity: Array, acceleration: Array) -> Array:
    """q, dq, ddq [N, J] -> [N, J, 10]: times a load's moments, the torque N m that it takes to move and carry it."""
    columns = [_torque_of(point, described, position, velocity, acceleration) for point in _PROBES]
    return np.asarray(np.stack(columns, axis=-1) @ np.linalg.inv(point_moments(_PROBES)).T)


def _torque_of(point: Array, described: Constants, position: Array, velocity: Array, acceleration: Array) -> Array:
    """[N, J] of 1 kg at a place in the last link's frame and nothing else."""
    lone = replace(
        described,
        mass=_with_last(0.0 * described.mass, 1.0),
        centre=_with_last(0.0 * described.centre, point[None, :, None]),
        inertia=0.0 * described.inertia,
        armature=0.0 * described.armature,
    )
    if not described.base_acceleration.any():
        lone = replace(lone, hung_mass=np.ones((1, 1, 1)), hung_moment=point.reshape(1, 1, 3, 1))
    return np.asarray(inverse_dynamics(lone, position.T, velocity.T, acceleration.T, np).T)


def _with_last(values: Array, last: Array | float) -> Array:
    changed = values.copy()
    changed[-1] = last
    return changed


def _second_moments(inertia: Array) -> Array:
    """[3, 3] integral of r r^T dm of an inertia about the same point."""
    return np.asarray(0.5 * np.trace(inertia) * np.eye(3) - inertia)


def _symmetric(seconds: Array) -> Array:
    """[6] -> [3, 3]."""
    matrix = np.zeros((3, 3))
    for value, (i, j) in zip(seconds, _PAIRS, strict=True):
        matrix[i, j] = matrix[j, i] = value
    return matrix
