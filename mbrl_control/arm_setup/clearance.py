"""How far an arm's capsules are from each other and from the floor."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from mbrl_control.kinematics import link_poses
from mbrl_control.robot import Arm
from mbrl_control.signals import Array

POINTS = 9
"""Per capsule; distances are sampled."""
NEIGHBOURS = 2
"""Links this few joints apart overlap around their joints and are not compared."""


def self_clearance(arm: Arm, q: Array) -> Array:
    """[N] m, least distance between capsules more than two joints apart, for q [N, J]; infinite without such."""
    points = _points(arm, q)
    gaps = np.full(len(q), np.inf)
    for (a, first), (b, second) in combinations(enumerate(arm.capsules), 2):
        if abs(first.link_index - second.link_index) > NEIGHBOURS:
            between = np.linalg.norm(points[:, a, :, None] - points[:, b, None], axis=-1).min(axis=(1, 2))
            gaps = np.minimum(gaps, between - first.radius - second.radius)
    return gaps


def floor_clearance(arm: Arm, q: Array) -> Array:
    """[N] m, height of the lowest moving capsule above the base frame's plane, for q [N, J].

    The first moving link turns upon the base and is left out.
    """
    points = _points(arm, q)
    gaps = np.full(len(q), np.inf)
    for index, capsule in enumerate(arm.capsules):
        if capsule.link_index > 1:
            gaps = np.minimum(gaps, points[:, index, :, 2].min(axis=1) - capsule.radius)
    return gaps


def _points(arm: Arm, q: Array) -> Array:
    """[N, C, POINTS, 3] m along each capsule's axis, base frame."""
    rotation, translation = link_poses(arm, q)
    share = np.linspace(0.0, 1.0, POINTS)[:, None]
    rows = []
    for capsule in arm.capsules:
        local = (1.0 - share) * capsule.start + share * capsule.end
        turned = np.einsum("nij,pj->npi", rotation[:, capsule.link_index], local)
        rows.append(turned + translation[:, None, capsule.link_index])
    return np.stack(rows, axis=1)
