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


def test_every_setting_stands_with_its_default() -> None:
    rows = [
        line.split("|")[1:3] for line in GUIDE.partition("## All settings")[2].splitlines() if line.startswith("| `")
    ]
    told = {name.strip().strip("`"): default.strip() for name, default in rows}
    assert len(told) == len(rows)
    own = {name: _shown(value) for name, value in PlannerConfig().model_dump(mode="json").items()}
    assert told == own


def _shown(value: object) -> str:
    return value if isinstance(value, str) else "none" if value is None else json.dumps(value)


@pytest.mark.parametrize("name", [*get_args(MethodName), *(kind.name for kind in (*GoalKind, *PlanOutcome))])
def test_every_method_goal_and_outcome_has_a_row(name: str) -> None:
    assert f"\n| `{name}` |" in GUIDE


def test_the_example_is_a_file_of_settings() -> None:
    example = GUIDE.partition("<<EOF\n")[2].partition("EOF\n")[0]
    config = load_config(yaml.safe_load(example))
    assert (config.samples, config.refine, len(config.obstacles)) == (32, "gradient", 1)
