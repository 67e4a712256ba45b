"""The delay that the roll-forward compensates, beside the one that the arm's motion shows.

The motion is always watched. What it shows is compensated only where the settings ask for that (`delay_window_s`),
since a servo slower than described looks like a longer delay; else a gap between both is told, with its remedy.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from mbrl_control.planning.command_history import CommandHistory
from mbrl_control.planning.latency import DelayObserver
from mbrl_control.planning.protocol import StepModel
from mbrl_control.planning.rollforward import TimeGrid
from mbrl_control.robot import Arm
from mbrl_control.signals import Array, BeliefState, CommandInterface

WINDOW_S = 3.0
"""Of motion that is judged together, where the settings name none."""
PATIENCE_S = 2.0
"""Of motion in a row with a gap, before it is told: an estimate may be off for a moment."""
CLEARLY = 3.0
"""Squared error with the compensated delay over that with the one found, from which on a gap is a delay. Measured on
figure eights: 4 to 200 with actuators 20 and 60 ms late; 1 to 2 under a load that nobody declared, and with an
untrained model, whose errors another delay explains only in part."""


class CompensatedDelay:
    """Of one arm. The control thread hands in beliefs, any other may ask: what it reads are single values."""

    def __init__(self, arm: Arm, window_s: float) -> None:
        """``window_s``: `delay_window_s` of the settings; 0: what is found is told, not compensated."""
        self._arm, self._adopts, self._window_s = arm, window_s > 0.0, window_s or WINDOW_S
        # A step of torques takes three times as long to judge (docs/planning.md): to watch, every second one does.
        self._every: Literal[1, 2] = 1 if self._adopts or arm.interface is CommandInterface.VELOCITY else 2
        self._observer: DelayObserver | None = None
        self._dt_ns = self._compensated_ns = self._apart_ns = 0

    def instead_of(self, bundle_ns: int) -> int:
        """What would be compensated with a model whose log said ``bundle_ns``: what was found in this arm counts for
        more, where it counts at all."""
        return self._observer.delay_ns if self._adopts and self._observer is not None else bundle_ns

    def use(self, dt_ns: int, bundle_ns: int) -> int:
        """With another model; returns what is compensated from now on, ns, see `instead_of`."""
        self._dt_ns, self._apart_ns, self._compensated_ns = dt_ns, 0, self.instead_of(bundle_ns)
        self._observer = DelayObserver(self._arm, dt_ns, self._compensated_ns, self._window_s, self._every)
        return self._compensated_ns

    def pause(self) -> None:
        """The arm follows no plan: what holds it answers to no command."""
        if self._observer is not None:
            self._observer.pause()

    def observe(
        self, belief: BeliefState, history: CommandHistory, grid: TimeGrid, model: StepModel, disturbance: Array
    ) -> int:
        """See `DelayObserver.observe`; returns what is compensated from now on, ns."""
        observer = self._observer
        if observer is None:
            raise ValueError("no model yet: call use() before observe()")
        # About the delay found so far: from one that is far off the response is only known to first order.
        told = observer.observe(belief, history, replace(grid, delay_ns=observer.delay_ns), model, disturbance)
        if self._adopts:
            self._compensated_ns = observer.delay_ns
        elif told:
            self._apart_ns = self._apart_ns + self._every * self._dt_ns if self._apart(observer) else 0
        return self._compensated_ns

    def _apart(self, observer: DelayObserver) -> bool:
        """By more than half a step, and clearly."""
        gap_ns = abs(observer.delay_ns - self._compensated_ns)
        return 2 * gap_ns > self._dt_ns and observer.excess(self._compensated_ns) > CLEARLY

    def facts(self) -> dict[str, str]:
        """For the diagnostics."""
        if self._observer is None:
            return {}
        values = {"delay_compensated_ms": self._compensated_ns, "delay_found_ms": self._observer.delay_ns}
        return {name: f"{value * 1e-6:.1f}" for name, value in values.items()}

    def doubt(self) -> str:
        """In one sentence with its remedy; empty: the motion shows about what is compensated, or nothing yet."""
        if self._observer is None or self._apart_ns < PATIENCE_S * 1e9:
            return ""
        found_ms, compensated_ms = self._observer.delay_ns * 1e-6, self._compensated_ns * 1e-6
        return (
            f"the arm answers its commands {found_ms:.0f} ms late, {compensated_ms:.0f} ms are compensated: drives or "
            "network are later than in the training log, or a servo is slower than described; set "
            f"`delay_window_s: {WINDOW_S:g}` in the planner's settings, or retrain"
        )
