"""Pictures of an arm without OpenGL: analytic ray casting of its capsules over a checkered floor, in NumPy.

Works on every machine and is deterministic. MuJoCo's own renderer is not used: where OpenGL is missing it can abort the
whole process, which nothing can catch.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mbrl_control.kinematics import forward_kinematics, link_poses
from mbrl_control.robot import Arm, ArmError
from mbrl_control.robot_file import YamlFile
from mbrl_control.signals import Array

SUN = np.array([0.35, -0.45, 0.82])
ARM_COLOR = np.array([226.0, 228.0, 234.0])
TARGET_COLOR = np.array([214.0, 62.0, 42.0])
TOOL_COLOR = np.array([40.0, 106.0, 200.0])
SKY_COLOR = np.array([206.0, 216.0, 228.0])
FLOOR_COLORS = (np.array([168.0, 172.0, 178.0]), np.array([190.0, 194.0, 199.0]))
MARK_RADIUS = 0.025
TILE_M = 0.25


@dataclass(frozen=True, slots=True)
class Camera:
    """A pinhole camera that keeps the world's z axis upright."""

    position: tuple[float, float, float]
    """m, base frame."""
    target: tuple[float, float, float]
    """m, base frame: the point in the middle of the picture."""
    fovy_deg: float = 45.0


class Renderer(Protocol):
    """Draws one arm from one view."""

    def __call__(self, q: Array, width: int, height: int, target: Array | None = None) -> NDArray[np.uint8]:
        """[height, width, 3] picture of the arm at ``q`` [J] rad, its tool point, and a ``target`` [3] m if given."""
        ...


def load_camera(arm_path: str | Path) -> Camera:
    """The view that the arm's YAML names under ``camera``.

    Raises:
        ArmError: the YAML names none.
    """
    try:
        view = YamlFile(Path(arm_path)).tree["camera"]
        return Camera(tuple(view["position"]), tuple(view["target"]), float(view["fovy_deg"]))
    except KeyError as error:
        raise ArmError(f"{arm_path}: camera: {error} is missing; give position, target and fovy_deg") from error


def render_arm(
    arm: Arm, q: Array, camera: Camera, width: int, height: int, target: Array | None = None
) -> NDArray[np.uint8]:
    """[height, width, 3] picture of the arm at ``q`` [J] rad, its tool point, and a ``target`` [3] m if given."""
    origin, rays = _rays(camera, width, height)
    color, depth = _floor(origin, rays)
    for start, end, radius in _world_capsules(arm, q):
        _draw_capsule(color, depth, origin, rays, (start, end, radius), ARM_COLOR)
    marks = [(forward_kinematics(arm, q), TOOL_COLOR)] + ([] if target is None else [(target, TARGET_COLOR)])
    for point, mark_color in marks:
        _draw_capsule(color, depth, origin, rays, (point, point, MARK_RADIUS), mark_color)
    return np.clip(color, 0.0, 255.0).astype(np.uint8).reshape(height, width, 3)


@dataclass(frozen=True, slots=True)
class CapsuleRenderer:
    """:func:`render_arm` of one arm from one view; a :class:`Renderer`."""

    arm: Arm
    camera: Camera

    def __call__(self, q: Array, width: int, height: int, target: Array | None = None) -> NDArray[np.uint8]:
        return render_arm(self.arm, q, self.camera, width, height, target)


def backdrop(camera: Camera, width: int, height: int) -> NDArray[np.uint8]:
    """[height, width, 3] picture of floor and sky alone."""
    color, _ = _floor(*_rays(camera, width, height))
    return color.astype(np.uint8).reshape(height, width, 3)


def _rays(camera: Camera, width: int, height: int) -> tuple[Array, Array]:
    """Camera origin [3] and unit directions [height * width, 3], top row first."""
    origin = np.asarray(camera.position, dtype=np.float64)
    forward = np.asarray(camera.target) - origin
    forward /= np.linalg.norm(forward)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    up = np.cross(right, forward)
    half = np.tan(np.radians(camera.fovy_deg) / 2.0)
    vertical = np.linspace(half, -half, height)[:, None, None]
    horizontal = (np.linspace(-half, half, width) * width / height)[None, :, None]
    rays = (forward + horizontal * right + vertical * up).reshape(-1, 3)
    return origin, rays / np.linalg.norm(rays, axis=1, keepdims=True)


