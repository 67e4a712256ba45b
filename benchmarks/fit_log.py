"""The log that `bench fit` retrains from: a seven-joint arm under velocity commands, at the rates of the real graph.

Commands are three sines a joint, held from tick to tick (200 Hz); each joint follows with a first-order lag half again
as long as described, after the described delay, so that there is something to learn. States at 250 Hz with the
description's noise.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.signal import lfilter

from benchmarks.log_messages import Store
from mbrl_control.episode_log.schema import BELIEF, RELAY_STATUS, SAFE_COMMAND, SAFETY_STATUS, Topic
from mbrl_control.episode_log.writer import LogWriter
from mbrl_control.robot import Arm
from mbrl_control.signals import Array

PERIODS_MS: dict[Topic, int] = {BELIEF: 4, SAFE_COMMAND: 5, RELAY_STATUS: 50, SAFETY_STATUS: 50}
START_NS = 1_700_000_000_000_000_000
_MS = 1_000_000
_SLOWER = 1.5
_PERIODS_S = (1.0, 8.0)
_REACH_RAD = 0.1


def write_log(path: Path, arm: Arm, minutes: float, seed: int) -> None:
    """One file, message by message."""
    generator = np.random.default_rng(seed)
    position, velocity, command = _motion(arm, round(60_000 * minutes), generator)
    store, names = Store(), list(arm.joint_names)
    with LogWriter(path) as writer:
        for topic in PERIODS_MS:
            writer.add_topic(topic.name, topic.type)
        for ms in range(len(position)):
            stamp_ns = START_NS + ms * _MS
            for topic in (topic for topic, period in PERIODS_MS.items() if ms % period == 0):
                values = {
                    "joint_names": names, "position": position[ms], "velocity": velocity[ms],
                    "effort": 3.0 * velocity[ms], "covariance": np.zeros(3 * arm.joints), "requested": command[ms],
                    "applied": command[ms], "last_sent": command[ms], "sequence": ms // PERIODS_MS[topic],
                    "drives_enabled": True, "publishing": True,
                }  # fmt: skip
                writer.write(topic.name, store.cdr(topic, stamp_ns, values), stamp_ns)


def _motion(arm: Arm, steps: int, generator: np.random.Generator) -> tuple[Array, Array, Array]:
    """Measured positions and velocities, commands [steps, J], a millisecond apart."""
    shape = (1, arm.joints, 3)
    rate = 2.0 * np.pi / generator.uniform(*_PERIODS_S, shape)
    phase = generator.uniform(0.0, 2.0 * np.pi, shape)
    time = np.arange(steps)[::5, None, None] * 1e-3
    command = np.repeat((_REACH_RAD * rate * np.cos(rate * time + phase)).sum(-1), 5, axis=0)[:steps]
    delayed = np.roll(command, round(1e3 * arm.command_delay_s), axis=0)
    delayed[: round(1e3 * arm.command_delay_s)] = 0.0
    velocity = np.empty_like(command)
    for joint, lag_s in enumerate(arm.servo_lag_s):
        decay = np.exp(-1e-3 / (_SLOWER * max(float(lag_s), 0.02)))
        velocity[:, joint] = lfilter([0.0, 1.0 - decay], [1.0, -decay], delayed[:, joint])
    middle = 0.5 * (arm.box_lower + arm.box_upper)
    begin = middle + (_REACH_RAD * np.sin(phase))[0].sum(-1)
    position = begin + np.cumsum(velocity, axis=0) * 1e-3
    position += arm.noise.position_std * generator.normal(size=position.shape)
    velocity += arm.noise.velocity_std * generator.normal(size=velocity.shape)
    return position, velocity, command
