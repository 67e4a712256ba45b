"""Which goals a planner takes in: a refused one leaves the one in force alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mbrl_control.robot import Arm
from mbrl_control.signals import Array, Goal, GoalKind

FUTURE_NS = 5_000_000
"""A stamp may be that far ahead of the receiver's reading of the same clock."""
LIMIT_TOLERANCE = 1e-6
"""rad, m; a goal at a limit went through other people's arithmetic."""
MOST_ROWS = 60_000
"""Of a moving goal: ten minutes at 100 Hz. Seven joints are 3.4 MB then, which the planner's process copies and checks
beside its control thread; between its rows a motion is linear, so hardly any needs more."""


def goal_refusal(goal: Goal, now_ns: int, arm: Arm) -> str:
    """Why the goal is refused, with the remedy; empty: it is taken."""
    if goal.stamp_ns > now_ns + FUTURE_NS:
        # It would outlive every arming until then.
        return "goal.stamp: lies in the future; stamp it with the graph's clock"
    if not (np.isfinite(goal.position).all() and np.isfinite(goal.joint).all()):
        return "goal: not finite; send finite numbers"
    if goal.kind.moving and (fault := _rows_fault(goal)):
        return fault
    points = _points(goal)
    if goal.kind in (GoalKind.JOINT, GoalKind.TRAJECTORY):
        return _limit_refusal(points, arm)
    return _distance_refusal(points, arm)


def renewed(goal: Goal, now_ns: int, sequence: int) -> Goal:
    """The same goal, asked for again: an arming discards every goal stamped earlier. A moving one stays in its time."""
    elapsed_s = (now_ns - goal.stamp_ns) * 1e-9
    times = None if goal.times is None else goal.times - elapsed_s
    return replace(goal, stamp_ns=now_ns, sequence=sequence, times=times)


def longest_reach_m(arm: Arm) -> float:
    """No point farther from the first joint can be reached: all links in one line."""
    links = [frame.origin_translation for frame in arm.chain[1:]]
    return float(sum(np.linalg.norm(link) for link in (*links, arm.tool_translation)))


def _points(goal: Goal) -> Array:
    """[T, J or 3], all that is asked for."""
    if goal.trajectory is not None and goal.kind.moving:
        return goal.trajectory
    return (goal.joint if goal.kind is GoalKind.JOINT else goal.position)[None]


def _rows_fault(goal: Goal) -> str:
    times, rows = goal.times, goal.trajectory
    columns, meaning = (len(goal.joint), "[T*J] rad") if goal.kind is GoalKind.TRAJECTORY else (3, "[T*3] m")
    if times is None or rows is None or len(times) < 2 or rows.shape != (len(times), columns):
        return f"goal.trajectory: has not one row per time, or fewer than two; send [T] times and {meaning}"
    if len(times) > MOST_ROWS:
        return (
            f"goal.trajectory: {len(times)} rows; at most {MOST_ROWS} are taken (ten minutes at 100 Hz): send fewer, "
            "between which the motion is linear, or one part after the other"
        )
    if not (np.isfinite(times).all() and np.isfinite(rows).all()):
        return "goal.trajectory: not finite; send finite numbers"
    if (np.diff(times) <= 0.0).any():
        return "goal.trajectory_times: do not increase; sort them"
    return ""


def _limit_refusal(points: Array, arm: Arm) -> str:
    beyond = np.maximum(arm.lower - points, points - arm.upper).max(axis=0)
    worst = int(np.argmax(beyond))
    if beyond[worst] <= LIMIT_TOLERANCE:
        return ""
    return (
        f"goal: takes joint '{arm.joint_names[worst]}' {beyond[worst]:.3f} rad beyond its limits; stay within "
        f"{arm.lower[worst]:.3f} to {arm.upper[worst]:.3f} rad"
    )


def _distance_refusal(points: Array, arm: Arm) -> str:
    far, reach = np.linalg.norm(points - arm.chain[0].origin_translation, axis=1).max(), longest_reach_m(arm)
    if far <= reach + LIMIT_TOLERANCE:
        return ""
    return (
        f"goal: lies {far:.3f} m from the first joint, where no point beyond {reach:.3f} m can be reached; come nearer"
    )
