"""Strict access to the two files of an arm: every fault names file, field and remedy."""

from __future__ import annotations

import hashlib
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from mbrl_control.signals import Array


class ArmError(ValueError):
    """An arm description that cannot be used; names file, field and remedy."""


class YamlFile:
    """The parsed YAML with accessors that name file and field when something is wrong."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.is_file():
            raise ArmError(f"{path}: no such file; give the arm's YAML")
        content = path.read_bytes()
        self.sha256 = hashlib.sha256(content).hexdigest()
        try:
            self.tree = yaml.safe_load(content)
        except yaml.YAMLError as error:
            raise ArmError(f"{path}: not YAML ({error}); correct the syntax") from error
        if not isinstance(self.tree, dict):
            raise ArmError(f"{path}: not a mapping; write `name: ...` and the other fields at the top level")

    def error(self, field: str, fault: str, remedy: str) -> ArmError:
        """To be raised by the caller: one message naming file, field and remedy."""
        return ArmError(f"{self.path}: {field}: {fault}; {remedy}")

    def field(self, tree: Any, field: str, inside: str = "") -> Any:
        """The value at a dotted path."""
        place = f"{inside}.{field}" if inside else field
        for key in field.split("."):
            if not isinstance(tree, dict) or key not in tree:
                raise self.error(place, "missing", "add it")
            tree = tree[key]
        return tree

    def text(self, field: str) -> str:
        return str(self.field(self.tree, field))

    def number(self, field: str) -> float:
        return float(self.finite(self.field(self.tree, field), field, ()))

    def vector(self, field: str, length: int) -> Array:
        return self.finite(self.field(self.tree, field), field, (length,))

    def rows(self, field: str) -> list[Any]:
        value = self.field(self.tree, field)
        if not isinstance(value, list) or not value:
            raise self.error(field, "not a list with entries", "write one entry per line, `- {...}`")
        return value

    def joint_values(self, joints: list[Any], key: str) -> Array:
        """[J] of one key of every joint."""
        values = [self.field(joint, key, f"joints[{index}]") for index, joint in enumerate(joints)]
        return self.finite(values, f"joints[].{key}", (len(joints),))

    def finite(self, value: Any, field: str, shape: tuple[int, ...]) -> Array:
        try:
            array = np.asarray(value, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise self.error(field, f"not a number or list of numbers ({value!r})", "write numbers") from error
        if array.shape != shape:
            raise self.error(field, f"has shape {array.shape}", f"give shape {shape}")
        if not np.isfinite(array).all():
            raise self.error(field, "not finite", "write a finite number")
        return array


@dataclass(frozen=True, slots=True)
class UrdfJoint:
    """One joint of a URDF, its origin resolved."""

    name: str
    kind: str
    parent: str
    child: str
    rotation: Array
    """[3, 3]"""
    translation: Array
    """[3] m"""
    axis: Array
    """[3] unit vector."""


@dataclass(frozen=True, slots=True)
class Inertial:
    """Mass, centre of mass and inertia about it, in the axes of the link frame."""

    mass: float
    """kg"""
    com: Array
    """[3] m"""
    inertia: Array
    """[3, 3] kg m^2"""

    def moved(self, rotation: Array, translation: Array) -> Inertial:
        """The same body in a frame in which this one's has the given pose."""
        return Inertial(self.mass, rotation @ self.com + translation, rotation @ self.inertia @ rotation.T)

    def joined(self, other: Inertial) -> Inertial:
        """Both bodies as one rigid body (parallel axis theorem)."""
        mass = self.mass + other.mass
        if mass == 0.0:
            return self
        com = (self.mass * self.com + other.mass * other.com) / mass
        return Inertial(mass, com, self._about(com) + other._about(com))

    def _about(self, point: Array) -> Array:
        arm = self.com - point
        return self.inertia + self.mass * (arm @ arm * np.eye(3) - np.outer(arm, arm))


NOTHING = Inertial(0.0, np.zeros(3), np.zeros((3, 3)))


