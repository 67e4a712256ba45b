"""The files generated from an arm's YAML: the MJCF of every arm, and the URDF of a shipped one.

The YAML of a shipped arm is the only place where its numbers are written down: frames and inertias stand in it too. An
own arm brings them in its URDF. ``python -m sim.generate [YAML ...]`` rewrites the files; a test regenerates the
committed ones and compares byte for byte.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import yaml

from mbrl_control.robot import read_arm
from mbrl_control.robot_file import ArmError, YamlFile
from mbrl_control.urdf_file import UrdfFile
from sim.mjcf import TIMESTEP_S, mjcf_text, number, row
from sim.render import load_camera

__all__ = ["ROBOTS", "TIMESTEP_S", "generated_files", "urdf_text"]

ROBOTS = Path(__file__).parent / "robots"
NOTE = "<!-- Generated from {name}.yaml by `python -m sim.generate`: edit that file. -->"

Description = dict[str, Any]


def main() -> None:
    """Rewrite the generated files beside the YAML files named on the command line, or beside every shipped one."""
    for source in [Path(name) for name in sys.argv[1:]] or sorted(ROBOTS.glob("*.yaml")):
        try:
            files = generated_files(source)
        except OSError as error:
            sys.exit(f"{source}: {error.strerror}; name an arm's YAML")
        except ArmError as error:
            sys.exit(str(error))
        except (KeyError, TypeError, yaml.YAMLError) as error:
            sys.exit(f"{source}: {error}: missing or malformed; compare with {ROBOTS / 'planar.yaml'}")
        for path, text in files.items():
            path.write_text(text, encoding="utf-8")


def generated_files(source: Path) -> dict[Path, str]:
    """Paths and contents of the files generated from one YAML."""
    file = YamlFile(source)
    description = file.tree
    urdf = source.with_suffix(".urdf")
    files = {urdf: urdf_text(description)} if "tool" in description else {}
    arm = read_arm(file, UrdfFile(urdf, files[urdf].encode() if files else None))
    files[source.with_suffix(".mjcf.xml")] = mjcf_text(arm, load_camera(source), NOTE.format(name=source.stem))
    return files


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
        f'    <origin xyz="{row(tool["xyz"])}" rpy="{row(tool["rpy"])}"/>',
        f'    <parent link="{tool["parent"]}"/>',
        f'    <child link="{arm["tool_frame"]}"/>',
        "  </joint>",
        "</robot>",
    ]
    return "\n".join(lines) + "\n"


def _urdf_link(link: Description) -> list[str]:
    xx, yy, zz, xy, xz, yz = (number(value) for value in link["inertia"])
    return [
        f'  <link name="{link["name"]}">',
        "    <inertial>",
        f'      <origin xyz="{row(link["com"])}" rpy="0 0 0"/>',
        f'      <mass value="{number(link["mass"])}"/>',
        f'      <inertia ixx="{xx}" ixy="{xy}" ixz="{xz}" iyy="{yy}" iyz="{yz}" izz="{zz}"/>',
        "    </inertial>",
        "  </link>",
    ]


def _urdf_joint(joint: Description, viscous: float, coulomb: float) -> list[str]:
    limits = " ".join(f'{key}="{number(joint[key])}"' for key in ("lower", "upper", "velocity", "effort"))
    return [
        f'  <joint name="{joint["name"]}" type="revolute">',
        f'    <origin xyz="{row(joint["xyz"])}" rpy="{row(joint["rpy"])}"/>',
        f'    <parent link="{joint["parent"]}"/>',
        f'    <child link="{joint["child"]}"/>',
        f'    <axis xyz="{row(joint["axis"])}"/>',
        f"    <limit {limits}/>",
        f'    <dynamics damping="{number(viscous)}" friction="{number(coulomb)}"/>',
        "  </joint>",
    ]


if __name__ == "__main__":
    main()
