"""Torque commands: braking, holding and limiting through the rigid body of the arm description.

A wanted speed becomes a torque, ``M rate (v_wanted - v) + b``: one bandwidth for all joints in every pose, which
diagonal gains cannot have (two parallel axes move little mass against each other). On it stands the hold of velocity
commands. Towards a position or speed limit ONE factor moves all joints from the request to the braking torque; torque
and torque rate are clipped last.
"""

from __future__ import annotations

import numpy as np

from mbrl_control.rigid_body import RigidBody
from mbrl_control.safety.config import GuardConfig, GuardLimits
from mbrl_control.safety.hold_law import Hold, advance_hold, hold_request
from mbrl_control.safety.limiter import Limited, Motion
from mbrl_control.signals import Array, SensorSample, Stage


class EffortLaw:
    """`CommandLaw` of torques."""

    def __init__(self, body: RigidBody, limits: GuardLimits, config: GuardConfig) -> None:
        self._body, self._limits, self._config = body, limits, config
        self._seen: SensorSample | None = None
        self._terms = (np.empty(0), np.empty(0))

    def brake(self, sample: SensorSample) -> Array:
        """See CommandLaw: all speeds decay alike; the arm's own weight is carried where the drives do not."""
        return self._towards(np.zeros_like(sample.velocity), sample)

    def hold(self, hold: Hold, motion: Motion, sample: SensorSample) -> tuple[Hold, Array]:
        """See CommandLaw."""
        rated, config = self._limits.velocity, self._config
        resting = np.zeros_like(sample.velocity)
        hold = advance_hold(hold, resting, sample.position, sample.velocity, rated, config)
        return hold, self._towards(hold_request(hold, sample.position, rated, config), sample)

    def limit(self, request: Array, motion: Motion, sample: SensorSample, age_s: float, scale: float) -> Limited:
        """See CommandLaw."""
        brake = self.brake(sample)
        factor, stage, joint = self._freedom(request - brake, sample, age_s, scale)
        wanted = brake + factor * (request - brake)
        clipped = np.clip(wanted, -self._limits.effort, self._limits.effort)
        if factor == 1.0 and (clipped != wanted).any():
            stage, joint = Stage.EFFORT, int(np.abs(clipped - wanted).argmax())
        command, share = self._within_rate(clipped, motion.command)
        if stage == Stage.NONE and share < 1.0:
            stage, joint = (
                Stage.EFFORT_RATE,
                int((np.abs(clipped - motion.command) / self._limits.torque_rate).argmax()),
            )
        return Limited(command, min(factor, share), stage, joint)

    def spent(self, motion: Motion) -> bool:
        """See CommandLaw: without a trusted state no torque is safe, the brakes are."""
        return True

    def _towards(self, velocity: Array, sample: SensorSample) -> Array:
        mass, bias = self._rigid_terms(sample)
        wanted: Array = mass @ (self._config.effort_rate * (velocity - sample.velocity)) + bias
        return np.clip(wanted, -self._limits.effort, self._limits.effort)

    def _rigid_terms(self, sample: SensorSample) -> tuple[Array, Array]:
        """Mass matrix [J, J] and bias [J]; once per sample, which two ticks and several requests share."""
        if sample is not self._seen:
            mass, bias = self._body.terms(sample.position[None], sample.velocity[None])
            self._seen, self._terms = sample, (mass[0], bias[0])
        return self._terms

    def _freedom(self, push: Array, sample: SensorSample, age_s: float, scale: float) -> tuple[float, Stage, int]:
        """How much of the way from braking to the request is left [0, 1], and what takes the rest.

        ``push`` [J] N m, request less braking: a joint is limited in the direction in which it is pushed.
        """
        config, limits = self._config, self._limits
        way = np.where(push > 0.0, 1.0, -1.0)
        speed = way * sample.velocity
        end = np.where(push > 0.0, limits.upper, -limits.lower) - config.position_margin
        # Braking is exponential, so the way to rest is the speed over its rate; before that, what is not seen yet.
        stopping = np.maximum(speed, 0.0) * (1.0 / config.effort_rate + config.command_delay_s + age_s)
        room = (end - way * sample.position - stopping) / config.effort_band
        slack = (scale * limits.velocity - speed) / (config.effort_speed_band * limits.velocity)
        free = np.where(push == 0.0, 1.0, np.minimum(np.minimum(room, slack), 1.0))
        joint = int(free.argmin())
        factor = float(np.clip(free[joint], 0.0, 1.0))
        if factor == 1.0:
            return 1.0, Stage.NONE, -1
        return factor, Stage.POSITION if room[joint] <= slack[joint] else Stage.VELOCITY, joint

    def _within_rate(self, wanted: Array, command: Array) -> tuple[Array, float]:
        """All joints go the same share of the way that the torque rate allows within a tick."""
        change = wanted - command
        most = self._limits.torque_rate * self._config.tick_s
        share = min(1.0, float((most / np.maximum(np.abs(change), 1e-12)).min()))
        return command + share * change, share
