"""What looks wrong in a whole arm description that loads: numbers that do not fit each other, guesses."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mbrl_control.arm_setup.clearance import floor_clearance, self_clearance
from mbrl_control.arm_setup.dynamics_guesses import gravity_share
from mbrl_control.arm_setup.findings import Finding, Severity, stop, warn
from mbrl_control.arm_setup.pose_search import box_poses
from mbrl_control.kinematics import forward_kinematics, sample_targets
from mbrl_control.robot import Arm, ArmError
from mbrl_control.robot_file import YamlFile

SEED = 0
PHYSICS_STEP_S = 0.002
"""Of both simulators, which a test compares: delays are whole steps."""
TARGET_M = 0.25
"""Between consecutive targets of the demo, of an arm with more than two joints."""
GAIN_RANGE = (0.5, 2.0)


def arm_findings(arm: Arm, source: YamlFile) -> Iterator[Finding]:
    """One after the other; every arm that loads can be asked."""
    poses = box_poses(arm.box_lower, arm.box_upper, np.random.default_rng(SEED))
    yield from _work_place(arm, source, poses)
    yield from _drives(arm, source, poses)
    yield from _delays(arm, source)
    yield from _camera(source)
    for field in arm.unconfirmed:
        remedy = "compare it with data sheet, maker or measurement, then take it off `unconfirmed`"
        yield Finding(Severity.GUESS, str(source.path), field, "proposed by `robot new`, not confirmed", remedy)


def _work_place(arm: Arm, source: YamlFile, poses: np.ndarray) -> Iterator[Finding]:
    if not ((arm.box_lower <= arm.home) & (arm.home <= arm.box_upper)).all():
        yield warn(source.path, "home", "outside the work box", "move it inside: tasks start and end there")
    gap, floor = float(self_clearance(arm, poses).min()), float(floor_clearance(arm, poses).min())
    if gap <= 0.0:
        fault = f"capsules of the arm overlap by {-gap:.3f} m somewhere in it"
        yield warn(source.path, "work_box", fault, "shrink it, or make the capsules fit the links closer")
    if floor <= 0.0:
        fault = f"a capsule reaches {-floor:.3f} m below the base frame's plane"
        yield warn(source.path, "work_box", fault, "shrink it, unless the arm stands on a pedestal")
    elif (height := float(forward_kinematics(arm, poses)[:, 2].min())) < 0.0:
        fault = f"the tool reaches {-height:.3f} m below the base frame's plane"
        yield warn(source.path, "work_box", fault, "shrink it, unless the arm stands on a pedestal")
    if arm.joints > 2:
        try:
            sample_targets(arm, 5, TARGET_M, np.random.default_rng(SEED))
        except ArmError:
            fault = f"no targets {TARGET_M} m apart in it"
            yield warn(source.path, "work_box", fault, "enlarge it, if the demo is to run with this arm")


def _drives(arm: Arm, source: YamlFile, poses: np.ndarray) -> Iterator[Finding]:
    share = gravity_share(arm, poses)
    weak = [f"{name} {part:.1f} x" for name, part in zip(arm.joint_names, share, strict=True) if part > 1.0]
    if weak:
        fault = f"gravity asks for more than the effort limit: {', '.join(weak)}"
        yield warn(source.path.with_suffix(".urdf"), "limit effort", fault, "correct efforts or masses")
    ratio = arm.servo_gain / (arm.effort / (0.5 * arm.velocity))
    if not ((GAIN_RANGE[0] <= ratio) & (ratio <= GAIN_RANGE[1])).all():
        finding = warn(
            source.path,
            "servo.gain",
            f"{ratio.min():.2g} to {ratio.max():.2g} times the usual",
            "check the unit, N m s/rad",
        )
        usual = (arm.effort / (0.5 * arm.velocity)).tolist()
        yield finding.with_proposal(usual, "effort limit / (0.5 x velocity limit)")
    if arm.effort_mode is None:
        remedy = "add it, if the arm takes torques"
        yield warn(source.path, "effort_mode", "missing: the arm takes velocities only", remedy)


def _delays(arm: Arm, source: YamlFile) -> Iterator[Finding]:
    for key, delay in (("sensor_s", arm.sensor_delay_s), ("command_s", arm.command_delay_s)):
        steps = round(delay / PHYSICS_STEP_S)
        if abs(steps * PHYSICS_STEP_S - delay) > 1e-9:
            finding = stop(source.error(f"delays.{key}", f"{delay} s", "the simulators need whole steps of 2 ms"))
            yield finding.with_proposal(round(steps * PHYSICS_STEP_S, 3), "the nearest whole step")


def _camera(source: YamlFile) -> Iterator[Finding]:
    for key, shape in (("position", (3,)), ("target", (3,)), ("fovy_deg", ())):
        try:
            source.finite(source.field(source.tree, f"camera.{key}"), f"camera.{key}", shape)
        except ArmError as error:
            yield stop(error)
