"""From the belief at measurement time to the state a new plan meets: the one compensation of delay.

The grid is that of docs/architecture.md: a model step from t to t + dt uses the mean command over
[t - delay, t + dt - delay]. ``start = belief_stamp + n dt - delay`` with the smallest n that makes
start >= deadline; the belief is rolled n whole steps forward.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mbrl_control.planning.command_history import CommandHistory
from mbrl_control.planning.protocol import StepModel
from mbrl_control.signals import Array, BeliefState, Plan

_CELL_NS = 1_000_000


@dataclass(frozen=True, slots=True)
class TimeGrid:
    """The grid a model was trained on."""

    dt_ns: int
    delay_ns: int
    past: int
    """K, commands in the model's state."""
    command_period_ns: int
    """Period of the applied commands: the newest one still holds that long."""
    max_steps: int = 10
    """A belief older than that many steps is refused, and a model that acts later (`admission`)."""


@dataclass(frozen=True, slots=True)
class StartState:
    """What a new plan begins with."""

    start_ns: int
    """Of knot 0, in command time; the state lies ``delay`` later."""
    state: Array
    """[S] model state (position, velocity, history) at start + delay."""
    first_knot: Array
    """[J] rad/s, the command already on its way at ``start``."""
    steps: int


class StaleBelief(ValueError):
    """The belief is too old (or lies in the future): planning on it would be guessing."""


def roll_forward(
    belief: BeliefState,
    history: CommandHistory,
    in_force: Sequence[Plan],
    deadline_ns: int,
    grid: TimeGrid,
    model: StepModel,
    disturbance: float | Array = 0.0,
) -> StartState:
    """Roll the belief to the first grid time whose command can still be chosen at ``deadline_ns``.

    ``in_force`` are the plans that the guard follows now and next, by rising start (none: it follows no plan,
    and the newest applied command holds). ``disturbance`` [J] acts besides the commands; the start's commands contain
    it. Raises StaleBelief.
    """
    steps = _steps_to(deadline_ns, belief.stamp_ns, grid)
    first_edge = belief.stamp_ns - grid.delay_ns - grid.past * grid.dt_ns
    last = history.last_stamp_ns
    known_ns = None if last is None or not in_force else last + grid.command_period_ns
    commands = _mean_commands(first_edge, grid.past + steps, history, in_force, known_ns, grid) + disturbance
    state = np.concatenate([belief.position, belief.velocity, commands[: grid.past].ravel()])
    size = len(state)
    for action in commands[grid.past :]:
        state = model.step(state, action)
    if state.shape != (size,):
        raise ValueError(f"step model returned a state of shape {state.shape}, expected ({size},)")
    start = belief.stamp_ns + steps * grid.dt_ns - grid.delay_ns
    planned = known_ns is not None and start >= known_ns
    first_knot = planned_commands(in_force, start, np.zeros(1))[0] if planned else history.last_velocity
    return StartState(start, state, first_knot + disturbance, steps)


def planned_commands(plans: Sequence[Plan], origin_ns: int, seconds: Array) -> Array:
    """Commands [N, J] rad/s at ``origin + seconds`` [N]: of the last plan that has started by then.

    Before the first start the first plan's knot 0 holds; beyond a plan's end it is zero (the guard brakes).
    """
    begin_ns = origin_ns + round(float(seconds[0]) * 1e9)
    # The last plan that has started by the first of these times hides all before it.
    hidden = max((i for i, plan in enumerate(plans) if plan.start_ns <= begin_ns), default=0)
    commands = _knots_at(plans[hidden], origin_ns, seconds)
    for plan in plans[hidden + 1 :]:
        started = seconds >= (plan.start_ns - origin_ns) * 1e-9
        commands = np.where(started[:, None], _knots_at(plan, origin_ns, seconds), commands)
    return commands


def _knots_at(plan: Plan, origin_ns: int, seconds: Array) -> Array:
    # Stamps stay integers until they are differences: float64 holds today's nanoseconds to 256 ns only.
    local = seconds + (origin_ns - plan.start_ns) * 1e-9
    last = len(plan.times) - 1
    place = np.interp(local, plan.times, np.arange(last + 1.0))
    below = np.minimum(place.astype(np.int64), last - 1)
    share = (place - below)[:, None]
    commands = np.asarray(plan.knots[below] * (1.0 - share) + plan.knots[below + 1] * share, dtype=np.float64)
    commands[local > plan.times[-1]] = 0.0
    return commands


def _steps_to(deadline_ns: int, stamp_ns: int, grid: TimeGrid) -> int:
    # Its age alone: the delay is the model's, and says nothing of the estimator.
    age = deadline_ns - stamp_ns
    if not -grid.dt_ns <= age <= grid.max_steps * grid.dt_ns:
        raise StaleBelief(
            f"belief is {age * 1e-6:.1f} ms before the deadline; allowed: {grid.max_steps} steps of "
            f"{grid.dt_ns * 1e-6:g} ms"
        )
    return max(0, -(-(age + grid.delay_ns) // grid.dt_ns))


def _mean_commands(
    first_ns: int,
    steps: int,
    history: CommandHistory,
    plans: Sequence[Plan],
    known_ns: int | None,
    grid: TimeGrid,
) -> Array:
    """Means [steps, J] over adjacent windows of dt: applied commands, then (not applied yet) the plans in force."""
    means = history.means(first_ns, grid.dt_ns, steps)
    if known_ns is None:
        return means
    for k in range(steps):
        begin, end = first_ns + k * grid.dt_ns, first_ns + (k + 1) * grid.dt_ns
        if end > known_ns:
            means[k] = _mixed_mean(begin, end, known_ns, history, plans)
    return means


def _mixed_mean(begin: int, end: int, known_ns: int, history: CommandHistory, plans: Sequence[Plan]) -> Array:
    """Mean over [begin, end]: history up to ``known_ns``, then the plans, by the midpoint rule in cells of <= 1 ms."""
    split = max(begin, known_ns)
    cells = -(-(end - split) // _CELL_NS)
    middles = (np.arange(cells, dtype=np.float64) + 0.5) * ((end - split) * 1e-9 / cells)
    future = planned_commands(plans, split, middles).mean(axis=0)
    if split == begin:
        return np.asarray(future, dtype=np.float64)
    past = history.mean(begin, split)
    return np.asarray((past * (split - begin) + future * (end - split)) / (end - begin), dtype=np.float64)
