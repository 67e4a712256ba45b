"""The delay from torque to motion is found while an arm moves: rigid body at 1 ms as plant, a step of it as model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mbrl_control.planning.command_history import CommandHistory
from mbrl_control.planning.latency import DelayObserver
from mbrl_control.planning.rollforward import TimeGrid
from mbrl_control.rigid_body import RigidBody
from mbrl_control.robot import Arm, load_arm
from mbrl_control.signals import Array, BeliefState, CommandInterface

MS = 1_000_000
T0 = 1_790_000_000_000 * MS
DT_MS, GUARD_MS, PAST = 20, 5, 1
GRID = TimeGrid(DT_MS * MS, 13 * MS, PAST, GUARD_MS * MS)
DAMPING_PER_S, STIFFNESS_PER_S2 = 4.0, 10.0
NOISE_RAD_S = 0.005


class ExactStep:
    """`StepModel`: the rigid body under the mean torque of the step."""

    def __init__(self, arm: Arm, step_ms: int) -> None:
        self._body, self._joints, self._step_ms = RigidBody(arm), arm.joints, step_ms

    def step(self, state: Array, action: Array) -> Array:
        position, velocity = state[: self._joints].copy(), state[self._joints : 2 * self._joints].copy()
        for _ in range(self._step_ms):
            velocity += 1e-3 * self._body.acceleration(position[None], velocity[None], action[None])[0]
            position += 1e-3 * velocity
        return np.concatenate([position, velocity, action])


class SwungByTorques:
    """An arm whose torques act late, steered about its home so that it keeps moving and stays near."""

    def __init__(self, arm: Arm, delay_ms: int, seed: int = 0) -> None:
        self._arm, self._delay_ms = arm, delay_ms
        self._body, self._plant, self._model = RigidBody(arm), ExactStep(arm, 1), ExactStep(arm, DT_MS)
        self._noise = np.random.default_rng(seed)
        self._rates, self._phases = self._noise.uniform(0.4, 1.5, (2, 3, arm.joints))
        self._velocity = np.zeros(arm.joints)
        self._position = arm.home.copy()
        self._commands: list[Array] = []
        self.history = CommandHistory(arm.joints)
        self.history.append(T0 - 500 * MS, np.zeros(arm.joints))

    def watch(self, observer: DelayObserver, seconds: float) -> None:
        for tick in range(round(seconds * 1e3)):
            if tick % GUARD_MS == 0:
                self._commands.append(self._wanted(tick * 1e-3))
                self.history.append(T0 + tick * MS, self._commands[-1])
            if tick % DT_MS == 0 and tick:
                grid = replace(GRID, delay_ns=observer.delay_ns)
                belief = self._belief(T0 + tick * MS)
                observer.observe(belief, self.history, grid, self._model, np.zeros(self._arm.joints))
            late = tick - self._delay_ms
            torque = self._commands[late // GUARD_MS] if late >= 0 else np.zeros(self._arm.joints)
            state = self._plant.step(np.concatenate([self._position, self._velocity]), torque)
            self._position, self._velocity, _ = np.split(state, 3)

    def _wanted(self, time_s: float) -> Array:
        swing = 8.0 * np.sin(2 * np.pi * self._rates * time_s + 6.0 * self._phases).sum(axis=0)
        steered = swing - DAMPING_PER_S * self._velocity - STIFFNESS_PER_S2 * (self._position - self._arm.home)
        mass, bias = self._body.terms(self._position[None], self._velocity[None])
        return np.asarray(mass[0] @ steered + bias[0])

    def _belief(self, stamp_ns: int) -> BeliefState:
        joints = self._arm.joints
        measured = self._velocity + NOISE_RAD_S * self._noise.standard_normal(joints)
        return BeliefState(stamp_ns, self._position, measured, np.zeros((joints, 2, 2)), np.zeros(joints))


@pytest.mark.parametrize(("name", "delay_ms"), [("planar", 0), ("planar", 13), ("planar", 40), ("panda", 25)])
def test_every_delay_is_found_to_a_millisecond(name: str, delay_ms: int) -> None:
    arm = load_arm(Path(__file__).parents[2] / f"sim/robots/{name}.yaml", CommandInterface.EFFORT)
    observer = DelayObserver(arm, GRID.dt_ns, GRID.delay_ns, 3.0)
    SwungByTorques(arm, delay_ms).watch(observer, 6.0)
    assert observer.delay_ns / MS == pytest.approx(delay_ms, abs=1.0)
