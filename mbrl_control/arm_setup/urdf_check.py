"""What is wrong or suspicious in a URDF: all of it, each with a remedy and, where one can be proposed, a value."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence

import numpy as np

from mbrl_control.arm_setup.dynamics_guesses import FAST, LIMITS
from mbrl_control.arm_setup.findings import Finding, stop, warn
from mbrl_control.arm_setup.proposals import inertial_of_shape
from mbrl_control.arm_setup.shapes import LinkShapes
from mbrl_control.inertial import Inertial
from mbrl_control.robot_file import ArmError
from mbrl_control.signals import Array
from mbrl_control.urdf_chain import ROTARY, chain_faults, still_joints
from mbrl_control.urdf_file import MOVING, UrdfFile

TURNS_RAD = 4.0 * np.pi
"""Beyond two turns a position limit is in degrees."""
DEGREES_PER_S = 20.0
"""rad/s: beyond this a velocity limit is in degrees."""
FAR_M = 10.0
WEAK, STRONG = 1.0, 1000.0
"""N m: efforts at or beyond these are placeholders."""
ODD_GYRATION_M = (0.001, 1.0)
ENDLESS_RAD = 1e4
"""Beyond this a position limit is no number of degrees either: an exporter's infinity."""
STEEL = 7850.0
"""kg/m^3"""
INERTIAL_OF_SHAPE = "of its shape's convex hull at 1500 kg/m^3, or of a ball of 4 cm where it has none"


def faults_of_urdf(urdf: UrdfFile) -> list[Finding]:
    """What no YAML can mend: structure, numbers that cannot be read, wrong units, crossed limits."""
    found = [stop(fault) for fault in urdf.structure()]
    for name in urdf.joint_names():
        found += _joint_faults(urdf, name)
    for link in urdf.links:
        try:
            body = urdf.inertial(link)
        except ArmError as error:
            found.append(stop(error))
        else:
            if body is not None and np.abs(body.com).max() > FAR_M:
                found.append(_millimetres(urdf, f"link {link}: inertial", body.com))
    return found


def faults_of_chain(urdf: UrdfFile, base: str, tool: str) -> list[Finding]:
    """Joints that cannot be planned for."""
    return [stop(fault) for fault in chain_faults(urdf, base, tool)]


def gaps(urdf: UrdfFile, names: Sequence[str], shapes: LinkShapes) -> list[Finding]:
    """What is missing and `robot new` writes into the YAML: limits and inertias of the chain."""
    found = []
    for name in names:
        for key in ("lower", "upper", "velocity", "effort"):
            if urdf.limit(name, key) is None:
                found.append(_missing_limit(urdf, name, key))
    for link in _moved(urdf, names):
        body = urdf.inertial(link)
        fault = None if body is None else body.fault()
        if fault is not None and body is not None:
            remedy = "correct it, or let `robot new` put a corrected one into `links` of the YAML"
            error = urdf.error(f"link {link}: inertial", fault, remedy)
            found.append(stop(error).with_proposal(_inertia_text(body.repaired()), "the least added to the diagonal"))
    return found + list(_massless(urdf, names, shapes))


def suspicions(
    urdf: UrdfFile,
    names: Sequence[str],
    ends: tuple[str, str],
    shapes: LinkShapes,
    bounds: Mapping[str, Sequence[float]],
) -> list[Finding]:
    """What can be so and seldom is, in the chain between the links ``ends``.

    ``bounds``: `lower` and `upper` [J] rad that a YAML gives.
    """
    base, tool = ends
    return [
        *_placeholders(urdf, names),
        *_soft_limits(urdf, names, bounds),
        *_too_heavy(urdf, names, shapes),
        *_inertia_suspicions(urdf, names),
        *_still(urdf, urdf.names_between(base, tool)),
        *_toolless(urdf, names, tool),
    ]


def _joint_faults(urdf: UrdfFile, name: str) -> Iterator[Finding]:
    place = f"joint {name}"
    try:
        joint = urdf.joint(name)
        limits = {key: urdf.limit(name, key) for key in ("lower", "upper", "velocity", "effort")}
    except ArmError as error:
        yield stop(error)
        return
    if np.abs(joint.translation).max() > FAR_M:
        yield _millimetres(urdf, f"{place}: origin xyz", joint.translation)
    if joint.kind not in MOVING:
        return
    lower, upper, velocity = limits["lower"], limits["upper"], limits["velocity"]
    if joint.kind == "revolute":
        for key, value in (("lower", lower), ("upper", upper)):
            if value is not None and abs(value) >= ENDLESS_RAD:
                remedy = f'give type="continuous" without {key}, or the limit of the data sheet in rad'
                yield stop(urdf.error(f"{place}: limit {key}", f"{value:g} rad: a continuous joint's export?", remedy))
            elif value is not None and abs(value) > TURNS_RAD:
                yield _degrees(urdf, f"{place}: limit {key}", value, "rad")
    if joint.kind in ROTARY and velocity is not None and velocity > DEGREES_PER_S:
        yield _degrees(urdf, f"{place}: limit velocity", velocity, "rad/s")
    if lower is not None and upper is not None and lower >= upper:
        yield stop(
            urdf.error(f"{place}: limit lower", f"{lower:g} is not below upper, {upper:g}", "swap or correct them")
        )
    for key in ("velocity", "effort"):
        value = limits[key]
        if value is not None and value < 0.0:
            yield stop(urdf.error(f"{place}: limit {key}", f"{value:g} is negative", "give a positive one"))


