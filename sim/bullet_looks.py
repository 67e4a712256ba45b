"""What Bullet draws of an arm: the visuals of its URDF, and capsules of its YAML on links that have none."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import trimesh

from mbrl_control.inertial import NOTHING
from mbrl_control.mesh_files import find_mesh
from mbrl_control.robot import Arm, ArmError, Capsule
from sim.bullet_urdf import end_of, row, set_inertial, subtree
from sim.render import ARM_COLOR


def visual_urdf(urdf: Path, arm: Arm, folder: Path) -> str:
    """URDF text of what is seen: the links' visuals, and on links without any the YAML's capsules.

    Meshes are named by their whole path; those of the capsules are written into ``folder``.

    Raises:
        ArmError: a mesh file is not there.
    """
    root = subtree(ElementTree.parse(urdf).getroot(), arm.base_frame)
    for link in root.findall("link"):
        for shape in link.findall("collision"):
            link.remove(shape)
        for mesh in link.iterfind("visual/geometry/mesh"):
            mesh.set("filename", str(_mesh_file(urdf, link.get("name", ""), mesh.get("filename", ""))))
        set_inertial(link, NOTHING)
    links = {link.get("name"): link for link in root.findall("link")}
    moved = {joint.get("name"): end_of(joint, "child") for joint in root.findall("joint")}
    names = [arm.base_frame, *(moved[name] for name in arm.joint_names)]
    bare = [index for index, name in enumerate(names) if links[name].find("visual") is None]
    for number, capsule in enumerate(arm.capsules):
        if capsule.link_index in bare:
            links[names[capsule.link_index]].append(_capsule_visual(capsule, folder / f"capsule{number}.obj"))
    return ElementTree.tostring(root, encoding="unicode")


def _mesh_file(urdf: Path, link: str, name: str) -> Path:
    file = find_mesh(name, urdf)
    if file is None:
        remedy = "put it beside the URDF, name its package's folder in ROS_PACKAGE_PATH, or remove <visual>"
        raise ArmError.at(urdf, f"link {link}: visual", f"mesh {name}: no such file", remedy)
    return file


def _capsule_visual(capsule: Capsule, file: Path) -> ElementTree.Element:
    """A mesh: Bullet's renderer shades its own cylinders and capsules along their length, not around it."""
    axis = capsule.end - capsule.start
    shape = trimesh.creation.capsule(float(np.linalg.norm(axis)), capsule.radius)
    if axis.any():
        shape.apply_transform(trimesh.geometry.align_vectors((0.0, 0.0, 1.0), axis))
    shape.apply_translation(0.5 * (capsule.start + capsule.end))
    shape.export(file, include_normals=True)
    visual = ElementTree.Element("visual")
    ElementTree.SubElement(ElementTree.SubElement(visual, "geometry"), "mesh", filename=str(file))
    material = ElementTree.SubElement(visual, "material", name="arm")
    ElementTree.SubElement(material, "color", rgba=f"{row(ARM_COLOR / 255.0)} 1")
    return visual
