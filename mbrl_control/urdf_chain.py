"""The chain of moving joints in a URDF and the bodies it moves. Joints off the chain stand still at zero."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from mbrl_control.inertial import NOTHING, Inertial
from mbrl_control.robot_file import ArmError
from mbrl_control.urdf_file import MOVING, UrdfFile

ROTARY = ("revolute", "continuous")
UPRIGHT_RAD = np.radians(1.0)
"""Tilt of the base frame against the root of the URDF that counts as standing upright."""
AGREEMENT = 1e-9
"""Relative difference of two statements of one inertia that counts as rounding."""


def chain_faults(urdf: UrdfFile, base: str, tool: str) -> Iterator[ArmError]:
    """Joints of the chain that cannot be planned for, and a base that does not stand upright."""
    for name in urdf.names_between(base, tool):
        kind, copied = urdf.kind(name), urdf.mimicked(name)
        if kind in MOVING and copied is not None:
            remedy = "a joint of the chain needs a drive of its own: remove <mimic>, or make the joint fixed"
            yield urdf.error(f"joint {name}: mimic", f"copies joint {copied!r}", remedy)
        if kind == "prismatic":
            remedy = "only rotary joints are planned for: make it fixed, or let base_frame and tool_frame leave it out"
            yield urdf.error(f"joint {name}", "type 'prismatic' in the chain", remedy)
    yield from _mount_faults(urdf, base)


def tilt(urdf: UrdfFile, link: str) -> float:
    """rad between the z axes of ``link`` and of the URDF's root, moving joints above ``link`` at zero."""
    upward = np.array([0.0, 0.0, 1.0])
    for name in urdf.above(link):
        upward = urdf.joint(name).rotation @ upward
    return float(np.arccos(np.clip(upward[2], -1.0, 1.0)))


def _mount_faults(urdf: UrdfFile, base: str) -> Iterator[ArmError]:
    """Gravity is taken along -z of the base frame: a mount that tilts it has to be part of the chain."""
    angle = tilt(urdf, base)
    if angle <= UPRIGHT_RAD:
        return
    mount, root = min(urdf.above(base), key=lambda name: urdf.joint(name).rotation[2, 2]), urdf.roots()[0]
    remedy = f"name {root!r} as base_frame (`robot new --base {root}`), with fixed joints only above the arm"
    fault = f"tilts {base!r} by {np.degrees(angle):.0f} degrees, and gravity is taken along -z of the base frame"
    yield urdf.error(f"joint {mount}: origin rpy", fault, remedy)


def moving_joints(urdf: UrdfFile, base: str, tool: str) -> list[str]:
    """Names of the rotary joints from ``base`` to ``tool``, base first."""
    return [name for name in urdf.names_between(base, tool) if urdf.kind(name) in ROTARY]


def still_joints(urdf: UrdfFile, chain: list[str]) -> list[str]:
    """Moving joints that are not in the chain (gripper fingers, a lift below the base): taken as fixed at zero."""
    return [name for name in urdf.joint_names() if urdf.kind(name) in MOVING and name not in chain]


def link_inertial(urdf: UrdfFile, link: str, stated: Mapping[str, Inertial]) -> Inertial:
    """Of one link: the URDF's where it gives a possible one, else the one ``stated`` in the YAML, else no mass.

    Raises:
        ArmError: the URDF's are no rigid body's and the YAML states none; or both give possible ones that differ.
    """
    given, other = urdf.inertial(link), stated.get(link)
    if given is None:
        return other or NOTHING
    fault = given.fault()
    if fault is not None:
        if other is not None:
            return other
        raise urdf.error(f"link {link}: inertial", fault, "correct it, or add the link to `links` of the YAML")
    if other is not None and not _agree(given, other):
        raise urdf.error(f"link {link}: inertial", "differs from `links` in the YAML", "make both files agree")
    return given


def body_of(urdf: UrdfFile, link: str, chain: list[str], stated: Mapping[str, Inertial]) -> Inertial:
    """A link and all that hangs on it, further joints of the chain excepted, as one rigid body in the link's frame."""
    body = link_inertial(urdf, link, stated)
    for joint in urdf.children(link):
        if joint.name not in chain:
            body = body.joined(body_of(urdf, joint.child, chain, stated).moved(joint.rotation, joint.translation))
    return body


def _agree(one: Inertial, other: Inertial) -> bool:
    pairs = ((one.mass, other.mass), (one.com, other.com), (one.inertia, other.inertia))
    return all(bool(np.allclose(a, b, rtol=AGREEMENT, atol=AGREEMENT)) for a, b in pairs)
