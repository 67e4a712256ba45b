"""Which ROS 2 is used, whether the messages are built for it, and variables that change what a node does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from mbrl_control.cli.doctor_checks.check import Check
from mbrl_control.cli.doctor_checks.children import run_code

SETUP = "run `make setup`"
COLCON = "colcon build --base-paths . ros2_ws/src && . install/setup.sh"
UDP = "export ROS_AUTOMATIC_DISCOVERY_RANGE=SUBNET FASTDDS_BUILTIN_TRANSPORTS=UDPv4"
"""Messages by UDP only. With the range LOCALHOST rmw_fastrtps (tried: 9.3.3) sets up its own transports and ignores the
second variable; with SUBNET it counts, and the graph can be seen in the network."""
_DISCOVERY = (
    "ROS_AUTOMATIC_DISCOVERY_RANGE",
    "ROS_LOCALHOST_ONLY",
    "ROS_STATIC_PEERS",
    "ROS_DISCOVERY_SERVER",
    "FASTDDS_BUILTIN_TRANSPORTS",
    "FASTDDS_DEFAULT_PROFILES_FILE",
    "FASTRTPS_DEFAULT_PROFILES_FILE",
    "CYCLONEDDS_URI",
)


@dataclass(frozen=True, slots=True)
class RosSource:
    """Where rclpy comes from."""

    wheel: str | None
    """Version of the rclpy wheel."""
    distribution: str | None
    """Of the sourced installation (`ROS_DISTRO`)."""
    fast_dds: str | None = None
    """Version of its wheel."""
    unsourced: tuple[str, ...] = ()
    """Installations on the disk."""
    mixed_in: tuple[str, ...] = ()
    """Variables that name an installation below /opt/ros."""

    @property
    def installed(self) -> bool:
        """A full ROS 2 installation is in use, as on a robot's computer; no wheels."""
        return self.wheel is None and self.distribution is not None


def read_ros(env: Mapping[str, str], opt: Path = Path("/opt/ros")) -> RosSource:
    """What this shell and this environment offer."""
    folders = tuple(sorted(str(path.parent) for path in opt.glob("*/setup.sh")))
    names = ("AMENT_PREFIX_PATH", "LD_LIBRARY_PATH", "PYTHONPATH")
    mixed_in = tuple(name for name in names if "/opt/ros/" in env.get(name, ""))
    distribution = env.get("ROS_DISTRO") or None
    return RosSource(installed_version("ros-rclpy"), distribution, installed_version("ros-fastdds"), folders, mixed_in)


def installed_version(distribution: str) -> str | None:
    """Version of an installed Python distribution, None when it is absent."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def ros_check(ros: RosSource) -> Check:
    """Wheels or an installation, not both."""
    name = "ROS 2"
    if ros.wheel is not None and ros.mixed_in:
        remedy = "two ROS installations mix: start from a shell that has not sourced /opt/ros/*/setup.bash"
        return Check(name, "warn", f"rclpy {ros.wheel} from wheels, and {', '.join(ros.mixed_in)}", remedy)
    if ros.wheel is not None:
        return Check(name, "ok", f"rclpy {ros.wheel}, Fast DDS {ros.fast_dds} from wheels; nothing has to be sourced")
    if ros.distribution is not None:
        return Check(name, "ok", f"{ros.distribution}, installed and sourced (no wheels)")
    if ros.unsourced:
        remedy = f"run `. {ros.unsourced[-1]}/setup.sh`, then `{COLCON}` in the checkout"
        return Check(name, "fail", f"{', '.join(ros.unsourced)}: installed, not sourced in this shell", remedy)
    return Check(name, "fail", "neither wheels nor an installation", SETUP)


def read_messages(limit_s: float = 20.0) -> str | None:
    """What importing rclpy and the messages in a fresh process said, None when it worked."""
    return run_code("import rclpy, mbrl_msgs.msg, mbrl_msgs.srv", limit_s).failure


def messages_check(failure: str | None, ros: RosSource) -> Check:
    """``failure``: of importing them, None when it worked."""
    if failure is None:
        return Check("messages", "ok", "rclpy and mbrl_msgs import")
    if ros.installed:
        return Check("messages", "fail", failure, f"build and source the workspace: `{COLCON}` in the checkout")
    return Check("messages", "fail", failure, f"rm -f .venv/.mbrl-messages .venv/.mbrl-setup, then {SETUP}")


def environment_checks(env: Mapping[str, str], ros: RosSource) -> list[Check]:
    """Variables that change what a node does without saying so."""
    return [_domain(env), _discovery(env), _middleware(env), _security(env, ros)]


def _domain(env: Mapping[str, str]) -> Check:
    domain = env.get("ROS_DOMAIN_ID")
    if domain is None:
        return Check("ROS domain", "ok", "not set: every graph takes a free one")
    if domain.isdecimal() and int(domain) <= 101:
        return Check("ROS domain", "ok", f"{domain}, from ROS_DOMAIN_ID")
    return Check("ROS domain", "fail", f"ROS_DOMAIN_ID={domain}", "use a whole number from 0 to 101, or unset it")


def _discovery(env: Mapping[str, str]) -> Check:
    name = "discovery"
    given = {variable: env[variable] for variable in _DISCOVERY if env.get(variable)}
    if not given:
        return Check(name, "ok", "nodes look for each other on this machine only, by UDP")
    found = ", ".join(f"{variable}={value}" for variable, value in given.items())
    reach = given.get("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST").upper()
    if reach == "OFF":
        return Check(name, "warn", found, "nodes find nobody: unset ROS_AUTOMATIC_DISCOVERY_RANGE")
    only_here = given.get("ROS_LOCALHOST_ONLY") == "1"
    if "FASTDDS_BUILTIN_TRANSPORTS" in given and (reach == "LOCALHOST" or only_here):
        also = "unset ROS_LOCALHOST_ONLY; " * only_here
        return Check(name, "warn", found, f"the transports are ignored within this machine: `{also}{UDP}`")
    told = [] if reach == "LOCALHOST" else ["nodes of other machines may see this graph"]
    if given.keys() - {"ROS_AUTOMATIC_DISCOVERY_RANGE", "ROS_DISCOVERY_SERVER", "CYCLONEDDS_URI"}:
        told.append("own transports are kept: with shared memory a node may hear nothing for 0.3 s when another joins")
    return Check(name, "info", found, "; ".join(told))


def _middleware(env: Mapping[str, str]) -> Check:
    middleware = env.get("RMW_IMPLEMENTATION", "rmw_fastrtps_cpp")
    if middleware == "rmw_fastrtps_cpp":
        return Check("RMW", "ok", middleware)
    return Check("RMW", "warn", middleware, "only rmw_fastrtps_cpp is tested: unset RMW_IMPLEMENTATION")


def _security(env: Mapping[str, str], ros: RosSource) -> Check:
    """The wheels' Fast DDS knows no security: with it asked for, a node would start insecurely and say nothing."""
    name = "ROS security"
    if env.get("ROS_SECURITY_ENABLE", "").lower() != "true":
        return Check(name, "ok", "not asked for")
    if ros.installed:
        return Check(name, "info", f"asked for; this project has not been tested with it on {ros.distribution}")
    remedy = "unset ROS_SECURITY_ENABLE, or use a ROS 2 installation whose Fast DDS is built with security"
    return Check(name, "fail", "asked for, not available in the wheels", remedy)
