"""Every field of an arm's YAML from its URDF: taken from there where it says it, guessed with a reason where not."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import trimesh

from mbrl_control.arm_setup import dynamics_guesses as guesses
from mbrl_control.arm_setup.capsule_fit import FittedCapsule, fit_capsules
from mbrl_control.arm_setup.chain_choice import ChainChoice
from mbrl_control.arm_setup.dynamics_guesses import Value
from mbrl_control.arm_setup.findings import Finding
from mbrl_control.arm_setup.pose_search import WorkPlace, box_poses, find_work_place, placed
from mbrl_control.arm_setup.shapes import LinkShapes, bare_links, read_shapes
from mbrl_control.inertial import Inertial
from mbrl_control.kinematics import forward_kinematics
from mbrl_control.robot import Arm, Capsule, SensorNoise
from mbrl_control.robot_fields import readers
from mbrl_control.robot_file import YamlFile
from mbrl_control.signals import Array
from mbrl_control.urdf_chain import moving_joints
from mbrl_control.urdf_file import UrdfFile

SEED = 0
"""Of the poses that are tried: one URDF gives one YAML."""
DENSITY = 1500.0
"""kg/m^3 of a link's convex hull: aluminium castings with motors and gears in them (a Panda's link 2 has 1600)."""
THIN_M = 0.04


@dataclass(slots=True)
class Draft:
    """A whole description: ``values`` has every field of the YAML by its place, in the YAML's order."""

    arm: Arm
    values: dict[str, Value]
    findings: list[Finding] = field(default_factory=list)
    """What could not be read or found on the way."""

    def guessed(self) -> list[str]:
        """Places of the values that are guesses."""
        return [place for place, value in self.values.items() if value.guess]


def propose(urdf: UrdfFile, choice: ChainChoice) -> Draft:
    """Fill every field.

    Raises:
        ArmError: the URDF has a fault that no YAML can mend.
    """
    names = moving_joints(urdf, choice.base, choice.tool)
    values = {
        "name": Value(arm_name(urdf), "the URDF's <robot name>"),
        "base_frame": Value(choice.base, choice.base_reason),
        "tool_frame": Value(choice.tool, choice.tool_reason),
    }
    limits = _limits(urdf, names)
    links = [choice.base] + [urdf.ends(name)[1] for name in names]
    shapes = read_shapes(urdf, links, names)
    stated = _inertials(urdf, links[1:], shapes)
    arm = _skeleton(urdf, values, names, limits, stated)
    arm = replace(arm, capsules=_capsules(arm, shapes))
    generator = np.random.default_rng(SEED)
    place = find_work_place(arm, generator)
    if place is None:
        place = _middle(arm)
        values["home"] = Value(place.home.tolist(), guesses.NO_CLEAR_POSE, guess=True)
    else:
        values["home"] = Value(place.home.tolist(), guesses.HOME, guess=True)
    arm = placed(arm, place)
    values["work_box"] = Value({"lower": place.lower.tolist(), "upper": place.upper.tolist()}, guesses.BOX, guess=True)
    values["capsules"] = Value(_capsule_rows(arm), _capsule_reason(shapes), guess=True)
    arm, dynamics = guesses.guess_dynamics(arm, urdf, limits, box_poses(place.lower, place.upper, generator, 100))
    values |= dynamics
    if stated:
        values["links"] = Value(_link_rows(stated), guesses.INERTIAS, guess=True)
    values["camera"] = Value(_camera(arm), guesses.CAMERA)
    return Draft(arm, values, [*shapes.findings, *bare_links(urdf, shapes)])


def arm_name(urdf: UrdfFile) -> str:
    """A name for folders and topics, from the URDF's."""
    name = re.sub(r"[^a-z0-9]+", "_", (urdf.root.get("name") or urdf.path.stem).lower()).strip("_")
    return name[:64] or "arm"


def _limits(urdf: UrdfFile, names: Sequence[str]) -> list[dict[str, Value]]:
    """Per joint: what the URDF says, and guesses for what it leaves out or cannot mean."""
    rows = []
    for name in names:
        row = {}
        for key in ("lower", "upper", "velocity", "effort"):
            given = urdf.limit(name, key)
            row[key] = Value(given, "URDF") if given is not None else guesses.LIMITS[key]
            if key == "velocity" and given is not None and given > guesses.FAST:
                row[key] = guesses.SLOWED
        rows.append(row)
    return rows


def _inertials(urdf: UrdfFile, links: Sequence[str], shapes: LinkShapes) -> dict[str, Inertial]:
    """Of the links of which the URDF gives none or an impossible one."""
    stated = {}
    for link in _hanging_links(urdf, links):
        given = urdf.inertial(link)
        if given is not None and given.mass > 0.0 and given.fault() is not None:
            stated[link] = _rounded(given.repaired())
        elif given is None and link in links:
            stated[link] = inertial_of_shape(shapes.meshes[link])
    return stated


def _hanging_links(urdf: UrdfFile, links: Sequence[str]) -> list[str]:
    """The moving links and all that hang on them."""
    found = list(links)
    for link in found:
        found += [joint.child for joint in urdf.children(link) if joint.child not in found]
    return found