class UrdfFile:
    """The joints of a URDF by the link they move."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.is_file():
            raise ArmError(f"{path}: no such file; put the URDF beside the YAML, with the same stem")
        content = path.read_bytes()
        self.sha256 = hashlib.sha256(content).hexdigest()
        try:
            root = ElementTree.fromstring(content)
        except ElementTree.ParseError as error:
            raise ArmError(f"{path}: not XML ({error}); correct the syntax") from error
        self._elements = {
            joint.get("name", ""): joint for joint in root.iter("joint") if joint.find("child") is not None
        }
        self._links = {link.get("name", ""): link for link in root.iter("link")}
        joints = [self._joint(element) for element in self._elements.values()]
        self._by_child = {joint.child: joint for joint in joints}

    def error(self, field: str, fault: str, remedy: str) -> ArmError:
        """To be raised by the caller: one message naming file, field and remedy."""
        return ArmError(f"{self.path}: {field}: {fault}; {remedy}")

    def path_between(self, base: str, tip: str) -> list[UrdfJoint]:
        """Joints from link ``base`` to link ``tip``, base first."""
        joints: list[UrdfJoint] = []
        link = tip
        while link != base:
            if link not in self._by_child or len(joints) > len(self._by_child):
                raise self.error("joint", f"no chain from {base!r} to {tip!r}", "correct base_frame and tool_frame")
            joints.append(self._by_child[link])
            link = joints[-1].parent
        return joints[::-1]

    def limit(self, name: str, key: str) -> float:
        """One attribute of a joint's <limit>."""
        element = self._elements[name].find("limit")
        text = None if element is None else element.get(key)
        if text is None:
            raise self.error(f"joint {name}: limit {key}", "missing", "add it to <limit>")
        return float(self._numbers(text, f"joint {name}: limit {key}", 1)[0])

    def fixed_to(self, link: str) -> list[UrdfJoint]:
        """Fixed joints that hang a further link on ``link``."""
        return [joint for joint in self._by_child.values() if joint.parent == link and joint.kind == "fixed"]

    def inertial(self, link: str) -> Inertial:
        """Of one link; a link without <inertial> has no mass."""
        found = self._links[link].find("inertial") if link in self._links else None
        if found is None:
            return NOTHING
        place = f"link {link}: inertial"
        mass, tensor, origin = found.find("mass"), found.find("inertia"), found.find("origin")
        if mass is None or tensor is None:
            raise self.error(place, "<mass> or <inertia> missing", "add both")
        keys = ("ixx", "ixy", "ixz", "iyy", "iyz", "izz")
        xx, xy, xz, yy, yz, zz = (float(self._numbers(tensor.get(key, "0"), f"{place} {key}", 1)[0]) for key in keys)
        own = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
        kilograms = float(self._numbers(mass.get("value", ""), f"{place} mass", 1)[0])
        xyz, rpy = (
            self._numbers("0 0 0" if origin is None else origin.get(key, "0 0 0"), f"{place}: origin {key}", 3)
            for key in ("xyz", "rpy")
        )
        return Inertial(kilograms, np.zeros(3), own).moved(_rpy_rotation(rpy), xyz)

    def _joint(self, element: ElementTree.Element) -> UrdfJoint:
        name, kind = element.get("name", ""), element.get("type", "")
        place = f"joint {name}"
        if kind not in ("revolute", "fixed"):
            raise self.error(place, f"type {kind!r}", "only revolute and fixed joints are supported")
        origin, axis = element.find("origin"), element.find("axis")
        xyz = self._numbers("0 0 0" if origin is None else origin.get("xyz", "0 0 0"), f"{place}: origin xyz", 3)
        rpy = self._numbers("0 0 0" if origin is None else origin.get("rpy", "0 0 0"), f"{place}: origin rpy", 3)
        direction = self._numbers("1 0 0" if axis is None else axis.get("xyz", "1 0 0"), f"{place}: axis", 3)
        length = np.linalg.norm(direction)
        if length == 0.0:
            raise self.error(f"{place}: axis", "zero", "give a direction")
        links = [self._link(element, key, place) for key in ("parent", "child")]
        return UrdfJoint(name, kind, links[0], links[1], _rpy_rotation(rpy), xyz, direction / length)

    def _link(self, element: ElementTree.Element, key: str, place: str) -> str:
        found = element.find(key)
        link = None if found is None else found.get("link")
        if link is None:
            raise self.error(f"{place}: {key}", "missing", f'add <{key} link="..."/>')
        return link

    def _numbers(self, text: str, field: str, length: int) -> Array:
        try:
            values = np.array([float(word) for word in text.split()])
        except ValueError as error:
            raise self.error(field, f"not numbers ({text!r})", f"write {length} numbers") from error
        if values.shape != (length,) or not np.isfinite(values).all():
            raise self.error(field, f"{text!r}", f"write {length} finite numbers")
        return values


def _rpy_rotation(rpy: Array) -> Array:
    """[3, 3] of URDF roll, pitch, yaw: rotations about the fixed x, y, z axes, in this order."""
    (cr, cp, cy), (sr, sp, sy) = np.cos(rpy), np.sin(rpy)
    return np.array(
        [
            [cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr],
            [sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr],
            [-sp, cp * sr, cp * cr],
        ]
    )
