"""Arm description: joint order, limits, work box, servo, noise and geometry of a serial arm of revolute joints.

The URDF gives the kinematics and the basic limits, the YAML beside it the rest. A limit that both name must agree.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mbrl_control.robot_file import ArmError, Inertial, UrdfFile, YamlFile
from mbrl_control.signals import Array, CommandInterface

__all__ = [
    "Arm",
    "ArmError",
    "Capsule",
    "EffortMode",
    "Inertial",
    "JointFrame",
    "SensorNoise",
    "load_arm",
]


@dataclass(frozen=True, slots=True)
class JointFrame:
    """Where a joint sits on the link before it: x_parent = rotation @ (R(axis, q) @ x_child) + translation."""

    origin_rotation: Array
    """[3, 3]"""
    origin_translation: Array
    """[3] m"""
    axis: Array
    """[3] unit vector in the joint's own frame."""


@dataclass(frozen=True, slots=True)
class Capsule:
    """A segment with a radius, fixed to a link. ``link_index`` 0 is the base, i the link moved by joint i-1."""

    link_index: int
    start: Array
    """[3] m, link frame."""
    end: Array
    """[3] m, link frame."""
    radius: float


@dataclass(frozen=True, slots=True)
class SensorNoise:
    """Standard deviations of white measurement noise, and the resolution of the reading."""

    position_std: float
    velocity_std: float
    effort_std: float
    position_quantum: float
    velocity_quantum: float


@dataclass(frozen=True, slots=True)
class EffortMode:
    """How the arm takes joint torques."""

    gravity_compensated: bool
    """The drives add the torque that carries the unloaded arm; a command is what comes on top."""
    hold_stiffness: Array
    """[J] N m/rad, of the guard's hold; stable with the delay of the arm."""
    hold_damping: Array
    """[J] N m s/rad."""


@dataclass(frozen=True, slots=True)
class Arm:
    """One serial arm. Arrays are [J] in the order of ``joint_names``; rad, s, N m."""

    name: str
    joint_names: tuple[str, ...]
    base_frame: str
    tool_frame: str
    lower: Array
    upper: Array
    velocity: Array
    acceleration: Array
    jerk: Array
    effort: Array
    torque_rate: Array
    home: Array
    box_lower: Array
    box_upper: Array
    servo_gain: Array
    """[J] N m s/rad."""
    servo_lag_s: Array
    friction_coulomb: Array
    friction_viscous: Array
    armature: Array
    noise: SensorNoise
    sensor_delay_s: float
    command_delay_s: float
    brake_factor: float
    """Holding torque of a clamped brake as a multiple of the gravity torque."""
    brake_floor: float
    """Least holding torque, as a share of the effort limit."""
    chain: tuple[JointFrame, ...]
    tool_rotation: Array
    """[3, 3] tool frame in the last link."""
    tool_translation: Array
    """[3] m"""
    capsules: tuple[Capsule, ...]
    bodies: tuple[Inertial, ...]
    """[J] moving links in their own frames, with everything that is fixed to them."""
    effort_mode: EffortMode | None
    """None: the description does not say how; the arm takes velocities only."""
    sha256: tuple[str, str]
    """Hex digests of the YAML and of the URDF."""
    interface: CommandInterface = CommandInterface.VELOCITY
    """How it is commanded here."""

    @property
    def joints(self) -> int:
        """J."""
        return len(self.joint_names)

    @property
    def command_limit(self) -> Array:
        """[J] rad/s or N m, largest command."""
        return self.velocity if self.interface is CommandInterface.VELOCITY else self.effort

    @property
    def model_name(self) -> str:
        """Folder of its models: a model of velocities is of no use for torques."""
        return self.name if self.interface is CommandInterface.VELOCITY else f"{self.name}_effort"


NAME = re.compile(r"[a-z0-9_]{1,64}")
_FRAMES = ("name", "base_frame", "tool_frame", "joints", "tool", "links", "home", "work_box", "capsules", "camera")
FIELDS = frozenset((*_FRAMES, "servo", "friction", "armature", "noise", "delays", "brake", "effort_mode"))
FIELDS |= {"randomization"}
"""Top level of an arm's YAML; a misspelt field would silently do nothing. The simulators read `randomization`."""
JOINT_FIELDS = frozenset(("name", "parent", "child", "xyz", "rpy", "axis", "lower", "upper", "velocity", "effort"))
JOINT_FIELDS |= {"acceleration", "jerk", "torque_rate"}
LONGEST_DELAY_S = 0.1


