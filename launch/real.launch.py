"""The graph of one real arm, as a dry run unless told otherwise; its driver runs already, or is included.

Example: ros2 launch mbrl_control real.launch.py robot_type:=ur5e robot_ip:=192.0.2.10 use_mock_hardware:=false
driver:=ur_robot_driver/ur_control.launch.py
"""

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, LogInfo, OpaqueFunction, Shutdown
from launch.launch_description_sources import AnyLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.substitutions import FindPackageShare

from mbrl_control.cli.launch_arguments import REAL
from mbrl_control.cli.launching import Driver, begin, real


def generate_launch_description() -> LaunchDescription:
    """Entry point of `ros2 launch`."""
    declared = [DeclareLaunchArgument(**argument.keywords()) for argument in REAL]
    return LaunchDescription([*declared, OpaqueFunction(function=start)])


def start(context: LaunchContext) -> list:
    """The driver, if named, and every node; when one of the nodes ends, all ends, see `ending`."""
    session, driver = real({a.name: LaunchConfiguration(a.name).perform(context) for a in REAL})
    launch = begin(session)
    nodes = [Node(**row, **ending(row)) for row in launch.nodes]
    return [LogInfo(msg=launch.message), *([] if driver is None else [include(driver)]), *nodes]


def include(driver: Driver) -> IncludeLaunchDescription:
    """The driver's own launch file with its arguments."""
    path = PathJoinSubstitution([FindPackageShare(driver.package), "launch", driver.file])
    return IncludeLaunchDescription(AnyLaunchDescriptionSource(path), launch_arguments=driver.arguments.items())


def ending(row: dict) -> dict:
    """What happens when a node ends: it is started again where it may be, else the graph ends."""
    return {} if row.get("respawn") else {"on_exit": Shutdown(reason=f"{row['executable']} has ended")}
