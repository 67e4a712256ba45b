"""Learns a new bundle from a log, at nice 19; it is activated only if it is better than the active one.

Example: ros2 launch mbrl_control retrain.launch.py log:=out/real-panda/log models:=models robot_type:=panda
"""

import sys

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, ExecuteProcess, OpaqueFunction
from launch.substitutions import LaunchConfiguration

from mbrl_control.cli.launch_arguments import RETRAIN
from mbrl_control.cli.launching import retrain_arguments


def generate_launch_description() -> LaunchDescription:
    """Entry point of `ros2 launch`."""
    declared = [DeclareLaunchArgument(**argument.keywords()) for argument in RETRAIN]
    return LaunchDescription([*declared, OpaqueFunction(function=start)])


def start(context: LaunchContext) -> list:
    """One process, with this Python: the verb of the command line."""
    arguments = retrain_arguments({a.name: LaunchConfiguration(a.name).perform(context) for a in RETRAIN})
    return [ExecuteProcess(cmd=[sys.executable, "-m", "mbrl_control.cli.main", *arguments], output="screen")]
