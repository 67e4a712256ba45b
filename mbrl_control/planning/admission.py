"""Which models a planner takes in: those that it can plan with in every cycle, not only at rest or in the first one.

What a bundle's manifest may say is more than that: it also serves who only predicts.
"""

from __future__ import annotations

from mbrl_control.planning.command_history import CAPACITY
from mbrl_control.planning.config import PlannerConfig, PlannerConfigError
from mbrl_control.planning.latency import LONGEST_STEPS
from mbrl_control.planning.rollforward import TimeGrid

LEAST_HORIZON = 2
"""Steps: a target's velocity at the beginning of the horizon, and coloured noise, come of two."""
_LOOKED_BACK = 2
"""Steps before the oldest belief that is still rolled forward: what the observers compare it with."""


def check_model(name: str, horizon: int, grid: TimeGrid, config: PlannerConfig) -> None:
    """Of the model ``name`` with ``horizon`` steps on ``grid``. Raises PlannerConfigError with the remedy."""
    dt_s, delay_s = grid.dt_ns / 1e9, grid.delay_ns / 1e9
    if not any(abs(config.period_s - allowed) < 1e-9 for allowed in (dt_s, dt_s / 2)):
        raise PlannerConfigError(
            f"planner settings: field 'period_s': {config.period_s} s fits no grid of {name}; set it to {dt_s} or "
            f"{dt_s / 2}"
        )
    if horizon < LEAST_HORIZON:
        raise PlannerConfigError(
            f"{name}: horizon: {horizon}; no plan comes of fewer than {LEAST_HORIZON} steps: export it with more"
        )
    if grid.delay_ns > grid.max_steps * grid.dt_ns:
        raise PlannerConfigError(
            f"{name}: delay_s: {delay_s} s cannot be compensated: more than {grid.max_steps} steps of {dt_s} s, beyond "
            "which nothing is rolled forward; look for what delays the commands, then retrain"
        )
    if config.delay_window_s and grid.delay_ns > LONGEST_STEPS * grid.dt_ns:
        raise PlannerConfigError(
            f"planner settings: field 'delay_window_s': delays of up to {LONGEST_STEPS} steps of {dt_s} s are looked "
            f"for, {name} has one of {delay_s} s; set it to 0"
        )
    _check_memory(name, grid, config)


def _check_memory(name: str, grid: TimeGrid, config: PlannerConfig) -> None:
    """The commands that a belief of any age needs are still known while the guard sends them at its rate."""
    needed_s = ((grid.past + grid.max_steps + _LOOKED_BACK) * grid.dt_ns + grid.delay_ns) / 1e9
    kept_s = CAPACITY * config.command_period_s
    if needed_s > kept_s:
        raise PlannerConfigError(
            f"{name}: history: {grid.past} commands, its delay and the oldest belief reach {needed_s:.2f} s back; the "
            f"last {CAPACITY} applied commands are kept, {kept_s:.2f} s: train it with a shorter history"
        )
