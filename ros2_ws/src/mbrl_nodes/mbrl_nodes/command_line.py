"""A line of the operator's terminal, and its arguments: all is checked before the arm moves."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

import numpy as np

from mbrl_control.signals import Array

LARGEST = 1e6
"""Of a number: beyond all metres, kilograms and seconds (twelve days) of an arm."""


class CommandError(ValueError):
    """A line that is no command, or an argument that is none; says what one looks like."""


def read_command(line: bytes, known: Collection[str]) -> tuple[str, dict[str, Any]]:
    """What one line asks to do, and with which arguments."""
    try:
        command = json.loads(line)
    except (ValueError, RecursionError):  # not JSON, not UTF-8, or nested without end
        command = None
    remedy = f'write {{"do": NAME, ...}} with one of {", ".join(known)}'
    if not isinstance(command, dict):
        raise CommandError(f"{line.decode(errors='replace').strip()[:80]!r} is no JSON object; {remedy}")
    name = command.pop("do", None)
    if not isinstance(name, str) or name not in known:
        raise CommandError(f"do: {name!r}: no such command; {remedy}")
    return name, command


def number(name: str, value: Any, unit: str, zero: bool = False) -> float:
    """A number above zero, or from zero on. Also whole ones: a message's field aborts the process on an int."""
    real = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not real or not 0.0 <= value < LARGEST or (value == 0.0 and not zero):
        least = "from 0 on" if zero else "above 0"
        raise CommandError(f"{name}: {value!r}: give a number {least}, below {LARGEST:g}, {unit}")
    return float(value)


def whole(name: str, value: Any) -> int:
    """A whole number from 1 on."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise CommandError(f"{name}: {value!r}: give a whole number from 1 on")
    return value


def text(name: str, value: Any) -> str:
    """A string."""
    if not isinstance(value, str):
        raise CommandError(f"{name}: {value!r}: give a text in quotes")
    return value


def points(name: str, value: Any) -> Array:
    """Rows of x, y, z, [N, 3] m."""
    remedy = "give a list of [x, y, z], finite numbers in m"
    try:
        rows = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise CommandError(f"{name}: no rows of numbers; {remedy}") from error
    if rows.ndim != 2 or rows.shape[1] != 3 or not len(rows) or not np.isfinite(rows).all():
        raise CommandError(f"{name}: {len(rows) if rows.ndim else 0} rows, not each of three finite numbers; {remedy}")
    return rows
