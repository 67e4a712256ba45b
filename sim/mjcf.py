"""The MuJoCo model of an arm, from its description alone: shipped arms and own ones go the same way."""

from __future__ import annotations

from collections.abc import Sequence
from xml.sax.saxutils import quoteattr

import numpy as np
from scipy.spatial.transform import Rotation

from mbrl_control.robot import Arm, Capsule, Inertial, JointFrame
from mbrl_control.signals import Array
from sim.render import Camera

TIMESTEP_S = 0.002
_RESERVED = ("world", "payload")


def mjcf_text(arm: Arm, camera: Camera, note: str) -> str:
    """MJCF: velocity servos with lag, gravity of the unloaded arm compensated by the motors, payload body at the tool.

    ``actuatorgravcomp`` counts the compensation as motor torque, so ``actuatorfrcrange`` limits servo and compensation
    together. A tight friction impedance keeps a joint inside its Coulomb band (or a clamped brake) from creeping.
    """
    lines = [
        note,
        f"<mujoco model={quoteattr(arm.name)}>",
        '  <compiler angle="radian" autolimits="true"/>',
        f'  <option timestep="{number(TIMESTEP_S)}" integrator="implicitfast" gravity="0 0 -9.81"/>',
        "  <default>",
        '    <joint type="hinge" actuatorgravcomp="true" solimpfriction="0.9999 0.9999 0.001"/>',
        '    <geom contype="0" conaffinity="0" mass="0"/>',
        "  </default>",
        "  <asset>",
        '    <texture name="grid" type="2d" builtin="checker" rgb1="0.82 0.84 0.86" rgb2="0.72 0.74 0.77" '
        'width="128" height="128"/>',
        '    <material name="grid" texture="grid" texrepeat="8 8"/>',
        "  </asset>",
        "  <worldbody>",
        '    <light name="sun" pos="1 -1 3" dir="-0.3 0.3 -1" directional="true"/>',
        '    <geom name="floor" type="plane" size="2 2 0.1" material="grid"/>',
        "    " + _camera(camera),
        *_bodies(arm),
        "  </worldbody>",
        "  <actuator>",
        *_actuators(arm),
        "  </actuator>",
        "</mujoco>",
    ]
    return "\n".join(lines) + "\n"


def number(value: float) -> str:
    """As Python writes a float: read back, it is the same."""
    return repr(float(value))


def row(values: Sequence[float] | Array) -> str:
    """Numbers with blanks between."""
    return " ".join(number(value) for value in values)


def _bodies(arm: Arm) -> list[str]:
    """The chain as nested bodies, base first, payload innermost."""
    lines = [f"    <body name={_body_name(arm.link_names[0])}>", *_capsules(arm.capsules, 0, "      ")]
    for index, frame in enumerate(arm.chain):
        indent = "    " + "  " * (index + 1)
        lines.append(f'{indent}<body name={_body_name(arm.link_names[index + 1])} {_pose(frame)} gravcomp="1">')
        lines.append(f"{indent}  {_joint(arm, index)}")
        lines.append(f"{indent}  {_inertial(arm.bodies[index])}")
        lines += _capsules(arm.capsules, index + 1, indent + "  ")
    depth = arm.joints
    lines += _tool(arm, "    " + "  " * (depth + 1))
    lines += ["    " + "  " * level + "</body>" for level in range(depth, -1, -1)]
    return lines


def _body_name(link: str) -> str:
    return quoteattr(f"{link}_link" if link in _RESERVED else link)


def _pose(frame: JointFrame) -> str:
    quaternion = Rotation.from_matrix(frame.origin_rotation).as_quat(canonical=True, scalar_first=True)
    # Rounded, so that the committed files do not depend on the processor's last bit.
    return f'pos="{row(frame.origin_translation)}" quat="{row(np.round(quaternion, 15) + 0.0)}"'


def _joint(arm: Arm, index: int) -> str:
    effort = number(arm.effort[index])
    return (
        f'<joint name={quoteattr(arm.joint_names[index])} axis="{row(arm.chain[index].axis)}" '
        f'range="{number(arm.lower[index])} {number(arm.upper[index])}" actuatorfrcrange="-{effort} {effort}" '
        f'armature="{number(arm.armature[index])}" damping="{number(arm.friction_viscous[index])}" '
        f'frictionloss="{number(arm.friction_coulomb[index])}"/>'
    )


def _inertial(body: Inertial) -> str:
    (xx, xy, xz), (_, yy, yz), (_, _, zz) = body.inertia
    return f'<inertial pos="{row(body.com)}" mass="{number(body.mass)}" fullinertia="{row((xx, yy, zz, xy, xz, yz))}"/>'


def _capsules(capsules: Sequence[Capsule], link: int, indent: str) -> list[str]:
    lines = []
    for capsule in capsules:
        if capsule.link_index != link:
            continue
        if np.allclose(capsule.start, capsule.end, atol=1e-6):
            shape = f'type="sphere" pos="{row(capsule.start)}"'
        else:
            shape = f'type="capsule" fromto="{row(capsule.start)} {row(capsule.end)}"'
        lines.append(f'{indent}<geom {shape} size="{number(capsule.radius)}" rgba="0.9 0.9 0.92 1"/>')
    return lines


def _tool(arm: Arm, indent: str) -> list[str]:
    frame = JointFrame(arm.tool_rotation, arm.tool_translation, np.zeros(3))
    return [
        f"{indent}<body {_pose(frame)}>",
        f'{indent}  <site name={quoteattr(arm.tool_frame)} size="0.01" rgba="0.1 0.4 0.8 1"/>',
        f'{indent}  <body name="payload">',
        f'{indent}    <inertial pos="0 0 0" mass="0" diaginertia="0 0 0"/>',
        f"{indent}  </body>",
        f"{indent}</body>",
    ]


def _actuators(arm: Arm) -> list[str]:
    lines = []
    for name, effort, gain, lag in zip(arm.joint_names, arm.effort, arm.servo_gain, arm.servo_lag_s, strict=True):
        lines.append(
            f"    <general name={quoteattr(name)} joint={quoteattr(name)} "
            f'dyntype="filterexact" dynprm="{number(lag)}" '
            f'gaintype="fixed" gainprm="{number(gain)}" biastype="affine" biasprm="0 0 -{number(gain)}" '
            f'forcerange="-{number(effort)} {number(effort)}"/>'
        )
    return lines


def _camera(camera: Camera) -> str:
    """MuJoCo cameras look along -z: x points right, y up."""
    forward = np.subtract(camera.target, camera.position)
    forward /= np.linalg.norm(forward)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    axes = row(np.round([*right, *np.cross(right, forward)], 9) + 0.0)
    return f'<camera name="view" pos="{row(camera.position)}" xyaxes="{axes}" fovy="{number(camera.fovy_deg)}"/>'