def load_arm(path: str | Path, interface: CommandInterface = CommandInterface.VELOCITY) -> Arm:
    """Read ``<arm>.yaml`` and the URDF of the same stem beside it, to be commanded through ``interface``.

    Raises:
        ArmError: a file is missing or unreadable; a field is missing, malformed or contradicts another one.
    """
    source = YamlFile(Path(path))
    urdf = UrdfFile(source.path.with_suffix(".urdf"))
    joints = source.rows("joints")
    names = tuple(str(source.field(joint, "name", f"joints[{index}]")) for index, joint in enumerate(joints))
    frames, tool, links = _chain(urdf, source.text("base_frame"), source.text("tool_frame"), names)
    limits = {key: source.joint_values(joints, key) for key in ("acceleration", "jerk", "torque_rate")}
    limits |= {key: _agreed_limit(source, joints, urdf, names, key) for key in ("lower", "upper", "velocity", "effort")}
    arm = Arm(
        name=source.text("name"),
        joint_names=names,
        base_frame=source.text("base_frame"),
        tool_frame=source.text("tool_frame"),
        **limits,
        home=source.vector("home", len(names)),
        box_lower=source.vector("work_box.lower", len(names)),
        box_upper=source.vector("work_box.upper", len(names)),
        servo_gain=source.vector("servo.gain", len(names)),
        servo_lag_s=source.vector("servo.lag_s", len(names)),
        friction_coulomb=source.vector("friction.coulomb", len(names)),
        friction_viscous=source.vector("friction.viscous", len(names)),
        armature=source.vector("armature", len(names)),
        noise=SensorNoise(**{key: source.number(f"noise.{key}") for key in SensorNoise.__dataclass_fields__}),
        sensor_delay_s=source.number("delays.sensor_s"),
        command_delay_s=source.number("delays.command_s"),
        brake_factor=source.number("brake.factor"),
        brake_floor=source.number("brake.floor"),
        chain=frames,
        tool_rotation=tool.origin_rotation,
        tool_translation=tool.origin_translation,
        capsules=_capsules(source, links),
        bodies=tuple(_body(urdf, link) for link, index in links.items() if index > 0),
        effort_mode=_effort_mode(source, len(names)),
        sha256=(source.sha256, urdf.sha256),
        interface=interface,
    )
    _check(arm, source)
    if interface is CommandInterface.EFFORT and arm.effort_mode is None:
        raise source.error("effort_mode", "missing", "add it (see panda.yaml), or command velocities")
    return arm


def _chain(
    urdf: UrdfFile, base: str, tool: str, names: tuple[str, ...]
) -> tuple[tuple[JointFrame, ...], JointFrame, dict[str, int]]:
    """Joint frames from base to tool with fixed joints folded in, the tool frame, and link name -> link index."""
    rotation, translation = np.eye(3), np.zeros(3)
    frames: list[JointFrame] = []
    moving: list[str] = []
    links = {base: 0}
    for joint in urdf.path_between(base, tool):
        translation = translation + rotation @ joint.translation
        rotation = rotation @ joint.rotation
        if joint.kind == "revolute":
            frames.append(JointFrame(rotation, translation, joint.axis))
            moving.append(joint.name)
            rotation, translation = np.eye(3), np.zeros(3)
            links[joint.child] = len(moving)
    if tuple(moving) != names:
        raise urdf.error("joint", f"revolute joints from {base} to {tool} are {moving}", f"YAML `joints` names {names}")
    return tuple(frames), JointFrame(rotation, translation, np.zeros(3)), links


def _body(urdf: UrdfFile, link: str) -> Inertial:
    """A link and all that hangs on it by fixed joints, as one rigid body in the frame of the link."""
    body = urdf.inertial(link)
    for joint in urdf.fixed_to(link):
        body = body.joined(_body(urdf, joint.child).moved(joint.rotation, joint.translation))
    return body


def _effort_mode(source: YamlFile, joints: int) -> EffortMode | None:
    if "effort_mode" not in source.tree:
        return None
    compensated = source.field(source.tree, "effort_mode.gravity_compensated")
    if not isinstance(compensated, bool):
        raise source.error("effort_mode.gravity_compensated", f"{compensated!r}", "write true or false")
    gains = [source.vector(f"effort_mode.{key}", joints) for key in ("hold_stiffness", "hold_damping")]
    if min(gain.min() for gain in gains) <= 0.0:
        raise source.error("effort_mode", "a hold gain is not positive", "give positive values")
    return EffortMode(compensated, *gains)


