"""One line of the doctor's report, and how the report is shown."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

import typer

Level = Literal["ok", "info", "warn", "fail"]
_COLOURS = {"ok": typer.colors.GREEN, "info": typer.colors.CYAN, "warn": typer.colors.YELLOW, "fail": typer.colors.RED}


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the report. `docs/doctor.md` lists all names."""

    name: str
    level: Level
    """info: worth knowing, nothing is wrong; warn: works, but worse or not everywhere; fail: something cannot work."""
    found: str
    remedy: str = ""
    """What to do: empty when ok, never empty at warn or fail."""


@dataclass(frozen=True, slots=True)
class Group:
    """Checks that stand under one title."""

    title: str
    checks: tuple[Check, ...]


def failed(groups: Sequence[Group]) -> bool:
    return bool(_names(groups, "fail"))


def as_json(groups: Sequence[Group]) -> str:
    """One line: {"ok": bool, "checks": [{"name", "level", "found", "remedy"}, ...]}."""
    checks = [asdict(check) for group in groups for check in group.checks]
    return json.dumps({"ok": not failed(groups), "checks": checks})


def as_text(groups: Sequence[Group]) -> str:
    """Titles, aligned columns, remedies below their finding, a summary."""
    width = max(len(check.name) for group in groups for check in group.checks) + 2
    lines = []
    for group in groups:
        lines.append(typer.style(group.title, bold=True))
        for check in group.checks:
            level = typer.style(f"{check.level:<6}", fg=_COLOURS[check.level])
            lines.append(f"  {level}{check.name:<{width}}{check.found}")
            if check.remedy:
                lines.append(f"  {'':<6}{'':<{width}}-> {check.remedy}")
        lines.append("")
    return "\n".join([*lines, summary(groups)])


def summary(groups: Sequence[Group]) -> str:
    """Counts, and what to look at first."""
    names = {level: _names(groups, level) for level in ("ok", "info", "warn", "fail")}
    counts = ", ".join(f"{len(found)} {level}" for level, found in names.items())
    if names["fail"]:
        return f"{counts}. Not ready: {', '.join(names['fail'])}; follow the arrows above."
    if names["warn"]:
        return f"{counts}. Usable; better after: {', '.join(names['warn'])}."
    return f"{counts}. Ready."


def _names(groups: Sequence[Group], level: str) -> list[str]:
    return [check.name for group in groups for check in group.checks if check.level == level]
