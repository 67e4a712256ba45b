"""Efforts of a log's beliefs where drivers measure none: not of this arm, not of one joint, or not in single messages.

`sensor_msgs/JointState` allows an empty effort, and joint_state_broadcaster publishes NaN for a joint without an effort
interface. Neither takes anything away from positions and velocities.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mbrl_control.replay.columns import Repair, Table
from mbrl_control.signals import Array

UNMEASURED = "is not measured: no row is made of it"


@dataclass(frozen=True, slots=True)
class MeasuredEffort:
    """Of the beliefs [B] of one log."""

    effort: Array
    """[B, J] N m, zero where none was measured."""
    absent: tuple[str, ...]
    """Joints whose effort no belief holds."""
    unmeasured_ns: NDArray[np.int64]
    """[U] stamps of the beliefs that lack the effort of another joint."""
    repairs: tuple[Repair, ...]
    """Of those."""


def measured_effort(beliefs: Table, joint_names: tuple[str, ...]) -> MeasuredEffort:
    """A joint without any effort has none to learn: zeros, as in an import. Single ones that are missing were something
    else than zero: told by their stamps, so that no row reads them.

    LogError where a belief has another number of efforts than joints.
    """
    effort = beliefs.entries("effort", len(joint_names))
    absent = np.asarray(np.isnan(effort).all(axis=0))
    known = np.isfinite(effort)
    lacking = np.asarray((~known & ~absent).any(axis=1))
    return MeasuredEffort(
        effort if known.all() else np.where(known, effort, 0.0),
        tuple(name for name, none in zip(joint_names, absent.tolist(), strict=True) if none),
        beliefs.stamp_ns[lacking],
        (beliefs.repaired("effort", UNMEASURED, lacking),) if lacking.any() else (),
    )
