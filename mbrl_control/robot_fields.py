"""How each field of an arm description is read from its two files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np

from mbrl_control.inertial import Inertial, tensor
from mbrl_control.robot_file import YamlFile
from mbrl_control.robot_parts import Capsule, EffortMode, JointFrame, SensorNoise
from mbrl_control.signals import Array
from mbrl_control.urdf_chain import body_of, chain_faults, moving_joints
from mbrl_control.urdf_file import UrdfFile


def readers(source: YamlFile, urdf: UrdfFile) -> dict[str, Callable[[], Any]]:
    """How each field of :class:`Arm` is read. Each raises ArmError on its own, so that all faults can be listed."""
    names = joint_names(source)
    count = len(names)

    @cache
    def chain() -> _Chain:
        return _chain(source, urdf, names)

    @cache
    def stated() -> dict[str, Inertial]:
        return stated_inertials(source)

    def bodies() -> tuple[Inertial, ...]:
        return tuple(_body(urdf, link, list(names), stated()) for link in chain().links[1:])

    read: dict[str, Callable[[], Any]] = {
        "chain": lambda: chain().frames,
        "tool_rotation": lambda: chain().tool.origin_rotation,
        "tool_translation": lambda: chain().tool.origin_translation,
        "link_names": lambda: chain().links,
        "bodies": bodies,
        "joint_names": lambda: names,
        "capsules": lambda: _capsules(source, chain().links),
        "effort_mode": lambda: _effort_mode(source, count),
        "noise": lambda: SensorNoise(**{key: source.number(f"noise.{key}") for key in NOISE}),
        "unconfirmed": lambda: _unconfirmed(source),
        "sha256": lambda: (source.sha256, urdf.sha256),
    }
    read |= {key: partial(source.text, key) for key in ("name", "base_frame", "tool_frame")}
    read |= {key: partial(source.joint_values, source.rows("joints"), key) for key in JOINT_VALUES}
    read |= {key: partial(_limit, source, urdf, names, key) for key in ("lower", "upper", "velocity", "effort")}
    read |= {key: partial(source.vector, place, count) for key, place in VECTORS.items()}
    read |= {key: partial(source.number, place) for key, place in NUMBERS.items()}
    return read


JOINT_VALUES = ("acceleration", "jerk", "torque_rate")
"""Of each row of the YAML's `joints`."""
VECTORS = {
    "home": "home",
    "box_lower": "work_box.lower",
    "box_upper": "work_box.upper",
    "servo_gain": "servo.gain",
    "servo_lag_s": "servo.lag_s",
    "friction_coulomb": "friction.coulomb",
    "friction_viscous": "friction.viscous",
    "armature": "armature",
}
"""Field of :class:`Arm` -> place in the YAML, [J]."""
NUMBERS = {
    "sensor_delay_s": "delays.sensor_s",
    "command_delay_s": "delays.command_s",
    "brake_factor": "brake.factor",
    "brake_floor": "brake.floor",
}
NOISE = tuple(SensorNoise.__dataclass_fields__)


MAY_BE_STRICTER = ("velocity", "effort")
"""Limits that the YAML may set below the URDF's."""


def joint_names(source: YamlFile) -> tuple[str, ...]:
    """In the order of the YAML."""
    rows = source.rows("joints")
    return tuple(str(source.field(row, "name", f"joints[{index}]")) for index, row in enumerate(rows))


def stated_inertials(source: YamlFile) -> dict[str, Inertial]:
    """Inertias in the YAML's `links`, for links of which the URDF gives none or an impossible one."""
    stated = {}
    for index, row in enumerate(source.rows("links") if "links" in source.tree else []):
        place = f"links[{index}]"
        mass = float(source.finite(source.field(row, "mass", place), f"{place}.mass", ()))
        com = source.finite(source.field(row, "com", place), f"{place}.com", (3,))
        six = source.finite(source.field(row, "inertia", place), f"{place}.inertia", (6,))
        inertial = Inertial(mass, com, tensor(*six))
        fault = inertial.fault()
        if fault is not None:
            raise source.error(f"{place}.inertia", fault, "give mass, com and [xx, yy, zz, xy, xz, yz] of a rigid body")
        stated[str(source.field(row, "name", place))] = inertial
    return stated


