"""The launch files under the real `launch` and `launch_ros`, where there are any (no wheel has them)."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from mbrl_control.cli.locations import launch_file
from mbrl_control.graph import SIMULATED_NODES, load_graph
from tests.launch.stand_ins import GRAPHS

try:
    from launch import LaunchContext, LaunchDescription
except ImportError:
    pytest.skip("ROS's `launch` is not installed; source a ROS installation", allow_module_level=True)

from launch.actions import DeclareLaunchArgument, OpaqueFunction


def evaluate(file: str, arguments: dict[str, str]) -> list[Any]:
    """Actions of a launch file, as `ros2 launch` gets them; no process is started."""
    spec = importlib.util.spec_from_file_location("launch_file", launch_file(file))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    description = module.generate_launch_description()
    assert isinstance(description, LaunchDescription)
    context = LaunchContext()
    context.launch_configurations.update(arguments)
    actions: list[Any] = []
    for entity in description.entities:
        if isinstance(entity, DeclareLaunchArgument):
            entity.execute(context)
        elif isinstance(entity, OpaqueFunction):
            actions += entity.execute(context) or []
    return actions


@pytest.mark.parametrize("file", GRAPHS)
def test_real_nodes_are_made(file: str, tmp_path: Path) -> None:
    actions = evaluate(file, {"robot_type": "planar", "out": str(tmp_path / "run")})
    names = [action.node_executable for action in actions if type(action).__name__ == "Node"]
    specs = load_graph(launch_file("graph.yaml"))
    wanted = [spec.name for spec in specs if file == "sim.launch.py" or spec.name not in SIMULATED_NODES]
    assert names == wanted


def test_a_real_process_retrains() -> None:
    (process,) = evaluate("retrain.launch.py", {"log": "log.mcap"})
    assert type(process).__name__ == "ExecuteProcess"


def test_a_real_include_names_the_drivers_file(tmp_path: Path) -> None:
    arguments = {"driver": "ur_robot_driver/ur_control.launch.py", "out": str(tmp_path / "run")}
    kinds = [type(action).__name__ for action in evaluate("real.launch.py", arguments)]
    assert kinds.count("IncludeLaunchDescription") == 1
