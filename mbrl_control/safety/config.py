"""The guard's own limits and parameters, checked when they are made."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mbrl_control.robot import Arm
from mbrl_control.signals import Array, CommandInterface

MAX_AGE_S = 0.2
"""No age limit may be set looser than this, whatever the periods."""


class GuardError(ValueError):
    """A configuration or request the guard refuses."""


@dataclass(frozen=True, slots=True)
class GuardLimits:
    """Joint limits in the arm's order; the guard never takes them from a plan."""

    joint_names: tuple[str, ...]
    lower: Array
    """[J] rad."""
    upper: Array
    """[J] rad."""
    velocity: Array
    """[J] rad/s, rated."""
    acceleration: Array
    """[J] rad/s^2."""
    jerk: Array
    """[J] rad/s^3."""
    lag_s: Array
    """[J] s, time constant of the velocity servo."""
    effort: Array
    """[J] N m."""
    torque_rate: Array
    """[J] N m/s."""
    interface: CommandInterface = CommandInterface.VELOCITY
    """What plans and commands have to be."""

    def __post_init__(self) -> None:
        joints = (len(self.joint_names),)
        for name in ("lower", "upper", "velocity", "acceleration", "jerk", "lag_s", "effort", "torque_rate"):
            value = getattr(self, name)
            if value.shape != joints or not np.isfinite(value).all():
                raise GuardError(f"GuardLimits.{name}: give {joints[0]} finite numbers, got {value}")
        for name in ("velocity", "acceleration", "jerk", "effort", "torque_rate"):
            if (getattr(self, name) <= 0.0).any():
                raise GuardError(f"GuardLimits.{name}: every joint needs a positive limit")
        if (self.lower >= self.upper).any() or (self.lag_s < 0.0).any():
            raise GuardError("GuardLimits: lower must be below upper and lag_s not negative")

    @property
    def command(self) -> Array:
        """[J] rad/s or N m, largest command."""
        return self.velocity if self.interface is CommandInterface.VELOCITY else self.effort

    @property
    def command_rate(self) -> Array:
        """[J] rad/s^2 or N m/s, fastest change of a command that is let out."""
        return self.acceleration if self.interface is CommandInterface.VELOCITY else self.torque_rate


def limits_of(arm: Arm) -> GuardLimits:
    """The limits in an arm description."""
    return GuardLimits(
        joint_names=arm.joint_names,
        lower=arm.lower,
        upper=arm.upper,
        velocity=arm.velocity,
        acceleration=arm.acceleration,
        jerk=arm.jerk,
        lag_s=arm.servo_lag_s,
        effort=arm.effort,
        torque_rate=arm.torque_rate,
        interface=arm.interface,
    )


@dataclass(frozen=True, slots=True)
class GuardConfig:
    """Times in s, angles in rad; every value finite and positive. Read-only while the guard runs."""

    tick_s: float = 0.005
    plan_period_s: float = 0.02
    state_period_s: float = 0.004
    command_delay_s: float = 0.008
    """Command sent until motion begins, plus measured until received: distance covered unseen."""
    plan_brake_periods: float = 2.5
    """By receive time; by the plan's own stamps one period more, as planning takes its time."""
    plan_latch_periods: float = 5.0
    fallback_limit: int = 2
    """More plans in a row that were not optimized than this hold."""
    state_hold_periods: float = 5.0
    state_latch_periods: float = 15.0
    future_s: float = 0.005
    """A stamp further ahead than this is refused: a future stamp would look fresh for ever."""
    start_early_s: float = 0.1
    start_late_s: float = 0.06
    """A plan must start within [received - start_late_s, received + start_early_s]."""
    fresh_plans: int = 10
    pose_tolerance: float = 0.05
    """Predicted against measured position of the first command."""
    excess_factor: float = 1.5
    """Knots beyond this many rated velocities reject the plan."""
    rejection_limit: int = 3
    rejection_window_s: float = 1.0
    position_margin: float = 0.02
    effort_rate: float = 40.0
    """1/s, at which torques close a speed error; with a loop delay of 15 ms it keeps 40 degrees of phase margin."""
    effort_speed_band: float = 0.08
    """Share of a speed limit that torques stay below: what braking is predicted to reach is off by up to that."""
    braking_reserve: float = 0.85
    """Part of acceleration and jerk that the stopping distance counts on; the rest absorbs noise."""
    hold_gain: float = 10.0
    """1/s."""
    hold_integral: float = 1.0
    """1/s, of the proportional part: what a load makes a servo without integral term give way is taken back."""
    hold_share: float = 0.5
    """Of the rated velocity, most that the hold commands."""
    capture_s: float = 0.1
    """An arm that still moves this long after its command is zero is caught where it is."""
    settle_s: float = 0.5
    """What it then gets to come to rest."""
    drift_distance: float = 0.2
    """From the pose held while armed or in a hold: further off, the hold does not hold."""
    standstill_speed: float = 0.05
    """rad/s, measured."""
    lost_speed: float = 0.5
    """rad/s; faster than this in a protective stop means standstill is lost."""
    lost_distance: float = 0.1
    """From the pose held."""
    hold_limit: int = 3
    hold_window_s: float = 10.0
    hold_recovery_s: float = 1.0
    clear_s: float = 0.5
    ramp_s: float = 0.5
    payload_scale: float = 0.5
    operators: tuple[str, ...] = ("operator",)
    """Who may arm, start, reset and declare a payload."""

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            if name != "operators" and not (np.isfinite(value) and value > 0):
                raise GuardError(f"GuardConfig.{name} = {value}: give a finite positive number")
        if self.tick_s > self.plan_period_s / 2.0 + 1e-12:
            raise GuardError(f"GuardConfig.tick_s = {self.tick_s}: at most half the plan period")
        if self.plan_latch_periods <= self.plan_brake_periods + 1.0:
            raise GuardError("GuardConfig.plan_latch_periods must exceed plan_brake_periods + 1")
        if self.state_latch_periods <= self.state_hold_periods:
            raise GuardError("GuardConfig.state_latch_periods must exceed state_hold_periods")
        if self.plan_latch_periods * self.plan_period_s > MAX_AGE_S:
            raise GuardError(f"GuardConfig.plan_latch_periods: more than {MAX_AGE_S} s; lower it")
        if self.state_latch_periods * self.state_period_s > MAX_AGE_S:
            raise GuardError(f"GuardConfig.state_latch_periods: more than {MAX_AGE_S} s; lower it")
        if max(self.braking_reserve, self.payload_scale, self.hold_share) > 1.0:
            raise GuardError("GuardConfig.braking_reserve, payload_scale and hold_share are parts of 1")
