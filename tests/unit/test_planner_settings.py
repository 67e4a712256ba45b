"""A user's file of planner settings, on its way to the planner's node."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from mbrl_control.cli.errors import UserError
from mbrl_control.cli.run_options import RunOptions, checked_session
from mbrl_control.cli.simulation import Simulator
from mbrl_control.planning.config import PlannerConfigError, read_config
from mbrl_control.signals import CommandInterface

RUN = RunOptions(
    *("panda", Simulator.MUJOCO, CommandInterface.EFFORT, None, None, 0.3, 0, False, False, False),
    *(None, "", None, None),
)


def settings(folder: Path, text: str) -> RunOptions:
    (path := folder / "planner.yaml").write_text(text)
    return replace(RUN, out=folder, planner_settings=path)


def test_what_the_file_says_reaches_the_node_beside_the_cap_on_speed(tmp_path: Path) -> None:
    text = "disturbance_settle_s: 0.0\neffort_approach_gains: [6.0, 12.0]\n"
    session = checked_session(settings(tmp_path, text), "up")
    session.write_settings()
    config = read_config(Path(session.parameters()["mpc_planner"]["settings"]))
    assert (config.disturbance_settle_s, config.effort_approach_gains) == (0.0, (6.0, 12.0))
    assert config.speed_scale == 0.3
    assert config.model_fields_set == {"disturbance_settle_s", "effort_approach_gains", "speed_scale"}


def test_a_file_that_is_not_there_is_told_as_such(tmp_path: Path) -> None:
    absent = tmp_path / "absent.yaml"
    with pytest.raises(PlannerConfigError, match=r"absent\.yaml: no such file; check --planner-settings"):
        checked_session(replace(RUN, planner_settings=absent), "up")


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        ("disturbance_setle_s: 0.0", PlannerConfigError, "planner.yaml: field 'disturbance_setle_s'.*known fields"),
        ("disturbance_settle_s: -1", PlannerConfigError, "field 'disturbance_settle_s'"),
        ("speed_scale: 0.9", UserError, "field 'speed_scale'.*--speed-scale"),
        ("pose_weights: {reach: .nan}", PlannerConfigError, "field 'pose_weights.reach'"),
        ("acceleration_spread: [4.0, 0.1]", PlannerConfigError, "field 'acceleration_spread'.*least is above"),
        ("acceleration_spread: [0.0, 0.1]", PlannerConfigError, "field 'acceleration_spread.0'"),
        ("approach_gains: [4.0, .nan]", PlannerConfigError, "field 'approach_gains.1'"),
        ("effort_approach_gains: [-8.0]", PlannerConfigError, "field 'effort_approach_gains.0'"),
        ("refine: ilqr\nsampled_iterations: 3", PlannerConfigError, "field 'sampled_iterations'.*none to refine"),
        ("method: gradient\niterations: 1", PlannerConfigError, "field 'sampled_iterations'.*raise iterations"),
        ("method: gradient\nrefine: ilqr", PlannerConfigError, "field 'refine'.*gradient refines itself"),
        ("spread_floor: 0.6", PlannerConfigError, "field 'spread_ceiling'.*below spread_floor"),
        ("- 1", PlannerConfigError, "holds no mapping"),
    ],
)
def test_what_is_wrong_with_it_is_told_before_anything_is_written(
    text: str, kind: type[Exception], words: str, tmp_path: Path
) -> None:
    with pytest.raises(kind, match=words):
        checked_session(replace(settings(tmp_path, text), out=tmp_path / "run"), "up")
    assert not (tmp_path / "run").exists()
