"""The committed robot files: generated, consistent, and fit for the tasks."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from mbrl_control.kinematics import forward_kinematics, link_poses
from mbrl_control.robot import Arm, load_arm
from sim.generate import ROBOTS, generated_files

SOURCES = sorted(ROBOTS.glob("*.yaml"))


@pytest.fixture(params=SOURCES, ids=lambda path: path.stem)
def source(request: pytest.FixtureRequest) -> Path:
    return request.param


def test_the_committed_files_are_what_the_generator_writes(source: Path) -> None:
    for path, text in generated_files(source).items():
        assert path.read_bytes() == text.encode(), f"{path.name} is stale: run `python -m sim.generate`"


def test_the_servo_gain_is_the_effort_limit_over_half_the_rated_speed(source: Path) -> None:
    arm = load_arm(source)
    np.testing.assert_allclose(arm.servo_gain, arm.effort / (0.5 * arm.velocity), rtol=1e-12)


def test_the_work_box_keeps_the_tool_above_the_floor_and_the_arm_away_from_itself(source: Path) -> None:
    arm = load_arm(source)
    generator = np.random.default_rng(0)
    corners = generator.integers(0, 2, (500, arm.joints)) * (arm.box_upper - arm.box_lower) + arm.box_lower
    poses = np.concatenate([corners, generator.uniform(arm.box_lower, arm.box_upper, (500, arm.joints))])
    assert forward_kinematics(arm, poses)[:, 2].min() > 0.1
    assert min(clearance(arm, q) for q in poses) > 0.0


def clearance(arm: Arm, q: np.ndarray) -> float:
    """Least distance between capsules at least two joints apart (neighbours overlap at their joint), by sampling."""
    rotation, translation = link_poses(arm, q)
    share = np.linspace(0.0, 1.0, 9)[:, None]
    points = [
        (1.0 - share) * (rotation[c.link_index] @ c.start + translation[c.link_index])
        + share * (rotation[c.link_index] @ c.end + translation[c.link_index])
        for c in arm.capsules
    ]
    gaps = [np.inf]
    for (a, first), (b, second) in combinations(enumerate(arm.capsules), 2):
        if abs(first.link_index - second.link_index) > 2:
            between = np.linalg.norm(points[a][:, None] - points[b][None], axis=-1).min()
            gaps.append(between - first.radius - second.radius)
    return min(gaps)
