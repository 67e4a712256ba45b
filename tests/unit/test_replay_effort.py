"""Logs of an arm that takes torques: its delay, and who carries the weight in the measured effort."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mbrl_control.replay.carried_weight import on_command_side
from mbrl_control.replay.effort_delay import estimate_effort_delay
from mbrl_control.replay.errors import TooLittleData
from mbrl_control.replay.streams import Streams
from mbrl_control.rigid_body import RigidBody
from mbrl_control.robot import load_arm
from mbrl_control.signals import CommandInterface, Transitions
from sim.generate import ROBOTS

MS, T0 = 1_000_000, 1_700_000_000_000_000_000
ARM = load_arm(ROBOTS / "planar.yaml", CommandInterface.EFFORT)
BODY = RigidBody(ARM)


def streams(delay_ms: int, seconds: float, generator: np.random.Generator) -> Streams:
    """Torques that carry the arm and shake it, held for 5 ms, acting ``delay_ms`` later on arm and friction; 1 ms."""
    steps = round(seconds * 1000)
    shake = np.repeat(generator.normal(size=(steps // 60 + 2, 2)), 60, axis=0)[:steps] * [15.0, 1.5]
    q, dq = ARM.home.copy(), np.zeros(2)
    commands, position, velocity = np.zeros((steps, 2)), np.zeros((steps, 2)), np.zeros((steps, 2))
    for k in range(steps):
        position[k], velocity[k] = q, dq
        pull = BODY.gravity(q) - [60.0, 4.0] * (q - ARM.home) - [8.0, 0.8] * dq
        commands[k] = pull + shake[k] if k % 5 == 0 else commands[k - 1]
        rubbing = ARM.friction_viscous * dq + ARM.friction_coulomb * np.tanh(dq / 0.02)
        acting = commands[max(k - delay_ms, 0)]
        dq = dq + 1e-3 * BODY.acceleration(q[None], dq[None], (acting - rubbing)[None])[0]
        q = q + 1e-3 * dq
    belief, command = np.arange(0, steps, 4), np.arange(0, steps, 5)
    relay = T0 - 1_000 * MS + np.arange(0, steps + 1000, 50) * MS
    return Streams(
        ARM.joint_names, T0 + belief * MS, position[belief],
        velocity[belief] + 0.001 * generator.normal(size=(len(belief), 2)), np.zeros((len(belief), 2)),
        T0 + command * MS, commands[command], np.ones(len(command), dtype=bool),
        relay, np.ones(len(relay), dtype=bool), np.empty(0, dtype=np.int64), 0.0, CommandInterface.EFFORT,
    )  # fmt: skip


@pytest.mark.parametrize("delay_ms", [0, 8, 19])
def test_a_known_delay_is_found_within_two_milliseconds(delay_ms: int) -> None:
    found = estimate_effort_delay([streams(delay_ms, 8.0, np.random.default_rng(delay_ms))], BODY)
    assert abs(found.delay_s * 1e3 - delay_ms) <= 2.0
    assert found.residual_ratio < 0.9


def test_a_short_log_and_one_without_drives_tell_no_delay() -> None:
    moving = streams(8, 3.0, np.random.default_rng(0))
    with pytest.raises(TooLittleData, match="log a motion"):
        estimate_effort_delay([replace(moving, drives_enabled=np.zeros_like(moving.drives_enabled))], BODY)
    with pytest.raises(TooLittleData, match="log a motion"):
        estimate_effort_delay([], BODY)


def test_what_the_drives_add_is_taken_off_the_measured_effort_and_nothing_else() -> None:
    pinocchio = pytest.importorskip("pinocchio")
    panda = load_arm(ROBOTS / "panda.yaml", CommandInterface.EFFORT)
    rigid = pinocchio.buildModelFromUrdf(str(ROBOTS / "panda.urdf"))
    q = np.random.default_rng(0).uniform(panda.box_lower, panda.box_upper, (4, 7))
    zeros, command = np.zeros((4, 7)), np.random.default_rng(1).normal(size=(4, 7))
    weight = np.array([pinocchio.computeGeneralizedGravity(rigid, rigid.createData(), row + 0.05) for row in q])
    count = np.zeros(4, dtype=np.int64)
    rows = Transitions(q, zeros, zeros[:, None], command, q + 0.1, zeros, command + weight, np.arange(4), count, count)
    np.testing.assert_allclose(on_command_side(rows, panda).next_effort, command, atol=1e-9)
    assert on_command_side(rows, replace(panda, interface=CommandInterface.VELOCITY)) is rows
    assert on_command_side(rows, ARM) is rows
