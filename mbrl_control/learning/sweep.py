"""What a sweep tries: a YAML file of names and values of `FitSettings`, every combination of them."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from mbrl_control.learning.errors import SweepError
from mbrl_control.learning.fit_settings import FitSettings

Grid = Mapping[str, tuple[int | float, ...]]
"""Values by field."""
_BOUNDS: dict[str, tuple[type[int] | type[float], float, float]] = {
    "trained_members": (int, 1, 64),
    "elites": (int, 1, 64),
    "width": (int, 1, 1024),
    "depth": (int, 1, 6),
    "epochs": (int, 1, 10_000),
    "batch_size": (int, 1, 100_000),
    "learning_rate": (float, 1e-7, 1.0),
    "weight_decay": (float, 0.0, 1.0),
    "patience": (int, 1, 10_000),
    "holdout": (float, 0.01, 0.5),
    "holdout_block": (int, 1, 100_000),
    "max_seconds": (float, 1.0, 1e6),
}
"""Fields of `FitSettings` that can be swept: kind, least, most."""
_MOST = 1000
"""Combinations: a slip of the pen must not occupy a cluster."""


def read_sweep(path: Path) -> Grid:
    """The grid in a file; SweepError names file, field and remedy."""
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SweepError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise SweepError(f"{path}: is no YAML ({error}); write `width: [64, 128]`, a field a line") from error
    if not isinstance(tree, dict) or not tree:
        raise SweepError(f"{path}: has to be a mapping of fields to values; write `width: [64, 128]`, a field a line")
    grid = {str(name): _values(path, str(name), value) for name, value in tree.items()}
    count = 1
    for values in grid.values():
        count *= len(values)
    if count > _MOST:
        raise SweepError(f"{path}: {count} combinations, at most {_MOST}; take out values")
    return grid


def combinations(settings: FitSettings, grid: Grid) -> list[tuple[dict[str, Any], FitSettings]]:
    """(what is changed, the settings) of every combination, in the order of the file; one without changes for none.

    SweepError for one that contradicts itself.
    """
    found = []
    for values in itertools.product(*grid.values()):
        changed: dict[str, Any] = dict(zip(grid, values, strict=True))
        one = replace(settings, **changed)
        if one.elites > one.trained_members:
            raise SweepError(
                f"sweep: elites {one.elites} of trained_members {one.trained_members}; sweep them so that there are no "
                "more elites than members"
            )
        found.append((changed, one))
    return found


def _values(path: Path, name: str, given: Any) -> tuple[int | float, ...]:
    if name not in _BOUNDS:
        raise SweepError(f"{path}: {name}: cannot be swept; name one of {', '.join(_BOUNDS)}")
    values: Sequence[Any] = given if isinstance(given, list) else [given]
    if not values or len(set(map(repr, values))) != len(values):
        raise SweepError(f"{path}: {name}: {given!r} holds no value, or one twice; give each once")
    return tuple(_value(path, name, value) for value in values)


def _value(path: Path, name: str, value: Any) -> int | float:
    kind, least, most = _BOUNDS[name]
    number = _number(value)
    if number is None or not least <= number <= most or kind(number) != number:
        wanted = "a whole number" if kind is int else "a number"
        raise SweepError(f"{path}: {name}: {value!r} is not {wanted} from {least:g} to {most:g}; correct it")
    return kind(number)


def _number(value: Any) -> float | None:
    """None for what is none; YAML 1.1 takes 1e-3, which has no point, for a text."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except ValueError:
        return None
