"""A home pose and a work box for an arm that nobody has given any for."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mbrl_control.arm_setup.clearance import floor_clearance, self_clearance
from mbrl_control.arm_setup.rigid_body import tool_jacobians
from mbrl_control.kinematics import forward_kinematics
from mbrl_control.robot import Arm
from mbrl_control.signals import Array

POSES, TRIED = 3000, 12
GRID = 0.05
"""rad, of home."""
WIDEST, NARROWEST, SHRINK = 0.7, 0.2, 0.85
"""rad, half the box of a joint."""
LIMIT_MARGIN = 0.1
"""rad between box and joint limits: the guard keeps a margin of its own."""
TURN = 2.4
"""rad: no joint's home is sought beyond."""
SELF_M, FLOOR_M, TOOL_M = 0.02, 0.05, 0.12


@dataclass(frozen=True, slots=True)
class WorkPlace:
    """[J] rad."""

    home: Array
    lower: Array
    upper: Array


def find_work_place(arm: Arm, generator: np.random.Generator) -> WorkPlace | None:
    """The best of random poses whose box is clear; None where none is.

    Best: the tool moves well in all directions it can (smallest singular value of its Jacobian), in front of the base.
    """
    low = np.maximum(arm.lower + LIMIT_MARGIN, -TURN)
    high = np.minimum(arm.upper - LIMIT_MARGIN, TURN)
    if not (low < high).all():
        return None
    inner = 0.1 * (high - low)
    q = np.round(generator.uniform(low + inner, high - inner, (POSES, arm.joints)) / GRID) * GRID
    places = [place for index in _ranked(arm, q)[:TRIED] if (place := _widest_box(arm, q[index], low, high, generator))]
    return max(places, key=lambda place: float((place.upper - place.lower).min()), default=None)


def is_clear(arm: Arm, q: Array) -> NDArray[np.bool_]:
    """[N] bool: away from itself and the floor, the tool above it."""
    tool = forward_kinematics(arm, q)[:, 2]
    clear: NDArray[np.bool_] = (self_clearance(arm, q) > SELF_M) & (floor_clearance(arm, q) > FLOOR_M) & (tool > TOOL_M)
    return clear


def box_poses(lower: Array, upper: Array, generator: np.random.Generator, count: int = 300) -> Array:
    """[2 count, J]: corners and inner points of a box."""
    shape = (count, len(lower))
    share = np.concatenate([generator.integers(0, 2, shape), generator.random(shape)])
    return np.asarray(lower + share * (upper - lower))


def _ranked(arm: Arm, q: Array) -> list[int]:
    """Indices of the clear poses, best first."""
    tool, reach = forward_kinematics(arm, q), _reach(arm)
    agility = np.linalg.svd(tool_jacobians(arm, q), compute_uv=False)[:, min(3, arm.joints) - 1]
    front = tool[:, 0] - np.abs(tool[:, 1])
    score = agility / reach + 0.3 * front / reach - 0.05 * np.abs(q).sum(axis=1)
    score[~is_clear(arm, q)] = -np.inf
    return [int(index) for index in np.argsort(-score, kind="stable") if np.isfinite(score[index])]


def _widest_box(arm: Arm, home: Array, low: Array, high: Array, generator: np.random.Generator) -> WorkPlace | None:
    half = WIDEST
    while half >= NARROWEST:
        lower = np.asarray(np.round(np.maximum(home - half, low), 2) + 0.0, dtype=np.float64)
        upper = np.asarray(np.round(np.minimum(home + half, high), 2) + 0.0, dtype=np.float64)
        if is_clear(arm, box_poses(lower, upper, generator)).all():
            return WorkPlace(np.round(home, 2) + 0.0, lower, upper)
        half *= SHRINK
    return None


def _reach(arm: Arm) -> float:
    """m: the length of the chain."""
    links = [frame.origin_translation for frame in arm.chain[1:]] + [arm.tool_translation]
    return max(float(sum(np.linalg.norm(link) for link in links)), 1e-6)


def placed(arm: Arm, place: WorkPlace) -> Arm:
    """The arm with this home and box."""
    return replace(arm, home=place.home, box_lower=place.lower, box_upper=place.upper)
