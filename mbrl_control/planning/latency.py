"""Delay from command to motion, found while the arm moves: what the roll-forward compensates, and nothing else does.

One model step predicts the velocity after it from the commands that acted during it. Had they acted earlier or later,
the prediction would have been another: to first order by the response of the velocity to the mean command of the step,
which is the servo's, or of torques the inverse mass matrix'. So one evaluation of the model judges every delay at once,
and the delay whose predictions of the last seconds were best is approached. Where the commands hardly change, all
delays are as good, and the estimate stays.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np

from mbrl_control.planning.command_history import CommandHistory
from mbrl_control.planning.protocol import StepModel
from mbrl_control.planning.rollforward import TimeGrid
from mbrl_control.rigid_body import RigidBody
from mbrl_control.robot import Arm
from mbrl_control.signals import Array, BeliefState, CommandInterface

CELLS = 10
"""Candidates lie a tenth of a step apart."""
LONGEST_STEPS = 5
"""Of delay that is looked for."""
_TELLING = 1.5
"""Squared error of the worst candidate over that of the best, from which on the commands are taken to tell."""
_RATE = 0.05
"""Of a step per observation: a delay does not jump, an estimate may."""
_UNUSUAL = 10.0
"""Squared error of a step under its best delay over the usual one, from which on something else than a delay acts."""
_LEVELLING = 0.02
"""Per step: after about five seconds of something else it has become the usual."""
_LEAST_ERROR = 1e-5
"""(rad/s)^2, sum over joints: a millimetre's worth of noise, so that perfect rest makes no motion unusual."""
_NEAREST, _FURTHEST = 0.75, 1.5
"""Steps between two beliefs that are taken for one: states at 125 Hz come to a planner 16 or 24 ms apart."""


class DelayObserver:
    """Of one arm and model; ``window_s`` is the time constant with which old motion is forgotten. ``every`` step is
    taken in, or every second one, for half the computation."""

    def __init__(self, arm: Arm, dt_ns: int, delay_ns: int, window_s: float, every: Literal[1, 2] = 1) -> None:
        self._respond = velocity_response(arm, dt_ns * 1e-9)
        self._joints, self._every = arm.joints, every
        self._kept = float(np.exp(-every * dt_ns * 1e-9 / window_s))
        self._cell_ns = dt_ns / CELLS
        self._delay_cells = delay_ns / self._cell_ns
        self.forget()

    @property
    def delay_ns(self) -> int:
        """To be compensated now."""
        return round(self._delay_cells * self._cell_ns)

    def excess(self, delay_ns: int) -> float:
        """Squared error of the last seconds' predictions with a delay, over that with the best one; 1 where all are as
        good, and before there was any motion."""
        error = float(np.interp(delay_ns / self._cell_ns, np.arange(len(self._error)), self._error))
        return (error + _LEAST_ERROR) / (float(self._error.min()) + _LEAST_ERROR)

    def forget(self) -> None:
        """The motion so far, not what was found in it."""
        self._before: BeliefState | None = None
        self._error = np.zeros(LONGEST_STEPS * CELLS + 1)
        self._level = np.inf

    def pause(self) -> None:
        """The arm follows no plan: what holds it answers to no command."""
        self._before = None

    def observe(
        self,
        belief: BeliefState,
        history: CommandHistory,
        grid: TimeGrid,
        model: StepModel,
        disturbance: Array,
    ) -> bool:
        """Take in what the arm did since a belief one step before; a planner may ask twice within a step.

        ``disturbance`` [J] acts besides the commands. Returns whether this step tells one delay from another.
        """
        before = self._before
        steps = 0.0 if before is None else (belief.stamp_ns - before.stamp_ns) / grid.dt_ns
        if before is not None and 0.0 <= steps < _NEAREST:
            return False
        if before is None or not 0.0 < steps < _FURTHEST:
            self._before = belief
            return False
        self._before = belief if self._every == 1 else None
        acted = acting_commands(before.stamp_ns, history, grid)
        # Of one step, as it would have gone on from the mean acceleration of what was seen.
        after = before.velocity + (belief.velocity - before.velocity) / steps
        lacking = after - self._predicted(before, history, grid, model, disturbance)
        place = np.arange(len(acted))
        assumed = np.array([np.interp(grid.delay_ns / self._cell_ns, place, column) for column in acted.T])
        errors = np.square(lacking - self._respond(before.position, acted - assumed)).sum(axis=1)
        if not (np.isfinite(errors).all() and self._explains(float(errors.min()))):
            return False
        self._error = self._error * self._kept + errors
        return self._approach() and _tells(errors)

    def _predicted(
        self, before: BeliefState, history: CommandHistory, grid: TimeGrid, model: StepModel, disturbance: Array
    ) -> Array:
        """Velocity [J] after the step that began at ``before``, with the delay that the grid says."""
        first_ns = before.stamp_ns - grid.delay_ns - grid.past * grid.dt_ns
        commands = history.means(first_ns, grid.dt_ns, grid.past + 1) + disturbance
        state = np.concatenate([before.position, before.velocity, commands[:-1].ravel()])
        return model.step(state, commands[-1])[self._joints : 2 * self._joints]

    def _explains(self, error: float) -> bool:
        """Some delay explains this step about as well as the steps before: no contact, no stop, no blocked joint.

        The level rises slowly while none does, so that an arm that has changed for good is learned after all.
        """
        usual = error <= _UNUSUAL * self._level
        level = (
            error if np.isinf(self._level) else self._level + _LEVELLING * (min(error, 2.0 * self._level) - self._level)
        )
        self._level = max(level, _LEAST_ERROR)
        return usual

    def _approach(self) -> bool:
        """The least squared error, between candidates by a parabola; False where all are about as good."""
        if not _tells(self._error):
            return False
        best = int(np.argmin(self._error))
        target = float(best)
        if 0 < best < len(self._error) - 1:
            left, middle, right = self._error[best - 1 : best + 2]
            target += 0.5 * (left - right) / max(left - 2.0 * middle + right, 1e-300)
        self._delay_cells += float(np.clip(target - self._delay_cells, -_RATE * CELLS, _RATE * CELLS))
        return True


def _tells(errors: Array) -> bool:
    """Whether squared errors [D] by delay differ enough to tell one from another."""
    return float(errors.max()) > _TELLING * float(errors.min())


def acting_commands(begin_ns: int, history: CommandHistory, grid: TimeGrid) -> Array:
    """[D, J] mean commands that act over the step from ``begin_ns`` on, by delay in tenths of a step."""
    cell_ns = grid.dt_ns // CELLS
    count = (LONGEST_STEPS + 1) * CELLS
    cells = history.means(begin_ns - LONGEST_STEPS * CELLS * cell_ns, cell_ns, count)
    summed = np.concatenate([np.zeros((1, cells.shape[1])), np.cumsum(cells, axis=0)])
    return np.asarray((summed[CELLS:] - summed[:-CELLS])[::-1] / CELLS)


def velocity_response(arm: Arm, dt_s: float) -> Callable[[Array, Array], Array]:
    """(position [J], change of the step's command [D, J]) -> change of the velocity after it [D, J]."""
    if arm.interface is CommandInterface.VELOCITY:
        share = np.where(arm.servo_lag_s > 0.0, -np.expm1(-dt_s / np.maximum(arm.servo_lag_s, 1e-9)), 1.0)
        return lambda _, change: change * share
    body = RigidBody(arm)

    def respond(position: Array, change: Array) -> Array:
        mass, _ = body.terms(position[None], np.zeros((1, len(position))))
        return np.asarray(dt_s * np.linalg.solve(mass[0], change.T).T)

    return respond
