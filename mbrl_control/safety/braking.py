"""Where braking leads: the arm of the description, braked from the next tick on, at its torque and torque-rate limits.

Mass matrix and bias are those of the measured state: over the tenth of a second that braking takes they change little,
and they are the dear part of a tick.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mbrl_control.safety.config import GuardConfig, GuardLimits
from mbrl_control.safety.limiter import Motion
from mbrl_control.signals import Array

_STEP_S = 0.01
_STEPS = 40
"""At most; braking ends when every joint is slow, or when nothing but decay is left."""
_AMPLE = 0.8
"""Share of the cap on speed up to which nothing is looked ahead."""
_ROUNDING_NM = 1e-9
_SLOW = 0.01
"""Share of the rated speed."""


@dataclass(frozen=True, slots=True)
class Terms:
    """The rigid body at one state."""

    mass: Array
    """[J, J] kg m^2."""
    bias: Array
    """[J] N m."""
    mobility: Array
    """[J, J] inverse of ``mass``."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """From one measured state."""

    excess: Callable[[Array], Array]
    """Commands of the next tick [F, J] N m -> largest excess while braking afterwards [F, 2, J]: row 0 over the
    position limits, rad; row 1 over the cap on speed, rad/s. Negative: that much is left."""


class Braking:
    """Constants of one arm."""

    def __init__(self, limits: GuardLimits, config: GuardConfig) -> None:
        self._limits, self._config = limits, config
        self._lower, self._upper = limits.lower + config.position_margin, limits.upper - config.position_margin
        self._decay = config.effort_rate * _STEP_S
        self._way_left = (1.0 - 0.5 * self._decay) / config.effort_rate
        """s, way over speed of a joint whose speed decays by ``_decay`` in every step, to its rest."""

    def outlook(self, terms: Terms, motion: Motion, state: tuple[Array, Array], age_s: float, scale: float) -> Outlook:
        """``state``: position and velocity [J] as measured ``age_s`` ago."""
        bias, mobility = terms.bias, terms.mobility
        unseen = self._config.command_delay_s + age_s
        acceleration = mobility @ (self._sent(motion, unseen) - bias)
        position = state[0] + unseen * (state[1] + 0.5 * unseen * acceleration)
        velocity = state[1] + unseen * acceleration
        cap = scale * (1.0 - self._config.effort_speed_band) * self._limits.velocity

        def excess(commands: Array) -> Array:
            return self._brake((position, velocity), commands, terms, cap)

        return Outlook(excess)

    def _sent(self, motion: Motion, unseen: float) -> Array:
        """[J] N m, on average, on the way to the arm for the time unseen: what the commands were half of it ago."""
        effort = self._limits.effort
        return np.clip(motion.command - 0.5 * unseen * motion.acceleration, -effort, effort)

    def surely_free(
        self,
        terms: Terms,
        motion: Motion,
        asked: Array,
        state: tuple[Array, Array],
        age_s: float,
        scale: float,
    ) -> bool:
        """Whether ``asked`` [J] N m leaves so much that nothing has to be looked ahead: cheap, and never wrongly true.

        In the time unseen the acceleration is that of what was sent; while torques are turned round to braking, it
        stays within that of ``asked`` and of braking. So speed and way are bounded by the products of the largest with
        the time this takes; twice the bound has to fit.
        """
        bias = terms.bias
        limits, config = self._limits, self._config
        position, velocity = state
        brake = within_torque(
            bias, -config.effort_rate * (terms.mass @ velocity), config.braking_reserve * limits.effort
        )
        turning = np.abs(brake - asked) / (config.braking_reserve * limits.torque_rate)
        unseen = config.command_delay_s + age_s
        duration = 2.0 * (float(turning.max()) + unseen + config.tick_s)
        torques = np.stack([self._sent(motion, unseen), asked, brake], axis=1) - bias[:, None]
        gain = np.abs(terms.mobility @ torques).max(axis=1)
        speed = np.abs(velocity) + gain * duration
        way = speed * (duration + 2.0 / config.effort_rate)
        room = np.minimum(self._upper - position, position - self._lower)
        return bool((speed < _AMPLE * scale * limits.velocity).all() and (way < room).all())

    def _brake(self, state: tuple[Array, Array], commands: Array, terms: Terms, cap: Array) -> Array:
        mass, bias, mobility = terms.mass, terms.bias, terms.mobility
        limits, config = self._limits, self._config
        position, velocity = (np.broadcast_to(value, commands.shape) for value in state)
        low = high = position
        fastest = np.abs(velocity)
        slow, most = _SLOW * limits.velocity, config.braking_reserve * limits.torque_rate * _STEP_S
        strong = config.braking_reserve * limits.effort
        torque, step_s = commands, config.tick_s
        for _ in range(_STEPS):
            acceleration = (torque - bias) @ mobility
            position = position + step_s * (velocity + 0.5 * step_s * acceleration)
            velocity = velocity + step_s * acceleration
            speed = np.abs(velocity)
            low, high = np.minimum(low, position), np.maximum(high, position)
            fastest = np.maximum(fastest, speed)
            if (speed <= slow).all():
                break
            push = -config.effort_rate * (velocity @ mass)
            wanted = within_torque(bias, push, strong)
            change = wanted - torque
            if self._settles(bias + push - wanted, change, push, most):
                rest = position + self._way_left * velocity
                low, high = np.minimum(low, rest), np.maximum(high, rest)
                break
            torque = torque + share(change, most) * change
            step_s = _STEP_S
        return np.stack([np.maximum(high - self._upper, self._lower - low), fastest - cap], axis=1)

    def _settles(self, cut: Array, change: Array, push: Array, most: Array) -> bool:
        """Whether from here on every speed just decays: the braking torque is reached in this step, no joint's is cut
        off, and the next changes, which shrink with the speeds, are within the rate."""
        return bool(
            self._decay < 1.0
            and (np.abs(change) <= most).all()
            and (self._decay * np.abs(push) <= most).all()
            and (np.abs(cut) <= _ROUNDING_NM).all()
        )


def within_torque(bias: Array, push: Array, effort: Array) -> Array:
    """``bias`` [J] and as much of ``push`` [..., J] on top as keeps every joint within ``effort`` [J] N m.

    All joints give up the same share: a torque cut off in one joint alone would turn the others' into motion of it.
    """
    left = np.maximum(effort - np.sign(push) * bias, 0.0)
    return np.clip(bias + share(push, left) * push, -effort, effort)


def share(change: Array, most: Array) -> Array:
    """[..., 1] largest part in [0, 1] of ``change`` [..., J] with which no joint exceeds ``most`` [J] (or [..., J])."""
    part = (most / np.maximum(np.abs(change), _TINY)).min(axis=-1, keepdims=True)
    return np.asarray(np.minimum(part, 1.0))


_TINY = 1e-12
