"""An arm's URDF as Bullet needs it: the moving part alone, every inertia said, tool frame and payload as links.

Frames and axes are the URDF's. Inertias are those of ``Arm.bodies``, where the YAML has mended or filled the URDF's:
each moving link carries all that hangs on it, every other link has none. Joints off the chain (a gripper's) are fixed
at zero.

Bullet takes a URDF otherwise than ROS means it, silently; each step here answers one such difference (Bullet 3.2):

- a link without <inertial> gets 1 kg and 1 kg m^2: it gets zeros here;
- the inertial frame of a fixed base turns the gravity of the inverse dynamics with it: the base's inertia, which a
  fixed base never feels, is left out;
- <dynamics> damping and friction act in Bullet's own joint motors, beside ours: they are left out;
- an inertia that Bullet takes for no rigid body's is set to zero with a warning: ``BulletChain`` refuses it;
- the position read back of a link frame is rounded to single precision, that of a centre of mass is not: the tool
  frame is marked with a massless link.
"""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np

from mbrl_control.inertial import NOTHING, Inertial
from mbrl_control.robot import Arm
from mbrl_control.signals import Array

TOOL_MARK = "mbrl_tool_mark"
PAYLOAD = "mbrl_payload"
Payload = tuple[float, Array]
"""Mass in kg of a point, and its offset [3] m in the tool frame."""


def dynamics_urdf(urdf: Path, arm: Arm, mass_scale: Array, payload: Payload) -> str:
    """URDF text of the arm's dynamics, links times ``mass_scale`` [J]: no shapes, no limits, no joint dynamics."""
    root = subtree(ElementTree.parse(urdf).getroot(), arm.base_frame)
    bodies = dict(zip(arm.link_names[1:], zip(arm.bodies, mass_scale.tolist(), strict=True), strict=True))
    for link in root.findall("link"):
        for part in [*link.findall("visual"), *link.findall("collision")]:
            link.remove(part)
        body, scale = bodies.get(link.get("name", ""), (NOTHING, 1.0))
        set_inertial(link, Inertial(scale * body.mass, body.com, scale * body.inertia))
    for joint in root.findall("joint"):
        for dynamics in joint.findall("dynamics"):
            joint.remove(dynamics)
        # Without end stops: they are the simulator's, and Bullet would add its own.
        joint.set("type", "continuous" if joint.get("name") in arm.joint_names else "fixed")
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


def set_inertial(link: ElementTree.Element, body: Inertial) -> None:
    """In place of whatever the link says."""
    for said in link.findall("inertial"):
        link.remove(said)
    (xx, xy, xz), (_, yy, yz), (_, _, zz) = body.inertia.tolist()
    tensor = {"ixx": xx, "ixy": xy, "ixz": xz, "iyy": yy, "iyz": yz, "izz": zz}
    inertial = ElementTree.SubElement(link, "inertial")
    ElementTree.SubElement(inertial, "origin", xyz=row(body.com), rpy="0 0 0")
    ElementTree.SubElement(inertial, "mass", value=repr(float(body.mass)))
    ElementTree.SubElement(inertial, "inertia", {key: repr(value) for key, value in tensor.items()})


def _hang(root: ElementTree.Element, parent: str, name: str, mass: float, offset: Array) -> None:
    """A point mass fixed to a link."""
    link = ElementTree.SubElement(root, "link", name=name)
    set_inertial(link, Inertial(mass, NOTHING.com, NOTHING.inertia))
    joint = ElementTree.SubElement(root, "joint", name=f"{name}_joint", type="fixed")
    ElementTree.SubElement(joint, "origin", xyz=row(offset), rpy="0 0 0")
    ElementTree.SubElement(joint, "parent", link=parent)
    ElementTree.SubElement(joint, "child", link=name)


def row(values: Array) -> str:
    """Numbers as an attribute's text, every digit kept."""
    return " ".join(repr(float(value)) for value in values)
