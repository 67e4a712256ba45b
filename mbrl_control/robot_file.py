"""Strict access to the YAML of an arm: every fault names file, field and remedy."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from mbrl_control.signals import Array


class ArmError(ValueError):
    """An arm description that cannot be used; names file, field and remedy."""

    def __init__(self, message: str, file: str = "", field: str = "", fault: str = "", remedy: str = "") -> None:
        super().__init__(message)
        self.file, self.field, self.fault, self.remedy = file, field, fault, remedy

    @classmethod
    def at(cls, path: Path, field: str, fault: str, remedy: str) -> ArmError:
        """With its parts kept apart, for a report that lists several."""
        return cls(f"{path}: {field}: {fault}; {remedy}", str(path), field, fault, remedy)


class YamlFile:
    """The parsed YAML with accessors that name file and field when something is wrong."""

    def __init__(self, path: Path) -> None:
        """A file that ``extends: OTHER.yaml`` (beside it, or a path from there) says only what differs.

        Mappings are merged key by key; rows with a ``name`` (joints, links) by their names; any other value replaces
        the other file's.
        """
        self.path = path
        content = _content(path)
        self.sha256 = hashlib.sha256(content).hexdigest()
        self.tree = _parsed(path, content)
        if "extends" in self.tree:
            self._extend(self.text("extends"))

    def _extend(self, name: str) -> None:
        base_path = self.path.parent / name
        if not base_path.is_file():
            raise self.error("extends", f"{name!r} is no file", "name the YAML whose fields hold unless said otherwise")
        content = _content(base_path)
        base = _parsed(base_path, content)
        if "extends" in base:
            raise self.error("extends", f"{name} extends another file itself", "name that one and repeat what differs")
        self.sha256 = hashlib.sha256((self.sha256 + hashlib.sha256(content).hexdigest()).encode()).hexdigest()
        changes = {key: value for key, value in self.tree.items() if key != "extends"}
        self.tree = self._merged(base, changes, "")

    def _merged(self, base: Any, change: Any, place: str) -> Any:
        if isinstance(base, dict) and isinstance(change, dict):
            inside = {key: f"{place}.{key}" if place else key for key in change}
            return base | {
                key: self._merged(base[key], value, inside[key]) if key in base else value
                for key, value in change.items()
            }
        if _named(base) and _named(change):
            known, rows = [row["name"] for row in base], {row["name"]: row for row in change}
            if unknown := [name for name in rows if name not in known]:
                raise self.error(place, f"{unknown[0]!r} is not in the extended file", f"known: {', '.join(known)}")
            return [self._merged(row, rows.get(row["name"], {}), f"{place}[{row['name']}]") for row in base]
        return change

    @classmethod
    def of(cls, path: Path, tree: dict[str, Any]) -> YamlFile:
        """Of a file that is not written yet."""
        source = cls.__new__(cls)
        source.path, source.tree, source.sha256 = path, tree, ""
        return source

    def error(self, field: str, fault: str, remedy: str) -> ArmError:
        """To be raised by the caller: one message naming file, field and remedy."""
        return ArmError.at(self.path, field, fault, remedy)

    def field(self, tree: Any, field: str, inside: str = "") -> Any:
        """The value at a dotted path."""
        place = f"{inside}.{field}" if inside else field
        for key in field.split("."):
            if not isinstance(tree, dict) or key not in tree:
                raise self.error(place, "missing", "add it")
            tree = tree[key]
        return tree

    def text(self, field: str) -> str:
        return str(self.field(self.tree, field))

    def number(self, field: str) -> float:
        return float(self.finite(self.field(self.tree, field), field, ()))

    def vector(self, field: str, length: int) -> Array:
        return self.finite(self.field(self.tree, field), field, (length,))

    def rows(self, field: str) -> list[Any]:
        value = self.field(self.tree, field)
        if not isinstance(value, list) or not value:
            raise self.error(field, "not a list with entries", "write one entry per line, `- {...}`")
        return value

    def joint_values(self, joints: list[Any], key: str) -> Array:
        """[J] of one key of every joint."""
        values = [self.field(joint, key, f"joints[{index}]") for index, joint in enumerate(joints)]
        return self.finite(values, f"joints[].{key}", (len(joints),))

    def finite(self, value: Any, field: str, shape: tuple[int, ...]) -> Array:
        try:
            array = np.asarray(value, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise self.error(field, f"not a number or list of numbers ({value!r})", "write numbers") from error
        if array.shape != shape:
            raise self.error(field, f"has shape {array.shape}", f"give shape {shape}")
        if not np.isfinite(array).all():
            raise self.error(field, "not finite", "write a finite number")
        return array


def _content(path: Path) -> bytes:
    if not path.is_file():
        raise ArmError(f"{path}: no such file; give the arm's YAML")
    return path.read_bytes()


def _parsed(path: Path, content: bytes) -> dict[str, Any]:
    try:
        loader = yaml.SafeLoader(content)
        document = loader.get_single_node()
        if document is not None:
            _refuse_repeats(path, document, "", set())
        tree = None if document is None else loader.construct_document(document)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ArmError(f"{path}: not YAML ({error}); correct the syntax") from error
    if not isinstance(tree, dict):
        raise ArmError(f"{path}: not a mapping; write `name: ...` and the other fields at the top level")
    return tree


def _refuse_repeats(path: Path, node: yaml.Node, place: str, seen: set[int]) -> None:
    """YAML has each key once in a mapping; the parser lets the last of several win, silently.

    ``seen``: ids of nodes looked at; an alias leads to one of them, or round in a circle.
    """
    if id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for index, entry in enumerate(node.value):
            _refuse_repeats(path, entry, f"{place}[{index}]", seen)
    if not isinstance(node, yaml.MappingNode):
        return
    lines: dict[str, int] = {}
    for key, value in node.value:
        inside, line = f"{place}.{key.value}".lstrip("."), key.start_mark.line + 1
        if inside in lines:
            fault = f"given twice, in line {lines[inside]} and in line {line}"
            raise ArmError.at(path, inside, fault, "keep one: the parser would take the last")
        lines[inside] = line
        _refuse_repeats(path, value, inside, seen)


def _named(rows: Any) -> bool:
    """Is this a list of mappings that each have a name?"""
    return isinstance(rows, list) and bool(rows) and all(isinstance(row, dict) and "name" in row for row in rows)