def _floor(origin: Array, rays: Array) -> tuple[Array, Array]:
    """Colours [P, 3] and depths [P] of floor and sky."""
    below = rays[:, 2] < -1e-6
    depth = np.where(below, -origin[2] / np.where(below, rays[:, 2], -1.0), np.inf)
    point = origin[:2] + np.where(below, depth, 0.0)[:, None] * rays[:, :2]
    tile = np.floor(point / TILE_M).sum(axis=1) % 2.0
    color = np.where(tile[:, None] > 0.5, FLOOR_COLORS[0], FLOOR_COLORS[1])
    haze = np.exp(-np.where(below, depth, 100.0) / 6.0)[:, None]
    return haze * color + (1.0 - haze) * SKY_COLOR, depth


def _world_capsules(arm: Arm, q: Array) -> list[tuple[Array, Array, float]]:
    rotation, translation = link_poses(arm, q)
    return [
        (
            rotation[capsule.link_index] @ capsule.start + translation[capsule.link_index],
            rotation[capsule.link_index] @ capsule.end + translation[capsule.link_index],
            capsule.radius,
        )
        for capsule in arm.capsules
    ]


def _draw_capsule(
    color: Array, depth: Array, origin: Array, rays: Array, capsule: tuple[Array, Array, float], paint: Array
) -> None:
    """Paint the rays that meet the capsule before anything drawn so far (in place)."""
    start, end, radius = capsule
    near = _may_meet(origin, rays, capsule)
    rays = rays[near]
    hit = np.minimum(_sphere(origin, rays, start, radius), _sphere(origin, rays, end, radius))
    if np.linalg.norm(end - start) > 0.0:
        hit = np.minimum(hit, _tube(origin, rays, capsule))
    nearer = hit < depth[near]
    point = origin + hit[nearer, None] * rays[nearer]
    axis = end - start
    length = float(axis @ axis)
    share = np.clip((point - start) @ axis / length, 0.0, 1.0) if length > 0.0 else np.zeros(len(point))
    normal = (point - start - share[:, None] * axis) / radius
    light = 0.45 + 0.55 * np.clip(normal @ (SUN / np.linalg.norm(SUN)), 0.0, 1.0)
    pixels = near[nearer]
    color[pixels] = light[:, None] * paint
    depth[pixels] = hit[nearer]


def _may_meet(origin: Array, rays: Array, capsule: tuple[Array, Array, float]) -> NDArray[np.intp]:
    """Indices of the rays that meet the sphere around the capsule; the few that need the exact test."""
    start, end, radius = capsule
    bound = radius + 0.5 * float(np.linalg.norm(end - start))
    return np.flatnonzero(np.isfinite(_sphere(origin, rays, 0.5 * (start + end), bound)))


def _sphere(origin: Array, rays: Array, center: Array, radius: float) -> Array:
    """[P] distance to the first meeting with a sphere, infinite where there is none."""
    offset = origin - center
    half = rays @ offset
    root = half**2 - (offset @ offset - radius**2)
    return np.where(root >= 0.0, -half - np.sqrt(np.maximum(root, 0.0)), np.inf)


def _tube(origin: Array, rays: Array, capsule: tuple[Array, Array, float]) -> Array:
    """[P] distance to the first meeting with the cylinder between the ends, infinite where there is none."""
    start, end, radius = capsule
    axis = (end - start) / np.linalg.norm(end - start)
    across = rays - (rays @ axis)[:, None] * axis
    offset = origin - start
    offset_across = offset - (offset @ axis) * axis
    a = np.maximum(np.einsum("pi,pi->p", across, across), 1e-12)
    half = across @ offset_across
    root = half**2 - a * (offset_across @ offset_across - radius**2)
    hit = (-half - np.sqrt(np.maximum(root, 0.0))) / a
    along = (offset + hit[:, None] * rays) @ axis
    inside = (root >= 0.0) & (along >= 0.0) & (along <= np.linalg.norm(end - start))
    return np.where(inside, hit, np.inf)
