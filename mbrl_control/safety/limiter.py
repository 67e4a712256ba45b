"""Stages that limit: position, velocity, acceleration, jerk. Each gives an interval on the next command.

Arrays of shape [2, J] hold one ceiling per direction: row 0 bounds +v, row 1 bounds -v, so both sides of a
limit are one computation. The intervals are intersected in the order of priority position > velocity >
acceleration > jerk; where they are disjoint, the later one yields. Inside the result ONE factor moves all
joints from the braking command (factor 0) to the request (factor 1). The braking command is the reference
because factor 0 is then always admissible and always means less motion: from rest it is zero, and the
factor scales the request about zero; in motion it is the hardest braking allowed. A factor about the
previous command could keep a joint at speed although the request wants it to stop.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mbrl_control.safety.config import GuardConfig, GuardLimits
from mbrl_control.signals import Array, Stage

SIGNS = np.array([[1.0], [-1.0]])
ORDER = (Stage.POSITION, Stage.VELOCITY, Stage.ACCELERATION, Stage.JERK)
FRACTIONS = np.linspace(0.0, 1.0, 17)[:, None, None]
"""Grid on which the position ceiling is looked up, all joints and both directions at once."""
REFINEMENTS = 2
"""Grids inside each other: the ceiling is resolved to 1/256 of the range and then by a chord."""


@dataclass(frozen=True, slots=True)
class Motion:
    """The command now in force: what the next one must be compatible with."""

    command: Array
    """[J] rad/s."""
    acceleration: Array
    """[J] rad/s^2, of the last step between two commands."""
    request: Array
    """[J] rad/s, what was asked for when ``command`` was made."""


@dataclass(frozen=True, slots=True)
class Limited:
    """What the pipeline let through."""

    command: Array
    """[J] rad/s."""
    factor: float
    """1: the request unaltered; 0: maximum braking."""
    stage: Stage
    joint: int
    """Which joint limited; -1 when none."""


class Limiter:
    """Precomputed constants of the stages; every method is pure."""

    def __init__(self, limits: GuardLimits, config: GuardConfig) -> None:
        self._dt = config.tick_s
        self._rated = limits.velocity
        self._acceleration = limits.acceleration
        self._jerk = limits.jerk
        self._jerk_step = limits.jerk * config.tick_s
        self._lag = limits.lag_s
        self._delay = config.command_delay_s
        self._ends = np.stack([limits.upper, -limits.lower]) - config.position_margin
        self._sure_acceleration = limits.acceleration * config.braking_reserve
        self._sure_jerk = limits.jerk * config.braking_reserve

    def limit(
        self, request: Array, motion: Motion, position: Array, velocity: Array, age_s: float, scale: float
    ) -> Limited:
        """Bring ``request`` [J] rad/s inside all intervals.

        ``position`` [J] rad and ``velocity`` [J] rad/s are measured ``age_s`` ago; ``scale`` in [0, 1] caps
        the rated velocities.
        """
        ahead = SIGNS * motion.command
        rate = SIGNS * motion.acceleration
        ceilings = [
            self.position_ceiling(ahead, position, velocity, age_s),
            self.velocity_ceiling(ahead, rate, scale),
            self.acceleration_ceiling(ahead),
            self.jerk_ceiling(ahead, rate),
        ]
        lower, upper = _intersect(ceilings)
        brake = motion.command + self._approach(-motion.command)
        brake = np.minimum(np.maximum(brake, lower), upper)
        # Where the request was met, its own change is followed exactly; a lag behind it is closed so that the
        # acceleration is let out in time, else a low jerk limit would carry the command past the request.
        request = motion.command + (request - motion.request) + self._approach(motion.request - motion.command)
        command, factor, joint = _towards(brake, request, lower, upper)
        if joint < 0:
            return Limited(command, factor, Stage.NONE, joint)
        side, bound = (0, upper[joint]) if request[joint] > upper[joint] else (1, -lower[joint])
        distances = [abs(ceiling[side, joint] - bound) for ceiling in ceilings]
        return Limited(command, factor, ORDER[int(np.argmin(distances))], joint)

    def acceleration_ceiling(self, ahead: Array) -> Array:
        """[2, J] rad/s: one tick at the acceleration limit."""
        return ahead + self._acceleration * self._dt

    def jerk_ceiling(self, ahead: Array, rate: Array) -> Array:
        """[2, J] rad/s: the acceleration may change by jerk * tick."""
        return ahead + (rate + self._jerk_step) * self._dt

    def velocity_ceiling(self, ahead: Array, rate: Array, scale: float) -> Array:
        """[2, J] rad/s: at most ``scale`` x rated, and low enough that the acceleration can still be let out.

        After this tick with acceleration a the velocity rises by a^2 / (2 jerk) more before a reaches zero,
        so v + a^2 / (2 jerk) <= cap is asked for; then the interval never gets empty later. Where a cap was
        lowered below the speed in force, the ceiling is the fastest braking within acceleration and jerk.
        """
        room = np.maximum(scale * self._rated - ahead, 0.0)
        ceiling = ahead + self._dt * self._let_out(room)
        below = np.minimum(scale * self._rated, ceiling)
        fastest = ahead + self._dt * np.maximum(-self._acceleration, rate - self._jerk_step)
        result: Array = np.maximum(below, fastest)
        return result

    def position_ceiling(self, ahead: Array, position: Array, velocity: Array, age_s: float) -> Array:
        """[2, J] rad/s: highest velocity from which the arm still stops short of the limit.

        Free way: distance to the limit, less what the servo lag still delivers (a first-order servo moves on
        by lag * velocity) and less what was commanded but not yet measured (delay and age of the sample).
        """
        moving = SIGNS * velocity
        unseen = (self._delay + age_s) * np.maximum(np.maximum(ahead, moving), 0.0)
        way = np.maximum(self._ends - SIGNS * position - self._lag * np.maximum(moving, 0.0) - unseen, 0.0)
        high = np.minimum(self._rated, ahead + self._acceleration * self._dt)
        free = self._stopping_distance(high, ahead) <= way
        if free.all():
            return np.broadcast_to(self._rated, ahead.shape)
        # With no speed towards the limit, or no acceleration away from it, the distance is zero.
        low, part = np.minimum(ahead, 0.0), np.zeros_like(ahead)
        for _ in range(REFINEMENTS):
            low, high, part = self._bracket(low, high, ahead, way)
        return np.where(free, self._rated, low + part * (high - low))

    def _bracket(self, low: Array, high: Array, ahead: Array, way: Array) -> tuple[Array, Array, Array]:
        """The grid cell [2, J] in which the stopping distance reaches ``way``, and the part of it to go.

        The distance is convex in the command, so the chord of the cell meets ``way`` on the safe side.
        """
        grid = low + FRACTIONS * (high - low)
        distance = self._stopping_distance(grid, ahead)
        index = np.clip(np.sum(distance <= way, axis=0) - 1, 0, len(FRACTIONS) - 2)[None]
        near, far = np.take_along_axis(distance, index, 0)[0], np.take_along_axis(distance, index + 1, 0)[0]
        part = np.divide(way - near, far - near, out=np.zeros_like(way), where=far > near)
        low, high = np.take_along_axis(grid, index, 0)[0], np.take_along_axis(grid, index + 1, 0)[0]
        return low, high, np.minimum(np.maximum(part, 0.0), 1.0)

    def _stopping_distance(self, command: Array, ahead: Array) -> Array:
        """[2, J] rad covered after ``command``: one tick, the jerk ramp to full braking, then braking to rest."""
        acceleration, jerk = self._sure_acceleration, self._sure_jerk
        rate = np.maximum((command - ahead) / self._dt, -acceleration)
        peak = np.maximum(command + np.maximum(rate, 0.0) ** 2 / (2.0 * jerk), 0.0)
        distance: Array = peak * ((rate + acceleration) / jerk + self._dt) + peak**2 / (2.0 * acceleration)
        return distance

    def _let_out(self, gap: Array) -> Array:
        """Largest acceleration a >= 0 with a * tick + a^2 / (2 jerk) <= gap [rad/s]."""
        result: Array = np.sqrt(self._jerk_step**2 + 2.0 * self._jerk * gap) - self._jerk_step
        return result

    def _approach(self, gap: Array) -> Array:
        """[J] rad/s: step of one tick towards a speed that is ``gap`` away, without running past it."""
        size = np.abs(gap)
        # A gap of one jerk step is closed at once: the acceleration it takes can be let out in one tick too.
        step = np.where(size <= self._jerk_step * self._dt, size, self._let_out(size) * self._dt)
        step = np.minimum(step, self._acceleration * self._dt)
        result: Array = np.copysign(step, gap)
        return result


def _intersect(ceilings: list[Array]) -> tuple[Array, Array]:
    """Lower and upper [J] of the next command; a later interval yields to the earlier ones."""
    upper, lower = ceilings[0][0], -ceilings[0][1]
    for ceiling in ceilings[1:]:
        high = np.maximum(np.minimum(ceiling[0], upper), lower)
        lower = np.minimum(np.maximum(-ceiling[1], lower), upper)
        upper = high
    return lower, upper


def _towards(brake: Array, request: Array, lower: Array, upper: Array) -> tuple[Array, float, int]:
    """Largest factor in [0, 1] from ``brake`` to ``request`` inside the interval, and the joint that set it."""
    # Knots at the very limit meet a bound up to rounding: that is no limitation.
    if (request <= upper + 1e-9).all() and (request >= lower - 1e-9).all():
        return np.minimum(np.maximum(request, lower), upper), 1.0, -1
    way = request - brake
    room = np.where(way > 0.0, upper - brake, lower - brake)
    ratio = np.divide(room, way, out=np.ones_like(way), where=way != 0.0)
    joint = int(ratio.argmin())
    factor = min(max(float(ratio[joint]), 0.0), 1.0)
    return np.minimum(np.maximum(brake + factor * way, lower), upper), factor, joint
