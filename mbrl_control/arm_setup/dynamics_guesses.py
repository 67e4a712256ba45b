"""What a URDF never says, or leaves out: limits, friction, servo, brakes, noise. Each value comes with its reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mbrl_control.arm_setup.rigid_body import gravity_torques, mass_matrices
from mbrl_control.robot import Arm, EffortMode
from mbrl_control.signals import Array
from mbrl_control.urdf_file import UrdfFile


@dataclass(frozen=True, slots=True)
class Value:
    """One value, where it comes from, and whether it must be confirmed before the real arm moves."""

    value: Any
    reason: str
    guess: bool = False


HOME = "the pose, of many drawn, from which the tool moves best in all directions, in front of the base and clear of it"
NO_CLEAR_POSE = "no pose clear of the arm itself and of the floor was found: the middle of the joint ranges"
BOX = "as wide as capsules and floor allow around home, at most 0.7 rad to each side; tasks and excitation stay inside"
CAPSULES = "the smallest round-ended cylinders around each link's meshes, one or two a link."
INERTIAS = (
    "the URDF gives none, or none that a rigid body can have: the convex hull at 1500 kg/m^3, or the URDF's tensor "
    "with the least added to its diagonal"
)
CAMERA = "from the front right, as far away as shows the box"
LIMITS = {
    "lower": Value(-3.1416, "the URDF gives no limit: half a turn each way", guess=True),
    "upper": Value(3.1416, "the URDF gives no limit: half a turn each way", guess=True),
    "velocity": Value(1.0, "the URDF gives none: slower than any arm of this kind", guess=True),
    "effort": Value(20.0, "the URDF gives none: a small arm's", guess=True),
}
FAST = 8.0
"""rad/s: no arm of a person's size is so fast; a URDF that says so has a placeholder."""
SLOWED = Value(2.0, "the URDF's is faster than any arm of this kind: a stricter one", guess=True)
FASTEST, RISE_S, JERK_RATIO = 20.0, 0.14, 500.0
TORQUE_RISE_S = 0.1
LAG_S = 0.03
NOISE = {
    "position_std": 5.0e-5,
    "velocity_std": 2.0e-3,
    "effort_std": 0.1,
    "position_quantum": 1.0e-5,
    "velocity_quantum": 1.0e-4,
}
DELAYS = {"sensor_s": 0.002, "command_s": 0.006}
BRAKE = {"factor": 2.0, "floor": 0.5}
COULOMB_SHARE, VISCOUS_SHARE, ROTOR_SHARE = 0.005, 0.01, 0.002
ARRAYS = (
    *("acceleration", "jerk", "torque_rate", "home", "box_lower", "box_upper", "servo_gain", "servo_lag_s"),
    *("friction_coulomb", "friction_viscous", "armature"),
)


def guess_dynamics(
    arm: Arm, urdf: UrdfFile, limits: Sequence[dict[str, Value]], poses: Array
) -> tuple[Arm, dict[str, Value]]:
    """The arm with everything filled, and the fields by their place. ``poses`` [N, J] are those of the work box."""
    arm = replace(arm, armature=_round(ROTOR_SHARE * arm.effort), servo_gain=arm.effort / (0.5 * arm.velocity))
    arm = replace(arm, servo_lag_s=np.full(arm.joints, LAG_S))
    coulomb, viscous = _friction(arm, urdf)
    arm = replace(arm, friction_coulomb=coulomb.value, friction_viscous=viscous.value)
    matrices = mass_matrices(arm, poses)
    largest = np.diagonal(matrices, axis1=1, axis2=2).max(axis=0)
    acceleration = np.minimum(np.minimum(0.5 * arm.effort / largest, arm.velocity / RISE_S), FASTEST)
    arm = replace(arm, acceleration=_round(acceleration))
    arm = replace(arm, jerk=_round(JERK_RATIO * arm.acceleration), torque_rate=_round(arm.effort / TORQUE_RISE_S))
    arm = replace(arm, effort_mode=EffortMode(gravity_compensated=True))
    return arm, _values(arm, limits, coulomb, viscous)