def _degrees(urdf: UrdfFile, field: str, value: float, unit: str) -> Finding:
    error = urdf.error(field, f"{value:g} {unit}: degrees?", f"a URDF is in {unit}: convert all of this file's angles")
    return stop(error).with_proposal(round(float(np.radians(value)), 6), f"{value:g} degrees in {unit}")


def _millimetres(urdf: UrdfFile, field: str, value: Array) -> Finding:
    metres = [round(float(x) * 1e-3, 9) for x in value]
    error = urdf.error(
        field, f"{np.abs(value).max():g} m away: millimetres?", "a URDF is in metres: convert its lengths"
    )
    return stop(error).with_proposal(metres, "taken as millimetres")


def _missing_limit(urdf: UrdfFile, name: str, key: str) -> Finding:
    endless = urdf.kind(name) == "continuous" and key in ("lower", "upper")
    kind = f'give type="revolute" and <limit {key}="..."/>' if endless else f"write {key} in <limit>"
    remedy = f"{kind}, or let `robot new` put `{key}` into the YAML"
    error = urdf.error(f"joint {name}: limit {key}", urdf.gap_of_limit(name, key), remedy)
    return stop(error).with_proposal(LIMITS[key].value, LIMITS[key].reason)


def _massless(urdf: UrdfFile, names: Sequence[str], shapes: LinkShapes) -> Iterator[Finding]:
    for name in names:
        link = urdf.ends(name)[1]
        if not _mass_of(urdf, link, names) > 0.0:
            remedy = "add <inertial>, or let `robot new` put one into `links` of the YAML"
            finding = stop(urdf.error(f"link {link}: inertial", "missing: a moving link without mass", remedy))
            if (meshes := shapes.meshes.get(link)) is not None:
                finding = finding.with_proposal(_inertial_text(inertial_of_shape(meshes)), INERTIAL_OF_SHAPE)
            yield finding


def _mass_of(urdf: UrdfFile, link: str, names: Collection[str]) -> float:
    body = urdf.inertial(link)
    hanging = [joint.child for joint in urdf.children(link) if joint.name not in names]
    return (0.0 if body is None else body.mass) + sum(_mass_of(urdf, child, names) for child in hanging)


def _moved(urdf: UrdfFile, names: Sequence[str]) -> list[str]:
    """The links that the chain moves, and all that hang on them."""
    found = [urdf.ends(name)[1] for name in names]
    for link in found:
        found += [joint.child for joint in urdf.children(link) if joint.child not in found]
    return found


def _placeholders(urdf: UrdfFile, names: Sequence[str]) -> Iterator[Finding]:
    efforts = {name: value for name in names if (value := urdf.limit(name, "effort")) is not None}
    for name, value in efforts.items():
        if value >= STRONG or value <= WEAK:
            remedy = "take it from the data sheet: servo gain, brakes and acceleration are made from it"
            yield warn(urdf.path, f"joint {name}: limit effort", f"{value:g} N m: a placeholder?", remedy)
    if len(efforts) > 3 and len(set(efforts.values())) == 1:
        fault = f"{next(iter(efforts.values())):g} N m at all {len(efforts)} joints: a placeholder?"
        yield warn(urdf.path, "limit effort", fault, "wrist joints are weaker: take each joint's from the data sheet")
    speeds = {name: value for name in names if (value := urdf.limit(name, "velocity")) is not None}
    fast = [f"{name} {value:g}" for name, value in speeds.items() if FAST < value <= DEGREES_PER_S]
    if fast:
        remedy = "take the rated speed from the data sheet; a `velocity` in the YAML's `joints` may be stricter"
        yield warn(urdf.path, "limit velocity", f"{', '.join(fast)} rad/s: a placeholder?", remedy)