def _agreed_limit(source: YamlFile, joints: list[object], urdf: UrdfFile, names: tuple[str, ...], key: str) -> Array:
    """[J] a limit of the URDF; a value the YAML repeats must be the same."""
    values = np.array([urdf.limit(name, key) for name in names])
    for index, joint in enumerate(joints):
        if isinstance(joint, dict) and key in joint:
            repeated = source.finite(joint[key], f"joints[{index}].{key}", ())
            if repeated != values[index]:
                fault = f"{repeated}, but {urdf.path.name} says {values[index]}"
                raise source.error(f"joints[{index}].{key}", fault, "make both files agree")
    return values


def _capsules(source: YamlFile, links: dict[str, int]) -> tuple[Capsule, ...]:
    capsules = []
    for index, row in enumerate(source.rows("capsules")):
        place = f"capsules[{index}]"
        link = source.field(row, "link", place)
        if link not in links:
            raise source.error(f"{place}.link", f"{link!r} is no link of the chain", f"use one of {sorted(links)}")
        ends = [source.finite(source.field(row, key, place), f"{place}.{key}", (3,)) for key in ("from", "to")]
        radius = float(source.finite(source.field(row, "radius", place), f"{place}.radius", ()))
        if radius <= 0.0:
            raise source.error(f"{place}.radius", f"{radius} m", "give a positive radius")
        capsules.append(Capsule(links[link], ends[0], ends[1], radius))
    return tuple(capsules)


def _check(arm: Arm, source: YamlFile) -> None:
    """Contradictions between fields."""
    unknown = sorted(set(source.tree) - FIELDS)
    if unknown:
        raise source.error(unknown[0], "unknown field", f"remove or correct it; known: {', '.join(sorted(FIELDS))}")
    if not NAME.fullmatch(arm.name):
        raise source.error("name", f"{arm.name!r}", "use 1 to 64 of a-z, 0-9 and _: it names folders and topics")
    if not (arm.lower < arm.upper).all():
        raise source.error("joints[].lower", "not below `upper`", "swap or correct the limits")
    for index, row in enumerate(source.tree["joints"]):
        for key in sorted(set(row) - JOINT_FIELDS):
            raise source.error(f"joints[{index}].{key}", "unknown field", f"known: {', '.join(sorted(JOINT_FIELDS))}")
    for key in ("velocity", "acceleration", "jerk", "effort", "torque_rate", "servo_gain", "servo_lag_s"):
        wrong = [name for name, value in zip(arm.joint_names, getattr(arm, key), strict=True) if not value > 0.0]
        if wrong:
            raise source.error(
                key.replace("servo_", "servo."), f"not positive: {', '.join(wrong)}", "give positive values"
            )
    for key, delay in (("sensor_s", arm.sensor_delay_s), ("command_s", arm.command_delay_s)):
        if delay > LONGEST_DELAY_S:
            raise source.error(f"delays.{key}", f"{delay} s", f"more than {LONGEST_DELAY_S} s cannot be compensated")
    if not ((arm.lower <= arm.home) & (arm.home <= arm.upper)).all():
        raise source.error("home", "outside the joint limits", "move it inside `lower`..`upper`")
    if not (arm.box_lower < arm.box_upper).all():
        raise source.error("work_box.lower", "not below `work_box.upper`", "swap or correct the box")
    if not ((arm.lower <= arm.box_lower) & (arm.box_upper <= arm.upper)).all():
        raise source.error("work_box", "outside the joint limits", "shrink it to `lower`..`upper`")
    nonnegative = {f"noise.{key}": getattr(arm.noise, key) for key in SensorNoise.__dataclass_fields__}
    nonnegative |= {"delays.sensor_s": arm.sensor_delay_s, "delays.command_s": arm.command_delay_s}
    nonnegative |= {"friction.coulomb": arm.friction_coulomb.min(), "friction.viscous": arm.friction_viscous.min()}
    nonnegative |= {"armature": arm.armature.min()}
    nonnegative |= {"brake.factor": arm.brake_factor, "brake.floor": arm.brake_floor}
    for key, value in nonnegative.items():
        if value < 0.0:
            raise source.error(key, f"negative ({value})", "give zero or more")
