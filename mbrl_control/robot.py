"""Arm description: joint order, limits, work box, servo, noise and geometry of a serial arm of revolute joints.

The URDF gives kinematics, basic limits and inertias, the YAML beside it the rest, and what the URDF leaves out. A value
that both name must agree; a velocity or effort limit in the YAML may be stricter.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mbrl_control.command_interface import model_name
from mbrl_control.inertial import Inertial
from mbrl_control.robot_faults import contradictions
from mbrl_control.robot_fields import readers
from mbrl_control.robot_file import ArmError, YamlFile
from mbrl_control.robot_parts import Capsule, EffortMode, JointFrame, SensorNoise
from mbrl_control.signals import Array, CommandInterface
from mbrl_control.urdf_file import UrdfFile

__all__ = [
    "Arm",
    "ArmError",
    "Capsule",
    "EffortMode",
    "Inertial",
    "JointFrame",
    "SensorNoise",
    "load_arm",
    "read_arm",
]


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
    link_names: tuple[str, ...]
    """[J+1] base first."""
    bodies: tuple[Inertial, ...]
    """[J] moving links in their own frames, with everything that hangs on them and is not moved by the chain."""
    effort_mode: EffortMode | None
    """None: the description does not say how; the arm takes velocities only."""
    unconfirmed: tuple[str, ...]
    """Fields of the YAML that `robot new` guessed and nobody has confirmed."""
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
        """Folder of its models."""
        return model_name(self.name, self.interface)


_FRAMES = ("name", "base_frame", "tool_frame", "joints", "tool", "links", "home", "work_box", "capsules", "camera")
FIELDS = frozenset((*_FRAMES, "servo", "friction", "armature", "noise", "delays", "brake", "effort_mode"))
FIELDS |= {"unconfirmed", "randomization"}
"""Top level of an arm's YAML; a misspelt field would silently do nothing. The simulators read `randomization`."""


def load_arm(path: str | Path, interface: CommandInterface = CommandInterface.VELOCITY) -> Arm:
    """Read ``<arm>.yaml`` and the URDF of the same stem beside it, to be commanded through ``interface``.

    Raises:
        ArmError: a file is missing or unreadable; a field is missing, malformed or contradicts another one.
    """
    source = YamlFile(Path(path))
    return read_arm(source, UrdfFile(source.path.with_suffix(".urdf")), interface)


def read_arm(source: YamlFile, urdf: UrdfFile, interface: CommandInterface = CommandInterface.VELOCITY) -> Arm:
    """As :func:`load_arm`, from the parsed files."""
    for fault in urdf.structure():
        raise fault
    arm = Arm(**{field: read() for field, read in readers(source, urdf).items()}, interface=interface)
    for fault in contradictions(arm, source, FIELDS):
        raise fault
    if interface is CommandInterface.EFFORT and arm.effort_mode is None:
        raise source.error("effort_mode", "missing", "add it (see panda.yaml), or command velocities")
    return arm
