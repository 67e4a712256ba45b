"""The shapes of an arm's links as meshes: collision where it can be read, else visual."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import trimesh

from mbrl_control.arm_setup.findings import Finding, warn
from mbrl_control.mesh_files import find_mesh, mesh_places
from mbrl_control.signals import Array
from mbrl_control.urdf_file import UrdfFile

LARGEST_M = 5.0
"""A link beyond this is drawn in millimetres."""


@dataclass(slots=True)
class LinkShapes:
    """Meshes in the frame of each link of the chain, with those of all links that hang on it."""

    meshes: dict[str, list[trimesh.Trimesh]] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)


def read_shapes(urdf: UrdfFile, links: Sequence[str], chain: Sequence[str]) -> LinkShapes:
    """Of the links of a chain of joints; what cannot be read is among the findings."""
    shapes = LinkShapes()
    for link in links:
        shapes.meshes[link] = _hanging(urdf, link, chain, np.eye(4), shapes)
    return shapes


def _hanging(urdf: UrdfFile, link: str, chain: Sequence[str], pose: Array, shapes: LinkShapes) -> list[trimesh.Trimesh]:
    found = [mesh.apply_transform(pose) for mesh in _own(urdf, link, shapes)]
    for joint in urdf.children(link):
        if joint.name not in chain:
            below = pose @ _pose(joint.rotation, joint.translation)
            found += _hanging(urdf, joint.child, chain, below, shapes)
    return found


def _own(urdf: UrdfFile, link: str, shapes: LinkShapes) -> list[trimesh.Trimesh]:
    """Of one link, in its frame."""
    element = urdf.links.get(link)
    shapes.findings += [] if element is None else _lost_meshes(urdf, element)
    for kind in ("collision", "visual"):
        parts = [] if element is None else element.findall(kind)
        found = [mesh for part in parts if (mesh := _shape(urdf, link, kind, part, shapes)) is not None]
        if found:
            return found
    return []


def _lost_meshes(urdf: UrdfFile, element: ElementTree.Element) -> Iterator[Finding]:
    """Every mesh file that is not there: of the visuals too, where a collision shape gives the capsules."""
    uses = {"collision": "", "visual": "; `demo --sim pybullet` draws it and does not start without"}
    for kind, use in uses.items():
        named = [mesh.get("filename", "") for mesh in element.iterfind(f"{kind}/geometry/mesh")]
        for name in dict.fromkeys(named):
            if find_mesh(name, urdf.path) is None:
                looked = ", ".join(str(where) for where in mesh_places(name, urdf.path)[:2])
                remedy = f"looked in {looked}, ...; put it there, or name its package's folder in ROS_PACKAGE_PATH"
                place = f"link {element.get('name')}: {kind}"
                yield warn(urdf.path, place, f"mesh {name!r} not found{use}", remedy)


def bare_links(urdf: UrdfFile, shapes: LinkShapes, covered: Collection[str] = ()) -> Iterator[Finding]:
    """Links of the chain that no shape was read of, and that have no capsule (``covered``) either."""
    for link, meshes in shapes.meshes.items():
        if not meshes and link not in covered:
            fault = "no shape of it or of what hangs on it: `robot new` takes a bar of 4 cm to the next joint"
            remedy = "add <collision>, or measure the link and correct its `capsules` in the YAML"
            yield warn(urdf.path, f"link {link}", fault, remedy)


def _shape(
    urdf: UrdfFile, link: str, kind: str, part: ElementTree.Element, shapes: LinkShapes
) -> trimesh.Trimesh | None:
    place = f"link {link}: {kind}"
    geometry = part.find("geometry")
    shape = None if geometry is None else next(iter(geometry), None)
    if shape is None:
        return None
    mesh = _mesh(urdf, place, shape, shapes) if shape.tag == "mesh" else _primitive(urdf, place, shape)
    if mesh is None:
        return None
    return mesh.apply_transform(_pose(*urdf.origin(part, place)))


def _primitive(urdf: UrdfFile, place: str, shape: ElementTree.Element) -> trimesh.Trimesh | None:
    def size(key: str, count: int) -> Array:
        return urdf.numbers(shape.get(key, ""), f"{place}: {shape.tag} {key}", count)

    if shape.tag == "box":
        return trimesh.creation.box(size("size", 3))
    if shape.tag == "sphere":
        return trimesh.creation.icosphere(subdivisions=2, radius=float(size("radius", 1)[0]))
    if shape.tag in ("cylinder", "capsule"):
        make = trimesh.creation.cylinder if shape.tag == "cylinder" else trimesh.creation.capsule
        return make(radius=float(size("radius", 1)[0]), height=float(size("length", 1)[0]))
    return None


def _mesh(urdf: UrdfFile, place: str, shape: ElementTree.Element, shapes: LinkShapes) -> trimesh.Trimesh | None:
    path = find_mesh(shape.get("filename", ""), urdf.path)
    if path is None:  # named among the lost ones
        return None
    try:
        mesh = trimesh.load(path, force="mesh", skip_materials=True)
    except Exception as error:  # a loader raises whatever its format's parser does
        remedy = "convert it to STL or OBJ; the other of visual and collision is used instead, if it can be read"
        shapes.findings.append(warn(urdf.path, place, f"{path}: cannot be read ({error})", remedy))
        return None
    scale = urdf.numbers(shape.get("scale", "1 1 1"), f"{place}: mesh scale", 3)
    mesh.apply_scale(scale)
    if len(mesh.vertices) == 0 or not np.isfinite(mesh.bounds).all():
        shapes.findings.append(warn(urdf.path, place, f"{path}: empty", "export it again"))
        return None
    if mesh.extents.max() > LARGEST_M:
        fault = f"{path.name} is {mesh.extents.max():.3g} m long: millimetres?"
        shapes.findings.append(warn(urdf.path, place, fault, 'write scale="0.001 0.001 0.001" at the mesh'))
        return None
    return mesh


def _pose(rotation: Array, translation: Array) -> Array:
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = rotation, translation
    return pose