def inertial_of_shape(meshes: Sequence[trimesh.Trimesh]) -> Inertial:
    """A guess in the meshes' frame: of their convex hull, or of a fist-sized ball where there is no shape."""
    hull = trimesh.util.concatenate(list(meshes)).convex_hull if meshes else trimesh.creation.icosphere(radius=THIN_M)
    hull.density = DENSITY
    properties = hull.mass_properties
    return _rounded(Inertial(float(hull.mass), np.asarray(hull.center_mass), np.asarray(properties["inertia"])))


def _rounded(body: Inertial) -> Inertial:
    return Inertial(round(body.mass, 3), np.round(body.com, 5) + 0.0, np.round(body.inertia, 7) + 0.0)


def _skeleton(
    urdf: UrdfFile,
    values: dict[str, Value],
    names: Sequence[str],
    limits: Sequence[dict[str, Value]],
    stated: dict[str, Inertial],
) -> Arm:
    """The arm as far as the URDF makes it: chain, bodies, limits; zeros elsewhere."""
    tree: dict[str, Any] = {place: value.value for place, value in values.items()}
    tree["joints"] = [
        {"name": name} | {key: value.value for key, value in row.items() if value.guess}
        for name, row in zip(names, limits, strict=True)
    ]
    if stated:
        tree["links"] = _link_rows(stated)
    read = readers(YamlFile.of(Path(urdf.path.with_suffix(".yaml")), tree), urdf)
    known = ["joint_names", "base_frame", "tool_frame", "name", "lower", "upper", "velocity", "effort", "chain"]
    known += ["tool_rotation", "tool_translation", "link_names", "bodies"]
    zero = np.zeros(len(names))
    blank: dict[str, Any] = dict.fromkeys(guesses.ARRAYS, zero)
    return Arm(
        **{key: read[key]() for key in known},
        **blank,
        noise=SensorNoise(**guesses.NOISE),
        sensor_delay_s=guesses.DELAYS["sensor_s"],
        command_delay_s=guesses.DELAYS["command_s"],
        brake_factor=guesses.BRAKE["factor"],
        brake_floor=guesses.BRAKE["floor"],
        capsules=(),
        effort_mode=None,
        unconfirmed=(),
        sha256=("", ""),
    )


def _capsules(arm: Arm, shapes: LinkShapes) -> tuple[Capsule, ...]:
    capsules = []
    for index, link in enumerate(arm.link_names):
        fitted = fit_capsules(shapes.meshes[link]) or _bone(arm, index)
        capsules += [Capsule(index, part.start, part.end, part.radius) for part in fitted]
    return tuple(capsules)


def _bone(arm: Arm, index: int) -> list[FittedCapsule]:
    """Of a link without shape: from its joint to the next one."""
    end = arm.chain[index].origin_translation if index < arm.joints else arm.tool_translation
    return [FittedCapsule(np.zeros(3), end, THIN_M).rounded()]


def _capsule_rows(arm: Arm) -> list[dict[str, Any]]:
    return [
        {
            "link": arm.link_names[capsule.link_index],
            "from": [round(float(x), 3) + 0.0 for x in capsule.start],
            "to": [round(float(x), 3) + 0.0 for x in capsule.end],
            "radius": round(capsule.radius, 3),
        }
        for capsule in arm.capsules
    ]


def _capsule_reason(shapes: LinkShapes) -> str:
    bare = [link for link, meshes in shapes.meshes.items() if not meshes]
    without = f" No shape could be read of {', '.join(bare)}: a bar of 4 cm to the next joint." if bare else ""
    return guesses.CAPSULES + without


def _link_rows(stated: dict[str, Inertial]) -> list[dict[str, Any]]:
    rows = []
    for link, body in stated.items():
        (xx, xy, xz), (_, yy, yz), (_, _, zz) = body.inertia.tolist()
        rows.append({"name": link, "mass": body.mass, "com": body.com.tolist(), "inertia": [xx, yy, zz, xy, xz, yz]})
    return rows


def _middle(arm: Arm) -> WorkPlace:
    """The middle half of every joint's range, within a turn."""
    low, high = np.maximum(arm.lower, -2.0), np.minimum(arm.upper, 2.0)
    low, high = np.where(low < high, low, arm.lower), np.where(low < high, high, arm.upper)
    home, quarter = 0.5 * (low + high), 0.25 * (high - low)
    return WorkPlace(np.round(home, 2), np.round(home - quarter, 2), np.round(home + quarter, 2))


def _camera(arm: Arm) -> dict[str, Any]:
    """From the front right, far enough away to see the box."""
    corners: Array = forward_kinematics(arm, np.stack([arm.home, arm.box_lower, arm.box_upper]))
    far = float(np.linalg.norm(corners, axis=1).max())
    target = [round(0.5 * float(x), 2) for x in corners[0]]
    position = [round(factor * far, 2) for factor in (2.2, -1.7, 1.5)]
    return {"position": position, "target": target, "fovy_deg": 45}
