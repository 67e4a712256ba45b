"""Torque commands: braking, holding and limiting through the rigid body of the arm description.

A wanted speed becomes a torque, ``M rate (v_wanted - v) + b``: one bandwidth for all joints in every pose, which
diagonal gains cannot have (two parallel axes move little mass against each other). On it stands the hold of velocity
commands.

A torque in force cannot be taken back at once: it acts after a delay, and turning it round takes its time at the torque
rate. So a request passes only as far as braking from the tick after it still keeps speeds and positions within their
limits (a backup policy as safety filter: Gurriet et al. 2020, "A scalable safety critical control framework for
nonlinear systems"). ONE factor moves all joints from the braking torque to the request.
"""

from __future__ import annotations

import numpy as np

from mbrl_control.rigid_body import RigidBody
from mbrl_control.safety.braking import Braking, Outlook, Terms, share, within_torque
from mbrl_control.safety.config import GuardConfig, GuardLimits
from mbrl_control.safety.hold_law import Hold, advance_hold, hold_request
from mbrl_control.safety.limiter import Limited, Motion
from mbrl_control.signals import Array, SensorSample, Stage


class EffortLaw:
    """`CommandLaw` of torques."""

    def __init__(self, body: RigidBody, limits: GuardLimits, config: GuardConfig) -> None:
        self._body, self._limits, self._config = body, limits, config
        self._terms_at: SensorSample | None = None
        self._held = Terms(np.empty((0, 0)), np.empty(0), np.empty((0, 0)))
        self._braking = Braking(limits, config)
        self._most = limits.torque_rate * config.tick_s

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
        terms = self._terms(sample)
        brake, _ = self._within_rate(self._towards(0.0, sample, terms), motion.command)
        clipped = np.clip(request, -self._limits.effort, self._limits.effort)
        asked, part = self._within_rate(clipped, motion.command)
        state = (sample.position, sample.velocity)
        factor, stage, joint = 1.0, Stage.NONE, -1
        if not self._braking.surely_free(terms, motion, asked, state, age_s, scale):
            outlook = self._braking.outlook(terms, motion, state, age_s, scale)
            factor, stage, joint = self._freedom(brake, asked, outlook)
        if stage == Stage.NONE and (clipped != request).any():
            stage, joint = Stage.EFFORT, int(np.abs(clipped - request).argmax())
        elif stage == Stage.NONE and part < 1.0:
            stage, joint = Stage.EFFORT_RATE, int((np.abs(clipped - motion.command) / self._most).argmax())
        command = asked if factor == 1.0 else brake + factor * (asked - brake)
        return Limited(command, min(factor, part), stage, joint)

    def spent(self, motion: Motion) -> bool:
        """See CommandLaw: without a trusted state no torque is safe, the brakes are."""
        return True

    def _terms(self, sample: SensorSample) -> Terms:
        """Of a state near the sample's (`_SAME_RAD`, `_SAME_RAD_S`): they are the dear part of a tick."""
        if not self._near(sample):
            mass, bias = self._body.terms(sample.position[None], sample.velocity[None])
            self._terms_at = sample
            self._held = Terms(mass[0], bias[0], np.asarray(np.linalg.inv(mass[0]), dtype=np.float64))
        return self._held

    def _near(self, sample: SensorSample) -> bool:
        at = self._terms_at
        return at is sample or (
            at is not None
            and bool(np.abs(sample.position - at.position).max() <= _SAME_RAD)
            and bool(np.abs(sample.velocity - at.velocity).max() <= _SAME_RAD_S)
        )

    def _towards(self, velocity: Array | float, sample: SensorSample, terms: Terms | None = None) -> Array:
        known = terms or self._terms(sample)
        push = known.mass @ (self._config.effort_rate * (velocity - sample.velocity))
        return within_torque(known.bias, push, self._limits.effort)

    def _freedom(self, brake: Array, asked: Array, outlook: Outlook) -> tuple[float, Stage, int]:
        """How much of the way from braking to what is asked is left [0, 1], and what takes the rest.

        What braking itself cannot keep any more is no reason to refuse a command that does not make it worse.
        """
        excess = outlook.excess(brake + _FACTORS[:, None] * (asked - brake))
        beyond = (excess - np.maximum(excess[0], 0.0)).max(axis=(1, 2))
        if beyond[-1] <= _ROUNDING:
            return 1.0, Stage.NONE, -1
        worst, joint = np.unravel_index(int((excess[-1] - np.maximum(excess[0], 0.0)).argmax()), excess.shape[1:])
        first = int((beyond > _ROUNDING).argmax())
        inside, outside = beyond[first - 1], beyond[first]
        way = (_ROUNDING - inside) / max(outside - inside, _ROUNDING)
        factor = _FACTORS[first - 1] + min(max(way, 0.0), 1.0) * (_FACTORS[first] - _FACTORS[first - 1])
        return float(factor), Stage.POSITION if worst == 0 else Stage.VELOCITY, int(joint)

    def _within_rate(self, wanted: Array, command: Array) -> tuple[Array, float]:
        """All joints go the same share of the way that the torque rate allows within a tick."""
        part = float(share(wanted - command, self._most)[0])
        return wanted if part == 1.0 else command + part * (wanted - command), part


_FACTORS = np.linspace(0.0, 1.0, 5)
_ROUNDING = 1e-9
_SAME_RAD, _SAME_RAD_S = 0.005, 0.05
"""Of every joint, within which mass matrix and bias count as the same: gravity changes by half a percent of an arm's
weight, and the speeds by a fiftieth of what they may be."""
