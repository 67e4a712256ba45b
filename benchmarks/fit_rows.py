"""Rows of `bench fit`: a rigid-body sweep of a 7-joint arm under velocity commands, and the file that contestants read.

Every trajectory (500 steps of 20 ms) moves all joints by three sines each about a random point of the work box, as
velocity commands held over a step. A servo per joint with the description's gain makes torques of them; the arm of the
description (mass matrix, Coriolis, gravity that the drives carry) with friction moves by them, integrated in 1 ms.
Measured positions, speeds and efforts carry the description's noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from mbrl_control.dynamics.normalizer import FRICTION_SPEED
from mbrl_control.dynamics.prior import prior_of
from mbrl_control.learning.beginning import begin
from mbrl_control.learning.fit_rows import ScaledRows, holdout_rows, scaled_rows
from mbrl_control.learning.fit_settings import FitSettings
from mbrl_control.replay.transitions import history_of
from mbrl_control.rigid_body import RigidBody
from mbrl_control.robot import Arm
from mbrl_control.signals import Array, Transitions

DT_NS, STEPS, SUBSTEPS = 20_000_000, 500, 20
_PERIODS_S = (1.0, 8.0)


@dataclass(frozen=True, slots=True)
class Rows:
    """What every contestant trains on and is judged by, scaled alike."""

    train: ScaledRows
    held: ScaledRows

    def save(self, path: Path) -> None:
        """For processes that cannot import this."""
        parts = {"train": self.train, "held": self.held}
        np.savez(
            path,
            **{f"{name}_{kind}": getattr(part, kind).numpy() for name, part in parts.items() for kind in _KINDS},
        )

    @staticmethod
    def load(path: Path, share: float = 1.0) -> Rows:
        """What `save` wrote; the first ``share`` of the rows to train on."""
        with np.load(path) as arrays:
            count = round(share * len(arrays["train_weights"]))
            train = [torch.from_numpy(arrays[f"train_{kind}"][:count]) for kind in _KINDS]
            held = [torch.from_numpy(arrays[f"held_{kind}"]) for kind in _KINDS]
        return Rows(ScaledRows(*train), ScaledRows(*held))


_KINDS = ("features", "targets", "weights")


def rows_of(transitions: Transitions, arm: Arm, settings: FitSettings, seed: int) -> Rows:
    """Residuals over the arm's prior, as a fit sees them."""
    generator = torch.Generator().manual_seed(seed)
    beginning = begin(transitions, prior_of(arm, DT_NS * 1e-9), generator, settings, None)
    held = holdout_rows(transitions, settings, generator)
    return Rows(*scaled_rows(beginning.ensemble, beginning.rows, None, held))


def sweep(arm: Arm, rows: int, seed: int) -> Transitions:
    """``rows`` transitions, the first steps of a trajectory left out as its history."""
    generator, history = np.random.default_rng(seed), history_of(arm)
    kept = STEPS - history
    count = -(-rows // kept)
    start, commands = _commands(arm, count, generator)
    position, velocity, effort = _moved(arm, start, commands)
    seen_q = position + arm.noise.position_std * generator.normal(size=position.shape)
    seen_dq = velocity + arm.noise.velocity_std * generator.normal(size=velocity.shape)
    felt = effort + arm.noise.effort_std * generator.normal(size=effort.shape)
    now = slice(history, STEPS)
    past = np.stack([commands[:, k : STEPS - history + k] for k in range(history)], axis=2)
    index = np.arange(count * kept)[:rows]
    columns = (
        seen_q[:, now],
        seen_dq[:, now],
        past,
        commands[:, now],
        seen_q[:, history + 1 :],
        seen_dq[:, history + 1 :],
        felt[:, now],
    )
    flat = [column.reshape(count * kept, *column.shape[2:])[:rows] for column in columns]
    segment: NDArray[np.int64] = index // kept
    stamps = (index + segment * history) * DT_NS
    return Transitions(*flat, stamps, np.zeros_like(segment), segment)


def _commands(arm: Arm, count: int, generator: np.random.Generator) -> tuple[Array, Array]:
    """Positions [C, J] where trajectories begin, and velocity commands [C, STEPS, J]."""
    shape = (count, 1, arm.joints, 3)
    rate = 2.0 * np.pi / generator.uniform(*_PERIODS_S, shape)
    phase = generator.uniform(0.0, 2.0 * np.pi, shape)
    size = generator.uniform(0.02, 0.2, shape) * arm.velocity[:, None]
    time = np.arange(STEPS)[None, :, None, None] * DT_NS * 1e-9
    reach = np.minimum(size / rate, 0.15)  # rad, so that three sines stay near the point they move about
    commands = (reach * rate * np.cos(rate * time + phase)).sum(-1)
    middle = generator.uniform(arm.box_lower, arm.box_upper, (count, arm.joints))
    return middle + (reach * np.sin(phase))[:, 0].sum(-1), commands


def _moved(arm: Arm, position: Array, commands: Array) -> tuple[Array, Array, Array]:
    """-> positions and velocities [C, STEPS + 1, J], mean effort [C, STEPS, J]."""
    body, step_s = RigidBody(arm, gravity=False), DT_NS * 1e-9 / SUBSTEPS
    velocity = commands[:, 0].copy()
    positions, velocities, efforts = [position], [velocity], []
    damping = arm.servo_gain[:, None] * np.eye(arm.joints)
    for step in range(commands.shape[1]):
        mean = np.zeros_like(velocity)
        mass, bias = body.terms(position, velocity)
        for _ in range(SUBSTEPS):
            effort = np.clip(arm.servo_gain * (commands[:, step] - velocity), -arm.effort, arm.effort)
            rub = arm.friction_coulomb * np.tanh(velocity / FRICTION_SPEED) + arm.friction_viscous * velocity
            # The servo is implicit: it is stiffer than the step is short.
            force = effort - rub - bias
            velocity = velocity + step_s * np.linalg.solve(mass + step_s * damping, force[..., None])[..., 0]
            position = position + step_s * velocity
            mean += effort / SUBSTEPS
        positions.append(position)
        velocities.append(velocity)
        efforts.append(mean)
    return np.stack(positions, 1), np.stack(velocities, 1), np.stack(efforts, 1)
