"""How a log came about, kept beside it, so that the card of a model learned from it can say it."""

from __future__ import annotations

import json
import shlex
import subprocess
from pathlib import Path

COLLECTED = "collect.json"


def repeatable(verb: str, options: dict[str, object]) -> str:
    """A command as somebody else would repeat it: of files the name only, options that were not given left out."""
    words = ["mbrl-control", verb]
    for name, value in options.items():
        if value is not None:
            words += [f"--{name}", value.name if isinstance(value, Path) else str(value)]
    return shlex.join(words)


def own_or_shipped(robot: str) -> str | Path:
    """A shipped arm's name, or the file of an own one."""
    return Path(robot) if robot.endswith((".yaml", ".yml")) else robot


def collected_by(log: Path) -> str | None:
    """The command that made a log, where it was `mbrl-control collect`."""
    path = log.parent / COLLECTED
    if not path.is_file():
        return None
    try:
        command = json.loads(path.read_text(encoding="utf-8"))["command"]
    except (ValueError, KeyError, TypeError) as error:
        raise CollectedError(f"{path}: {error}: not as `mbrl-control collect` writes it; remove the file") from error
    return " ".join(str(command).split())


class CollectedError(ValueError):
    """A file beside a log that is not what it should be."""


def source_commit() -> str:
    """Commit of the checkout this runs from, `unknown` outside one."""
    folder = Path(__file__).resolve().parents[2]
    if not (folder / ".git").exists():
        return "unknown"
    command = ["git", "-C", str(folder), "rev-parse", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return "unknown"  # a checkout copied to a machine without git
    return done.stdout.strip() if done.returncode == 0 else "unknown"
