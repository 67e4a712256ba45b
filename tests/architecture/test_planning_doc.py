"""The guide to planners names every setting with its default, every method, goal, outcome and bench that there is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import pytest
import yaml

from mbrl_control.planning.config import MethodName, PlannerConfig, load_config
from mbrl_control.signals import GoalKind, PlanOutcome

GUIDE = (Path(__file__).parents[2] / "docs/planning.md").read_text(encoding="utf-8")
SETTINGS = GUIDE.partition("## All settings")[2]


def test_every_setting_stands_with_its_default() -> None:
    rows = [line.split("|")[1:3] for line in SETTINGS.splitlines() if line.startswith("| `")]
    told = {name.strip().strip("`"): default.strip() for name, default in rows}
    assert len(told) == len(rows)
    own = {name: _shown(value) for name, value in PlannerConfig().model_dump(mode="json").items()}
    assert told == own


@pytest.mark.parametrize("name", PlannerConfig.model_fields)
def test_every_bound_of_a_setting_stands_with_it(name: str) -> None:
    (row,) = [line for line in SETTINGS.splitlines() if line.startswith(f"| `{name}` |")]
    assert row.split("|")[3].strip().startswith(_bounds(name))


def _bounds(name: str) -> str:
    """As an interval, or how many there may be; empty where the field itself has none."""
    found: dict[str, float] = {}
    for each in PlannerConfig.model_fields[name].metadata:
        found |= {
            key: getattr(each, key)
            for key in ("gt", "ge", "lt", "le", "max_length", "min_length")
            if hasattr(each, key)
        }
    if "max_length" in found:
        return f"{found.get('min_length', 0):g} to {found['max_length']:g} of them"
    lower = f"({found['gt']:g}" if "gt" in found else f"[{found['ge']:g}" if "ge" in found else ""
    upper = f"{found['le']:g}]" if "le" in found else f"{found['lt']:g})" if "lt" in found else ""
    return f"{lower}, {upper}" if lower else ""


def _shown(value: object) -> str:
    return value if isinstance(value, str) else "none" if value is None else json.dumps(value)


@pytest.mark.parametrize("name", [*get_args(MethodName), *(kind.name for kind in (*GoalKind, *PlanOutcome))])
def test_every_method_goal_and_outcome_has_a_row(name: str) -> None:
    assert f"\n| `{name}` |" in GUIDE


def test_the_example_is_a_file_of_settings() -> None:
    example = GUIDE.partition("<<EOF\n")[2].partition("EOF\n")[0]
    config = load_config(yaml.safe_load(example))
    assert (config.samples, config.refine, len(config.obstacles)) == (32, "gradient", 1)
