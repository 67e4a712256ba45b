"""What stands between a position or trajectory command and the velocity servo of a simulated arm: the drive's own loop.

A proportional position loop with the speed of its setpoints fed forward, as drives have; with a load it gives way by
(servo error) / gain. For trajectories, the cubic that joint_trajectory_controller of ros2_control follows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mbrl_control.robot import Arm
from mbrl_control.signals import Array

GAIN = 0.15
"""1/s of the position loop, times the lag of the servo behind it. Low: the speed fed forward does the work, the loop
takes back what is left. At 0.25, where the loop itself just does not swing, a planner never trained swings with it."""
SMOOTHING_S = 0.01
"""Of the speed of setpoints."""
FRESH_S = 0.02
"""So long a setpoint is taken to move on."""


class PositionLoop:
    """Setpoint and measured position in, velocity command out. Forget it whenever the brakes clamp."""

    def __init__(self, arm: Arm) -> None:
        self._gain, self._rated = GAIN / arm.servo_lag_s, arm.velocity
        self._setpoint: Array | None = None
        self._taken_s = 0.0
        self._speed = np.zeros(arm.joints)

    def take(self, setpoint: Array, time_s: float) -> None:
        """Newest setpoint [J] rad. Their speed is smoothed, as they come on a grid of their own."""
        if self._setpoint is not None and time_s > self._taken_s:
            elapsed_s = time_s - self._taken_s
            rate = (setpoint - self._setpoint) / elapsed_s
            self._speed = rate + (self._speed - rate) * np.exp(-elapsed_s / SMOOTHING_S)
        self._setpoint, self._taken_s = setpoint, time_s

    def forget(self) -> None:
        """Nothing is followed until the next setpoint."""
        self._setpoint = None
        self._speed = np.zeros_like(self._speed)

    def velocity(self, position: Array, time_s: float) -> Array:
        """Velocity command [J] rad/s at ``position`` [J] rad; zero without a setpoint."""
        if self._setpoint is None:
            return np.zeros_like(position)
        # Setpoints that come no more have come to rest.
        ahead = self._speed if time_s - self._taken_s <= FRESH_S else np.zeros_like(position)
        return np.clip(self._gain * (self._setpoint - position) + ahead, -self._rated, self._rated)


@dataclass(frozen=True, slots=True)
class Cubic:
    """From (start, speed) at ``begin_s`` to (end, 0) ``length_s`` later."""

    start: Array
    """[J] rad."""
    speed: Array
    """[J] rad/s."""
    end: Array
    begin_s: float
    length_s: float

    def at(self, time_s: float) -> tuple[Array, Array]:
        """Position [J] rad and velocity [J] rad/s; after the end, at rest there."""
        t = min(max(time_s - self.begin_s, 0.0), self.length_s)
        way = self.end - self.start
        square = 3.0 * way / self.length_s**2 - 2.0 * self.speed / self.length_s
        cube = -2.0 * way / self.length_s**3 + self.speed / self.length_s**2
        position = self.start + t * (self.speed + t * (square + t * cube))
        return position, self.speed + t * (2.0 * square + 3.0 * t * cube)


class TrajectoryFollower:
    """Cubics from where the last one is to the newest point, in front of a position loop with their velocity added.

    That is joint_trajectory_controller with `interpolate_from_desired_state`; begun anew at the measured position.
    """

    def __init__(self, arm: Arm) -> None:
        self._gain, self._rated = GAIN / arm.servo_lag_s, arm.velocity
        self._cubic: Cubic | None = None

    def take(self, point: Array, length_s: float, position: Array, time_s: float) -> None:
        """A point [J] rad to be reached, at rest, in ``length_s``; ``position`` [J] rad is measured now.

        Raises:
            ValueError: the time is not positive.
        """
        if not length_s > 0.0:
            raise ValueError(f"trajectory: time_from_start is {length_s} s; give a time ahead")
        start, speed = (position, np.zeros_like(position)) if self._cubic is None else self._cubic.at(time_s)
        self._cubic = Cubic(start, speed, point, time_s, length_s)

    def forget(self) -> None:
        """Nothing is followed until the next point."""
        self._cubic = None

    def velocity(self, position: Array, time_s: float) -> Array:
        """Velocity command [J] rad/s at ``position`` [J] rad; zero without a point."""
        if self._cubic is None:
            return np.zeros_like(position)
        wanted, speed = self._cubic.at(time_s)
        return np.clip(self._gain * (wanted - position) + speed, -self._rated, self._rated)
