"""YAML -> URDF and MJCF. The YAML is the only place where a number of an arm is written down.

``python -m sim.generate [YAML ...]`` rewrites the committed files; a test regenerates them and compares byte for byte.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import yaml

ROBOTS = Path(__file__).parent / "robots"
TIMESTEP_S = 0.002
NOTE = "<!-- Generated from {name}.yaml by `python -m sim.generate`: edit that file. -->"

Description = dict[str, Any]


def main() -> None:
    """Rewrite the generated files beside the YAML files named on the command line, or beside every shipped one."""
    for source in [Path(name) for name in sys.argv[1:]] or sorted(ROBOTS.glob("*.yaml")):
        try:
            files = generated_files(source)
        except OSError as error:
            sys.exit(f"{source}: {error.strerror}; name an arm's YAML")
        except (KeyError, TypeError, yaml.YAMLError) as error:
            sys.exit(f"{source}: {error}: missing or malformed; compare with {ROBOTS / 'planar.yaml'}")
        for path, text in files.items():
            path.write_text(text, encoding="utf-8")


def generated_files(source: Path) -> dict[Path, str]:
    """Paths and contents of the files generated from one YAML."""
    description = yaml.safe_load(source.read_text(encoding="utf-8"))
    return {
        source.with_suffix(".urdf"): urdf_text(description),
        source.with_suffix(".mjcf.xml"): mjcf_text(description),
    }


def urdf_text(arm: Description) -> str:
    """URDF: inertials, limits, friction and the tool frame (no meshes: the capsules live in the YAML)."""
    lines = ['<?xml version="1.0"?>', NOTE.format(name=arm["name"]), f'<robot name="{arm["name"]}">']
    for link in arm["links"]:
        lines += _urdf_link(link)
    lines.append(f'  <link name="{arm["tool_frame"]}"/>')
    for index, joint in enumerate(arm["joints"]):
        lines += _urdf_joint(joint, arm["friction"]["viscous"][index], arm["friction"]["coulomb"][index])
    tool = arm["tool"]
    lines += [
        f'  <joint name="{arm["tool_frame"]}_joint" type="fixed">',
        f'    <origin xyz="{_row(tool["xyz"])}" rpy="{_row(tool["rpy"])}"/>',
        f'    <parent link="{tool["parent"]}"/>',
        f'    <child link="{arm["tool_frame"]}"/>',
        "  </joint>",
        "</robot>",
    ]
    return "\n".join(lines) + "\n"


def _urdf_link(link: Description) -> list[str]:
    xx, yy, zz, xy, xz, yz = (_number(value) for value in link["inertia"])
    return [
        f'  <link name="{link["name"]}">',
        "    <inertial>",
        f'      <origin xyz="{_row(link["com"])}" rpy="0 0 0"/>',
        f'      <mass value="{_number(link["mass"])}"/>',
        f'      <inertia ixx="{xx}" ixy="{xy}" ixz="{xz}" iyy="{yy}" iyz="{yz}" izz="{zz}"/>',
        "    </inertial>",
        "  </link>",
    ]


def _urdf_joint(joint: Description, viscous: float, coulomb: float) -> list[str]:
    limits = " ".join(f'{key}="{_number(joint[key])}"' for key in ("lower", "upper", "velocity", "effort"))
    return [
        f'  <joint name="{joint["name"]}" type="revolute">',
        f'    <origin xyz="{_row(joint["xyz"])}" rpy="{_row(joint["rpy"])}"/>',
        f'    <parent link="{joint["parent"]}"/>',
        f'    <child link="{joint["child"]}"/>',
        f'    <axis xyz="{_row(joint["axis"])}"/>',
        f"    <limit {limits}/>",
        f'    <dynamics damping="{_number(viscous)}" friction="{_number(coulomb)}"/>',
        "  </joint>",
    ]


def mjcf_text(arm: Description) -> str:
    """MJCF: velocity servos with lag, gravity of the unloaded arm compensated by the motors, payload body at the tool.

    ``actuatorgravcomp`` counts the compensation as motor torque, so ``actuatorfrcrange`` limits servo and compensation
    together. A tight friction impedance keeps a joint inside its Coulomb band (or a clamped brake) from creeping.
    """
    lines = [
        NOTE.format(name=arm["name"]),
        f'<mujoco model="{arm["name"]}">',
        '  <compiler angle="radian" eulerseq="XYZ" autolimits="true"/>',
        f'  <option timestep="{_number(TIMESTEP_S)}" integrator="implicitfast" gravity="0 0 -9.81"/>',
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
        "    " + _camera(arm["camera"]),
        *_mjcf_bodies(arm),
        "  </worldbody>",
        "  <actuator>",
        *_mjcf_actuators(arm),
        "  </actuator>",
        "</mujoco>",
    ]
    return "\n".join(lines) + "\n"


def _mjcf_bodies(arm: Description) -> list[str]:
    """The chain as nested bodies, base first, payload innermost."""
    links = {link["name"]: link for link in arm["links"]}
    base = arm["base_frame"]
    lines = [f'    <body name="{base}">', *_mjcf_link_contents(arm, links[base], "      ")]
    for index, joint in enumerate(arm["joints"]):
        indent = "    " + "  " * (index + 1)
        place = f'pos="{_row(joint["xyz"])}" euler="{_row(joint["rpy"])}"'
        lines.append(f'{indent}<body name="{joint["child"]}" {place} gravcomp="1">')
        lines.append(f"{indent}  {_mjcf_joint(arm, index)}")
        lines += _mjcf_link_contents(arm, links[joint["child"]], indent + "  ")
    depth = len(arm["joints"])
    lines += _mjcf_tool(arm, "    " + "  " * (depth + 1))
    lines += ["    " + "  " * level + "</body>" for level in range(depth, -1, -1)]
    return lines


def _mjcf_joint(arm: Description, index: int) -> str:
    joint, friction = arm["joints"][index], arm["friction"]
    effort = _number(joint["effort"])
    return (
        f'<joint name="{joint["name"]}" axis="{_row(joint["axis"])}" '
        f'range="{_number(joint["lower"])} {_number(joint["upper"])}" actuatorfrcrange="-{effort} {effort}" '
        f'armature="{_number(arm["armature"][index])}" damping="{_number(friction["viscous"][index])}" '
        f'frictionloss="{_number(friction["coulomb"][index])}"/>'
    )


def _mjcf_link_contents(arm: Description, link: Description, indent: str) -> list[str]:
    lines = [
        f'{indent}<inertial pos="{_row(link["com"])}" mass="{_number(link["mass"])}" '
        f'fullinertia="{_row(link["inertia"])}"/>'
    ]
    for capsule in arm["capsules"]:
        if capsule["link"] == link["name"]:
            ends = f"{_row(capsule['from'])} {_row(capsule['to'])}"
            lines.append(
                f'{indent}<geom type="capsule" fromto="{ends}" size="{_number(capsule["radius"])}" '
                f'rgba="0.9 0.9 0.92 1"/>'
            )
    return lines


def _mjcf_tool(arm: Description, indent: str) -> list[str]:
    tool = arm["tool"]
    return [
        f'{indent}<body name="{arm["tool_frame"]}" pos="{_row(tool["xyz"])}" euler="{_row(tool["rpy"])}">',
        f'{indent}  <site name="{arm["tool_frame"]}" size="0.01" rgba="0.1 0.4 0.8 1"/>',
        f'{indent}  <body name="payload">',
        f'{indent}    <inertial pos="0 0 0" mass="0" diaginertia="0 0 0"/>',
        f"{indent}  </body>",
        f"{indent}</body>",
    ]


def _mjcf_actuators(arm: Description) -> list[str]:
    lines = []
    for joint, gain, lag in zip(arm["joints"], arm["servo"]["gain"], arm["servo"]["lag_s"], strict=True):
        effort, gain_text = _number(joint["effort"]), _number(gain)
        lines.append(
            f'    <general name="{joint["name"]}" joint="{joint["name"]}" '
            f'dyntype="filterexact" dynprm="{_number(lag)}" '
            f'gaintype="fixed" gainprm="{gain_text}" biastype="affine" biasprm="0 0 -{gain_text}" '
            f'forcerange="-{effort} {effort}"/>'
        )
    return lines


def _camera(camera: Description) -> str:
    """MuJoCo cameras look along -z: x points right, y up."""
    position, target = camera["position"], camera["target"]
    forward = _unit([t - p for t, p in zip(target, position, strict=True)])
    right = _unit([forward[1], -forward[0], 0.0])
    up = _cross(right, forward)
    axes = " ".join(f"{value:.9f}" for value in (*right, *up))
    return f'<camera name="view" pos="{_row(position)}" xyaxes="{axes}" fovy="{_number(camera["fovy_deg"])}"/>'


def _unit(vector: list[float]) -> list[float]:
    length = sum(value * value for value in vector) ** 0.5
    return [value / length for value in vector]


def _cross(a: list[float], b: list[float]) -> list[float]:
    return [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]


def _number(value: float) -> str:
    return repr(float(value))


def _row(values: list[float]) -> str:
    return " ".join(_number(value) for value in values)


if __name__ == "__main__":
    main()
