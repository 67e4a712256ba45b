"""Where the mesh files that a URDF names are on this machine: for capsules, pictures and copies alike."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import unquote, urlparse

PARENTS = 6
"""Folders above the URDF that are searched."""


def find_mesh(name: str, urdf: Path) -> Path | None:
    """The file behind ``filename="..."``: `package://`, `model://`, `file://`, absolute or relative."""
    return next((place for place in mesh_places(name, urdf) if place.is_file()), None)


def mesh_places(name: str, urdf: Path) -> list[Path]:
    """Where it is looked for, in this order: beside the URDF and above it, then in the ROS package paths."""
    above = list(urdf.resolve().parents[:PARENTS])
    address = urlparse(name)
    if address.scheme == "file":
        return [above[0] / unquote(address.netloc + address.path)]
    if address.scheme not in ("package", "model"):
        return [folder / name for folder in above]
    package, rest = address.netloc, unquote(address.path).lstrip("/")
    roots = above + _folders("ROS_PACKAGE_PATH")
    places = [root / package / rest for root in roots]
    places += [root / rest for root in roots if root.name == package]
    places += [prefix / "share" / package / rest for prefix in _folders("AMENT_PREFIX_PATH")]
    # Last: the package's folder under another name, as in a copy of it.
    return places + [folder / rest for folder in above]


def _folders(variable: str) -> list[Path]:
    return [Path(entry) for entry in os.environ.get(variable, "").split(os.pathsep) if entry]