@dataclass(frozen=True, slots=True)
class _Chain:
    frames: tuple[JointFrame, ...]
    tool: JointFrame
    links: tuple[str, ...]
    """[J+1] base first."""


def _chain(source: YamlFile, urdf: UrdfFile, names: tuple[str, ...]) -> _Chain:
    """Joint frames from base to tool with fixed joints folded in, the tool frame, and the links."""
    base, tool = source.text("base_frame"), source.text("tool_frame")
    for fault in chain_faults(urdf, base, tool):
        raise fault
    moving = moving_joints(urdf, base, tool)
    _refuse_strangers(source, names, moving)
    if tuple(moving) != names:
        raise urdf.error("joint", f"revolute joints from {base} to {tool} are {moving}", f"YAML `joints` names {names}")
    rotation, translation = np.eye(3), np.zeros(3)
    frames: list[JointFrame] = []
    links = [base]
    for joint in urdf.path_between(base, tool):
        translation = translation + rotation @ joint.translation
        rotation = rotation @ joint.rotation
        if joint.name in moving:
            frames.append(JointFrame(rotation, translation, joint.axis))
            rotation, translation = np.eye(3), np.zeros(3)
            links.append(joint.child)
    return _Chain(tuple(frames), JointFrame(rotation, translation, np.zeros(3)), tuple(links))


def _refuse_strangers(source: YamlFile, names: tuple[str, ...], known: Sequence[str]) -> None:
    """A name in `joints` that is none of ``known`` is a slip of the YAML, not a fault of the URDF."""
    for index, name in enumerate(names):
        if name not in known:
            fault = f"{name!r} is no joint of the chain"
            raise source.error(f"joints[{index}].name", fault, f"use one of {', '.join(known)}")


def _body(urdf: UrdfFile, link: str, chain: list[str], stated: dict[str, Inertial]) -> Inertial:
    body = body_of(urdf, link, chain, stated)
    if not body.mass > 0.0:
        remedy = "add <inertial>, or the link to `links` of the YAML"
        raise urdf.error(f"link {link}: inertial", "missing: a moving link without mass", remedy)
    return body


def _effort_mode(source: YamlFile, joints: int) -> EffortMode | None:
    if "effort_mode" not in source.tree:
        return None
    compensated = source.field(source.tree, "effort_mode.gravity_compensated")
    if not isinstance(compensated, bool):
        raise source.error("effort_mode.gravity_compensated", f"{compensated!r}", "write true or false")
    return EffortMode(compensated)


def _unconfirmed(source: YamlFile) -> tuple[str, ...]:
    fields = source.tree.get("unconfirmed") or []
    if not isinstance(fields, list):
        raise source.error("unconfirmed", f"{fields!r}", "list the fields that are guesses")
    return tuple(str(field) for field in fields)


def _limit(source: YamlFile, urdf: UrdfFile, names: tuple[str, ...], key: str) -> Array:
    """[J] a limit of the URDF, or of the YAML where the URDF gives none.

    Where both give one, a velocity or effort in the YAML may be stricter; a position limit must be the same.
    """
    _refuse_strangers(source, names, urdf.joint_names())
    values = np.empty(len(names))
    for index, (name, row) in enumerate(zip(names, source.rows("joints"), strict=True)):
        given, place = urdf.limit(name, key), f"joints[{index}].{key}"
        stated = float(source.finite(row[key], place, ())) if isinstance(row, dict) and key in row else None
        if given is None and stated is None:
            remedy = f"add it to <limit>, or `{key}` to joints[{index}] of the YAML"
            raise urdf.error(f"joint {name}: limit {key}", urdf.gap_of_limit(name, key), remedy)
        stricter = key in MAY_BE_STRICTER and stated is not None and given is not None and stated <= given
        if given is not None and stated is not None and given != stated and not stricter:
            raise source.error(place, f"{stated}, but {urdf.path.name} says {given}", "make both files agree")
        values[index] = given if stated is None else stated
    return values


def _capsules(source: YamlFile, links: tuple[str, ...]) -> tuple[Capsule, ...]:
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
        capsules.append(Capsule(links.index(link), ends[0], ends[1], radius))
    return tuple(capsules)
