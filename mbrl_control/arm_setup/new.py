"""`robot new`: the YAML of an own arm beside its URDF, or beside a copy of it in a new folder."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mbrl_control.arm_setup.chain_choice import choose_chain
from mbrl_control.arm_setup.findings import Finding
from mbrl_control.arm_setup.proposals import arm_name, propose
from mbrl_control.arm_setup.urdf_check import faults_of_chain, faults_of_urdf
from mbrl_control.arm_setup.yaml_text import yaml_text
from mbrl_control.mesh_files import find_mesh
from mbrl_control.robot_file import ArmError
from mbrl_control.urdf_file import UrdfFile


@dataclass(frozen=True, slots=True)
class Written:
    """What came of it: either files, or the faults that kept them from being written."""

    yaml: Path
    urdf: Path
    guesses: tuple[str, ...]
    faults: tuple[Finding, ...]
    unread: tuple[Finding, ...] = ()
    """Shapes that could not be read or look wrong: the capsules stand for less, or for more, than the link."""


def write_new_arm(path: Path, out: Path | None, base: str | None, tool: str | None) -> Written:
    """Propose every field that the URDF leaves out and write the YAML; with ``out``, copy URDF and meshes there.

    Raises:
        ArmError: the URDF cannot be read, its chain is ambiguous, or a file that would be written exists.
    """
    urdf = UrdfFile(path)
    target = path if out is None else out / f"{arm_name(urdf)}.urdf"
    target_yaml = target.with_suffix(".yaml")
    faults = faults_of_urdf(urdf)
    if faults:
        return Written(target_yaml, target, (), tuple(faults))
    choice = choose_chain(urdf, base, tool)
    faults = faults_of_chain(urdf, choice.base, choice.tool)
    if faults:
        return Written(target_yaml, target, (), tuple(faults))
    meshes = {} if out is None else _mesh_copies(urdf, out)
    copies = [] if out is None else [target, *meshes.values()]
    _refuse_to_overwrite([target_yaml, target.with_suffix(".mjcf.xml"), *copies])
    draft = propose(urdf, choice)
    if out is not None:
        _copy(urdf, target, meshes, out)
    with target_yaml.open("x", encoding="utf-8") as file:
        file.write(yaml_text(draft.arm, draft.values, path.name))
    return Written(target_yaml, target, tuple(draft.guessed()), (), tuple(draft.findings))


def _refuse_to_overwrite(paths: list[Path]) -> None:
    for path in paths:
        if path.exists():
            raise ArmError(f"{path}: exists and is never overwritten; move it away, or name another folder with --out")


def _mesh_copies(urdf: UrdfFile, out: Path) -> dict[str, Path]:
    """Where each mesh that is found will lie, by its name in the URDF; of two with one file name, apart."""
    copies: dict[str, Path] = {}
    for name in _mesh_names(urdf):
        source = find_mesh(name, urdf.path)
        if source is not None and name not in copies:
            folder = "" if source.parent.name == "meshes" else source.parent.name
            place, number = out / "meshes" / folder / source.name, 2
            while place in copies.values():
                place, number = out / "meshes" / f"{folder}_{number}" / source.name, number + 1
            copies[name] = place
    return copies


def _mesh_names(urdf: UrdfFile) -> Iterator[str]:
    for mesh in urdf.root.iter("mesh"):
        if name := mesh.get("filename"):
            yield name


def _copy(urdf: UrdfFile, target: Path, meshes: dict[str, Path], out: Path) -> None:
    """The URDF with its meshes' names relative to the new folder, and the meshes with their materials."""
    text = urdf.content.decode("utf-8")
    for name, place in meshes.items():
        source = find_mesh(name, urdf.path)
        assert source is not None, "found when the copies were planned"
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, place)
        material = source.with_suffix(".mtl")
        if material.is_file():
            shutil.copyfile(material, place.with_suffix(".mtl"))
        for quote in "\"'":
            text = text.replace(f"{quote}{name}{quote}", f"{quote}{place.relative_to(out).as_posix()}{quote}")
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("x", encoding="utf-8") as file:
        file.write(text)
