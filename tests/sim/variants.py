"""The shipped arms with some numbers changed: YAML, URDF and MJCF in a folder of their own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from sim.generate import ROBOTS, generated_files

Edit = Callable[[dict[str, Any]], object]


def variant(folder: Path, name: str, edit: Edit) -> Path:
    """Path of the edited arm's YAML."""
    description = yaml.safe_load((ROBOTS / f"{name}.yaml").read_text())
    edit(description)
    source = folder / f"{name}.yaml"
    source.write_text(yaml.safe_dump(description))
    for path, text in generated_files(source).items():
        path.write_text(text)
    return source


def without_friction(description: dict[str, Any]) -> None:
    joints = len(description["joints"])
    description["friction"] = {"coulomb": [0.0] * joints, "viscous": [0.0] * joints}
