"""Safe excitation: motion that shows a model all that the planner will later do, inside the work box.

A segment is a saturated proportional approach to a random joint position, as the planner's own moves are, with a
random gain, speed (down to a crawl), acceleration and length, plus a small multisine with many reversals. It ends
in a dwell when its target is reached early. Position feedback is in the law itself, so nothing drifts.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from mbrl_control.cadence import Clock
from mbrl_control.planning.command_history import CommandHistory
from mbrl_control.planning.lag_model import LagModel
from mbrl_control.planning.limits import TORQUE_SPEED_SHARE, KnotLimits, mean_actions, project
from mbrl_control.planning.proposals import Target, approach
from mbrl_control.planning.rollforward import StartState, TimeGrid, roll_forward
from mbrl_control.planning.torque_tracks import RigidModel, accelerate_to, torque_knots
from mbrl_control.rigid_body import RigidBody
from mbrl_control.robot import Arm
from mbrl_control.signals import Array, BeliefState, CommandInterface, Plan, PlanOutcome

MODEL_ID = "excitation"
_EFFORT_GAIN = 2.0
"""Gains of moves by torque have twice their value as natural frequency."""


class ExcitationConfig(BaseModel):
    """What the excitation covers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    speed_scale: float = Field(0.5, gt=0.0, le=1.0)
    """Share of the rated speed; single segments use less, down to ``slowest`` of it."""
    acceleration_scale: float = Field(0.9, gt=0.0, le=1.0)
    effort_scale: float = Field(0.9, gt=0.0, le=1.0)
    """Share of the torque limits, of an arm that takes torques."""
    slowest: float = Field(0.05, gt=0.0, le=1.0)
    local_share: float = Field(0.35, ge=0.0, le=1.0)
    """Share of segments that stay near the last target: reversals, creeping, standing."""
    local_reach: float = Field(0.1, gt=0.0, le=1.0)
    """rad."""
    dither: float = Field(0.08, ge=0.0, le=0.5)
    """rad/s, largest amplitude of a joint's multisine."""
    segment_s: tuple[float, float] = (0.5, 2.0)
    gain: tuple[float, float] = (4.0, 25.0)
    """1/s."""
    dt_s: float = Field(0.02, gt=0.0, le=0.1)
    horizon: int = Field(15, ge=2, le=64)
    past: int = Field(3, ge=0, le=16)
    command_period_s: float = Field(0.005, gt=0.0, le=0.02)


@dataclass(frozen=True, slots=True)
class _Segment:
    begin_ns: int
    end_ns: int
    target: Array
    """[J] rad."""
    gain: float
    limits: KnotLimits
    amplitude: Array
    frequency: Array
    phase: Array
    """[M, J] rad/s, Hz, rad of the multisine."""


