"""Where the joints of some rows were, how fast, and where they were not: what can be learned from them ends there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial import KDTree

from mbrl_control.robot import Arm
from mbrl_control.signals import Array, Transitions

BINS = 20
"""Of each joint's range."""
NEAR_RAD, POSES = 0.3, 1000
"""A pose is near the data where some row is so near in every joint; of so many uniform ones in the work box."""


@dataclass(frozen=True, slots=True)
class Bin:
    """A stretch of a joint's range."""

    begin: float
    end: float
    """rad"""
    rows: int
    speed: float
    """rad/s, the highest in it."""


@dataclass(frozen=True, slots=True)
class JointFigures:
    """Where one joint was, how fast, and where it was not."""

    joint: str
    lower: float
    upper: float
    """rad: the arm's range, or what was seen where no arm was named."""
    least: float
    most: float
    """rad"""
    speed_limit: float | None
    """rad/s, rated."""
    speed_99: float
    speed_most: float
    """rad/s: 99 % of the rows stay below, and the highest."""
    command_least: float
    command_most: float
    """rad/s or N m, mean over 20 ms."""
    effort_least: float
    effort_most: float
    """N m, mean over 20 ms."""
    bins: tuple[Bin, ...]
    empty: tuple[tuple[float, float], ...]
    """rad, neighbouring bins without a row taken together."""


@dataclass(frozen=True, slots=True)
class Coverage:
    """Joints alone say little about poses: the share of uniform poses in the work box that some row is near."""

    near_rad: float
    poses: int
    share: float


def joint_figures(rows: Transitions, names: Sequence[str], arm: Arm | None) -> tuple[JointFigures, ...]:
    """Of rows [N], N > 0."""
    found = []
    for index, name in enumerate(names):
        position, speed = rows.position[:, index], np.abs(rows.velocity[:, index])
        action, effort = rows.action[:, index], rows.next_effort[:, index]
        lower, upper = (position.min(), position.max()) if arm is None else (arm.lower[index], arm.upper[index])
        bins = _bins(position, speed, float(lower), float(upper))
        found.append(
            JointFigures(
                joint=name,
                lower=float(lower),
                upper=float(upper),
                least=float(position.min()),
                most=float(position.max()),
                speed_limit=None if arm is None else float(arm.velocity[index]),
                speed_99=float(np.quantile(speed, 0.99)),
                speed_most=float(speed.max()),
                command_least=float(action.min()),
                command_most=float(action.max()),
                effort_least=float(effort.min()),
                effort_most=float(effort.max()),
                bins=bins,
                empty=_empty(bins),
            )
        )
    return tuple(found)


def coverage(position: Array, arm: Arm) -> Coverage:
    """Of rows at ``position`` [N, J]; the poses are drawn with a seed of their own, so that numbers compare."""
    poses = np.random.default_rng(0).uniform(arm.box_lower, arm.box_upper, (POSES, arm.joints))
    distance, _ = KDTree(position).query(poses, p=np.inf, distance_upper_bound=NEAR_RAD)
    return Coverage(NEAR_RAD, POSES, float(np.isfinite(distance).mean()))


def _bins(position: Array, speed: Array, lower: float, upper: float) -> tuple[Bin, ...]:
    """Rows at or beyond an end count for the last bin there."""
    edges = np.linspace(lower, upper, BINS + 1)
    place = np.clip(np.searchsorted(edges, position, side="right") - 1, 0, BINS - 1)
    rows = np.bincount(place, minlength=BINS)
    fastest = np.zeros(BINS)
    np.maximum.at(fastest, place, speed)
    return tuple(Bin(float(edges[i]), float(edges[i + 1]), int(rows[i]), float(fastest[i])) for i in range(BINS))


def _empty(bins: tuple[Bin, ...]) -> tuple[tuple[float, float], ...]:
    found: list[tuple[float, float]] = []
    for each in bins:
        if each.rows:
            continue
        if found and found[-1][1] == each.begin:
            found[-1] = (found[-1][0], each.end)
        else:
            found.append((each.begin, each.end))
    return tuple(found)
