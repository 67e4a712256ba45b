"""Access to the URDF of an arm: tree, frames, limits, inertias. Every fault names file, field and remedy."""

from __future__ import annotations

import hashlib
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mbrl_control.inertial import Inertial, tensor
from mbrl_control.robot_file import ArmError
from mbrl_control.signals import Array

MOVING = ("revolute", "continuous", "prismatic")
KINDS = (*MOVING, "fixed", "floating", "planar")
TURN_RAD = 2.0 * np.pi + 0.01
"""Beyond a full turn (rounded) an angle of an origin is in degrees."""


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
    """[3] unit vector; without meaning where the joint is fixed."""


class UrdfFile:
    """Links and joints by name; numbers are read when they are asked for."""

    def __init__(self, path: Path, content: bytes | None = None) -> None:
        """``content``: what the file will hold, where it is not written yet."""
        self.path = path
        if content is None and not path.is_file():
            raise ArmError(f"{path}: no such file; put the URDF beside the YAML, with the same stem")
        self.content = path.read_bytes() if content is None else content
        self.sha256 = hashlib.sha256(self.content).hexdigest()
        try:
            self.root = ElementTree.fromstring(self.content)
        except ElementTree.ParseError as error:
            raise ArmError(f"{path}: not XML ({error}); correct the syntax") from error
        self._joints = _by_name(self.root.findall("joint"))
        self.links = _by_name(self.root.findall("link"))
        """Elements by name, in the file's order; of two with one name the first."""
        self._ends = {name: (_link(joint, "parent"), _link(joint, "child")) for name, joint in self._joints.items()}
        self._above = {child: name for name, (_, child) in reversed(self._ends.items())}

    def error(self, field: str, fault: str, remedy: str) -> ArmError:
        """To be raised by the caller: one message naming file, field and remedy."""
        return ArmError.at(self.path, field, fault, remedy)

    def structure(self) -> Iterator[ArmError]:
        """Everything that keeps the file from being one tree of links that stands still at its root."""
        if "}" in self.root.tag or self.root.tag != "robot":
            yield self.error("robot", f"the root element is <{self.root.tag}>", "give a URDF, <robot> at its root")
        elements = list(self.root.iter())
        if any("xacro" in str(e.tag) or any("${" in text for text in e.attrib.values()) for e in elements):
            yield self.error("xacro", "macros not expanded", f"write the URDF with: xacro {self.path.name} > arm.urdf")
        for what in ("link", "joint"):
            counts = Counter(element.get("name", "") for element in self.root.findall(what))
            for name, count in counts.items():
                if not name:
                    yield self.error(what, "without a name", "name it")
                elif count > 1:
                    yield self.error(f"{what} {name}", f"{count} of this name", "rename all but one")
        for name in self._ends:
            yield from self._joint_faults(name)
        yield from self._tree_faults()

    def roots(self) -> list[str]:
        """Links that no joint moves or holds."""
        return [link for link in self.links if link not in self._above]

    def tips(self) -> list[str]:
        """Links that carry no further one."""
        parents = {parent for parent, _ in self._ends.values()}
        return [link for link in self.links if link not in parents]

    def path_between(self, base: str, tip: str) -> list[UrdfJoint]:
        """Joints from link ``base`` to link ``tip``, base first."""
        return [self.joint(name) for name in self.names_between(base, tip)]

    def names_between(self, base: str, tip: str) -> list[str]:
        """Names of the joints from link ``base`` to link ``tip``, base first."""
        names: list[str] = []
        link = tip
        while link != base:
            if link not in self._above or len(names) > len(self._above):
                raise self.error("joint", f"no chain from {base!r} to {tip!r}", "correct base_frame and tool_frame")
            names.append(self._above[link])
            link = self._ends[names[-1]][0]
        return names[::-1]

    def children(self, link: str) -> list[UrdfJoint]:
        """Joints that hang a further link on ``link``."""
        return [self.joint(name) for name, (parent, _) in self._ends.items() if parent == link]

    def above(self, link: str) -> list[str]:
        """Names of the joints from the root to ``link``, next one first."""
        names: list[str] = []
        while link in self._above and len(names) < len(self._above):
            names.append(self._above[link])
            link = self._ends[names[-1]][0]
        return names

    def joint_names(self) -> list[str]:
        """As the file lists them."""
        return list(self._ends)

    def ends(self, name: str) -> tuple[str, str]:
        """Parent and child link of a joint."""
        return self._ends[name]

    def kind(self, name: str) -> str:
        """Type of a joint."""
        if name not in self._joints:
            raise self.error(f"joint {name}", "no such joint", f"use one of {', '.join(self._joints)}")
        return self._joints[name].get("type", "")

    def mimicked(self, name: str) -> str | None:
        """The joint that this one copies, if any."""
        found = self._joints[name].find("mimic")
        return None if found is None else found.get("joint", "")

    def limit(self, name: str, key: str) -> float | None:
        """One attribute of a joint's <limit>; None where the file does not say.

        A continuous joint has no position limits. Exporters write 0 for what they do not know: an effort or velocity
        of 0, or 0 for both position limits, says nothing.
        """
        if key in ("lower", "upper"):
            if self.kind(name) == "continuous":
                return None
            pair = {side: self._number(name, "limit", side) for side in ("lower", "upper")}
            return None if not any(pair.values()) else (pair[key] or 0.0)
        return self._number(name, "limit", key) or None

    def gap_of_limit(self, name: str, key: str) -> str:
        """Why :meth:`limit` is None, in words."""
        sides = ("lower", "upper")
        if key in sides and self.kind(name) == "continuous":
            return "missing: the joint is continuous"
        if key in sides and all(self._number(name, "limit", side) == 0.0 for side in sides):
            return "missing: lower and upper are both zero"
        return "missing" if self._number(name, "limit", key) is None else "missing: it is zero"

    def soft_limit(self, name: str, key: str) -> float | None:
        """rad: `lower` or `upper` of a joint's <safety_controller>, None where the file does not say."""
        return self._number(name, "safety_controller", f"soft_{key}_limit")

    def dynamics(self, name: str, key: str) -> float | None:
        """One attribute of a joint's <dynamics>; None where the file does not say."""
        return self._number(name, "dynamics", key)

    def inertial(self, link: str) -> Inertial | None:
        """Of one link; None where the file gives none, or no mass."""
        found = self.links[link].find("inertial") if link in self.links else None
        if found is None:
            return None
        place = f"link {link}: inertial"
        mass, moments = found.find("mass"), found.find("inertia")
        if mass is None or moments is None:
            raise self.error(place, "<mass> or <inertia> missing", "add both")
        keys = ("ixx", "iyy", "izz", "ixy", "ixz", "iyz")
        six = [float(self.numbers(moments.get(key, "0"), f"{place} {key}", 1)[0]) for key in keys]
        kilograms = float(self.numbers(mass.get("value", ""), f"{place} mass", 1)[0])
        if kilograms == 0.0:
            return None
        rotation, translation = self.origin(found, place)
        return Inertial(kilograms, np.zeros(3), tensor(*six)).moved(rotation, translation)

    def joint(self, name: str) -> UrdfJoint:
        """One joint with its numbers."""
        element, place = self._joints[name], f"joint {name}"
        # A fixed joint turns about nothing; exporters write a zero axis for it.
        axis = element.find("axis") if self.kind(name) in MOVING else None
        direction = self.numbers("1 0 0" if axis is None else axis.get("xyz", "1 0 0"), f"{place}: axis", 3)
        length = np.linalg.norm(direction)
        if length == 0.0:
            raise self.error(f"{place}: axis", "zero", "give a direction")
        parent, child = self._ends[name]
        rotation, translation = self.origin(element, place)
        return UrdfJoint(name, self.kind(name), parent, child, rotation, translation, direction / length)

    def origin(self, element: ElementTree.Element, place: str) -> tuple[Array, Array]:
        """Rotation [3, 3] and translation [3] m of an element's <origin>.

        Raises:
            ArmError: no numbers, or angles in degrees.
        """
        origin = element.find("origin")
        xyz, rpy = (
            self.numbers("0 0 0" if origin is None else origin.get(key, "0 0 0"), f"{place}: origin {key}", 3)
            for key in ("xyz", "rpy")
        )
        if np.abs(rpy).max() > TURN_RAD:
            radians = " ".join(f"{angle:.6g}" for angle in np.radians(rpy))
            remedy = f'a URDF is in rad: convert all of this file\'s angles, here to rpy="{radians}"'
            raise self.error(f"{place}: origin rpy", f"{np.abs(rpy).max():g} rad: degrees?", remedy)
        return _rpy_rotation(rpy), xyz

    def numbers(self, text: str, field: str, length: int) -> Array:
        """[length] finite numbers of an attribute."""
        try:
            values = np.array([float(word) for word in text.split()])
        except ValueError as error:
            raise self.error(field, f"not numbers ({text!r})", f"write {length} numbers") from error
        if values.shape != (length,) or not np.isfinite(values).all():
            raise self.error(field, f"{text!r}", f"write {length} finite numbers")
        return values

    def _number(self, name: str, tag: str, key: str) -> float | None:
        element = self._joints[name].find(tag)
        text = None if element is None else element.get(key)
        return None if text is None else float(self.numbers(text, f"joint {name}: {tag} {key}", 1)[0])

    def _joint_faults(self, name: str) -> Iterator[ArmError]:
        place, kind = f"joint {name}", self.kind(name)
        for key, link in zip(("parent", "child"), self._ends[name], strict=True):
            if not link:
                yield self.error(f"{place}: {key}", "missing", f'add <{key} link="..."/>')
            elif link not in self.links:
                yield self.error(
                    f"{place}: {key}", f"no link {link!r}", f'add <link name="{link}"/> or correct the name'
                )
        if kind not in KINDS:
            yield self.error(place, f"type {kind!r}", f"use one of {', '.join(KINDS)}")
        elif kind in ("floating", "planar"):
            remedy = "make it fixed: the arm's base must stand still"
            yield self.error(place, f"type {kind!r}: what hangs on it is held by nothing", remedy)

    def _tree_faults(self) -> Iterator[ArmError]:
        counts = Counter(child for _, child in self._ends.values() if child)
        for link, count in counts.items():
            if count > 1:
                above = [name for name, (_, child) in self._ends.items() if child == link]
                remedy = "a URDF is a tree: open the loop at one of them"
                yield self.error(f"link {link}", f"held by {count} joints ({', '.join(above)})", remedy)
        roots = self.roots()
        if len(roots) > 1:
            remedy = "join them with fixed joints, or remove what does not belong to the arm"
            yield self.error("robot", f"{len(roots)} roots: {', '.join(roots)}", remedy)
        if self.links and not roots:
            yield self.error("robot", "no root: the joints form a loop", "a URDF is a tree: open the loop")


def _by_name(elements: list[ElementTree.Element]) -> dict[str, ElementTree.Element]:
    named: dict[str, ElementTree.Element] = {}
    for element in elements:
        named.setdefault(element.get("name", ""), element)
    return named


def _link(joint: ElementTree.Element, key: str) -> str:
    found = joint.find(key)
    return "" if found is None else found.get("link", "")


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
