"""Parts of an arm description."""

from __future__ import annotations

from dataclasses import dataclass

from mbrl_control.signals import Array


@dataclass(frozen=True, slots=True)
class JointFrame:
    """Where a joint sits on the link before it: x_parent = rotation @ (R(axis, q) @ x_child) + translation."""

    origin_rotation: Array
    """[3, 3]"""
    origin_translation: Array
    """[3] m"""
    axis: Array
    """[3] unit vector in the joint's own frame."""


@dataclass(frozen=True, slots=True)
class Capsule:
    """A segment with a radius, fixed to a link. ``link_index`` 0 is the base, i the link moved by joint i-1."""

    link_index: int
    start: Array
    """[3] m, link frame."""
    end: Array
    """[3] m, link frame."""
    radius: float


@dataclass(frozen=True, slots=True)
class SensorNoise:
    """Standard deviations of white measurement noise, and the resolution of the reading."""

    position_std: float
    velocity_std: float
    effort_std: float
    position_quantum: float
    velocity_quantum: float


@dataclass(frozen=True, slots=True)
class EffortMode:
    """How the arm takes joint torques."""

    gravity_compensated: bool
    """The drives add the torque that carries the unloaded arm; a command is what comes on top."""
