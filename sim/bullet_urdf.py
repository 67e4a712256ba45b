"""An arm's URDF as Bullet needs it: the moving part alone, every inertia said, tool frame and payload as links.

Bullet takes a URDF otherwise than ROS means it, silently; each step here answers one such difference (Bullet 3.2):

- a link without <inertial> gets 1 kg and 1 kg m^2: it gets zeros here;
- the inertial frame of a fixed base turns the gravity of the inverse dynamics with it: the base's inertia, which a
  fixed base never feels, is left out;
- <dynamics> damping and friction act in Bullet's own joint motors, beside ours: they are left out;
- an inertia that is no rigid body's is set to zero with a warning: ``BulletChain`` refuses it;
- the position read back of a link frame is rounded to single precision, that of a centre of mass is not: the tool
  frame is marked with a massless link.
"""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np

from mbrl_control.robot import Arm
from mbrl_control.signals import Array

TOOL_MARK = "mbrl_tool_mark"
PAYLOAD = "mbrl_payload"
Payload = tuple[float, Array]
"""Mass in kg of a point, and its offset [3] m in the tool frame."""


def dynamics_urdf(urdf: Path, arm: Arm, mass_scale: Array, payload: Payload) -> str:
    """URDF text of the arm's dynamics, links times ``mass_scale`` [J]: no shapes, no limits, no joint dynamics."""
    root = subtree(ElementTree.parse(urdf).getroot(), arm.base_frame)
    for link in root.findall("link"):
        for shape in [*link.findall("visual"), *link.findall("collision")]:
            link.remove(shape)
        set_inertial(link, fixed=link.get("name") == arm.base_frame)
    _scale(root, arm, mass_scale)
    for joint in root.findall("joint"):
        for dynamics in joint.findall("dynamics"):
            joint.remove(dynamics)
        if joint.get("type") != "fixed":
            joint.set("type", "continuous")  # end stops are the simulator's; Bullet would add its own
    _hang(root, arm.tool_frame, TOOL_MARK, 0.0, np.zeros(3))
    _hang(root, arm.tool_frame, PAYLOAD, payload[0], payload[1])
    return ElementTree.tostring(root, encoding="unicode")


def subtree(root: ElementTree.Element, base: str) -> ElementTree.Element:
    """A robot of ``base`` and all that hangs on it: a mount below the base frame turns nothing."""
    names, joints = {base}, [joint for joint in root.findall("joint") if joint.find("child") is not None]
    kept: list[ElementTree.Element] = []
    while grown := [joint for joint in joints if joint not in kept and end_of(joint, "parent") in names]:
        kept += grown
        names |= {end_of(joint, "child") for joint in grown}
    tree = ElementTree.Element("robot", name=root.get("name", base))
    tree.extend(root.findall("material"))
    tree.extend(link for link in root.findall("link") if link.get("name") in names)
    tree.extend(kept)
    return tree


def end_of(joint: ElementTree.Element, key: str) -> str:
    """Name of a joint's ``parent`` or ``child`` link."""
    found = joint.find(key)
    return "" if found is None else found.get("link", "")


def set_inertial(link: ElementTree.Element, fixed: bool) -> None:
    """Zeros where nothing is said, and for what does not move."""
    found = link.find("inertial")
    if found is not None and fixed:
        link.remove(found)
    if found is None or fixed:
        link.append(_point_inertial(0.0))


def _scale(root: ElementTree.Element, arm: Arm, mass_scale: Array) -> None:
    """Mass and inertia of each moving link, with everything fixed to it."""
    scale_of = {arm.base_frame: 1.0}
    factor = dict(zip(arm.joint_names, mass_scale.tolist(), strict=True))
    for joint in root.findall("joint"):  # parents come before their children
        parent = scale_of[end_of(joint, "parent")]
        scale_of[end_of(joint, "child")] = factor.get(joint.get("name", ""), parent)
    for link in root.findall("link"):
        for element in [*link.iterfind("inertial/mass"), *link.iterfind("inertial/inertia")]:
            for key, text in element.attrib.items():
                element.set(key, repr(float(text) * scale_of[link.get("name", "")]))


def _point_inertial(mass: float) -> ElementTree.Element:
    inertial = ElementTree.Element("inertial")
    ElementTree.SubElement(inertial, "mass", value=repr(float(mass)))
    ElementTree.SubElement(inertial, "inertia", dict.fromkeys(("ixx", "ixy", "ixz", "iyy", "iyz", "izz"), "0"))
    return inertial


def _hang(root: ElementTree.Element, parent: str, name: str, mass: float, offset: Array) -> None:
    """A point mass fixed to a link."""
    link = ElementTree.SubElement(root, "link", name=name)
    link.append(_point_inertial(mass))
    joint = ElementTree.SubElement(root, "joint", name=f"{name}_joint", type="fixed")
    ElementTree.SubElement(joint, "origin", xyz=row(offset), rpy="0 0 0")
    ElementTree.SubElement(joint, "parent", link=parent)
    ElementTree.SubElement(joint, "child", link=name)


def row(values: Array) -> str:
    """Numbers as an attribute's text, every digit kept."""
    return " ".join(repr(float(value)) for value in values)