def _soft_limits(urdf: UrdfFile, names: Sequence[str], bounds: Mapping[str, Sequence[float]]) -> Iterator[Finding]:
    """The arm's own controller stops at its soft limits; only those in <limit>, or the YAML's, are planned with."""
    for index, name in enumerate(names):
        for key, sign in (("lower", 1.0), ("upper", -1.0)):
            try:
                soft = urdf.soft_limit(name, key)
            except ArmError as error:
                yield warn(urdf.path, error.field, "cannot be read, and is not used", error.remedy)
                continue
            given = urdf.limit(name, key)
            hard = bounds[key][index] if key in bounds else given
            if soft is not None and (hard is None or sign * soft > sign * hard):
                limit = "no limit" if hard is None else f"{key} {hard:g}"
                fault = f"soft_{key}_limit {soft:g} rad is stricter than {limit}, and is not read"
                # Where URDF and YAML both give a position limit, they must agree.
                remedy = f"write it as {key} in <limit>" + (
                    f", or in the YAML's row of {name}" if given is None else ""
                )
                finding = warn(urdf.path, f"joint {name}: safety_controller", fault, remedy)
                yield finding.with_proposal({key: soft}, "where the arm's controller stops")


def _too_heavy(urdf: UrdfFile, names: Sequence[str], shapes: LinkShapes) -> Iterator[Finding]:
    """A mass in grams is 1000 times too large.

    The bound is a solid ball of steel around the link's shape: an arm's link fills it with some 50 to 300 kg/m^3, so
    none in kilograms reaches 7850, and nearly all in grams do.
    """
    for link in [urdf.ends(name)[1] for name in names]:
        meshes, mass = shapes.meshes.get(link), _mass_of(urdf, link, names)
        if not meshes:
            continue
        corners = np.concatenate([mesh.bounds for mesh in meshes])
        across = float(np.linalg.norm(corners.max(axis=0) - corners.min(axis=0)))
        ball = STEEL * np.pi / 6.0 * across**3
        if mass > ball:
            fault = f"{mass:g} kg? grams? A ball of steel around its shape ({across:.2g} m) has {ball:.3g} kg"
            remedy = "a URDF is in kg and kg m^2: convert all of this file's masses and tensors"
            finding = warn(urdf.path, f"link {link}: inertial mass", fault, remedy)
            yield finding.with_proposal(round(mass * 1e-3, 6), "taken as grams, with what hangs on it")


def _inertia_suspicions(urdf: UrdfFile, names: Sequence[str]) -> Iterator[Finding]:
    bodies = {link: body for link in _moved(urdf, names) if (body := urdf.inertial(link)) is not None}
    for link, body in bodies.items():
        if (fault := body.fault()) is not None:
            remedy = "correct it in the URDF; until then the link's row in `links` of the YAML is used"
            yield warn(urdf.path, f"link {link}: inertial", fault, remedy)
            continue
        gyration = float(np.sqrt(body.principal_moments()[2] / body.mass))
        if not ODD_GYRATION_M[0] <= gyration <= ODD_GYRATION_M[1]:
            fault = (
                f"{body.mass:g} kg spread over {gyration:.2g} m (radius of gyration): a placeholder, or other units?"
            )
            yield warn(urdf.path, f"link {link}: inertial", fault, "export it from the CAD model in kg m^2")
    same = Counter((body.mass, *body.inertia.ravel().round(9)) for body in bodies.values())
    if bodies and len(bodies) > 2 and max(same.values()) == len(bodies):
        fault = f"mass and tensor are the same at all {len(bodies)} links: a placeholder?"
        yield warn(urdf.path, "inertial", fault, "export them from the CAD model")


def _still(urdf: UrdfFile, names: Sequence[str]) -> Iterator[Finding]:
    for name in still_joints(urdf, list(names)):
        fault = f"moves ({urdf.kind(name)}) and is not in the chain: taken as fixed at zero"
        remedy = "nothing to do for a gripper; else choose base_frame and tool_frame so that the chain has it"
        yield warn(urdf.path, f"joint {name}", fault, remedy)


def _toolless(urdf: UrdfFile, names: Sequence[str], tool: str) -> Iterator[Finding]:
    if names and urdf.ends(names[-1])[1] == tool:
        fault = f"{tool!r} is the last moving link: its origin lies on the last axis, so the last joint moves no tool"
        remedy = "add a fixed link for the flange, and name it as tool_frame"
        text = (
            f'<link name="tool0"/><joint name="tool0_joint" type="fixed"><parent link="{tool}"/><child link="tool0"/>'
            '<origin xyz="0 0 FLANGE_M" rpy="0 0 0"/></joint>'
        )
        yield warn(urdf.path, "tool_frame", fault, remedy).with_proposal(text, "FLANGE_M from the data sheet")


def _inertial_text(body: Inertial) -> str:
    com = " ".join(f"{x:g}" for x in body.com)
    return f'<inertial><origin xyz="{com}"/><mass value="{body.mass:g}"/>{_inertia_text(body)}</inertial>'


def _inertia_text(body: Inertial) -> str:
    (xx, xy, xz), (_, yy, yz), (_, _, zz) = body.inertia
    keys = zip(("ixx", "ixy", "ixz", "iyy", "iyz", "izz"), (xx, xy, xz, yy, yz, zz), strict=True)
    return "<inertia " + " ".join(f'{key}="{value:.7g}"' for key, value in keys) + "/>"
