"""What a planner learns of its arm from cycle to cycle: what acts besides the commands, and how late they act."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from itertools import compress

import numpy as np

from mbrl_control.planning.command_history import CommandHistory
from mbrl_control.planning.compensated_delay import CompensatedDelay
from mbrl_control.planning.config import PlannerConfig
from mbrl_control.planning.disturbance import DisturbanceObserver, observes
from mbrl_control.planning.protocol import ModelFailed, StepModel
from mbrl_control.planning.rollforward import TimeGrid
from mbrl_control.robot import Arm
from mbrl_control.signals import Array, BeliefState


class Observers:
    """Of one arm, as far as the settings want any."""

    def __init__(self, arm: Arm, config: PlannerConfig) -> None:
        self._arm = arm
        self.disturbance = DisturbanceObserver(arm, config.disturbance_settle_s) if observes(arm, config) else None
        self.delay = CompensatedDelay(arm, config.delay_window_s)
        self._seen: tuple[BeliefState, CommandHistory] | None = None

    @property
    def torque(self) -> Array | None:
        """[J] N m that acts besides the commands; None: it is not estimated."""
        return None if self.disturbance is None else self.disturbance.torque

    @property
    def pushed(self) -> Array:
        """[J] N m, the same; zero where it is not estimated."""
        return np.zeros(self._arm.joints) if self.disturbance is None else self.disturbance.torque

    @property
    def overloaded(self) -> tuple[str, ...]:
        """Joints whose estimate is at its bound."""
        if self.disturbance is None:
            return ()
        return tuple(compress(self._arm.joint_names, self.disturbance.saturated))

    def delay_ns(self, stated_s: float) -> int:
        """Of a model for which ``stated_s`` was found in a log: what was found in this arm counts for more."""
        return self.delay.instead_of(round(stated_s * 1e9))

    def begin_model(self, grid: TimeGrid) -> None:
        """Another model, on ``grid``."""
        self.delay.use(grid.dt_ns, grid.delay_ns)

    def see(self, belief: BeliefState, history: CommandHistory, following: bool) -> bool:
        """What `learn` takes in; True: after so long without a plan to follow the disturbance is to be forgotten.

        An arm that follows no plan may be held by brakes, which is no disturbance.
        """
        self._seen = (belief, history) if following else None
        if not following:
            self.delay.pause()
        return not following and self.disturbance is not None and self.disturbance.pause(belief.stamp_ns)

    def learn(self, grid: TimeGrid, step: StepModel) -> TimeGrid:
        """From what was seen last, once; the grid of the next cycle."""
        seen, self._seen = self._seen, None
        if seen is None:
            return grid
        # A model that fails here fails in the next cycle, too, and there it has a fallback and a reason.
        with suppress(ModelFailed):
            delay_ns = self.delay.observe(*seen, grid, step, self.pushed)
            if self.disturbance is not None:
                self.disturbance.observe(*seen, grid, step)
            return replace(grid, delay_ns=delay_ns)
        return grid

    def overlook(self) -> None:
        """What was seen last is not learned from."""
        self._seen = None

    def forget(self) -> None:
        """The disturbance: another model, another epoch, or a long time without a plan."""
        self.overlook()
        if self.disturbance is not None:
            self.disturbance.forget()