class Excitation:
    """Yields a plan per cycle, published like a planner's; ``plan`` raises StaleBelief as a planner would fail."""

    def __init__(self, arm: Arm, config: ExcitationConfig, clock: Clock, generator: np.random.Generator) -> None:
        self._arm = arm
        self._config = config
        self._clock = clock
        self._generator = generator
        self._lag = LagModel(arm.servo_lag_s, config.dt_s)
        self._body = RigidBody(arm) if arm.interface is CommandInterface.EFFORT else None
        self._model = self._lag if self._body is None else RigidModel(self._body, config.dt_s)
        self._grid = TimeGrid(
            round(config.dt_s * 1e9),
            round(arm.command_delay_s * 1e9),
            config.past,
            round(config.command_period_s * 1e9),
        )
        self._limits = KnotLimits(
            arm.velocity * config.speed_scale, arm.acceleration * (config.acceleration_scale * config.dt_s)
        )
        self._command_limits = self._limits
        if self._body is not None:
            self._limits = replace(self._limits, bound=TORQUE_SPEED_SHARE * self._limits.bound)
            self._command_limits = KnotLimits(arm.effort * config.effort_scale, arm.torque_rate * 0.9 * config.dt_s)
        self.activate()

    def activate(self) -> None:
        """Begin a new epoch, with a new first segment."""
        self._epoch = self._clock.now_ns()
        self._sequence = 0
        self._segment: _Segment | None = None
        self._in_force: tuple[Plan, ...] = ()

    def plan(self, deadline_ns: int, belief: BeliefState, history: CommandHistory, following: bool) -> Plan:
        """The next plan from the belief at its measurement time; ``following``: the guard samples these plans now."""
        joints = self._arm.joints
        start = roll_forward(belief, history, self._in_force if following else (), deadline_ns, self._grid, self._model)
        position, velocity = start.state[:joints], start.state[joints : 2 * joints]
        segment = self._current(start.start_ns, position)
        knots = project(self._knots(start, segment), start.first_knot, self._command_limits)
        self._sequence += 1
        plan = self._assemble(belief, start.start_ns, start.first_knot, knots, (position, velocity))
        self._in_force = (*self._in_force, plan)[-4:]
        return plan

    def _knots(self, start: StartState, segment: _Segment) -> Array:
        """[1, H, J] of a move to the segment's target, with a multisine in its speed."""
        joints, gain = self._arm.joints, np.array([segment.gain])
        pose = (start.state[:joints], start.state[joints : 2 * joints])
        target = Target.rest(segment.target, self._config.horizon)
        wave = _multisine(segment, start.start_ns, self._config)
        if self._body is None:
            return approach(pose, start.first_knot, target, gain, segment.limits, self._lag).knots + wave
        target = Target(target.position, wave)
        motions = accelerate_to(pose, target, gain / _EFFORT_GAIN, segment.limits, self._config.dt_s)
        return torque_knots(self._body, motions, None).effort

    def _current(self, at_ns: int, position: Array) -> _Segment:
        if self._segment is None or at_ns >= self._segment.end_ns:
            anchor = position if self._segment is None else self._segment.target
            self._segment = self._draw(at_ns, anchor)
        return self._segment

    def _draw(self, begin_ns: int, anchor: Array) -> _Segment:
        config, rng, joints = self._config, self._generator, self._arm.joints
        lower, upper = self._arm.box_lower, self._arm.box_upper
        if rng.random() < config.local_share:
            target = np.clip(anchor + rng.uniform(-config.local_reach, config.local_reach, joints), lower, upper)
        else:
            target = rng.uniform(lower, upper)
        # Half of the segments run at the full cap, as the planner does; the others at all scales below.
        speed = 1.0 if rng.random() < 0.5 else float(np.exp(rng.uniform(np.log(config.slowest), 0.0)))
        acceleration = rng.uniform(0.3, 1.0)
        waves = (2, joints)
        return _Segment(
            begin_ns,
            begin_ns + round(rng.uniform(*config.segment_s) * 1e9),
            target,
            float(np.exp(rng.uniform(*np.log(config.gain)))),
            KnotLimits(self._limits.bound * speed, self._limits.step * acceleration),
            rng.uniform(0.0, config.dither / 2.0, waves),
            rng.uniform(0.3, 3.0, waves),
            rng.uniform(0.0, 2.0 * np.pi, waves),
        )

    def _assemble(
        self, belief: BeliefState, start_ns: int, first: Array, knots: Array, pose: tuple[Array, Array]
    ) -> Plan:
        rows, joints = self._config.horizon + 1, self._arm.joints
        position, velocity = np.empty((rows, joints)), np.empty((rows, joints))
        position[0], velocity[0] = pose
        for k, action in enumerate(mean_actions(knots, first)[0]):
            position[k + 1], velocity[k + 1] = self._model.advance(position[k], velocity[k], action)
        now = self._clock.now_ns()
        return Plan(
            stamp_ns=now,
            start_ns=start_ns,
            belief_stamp_ns=belief.stamp_ns,
            optimized_stamp_ns=now,
            epoch=self._epoch,
            sequence=self._sequence,
            outcome=PlanOutcome.EXCITATION,
            model_id=MODEL_ID,
            joint_names=self._arm.joint_names,
            times=np.arange(rows, dtype=np.float64) * self._config.dt_s,
            knots=np.vstack([first, knots[0]]),
            position=position,
            velocity=velocity,
            effort=np.zeros((rows, joints)),
            variance=np.zeros((rows, 3 * joints)),
            epistemic=np.zeros(rows),
            interface=self._arm.interface,
        )


def _multisine(segment: _Segment, start_ns: int, config: ExcitationConfig) -> Array:
    """[H, J] rad/s at the knots 1..H, starting from nothing at the segment's begin."""
    seconds = (start_ns - segment.begin_ns) * 1e-9 + config.dt_s * np.arange(1, config.horizon + 1)
    angle = 2.0 * np.pi * segment.frequency * seconds[:, None, None] + segment.phase
    ramp = np.clip(seconds / 0.2, 0.0, 1.0)[:, None]
    return np.asarray(ramp * (segment.amplitude * np.sin(angle)).sum(axis=1), dtype=np.float64)
