"""Sessions of `bench calibration`: one arm's excitation, in virtual time, of plants that differ in one thing each."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mbrl_control.learning.fit_ensemble import FitSettings
from mbrl_control.learning.learn import Learned, Parent, learn
from mbrl_control.planning.excitation import ExcitationConfig
from mbrl_control.replay.blocks import split_blocks, thin_to_model_step
from mbrl_control.replay.carried_weight import on_command_side
from mbrl_control.replay.streams import Streams
from mbrl_control.replay.transitions import Grid, history_of, select, transitions_from_streams
from mbrl_control.robot import Arm, load_arm
from mbrl_control.signals import Array, CommandInterface, Transitions
from sim.engines import Simulator
from sim.lockstep import Lockstep, excite
from sim.randomization import SimParameters

PAYLOAD_KG, FRICTION_FACTOR = 2.0, 2.0
OUTSIDE_RAD = (0.3, 0.6)
"""Of a state that counts as outside: as far beyond the excited range some joint is, and none is farther."""
_STOP_RAD = 0.05
"""Wide sessions stay so far from the position limits."""


@dataclass(frozen=True, slots=True)
class Plant:
    """What a session's arm is, beside the described one."""

    simulator: Simulator = Simulator.MUJOCO
    payload_kg: float = 0.0
    friction: float = 1.0
    wider_rad: float = 0.0
    """Of the box that the excitation works in; the arm is the same."""


@dataclass(frozen=True, slots=True)
class Bench:
    """The same for all sessions."""

    arm_path: Path
    interface: CommandInterface
    seconds: float

    @property
    def arm(self) -> Arm:
        return load_arm(self.arm_path, self.interface)

    def streams(self, plant: Plant, seed: int) -> Streams:
        """One session; ``seed`` of its motion and of its noise."""
        arm = self.arm
        described = SimParameters.nominal(arm)
        parameters = replace(
            described,
            friction_coulomb=described.friction_coulomb * plant.friction,
            friction_viscous=described.friction_viscous * plant.friction,
        )
        lockstep = Lockstep(self.arm_path, seed, plant.simulator, self.interface, parameters)
        if plant.payload_kg:
            lockstep.attach_payload(plant.payload_kg)
        lockstep.arm = replace(
            arm,
            box_lower=np.maximum(arm.box_lower - plant.wider_rad, arm.lower + _STOP_RAD),
            box_upper=np.minimum(arm.box_upper + plant.wider_rad, arm.upper - _STOP_RAD),
        )
        excite(lockstep, self.seconds, ExcitationConfig(), seed)
        return lockstep.streams()

    @property
    def settings(self) -> FitSettings:
        """Of a first retraining, which is never cut off here."""
        return replace(FitSettings.deployed(self.interface), max_seconds=math.inf)

    def learned(self, streams: Streams, seed: int) -> Learned:
        """As a first retraining does it."""
        return learn([streams], self.arm, seed, None, self.settings)

    def successor(self, parent: Learned, streams: list[Streams], seed: int) -> Learned:
        """As the next retraining does it: from its parent's weights, with the older sessions, newest last."""
        begun = Parent("parent", parent.fitted.ensemble, parent.delay_s)
        return learn(streams, self.arm, seed, begun, self.settings)

    def rows(self, streams: Streams, delay_s: float) -> Transitions:
        """All rows of a session, one model step apart."""
        grid = self._grid(delay_s)
        return thin_to_model_step(self._every(streams, grid), grid.stride_ns, grid.dt_ns)

    def trained_on(self, streams: Streams, delay_s: float) -> Transitions:
        """The rows of a session that `learned` fits to."""
        grid = self._grid(delay_s)
        rows = self._every(streams, grid)
        return select(rows, split_blocks(rows, grid.stride_ns).train)

    def _grid(self, delay_s: float) -> Grid:
        return Grid(delay_s, history=history_of(self.arm))

    def _every(self, streams: Streams, grid: Grid) -> Transitions:
        return on_command_side(transitions_from_streams([streams], grid), self.arm)


def outside(position: Array, excited: Array) -> Array:
    """[N] rad, how far the joint that is farthest out of the ``excited`` range lies beyond it; 0 inside."""
    beyond = np.maximum(excited.min(axis=0) - position, position - excited.max(axis=0))
    return np.maximum(beyond.max(axis=1), 0.0)
