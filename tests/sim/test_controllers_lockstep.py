"""Reaching targets through each command interface, in virtual time: planner, relay's setpoints, drive, MuJoCo arm."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mbrl_control.cli.locations import arm_file
from mbrl_control.kinematics import sample_targets
from mbrl_control.planning.config import PlannerConfig
from mbrl_control.planning.planner import Planner
from mbrl_control.safety.config import limits_of
from mbrl_control.safety.setpoints import AHEAD_S, Measured, Setpoint, advance, point_ahead
from mbrl_control.signals import Array
from sim.arm_sim import ArmSim
from sim.controllers import PositionLoop, TrajectoryFollower
from sim.lockstep import MS, START_NS, Lockstep, reach
from sim.lockstep_model import nominal_model

DRIVER_MS = 4


class ThroughController:
    """In the simulated arm's place: takes safe velocities, and has the relay's setpoints and the drive inside."""

    def __init__(self, sim: ArmSim, drive: PositionLoop | TrajectoryFollower) -> None:
        self._sim, self._drive, self._limits = sim, drive, limits_of(sim.arm)
        self._setpoint, self._measured = Setpoint(), Measured()

    def __getattr__(self, name: str) -> object:
        return getattr(self._sim, name)

    def command(self, velocity: Array) -> None:
        sim, now = self._sim, self._sim.time_ns
        sample = sim.sensor()
        if sample is not None:
            self._measured = Measured(sample.position, now)
        self._setpoint, position = advance(self._setpoint, velocity, self._measured, self._limits, now)
        if position is None:
            return
        if isinstance(self._drive, PositionLoop):
            self._drive.take(position, now * 1e-9)
        else:
            point = point_ahead(position, velocity, self._measured, self._limits)
            self._drive.take(point, AHEAD_S, sim.truth().position, now * 1e-9)

    def step(self) -> None:
        if (self._sim.time_ns - START_NS) % (DRIVER_MS * MS) == 0:
            self._sim.command(self._drive.velocity(self._sim.truth().position, self._sim.time_ns * 1e-9))
        self._sim.step()


def errors_mm(path: Path, kind: str) -> Array:
    """At three targets, with the prior of the velocity servo: nothing has been learned."""
    lockstep = Lockstep(path, 1)
    arm = lockstep.arm
    if kind != "velocity":
        drive = PositionLoop(arm) if kind == "position" else TrajectoryFollower(arm)
        lockstep.sim = ThroughController(lockstep.sim, drive)  # type: ignore[assignment]
    planner = Planner(arm, PlannerConfig(speed_scale=0.5), lockstep.clock, np.random.default_rng(0))
    planner.use(nominal_model(arm, arm.command_delay_s))
    _, targets = sample_targets(arm, 3, 0.3, np.random.default_rng(0))
    return reach(lockstep, planner, targets, 2.0)


@pytest.mark.parametrize("kind", ["velocity", "position", "joint_trajectory"])
@pytest.mark.parametrize("robot", ["planar", "panda"])
def test_targets_are_reached_to_a_few_millimetres(robot: str, kind: str) -> None:
    assert errors_mm(arm_file(robot), kind).max() < 5.0