def gravity_share(arm: Arm, poses: Array) -> Array:
    """[J] largest gravity torque over the effort limit."""
    share: Array = np.abs(gravity_torques(arm, poses)).max(axis=0) / arm.effort
    return share


def _friction(arm: Arm, urdf: UrdfFile) -> tuple[Value, Value]:
    found = []
    shares = ("friction", COULOMB_SHARE * arm.effort), ("damping", VISCOUS_SHARE * arm.servo_gain)
    for key, fallback in shares:
        given = [urdf.dynamics(name, key) or None for name in arm.joint_names]
        values = np.array([_round(b) if a is None else a for a, b in zip(given, fallback, strict=True)])
        missing = [name for name, value in zip(arm.joint_names, given, strict=True) if value is None]
        share = "0.5 % of the effort limit" if key == "friction" else "1 % of the servo gain"
        reason = f"URDF <dynamics {key}>" + (f"; it says none for {', '.join(missing)}: {share}" if missing else "")
        found.append(Value(values, reason, guess=bool(missing)))
    return found[0], found[1]


def _values(arm: Arm, limits: Sequence[dict[str, Value]], coulomb: Value, viscous: Value) -> dict[str, Value]:
    mode = arm.effort_mode
    assert mode is not None, "guessed just now"
    return {
        "joints": _joints(arm, limits),
        "servo": Value(
            {"gain": arm.servo_gain.tolist(), "lag_s": arm.servo_lag_s.tolist()},
            "gain = effort limit / (0.5 x velocity limit), as the shipped arms; lag of a velocity servo on a fieldbus",
            guess=True,
        ),
        "friction": Value(
            {"coulomb": coulomb.value.tolist(), "viscous": viscous.value.tolist()},
            f"coulomb: {coulomb.reason}; viscous: {viscous.reason}",
            guess=coulomb.guess or viscous.guess,
        ),
        "armature": Value(
            arm.armature.tolist(),
            "reflected rotors, 0.002 s^2 times the effort limit: between a Panda's (0.0011) and a UR5e's (0.004)",
            guess=True,
        ),
        "effort_mode": Value(
            {"gravity_compensated": mode.gravity_compensated},
            "most drives with a torque interface add gravity themselves: ask the maker",
            guess=True,
        ),
        "noise": Value(NOISE, "orders of magnitude of a joint with a good encoder, as the shipped arms", guess=True),
        "delays": Value(DELAYS, "as the shipped arms; the delay is estimated from every log", guess=True),
        "brake": Value(
            BRAKE, "a clamped brake holds twice the gravity torque, half the effort limit at least", guess=True
        ),
    }


def _joints(arm: Arm, limits: Sequence[dict[str, Value]]) -> Value:
    """A row for each joint: what no URDF says, and the limits that this one does not."""
    rows = []
    for index, name in enumerate(arm.joint_names):
        row: dict[str, Any] = {"name": name} | {k: v.value for k, v in limits[index].items() if v.guess}
        for key in ("acceleration", "jerk", "torque_rate"):
            row[key] = float(getattr(arm, key)[index])
        rows.append(row)
    missing = sorted({f"{k} ({v.reason})" for row in limits for k, v in row.items() if v.guess})
    return Value(
        rows,
        "acceleration: half the effort limit on the largest inertia in the box, at most the rated speed in 0.14 s "
        "(as a Panda) and 20 rad/s^2; jerk: all of it within 2 ms; torque_rate: the effort limit in 0.1 s"
        + "".join(f"; {text}" for text in missing),
        guess=True,
    )


def _round(value: Array | float) -> Any:
    """Three significant digits: a guess needs no more."""
    return np.vectorize(lambda x: float(f"{x:.3g}"))(value)
