"""Every field on the wire says what it is; a number also says its unit, a stamp its clock."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.architecture.source import MESSAGES, shown

FILES = sorted([*MESSAGES.glob("msg/*.msg"), *MESSAGES.glob("srv/*.srv")])
_FIELD = re.compile(
    r"^(?P<type>[A-Za-z0-9_/]+)(?P<array>\[[<=\d]*\])?\s+(?P<name>[a-z][a-z0-9_]*)\s*(?:#\s*(?P<comment>.*))?$"
)
_CONSTANT = re.compile(r"^[a-z0-9]+\s+[A-Z][A-Z0-9_]*\s*=")
_UNITS = r"rad(?:\^2)?(?:/s(?:\^[23])?)?|m|m/s|kg|s|ms|ns|Hz|N m|N\^2 m\^2|nats|count|no unit|unit of|0\.\.1"
_UNIT = re.compile(rf"(?<![\w/])(?:{_UNITS})(?![\w/^])")
_NUMBER = re.compile(r"^(?:u?int(?:8|16|32|64)|float(?:32|64)|byte|char)$")


@dataclass(frozen=True)
class Field:
    """One line of an interface file."""

    type: str
    name: str
    comment: str


def fields(text: str) -> list[Field]:
    """Fields of an interface file; constants, separators and whole-line comments left out."""
    found = []
    for line in (line.strip() for line in text.splitlines()):
        if not line or line.startswith("#") or line == "---" or _CONSTANT.match(line):
            continue
        match = _FIELD.match(line)
        assert match, f"not a field: {line!r}"
        found.append(Field(match["type"], match["name"], match["comment"] or ""))
    return found


def complaint(field: Field) -> str | None:
    """What a field fails to say, or None."""
    if not field.comment:
        return f"{field.name}: no comment"
    if field.type.endswith("/Time") and "clock" not in field.comment:
        return f"{field.name}: a stamp must name its clock"
    if _NUMBER.match(field.type) and not _UNIT.search(field.comment):
        return f"{field.name}: no unit in {field.comment!r} (write `no unit` or `count` where there is none)"
    return None


@pytest.mark.parametrize("path", FILES, ids=shown)
def test_every_field_has_a_comment_and_a_unit(path: Path) -> None:
    found = fields(path.read_text(encoding="utf-8"))
    assert found
    assert [text for text in map(complaint, found) if text] == []


def test_every_interface_is_built() -> None:
    listed = set(re.findall(r'"((?:msg|srv)/\w+\.(?:msg|srv))"', (MESSAGES / "CMakeLists.txt").read_text()))
    assert listed == {path.relative_to(MESSAGES).as_posix() for path in FILES}


@pytest.mark.parametrize(
    ("line", "fine"),
    [
        ("float64[] position  # [J] rad, joint frame", True),
        ("float64[] position  # [J] joint frame", False),
        ("float64 speed  # meters per second or so", False),
        ("uint64 sent", False),
        ("uint64 sent  # count", True),
        ("string reason  # why", True),
        ("builtin_interfaces/Time stamp  # creation", False),
        ("builtin_interfaces/Time stamp  # creation, graph clock", True),
    ],
)
def test_the_rule_bites(line: str, fine: bool) -> None:
    (field,) = fields(line)
    assert (complaint(field) is None) is fine
