"""Capsules around a link's meshes: one, or two where that takes clearly less room."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import trimesh

from mbrl_control.signals import Array

WORTH = 0.75
"""Two capsules are taken when they fill less than this share of one's volume."""
CUTS = (0.35, 0.5, 0.65)
"""Where along an axis a link is tried to be cut in two."""
GRID_M = 0.001


@dataclass(frozen=True, slots=True)
class FittedCapsule:
    """In the link's frame."""

    start: Array
    """[3] m"""
    end: Array
    """[3] m"""
    radius: float
    """m"""

    @property
    def volume(self) -> float:
        """m^3"""
        length = float(np.linalg.norm(self.end - self.start))
        return np.pi * self.radius**2 * (length + 4.0 / 3.0 * self.radius)

    def rounded(self) -> FittedCapsule:
        """On a grid of millimetres, the radius enlarged by what the ends may have moved."""
        start, end = (np.round(point / GRID_M) * GRID_M for point in (self.start, self.end))
        moved = max(np.linalg.norm(start - self.start), np.linalg.norm(end - self.end))
        return FittedCapsule(start, end, float(np.ceil((self.radius + moved) / GRID_M) * GRID_M))


def fit_capsules(meshes: Sequence[trimesh.Trimesh]) -> list[FittedCapsule]:
    """Every point of the meshes lies in one of the capsules (each triangle whole in one: capsules are convex)."""
    if not meshes:
        return []
    mesh = trimesh.util.concatenate(list(meshes))
    best = [enclosing_capsule(np.asarray(mesh.vertices))]
    whole = best[0].volume
    for axis, share in product(_axes(mesh), CUTS):
        halves = _cut(mesh, axis, share)
        if halves is None:
            continue
        pair = [enclosing_capsule(half) for half in halves]
        if sum(c.volume for c in pair) < min(WORTH * whole, sum(c.volume for c in best)):
            best = pair
    return [capsule.rounded() for capsule in best]


def enclosing_capsule(points: Array) -> FittedCapsule:
    """Around [N, 3] points: about the axis of their smallest cylinder, as short as its round ends allow."""
    axis, centre = _cylinder_axis(points)
    along = (points - centre) @ axis
    away = np.linalg.norm(points - centre - along[:, None] * axis, axis=1)
    radius = float(away.max())
    cap = np.sqrt(np.maximum(radius**2 - away**2, 0.0))
    first, last = float((along + cap).min()), float((along - cap).max())
    if first > last:
        first = last = 0.5 * (first + last)
        radius = float(np.hypot(along - first, away).max())
    return FittedCapsule(centre + first * axis, centre + last * axis, radius)


def _cylinder_axis(points: Array) -> tuple[Array, Array]:
    """Unit axis and a point on it."""
    spread = np.linalg.svd(points - points.mean(axis=0), full_matrices=False)[1]
    if len(points) < 4 or spread[-1] < 1e-9 * max(float(spread[0]), 1e-12):
        lower, upper = points.min(axis=0), points.max(axis=0)
        axis = np.eye(3)[int((upper - lower).argmax())]
        return axis, 0.5 * (lower + upper)
    cylinder = trimesh.bounds.minimum_cylinder(points)
    pose = np.asarray(cylinder["transform"])
    return pose[:3, 2], pose[:3, 3]


def _axes(mesh: trimesh.Trimesh) -> Array:
    """[2, 3] rows: the two principal directions of the vertices along which a link is longest."""
    vertices = np.asarray(mesh.vertices)
    directions: Array = np.linalg.svd(vertices - vertices.mean(axis=0), full_matrices=False)[2]
    return directions[:2]


def _cut(mesh: trimesh.Trimesh, axis: Array, share: float) -> tuple[Array, Array] | None:
    """Vertices [N, 3] of both parts, those on the cut in both."""
    along = np.asarray(mesh.vertices) @ axis
    origin = axis * (along.min() + share * (along.max() - along.min()))
    slices = (trimesh.intersections.slice_faces_plane(mesh.vertices, mesh.faces, s * axis, origin) for s in (1.0, -1.0))
    first, second = (np.asarray(part[0]) for part in slices)
    return (first, second) if min(len(first), len(second)) > 3 else None
