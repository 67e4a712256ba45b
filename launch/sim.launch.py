"""The graph of one simulated arm. Example: ros2 launch mbrl_control sim.launch.py robot_type:=panda"""

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, LogInfo, OpaqueFunction, Shutdown
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from mbrl_control.cli.launch_arguments import SIM
from mbrl_control.cli.launching import begin, simulated


def generate_launch_description() -> LaunchDescription:
    """Entry point of `ros2 launch`."""
    declared = [DeclareLaunchArgument(**argument.keywords()) for argument in SIM]
    return LaunchDescription([*declared, OpaqueFunction(function=start)])


def start(context: LaunchContext) -> list:
    """Every node; when one ends, the graph ends, see `ending`."""
    launch = begin(simulated({a.name: LaunchConfiguration(a.name).perform(context) for a in SIM}))
    nodes = [Node(**row, **ending(row)) for row in launch.nodes]
    return [LogInfo(msg=launch.message), *nodes]


def ending(row: dict) -> dict:
    """What happens when a node ends: it is started again where it may be, else the graph ends."""
    return {} if row.get("respawn") else {"on_exit": Shutdown(reason=f"{row['executable']} has ended")}
